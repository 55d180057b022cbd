/* SPDX-License-Identifier: Apache-2.0 */
#include "store/keyfile.h"

#include "store/armour.h"
#include "store/step.h"

#include <openssl/asn1t.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <stdlib.h>
#include <string.h>

const char lct_keyfile_label[] = "TSS2 PRIVATE KEY";

typedef struct {
    ASN1_INTEGER *command_code;
    ASN1_OCTET_STRING *command_policy;
} TPM_POLICY;

typedef struct {
    ASN1_UTF8STRING *name;
    STACK_OF(TPM_POLICY) * policy;
} TPM_AUTH_POLICY;

typedef struct {
    ASN1_OBJECT *type;
    ASN1_BOOLEAN empty_auth;
    STACK_OF(TPM_POLICY) * policy;
    ASN1_OCTET_STRING *secret;
    STACK_OF(TPM_AUTH_POLICY) * auth_policy;
    ASN1_UTF8STRING *description;
    ASN1_BOOLEAN rsa_parent;
    ASN1_INTEGER *parent;
    ASN1_OCTET_STRING *public_area;
    ASN1_OCTET_STRING *private_area;
} TPM_KEY;

DEFINE_STACK_OF(TPM_POLICY)
DEFINE_STACK_OF(TPM_AUTH_POLICY)

/* clang-format off */
ASN1_SEQUENCE(TPM_POLICY) = {
    ASN1_EXP(TPM_POLICY, command_code, ASN1_INTEGER, 0),
    ASN1_EXP(TPM_POLICY, command_policy, ASN1_OCTET_STRING, 1)
} static_ASN1_SEQUENCE_END(TPM_POLICY)

ASN1_SEQUENCE(TPM_AUTH_POLICY) = {
    ASN1_EXP_OPT(TPM_AUTH_POLICY, name, ASN1_UTF8STRING, 0),
    ASN1_EXP_SEQUENCE_OF(TPM_AUTH_POLICY, policy, TPM_POLICY, 1)
} static_ASN1_SEQUENCE_END(TPM_AUTH_POLICY)

ASN1_SEQUENCE(TPM_KEY) = {
    ASN1_SIMPLE(TPM_KEY, type, ASN1_OBJECT),
    ASN1_EXP_OPT(TPM_KEY, empty_auth, ASN1_BOOLEAN, 0),
    ASN1_EXP_SEQUENCE_OF_OPT(TPM_KEY, policy, TPM_POLICY, 1),
    ASN1_EXP_OPT(TPM_KEY, secret, ASN1_OCTET_STRING, 2),
    ASN1_EXP_SEQUENCE_OF_OPT(TPM_KEY, auth_policy, TPM_AUTH_POLICY, 3),
    ASN1_EXP_OPT(TPM_KEY, description, ASN1_UTF8STRING, 4),
    ASN1_EXP_OPT(TPM_KEY, rsa_parent, ASN1_BOOLEAN, 5),
    ASN1_SIMPLE(TPM_KEY, parent, ASN1_INTEGER),
    ASN1_SIMPLE(TPM_KEY, public_area, ASN1_OCTET_STRING),
    ASN1_SIMPLE(TPM_KEY, private_area, ASN1_OCTET_STRING)
} static_ASN1_SEQUENCE_END(TPM_KEY)
    /* clang-format on */

    static const char *const oids[] = {
        [LCT_KEYFILE_LOADABLE] = "2.23.133.10.1.3",
        [LCT_KEYFILE_IMPORTABLE] = "2.23.133.10.1.4",
        [LCT_KEYFILE_SEALED] = "2.23.133.10.1.5",
};

bool lct_keyfile_begins(const uint8_t *der, size_t der_len)
{
    /* 2.23.133.10.1, and one more arc: 3 to 5 */
    static const uint8_t first[] = {V_ASN1_OBJECT, 6, 0x67, 0x81, 0x05, 0x0a, 0x01};

    return lct_armour_holds_first(der, der_len, first, sizeof first);
}

static TPM_KEY *key_new(void)
{
    return (TPM_KEY *)ASN1_item_new(ASN1_ITEM_rptr(TPM_KEY));
}

static void key_free(TPM_KEY *key)
{
    ASN1_item_free((ASN1_VALUE *)key, ASN1_ITEM_rptr(TPM_KEY));
}

