# SPDX-License-Identifier: Apache-2.0
"""Evidence in the formats of others: WebAuthn's, Web4's, and in certificate requests."""

import base64
import copy
import hashlib
import json
import os
import re
import struct
import subprocess

import cbor2
import pytest

from attesting import (Verifier, attested_of, challenge_of, credential_of, evidence_of, offer_of,
                       to_bytes, to_text)
from conftest import ROOT
from forger import (AK, CERTIFY, ECDSA, KEY, NULL, QUOTE, RSAPSS, RSASSA, SHA1, SHA256, SHA384,
                    SHA512, name_of, sized)
from keyfile import KeyFile, values
from test_attest import offer, respond
from test_command import one_sentence
from test_passphrase import on_a_terminal
from x509 import (AK_USAGE, EXT_USAGE, Authority, Certificate, Keys, ek_certificate, name, oid, pem,
                  sequence)

VECTORS = ROOT.parent / "shared" / "vectors" / "webauthn-tpm"
USAGE, WRONG_KEY, UNSUPPORTED, IO, MALFORMED = 2, 14, 15, 18, 22
ALGORITHMS = {(ECDSA, SHA256): -7, (ECDSA, SHA384): -35, (ECDSA, SHA512): -36,
              (RSAPSS, SHA256): -37, (RSAPSS, SHA384): -38, (RSAPSS, SHA512): -39,
              (RSASSA, SHA256): -257, (RSASSA, SHA384): -258, (RSASSA, SHA512): -259,
              (RSASSA, SHA1): -65535}
EXTRA, FIRMWARE = bytes(range(32)), 0x2019102300163636
CREATED, EXPIRES, CREATED_AT = "2026-06-01T00:00:00Z", "2026-06-01T00:05:00Z", 1780272000
PCRS = {0: "11" * 32, 7: "a5" * 32}
PURPOSES = ["enrollment", "session_start", "re_attestation", "witness", "migration",
            "device_binding"]
ALONE = {"OPENSSL_CONF": os.devnull}  # openssl without our provider
ATTRIBUTE, STATEMENT = "1.2.840.113549.1.9.16.2.59", "2.23.133.20.1"


# What evidence is made of; nothing in it was signed by a TPM


def attest(kind: int, attested: bytes) -> bytes:
    """TPMS_ATTEST, TPM 2.0 Part 2, 10.12.12."""
    return (struct.pack(">4sH", b"\xffTCG", kind) + sized(b"\0\x0b" + bytes(32)) + sized(EXTRA)
            + struct.pack(">QIIBQ", 1, 2, 3, 1, FIRMWARE) + attested)


def certified(area: bytes) -> bytes:
    return attest(CERTIFY, sized(name_of(area)) + sized(b"\0\x0b" + bytes(32)))


def quoted(banks: dict[int, list[int]]) -> bytes:
    """Of PCRs by bank."""
    selections = b"".join(
        struct.pack(">HB", bank, 3) + sum(1 << pcr for pcr in pcrs).to_bytes(3, "little")
        for bank, pcrs in banks.items())
    return attest(QUOTE, struct.pack(">I", len(banks)) + selections + sized(b"\x5a" * 32))


def signature(scheme: int = ECDSA, digest: int = SHA256) -> bytes:
    """TPMT_SIGNATURE."""
    parts = sized(b"\x33" * 32) * 2 if scheme == ECDSA else sized(b"\x33" * 256)
    return struct.pack(">HH", scheme, digest) + parts


