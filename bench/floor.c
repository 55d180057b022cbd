/* SPDX-License-Identifier: Apache-2.0 */
#include "floor.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_sys.h>
#include <tss2/tss2_tctildr.h>

enum { MAX_MESSAGE = 4096, MAX_COMMANDS = 4, DIGEST = SHA256_DIGEST_LENGTH, MAX_SIGNATURE = 128 };

static const TPM2_HANDLE storage_root_key = 0x81000001;

static const char password[] = "floor";

/* A command as bytes. */
struct command {
    size_t len;
    uint8_t bytes[MAX_MESSAGE];
};

struct floor {
    TSS2_TCTI_CONTEXT *tcti;
    TSS2_SYS_CONTEXT *sys;
    enum floor_kind kind;
    TPM2_HANDLE key, session; /* 0: none */
    TPM2B_NAME name;
    TPM2B_NONCE nonce_tpm;
    TPM2B_PUBLIC public_area; /* of the key that FLOOR_SHORT loads */
    TPM2B_PRIVATE private_area;
    EVP_PKEY_CTX *verifying; /* of FLOOR_VERIFIED, with some signature of some digest */
    size_t signature_len;
    uint8_t signature[MAX_SIGNATURE], digest[DIGEST];
    size_t num_commands;
    struct command commands[MAX_COMMANDS];
};

static void check(const char *what, TSS2_RC rc)
{
    if (rc == TSS2_RC_SUCCESS)
        return;
    (void)fprintf(stderr, "floor: %s: %s\n", what, Tss2_RC_Decode(rc));
    exit(1);
}

static void put(struct command *command, const void *bytes, size_t len)
{
    if (len > sizeof command->bytes - command->len) {
        (void)fprintf(stderr, "floor: a command is too long\n");
        exit(1);
    }
    memcpy(command->bytes + command->len, bytes, len);
    command->len += len;
}

static void put_number(struct command *command, uint64_t number, size_t len)
{
    uint8_t bytes[sizeof number] = {0};

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(number >> (8 * (len - 1 - i)));
    put(command, bytes, len);
}

static void put_sized(struct command *command, const void *bytes, size_t len)
{
    put_number(command, len, 2);
    put(command, bytes, len);
}

/* A new command of the floor; its size is set by end_command. */
static struct command *begin_command(struct floor *floor, TPM2_ST tag, TPM2_CC code)
{
    struct command *command = &floor->commands[floor->num_commands++];

    command->len = 0;
    put_number(command, tag, 2);
    put_number(command, 0, 4);
    put_number(command, code, 4);
    return command;
}

static void end_command(struct command *command)
{
    struct command size = {0};

    put_number(&size, command->len, 4);
    memcpy(command->bytes + 2, size.bytes, size.len);
}

/* The authorization area of one session whose HMAC is `hmac_len` bytes, left zero: TPM 2.0 Part 1,
 * 18.6. */
static void put_session(struct command *command, TPM2_HANDLE session, size_t nonce_len,
                        size_t hmac_len)
{
    static const uint8_t zeros[DIGEST];

    put_number(command, 4 + 2 + nonce_len + 1 + 2 + hmac_len, 4);
    put_number(command, session, 4);
    put_sized(command, zeros, nonce_len);
    put_number(command, TPMA_SESSION_CONTINUESESSION, 1);
    put_sized(command, zeros, hmac_len);
}

/* TPM2_Sign of a digest (TPM 2.0 Part 3, 20.2), up to its authorization and from there on. */
static void put_sign_parameters(struct command *command)
{
    static const uint8_t digest[DIGEST] = {1};

    put_sized(command, digest, sizeof digest);
    put_number(command, TPM2_ALG_ECDSA, 2);
    put_number(command, TPM2_ALG_SHA256, 2);
    put_number(command, TPM2_ST_HASHCHECK, 2);
    put_number(command, TPM2_RH_NULL, 4);
    put_number(command, 0, 2);
}

static void make_sign(struct floor *floor, TPM2_HANDLE session, size_t nonce_len, size_t hmac_len)
{
    struct command *command = begin_command(floor, TPM2_ST_SESSIONS, TPM2_CC_Sign);

    put_number(command, floor->key, 4);
    put_session(command, session, nonce_len, hmac_len);
    put_sign_parameters(command);
    end_command(command);
}

