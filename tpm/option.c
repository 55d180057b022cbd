/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/option.h"

#include <stdio.h>
#include <string.h>

/* The value where `item` is of this key, else NULL. */
static const char *value_of(const char *item, const char *key)
{
    size_t key_len = strlen(key);

    return strncmp(item, key, key_len) == 0 && item[key_len] == '=' ? item + key_len + 1 : NULL;
}

static const char *next_item(const char *item)
{
    item += strcspn(item, ",");
    return *item == ',' ? item + 1 : item;
}

enum lct_code lct_option_get(char *value, size_t value_size, const char *conf, const char *key,
                             const char *otherwise, struct lct_err *err)
{
    const char *found = otherwise;

    for (const char *item = conf; *item != '\0'; item = next_item(item)) {
        const char *at = value_of(item, key);
        if (at != NULL)
            found = at;
    }
    size_t len = found == otherwise ? strlen(found) : strcspn(found, ",");
    if (len >= value_size)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "tcti: the %s is too long: %.*s", key,
                        (int)(len < 200 ? len : 200), found);
    (void)snprintf(value, value_size, "%.*s", (int)len, found);
    return LCT_OK;
}

enum lct_code lct_option_check(const char *conf, const char *name, const char *const keys[],
                               struct lct_err *err)
{
    for (const char *item = conf; *item != '\0'; item = next_item(item)) {
        bool known = *item == ',';
        for (size_t i = 0; keys[i] != NULL && !known; i++)
            known = value_of(item, keys[i]) != NULL;
        if (!known)
            return LCT_FAIL(err, LCT_ERR_CONFIG, "tcti %s does not take \"%.*s\"", name,
                            (int)strcspn(item, ","), item);
    }
    return LCT_OK;
}
