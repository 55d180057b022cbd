# SPDX-License-Identifier: Apache-2.0
"""What the TPM attests: tpm/attest.h, as tests/attester.c calls it."""

import dataclasses
import hashlib
import json
import struct

import pytest

import sealing
from maker import P384_EK, RSA_EK, RSA_TEMPLATE, evict, put
from sealing import der, der_integer, measure, openssl, sized
from test_ek import POLICY_B, RSA_2048, primary
from tpm import NO_SESSIONS, SRK, Command, response
from x509 import spki_of

NO_TPM, TPM, AUTH, OTHER_TPM, WRONG_KEY, UNSUPPORTED = 9, 10, 12, 13, 14, 15
SECRET, WRONG, OWN = "the endorsement's own", "a wrong one", "correct horse"
CERTIFY_EXTRA, QUOTE_EXTRA, PCRS = "c0" * 32, "90" * 64, "sha256:0,7,23"
ASKED = {"id": "k", "certify": CERTIFY_EXTRA, "quote": PCRS, "extra": QUOTE_EXTRA}
TEMPLATES = {"L-1": RSA_EK, "H-3": P384_EK}
EACH_TEMPLATE = pytest.mark.parametrize("template", TEMPLATES)
EACH_MODE = pytest.mark.parametrize("direct", [False, True], ids=["ak", "direct"])
CERTIFY, QUOTE = 0x8017, 0x8018
PASSWORD = 0x40000009
OWNER, ENDORSEMENT = 0x40000001, 0x4000000B
HANDLE = 0x81000100
SHARE = 9  # of a connection's commands one in so many breaks, unless all
NO_USER = 0x000300B2  # attributes of an EK that is used by its policy alone
POLICY_B_384 = ("b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419ca"
                "cb47ba09699646150f9fc000f3f80e12")
POLICY_B_512 = ("b8221ca69e8550a4914de3faa6a18c072cc01208073a928d5d66d59ef79e49a4"
                "29c41a6b269571d57edb25fbdb1838425608b413cd616a5f6db5b6071af99bea")


def attester(user, status: int = 0, **options) -> list[dict]:
    """What it prints."""
    given = {"tcti": user.tcti, "store": user.store, "pcr_signature": "none"} | options
    done = user.run(user.build / "tests" / "attester",
                    *(f"{name}={value}" for name, value in given.items() if value is not None),
                    status=status)
    return [json.loads(line) for line in done.stdout.splitlines()]


def attest(user, **options) -> dict:
    (evidence,) = attester(user, **options)
    return evidence


def fails(user, code: int, *said: str, **options) -> dict:
    """With one sentence, and nothing else is handed out."""
    (error,) = attester(user, status=1, **options)
    assert error["error"] == code and all(text in error["text"] for text in said), error
    assert error["text"][-1] != "."
    return error


def mode(direct: bool) -> dict:
    return {"direct": "yes"} if direct else {}


class Reader:
    def __init__(self, text: str):
        self.left = bytes.fromhex(text)

    def take(self, size: int) -> bytes:
        taken, self.left = self.left[:size], self.left[size:]
        assert len(taken) == size
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        return self.take(self.number(2))


@dataclasses.dataclass
class Attest:
    """A TPMS_ATTEST, TPM 2.0 Part 2, 10.12.12."""

    type: int
    signer: str
    extra: str
    reset: int
    restart: int
    rest: Reader

    @classmethod
    def read(cls, text: str) -> "Attest":
        reader = Reader(text)
        assert reader.number(4) == 0xFF544347
        kind, signer, extra = reader.number(2), reader.sized().hex(), reader.sized().hex()
        reader.number(8)
        reset, restart = reader.number(4), reader.number(4)
        reader.take(1 + 8)
        return cls(kind, signer, extra, reset, restart, reader)


def qualified(hierarchy: int, *names: str) -> str:
    """TPM 2.0 Part 1, 16: of an object whose ancestors these are, all of SHA-256."""
    qualified_name = struct.pack(">I", hierarchy)
    for name in names:
        qualified_name = b"\0\x0b" + hashlib.sha256(qualified_name + bytes.fromhex(name)).digest()
    return qualified_name.hex()


