/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/describe.h"
#include "tools/tool.h"

#include "base/encode.h"

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

static json_t *show_json(const struct lct_record *record, const struct lct_key *key,
                         const char *dir, const char *pem)
{
    const struct lct_generation *generation = &key->generation;
    json_t *json = lct_describe_json(record, key, dir);
    json_t *hashes = json_array();
    char name[NAME_TEXT], parent[NAME_TEXT], attributes[LCT_ATTRIBUTES_TEXT];

    name_text(name, &generation->name);
    name_text(parent, &generation->parent_name);
    lct_public_attributes(attributes, key->public_area.attributes);
    for (size_t i = 0; i < generation->num_hashes; i++)
        (void)json_array_append_new(hashes, json_string(generation->hashes[i]->name));
    json_t *more = json_pack("{s:s, s:{s:o, s:s}, s:s, s:o, s:s?, s:s}", "name", name, "parent",
                             "handle", json_sprintf("0x%08x", generation->parent), "name", parent,
                             "attributes", attributes, "hashes", hashes, "pss_salt",
                             lct_pss_salt_name(generation->pss_salt), "public_key", pem);
    if (json != NULL && more != NULL)
        (void)json_object_update(json, more);
    if (json != NULL && generation->handle != 0)
        (void)json_object_set_new(json, "handle", json_sprintf("0x%08x", generation->handle));
    json_decref(more);
    return json;
}

static enum lct_code show_text(const struct lct_record *record, const struct lct_key *key,
                               const char *dir, const char *pem, struct lct_err *err)
{
    const struct lct_generation *generation = &key->generation;
    const char *salt = lct_pss_salt_name(generation->pss_salt);
    char name[NAME_TEXT], parent[NAME_TEXT], attributes[LCT_ATTRIBUTES_TEXT], hashes[256];
    char handle[32] = "";

    name_text(name, &generation->name);
    name_text(parent, &generation->parent_name);
    lct_public_attributes(attributes, key->public_area.attributes);
    hashes_text(hashes, sizeof hashes, generation);
    if (generation->handle != 0)
        (void)snprintf(handle, sizeof handle, "handle       0x%08x\n", generation->handle);
    return lct_tool_print(
        err,
        "identity     %s\nalgorithm    %s\ncustody      %s\ntpm          %s\nseal         none\n"
        "passphrase   %s\nstate        active, generation %u\ncreated      %s\nname         %s\n"
        "%s%s       0x%08x %s\nhardware_bound %s\nattributes   %s\nhashes       "
        "%s\n%s%s%scertificate  none\n"
        "store        %s/%s\n%s",
        key->label, generation->algorithm->name, lct_describe_custody(generation), generation->tpm,
        generation->passphrase ? "yes" : "none", generation->number, record->created, name, handle,
        generation->handle != 0 ? "salted" : "parent", generation->parent, parent,
        lct_public_is_bound(&key->public_area) ? "true" : "false", attributes, hashes,
        salt != NULL ? "PSS salt     " : "", salt != NULL ? salt : "", salt != NULL ? "\n" : "",
        dir, record->id, pem);
}

static enum lct_code show(const struct lct_tool *tool, const char *id, bool json,
                          struct lct_err *err)
{
    struct lct_record *record = NULL;
    struct lct_key *key = NULL;
    const char *dir = NULL;
    char *pem = NULL;
    enum lct_code code = lct_store_get_record(&tool->store, id, &record, &dir, err);

    if (code == LCT_OK)
        code = lct_store_get_key(&tool->store, tool->crypto, id, 0, &key, err);
    if (code == LCT_OK) {
        pem = public_pem(key);
        if (pem == NULL)
            code =
                LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: its public key cannot be written", key->label);
    }
    if (code == LCT_OK)
        code = json ? lct_describe_print(show_json(record, key, dir, pem), err)
                    : show_text(record, key, dir, pem, err);
    free(pem);
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
