# SPDX-License-Identifier: Apache-2.0
"""Endorsement keys and their certificates: lct ek."""

import hashlib
import json
import re
import struct

import pytest

from maker import (P256_CERT, P384_CERT, P384_EK, READABLE, RSA_CERT, RSA_EK, RSA_NONCE,
                   RSA_TEMPLATE, evict, put, read_index)
from test_command import one_sentence
from test_json import documented
from test_passphrase import on_a_terminal
from tpm import SESSIONS, Command, Swtpm, exchange, response

CHAIN = 0x01C00100
SECRET, OWNER = "the endorsement's own", "the owner's own"
BAD_RECORD, AUTH, WRONG_KEY, UNSUPPORTED = 6, 12, 14, 15
# Each template of the TCG's, its certificate's index, and how tpm2_createek calls it, if it does.
TEMPLATES = {"L-1": (RSA_CERT, "rsa"), "L-2": (P256_CERT, "ecc"), "H-1": (0x01C00012, None),
             "H-2": (0x01C00014, None), "H-3": (P384_CERT, "ecc384"),
             "H-4": (0x01C00018, "ecc521"), "H-6": (0x01C0001C, "rsa3072")}
POLICY_A = "0020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"
POLICY_B = "0020ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0"
RSA_2048, P256 = "0006008000430010080000000000", "000600800043001000030010"
AREAS = {"L-1": f"0001000b000300b2{POLICY_A}{RSA_2048}0100" + 256 * "00",
         "L-1 with noDA": f"0001000b000304b2{POLICY_A}{RSA_2048}0100" + 256 * "00",
         "L-2": f"0023000b000300b2{POLICY_A}{P256}" + 2 * ("0020" + 32 * "00"),
         "H-1": f"0001000b000300f2{POLICY_B}{RSA_2048}0000",
         "H-2": f"0023000b000300f2{POLICY_B}{P256}00000000"}


def created(tpm: Swtpm, algorithm: str, *options) -> str:
    """The EK as tpm2_createek makes it."""
    tpm.tool("tpm2_createek", "-G", algorithm, "-c", "ek.ctx", "-u", "ek.pem", "-f", "pem",
             *options)
    tpm.flush()
    return (tpm.directory / "ek.pem").read_text()


def primary(tpm: Swtpm, area: str) -> str:
    """The Name of what TPM2_CreatePrimary makes in the endorsement hierarchy of a TPMT_PUBLIC."""
    area = bytes.fromhex(area)
    rest = (struct.pack(">IIIHBH", 0x4000000B, 9, 0x40000009, 0, 0, 0) +
            struct.pack(">HHHH", 4, 0, 0, len(area)) + area + bytes(6))
    answer = exchange(tpm.path, struct.pack(">HII", SESSIONS, 10 + len(rest),
                                            Command.CreatePrimary) + rest)
    assert answer[6:10] == bytes(4), answer.hex()
    tpm.flush()
    size = struct.unpack_from(">H", answer, 18)[0]
    return "000b" + hashlib.sha256(answer[20:20 + size]).hexdigest()


def shown(user, status: int = 0, **options) -> dict:
    return json.loads(user.lct("ek", "--json", status=status, **options).stdout)


def by_template(found: dict) -> dict:
    return {ek["template"]: ek for ek in found["eks"]}


def blocks(pem: str) -> list[str]:
    return re.findall(r"-----BEGIN [^-]+-----\n.*?-----END [^-]+-----\n", pem, re.DOTALL)


def to_der(user, pem: str, kind: str = "x509") -> bytes:
    return user.openssl(kind, "-outform", "DER", *(["-pubin"] if kind == "pkey" else []),
                        stdin=pem, text=False).stdout


def other_certificate(user, comment: str = "") -> bytes:
    """Of somebody's software key."""
    extension = ["-addext", f"nsComment={comment}"] if comment else []
    user.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "other.key", "-subj",
                 "/CN=somebody else", "-days", "2", "-outform", "DER", "-out", "other.der",
                 *extension)
    return user.path("other.der").read_bytes()


