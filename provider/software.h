/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROVIDER_SOFTWARE_H
#define LCT_PROVIDER_SOFTWARE_H

#include "provider/context.h"
#include "store/key.h"

#include <openssl/core.h>

/*
 * A key in software is given to libcrypto as bytes and not by a reference, as a file would be: its
 * own decoders make the key of them, in the application's library context and of a provider there.
 * From then on it is none of ours. What object_cb returned; 0 also if the key cannot be encoded.
 */

/* The private key, of a key that is open: PKCS #8, wiped here when libcrypto is done with it. It is
 * in the audit first, where there is one; 0 if it cannot be, and why is raised, and told as
 * provider/unlock.h says. */
int lct_software_give(const struct lct_provider *provider, const struct lct_key *key,
                      OSSL_CALLBACK *object_cb, void *object_cbarg);

/* The public key: SubjectPublicKeyInfo. */
int lct_software_give_public(const struct lct_key *key, OSSL_CALLBACK *object_cb,
                             void *object_cbarg);

#endif
