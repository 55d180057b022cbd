/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/doctor.h"

#include "tools/json.h"
#include "tpm/ways.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* What a TCTI module of tpm2-tss says on stderr is told as a finding instead. */
static size_t try_quietly(struct lct_way ways[LCT_MAX_WAYS], const struct lct_doctor *doctor)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int own = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

    if (nowhere >= 0 && own >= 0)
        (void)dup2(nowhere, STDERR_FILENO);
    size_t num = lct_ways_try(ways, doctor->root, doctor->tool->config.tcti);
    if (nowhere >= 0 && own >= 0)
        (void)dup2(own, STDERR_FILENO);
    if (nowhere >= 0)
        close(nowhere);
    if (own >= 0)
        close(own);
    return num;
}

bool lct_doctor_ways(struct lct_doctor *doctor)
{
    struct lct_way ways[LCT_MAX_WAYS];
    size_t num = try_quietly(ways, doctor);
    bool opens = false;

    for (size_t i = 0; i < num; i++)
        opens = opens || ways[i].state == LCT_WAY_OPENS;
    for (size_t i = 0; i < num; i++) {
        const char *command = ways[i].command[0] != '\0' ? ways[i].command : NULL;
        enum lct_severity severity =
            ways[i].state == LCT_WAY_OPENS ? LCT_SEVERITY_OK : LCT_SEVERITY_NOTE;
        json_t *finding =
            ways[i].state == LCT_WAY_SHUT && !opens
                ? lct_doctor_problem(doctor, LCT_TOPIC_WAY, LCT_ERR_NO_TPM, command, "%s",
                                     ways[i].text)
                : lct_doctor_find(doctor, LCT_TOPIC_WAY, severity, command, "%s", ways[i].text);
        (void)json_object_set_new(finding, "way", lct_tool_json_text(ways[i].name));
        (void)json_object_set_new(finding, "held_by", lct_tool_json_text(ways[i].holders));
    }
    return opens;
}

static const enum lct_topic topic = LCT_TOPIC_TPM;

static void find_lockout(struct lct_doctor *doctor, const struct lct_probe *probe)
{
    bool locked = (probe->permanent & TPMA_PERMANENT_INLOCKOUT) != 0;
    json_t *finding =
        locked ? lct_doctor_find(
                     doctor, topic, LCT_SEVERITY_WARNING, "tpm2_dictionarylockout -c",
                     "it is in lockout after %u wrong authorizations: keys with a passphrase "
                     "cannot be used, the owner's authorization can; one more try in at most %u s",
                     probe->tries, probe->interval)
               : lct_doctor_find(doctor, topic, LCT_SEVERITY_OK, NULL,
                                 "not in lockout: %u of %u wrong authorizations, one is forgotten "
                                 "every %u s",
                                 probe->tries, probe->max_tries, probe->interval);

    (void)json_object_set_new(finding, "in_lockout", json_boolean(locked));
    (void)json_object_set_new(finding, "tries", json_integer(probe->tries));
    (void)json_object_set_new(finding, "max_tries", json_integer(probe->max_tries));
    (void)json_object_set_new(finding, "seconds", json_integer(probe->interval));
}

/* Where making one takes an authorization that nobody has told us. */
static bool needs_owner(const struct lct_doctor *doctor)
{
    return (doctor->probe.permanent & TPMA_PERMANENT_OWNERAUTHSET) != 0 &&
           doctor->tool->config.owner_auth_file == NULL;
}

static void find_srk(struct lct_doctor *doctor)
{
    const struct lct_probe *probe = &doctor->probe;
    bool no_provision = doctor->tool->config.no_provision;

    if (probe->srk_usable)
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_OK, NULL,
                              "the storage root key is at 0x%08x", lct_srk_handle);
    else if (lct_objects_at(&probe->persistent, lct_srk_handle) != NULL)
        (void)lct_doctor_problem(doctor, topic, LCT_ERR_UNSUPPORTED, NULL,
                                 "what is at 0x%08x is no storage key that stays in this TPM",
                                 lct_srk_handle);
    else if (needs_owner(doctor))
        (void)lct_doctor_find(
            doctor, topic, LCT_SEVERITY_WARNING, NULL,
            "there is no storage root key at 0x%08x, and making one needs the owner's "
            "authorization: lct create asks for it on a terminal; elsewhere, and with provision = "
            "no, put it into a file and set owner_auth_file in openssl.cnf",
            lct_srk_handle);
    else
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_NOTE, NULL,
                              "there is no storage root key at 0x%08x; lct create %s",
                              lct_srk_handle,
                              no_provision ? "does without, because provision = no" : "makes it");
}

