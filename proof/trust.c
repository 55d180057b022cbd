/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/trust.h"

#include "proof/json.h"
#include "proof/trusted.h"
#include "proof/vendor.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FORMAT = 1 };

/* What reading has in its hands. */
struct reading {
    struct lct_trust *trust;
    const char *directory; /* of the trust file */
};

static enum lct_code fail_memory(struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

/* A list that is there has something in it: an empty one could be meant to trust all, or nobody. */
static enum lct_code check_list(const json_t *json, struct lct_err *err)
{
    const json_t *item;
    size_t i;

    json_array_foreach (json, i, item)
        if (!json_is_string(item))
            return LCT_FAIL(err, LCT_ERR_CONFIG, "it is a list of something else than text");
    if (json_array_size(json) == 0)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "it is no list with something in it");
    return LCT_OK;
}

static enum lct_code read_version(struct reading *reading, const json_t *json, struct lct_err *err)
{
    (void)reading;
    if (json_is_integer(json) && json_integer_value(json) == FORMAT)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_CONFIG, "it is not %d, the one that this lct knows", FORMAT);
}

/* All the files and directories of a list. */
static enum lct_code read_anchors(struct lct_anchors *anchors, const struct reading *reading,
                                  const json_t *json, bool keys, struct lct_err *err)
{
    const json_t *item;
    size_t i;
    enum lct_code code = check_list(json, err);

    json_array_foreach (json, i, item) {
        const char *name = json_string_value(item);
        char *path = NULL;
        if (code != LCT_OK)
            break;
        if (name[0] == '\0')
            return LCT_FAIL(err, LCT_ERR_CONFIG, "it names a file without a name");
        if (name[0] == '/' ? asprintf(&path, "%s", name) < 0
                           : asprintf(&path, "%s/%s", reading->directory, name) < 0)
            return fail_memory(err);
        code = lct_anchors_read(anchors, reading->trust->libctx, path, keys, err);
        free(path);
    }
    return code;
}

static enum lct_code make_store(X509_STORE **store, const struct lct_anchors *anchors,
                                struct lct_err *err)
{
    *store = X509_STORE_new();
    for (size_t i = 0; i < anchors->num; i++)
        if (*store == NULL || X509_STORE_add_cert(*store, anchors->all[i].certificate) != 1)
            return fail_memory(err);
    return LCT_OK;
}

static enum lct_code read_store(X509_STORE **store, const struct reading *reading,
                                const json_t *json, struct lct_err *err)
{
    struct lct_anchors anchors = {0};
    enum lct_code code = read_anchors(&anchors, reading, json, false, err);

    if (code == LCT_OK)
        code = make_store(store, &anchors, err);
    lct_anchors_clear(&anchors);
    return code;
}

static enum lct_code read_ek_roots(struct reading *reading, const json_t *json, struct lct_err *err)
{
    return read_store(&reading->trust->ek_roots, reading, json, err);
}

static enum lct_code read_ak_issuers(struct reading *reading, const json_t *json,
                                     struct lct_err *err)
{
    return read_store(&reading->trust->ak_issuers, reading, json, err);
}

static enum lct_code read_verdict_issuers(struct reading *reading, const json_t *json,
                                          struct lct_err *err)
{
    return read_anchors(&reading->trust->verdict_issuers, reading, json, true, err);
}

static enum lct_code read_witnesses(struct reading *reading, const json_t *json,
                                    struct lct_err *err)
{
    return read_anchors(&reading->trust->witnesses, reading, json, true, err);
}

static enum lct_code read_fingerprints(struct lct_fingerprints *fingerprints, const json_t *json,
                                       struct lct_err *err)
{
    enum lct_code code = check_list(json, err);

    if (code != LCT_OK)
        return code;
    fingerprints->all = calloc(json_array_size(json), sizeof *fingerprints->all);
    if (fingerprints->all == NULL)
        return fail_memory(err);
    for (; fingerprints->num < json_array_size(json); fingerprints->num++)
        if (!lct_json_bytes(fingerprints->all[fingerprints->num].bytes,
                            sizeof fingerprints->all->bytes,
                            json_string_value(json_array_get(json, fingerprints->num))))
            return LCT_FAIL(err, LCT_ERR_CONFIG,
                            "number %zu of them is no SHA-256 in 64 lower-case hexadecimal digits",
                            fingerprints->num + 1);
    return LCT_OK;
}

