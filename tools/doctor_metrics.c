/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/doctor.h"

#include "base/clock.h"
#include "proof/json.h"
#include "store/enrol.h"
#include "store/life.h"
#include "tools/describe.h"
#include "tools/private_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* One identity, in what numbers are made of it. */
struct row {
    const char *id; /* borrowed */
    bool damaged;   /* its record or key cannot be read: nothing below is known */
    const char *algorithm, *custody, *state;
    enum lct_opening opening;
    bool has_certificate;
    time_t not_after;
};

/* Rates take a while to find out: this much. */
enum { MEASURE_MS = 1000, LEAST = 3 /* signatures */ };

/* Prometheus' text exposition format, 0.0.4: what a family is comes before its samples. */
static void begin(FILE *out, const char *name, const char *help)
{
    (void)fprintf(out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

static void put(FILE *out, const char *name, const char *help, double value)
{
    begin(out, name, help);
    (void)fprintf(out, "%s %.17g\n", name, value);
}

/* A label's value. What a TPM calls itself may be of any bytes. */
static void put_label(FILE *out, const char *name, const char *value)
{
    (void)fprintf(out, "%s=\"", name);
    for (; *value != '\0'; value++)
        if (*value == '"' || *value == '\\')
            (void)fprintf(out, "\\%c", *value);
        else
            (void)fputc((unsigned char)*value < ' ' || (unsigned char)*value >= 0x7f ? '?' : *value,
                        out);
    (void)fputc('"', out);
}

static void put_labelled(FILE *out, const char *name, const char *label, const char *value,
                         double number)
{
    (void)fprintf(out, "%s{", name);
    put_label(out, label, value);
    (void)fprintf(out, "} %.17g\n", number);
}

/* From the second signature on the key is loaded, as a busy server's is. */
static enum lct_code measure(void *arg, struct lct_tpm *tpm, const struct lct_tpm_key *key,
                             struct lct_err *err)
{
    static const uint8_t digest[LCT_MAX_HASH] = "lct doctor --metrics";
    const struct lct_hash *hash = lct_hash_by_id(TPM2_ALG_SHA256);
    const struct lct_scheme scheme = {TPM2_ALG_ECDSA, hash, 0};
    struct lct_signature signature;
    double *rate = arg;
    int num = 0;
    enum lct_code code = lct_tpm_sign(tpm, &signature, key, &scheme, digest, hash->size, err);

    if (code == LCT_OK)
        code = lct_tpm_sign(tpm, &signature, key, &scheme, digest, hash->size, err);
    int64_t started = lct_now_ms(), taken = 0;
    for (; code == LCT_OK && (num < LEAST || taken < MEASURE_MS); num++) {
        code = lct_tpm_sign(tpm, &signature, key, &scheme, digest, hash->size, err);
        taken = lct_now_ms() - started;
    }
    *rate = num * 1e3 / (double)(taken > 0 ? taken : 1);
    return code;
}

/* With a key that is nobody's: no identity's passphrase, seal or audit has to do with it. */
static void put_rate(FILE *out, struct lct_tool *tool)
{
    static const char name[] = "lct_signatures_per_second";
    const struct lct_tpm_template from = {.label = "the measurement",
                                          .algorithm = lct_algorithm_by_name("ec-p256"),
                                          .libctx = lct_crypto_get(tool->crypto, NULL)};
    double rate = 0;

    if (from.libctx == NULL ||
        lct_enrol_use_another(tool->tpm, &from, measure, &rate, NULL) != LCT_OK)
        return;
    begin(out, name, "How many signatures the TPM made in a second just now, by one program.");
    put_labelled(out, name, "algorithm", from.algorithm->name, rate);
}

static void put_tpm(FILE *out, struct lct_tool *tool)
{
    struct lct_probe probe = {0};
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, NULL);
    bool up = libctx != NULL && lct_tpm_probe(tool->tpm, &probe, libctx, NULL) == LCT_OK;

    put(out, "lct_tpm_up", "Whether the TPM answers.", up);
    if (!up)
        return;
    begin(out, "lct_tpm_info", "Which TPM it is.");
    put_labelled(out, "lct_tpm_info", "description", probe.info.description, 1);
    put(out, "lct_tpm_software", "Whether it is a software TPM.", probe.info.software);
    put(out, "lct_tpm_in_lockout", "Whether it refuses keys with a passphrase for a while.",
        (probe.permanent & TPMA_PERMANENT_INLOCKOUT) != 0);
    put(out, "lct_tpm_wrong_authorizations", "Wrong authorizations that it counts now.",
        probe.tries);
    put(out, "lct_tpm_wrong_authorizations_limit", "How many of them lead to lockout.",
        probe.max_tries);
    put(out, "lct_tpm_lockout_interval_seconds", "After how long one of them is forgotten.",
        probe.interval);
    put(out, "lct_tpm_transient_slots_free", "Objects that can be loaded.", probe.transient_free);
    put(out, "lct_tpm_session_slots_free", "Sessions that can be loaded.", probe.loaded_free);
    put(out, "lct_tpm_persistent_objects", "Objects that are kept in it.",
        (double)probe.persistent.num);
    put(out, "lct_tpm_persistent_slots_free", "Objects that can be kept in it besides, at least.",
        probe.persistent_free);
    put(out, "lct_tpm_nv_indices", "NV indices that are defined.", probe.nv_indices);
    put(out, "lct_tpm_nv_counters_free", "NV counters that can be defined, at least.",
        probe.counters_free);
    put(out, "lct_tpm_storage_root_key_usable", "Whether its storage root key is there.",
        probe.srk_usable);
    put_rate(out, tool);
}

static void take_certificate(struct row *row, const struct lct_tool *tool)
{
    struct lct_certificate certificate;
    size_t num = 0;

    row->has_certificate =
        lct_describe_certificate(&certificate, &num, tool, row->id, 0, NULL, NULL) == LCT_OK &&
        num > 0 && lct_json_seconds(&row->not_after, certificate.not_after);
}

static void take_identity(struct row *row, const struct lct_tool *tool, const char *id)
{
    struct lct_record *record = NULL;
    struct lct_key *key = NULL;

    *row = (struct row){.id = id, .damaged = true};
    if (lct_store_get_record(&tool->store, id, &record, NULL, NULL) == LCT_OK &&
        lct_store_get_key(&tool->store, tool->crypto, id, 0, &key, NULL) == LCT_OK) {
        const struct lct_generation *generation = lct_record_generation(record, 0);
        row->damaged = false;
        row->algorithm = generation->algorithm->name;
        row->custody = lct_custody_name(generation->custody);
        row->state = lct_ending_name(record->ending);
        row->opening = lct_doctor_opening(tool, id);
        take_certificate(row, tool);
    }
    lct_key_free(key);
    free(record);
}

static void put_counts(FILE *out, const struct row *rows, size_t num_rows)
{
    static const enum lct_custody custodies[] = {LCT_CUSTODY_TPM, LCT_CUSTODY_SOFTWARE};
    static const enum lct_ending states[] = {LCT_NOT_ENDED, LCT_RETIRED, LCT_REVOKED};

    begin(out, "lct_identities", "Identities in the stores.");
    for (size_t i = 0; i < sizeof custodies / sizeof custodies[0]; i++)
        for (size_t j = 0; j < sizeof states / sizeof states[0]; j++) {
            const char *custody = lct_custody_name(custodies[i]);
            const char *state = lct_ending_name(states[j]);
            size_t num = 0;
            for (size_t k = 0; k < num_rows; k++)
                num += !rows[k].damaged && strcmp(rows[k].custody, custody) == 0 &&
                       strcmp(rows[k].state, state) == 0;
            (void)fprintf(out, "lct_identities{custody=\"%s\",state=\"%s\"} %zu\n", custody, state,
                          num);
        }
    size_t num_damaged = 0;
    for (size_t k = 0; k < num_rows; k++)
        num_damaged += rows[k].damaged;
    put(out, "lct_identities_damaged", "Identities that cannot be read.", (double)num_damaged);
}

static void put_each(FILE *out, const struct row *rows, size_t num_rows)
{
    static const char seal[] = "lct_identity_seal_open";
    static const char expiry[] = "lct_certificate_not_after_timestamp_seconds";

    begin(out, seal, "Whether this boot opens the seal of an identity that has one.");
    for (size_t i = 0; i < num_rows; i++)
        if (!rows[i].damaged && rows[i].opening != LCT_OPENING_FREE)
            put_labelled(out, seal, "id", rows[i].id, rows[i].opening == LCT_OPENING_OPEN);
    begin(out, expiry, "When the certificate of an identity expires.");
    for (size_t i = 0; i < num_rows; i++)
        if (!rows[i].damaged && rows[i].has_certificate)
            put_labelled(out, expiry, "id", rows[i].id, (double)rows[i].not_after);
}

static enum lct_code put_identities(FILE *out, const struct lct_tool *tool, struct lct_err *err)
{
    char **ids = NULL;
    size_t num_ids = 0;
    enum lct_code code = lct_store_list(&tool->store, &ids, &num_ids, err);
    struct row *rows = code == LCT_OK ? calloc(num_ids + 1, sizeof *rows) : NULL;

    if (code == LCT_OK && rows == NULL)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    for (size_t i = 0; code == LCT_OK && i < num_ids; i++)
        take_identity(&rows[i], tool, ids[i]);
    if (code == LCT_OK) {
        put_counts(out, rows, num_ids);
        put_each(out, rows, num_ids);
    }
    free(rows);
    lct_store_free_ids(ids, num_ids);
    return code;
}

/* Who collects it may be another user. */
static enum lct_code replace(const char *file, const char *text, struct lct_err *err)
{
    const struct stat like = {.st_mode = 0644, .st_uid = geteuid(), .st_gid = getegid()};

    return lct_public_file_replace(file, text, &like, err);
}

static enum lct_code write_all(const char *file, const char *text, struct lct_err *err)
{
    return file == NULL || strcmp(file, "-") == 0 ? lct_tool_print(err, "%s", text)
                                                  : replace(file, text, err);
}

static enum lct_code collect(FILE *out, struct lct_tool *tool, struct lct_err *err)
{
    const struct lct_lines *audit = tool->config.audit;

    begin(out, "lct_build_info", "Which lct says all this.");
    put_labelled(out, "lct_build_info", "version", LCT_VERSION, 1);
    if (audit != NULL)
        put(out, "lct_audit_up",
            "Whether the audit can be opened, without which nothing is signed.",
            lct_lines_check(audit, NULL) == LCT_OK);
    put_tpm(out, tool);
    return put_identities(out, tool, err);
}

enum lct_code lct_doctor_metrics(struct lct_tool *tool, const char *file, struct lct_err *err)
{
    char *text = NULL;
    size_t text_len = 0;
    enum lct_code code = lct_tool_open(tool, err);

    if (code != LCT_OK)
        return code;
    FILE *out = open_memstream(&text, &text_len);
    if (out == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    code = collect(out, tool, err);
    if (fclose(out) != 0 && code == LCT_OK)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    if (code == LCT_OK)
        code = write_all(file, text, err);
    free(text);
    return code;
}
