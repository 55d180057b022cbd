/* SPDX-License-Identifier: Apache-2.0 */
#include "preload_fs_journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_ENTRIES = 4096 };

enum kind { DURABLE, WRITTEN, ATTRIBUTES, UNLINKED, MADE, RENAMED };

struct place {
    char path[PATH_MAX];
    struct stat parent;
};

struct entry {
    enum kind kind;
    struct stat object;     /* as it was; of MADE and RENAMED as it is now */
    int fd;                 /* of WRITTEN and ATTRIBUTES: a descriptor of our own */
    struct place to, *from; /* from: of RENAMED alone */
    bool replaced;          /* something was there: */
    struct stat before;     /* this */
    bool is_spared;         /* which the spare directory has, under the entry's number */
};

static struct {
    const char *spare;
    size_t num;
    struct entry *entries[MAX_ENTRIES];
    struct entry pending; /* what journal_before has found */
} journal;

/* The C library's are ours, which would be counted. */
static long call(long number, long a, long b, long c, long d, long e)
{
    int error = errno;
    long result = syscall(number, a, b, c, d, e);

    errno = error;
    return result;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool look(struct stat *st, int dir, const char *name)
{
    return call(SYS_newfstatat, dir, (long)name, (long)st,
                AT_SYMLINK_NOFOLLOW | (*name == 0 ? AT_EMPTY_PATH : 0), 0) == 0;
}

static void link_of(char text[64], int fd)
{
    (void)snprintf(text, 64, "/proc/self/fd/%d", fd);
}

/* What a name stands for, whatever the working directory becomes. */
static void place_at(struct place *place, int dir, const char *name)
{
    char base[PATH_MAX] = ".", text[64];

    if (dir != AT_FDCWD)
        link_of(text, dir);
    long len = call(SYS_readlinkat, AT_FDCWD, (long)(dir == AT_FDCWD ? "/proc/self/cwd" : text),
                    (long)base, PATH_MAX - 1, 0);
    base[len > 0 ? len : 1] = '\0';
    if (name[0] == '/')
        (void)snprintf(place->path, sizeof place->path, "%s", name);
    else
        (void)snprintf(place->path, sizeof place->path, "%.2000s/%.2000s", base, name);
    (void)snprintf(base, sizeof base, "%s", place->path);
    char *slash = strrchr(base, '/');
    slash[slash == base] = '\0';
    (void)look(&place->parent, AT_FDCWD, base);
}

static struct entry *add(const struct entry *entry)
{
    if (journal.num == MAX_ENTRIES)
        abort();
    struct entry *added = malloc(sizeof *added);
    if (added == NULL)
        abort();
    *added = *entry;
    journal.entries[journal.num++] = added;
    return added;
}

static void spare_name(char path[PATH_MAX], size_t number)
{
    (void)snprintf(path, PATH_MAX, "%s/%zu", journal.spare, number);
}

/* Keeps what will be gone, under the number of the entry that is added next. */
static void keep(struct entry *entry)
{
    char path[PATH_MAX];

    spare_name(path, journal.num);
    entry->is_spared =
        !S_ISDIR(entry->before.st_mode) &&
        call(SYS_linkat, AT_FDCWD, (long)entry->to.path, AT_FDCWD, (long)path, 0) == 0;
}

void journal_begin(const char *spare)
{
    journal.spare = spare;
}

/* Of content and attributes once each: what they were when they were on disk. */
static void journal_object(int fd, enum kind kind, int flags)
{
    struct entry entry = {.kind = kind};
    char text[64];

    if (journal.spare == NULL || !look(&entry.object, fd, ""))
        return;
    for (size_t i = 0; i < journal.num; i++)
        if (journal.entries[i]->kind == kind && is_same(&journal.entries[i]->object, &entry.object))
            return;
    link_of(text, fd);
    entry.fd = (int)call(SYS_openat, AT_FDCWD, (long)text, flags | O_CLOEXEC, 0, 0);
    if (entry.fd >= 0)
        add(&entry);
}

void journal_write(int fd)
{
    struct stat st;

    if (journal.spare != NULL && call(SYS_fstat, fd, (long)&st, 0, 0, 0) == 0 &&
        S_ISREG(st.st_mode))
        journal_object(fd, WRITTEN, O_RDWR);
}

void journal_attributes(int fd)
{
    journal_object(fd, ATTRIBUTES, O_PATH);
}

void journal_unlink(int dir, const char *name)
{
    struct entry entry = {.kind = UNLINKED, .replaced = true};

    if (journal.spare == NULL || !look(&entry.before, dir, name))
        return;
    place_at(&entry.to, dir, name);
    keep(&entry);
    add(&entry);
}

void journal_before(int dir, const char *name)
{
    if (journal.spare == NULL)
        return;
    journal.pending = (struct entry){.kind = DURABLE};
    place_at(&journal.pending.to, dir, name);
    journal.pending.replaced = look(&journal.pending.before, dir, name);
    if (journal.pending.replaced)
        keep(&journal.pending);
}

void journal_made(int dir, const char *name)
{
    if (journal.spare == NULL || journal.pending.replaced)
        return;
    struct entry *entry = add(&journal.pending);
    entry->kind = MADE;
    (void)look(&entry->object, dir, name);
}

void journal_renamed(int from_dir, const char *from, int dir, const char *name)
{
    if (journal.spare == NULL)
        return;
    struct entry *entry = add(&journal.pending);
    entry->kind = RENAMED;
    entry->from = malloc(sizeof *entry->from);
    if (entry->from == NULL)
        abort();
    place_at(entry->from, from_dir, from);
    (void)look(&entry->object, dir, name);
}

static bool is_on_disk(const struct entry *entry, const struct stat *synced)
{
    if (entry->kind == WRITTEN || entry->kind == ATTRIBUTES)
        return is_same(&entry->object, synced);
    return is_same(&entry->to.parent, synced) ||
           (entry->from != NULL && is_same(&entry->from->parent, synced));
}

void journal_synced(int fd, bool all)
{
    char path[PATH_MAX];
    struct stat synced;

    if (journal.spare == NULL || call(SYS_fstat, fd, (long)&synced, 0, 0, 0) != 0)
        return;
    for (size_t i = 0; i < journal.num; i++) {
        struct entry *entry = journal.entries[i];
        if (entry->kind == DURABLE || (!all && !is_on_disk(entry, &synced)))
            continue;
        if (entry->kind == WRITTEN || entry->kind == ATTRIBUTES)
            (void)call(SYS_close, entry->fd, 0, 0, 0, 0);
        spare_name(path, i);
        if (entry->is_spared)
            (void)call(SYS_unlinkat, AT_FDCWD, (long)path, 0, 0, 0);
        entry->kind = DURABLE;
    }
}

/* A directory whose name was never on disk goes with all that is in it. */
static void remove_all(const char *path)
{
    char below[PATH_MAX];
    DIR *entries = opendir(path);

    for (struct dirent *at = entries != NULL ? readdir(entries) : NULL; at != NULL;
         at = readdir(entries)) {
        if (strcmp(at->d_name, ".") == 0 || strcmp(at->d_name, "..") == 0)
            continue;
        (void)snprintf(below, sizeof below, "%.3000s/%s", path, at->d_name);
        if (at->d_type == DT_DIR)
            remove_all(below);
        else
            (void)call(SYS_unlinkat, AT_FDCWD, (long)below, 0, 0, 0);
    }
    if (entries != NULL)
        closedir(entries);
    if (call(SYS_unlinkat, AT_FDCWD, (long)path, 0, 0, 0) != 0)
        (void)call(SYS_unlinkat, AT_FDCWD, (long)path, AT_REMOVEDIR, 0, 0);
}

static void set_attributes(const char *path, const struct stat *st)
{
    (void)call(SYS_fchownat, AT_FDCWD, (long)path, st->st_uid, st->st_gid, 0);
    (void)call(SYS_fchmodat, AT_FDCWD, (long)path, st->st_mode & 07777, 0, 0);
}

static void put_back(const struct entry *entry, size_t number)
{
    char path[PATH_MAX];

    spare_name(path, number);
    if (entry->is_spared) {
        (void)call(SYS_renameat, AT_FDCWD, (long)path, AT_FDCWD, (long)entry->to.path, 0);
    } else if (entry->replaced && S_ISDIR(entry->before.st_mode)) {
        (void)call(SYS_mkdirat, AT_FDCWD, (long)entry->to.path, 0700, 0, 0);
        set_attributes(entry->to.path, &entry->before);
    }
}

static void lose_object(const struct entry *entry)
{
    struct stat now;
    char text[64];

    link_of(text, entry->fd);
    if (entry->kind == ATTRIBUTES)
        set_attributes(text, &entry->object);
    else if (call(SYS_fstat, entry->fd, (long)&now, 0, 0, 0) == 0 &&
             now.st_size > entry->object.st_size)
        (void)call(SYS_ftruncate, entry->fd, entry->object.st_size, 0, 0, 0);
}

static void lose_name(const struct entry *entry, size_t number)
{
    struct stat now;
    bool there = look(&now, AT_FDCWD, entry->to.path);

    if (entry->kind == MADE && there && is_same(&now, &entry->object))
        remove_all(entry->to.path);
    if (entry->kind == RENAMED && there && is_same(&now, &entry->object))
        (void)call(SYS_renameat, AT_FDCWD, (long)entry->to.path, AT_FDCWD, (long)entry->from->path,
                   0);
    put_back(entry, number);
}

void journal_lose(bool names)
{
    for (size_t i = journal.num; i-- > 0;) {
        const struct entry *entry = journal.entries[i];
        if (entry->kind == WRITTEN || entry->kind == ATTRIBUTES)
            lose_object(entry);
        else if (names && entry->kind != DURABLE)
            lose_name(entry, i);
    }
    journal.num = 0;
}