class Parts(Keys):
    """Keys and certificates, made once."""

    def __init__(self, directory):
        super().__init__(directory)
        self.maker = Authority(self.key("p256", "maker"), "Maker")
        self.witness = Authority(self.key("p256", "witness"), "Witness")
        usage = {EXT_USAGE: (False, sequence(oid(AK_USAGE)))}
        self.ak_certificate = self.witness.sign(
            Certificate(self.key("p256", "ak").spki, name(), usage))
        self.chain = [self.ak_certificate, self.witness.certificate]
        self.ek = self.key("rsa", "ek")
        self.ek_certificate = self.maker.sign(ek_certificate(self.ek))

    def area(self, kind: str = "p256", title: str = "key", attributes: int = KEY) -> bytes:
        key = self.key(kind, title)
        scheme = {KEY: NULL, AK: RSASSA if key.is_rsa else ECDSA}[attributes]
        return key.public_area(symmetric=NULL, scheme=scheme, attributes=attributes)

    def evidence(self, area: bytes | None = None, chain=(), quote: bool = True) -> dict:
        """As lct attest respond makes it, of a key's TPMT_PUBLIC."""
        area, ek = area or self.area(), self.ek.public_area()
        made = offer_of(area, self.area(title="ak", attributes=AK),
                        (self.key("p256", "ek").public_area(), None), (ek, self.ek_certificate),
                        chain=chain, issuers=[self.maker.certificate], generation=3)
        challenge = challenge_of(made, created=CREATED, expires=EXPIRES, ek=name_of(ek).hex(),
                                 credential=credential_of(b"id", b"secret"),
                                 pcrs="sha256:0,7" if quote else None)
        banks = {"sha256": {str(pcr): value for pcr, value in PCRS.items()}}
        shown = attested_of(quoted({SHA256: [0, 7]}), signature()) | {"values": banks}
        return evidence_of(challenge, activation="c3" * 32,
                           certify=attested_of(certified(area), signature()),
                           quote=shown if quote else None)


@pytest.fixture(scope="module", name="parts")
def fixture_parts(tmp_path_factory) -> Parts:
    return Parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(name="anyone")
def fixture_anyone(make_user):
    """Who has evidence, and neither a TPM nor a store."""
    return make_user("none")


def offered(evidence: dict) -> dict:
    return evidence["challenge"]["offer"]


def export(user, kind: str, evidence: dict | str, *options, text: bool = False) -> bytes:
    content = evidence if isinstance(evidence, str) else json.dumps(evidence)
    return user.lct("attest", "export", "--format", kind, *options,
                    user.write("evidence.json", content), text=text).stdout


def refused(user, kind: str, evidence: dict, status: int, *options) -> str:
    done = user.lct("attest", "export", "--format", kind, *options,
                    user.write("evidence.json", json.dumps(evidence)), status=status)
    assert done.stdout == ""
    return one_sentence(done.stderr)


def canonical(encoded: bytes) -> dict:
    """All of a CBOR map, in the one form that CTAP2 has for it."""
    value = cbor2.loads(encoded)
    assert cbor2.dumps(value, canonical=True) == encoded
    return value


@pytest.mark.parametrize("product, needs", [("lct", True), ("lct-verify", True),
                                            ("lct.so", False)])
def test_only_the_commands_need_a_library_for_cbor(build, product, needs):
    done = subprocess.run(["readelf", "--dynamic", build / product], capture_output=True,
                          text=True, check=True)
    assert ("libcbor" in done.stdout) == needs and "libcrypto" in done.stdout


# WebAuthn


def test_a_statement_of_webauthn_has_the_certification_of_the_key(anyone, parts):
    evidence = parts.evidence(chain=parts.chain)
    encoded = export(anyone, "webauthn-tpm", evidence)
    assert canonical(encoded) == {
        "ver": "2.0", "alg": -7, "x5c": parts.chain, "sig": signature(),
        "certInfo": certified(parts.area()), "pubArea": parts.area()}
    assert list(cbor2.loads(encoded)) == ["alg", "sig", "ver", "x5c", "pubArea", "certInfo"]


def test_a_statement_needs_no_quote_and_no_store_and_takes_standard_input(anyone, parts):
    evidence = parts.evidence(chain=parts.chain, quote=False)
    done = anyone.lct("attest", "export", "-", "--format", "webauthn-tpm",
                      stdin=json.dumps(evidence), text=False)
    assert done.stdout == export(anyone, "webauthn-tpm", evidence)
    assert not anyone.store.exists()


@pytest.mark.parametrize("scheme, digest", ALGORITHMS)
def test_a_statement_names_the_algorithm_of_the_signature_as_cose_does(anyone, parts, scheme,
                                                                       digest):
    evidence = parts.evidence(chain=parts.chain)
    evidence["certify"]["signature"] = to_text(signature(scheme, digest))
    statement = canonical(export(anyone, "webauthn-tpm", evidence))
    assert statement["alg"] == ALGORITHMS[scheme, digest]
    assert statement["sig"] == signature(scheme, digest)


