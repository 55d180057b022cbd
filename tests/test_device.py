# SPDX-License-Identifier: Apache-2.0
"""/dev/tpmrm0: a stand-in for it, or, with --device, a kernel's own. tests/run --vm has one."""

import errno
import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tpmrm
from test_command import NEEDS_ROOT, one_sentence
from tpm import NO_SESSIONS, RC_MEMORY, SESSIONS, Command, wait_for
from tpmrm import FIRST_VIRTUAL, POLICY_SESSION, TRANSIENT, Opened, code_of, command

NOBODY = 65534
RC_YIELDED, RC_CONTEXT_GAP, RC_COMMAND_CODE = 0x908, 0x901, 0xB0143
GET_RANDOM = command(0x17B, struct.pack(">H", 8))
SLOW = 60  # longer than what waits for it
# A primary key of the null hierarchy, which every TPM makes in no time: P-256, restricted.
PASSWORD = struct.pack(">IIHBH", 9, 0x40000009, 0, 0, 0)
PARENT = struct.pack(">HHIHHHHHHHHH", 0x23, 0xB, 0x00030072, 0, 6, 128, 0x43, 0x10, 3, 0x10, 0, 0)
CREATE_PRIMARY = struct.pack(">I", 0x40000007) + PASSWORD + struct.pack(
    ">HHHH", 4, 0, 0, len(PARENT)) + PARENT + struct.pack(">HI", 0, 0)
START_SESSION = struct.pack(">IIH", 0x40000007, 0x40000007, 16) + bytes(16) + struct.pack(
    ">HBHH", 0, 1, 0x10, 0xB)
# A process without a name in any file system: its root is empty, its user nobody.
STRANGER = """
import os, sys
descriptor = int(sys.argv[1])
os.chroot(sys.argv[2])
os.setgid(65534)
os.setuid(65534)
os.write(descriptor, bytes.fromhex(sys.argv[3]))
print(os.read(descriptor, 4096).hex())
"""


def create_primary(opened: Opened) -> bytes:
    """The response, whatever it says."""
    opened.write(struct.pack(">HII", SESSIONS, 10 + len(CREATE_PRIMARY), Command.CreatePrimary) +
                 CREATE_PRIMARY)
    return opened.read()


def handle_of(answer: bytes) -> int:
    assert code_of(answer) == 0, answer.hex()
    return struct.unpack_from(">I", answer, 10)[0]


@pytest.fixture(name="holder")
def fixture_holder(make_user, device):
    """A user of the device."""
    return make_user(device.tcti)


@pytest.mark.parametrize("algorithm", ["ec-p256", "rsa-2048"])
def test_a_key_is_made_and_signs_through_the_device(holder, algorithm):
    holder.lct("create", "k", "--algorithm", algorithm)
    data = holder.write("data")
    holder.openssl("dgst", "-sha256", "-sign", "lct:k", "-out", "sig", data)
    holder.verify(holder.public_key("lct:k"), holder.path("sig"), data)


def test_more_programs_than_slots_keep_their_keys(holder, prompted):
    for i in range(5):
        holder.lct("create", f"k{i}")
    programs = [prompted(holder, f"k{i}") for i in range(5)]
    for _ in range(3):
        for program in programs:
            program.sign()
    for program in programs:
        assert program.end() == ""


def test_a_killed_program_leaves_nothing(holder, device, prompted):
    holder.lct("create", "k")
    program = prompted(holder, "k")
    program.sign()
    program.process.kill()
    program.process.wait()
    wait_for(lambda: not device.left_behind(), "the TPM to be empty")


def test_each_open_file_sees_its_own_objects_alone(device):
    with Opened(device.path) as first, Opened(device.path) as second:
        assert [handle_of(create_primary(first)) for _ in range(2)] == [0x80FFFFFF, 0x80FFFFFE]
        assert sorted(first.handles(TRANSIENT)) == [0x80FFFFFE, 0x80FFFFFF]
        assert second.handles(TRANSIENT) == []
        assert device.left_behind() == [], "it is in the TPM for the time of a command only"


def test_a_handle_of_another_space_is_refused(device):
    with Opened(device.path) as first, Opened(device.path) as second:
        name = struct.pack(">I", handle_of(create_primary(first)))
        assert first.ask(Command.ReadPublic, name)
        with pytest.raises(OSError) as caught:
            second.ask(Command.ReadPublic, name)
        assert caught.value.errno == errno.EINVAL


