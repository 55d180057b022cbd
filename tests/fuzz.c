/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reads bytes that somebody else has written, for libFuzzer. Nothing may crash, whatever
 * comes. LCT_FUZZ names the target, LCT_FUZZ_TRUST the trust that things are judged by.
 *
 * `part` puts its input into the evidence of the file LCT_FUZZ_EVIDENCE, in place of one of its
 * strings (the first byte says which), in base64url, and judges that. LCT_FUZZ_AUTHORITY is whose
 * approvals are taken; for `tpm` see tests/fuzz_tpm.c.
 */
#include "tests/fuzz.h"

#include "export/cose.h"
#include "export/multikey.h"
#include "export/token.h"
#include "proof/ak.h"
#include "proof/anchor.h"
#include "proof/bootlog.h"
#include "proof/document.h"
#include "proof/ending.h"
#include "proof/evidence.h"
#include "proof/issue.h"
#include "proof/json.h"
#include "proof/payload.h"
#include "proof/pcrfile.h"
#include "proof/signed_statement.h"
#include "proof/succession.h"
#include "proof/trust.h"
#include "store/backup.h"
#include "store/certs.h"
#include "store/key.h"
#include "store/prototype.h"
#include "store/record.h"
#include "store/reference.h"
#include "store/software.h"
#include "tcg/attest.h"
#include "tcg/crypto.h"
#include "tcg/ekcert.h"
#include "tcg/event_text.h"
#include "tcg/eventlog.h"
#include "tcg/forecast.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t len, size_t room);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t len, size_t room, unsigned seed);

/* Judged at a time when certificates that are made for the tests are valid. */
static const time_t now = 1900000000;

struct lct_crypto *fuzz_crypto(void)
{
    static struct lct_crypto *made;

    if (made == NULL)
        made = lct_crypto_new();
    if (made == NULL)
        abort();
    return made;
}

OSSL_LIB_CTX *fuzz_libctx(void)
{
    OSSL_LIB_CTX *got = lct_crypto_get(fuzz_crypto(), NULL);

    if (got == NULL)
        abort();
    return got;
}

char *fuzz_text(const uint8_t *bytes, size_t len)
{
    char *text = strndup((const char *)bytes, len);

    if (text == NULL)
        abort();
    return text;
}

static const struct lct_trust *trust(void)
{
    static struct lct_trust *read;
    const char *path = getenv("LCT_FUZZ_TRUST");
    struct lct_err err;

    if (read == NULL && path != NULL &&
        lct_trust_read(&read, fuzz_libctx(), path, &err) != LCT_OK) {
        (void)fprintf(stderr, "%s\n", err.text);
        abort();
    }
    return read;
}

static const char *trust_path;

static void remove_trust(void)
{
    (void)unlink(trust_path);
}

static void fuzz_attest(const uint8_t *bytes, size_t len)
{
    struct lct_attest attest;
    struct lct_signature signature;
    struct lct_scheme scheme;

    (void)lct_attest_decode(&attest, bytes, len, NULL);
    (void)lct_attest_signature(&signature, &scheme, bytes, len, NULL);
}

static void fuzz_public(const uint8_t *bytes, size_t len)
{
    struct lct_public area;
    struct lct_name name;
    struct lct_ak ak;
    char text[LCT_ATTRIBUTES_TEXT];

    if (lct_public_import(&area, &name, fuzz_libctx(), bytes, len, NULL) == LCT_OK) {
        lct_public_attributes(text, area.attributes);
        EVP_PKEY_free(lct_public_pkey(&area, fuzz_libctx(), NULL));
    }
    (void)lct_ak_decode(&ak, fuzz_libctx(), bytes, len, NULL);
    lct_ak_clear(&ak);
}

/* Those of an identity, in PEM. */
static void read_chain(const uint8_t *bytes, size_t len)
{
    static struct lct_certs certs;

    if (lct_certs_parse(&certs, fuzz_crypto(), bytes, len, NULL) == LCT_OK)
        (void)lct_certs_check_chain(&certs, NULL);
    lct_certs_clear(&certs);
}