@pytest.mark.parametrize("scheme", [ECDSA, RSAPSS])
def test_a_signature_that_cose_has_no_number_for_is_no_statement(anyone, parts, scheme):
    evidence = parts.evidence(chain=parts.chain)
    evidence["certify"]["signature"] = to_text(signature(scheme, SHA1))
    for kind in ("webauthn-tpm", "web4"):
        assert "COSE has no number" in refused(anyone, kind, evidence, UNSUPPORTED)


@pytest.mark.parametrize("vector", ["py_webauthn-3270ca14", "py_webauthn-6852bdfa"])
def test_a_statement_has_the_shape_of_those_that_browsers_send(anyone, parts, vector):
    path = VECTORS / vector / "attestationObject.cbor"
    if not path.exists():
        pytest.skip("the statements of browsers are not there")
    theirs = cbor2.loads(path.read_bytes())["attStmt"]
    ours = cbor2.loads(export(anyone, "webauthn-tpm", parts.evidence(chain=parts.chain)))
    assert {key: type(value) for key, value in ours.items()} == {
        key: type(value) for key, value in theirs.items()}
    for field, begin in (("certInfo", 6), ("pubArea", 1)):
        assert ours[field][:begin] == theirs[field][:begin], "neither has the size of a TPM2B"


def test_a_statement_without_a_certificate_says_where_to_get_one(anyone, parts):
    said = refused(anyone, "webauthn-tpm", parts.evidence(), UNSUPPORTED)
    assert "lct attest issue" in said and "lct attest offer --ak-cert" in said


# What is no key's certification


def test_what_is_certified_has_to_be_the_key_that_was_offered(anyone, parts):
    evidence = parts.evidence(chain=parts.chain)
    evidence["certify"]["attest"] = to_text(certified(parts.area(title="other")))
    assert "not one of the key that was offered" in refused(anyone, "webauthn-tpm", evidence,
                                                            MALFORMED)


def test_a_quote_is_no_certification(anyone, parts):
    evidence = parts.evidence(chain=parts.chain)
    evidence["certify"]["attest"] = evidence["quote"]["attest"]
    assert "not one of the key" in refused(anyone, "webauthn-tpm", evidence, MALFORMED)


@pytest.mark.parametrize("member, content", [("attest", b"\xffTCG"), ("attest", b"no attestation"),
                                             ("signature", b"\0\x18"), ("signature", b"none")])
@pytest.mark.parametrize("kind", ["certify", "quote"])
def test_what_a_tpm_did_not_write_is_not_handed_on(anyone, parts, kind, member, content):
    evidence = parts.evidence(chain=parts.chain)
    evidence[kind][member] = to_text(content)
    said = refused(anyone, "web4", evidence, MALFORMED)
    assert {"certify": "the certification", "quote": "the quote"}[kind] in said
    assert str(anyone.path("evidence.json")) in said


def test_a_certificate_of_another_attestation_key_is_refused(anyone, parts):
    other = parts.witness.sign(Certificate(parts.key("p256", "other").spki, name(), {}))
    said = refused(anyone, "webauthn-tpm", parts.evidence(chain=[other]), WRONG_KEY)
    assert "not of its attestation key" in said


def test_a_certificate_that_is_none_is_refused(anyone, parts):
    said = refused(anyone, "webauthn-tpm", parts.evidence(chain=[b"no DER"]), MALFORMED)
    assert "certificate of the attestation key is none" in said


@pytest.mark.parametrize("kind", ["webauthn-tpm", "web4"])
def test_a_proof_of_the_direct_mode_is_for_its_verifier_alone(anyone, parts, kind):
    evidence = parts.evidence(quote=False)
    evidence["challenge"]["mode"] = "direct"
    evidence["certify"] = None
    assert "--mode ak" in refused(anyone, kind, evidence, UNSUPPORTED)


