/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/wire.h"

#include <stdio.h>
#include <string.h>

/* The resource manager's device first: it gives every open descriptor slots of its own. */
static const char *const devices[] = {"/dev/tpmrm0", "/dev/tpm0"};

static enum lct_code search(struct lct_wire **wire, struct lct_err *err)
{
    struct lct_err tries[sizeof devices / sizeof devices[0]];

    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++)
        if (lct_device_open(wire, devices[i], &tries[i]) == LCT_OK)
            return LCT_OK;
    return LCT_FAIL(
        err, LCT_ERR_NO_TPM,
        "no TPM: %.160s; %.160s; if there is another way in, set tcti in openssl.cnf, LCT_TCTI or "
        "--tcti",
        tries[0].text, tries[1].text);
}

/* The module's short name: the loader takes file names, too ("libtss2-tcti-swtpm.so.0"). False:
 * there is none. */
static bool module_name(char *name, size_t size, const char *tcti)
{
    static const char prefix[] = "libtss2-tcti-";
    bool is_file = strncmp(tcti, prefix, sizeof prefix - 1) == 0;
    const char *start = is_file ? tcti + sizeof prefix - 1 : tcti;
    size_t len = strcspn(start, is_file ? ".:" : ":");

    return len > 0 && snprintf(name, size, "%.*s", (int)len, start) < (int)size;
}

enum lct_code lct_wire_open_ahead(struct lct_wire **wire, const char *tcti, struct lct_err *err)
{
    static const char prefix[] = "device:";
    const char *path = devices[0];

    if (tcti != NULL && strncmp(tcti, prefix, sizeof prefix - 1) == 0)
        path = tcti + sizeof prefix - 1;
    else if (tcti != NULL && strcmp(tcti, "device") != 0)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "tcti %s is opened when it is needed", tcti);
    const char *slash = strrchr(path, '/');
    if (strncmp(slash != NULL ? slash + 1 : path, "tpmrm", 5) != 0)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "%s is opened when it is needed", path);
    return lct_device_open(wire, path, err);
}

enum lct_code lct_wire_open(struct lct_wire **wire, const char *tcti, struct lct_err *err)
{
    char name[64];

    if (tcti == NULL)
        return search(wire, err);
    const char *colon = strchr(tcti, ':');
    const char *conf = colon != NULL ? colon + 1 : "";
    if (!module_name(name, sizeof name, tcti))
        return LCT_FAIL(err, LCT_ERR_CONFIG, "tcti \"%s\" names no TCTI module", tcti);
    if (strcmp(name, "device") == 0)
        return lct_device_open(wire, *conf != '\0' ? conf : devices[0], err);
    return lct_module_open(wire, name, conf, err);
}
