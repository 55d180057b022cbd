/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_TPM_H
#define LCT_TPM_TPM_H

#include "base/config.h"
#include "base/error.h"
#include "base/secret.h"
#include "tcg/algorithm.h"
#include "tcg/public.h"
#include "tcg/seal.h"
#include "tcg/signature.h"
#include "tpm/deadline.h"

#include <openssl/types.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The way in to a TPM, shared by everything in the process that names the same one. Opening it
 * sends nothing and connects to nothing; the first command does. One command at a time: calls from
 * several threads wait for each other. Every call takes values and returns values and leaves
 * nothing in the TPM but, where a resource manager forgets it with the connection or there is room
 * for more, the one key it signed with last, which goes when another takes its place, the last user
 * closes or the process exits. A process that is killed leaves that one behind in a TPM without a
 * resource manager.
 *
 * A connection that breaks, since the TPM or its resource manager was restarted, is opened anew. A
 * child of fork opens a connection of its own; where it cannot, in a chroot or with other
 * privileges, it goes on with its parent's if that is the kernel's resource manager's.
 *
 * Errors of every call that sends a command: LCT_ERR_NO_TPM (no way in, or it broke),
 * LCT_ERR_TIMEOUT, LCT_ERR_CONFIG (the way in is none), LCT_ERR_TPM_FULL, LCT_ERR_LOCKOUT,
 * LCT_ERR_AUTH, LCT_ERR_TPM (any other refusal, in words).
 */
struct lct_tpm;

/* By the configuration's `tcti` and `timeout`. LCT_ERR_INTERNAL alone. */
enum lct_code lct_tpm_open(struct lct_tpm **tpm, const struct lct_config *config,
                           struct lct_err *err);
void lct_tpm_close(struct lct_tpm *tpm);

/*
 * Ahead of need, when a key of that Name is loaded: opens the kernel's resource manager's device if
 * that is the way in, for a process that will be in a chroot or without privileges when it signs,
 * and for its children. Sends nothing; nothing happens if it does not open. Without a resource
 * manager it remembers the Name: where there is no slot for a key, what a child that was killed has
 * left of another one of the program's is thrown out, too.
 */
void lct_tpm_prepare(struct lct_tpm *tpm, const struct lct_name *name);

enum { LCT_MAX_BLOB = 1024 }; /* bytes of a TPM2B_PUBLIC or TPM2B_PRIVATE, sizes included */

/* Where the storage root key is: TCG TPM v2.0 Provisioning Guidance, 7.8. */
static const uint32_t lct_srk_handle = 0x81000001;

/* Whether a storage key can be there: a persistent handle, or one of the four hierarchies. */
bool lct_tpm_is_parent(uint32_t where);

/* What became of a key's authorization value so far. Processes that share the key share this: a
 * wrong one is tried once, and not by every child of a server, as often as somebody connects. */
struct lct_tries {
    atomic_bool proven;  /* it was right */
    atomic_bool refused; /* it was wrong, never right, and the TPM counts */
};

/* What the TPM has to be told of a key: values, borrowed from their owner for the length of a call.
 */
struct lct_tpm_key {
    const char *label; /* "lct:alice", for messages */
    /* A persistent handle, or a hierarchy (TPM2_RH_OWNER, _ENDORSEMENT, _PLATFORM, _NULL) in which
     * the SRK's template is made anew: ECC P-256, or with `rsa_parent` RSA 2048. */
    uint32_t parent;
    bool rsa_parent;
    const struct lct_name *parent_name; /* pinned when the key was made; empty: not known */
    /* 0: it is wrapped. Else it is at this persistent handle, has no private area, and `parent` is
     * what a session for it is salted to. */
    uint32_t handle;
    uint32_t persistent; /* a wrapped one is at this persistent handle as well; 0: at none */
    const struct lct_name *name;
    const uint8_t *public_area; /* TPM2B_PUBLIC that lct_public_decode takes */
    size_t public_len;
    const uint8_t *private_area; /* TPM2B_PRIVATE, wrapped by the parent */
    size_t private_len;
    EVP_PKEY *pkey;                       /* the public key */
    bool needs_auth;                      /* it has an authorization value */
    const struct lct_secret *auth;        /* that value; NULL or empty: not known */
    bool unattended;                      /* nobody has typed it, and the TPM counts wrong ones */
    struct lct_tries *tries;              /* of it, the key's owner's; NULL: it has none */
    const struct lct_secret *owner_auth;  /* the hierarchy's, for a parent made anew; or NULL */
    const struct lct_seal *seal;          /* what it is sealed to; NULL or LCT_SEAL_NONE: nothing */
    const struct lct_approval *approvals; /* those that may fit; none is believed unseen */
    size_t num_approvals;
    OSSL_LIB_CTX *libctx; /* the private library context */
    /* That all which is done with these values shares; NULL: each call has its own. */
    struct lct_allowance *allowance;
};

