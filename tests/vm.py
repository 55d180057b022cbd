# SPDX-License-Identifier: Apache-2.0
"""
Runs tests that need a virtual machine: in one, on a kernel that has a TPM, those of a device, and
then here those that boot others, test_boot.py. tests/run --vm calls it, with pytest's arguments;
its own are before them.
"""

import argparse
import contextlib
import os
import re
import selectors
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import guest

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 30 * 60
DEVICE = "/dev/tpmrm0"
# What a kernel's device makes a difference to. The rest is skipped with --device.
ON_A_DEVICE = ["tests/test_device.py", "tests/test_faults.py",
               *(f"tests/test_processes.py::{name}" for name in (
                   "test_behind_a_resource_manager_children_sign_at_any_moment",
                   "test_in_a_jail_a_process_and_its_children_go_on_with_what_was_opened_before"))]
BOOTING = ["tests/test_boot.py"]
NO_TESTS = 5  # pytest's exit status
ENDED = b"the tests have ended: "
INIT = f"""\
stty -F /host/dev/ttyS1 -opost
chroot /host /bin/sh /run/main </host/dev/null >/host/dev/ttyS1 2>&1
echo "{ENDED.decode()}$?" >/host/dev/ttyS1
"""


def relay(process: subprocess.Popen) -> int | None:
    """Copies what the tests write to our standard output. Their status, if they came to an end."""
    end = time.monotonic() + LIMIT
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0, end - time.monotonic())):
            part = os.read(process.stdout.fileno(), 4096)
            rest += part
            if found := re.search(re.escape(ENDED) + rb"(\d+)\n", rest):
                write(rest[:found.start()])
                return int(found[1])
            whole = rest.rfind(b"\n") + 1
            if ENDED.startswith(rest[whole:whole + len(ENDED)]) and part:
                write(rest[:whole])
                rest = rest[whole:]
            else:
                write(rest)
                rest = b""
            if not part:
                return None
    print(f"tests/run: the machine was stopped after {LIMIT // 60} minutes", file=sys.stderr)
    return None


def write(content: bytes):
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def pytest(*arguments: str) -> list[str]:
    return ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rfEs",
            f"--color={'yes' if sys.stdout.isatty() else 'no'}", *arguments]


def run_in_a_machine(command: list[str]) -> int:
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place = guest.kernel()
        initrd = guest.make_initramfs(work, place, INIT,
                                      f"cd {shlex.quote(str(ROOT))} && exec {shlex.join(command)}")
        tpm = stack.enter_context(guest.software_tpm(work / "tpm"))
        process = stack.enter_context(guest.running(
            *guest.qemu(work / "console", tpm), "-no-reboot",
            "-chardev", "stdio,id=out,signal=off", "-serial", "chardev:out",
            "-kernel", place / "vmlinuz", "-initrd", initrd,
            "-append", "console=ttyS0 panic=-1 quiet", stdout=subprocess.PIPE))
        status = relay(process)
        if status is not None:
            process.wait(guest.SWITCHED_OFF)
        else:
            print((work / "console").read_text(errors="replace")[-4000:], file=sys.stderr)
            guest.die("the tests did not come to an end in the virtual machine")
        return status


def is_of(selected: list[str], argument: str) -> bool:
    return argument.split("::")[0] in selected


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    options, arguments = parser.parse_known_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # by way of what ends the machine
    named = [argument for argument in arguments if argument.split("::")[0].endswith(".py")]
    booting = [argument for argument in named if is_of(BOOTING, argument)]
    on_a_device = [argument for argument in named if argument not in booting]
    others = [f"--build={options.build}",
              *(argument for argument in arguments if argument not in named)]
    statuses = []
    if on_a_device or not named:
        statuses.append(run_in_a_machine(
            pytest(f"--device={DEVICE}", *others, *(on_a_device or ON_A_DEVICE))))
    if booting or not named:
        statuses.append(subprocess.run(pytest("--boot", *others, *(booting or BOOTING)),
                                       check=False, cwd=ROOT).returncode)
    return next((status for status in statuses if status not in (0, NO_TESTS)), min(statuses))


if __name__ == "__main__":
    sys.exit(main())
