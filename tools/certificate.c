/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/certificate.h"

#include "base/text.h"
#include "tools/json.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Escaped as in RFC 4514, except that letters of any script are letters. */
static void name_text(char *text, size_t size, const X509_NAME *name)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;
    long len = 0;

    if (bio != NULL &&
        X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >=
            0)
        len = BIO_get_mem_data(bio, &data);
    (void)snprintf(text, size, "%.*s", (int)len, len > 0 ? data : "");
    lct_tool_make_utf8(text);
    lct_text_disarm(text);
    BIO_free(bio);
}

static bool serial_text(char *text, size_t size, const ASN1_INTEGER *serial)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
    char *hex = number != NULL ? BN_bn2hex(number) : NULL;

    (void)snprintf(text, size, "%s", hex != NULL ? hex : "");
    OPENSSL_free(hex);
    BN_free(number);
    return text[0] != '\0';
}

static bool time_text(char text[21], const ASN1_TIME *at)
{
    struct tm tm;

    return ASN1_TIME_to_tm(at, &tm) == 1 && strftime(text, 21, "%Y-%m-%dT%H:%M:%SZ", &tm) == 20;
}

static bool fingerprint_text(char text[3 * 32], const X509 *x509, OSSL_LIB_CTX *libctx)
{
    unsigned char digest[32], *der = NULL;
    size_t digest_len = 0;
    int len = i2d_X509(x509, &der);
    bool good =
        len > 0 && EVP_Q_digest(libctx, "SHA256", NULL, der, (size_t)len, digest, &digest_len) == 1;

    OPENSSL_free(der);
    if (!good)
        return false;
    for (size_t i = 0; i < digest_len; i++)
        (void)snprintf(text + 3 * i, 3 * sizeof digest - 3 * i, "%02X%s", digest[i],
                       i + 1 < digest_len ? ":" : "");
    return true;
}

static bool judge(struct lct_certificate *certificate, const X509 *x509)
{
    int before_days, before_seconds, days, seconds;

    if (ASN1_TIME_diff(&before_days, &before_seconds, NULL, X509_get0_notBefore(x509)) != 1 ||
        ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x509)) != 1)
        return false;
    certificate->days_left = seconds < 0 ? days - 1L : days;
    certificate->validity = days < 0 || seconds < 0                 ? LCT_VALIDITY_OVER
                            : before_days > 0 || before_seconds > 0 ? LCT_VALIDITY_LATER
                                                                    : LCT_VALIDITY_NOW;
    return true;
}

enum lct_code lct_certificate_describe(struct lct_certificate *certificate, const X509 *x509,
                                       struct lct_crypto *crypto, struct lct_err *err)
{
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, err);

    *certificate = (struct lct_certificate){0};
    if (libctx == NULL)
        return LCT_ERR_INTERNAL;
    (void)ERR_set_mark();
    name_text(certificate->subject, sizeof certificate->subject, X509_get_subject_name(x509));
    name_text(certificate->issuer, sizeof certificate->issuer, X509_get_issuer_name(x509));
    bool good = serial_text(certificate->serial, sizeof certificate->serial,
                            X509_get0_serialNumber(x509)) &&
                fingerprint_text(certificate->fingerprint, x509, libctx) &&
                time_text(certificate->not_before, X509_get0_notBefore(x509)) &&
                time_text(certificate->not_after, X509_get0_notAfter(x509)) &&
                judge(certificate, x509);
    (void)ERR_pop_to_mark();
    return good ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "the certificate cannot be described");
}

const char *lct_certificate_expiry(char text[LCT_CERTIFICATE_EXPIRY],
                                   const struct lct_certificate *certificate)
{
    static const char *const words[] = {[LCT_VALIDITY_NOW] = "until",
                                        [LCT_VALIDITY_OVER] = "expired",
                                        [LCT_VALIDITY_LATER] = "from"};

    (void)snprintf(text, LCT_CERTIFICATE_EXPIRY, "%s %.10s", words[certificate->validity],
                   certificate->validity == LCT_VALIDITY_LATER ? certificate->not_before
                                                               : certificate->not_after);
    return text;
}

json_t *lct_certificate_json(const struct lct_certificate *certificate, size_t num,
                             const char *wrong)
{
    if (wrong != NULL)
        return json_pack("{s:o}", "error", lct_tool_json_text(wrong));
    if (num == 0)
        return json_null();
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:I, s:I}", "subject",
                     certificate->subject, "issuer", certificate->issuer, "serial",
                     certificate->serial, "sha256", certificate->fingerprint, "not_before",
                     certificate->not_before, "not_after", certificate->not_after, "expired",
                     certificate->validity == LCT_VALIDITY_OVER, "days_left",
                     (json_int_t)certificate->days_left, "chain", (json_int_t)num);
}
