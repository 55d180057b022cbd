# SPDX-License-Identifier: Apache-2.0
"""The connection: programs that outlive their TPM or resource manager, and too many at once."""

import re
import shutil
import signal
import subprocess
import time

import pytest

from tpm import RC_RETRY, TIMEOUT, Broker, Command, response, slow, wait_for
from tpmrm import code_of

AUTH_UNAVAILABLE, OBJECT_MEMORY = 0x12F, 0x902
LOCKOUT_COUNTER = 0x20E
RESENT = 11  # how often a command is sent in all while the TPM says "later"


@pytest.mark.parametrize("key", ["ec-p256", "rsa-2048"])
def test_a_program_signs_again_after_its_tpm_was_restarted(make_user, make_tpm, prompted, key):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.lct("create", "k", "--algorithm", key)
    program = prompted(user, "k")
    for _ in range(3):
        program.sign()
        tpm.stop()
        tpm.start()
    program.sign()
    assert program.end() == ""
    assert tpm.left_behind() == []


def test_a_program_signs_on_when_its_key_was_flushed_by_another(owner, tpm, prompted):
    program = prompted(owner, "ec")
    program.sign()
    tpm.flush()
    program.sign()
    assert program.end() == ""


def test_an_object_in_the_place_of_a_lost_key_is_left_alone(owner, tpm, prompted):
    """Its handle is another program's now: it is neither used nor flushed."""
    program = prompted(owner, "ec")
    program.sign()
    tpm.flush()
    tpm.tool("tpm2_createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx")
    before = tpm.handles(0x80000000)
    program.sign()
    assert program.end() == ""
    assert tpm.handles(0x80000000) == before
    tpm.flush()


@pytest.mark.parametrize("times, status", [(5, 0), (6, 1)])
def test_a_key_that_others_flush_again_and_again_is_loaded_again(watched, proxy, times, status):
    left = [times]

    def flush(_command, ask):
        if left[0] > 0:
            left[0] -= 1
            proxy.tpm.flush()
        return ask()

    proxy.hook(Command.Sign, flush)
    watched.openssl("dgst", "-sha256", "-sign", "lct:ec", "-out", "sig", "data", status=status)
    assert (proxy.count(Command.Load), proxy.count(Command.Sign)) == (6, 6)


def put_another_at(tpm, handle: int, *options):
    """A primary key is behind the handle, and nothing else is in the TPM."""
    tpm.flush()
    for _ in range(2):  # one in the slot that is free while a persistent parent is not in use
        tpm.tool("tpm2_createprimary", "-G", "ecc", "-c", "p.ctx", *options)
    (other,) = set(tpm.handles(0x80000000)) - {handle}
    tpm.tool("tpm2_flushcontext", f"{other:#x}")
    assert tpm.handles(0x80000000) == [handle]


def test_a_key_whose_place_another_took_before_it_signed_is_loaded_again(watched, proxy):
    """One that its policy alone may use: the TPM refuses a signature as not authorized."""
    tpm, answers = proxy.tpm, []

    def replace(_command, ask):
        if not answers:
            (handle,) = tpm.handles(0x80000000)
            put_another_at(tpm, handle, "-C", "o", "-a",
                           "fixedtpm|fixedparent|sensitivedataorigin|sign")
        answer = ask()
        answers.append(int.from_bytes(answer[6:10], "big"))
        return answer

    proxy.hook(Command.Sign, replace)
    watched.openssl("dgst", "-sha256", "-sign", "lct:ec", "-out", "sig", "data")
    assert AUTH_UNAVAILABLE in answers and proxy.count(Command.Load) == 2
    assert len(tpm.handles(0x80000000)) == 1, "the other one is left alone"
    tpm.flush()


