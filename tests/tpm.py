# SPDX-License-Identifier: Apache-2.0
"""Software TPMs, a client that asks them what they hold, and a proxy that counts and forges."""

import contextlib
import enum
import os
import re
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

NO_SESSIONS, SESSIONS = 0x8001, 0x8002
RC_MEMORY, RC_LOCKOUT, RC_RETRY = 0x902, 0x921, 0x922
SRK = 0x81000001
# How much longer all may take, where valgrind or qemu runs it.
SLOWER = int(os.environ.get("LCT_TESTS_SLOWER", "1"))
# s, of what takes none: the machine may be doing anything else.
TIMEOUT = 120 * SLOWER


class Command(enum.IntEnum):
    """TPM 2.0 Part 2, 6.5.2."""

    EvictControl = 0x120
    NV_UndefineSpace = 0x122
    NV_DefineSpace = 0x12A
    CreatePrimary = 0x131
    NV_Increment = 0x134
    SequenceComplete = 0x13E
    ActivateCredential = 0x147
    Certify = 0x148
    PolicyNV = 0x149
    NV_Read = 0x14E
    PolicySecret = 0x151
    Create = 0x153
    Load = 0x157
    SequenceUpdate = 0x15C
    Sign = 0x15D
    Unseal = 0x15E
    Import = 0x156
    Quote = 0x158
    ContextLoad = 0x161
    ContextSave = 0x162
    FlushContext = 0x165
    LoadExternal = 0x167
    NV_ReadPublic = 0x169
    PolicyAuthorize = 0x16A
    PolicyAuthValue = 0x16B
    PolicyOR = 0x171
    ReadPublic = 0x173
    StartAuthSession = 0x176
    VerifySignature = 0x177
    ECC_Parameters = 0x178
    GetCapability = 0x17A
    GetRandom = 0x17B
    Hash = 0x17D
    PCR_Read = 0x17E
    PolicyPCR = 0x17F
    PolicyRestart = 0x180
    HashSequenceStart = 0x186
    PolicyGetDigest = 0x189


def response(rc: int) -> bytes:
    """A response that says `rc` and nothing else."""
    return struct.pack(">HII", NO_SESSIONS, 10, rc)


def exchange(path: Path, command: bytes) -> bytes:
    """One command to the TPM whose data socket is `path`, over a connection of its own."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT)
        wait_for(lambda: connects(connection, path), "swtpm to take a connection")
        connection.sendall(command)
        return receive(connection)


def connects(connection: socket.socket, path: Path) -> bool:
    """False: the queue of who waits for it is full."""
    try:
        connection.connect(str(path))
    except BlockingIOError:
        return False
    return True


def receive(connection: socket.socket) -> bytes:
    """One whole message, or nothing if the peer has closed."""
    message = b""
    while len(message) < 6 or len(message) < struct.unpack(">I", message[2:6])[0]:
        part = connection.recv(4096)
        if not part:
            return b""
        message += part
    return message


def states_of(pid: int) -> set[str]:
    """Of a program's threads, as proc(5) has them: S, asleep; T, stopped; Z, at their end."""
    return {path.read_text().rpartition(")")[2].split()[0]
            for path in Path(f"/proc/{pid}/task").glob("*/stat")}


def wait_for(condition, what: str, seconds: float = TIMEOUT):
    """Waits until `condition()` is true and returns its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.01)
    return value


def slow(seconds: float):
    """An answer for Proxy.hook that comes late, and is the TPM's."""

    def answer(_command, ask):
        made = ask()
        time.sleep(seconds)
        return made

    return answer


class Swtpm:
    """A software TPM of our own in `directory`, on the UNIX socket `path`."""

    def __init__(self, directory: Path):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.path = directory / "s"
        self.process = None
        self.start()
        self.lockout_count = self.property(0x20E)

    def start(self):
        self.process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.directory}",
             "--server", f"type=unixio,path={self.path}",
             "--ctrl", f"type=unixio,path={self.path}.ctrl",
             "--flags", "startup-clear", "--seccomp", "action=none"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.answers, "swtpm")

    def stop(self):
        def ended() -> bool:
            """swtpm 0.10 forgets a SIGTERM that comes while it takes a message, and runs on."""
            self.process.terminate()
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                return False
            return True

        wait_for(ended, "swtpm to end")
        for name in (self.path, Path(f"{self.path}.ctrl")):
            name.unlink(missing_ok=True)

    def answers(self) -> bool:
        assert self.process.poll() is None, "swtpm ended"
        try:
            self.handles(0x80000000)
        except (ConnectionError, FileNotFoundError):
            return False
        return True

    @property
    def tcti(self) -> str:
        return f"swtpm:path={self.path}"

    def capability(self, capability: int, first: int, count: int) -> bytes:
        """TPM2_GetCapability: what follows the capability's own number."""
        command = struct.pack(">HIIIII", NO_SESSIONS, 22, Command.GetCapability, capability, first,
                              count)
        answer = exchange(self.path, command)
        assert answer[6:10] == bytes(4), f"TPM2_GetCapability: {answer.hex()}"
        return answer[15:]

    def handles(self, first: int) -> list[int]:
        """
        The handles of the kind that `first` begins. Loaded sessions are asked for as 0x02, and
        among them a policy session's handle begins with 0x03.
        """
        found = self.capability(1, first, 64)
        handles = struct.unpack_from(f">{struct.unpack_from('>I', found)[0]}I", found, 4)
        kinds = (2, 3) if first >> 24 in (2, 3) else (first >> 24,)
        return [handle for handle in handles if handle >> 24 in kinds]

    def property(self, number: int) -> int:
        found = self.capability(6, number, 1)
        count, key, value = struct.unpack_from(">III", found)
        assert (count, key) == (1, number)
        return value

    def persistent(self) -> list[int]:
        return self.handles(0x81000000)

    def left_behind(self) -> list[str]:
        """What a well-behaved program does not leave: objects, sessions, lockout counts."""
        kinds = {"transient object": 0x80000000, "loaded session": 0x02000000,
                 "saved session": 0x03000000}
        left = [f"{kind} {handle:#x}" for kind, first in kinds.items()
                for handle in self.handles(first)]
        if (count := self.property(0x20E)) > self.lockout_count:
            left.append(f"lockout count {count}")
        return left

    def flush(self):
        """Throws out what a killed program could not: for tests that kill."""
        for handle in self.handles(0x80000000):
            exchange(self.path, struct.pack(">HIII", NO_SESSIONS, 14, Command.FlushContext, handle))

    def tool(self, *arguments, status: int | None = 0) -> subprocess.CompletedProcess:
        """A command of tpm2-tools on this TPM."""
        done = subprocess.run([str(argument) for argument in arguments], cwd=self.directory,
                              env=os.environ | {"TPM2TOOLS_TCTI": self.tcti}, timeout=TIMEOUT,
                              capture_output=True, text=True, check=False)
        report = f"{arguments}: {done.stdout}{done.stderr}"
        assert status is None or done.returncode == status, report
        return done

    def as_told(self, text: str, file: Path) -> subprocess.CompletedProcess:
        """The command of tpm2-tools at the end of a message, with a file where it says FILE."""
        (command,) = re.findall(r": (tpm2_\w+ [^:\n]*(?:file:FILE)?)$", text.strip())
        return self.tool(*command.replace("FILE", str(file)).split())


