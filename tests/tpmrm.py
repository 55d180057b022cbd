# SPDX-License-Identifier: Apache-2.0
"""
A stand-in for the kernel's /dev/tpmrm0 in front of a software TPM: a file of a FUSE file system of
one file. As in the kernel's resource manager (drivers/char/tpm/tpm2-space.c) each open file has a
space of handles of its own, which no other sees, whose objects and sessions are in the TPM only
while one of its commands is executed, and which ends with the file's last descriptor.

It speaks FUSE's protocol itself (linux/fuse.h), because poll() is part of the device's behaviour
and the libraries leave it out. Only fusermount3, of Debian's package fuse3, is asked, to mount.

What differs: fstat says a regular file of size 0; while a command is executed, poll() times out,
where Linux 6.1 blocks in it until the command is done (`poll_blocks`); and a command written
without blocking is begun at once, where the kernel's may wait for its turn (`begins_after`).
"""

import array
import contextlib
import dataclasses
import errno
import os
import select
import socket
import stat
import struct
import subprocess
import threading
from pathlib import Path

from tpm import NO_SESSIONS, TIMEOUT, Command, Swtpm, exchange, response, wait_for

NAME = "tpmrm0"
SLOTS = 3
TRANSIENT, FIRST_VIRTUAL = 0x80000000, 0x80FFFFFF
HMAC_SESSION, POLICY_SESSION = 0x02, 0x03
RC_COMMAND_CODE, RC_REFERENCE_H0 = 0x143, 0x910
RC_FORMAT_ONE, RC_HANDLE, RC_INTEGRITY = 0x80, 0x8B, 0x9F
RESOURCE_MANAGER = 11 << 16  # the layer in a return code
MAX_COMMAND = 4096
DIRECTORY = 1  # FUSE's number of the root; the file's are above it
FILE_FLAGS = 1 | 4 | 16  # FOPEN_DIRECT_IO, FOPEN_NONSEEKABLE, FOPEN_STREAM
READABLE, WRITABLE = select.POLLIN | select.POLLRDNORM, select.POLLOUT | select.POLLWRNORM
NOTIFY_POLL = 1


class CannotMount(Exception):
    """There is no FUSE here, or no leave to use it."""


def code_of(message: bytes) -> int:
    """A command's code, or a response's."""
    return struct.unpack_from(">I", message, 6)[0]


def kind_of(handle: int) -> int:
    return handle >> 24


def command(code: int, parameters: bytes) -> bytes:
    return struct.pack(">HII", NO_SESSIONS, 10 + len(parameters), code) + parameters


@dataclasses.dataclass
class Space:
    """What one open file has: its handles in the TPM, each saved or None, and its response."""

    pid: int
    objects: list = dataclasses.field(default_factory=lambda: [None] * SLOTS)
    sessions: dict = dataclasses.field(default_factory=dict)
    gone: bool = False  # its file was closed, or its device removed
    queued: bool = False  # a command waits to be executed
    busy: bool = False  # a command is being executed
    response: bytes | OSError | None = None
    was_read: bool = False  # a part of the response was
    pollers: set = dataclasses.field(default_factory=set)
    readers: list = dataclasses.field(default_factory=list)
    blocked: list = dataclasses.field(default_factory=list)  # who is in poll()

    @property
    def handles(self) -> list[int]:
        """The virtual handles of its objects, and its sessions'."""
        return [FIRST_VIRTUAL - slot for slot, saved in enumerate(self.objects)
                if saved is not None] + list(self.sessions)


