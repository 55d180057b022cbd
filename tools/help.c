/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/attest.h"
#include "tools/nearest.h"
#include "tools/tool.h"
#include "tools/verify.h"

#include <stdio.h>
#include <string.h>

static const struct lct_subcommand subcommands[] = {
    {"setup", "[--system|--user] [--undo] [--yes] [--module FILE]",
     "have programs that use OpenSSL take lct:ID as a key",
     "openssl.cnf gets a comment, and a line that includes lct.cnf beside it. The change is\n"
     "shown, and asked about; it is tried out before. Then it is as lct doctor says.\n"
     "  --system        the machine's openssl.cnf: every user's programs (default for root)\n"
     "  --user          one of your own, in ~/.config/lct, which OPENSSL_CONF has to name "
     "(default\n"
     "                  for others); without either, that which OPENSSL_CONF names already\n"
     "  --undo          take it back\n"
     "  --yes           do not ask; needed where there is no terminal to ask on\n"
     "  --module FILE   the provider; default: where it was installed\n",
     lct_setup_run},
    {"create",
     "ID [--algorithm A] [--passphrase] [--seal SPEC [--bind] [--revocable]] [--owner USER:GROUP] "
     "[--if-absent] [--new-parent] [--json] | --software ID [--algorithm A] [--owner USER:GROUP] "
     "[--if-absent] [--json]",
     "make an identity: a key in the TPM that lct:ID stands for",
     "  --algorithm A        ec-p256 (default), ec-p384, rsa-2048 or rsa-3072\n"
     "  --passphrase         signing takes a passphrase: asked for now, or --passphrase-file FILE\n"
     "  --seal SPEC          which boot it signs in; default: seal in openssl.cnf, or\n"
     "                       sha256:0,1,2,3,7\n"
     "      sha256:7         with PCR 7 as it is now, or as the store's authority approves; banks\n"
     "                       are joined by +, as in sha256:0,7+sha384:11\n"
     "      strict:sha256:7  with PCR 7 as it is now, and never otherwise: an update may lock it "
     "for ever\n"
     "      authority        only as the authority approves: lct approve\n"
     "      none             in any\n"
     "  --bind               approvals are for this identity alone\n"
     "  --revocable          with --seal authority: approvals can be revoked, with lct reseal\n"
     "                       --revoke; it takes an index of the TPM's NV memory\n"
     "  --owner USER:GROUP   who may read it: the service that signs with it\n"
     "  --if-absent          an identity that is there already is no error\n"
     "  --new-parent         the TPM was cleared or replaced: take its storage root key for ours\n"
     "  --software           not in the TPM: a file that is encrypted under a passphrase, asked "
     "for\n"
     "                       now, or --passphrase-file FILE; ec-p256, ec-p384 or ed25519. Whoever\n"
     "                       has both has the key, and nothing limits guesses\n"
     "  --json               print the identity as lct show --json does\n",
     lct_create_run},
    {"import",
     "ID FILE [--software] [--passphrase|--no-passphrase] [--owner USER:GROUP] [--new-parent] "
     "[--json] | "
     "[ID] --prototype FILE.json [--owner USER:GROUP] [--new-parent] [--json]",
     "make an identity of a key that was made elsewhere",
     "FILE is a TSS2 PRIVATE KEY of this TPM, as other tools write them, or a persistent handle:\n"
     "0x81000100. What its attributes do not say is not claimed: see lct-import(1).\n"
     "  --software           FILE is an ordinary private key, which goes into the TPM\n"
     "  --prototype FILE     the key that Web4's Python prototype wrote this of, in\n"
     "                       ~/.web4/identity/tpm2: adopted if it is still in its place\n"
     "  --passphrase         the key takes one, asked for now; with --software: a new one\n"
     "  --no-passphrase      it takes none, though the key file says that it does\n"
     "  --owner USER:GROUP   who may read it: the service that signs with it\n"
     "  --new-parent         as for lct create\n",
     lct_import_run},
    {"list", "[--json]", "list the identities", NULL, lct_list_run},
    {"show", "ID [--json|--html [--out FILE]]", "show what is known of an identity",
     "  --html       a page to mail or to print, complete in itself\n"
     "  --out FILE   put it into FILE\n",
     lct_show_run},
    {"check", "[--hardware-bound] [--json] [ID...]",
     "check with the TPM that identities are whole and can sign",
     "  --hardware-bound   and that the key was made in the TPM and cannot leave it\n"
     "Without an ID, all. For ExecStartPre= of a service, so that a key that cannot sign stops it\n"
     "at start and not at its first handshake.\n",
     lct_check_run},
    {"authority",
     "init --out FILE [--algorithm A] [--passphrase] [--json] | show [--json|--pem] | "
     "import FILE [--json]",
     "make or take the recovery authority, who approves the boot after an update",
     "Keys are sealed to the boot as it is, or as the authority approves it: lct approve. One may\n"
     "serve many machines.\n"
     "  init              makes it; its private half is encrypted under a recovery phrase, which "
     "is\n"
     "                    shown once. Keep both away from this machine: with them and the disk "
     "any\n"
     "                    boot can be approved, without them an update may lock keys for ever\n"
     "  --out FILE        where the private half goes: a new file\n"
     "  --algorithm A     ec-p256 (default), rsa-2048 or rsa-3072, which systemd's tools need\n"
     "  --passphrase      under a passphrase, not a recovery phrase: asked for, or "
     "--passphrase-file FILE\n"
     "  show              prints its fingerprint and where its private half is; --pem: its public "
     "key\n"
     "  import FILE       takes a public key in PEM (-: standard input): P-256, RSA 2048 to 4096\n",
     lct_authority_run},
    {"approve",
     "--authority KEY.pem [--pcrs current|FILE] [--predict CHANGE]... [--out FILE] [--json] "
     "[ID...] | "
     "--import FILE [--json]",
     "approve a state of the boot, so that sealed keys sign in it",
     "Without an ID, for all that this authority seals. The recovery phrase or passphrase of "
     "KEY.pem\n"
     "is asked for, or --passphrase-file FILE.\n"
     "  --authority KEY.pem  the private half, as lct authority init wrote it\n"
     "  --pcrs current       the state that this machine has now (default)\n"
     "  --pcrs FILE          that which lct pcrs wrote, perhaps on another machine (-: standard "
     "input)\n"
     "  --predict CHANGE     what it will be after the next boot; may be given again\n"
     "      dbx=FILE         with this content of that UEFI variable; also db, KEK and PK\n"
     "      cmdline=TEXT     with this command line of the kernel, as /proc/cmdline will have it\n"
     "      digest=OLD:NEW   with this digest (hexadecimal) measured where the other was\n"
     "  --eventlog FILE      what the prediction is made from; default: the kernel's, which root "
     "reads\n"
     "  --cmdline FILE       the command line of the boot of that log; default: /proc/cmdline\n"
     "  --out FILE           write the approval there, not into the store (-: standard output)\n"
     "  --import FILE        take an approval that was made elsewhere, or systemd's\n"
     "                       tpm2-pcr-signature.json (-: standard input)\n",
     lct_approve_run},
    {"reseal", "ID --authority KEY.pem [--revoke] [--json]",
     "approve the boot as it is now for an identity, and perhaps no other",
     "  --authority KEY.pem  the private half, as for lct approve\n"
     "  --revoke             what was approved before is void; of what is made with --revocable\n",
     lct_reseal_run},
    {"pcrs", "[ID|SPEC] [--predict CHANGE]... [--eventlog FILE] [--cmdline FILE]",
     "print what PCRs hold, as lct approve takes it",
     "Of an identity, what its approval has to be for; SPEC is as in sha256:0,7; without either,\n"
     "those that new keys are sealed to. An id that looks like a SPEC is written lct:ID.\n"
     "  --predict CHANGE, --eventlog FILE, --cmdline FILE   as for lct approve\n",
     lct_pcrs_run},
    {"affected", "firmware|secureboot|bootloader|kernel|initramfs [--json]",
     "say which keys an update may lock, and what approves; else nothing",
     "For the hooks of package managers, before a reboot: lct config apt-hook, kernel-hook,\n"
     "initramfs-hook, fwupd-hook.path and fwupd-hook.service print them. The TPM is not asked.\n",
     lct_affected_run},
    {"persist", "ID [--handle HANDLE] [--generation N] [--json]",
     "keep the key of an identity in the TPM, too, at a persistent handle",
     "Then it need not be loaded: a signature is one command to the TPM, of a key with a\n"
     "passphrase or a seal some less than before.\n"
     "The key file stays, and is used where the handle is lost. It takes the authorization of the\n"
     "TPM's owner, where one is set, and NV memory, of which there is room for some keys alone.\n"
     "  --handle HANDLE   0x81000100 to 0x817fffff; default: the first that is free\n"
     "  --generation N    that key of the identity, not the active one\n",
     lct_persist_run},
    {"unpersist", "ID [--generation N] [--json]", "take it away from there again",
     "  --generation N   that key of the identity, not the active one\n", lct_unpersist_run},
    {"gc", "[--evict [--yes]] [--json]",
     "compare the TPM's persistent handles and NV counters with the records, and mend them",
     "A key of an identity whose record does not say that it is there, since a command was\n"
     "interrupted, is recorded again. What is of no identity here is listed and left alone.\n"
     "  --evict   evicts such keys, and those that sign no more or are there twice; removes NV\n"
     "            counters that were made for this store and are of no identity in it\n"
     "  --yes     do not ask; needed where there is no terminal to ask on\n",
     lct_gc_run},
    {"csr", "ID [--subject /CN=NAME] [--evidence FILE] [--generation N]",
     "write a certificate request (PKCS#10, PEM)",
     "  --subject /C=DE/CN=NAME   default: /CN=ID; \\ before a / makes it part of a value\n"
     "  --evidence FILE   of lct attest respond: what the TPM's attestation key certified of this\n"
     "                    key goes into the request, and that key's certificates\n"
     "  --generation N    of that key: the pending one, before it becomes the active one\n",
     lct_csr_run},
    {"rotate",
     "ID [--reason REASON] [KEY OPTIONS] [--without-old-key] | ID --statement [--evidence FILE] | "
     "ID --commit [--overlap SECONDS] [--json] | ID --overlap SECONDS [--json] | "
     "ID --withdraw [--json]",
     "let a new key follow the identity's, and print a statement on that",
     "The new key is pending: lct csr --generation asks for its certificate. It becomes the "
     "active\n"
     "one by lct cert --set with that, or where there are no certificates by --commit; the old "
     "key\n"
     "signs a while yet, in programs that have loaded it.\n"
     "  --reason REASON      superseded (default), compromise, expired or violation\n"
     "  --algorithm A        default: as before; so are the seal and whether it has a passphrase\n"
     "  --seal SPEC, --bind, --revocable   as for lct create; PCRs are taken as they are now\n"
     "  --passphrase, --no-passphrase      it has one, asked for now, or --new-passphrase-file "
     "FILE;\n"
     "                       none (--passphrase-file is that of the old key)\n"
     "  --new-parent         as for lct create\n"
     "  --to tpm             into the TPM, where the old key is in software\n"
     "  --without-old-key    the old key is gone, and does not sign the statement: it takes "
     "witnesses\n"
     "  --statement          print the statement again\n"
     "  --evidence FILE      with the digest of this evidence of the new key, signed anew\n"
     "  --commit             make the pending key the active one\n"
     "  --overlap SECONDS    how long the old key signs then: at most 48h; default 24h, and 0 if "
     "the\n"
     "                       reason is compromise; alone: an overlap that runs ends so, if that "
     "is\n"
     "                       sooner\n"
     "  --withdraw           remove the pending key\n",
     lct_rotate_run},
    {"retire", "ID [--yes] [--without-signature] | ID --statement",
     "end an identity: its keys sign no more, for ever; prints a statement on that",
     "  --yes                do not ask; needed where there is no terminal to ask on\n"
     "  --without-signature  where the key cannot sign any more: there is no statement then\n"
     "  --statement          print the statement again\n",
     lct_retire_run},
    {"revoke", "ID --reason REASON [--yes] [--without-signature] | ID --statement",
     "the same for a reason that others should know",
     "  --reason REASON      compromise, superseded, expired or violation\n"
     "  --yes, --without-signature, --statement   as for lct retire\n",
     lct_revoke_run},
    {"pem", "ID", "write a key file that stands for an identity, for programs that take only files",
     "PEM with the URI and the public key: nothing secret. It follows the identity to its next "
     "key.\n"
     "What reads it must be able to read the store and reach the TPM.\n",
     lct_pem_run},
    {"export", "ID", "write the key file itself (TSS2 PRIVATE KEY), for other TPM software",
     "Only this TPM can use it. It works without the store, and stays this one key.\n",
     lct_export_run},
    {"cert", "ID [--set FILE|--remove] [--generation N] [--overlap SECONDS] [--json]",
     "print, keep or remove the certificates of an identity",
     "Without an option, prints the chain in PEM: the identity's certificate, then its issuers.\n"
     "  --set FILE       keep the chain in FILE (-: standard input), which is in that order, PEM\n"
     "                   A certificate of the pending key makes that the active one: lct rotate\n"
     "  --remove         keep none\n"
     "  --generation N   of that key of the identity, not of the active one\n"
     "  --overlap SECONDS  how long the key of before signs then, as for lct rotate --commit\n",
     lct_cert_run},
    {"sign", "ID [--raw|--jose] | ID --type KIND [FILE]", "sign standard input, or a statement",
     "Writes a signature as openssl dgst does: DER for ECDSA, PKCS#1 v1.5 for RSA, with SHA-256\n"
     "(ec-p384: SHA-384).\n"
     "  --raw    ECDSA as r and s of fixed width (IEEE P1363)\n"
     "  --jose   a JWS in compact form (RFC 7515) whose payload is the input\n"
     "Or a statement that says who says FILE, when, and as what; lct verify judges it.\n"
     "  --type KIND   what FILE is: 1 to 64 of the characters a-z, 0-9, dot and hyphen, as in\n"
     "                delegation; FILE may be -, standard input, and has 1 MiB at most\n",
     lct_sign_run},
    {"seal", "[--seal SPEC] [--passphrase] [--new-parent]",
     "seal standard input: a secret, for this TPM alone",
     "Writes a file that lct unseal takes, and nobody without this TPM. A secret has 1 MiB at "
     "most.\n"
     "  --seal SPEC    the boot state that unseals it, as for lct create\n"
     "  --passphrase   it takes one to unseal it, too, asked for now\n"
     "  --new-parent   as for lct create\n",
     lct_seal_run},
    {"unseal", "[FILE] [--exec -- PROGRAM ARGUMENT...]", "unseal a secret",
     "Writes what lct seal, or another tool that writes TSS2 PRIVATE KEY, sealed in FILE, else in\n"
     "standard input.\n"
     "  --exec -- PROGRAM   becomes PROGRAM, which has the secret as its standard input: it is in\n"
     "                      no file, argument or variable\n",
     lct_unseal_run},
    {"verify", lct_verify_arguments, lct_verify_summary, lct_verify_details, lct_verify_run},
    {"witness", "STATEMENT --as ID [--verdict FILE]",
     "sign that an identity has another key, as a witness",
     "STATEMENT is of lct rotate, perhaps with signatures of other witnesses. It is printed with "
     "one\n"
     "more. What is not well signed by its keys is not witnessed.\n"
     "  --as ID          who the witness is\n"
     "  --verdict FILE   what you found out of the new key by a challenge of your own: lct attest\n"
     "                   issue --verdict --issuer-key lct:ID\n",
     lct_witness_run},
    {"attest", lct_attest_arguments, "prove to others that a key is in this TPM, or have it proved",
     lct_attest_details, lct_attest_run},
    {"document", "ID [--entity-type TYPE] [--evidence FILE] [--jose]",
     "write the identity's Web4 document (LCT), bound to its key",
     "JSON-LD as Web4's schema has it, with what a holder of the key can say of it; lct verify\n"
     "judges one. The key is of P-256 or Ed25519.\n"
     "  --entity-type TYPE   what it is: device (default), agent, service, ai, human, ...\n"
     "  --evidence FILE      evidence of the key, as lct attest respond makes it, which the\n"
     "                       document then names by its SHA-256\n"
     "  --jose               all of it signed: a compact JWS over its canonical form\n",
     lct_document_run},
    {"delete", "ID [--yes] [--shred] [--json]", "delete an identity and its keys, for ever",
     "Of one that was retired or revoked a note stays, so that no backup brings it back.\n"
     "  --yes     do not ask; needed where there is no terminal to ask on\n"
     "  --shred   overwrite its key files before; lct-delete(1) says what that is worth\n",
     lct_delete_run},
    {"backup", "[--out FILE [--json]] [ID...] >FILE.tar",
     "write a backup of identities, in which no key is in the clear",
     "Without an ID, all. Keys of a TPM are of use with that TPM alone; those in software are "
     "encrypted.\n"
     "  --out FILE   a new file, in place of the standard output\n",
     lct_backup_run},
    {"restore", "[--check] [--yes] [--json] FILE.tar",
     "put the identities of a backup back, or say which can be used here",
     "A newer record in the store stays, and so does an identity that was retired or revoked.\n"
     "FILE.tar may be -, for the standard input.\n"
     "  --check   change nothing; say of each identity what would be done, and whether its key is\n"
     "            of this TPM: if one is not, exit status 13\n"
     "  --yes     do not ask before what is in the store is replaced\n",
     lct_restore_run},
    {"ek", "[--json|--pem]", "show the TPM's endorsement keys and their certificates",
     "Certificates, which the TPM's maker has put into it, say that a key is in a genuine TPM;\n"
     "whether each is of this TPM's key is compared, who issued it is not asked.\n"
     "  --pem    the certificates, those of their issuers that the TPM keeps, and the public keys\n"
     "           of the keys that have none\n"
     "Where endorsement keys have to be made anew, and the endorsement hierarchy has an\n"
     "authorization: endorsement_auth_file in openssl.cnf, or it is asked for.\n",
     lct_ek_run},
    {"doctor", "[ID] [--json|--html [--out FILE]] [--root DIR] | --metrics [--out FILE]",
     "find out whether signing works here, and what to do if not",
     "Which TPM, who fills its slots, its authorizations, which way in, the boot, OpenSSL's\n"
     "configuration, the store, one signature; with an ID, that identity too.\n"
     "Changes nothing. Exit status 0 only if signing works, else that of the first problem.\n"
     "  --json       an array of {version, topic, severity, text, command, ...}\n"
     "  --html       a page to mail or to print, complete in itself\n"
     "  --root DIR   look for /sys, /dev, /proc and /run below DIR\n"
     "  --metrics    numbers for Prometheus instead; signs for a second with a key that it makes,\n"
     "               to measure, and throws away\n"
     "  --out FILE   put the page, or the numbers, into FILE; the numbers in one step\n",
     lct_doctor_run},
    {"config", "[--json] | PROGRAM [ID]",
     "print the configuration of a program that takes key files",
     "Without a PROGRAM, lists those there are. NAME.service is the drop-in of a service, openssl "
     "what\n"
     "goes into openssl.cnf. Without an ID it is for the identity web. Its first lines say where "
     "it\n"
     "goes, and which files it needs. NAME-hook is of no identity: it warns of updates.\n",
     lct_config_run},
    {"help", "[COMMAND [PART]]", "show this, or a command's help", NULL, lct_help_run},
};

