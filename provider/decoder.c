/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unconst.h"
#include "provider/keydata.h"
#include "provider/provider.h"
#include "provider/software.h"
#include "provider/unlock.h"
#include "store/armour.h"
#include "store/authority.h"
#include "store/life.h"
#include "store/reference.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static OSSL_FUNC_decoder_newctx_fn decoder_newctx;
static OSSL_FUNC_decoder_freectx_fn decoder_freectx;
static OSSL_FUNC_decoder_does_selection_fn decoder_does_selection;
static OSSL_FUNC_decoder_decode_fn pem_decode, ec_decode, rsa_decode, software_decode;

/*
 * Key files: TSS2 PRIVATE KEY and our reference, for programs that read a key from a file. Two
 * steps, as libcrypto has them: from PEM to DER, and from DER to a key, with one decoder for each
 * type of key. A reference to a key in software is another step between them: from DER to the DER
 * that libcrypto's own decoders take. What is not ours is left to others without an error. Nothing
 * here speaks to the TPM.
 */
struct decoder {
    struct lct_provider *provider;
    const char *type; /* of the keys in the TPM that it makes: "EC", "RSA"; NULL: none */
};

enum {
    MAX_FILE = 65536,   /* bytes of a key file */
    MAX_LINES = 1 << 18 /* before its block, or pieces of longer lines; what has no end has one */
};

/* It is not allocated: where there is none, OSSL_STORE of libcrypto 3.5 crashes. */
static void *decoder_newctx(void *provctx)
{
    return provctx;
}

static void decoder_freectx(void *ctx)
{
    (void)ctx;
}

/* 0: whatever there is, as OSSL_STORE asks. */
static bool wants_private(int selection)
{
    return selection == 0 || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
}

/* Who wants a public key gets none, and may be told so. */
static int decoder_does_selection(void *provctx, int selection)
{
    (void)provctx;
    return wants_private(selection) || (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0;
}

/* The kinds of key files, as their PEM is labelled. */
static const struct kind {
    const char *label;
    const char *structure;
} kinds[] = {
    {lct_keyfile_label, "TSS2PrivateKey"},
    {lct_reference_label, "LCTKeyReference"},
};

static const struct kind *find_kind(const char *label)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].label, label) == 0)
            return &kinds[i];
    return NULL;
}

static int fail(const struct decoder *decoder, const struct lct_err *err)
{
    lct_raise(decoder->provider, err);
    return 0;
}

/* A line or, of a line that is longer, a piece; false at the end. */
static bool read_line(const struct decoder *decoder, OSSL_CORE_BIO *in, char *line, int size)
{
    return decoder->provider->bio_gets != NULL && decoder->provider->bio_gets(in, line, size) > 0;
}

/* -1: it cannot do that. */
static int control(const struct decoder *decoder, OSSL_CORE_BIO *in, int command, long number)
{
    return decoder->provider->bio_ctrl != NULL
               ? decoder->provider->bio_ctrl(in, command, number, NULL)
               : -1;
}

/* The label in a line that begins a PEM block (RFC 7468, 2), cut out of it; else NULL. */
static char *label_of(char *line)
{
    static const char begin[] = "-----BEGIN ";

    if (strncmp(line, begin, sizeof begin - 1) != 0)
        return NULL;
    char *label = line + sizeof begin - 1, *end = strstr(label, "-----");
    if (end == NULL)
        return NULL;
    *end = '\0';
    return label;
}

/* The rest of a block of that label, after the line that began it, as DER. NULL: it is damaged, or
 * there is no memory for it, which is raised. */
static uint8_t *read_block(const struct decoder *decoder, OSSL_CORE_BIO *in, const char *label,
                           size_t *der_len)
{
    char *text = malloc(MAX_FILE);
    uint8_t *der = NULL;
    bool ended = false;

    if (text == NULL) {
        lct_raise_memory(decoder->provider);
        return NULL;
    }
    size_t len = (size_t)snprintf(text, MAX_FILE, "-----BEGIN %s-----\n", label);
    while (!ended && MAX_FILE - len > 2 &&
           read_line(decoder, in, text + len, (int)(MAX_FILE - len))) {
        ended = strncmp(text + len, "-----END ", 9) == 0;
        len += strlen(text + len);
    }
    if (!ended || !lct_armour_read(&der, der_len, label, (const uint8_t *)text, len)) {
        struct lct_err err;
        (void)LCT_FAIL(&err, LCT_ERR_BAD_RECORD, "the %s is damaged: it is no whole PEM block",
                       label);
        lct_raise(decoder->provider, &err);
        der = NULL;
    }
    free(text);
    return der;
}

