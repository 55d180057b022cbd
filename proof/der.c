/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/der.h"

#include <stdlib.h>
#include <string.h>

bool lct_der_set(struct lct_der *der, const uint8_t *bytes, size_t len)
{
    lct_der_clear(der);
    if (len == 0 || len > LCT_MAX_CERT)
        return false;
    der->bytes = malloc(len);
    if (der->bytes == NULL)
        return false;
    memcpy(der->bytes, bytes, len);
    der->len = len;
    return true;
}

void lct_der_clear(struct lct_der *der)
{
    free(der->bytes);
    *der = (struct lct_der){0};
}

void lct_der_chain_clear(struct lct_der_chain *chain)
{
    for (size_t i = 0; i < chain->num; i++)
        lct_der_clear(&chain->certs[i]);
    chain->num = 0;
}
