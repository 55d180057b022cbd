# SPDX-License-Identifier: Apache-2.0
"""What a verifier believes of endorsement keys and attestation keys, by the trust file it has."""

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from conftest import ROOT
from keyfile import der
from sealing import openssl
from tpm import SLOWER, wait_for
from x509 import (AGREE, AK_USAGE, ALT_NAME, BASIC, EK_USAGE, ENCIPHER, EXT_USAGE, KEY_USAGE, MAKER,
                  MODEL, SIGN, VERSION, Authority, Certificate, Key, Keys, alt_name, common_name,
                  ek_certificate, key_usage, name, oid, pem, seconds, sequence)

VECTORS = ROOT.parent / "shared" / "vectors"
NOW = "20260601000000Z"
PAST, FUTURE = "20260101000000Z", "20270101000000Z"
CONFIG = 8
# TPMA_OBJECT, TPM 2.0 Part 2, 8.3.
FIXED_TPM, FIXED_PARENT, ORIGIN, DUPLICATION = 2, 0x10, 0x20, 0x800
RESTRICTED, DECRYPT, SIGNS = 0x10000, 0x20000, 0x40000
EK_ATTRIBUTES = 0x300B2
SHA1, SHA3_256, NULL, CAMELLIA = 4, 0x27, 0x10, 0x26
SWTPM = "00001014"
NO_WAY = "chains to none that is trusted"


def fingerprint(key: Key) -> str:
    return hashlib.sha256(key.spki).hexdigest()


class House(Keys):
    """Keys and the authorities that makers and attackers have."""

    def __init__(self, directory: Path):
        super().__init__(directory)
        self.root = Authority(self.key("p256", "root"), "Root")
        self.impostor = Authority(self.key("p256", "impostor"), "Root")
        self.middle = Authority(self.key("rsa", "middle"), "Middle", self.root)
        self.lower = Authority(self.key("p384", "lower"), "Lower", self.middle)


@pytest.fixture(scope="module", name="house")
def fixture_house(tmp_path_factory):
    return House(tmp_path_factory.mktemp("house"))


class Judge:
    """The program, a directory with its trust file, and what it says."""

    def __init__(self, user):
        self.user = user
        self.program = user.build / "tests" / "trust"
        self.count = 0

    def file(self, content: bytes | None) -> str:
        if content is None:
            return "-"
        self.count += 1
        return str(self.user.write(f"{self.count}.bin", content))

    def trust(self, **members) -> Path:
        return self.user.write("trust.json", json.dumps({"version": 1} | members))

    def root(self, *authorities: Authority, label: str = "root.pem") -> str:
        self.user.write(label, b"".join(pem(authority.certificate) for authority in authorities))
        return label

    def ask(self, trust: Path, *lines: str) -> list[str]:
        done = self.user.run(self.program, trust, stdin="".join(f"{line}\n" for line in lines))
        return done.stdout.splitlines()

    def line(self, word: str, public: bytes, certificate: bytes | None, *issuers: bytes,
             now: str = NOW) -> str:
        files = [self.file(public), self.file(certificate)]
        return " ".join([word, *files, str(seconds(now)), *map(self.file, issuers)])

    def said(self, trust: Path, *given, word: str = "ek", **options) -> str:
        (answer,) = self.ask(trust, self.line(word, *given, **options))
        return answer

    def passes(self, *given, **options) -> str:
        answer = self.said(*given, **options)
        assert answer.startswith("pass "), answer
        return answer

    def fails(self, reason: str, *given, **options) -> str:
        answer = self.said(*given, **options)
        assert answer.startswith("fail ") and reason in answer, answer
        return answer

    def refuses(self, trust: Path, *reasons: str) -> str:
        """The trust file itself."""
        (answer,) = self.ask(trust)
        assert answer.startswith(f"error {CONFIG} "), answer
        assert not [reason for reason in reasons if reason not in answer], answer
        assert len(answer) < 600 and "\n" not in answer
        return answer


@pytest.fixture(name="judge")
def fixture_judge(make_user) -> Judge:
    return Judge(make_user("none"))


@pytest.fixture(name="trust")
def fixture_trust(judge, house) -> Path:
    """A trust file with the root alone."""
    return judge.trust(ek_roots=[judge.root(house.root)])


def changed(certificate: Certificate, **extensions) -> Certificate:
    """With other extensions; None: without that one."""
    kinds = {"basic": BASIC, "usage": KEY_USAGE, "extended": EXT_USAGE, "alt": ALT_NAME}
    those = dict(certificate.extensions)
    for short, value in extensions.items():
        if value is None:
            those.pop(kinds[short])
        else:
            those[kinds[short]] = value
    return dataclasses.replace(certificate, extensions=those)


def san(maker="id:494E5443", model="Model 1", version="id:00020000", together=False) -> bytes:
    pairs = [(MAKER, maker), (MODEL, model), (VERSION, version)]
    pairs = [pair for pair in pairs if pair[1] is not None]
    return alt_name(tuple(pairs)) if together else alt_name(*((pair,) for pair in pairs))


# What passes


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "p521"])
def test_an_ek_of_each_kind_passes_with_its_certificate_under_a_root(judge, house, trust, kind):
    key = house.key(kind)
    certificate = house.root.sign(ek_certificate(key))
    answer = judge.passes(trust, key.public_area(), certificate)
    assert "Intel (INTC)" in answer and "Root" in answer


def test_issuers_on_the_way_are_taken_in_any_order(judge, house, trust):
    key = house.key("p256")
    certificate = house.lower.sign(ek_certificate(key))
    way = [house.lower.certificate, house.middle.certificate, house.impostor.certificate]
    judge.passes(trust, key.public_area(), certificate, *way)
    judge.passes(trust, key.public_area(), certificate, *reversed(way))
    one = house.middle.sign(ek_certificate(key))
    judge.passes(trust, key.public_area(), one, house.middle.certificate)


