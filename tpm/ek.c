/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/ek.h"

#include "tpm/capability.h"
#include "tpm/ek_template.h"
#include "tpm/parent.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_mu.h>

/* The certificates of their issuers: TCG EK Credential Profile 2.5, 2.2.1.5.2. */
static const TPM2_NV_INDEX first_of_chain = 0x01c00100, last_of_chain = 0x01c001ff;

enum { MAX_PERSISTENT = 64, MAX_CHAIN = 64 * 1024, LABEL = 64 };

/* An object that is in the TPM, and a primary key of the endorsement hierarchy. */
struct candidate {
    uint32_t handle;
    struct lct_name name;
    struct lct_public public_area;
    size_t public_len;
    uint8_t public_bytes[LCT_MAX_BLOB]; /* the same as TPM2B_PUBLIC */
};

/* The work, and what was found for it. */
struct reading {
    struct lct_eks *eks;
    const struct lct_ek_request *request;
    const struct lct_ek_row *lost; /* the connection broke when this was made */
    TPML_HANDLE indices;
    size_t num_candidates;
    struct candidate candidates[MAX_PERSISTENT];
};

static enum lct_code pass_on(struct lct_err *err, const struct lct_err *from)
{
    if (err != NULL)
        *err = *from;
    return from->code;
}

static void clear_ek(struct lct_ek *ek)
{
    lct_ekcert_clear(&ek->cert);
    EVP_PKEY_free(ek->pkey);
    *ek = (struct lct_ek){0};
}

void lct_eks_clear(struct lct_eks *eks)
{
    for (size_t i = 0; i < LCT_MAX_EKS; i++)
        clear_ek(&eks->eks[i]);
    for (size_t i = 0; i < eks->num_chain; i++)
        lct_ekcert_clear(&eks->chain[i]);
    *eks = (struct lct_eks){0};
}

/* What TSS has of a key, decoded. */
static enum lct_code decode(struct lct_public *public_area, uint8_t bytes[LCT_MAX_BLOB],
                            size_t *len, const TPM2B_PUBLIC *from, struct lct_err *err)
{
    *len = 0;
    if (Tss2_MU_TPM2B_PUBLIC_Marshal(from, bytes, LCT_MAX_BLOB, len) != TSS2_RC_SUCCESS)
        return LCT_FAIL(err, LCT_ERR_TPM, "a public area is malformed");
    return lct_public_decode(public_area, bytes, *len, err);
}

/* By its qualified Name: the hash of the hierarchy's handle and its own (TPM 2.0 Part 1, 26.5). */
static bool is_endorsement_primary(const struct candidate *candidate,
                                   const struct lct_name *qualified, OSSL_LIB_CTX *libctx)
{
    const struct lct_name hierarchy = lct_name_of_handle(TPM2_RH_ENDORSEMENT);
    const struct lct_hash *hash = lct_hash_by_id(candidate->public_area.name_alg);
    uint8_t message[sizeof hierarchy.data + sizeof hierarchy.data], digest[LCT_MAX_HASH];

    if (hash == NULL || qualified->len != 2 + hash->size)
        return false;
    memcpy(message, hierarchy.data, hierarchy.len);
    memcpy(message + hierarchy.len, candidate->name.data, candidate->name.len);
    return EVP_Q_digest(libctx, hash->openssl, NULL, message, hierarchy.len + candidate->name.len,
                        digest, NULL) &&
           memcmp(digest, qualified->data + 2, hash->size) == 0;
}

/* Another program may evict it at any time; what is no key is none of ours. */
static enum lct_code read_candidate(struct lct_tpm *tpm, struct reading *reading, uint32_t handle,
                                    struct lct_err *err)
{
    struct candidate *candidate = &reading->candidates[reading->num_candidates];
    OSSL_LIB_CTX *libctx = reading->request->libctx;
    TPM2B_PUBLIC from = {0};
    TPM2B_NAME tpm_name = {0}, tpm_qualified = {0};
    TSS2_RC rc =
        Tss2_Sys_ReadPublic(tpm->sys, handle, NULL, &from, &tpm_name, &tpm_qualified, NULL);
    enum lct_code code = lct_tpm_result(tpm, reading->request->label, TPM2_CC_ReadPublic, rc, err);

