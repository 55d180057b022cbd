/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_TOOL_H
#define LCT_TOOLS_TOOL_H

#include "base/config.h"
#include "base/descriptor.h"
#include "base/error.h"
#include "store/store.h"
#include "tcg/crypto.h"
#include "tpm/tpm.h"

#include <stdbool.h>
#include <stddef.h>

struct lct_completing;
struct lct_identities;

/* What a subcommand works with. */
struct lct_tool {
    struct lct_config config;
    const char *tcti, *store_dir;            /* --tcti, --store: over everything else */
    const char *passphrase_file;             /* --passphrase-file: of the identity it is about */
    bool quiet;                              /* --quiet: neither notes nor what was done is said */
    bool json;                               /* --json: the result is for a program */
    const char *asked;                       /* the id that was given last; NULL: none was */
    const struct lct_completing *completing; /* tools/complete.h; NULL: the subcommand is run */
    struct lct_store store;
    struct lct_crypto *crypto;
    struct lct_uri uri;           /* of the operand, where it is one */
    struct lct_tpm *tpm;          /* connects at the first command that needs it */
    struct lct_descriptor making; /* lct_counters_lock, where a counter is needed from now on */
    const struct lct_identities *identities; /* tools/issuer.h; NULL: the program has none */
};

/*
 * A subcommand: a row of the table in help.c, a file of its own. `run` gets the arguments from the
 * subcommand's name on, prints results on stdout, and returns the code whose number is the exit
 * status; main shows *err.
 */
struct lct_subcommand {
    const char *name;
    const char *arguments; /* as in a synopsis */
    const char *summary;   /* one line */
    const char *details;   /* for `lct help NAME`, NULL: none */
    enum lct_code (*run)(struct lct_tool *tool, int argc, char **argv, struct lct_err *err);
};

const struct lct_subcommand *lct_subcommand_by_name(const char *name);

/* The rows of the table, from 0; NULL: there are no more. */
const struct lct_subcommand *lct_subcommand_at(size_t i);

/* Fails for a name that is of no row: LCT_ERR_USAGE. */
enum lct_code lct_subcommand_fail(const char *name, struct lct_err *err);

/*
 * An option "--name": `value` takes its argument, once, or `flag` becomes true. With both it may be
 * given more than once: `value` is an array of LCT_MAX_VALUES and one more that stays NULL, all
 * NULL at first, and the first free one takes the argument.
 */
struct lct_option {
    const char *name;
    const char **value;
    bool *flag;
};

enum { LCT_MAX_OPTIONS = 32, LCT_MAX_VALUES = 15 };

/*
 * Parses the options of a subcommand and --tcti, --store, --passphrase-file, --quiet and --help, in
 * any place. *operands and *num_operands are what is left, which must be `min` to `max`.
 * LCT_ERR_USAGE. With --help, prints the help of `name` and exits; where it is to be completed,
 * prints the words and exits.
 */
enum lct_code lct_options_parse(struct lct_tool *tool, int argc, char **argv,
                                const struct lct_option *options, size_t num_options, int min,
                                int max, char ***operands, int *num_operands, struct lct_err *err);

/* Whether that is an option of all subcommands that has an argument, "--store". */
bool lct_tool_takes_argument(const char *option);

/* The place in argv of a name that options of all subcommands may stand before, which have an
 * argument each; 0: there is none. */
int lct_tool_find_name(int argc, char **argv);

/* The name at that place becomes argv[1]; what stood before it goes behind it. */
void lct_tool_put_first(char **argv, int at);

/*
 * How a subcommand about one identity begins: parses its options, takes the one operand as an id,
 * and opens the tool; *id, where it was the name of the identity's active key (store/names.h), is
 * the identity's own. Errors of lct_options_parse, lct_tool_id and lct_tool_open.
 */
enum lct_code lct_tool_begin(struct lct_tool *tool, int argc, char **argv,
                             const struct lct_option *options, size_t num_options, const char **id,
                             struct lct_err *err);

/* The same about one that is to be made: *id is what was typed. */
enum lct_code lct_tool_begin_new(struct lct_tool *tool, int argc, char **argv,
                                 const struct lct_option *options, size_t num_options,
                                 const char **id, struct lct_err *err);

/* Reads the configuration and opens what the subcommands use; sends the TPM nothing. */
enum lct_code lct_tool_open(struct lct_tool *tool, struct lct_err *err);
void lct_tool_close(struct lct_tool *tool);