static enum lct_code read_ek_keys(struct reading *reading, const json_t *json, struct lct_err *err)
{
    return read_fingerprints(&reading->trust->ek_keys, json, err);
}

static enum lct_code read_vendors(struct reading *reading, const json_t *json, struct lct_err *err)
{
    struct lct_trust *trust = reading->trust;
    enum lct_code code = check_list(json, err);

    if (code != LCT_OK)
        return code;
    trust->vendors = calloc(json_array_size(json), sizeof *trust->vendors);
    if (trust->vendors == NULL)
        return fail_memory(err);
    for (; trust->num_vendors < json_array_size(json); trust->num_vendors++)
        if (!lct_vendor_parse(&trust->vendors[trust->num_vendors],
                              json_string_value(json_array_get(json, trust->num_vendors))))
            return LCT_FAIL(err, LCT_ERR_CONFIG,
                            "number %zu of them is no maker of the TCG's registry (\"INTC\"), nor "
                            "eight hexadecimal digits",
                            trust->num_vendors + 1);
    return LCT_OK;
}

static enum lct_code read_pcrs(struct lct_pcrs *pcrs, const json_t *json, struct lct_err *err)
{
    if (!json_is_string(json) || !lct_json_pcrs(pcrs, json_string_value(json)))
        return LCT_FAIL(err, LCT_ERR_CONFIG, "\"pcrs\" is none like \"sha256:0,7\"");
    return lct_pcrs_check_seal(pcrs, err) == LCT_OK ? LCT_OK : (err->code = LCT_ERR_CONFIG);
}

static enum lct_code read_policies(struct reading *reading, const json_t *json, struct lct_err *err)
{
    struct lct_trust *trust = reading->trust;
    const json_t *pcrs = json_object_get(json, "pcrs");
    const json_t *authorities = json_object_get(json, "authorities");
    enum lct_code code = LCT_OK;

    if (!json_is_object(json) ||
        json_object_size(json) != (size_t)(pcrs != NULL) + (size_t)(authorities != NULL))
        return LCT_FAIL(err, LCT_ERR_CONFIG,
                        "it has something else in it than \"pcrs\" and \"authorities\"");
    trust->has_policies = true;
    if (pcrs != NULL)
        code = read_pcrs(&trust->pcrs, pcrs, err);
    if (code == LCT_OK && authorities != NULL) {
        code = read_fingerprints(&trust->authorities, authorities, err);
        if (code != LCT_OK)
            return lct_err_prefix(err, "\"authorities\"");
    }
    return code;
}

static const struct {
    const char *name;
    enum lct_code (*read)(struct reading *reading, const json_t *json, struct lct_err *err);
} members[] = {
    {"version", read_version},       {"ek_roots", read_ek_roots},
    {"ek_keys", read_ek_keys},       {"vendors", read_vendors},
    {"ak_issuers", read_ak_issuers}, {"verdict_issuers", read_verdict_issuers},
    {"witnesses", read_witnesses},   {"policies", read_policies},
};

/* In the order of the table: of a file in another format, that is what is said. */
static enum lct_code read_members(struct reading *reading, const json_t *object,
                                  struct lct_err *err)
{
    size_t num_known = 0;

    if (json_object_get(object, "version") == NULL)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "it is no trust file: it has no \"version\"");
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const json_t *member = json_object_get(object, members[i].name);
        if (member == NULL)
            continue;
        num_known++;
        if (members[i].read(reading, member, err) != LCT_OK) {
            char label[32];
            (void)snprintf(label, sizeof label, "\"%s\"", members[i].name);
            return lct_err_prefix(err, label);
        }
    }
    if (json_object_size(object) == num_known)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_CONFIG,
                    "it has a member that is none of \"version\", \"ek_roots\", \"ek_keys\", "
                    "\"vendors\", \"ak_issuers\", \"verdict_issuers\", \"witnesses\" and "
                    "\"policies\"");
}

static enum lct_code read_json(struct reading *reading, const uint8_t *text, size_t text_len,
                               struct lct_err *err)
{
    json_error_t where;
    json_t *object = lct_json_load(text, text_len, &where);
    enum lct_code code;

    if (object == NULL && errno == ENOMEM)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    if (object == NULL)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "it is not JSON (line %d: %.80s)", where.line,
                        where.text);
    code = read_members(reading, object, err);
    json_decref(object);
    return code;
}