class Manager:
    """The resource manager: carries out commands of spaces, one at a time."""

    def __init__(self, tpm: Swtpm):
        self.tpm = tpm
        self._lock = threading.Lock()
        self._attributes = {}

    def _ask(self, message: bytes) -> bytes:
        try:
            answer = exchange(self.tpm.path, message)
        except (ConnectionError, FileNotFoundError) as error:
            raise OSError(errno.EIO, "the TPM is gone") from error
        if not answer:
            raise OSError(errno.EIO, "the TPM gives no response")
        return answer

    def _handles_of(self, code: int) -> tuple[int, bool] | None:
        """How many handles a command begins with, and whether its response begins with one."""
        if not self._attributes:
            found = self._ask(command(Command.GetCapability, struct.pack(">III", 2, 0x11F, 512)))
            for attributes in struct.unpack_from(
                    f">{struct.unpack_from('>I', found, 15)[0]}I", found, 19):
                self._attributes[attributes & 0xFFFF] = (
                    attributes >> 25 & 7, bool(attributes >> 28 & 1))
            for each in (Command.ContextSave, Command.FlushContext):  # there it is a parameter
                self._attributes[each] = (1, False)
        return self._attributes.get(code)

    def _load(self, context: bytes) -> int | None:
        """The handle of what was saved; None: the TPM knows it no more."""
        answer = self._ask(command(Command.ContextLoad, context))
        if (rc := code_of(answer)) == 0:
            return struct.unpack_from(">I", answer, 10)[0]
        if rc & RC_FORMAT_ONE:
            rc &= 0xBF
        if rc in (RC_HANDLE, RC_REFERENCE_H0):
            return None
        raise OSError(errno.EINVAL if rc == RC_INTEGRITY else errno.EFAULT, "cannot be loaded")

    def _save(self, handle: int) -> bytes | None:
        """None: the command itself has flushed it."""
        answer = self._ask(command(Command.ContextSave, struct.pack(">I", handle)))
        if (rc := code_of(answer)) == 0:
            return answer[10:]
        if rc == RC_REFERENCE_H0:
            return None
        raise OSError(errno.EFAULT, "cannot be saved")

    def _flush(self, handle: int):
        self._ask(command(Command.FlushContext, struct.pack(">I", handle)))

    def carry_out(self, space: Space, message: bytes) -> bytes:
        """What the kernel does with a command. An OSError is its failure."""
        with self._lock:
            if space.gone:  # while it waited; what it would make nobody would take away
                raise OSError(errno.EIO, "its file was closed, or its device removed")
            loaded, sessions = [None] * SLOTS, set()
            try:
                if (handles := self._handles_of(code_of(message))) is None:
                    return response(RC_COMMAND_CODE | RESOURCE_MANAGER)
                self._load_space(space, loaded, sessions)
                answer = self._ask(self._map_command(message, handles[0], loaded))
                if code_of(answer) == 0:
                    answer = self._map_response(code_of(message), answer, handles[1], loaded,
                                                sessions)
                self._save_space(space, loaded, sessions)
            except OSError:
                self._drop(loaded, sessions)
                raise
            return answer

    def _load_space(self, space: Space, loaded: list, sessions: set):
        for slot, saved in enumerate(space.objects):
            if saved is not None:
                loaded[slot] = self._load(saved)
                if loaded[slot] is None:
                    raise OSError(errno.ENOENT, "a saved object is lost")
        sessions.update(handle for handle, saved in space.sessions.items()
                        if self._load(saved) is not None)

    def _map_command(self, message: bytes, count: int, loaded: list) -> bytes:
        if len(message) < 10 + 4 * count:
            raise OSError(errno.EINVAL, "a command without its handles")
        handles = list(struct.unpack_from(f">{count}I", message, 10))
        for index, handle in enumerate(handles):
            if kind_of(handle) == kind_of(TRANSIENT):
                slot = FIRST_VIRTUAL - handle
                if slot >= SLOTS or loaded[slot] is None:
                    raise OSError(errno.EINVAL, "a handle of another space")
                handles[index] = loaded[slot]
        return message[:10] + struct.pack(f">{count}I", *handles) + message[10 + 4 * count:]

    def _map_response(self, code: int, answer: bytes, begins_with_handle: bool, loaded: list,
                      sessions: set) -> bytes:
        if begins_with_handle:
            (handle,) = struct.unpack_from(">I", answer, 10)
            if kind_of(handle) == kind_of(TRANSIENT):
                if None not in loaded:
                    self._flush(handle)
                    raise OSError(errno.ENOMEM, "out of slots")
                slot = loaded.index(None)
                loaded[slot] = handle
                return answer[:10] + struct.pack(">I", FIRST_VIRTUAL - slot) + answer[14:]
            if kind_of(handle) in (HMAC_SESSION, POLICY_SESSION):
                if len(sessions) == SLOTS:
                    self._flush(handle)
                    raise OSError(errno.ENOMEM, "out of slots")
                sessions.add(handle)
        if code == Command.GetCapability and answer[11:15] == struct.pack(">I", 1):
            return self._map_list(answer, loaded)
        return answer

    @staticmethod
    def _map_list(answer: bytes, loaded: list) -> bytes:
        """A list of handles: of the transient ones, the space's own alone."""
        handles = struct.unpack_from(f">{struct.unpack_from('>I', answer, 15)[0]}I", answer, 19)
        mapped = [FIRST_VIRTUAL - loaded.index(handle)
                  if kind_of(handle) == kind_of(TRANSIENT) else handle
                  for handle in handles if kind_of(handle) != kind_of(TRANSIENT)
                  or handle in loaded]
        body = answer[10:15] + struct.pack(f">I{len(mapped)}I", len(mapped), *mapped)
        return answer[:2] + struct.pack(">I", 10 + len(body)) + answer[6:10] + body

    def _save_space(self, space: Space, loaded: list, sessions: set):
        """What the command itself has flushed is out of the space."""
        objects = [None if handle is None else self._save(handle) for handle in loaded]
        for slot, handle in enumerate(loaded):
            if objects[slot] is not None:
                self._flush(handle)
        kept = {handle: saved for handle in sessions
                if (saved := self._save(handle)) is not None}
        space.objects, space.sessions = objects, kept

    def _drop(self, loaded: list, sessions):
        with contextlib.suppress(OSError):
            for handle in (*loaded, *sessions):
                if handle is not None:
                    self._flush(handle)

    def end(self, space: Space):
        with self._lock:
            space.gone = True
            self._drop([], space.sessions)
            space.objects, space.sessions = [None] * SLOTS, {}