def test_a_right_passphrase_that_was_tried_on_another_s_key_stays_right(make_user, make_tpm,
                                                                        make_proxy, prompted):
    """A key that is in the place of ours, and has an authorization of its own, counts that."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_user(proxy.tcti)
    user.lct("create", "k", "--passphrase-file", user.write("secret", "geheim"))
    user.configure(tcti=proxy.tcti, passphrase_file=str(user.path("secret")))
    tries = []

    def replace(_command, ask):
        if not tries:
            (handle,) = tpm.handles(0x80000000)
            put_another_at(tpm, handle, "-C", "n", "-p", "guarded", "-a",
                           "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign")
        answer = ask()
        tries.append(tpm.property(LOCKOUT_COUNTER))
        return answer

    proxy.hook(Command.Sign, replace)
    program = prompted(user, "k")
    program.sign()
    program.sign()
    assert program.end() == "" and 1 in tries
    tpm.flush()
    tpm.lockout_count = 1


def test_a_storage_root_key_that_a_first_attempt_has_made_is_told_of(make_user, make_tpm,
                                                                     make_proxy):
    proxy = make_proxy(make_tpm())
    user = make_user(proxy.tcti)
    asked = []

    def be_full(_command, ask):
        asked.append(None)
        return ask() if len(asked) > RESENT else response(OBJECT_MEMORY)

    proxy.hook(Command.Create, be_full)
    done = user.lct("create", "k")
    assert len(asked) == RESENT + 1 and "made the TPM's storage root key" in done.stderr


def test_one_with_a_passphrase_is_not_tried_so_often(make_user, make_tpm, make_proxy):
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_user(proxy.tcti)
    secret = user.write("secret", "geheim")
    user.lct("create", "k", "--passphrase-file", secret)
    proxy.refuse(Command.Sign, 0x910)
    proxy.codes.clear()
    user.lct("sign", "k", "--passphrase-file", secret, stdin="x", status=10)
    assert proxy.count(Command.Sign) == 2


def sign_beside(owner, num: int) -> list[subprocess.Popen]:
    """That many programs that sign once each, all at the same time."""
    return [subprocess.Popen(["openssl", "dgst", "-sha256", "-sign", "lct:ec", "-out", f"sig{i}",
                              "data"], cwd=owner.directory, env=owner.environment(),
                             stderr=subprocess.PIPE, text=True) for i in range(num)]


def have_signed(owner, programs: list[subprocess.Popen]):
    for program in programs:
        assert (program.communicate(timeout=TIMEOUT)[1], program.returncode) == ("", 0)
    public = owner.public_key("lct:ec")
    for i in range(len(programs)):
        owner.verify(public, owner.path(f"sig{i}"), owner.path("data"))


def test_a_program_that_keeps_its_key_leaves_others_the_slots_to_load_theirs(owner, tpm, prompted):
    """Of three slots one: TPM2_Load takes two, with a parent that is persistent."""
    keys = ("ec", "p384", "rsa", "rsa3072")
    programs = [prompted(owner, key) for key in keys]
    for _ in range(2):
        programs[0].sign()
    kept = tpm.handles(0x80000000)
    assert len(kept) == 1, "from the second signature on"
    for _ in range(3):
        for program in programs:
            program.sign()
            assert tpm.handles(0x80000000) == kept
            have_signed(owner, sign_beside(owner, 1))
    for program in programs:
        assert program.end() == ""


def test_more_programs_than_slots_take_turns(owner, prompted):
    """All at once: those that live on and sign again and again, and those that sign once."""
    programs = [prompted(owner, key) for key in ("ec", "p384", "rsa", "ec", "p384")]
    for program in programs:
        program.sign()
    beside = sign_beside(owner, 6)
    for program in programs:
        program.process.stdin.write(8 * "\n")
        program.process.stdin.flush()
    have_signed(owner, beside)
    for program in programs:
        assert [program.process.stdout.readline() for _ in range(8)] == ["signed\n"] * 8
    for program in programs:
        assert program.end() == ""


@pytest.fixture(name="brokered")
def fixture_brokered(make_user, make_tpm):
    """A user behind a resource manager, with the broker and what finds it."""
    if not (shutil.which("tpm2-abrmd") and shutil.which("dbus-daemon")):
        pytest.skip("tpm2-abrmd is not installed")
    tpm = make_tpm()
    broker = Broker(tpm)
    user = make_user("tabrmd:bus_type=session")
    yield user, broker
    broker.end()
    assert tpm.left_behind() == []


def test_behind_a_resource_manager_many_programs_keep_their_keys(brokered, prompted):
    user, broker = brokered
    for i in range(5):
        user.lct("create", f"k{i}", env=broker.env)
    programs = [prompted(user, f"k{i}", env=broker.env) for i in range(5)]
    for _ in range(3):
        for program in programs:
            program.sign()
    for program in programs:
        assert program.end() == ""


@pytest.mark.parametrize("kind", ["sealed", "passphrase", "always"])
def test_by_the_kernel_s_resource_manager_no_session_is_left_between_signatures(
        make_sealer, make_tpm, make_tpmrm, prompted, kind):
    """
    The kernel saves a session with each command of whose file it is, and not otherwise: one that
    is idle stops everybody's once the TPM has saved as many as it can tell apart
    (TPM_RC_CONTEXT_GAP), and each is one of the 64 that there are.
    """
    tpm = make_tpm()
    device = make_tpmrm(tpm)
    sealer = make_sealer(tpm, device.tcti)
    secret = sealer.write("secret", "geheim")
    options = {"sealed": ("--seal", "strict:sha256:7"), "always": ("--seal", "none"),
               "passphrase": ("--seal", "none", "--passphrase-file", secret)}[kind]
    sealer.lct("create", "k", *options)
    sealer.configure(seal=None, passphrase_file=secret,
                     session="always" if kind == "always" else "auto")
    program = prompted(sealer, "k")
    for _ in range(3):
        program.sign()
        assert tpm.left_behind() == []
        assert not any(space.sessions for space in device.spaces())
    assert program.end() == ""


def test_a_program_signs_again_after_its_resource_manager_was_restarted(brokered, prompted):
    user, broker = brokered
    user.lct("create", "k", env=broker.env)
    program = prompted(user, "k", env=broker.env)
    program.sign()
    broker.stop()
    broker.start()
    program.sign()
    assert program.end() == ""


class Persistent:
    """A running program that tries to sign once for each call, and lives on if it cannot."""

    def __init__(self, user, key: str, env: dict[str, str] | None = None):
        self.process = subprocess.Popen(
            [user.build / "tests" / "evp", "attempts", f"lct:{key}"], cwd=user.directory,
            env=user.environment(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)

    def try_to_sign(self) -> tuple[str, float]:
        start = time.monotonic()
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip(), time.monotonic() - start

    def end(self):
        assert self.process.communicate(timeout=TIMEOUT) == ("ok\n", "")


@pytest.fixture(name="persistent")
def fixture_persistent():
    programs = []

    def start(*arguments, **options) -> Persistent:
        programs.append(Persistent(*arguments, **options))
        return programs[-1]

    yield start
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
            program.process.communicate()


@pytest.mark.parametrize("way", ["swtpm", "device", "tabrmd"])
def test_a_stalled_tpm_costs_a_signature_its_timeout_and_no_more(request, make_user, make_tpm,
                                                                 persistent, way):
    """A TPM that is stopped and goes on later: the program signs again, with the same key."""
    env = None
    if way == "tabrmd":
        user, broker = request.getfixturevalue("brokered")
        tpm, env = broker.tpm, broker.env
    else:
        tpm = make_tpm()
        tcti = tpm.tcti if way == "swtpm" else request.getfixturevalue("make_tpmrm")(tpm).tcti
        user = make_user(tcti)
    user.configure(timeout="1")
    user.lct("create", "k", env=env)
    program = persistent(user, "k", env=env)
    assert program.try_to_sign()[0] == "signed"
    assert program.try_to_sign()[0] == "signed"
    tpm.process.send_signal(signal.SIGSTOP)
    for _ in range(2):
        answer, seconds = program.try_to_sign()
        assert answer.startswith("failed: lct:k: ") and "TPM" in answer and seconds < 5
    tpm.process.send_signal(signal.SIGCONT)
    wait_for(lambda: program.try_to_sign()[0] == "signed", "a signature")
    program.end()


@pytest.mark.parametrize("way", ["swtpm", "device"])
@pytest.mark.parametrize("session", ["auto", "always"])
def test_a_program_signs_on_after_a_reset_of_the_tpm(request, make_user, make_tpm, prompted, way,
                                                     session):
    """As in a suspended machine whose TPM was not saved: what was loaded is gone."""
    tpm = make_tpm()
    tcti = tpm.tcti if way == "swtpm" else request.getfixturevalue("make_tpmrm")(tpm).tcti
    user = make_user(tcti)
    user.configure(session=session)
    user.lct("create", "k")
    program = prompted(user, "k")
    for _ in range(3):
        program.sign()
        program.sign()
        tpm.tool("tpm2_shutdown", "-c")
        tpm.tool("swtpm_ioctl", "--unix", f"{tpm.path}.ctrl", "-i")
        tpm.tool("tpm2_startup", "-c")
    program.sign()
    assert program.end() == ""


@pytest.mark.parametrize("state", ["absent", "stopped"])
def test_who_does_not_sign_pays_nothing_for_a_dead_tpm(make_user, make_tpm, state):
    """No delay and no message: certificates, other people's keys, public keys of ours."""
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.lct("create", "k")
    user.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", "sw.pem", "-out", "sw.crt", "-subj", "/CN=sw")
    user.write("data")
    if state == "absent":
        tpm.stop()
    else:
        tpm.process.send_signal(signal.SIGSTOP)
    start = time.monotonic()
    for words in (("version",), ("x509", "-in", "sw.crt", "-noout", "-text"),
                  ("dgst", "-sha256", "-sign", "sw.pem", "-out", "sig", "data"),
                  ("verify", "-CAfile", "sw.crt", "sw.crt"), ("pkey", "-in", "lct:k", "-pubout"),
                  ("storeutl", "lct:"), ("list", "-providers"), ("rand", "8")):
        assert user.openssl(*words, text=False).stderr.strip() in ("", "sw.crt: OK"), words
    assert time.monotonic() - start < 10
    if state == "absent":
        tpm.start()
    else:
        tpm.process.send_signal(signal.SIGCONT)


