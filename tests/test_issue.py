# SPDX-License-Identifier: Apache-2.0
"""What a verifier issues: AK certificates, and signed verdicts with what is believed of them."""

import copy
import dataclasses
import hashlib
import hmac
import json
import re
import time
from pathlib import Path

import pytest

from attesting import (attested_of, challenge_of, credential_of, evidence_of, offer_of, to_bytes,
                       to_text)
from forger import AK, ECDSA, KEY, NULL, RSASSA, name_of, sized
from keyfile import der, values
from sealing import openssl
from x509 import (AK_USAGE, ALT_NAME, BASIC, CERT_SIGN, KEY_USAGE, MAKER, MODEL, SIGN, VERSION,
                  Authority, Key, Keys, alt_name, ek_certificate, key_usage, name, oid, pem,
                  seconds, sequence)

NOW = seconds("20260601000000Z")
MINUTE, DAY = 60, 24 * 60 * 60
MALFORMED, UNSUPPORTED, USAGE, INTERNAL = 22, 15, 2, 1
NAMES = ["signed", "ak_fit", "ak_bound", "ek_genuine", "fresh", "key_resident", "non_extractable",
         "key_fit", "sealed", "boot_state", "key_usable_now"]
CLAIMS = {each: {"outcome": "pass", "reason": f"{each} it is"} for each in NAMES} | {
    "sealed": {"outcome": "not_claimed", "reason": "it is not sealed"}}
JOSE = {"p256": ("ES256", "sha256", 32), "p384": ("ES384", "sha384", 48),
        "rsa": ("RS256", "sha256", 0), "rsa4096": ("RS256", "sha256", 0)}
SIGNERS = ["rsa", "p256", "p384"]


