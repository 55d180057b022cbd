/* SPDX-License-Identifier: Apache-2.0 */
#include "store/counters.h"

#include "base/encode.h"
#include "store/change.h"
#include "store/names.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* machine-id(5): 32 hexadecimal digits and a newline; empty where there is none. */
static void read_machine(char machine[33])
{
    int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, machine, 32) : 0;

    machine[len > 0 ? len : 0] = '\0';
    if (fd >= 0)
        close(fd);
}

static const char maker_file[] = ".maker";

enum { NUMBER = 16 /* bytes */, DIGITS = 2 * NUMBER };

static const char *dir_of(const struct lct_store *store)
{
    return store->dirs[store->create_in];
}

/* In hexadecimal; empty: there is none. */
static enum lct_code read_number(char number[DIGITS + 1], int dir, struct lct_err *err)
{
    uint8_t random[NUMBER], *text = NULL;
    size_t len = 0, random_len = 0;
    enum lct_code code = lct_file_read(dir, maker_file, &text, &len, DIGITS, err);

    number[0] = '\0';
    if (code == LCT_ERR_NOT_FOUND)
        return LCT_OK;
    if (code == LCT_OK &&
        (!lct_hex_decode(random, &random_len, NUMBER, (const char *)text) || random_len != NUMBER))
        code = LCT_FAIL(err, LCT_ERR_BAD_RECORD,
                        "%s is damaged; remove it, and no counter made so far is ever removed",
                        maker_file);
    if (code == LCT_OK)
        memcpy(number, text, DIGITS + 1);
    free(text);
    return code;
}

/* Another one may be as far; who may not write to the store goes without. */
static enum lct_code draw_number(char number[DIGITS + 1], int dir, OSSL_LIB_CTX *libctx,
                                 struct lct_err *err)
{
    uint8_t random[NUMBER];

    if (faccessat(dir, ".", W_OK | X_OK, AT_EACCESS) != 0)
        return LCT_OK;
    if (RAND_bytes_ex(libctx, random, sizeof random, 0) != 1)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto has no random bytes");
    lct_hex_encode(number, random, sizeof random);
    enum lct_code code =
        lct_file_put(dir, maker_file, (const uint8_t *)number, DIGITS, 0644, false, err);
    return code == LCT_ERR_EXISTS ? read_number(number, dir, err) : code;
}

enum lct_code lct_counters_maker(char **maker, const struct lct_store *store, OSSL_LIB_CTX *libctx,
                                 struct lct_err *err)
{
    const char *path = dir_of(store);
    char machine[33], number[DIGITS + 1] = "";
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum lct_code code = dir >= 0 ? read_number(number, dir, err) : LCT_OK;

    *maker = NULL;
    if (code == LCT_OK && dir >= 0 && libctx != NULL && number[0] == '\0')
        code = draw_number(number, dir, libctx, err);
    if (dir >= 0)
        close(dir);
    if (code != LCT_OK)
        return lct_err_prefix(err, path);
    read_machine(machine);
    if (number[0] == '\0' || asprintf(maker, "%s:%s:%s", number, machine, path) >= 0)
        return LCT_OK;
    *maker = NULL;
    return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
}

enum lct_code lct_counters_lock(struct lct_descriptor *lock, const struct lct_store *store,
                                bool alone, struct lct_err *err)
{
    const char *path = dir_of(store);
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    /* Who may not look into it makes counters that have no mark. */
    if (dir < 0 && (errno == ENOENT || errno == ENOTDIR || (!alone && errno == EACCES)))
        return LCT_OK;
    if (dir < 0 || !lct_descriptor_take(lock, dir))
        return LCT_FAIL(err, LCT_ERR_STORE, "the store %s cannot be read: %s", path,
                        strerror(errno));
    enum lct_code code = lct_change_wait(lock->fd, alone, err);
    if (code == LCT_OK)
        return LCT_OK;
    lct_descriptor_close(lock);
    return lct_err_prefix(err, path);
}

size_t lct_counters_ours(const struct lct_counter_findings *findings)
{
    size_t num = 0;

    for (size_t i = 0; i < findings->num; i++)
        num += findings->all[i].ours;
    return num;
}

static bool is_in_record(const struct lct_record *record, const struct lct_name *name)
{
    for (size_t i = 0; i < record->num_generations; i++)
        if (record->generations[i].seal.counter.handle != 0 &&
            lct_name_equal(&record->generations[i].seal.counter.name, name))
            return true;
    return false;
}

