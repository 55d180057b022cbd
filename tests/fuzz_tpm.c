/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole responses of a TPM, through the channel and everything above it. An input is a byte that
 * says what is asked of the TPM (a row of `works`), a byte of flags, and then one response after
 * the other, each behind its length in two bytes; when there is none left the connection is broken.
 *
 * With LCT_FUZZ_RECORD, a file, and LCT_FUZZ_TCTI the responses are a real TPM's, and such an input
 * is written to the file. What is signed and unsealed with is in the directory LCT_FUZZ_THINGS: the
 * store "store", and the sealed secret "secret".
 */
#include "tests/fuzz.h"

#include "store/key.h"
#include "store/sealed.h"
#include "store/store.h"
#include "tcg/credential.h"
#include "tcg/duplicate.h"
#include "tcg/session.h"
#include "tpm/attest.h"
#include "tpm/ek.h"
#include "tpm/hierarchy.h"
#include "tpm/persist.h"
#include "tpm/probe.h"
#include "tpm/wire.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    PRIVATE = 1, /* a resource manager's: what is loaded goes with the connection */
    BELIEVE = 2, /* HMACs are right: the TPM has the session's key, and is hostile all the same */
    AS_IS = 4,   /* what a response says its size is is left as it is */
    ALWAYS = 8,  /* session = always */
    KEEPS = 16,  /* tpm2-abrmd's: sessions are kept as well */
};
enum { MAX_RESPONSE = 4096, MAX_REPEATS = 2 };

static const char label[] = "lct:fuzz";
static const char passphrase[] = "the passphrase of a key\n";
static const uint8_t digest[32] = "what is signed, in 32 bytes";

static struct {
    const uint8_t *bytes;
    size_t len, at;
    unsigned flags;
    unsigned repeats; /* of the last command: waiting longer each time is not what is tested */
    size_t command_len;
    uint8_t command[MAX_RESPONSE];
    struct lct_wire *real;
    FILE *record;
} script;

enum lct_code __real_lct_wire_open(struct lct_wire **wire, const char *tcti,
                                   const struct lct_deadline *deadline, struct lct_err *err);
enum lct_code __wrap_lct_wire_open(struct lct_wire **wire, const char *tcti,
                                   const struct lct_deadline *deadline, struct lct_err *err);
enum lct_code __real_lct_session_verify(struct lct_session_keys *keys, OSSL_LIB_CTX *libctx,
                                        const struct lct_secret *auth,
                                        const uint8_t rp_hash[LCT_SESSION_DIGEST],
                                        const struct lct_session_answer *answer,
                                        struct lct_err *err);
enum lct_code __wrap_lct_session_verify(struct lct_session_keys *keys, OSSL_LIB_CTX *libctx,
                                        const struct lct_secret *auth,
                                        const uint8_t rp_hash[LCT_SESSION_DIGEST],
                                        const struct lct_session_answer *answer,
                                        struct lct_err *err);
int __wrap_RAND_bytes_ex(OSSL_LIB_CTX *libctx, unsigned char *bytes, size_t len, unsigned strength);
int __wrap_RAND_priv_bytes_ex(OSSL_LIB_CTX *libctx, unsigned char *bytes, size_t len,
                              unsigned strength);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t len, size_t room);

/* What we draw ourselves is the same each time, so that what it leads to in the TPM is. */
int __wrap_RAND_bytes_ex(OSSL_LIB_CTX *libctx, unsigned char *bytes, size_t len, unsigned strength)
{
    (void)libctx;
    (void)strength;
    memset(bytes, 0x5a, len);
    return 1;
}

int __wrap_RAND_priv_bytes_ex(OSSL_LIB_CTX *libctx, unsigned char *bytes, size_t len,
                              unsigned strength)
{
    return __wrap_RAND_bytes_ex(libctx, bytes, len, strength);
}

static enum lct_code script_send(struct lct_wire *wire, const uint8_t *command, size_t command_len,
                                 const struct lct_deadline *deadline, struct lct_err *err)
{
    bool same = command_len == script.command_len && command_len <= sizeof script.command &&
                memcmp(command, script.command, command_len) == 0;

    (void)wire;
    if (script.real != NULL)
        return script.real->send(script.real, command, command_len, deadline, err);
    script.repeats = same ? script.repeats + 1 : 0;
    if (command_len > sizeof script.command)
        abort();
    memcpy(script.command, command, command_len);
    script.command_len = command_len;
    if (script.repeats > MAX_REPEATS || script.len - script.at < 2)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "the script is over");
    return LCT_OK;
}