def test_ek_shows_certificates_and_keys_as_they_are_in_the_tpm(holder, certified):
    found = shown(holder)
    eks = by_template(found)
    assert (found["software"], found["issuers"], list(eks)) == (True, [], ["L-1", "H-3"])
    for template, algorithm, index, handle in (("L-1", "rsa-2048", RSA_CERT, RSA_EK),
                                               ("H-3", "ec-p384", P384_CERT, P384_EK)):
        ek = eks[template]
        certified.tool("tpm2_readpublic", "-c", hex(handle), "-f", "pem", "-o", "k", "-n", "n")
        assert ek["algorithm"] == algorithm and ek["handle"] == hex(handle)
        assert ek["public_key"] == (certified.directory / "k").read_text()
        assert ek["name"] == (certified.directory / "n").read_bytes().hex()
        assert ek["sha256"] == hashlib.sha256(to_der(holder, ek["public_key"], "pkey")).hexdigest()
        certificate = ek["certificate"]
        assert certificate["index"] == f"{index:#010x}" and certificate["of_this_key"] is True
        assert to_der(holder, certificate["pem"]) == read_index(certified, index)
        assert certificate["not_after"] == "9999-12-31T23:59:59Z"
        assert set(certificate) == documented("A certificate") - {"chain"} | {
            "pem", "index", "of_this_key"}


def test_ek_pem_is_a_chain_that_verifies(holder, maker):
    done = holder.lct("ek", "--pem")
    assert "".join(blocks(done.stdout)) == done.stdout
    assert len(blocks(done.stdout)) == 2 and "software TPM" in one_sentence(done.stderr)
    for number, block in enumerate(blocks(done.stdout)):
        holder.write(f"{number}.pem", block)
        holder.openssl("verify", "-CAfile", maker.ca / "swtpm-localca-rootca-cert.pem",
                       "-untrusted", maker.ca / "issuercert.pem", f"{number}.pem")


def test_ek_for_people_says_whose_the_certificate_is_and_that_the_tpm_is_software(holder):
    done = holder.lct("ek")
    assert "a software TPM: its keys are as safe as its files are\n" in done.stdout
    for line in ("EK           rsa-2048, template L-1\n",
                 "certificate  at 0x01c00002, of this key, until 9999-12-31\n",
                 "EK           ec-p384, template H-3\n", "key          at 0x81010016\n"):
        assert line in done.stdout
    assert done.stdout.count("BEGIN PUBLIC KEY") == 2 and not done.stderr


def test_ek_makes_anew_what_is_not_persistent_and_leaves_nothing(holder, certified):
    before = shown(holder)
    evict(certified)
    after = shown(holder)
    assert [ek["handle"] for ek in after["eks"]] == [None, None]
    assert all(ek["certificate"]["of_this_key"] for ek in after["eks"])
    for key in ("name", "public_key", "certificate"):
        assert [ek[key] for ek in after["eks"]] == [ek[key] for ek in before["eks"]]
    assert "key          made anew\n" in holder.lct("ek").stdout
    assert certified.persistent() == []


def test_ek_makes_each_template_as_other_tools_do(make_tpm, make_user):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    other = other_certificate(user)
    for index, _ in TEMPLATES.values():
        put(tpm, index, other)
    eks = by_template(shown(user, status=WRONG_KEY))
    assert list(eks) == list(TEMPLATES)
    for template, (_, algorithm) in TEMPLATES.items():
        assert algorithm is None or eks[template]["public_key"] == created(tpm, algorithm), template
        assert template not in AREAS or eks[template]["name"] == primary(tpm, AREAS[template])
        assert eks[template]["certificate"]["of_this_key"] is False


def test_a_tpm_that_cannot_make_a_key_is_said_and_does_not_stop_the_others(holder, certified):
    put(certified, 0x01C0001E, other_certificate(holder))
    done = holder.lct("ek", "--json", status=None)
    ek = by_template(json.loads(done.stdout))["H-7"]
    if done.returncode == WRONG_KEY:
        pytest.skip("this TPM has RSA 4096")
    assert ek["public_key"] is None and ek["certificate"]["of_this_key"] is None
    assert ek["error"] == one_sentence(done.stderr)
    assert len(blocks(holder.lct("ek", "--pem", status=done.returncode).stdout)) == 3


def test_without_certificates_the_keys_of_the_low_range_are_shown(make_tpm, make_user):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    keys = [created(tpm, algorithm) for algorithm in ("rsa", "ecc")]
    found = shown(user)
    assert [ek["template"] for ek in found["eks"]] == ["L-1", "L-2"]
    assert [ek["certificate"] for ek in found["eks"]] == [None, None]
    assert [ek["public_key"] for ek in found["eks"]] == keys
    assert blocks(user.lct("ek", "--pem").stdout) == keys
    assert user.lct("ek").stdout.count("certificate  none\n") == 2
    assert tpm.persistent() == []


def test_a_persistent_key_without_a_certificate_is_shown_wherever_it_is(make_tpm, make_user):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    key = created(tpm, "ecc")
    tpm.tool("tpm2_createek", "-G", "ecc", "-c", hex(0x81000800))
    tpm.flush()
    (ek,) = shown(user)["eks"]
    assert (ek["handle"], ek["public_key"]) == ("0x81000800", key)