static void fuzz_certificate(const uint8_t *bytes, size_t len)
{
    struct lct_ekcert cert = {0};
    struct lct_finding finding;
    struct lct_public area = {.type = TPM2_ALG_RSA, .name_alg = TPM2_ALG_SHA256};
    struct lct_der der = {0};
    struct lct_der_chain chain = {0};
    const uint8_t *at = bytes;
    size_t left = len;

    while (left > 0 && lct_ekcert_next(&cert, &at, &left, fuzz_libctx(), NULL) == LCT_OK &&
           cert.x509 != NULL) {
        EVP_PKEY *pkey = X509_get_pubkey(cert.x509);
        const struct lct_ak_given ak = {pkey, &der, &chain};
        if (pkey != NULL && lct_der_set(&der, cert.der, cert.der_len) && trust() != NULL)
            lct_trust_judge_ak(&finding, trust(), &ak, now);
        const struct lct_ek_given ek = {&area, &der, &chain};
        if (trust() != NULL)
            lct_trust_judge_ek(&finding, trust(), &ek, now);
        EVP_PKEY_free(pkey);
        lct_ekcert_clear(&cert);
    }
    lct_ekcert_clear(&cert);
    lct_der_clear(&der);
    read_chain(bytes, len);
}

/* What the PCRs that the log leads to will be after an update. */
static void foretell(const uint8_t *bytes, size_t len)
{
    static const uint8_t dbx[] = "new dbx";
    static const uint8_t before[] = "root=UUID=1-2 ro quiet", after[] = "root=UUID=1-2 ro";
    static const struct lct_forecast_change changes[] = {
        {.kind = LCT_FORECAST_VARIABLE, .name = "dbx", .after = dbx, .after_len = sizeof dbx},
        {.kind = LCT_FORECAST_CMDLINE,
         .before = before,
         .before_len = sizeof before - 1,
         .after = after,
         .after_len = sizeof after - 1},
    };
    struct lct_pcr_values values = {
        .pcrs = {.num_banks = 1, .banks = {{lct_hash_by_id(TPM2_ALG_SHA256), 0xffff}}}};

    if (lct_eventlog_replay(&values, fuzz_libctx(), bytes, len, NULL, NULL) != LCT_OK)
        return;
    for (size_t i = 0; i < 2; i++)
        (void)lct_forecast(&values, fuzz_libctx(), bytes, len, &changes[i], 1, NULL);
}

static void fuzz_eventlog(const uint8_t *bytes, size_t len)
{
    struct lct_eventlog log;
    struct lct_event event;
    struct lct_finding finding;
    struct lct_pcr_values values = {.pcrs = {.num_banks = 1}};
    char text[LCT_EVENT_TEXT], name[LCT_EVENT_NAME];

    if (lct_eventlog_begin(&log, bytes, len, NULL) == LCT_OK)
        while (!lct_eventlog_at_end(&log) && lct_eventlog_next(&event, &log, NULL) == LCT_OK) {
            (void)lct_event_name(name, event.type);
            lct_event_text(text, &event);
        }
    values.pcrs.banks[0] = (struct lct_pcr_bank){lct_hash_by_id(TPM2_ALG_SHA256), 0xffff};
    lct_bootlog_judge(&finding, NULL, fuzz_libctx(), &values, bytes, len);
    foretell(bytes, len);
}

static void fuzz_pcrs(const uint8_t *bytes, size_t len)
{
    struct lct_pcr_values values;

    (void)lct_pcrfile_read(&values, bytes, len, NULL);
    (void)lct_json_pcrs_file(&values, bytes, len, NULL);
}

static void judge(const struct lct_evidence *evidence)
{
    const struct lct_evidence_request request = {.trust = trust(), .now = now};
    struct lct_verdict verdict;

    (void)lct_evidence_judge(&verdict, fuzz_libctx(), evidence, &request, NULL);
}

static void read_document(const json_t *json)
{
    struct lct_offer *offer = NULL;
    struct lct_challenge challenge;
    struct lct_challenge_state state;
    struct lct_evidence *evidence = NULL;

    (void)lct_offer_read(&offer, fuzz_libctx(), json, NULL);
    lct_offer_free(offer);
    (void)lct_challenge_read(&challenge, fuzz_libctx(), json, NULL);
    lct_challenge_clear(&challenge);
    (void)lct_challenge_state_read(&state, fuzz_libctx(), json, NULL);
    lct_challenge_state_clear(&state);
    if (lct_evidence_read(&evidence, fuzz_libctx(), json, NULL) == LCT_OK)
        judge(evidence);
    lct_evidence_free(evidence);
}

static void fuzz_document(const uint8_t *bytes, size_t len)
{
    json_t *json;
    const char *type;

    if (lct_document_read(&json, &type, bytes, len, NULL) == LCT_OK)
        read_document(json);
    json_decref(json);
}

static void fuzz_verdict(const uint8_t *bytes, size_t len)
{
    struct lct_issued_verdict issued;

    if (trust() != NULL)
        (void)lct_issued_verdict_judge(&issued, fuzz_libctx(), (const char *)bytes, len, trust(),
                                       NULL, now, NULL);
}