/*
 * Signs a digest of scheme->hash's size, with TPM2_Load first if the key is not the one used last.
 * A key at a persistent handle is used there, once its Name was seen; it is never flushed. A
 * wrapped key that is at one as well is used there, too: without a passphrase, a seal or a session
 * that is TPM2_Sign and nothing before it, since the signature shows whose it is, else once its
 * Name was seen. If it is not there, or what is there refuses, it is loaded, and no more is asked
 * at the handle by that connection.
 * An authorization value never crosses the bus: it is proved in an HMAC session salted to the
 * parent, whose Name must be the pinned one. What the TPM returns is verified in software before it
 * is handed out: a swapped object or a fault is an error, not a signature. LCT_ERR_AUTH: the
 * authorization is not known, and nothing was sent, or it is wrong; it was tried once, and the
 * message says how many tries are left before LCT_ERR_LOCKOUT. One that nobody typed may be tried
 * by a service that is started again and again: until it was right once the TPM is asked before,
 * and where one more wrong one would be the lockout it is LCT_ERR_AUTH, untried. Where no parent's
 * Name is pinned, any storage key that is there is taken that says it is fixed to its TPM: who
 * answers in the TPM's place may guess at a passphrase then. LCT_ERR_OTHER_TPM: the parent is not
 * the key's; LCT_ERR_BAD_RECORD: the wrapped key is damaged; LCT_ERR_WRONG_KEY: the object or the
 * signature is not the key's.
 *
 * A sealed key's policy is satisfied for each signature, in a policy session; if a passphrase is
 * proved in that it is salted like the other. LCT_ERR_SEALED: the PCRs have neither the values of
 * the sealing nor any that one of the approvals is for, and the message names one that differs; or
 * the approval that is for them was not made by the key's authority, or is revoked.
 */
enum lct_code lct_tpm_sign(struct lct_tpm *tpm, struct lct_signature *signature,
                           const struct lct_tpm_key *key, const struct lct_scheme *scheme,
                           const uint8_t *digest, size_t digest_len, struct lct_err *err);

/* Loads the key, wherever it is besides, and reads its public area as the TPM reports it. Errors as
 * lct_tpm_sign. */
enum lct_code lct_tpm_inspect(struct lct_tpm *tpm, struct lct_public *reported,
                              struct lct_name *name, const struct lct_tpm_key *key,
                              struct lct_err *err);

enum { LCT_MAX_SEALED = 128 }; /* bytes of sealed data (TPM 2.0 Part 2: MAX_SYM_DATA) */

/*
 * TPM2_Unseal of a sealed data object, which has no `pkey`: its data, encrypted on the bus, into
 * `data`, which the caller wipes. Errors as lct_tpm_sign.
 */
enum lct_code lct_tpm_unseal(struct lct_tpm *tpm, uint8_t data[LCT_MAX_SEALED], size_t *data_len,
                             const struct lct_tpm_key *key, struct lct_err *err);

/*
 * TPM2_PCR_Read: what the PCRs of values->pcrs, which the caller fills in, hold now. Nothing
 * protects it on the bus. LCT_ERR_UNSUPPORTED: the TPM keeps no such bank (it would silently seal
 * to nothing), or lacks one of the PCRs. `label` is for messages.
 */
enum lct_code lct_tpm_read_pcrs(struct lct_tpm *tpm, struct lct_pcr_values *values,
                                const char *label, struct lct_err *err);

/*
 * Whether the TPM takes the key of the seal's authority, as it has to for each of its approvals:
 * TPM2_LoadExternal, and out of the TPM again. LCT_ERR_UNSUPPORTED: it does not; the message is of
 * `label`.
 */
enum lct_code lct_tpm_try_authority(struct lct_tpm *tpm, const struct lct_seal *seal,
                                    const char *label, OSSL_LIB_CTX *libctx, struct lct_err *err);

/* What an NV counter is asked or made for: values, borrowed. */
struct lct_tpm_counter_request {
    const char *label;
    const struct lct_secret *owner_auth; /* the owner's, who alone may make, count up and remove it;
                                            NULL or empty: none */
    OSSL_LIB_CTX *libctx;
    const char *maker; /* for whom one is made: a text by which lct_tpm_counter_is_of knows it
                          again; NULL: nobody will ask */
    /* The storage key of a key of this TPM, as in struct lct_tpm_key. With its Name, what the TPM
     * says goes by a session that is salted to it, and nobody else can say it: LCT_ERR_NO_TPM.
     * NULL or empty: whoever is on the bus is believed. */
    uint32_t parent;
    const struct lct_name *parent_name;
};

