/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_ENROL_H
#define LCT_STORE_ENROL_H

#include "base/error.h"
#include "store/store.h"
#include "tpm/tpm.h"

/* What making an identity and importing one have in common. */

/* Everything that can be known to fail before the TPM is asked: LCT_ERR_BAD_ID, LCT_ERR_EXISTS,
 * LCT_ERR_STORE. */
enum lct_code lct_enrol_check(const struct lct_store *store, const char *id,
                              const struct lct_owner *owner, struct lct_err *err);

/*
 * The record of a new identity: `generation` becomes its first, with the time, and with what `info`
 * says of the TPM. With `bound`, the public area of a key that may be bound to one scheme: then
 * only that scheme's hash is in it. The caller frees it. NULL if out of memory.
 */
struct lct_record *lct_enrol_record(const char *id, const struct lct_generation *generation,
                                    const struct lct_public *bound,
                                    const struct lct_tpm_info *info);

/* The key file of what the TPM made or took in, as PEM; the caller frees it with OPENSSL_free. Of
 * `generation` it has the passphrase and the seal; `source`, perhaps NULL, is the key file that the
 * key was in, which has its kind of parent and the approvals. */
enum lct_code lct_enrol_keyfile(uint8_t **pem, size_t *pem_len, struct lct_tpm_created *created,
                                const struct lct_generation *generation,
                                const struct lct_keyfile *source, struct lct_err *err);

/*
 * The salt length this TPM uses for PSS with an RSA key that nobody else has seen yet, into its
 * record's `generation` and into the key: some take the longest that fits, whatever TLS and X.509
 * ask for, so it is measured on one signature. A TPM or a key without PSS is a fact to record, not
 * an error. A sealed key that does not sign in this state of the boot is not needed for it: the
 * same is found out with a key of its kind, made for that and thrown away. Errors of lct_tpm_sign
 * and lct_tpm_create.
 */
enum lct_code lct_enrol_find_salt(struct lct_generation *generation, struct lct_key *key,
                                  struct lct_tpm *tpm, struct lct_err *err);

/* Makes a key of `from` that signs at once, is nowhere but here and gone afterwards, and does `use`
 * with it. Errors of lct_tpm_create and of `use`. */
enum lct_code lct_enrol_use_another(struct lct_tpm *tpm, const struct lct_tpm_template *from,
                                    enum lct_code (*use)(void *arg, struct lct_tpm *tpm,
                                                         const struct lct_tpm_key *key,
                                                         struct lct_err *err),
                                    void *arg, struct lct_err *err);

/* Signs a random message with the key, by the scheme that it is bound to, if it is to one. The
 * signature is verified in software. Errors of lct_key_scheme and lct_key_sign. */
enum lct_code lct_enrol_try(const struct lct_key *key, struct lct_tpm *tpm, struct lct_err *err);

#endif
