/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/ask.h"
#include "tools/describe.h"
#include "tools/prototype.h"
#include "tools/tool.h"
#include "tools/unlock.h"

#include "base/encode.h"
#include "store/import.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/decoder.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct request {
    const char *id, *file, *owner, *prototype;
    bool software, passphrase, no_passphrase, new_parent;
};

/* What a file holds: perhaps a private key in the clear. Whoever has one wipes it. */
struct content {
    size_t len;
    uint8_t bytes[65536];
};

/* The secrets that importing takes. */
struct secrets {
    struct lct_secret passphrase, owner_auth, endorsement_auth;
};

/* Of what cannot be read whole nothing stays in memory. */
static enum lct_code read_content(struct content *content, const char *path, struct lct_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n = fd < 0 ? -1 : 1;

    content->len = 0;
    while (n > 0 && content->len < sizeof content->bytes) {
        n = read(fd, content->bytes + content->len, sizeof content->bytes - content->len);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            content->len += (size_t)n;
    }
    int error = errno;
    if (fd >= 0)
        close(fd);
    if (n >= 0 && content->len < sizeof content->bytes)
        return LCT_OK;
    explicit_bzero(content, sizeof *content);
    return n < 0 ? LCT_FAIL(err, LCT_ERR_IO, "%s cannot be read: %s", path, strerror(error))
                 : LCT_FAIL(err, LCT_ERR_BAD_RECORD, "%s is too long to be a key", path);
}

/* What a file holds that is not what it was taken for, and what to do then. */
struct label {
    const char *begin;
    const char *to_keyfile;
    const char *to_software;
};

static const struct label *find_label(const struct content *content)
{
    static const struct label labels[] = {
        {"-----BEGIN TSS2 PRIVATE KEY-----", "",
         "; it is a key of a TPM: import it without --software"},
        {"-----BEGIN LCT PRIVATE KEY-----",
         "; it only stands for an identity: what lct export prints is its key",
         "; it only stands for an identity, whose key does not leave its TPM"},
        {"PRIVATE KEY-----", "; an ordinary private key is imported with --software", ""},
        {"-----BEGIN CERTIFICATE REQUEST-----", "; it is a certificate request",
         "; it is a certificate request"},
        {"-----BEGIN CERTIFICATE-----", "; it is a certificate, which lct cert --set keeps",
         "; it is a certificate, which lct cert --set keeps"},
        {"-----BEGIN PUBLIC KEY-----", "; it is a public key", "; it is a public key"},
    };
    static const struct label none = {
        "",
        "; tpm2_encodeobject makes one of what tpm2_create wrote, and an ordinary private key is "
        "imported with --software",
        ""};

    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++)
        if (memmem(content->bytes, content->len, labels[i].begin, strlen(labels[i].begin)) != NULL)
            return &labels[i];
    return &none;
}

/* "0x81000100", with "handle:" before it or not; else *handle is 0 and it is a file. */
static enum lct_code find_handle(uint32_t *handle, const char *file, struct lct_err *err)
{
    static const char word[] = "handle:";
    bool has_word = strncmp(file, word, sizeof word - 1) == 0;
    const char *digits = has_word ? file + sizeof word - 1 : file;
    uint32_t value = 0;
    size_t len = 0;

    *handle = 0;
    if (strncmp(digits, "0x", 2) == 0)
        for (digits += 2; len < 8 && lct_hex_digit(digits[len]) >= 0; len++)
            value = value << 4 | (uint32_t)lct_hex_digit(digits[len]);
    bool good = len == 8 && digits[len] == '\0' && value >> 24 == 0x81;
    if (good)
        *handle = value;
    else if (has_word || (len == 8 && digits[len] == '\0'))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "%s is not a persistent handle, as in handle:0x81000100", file);
    return LCT_OK;
}

/* The passphrase of the file is asked for once, if it has one. */
struct asking {
    const char *file;
    bool asked;
};

