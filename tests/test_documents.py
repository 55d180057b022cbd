# SPDX-License-Identifier: Apache-2.0
"""Web4 documents: what lct writes, by another hand's reading; what it judges, by another's pen."""

import copy
import hashlib
import json
import re

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (Encoding, PublicFormat,
                                                          load_pem_public_key)

from attesting import Verifier, canonical, outcomes, to_bytes, to_text
from test_attest import offer, respond
from test_certs import add_generation
from test_command import one_sentence
from web4 import (ALG, CONTENT, CONTENT_TYPE, CREATED, ECDSA, EDDSA, ES256, KID, TYP, base58,
                  check_jws, check_proof, document_of, header_of, jws_of, multikey, name_of,
                  payload_of, proof_of, sign, to_be_signed)

USAGE, WRONG_KEY, UNSUPPORTED, MALFORMED, REFUSED, ENDED = 2, 14, 15, 22, 23, 25
MEMBERS = {"@context", "@type", "lct_id", "subject", "binding", "mrh", "policy", "t3_tensor",
           "v3_tensor", "revocation"}
ENTITIES = ["human", "ai", "society", "organization", "role", "task", "resource", "device",
            "service", "oracle", "accumulator", "dictionary", "hybrid", "policy", "infrastructure",
            "agent"]
EVIDENCE, UCCS, SUBMODS, SHA256 = "lct-attestation-evidence", 601, 266, -16


def public_of(user, uri: str):
    """As a public key, which loads of a key that signs no more, too."""
    done = user.openssl("pkey", "-pubin", "-in", uri, "-pubout")
    return load_pem_public_key(done.stdout.encode())


def pem_of_public(public) -> bytes:
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def shown_public(user, identity: str):
    """Of a key that takes a passphrase: nobody asks for it here."""
    shown = json.loads(user.lct("show", identity, "--json").stdout)
    return load_pem_public_key(shown["public_key"].encode())


def write(user, identity: str, *options) -> dict:
    return json.loads(user.lct("document", identity, *options).stdout)


def check_document(document: dict, public, **extra) -> None:
    """As lct-jsonld.schema.json has it, and no more said than whoever holds the key can say."""
    assert set(document) == MEMBERS | set(extra)
    assert document["@context"] == ["https://web4.io/contexts/lct.jsonld"]
    assert document["@type"] == "web4:LinkedContextToken"
    assert document["lct_id"] == name_of(public)
    assert document["subject"] == f"did:web4:key:{multikey(public)}"
    assert re.fullmatch(r"did:web4:(key|method):[A-Za-z0-9_-]+", document["subject"])
    assert document["binding"]["public_key"] == multikey(public)
    assert set(document["mrh"]) == {"bound", "paired", "witnessing", "horizon_depth",
                                    "last_updated"}
    assert document["mrh"]["bound"] == document["mrh"]["paired"] == []
    assert document["policy"] == {"capabilities": [], "constraints": {}}
    assert set(document["t3_tensor"].values()) == {0.1}
    assert set(document["v3_tensor"].values()) == {0}


# What lct writes


def test_a_document_has_exactly_the_members_that_the_schema_allows(owner):
    document, public = write(owner, "ec"), public_of(owner, "lct:ec")
    check_document(document, public)
    binding = document["binding"]
    assert set(binding) == {"entity_type", "public_key", "created_at", "binding_proof"}
    assert binding["entity_type"] == "device"
    assert binding["public_key"].startswith("zDn")
    assert re.fullmatch(r"cose:[A-Za-z0-9_-]+", binding["binding_proof"])
    assert document["revocation"] == {"status": "active", "ts": None, "reason": None}
    shown = json.loads(owner.lct("show", "ec", "--json").stdout)
    assert binding["created_at"] == shown["created"]
    assert document["lct_id"] == shown["web4_name"]


def test_the_binding_proof_is_a_cose_sign1_over_deterministic_cbor(owner):
    public = public_of(owner, "lct:ec")
    header = check_proof(write(owner, "ec"), public)
    assert header == {ALG: ES256, CONTENT: CONTENT_TYPE, KID: name_of(public).encode()}


def test_with_jose_all_of_the_document_is_signed(owner):
    public = public_of(owner, "lct:ec")
    header, document = check_jws(owner.lct("document", "ec", "--jose").stdout, public)
    assert header == {"alg": "ES256", "kid": name_of(public), "typ": TYP}
    check_document(document, public)
    check_proof(document, public)


