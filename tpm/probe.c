/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/probe.h"

#include "tpm/capability.h"
#include "tpm/parent.h"

#include <openssl/evp.h>
#include <string.h>

static const char label[] = "the TPM";

static uint32_t *place_of(struct lct_probe *probe, uint32_t property)
{
    switch (property) {
    case TPM2_PT_REVISION:
        return &probe->revision;
    case TPM2_PT_PERMANENT:
        return &probe->permanent;
    case TPM2_PT_HR_LOADED_AVAIL:
        return &probe->loaded_free;
    case TPM2_PT_HR_ACTIVE_AVAIL:
        return &probe->active_free;
    case TPM2_PT_HR_TRANSIENT_AVAIL:
        return &probe->transient_free;
    case TPM2_PT_HR_PERSISTENT_AVAIL:
        return &probe->persistent_free;
    case TPM2_PT_HR_NV_INDEX:
        return &probe->nv_indices;
    case TPM2_PT_NV_COUNTERS_AVAIL:
        return &probe->counters_free;
    case TPM2_PT_LOCKOUT_COUNTER:
        return &probe->tries;
    case TPM2_PT_MAX_AUTH_FAIL:
        return &probe->max_tries;
    case TPM2_PT_LOCKOUT_INTERVAL:
        return &probe->interval;
    default:
        return NULL;
    }
}

static enum lct_code read_properties(struct lct_tpm *tpm, struct lct_probe *probe, uint32_t first,
                                     uint32_t count, struct lct_err *err)
{
    TPMS_CAPABILITY_DATA data;
    enum lct_code code =
        lct_capability_get(tpm, &data, label, TPM2_CAP_TPM_PROPERTIES, first, count, err);
    const TPML_TAGGED_TPM_PROPERTY *list = &data.data.tpmProperties;

    for (uint32_t i = 0; code == LCT_OK && i < list->count && i < TPM2_MAX_TPM_PROPERTIES; i++) {
        uint32_t *place = place_of(probe, list->tpmProperty[i].property);
        if (place != NULL)
            *place = list->tpmProperty[i].value;
    }
    return code;
}

/*
 * Those from `first` to `last` (TPM 2.0 Part 2, 7.4), as numbers like lct_transient_first. Sessions
 * are asked for by whether they are loaded (0x02) or saved (0x03), and HMAC and policy sessions are
 * among the answers to either (Part 2, 7.4, TPM_HT).
 */
static enum lct_code read_handles(struct lct_tpm *tpm, struct lct_handles *handles, uint32_t first,
                                  uint32_t last, struct lct_err *err)
{
    TPMS_CAPABILITY_DATA data;
    enum lct_code code =
        lct_capability_get(tpm, &data, label, TPM2_CAP_HANDLES, first, LCT_MAX_HANDLES, err);
    const TPML_HANDLE *list = &data.data.handles;
    uint32_t least = first >> 24 == TPM2_HT_SAVED_SESSION ? 0x02000000 : first;

    for (uint32_t i = 0; code == LCT_OK && i < list->count && i < LCT_MAX_HANDLES; i++)
        if (list->handle[i] >= least && list->handle[i] <= last)
            handles->handles[handles->num++] = list->handle[i];
    return code;
}

/*
 * The hierarchy that the object of that Name is a primary key of, by its qualified Name: the hash
 * of the parent's, a hierarchy's handle, and its own (TPM 2.0 Part 1, 26.5).
 */
