/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/marshal.h"
#include "tpm/capability.h"
#include "tpm/parent.h"
#include "tpm/result.h"
#include "tpm/session.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

/* Where our counters begin, in the owner's part of NV, and that part's end (TCG Registry of
 * Reserved TPM 2.0 Handles, 2.2.2). */
static const TPM2_NV_INDEX first_index = 0x01ac6374, last_index = 0x01bfffff;
enum { MAX_TRIES = 16 }; /* others may take an index before us */

/* Counted up by the owner, read by anybody, and no guessing at it locks anything. */
static const TPMA_NV attributes = (TPM2_NT_COUNTER << TPMA_NV_TPM2_NT_SHIFT) | TPMA_NV_OWNERWRITE |
                                  TPMA_NV_OWNERREAD | TPMA_NV_AUTHREAD | TPMA_NV_NO_DA;

struct counting {
    struct lct_counter *counter;
    const struct lct_tpm_counter_request *request;
    enum lct_code (*act)(struct lct_tpm *tpm, const struct counting *counting,
                         const struct lct_secret *owner_auth, struct lct_err *err);
};

enum { NONCE = LCT_POLICY_DIGEST / 2 };

/* What follows the nonce in the tag of a counter that `maker` makes. */
static bool mark(uint8_t digest[LCT_POLICY_DIGEST], const uint8_t nonce[NONCE], const char *maker,
                 OSSL_LIB_CTX *libctx)
{
    return EVP_Q_mac(libctx, "HMAC", NULL, "SHA256", NULL, nonce, NONCE, (const uint8_t *)maker,
                     strlen(maker), digest, LCT_POLICY_DIGEST, NULL) != NULL;
}

/*
 * What makes a counter's Name its own: random bytes where a policy would be, which by these
 * attributes is good for nothing. Else the next one at that index, after this is gone with a
 * cleared TPM, would be taken for it, and be removed with what this one was for. Half of them say
 * who has made it, to whoever knows that already: no other may take away what a record of theirs
 * may speak of.
 */
static enum lct_code draw_tag(TPM2B_DIGEST *tag, const char *maker, OSSL_LIB_CTX *libctx,
                              struct lct_err *err)
{
    uint8_t digest[LCT_POLICY_DIGEST];

    tag->size = LCT_POLICY_DIGEST;
    if (RAND_bytes_ex(libctx, tag->buffer, tag->size, 0) != 1)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto has no random bytes");
    if (maker == NULL)
        return LCT_OK;
    if (!mark(digest, tag->buffer, maker, libctx))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot mark the counter");
    memcpy(tag->buffer + NONCE, digest, LCT_POLICY_DIGEST - NONCE);
    return LCT_OK;
}

bool lct_tpm_counter_is_of(const struct lct_tpm_counter *counter, const char *maker,
                           OSSL_LIB_CTX *libctx)
{
    uint8_t digest[LCT_POLICY_DIGEST];

    return mark(digest, counter->tag, maker, libctx) &&
           memcmp(digest, counter->tag + NONCE, LCT_POLICY_DIGEST - NONCE) == 0;
}

/* The Name of an index of ours (TPM 2.0 Part 1, 16: of TPMS_NV_PUBLIC). */
static enum lct_code name_index(struct lct_name *name, TPM2_NV_INDEX index, bool written,
                                const TPM2B_DIGEST *tag, OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    uint8_t bytes[96];
    struct lct_writer writer = {bytes, 0, sizeof bytes, false};

    lct_write_u32(&writer, index);
    lct_write_u16(&writer, TPM2_ALG_SHA256);
    lct_write_u32(&writer, attributes | (written ? TPMA_NV_WRITTEN : 0));
    lct_write_sized(&writer, tag->buffer, tag->size);
    lct_write_u16(&writer, sizeof((struct lct_counter *)0)->value);
    *name = (struct lct_name){.len = 2 + 32, .data = {TPM2_ALG_SHA256 >> 8, TPM2_ALG_SHA256}};
    if (writer.failed ||
        !EVP_Q_digest(libctx, "SHA256", NULL, bytes, writer.len, name->data + 2, NULL))
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot hash the counter's public area");
    return LCT_OK;
}