def stamp(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


class House(Keys):
    """Keys, and who has them."""

    def __init__(self, directory: Path):
        super().__init__(directory)
        self.root = Authority(self.key("p256", "root"), "Root")

    def issuer(self, kind: str = "p256", **changes) -> Authority:
        return Authority(self.key(kind, "issuer"), "Issuer", **changes)


@pytest.fixture(scope="module", name="house")
def fixture_house(tmp_path_factory):
    return House(tmp_path_factory.mktemp("house"))


def ak_area(key: Key, attributes: int = AK) -> bytes:
    return key.public_area(symmetric=NULL, scheme=RSASSA if key.is_rsa else ECDSA,
                           attributes=attributes)


def evidence_by(house: House, ak: Key | None = None, ek: Key | None = None,
                certificate: bytes | None = None, **changes) -> dict:
    """What lct_evidence_read takes; nothing in it was made by a TPM."""
    ak, ek = ak or house.key("p256", "ak"), ek or house.key("rsa", "ek")
    direct = changes.get("direct", False)
    bound = {"ek": name_of(ek.public_area()).hex(), "credential": credential_of(b"id", b"secret")}
    offer = offer_of(ak_area(house.key("p256", "key"), KEY), ak_area(ak),
                     (ek.public_area(), certificate), generation=3)
    challenge = challenge_of(offer, mode="direct" if direct else "ak", created=stamp(NOW),
                             expires=stamp(NOW + 300), **({} if changes.get("unbound") else bound))
    return evidence_of(challenge, activation=None if changes.get("unbound") else "c3" * 32,
                       certify=None if direct else attested_of(b"attest", b"signature"))


class Issuing:
    """The program, and a directory for its files."""

    def __init__(self, user):
        self.user, self.program, self.count = user, user.build / "tests" / "issue", 0
        if not self.program.exists():
            pytest.skip("this build has no test programs")

    def file(self, content) -> Path:
        self.count += 1
        if isinstance(content, dict):
            content = json.dumps(content)
        return self.user.write(f"{self.count}.file", content)

    def trust(self, **members) -> Path:
        return self.file({"version": 1} | members)

    def trusted(self, *keys: Key) -> Path:
        """Of verdicts by these."""
        return self.trust(verdict_issuers=[
            str(self.file(openssl("pkey", "-in", key.path, "-pubout"))) for key in keys])

    def roots(self, *authorities: Authority, **members) -> Path:
        return self.trust(ek_roots=[str(self.file(pem(each.certificate))) for each in authorities],
                          **members)

    def run(self, *arguments, status: int = 0) -> str:
        return self.user.run(self.program, *arguments, status=status).stdout

    def certificate(self, evidence: dict, issuer: Authority, trust="-", now: int = NOW,
                    days: int = 30, key: Key | None = None) -> bytes:
        output = self.user.path("certificate.der")
        output.unlink(missing_ok=True)
        self.run("certificate", self.file(evidence), (key or issuer.key).path,
                 self.file(issuer.certificate), trust, now, days, output)
        return output.read_bytes()

    def refused(self, code: int, reason: str, evidence: dict, issuer: Authority, **options):
        """No certificate is issued."""
        output = self.user.path("certificate.der")
        output.unlink(missing_ok=True)
        said = self.run("certificate", self.file(evidence),
                        options.get("key", issuer.key).path, self.file(issuer.certificate), "-",
                        options.get("now", NOW), options.get("days", 30), output, status=1)
        assert said.startswith(f"error {code} ") and reason in said, said
        assert not output.exists()

    def verdict(self, evidence: dict, key: Key, now: int = NOW, days: int = 1,
                claims: dict | None = None) -> str:
        return self.run("verdict", self.file(evidence), self.file(claims or CLAIMS), key.path, now,
                        days).strip()

    def judged(self, jws: str | bytes, trust: Path, now: int = NOW,
               key: Path | None = None) -> dict:
        found = json.loads(self.run("judge", self.file(jws), trust, now, *([key] if key else [])))
        assert all(claim["reason"] for claim in found["claims"].values())
        return found

    def fails(self, jws: str | bytes, trust: Path, reason: str, **options):
        """It is not believed: signed is failed, and nothing else is claimed."""
        found = self.judged(jws, trust, **options)
        assert not found["holds"]
        outcomes = {each: claim["outcome"] for each, claim in found["claims"].items()}
        assert outcomes == {each: "not_claimed" for each in NAMES} | {"signed": "fail"}
        assert reason in found["claims"]["signed"]["reason"]

    def malformed(self, jws: str | bytes, trust: Path, reason: str = "", code: int = MALFORMED):
        said = self.run("judge", self.file(jws), trust, NOW, status=1)
        assert said.startswith(f"error {code} ") and reason in said, said
        assert self.run("read", self.file(jws), status=1).startswith(f"error {code} ")


@pytest.fixture(name="issuing")
def fixture_issuing(make_user) -> Issuing:
    return Issuing(make_user("none"))


# AK certificates, taken apart byte by byte


@dataclasses.dataclass
class Parsed:
    """RFC 5280, 4.1."""

    version: bytes
    serial: bytes
    issuer: bytes
    validity: list
    subject: bytes
    extensions: dict  # by OID in DER: whether critical, and the value


def parse(content: bytes) -> Parsed:
    ((_, outer),) = values(content)
    (_, signed), (_, algorithm), _ = values(outer)
    fields = values(signed)
    assert [tag for tag, _ in fields] == [0xA0, 2, 0x30, 0x30, 0x30, 0x30, 0x30, 0xA3]
    assert fields[2][1] == algorithm, "both AlgorithmIdentifiers are the same"
    extensions = {}
    for _, extension in values(values(fields[7][1])[0][1]):
        parts = values(extension)
        assert len(parts) == 2 or parts[1] == (1, b"\xff"), "DER has no default in it"
        kind = der(6, parts[0][1])
        assert kind not in extensions
        extensions[kind] = (len(parts) == 3, parts[-1][1])
    return Parsed(fields[0][1], fields[1][1], der(0x30, fields[3][1]), values(fields[4][1]),
                  fields[5][1], extensions)


def alt_name_of(*pairs: tuple, ek: Key) -> bytes:
    """Each in an RDN, and the EK's fingerprint behind them, as a PrintableString."""
    rdns = [der(0x31, sequence(oid(kind), der(0x0C, value.encode()))) for kind, value in pairs]
    fingerprint = hashlib.sha256(ek.spki).hexdigest().encode()
    rdns.append(der(0x31, sequence(oid("2.5.4.5"), der(0x13, fingerprint))))
    return sequence(der(0xA4, sequence(*rdns)))


def chain_holds(issuing: Issuing, certificate: bytes, root: bytes, now: int = NOW):
    leaf = issuing.file(pem(certificate))
    openssl("verify", "-x509_strict", "-purpose", "any", "-check_ss_sig", "-attime", now, "-CAfile",
            issuing.file(pem(root)), leaf)


@pytest.mark.parametrize("ak", ["p256", "rsa"])
@pytest.mark.parametrize("kind", SIGNERS)
def test_an_ak_certificate_is_as_rfc_5280_and_the_tcg_have_it(issuing, house, kind, ak):
    issuer, ak_key, ek = house.issuer(kind), house.key(ak, "ak"), house.key("rsa", "ek")
    certificate = issuing.certificate(evidence_by(house, ak_key), issuer)
    chain_holds(issuing, certificate, issuer.certificate)
    found = parse(certificate)
    assert found.version == b"\x02\x01\x02"
    assert len(found.serial) == 16 and 0x40 <= found.serial[0] < 0x80
    assert found.issuer == issuer.name and found.subject == b""
    assert found.extensions == {
        oid(BASIC): (True, sequence()), oid(KEY_USAGE): (True, key_usage(SIGN)),
        oid("2.5.29.37"): (False, sequence(oid(AK_USAGE))),
        oid(ALT_NAME): (True, alt_name_of(ek=ek)),
        oid("2.5.29.35"): (False, sequence(der(0x80, issuer.identifier)))}
    assert [tag for tag, _ in found.validity] == [0x17, 0x17]
    assert found.validity[0][1] == b"260531235900Z" and found.validity[1][1] == b"260701000000Z"
    assert openssl("x509", "-inform", "DER", "-pubkey", "-noout",
                   stdin=certificate) == openssl("pkey", "-in", ak_key.path, "-pubout")
    shown = openssl("x509", "-inform", "DER", "-text", "-noout", stdin=certificate).decode()
    assert re.search(r"2\.23\.133\.8\.3|Attestation Identity Key Certificate", shown)  # newer ones know it
    assert "CA:FALSE" in shown and "Digital Signature" in shown
    assert issuing.run("fault", issuing.file(certificate), NOW) == "none\n"
    assert "expired" in issuing.run("fault", issuing.file(certificate), NOW + 30 * DAY)


def test_another_implementation_reads_the_same_in_a_certificate(issuing, house):
    x509 = pytest.importorskip("cryptography.x509")
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    issuer = house.issuer("p384")
    found = x509.load_der_x509_certificate(issuing.certificate(evidence_by(house), issuer))
    signer = x509.load_der_x509_certificate(issuer.certificate)
    assert found.issuer == signer.subject and found.serial_number > 0
    oids = x509.oid.ExtensionOID
    critical = {each.oid for each in found.extensions if each.critical}
    assert critical == {oids.BASIC_CONSTRAINTS, oids.KEY_USAGE, oids.SUBJECT_ALTERNATIVE_NAME}
    usage = found.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature and not usage.key_cert_sign and not usage.key_encipherment
    key_id = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert key_id.key_identifier == issuer.identifier
    signer.public_key().verify(found.signature, found.tbs_certificate_bytes,
                               ec.ECDSA(found.signature_hash_algorithm))


def test_serial_numbers_are_random(issuing, house):
    evidence, issuer = evidence_by(house), house.issuer()
    serials = {parse(issuing.certificate(evidence, issuer)).serial for _ in range(8)}
    assert len(serials) == 8


def test_a_certificate_is_valid_no_longer_than_its_issuer_s(issuing, house):
    evidence = evidence_by(house)
    short = house.issuer(start="20260531235930Z", end="20260611000000Z")
    certificate = issuing.certificate(evidence, short)
    assert [content for _, content in parse(certificate).validity] == [b"260531235930Z",
                                                                       b"260611000000Z"]
    chain_holds(issuing, certificate, short.certificate)


def test_times_are_written_as_their_years_ask_for(issuing, house):
    """RFC 5280, 4.1.2.5: UTCTime until 2049, GeneralizedTime from 2050 on."""
    evidence, issuer = evidence_by(house), house.issuer()
    late = seconds("20491220120000Z")
    for now, days, tags in ((late, 5, [0x17, 0x17]), (late, 30, [0x17, 0x18]),
                            (late + 30 * DAY, 30, [0x18, 0x18])):
        certificate = issuing.certificate(evidence, issuer, now=now, days=days)
        assert [tag for tag, _ in parse(certificate).validity] == tags
        chain_holds(issuing, certificate, issuer.certificate, now)


def test_an_issuer_without_a_key_identifier_is_named_by_its_key(issuing, house):
    issuer = house.issuer(extensions={BASIC: (True, sequence(der(1, b"\xff"))),
                                      KEY_USAGE: (True, key_usage(CERT_SIGN))})
    certificate = issuing.certificate(evidence_by(house), issuer)
    own = hashlib.sha1(issuer.key.bits).digest()
    assert parse(certificate).extensions[oid("2.5.29.35")] == (False, sequence(der(0x80, own)))
    openssl("verify", "-attime", NOW, "-CAfile", issuing.file(pem(issuer.certificate)),
            issuing.file(pem(certificate)))


# Who may issue


def test_who_is_no_authority_issues_no_certificates(issuing, house):
    evidence = evidence_by(house)
    for extensions in ({BASIC: (True, sequence())}, {},
                       {BASIC: (True, sequence(der(1, b"\xff"))),
                        KEY_USAGE: (True, key_usage(SIGN))},
                       {BASIC: (True, der(4, b""))}):
        issuing.refused(UNSUPPORTED, "certification authority", evidence,
                        house.issuer(extensions=extensions))


def test_an_issuer_signs_with_its_own_key_and_in_its_time(issuing, house):
    evidence = evidence_by(house)
    issuing.refused(UNSUPPORTED, "not of the issuer's key", evidence, house.issuer(),
                    key=house.key("p256", "other"))
    issuing.refused(UNSUPPORTED, "not of the issuer's key", evidence, house.issuer(),
                    key=house.key("rsa", "issuer"))
    issuing.refused(UNSUPPORTED, "is expired", evidence, house.issuer(end="20260101000000Z"))
    issuing.refused(UNSUPPORTED, "is not valid yet", evidence,
                    house.issuer(start="20270101000000Z"))
    issuing.refused(UNSUPPORTED, "has no subject", evidence, house.issuer(subject=name()))


@pytest.mark.parametrize("kind", ["p521", "rsa1024"])
def test_keys_of_other_kinds_sign_nothing(issuing, house, kind):
    issuing.refused(UNSUPPORTED, "none of P-256", evidence_by(house), house.issuer(kind))
    said = issuing.run("verdict", issuing.file(evidence_by(house)), issuing.file(CLAIMS),
                       house.key(kind, "issuer").path, NOW, 1, status=1)
    assert said.startswith(f"error {UNSUPPORTED} ")


def test_a_public_key_issues_nothing(issuing, house):
    issuer = house.issuer()
    public = copy.copy(issuer.key)
    public.path = issuing.file(openssl("pkey", "-in", issuer.key.path, "-pubout"))
    issuing.refused(INTERNAL, "cannot sign", evidence_by(house), issuer, key=public)


def test_days_are_bounded(issuing, house):
    evidence, key = evidence_by(house), house.key("p256", "issuer")
    for days in (0, 3651, 2**31, 2**32 - 1):
        issuing.refused(USAGE, "1 to 3650 days", evidence, house.issuer(), days=days)
        said = issuing.run("verdict", issuing.file(evidence), issuing.file(CLAIMS), key.path, NOW,
                           days, status=1)
        assert said.startswith(f"error {USAGE} ")
    issuing.certificate(evidence, house.issuer(), days=3650)


def test_only_an_ak_that_was_activated_gets_a_certificate(issuing, house):
    for evidence in (evidence_by(house, direct=True), evidence_by(house, unbound=True)):
        issuing.refused(UNSUPPORTED, "lct:alice: the evidence has no AK that its TPM activated",
                        evidence, house.issuer())
    other = evidence_by(house)
    other["challenge"]["ek"] = name_of(house.key("p256", "other").public_area()).hex()
    issuing.refused(UNSUPPORTED, "no AK that its TPM activated", other, house.issuer())


@pytest.mark.parametrize("kind", SIGNERS)
def test_what_a_fault_made_is_not_given_out(issuing, house, kind):
    """A wrong signature of RSA's tells of the private key."""
    issuer = house.issuer(kind)
    said = issuing.run("liar", issuing.file(evidence_by(house)), issuing.file(CLAIMS),
                       issuer.key.path, issuing.file(issuer.certificate), NOW)
    assert said.count(f"error {INTERNAL} ") == said.count("does not verify") == 2


# What a certificate says of the TPM


def tpm_names(issuing: Issuing, house: House, trust, root=None, **changes) -> bytes:
    ek = house.key("rsa", "ek")
    certificate = (root or house.root).sign(ek_certificate(ek, **changes))
    evidence = evidence_by(house, certificate=certificate)
    found = parse(issuing.certificate(evidence, house.issuer(), trust))
    critical, content = found.extensions[oid(ALT_NAME)]
    assert critical
    return content


INTEL = ((MAKER, "id:494E5443"), (MODEL, "Model 1"), (VERSION, "id:00020000"))


def test_maker_model_and_version_come_from_an_ek_certificate_that_is_trusted(issuing, house):
    ek = house.key("rsa", "ek")
    everything = alt_name_of(*INTEL, ek=ek)
    nothing = alt_name_of(ek=ek)
    fingerprint = hashlib.sha256(ek.spki).hexdigest()
    assert tpm_names(issuing, house, issuing.roots(house.root)) == everything
    assert tpm_names(issuing, house, issuing.roots(house.root, ek_keys=[fingerprint])) == everything
    assert tpm_names(issuing, house, "-") == nothing


def test_what_nobody_vouches_for_is_not_certified(issuing, house):
    """Beside an EK that is known by its key, anybody can put a certificate of any maker's."""
    ek = house.key("rsa", "ek")
    nothing, fingerprint = alt_name_of(ek=ek), hashlib.sha256(ek.spki).hexdigest()
    impostor = Authority(house.key("p256", "impostor"), "Root")
    for trust in (issuing.trust(ek_keys=[fingerprint]),
                  issuing.roots(impostor, ek_keys=[fingerprint])):
        assert tpm_names(issuing, house, trust) == nothing
    assert tpm_names(issuing, house, issuing.roots(house.root), root=impostor) == nothing


@pytest.mark.parametrize("model", ["Modèl", "M\u202e", "M" * 65, "a\nb", "\x7f"])
def test_what_is_not_short_and_printable_is_left_out(issuing, house, model):
    ek = house.key("rsa", "ek")
    pairs = (INTEL[0], (MODEL, model), INTEL[2])
    usual = ek_certificate(ek).extensions
    found = tpm_names(issuing, house, issuing.roots(house.root),
                      extensions=usual | {ALT_NAME: (True, alt_name(*((pair,) for pair in pairs)))})
    assert found == alt_name_of(INTEL[0], INTEL[2], ek=ek)


def test_values_in_one_rdn_come_apart_and_others_are_left_out(issuing, house):
    ek = house.key("rsa", "ek")
    more = INTEL + (("2.5.4.10", "Somebody Else"),)
    usual = ek_certificate(ek).extensions
    found = tpm_names(issuing, house, issuing.roots(house.root),
                      extensions=usual | {ALT_NAME: (True, alt_name(more))})
    assert found == alt_name_of(*INTEL, ek=ek)


# Signed verdicts


def payload_of(jws: str) -> dict:
    return json.loads(to_bytes(jws.split(".")[1]))


def header_of(key: Key, **changes) -> dict:
    return {"alg": JOSE[key.kind][0], "kid": hashlib.sha256(key.spki).hexdigest(),
            "typ": "lct-verdict+jws"} | changes


def signature_of(message: bytes, key: Key) -> bytes:
    _, digest, size = JOSE[key.kind]
    made = key.sign(message, digest)
    if not size:
        return made
    return b"".join(int.from_bytes(number).to_bytes(size)
                    for _, number in values(values(made)[0][1]))


def encode(header: dict | str, payload: dict | bytes, key: Key) -> str:
    """A JWS of whatever it is, signed well."""
    if isinstance(header, dict):
        header = json.dumps(header)
    if isinstance(payload, dict):
        payload = json.dumps(payload).encode()
    message = f"{to_text(header.encode())}.{to_text(payload)}"
    return f"{message}.{to_text(signature_of(message.encode(), key))}"


@pytest.fixture(name="payload")
def fixture_payload(issuing, house) -> dict:
    return payload_of(issuing.verdict(evidence_by(house), house.key("p256", "issuer")))


@pytest.fixture(name="trust")
def fixture_trust(issuing, house) -> Path:
    return issuing.trusted(house.key("p256", "issuer"))


@pytest.mark.parametrize("kind", [*SIGNERS, "rsa4096"])
def test_a_signed_verdict_says_what_was_found_and_when(issuing, house, kind):
    evidence, key = evidence_by(house), house.key(kind, "issuer")
    jws = issuing.verdict(evidence, key, days=2)
    assert json.loads(to_bytes(jws.split(".")[0])) == header_of(key)
    area = ak_area(house.key("p256", "key"), KEY)
    plain = json.dumps(evidence, sort_keys=True, separators=(",", ":")).encode()
    assert payload_of(jws) == {
        "type": "lct-attestation-verdict", "version": 1, "issued": "2026-06-01T00:00:00Z",
        "expires": "2026-06-03T00:00:00Z", "id": "alice", "generation": 3,
        "key": to_text(sized(area)),
        "name": name_of(area).hex(), "ak": name_of(ak_area(house.key("p256", "ak"))).hex(),
        "ek": hashlib.sha256(house.key("rsa", "ek").spki).hexdigest(), "challenge": "a1" * 16,
        "evidence": hashlib.sha256(plain).hexdigest(), "claims": CLAIMS}
    found = issuing.judged(jws, issuing.trusted(key))
    kid = hashlib.sha256(key.spki).hexdigest()
    assert found["holds"] and found["issuer"] == kid and found["id"] == "alice"
    outcomes = {each: claim["outcome"] for each, claim in found["claims"].items()}
    assert outcomes == {each: CLAIMS[each]["outcome"] for each in NAMES} | {
        "fresh": "not_claimed", "key_usable_now": "not_claimed"}
    assert found["claims"]["sealed"]["reason"] == (
        f"issuer {kid[:16]} at 2026-06-01T00:00:00Z: it is not sealed")
    assert kid in found["claims"]["signed"]["reason"]
    assert "2026-06-01" in found["claims"]["fresh"]["reason"]


@pytest.mark.parametrize("kind", SIGNERS)
def test_another_implementation_verifies_a_signed_verdict(issuing, house, kind):
    jwk, jws = pytest.importorskip("jwcrypto.jwk"), pytest.importorskip("jwcrypto.jws")
    key = house.key(kind, "issuer")
    token = issuing.verdict(evidence_by(house), key)
    public = jwk.JWK.from_pem(openssl("pkey", "-in", key.path, "-pubout"))
    read = jws.JWS()
    read.allowed_algs = [JOSE[kind][0]]
    read.deserialize(token, public)
    assert json.loads(read.payload)["claims"] == CLAIMS


def test_the_same_is_taken_from_another_implementation(issuing, house, payload, trust):
    jwk, jws = pytest.importorskip("jwcrypto.jwk"), pytest.importorskip("jwcrypto.jws")
    key = house.key("p256", "issuer")
    made = jws.JWS(json.dumps(payload))
    made.add_signature(jwk.JWK.from_pem(key.path.read_bytes()), None, json.dumps(header_of(key)))
    assert issuing.judged(made.serialize(compact=True), trust)["holds"]


def test_the_forger_s_jws_would_hold_if_it_were_right(issuing, house, payload, trust):
    """So that each refusal below is for its one reason."""
    key = house.key("p256", "issuer")
    good = encode(header_of(key), payload, key)
    assert issuing.judged(good, trust)["holds"]
    assert issuing.judged(good + "\n", trust)["holds"]


def test_a_verdict_of_the_direct_mode_names_no_ak_and_one_by_a_certificate_no_ek(issuing, house):
    key = house.key("p256", "issuer")
    direct = issuing.verdict(evidence_by(house, direct=True), key)
    assert payload_of(direct)["ak"] is None and payload_of(direct)["ek"]
    unbound = issuing.verdict(evidence_by(house, unbound=True), key)
    assert payload_of(unbound)["ek"] is None and payload_of(unbound)["ak"]
    for jws, missing in ((direct, "ak"), (unbound, "ek")):
        assert issuing.judged(jws, issuing.trusted(key))[missing] == ""


def test_reading_one_believes_nothing(issuing, house):
    stranger = house.key("p256", "stranger")
    jws = issuing.verdict(evidence_by(house), stranger)
    assert json.loads(issuing.run("read", issuing.file(jws)))["claims"] == CLAIMS
    cut = jws[:-4] + "AAAA"
    assert json.loads(issuing.run("read", issuing.file(cut)))["claims"] == CLAIMS


# Who says so, and when


def test_a_verdict_by_whom_nobody_trusts_claims_nothing(issuing, house, trust):
    stranger = house.key("p256", "stranger")
    jws = issuing.verdict(evidence_by(house), stranger)
    issuing.fails(jws, trust, "no issuer of verdicts that is trusted")
    issuing.fails(jws, issuing.trust(), "no issuer of verdicts that is trusted")
    issuing.fails(jws, issuing.roots(house.root), "no issuer of verdicts that is trusted")
    assert issuing.judged(jws, issuing.trusted(house.key("rsa", "issuer"), stranger))["holds"]


def test_a_verdict_in_another_s_name_claims_nothing(issuing, house, payload, trust):
    key, stranger = house.key("p256", "issuer"), house.key("p256", "stranger")
    issuing.fails(encode(header_of(key), payload, stranger), trust, "is not by the issuer")
    both = issuing.trusted(key, stranger)
    issuing.fails(encode(header_of(key), payload, stranger), both, "is not by the issuer")
    issuing.fails(encode(header_of(stranger), payload, key), both, "is not by the issuer")


def test_a_certificate_s_key_is_trusted_while_the_certificate_is_valid(issuing, house):
    issuer = house.issuer(start="20260101000000Z", end="20260601120000Z")
    trust = issuing.trust(verdict_issuers=[str(issuing.file(pem(issuer.certificate)))])
    jws = issuing.verdict(evidence_by(house), issuer.key)
    assert issuing.judged(jws, trust, now=NOW + 60)["holds"]
    issuing.fails(jws, trust, "no issuer of verdicts that is trusted", now=NOW + DAY // 2 + 60)


def test_a_verdict_has_its_time(issuing, house, trust):
    jws = issuing.verdict(evidence_by(house), house.key("p256", "issuer"))
    for now in (NOW - MINUTE, NOW, NOW + DAY - 1):
        assert issuing.judged(jws, trust, now=now)["holds"]
    for now in (NOW - MINUTE - 1, NOW - 10 * DAY):
        issuing.fails(jws, trust, "a time that has not come", now=now)
    for now in (NOW + DAY, NOW + 1000 * DAY):
        issuing.fails(jws, trust, "it is expired", now=now)


def test_a_day_that_is_none_is_no_time(issuing, house, payload, trust):
    key = house.key("p256", "issuer")
    for member in ("issued", "expires"):
        changed = payload | {member: "2026-02-30T00:00:00Z"}
        issuing.fails(encode(header_of(key), changed, key), trust, "its times are none")


def test_a_verdict_of_another_key_is_not_one_of_this(issuing, house, trust):
    jws = issuing.verdict(evidence_by(house), house.key("p256", "issuer"))
    assert issuing.judged(jws, trust, key=house.key("p256", "key").path)["holds"]
    found = issuing.judged(jws, trust, key=house.key("p256", "other").path)
    outcomes = {each: claim["outcome"] for each, claim in found["claims"].items()}
    assert not found["holds"]
    assert outcomes == {each: "not_claimed" for each in NAMES} | {"signed": "pass",
                                                                  "key_resident": "fail"}
    assert not issuing.judged(jws, trust, key=house.key("rsa", "other").path)["holds"]


@pytest.mark.parametrize("claim", NAMES)
def test_what_the_issuer_found_failed_stays_failed(issuing, house, trust, claim):
    claims = CLAIMS | {claim: {"outcome": "fail", "reason": "it is bad"}}
    jws = issuing.verdict(evidence_by(house), house.key("p256", "issuer"), claims=claims)
    found = issuing.judged(jws, trust)
    if claim in ("fresh", "key_usable_now"):
        assert found["claims"][claim]["outcome"] == "not_claimed"
        return
    assert not found["holds"] and found["claims"][claim]["outcome"] == "fail"
    assert found["claims"][claim]["reason"].endswith("it is bad")


# The header


def test_the_algorithm_is_the_key_s_and_not_the_header_s(issuing, house, payload, trust):
    """RFC 8725, 2.1: "none", and a public key that is taken for an HMAC's secret."""
    key = house.key("p256", "issuer")
    for alg in ("none", "None", "HS256", "ES384", "RS256", "PS256", "es256", ""):
        issuing.fails(encode(header_of(key, alg=alg), payload, key), trust, "is not by the issuer")
    parts = encode(header_of(key, alg="none"), payload, key).split(".")
    issuing.fails(f"{parts[0]}.{parts[1]}.", trust, "is not by the issuer")
    message = encode(header_of(key, alg="HS256"), payload, key).rpartition(".")[0]
    public = openssl("pkey", "-in", key.path, "-pubout")
    for secret in (public, key.spki, key.bits):
        mac = hmac.new(secret, message.encode(), hashlib.sha256).digest()
        issuing.fails(f"{message}.{to_text(mac)}", trust, "is not by the issuer")


def test_a_signature_is_in_jose_s_form_alone(issuing, house, payload, trust):
    key = house.key("p256", "issuer")
    message, _, signature = encode(header_of(key), payload, key).rpartition(".")
    raw = to_bytes(signature)
    for other in (key.sign(message.encode(), "sha256"), raw + b"\0", b"\0" + raw, raw[:-1],
                  b"\0" * 64, b"", raw[32:] + raw[:32], raw[:32] + b"\0" + raw[32:]):
        issuing.fails(f"{message}.{to_text(other)}", trust, "is not by the issuer")
    rsa = house.key("rsa", "issuer")
    message, _, signature = encode(header_of(rsa), payload, rsa).rpartition(".")
    for other in (to_bytes(signature)[:-1], b"\0" + to_bytes(signature), bytes(256), bytes(512)):
        issuing.fails(f"{message}.{to_text(other)}", issuing.trusted(rsa), "is not by the issuer")
    issuing.malformed(f"{message}.{to_text(bytes(513))}", trust)


def test_a_header_has_its_three_members_and_no_other(issuing, house, payload, trust):
    key = house.key("p256", "issuer")
    good = header_of(key)
    jwk = {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}
    bad = [good | more for more in (
        {"crit": ["b64"], "b64": False}, {"crit": []}, {"jwk": jwk}, {"jku": "http://localhost/"},
        {"x5c": []}, {"cty": "json"}, {"alg": 256}, {"alg": None}, {"kid": None}, {"typ": []},
        {"alg": "E" * 16}, {"kid": "a" * 129}, {"typ": "t" * 65}, {"kid": "Ü"})]
    bad += [{each: good[each] for each in good if each != missing} for missing in good]
    bad += [json.dumps(good)[:-1] + ', "alg": "ES256"}', json.dumps(good) + "{}", "", "[]", "null",
            json.dumps([good]), "{" * 100, "\ufeff" + json.dumps(good),
            json.dumps(good).replace("ES256", "ES256\\u0000"), json.dumps(good) + " " * 1024]
    for header in bad:
        issuing.malformed(encode(header, payload, key), trust, "\"alg\", \"kid\" and \"typ\" alone")
    for changed, reason in (({"typ": "JWT"}, "\"typ\""), ({"typ": "LCT-verdict+jws"}, "\"typ\""),
                            ({"kid": good["kid"].upper()}, "\"kid\""), ({"kid": ""}, "\"kid\""),
                            ({"kid": good["kid"][:-2]}, "\"kid\"")):
        issuing.malformed(encode(good | changed, payload, key), trust, reason)


# The whole and its encoding


def test_there_are_three_parts_in_canonical_base64url(issuing, house, payload, trust):
    key = house.key("p256", "issuer")
    good = ""
    while "-" not in good and "_" not in good:
        good = encode(header_of(key), payload, key)
    header, body, signature = good.split(".")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    loose = signature[:-1] + last[last.index(signature[-1]) + 1]
    assert to_bytes(loose) == to_bytes(signature), "the same bytes, written in another way"
    for bad in ("", ".", "..", "...", header, f"{header}.{body}", f"{good}.", f".{good}",
                f"{good}.{signature}", f"{header}.{body}.{loose}", f"{header}.{body}.{signature}=",
                f"{header}=.{body}.{signature}", f"{header}.{body}\n.{signature}", f" {good}",
                f"{good}\n\n", f"{good}\r\n", f"{good} ", f"{good}\0", good.replace(".", " ."),
                f"{header}.{body[:8]}\0{body[8:]}.{signature}", f"{header[:-1]}.{body}.{signature}",
                f"{header}..{signature}", json.dumps({"payload": body, "signatures": []}),
                json.dumps(payload), json.dumps(evidence_by(house)), pem(b"x").decode()):
        issuing.malformed(bad, trust)
    while "-" not in good and "_" not in good:  # each signature is another
        good = encode(header_of(key), payload, key)
    issuing.malformed(good.replace("-", "+").replace("_", "/"), trust)


def test_huge_ones_are_refused_before_they_are_read(issuing, house, payload, trust):
    key = house.key("p256", "issuer")
    message = encode(header_of(key), payload, key)
    for huge in ("A" * 65537, "." * 100000, message + "A" * 65536, "A" * 1000000):
        issuing.malformed(huge, trust)
    deep = b'{"type": ' + b"[" * 20000 + b"]" * 20000 + b"}"
    issuing.malformed(encode(header_of(key), deep, key), trust)


@pytest.mark.parametrize("kind", SIGNERS)
def test_every_bit_and_every_character_of_a_jws_counts(issuing, house, kind):
    key = house.key(kind, "issuer")
    jws = issuing.verdict(evidence_by(house), key)
    trust = issuing.trusted(key)
    held, tried = map(int, issuing.run("change", issuing.file(jws), trust, NOW).split())
    assert held == 0 and tried == 10 * len(jws)


# The payload


def test_a_payload_has_its_members_and_no_other(issuing, house, payload, trust):
    key = house.key("p256", "issuer")
    other = name_of(ak_area(house.key("p256", "other"), KEY)).hex()
    bad = [{each: payload[each] for each in payload if each != missing} for missing in payload]
    bad += [payload | changed for changed in (
        {"more": 1}, {"type": "lct-attestation-evidence"}, {"version": "1"}, {"version": None},
        {"issued": "2026-06-01"}, {"issued": NOW}, {"expires": None}, {"id": ""}, {"id": 5},
        {"id": "a" * 129}, {"id": "a\x1b[2J"}, {"id": "Ü"}, {"generation": 0}, {"generation": -1},
        {"generation": 2**31}, {"generation": 2**32 + 1}, {"generation": "1"}, {"generation": 1.0},
        {"name": other}, {"name": payload["name"].upper()}, {"name": ""}, {"key": ""},
        {"key": payload["key"][:-4]}, {"key": to_text(b"x" * 2000)}, {"ak": ""}, {"ak": "xy"},
        {"ek": ""}, {"ek": "00"}, {"ek": 7}, {"challenge": "a1"}, {"challenge": None},
        {"evidence": "a1" * 31}, {"evidence": None}, {"claims": None}, {"claims": []})]
    for changed in bad:
        issuing.malformed(encode(header_of(key), changed, key), trust)
    text = json.dumps(payload)
    for content in (text[:-1] + ', "id": "bob"}', text + "x", text[:-1], "", "[]", "null",
                    json.dumps([payload]), text.replace("alice", "al\\u0000ice"),
                    text.replace("alice", "al\udcffice")):
        issuing.malformed(encode(header_of(key), content.encode(errors="surrogateescape"), key),
                          trust)
    issuing.malformed(encode(header_of(key), payload | {"version": 2}, key), trust, "version 2",
                      UNSUPPORTED)


def test_claims_are_all_there_and_of_known_outcomes(issuing, house, payload, trust):
    key = house.key("p256", "issuer")
    passed = {"outcome": "pass", "reason": "it is"}
    bad = [{each: CLAIMS[each] for each in NAMES if each != missing} for missing in NAMES]
    bad += [CLAIMS | changed for changed in (
        {"more": passed}, {"signed": "pass"}, {"signed": None}, {"signed": {"outcome": "pass"}},
        {"signed": passed | {"more": 1}}, {"signed": passed | {"outcome": "passed"}},
        {"signed": passed | {"outcome": 1}}, {"signed": passed | {"outcome": ""}},
        {"signed": passed | {"reason": "r" * 256}}, {"signed": passed | {"reason": "a\nb"}},
        {"signed": passed | {"reason": "Ü"}}, {"signed": passed | {"reason": None}})]
    for claims in bad:
        assert issuing.run("claims", issuing.file(claims), status=1) == "malformed\n"
        issuing.malformed(encode(header_of(key), payload | {"claims": claims}, key), trust,
                          "its claims")
    assert json.loads(issuing.run("claims", issuing.file(CLAIMS))) == CLAIMS
    longest = copy.deepcopy(CLAIMS) | {"sealed": {"outcome": "pass", "reason": "r" * 255}}
    assert json.loads(issuing.run("claims", issuing.file(longest))) == longest
    jws = encode(header_of(key), payload | {"claims": longest}, key)
    found = issuing.judged(jws, trust)
    assert found["holds"] and len(found["claims"]["sealed"]["reason"]) == 255