/* TPM 2.0 Part 2, 8.6: what was set since the TPM was cleared. */
static void find_authorizations(struct lct_doctor *doctor)
{
    static const struct {
        const char *name, *key;
        TPMA_PERMANENT bit;
    } all[] = {
        {"owner", "owner_auth_set", TPMA_PERMANENT_OWNERAUTHSET},
        {"endorsement", "endorsement_auth_set", TPMA_PERMANENT_ENDORSEMENTAUTHSET},
        {"lockout", "lockout_auth_set", TPMA_PERMANENT_LOCKOUTAUTHSET},
    };
    struct lct_doctor_list list = {0};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        lct_doctor_list(&list, ", ", "%s %s", all[i].name,
                        (doctor->probe.permanent & all[i].bit) != 0 ? "set" : "not set");
    json_t *finding =
        lct_doctor_find(doctor, topic, LCT_SEVERITY_OK, NULL, "authorizations: %s", list.text);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        (void)json_object_set_new(finding, all[i].key,
                                  json_boolean((doctor->probe.permanent & all[i].bit) != 0));
}

/* The names of the banks that the boot is, or is not, measured into; none: an empty text. */
static void name_banks(char *text, size_t size, const struct lct_probe *probe, bool measured)
{
    size_t len = 0;

    text[0] = '\0';
    for (size_t i = 0; i < probe->num_banks && len < size; i++)
        if (probe->banks[i].measured == measured)
            len += (size_t)snprintf(text + len, size - len, "%s%s", len > 0 ? " " : "",
                                    probe->banks[i].hash->name);
}

static void find_banks(struct lct_doctor *doctor, const struct lct_probe *probe)
{
    char measured[128], unmeasured[128];
    json_t *finding = NULL;

    name_banks(measured, sizeof measured, probe, true);
    name_banks(unmeasured, sizeof unmeasured, probe, false);
    if (measured[0] != '\0')
        finding = lct_doctor_find(doctor, LCT_TOPIC_BOOT, LCT_SEVERITY_OK, NULL,
                                  "the boot is measured into these banks: %s", measured);
    (void)json_object_set_new(finding, "measured", json_string(measured));
    if (unmeasured[0] == '\0')
        return;
    finding = lct_doctor_find(doctor, LCT_TOPIC_BOOT, LCT_SEVERITY_WARNING, NULL,
                              "the boot is not measured into these banks: %s; their PCR 0 to 7 are "
                              "zero, and a seal to them says nothing",
                              unmeasured);
    (void)json_object_set_new(finding, "unmeasured", json_string(unmeasured));
}

/* What it is: manufacturer, firmware, specification; in software or not. */
static void find_maker(struct lct_doctor *doctor, const struct lct_probe *probe)
{
    json_t *finding = lct_doctor_find(
        doctor, topic, LCT_SEVERITY_OK, NULL, "it is a TPM 2.0 of revision %u.%02u: %s",
        probe->revision / 100, probe->revision % 100, probe->info.description);

    (void)json_object_set_new(finding, "software", json_boolean(probe->info.software));
    if (probe->info.software)
        (void)lct_doctor_find(doctor, topic, LCT_SEVERITY_WARNING, NULL,
                              "it is a software TPM: its keys are as safe as its files are");
}

static const char *command_for(uint32_t tpm_rc)
{
    switch (tpm_rc) {
    case TPM2_RC_INITIALIZE:
        return "tpm2_startup -c";
    case TPM2_RC_FAILURE:
        return "systemctl poweroff";
    default:
        return NULL;
    }
}

void lct_doctor_tpm(struct lct_doctor *doctor)
{
    struct lct_probe *probe = &doctor->probe;
    struct lct_err err = {.code = LCT_OK};
    OSSL_LIB_CTX *libctx = lct_crypto_get(doctor->tool->crypto, &err);
    enum lct_code code =
        libctx != NULL ? lct_tpm_probe(doctor->tool->tpm, probe, libctx, &err) : LCT_ERR_INTERNAL;

    if (code != LCT_OK) {
        (void)lct_doctor_problem(doctor, topic, code, command_for(err.tpm_rc), "%s", err.text);
        return;
    }
    doctor->probed = true;
    find_maker(doctor, probe);
    find_lockout(doctor, probe);
    find_authorizations(doctor);
    find_srk(doctor);
    find_banks(doctor, probe);
}
