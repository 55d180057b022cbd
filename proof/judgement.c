/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/judgement.h"

#include "proof/json.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { EARLIER = 60 /* seconds that clocks may be apart */ };

void lct_judgement_begin(struct lct_judgement *judgement, const struct lct_jws_general *jws)
{
    memset(judgement, 0, sizeof *judgement);
    judgement->num_signatures = jws->num_signatures;
    for (size_t i = 0; i < jws->num_signatures; i++) {
        const struct lct_jws_signature *signature = &jws->signatures[i];
        struct lct_signature_finding *finding = &judgement->signatures[i];
        finding->role = signature->role;
        memcpy(finding->kid, signature->kid, sizeof finding->kid);
        memcpy(finding->time, signature->time, sizeof finding->time);
    }
}

static void set_reason(struct lct_judgement *judgement, const char *format, va_list args)
    LCT_PRINTF(2, 0);

static void set_reason(struct lct_judgement *judgement, const char *format, va_list args)
{
    if (judgement->reason[0] == '\0')
        (void)vsnprintf(judgement->reason, sizeof judgement->reason, format, args);
}

void lct_judgement_fail(struct lct_judgement *judgement, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_reason(judgement, format, args);
    va_end(args);
}

bool lct_judgement_is_future(const char *text, time_t now)
{
    time_t seconds;

    return !lct_json_seconds(&seconds, text) || seconds > now + EARLIER;
}

void lct_judgement_check_time(struct lct_judgement *judgement, const char *created, time_t now)
{
    if (lct_judgement_is_future(created, now))
        lct_judgement_fail(judgement, "it is of a time that has not come, %s", created);
}

void lct_judgement_check_counter(struct lct_judgement *judgement, unsigned counter, unsigned last)
{
    if (last > 0 && counter <= last)
        lct_judgement_fail(judgement,
                           "its counter is %u, and a statement with counter %u was seen already: "
                           "it is an old one, played again",
                           counter, last);
}

void lct_judgement_check_key(struct lct_judgement *judgement, const char *what, EVP_PKEY *known,
                             EVP_PKEY *pkey)
{
    if (known != NULL && EVP_PKEY_eq(known, pkey) != 1)
        lct_judgement_fail(judgement, "%s is another than the one that was given", what);
}

void lct_judgement_signature(struct lct_judgement *judgement, OSSL_LIB_CTX *libctx,
                             const struct lct_jws_general *jws, size_t i, EVP_PKEY *pkey)
{
    struct lct_signature_finding *finding = &judgement->signatures[i];
    const char *role = lct_role_name(finding->role);

    finding->good = lct_jws_general_is_by(jws, i, pkey, libctx);
    finding->bad = !finding->good;
    (void)snprintf(finding->reason, sizeof finding->reason,
                   finding->good ? "it is by the key" : "it is not by the key that \"%s\" is",
                   role);
    if (!finding->good)
        lct_judgement_fail(judgement,
                           "the signature in the role \"%s\" is not by that key: the statement was "
                           "changed, or is forged",
                           role);
}
