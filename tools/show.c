/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/certificate.h"
#include "tools/describe.h"
#include "tools/json.h"
#include "tools/seal_text.h"
#include "tools/tool.h"

#include "base/encode.h"
#include "proof/web4.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_TEXT = 2 * sizeof((struct lct_name *)0)->data + 1 };

static void name_text(char text[NAME_TEXT], const struct lct_name *name)
{
    lct_hex_encode(text, name->data, name->len);
}

/* The public key as SubjectPublicKeyInfo in PEM; the caller frees it. */
static char *public_pem(const struct lct_key *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL, *text = NULL;

    if (bio != NULL && PEM_write_bio_PUBKEY_ex(bio, key->pkey, key->libctx, NULL) == 1) {
        long len = BIO_get_mem_data(bio, &data);
        text = len > 0 ? strndup(data, (size_t)len) : NULL;
    }
    BIO_free(bio);
    return text;
}

static void hashes_text(char *text, size_t size, const struct lct_generation *generation)
{
    size_t len = 0;

    text[0] = '\0';
    for (size_t i = 0; i < generation->num_hashes && len < size; i++)
        len += (size_t)snprintf(text + len, size - len, "%s%s", i > 0 ? " " : "",
                                generation->hashes[i]->name);
}

/* What is shown of an identity. */
struct shown {
    const struct lct_record *record;
    const struct lct_key *key;
    const char *dir, *pem; /* the store, the public key */
    struct lct_certificate certificate;
    size_t num_certs;
    enum lct_code code; /* of the certificate: it cannot be used, and `wrong` says why */
    struct lct_err wrong;
};

/* The name that follows from the key; null: it has none. */
static json_t *web4_json(const struct lct_key *key)
{
    char name[LCT_WEB4_NAME];

    return lct_web4_name(name, key->libctx, key->pkey, NULL) == LCT_OK ? json_string(name)
                                                                       : json_null();
}

static enum lct_code show_web4(const struct lct_key *key, struct lct_err *err)
{
    char name[LCT_WEB4_NAME];
    bool has = lct_web4_name(name, key->libctx, key->pkey, NULL) == LCT_OK;

    return lct_tool_print(err, "web4         %s\n",
                          has ? name : "none: Web4 has no names for such keys");
}

/* What is the TPM's of a key; of one in software nothing. */
static json_t *tpm_json(const struct lct_key *key)
{
    struct lct_generation unpacked;
    const struct lct_generation *generation = lct_key_generation(&unpacked, key);
    json_t *hashes = json_array();
    char name[NAME_TEXT], parent[NAME_TEXT], attributes[LCT_ATTRIBUTES_TEXT];

    name_text(name, &generation->name);
    name_text(parent, &generation->parent_name);
    lct_public_attributes(attributes, key->attributes);
    for (size_t i = 0; i < generation->num_hashes; i++)
        (void)json_array_append_new(hashes, json_string(generation->hashes[i]->name));
    json_t *json = json_pack("{s:s, s:{s:o, s:s}, s:s, s:o, s:s?}", "name", name, "parent",
                             "handle", json_sprintf("0x%08x", generation->parent), "name", parent,
                             "attributes", attributes, "hashes", hashes, "pss_salt",
                             lct_pss_salt_name(generation->pss_salt));
    if (json != NULL && generation->handle != 0)
        (void)json_object_set_new(json, "handle", json_sprintf("0x%08x", generation->handle));
    if (json != NULL && generation->persistent != 0)
        (void)json_object_set_new(json, "persistent",
                                  json_sprintf("0x%08x", generation->persistent));
    return json;
}

static json_t *show_json(const struct shown *shown)
{
    const struct lct_key *key = shown->key;
    json_t *json = lct_describe_json(shown->record, key, shown->dir);
    json_t *tpm = lct_key_is_software(key) ? json_object() : tpm_json(key);
    json_t *more = json_pack("{s:o, s:s}", "certificate",
                             lct_certificate_json(&shown->certificate, shown->num_certs,
                                                  shown->code == LCT_OK ? NULL : shown->wrong.text),
                             "public_key", shown->pem);
    if (json != NULL && tpm != NULL && more != NULL) {
        (void)json_object_update(json, tpm);
        (void)json_object_update(json, more);
        (void)json_object_set_new(json, "web4_name", web4_json(key));
    }
    json_decref(tpm);
    json_decref(more);
    return json;
}

static enum lct_code show_certificate(const struct shown *shown, struct lct_err *err)
{
    const struct lct_certificate *certificate = &shown->certificate;
    char expiry[LCT_CERTIFICATE_EXPIRY];

    if (shown->code != LCT_OK)
        return lct_tool_print(err, "certificate  cannot be used: %s\n", shown->wrong.text);
    if (shown->num_certs == 0)
        return lct_tool_print(err, "certificate  none\n");
    return lct_tool_print(err,
                          "certificate  %s, the first of %zu\n"
                          "  subject    %s\n  issuer     %s\n  serial     %s\n"
                          "  valid      %s to %s\n  SHA-256    %s\n",
                          lct_certificate_expiry(expiry, certificate), shown->num_certs,
                          certificate->subject, certificate->issuer, certificate->serial,
                          certificate->not_before, certificate->not_after,
                          certificate->fingerprint);
}