static size_t read_bytes(const struct decoder *decoder, OSSL_CORE_BIO *in, uint8_t *bytes,
                         size_t bytes_len)
{
    size_t at = 0, n = 0;

    while (at < bytes_len && decoder->provider->bio_read_ex != NULL &&
           decoder->provider->bio_read_ex(in, bytes + at, bytes_len - at, &n) && n > 0)
        at += n;
    return at;
}

/* How long a DER value says it is, by its beginning; 0: it does not. */
static size_t size_of(const uint8_t *der, size_t der_len)
{
    const unsigned char *at = der;
    long len = 0;
    int tag, class;

    (void)ERR_set_mark();
    (void)ASN1_get_object(&at, &len, &tag, &class, (long)der_len);
    (void)ERR_pop_to_mark();
    return at != der && len > 0 && len < MAX_FILE ? (size_t)(at - der) + (size_t)len : 0;
}

/* A key file of ours in DER, to be freed, or NULL: it is not, and not more than its beginning was
 * read. */
static uint8_t *read_der(const struct decoder *decoder, OSSL_CORE_BIO *in, size_t *der_len)
{
    uint8_t begin[64];
    size_t len = read_bytes(decoder, in, begin, sizeof begin);

    if (!lct_keyfile_begins(begin, len) && !lct_reference_begins(begin, len))
        return NULL;
    size_t size = size_of(begin, len);
    if (size == 0 || size < len)
        return NULL;
    uint8_t *der = malloc(size);
    if (der == NULL) {
        lct_raise_memory(decoder->provider);
        return NULL;
    }
    memcpy(der, begin, len);
    *der_len = len + read_bytes(decoder, in, der + len, size - len);
    return der;
}

/* A key file that is sealed to an authority of a store of ours has approvals there. */
static enum lct_code find_approvals(struct lct_key *key, const struct decoder *decoder,
                                    const struct lct_settings *settings, struct lct_err *err)
{
    struct lct_generation *generation = malloc(sizeof *generation);

    if (generation == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    const struct lct_seal *seal = &lct_key_generation(generation, key)->seal;
    const char *dir = lct_authority_find(&settings->store, decoder->provider->crypto, seal);
    free(generation);
    return lct_key_look_in(key, dir, &settings->config, err);
}

static enum lct_code find_key(const struct decoder *decoder, const struct lct_settings *settings,
                              const uint8_t *der, size_t der_len, struct lct_key **key,
                              struct lct_err *err)
{
    struct lct_reference reference = {0};
    enum lct_code code;

    *key = NULL;
    (void)ERR_set_mark();
    if (!lct_reference_begins(der, der_len)) {
        code = lct_key_from_keyfile(key, decoder->provider->crypto, der, der_len, err);
        if (code == LCT_OK)
            code = find_approvals(*key, decoder, settings, err);
    } else {
        code = lct_reference_read(&reference, der, der_len, err);
        if (code == LCT_OK)
            code = lct_reference_get_key(&settings->store, decoder->provider->crypto, &reference,
                                         key, err);
        if (code == LCT_OK)
            code = lct_life_check_key(*key, err);
        lct_reference_clear(&reference);
    }
    if (code != LCT_OK) {
        lct_key_free(*key);
        *key = NULL;
    }
    (void)ERR_pop_to_mark(); /* what libcrypto said of it: our sentence says enough */
    return code;
}

/* One to a key in software is another structure: the next decoder that libcrypto finds for that is
 * the only one that can go on with it. */
static const char *structure_of(const struct kind *kind, const struct lct_key *key)
{
    return lct_key_is_software(key) ? "LCTSoftwareReference" : kind->structure;
}

static int give_der(const char *structure, uint8_t *der, size_t der_len, OSSL_CALLBACK *object_cb,
                    void *object_cbarg)
{
    int type = OSSL_OBJECT_PKEY;
    OSSL_PARAM object[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE, lct_unconst(structure),
                                         0),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, der, der_len),
        OSSL_PARAM_END,
    };

    return object_cb(object, object_cbarg);
}

/*
 * The kind of the next block, whose first line is read, or NULL: it is not ours, or there is none.
 * If a private key is looked for that is the first block with one, since PEM_read_bio_PrivateKey
 * goes on past other blocks only if the oldest error in the queue, which may be of something else,
 * says so. Where it does go on, it is from where the last decoder stopped: after one block, as
 * libcrypto's own does.
 */