def test_a_space_holds_three_objects(device):
    with Opened(device.path) as opened, Opened(device.path) as other:
        for _ in range(3):
            handle_of(create_primary(opened))
        assert code_of(create_primary(opened)) == RC_MEMORY
        opened.ask(Command.FlushContext, struct.pack(">I", FIRST_VIRTUAL - 1))
        assert handle_of(create_primary(opened)) == FIRST_VIRTUAL - 1
        assert handle_of(create_primary(other)) == FIRST_VIRTUAL


def test_sessions_of_many_spaces_fit_and_end_with_them(device):
    opened = [Opened(device.path) for _ in range(5)]
    sessions = [handle_of(each.ask_any(Command.StartAuthSession, START_SESSION)) for each in opened]
    assert len(set(sessions)) == 5
    for each, session in zip(opened, sessions):
        assert session >> 24 == POLICY_SESSION
        each.ask(0x16C, struct.pack(">II", session, Command.Sign))  # PolicyCommandCode
    for each in opened:
        each.__exit__()
    with Opened(device.path) as after:
        wait_for(lambda: after.handles(POLICY_SESSION << 24) == [], "the sessions to end")


def test_a_command_is_refused_while_a_response_is_unread(device):
    for flags in (0, os.O_NONBLOCK):
        with Opened(device.path, flags) as opened:
            opened.write(GET_RANDOM)
            wait_for(lambda: opened.poll(1) & select.POLLIN, "the response")
            with pytest.raises(OSError) as caught:
                opened.write(GET_RANDOM)
            assert caught.value.errno == errno.EBUSY
            answer = opened.read(10)
            answer += opened.read()
            assert len(answer) == struct.unpack_from(">I", answer, 2)[0] == 20
            assert opened.read() == b""
            opened.write(GET_RANDOM)
            wait_for(lambda: opened.poll(1) & select.POLLIN, "the response")
            assert len(opened.read()) == 20


def test_what_is_no_command_is_refused(device):
    with Opened(device.path) as opened:
        for message in (GET_RANDOM[:5], GET_RANDOM[:-1]):
            with pytest.raises(OSError) as caught:
                opened.write(message)
            assert caught.value.errno == errno.EINVAL
        with pytest.raises(OSError) as caught:
            opened.write(GET_RANDOM + bytes(4096))
        assert caught.value.errno == errno.E2BIG
        unknown = struct.pack(">HII", NO_SESSIONS, 10, 0x1FF)
        opened.write(unknown)
        assert code_of(opened.read()) == RC_COMMAND_CODE
        assert opened.ask(0x17B, struct.pack(">H", 8))


@NEEDS_ROOT
def test_a_descriptor_outlives_chroot_and_the_loss_of_rights(device, tmp_path):
    """What a server does after it has loaded its keys."""
    (tmp_path / "empty").mkdir()
    with Opened(device.path) as opened:
        handle_of(create_primary(opened))
        done = subprocess.run(
            [sys.executable, "-c", STRANGER, str(opened.descriptor), str(tmp_path / "empty"),
             command(Command.ReadPublic, struct.pack(">I", FIRST_VIRTUAL)).hex()],
            pass_fds=[opened.descriptor], capture_output=True, text=True, check=True)
        assert code_of(bytes.fromhex(done.stdout)) == 0


@NEEDS_ROOT
def test_another_user_is_told_of_the_device_s_group(holder, device):
    for directory in (holder.directory, *holder.directory.parents):
        if "pytest" in str(directory):
            directory.chmod(directory.stat().st_mode | 0o005)
    device.path.chmod(0o660)
    os.chown(device.path, 0, 0)
    as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    holder.store.mkdir()
    os.chown(holder.store, NOBODY, NOBODY)
    holder.store.chmod(0o700)
    done = holder.lct("create", "k", status=None, **as_nobody)
    assert done.returncode != 0 and "usermod -aG tss" in one_sentence(done.stderr)
    device.path.chmod(0o666)
    holder.lct("create", "k", **as_nobody)


def test_doctor_finds_the_kernel_s_device(holder, device):
    """A machine started by SeaBIOS, which measures what it starts."""
    if not isinstance(device, tpmrm.Device):
        pytest.skip("a stand-in is not the kernel's; tests/run --vm has one")
    holder.configure(tcti=None)
    texts = {finding["text"]: finding for finding in json.loads(
        holder.lct("doctor", "--json").stdout)}
    assert not [text for text, finding in texts.items() if finding["severity"] == "problem"]
    for pattern in ("the kernel has a resource manager (/dev/tpmrm0)",
                    "the event log of the boot is at "
                    "/sys/kernel/security/tpm0/binary_bios_measurements",
                    "UEFI did not start this system"):
        assert [text for text in texts if pattern in text], texts


