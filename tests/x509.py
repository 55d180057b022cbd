# SPDX-License-Identifier: Apache-2.0
"""Keys and certificates as makers of TPMs make them, and as they should not: DER built by hand."""

import base64
import calendar
import dataclasses
import os
import struct
import time
from pathlib import Path

from keyfile import der, values
from sealing import openssl

EK_USAGE, AK_USAGE = "2.23.133.8.1", "2.23.133.8.3"
MAKER, MODEL, VERSION = "2.23.133.2.1", "2.23.133.2.2", "2.23.133.2.3"
BASIC, KEY_USAGE, ALT_NAME, EXT_USAGE = "2.5.29.19", "2.5.29.15", "2.5.29.17", "2.5.29.37"
SUBJECT_KEY, AUTHORITY_KEY = "2.5.29.14", "2.5.29.35"
SIGN, ENCIPHER, AGREE, CERT_SIGN = 0x80, 0x20, 0x08, 0x04  # RFC 5280, 4.2.1.3, in the first byte
EC_OPTIONS = {"p224": "P-224", "p256": "P-256", "p384": "P-384", "p521": "P-521"}
RSA_OPTIONS = {"rsa": (2048, 65537), "rsa1024": (1024, 65537), "rsa4096": (4096, 65537),
               "rsa3": (2048, 3)}
START, FOREVER = "20200101000000Z", "99991231235959Z"


def seconds(generalized: str) -> int:
    """Of a time as ASN.1 has it."""
    return calendar.timegm(time.strptime(generalized, "%Y%m%d%H%M%SZ"))


def oid(text: str) -> bytes:
    arcs = [int(arc) for arc in text.split(".")]
    content = b""
    for arc in [40 * arcs[0] + arcs[1], *arcs[2:]]:
        part = bytes([arc & 0x7F])
        while arc := arc >> 7:
            part = bytes([0x80 | arc & 0x7F]) + part
        content += part
    return der(6, content)


def sequence(*parts: bytes) -> bytes:
    return der(0x30, b"".join(parts))


def text(content: str) -> bytes:
    return der(0x0C, content.encode())


def name(*rdns: tuple) -> bytes:
    """Of RDNs, each of pairs of an OID and a text."""
    return sequence(*(der(0x31, b"".join(sorted(sequence(oid(kind), text(value))
                                                for kind, value in rdn))) for rdn in rdns))


def common_name(value: str) -> bytes:
    return name((("2.5.4.3", value),))


def extension(kind: str, critical: bool, value: bytes) -> bytes:
    return sequence(oid(kind), der(1, b"\xff") if critical else b"", der(4, value))


def alt_name(*rdns: tuple) -> bytes:
    return sequence(der(0xA4, name(*rdns)))


