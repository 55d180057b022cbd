# SPDX-License-Identifier: Apache-2.0
"""docs/tutorial.md typed as it stands, on a machine that is root's until the test ends."""

import re
import subprocess
import sys

import pytest

from conftest import ROOT
from tpm import TIMEOUT
from world import expect, session

# What is not typed here, and why not.
UNTYPED = {r"^apt ": "tests/run has installed it",
           r"^cmake ": "the build under test is installed"}
# Debian's directories as they are, in copies that end with the test, and a network of its own.
MACHINE = r"""
set -eu
mount --make-rprivate /
mount -t proc proc /proc
top=$1 build=$2 room=$3
mount -t tmpfs tmpfs "$room"
cp -a /etc "$room/etc"
mkdir -p "$room/lib" "$room/log/nginx" "$room/run" "$room/local" "$room/work"
cp -a /var/lib/nginx "$room/lib"
cmake --install "$build" --prefix "$room/local" >/dev/null
mount --bind "$room/etc" /etc
mount --bind "$room/lib" /var/lib
mount --bind "$room/log" /var/log
mount --bind "$room/run" /run
mount --bind "$room/local" /usr/local
cat >/usr/local/bin/systemctl <<'END'
#!/bin/sh
case $* in
"restart nginx")
    [ ! -s /run/nginx.pid ] || nginx -s stop
    while [ -s /run/nginx.pid ]; do sleep 0.02; done
    exec nginx ;;
daemon-reload) ;;
*) exit 2 ;;
esac
END
chmod 755 /usr/local/bin/systemctl
export HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"$4" -c "$5"
cd "$room/work"
"""
# The loopback interface, which a new network has down: SIOCSIFFLAGS, IFF_UP.
LOOPBACK_UP = ("import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, "
               "struct.pack('16sH14x', b'lo', 1))")
END = re.compile(r"^@end (\d+) (\d+)@\n", re.MULTILINE)


def typed() -> list[tuple[str, list[str]]]:
    return [(command, lines) for _, command, lines in session(
        (ROOT / "docs/tutorial.md").read_text()) if not any(
            re.search(pattern, command) for pattern in UNTYPED)]


def script(commands: list[str]) -> str:
    """
    Each command, and then its number and status. What setup asks is answered beforehand, and where
    the provider is, since the build may be one for another prefix.
    """
    lines = []
    for number, command in enumerate(commands):
        if command.startswith("lct setup"):
            command += " --yes --module \"$(find /usr/local -name lct.so)\""
        lines.append(f"{{ {command}\n}} 2>&1 </dev/null; printf '\\n@end {number} %d@\\n' $?")
    return "\n".join(lines)


@pytest.fixture(name="machine")
def fixture_machine(build, namespaces, tmp_path):  # noqa: ARG001
    """What types on it: all that it started ends with it."""
    if build.name in ("asan", "tsan"):
        pytest.skip("what is tried is the text, with programs that preload nothing")

    def type_all(commands: list[str]) -> str:
        done = subprocess.run(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "bash", "-c",
             MACHINE + "set +eu\n" + script(commands), "bash", ROOT, build, tmp_path,
             sys.executable, LOOPBACK_UP],
            capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return type_all


def test_the_tutorial_is_as_told(machine):
    steps = typed()
    assert len(steps) > 20
    output = machine([command for command, _ in steps])
    start = 0
    for number, (end, (command, lines)) in enumerate(zip(END.finditer(output), steps, strict=True)):
        printed = output[start:end.start()]
        assert (int(end[1]), int(end[2])) == (number, 0), f"{command}: {printed}"
        expect(lines, printed, command)
        start = end.end()


def test_what_is_not_typed_is_in_the_tutorial():
    commands = [command for _, command, _ in session((ROOT / "docs/tutorial.md").read_text())]
    for pattern in UNTYPED:
        assert any(re.search(pattern, command) for command in commands), pattern
