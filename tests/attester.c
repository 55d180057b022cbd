/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the TPM attests, as lct_tpm_attest does it: `attester [NAME=VALUE]...`. What came of it is a
 * line of JSON; of what fails code, sentence and TPM return code.
 *
 *     id=ID             the identity that it is about; without it only the AK is read
 *     certify=HEX       with this extraData
 *     quote=PCRS        with extra=HEX
 *     credential=KIND   for the EK of this template ("L-1"), which has a random secret in it
 *     direct=yes        it is for the key's Name, not for the AK's
 *     with=KIND         it is opened with the EK of this template instead
 *     of=TCTI           it is for the EK of that other TPM
 *     name=HEX          it is for this Name
 *     spoil=WHERE       "id" or "seed": one bit of it is changed
 *     times=N           all of it so often
 *
 * Anything else is a key of the configuration.
 */
#include "base/encode.h"
#include "proof/json.h"
#include "store/store.h"
#include "tcg/attest.h"
#include "tpm/attest.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *id, *certify, *quote, *extra, *credential, *direct, *with, *of, *name, *spoil,
        *times;
} given;

static const struct {
    const char *name;
    const char **value;
} options[] = {
    {"id", &given.id},       {"certify", &given.certify}, {"quote", &given.quote},
    {"extra", &given.extra}, {"with", &given.with},       {"credential", &given.credential},
    {"of", &given.of},       {"direct", &given.direct},   {"spoil", &given.spoil},
    {"name", &given.name},   {"times", &given.times},
};

/* What lasts as long as the program. */
struct attester {
    struct lct_config config;
    struct lct_store store;
    struct lct_crypto *crypto;
    OSSL_LIB_CTX *libctx;
    struct lct_tpm *tpm;
    struct lct_key *key;
    struct lct_secret endorsement, owner;
    struct lct_eks eks, other_eks;
    struct lct_credential credential;
    struct lct_secret secret; /* that is in it */
};

static enum lct_code take_option(struct attester *attester, char *text, struct lct_err *err)
{
    char *value = strchr(text, '=');

    if (value == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "%s: no value", text);
    *value++ = '\0';
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (strcmp(options[i].name, text) == 0) {
            *options[i].value = value;
            return LCT_OK;
        }
    return lct_config_set(&attester->config, text, value, err);
}

static enum lct_code read_eks(struct lct_tpm *tpm, struct lct_eks *eks,
                              const struct attester *attester, struct lct_err *err)
{
    const struct lct_ek_request request = {.label = "attester",
                                           .owner_auth = &attester->owner,
                                           .endorsement_auth = &attester->endorsement,
                                           .libctx = attester->libctx};

    return lct_tpm_read_eks(tpm, eks, &request, err);
}

static enum lct_code read_other_eks(struct attester *attester, struct lct_err *err)
{
    struct lct_config config = {0};
    struct lct_tpm *tpm = NULL;
    enum lct_code code = lct_config_set(&config, "tcti", given.of, err);

    if (code == LCT_OK)
        code = lct_tpm_open(&tpm, &config, err);
    if (code == LCT_OK)
        code = read_eks(tpm, &attester->other_eks, attester, err);
    lct_tpm_close(tpm);
    lct_config_clear(&config);
    return code;
}

static enum lct_code find_ek(const struct lct_ek **ek, const struct lct_eks *eks,
                             const char *template, struct lct_err *err)
{
    for (size_t i = 0; i < eks->num; i++)
        if (strcmp(eks->eks[i].kind->template, template) == 0) {
            *ek = &eks->eks[i];
            if ((*ek)->pkey != NULL)
                return LCT_OK;
            *err = (*ek)->key_err;
            return err->code;
        }
    return LCT_FAIL(err, LCT_ERR_NOT_FOUND, "there is no EK of template %s", template);
}

static enum lct_code make_credential(struct attester *attester, const struct lct_name *name,
                                     struct lct_err *err)
{
    struct lct_credential *credential = &attester->credential;
    struct lct_name other = {0};
    const struct lct_ek *ek = NULL;
    enum lct_code code = find_ek(&ek, given.of != NULL ? &attester->other_eks : &attester->eks,
                                 given.credential, err);

    if (code != LCT_OK)
        return code;
    if (given.name != NULL && !lct_json_name(&other, given.name))
        return LCT_FAIL(err, LCT_ERR_USAGE, "that is no Name");
    attester->secret.len = 32;
    if (RAND_bytes(attester->secret.data, 32) != 1)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "no random bytes");
    code = lct_credential_make(credential, attester->libctx, &ek->public_area,
                               given.name != NULL ? &other : name, &attester->secret, err);
    if (code == LCT_OK && given.spoil != NULL)
        *(strcmp(given.spoil, "id") == 0 ? &credential->id[credential->id_len - 1]
                                         : &credential->seed.data[credential->seed.len - 1]) ^= 1;
    return code;
}

/* NULL: not given. */
static const uint8_t *from_hex(uint8_t *bytes, size_t capacity, size_t *len, const char *text)
{
    if (text == NULL)
        return NULL;
    if (!lct_hex_decode(bytes, len, capacity, text))
        exit(2);
    return bytes;
}

static json_t *of_attested(const struct lct_tpm_attested *attested)
{
    if (attested->attest_len == 0)
        return json_null();
    return json_pack("{s:o, s:o}", "attest",
                     lct_json_of_bytes(attested->attest, attested->attest_len), "signature",
                     lct_json_of_bytes(attested->signature, attested->signature_len));
}

static int print(json_t *json)
{
    if (json == NULL)
        return 2;
    (void)json_dumpf(json, stdout, JSON_COMPACT);
    puts("");
    json_decref(json);
    return 0;
}

