/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROVIDER_PROVIDER_H
#define LCT_PROVIDER_PROVIDER_H

#include <openssl/core.h>
#include <openssl/core_dispatch.h>

/* The dispatch tables of the operations, each in the file of its name. provider-keymgmt(7) and its
 * like say what they hold. */
extern const OSSL_DISPATCH lct_ec_keymgmt[];
extern const OSSL_DISPATCH lct_rsa_keymgmt[];
extern const OSSL_DISPATCH lct_signature[];
extern const OSSL_DISPATCH lct_store_loader[];
extern const OSSL_DISPATCH lct_pem_decoder[];
extern const OSSL_DISPATCH lct_ec_decoder[];
extern const OSSL_DISPATCH lct_rsa_decoder[], lct_software_decoder[];
extern const OSSL_DISPATCH lct_spki_der_encoder[];
extern const OSSL_DISPATCH lct_spki_pem_encoder[];
extern const OSSL_DISPATCH lct_private_der_encoder[];
extern const OSSL_DISPATCH lct_private_pem_encoder[];
extern const OSSL_DISPATCH lct_specific_pem_encoder[];
extern const OSSL_DISPATCH lct_pkcs8_encoder[];
extern const OSSL_DISPATCH lct_text_encoder[];

/* The names that signatures go by, as many as this libcrypto knows. */
extern const OSSL_ALGORITHM lct_signatures[];

/* The EC groups of TLS: provider-base(7), CAPABILITIES. */
OSSL_FUNC_provider_get_capabilities_fn lct_provider_get_capabilities;

#endif
