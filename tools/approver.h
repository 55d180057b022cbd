/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_APPROVER_H
#define LCT_TOOLS_APPROVER_H

#include "store/seal.h"
#include "tools/predict.h"
#include "tools/tool.h"

#include <jansson.h>
#include <openssl/types.h>

/* Who approves: the private key of an authority at hand, and where approvals go. */
struct lct_approver {
    struct lct_tool *tool;
    OSSL_LIB_CTX *libctx;
    const char *file; /* of the key */
    const char *out;  /* a file for the one approval; NULL: the store that the identity is in */
    EVP_PKEY *pkey;
    size_t public_len;
    uint8_t public_area[LCT_MAX_AUTHORITY];
    char fingerprint[65];
    const struct lct_prediction *prediction; /* of what is read from the TPM; NULL: none */
    bool revoke;                             /* by lct_approver_revoke: it has to be possible */
    const struct lct_secret *owner_auth;     /* then, the TPM's owner's; NULL or empty: none */
    const char *whose;                       /* the values, for people: "as they are now" */
    size_t num_planned;                      /* what is to be approved, and is not yet */
    struct lct_planned *planned;
    json_t *approved; /* what was, for --json */
};

/* Opens the key, which may ask for its passphrase. Zero is what lct_approver_close takes, too.
 * Errors of lct_authority_key_read; LCT_ERR_UNSUPPORTED: it is no key of an authority. */
enum lct_code lct_approver_open(struct lct_approver *approver, struct lct_tool *tool,
                                const char *file, struct lct_err *err);
void lct_approver_close(struct lct_approver *approver);

/* Whether the key is the authority of what has this seal. */
bool lct_approver_is_of(const struct lct_approver *approver, const struct lct_seal *seal);

/* Whether it is that of a key of this identity that signs. */
bool lct_approver_serves(const struct lct_approver *approver, const struct lct_record *record);

/* What the PCRs of values->pcrs hold, or are predicted to. Errors of lct_tpm_read_pcrs and
 * lct_prediction_apply. */
enum lct_code lct_approver_read(const struct lct_approver *approver, struct lct_pcr_values *values,
                                const char *label, struct lct_err *err);

/*
 * Plans to approve, for an identity, the state of `values`, or with NULL what its PCRs hold now.
 * Its counter, if it has one, is read: errors of lct_tpm_counter_read.
 * Nothing is signed before lct_approver_finish. `values` may hold more than the PCRs that the
 * identity is sealed to; of one that is sealed to the authority alone all of them count.
 * It is for the keys that this authority seals and that sign. Those under one policyRef take each
 * other's approvals, whichever PCRs they are sealed to, and get one: for the active key, or else
 * the newest. With `out` it is one in all, rather the active key's, and with `revoke` that, though
 * it has ended. Of a key that is not the active one what fails is told on stderr. LCT_ERR_ENDED;
 * LCT_ERR_USAGE: nothing can approve for it, or a PCR is not in the values; LCT_ERR_WRONG_KEY: its
 * authority is another. Errors of lct_tpm_read_pcrs.
 */
enum lct_code lct_approver_plan(struct lct_approver *approver, const char *id,
                                const struct lct_pcr_values *values, struct lct_err *err);

/*
 * Plans to approve a state under a policyRef and counter, those of `under`, that somebody else has
 * asked for: into the store `dir`. `whom` is for people. LCT_ERR_INTERNAL alone.
 */
enum lct_code lct_approver_plan_asked(struct lct_approver *approver,
                                      const struct lct_approval *under,
                                      const struct lct_pcr_values *values, const char *dir,
                                      const char *whom, struct lct_err *err);

/*
 * Signs what was planned, each approval once, writes it and says so; warns on stderr where nothing
 * is measured, and of the keys that sign and that an approval opens although it is of fewer PCRs.
 * LCT_ERR_USAGE, before anything is signed: `out` is set and these are several approvals.
 * LCT_ERR_STORE; LCT_ERR_IO.
 */
enum lct_code lct_approver_finish(struct lct_approver *approver, struct lct_err *err);

/* Nothing is planned any more. */
void lct_approver_forget(struct lct_approver *approver);

/*
 * The same of the one identity that was planned, with `revoke`, and counts its counter up, so that
 * what was approved before is void: also what a run that came no further than to its approval has
 * left, wherever that was copied to. No failure leaves the identity without an approval. The caller
 * keeps others from doing the same meanwhile (lct_change_begin). LCT_ERR_TPM: the counter is not at
 * the value that was approved for. Errors of lct_tpm_counter_increment.
 */
enum lct_code lct_approver_revoke(struct lct_approver *approver, struct lct_err *err);

#endif
