# SPDX-License-Identifier: Apache-2.0
"""
Statements on the life of an identity, by another hand than lct's: JWS of several signatures
(RFC 7515, 7.2.1) over canonical JSON (RFC 8785), with keys of openssl's.
"""

import base64
import hashlib
import json
from pathlib import Path

from attesting import canonical, to_text
from forger import KEY, name_of, sized
from sealing import openssl
from test_issue import CLAIMS, JOSE, ak_area, encode, signature_of, stamp
from x509 import Key, Keys

NOW = 1780272000  # 2026-06-01T00:00:00Z
CREATED = stamp(NOW)
ALGORITHMS = {"p256": "ec-p256", "p384": "ec-p384", "rsa": "rsa-2048", "ed25519": "ed25519"}


class Edwards(Key):
    """Of Ed25519, which signs messages."""

    def __init__(self, path: Path):  # pylint: disable=super-init-not-called
        self.path, self.kind = path, "ed25519"
        openssl("genpkey", "-algorithm", "ED25519", "-out", path)
        self.spki = openssl("pkey", "-in", path, "-pubout", "-outform", "DER")

    def sign(self, message: bytes, digest: str = "") -> bytes:
        where = self.path.with_suffix(".message")
        where.write_bytes(message)
        return openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", where)


class Ring(Keys):
    """Key pairs of all the kinds that identities have."""

    def key(self, kind: str, title: str = "ek") -> Key:
        path = self.directory / f"{title}-{kind}.pem"
        if kind == "ed25519" and path not in self.made:
            self.made[path] = Edwards(path)
        return super().key(kind, title)


def kid_of(key: Key) -> str:
    return hashlib.sha256(key.spki).hexdigest()


def public_pem(key: Key) -> bytes:
    return openssl("pkey", "-in", key.path, "-pubout")


def subject(key: Key, generation: int, name: str | None = None, **changes) -> dict:
    return {"generation": generation, "algorithm": ALGORITHMS[key.kind],
            "custody": "tpm" if name else "software", "name": name,
            "public_key": base64.b64encode(key.spki).decode()} | changes


def succession(old: Key, new: Key, /, **changes) -> dict:
    return {"type": "lct-succession", "version": 1, "id": "alice", "counter": 5,
            "reason": "superseded", "created": CREATED, "old": subject(old, 1),
            "new": subject(new, 2), "evidence": None} | changes


def end(key: Key, /, **changes) -> dict:
    return {"type": "lct-end", "version": 1, "id": "alice", "counter": 5, "ending": "revoked",
            "reason": "compromise", "created": CREATED, "key": subject(key, 1)} | changes


def said(content: bytes, /, **changes) -> dict:
    return {"type": "lct-statement", "version": 1, "id": "alice", "generation": 1,
            "created": CREATED, "kind": "note", "content": to_text(content)} | changes


def header(key: Key, role: str, /, **changes) -> dict:
    """Of one signature; what is changed to None is left out."""
    algorithm = "EdDSA" if key.kind == "ed25519" else JOSE[key.kind][0]
    members = {"alg": algorithm, "kid": kid_of(key), "role": role, "typ": "lct-statement+jws"}
    members |= {"time": CREATED} if role == "witness" else {}
    return {name: value for name, value in (members | changes).items() if value is not None}


def signature(payload: bytes, protected: dict | bytes, key: Key) -> dict:
    if isinstance(protected, dict):
        protected = canonical(protected)
    message = f"{to_text(protected)}.{to_text(payload)}".encode()
    made = key.sign(message) if key.kind == "ed25519" else signature_of(message, key)
    return {"protected": to_text(protected), "signature": to_text(made)}


def statement(payload: dict | bytes, *signers: tuple) -> dict:
    """Each signer: a key, its role, and perhaps what of its header is changed."""
    if isinstance(payload, dict):
        payload = canonical(payload)
    made = [signature(payload, header(key, role, **(changes[0] if changes else {})), key)
            for key, role, *changes in signers]
    return {"payload": to_text(payload), "signatures": made}


def verdict(witness: Key, new: Key, days: float = 1, claims: dict | None = None, at: int = NOW,
            **changes) -> str:
    """A signed one, as lct attest issue makes it, on a key."""
    area = ak_area(new, KEY)
    payload = {"type": "lct-attestation-verdict", "version": 1, "issued": stamp(at),
               "expires": stamp(at + int(days * 86400)), "id": "alice", "generation": 2,
               "key": to_text(sized(area)), "name": name_of(area).hex(), "ak": "000b" + "11" * 32,
               "ek": "22" * 32, "challenge": "33" * 16, "evidence": "44" * 32,
               "claims": claims or CLAIMS} | changes
    return encode({"alg": JOSE[witness.kind][0], "kid": kid_of(witness),
                   "typ": "lct-verdict+jws"}, payload, witness)


class Judge:
    """lct-verify, the program that makes statements, and a directory for their files."""

    def __init__(self, user):
        self.user, self.program, self.count = user, user.build / "tests" / "statement", 0

    def file(self, content) -> Path:
        self.count += 1
        if isinstance(content, dict):
            content = json.dumps(content)
        return self.user.write(f"{self.count}.file", content)

    def trust(self, *witnesses: Key, **members) -> Path:
        return self.file({"version": 1, "witnesses": [
            str(self.file(public_pem(key))) for key in witnesses]} | members)

    def make(self, *arguments, status: int = 0) -> str:
        return self.user.run(self.program, *arguments, status=status).stdout

    def run(self, content, *options, status: int = 0, now: int | None = NOW):
        """What lct-verify makes of it; `now` None: it is judged as of now."""
        at = [] if now is None else ["--time", stamp(now)]
        return self.user.run(self.user.build / "lct-verify", self.file(content), *at, *options,
                             status=status)

    def holds(self, content, *options, **named) -> dict:
        found = json.loads(self.run(content, "--json", *options, **named).stdout)
        assert found["holds"] and found["fault"] is None
        return found

    def refuses(self, content, reason: str, *options, status: int = 23, **named) -> dict | None:
        """It does not hold, for this reason; malformed ones (22) are not even shown."""
        done = self.run(content, "--json", *options, status=status, **named)
        assert reason in json.loads(done.stderr)["error"]["message"], done.stderr
        assert len(done.stderr.splitlines()) == 1
        if status != 23:
            assert not done.stdout
            return None
        found = json.loads(done.stdout)
        assert not found["holds"] and reason in found["fault"]
        return found