/* A command of the owner's about an index, which was prepared with `rc`. */
static enum lct_code execute(struct lct_tpm *tpm, const struct counting *counting,
                             const struct lct_secret *owner_auth, TPM2_CC command,
                             const struct lct_name *index, TSS2_RC *rc, struct lct_err *err)
{
    const char *label = counting->request->label;
    struct lct_terms terms = {.libctx = counting->request->libctx,
                              .auth = owner_auth,
                              .num_names = index != NULL ? 2 : 1,
                              .names = {lct_name_of_handle(TPM2_RH_OWNER)}};

    if (index != NULL)
        terms.names[1] = *index;
    enum lct_code code = *rc == TSS2_RC_SUCCESS
                             ? lct_tpm_execute(tpm, label, command, &terms, rc, err)
                             : lct_tpm_result(tpm, label, command, *rc, err);
    if (code != LCT_ERR_AUTH)
        return code;
    return LCT_FAIL(err, LCT_ERR_AUTH,
                    owner_auth != NULL
                        ? "%s: the TPM refuses the owner's authorization for the NV counter"
                        : "%s: its NV counter takes the authorization of the TPM's owner: put it "
                          "into a file and set owner_auth_file",
                    label);
}

/* TPM2_NV_DefineSpace. *taken: there is something at that index. */
static enum lct_code define(struct lct_tpm *tpm, const struct counting *counting,
                            const struct lct_secret *owner_auth, TPM2_NV_INDEX index,
                            const TPM2B_DIGEST *tag, bool *taken, struct lct_err *err)
{
    const TPM2B_AUTH none = {0};
    const TPM2B_NV_PUBLIC public_area = {.nvPublic = {.nvIndex = index,
                                                      .nameAlg = TPM2_ALG_SHA256,
                                                      .attributes = attributes,
                                                      .authPolicy = *tag,
                                                      .dataSize = sizeof counting->counter->value}};
    TSS2_RC rc = Tss2_Sys_NV_DefineSpace_Prepare(tpm->sys, TPM2_RH_OWNER, &none, &public_area);
    enum lct_code code = execute(tpm, counting, owner_auth, TPM2_CC_NV_DefineSpace, NULL, &rc, err);

    *taken = lct_result_base(rc) == TPM2_RC_NV_DEFINED;
    return code;
}

static enum lct_code read_value(struct lct_tpm *tpm, const struct counting *counting,
                                struct lct_err *err)
{
    struct lct_counter *counter = counting->counter;
    const char *label = counting->request->label;
    const struct lct_terms terms = {.libctx = counting->request->libctx,
                                    .num_names = 2,
                                    .names = {counter->name, counter->name}};
    TPM2B_MAX_NV_BUFFER value = {0};
    TSS2_RC rc = Tss2_Sys_NV_Read_Prepare(tpm->sys, counter->handle, counter->handle,
                                          sizeof counter->value, 0);
    enum lct_code code = rc == TSS2_RC_SUCCESS
                             ? lct_tpm_execute(tpm, label, TPM2_CC_NV_Read, &terms, &rc, err)
                             : lct_tpm_result(tpm, label, TPM2_CC_NV_Read, rc, err);

    if (code == LCT_OK) {
        rc = Tss2_Sys_NV_Read_Complete(tpm->sys, &value);
        code = lct_tpm_result(tpm, label, TPM2_CC_NV_Read, rc, err);
    }
    if (code == LCT_OK && value.size != sizeof counter->value)
        code = LCT_FAIL(err, LCT_ERR_TPM, "%s: the TPM's NV counter is malformed", label);
    if (code != LCT_OK)
        return code;
    counter->value = 0;
    for (size_t i = 0; i < sizeof counter->value; i++)
        counter->value = counter->value << 8 | value.buffer[i];
    return LCT_OK;
}

/* TPM2_NV_Increment of the index with that Name; then its value. */
static enum lct_code count_up(struct lct_tpm *tpm, const struct counting *counting,
                              const struct lct_secret *owner_auth, const struct lct_name *name,
                              struct lct_err *err)
{
    TSS2_RC rc = Tss2_Sys_NV_Increment_Prepare(tpm->sys, TPM2_RH_OWNER, counting->counter->handle);
    enum lct_code code = execute(tpm, counting, owner_auth, TPM2_CC_NV_Increment, name, &rc, err);