def verify(user, attested: dict, ak: dict):
    """The signature is the AK's, says the openssl command."""
    public = Reader(ak["public"]).sized()
    x, y = public[-66:-34][-32:], public[-32:]
    assert public[-34:-32] == public[-68:-66] == b"\0\x20"
    user.write("ak.der", spki_of(x + y))
    openssl("pkey", "-pubin", "-inform", "DER", "-in", user.path("ak.der"), "-out",
            user.path("ak.pem"))
    signature = Reader(attested["signature"])
    assert signature.take(4) == b"\0\x18\0\x0b"
    numbers = [int.from_bytes(signature.sized(), "big") for _ in "rs"]
    assert not signature.left
    user.write("attest.sig", der(0x30, b"".join(map(der_integer, numbers))))
    user.write("attest", bytes.fromhex(attested["attest"]))
    openssl("dgst", "-sha256", "-verify", user.path("ak.pem"), "-signature",
            user.path("attest.sig"), user.path("attest"))


def record_of(user, identity: str = "k") -> dict:
    (generation,) = user.record(identity)["generations"]
    return generation


def name_of(user) -> str:
    return record_of(user)["name"]


def check_certified(user, evidence: dict):
    """It is of the key lct:k, by the AK."""
    attested = Attest.read(evidence["certified"]["attest"])
    assert (attested.type, attested.extra) == (CERTIFY, CERTIFY_EXTRA)
    assert attested.signer == qualified(ENDORSEMENT, evidence["ak"]["name"])
    assert attested.rest.sized().hex() == name_of(user)
    attested.rest.sized()
    assert not attested.rest.left
    verify(user, evidence["certified"], evidence["ak"])


def check_quoted(user, tpm, evidence: dict, spec: str = PCRS):
    """It is of what the PCRs hold, and so are the values."""
    attested = Attest.read(evidence["quoted"]["attest"])
    assert (attested.type, attested.extra) == (QUOTE, QUOTE_EXTRA)
    assert attested.signer == qualified(ENDORSEMENT, evidence["ak"]["name"])
    assert attested.rest.take(len(sealing.selection(spec))) == sealing.selection(spec)
    found = sealing.pcr_values(tpm, spec)
    assert attested.rest.sized() == sealing.pcr_digest(found) and not attested.rest.left
    ((bank, pcrs),) = sealing.parse(spec)
    assert evidence["values"] == {bank: {str(pcr): value.hex()
                                         for pcr, value in zip(pcrs, found)}}
    verify(user, evidence["quoted"], evidence["ak"])


def check_all(user, tpm, evidence: dict):
    check_certified(user, evidence)
    check_quoted(user, tpm, evidence)
    check_secret(evidence)
    certified, quoted = (Attest.read(evidence[each]["attest"]) for each in ("certified", "quoted"))
    assert (certified.reset, certified.restart) == (quoted.reset, quoted.restart)
    assert certified.reset == int(reset_count(tpm), 0)


def check_secret(evidence: dict):
    assert len(evidence["secret"]) == 64 and evidence["secret"] == evidence["expected"]


def reset_count(tpm) -> str:
    return next(line.split()[-1] for line in tpm.tool("tpm2_readclock").stdout.splitlines()
                if "reset_count" in line)


@pytest.fixture(name="prover")
def fixture_prover(holder, certified):
    """Who has a TPM with EK certificates, that has measured its boot, and the key lct:k in it."""
    measure(certified, 7, banks=("sha256",))
    holder.lct("create", "k")
    return holder


@pytest.fixture(name="proxied")
def fixture_proxied(prover, certified, make_proxy):
    """The same by way of a proxy, which is in prover.proxy."""
    prover.proxy = make_proxy(certified)
    prover.tcti = prover.proxy.tcti
    return prover


# The attestation key


def test_the_ak_is_made_of_its_template_and_always_the_same(prover, certified):
    ak, again = attest(prover), attest(prover)
    assert ak == again
    public = Reader(ak["public"]).sized()
    head = bytes.fromhex("0023000b" "00050472" "0000" "0010" "0018000b" "0003" "0010")
    assert public.startswith(head)
    unique = sized(b"lct attestation key") + sized(b"")
    assert ak["name"] == primary(certified, (head + unique).hex())
    certified.stop()
    certified.start()
    assert attest(prover) == ak


def test_another_tpm_and_a_cleared_one_have_another_ak(prover, certified, make_certified):
    ak = attest(prover)
    assert attest(prover, tcti=make_certified(1).tcti)["name"] != ak["name"]
    certified.tool("tpm2_clear", "-c", "p")
    assert attest(prover)["name"] == ak["name"], "TPM2_Clear leaves the endorsement seed"
    certified.tool("tpm2_changeeps", "-p", "")
    assert attest(prover)["name"] != ak["name"]


