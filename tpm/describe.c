/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/capability.h"
#include "tpm/tpm.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* TPM 2.0 Part 2, 6.13: strings are properties of four characters each, padded with blanks or NULs.
 */
static void append_chars(char *text, size_t size, uint32_t value)
{
    size_t len = strlen(text);

    for (int shift = 24; shift >= 0 && len + 1 < size; shift -= 8) {
        char c = (char)(value >> shift & 0xff);
        if (isprint((unsigned char)c))
            text[len++] = c;
    }
    text[len] = '\0';
}

/* Without the blanks at the end, and with one between words. */
static void tidy(char *text)
{
    size_t len = 0;

    for (const char *c = text; *c != '\0'; c++)
        if (*c != ' ' || (len > 0 && text[len - 1] != ' '))
            text[len++] = *c;
    while (len > 0 && text[len - 1] == ' ')
        len--;
    text[len] = '\0';
}

/* What simulators and emulators call themselves: libtpms (swtpm), IBM's, and the TCG's reference
 * code. */
static bool is_simulator(const char *manufacturer, const char *vendor)
{
    static const struct {
        const char *manufacturer, *vendor;
    } known[] = {{"IBM", "SW TPM"}, {"XYZZ", ""}, {"MSFT", "xCG fTPM"}, {"XYZZ", "xCG fTPM"}};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(manufacturer, known[i].manufacturer) == 0 &&
            strncmp(vendor, known[i].vendor, strlen(known[i].vendor)) == 0)
            return true;
    return false;
}

static enum lct_code describe_maker(struct lct_tpm *tpm, struct lct_tpm_info *info,
                                    const char *label, struct lct_err *err)
{
    TPMS_CAPABILITY_DATA data;
    char manufacturer[8] = "", vendor[24] = "";
    uint32_t firmware = 0;
    enum lct_code code = lct_capability_get(tpm, &data, label, TPM2_CAP_TPM_PROPERTIES,
                                            TPM2_PT_MANUFACTURER, 8, err);

    if (code != LCT_OK)
        return code;
    for (uint32_t i = 0; i < data.data.tpmProperties.count && i < TPM2_MAX_TPM_PROPERTIES; i++) {
        const TPMS_TAGGED_PROPERTY *entry = &data.data.tpmProperties.tpmProperty[i];
        if (entry->property == TPM2_PT_MANUFACTURER)
            append_chars(manufacturer, sizeof manufacturer, entry->value);
        else if (entry->property >= TPM2_PT_VENDOR_STRING_1 &&
                 entry->property <= TPM2_PT_VENDOR_STRING_4)
            append_chars(vendor, sizeof vendor, entry->value);
        else if (entry->property == TPM2_PT_FIRMWARE_VERSION_1)
            firmware = entry->value;
    }
    tidy(manufacturer);
    tidy(vendor);
    (void)snprintf(info->description, sizeof info->description, "%s%s%s, firmware %u.%u",
                   manufacturer, *vendor != '\0' ? " " : "", vendor, firmware >> 16,
                   firmware & 0xffff);
    info->software = tpm->channel->wire->software || is_simulator(manufacturer, vendor);
    return LCT_OK;
}

static enum lct_code describe_hashes(struct lct_tpm *tpm, struct lct_tpm_info *info,
                                     const char *label, struct lct_err *err)
{
    TPMS_CAPABILITY_DATA data;
    enum lct_code code = lct_capability_get(tpm, &data, label, TPM2_CAP_ALGS, TPM2_ALG_FIRST,
                                            TPM2_MAX_CAP_ALGS, err);

    if (code != LCT_OK)
        return code;
    for (uint32_t i = 0; i < data.data.algorithms.count && i < TPM2_MAX_CAP_ALGS; i++) {
        const struct lct_hash *hash = lct_hash_by_id(data.data.algorithms.algProperties[i].alg);
        if (hash != NULL && info->num_hashes < LCT_MAX_HASHES)
            info->hashes[info->num_hashes++] = hash;
    }
    return LCT_OK;
}

struct description {
    struct lct_tpm_info *info;
    const char *label;
};

static enum lct_code describe(struct lct_tpm *tpm, void *arg, struct lct_err *err)
{
    const struct description *description = arg;

    memset(description->info, 0, sizeof *description->info);
    enum lct_code code = describe_maker(tpm, description->info, description->label, err);
    if (code == LCT_OK)
        code = describe_hashes(tpm, description->info, description->label, err);
    return code;
}

enum lct_code lct_tpm_describe(struct lct_tpm *tpm, struct lct_tpm_info *info, const char *label,
                               struct lct_err *err)
{
    struct description description = {info, label};

    return lct_tpm_run(tpm, label, describe, &description, err);
}