static json_t *of_ak(const struct lct_tpm_ak *ak)
{
    return json_pack("{s:o, s:o}", "name", lct_json_of_bytes(ak->name.data, ak->name.len), "public",
                     lct_json_of_bytes(ak->public_area, ak->public_len));
}

static int print_evidence(const struct attester *attester, const struct lct_tpm_evidence *evidence)
{
    return print(
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "ak", of_ak(&evidence->ak), "certified",
                  of_attested(&evidence->certified), "quoted", of_attested(&evidence->quoted),
                  "values", lct_json_of_values(&evidence->values), "secret",
                  lct_json_of_bytes(evidence->secret.data, evidence->secret.len), "expected",
                  lct_json_of_bytes(attester->secret.data, attester->secret.len)));
}

static enum lct_code attest(struct attester *attester, const struct lct_tpm_ak *ak,
                            struct lct_err *err)
{
    uint8_t certify_extra[LCT_MAX_EXTRA_DATA + 1], quote_extra[LCT_MAX_EXTRA_DATA + 1];
    struct lct_generation generation;
    const struct lct_tpm_key values = lct_key_values(attester->key, &generation);
    struct lct_tpm_attest_request request = {.label = values.label,
                                             .key = &values,
                                             .direct = given.direct != NULL,
                                             .endorsement_auth = &attester->endorsement,
                                             .owner_auth = &attester->owner,
                                             .libctx = attester->libctx};
    struct lct_tpm_evidence evidence;
    struct lct_pcrs pcrs;
    enum lct_code code = LCT_OK;

    request.certify_extra =
        from_hex(certify_extra, sizeof certify_extra, &request.certify_extra_len, given.certify);
    request.quote_extra =
        from_hex(quote_extra, sizeof quote_extra, &request.quote_extra_len, given.extra);
    if (given.quote != NULL)
        code = lct_pcrs_parse(&pcrs, given.quote, strlen(given.quote), err);
    request.pcrs = given.quote != NULL ? &pcrs : NULL;
    if (code == LCT_OK && given.credential != NULL) {
        request.credential = &attester->credential;
        code = make_credential(attester, request.direct ? values.name : &ak->name, err);
    }
    if (code == LCT_OK && given.credential != NULL)
        code = find_ek(&request.ek, &attester->eks,
                       given.with != NULL ? given.with : given.credential, err);
    if (code == LCT_OK)
        code = lct_tpm_attest(attester->tpm, &evidence, &request, err);
    if (code == LCT_OK)
        (void)print_evidence(attester, &evidence);
    return code;
}

/* The Name that a credential is for is known before. */
static enum lct_code attest_all(struct attester *attester, struct lct_err *err)
{
    struct lct_tpm_ak ak = {0};
    bool reads_ak = given.id == NULL || (given.credential != NULL && given.direct == NULL);
    enum lct_code code = LCT_OK;

    if (reads_ak)
        code = lct_tpm_read_ak(attester->tpm, &ak, "attester", &attester->endorsement,
                               attester->libctx, err);
    if (code == LCT_OK && given.id == NULL)
        return print(of_ak(&ak)) == 0 ? LCT_OK : LCT_ERR_INTERNAL;
    if (code == LCT_OK && given.credential != NULL)
        code = read_eks(attester->tpm, &attester->eks, attester, err);
    if (code == LCT_OK && given.of != NULL)
        code = read_other_eks(attester, err);
    for (long i = given.times != NULL ? strtol(given.times, NULL, 10) : 1; i > 0 && code == LCT_OK;
         i--)
        code = attest(attester, &ak, err);
    return code;
}

static enum lct_code read_secret(struct lct_secret *secret, const char *path, struct lct_err *err)
{
    return path != NULL ? lct_secret_read(secret, "it", path, err) : LCT_OK;
}

static enum lct_code begin(struct attester *attester, struct lct_err *err)
{
    const struct lct_config *config = &attester->config;
    enum lct_code code = lct_tpm_open(&attester->tpm, config, err);

    attester->libctx = lct_crypto_get(attester->crypto, err);
    if (attester->libctx == NULL)
        return LCT_ERR_INTERNAL;
    if (code == LCT_OK)
        code = lct_store_open(&attester->store, config, err);
    if (code == LCT_OK)
        code = read_secret(&attester->endorsement, config->endorsement_auth_file, err);
    if (code == LCT_OK)
        code = read_secret(&attester->owner, config->owner_auth_file, err);
    if (code == LCT_OK && given.id != NULL)
        code =
            lct_store_get_key(&attester->store, attester->crypto, given.id, 0, &attester->key, err);
    if (code == LCT_OK && given.id != NULL)
        code = lct_key_unlock(attester->key, config, err);
    return code;
}

static void end(struct attester *attester)
{
    lct_eks_clear(&attester->eks);
    lct_eks_clear(&attester->other_eks);
    lct_key_free(attester->key);
    lct_tpm_close(attester->tpm);
    lct_store_close(&attester->store);
    lct_config_clear(&attester->config);
    lct_crypto_free(attester->crypto);
}

int main(int argc, char **argv)
{
    struct attester attester = {.crypto = lct_crypto_new()};
    struct lct_err err = {.code = LCT_OK};
    enum lct_code code = attester.crypto != NULL ? LCT_OK : LCT_ERR_INTERNAL;

    for (int i = 1; i < argc && code == LCT_OK; i++)
        code = take_option(&attester, argv[i], &err);
    if (code == LCT_OK)
        code = begin(&attester, &err);
    if (code == LCT_OK)
        code = attest_all(&attester, &err);
    if (code != LCT_OK)
        (void)print(json_pack("{s:i, s:s, s:i}", "error", (int)code, "text", err.text, "rc",
                              (int)err.tpm_rc));
    end(&attester);
    return code == LCT_OK ? 0 : 1;
}