def spki_of(point: bytes) -> bytes:
    """SubjectPublicKeyInfo (RFC 5480, 2) of a P-256 key: X and Y."""
    kind = sequence(oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7"))
    return sequence(kind, der(3, b"\0\4" + point))


def key_usage(bits: int) -> bytes:
    unused = (bits & -bits).bit_length() - 1
    return der(3, bytes([unused, bits]))


class Key:
    """A key pair of openssl's."""

    def __init__(self, path: Path, kind: str):
        self.path, self.kind = path, kind
        if kind in EC_OPTIONS:
            options = ["EC", "-pkeyopt", f"ec_paramgen_curve:{EC_OPTIONS[kind]}"]
        else:
            bits, exponent = RSA_OPTIONS[kind]
            options = ["RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}", "-pkeyopt",
                       f"rsa_keygen_pubexp:{exponent}"]
        openssl("genpkey", "-algorithm", *options, "-out", path)
        self.spki = openssl("pkey", "-in", path, "-pubout", "-outform", "DER")

    @property
    def is_rsa(self) -> bool:
        return self.kind.startswith("rsa")

    @property
    def bits(self) -> bytes:
        """What is in the BIT STRING: RSAPublicKey, or a point."""
        return values(values(self.spki)[0][1])[1][1][1:]

    def sign(self, message: bytes, digest: str) -> bytes:
        return openssl("dgst", f"-{digest}", "-sign", self.path, stdin=message)

    def algorithm(self, digest: str) -> bytes:
        if self.is_rsa:
            return sequence(oid({"sha256": "1.2.840.113549.1.1.11",
                                 "sha1": "1.2.840.113549.1.1.5"}[digest]), der(5, b""))
        return sequence(oid({"sha256": "1.2.840.10045.4.3.2", "sha1": "1.2.840.10045.4.1"}[digest]))

    def public_area(self, **changes) -> bytes:
        """TPMT_PUBLIC of an EK with this key, by TCG's templates, but for what is changed."""
        area = {"name_alg": 0x0C if self.kind == "p384" else 0x0B, "attributes": 0x300B2,
                "symmetric": 6, "bits": 256 if self.kind == "p384" else 128, "mode": 0x43,
                "scheme": 0x10} | changes
        begin = struct.pack(">HHIH", 1 if self.is_rsa else 0x23, area["name_alg"],
                            area["attributes"], 32) + bytes(32)
        begin += struct.pack(">H", area["symmetric"])
        if area["symmetric"] != 0x10:
            begin += struct.pack(">HH", area["bits"], area["mode"])
        begin += struct.pack(">H", area["scheme"])
        if area["scheme"] != 0x10:
            begin += struct.pack(">H", 0x0B)
        if self.is_rsa:
            numbers = [int.from_bytes(value) for _, value in values(values(self.bits)[0][1])]
            size = (numbers[0].bit_length() + 7) // 8
            exponent = 0 if numbers[1] == 65537 else numbers[1]
            return begin + struct.pack(">HIH", 8 * size, exponent, size) + numbers[0].to_bytes(size)
        size = len(self.bits) // 2
        curve = {"p224": 2, "p256": 3, "p384": 4, "p521": 5}[self.kind]
        return (begin + struct.pack(">HHH", curve, 0x10, size) + self.bits[1:1 + size]
                + struct.pack(">H", size) + self.bits[1 + size:])


class Keys:
    """Key pairs in a directory, each made when it is first asked for."""

    def __init__(self, directory: Path):
        self.directory, self.made = directory, {}

    def key(self, kind: str, title: str = "ek") -> Key:
        path = self.directory / f"{title}-{kind}.pem"
        if path not in self.made:
            self.made[path] = Key(path, kind)
        return self.made[path]


@dataclasses.dataclass
class Certificate:
    """What is to be in a certificate; Authority.sign makes one of it."""

    spki: bytes
    subject: bytes
    extensions: dict  # by OID: whether critical, and the value; or a list of such pairs
    version: int | None = 2
    start: str = START
    end: str = FOREVER

    def encoded_extensions(self) -> bytes:
        parts = []
        for kind, those in self.extensions.items():
            for critical, value in those if isinstance(those, list) else [those]:
                parts.append(extension(kind, critical, value))
        return sequence(*parts)

    def to_be_signed(self, issuer: bytes, algorithm: bytes) -> bytes:
        version = der(0xA0, der(2, bytes([self.version]))) if self.version is not None else b""
        validity = sequence(*(der(0x18, moment.encode()) if moment >= "2050"
                              else der(0x17, moment[2:].encode())
                              for moment in (self.start, self.end)))
        extensions = der(0xA3, self.encoded_extensions()) if self.extensions else b""
        return sequence(version, der(2, b"\x01" + os.urandom(8)), algorithm, issuer, validity,
                        self.subject, self.spki, extensions)


def ek_certificate(key: Key, usage: tuple = (EK_USAGE,), **changes) -> Certificate:
    """That of an EK of Intel's, as TCG's EK Credential Profile has it."""
    shape = ((MAKER, "id:494E5443"),), ((MODEL, "Model 1"),), ((VERSION, "id:00020000"),)
    allowed = ENCIPHER if key.is_rsa else AGREE
    extensions = {BASIC: (True, sequence()), KEY_USAGE: (True, key_usage(allowed)),
                  EXT_USAGE: (False, sequence(*map(oid, usage))),
                  ALT_NAME: (True, alt_name(*shape))}
    return dataclasses.replace(Certificate(key.spki, name(), extensions), **changes)


class Authority:
    """Who signs certificates: a key, a name, and a certificate of its own."""

    def __init__(self, key: Key, title: str, parent: "Authority | None" = None,
                 digest: str = "sha256", added: dict | None = None, **changes):
        self.key, self.name, self.digest = key, common_name(title), digest
        self.identifier = title.encode()
        extensions = {BASIC: (True, sequence(der(1, b"\xff"))),
                      KEY_USAGE: (True, key_usage(CERT_SIGN)),
                      SUBJECT_KEY: (False, der(4, self.identifier))}
        own = dataclasses.replace(Certificate(key.spki, self.name, extensions | (added or {})),
                                  **changes)
        self.certificate = (parent or self).sign(own)

    def sign(self, certificate: Certificate, digest: str | None = None) -> bytes:
        """Its DER; it names this authority's key, if it has extensions at all."""
        digest = digest or self.digest
        if certificate.extensions:
            named = {AUTHORITY_KEY: (False, sequence(der(0x80, self.identifier)))}
            certificate = dataclasses.replace(certificate,
                                              extensions=named | certificate.extensions)
        algorithm = self.key.algorithm(digest)
        signed = certificate.to_be_signed(self.name, algorithm)
        return sequence(signed, algorithm, der(3, b"\0" + self.key.sign(signed, digest)))


def pem(content: bytes, label: str = "CERTIFICATE") -> bytes:
    lines = base64.encodebytes(content).decode().replace("\n", "")
    lines = "\n".join(lines[i:i + 64] for i in range(0, len(lines), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n".encode()
