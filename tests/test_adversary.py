# SPDX-License-Identifier: Apache-2.0
"""
The TPM as an adversary: whatever is answered to any command of any operation, that ends soon, with
what is right or with one sentence, and no secret is ever on the bus or encrypted to a stranger's
key. Here are some of the lies, always the same ones; with --mutations each about each response,
that is to say each byte of it and each length.
"""

import hashlib
import re
import struct
import subprocess
import time

import pytest

import test_faults
from adversary import (FIXED_LIES, Liar, StorageKey, always_first, changed, is_among,
                       lies_about, name_for_name, sized, whole)
from conftest import NOISE
from keyfile import KeyFile
from sealing import SEALED
from test_command import one_sentence
from test_faults import (MAKERS, OPERATIONS, OWNER, SEALED_SECRET, SECRET, Bench, Devices, Swtpms,
                         is_document)
from tpm import SRK, Command, Proxy
from tpmrm import CannotMount

DAMAGED, NO_TPM, OTHER_TPM, UNSUPPORTED = 6, 9, 13, 15
LONGEST = 30  # s that an operation takes: some lies are that the TPM is busy
FEW, FEWER = 4, 1  # lies that are thought out, and bytes that are spoilt, unless all
ATTACKED = ("create", "create-passphrase", "create-sealed", "create-owner", "sign",
            "sign-passphrase", "sign-always", "sign-transient", "sign-owner", "sign-sealed",
            "sign-sealed-passphrase", "sign-approved", "sign-persistent",
            "sign-persistent-passphrase", "sign-handle-passphrase", "unseal", "unseal-passphrase",
            "import-passphrase", "import-software", "import-software-always", "respond",
            "respond-endorsement", "respond-passphrase", "respond-direct-passphrase", "check",
            "rotate")
MANAGED = ("create-passphrase", "sign", "sign-passphrase", "sign-always", "sign-approved",
           "program-sealed", "program-passphrase", "unseal", "import-software",
           "respond-direct-passphrase")
# Before it answers a TPM in software makes RSA keys, which takes seconds.
LONG = ("respond-endorsement", "respond-passphrase", "import-software-always")
BELIEVED = ("check", "ek")  # they print what they find, and fail at the end


class Between:
    """A way in to a TPM on which a liar is."""

    def listen(self, hook):
        self.liar = Liar()
        hook(None, self.liar.answer)


class Proxied(Swtpms, Between):
    """Without a resource manager."""

    def __init__(self, directory):
        super().__init__(directory)
        self.proxy = Proxy(directory / "proxy", self.tpm)
        self.tcti = self.proxy.tcti
        self.listen(self.proxy.hook)

    def stop(self):
        self.proxy.stop()
        super().stop()


class Managed(Devices, Between):
    """The kernel's resource manager lies: handles are private, and sessions are kept."""

    def __init__(self, directory):
        super().__init__(directory)
        self.listen(self.device.hook)


@pytest.fixture(scope="module", name="all_lies")
def fixture_all_lies(request) -> bool:
    return request.config.getoption("--mutations")


@pytest.fixture(scope="module", name="make_bench")
def fixture_make_bench(request, build, tmp_path_factory):
    if request.config.getoption("--device"):
        pytest.skip("of an adversary before a software TPM, and here is a device")
    made = []

    def make(way) -> Bench:
        directory = tmp_path_factory.mktemp("adversary")
        made.append(Bench(build, directory, way(directory)))
        return made[-1]

    yield make
    for bench in made:
        bench.way.stop()


@pytest.fixture(scope="module", name="proxied")
def fixture_proxied(make_bench) -> Bench:
    return make_bench(Proxied)


@pytest.fixture(scope="module", name="managed")
def fixture_managed(make_bench) -> Bench:
    try:
        return make_bench(Managed)
    except CannotMount as error:
        pytest.skip(str(error))


def secrets_of(user) -> list[bytes]:
    """What must not be on the bus: also the number that a key in software is."""
    found = [SECRET.encode(), OWNER.encode(), SEALED_SECRET.encode()]
    if user.path("soft.pem").exists():
        text = user.openssl("pkey", "-in", "soft.pem", "-text", "-noout").stdout
        number = re.search(r"^priv:\n((?: +[0-9a-f:]+\n)+)", text, re.MULTILINE)[1]
        found.append(bytes.fromhex(re.sub(r"[\s:]", "", number)).lstrip(b"\0"))
    return found


def is_right(bench: Bench, run) -> str | None:
    """What is wrong with what a command that succeeded has given out or made."""
    operation = run.operation
    if operation.words[1] == "sign" and not run.verifies():
        return "its signature does not verify"
    if operation.unseals and run.output.decode(errors="replace") != SEALED_SECRET:
        return "it is not the secret that was sealed"
    if operation.words[1] == "attest" and not is_document(run):
        return "it is no answer to the challenge"
    if operation.makes or operation.states:
        return is_made(run)
    return None