/* The provider's section of openssl.cnf, as libcrypto would find it, into `config`. LCT_ERR_CONFIG.
 */
enum lct_code lct_tool_read_config(struct lct_config *config, struct lct_err *err);

/* An id as the user types it: alice, or a URI, lct:alice. Good until the next call. LCT_ERR_BAD_ID.
 */
enum lct_code lct_tool_id(struct lct_tool *tool, const char **id, const char *operand,
                          struct lct_err *err);

/* --generation: a number from 1; NULL: 0. LCT_ERR_USAGE. */
enum lct_code lct_tool_generation(unsigned *generation, const char *text, struct lct_err *err);

/* Whether the user means it: with `yes`, or asked by `question` where standard input is a terminal,
 * to which y is an answer. LCT_ERR_USAGE: it is none, or another answer was given; `label` says
 * what it is about, "lct:alice", and `loss` what would come of it. */
enum lct_code lct_tool_confirm(const char *label, const char *question, const char *loss, bool yes,
                               struct lct_err *err);

/* Where several things are done and one fails, the others are done all the same: the last failure
 * is the result, in *worst, which is zero at first; the one before it is told now, on stderr. */
void lct_tool_fail_later(struct lct_err *worst, const struct lct_err *one);

/* --owner: "USER:GROUP", either of them perhaps missing; names as the system knows them. NULL: who
 * runs it. LCT_ERR_USAGE. */
enum lct_code lct_tool_owner(struct lct_owner *owner, const char *text, struct lct_err *err);

/* The owner's authorization, where owner_auth_file is set. Errors of lct_secret_read. */
enum lct_code lct_tool_owner_auth(struct lct_secret *owner_auth, const struct lct_tool *tool,
                                  struct lct_err *err);

/* All of a file, or with "-" of standard input: at most `max` bytes, which a NUL follows. The
 * caller frees *bytes; of what cannot be read whole nothing stays in memory. LCT_ERR_IO;
 * LCT_ERR_USAGE: it is longer. */
enum lct_code lct_tool_read(uint8_t **bytes, size_t *bytes_len, const char *file, size_t max,
                            struct lct_err *err);

/* The event log of this boot, as Linux shows it to root. */
extern const char lct_kernel_eventlog[];

/* Writes text to a file, new or not, or with "-" to standard output. LCT_ERR_IO. */
enum lct_code lct_tool_write(const char *file, const char *text, struct lct_err *err);

/* A file by name for a sentence: "-" is "standard input". */
const char *lct_tool_file(const char *file);

/* Prints text to stdout: a result. LCT_ERR_IO. */
enum lct_code lct_tool_print(struct lct_err *err, const char *format, ...) LCT_PRINTF(2, 3);

/* Prints to stdout what was done: not with --quiet, nor with --json, of which the result is
 * another. LCT_ERR_IO. */
enum lct_code lct_tool_say(const struct lct_tool *tool, struct lct_err *err, const char *format,
                           ...) LCT_PRINTF(3, 4);

/* Warns on stderr, in a line of its own, which has no control character: "lct: warning: ...", or of
 * what has a label "lct: lct:alice: warning: ..."; NULL: it has none. */
void lct_tool_warn(const char *label, const char *format, ...) LCT_PRINTF(2, 3);

/* Tells on stderr, in such a line too, what is no result and no warning: not with --quiet. */
void lct_tool_note(const struct lct_tool *tool, const char *format, ...) LCT_PRINTF(2, 3);

/* Of each program its own: the help of a subcommand; how one is called, "lct attest offer", and
 * what prints its help, "lct help attest offer". */
enum { LCT_CALL_TEXT = 48 };
void lct_help_print(const char *name);
void lct_help_call(char text[LCT_CALL_TEXT], const char *name);
void lct_help_hint(char text[LCT_CALL_TEXT], const char *name);

enum lct_code lct_affected_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_approve_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_attest_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_authority_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_backup_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_cert_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_check_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_config_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_create_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_csr_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_delete_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_doctor_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_document_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_ek_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_export_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_gc_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_help_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_import_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_list_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_pcrs_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_pem_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_persist_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_reseal_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_restore_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_retire_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_revoke_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_rotate_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_seal_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_setup_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_show_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_sign_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_unpersist_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_unseal_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_witness_run(struct lct_tool *, int, char **, struct lct_err *);

#endif
