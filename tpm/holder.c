/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/holder.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME = 64 };

/* Whether a process, by its directory in /proc, has the file open. */
static bool has_open(const char *process, const char *path)
{
    char dir[PATH_MAX], target[PATH_MAX];
    bool found = false;

    (void)snprintf(dir, sizeof dir, "%.4000s/fd", process);
    DIR *entries = opendir(dir);
    if (entries == NULL)
        return false;
    for (const struct dirent *entry = readdir(entries); entry != NULL && !found;
         entry = readdir(entries)) {
        ssize_t n = readlinkat(dirfd(entries), entry->d_name, target, sizeof target - 1);
        target[n > 0 ? n : 0] = '\0';
        found = strcmp(target, path) == 0;
    }
    closedir(entries);
    return found;
}

/* As it calls itself, in what a terminal shows as it is. */
static void read_name(char name[NAME], const char *process)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof path, "%.4000s/comm", process);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, name, NAME - 1) : 0;
    name[n > 0 ? n : 0] = '\0';
    name[strcspn(name, "\n")] = '\0';
    for (char *c = name; *c != '\0'; c++)
        if (!isprint((unsigned char)*c))
            *c = '?';
    if (fd >= 0)
        close(fd);
}

static bool is_this_one(const char *root, const char *pid)
{
    return *root == '\0' && strtol(pid, NULL, 10) == (long)getpid();
}

/* All of it or, where there is no room, nothing. */
static void append(char *text, size_t size, const char *process, const char *pid)
{
    char name[NAME];
    size_t len = strlen(text);

    read_name(name, process);
    int n = snprintf(text + len, size - len, "%s%s (process %s)", len > 0 ? ", " : "", name, pid);
    if (n < 0 || (size_t)n >= size - len)
        text[len] = '\0';
}

size_t lct_holders_find(char *text, size_t size, const char *root, const char *path)
{
    char dir[PATH_MAX], process[PATH_MAX];
    size_t num = 0;

    text[0] = '\0';
    (void)snprintf(dir, sizeof dir, "%s/proc", root);
    DIR *entries = opendir(dir);
    if (entries == NULL)
        return 0;
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        if (!isdigit((unsigned char)entry->d_name[0]) || is_this_one(root, entry->d_name) ||
            snprintf(process, sizeof process, "%s/%s", dir, entry->d_name) >= (int)sizeof process ||
            !has_open(process, path))
            continue;
        num++;
        append(text, size, process, entry->d_name);
    }
    closedir(entries);
    return num;
}
