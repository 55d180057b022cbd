/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_JUDGING_H
#define LCT_TOOLS_JUDGING_H

#include "base/error.h"
#include "proof/ak.h"
#include "proof/evidence.h"
#include "proof/trust.h"
#include "proof/verdict.h"
#include "tools/state.h"

#include <jansson.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <time.h>

/* Evidence that is judged, by what the command line says of it: what `lct verify` and `lct attest
 * issue` have in common. */

/* Options; NULL: not given. */
struct lct_judging {
    const char *trust, *state, *key, *expected, *required, *time;
};

/* Zero is none; lct_case_close frees what it holds. */
struct lct_case {
    OSSL_LIB_CTX *libctx;
    time_t now;
    struct lct_trust *trust;
    struct lct_ak key; /* pkey NULL: any */
    bool has_expected;
    struct lct_pcr_values expected;
    unsigned required; /* claims that have to pass */
    struct lct_evidence *evidence;
    struct lct_state state; /* file NULL: offline */
    struct lct_verdict verdict;
};

/*
 * Takes what the options name, but for the state; `libctx` is borrowed. lct_case_close, whatever
 * comes back. LCT_ERR_USAGE; LCT_ERR_IO; LCT_ERR_CONFIG; LCT_ERR_BAD_EVIDENCE: a key or values that
 * are none.
 */
enum lct_code lct_case_open(struct lct_case *opened, OSSL_LIB_CTX *libctx,
                            const struct lct_judging *judging, struct lct_err *err);

/*
 * Reads evidence, which messages call `file`, and judges it: by the file `state` if that is not
 * NULL, which stays locked. LCT_OK: there is a verdict, which is of no use to anybody before
 * lct_case_use_up. LCT_ERR_REFUSED: the state is of another challenge, or used; errors of
 * lct_evidence_read, lct_state_open and lct_evidence_judge.
 */
enum lct_code lct_case_judge(struct lct_case *opened, const char *file, const json_t *document,
                             const char *state, struct lct_err *err);

/* Uses up the state, if there is one, whatever the verdict. Errors of lct_state_use_up. */
enum lct_code lct_case_use_up(struct lct_case *opened, struct lct_err *err);

/* Whether what has to pass does. LCT_ERR_REFUSED; LCT_ERR_UNBOUND. */
enum lct_code lct_case_conclude(const struct lct_case *opened, struct lct_err *err);

void lct_case_close(struct lct_case *opened);

/* --time, or now. LCT_ERR_USAGE. */
enum lct_code lct_judging_time(time_t *now, const char *text, struct lct_err *err);

/* --key or --ak: as lct_ak_decode takes it, from a file. LCT_ERR_IO; errors of that. And of an
 * identity: as lct_ak_decode_identity does. */
enum lct_code lct_judging_key(struct lct_ak *key, OSSL_LIB_CTX *libctx, const char *file,
                              struct lct_err *err);
enum lct_code lct_judging_identity(struct lct_ak *key, OSSL_LIB_CTX *libctx, const char *file,
                                   struct lct_err *err);

#endif