@pytest.mark.parametrize("given, said", [(WRONG, "refuses the endorsement's authorization"),
                                         (None, "making the attestation key takes the endorsement "
                                          "hierarchy's authorization: put it into a file and set "
                                          "endorsement_auth_file")], ids=["wrong", "none"])
def test_making_the_ak_takes_the_hierarchy_s_authorization(prover, certified, given, said):
    certified.tool("tpm2_changeauth", "-c", "endorsement", SECRET)
    file = prover.write("given", given) if given else None
    fails(prover, AUTH, said, endorsement_auth_file=file)
    fails(prover, AUTH, "lct:k: " + ("the TPM " if given else ""), said, id="k",
          certify=CERTIFY_EXTRA, endorsement_auth_file=file)


# Certify, quote, activate


@EACH_TEMPLATE
@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "anew"])
def test_the_key_and_the_boot_are_attested_and_the_credential_opened(prover, certified, template,
                                                                     persistent):
    if not persistent:
        evict(certified)
    check_all(prover, certified, attest(prover, **ASKED, credential=template))
    evidence = attest(prover, id="k", credential=template, direct="yes")
    check_secret(evidence)
    assert evidence["certified"] is None and evidence["quoted"] is None
    assert evidence["ak"]["name"] == ""
    check_all(prover, certified, attest(prover, **ASKED, credential=template, direct="yes"))
    assert certified.persistent() == ([SRK, *TEMPLATES.values()] if persistent else [SRK])


def test_what_is_not_asked_for_is_not_done(proxied, certified):
    evidence = attest(proxied, id="k", certify=CERTIFY_EXTRA)
    check_certified(proxied, evidence)
    assert (evidence["quoted"], evidence["values"], evidence["secret"]) == (None, {}, "")
    evidence = attest(proxied, id="k", quote=PCRS, extra=QUOTE_EXTRA)
    check_quoted(proxied, certified, evidence)
    assert (evidence["certified"], evidence["secret"]) == (None, "")
    count = proxied.proxy.count
    assert (count(Command.Certify), count(Command.Quote)) == (1, 1)
    assert count(Command.ActivateCredential) == 0 and count(Command.Load) == 1


def test_other_tools_take_the_quote(prover, certified):
    evidence = attest(prover, id="k", quote=PCRS, extra=QUOTE_EXTRA)
    verify(prover, evidence["quoted"], evidence["ak"])
    prover.write("quote", bytes.fromhex(evidence["quoted"]["attest"]))
    prover.write("signature", bytes.fromhex(evidence["quoted"]["signature"]))
    check = ("tpm2_checkquote", "-u", prover.path("ak.pem"), "-m", prover.path("quote"), "-s",
             prover.path("signature"), "-g", "sha256", "-q")
    certified.tool(*check, QUOTE_EXTRA)
    assert certified.tool(*check, "00", status=None).returncode != 0


def test_the_certified_key_s_qualified_name_is_below_its_parent_s(prover):
    attested = Attest.read(attest(prover, id="k", certify=CERTIFY_EXTRA)["certified"]["attest"])
    parent = record_of(prover)["parent"]["name"]
    assert attested.rest.sized().hex() == name_of(prover)
    assert attested.rest.sized().hex() == qualified(OWNER, parent, name_of(prover))


@EACH_MODE
@pytest.mark.parametrize("options", [("--algorithm", "rsa-2048"), ("--algorithm", "ec-p384")],
                         ids=["rsa", "p384"])
def test_every_kind_of_key_is_attested(holder, certified, options, direct):
    holder.lct("create", "k", *options)
    check_all(holder, certified, attest(holder, **ASKED, credential="L-1", **mode(direct)))


@EACH_MODE
@pytest.mark.parametrize("passphrase", [False, True], ids=["", "passphrase"])
def test_a_sealed_key_is_attested_whatever_the_pcrs_hold(holder, certified, passphrase, direct):
    secret = holder.write("secret", OWN)
    options = ("--passphrase-file", secret) if passphrase else ()
    measure(certified, 7, banks=("sha256",))
    holder.lct("create", "k", "--seal", "strict:sha256:7", *options)
    asked = ASKED | mode(direct) | {"passphrase_file": secret if passphrase else None}
    check_all(holder, certified, attest(holder, **asked, credential="L-1"))
    measure(certified, 7, banks=("sha256",))
    holder.lct("sign", "k", *options, stdin="x", status=sealing.SEALED)
    check_all(holder, certified, attest(holder, **asked, credential="H-3"))