static int ask_passphrase(char *typed, int size, int writing, void *arg)
{
    struct asking *asking = arg;
    char what[128];

    (void)writing;
    asking->asked = true;
    (void)snprintf(what, sizeof what, "passphrase of the file %.80s", asking->file);
    return lct_ask_line(typed, size, what);
}

/* PEM or DER, PKCS#8 or traditional, perhaps encrypted. NULL: it is none. */
static EVP_PKEY *decode_software(OSSL_LIB_CTX *libctx, const struct content *content,
                                 struct asking *asking)
{
    const unsigned char *at = content->bytes;
    size_t left = content->len;
    EVP_PKEY *pkey = NULL;
    OSSL_DECODER_CTX *ctx =
        OSSL_DECODER_CTX_new_for_pkey(&pkey, NULL, NULL, NULL, EVP_PKEY_KEYPAIR, libctx, NULL);
    bool good = ctx != NULL &&
                OSSL_DECODER_CTX_set_pem_password_cb(ctx, ask_passphrase, asking) == 1 &&
                OSSL_DECODER_from_data(ctx, &at, &left) == 1;

    OSSL_DECODER_CTX_free(ctx);
    if (good)
        return pkey;
    EVP_PKEY_free(pkey);
    return NULL;
}

static enum lct_code read_software(const struct lct_tool *tool, EVP_PKEY **pkey, const char *file,
                                   struct lct_err *err)
{
    struct content content;
    struct asking asking = {file, false};
    const char *hint = "";
    OSSL_LIB_CTX *libctx = lct_crypto_get(tool->crypto, err);
    enum lct_code code = libctx != NULL ? read_content(&content, file, err) : LCT_ERR_INTERNAL;

    if (code == LCT_OK) {
        *pkey = decode_software(libctx, &content, &asking);
        hint = find_label(&content)->to_software;
    }
    explicit_bzero(&content, sizeof content);
    if (code != LCT_OK || *pkey != NULL)
        return code;
    if (asking.asked && !lct_can_ask())
        return LCT_FAIL(err, LCT_ERR_AUTH,
                        "the passphrase of the file %s is needed, and there is no terminal to ask "
                        "on; --passphrase-file is only for that of the identity",
                        file);
    if (asking.asked)
        return LCT_FAIL(err, LCT_ERR_AUTH, "the passphrase of %s is wrong, or was not given", file);
    return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "%s holds no private key in PEM or DER%s", file, hint);
}

static enum lct_code read_keyfile(struct lct_keyfile *keyfile, struct lct_crypto *crypto,
                                  const char *file, struct lct_err *err)
{
    OSSL_LIB_CTX *libctx = lct_crypto_get(crypto, err);
    struct content content;
    enum lct_code code = libctx != NULL ? read_content(&content, file, err) : LCT_ERR_INTERNAL;

    if (code != LCT_OK)
        return code;
    code = lct_keyfile_read(keyfile, content.bytes, content.len, libctx, err);
    const char *hint = find_label(&content)->to_keyfile;
    explicit_bzero(&content, sizeof content);
    if (code == LCT_ERR_BAD_RECORD)
        return LCT_FAIL(err, code, "%s is not a %sTSS2 PRIVATE KEY%s", file,
                        *hint == '\0' ? "whole " : "", hint);
    return code;
}

static enum lct_code find_secrets(struct secrets *secrets, const struct lct_tool *tool,
                                  const struct request *request, struct lct_err *err)
{
    enum lct_code code = lct_tool_owner_auth(&secrets->owner_auth, tool, err);

    if (code == LCT_OK)
        code = lct_tool_endorsement_auth(&secrets->endorsement_auth, tool, false, err);
    if (code != LCT_OK || !request->software)
        return code;
    if (tool->passphrase_file != NULL)
        return lct_secret_read(&secrets->passphrase, "the passphrase", tool->passphrase_file, err);
    return request->passphrase ? lct_ask_secret(&secrets->passphrase, "new passphrase",
                                                "--passphrase-file", true, err)
                               : LCT_OK;
}