@pytest.mark.parametrize("part", ["challenge", "offer"])
def test_the_other_files_of_an_attestation_are_not_evidence(anyone, parts, part):
    evidence = parts.evidence()
    document = evidence["challenge"] if part == "challenge" else offered(evidence)
    assert "evidence" in refused(anyone, "web4", document, MALFORMED)


def test_what_cannot_be_read_is_named(anyone):
    done = anyone.lct("attest", "export", "--format", "web4", "nothing.json", status=IO)
    assert "nothing.json" in one_sentence(done.stderr)


@pytest.mark.parametrize("words, said", [
    ([], "which format?"), (["--format", "jwt"], 'no format "jwt"; webauthn-tpm or web4'),
    (["--format", "web4", "--purpose", "fun"], 'no purpose "fun"'),
    (["--format", "webauthn-tpm", "--purpose", "witness"], "--purpose is for --format web4"),
    (["--format", "web4", "another"], "usage: lct attest"),
    (["--format", "web4", "--format", "web4"], "--format was given twice")])
def test_export_says_how_it_is_used(anyone, parts, words, said):
    path = anyone.write("evidence.json", json.dumps(parts.evidence()))
    done = anyone.lct("attest", "export", *words, path, status=USAGE)
    assert said in one_sentence(done.stderr) and done.stdout == ""


def test_help_says_what_an_exported_certification_is_made_for(anyone):
    shown = anyone.lct("help", "attest", "export").stdout
    assert "LCT-ATTEST-v1 certify" in shown
    assert shown == anyone.lct("attest", "export", "--help").stdout


def test_a_statement_is_not_written_to_a_terminal(anyone, parts):
    path = anyone.write("evidence.json", json.dumps(parts.evidence(chain=parts.chain)))
    shown = on_a_terminal(anyone, [str(anyone.build / "lct"), "attest", "export", "--format",
                                   "webauthn-tpm", str(path)])
    assert shown.startswith("2 ") and "send it to a file" in shown


def test_a_full_device_is_an_error(anyone, parts):
    path = anyone.write("evidence.json", json.dumps(parts.evidence(chain=parts.chain)))
    for kind in ("webauthn-tpm", "web4"):
        anyone.run("sh", "-c", '"$0" "$@" >/dev/full', anyone.build / "lct", "attest", "export",
                   "--format", kind, path, status=IO)


# Web4

REQUIRED = {"@context": list, "@type": str, "envelope_version": str, "entity_id": str,
            "public_key": str, "public_key_fingerprint": str, "anchor": dict, "proof": dict,
            "timestamp": (int, float), "challenge_issued_at": (int, float),
            "challenge_ttl": (int, float), "platform_state": dict, "trust_ceiling": float}
OPTIONAL = {"issuer": str, "purpose": str}
ANCHOR = {"manufacturer": str, "model": str, "firmware_version": str}
PROOF = {"attestation_object": str, "pcr_digest": str, "pcr_selection": list,
         "authenticator_data": str, "client_data_hash": str}
STATE = {"boot_verified": bool, "pcr_values": dict, "os_version": str, "kernel_version": str}


def check_object(content: dict, required: dict, optional: dict):
    """Web4's schema: additionalProperties is false everywhere."""
    assert required.keys() <= content.keys() <= required.keys() | optional.keys()
    for key, value in content.items():
        assert isinstance(value, (required | optional)[key]), key


def check_envelope(envelope: dict):
    """What attestation-envelope-jsonld.schema.json and docs/specs/attestation-envelope.md ask."""
    check_object(envelope, REQUIRED, OPTIONAL)
    check_object(envelope["anchor"], {"type": str}, ANCHOR)
    check_object(envelope["proof"], {"format": str, "signature": str, "challenge": str}, PROOF)
    check_object(envelope["platform_state"], {"available": bool}, STATE)
    assert envelope["@context"] == ["https://web4.io/contexts/attestation-envelope.jsonld"]
    assert (envelope["@type"], envelope["envelope_version"]) == ("AttestationEnvelope", "0.1")
    assert envelope["public_key_fingerprint"] == hashlib.sha256(
        envelope["public_key"].encode()).hexdigest()[:16]
    assert envelope["anchor"]["type"] in ("tpm2", "fido2", "secure_enclave", "software")
    assert envelope["proof"]["format"] == "tpm2_quote"
    assert all(isinstance(pcr, int) and pcr >= 0 for pcr in envelope["proof"]["pcr_selection"])
    assert all(isinstance(value, str)
               for value in envelope["platform_state"].get("pcr_values", {}).values())
    assert envelope["challenge_ttl"] >= 0 and 0 <= envelope["trust_ceiling"] <= 1
    assert envelope.get("purpose", "witness") in PURPOSES