@EACH_MODE
@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "anew"])
def test_a_parent_that_is_made_anew_finds_a_slot(holder, certified, persistent, direct):
    holder.configure(provision="no")
    holder.lct("create", "k")
    if not persistent:
        evict(certified)
    for template in TEMPLATES:
        check_all(holder, certified, attest(holder, **ASKED, credential=template, **mode(direct)))
    assert SRK not in certified.persistent()


@EACH_MODE
@pytest.mark.parametrize("srk", [True, False], ids=["srk", ""])
def test_a_key_at_a_persistent_handle_is_attested(holder, certified, srk, direct):
    """What its session is salted to may be a key of the null hierarchy."""
    if srk:
        at_handle(holder, certified)
    else:
        holder.configure(provision="no")
        certified.tool("tpm2_createprimary", "-C", "o", "-G", "ecc256", "-a",
                       "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|noda", "-c",
                       "p.ctx")
        certified.flush()
        certified.tool("tpm2_evictcontrol", "-C", "o", "-c", "p.ctx", hex(HANDLE))
        certified.flush()
        holder.lct("import", "k", hex(HANDLE))
        assert record_of(holder)["parent"]["handle"] == "0x40000007"
    check_all(holder, certified, attest(holder, **ASKED, credential="L-1", **mode(direct)))


def at_handle(user, tpm, extra: str = ""):
    """An identity of a key that other tools put there."""
    user.lct("create", "any")
    tpm.tool("tpm2_create", "-C", hex(SRK), "-G", "ecc256", "-u", "k.pub", "-r", "k.priv", "-a",
             "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|noda" + extra)
    tpm.flush()
    tpm.tool("tpm2_load", "-C", hex(SRK), "-u", "k.pub", "-r", "k.priv", "-c", "k.ctx")
    tpm.flush()
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "k.ctx", hex(HANDLE))
    tpm.flush()
    user.lct("import", "k", hex(HANDLE))


def test_a_key_that_only_a_policy_certifies_is_not_attested(holder, certified, make_proxy):
    at_handle(holder, certified, "|adminwithpolicy")
    proxy = make_proxy(certified)
    for asked in ({"certify": CERTIFY_EXTRA}, {"credential": "L-1", "direct": "yes"}):
        fails(holder, UNSUPPORTED, "adminWithPolicy", id="k", tcti=proxy.tcti, **asked)
    assert proxy.count(Command.Certify) == proxy.count(Command.ActivateCredential) == 0
    check_quoted(holder, certified, attest(holder, id="k", quote=PCRS, extra=QUOTE_EXTRA))


def test_a_resource_manager_keeps_nothing_but_sessions(prover, certified, make_tpmrm):
    device = make_tpmrm(certified)
    for direct in (False, True):
        lines = attester(prover, **ASKED, credential="L-1", **mode(direct), times=3,
                         tcti=device.tcti)
        assert len(lines) == 3
        for line in lines:
            check_all(prover, certified, line)


# Authorizations


def line_of(message: bytes) -> int:
    """The session that authorizes a command's first handle of two."""
    return struct.unpack_from(">I", message, 10 + 8 + 4)[0]


def sent(proxy, code: Command) -> list[bytes]:
    return [message for message in proxy.messages[::2]
            if struct.unpack_from(">I", message, 6)[0] == code]


@EACH_MODE
def test_with_session_always_the_key_is_used_in_a_session(proxied, certified, direct):
    asked = ASKED | {"credential": "L-1"} | mode(direct)
    check_all(proxied, certified, attest(proxied, **asked))
    assert line_of(sent(proxied.proxy, Command.Certify)[0]) == PASSWORD
    check_all(proxied, certified, attest(proxied, **asked, session="always"))
    assert line_of(sent(proxied.proxy, Command.Certify)[1]) >> 24 == 2
    assert all(line_of(each) >> 24 == 2 for each in
               sent(proxied.proxy, Command.ActivateCredential))


@EACH_MODE
@EACH_TEMPLATE
@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "anew"])
def test_the_hierarchy_s_authorization_is_proved_in_a_session(proxied, certified, persistent,
                                                              template, direct):
    certified.tool("tpm2_changeauth", "-c", "endorsement", SECRET)
    if not persistent:
        evict(certified)
    file = proxied.write("endorsement", SECRET)
    check_all(proxied, certified, attest(proxied, **ASKED, credential=template, **mode(direct),
                                         endorsement_auth_file=file))
    assert not any(SECRET.encode() in message for message in proxied.proxy.messages)


