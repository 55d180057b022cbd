/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/certificate.h"
#include "tools/json.h"
#include "tools/progress.h"
#include "tools/tool.h"
#include "tools/unlock.h"

#include "base/encode.h"
#include "proof/spki.h"
#include "tpm/ek.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char label[] = "lct ek";

enum { NAME_TEXT = 2 * sizeof((struct lct_name *)0)->data + 1, SHA256_TEXT = 65 };

/* What is shown. */
struct shown {
    struct lct_tool *tool;
    OSSL_LIB_CTX *libctx;
    struct lct_tpm_info info;
    struct lct_eks eks;
};

/* The first thing that is wrong: what the command fails with when all is printed. */
static enum lct_code find_wrong(const struct lct_eks *eks, struct lct_err *err)
{
    const struct lct_err *wrong = NULL;

    for (size_t i = 0; i < eks->num && wrong == NULL; i++) {
        const struct lct_ek *ek = &eks->eks[i];
        if (ek->cert_err.code != LCT_OK)
            wrong = &ek->cert_err;
        else if (ek->key_err.code != LCT_OK)
            wrong = &ek->key_err;
        else if (ek->cert.x509 != NULL && !ek->certified)
            return LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                            "EK %s (%s): the certificate at 0x%08x is not of this TPM's key",
                            ek->kind->algorithm, ek->kind->template, ek->kind->certificate);
    }
    if (wrong == NULL && eks->chain_err.code != LCT_OK)
        wrong = &eks->chain_err;
    if (wrong == NULL)
        return LCT_OK;
    *err = *wrong;
    return err->code;
}

/* PEM of one thing; the caller frees it. */
static char *to_pem(const struct shown *shown, const struct lct_ekcert *cert, EVP_PKEY *pkey)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL, *text = NULL;
    bool good =
        bio != NULL &&
        (cert != NULL ? PEM_write_bio(bio, PEM_STRING_X509, "", cert->der, (long)cert->der_len) > 0
                      : PEM_write_bio_PUBKEY_ex(bio, pkey, shown->libctx, NULL) == 1);

    if (good) {
        long len = BIO_get_mem_data(bio, &data);
        text = len > 0 ? strndup(data, (size_t)len) : NULL;
    }
    BIO_free(bio);
    return text;
}

static enum lct_code print_pem(const struct shown *shown, const struct lct_ekcert *cert,
                               EVP_PKEY *pkey, struct lct_err *err)
{
    char *pem = to_pem(shown, cert, pkey);
    enum lct_code code = pem != NULL
                             ? lct_tool_print(err, "%s", pem)
                             : LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: PEM cannot be written", label);

    free(pem);
    return code;
}

/* A certificate that is not of the key is no certificate of it; where the key could not be had it
 * is not known whose it is. */
static bool has_certificate(const struct lct_ek *ek)
{
    return ek->cert.x509 != NULL && (ek->certified || ek->pkey == NULL);
}

static enum lct_code show_pem(const struct shown *shown, struct lct_err *err)
{
    const struct lct_eks *eks = &shown->eks;
    enum lct_code code = LCT_OK;

    if (shown->info.software)
        lct_tool_note(shown->tool, "this is a software TPM: its keys are as safe as its files are");
    for (size_t i = 0; i < eks->num && code == LCT_OK; i++)
        if (has_certificate(&eks->eks[i]))
            code = print_pem(shown, &eks->eks[i].cert, NULL, err);
    for (size_t i = 0; i < eks->num_chain && code == LCT_OK; i++)
        code = print_pem(shown, &eks->chain[i], NULL, err);
    for (size_t i = 0; i < eks->num && code == LCT_OK; i++)
        if (!has_certificate(&eks->eks[i]) && eks->eks[i].pkey != NULL)
            code = print_pem(shown, NULL, eks->eks[i].pkey, err);
    return code;
}

static bool describe(struct lct_certificate *certificate, const struct shown *shown,
                     const struct lct_ekcert *cert, struct lct_err *err)
{
    return lct_certificate_describe(certificate, cert->x509, shown->tool->crypto, err) == LCT_OK;
}

/* In words, whose certificate it is. */
static const char *whose(const struct lct_ek *ek)
{
    return ek->certified ? "of this key" : ek->pkey != NULL ? "NOT of this key" : "not compared";
}

static enum lct_code show_certificate(const struct shown *shown, const struct lct_ekcert *cert,
                                      const char *head, struct lct_err *err)
{
    struct lct_certificate certificate;
    char expiry[LCT_CERTIFICATE_EXPIRY];

    if (!describe(&certificate, shown, cert, err))
        return err->code;
    return lct_tool_print(err,
                          "%s, %s\n  subject    %s\n  issuer     %s\n  serial     %s\n"
                          "  valid      %s to %s\n  SHA-256    %s\n",
                          head, lct_certificate_expiry(expiry, &certificate),
                          certificate.subject[0] != '\0' ? certificate.subject : "none",
                          certificate.issuer, certificate.serial, certificate.not_before,
                          certificate.not_after, certificate.fingerprint);
}

