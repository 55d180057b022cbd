/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/attest.h"

#include "export/envelope.h"
#include "export/webauthn.h"
#include "proof/json.h"
#include "tools/evidence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum lct_code write_webauthn(const struct lct_certified *certified, OSSL_LIB_CTX *libctx,
                                    const char *purpose, struct lct_err *err)
{
    uint8_t *bytes = NULL;
    size_t len = 0;

    (void)libctx;
    (void)purpose;
    enum lct_code code = lct_webauthn_encode(&bytes, &len, certified, err);
    if (code == LCT_OK && fwrite(bytes, 1, len, stdout) != len)
        code = LCT_FAIL(err, LCT_ERR_IO, "standard output cannot be written");
    free(bytes);
    return code;
}

static enum lct_code write_envelope(const struct lct_certified *certified, OSSL_LIB_CTX *libctx,
                                    const char *purpose, struct lct_err *err)
{
    json_t *envelope = NULL;
    enum lct_code code = lct_envelope_make(&envelope, libctx, certified, purpose, err);

    if (code != LCT_OK)
        return code;
    char *text = lct_json_dump(envelope, JSON_INDENT(2) | JSON_REAL_PRECISION(2));
    code = text != NULL ? lct_tool_print(err, "%s\n", text)
                        : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    free(text);
    json_decref(envelope);
    return code;
}

/* Whose formats there are. */
static const struct format {
    const char *name;
    bool binary;      /* not for terminals */
    bool has_purpose; /* which --purpose says */
    enum lct_code (*write)(const struct lct_certified *certified, OSSL_LIB_CTX *libctx,
                           const char *purpose, struct lct_err *err);
} formats[] = {
    {"webauthn-tpm", true, false, write_webauthn},
    {"web4", false, true, write_envelope},
};

static const struct format *format_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (name != NULL && strcmp(formats[i].name, name) == 0)
            return &formats[i];
    return NULL;
}

static enum lct_code check(const struct format *format, const char *name, const char *purpose,
                           struct lct_err *err)
{
    if (name == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "which format? --format webauthn-tpm or web4");
    if (format == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "there is no format \"%s\"; webauthn-tpm or web4",
                        name);
    if (purpose != NULL && !format->has_purpose)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--purpose is for --format web4");
    if (purpose != NULL && !lct_envelope_is_purpose(purpose))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "there is no purpose \"%s\"; enrollment, session_start, re_attestation, "
                        "witness, migration or device_binding",
                        purpose);
    if (format->binary && isatty(STDOUT_FILENO))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "that is binary: send it to a file, as in lct attest export --format %s "
                        "EVIDENCE >statement",
                        name);
    return LCT_OK;
}

static enum lct_code export_file(struct lct_tool *tool, const struct format *format,
                                 const char *purpose, const char *file, struct lct_err *err)
{
    struct lct_certified certified = {.evidence = NULL};
    struct lct_evidence *evidence = NULL;
    enum lct_code code = lct_tool_evidence(&evidence, tool, file, err);

    if (code != LCT_OK)
        return code;
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, err);
    code =
        libctx != NULL ? lct_certified_take(&certified, libctx, evidence, err) : LCT_ERR_INTERNAL;
    if (code == LCT_OK)
        code = format->write(&certified, libctx, purpose, err);
    lct_certified_clear(&certified);
    lct_evidence_free(evidence);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, lct_tool_file(file));
}

enum lct_code lct_attest_export_run(struct lct_tool *tool, int argc, char **argv,
                                    struct lct_err *err)
{
    const char *name = NULL, *purpose = NULL;
    const struct lct_option options[] = {{"format", &name, NULL}, {"purpose", &purpose, NULL}};
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, 2, 1, 1, &operands, &num_operands, err);

    if (code != LCT_OK)
        return code;
    const struct format *format = format_by_name(name);
    code = check(format, name, purpose, err);
    if (code == LCT_OK && (tool->crypto = lct_crypto_new()) == NULL)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    return code == LCT_OK ? export_file(tool, format, purpose, operands[0], err) : code;
}
