/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/seal_text.h"

#include "proof/spki.h"
#include "tcg/public.h"
#include "tools/authority.h"

#include <openssl/evp.h>
#include <stdio.h>

void lct_seal_authority(char fingerprint[65], const struct lct_seal *seal, OSSL_LIB_CTX *libctx)
{
    struct lct_public public_area;
    EVP_PKEY *pkey = NULL;

    fingerprint[0] = '\0';
    if (seal->authority_len > 0 &&
        lct_public_decode(&public_area, seal->authority, seal->authority_len, NULL) == LCT_OK)
        pkey = lct_public_pkey(&public_area, libctx, NULL);
    if (pkey == NULL || lct_spki_fingerprint(fingerprint, pkey, libctx, NULL) != LCT_OK)
        fingerprint[0] = '\0';
    EVP_PKEY_free(pkey);
}

const char *lct_seal_words(char words[LCT_SEAL_WORDS], const struct lct_seal *seal,
                           const char *date, OSSL_LIB_CTX *libctx)
{
    char pcrs[LCT_PCRS_TEXT], fingerprint[65], when[24] = "";
    const char *alone = seal->counter.handle != 0 ? " for it, revocable"
                        : seal->ref_len > 0       ? " for it"
                                                  : "";

    lct_pcrs_text(pcrs, &seal->pcrs.pcrs);
    lct_seal_authority(fingerprint, seal, libctx);
    if (date != NULL)
        (void)snprintf(when, sizeof when, " as of %.10s", date);
    switch (seal->kind) {
    case LCT_SEAL_STRICT:
        (void)snprintf(words, LCT_SEAL_WORDS, "sealed to %s%s, and no other state", pcrs, when);
        break;
    case LCT_SEAL_AUTHORITY:
        (void)snprintf(words, LCT_SEAL_WORDS, "sealed to any state approved by %.*s%s",
                       LCT_FINGERPRINT_SHORT, fingerprint, alone);
        break;
    case LCT_SEAL_EITHER:
        (void)snprintf(words, LCT_SEAL_WORDS, "sealed to %s%s%s or any state approved by %.*s%s",
                       pcrs, when, date != NULL ? "," : "", LCT_FINGERPRINT_SHORT, fingerprint,
                       alone);
        break;
    case LCT_SEAL_NONE:
    case LCT_SEAL_AUTH:
    default:
        (void)snprintf(words, LCT_SEAL_WORDS, "unsealed");
        break;
    }
    return words;
}
