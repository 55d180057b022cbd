/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_DOCTOR_H
#define LCT_TOOLS_DOCTOR_H

#include "tools/tool.h"
#include "tpm/probe.h"

#include <jansson.h>

/* How bad a finding is. A problem is what keeps lct:ID from signing, or others from accepting it.
 */
enum lct_severity { LCT_SEVERITY_OK, LCT_SEVERITY_NOTE, LCT_SEVERITY_WARNING };

/* What a finding is about: the groups of the report, in its order. */
enum lct_topic {
    LCT_TOPIC_TPM,
    LCT_TOPIC_SECRET,
    LCT_TOPIC_WAY,
    LCT_TOPIC_BOOT,
    LCT_TOPIC_OPENSSL,
    LCT_TOPIC_STORE,
    LCT_TOPIC_SIGNATURE,
    LCT_TOPIC_IDENTITY
};

/* An examination under way. */
struct lct_doctor {
    struct lct_tool *tool;
    const char *root; /* before /sys, /dev, /proc: "" on the machine itself */
    const char *id;   /* the identity asked about, or NULL */
    json_t *findings; /* array of {topic, severity, text, command, ...} */
    bool probed;      /* the TPM has said of itself what is in `probe` */
    struct lct_probe probe;
    bool sealed;          /* that this boot does not open the identity's seal is told */
    struct lct_err first; /* the first problem: the exit status */
};

/*
 * Adds a finding. `command` is what to type, or NULL. Returns its object, borrowed, for what a
 * program wants to know beside the sentence (jansson takes the NULL that it is without memory).
 */
json_t *lct_doctor_find(struct lct_doctor *doctor, enum lct_topic topic, enum lct_severity severity,
                        const char *command, const char *format, ...) LCT_PRINTF(5, 6);

/* The same for a problem; `code` is the exit status if it is the first. */
json_t *lct_doctor_problem(struct lct_doctor *doctor, enum lct_topic topic, enum lct_code code,
                           const char *command, const char *format, ...) LCT_PRINTF(5, 6);

/* A list of things in a sentence: what there is no room for is counted. Zero is the empty one. */
struct lct_doctor_list {
    size_t num, more;
    char text[400];
};

/* Adds a thing, with `separator` before it unless it is the first. */
void lct_doctor_list(struct lct_doctor_list *list, const char *separator, const char *format, ...)
    LCT_PRINTF(3, 4);

/* Adds how many there was no room for, if any, and returns the text. */
const char *lct_doctor_list_end(struct lct_doctor_list *list);

/* The ways in: doctor_tpm.c. True if one opens. */
bool lct_doctor_ways(struct lct_doctor *doctor);
/* What the TPM says of itself: doctor_tpm.c. */
void lct_doctor_tpm(struct lct_doctor *doctor);
/* What is loaded in the TPM and kept there, and whose it is: doctor_slots.c. After the probe. */
void lct_doctor_slots(struct lct_doctor *doctor);
/* Keys whose persistent handles are not as their records say: doctor_persist.c. After the probe. */
void lct_doctor_persist(struct lct_doctor *doctor);

/* NV counters of no identity: the same file. Talks to the TPM. */
void lct_doctor_counters(struct lct_doctor *doctor);
/* The files of authorizations, and whether the TPM takes what is in them: doctor_secret.c. */
void lct_doctor_secrets(struct lct_doctor *doctor);
/* What the kernel and the firmware say: doctor_machine.c. False: the TPM is none that we can use.
 */
bool lct_doctor_machine(struct lct_doctor *doctor);
/* Whether programs that use OpenSSL find the provider: doctor_openssl.c. `configured`: the
 * configuration could be read. */
void lct_doctor_openssl(struct lct_doctor *doctor, bool configured);
/* The directories of identities: doctor_store.c. */
void lct_doctor_store(struct lct_doctor *doctor);
/* Whether the certificates of these identities can be used: doctor_certificate.c. */
void lct_doctor_certificates(struct lct_doctor *doctor, char *const *ids, size_t num_ids);
/* Whether this boot opens the seal of an identity: doctor_seal.c. What cannot be found out is shut.
 */
enum lct_opening { LCT_OPENING_FREE /* no PCR seals it */, LCT_OPENING_OPEN, LCT_OPENING_SHUT };
enum lct_opening lct_doctor_opening(const struct lct_tool *tool, const char *id);
/* The recovery authority, and where its private half lies: doctor_seal.c. */
void lct_doctor_authority(struct lct_doctor *doctor);
/* Authorities whose keys the TPM does not take: doctor_authority.c. After the probe. */
void lct_doctor_authorities(struct lct_doctor *doctor);
/* Which sealed identities this boot opens: doctor_seal.c. */
void lct_doctor_seals(struct lct_doctor *doctor);
/* What the identity asked about is sealed to, which PCR differs, and what approves: doctor_seal.c.
 */
void lct_doctor_seal(struct lct_doctor *doctor);
/* What all of that is in numbers, in Prometheus' text format, to `file`, "-" or NULL for standard
 * output: doctor_metrics.c. A TPM that does not answer is a number, too. LCT_ERR_IO; errors of
 * lct_tool_open. */
enum lct_code lct_doctor_metrics(struct lct_tool *tool, const char *file, struct lct_err *err);
/* A signature, and the identity asked about: doctor_signature.c. */
void lct_doctor_sign(struct lct_doctor *doctor);

#endif
