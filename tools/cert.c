/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/certificate.h"
#include "tools/describe.h"
#include "tools/json.h"
#include "tools/rotate.h"
#include "tools/tool.h"

#include "base/fd.h"
#include "store/certs.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is asked of one generation of an identity. */
struct request {
    const struct lct_tool *tool;
    const char *id;
    const char *file; /* to set; NULL: none */
    const char *overlap;
    bool remove;
    unsigned generation; /* 0: the active one */
};

static bool is_standard(const char *file)
{
    return strcmp(file, "-") == 0;
}

static const char *name_of(const char *file)
{
    return is_standard(file) ? "standard input" : file;
}

static enum lct_code read_chain(struct lct_certs *certs, const struct request *request,
                                struct lct_err *err)
{
    bool standard = is_standard(request->file);
    const char *file = name_of(request->file);
    int fd = standard ? STDIN_FILENO : open(request->file, O_RDONLY | O_CLOEXEC);
    uint8_t *bytes = malloc(LCT_MAX_CERTS_FILE + 1);
    size_t bytes_len = 0;
    enum lct_code code = LCT_OK;

    if (bytes == NULL)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    else if (fd < 0 || !lct_fd_read_all(fd, bytes, &bytes_len, LCT_MAX_CERTS_FILE + 1))
        code = LCT_FAIL(err, LCT_ERR_IO, "%s: cannot be read: %s", file, strerror(errno));
    if (code == LCT_OK) {
        code = lct_certs_parse(certs, request->tool->crypto, bytes, bytes_len, err);
        if (code == LCT_ERR_BAD_RECORD) { /* nothing of the identity's is damaged */
            err->code = code = LCT_ERR_USAGE;
            (void)lct_err_prefix(err, file);
        }
    }
    if (bytes != NULL)
        OPENSSL_cleanse(bytes, bytes_len); /* it may be a private key, by mistake */
    free(bytes);
    if (fd >= 0 && !standard)
        close(fd);
    return code;
}

static enum lct_code say_set(const struct request *request, const struct lct_key *key,
                             const struct lct_certs *certs, struct lct_err *err)
{
    struct lct_certificate certificate;
    char expiry[LCT_CERTIFICATE_EXPIRY];
    enum lct_code code =
        lct_certificate_describe(&certificate, certs->certs[0].x509, request->tool->crypto, err);

    if (code != LCT_OK)
        return code;
    if (certificate.validity != LCT_VALIDITY_NOW)
        lct_tool_warn(key->label, "its certificate is %s (%s to %s)",
                      certificate.validity == LCT_VALIDITY_OVER ? "expired" : "not valid yet",
                      certificate.not_before, certificate.not_after);
    return lct_tool_say(request->tool, err,
                        "%s: keeps the certificate of %s, %s, and %zu of its issuers\n", key->label,
                        certificate.subject, lct_certificate_expiry(expiry, &certificate),
                        certs->num - 1);
}

/* Whether the chain is of the pending generation: then that is loaded. */
static enum lct_code find_pending(struct lct_key **pending, const struct request *request,
                                  const struct lct_certs *certs, struct lct_err *err)
{
    struct lct_record *record = NULL;
    const struct lct_store *store = &request->tool->store;
    enum lct_code code = lct_store_get_record(store, request->id, &record, NULL, err);
    const struct lct_generation *generation = code == LCT_OK ? lct_record_pending(record) : NULL;

    *pending = NULL;
    if (generation != NULL &&
        (request->generation == 0 || request->generation == generation->number))
        code = lct_store_get_key(store, request->tool->crypto, request->id, generation->number,
                                 pending, err);
    free(record);
    if (*pending != NULL && lct_certs_check_leaf(certs, *pending, NULL) != LCT_OK) {
        lct_key_free(*pending);
        *pending = NULL;
    }
    return code;
}

/* The pending key becomes the active one with its chain. */
static enum lct_code switch_over(const struct request *request, const struct lct_key *pending,
                                 const struct lct_certs *certs, struct lct_err *err)
{
    struct lct_rotated rotated;
    int overlap = 0;
    enum lct_code code = lct_rotate_overlap(&overlap, request->overlap, err);

    if (code == LCT_OK)
        code = lct_rotate_commit(&rotated, &request->tool->store, request->tool->crypto,
                                 request->id, overlap, certs, err);
    if (code == LCT_OK)
        code = say_set(request, pending, certs, err);
    return code == LCT_OK ? lct_rotate_say(request->tool, request->id, &rotated, err) : code;
}

static enum lct_code keep(const struct request *request, const struct lct_key *key,
                          const struct lct_certs *certs, struct lct_err *err)
{
    struct lct_key *pending = NULL;
    enum lct_code code = find_pending(&pending, request, certs, err);

    if (code != LCT_OK)
        return code;
    if (pending != NULL) {
        code = switch_over(request, pending, certs, err);
    } else if (request->overlap != NULL) {
        code = LCT_FAIL(err, LCT_ERR_USAGE,
                        "--overlap goes with the certificate of a pending key, and this is of "
                        "another");
    } else {
        code = lct_certs_set(&request->tool->store, request->id, key, certs, err);
        if (code == LCT_OK)
            code = say_set(request, key, certs, err);
    }
    lct_key_free(pending);
    return code;
}

static enum lct_code set(const struct request *request, const struct lct_key *key,
                         struct lct_err *err)
{
    struct lct_certs certs = {0};
    enum lct_code code = read_chain(&certs, request, err);

    if (code == LCT_OK) {
        code = keep(request, key, &certs, err);
        if (code == LCT_ERR_BAD_RECORD)
            err->code = code = LCT_ERR_USAGE;
        if (code == LCT_ERR_USAGE || code == LCT_ERR_WRONG_KEY)
            (void)lct_err_prefix(err, name_of(request->file));
    }
    lct_certs_clear(&certs);
    return code;
}

