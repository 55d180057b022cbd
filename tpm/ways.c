/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/ways.h"

#include "tpm/abrmd.h"
#include "tpm/holder.h"
#include "tpm/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME = 33, MAX_GROUPS = 64, OPEN_TIMEOUT = 30000 }; /* ms */

/* The kernel's devices, and what sysfs calls them. */
static const char managed[] = "/dev/tpmrm0", bare[] = "/dev/tpm0", abrmd[] = "tpm2-abrmd";
static const struct {
    const char *path, *sysfs;
} devices[] = {
    {managed, "/sys/class/tpmrm/tpmrm0"},
    {bare, "/sys/class/tpm/tpm0"},
};

/* Names of the system, or numbers where it has none. */
static const char *group_name(char name[NAME], gid_t gid)
{
    const struct group *group = getgrgid(gid);

    if (group != NULL)
        (void)snprintf(name, NAME, "%s", group->gr_name);
    else
        (void)snprintf(name, NAME, "%lu", (unsigned long)gid);
    return name;
}

static const char *user_name(char name[NAME], uid_t uid)
{
    const struct passwd *user = getpwuid(uid);

    if (user != NULL)
        (void)snprintf(name, NAME, "%s", user->pw_name);
    else
        (void)snprintf(name, NAME, "%lu", (unsigned long)uid);
    return name;
}

static void name_own_groups(char *text, size_t size)
{
    gid_t groups[MAX_GROUPS];
    char name[NAME];
    int num = getgroups(MAX_GROUPS, groups);
    size_t len = (size_t)snprintf(text, size, "%s", group_name(name, getegid()));

    for (int i = 0; i < num && len < size; i++)
        if (groups[i] != getegid())
            len += (size_t)snprintf(text + len, size - len, " %s", group_name(name, groups[i]));
}

/* Whether the user database has this user in the group, though this process is not. */
static bool is_member(const char *user, gid_t gid)
{
    const struct group *group = getgrgid(gid);

    for (char **member = group != NULL ? group->gr_mem : NULL; member != NULL && *member != NULL;
         member++)
        if (strcmp(*member, user) == 0)
            return true;
    return false;
}

static void explain_permission(struct lct_way *way, const struct stat *st)
{
    char owner[NAME], group[NAME], user[NAME], groups[256];
    bool for_group = (st->st_mode & 0060) == 0060 && st->st_gid != 0;

    (void)user_name(owner, st->st_uid);
    (void)group_name(group, st->st_gid);
    (void)user_name(user, geteuid());
    name_own_groups(groups, sizeof groups);
    (void)snprintf(
        way->text, sizeof way->text,
        "%.128s may not be opened: it is of %s:%s with mode %04o, and this user is %s in "
        "the groups %.200s",
        way->name, owner, group, (unsigned)st->st_mode & 07777, user, groups);
    if (!for_group) /* the package's udev rules make the devices tss:tss 0660 */
        (void)snprintf(way->command, sizeof way->command, "apt install tpm-udev");
    else if (is_member(user, st->st_gid)) /* since the login */
        (void)snprintf(way->command, sizeof way->command, "newgrp %s", group);
    else
        (void)snprintf(way->command, sizeof way->command, "usermod -aG %s %s", group, user);
}

static void explain_busy(struct lct_way *way, const char *root)
{
    bool found = lct_holders_find(way->holders, sizeof way->holders, root, way->name) > 0;

    (void)snprintf(way->text, sizeof way->text,
                   "%.128s is in use by %s, and only one program at a time may have it", way->name,
                   found ? way->holders : "a program that this user may not see");
    if (found && strncmp(way->holders, abrmd, sizeof abrmd - 1) == 0)
        (void)snprintf(way->command, sizeof way->command, "lct doctor --tcti tabrmd");
    else if (!found)
        (void)snprintf(way->command, sizeof way->command, "fuser -v %.128s", way->name);
}

/* Who else has the device open: the kernel's resource manager lets all of them. */
static void tell_holders(struct lct_way *way, const char *root)
{
    size_t len = strlen(way->text);

    if (lct_holders_find(way->holders, sizeof way->holders, root, way->name) > 0)
        (void)snprintf(way->text + len, sizeof way->text - len, "; it is open in %s", way->holders);
}

static bool is_there(const char *root, const char *path)
{
    char file[PATH_MAX];

    (void)snprintf(file, sizeof file, "%s%s", root, path);
    return access(file, F_OK) == 0;
}

/* systemd.exec(5): such a service does not see what the kernel has. */
static void explain_absence(struct lct_way *way, const char *root)
{
    bool hidden = false;

    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++)
        if (strcmp(way->name, devices[i].path) == 0)
            hidden = is_there(root, devices[i].sysfs);
    (void)snprintf(way->text, sizeof way->text, "there is no %.128s%s", way->name,
                   hidden ? ", though the kernel has it: PrivateDevices=yes hides it from a service"
                          : "");
}

static void explain(struct lct_way *way, const char *root, const char *file, int error)
{
    struct stat st;

    if (error == EACCES && stat(file, &st) == 0)
        explain_permission(way, &st);
    else if (error == EBUSY)
        explain_busy(way, root);
    else if (error == ENOENT)
        explain_absence(way, root);
    else if (error == EPERM) /* the device cgroup: systemd.resource-control(5) */
        (void)snprintf(way->text, sizeof way->text,
                       "%.128s may not be opened by this service or container; in a systemd unit, "
                       "add DeviceAllow=%.128s rw",
                       way->name, way->name);
    else
        (void)snprintf(way->text, sizeof way->text, "%.128s does not open: %s", way->name,
                       strerror(error));
}