    if (code != LCT_OK)
        return tpm->broken ? code : LCT_OK;
    const struct lct_name qualified = lct_tpm_name(&tpm_qualified);
    candidate->handle = handle;
    uint8_t *bytes = candidate->public_bytes;
    size_t *len = &candidate->public_len;
    if (decode(&candidate->public_area, bytes, len, &from, NULL) == LCT_OK &&
        lct_public_name(&candidate->name, libctx, bytes, *len, NULL) == LCT_OK &&
        is_endorsement_primary(candidate, &qualified, libctx))
        reading->num_candidates++;
    return LCT_OK;
}

static enum lct_code read_candidates(struct lct_tpm *tpm, struct reading *reading,
                                     struct lct_err *err)
{
    TPML_HANDLE handles;
    enum lct_code code =
        lct_capability_handles(tpm, &handles, reading->request->label, 0x81000000, 0x81ffffff, err);

    for (uint32_t i = 0; code == LCT_OK && i < handles.count; i++)
        if (reading->num_candidates < MAX_PERSISTENT)
            code = read_candidate(tpm, reading, handles.handle[i], err);
    return code;
}

/* Whether it was made of that template; `unique` may have been anything. */
static bool fits(const struct lct_public *made, const struct lct_public *template)
{
    return made->type == template->type && made->name_alg == template->name_alg &&
           made->attributes == template->attributes && made->policy_len == template->policy_len &&
           memcmp(made->policy, template->policy, made->policy_len) == 0 &&
           made->symmetric == template->symmetric &&
           made->symmetric_bits == template->symmetric_bits &&
           made->symmetric_mode == template->symmetric_mode && made->scheme == template->scheme &&
           made->curve == template->curve && made->bits == template->bits;
}

static const struct candidate *next_fitting(const struct reading *reading,
                                            const struct lct_public *template, size_t *at)
{
    while (*at < reading->num_candidates) {
        const struct candidate *candidate = &reading->candidates[(*at)++];
        if (fits(&candidate->public_area, template))
            return candidate;
    }
    return NULL;
}

/* One row at work. */
struct making {
    const struct lct_ek_row *row;
    struct lct_ek *ek;
    char label[LABEL];
    struct lct_nv_request nv;
    TPM2B_PUBLIC template;
    struct lct_public wanted; /* the template, decoded */
};

/* The key becomes that one. */
static enum lct_code take(const struct making *making, const struct candidate *taken,
                          struct lct_err *err)
{
    struct lct_ek *ek = making->ek;
    EVP_PKEY *pkey = lct_public_pkey(&taken->public_area, making->nv.libctx, err);

    if (pkey == NULL)
        return lct_err_prefix(err, making->label);
    EVP_PKEY_free(ek->pkey);
    ek->pkey = pkey;
    ek->handle = taken->handle;
    ek->name = taken->name;
    ek->public_area = taken->public_area;
    ek->public_len = taken->public_len;
    memcpy(ek->public_bytes, taken->public_bytes, taken->public_len);
    ek->certified = ek->cert.x509 != NULL && lct_ekcert_is_of(&ek->cert, pkey);
    return LCT_OK;
}

static uint32_t handle_of(const struct reading *reading, const struct lct_name *name)
{
    for (size_t i = 0; i < reading->num_candidates; i++)
        if (lct_name_equal(&reading->candidates[i].name, name))
            return reading->candidates[i].handle;
    return 0;
}

/* Made anew, looked at, and flushed. */
static enum lct_code make(struct lct_tpm *tpm, struct reading *reading, const struct making *making,
                          struct lct_err *err)
{
    static const struct lct_parent_role role = {"the key", "making it", false};
    const struct lct_parent_request request = {
        .label = making->label,
        .where = TPM2_RH_ENDORSEMENT,
        .role = &role,
        .template = &making->template,
        .owner_auth = reading->request->endorsement_auth,
        .again = reading->lost == making->row,
        .libctx = reading->request->libctx,
    };
    struct lct_parent parent;
    enum lct_code code = lct_parent_enter(tpm, &parent, &request, true, err);

