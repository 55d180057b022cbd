# SPDX-License-Identifier: Apache-2.0
"""TPM 2.0 session arithmetic: beside known answers, beside Python's, and before a real TPM."""

import dataclasses
import enum
import hashlib
import hmac
import json
import os
import random
import struct
import subprocess

import pytest

import tpm as tpms
from conftest import ROOT
from keyfile import der

VECTORS = ROOT.parent / "shared" / "vectors" / "makecredential"
HASHES = {4: "sha1", 11: "sha256", 12: "sha384", 13: "sha512"}
USES = {"SECRET": 0, "IDENTITY": 1, "DUPLICATE": 2}
CURVES = {3: (32, "06082a8648ce3d030107"), 4: (48, "06052b81040022"), 5: (66, "06052b81040023")}
ECC_KEY, RSA_KEY = 0x81000001, 0x81000002
CONTINUE, DECRYPT, ENCRYPT = 0x01, 0x20, 0x40
INTERNAL, BAD_RECORD, NO_TPM, UNSUPPORTED = 1, 6, 9, 15
BAD_AUTH = 0x9A2  # TPM_RC_BAD_AUTH, of the first session
RH_NULL = 0x40000007


class Code(enum.IntEnum):
    """Commands, TPM 2.0 Part 2, 6.5.2."""

    Create = 0x153
    Load = 0x157
    Sign = 0x15D
    Unseal = 0x15E
    FlushContext = 0x165
    PolicyAuthValue = 0x16B
    PolicyCommandCode = 0x16C
    ReadPublic = 0x173
    StartAuthSession = 0x176
    VerifySignature = 0x177
    PolicyRestart = 0x180


def vectors(name: str):
    path = VECTORS / f"{name}.json"
    if not path.exists():
        pytest.skip("no known answers beside the checkout")
    return json.loads(path.read_text())


def sized(content: bytes) -> bytes:
    """A TPM2B."""
    return struct.pack(">H", len(content)) + content


def split(content: bytes) -> tuple[bytes, bytes]:
    """The contents of the TPM2B in front, and the rest."""
    size = struct.unpack_from(">H", content)[0]
    assert len(content) >= 2 + size
    return content[2:2 + size], content[2 + size:]


def kdfa(name: str, key: bytes, label: bytes, u: bytes, v: bytes, bits: int) -> bytes:
    """TPM 2.0 Part 1, 11.4.10.2, as it is written there."""
    size, out, counter = (bits + 7) // 8, b"", 0
    while len(out) < size:
        counter += 1
        out += hmac.digest(key, struct.pack(">I", counter) + label + b"\0" + u + v
                           + struct.pack(">I", bits), name)
    return masked(out[:size], bits)


def kdfe(name: str, z: bytes, label: bytes, u: bytes, v: bytes, bits: int) -> bytes:
    """TPM 2.0 Part 1, 11.4.10.3."""
    size, out, counter = (bits + 7) // 8, b"", 0
    while len(out) < size:
        counter += 1
        out += hashlib.new(name, struct.pack(">I", counter) + z + label + b"\0" + u + v).digest()
    return masked(out[:size], bits)


def masked(content: bytes, bits: int) -> bytes:
    """Without the bits of the first byte that were not asked for."""
    return bytes(byte & 0xFF >> -bits % 8 for byte in content[:1]) + content[1:]


def openssl(*arguments, stdin: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *map(str, arguments)], input=stdin, check=True,
                          capture_output=True, env=os.environ | {"OPENSSL_CONF": os.devnull}).stdout


def cfb(key_and_iv: bytes, content: bytes, *options) -> bytes:
    return openssl("enc", "-aes-128-cfb", "-K", key_and_iv[:16].hex(), "-iv",
                   key_and_iv[16:].hex(), *options, stdin=content)


class Error(Exception):
    def __init__(self, words: list[str]):
        super().__init__(" ".join(words))
        self.code = int(words[0])


class Arithmetic:
    """The program that answers from the library."""

    def __init__(self, program):
        env = os.environ | {"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "halt_on_error=1"}
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, text=True,
                                         stdout=subprocess.PIPE, env=env)

    def ask(self, *words) -> bytes | tuple[bytes, ...]:
        self._process.stdin.write(" ".join(
            (word.hex() or "-") if isinstance(word, bytes) else str(word) for word in words) + "\n")
        self._process.stdin.flush()
        found = self._process.stdout.readline().split()
        assert found, "the program has ended"
        if found[0] == "error":
            raise Error(found[1:])
        answers = tuple(b"" if word == "-" else bytes.fromhex(word) for word in found)
        return answers if len(answers) > 1 else answers[0]

    def error(self, *words) -> int:
        with pytest.raises(Error) as caught:
            self.ask(*words)
        return caught.value.code

    def stop(self):
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(60) == 0


@pytest.fixture(name="arithmetic")
def fixture_arithmetic(build):
    if not (build / "tests" / "session").exists():
        pytest.skip("this build has no test programs")
    program = Arithmetic(build / "tests" / "session")
    yield program
    program.stop()