enum { num_subcommands = sizeof subcommands / sizeof subcommands[0] };

const struct lct_subcommand *lct_subcommand_by_name(const char *name)
{
    for (size_t i = 0; i < num_subcommands; i++)
        if (strcmp(subcommands[i].name, name) == 0)
            return &subcommands[i];
    return lct_attest_part(name);
}

const struct lct_subcommand *lct_subcommand_at(size_t i)
{
    return i < num_subcommands ? &subcommands[i] : NULL;
}

enum lct_code lct_subcommand_fail(const char *name, struct lct_err *err)
{
    struct lct_nearest nearest = {.typed = name};
    char hint[LCT_NEAREST_HINT];

    for (size_t i = 0; i < num_subcommands; i++)
        lct_nearest_try(&nearest, subcommands[i].name);
    return LCT_FAIL(err, LCT_ERR_USAGE, "there is no command \"%s\"%s%s lct help lists them", name,
                    lct_nearest_hint(hint, &nearest, ""), nearest.word == NULL ? ";" : "");
}

static void print_overview(void)
{
    (void)printf("usage: lct COMMAND [ARGUMENT...] [--tcti NAME:CONF] [--store DIR]\n\n"
                 "Identities whose private keys live in this machine's TPM and cannot leave it.\n"
                 "Every program that uses OpenSSL takes lct:ID as a key.\n\n");
    for (size_t i = 0; i < num_subcommands; i++)
        (void)printf("  %-9s  %s\n", subcommands[i].name, subcommands[i].summary);
    (void)printf(
        "\n  --tcti NAME:CONF        the way in to the TPM, as in device:/dev/tpmrm0\n"
        "  --store DIR             the directory of identities\n"
        "  --passphrase-file FILE  the passphrase of the identity, else it is asked for\n"
        "  --quiet                 no word of what was done: results, warnings and errors alone\n"
        "  --version               the version\n\n"
        "--json, of a command that has it, prints for programs: lct-json(7)\n"
        "exit status:\n");
#define LCT_CODE_LINE(name, status, text) (void)printf("  %2d  %s\n", status, text);
    LCT_CODES(LCT_CODE_LINE)
#undef LCT_CODE_LINE
}

