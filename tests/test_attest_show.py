# SPDX-License-Identifier: Apache-2.0
"""`lct attest show`: what is in the documents of an attestation, of which it believes nothing."""

import copy
import hashlib
import json
import re
import struct

import pytest

from attesting import attested_of, challenge_of, credential_of, evidence_of, offer_of, to_text
from forger import (AK, CERTIFY, ECDSA, KEY, NULL, QUOTE, SHA256, name_of, qualified, selection,
                    sized)
from test_bootlog import values
from test_eventlog import boot
from x509 import (ALT_NAME, MAKER, MODEL, VERSION, Authority, Certificate, Key, alt_name,
                  common_name, ek_certificate)

USAGE, UNSUPPORTED, IO, MALFORMED = 2, 15, 18, 22
ESCAPE = "\x1b[2J\x07\x7f\u009b\u202e\nidentity     lct:mallory"
SECRET = "5e" * 32
CLAIMS = ("signed", "ak_fit", "ak_bound", "ek_genuine", "fresh", "key_resident", "non_extractable",
          "key_fit", "sealed", "boot_state", "key_usable_now")


class Documents:
    """Those of one attestation, that nobody has signed."""

    def __init__(self, directory):
        self.key, self.ak, self.ek, self.other = (
            Key(directory / f"{which}.pem", kind) for which, kind in
            (("key", "p256"), ("ak", "p256"), ("ek", "rsa"), ("other", "p521")))
        self.maker = Authority(Key(directory / "maker.pem", "p256"), "A maker's root")
        self.public = self.key.public_area(attributes=KEY, symmetric=NULL)
        self.ak_public = self.ak.public_area(attributes=AK, symmetric=NULL, scheme=ECDSA)
        self.log = boot(locality=3)

    def signed(self, kind: int, attested: bytes) -> dict:
        attest = (struct.pack(">IH", 0xFF544347, kind) + sized(qualified(name_of(self.ak_public)))
                  + sized(b"\xaa" * 32) + struct.pack(">QIIBQ", 90061000, 3, 1, 1, 0x20191023)
                  + attested)
        return attested_of(attest, struct.pack(">HH", ECDSA, SHA256) + sized(b"\1" * 32) * 2)

    def offer(self) -> dict:
        witnessed = self.maker.sign(Certificate(self.ak.spki, common_name("An AK"), {}))
        authority = self.maker.key.public_area(attributes=0x40040, symmetric=NULL)
        seal = {"kind": "either", "pcrs": "sha256:7", "pcr_digest": "11" * 32,
                "authority": sized(authority).hex(), "policy_ref": ""}
        return offer_of(self.public, self.ak_public,
                        (self.ek.public_area(), self.maker.sign(ek_certificate(self.ek))),
                        (self.other.public_area(), None), chain=[witnessed],
                        issuers=[self.maker.certificate], parent=self.other.public_area(),
                        passphrase=True, seal=seal, generation=2, tpm="A TPM of 2026")

    def challenge(self) -> dict:
        return challenge_of(self.offer(), challenge="c4" * 16, nonce="ab" * 32,
                            created="2026-11-29T12:00:00Z", expires="2026-11-29T12:05:00Z",
                            ek=name_of(self.ek.public_area()).hex(),
                            credential=credential_of(b"x" * 52, b"y" * 256), pcrs="sha256:0,7,8")

    def state(self) -> dict:
        return {"type": "lct-attestation-state", "version": 1, "secret": SECRET, "used": False,
                "challenge": self.challenge()}

    def evidence(self) -> dict:
        own = name_of(self.public)
        quoted = values(self.log, "sha256:0,7,8")["values"]
        digest = hashlib.sha256(b"".join(map(bytes.fromhex, quoted["sha256"].values()))).digest()
        quote = self.signed(QUOTE, selection((SHA256, 0x181)) + sized(digest))
        return evidence_of(self.challenge(), b"0" * 70, activation="ee" * 32,
                           certify=self.signed(CERTIFY, sized(own) + sized(qualified(own))),
                           quote=quote | {"values": quoted}, eventlog=to_text(self.log.content))

    def verdict(self) -> dict:
        return {"type": "lct-attestation-verdict", "version": 1, "issued": "2026-11-29T12:01:00Z",
                "expires": "2026-11-30T12:01:00Z", "id": "alice", "generation": 2,
                "key": to_text(sized(self.public)), "name": name_of(self.public).hex(),
                "ak": name_of(self.ak_public).hex(), "ek": "ed" * 32, "challenge": "c4" * 16,
                "evidence": "e1" * 32,
                "claims": {claim: {"outcome": "pass", "reason": f"it is {claim}"}
                           for claim in CLAIMS}}