def test_an_intermediate_one_can_be_trusted_without_its_root(judge, house):
    trust = judge.trust(ek_roots=[judge.root(house.lower)])
    key = house.key("p256")
    judge.passes(trust, key.public_area(), house.lower.sign(ek_certificate(key)))


@pytest.mark.parametrize("together", [False, True])
def test_maker_model_and_version_are_in_one_rdn_or_in_three(judge, house, trust, together):
    key = house.key("p256")
    certificate = changed(ek_certificate(key), alt=(True, san("id:53544d20", together=together)))
    assert "STMicroelectronics (STM)" in judge.passes(trust, key.public_area(),
                                                      house.root.sign(certificate))


def test_a_name_that_is_not_critical_is_taken_beside_a_subject(judge, house, trust):
    key = house.key("p256")
    certificate = changed(ek_certificate(key, subject=common_name("a TPM")), alt=(False, san()))
    judge.passes(trust, key.public_area(), house.root.sign(certificate))


def test_a_certificate_holds_until_the_year_9999(judge, house, trust):
    key = house.key("p256")
    certificate = house.root.sign(ek_certificate(key))
    judge.passes(trust, key.public_area(), certificate, now="99991231235900Z")
    judge.passes(trust, key.public_area(), certificate, now="20380120000000Z")
    judge.fails("is not valid yet", trust, key.public_area(), certificate, now="20191231235959Z")


def test_an_rsa_key_may_be_named_by_oaep(judge, house, trust):
    key = house.key("rsa")
    label, certificate = oid("1.2.840.113549.1.1.7"), ek_certificate(key)
    algorithm = sequence(label, sequence())
    named = dataclasses.replace(certificate, spki=sequence(algorithm, der(3, b"\0" + key.bits)))
    judge.passes(trust, key.public_area(), house.root.sign(named))
    judge.passes(trust, key.public_area(), house.middle.sign(named), house.middle.certificate)
    judge.fails("was not signed by who it says", trust, key.public_area(),
                house.impostor.sign(named))
    given = key.public_area(), house.root.sign(named)
    assert judge.ask(trust, judge.line("cut", *given), judge.line("flip", *given)) == ["0", "0"]
    other = house.key("rsa", "middle")
    judge.fails("another key", trust, other.public_area(), house.root.sign(named))
    judge.fails("too weak a hash", trust, key.public_area(), house.root.sign(named, "sha1"))
    judge.fails(NO_WAY, trust, key.public_area(), house.middle.sign(named))
    expired = dataclasses.replace(named, end=PAST)
    judge.fails("is expired", trust, key.public_area(), house.root.sign(expired))


def test_a_public_area_may_say_its_own_size_and_more_attributes_than_an_ek_needs(judge, house,
                                                                                trust):
    key = house.key("p384")
    certificate = house.root.sign(ek_certificate(key))
    area = key.public_area(attributes=EK_ATTRIBUTES | 0x40 | 0x400)
    judge.passes(trust, len(area).to_bytes(2) + area, certificate)


# The chain


def test_a_certificate_by_another_root_of_the_same_name_fails(judge, house, trust):
    key = house.key("p256")
    judge.fails("was not signed by who it says", trust, key.public_area(),
                house.impostor.sign(ek_certificate(key)))


def test_a_certificate_by_an_unknown_root_fails_though_it_is_sent_along(judge, house, trust):
    key = house.key("p256")
    stranger = Authority(house.key("p256", "stranger"), "Stranger")
    certificate = stranger.sign(ek_certificate(key))
    judge.fails(NO_WAY, trust, key.public_area(), certificate)
    judge.fails(NO_WAY, trust, key.public_area(), certificate, stranger.certificate)


def test_without_a_root_no_certificate_passes(judge, house):
    key = house.key("p256")
    judge.fails("no root of a TPM maker is trusted", judge.trust(), key.public_area(),
                house.root.sign(ek_certificate(key)))


def test_a_root_that_is_sent_along_is_not_trusted_for_that(judge, house):
    key = house.key("p256")
    judge.fails("no root", judge.trust(), key.public_area(), house.root.sign(ek_certificate(key)),
                house.root.certificate)


def test_those_who_issue_ak_certificates_are_no_roots_of_eks(judge, house):
    key = house.key("p256")
    trust = judge.trust(ak_issuers=[judge.root(house.root)])
    judge.fails("no root", trust, key.public_area(), house.root.sign(ek_certificate(key)))


def test_a_missing_intermediate_fails(judge, house, trust):
    key = house.key("p256")
    certificate = house.lower.sign(ek_certificate(key))
    judge.fails(NO_WAY, trust, key.public_area(), certificate)
    judge.fails(NO_WAY, trust, key.public_area(), certificate, house.middle.certificate)
    assert "Lower" in judge.fails(NO_WAY, trust, key.public_area(), certificate,
                                  house.lower.certificate)


@pytest.mark.parametrize("times, reason", [({"end": PAST}, "is expired"),
                                           ({"start": FUTURE}, "is not valid yet")])
def test_each_certificate_of_the_chain_is_valid_at_the_time(judge, house, trust, times, reason):
    key = house.key("p256")
    judge.fails(f"the certificate {reason}", trust, key.public_area(),
                house.root.sign(ek_certificate(key, **times)))
    untimely = Authority(house.key("p256", "untimely"), "Untimely", house.root, **times)
    certificate = untimely.sign(ek_certificate(key))
    answer = judge.fails(reason, trust, key.public_area(), certificate, untimely.certificate)
    assert "Untimely" in answer
    anchor = judge.trust(ek_roots=[judge.root(untimely)])
    judge.fails(reason, anchor, key.public_area(), certificate)
    before, after = "20250601000000Z", "20280601000000Z"
    judge.passes(anchor, key.public_area(), certificate, now=before if "end" in times else after)