static void read_statement(const struct lct_jws_general *jws)
{
    static struct lct_judgement judgement;
    const struct lct_judgement_request request = {.trust = trust(), .threshold = 1, .now = now};
    struct lct_succession succession;
    struct lct_end end;
    struct lct_signed_statement statement;

    (void)lct_payload_kind(jws);
    if (lct_succession_read(&succession, fuzz_libctx(), jws, NULL) == LCT_OK)
        lct_succession_judge(&judgement, fuzz_libctx(), &succession, jws, &request);
    if (lct_end_read(&end, fuzz_libctx(), jws, NULL) == LCT_OK)
        lct_end_judge(&judgement, fuzz_libctx(), &end, jws, &request);
    if (lct_signed_statement_read(&statement, jws, NULL) == LCT_OK)
        lct_signed_statement_judge(&judgement, fuzz_libctx(), &statement, jws, &request);
    lct_signed_statement_clear(&statement);
}

static void fuzz_statement(const uint8_t *bytes, size_t len)
{
    struct lct_jws_general jws;

    if (lct_jws_general_read(&jws, bytes, len, NULL) == LCT_OK)
        read_statement(&jws);
    lct_jws_general_clear(&jws);
}

/* What a statement says, without what is around it. */
static void fuzz_payload(const uint8_t *bytes, size_t len)
{
    struct lct_jws_general jws;

    if (lct_jws_general_begin(&jws, bytes, len, NULL) == LCT_OK)
        read_statement(&jws);
    lct_jws_general_clear(&jws);
}

/* The protected header of its one signature. */
static void fuzz_header(const uint8_t *bytes, size_t len)
{
    json_t *json = json_pack("{s:s, s:[{s:o, s:s}]}", "payload", "e30", "signatures", "protected",
                             lct_document_of_bytes(bytes, len), "signature", "AAAA");
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;

    if (text == NULL)
        abort();
    fuzz_statement((const uint8_t *)text, strlen(text));
    free(text);
    json_decref(json);
}

/* As a trust file, and as a file of roots and keys. What is read is in a file of this process's. */
static void fuzz_trust(const uint8_t *bytes, size_t len)
{
    static char path[64];
    static int fd = -1;
    struct lct_trust *read = NULL;
    struct lct_anchors anchors = {0};

    if (fd < 0) {
        (void)snprintf(path, sizeof path, "/tmp/fuzz-XXXXXX");
        fd = mkstemp(path);
        (void)atexit(remove_trust);
        trust_path = path;
    }
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, bytes, len, 0) != (ssize_t)len)
        abort();
    if (lct_trust_read(&read, fuzz_libctx(), path, NULL) == LCT_OK)
        lct_trust_free(read);
    (void)lct_anchors_read(&anchors, fuzz_libctx(), path, true, NULL);
    lct_anchors_clear(&anchors);
}

/* The values that are replaced: strings deep in the document. */
static json_t *find(json_t *json, size_t *number, json_t *by)
{
    const char *name;
    json_t *value;
    size_t i;

    if (json_is_object(json)) {
        json_object_foreach (json, name, value) {
            if (json_is_string(value) && json_string_length(value) > 8 && (*number)-- == 0)
                return json_object_set(json, name, by) == 0 ? by : NULL;
            if (find(value, number, by) != NULL)
                return by;
        }
    }
    json_array_foreach (json, i, value) {
        if (find(value, number, by) != NULL)
            return by;
    }
    return NULL;
}

static void fuzz_part(const uint8_t *bytes, size_t len)
{
    static json_t *good;
    const char *path = getenv("LCT_FUZZ_EVIDENCE");
    size_t number = len > 0 ? bytes[0] % 64u : 0;

    if (path == NULL || len == 0)
        return;
    if (good == NULL)
        good = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    json_t *copy = json_deep_copy(good), *by = lct_document_of_bytes(bytes + 1, len - 1);
    if (copy == NULL || by == NULL)
        abort();
    if (find(copy, &number, by) != NULL)
        read_document(copy);
    json_decref(by);
    json_decref(copy);
}

static void fuzz_token(const uint8_t *bytes, size_t len)
{
    struct lct_token token = {.key = NULL};
    json_t *json;
    const char *type;

    if (lct_token_is_jws((const char *)bytes, len))
        (void)lct_token_judge_jws(&token, fuzz_libctx(), (const char *)bytes, len, NULL, now, NULL);
    lct_token_clear(&token);
    if (lct_document_read(&json, &type, bytes, len, NULL) == LCT_OK)
        (void)lct_token_judge(&token, fuzz_libctx(), json, NULL, now, NULL);
    lct_token_clear(&token);
    json_decref(json);
}

/* What is read is in the one form: it is what this writes of it. And whatever is no key, is none.
 */