def test_the_boot_is_measured(device):
    if not isinstance(device, tpmrm.Device):
        pytest.skip("nothing has booted a stand-in; tests/run --vm has a machine")
    with Opened(device.path) as opened:
        selection = struct.pack(">IHB3B", 1, 0xB, 3, 0x10, 0, 0)  # PCR 4: what was booted
        answer = opened.ask(Command.PCR_Read, selection)
        assert len(answer) > 32 and answer[-32:] != bytes(32)


# What only the stand-in does.

@pytest.fixture(name="standin")
def fixture_standin(make_tpmrm) -> tpmrm.Tpmrm:
    return make_tpmrm()


def test_the_stand_in_shows_what_is_open(standin):
    with Opened(standin.path) as opened:
        handle_of(create_primary(opened))
        (space,) = standin.spaces()
        assert space.pid == os.getpid() and space.handles == [FIRST_VIRTUAL]
        assert standin.codes == [Command.CreatePrimary] and standin.opens == 1
        assert os.fstat(opened.descriptor).st_size == 0
    wait_for(lambda: standin.spaces() == [], "the space to end")


def test_programs_that_have_ended_leave_no_space(make_user, standin):
    user = make_user(standin.tcti)
    user.lct("create", "k")
    user.openssl("dgst", "-sha256", "-sign", "lct:k", "-out", "sig", user.write("data"))
    wait_for(lambda: standin.spaces() == [], "the spaces to end")
    assert standin.count(Command.Sign) > 0 and standin.opens == 2


def test_a_device_that_disappears_is_used_again_when_it_returns(make_user, standin):
    user = make_user(standin.tcti)
    user.lct("create", "k")
    data = user.write("data")
    with Opened(standin.path) as before:
        standin.remove()
        with pytest.raises(OSError) as caught:
            before.write(GET_RANDOM)
        assert caught.value.errno == errno.EPIPE
        assert not standin.path.exists()
        done = user.lct("check", "k", status=None)
        assert done.returncode != 0 and str(standin.path) in one_sentence(done.stderr)
        standin.restore()
        with pytest.raises(OSError):
            before.write(GET_RANDOM)
    user.openssl("dgst", "-sha256", "-sign", "lct:k", "-out", "sig", data)


def test_a_device_without_its_tpm_fails(make_tpm, make_tpmrm):
    tpm = make_tpm()
    standin = make_tpmrm(tpm)
    with Opened(standin.path) as opened:
        tpm.stop()
        with pytest.raises(OSError) as caught:
            opened.write(GET_RANDOM)
        assert caught.value.errno == errno.EIO
        tpm.start()
        opened.write(GET_RANDOM)
        assert code_of(opened.read()) == 0


@pytest.mark.parametrize("flags", [0, os.O_NONBLOCK])
def test_the_driver_s_failure_is_told_by_write_or_later_by_read(standin, flags):
    def fails(_message, _ask):
        raise OSError(errno.ETIME, "timer expired")

    standin.hook(0x17B, fails, nth=2)
    with Opened(standin.path, flags) as opened:
        opened.write(GET_RANDOM)
        wait_for(lambda: opened.poll(1) & select.POLLIN, "the response")
        opened.read()
        with pytest.raises(OSError) as caught:
            opened.write(GET_RANDOM)
            assert flags & os.O_NONBLOCK
            wait_for(lambda: opened.poll(1) & select.POLLIN, "the failure")
            opened.read()
        assert caught.value.errno == errno.ETIME
        opened.write(GET_RANDOM)


def test_one_write_or_one_read_fails_where_asked(standin):
    with Opened(standin.path) as opened:
        standin.fail_write(0x17B, errno.EIO, nth=1)
        with pytest.raises(OSError) as caught:
            opened.write(GET_RANDOM)
        assert caught.value.errno == errno.EIO
        standin.fail_read(0x17B, errno.EIO, nth=1)
        opened.write(GET_RANDOM)
        with pytest.raises(OSError) as caught:
            opened.read()
        assert caught.value.errno == errno.EIO
        standin.refuse(0x17B, RC_YIELDED, nth=1)
        assert code_of(opened.ask_any(0x17B, struct.pack(">H", 8))) == RC_YIELDED
        assert opened.ask(0x17B, struct.pack(">H", 8))


def test_a_program_says_which_command_the_device_failed(make_user, standin):
    user = make_user(standin.tcti)
    user.lct("create", "k")
    standin.fail_read(Command.Sign, errno.EIO)
    words = ("openssl", "dgst", "-sha256", "-sign", "lct:k", "-out", "sig", user.write("data"))
    assert os.strerror(errno.EIO) in user.run(*words, status=1).stderr
    standin.heal()
    user.run(*words)