static uint32_t find_hierarchy(OSSL_LIB_CTX *libctx, const struct lct_name *name,
                               const struct lct_name *qualified)
{
    static const uint32_t hierarchies[] = {TPM2_RH_OWNER, TPM2_RH_ENDORSEMENT, TPM2_RH_PLATFORM,
                                           TPM2_RH_NULL};
    uint8_t message[4 + sizeof name->data], digest[LCT_MAX_HASH];
    const struct lct_hash *hash =
        name->len > 2 ? lct_hash_by_id((uint16_t)(name->data[0] << 8 | name->data[1])) : NULL;

    if (hash == NULL || qualified->len != 2 + hash->size)
        return 0;
    for (size_t i = 0; i < sizeof hierarchies / sizeof hierarchies[0]; i++) {
        const struct lct_name parent = lct_name_of_handle(hierarchies[i]);
        memcpy(message, parent.data, parent.len);
        memcpy(message + parent.len, name->data, name->len);
        if (EVP_Q_digest(libctx, hash->openssl, NULL, message, parent.len + name->len, digest,
                         NULL) &&
            memcmp(digest, qualified->data + 2, hash->size) == 0)
            return hierarchies[i];
    }
    return 0;
}

/* TPM2_ReadPublic. Another program may flush it at any time. */
static enum lct_code read_object(struct lct_tpm *tpm, struct lct_object *object, uint32_t handle,
                                 OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    TPM2B_PUBLIC from = {0};
    TPM2B_NAME tpm_name = {0}, tpm_qualified = {0};
    TSS2_RC rc =
        Tss2_Sys_ReadPublic(tpm->sys, handle, NULL, &from, &tpm_name, &tpm_qualified, NULL);

    *object = (struct lct_object){.handle = handle};
    enum lct_code code = lct_tpm_result(tpm, label, TPM2_CC_ReadPublic, rc, err);
    if (code != LCT_OK)
        return tpm->broken ? code : LCT_OK;
    const struct lct_name qualified = lct_tpm_name(&tpm_qualified);
    object->name = lct_tpm_name(&tpm_name);
    object->attributes = from.publicArea.objectAttributes;
    object->hierarchy = find_hierarchy(libctx, &object->name, &qualified);
    return LCT_OK;
}

static enum lct_code read_objects(struct lct_tpm *tpm, struct lct_objects *objects, uint32_t first,
                                  uint32_t last, OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    struct lct_handles handles = {0};
    enum lct_code code = read_handles(tpm, &handles, first, last, err);

    for (size_t i = 0; code == LCT_OK && i < handles.num; i++)
        code = read_object(tpm, &objects->objects[objects->num++], handles.handles[i], libctx, err);
    return code;
}

/* TPM 2.0 Part 3, 22.4. Zero is what a PCR that nobody extended is (TCG PC Client PFP, 3.3). */
static enum lct_code pcr_is_zero(struct lct_tpm *tpm, const struct lct_hash *hash, unsigned pcr,
                                 bool *zero, struct lct_err *err)
{
    const TPML_PCR_SELECTION selection = {
        .count = 1,
        .pcrSelections = {{hash->id, 3, {(BYTE)(1U << pcr)}}},
    };
    TPML_PCR_SELECTION got = {0};
    TPML_DIGEST values = {0};
    TSS2L_SYS_AUTH_RESPONSE auths = {0};
    UINT32 updates = 0;
    static const uint8_t nothing[LCT_MAX_HASH];

    enum lct_code code = lct_tpm_result(
        tpm, label, TPM2_CC_PCR_Read,
        Tss2_Sys_PCR_Read(tpm->sys, NULL, &selection, &updates, &got, &values, &auths), err);
    *zero = values.count != 1 || values.digests[0].size != hash->size ||
            memcmp(values.digests[0].buffer, nothing, hash->size) == 0;
    return code;
}

static enum lct_code read_bank(struct lct_tpm *tpm, struct lct_probe *probe,
                               const struct lct_hash *hash, struct lct_err *err)
{
    enum lct_code code = LCT_OK;
    bool zero = true;

    for (unsigned pcr = 0; pcr < 8 && zero && code == LCT_OK; pcr++)
        code = pcr_is_zero(tpm, hash, pcr, &zero, err);
    if (code == LCT_OK)
        probe->banks[probe->num_banks++] = (struct lct_bank){hash, !zero};
    return code;
}

static bool is_allocated(const TPMS_PCR_SELECTION *bank)
{
    for (uint8_t i = 0; i < bank->sizeofSelect && i < sizeof bank->pcrSelect; i++)
        if (bank->pcrSelect[i] != 0)
            return true;
    return false;
}