def jws(payload: dict, **header) -> str:
    header = {"alg": "ES256", "kid": "1d" * 32, "typ": "lct-verdict+jws"} | header
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in (header, payload)]
    return ".".join(map(to_text, [*parts, b"s" * 64]))


@pytest.fixture(scope="module", name="documents")
def fixture_documents(tmp_path_factory) -> Documents:
    return Documents(tmp_path_factory.mktemp("documents"))


class Shower:
    def __init__(self, user):
        self.user = user

    def run(self, document, *options, status: int = 0):
        if isinstance(document, dict):
            document = json.dumps(document, ensure_ascii=False)
        return self.user.lct("attest", "show", self.user.write("document", document), *options,
                             status=status)

    def text(self, document) -> str:
        done = self.run(document)
        assert not done.stderr
        assert re.fullmatch(r"[ -~\n]+", done.stdout)
        assert "verified" in done.stdout.splitlines()[0]
        return done.stdout

    def json(self, document, kind: str) -> dict:
        text = self.run(document, "--json").stdout
        assert re.fullmatch(r"[ -~\n]+", text)
        shown = json.loads(text)
        assert (shown["version"], shown["verified"], shown["kind"]) == (1, False, kind)
        return shown


@pytest.fixture(name="shower")
def fixture_shower(make_user) -> Shower:
    return Shower(make_user("none"))


def sha256(key: Key) -> str:
    return hashlib.sha256(key.spki).hexdigest()


def holds(text: str, *lines: str):
    """Lines of it, in this order."""
    found = text.splitlines()
    for line in lines:
        assert line in found, f"{line!r} in order in\n{text}"
        found = found[found.index(line) + 1:]


def test_an_offer_is_explained(shower, documents):
    text = shower.text(documents.offer())
    holds(text, "identity     alice", "generation   2", "tpm          A TPM of 2026",
          "  software   no", "passphrase   yes",
          f"seal         sealed to sha256:7 or any state approved by "
          f"{sha256(documents.maker.key)[:16]}",
          f"  authority  {sha256(documents.maker.key)}",
          "key          ec-p256", f"  name       {name_of(documents.public).hex()}",
          f"  SHA-256    {sha256(documents.key)}",
          "  attributes fixedtpm fixedparent sensitivedataorigin sign",
          "parent       ec-secp521r1", "AK           ec-p256",
          f"  name       {name_of(documents.ak_public).hex()}",
          f"  SHA-256    {sha256(documents.ak)}", "certificate  until 9999-12-31",
          "  subject    CN=An AK", "  issuer     CN=A maker's root",
          "EK           rsa-2048", f"  SHA-256    {sha256(documents.ek)}",
          "certificate  until 9999-12-31", "  subject    none", "  issuer     CN=A maker's root",
          "  to         9999-12-31T23:59:59Z", "  maker      Intel (INTC)",
          "  model      Model 1", "  version    id:00020000", "EK           ec-secp521r1",
          "certificate  none", "issuer       until 9999-12-31", "  subject    CN=A maker's root")


def test_programs_are_told_the_same_of_an_offer(shower, documents):
    offer = shower.json(documents.offer(), "offer")["offer"]
    assert (offer["id"], offer["generation"], offer["passphrase"]) == ("alice", 2, True)
    assert offer["key"]["name"] == name_of(documents.public).hex()
    assert offer["key"]["sha256"] == sha256(documents.key)
    assert offer["key"]["public_key"].startswith("-----BEGIN PUBLIC KEY-----\n")
    assert offer["key"]["hardware_bound"] is True
    assert offer["seal"]["kind"] == "either" and offer["seal"]["text"].startswith("sealed to")
    assert offer["ak"]["certificates"][0]["subject"] == "CN=An AK"
    rsa, ecc = offer["eks"]
    assert rsa["sha256"] == sha256(documents.ek) and rsa["certificate"]["maker"] == "Intel (INTC)"
    assert rsa["certificate"]["not_after"] == "9999-12-31T23:59:59Z"
    assert ecc["algorithm"] == "ec-secp521r1" and ecc["certificate"] is None