@pytest.mark.parametrize("given, said", [(WRONG, "refuses the endorsement's authorization"),
                                         (None, "using the endorsement key takes the endorsement "
                                          "hierarchy's authorization")], ids=["wrong", "none"])
def test_an_ek_that_takes_the_hierarchy_s_authorization_is_not_used_without(prover, certified,
                                                                           given, said):
    """In direct mode nothing else takes it."""
    certified.tool("tpm2_changeauth", "-c", "endorsement", SECRET)
    file = prover.write("given", given) if given else None
    asked = {"id": "k", "direct": "yes", "endorsement_auth_file": file}
    fails(prover, AUTH, "lct:k: ", said, credential="L-1", **asked)
    check_secret(attest(prover, credential="H-3", **asked))


def test_an_authorization_that_the_hierarchy_has_not_is_not_used(prover, certified):
    """It was set, and the TPM was cleared since."""
    file = prover.write("endorsement", SECRET)
    for asked in (ASKED, {"id": "k", "direct": "yes"}):
        check_secret(attest(prover, **asked, credential="L-1", endorsement_auth_file=file))
    assert certified.property(0x200) & 2 == 0


@pytest.mark.parametrize("wrong", [True, False], ids=["wrong", "none"])
def test_attesting_takes_the_passphrase(holder, certified, make_proxy, wrong):
    secret = holder.write("secret", OWN)
    holder.lct("create", "k", "--passphrase-file", secret)
    holder.lct("sign", "k", "--passphrase-file", secret, stdin="x", text=False)
    proxy = make_proxy(certified)
    file = holder.write("wrong", WRONG) if wrong else None
    asked = {"id": "k", "tcti": proxy.tcti, "passphrase_file": file}
    for count, more in enumerate(({"certify": CERTIFY_EXTRA}, {"credential": "H-3",
                                                               "direct": "yes"}), 1):
        said = "wrong passphrase; tries left" if wrong else "attesting it takes its passphrase"
        fails(holder, AUTH, "lct:k: ", said, **asked, **more)
        assert certified.property(0x20E) == (count if wrong else 0)
    check_quoted(holder, certified, attest(holder, **asked, quote=PCRS, extra=QUOTE_EXTRA))
    assert not any(WRONG.encode() in message for message in proxy.messages)
    certified.lockout_count = 2


def without_user(policy: str, name_alg: int) -> str:
    """An EK's template."""
    policy = bytes.fromhex(policy)
    return (struct.pack(">HHI", 1, name_alg, NO_USER) + sized(policy)).hex() + \
        RSA_2048 + "0100" + 256 * "00"


@EACH_MODE
@pytest.mark.parametrize("authorized", [True, False], ids=["authorization", ""])
@pytest.mark.parametrize("policy, name_alg", [(POLICY_B[4:], 0x0B), (POLICY_B_384, 0x0C),
                                              (POLICY_B_512, 0x0D)])
def test_an_ek_of_policy_b_is_used_by_it(make_tpm, make_user, policy, name_alg, authorized,
                                         direct):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.lct("create", "k")
    put(tpm, RSA_TEMPLATE, bytes.fromhex(without_user(policy, name_alg)))
    if authorized:
        tpm.tool("tpm2_changeauth", "-c", "endorsement", SECRET)
    file = user.write("endorsement", SECRET)
    check_all(user, tpm, attest(user, **ASKED, credential="L-1", **mode(direct),
                                endorsement_auth_file=file))


@EACH_MODE
def test_an_ek_of_another_policy_is_not_used(make_tpm, make_user, direct):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.lct("create", "k")
    put(tpm, RSA_TEMPLATE, bytes.fromhex(without_user("5a" * 32, 0x0B)))
    fails(user, UNSUPPORTED, "a policy that is none of the TCG's", id="k", credential="L-1",
          **mode(direct))


@pytest.mark.parametrize("given, code", [(OWN, None), (None, AUTH)], ids=["right", "none"])
def test_a_template_that_the_owner_reads_takes_the_owner_s_authorization(make_tpm, make_user,
                                                                         given, code):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.lct("create", "k")
    put(tpm, RSA_TEMPLATE, bytes.fromhex(without_user(POLICY_B[4:], 0x0B)),
        "ownerread|ownerwrite")
    tpm.tool("tpm2_changeauth", "-c", "owner", OWN)
    asked = {"id": "k", "credential": "L-1", "owner_auth_file":
             user.write("owner", given) if given else None}
    if code:
        fails(user, code, "set owner_auth_file", **asked)
    else:
        check_secret(attest(user, **asked))


