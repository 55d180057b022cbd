# SPDX-License-Identifier: Apache-2.0
"""The readers of public areas and key files, beside other implementations and under mutation."""

import base64
import dataclasses
import re

import pytest

from conftest import ROOT
from keyfile import OID_LOADABLE, KeyFile, armour, der, unarmour, values

VECTORS = ROOT.parent / "shared" / "vectors" / "tss2-pem"
SAMPLES = sorted(VECTORS.glob("*.pem")) if VECTORS.exists() else []
TEMPLATES = {"storage": ["-G", "ecc"], "rsa": ["-G", "rsa2048"], "p384": ["-G", "ecc384"],
             "rsa3072": ["-G", "rsa3072"]}
KEYS = {"ecdsa": ["-G", "ecc256:ecdsa-sha256:null"], "ecdaa": ["-G", "ecc256:ecdaa4-sha256:null"],
        "rsassa": ["-G", "rsa2048:rsassa-sha256:null"],
        "rsapss": ["-G", "rsa2048:rsapss-sha1:null"],
        "oaep": ["-G", "rsa2048:oaep-sha256:null"], "rsaes": ["-G", "rsa2048:rsaes:null"],
        "ecdh": ["-G", "ecc256:ecdh-sha256:null"],
        "schnorr": ["-G", "ecc256:ecschnorr-sha256:null"]}


@pytest.fixture(scope="module", name="programs")
def fixture_programs(build):
    if not (build / "tests").is_dir():
        pytest.skip("this build has no test programs")
    return build / "tests"


def test_public_areas_are_read_as_tpm2_tss_reads_them(owner, programs, make_tpm):
    files = []
    for name in owner.in_store():
        files.append(owner.write(f"{name}.pub",
                                 KeyFile.read(owner.store / name / "key-1.pem").public))
    tpm = make_tpm()
    tpm.tool("tpm2_createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx")
    tpm.flush()
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "p.ctx", "0x81000001")
    tpm.flush()
    tpm.tool("tpm2_createpolicy", "--policy-pcr", "-l", "sha256:0", "-L", "policy")
    tpm.tool("tpm2_flushcontext", "--loaded-session")
    for name, words in TEMPLATES.items():
        tpm.tool("tpm2_create", "-C", "0x81000001", *words, "-u", f"{name}.pub", "-a",
                 "restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth")
        tpm.flush()
        files.append(tpm.directory / f"{name}.pub")
    for name, words in KEYS.items():
        tpm.tool("tpm2_create", "-C", "0x81000001", *words, "-u", f"{name}.pub", "-L", "policy")
        tpm.flush()
        files.append(tpm.directory / f"{name}.pub")
    done = owner.run(programs / "mu", *files)
    assert (match := re.fullmatch(r"ok: (\d+) of (\d+) taken\n", done.stdout))
    assert len(files) < int(match[1]) < int(match[2])


@pytest.mark.skipif(not SAMPLES, reason="no sample key files beside the checkout")
@pytest.mark.parametrize("sample", SAMPLES, ids=[path.stem for path in SAMPLES])
def test_key_files_of_other_tools_are_read(user, programs, sample):
    fields = dict(line.partition(" ")[::2] for line in
                  user.run(programs / "keyfile", "read", sample).stdout.splitlines())
    expected = values(values(unarmour(sample.read_text()))[0][1])
    tags = {tag: content for tag, content in expected}
    (_, parent), (_, public), (_, private) = expected[-3:]
    assert fields["type"] == "loadable"
    assert int(fields["parent"], 16) == int.from_bytes(parent) & 0xFFFFFFFF
    assert fields["public"] == public.hex() and fields["private"] == private.hex()
    assert fields["empty_auth"] == str(int(0xA0 in tags and tags[0xA0] != b"\1\1\0"))
    assert fields["has_policy"] == str(int(0xA1 in tags or 0xA3 in tags))
    assert fields["seal"] == "none", "the one with a policy has it in SHA-384"


@pytest.mark.skipif(not SAMPLES, reason="no sample key files beside the checkout")
@pytest.mark.parametrize("sample", SAMPLES, ids=[path.stem for path in SAMPLES])
def test_no_mutation_of_a_key_file_is_taken_cut_or_trailed(user, programs, sample):
    content = user.write("key.der", unarmour(sample.read_text()))
    assert user.run(programs / "keyfile", "mutate", content).stdout.startswith("ok: ")


@pytest.fixture(name="key")
def fixture_key(owner):
    return KeyFile.read(owner.store / "ec" / "key-1.pem")


def read(owner, programs, content: bytes | str, status=0) -> dict[str, str]:
    done = owner.run(programs / "keyfile", "read", owner.write("key", content), status=status)
    return dict(line.partition(" ")[::2] for line in done.stdout.splitlines())


def test_a_key_file_is_read_and_written_to_the_same_bytes(owner, programs, key):
    text = (owner.store / "ec" / "key-1.pem").read_text()
    assert owner.run(programs / "keyfile", "write", owner.write("key", text)).stdout == text
    assert owner.run(programs / "keyfile", "write",
                     owner.write("key", key.to_der())).stdout == text
    assert text == armour(key.to_der()), "by our own encoder"


