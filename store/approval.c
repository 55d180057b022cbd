/* SPDX-License-Identifier: Apache-2.0 */
#include "store/approval.h"

#include "base/encode.h"
#include "proof/json.h"
#include "store/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char lct_approvals_dir[] = ".approvals";
static const char suffix[] = ".json";

enum {
    VERSION = 1,
    MAX_FILE = 65536,     /* of an approval of ours */
    MAX_SYSTEMD = 1 << 20 /* of a file of systemd's */
};

void lct_approvals_clear(struct lct_approvals *approvals)
{
    free(approvals->all);
    *approvals = (struct lct_approvals){0};
}

static bool is_same(const struct lct_approval *a, const struct lct_approval *b)
{
    return a->ref_len == b->ref_len && memcmp(a->ref, b->ref, a->ref_len) == 0 &&
           memcmp(a->policy, b->policy, sizeof a->policy) == 0 &&
           a->signature.len == b->signature.len &&
           memcmp(a->signature.data, b->signature.data, a->signature.len) == 0;
}

bool lct_approvals_have(const struct lct_approval *all, size_t num,
                        const struct lct_approval *approval)
{
    for (size_t i = 0; i < num; i++)
        if (is_same(&all[i], approval))
            return true;
    return false;
}

/* At its place by age; the same one is there once. False if out of memory. */
static bool add(struct lct_approvals *approvals, const struct lct_approval *approval)
{
    size_t at = approvals->num;

    if (lct_approvals_have(approvals->all, approvals->num, approval))
        return true;
    struct lct_approval *all =
        reallocarray(approvals->all, approvals->num + 1, sizeof *approvals->all);
    if (all == NULL)
        return false;
    approvals->all = all;
    for (; at > 0 && strcmp(all[at - 1].created, approval->created) < 0; at--)
        all[at] = all[at - 1];
    all[at] = *approval;
    approvals->num++;
    return true;
}

/* base64 of one line, with its padding. */
static bool read_signature(struct lct_signature *signature, const char *text)
{
    uint8_t bytes[LCT_MAX_SIGNATURE + 3];
    size_t len = strlen(text);

    if (len == 0 || len % 4 != 0 || len / 4 * 3 > sizeof bytes || text[0] == '=')
        return false;
    for (size_t i = 0; i < len; i++) /* EVP_DecodeBlock skips white space */
        if (text[i] <= ' ')
            return false;
    int decoded = EVP_DecodeBlock(bytes, (const uint8_t *)text, (int)len);
    if (decoded < 0)
        return false;
    size_t padding = (size_t)(text[len - 1] == '=') + (size_t)(text[len - 2] == '=');
    signature->len = (size_t)decoded - padding;
    if (signature->len > sizeof signature->data)
        return false;
    memcpy(signature->data, bytes, signature->len);
    return true;
}

static bool read_own(struct lct_approval *approval, json_t *object)
{
    const char *authority, *pcrs, *policy, *ref, *signature, *created = NULL, *digest = NULL;
    uint8_t fingerprint[32];
    json_t *counter, *created_json;
    int version = 0;

    memset(approval, 0, sizeof *approval);
    if (json_unpack_ex(object, NULL, JSON_STRICT, "{s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s?:s}",
                       "version", &version, "authority", &authority, "pcrs", &pcrs, "policy",
                       &policy, "policy_ref", &ref, "signature", &signature, "created",
                       &created_json, "counter", &counter, "pcr_digest", &digest) != 0)
        return false;
    approval->has_pcr_digest = digest != NULL;
    return version == VERSION && lct_json_maybe(&created, created_json) &&
           lct_json_bytes(fingerprint, sizeof fingerprint, authority) &&
           lct_json_pcrs(&approval->pcrs, pcrs) &&
           lct_json_bytes(approval->policy, sizeof approval->policy, policy) &&
           lct_hex_decode(approval->ref, &approval->ref_len, sizeof approval->ref, ref) &&
           read_signature(&approval->signature, signature) &&
           (created == NULL || lct_json_time(approval->created, created)) &&
           lct_json_counter(&approval->counter, counter) &&
           (digest == NULL ||
            lct_json_bytes(approval->pcr_digest, sizeof approval->pcr_digest, digest));
}