    return code == LCT_OK ? read_value(tpm, counting, err) : code;
}

static enum lct_code undefine(struct lct_tpm *tpm, const struct counting *counting,
                              const struct lct_secret *owner_auth, const struct lct_name *name,
                              struct lct_err *err)
{
    TSS2_RC rc =
        Tss2_Sys_NV_UndefineSpace_Prepare(tpm->sys, TPM2_RH_OWNER, counting->counter->handle);

    return execute(tpm, counting, owner_auth, TPM2_CC_NV_UndefineSpace, name, &rc, err);
}

/* The first index of ours from `index` on where nothing is. */
static enum lct_code find_free(struct lct_tpm *tpm, TPM2_NV_INDEX *index, const char *label,
                               struct lct_err *err)
{
    TPMS_CAPABILITY_DATA data;
    enum lct_code code =
        lct_capability_get(tpm, &data, label, TPM2_CAP_HANDLES, *index, TPM2_MAX_CAP_HANDLES, err);

    for (uint32_t i = 0; i < data.data.handles.count && i < TPM2_MAX_CAP_HANDLES; i++)
        if (data.data.handles.handle[i] == *index)
            ++*index;
    return code;
}

static struct lct_parent_request as_owner_of(const struct lct_tpm_counter_request *request)
{
    return (struct lct_parent_request){.label = request->label,
                                       .where = request->parent,
                                       .pinned = request->parent_name,
                                       .owner_auth = request->owner_auth,
                                       .libctx = request->libctx};
}

/* The session that is salted to the parent of the request, in which the owner's authorization is
 * proved, too. */
static enum lct_code begin_salted(struct lct_tpm *tpm, const struct lct_parent_request *as_owner,
                                  struct lct_err *err)
{
    struct lct_parent parent = {0};

    lct_tpm_session_close(tpm);
    enum lct_code code = lct_parent_enter(tpm, &parent, as_owner, true, err);
    if (code != LCT_OK)
        return code;
    const struct lct_salt salt = {parent.handle, parent.name, parent.public_area};
    code = lct_tpm_session_open(tpm, as_owner->label, as_owner->libctx, &salt, err);
    return lct_parent_leave_salted(tpm, &parent, as_owner->label, code, err);
}

/* The session, if there is to be one. An authorization that the TPM does not have, since it was
 * cleared, is not used, as in lct_parent_begin_as. */
static enum lct_code begin(struct lct_tpm *tpm, struct lct_parent_request *as_owner,
                           struct lct_err *err)
{
    bool takes = false;

    if (as_owner->pinned == NULL || as_owner->pinned->len == 0)
        return lct_parent_begin_as(tpm, as_owner, TPM2_RH_OWNER, err);
    if (as_owner->owner_auth != NULL && as_owner->owner_auth->len > 0) {
        enum lct_code code =
            lct_parent_takes_auth(tpm, &takes, TPM2_RH_OWNER, as_owner->label, err);
        if (code != LCT_OK)
            return code;
    }
    if (!takes)
        as_owner->owner_auth = NULL;
    return begin_salted(tpm, as_owner, err);
}

/* Takes back a counter that was not counted up, by a session of its own if that is why. */
static void withdraw(struct lct_tpm *tpm, const struct counting *counting,
                     const struct lct_secret *owner_auth, const struct lct_name *name)
{
    struct lct_parent_request as_owner = as_owner_of(counting->request);
    bool lost = owner_auth != NULL && tpm->session.handle == 0;

    if (!lost || begin(tpm, &as_owner, NULL) == LCT_OK)
        (void)undefine(tpm, counting, owner_auth, name, NULL);
}