def is_made(run) -> str | None:
    """
    The identity is one that this TPM, which lies no more, takes; or refuses, where nobody has used
    it yet: its wrapped key was spoiled on its way out of the TPM, or it is sealed to PCRs that were
    lied about.
    """
    options = test_faults.PASSPHRASE if test_faults.PASSPHRASE[0] in run.operation.words else ()
    name = "new" if run.operation.makes else "k"
    done = run.user.lct("check", name, *options, status=None)
    spoilt = run.operation.words[1] == "create" and done.returncode in (DAMAGED, SEALED)
    if done.returncode == 0 or spoilt:
        return None
    return f"what it made fails its check: {done.stderr}"


def judge(bench: Bench, run) -> str | None:
    """What is wrong with how it came out; what it says is for people."""
    if NOISE.search(run.errors):
        return run.errors
    if run.operation.attempts:
        lines = run.output.decode().splitlines()
        if run.status != 0 or run.errors or lines[-1:] != ["ok"] or not all(
                re.fullmatch(r"signed|failed: lct:k: [ -~]+", line) for line in lines[:-1]):
            return f"status {run.status}: {run.output.decode()}{run.errors}"
        return None
    if run.status == 0:
        return is_right(bench, run)
    wrong = test_faults.says_one_thing(run)
    return None if run.operation.words[1] in BELIEVED and run.status > 1 else wrong


def attack(bench: Bench, name: str, lie, at: int, lasts: bool) -> str | None:
    """Runs an operation with a lie in it: what is wrong with how that comes out."""
    liar = bench.way.liar
    bench.user(name)
    liar.begin(lie, at, lasts)
    begun = time.monotonic()
    try:
        run = bench.run(name)
    except subprocess.TimeoutExpired:
        return "hangs"
    took = time.monotonic() - begun
    bus = liar.bus
    liar.begin()
    wrong = judge(bench, run)
    if wrong is None and took > LONGEST:
        wrong = f"takes {took:.0f} s"
    if any(is_among(secret, bus) for secret in bench.secrets[name]):
        wrong = f"a secret is on the bus; {wrong}"
    bench.clear(name)
    bench.way.flush()
    return wrong


def names_of(bench: Bench, name: str) -> list[bytes]:
    """Names that are on the bus, and one that is nobody's."""
    path = bench.users[name].store / "k" / "key-1.pem"
    found = [KeyFile.read(path).name] if path.exists() else []
    for answer in bench.way.liar.answers:
        found += [each for each in re.findall(rb"\x00\x22(\x00\x0b.{32})", answer, re.DOTALL)
                  if each not in found]
    return [*found[:6], b"\x00\x0b" + bytes(32)]


def leaves_room(name: str, code: int, lie, lasts: bool) -> bool:
    """What makes it leave objects in the TPM makes that full, and a full one is asked for 2 s."""
    makes = code in MAKERS and lasts
    keeps = code == Command.FlushContext and not lie.asks
    needs_all_slots = OPERATIONS[name].asked is not None and lie.name.startswith("handle")
    return not makes and not keeps and not needs_all_slots


def some_of(name: str, codes: list[int], cases: list) -> list:
    """Always the same ones, and such as take no time."""
    cases = [(lie, at, lasts) for lie, at, lasts in always_first(
        cases, lambda case: f"{name} {case[0]} {case[1:]}")
             if leaves_room(name, codes[at], lie, lasts)]
    thought_out = [case for case in cases if case[0] in FIXED_LIES]
    return thought_out[:FEW] + [case for case in cases if case[0] not in FIXED_LIES][:FEWER]


def work_through(bench: Bench, name: str, all_lies: bool):
    """Each lie about each response, or some of them, once and to the end."""
    bench.secrets[name] = secrets_of(bench.user(name))
    bench.way.flush()
    liar = bench.way.liar
    liar.begin()
    run = bench.run(name)
    codes, answers, bus = liar.codes, liar.answers, liar.bus
    names = names_of(bench, name)
    assert run.status == 0 and judge(bench, run) is None, run.errors
    assert not any(is_among(secret, bus) for secret in bench.secrets[name])
    bench.clear(name)
    cases = [(lie, at, lasts) for at, answer in enumerate(answers)
             for lie in [*lies_about(answer),
                         *(name_for_name(names, shift) for shift in range(1, len(names)))]
             for lasts in (False, True)]
    told = cases if all_lies else some_of(name, codes, cases)
    wrong = [f"{name}, {at} ({codes[at]:#x}), {lie}, {'lasts' if lasts else 'once'}: {found}"
             for lie, at, lasts in told if (found := attack(bench, name, lie, at, lasts))]
    if wrong:
        pytest.fail(f"{len(wrong)} of {len(told)} cases:\n" + "\n".join(wrong), pytrace=False)


