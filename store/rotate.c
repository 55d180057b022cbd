/* SPDX-License-Identifier: Apache-2.0 */
#include "store/rotate.h"

#include "proof/json.h"
#include "store/change.h"
#include "store/life.h"
#include "store/part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is said of the key that is to follow, which is the record's pending one. */
static enum lct_code fill_in(struct lct_succession *succession, struct lct_change *change,
                             const struct lct_rotation *rotation, struct lct_err *err)
{
    const struct lct_generation *pending = lct_record_pending(change->record);
    struct lct_generation old;

    lct_key_generation(&old, rotation->key);
    *succession = (struct lct_succession){.counter = 0};
    (void)snprintf(succession->id, sizeof succession->id, "%s", change->id);
    (void)snprintf(succession->reason, sizeof succession->reason, "%s", rotation->reason);
    if (rotation->evidence != NULL)
        (void)snprintf(succession->evidence, sizeof succession->evidence, "%s", rotation->evidence);
    lct_json_now(succession->created);
    enum lct_code code = lct_life_count(change, &succession->counter, err);
    if (code == LCT_OK)
        code = lct_life_subject(&succession->old_key, &old, rotation->key->pkey, err);
    if (code == LCT_OK)
        code = lct_life_subject(&succession->new_key, pending, rotation->to->pkey, err);
    return code;
}

/* The statement as text. The new key signs first: it has to be here, and the old one may refuse. */
static enum lct_code sign(char **statement, const struct lct_succession *succession,
                          const struct lct_rotation *rotation, struct lct_err *err)
{
    struct lct_jws_general jws = {0};
    enum lct_code code = lct_succession_begin(&jws, succession, rotation->to->libctx, err);

    if (code == LCT_OK)
        code = lct_succession_sign(&jws, succession, LCT_ROLE_NEW, rotation->to, err);
    if (code == LCT_OK && rotation->by != NULL)
        code = lct_succession_sign(&jws, succession, LCT_ROLE_OLD, rotation->by, err);
    if (code == LCT_OK) {
        *statement = lct_jws_general_write(&jws);
        if (*statement == NULL)
            code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    }
    lct_jws_general_clear(&jws);
    return code;
}

static enum lct_code state(char **statement, struct lct_change *change,
                           const struct lct_rotation *rotation, struct lct_err *err)
{
    struct lct_succession succession;
    enum lct_code code = fill_in(&succession, change, rotation, err);

    return code == LCT_OK ? sign(statement, &succession, rotation, err) : code;
}

/* Beside the record. */
static enum lct_code put(struct lct_change *change, const char *statement, struct lct_err *err)
{
    char name[LCT_PART_NAME];

    lct_part_name(name, LCT_PART_SUCCESSION, lct_record_pending(change->record)->number);
    return lct_change_put(change, name, (const uint8_t *)statement, strlen(statement), err);
}

/* After a failure: the files of a generation that the record has not, which it may have all the
 * same if only writing it to disk for sure has failed. */
static void clean_up(struct lct_change *change, unsigned number)
{
    struct lct_record *record = NULL;

    if (lct_store_read_record(change->dir, change->id, &record, NULL) == LCT_OK &&
        lct_record_generation(record, number) == NULL)
        lct_life_forget(change, number);
    free(record);
}

static enum lct_code add(char **statement, unsigned *number, struct lct_change *change,
                         const struct lct_rotation *rotation, const struct lct_made_key *made,
                         struct lct_err *err)
{
    enum lct_code code = lct_life_check_active(change, rotation->key, err);

    if (code == LCT_OK)
        code = lct_life_add(change, &made->record->generations[0], made->pem, made->pem_len, err);
    if (code != LCT_OK)
        return code;
    *number = lct_record_pending(change->record)->number;
    made->key->number = *number; /* before the audit has its first signature */
    code = state(statement, change, rotation, err);
    if (code == LCT_OK)
        code = put(change, *statement, err);
    if (code == LCT_OK)
        code = lct_change_commit(change, err);
    if (code != LCT_OK)
        clean_up(change, *number);
    return code;
}

static void drop_after_failure(char **statement, enum lct_code code)
{
    if (code == LCT_OK)
        return;
    free(*statement);
    *statement = NULL;
}

enum lct_code lct_rotate_add(char **statement, unsigned *number, const struct lct_store *store,
                             const struct lct_rotation *rotation, const struct lct_made_key *made,
                             struct lct_err *err)
{
    struct lct_change change;
    enum lct_code code = lct_change_begin(&change, store, rotation->id, err);

