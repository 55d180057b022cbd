# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of policies and seals: beside Python's, and beside trial sessions of a TPM."""

import random
import struct
import subprocess

import pytest

import sealing
from sealing import ZERO, Counter

USAGE, BAD_RECORD, WRONG_KEY, UNSUPPORTED = 2, 6, 14, 15
NO_COUNTER = ("0", "-", "0")
INDEX = 0x01800010
NONE, _AUTH, STRICT, AUTHORITY, EITHER = range(5)  # enum lct_seal_kind
SELECTIONS = ("sha256:7", "sha256:0,1,2,3,7", "sha256:0,2,7+sha384:11", "sha1:0+sha256:23",
              "sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23",
              "sha1:4+sha256:4+sha384:4+sha512:4")


class Error(Exception):
    def __init__(self, words: str):
        super().__init__(words)
        self.code, _, self.sentence = words.partition(" ")


class Policies:
    """The program that answers from the library."""

    def __init__(self, user):
        self.process = subprocess.Popen(
            [user.build / "tests" / "policy"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, cwd=user.directory, env=user.environment())

    def ask(self, *words) -> list[str]:
        self.process.stdin.write(" ".join(
            (word.hex() or "-") if isinstance(word, bytes) else str(word) for word in words) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the program has ended"
        if line.startswith("error "):
            raise Error(line[6:].rstrip("\n"))
        return line.split()

    def bytes(self, *words) -> bytes:
        (found,) = self.ask(*words)
        return b"" if found == "-" else bytes.fromhex(found)

    def error(self, *words) -> int:
        with pytest.raises(Error) as caught:
            self.ask(*words)
        assert caught.value.sentence
        return int(caught.value.code)

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(60) == 0


@pytest.fixture(name="policies")
def fixture_policies(build, user):
    if not (build / "tests" / "policy").exists():
        pytest.skip("this build has no test programs")
    program = Policies(user)
    yield program
    program.stop()


def counter_words(counter: Counter | None) -> tuple:
    return NO_COUNTER if counter is None else (counter.handle, counter.name, counter.value)


def random_values(source: random.Random, spec: str) -> list[bytes]:
    sizes = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}
    return [source.randbytes(sizes[bank]) for bank, pcrs in sealing.parse(spec) for _ in pcrs]


# Selections


@pytest.mark.parametrize("spec", SELECTIONS)
def test_a_selection_is_as_the_tpm_takes_it(policies, spec):
    text, marshalled = policies.ask("parse", spec)
    assert (text, bytes.fromhex(marshalled)) == (spec, sealing.selection(spec))
    assert policies.ask("unmarshal", marshalled) == [spec, str(len(marshalled) // 2)]
    assert policies.ask("unmarshal", marshalled + "ff") == [spec, str(len(marshalled) // 2)]


@pytest.mark.parametrize("spec, canonical", [
    ("sha256:7,0", "sha256:0,7"), ("sha384:1+sha256:7", "sha256:7+sha384:1")])
def test_a_selection_has_one_order_whatever_it_was_written_in(policies, spec, canonical):
    assert policies.ask("parse", spec)[0] == canonical


@pytest.mark.parametrize("spec", [
    "sha256", "sha256:", ":7", "sha256:24", "sha256:7,7", "sha256:7+sha256:7", "sha256:7+",
    "+sha256:7", "sha256:7,", "sha256:,7", "sha256:-1", "sha256:+7", "sha256:0x7", "SHA256:7",
    "md5:7", "sha256:7;sha384:7", "sha256:4294967303", "sha256:007", "strict:sha256:7",
    "sha1:0+sha256:0+sha384:0+sha512:0+sha3_256:0"])
def test_what_is_no_selection_is_refused(policies, spec):
    assert policies.error("parse", spec) == USAGE


@pytest.mark.parametrize("spec, refused", [
    ("sha256:16", True), ("sha256:23", True), ("sha256:7+sha384:16", True),
    ("sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,17,18,19,20,21,22", False)])
def test_what_anybody_may_reset_is_not_to_be_sealed_to(policies, spec, refused):
    if refused:
        assert policies.error("check", spec) == USAGE
    else:
        assert policies.ask("check", spec) == ["-"]


@pytest.mark.parametrize("spoilt", [
    "", "00", "000000", "00000001", "00000001000b", "00000001000b0380",
    "00000001000b04800000", "00000001000b0380000000000001000b"[:18],
    "0000000100ff03800000",  # a bank that is none
    "00000002000b03800000000b03010000",  # one twice
    "00000002000c03800000000b03800000",  # out of order
    "ffffffff000b03800000"])
def test_a_spoilt_selection_is_refused(policies, spoilt):
    assert policies.error("unmarshal", spoilt or "-") == BAD_RECORD


def test_a_bank_without_a_pcr_is_left_out(policies):
    assert policies.ask("unmarshal", "00000002000b03000000000c03800000") == ["sha384:7", "16"]
    assert policies.ask("unmarshal", "00000001000b03000000") == ["-", "10"]


@pytest.mark.parametrize("spec", SELECTIONS)
def test_values_are_hashed_in_the_selection_s_order(policies, spec):
    found = random_values(random.Random(spec), spec)
    assert policies.bytes("pcr_digest", spec, b"".join(found)) == sealing.pcr_digest(found)
    assert policies.ask("blank", spec, b"".join(found)) == ["no", "-"]
    for byte in (b"\0", b"\xff"):
        blank = b"".join(byte * len(each) for each in found)
        assert policies.ask("blank", spec, blank) == ["yes", spec]
        if len(found) > 1:
            assert policies.ask("blank", spec, blank[:-1] + b"\1")[0] == "no"


def test_a_blank_pcr_of_the_firmware_s_is_one_whatever_the_others_hold(policies):
    """Of 0 to 7, into which firmware that measures puts a separator at least."""
    for spec, blank in (("sha256:0,7,15", "sha256:0,7"), ("sha256:8,15", "-"),
                        ("sha256:7+sha384:7,15", "sha256:7+sha384:7"), ("sha256:0,8,15", "sha256:0")):
        found = sealing.parse(spec)
        sizes = [{"sha256": 32, "sha384": 48}[bank] for bank, pcrs in found for _ in pcrs]
        values = b"".join(map(bytes, sizes))[:-1] + b"\1"
        assert policies.ask("blank", spec, values) == ["no", blank]


def test_values_are_picked_by_bank_and_number(policies):
    spec = "sha256:0,2,7+sha384:7"
    found = random_values(random.Random(1), spec)
    whole = b"".join(found)
    for wanted, picked in (("sha256:2", found[1:2]), ("sha256:0,7", [found[0], found[2]]),
                           ("sha384:7", found[3:]), (spec, found)):
        assert policies.bytes("pick", wanted, spec, whole) == sealing.pcr_digest(picked)
    for wanted in ("sha256:1", "sha384:0", "sha512:7", "sha256:0,1,2,7"):
        assert policies.ask("pick", wanted, spec, whole) == ["none"]


# Policies


def test_policies_are_those_of_python(policies):
    source = random.Random(5)
    for spec in SELECTIONS:
        digest, of_values = source.randbytes(32), source.randbytes(32)
        name, ref = source.randbytes(34), source.randbytes(source.randrange(33))
        counter = Counter(INDEX, source.randbytes(34), source.getrandbits(64))
        first, second = source.randbytes(32), source.randbytes(32)
        pcr = sealing.policy_pcr(ZERO, spec, of_values)
        steps = {
            ("pcr", spec, of_values): pcr,
            ("pcr", spec, of_values, "auth"): sealing.policy_auth_value(pcr),
            ("counter", *counter_words(counter)): sealing.policy_nv(ZERO, counter),
            ("pcr", spec, of_values, "counter", *counter_words(counter)):
                sealing.policy_nv(pcr, counter),
            ("authorize", name, ref): sealing.policy_authorize(name, ref),
            ("pcr", spec, of_values, "authorize", name, b""): sealing.policy_authorize(name, b""),
            ("or", first, second): sealing.policy_or(first, second),
            ("auth", "or", first, second, "auth"):
                sealing.policy_auth_value(sealing.policy_or(first, second)),
        }
        for words, expected in steps.items():
            assert policies.bytes("policy", *words) == expected, words
        assert policies.bytes("to_sign", digest, ref) == sealing.to_sign(digest, ref)


def test_the_known_policy_of_a_tpm_that_has_measured_nothing(policies):
    """Which a TPM of another make, too, has told for PolicyPCR of zeros."""
    digest = policies.bytes("pcr_digest", "sha256:0,1,2,3,7", bytes(160))
    found = policies.bytes("policy", "pcr", "sha256:0,1,2,3,7", digest)
    assert found.hex().startswith("69243091") and found.hex().endswith("24ca")


class Trial:
    """A trial session of tpm2-tools; each step gives policyDigest."""

    def __init__(self, tpm):
        self.tpm = tpm
        tpm.tool("tpm2_startauthsession", "-S", "trial.ctx")

    def file(self, name: str, content: bytes) -> str:
        (self.tpm.directory / name).write_bytes(content)
        return name

    def step(self, command: str, *arguments) -> bytes:
        self.tpm.tool(command, "-S", "trial.ctx", "-L", "trial.policy", *arguments)
        return (self.tpm.directory / "trial.policy").read_bytes()

    def pcr(self, spec: str) -> bytes:
        return self.step("tpm2_policypcr", "-l", spec)

    def authorize(self, policy: bytes, name: bytes, ref: bytes) -> bytes:
        return self.step("tpm2_policyauthorize", "-i", self.file("approved", policy), "-n",
                         self.file("name", name), "-q", self.file("ref", ref))

    def either(self, first: bytes, second: bytes) -> bytes:
        return self.step("tpm2_policyor",
                         f"sha256:{self.file('first', first)},{self.file('second', second)}")

    def auth_value(self) -> bytes:
        return self.step("tpm2_policyauthvalue")

    def counter(self, counter: Counter) -> bytes:
        operand = self.file("operand", struct.pack(">Q", counter.value))
        return self.step("tpm2_policynv", "-i", operand, "-C", "o", hex(counter.handle), "ule")

    def end(self):
        self.tpm.tool("tpm2_flushcontext", "trial.ctx")


@pytest.fixture(name="trial")
def fixture_trial(make_tpm):
    tpm = make_tpm()
    sealing.boot(tpm)
    trial = Trial(tpm)
    yield trial
    trial.end()


def make_counter(tpm, value: int) -> Counter:
    """An NV counter with its Name as the TPM computes it, and the value a policy allows."""
    tpm.tool("tpm2_nvdefine", hex(INDEX), "-C", "o", "-g", "sha256", "-a",
             "nt=counter|ownerread|ownerwrite|authread")
    tpm.tool("tpm2_nvincrement", "-C", "o", hex(INDEX))
    shown = tpm.tool("tpm2_nvreadpublic", hex(INDEX)).stdout
    return Counter(INDEX, bytes.fromhex(shown.split("name: ")[1].split()[0]), value)


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_tpm_computes_the_same_policies(policies, trial, kind, user):
    """Step by step in one trial session, the whole default seal with a passphrase among them."""
    tpm = trial.tpm
    spec, ref = "sha256:0,2,7+sha384:1", b"somebody's"
    public = sealing.authority_public(sealing.software_key(user.path("key"), kind))
    name = sealing.name_of(public)
    found = sealing.pcr_values(tpm, spec)
    state = policies.bytes("state", spec, b"".join(found), *NO_COUNTER)
    assert trial.pcr(spec) == state == sealing.policy_of_state(spec, found)
    counter = make_counter(tpm, 1 << 40 | 3)
    counted = policies.bytes("state", spec, b"".join(found), *counter_words(counter))
    assert trial.counter(counter) == counted == sealing.policy_of_state(spec, found, counter)
    approved = policies.bytes("policy", "authorize", name, ref)
    assert trial.authorize(counted, name, ref) == approved == sealing.policy_authorize(name, ref)
    assert trial.authorize(counted, name, b"") == policies.bytes("policy", "authorize", name, b"")
    whole = policies.bytes("seal", spec, b"".join(found), public, ref, "no")
    assert trial.either(state, approved) == whole
    assert whole == sealing.policy_of_seal("either", spec, found, public, ref)
    locked = policies.bytes("seal", spec, b"".join(found), public, ref, "yes")
    assert trial.auth_value() == locked


@pytest.mark.parametrize("passphrase", [False, True])
def test_the_policy_of_each_seal_is_python_s(policies, user, passphrase):
    public = sealing.authority_public(sealing.software_key(user.path("key")))
    spec = "sha256:7+sha384:0"
    found = random_values(random.Random(7), spec)
    whole, said = b"".join(found), "yes" if passphrase else "no"
    for kind, text, of_values in (("either", spec, whole), ("strict", f"strict:{spec}", whole),
                                  ("authority", f"authority:{spec}", b"")):
        for ref in (b"", b"\1" * 32):
            assert policies.bytes("seal", text, of_values, public, ref, said) == (
                sealing.policy_of_seal(kind, spec, found, public, ref, passphrase)), kind
    different = {policies.bytes("seal", text, of_values, public, b"", answer)
                 for text, of_values in ((spec, whole), (f"strict:{spec}", whole),
                                         (f"authority:{spec}", b""))
                 for answer in ("yes", "no")}
    assert len(different) == 6


def test_an_authority_that_is_none_has_no_policy(policies):
    found = bytes(32)
    for public in (b"", b"\0\0", b"\0\4\0\x23\0\x0b"):
        assert policies.error("seal", "sha256:7", found, public, b"", "no") in (1, BAD_RECORD)


# What users write


@pytest.mark.parametrize("text, kind, pcrs", [
    ("none", NONE, "-"), ("sha256:7", EITHER, "sha256:7"),
    ("sha256:7,0+sha384:11", EITHER, "sha256:0,7+sha384:11"),
    ("strict:sha256:7", STRICT, "sha256:7"), ("authority", AUTHORITY, sealing.DEFAULT),
    ("authority:sha256:7", AUTHORITY, "sha256:7")])
def test_a_seal_in_words(policies, text, kind, pcrs):
    number, found, back = policies.ask("words", text)
    assert (int(number), found) == (kind, pcrs)
    assert policies.ask("words", back) == [number, found, back]


@pytest.mark.parametrize("text", [
    "-", "strict", "strict:", "authority:", "none:sha256:7", "None", "strict:none",
    "strict:strict:sha256:7", "strict:authority", "sha256:16", "strict:sha256:23",
    "authority:sha256:16", "auth", "sha256:24", "sha256", "strict:authority:sha256:7",
    "authority:strict:sha256:7", "sha256:7:", "any", "authoritysha256:7"])
def test_what_is_no_seal_is_refused(policies, text):
    assert policies.error("words", text) == USAGE


def test_a_policy_ref_is_bound_to_the_identity_and_the_counter(policies):
    assert policies.bytes("bind", "alice", *NO_COUNTER) == sealing.sha256(b"lct:bound:alice")
    name = b"\0\x0b" + bytes(range(32))
    bound = policies.bytes("bind", "alice", INDEX, name, 1)
    assert bound == sealing.sha256(b"lct:revocable:" + sealing.sized(name) + b"alice")
    assert bound == policies.bytes("bind", "alice", INDEX, name, 2), "whatever it has counted"
    others = [policies.bytes("bind", who, *counter) for who in ("alice", "bob")
              for counter in (NO_COUNTER, (INDEX, name, 1), (INDEX, name[:-1] + b"\0", 1))]
    assert len(set(others)) == 6


# Authorities and approvals


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_an_authority_has_the_name_that_a_tpm_gives_it(policies, user, make_tpm, kind):
    tpm = make_tpm()
    pem = user.write("pub.pem", sealing.software_key(user.path("key"), kind))
    public = policies.bytes("authority", pem)
    assert public == sealing.authority_public(pem.read_bytes())
    (tpm.directory / "public").write_bytes(public)
    tpm.tool("tpm2_loadexternal", "-C", "n", "-u", "public", "-c", "a.ctx", "-n", "name")
    tpm.flush()
    assert (tpm.directory / "name").read_bytes() == sealing.name_of(public)


@pytest.mark.parametrize("algorithm, option, taken", [
    ("EC", "ec_paramgen_curve:P-384", False), ("RSA", "rsa_keygen_bits:1024", False),
    ("ED25519", None, False), ("RSA", "rsa_keygen_bits:3072", True)])
def test_which_keys_can_be_an_authority(policies, user, algorithm, option, taken):
    options = ("-pkeyopt", option) if option else ()
    sealing.openssl("genpkey", "-algorithm", algorithm, *options, "-out", user.path("key"))
    pem = user.write("pub.pem", sealing.openssl("pkey", "-in", user.path("key"), "-pubout"))
    if taken:
        assert policies.bytes("authority", pem) == sealing.authority_public(pem.read_bytes())
    else:
        assert policies.error("authority", pem) == UNSUPPORTED


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_an_approval_is_signed_and_verified_as_openssl_does(policies, user, kind):
    key = user.path("key")
    pem = sealing.software_key(key, kind)
    public = sealing.authority_public(pem)
    spec, ref = "sha256:7+sha384:0", b"\5" * 32
    found = random_values(random.Random(9), spec)
    counter = Counter(INDEX, b"\0\x0b" + bytes(32), 7)
    for of_counter in (None, counter):
        policy, signature = map(bytes.fromhex, policies.ask(
            "sign", key, spec, b"".join(found), ref, *counter_words(of_counter)))
        assert policy == sealing.policy_of_state(spec, found, of_counter)
        sealing.openssl("dgst", "-sha256", "-verify", user.write("pub.pem", pem), "-signature",
                        user.write("sig", signature), stdin=policy + ref)
        assert policies.ask("verify", public, policy, ref, signature) == ["-"]
    theirs = sealing.sign(key, policy + ref)
    assert policies.ask("verify", public, policy, ref, theirs) == ["-"]


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_no_other_approval_verifies(policies, user, kind):
    key = user.path("key")
    public = sealing.authority_public(sealing.software_key(key, kind))
    other = sealing.authority_public(sealing.software_key(user.path("other"), kind))
    policy, ref = sealing.sha256(b"policy"), b"\5" * 32
    signature = sealing.sign(key, policy + ref)

    def refused(*words):
        assert policies.error("verify", *words) in (WRONG_KEY, BAD_RECORD), words

    assert policies.ask("verify", public, policy, ref, signature) == ["-"]
    refused(other, policy, ref, signature)
    refused(public, policy, b"", signature)
    refused(public, policy, ref[:-1], signature)
    refused(public, ref, policy, signature)
    refused(public, policy, ref, b"")
    refused(public, policy, ref, signature[:-1])
    refused(b"", policy, ref, signature)
    refused(public, policy, ref, sealing.sign(key, sealing.to_sign(policy, ref)))
    for what, at in ((policy, 1), (ref, 2), (signature, 3)):
        for bit in range(0, 8 * len(what), 37):
            words = [public, policy, ref, signature]
            changed = bytearray(what)
            changed[bit // 8] ^= 1 << bit % 8
            words[at] = bytes(changed)
            refused(*words)


def test_which_approvals_fit_a_seal(policies):
    ref, name = b"\5" * 32, b"\0\x0b" + bytes(32)
    counter, later = (INDEX, name, 1), (INDEX, name, 2)
    elsewhere, other = (INDEX + 1, name, 1), (INDEX, name[:-1] + b"\1", 1)
    free, bound, counted = (b"", *NO_COUNTER), (ref, *NO_COUNTER), (ref, *counter)
    for approved, of_seal in ((free, free), (bound, bound), (counted, counted),
                              ((ref, *later), counted), ((ref, *elsewhere), counted)):
        assert policies.ask("fits", *approved, *of_seal) == ["yes"], (approved, of_seal)
    for approved, of_seal in ((bound, free), (free, bound), (bound, counted), (counted, bound),
                              ((ref, *other), counted), ((ref[:-1], *counter), counted)):
        assert policies.ask("fits", *approved, *of_seal) == ["no"], (approved, of_seal)