void lct_help_print(const char *name)
{
    const struct lct_subcommand *row = name != NULL ? lct_subcommand_by_name(name) : NULL;

    if (row == NULL)
        print_overview();
    else
        (void)printf("usage: lct %s %s\n\n%s\n%s%s", row->name, row->arguments, row->summary,
                     row->details != NULL ? "\n" : "", row->details != NULL ? row->details : "");
}

void lct_help_call(char text[LCT_CALL_TEXT], const char *name)
{
    (void)snprintf(text, LCT_CALL_TEXT, "lct %s", name);
}

void lct_help_hint(char text[LCT_CALL_TEXT], const char *name)
{
    (void)snprintf(text, LCT_CALL_TEXT, "lct help %s", name);
}

enum lct_code lct_help_run(struct lct_tool *tool, int argc, char **argv, struct lct_err *err)
{
    char name[64];
    char **operands;
    int num_operands;
    enum lct_code code =
        lct_options_parse(tool, argc, argv, NULL, 0, 0, 2, &operands, &num_operands, err);

    if (code != LCT_OK)
        return code;
    if (num_operands > 0)
        (void)snprintf(name, sizeof name, "%s%s%s", operands[0], num_operands == 2 ? " " : "",
                       num_operands == 2 ? operands[1] : "");
    if (num_operands > 0 && lct_subcommand_by_name(name) == NULL)
        return lct_subcommand_fail(name, err);
    lct_help_print(num_operands > 0 ? name : NULL);
    return LCT_OK;
}