    *statement = NULL;
    if (code == LCT_OK)
        code = add(statement, number, &change, rotation, made, err);
    lct_change_end(&change);
    drop_after_failure(statement, code);
    return code;
}

static enum lct_code check_pending(const struct lct_change *change, const struct lct_key *key,
                                   struct lct_err *err)
{
    const struct lct_generation *pending = lct_record_pending(change->record);
    struct lct_generation own;

    lct_key_generation(&own, key);
    if (pending != NULL && pending->number == key->number &&
        lct_generation_is_of_key(pending, &own))
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_NOT_FOUND, "lct:%s: its generation %u is not pending any more",
                    change->id, key->number);
}

enum lct_code lct_rotate_restate(char **statement, const struct lct_store *store,
                                 const struct lct_rotation *rotation, const struct lct_key *pending,
                                 struct lct_err *err)
{
    struct lct_change change;
    enum lct_code code = lct_change_begin(&change, store, rotation->id, err);

    *statement = NULL;
    if (code == LCT_OK)
        code = lct_life_check_active(&change, rotation->key, err);
    if (code == LCT_OK)
        code = check_pending(&change, pending, err);
    if (code == LCT_OK)
        code = state(statement, &change, rotation, err);
    /* The record first: a statement that is kept has a counter that no later one will have. */
    if (code == LCT_OK)
        code = lct_change_commit(&change, err);
    if (code == LCT_OK)
        code = put(&change, *statement, err);
    lct_change_end(&change);
    drop_after_failure(statement, code);
    return code;
}

static enum lct_code parse(struct lct_succession *succession, struct lct_crypto *crypto,
                           const char *id, unsigned number, const uint8_t *text, size_t text_len,
                           struct lct_err *err)
{
    struct lct_jws_general jws = {0};
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, err);
    enum lct_code code =
        libctx != NULL ? lct_jws_general_read(&jws, text, text_len, err) : LCT_ERR_INTERNAL;

    if (code == LCT_OK)
        code = lct_succession_read(succession, libctx, &jws, err);
    lct_jws_general_clear(&jws);
    if (code == LCT_OK &&
        (strcmp(succession->id, id) != 0 || succession->new_key.generation != number))
        code = LCT_FAIL(err, LCT_ERR_BAD_EVIDENCE, "it is of another identity or generation");
    return code;
}

/* From the directory of the identity; errors without the id. */
static enum lct_code read_statement(char **statement, struct lct_succession *succession, int dir,
                                    struct lct_crypto *crypto, const char *id, unsigned number,
                                    struct lct_err *err)
{
    char name[LCT_PART_NAME];
    uint8_t *text = NULL;
    size_t text_len = 0;

    lct_part_name(name, LCT_PART_SUCCESSION, number);
    enum lct_code code = lct_file_read(dir, name, &text, &text_len, LCT_MAX_JWS_GENERAL, err);
    if (code == LCT_OK) {
        code = parse(succession, crypto, id, number, text, text_len, err);
        if (code == LCT_ERR_BAD_EVIDENCE || code == LCT_ERR_UNSUPPORTED) {
            (void)lct_err_prefix(err, name);
            err->code = code = LCT_ERR_BAD_RECORD;
        }
    }
    *statement = code == LCT_OK ? (char *)text : NULL;
    if (code != LCT_OK)
        free(text);
    return code;
}

enum lct_code lct_rotate_statement(char **statement, struct lct_succession *succession,
                                   const struct lct_store *store, struct lct_crypto *crypto,
                                   const char *id, unsigned number, struct lct_err *err)
{
    const char *dir = NULL;
    int fd = -1;
    struct lct_err here; /* a sentence is told, whoever asks */
    enum lct_code code = lct_store_open_identity(store, id, &fd, &dir, err);

    *statement = NULL;
    if (code != LCT_OK)
        return code;
    code = read_statement(statement, succession, fd, crypto, id, number, &here);
    close(fd);
    if (code != LCT_OK && err != NULL)
        *err = here;
    return lct_store_about(id, dir, code, err);
}

/* Seconds; those of the statement's reason if nobody has said how many. */
static enum lct_code find_overlap(unsigned *seconds, const struct lct_change *change,
                                  struct lct_crypto *crypto, int overlap, struct lct_err *err)
{
    const struct lct_generation *pending = lct_record_pending(change->record);
    struct lct_succession succession;
    struct lct_err here;
    char *statement = NULL;

