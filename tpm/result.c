/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm/result.h"

#include "tpm/channel.h"

#include <stddef.h>
#include <tss2/tss2_rc.h>

static const char handle_gone[] =
    "a session or a key of ours is gone from the TPM: another program has flushed it, or the TPM "
    "was restarted; try again";

static const struct {
    TPM2_RC rc;
    enum lct_code code;
    const char *text;
} meanings[] = {
    {TPM2_RC_INITIALIZE, LCT_ERR_NO_TPM,
     "the TPM has not been started (TPM2_Startup); the firmware does that at boot, for a simulator "
     "use tpm2_startup -c"},
    {TPM2_RC_FAILURE, LCT_ERR_NO_TPM, "the TPM is in failure mode; power the machine off and on"},
    {TPM2_RC_UPGRADE, LCT_ERR_NO_TPM, "the TPM's firmware is being upgraded"},
    {TPM2_RC_REBOOT, LCT_ERR_NO_TPM, "the TPM needs a reboot of the machine"},
    {TPM2_RC_LOCKOUT, LCT_ERR_LOCKOUT,
     "the TPM is in lockout after too many wrong authorizations; wait for it to end, or reset it: "
     "tpm2_dictionarylockout -c"},
    {TPM2_RC_AUTH_FAIL, LCT_ERR_AUTH,
     "the authorization is wrong, and the TPM counts wrong tries towards its lockout"},
    {TPM2_RC_BAD_AUTH, LCT_ERR_AUTH, "the authorization is wrong"},
    {TPM2_RC_AUTH_UNAVAILABLE, LCT_ERR_AUTH,
     "the key is used by a policy, not by an authorization"},
    {TPM2_RC_POLICY_FAIL, LCT_ERR_SEALED, "the key's policy is not satisfied"},
    {TPM2_RC_OBJECT_MEMORY, LCT_ERR_TPM_FULL,
     "all of the TPM's slots for keys are taken by other programs; use a resource manager "
     "(/dev/tpmrm0 or tpm2-abrmd) or free them: tpm2_flushcontext -t"},
    {TPM2_RC_MEMORY, LCT_ERR_TPM_FULL, "the TPM is out of memory"},
    {TPM2_RC_OBJECT_HANDLES, LCT_ERR_TPM_FULL, "the TPM is out of handles"},
    {TPM2_RC_SESSION_MEMORY, LCT_ERR_TPM_FULL,
     "all of the TPM's slots for sessions are taken by other programs; free them: "
     "tpm2_flushcontext -l"},
    {TPM2_RC_REFERENCE_S0, LCT_ERR_TPM,
     "the session with the TPM is gone: another program has flushed it, or the TPM was restarted; "
     "try again"},
    {TPM2_RC_REFERENCE_H0, LCT_ERR_TPM, handle_gone},
    {TPM2_RC_REFERENCE_H1, LCT_ERR_TPM, handle_gone},
    {TPM2_RC_REFERENCE_H2, LCT_ERR_TPM, handle_gone},
    {TPM2_RC_SESSION_HANDLES, LCT_ERR_TPM_FULL, "the TPM is out of session handles"},
    {TPM2_RC_NV_SPACE, LCT_ERR_TPM_FULL, "the TPM's NV memory is full"},
    {TPM2_RC_NV_RATE, LCT_ERR_TPM, "the TPM delays writes to its NV memory; try again"},
    {TPM2_RC_RETRY, LCT_ERR_TPM, "the TPM is busy; try again"},
    {TPM2_RC_TESTING, LCT_ERR_TPM, "the TPM is testing itself; try again"},
    {TPM2_RC_CURVE, LCT_ERR_UNSUPPORTED, "this TPM does not have the curve"},
    {TPM2_RC_HASH, LCT_ERR_UNSUPPORTED, "this TPM does not have the hash"},
    {TPM2_RC_SCHEME, LCT_ERR_UNSUPPORTED, "this TPM cannot sign this way with this key"},
    {TPM2_RC_TYPE, LCT_ERR_UNSUPPORTED, "what is there is of a kind that is not supported"},
    {TPM2_RC_HIERARCHY, LCT_ERR_TPM, "the hierarchy is disabled in the firmware's settings"},
    {TPM2_RC_COMMAND_CODE, LCT_ERR_TPM, "this TPM does not have the command"},
};