# Known answers


@pytest.mark.parametrize("name, reference, secret", [("kdfa", kdfa, "Key"), ("kdfe", kdfe, "Z")])
def test_keys_are_derived_as_known(arithmetic, name, reference, secret):
    """
    Every known answer is Python's here; those of whole bytes are the library's too. KDFe does not
    hash the number of bits, so the others are, but for the mask.
    """
    compared = 0
    for vector in vectors(f"go-tpm-{name}"):
        key, u, v, result = (bytes.fromhex(vector[field]) for field in
                             (secret, "ContextU", "ContextV", "Result"))
        bits, label = vector["Bits"], vector["Label"]
        assert reference(HASHES[vector["HashAlg"]], key, label.encode(), u, v, bits) == result
        if not key or not bits or (name == "kdfa" and bits % 8):
            continue
        found = arithmetic.ask(name, vector["HashAlg"], key, label, u, v, len(result))
        assert masked(found, bits) == result, vector["Name"]
        compared += 1
    assert compared > (95 if name == "kdfe" else 10)


@pytest.mark.parametrize("name, reference", [("kdfa", kdfa), ("kdfe", kdfe)])
def test_keys_are_derived_as_by_python(arithmetic, name, reference):
    source = random.Random(name)
    for _ in range(300):
        number, digest = source.choice(list(HASHES.items()))
        key, u, v = (source.randbytes(source.randrange(low, 100)) for low in (1, 0, 0))
        label = "L" * source.randrange(1, 20)
        size = source.randrange(1, 200)
        assert arithmetic.ask(name, number, key, label, u, v, size) == reference(
            digest, key, label.encode(), u, v, 8 * size)


@pytest.mark.parametrize("name", ["kdfa", "kdfe"])
def test_no_key_is_derived_from_nothing(arithmetic, name):
    assert len(arithmetic.ask(name, 11, b"k", "CFB", b"", b"", 32)) == 32
    assert arithmetic.error(name, 11, b"", "CFB", b"u", b"v", 32) == INTERNAL
    assert arithmetic.error(name, 11, b"k", "CFB", b"u", b"v", 0) == INTERNAL
    assert len(arithmetic.ask(name, 11, b"k", "CFB", bytes(126), bytes(126), 32)) == 32
    assert arithmetic.error(name, 11, b"k", "CFB", bytes(128), bytes(129), 32) == INTERNAL