    if (tpm->broken)
        reading->lost = making->row;
    else if (request.again)
        reading->lost = NULL;
    if (code != LCT_OK)
        return code;
    lct_parent_leave(tpm, &parent, true);
    struct candidate made = {
        handle_of(reading, &parent.name), parent.name, parent.public_area, parent.public_len, {0}};
    memcpy(made.public_bytes, parent.public_bytes, parent.public_len);
    return take(making, &made, err);
}

/* The one in the TPM that the certificate is of, or any if there is no certificate; else it is made
 * anew. Where it may not be, one in the TPM that the certificate is not of is an answer, too. */
static enum lct_code find_key(struct lct_tpm *tpm, struct reading *reading,
                              const struct making *making, struct lct_err *err)
{
    struct lct_ek *ek = making->ek;
    const struct candidate *candidate;
    size_t at = 0;
    enum lct_code code = LCT_OK;

    while (code == LCT_OK && (candidate = next_fitting(reading, &making->wanted, &at)) != NULL) {
        code = take(making, candidate, err);
        if (code == LCT_OK && (ek->cert.x509 == NULL || ek->certified))
            return LCT_OK;
    }
    if (code == LCT_OK)
        code = make(tpm, reading, making, err);
    if (code == LCT_OK || tpm->broken || ek->pkey == NULL)
        return code;
    *err = (struct lct_err){.code = LCT_OK};
    return LCT_OK;
}

static enum lct_code read_certificate(struct lct_tpm *tpm, const struct making *making,
                                      struct lct_err *err)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum lct_code code =
        lct_nv_read(tpm, &bytes, &len, making->row->kind.certificate, &making->nv, err);

    if (code == LCT_OK) {
        code = lct_ekcert_take(&making->ek->cert, bytes, len, making->nv.libctx, err);
        if (code != LCT_OK)
            code = lct_err_prefix(err, making->label);
    }
    free(bytes);
    return code;
}

static enum lct_code find_template(struct lct_tpm *tpm, const struct reading *reading,
                                   struct making *making, struct lct_err *err)
{
    uint8_t bytes[LCT_MAX_BLOB];
    size_t len;
    enum lct_code code =
        lct_ek_template(tpm, &making->template, making->row, &reading->indices, &making->nv, err);

    if (code != LCT_OK)
        return code;
    code = decode(&making->wanted, bytes, &len, &making->template, err);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, making->label);
}

/* What there is of a kind becomes the next of the list: a certificate, a key in the TPM, or
 * `by_default`. What is wrong with it is said there; a connection that broke is an error. */
static enum lct_code read_row(struct lct_tpm *tpm, struct reading *reading,
                              const struct lct_ek_row *row, bool by_default, struct lct_err *err)
{
    struct lct_ek *ek = &reading->eks->eks[reading->eks->num];
    struct making making = {.row = row, .ek = ek};
    bool there = by_default;
    size_t at = 0;

    making.nv = (struct lct_nv_request){making.label, reading->request->owner_auth,
                                        reading->request->libctx};
    (void)snprintf(making.label, sizeof making.label, "EK %s (%s)", row->kind.algorithm,
                   row->kind.template);
    clear_ek(ek);
    ek->kind = &row->kind;
    if (lct_ek_has_index(&reading->indices, row->kind.certificate)) {
        there = true;
        if (read_certificate(tpm, &making, &ek->cert_err) != LCT_OK && tpm->broken)
            return pass_on(err, &ek->cert_err);
    }
    enum lct_code code = find_template(tpm, reading, &making, &ek->key_err);
    there = there || (code == LCT_OK && next_fitting(reading, &making.wanted, &at) != NULL);
    if (code == LCT_OK && there)
        code = find_key(tpm, reading, &making, &ek->key_err);
    if (code != LCT_OK && tpm->broken)
        return pass_on(err, &ek->key_err);
    if (there)
        reading->eks->num++;
    return LCT_OK;
}