static enum lct_code make(struct lct_tpm *tpm, const struct counting *counting,
                          const struct lct_secret *owner_auth, struct lct_err *err)
{
    struct lct_counter *counter = counting->counter;
    OSSL_LIB_CTX *libctx = counting->request->libctx;
    TPM2B_DIGEST tag;
    struct lct_name unwritten;
    bool taken = true;
    enum lct_code code = draw_tag(&tag, counting->request->maker, libctx, err);

    if (code != LCT_OK)
        return code;
    counter->handle = first_index;
    for (int tries = 0; taken && tries < MAX_TRIES; tries++) {
        code = find_free(tpm, &counter->handle, counting->request->label, err);
        if (code != LCT_OK)
            return code;
        code = define(tpm, counting, owner_auth, counter->handle, &tag, &taken, err);
        if (code != LCT_OK && !taken)
            return code;
    }
    if (code == LCT_OK)
        code = name_index(&unwritten, counter->handle, false, &tag, libctx, err);
    if (code == LCT_OK)
        code = name_index(&counter->name, counter->handle, true, &tag, libctx, err);
    if (code != LCT_OK)
        return code;
    code = count_up(tpm, counting, owner_auth, &unwritten, err);
    if (code != LCT_OK && !tpm->broken)
        withdraw(tpm, counting, owner_auth, &unwritten);
    return code;
}

/* What is at the index has the Name that the policy is about. */
static enum lct_code read_public(struct lct_tpm *tpm, TPM2B_NV_PUBLIC *public_area,
                                 const struct lct_counter *counter, const char *label,
                                 struct lct_err *err)
{
    TPM2B_NAME tpm_name = {0};

    *public_area = (TPM2B_NV_PUBLIC){0};
    TSS2_RC rc =
        Tss2_Sys_NV_ReadPublic(tpm->sys, counter->handle, NULL, public_area, &tpm_name, NULL);
    if (!lct_result_is_lost_handle(rc)) {
        enum lct_code code = lct_tpm_result(tpm, label, TPM2_CC_NV_ReadPublic, rc, err);
        const struct lct_name name = lct_tpm_name(&tpm_name);
        if (code != LCT_OK || lct_name_equal(&name, &counter->name))
            return code;
    }
    return LCT_FAIL(err, LCT_ERR_OTHER_TPM,
                    "%s: its NV counter is not at 0x%08x of this TPM: it was removed, or this is "
                    "another TPM",
                    label, counter->handle);
}

static enum lct_code check_name(struct lct_tpm *tpm, const struct counting *counting,
                                struct lct_err *err)
{
    TPM2B_NV_PUBLIC public_area;

    return read_public(tpm, &public_area, counting->counter, counting->request->label, err);
}

static enum lct_code read_counter(struct lct_tpm *tpm, const struct counting *counting,
                                  const struct lct_secret *owner_auth, struct lct_err *err)
{
    enum lct_code code = check_name(tpm, counting, err);

    (void)owner_auth;
    return code == LCT_OK ? read_value(tpm, counting, err) : code;
}

static enum lct_code increment(struct lct_tpm *tpm, const struct counting *counting,
                               const struct lct_secret *owner_auth, struct lct_err *err)
{
    enum lct_code code = check_name(tpm, counting, err);

    return code == LCT_OK ? count_up(tpm, counting, owner_auth, &counting->counter->name, err)
                          : code;
}

static enum lct_code remove_counter(struct lct_tpm *tpm, const struct counting *counting,
                                    const struct lct_secret *owner_auth, struct lct_err *err)
{
    enum lct_code code = check_name(tpm, counting, err);

    return code == LCT_OK ? undefine(tpm, counting, owner_auth, &counting->counter->name, err)
                          : code;
}

/* Nothing is done twice: a counter that was made or counted up may be so already when its response
 * is lost. */
static enum lct_code act(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    const struct counting *counting = arg;
    struct lct_parent_request as_owner = as_owner_of(counting->request);

    tpm->once = true;
    lct_tpm_flush_resident(tpm);
    enum lct_code code = begin(tpm, &as_owner, err);
    if (code == LCT_OK)
        code = counting->act(tpm, counting, tpm->session.handle != 0 ? as_owner.owner_auth : NULL,
                             err);
    lct_tpm_session_close(tpm);
    return code;
}

enum lct_code lct_tpm_counter_make(struct lct_tpm *tpm, struct lct_counter *counter,
                                   const struct lct_tpm_counter_request *request,
                                   struct lct_err *err)
{
    struct counting counting = {counter, request, make};

    return lct_tpm_run(tpm, request->label, act, &counting, err);
}

enum lct_code lct_tpm_counter_read(struct lct_tpm *tpm, struct lct_counter *counter,
                                   const struct lct_tpm_counter_request *request,
                                   struct lct_err *err)
{
    struct counting counting = {counter, request, read_counter};