def ceiling_that_web4_reads(envelope: dict) -> float:
    """What Web4's own library makes of it: 0.4 is as good as none, but of software."""
    if envelope["trust_ceiling"] == 0.4 and envelope["anchor"]["type"] != "software":
        return 1.0
    return envelope["trust_ceiling"]


def enveloped(user, evidence: dict | str, *options) -> dict:
    envelope = json.loads(export(user, "web4", evidence, *options, text=True))
    check_envelope(envelope)
    return envelope


def web4_name(spki: bytes) -> str:
    """Of the SubjectPublicKeyInfo of a P-256 key."""
    x, y = spki[-64:-32], spki[-32:]
    digest = hashlib.sha256(bytes([2 + y[-1] % 2]) + x).digest()
    return "lct:web4:mb32:b" + base64.b32encode(digest).decode().rstrip("=").lower()


def test_an_envelope_of_web4_says_what_the_evidence_does(anyone, parts):
    envelope = enveloped(anyone, parts.evidence(chain=parts.chain))
    key = parts.key("p256", "key")
    assert envelope["entity_id"] == web4_name(key.spki)
    assert re.fullmatch(r"lct:web4:mb32:b[a-z2-7]{52}", envelope["entity_id"])
    assert envelope["public_key"] == pem(key.spki, "PUBLIC KEY").decode()
    assert envelope["anchor"] == {"type": "tpm2", "manufacturer": "Intel (INTC)",
                                  "model": "Model 1", "firmware_version": f"{FIRMWARE:016x}"}
    assert (envelope["timestamp"], envelope["challenge_issued_at"],
            envelope["challenge_ttl"]) == (CREATED_AT, CREATED_AT, 300)
    assert envelope["platform_state"] == {
        "available": True, "pcr_values": {str(pcr): value for pcr, value in PCRS.items()}}
    assert envelope["trust_ceiling"] == 0.85
    assert "purpose" not in envelope and "issuer" not in envelope
    proof = envelope["proof"]
    assert base64.b64decode(proof["signature"], validate=True) == signature()
    assert proof["challenge"] == EXTRA.hex()
    assert (proof["pcr_digest"], proof["pcr_selection"]) == ("5a" * 32, [0, 7])


def test_an_envelope_has_in_it_what_a_verifier_needs(anyone, parts):
    evidence = parts.evidence(chain=parts.chain)
    proof = enveloped(anyone, evidence)["proof"]
    found = canonical(base64.b64decode(proof["attestation_object"], validate=True))
    statement = canonical(export(anyone, "webauthn-tpm", evidence))
    assert found == statement | {
        "quote": {"sig": signature(), "quoteInfo": quoted({SHA256: [0, 7]})},
        "akPublic": to_bytes(offered(evidence)["ak"]["public"]),
        "ekPublic": sized(parts.ek.public_area()),
        "ekX5c": [parts.ek_certificate, parts.maker.certificate]}


def test_an_envelope_leaves_out_what_there_is_not(anyone, parts):
    evidence = parts.evidence()
    offered(evidence)["eks"][1]["certificate"] = None
    envelope = enveloped(anyone, evidence)
    assert envelope["anchor"].keys() == {"type", "firmware_version"}
    found = canonical(base64.b64decode(envelope["proof"]["attestation_object"]))
    assert found.keys() == {"ver", "alg", "sig", "certInfo", "pubArea", "quote", "akPublic",
                            "ekPublic"}
    offered(evidence)["eks"] = []
    found = canonical(base64.b64decode(enveloped(anyone, evidence)["proof"]["attestation_object"]))
    assert "ekPublic" not in found