/* {"pcrs": [11], "pkfp": "...", "pol": "...", "sig": "..."}, and perhaps more. */
static bool read_systemd(struct lct_approval *approval, const struct lct_hash *bank, json_t *entry)
{
    const char *policy, *signature;
    json_t *pcrs, *number;
    size_t i;

    memset(approval, 0, sizeof *approval);
    if (json_unpack(entry, "{s:o, s:s, s:s}", "pcrs", &pcrs, "pol", &policy, "sig", &signature) !=
            0 ||
        json_array_size(pcrs) == 0)
        return false;
    approval->pcrs.num_banks = 1;
    approval->pcrs.banks[0].hash = bank;
    json_array_foreach (pcrs, i, number) {
        json_int_t pcr = json_integer_value(number);
        if (!json_is_integer(number) || pcr < 0 || pcr >= LCT_NUM_PCRS)
            return false;
        approval->pcrs.banks[0].pcrs |= 1u << pcr;
    }
    return lct_json_bytes(approval->policy, sizeof approval->policy, policy) &&
           read_signature(&approval->signature, signature);
}

/* What is asked of an approval before it is taken. */
struct wanted {
    const struct lct_seal *seal; /* NULL: any */
    const uint8_t *authority;    /* who has to have signed it */
    size_t authority_len;
    OSSL_LIB_CTX *libctx;
};

/* What was met in a text. */
struct met {
    bool any;     /* it is of one of the forms */
    bool altered; /* one is signed, and says other PCRs or another counter than its policy has */
};

/* Whether PCRs and counter, which nobody has signed, are those of the policy, as far as that can be
 * said. */
static bool is_of_policy(const struct lct_approval *approval, OSSL_LIB_CTX *libctx)
{
    uint8_t policy[LCT_POLICY_DIGEST] = {0};

    if (!approval->has_pcr_digest)
        return true;
    return lct_policy_pcr(policy, libctx, &approval->pcrs, approval->pcr_digest, NULL) == LCT_OK &&
           (approval->counter.handle == 0 ||
            lct_policy_counter(policy, libctx, &approval->counter, NULL) == LCT_OK) &&
           memcmp(policy, approval->policy, sizeof policy) == 0;
}

/* What is not wanted is left out. False if out of memory. */
static bool take(struct lct_approvals *approvals, struct met *met,
                 const struct lct_approval *approval, const struct wanted *wanted)
{
    met->any = true;
    if ((wanted->seal != NULL && !lct_approval_fits(approval, wanted->seal)) ||
        lct_approval_verify(approval, wanted->libctx, wanted->authority, wanted->authority_len,
                            NULL) != LCT_OK)
        return true;
    if (is_of_policy(approval, wanted->libctx))
        return add(approvals, approval);
    met->altered = true;
    return true;
}

static bool take_systemd(struct lct_approvals *approvals, struct met *met, json_t *object,
                         const struct wanted *wanted)
{
    struct lct_approval approval;
    const char *name;
    json_t *entries, *entry;
    size_t i;

    json_object_foreach (object, name, entries) {
        const struct lct_hash *bank = lct_hash_by_name(name);
        if (bank == NULL)
            continue;
        json_array_foreach (entries, i, entry) {
            if (read_systemd(&approval, bank, entry) && !take(approvals, met, &approval, wanted))
                return false;
        }
    }
    return true;
}

/* Takes what is wanted out of a text of either form. False if out of memory. */
static bool take_text(struct lct_approvals *approvals, struct met *met, const uint8_t *text,
                      size_t text_len, const struct wanted *wanted)
{
    json_t *object = lct_json_load(text, text_len, NULL);
    struct lct_approval approval;
    bool good = true;

    *met = (struct met){0};
    if (object == NULL)
        return errno != ENOMEM;
    if (read_own(&approval, object))
        good = take(approvals, met, &approval, wanted);
    else
        good = take_systemd(approvals, met, object, wanted);
    json_decref(object);
    return good;
}