@pytest.mark.parametrize("with_certificate", [True, False])
def test_a_key_of_another_hierarchy_is_no_endorsement_key(make_certified, make_tpm, make_user,
                                                          with_certificate):
    """The owner may put what looks like the EK where the EK is looked for."""
    tpm = make_certified() if with_certificate else make_tpm()
    user = make_user(tpm.tcti)
    before = by_template(shown(user))["L-1"]
    if with_certificate:
        evict(tpm)
    (tpm.directory / "policy").write_bytes(bytes.fromhex(POLICY_A)[2:])
    tpm.tool("tpm2_createprimary", "-C", "o", "-G", "rsa2048:aes128cfb", "-L", "policy", "-a",
             "fixedtpm|fixedparent|sensitivedataorigin|adminwithpolicy|restricted|decrypt", "-c",
             "p.ctx")
    tpm.flush()
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "p.ctx", hex(RSA_EK))
    tpm.flush()
    after = by_template(shown(user))["L-1"]
    assert (after["handle"], after["name"]) == (None, before["name"])


def test_another_endorsement_key_in_the_tpm_is_not_taken_for_the_certificate_s(holder, certified):
    """Of the same template, but of another nonce."""
    before = by_template(shown(holder))["L-1"]
    evict(certified)
    put(certified, RSA_NONCE, b"another nonce")
    put(certified, RSA_TEMPLATE, bytes.fromhex(AREAS["L-1"]))
    certified.tool("tpm2_createek", "-G", "rsa", "-t", "-c", hex(RSA_EK))
    certified.flush()
    for index in (RSA_NONCE, RSA_TEMPLATE):
        certified.tool("tpm2_nvundefine", "-C", "o", hex(index))
    after = by_template(shown(holder))["L-1"]
    assert (after["handle"], after["name"]) == (None, before["name"])
    assert after["certificate"]["of_this_key"] is True


@pytest.mark.parametrize("given, status", [(SECRET, 0), ("a wrong one", AUTH), (None, AUTH)],
                         ids=["right", "wrong", "none"])
def test_making_takes_the_endorsement_hierarchy_s_authorization(holder, certified, make_proxy,
                                                                given, status):
    proxy = make_proxy(certified)
    certified.tool("tpm2_changeauth", "-c", "endorsement", SECRET)
    holder.tcti = proxy.tcti
    file = holder.write("secret", f"{given}\n") if given else None
    holder.configure(endorsement_auth_file=file)
    assert all(ek["certificate"]["of_this_key"] for ek in shown(holder)["eks"]), "they are there"
    evict(certified)
    done = holder.lct("ek", "--json", status=status)
    for ek in json.loads(done.stdout)["eks"]:
        assert ek["certificate"]["of_this_key"] is (None if status else True)
        assert (ek["public_key"] is None) == bool(status)
    if status:
        reason = "refuses" if given else "set endorsement_auth_file"
        assert reason in one_sentence(done.stderr)
        assert "not compared" in holder.lct("ek", status=status).stdout
    assert len(blocks(holder.lct("ek", "--pem", status=status).stdout)) == 2
    assert not any(SECRET.encode() in message for message in proxy.messages)


def test_the_endorsement_hierarchy_s_authorization_is_asked_for(holder, certified):
    certified.tool("tpm2_changeauth", "-c", "endorsement", SECRET)
    evict(certified)
    seen = on_a_terminal(holder, [holder.build / "lct", "ek"], SECRET)
    assert seen.startswith("0 ") and seen.count("of this key") == 2
    assert "authorization of the TPM's endorsement hierarchy:" in seen
    assert SECRET not in seen


def damage(name: str, der: bytes) -> bytes:
    return {"cut": der[:-1], "of-zeros": bytes(200), "header": b"\x31" + der[1:],
            "longer": der[:2] + bytes([der[2] + 1]) + der[3:], "followed": der + b"\x01",
            "text": b"no certificate at all"}[name]


@pytest.mark.parametrize("name", ["cut", "of-zeros", "header", "longer", "followed",
                                  "text"])
def test_a_damaged_certificate_is_said_and_does_not_stop_the_others(holder, certified, name):
    put(certified, P384_CERT, damage(name, read_index(certified, P384_CERT)))
    done = holder.lct("ek", "--json", status=BAD_RECORD)
    eks = by_template(json.loads(done.stdout))
    assert eks["L-1"]["certificate"]["of_this_key"] is True
    assert eks["H-3"]["certificate"] == {"error": one_sentence(done.stderr), "index": "0x01c00016"}
    assert eks["H-3"]["handle"] == hex(P384_EK)
    assert "certificate  cannot be used: EK ec-p384 (H-3): " in holder.lct(
        "ek", status=BAD_RECORD).stdout
    pem = blocks(holder.lct("ek", "--pem", status=BAD_RECORD).stdout)
    assert pem == [eks["L-1"]["certificate"]["pem"], eks["H-3"]["public_key"]]


