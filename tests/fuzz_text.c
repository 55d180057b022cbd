/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz.h"

#include "base/config.h"
#include "store/approval.h"
#include "store/authority.h"
#include "store/id.h"
#include "store/key.h"
#include "store/names.h"
#include "store/seal.h"
#include "store/sealed.h"
#include "tpm/bus.h"
#include "tpm/bus_message.h"
#include "tpm/option.h"
#include "tpm/wire.h"
#include "tools/html.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* As a URI and as an id: whatever is one is the name of a directory, and in the one directory. */
void fuzz_uri(const uint8_t *bytes, size_t len)
{
    char *text = fuzz_text(bytes, len);
    struct lct_uri uri, again;
    char written[LCT_MAX_ID + 32];

    (void)lct_names_is(text);
    if (lct_id_check(text, NULL) == LCT_OK && (strchr(text, '/') != NULL || text[0] == '.'))
        abort();
    if (lct_uri_parse(&uri, text, NULL) == LCT_OK) {
        if (!lct_uri_is_ours(text) || strlen(uri.id) > LCT_MAX_ID || strchr(uri.id, '/') != NULL ||
            (uri.id[0] != '\0' && lct_id_check(uri.id, NULL) != LCT_OK))
            abort();
        (void)snprintf(written, sizeof written, "lct:%s", uri.id);
        if (lct_uri_parse(&again, written, NULL) != LCT_OK || strcmp(again.id, uri.id) != 0)
            abort();
    }
    free(text);
}

static void write_pcrs(const struct lct_pcrs *pcrs)
{
    struct lct_pcrs again;
    char text[LCT_PCRS_TEXT];
    uint8_t bytes[LCT_PCRS_BYTES];
    size_t used;

    (void)lct_pcrs_check_seal(pcrs, NULL);
    lct_pcrs_text(text, pcrs);
    if (pcrs->num_banks > 0 && (lct_pcrs_parse(&again, text, strlen(text), NULL) != LCT_OK ||
                                !lct_pcrs_equal(&again, pcrs)))
        abort();
    size_t len = lct_pcrs_marshal(bytes, pcrs);
    if (lct_pcrs_unmarshal(&again, &used, bytes, len, NULL) != LCT_OK || used != len ||
        !lct_pcrs_equal(&again, pcrs))
        abort();
}

/* PCRs and seals as they are typed, and PCRs as a TPM has them: what is read is written so that it
 * is read again. */
void fuzz_selection(const uint8_t *bytes, size_t len)
{
    char *text = fuzz_text(bytes, len);
    char written[LCT_SEAL_TEXT];
    struct lct_pcrs pcrs;
    struct lct_seal seal, again;
    size_t used;

    if (lct_pcrs_parse(&pcrs, (const char *)bytes, len, NULL) == LCT_OK)
        write_pcrs(&pcrs);
    if (lct_pcrs_unmarshal(&pcrs, &used, bytes, len, NULL) == LCT_OK) {
        if (used > len)
            abort();
        write_pcrs(&pcrs);
    }
    if (lct_seal_parse(&seal, text, NULL) == LCT_OK) {
        lct_seal_text(written, &seal);
        if (lct_seal_parse(&again, written, NULL) != LCT_OK || again.kind != seal.kind ||
            !lct_pcrs_equal(&again.pcrs.pcrs, &seal.pcrs.pcrs))
            abort();
    }
    free(text);
}

/* What follows "name:" in a tcti; nothing is opened. */
static void read_way(const char *tcti)
{
    static const char *const keys[] = {"path", "host", "port", "bus_type", "bus_name", NULL};
    static char variable[512] = "DBUS_SYSTEM_BUS_ADDRESS=";
    static size_t name_len;
    char name[LCT_MAX_WAY_NAME], value[108];
    const char *conf;
    struct lct_endpoint endpoint;

    if (name_len == 0) {
        name_len = strlen(variable);
        if (putenv(variable) != 0)
            abort();
    }
    (void)snprintf(variable + name_len, sizeof variable - name_len, "%s", tcti);
    (void)lct_bus_find(&endpoint, LCT_BUS_SYSTEM, "");
    if (lct_wire_split(name, &conf, tcti, NULL) != LCT_OK ||
        lct_option_check(conf, name, keys, NULL) != LCT_OK)
        return;
    for (size_t i = 0; keys[i] != NULL; i++)
        (void)lct_option_get(value, sizeof value, conf, keys[i], "otherwise", NULL);
}