static bool take_type(struct lct_keyfile *keyfile, const ASN1_OBJECT *type)
{
    char text[64];

    if (OBJ_obj2txt(text, sizeof text, type, 1) <= 0)
        return false;
    for (size_t i = 0; i < sizeof oids / sizeof oids[0]; i++)
        if (strcmp(text, oids[i]) == 0) {
            keyfile->type = (enum lct_keyfile_type)i;
            return true;
        }
    return false;
}

/* Tools write a handle as an unsigned or, for 0x81000001, as a negative 32-bit number. */
static bool take_parent(uint32_t *parent, const ASN1_INTEGER *integer)
{
    int64_t value = 0;

    if (!ASN1_INTEGER_get_int64(&value, integer) || value < INT32_MIN || value > UINT32_MAX)
        return false;
    *parent = (uint32_t)value;
    return true;
}

/* A TPM2B that is as long as it says, where the DER up to *end has it last; before it, *end is
 * then. */
static bool take_sized(uint8_t **bytes, size_t *bytes_len, uint8_t **end,
                       const ASN1_OCTET_STRING *string)
{
    const uint8_t *data = ASN1_STRING_get0_data(string);
    int len = ASN1_STRING_length(string);

    if (len < 3 || ((data[0] << 8) | data[1]) != len - 2)
        return false;
    *bytes = *end - len;
    *bytes_len = (size_t)len;
    *end -= ASN1_object_size(0, len, V_ASN1_OCTET_STRING);
    return true;
}

/* pubkey and privkey are the last fields, and in DER there is one way to write them. */
static bool take_areas(struct lct_keyfile *keyfile, const TPM_KEY *key)
{
    uint8_t *end = keyfile->der + keyfile->der_len;

    return take_sized(&keyfile->private_area, &keyfile->private_len, &end, key->private_area) &&
           take_sized(&keyfile->public_area, &keyfile->public_len, &end, key->public_area);
}

/* As it is: what is to be in it is known by who imports the key. */
static bool take_secret(struct lct_keyfile *keyfile, const ASN1_OCTET_STRING *string)
{
    size_t len = string != NULL ? (size_t)ASN1_STRING_length(string) : 0;

    if (len == 0)
        return true;
    keyfile->secret = malloc(len);
    if (keyfile->secret == NULL)
        return false;
    memcpy(keyfile->secret, ASN1_STRING_get0_data(string), len);
    keyfile->secret_len = len;
    return true;
}

