/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_PROTOTYPE_H
#define LCT_STORE_PROTOTYPE_H

#include "base/error.h"
#include "store/id.h"

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What Web4's Python prototype wrote of a key, ~/.web4/identity/tpm2/ID.json. The key itself is at
 * a persistent handle alone, one of 256, and making another evicted what was there: so the file may
 * be of a key that is no more, and only the public key in it says whether it is.
 */
struct lct_prototype {
    char id[LCT_MAX_ID + 1]; /* of its key_id; "": that is none */
    uint32_t handle;
    EVP_PKEY *pkey; /* the public key: EC P-256, the only kind it made in a TPM */
};

enum { LCT_MAX_PROTOTYPE = 64 << 10 /* bytes of a file */ };

/*
 * Reads one. Of its members key_id, algorithm, public_key_pem and persistent_handle are needed;
 * what else it has, of its machine and its time, nothing vouches for and nobody looks at.
 * LCT_ERR_BAD_RECORD, which says the member; LCT_ERR_UNSUPPORTED: it is of another kind of key, as
 * the prototype's software keys are. The caller clears it, whatever comes back.
 */
enum lct_code lct_prototype_read(struct lct_prototype *prototype, OSSL_LIB_CTX *libctx,
                                 const uint8_t *text, size_t text_len, struct lct_err *err);
void lct_prototype_clear(struct lct_prototype *prototype);

#endif
