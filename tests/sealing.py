# SPDX-License-Identifier: Apache-2.0
"""
Sealing for tests: a boot to be measured, an authority, and the arithmetic of policies and the
formats of approvals done again, with hashlib and the openssl command, so that a test has something
to compare with.
"""

import base64
import dataclasses
import hashlib
import json
import os
import struct
import subprocess
from pathlib import Path

from keyfile import der, values

DEFAULT = "sha256:0,1,2,3,7"
SEALED, NO_AUTHORITY = 20, 21
PASSPHRASE = "the recovery authority's own"
BANKS = {"sha1": 4, "sha256": 0x0B, "sha384": 0x0C, "sha512": 0x0D}
ZERO = bytes(32)
UNSIGNED_LE = 9  # TPM2_EO_UNSIGNED_LE, TPM 2.0 Part 2, 6.8
SIGN, DECRYPT, USER_WITH_AUTH, ADMIN_WITH_POLICY = 1 << 18, 1 << 17, 1 << 6, 1 << 7
NULL = b"\0\x10"


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def sized(content: bytes) -> bytes:
    """A TPM2B."""
    return struct.pack(">H", len(content)) + content


def openssl(*arguments, stdin: bytes = b"") -> bytes:
    """The command without a provider of ours."""
    return subprocess.run(["openssl", *map(str, arguments)], input=stdin, check=True, timeout=60,
                          capture_output=True, env=os.environ | {"OPENSSL_CONF": os.devnull}).stdout


# PCRs


def measure(tpm, *pcrs: int, what: str = "something else", banks=("sha256", "sha384")):
    """Extends PCRs with the hash of a text: what a boot does with what it finds."""
    tpm.tool("tpm2_pcrextend", *(
        f"{pcr}:" + ",".join(f"{bank}={hashlib.new(bank, what.encode()).hexdigest()}"
                             for bank in banks) for pcr in pcrs))


def boot(tpm):
    """Measures a boot, always the same one, unless that has been done since the TPM began."""
    if not any(pcr_values(tpm, "sha256:0")[0]):
        measure(tpm, *range(8), what="the boot")


def reboot(tpm, measured: bool = True):
    """Power is lost and comes back; what was in the PCRs is gone."""
    tpm.stop()
    tpm.start()
    if measured:
        boot(tpm)


def parse(spec: str) -> list[tuple[str, list[int]]]:
    """Banks, in the order of their numbers, and PCRs."""
    found = [(bank, sorted(int(pcr) for pcr in pcrs.split(",")))
             for bank, _, pcrs in (part.partition(":") for part in spec.split("+"))]
    return sorted(found, key=lambda each: BANKS[each[0]])


def selection(spec: str) -> bytes:
    """TPML_PCR_SELECTION, TPM 2.0 Part 2, 10.9.7."""
    out = struct.pack(">I", len(parse(spec)))
    for bank, pcrs in parse(spec):
        out += struct.pack(">HB", BANKS[bank], 3)
        out += sum(1 << pcr for pcr in pcrs).to_bytes(3, "little")
    return out


def pcr_values(tpm, spec: str) -> list[bytes]:
    """What the PCRs hold, in the order in which they are hashed, by tpm2-tools."""
    out = tpm.directory / "pcrs.bin"
    found = []
    for bank, pcrs in parse(spec):
        for pcr in pcrs:
            tpm.tool("tpm2_pcrread", f"{bank}:{pcr}", "-o", out)
            found.append(out.read_bytes())
    return found


def pcr_digest(found: list[bytes]) -> bytes:
    return sha256(b"".join(found))


# Policies: TPM 2.0 Part 3, 23


@dataclasses.dataclass
class Counter:
    """An NV counter, and the value that a policy allows."""

    handle: int
    name: bytes
    value: int


def extend(digest: bytes, code: int, *more: bytes) -> bytes:
    return sha256(digest + struct.pack(">I", code) + b"".join(more))


def policy_pcr(digest: bytes, spec: str, of_values: bytes) -> bytes:
    return extend(digest, 0x17F, selection(spec), of_values)


def policy_nv(digest: bytes, counter: Counter) -> bytes:
    arguments = sha256(struct.pack(">QHH", counter.value, 0, UNSIGNED_LE))
    return extend(digest, 0x149, arguments, counter.name)


def policy_authorize(name: bytes, ref: bytes) -> bytes:
    return sha256(extend(ZERO, 0x16A, name) + ref)


def policy_or(first: bytes, second: bytes) -> bytes:
    return extend(ZERO, 0x171, first, second)


def policy_auth_value(digest: bytes) -> bytes:
    return extend(digest, 0x16B)


def to_sign(policy: bytes, ref: bytes) -> bytes:
    return sha256(policy + ref)


def policy_of_state(spec: str, found: list[bytes], counter: Counter | None = None) -> bytes:
    digest = policy_pcr(ZERO, spec, pcr_digest(found))
    return digest if counter is None else policy_nv(digest, counter)


def policy_of_seal(kind: str, spec: str = "", found: list[bytes] = (), public: bytes = b"",
                   ref: bytes = b"", passphrase: bool = False) -> bytes:
    """authPolicy of what is sealed so."""
    strict = policy_of_state(spec, found) if kind in ("strict", "either") else ZERO
    approved = policy_authorize(name_of(public), ref) if kind in ("authority", "either") else ZERO
    digest = {"strict": strict, "authority": approved, "either": policy_or(strict, approved)}[kind]
    return policy_auth_value(digest) if passphrase else digest