/* What would be written to, wherever a line says. */
static bool opens_a_file(const char *name, const char *value)
{
    return (strcmp(name, "log") == 0 || strcmp(name, "audit") == 0) && strchr(value, '/') != NULL;
}

/* Lines of "name = value" as OpenSSL gives them to us from openssl.cnf. */
void fuzz_configuration(const uint8_t *bytes, size_t len)
{
    char *text = fuzz_text(bytes, len), *rest = text;
    struct lct_config config = {0};
    struct lct_seal seal;

    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        char *name = strsep(&line, "=");
        if (line != NULL && !opens_a_file(name, line))
            (void)lct_config_set(&config, name, line, NULL);
    }
    if (config.tcti != NULL)
        read_way(config.tcti);
    if (config.seal != NULL)
        (void)lct_seal_parse(&seal, config.seal, NULL);
    if (config.store != NULL && config.store[0] != '/')
        abort();
    lct_config_clear(&config);
    free(text);
}

/* The authority in the file LCT_FUZZ_AUTHORITY, by which approvals are judged. */
static const struct lct_authority *authority(void)
{
    static struct lct_authority read;
    static char text[4096];
    const char *path = getenv("LCT_FUZZ_AUTHORITY");
    FILE *file = path != NULL && read.pkey == NULL ? fopen(path, "r") : NULL;
    struct lct_err err;

    if (file != NULL) {
        size_t len = fread(text, 1, sizeof text - 1, file);
        (void)fclose(file);
        if (lct_authority_parse(&read, fuzz_libctx(), text, len, &err) != LCT_OK) {
            (void)fprintf(stderr, "%s\n", err.text);
            abort();
        }
    }
    return read.pkey != NULL ? &read : NULL;
}

static void write_approval(const struct lct_approval *approval, const struct lct_authority *by)
{
    struct lct_approvals again = {0};
    char *text = lct_approval_write(approval, by->fingerprint);

    if (text == NULL ||
        lct_approvals_read(&again, (const uint8_t *)text, strlen(text), by->public_area,
                           by->public_len, fuzz_libctx(), NULL) != LCT_OK ||
        again.num != 1 || !lct_approvals_have(again.all, again.num, approval))
        abort();
    lct_approvals_clear(&again);
    free(text);
}

/* Approvals of either form, the authority's own file, and values to approve. */
void fuzz_approval(const uint8_t *bytes, size_t len)
{
    const struct lct_authority *by = authority();
    struct lct_approvals approvals = {0};
    struct lct_authority other = {0};
    struct lct_pcr_values values;
    struct lct_approval approval = {0};
    char id[LCT_MAX_ID + 1], *text = fuzz_text(bytes, len);

    if (by != NULL)
        (void)lct_approvals_read(&approvals, bytes, len, by->public_area, by->public_len,
                                 fuzz_libctx(), NULL);
    for (size_t i = 0; i < approvals.num; i++)
        write_approval(&approvals.all[i], by);
    lct_approvals_clear(&approvals);
    (void)lct_authority_parse(&other, fuzz_libctx(), text, strlen(text), NULL);
    lct_authority_clear(&other);
    (void)lct_pcrs_read(&values, &approval, id, bytes, len, NULL);
    free(text);
}

/* A sealed secret's file, and whatever else a key file alone may be. */
void fuzz_sealed(const uint8_t *bytes, size_t len)
{
    static const struct lct_store store = {.num_dirs = 0};
    static char none[] = "none";
    const struct lct_config config = {.pcr_signature = none};
    struct lct_key *key = NULL;
    uint8_t *pem = NULL;
    size_t pem_len;

    (void)lct_sealed_read(&key, fuzz_crypto(), &store, &config, "sealed", bytes, len, NULL);
    lct_key_free(key);
    key = NULL;
    if (lct_key_from_keyfile(&key, fuzz_crypto(), bytes, len, NULL) == LCT_OK) {
        (void)lct_key_check(key, NULL);
        if (lct_key_export(&pem, &pem_len, key, NULL) == LCT_OK)
            OPENSSL_free(pem);
    }
    lct_key_free(key);
}

/* What the bus says in the conversation that is about to be opened: all of it is there at once. */
static struct {
    const uint8_t *bytes;
    size_t len;
    size_t fd_at; /* where in it a descriptor comes along */
    int peer;
} conversation = {.peer = -1};

int __real_lct_stream_connect(struct lct_stream *stream, const struct sockaddr *address,
                              socklen_t address_len, const struct lct_deadline *deadline);
int __wrap_lct_stream_connect(struct lct_stream *stream, const struct sockaddr *address,
                              socklen_t address_len, const struct lct_deadline *deadline);

