/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/verify.h"

#include <string.h>

const struct lct_subcommand lct_attest_verifier_parts[LCT_NUM_VERIFIER_PARTS] = {
    {"attest challenge",
     "--trust TRUST --state STATE [--mode ak|direct] [--pcrs SPEC|none] [--lifetime SECONDS] OFFER",
     "ask for a proof of what was offered; needs no TPM",
     "OFFER is what lct attest offer made. The challenge is printed; it is good for one answer,\n"
     "which lct attest respond makes and lct verify judges.\n"
     "  --trust TRUST       whom to believe: a directory of root certificates, or a trust file\n"
     "  --state STATE       a new file for what only you may know of the challenge\n"
     "  --mode direct       without an attestation key, and so without a quote and a certificate\n"
     "  --pcrs SPEC         the PCRs to be quoted, as in sha256:0,7; default: all of the boot's\n"
     "                      but 10\n"
     "  --lifetime SECONDS  how long the challenge holds; default: 300\n",
     lct_attest_challenge_run},
    {"attest issue",
     "--trust TRUST --state STATE --issuer-key KEY --issuer-cert CERT|--verdict [--days N] "
     "[--key FILE] [--expect-pcrs FILE] [--require CLAIM,...] EVIDENCE",
     "judge a proof, and sign that it holds; needs no TPM",
     "  --trust, --state, --key, --expect-pcrs, --require\n"
     "                      as for lct verify\n"
     "  --issuer-key KEY    what is issued is signed with it: a private key in PEM, or where "
     "there\n"
     "                      is a TPM an identity, lct:ID\n"
     "  --issuer-cert CERT  issue a certificate of the attestation key; this is KEY's\n"
     "  --verdict           issue a signed verdict on the key (JWS)\n"
     "  --days N            how long it holds; default: 30, of a verdict 1\n"
     "  --passphrase-file FILE\n"
     "                      the passphrase of KEY; else it is asked for\n",
     lct_attest_issue_run},
    {"attest show", "FILE [--json|--html [--out FILE]]",
     "explain a file of an attestation, and believe none of it; needs no TPM",
     "  --html       a page to mail or to print, complete in itself\n"
     "  --out FILE   put it into FILE\n",
     lct_attest_show_run},
};

const struct lct_subcommand *lct_attest_verifier_part(const char *name)
{
    for (size_t i = 0; i < LCT_NUM_VERIFIER_PARTS; i++)
        if (strcmp(lct_attest_verifier_parts[i].name, name) == 0)
            return &lct_attest_verifier_parts[i];
    return NULL;
}

const char *lct_attest_verb(const struct lct_subcommand *part)
{
    return part->name + strlen("attest ");
}
