/* SPDX-License-Identifier: Apache-2.0 */
#include "store/identity.h"

#include "store/enrol.h"
#include "store/software.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

/* Its record and its file: all that is left of it afterwards. */
static enum lct_code make(struct lct_record **record, uint8_t **pem, size_t *pem_len,
                          const struct lct_identity_request *request, OSSL_LIB_CTX *libctx,
                          struct lct_err *err)
{
    const struct lct_tpm_info no_tpm = {0};
    struct lct_generation generation = {0};
    EVP_PKEY *pkey = NULL;
    enum lct_code code = lct_software_make(&pkey, request->algorithm, libctx, err);

    if (code == LCT_OK)
        code = lct_software_describe(&generation, request->algorithm, pkey, err);
    if (code == LCT_OK)
        code = lct_software_write(pem, pem_len, pkey, request->passphrase, libctx, err);
    EVP_PKEY_free(pkey);
    if (code != LCT_OK)
        return code;
    *record = lct_enrol_record(request->id, &generation, NULL, &no_tpm);
    return *record != NULL ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

/* What cannot be opened again is not put into the store. */
static enum lct_code reopen(struct lct_key **key, struct lct_crypto *crypto,
                            const struct lct_record *record, const uint8_t *pem, size_t pem_len,
                            const struct lct_secret *passphrase, struct lct_err *err)
{
    enum lct_code code = lct_key_new(key, crypto, record, 0, pem, pem_len, err);

    if (code != LCT_OK)
        return code;
    (*key)->passphrase = *passphrase;
    return lct_key_open(*key, err);
}

enum lct_code lct_identity_create_software(const struct lct_store *store, struct lct_crypto *crypto,
                                           const struct lct_identity_request *request,
                                           struct lct_key **key, struct lct_err *err)
{
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, err);
    struct lct_record *record = NULL;
    uint8_t *pem = NULL;
    size_t pem_len = 0;

    *key = NULL;
    if (libctx == NULL)
        return LCT_ERR_INTERNAL;
    enum lct_code code = lct_enrol_check(store, request->id, &request->owner, err);
    if (code == LCT_OK)
        code = make(&record, &pem, &pem_len, request, libctx, err);
    if (code == LCT_OK)
        code = reopen(key, crypto, record, pem, pem_len, request->passphrase, err);
    if (code == LCT_OK)
        code = lct_store_create(store, record, pem, pem_len, &request->owner, err);
    if (code != LCT_OK) {
        lct_key_free(*key);
        *key = NULL;
    }
    OPENSSL_free(pem);
    free(record);
    return code;
}