static bool take_description(char **text, const ASN1_UTF8STRING *string)
{
    if (string == NULL)
        return true;
    *text =
        strndup((const char *)ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
    return *text != NULL;
}

static bool keep_der(struct lct_keyfile *keyfile, const uint8_t *der, size_t der_len)
{
    keyfile->der = malloc(der_len);
    if (keyfile->der == NULL)
        return false;
    memcpy(keyfile->der, der, der_len);
    keyfile->der_len = der_len;
    return true;
}

/* False: it is longer than any policy that is followed. */
static bool take_steps(struct lct_steps *steps, const STACK_OF(TPM_POLICY) * policy)
{
    int num = sk_TPM_POLICY_num(policy);

    steps->num = 0;
    if (num < 0 || num > LCT_MAX_STEPS)
        return false;
    for (int i = 0; i < num; i++) {
        const TPM_POLICY *from = sk_TPM_POLICY_value(policy, i);
        struct lct_step *step = &steps->steps[steps->num++];
        uint64_t command = 0;
        step->len = (size_t)ASN1_STRING_length(from->command_policy);
        if (!ASN1_INTEGER_get_uint64(&command, from->command_code) || command > UINT32_MAX ||
            step->len > sizeof step->body)
            return false;
        step->command = (uint32_t)command;
        if (step->len > 0)
            memcpy(step->body, ASN1_STRING_get0_data(from->command_policy), step->len);
    }
    return true;
}

/* Those that we follow; false if out of memory. */
static bool take_approvals(struct lct_keyfile *keyfile, const STACK_OF(TPM_AUTH_POLICY) * approvals,
                           OSSL_LIB_CTX *libctx)
{
    int num = sk_TPM_AUTH_POLICY_num(approvals);
    struct lct_steps steps;

    if (num <= 0 || keyfile->seal == NULL || keyfile->seal->kind != LCT_SEAL_AUTHORITY)
        return true;
    keyfile->approvals = calloc((size_t)num, sizeof *keyfile->approvals);
    if (keyfile->approvals == NULL)
        return false;
    for (int i = 0; i < num; i++)
        if (take_steps(&steps, sk_TPM_AUTH_POLICY_value(approvals, i)->policy) &&
            lct_steps_to_approval(&keyfile->approvals[keyfile->num_approvals], libctx,
                                  keyfile->seal, &steps))
            keyfile->num_approvals++;
    return true;
}

/* False if out of memory. */
static bool take_seal(struct lct_keyfile *keyfile, const struct lct_steps *steps)
{
    struct lct_seal *seal = calloc(1, sizeof *seal);

    if (seal == NULL)
        return false;
    (void)lct_steps_to_seal(seal, &keyfile->policy_auth_value, steps);
    if (seal->kind != LCT_SEAL_NONE) {
        keyfile->seal = seal;
        return true;
    }
    free(seal);
    return true;
}

/* What is not followed is a policy all the same. False if out of memory. */
static bool take_policies(struct lct_keyfile *keyfile, const TPM_KEY *key, OSSL_LIB_CTX *libctx)
{
    struct lct_steps steps;

    keyfile->has_policy = key->policy != NULL || key->auth_policy != NULL;
    if (take_steps(&steps, key->policy) && !take_seal(keyfile, &steps))
        return false;
    return take_approvals(keyfile, key->auth_policy, libctx);
}

static bool from_der(struct lct_keyfile *keyfile, const uint8_t *der, size_t der_len,
                     OSSL_LIB_CTX *libctx)
{
    const unsigned char *at = der;
    TPM_KEY *key = (TPM_KEY *)ASN1_item_d2i(NULL, &at, (long)der_len, ASN1_ITEM_rptr(TPM_KEY));
    bool good =
        key != NULL &&
        lct_armour_is_canonical((const ASN1_VALUE *)key, ASN1_ITEM_rptr(TPM_KEY), der, der_len) &&
        take_type(keyfile, key->type) && take_parent(&keyfile->parent, key->parent) &&
        take_description(&keyfile->description, key->description) &&
        keep_der(keyfile, der, der_len) && take_areas(keyfile, key);

    if (good) {
        keyfile->empty_auth = key->empty_auth > 0;
        keyfile->rsa_parent = key->rsa_parent > 0;
        keyfile->has_secret = key->secret != NULL;
        good = take_secret(keyfile, key->secret) && take_policies(keyfile, key, libctx);
    }
    key_free(key);
    return good;
}

static bool from_pem(struct lct_keyfile *keyfile, const uint8_t *bytes, size_t bytes_len,
                     OSSL_LIB_CTX *libctx)
{
    uint8_t *der = NULL;
    size_t der_len = 0;
    bool good = lct_armour_read(&der, &der_len, lct_keyfile_label, bytes, bytes_len) &&
                from_der(keyfile, der, der_len, libctx);

    OPENSSL_free(der);
    return good;
}

enum lct_code lct_keyfile_read(struct lct_keyfile *keyfile, const uint8_t *bytes, size_t bytes_len,
                               OSSL_LIB_CTX *libctx, struct lct_err *err)
{
    enum { MAX = 65536 };

    *keyfile = (struct lct_keyfile){0};
    (void)ERR_set_mark();
    bool good = bytes_len <= MAX &&
                (lct_armour_is_pem(bytes, bytes_len) ? from_pem(keyfile, bytes, bytes_len, libctx)
                                                     : from_der(keyfile, bytes, bytes_len, libctx));
    (void)ERR_pop_to_mark();
    if (good)
        return LCT_OK;
    lct_keyfile_clear(keyfile);
    return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "the key file is not a %s; restore it from a backup",
                    lct_keyfile_label);
}

void lct_keyfile_clear(struct lct_keyfile *keyfile)
{
    free(keyfile->description);
    free(keyfile->secret);
    free(keyfile->seal);
    free(keyfile->approvals);
    if (keyfile->der == NULL) {
        free(keyfile->public_area);
        free(keyfile->private_area);
    }
    free(keyfile->der);
    *keyfile = (struct lct_keyfile){0};
}