/*
 * An NV counter that anybody reads and the TPM's owner counts up. Making finds a free index, counts
 * it once and fills in *counter; reading and counting up fill in counter->value alone, and the
 * index must have the counter's Name: LCT_ERR_OTHER_TPM, also if the parent is another.
 * LCT_ERR_AUTH: the owner's authorization is needed, or wrong. LCT_ERR_TPM_FULL: there is no room
 * in the TPM's NV memory.
 */
enum lct_code lct_tpm_counter_make(struct lct_tpm *tpm, struct lct_counter *counter,
                                   const struct lct_tpm_counter_request *request,
                                   struct lct_err *err);
enum lct_code lct_tpm_counter_read(struct lct_tpm *tpm, struct lct_counter *counter,
                                   const struct lct_tpm_counter_request *request,
                                   struct lct_err *err);
enum lct_code lct_tpm_counter_increment(struct lct_tpm *tpm, struct lct_counter *counter,
                                        const struct lct_tpm_counter_request *request,
                                        struct lct_err *err);
enum lct_code lct_tpm_counter_remove(struct lct_tpm *tpm, const struct lct_counter *counter,
                                     const struct lct_tpm_counter_request *request,
                                     struct lct_err *err);

enum { LCT_MAX_COUNTERS = 64 };

/* The NV counters in the TPM that are made as ours are, of whichever store. */
struct lct_tpm_counters {
    size_t num;
    struct lct_tpm_counter {
        uint32_t handle;
        struct lct_name name; /* as the TPM says; of one that was never counted its Name of then */
        uint8_t tag[LCT_POLICY_DIGEST]; /* its authPolicy */
    } all[LCT_MAX_COUNTERS];
};

enum lct_code lct_tpm_list_counters(struct lct_tpm *tpm, struct lct_tpm_counters *counters,
                                    const char *label, struct lct_err *err);

/* The one with that Name, which need not be made as ours are: then its tag is zero, and nobody's.
 * LCT_ERR_OTHER_TPM: what is at its index, if anything, is another. */
enum lct_code lct_tpm_counter_find(struct lct_tpm *tpm, struct lct_tpm_counter *found,
                                   const struct lct_counter *counter, const char *label,
                                   struct lct_err *err);

/* Whether lct_tpm_counter_make has made it for `maker`. It does not talk to the TPM. */
bool lct_tpm_counter_is_of(const struct lct_tpm_counter *counter, const char *maker,
                           OSSL_LIB_CTX *libctx);

/* A key as TPM2_Create makes it: the blobs of a key file. Nothing of it is in the TPM. */
struct lct_tpm_created {
    uint32_t parent;
    struct lct_name parent_name;
    bool made_srk; /* a storage root key was made and is at lct_srk_handle now */
    size_t public_len, private_len;
    uint8_t public_area[LCT_MAX_BLOB], private_area[LCT_MAX_BLOB];
};

/* What a key is to be: values, borrowed for the length of a call. */
struct lct_tpm_template {
    const char *label;
    const struct lct_algorithm *algorithm; /* NULL: sealed data, not a key */
    const uint8_t *data;                   /* what to seal: 1 to LCT_MAX_SEALED bytes */
    size_t data_len;
    const uint8_t *policy;              /* authPolicy, LCT_POLICY_DIGEST bytes: then userWithAuth is
                                           clear; NULL: none */
    bool provision;                     /* a storage root key may be made and persisted */
    const struct lct_name *parent_name; /* that of the storage root key; NULL or empty: any */
    const struct lct_secret *auth;      /* its authorization value; NULL or empty: none */
    const struct lct_secret *owner_auth; /* the owner's, to make a storage root key; or NULL */
    OSSL_LIB_CTX *libctx;                /* the private library context */
};

/*
 * Makes an unrestricted signing key, or seals data, that cannot leave this TPM, under the storage
 * root key. Where there is none it is made from the TCG's template and, if `provision`, persisted;
 * otherwise it is transient and TPM2_RH_OWNER is the parent. With an authorization value it is
 * subject to the TPM's protection against guessing (its lockout), else exempt. What is secret of
 * what it is made from, an authorization value or data, is encrypted on the bus.
 * LCT_ERR_UNSUPPORTED: the TPM has no such algorithm; LCT_ERR_AUTH: the owner's authorization is
 * needed, or wrong; LCT_ERR_WRONG_KEY: what came back was not made from that; LCT_ERR_OTHER_TPM:
 * the storage root key is another one, created->parent_name, and was neither persisted nor used.
 */
