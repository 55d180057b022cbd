# SPDX-License-Identifier: Apache-2.0
"""preload_tpm.c itself: that it sees every command, and that each fault is what it says."""

import errno
import json
import signal
import struct
import subprocess
import sys

import pytest

from tpm import NO_SESSIONS, RC_LOCKOUT, Broker, Command, response
from tpmrm import command

# What has always the same response: the TPM's manufacturer, and then its revision.
ASKED = [command(Command.GetCapability, struct.pack(">III", 6, number, 1))
         for number in (0x105, 0x102)]
# Writes the commands, each to a connection of its own where it is a socket, and says what it saw.
DRIVER = """
import errno, json, os, select, socket, sys, time

kind, path, calls, patience, *commands = sys.argv[1:]
write, read = {
    "plain": (os.write, os.read),
    "vector": (lambda fd, data: os.writev(fd, [data[:7], data[7:]]),
               lambda fd, size: (lambda part: bytes(part[:os.readv(fd, [part])]))(bytearray(size))),
    "socket": (lambda fd, data: peer.send(data, socket.MSG_NOSIGNAL),
               lambda fd, size: peer.recv(size)),
    "to": (lambda fd, data: peer.send(data), lambda fd, size: peer.recvfrom(size)[0]),
    "message": (lambda fd, data: peer.sendmsg([data[:3], data[3:]]),
                lambda fd, size: peer.recvmsg(size)[0])}[calls]
peer = None
idle, _ = os.pipe()
fd = -1 if kind == "socket" else os.open(path, os.O_RDWR | os.O_NONBLOCK)
for data in map(bytes.fromhex, commands):
    seen = {"wrote": None, "polled": None, "read": "", "error": None}
    try:
        if kind == "socket":
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(path)
            fd = peer.fileno()
        seen["wrote"] = write(fd, data)
        start = time.monotonic()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(idle, select.POLLIN)
        seen["polled"] = [ready for ready, _ in poll.poll(int(patience))] == [fd]
        seen["waited"] = time.monotonic() - start
        if seen["polled"]:
            for size in (4, 6, 4096):
                if seen["read"][4:12] != "0000000a" or len(seen["read"]) < 20:
                    seen["read"] += read(fd, size).hex()
            if kind == "socket":
                peer.setblocking(False)
            seen["more"] = read(fd, 4096).hex()
    except OSError as error:
        seen["error"] = errno.errorcode[error.errno]
    print(json.dumps(seen), flush=True)
"""


