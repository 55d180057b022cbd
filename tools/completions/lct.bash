# SPDX-License-Identifier: Apache-2.0
# Completion for bash: lct itself says what a word may become.

_lct() {
    local cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n := cur words cword # lct:alice, --predict dbx=FILE are one word
    fi
    mapfile -t COMPREPLY < <("$1" complete "${words[@]:1:cword}" 2>/dev/null)
    [[ ${COMPREPLY[0]} != *= || ${#COMPREPLY[@]} -gt 1 ]] || compopt -o nospace
    if declare -F __ltrim_colon_completions >/dev/null; then
        __ltrim_colon_completions "$cur"
    fi
}
complete -o bashdefault -o default -F _lct lct