static bool take_file(struct lct_approvals *approvals, int dir, const char *name, size_t max,
                      const struct wanted *wanted)
{
    uint8_t *text = NULL;
    size_t text_len = 0;
    struct met met;
    bool good = true;

    if (lct_file_read(dir, name, &text, &text_len, max, NULL) == LCT_OK)
        good = take_text(approvals, &met, text, text_len, wanted);
    free(text);
    return good;
}

bool lct_is_approval_name(const char *name)
{
    size_t len = strlen(name);

    return name[0] != '.' && len >= sizeof suffix &&
           strcmp(name + len - (sizeof suffix - 1), suffix) == 0;
}

static bool take_dir(struct lct_approvals *approvals, const char *dir, const struct wanted *wanted)
{
    int store = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = store >= 0 ? lct_file_open_dir(store, lct_approvals_dir) : NULL;
    bool good = true;

    if (store >= 0)
        close(store);
    if (entries == NULL)
        return true;
    for (const struct dirent *entry = readdir(entries); good && entry != NULL;
         entry = readdir(entries))
        if (lct_is_approval_name(entry->d_name))
            good = take_file(approvals, dirfd(entries), entry->d_name, MAX_FILE, wanted);
    closedir(entries);
    return good;
}

enum lct_code lct_approvals_find(struct lct_approvals *approvals, const char *dir,
                                 const char *pcr_signature, const struct lct_seal *seal,
                                 OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    const struct wanted wanted = {seal, seal->authority, seal->authority_len, libctx};
    bool good = true;

    *approvals = (struct lct_approvals){0};
    if (dir != NULL)
        good = take_dir(approvals, dir, &wanted);
    if (good && pcr_signature != NULL)
        good = take_file(approvals, AT_FDCWD, pcr_signature, MAX_SYSTEMD, &wanted);
    if (good)
        return LCT_OK;
    lct_approvals_clear(approvals);
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

enum lct_code lct_approvals_read(struct lct_approvals *approvals, const uint8_t *text,
                                 size_t text_len, const uint8_t *authority, size_t authority_len,
                                 OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    const struct wanted wanted = {NULL, authority, authority_len, libctx};
    struct met met;

    *approvals = (struct lct_approvals){0};
    if (!take_text(approvals, &met, text, text_len, &wanted)) {
        lct_approvals_clear(approvals);
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    }
    if (!met.any)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "it is no approval, neither one of lct approve nor systemd's "
                        "tpm2-pcr-signature.json");
    approvals->altered = met.altered;
    if (approvals->num == 0 && !met.altered)
        return LCT_FAIL(err, LCT_ERR_WRONG_KEY,
                        "the approval is not of this store's recovery authority");
    return LCT_OK;
}

char *lct_approval_write(const struct lct_approval *approval, const char *fingerprint)
{
    char signature[LCT_MAX_SIGNATURE / 3 * 4 + 8], *text = NULL;

    (void)EVP_EncodeBlock((uint8_t *)signature, approval->signature.data,
                          (int)approval->signature.len);
    json_t *object =
        json_pack("{s:i, s:s, s:o, s:o, s:o, s:s, s:s?, s:o, s:o*}", "version", VERSION,
                  "authority", fingerprint, "pcrs", lct_json_of_pcrs(&approval->pcrs), "policy",
                  lct_json_of_bytes(approval->policy, sizeof approval->policy), "policy_ref",
                  lct_json_of_bytes(approval->ref, approval->ref_len), "signature", signature,
                  "created", approval->created[0] != '\0' ? approval->created : NULL, "counter",
                  lct_json_of_counter(&approval->counter), "pcr_digest",
                  approval->has_pcr_digest
                      ? lct_json_of_bytes(approval->pcr_digest, sizeof approval->pcr_digest)
                      : NULL);

    if (object != NULL)
        text = lct_json_dump(object, JSON_INDENT(2));
    json_decref(object);
    return text;
}