def test_a_signature_that_was_made_is_not_lost_with_its_cleaning_up(watched, proxy):
    """FlushContext without a response, after Sign: the signature is good all the same."""
    for answer in (lambda _command, _ask: b"", lambda _command, ask: ask()[:0]):
        proxy.hook(Command.FlushContext, answer, nth=1)
        before = proxy.count(Command.Sign)
        watched.lct("sign", "ec", stdin="x", text=False)
        assert proxy.count(Command.Sign) == before + 1


def test_a_guarded_object_in_the_place_of_our_key_is_not_tried(make_user, make_tpm, prompted):
    """No wrong authorization is counted for another program's key behind our old handle."""
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.lct("create", "k")
    program = prompted(user, "k")
    for _ in range(3):
        program.sign()
    (handle,) = tpm.handles(0x80000000)
    put_another_at(tpm, handle, "-C", "n", "-p", "guarded", "-a",
                   "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign")
    time.sleep(0.1)  # a key that was used this moment is not asked for again
    program.sign()
    program.sign()
    assert program.end() == ""
    assert tpm.handles(0x80000000) == [handle] and tpm.property(0x20E) == 0
    tpm.flush()


@pytest.mark.parametrize("command", [Command.Load, Command.Sign])
def test_spoiled_responses_leave_no_key_behind(make_user, make_tpmrm, persistent, command):
    """In a resource manager's space, where what is behind our handle is ours."""
    device = make_tpmrm()
    user = make_user(device.tcti)
    user.lct("create", "k")
    program = persistent(user, "k")
    if command == Command.Sign:
        assert program.try_to_sign()[0] == "signed"

    def spoil(_command, ask):
        answer = bytearray(ask())
        if code_of(answer) == 0:
            answer[-20] ^= 1  # of s, or of the Name; a password session's five bytes are at the end
        return bytes(answer)

    for _ in range(4):
        device.hook(command, spoil)
        assert program.try_to_sign()[0].startswith("failed: lct:k")
    device.heal()
    assert program.try_to_sign()[0] == "signed"
    program.end()


