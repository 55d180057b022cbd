/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_PROBE_H
#define LCT_TPM_PROBE_H

#include "tpm/tpm.h"

enum { LCT_MAX_PROBE_BANKS = 8, LCT_MAX_HANDLES = 64 };

/* A bank of PCRs that the firmware has allocated. */
struct lct_bank {
    const struct lct_hash *hash;
    bool measured; /* one of PCR 0 to 7, those of the boot, is not zero */
};

struct lct_handles {
    size_t num;
    uint32_t handles[LCT_MAX_HANDLES];
};

/* An object in the TPM. */
struct lct_object {
    uint32_t handle;
    struct lct_name name; /* as the TPM says; empty: it was gone before that could be read */
    uint32_t attributes;  /* TPMA_OBJECT */
    uint32_t hierarchy;   /* of which it is a primary key (TPM2_RH_OWNER, ...), 0: of none */
};

struct lct_objects {
    size_t num;
    struct lct_object objects[LCT_MAX_HANDLES];
};

/* What only the TPM can say, for a diagnosis. */
struct lct_probe {
    struct lct_tpm_info info;
    uint32_t revision;         /* of the TPM 2.0 specification: 159 is 1.59; 0: not told */
    uint32_t permanent;        /* TPMA_PERMANENT */
    uint32_t tries, max_tries; /* wrong authorizations counted, and how many lead to lockout */
    uint32_t interval;         /* seconds until one of them is forgotten */
    uint32_t transient_free, persistent_free;
    uint32_t nv_indices; /* that are defined */
    uint32_t counters_free;
    uint32_t loaded_free, active_free; /* sessions that may be loaded, and begun */
    bool managed;                      /* each program sees only its own objects and sessions */
    struct lct_objects transient;      /* loaded now */
    struct lct_objects persistent;
    struct lct_handles loaded, saved; /* sessions in the TPM, and those kept outside of it */
    struct lct_handles certificates;  /* NV indices of EK certificates */
    size_t num_banks;
    struct lct_bank banks[LCT_MAX_PROBE_BANKS];
    bool srk_usable; /* what is at lct_srk_handle is a storage key fixed to this TPM */
};

/*
 * Asks with TPM2_GetCapability, TPM2_PCR_Read and TPM2_ReadPublic; nothing is loaded or changed.
 * Also LCT_ERR_NO_TPM with the TPM's code in err->tpm_rc: TPM2_RC_INITIALIZE (it needs
 * TPM2_Startup), TPM2_RC_FAILURE (it is in failure mode). What was found until then is in *probe.
 */
enum lct_code lct_tpm_probe(struct lct_tpm *tpm, struct lct_probe *probe, OSSL_LIB_CTX *libctx,
                            struct lct_err *err);

/* Whether it is a storage key: a restricted decryption key, which other keys are under. */
bool lct_object_is_storage(const struct lct_object *object);

/* The object behind `handle`, or NULL. */
const struct lct_object *lct_objects_at(const struct lct_objects *objects, uint32_t handle);

#endif
