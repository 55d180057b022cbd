/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_POLICY_H
#define LCT_TPM_POLICY_H

#include "tpm/connection.h"

/* Inside of the room, with the connection taken: what a sealed key takes to be used. */

/* Whether it has a policy to satisfy. */
bool lct_policy_is_needed(const struct lct_tpm_key *key);

/*
 * Says in the policy session, which is open, what the key's policy wants to hear: by the state that
 * satisfied it last or that of the sealing, and if that does not hold by the approval that is for
 * what the PCRs hold now. LCT_ERR_SEALED as lct_tpm_sign says. If the session turns out to be gone
 * it is forgotten, with LCT_ERR_TPM.
 */
enum lct_code lct_policy_satisfy(struct lct_tpm *tpm, const struct lct_tpm_key *key,
                                 struct lct_err *err);

/* As the TPM takes it. */
TPML_PCR_SELECTION lct_pcr_selection(const struct lct_pcrs *pcrs);

/* TPM2_PCR_Read, as lct_tpm_read_pcrs. */
enum lct_code lct_pcr_read(struct lct_tpm *tpm, struct lct_pcr_values *values, const char *label,
                           struct lct_err *err);

#endif
