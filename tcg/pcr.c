/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/pcr.h"

#include "tcg/marshal.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum { SELECT_SIZE = LCT_NUM_PCRS / 8 };

/* Bit n: PCR n. */
static const uint32_t firmware_pcrs = 0xff;

static enum lct_code fail_form(const char *text, size_t text_len, struct lct_err *err)
{
    return LCT_FAIL(err, LCT_ERR_USAGE,
                    "\"%.*s\" is no selection of PCRs; one is written sha256:0,2,7, or of several "
                    "banks sha256:7+sha384:11",
                    (int)(text_len < 100 ? text_len : 100), text);
}

/* A number of one or two digits, and nothing else. */
static bool take_number(unsigned *number, const char *text, size_t len)
{
    *number = 0;
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        *number = *number * 10 + (unsigned)(text[i] - '0');
    }
    return len == 1 || (len == 2 && text[0] != '0');
}

/* The numbers after the colon. */
static enum lct_code take_list(uint32_t *pcrs, const char *text, size_t len, struct lct_err *err)
{
    *pcrs = 0;
    for (size_t at = 0; at <= len;) {
        const char *comma = memchr(text + at, ',', len - at);
        size_t part = comma != NULL ? (size_t)(comma - text) - at : len - at;
        unsigned number;
        if (!take_number(&number, text + at, part))
            return fail_form(text, len, err);
        if (number >= LCT_NUM_PCRS)
            return LCT_FAIL(err, LCT_ERR_USAGE, "there is no PCR %u; they are 0 to %d", number,
                            LCT_NUM_PCRS - 1);
        if ((*pcrs & 1u << number) != 0)
            return LCT_FAIL(err, LCT_ERR_USAGE, "PCR %u is named twice", number);
        *pcrs |= 1u << number;
        at += part + 1;
    }
    return LCT_OK;
}

/* Puts a bank at its place in the order of hashes. False: it is there, or there are too many. */
static bool insert(struct lct_pcrs *pcrs, const struct lct_hash *hash, uint32_t selected)
{
    size_t at = pcrs->num_banks;

    if (lct_pcrs_find(pcrs, hash->id) >= 0 || pcrs->num_banks == LCT_MAX_BANKS)
        return false;
    for (; at > 0 && pcrs->banks[at - 1].hash > hash; at--)
        pcrs->banks[at] = pcrs->banks[at - 1];
    pcrs->banks[at] = (struct lct_pcr_bank){hash, selected};
    pcrs->num_banks++;
    return true;
}

static enum lct_code take_bank(struct lct_pcrs *pcrs, const char *text, size_t len,
                               struct lct_err *err)
{
    const char *colon = memchr(text, ':', len);
    char name[16];
    uint32_t selected;

    if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof name)
        return fail_form(text, len, err);
    (void)snprintf(name, sizeof name, "%.*s", (int)(colon - text), text);
    const struct lct_hash *hash = lct_hash_by_name(name);
    if (hash == NULL)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "there is no PCR bank \"%s\"; most TPMs have sha256, many sha1 and sha384",
                        name);
    size_t list_len = len - (size_t)(colon - text) - 1;
    if (list_len == 0)
        return LCT_FAIL(err, LCT_ERR_USAGE, "the selection of PCRs is empty: %s: names no PCR",
                        name);
    enum lct_code code = take_list(&selected, colon + 1, list_len, err);
    if (code != LCT_OK)
        return code;
    if (lct_pcrs_find(pcrs, hash->id) >= 0)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "the bank %s is named twice; its PCRs go into one list, as in sha256:0,7",
                        name);
    return insert(pcrs, hash, selected)
               ? LCT_OK
               : LCT_FAIL(err, LCT_ERR_USAGE, "over %d banks are named", LCT_MAX_BANKS);
}

enum lct_code lct_pcrs_parse(struct lct_pcrs *pcrs, const char *text, size_t text_len,
                             struct lct_err *err)
{
    enum lct_code code = LCT_OK;

    *pcrs = (struct lct_pcrs){0};
    if (text_len == 0)
        return LCT_FAIL(err, LCT_ERR_USAGE, "the selection of PCRs is empty");
    for (size_t at = 0; at <= text_len && code == LCT_OK;) {
        const char *plus = memchr(text + at, '+', text_len - at);
        size_t part = plus != NULL ? (size_t)(plus - text) - at : text_len - at;
        code = take_bank(pcrs, text + at, part, err);
        at += part + 1;
    }
    return code;
}