class Proxy:
    """
    Stands in front of a TPM on a UNIX socket of its own, writes down each command's code and all messages, and lets
    a test answer in the TPM's place: a hook is called with the command and with the function that
    asks the TPM.
    """

    def __init__(self, directory: Path, tpm: Swtpm):
        directory.mkdir()
        self.path = directory / "s"
        Path(f"{self.path}.ctrl").symlink_to(f"{tpm.path}.ctrl")
        self.tpm = tpm
        self.codes = []
        self.messages = []
        self._hooks = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def tcti(self) -> str:
        return f"swtpm:path={self.path}"

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(TIMEOUT)
        self._listener.close()

    def hook(self, code: Command | None, answer, nth: int | None = None):
        """
        `answer(command, ask)` is the response to the nth such command from now, or to each. None:
        each command that has no hook of its own.
        """
        self._hooks[code] = [answer, nth]

    def refuse(self, code: Command, rc: int, nth: int | None = None):
        self.hook(code, lambda _command, _ask: response(rc), nth)

    def heal(self):
        """No more answers in the TPM's place."""
        self._hooks.clear()

    def count(self, code: Command) -> int:
        return self.codes.count(code)

    def refusals(self) -> list[tuple[int, int]]:
        """What was refused so far: the command and the response code."""
        found = []
        for command, answer in zip(self.messages[::2], self.messages[1::2]):
            code, rc = (struct.unpack_from(">I", each, 6)[0] for each in (command, answer))
            if rc:
                found.append((Command(code) if code in set(Command) else code, rc))
        return found

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket):
        with connection, contextlib.suppress(ConnectionError):  # who asks may end at any time
            while command := receive(connection):
                self.messages.append(command)
                if not (answer := self._answer(command)):
                    return
                self.messages.append(answer)
                connection.sendall(answer)

    def _answer(self, command: bytes) -> bytes | None:
        code = struct.unpack_from(">I", command, 6)[0]
        self.codes.append(Command(code) if code in set(Command) else code)

        def ask(forwarded: bytes = command) -> bytes:
            return exchange(self.tpm.path, forwarded)

        hook = self._hooks.get(code, self._hooks.get(None))
        if hook is None:
            return ask()
        answer, nth = hook
        if nth is not None:
            hook[1] = nth - 1
            if nth != 1:
                return ask()
        return answer(command, ask)


class Broker:
    """tpm2-abrmd on a private bus, a session's, which is its user's alone, or of a configuration."""

    def __init__(self, tpm, configuration: Path | None = None):
        self.tpm = tpm
        kind = f"--config-file={configuration}" if configuration else "--session"
        self.bus = subprocess.Popen(["dbus-daemon", kind, "--nofork", "--print-address=1"],
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.env = {"DBUS_SESSION_BUS_ADDRESS": self.bus.stdout.readline().strip()}
        try:
            self.start()
        except OSError:
            self._end_bus()
            raise

    def start(self):
        self.process = subprocess.Popen(
            ["tpm2-abrmd", "--session", "--allow-root", f"--tcti={self.tpm.tcti}"],
            env=os.environ | self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.is_there, "tpm2-abrmd")

    def is_there(self) -> bool:
        done = subprocess.run(
            ["dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus",
             "/org/freedesktop/DBus", "org.freedesktop.DBus.NameHasOwner",
             "string:com.intel.tss2.Tabrmd"], env=os.environ | self.env, check=False,
            capture_output=True, text=True)
        return "boolean true" in done.stdout

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def end(self):
        self.stop()
        self._end_bus()

    def _end_bus(self):
        self.bus.terminate()
        self.bus.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
