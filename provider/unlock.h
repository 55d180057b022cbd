/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROVIDER_UNLOCK_H
#define LCT_PROVIDER_UNLOCK_H

#include "provider/context.h"
#include "store/key.h"

#include <openssl/core.h>
#include <stdbool.h>

/*
 * Gives a key that nobody else has seen yet what it takes to sign: from the configuration, else the
 * passphrase that the application is asked for, once and with no lock held. Raises why it cannot.
 */
bool lct_provider_unlock(const struct lct_provider *provider, const struct lct_settings *settings,
                         struct lct_key *key, OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg);

#endif