@pytest.mark.parametrize("padding", [b"\0", b"\xff"])
def test_an_index_may_be_larger_than_its_certificate(holder, certified, padding):
    before = shown(holder)
    put(certified, RSA_CERT, read_index(certified, RSA_CERT) + padding * 300)
    assert shown(holder) == before


def test_a_certificate_may_name_an_rsa_key_by_oaep(holder, certified):
    """RFC 4055, 4.1: some makers' do, and OpenSSL has no such key."""
    rsa, oaep = (bytes.fromhex(f"2a864886f70d0101{last}") for last in ("01", "07"))
    der = read_index(certified, RSA_CERT)
    assert der.count(rsa) == 1
    put(certified, RSA_CERT, der.replace(rsa, oaep))
    assert by_template(shown(holder))["L-1"]["certificate"]["of_this_key"] is True
    put(certified, RSA_CERT, other_certificate(holder).replace(rsa, oaep))
    assert by_template(shown(holder, WRONG_KEY))["L-1"]["certificate"]["of_this_key"] is False


@pytest.mark.parametrize("persistent", [True, False])
def test_another_tpm_s_certificate_is_not_this_key_s(holder, certified, make_certified,
                                                     persistent):
    other = make_certified(1)
    if not persistent:
        evict(certified)
    for index in (RSA_CERT, P384_CERT):
        put(certified, index, read_index(other, index))
    done = holder.lct("ek", "--json", status=WRONG_KEY)
    assert "not of this TPM's key" in one_sentence(done.stderr)
    eks = json.loads(done.stdout)["eks"]
    assert [ek["certificate"]["of_this_key"] for ek in eks] == [False, False]
    assert [ek["handle"] is not None for ek in eks] == [persistent] * 2
    assert holder.lct("ek", status=WRONG_KEY).stdout.count("NOT of this key") == 2
    assert blocks(holder.lct("ek", "--pem", status=WRONG_KEY).stdout) == [
        ek["public_key"] for ek in eks], "it is not handed out as this TPM's"


def test_a_large_certificate_is_read_in_pieces(holder, certified, make_proxy):
    large = other_certificate(holder, comment="x" * 1000)
    assert 1024 < len(large) < 2048
    put(certified, P256_CERT, large)
    proxy = make_proxy(certified)
    holder.tcti = proxy.tcti
    holder.configure()
    ek = by_template(shown(holder, WRONG_KEY))["L-2"]
    assert to_der(holder, ek["certificate"]["pem"]) == large
    assert proxy.count(Command.NV_Read) == 4


def test_issuers_are_read_from_as_many_indices_as_there_are(holder, certified, maker):
    issuers = [to_der(holder, (maker.ca / name).read_text())
               for name in ("issuercert.pem", "swtpm-localca-rootca-cert.pem")]
    chain = b"".join(issuers)
    for number, at in enumerate(range(0, len(chain), 700)):
        put(certified, CHAIN + number, chain[at:at + 700])
    found = shown(holder)
    assert [to_der(holder, issuer["pem"]) for issuer in found["issuers"]] == issuers
    pem = blocks(holder.lct("ek", "--pem").stdout)
    assert pem == [each["pem"] for each in
                   (*(ek["certificate"] for ek in found["eks"]), *found["issuers"])]
    assert holder.lct("ek").stdout.count("issuer       kept in the TPM, ") == 2

    put(certified, CHAIN + 1, bytes(700))
    done = holder.lct("ek", "--json", status=BAD_RECORD)
    assert json.loads(done.stdout)["issuers"][-1] == {"error": one_sentence(done.stderr)}
    assert "issuers      cannot be used" in holder.lct("ek", status=BAD_RECORD).stdout


@pytest.mark.parametrize("given, status", [(OWNER, 0), ("a wrong one", AUTH), (None, AUTH)],
                         ids=["right", "wrong", "none"])