void lct_pcrs_text(char text[LCT_PCRS_TEXT], const struct lct_pcrs *pcrs)
{
    size_t len = 0;

    text[0] = '\0';
    for (size_t i = 0; i < pcrs->num_banks; i++) {
        const char *separator = ":";
        len += (size_t)snprintf(text + len, LCT_PCRS_TEXT - len, "%s%s", i > 0 ? "+" : "",
                                pcrs->banks[i].hash->name);
        for (unsigned n = 0; n < LCT_NUM_PCRS; n++)
            if ((pcrs->banks[i].pcrs & 1u << n) != 0) {
                len += (size_t)snprintf(text + len, LCT_PCRS_TEXT - len, "%s%u", separator, n);
                separator = ",";
            }
    }
}

/* PC Client Platform TPM Profile, 4.6.2: locality 0 may reset these. */
enum lct_code lct_pcrs_check_seal(const struct lct_pcrs *pcrs, struct lct_err *err)
{
    static const unsigned resettable[] = {16, 23};

    for (size_t i = 0; i < pcrs->num_banks; i++)
        for (size_t n = 0; n < sizeof resettable / sizeof resettable[0]; n++)
            if ((pcrs->banks[i].pcrs & 1u << resettable[n]) != 0)
                return LCT_FAIL(err, LCT_ERR_USAGE,
                                "nothing can be sealed to PCR %u: any program may reset it and "
                                "give it the value it likes",
                                resettable[n]);
    return LCT_OK;
}

bool lct_pcrs_equal(const struct lct_pcrs *a, const struct lct_pcrs *b)
{
    if (a->num_banks != b->num_banks)
        return false;
    for (size_t i = 0; i < a->num_banks; i++)
        if (a->banks[i].hash != b->banks[i].hash || a->banks[i].pcrs != b->banks[i].pcrs)
            return false;
    return true;
}

int lct_pcrs_find(const struct lct_pcrs *pcrs, uint16_t hash)
{
    for (size_t i = 0; i < pcrs->num_banks; i++)
        if (pcrs->banks[i].hash->id == hash)
            return (int)i;
    return -1;
}

size_t lct_pcrs_marshal(uint8_t bytes[LCT_PCRS_BYTES], const struct lct_pcrs *pcrs)
{
    struct lct_writer writer = {bytes, 0, LCT_PCRS_BYTES, false};

    lct_write_u32(&writer, (uint32_t)pcrs->num_banks);
    for (size_t i = 0; i < pcrs->num_banks; i++) {
        uint32_t selected = pcrs->banks[i].pcrs;
        const uint8_t select[1 + SELECT_SIZE] = {
            SELECT_SIZE, (uint8_t)selected, (uint8_t)(selected >> 8), (uint8_t)(selected >> 16)};
        lct_write_u16(&writer, pcrs->banks[i].hash->id);
        lct_write_bytes(&writer, select, sizeof select);
    }
    return writer.len;
}

/* TPMS_PCR_SELECTION. A bitmap may be longer than ours, as long as nothing more is in it. */
static bool read_bank(struct lct_pcrs *pcrs, struct lct_reader *reader)
{
    const struct lct_hash *hash = lct_hash_by_id(lct_read_u16(reader));
    size_t size = lct_read_u8(reader);
    const uint8_t *select = lct_reader_take(reader, size);
    uint32_t selected = 0;

    if (hash == NULL || select == NULL)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (i >= SELECT_SIZE && select[i] != 0)
            return false;
        if (i < SELECT_SIZE)
            selected |= (uint32_t)select[i] << (8 * i);
    }
    if (selected == 0)
        return true;
    if (pcrs->num_banks > 0 && pcrs->banks[pcrs->num_banks - 1].hash >= hash)
        return false;
    return insert(pcrs, hash, selected);
}

enum lct_code lct_pcrs_unmarshal(struct lct_pcrs *pcrs, size_t *used, const uint8_t *bytes,
                                 size_t bytes_len, struct lct_err *err)
{
    struct lct_reader reader = {bytes, bytes_len, false};
    uint32_t count = lct_read_u32(&reader);
    bool good = !reader.failed && count <= 16; /* TPM2_NUM_PCR_BANKS */

    *pcrs = (struct lct_pcrs){0};
    for (uint32_t i = 0; good && i < count; i++)
        good = read_bank(pcrs, &reader);
    *used = bytes_len - reader.left;
    if (good)
        return LCT_OK;
    *pcrs = (struct lct_pcrs){0};
    return LCT_FAIL(err, LCT_ERR_BAD_RECORD, "the selection of PCRs is malformed");
}