SIGN = ("dgst", "-sha256", "-sign", "lct:k", "-out", "sig", "data")


def recovers(program: Persistent, proxy, tpm):
    """Once the TPM answers as it does of itself: a signature, and nothing is left."""
    proxy.heal()
    wait_for(lambda: program.try_to_sign()[0] == "signed", "a signature")
    program.end()
    assert tpm.left_behind() == []


def asked_in_time(program: Persistent, proxy, timeout: int, most: int, code=None) -> list[int]:
    """
    Some signatures fail by their timeout, in a sentence that says so, and none has asked the TPM
    for more than so many commands, or for `code` so often: each is answered so slowly that the
    timeout has no room for more, whatever else the machine does. How often each has; the last
    command of one may be seen with the next.
    """
    said = re.compile(rf"failed: lct:k: the TPM( \([^)]+\))? did not answer within {timeout} s")
    counts = []

    def answer_of_one() -> str:
        proxy.codes.clear()
        answer, _ = program.try_to_sign()
        return "" if "still busy with an earlier command" in answer else answer

    for _ in range(3):
        answer = wait_for(answer_of_one, "a TPM that takes a command")
        seen = [each for each in proxy.codes if code in (None, each)]
        assert said.fullmatch(answer) and len(seen) <= most + 1, f"{answer}: {seen}"
        counts.append(len(seen))
    return counts


