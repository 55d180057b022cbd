/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tool.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

enum lct_code lct_tool_owner(struct lct_owner *owner, const char *text, struct lct_err *err)
{
    char user[64] = "";

    *owner = (struct lct_owner){(uid_t)-1, (gid_t)-1};
    if (text == NULL)
        return LCT_OK;
    if (text[strspn(text, ":")] == '\0')
        return LCT_FAIL(err, LCT_ERR_USAGE, "--owner takes a user, a group, or both: USER:GROUP");
    size_t user_len = strcspn(text, ":");
    const char *group = text[user_len] == ':' ? text + user_len + 1 : "";
    (void)snprintf(user, sizeof user, "%.*s", (int)user_len, text);
    const struct passwd *passwd = *user != '\0' && user_len < sizeof user ? getpwnam(user) : NULL;
    if (*user != '\0' && passwd == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "there is no user \"%s\"", user);
    if (passwd != NULL)
        owner->user = passwd->pw_uid;
    const struct group *entry = *group != '\0' ? getgrnam(group) : NULL;
    if (*group != '\0' && entry == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "there is no group \"%s\"", group);
    if (entry != NULL)
        owner->group = entry->gr_gid;
    return LCT_OK;
}