    *seconds = (unsigned)overlap;
    if (overlap != LCT_OVERLAP_BY_REASON || pending == NULL)
        return LCT_OK;
    enum lct_code code = read_statement(&statement, &succession, change->dir, crypto, change->id,
                                        pending->number, &here);
    free(statement);
    if (code != LCT_OK)
        return LCT_FAIL(err, code,
                        "lct:%s: %s; say how long generation %u goes on signing, with "
                        "--overlap",
                        change->id, here.text, change->record->active);
    *seconds = strcmp(succession.reason, "compromise") == 0 ? 0 : LCT_OVERLAP_DEFAULT;
    return LCT_OK;
}

/* The chain of the pending key: the one that is given, or what is there. */
static enum lct_code settle_certs(struct lct_change *change, const struct lct_store *store,
                                  struct lct_crypto *crypto, const struct lct_certs *certs,
                                  struct lct_err *err)
{
    const struct lct_generation *pending = lct_record_pending(change->record);
    struct lct_key *key = NULL;

    if (pending == NULL) /* which lct_life_advance says */
        return LCT_OK;
    if (certs == NULL)
        return lct_certs_are_kept(change->dir, change->record->active) &&
                       !lct_certs_are_kept(change->dir, pending->number)
                   ? LCT_FAIL(err, LCT_ERR_USAGE,
                              "lct:%s: its generation %u has a certificate, and generation %u has "
                              "none yet; lct csr %s --generation %u asks for one, and lct cert %s "
                              "--set FILE makes both the active ones",
                              change->id, change->record->active, pending->number, change->id,
                              pending->number, change->id)
                   : LCT_OK;
    enum lct_code code = lct_store_get_key(store, crypto, change->id, pending->number, &key, err);
    if (code == LCT_OK)
        code = lct_certs_put(change, key, certs, err);
    lct_key_free(key);
    return code;
}

static enum lct_code commit(struct lct_rotated *rotated, struct lct_change *change,
                            const struct lct_store *store, struct lct_crypto *crypto, int overlap,
                            const struct lct_certs *certs, struct lct_err *err)
{
    unsigned seconds = 0;
    enum lct_code code = find_overlap(&seconds, change, crypto, overlap, err);

    if (code == LCT_OK)
        code = settle_certs(change, store, crypto, certs, err);
    rotated->before = change->record->active;
    if (code == LCT_OK)
        code = lct_life_advance(change, seconds, err);
    if (code == LCT_OK)
        code = lct_change_commit(change, err);
    if (code != LCT_OK)
        return code;
    rotated->now = change->record->active;
    memcpy(rotated->until, lct_record_generation(change->record, rotated->before)->until,
           sizeof rotated->until);
    return LCT_OK;
}

enum lct_code lct_rotate_commit(struct lct_rotated *rotated, const struct lct_store *store,
                                struct lct_crypto *crypto, const char *id, int overlap,
                                const struct lct_certs *certs, struct lct_err *err)
{
    struct lct_change change;
    enum lct_code code = lct_change_begin(&change, store, id, err);

    if (code == LCT_OK)
        code = commit(rotated, &change, store, crypto, overlap, certs, err);
    lct_change_end(&change);
    return code;
}

enum lct_code lct_rotate_shorten(char until[21], const struct lct_store *store, const char *id,
                                 unsigned overlap, struct lct_err *err)
{
    struct lct_change change;
    enum lct_code code = lct_change_begin(&change, store, id, err);

    if (code == LCT_OK)
        code = lct_life_shorten(&change, until, overlap, err);
    if (code == LCT_OK)
        code = lct_change_commit(&change, err);
    lct_change_end(&change);
    return code;
}

enum lct_code lct_rotate_withdraw(struct lct_withdrawal *withdrawal, const struct lct_store *store,
                                  const char *id, struct lct_err *err)
{
    struct lct_change change;
    unsigned number = 0;
    enum lct_code code = lct_change_begin(&change, store, id, err);

    if (code == LCT_OK && lct_record_pending(change.record) != NULL)
        withdrawal->withdrawn = *lct_record_pending(change.record);
    if (code == LCT_OK)
        code = lct_life_withdraw(&change, &number, err);
    if (code == LCT_OK)
        withdrawal->evict(withdrawal->arg, change.id, &withdrawal->withdrawn);
    if (code == LCT_OK)
        code = lct_change_commit(&change, err);
    if (code == LCT_OK)
        lct_life_forget(&change, number);
    lct_change_end(&change);
    return code;
}
