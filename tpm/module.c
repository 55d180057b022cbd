/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/endpoint.h"
#include "tpm/wire.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_tctildr.h>

struct module {
    struct lct_wire wire;
    TSS2_TCTI_CONTEXT *tcti;
    char name[LCT_MAX_WAY_NAME];
};

static enum lct_code module_send(struct lct_wire *wire, const uint8_t *command, size_t command_len,
                                 const struct lct_deadline *deadline, struct lct_err *err)
{
    struct module *module = (struct module *)wire;

    (void)deadline; /* a TCTI has none for this */
    if (Tss2_Tcti_Transmit(module->tcti, command_len, command) != TSS2_RC_SUCCESS)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "the connection to the TPM (%s) broke", module->name);
    return LCT_OK;
}

static enum lct_code module_receive(struct lct_wire *wire, uint8_t *response, size_t *response_len,
                                    size_t capacity, const struct lct_deadline *deadline,
                                    struct lct_err *err)
{
    struct module *module = (struct module *)wire;

    *response_len = capacity;
    /* Modules that know no timeout refuse one; they wait for as long as it takes. */
    TSS2_RC rc =
        Tss2_Tcti_Receive(module->tcti, response_len, response, lct_deadline_left(deadline));
    if (rc == TSS2_TCTI_RC_BAD_VALUE)
        rc = Tss2_Tcti_Receive(module->tcti, response_len, response, TSS2_TCTI_TIMEOUT_BLOCK);
    if (rc == TSS2_RC_SUCCESS)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_NO_TPM, "the TPM (%s) gives no response", module->name);
}

/* What the module says goodbye with, it would say on the parent's connection: it stays as it is. */
static bool module_abandon(struct lct_wire *wire)
{
    (void)wire;
    return false;
}

static void module_close(struct lct_wire *wire)
{
    struct module *module = (struct module *)wire;

    Tss2_TctiLdr_Finalize(&module->tcti);
    free(module);
}

/* A name with a slash or an ending is a file already. */
enum lct_code lct_module_find(const char *name, struct lct_err *err)
{
    char file[128];
    bool plain = strpbrk(name, "/.") == NULL;

    (void)snprintf(file, sizeof file, plain ? "libtss2-tcti-%s.so.0" : "%s", name);
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (handle != NULL) {
        dlclose(handle);
        return LCT_OK;
    }
    if (plain)
        return LCT_FAIL(err, LCT_ERR_NO_TPM,
                        "there is no TCTI module %s; on Debian: apt install libtss2-tcti-%s0", name,
                        name);
    return LCT_FAIL(err, LCT_ERR_NO_TPM, "there is no TCTI module %s", name);
}

/*
 * Where a module's way in ends in a socket, something listens there. pcap writes down what passes
 * by another, which its configuration names in full.
 */
static enum lct_code check(bool *software, const char *name, const char *conf,
                           const struct lct_deadline *deadline, struct lct_err *err)
{
    struct lct_endpoint endpoint;
    char inner[LCT_MAX_WAY_NAME] = "";
    enum lct_code code = LCT_OK;

    if (strcmp(name, "pcap") == 0 && *conf != '\0')
        code = lct_wire_split(inner, &conf, conf, err);
    else
        (void)snprintf(inner, sizeof inner, "%s", name);
    *software =
        strcmp(inner, "swtpm") == 0 || strcmp(inner, "mssim") == 0 || strcmp(inner, "libtpms") == 0;
    if (code == LCT_OK && strcmp(inner, name) != 0)
        code = lct_module_find(inner, err);
    if (code == LCT_OK && (strcmp(inner, "swtpm") == 0 || strcmp(inner, "mssim") == 0))
        code = lct_endpoint_find(&endpoint, conf, deadline, err);
    return code;
}

enum lct_code lct_module_open(struct lct_wire **wire, const char *name, const char *conf,
                              const struct lct_deadline *deadline, struct lct_err *err)
{
    bool software = false;
    enum lct_code code = lct_module_find(name, err);

    if (code == LCT_OK)
        code = check(&software, name, conf, deadline, err);
    if (code != LCT_OK)
        return code;
    struct module *module = calloc(1, sizeof *module);
    if (module == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    module->wire = (struct lct_wire){
        .software = software,
        .send = module_send,
        .receive = module_receive,
        .close = module_close,
        .abandon = module_abandon,
    };
    (void)snprintf(module->name, sizeof module->name, "%s", name);
    if (Tss2_TctiLdr_Initialize_Ex(name, *conf != '\0' ? conf : NULL, &module->tcti) !=
        TSS2_RC_SUCCESS) {
        free(module);
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "no TPM by way of tcti %s:%s", name, conf);
    }
    *wire = &module->wire;
    return LCT_OK;
}
