/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_CONFIG_H
#define LCT_BASE_CONFIG_H

#include "base/error.h"
#include "base/lines.h"

#include <stdbool.h>
#include <stddef.h>

/* Whether only keys in a TPM will do: from lax to strict. */
enum lct_require {
    LCT_REQUIRE_NO,
    LCT_REQUIRE_NEW, /* no others are made */
    LCT_REQUIRE_YES  /* no others are made, or used */
};

/*
 * What a user can set: the provider's section of openssl.cnf, overridden by the environment,
 * overridden by the command's flags. Plain data, read once, but for `log` and `audit`, which are
 * opened when they are set. All zero is the default configuration.
 * Documented in OSSL_PROVIDER-lct(7).
 */
struct lct_config {
    /* tcti, LCT_TCTI: the way in to the TPM, "name:conf"; NULL: it is looked for */
    char *tcti;
    /* store, LCT_STORE: the one store to use; NULL: the user's own, then the system's */
    char *store;
    /* provision = no: never write a storage root key into the TPM's NV memory */
    bool no_provision;
    /* session = always: every signature travels by an HMAC session, not only what has a secret */
    bool always_session;
    /* timeout: seconds to wait for a response; 0: the default */
    int timeout;
    /* passphrase_file: of identities' keys; or a directory of files named like them */
    char *passphrase_file;
    /* credentials, CREDENTIALS_DIRECTORY: where systemd has put a service's; in it lct.ID */
    char *credentials;
    /* seal: what new identities are sealed to, as lct_seal_parse takes it; NULL: lct_seal_default
     */
    char *seal;
    /* pcr_signature: systemd's tpm2-pcr-signature.json, of which approvals are taken too; NULL:
     * where systemd puts it, /run/systemd/tpm2-pcr-signature.json; "none": nowhere */
    char *pcr_signature;
    /* require_hardware, LCT_REQUIRE_HARDWARE: of all that is set the strictest counts */
    enum lct_require require_hardware;
    /* log, LCT_LOG: where a trace goes, "stderr" or a file; NULL: there is none. Neither this one
     * nor the next may have been opened: lct_lines_check */
    struct lct_lines *log;
    /* audit: where each signature is told, "syslog", "syslog:SOCKET" or a file; NULL: nowhere */
    struct lct_lines *audit;
    /* owner_auth_file, endorsement_auth_file: the authorizations of the TPM's hierarchies */
    char *owner_auth_file, *endorsement_auth_file;
};

/* One key of the configuration. `variable` is the environment variable that overrides it, or NULL.
 */
struct lct_config_key {
    const char *name;
    const char *variable;
    enum lct_code (*set)(struct lct_config *config, const char *value, struct lct_err *err);
};

/* The table of keys; its length in *num_keys. */
const struct lct_config_key *lct_config_keys(size_t *num_keys);

/* Sets one key from text (copied). LCT_ERR_CONFIG names the key and says what it takes. */
enum lct_code lct_config_set(struct lct_config *config, const char *name, const char *value,
                             struct lct_err *err);

/* Takes the overrides from the environment, ignored in a program that runs with raised privileges.
 */
enum lct_code lct_config_environment(struct lct_config *config, struct lct_err *err);

/* Frees what it holds and leaves the default configuration. */
void lct_config_clear(struct lct_config *config);

#endif