static enum lct_code write_pem(const struct lct_certs *certs, struct lct_err *err)
{
    uint8_t *pem = NULL;
    size_t pem_len = 0;
    enum lct_code code = lct_certs_write(&pem, &pem_len, certs, err);

    if (code == LCT_OK)
        code = lct_tool_print(err, "%.*s", (int)pem_len, (const char *)pem);
    OPENSSL_free(pem);
    return code;
}

/* One of a chain, with its PEM; NULL: it cannot be told. */
static json_t *certificate_json(const struct request *request, const struct lct_certs *certs,
                                size_t i)
{
    const struct lct_certs alone = {.num = 1, .certs = {certs->certs[i]}};
    struct lct_certificate certificate;
    uint8_t *pem = NULL;
    size_t pem_len = 0;
    json_t *json = NULL;

    if (lct_certificate_describe(&certificate, certs->certs[i].x509, request->tool->crypto, NULL) ==
            LCT_OK &&
        lct_certs_write(&pem, &pem_len, &alone, NULL) == LCT_OK) {
        json = lct_certificate_json(&certificate, certs->num - i, NULL);
        (void)json_object_set_new(json, "pem", json_stringn((const char *)pem, pem_len));
    }
    OPENSSL_free(pem);
    return json;
}

static enum lct_code write_json(const struct request *request, unsigned generation,
                                const struct lct_certs *certs, struct lct_err *err)
{
    json_t *array = json_array();

    for (size_t i = 0; i < certs->num; i++)
        (void)json_array_append_new(array, certificate_json(request, certs, i));
    return lct_tool_print_json(json_pack("{s:i, s:s, s:i, s:o}", "version", 1, "id", request->id,
                                         "generation", (int)generation, "certificates", array),
                               err);
}

static enum lct_code print(const struct request *request, const struct lct_key *key,
                           struct lct_err *err)
{
    struct lct_certs certs;
    enum lct_code code = lct_certs_read(&request->tool->store, request->tool->crypto, request->id,
                                        key->number, &certs, err);

    if (code == LCT_OK && certs.num == 0 && request->generation != 0)
        code =
            LCT_FAIL(err, LCT_ERR_NOT_FOUND,
                     "%s: its generation %u has no certificate; lct csr %s --generation %u asks "
                     "for one, and lct cert %s --set FILE --generation %u keeps what comes back",
                     key->label, key->number, request->id, key->number, request->id, key->number);
    else if (code == LCT_OK && certs.num == 0)
        code = LCT_FAIL(err, LCT_ERR_NOT_FOUND,
                        "%s: it has no certificate; lct csr %s asks for one, and lct cert %s --set "
                        "FILE keeps what comes back",
                        key->label, request->id, request->id);
    else if (code == LCT_OK && lct_certs_check_leaf(&certs, key, err) != LCT_OK)
        code = lct_err_prefix(err, key->label);
    if (code == LCT_OK)
        code = request->tool->json ? write_json(request, key->number, &certs, err)
                                   : write_pem(&certs, err);
    lct_certs_clear(&certs);
    return code;
}

static enum lct_code remove_chain(const struct request *request, const struct lct_record *record,
                                  struct lct_err *err)
{
    const struct lct_generation *generation = lct_record_generation(record, request->generation);

    if (generation == NULL)
        return LCT_FAIL(err, LCT_ERR_NOT_FOUND,
                        "lct:%s: there is no generation %u; the active one is %u", request->id,
                        request->generation, record->active);
    enum lct_code code =
        lct_certs_remove(&request->tool->store, request->id, generation->number, err);
    return code == LCT_OK
               ? lct_tool_say(request->tool, err, "lct:%s: keeps no certificate now\n", request->id)
               : code;
}

static enum lct_code run(const struct request *request, struct lct_err *err)
{
    const struct lct_store *store = &request->tool->store;
    struct lct_record *record = NULL;
    struct lct_key *key = NULL;
    enum lct_code code;

    if (request->remove) { /* also from an identity whose key file is damaged */
        code = lct_store_get_record(store, request->id, &record, NULL, err);
        if (code == LCT_OK)
            code = remove_chain(request, record, err);
        free(record);
        return code;
    }
    code = lct_store_get_key(store, request->tool->crypto, request->id, request->generation, &key,
                             err);
    if (code == LCT_OK)
        code = request->file != NULL ? set(request, key, err) : print(request, key, err);
    lct_key_free(key);
    return code;
}

enum lct_code lct_cert_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct request request = {.tool = tool};
    const char *generation = NULL;
    const struct lct_option options[] = {{"set", &request.file, NULL},
                                         {"remove", NULL, &request.remove},
                                         {"generation", &generation, NULL},
                                         {"overlap", &request.overlap, NULL},
                                         {"json", NULL, &tool->json}};
    enum lct_code code = lct_tool_begin(tool, argc, argv, options,
                                        sizeof options / sizeof options[0], &request.id, err);

    if (code == LCT_OK && request.file != NULL && request.remove)
        code = LCT_FAIL(err, LCT_ERR_USAGE, "--set and --remove contradict each other");
    if (code == LCT_OK && request.file == NULL && request.overlap != NULL)
        code = LCT_FAIL(err, LCT_ERR_USAGE, "--overlap goes with --set");
    if (code == LCT_OK)
        code = lct_tool_generation(&request.generation, generation, err);
    if (code == LCT_OK)
        code = run(&request, err);
    return code == LCT_OK && (request.file != NULL || request.remove)
               ? lct_describe_result(tool, request.id, err)
               : code;
}