/* Of a key in software there is nothing of a TPM to tell. */
static enum lct_code show_software(const struct shown *shown, struct lct_err *err)
{
    struct lct_generation unpacked;
    const struct lct_generation *generation = lct_key_generation(&unpacked, shown->key);
    enum lct_code code = lct_tool_print(
        err, "identity     lct:%s\nalgorithm    %s\ncustody      %s\npassphrase   yes\n",
        shown->record->id, generation->algorithm->name,
        lct_describe_custody(generation, shown->key));

    if (code == LCT_OK)
        code = lct_describe_life(shown->record, err);
    return code == LCT_OK ? lct_tool_print(err, "created      %s\nhardware_bound false\n",
                                           shown->record->created)
                          : code;
}

static enum lct_code show_tpm(const struct shown *shown, struct lct_err *err)
{
    const struct lct_key *key = shown->key;
    struct lct_generation unpacked;
    const struct lct_generation *generation = lct_key_generation(&unpacked, key);
    const char *salt = lct_pss_salt_name(generation->pss_salt);
    char name[NAME_TEXT], parent[NAME_TEXT], attributes[LCT_ATTRIBUTES_TEXT], hashes[256];
    char handle[32] = "", words[LCT_SEAL_WORDS] = "none";

    name_text(name, &generation->name);
    name_text(parent, &generation->parent_name);
    lct_public_attributes(attributes, key->attributes);
    hashes_text(hashes, sizeof hashes, generation);
    if (generation->seal.kind != LCT_SEAL_NONE)
        (void)lct_seal_words(words, &generation->seal, generation->created, key->libctx);
    if (generation->handle != 0)
        (void)snprintf(handle, sizeof handle, "handle       0x%08x\n", generation->handle);
    else if (generation->persistent != 0)
        (void)snprintf(handle, sizeof handle, "persistent   0x%08x\n", generation->persistent);
    enum lct_code code = lct_tool_print(
        err,
        "identity     %s\nalgorithm    %s\ncustody      %s\ntpm          %s\nseal         %s\n"
        "passphrase   %s\n",
        key->label, generation->algorithm->name, lct_describe_custody(generation, key),
        generation->tpm, words, generation->passphrase ? "yes" : "none");
    if (code == LCT_OK)
        code = lct_describe_life(shown->record, err);
    if (code == LCT_OK)
        code = lct_tool_print(
            err,
            "created      %s\nname         %s\n"
            "%s%s       0x%08x %s\nhardware_bound %s\nattributes   %s\nhashes       %s\n%s%s%s",
            shown->record->created, name, handle, generation->handle != 0 ? "salted" : "parent",
            generation->parent, parent, lct_key_is_bound(key) ? "true" : "false", attributes,
            hashes, salt != NULL ? "PSS salt     " : "", salt != NULL ? salt : "",
            salt != NULL ? "\n" : "");
    return code;
}

static enum lct_code show_text(const struct shown *shown, struct lct_err *err)
{
    enum lct_code code =
        lct_key_is_software(shown->key) ? show_software(shown, err) : show_tpm(shown, err);

    if (code == LCT_OK)
        code = show_web4(shown->key, err);
    if (code == LCT_OK)
        code = show_certificate(shown, err);
    return code == LCT_OK ? lct_tool_print(err, "store        %s/%s\n%s", shown->dir,
                                           shown->record->id, shown->pem)
                          : code;
}

static enum lct_code show_key(const struct lct_tool *tool, struct shown *shown, bool json,
                              struct lct_err *err)
{
    const struct lct_key *key = shown->key;
    char *pem = public_pem(key);

    if (pem == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: its public key cannot be written", key->label);
    shown->pem = pem;
    shown->code = lct_describe_certificate(&shown->certificate, &shown->num_certs, tool,
                                           shown->record->id, key->number, key, &shown->wrong);
    enum lct_code code = json ? lct_tool_print_json(show_json(shown), err) : show_text(shown, err);
    free(pem);
    return code;
}

static enum lct_code show(const struct lct_tool *tool, const char *id, bool json,
                          struct lct_err *err)
{
    struct shown shown = {.num_certs = 0};
    struct lct_record *record = NULL;
    struct lct_key *key = NULL;
    enum lct_code code = lct_store_get_record(&tool->store, id, &record, &shown.dir, err);

    if (code == LCT_OK)
        code = lct_store_get_key(&tool->store, tool->crypto, id, 0, &key, err);
    if (code == LCT_OK) {
        shown.record = record;
        shown.key = key;
        code = show_key(tool, &shown, json, err);
    }
    lct_key_free(key);
    free(record);
    return code;
}

enum lct_code lct_show_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    bool json = false;
    const struct lct_option options[] = {{"json", NULL, &json}};
    const char *id = NULL;
    enum lct_code code = lct_tool_begin(tool, argc, argv, options, 1, &id, err);

    return code == LCT_OK ? show(tool, id, json, err) : code;
}