@pytest.mark.timeout(36000)
@pytest.mark.parametrize("name", ATTACKED)
def test_no_lie_about_a_response_gives_out_what_is_wrong_or_secret(proxied, all_lies, name):
    if name in LONG and not all_lies:
        pytest.skip("with --mutations")
    work_through(proxied, name, all_lies)


@pytest.mark.timeout(36000)
@pytest.mark.parametrize("name", MANAGED)
def test_no_lie_of_a_resource_manager_does(managed, all_lies, name):
    if OPERATIONS[name].asked and not all_lies:
        pytest.skip("with --mutations")
    work_through(managed, name, all_lies)


def test_the_search_would_find_a_secret():
    secret = b"with zeros at its end\0\0"
    for hidden in (secret, secret[:-2], hashlib.sha1(secret).digest(),
                   hashlib.sha256(secret[:-2]).digest()):
        assert is_among(secret, [b"something", b"before" + hidden + b"after"])
    assert not is_among(secret, [b"with", b"zeros at its end"])


@pytest.mark.parametrize("command, words", [
    (Command.Create, ("create", "new")),
    (Command.PCR_Read, ("create", "new", "--seal", "strict:sha256:7"))])
def test_a_list_that_is_longer_than_can_be_is_refused_in_silence(watched, proxy, command, words):
    """TSS would print that, on the host's standard error."""
    def forge(_command, ask):
        answer = ask()
        at = 10 + 4  # the size of the parameters, or the counter of updates
        if command == Command.Create:
            for _ in range(2):  # behind the private and the public area
                at += 2 + struct.unpack_from(">H", answer, at)[0]
            at += 2
        return changed(answer, at, struct.pack(">I", 17))

    proxy.hook(command, forge)
    assert "malformed" in one_sentence(watched.lct(*words, status=NO_TPM).stderr)
    watched.lct("show", "new", status=3)


ALGORITHMS, HANDLES, BANKS, PROPERTIES = 0, 1, 5, 6  # capabilities: TPM 2.0 Part 2, 6.12
ROOM = {ALGORITHMS: 127, HANDLES: 254, BANKS: 16, PROPERTIES: 127}  # that TSS has for each


def list_of(capability: int, count: int) -> bytes:
    """A response to TPM2_GetCapability, with things in it that nobody needs."""
    entry = {ALGORITHMS: struct.pack(">HI", 1, 0), HANDLES: struct.pack(">I", 0x80FFFFFF),
             BANKS: struct.pack(">HB3x", 0x12, 3), PROPERTIES: struct.pack(">II", 1, 0)}[capability]
    return whole(0x8001, 0, struct.pack(">BII", 0, capability, count) + count * entry)


def lengthen(proxy, capability: int, count: int) -> list[int]:
    """From now on there are so many entries in each such list; what is asked for is put down."""
    asked = []

    def forge(command, ask):
        asked.append(struct.unpack_from(">I", command, 10)[0])
        return list_of(capability, count) if asked[-1] == capability else ask()

    proxy.hook(Command.GetCapability, forge)
    return asked


@pytest.mark.parametrize("capability, words", [
    (ALGORITHMS, ("create", "new")), (PROPERTIES, ("create", "new")),
    (BANKS, ("doctor",)), (HANDLES, ("gc",))],
    ids=["algorithms", "properties", "banks", "handles"])
@pytest.mark.parametrize("more", [0, 1], ids=["as long as can be", "longer"])
def test_a_list_of_what_the_tpm_has_is_no_longer_than_tss_has_room_for(watched, proxy, capability,
                                                                       words, more):
    """TSS would print that, on the host's standard error."""
    asked = lengthen(proxy, capability, ROOM[capability] + more)
    done = watched.lct(*words, status=None)
    assert capability in asked
    assert ("the TPM's response is malformed" in done.stdout + done.stderr) == bool(more)


def test_a_program_signs_on_where_such_a_list_is_too_long(watched, proxy):
    """It asks whether there is a slot to keep."""
    asked = lengthen(proxy, PROPERTIES, 300)
    done = watched.run(watched.build / "tests" / "process", "turns", "lct:ec", "lct:rsa")
    assert PROPERTIES in asked and (done.stdout, done.stderr) == ("ok\n", "")


