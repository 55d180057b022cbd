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

enum lct_code lct_retire_statement(char **statement, const struct lct_store *store, const char *id,
                                   struct lct_err *err)
{
    struct lct_record *record = NULL;
    uint8_t *text = NULL;
    size_t text_len = 0;
    const char *dir = NULL;
    int fd = -1;
    enum lct_code code = lct_store_open_identity(store, id, &fd, &dir, err);

    *statement = NULL;
    if (code != LCT_OK)
        return code;
    code = lct_store_read_record(fd, id, &record, err);
    if (code == LCT_OK && record->ending == LCT_NOT_ENDED)
        code = LCT_FAIL(err, LCT_ERR_NOT_FOUND, "it has not ended");
    if (code == LCT_OK)
        code = lct_file_read(fd, lct_ending_file, &text, &text_len, LCT_MAX_JWS_GENERAL, err);
    if (code == LCT_ERR_NOT_FOUND && record != NULL && record->ending != LCT_NOT_ENDED)
        code = LCT_FAIL(err, LCT_ERR_NOT_FOUND,
                        "it was %s at %s without a signature, and there is no statement of it",
                        lct_ending_name(record->ending), record->ended);
    *statement = (char *)text;
    free(record);
    close(fd);
    return lct_store_about(id, dir, code, err);
}
