/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_EXPORT_TOKEN_H
#define LCT_EXPORT_TOKEN_H

#include "base/error.h"
#include "proof/signer.h"
#include "proof/verdict.h"
#include "proof/web4.h"

#include <jansson.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/*
 * Web4's Linked Context Token as a JSON-LD document (LCT-linked-context-token.md of Web4, 2.3, and
 * lct-jsonld.schema.json, which takes no other members), of what whoever holds a key can say:
 *
 *     {"@context": ["https://web4.io/contexts/lct.jsonld"], "@type": "web4:LinkedContextToken",
 *      "lct_id": the key's name (proof/web4.h), "subject": "did:web4:key:zDn...",
 *      "binding": {"entity_type", "public_key": "zDn..." (export/multikey.h), "created_at",
 *                  "hardware_anchor": "eat:...", "binding_proof": "cose:..."},
 *      "mrh": {...}, "policy": {...}, "t3_tensor": {...}, "v3_tensor": {...}: the least there is,
 *      "lineage": [{"parent": name, "reason": "rotation", "ts"}],
 *      "revocation": {"status": "active" | "revoked", "ts", "reason"}}
 *
 * binding_proof is a COSE_Sign1 (export/cose.h) in base64url, by the key, over the binding without
 * it in deterministic CBOR (section 3.3 there); "content type" is "application/web4+cbor", "kid"
 * the name. hardware_anchor, without evidence not there at all, is base64url of an EAT's claims
 * (RFC 9711, as RFC 9781 has them without a signature of their own: the binding's covers them):
 *
 *     601({266: {"lct-attestation-evidence": [-16, SHA-256 of the evidence (proof/document.h)]}})
 *
 * There is no birth certificate, which societies issue, nor a level.
 */

struct lct_token_parent {
    char name[LCT_WEB4_NAME];
    char time[21]; /* when the next key was made */
};

/* What a token is made of. All is borrowed. */
struct lct_token_request {
    const char *entity_type;
    const EVP_PKEY *key;
    const char *created;     /* of the key */
    const uint8_t *evidence; /* its SHA-256; NULL: none */
    const struct lct_token_parent *parents;
    size_t num_parents;
    const char *ended, *reason;      /* when and why it was revoked; NULL: it is active */
    const struct lct_signer *signer; /* of the key; NULL: it signs no more, and there is no proof */
};

/* The caller frees *token with json_decref. LCT_ERR_UNSUPPORTED: the key is neither of P-256 nor of
 * Ed25519; errors of the signer; LCT_ERR_INTERNAL. */
enum lct_code lct_token_make(json_t **token, OSSL_LIB_CTX *libctx,
                             const struct lct_token_request *request, struct lct_err *err);

/* The canonical text of a token that lct_token_make made (RFC 8785); the caller frees it. NULL if
 * out of memory. */
char *lct_token_text(const json_t *token);

/* The "typ" of a token as a JWS (proof/jws.h) over that text; its "kid" is the name. */
extern const char lct_token_typ[];

/* Whether Web4 knows of such entities: "device", "agent". */
bool lct_token_is_entity(const char *entity_type);

/* What is judged of a token. */
enum lct_token_claim {
    LCT_TOKEN_ID,       /* lct_id is the name of the key, and subject the key's */
    LCT_TOKEN_BINDING,  /* the key signed the binding */
    LCT_TOKEN_DOCUMENT, /* and all of the document: as a JWS alone */
    LCT_TOKEN_KEY,      /* it is the key that was asked for */
    LCT_TOKEN_LINEAGE,  /* which keys it says were before it */
    LCT_TOKEN_ACTIVE,   /* it is not revoked */
    LCT_TOKEN_HARDWARE, /* the key is in hardware */
    LCT_TOKEN_OTHERS,   /* what others say of it: birth certificate, attestations */
    LCT_NUM_TOKEN_CLAIMS
};

/* "id", "binding", ... */
const char *lct_token_claim_name(enum lct_token_claim claim);

/* Somebody's, judged. Text is printable ASCII. */
struct lct_token {
    char id[LCT_WEB4_NAME];
    char entity_type[16], created[21];
    EVP_PKEY *key;      /* owned */
    char evidence[65];  /* the SHA-256 that hardware_anchor names; "": none */
    size_t num_parents; /* in lineage */
    bool jws;
    struct lct_finding findings[LCT_NUM_TOKEN_CLAIMS];
};

/* Whether a JSON object is meant to be one; and a compact JWS. */
bool lct_token_is(const json_t *document);
bool lct_token_is_jws(const char *jws, size_t jws_len);

/*
 * Judges one: as JSON, or if `jws` is not NULL as that. `key`, perhaps NULL, is the one that it has
 * to be of. LCT_OK: there are findings, also where nothing holds. LCT_ERR_BAD_EVIDENCE: it is none,
 * as Web4's schema has it, or has a member that this lct does not know; LCT_ERR_INTERNAL. The
 * caller clears it, whatever comes back.
 */
enum lct_code lct_token_judge(struct lct_token *token, OSSL_LIB_CTX *libctx, const json_t *document,
                              const EVP_PKEY *key, time_t now, struct lct_err *err);
enum lct_code lct_token_judge_jws(struct lct_token *token, OSSL_LIB_CTX *libctx, const char *jws,
                                  size_t jws_len, const EVP_PKEY *key, time_t now,
                                  struct lct_err *err);
void lct_token_clear(struct lct_token *token);

/* Whether it holds: what has to pass does, and nothing failed. LCT_ERR_REFUSED, in a sentence. */
enum lct_code lct_token_conclude(const struct lct_token *token, struct lct_err *err);

/* What both sides build: the binding's encoding without its proof, which the caller frees with
 * free(), and the claims that stand for evidence. LCT_ERR_INTERNAL. */
enum lct_code lct_token_payload(uint8_t **bytes, size_t *len, const json_t *binding,
                                struct lct_err *err);
enum lct_code lct_token_anchor(uint8_t **bytes, size_t *len, const uint8_t evidence[32],
                               struct lct_err *err);
extern const char lct_token_content_type[];

#endif