def test_an_issuer_that_is_no_authority_fails(judge, house, trust):
    key, other = house.key("p256"), house.key("p256", "untimely")
    leaf = Authority(other, "Leaf", house.root, extensions=ek_certificate(other).extensions)
    judge.fails("is that of no certification authority", trust, key.public_area(),
                leaf.sign(ek_certificate(key)), leaf.certificate)


def test_an_issuer_whose_issuer_allows_it_none_fails(judge, house, trust):
    """A path length of 0: that authority issues for no other authority."""
    key = house.key("p256")
    short = Authority(house.key("p256", "short"), "Short", house.root)
    extensions = changed(Certificate(b"", b"", {}),
                         basic=(True, sequence(der(1, b"\xff"), der(2, b"\0")))).extensions
    bound = Authority(house.key("p256", "short"), "Short", house.root, added=extensions)
    below = Authority(house.key("p256", "below"), "Below", short)
    certificate = below.sign(ek_certificate(key))
    judge.passes(trust, key.public_area(), certificate, below.certificate, short.certificate)
    judge.passes(trust, key.public_area(), bound.sign(ek_certificate(key)), bound.certificate)
    judge.fails("path length", trust, key.public_area(), certificate, below.certificate,
                bound.certificate)


def test_weak_hashes_and_weak_issuers_fail(judge, house, trust):
    key = house.key("p256")
    judge.fails("too weak a hash", trust, key.public_area(),
                house.root.sign(ek_certificate(key), "sha1"))
    weak = Authority(house.key("rsa1024", "weak"), "Weak", house.root)
    judge.fails("too weak a key", trust, key.public_area(), weak.sign(ek_certificate(key)),
                weak.certificate)


def test_an_unknown_critical_extension_fails(judge, house, trust):
    key = house.key("p256")
    for critical, judged in ((False, judge.passes), (True, None)):
        certificate = ek_certificate(key)
        certificate.extensions["1.3.6.1.4.1.99999.1"] = (critical, der(5, b""))
        given = trust, key.public_area(), house.root.sign(certificate)
        if judged:
            judged(*given)
        else:
            judge.fails("critical extension", *given)


def test_damaged_issuers_fail(judge, house, trust):
    key = house.key("p256")
    certificate = house.middle.sign(ek_certificate(key))
    judge.passes(trust, key.public_area(), certificate, *[house.middle.certificate] * 16)
    for damaged in (b"", house.middle.certificate[:-1], house.middle.certificate + b"\0",
                    pem(house.middle.certificate), bytes(70000)[:20000]):
        judge.fails("no certificates", trust, key.public_area(), certificate,
                    house.middle.certificate, damaged)


# The certificate itself