static enum lct_code show_key(const struct shown *shown, const struct lct_ek *ek,
                              struct lct_err *err)
{
    char name[NAME_TEXT], sha256[SHA256_TEXT], place[16] = "made anew";

    if (ek->pkey == NULL)
        return lct_tool_print(err, "key          not known: %s\n", ek->key_err.text);
    if (ek->handle != 0)
        (void)snprintf(place, sizeof place, "at 0x%08x", ek->handle);
    lct_hex_encode(name, ek->name.data, ek->name.len);
    if (lct_spki_fingerprint(sha256, ek->pkey, shown->libctx, NULL) != LCT_OK)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s: a public key cannot be hashed", label);
    enum lct_code code = lct_tool_print(err, "key          %s\n  name       %s\n  SHA-256    %s\n",
                                        place, name, sha256);
    return code == LCT_OK ? print_pem(shown, NULL, ek->pkey, err) : code;
}

static enum lct_code show_ek(const struct shown *shown, const struct lct_ek *ek,
                             struct lct_err *err)
{
    char head[80];
    enum lct_code code = lct_tool_print(err, "\nEK           %s, template %s\n",
                                        ek->kind->algorithm, ek->kind->template);

    (void)snprintf(head, sizeof head, "certificate  at 0x%08x, %s", ek->kind->certificate,
                   whose(ek));
    if (code != LCT_OK)
        return code;
    if (ek->cert_err.code != LCT_OK)
        code = lct_tool_print(err, "certificate  cannot be used: %s\n", ek->cert_err.text);
    else if (ek->cert.x509 == NULL)
        code = lct_tool_print(err, "certificate  none\n");
    else
        code = show_certificate(shown, &ek->cert, head, err);
    return code == LCT_OK ? show_key(shown, ek, err) : code;
}

static enum lct_code show_text(const struct shown *shown, struct lct_err *err)
{
    const struct lct_eks *eks = &shown->eks;
    enum lct_code code = lct_tool_print(
        err, "tpm          %s%s\n", shown->info.description,
        shown->info.software ? ", a software TPM: its keys are as safe as its files are" : "");

    for (size_t i = 0; i < eks->num && code == LCT_OK; i++)
        code = show_ek(shown, &eks->eks[i], err);
    for (size_t i = 0; i < eks->num_chain && code == LCT_OK; i++)
        code = show_certificate(shown, &eks->chain[i], "\nissuer       kept in the TPM", err);
    if (code == LCT_OK && eks->chain_err.code != LCT_OK)
        code = lct_tool_print(err, "\nissuers      cannot be used: %s\n", eks->chain_err.text);
    return code;
}

/* As `show --json` has one, and the certificate itself. */
static json_t *certificate_json(const struct shown *shown, const struct lct_ekcert *cert)
{
    struct lct_certificate certificate;
    struct lct_err err = {.code = LCT_OK};

    if (!describe(&certificate, shown, cert, &err))
        return lct_certificate_json(NULL, 0, err.text);
    json_t *json = lct_certificate_json(&certificate, 1, NULL);
    char *pem = to_pem(shown, cert, NULL);
    (void)json_object_del(json, "chain");
    (void)json_object_set_new(json, "pem", json_string(pem != NULL ? pem : ""));
    free(pem);
    return json;
}

static json_t *ek_certificate_json(const struct shown *shown, const struct lct_ek *ek)
{
    json_t *json;

    if (ek->cert_err.code != LCT_OK)
        json = lct_certificate_json(NULL, 0, ek->cert_err.text);
    else if (ek->cert.x509 == NULL)
        return json_null();
    else
        json = certificate_json(shown, &ek->cert);
    (void)json_object_set_new(json, "index", json_sprintf("0x%08x", ek->kind->certificate));
    if (ek->cert.x509 != NULL)
        (void)json_object_set_new(json, "of_this_key",
                                  ek->pkey != NULL ? json_boolean(ek->certified) : json_null());
    return json;
}

