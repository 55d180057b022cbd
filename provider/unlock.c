/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/unlock.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

/* A key with its passphrase. Immutable: a list without a lock, which a fork could leave held. */
struct lct_remembered {
    struct lct_remembered *next;
    struct lct_key *key;
};

/* Asks the application for a passphrase. No lock is held: it may take its time, fork, or sign. */
static enum lct_code ask(struct lct_key *key, OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg,
                         struct lct_err *err)
{
    char typed[128]; /* to see that one is too long */
    size_t typed_len = 0;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_PASSPHRASE_PARAM_INFO, key->label, strlen(key->label)),
        OSSL_PARAM_END,
    };

    enum lct_code code =
        pw_cb != NULL && pw_cb(typed, sizeof typed, &typed_len, params, pw_cbarg) && typed_len > 0
            ? lct_secret_take(&key->passphrase, "its passphrase", (const uint8_t *)typed, typed_len,
                              err)
            : LCT_FAIL(err, LCT_ERR_AUTH,
                       "signing with it takes its passphrase; set passphrase_file in openssl.cnf, "
                       "or give it to the program");
    explicit_bzero(typed, sizeof typed);
    return code == LCT_OK ? lct_key_open(key, err) : lct_err_prefix(err, key->label);
}

/* One key file: the same key, wrapped the same, under the same parent. */
static bool same_file(const struct lct_key *a, const struct lct_key *b)
{
    const struct lct_keyfile *x = &a->keyfile, *y = &b->keyfile;

    return x->public_len == y->public_len &&
           memcmp(x->public_area, y->public_area, x->public_len) == 0 && x->parent == y->parent &&
           x->rsa_parent == y->rsa_parent && x->private_len == y->private_len &&
           memcmp(x->private_area, y->private_area, x->private_len) == 0;
}

/* The last one that was remembered of a key file; NULL: none. */
static struct lct_key *recall(struct lct_provider *provider, const struct lct_key *key)
{
    const struct lct_remembered *entry = atomic_load(&provider->remembered);

    while (entry != NULL && !same_file(entry->key, key))
        entry = entry->next;
    return entry != NULL ? entry->key : NULL;
}

static bool same_secret(const struct lct_secret *a, const struct lct_secret *b)
{
    return a->len == b->len && CRYPTO_memcmp(a->data, b->data, a->len) == 0;
}

void lct_provider_remember(struct lct_provider *provider, struct lct_key *key)
{
    const struct lct_key *known = recall(provider, key);

    if (key->passphrase.len == 0 ||
        (known != NULL && same_secret(&known->passphrase, &key->passphrase)))
        return;
    struct lct_remembered *entry = malloc(sizeof *entry);
    if (entry == NULL)
        return;
    *entry = (struct lct_remembered){atomic_load(&provider->remembered), lct_key_up_ref(key)};
    while (!atomic_compare_exchange_weak(&provider->remembered, &entry->next, entry))
        ; /* entry->next is now what it is to come before */
}

void lct_provider_forget(struct lct_provider *provider)
{
    struct lct_remembered *entry = atomic_exchange(&provider->remembered, NULL);

    while (entry != NULL) {
        struct lct_remembered *next = entry->next;
        lct_key_free(entry->key);
        free(entry);
        entry = next;
    }
}

/* Asks the application, and where it does not say takes what is remembered of a key file. */
static enum lct_code find_out(struct lct_provider *provider, struct lct_key **key,
                              OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg, struct lct_err *err)
{
    (void)ERR_set_mark();
    enum lct_code code = ask(*key, pw_cb, pw_cbarg, err);
    bool alone = (*key)->id[0] == '\0';
    struct lct_key *known = code != LCT_OK && alone ? recall(provider, *key) : NULL;
    if (known == NULL) {
        (void)ERR_clear_last_mark();
        return code;
    }
    (void)ERR_pop_to_mark();
    lct_key_free(*key);
    *key = lct_key_up_ref(known);
    return LCT_OK;
}

static struct lct_err *listener_of(const struct lct_provider *provider)
{
    return provider->has_listener ? pthread_getspecific(provider->listener) : NULL;
}

struct lct_err *lct_provider_listen(struct lct_provider *provider, struct lct_err *err)
{
    struct lct_err *before = listener_of(provider);

    if (provider->has_listener)
        (void)pthread_setspecific(provider->listener, err);
    return before;
}

void lct_provider_tell(const struct lct_provider *provider, const struct lct_err *err)
{
    struct lct_err *listener = listener_of(provider);

    if (listener != NULL)
        *listener = *err;
}

bool lct_provider_has_told(const struct lct_provider *provider)
{
    const struct lct_err *listener = listener_of(provider);

    return listener != NULL && listener->code != LCT_OK;
}

bool lct_provider_unlock(struct lct_provider *provider, const struct lct_settings *settings,
                         struct lct_key **key, OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    struct lct_err err;
    enum lct_code code = lct_key_unlock(*key, &settings->config, &err);

    if (code == LCT_OK && lct_key_is_locked(*key))
        code = find_out(provider, key, pw_cb, pw_cbarg, &err);
    if (code != LCT_OK) {
        lct_provider_tell(provider, &err);
        lct_raise(provider, &err);
    }
    return code == LCT_OK;
}
