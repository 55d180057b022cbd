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
 * A key file alone that is remembered takes the place of *key if nobody says.
 */
bool lct_provider_unlock(struct lct_provider *provider, const struct lct_settings *settings,
                         struct lct_key **key, OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg);

/*
 * Until the next call, why a key is not given in this thread is told to `err` as well: for a
 * decoder behind whose callback another one unlocks the key, whose errors OSSL_STORE takes back.
 * NULL: to nobody. Returns who was told before, and is to be told again at the end.
 */
struct lct_err *lct_provider_listen(struct lct_provider *provider, struct lct_err *err);
/* Tells who listens, without raising it; lct_provider_unlock does both. */
void lct_provider_tell(const struct lct_provider *provider, const struct lct_err *err);
/* Whether somebody listens who has been told. */
bool lct_provider_has_told(const struct lct_provider *provider);

/*
 * Remembers a key with its passphrase that the program has written as DER, for when it reads that
 * again and nobody can be asked: mod_ssl keeps a key so, and d2i_AutoPrivateKey has no callback.
 * It is then the key that it was, and not what its file alone says. Nothing if it has no
 * passphrase.
 */
void lct_provider_remember(struct lct_provider *provider, struct lct_key *key);

/* Wipes what is remembered, when nobody else uses the provider any more. */
void lct_provider_forget(struct lct_provider *provider);

#endif