static void try_device(struct lct_way *way, const char *root)
{
    char file[PATH_MAX];

    (void)snprintf(file, sizeof file, "%s%s", root, way->name);
    int fd = open(file, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        way->state = LCT_WAY_SHUT;
        explain(way, root, file, errno);
        return;
    }
    close(fd);
    way->state = LCT_WAY_OPENS;
    (void)snprintf(way->text, sizeof way->text, "%s opens", way->name);
    tell_holders(way, root);
}

/*
 * tpm2-abrmd, named or searched. The search passes over one that is not there: nothing is wrong
 * with that.
 */
static void try_abrmd(struct lct_way *way, const char *root, const char *conf, bool named)
{
    struct lct_abrmd_answer answer = {.answers = false};
    struct lct_err err = {.code = LCT_OK};

    way->state = LCT_WAY_SHUT;
    if (lct_abrmd_ask(&answer, root, conf, !named, &err) != LCT_OK) {
        (void)snprintf(way->text, sizeof way->text, "%s", err.text);
        return;
    }
    if (answer.answers) {
        way->state = LCT_WAY_OPENS;
        (void)snprintf(way->text, sizeof way->text, "tpm2-abrmd answers on the D-Bus");
        return;
    }
    if (!named && answer.missing)
        way->state = LCT_WAY_UNTRIED;
    (void)snprintf(way->text, sizeof way->text, "%s", answer.text);
    if (answer.command != NULL)
        (void)snprintf(way->command, sizeof way->command, "%s", answer.command);
}

/* swtpm, or a TCTI module of tpm2-tss. */
static void try_other(struct lct_way *way, const char *name, const char *tcti)
{
    struct lct_wire *wire = NULL;
    struct lct_err err = {.code = LCT_OK};
    const struct lct_deadline deadline = lct_deadline_in(OPEN_TIMEOUT);

    way->state = LCT_WAY_SHUT;
    if (strcmp(name, "swtpm") != 0 && lct_module_find(name, &err) != LCT_OK) {
        (void)snprintf(way->text, sizeof way->text, "there is no TCTI module %s", name);
        if (strpbrk(name, "/.") == NULL)
            (void)snprintf(way->command, sizeof way->command, "apt install libtss2-tcti-%s0", name);
    } else if (lct_wire_open(&wire, tcti, &deadline, &err) != LCT_OK) {
        (void)snprintf(way->text, sizeof way->text, "%.500s", err.text);
    } else {
        way->state = LCT_WAY_OPENS;
        (void)snprintf(way->text, sizeof way->text, "tcti %.128s opens", tcti);
        wire->close(wire);
    }
}

static void try_named(struct lct_way *way, const char *root, const char *tcti)
{
    char name[LCT_MAX_WAY_NAME];
    struct lct_err err = {.code = LCT_OK};
    const char *conf = "";

    *way = (struct lct_way){.state = LCT_WAY_SHUT};
    (void)snprintf(way->name, sizeof way->name, "%s", tcti);
    if (lct_wire_split(name, &conf, tcti, &err) != LCT_OK) {
        (void)snprintf(way->text, sizeof way->text, "%s", err.text);
    } else if (strcmp(name, "device") == 0) {
        (void)snprintf(way->name, sizeof way->name, "%s", *conf != '\0' ? conf : managed);
        try_device(way, "");
    } else if (strcmp(name, "tabrmd") == 0) {
        try_abrmd(way, root, conf, true);
    } else {
        try_other(way, name, tcti);
    }
}

/* What is searched, in this order: the first that opens is taken, the others are not tried. */
static size_t search(struct lct_way *ways, size_t num, const char *root, bool wanted)
{
    static const char *const names[] = {managed, abrmd, bare};
    const char *reason = "tcti is set";

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct lct_way *way = &ways[num];
        bool is_abrmd = names[i] == abrmd;
        *way = (struct lct_way){.state = LCT_WAY_UNTRIED};
        (void)snprintf(way->name, sizeof way->name, "%s", names[i]);
        (void)snprintf(way->text, sizeof way->text, "%s is there, and is not tried because %s",
                       names[i], reason);
        if (wanted && is_abrmd)
            try_abrmd(way, root, "", false);
        else if (wanted)
            try_device(way, root);
        else if (!(is_abrmd ? lct_abrmd_is_installed(root) : is_there(root, names[i])) ||
                 (num > 0 && strcmp(ways[0].name, names[i]) == 0))
            continue;
        else if (!is_abrmd)
            tell_holders(way, root);
        if (way->state == LCT_WAY_OPENS) {
            wanted = false;
            reason = "the first that opens is taken";
        }
        num++;
    }
    return num;
}

size_t lct_ways_try(struct lct_way ways[LCT_MAX_WAYS], const char *root, const char *tcti)
{
    if (tcti == NULL)
        return search(ways, 0, root, true);
    try_named(&ways[0], root, tcti);
    return search(ways, 1, root, false);
}
