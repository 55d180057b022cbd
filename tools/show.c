/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/certificate.h"
#include "tools/describe.h"
#include "tools/json.h"
#include "tools/seal_text.h"
#include "tools/sheet.h"
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

static void show_web4(struct lct_sheet *sheet, const struct lct_key *key)
{
    char name[LCT_WEB4_NAME];
    bool has = lct_web4_name(name, key->libctx, key->pkey, NULL) == LCT_OK;

    lct_sheet_say(sheet, "web4", "%s", has ? name : "none: Web4 has no names for such keys");
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

static void show_certificate(struct lct_sheet *sheet, const struct shown *shown)
{
    const struct lct_certificate *certificate = &shown->certificate;
    char expiry[LCT_CERTIFICATE_EXPIRY];

    lct_sheet_part(sheet, "Certificate");
    if (shown->code != LCT_OK) {
        lct_sheet_say(sheet, "certificate", "cannot be used: %s", shown->wrong.text);
        return;
    }
    if (shown->num_certs == 0) {
        lct_sheet_say(sheet, "certificate", "none");
        return;
    }
    lct_sheet_say(sheet, "certificate", "%s, the first of %zu",
                  lct_certificate_expiry(expiry, certificate), shown->num_certs);
    lct_sheet_say(sheet, "  subject", "%s", certificate->subject);
    lct_sheet_say(sheet, "  issuer", "%s", certificate->issuer);
    lct_sheet_say(sheet, "  serial", "%s", certificate->serial);
    lct_sheet_say(sheet, "  valid", "%s to %s", certificate->not_before, certificate->not_after);
    lct_sheet_say(sheet, "  SHA-256", "%s", certificate->fingerprint);
}

/* Of a key in software there is nothing of a TPM to tell. */
static void show_software(struct lct_sheet *sheet, const struct shown *shown)
{
    struct lct_generation unpacked;
    const struct lct_generation *generation = lct_key_generation(&unpacked, shown->key);

    lct_sheet_say(sheet, "identity", "lct:%s", shown->record->id);
    lct_sheet_say(sheet, "algorithm", "%s", generation->algorithm->name);
    lct_sheet_say(sheet, "custody", "%s", lct_describe_custody(generation, shown->key));
    lct_sheet_say(sheet, "passphrase", "yes");
    lct_describe_life(sheet, shown->record);
    lct_sheet_say(sheet, "created", "%s", shown->record->created);
    lct_sheet_say(sheet, "hardware_bound", "false");
}

/* What the TPM knows the key by. */
static void show_names(struct lct_sheet *sheet, const struct lct_generation *generation)
{
    char name[NAME_TEXT], parent[NAME_TEXT];

    name_text(name, &generation->name);
    name_text(parent, &generation->parent_name);
    lct_sheet_say(sheet, "name", "%s", name);
    if (generation->handle != 0)
        lct_sheet_say(sheet, "handle", "0x%08x", generation->handle);
    else if (generation->persistent != 0)
        lct_sheet_say(sheet, "persistent", "0x%08x", generation->persistent);
    lct_sheet_say(sheet, generation->handle != 0 ? "salted" : "parent", "0x%08x %s",
                  generation->parent, parent);
}

static void show_tpm(struct lct_sheet *sheet, const struct shown *shown)
{
    const struct lct_key *key = shown->key;
    struct lct_generation unpacked;
    const struct lct_generation *generation = lct_key_generation(&unpacked, key);
    const char *salt = lct_pss_salt_name(generation->pss_salt);
    char attributes[LCT_ATTRIBUTES_TEXT], hashes[256], words[LCT_SEAL_WORDS] = "none";

    lct_public_attributes(attributes, key->attributes);
    hashes_text(hashes, sizeof hashes, generation);
    if (generation->seal.kind != LCT_SEAL_NONE)
        (void)lct_seal_words(words, &generation->seal, generation->created, key->libctx);
    lct_sheet_say(sheet, "identity", "%s", key->label);
    lct_sheet_say(sheet, "algorithm", "%s", generation->algorithm->name);
    lct_sheet_say(sheet, "custody", "%s", lct_describe_custody(generation, key));
    lct_sheet_say(sheet, "tpm", "%s", generation->tpm);
    lct_sheet_say(sheet, "seal", "%s", words);
    lct_sheet_say(sheet, "passphrase", "%s", generation->passphrase ? "yes" : "none");
    lct_describe_life(sheet, shown->record);
    lct_sheet_say(sheet, "created", "%s", shown->record->created);
    lct_sheet_part(sheet, "Key");
    show_names(sheet, generation);
    lct_sheet_say(sheet, "hardware_bound", "%s", lct_key_is_bound(key) ? "true" : "false");
    lct_sheet_say(sheet, "attributes", "%s", attributes);
    lct_sheet_say(sheet, "hashes", "%s", hashes);
    if (salt != NULL)
        lct_sheet_say(sheet, "PSS salt", "%s", salt);
}

/* What a page begins with: how the identity comes out, before all that is known of it. */
static void begin(struct lct_sheet *sheet, const struct shown *shown)
{
    const struct lct_record *record = shown->record;
    const bool ended = record->ending != LCT_NOT_ENDED;
    const bool expired = shown->code == LCT_OK && shown->num_certs > 0 &&
                         shown->certificate.validity == LCT_VALIDITY_OVER;
    char sentence[sizeof shown->wrong.text + 64];

    if (ended)
        (void)snprintf(sentence, sizeof sentence, "since %s, and not to be used any more",
                       record->ended);
    else if (shown->code != LCT_OK)
        (void)snprintf(sentence, sizeof sentence, "its certificate cannot be used: %s",
                       shown->wrong.text);
    else
        (void)snprintf(sentence, sizeof sentence, "%s",
                       expired ? "its certificate is expired"
                               : "as its record and key file say; the TPM was not asked");
    lct_sheet_begin(sheet, shown->key->label,
                    ended                              ? LCT_SHEET_PROBLEM
                    : expired || shown->code != LCT_OK ? LCT_SHEET_WARNING
                                                       : LCT_SHEET_NOTE,
                    lct_ending_name(record->ending), sentence);
    lct_sheet_part(sheet, "Identity");
}

static enum lct_code show_sheet(const struct shown *shown, const struct lct_sheet_request *request,
                                struct lct_err *err)
{
    struct lct_sheet sheet = {.page = request->html};

    begin(&sheet, shown);
    if (lct_key_is_software(shown->key))
        show_software(&sheet, shown);
    else
        show_tpm(&sheet, shown);
    show_web4(&sheet, shown->key);
    show_certificate(&sheet, shown);
    lct_sheet_part(&sheet, "Store and public key");
    lct_sheet_say(&sheet, "store", "%s/%s", shown->dir, shown->record->id);
    lct_sheet_lines(&sheet, shown->pem);
    return lct_sheet_end(&sheet, request->out, err);
}

static enum lct_code show_key(const struct lct_tool *tool, struct shown *shown,
                              const struct lct_sheet_request *request, struct lct_err *err)
{
    const struct lct_key *key = shown->key;
    char *pem = public_pem(key);

    if (pem == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: its public key cannot be written", key->label);
    shown->pem = pem;
    shown->code = lct_describe_certificate(&shown->certificate, &shown->num_certs, tool,
                                           shown->record->id, key->number, key, &shown->wrong);
    enum lct_code code = request->json ? lct_tool_print_json(show_json(shown), err)
                                       : show_sheet(shown, request, err);
    free(pem);
    return code;
}

static enum lct_code show(const struct lct_tool *tool, const char *id,
                          const struct lct_sheet_request *request, struct lct_err *err)
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
        code = show_key(tool, &shown, request, err);
    }
    lct_key_free(key);
    free(record);
    return code;
}

enum lct_code lct_describe_result(const struct lct_tool *tool, const char *id, struct lct_err *err)
{
    static const struct lct_sheet_request request = {.json = true};

    return tool->json ? show(tool, id, &request, err) : LCT_OK;
}

enum lct_code lct_show_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct lct_sheet_request request = {.out = NULL};
    const struct lct_option options[] = {
        {"json", NULL, &tool->json}, {"html", NULL, &request.html}, {"out", &request.out, NULL}};
    const char *id = NULL;
    enum lct_code code = lct_tool_begin(tool, argc, argv, options, 3, &id, err);

    request.json = tool->json;
    if (code == LCT_OK)
        code = lct_sheet_check(&request, argv[0], err);
    return code == LCT_OK ? show(tool, id, &request, err) : code;
}
