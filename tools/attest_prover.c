/* SPDX-License-Identifier: Apache-2.0 */
/* The part of an attestation of who has the TPM: lct attest offer, lct attest respond. */
#include "tools/attest.h"
#include "tools/json.h"
#include "tools/unlock.h"

#include "attest/attest.h"
#include "store/certs.h"
#include "tcg/eventlog.h"
#include "tpm/hierarchy.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Who shows or proves something of a key. Zero is nobody; release() ends it. */
struct prover {
    struct lct_key *key;
    struct lct_secret endorsement_auth, owner_auth;
};

static void release(struct prover *prover)
{
    lct_key_free(prover->key);
    lct_secret_wipe(&prover->endorsement_auth);
    lct_secret_wipe(&prover->owner_auth);
}

/* The key of a generation, 0 being the active one, and what making the AK takes: it is a primary
 * key of the endorsement hierarchy, so that hierarchy's authorization is needed whenever there is
 * one. */
static enum lct_code prepare(struct prover *prover, struct lct_tool *tool, const char *id,
                             unsigned generation, struct lct_err *err)
{
    bool takes = false;
    enum lct_code code =
        lct_store_get_key(&tool->store, tool->crypto, id, generation, &prover->key, err);

    if (code == LCT_OK)
        code = lct_attest_check(prover->key, err);
    if (code == LCT_OK)
        code = lct_tool_owner_auth(&prover->owner_auth, tool, err);
    if (code == LCT_OK)
        code = lct_tpm_hierarchy_takes_auth(tool->tpm, &takes, TPM2_RH_ENDORSEMENT,
                                            prover->key->label, err);
    if (code == LCT_OK)
        code = lct_tool_endorsement_auth(&prover->endorsement_auth, tool, takes, err);
    return code;
}

/* The key that was offered; one that is not there any more is told from the active one. */
static enum lct_code prepare_offered(struct prover *prover, struct lct_tool *tool,
                                     const struct lct_offer *offer, struct lct_err *err)
{
    struct lct_record *record = NULL;
    unsigned number = 0;

    if (lct_store_get_record(&tool->store, offer->id, &record, NULL, NULL) == LCT_OK &&
        lct_record_generation(record, offer->generation) != NULL)
        number = offer->generation;
    free(record);
    return prepare(prover, tool, offer->id, number, err);
}

static struct lct_attest_request request_of(const struct prover *prover,
                                            const struct lct_tool *tool)
{
    return (struct lct_attest_request){
        .tpm = tool->tpm,
        .key = prover->key,
        .endorsement_auth = &prover->endorsement_auth,
        .owner_auth = &prover->owner_auth,
    };
}

static enum lct_code copy_chain(struct lct_der_chain *chain, const struct lct_certs *certs,
                                struct lct_err *err)
{
    for (; chain->num < certs->num && chain->num < LCT_MAX_CERT_CHAIN; chain->num++) {
        const struct lct_cert *cert = &certs->certs[chain->num];
        if (!lct_der_set(&chain->certs[chain->num], cert->der, cert->der_len))
            return LCT_FAIL(err, LCT_ERR_USAGE,
                            "a certificate of it is longer than the %d bytes that it may have",
                            LCT_MAX_CERT);
    }
    return LCT_OK;
}

static enum lct_code take_chain(struct lct_der_chain *chain, const struct lct_tool *tool,
                                const char *file, struct lct_err *err)
{
    struct lct_certs certs = {.num = 0};
    uint8_t *pem = NULL;
    size_t pem_len = 0;

    if (file == NULL)
        return LCT_OK;
    enum lct_code code = lct_tool_read(&pem, &pem_len, file, LCT_MAX_CERTS_FILE, err);
    if (code != LCT_OK)
        return code;
    code = lct_certs_parse(&certs, tool->crypto, pem, pem_len, err);
    if (code == LCT_OK)
        code = lct_certs_check_chain(&certs, err);
    if (code == LCT_OK)
        code = copy_chain(chain, &certs, err);
    lct_certs_clear(&certs);
    free(pem);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, lct_tool_file(file));
}

static enum lct_code offer(struct lct_tool *tool, const char *id, unsigned generation,
                           const char *ak_cert, struct lct_err *err)
{
    struct prover prover = {.key = NULL};
    struct lct_der_chain chain = {.num = 0};
    struct lct_offer *made = NULL;
    enum lct_code code = take_chain(&chain, tool, ak_cert, err);

    if (code == LCT_OK)
        code = prepare(&prover, tool, id, generation, err);
    if (code == LCT_OK) {
        const struct lct_attest_request request = request_of(&prover, tool);
        code = lct_attest_offer(&made, &request, chain.num > 0 ? &chain : NULL, err);
    }
    if (code == LCT_OK)
        code = lct_tool_print_json(lct_offer_json(made), err);
    lct_offer_free(made);
    lct_der_chain_clear(&chain);
    release(&prover);
    return code;
}

