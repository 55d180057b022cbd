/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_PAYLOAD_H
#define LCT_PROOF_PAYLOAD_H

#include "base/error.h"
#include "proof/jws_general.h"

#include <jansson.h>

/* What a statement says, canonical JSON (proof/jcs.h) of a "type": in common to all kinds. */
enum lct_payload {
    LCT_PAYLOAD_OTHER,
    LCT_PAYLOAD_SUCCESSION, /* proof/succession.h */
    LCT_PAYLOAD_END,        /* proof/ending.h */
    LCT_PAYLOAD_STATEMENT   /* proof/signed_statement.h */
};

/* Which kind it says that it is. */
enum lct_payload lct_payload_kind(const struct lct_jws_general *jws);

/* A statement without a signature yet; takes `json` over. LCT_ERR_INTERNAL: it is NULL, or has no
 * canonical form. lct_jws_general_clear, whatever comes back. */
enum lct_code lct_payload_begin(struct lct_jws_general *jws, json_t *json, struct lct_err *err);

/* The payload, of this "type" and version 1. LCT_ERR_BAD_EVIDENCE: also one that is not canonical;
 * LCT_ERR_UNSUPPORTED: another version. The caller frees *json with json_decref. */
enum lct_code lct_payload_read(json_t **json, const struct lct_jws_general *jws, const char *type,
                               struct lct_err *err);

/* That it is signed in this role alone, by one key. LCT_ERR_BAD_EVIDENCE. */
enum lct_code lct_payload_check_alone(const struct lct_jws_general *jws, enum lct_role role,
                                      struct lct_err *err);

/* Numbers and times as they stand there: from 1 to `max`; a time that there is. */
bool lct_payload_number(unsigned *number, unsigned max, json_int_t value);
bool lct_payload_time(char text[21], const char *value);

#endif
