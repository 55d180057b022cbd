/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/ask.h"

#include "store/key.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/ui.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TYPED = 160 }; /* bytes of a line at most */

bool lct_can_ask(void)
{
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* Less than `size` bytes into `typed`, and where it is asked twice, into `again`. */
static bool ask(char *typed, char *again, int size, const char *what, bool twice)
{
    UI *ui = UI_new_method(UI_OpenSSL());
    char *prompt = ui != NULL ? UI_construct_prompt(ui, what, NULL) : NULL;
    bool good = prompt != NULL && UI_add_input_string(ui, prompt, 0, typed, 0, size - 1) >= 0 &&
                (!twice || UI_add_verify_string(ui, prompt, 0, again, 0, size - 1, typed) >= 0) &&
                UI_process(ui) == 0;

    OPENSSL_free(prompt);
    UI_free(ui);
    return good;
}

enum lct_code lct_ask_secret(struct lct_secret *secret, const char *what, const char *where,
                             bool twice, struct lct_err *err)
{
    char typed[TYPED + 1] = "", again[TYPED + 1] = "";
    char the[sizeof "the passphrase of " + LCT_KEY_LABEL];
    enum lct_code code;

    (void)snprintf(the, sizeof the, "the %s", what);
    if (!lct_can_ask())
        return LCT_FAIL(err, LCT_ERR_AUTH,
                        "the %s is needed, and there is no terminal to ask on; give it in a file: "
                        "%s",
                        what, where);
    if (ask(typed, again, sizeof typed, what, twice))
        code = lct_secret_take(secret, the, (const uint8_t *)typed, strlen(typed), err);
    else
        code = LCT_FAIL(err, LCT_ERR_AUTH, "the %s was not given%s", what,
                        twice ? ", or not the same twice" : "");
    explicit_bzero(typed, sizeof typed);
    explicit_bzero(again, sizeof again);
    return code;
}

int lct_ask_line(char *typed, int size, const char *what)
{
    if (size < 2 || !lct_can_ask())
        return -1;
    memset(typed, 0, (size_t)size);
    return ask(typed, NULL, size, what, false) ? (int)strlen(typed) : -1;
}

int lct_ask_new_line(char *typed, int size, const char *what)
{
    char again[TYPED + 1] = "";

    if (size < 2 || size > TYPED || !lct_can_ask())
        return -1;
    memset(typed, 0, (size_t)size);
    bool good = ask(typed, again, size, what, true);
    explicit_bzero(again, sizeof again);
    return good ? (int)strlen(typed) : -1;
}

int lct_ask_answer(char *typed, int size, const char *question)
{
    UI *ui = lct_can_ask() ? UI_new_method(UI_OpenSSL()) : NULL;

    memset(typed, 0, (size_t)size);
    bool good = ui != NULL &&
                UI_add_input_string(ui, question, UI_INPUT_FLAG_ECHO, typed, 0, size - 1) >= 0 &&
                UI_process(ui) == 0;
    UI_free(ui);
    return good ? (int)strlen(typed) : -1;
}
