# SPDX-License-Identifier: Apache-2.0
"""The ways in to a TPM: swtpm's socket, tpm2-abrmd over D-Bus, modules of tpm2-tss, the search."""

import array
import itertools
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from test_command import one_sentence
from test_connection import fixture_brokered  # noqa: F401
from tpm import Command, exchange, receive, wait_for

NO_TPM, CONFIG, TIMEOUT = 9, 8, 19
ANSWER = bytes.fromhex("80010000001b0000000001000000060000000100000100322e3000")
CREATE_CONNECTION = b"CreateConnection"


@pytest.fixture(name="wire")
def fixture_wire(build, user):
    """Runs tests/wire.c, which must leave standard error alone; gives what it printed."""
    program = build / "tests" / "wire"
    if not program.exists():
        pytest.skip("this build has no test programs")

    def run(tcti: str, timeout: int, *steps: str, **options) -> list[str]:
        done = user.run(program, tcti, timeout, *steps, **options)
        assert done.stderr == ""
        return done.stdout.splitlines()

    return run


class Listener:
    """A socket at which `serve(connection)` is called for each client, in a thread."""

    def __init__(self, address, serve, family=socket.AF_UNIX, backlog=64):
        self.socket = socket.socket(family)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(address)
        self.socket.listen(backlog)
        self.serve = serve
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._call, args=(connection,), daemon=True).start()

    def _call(self, connection):
        try:
            with connection:
                self.serve(connection)
        except OSError:
            pass

    def stop(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()


@pytest.fixture(name="listen")
def fixture_listen():
    """Starts listeners."""
    made = []

    def start(*arguments, **options) -> Listener:
        made.append(Listener(*arguments, **options))
        return made[-1]

    yield start
    for listener in made:
        listener.stop()


def answering(response: bytes):
    """Serves one command with this response, whatever it is, and closes."""

    def serve(connection):
        if receive(connection):
            connection.sendall(response)

    return serve


def silent(connection):
    """Takes everything and says nothing until the client has gone."""
    while connection.recv(65536):
        pass


# swtpm's socket


def test_a_tpm_that_never_answers_is_a_timeout(wire, listen, tmp_path):
    listen(str(tmp_path / "s"), silent)
    start = time.monotonic()
    lines = wire(f"swtpm:path={tmp_path}/s", 1000, "ask")
    assert lines == ["open ok", f"ask {TIMEOUT}: the TPM (swtpm) did not answer within 1 s"]
    assert 0.9 < time.monotonic() - start < 10


def test_an_answer_that_trickles_has_one_deadline_in_all(wire, listen, tmp_path):
    def serve(connection):
        receive(connection)
        for byte in ANSWER:
            connection.sendall(bytes([byte]))
            time.sleep(0.2)

    listen(str(tmp_path / "s"), serve)
    assert f"ask {TIMEOUT}" in wire(f"swtpm:path={tmp_path}/s", 1000, "ask")[1]


def test_an_answer_in_pieces_is_whole(wire, listen, tmp_path):
    def serve(connection):
        receive(connection)
        for at in range(0, len(ANSWER), 3):
            connection.sendall(ANSWER[at:at + 3])
            time.sleep(0.01)

    listen(str(tmp_path / "s"), serve)
    assert wire(f"swtpm:path={tmp_path}/s", 5000, "ask", "ask") == ["open ok", "ask ok", "ask ok"]


@pytest.mark.parametrize("response, sentence", [
    (b"", "swtpm closed the connection"),
    (ANSWER[:7], "swtpm closed the connection"),
    (ANSWER[:20], "swtpm closed the connection"),
    (ANSWER[:2] + b"\0\0\0\x09" + ANSWER[6:], "the response of the TPM (swtpm) is malformed"),
    (ANSWER[:2] + b"\0\0\0\0" + ANSWER[6:], "the response of the TPM (swtpm) is malformed"),
    (ANSWER[:2] + b"\0\0\x10\x01" + ANSWER[6:], "the response of the TPM (swtpm) is malformed"),
    (ANSWER[:2] + b"\xff\xff\xff\xff" + ANSWER[6:], "the response of the TPM (swtpm) is malformed")])
def test_an_answer_that_is_none(wire, listen, tmp_path, response, sentence):
    listen(str(tmp_path / "s"), answering(response))
    assert wire(f"swtpm:path={tmp_path}/s", 5000, "ask") == ["open ok", f"ask {NO_TPM}: {sentence}"]


def test_a_connection_that_is_closed_at_once_kills_nobody(wire, listen, tmp_path):
    """Whoever writes to it would die of SIGPIPE; the program below would then say nothing."""
    listen(str(tmp_path / "s"), lambda connection: None)
    lines = wire(f"swtpm:path={tmp_path}/s", 5000, *["ask"] * 20)
    assert len(lines) == 21
    for line in lines[1:]:
        assert re.fullmatch(f"ask {NO_TPM}: (swtpm closed the connection|the connection to swtpm "
                            "broke: .*)", line)


def test_a_late_answer_is_nobody_else_s(wire, listen, tmp_path):
    """It was of a connection that is closed by now."""
    late = [True]

    def serve(connection):
        if not receive(connection):
            return
        if late:
            late.clear()
            silent(connection)
            connection.sendall(b"\x80\x01\0\0\0\x0a\0\0\x01\x01")
        else:
            connection.sendall(ANSWER)

    listen(str(tmp_path / "s"), serve)
    lines = wire(f"swtpm:path={tmp_path}/s", 1000, "ask", "settle", "ask", "ask")
    assert lines[1].startswith(f"ask {TIMEOUT}: ") and lines[2:] == ["settle ok"] + ["ask ok"] * 2


def test_a_full_queue_is_waited_for_until_the_deadline(wire, tmp_path):
    """As of a swtpm that makes an RSA key for somebody while others wait already."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        waiting = socket.socket(socket.AF_UNIX)
        waiting.connect(str(tmp_path / "s"))
        lines = wire(f"swtpm:path={tmp_path}/s", 1000, "ask")
        assert lines == ["open ok", f"ask {TIMEOUT}: the TPM at {tmp_path}/s took no connection "
                                    "within 1 s"]

        def make_room():
            time.sleep(0.5)
            listener.accept()[0].close()
            connection, _ = listener.accept()
            answering(ANSWER)(connection)

        thread = threading.Thread(target=make_room)
        thread.start()
        assert wire(f"swtpm:path={tmp_path}/s", 20000, "ask") == ["open ok", "ask ok"]
        thread.join()
        waiting.close()


def test_nobody_listens(wire, user, tmp_path):
    assert wire(f"swtpm:path={tmp_path}/s", 1) == [
        f"open {NO_TPM}: no TPM at {tmp_path}/s: No such file or directory"]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        assert wire(f"swtpm:path={tmp_path}/s", 1) == [
            f"open {NO_TPM}: no TPM at {tmp_path}/s: Connection refused"]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert wire(f"swtpm:host=127.0.0.1,port={port}", 1) == [
            f"open {NO_TPM}: no TPM at 127.0.0.1 port {port}: Connection refused"]
    sentence = one_sentence(user.lct("--tcti", f"swtpm:path={tmp_path}/s", "create", "a",
                                     status=NO_TPM).stderr)
    assert f"no TPM at {tmp_path}/s: " in sentence


@pytest.mark.parametrize("tcti, sentence", [
    (f"swtpm:path=/{'x' * 107}", "the socket's path is too long: /xxx"),
    (f"swtpm:path=/{'x' * 1000}", "tcti: the path is too long: /xxx"),
    ("swtpm:/run/s", 'tcti swtpm does not take "/run/s"'),
    ("swtpm:path=/a,colour=red", 'tcti swtpm does not take "colour=red"'),
    ("tabrmd:bus_type=none", 'tcti tabrmd: bus_type is system or session, not "none"'),
    ("tabrmd:bus_name=a b", 'tcti tabrmd: "a b" is no name on a bus'),
    ("tabrmd:busname=a", 'tcti tabrmd does not take "busname=a"'),
    (":path=/a", 'tcti ":path=/a" names no TCTI module'),
    ("libtss2-tcti-.so.0", 'tcti "libtss2-tcti-.so.0" names no TCTI module')])
def test_a_tcti_that_is_wrong(wire, tcti, sentence):
    (line,) = wire(tcti, 1)
    assert line.startswith(f"open {CONFIG}: {sentence}")


@pytest.mark.parametrize("family, host", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"),
                                          (socket.AF_INET, "localhost")])
def test_swtpm_over_tcp(owner, tpm, listen, family, host):
    """In front of the shared TPM, as `swtpm socket --server type=tcp` serves."""
    def serve(connection):
        if command := receive(connection):
            connection.sendall(exchange(tpm.path, command))

    bound = "127.0.0.1" if family == socket.AF_INET else host
    try:
        listener = listen((bound, 0), serve, family=family)
    except OSError:
        pytest.skip("there is no IPv6 here")
    port = listener.socket.getsockname()[1]
    owner.lct("--tcti", f"swtpm:host={host},port={port}", "check", "ec")


def test_swtpm_s_own_port(user, tmp_path):
    """A real one, at the port that is the default of host and port."""
    if not (swtpm := shutil.which("swtpm")):
        pytest.skip("swtpm is not installed")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 2321)) == 0:
            pytest.skip("port 2321 is taken")
    (tmp_path / "state").mkdir()
    process = subprocess.Popen(
        [swtpm, "socket", "--tpm2", "--tpmstate", f"dir={tmp_path}/state", "--server",
         "type=tcp,port=2321", "--ctrl", f"type=unixio,path={tmp_path}/ctrl", "--flags",
         "startup-clear", "--seccomp", "action=none"], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: user.lct("--tcti", "swtpm", "doctor", status=None).returncode == 0,
                 "swtpm")
        user.lct("--tcti", "swtpm", "create", "alice")
        user.lct("--tcti", "libtss2-tcti-swtpm.so.0", "check", "alice")
    finally:
        process.terminate()
        process.wait()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_tpm_that_is_killed_in_the_middle_of_a_command(make_user, make_tpm, make_proxy):
    """The proxy has no TPM then, either."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_user(proxy.tcti)
    user.lct("create", "k")

    def die(_command, _ask):
        tpm.process.send_signal(signal.SIGKILL)
        return b""

    proxy.hook(Command.Sign, die)
    sentence = one_sentence(user.lct("sign", "k", stdin=b"x", status=NO_TPM).stderr)
    assert "lct:k" in sentence
    tpm.process.wait()


def test_many_programs_share_a_tpm_that_serves_one_at_a_time(wire, build, user, tpm):
    programs = [subprocess.Popen([build / "tests" / "wire", tpm.tcti, "60000", *["ask"] * 100],
                                 env=user.environment(), stdout=subprocess.PIPE, text=True)
                for _ in range(8)]
    for program in programs:
        assert program.communicate()[0].splitlines() == ["open ok"] + ["ask ok"] * 100
    assert wire(tpm.tcti, 5000, "ask", "fork", "ask") == [
        "open ok", "ask ok", "open ok", "ask ok", "ask ok"]


def test_between_commands_nobody_is_kept_waiting(build, user, tpm):
    """swtpm serves who is connected; a program that is idle is not."""
    program = subprocess.Popen([build / "tests" / "wire", tpm.tcti, "5000", "ask", "wait", "ask"],
                               env=user.environment(), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    assert [program.stdout.readline() for _ in range(2)] == ["open ok\n", "ask ok\n"]
    assert open_sockets(program.pid) == [] and loaded(program.pid) == set()
    assert tpm.handles(0x80000000) == []
    assert program.communicate("\n")[0] == "wait ok\nask ok\n"


# descriptors


def open_sockets(pid: int) -> list[int]:
    """The numbers of a program's sockets; it may close others while they are looked at."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(entry).startswith("socket:"):
                found.append(int(entry.name))
        except FileNotFoundError:
            pass
    return found


def loaded(pid: int) -> set[str]:
    """Which libraries of others' transports a program has in memory."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return set(re.findall(r"libdbus|libgio|libglib|libsystemd|libtss2-tcti-\w+", maps))


def closes_on_exec(pid: int, fd: int) -> bool:
    flags = re.search(r"^flags:\s*(\d+)$", Path(f"/proc/{pid}/fdinfo/{fd}").read_text(),
                      re.MULTILINE)
    return bool(int(flags.group(1), 8) & os.O_CLOEXEC)


@pytest.mark.parametrize("silence", ["", "0", "012"], ids=["all", "no stdin", "no stdio"])
def test_descriptors_close_on_exec_and_are_never_standard_ones(build, user, listen, tmp_path,
                                                               silence):
    listen(str(tmp_path / "s"), silent)
    closed = " ".join(f"{fd}>&-" for fd in silence)
    program = subprocess.Popen(
        ["bash", "-c", f'exec "$0" "swtpm:path={tmp_path}/s" 60000 send receive {closed}',
         build / "tests" / "wire"], env=user.environment(), stdout=subprocess.DEVNULL)
    try:
        (fd,) = wait_for(lambda: open_sockets(program.pid), "a connection")
        assert closes_on_exec(program.pid, fd) and fd > 2
    finally:
        program.kill()
        program.wait()


def test_a_number_that_the_host_used_again_is_not_written_to(wire, user, listen, tmp_path):
    listen(str(tmp_path / "s"), answering(ANSWER))
    lines = wire(f"swtpm:path={tmp_path}/s", 1000, "send", "steal", "receive", "ask")
    assert lines[3] == f"receive {NO_TPM}: the program closed the connection to swtpm"
    assert lines[4] == "ask ok"
    assert user.path("stolen").read_bytes() == b""


# tpm2-abrmd

SESSION = "tabrmd:bus_type=session"
FULL = ("tpm2-abrmd has as many clients as it takes: give it a larger --max-connections, or use "
        "/dev/tpmrm0")


def test_a_manager_s_connection_outlives_the_bus(brokered, wire):
    """The bus is asked once; neither it nor libraries of it are there afterwards."""
    user, broker = brokered
    program = subprocess.Popen([user.build / "tests" / "wire", SESSION, "5000", "ask", "wait",
                                "ask"], env=user.environment(broker.env), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    assert [program.stdout.readline() for _ in range(2)] == ["open ok\n", "ask ok\n"]
    (fd,) = open_sockets(program.pid)
    assert closes_on_exec(program.pid, fd)
    assert loaded(program.pid) == set()
    threads = list(Path(f"/proc/{program.pid}/task").iterdir())
    assert len(threads) == 1 or "tsan" in user.build.name
    assert program.communicate("\n")[0] == "wait ok\nask ok\n"
    assert wire("libtss2-tcti-tabrmd.so.0:bus_type=session", 5000, "ask", env=broker.env) == [
        "open ok", "ask ok"]


def test_parent_and_children_sign_through_a_manager(brokered):
    user, broker = brokered
    user.lct("create", "k", env=broker.env)
    done = user.run(user.build / "tests" / "evp", "fork", "lct:k", env=broker.env)
    assert (done.stdout, done.stderr) == ("ok\n", "")


def test_a_child_has_a_connection_of_its_own(brokered, wire):
    _, broker = brokered
    assert wire(SESSION, 5000, "ask", "fork", "ask", "fork", "ask", env=broker.env) == [
        "open ok", "ask ok", "open ok", "ask ok", "open ok", "ask ok", "ask ok",
        "ask ok", "open ok", "ask ok", "ask ok"]


def test_a_manager_that_ends_is_an_error_and_then_forgotten(brokered, wire):
    _, broker = brokered
    broker.stop()
    assert wire(SESSION, 1000, env=broker.env) == [
        f"open {NO_TPM}: tpm2-abrmd is not on the D-Bus"]
    broker.start()
    assert wire(SESSION, 5000, "ask", env=broker.env) == ["open ok", "ask ok"]


def test_a_number_of_the_manager_s_that_the_host_used_again(brokered, wire, user):
    _, broker = brokered
    lines = wire(SESSION, 1000, "ask", "steal", "ask", "ask", env=broker.env)
    assert lines[3:] == [f"ask {NO_TPM}: the connection to tpm2-abrmd is closed"] * 2
    assert user.path("stolen").read_bytes() == b""


def test_more_connections_than_the_manager_has(brokered, build):
    user, broker = brokered
    programs = []
    try:
        for _ in range(27):
            programs.append(subprocess.Popen(
                [build / "tests" / "wire", SESSION, "5000", "wait"], text=True,
                env=user.environment(broker.env), stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            assert programs[-1].stdout.readline() == "open ok\n"
        done = subprocess.run([build / "tests" / "wire", SESSION, "5000"], text=True, check=True,
                              env=user.environment(broker.env), capture_output=True)
        assert done.stdout == f"open {NO_TPM}: {FULL}\n"
        assert done.stderr == ""
    finally:
        for program in programs:
            program.communicate("\n")


class Bus:
    """
    A D-Bus of which a test says what it answers: a function that returns messages, each with a list
    of the descriptors that it brings. What clients sent is in `words`.
    """

    def __init__(self, listen, path: Path, answer, auth=b"OK 0123\r\n", fds=b"AGREE_UNIX_FD\r\n"):
        self.answer, self.auth, self.fds = answer, auth, fds
        self.words = b""
        self.env = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={path},guid=0123",
                    "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={path}"}
        listen(str(path), self._serve)

    def _serve(self, connection):
        for reply in (self.auth, self.fds):
            while not self.words.endswith(b"\r\n"):
                self.words += connection.recv(1)
            if reply is None:
                silent(connection)
                return
            connection.sendall(reply)
            self.words += b"."
        while CREATE_CONNECTION not in self.words:
            if not (part := connection.recv(4096)):
                return
            self.words += part
        for sent, fds in self.answer():
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            connection.sendmsg([sent], rights)
            for fd in fds:
                os.close(fd)
        silent(connection)


def field(code: int, kind: str, value) -> bytes:
    data = bytes([code, 1]) + kind.encode() + b"\0"
    if kind == "u":
        return data + struct.pack("<I", value)
    if kind == "g":
        return data + bytes([len(value)]) + value.encode() + b"\0"
    return data + struct.pack("<I", len(value)) + value.encode() + b"\0"


def message(kind: int, fields: list, body: bytes = b"") -> bytes:
    """A message of D-Bus, little endian."""
    array_ = b""
    for one in fields:
        array_ += bytes(-len(array_) % 8) + one
    head = struct.pack("<4BIII", ord("l"), kind, 1, 1, len(body), 9, len(array_)) + array_
    return head + bytes(-len(head) % 8) + body


RETURNED = message(2, [field(5, "u", 2), field(8, "g", "t"), field(9, "u", 1)], bytes(8))
HELLO = message(2, [field(5, "u", 1), field(8, "g", "s")], b"\x04\0\0\0:1.9\0")
SIGNAL = message(4, [field(1, "o", "/org/freedesktop/DBus"), field(2, "s", "org.freedesktop.DBus"),
                     field(3, "s", "NameAcquired"), field(8, "g", "s")], b"\x04\0\0\0:1.9\0")


def error(name: str, text: str) -> bytes:
    return message(3, [field(5, "u", 2), field(4, "s", name), field(8, "g", "s")],
                   struct.pack("<I", len(text)) + text.encode() + b"\0")


@pytest.fixture(name="manager")
def fixture_manager(listen, tmp_path):
    """A bus that hands out one end of a socket pair; the test has the other."""
    ends = []

    def start(extra: int = 0) -> tuple[Bus, list]:
        def answer():
            ours, theirs = socket.socketpair()
            ends.append(ours)
            return [(HELLO + SIGNAL, []),
                    (RETURNED, [theirs.detach(), *[os.dup(0) for _ in range(extra)]])]

        return Bus(listen, tmp_path / "bus", answer), ends

    yield start
    for end in ends:
        end.close()


def serve_later(ends: list, response: bytes):
    """Answers one command at the end that a bus will hand out."""
    def run():
        try:
            wait_for(lambda: ends, "a connection")
            if receive(ends[-1]):
                ends[-1].sendall(response)
        except OSError:
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("tcti", ["tabrmd", "tabrmd:", SESSION, "tabrmd:bus_name=a.b,bus_type=system"])
def test_the_manager_is_asked_by_its_name_on_the_bus(wire, manager, tcti):
    bus, ends = manager()
    serve_later(ends, ANSWER)
    assert wire(tcti, 5000, "ask", env=bus.env) == ["open ok", "ask ok"]
    assert (b"a.b\0" if "bus_name" in tcti else b"com.intel.tss2.Tabrmd\0") in bus.words
    assert bus.words.startswith(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode())


def test_descriptors_too_many_are_closed(build, user, manager):
    bus, _ = manager(extra=3)
    program = subprocess.Popen([build / "tests" / "wire", SESSION, "1000", "wait"], text=True,
                               env=user.environment(bus.env), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    assert program.stdout.readline() == "open ok\n"
    fds = sorted(int(entry.name) for entry in Path(f"/proc/{program.pid}/fd").iterdir())
    assert len([fd for fd in fds if fd > 2]) == len(open_sockets(program.pid)) == 1
    assert program.communicate("\n")[0] == "wait ok\n"


def test_a_manager_that_never_answers_a_command(wire, manager):
    bus, _ = manager()
    lines = wire(SESSION, 1000, "ask", "ask", env=bus.env)
    assert lines[1:] == [f"ask {TIMEOUT}: the TPM (tpm2-abrmd) did not answer within 1 s",
                         f"ask {NO_TPM}: the connection to tpm2-abrmd is closed"]


def test_what_nobody_asked_for_is_no_answer(build, user, manager):
    bus, ends = manager()
    program = subprocess.Popen([build / "tests" / "wire", SESSION, "5000", "ask", "wait", "ask"],
                               text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               env=user.environment(bus.env))
    wait_for(lambda: ends, "a connection")
    assert receive(ends[-1])
    ends[-1].sendall(ANSWER)
    assert [program.stdout.readline() for _ in range(2)][1] == "ask ok\n"
    ends[-1].sendall(ANSWER)
    out, _ = program.communicate("\n", timeout=60)
    assert out.splitlines()[-1] == f"ask {NO_TPM}: tpm2-abrmd sends what was not asked for"


def test_an_answer_with_something_behind_it_is_none(wire, manager):
    bus, ends = manager()
    serve_later(ends, ANSWER + ANSWER)
    lines = wire(SESSION, 1000, "ask", env=bus.env)
    assert lines[1:] == [f"ask {NO_TPM}: the response of the TPM (tpm2-abrmd) is malformed"]


def test_a_response_that_nobody_read_is_not_the_next_one_s(wire, manager):
    bus, ends = manager()
    serve_later(ends, ANSWER)
    lines = wire(SESSION, 1000, "send", "ask", env=bus.env)
    assert lines[2] == f"ask {NO_TPM}: an earlier command's response was not read"


@pytest.mark.parametrize("name", ["UnknownMethod", "UnknownObject"])
def test_a_manager_that_is_starting_is_asked_again(wire, listen, tmp_path, name):
    """Its name is on the bus, and there is nothing to call yet."""
    refused, ours = [], []

    def answer():
        bus.words = b""
        if len(refused) < 3:
            refused.append(name)
            return [(HELLO + error(f"org.freedesktop.DBus.Error.{name}", "No such object"), [])]
        mine, theirs = socket.socketpair()
        ours.append(mine)
        return [(HELLO, []), (RETURNED, [theirs.detach()])]

    bus = Bus(listen, tmp_path / "bus", answer)
    assert wire(SESSION, 5000, env=bus.env) == ["open ok"]
    assert len(refused) == 3
    ours.pop().close()


@pytest.mark.parametrize("name, text, sentence", [
    ("org.freedesktop.DBus.Error.UnknownObject", "Nothing there",
     "tpm2-abrmd gives no connection: Nothing there"),
    ("org.freedesktop.DBus.Error.ServiceUnknown", "The name is unknown",
     "tpm2-abrmd is not on the D-Bus"),
    ("org.freedesktop.DBus.Error.NameHasNoOwner", "none", "tpm2-abrmd is not on the D-Bus"),
    ("org.freedesktop.DBus.Error.AccessDenied", "Rejected send message, 1 matched rules.\n",
     "tpm2-abrmd may not be asked by this user: Rejected send message, 1 matched rules"),
    ("org.freedesktop.DBus.Error.Spawn.ChildExited", "tpm2-abrmd exited",
     "tpm2-abrmd gives no connection: tpm2-abrmd exited"),
    ("com.intel.tss2.Tabrmd.Error.General", "MAX_COMMANDS exceeded. Try again later.", FULL),
    ("com.intel.tss2.X", "x" * 1000, f"tpm2-abrmd gives no connection: {'x' * 220}")])
def test_the_bus_says_no(wire, listen, tmp_path, name, text, sentence):
    bus = Bus(listen, tmp_path / "bus", lambda: [(HELLO + error(name, text), [])])
    assert wire(SESSION, 1000, env=bus.env) == [f"open {NO_TPM}: {sentence}"]
    advice = {"is not": "apt install tpm2-abrmd|systemctl start tpm2-abrmd",
              "may not": "usermod -aG tss USER", "has as": "systemctl edit tpm2-abrmd"}
    command = advice.get(" ".join(sentence.split()[1:3]), "systemctl status tpm2-abrmd")
    (line,) = wire("tabrmd", 1000, env=bus.env)
    assert re.fullmatch(f"open {NO_TPM}: {re.escape(sentence)}; ({command})", line)


@pytest.mark.parametrize("auth, sentence", [
    (b"REJECTED EXTERNAL\r\n", "may not be asked by this user: the D-Bus says REJECTED EXTERNAL"),
    (b"ERROR\r\n", "gives no connection: the D-Bus says ERROR"),
    (b"x" * 1000, "gives no connection: the D-Bus's line is malformed")])
def test_the_bus_lets_nobody_in(wire, listen, tmp_path, auth, sentence):
    bus = Bus(listen, tmp_path / "bus", list, auth=auth)
    assert wire(SESSION, 1000, env=bus.env) == [f"open {NO_TPM}: tpm2-abrmd {sentence}"]


def test_a_bus_without_descriptors_is_of_no_use(wire, listen, tmp_path):
    bus = Bus(listen, tmp_path / "bus", list, fds=b"ERROR\r\n")
    assert wire(SESSION, 1000, env=bus.env) == [
        f"open {NO_TPM}: tpm2-abrmd gives no connection: the D-Bus says ERROR"]


@pytest.mark.parametrize("answer", [
    b"", b"l", HELLO, RETURNED[:20], bytes(16), b"\xff" * 64, b"l\2\1\1" + b"\xff" * 12,
    b"l\2\1\1" + struct.pack("<III", 0, 1, 0x4000), RETURNED.replace(b"\5\1u\0", b"\5\1a\0"),
    RETURNED.replace(b"\5\1u\0", b"\5\xffu\0"),
    message(2, [field(5, "u", 2), field(7, "s", "x").replace(b"\1\0\0\0x", b"\xff\0\0\0x")]),
    message(2, [field(5, "u", 2), field(7, "s", "x").replace(b"\1\0\0\0x", b"\xff\xff\xff\xffx")]),
    message(3, [field(5, "u", 2), field(8, "g", "s")], b"\xff\xff\xff\xff")],
    ids=lambda answer: answer[:12].hex() or "nothing")
def test_a_bus_that_talks_rubbish(wire, listen, tmp_path, answer):
    """And ends, so that nobody waits for the rest."""
    class Ending(Bus):
        def _serve(self, connection):
            connection.settimeout(1)
            super()._serve(connection)

    bus = Ending(listen, tmp_path / "bus", lambda: [(answer or b"\0", [])])
    (line,) = wire(SESSION, 1000, env=bus.env)
    assert re.fullmatch(f"open {NO_TPM}: tpm2-abrmd gives no connection: "
                        "the D-Bus('s message is malformed| ends the connection)", line)


def not_a_socket() -> list[int]:
    return [os.open("/dev/null", os.O_RDWR)]


def no_stream() -> list[int]:
    return [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).detach()]


@pytest.mark.parametrize("fds", [list, not_a_socket, no_stream])
def test_an_answer_that_brings_no_connection(wire, listen, tmp_path, fds):
    bus = Bus(listen, tmp_path / "bus", lambda: [(HELLO, []), (RETURNED, fds())])
    assert wire(SESSION, 1000, env=bus.env) == [
        f"open {NO_TPM}: tpm2-abrmd gives no connection: what it answers is none"]


def test_a_descriptor_of_another_message_is_not_taken(wire, listen, tmp_path):
    bus = Bus(listen, tmp_path / "bus", lambda: [(SIGNAL, not_a_socket()), (RETURNED, [])])
    assert "what it answers is none" in wire(SESSION, 1000, env=bus.env)[0]


@pytest.mark.parametrize("where", ["auth", "fds", "answer"])
def test_a_bus_that_never_answers(wire, listen, tmp_path, where):
    silence = {} if where == "answer" else {where: None}
    bus = Bus(listen, tmp_path / "bus", list, **silence)
    start = time.monotonic()
    assert wire(SESSION, 1000, env=bus.env) == [
        f"open {TIMEOUT}: tpm2-abrmd did not answer on the D-Bus within 5 s"]
    assert time.monotonic() - start < 10


def test_a_bus_that_never_stops_talking(wire, listen, tmp_path):
    bus = Bus(listen, tmp_path / "bus", lambda: itertools.repeat((SIGNAL * 50, [])))
    assert f"open {TIMEOUT}: " in wire(SESSION, 1000, env=bus.env)[0]


@pytest.mark.parametrize("address, found", [
    ("unix:path=%s", True), ("unix:path=%s,guid=1", True), ("unix:path=/nowhere;unix:path=%s", False),
    ("tcp:host=localhost,port=1;unix:path=%s", True), ("unix:path=%%2F%s", True),
    ("tcp:host=localhost,port=1", False), ("", False), (";;", False), ("unix:path=", False),
    (f"unix:path=/{'x' * 200}", False)])
def test_addresses_of_a_bus(wire, manager, tmp_path, address, found):
    _, ends = manager()
    if found:
        serve_later(ends, ANSWER)
    if "%s" in address:
        address %= tmp_path / "bus" if "%%" not in address else str(tmp_path / "bus")[1:]
    lines = wire(SESSION, 5000, "ask", env={"DBUS_SESSION_BUS_ADDRESS": address})
    if found:
        assert lines == ["open ok", "ask ok"]
    else:
        assert re.match(f"open {NO_TPM}: no tpm2-abrmd: there is no D-Bus at ", lines[0])


def test_an_abstract_address_of_a_bus(wire, listen, tmp_path):
    ours, theirs = socket.socketpair()
    bus = Bus(listen, tmp_path / "bus", lambda: [(HELLO, []), (RETURNED, [theirs.detach()])])
    name = f"lct-test-{os.getpid()}"
    listen("\0" + name, bus._serve)  # pylint: disable=protected-access
    serve_later([ours], ANSWER)
    lines = wire(SESSION, 5000, "ask",
                 env={"DBUS_SESSION_BUS_ADDRESS": f"unix:abstract={name},guid=1"})
    assert lines == ["open ok", "ask ok"]
    ours.close()


# the search


def no_device(path: str):
    return pytest.mark.skipif(os.path.exists(path), reason=f"this machine has {path}")


@no_device("/dev/tpmrm0")
@no_device("/dev/tpm0")
def test_the_search_names_every_way_it_tried(wire, user, tmp_path):
    bus = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/nowhere"}
    (line,) = wire("-", 1000, env=bus)
    assert re.fullmatch(f"open {NO_TPM}: no TPM: /dev/tpmrm0: No such file or directory; "
                        f"no tpm2-abrmd: there is no D-Bus at .*{tmp_path}/nowhere(; systemctl "
                        "start dbus tpm2-abrmd)?; /dev/tpm0: No such file or directory; if there "
                        "is another way in, set tcti in openssl.cnf, LCT_TCTI or --tcti", line)
    user.configure(tcti=None)
    assert line.split(": ", 1)[1] in one_sentence(
        user.lct("create", "a", status=NO_TPM, env=bus).stderr)


@no_device("/dev/tpmrm0")
@no_device("/dev/tpm0")
def test_the_search_finds_the_manager_and_does_not_start_it(wire, manager):
    """No device, no reason to start one: systemd would wait for the device. 2 is NO_AUTO_START."""
    bus, ends = manager()
    serve_later(ends, ANSWER)
    assert wire("-", 5000, "ask", env=bus.env) == ["open ok", "ask ok"]
    call = bus.words[bus.words.rindex(b"l\1"):]
    assert call[:4] == b"l\1\2\1"
    bus.words = b""
    wire("tabrmd", 5000, env=bus.env)
    call = bus.words[bus.words.rindex(b"l\1"):]
    assert call[:4] == b"l\1\0\1"


@no_device("/dev/tpmrm0")
def test_a_program_without_a_tcti_signs_through_the_manager(brokered):
    user, broker = brokered
    user.configure(tcti=None)
    env = {"DBUS_SYSTEM_BUS_ADDRESS": broker.env["DBUS_SESSION_BUS_ADDRESS"]}
    user.lct("create", "k", env=env)
    user.lct("check", "k", env=env)


# modules of tpm2-tss


def has_module(name: str):
    found = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False,
                           env=os.environ | {"PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"})
    return pytest.mark.skipif(f"libtss2-tcti-{name}.so.0" not in found.stdout,
                              reason=f"tpm2-tss's module {name} is not installed")


class Simulator:
    """Speaks the protocol of Microsoft's simulator in front of a TPM: commands at one port, power
    at the next."""

    SEND_COMMAND, END = 8, 20

    def __init__(self, listen, tpm):
        self.tpm = tpm
        for _ in range(50):
            self.port = free_port()
            try:
                listen(("127.0.0.1", self.port), self._commands, family=socket.AF_INET)
                listen(("127.0.0.1", self.port + 1), self._platform, family=socket.AF_INET)
                return
            except OSError:
                continue
        pytest.fail("no two ports in a row")

    @staticmethod
    def _read(connection, size: int) -> bytes:
        data = b""
        while len(data) < size:
            if not (part := connection.recv(size - len(data))):
                raise ConnectionError
            data += part
        return data

    def _number(self, connection) -> int:
        return struct.unpack(">I", self._read(connection, 4))[0]

    def _commands(self, connection):
        while (code := self._number(connection)) != self.END:
            assert code == self.SEND_COMMAND
            self._read(connection, 1)
            command = self._read(connection, self._number(connection))
            answer = exchange(self.tpm.path, command)
            connection.sendall(struct.pack(">I", len(answer)) + answer + bytes(4))

    def _platform(self, connection):
        while self._number(connection) != self.END:
            connection.sendall(bytes(4))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@has_module("mssim")
def test_mssim_signs(owner, tpm, listen):
    simulator = Simulator(listen, tpm)
    tcti = f"mssim:host=127.0.0.1,port={simulator.port}"
    assert owner.lct("--tcti", tcti, "check", "ec").stderr == ""
    owner.configure(tcti=tcti)
    owner.openssl("dgst", "-sha256", "-sign", "lct:rsa", "-out", "sig", "data")
    owner.verify(owner.public_key("lct:rsa"), owner.path("sig"), owner.path("data"))


@has_module("mssim")
def test_mssim_where_nobody_listens(owner):
    sentence = one_sentence(owner.lct("--tcti", f"mssim:port={free_port()}", "check", "ec",
                                      status=NO_TPM).stderr)
    assert re.search(r"no TPM at localhost port \d+: Connection refused", sentence)


PIPE = """\
import socket, struct, sys
def read(size):
    data = b""
    while len(data) < size:
        part = sys.stdin.buffer.read(size - len(data))
        if not part:
            sys.exit()
        data += part
    return data
while True:
    head = read(10)
    command = head + read(struct.unpack(">I", head[2:6])[0] - 10)
    with socket.socket(socket.AF_UNIX) as tpm:
        tpm.connect(sys.argv[1])
        tpm.sendall(command)
        answer = b""
        while len(answer) < 6 or len(answer) < struct.unpack(">I", answer[2:6])[0]:
            answer += tpm.recv(4096)
    sys.stdout.buffer.write(answer)
    sys.stdout.flush()
"""


@has_module("cmd")
def test_cmd_signs(owner, tpm):
    script = owner.write("pipe.py", PIPE)
    tcti = f"cmd:env -u LD_PRELOAD /usr/bin/python3 {script} {tpm.path}"
    assert owner.lct("--tcti", tcti, "check", "ec").stderr == ""
    owner.lct("--tcti", tcti, "check", "rsa")


@has_module("pcap")
@has_module("swtpm")
def test_pcap_signs_and_writes_it_down(owner, tpm):
    env = {"TCTI_PCAP_FILE": str(owner.path("packets"))}
    owner.lct("--tcti", f"pcap:{tpm.tcti}", "check", "ec", env=env)
    packets = owner.path("packets").read_bytes()
    assert packets[:4] == b"\x0a\x0d\x0d\x0a"
    assert struct.pack(">I", Command.Sign) in packets
    sentence = one_sentence(owner.lct("--tcti", "pcap:swtpm:path=/nonexistent", "check", "ec",
                                      status=NO_TPM, env=env).stderr)
    assert "no TPM at /nonexistent: No such file" in sentence
    sentence = one_sentence(owner.lct("--tcti", "pcap:nosuch:x", "check", "ec", status=NO_TPM,
                                      env=env).stderr)
    assert "there is no TCTI module nosuch; on Debian: apt install libtss2-tcti-nosuch0" in sentence


@pytest.mark.parametrize("name", ["nosuch", "libtss2-tcti-nosuch.so.0"])
def test_a_module_that_is_missing(owner, name):
    sentence = one_sentence(owner.lct("--tcti", f"{name}:x=y", "check", "ec",
                                      status=NO_TPM).stderr)
    assert "there is no TCTI module nosuch; on Debian: apt install libtss2-tcti-nosuch0" in sentence
