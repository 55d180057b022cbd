# SPDX-License-Identifier: Apache-2.0
"""Threads, children, chroots, other users: what hosts do around a key (tests/process.c)."""

import contextlib
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tpm import Command, states_of, wait_for

LIMIT = 120
# It asks for a thread of its own at the end, which children in a jail do not get.
NO_LEAK_CHECK = {"ASAN_OPTIONS": "detect_leaks=0:exitcode=99"}


@pytest.fixture(name="process")
def fixture_process(build):
    """Runs tests/process.c's tests as a user."""

    def run(user, *arguments) -> None:
        done = subprocess.run([build / "tests" / "process", *map(str, arguments)],
                              cwd=user.directory, env=user.environment(NO_LEAK_CHECK),
                              timeout=LIMIT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")

    return run


@pytest.fixture(name="managed")
def fixture_managed(device, make_user):
    """A user of the kernel's resource manager, or of its stand-in, with the identity k."""
    user = make_user(device.tcti)
    user.device = device
    user.lct("create", "k")
    return user


def test_eight_threads_share_a_key(owner, process):
    process(owner, "threads", 1000, "lct:ec")


def test_eight_threads_sign_with_eight_keys(owner, process):
    names = [f"t{number}" for number in range(8)]
    for name in names:
        owner.lct("create", name)
    process(owner, "threads", 1000, *(f"lct:{name}" for name in names))


def test_fifty_identities_sign_in_turn(owner, process):
    names = [f"i{number}" for number in range(50)]
    for name in names:
        owner.lct("create", name)
    process(owner, "turns", *(f"lct:{name}" for name in names))


def test_children_forked_at_any_moment_sign(owner, process, tpm):
    """A child that is killed may leave its key, which costs the others some time, and no more."""
    process(owner, "storm", 60, 30, "lct:ec")
    tpm.flush()


@pytest.fixture(name="crowded")
def fixture_crowded(make_user, make_tpm, make_proxy):
    """
    A user with the keys wanted, a and b, and a TPM with the latter two in its slots: whoever loaded
    them was killed.
    """
    tpm = make_tpm()
    user, doomed = make_user(tpm.tcti), make_user()
    proxy = make_proxy(tpm)
    doomed.configure(tcti=proxy.tcti, store=str(user.store))
    doomed.write("data")
    for name in ("a", "b", "wanted"):
        user.lct("create", name)
    for name in ("a", "b"):
        program = doomed.serve("dgst", "-sha256", "-sign", f"lct:{name}", "-out", "sig", "data")

        def kill(_command, ask, process=program.process):
            process.kill()
            return ask()

        proxy.hook(Command.Sign, kill, nth=1)
        program.process.wait(LIMIT)
    assert len(tpm.handles(0x80000000)) == 2
    return user, tpm


def test_what_a_killed_program_left_of_another_key_is_in_nobody_s_way(crowded, process):
    """Two keys that nobody wants fill the TPM: a program that has loaded them throws them out."""
    user, tpm = crowded
    process(user, "turns", "lct:wanted", "lct:a", "lct:b")
    assert tpm.left_behind() == []


def test_who_finds_no_slot_lets_others_make_some(crowded, make_proxy, make_user, process):
    """It knows nothing of the keys that fill the TPM, but gives way to another one, which does."""
    user, tpm = crowded
    proxy = make_proxy(tpm)
    stranger = make_user()
    stranger.configure(tcti=proxy.tcti, store=str(user.store))
    asked = threading.Event()

    def note(_command, ask):
        asked.set()
        return ask()

    proxy.hook(Command.Create, note, nth=1)
    with ThreadPoolExecutor() as pool:
        rotation = pool.submit(stranger.lct, "rotate", "wanted")
        assert asked.wait(LIMIT)
        process(user, "turns", "lct:a", "lct:b")
        rotation.result(LIMIT)
    assert tpm.left_behind() == []


@contextlib.contextmanager
def conversation(user, *arguments):
    """A test of tests/process.c that says how far it is, and goes on when it is told."""
    program = subprocess.Popen([user.build / "tests" / "process", *arguments], text=True,
                               cwd=user.directory, env=user.environment(NO_LEAK_CHECK),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)

    def hear(what: str):
        assert program.stdout.readline() == f"{what}\n"

    def go_on():
        program.stdin.write("\n")
        program.stdin.flush()

    program.hear, program.go_on = hear, go_on
    try:
        yield program
    finally:
        program.kill()
        program.communicate()


def test_a_program_that_ends_without_freeing_its_key_takes_it_along(make_user, make_tpm):
    """And no child of its does so before."""
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.lct("create", "k")
    with conversation(user, "leaves", "lct:k") as program:
        program.hear("signed")
        (kept,) = tpm.handles(0x80000000)
        for _ in range(2):
            program.go_on()
            program.hear("forked")
            assert tpm.handles(0x80000000) == [kept]
        program.go_on()
        assert program.communicate(timeout=LIMIT) == ("ok\n", "")
    assert tpm.left_behind() == []


def test_what_another_program_has_put_in_the_key_s_place_is_left_alone(make_user, make_tpm):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.lct("create", "k")
    with conversation(user, "leaves", "lct:k") as program:
        program.hear("signed")
        (kept,) = tpm.handles(0x80000000)
        tpm.flush()
        while kept not in tpm.handles(0x80000000):
            tpm.tool("tpm2_createprimary", "-C", "o", "-c", "other.ctx")
        for handle in set(tpm.handles(0x80000000)) - {kept}:
            tpm.tool("tpm2_flushcontext", hex(handle))
        for _ in range(2):
            program.go_on()
            program.hear("forked")
        program.go_on()
        assert program.communicate(timeout=LIMIT) == ("ok\n", "")
    assert tpm.handles(0x80000000) == [kept]
    tpm.flush()


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "silent"])
def test_a_program_ends_whatever_the_tpm_does(make_user, make_tpm, make_proxy, busy):
    """Another thread is in the middle of a command; or nothing answers any more."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_user(proxy.tcti)
    user.lct("create", "k")
    held, released = threading.Event(), threading.Event()

    def hold(_command, ask):
        held.set()
        assert released.wait(LIMIT)
        return ask()

    with conversation(user, "ends" if busy else "leaves", "lct:k") as program:
        program.hear("signed")
        if busy:
            proxy.hook(Command.Sign, hold)
        for _ in range(1 if busy else 2):
            program.go_on()
            program.hear("signing" if busy else "forked")
        proxy.hook(Command.FlushContext, hold)
        try:
            assert not busy or held.wait(LIMIT)
            start = time.monotonic()
            program.go_on()
            assert program.communicate(timeout=LIMIT) == ("ok\n", "")
            assert time.monotonic() - start < 5
        finally:
            released.set()
    tpm.flush()


def test_a_program_that_ends_while_its_threads_sign_takes_its_key_along(make_user, make_tpm,
                                                                        make_proxy):
    """One is in the middle of a command then, the others wait for it: nobody is in libcrypto."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_user(proxy.tcti)
    user.lct("create", "k")
    for _ in range(3):
        held, released = threading.Event(), threading.Event()

        def hold(_command, ask, held=held, released=released):
            held.set()
            assert released.wait(LIMIT)
            return ask()

        with conversation(user, "quits", "lct:k") as program:
            program.hear("signing")
            proxy.hook(Command.Sign, hold)
            assert held.wait(LIMIT)
            wait_for(lambda program=program: states_of(program.pid) == {"S"}, "all threads to wait")
            program.go_on()
            program.hear("ending")
            wait_for(lambda program=program: states_of(program.pid) <= {"S", "Z"}, "its end to wait")
            proxy.heal()
            released.set()
            assert program.communicate(timeout=LIMIT) == ("", "")
            assert program.returncode == 0
        assert tpm.left_behind() == []