enum lct_code lct_attest_offer_run(struct lct_tool *tool, int argc, char **argv,
                                   struct lct_err *err)
{
    const char *ak_cert = NULL, *id = NULL, *generation = NULL;
    const struct lct_option options[] = {{"ak-cert", &ak_cert, NULL},
                                         {"generation", &generation, NULL}};
    unsigned number = 0;
    enum lct_code code = lct_tool_begin(tool, argc, argv, options, 2, &id, err);

    if (code == LCT_OK)
        code = lct_tool_generation(&number, generation, err);
    return code == LCT_OK ? offer(tool, id, number, ak_cert, err) : code;
}

/* What the command line says of an answer. */
struct asked {
    const char *challenge, *eventlog;
};

static enum lct_code read_challenge(void *challenge, OSSL_LIB_CTX *libctx, const json_t *document,
                                    struct lct_err *err)
{
    return lct_challenge_read(challenge, libctx, document, err);
}

/* Another file that is named by mistake is not sent to somebody. */
static enum lct_code check_eventlog(const uint8_t *log, size_t log_len, const char *file,
                                    struct lct_err *err)
{
    struct lct_eventlog reading;

    if (lct_eventlog_begin(&reading, log, log_len, NULL) == LCT_OK)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE,
                    "%s: it is no event log as TPM 2.0 has it, which begins with a Spec ID event; "
                    "it is not sent",
                    lct_tool_file(file));
}

/* One that is asked for has to be there; the kernel's is sent where it can be read. */
static enum lct_code read_eventlog(uint8_t **log, size_t *log_len,
                                   const struct lct_challenge *challenge, const char *file,
                                   struct lct_err *err)
{
    if (challenge->pcrs.num_banks == 0 || (file != NULL && strcmp(file, "none") == 0))
        return LCT_OK;
    if (file != NULL) {
        enum lct_code code = lct_tool_read(log, log_len, file, LCT_EVENTLOG_MAX_LEN, err);
        return code == LCT_OK ? check_eventlog(*log, *log_len, file, err) : code;
    }
    (void)lct_tool_read(log, log_len, lct_kernel_eventlog, LCT_EVENTLOG_MAX_LEN, NULL);
    return LCT_OK;
}

/* `challenge` becomes part of what is printed. */
static enum lct_code answer(struct lct_tool *tool, const struct asked *asked,
                            struct lct_challenge *challenge, struct lct_err *err)
{
    struct prover prover = {.key = NULL};
    struct lct_evidence *evidence = NULL;
    uint8_t *log = NULL;
    size_t log_len = 0;
    enum lct_code code = read_eventlog(&log, &log_len, challenge, asked->eventlog, err);

    if (code == LCT_OK)
        code = prepare_offered(&prover, tool, challenge->offer, err);
    if (code == LCT_OK)
        code = lct_tool_unlock(tool, prover.key, err);
    if (code == LCT_OK) {
        const struct lct_attest_request request = request_of(&prover, tool);
        code = lct_attest_respond(&evidence, &request, challenge, log, log_len, time(NULL), err);
    }
    if (code == LCT_OK)
        code = lct_tool_print_json(lct_evidence_json(evidence), err);
    lct_evidence_free(evidence);
    free(log);
    release(&prover);
    return code;
}

enum lct_code lct_attest_respond_run(struct lct_tool *tool, int argc, char **argv,
                                     struct lct_err *err)
{
    struct asked asked = {.challenge = NULL};
    const struct lct_option options[] = {{"eventlog", &asked.eventlog, NULL}};
    struct lct_challenge challenge = {.direct = false};
    OSSL_LIB_CTX *libctx = NULL;
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, 1, 1, 1, &operands, &num_operands, err);

    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    if (code == LCT_OK) {
        asked.challenge = operands[0];
        libctx = lct_crypto_get(tool->crypto, err);
        code = libctx != NULL ? LCT_OK : LCT_ERR_INTERNAL;
    }
    if (code == LCT_OK)
        code = lct_tool_document_into(&challenge, libctx, asked.challenge, LCT_MAX_EVIDENCE,
                                      read_challenge, err);
    if (code == LCT_OK)
        code = answer(tool, &asked, &challenge, err);
    lct_challenge_clear(&challenge);
    return code;
}
