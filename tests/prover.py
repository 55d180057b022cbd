# SPDX-License-Identifier: Apache-2.0
"""
Who proves a key to a verifier, with a TPM in software: a right answer to a challenge, and each part
of it as it should not be.
"""

import copy
import hashlib
import hmac
import struct
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from attesting import attested_of, evidence_of, message, offer_of, to_bytes, to_text
from forger import (CERTIFY, FIXED_PARENT, FIXED_TPM, HASHES, KEY, ORIGIN, QUOTE, SHA256, Forger,
                    name_of, selection, sized)
from sealing import authority_public, openssl, pcr_digest, policy_of_seal
from x509 import Authority, Key, ek_certificate

OWNER, ENDORSEMENT, PLATFORM, NULL_HIERARCHY = 0x40000001, 0x4000000B, 0x4000000C, 0x40000007
STORAGE = FIXED_TPM | FIXED_PARENT | ORIGIN | 0x40 | 0x400 | 0x30000
CURVES = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}


def extra(challenge: dict, slot: str) -> bytes:
    return hashlib.sha256(message(challenge, slot)).digest()


def mac(secret: bytes, challenge: dict) -> str:
    """The answer to an activation."""
    return hmac.new(secret, message(challenge, "activation"), "sha256").hexdigest()


def kdfa(digest: str, key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """TPM 2.0 Part 1, 11.4.10.2; up to one block of the hash."""
    block = hmac.new(key, struct.pack(">I", 1) + label + b"\0" + context + struct.pack(">I", bits),
                     digest).digest()
    return block[:bits // 8]


def below(parent: bytes, name: bytes) -> bytes:
    """A qualified Name, Part 1, 16; a hierarchy's Name is its handle."""
    name_alg = struct.unpack_from(">H", name)[0]
    return name[:2] + hashlib.new(HASHES[name_alg], parent + name).digest()


def handle(hierarchy: int) -> bytes:
    return struct.pack(">I", hierarchy)


class Prover:
    """
    An endorsement key with a certificate by its maker, an attestation key, a storage key and the
    key that is proved below it. What a test wants otherwise it assigns before it asks.
    """

    def __init__(self, directory: Path, ek: str = "rsa"):
        directory.mkdir(exist_ok=True)
        self.root = Authority(self.make_key(directory / "root.pem", "p256"), "Root")
        self.ek = self.make_key(directory / "ek.pem", ek)
        self.certificate = self.root.sign(ek_certificate(self.ek))
        for name in ("ak", "key", "storage"):
            self.make_key(directory / f"{name}.pem", "p256")
        self.ak = Forger(directory / "ak.pem")
        self.key = Forger(directory / "key.pem", KEY, scheme=struct.pack(">H", 0x10))
        self.policy = b""
        self.seal, self.passphrase = None, False
        self.storage = Forger(directory / "storage.pem", STORAGE)
        self.pcrs = {number: hashlib.sha256(bytes([number])).digest() for number in range(24)}
        self.ak_chain = []
        self.changes = {}  # of the EK's public area

    @staticmethod
    def make_key(path: Path, kind: str) -> Key:
        return Key(path, kind)

    # Public areas and Names

    def ek_public(self) -> bytes:
        return self.ek.public_area(**self.changes)

    def parent_public(self) -> bytes:
        """TPMT_PUBLIC of the storage key: with AES-128-CFB, as such keys have it."""
        point = self.storage.point()
        return (struct.pack(">HHI", 0x23, SHA256, STORAGE) + sized(b"")
                + struct.pack(">HHHH", 6, 128, 0x43, 0x10) + struct.pack(">HH", 3, 0x10)
                + sized(point[:32]) + sized(point[32:]))

    def key_public(self) -> bytes:
        return Forger.ecc(self.key.point(), self.key.attributes, self.key.name_alg,
                          self.key.scheme, self.policy)

    def key_place(self, hierarchy: int = OWNER) -> bytes:
        """The key's qualified Name."""
        parent = below(handle(hierarchy), name_of(self.parent_public()))
        return below(parent, name_of(self.key_public()))

    def seal_to(self, kind: str, spec: str = "sha256:7", authority: bytes = b"",
                passphrase: bool = False):
        """The key gets the policy of a seal, and the offer says so; `authority` is in PEM."""
        numbers = [int(number) for number in spec.removeprefix("sha256:").split(",")]
        found = [self.pcrs[number] for number in numbers]
        public = authority_public(authority) if authority else b""
        self.policy = policy_of_seal(kind, spec, found, public, passphrase=passphrase)
        self.passphrase = passphrase
        self.seal = {"kind": kind, "pcrs": spec}
        if kind != "authority":
            self.seal |= {"pcr_digest": pcr_digest(found).hex(), "values": {
                "sha256": {str(number): self.pcrs[number].hex() for number in numbers}}}
        if kind != "strict":
            self.seal |= {"authority": public.hex(), "policy_ref": ""}

    def ak_place(self, hierarchy: int = ENDORSEMENT) -> bytes:
        return below(handle(hierarchy), name_of(self.ak.public()))

    # The three documents

    def offer(self, **members) -> dict:
        return offer_of(self.key_public(), self.ak.public(), (self.ek_public(), self.certificate),
                        chain=self.ak_chain, parent=self.parent_public(),
                        passphrase=self.passphrase, seal=self.seal, **members)

    def respond(self, challenge: dict, **parts) -> dict:
        """Evidence; `parts` are what is there instead of the right ones."""
        right = {"activation": None, "certify": None, "quote": None}
        if challenge["credential"] and "activation" not in parts:
            direct = challenge["mode"] == "direct"
            secret = self.activate(challenge, name_of(
                self.key_public() if direct else self.ak.public()))
            right["activation"] = mac(secret, challenge)
        if challenge["mode"] == "ak" and "certify" not in parts:
            right["certify"] = self.certify(challenge)
        if challenge["pcrs"] and "quote" not in parts:
            right["quote"] = self.quote(challenge)
        return evidence_of(copy.deepcopy(challenge), **right) | {
            "possession": self.possess(challenge)} | parts

    # Their parts

    def attested(self, attest: bytes, signer: Forger | None = None) -> dict:
        return attested_of(attest, (signer or self.ak).sign(attest))

    def certify(self, challenge: dict, **fields) -> dict:
        """`name` and `place`: what is certified; other `fields` are of Forger.attest."""
        body = sized(fields.pop("name", name_of(self.key_public()))) + sized(
            fields.pop("place", self.key_place()))
        given = {"extra": extra(challenge, "certify"), "signer": self.ak_place()} | fields
        return self.attested(self.ak.attest(CERTIFY, body, **given))

    def quote(self, challenge: dict, pcrs: list | None = None, shown: dict | None = None,
              **fields) -> dict:
        """Of `pcrs`, with the values `shown` beside it."""
        asked = [int(number) for number in challenge["pcrs"].removeprefix("sha256:").split(",")]
        quoted = asked if pcrs is None else pcrs
        digest = hashlib.sha256(b"".join(self.pcrs[number] for number in quoted)).digest()
        bits = sum(1 << number for number in quoted)
        given = {"extra": extra(challenge, "quote"), "signer": self.ak_place(),
                 "clock": 2000} | fields
        attest = self.ak.attest(QUOTE, selection((SHA256, bits)) + sized(digest), **given)
        values = {str(number): self.pcrs[number].hex() for number in asked}
        return self.attested(attest) | {"values": {"sha256": values if shown is None else shown}}

    def possess(self, challenge: dict, signer: Forger | None = None) -> dict:
        signature = openssl("dgst", "-sha256", "-sign", (signer or self.key).key,
                            stdin=message(challenge, "possession"))
        return {"scheme": "ecdsa", "hash": "sha256", "signature": to_text(signature)}

    def seed(self, encrypted: bytes, digest: str) -> bytes:
        """What a credential's keys are derived from: Part 1, B.10.4 and C.6.4."""
        private = load_pem_private_key(self.ek.path.read_bytes(), None)
        if self.ek.is_rsa:
            kind = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384()}[digest]
            return private.decrypt(encrypted, padding.OAEP(padding.MGF1(kind), kind,
                                                           b"IDENTITY\0"))
        size = len(encrypted) // 2 - 2
        x, y = encrypted[2:2 + size], encrypted[4 + size:]
        peer = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y),
                                             CURVES[self.ek.kind]).public_key()
        shared = private.exchange(ec.ECDH(), peer)
        own = self.ek.bits[1:1 + size]
        return hashlib.new(digest, struct.pack(">I", 1) + shared + b"IDENTITY\0" + x + own).digest()

    def activate(self, challenge: dict, name: bytes) -> bytes:
        """TPM2_ActivateCredential: the secret, for an object of this Name; else ValueError."""
        blob, encrypted = (to_bytes(challenge["credential"][member])
                           for member in ("id_object", "secret"))
        digest = "sha384" if self.ek.kind == "p384" else "sha256"
        bits = 256 if self.ek.kind == "p384" else 128
        seed = self.seed(encrypted, digest)
        size = len(seed)
        integrity, hidden = blob[2:2 + size], blob[2 + size:]
        outer = kdfa(digest, seed, b"INTEGRITY", b"", 8 * size)
        if hmac.new(outer, hidden + name, digest).digest() != integrity:
            raise ValueError("TPM_RC_INTEGRITY")
        key = kdfa(digest, seed, b"STORAGE", name, bits)
        cipher = Cipher(algorithms.AES(key), modes.CFB(bytes(16))).decryptor()
        content = cipher.update(hidden) + cipher.finalize()
        return content[2:2 + struct.unpack_from(">H", content)[0]]
