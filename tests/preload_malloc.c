/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded before a program, it lets allocations fail where a test says so. Which are counted, as
 * the nearest caller outside of libc has it, and what calls that:
 *
 * LCT_MALLOC_BY: names of libraries, or the program's, with commas between them: the allocations
 * that these make themselves, by libc's functions or not. Empty or unset: all.
 *
 * LCT_MALLOC_UNDER: the same, but of whatever is called by these.
 *
 * LCT_MALLOC_IN: a function that a library exports: what is allocated while it runs.
 *
 * LCT_MALLOC_AT: the one that fails, from 1, and with a "+" after it all later ones as well. A
 * program may say it itself, from a point on: by preload_malloc_arm, which it finds with dlsym.
 *
 * LCT_MALLOC_LOG: a file to which the stack of the first that fails is written.
 *
 * LCT_MALLOC_COUNT: a file to which a program that ends writes how many there were.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_FRAMES = 64, MAX_EARLY = 65536, MAX_HELD = 65536 };

static struct {
    const char *by, *under, *log, *count;
    uintptr_t function, function_len;
    atomic_long at; /* 0: none fails */
    atomic_bool onwards;
    atomic_long seen;
    bool ready;
} plan;

static _Thread_local bool inside __attribute__((tls_model("initial-exec")));

/* While dlsym looks for libc's functions, it allocates itself; this is never freed. */
static char early[MAX_EARLY];
static size_t early_len;

static bool is_early(const void *block)
{
    uintptr_t at = (uintptr_t)block;

    return at >= (uintptr_t)early && at < (uintptr_t)early + sizeof early;
}

static void *take_early(size_t size)
{
    size_t len = (size + 15) / 16 * 16;

    if (len > sizeof early - early_len)
        abort();
    early_len += len;
    return early + early_len - len;
}

/* The blocks that were counted and are not freed yet, by their addresses. */
static struct {
    void *blocks[MAX_HELD];
    long num;
    pthread_mutex_t mutex;
} held = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void hold(void *block)
{
    size_t at = (uintptr_t)block / 16 % MAX_HELD;

    if (block == NULL)
        return;
    pthread_mutex_lock(&held.mutex);
    for (size_t tries = 0; held.blocks[at] != NULL; tries++) {
        if (tries == MAX_HELD)
            abort();
        at = (at + 1) % MAX_HELD;
    }
    held.blocks[at] = block;
    held.num++;
    pthread_mutex_unlock(&held.mutex);
}

/* What comes behind in its row of the table moves up, so that none has a gap. */
static void close_gap(size_t gap)
{
    for (size_t at = (gap + 1) % MAX_HELD; held.blocks[at] != NULL; at = (at + 1) % MAX_HELD) {
        size_t home = (uintptr_t)held.blocks[at] / 16 % MAX_HELD;
        if ((at - home) % MAX_HELD < (at - gap) % MAX_HELD)
            continue;
        held.blocks[gap] = held.blocks[at];
        held.blocks[at] = NULL;
        gap = at;
    }
}

/* Whether it was held. */
static bool let_go(const void *block)
{
    size_t at = (uintptr_t)block / 16 % MAX_HELD;

    if (block == NULL || held.num == 0)
        return false;
    pthread_mutex_lock(&held.mutex);
    while (held.blocks[at] != NULL && held.blocks[at] != block)
        at = (at + 1) % MAX_HELD;
    bool found = held.blocks[at] != NULL;
    if (found) {
        held.blocks[at] = NULL;
        held.num--;
        close_gap(at);
    }
    pthread_mutex_unlock(&held.mutex);
    return found;
}

void preload_malloc_arm(long at, bool onwards);
long preload_malloc_disarm(void);
long preload_malloc_held(void);

/* How many of those that were counted are not freed. */
long preload_malloc_held(void)
{
    return held.num;
}

/* From now on the `at`th fails. */
void preload_malloc_arm(long at, bool onwards)
{
    atomic_store(&plan.seen, 0);
    atomic_store(&plan.onwards, onwards);
    atomic_store(&plan.at, at);
}

/* From now on none does. How many there were. */
long preload_malloc_disarm(void)
{
    atomic_store(&plan.at, 0);
    return atomic_load(&plan.seen);
}

