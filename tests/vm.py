# SPDX-License-Identifier: Apache-2.0
"""
Runs tests on a kernel that has a TPM: a virtual machine under software emulation, whose root is
this machine's, read-only, and whose TPM is a software one. tests/run --vm calls it, with pytest's
arguments; its own are before them.
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
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 30 * 60
DEVICE = "/dev/tpmrm0"
# What a kernel's device makes a difference to. The rest is skipped with --device.
SELECTED = ("tests/test_device.py", "tests/test_faults.py",
            *(f"tests/test_processes.py::{name}" for name in (
                "test_behind_a_resource_manager_children_sign_at_any_moment",
                "test_in_a_jail_a_process_and_its_children_go_on_with_what_was_opened_before")))
# In the order in which they need each other; not every kernel has all (fscache is in netfs since
# Linux 6.8). The TPM's drivers are in the kernel itself.
MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
           "netfs", "fscache", "9pnet", "9pnet_virtio", "9p")
ENDED = b"the tests have ended: "
INIT = """\
#!/bin/busybox sh
exec 2>&1
/bin/busybox mkdir -p /bin /proc /host
/bin/busybox --install -s /bin
mount -t proc proc /proc
for module in {modules}; do insmod /modules/$module.ko || echo "no module $module"; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro host /host
mount -t devtmpfs dev /host/dev
mount -t proc proc /host/proc
mount -t sysfs sys /host/sys
mount -t securityfs security /host/sys/kernel/security
mount -t tmpfs -o mode=755 run /host/run
mkdir -m 1777 /host/run/tmp
ifconfig lo up
cp /tests /host/run/tests
stty -F /host/dev/ttyS1 -opost
chroot /host /bin/sh /run/tests </host/dev/null >/host/dev/ttyS1 2>&1
echo "{ended}$?" >/host/dev/ttyS1
poweroff -f
"""
TESTS = """\
export HOME=/run/tmp TMPDIR=/run/tmp LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
cd {root} && exec {command}
"""


def die(message: str) -> NoReturn:
    print(f"tests/run: {message}", file=sys.stderr)
    sys.exit(2)


def output_of(*arguments, **options) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        die(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def kernel() -> Path:
    """A directory with the kernel of this release and its modules, fetched once."""
    if output_of("dpkg", "--print-architecture").strip() != "amd64":
        die("the virtual machine is an amd64, and needs such a kernel")
    found = re.search(r"Depends: (linux-image-\S+)",
                      output_of("apt-cache", "depends", "linux-image-amd64"))
    if not found:
        die("apt knows of no kernel: apt-get update")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lct"
    place = cache / found[1]
    if not place.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as work:
            output_of("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", found[1],
                      cwd=work)
            (package,) = Path(work).glob("*.deb")
            output_of("dpkg", "-x", str(package), work)
            new = Path(work) / "new"
            new.mkdir()
            (vmlinuz,) = (Path(work) / "boot").glob("vmlinuz-*")
            vmlinuz.rename(new / "vmlinuz")
            for name in MODULES:
                for module in Path(work).glob(f"**/kernel/**/{name}.ko*"):
                    module.rename(new / module.name)
            new.rename(place)
    return place


def module_bytes(path: Path) -> bytes:
    if path.suffix == ".xz":
        return subprocess.run(["xz", "-dc", path], capture_output=True, check=True).stdout
    return path.read_bytes()


def make_initramfs(work: Path, kernel_place: Path, command: list[str]) -> Path:
    """What the machine starts with: busybox, the modules, what is to be done."""
    top = work / "initramfs"
    (top / "modules").mkdir(parents=True)
    (top / "bin").mkdir()
    (top / "bin" / "busybox").write_bytes(Path("/bin/busybox").read_bytes())
    modules = {name: path for name in MODULES for path in kernel_place.glob(f"{name}.ko*")}
    for name, path in modules.items():
        (top / "modules" / f"{name}.ko").write_bytes(module_bytes(path))
    (top / "init").write_text(INIT.format(modules=" ".join(modules), ended=ENDED.decode()))
    (top / "tests").write_text(TESTS.format(root=shlex.quote(str(ROOT)),
                                            command=shlex.join(command)))
    for name in ("init", "bin/busybox"):
        (top / name).chmod(0o755)
    names = "\n".join(str(path.relative_to(top)) for path in sorted(top.rglob("*")))
    made = subprocess.run(["cpio", "--create", "--format=newc", "--quiet"], cwd=top, check=True,
                          input=names.encode(), capture_output=True).stdout
    (work / "initrd").write_bytes(made)
    return work / "initrd"


@contextlib.contextmanager
def running(*arguments, **options):
    """A process that ends with the block."""
    process = subprocess.Popen([str(argument) for argument in arguments],
                               stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def machine(work: Path, kernel_place: Path, initrd: Path) -> list:
    return ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "1024", "-nodefaults",
            "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none",
            "-kernel", kernel_place / "vmlinuz", "-initrd", initrd,
            "-append", "console=ttyS0 panic=-1 quiet",
            "-serial", f"file:{work}/console", "-chardev", "stdio,id=out,signal=off",
            "-serial", "chardev:out",
            "-chardev", f"socket,id=tpm,path={work}/tpm.ctrl",
            "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0",
            "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,"
            "multidevs=remap"]


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


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    options, arguments = parser.parse_known_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # by way of what ends the machine
    command = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rfEs",
               f"--color={'yes' if sys.stdout.isatty() else 'no'}", f"--build={options.build}",
               f"--device={DEVICE}", *SELECTED, *arguments]
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place = kernel()
        initrd = make_initramfs(work, place, command)
        (work / "tpm").mkdir()
        stack.enter_context(running("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={work}/tpm",
                                    "--ctrl", f"type=unixio,path={work}/tpm.ctrl",
                                    "--seccomp", "action=none"))
        end = time.monotonic() + 30
        while not (work / "tpm.ctrl").exists():
            if time.monotonic() > end:
                die("swtpm does not start")
            time.sleep(0.01)
        process = stack.enter_context(running(*machine(work, place, initrd),
                                              stdout=subprocess.PIPE))
        status = relay(process)
        if status is not None:
            process.wait(30)  # it switches itself off
        else:
            print((work / "console").read_text(errors="replace")[-4000:], file=sys.stderr)
            die("the tests did not come to an end in the virtual machine")
        return status


if __name__ == "__main__":
    sys.exit(main())
