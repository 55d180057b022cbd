/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_NV_H
#define LCT_TPM_NV_H

#include "tpm/connection.h"

/* Inside of the room, with the connection taken: what others have put into NV memory. */

/* On whose behalf an index is read: values, borrowed. */
struct lct_nv_request {
    const char *label;
    const struct lct_secret *owner_auth; /* the owner's; NULL or empty: none */
    OSSL_LIB_CTX *libctx;
};

/*
 * All that an index holds, which the caller frees: by the index's own authorization, which is
 * taken to be empty, else by the owner's. One whose wrong use would count towards the lockout is
 * rather read by the owner's. The session that is open is another's and is closed. LCT_ERR_AUTH;
 * LCT_ERR_OTHER_TPM: there is no such index; LCT_ERR_UNSUPPORTED: nobody but the firmware may read
 * it, or nothing was written to it yet.
 */
enum lct_code lct_nv_read(struct lct_tpm *tpm, uint8_t **bytes, size_t *len, TPM2_NV_INDEX index,
                          const struct lct_nv_request *request, struct lct_err *err);

#endif