REFUSED = {
    "it is that of an authority":
        ({"basic": (True, sequence(der(1, b"\xff")))}, "is that of a certification authority"),
    "its basic constraints cannot be read":
        ({"basic": (True, der(4, b""))}, "is that of a certification authority"),
    "its basic constraints are there twice":
        ({"basic": [(True, sequence()), (True, sequence())]},
         "is that of a certification authority"),
    "it has no extended key usage": ({"extended": None}, "is not of an EK"),
    "its extended key usage is empty": ({"extended": (False, sequence())}, "is not of an EK"),
    "its extended key usage cannot be read":
        ({"extended": (False, b"\x30\x05")}, "is not of an EK"),
    "its extended key usage is there twice":
        ({"extended": [(False, sequence(oid(EK_USAGE)))] * 2}, "is not of an EK"),
    "its extended key usage is any":
        ({"extended": (False, sequence(oid("2.5.29.37.0")))}, "is not of an EK"),
    "its extended key usage is a longer one":
        ({"extended": (False, sequence(oid(EK_USAGE + ".1")))}, "is not of an EK"),
    "it is that of an AK": ({"extended": (False, sequence(oid(AK_USAGE)))}, "is not of an EK"),
    "it is that of an AK, too":
        ({"extended": (False, sequence(oid(EK_USAGE), oid(AK_USAGE)))},
         "is of an attestation key, too"),
    "its key may sign": ({"usage": (True, key_usage(SIGN))}, "may sign"),
    "its key may sign, too": ({"usage": (True, key_usage(SIGN | AGREE))}, "may sign"),
    "it has no key usage": ({"usage": None}, "may sign"),
    "its key usage is that of another kind of key":
        ({"usage": (True, key_usage(ENCIPHER))}, "keyAgreement"),
    "its key usage cannot be read": ({"usage": (True, sequence())}, "keyAgreement"),
    "its key usage is there twice": ({"usage": [(True, key_usage(AGREE))] * 2}, "keyAgreement"),
    "it names no TPM": ({"alt": None}, "has no subjectAltName"),
    "it names a TPM twice": ({"alt": [(True, san())] * 2}, "has two subjectAltNames"),
    "its names cannot be read": ({"alt": (True, b"\x30\x7f\xa4")}, "cannot be read"),
    "its names are none": ({"alt": (True, sequence())}, "does not name"),
    "its names are of a host": ({"alt": (True, sequence(der(0x82, b"localhost")))},
                                "does not name"),
    "its names are not critical and it has no subject":
        ({"alt": (False, san())}, "not critical"),
    "it names no maker": ({"alt": (True, san(maker=None))}, "does not name"),
    "it names no model": ({"alt": (True, san(model=None))}, "does not name"),
    "it names no version": ({"alt": (True, san(version=None, together=True))}, "does not name"),
    "it names an empty model": ({"alt": (True, san(model=""))}, "does not name"),
    "it names two makers":
        ({"alt": (True, alt_name(((MAKER, "id:494E5443"), (MODEL, "a"), (VERSION, "b")),
                                 ((MAKER, "id:494E5443"),)))}, "twice"),
    "it names two makers in two names":
        ({"alt": (True, sequence(der(0xA4, name(((MAKER, "id:494E5443"), (MODEL, "a")))),
                                 der(0xA4, name(((MAKER, "id:00001014"), (VERSION, "b"))))))},
         "twice"),
    "it names a maker by its characters": ({"alt": (True, san("INTC"))}, "eight hexadecimal"),
    "it names a maker without a prefix": ({"alt": (True, san("494E5443"))}, "eight hexadecimal"),
    "it names a maker by seven digits": ({"alt": (True, san("id:494E544"))}, "eight hexadecimal"),
    "it names a maker by nine digits": ({"alt": (True, san("id:494E54430"))}, "eight hexadecimal"),
    "it names a maker by other characters":
        ({"alt": (True, san("id:494E544G"))}, "eight hexadecimal"),
    "it names a maker by a NUL among digits":
        ({"alt": (True, san("id:494E\0" + "443"))}, "eight hexadecimal"),
    "it names an unknown maker":
        ({"alt": (True, san(f"id:{SWTPM}"))}, "none of the TCG's registry"),
    "it names no one as maker": ({"alt": (True, san("id:00000000"))}, "none of the TCG's registry"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_certificate_is_refused_if(judge, house, trust, mistake):
    changes, reason = REFUSED[mistake]
    key = house.key("p256")
    judge.fails(reason, trust, key.public_area(),
                house.root.sign(changed(ek_certificate(key), **changes)))


def test_an_rsa_key_is_for_enciphering(judge, house, trust):
    key = house.key("rsa")
    wrong = changed(ek_certificate(key), usage=(True, key_usage(AGREE)))
    judge.fails("keyEncipherment", trust, key.public_area(), house.root.sign(wrong))
    signs = changed(ek_certificate(key), usage=(True, key_usage(SIGN | ENCIPHER)))
    judge.fails("may sign", trust, key.public_area(), house.root.sign(signs))


def test_a_certificate_of_another_key_fails(judge, house, trust):
    for kind, title, other in (("p256", "other", "p256"), ("rsa", "other", "rsa"),
                               ("rsa", "ek", "p256"), ("p384", "ek", "p256")):
        certificate = house.root.sign(ek_certificate(house.key(kind, title)))
        judge.fails("is of another key", trust, house.key(other).public_area(), certificate)


@pytest.mark.parametrize("version", [None, 1])
def test_a_certificate_of_an_older_version_fails(judge, house, trust, version):
    key = house.key("p256")
    old = ek_certificate(key, version=version)
    judge.fails("is not of version 3", trust, key.public_area(), house.root.sign(old))
    bare = dataclasses.replace(old, extensions={}, subject=common_name("TPM"))
    judge.fails("is not of version 3", trust, key.public_area(), house.root.sign(bare))


def test_what_is_no_certificate_or_more_than_one_fails(judge, house, trust):
    key = house.key("p256")
    certificate = house.root.sign(ek_certificate(key))
    for given in (certificate + b"\0", certificate + b"\xff", b"\0" + certificate, 2 * certificate,
                  pem(certificate), b"\x30", bytes(100), certificate + bytes(20000),
                  sequence(certificate), key.spki):
        judge.fails("is not one, whole and alone", trust, key.public_area(), given)


def test_an_ek_without_a_certificate_fails_and_says_its_fingerprint(judge, house, trust):
    key = house.key("p256")
    assert fingerprint(key) in judge.fails("has no certificate", trust, key.public_area(), None)


@pytest.mark.parametrize("kind", ["p256", "rsa"])
def test_no_beginning_of_a_certificate_and_no_changed_bit_of_it_passes(judge, house, trust, kind):
    key = house.key(kind)
    authority, way = (house.middle, [house.middle.certificate]) if kind == "p256" else (
        house.root, [])
    given = key.public_area(), authority.sign(ek_certificate(key)), *way
    assert judge.ask(trust, *(judge.line(word, *given) for word in ("cut", "flip"))) == ["0", "0"]
    judge.passes(trust, *given)


# The public area

WRONG_AREAS = {
    "it is not restricted": ({"attributes": EK_ATTRIBUTES & ~RESTRICTED}, "is not restricted"),
    "it does not decrypt": ({"attributes": EK_ATTRIBUTES & ~DECRYPT}, "does not decrypt"),
    "it signs": ({"attributes": EK_ATTRIBUTES | SIGNS}, "signs, too"),
    "it signs instead": ({"attributes": EK_ATTRIBUTES & ~DECRYPT | SIGNS}, "does not decrypt"),
    "it may be duplicated": ({"attributes": EK_ATTRIBUTES | DUPLICATION}, "may be duplicated"),
    "it may leave its TPM": ({"attributes": EK_ATTRIBUTES & ~FIXED_TPM}, "can leave it"),
    "it may leave its parent": ({"attributes": EK_ATTRIBUTES & ~FIXED_PARENT}, "can leave it"),
    "it was made elsewhere": ({"attributes": EK_ATTRIBUTES & ~ORIGIN}, "was not made in its TPM"),
    "its Name is of SHA-1": ({"name_alg": SHA1}, "kind that is not taken"),
    "its Name is of SHA3-256": ({"name_alg": SHA3_256}, "kind that is not taken"),
    "it has no cipher": ({"symmetric": NULL}, "kind that is not taken"),
    "its cipher is Camellia": ({"symmetric": CAMELLIA}, "kind that is not taken"),
    "its cipher is of 64 bits": ({"bits": 64}, "kind that is not taken"),
    "its cipher is in CBC mode": ({"mode": 0x42}, "kind that is not taken"),
}


@pytest.mark.parametrize("mistake", WRONG_AREAS)
@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_a_public_area_is_refused_if(judge, house, trust, kind, mistake):
    changes, reason = WRONG_AREAS[mistake]
    key = house.key(kind)
    area = key.public_area(**changes)
    if "Name is of" in mistake:  # there are no Names of hashes that we do not know
        answer = judge.said(trust, area, house.root.sign(ek_certificate(key)))
        assert answer.startswith(("fail", "error")) and reason in answer
        return
    judge.fails(reason, trust, area, house.root.sign(ek_certificate(key)))
    listed = judge.trust(ek_keys=[fingerprint(key)])
    judge.fails(reason, listed, area, None)


@pytest.mark.parametrize("kind, reason", [("rsa1024", "curve or size"), ("rsa3", "exponent"),
                                          ("p224", "curve or size")])
def test_a_kind_of_key_that_is_too_weak_is_refused(judge, house, trust, kind, reason):
    key = house.key(kind)
    for believing in (trust, judge.trust(ek_keys=[fingerprint(key)])):
        judge.fails(reason, believing, key.public_area(), house.root.sign(ek_certificate(key)))


def test_a_point_that_is_not_on_its_curve_is_refused(judge, house, trust):
    key = house.key("p256")
    area = bytearray(key.public_area())
    area[-1] ^= 1
    judge.fails("valid EC key", trust, bytes(area), house.root.sign(ek_certificate(key)))


def test_sealed_data_is_no_ek(judge, house, trust):
    attributes = FIXED_TPM | FIXED_PARENT
    area = b"\0\x08\0\x0b" + attributes.to_bytes(4) + b"\0\0" + b"\0\x10" + b"\0\x20" + bytes(32)
    judge.fails("no RSA or ECC key", trust, area,
                house.root.sign(ek_certificate(house.key("p256"))))


# The lists of a trust file


def test_an_ek_that_is_known_needs_no_certificate(judge, house):
    for kind in ("rsa", "p256", "p384", "p521"):
        key = house.key(kind)
        trust = judge.trust(ek_keys=["00" * 32, fingerprint(key)])
        judge.passes(trust, key.public_area(), None)
        judge.passes(trust, key.public_area(), b"damaged")
        judge.fails("has no certificate", trust, house.key("p256", "root").public_area(), None)


def test_vendors_are_the_only_ones_that_are_taken(judge, house, trust):
    key = house.key("p256")
    area = key.public_area()
    intel = house.root.sign(ek_certificate(key))
    software = house.root.sign(changed(ek_certificate(key), alt=(True, san(f"id:{SWTPM}"))))
    assert "vendors" in judge.fails("none of the TCG's registry", trust, area, software)
    for names, taken, refused in ((["INTC"], intel, software), ([SWTPM], software, intel),
                                  (["STM", "494e5443"], intel, software),
                                  (["AMD", "494E5443"], intel, software)):
        some = judge.trust(ek_roots=["root.pem"], vendors=names)
        judge.passes(some, area, taken)
        judge.fails("none of \"vendors\"", some, area, refused)
    both = judge.trust(ek_roots=["root.pem"], vendors=["INTC", SWTPM])
    judge.passes(both, area, intel)
    assert "none of the TCG's registry" in judge.passes(both, area, software)


@pytest.mark.parametrize("maker, text", [
    ("414D4400", "AMD (AMD)"), ("49465800", "Infineon (IFX)"), ("4e544300", "Nuvoton"),
    ("4E534D20", "(NSM)"), ("534D534E", "Samsung"), ("474F4F47", "Google"), ("49424D00", "IBM"),
    ("5345414C", "(SEAL)")])
def test_makers_of_the_registry_are_known_by_name(judge, house, trust, maker, text):
    key = house.key("p256")
    certificate = house.root.sign(changed(ek_certificate(key), alt=(True, san(f"id:{maker}"))))
    assert text in judge.passes(trust, key.public_area(), certificate)


def test_verdict_issuers_are_keys_and_certificates_that_are_valid(judge, house):
    key = house.key("p256", "witness")
    judge.user.write("key.pem", b"a witness\n" + pem(key.spki, "PUBLIC KEY"))
    old = Authority(key, "Old", end=PAST)
    judge.user.write("both.pem", pem(old.certificate) + pem(house.root.certificate))
    trust = judge.trust(verdict_issuers=["both.pem", "key.pem"])
    assert judge.ask(trust, f"issuers {seconds(NOW)}", f"issuers {seconds('20250101000000Z')}",
                     f"issuers {seconds('20100101000000Z')}") == ["2", "3", "1"]
    assert judge.ask(judge.trust(), f"issuers {seconds(NOW)}") == ["0"]


def test_policies_are_pcrs_and_who_may_approve(judge):
    one, two = "ab" * 32, "cd" * 32
    assert judge.ask(judge.trust(), f"policies {one}") == ["none 0"]
    assert judge.ask(judge.trust(policies={}), f"policies {one}") == [" 0"]
    policies = {"pcrs": "sha256:0,7+sha384:4", "authorities": [one]}
    assert judge.ask(judge.trust(policies=policies),
                     f"policies {one} {two} {one.upper()} {one[:-2]} {one}00") == [
                         "sha256:0,7+sha384:4 1 0 0 0 0"]


# Reading a trust file


def test_a_directory_is_roots_in_pem_and_der(judge, house):
    key = house.key("p256")
    makers = judge.user.path("makers")
    makers.mkdir()
    (makers / "b.PEM").write_bytes(b"text\n" + pem(house.middle.certificate) + b"more text\n"
                                   + pem(house.root.certificate))
    (makers / "a.cer").write_bytes(house.lower.certificate)
    for ignored in ("README", ".hidden.pem", "notes.txt", "pem"):
        (makers / ignored).write_text("no certificate")
    (makers / "sub").mkdir()
    for authority in (house.root, house.lower):
        judge.passes(makers, key.public_area(), authority.sign(ek_certificate(key)))
    trust = judge.trust(ek_roots=["makers"])
    judge.passes(trust, key.public_area(), house.root.sign(ek_certificate(key)))
    judge.passes(judge.trust(ek_roots=[str(makers)]), key.public_area(),
                 house.root.sign(ek_certificate(key)))


def test_paths_are_relative_to_the_trust_file(judge, house):
    key = house.key("p256")
    judge.root(house.root)
    judge.trust(ek_roots=["root.pem"])
    certificate = house.root.sign(ek_certificate(key))
    judge.passes(Path("trust.json"), key.public_area(), certificate)
    judge.user.path("elsewhere").mkdir()
    shutil.copy(judge.user.path("trust.json"), judge.user.path("elsewhere"))
    judge.refuses(judge.user.path("elsewhere/trust.json"), "ek_roots", "elsewhere/root.pem",
                  "No such file")


@pytest.mark.parametrize("content, reason", [
    ("", "not JSON"), ("{", "not JSON"), ("[]", "no \"version\""), ("{}", "no \"version\""),
    ('"x"', "not JSON"), ('{"version": 1} x', "not JSON"),
    ('{"version": 1, "version": 1}', "not JSON"), ('{"version": 2, "new": 1}', "\"version\""),
    ('{"version": "1"}', "\"version\""), ('{"version": 1.0}', "\"version\""),
    ('{"version": 1, "ek_rots": ["root.pem"]}', "none of"),
    ('{"version": 1, "x-note": ""}', "none of"),
    ('{"version": 1, "ek_roots": "root.pem"}', "\"ek_roots\""),
    ('{"version": 1, "ek_roots": []}', "\"ek_roots\""),
    ('{"version": 1, "ek_roots": null}', "\"ek_roots\""),
    ('{"version": 1, "ek_roots": [1]}', "\"ek_roots\""),
    ('{"version": 1, "ek_roots": [""]}', "\"ek_roots\""),
    ('{"version": 1, "ek_roots": ["root.pem\\u0000"]}', "not JSON"),
    ('{"version": 1, "ek_roots": ["missing.pem"]}', "missing.pem cannot be read"),
    ('{"version": 1, "ak_issuers": ["missing.pem"]}', "\"ak_issuers\""),
    ('{"version": 1, "ak_issuers": []}', "\"ak_issuers\""),
    ('{"version": 1, "verdict_issuers": ["missing.pem"]}', "\"verdict_issuers\""),
    ('{"version": 1, "verdict_issuers": {}}', "\"verdict_issuers\""),
    ('{"version": 1, "ek_keys": []}', "\"ek_keys\""),
    ('{"version": 1, "ek_keys": ["%s"]}' % ("AB" * 32), "number 1 of them"),
    ('{"version": 1, "ek_keys": ["%s", "%s"]}' % ("ab" * 32, "ab" * 31), "number 2 of them"),
    ('{"version": 1, "ek_keys": ["%s"]}' % ("ab" * 33), "number 1 of them"),
    ('{"version": 1, "ek_keys": ["%s"]}' % ("a:" * 32), "number 1 of them"),
    ('{"version": 1, "vendors": []}', "\"vendors\""),
    ('{"version": 1, "vendors": ["INTC", "XYZ"]}', "number 2 of them"),
    ('{"version": 1, "vendors": ["intc"]}', "number 1 of them"),
    ('{"version": 1, "vendors": ["0001014"]}', "number 1 of them"),
    ('{"version": 1, "vendors": ["0x001014"]}', "number 1 of them"),
    ('{"version": 1, "vendors": [1014]}', "\"vendors\""),
    ('{"version": 1, "policies": []}', "\"policies\""),
    ('{"version": 1, "policies": {"pcr": "sha256:7"}}', "\"policies\""),
    ('{"version": 1, "policies": {"pcrs": "sha256:7", "x": 1}}', "\"policies\""),
    ('{"version": 1, "policies": {"pcrs": "sha256:7,0"}}', "\"pcrs\""),
    ('{"version": 1, "policies": {"pcrs": ""}}', "\"pcrs\""),
    ('{"version": 1, "policies": {"pcrs": ["sha256:7"]}}', "\"pcrs\""),
    ('{"version": 1, "policies": {"pcrs": "sha256:16"}}', "16"),
    ('{"version": 1, "policies": {"authorities": ["ab"]}}', "\"authorities\""),
    ('{"version": 1, "policies": {"authorities": []}}', "\"authorities\""),
])
def test_a_mistake_in_a_trust_file_is_said(judge, house, content, reason):
    judge.root(house.root)
    judge.refuses(judge.user.write("trust.json", content), "trust.json", reason)


def test_files_of_a_trust_file_hold_certificates_and_nothing_else(judge, house):
    secret = house.key("p256", "root").path.read_bytes()
    rsa = openssl("rsa", "-in", house.key("rsa").path, "-traditional")
    root = pem(house.root.certificate)
    public = pem(house.key("p256").spki, "PUBLIC KEY")
    for content, reason in ((b"", "no certificate in it"), (b"text", "no certificate in it"),
                            (secret, "private key"), (root + secret, "private key"),
                            (rsa, "private key"), (pem(b"\0", "ENCRYPTED PRIVATE KEY"),
                                                   "private key"),
                            (root + public, "is no certificate"),
                            (root + pem(b"\x30\0", "X509 CRL"), "is no certificate"),
                            (root.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE"),
                             "is no certificate"),
                            (root[:-40], "damaged"),
                            (root.replace(b"-----END", b"!!!!"), "damaged"),
                            (root + pem(house.root.certificate[:-1]), "cannot be read"),
                            (house.root.certificate + b"\0", "cannot be read"),
                            (house.root.certificate[:-1], "cannot be read"),
                            (root + bytes(1 << 20), "longer than")):
        judge.user.write("root.pem", content)
        for member in ("ek_roots", "ak_issuers"):
            judge.refuses(judge.trust(**{member: ["root.pem"]}), f'"{member}"', "root.pem", reason)


def test_a_verdict_issuer_is_a_sound_public_key(judge, house):
    public = pem(house.key("p256").spki, "PUBLIC KEY")
    weak = pem(house.key("rsa1024", "weak").spki, "PUBLIC KEY")
    edwards = openssl("pkey", "-pubout", stdin=openssl("genpkey", "-algorithm", "ED448"))
    damaged = pem(house.key("p256").spki[:-1], "PUBLIC KEY")
    for content, reason in ((house.key("p256").path.read_bytes(), "private key"),
                            (public + weak, "RSA 2048"), (edwards, "P-256"),
                            (damaged, "cannot be read"), (b"", "no certificate"),
                            (pem(Authority(house.key("rsa1024", "weak"), "Weak").certificate),
                             "RSA 2048")):
        judge.user.write("w.pem", content)
        judge.refuses(judge.trust(verdict_issuers=["w.pem"]), "verdict_issuers", "w.pem", reason)


def test_a_directory_without_certificates_or_with_damaged_ones_is_refused(judge, house):
    makers = judge.user.path("makers")
    makers.mkdir()
    for trust in (makers, judge.trust(ek_roots=["makers"])):
        judge.refuses(trust, "makers", "no certificate in it")
    (makers / "root.pem").write_bytes(pem(house.root.certificate))
    (makers / "z.crt").write_text("nothing")
    for trust in (makers, judge.trust(ek_roots=["makers"])):
        judge.refuses(trust, "makers/z.crt", "no certificate in it")
    (makers / "z.crt").unlink()
    (makers / "z.pem").mkdir()
    judge.refuses(makers, "makers/z.pem", "is no file")
    (makers / "z.pem").rmdir()
    os.mkfifo(makers / "z.pem")
    judge.refuses(makers, "makers/z.pem", "is no file")


def test_a_trust_file_that_is_none_is_refused(judge, house):
    judge.refuses(judge.user.path("missing"), "missing", "No such file")
    judge.refuses(judge.user.path(judge.root(house.root)), "root.pem", "not JSON")
    judge.refuses(judge.user.write("trust.json", b" " * ((1 << 20) + 1)), "trust.json",
                  "longer than")


def test_there_is_an_end_to_how_many_are_trusted(judge, house):
    small = pem(house.root.certificate)
    each = (1 << 20) // len(small)
    for number in range(4096 // each + 1):
        judge.user.write(f"{number}.pem", small * each)
    files = [f"{number}.pem" for number in range(4096 // each + 1)]
    judge.refuses(judge.trust(ek_roots=files), "4096")


# Attestation keys


@pytest.fixture(name="ak_trust")
def fixture_ak_trust(judge, house) -> Path:
    return judge.trust(ak_issuers=[judge.root(house.root)])


def ak_certificate(key: Key, **changes) -> Certificate:
    return changed(ek_certificate(key, (AK_USAGE,), **changes), usage=(True, key_usage(SIGN)))


def test_an_ak_certificate_by_a_trusted_issuer_passes(judge, house, ak_trust):
    for kind in ("rsa", "p256", "p384"):
        key = house.key(kind, "ak")
        public = pem(key.spki, "PUBLIC KEY")
        assert "Root" in judge.passes(ak_trust, public, house.root.sign(ak_certificate(key)),
                                      word="ak")
        judge.passes(ak_trust, public, house.lower.sign(ak_certificate(key)),
                     house.middle.certificate, house.lower.certificate, word="ak")


def test_an_ak_certificate_says_nothing_if_no_issuer_is_trusted(judge, house, trust):
    key = house.key("p256", "ak")
    public = pem(key.spki, "PUBLIC KEY")
    for certificate in (house.root.sign(ak_certificate(key)), None, b"damaged"):
        assert judge.said(trust, public, certificate, word="ak").startswith("not_claimed ")
    believing = judge.trust(ak_issuers=["root.pem"])
    assert judge.said(believing, public, None, word="ak").startswith("not_claimed ")


def test_an_ak_certificate_is_refused_for_each_mistake(judge, house, ak_trust):
    key, other = house.key("p256", "ak"), house.key("p256", "other")
    public = pem(key.spki, "PUBLIC KEY")
    good = ak_certificate(key)
    both = (False, sequence(oid(AK_USAGE), oid(EK_USAGE)))
    for certificate, reason in (
            (house.impostor.sign(good), "was not signed by who it says"),
            (house.middle.sign(good), NO_WAY),
            (house.root.sign(ak_certificate(other)), "another key"),
            (house.root.sign(dataclasses.replace(good, end=PAST)), "expired"),
            (house.root.sign(dataclasses.replace(good, start=FUTURE)), "not valid yet"),
            (house.root.sign(ek_certificate(key)), "2.23.133.8.3"),
            # As Google issues them: an AK's with an EK's usage.
            (house.root.sign(changed(good, extended=(False, sequence(oid(EK_USAGE))))),
             "2.23.133.8.3"),
            (house.root.sign(changed(good, extended=both)), "2.23.133.8.3"),
            (house.root.sign(changed(good, extended=(False, sequence()))), "2.23.133.8.3"),
            (house.root.sign(changed(good, extended=None)), "2.23.133.8.3"),
            (house.root.sign(changed(good, usage=(True, key_usage(ENCIPHER)))), "may not sign"),
            (house.root.sign(changed(good, basic=(True, sequence(der(1, b"\xff"))))),
             "certification authority"),
            (house.root.sign(good, "sha1"), "too weak a hash"),
            (house.root.sign(good) + b"\0", "whole and alone"),
            (house.root.sign(good)[:-1], "whole and alone"), (b"\0", "whole and alone")):
        judge.fails(reason, ak_trust, public, certificate, word="ak")


def test_an_ak_certificate_with_an_ek_usage_and_a_signing_key_is_no_ek_s(judge, house, trust):
    """As Google issues them for its machines' AKs."""
    key = house.key("p256")
    certificate = changed(ek_certificate(key), usage=(True, key_usage(SIGN)))
    judge.fails("may sign", trust, key.public_area(), house.root.sign(certificate))


# Others' certificates


def test_swtpm_s_certificates_pass_if_their_maker_is_named(judge, maker, make_certified):
    holder = make_certified()
    judge.user.write("root.pem",
                     (maker.ca / "swtpm-localca-rootca-cert.pem").read_bytes())
    issuer = openssl("x509", "-in", maker.ca / "issuercert.pem", "-outform", "DER")
    named = judge.trust(ek_roots=["root.pem"], vendors=[SWTPM])
    for handle, index in ((0x81010001, 0x01C00002), (0x81010016, 0x01C00016)):
        holder.tool("tpm2_readpublic", "-c", hex(handle), "-o", judge.user.path("ek.pub"))
        holder.tool("tpm2_nvread", "-C", "o", hex(index), "-o", judge.user.path("ek.der"))
        given = (judge.user.path("ek.pub").read_bytes(),
                 judge.user.path("ek.der").read_bytes(), issuer)
        now = "20270101000000Z"
        assert "none of the TCG's registry" in judge.passes(named, *given, now=now)
        plain = judge.user.write("plain.json", json.dumps({"version": 1,
                                                           "ek_roots": ["root.pem"]}))
        judge.fails(f"{SWTPM}, which is none of the TCG's registry", plain, *given, now=now)
        judge.fails(NO_WAY, named, *given[:2], now=now)


def vector(path: str) -> bytes:
    if not (VECTORS / path).exists():
        pytest.skip("the vectors are not here")
    return (VECTORS / path).read_bytes()


class Foreign(Key):
    """A key of which only the public half is here."""

    def __init__(self, certificate: bytes, kind: str):  # pylint: disable=super-init-not-called
        self.kind = kind
        text = openssl("x509", "-inform", "DER", "-noout", "-pubkey", stdin=certificate)
        self.spki = openssl("pkey", "-pubin", "-outform", "DER", stdin=text)


@pytest.mark.parametrize("number, kind", [("01-test_cert_utils-L29", "rsa"),
                                          ("02-test_cert_utils-L61", "p256")])
def test_certificates_of_stmicroelectronics_lack_nothing_but_their_issuer(judge, house, trust,
                                                                         number, kind):
    certificate = vector(f"ek-certs/{number}-b64.der").rstrip(b"\xff")  # as its NV index ends
    key = Foreign(certificate, kind)
    answer = judge.fails(NO_WAY, trust, key.public_area(), certificate)
    assert "STMicroelectronics (STM)" in answer
    judge.fails("another key", trust, house.key(kind).public_area(), certificate)
    judge.passes(judge.trust(ek_keys=[fingerprint(key)]), key.public_area(), certificate)
    # And where the certificate itself is trusted, all of it is taken.
    judge.user.write("leaf.pem", pem(certificate))
    pinned = judge.trust(ek_roots=["leaf.pem"])
    judge.passes(pinned, key.public_area(), certificate)
    judge.fails("is expired", pinned, key.public_area(), certificate, now="20290101000000Z")


def test_the_certificate_of_an_authority_is_no_ek_s(judge):
    certificate = vector("ek-certs/00-test_cert_utils-L14-b64.der")
    judge.user.write("root.pem", pem(certificate))
    key = Foreign(certificate, "p256")
    judge.fails("is that of a certification authority", judge.trust(ek_roots=["root.pem"]),
                key.public_area(), certificate)


@pytest.mark.parametrize("statement, now", [("py_webauthn-6852bdfa", "20220601000000Z"),
                                            ("py_webauthn-3270ca14", "20230601000000Z")])
def test_ak_certificates_under_microsoft_s_root_pass_while_they_are_valid(judge, house, statement,
                                                                         now):
    leaf, issuer = (vector(f"webauthn-tpm/{statement}/x5c-{i}.der") for i in range(2))
    judge.user.write("microsoft.pem", vector("ek-certs/microsoft-tpm-root-2014.pem"))
    trust = judge.trust(ak_issuers=["microsoft.pem"])
    answer = judge.passes(trust, leaf, leaf, issuer, word="ak", now=now)
    assert "Microsoft TPM Root" in answer
    judge.fails(NO_WAY, trust, leaf, leaf, word="ak", now=now)
    judge.fails("expired", trust, leaf, leaf, issuer, word="ak", now="20300101000000Z")
    judge.fails("another key", trust, pem(house.key("rsa").spki, "PUBLIC KEY"), leaf, issuer,
                word="ak", now=now)
    other = judge.trust(ak_issuers=[judge.root(house.root)])
    judge.fails(NO_WAY, other, leaf, leaf, issuer, word="ak", now=now)


# Speed


@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_an_ek_is_judged_well_below_the_time_that_a_tpm_takes(judge, house, trust, kind):
    if SLOWER > 1 or "asan" in judge.user.build.name or "tsan" in judge.user.build.name:
        pytest.skip("sanitizers, valgrind and emulation take time of their own")
    key = house.key(kind)
    given = key.public_area(), house.lower.sign(ek_certificate(key))
    line = judge.line("time", *given, house.lower.certificate, house.middle.certificate)
    wait_for(lambda: int(judge.ask(trust, line)[0]) < 3000, "3 ms that the machine does not take")
