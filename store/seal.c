/* SPDX-License-Identifier: Apache-2.0 */
#include "store/seal.h"

#include "base/encode.h"
#include "proof/json.h"
#include "store/counters.h"
#include "store/id.h"

#include <stdlib.h>
#include <string.h>

enum { PCRS_VERSION = 1 };

static enum lct_code find_authority(struct lct_seal *seal, const struct lct_store *store,
                                    struct lct_crypto *crypto,
                                    const struct lct_seal_request *request, struct lct_err *err)
{
    struct lct_authority authority;
    enum lct_code code = lct_authority_get(&authority, store, NULL, crypto, err);

    if (code == LCT_ERR_NO_AUTHORITY)
        return LCT_FAIL(err, code,
                        "%s: a seal that an update can be approved for takes a recovery authority, "
                        "and the store %s has none; make one with lct authority init --out FILE, "
                        "take one with lct authority import FILE, or do without: --seal strict:... "
                        "dies with its boot state, --seal none is not sealed",
                        request->label, store->dirs[store->create_in]);
    if (code != LCT_OK)
        return lct_err_prefix(err, request->label);
    seal->authority_len = authority.public_len;
    memcpy(seal->authority, authority.public_area, authority.public_len);
    lct_authority_clear(&authority);
    return LCT_OK;
}

/* One whose key the TPM does not load would be found out when it is needed, after an update: and
 * then nothing opens the seal any more. */
static enum lct_code take_authority(struct lct_seal *seal, const struct lct_store *store,
                                    struct lct_tpm *tpm, struct lct_crypto *crypto,
                                    const struct lct_seal_request *request, struct lct_err *err)
{
    enum lct_code code = find_authority(seal, store, crypto, request, err);

    return code == LCT_OK
               ? lct_tpm_try_authority(tpm, seal, request->label, lct_crypto_get(crypto, NULL), err)
               : code;
}

/* What the PCRs hold now. Values that nothing is sealed to are read as well: a bank that is not
 * there could not be approved later. */
static enum lct_code take_values(struct lct_seal *seal, struct lct_pcrs *blank, struct lct_tpm *tpm,
                                 OSSL_LIB_CTX *libctx, const struct lct_seal_request *request,
                                 struct lct_err *err)
{
    struct lct_pcr_values values = {.pcrs = seal->pcrs.pcrs};
    enum lct_code code = lct_tpm_read_pcrs(tpm, &values, request->label, err);

    if (code != LCT_OK)
        return code;
    lct_pcr_values_blank(blank, &values);
    if (seal->kind == LCT_SEAL_AUTHORITY)
        return LCT_OK;
    seal->pcrs = values;
    seal->has_values = true;
    return lct_pcr_digest(seal->pcr_digest, libctx, &values, err);
}

static struct lct_tpm_counter_request counter_request(OSSL_LIB_CTX *libctx,
                                                      const struct lct_seal_request *request)
{
    return (struct lct_tpm_counter_request){
        .label = request->label, .owner_auth = request->owner_auth, .libctx = libctx};
}

static enum lct_code make_counter(struct lct_seal *seal, const struct lct_store *store,
                                  struct lct_tpm *tpm, OSSL_LIB_CTX *libctx,
                                  const struct lct_seal_request *request, struct lct_err *err)
{
    struct lct_tpm_counter_request counter = counter_request(libctx, request);
    char *maker = NULL;
    enum lct_code code = lct_counters_maker(&maker, store, libctx, err);

    counter.maker = maker;
    if (code == LCT_OK)
        code = lct_tpm_counter_make(tpm, &seal->counter, &counter, err);
    free(maker);
    return code;
}

/* The counter and the policyRef, which says both. */
static enum lct_code bind(struct lct_seal *seal, const struct lct_store *store, struct lct_tpm *tpm,
                          OSSL_LIB_CTX *libctx, const struct lct_seal_request *request,
                          struct lct_err *err)
{
    if (request->revocable) {
        enum lct_code code = make_counter(seal, store, tpm, libctx, request, err);
        if (code != LCT_OK)
            return code;
    } else if (request->id == NULL) {
        return LCT_OK;
    }
    return lct_seal_bind(seal, libctx, request->id != NULL ? request->id : "", err);
}

