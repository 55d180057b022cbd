/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/rotate.h"

#include "tools/as_owner.h"
#include "tools/counter.h"
#include "tools/describe.h"
#include "tools/tool.h"

#include "proof/json.h"
#include "store/life.h"
#include "store/rotate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum lct_code lct_rotate_overlap(int *overlap, const char *text, struct lct_err *err)
{
    char *end = NULL;
    unsigned long number = text != NULL ? strtoul(text, &end, 10) : 0;

    *overlap = LCT_OVERLAP_BY_REASON;
    if (text == NULL)
        return LCT_OK;
    if (*text >= '0' && *text <= '9' && number <= LCT_OVERLAP_MAX) {
        if (strcmp(end, "h") == 0)
            number *= 3600;
        if ((*end == '\0' || strcmp(end, "h") == 0) && number <= LCT_OVERLAP_MAX) {
            *overlap = (int)number;
            return LCT_OK;
        }
    }
    return LCT_FAIL(err, LCT_ERR_USAGE,
                    "--overlap takes seconds, or hours as in 24h, and 48 hours at most");
}

enum lct_code lct_rotate_say(const struct lct_tool *tool, const char *id,
                             const struct lct_rotated *rotated, struct lct_err *err)
{
    time_t until = 0;

    if (lct_json_seconds(&until, rotated->until) && until <= time(NULL))
        return lct_tool_say(tool, err,
                            "lct:%s: generation %u is the active one now; generation %u signs no "
                            "more\n",
                            id, rotated->now, rotated->before);
    return lct_tool_say(tool, err,
                        "lct:%s: generation %u is the active one now; generation %u signs until "
                        "%s, in programs that have loaded it\n",
                        id, rotated->now, rotated->before, rotated->until);
}

static enum lct_code commit(struct lct_tool *tool, const struct lct_rotate_request *request,
                            struct lct_err *err)
{
    struct lct_rotated rotated;
    int overlap = 0;
    enum lct_code code = lct_rotate_overlap(&overlap, request->overlap, err);

    if (code == LCT_OK)
        code = lct_rotate_commit(&rotated, &tool->store, tool->crypto, request->id, overlap, NULL,
                                 err);
    return code == LCT_OK ? lct_rotate_say(tool, request->id, &rotated, err) : code;
}

/* For a compromise that is found out the day after. */
static enum lct_code shorten(struct lct_tool *tool, const struct lct_rotate_request *request,
                             struct lct_err *err)
{
    char until[21];
    int overlap = 0;
    enum lct_code code = lct_rotate_overlap(&overlap, request->overlap, err);

    if (code == LCT_OK)
        code = lct_rotate_shorten(until, &tool->store, request->id, (unsigned)overlap, err);
    return code == LCT_OK ? lct_tool_say(tool, err, "lct:%s: no earlier key of it signs after %s\n",
                                         request->id, until)
                          : code;
}

/* Whether approvals for another generation depend on it. *dir: the store that the identity is in.
 */
static bool is_shared(const struct lct_tool *tool, const char **dir, const char *id,
                      const struct lct_counter *counter)
{
    struct lct_record *record = NULL;
    bool shared = false;

    if (lct_store_get_record(&tool->store, id, &record, dir, NULL) != LCT_OK)
        return true;
    for (size_t i = 0; i < record->num_generations; i++)
        shared |= record->generations[i].seal.counter.handle == counter->handle;
    free(record);
    return shared;
}

/* A counter that cannot go is told, and harms nobody. */
static void remove_counter(struct lct_tool *tool, const char *id, const struct lct_counter *counter)
{
    char label[sizeof "lct:" + LCT_MAX_ID];
    struct lct_err why = {.code = LCT_OK};
    const char *dir = NULL;

    if (counter->handle == 0 || is_shared(tool, &dir, id, counter))
        return;
    (void)snprintf(label, sizeof label, "lct:%s", id);
    if (lct_tool_counter_remove(tool, dir, counter, label, &why) != LCT_OK)
        lct_tool_warn(NULL, "%s", why.text);
}