def test_an_index_that_the_owner_reads_takes_the_owner_s_authorization(holder, certified, given,
                                                                       status):
    put(certified, RSA_CERT, read_index(certified, RSA_CERT), "ownerread|ownerwrite")
    certified.tool("tpm2_changeauth", "-c", "owner", OWNER)
    file = holder.write("owner", f"{given}\n") if given else None
    holder.configure(owner_auth_file=file)
    done = holder.lct("ek", "--json", status=status)
    certificate = by_template(json.loads(done.stdout))["L-1"]["certificate"]
    if status:
        assert certificate["error"] == one_sentence(done.stderr)
        assert ("refuses" if given else "set owner_auth_file") in certificate["error"]
    else:
        assert certificate["of_this_key"] is True


def test_no_guess_is_made_at_an_index_that_counts_towards_the_lockout(holder, certified):
    put(certified, RSA_CERT, read_index(certified, RSA_CERT), "authread|ownerread|ownerwrite", "-p",
        "not empty")
    assert by_template(shown(holder))["L-1"]["certificate"]["of_this_key"] is True
    assert certified.property(0x20E) == 0


@pytest.mark.parametrize("attributes, written, reason",
                         [("ownerwrite|ppread", True, "not for the TPM's owner to read"),
                          (READABLE, False, "nothing was written")])
def test_an_index_that_nobody_can_read_is_said(holder, certified, attributes, written, reason):
    content = read_index(certified, RSA_CERT)
    put(certified, RSA_CERT, content, attributes)
    if not written:
        certified.tool("tpm2_nvundefine", "-C", "o", hex(RSA_CERT))
        certified.tool("tpm2_nvdefine", hex(RSA_CERT), "-C", "o", "-s", 100, "-a", attributes)
    done = holder.lct("ek", "--json", status=UNSUPPORTED)
    assert reason in one_sentence(done.stderr)
    assert by_template(json.loads(done.stdout))["L-1"]["handle"] == hex(RSA_EK)


@pytest.mark.parametrize("template, back", [("L-1", 2 * 256), ("L-2", 2 * (32 + 2 + 32))])
def test_a_nonce_in_the_tpm_is_in_the_key_s_template(make_tpm, make_user, template, back):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    put(tpm, TEMPLATES[template][0] + 1, b"a nonce")
    area, nonce = AREAS[template], b"a nonce".hex()
    nonced = area[:-back] + nonce + area[len(nonce) - back:]
    assert by_template(shown(user))[template]["name"] == primary(tpm, nonced)


def test_a_template_in_the_tpm_makes_the_key(make_tpm, make_user):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    area = AREAS["L-1 with noDA"]
    put(tpm, RSA_TEMPLATE, bytes.fromhex(area))
    assert shown(user)["eks"][0]["name"] == primary(tpm, area) != primary(tpm, AREAS["L-1"])
    put(tpm, RSA_NONCE, b"and a nonce")
    nonced = area[:-512] + b"and a nonce".ljust(256, b"\0").hex()
    assert shown(user)["eks"][0]["name"] == primary(tpm, nonced)


@pytest.mark.parametrize("index, content", [
    (RSA_TEMPLATE, b"no template"), (RSA_TEMPLATE, bytes(2000)), (RSA_NONCE, bytes(257)),
    (RSA_TEMPLATE, bytes.fromhex("0023000b000300b20000") + bytes(20))],
    ids=["text", "long", "long-nonce", "of-another-type"])
def test_a_malformed_template_or_nonce_makes_no_key(holder, certified, index, content):
    put(certified, index, content)
    done = holder.lct("ek", "--json", status=BAD_RECORD)
    ek = by_template(json.loads(done.stdout))["L-1"]
    assert ek["public_key"] is None and f"{index:#010x}" in one_sentence(done.stderr)


@pytest.mark.parametrize("code", [Command.NV_ReadPublic, Command.NV_Read, Command.ReadPublic,
                                  Command.CreatePrimary])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_connection_that_breaks_once_costs_nothing(holder, certified, make_proxy, code, after):
    before = shown(holder)["eks"]
    if code == Command.CreatePrimary:
        evict(certified)
    proxy = make_proxy(certified)
    holder.tcti = proxy.tcti
    holder.configure()

    def drop(_command, ask):
        if after:
            ask()
        return None

    proxy.hook(code, drop, 1)
    assert [ek["name"] for ek in shown(holder)["eks"]] == [ek["name"] for ek in before]


def test_a_tpm_that_refuses_to_flush_is_asked_again(holder, certified, make_proxy):
    evict(certified)
    proxy = make_proxy(certified)
    holder.tcti = proxy.tcti
    holder.configure()
    proxy.hook(Command.FlushContext, lambda _command, _ask: response(0x97F), 1)
    shown(holder)


def test_usage(holder):
    assert "exclude" in one_sentence(holder.lct("ek", "--json", "--pem", status=2).stderr)
    holder.lct("ek", "alice", status=2)