def test_what_an_offer_need_not_have_is_none(shower, documents):
    offer = documents.offer()
    offer["key"] |= {"parent": None, "seal": None, "passphrase": False}
    offer["ak"]["certificates"] = []
    offer |= {"eks": [], "issuers": [], "software_tpm": True}
    text = shower.text(offer)
    holds(text, "  software   yes", "passphrase   no", "seal         none", "parent       none")
    assert "EK" not in text and "certificate" not in text
    shown = shower.json(offer, "offer")["offer"]
    assert shown["parent"] is None and shown["seal"] is None and shown["eks"] == []


def test_a_certificate_that_is_over_says_so(shower, documents):
    old = Certificate(documents.ak.spki, common_name("An AK"), {}, end="20210203000000Z")
    offer = documents.offer()
    offer["ak"]["certificates"] = [to_text(documents.maker.sign(old))]
    holds(shower.text(offer), "certificate  expired 2021-02-03")
    assert shower.json(offer, "offer")["offer"]["ak"]["certificates"][0]["expired"] is True


def test_a_challenge_is_explained_with_its_offer(shower, documents):
    text = shower.text(documents.challenge())
    holds(text, f"challenge    {'c4' * 16}", "  mode       ak", "  created    2026-11-29T12:00:00Z",
          "  expires    2026-11-29T12:05:00Z", f"  nonce      {'ab' * 32}",
          "  PCRs       sha256:0,7,8",
          f"  to the EK  {name_of(documents.ek.public_area()).hex()}", "  credential yes",
          "identity     alice")
    shown = shower.json(documents.challenge(), "challenge")
    assert shown["challenge"]["credential"] is True and shown["offer"]["id"] == "alice"
    assert to_text(b"x" * 52) not in json.dumps(shown)


def test_a_direct_challenge_and_one_without_a_credential_are_explained(shower, documents):
    direct = documents.challenge() | {"mode": "direct", "pcrs": None}
    holds(shower.text(direct), "  mode       direct", "  PCRs       none", "  credential yes")
    bare = documents.challenge() | {"ek": None, "credential": None}
    holds(shower.text(bare), "  to the EK  none", "  credential no")


def test_a_state_shows_which_challenge_it_is_of_and_no_secret(shower, documents):
    for used in (False, True):
        state = documents.state() | {"used": used} | ({"secret": None} if used else {})
        text, shown = shower.text(state), shower.json(state, "state")
        holds(text, f"challenge    {'c4' * 16}", f"  used       {'yes' if used else 'no'}")
        assert shown["used"] is used and shown["challenge"]["number"] == "c4" * 16
        for output in (text, json.dumps(shown)):
            assert SECRET not in output and "alice" not in output
    done = shower.run(documents.state() | {"used": 3}, status=MALFORMED)
    assert SECRET not in done.stderr


def test_evidence_is_explained_part_by_part(shower, documents):
    own = name_of(documents.public)
    text = shower.text(documents.evidence())
    holds(text, f"challenge    {'c4' * 16}", "identity     alice", "activation   yes",
          "possession   ecdsa, sha256", "certify      ecdsa, sha256", f"  name       {own.hex()}",
          f"  qualified  {qualified(own).hex()}",
          f"  signed by  {qualified(name_of(documents.ak_public)).hex()}",
          f"  nonce      {'aa' * 32}", "  resets     3", "  restarts   1", "  safe       yes",
          "  firmware   0000000020191023", "  clock      1 days, 1 hours, 1 minutes",
          "quote        ecdsa, sha256", "  PCRs       sha256:0,7,8",
          f"  sha256:7   {documents.log.value('sha256', 7).hex()}")
    assert "Secure Boot: whether it is on" in text
    events = [line for line in text.splitlines() if re.match(r"  \d+ +(PCR|no)", line)]
    assert f"event log    {len(events)} events" in text
    assert re.search(r"explains   pass: \d+ events lead to the value of every PCR", text)
    digest = hashlib.sha256(b"version 1").hexdigest()
    assert f"  2     PCR 0  EV_S_CRTM_VERSION {digest} version 1" in events
    assert any(re.search(r"PCR 7  EV_EFI_VARIABLE_DRIVER_CONFIG [0-9a-f]{64} dbx$", line)
               for line in events)