static enum lct_code read_file(struct lct_trust *trust, const char *path, struct lct_err *err)
{
    struct reading reading = {.trust = trust};
    uint8_t *text = NULL;
    size_t text_len = 0;
    enum lct_code code = lct_anchor_read_file(&text, &text_len, path, err);

    if (code != LCT_OK)
        return code;
    const char *slash = strrchr(path, '/');
    char *directory = slash != NULL ? strndup(path, (size_t)(slash - path)) : strdup(".");
    reading.directory = directory;
    code = directory != NULL ? read_json(&reading, text, text_len, err) : fail_memory(err);
    free(directory);
    free(text);
    return code != LCT_OK ? lct_err_prefix(err, path) : LCT_OK;
}

/* Of a directory all is roots. */
static enum lct_code read_directory(struct lct_trust *trust, const char *path, struct lct_err *err)
{
    struct lct_anchors anchors = {0};
    enum lct_code code = lct_anchors_read(&anchors, trust->libctx, path, false, err);

    if (code == LCT_OK)
        code = make_store(&trust->ek_roots, &anchors, err);
    lct_anchors_clear(&anchors);
    return code;
}

enum lct_code lct_trust_read(struct lct_trust **trust, OSSL_LIB_CTX *libctx, const char *path,
                             struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};
    struct stat status;
    enum lct_code code;

    *trust = calloc(1, sizeof **trust);
    if (*trust == NULL)
        return fail_memory(err);
    (*trust)->libctx = libctx;
    (void)ERR_set_mark();
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        code = read_directory(*trust, path, &why);
    else
        code = read_file(*trust, path, &why);
    (void)ERR_pop_to_mark();
    if (code == LCT_OK)
        return LCT_OK;
    lct_trust_free(*trust);
    *trust = NULL;
    return LCT_FAIL(err, code, "%s", why.text);
}

void lct_trust_free(struct lct_trust *trust)
{
    if (trust == NULL)
        return;
    X509_STORE_free(trust->ek_roots);
    X509_STORE_free(trust->ak_issuers);
    lct_anchors_clear(&trust->verdict_issuers);
    lct_anchors_clear(&trust->witnesses);
    free(trust->ek_keys.all);
    free(trust->vendors);
    free(trust->authorities.all);
    free(trust);
}

static bool is_valid(const struct lct_anchor *anchor, time_t now)
{
    return anchor->certificate == NULL ||
           (X509_cmp_time(X509_get0_notBefore(anchor->certificate), &now) < 0 &&
            X509_cmp_time(X509_get0_notAfter(anchor->certificate), &now) > 0);
}

/* Number `i` of those that hold at `now`; NULL: there are no more. */
static EVP_PKEY *valid_key(const struct lct_anchors *anchors, size_t i, time_t now)
{
    EVP_PKEY *found = NULL;

    (void)ERR_set_mark();
    for (size_t n = 0; n < anchors->num && found == NULL; n++) {
        const struct lct_anchor *anchor = &anchors->all[n];
        if (is_valid(anchor, now) && i-- == 0)
            found = anchor->pkey;
    }
    (void)ERR_pop_to_mark();
    return found;
}

EVP_PKEY *lct_trust_verdict_issuer(const struct lct_trust *trust, size_t i, time_t now)
{
    return valid_key(&trust->verdict_issuers, i, now);
}

bool lct_trust_has_witnesses(const struct lct_trust *trust)
{
    return trust->witnesses.num > 0;
}

EVP_PKEY *lct_trust_witness(const struct lct_trust *trust, size_t i, time_t now)
{
    return valid_key(&trust->witnesses, i, now);
}

bool lct_trust_has_policies(const struct lct_trust *trust)
{
    return trust->has_policies;
}

const struct lct_pcrs *lct_trust_pcrs(const struct lct_trust *trust)
{
    return &trust->pcrs;
}

bool lct_fingerprints_have(const struct lct_fingerprints *fingerprints,
                           const struct lct_fingerprint *fingerprint)
{
    for (size_t i = 0; i < fingerprints->num; i++)
        if (memcmp(fingerprints->all[i].bytes, fingerprint->bytes, sizeof fingerprint->bytes) == 0)
            return true;
    return false;
}

bool lct_trust_accepts_authority(const struct lct_trust *trust, const char *fingerprint)
{
    struct lct_fingerprint own;

    return lct_json_bytes(own.bytes, sizeof own.bytes, fingerprint) &&
           lct_fingerprints_have(&trust->authorities, &own);
}