enum lct_code lct_seal_prepare(struct lct_seal *seal, struct lct_pcrs *blank,
                               const struct lct_store *store, struct lct_tpm *tpm,
                               struct lct_crypto *crypto, const struct lct_seal_request *request,
                               struct lct_err *err)
{
    bool authority = seal->kind == LCT_SEAL_AUTHORITY || seal->kind == LCT_SEAL_EITHER;
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, err);
    enum lct_code code = libctx != NULL ? LCT_OK : LCT_ERR_INTERNAL;

    *blank = (struct lct_pcrs){0};
    if (request->revocable && seal->kind != LCT_SEAL_AUTHORITY)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "%s: only approvals can be revoked, and of this seal the first state needs "
                        "none: --revocable goes with --seal authority",
                        request->label);
    if (code != LCT_OK || seal->kind == LCT_SEAL_NONE)
        return code;
    if (authority)
        code = take_authority(seal, store, tpm, crypto, request, err);
    if (code == LCT_OK)
        code = take_values(seal, blank, tpm, libctx, request, err);
    if (code == LCT_OK && authority) {
        code = bind(seal, store, tpm, libctx, request, err);
        if (code != LCT_OK)
            lct_seal_abandon(seal, tpm, crypto, request);
    }
    return code;
}

void lct_seal_abandon(const struct lct_seal *seal, struct lct_tpm *tpm, struct lct_crypto *crypto,
                      const struct lct_seal_request *request)
{
    const struct lct_tpm_counter_request counter =
        counter_request(lct_crypto_get(crypto, NULL), request);

    if (request->revocable && seal->counter.handle != 0 && counter.libctx != NULL)
        (void)lct_tpm_counter_remove(tpm, &seal->counter, &counter, NULL);
}

char *lct_pcrs_write(const struct lct_pcr_values *values, const char *id,
                     const struct lct_seal *seal)
{
    bool authority =
        seal != NULL && (seal->kind == LCT_SEAL_AUTHORITY || seal->kind == LCT_SEAL_EITHER);
    char *text = NULL;
    json_t *object = json_pack(
        "{s:i, s:o, s:o, s:s?, s:o, s:o}", "version", PCRS_VERSION, "pcrs",
        lct_json_of_pcrs(&values->pcrs), "values", lct_json_of_values(values), "id", id,
        "policy_ref", authority ? lct_json_of_bytes(seal->ref, seal->ref_len) : json_null(),
        "counter", authority ? lct_json_of_counter(&seal->counter) : json_null());

    if (object != NULL)
        text = lct_json_dump(object, JSON_INDENT(2));
    json_decref(object);
    return text;
}

static bool read_pcrs(struct lct_pcr_values *values, struct lct_approval *approval, char *id,
                      json_t *object)
{
    const char *pcrs, *name = NULL, *ref = NULL;
    json_t *all, *counter, *name_json, *ref_json;
    int version = 0;

    if (json_unpack_ex(object, NULL, JSON_STRICT, "{s:i, s:s, s:o, s:o, s:o, s:o}", "version",
                       &version, "pcrs", &pcrs, "values", &all, "id", &name_json, "policy_ref",
                       &ref_json, "counter", &counter) != 0 ||
        version != PCRS_VERSION || !lct_json_maybe(&name, name_json) ||
        !lct_json_maybe(&ref, ref_json) || !lct_json_pcrs(&values->pcrs, pcrs) ||
        !lct_json_values(values, all) || !lct_json_counter(&approval->counter, counter) ||
        (ref != NULL &&
         !lct_hex_decode(approval->ref, &approval->ref_len, sizeof approval->ref, ref)))
        return false;
    if (name == NULL)
        return true;
    return lct_id_check(name, NULL) == LCT_OK && lct_json_text(id, LCT_MAX_ID + 1, name);
}

/* More than any NV counter of ours is counted to: NV memory is worn out by then. */
static const uint64_t max_count = UINT64_C(1) << 32;

enum lct_code lct_pcrs_read(struct lct_pcr_values *values, struct lct_approval *approval, char *id,
                            const uint8_t *text, size_t text_len, struct lct_err *err)
{
    json_t *object = lct_json_load(text, text_len, NULL);

    memset(values, 0, sizeof *values);
    approval->counter = (struct lct_counter){0};
    approval->ref_len = 0;
    id[0] = '\0';
    bool good = object != NULL && read_pcrs(values, approval, id, object);
    bool sealed_to_authority = good && !json_is_null(json_object_get(object, "policy_ref"));
    json_decref(object);
    if (!good)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "these are no PCR values; lct pcrs writes them, on the machine whose "
                        "state is to be approved");
    if (approval->counter.value > max_count)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "no counter is at %llu, as these PCR values say: an approval for that "
                        "could never be revoked",
                        (unsigned long long)approval->counter.value);
    if (id[0] != '\0' && !sealed_to_authority)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "nothing can be approved for lct:%s, which is sealed strictly or not "
                        "sealed; values for others are printed by lct pcrs SPEC",
                        id);
    return LCT_OK;
}