/* What may not be claimed of the key is said at once: `lct show` says it for ever. */
static enum lct_code say_imported(const struct lct_tool *tool, const struct lct_key *key,
                                  const struct request *request, struct lct_err *err)
{
    struct lct_generation unpacked;
    const struct lct_generation *generation = lct_key_generation(&unpacked, key);
    TPMA_OBJECT attributes = key->attributes;
    bool made_outside = (attributes & TPMA_OBJECT_SENSITIVEDATAORIGIN) == 0;
    bool can_leave = (attributes & TPMA_OBJECT_FIXEDTPM) == 0;
    enum lct_code code = lct_tool_say(
        tool, err, "imported %s (%s, unsealed%s, in the TPM: %s%s)\n", key->label,
        generation->algorithm->name, generation->passphrase ? ", with a passphrase" : "",
        generation->tpm, generation->software_tpm ? ", a software TPM" : "");

    if (code == LCT_OK && lct_key_is_bound(key))
        return lct_tool_say(tool, err,
                            "hardware_bound: true: the TPM says that it was made there and "
                            "cannot leave\n");
    if (code == LCT_OK)
        code = lct_tool_say(tool, err,
                            "hardware_bound: false, for ever: %s%s%s; it may not be claimed that "
                            "the key is in this TPM alone\n",
                            made_outside ? "it was made outside of the TPM" : "",
                            made_outside && can_leave ? ", and " : "",
                            can_leave      ? "it can leave the TPM"
                            : made_outside ? ""
                                           : "it can move to another parent");
    if (code == LCT_OK && request->software)
        code = lct_tool_say(tool, err,
                            "whoever has a copy of %s can sign in its name: destroy the file and "
                            "every backup of it\n",
                            request->file);
    return code;
}

/* What is imported from is in `from`, with the secrets still to be found. */
static enum lct_code run_import(struct lct_tool *tool, const struct lct_import_request *from,
                                const struct request *request, struct lct_err *err)
{
    const struct lct_unlocker unlocker = lct_tool_unlocker(tool);
    struct lct_import_request import = *from;
    struct secrets secrets = {0};
    struct lct_key *key = NULL;
    bool made_srk = false;
    enum lct_code code = find_secrets(&secrets, tool, request, err);

    import.unlocker = &unlocker;
    import.new_parent = request->new_parent;
    import.new_passphrase = &secrets.passphrase;
    import.auths = (struct lct_tpm_auths){&secrets.owner_auth, &secrets.endorsement_auth};
    if (code == LCT_OK)
        code = lct_identity_import(&tool->store, tool->tpm, tool->crypto, &import, &key, &made_srk,
                                   err);
    explicit_bzero(&secrets, sizeof secrets);
    if (made_srk)
        lct_tool_note(tool, "made the TPM's storage root key and put it at 0x%08x", lct_srk_handle);
    if (code == LCT_OK)
        code = say_imported(tool, key, request, err);
    if (code == LCT_OK)
        code = lct_describe_result(tool, import.id, err);
    lct_key_free(key);
    return code;
}

/* tpm2_encodeobject says of a key without a passphrase that it has one. A parent at a handle takes
 * no authorization, so the one that was wrong is the key's. */
static void doubt_passphrase(const struct lct_keyfile *keyfile, const struct request *request,
                             struct lct_err *err)
{
    struct lct_err first = *err;

    if (!keyfile->empty_auth && !request->passphrase && keyfile->parent >> 24 == TPM2_HT_PERSISTENT)
        (void)LCT_FAIL(err, first.code, "%s; or --no-passphrase if the key has none", first.text);
}

static enum lct_code choose_id(const char **id, const struct lct_prototype *prototype,
                               const char *file, struct lct_err *err)
{
    if (*id == NULL)
        *id = prototype->id;
    if ((*id)[0] != '\0')
        return LCT_OK;
    return LCT_FAIL(err, LCT_ERR_BAD_ID,
                    "%s: its key_id cannot be an id; choose one: lct import ID --prototype FILE",
                    lct_tool_file(file));
}