def test_what_a_digest_is_not_of_is_in_brackets(shower, documents):
    """GRUB measures a command without the word that the event has in front of it."""
    evidence = documents.evidence()
    assert re.search(r"PCR 8  EV_IPL [0-9a-f]{64} \[kernel_cmdline: /vmlinuz root=.*\]\n",
                     shower.text(evidence))
    events = shower.json(evidence, "evidence")["evidence"]["eventlog"]["events"]
    for event in events:
        if event["type"] in ("EV_IPL", "EV_NO_ACTION") and event["pcr"] in (0, 8):
            assert event["measured"] is False
        if event["type"] == "EV_EFI_VARIABLE_DRIVER_CONFIG":
            assert event["measured"] is True


def test_what_no_quoted_pcr_bears_out_is_in_brackets(shower, documents):
    """An event whose digest is right, of a PCR to whose value the log does not lead."""
    evidence = documents.evidence()
    forged = boot(locality=3).add(8, 0x0D, b"kernel_cmdline: ro quiet")
    evidence["eventlog"] = to_text(forged.content)
    text = shower.text(evidence)
    assert re.search(r"PCR 8  EV_IPL [0-9a-f]{64} \[kernel_cmdline: ro quiet\]\n", text)
    assert "the value of every PCR but sha256:8: the running system has" in text
    events = shower.json(evidence, "evidence")["evidence"]["eventlog"]["events"]
    assert not any(event["measured"] for event in events if event["pcr"] == 8)
    assert any(event["measured"] for event in events if event["pcr"] == 7)


def test_programs_are_told_the_same_of_evidence(shower, documents):
    shown = shower.json(documents.evidence(), "evidence")
    assert shown["challenge"]["number"] == "c4" * 16 and shown["offer"]["id"] == "alice"
    evidence = shown["evidence"]
    assert evidence["certify"]["name"] == name_of(documents.public).hex()
    assert evidence["certify"]["signature"] == {"scheme": "ecdsa", "hash": "sha256"}
    assert (evidence["quote"]["clock"], evidence["quote"]["reset_count"]) == (90061000, 3)
    assert evidence["quote"]["values"] == documents.evidence()["quote"]["values"]
    log = evidence["eventlog"]
    assert log["bank"] == "sha256" and log["explains_values"]["outcome"] == "pass"
    assert log["events"][1] | {"number": 2, "pcr": 0, "text": "version 1"} == log["events"][1]
    assert "error" not in log


def test_a_log_that_explains_nothing_is_shown_as_such(shower, documents):
    evidence = documents.evidence()
    evidence["quote"]["values"]["sha256"]["7"] = "00" * 32
    text = shower.text(evidence)
    assert re.search(r"explains   fail: .*PCR 7 \(sha256\)", text)
    evidence["eventlog"] = to_text(documents.log.content[:-5])
    text = shower.text(evidence)
    assert re.search(r"ends in    event \d+ of the event log is malformed", text)
    assert "EV_S_CRTM_VERSION" in text
    evidence["eventlog"] = to_text(b"no log at all")
    assert "0 events" in shower.text(evidence)
    evidence["eventlog"] = None
    holds(shower.text(evidence), "event log    none")


def test_evidence_without_a_quote_and_of_the_direct_mode_is_explained(shower, documents):
    evidence = documents.evidence() | {"quote": None, "eventlog": None}
    evidence["challenge"]["pcrs"] = None
    holds(shower.text(evidence), "quote        none", "event log    none")
    evidence["challenge"]["mode"] = "direct"
    evidence["certify"] = None
    holds(shower.text(evidence), "certify      none", "quote        none")


