/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/certificate.h"
#include "tools/doctor.h"

#include "store/certs.h"
#include "store/life.h"

#include <stdio.h>

enum { SOON = 30 /* days */ };

/* Identities in one state: as many as fit in a sentence, and what to type about the first. */
struct group {
    struct lct_doctor_list list;
    char command[sizeof "lct cert  --remove" + LCT_MAX_ID];
};

struct tally {
    size_t num; /* of all that have certificates */
    struct group expired, soon, later, wrong;
    struct lct_err first; /* what is wrong */
};

static void add(struct group *group, const char *id, const char *detail, const char *words,
                const char *option)
{
    if (group->list.num == 0)
        (void)snprintf(group->command, sizeof group->command, "lct %s %s%s", words, id, option);
    lct_doctor_list(&group->list, ", ", "lct:%s%s%s%s", id, *detail != '\0' ? " (" : "", detail,
                    *detail != '\0' ? ")" : "");
}

/* Whether a chain is of the key and in order; *num is its length. That of an identity that has
 * ended is nobody's trouble. */
static enum lct_code check(struct lct_certificate *certificate, size_t *num,
                           const struct lct_tool *tool, const char *id, struct lct_err *err)
{
    struct lct_certs certs;
    struct lct_key *key = NULL;

    *num = 0;
    if (lct_store_get_key(&tool->store, tool->crypto, id, 0, &key, NULL) != LCT_OK)
        return LCT_OK; /* that is told of the identity */
    if (lct_life_check_key(key, NULL) != LCT_OK) {
        lct_key_free(key);
        return LCT_OK;
    }
    enum lct_code code = lct_certs_read(&tool->store, tool->crypto, id, 0, &certs, err);
    *num = certs.num;
    if (code == LCT_OK && certs.num > 0) {
        if ((code = lct_certs_check_leaf(&certs, key, err)) != LCT_OK ||
            (code = lct_certs_check_chain(&certs, err)) != LCT_OK)
            (void)lct_err_prefix(err, key->label);
        else
            code = lct_certificate_describe(certificate, certs.certs[0].x509, tool->crypto, err);
    }
    lct_key_free(key);
    lct_certs_clear(&certs);
    return code;
}

static void count(struct tally *tally, const struct lct_tool *tool, const char *id)
{
    struct lct_certificate certificate;
    struct lct_err err;
    size_t num = 0;
    char date[11];
    enum lct_code code = check(&certificate, &num, tool, id, &err);

    tally->num += num > 0 || code != LCT_OK;
    if (code != LCT_OK) {
        if (tally->wrong.list.num == 0)
            tally->first = err;
        /* What this user may not read may well be good: nothing to remove. */
        add(&tally->wrong, id, "", "cert", code == LCT_ERR_STORE ? "" : " --remove");
    } else if (num > 0) {
        bool later = certificate.validity == LCT_VALIDITY_LATER;
        (void)snprintf(date, sizeof date, "%.10s",
                       later ? certificate.not_before : certificate.not_after);
        if (certificate.validity == LCT_VALIDITY_OVER)
            add(&tally->expired, id, date, "csr", "");
        else if (later)
            add(&tally->later, id, date, "cert", "");
        else if (certificate.days_left < SOON)
            add(&tally->soon, id, date, "csr", "");
    }
}

static void tell(struct lct_doctor *doctor, struct group *group, const char *what)
{
    if (group->list.num > 0)
        (void)lct_doctor_find(doctor, LCT_TOPIC_STORE, LCT_SEVERITY_WARNING, group->command,
                              "certificates %s: %s", what, lct_doctor_list_end(&group->list));
}

void lct_doctor_certificates(struct lct_doctor *doctor, char *const *ids, size_t num_ids)
{
    struct tally tally = {0};

    for (size_t i = 0; i < num_ids; i++)
        count(&tally, doctor->tool, ids[i]);
    if (tally.expired.list.num > 0)
        (void)lct_doctor_problem(doctor, LCT_TOPIC_STORE, LCT_ERR_CHECK, tally.expired.command,
                                 "certificates that are expired: %s",
                                 lct_doctor_list_end(&tally.expired.list));
    tell(doctor, &tally.soon, "that expire within 30 days");
    tell(doctor, &tally.later, "that are not valid yet");
    if (tally.wrong.list.num > 0)
        (void)lct_doctor_find(doctor, LCT_TOPIC_STORE, LCT_SEVERITY_WARNING, tally.wrong.command,
                              "certificates that cannot be used: %zu, the first because: %s",
                              tally.wrong.list.num, tally.first.text);
    if (tally.num > 0 && tally.expired.list.num + tally.soon.list.num + tally.later.list.num +
                                 tally.wrong.list.num ==
                             0)
        (void)lct_doctor_find(doctor, LCT_TOPIC_STORE, LCT_SEVERITY_OK, NULL,
                              "certificates: of %zu identities, all of their keys and valid for "
                              "30 days or more",
                              tally.num);
}
