/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unconst.h"
#include "provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/prov_ssl.h>
#include <strings.h>

/*
 * libssl uses a TLS group only if the provider that announces it is the one that the group's
 * keymgmt is fetched from (provider-base(7), TLS-GROUP). Where we are listed first that is ours, so
 * the EC groups are announced here too, or they would be gone from every handshake of the program.
 * Where we are not, libssl ignores these.
 */
static const struct group {
    const char *name;     /* IANA's */
    const char *internal; /* OpenSSL's */
    unsigned id, security_bits;
    int min_tls, max_tls, min_dtls, max_dtls; /* 0: no limit; -1: not at all */
} groups[] = {
    {"secp256r1", "prime256v1", 23, 128, TLS1_VERSION, 0, DTLS1_VERSION, 0},
    {"P-256", "prime256v1", 23, 128, TLS1_VERSION, 0, DTLS1_VERSION, 0},
    {"secp384r1", "secp384r1", 24, 192, TLS1_VERSION, 0, DTLS1_VERSION, 0},
    {"P-384", "secp384r1", 24, 192, TLS1_VERSION, 0, DTLS1_VERSION, 0},
    {"secp521r1", "secp521r1", 25, 256, TLS1_VERSION, 0, DTLS1_VERSION, 0},
    {"P-521", "secp521r1", 25, 256, TLS1_VERSION, 0, DTLS1_VERSION, 0},
    {"brainpoolP256r1", "brainpoolP256r1", 26, 128, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"brainpoolP384r1", "brainpoolP384r1", 27, 192, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"brainpoolP512r1", "brainpoolP512r1", 28, 256, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"sect163k1", "sect163k1", 1, 80, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION, DTLS1_2_VERSION},
    {"sect163r1", "sect163r1", 2, 80, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION, DTLS1_2_VERSION},
    {"sect163r2", "sect163r2", 3, 80, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION, DTLS1_2_VERSION},
    {"sect193r1", "sect193r1", 4, 80, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION, DTLS1_2_VERSION},
    {"sect193r2", "sect193r2", 5, 80, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION, DTLS1_2_VERSION},
    {"sect233k1", "sect233k1", 6, 112, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"sect233r1", "sect233r1", 7, 112, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"sect239k1", "sect239k1", 8, 112, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"sect283k1", "sect283k1", 9, 128, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"sect283r1", "sect283r1", 10, 128, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"sect409k1", "sect409k1", 11, 192, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"sect409r1", "sect409r1", 12, 192, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"sect571k1", "sect571k1", 13, 256, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"sect571r1", "sect571r1", 14, 256, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"secp160k1", "secp160k1", 15, 80, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"secp160r1", "secp160r1", 16, 80, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"secp160r2", "secp160r2", 17, 80, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"secp192k1", "secp192k1", 18, 80, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"secp192r1", "prime192v1", 19, 80, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"P-192", "prime192v1", 19, 80, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION, DTLS1_2_VERSION},
    {"secp224k1", "secp224k1", 20, 112, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"secp224r1", "secp224r1", 21, 112, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"P-224", "secp224r1", 21, 112, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION, DTLS1_2_VERSION},
    {"secp256k1", "secp256k1", 22, 128, TLS1_VERSION, TLS1_2_VERSION, DTLS1_VERSION,
     DTLS1_2_VERSION},
    {"brainpoolP256r1tls13", "brainpoolP256r1", 31, 128, TLS1_3_VERSION, 0, -1, -1},
    {"brainpoolP384r1tls13", "brainpoolP384r1", 32, 192, TLS1_3_VERSION, 0, -1, -1},
    {"brainpoolP512r1tls13", "brainpoolP512r1", 33, 256, TLS1_3_VERSION, 0, -1, -1},
};

static int announce(const struct group *group, OSSL_CALLBACK *cb, void *arg)
{
    struct group copy = *group;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_CAPABILITY_TLS_GROUP_NAME, lct_unconst(group->name),
                                         0),
        OSSL_PARAM_construct_utf8_string(OSSL_CAPABILITY_TLS_GROUP_NAME_INTERNAL,
                                         lct_unconst(group->internal), 0),
        OSSL_PARAM_construct_utf8_string(OSSL_CAPABILITY_TLS_GROUP_ALG, lct_unconst("EC"), 0),
        OSSL_PARAM_construct_uint(OSSL_CAPABILITY_TLS_GROUP_ID, &copy.id),
        OSSL_PARAM_construct_uint(OSSL_CAPABILITY_TLS_GROUP_SECURITY_BITS, &copy.security_bits),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MIN_TLS, &copy.min_tls),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MAX_TLS, &copy.max_tls),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MIN_DTLS, &copy.min_dtls),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MAX_DTLS, &copy.max_dtls),
        OSSL_PARAM_END,
    };

    return cb(params, arg);
}

int lct_provider_get_capabilities(void *provctx, const char *capability, OSSL_CALLBACK *cb,
                                  void *arg)
{
    (void)provctx;
    if (strcasecmp(capability, "TLS-GROUP") != 0)
        return 0;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        if (!announce(&groups[i], cb, arg))
            return 0;
    return 1;
}
