/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_ATTEST_H
#define LCT_TOOLS_ATTEST_H

#include "tools/tool.h"

/* Remote attestation: `lct attest` and what follows it; the verifier's part: tools/verify.h. */
extern const char lct_attest_arguments[], lct_attest_details[];

/* A part by its name of two words, "attest offer"; NULL: there is none. */
const struct lct_subcommand *lct_attest_part(const char *name);

/* All parts, from 0; NULL: there are no more. */
const struct lct_subcommand *lct_attest_part_at(size_t i);

/* The parts of who has the TPM. argv[0] is that name. */
enum lct_code lct_attest_offer_run(struct lct_tool *, int, char **, struct lct_err *);
enum lct_code lct_attest_respond_run(struct lct_tool *, int, char **, struct lct_err *);

/* Evidence in the formats of others. */
enum lct_code lct_attest_export_run(struct lct_tool *, int, char **, struct lct_err *);

#endif