static const struct kind *find_block(const struct decoder *decoder, OSSL_CORE_BIO *in,
                                     int selection)
{
    const bool any = (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0;
    const struct kind *kind = NULL;
    int after_first = -1;
    char line[256];

    for (size_t i = 0; i < MAX_LINES && read_line(decoder, in, line, sizeof line); i++) {
        const char *label = label_of(line);
        if (label != NULL && (any || lct_armour_is_private(label))) {
            kind = find_kind(label);
            break;
        }
        if (after_first < 0 && strncmp(line, "-----END ", 9) == 0)
            after_first = control(decoder, in, BIO_C_FILE_TELL, 0);
    }
    if (kind == NULL && after_first >= 0)
        (void)control(decoder, in, BIO_C_FILE_SEEK, after_first);
    return kind;
}

/*
 * Hands the DER of a key file on. What is wrong with it is said here, and why it is not given is
 * said afterwards: OSSL_STORE takes back the errors of the decoders after this one. Not to who
 * looks for a public key in the blocks of a file, as PEM_read_bio_PUBKEY does: the next may be one.
 */
static int pass_on(const struct decoder *decoder, const struct kind *kind, int selection,
                   uint8_t *der, size_t der_len, OSSL_CALLBACK *object_cb, void *object_cbarg)
{
    const struct lct_settings *settings = lct_provider_settings(decoder->provider);
    struct lct_key *key = NULL;
    struct lct_err err, told = {.code = LCT_OK};

    if (settings == NULL)
        return 0;
    if (find_key(decoder, settings, der, der_len, &key, &err) != LCT_OK)
        return fail(decoder, &err);
    struct lct_err *before = lct_provider_listen(decoder->provider, &told);
    (void)ERR_set_mark();
    int good = give_der(structure_of(kind, key), der, der_len, object_cb, object_cbarg);
    (void)lct_provider_listen(decoder->provider, before);
    lct_key_free(key);
    if (good || told.code == LCT_OK || !wants_private(selection)) {
        (void)ERR_clear_last_mark();
        return good;
    }
    (void)ERR_pop_to_mark();
    return fail(decoder, &told);
}

static int pem_decode(void *ctx, OSSL_CORE_BIO *in, int selection, OSSL_CALLBACK *object_cb,
                      void *object_cbarg, OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    const struct decoder decoder = {ctx, NULL};
    const struct kind *kind = find_block(&decoder, in, selection);

    (void)pw_cb;
    (void)pw_cbarg;
    if (kind == NULL)
        return 1;
    size_t der_len = 0;
    uint8_t *der = read_block(&decoder, in, kind->label, &der_len);
    if (der == NULL)
        return 0;
    int good = pass_on(&decoder, kind, selection, der, der_len, object_cb, object_cbarg);
    OPENSSL_free(der);
    return good;
}

/* Whether it is for this decoder: of them one gets so far. */
static bool takes_key(const struct decoder *decoder, const struct lct_key *key)
{
    const char *type = lct_key_is_software(key) ? NULL : key->algorithm->key_type;

    return type == NULL ? decoder->type == NULL
                        : decoder->type != NULL && strcmp(type, decoder->type) == 0;
}

static void tell_of_private(const struct decoder *decoder, const struct lct_key *key)
{
    struct lct_err err;

    (void)LCT_FAIL(&err, LCT_ERR_UNSUPPORTED,
                   "%s: what is read is its private key, and a public one is asked for: that is "
                   "written by openssl pkey -in FILE -pubout",
                   key->label);
    lct_provider_tell(decoder->provider, &err);
}

/* With the passphrase asked for, if there is one and only here; and once, though libcrypto goes on
 * to the decoders that are left when one does not give a key in software. */
static int give_key(const struct decoder *decoder, const struct lct_settings *settings,
                    struct lct_key *key, int selection, OSSL_CALLBACK *object_cb,
                    void *object_cbarg, OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    if (!takes_key(decoder, key)) {
        lct_key_free(key);
        return 1;
    }
    if (!wants_private(selection))
        tell_of_private(decoder, key);
    if (lct_provider_has_told(decoder->provider) || !wants_private(selection) ||
        !lct_provider_unlock(decoder->provider, settings, &key, pw_cb, pw_cbarg)) {
        lct_key_free(key);
        return 0;
    }
    if (lct_key_is_software(key)) {
        int good = lct_software_give(decoder->provider, key, object_cb, object_cbarg);
        lct_key_free(key);
        return good;
    }
    const struct lct_name name = lct_key_name(key);
    lct_tpm_prepare(settings->tpm, &name);
    return lct_keydata_give(lct_keydata_from_key(decoder->provider, key), object_cb, object_cbarg);
}

static int decode_der(const struct decoder *decoder, OSSL_CORE_BIO *in, int selection,
                      OSSL_CALLBACK *object_cb, void *object_cbarg, OSSL_PASSPHRASE_CALLBACK *pw_cb,
                      void *pw_cbarg)
{
    struct lct_key *key = NULL;
    struct lct_err err;
    size_t der_len = 0;
    uint8_t *der = read_der(decoder, in, &der_len);

    if (der == NULL)
        return 1;
    const struct lct_settings *settings = lct_provider_settings(decoder->provider);
    if (settings == NULL) {
        free(der);
        return 0;
    }
    enum lct_code code = find_key(decoder, settings, der, der_len, &key, &err);
    free(der);
    if (code != LCT_OK)
        return fail(decoder, &err);
    return give_key(decoder, settings, key, selection, object_cb, object_cbarg, pw_cb, pw_cbarg);
}

static int ec_decode(void *ctx, OSSL_CORE_BIO *in, int selection, OSSL_CALLBACK *object_cb,
                     void *object_cbarg, OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    return decode_der(&(struct decoder){ctx, "EC"}, in, selection, object_cb, object_cbarg, pw_cb,
                      pw_cbarg);
}

static int rsa_decode(void *ctx, OSSL_CORE_BIO *in, int selection, OSSL_CALLBACK *object_cb,
                      void *object_cbarg, OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    return decode_der(&(struct decoder){ctx, "RSA"}, in, selection, object_cb, object_cbarg, pw_cb,
                      pw_cbarg);
}

static int software_decode(void *ctx, OSSL_CORE_BIO *in, int selection, OSSL_CALLBACK *object_cb,
                           void *object_cbarg, OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    return decode_der(&(struct decoder){ctx, NULL}, in, selection, object_cb, object_cbarg, pw_cb,
                      pw_cbarg);
}

/* A private key is given to no other provider. libcrypto calls this without asking whether there is
 * such a function: for a program (OSSL_DECODER_export), or if it has not found our keymgmt again,
 * as when there is no memory to compare its name. */
static int export_object(void *ctx, const void *reference, size_t reference_len,
                         OSSL_CALLBACK *export_cb, void *export_cbarg)
{
    (void)ctx;
    (void)reference;
    (void)reference_len;
    (void)export_cb;
    (void)export_cbarg;
    return 0;
}

const OSSL_DISPATCH lct_pem_decoder[] = {
    {OSSL_FUNC_DECODER_NEWCTX, (void (*)(void))decoder_newctx},
    {OSSL_FUNC_DECODER_FREECTX, (void (*)(void))decoder_freectx},
    {OSSL_FUNC_DECODER_DECODE, (void (*)(void))pem_decode},
    {OSSL_FUNC_DECODER_EXPORT_OBJECT, (void (*)(void))export_object},
    {0, NULL},
};

const OSSL_DISPATCH lct_ec_decoder[] = {
    {OSSL_FUNC_DECODER_NEWCTX, (void (*)(void))decoder_newctx},
    {OSSL_FUNC_DECODER_FREECTX, (void (*)(void))decoder_freectx},
    {OSSL_FUNC_DECODER_DOES_SELECTION, (void (*)(void))decoder_does_selection},
    {OSSL_FUNC_DECODER_DECODE, (void (*)(void))ec_decode},
    {OSSL_FUNC_DECODER_EXPORT_OBJECT, (void (*)(void))export_object},
    {0, NULL},
};

const OSSL_DISPATCH lct_rsa_decoder[] = {
    {OSSL_FUNC_DECODER_NEWCTX, (void (*)(void))decoder_newctx},
    {OSSL_FUNC_DECODER_FREECTX, (void (*)(void))decoder_freectx},
    {OSSL_FUNC_DECODER_DOES_SELECTION, (void (*)(void))decoder_does_selection},
    {OSSL_FUNC_DECODER_DECODE, (void (*)(void))rsa_decode},
    {OSSL_FUNC_DECODER_EXPORT_OBJECT, (void (*)(void))export_object},
    {0, NULL},
};

const OSSL_DISPATCH lct_software_decoder[] = {
    {OSSL_FUNC_DECODER_NEWCTX, (void (*)(void))decoder_newctx},
    {OSSL_FUNC_DECODER_FREECTX, (void (*)(void))decoder_freectx},
    {OSSL_FUNC_DECODER_DOES_SELECTION, (void (*)(void))decoder_does_selection},
    {OSSL_FUNC_DECODER_DECODE, (void (*)(void))software_decode},
    {OSSL_FUNC_DECODER_EXPORT_OBJECT, (void (*)(void))export_object},
    {0, NULL},
};
