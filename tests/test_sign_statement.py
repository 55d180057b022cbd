# SPDX-License-Identifier: Apache-2.0
"""lct sign --type: what an identity says, signed with who says it, when, and as what."""

import hashlib
import json
import re

import pytest
from jwcrypto import jwk, jws

from attesting import to_bytes, to_text
from conftest import ALGORITHMS
from test_command import one_sentence
from tpm import Command

CONTENT = b'{"scope": ["read"], "to": "bob"}\n'
JOSE = {"ec": "ES256", "p384": "ES384", "rsa": "RS256", "rsa3072": "RS256"}
PAYLOAD = {"type", "version", "id", "generation", "created", "kind", "content"}
MAX_CONTENT = 1 << 20


def decode(text: str) -> bytes:
    """base64url without padding, in its only form."""
    raw = to_bytes(text)
    assert to_text(raw) == text
    return raw


def state(user, identity: str, kind: str = "delegation", content: bytes = CONTENT, *options,
          **more) -> str:
    return user.lct("sign", identity, "--type", kind, *options, "-", stdin=content, **more).stdout


def payload_of(statement: str) -> dict:
    return json.loads(decode(json.loads(statement)["payload"]))


def header_of(statement: str) -> dict:
    (signature,) = json.loads(statement)["signatures"]
    return json.loads(decode(signature["protected"]))


def public_pem(user, identity: str) -> str:
    return json.loads(user.lct("show", identity, "--json").stdout)["public_key"]


def key_file(user, identity: str):
    return user.write(f"{identity}.pub.pem", public_pem(user, identity))


def by_jwcrypto(statement: str, pem: str) -> bytes:
    """The payload, as a library for JOSE verifies it."""
    parsed = jws.JWS()
    parsed.allowed_algs = list(set(JOSE.values()))
    parsed.deserialize(statement)
    parsed.verify(jwk.JWK.from_pem(pem.encode()))
    return parsed.payload


@pytest.mark.parametrize("identity", ALGORITHMS)
def test_a_statement_is_what_any_library_for_jose_verifies(owner, identity):
    statement = state(owner, identity)
    payload = json.loads(by_jwcrypto(statement, public_pem(owner, identity)))
    assert set(payload) == PAYLOAD
    assert payload["type"] == "lct-statement" and payload["version"] == 1
    assert (payload["id"], payload["generation"]) == (identity, 1)
    assert payload["kind"] == "delegation" and decode(payload["content"]) == CONTENT
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", payload["created"])
    owner.write("spki.pem", public_pem(owner, identity))
    spki = owner.openssl("pkey", "-pubin", "-in", "spki.pem", "-outform", "DER", text=False).stdout
    assert header_of(statement) == {"alg": JOSE[identity], "kid": hashlib.sha256(spki).hexdigest(),
                                    "role": "signer", "typ": "lct-statement+jws"}


def test_what_is_signed_is_canonical(owner):
    """RFC 8785: of ASCII and integers, members in their order and nothing between them."""
    raw = decode(json.loads(state(owner, "ec"))["payload"])
    assert raw == json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize("content", [b"", b"\0", b"\n", bytes(range(256)), b"x" * MAX_CONTENT],
                         ids=["empty", "zero", "line", "binary", "longest"])
def test_content_is_any_bytes(owner, content):
    statement = state(owner, "ec", "blob", content)
    assert decode(payload_of(statement)["content"]) == content
    verified = owner.lct("verify", "--key", key_file(owner, "ec"), "--extract", "blob",
                         owner.write("s.json", statement), text=False)
    assert verified.stdout == content


def test_a_file_is_said_as_standard_input_is(owner):
    path = owner.write("delegation.json", CONTENT)
    statement = owner.lct("sign", "ec", path, "--type", "delegation").stdout
    assert decode(payload_of(statement)["content"]) == CONTENT
    statement = owner.lct("sign", "ec", "--type", "delegation", stdin=CONTENT).stdout
    assert decode(payload_of(statement)["content"]) == CONTENT
    owner.lct("sign", "ec", "--type", "delegation", "nowhere", status=18)


@pytest.mark.parametrize("kind", ["a", "0", "a.b-c", "-", ".", "x" * 64])
def test_kinds_that_are_taken(owner, kind):
    statement = owner.lct("sign", "ec", f"--type={kind}", stdin=CONTENT).stdout
    assert payload_of(statement)["kind"] == kind


@pytest.mark.parametrize("kind", ["", "A", "a b", "a_b", "a/b", 'a"', "é", "a\n", "x" * 65])
def test_kinds_that_are_refused(owner, make_proxy, kind):
    proxy = make_proxy()
    owner.configure(tcti=proxy.tcti)
    done = owner.lct("sign", "ec", f"--type={kind}", stdin=CONTENT, status=2)
    assert done.stdout == "" and "1 to 64" in one_sentence(done.stderr)
    assert proxy.codes == [], "nothing is asked of the TPM"