@dataclasses.dataclass
class Holder:
    """A TPM key whose private part we have: public area and sensitive area."""

    public: bytes
    sensitive: bytes

    @property
    def hash(self) -> str:
        """That of the Name; of an RSA key with OAEP as its scheme, the scheme's."""
        scheme, of_scheme = struct.unpack(">HH", self.scheme_and_rest[:4])
        return HASHES[of_scheme if scheme == 0x17 else struct.unpack_from(">H", self.public, 2)[0]]

    @property
    def scheme_and_rest(self) -> bytes:
        """What follows authPolicy and TPMT_SYM_DEF_OBJECT."""
        _, rest = split(self.public[8:])
        return rest[2 if rest[:2] == b"\0\x10" else 6:]

    @property
    def after_scheme(self) -> bytes:
        rest = self.scheme_and_rest
        return rest[2 if rest[:2] == b"\0\x10" else 4:]

    @property
    def secret(self) -> bytes:
        _, rest = split(self.sensitive[2:])
        _, rest = split(rest)
        return split(rest)[0]

    def decapsulate(self, label: str, encrypted: bytes, directory) -> bytes:
        size = hashlib.new(self.hash).digest_size
        if self.public[:2] == b"\0\x01":
            key = directory / "rsa.der"
            key.write_bytes(self.rsa_key())
            return openssl("pkeyutl", "-decrypt", "-keyform", "DER", "-inkey", key, "-pkeyopt",
                           "rsa_padding_mode:oaep", "-pkeyopt", f"rsa_oaep_md:{self.hash}",
                           "-pkeyopt", f"rsa_oaep_label:{(label.encode() + bytes(1)).hex()}",
                           stdin=encrypted)
        field, oid = CURVES[struct.unpack_from(">H", self.after_scheme)[0]]
        x, rest = split(encrypted)
        y, rest = split(rest)
        assert (len(x), len(y), rest) == (field, field, b""), "padded to the curve's size"
        own, peer = directory / "own.der", directory / "peer.der"
        private = self.secret.rjust(field, b"\0")
        own.write_bytes(der(0x30, der(2, b"\1") + der(4, private)
                            + der(0xA0, bytes.fromhex(oid))))
        peer.write_bytes(der(0x30, der(0x30, bytes.fromhex("06072a8648ce3d0201" + oid))
                             + der(3, b"\0\4" + x + y)))
        z = openssl("pkeyutl", "-derive", "-keyform", "DER", "-inkey", own, "-peerform", "DER",
                    "-peerkey", peer)
        ours, _ = split(self.after_scheme[4:])
        return kdfe(self.hash, z, label.encode(), x, ours.rjust(field, b"\0"), 8 * size)

    def rsa_key(self) -> bytes:
        """RSAPrivateKey, RFC 8017, A.1.2."""
        n = int.from_bytes(split(self.after_scheme[6:])[0])
        p = int.from_bytes(self.secret)
        q, e = n // p, 65537
        assert p * q == n
        d = pow(e, -1, (p - 1) * (q - 1))
        numbers = [0, n, e, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p)]
        return der(0x30, b"".join(der(2, number.to_bytes(number.bit_length() // 8 + 1))
                                  for number in numbers))


@pytest.mark.parametrize("kind", ["ecc", "rsa"])
def test_a_seed_is_known_to_the_key_s_holder(arithmetic, tmp_path, kind):
    """The holder, of openssl and Python, finds the known secrets; then it finds ours."""
    seen = set()
    for vector in vectors(f"go-tpm-{kind}_labeled_encaps"):
        holder = Holder(bytes.fromhex(vector["PublicKey"]), bytes.fromhex(vector["PrivateKey"]))
        label = vector["Label"]
        assert holder.decapsulate(label, bytes.fromhex(vector["Ciphertext"]), tmp_path
                                  ) == bytes.fromhex(vector["Secret"]), vector["Name"]
        seed, encrypted = arithmetic.ask("seed", USES[label], sized(holder.public))
        assert len(seed) == hashlib.new(holder.hash).digest_size
        assert holder.decapsulate(label, encrypted, tmp_path) == seed, vector["Name"]
        seen |= {seed, encrypted}
    assert len(seen) == 200, "each is new"


def test_a_credential_s_keys_are_derived_as_known(arithmetic):
    """MakeCredential of another implementation, whose random bytes were all 0x12."""
    known = vectors("keylime-makecredential")["rsa"]
    blob, _ = split(bytes.fromhex(known["credential_first_80"])[8:])
    integrity, encrypted = split(blob)
    name, seed = bytes.fromhex(known["name"]), b"\x12" * 32
    storage = arithmetic.ask("kdfa", 11, seed, "STORAGE", name, b"", 16)
    assert cfb(storage + bytes(16), sized(bytes.fromhex(known["challenge"]))) == encrypted
    key = arithmetic.ask("kdfa", 11, seed, "INTEGRITY", b"", b"", 32)
    assert hmac.digest(key, encrypted + name, "sha256") == integrity


# The ephemeral private key behind the ECC blob below, of the same source.
EPHEMERAL = 75548318724506252006992803713632448754009807765151974952668642988315053146586


def ecc_seed(ek: bytes, point: bytes, directory) -> bytes:
    """The seed that this ephemeral key and an EK on P-256 share, TPM 2.0 Part 1, C.6.1."""
    (x, rest), (ek_x, rest_of_ek) = split(point), split(ek[-68:])
    oid, own, peer = bytes.fromhex(CURVES[3][1]), directory / "own.der", directory / "peer.der"
    own.write_bytes(der(0x30, der(2, b"\1") + der(4, EPHEMERAL.to_bytes(32)) + der(0xA0, oid)))
    peer.write_bytes(der(0x30, der(0x30, bytes.fromhex("06072a8648ce3d0201") + oid)
                         + der(3, b"\0\4" + ek_x + split(rest_of_ek)[0])))
    assert len(split(rest)[0]) == 32
    z = openssl("pkeyutl", "-derive", "-keyform", "DER", "-inkey", own, "-peerform", "DER",
                "-peerkey", peer)
    return kdfe("sha256", z, b"IDENTITY", x, ek_x, 256)


@pytest.mark.parametrize("kind", ["rsa", "ecc_p256"])
def test_a_credential_is_made_as_known(arithmetic, tmp_path, kind):
    """Whole blobs of another implementation: header, TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET."""
    known = vectors("keylime-makecredential")[kind]
    ek, name, secret = (bytes.fromhex(known[field]) for field in
                        ("ek_public_tpm2b", "name", "challenge"))
    blob, rest = split(bytes.fromhex(known.get("credential") or known["credential_first_80"])[8:])
    seed = b"\x12" * 32 if kind == "rsa" else ecc_seed(ek, split(rest)[0], tmp_path)
    assert arithmetic.ask("credential", ek, name, secret, seed) == blob
    assert arithmetic.ask("credential", ek, name[:-1] + b"\0", secret, seed) != blob


def test_no_credential_is_made_for_what_is_no_ek(arithmetic):
    known = vectors("keylime-makecredential")["ecc_p256"]
    ek, name, seed = bytes.fromhex(known["ek_public_tpm2b"]), bytes.fromhex(known["name"]), b"s" * 32
    assert len(arithmetic.ask("credential", ek, name, b"s" * 32, seed)) == 2 + 32 + 2 + 32
    assert arithmetic.error("credential", ek, name, b"s" * 33, seed) == INTERNAL
    assert arithmetic.error("credential", ek, name, b"", seed) == INTERNAL
    assert arithmetic.error("credential", ek, b"", b"s", seed) == INTERNAL
    for attributes in (0x30472 & ~0x20000, 0x30472 & ~0x10000, 0x30472 | 0x40000):
        other = ek[:6] + struct.pack(">I", attributes) + ek[10:]
        assert arithmetic.error("credential", other, name, b"s", seed) == UNSUPPORTED
    cipher = ek.index(bytes.fromhex("000600800043"))
    for symmetric in ("000600810043", "000600800044", "002600800043"):
        other = ek[:cipher] + bytes.fromhex(symmetric) + ek[cipher + 6:]
        assert arithmetic.error("credential", other, name, b"s", seed) == UNSUPPORTED


@pytest.mark.parametrize("algorithm", ["rsa", "ecc", "ecc384"])
def test_a_credential_is_activated_by_its_tpm_alone(arithmetic, make_tpm, algorithm):
    """Ours, and TPM2_ActivateCredential of a TPM by another tool; for one Name and no other."""
    tpm = make_tpm()
    tpm.tool("tpm2_createek", "-c", "ek.ctx", "-G", algorithm, "-u", "ek.pub")
    tpm.tool("tpm2_createprimary", "-C", "e", "-G", "ecc256:ecdsa-sha256:null", "-c", "ak.ctx",
             "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign")
    tpm.tool("tpm2_readpublic", "-c", "ak.ctx", "-n", "ak.name")
    tpm.tool("tpm2_flushcontext", "-t")
    ek, secret = (tpm.directory / "ek.pub").read_bytes(), os.urandom(32)

    def activate(name: bytes, status: int | None = 0) -> bool:
        encrypted, blob = arithmetic.ask("credential", ek, name, secret, b"")
        (tpm.directory / "blob").write_bytes(bytes.fromhex("badcc0de00000001") + sized(blob)
                                             + sized(encrypted))
        session = ()
        if algorithm != "ecc384":  # whose template lets an empty password do
            tpm.tool("tpm2_startauthsession", "--policy-session", "-S", "s.ctx")
            tpm.tool("tpm2_policysecret", "-S", "s.ctx", "-c", "e")
            session = ("-P", "session:s.ctx")
        done = tpm.tool("tpm2_activatecredential", "-c", "ak.ctx", "-C", "ek.ctx", "-i", "blob",
                        "-o", "got", *session, status=status)
        tpm.tool("tpm2_flushcontext", "-t")
        if session:
            tpm.tool("tpm2_flushcontext", "s.ctx")
        return done.returncode == 0

    name = (tpm.directory / "ak.name").read_bytes()
    assert activate(name)
    assert (tpm.directory / "got").read_bytes() == secret
    assert not activate(name[:-1] + bytes([name[-1] ^ 1]), status=None)


def ecc_public(curve: int, x: bytes, y: bytes, name_alg: int = 11) -> bytes:
    return sized(struct.pack(">HHIHHHHHHH", 0x23, name_alg, 0x30472, 0, 6, 128, 0x43, 0x10, curve,
                             0x10) + sized(x) + sized(y))


def test_no_seed_is_shared_with_what_is_no_key(arithmetic):
    x, y = (bytes.fromhex(text) for text in (
        "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"))  # P-256's generator
    assert len(arithmetic.ask("seed", 0, ecc_public(3, x, y))) == 2
    assert arithmetic.error("seed", 0, ecc_public(3, x, y[:-1] + b"\0")) == BAD_RECORD
    assert arithmetic.error("seed", 0, ecc_public(3, b"", b"")) == BAD_RECORD
    assert arithmetic.error("seed", 0, ecc_public(3, x + x, y)) == BAD_RECORD
    assert arithmetic.error("seed", 0, ecc_public(1, x, y)) == UNSUPPORTED, "P-192"
    assert arithmetic.error("seed", 0, ecc_public(3, x, y, 0x12)) == UNSUPPORTED, "SM3"
    for bits, modulus, code in ((1024, 128, UNSUPPORTED), (2048, 255, BAD_RECORD),
                                (2048, 257, BAD_RECORD), (2056, 257, UNSUPPORTED)):
        rsa = struct.pack(">HHIHHHHHHI", 1, 11, 0x30472, 0, 6, 128, 0x43, 0x10, bits, 0)
        assert arithmetic.error("seed", 0, sized(rsa + sized(b"\xff" * modulus))) == code


# Beside Python's


def start(arithmetic, source, number: int = 0) -> tuple[bytes, bytes, bytes]:
    """A session with a random salt and nonce: its key, nonceCaller and nonceTPM."""
    salt, nonce_tpm = source.randbytes(source.choice([20, 32, 48, 64])), source.randbytes(32)
    nonce_caller = arithmetic.ask("roll", number)
    key = arithmetic.ask("derive", number, salt, nonce_tpm)
    assert key == kdfa("sha256", salt, b"ATH", nonce_tpm, nonce_caller, 256)
    return key, nonce_caller, nonce_tpm


def test_hashes_of_parameters_are_python_s(arithmetic):
    source = random.Random(1)
    for _ in range(100):
        code, params = source.randrange(1 << 32), source.randbytes(source.choice([0, 1, 99, 2000]))
        names = [source.randbytes(source.choice([4, 22, 34, 66]))
                 for _ in range(source.randrange(4))]
        head = struct.pack(">I", code)
        assert arithmetic.ask("cp_hash", code, params, *names) == hashlib.sha256(
            head + b"".join(names) + params).digest()
        assert arithmetic.ask("rp_hash", code, params) == hashlib.sha256(
            bytes(4) + head + params).digest()
    assert arithmetic.ask("name", 0x40000001) == bytes.fromhex("40000001")


def test_hmacs_are_python_s(arithmetic):
    source = random.Random(2)
    for _ in range(50):
        key, caller, nonce_tpm = start(arithmetic, source)
        others = [start(arithmetic, source, number)[2] for number in (1, 2)]
        auth = source.randbytes(source.randrange(30)).rstrip(b"\0")
        digest, attributes = source.randbytes(32), source.randrange(256)
        for decrypt, encrypt, nonces in (("-", "-", b""), (1, "-", others[0]), ("-", 2, others[1]),
                                         (1, 2, others[0] + others[1]),
                                         (2, 1, others[1] + others[0]), (1, 1, others[0])):
            expected = hmac.digest(key + auth, digest + caller + nonce_tpm + nonces
                                   + bytes([attributes]), "sha256")
            for zeros in (0, 2):
                assert arithmetic.ask("hmac", 0, auth + bytes(zeros), digest, attributes, decrypt,
                                      encrypt) == expected


def test_parameters_are_encrypted_as_by_python_and_openssl(arithmetic):
    source = random.Random(3)
    for size in (1, 15, 16, 17, 64, 1000):
        key, caller, nonce_tpm = start(arithmetic, source)
        auth, plain = source.randbytes(source.randrange(30)).rstrip(b"\0"), source.randbytes(size)
        command = cfb(kdfa("sha256", key + auth, b"CFB", caller, nonce_tpm, 256), plain)
        assert arithmetic.ask("encrypt", 0, auth + b"\0", plain) == command
        response = cfb(kdfa("sha256", key + auth, b"CFB", nonce_tpm, caller, 256), plain)
        assert arithmetic.ask("decrypt", 0, auth, response) == plain
    assert arithmetic.ask("encrypt", 0, b"", b"") == b"", "an empty parameter stays one"


def test_a_response_is_verified_to_the_last_bit(arithmetic):
    source = random.Random(4)
    key, caller, old_nonce = start(arithmetic, source)
    digest, nonce, attributes = source.randbytes(32), source.randbytes(32), 0x21
    right = hmac.digest(key + b"auth", digest + nonce + caller + bytes([attributes]), "sha256")

    def verify(auth=b"auth", digest=digest, nonce=nonce, attributes=attributes, answer=right):
        return "verify", 0, auth, digest, nonce, attributes, answer

    for byte in range(32):
        for bit in range(8):
            flipped = bytearray(right)
            flipped[byte] ^= 1 << bit
            assert arithmetic.error(*verify(answer=bytes(flipped))) == NO_TPM
    wrong = [verify(auth=b"autH"), verify(digest=bytes(32)), verify(nonce=old_nonce),
             verify(attributes=0x20), verify(answer=right[:-1]), verify(answer=right + b"\0"),
             verify(answer=b""), verify(nonce=nonce[:-1]), verify(nonce=nonce + b"\0"),
             verify(nonce=b"")]
    for question in wrong:
        assert arithmetic.error(*question) == NO_TPM
    assert arithmetic.ask(*verify()) == nonce, "nothing wrong has changed the session"
    assert arithmetic.ask(*verify(nonce=old_nonce, answer=hmac.digest(
        key + b"auth", digest + old_nonce + caller + bytes([attributes]), "sha256"))) == old_nonce


def test_a_session_rolls_a_new_nonce_each_time_and_is_wiped(arithmetic):
    assert len({arithmetic.ask("roll", 0) for _ in range(100)}) == 100
    start(arithmetic, random.Random(5))
    left = arithmetic.ask("wipe", 0)
    assert left == bytes(len(left))


def test_what_cannot_be_is_refused(arithmetic):
    digest = bytes(32)
    assert arithmetic.error("hmac", 0, b"", digest, 0, "-", "-") == INTERNAL, "not derived"
    assert arithmetic.error("encrypt", 0, b"", b"x") == INTERNAL
    assert arithmetic.error("decrypt", 0, b"", b"x") == INTERNAL
    assert arithmetic.error("verify", 0, b"", digest, digest, 0, digest) == INTERNAL
    assert arithmetic.error("derive", 0, b"", digest) == INTERNAL, "no salt"
    assert arithmetic.error("derive", 0, b"salt", digest[:-1]) == INTERNAL, "a short nonce"
    start(arithmetic, random.Random(6))
    assert len(arithmetic.ask("hmac", 0, b"a" * 32 + bytes(9), digest, 0, "-", "-")) == 32
    assert arithmetic.error("hmac", 0, b"a" * 33, digest, 0, "-", "-") == INTERNAL
    assert arithmetic.error("derive", 0, b"", digest) == INTERNAL
    assert arithmetic.error("encrypt", 0, b"", b"x") == INTERNAL, "a failure leaves no old key"
    names = [b"\0\x0b" + digest] * 4
    assert len(arithmetic.ask("cp_hash", 1, b"", *names[:3])) == 32
    assert arithmetic.error("cp_hash", 1, b"", *names) == INTERNAL
    assert arithmetic.error("cp_hash", 1, b"", names[0], b"") == INTERNAL


# Before a real TPM


class Refused(Exception):
    def __init__(self, code: Code, rc: int):
        super().__init__(f"{code.name}: {rc:#x}")
        self.rc = rc


@dataclasses.dataclass
class Part:
    """What a session does in one command; `cfb_auth` where that is not `auth`."""

    session: "Session"
    attributes: int = 0
    auth: bytes = b""
    cfb_auth: bytes | None = None

    @property
    def secret(self) -> bytes:
        return self.auth if self.cfb_auth is None else self.cfb_auth


@dataclasses.dataclass
class Session:
    number: int
    handle: int


@dataclasses.dataclass
class Object:
    handle: int
    name: bytes


class Client:
    """TPM commands in raw bytes, with sessions by the library's arithmetic."""

    def __init__(self, tpm: tpms.Swtpm, arithmetic: Arithmetic):
        self.tpm = tpm
        self.arithmetic = arithmetic
        self.num_sessions = 0
        self.nonces = {}  # nonceCaller of each session in this command

    def plain(self, code: Code, content: bytes) -> bytes:
        """A command without sessions: what follows the response's header."""
        return self._exchange(tpms.NO_SESSIONS, code, content)[10:]

    def _exchange(self, tag: int, code: Code, content: bytes) -> bytes:
        rc = tpms.RC_RETRY
        while rc == tpms.RC_RETRY:
            answer = tpms.exchange(self.tpm.path, struct.pack(
                ">HII", tag, 10 + len(content), code) + content)
            rc = struct.unpack_from(">I", answer, 6)[0]
        if rc:
            raise Refused(code, rc)
        return answer

    def read_public(self, handle: int) -> tuple[bytes, bytes]:
        """The TPM2B_PUBLIC and the Name."""
        public, rest = split(self.plain(Code.ReadPublic, struct.pack(">I", handle)))
        return sized(public), split(rest)[0]

    def start(self, salt_key: int, policy: bool = False) -> Session:
        number, self.num_sessions = self.num_sessions, self.num_sessions + 1
        seed, encrypted = self.arithmetic.ask("seed", USES["SECRET"], self.read_public(salt_key)[0])
        nonce = self.arithmetic.ask("roll", number)
        answer = self.plain(Code.StartAuthSession, struct.pack(">II", salt_key, RH_NULL)
                            + sized(nonce) + sized(encrypted)
                            + struct.pack(">BHHHH", int(policy), 6, 128, 0x43, 11))
        nonce_tpm, rest = split(answer[4:])
        assert not rest
        self.arithmetic.ask("derive", number, seed, nonce_tpm)
        return Session(number, struct.unpack_from(">I", answer)[0])

    def flush(self, *held: Session | Object):
        for one in held:
            self.plain(Code.FlushContext, struct.pack(">I", one.handle))

    def _authorizations(self, code: Code, objects, params: bytes, parts, spoil: int | None):
        digest = self.arithmetic.ask("cp_hash", code, params, *(each.name for each in objects))

        def other(attribute: int):
            numbers = [part.session.number for part in parts[1:] if part.attributes & attribute]
            return numbers[0] if numbers else "-"

        area = b""
        for index, part in enumerate(parts):
            extra = [other(DECRYPT), other(ENCRYPT)] if index == 0 else ["-", "-"]
            answer = bytearray(self.arithmetic.ask("hmac", part.session.number, part.auth, digest,
                                                   part.attributes | CONTINUE, *extra))
            if spoil is not None and index == spoil // 256:
                answer[spoil % 256 // 8] ^= 1 << spoil % 8
            nonce = self.nonces[part.session.number]
            area += (struct.pack(">I", part.session.handle) + sized(nonce)
                     + bytes([part.attributes | CONTINUE]) + sized(bytes(answer)))
        return area

    def _verify(self, part: Part, digest: bytes, area: bytes) -> bytes:
        """One TPMS_AUTH_RESPONSE; returns what follows. Before it, what it must not be."""
        nonce, rest = split(area)
        attributes = rest[0]
        answer, rest = split(rest[1:])
        spoilt = bytes([answer[0] ^ 0x80]) + answer[1:]
        number = part.session.number
        for question in ((part.auth, digest, nonce, attributes, spoilt),
                         (part.auth, spoilt, nonce, attributes, answer),
                         (part.auth, digest, spoilt, attributes, answer),
                         (part.auth, digest, nonce, attributes ^ ENCRYPT, answer),
                         (part.auth + b"x", digest, nonce, attributes, answer)):
            assert self.arithmetic.error("verify", number, *question) == NO_TPM
        assert self.arithmetic.ask("verify", number, part.auth, digest, nonce, attributes,
                                   answer) == nonce
        return rest

    def run(self, code: Code, objects: list[Object], params: bytes, parts: list[Part],
            handle_out: bool = False, spoil: int | None = None) -> bytes:
        """
        A command with sessions, the first of the first object: the response's parameters, behind
        its handle if it has one. `spoil` is a bit of the HMACs, 256 a session, that is flipped.
        """
        self.nonces = {part.session.number: self.arithmetic.ask("roll", part.session.number)
                       for part in parts}
        for part in parts:
            if part.attributes & DECRYPT:
                first, rest = split(params)
                params = sized(self.arithmetic.ask("encrypt", part.session.number, part.secret,
                                                   first)) + rest
        area = self._authorizations(code, objects, params, parts, spoil)
        content = (b"".join(struct.pack(">I", each.handle) for each in objects)
                   + struct.pack(">I", len(area)) + area + params)
        answer = self._exchange(tpms.SESSIONS, code, content)
        handle, answer = (answer[10:14], answer[14:]) if handle_out else (b"", answer[10:])
        size = struct.unpack_from(">I", answer)[0]
        params, area = answer[4:4 + size], answer[4 + size:]
        digest = self.arithmetic.ask("rp_hash", code, params)
        for part in parts:
            area = self._verify(part, digest, area)
        assert not area
        for part in parts:
            if part.attributes & ENCRYPT:
                first, rest = split(params)
                params = sized(self.arithmetic.ask("decrypt", part.session.number, part.secret,
                                                   first)) + rest
        return handle + params

    def make(self, public: bytes, auth: bytes, data: bytes, parent: Object,
             *parts: Part) -> Object:
        """TPM2_Create and TPM2_Load."""
        answer = self.run(Code.Create, [parent], sized(sized(auth) + sized(data)) + sized(public)
                          + sized(b"") + bytes(4), list(parts))
        private, rest = split(answer)
        public, _ = split(rest)
        answer = self.run(Code.Load, [parent], sized(private) + sized(public), list(parts),
                          handle_out=True)
        name = b"\0\x0b" + hashlib.sha256(public).digest()
        assert split(answer[4:]) == (name, b"")
        return Object(struct.unpack_from(">I", answer)[0], name)


@pytest.fixture(scope="module", name="keyed_tpm")
def fixture_keyed_tpm(tmp_path_factory):
    """A TPM with storage keys, of elliptic curves and RSA."""
    tpm = tpms.Swtpm(tmp_path_factory.mktemp("keyed"))
    for handle, kind in ((ECC_KEY, "ecc"), (RSA_KEY, "rsa2048")):
        tpm.tool("tpm2_createprimary", "-C", "o", "-G", kind, "-c", "p.ctx")
        tpm.flush()
        tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "p.ctx", f"{handle:#x}")
        tpm.flush()
    yield tpm
    tpm.stop()


@pytest.fixture(name="client")
def fixture_client(keyed_tpm, arithmetic):
    client = Client(keyed_tpm, arithmetic)
    yield client
    left = keyed_tpm.left_behind()
    keyed_tpm.flush()
    for handle in keyed_tpm.handles(0x02000000):
        client.flush(Session(0, handle))
    assert not left


@pytest.fixture(name="parent")
def fixture_parent(client) -> Object:
    return Object(ECC_KEY, client.read_public(ECC_KEY)[1])


def sealed(policy: bytes = b"") -> bytes:
    """TPMT_PUBLIC of a sealed object: fixedTPM, fixedParent, noDA; userWithAuth or a policy."""
    return (struct.pack(">HHI", 8, 11, 0x412 | (0 if policy else 0x40)) + sized(policy)
            + struct.pack(">HH", 0x10, 0))


SIGNING = (struct.pack(">HHIHHHHHHH", 0x23, 11, 0x40472, 0, 0x10, 0x10, 3, 0x10, 0, 0))
AUTH, DATA = b"correct horse", bytes(range(100))


@pytest.mark.parametrize("salt_key", [ECC_KEY, RSA_KEY], ids=["ecc", "rsa"])
def test_a_tpm_takes_our_hmacs_and_we_take_its(client, parent, salt_key):
    session = client.start(salt_key)
    both = Part(session, DECRYPT | ENCRYPT)
    secret = client.make(sealed(), AUTH, DATA, parent, both)
    unseal = (Code.Unseal, [secret], b"")
    assert client.run(*unseal, [Part(session, ENCRYPT, AUTH)]) == sized(DATA)
    for spoil in (0, 100, 255):
        with pytest.raises(Refused) as caught:
            client.run(*unseal, [Part(session, ENCRYPT, AUTH)], spoil=spoil)
        assert caught.value.rc == BAD_AUTH
    for wrong in (b"", AUTH[:-1], AUTH + b"r", b"Correct horse"):
        with pytest.raises(Refused) as caught:
            client.run(*unseal, [Part(session, ENCRYPT, wrong)])
        assert caught.value.rc == BAD_AUTH
    assert client.run(*unseal, [Part(session, 0, AUTH + bytes(3))]) == sized(DATA), "goes on"
    client.flush(session, secret)


def test_a_tpm_signs_the_digest_that_was_encrypted(client, parent):
    session = client.start(ECC_KEY)
    key = client.make(SIGNING, AUTH, b"", parent, Part(session, DECRYPT | ENCRYPT))
    digest = hashlib.sha256(b"what is signed").digest()
    params = sized(digest) + struct.pack(">HHHIH", 0x18, 11, 0x8024, RH_NULL, 0)
    signature = client.run(Code.Sign, [key], params, [Part(session, DECRYPT, AUTH)])
    verify = struct.pack(">I", key.handle) + sized(digest) + signature
    assert client.plain(Code.VerifySignature, verify)
    with pytest.raises(Refused):
        client.plain(Code.VerifySignature, verify.replace(digest, bytes(32)))
    with pytest.raises(Refused) as caught:
        client.run(Code.Sign, [key], params, [Part(session, DECRYPT, AUTH)], spoil=7)
    assert caught.value.rc == BAD_AUTH
    client.flush(session, key)


def test_a_tpm_takes_the_authvalue_of_a_policy(client, parent):
    session = client.start(ECC_KEY)
    policy = hashlib.sha256(bytes(32) + struct.pack(">I", Code.PolicyAuthValue)).digest()
    secret = client.make(sealed(policy), AUTH, DATA, parent, Part(session, DECRYPT | ENCRYPT))
    client.flush(session)
    session = client.start(RSA_KEY, policy=True)
    for auth in (b"wrong", AUTH):
        client.plain(Code.PolicyRestart, struct.pack(">I", session.handle))
        client.plain(Code.PolicyAuthValue, struct.pack(">I", session.handle))
        run = (Code.Unseal, [secret], b"", [Part(session, ENCRYPT, auth)])
        if auth == AUTH:
            assert client.run(*run) == sized(DATA)
            continue
        with pytest.raises(Refused) as caught:
            client.run(*run)
        assert caught.value.rc == BAD_AUTH
    client.flush(session, secret)


def test_a_policy_mixes_the_authvalue_into_encryption_alone(client, parent):
    """Without TPM2_PolicyAuthValue it is in no HMAC, but the TPM encrypts with it all the same."""
    session = client.start(ECC_KEY)
    policy = hashlib.sha256(bytes(32) + struct.pack(
        ">II", Code.PolicyCommandCode, Code.Unseal)).digest()
    secret = client.make(sealed(policy), AUTH, DATA, parent, Part(session, DECRYPT | ENCRYPT))
    client.flush(session)
    session = client.start(ECC_KEY, policy=True)

    def unseal(*parts: Part, **options) -> bytes:
        client.plain(Code.PolicyRestart, struct.pack(">I", session.handle))
        client.plain(Code.PolicyCommandCode, struct.pack(">II", session.handle, Code.Unseal))
        return client.run(Code.Unseal, [secret], b"", list(parts), **options)

    assert unseal(Part(session, ENCRYPT, cfb_auth=AUTH)) == sized(DATA)
    assert unseal(Part(session, ENCRYPT)) != sized(DATA)
    extra = client.start(ECC_KEY)
    assert unseal(Part(session), Part(extra, ENCRYPT)) == sized(DATA)
    for number in range(2):
        with pytest.raises(Refused) as caught:
            unseal(Part(session), Part(extra, ENCRYPT), spoil=256 * number + 3)
        assert caught.value.rc >> 8 == 9 + number, "the session with the wrong HMAC"
    client.flush(session, extra, secret)


def test_other_sessions_encrypt_and_decrypt(client, parent):
    """The first session's HMAC speaks for the other two."""
    first, second, third = (client.start(key) for key in (ECC_KEY, ECC_KEY, RSA_KEY))
    for parts in ((Part(first), Part(second, DECRYPT), Part(third, ENCRYPT)),
                  (Part(first), Part(second, ENCRYPT), Part(third, DECRYPT)),
                  (Part(first), Part(second, ENCRYPT | DECRYPT)),
                  (Part(first, DECRYPT), Part(second, ENCRYPT)),
                  (Part(first, ENCRYPT), Part(third, DECRYPT))):
        secret = client.make(sealed(), AUTH, DATA, parent, *parts)
        assert client.run(Code.Unseal, [secret], b"", [Part(first, ENCRYPT, AUTH)]) == sized(DATA)
        client.flush(secret)
    client.flush(first, second, third)