@pytest.mark.parametrize("kind", ["plain", "locked", "sealed"])
def test_a_tpm_that_is_slow_on_purpose_costs_a_signature_its_timeout_and_no_more(
        make_user, make_tpm, make_proxy, persistent, kind):
    """No response is late by itself; the key is lost, or its policy, or a session, all the time."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_user(proxy.tcti)
    secret = user.write("secret", "geheim")
    user.configure(timeout="2", **({"passphrase_file": secret} if kind == "locked" else {}))
    user.lct("create", "k", *{"plain": (), "locked": ("--passphrase-file", secret),
                              "sealed": ("--seal", "strict:sha256:7")}[kind])
    program = persistent(user, "k")
    assert program.try_to_sign()[0] == "signed"
    for command in Command:
        proxy.hook(command, slow(0.7))
    if kind == "sealed":  # TPM2_RC_PCR_CHANGED: the policy is satisfied once more
        proxy.hook(Command.Sign, lambda _command, _ask: time.sleep(0.7) or response(0x128))
    if kind == "plain":  # TPM_RC_HANDLE: it is loaded again
        proxy.hook(Command.Sign, lambda _command, _ask: time.sleep(0.7) or response(0x18B))
    asked_in_time(program, proxy, 2, 3)
    recovers(program, proxy, tpm)


@pytest.mark.parametrize("way", ["swtpm", "device"])
def test_a_wrong_signature_that_is_slow_has_one_timeout_with_the_next_one(
        request, make_user, make_tpm, persistent, way):
    """In one turn, where another key may have taken its place; else in the next."""
    tpm = make_tpm()
    before = request.getfixturevalue("make_proxy" if way == "swtpm" else "make_tpmrm")(tpm)
    user = make_user(before.tcti)
    user.configure(timeout="2")
    user.lct("create", "k")
    program = persistent(user, "k")

    def spoil(_command, ask):
        answer = bytearray(ask())
        time.sleep(1.3)
        answer[-20] ^= 1
        return bytes(answer)

    before.hook(Command.Sign, spoil)
    wait_for(lambda: 2 in asked_in_time(program, before, 2, 2, Command.Sign), "a second one")
    recovers(program, before, tpm)


def test_a_tpm_that_says_later_for_ever_is_asked_no_longer_than_the_timeout(
        make_user, make_tpm, make_proxy, persistent):
    """Of itself it would be asked ten times more, by each command, and six times for a key."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_user(proxy.tcti)
    user.configure(timeout="1")
    user.lct("create", "k")
    program = persistent(user, "k")
    assert program.try_to_sign()[0] == "signed"
    proxy.hook(Command.Sign, lambda _command, _ask: time.sleep(0.3) or response(RC_RETRY))
    asked_in_time(program, proxy, 1, 4, Command.Sign)
    proxy.refuse(Command.Sign, RC_RETRY)
    assert program.try_to_sign()[0].startswith("failed: lct:k: ")
    recovers(program, proxy, tpm)


def test_a_key_that_is_made_slowly_leaves_the_rest_its_time(make_user, make_tpm, make_proxy):
    """Making the storage root key, and the key itself, takes longer than the timeout."""
    proxy = make_proxy(make_tpm())
    user = make_user(proxy.tcti)
    user.configure(timeout="2")
    for command in (Command.Create, Command.CreatePrimary):
        proxy.hook(command, slow(2.2))
    user.lct("create", "k")
    assert Command.CreatePrimary in proxy.codes
    user.write("data")
    user.openssl(*SIGN)


@pytest.mark.parametrize("way", ["swtpm", "device"])
def test_threads_that_wait_for_a_stalled_tpm_wait_no_longer_than_one(request, build, make_user,
                                                                     make_tpm, way):
    """Eight of them: each has its timeout from when it began."""
    tpm = make_tpm()
    tcti = tpm.tcti if way == "swtpm" else request.getfixturevalue("make_tpmrm")(tpm).tcti
    user = make_user(tcti)
    user.configure(timeout="1")
    user.lct("create", "k")
    with subprocess.Popen([build / "tests" / "process", "stalls", "lct:k"], text=True,
                          cwd=user.directory, env=user.environment(), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        try:
            assert program.stdout.readline() == "signed\n"
            tpm.process.send_signal(signal.SIGSTOP)
            program.stdin.write("\n")
            program.stdin.flush()
            assert 900 < int(program.stdout.readline()) < 4000  # of eight
            tpm.process.send_signal(signal.SIGCONT)
            assert (program.stdout.read(), program.stderr.read()) == ("ok\n", "")
        finally:
            program.kill()