def test_a_late_response_is_waited_for_with_poll(standin):
    standin.delay(0x17B, 0.3, nth=1)
    with Opened(standin.path, os.O_NONBLOCK) as opened:
        assert opened.poll(SLOW) & select.POLLOUT
        opened.write(GET_RANDOM)
        assert opened.poll(0.05) == 0
        with pytest.raises(OSError) as caught:
            opened.write(GET_RANDOM)
        assert caught.value.errno == errno.EBUSY
        assert opened.poll(SLOW) & select.POLLIN
        assert len(opened.read()) == 20


def test_a_response_may_be_waited_for_as_long_as_the_kernel_does(standin):
    """Linux 6.1 holds a lock while it executes, and poll() waits for it whatever its timeout."""
    standin.delay(0x17B, 0.3)
    standin.poll_blocks = True
    with Opened(standin.path, os.O_NONBLOCK) as opened:
        opened.write(GET_RANDOM)
        assert opened.poll(0.05) & select.POLLIN
        assert len(opened.read()) == 20


def test_a_command_may_wait_for_its_turn(standin):
    """So it is on Linux between write() and the start of its worker."""
    standin.begins_after = 0.3
    with Opened(standin.path, os.O_NONBLOCK) as opened:
        opened.write(GET_RANDOM)
        assert opened.poll(0) & select.POLLOUT and opened.read() == b""
        with pytest.raises(OSError) as caught:
            opened.write(GET_RANDOM)
        assert caught.value.errno == errno.EBUSY
        wait_for(lambda: opened.poll(0) & select.POLLIN, "the response")
        assert len(opened.read()) == 20


def test_a_command_whose_file_closes_before_its_turn_leaves_nothing(make_tpm, make_tpmrm):
    tpm = make_tpm()
    standin = make_tpmrm(tpm)
    standin.begins_after = 0.3
    with Opened(standin.path, os.O_NONBLOCK) as opened:
        opened.write(command(Command.StartAuthSession, START_SESSION))
    time.sleep(2 * standin.begins_after)
    assert not standin.spaces() and not tpm.left_behind()


def test_a_killed_reader_of_a_late_response_is_gone_at_once(standin):
    standin.delay(0x17B, SLOW)
    with Opened(standin.path, os.O_NONBLOCK) as opened:
        opened.write(GET_RANDOM)
        reader = subprocess.Popen(["cat"], stdin=opened.descriptor, stdout=subprocess.DEVNULL)
        wait_for(lambda: [1 for space in standin.spaces() if space.readers], "the reader")
        reader.send_signal(signal.SIGKILL)
        assert reader.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("refused", ["object", "session"])
def test_what_cannot_be_saved_fails_the_command_and_is_flushed(make_tpm, make_proxy, make_tpmrm,
                                                               refused):
    """So does Linux: what the TPM still has of the space is flushed, what was saved before stays."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    with Opened(make_tpmrm(proxy).path) as opened:
        handle_of(opened.ask_any(Command.StartAuthSession, START_SESSION))
        handle_of(create_primary(opened))
        proxy.refuse(Command.ContextSave, RC_CONTEXT_GAP, nth=1 if refused == "object" else 2)
        with pytest.raises(OSError) as caught:
            opened.write(GET_RANDOM)
        assert caught.value.errno == errno.EFAULT
        assert tpm.left_behind() == []
        assert opened.ask(0x17B, struct.pack(">H", 8)), "the next command goes on without it"
        assert opened.handles(TRANSIENT) == [FIRST_VIRTUAL]
        assert opened.handles(POLICY_SESSION << 24) == []


MOUNTS = """
import pathlib, sys, time
sys.path.insert(0, sys.argv[1])
import tpmrm
device = tpmrm.Tpmrm(pathlib.Path(sys.argv[2]), None)
print(device.path, flush=True)
opened = tpmrm.Opened(device.path)
time.sleep(600)
"""


def test_the_stand_in_leaves_no_mount_even_if_killed(standin, tmp_path):
    assert str(standin.path.parent) in Path("/proc/mounts").read_text()
    place = tmp_path / "killed"
    with subprocess.Popen([sys.executable, "-c", MOUNTS, str(Path(__file__).parent), str(place)],
                          stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == f"{place}/tpmrm0\n"
        assert str(place) in Path("/proc/mounts").read_text()
        process.kill()
    wait_for(lambda: str(place) not in Path("/proc/mounts").read_text(), "the mount to go")
    standin.stop()
    assert str(standin.path.parent) not in Path("/proc/mounts").read_text()
