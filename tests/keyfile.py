# SPDX-License-Identifier: Apache-2.0
"""TSS2 PRIVATE KEY files, taken apart and put together as a test needs them."""

import base64
import dataclasses
import hashlib
import re
import struct
from pathlib import Path

OID_LOADABLE = bytes.fromhex("06066781050a0103")
OID_IMPORTABLE = bytes.fromhex("06066781050a0104")
OID_SEALED = bytes.fromhex("06066781050a0105")
USER_WITH_AUTH, ADMIN_WITH_POLICY = 1 << 6, 1 << 7
ATTRIBUTES = 2 + 2 + 2  # offset of objectAttributes in a TPM2B_PUBLIC: size, type, nameAlg


def der(tag: int, content: bytes) -> bytes:
    """One value in DER."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content


def values(content: bytes) -> list[tuple[int, bytes]]:
    """The values in a constructed value's content: tags and contents."""
    found = []
    while content:
        tag, size, start = content[0], content[1], 2
        if size & 0x80:
            start = 2 + (size & 0x7F)
            size = int.from_bytes(content[2:start])
        found.append((tag, content[start:start + size]))
        content = content[start + size:]
    return found


@dataclasses.dataclass
class KeyFile:
    """The fields that lct writes, and what other tools write besides."""

    parent: int
    public: bytes  # TPM2B_PUBLIC
    private: bytes  # TPM2B_PRIVATE
    empty_auth: bool = True
    rsa_parent: bool = False
    secret: bytes | None = None  # TPM2B_ENCRYPTED_SECRET: it is importable
    policy: bytes | None = None  # TPMPolicy values
    oid: bytes | None = None  # another than the fields tell
    approvals: bytes | None = None  # TPMAuthPolicy values

    @classmethod
    def read(cls, path: Path) -> "KeyFile":
        fields = values(values(unarmour(path.read_text()))[0][1])
        assert fields[0] == (6, OID_LOADABLE[2:])
        (_, parent), (_, public), (_, private) = fields[-3:]
        tags = [tag for tag, _ in fields]
        return cls(int.from_bytes(parent), public, private, 0xA0 in tags, 0xA5 in tags)

    def to_der(self) -> bytes:
        oid = self.oid or (OID_LOADABLE if self.secret is None else OID_IMPORTABLE)
        auth = der(0xA0, der(1, b"\xff")) if self.empty_auth else b""
        policy = der(0xA1, der(0x30, self.policy)) if self.policy is not None else b""
        secret = der(0xA2, der(4, self.secret)) if self.secret is not None else b""
        approvals = der(0xA3, der(0x30, self.approvals)) if self.approvals is not None else b""
        rsa = der(0xA5, der(1, b"\xff")) if self.rsa_parent else b""
        parent = self.parent.to_bytes(5 if self.parent >> 31 else 4)
        return der(0x30, oid + auth + policy + secret + approvals + rsa + der(2, parent)
                   + der(4, self.public) + der(4, self.private))

    def write(self, path: Path):
        path.write_text(armour(self.to_der()))

    @property
    def name(self) -> bytes:
        """The TPM Name: nameAlg (SHA-256 here) and the hash of the public area."""
        return struct.pack(">H", 0x0B) + hashlib.sha256(self.public[2:]).digest()

    def with_attribute_flipped(self, bit: int) -> "KeyFile":
        attributes = struct.unpack_from(">I", self.public, ATTRIBUTES)[0] ^ 1 << bit
        public = bytearray(self.public)
        struct.pack_into(">I", public, ATTRIBUTES, attributes)
        return dataclasses.replace(self, public=bytes(public))

    def with_policy(self, digest: bytes, attributes: int = 0) -> "KeyFile":
        """With an authPolicy, userWithAuth clear, and these attributes besides."""
        kind, alg, old, size = struct.unpack_from(">HHIH", self.public, 2)
        body = struct.pack(">HHIH", kind, alg, old & ~USER_WITH_AUTH | attributes, len(digest))
        body += digest + self.public[12 + size:]
        return dataclasses.replace(self, public=struct.pack(">H", len(body)) + body)


def step(command: int, body: bytes = b"") -> bytes:
    """A TPMPolicy."""
    return der(0x30, der(0xA0, der(2, command.to_bytes(2))) + der(0xA1, der(4, body)))


def armour(content: bytes) -> str:
    lines = re.findall(".{1,64}", base64.b64encode(content).decode())
    return "\n".join(["-----BEGIN TSS2 PRIVATE KEY-----", *lines,
                      "-----END TSS2 PRIVATE KEY-----", ""])


def unarmour(text: str) -> bytes:
    body = re.search("-----BEGIN TSS2 PRIVATE KEY-----\n(.*)-----END TSS2 PRIVATE KEY-----", text,
                     re.DOTALL)
    assert body, text
    return base64.b64decode(body[1])