/* Sends a command and returns its response's length; what the TPM refuses ends the program. */
static size_t exchange(struct floor *floor, const struct command *command,
                       uint8_t response[MAX_MESSAGE])
{
    enum { HEADER = 10 };
    size_t len = MAX_MESSAGE;

    check("sending", Tss2_Tcti_Transmit(floor->tcti, command->len, command->bytes));
    check("receiving", Tss2_Tcti_Receive(floor->tcti, &len, response, TSS2_TCTI_TIMEOUT_BLOCK));
    if (len < HEADER)
        check("a response", TSS2_TCTI_RC_MALFORMED_RESPONSE);
    check("a command", (TSS2_RC)response[6] << 24 | (TSS2_RC)response[7] << 16 |
                           (TSS2_RC)response[8] << 8 | response[9]);
    return len;
}

static const TSS2L_SYS_AUTH_COMMAND no_auth = {.count = 1,
                                               .auths = {{.sessionHandle = TPM2_RS_PW}}};

static TPM2B_PUBLIC template_of(const TPM2B_DIGEST *policy, bool rsa)
{
    TPM2B_PUBLIC in = {0};
    TPMT_PUBLIC *area = &in.publicArea;

    area->type = rsa ? TPM2_ALG_RSA : TPM2_ALG_ECC;
    area->nameAlg = TPM2_ALG_SHA256;
    area->objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                             TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_SIGN_ENCRYPT |
                             TPMA_OBJECT_NODA | (policy->size == 0 ? TPMA_OBJECT_USERWITHAUTH : 0);
    area->authPolicy = *policy;
    if (rsa) {
        area->parameters.rsaDetail = (TPMS_RSA_PARMS){
            .symmetric.algorithm = TPM2_ALG_NULL, .scheme.scheme = TPM2_ALG_NULL, .keyBits = 2048};
    } else {
        area->parameters.eccDetail = (TPMS_ECC_PARMS){.symmetric.algorithm = TPM2_ALG_NULL,
                                                      .scheme.scheme = TPM2_ALG_NULL,
                                                      .curveID = TPM2_ECC_NIST_P256,
                                                      .kdf.scheme = TPM2_ALG_NULL};
    }
    return in;
}

/* The signing key, a primary one, with an authorization value or a policy. */
static void make_key(struct floor *floor, const char *auth, const TPM2B_DIGEST *policy)
{
    TPM2B_SENSITIVE_CREATE sensitive = {0};
    const TPM2B_PUBLIC in = template_of(policy, false);
    const TPM2B_DATA outside = {0};
    const TPML_PCR_SELECTION pcrs = {0};
    TPM2B_PUBLIC out = {0};
    TPM2B_CREATION_DATA data = {0};
    TPM2B_DIGEST hash = {0};
    TPMT_TK_CREATION ticket = {0};

    sensitive.sensitive.userAuth.size = (UINT16)strlen(auth);
    memcpy(sensitive.sensitive.userAuth.buffer, auth, strlen(auth));
    check("making a key", Tss2_Sys_CreatePrimary(floor->sys, TPM2_RH_OWNER, &no_auth, &sensitive,
                                                 &in, &outside, &pcrs, &floor->key, &out, &data,
                                                 &hash, &ticket, &floor->name, NULL));
}

static void start_session(struct floor *floor, TPM2_SE type)
{
    const TPM2B_NONCE nonce = {.size = DIGEST};
    const TPM2B_ENCRYPTED_SECRET salt = {0};
    const TPMT_SYM_DEF symmetric = {.algorithm = TPM2_ALG_NULL};

    check("starting a session",
          Tss2_Sys_StartAuthSession(floor->sys, TPM2_RH_NULL, TPM2_RH_NULL, NULL, &nonce, &salt,
                                    type, &symmetric, TPM2_ALG_SHA256, &floor->session,
                                    &floor->nonce_tpm, NULL));
}

static void end_session(struct floor *floor)
{
    if (floor->session != 0)
        check("ending a session", Tss2_Sys_FlushContext(floor->sys, floor->session));
    floor->session = 0;
}

static const TPML_PCR_SELECTION boot_state = {
    .count = 1, .pcrSelections = {{TPM2_ALG_SHA256, 3, {0x80}}}}; /* PCR 7 */

static TPM2B_DIGEST say_pcrs(const struct floor *floor)
{
    const TPM2B_DIGEST any = {0};
    TPM2B_DIGEST digest = {0};

    check("TPM2_PolicyPCR",
          Tss2_Sys_PolicyPCR(floor->sys, floor->session, NULL, &any, &boot_state, NULL));
    check("TPM2_PolicyGetDigest",
          Tss2_Sys_PolicyGetDigest(floor->sys, floor->session, NULL, &digest, NULL));
    return digest;
}

/* An approval of the boot state by an authority that is in the TPM: the Name of its key, and the
 * ticket that its signature is good. */