@pytest.mark.parametrize("turn, flush", [(0.3, 0.4), (0.9, 0.15)], ids=["flush", "turn"])
def test_a_program_whose_end_takes_long_is_not_crashed_by_its_threads(make_user, make_tpm,
                                                                      make_proxy, turn, flush):
    """They come back to no libcrypto that is gone, though the TPM has others to serve."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_user(proxy.tcti)
    user.lct("create", "k")
    held = threading.Event()
    ending = threading.Event()

    def hold(_command, ask):
        held.set()
        assert ending.wait(LIMIT)
        time.sleep(turn)
        return ask()

    def crawl(_command, ask):
        if ending.is_set():
            time.sleep(flush)
        return ask()

    with conversation(user, "quits", "lct:k") as program:
        program.hear("signing")
        proxy.hook(Command.Sign, hold, nth=1)
        assert held.wait(LIMIT)
        for code in (Command.ReadPublic, Command.FlushContext):
            proxy.hook(code, crawl)
        wait_for(lambda: states_of(program.pid) == {"S"}, "all threads to wait")
        program.go_on()
        program.hear("ending")
        ending.set()
        assert program.communicate(timeout=LIMIT) == ("", "")
        assert program.returncode == 0
    assert tpm.left_behind() == []


def test_a_program_that_waits_for_its_threads_at_its_end_ends(make_user, make_tpm):
    """They go on, and nothing stays of what they and the program still sign."""
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.lct("create", "k")
    with conversation(user, "joins", "lct:k") as program:
        program.hear("signing")
        start = time.monotonic()
        program.go_on()
        assert program.communicate(timeout=LIMIT) == ("ok\n", "")
        assert program.returncode == 0
        assert time.monotonic() - start < 5
    assert tpm.left_behind() == []


@pytest.mark.parametrize("way", ["swtpm", "device"])
def test_a_child_signs_while_its_parent_waits_for_the_tpm(request, make_user, make_tpm, way):
    """Another thread is in the middle of a command, and holds the parent's lock."""
    tpm = make_tpm()
    tpm_of = {"swtpm": "make_proxy", "device": "make_tpmrm"}[way]
    watcher = request.getfixturevalue(tpm_of)(tpm)
    user = make_user(watcher.tcti)
    user.lct("create", "k")
    held, released = threading.Event(), threading.Event()

    def hold(_command, ask):
        held.set()
        assert released.wait(LIMIT)
        return ask()

    program = subprocess.Popen([user.build / "tests" / "process", "midway", "lct:k"], text=True,
                               cwd=user.directory, env=user.environment(NO_LEAK_CHECK),
                               stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout.readline() == "ready\n"
    watcher.hook(Command.Sign, hold, nth=1)
    program.stdin.write("\n")
    program.stdin.flush()
    assert held.wait(LIMIT)
    program.stdin.write("\n")
    program.stdin.flush()
    try:
        assert program.stdout.readline() == "forked\n"
    finally:
        released.set()
    assert program.communicate(timeout=LIMIT) == ("ok\n", "")


def test_a_crowd_of_children_signs_busy(owner, process):
    process(owner, "crowd", 12, "lct:ec")


@pytest.mark.parametrize("dated", ["audit", "trace", "overlap"])
def test_a_child_signs_whose_parent_was_in_the_middle_of_a_time_zone(owner, process, dated):
    """libc has a lock for that which no child gets back, and what is written here has the time."""
    if dated == "overlap":
        owner.lct("rotate", "ec")
        owner.lct("rotate", "ec", "--commit")
    else:
        name = {"audit": "audit", "trace": "log"}[dated]
        owner.configure(**{name: str(owner.path("lines"))})
    process(owner, "zone", owner.path("fifo"), "lct:ec?generation=1")
    if dated != "overlap":
        assert len(owner.path("lines").read_text().splitlines()) >= 3


def test_a_passphrase_callback_may_fork_and_sign(owner, process, tpm):
    secret = owner.write("secret", "geheim")
    owner.lct("create", "locked", "--passphrase-file", secret)
    process(owner, "callback", "lct:locked", "lct:ec", "geheim")


def test_descriptors_that_a_host_uses_again_are_left_alone(owner, process):
    process(owner, "descriptors", owner.path("file"), "lct:ec")


def test_a_program_that_closes_all_descriptors_signs_on(owner, process):
    process(owner, "daemon", "lct:ec")


def test_behind_a_resource_manager_a_program_that_closes_all_descriptors_signs_on(managed, process):
    """What is opened anew gets the number that was closed."""
    process(managed, "daemon", "lct:k")


@pytest.mark.parametrize("signed", [0, 1], ids=["loaded", "signed"])
def test_who_opens_the_device_by_the_number_that_was_closed_keeps_it(managed, process, signed):
    """All who have it open have one inode."""
    process(managed, "opener", managed.device.path, signed, "lct:k")


@pytest.mark.parametrize("spare", [0, 1], ids=["device", "lock"])
def test_who_has_no_descriptor_left_is_told_so(make_user, make_tpmrm, spare):
    """The device takes one, and the lock that children share another."""
    device = make_tpmrm()
    user = make_user(device.tcti)
    user.lct("create", "k")
    device.remove()  # so that none is opened ahead of need
    with conversation(user, "starves", str(spare), "lct:k") as program:
        program.hear("loaded")
        device.restore()
        program.go_on()
        output, errors = program.communicate(timeout=LIMIT)
    assert errors == "" and "Too many open files" in output and output.endswith("\nok\n")


def test_descriptors_are_not_for_other_programs(owner, process):
    process(owner, "inherits", "lct:ec")


def test_behind_a_resource_manager_children_sign_at_any_moment(managed, process):
    process(managed, "storm", 100, 5, "lct:k")
    process(managed, "crowd", 8, "lct:k")
    process(managed, "descriptors", managed.path("file"), "lct:k")
    process(managed, "inherits", "lct:k")
    assert managed.device.left_behind() == []


def test_a_child_that_truncates_what_it_has_inherited_kills_nobody(managed, process):
    """Whoever touches a page of a file that has become shorter gets SIGBUS."""
    process(managed, "truncates", "lct:k")


def test_whatever_a_child_writes_into_the_page_that_it_shares_what_is_signed_is_right(managed,
                                                                                     process):
    managed.lct("create", "other")
    process(managed, "spoils", "lct:k", "lct:other")


def test_a_key_is_loaded_where_no_file_may_grow(managed, process):
    """By LimitFSIZE= say: who makes one longer gets SIGXFSZ."""
    process(managed, "limited", "lct:k")


def test_a_key_signs_in_a_sandbox_without_files_in_memory(managed, process):
    process(managed, "filtered", "lct:k")


@pytest.mark.parametrize("kind", ["sealed", "passphrase"])
def test_clients_that_stay_and_say_nothing_keep_no_session(make_sealer, make_tpm, make_tpmrm,
                                                           process, kind):
    """A TPM has 64 sessions in all, of everybody; a server that forks has a process a client."""
    tpm = make_tpm()
    device = make_tpmrm(tpm)
    sealer = make_sealer(tpm, device.tcti)
    secret = sealer.write("secret", "geheim")
    options = {"sealed": ("--seal", "strict:sha256:7"),
               "passphrase": ("--seal", "none", "--passphrase-file", secret)}[kind]
    sealer.lct("create", "k", *options)
    sealer.configure(seal=None, passphrase_file=secret)
    process(sealer, "idle", 70, "lct:k")


@pytest.mark.parametrize("session", ["auto", "always"])
def test_in_a_jail_a_process_and_its_children_go_on_with_what_was_opened_before(managed, process,
                                                                               session):
    """Another user, in no group, in an empty directory, without an environment."""
    if managed.build.name == "coverage":
        pytest.skip("libgcov says there that it cannot write")
    jail = managed.path("jail")
    jail.mkdir()
    managed.configure(session=session)
    process(managed, "jail", jail, 65534, 6, "lct:k")
    assert managed.device.left_behind() == []