class Fuse:
    """A mount of our own at `directory`: requests are read here and answered by whoever can."""

    def __init__(self, directory: Path):
        self.directory = directory
        # Kept open: when it closes, however this process ended, fusermount3 unmounts and ends.
        self._keeper, given = socket.socketpair()
        options = "default_permissions,auto_unmount,fsname=tpmrm"
        if os.geteuid() == 0:
            options += ",allow_other"
        with given:
            try:
                self._process = subprocess.Popen(
                    ["fusermount3", "-o", options, "--", str(directory)],
                    env=os.environ | {"_FUSE_COMMFD": str(given.fileno())},
                    pass_fds=[given.fileno()], stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            except FileNotFoundError as error:
                raise CannotMount("fusermount3 is not installed") from error
        self._descriptor = self._take_descriptor()
        if self._descriptor is None:
            self._keeper.close()
            self._process.wait(TIMEOUT)
            raise CannotMount("no FUSE file system can be mounted here")
        os.set_inheritable(self._descriptor, False)
        os.set_blocking(self._descriptor, False)
        self._end = os.eventfd(0)

    def _take_descriptor(self) -> int | None:
        self._keeper.settimeout(TIMEOUT)
        _, messages, _, _ = self._keeper.recvmsg(1, socket.CMSG_SPACE(4))
        for _, _, data in messages:
            return array.array("i", data[:4])[0]
        return None

    def requests(self):
        """Yields (opcode, number, node, pid, body) of each request until the end."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.register(self._end, select.POLLIN)
        while not any(ready == self._end for ready, _ in poll.poll()):
            try:
                request = os.read(self._descriptor, 1 << 17)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EINTR, errno.ENOENT):
                    continue  # ENOENT: taken back
                return
            _, opcode, number, node, _, _, pid, _ = struct.unpack_from("=IIQQIIII", request)
            yield opcode, number, node, pid, request[40:]

    def reply(self, number: int, body: bytes = b"", error: int = 0):
        """`error` is an errno; with number 0, the kind of a notification."""
        with contextlib.suppress(OSError):  # who asked may be gone
            os.write(self._descriptor, struct.pack(
                "=IiQ", 16 + len(body), -error if number else error, number) + body)

    def unmount(self):
        """Ends requests() too, even where the file is still open."""
        os.eventfd_write(self._end, 1)
        subprocess.run(["fusermount3", "-u", "-z", "--", str(self.directory)], check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=TIMEOUT)

    def close(self):
        for descriptor in (self._descriptor, self._end):
            os.close(descriptor)
        self._keeper.close()
        self._process.wait(TIMEOUT)


class Tpmrm:
    """
    The device `path`, in front of `tpm`. Counts what is done with it, and fails where a test says
    so: what is asked for happens at the nth command of that code from now (None: at each).
    """

    def __init__(self, directory: Path, tpm: Swtpm):
        directory.mkdir()
        self.tpm = tpm
        self.path = directory / NAME
        self.codes = []
        self.opens = 0
        self.poll_blocks = False
        # For so many seconds poll() still says writable, write() EBUSY, and read() gives nothing.
        self.begins_after = 0
        self._faults = []
        self._mode, self._owner = stat.S_IFREG | 0o660, [os.getuid(), os.getgid()]
        self._node = DIRECTORY + 1
        self._present = True
        self._spaces = {}
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._manager = Manager(tpm)
        self._fuse = Fuse(directory)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        # A child of ours, not yet another program, closes its copies while all threads of ours
        # wait: no close may ask us anything. The first one, here, learns that there is no FLUSH.
        with Opened(self.path):
            pass
        wait_for(lambda: not self._spaces, "the first descriptor to end")
        self.opens = 0

    @property
    def tcti(self) -> str:
        return f"device:{self.path}"

    def spaces(self) -> list[Space]:
        """The spaces of the files that are open now."""
        with self._lock:
            return [dataclasses.replace(space) for space in self._spaces.values()]

    def left_behind(self) -> list[str]:
        return self.tpm.left_behind()

    def count(self, code: Command) -> int:
        return self.codes.count(code)

    def hook(self, code: Command | None, answer, nth: int | None = None):
        """`answer(command, ask)` is the response; None: to any command. If it raises OSError, the driver fails so."""
        self._faults.append([code, nth, answer, None])

    def refuse(self, code: Command, rc: int, nth: int | None = None):
        self.hook(code, lambda _command, _ask: response(rc), nth)

    def delay(self, code: Command, seconds: float, nth: int | None = None):
        """The response comes that much later."""
        def answer(message, ask):
            found = ask(message)
            self._stopping.wait(seconds)
            return found
        self.hook(code, answer, nth)

    def fail_write(self, code: Command, error: int, nth: int | None = None):
        """The command is not taken: write() fails with that errno."""
        self._faults.append([code, nth, None, error])

    def fail_read(self, code: Command, error: int, nth: int | None = None):
        """The command is executed, but read() fails with that errno."""
        def answer(message, ask):
            ask(message)
            raise FailedRead(error, os.strerror(error))
        self.hook(code, answer, nth)

    def heal(self):
        """No more faults."""
        self._faults.clear()

    def remove(self):
        """The device disappears, and what has it open fails from now on."""
        with self._lock:
            self._present = False
            for space in self._spaces.values():
                space.gone = True
                self._manager.end(space)

    def restore(self):
        """It is there again, another than before."""
        with self._lock:
            self._present = True
            self._node += 1

    def stop(self):
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._fuse.unmount()
        self._thread.join(TIMEOUT)
        with self._lock:
            for space in self._spaces.values():
                self._manager.end(space)
            self._spaces.clear()
        self._fuse.close()

    def _serve(self):
        operations = {1: self._lookup, 3: self._getattr, 4: self._setattr, 14: self._open,
                      15: self._read, 16: self._write, 18: self._release, 26: self._init,
                      36: self._interrupt, 40: self._poll}
        for opcode, number, node, pid, body in self._fuse.requests():
            if opcode in (2, 42):  # FORGET, BATCH_FORGET: take no answer
                continue
            operation = operations.get(opcode, self._refuse)
            try:
                with self._lock:
                    operation(number, node, pid, body)
            except OSError as error:
                self._fuse.reply(number, error=error.errno)

    def _refuse(self, number, _node, _pid, _body):
        self._fuse.reply(number, error=errno.ENOSYS)

    def _init(self, number, _node, _pid, _body):
        self._fuse.reply(number, struct.pack("=IIIIHHIIHHI28x", 7, 31, 0, 0, 12, 9, 1 << 16, 1, 0,
                                             0, 0))

    def _attributes(self, node: int) -> bytes:
        mode = stat.S_IFDIR | 0o755 if node == DIRECTORY else self._mode
        return struct.pack("=QQQQQQIIIIIIIIII", node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1,
                           *self._owner, 0, 4096, 0)

    def _lookup(self, number, _node, _pid, body):
        if not self._present or body.rstrip(b"\0") != NAME.encode():
            raise OSError(errno.ENOENT, "no such device")
        self._fuse.reply(number, struct.pack("=QQQQII", self._node, 0, 0, 0, 0, 0) +
                         self._attributes(self._node))

    def _getattr(self, number, node, _pid, _body):
        self._fuse.reply(number, struct.pack("=QII", 0, 0, 0) + self._attributes(node))

    def _setattr(self, number, node, _pid, body):
        """chmod and chown of the file."""
        valid, mode, uid, gid = struct.unpack_from("=I64xI4xII", body)
        if node == DIRECTORY:
            raise OSError(errno.EPERM, "not the directory's")
        if valid & 1:
            self._mode = mode
        if valid & 2:
            self._owner[0] = uid
        if valid & 4:
            self._owner[1] = gid
        self._getattr(number, node, None, None)

    def _open(self, number, _node, pid, _body):
        if not self._present:
            raise OSError(errno.ENODEV, "no such device")
        self.opens += 1
        self._spaces[self.opens] = Space(pid)
        self._fuse.reply(number, struct.pack("=QII", self.opens, FILE_FLAGS, 0))

    def _release(self, number, _node, _pid, body):
        """Answered when nothing of it is left in the TPM, though nobody waits for that."""
        space = self._spaces[struct.unpack_from("=Q", body)[0]]

        def end():
            self._manager.end(space)
            with self._lock:
                self._spaces = {key: other for key, other in self._spaces.items()
                                if other is not space}
            self._fuse.reply(number)
        threading.Thread(target=end, daemon=True).start()

    def _write(self, number, _node, _pid, body):
        handle, size, flags = struct.unpack_from("=Q8xI12xI", body)
        space, message = self._spaces[handle], body[40:40 + size]
        if size > MAX_COMMAND:
            raise OSError(errno.E2BIG, "too long for the driver")
        if space.busy or space.queued or (space.response is not None and not space.was_read):
            raise OSError(errno.EBUSY, "there is a response to be read")
        if size < 10 or size < struct.unpack_from(">I", message, 2)[0]:
            raise OSError(errno.EINVAL, "not a command")
        waits = not flags & os.O_NONBLOCK
        if space.gone and waits:
            raise OSError(errno.EPIPE, "no such device")
        code = code_of(message)
        self.codes.append(Command(code) if code in set(Command) else code)
        answer, error = self._fault(code)
        if error is not None:
            raise OSError(error, os.strerror(error))
        space.queued = not waits and self.begins_after > 0
        space.busy, space.response, space.was_read = not space.queued, None, False
        taken = struct.pack("=I4x", size)
        if not waits:
            self._fuse.reply(number, taken)

        def execute():
            if space.queued:
                self._stopping.wait(self.begins_after)
                with self._lock:
                    space.queued, space.busy = False, True
            found = self._execute(space, message, answer)
            failed = isinstance(found, OSError) and not isinstance(found, FailedRead)
            with self._lock:
                space.busy = False
                space.response = None if failed and waits else found
                if waits and failed:
                    self._fuse.reply(number, error=found.errno)
                elif waits:
                    self._fuse.reply(number, taken)
                self._wake(space)
        threading.Thread(target=execute, daemon=True).start()

    def _fault(self, code: int) -> tuple:
        for fault in list(self._faults):
            if fault[0] in (code, None):
                if fault[1] is not None:
                    fault[1] -= 1
                    if fault[1] > 0:
                        continue
                    self._faults.remove(fault)
                return fault[2], fault[3]
        return None, None

    def _execute(self, space: Space, message: bytes, answer) -> bytes | OSError:
        def ask(forwarded: bytes = message) -> bytes:
            if space.gone:
                raise OSError(errno.EIO, "the device was removed")
            return self._manager.carry_out(space, forwarded)

        try:
            return answer(message, ask) if answer else ask()
        except OSError as error:
            return error

    def _wake(self, space: Space):
        for kernel_handle in space.pollers:
            self._fuse.reply(0, struct.pack("=Q", kernel_handle), NOTIFY_POLL)
        space.pollers.clear()
        for number in space.blocked:
            self._fuse.reply(number, struct.pack("=I4x", self._readiness(space)))
        space.blocked.clear()
        readers, space.readers = space.readers, []
        for number, size in readers:
            self._give(space, number, size)

    def _give(self, space: Space, number: int, size: int):
        """What read() does: the response, in parts if asked so, or nothing."""
        found = space.response
        space.was_read = True
        if isinstance(found, OSError):
            space.response = None
            self._fuse.reply(number, error=found.errno)
            return
        found = found or b""
        space.response = found[size:] or None
        self._fuse.reply(number, found[:size])

    def _read(self, number, _node, _pid, body):
        handle, size = struct.unpack_from("=Q8xI", body)
        space = self._spaces[handle]
        if space.busy:
            space.readers.append((number, size))
        else:
            self._give(space, number, size)

    def _interrupt(self, _number, _node, _pid, body):
        """Who waits in read() or poll() was killed."""
        (number,) = struct.unpack_from("=Q", body)
        for space in self._spaces.values():
            if number in space.blocked:
                space.blocked.remove(number)
                self._fuse.reply(number, error=errno.EINTR)
            if any(number == waiting for waiting, _ in space.readers):
                space.readers = [reader for reader in space.readers if reader[0] != number]
                self._fuse.reply(number, error=errno.EINTR)

    def _poll(self, number, _node, _pid, body):
        handle, kernel_handle, flags = struct.unpack_from("=QQI", body)
        space = self._spaces[handle]
        if flags & 1:  # FUSE_POLL_SCHEDULE_NOTIFY
            space.pollers.add(kernel_handle)
        if space.busy and self.poll_blocks:
            space.blocked.append(number)
        else:
            self._fuse.reply(number, struct.pack("=I4x", self._readiness(space)))

    @staticmethod
    def _readiness(space: Space) -> int:
        if space.response is not None:
            return READABLE
        return 0 if space.busy else WRITABLE


class Opened:
    """A descriptor of the device, or of any of its kind."""

    def __init__(self, path: Path, flags: int = 0):
        self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.descriptor)

    def write(self, message: bytes):
        assert os.write(self.descriptor, message) == len(message)

    def read(self, size: int = MAX_COMMAND) -> bytes:
        return os.read(self.descriptor, size)

    def ask(self, code: int, parameters: bytes = b"") -> bytes:
        """What a response says, after its header."""
        answer = self.ask_any(code, parameters)
        assert code_of(answer) == 0, answer.hex()
        return answer[10:]

    def ask_any(self, code: int, parameters: bytes = b"") -> bytes:
        self.write(command(code, parameters))
        return self.read()

    def poll(self, seconds: float) -> int:
        """What poll() reports within that time."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN | select.POLLOUT)
        return sum(events for _, events in poll.poll(int(seconds * 1000)))

    def handles(self, first: int) -> list[int]:
        """The handles of the kind that `first` begins."""
        found = self.ask(Command.GetCapability, struct.pack(">III", 1, first, 64))
        handles = struct.unpack_from(f">{struct.unpack_from('>I', found, 5)[0]}I", found, 9)
        return [handle for handle in handles if kind_of(handle) == kind_of(first)]


class Device:
    """A resource manager of a kernel: /dev/tpmrm0, beside which is /dev/tpm0."""

    def __init__(self, path: Path):
        self.path = path

    @property
    def tcti(self) -> str:
        return f"device:{self.path}"

    def left_behind(self) -> list[str]:
        """What is in the TPM itself, where the resource manager leaves nothing."""
        with Opened(self.path.with_name(self.path.name.replace("rm", ""))) as tpm:
            return [f"{handle:#x}" for kind in (kind_of(TRANSIENT), HMAC_SESSION, POLICY_SESSION)
                    for handle in tpm.handles(kind << 24)]


class FailedRead(OSError):
    """A failure that read() tells, even where write() waits for the command."""