enum lct_code lct_pcr_digest(uint8_t digest[32], OSSL_LIB_CTX *libctx,
                             const struct lct_pcr_values *values, struct lct_err *err)
{
    EVP_MD *md = EVP_MD_fetch(libctx, "SHA256", NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = md != NULL && ctx != NULL && EVP_DigestInit_ex2(ctx, md, NULL) == 1;

    for (size_t i = 0; i < values->pcrs.num_banks; i++)
        for (unsigned n = 0; n < LCT_NUM_PCRS && good; n++)
            if ((values->pcrs.banks[i].pcrs & 1u << n) != 0)
                good = EVP_DigestUpdate(ctx, values->values[i][n],
                                        values->pcrs.banks[i].hash->size) == 1;
    good = good && EVP_DigestFinal_ex(ctx, digest, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(md);
    return good ? LCT_OK : LCT_FAIL(err, LCT_ERR_INTERNAL, "libcrypto cannot hash PCR values");
}

static bool is_blank(const uint8_t *value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (value[i] != value[0] || (value[0] != 0 && value[0] != 0xff))
            return false;
    return true;
}

/* The selected ones that are blank. */
static void find_blank(struct lct_pcrs *blank, const struct lct_pcr_values *values)
{
    *blank = (struct lct_pcrs){0};
    for (size_t i = 0; i < values->pcrs.num_banks; i++) {
        struct lct_pcr_bank bank = {.hash = values->pcrs.banks[i].hash};
        for (unsigned n = 0; n < LCT_NUM_PCRS; n++)
            if ((values->pcrs.banks[i].pcrs & 1u << n) != 0 &&
                is_blank(values->values[i][n], bank.hash->size))
                bank.pcrs |= 1u << n;
        if (bank.pcrs != 0)
            blank->banks[blank->num_banks++] = bank;
    }
}

bool lct_pcr_values_are_blank(const struct lct_pcr_values *values)
{
    struct lct_pcrs blank;

    find_blank(&blank, values);
    return lct_pcrs_equal(&blank, &values->pcrs);
}

void lct_pcr_values_blank(struct lct_pcrs *blank, const struct lct_pcr_values *values)
{
    struct lct_pcrs found;

    find_blank(&found, values);
    *blank = (struct lct_pcrs){0};
    for (size_t i = 0; i < found.num_banks; i++) {
        struct lct_pcr_bank bank = found.banks[i];
        if (!lct_pcrs_equal(&found, &values->pcrs))
            bank.pcrs &= firmware_pcrs;
        if (bank.pcrs != 0)
            blank->banks[blank->num_banks++] = bank;
    }
}

bool lct_pcr_values_pick(struct lct_pcr_values *picked, const struct lct_pcrs *pcrs,
                         const struct lct_pcr_values *values)
{
    memset(picked, 0, sizeof *picked);
    picked->pcrs = *pcrs;
    for (size_t i = 0; i < pcrs->num_banks; i++) {
        int from = lct_pcrs_find(&values->pcrs, pcrs->banks[i].hash->id);
        if (from < 0 || (pcrs->banks[i].pcrs & ~values->pcrs.banks[from].pcrs) != 0)
            return false;
        for (unsigned n = 0; n < LCT_NUM_PCRS; n++)
            if ((pcrs->banks[i].pcrs & 1u << n) != 0)
                memcpy(picked->values[i][n], values->values[from][n], LCT_MAX_HASH);
    }
    return true;
}

const char *lct_pcr_meaning(unsigned pcr)
{
    /* PC Client Platform Firmware Profile, 3.3.4; UAPI group's Linux TPM PCR Registry. */
    static const char *const meanings[LCT_NUM_PCRS] = {
        [0] = "the firmware's code; a firmware update changes it",
        [1] = "the firmware's settings and the hardware; a change of either changes it",
        [2] = "code on extension cards; new cards or their firmware change it",
        [3] = "settings of extension cards",
        [4] = "the boot loader; its update changes it",
        [5] = "the boot loader's settings and the partition table",
        [6] = "the machine's maker's events",
        [7] = "Secure Boot: whether it is on, its keys and what is revoked; dbx updates change it",
        [8] = "what GRUB was told: its commands and the kernel's command line",
        [9] = "what the boot loader read: kernel and initramfs; a kernel update changes it",
        [10] = "IMA: files as Linux opens them; it changes all the time",
        [11] = "the unified kernel image, and systemd's boot phases",
        [12] = "the kernel's command line and credentials, as systemd-stub was given them",
        [13] = "system extensions, as systemd-stub was given them",
        [14] = "shim's certificates and hashes (MOK); enrolling one changes it",
        [15] = "the system's identity: disk keys and machine id, as systemd measures them",
        [16] = "nothing: for debugging",
        [17] = "a late launch (DRTM)",
        [18] = "a late launch (DRTM)",
        [19] = "a late launch (DRTM)",
        [20] = "a late launch (DRTM)",
        [21] = "a late launch (DRTM)",
        [22] = "a late launch (DRTM)",
        [23] = "nothing: for applications",
    };

    return pcr < LCT_NUM_PCRS ? meanings[pcr] : "no such PCR";
}