    return lct_tpm_run(tpm, request->label, act, &counting, err);
}

enum lct_code lct_tpm_counter_increment(struct lct_tpm *tpm, struct lct_counter *counter,
                                        const struct lct_tpm_counter_request *request,
                                        struct lct_err *err)
{
    struct counting counting = {counter, request, increment};

    return lct_tpm_run(tpm, request->label, act, &counting, err);
}

enum lct_code lct_tpm_counter_remove(struct lct_tpm *tpm, const struct lct_counter *counter,
                                     const struct lct_tpm_counter_request *request,
                                     struct lct_err *err)
{
    struct lct_counter copy = *counter;
    struct counting counting = {&copy, request, remove_counter};

    return lct_tpm_run(tpm, request->label, act, &counting, err);
}

struct listing {
    struct lct_tpm_counters *counters;
    const char *label;
};

static bool is_made_as_ours(const TPMS_NV_PUBLIC *area)
{
    return area->nameAlg == TPM2_ALG_SHA256 &&
           (area->attributes & ~(TPMA_NV)TPMA_NV_WRITTEN) == attributes &&
           area->authPolicy.size == LCT_POLICY_DIGEST &&
           area->dataSize == sizeof((struct lct_counter *)0)->value;
}

/* One of another make, or gone meanwhile, is passed over. */
static enum lct_code list_one(struct lct_tpm *tpm, const struct listing *listing,
                              TPM2_NV_INDEX index, struct lct_err *err)
{
    struct lct_tpm_counters *counters = listing->counters;
    TPM2B_NV_PUBLIC public_area = {0};
    TPM2B_NAME name = {0};
    TSS2_RC rc = Tss2_Sys_NV_ReadPublic(tpm->sys, index, NULL, &public_area, &name, NULL);

    if (lct_result_is_lost_handle(rc))
        return LCT_OK;
    enum lct_code code = lct_tpm_result(tpm, listing->label, TPM2_CC_NV_ReadPublic, rc, err);
    if (code != LCT_OK || !is_made_as_ours(&public_area.nvPublic))
        return code;
    struct lct_tpm_counter *counter = &counters->all[counters->num++];
    counter->handle = index;
    counter->name = lct_tpm_name(&name);
    memcpy(counter->tag, public_area.nvPublic.authPolicy.buffer, sizeof counter->tag);
    return LCT_OK;
}

static enum lct_code list(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    const struct listing *listing = arg;
    TPML_HANDLE there;
    enum lct_code code =
        lct_capability_handles(tpm, &there, listing->label, first_index, last_index, err);

    listing->counters->num = 0;
    for (uint32_t i = 0; code == LCT_OK && i < there.count; i++)
        if (listing->counters->num < LCT_MAX_COUNTERS)
            code = list_one(tpm, listing, there.handle[i], err);
    return code;
}

enum lct_code lct_tpm_list_counters(struct lct_tpm *tpm, struct lct_tpm_counters *counters,
                                    const char *label, struct lct_err *err)
{
    struct listing listing = {counters, label};

    return lct_tpm_run(tpm, label, list, &listing, err);
}

struct finding {
    struct lct_tpm_counter *found;
    const struct lct_counter *counter;
    const char *label;
};

static enum lct_code find(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    const struct finding *finding = arg;
    struct lct_tpm_counter *found = finding->found;
    TPM2B_NV_PUBLIC public_area;
    enum lct_code code = read_public(tpm, &public_area, finding->counter, finding->label, err);

    *found = (struct lct_tpm_counter){.handle = finding->counter->handle,
                                      .name = finding->counter->name};
    if (code == LCT_OK && is_made_as_ours(&public_area.nvPublic))
        memcpy(found->tag, public_area.nvPublic.authPolicy.buffer, sizeof found->tag);
    return code;
}

enum lct_code lct_tpm_counter_find(struct lct_tpm *tpm, struct lct_tpm_counter *found,
                                   const struct lct_counter *counter, const char *label,
                                   struct lct_err *err)
{
    struct finding finding = {found, counter, label};

    return lct_tpm_run(tpm, label, find, &finding, err);
}
