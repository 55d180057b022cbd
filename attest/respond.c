/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/attest.h"
#include "attest/describe.h"

#include "proof/json.h"
#include "proof/seal.h"
#include "proof/transcript.h"
#include "tpm/attest.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

/* An answer under way. */
struct answer {
    const struct lct_attest_request *request;
    struct lct_evidence *evidence;
    struct lct_transcript transcript;
    struct lct_eks *eks;     /* NULL: none is needed */
    const struct lct_ek *ek; /* the one that the credential is for, of `eks` */
    struct lct_tpm_evidence made;
};

static const char *label_of(const struct answer *answer)
{
    return answer->request->key->label;
}

static enum lct_code check_time(const struct answer *answer, time_t now, struct lct_err *err)
{
    const char *expires = answer->evidence->challenge.expires;
    time_t seconds;

    if (lct_json_seconds(&seconds, expires) && seconds > now)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_REFUSED,
                    "%s: the challenge held until %s; ask for another one, and see that the clocks "
                    "of both machines are right",
                    label_of(answer), expires);
}

static bool same_public(const struct lct_offered_public *a, const struct lct_offered_public *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

static bool same_seal(const struct lct_seal *a, const struct lct_seal *b)
{
    json_t *first = lct_seal_json(a), *second = lct_seal_json(b);
    bool same = first != NULL && second != NULL && json_equal(first, second) == 1;

    json_decref(first);
    json_decref(second);
    return same;
}

/*
 * What was offered is what this machine says of the key now: an offer that was changed on its way
 * would have others believe what is not so, in the name of the key. The first thing that differs,
 * in words; NULL: nothing. Which EKs there are is settled by the one that the credential is for.
 */
static const char *find_difference(const struct lct_offer *offered, const struct lct_offer *now)
{
    const struct {
        bool same;
        const char *what;
    } parts[] = {
        {strcmp(offered->id, now->id) == 0, "id"},
        {offered->generation == now->generation, "generation"},
        {same_public(&offered->key, &now->key), "key"},
        {same_seal(&offered->seal, &now->seal), "seal"},
        {offered->passphrase == now->passphrase, "passphrase"},
        {strcmp(offered->tpm, now->tpm) == 0 && offered->software_tpm == now->software_tpm, "TPM"},
        {same_public(&offered->parent, &now->parent), "storage key"},
        {same_public(&offered->ak, &now->ak), "attestation key"},
    };

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (!parts[i].same)
            return parts[i].what;
    return NULL;
}

static enum lct_code check_offer(const struct answer *answer, struct lct_err *err)
{
    struct lct_offer *now = lct_offer_new();

    if (now == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    enum lct_code code = lct_attest_describe_key(now, answer->request, err);
    if (code == LCT_OK) {
        const char *what = find_difference(answer->evidence->challenge.offer, now);
        if (what != NULL)
            code = LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                            "%s: the challenge is for an offer that is not of this key as it is "
                            "now: its %s is another; make a new one: lct attest offer %s",
                            label_of(answer), what, answer->request->key->id);
    }
    lct_offer_free(now);
    return code;
}

/* The EK that the credential is for. One that cannot be read may be it. */
static enum lct_code find_ek(struct answer *answer, struct lct_err *err)
{
    const struct lct_challenge *challenge = &answer->evidence->challenge;

    if (!challenge->has_credential)
        return LCT_OK;
    enum lct_code code = lct_attest_read_eks(&answer->eks, answer->request, err);
    if (code != LCT_OK)
        return code;
    for (size_t i = 0; i < answer->eks->num && answer->ek == NULL; i++)
        if (answer->eks->eks[i].pkey != NULL &&
            lct_name_equal(&answer->eks->eks[i].name, &challenge->ek))
            answer->ek = &answer->eks->eks[i];
    if (answer->ek != NULL)
        return LCT_OK;
    code = lct_attest_ek_fault(answer->eks, err);
    return code != LCT_OK ? code
                          : LCT_FAIL(err, LCT_ERR_REFUSED,
                                     "%s: the challenge is for another TPM: its endorsement key is "
                                     "none of this one's",
                                     label_of(answer));
}

/* The key's own signature: it can be used, now, by who answers. */
static enum lct_code sign(struct answer *answer, struct lct_err *err)
{
    const struct lct_attest_request *request = answer->request;
    struct lct_evidence *evidence = answer->evidence;
    uint8_t message[LCT_TRANSCRIPT_MESSAGE], digest[LCT_MAX_HASH];
    size_t message_len = lct_transcript_message(message, &answer->transcript, LCT_SLOT_POSSESSION);
    enum lct_code code = lct_key_default_scheme(&evidence->scheme, request->key, err);

    if (code != LCT_OK)
        return code;
    const struct lct_hash *hash = evidence->scheme.hash;
    if (!EVP_Q_digest(request->key->libctx, hash->openssl, NULL, message, message_len, digest,
                      NULL))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "%s is not to be had from libcrypto", hash->openssl);
    return lct_key_sign(request->key, request->tpm, &evidence->possession, &evidence->scheme,
                        digest, hash->size, err);
}

/* The same authorization for a parent in the endorsement hierarchy, which the key was not given. */
static struct lct_tpm_key key_of(const struct lct_attest_request *request,
                                 struct lct_generation *generation)
{
    struct lct_tpm_key key = lct_key_values(request->key, generation);