static TPMT_TK_VERIFIED approve(struct floor *floor, TPM2B_NAME *authority,
                                const TPM2B_DIGEST *approved)
{
    TPMT_SIG_SCHEME scheme = {0};
    const TPMT_TK_HASHCHECK none = {.tag = TPM2_ST_HASHCHECK, .hierarchy = TPM2_RH_NULL};
    const TPM2B_DIGEST no_policy = {0};
    TPM2B_DIGEST to_sign = {.size = DIGEST};
    TPMT_SIGNATURE signature = {0};
    TPMT_TK_VERIFIED ticket = {0};

    scheme.scheme = TPM2_ALG_ECDSA;
    scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
    (void)SHA256(approved->buffer, approved->size, to_sign.buffer);
    make_key(floor, "", &no_policy);
    *authority = floor->name;
    check("signing an approval", Tss2_Sys_Sign(floor->sys, floor->key, &no_auth, &to_sign, &scheme,
                                               &none, &signature, NULL));
    check("TPM2_VerifySignature", Tss2_Sys_VerifySignature(floor->sys, floor->key, NULL, &to_sign,
                                                           &signature, &ticket, NULL));
    check("flushing the authority", Tss2_Sys_FlushContext(floor->sys, floor->key));
    floor->key = 0;
    return ticket;
}

static void make_policy_pcr(struct floor *floor)
{
    struct command *command = begin_command(floor, TPM2_ST_NO_SESSIONS, TPM2_CC_PolicyPCR);

    put_number(command, floor->session, 4);
    put_number(command, 0, 2);
    size_t at = command->len;
    check("a PCR selection", Tss2_MU_TPML_PCR_SELECTION_Marshal(&boot_state, command->bytes,
                                                                sizeof command->bytes, &at));
    command->len = at;
    end_command(command);
}

static void make_policy_authorize(struct floor *floor, const TPM2B_DIGEST *approved,
                                  const TPM2B_NAME *authority, const TPMT_TK_VERIFIED *ticket)
{
    struct command *command = begin_command(floor, TPM2_ST_NO_SESSIONS, TPM2_CC_PolicyAuthorize);

    put_number(command, floor->session, 4);
    put_sized(command, approved->buffer, approved->size);
    put_number(command, 0, 2);
    put_sized(command, authority->name, authority->size);
    put_number(command, ticket->tag, 2);
    put_number(command, ticket->hierarchy, 4);
    put_sized(command, ticket->digest.buffer, ticket->digest.size);
    end_command(command);
}

static void make_policy_or(struct floor *floor, const TPML_DIGEST *branches)
{
    struct command *command = begin_command(floor, TPM2_ST_NO_SESSIONS, TPM2_CC_PolicyOR);

    put_number(command, floor->session, 4);
    put_number(command, branches->count, 4);
    for (size_t i = 0; i < branches->count; i++)
        put_sized(command, branches->digests[i].buffer, branches->digests[i].size);
    end_command(command);
}

/* A key of two branches: the boot state as it is, and one that an authority has approved. */
static void prepare_sealed(struct floor *floor, bool approved)
{
    TPML_DIGEST branches = {.count = 2, .digests = {{.size = DIGEST}, {.size = DIGEST}}};
    TPM2B_NAME authority = {0};
    TPMT_TK_VERIFIED ticket = {0};
    const TPM2B_NONCE no_ref = {0};
    TPM2B_DIGEST policy = {0};

    start_session(floor, TPM2_SE_TRIAL);
    const TPM2B_DIGEST state = say_pcrs(floor);
    branches.digests[approved ? 1 : 0] = state;
    if (approved) {
        ticket = approve(floor, &authority, &state);
        check("TPM2_PolicyAuthorize",
              Tss2_Sys_PolicyAuthorize(floor->sys, floor->session, NULL, &state, &no_ref,
                                       &authority, &ticket, NULL));
        check("TPM2_PolicyGetDigest", Tss2_Sys_PolicyGetDigest(floor->sys, floor->session, NULL,
                                                               &branches.digests[1], NULL));
    }
    check("TPM2_PolicyOR", Tss2_Sys_PolicyOR(floor->sys, floor->session, NULL, &branches, NULL));
    check("TPM2_PolicyGetDigest",
          Tss2_Sys_PolicyGetDigest(floor->sys, floor->session, NULL, &policy, NULL));
    end_session(floor);
    make_key(floor, "", &policy);
    start_session(floor, TPM2_SE_POLICY);
    make_policy_pcr(floor);
    if (approved)
        make_policy_authorize(floor, &state, &authority, &ticket);
    make_policy_or(floor, &branches);
    make_sign(floor, floor->session, DIGEST, 0);
}