static void put_size(uint8_t *response, size_t len)
{
    for (size_t i = 0; i < 4; i++)
        response[2 + i] = (uint8_t)(len >> (24 - 8 * i));
}

static enum lct_code record(const uint8_t *response, size_t len)
{
    const uint8_t before[2] = {(uint8_t)(len >> 8), (uint8_t)len};

    if (fwrite(before, 1, sizeof before, script.record) != sizeof before ||
        fwrite(response, 1, len, script.record) != len)
        abort();
    return LCT_OK;
}

static enum lct_code script_receive(struct lct_wire *wire, uint8_t *response, size_t *response_len,
                                    size_t capacity, const struct lct_deadline *deadline,
                                    struct lct_err *err)
{
    (void)wire;
    if (script.real != NULL) {
        enum lct_code code =
            script.real->receive(script.real, response, response_len, capacity, deadline, err);
        return code == LCT_OK ? record(response, *response_len) : code;
    }
    if (script.len - script.at < 2)
        return LCT_FAIL(err, LCT_ERR_TIMEOUT, "the script is over");
    size_t len = (size_t)script.bytes[script.at] << 8 | script.bytes[script.at + 1];
    script.at += 2;
    if (len > script.len - script.at)
        len = script.len - script.at;
    if (len > capacity)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "that is too long");
    memcpy(response, script.bytes + script.at, len);
    script.at += len;
    *response_len = len;
    if (len >= 6 && (script.flags & AS_IS) == 0)
        put_size(response, len);
    return LCT_OK;
}

static enum lct_code script_settle(struct lct_wire *wire, const struct lct_deadline *deadline,
                                   struct lct_err *err)
{
    (void)wire;
    if (script.real != NULL && script.real->settle != NULL)
        return script.real->settle(script.real, deadline, err);
    return LCT_OK;
}

static void script_close(struct lct_wire *wire)
{
    if (script.real != NULL)
        script.real->close(script.real);
    script.real = NULL;
    free(wire);
}

static bool script_abandon(struct lct_wire *wire)
{
    free(wire);
    return true;
}

/* In place of a way in: the script. The linker puts it there. */
enum lct_code __wrap_lct_wire_open(struct lct_wire **wire, const char *tcti,
                                   const struct lct_deadline *deadline, struct lct_err *err)
{
    enum lct_code code =
        script.record != NULL ? __real_lct_wire_open(&script.real, tcti, deadline, err) : LCT_OK;

    if (code != LCT_OK)
        return code;
    *wire = calloc(1, sizeof **wire);
    if (*wire == NULL)
        abort();
    **wire = (struct lct_wire){.private_handles = (script.flags & (PRIVATE | KEEPS)) != 0,
                               .keeps_sessions = (script.flags & KEEPS) != 0,
                               .send = script_send,
                               .receive = script_receive,
                               .settle = script_settle,
                               .close = script_close,
                               .abandon = script_abandon};
    return LCT_OK;
}

enum lct_code __wrap_lct_session_verify(struct lct_session_keys *keys, OSSL_LIB_CTX *libctx,
                                        const struct lct_secret *auth,
                                        const uint8_t rp_hash[LCT_SESSION_DIGEST],
                                        const struct lct_session_answer *answer,
                                        struct lct_err *err)
{
    if ((script.flags & BELIEVE) == 0 || script.record != NULL ||
        answer->nonce_tpm_len != LCT_SESSION_DIGEST || answer->hmac_len != LCT_SESSION_DIGEST)
        return __real_lct_session_verify(keys, libctx, auth, rp_hash, answer, err);
    memcpy(keys->nonce_tpm, answer->nonce_tpm, sizeof keys->nonce_tpm);
    return LCT_OK;
}

/* What is used in the TPM. */
enum { PLAIN, SEALED, APPROVED, GUARDED, PLACED, NUM_KEYS };
static const char *const ids[NUM_KEYS] = {"plain", "sealed", "approved", "guarded", "placed"};