# Authorities


def name_of(public: bytes) -> bytes:
    """The Name of a TPM2B_PUBLIC whose nameAlg is SHA-256."""
    return struct.pack(">H", 0x0B) + sha256(public[2:])


def authority_public(pem: bytes) -> bytes:
    """The TPM2B_PUBLIC that systemd, and so lct, loads an authority's key with."""
    info = values(values(openssl("pkey", "-pubin", "-outform", "DER", stdin=pem))[0][1])
    bits = info[1][1][1:]
    attributes = struct.pack(">I", SIGN | DECRYPT | USER_WITH_AUTH)
    if bits[0] == 4:  # a point
        half = len(bits) // 2
        rest = NULL + NULL + b"\0\3" + NULL + sized(bits[1:1 + half]) + sized(bits[1 + half:])
        return sized(b"\0\x23\0\x0b" + attributes + sized(b"") + rest)
    modulus = values(values(bits)[0][1])[0][1].lstrip(b"\0")
    rest = NULL + NULL + struct.pack(">HI", 8 * len(modulus), 65537) + sized(modulus)
    return sized(b"\0\1\0\x0b" + attributes + sized(b"") + rest)


def fingerprint(pem: bytes) -> str:
    return sha256(openssl("pkey", "-pubin", "-outform", "DER", stdin=pem)).hex()


def sign(key: Path, content: bytes) -> bytes:
    """SHA-256 of the content: ECDSA in DER, or RSA PKCS #1 v1.5."""
    return openssl("dgst", "-sha256", "-sign", key, stdin=content)


def software_key(path: Path, kind: str = "ec") -> bytes:
    """An authority that was not made by lct, in clear; gives its public key."""
    options = {"ec": ("EC", "ec_paramgen_curve:P-256"), "rsa": ("RSA", "rsa_keygen_bits:2048")}
    algorithm, option = options[kind]
    openssl("genpkey", "-algorithm", algorithm, "-pkeyopt", option, "-out", path)
    return openssl("pkey", "-in", path, "-pubout")


@dataclasses.dataclass
class Authority:
    """A store with an authority, and the key file and passphrase of that."""

    key: Path
    clear: Path  # the same key, for approvals that are made here: decrypting it takes its time
    passphrase: Path  # a file
    store: Path
    pem: bytes  # the public key

    @classmethod
    def init(cls, user, *options: str) -> "Authority":
        passphrase = user.write("authority.passphrase", PASSPHRASE + "\n")
        key = user.path("authority.pem")
        user.lct("authority", "init", "--out", key, "--passphrase-file", passphrase, *options)
        clear = user.path("authority.clear")
        openssl("pkey", "-in", key, "-passin", f"pass:{PASSPHRASE}", "-out", clear)
        # Again with a cheap scrypt: lct's own takes a quarter of a second of each approval.
        openssl("pkcs8", "-topk8", "-in", clear, "-passout", f"pass:{PASSPHRASE}", "-scrypt",
                "-scrypt_N", "2", "-out", key)
        return cls(key, clear, passphrase, user.store, openssl("pkey", "-in", clear, "-pubout"))

    @property
    def options(self) -> tuple:
        """Of `lct approve` and `lct reseal`."""
        return ("--authority", self.key, "--passphrase-file", self.passphrase)

    @property
    def public(self) -> bytes:
        return authority_public(self.pem)

    def approval(self, spec: str, found: list[bytes], ref: bytes = b"",
                 counter: Counter | None = None, key: Path | None = None) -> dict:
        """An approval in version 1, made without lct; `key`: by another key, in clear."""
        policy = policy_of_state(spec, found, counter)
        signature = sign(key or self.clear, policy + ref)
        return {"version": 1, "authority": fingerprint(self.pem), "pcrs": spec,
                "policy": policy.hex(), "policy_ref": ref.hex(),
                "signature": base64.b64encode(signature).decode(),
                "created": "2026-01-02T03:04:05Z",
                "counter": None if counter is None else {
                    "handle": f"0x{counter.handle:08x}", "name": counter.name.hex(),
                    "value": counter.value}}


def systemd_signature(key: Path, pcr: int, found: bytes) -> str:
    """tpm2-pcr-signature.json as systemd-measure writes it for one PCR of SHA-256."""
    spec = f"sha256:{pcr}"
    policy = policy_of_state(spec, [found])
    pkcs1 = openssl("rsa", "-in", key, "-RSAPublicKey_out", "-outform", "DER")
    return json.dumps({"sha256": [{
        "pcrs": [pcr], "pkfp": sha256(pkcs1).hex(), "pol": policy.hex(),
        "sig": base64.b64encode(sign(key, policy)).decode()}]})


# Identities


def seal_of(user, identity: str) -> dict:
    """What the record says."""
    record = json.loads((user.store / identity / "identity.json").read_text())
    (generation,) = record["generations"]
    return generation["seal"]


def approvals(user) -> list[Path]:
    directory = user.store / ".approvals"
    return sorted(directory.iterdir()) if directory.exists() else []


def put_approval(user, name: str, text: str | bytes) -> Path:
    """A file among the store's approvals."""
    directory = user.store / ".approvals"
    directory.mkdir(mode=0o755, exist_ok=True)
    path = directory / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def public_pem(user, identity: str) -> str:
    return json.loads(user.lct("show", identity, "--json").stdout)["public_key"]


def der_integer(number: int) -> bytes:
    return der(2, number.to_bytes(number.bit_length() // 8 + 1))