static const char *text_of(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

static void find_function(const char *name)
{
    void *at = name != NULL ? dlsym(RTLD_DEFAULT, name) : NULL, *symbol = NULL;
    Dl_info info;

    if (name == NULL)
        return;
    if (at == NULL || dladdr1(at, &info, &symbol, RTLD_DL_SYMENT) == 0 || symbol == NULL)
        abort();
    plan.function = (uintptr_t)at;
    plan.function_len = ((const ElfW(Sym) *)symbol)->st_size;
}

__attribute__((constructor)) static void read_plan(void)
{
    void *frames[1];
    const char *at = text_of("LCT_MALLOC_AT");

    backtrace(frames, 1); /* which loads a library, the first time */
    plan.by = text_of("LCT_MALLOC_BY");
    plan.under = text_of("LCT_MALLOC_UNDER");
    find_function(text_of("LCT_MALLOC_IN"));
    plan.log = text_of("LCT_MALLOC_LOG");
    plan.count = text_of("LCT_MALLOC_COUNT");
    plan.ready = true;
    if (at != NULL)
        preload_malloc_arm(strtol(at, NULL, 10), strchr(at, '+') != NULL);
}

__attribute__((destructor)) static void write_count(void)
{
    char line[32];
    long seen = preload_malloc_disarm();

    if (plan.count == NULL)
        return;
    int fd = open(plan.count, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int len = snprintf(line, sizeof line, "%ld\n", seen);
    if (fd < 0 || write(fd, line, (size_t)len) != len)
        abort();
    close(fd);
}

static bool is_listed(const char *list, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = list; (at = strstr(at, name)) != NULL; at += len)
        if ((at == list || at[-1] == ',') && (at[len] == '\0' || at[len] == ','))
            return true;
    return false;
}

/* The file, without its directory, that code at `address` was loaded from. */
static const char *file_of(void *address)
{
    struct dl_find_object found;

    if (_dl_find_object(address, &found) != 0)
        return "";
    const char *path = found.dlfo_link_map->l_name;
    const char *slash = strrchr(path, '/');
    if (path[0] == '\0')
        return program_invocation_short_name;
    return slash != NULL ? slash + 1 : path;
}

static bool is_of_libc(const char *file)
{
    static const char *const files[] = {"preload_malloc.so", "libc.so", "libasan.so"};

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (strncmp(file, files[i], strlen(files[i])) == 0)
            return true;
    return false;
}

static bool is_in_function(void *const *frames, int num_frames)
{
    for (int i = 0; i < num_frames; i++)
        if ((uintptr_t)frames[i] - plan.function < plan.function_len)
            return true;
    return false;
}

static bool is_counted(void *const *frames, int num_frames)
{
    int nearest = 0;

    while (nearest < num_frames && is_of_libc(file_of(frames[nearest])))
        nearest++;
    if (nearest == num_frames)
        return false;
    if (plan.by != NULL && !is_listed(plan.by, file_of(frames[nearest])))
        return false;
    if (plan.function != 0 && !is_in_function(frames, num_frames))
        return false;
    if (plan.under == NULL)
        return true;
    for (int i = nearest; i < num_frames; i++)
        if (is_listed(plan.under, file_of(frames[i])))
            return true;
    return false;
}

static void note(void *const *frames, int num_frames)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, plan.log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    if (fd < 0)
        abort();
    backtrace_symbols_fd(frames, num_frames, fd);
    syscall(SYS_close, fd);
}

/* Counts one allocation; *counted: it is one of those. False: it fails, with errno set. */
static bool may_go_on(bool *counted)
{
    void *frames[MAX_FRAMES];
    bool good = true;

    *counted = false;
    if (inside || !plan.ready || atomic_load(&plan.at) == 0)
        return true;
    inside = true;
    int num_frames = backtrace(frames, MAX_FRAMES);
    *counted = is_counted(frames, num_frames);
    if (*counted) {
        long at = atomic_load(&plan.at), number = atomic_fetch_add(&plan.seen, 1) + 1;
        good = atomic_load(&plan.onwards) ? number < at : number != at;
        if (number == at && plan.log != NULL)
            note(frames, num_frames);
    }
    inside = false;
    if (!good)
        errno = ENOMEM;
    return good;
}

static void *next(const char *name)
{
    bool before = inside;

    inside = true;
    void *symbol = dlsym(RTLD_NEXT, name);
    inside = before;
    if (symbol == NULL)
        abort();
    return symbol;
}

/* The function behind ours, in a variable `real` of its type; looked for once. */
#define REAL(name)                                                                                 \
    static _Atomic(void *) found;                                                                  \
    __typeof__(&(name)) real;                                                                      \
    if (found == NULL)                                                                             \
        found = next(#name);                                                                       \
    *(void **)&real = found

void *malloc(size_t size)
{
    static bool looking;

    if (looking)
        return take_early(size);
    looking = true;
    REAL(malloc);
    looking = false;
    bool counted;
    void *block = may_go_on(&counted) ? real(size) : NULL;
    if (counted)
        hold(block);
    return block;
}

void *calloc(size_t num, size_t size)
{
    static bool looking;

    if (looking)
        return take_early(num * size);
    looking = true;
    REAL(calloc);
    looking = false;
    bool counted;
    void *block = may_go_on(&counted) ? real(num, size) : NULL;
    if (counted)
        hold(block);
    return block;
}

void free(void *block)
{
    if (is_early(block))
        return;
    REAL(free);
    let_go(block);
    real(block);
}

void *realloc(void *block, size_t size)
{
    REAL(realloc);
    if (is_early(block))
        abort();
    if (block != NULL && size == 0) { /* that is to free it */
        let_go(block);
        return real(block, size);
    }
    bool counted;
    if (!may_go_on(&counted))
        return NULL;
    bool was_held = let_go(block);
    void *moved = real(block, size);
    if (counted || was_held)
        hold(moved != NULL ? moved : block);
    return moved;
}

void *reallocarray(void *block, size_t num, size_t size)
{
    size_t all;

    if (!__builtin_mul_overflow(num, size, &all))
        return realloc(block, all);
    errno = ENOMEM;
    return NULL;
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
    bool counted;

    REAL(posix_memalign);
    int result = may_go_on(&counted) ? real(block, alignment, size) : ENOMEM;
    if (counted && result == 0)
        hold(*block);
    return result;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    bool counted;

    REAL(aligned_alloc);
    void *block = may_go_on(&counted) ? real(alignment, size) : NULL;
    if (counted)
        hold(block);
    return block;
}

/* A sanitizer's own versions of these, and of the next, do not come by our malloc. */
char *strndup(const char *text, size_t max)
{
    size_t len = strnlen(text, max);
    char *copy = malloc(len + 1);

    if (copy != NULL) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

char *strdup(const char *text)
{
    return strndup(text, SIZE_MAX);
}

int vasprintf(char **text, const char *format, va_list arguments)
{
    va_list again;

    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    *text = len >= 0 ? malloc((size_t)len + 1) : NULL;
    return *text != NULL ? vsnprintf(*text, (size_t)len + 1, format, arguments) : -1;
}

int asprintf(char **text, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int len = vasprintf(text, format, arguments);
    va_end(arguments);
    return len;
}