    if ((key.owner_auth == NULL || key.owner_auth->len == 0) && key.parent == TPM2_RH_ENDORSEMENT &&
        request->endorsement_auth != NULL)
        key.owner_auth = request->endorsement_auth;
    return key;
}

static enum lct_code attest(struct answer *answer, struct lct_err *err)
{
    const struct lct_attest_request *request = answer->request;
    const struct lct_challenge *challenge = &answer->evidence->challenge;
    OSSL_LIB_CTX *libctx = request->key->libctx;
    struct lct_generation generation;
    const struct lct_tpm_key key = key_of(request, &generation);
    bool quote = challenge->pcrs.num_banks > 0;
    uint8_t certify_extra[32], quote_extra[32];
    enum lct_code code =
        lct_transcript_extra(certify_extra, libctx, &answer->transcript, LCT_SLOT_CERTIFY, err);

    if (code == LCT_OK)
        code = lct_transcript_extra(quote_extra, libctx, &answer->transcript, LCT_SLOT_QUOTE, err);
    if (code != LCT_OK)
        return code;
    const struct lct_tpm_attest_request asked = {
        .label = request->key->label,
        .key = &key,
        .certify_extra = challenge->direct ? NULL : certify_extra,
        .certify_extra_len = challenge->direct ? 0 : sizeof certify_extra,
        .pcrs = quote ? &challenge->pcrs : NULL,
        .quote_extra = quote ? quote_extra : NULL,
        .quote_extra_len = quote ? sizeof quote_extra : 0,
        .credential = challenge->has_credential ? &challenge->credential : NULL,
        .ek = answer->ek,
        .direct = challenge->direct,
        .endorsement_auth = request->endorsement_auth,
        .owner_auth = request->owner_auth,
        .libctx = libctx,
    };
    return lct_tpm_attest(request->tpm, &answer->made, &asked, err);
}

static enum lct_code copy_attested(struct lct_evidence_attested *to,
                                   const struct lct_tpm_attested *from, struct lct_err *err)
{
    if (from->attest_len > sizeof to->attest || from->signature_len > sizeof to->signature)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "an attestation is longer than evidence takes");
    to->attest_len = from->attest_len;
    to->signature_len = from->signature_len;
    memcpy(to->attest, from->attest, from->attest_len);
    memcpy(to->signature, from->signature, from->signature_len);
    return LCT_OK;
}

/* What the TPM made goes into the evidence; of the secret, a proof that it is known. */
static enum lct_code take_made(struct answer *answer, struct lct_err *err)
{
    struct lct_evidence *evidence = answer->evidence;
    const struct lct_tpm_evidence *made = &answer->made;
    enum lct_code code = copy_attested(&evidence->certify, &made->certified, err);

    if (code == LCT_OK)
        code = copy_attested(&evidence->quote, &made->quoted, err);
    evidence->values = made->values;
    evidence->has_activation = evidence->challenge.has_credential;
    if (code == LCT_OK && evidence->has_activation)
        code = lct_transcript_activation(evidence->activation, answer->request->key->libctx,
                                         &answer->transcript, &made->secret, err);
    return code;
}

static enum lct_code add_eventlog(struct lct_evidence *evidence, const uint8_t *eventlog,
                                  size_t eventlog_len, struct lct_err *err)
{
    if (eventlog == NULL || eventlog_len == 0 || evidence->quote.attest_len == 0)
        return LCT_OK;
    evidence->eventlog = malloc(eventlog_len);
    if (evidence->eventlog == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    memcpy(evidence->eventlog, eventlog, eventlog_len);
    evidence->eventlog_len = eventlog_len;
    return LCT_OK;
}

/* What may be refused comes first. The passphrase is tried before the key is certified, once. */
static enum lct_code prove(struct answer *answer, time_t now, struct lct_err *err)
{
    enum lct_code code = check_time(answer, now, err);

    if (code == LCT_OK)
        code = check_offer(answer, err);
    if (code == LCT_OK)
        code = find_ek(answer, err);
    if (code == LCT_OK)
        code = lct_transcript_make(&answer->transcript, answer->request->key->libctx,
                                   &answer->evidence->challenge, err);
    if (code == LCT_OK) {
        code = sign(answer, err);
        if (code == LCT_ERR_SEALED)
            return lct_err_prefix(err, "no evidence was made");
    }
    if (code == LCT_OK)
        code = attest(answer, err);
    return code == LCT_OK ? take_made(answer, err) : code;
}

enum lct_code lct_attest_respond(struct lct_evidence **evidence,
                                 const struct lct_attest_request *request,
                                 struct lct_challenge *challenge, const uint8_t *eventlog,
                                 size_t eventlog_len, time_t now, struct lct_err *err)
{
    struct answer answer = {.request = request, .evidence = lct_evidence_new()};

    *evidence = NULL;
    if (answer.evidence == NULL) {
        lct_challenge_clear(challenge);
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    }
    answer.evidence->challenge = *challenge;
    *challenge = (struct lct_challenge){.direct = false};
    enum lct_code code = prove(&answer, now, err);
    if (code == LCT_OK)
        code = add_eventlog(answer.evidence, eventlog, eventlog_len, err);
    lct_secret_wipe(&answer.made.secret);
    lct_attest_free_eks(answer.eks);
    if (code == LCT_OK)
        *evidence = answer.evidence;
    else
        lct_evidence_free(answer.evidence);
    return code;
}