enum lct_code lct_tpm_create(struct lct_tpm *tpm, struct lct_tpm_created *created,
                             const struct lct_tpm_template *from, struct lct_err *err);

/* The authorizations of hierarchies, as far as they are known: values, borrowed; NULL or empty: it
 * is not known. */
struct lct_tpm_auths {
    const struct lct_secret *owner, *endorsement;
};

/* Which of them making a parent anew takes, where it is: as in struct lct_tpm_key. In the
 * endorsement hierarchy that one's; else the owner's, who puts a storage root key at its handle,
 * too. */
const struct lct_secret *lct_tpm_auth_for(const struct lct_tpm_auths *auths, uint32_t where);

/* A storage key, for keys that come from elsewhere. */
struct lct_tpm_parent {
    uint32_t where; /* a persistent handle, or a hierarchy */
    struct lct_name name;
    struct lct_public public_area;
    size_t public_len;
    uint8_t public_bytes[LCT_MAX_BLOB]; /* the same as TPM2B_PUBLIC */
    bool made_srk; /* it is the storage root key, and was made and put at lct_srk_handle now */
};

/* Which one, and what making it takes: values, borrowed for the length of a call. */
struct lct_tpm_parent_request {
    const char *label;
    uint32_t where; /* as in struct lct_tpm_key; 0: the one that lct_tpm_create takes */
    bool rsa_parent;
    bool provision;                      /* as in struct lct_tpm_template */
    const struct lct_name *pinned;       /* its Name; NULL or empty: any */
    const struct lct_secret *owner_auth; /* the hierarchy's; or NULL */
    OSSL_LIB_CTX *libctx;
};

/* Finds the storage key and its Name, computed in software. LCT_ERR_OTHER_TPM: there is none, or
 * it is not the pinned one: then parent->name is its Name;
 * LCT_ERR_UNSUPPORTED: it is no storage key that is fixed to this TPM; LCT_ERR_AUTH. */
enum lct_code lct_tpm_find_parent(struct lct_tpm *tpm, struct lct_tpm_parent *parent,
                                  const struct lct_tpm_parent_request *request,
                                  struct lct_err *err);

/* A key that was wrapped for a storage key of this TPM elsewhere: values, borrowed. */
struct lct_tpm_importable {
    const char *label;
    uint32_t parent; /* as in struct lct_tpm_key */
    bool rsa_parent;
    const struct lct_name *parent_name; /* of lct_tpm_find_parent */
    const uint8_t *public_area;         /* TPM2B_PUBLIC that lct_public_decode takes */
    size_t public_len;
    const uint8_t *duplicate; /* TPM2B_PRIVATE without an inner wrapper */
    size_t duplicate_len;
    const uint8_t *seed; /* what a TPM2B_ENCRYPTED_SECRET holds */
    size_t seed_len;
    const struct lct_secret *owner_auth; /* the hierarchy's; or NULL */
    OSSL_LIB_CTX *libctx;
};

/* TPM2_Import: the key as TPM2_Load takes it. LCT_ERR_OTHER_TPM: it was wrapped for another storage
 * key, or is damaged; LCT_ERR_UNSUPPORTED: the TPM takes no such key. */
enum lct_code lct_tpm_import(struct lct_tpm *tpm, struct lct_tpm_created *created,
                             const struct lct_tpm_importable *from, struct lct_err *err);

/* The public area of the object at a persistent handle: a TPM2B_PUBLIC into LCT_MAX_BLOB bytes.
 * LCT_ERR_OTHER_TPM: there is none. */
enum lct_code lct_tpm_read_public(struct lct_tpm *tpm, uint8_t *public_area, size_t *public_len,
                                  uint32_t handle, const char *label, struct lct_err *err);

enum { LCT_MAX_HASHES = 16 };

/* What a TPM says of itself (TPM2_GetCapability). */
struct lct_tpm_info {
    char description[64]; /* manufacturer, vendor string and firmware, for people */
    bool software;        /* a simulator or emulator: its keys are as safe as its files */
    size_t num_hashes;
    const struct lct_hash *hashes[LCT_MAX_HASHES]; /* those we know that it has */
};

/* `label` is what it is asked for: "lct:alice", for messages. */
enum lct_code lct_tpm_describe(struct lct_tpm *tpm, struct lct_tpm_info *info, const char *label,
                               struct lct_err *err);

#endif