/* The store's directory of approvals: its descriptor, or -1 with errno. */
static int open_approvals(const char *dir)
{
    int store = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (store < 0)
        return -1;
    int fd = lct_file_make_dir(store, lct_approvals_dir, 0755);
    int error = errno;
    close(store);
    errno = error;
    return fd;
}

enum { MAX_NAME = 256 };

/* The file of one: an authority's, for a policy and a policyRef. */
static void name_file(char name[MAX_NAME], const struct lct_approval *approval,
                      const char *fingerprint)
{
    char policy[2 * sizeof approval->policy + 1], ref[2 * sizeof approval->ref + 1];

    lct_hex_encode(policy, approval->policy, sizeof approval->policy);
    lct_hex_encode(ref, approval->ref, approval->ref_len);
    (void)snprintf(name, MAX_NAME, "%.16s-%s%s%s%s", fingerprint, policy,
                   approval->ref_len > 0 ? "-" : "", ref, suffix);
}

static bool is_counter_equal(const struct lct_counter *a, const struct lct_counter *b)
{
    return a->handle == b->handle && a->value == b->value &&
           (a->handle == 0 || lct_name_equal(&a->name, &b->name));
}

/* Whether one may take the place of what is there by that name, and is of the same policy. What
 * only one of them says, and nobody has signed, may be wrong in the new one, unless it is known to
 * be of the policy. */
static bool may_replace(int fd, const char *name, const struct lct_approval *approval)
{
    struct lct_approval there;
    uint8_t *text = NULL;
    size_t text_len = 0;
    json_t *object = NULL;

    if (approval->has_pcr_digest)
        return true;
    if (lct_file_read(fd, name, &text, &text_len, MAX_FILE, NULL) == LCT_OK)
        object = lct_json_load(text, text_len, NULL);
    free(text);
    if (object == NULL)
        return errno != ENOMEM;
    const bool same =
        !read_own(&there, object) || (lct_pcrs_equal(&there.pcrs, &approval->pcrs) &&
                                      is_counter_equal(&there.counter, &approval->counter));
    json_decref(object);
    return same;
}

static enum lct_code put(int fd, const char *dir, const char *name, const char *text, bool replace,
                         const struct lct_approval *approval, struct lct_err *err)
{
    errno = 0;
    bool replaceable = !replace || may_replace(fd, name, approval);
    if (!replaceable && errno == ENOMEM)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    if (!replaceable)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "%s/%s/%s is for the same policy, and says other PCRs or another counter, "
                        "which are not signed; one of them was altered: if it is that one, remove "
                        "it first",
                        dir, lct_approvals_dir, name);
    enum lct_code code =
        lct_file_put(fd, name, (const uint8_t *)text, strlen(text), 0644, replace, err);
    return code == LCT_OK ? code : lct_err_prefix(err, dir);
}

enum lct_code lct_approval_put(const char *dir, const struct lct_approval *approval,
                               const char *fingerprint, bool replace, struct lct_err *err)
{
    char name[MAX_NAME];
    char *text = lct_approval_write(approval, fingerprint);

    if (text == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    name_file(name, approval, fingerprint);
    enum lct_code code = LCT_OK;
    int fd = open_approvals(dir);
    if (fd < 0 || faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) != 0)
        code = LCT_FAIL(err, LCT_ERR_STORE, "the store %s cannot be written: %s%s", dir,
                        strerror(errno),
                        errno == EACCES || errno == EPERM ? "; run as the store's owner" : "");
    else
        code = put(fd, dir, name, text, replace, approval, err);
    if (fd >= 0)
        close(fd);
    free(text);
    return code;
}

void lct_approval_drop(const char *dir, const struct lct_approval *approval,
                       const char *fingerprint)
{
    char name[MAX_NAME];
    int fd = open_approvals(dir);

    if (fd < 0)
        return;
    name_file(name, approval, fingerprint);
    (void)unlinkat(fd, name, 0);
    close(fd);
}