class Way:
    """A socket or a device before one TPM, and the driver that asks through it."""

    def __init__(self, build, kind: str, before, directory):
        self.kind, self.before, self.directory = kind, before, directory
        self.library = build / "tests" / "preload_tpm.so"

    def drive(self, *, at: int = 1, fault: str | None = None, calls: str = "plain",
              patience: int = 5000, status: int = 0, **env: str) -> list[dict]:
        self.before.codes.clear()
        variables = {"LD_PRELOAD": str(self.library), "LCT_TPM_AT": str(at)} | env
        if fault:
            variables["LCT_TPM_FAULT"] = fault
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, self.kind, str(self.before.path), calls, str(patience),
             *(each.hex() for each in ASKED)], cwd=self.directory, env=variables,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (status, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    @property
    def executed(self) -> int:
        return len(self.before.codes)


@pytest.fixture(name="way", params=["socket", "device"])
def fixture_way(request, build, tmp_path):
    make = "make_proxy" if request.param == "socket" else "make_tpmrm"
    return Way(build, request.param, request.getfixturevalue(make)(), tmp_path)


@pytest.fixture(name="truth")
def fixture_truth(way) -> list[bytes]:
    """What the TPM answers."""
    seen = way.drive()
    assert all(each["polled"] and each["error"] in (None, "EAGAIN") for each in seen)
    answers = [bytes.fromhex(each["read"]) for each in seen]
    assert [answer[:2] for answer in answers] == [struct.pack(">H", NO_SESSIONS)] * 2
    assert answers[0] != answers[1]
    return answers


def ended(way: Way, seen: dict) -> bool:
    """It saw the end: which a socket says with an empty read, a device not at all."""
    return seen["error"] is None and seen.get("more") == ""


def test_every_call_that_carries_commands_is_seen(way, truth):
    of_sockets = ("socket", "to", "message") if way.kind == "socket" else ()
    for calls in ("plain", "vector", *of_sockets):
        (way.directory / "log").unlink(missing_ok=True)
        seen = way.drive(at=2, fault=f"code={RC_LOCKOUT:#x}", calls=calls, LCT_TPM_LOG="log")
        assert bytes.fromhex(seen[0]["read"]) == truth[0]
        assert bytes.fromhex(seen[1]["read"]) == response(RC_LOCKOUT), calls
        assert (way.directory / "log").read_text() == "0x17a\n0x17a\n"
        assert way.executed == 1


def test_a_fault_is_at_one_command_or_from_it_on(way, truth):
    for fault, spoiled in ((f"code={RC_LOCKOUT:#x}", [True, False]),
                           (f"code={RC_LOCKOUT:#x}+", [True, True])):
        seen = way.drive(fault=fault)
        assert [bytes.fromhex(each["read"]) == response(RC_LOCKOUT) for each in seen] == spoiled
        assert way.executed == spoiled.count(False)
    assert [bytes.fromhex(each["read"]) for each in way.drive(at=3, fault="garble+")] == truth


def test_a_fault_may_be_of_one_kind_of_command_only(way, truth):
    seen = way.drive(fault="garble+", LCT_TPM_CODE="0x15d")
    assert [bytes.fromhex(each["read"]) for each in seen] == truth


def test_drop_before_is_a_write_that_fails(way, truth):
    first, second = way.drive(fault="drop-before")
    assert first["error"] == {"socket": "EPIPE", "device": "EIO"}[way.kind]
    assert first["wrote"] is None and way.executed == 1
    assert bytes.fromhex(second["read"]) == truth[1]


def test_drop_after_is_an_end_after_the_command(way, truth):
    first, second = way.drive(fault="drop-after")
    assert first["wrote"] == len(ASKED[0]) and first["polled"] and first["read"] == ""
    if way.kind == "socket":
        assert ended(way, first)
    else:
        assert first["error"] == errno.errorcode[errno.EIO]
    assert way.executed == 2 and bytes.fromhex(second["read"]) == truth[1]


@pytest.mark.parametrize("fault", ["truncate", "header"])
def test_a_shortened_response_ends_early(way, truth, fault):
    first, second = way.drive(fault=fault)
    short = {"truncate": len(truth[0]) // 2, "header": 10}[fault]
    assert bytes.fromhex(first["read"]) == truth[0][:short] and ended(way, first)
    assert way.executed == 2 and bytes.fromhex(second["read"]) == truth[1]


def test_garbled_responses_differ_where_they_say(way, truth):
    changed = {fault: bytes.fromhex(way.drive(fault=fault)[0]["read"])
               for fault in ("garble", "garble-header", "garble-size")}
    for found in changed.values():
        assert len(found) == len(truth[0])
    different = [before ^ after for before, after in zip(truth[0], changed["garble"])]
    assert [bin(each).count("1") for each in different if each] == [1]
    assert different.index(max(different)) == len(truth[0]) // 2 >= 10
    assert changed["garble-header"][:2] == b"\xc0\x01"
    assert changed["garble-header"][2:] == truth[0][2:]
    assert struct.unpack_from(">I", changed["garble-size"], 2)[0] == len(truth[0]) + 16
    assert changed["garble-size"][6:] == truth[0][6:]


def test_code_after_replaces_the_response_of_an_executed_command(way, truth):
    first, second = way.drive(fault="code-after=0x921")
    assert bytes.fromhex(first["read"]) == response(RC_LOCKOUT)
    assert way.executed == 2 and bytes.fromhex(second["read"]) == truth[1]


def test_a_delayed_response_comes_later_and_poll_waits_for_it(way, truth):
    first, second = way.drive(fault="delay=300")
    assert bytes.fromhex(first["read"]) == truth[0] and 0.25 < first["waited"]
    assert bytes.fromhex(second["read"]) == truth[1]
    first, _ = way.drive(fault="delay=2000", patience=50)
    assert first["polled"] is False and 0.04 < first["waited"] < 1.5


def test_a_stalled_response_never_comes(way, truth):
    first, second = way.drive(fault="stall", patience=50)
    assert first["polled"] is False and 0.04 < first["waited"] and truth
    if way.kind == "socket":
        assert bytes.fromhex(second["read"]) == truth[1]
    else:
        assert second["error"] == errno.errorcode[errno.EBUSY]


@pytest.mark.parametrize("fault", ["kill-before", "kill-after"])
def test_a_program_is_killed_before_or_after_its_command(way, truth, fault):
    seen = way.drive(at=2, fault=fault, status=-signal.SIGKILL)
    assert [bytes.fromhex(each["read"]) for each in seen] == truth[:1]
    assert way.executed == {"kill-before": 1, "kill-after": 2}[fault]


@pytest.fixture(name="spoil")
def fixture_spoil(build):
    """Options for a command of a user's, that preload the library."""
    def spoil(**env: str) -> dict:
        return {"preload": [build / "tests" / "preload_tpm.so"], "env": env}
    return spoil


def test_the_log_tells_the_same_as_the_tpm(watched, proxy, spoil):
    log = watched.path("log")
    for words in (("lct", "create", "new"), ("openssl", "dgst", "-sha256", "-sign", "lct:ec",
                                             "-out", "sig", "data")):
        log.unlink(missing_ok=True)
        proxy.codes.clear()
        run = watched.lct if words[0] == "lct" else watched.openssl
        run(*words[1:], **spoil(LCT_TPM_LOG=str(log)))
        assert [int(line, 16) for line in log.read_text().split()] == proxy.codes
    assert proxy.codes == [Command.Load, Command.Sign, Command.FlushContext]


def test_a_command_of_openssl_s_is_spoiled_in_the_same_way(owner, spoil, tpm):
    words = ("dgst", "-sha256", "-sign", "lct:ec", "-out", "sig", "data")
    plan = {"LCT_TPM_CODE": "0x15d", "LCT_TPM_AT": "1"}
    done = owner.openssl(*words, status=None, **spoil(LCT_TPM_FAULT="code=0x101", **plan))
    assert done.returncode != 0 and "0x101" in done.stderr
    owner.openssl(*words, **spoil(LCT_TPM_FAULT="delay=20", **plan))
    owner.openssl(*words, status=-signal.SIGKILL, **spoil(LCT_TPM_FAULT="kill-before", **plan))
    tpm.flush()


def test_what_goes_through_tpm2_abrmd_is_seen_too(build, make_user, make_tpm, spoil):
    if build.name == "tsan":
        pytest.skip("the module is made with GLib, whose locks the sanitizer does not see")
    broker = Broker(make_tpm())
    try:
        user = make_user("tabrmd:bus_type=session")
        user.env |= broker.env
        user.lct("create", "k")
        words = ("dgst", "-sha256", "-sign", "lct:k", "-out", "sig", user.write("data"))
        user.openssl(*words, **spoil(LCT_TPM_LOG=str(user.path("log"))))
        assert "0x15d" in user.path("log").read_text().split()
        done = user.openssl(*words, status=None, **spoil(
            LCT_TPM_CODE="0x15d", LCT_TPM_AT="1", LCT_TPM_FAULT="code=0x101+"))
        assert done.returncode != 0 and "0x101" in done.stderr
        user.openssl(*words, **spoil(LCT_TPM_CODE="0x15d", LCT_TPM_AT="1",
                                     LCT_TPM_FAULT="delay=20"))
    finally:
        broker.end()
