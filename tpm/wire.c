/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/wire.h"

#include "tpm/abrmd.h"

#include <stdio.h>
#include <string.h>

/* The kernel's resource manager gives every open descriptor slots of its own; the bare device is
 * for one program at a time. */
static const char managed[] = "/dev/tpmrm0", bare[] = "/dev/tpm0";

static enum lct_code search(struct lct_wire **wire, const struct lct_deadline *deadline,
                            struct lct_err *err)
{
    struct lct_err tries[3];

    const char *found = lct_device_open(wire, managed, &tries[0]) == LCT_OK ? "device:/dev/tpmrm0"
                        : lct_abrmd_open(wire, "", true, deadline, &tries[1]) == LCT_OK ? "tabrmd"
                        : lct_device_open(wire, bare, &tries[2]) == LCT_OK ? "device:/dev/tpm0"
                                                                           : NULL;

    if (found != NULL) {
        (*wire)->found = found;
        return LCT_OK;
    }
    return LCT_FAIL(
        err, LCT_ERR_NO_TPM,
        "no TPM: %.120s; %.200s; %.120s; if there is another way in, set tcti in openssl.cnf, "
        "LCT_TCTI or --tcti",
        tries[0].text, tries[1].text, tries[2].text);
}

enum lct_code lct_wire_split(char name[LCT_MAX_WAY_NAME], const char **conf, const char *tcti,
                             struct lct_err *err)
{
    static const char prefix[] = "libtss2-tcti-";
    bool is_file = strncmp(tcti, prefix, sizeof prefix - 1) == 0;
    const char *start = is_file ? tcti + sizeof prefix - 1 : tcti;
    size_t len = strcspn(start, is_file ? ".:" : ":");
    const char *colon = strchr(tcti, ':');

    if (len == 0 || len >= LCT_MAX_WAY_NAME)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "tcti \"%s\" names no TCTI module", tcti);
    (void)snprintf(name, LCT_MAX_WAY_NAME, "%.*s", (int)len, start);
    *conf = colon != NULL ? colon + 1 : "";
    return LCT_OK;
}

enum lct_code lct_wire_open_ahead(struct lct_wire **wire, const char *tcti, struct lct_err *err)
{
    char name[LCT_MAX_WAY_NAME];
    const char *path = managed;
    enum lct_code code = tcti != NULL ? lct_wire_split(name, &path, tcti, err) : LCT_OK;

    if (code != LCT_OK)
        return code;
    if (*path == '\0')
        path = managed;
    const char *slash = strrchr(path, '/');
    if ((tcti != NULL && strcmp(name, "device") != 0) ||
        strncmp(slash != NULL ? slash + 1 : path, "tpmrm", 5) != 0)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "%s is opened when it is needed",
                        tcti != NULL ? tcti : path);
    return lct_device_open(wire, path, err);
}

enum lct_code lct_wire_open(struct lct_wire **wire, const char *tcti,
                            const struct lct_deadline *deadline, struct lct_err *err)
{
    char name[LCT_MAX_WAY_NAME];
    const char *conf = "";

    if (tcti == NULL)
        return search(wire, deadline, err);
    enum lct_code code = lct_wire_split(name, &conf, tcti, err);
    if (code != LCT_OK)
        return code;
    if (strcmp(name, "device") == 0)
        return lct_device_open(wire, *conf != '\0' ? conf : managed, err);
    if (strcmp(name, "swtpm") == 0)
        return lct_swtpm_open(wire, conf, deadline, err);
    if (strcmp(name, "tabrmd") == 0)
        return lct_abrmd_open(wire, conf, false, deadline, err);
    return lct_module_open(wire, name, conf, deadline, err);
}