static void fuzz_cose(const uint8_t *bytes, size_t len)
{
    struct lct_cose cose;
    char text[80], again[LCT_MULTIKEY];

    if (lct_cose_read(&cose, bytes, len, NULL) == LCT_OK &&
        (cose.signature + LCT_COSE_SIGNATURE != bytes + len || cose.header < bytes ||
         cose.header + cose.header_len > cose.payload ||
         cose.payload + cose.payload_len > cose.signature))
        abort();
    (void)snprintf(text, sizeof text, "%.*s", (int)(len < 79 ? len : 79), (const char *)bytes);
    EVP_PKEY *pkey = lct_multikey_decode(fuzz_libctx(), text, NULL);
    if (pkey != NULL &&
        (lct_multikey_encode(again, pkey, NULL) != LCT_OK || strcmp(again, text) != 0))
        abort();
    EVP_PKEY_free(pkey);
}

/* What is read as a record is written so that it is read again. */
static void fuzz_record(const uint8_t *bytes, size_t len)
{
    struct lct_record *record = NULL, *again = NULL;

    if (lct_record_read(&record, bytes, len, NULL) != LCT_OK)
        return;
    char *text = lct_record_write(record);
    if (text == NULL ||
        lct_record_read(&again, (const uint8_t *)text, strlen(text), NULL) != LCT_OK)
        abort();
    for (size_t i = 0; i < record->num_generations; i++) {
        struct lct_key *key = NULL;
        (void)lct_key_new(&key, fuzz_crypto(), record, record->generations[i].number, bytes, len,
                          NULL);
        lct_key_free(key);
    }
    free(text);
    free(record);
    free(again);
}

static void fuzz_key(const uint8_t *bytes, size_t len)
{
    struct lct_keyfile keyfile = {0};
    struct lct_reference reference = {0};
    uint8_t *der = NULL;
    size_t der_len = 0;

    if (lct_software_read(&der, &der_len, bytes, len, NULL) == LCT_OK)
        OPENSSL_free(der);
    if (lct_keyfile_read(&keyfile, bytes, len, fuzz_libctx(), NULL) == LCT_OK)
        lct_keyfile_clear(&keyfile);
    if (lct_reference_read(&reference, bytes, len, NULL) == LCT_OK)
        lct_reference_clear(&reference);
}

static void fuzz_prototype(const uint8_t *bytes, size_t len)
{
    struct lct_prototype prototype;

    (void)lct_prototype_read(&prototype, fuzz_libctx(), bytes, len, NULL);
    lct_prototype_clear(&prototype);
}

static void fuzz_backup(const uint8_t *bytes, size_t len)
{
    struct lct_backup backup;

    (void)lct_backup_read(&backup, fuzz_crypto(), bytes, len, NULL);
    lct_backup_clear(&backup);
}

static const struct {
    const char *name;
    void (*fuzz)(const uint8_t *bytes, size_t len);
} targets[] = {
    {"attest", fuzz_attest},
    {"public", fuzz_public},
    {"certificate", fuzz_certificate},
    {"eventlog", fuzz_eventlog},
    {"pcrs", fuzz_pcrs},
    {"document", fuzz_document},
    {"trust", fuzz_trust},
    {"verdict", fuzz_verdict},
    {"part", fuzz_part},
    {"statement", fuzz_statement},
    {"payload", fuzz_payload},
    {"header", fuzz_header},
    {"token", fuzz_token},
    {"cose", fuzz_cose},
    {"record", fuzz_record},
    {"key", fuzz_key},
    {"prototype", fuzz_prototype},
    {"backup", fuzz_backup},
    {"uri", fuzz_uri},
    {"selection", fuzz_selection},
    {"configuration", fuzz_configuration},
    {"approval", fuzz_approval},
    {"sealed", fuzz_sealed},
    {"bus", fuzz_bus},
    {"html", fuzz_html},
    {"tpm", fuzz_tpm},
};

static void (*find_target(void))(const uint8_t *, size_t)
{
    const char *name = getenv("LCT_FUZZ");

    for (size_t i = 0; name != NULL && i < sizeof targets / sizeof targets[0]; i++)
        if (strcmp(targets[i].name, name) == 0)
            return targets[i].fuzz;
    (void)fprintf(stderr, "LCT_FUZZ names no target\n");
    exit(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static void (*target)(const uint8_t *, size_t);

    if (target == NULL)
        target = find_target();
    target(bytes, len);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t len, size_t room, unsigned seed)
{
    if (find_target() == fuzz_tpm)
        return fuzz_tpm_mutate(bytes, len, room, seed);
    return LLVMFuzzerMutate(bytes, len, room);
}