/* Adds them to *policy, which is made. False if out of memory. */
static bool fill_policy(STACK_OF(TPM_POLICY) * *policy, const struct lct_steps *steps)
{
    *policy = *policy != NULL ? *policy : sk_TPM_POLICY_new_null();
    for (size_t i = 0; *policy != NULL && i < steps->num; i++) {
        const struct lct_step *step = &steps->steps[i];
        TPM_POLICY *to = (TPM_POLICY *)ASN1_item_new(ASN1_ITEM_rptr(TPM_POLICY));
        if (to == NULL || !ASN1_INTEGER_set_uint64(to->command_code, step->command) ||
            !ASN1_OCTET_STRING_set(to->command_policy, step->body, (int)step->len) ||
            sk_TPM_POLICY_push(*policy, to) <= 0) {
            ASN1_item_free((ASN1_VALUE *)to, ASN1_ITEM_rptr(TPM_POLICY));
            return false;
        }
    }
    return *policy != NULL;
}

static bool fill_approval(TPM_KEY *key, const struct lct_steps *steps)
{
    TPM_AUTH_POLICY *to = (TPM_AUTH_POLICY *)ASN1_item_new(ASN1_ITEM_rptr(TPM_AUTH_POLICY));

    if (key->auth_policy == NULL)
        key->auth_policy = sk_TPM_AUTH_POLICY_new_null();
    if (to != NULL && key->auth_policy != NULL && fill_policy(&to->policy, steps) &&
        sk_TPM_AUTH_POLICY_push(key->auth_policy, to) > 0)
        return true;
    ASN1_item_free((ASN1_VALUE *)to, ASN1_ITEM_rptr(TPM_AUTH_POLICY));
    return false;
}

/* What the standard's fields can say of the seal, and of its approvals. False if out of memory. */
static bool fill_policies(TPM_KEY *key, const struct lct_keyfile *keyfile)
{
    struct lct_steps steps;
    bool good = true;

    if (keyfile->seal == NULL ||
        !lct_steps_of_seal(&steps, keyfile->seal, keyfile->policy_auth_value))
        return true;
    good = fill_policy(&key->policy, &steps);
    for (size_t i = 0; i < keyfile->num_approvals && good; i++)
        if (lct_steps_of_approval(&steps, &keyfile->approvals[i], keyfile->seal))
            good = fill_approval(key, &steps);
    return good;
}

static bool fill(TPM_KEY *key, const struct lct_keyfile *keyfile)
{
    ASN1_OBJECT_free(key->type);
    key->type = OBJ_txt2obj(oids[keyfile->type], 1);
    key->empty_auth = keyfile->empty_auth ? 0xff : -1; /* -1: absent */
    key->rsa_parent = keyfile->rsa_parent ? 0xff : -1;
    return key->type != NULL && ASN1_INTEGER_set_uint64(key->parent, keyfile->parent) &&
           ASN1_OCTET_STRING_set(key->public_area, keyfile->public_area,
                                 (int)keyfile->public_len) &&
           ASN1_OCTET_STRING_set(key->private_area, keyfile->private_area,
                                 (int)keyfile->private_len) &&
           fill_policies(key, keyfile);
}

enum lct_code lct_keyfile_write_der(uint8_t **bytes, size_t *bytes_len,
                                    const struct lct_keyfile *keyfile, struct lct_err *err)
{
    TPM_KEY *key;
    int len = -1;

    *bytes = NULL;
    *bytes_len = keyfile->der_len;
    if (keyfile->der != NULL) { /* whatever is in it, policies and all */
        *bytes = OPENSSL_memdup(keyfile->der, keyfile->der_len);
        return *bytes != NULL ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "out of memory");
    }
    key = key_new();
    if (key != NULL && fill(key, keyfile))
        len = ASN1_item_i2d((ASN1_VALUE *)key, bytes, ASN1_ITEM_rptr(TPM_KEY));
    key_free(key);
    if (len <= 0)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "the key file cannot be encoded");
    *bytes_len = (size_t)len;
    return LCT_OK;
}

enum lct_code lct_keyfile_write_pem(uint8_t **bytes, size_t *bytes_len,
                                    const struct lct_keyfile *keyfile, struct lct_err *err)
{
    uint8_t *der = NULL;
    size_t der_len = 0;
    enum lct_code code = lct_keyfile_write_der(&der, &der_len, keyfile, err);

    *bytes = NULL;
    if (code == LCT_OK && !lct_armour_write(bytes, bytes_len, lct_keyfile_label, der, der_len))
        code = LCT_FAIL(err, LCT_ERR_INTERNAL, "the key file cannot be encoded");
    OPENSSL_free(der);
    return code;
}
