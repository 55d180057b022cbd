/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/context.h"

#include <stdarg.h>
#include <stddef.h>

static void set_text(const struct lct_provider *provider, uint32_t reason, const char *format, ...)
    LCT_PRINTF(3, 4);

static void set_text(const struct lct_provider *provider, uint32_t reason, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    provider->vset_error(provider->core, reason, format, args);
    va_end(args);
}

void lct_raise(const struct lct_provider *provider, const struct lct_err *err)
{
    if (provider->new_error == NULL || provider->vset_error == NULL)
        return;
    provider->new_error(provider->core);
    if (provider->set_error_debug != NULL)
        provider->set_error_debug(provider->core, err->file, err->line, err->func);
    set_text(provider, (uint32_t)err->code, "%s", err->text);
}

void lct_raise_memory(const struct lct_provider *provider)
{
    struct lct_err err;

    (void)LCT_FAIL(&err, LCT_ERR_INTERNAL, "out of memory");
    lct_raise(provider, &err);
}

const OSSL_ITEM *lct_reasons(void)
{
    static const OSSL_ITEM reasons[] = {
/* libcrypto only reads what `ptr` points to. NOLINTNEXTLINE(performance-no-int-to-ptr) */
#define LCT_CODE_ITEM(name, status, text) {name, (void *)(uintptr_t)(text)},
        LCT_CODES(LCT_CODE_ITEM)
#undef LCT_CODE_ITEM
            {0, NULL},
    };

    return reasons + 1; /* without LCT_OK, whose number would end the list */
}
