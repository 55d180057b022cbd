# SPDX-License-Identifier: Apache-2.0
# Completion for fish: lct itself says what a word may become.

function __lct_complete
    set -l words (commandline -opc)
    set -l found ($words[1] complete $words[2..-1] (commandline -ct) 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end

complete -c lct -f -a '(__lct_complete)'
