/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/vendor.h"

#include "base/encode.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { ID_CHARACTERS = 4, ID_DIGITS = 8 };

static const struct vendor {
    uint32_t id;
    const char *name;
} vendors[] = {
    {0x414d4400, "AMD"},
    {0x414e5400, "Ant Group"},
    {0x41524d00, "Arm"},
    {0x41544d4c, "Atmel"},
    {0x4252434d, "Broadcom"},
    {0x4353434f, "Cisco"},
    {0x464c5953, "Flyslice Technologies"},
    {0x524f4343, "Fuzhou Rockchip"},
    {0x474f4f47, "Google"},
    {0x48504900, "HPI"},
    {0x48504500, "HPE"},
    {0x48495349, "Huawei"},
    {0x49424d00, "IBM"},
    {0x49465800, "Infineon"},
    {0x494e5443, "Intel"},
    {0x4c454e00, "Lenovo"},
    {0x4d534654, "Microsoft"},
    {0x4e534d20, "National Semiconductor"},
    {0x4e545a00, "Nationz"},
    {0x4e534700, "NSING"},
    {0x4e544300, "Nuvoton Technology"},
    {0x51434f4d, "Qualcomm"},
    {0x534d534e, "Samsung"},
    {0x53454345, "SecEdge"},
    {0x534e5300, "Sinosun"},
    {0x534d5343, "SMSC"},
    {0x53544d20, "STMicroelectronics"},
    {0x54584e00, "Texas Instruments"},
    {0x57454300, "Winbond"},
    {0x5345414c, "Wisekey"},
};

enum { num_vendors = sizeof vendors / sizeof vendors[0] };

static const struct vendor *find(uint32_t id)
{
    for (size_t i = 0; i < num_vendors; i++)
        if (vendors[i].id == id)
            return &vendors[i];
    return NULL;
}

/* Without what they are filled up with. */
static void characters(char text[ID_CHARACTERS + 1], uint32_t id)
{
    for (size_t i = 0; i < ID_CHARACTERS; i++)
        text[i] = (char)(id >> (24 - 8 * i) & 0xff);
    text[ID_CHARACTERS] = '\0';
    text[strcspn(text, " ")] = '\0';
}

bool lct_vendor_parse(uint32_t *id, const char *text)
{
    char known[ID_CHARACTERS + 1];

    for (size_t i = 0; i < num_vendors; i++) {
        characters(known, vendors[i].id);
        *id = vendors[i].id;
        if (strcmp(known, text) == 0)
            return true;
    }
    *id = 0;
    if (strlen(text) != ID_DIGITS)
        return false;
    for (size_t i = 0; i < ID_DIGITS; i++) {
        int digit = lct_hex_digit(text[i]);
        if (digit < 0)
            return false;
        *id = *id << 4 | (uint32_t)digit;
    }
    return true;
}

bool lct_vendor_is_registered(uint32_t id)
{
    return find(id) != NULL;
}

void lct_vendor_text(char text[LCT_VENDOR_TEXT], uint32_t id)
{
    const struct vendor *vendor = find(id);
    char short_name[ID_CHARACTERS + 1];

    characters(short_name, id);
    if (vendor != NULL)
        (void)snprintf(text, LCT_VENDOR_TEXT, "%s (%s)", vendor->name, short_name);
    else
        (void)snprintf(text, LCT_VENDOR_TEXT, "%08lx, which is none of the TCG's registry",
                       (unsigned long)id);
}
