/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/describe.h"

#include "tpm/attest.h"

#include <stdio.h>
#include <stdlib.h>

static void describe_identity(struct lct_offer *offer, const struct lct_key *key)
{
    struct lct_generation unpacked;
    const struct lct_generation *generation = lct_key_generation(&unpacked, key);

    (void)snprintf(offer->id, sizeof offer->id, "%s", key->id);
    offer->generation = generation->number;
    offer->passphrase = generation->passphrase;
    offer->seal = generation->seal;
}

static enum lct_code describe_tpm(struct lct_offer *offer, const struct lct_attest_request *request,
                                  struct lct_err *err)
{
    struct lct_tpm_info info;
    enum lct_code code = lct_tpm_describe(request->tpm, &info, request->key->label, err);

    if (code != LCT_OK)
        return code;
    (void)snprintf(offer->tpm, sizeof offer->tpm, "%s", info.description);
    offer->software_tpm = info.software;
    return LCT_OK;
}

/* A key at a persistent handle may be anybody's child: its record says what a session is salted to,
 * which is no more than that. */
static enum lct_code describe_parent(struct lct_offer *offer,
                                     const struct lct_attest_request *request, struct lct_err *err)
{
    const struct lct_key *key = request->key;
    struct lct_generation unpacked;
    const struct lct_generation *generation = lct_key_generation(&unpacked, key);
    const struct lct_tpm_parent_request from = {
        .label = key->label,
        .where = generation->parent,
        .rsa_parent = key->keyfile.rsa_parent,
        .owner_auth = generation->parent == TPM2_RH_ENDORSEMENT ? request->endorsement_auth
                                                                : request->owner_auth,
        .libctx = key->libctx,
    };
    struct lct_tpm_parent parent;

    if (generation->handle != 0)
        return LCT_OK;
    enum lct_code code = lct_tpm_find_parent(request->tpm, &parent, &from, err);
    if (code != LCT_OK)
        return code;
    if (generation->parent_name.len != 0 && !lct_name_equal(&parent.name, &generation->parent_name))
        return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                        "%s: the key was made by another TPM, or this TPM has been cleared since: "
                        "its storage key is a different one",
                        key->label);
    return lct_offered_public_set(&offer->parent, key->libctx, parent.public_bytes,
                                  parent.public_len, err);
}

static enum lct_code describe_ak(struct lct_offer *offer, const struct lct_attest_request *request,
                                 struct lct_err *err)
{
    const struct lct_key *key = request->key;
    struct lct_tpm_ak ak;
    enum lct_code code =
        lct_tpm_read_ak(request->tpm, &ak, key->label, request->endorsement_auth, key->libctx, err);

    return code == LCT_OK
               ? lct_offered_public_set(&offer->ak, key->libctx, ak.public_area, ak.public_len, err)
               : code;
}

enum lct_code lct_attest_describe_key(struct lct_offer *offer,
                                      const struct lct_attest_request *request, struct lct_err *err)
{
    const struct lct_key *key = request->key;
    enum lct_code code = lct_offered_public_set(&offer->key, key->libctx, key->keyfile.public_area,
                                                key->keyfile.public_len, err);

    if (code != LCT_OK)
        return lct_err_prefix(err, key->label);
    describe_identity(offer, key);
    code = describe_tpm(offer, request, err);
    if (code == LCT_OK)
        code = describe_parent(offer, request, err);
    return code == LCT_OK ? describe_ak(offer, request, err) : code;
}

enum lct_code lct_attest_read_eks(struct lct_eks **eks, const struct lct_attest_request *request,
                                  struct lct_err *err)
{
    const struct lct_ek_request from = {request->key->label, request->owner_auth,
                                        request->endorsement_auth, request->key->libctx};

    *eks = calloc(1, sizeof **eks);
    if (*eks == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    enum lct_code code = lct_tpm_read_eks(request->tpm, *eks, &from, err);
    if (code != LCT_OK) {
        lct_attest_free_eks(*eks);
        *eks = NULL;
    }
    return code;
}

void lct_attest_free_eks(struct lct_eks *eks)
{
    if (eks == NULL)
        return;
    lct_eks_clear(eks);
    free(eks);
}

enum lct_code lct_attest_ek_fault(const struct lct_eks *eks, struct lct_err *err)
{
    for (size_t i = 0; i < eks->num; i++)
        if (eks->eks[i].pkey == NULL && eks->eks[i].key_err.code != LCT_OK) {
            *err = eks->eks[i].key_err;
            return err->code;
        }
    return LCT_OK;
}
