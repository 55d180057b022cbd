/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/prototype.h"

#include "proof/json.h"
#include "tcg/public.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum lct_code lct_tool_prototype(struct lct_prototype *prototype, struct lct_tool *tool,
                                 const char *file, struct lct_err *err)
{
    struct lct_err why = {.code = LCT_OK};
    uint8_t *text = NULL;
    size_t text_len = 0;
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, err);

    *prototype = (struct lct_prototype){.handle = 0};
    if (libctx == NULL)
        return LCT_ERR_INTERNAL;
    enum lct_code code = lct_tool_read(&text, &text_len, file, LCT_MAX_PROTOTYPE, &why);
    if (code != LCT_OK)
        return LCT_FAIL(err, code == LCT_ERR_USAGE ? LCT_ERR_BAD_RECORD : code, "%s", why.text);
    code = lct_prototype_read(prototype, libctx, text, text_len, err);
    free(text);
    return code == LCT_OK ? LCT_OK : lct_err_prefix(err, lct_tool_file(file));
}

/* The public key of what is at a handle; NULL: there is none. */
static EVP_PKEY *find_there(struct lct_tool *tool, uint32_t handle)
{
    uint8_t bytes[LCT_MAX_BLOB];
    size_t bytes_len = 0;
    struct lct_public public_area;
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, NULL);

    if (libctx == NULL ||
        lct_tpm_read_public(tool->tpm, bytes, &bytes_len, handle, "", NULL) != LCT_OK ||
        lct_public_decode(&public_area, bytes, bytes_len, NULL) != LCT_OK)
        return NULL;
    return lct_public_pkey(&public_area, libctx, NULL);
}

static bool is_of_key(struct lct_tool *tool, const char *file, const EVP_PKEY *pkey)
{
    struct lct_prototype prototype;
    bool same = lct_tool_prototype(&prototype, tool, file, NULL) == LCT_OK &&
                EVP_PKEY_eq(prototype.pkey, pkey) == 1;

    lct_prototype_clear(&prototype);
    return same;
}

static bool is_candidate(int dir, const char *name)
{
    static const char suffix[] = ".json";
    char text[NAME_MAX + 1];
    size_t len = strlen(name);
    struct stat st;

    return len > sizeof suffix - 1 && strcmp(name + len - (sizeof suffix - 1), suffix) == 0 &&
           lct_json_text(text, sizeof text, name) && fstatat(dir, name, &st, 0) == 0 &&
           S_ISREG(st.st_mode);
}

/* The name of a file in the directory that is of that key; false: there is none. */
static bool find_file(char name[NAME_MAX + 1], struct lct_tool *tool, const char *directory,
                      const EVP_PKEY *pkey)
{
    char path[PATH_MAX];
    struct dirent *entry;
    bool found = false;
    DIR *dir = opendir(directory);

    while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
        int len = snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        found = len > 0 && (size_t)len < sizeof path && is_candidate(dirfd(dir), entry->d_name) &&
                is_of_key(tool, path, pkey);
        if (found)
            (void)snprintf(name, NAME_MAX + 1, "%s", entry->d_name);
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}

static void directory_of(char directory[PATH_MAX], const char *file)
{
    const char *slash = strrchr(file, '/');
    size_t len = slash != NULL ? (size_t)(slash - file) : 0;

    (void)snprintf(directory, PATH_MAX, "%.*s", (int)len, file);
    if (len == 0)
        (void)snprintf(directory, PATH_MAX, "%s", slash != NULL ? "/" : ".");
}

void lct_prototype_explain(struct lct_err *err, struct lct_tool *tool,
                           const struct lct_prototype *prototype, const char *file)
{
    struct lct_err first = *err;
    char name[NAME_MAX + 1] = "", directory[PATH_MAX];
    EVP_PKEY *there = find_there(tool, prototype->handle);

    directory_of(directory, file);
    bool found = there != NULL && find_file(name, tool, directory, there);
    EVP_PKEY_free(there);
    (void)LCT_FAIL(err, first.code,
                   "%s%s%.100s; the prototype kept no other copy of the key, so it is lost, and "
                   "lct create makes another",
                   first.text, found ? ": that of " : "", name);
}
