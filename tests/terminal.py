# SPDX-License-Identifier: Apache-2.0
"""A terminal for tests: what a program shows on it, and what is typed."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

TIMEOUT = 60
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """A program on a terminal of its own, so many columns wide; 0: it does not say."""

    def __init__(self, arguments, env: dict[str, str], cwd, columns: int = 0, **options):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.output = ""
        streams = {name: options.pop(name, theirs) for name in ("stdin", "stdout", "stderr")}
        self.process = subprocess.Popen(
            [str(argument) for argument in arguments], **streams, cwd=cwd, start_new_session=True,
            env={"TERM": "xterm"} | env, preexec_fn=self.take, **options)
        os.close(theirs)

    @staticmethod
    def take():
        """The terminal becomes the one that /dev/tty is."""
        for fd in range(3):
            with contextlib.suppress(OSError):
                fcntl.ioctl(fd, termios.TIOCSCTTY, 0)

    def read(self) -> bool:
        """Some more; False: there is none to come."""
        ready, _, _ = select.select([self.ours], [], [], TIMEOUT)
        assert ready, f"nothing more after {self.output!r}"
        try:
            part = os.read(self.ours, 65536)
        except OSError:  # Linux: nobody has the other end open any more
            part = b""
        self.output += part.decode(errors="replace")
        return bool(part)

    def read_until(self, pattern: str) -> re.Match:
        end = time.monotonic() + TIMEOUT
        while not (match := re.search(pattern, self.output)):
            assert self.read() and time.monotonic() < end, f"no {pattern} in {self.output!r}"
        return match

    def type(self, text: str):
        os.write(self.ours, text.encode())

    def end(self) -> int:
        """Its exit status, once all that it shows is read."""
        while self.read():
            pass
        return self.process.wait(timeout=TIMEOUT)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)


def on_terminal(user, *arguments, **options) -> Terminal:
    """The command on one, of a user's."""
    env = user.environment(options.pop("env", None))
    return Terminal([user.build / "lct", *arguments], env, user.directory, **options)


def shown(user, *arguments, status: int = 0, **options) -> str:
    """What a command shows that asks nothing, with lines as they are elsewhere."""
    with on_terminal(user, *arguments, **options) as terminal:
        assert terminal.end() == status, terminal.output
        return terminal.output.replace("\r\n", "\n")
