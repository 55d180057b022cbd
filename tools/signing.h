/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_SIGNING_H
#define LCT_TOOLS_SIGNING_H

#include "proof/signer.h"
#include "tools/tool.h"

/* A signing under way with the default scheme of a key: ECDSA with its curve's hash, PKCS#1 v1.5
 * with SHA-256, or Ed25519, which has no hash. */
struct lct_signing {
    struct lct_tool *tool;
    struct lct_key *key; /* owned */
    struct lct_scheme scheme;
};

/* Loads the key of an id. Errors as lct_store_get_key. */
enum lct_code lct_signing_open(struct lct_signing *signing, struct lct_tool *tool, const char *id,
                               struct lct_err *err);

/* The same of one generation; 0: the active one. */
enum lct_code lct_signing_open_generation(struct lct_signing *signing, struct lct_tool *tool,
                                          const char *id, unsigned generation, struct lct_err *err);

/* The same of a key that is there already and is taken over, on failure too; it may have been given
 * its passphrase. Errors of lct_life_check_key, lct_tool_unlock and lct_key_scheme. */
enum lct_code lct_signing_take(struct lct_signing *signing, struct lct_tool *tool,
                               struct lct_key *key, struct lct_err *err);
void lct_signing_close(struct lct_signing *signing);

/* Signs a digest of scheme.hash, where there is one, or a whole message. Errors as lct_key_sign. */
enum lct_code lct_signing_digest(const struct lct_signing *signing, struct lct_signature *signature,
                                 const uint8_t *digest, size_t digest_len, struct lct_err *err);
enum lct_code lct_signing_message(const struct lct_signing *signing,
                                  struct lct_signature *signature, const uint8_t *message,
                                  size_t message_len, struct lct_err *err);

/* The same as proof/ takes whoever signs; it borrows `signing`. */
struct lct_signer lct_signing_signer(const struct lct_signing *signing);

#endif