def test_our_key_files_are_read_by_openssl_s_asn1parse(owner):
    text = owner.openssl("asn1parse", "-in", owner.store / "ec" / "key-1.pem").stdout
    assert "2.23.133.10.1.3" in text
    assert re.search(r"INTEGER +:81000001", text), "the parent is positive"


def assemble(key: KeyFile, *fields: bytes, oid: bytes = OID_LOADABLE,
             parent: bytes = bytes.fromhex("0081000001")) -> bytes:
    return der(0x30, oid + b"".join(fields) + der(2, parent) + der(4, key.public)
               + der(4, key.private))


AUTH = der(0xA0, der(1, b"\xff"))
POLICY = der(0xA1, der(0x30, der(0x30, der(0xA0, der(2, b"\0")) + der(0xA1, der(4, b"")))))


def test_every_optional_field_of_a_key_file_is_known(owner, programs, key):
    assert read(owner, programs, assemble(key))["empty_auth"] == "0"
    assert read(owner, programs, assemble(key, AUTH))["empty_auth"] == "1"
    described = assemble(key, der(0xA4, der(12, b"hello")))
    assert read(owner, programs, described)["description"] == "hello"
    assert read(owner, programs, assemble(key, der(0xA5, der(1, b"\xff"))))["rsa_parent"] == "1"
    assert read(owner, programs, assemble(key, der(0xA2, der(4, b"x"))))["has_secret"] == "1"
    for number, name in ((4, "importable"), (5, "sealed")):
        oid = OID_LOADABLE[:-1] + bytes([number])
        fields = [der(0xA2, der(4, b"x"))] if number == 4 else []
        assert read(owner, programs, assemble(key, *fields, oid=oid))["type"] == name


@pytest.mark.parametrize("parent", ["0081000001", "81000001", "ff81000001", "40000001"])
def test_a_parent_is_read_signed_or_unsigned(owner, programs, key, parent):
    """Some tools write the handle as a negative number; ff81000001 is not minimal DER."""
    status = 1 if parent.startswith("ff") else 0
    fields = read(owner, programs, assemble(key, parent=bytes.fromhex(parent)), status)
    if not status:
        assert int(fields["parent"], 16) == int(parent, 16)


@pytest.mark.parametrize("spoil", [
    lambda key: assemble(key) + b"\0",
    lambda key: assemble(key, AUTH, AUTH),
    lambda key: assemble(key, der(0xA5, der(1, b"\xff")), AUTH),
    lambda key: assemble(key, der(0xA6, der(1, b"\xff"))),
    lambda key: assemble(key, der(0xA0, der(1, b"\xff") + b"\0")),
    lambda key: assemble(key, der(0xA0, der(2, b"\1"))),
    lambda key: assemble(key, oid=der(6, bytes.fromhex("2a864886f70d010101"))),
    lambda key: assemble(key, parent=bytes.fromhex("018100000001")),
    lambda key: assemble(key, parent=b""),
    lambda key: assemble(dataclasses.replace(key, public=key.public + b"\0")),
    lambda key: assemble(dataclasses.replace(key, public=key.public[:-1])),
    lambda key: assemble(dataclasses.replace(key, public=b"")),
    lambda key: assemble(dataclasses.replace(key, private=key.private + b"\0")),
    lambda key: assemble(dataclasses.replace(key, private=key.private[:1])),
    lambda key: der(0x30, assemble(key)[3:] + der(4, b"")),
    lambda key: der(0x31, values(assemble(key))[0][1]),
    lambda key: b"\x30\x80" + values(assemble(key))[0][1] + b"\0\0",
    lambda key: der(0x30, b""), lambda key: b""],
    ids=["trailing", "twice", "order", "unknown field", "in a field", "type of a field", "oid",
         "long parent", "no parent", "public long", "public short", "public empty", "private long",
         "private short", "more", "set", "indefinite", "empty sequence", "nothing"])
def test_a_key_file_is_read_strictly(owner, programs, key, spoil):
    for content in (spoil(key), armour(spoil(key))):
        fields = read(owner, programs, content, status=1)
        code, _, sentence = fields["error"].partition(" ")
        assert code == "6" and sentence


@pytest.mark.parametrize("spoil", [
    lambda text: text + text, lambda text: "junk\n" + text, lambda text: text + "junk",
    lambda text: text.replace("TSS2 PRIVATE", "EC PRIVATE"),
    lambda text: text.replace("-----END", "----END"), lambda text: text[:-20],
    lambda text: text.replace("\n", "\nProc-Type: 4,ENCRYPTED\n\n", 1)],
    ids=["twice", "before", "after", "label", "end", "cut", "headers"])
def test_pem_is_read_strictly(owner, programs, key, spoil):
    assert read(owner, programs, armour(key.to_der()))["type"] == "loadable"
    assert "error" in read(owner, programs, spoil(armour(key.to_der())), status=1)


def test_pem_may_have_white_space_around_it(owner, programs, key):
    text = armour(key.to_der())
    for content in ("\n\n" + text + "\n \n", text.replace("\n", "\r\n")):
        assert read(owner, programs, content)["type"] == "loadable"


def test_base64_of_a_key_file_is_what_rfc_7468_says(owner):
    lines = (owner.store / "rsa" / "key-1.pem").read_text().splitlines()
    assert all(len(line) == 64 for line in lines[1:-2])
    assert base64.b64decode("".join(lines[1:-1]), validate=True)
