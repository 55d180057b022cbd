/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_RECORD_H
#define LCT_STORE_RECORD_H

#include "base/error.h"
#include "proof/subject.h" /* lct_end_reasons */
#include "store/id.h"
#include "tcg/algorithm.h"
#include "tcg/public.h"
#include "tcg/seal.h"
#include "tpm/tpm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The salt this TPM gives its PSS signatures, found out when the key was made. */
enum lct_pss_salt { LCT_SALT_NONE, LCT_SALT_DIGEST, LCT_SALT_MAX };

/* Where a private key is: in a TPM, or in software, in a file that is encrypted under a passphrase.
 */
enum lct_custody { LCT_CUSTODY_TPM, LCT_CUSTODY_SOFTWARE };

/*
 * One key of an identity: what is known of it beside its key file. Of a key in software the file is
 * an encrypted PKCS #8 (RFC 5958), public_area is its SubjectPublicKeyInfo in DER, `passphrase` is
 * true, and what is the TPM's, from `name` on but these, is empty.
 */
struct lct_generation {
    unsigned number; /* from 1 */
    enum lct_custody custody;
    const struct lct_algorithm *algorithm;
    char created[21]; /* RFC 3339, UTC, to the second */
    char until[21];   /* of one that was the active one: when it stops signing; "": it was not */
    struct lct_name name;
    /* 0: it is wrapped, in a key file. Else it is at this persistent handle, its TPM2B_PUBLIC is
     * here, and the parent is what a session for it is salted to: of the null hierarchy, and
     * without a Name, if there is no better. */
    uint32_t handle;
    size_t public_len;
    uint8_t public_area[LCT_MAX_BLOB];
    uint32_t persistent; /* where lct persist has put a wrapped key, besides; 0: nowhere */
    uint32_t parent;     /* a persistent handle, or a hierarchy: TPM2_RH_* */
    struct lct_name parent_name;
    size_t num_hashes; /* the hashes this TPM can sign with */
    const struct lct_hash *hashes[LCT_MAX_HASHES];
    enum lct_pss_salt pss_salt;
    bool passphrase;      /* it takes one to sign */
    struct lct_seal seal; /* what it is sealed to; kind LCT_SEAL_NONE: nothing */
    char tpm[64];         /* what the TPM called itself, for people */
    bool software_tpm;    /* it said that it is a simulator or emulator */
};

enum { LCT_MAX_GENERATIONS = 64, LCT_MAX_NUMBER = 999999 /* of a generation */ };

/* Whether an identity has come to its end: then none of its keys signs any more. */
enum lct_ending { LCT_NOT_ENDED, LCT_RETIRED, LCT_REVOKED };

/*
 * identity.json, version 1. A generation after the active one is pending: there is one at most,
 * which signs for itself alone, until it becomes the active one. One before it signs until its
 * `until`.
 */
struct lct_record {
    char id[LCT_MAX_ID + 1];
    char created[21];
    enum lct_ending ending;
    char reason[16];        /* of LCT_REVOKED: one of lct_end_reasons; else "" */
    char ended[21];         /* when; "": it has not */
    unsigned counter;       /* of the last statement on its life, or what else is counted:
                             * lct_life_count; from 1, and it never goes back */
    unsigned active;        /* number of the generation that signs */
    size_t num_generations; /* LCT_MAX_GENERATIONS at most */
    struct lct_generation generations[];
};

/* An empty one with room for that many generations, which num_generations does not count yet; the
 * caller frees it with free(). NULL if out of memory. */
struct lct_record *lct_record_new(size_t num_generations);

/*
 * Reads a record. Strict: unknown members, algorithms and a newer version are refused, not guessed
 * at, and the active generation is there. LCT_ERR_BAD_RECORD; LCT_ERR_INTERNAL: out of memory. The
 * caller frees *record with free().
 */
enum lct_code lct_record_read(struct lct_record **record, const uint8_t *text, size_t text_len,
                              struct lct_err *err);

/* The record as text; the caller frees it with free(). NULL if out of memory. */
char *lct_record_write(const struct lct_record *record);

/* A generation by number, 0 being the active one; NULL if there is none. */
const struct lct_generation *lct_record_generation(const struct lct_record *record,
                                                   unsigned number);

/* Whether two are of one key: of a TPM's by the Name, of one in software, which has none, by the
 * public key. */
bool lct_generation_is_of_key(const struct lct_generation *a, const struct lct_generation *b);

/* What of a record says whether a key of it signs: plain data. */
struct lct_life {
    unsigned number, active; /* of the generation; 0: it is of no identity, and has no end */
    unsigned counter;        /* of the record */
    enum lct_ending ending;
    char reason[16], ended[21], until[21];
};

struct lct_life lct_record_life(const struct lct_record *record,
                                const struct lct_generation *generation);

/* The pending generation; NULL: there is none. */
const struct lct_generation *lct_record_pending(const struct lct_record *record);

/* Whether a key of it has an NV counter, without which that cannot be used. */
bool lct_record_has_counter(const struct lct_record *record);

/* "active", "retired", "revoked": what the record calls an identity's state */
const char *lct_ending_name(enum lct_ending ending);

/* "tpm", "software" */
const char *lct_custody_name(enum lct_custody custody);

/* Words for the record and for people: "digest", "max", NULL. */
const char *lct_pss_salt_name(enum lct_pss_salt salt);

#endif