static enum lct_code import_prototype(struct lct_tool *tool, const struct request *request,
                                      struct lct_err *err)
{
    struct lct_import_request import = {
        .id = request->id,
        .passphrase = request->passphrase || tool->passphrase_file != NULL,
    };
    struct lct_prototype prototype;
    enum lct_code code = lct_tool_prototype(&prototype, tool, request->prototype, err);

    if (code == LCT_OK)
        code = choose_id(&import.id, &prototype, request->prototype, err);
    if (code == LCT_OK)
        code = lct_tool_owner(&import.owner, request->owner, err);
    import.handle = prototype.handle;
    import.expected = prototype.pkey;
    if (code == LCT_OK)
        code = run_import(tool, &import, request, err);
    if (code == LCT_ERR_WRONG_KEY || code == LCT_ERR_OTHER_TPM)
        lct_prototype_explain(err, tool, &prototype, request->prototype);
    lct_prototype_clear(&prototype);
    return code;
}

static enum lct_code import(struct lct_tool *tool, const struct request *request,
                            struct lct_err *err)
{
    struct lct_import_request import = {
        .id = request->id,
        .provision = !tool->config.no_provision,
        .passphrase = request->passphrase,
        .no_passphrase = request->no_passphrase,
    };
    struct lct_keyfile keyfile = {0};
    EVP_PKEY *pkey = NULL;
    enum lct_code code = lct_tool_owner(&import.owner, request->owner, err);

    if (code == LCT_OK && !request->software)
        code = find_handle(&import.handle, request->file, err);
    if (code == LCT_OK && request->software)
        code = read_software(tool, &pkey, request->file, err);
    else if (code == LCT_OK && import.handle == 0)
        code = read_keyfile(&keyfile, tool->crypto, request->file, err);
    if (import.handle != 0 && tool->passphrase_file != NULL)
        import.passphrase = true;
    import.software = pkey;
    import.keyfile = pkey == NULL && import.handle == 0 ? &keyfile : NULL;
    if (code == LCT_OK)
        code = run_import(tool, &import, request, err);
    if (code == LCT_ERR_AUTH && import.keyfile != NULL)
        doubt_passphrase(&keyfile, request, err);
    lct_keyfile_clear(&keyfile);
    EVP_PKEY_free(pkey);
    return code;
}

static enum lct_code check_request(const struct request *request, int num_operands,
                                   struct lct_err *err)
{
    if (request->passphrase && request->no_passphrase)
        return LCT_FAIL(err, LCT_ERR_USAGE, "--passphrase or --no-passphrase, not both");
    if (request->prototype == NULL && num_operands != 2)
        return LCT_FAIL(err, LCT_ERR_USAGE, "usage: lct import %s",
                        lct_subcommand_by_name("import")->arguments);
    if (request->prototype != NULL && (num_operands > 1 || request->software))
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "--prototype has the file of the key, which is in the TPM already; beside "
                        "it there is an ID at most, and no --software");
    return LCT_OK;
}

enum lct_code lct_import_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    struct request request = {0};
    const struct lct_option options[] = {
        {"owner", &request.owner, NULL},
        {"prototype", &request.prototype, NULL},
        {"software", NULL, &request.software},
        {"passphrase", NULL, &request.passphrase},
        {"no-passphrase", NULL, &request.no_passphrase},
        {"new-parent", NULL, &request.new_parent},
        {"json", NULL, &tool->json},
    };
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, options, sizeof options / sizeof options[0], 0, 2,
                          &operands, &num_operands, err);

    if (code == LCT_OK)
        code = check_request(&request, num_operands, err);
    if (code == LCT_OK && num_operands > 0)
        code = lct_tool_id(tool, &request.id, operands[0], err);
    if (code == LCT_OK)
        code = lct_tool_open(tool, err);
    if (code != LCT_OK)
        return code;
    if (request.prototype != NULL)
        return import_prototype(tool, &request, err);
    request.file = operands[1];
    return import(tool, &request, err);
}
