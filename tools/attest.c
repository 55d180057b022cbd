/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/attest.h"

#include "tools/nearest.h"
#include "tools/verify.h"

#include <stdio.h>
#include <string.h>

const char lct_attest_arguments[] = "offer|challenge|respond|issue|show|export [ARGUMENT...]";
const char lct_attest_details[] =
    "Three files go between who has a key and who wants it proved, each on standard output; where\n"
    "one is read, - is standard input.\n"
    "  offer ID             shows what there is to prove of an identity\n"
    "  challenge OFFER      asks for a proof of it; needs no TPM\n"
    "  respond CHALLENGE    proves it, with what signing with the identity takes\n"
    "and lct verify judges the answer. Then, perhaps:\n"
    "  issue EVIDENCE       judges it, and signs that it holds; needs no TPM\n"
    "  show FILE            explains any of the files, and believes none of it; needs no TPM\n"
    "  export EVIDENCE      writes a proof in the form of others\n"
    "lct help attest offer, for example, explains one.\n";

/* The parts of who has the TPM. */
static const struct lct_subcommand parts[] = {
    {"attest offer", "ID [--ak-cert FILE] [--generation N]",
     "show what there is to prove of an identity",
     "Nothing of it is a secret, and nobody is to believe it yet. Where the endorsement hierarchy\n"
     "has an authorization, it is needed: endorsement_auth_file in openssl.cnf, or it is asked "
     "for.\n"
     "  --ak-cert FILE   the certificate of this TPM's attestation key, as lct attest issue made "
     "it,\n"
     "                   and those of its issuers, PEM, in that order\n",
     lct_attest_offer_run},
    {"attest respond", "CHALLENGE [--eventlog FILE|none]", "answer a challenge of what was offered",
     "Takes what signing with the identity takes: its passphrase, and the boot that it is sealed "
     "to;\n"
     "and the endorsement hierarchy's authorization as lct attest offer does.\n"
     "  --eventlog FILE  what explains the values of PCRs, sent with a quote of them; default: "
     "the\n"
     "                   kernel's, if root runs it; none: nothing\n",
     lct_attest_respond_run},
    {"attest export", "--format webauthn-tpm|web4 [--purpose PURPOSE] EVIDENCE",
     "write a proof in the form of others",
     "Nothing of it is judged: lct verify does that.\n"
     "  --format webauthn-tpm   WebAuthn's attestation statement \"tpm\" (8.3), in CBOR; needs "
     "the\n"
     "                          attestation key's certificate. Its extraData is not of a "
     "browser's\n"
     "                          data but of the challenge: SHA-256(\"LCT-ATTEST-v1 certify\" 00 "
     "T);\n"
     "                          T is SHA-256(\"LCT-ATTEST-v1\" 00 D), and D SHA-256 of its RFC "
     "8785\n"
     "                          form\n"
     "  --format web4           Web4's AttestationEnvelope; needs a quote, of one bank\n"
     "  --purpose PURPOSE       what that is for: enrollment, session_start, re_attestation,\n"
     "                          witness, migration or device_binding; default: it does not say\n",
     lct_attest_export_run},
};

const struct lct_subcommand *lct_attest_part(const char *name)
{
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strcmp(parts[i].name, name) == 0)
            return &parts[i];
    return lct_attest_verifier_part(name);
}

const struct lct_subcommand *lct_attest_part_at(size_t i)
{
    const size_t num = sizeof parts / sizeof parts[0];

    if (i < num)
        return &parts[i];
    return i - num < LCT_NUM_VERIFIER_PARTS ? &lct_attest_verifier_parts[i - num] : NULL;
}

static enum lct_code fail_unknown(const char *verb, struct lct_err *err)
{
    struct lct_nearest nearest = {.typed = verb};
    char hint[LCT_NEAREST_HINT];

    for (size_t i = 0; lct_attest_part_at(i) != NULL; i++)
        lct_nearest_try(&nearest, lct_attest_verb(lct_attest_part_at(i)));
    return LCT_FAIL(err, LCT_ERR_USAGE,
                    "an attestation has no part \"%s\"%s%s lct help attest lists them", verb,
                    lct_nearest_hint(hint, &nearest, ""), nearest.word == NULL ? ";" : "");
}

static bool has_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0)
            return true;
    return false;
}

enum lct_code lct_attest_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    char name[32]; /* as messages and help have it */
    int at = lct_tool_find_name(argc, argv);

    if (at == 0 && has_help(argc, argv)) {
        lct_help_print(argv[0]);
        return LCT_OK;
    }
    if (at == 0)
        return LCT_FAIL(err, LCT_ERR_USAGE, "usage: lct attest %s", lct_attest_arguments);
    lct_tool_put_first(argv, at);
    (void)snprintf(name, sizeof name, "attest %s", argv[1]);
    const struct lct_subcommand *part = lct_attest_part(name);
    if (part == NULL)
        return fail_unknown(argv[1], err);
    char *word = argv[1];
    argv[1] = name;
    enum lct_code code = part->run(tool, argc - 1, argv + 1, err);
    argv[1] = word;
    return code;
}