@pytest.mark.parametrize("entity", ENTITIES)
def test_the_entity_is_one_of_web4_s(owner, entity):
    assert write(owner, "ec", "--entity-type", entity)["binding"]["entity_type"] == entity


@pytest.mark.parametrize("entity", ["", "Device", "toaster", "device "])
def test_another_entity_is_refused(owner, entity):
    done = owner.lct("document", "ec", "--entity-type", entity, status=USAGE)
    assert "Web4 knows of no entity" in one_sentence(done.stderr) and done.stdout == ""


@pytest.mark.parametrize("identity", ["p384", "rsa"])
def test_a_key_that_web4_has_no_name_for_has_no_document(owner, identity):
    for options in ([], ["--jose"]):
        done = owner.lct("document", identity, *options, status=UNSUPPORTED)
        assert f"lct:{identity}: only an Ed25519 or P-256 key" in one_sentence(done.stderr)


@pytest.mark.parametrize("algorithm", ["ec-p256", "ed25519"])
@pytest.mark.parametrize("form", [[], ["--jose"]], ids=["json", "jose"])
def test_a_software_identity_has_a_document(user, algorithm, form):
    secret = user.write("secret", "a passphrase\n")
    user.lct("create", "soft", "--software", "--algorithm", algorithm, "--passphrase-file", secret)
    public = shown_public(user, "soft")
    made = user.lct("document", "soft", *form, "--passphrase-file", secret).stdout
    document = check_jws(made, public)[1] if form else json.loads(made)
    check_document(document, public)
    assert check_proof(document, public)[ALG] == (EDDSA if algorithm == "ed25519" else ES256)
    user.lct("verify", user.write("made", made), "--key",
             user.write("key.pem", pem_of_public(public)))


def test_a_key_with_a_passphrase_signs_its_document_with_it(user):
    secret = user.write("secret", "a passphrase\n")
    user.lct("create", "alice", "--passphrase-file", secret)
    assert user.lct("document", "alice", status=12).stdout == ""
    check_proof(write(user, "alice", "--passphrase-file", secret), shown_public(user, "alice"))


# Life


@pytest.fixture(name="followed")
def fixture_followed(owner):
    """`ec` has two generations; the first was active until 2020, or is."""
    owner.lct("create", "other")
    add_generation(owner, "ec", "other")
    owner.lct("delete", "other", "--yes")
    return owner


def follow(user, until: str):
    """The second generation is active, and the first signs until that time."""

    def change(record):
        record["generations"][0]["until"] = until
        record["generations"][1]["created"] = "2026-02-03T04:05:06Z"

    user.edit_record("ec", change)


def test_after_a_rotation_the_lineage_names_the_earlier_key(followed):
    follow(followed, "2020-01-01T00:00:00Z")
    document, public = write(followed, "ec"), public_of(followed, "lct:ec")
    check_document(document, public, lineage=True)
    first = public_of(followed, "lct:ec?generation=1")
    assert document["lineage"] == [{"parent": name_of(first), "reason": "rotation",
                                    "ts": "2026-02-03T04:05:06Z"}]
    assert document["revocation"]["status"] == "active"
    check_proof(document, public)
    followed.lct("verify", followed.write("d.json", json.dumps(document)))


def test_a_rotated_identity_says_what_it_was_and_a_revoked_one_that_it_is(owner):
    first = public_of(owner, "lct:ec")
    owner.lct("rotate", "ec")
    owner.lct("rotate", "ec", "--commit")
    _, document = check_jws(owner.lct("document", "ec", "--jose").stdout, public_of(owner, "lct:ec"))
    assert [entry["parent"] for entry in document["lineage"]] == [name_of(first)]
    owner.lct("revoke", "ec", "--reason", "compromise", "--yes")
    revocation = json.loads(owner.lct("document", "ec").stdout)["revocation"]
    assert (revocation["status"], revocation["reason"]) == ("revoked", "compromise")


def test_an_earlier_key_in_its_overlap_still_has_a_document_of_its_own(followed):
    follow(followed, "2099-01-01T00:00:00Z")
    first = public_of(followed, "lct:ec?generation=1")
    document = write(followed, name_of(first))
    check_document(document, first)
    check_proof(document, first)
    assert document["revocation"]["status"] == "active"


