/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_KEY_H
#define LCT_STORE_KEY_H

#include "base/config.h"
#include "base/error.h"
#include "base/packed.h"
#include "base/secret.h"
#include "store/keyfile.h"
#include "store/record.h"
#include "tcg/crypto.h"
#include "tpm/tpm.h"

#include <openssl/types.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>

/* Approvals that a key has taken up, the newest first; they stay as long as the key does. */
struct lct_key_approvals {
    struct lct_key_approvals *older; /* what was known before, which others may still look at */
    size_t num;
    struct lct_approval all[];
};

/* The state of a record that was read; all zero: it has not been looked at. */
struct lct_key_seen {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

/* What a key knows of its life, the newest first; they stay as long as the key does. */
struct lct_key_life {
    struct lct_key_life *older;
    struct lct_life life;
    bool gone; /* the identity was deleted, or has another key in its place */
    bool back; /* its record is an older one than `life`, which was seen before */
    struct lct_key_seen seen;
};

enum { LCT_KEY_LABEL = 4 + LCT_MAX_ID + 20 + 1 }; /* bytes of a label at most, NUL included */

/* What a generation of a record is called: "lct:alice"; if it is not the active one, its URI. */
void lct_generation_label(char label[LCT_KEY_LABEL], const struct lct_record *record,
                          const struct lct_generation *generation);

/*
 * A key of an identity: one generation's record, public key and wrapped private key. Immutable (but
 * for the approvals and the life it knows of, which grow) and counted; it holds nothing of the
 * TPM's, so threads and forks may share it as they like. A key in software is never shown to
 * lct_tpm_*: no TPM needs to be there.
 *
 * A program may have thousands. So what is asked of a key all the time is a member here, and the
 * rest of what its record says is packed: lct_key_generation.
 */
struct lct_key {
    atomic_uint references;
    unsigned number; /* of its generation; 0: it is of no identity */
    /* What messages call it: "lct:alice", "lct:alice (custody: software)"; "key file
     * 000b1a2b3c4d5e6f" by its Name; of sealed data the file's name. */
    char *label;
    const struct lct_algorithm *algorithm; /* NULL: sealed data */
    enum lct_custody custody;
    enum lct_seal_kind seal;
    enum lct_pss_salt pss_salt;
    uint32_t hashes;               /* that its TPM signs with: bit n is row n of lct_hashes */
    uint32_t attributes;           /* of its public area: TPMA_OBJECT_* */
    uint16_t scheme, scheme_hash;  /* of its public area */
    bool has_passphrase;           /* it takes one to sign */
    bool unattended;               /* the passphrase is from a file: nobody has typed it */
    struct lct_packed *generation; /* a struct lct_generation */
    struct lct_keyfile keyfile;    /* without its seal */
    uint8_t *encrypted; /* of a key in software, which has no public area and no keyfile: its
                           PKCS #8, encrypted; see store/software.h */
    size_t encrypted_len;
    EVP_PKEY *private_key; /* of a key in software, in the private library context; NULL: it was
                              not unlocked */
    struct lct_secret passphrase;  /* of the key; empty: it has none, or it is not known */
    struct lct_tries *tries;       /* of the passphrase; the one thing that changes. NULL: none */
    struct lct_secret *owner_auth; /* of the hierarchy in which the parent is made anew each time;
                                      NULL: not known */
    EVP_PKEY *pkey;                /* the public key, in the private library context */
    struct lct_lines *audit;       /* of the configuration; NULL: signatures are not audited */
    char *dir;                     /* the store it is in, to look for approvals; NULL: none */
    char *pcr_signature;           /* systemd's approvals: the file; NULL: none */
    struct lct_key_approvals *_Atomic approvals; /* taken up so far; NULL: none */
    struct lct_key_life *_Atomic life;           /* store/life.h; NULL: of no identity */
    OSSL_LIB_CTX *libctx;
    struct lct_crypto *crypto;
    char id[]; /* empty: of a key file alone */
};

/* All that its record, or its key file alone, says of it, into *generation, which is returned. */
const struct lct_generation *lct_key_generation(struct lct_generation *generation,
                                                const struct lct_key *key);

/* Its Name; empty: a key in software has none. */
struct lct_name lct_key_name(const struct lct_key *key);

/* lct_public_is_bound of its public area. */
bool lct_key_is_bound(const struct lct_key *key);

/*
 * Makes a key of the generation `number` (0: the active one) of `record` and its key file's bytes,
 * which must agree: the same Name, algorithm and parent, and the seal of the record is the policy
 * in the public area, without which the TPM does nothing with the key. A key at a persistent handle
 * has no file, and then `pem` is not looked at; of a key in software the file is what
 * lct_software_read takes. Sends the TPM nothing. LCT_ERR_NOT_FOUND: no such generation;
 * LCT_ERR_BAD_RECORD; LCT_ERR_UNSUPPORTED: a kind of key file or policy we do not follow.
 */
enum lct_code lct_key_new(struct lct_key **key, struct lct_crypto *crypto,
                          const struct lct_record *record, unsigned number, const uint8_t *pem,
                          size_t pem_len, struct lct_err *err);

/*
 * Makes a key of a TSS2 PRIVATE KEY alone, which is of no identity: what its TPM can do with it is
 * not known, nor its parent's Name. Sends the TPM nothing. A key that is not to be signed with as
 * it is (lct_key_check) is a key all the same. LCT_ERR_BAD_RECORD; LCT_ERR_UNSUPPORTED: it holds no
 * key, or one of a kind that we have no row for.
 */
enum lct_code lct_key_from_keyfile(struct lct_key **key, struct lct_crypto *crypto,
                                   const uint8_t *bytes, size_t bytes_len, struct lct_err *err);

/*
 * Makes a key, in the sense of lct_tpm_unseal, of a TSS2 PRIVATE KEY that holds sealed data. It has
 * no public key. `seal` is what it is sealed to where the file cannot say that, of kind
 * LCT_SEAL_NONE: what the file says. `parent_name` is its parent's, or empty: not known. `label` is
 * what messages call it, cut short if need be. Sends
 * the TPM nothing. LCT_ERR_BAD_RECORD: also a seal that its authPolicy is not of;
 * LCT_ERR_UNSUPPORTED: it holds a key, or a policy that we do not follow.
 */
enum lct_code lct_key_from_sealed(struct lct_key **key, struct lct_crypto *crypto,
                                  const uint8_t *bytes, size_t bytes_len,
                                  const struct lct_seal *seal, const struct lct_name *parent_name,
                                  const char *label, struct lct_err *err);

/*
 * Whether a public area is of what is sealed so: its policy is this one, with PolicyAuthValue after
 * it if `passphrase`, and there is no way around it: userWithAuth and adminWithPolicy are clear.
 * LCT_ERR_BAD_RECORD, in a sentence; LCT_ERR_INTERNAL.
 */
enum lct_code lct_key_check_seal(const struct lct_public *public_area, OSSL_LIB_CTX *libctx,
                                 const struct lct_seal *seal, bool passphrase, struct lct_err *err);

/* Whether this lct can sign with the key, as far as is known without asking the TPM.
 * LCT_ERR_UNSUPPORTED, in a sentence. */
enum lct_code lct_key_check(const struct lct_key *key, struct lct_err *err);

/* Whether its private key is in software. */
bool lct_key_is_software(const struct lct_key *key);

/* The key's TSS2 PRIVATE KEY, to write it for others. LCT_ERR_UNSUPPORTED: it has none. */
enum lct_code lct_key_file(const struct lct_keyfile **keyfile, const struct lct_key *key,
                           struct lct_err *err);

/* That file as PEM; the caller frees *pem with OPENSSL_free. As it is, but for a key that is sealed
 * to an authority alone: of that it has the approvals that there are now, since other tools look
 * for them there. Errors as lct_key_file and lct_key_take_approvals. */
enum lct_code lct_key_export(uint8_t **pem, size_t *pem_len, const struct lct_key *key,
                             struct lct_err *err);

struct lct_key *lct_key_up_ref(struct lct_key *key);
void lct_key_free(struct lct_key *key);

/* Whether it takes a passphrase to sign with it that the key was not given yet. */
bool lct_key_is_locked(const struct lct_key *key);

/*
 * Gives a key that nobody else has seen yet what the configuration has for it: passphrase_file,
 * which is a file, or a directory with a file named like the identity; else the service's
 * credential lct.ID; owner_auth_file if its parent has to be made anew; and what lct_key_look_in
 * does, in the store that it is in. It may be locked after that, too. A key in software is refused
 * first where the configuration has no use for it (LCT_ERR_HARDWARE), or its life is over
 * (LCT_ERR_ENDED: what a program is given here is beyond us afterwards), and lct_key_open is called
 * if its passphrase is known. LCT_ERR_IO, LCT_ERR_AUTH: what a file holds is no authorization
 * value; errors of lct_key_open.
 */
enum lct_code lct_key_unlock(struct lct_key *key, const struct lct_config *config,
                             struct lct_err *err);

/* Reads the passphrase of a key that nobody else has seen yet from a file. Errors of
 * lct_secret_read. */
enum lct_code lct_key_read_passphrase(struct lct_key *key, const char *file, struct lct_err *err);

/* Gives a key that nobody else has seen yet the authorization of its parent's hierarchy.
 * LCT_ERR_INTERNAL. */
enum lct_code lct_key_set_owner_auth(struct lct_key *key, const struct lct_secret *auth,
                                     struct lct_err *err);

/* After lct_key_unlock, if that left the key locked and whoever was asked has told its passphrase:
 * decrypts a key in software. Nothing for others, whose passphrase is the TPM's to judge. Errors of
 * lct_software_decrypt. */
enum lct_code lct_key_open(struct lct_key *key, struct lct_err *err);

/* The key as tpm/ takes it: borrowed values, good for as long as the key and *generation, which is
 * filled in. */
struct lct_tpm_key lct_key_values(const struct lct_key *key, struct lct_generation *generation);

/* Tells a key that nobody else has seen yet where its signatures are audited, as configured, and
 * where its approvals are: in the store `dir` (NULL: in none) and as configured; takes up those
 * that are there. LCT_ERR_INTERNAL. */
enum lct_code lct_key_look_in(struct lct_key *key, const char *dir, const struct lct_config *config,
                              struct lct_err *err);

/* Takes up the approvals of a sealed key that are in its file, in its store and with systemd's now.
 * Nobody has to wait for anybody. LCT_ERR_INTERNAL. */
enum lct_code lct_key_take_approvals(const struct lct_key *key, struct lct_err *err);

/* lct_key_sign of a whole message, which is the one way for a scheme without a hash. */
enum lct_code lct_key_sign_message(const struct lct_key *key, struct lct_tpm *tpm,
                                   struct lct_signature *signature, const struct lct_scheme *scheme,
                                   const uint8_t *message, size_t message_len, struct lct_err *err);

/*
 * lct_tpm_sign and lct_tpm_unseal with the approvals that are known; after LCT_ERR_SEALED with
 * those that the store has got since, and these are known from then on. Errors of those. A key in
 * software signs by itself, if it is open: `tpm` may be NULL then. Each signature, and each that is
 * refused, is in the audit first, where there is one (store/audit.h): every signature of ours
 * passes here or in lct_key_sign_message, but those that try a key before it is an identity's.
 */
enum lct_code lct_key_sign(const struct lct_key *key, struct lct_tpm *tpm,
                           struct lct_signature *signature, const struct lct_scheme *scheme,
                           const uint8_t *digest, size_t digest_len, struct lct_err *err);
enum lct_code lct_key_unseal(const struct lct_key *key, struct lct_tpm *tpm,
                             uint8_t data[LCT_MAX_SEALED], size_t *data_len, struct lct_err *err);

/*
 * How this key signs digests of `hash`: ECDSA, or for RSA PKCS#1 v1.5, or PSS with the salt its TPM
 * is known to use; Ed25519 without a hash, whatever `hash` is. LCT_ERR_UNSUPPORTED: its TPM cannot,
 * or the key is bound to another scheme, in a sentence; and what lct_key_check says.
 */
enum lct_code lct_key_scheme(struct lct_scheme *scheme, const struct lct_key *key,
                             const struct lct_hash *hash, bool pss, struct lct_err *err);

/* How it signs where nobody says how: by the scheme and hash that it is bound to, if it is to one,
 * else ECDSA with its curve's hash, or PKCS#1 v1.5 with SHA-256. Errors of lct_key_scheme. */
enum lct_code lct_key_default_scheme(struct lct_scheme *scheme, const struct lct_key *key,
                                     struct lct_err *err);

/*
 * A digest in the size of scheme->hash, the one a curve is signed with: its leftmost bytes, or
 * zeros before it (FIPS 186-4, 6.4). `fitted` holds LCT_MAX_HASH; returns its length. RSA's digests
 * are left as they are.
 */
size_t lct_key_fit_digest(const struct lct_scheme *scheme, uint8_t *fitted, const uint8_t *digest,
                          size_t digest_len);

#endif