HEAD = struct.pack(">HIH", 0x0B, 0x00060472, 0)  # SHA-256, attributes of a signing key, no policy
UNKNOWN = {  # and what follows would be a key, if it were known
    "type": struct.pack(">H", 0xA1) + HEAD,
    "cipher": struct.pack(">H", 0x01) + HEAD + struct.pack(">HHH", 0x03, 192, 0x43),
    "RSA scheme": struct.pack(">H", 0x01) + HEAD + struct.pack(">HHH", 0x10, 0xA2, 0x0B),
    "ECC scheme": struct.pack(">H", 0x23) + HEAD + struct.pack(">HHH", 0x10, 0xA2, 0x0B),
    "derivation": struct.pack(">H", 0x23) + HEAD + struct.pack(">HHHHHH", 0x10, 0x1A, 0x0B, 1, 3,
                                                              0x21),
    "hash scheme": struct.pack(">H", 0x08) + HEAD + struct.pack(">H", 0xA2),
    "cipher of a cipher": struct.pack(">H", 0x25) + HEAD + struct.pack(">HHH", 0x03, 192, 0x43)}


@pytest.mark.parametrize("area", UNKNOWN.values(), ids=UNKNOWN)
def test_an_object_of_a_kind_that_tss_does_not_know_is_refused_in_silence(make_user, make_tpm,
                                                                          make_proxy, area):
    """Newer versions of TSS would print that. It hides no other object, and breaks nothing."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_user(proxy.tcti)
    for name in ("k", "other"):
        user.lct("create", name)
        user.lct("persist", name)
    first, second = [user.record(name)["generations"][0]["persistent"] for name in ("k", "other")]
    fake = sized(area + bytes(64)) + 2 * sized(b"\0\x0b" + bytes(32))
    hidden = int(first, 16)

    def forge(command, ask):
        at = struct.unpack_from(">I", command, 10)[0]
        return whole(0x8001, 0, fake) if at == hidden else ask()

    proxy.hook(Command.ReadPublic, forge)
    lines = user.lct("gc").stdout.splitlines()
    assert lines == [f"{second}  lct:other, generation 1: recorded",
                     f"{first}  lct:k, generation 1: something else is there, and its key file is "
                     "used; lct persist puts it elsewhere"]
    user.lct("doctor", status=None)
    user.lct("sign", "k", stdin="x", text=False)
    assert "TPM2_ReadPublic" in user.lct("import", "i", first, status=UNSUPPORTED).stderr
    hidden = SRK
    sentence = one_sentence(user.lct("create", "new", "--passphrase-file",
                                     user.write("secret", SECRET), status=UNSUPPORTED).stderr)
    assert "of a kind that is not supported" in sentence and user.in_store() == ["k", "other"]


# A storage key of the adversary's own


@pytest.fixture(name="robbed", params=[SRK, 0], ids=["persistent", "made anew"])
def fixture_robbed(request, make_user, make_tpm, make_proxy):
    """A user behind a proxy with an identity that takes a passphrase, whose parent is pinned."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_user(proxy.tcti)
    user.configure(provision="yes" if request.param else "no")
    user.write("secret", SECRET)
    user.lct("create", "k", *test_faults.PASSPHRASE)
    user.proxy, user.tpm = proxy, tpm
    yield user
    tpm.flush()


@pytest.mark.parametrize("claims", [False, True], ids=["its own Name", "the pinned Name"])
@pytest.mark.parametrize("words", [("sign", "k"), ("check", "k"), ("retire", "k", "--yes"),
                                   ("rotate", "k", "--new-passphrase-file", "secret")],
                         ids=lambda words: words[0])
def test_no_salt_is_encrypted_to_another_key_than_the_pinned_parent(robbed, words, claims):
    (generation,) = robbed.record("k")["generations"]
    pinned = bytes.fromhex(generation["parent"]["name"])
    thief = StorageKey(pinned if claims else None)
    thief.take_place(robbed.proxy)
    done = robbed.lct(*words, *test_faults.PASSPHRASE, stdin="x", status=None)
    assert done.returncode in (NO_TPM, OTHER_TPM), done.stderr
    one_sentence(done.stderr)
    assert thief.session is None and thief.opened == []
    assert not is_among(SECRET.encode(), robbed.proxy.messages)


@pytest.mark.parametrize("words", [("create", "new", *test_faults.PASSPHRASE),
                                   ("seal", "--seal", "strict:sha256:1")],
                         ids=lambda words: words[0])
def test_the_first_time_is_taken_on_trust(robbed, make_user, words):
    """What does not hold: who has no identity yet tells a thief what it tells the TPM."""
    newcomer = make_user(robbed.tcti)
    newcomer.write("secret", SECRET)
    thief = StorageKey()
    thief.take_place(robbed.proxy)
    done = newcomer.lct(*words, stdin=SECRET, status=None)
    assert done.returncode != 0 and thief.session is not None
    assert any(SECRET.encode() in opened for opened in thief.opened)
    assert not is_among(SECRET.encode(), robbed.proxy.messages), "to who listens it is not told"