/* Those of which the TPM has anything; if there are none, those that every TPM can make. */
static enum lct_code read_rows(struct lct_tpm *tpm, struct reading *reading, struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    for (size_t i = 0; i < LCT_MAX_EKS && code == LCT_OK; i++)
        code = read_row(tpm, reading, &lct_ek_rows[i], false, err);
    for (size_t i = 0, none = reading->eks->num; none == 0 && i < LCT_MAX_EKS && code == LCT_OK;
         i++)
        if (lct_ek_rows[i].by_default)
            code = read_row(tpm, reading, &lct_ek_rows[i], true, err);
    return code;
}

/* What the indices of the chain hold, one behind the other: a certificate may begin in one and end
 * in the next. The caller frees it. */
static enum lct_code read_chain_bytes(struct lct_tpm *tpm, uint8_t **chain, size_t *chain_len,
                                      const struct lct_nv_request *nv, struct lct_err *err)
{
    TPML_HANDLE indices;
    enum lct_code code =
        lct_capability_handles(tpm, &indices, nv->label, first_of_chain, last_of_chain, err);

    for (uint32_t i = 0; code == LCT_OK && i < indices.count; i++) {
        uint8_t *bytes = NULL;
        size_t len = 0;
        code = lct_nv_read(tpm, &bytes, &len, indices.handle[i], nv, err);
        uint8_t *longer = code == LCT_OK && *chain_len + len <= MAX_CHAIN
                              ? realloc(*chain, *chain_len + len + 1)
                              : NULL;
        if (longer != NULL) {
            memcpy(longer + *chain_len, bytes, len);
            *chain = longer;
            *chain_len += len;
        } else if (code == LCT_OK) {
            code = LCT_FAIL(err, LCT_ERR_BAD_RECORD, "%s: there are more than %d bytes", nv->label,
                            MAX_CHAIN);
        }
        free(bytes);
    }
    return code;
}

/* Of what is damaged the certificates in front are taken. */
static enum lct_code read_chain(struct lct_tpm *tpm, struct reading *reading, struct lct_err *err)
{
    const struct lct_nv_request nv = {"EK certificate chain", reading->request->owner_auth,
                                      reading->request->libctx};
    struct lct_eks *eks = reading->eks;
    struct lct_ekcert cert = {0};
    uint8_t *chain = NULL;
    size_t left = 0;
    enum lct_code code = read_chain_bytes(tpm, &chain, &left, &nv, &eks->chain_err);

    if (code != LCT_OK && tpm->broken) {
        free(chain);
        return pass_on(err, &eks->chain_err);
    }
    const uint8_t *at = chain;
    while (left > 0 && code == LCT_OK) {
        code = lct_ekcert_next(&cert, &at, &left, nv.libctx, &eks->chain_err);
        if (code == LCT_OK && cert.x509 != NULL && eks->num_chain == LCT_MAX_EK_CHAIN) {
            lct_ekcert_clear(&cert);
            code = LCT_FAIL(&eks->chain_err, LCT_ERR_BAD_RECORD,
                            "there are more than %d certificates", LCT_MAX_EK_CHAIN);
        }
        if (code == LCT_OK && cert.x509 != NULL)
            eks->chain[eks->num_chain++] = cert;
        else if (code != LCT_OK)
            (void)lct_err_prefix(&eks->chain_err, nv.label);
    }
    free(chain);
    return LCT_OK;
}

static enum lct_code read_taken(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    struct reading *reading = arg;

    lct_eks_clear(reading->eks);
    reading->num_candidates = 0;
    lct_tpm_flush_resident(tpm);
    enum lct_code code = lct_ek_list_indices(tpm, &reading->indices, reading->request->label, err);
    if (code == LCT_OK)
        code = read_candidates(tpm, reading, err);
    if (code == LCT_OK)
        code = read_rows(tpm, reading, err);
    return code == LCT_OK ? read_chain(tpm, reading, err) : code;
}

enum lct_code lct_tpm_read_eks(struct lct_tpm *tpm, struct lct_eks *eks,
                               const struct lct_ek_request *request, struct lct_err *err)
{
    struct reading reading = {.eks = eks, .request = request};

    *eks = (struct lct_eks){0};
    return lct_tpm_run(tpm, request->label, read_taken, &reading, err);
}