@pytest.mark.parametrize("words", [["--raw"], ["--jose"], ["one", "two"]])
def test_a_statement_has_one_form(owner, words):
    assert owner.lct("sign", "ec", "--type", "note", *words, stdin=b"", status=2).stdout == ""


def test_without_a_type_a_file_is_not_signed(owner):
    done = owner.lct("sign", "ec", owner.path("data"), status=2)
    assert done.stdout == "" and "--type" in one_sentence(done.stderr)


def test_content_that_is_too_long_is_refused(owner):
    done = owner.lct("sign", "ec", "--type", "blob", stdin=b"x" * (MAX_CONTENT + 1), status=2)
    assert done.stdout == "" and "1048576" in one_sentence(done.stderr)


def test_a_statement_is_one_signature(owner, make_proxy):
    proxy = make_proxy()
    owner.configure(tcti=proxy.tcti)
    state(owner, "ec")
    assert proxy.count(Command.Sign) == 1


def test_verify_says_who_says_what(owner):
    path = owner.write("s.json", state(owner, "ec"))
    said = owner.lct("verify", "--key", key_file(owner, "ec"), path).stdout
    assert "delegation" in said and "ec" in said
    shown = json.loads(owner.lct("verify", "--key", key_file(owner, "ec"), "--json", path).stdout)
    assert shown["holds"] and shown["id"] == "ec"


def spoiled(statement: str) -> dict[str, str]:
    """Each what its name says, with the signature as it was."""
    whole = json.loads(statement)
    payload = payload_of(statement)

    def with_payload(changes: dict, canonical: bool = True) -> str:
        raw = json.dumps(payload | changes, sort_keys=True,
                         separators=(",", ":") if canonical else (", ", ": ")).encode()
        return json.dumps(whole | {"payload": to_text(raw)})

    def with_header(**changes) -> str:
        header = json.dumps(header_of(statement) | changes).encode()
        return json.dumps(whole | {"signatures": [whole["signatures"][0] |
                                                  {"protected": to_text(header)}]})

    signature = bytearray(decode(whole["signatures"][0]["signature"]))
    signature[-1] ^= 1
    return {
        "another kind": with_payload({"kind": "note"}),
        "another id": with_payload({"id": "p384"}),
        "another generation": with_payload({"generation": 2}),
        "another time": with_payload({"created": "2020-01-01T00:00:00Z"}),
        "another content": with_payload({"content": to_text(CONTENT + b" ")}),
        "a boundary moved": with_payload({"kind": "delegatio", "content": to_text(b"n" + CONTENT)}),
        "another type": with_payload({"type": "lct-succession"}),
        "not canonical": with_payload({}, canonical=False),
        "another role": with_header(role="witness"),
        "the role of a subject": with_header(role="subject"),
        "no algorithm": with_header(alg="none"),
        "another algorithm": with_header(alg="HS256"),
        "an extension": with_header(crit=["b64"]),
        "another signature": json.dumps(whole | {"signatures": [whole["signatures"][0] | {
            "signature": to_text(bytes(signature))}]}),
        "twice": json.dumps(whole | {"signatures": whole["signatures"] * 2}),
        "no signature": json.dumps(whole | {"signatures": []}),
    }


@pytest.mark.parametrize("name", spoiled(json.dumps({
    "payload": to_text(b"{}"), "signatures": [{"protected": to_text(b"{}"), "signature": "AA"}]})))
def test_a_statement_that_was_changed_says_nothing(owner, name):
    path = owner.write("s.json", spoiled(state(owner, "ec"))[name])
    for words in ([], ["--extract", "delegation"]):
        done = owner.lct("verify", "--key", key_file(owner, "ec"), *words, path, status=None)
        assert done.returncode in (2, 15, 22, 23), done.stderr
        assert CONTENT.decode() not in done.stdout
        assert not words or done.stdout == ""


def test_extract_takes_the_kind_that_was_meant_and_no_other(owner):
    path = owner.write("s.json", state(owner, "ec", "note"))
    key = key_file(owner, "ec")
    done = owner.lct("verify", "--key", key, "--extract", "delegation", path, status=23)
    assert done.stdout == "" and "note" in done.stderr
    assert owner.lct("verify", "--key", key, "--extract", "note", path).stdout == CONTENT.decode()


def test_a_statement_of_another_key_is_refused(owner):
    path = owner.write("s.json", state(owner, "ec"))
    for words in ([], ["--extract", "delegation"]):
        done = owner.lct("verify", "--key", key_file(owner, "p384"), *words, path, status=23)
        assert CONTENT.decode() not in done.stdout


def test_nothing_is_extracted_without_a_key_that_is_known(owner):
    path = owner.write("s.json", state(owner, "ec"))
    done = owner.lct("verify", "--extract", "delegation", path, status=2)
    assert done.stdout == "" and "--key" in one_sentence(done.stderr)


def test_extract_is_for_statements_alone(owner):
    path = owner.write("s.json", owner.lct("attest", "offer", "ec").stdout)
    done = owner.lct("verify", "--key", key_file(owner, "ec"), "--extract", "note", path,
                     status=None)
    assert done.returncode in (2, 22) and done.stdout == ""