def test_parts_that_cannot_be_decoded_say_why(shower, documents):
    evidence = documents.evidence()
    evidence["certify"] = evidence["quote"] | {"signature": to_text(b"no signature")}
    del evidence["certify"]["values"]
    evidence["quote"]["attest"] = to_text(b"\xff" * 40)
    evidence["challenge"]["offer"]["eks"][0]["certificate"] = to_text(b"no certificate")
    text = shower.text(evidence)
    holds(text, "certificate  it is no certificate", "certify      it attests something else")
    assert re.search(r"\nquote        [a-z].+\n", text)
    shown = shower.json(evidence, "evidence")
    assert list(shown["evidence"]["certify"]) == ["error"]
    assert shown["offer"]["eks"][0]["certificate"] == {"error": "it is no certificate"}


def test_a_signature_that_cannot_be_decoded_says_so(shower, documents):
    evidence = documents.evidence()
    evidence["certify"]["signature"] = to_text(b"no signature")
    assert re.search(r"\ncertify      [a-z].+\n  name ", shower.text(evidence))


def test_a_key_that_is_on_no_curve_says_so(shower, documents):
    offer = documents.offer()
    off = documents.public[:-1] + bytes([documents.public[-1] ^ 1])
    offer["key"]["public"] = to_text(sized(off))
    assert re.search(r"\nkey          ec-p256\n(  .*\n)*  unusable   .+\n", shower.text(offer))


def test_a_signed_verdict_is_explained(shower, documents):
    text = shower.text(jws(documents.verdict()) + "\n")
    holds(text, f"signed by    {'1d' * 32}", "  issued     2026-11-29T12:01:00Z",
          "  expires    2026-11-30T12:01:00Z", "identity     alice", "generation   2",
          f"challenge    {'c4' * 16}", f"evidence     {'e1' * 32}",
          f"AK           {name_of(documents.ak_public).hex()}", f"EK           {'ed' * 32}",
          "key          ec-p256", f"  SHA-256    {sha256(documents.key)}",
          "pass         signed           it is signed",
          "pass         sealed           it is sealed")
    verdict = shower.json(jws(documents.verdict()), "verdict")["verdict"]
    assert verdict["issuer"] == "1d" * 32 and verdict["key"]["sha256"] == sha256(documents.key)
    assert verdict["claims"] == documents.verdict()["claims"]


@pytest.mark.parametrize("content, status", [
    (b"", MALFORMED), (b"{", MALFORMED), (b"{}", MALFORMED), (b"[]", MALFORMED),
    (b"a.b.c", MALFORMED), (b"...", MALFORMED), (b"\0\0", MALFORMED), (b"\xff\xfe{}", MALFORMED),
    (b'{"type": 3}', MALFORMED), (b'{"type": "lct-attestation-verdict"}', MALFORMED),
    (b'{"type": "lct-attestation-offer"}', MALFORMED),
    (b'{"type": "lct-attestation-offer", "version": 2}', UNSUPPORTED),
    (b'{"type": "lct-attestation-state", "version": 1}', MALFORMED),
    (b'{"type": "x", "type": "lct-attestation-offer"}', MALFORMED),
    (b'{"version": 1, "pcrs": "sha256:7"}', MALFORMED),
    (b"-----BEGIN CERTIFICATE-----\nMII=\n", MALFORMED)])
def test_what_is_no_document_is_refused_in_words(shower, content, status):
    plain, as_json = (shower.run(content, *options, status=status)
                         for options in ((), ("--json",)))
    assert not plain.stdout and not as_json.stdout
    assert re.fullmatch(r"lct: .*document: [ -~]+\n", plain.stderr), plain.stderr
    told = json.loads(as_json.stderr)["error"]
    assert (f"lct: {told['message']}\n", told["status"]) == (plain.stderr, status)


def test_wrong_usage_is_told(shower, documents):
    shower.user.lct("attest", "show", status=USAGE)
    shower.user.lct("attest", "show", "a", "b", status=USAGE)
    shower.user.lct("attest", "show", "--trust", "x", status=USAGE)
    shower.user.lct("attest", "show", shower.user.path("missing"), status=IO)
    huge = b'{"x": "' + b"y" * (9 << 20) + b'"}'
    shower.user.lct("attest", "show", "-", stdin=huge, status=MALFORMED)
    shower.user.lct("attest", "show", "-", stdin=json.dumps(documents.offer()))