/* TPM2_Create under the storage root key; its answer is kept for TPM2_Load. */
static void make_create(struct floor *floor, bool rsa)
{
    const TPM2B_DIGEST no_policy = {0};
    const TPM2B_PUBLIC in = template_of(&no_policy, rsa);
    struct command *command = begin_command(floor, TPM2_ST_SESSIONS, TPM2_CC_Create);

    put_number(command, storage_root_key, 4);
    put_session(command, TPM2_RS_PW, 0, 0);
    put_number(command, 4, 2); /* TPM2B_SENSITIVE_CREATE without value and data */
    put_number(command, 0, 4);
    size_t at = command->len;
    check("a template",
          Tss2_MU_TPM2B_PUBLIC_Marshal(&in, command->bytes, sizeof command->bytes, &at));
    command->len = at;
    put_number(command, 0, 2 + 4); /* outsideInfo and creationPCR */
    end_command(command);
}

static void make_load(struct floor *floor)
{
    struct command *command = begin_command(floor, TPM2_ST_SESSIONS, TPM2_CC_Load);

    put_number(command, storage_root_key, 4);
    put_session(command, TPM2_RS_PW, 0, 0);
    put_sized(command, floor->private_area.buffer, floor->private_area.size);
    size_t at = command->len;
    check("a public area", Tss2_MU_TPM2B_PUBLIC_Marshal(&floor->public_area, command->bytes,
                                                        sizeof command->bytes, &at));
    command->len = at;
    end_command(command);
}

/* Load, Sign and FlushContext, of which the latter two wait for their handle. */
static void prepare_short(struct floor *floor)
{
    uint8_t response[MAX_MESSAGE];
    size_t at = 10 + 4;

    make_create(floor, false);
    size_t len = exchange(floor, &floor->commands[0], response);
    check("a response", Tss2_MU_TPM2B_PRIVATE_Unmarshal(response, len, &at, &floor->private_area));
    check("a response", Tss2_MU_TPM2B_PUBLIC_Unmarshal(response, len, &at, &floor->public_area));
    floor->num_commands = 0;
    make_load(floor);
    make_sign(floor, TPM2_RS_PW, 0, 0);
    struct command *flush = begin_command(floor, TPM2_ST_NO_SESSIONS, TPM2_CC_FlushContext);
    put_number(flush, 0, 4);
    end_command(flush);
}

static void operate_short(struct floor *floor)
{
    enum { HANDLE = 10 };
    uint8_t response[MAX_MESSAGE];

    (void)exchange(floor, &floor->commands[0], response);
    memcpy(floor->commands[1].bytes + HANDLE, response + HANDLE, 4);
    memcpy(floor->commands[2].bytes + HANDLE, response + HANDLE, 4);
    (void)exchange(floor, &floor->commands[1], response);
    (void)exchange(floor, &floor->commands[2], response);
}

/* HMAC of what was hashed, the newer nonce, the older one and the attributes, under the
 * authorization value: the session has no key of its own (TPM 2.0 Part 1, 19.6.5). */
static void make_hmac(uint8_t hmac[DIGEST], const uint8_t *hash, const uint8_t *newer,
                      const uint8_t *older)
{
    uint8_t bytes[3 * DIGEST + 1];

    memcpy(bytes, hash, DIGEST);
    memcpy(bytes + DIGEST, newer, DIGEST);
    memcpy(bytes + 2 * (size_t)DIGEST, older, DIGEST);
    bytes[sizeof bytes - 1] = TPMA_SESSION_CONTINUESESSION;
    (void)HMAC(EVP_sha256(), password, (int)strlen(password), bytes, sizeof bytes, hmac, NULL);
}

/* Where the parts of TPM2_Sign in an HMAC session are: command and response. */
enum {
    NONCE = 10 + 4 + 4 + 4 + 2,
    COMMAND_HMAC = NONCE + DIGEST + 1 + 2,
    PARAMETERS = COMMAND_HMAC + DIGEST,
    TAIL = 2 + DIGEST + 1 + 2 + DIGEST
};

