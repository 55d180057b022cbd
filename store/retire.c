/* SPDX-License-Identifier: Apache-2.0 */
#include "store/retire.h"

#include "proof/ending.h"
#include "proof/json.h"
#include "store/change.h"
#include "store/life.h"
#include "store/part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum lct_code fill_in(struct lct_end *end, struct lct_change *change,
                             const struct lct_retirement *retirement, struct lct_err *err)
{
    const struct lct_record *record = change->record;
    const struct lct_generation *generation = lct_record_generation(record, 0);

    *end = (struct lct_end){.revoked = record->ending == LCT_REVOKED};
    enum lct_code code = lct_life_check_active(change, retirement->key, err);
    if (code != LCT_OK)
        return code;
    (void)snprintf(end->id, sizeof end->id, "%s", change->id);
    memcpy(end->created, record->ended, sizeof end->created);
    (void)snprintf(end->reason, sizeof end->reason, "%s", record->reason);
    code = lct_life_count(change, &end->counter, err);
    return code == LCT_OK ? lct_life_subject(&end->key, generation, retirement->key->pkey, err)
                          : code;
}

static enum lct_code state(char **statement, struct lct_change *change,
                           const struct lct_retirement *retirement, struct lct_err *err)
{
    struct lct_jws_general jws = {0};
    struct lct_end end;
    enum lct_code code = fill_in(&end, change, retirement, err);

    if (code == LCT_OK)
        code = lct_end_sign(&jws, &end, retirement->by, err);
    if (code == LCT_OK) {
        *statement = lct_jws_general_write(&jws);
        code = *statement != NULL ? lct_change_put(change, lct_ending_file, (uint8_t *)*statement,
                                                   strlen(*statement), err)
                                  : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    }
    lct_jws_general_clear(&jws);
    return code;
}

/* What is kept of the end that a retired identity had is not of the one that it gets now. */
static enum lct_code end(char **statement, struct lct_change *change,
                         const struct lct_retirement *retirement, struct lct_err *err)
{
    unsigned counter = 0;
    enum lct_code code = lct_life_end(change, retirement->ending, retirement->reason, err);

    if (code != LCT_OK)
        return code;
    code = retirement->key != NULL ? state(statement, change, retirement, err)
                                   : lct_life_count(change, &counter, err);
    if (code == LCT_OK)
        code = lct_change_commit(change, err);
    if (code == LCT_OK && retirement->key == NULL)
        lct_change_drop(change, lct_ending_file);
    return code;
}

enum lct_code lct_retire(char **statement, const struct lct_store *store,
                         const struct lct_retirement *retirement, struct lct_err *err)
{
    struct lct_change change;
    enum lct_code code = lct_change_begin(&change, store, retirement->id, err);

    *statement = NULL;
    if (code == LCT_OK)
        code = end(statement, &change, retirement, err);
    lct_change_end(&change);
    if (code != LCT_OK) {
        free(*statement);
        *statement = NULL;
    }
    return code;
}

/* Whether a statement is of the end that the record tells of, and not of one that a crash has kept
 * from being recorded or from being dropped. */
static bool is_of_end(const struct lct_end *end, const struct lct_record *record)
{
    return strcmp(end->id, record->id) == 0 && end->counter == record->counter &&
           end->revoked == (record->ending == LCT_REVOKED) &&
           strcmp(end->reason, record->reason) == 0 && strcmp(end->created, record->ended) == 0;
}

/* LCT_ERR_NOT_FOUND: it is of another end. */
static enum lct_code check_statement(const struct lct_record *record, struct lct_crypto *crypto,
                                     const uint8_t *text, size_t text_len, struct lct_err *err)
{
    struct lct_jws_general jws = {0};
    struct lct_end end;
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, err);
    enum lct_code code =
        libctx != NULL ? lct_jws_general_read(&jws, text, text_len, err) : LCT_ERR_INTERNAL;

    if (code == LCT_OK)
        code = lct_end_read(&end, libctx, &jws, err);
    lct_jws_general_clear(&jws);
    if (code == LCT_ERR_BAD_EVIDENCE || code == LCT_ERR_UNSUPPORTED)
        return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "%s is damaged; restore it from a backup",
                        lct_ending_file);
    if (code != LCT_OK)
        return code;
    return is_of_end(&end, record)
               ? LCT_OK
               : LCT_FAIL(err, LCT_ERR_NOT_FOUND, "%s is of another end", lct_ending_file);
}

/* From the directory of the identity; errors without the id. */
static enum lct_code read_statement(char **statement, int dir, struct lct_crypto *crypto,
                                    const struct lct_record *record, struct lct_err *err)
{
    uint8_t *text = NULL;
    size_t text_len = 0;

    if (record->ending == LCT_NOT_ENDED)
        return LCT_FAIL(err, LCT_ERR_NOT_FOUND, "it has not ended");
    enum lct_code code =
        lct_file_read(dir, lct_ending_file, &text, &text_len, LCT_MAX_JWS_GENERAL, err);
    if (code == LCT_OK)
        code = check_statement(record, crypto, text, text_len, err);
    if (code == LCT_ERR_NOT_FOUND)
        code = LCT_FAIL(err, LCT_ERR_NOT_FOUND,
                        "it was %s at %s without a signature, and there is no statement of it",
                        lct_ending_name(record->ending), record->ended);
    if (code == LCT_OK)
        *statement = (char *)text;
    else
        free(text);
    return code;
}

enum lct_code lct_retire_statement(char **statement, const struct lct_store *store,
                                   struct lct_crypto *crypto, const char *id, struct lct_err *err)
{
    struct lct_record *record = NULL;
    const char *dir = NULL;
    int fd = -1;
    enum lct_code code = lct_store_open_identity(store, id, &fd, &dir, err);

    *statement = NULL;
    if (code != LCT_OK)
        return code;
    code = lct_store_read_record(fd, id, &record, err);
    if (code == LCT_OK)
        code = read_statement(statement, fd, crypto, record, err);
    free(record);
    close(fd);
    return lct_store_about(id, dir, code, err);
}
