/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_TRUST_H
#define LCT_PROOF_TRUST_H

#include "base/error.h"
#include "proof/der.h"
#include "proof/verdict.h"
#include "tcg/pcr.h"
#include "tcg/public.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/*
 * What a verifier trusts: a directory of root certificates of TPM makers, or a trust file, JSON:
 *
 *     {"version": 1,
 *      "ek_roots": ["tpm-makers", "other-root.pem"],
 *      "ek_keys": ["<hex>"],
 *      "vendors": ["INTC", "00001014"],
 *      "ak_issuers": ["witness.pem"],
 *      "verdict_issuers": ["w.pem"],
 *      "witnesses": ["w.pem"],
 *      "policies": {"pcrs": "sha256:7", "authorities": ["<hex>"]}}
 *
 * ek_roots: files and directories of certificates of TPM makers. ek_keys: SHA-256 of
 * SubjectPublicKeyInfo, in hexadecimal, of EKs that are known. vendors: the only TPM makers that
 * are taken, by TCG's id: its characters or eight digits. ak_issuers: files and directories of
 * certificates of who issues AK certificates. verdict_issuers: those of public keys or certificates
 * of who signs verdicts. witnesses: the same of whose signatures count under successions.
 *
 * A file has one or more of them in PEM, or one certificate in DER. Of a directory each *.pem,
 * *.crt and *.cer is taken, but those whose name begins with a dot. A certificate is trusted as it
 * is: it may be an intermediate one, and who is further up need not be there.
 *
 * Nothing but "version" has to be there, and nothing else may; no list is empty. Paths are relative
 * to the trust file's directory. No root is built in. Without "vendors" the makers are those of the
 * TCG Vendor ID Registry; a software TPM's (swtpm's is 00001014) has to be named. "policies" is
 * which seals are taken: "pcrs" are those that the state of each sealing has to cover,
 * "authorities" the fingerprints (as `lct authority` shows) of who may approve other states.
 */
struct lct_trust;

/*
 * Reads it, with all the files that it names, into the private `libctx`. lct_trust_free frees it.
 * LCT_ERR_CONFIG: in a sentence, what in which file is wrong: a file or directory that is not there
 * or has no certificate in it, a certificate that cannot be read, a private key, an unknown member.
 */
enum lct_code lct_trust_read(struct lct_trust **trust, OSSL_LIB_CTX *libctx, const char *path,
                             struct lct_err *err);
void lct_trust_free(struct lct_trust *trust);

/* An EK as its TPM's owner presents it: nothing of it is believed. Borrowed. */
struct lct_ek_given {
    const struct lct_public *public_area;
    const struct lct_der *certificate;   /* NULL, or of no length: it has none */
    const struct lct_der_chain *issuers; /* that may be on the way to a root; NULL: none */
};

/*
 * Whether the EK is that of a TPM of a known maker at this time; *finding says so and why, for
 * people: LCT_PASSED, or LCT_FAILED.
 *
 * The public area: an endorsement key's attributes (restricted, decrypt, fixedTPM, fixedParent,
 * sensitiveDataOrigin, not sign, not encryptedDuplication), a kind of key, nameAlg and cipher that
 * we take. Then: its key is one of "ek_keys"; or the certificate (TCG EK Credential Profile 2.5, 3)
 * is of this key, chains to one of "ek_roots" (every certificate of the chain valid at `now`, which
 * may lie in the year 9999; no SHA-1, no RSA below 2048 bits), is not a CA's, is of version 3, has
 * the extended key usage 2.23.133.8.1 and not 2.23.133.8.3, key usage keyEncipherment (RSA) or
 * keyAgreement (ECC) and not digitalSignature, and a critical (or, with a subject, any)
 * subjectAltName with the TPM's maker, model and version (2.23.133.2.1, .2, .3, in one RDN or in
 * three), whose maker is one of the vendors. Whether one was revoked is not asked. A reason names
 * the maker, and says if it is none of the TCG's registry.
 */
void lct_trust_judge_ek(struct lct_finding *finding, const struct lct_trust *trust,
                        const struct lct_ek_given *ek, time_t now);

/* Whether it is so by its certificate, and not by its key alone: then what the certificate says of
 * the TPM is true. */
bool lct_trust_certifies_ek(const struct lct_trust *trust, const struct lct_ek_given *ek,
                            time_t now);

/*
 * Whether an AK certificate (DER), with issuers on the way as above, is one by "ak_issuers" at this
 * time, of this public key, as lct_ak_certificate_fault asks. LCT_PASSED or LCT_FAILED;
 * LCT_NOT_CLAIMED: it has no certificate, or no issuer is trusted at all.
 */
struct lct_ak_given {
    EVP_PKEY *pkey;
    const struct lct_der *certificate;
    const struct lct_der_chain *issuers; /* NULL: none */
};
void lct_trust_judge_ak(struct lct_finding *finding, const struct lct_trust *trust,
                        const struct lct_ak_given *ak, time_t now);

/* The public keys of "verdict_issuers" that hold at `now` (a certificate's only while it is valid),
 * numbered from 0, borrowed; NULL behind the last. */
EVP_PKEY *lct_trust_verdict_issuer(const struct lct_trust *trust, size_t i, time_t now);

/* Whether "witnesses" are there, and the keys of them as above. */
bool lct_trust_has_witnesses(const struct lct_trust *trust);
EVP_PKEY *lct_trust_witness(const struct lct_trust *trust, size_t i, time_t now);

/* Whether "policies" are there at all, the PCRs of them (num_banks 0: any), and whether an
 * authority of this fingerprint (SHA-256 of SubjectPublicKeyInfo, hexadecimal) may approve. */
bool lct_trust_has_policies(const struct lct_trust *trust);
const struct lct_pcrs *lct_trust_pcrs(const struct lct_trust *trust);
bool lct_trust_accepts_authority(const struct lct_trust *trust, const char *fingerprint);

#endif