static void operate_hmac(struct floor *floor)
{
    struct command *command = &floor->commands[0];
    uint8_t response[MAX_MESSAGE], bytes[MAX_MESSAGE], hash[DIGEST], hmac[DIGEST];
    uint8_t *nonce = command->bytes + NONCE;
    size_t len = 4 + floor->name.size, params_len = command->len - PARAMETERS;

    for (size_t i = 0; i < DIGEST && ++nonce[i] == 0; i++)
        ;
    memcpy(bytes, command->bytes + 6, 4);
    memcpy(bytes + 4, floor->name.name, floor->name.size);
    memcpy(bytes + len, command->bytes + PARAMETERS, params_len);
    (void)SHA256(bytes, len + params_len, hash);
    make_hmac(command->bytes + COMMAND_HMAC, hash, nonce, floor->nonce_tpm.buffer);
    len = exchange(floor, command, response);
    memcpy(bytes, response + 6, 4);
    memcpy(bytes + 4, command->bytes + 6, 4);
    params_len = len - 10 - 4 - TAIL;
    memcpy(bytes + 8, response + 10 + 4, params_len);
    (void)SHA256(bytes, 8 + params_len, hash);
    make_hmac(hmac, hash, response + len - TAIL + 2, nonce);
    if (memcmp(hmac, response + len - DIGEST, DIGEST) != 0)
        check("a response's HMAC", TSS2_TCTI_RC_MALFORMED_RESPONSE);
    memcpy(floor->nonce_tpm.buffer, response + len - TAIL + 2, DIGEST);
}

/* Any key of the kind will do: it takes as long as the one that is in the TPM. */
static void prepare_verifying(struct floor *floor)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, "provider=default", "EC", "P-256");
    EVP_PKEY_CTX *signing = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, "provider=default");

    floor->verifying = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, "provider=default");
    floor->signature_len = sizeof floor->signature;
    if (EVP_PKEY_sign_init(signing) != 1 ||
        EVP_PKEY_sign(signing, floor->signature, &floor->signature_len, floor->digest,
                      sizeof floor->digest) != 1 ||
        EVP_PKEY_verify_init(floor->verifying) != 1)
        check("libcrypto", TSS2_BASE_RC_GENERAL_FAILURE);
    EVP_PKEY_CTX_free(signing);
    EVP_PKEY_free(pkey);
}

static void prepare(struct floor *floor)
{
    const TPM2B_DIGEST no_policy = {0};

    switch (floor->kind) {
    case FLOOR_VERIFIED:
        prepare_verifying(floor);
        /* fall through */
    case FLOOR_SIGN:
        make_key(floor, "", &no_policy);
        make_sign(floor, TPM2_RS_PW, 0, 0);
        break;
    case FLOOR_HMAC:
        make_key(floor, password, &no_policy);
        start_session(floor, TPM2_SE_HMAC);
        make_sign(floor, floor->session, DIGEST, DIGEST);
        break;
    case FLOOR_LITERAL:
    case FLOOR_APPROVED:
        prepare_sealed(floor, floor->kind == FLOOR_APPROVED);
        break;
    case FLOOR_SHORT:
        prepare_short(floor);
        break;
    case FLOOR_CREATE:
    case FLOOR_CREATE_RSA:
        make_create(floor, floor->kind == FLOOR_CREATE_RSA);
        break;
    }
}

struct floor *floor_open(const char *tcti, enum floor_kind kind)
{
    struct floor *floor = calloc(1, sizeof *floor);
    size_t size = Tss2_Sys_GetContextSize(MAX_MESSAGE);

    if (floor != NULL)
        floor->sys = calloc(1, size);
    if (floor == NULL || floor->sys == NULL) {
        (void)fprintf(stderr, "floor: out of memory\n");
        exit(1);
    }
    floor->kind = kind;
    check(tcti, Tss2_TctiLdr_Initialize(tcti, &floor->tcti));
    check("a context", Tss2_Sys_Initialize(floor->sys, size, floor->tcti, NULL));
    prepare(floor);
    return floor;
}

void floor_operate(struct floor *floor)
{
    uint8_t response[MAX_MESSAGE];

    if (floor->kind == FLOOR_HMAC) {
        operate_hmac(floor);
        return;
    }
    if (floor->kind == FLOOR_SHORT) {
        operate_short(floor);
        return;
    }
    for (size_t i = 0; i < floor->num_commands; i++)
        (void)exchange(floor, &floor->commands[i], response);
    if (floor->verifying != NULL &&
        EVP_PKEY_verify(floor->verifying, floor->signature, floor->signature_len, floor->digest,
                        sizeof floor->digest) != 1)
        check("verifying", TSS2_BASE_RC_GENERAL_FAILURE);
}

void floor_close(struct floor *floor)
{
    end_session(floor);
    if (floor->key != 0)
        check("flushing the key", Tss2_Sys_FlushContext(floor->sys, floor->key));
    Tss2_Sys_Finalize(floor->sys);
    Tss2_TctiLdr_Finalize(&floor->tcti);
    EVP_PKEY_CTX_free(floor->verifying);
    free(floor->sys);
    free(floor);
}