static enum lct_code read_banks(struct lct_tpm *tpm, struct lct_probe *probe, struct lct_err *err)
{
    TPMS_CAPABILITY_DATA data;
    enum lct_code code = lct_capability_get(tpm, &data, label, TPM2_CAP_PCRS, 0, 1, err);
    const TPML_PCR_SELECTION *list = &data.data.assignedPCR;

    for (uint32_t i = 0; code == LCT_OK && i < list->count && i < TPM2_NUM_PCR_BANKS; i++) {
        const struct lct_hash *hash = lct_hash_by_id(list->pcrSelections[i].hash);
        if (hash != NULL && is_allocated(&list->pcrSelections[i]) &&
            probe->num_banks < LCT_MAX_PROBE_BANKS)
            code = read_bank(tpm, probe, hash, err);
    }
    return code;
}

/* Only of what is there: lct_parent_for_creation would make it. */
static enum lct_code read_srk(struct lct_tpm *tpm, struct lct_probe *probe, OSSL_LIB_CTX *libctx,
                              struct lct_err *err)
{
    const struct lct_parent_request request = {.label = label, .libctx = libctx};
    struct lct_parent parent;

    if (lct_objects_at(&probe->persistent, lct_srk_handle) == NULL)
        return LCT_OK;
    enum lct_code code = lct_parent_for_creation(tpm, &parent, &request, false, err);
    probe->srk_usable = code == LCT_OK;
    if (code == LCT_OK)
        lct_parent_leave(tpm, &parent, true);
    return code == LCT_ERR_UNSUPPORTED ? LCT_OK : code;
}

struct probing {
    struct lct_probe *probe;
    OSSL_LIB_CTX *libctx;
};

static enum lct_code probe_taken(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    const struct probing *probing = arg;
    struct lct_probe *probe = probing->probe;

    *probe =
        (struct lct_probe){.info = probe->info, .managed = tpm->channel->wire->private_handles};
    enum lct_code code = read_properties(tpm, probe, TPM2_PT_REVISION, 1, err);
    if (code == LCT_OK)
        code = read_properties(tpm, probe, TPM2_PT_PERMANENT, 32, err);
    if (code == LCT_OK)
        code = read_objects(tpm, &probe->transient, lct_transient_first, 0x80ffffff,
                            probing->libctx, err);
    if (code == LCT_OK)
        code = read_objects(tpm, &probe->persistent, 0x81000000, 0x81ffffff, probing->libctx, err);
    if (code == LCT_OK)
        code = read_handles(tpm, &probe->loaded, 0x02000000, 0x03ffffff, err);
    if (code == LCT_OK)
        code = read_handles(tpm, &probe->saved, 0x03000000, 0x03ffffff, err);
    if (code == LCT_OK) /* TCG EK Credential Profile, 2.2.1.4: where EK certificates are */
        code = read_handles(tpm, &probe->certificates, 0x01c00002, 0x01c0003f, err);
    if (code == LCT_OK)
        code = read_banks(tpm, probe, err);
    if (code == LCT_OK)
        code = read_srk(tpm, probe, probing->libctx, err);
    return code;
}

enum lct_code lct_tpm_probe(struct lct_tpm *tpm, struct lct_probe *probe, OSSL_LIB_CTX *libctx,
                            struct lct_err *err)
{
    struct probing probing = {probe, libctx};

    memset(probe, 0, sizeof *probe);
    enum lct_code code = lct_tpm_describe(tpm, &probe->info, label, err);
    return code == LCT_OK ? lct_tpm_run(tpm, label, probe_taken, &probing, err) : code;
}

bool lct_object_is_storage(const struct lct_object *object)
{
    static const TPMA_OBJECT storage = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;

    return (object->attributes & storage) == storage;
}

const struct lct_object *lct_objects_at(const struct lct_objects *objects, uint32_t handle)
{
    for (size_t i = 0; i < objects->num; i++)
        if (objects->objects[i].handle == handle)
            return &objects->objects[i];
    return NULL;
}
