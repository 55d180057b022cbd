/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/setup_try.h"

#include "base/fd.h"
#include "tools/openssl_conf.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE = 60 }; /* seconds, of a module that hangs */

/* Loads the text as a file that has no name. A part of it that fails is seen by what is missing. */
static OSSL_LIB_CTX *load(const char *text)
{
    char path[64];
    int fd = memfd_create("openssl.cnf", MFD_CLOEXEC);
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();

    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || libctx == NULL || !lct_fd_write_all(fd, (const uint8_t *)text, strlen(text))) {
        OSSL_LIB_CTX_free(libctx);
        libctx = NULL;
    }
    ERR_clear_error();
    if (libctx != NULL)
        (void)OSSL_LIB_CTX_load_config(libctx, path);
    if (fd >= 0)
        close(fd);
    return libctx;
}

struct comparison {
    OSSL_LIB_CTX *after;
    const char *missing;
};

static int compare(OSSL_PROVIDER *provider, void *arg)
{
    struct comparison *comparison = arg;
    const char *name = OSSL_PROVIDER_get0_name(provider);

    if (comparison->missing == NULL && OSSL_PROVIDER_available(comparison->after, name) != 1)
        comparison->missing = name;
    return 1;
}

/* One sentence of what is wrong, or an empty one. In the child. */
static void judge(char *text, size_t size, const char *before, const char *after,
                  const char *module)
{
    struct comparison comparison = {.after = load(after)};

    text[0] = '\0';
    if (comparison.after == NULL)
        (void)snprintf(text, size, "OpenSSL cannot be tried out: %s", strerror(errno));
    else if (OSSL_PROVIDER_available(comparison.after, "lct") != 1)
        (void)snprintf(text, size, "OpenSSL does not load lct: %s",
                       lct_conf_reason(comparison.after, module));
    else if (OSSL_PROVIDER_available(comparison.after, "default") != 1)
        (void)snprintf(text, size, "OpenSSL does not load the default provider");
    else if (lct_conf_hides_lct(comparison.after))
        (void)snprintf(text, size,
                       "OpenSSL hides lct from programs by default_properties; take them out, or "
                       "put a ? before them");
    if (text[0] != '\0')
        return;
    OSSL_LIB_CTX *libctx = load(before);
    if (libctx != NULL)
        (void)OSSL_PROVIDER_do_all(libctx, compare, &comparison);
    if (comparison.missing != NULL)
        (void)snprintf(text, size, "OpenSSL does not load the provider %s any more",
                       comparison.missing);
}

/* What the child says, in memory of both: what a module forks would keep a pipe's end open. */
struct answer {
    char text[400];
    bool whole;
};

/* Ends this process when its time is over, whatever it has inherited. */
static void limit_time(void)
{
    sigset_t alarms;

    (void)sigemptyset(&alarms);
    (void)sigaddset(&alarms, SIGALRM);
    (void)signal(SIGALRM, SIG_DFL);
    (void)sigprocmask(SIG_UNBLOCK, &alarms, NULL);
    (void)alarm(PATIENCE);
}

static _Noreturn void give(struct answer *answer, const char *before, const char *after,
                           const char *module)
{
    limit_time();
    judge(answer->text, sizeof answer->text, before, after, module);
    answer->whole = true;
    _exit(0);
}

static enum lct_code take(const struct answer *answer, pid_t child, struct lct_err *err)
{
    int status = 0;

    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (!answer->whole)
        return LCT_FAIL(err, LCT_ERR_CONFIG, "OpenSSL %s while it loads its providers",
                        WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "hangs" : "crashes");
    return answer->text[0] == '\0' ? LCT_OK : LCT_FAIL(err, LCT_ERR_CONFIG, "%s", answer->text);
}

enum lct_code lct_setup_try(const char *before, const char *after, const char *module,
                            struct lct_err *err)
{
    struct answer *answer =
        mmap(NULL, sizeof *answer, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (answer == MAP_FAILED)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    pid_t child = fork();
    if (child == 0)
        give(answer, before, after, module);
    enum lct_code code =
        child > 0 ? take(answer, child, err)
                  : LCT_FAIL(err, LCT_ERR_INTERNAL, "no process can be had: %s", strerror(errno));
    (void)munmap(answer, sizeof *answer);
    return code;
}