def test_an_earlier_key_that_signs_no_more_has_a_document_that_says_so_without_proof(followed):
    follow(followed, "2020-01-01T00:00:00Z")
    first = public_of(followed, "lct:ec?generation=1")
    done = followed.lct("document", name_of(first))
    assert "it signs no more, so the document has no binding proof" in done.stderr
    document = json.loads(done.stdout)
    assert "binding_proof" not in document["binding"]
    assert document["revocation"] == {"status": "revoked", "ts": "2020-01-01T00:00:00Z",
                                      "reason": "superseded"}
    followed.lct("document", name_of(first), "--jose", status=ENDED)
    assert "revoked" in followed.lct("verify", followed.write("d.json", done.stdout),
                                     status=REFUSED).stderr


def test_a_pending_key_has_no_document_yet(followed):
    def change(record):
        record["active"] = 1
        record["generations"][0].pop("until", None)

    followed.edit_record("ec", change)
    second = name_of(public_of(followed, "lct:ec?generation=2"))
    done = followed.lct("document", second, status=UNSUPPORTED)
    assert "is pending" in one_sentence(done.stderr)


@pytest.mark.parametrize("ending, reason", [("revoked", "compromise"), ("retired", None)])
def test_the_end_of_an_identity_is_in_its_document(owner, ending, reason):
    def change(record):
        record["state"] = ending
        record["ended"] = {"reason": reason, "time": "2026-03-04T05:06:07Z"}

    owner.edit_record("ec", change)
    done = owner.lct("document", "ec")
    document = json.loads(done.stdout)
    assert document["revocation"] == {"status": "revoked", "ts": "2026-03-04T05:06:07Z",
                                      "reason": reason or "retired"}
    assert "signs no more" in done.stderr and "binding_proof" not in document["binding"]
    owner.lct("document", "ec", "--jose", status=ENDED)


# Evidence


@pytest.fixture(name="proven")
def fixture_proven(holder, make_user, maker):
    """Who has a TPM with EK certificates, the identity alice, and evidence of it."""
    holder.lct("create", "alice")
    verifier = Verifier(make_user("none"), maker)
    evidence = respond(holder, verifier.challenge(offer(holder)))
    holder.evidence = holder.write("evidence.json", evidence)
    return holder


def test_evidence_is_named_by_its_digest_in_an_eat(proven):
    document = write(proven, "alice", "--evidence", proven.evidence)
    anchor = document["binding"]["hardware_anchor"]
    assert re.fullmatch(r"eat:[A-Za-z0-9_-]+", anchor)
    digest = hashlib.sha256(canonical(json.loads(proven.evidence.read_text()))).digest()
    claims = cbor2.CBORTag(UCCS, {SUBMODS: {EVIDENCE: [SHA256, digest]}})
    assert to_bytes(anchor.removeprefix("eat:")) == cbor2.dumps(claims)
    check_proof(document, public_of(proven, "lct:alice"))
    done = proven.lct("verify", "--json", proven.write("d.json", json.dumps(document)))
    assert json.loads(done.stdout)["evidence"] == digest.hex()
    assert outcomes(done.stdout)["hardware"] == "not_claimed"


def test_evidence_of_another_key_is_refused(proven):
    proven.lct("create", "bob")
    done = proven.lct("document", "bob", "--evidence", proven.evidence, status=WRONG_KEY)
    assert "evidence of another key than lct:bob" in one_sentence(done.stderr)


@pytest.mark.parametrize("content", ["{}", "", "evidence", '{"type": "lct-attestation-evidence"}'])
def test_what_is_no_evidence_is_not_named(owner, content):
    done = owner.lct("document", "ec", "--evidence", owner.write("e", content), status=MALFORMED)
    assert done.stdout == "" and one_sentence(done.stderr)
    owner.lct("document", "ec", "--evidence", "nowhere", status=18)


# What lct judges


def sentence(done) -> str:
    """Of lct-verify."""
    assert done.stderr.startswith("lct-verify: ")
    return one_sentence(done.stderr.replace("lct-verify", "lct", 1))