def test_an_envelope_names_the_endorsement_key_that_was_asked(anyone, parts):
    evidence = parts.evidence()
    other = offered(evidence)["eks"][0]
    other["certificate"] = to_text(parts.maker.sign(ek_certificate(parts.key("p256", "ek"))))
    evidence["challenge"]["ek"] = name_of(parts.key("p256", "ek").public_area()).hex()
    found = canonical(base64.b64decode(enveloped(anyone, evidence)["proof"]["attestation_object"]))
    assert found["ekPublic"] == to_bytes(other["public"])
    assert found["ekX5c"][0] == to_bytes(other["certificate"])


def test_without_a_credential_the_endorsement_key_is_one_with_a_certificate(anyone, parts):
    evidence = parts.evidence(chain=parts.chain)
    evidence["challenge"] |= {"ek": None, "credential": None}
    evidence["activation"] = None
    found = canonical(base64.b64decode(enveloped(anyone, evidence)["proof"]["attestation_object"]))
    assert found["ekPublic"] == sized(parts.ek.public_area())


def test_what_an_endorsement_certificate_does_not_say_is_not_said(anyone, parts):
    evidence = parts.evidence()
    for content in (b"no DER", parts.maker.certificate):
        offered(evidence)["eks"][1]["certificate"] = to_text(content)
        assert enveloped(anyone, evidence)["anchor"].keys() == {"type", "firmware_version"}


def test_a_tpm_in_software_is_no_anchor_in_hardware(anyone, parts):
    evidence = parts.evidence()
    hardware = enveloped(anyone, evidence)
    offered(evidence)["software_tpm"] = True
    software = enveloped(anyone, evidence)
    assert (software["anchor"]["type"], software["trust_ceiling"]) == ("software", 0.4)
    assert [ceiling_that_web4_reads(each) for each in (hardware, software)] == [0.85, 0.4]


def test_an_envelope_never_says_that_the_boot_was_verified(anyone, parts):
    assert "boot_verified" not in export(anyone, "web4", parts.evidence(), text=True)


def test_an_envelope_looks_no_newer_when_it_is_exported_again(anyone, parts):
    assert export(anyone, "web4", parts.evidence()) == export(anyone, "web4", parts.evidence())


@pytest.mark.parametrize("purpose", PURPOSES)
def test_an_envelope_says_what_it_is_for_if_asked_to(anyone, parts, purpose):
    assert enveloped(anyone, parts.evidence(), "--purpose", purpose)["purpose"] == purpose


@pytest.mark.parametrize("kind", ["p384", "rsa"])
def test_a_key_that_web4_has_no_name_for_keeps_its_id(anyone, parts, kind):
    envelope = enveloped(anyone, parts.evidence(parts.area(kind)))
    assert envelope["entity_id"] == "lct:alice"
    assert envelope["public_key"] == pem(parts.key(kind, "key").spki, "PUBLIC KEY").decode()


def test_an_envelope_needs_a_quote(anyone, parts):
    said = refused(anyone, "web4", parts.evidence(quote=False), UNSUPPORTED)
    assert "lct attest challenge --pcrs" in said


def test_an_envelope_has_room_for_one_bank(anyone, parts):
    evidence = parts.evidence()
    evidence["challenge"]["pcrs"] = "sha256:0,7+sha384:0"
    evidence["quote"]["values"]["sha384"] = {"0": "22" * 48}
    evidence["quote"]["attest"] = to_text(quoted({SHA256: [0, 7], SHA384: [0]}))
    assert "several banks" in refused(anyone, "web4", evidence, UNSUPPORTED)


@pytest.mark.parametrize("banks", [{SHA256: [0, 8]}, {SHA384: [0, 7]}, {SHA256: [0]}])
def test_a_quote_of_other_pcrs_than_the_values_is_refused(anyone, parts, banks):
    evidence = parts.evidence()
    evidence["quote"]["attest"] = to_text(quoted(banks))
    assert "not one of the PCRs" in refused(anyone, "web4", evidence, MALFORMED)


def test_a_certification_is_no_quote(anyone, parts):
    evidence = parts.evidence()
    evidence["quote"]["attest"] = evidence["certify"]["attest"]
    assert "the quote" in refused(anyone, "web4", evidence, MALFORMED)