# Credentials that are not for it


@EACH_MODE
@EACH_TEMPLATE
@pytest.mark.parametrize("wrong", [{"with": "other"}, {"name": "000b" + "5a" * 32},
                                   {"spoil": "id"}, {"spoil": "seed"}],
                         ids=lambda each: "-".join(each.values())[:8])
def test_a_credential_for_something_else_is_not_opened(prover, certified, template, wrong, direct):
    if "with" in wrong:
        wrong = {"with": next(each for each in TEMPLATES if each != template)}
    fails(prover, OTHER_TPM, "lct:k: the TPM refuses the credential", **ASKED, **wrong,
          credential=template, **mode(direct))
    assert not certified.left_behind()


@EACH_MODE
@EACH_TEMPLATE
def test_a_credential_for_another_tpm_s_ek_is_not_opened(prover, make_certified, template, direct):
    fails(prover, OTHER_TPM, "for another endorsement key", id="k", credential=template,
          of=make_certified(1).tcti, **mode(direct))


@EACH_MODE
def test_a_key_of_another_tpm_is_not_attested(prover, make_certified, direct):
    other = make_certified(1)
    fails(prover, OTHER_TPM, "lct:k: ", "the key was made by another TPM", tcti=other.tcti, **ASKED,
          credential="L-1", **mode(direct))


# What happens in between


def test_a_pcr_that_changes_between_its_reading_and_the_quote_costs_another_try(proxied, certified):
    def extend(_command, ask):
        measure(certified, 23, banks=("sha256",))
        return ask()

    proxied.proxy.hook(Command.Quote, extend, 1)
    check_quoted(proxied, certified, attest(proxied, id="k", quote=PCRS, extra=QUOTE_EXTRA))
    assert proxied.proxy.count(Command.Quote) == 2
    proxied.proxy.hook(Command.Quote, extend)
    fails(proxied, TPM, "lct:k: the PCRs that are to be quoted do not stay", id="k", quote=PCRS,
          extra=QUOTE_EXTRA)
    assert proxied.proxy.count(Command.Quote) == 2 + 8


def test_a_pcr_that_is_not_quoted_may_change(proxied, certified):
    def extend(_command, ask):
        measure(certified, 16, banks=("sha256",))
        return ask()

    proxied.proxy.hook(Command.Quote, extend)
    check_quoted(proxied, certified, attest(proxied, id="k", quote=PCRS, extra=QUOTE_EXTRA))
    assert proxied.proxy.count(Command.Quote) == 1


def test_a_bank_that_the_tpm_does_not_keep_is_not_quoted(proxied):
    fails(proxied, UNSUPPORTED, "keeps no PCRs in sha384", id="k", quote="sha256:0+sha384:0",
          extra=QUOTE_EXTRA)
    assert proxied.proxy.count(Command.Quote) == 0


@EACH_MODE
@EACH_TEMPLATE
def test_the_secret_is_never_on_the_bus(proxied, certified, template, direct):
    evidence = attest(proxied, **ASKED, credential=template, **mode(direct))
    check_all(proxied, certified, evidence)
    secret = bytes.fromhex(evidence["secret"])
    assert sent(proxied.proxy, Command.ActivateCredential)
    assert not any(secret in message for message in proxied.proxy.messages)


def test_the_proxy_would_see_the_secret(proxied, certified):
    """tpm2-tools gets it in clear."""
    proxy = proxied.proxy
    (certified.directory / "secret").write_bytes(b"what is in the credential")
    certified.tool("tpm2_createek", "-G", "ecc384", "-c", "ek.ctx", "-u", "ek.pem", "-f", "pem")
    certified.flush()
    certified.tool("tpm2_createak", "-C", hex(RSA_EK), "-c", "ak.ctx", "-G", "ecc", "-g", "sha256",
                   "-s", "ecdsa", "-n", "ak.name")
    certified.flush()
    name = (certified.directory / "ak.name").read_bytes().hex()
    certified.tool("tpm2_readpublic", "-c", hex(RSA_EK), "-f", "pem", "-o", "ek.pem")
    certified.tool("tpm2_makecredential", "-T", "none", "-e", "ek.pem", "-G", "rsa", "-s", "secret",
                   "-n", name, "-o", "credential")
    certified.tool("tpm2_startauthsession", "--policy-session", "-S", "s.ctx")
    certified.tool("tpm2_policysecret", "-S", "s.ctx", "-c", "e")
    certified.tool("tpm2_activatecredential", "-T", proxy.tcti, "-c", "ak.ctx", "-C", hex(RSA_EK),
                   "-i", "credential", "-o", "opened", "-P", "session:s.ctx")
    certified.tool("tpm2_flushcontext", "s.ctx")
    certified.flush()
    assert any(b"what is in the credential" in message for message in proxy.messages)


