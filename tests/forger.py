# SPDX-License-Identifier: Apache-2.0
"""TPM structures by hand: a key in software signs what a TPM writes, and what a TPM would not."""

import dataclasses
import hashlib
import json
import struct
from pathlib import Path

from keyfile import values
from sealing import openssl, sized

CERTIFY, CREATION, QUOTE, NV, TIME = 0x8017, 0x801A, 0x8018, 0x8014, 0x8019
SHA1, SHA256, SHA384, SHA512, NULL = 4, 11, 12, 13, 0x10
RSASSA, RSAPSS, ECDSA = 0x14, 0x16, 0x18
# TPMA_OBJECT, TPM 2.0 Part 2, 8.3.
FIXED_TPM, FIXED_PARENT, ORIGIN, USER, ENCRYPTED = 2, 0x10, 0x20, 0x40, 0x800
RESTRICTED, DECRYPT, SIGN = 0x10000, 0x20000, 0x40000
BOUND = FIXED_TPM | FIXED_PARENT | ORIGIN
AK, KEY = BOUND | USER | RESTRICTED | SIGN, BOUND | SIGN
HASHES = {SHA1: "sha1", SHA256: "sha256", SHA384: "sha384", SHA512: "sha512"}


def name_of(public: bytes) -> bytes:
    """Of a TPMT_PUBLIC, TPM 2.0 Part 1, 16."""
    name_alg = struct.unpack_from(">H", public, 2)[0]
    return public[2:4] + hashlib.new(HASHES[name_alg], public).digest()


def qualified(name: bytes, hierarchy: int = 0x4000000B) -> bytes:
    name_alg = struct.unpack_from(">H", name)[0]
    return name[:2] + hashlib.new(HASHES[name_alg], struct.pack(">I", hierarchy) + name).digest()


@dataclasses.dataclass
class Forger:
    """A key in software that signs what it likes, and says of itself what it likes."""

    key: Path
    attributes: int = AK
    name_alg: int = SHA256
    scheme: bytes = struct.pack(">HH", ECDSA, SHA256)

    @staticmethod
    def ecc(point: bytes, attributes: int, name_alg: int = SHA256,
            scheme: bytes = struct.pack(">H", NULL), policy: bytes = b"") -> bytes:
        """TPMT_PUBLIC of a P-256 key."""
        return (struct.pack(">HHI", 0x23, name_alg, attributes) + sized(policy)
                + struct.pack(">H", NULL) + scheme + struct.pack(">HH", 3, NULL)
                + sized(point[:32]) + sized(point[32:]))

    def point(self) -> bytes:
        return openssl("pkey", "-in", self.key, "-pubout", "-outform", "DER")[-64:]

    def public(self) -> bytes:
        return self.ecc(self.point(), self.attributes, self.name_alg, self.scheme)

    def sign(self, attest: bytes, digest: int = SHA256) -> bytes:
        """TPMT_SIGNATURE."""
        der = openssl("dgst", f"-{HASHES[digest]}", "-sign", self.key, stdin=attest)
        numbers = [value.lstrip(b"\0").rjust(32, b"\0") for _, value in values(values(der)[0][1])]
        return struct.pack(">HH", ECDSA, digest) + sized(numbers[0]) + sized(numbers[1])

    def attest(self, kind: int, attested: bytes, magic: int = 0xFF544347, extra: bytes = b"nonce",
               signer: bytes | None = None, safe: int = 1, clock: int = 1000, resets: int = 3,
               restarts: int = 0, firmware: int = 0x20191023) -> bytes:
        """TPMS_ATTEST."""
        if signer is None:
            signer = qualified(name_of(self.public()))
        return (struct.pack(">IH", magic, kind) + sized(signer) + sized(extra)
                + struct.pack(">QIIBQ", clock, resets, restarts, safe, firmware) + attested)

    def evidence(self, attest: bytes, **more: bytes) -> dict:
        return {"attest": attest, "signature": self.sign(attest), "ak": sized(self.public())} | more

    def certify(self, key: bytes, **fields) -> dict:
        name = name_of(key)
        return self.evidence(self.attest(CERTIFY, sized(name) + sized(qualified(name)), **fields),
                             key=sized(key))

    def quote(self, selection: bytes, digest: bytes, **fields) -> dict:
        return self.evidence(self.attest(QUOTE, selection + sized(digest), **fields))


def selection(*banks: tuple[int, int], size: int = 3) -> bytes:
    """TPML_PCR_SELECTION."""
    return struct.pack(">I", len(banks)) + b"".join(
        struct.pack(">HB", bank, size) + pcrs.to_bytes(size, "little") for bank, pcrs in banks)


def pcrs_json(spec: str, pcrs: dict) -> bytes:
    return json.dumps({"version": 1, "pcrs": spec, "values": pcrs, "id": None, "policy_ref": None,
                       "counter": None}).encode()