/* What lct persist has put into the TPM of the pending generation goes before it is withdrawn. */
static void evict_pending(void *arg, const char *id, const struct lct_generation *pending)
{
    struct lct_tool *tool = arg;
    struct lct_secret owner_auth = {0};

    (void)lct_tool_evict(tool, &owner_auth, id, pending);
    lct_secret_wipe(&owner_auth);
}

static enum lct_code withdraw(struct lct_tool *tool, const struct lct_rotate_request *request,
                              struct lct_err *err)
{
    struct lct_withdrawal withdrawal = {.evict = evict_pending, .arg = tool};
    enum lct_code code = lct_rotate_withdraw(&withdrawal, &tool->store, request->id, err);

    if (code != LCT_OK)
        return code;
    remove_counter(tool, request->id, &withdrawal.withdrawn.seal.counter);
    return lct_tool_say(tool, err, "lct:%s: generation %u is withdrawn, and its key is gone\n",
                        request->id, withdrawal.withdrawn.number);
}

/* What goes with which of the five things that the command does. */
static enum lct_code check(const struct lct_rotate_request *request, struct lct_err *err)
{
    const bool makes =
        !request->commit && !request->withdraw && !request->statement && request->overlap == NULL;
    const char *wrong = NULL;

    if ((int)request->commit + (int)request->withdraw + (int)request->statement > 1)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--commit, --withdraw and --statement contradict each other");
    if (!makes && (request->reason != NULL || request->algorithm != NULL || request->to != NULL))
        wrong = "--reason, --algorithm and --to are";
    else if (!makes && (request->seal != NULL || request->bind || request->revocable))
        wrong = "--seal, --bind and --revocable are";
    else if (!makes && (request->passphrase || request->no_passphrase ||
                        request->new_passphrase_file != NULL))
        wrong = "--passphrase, --no-passphrase and --new-passphrase-file are";
    else if (!makes && request->new_parent)
        wrong = "--new-parent is";
    if (wrong != NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE, "%s for a new key", wrong);
    if (request->overlap != NULL && (request->withdraw || request->statement))
        return LCT_FAIL(err, LCT_ERR_USAGE, "--overlap goes with --commit, or stands alone");
    if (request->evidence != NULL && !request->statement)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--evidence goes with --statement");
    if (request->without_old_key && !makes && !request->statement)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--without-old-key is for a statement");
    return LCT_OK;
}

enum lct_code lct_rotate_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct lct_rotate_request request = {0};
    const struct lct_option options[] = {
        {"reason", &request.reason, NULL},
        {"algorithm", &request.algorithm, NULL},
        {"seal", &request.seal, NULL},
        {"bind", NULL, &request.bind},
        {"revocable", NULL, &request.revocable},
        {"passphrase", NULL, &request.passphrase},
        {"no-passphrase", NULL, &request.no_passphrase},
        {"new-passphrase-file", &request.new_passphrase_file, NULL},
        {"new-parent", NULL, &request.new_parent},
        {"to", &request.to, NULL},
        {"without-old-key", NULL, &request.without_old_key},
        {"statement", NULL, &request.statement},
        {"evidence", &request.evidence, NULL},
        {"commit", NULL, &request.commit},
        {"overlap", &request.overlap, NULL},
        {"withdraw", NULL, &request.withdraw},
        {"json", NULL, &tool->json},
    };
    enum lct_code code = lct_tool_begin(tool, argc, argv, options,
                                        sizeof options / sizeof options[0], &request.id, err);

    if (code == LCT_OK)
        code = check(&request, err);
    if (code != LCT_OK)
        return code;
    if (request.statement)
        return lct_rotate_state(tool, &request, err);
    if (!request.commit && !request.withdraw && request.overlap == NULL)
        return lct_rotate_make(tool, &request, err);
    code = request.commit     ? commit(tool, &request, err)
           : request.withdraw ? withdraw(tool, &request, err)
                              : shorten(tool, &request, err);
    return code == LCT_OK ? lct_describe_result(tool, request.id, err) : code;
}