def flipped(command: Command, at: int):
    """A bit of the response is, at `at` bytes into its parameters."""
    def flip(_command, ask):
        answer = bytearray(ask())
        if answer[:2] == struct.pack(">H", NO_SESSIONS):
            return bytes(answer)
        answer[10 + 4 + at] ^= 1
        return bytes(answer)

    return command, flip


@pytest.mark.parametrize("command, at, code", [
    (Command.Certify, 2 + 20, WRONG_KEY), (Command.Certify, 2 + 145 + 10, WRONG_KEY),
    (Command.Quote, 2 + 20, WRONG_KEY), (Command.Quote, 2 + 140, WRONG_KEY),
    (Command.ActivateCredential, 2 + 5, NO_TPM)])
def test_what_was_changed_on_its_way_is_not_handed_out(proxied, command, at, code):
    proxied.proxy.hook(*flipped(command, at))
    fails(proxied, code, "lct:k: ", **ASKED, credential="H-3")


def test_a_changed_secret_is_not_handed_out_in_direct_mode(proxied):
    proxied.proxy.hook(*flipped(Command.ActivateCredential, 2 + 5))
    fails(proxied, NO_TPM, "lct:k: ", id="k", credential="H-3", direct="yes")


def replace(tpm, handle: int, *primary_key: str):
    """Another primary key is behind the handle. Of the TPM's slots there may be one."""
    before = tpm.handles(0x80000000)
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", hex(handle))
    for command in (("tpm2_createprimary", *primary_key, "-c", "p.ctx"),
                    ("tpm2_evictcontrol", "-C", "o", "-c", "p.ctx", hex(handle))):
        tpm.tool(*command)
        for made in set(tpm.handles(0x80000000)) - set(before):
            tpm.tool("tpm2_flushcontext", hex(made))


@pytest.mark.parametrize("direct, command, nth", [
    (False, Command.Quote, 1), (False, Command.StartAuthSession, 1),
    (False, Command.ActivateCredential, 1), (True, Command.Certify, 1),
    (True, Command.ActivateCredential, 1)])
def test_an_ek_that_is_replaced_is_not_used(proxied, certified, direct, command, nth):
    def swap(_command, ask):
        replace(certified, P384_EK, "-C", "e", "-G", "ecc384:aes256cfb", "-g", "sha384", "-a",
                "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt")
        return ask()

    proxied.proxy.hook(command, swap, nth)
    fails(proxied, OTHER_TPM, "the endorsement key at 0x81010016 is a different one now", **ASKED,
          credential="H-3", **mode(direct))


def test_an_ek_that_is_evicted_is_missed(proxied, certified):
    def vanish(_command, ask):
        certified.tool("tpm2_evictcontrol", "-C", "o", "-c", hex(P384_EK))
        return ask()

    proxied.proxy.hook(Command.Quote, vanish, 1)
    fails(proxied, OTHER_TPM, "the endorsement key is no longer at 0x81010016", **ASKED,
          credential="H-3")


def test_a_key_that_is_replaced_at_its_handle_is_not_certified(holder, certified, make_proxy):
    at_handle(holder, certified)
    proxy = make_proxy(certified)

    def swap(_command, ask):
        replace(certified, HANDLE, "-C", "o", "-G", "ecc256", "-a",
                "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|noda")
        return ask()

    proxy.hook(Command.Certify, swap, 1)
    fails(holder, WRONG_KEY, "lct:k: ", id="k", certify=CERTIFY_EXTRA, tcti=proxy.tcti)


@EACH_MODE
def test_a_credential_that_was_opened_twice_on_the_way_is_opened_anew(proxied, certified, direct):
    """The first time spends the sessions and the endorsement key's policy."""
    proxied.proxy.hook(Command.ActivateCredential, lambda _command, ask: (ask(), ask())[1], 1)
    check_all(proxied, certified, attest(proxied, **ASKED, credential="L-1", **mode(direct)))
    assert len(proxied.proxy.refusals()) == 1