static json_t *ek_json(const struct shown *shown, const struct lct_ek *ek)
{
    json_t *json = json_pack("{s:s, s:s, s:o}", "algorithm", ek->kind->algorithm, "template",
                             ek->kind->template, "certificate", ek_certificate_json(shown, ek));
    char name[NAME_TEXT], sha256[SHA256_TEXT] = "";

    if (ek->pkey == NULL) {
        (void)json_object_set_new(json, "public_key", json_null());
        (void)json_object_set_new(json, "error", lct_tool_json_text(ek->key_err.text));
        return json;
    }
    char *pem = to_pem(shown, NULL, ek->pkey);
    lct_hex_encode(name, ek->name.data, ek->name.len);
    (void)lct_spki_fingerprint(sha256, ek->pkey, shown->libctx, NULL);
    (void)json_object_set_new(json, "handle",
                              ek->handle != 0 ? json_sprintf("0x%08x", ek->handle) : json_null());
    (void)json_object_set_new(json, "name", json_string(name));
    (void)json_object_set_new(json, "sha256", json_string(sha256));
    (void)json_object_set_new(json, "public_key", json_string(pem != NULL ? pem : ""));
    free(pem);
    return json;
}

static enum lct_code show_json(const struct shown *shown, struct lct_err *err)
{
    const struct lct_eks *eks = &shown->eks;
    json_t *keys = json_array(), *issuers = json_array();

    for (size_t i = 0; i < eks->num; i++)
        (void)json_array_append_new(keys, ek_json(shown, &eks->eks[i]));
    for (size_t i = 0; i < eks->num_chain; i++)
        (void)json_array_append_new(issuers, certificate_json(shown, &eks->chain[i]));
    if (eks->chain_err.code != LCT_OK)
        (void)json_array_append_new(issuers, lct_certificate_json(NULL, 0, eks->chain_err.text));
    return lct_tool_print_json(json_pack("{s:i, s:s, s:b, s:o, s:o}", "version", 1, "tpm",
                                         shown->info.description, "software", shown->info.software,
                                         "eks", keys, "issuers", issuers),
                               err);
}

static bool needs_endorsement(const struct lct_eks *eks)
{
    for (size_t i = 0; i < eks->num; i++)
        if (eks->eks[i].key_err.code == LCT_ERR_AUTH)
            return true;
    return false;
}

/* A TPM takes a minute for an endorsement key of RSA that it does not keep. */
static enum lct_code read_once(struct shown *shown, const struct lct_ek_request *request,
                               struct lct_err *err)
{
    struct lct_progress progress;

    lct_progress_begin(&progress, shown->tool, "waiting for the TPM's endorsement keys");
    enum lct_code code = lct_tpm_read_eks(shown->tool->tpm, &shown->eks, request, err);
    lct_progress_end(&progress);
    return code;
}

/* With the authorizations there are, and once more with that of the endorsement hierarchy where it
 * takes one and there is somebody to ask. */
static enum lct_code read_eks(struct shown *shown, struct lct_err *err)
{
    const struct lct_tool *tool = shown->tool;
    struct lct_secret owner_auth = {0}, endorsement_auth = {0};
    const struct lct_ek_request request = {label, &owner_auth, &endorsement_auth, shown->libctx};
    enum lct_code code = lct_tool_owner_auth(&owner_auth, tool, err);

    if (code == LCT_OK)
        code = lct_tool_endorsement_auth(&endorsement_auth, tool, false, err);
    if (code == LCT_OK)
        code = read_once(shown, &request, err);
    if (code == LCT_OK && endorsement_auth.len == 0 && needs_endorsement(&shown->eks)) {
        code = lct_tool_endorsement_auth(&endorsement_auth, tool, true, err);
        if (code == LCT_OK && endorsement_auth.len > 0) {
            lct_eks_clear(&shown->eks);
            code = read_once(shown, &request, err);
        }
    }
    lct_secret_wipe(&owner_auth);
    lct_secret_wipe(&endorsement_auth);
    return code;
}

static enum lct_code show(struct lct_tool *tool, bool pem, struct lct_err *err)
{
    struct shown *shown = calloc(1, sizeof *shown);
    enum lct_code code = LCT_OK;

    if (shown == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    shown->tool = tool;
    shown->libctx = lct_crypto_get(tool->crypto, err);
    code = shown->libctx != NULL ? lct_tpm_describe(tool->tpm, &shown->info, label, err)
                                 : LCT_ERR_INTERNAL;
    if (code == LCT_OK)
        code = read_eks(shown, err);
    if (code == LCT_OK)
        code = tool->json ? show_json(shown, err)
               : pem      ? show_pem(shown, err)
                          : show_text(shown, err);
    if (code == LCT_OK)
        code = find_wrong(&shown->eks, err);
    lct_eks_clear(&shown->eks);
    free(shown);
    return code;
}

enum lct_code lct_ek_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    bool pem = false;
    const struct lct_option options[] = {{"json", NULL, &tool->json}, {"pem", NULL, &pem}};
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, 2, 0, 0, &operands, &num_operands, err);

    if (code == LCT_OK && tool->json && pem)
        code = LCT_FAIL(err, LCT_ERR_USAGE, "--json and --pem exclude each other");
    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    return code == LCT_OK ? show(tool, pem, err) : code;
}
