/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/certificate.h"

#include "proof/der.h"

#include "proof/vendor.h"

#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

/* What X509_get_ext_d2i says of an extension that it does not return. */
enum { ABSENT = -1, TWICE = -2 };

enum { MAKER, MODEL, VERSION, NUM_NAMED };

X509 *lct_certificate_decode(OSSL_LIB_CTX *libctx, const uint8_t *bytes, size_t bytes_len)
{
    X509 *certificate = bytes_len <= LCT_MAX_CERT ? X509_new_ex(libctx, NULL) : NULL;
    const unsigned char *at = bytes;

    if (certificate != NULL &&
        (d2i_X509(&certificate, &at, (long)bytes_len) == NULL || at != bytes + bytes_len)) {
        X509_free(certificate);
        certificate = NULL;
    }
    return certificate;
}

/* The TCG's OIDs are not in libcrypto's table. */
static bool is_oid(const ASN1_OBJECT *object, const char *oid)
{
    char text[64];
    int len = OBJ_obj2txt(text, sizeof text, object, 1);

    return len > 0 && (size_t)len < sizeof text && strcmp(text, oid) == 0;
}

bool lct_certificate_has_usage(const X509 *certificate, const char *oid)
{
    EXTENDED_KEY_USAGE *usage = X509_get_ext_d2i(certificate, NID_ext_key_usage, NULL, NULL);
    bool has = false;

    for (int i = 0; i < sk_ASN1_OBJECT_num(usage) && !has; i++)
        has = is_oid(sk_ASN1_OBJECT_value(usage, i), oid);
    EXTENDED_KEY_USAGE_free(usage);
    return has;
}

bool lct_certificate_is_no_ca(const X509 *certificate)
{
    int critical = 0;
    BASIC_CONSTRAINTS *constraints =
        X509_get_ext_d2i(certificate, NID_basic_constraints, &critical, NULL);
    bool no_ca = constraints != NULL ? constraints->ca == 0 : critical == ABSENT;

    BASIC_CONSTRAINTS_free(constraints);
    return no_ca;
}

bool lct_certificate_allows(const X509 *certificate, enum lct_key_use use)
{
    int critical = 0;
    ASN1_BIT_STRING *usage = X509_get_ext_d2i(certificate, NID_key_usage, &critical, NULL);
    bool allows =
        usage != NULL ? ASN1_BIT_STRING_get_bit(usage, (int)use) == 1 : critical == ABSENT;

    ASN1_BIT_STRING_free(usage);
    return allows;
}

/* False: one of them is there twice. */
static bool find_in_name(const ASN1_STRING *found[NUM_NAMED], const X509_NAME *name)
{
    static const char *const oids[NUM_NAMED] = {
        [MAKER] = "2.23.133.2.1", [MODEL] = "2.23.133.2.2", [VERSION] = "2.23.133.2.3"};

    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
        for (size_t n = 0; n < NUM_NAMED; n++) {
            if (!is_oid(X509_NAME_ENTRY_get_object(entry), oids[n]))
                continue;
            if (found[n] != NULL)
                return false;
            found[n] = X509_NAME_ENTRY_get_data(entry);
        }
    }
    return true;
}

/* "id:494E5443" */
static bool parse_maker(uint32_t *vendor, const ASN1_STRING *string)
{
    static const char prefix[] = "id:";
    char text[sizeof prefix + 8];

    if (ASN1_STRING_length(string) != sizeof text - 1)
        return false;
    memcpy(text, ASN1_STRING_get0_data(string), sizeof text - 1);
    text[sizeof text - 1] = '\0';
    return strncmp(text, prefix, sizeof prefix - 1) == 0 && strlen(text) == sizeof text - 1 &&
           lct_vendor_parse(vendor, text + sizeof prefix - 1);
}

/* NULL, or why they are not all there. The strings are borrowed from `names`. */
static const char *find_named(const ASN1_STRING *found[NUM_NAMED], const GENERAL_NAMES *names)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DIRNAME && !find_in_name(found, name->d.directoryName))
            return "names the TPM's maker, model or version twice";
    }
    for (size_t n = 0; n < NUM_NAMED; n++)
        if (found[n] == NULL || ASN1_STRING_length(found[n]) == 0)
            return "does not name the TPM's maker, model and version";
    return NULL;
}

static const char *read_maker(uint32_t *vendor, const GENERAL_NAMES *names)
{
    const ASN1_STRING *found[NUM_NAMED] = {NULL};
    const char *fault = find_named(found, names);

    if (fault != NULL)
        return fault;
    if (!parse_maker(vendor, found[MAKER]))
        return "names the TPM's maker by something else than \"id:\" and eight hexadecimal digits";
    return NULL;
}

const char *lct_certificate_maker(uint32_t *vendor, const X509 *certificate)
{
    int critical = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, NULL);
    const char *fault = NULL;

    *vendor = 0;
    if (names == NULL)
        fault = critical == ABSENT  ? "has no subjectAltName, which names the TPM"
                : critical == TWICE ? "has two subjectAltNames"
                                    : "has a subjectAltName that cannot be read";
    else if (critical == 0 && X509_NAME_entry_count(X509_get_subject_name(certificate)) == 0)
        /* RFC 5280, 4.2.1.6 */
        fault = "has no subject, and a subjectAltName that is not critical";
    else
        fault = read_maker(vendor, names);
    GENERAL_NAMES_free(names);
    return fault;
}

static char printable(char c)
{
    if (c < ' ' || c > '~')
        return '?';
    return c;
}

/* What there is of a string in printable ASCII; how many characters. */
static size_t print_string(char *text, size_t size, const ASN1_STRING *string)
{
    unsigned char *utf8 = NULL;
    int len = ASN1_STRING_to_UTF8(&utf8, string);
    size_t used = 0;

    for (; used < size - 1 && len > 0 && used < (size_t)len; used++)
        text[used] = printable((char)utf8[used]);
    text[used] = '\0';
    OPENSSL_free(utf8);
    return used;
}

void lct_certificate_model(char text[LCT_MODEL_TEXT], const X509 *certificate)
{
    const ASN1_STRING *found[NUM_NAMED] = {NULL};
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);

    text[0] = '\0';
    if (names != NULL && find_named(found, names) == NULL)
        (void)print_string(text, LCT_MODEL_TEXT, found[MODEL]);
    GENERAL_NAMES_free(names);
}

static size_t print_name(char text[LCT_SUBJECT_TEXT], const X509_NAME *name)
{
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);

    if (at < 0)
        at = X509_NAME_entry_count(name) - 1;
    return at >= 0 ? print_string(text, LCT_SUBJECT_TEXT,
                                  X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)))
                   : 0;
}

void lct_certificate_subject(char text[LCT_SUBJECT_TEXT], const X509 *certificate)
{
    if (print_name(text, X509_get_subject_name(certificate)) == 0)
        (void)snprintf(text, LCT_SUBJECT_TEXT, "a certificate without a subject");
}

void lct_certificate_issuer(char text[LCT_SUBJECT_TEXT], const X509 *certificate)
{
    if (print_name(text, X509_get_issuer_name(certificate)) == 0)
        (void)snprintf(text, LCT_SUBJECT_TEXT, "an issuer without a name");
}
