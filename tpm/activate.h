/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_ACTIVATE_H
#define LCT_TPM_ACTIVATE_H

#include "tpm/attest.h"
#include "tpm/parent.h"
#include "tpm/use.h"

/* Inside of the room, with the connection taken: TPM2_ActivateCredential (TPM 2.0 Part 3, 12.5). */

/* The credential in `request`, whose secret goes into *secret. */
struct lct_activation {
    struct lct_use use; /* of the key that the credential is for; not if `ak` */
    const struct lct_tpm_attest_request *request;
    const struct lct_parent *ak; /* it is for this one, which is in the TPM; NULL: for use.key */
    struct lct_secret *secret;
    const struct lct_parent *ek; /* for lct_activate itself */
};

/*
 * Makes the endorsement key usable, opens the credential with it and gives it up again. The key
 * becomes the resident one, if it is for the key. Errors as lct_tpm_attest.
 */
enum lct_code lct_activate(struct lct_tpm *tpm, struct lct_activation *activation,
                           struct lct_err *err);

#endif