/* The resource managers return TPM codes under a layer of their own: tpm2-tss, tss2_common.h. */
static TSS2_RC without_manager(TSS2_RC rc)
{
    TSS2_RC layer = rc & TSS2_RC_LAYER_MASK;

    return layer == TSS2_RESMGR_TPM_RC_LAYER || layer == TSS2_RESMGR_RC_LAYER
               ? rc & ~(TSS2_RC)TSS2_RC_LAYER_MASK
               : rc;
}

/* TPM 2.0 Part 2, 6.6.3: in format one, bits 6 and 8 to 11 say what the code is about. */
TPM2_RC lct_result_base(TSS2_RC rc)
{
    TSS2_RC plain = without_manager(rc);

    return (plain & TPM2_RC_FMT1) != 0 ? plain & (TPM2_RC_FMT1 | 0x3f) : plain;
}

bool lct_result_is_local(TSS2_RC rc)
{
    return (without_manager(rc) & TSS2_RC_LAYER_MASK) != 0;
}

bool lct_result_is_lost_handle(TSS2_RC rc)
{
    TSS2_RC plain = without_manager(rc);

    switch (lct_result_base(rc)) {
    case TPM2_RC_REFERENCE_H0:
        return true;
    case TPM2_RC_HANDLE: /* of a handle: not of a parameter, not of a session */
        return (plain & (TPM2_RC_P | TPM2_RC_S)) == 0;
    case TPM2_RC_VALUE:
        return (plain & (TPM2_RC_P | TPM2_RC_S)) == 0 && (plain & TPM2_RC_N_MASK) != 0;
    default:
        return false;
    }
}

/* TPM 2.0 Part 2, 6.6.3: format one with bit 11 set and bit 6 clear is about a session. */
bool lct_result_is_lost_session(TSS2_RC rc)
{
    TSS2_RC plain = without_manager(rc);
    TPM2_RC base = lct_result_base(rc);

    if (base >= TPM2_RC_REFERENCE_S0 && base <= TPM2_RC_REFERENCE_S6)
        return true;
    return (plain & TPM2_RC_S) != 0 && (plain & TPM2_RC_P) == 0 &&
           (base == TPM2_RC_HANDLE || base == TPM2_RC_VALUE);
}

bool lct_result_is_about_second(TSS2_RC rc)
{
    TSS2_RC plain = without_manager(rc);
    TPM2_RC base = lct_result_base(rc);

    if ((plain & TPM2_RC_FMT1) == 0)
        return base > TPM2_RC_REFERENCE_S0 && base <= TPM2_RC_REFERENCE_S6;
    return (plain & TPM2_RC_P) == 0 && (plain & TPM2_RC_N_MASK) > (TPM2_RC_S | TPM2_RC_1);
}

static enum lct_code fail(struct lct_err *err, const char *label, const char *name, TSS2_RC rc,
                          enum lct_code code, const char *text)
{
    code = LCT_FAIL(err, code, "%s: %s: %s (0x%03x)", label, name, text, rc);
    if (err != NULL)
        err->tpm_rc = rc;
    return code;
}

enum lct_code lct_result(struct lct_err *err, const char *label, TPM2_CC command, TSS2_RC rc)
{
    const struct lct_command *row = lct_command_by_code(command);
    const char *name = row != NULL ? row->name : "TPM";
    TPM2_RC base = lct_result_base(rc);

    if (rc == TSS2_RC_SUCCESS)
        return LCT_OK;
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
        if (meanings[i].rc == base)
            return fail(err, label, name, rc, meanings[i].code, meanings[i].text);
    return fail(err, label, name, rc, lct_result_is_local(rc) ? LCT_ERR_NO_TPM : LCT_ERR_TPM,
                Tss2_RC_Decode(rc));
}