def test_lct_verify_shows_the_same(shower, documents):
    if not (shower.user.build / "lct-verify").exists():
        pytest.skip("this build has no lct-verify")
    path = shower.user.write("document", json.dumps(documents.evidence()))
    for options in ([], ["--json"]):
        shown = [shower.user.run(shower.user.build / program, *words, "show", path, *options).stdout
                 for program, words in (("lct", ["attest"]), ("lct-verify", []))]
        assert shown[0] == shown[1]


# Terminals


def leaves(document, path=()):
    """The places of all texts."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if isinstance(value, str):
            yield path + (key,)
        elif isinstance(value, dict | list):
            yield from leaves(value, path + (key,))


def changed(document: dict, path: tuple, value: str) -> dict:
    document = copy.deepcopy(document)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return document


@pytest.mark.parametrize("kind", ["evidence", "verdict", "state"])
def test_no_text_of_a_document_reaches_the_terminal_as_it_is(shower, documents, kind):
    document = getattr(documents, kind)()
    for path in leaves(document):
        bad = changed(document, path, ESCAPE)
        content = jws(bad) if kind == "verdict" else json.dumps(bad, ensure_ascii=False)
        for options in ((), ("--json",)):
            done = shower.run(content, *options, status=None)
            assert re.fullmatch(r"[ -~\n]*", done.stdout + done.stderr), path
            assert not re.search(r"^identity +lct:mallory", done.stdout, re.MULTILINE)
            assert done.returncode != 0, path


def test_no_text_of_a_certificate_reaches_the_terminal_as_it_is(shower, documents):
    names = ((MAKER, f"id:{ESCAPE}"),), ((MODEL, ESCAPE),), ((VERSION, "x" * 3000),)
    bad = ek_certificate(documents.ek, subject=common_name(ESCAPE))
    bad.extensions[ALT_NAME] = (True, alt_name(*names))
    offer = documents.offer()
    offer["eks"][0]["certificate"] = to_text(documents.maker.sign(bad))
    text, shown = shower.text(offer), shower.json(offer, "offer")
    assert not re.search("^identity +lct:mallory", text, re.MULTILINE)
    assert re.search(r"  model      \?\[2J\?+.*identity", text)
    assert max(map(len, text.splitlines())) < 1100
    assert "\x7f" not in shown["offer"]["eks"][0]["certificate"]["model"]


def test_no_text_of_an_event_reaches_the_terminal_as_it_is(shower, documents):
    evidence = documents.evidence()
    log = boot(locality=3).add(8, 0x0D, ESCAPE.encode("utf-8"))
    evidence["eventlog"] = to_text(log.content)
    text = shower.text(evidence)
    assert re.search(r"EV_IPL [0-9a-f]{64} \[\?\[2J\?\?\?+ identity +lct:mallory\]\n", text)
    assert not re.search("^identity +lct:mallory", text, re.MULTILINE)


def test_no_text_of_a_signed_verdicts_header_reaches_the_terminal(shower, documents):
    for member in ("alg", "kid", "typ"):
        done = shower.run(jws(documents.verdict(), **{member: ESCAPE}), status=MALFORMED)
        assert re.fullmatch(r"[ -~\n]*", done.stdout + done.stderr)


def test_a_document_that_is_cut_or_changed_anywhere_does_no_harm(shower, documents):
    """Every 997th byte: some are taken, with another name or number in them, and none crashes."""
    content = json.dumps(documents.evidence()).encode()
    taken = 0
    for at in range(0, len(content), 997):
        shower.run(content[:at], status=MALFORMED)
        done = shower.run(content[:at] + bytes([content[at] ^ 1]) + content[at + 1:], status=None)
        assert done.returncode in (0, UNSUPPORTED, MALFORMED), done.stderr
        assert re.fullmatch(r"[ -~\n]*", done.stdout + done.stderr)
        taken += done.returncode == 0
    assert taken