class Spoiler:
    """Answers one of all commands, the one that `left` counts down to, in the TPM's place."""

    def __init__(self, proxy, codes: set[int], answer):
        self.left = 0
        for code in codes:
            proxy.hook(code, self._count)
        self._answer = answer

    def _count(self, command, ask):
        self.left -= 1
        return self._answer(command, ask) if self.left == 0 else ask()


def garble(_command, ask):
    answer = bytearray(ask())
    answer[len(answer) // 2] ^= 0x10
    return bytes(answer)


def drop(_command, _ask):
    return None


def drop_after(_command, ask):
    ask()


@pytest.mark.parametrize("broken", [drop, drop_after])
@pytest.mark.parametrize("direct, template, anew", [
    (False, "L-1", False), (False, "H-3", True), (True, "L-1", False), (True, "H-3", True)],
    ids=["ak", "ak-anew", "direct", "direct-anew"])
def test_a_connection_that_breaks_once_at_any_command_costs_nothing(
        request, holder, certified, make_proxy, direct, template, anew, broken):
    """
    With `anew` the slots are taken: by the AK, the parent or the EK, and the key. At some of the
    commands, always the same ones; with --faults at each.
    """
    options = {"credential": template} | mode(direct)
    holder.configure(provision="no" if anew else "yes")
    holder.lct("create", "k")
    if anew:
        evict(certified)
        certified.tool("tpm2_changeauth", "-c", "endorsement", SECRET)
        options["endorsement_auth_file"] = holder.write("endorsement", SECRET)
    attest(holder, **ASKED, **options, tcti=certified.tcti)
    proxy = make_proxy(certified)
    options["tcti"] = proxy.tcti
    attest(holder, **ASKED, **options)
    codes = list(proxy.codes)
    assert {Command.Certify, Command.Quote, Command.ActivateCredential} <= set(codes)
    spoiler = Spoiler(proxy, set(codes), broken)
    share = 1 if request.config.getoption("--faults") else SHARE
    for number, code in list(enumerate(codes, 1))[broken is drop::share]:
        spoiler.left = number
        check_all(holder, certified, attest(holder, **ASKED, **options))
        assert spoiler.left < 0 and not certified.left_behind(), (number, code)


FAULTS = {f"{rc:#x}": lambda _command, _ask, rc=rc: response(rc)
          for rc in (0x922, 0x902, 0x18B, 0x918, 0x9A2, 0x101, 0x97F, 0x1CB)}
# Of a handle that is lost a flush says that there is nothing more to do; and TSS, not lct, looks at
# how a list of PCRs is made.
BELIEVED = {"0x18b": {Command.FlushContext}, "0x918": {Command.FlushContext},
            "0x1cb": {Command.FlushContext},
            "garble": {Command.PCR_Read, Command.GetCapability}}


@EACH_MODE
@pytest.mark.parametrize("fault", [*FAULTS, "garble"])
def test_a_fault_at_any_command_costs_a_retry_or_is_said(request, prover, certified, make_proxy,
                                                         direct, fault):
    """At some of the commands, always the same ones; with --faults at each."""
    evict(certified)
    proxy = make_proxy(certified)
    asked = ASKED | {"credential": "H-3", "tcti": proxy.tcti} | mode(direct)
    attest(prover, **asked)
    codes = list(proxy.codes)
    spoiler = Spoiler(proxy, set(codes), FAULTS.get(fault, garble))
    share = 1 if request.config.getoption("--faults") else 2 * SHARE
    start = [*FAULTS, "garble"].index(fault) % share
    for number, code in list(enumerate(codes, 1))[start::share]:
        if code in BELIEVED.get(fault, ()):
            continue
        spoiler.left = number
        (said,) = attester(prover, **asked, status=None)
        if "error" in said:
            assert said["text"] and "\n" not in said["text"], (number, code)
        else:
            check_all(prover, certified, said)
        assert not certified.left_behind(), (number, code, said)


def test_a_tpm_that_refuses_to_flush_is_asked_again(proxied, certified):
    evict(certified)
    attest(proxied, **ASKED, credential="L-1")
    for nth in range(proxied.proxy.count(Command.FlushContext)):
        proxied.proxy.hook(Command.FlushContext, lambda _command, _ask: response(0x97F), nth + 1)
        check_all(proxied, certified, attest(proxied, **ASKED, credential="L-1"))
        assert not certified.left_behind()