class Judge:
    """Who judges documents with lct-verify, which needs no TPM."""

    def __init__(self, user):
        self.user = user

    def run(self, document: dict | str | bytes, *options, status: int = 0):
        content = json.dumps(document) if isinstance(document, dict) else document
        return self.user.run(self.user.build / "lct-verify", *options,
                             self.user.write("document", content), status=status)

    def claims(self, document, *options, status: int = 0) -> dict[str, str]:
        return outcomes(self.run(document, "--json", *options, status=status).stdout, status)

    def refuse(self, document, claim: str, why: str, *options):
        """It is one, and does not hold: because of the claim, with these words."""
        assert self.claims(document, *options, status=REFUSED)[claim] == "fail"
        assert why in sentence(self.run(document, *options, status=REFUSED))

    def reject(self, document, why: str):
        """It is none."""
        done = self.run(document, status=MALFORMED)
        assert why in sentence(done) and done.stdout == ""


@pytest.fixture(name="judge")
def fixture_judge(make_user) -> Judge:
    return Judge(make_user("none"))


KEYS = {"p256": ec.derive_private_key(7, ec.SECP256R1()),
        "ed25519": ed25519.Ed25519PrivateKey.from_private_bytes(b"\7" * 32)}
KEY, OTHER = KEYS["p256"], ec.derive_private_key(8, ec.SECP256R1())
PARENTS = [name_of(ec.derive_private_key(number, ec.SECP256R1()).public_key())
           for number in (21, 22, 23)]


def pem_of(key) -> bytes:
    return pem_of_public(key.public_key())


def test_the_one_name_that_web4_s_own_library_pins_is_ours_too():
    """web4-core/src/lct.rs, lct_id_derivation_test_vector: the seed is 32 times 7."""
    assert name_of(KEYS["ed25519"].public_key()) == (
        "lct:web4:mb32:b72asyextvngonlc5w2nmguxza3frweppip5thyss5577kurghceq")


@pytest.mark.parametrize("kind", KEYS)
def test_a_document_that_is_well_signed_holds(judge, kind):
    key = KEYS[kind]
    assert judge.claims(document_of(key)) == {
        "id": "pass", "binding": "pass", "document": "not_claimed", "key": "not_claimed",
        "lineage": "not_claimed", "active": "not_claimed", "hardware": "not_claimed",
        "others": "not_claimed"}
    assert judge.claims(jws_of(key, document_of(key)))["document"] == "pass"
    judge.run(jws_of(key, document_of(key)) + "\n")