static void send_descriptor(int peer, const uint8_t *bytes, size_t len)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = ""};
    struct iovec part = {(void *)(uintptr_t)bytes, len};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &peer, sizeof peer);
    (void)sendmsg(peer, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* In place of a connection of tpm/'s: to us, if there is a conversation. The linker puts it there.
 */
int __wrap_lct_stream_connect(struct lct_stream *stream, const struct sockaddr *address,
                              socklen_t address_len, const struct lct_deadline *deadline)
{
    int ends[2];
    size_t at = conversation.fd_at < conversation.len ? conversation.fd_at : conversation.len;

    if (conversation.bytes == NULL)
        return __real_lct_stream_connect(stream, address, address_len, deadline);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0 ||
        !lct_stream_adopt(stream, ends[0]))
        abort();
    (void)send(ends[1], conversation.bytes, at, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (at < conversation.len)
        send_descriptor(ends[1], conversation.bytes + at, conversation.len - at);
    (void)shutdown(ends[1], SHUT_WR);
    conversation.peer = ends[1];
    return 0;
}

/* One message, and a whole conversation: its first two bytes say where in it a descriptor comes. */
void fuzz_bus(const uint8_t *bytes, size_t len)
{
    static const struct lct_endpoint bus = {.address_len = 0};
    static const struct lct_bus_call call = {"a.b", "/a/b", "a.b.c", "D", true};
    struct lct_bus_message message = {.len = len < LCT_BUS_MAX_MESSAGE ? len : LCT_BUS_MAX_MESSAGE};
    struct lct_bus_reply reply;
    char text[64];
    const struct lct_deadline deadline = lct_deadline_in(1000);
    size_t rest;
    int fd = -1;

    if (message.len < LCT_BUS_FIXED)
        return;
    memcpy(message.bytes, bytes, message.len);
    if (lct_bus_message_measure(&message, &rest) && rest <= message.len - LCT_BUS_FIXED) {
        message.len = LCT_BUS_FIXED + rest;
        if (lct_bus_message_parse(&message, &reply) && reply.text != NULL &&
            reply.text + strlen(reply.text) >= (const char *)message.bytes + message.len)
            abort();
    }
    conversation.fd_at = (size_t)bytes[0] << 8 | bytes[1];
    conversation.bytes = bytes + 2;
    conversation.len = len - 2;
    bool answered =
        lct_bus_call(&fd, &bus, &call, &deadline, text, sizeof text) == LCT_BUS_ANSWERED;
    if (strnlen(text, sizeof text) == sizeof text || (!answered && fd >= 0))
        abort();
    if (fd >= 0)
        (void)close(fd);
    (void)close(conversation.peer);
}

static size_t count(const char *text, char letter)
{
    size_t num = 0;

    for (; *text != '\0'; text++)
        num += *text == letter ? 1 : 0;
    return num;
}

static char *page_of(const uint8_t *bytes, size_t len)
{
    struct lct_html *html = lct_html_new("a page");

    lct_html_open(html, LCT_HTML_H1);
    lct_html_text(html, (const char *)bytes, len);
    lct_html_close(html, LCT_HTML_H1);
    char *page = lct_html_end(html);
    if (page == NULL)
        abort();
    return page;
}

static bool is_escape(const char *text)
{
    static const char *const escapes[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};

    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++)
        if (strncmp(text, escapes[i], strlen(escapes[i])) == 0)
            return true;
    return false;
}

/* A text on a page: no letter of it is markup, all of the page is UTF-8, and nothing in it turns
 * the direction of writing, begins a line or cannot be seen. */
void fuzz_html(const uint8_t *bytes, size_t len)
{
    static const char markup[] = "<>\"'\n";
    static const char *const unseen[] = {
        "\xE2\x80\xAE", "\xE2\x81\xA7", "\xE2\x80\x8B", "\xEF\xBB\xBF",
        "\xC2\x85",     "\x1B",         "\x7F",         "\r"};
    char *empty = page_of(NULL, 0), *page = page_of(bytes, len);
    json_t *utf8 = json_string(page);
    bool good = utf8 != NULL;

    for (size_t i = 0; markup[i] != '\0'; i++)
        good = good && count(page, markup[i]) == count(empty, markup[i]);
    for (size_t i = 0; i < sizeof unseen / sizeof unseen[0]; i++)
        good = good && strstr(page, unseen[i]) == NULL;
    for (const char *at = page; good && (at = strchr(at, '&')) != NULL; at++)
        good = is_escape(at);
    if (!good)
        abort();
    json_decref(utf8);
    free(empty);
    free(page);
}