# Certificate requests


@pytest.fixture(name="alice")
def fixture_alice(user):
    """Who has the identity alice."""
    user.lct("create", "alice")
    return user


def area_of(user, identity: str = "alice") -> bytes:
    """TPMT_PUBLIC."""
    return KeyFile.read(user.write("key.pem", user.lct("export", identity).stdout)).public[2:]


def request(user, evidence: dict, *options, status: int = 0):
    return user.lct("csr", "alice", "--evidence",
                    user.write("evidence.json", json.dumps(evidence)), *options, status=status)


def attributes(user, csr: str) -> dict[bytes, list[bytes]]:
    """Of a PKCS#10 in PEM: the contents of each attribute's values, by the encoded OID."""
    encoded = user.openssl("req", "-outform", "DER", stdin=csr, text=False,
                           env=ALONE).stdout
    (_, content), = values(encoded)
    fields = values(values(content)[0][1])
    assert fields[3][0] == 0xA0
    found = {}
    for _, attribute in values(fields[3][1]):
        (tag, kind), (_, those) = values(attribute)
        assert tag == 6
        found[oid_of(kind)] = [value for _, value in values(those)]
    return found


def oid_of(content: bytes) -> str:
    arcs, number = [], 0
    for byte in content:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs += [number] if arcs else [min(number // 40, 2), number - 40 * min(number // 40, 2)]
            number = 0
    return ".".join(map(str, arcs))


def bundle_of(user, csr: str) -> tuple[list[bytes], list[bytes]]:
    """The three strings of the one statement, and the certificates as DER."""
    (bundle,) = attributes(user, csr)[ATTRIBUTE]
    (_, statements), *certs = values(bundle)
    (_, statement), = values(statements)
    (_, kind), (tag, body) = values(statement)
    assert (oid_of(kind), tag) == (STATEMENT, 0x30)
    assert [tag for tag, _ in values(body)] == [4, 4, 4]
    assert len(certs) <= 1
    found = [sequence(content) for _, those in certs for _, content in values(those)]
    return [content for _, content in values(body)], found


def check_request(user, csr: str):
    """The request is one, signed by its key, which is alice's."""
    path = user.write("request.pem", csr)
    shown = user.openssl("req", "-in", path, "-noout", "-verify", "-text",
                         env=ALONE)
    assert "self-signature verify OK" in shown.stdout + shown.stderr
    assert ATTRIBUTE in shown.stdout
    asn1 = user.openssl("asn1parse", "-in", path, env=ALONE).stdout
    assert f":{ATTRIBUTE}\n" in asn1 and f":{STATEMENT}\n" in asn1
    public = user.openssl("req", "-in", path, "-noout", "-pubkey",
                          env=ALONE).stdout
    assert public == user.public_key("lct:alice").read_text()


def test_a_request_shows_what_the_attestation_key_certified(alice, parts):
    area = area_of(alice)
    csr = request(alice, parts.evidence(area, parts.chain)).stdout
    check_request(alice, csr)
    assert bundle_of(alice, csr) == ([certified(area), signature(), area], parts.chain)


def test_a_request_without_certificates_has_the_statement_alone(alice, parts):
    area = area_of(alice)
    csr = request(alice, parts.evidence(area, quote=False), "--subject", "/CN=other").stdout
    check_request(alice, csr)
    assert bundle_of(alice, csr) == ([certified(area), signature(), area], [])
    shown = alice.openssl("req", "-noout", "-subject", "-nameopt", "RFC2253", stdin=csr).stdout
    assert "CN=other" in shown


def test_a_request_without_evidence_has_no_attribute(alice):
    shown = alice.openssl("req", "-noout", "-text", stdin=alice.lct("csr", "alice").stdout)
    assert ATTRIBUTE not in shown.stdout


def test_a_request_takes_evidence_of_its_own_key_alone(alice, parts):
    done = request(alice, parts.evidence(), status=WRONG_KEY)
    said = one_sentence(done.stderr)
    assert said.startswith("lct:alice: ") and "of another key" in said and done.stdout == ""


@pytest.mark.parametrize("kind", ["other", "direct", "certificate"])
def test_a_request_does_not_take_what_is_no_certification(alice, parts, kind):
    evidence = parts.evidence(area_of(alice), parts.chain)
    status = MALFORMED
    if kind == "other":
        evidence["certify"]["attest"] = to_text(certified(parts.area()))
    elif kind == "certificate":
        offered(evidence)["ak"]["certificates"][1] = to_text(b"no DER")
    else:
        evidence = parts.evidence(area_of(alice), quote=False)
        evidence["challenge"]["mode"], evidence["certify"] = "direct", None
        status = UNSUPPORTED
    done = request(alice, evidence, status=status)
    assert one_sentence(done.stderr).startswith("lct:alice: ") and done.stdout == ""


def test_a_request_says_which_file_is_no_evidence(alice, parts):
    done = request(alice, copy.deepcopy(offered(parts.evidence())), status=MALFORMED)
    assert "evidence.json: " in one_sentence(done.stderr) and done.stdout == ""


# All of it, of a TPM


@pytest.fixture(name="proof")
def fixture_proof(holder, make_user, maker):
    """Who has a TPM, and evidence of its key alice with a certificate of its attestation key."""
    holder.lct("create", "alice")
    verifier = Verifier(make_user("none"), maker)
    user = verifier.user
    user.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", "issuer.key", "-out", "issuer.crt", "-subj", "/CN=witness",
                 "-addext", "keyUsage=critical,keyCertSign",
                 "-addext", "basicConstraints=critical,CA:TRUE", env=ALONE)
    first = respond(holder, verifier.challenge(offer(holder)))
    issued = user.lct("attest", "issue", "--trust", verifier.trust, "--state", verifier.state,
                      "--issuer-key", user.path("issuer.key"), "--issuer-cert",
                      user.path("issuer.crt"), user.write("evidence.json", first)).stdout
    chain = holder.write("ak.pem", issued + user.path("issuer.crt").read_text())
    shown = offer(holder, "alice", "--ak-cert", chain)
    return holder, respond(holder, verifier.challenge(shown)), user


def judged(user, kind: str, parts_: dict[str, bytes]) -> dict[str, str]:
    """By lct verify of raw files."""
    given = [word for option, content in parts_.items()
             for word in (f"--{option}", user.write(f"{option}.bin", content))]
    verdict = json.loads(user.lct("verify", "--json", *given).stdout)
    assert kind in ("certify", "quote") and verdict["holds"]
    return {claim: found["outcome"] for claim, found in verdict["claims"].items()}


def test_what_is_exported_of_a_tpm_is_verified_by_itself(proof):
    holder, evidence, user = proof
    statement = canonical(export(user, "webauthn-tpm", evidence))
    claims = judged(user, "certify", {
        "raw-certify": statement["certInfo"], "signature": statement["sig"],
        "ak": statement["x5c"][0], "key": sized(statement["pubArea"])})
    assert claims["signed"] == claims["key_resident"] == claims["non_extractable"] == "pass"
    envelope = enveloped(user, evidence)
    assert envelope["anchor"]["type"] == "software"
    found = canonical(base64.b64decode(envelope["proof"]["attestation_object"]))
    claims = judged(user, "quote", {
        "raw-quote": found["quote"]["quoteInfo"],
        "signature": base64.b64decode(envelope["proof"]["signature"]), "ak": found["akPublic"]})
    assert claims["signed"] == claims["ak_fit"] == "pass"
    assert envelope["public_key"] == holder.public_key("lct:alice").read_text()


def test_a_request_with_evidence_of_a_tpm_is_verified_by_itself(proof):
    holder, evidence, user = proof
    csr = request(holder, json.loads(evidence)).stdout
    check_request(holder, csr)
    (attested, signed, area), certs = bundle_of(holder, csr)
    claims = judged(user, "certify", {"raw-certify": attested, "signature": signed,
                                      "ak": certs[0], "key": sized(area)})
    assert claims["signed"] == claims["key_resident"] == "pass"
    holder.openssl("verify", "-partial_chain", "-trusted", user.path("issuer.crt"),
                   "-ignore_critical", holder.write("ak.crt", pem(certs[0])),
                   env=ALONE)
