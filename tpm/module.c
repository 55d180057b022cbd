/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/wire.h"

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <tss2/tss2_tctildr.h>
#include <unistd.h>

struct module {
    struct lct_wire wire;
    TSS2_TCTI_CONTEXT *tcti;
    char name[64];
};

static enum lct_code module_send(struct lct_wire *wire, const uint8_t *command, size_t command_len,
                                 int timeout, struct lct_err *err)
{
    struct module *module = (struct module *)wire;

    (void)timeout; /* a TCTI has none for this */
    if (Tss2_Tcti_Transmit(module->tcti, command_len, command) != TSS2_RC_SUCCESS)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "the connection to the TPM (%s) broke", module->name);
    return LCT_OK;
}

static enum lct_code module_receive(struct lct_wire *wire, uint8_t *response, size_t *response_len,
                                    size_t capacity, int timeout, struct lct_err *err)
{
    struct module *module = (struct module *)wire;

    *response_len = capacity;
    /* Modules that know no timeout refuse one; they wait for as long as it takes. */
    TSS2_RC rc = Tss2_Tcti_Receive(module->tcti, response_len, response, timeout);
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

static enum lct_code try_connect(const struct sockaddr *address, socklen_t address_len,
                                 const char *label, struct lct_err *err)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = fd < 0 || connect(fd, address, address_len) != 0 ? errno : 0;

    if (fd >= 0)
        close(fd);
    if (error == 0)
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_NO_TPM, "no TPM at %s: %s", label, strerror(error));
}

static enum lct_code check_path(const char *path, struct lct_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (snprintf(address.sun_path, sizeof address.sun_path, "%s", path) >=
        (int)sizeof address.sun_path)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "the socket's path is too long: %s", path);
    return try_connect((const struct sockaddr *)&address, sizeof address, path, err);
}

static enum lct_code check_port(const char *host, const char *port, struct lct_err *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char label[160];
    enum lct_code code = LCT_ERR_NO_TPM;

    (void)snprintf(label, sizeof label, "%s port %s", host, port);
    int error = getaddrinfo(host, port, &hints, &list);
    if (error != 0)
        return LCT_FAIL(err, LCT_ERR_NO_TPM, "no TPM at %s: %s", label, gai_strerror(error));
    for (struct addrinfo *entry = list; entry != NULL && code != LCT_OK; entry = entry->ai_next)
        code = try_connect(entry->ai_addr, entry->ai_addrlen, label, err);
    freeaddrinfo(list);
    return code;
}

/* The value of `key` in "key=value,key=value", or `otherwise`. */
static const char *option(char *value, size_t value_size, const char *conf, const char *key,
                          const char *otherwise)
{
    size_t key_len = strlen(key);

    for (const char *at = conf; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, key, key_len) == 0 && at[key_len] == '=') {
            at += key_len + 1;
            (void)snprintf(value, value_size, "%.*s", (int)strcspn(at, ","), at);
            return value;
        }
    }
    return otherwise;
}

/* Something listens where a simulator is said to be. Their data ports: 2321 by default. */
static enum lct_code check_simulator(const char *conf, struct lct_err *err)
{
    char path[256], host[128], port[16];

    if (option(path, sizeof path, conf, "path", NULL) != NULL)
        return check_path(path, err);
    return check_port(option(host, sizeof host, conf, "host", "localhost"),
                      option(port, sizeof port, conf, "port", "2321"), err);
}

bool lct_bus_is_there(char *path, size_t path_size, const char *root, const char *conf)
{
    bool session = strstr(conf, "bus_type=session") != NULL;
    const char *address =
        secure_getenv(session ? "DBUS_SESSION_BUS_ADDRESS" : "DBUS_SYSTEM_BUS_ADDRESS");
    static const char unix_path[] = "unix:path=";

    if (address != NULL && strncmp(address, unix_path, sizeof unix_path - 1) != 0)
        return true;
    if (address != NULL)
        (void)snprintf(path, path_size, "%.*s", (int)strcspn(address + sizeof unix_path - 1, ",;"),
                       address + sizeof unix_path - 1);
    else if (session)
        (void)snprintf(path, path_size, "/run/user/%lu/bus", (unsigned long)geteuid());
    else
        (void)snprintf(path, path_size, "%s/run/dbus/system_bus_socket", root);
    return access(path, F_OK) == 0;
}

/* D-Bus and the module of tpm2-abrmd say on stderr that there is no bus. */
static enum lct_code check_bus(const char *conf, struct lct_err *err)
{
    char path[256];

    if (lct_bus_is_there(path, sizeof path, "", conf))
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_NO_TPM, "tpm2-abrmd cannot be asked: there is no D-Bus at %s",
                    path);
}

enum lct_code lct_module_open(struct lct_wire **wire, const char *name, const char *conf,
                              struct lct_err *err)
{
    bool simulator = strcmp(name, "swtpm") == 0 || strcmp(name, "mssim") == 0;
    bool manager = strcmp(name, "tabrmd") == 0;
    enum lct_code code = lct_module_find(name, err);

    if (code == LCT_OK && simulator)
        code = check_simulator(conf, err);
    if (code == LCT_OK && manager)
        code = check_bus(conf, err);
    if (code != LCT_OK)
        return code;
    struct module *module = calloc(1, sizeof *module);
    if (module == NULL)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    module->wire = (struct lct_wire){
        .private_handles = manager,
        .software = simulator,
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