def test_a_judgement_says_what_it_is_of_and_what_it_does_not_show(judge):
    said = judge.run(document_of(KEY, entity_type="agent")).stdout
    assert f"document     of {name_of(KEY.public_key())}\n" in said
    assert f"entity       agent, made {CREATED}\n" in said
    assert "It does not show who holds the key, nor that hardware does.\n" in said
    found = json.loads(judge.run(document_of(KEY), "--json").stdout)
    assert (found["kind"], found["form"], found["parents"]) == ("web4-document", "json-ld", 0)
    assert found["sha256"] == hashlib.sha256(KEY.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_that_is_asked_for_is_compared(judge, kind):
    key, path = KEYS[kind], judge.user.write("key.pem", pem_of(KEYS[kind]))
    assert judge.claims(document_of(key), "--key", path)["key"] == "pass"
    judge.refuse(document_of(OTHER), "key", "another key", "--key", path)


@pytest.mark.parametrize("options", [
    ["--trust", "t"], ["--offline"], ["--require", "sealed"], ["--expect-pcrs", "p"],
    ["--threshold", "1"], ["--old-key", "k"], ["--counter", "1"]])
def test_what_is_asked_of_other_things_is_not_asked_of_a_document(judge, options):
    for document in (document_of(KEY), jws_of(KEY, document_of(KEY))):
        judge.run(document, *options, status=USAGE)


def members_of(document: dict) -> list[tuple]:
    """The paths of all strings in it."""
    found = []

    def walk(value, path):
        if isinstance(value, str):
            found.append(path)
        for name, inner in (value.items() if isinstance(value, dict) else
                            enumerate(value) if isinstance(value, list) else ()):
            walk(inner, (*path, name))

    walk(document, ())
    return found


def changed(document: dict, path: tuple, change) -> dict:
    copied = copy.deepcopy(document)
    value = copied
    for name in path[:-1]:
        value = value[name]
    value[path[-1]] = change(value[path[-1]])
    return copied


def test_each_byte_of_a_binding_counts(judge):
    """One letter is another one, each in its turn; what is not signed is not believed anyway."""
    good = document_of(KEY)
    for path in members_of(good["binding"]):
        text = good["binding"][path[0]]
        for at in range(0, len(text), max(1, len(text) // 12)):
            letter = "A" if text[at] != "A" else "B"
            spoiled = changed(good, ("binding", *path),
                              lambda value, at=at, letter=letter: value[:at] + letter
                              + value[at + 1:])
            assert judge.run(spoiled, status=None).returncode in (MALFORMED, REFUSED), (path, at)


def test_each_part_of_a_jws_counts(judge):
    good = jws_of(KEY, document_of(KEY))
    for at in range(0, len(good), len(good) // 40):
        if good[at] != ".":
            spoiled = good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1:]
            assert judge.run(spoiled, status=None).returncode in (USAGE, MALFORMED, REFUSED), at


def test_a_document_under_another_s_name_is_refused(judge):
    other = document_of(OTHER)
    judge.refuse(document_of(KEY) | {"lct_id": other["lct_id"]}, "id", "name of another key")
    judge.refuse(document_of(KEY) | {"subject": other["subject"]}, "id", "its subject")


@pytest.mark.parametrize("name", ["", "lct:web4:mb32:b", "lct:alice", "x" * 100,
                                  "lct:web4:mb32:b" + "a" * 52, "lct:web4:mb32:b" + "\x1b" * 52])
def test_a_name_that_is_none_is_refused(judge, name):
    assert judge.run(document_of(KEY) | {"lct_id": name}, status=None).returncode in (
        MALFORMED, REFUSED)


def test_a_proof_by_another_key_is_refused(judge):
    good = document_of(KEY)
    by_other = proof_of(OTHER, good["binding"], header_of(KEY))
    judge.refuse(changed(good, ("binding", "binding_proof"), lambda _: by_other), "binding",
                 "its signature is not by the public key")


def test_a_proof_of_another_binding_is_refused(judge):
    for change in ({"entity_type": "agent"}, {"created_at": "2026-06-01T00:00:01Z"},
                   {"hardware_anchor": "eat:AA"}):
        proof = document_of(KEY, **change)["binding"]["binding_proof"]
        judge.refuse(document_of(KEY, binding_proof=proof), "binding", "a proof of another binding")


def test_a_document_without_a_proof_claims_nothing(judge):
    document = document_of(KEY)
    del document["binding"]["binding_proof"]
    assert judge.claims(document, status=REFUSED)["binding"] == "not_claimed"
    assert "binding is not claimed" in sentence(judge.run(document, status=REFUSED))


def test_a_binding_of_the_future_is_refused_until_then(judge):
    document = document_of(KEY, created_at="2098-01-01T00:00:00Z")
    judge.refuse(document, "binding", "has not come")
    judge.run(document, "--time", "2098-01-01T00:00:00Z")


BINDING = {"entity_type": "device", "public_key": multikey(KEY.public_key()),
           "created_at": CREATED}
HEADER = cbor2.dumps(header_of(KEY), canonical=True)
PAYLOAD = payload_of(BINDING)


def cose(header: bytes = HEADER, payload: bytes = PAYLOAD, head: bytes = b"\xd2\x84",
         unprotected: bytes = b"\xa0", tail: bytes = b"", wrap=cbor2.dumps) -> bytes:
    """Put together by hand; the signature is good whatever the rest is."""
    signature = sign(KEY, to_be_signed(header, payload))
    return head + wrap(header) + unprotected + wrap(payload) + wrap(signature) + tail


def long_form(content: bytes) -> bytes:
    """A byte string whose length takes two bytes, though it could take one."""
    return b"\x59" + len(content).to_bytes(2, "big") + content


def indefinite(content: bytes) -> bytes:
    return b"\x5f" + cbor2.dumps(content) + b"\xff"


ORDER = b"\xa3" + b"\x03" + cbor2.dumps(CONTENT_TYPE) + b"\x01\x26" + b"\x04" + cbor2.dumps(
    name_of(KEY.public_key()).encode())
TWICE = HEADER.replace(b"\xa3\x01\x26", b"\xa4\x01\x26\x01\x26")
WRONG_COSE = {
    "no tag": cose(head=b"\x84"), "another tag": cose(head=b"\xd3\x84"),
    "a tag in two bytes": cose(head=b"\xd8\x12\x84"), "two tags": cose(head=b"\xd2\xd2\x84"),
    "three items": cose(head=b"\xd2\x83"), "five items": cose(head=b"\xd2\x85", tail=b"\0"),
    "an array in two bytes": cose(head=b"\xd2\x98\x04"),
    "an array without end": cose(head=b"\xd2\x9f", tail=b"\xff"),
    "trailing bytes": cose(tail=b"\0"), "long lengths": cose(wrap=long_form),
    "strings without end": cose(wrap=indefinite), "text for bytes": cose(unprotected=b"\x60"),
    "an unprotected alg": cose(unprotected=b"\xa1\x01\x26"),
    "an unprotected map in two bytes": cose(unprotected=b"\xb8\x00"),
    "an empty header": cose(b""), "a header that is no map": cose(b"\x80"),
    "keys out of order": cose(ORDER), "a key twice": cose(TWICE),
    "a number in two bytes": cose(HEADER.replace(b"\x01\x26", b"\x01\x38\x06")),
    "a key in two bytes": cose(HEADER.replace(b"\x01\x26", b"\x18\x01\x26")),
    "a critical header": cose(cbor2.dumps(header_of(KEY) | {2: [99], 99: 1})),
    "no kid": cose(cbor2.dumps({ALG: ES256, CONTENT: CONTENT_TYPE})),
    "no alg": cose(cbor2.dumps({CONTENT: CONTENT_TYPE, KID: b"x"})),
    "an alg in words": cose(cbor2.dumps(header_of(KEY) | {ALG: "ES256"})),
    "alg none": cose(cbor2.dumps(header_of(KEY) | {ALG: 0})),
    "alg EdDSA": cose(cbor2.dumps(header_of(KEY) | {ALG: EDDSA})),
    "alg ES384": cose(cbor2.dumps(header_of(KEY) | {ALG: -35})),
    "an endless alg": cose(HEADER.replace(b"\x26", b"\x3b" + b"\xff" * 8, 1)),
    "another content type": cose(cbor2.dumps(header_of(KEY) | {CONTENT: "application/cbor"})),
    "another kid": cose(cbor2.dumps(header_of(KEY) | {KID: name_of(OTHER.public_key()).encode()})),
    "a kid in escapes": cose(cbor2.dumps(header_of(KEY) | {KID: b"\x1b[2J"})),
    "a header behind its end": cose(HEADER + b"\0"),
    "no payload": cose(payload=b""), "a detached payload": cose().replace(cbor2.dumps(PAYLOAD),
                                                                         b"\xf6"),
    "a payload with a proof": cose(payload=cbor2.dumps(BINDING | {"binding_proof": None})),
    "a payload out of order": cose(payload=cbor2.dumps(BINDING)),
    "a null anchor in the payload": cose(payload=cbor2.dumps(BINDING | {"hardware_anchor": None},
                                                             canonical=True)),
    "a short signature": cose()[:-65] + b"\x58\x3f" + cose()[-63:],
    "a signature of zeros": cose()[:-64] + bytes(64),
    "a signature in DER": cose()[:-66] + cbor2.dumps(KEY.sign(b"", ECDSA)),
    "nothing": b"", "a tag alone": b"\xd2", "cut off": cose()[:-1],
    "a length of 2^64": b"\xd2\x84\x5b" + b"\xff" * 8, "deep": b"\x81" * 10000,
    "deep tags": b"\xd2" * 10000}


def test_the_hand_that_writes_wrong_proofs_writes_good_ones_too(judge):
    judge.run(document_of(KEY, binding_proof="cose:" + to_text(cose())))


@pytest.mark.parametrize("content", WRONG_COSE.values(), ids=WRONG_COSE)
def test_a_proof_in_another_form_is_refused(judge, content):
    document = document_of(KEY, binding_proof="cose:" + to_text(content))
    judge.refuse(document, "binding", "its binding_proof")


def test_a_proof_that_is_cut_anywhere_is_refused(judge):
    whole = cose()
    for end in range(0, len(whole), 7):
        judge.refuse(document_of(KEY, binding_proof="cose:" + to_text(whole[:end])), "binding",
                     "its binding_proof")


@pytest.mark.parametrize("change", [
    lambda text: text.replace("cose:", "COSE:"), lambda text: text.replace("cose:", ""),
    lambda text: text.replace("cose:", "cose:ES256:"), lambda text: text + "=",
    lambda text: text + " ", lambda text: "cose:", lambda text: "cose:" + "A" * 100000,
    lambda text: "tpm2_signature_pending"])
def test_a_proof_that_is_not_base64url_behind_its_prefix_is_refused(judge, change):
    good = document_of(KEY)
    judge.refuse(changed(good, ("binding", "binding_proof"), change), "binding",
                 "its binding_proof")


WRONG_KEYS = {
    "none": "", "no prefix": multikey(KEY.public_key())[1:], "z alone": "z",
    "base64url": "u" + to_text(b"\x80\x24" + bytes(33)), "a letter of none": "z0OIl",
    "another kind": "z" + "6" * 48, "too long": multikey(KEY.public_key()) + "1",
    "endless": "z" + "1" * 5000, "a leading zero": "z1" + multikey(KEY.public_key())[1:],
    "not on the curve": None, "uncompressed": None, "a secret key": None, "a PEM": None}


def test_a_public_key_that_is_none_is_refused(judge):
    point = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    wrong = WRONG_KEYS | {
        "not on the curve": "z" + base58(b"\x80\x24\x02" + b"\xff" * 32),
        "uncompressed": "z" + base58(b"\x80\x24" + point),
        "a secret key": "z" + base58(b"\x86\x26" + bytes([1] * 32)),
        "a PEM": pem_of(KEY).decode()}
    for title, text in wrong.items():
        done = judge.run(document_of(KEY, public_key=text), status=MALFORMED)
        assert "Multikey" in sentence(done), title


def entry(parent: str = PARENTS[0], reason: str = "rotation", **members) -> dict:
    return {"parent": parent, "reason": reason} | members


def test_a_lineage_is_told_and_claims_nothing(judge):
    lineage = [entry(PARENTS[0], ts="2026-01-01T00:00:00Z"), entry(PARENTS[1], "upgrade"),
               entry(PARENTS[2], ts="2026-02-01T00:00:00Z")]
    done = judge.run(document_of(KEY, lineage), "--json")
    assert json.loads(done.stdout)["parents"] == 3
    assert outcomes(done.stdout)["lineage"] == "not_claimed"
    assert "have not signed this" in done.stdout


@pytest.mark.parametrize("lineage", [
    [], {}, "x", None, [None], [entry("lct:alice")], [entry(name_of(KEY.public_key()))],
    [entry(reason="theft")], [entry(ts="yesterday")], [entry(more=1)], [{"parent": PARENTS[0]}],
    [entry(), entry()], [entry(PARENTS[0], ts="2026-02-01T00:00:00Z"),
                         entry(PARENTS[1], ts="2026-01-01T00:00:00Z")],
    [entry(PARENTS[0][:-1] + "b")], [entry(str(number)) for number in range(2000)]])
def test_a_lineage_that_is_none_is_refused(judge, lineage):
    document = document_of(KEY)
    document["lineage"] = lineage
    judge.refuse(document, "lineage", "its lineage")


@pytest.mark.parametrize("revocation, why", [
    ({"status": "revoked", "ts": CREATED, "reason": "compromise"},
     f"it is revoked since {CREATED}: compromise"),
    ({"status": "revoked"}, "it is revoked"), ({"status": "suspended"}, "it is suspended"),
    ({"status": "active", "ts": CREATED, "reason": None}, "contradicts itself"),
    ({"status": "superseded"}, "contradicts itself"), ({"status": ""}, "contradicts itself"),
    ({"status": "revoked", "ts": "now"}, "none"),
    ({"status": "revoked", "reason": "\x1b[2J"}, "none")])
def test_a_document_that_is_revoked_does_not_hold(judge, revocation, why):
    document = document_of(KEY) | {"revocation": revocation}
    judge.refuse(document, "active", why)
    judge.refuse(jws_of(KEY, document), "active", why)


@pytest.mark.parametrize("anchor", ["eat:AAAA", "eat:", "0x81010001", "tpm2", "x" * 5000])
def test_an_anchor_of_another_kind_is_no_claim_of_hardware(judge, anchor):
    assert judge.claims(document_of(KEY, hardware_anchor=anchor))["hardware"] == "not_claimed"


def test_what_others_say_in_it_is_not_judged(judge):
    birth = {"issuing_society": "lct:web4:s", "citizen_role": "lct:web4:r",
             "birth_timestamp": CREATED, "birth_witnesses": ["a", "b", "c"]}
    done = judge.run(document_of(KEY) | {"birth_certificate": birth, "attestations": []}, "--json")
    assert outcomes(done.stdout)["others"] == "not_claimed"
    assert "not judged" in json.loads(done.stdout)["claims"]["others"]["reason"]


def without(name: str):
    return lambda document: {key: value for key, value in document.items() if key != name}


WRONG_SHAPES = {
    **{f"no {name}": without(name) for name in sorted(MEMBERS - {"lct_id", "binding"})},
    "hardware_bound": lambda document: document | {"hardware_bound": True},
    "a level": lambda document: document | {"capability_level": 5},
    "hardware_type in the binding": lambda document: changed(
        document, ("binding",), lambda binding: binding | {"hardware_type": "tpm2"}),
    "another type": lambda document: document | {"@type": "web4:Other"},
    "another context": lambda document: document | {"@context": ["https://example.org"]},
    "a context that is text": lambda document: document | {"@context": "x"},
    "no context": lambda document: document | {"@context": []},
    "another entity": lambda document: changed(document, ("binding", "entity_type"),
                                               lambda _: "toaster"),
    "another time": lambda document: changed(document, ("binding", "created_at"),
                                             lambda _: "2026-06-01 00:00:00"),
    "no time of the calendar": lambda document: changed(document, ("binding", "created_at"),
                                                        lambda _: "2026-13-01T00:00:00Z"),
    "a binding that is a list": lambda document: document | {"binding": []},
    "a tensor above 1": lambda document: changed(document, ("t3_tensor", "talent"), lambda _: 1.1),
    "a tensor below 0": lambda document: changed(document, ("v3_tensor", "validity"),
                                                 lambda _: -1),
    "a tensor in words": lambda document: changed(document, ("t3_tensor", "talent"),
                                                  lambda _: "0.1"),
    "no horizon": lambda document: changed(document, ("mrh", "horizon_depth"), lambda _: 0),
    "capabilities of numbers": lambda document: document | {"policy": {"capabilities": [1]}},
    "a revocation with more": lambda document: document | {
        "revocation": {"status": "active", "by": "me"}}}


@pytest.mark.parametrize("change", WRONG_SHAPES.values(), ids=WRONG_SHAPES)
def test_a_document_of_another_shape_is_none(judge, change):
    document = change(document_of(KEY))
    done = judge.run(document, status=None)
    assert done.returncode in (MALFORMED, REFUSED), done.stderr
    assert done.returncode == MALFORMED or "created_at" in done.stderr
    assert judge.run(jws_of(KEY, document), status=None).returncode == done.returncode


@pytest.mark.parametrize("content", [
    json.dumps(document_of(KEY)).replace('"lct_id"', '"lct_id": "x", "lct_id"', 1),
    json.dumps(document_of(KEY))[:-1], json.dumps(document_of(KEY)) + "{}",
    '{"lct_id": 1, "binding": ' + "[" * 100000 + "]" * 100000 + "}",
    '{"lct_id": "x", "binding": {}, "x": "' + "A" * (1 << 20) + '"}'],
    ids=["twice", "cut off", "two", "deep", "a long member"])
def test_what_is_no_json_of_one_document_is_refused(judge, content):
    assert sentence(judge.run(content, status=MALFORMED))


@pytest.mark.parametrize("header, why", [
    ({"alg": "none"}, "not by the public key"), ({"alg": "HS256"}, "not by the public key"),
    ({"alg": "ES384"}, "not by the public key"), ({"kid": PARENTS[0]}, "kid")])
def test_a_jws_with_another_header_is_refused(judge, header, why):
    judge.refuse(jws_of(KEY, document_of(KEY), **header), "document", why)


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"crit": ["exp"]}, {"jwk": {}}, {"b64": False}])
def test_a_jws_that_says_more_or_is_of_another_type_is_no_document(judge, header):
    assert judge.run(jws_of(KEY, document_of(KEY), **header), status=None).returncode in (
        USAGE, MALFORMED)


def test_a_jws_by_another_key_is_refused(judge):
    jws = jws_of(OTHER, document_of(KEY), kid=name_of(KEY.public_key()))
    judge.refuse(jws, "document", "its signature is not by the public key in it")


def test_a_jws_of_what_is_no_document_is_refused(judge):
    for payload in (b"", b"{}", b"[]", b"x", canonical(document_of(KEY))[:-1]):
        assert sentence(judge.run(jws_of(KEY, payload), status=MALFORMED))
