/* SPDX-License-Identifier: Apache-2.0 */
#include "store/tombstone.h"

#include "base/encode.h"
#include "store/file.h"
#include "store/life.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char lct_tombstone_dir[] = ".ended";

/* What tells one key from all others: of a key in a TPM its Name, else its public key. */
static const uint8_t *first_key(size_t *len, const struct lct_record *record)
{
    const struct lct_generation *first = &record->generations[0];

    *len = first->custody == LCT_CUSTODY_SOFTWARE ? first->public_len : first->name.len;
    return first->custody == LCT_CUSTODY_SOFTWARE ? first->public_area : first->name.data;
}

/* The last bytes of that are of a digest or a point. Whose it is, the record in it says. */
void lct_tombstone_name(char name[LCT_TOMBSTONE_NAME], const struct lct_record *record)
{
    enum { SOME = 16 };
    char text[2 * SOME + 1];
    size_t len;
    const uint8_t *key = first_key(&len, record);
    size_t some = len < SOME ? len : SOME;

    lct_hex_encode(text, key + len - some, some);
    (void)snprintf(name, LCT_TOMBSTONE_NAME, "%s.%s.json", record->id, text);
}

bool lct_is_same_identity(const struct lct_record *a, const struct lct_record *b)
{
    size_t a_len, b_len;
    const uint8_t *a_key = first_key(&a_len, a), *b_key = first_key(&b_len, b);

    return strcmp(a->id, b->id) == 0 && a->generations[0].custody == b->generations[0].custody &&
           a_len == b_len && memcmp(a_key, b_key, a_len) == 0;
}

/* Whether an earlier key of the one signs longer than in the other; that can only become shorter.
 */
static bool signs_longer(const struct lct_record *old, const struct lct_record *record)
{
    for (size_t i = 0; i < record->num_generations; i++) {
        const struct lct_generation *now = &record->generations[i];
        const struct lct_generation *before = lct_record_generation(old, now->number);
        if (before != NULL && now->until[0] != '\0' && strcmp(before->until, now->until) > 0)
            return true;
    }
    return false;
}

bool lct_is_older(const struct lct_record *old, const struct lct_record *record)
{
    const struct lct_life before = lct_record_life(old, lct_record_generation(old, 0));
    const struct lct_life after = lct_record_life(record, lct_record_generation(record, 0));

    return lct_life_is_older(&before, &after) || signs_longer(old, record);
}

enum lct_code lct_tombstone_leave(int store, const struct lct_record *record, struct lct_err *err)
{
    char name[LCT_TOMBSTONE_NAME];
    char *text = lct_record_write(record);
    int fd = text != NULL ? lct_file_make_dir(store, lct_tombstone_dir, 0750) : -1;
    enum lct_code code;

    lct_tombstone_name(name, record);
    if (text == NULL)
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    else if (fd < 0)
        code = LCT_FAIL(err, LCT_ERR_STORE, "%s cannot be made: %s", lct_tombstone_dir,
                        strerror(errno));
    else
        code = lct_file_put(fd, name, (const uint8_t *)text, strlen(text), 0640, true, err);
    if (fd >= 0)
        close(fd);
    free(text);
    return code;
}

/* The record of that name in the directory; one of another identity is none. */
static enum lct_code read_one(struct lct_record **found, int dir, const struct lct_record *record,
                              struct lct_err *err)
{
    char name[LCT_TOMBSTONE_NAME];
    uint8_t *text = NULL;
    size_t text_len = 0;

    lct_tombstone_name(name, record);
    enum lct_code code = lct_file_read(dir, name, &text, &text_len, LCT_MAX_RECORD, err);
    if (code == LCT_ERR_NOT_FOUND)
        return LCT_OK;
    if (code == LCT_OK)
        code = lct_record_read(found, text, text_len, err);
    free(text);
    if (code != LCT_OK)
        return lct_err_prefix(err, lct_tombstone_dir);
    if (!lct_is_same_identity(*found, record)) {
        free(*found);
        *found = NULL;
    }
    return LCT_OK;
}

enum lct_code lct_tombstone_find(struct lct_record **found, int store,
                                 const struct lct_record *record, struct lct_err *err)
{
    int dir = openat(store, lct_tombstone_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    *found = NULL;
    if (dir < 0)
        return errno == ENOENT ? LCT_OK
                               : LCT_FAIL(err, LCT_ERR_STORE, "%s cannot be read: %s",
                                          lct_tombstone_dir, strerror(errno));
    enum lct_code code = read_one(found, dir, record, err);
    close(dir);
    return code;
}