static const char *thing(const char *name)
{
    static char path[512];
    const char *directory = getenv("LCT_FUZZ_THINGS");

    if (directory == NULL) {
        (void)fprintf(stderr, "LCT_FUZZ_THINGS is not set\n");
        exit(2);
    }
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void need(enum lct_code code, const struct lct_err *err)
{
    if (code == LCT_OK)
        return;
    (void)fprintf(stderr, "%s\n", err->text);
    exit(2);
}

static const struct lct_store *store(void)
{
    static struct lct_store opened;
    const struct lct_config config = {.store = (char *)(uintptr_t)thing("store")};
    struct lct_err err;

    if (opened.num_dirs == 0)
        need(lct_store_open(&opened, &config, &err), &err);
    return &opened;
}

static void give_passphrase(struct lct_key *key)
{
    struct lct_err err;

    if (lct_key_is_locked(key))
        need(lct_secret_take(&key->passphrase, label, (const uint8_t *)passphrase,
                             strlen(passphrase), &err),
             &err);
}

/* As it is before it is used for the first time. */
static const struct lct_key *key_of(unsigned number)
{
    static char none[] = "none";
    static struct lct_key *keys[NUM_KEYS];
    const struct lct_config config = {.pcr_signature = none};
    struct lct_key *key = keys[number];
    struct lct_err err;

    if (key == NULL) {
        need(lct_store_get_key(store(), fuzz_crypto(), ids[number], 0, &key, &err), &err);
        need(lct_key_unlock(key, &config, &err), &err);
        give_passphrase(key);
        keys[number] = key;
    }
    if (key->tries != NULL) {
        atomic_store(&key->tries->proven, false);
        atomic_store(&key->tries->refused, false);
    }
    return key;
}

/* Twice: the second time the key is loaded. Nothing but a signature of the key's comes out. */
static void sign(struct lct_tpm *tpm, unsigned number)
{
    const struct lct_key *key = key_of(number);
    struct lct_signature signature;
    struct lct_scheme scheme;
    struct lct_err err;

    need(lct_key_default_scheme(&scheme, key, &err), &err);
    for (int i = 0; i < 2; i++)
        if (lct_key_sign(key, tpm, &signature, &scheme, digest, sizeof digest, &err) == LCT_OK &&
            lct_signature_verify(&signature, key->pkey, fuzz_libctx(), &scheme, digest,
                                 sizeof digest, NULL) != LCT_OK)
            abort();
}

static void sign_plain(struct lct_tpm *tpm)
{
    sign(tpm, PLAIN);
}

static void sign_sealed(struct lct_tpm *tpm)
{
    sign(tpm, SEALED);
}

static void sign_approved(struct lct_tpm *tpm)
{
    sign(tpm, APPROVED);
}

static void sign_guarded(struct lct_tpm *tpm)
{
    sign(tpm, GUARDED);
}

/* At a persistent handle as well. */
static void sign_placed(struct lct_tpm *tpm)
{
    sign(tpm, PLACED);
}

static void unseal(struct lct_tpm *tpm)
{
    static char none[] = "none";
    static uint8_t text[8192], *data;
    static size_t len, data_len;
    const struct lct_config config = {.pcr_signature = none};
    struct lct_key *key = NULL;
    struct lct_err err;
    FILE *file = len == 0 ? fopen(thing("secret"), "r") : NULL;

    if (file != NULL) {
        len = fread(text, 1, sizeof text, file);
        (void)fclose(file);
    }
    need(lct_sealed_read(&key, fuzz_crypto(), store(), &config, "secret", text, len, &err), &err);
    if (lct_sealed_open(&data, &data_len, key, tpm, text, len, &err) == LCT_OK)
        free(data);
    lct_key_free(key);
}

/* Also what an object is that may be anything, and what the TPM has of it. */
static void inspect(struct lct_tpm *tpm)
{
    struct lct_generation generation;
    const struct lct_tpm_key key = lct_key_values(key_of(PLAIN), &generation);
    struct lct_public reported;
    struct lct_name name;
    uint8_t public_area[LCT_MAX_BLOB];
    size_t public_len;

    (void)lct_tpm_inspect(tpm, &reported, &name, &key, NULL);
    (void)lct_tpm_read_public(tpm, public_area, &public_len, lct_srk_handle, label, NULL);
}

static void create(struct lct_tpm *tpm)
{
    struct lct_tpm_created created;
    const struct lct_secret auth = {.len = 4, .data = "auth"};
    struct lct_tpm_template from = {.label = label,
                                    .algorithm = key_of(PLAIN)->algorithm,
                                    .provision = true,
                                    .libctx = fuzz_libctx()};

    (void)lct_tpm_create(tpm, &created, &from, NULL);
    from.auth = &auth;
    (void)lct_tpm_create(tpm, &created, &from, NULL);
    from.algorithm = NULL;
    from.policy = digest;
    from.data = digest;
    from.data_len = sizeof digest;
    (void)lct_tpm_create(tpm, &created, &from, NULL);
}

static void take_in(struct lct_tpm *tpm)
{
    static EVP_PKEY *pkey;
    struct lct_tpm_parent parent = {0};
    struct lct_tpm_created created;
    struct lct_duplicate duplicate;
    const struct lct_tpm_parent_request request = {.label = label, .libctx = fuzz_libctx()};

    if (pkey == NULL)
        pkey = EVP_PKEY_Q_keygen(fuzz_libctx(), NULL, "EC", "P-256");
    if (lct_tpm_find_parent(tpm, &parent, &request, NULL) != LCT_OK ||
        lct_duplicate_make(&duplicate, fuzz_libctx(), pkey, NULL, &parent.public_area, NULL) !=
            LCT_OK)
        return;
    const struct lct_tpm_importable from = {.label = label,
                                            .parent = parent.where,
                                            .parent_name = &parent.name,
                                            .public_area = duplicate.public_area,
                                            .public_len = duplicate.public_len,
                                            .duplicate = duplicate.private_area,
                                            .duplicate_len = duplicate.private_len,
                                            .seed = duplicate.seed.data,
                                            .seed_len = duplicate.seed.len,
                                            .libctx = fuzz_libctx()};
    (void)lct_tpm_import(tpm, &created, &from, NULL);
}

static void describe(struct lct_tpm *tpm)
{
    struct lct_tpm_info info;
    struct lct_probe probe;
    const struct lct_secret secret = {.len = 4, .data = "auth"};
    bool takes;

    if (lct_tpm_describe(tpm, &info, label, NULL) == LCT_OK &&
        memchr(info.description, '\0', sizeof info.description) == NULL)
        abort();
    (void)lct_tpm_probe(tpm, &probe, fuzz_libctx(), NULL);
    (void)lct_tpm_hierarchy_takes_auth(tpm, &takes, TPM2_RH_OWNER, label, NULL);
    (void)lct_tpm_check_hierarchy(tpm, TPM2_RH_OWNER, &secret, fuzz_libctx(), NULL);
}

static void read_pcrs(struct lct_tpm *tpm)
{
    static const char spec[] = "sha256:0,1,2,3,4,5,6,7,8,9,10+sha384:7";
    struct lct_pcr_values values;
    struct lct_err err;

    need(lct_pcrs_parse(&values.pcrs, spec, strlen(spec), &err), &err);
    (void)lct_tpm_read_pcrs(tpm, &values, label, NULL);
}

static void count(struct lct_tpm *tpm)
{
    const struct lct_tpm_counter_request request = {.label = label, .libctx = fuzz_libctx()};
    struct lct_counter counter = {0};

    if (lct_tpm_counter_make(tpm, &counter, &request, NULL) != LCT_OK)
        return;
    (void)lct_tpm_counter_increment(tpm, &counter, &request, NULL);
    (void)lct_tpm_counter_read(tpm, &counter, &request, NULL);
    (void)lct_tpm_counter_remove(tpm, &counter, &request, NULL);
}

static void persist(struct lct_tpm *tpm)
{
    struct lct_generation generation;
    const struct lct_tpm_key key = lct_key_values(key_of(PLAIN), &generation);
    const struct lct_tpm_owner owner = {.label = label, .libctx = fuzz_libctx()};
    struct lct_objects objects;
    struct lct_name name;
    uint32_t handle = 0;
    bool made;

    (void)lct_tpm_persist(tpm, &handle, &made, &key, &owner, NULL);
    (void)lct_tpm_list_persistent(tpm, &objects, label, NULL);
    if (handle == 0)
        handle = lct_persist_first;
    (void)lct_tpm_name_at(tpm, &name, handle, label, NULL);
    (void)lct_tpm_evict(tpm, handle, key.name, &owner, NULL);
}

/* What the endorsement keys open: a credential for the AK, or for the key itself. */
static void attest_for(struct lct_tpm *tpm, bool direct)
{
    static const char spec[] = "sha256:7";
    static struct lct_tpm_evidence evidence;
    static struct lct_eks eks;
    struct lct_generation generation;
    const struct lct_tpm_key key = lct_key_values(key_of(PLAIN), &generation);
    const struct lct_ek_request from = {.label = label, .libctx = fuzz_libctx()};
    const struct lct_secret secret = {.len = 16, .data = "what is inside.."};
    struct lct_credential credential;
    struct lct_tpm_ak ak;
    struct lct_pcrs pcrs;
    struct lct_tpm_attest_request request = {.label = label,
                                             .key = &key,
                                             .certify_extra = digest,
                                             .certify_extra_len = sizeof digest,
                                             .pcrs = &pcrs,
                                             .quote_extra = digest,
                                             .quote_extra_len = sizeof digest,
                                             .direct = direct,
                                             .libctx = fuzz_libctx()};

    if (lct_pcrs_parse(&pcrs, spec, strlen(spec), NULL) != LCT_OK)
        abort();
    if (lct_tpm_read_ak(tpm, &ak, label, NULL, fuzz_libctx(), NULL) == LCT_OK &&
        lct_tpm_read_eks(tpm, &eks, &from, NULL) == LCT_OK && eks.num > 0 &&
        eks.eks[0].pkey != NULL &&
        lct_credential_make(&credential, fuzz_libctx(), &eks.eks[0].public_area,
                            direct ? key.name : &ak.name, &secret, NULL) == LCT_OK) {
        request.credential = &credential;
        request.ek = &eks.eks[0];
    }
    (void)lct_tpm_attest(tpm, &evidence, &request, NULL);
    lct_secret_wipe(&evidence.secret);
    lct_eks_clear(&eks);
}

static void attest(struct lct_tpm *tpm)
{
    attest_for(tpm, false);
}

static void attest_directly(struct lct_tpm *tpm)
{
    attest_for(tpm, true);
}

static void (*const works[])(struct lct_tpm *tpm) = {
    sign_plain, sign_sealed, sign_approved, sign_guarded, unseal,
    inspect,    create,      take_in,       describe,     read_pcrs,
    count,      persist,     attest,        sign_placed,  attest_directly,
};

static void start_recording(const uint8_t *bytes)
{
    const char *path = getenv("LCT_FUZZ_RECORD");

    if (path == NULL)
        return;
    script.record = fopen(path, "w");
    if (script.record == NULL || fwrite(bytes, 1, 2, script.record) != 2)
        abort();
}

/* TSS would say on the host's standard error what it cannot read; with TSS2_LOGFILE, in a file. */
static void expect_silence(void)
{
    const char *path = getenv("TSS2_LOGFILE");
    struct stat status;

    if (path != NULL && stat(path, &status) == 0 && status.st_size > 0)
        abort();
}

void fuzz_tpm(const uint8_t *bytes, size_t len)
{
    static char tcti[] = "fuzz";
    const char *real = getenv("LCT_FUZZ_TCTI");
    struct lct_tpm *tpm;

    if (len < 2)
        return;
    script.bytes = bytes;
    script.len = len;
    script.at = 2;
    script.flags = bytes[1];
    script.command_len = script.repeats = 0;
    const struct lct_config config = {.tcti = real != NULL ? (char *)(uintptr_t)real : tcti,
                                      .timeout = 10,
                                      .always_session = (script.flags & ALWAYS) != 0};
    start_recording(bytes);
    if (lct_tpm_open(&tpm, &config, NULL) != LCT_OK)
        abort();
    works[bytes[0] % (sizeof works / sizeof works[0])](tpm);
    lct_tpm_close(tpm);
    if (script.record != NULL && fclose(script.record) != 0)
        abort();
    script.record = NULL;
    expect_silence();
}

/* Where the response is that a mutation is of; false: there is none. */
static bool choose(const uint8_t *bytes, size_t len, unsigned seed, size_t *at, size_t *size)
{
    size_t num = 0, chosen;

    for (int pass = 0; pass < 2; pass++) {
        chosen = num > 0 ? seed % num : 0;
        num = 0;
        for (size_t i = 2; i + 2 <= len; i += 2 + *size, num++) {
            *at = i;
            *size = (size_t)bytes[i] << 8 | bytes[i + 1];
            if (*size > len - i - 2)
                *size = len - i - 2;
            if (pass == 1 && num == chosen)
                return true;
        }
    }
    return false;
}

size_t fuzz_tpm_mutate(uint8_t *bytes, size_t len, size_t room, unsigned seed)
{
    uint8_t response[MAX_RESPONSE];
    size_t at, size;

    if (seed % 4 == 0 || !choose(bytes, len, seed / 4, &at, &size) || size > sizeof response)
        return LLVMFuzzerMutate(bytes, len, room);
    size_t most = size + room - len < sizeof response ? size + room - len : sizeof response;
    memcpy(response, bytes + at + 2, size);
    size_t now = LLVMFuzzerMutate(response, size, most);
    memmove(bytes + at + 2 + now, bytes + at + 2 + size, len - at - 2 - size);
    memcpy(bytes + at + 2, response, now);
    bytes[at] = (uint8_t)(now >> 8);
    bytes[at + 1] = (uint8_t)now;
    return len - size + now;
}