/* Whether a record is there, and others' to read. */
static bool is_denied(const struct lct_store *store, const char *id)
{
    struct lct_named named;

    if (lct_store_find_identity(&named, store, id, NULL) != LCT_OK)
        return false;
    bool denied = faccessat(named.fd, lct_record_file, R_OK, AT_EACCESS) != 0 && errno == EACCES;
    close(named.fd);
    return denied;
}

/* Who only looks for counters need not become its owner, who may be a service. */
static enum lct_code fail_denied(const char *dir, const char *id, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_STORE,
                    "lct:%s: %s: you may not read its record, which may speak of an NV counter of "
                    "your store; as root, lct gc --store %s lists those that no identity there has",
                    id, dir, dir);
}

/* Takes out what an identity of one store has. */
static enum lct_code drop_recorded(struct lct_counter_findings *findings,
                                   const struct lct_store *store, const char *id,
                                   struct lct_err *err)
{
    struct lct_record *record = NULL;
    struct lct_err why = {.code = LCT_OK};
    enum lct_code code = lct_store_get_record(store, id, &record, NULL, &why);
    size_t num = 0;

    if (code == LCT_ERR_NOT_FOUND) /* deleted meanwhile */
        return LCT_OK;
    if (code == LCT_ERR_STORE && is_denied(store, id))
        return fail_denied(store->dirs[0], id, err);
    if (code != LCT_OK) {
        *err = why;
        return code;
    }
    for (size_t i = 0; i < findings->num; i++)
        if (!is_in_record(record, &findings->all[i].counter.name))
            findings->all[num++] = findings->all[i];
        else
            (void)snprintf(findings->holder, sizeof findings->holder, "%s", id);
    findings->num = num;
    free(record);
    return LCT_OK;
}

static enum lct_code drop_all_recorded(struct lct_counter_findings *findings,
                                       const struct lct_store *store, struct lct_err *err)
{
    char **ids = NULL;
    size_t num_ids = 0;
    enum lct_code worst = lct_store_list(store, &ids, &num_ids, err);

    for (size_t i = 0; i < num_ids; i++) {
        enum lct_code code = drop_recorded(findings, store, ids[i], err);
        worst = code != LCT_OK ? code : worst;
    }
    lct_store_free_ids(ids, num_ids);
    return worst;
}

/* Each store by itself: an id may be in both. */
enum lct_code lct_counters_sort(struct lct_counter_findings *findings,
                                const struct lct_store *store, const struct lct_tpm_counters *there,
                                OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    char *maker = NULL;
    enum lct_code worst = lct_counters_maker(&maker, store, NULL, err);

    findings->num = 0;
    findings->unread = false;
    findings->holder[0] = '\0';
    if (worst != LCT_OK)
        return worst;
    for (size_t i = 0; i < there->num; i++)
        findings->all[findings->num++] = (struct lct_counter_finding){
            {.handle = there->all[i].handle, .name = there->all[i].name},
            maker != NULL && lct_tpm_counter_is_of(&there->all[i], maker, libctx)};
    for (size_t i = 0; i < store->num_dirs && findings->num > 0; i++) {
        const struct lct_store one = {.num_dirs = 1, .dirs = {store->dirs[i]}};
        enum lct_code code = drop_all_recorded(findings, &one, err);
        worst = code != LCT_OK ? code : worst;
    }
    free(maker);
    findings->unread = worst != LCT_OK;
    return lct_counters_ours(findings) > 0 ? worst : LCT_OK;
}

enum lct_code lct_counters_check(const struct lct_store *store,
                                 const struct lct_tpm_counter *counter, OSSL_LIB_CTX *libctx,
                                 struct lct_err *err)
{
    const struct lct_tpm_counters there = {1, {*counter}};
    struct lct_counter_findings findings;
    enum lct_code code = lct_counters_sort(&findings, store, &there, libctx, err);

    if (code != LCT_OK)
        return code;
    if (findings.num == 0)
        return LCT_FAIL(err, LCT_ERR_EXISTS, "lct:%s has it as well", findings.holder);
    if (!findings.all[0].ours)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "it was made for another store, or for this one before that was moved or "
                        "restored");
    return LCT_OK;
}
