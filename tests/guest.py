# SPDX-License-Identifier: Apache-2.0
"""
What virtual machines under software emulation are made of: Debian's kernel with a small initramfs
that takes this machine's root, read-only, for its own, and a software TPM.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

# In the order in which they need each other; not every kernel has all (fscache is in netfs since
# Linux 6.8), nor every machine a use for all. The TPM's drivers are in the kernel itself.
MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
           "netfs", "fscache", "9pnet", "9pnet_virtio", "9p", "efivarfs")
SWITCHED_OFF = 60
# The second serial port is for what is run; the first is the console.
INIT = """\
#!/bin/busybox sh
exec 2>&1
/bin/busybox mkdir -p /bin /proc /host
/bin/busybox --install -s /bin
mount -t proc proc /proc
for module in {modules}; do insmod /modules/$module.ko; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro host /host
mount -t devtmpfs dev /host/dev
mount -t proc proc /host/proc
mount -t sysfs sys /host/sys
mount -t securityfs security /host/sys/kernel/security
mount -t tmpfs -o mode=755 run /host/run
mkdir -m 1777 /host/run/tmp
ifconfig lo up
export HOME=/run/tmp TMPDIR=/run/tmp LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
cp /main /host/run/main
{main}
poweroff -f
"""


def die(message: str) -> NoReturn:
    print(f"tests/run: {message}", file=sys.stderr)
    sys.exit(2)


def output_of(*arguments, **options) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        die(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def unpacked(package: str, place: Path) -> Iterator[tuple[Path, Path]]:
    """
    The files of a package that is not installed, and a directory that becomes `place` when the
    block has ended well.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as work:
        output_of("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package, cwd=work)
        (archive,) = Path(work).glob("*.deb")
        files, new = Path(work) / "files", Path(work) / "new"
        output_of("dpkg", "-x", str(archive), str(files))
        new.mkdir()
        yield files, new
        new.rename(place)


def place_of(package: str) -> Path:
    """Where what is fetched of the newest version of a package is kept."""
    if output_of("dpkg", "--print-architecture").strip() != "amd64":
        die("the virtual machine is an amd64, and needs such programs")
    about = output_of("apt-cache", "show", "--no-all-versions", package)
    found = re.search(r"^Version: (\S+)", about, re.MULTILINE)
    if not found:
        die(f"apt knows of no {package}: apt-get update")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "lct" / f"{package}_{found[1]}"


def fetched(package: str, *names: str) -> Path:
    """A directory with those files of a package that is not installed, fetched once."""
    place = place_of(package)
    if not place.exists():
        with unpacked(package, place) as (files, new):
            for name in names:
                (files / name).rename(new / Path(name).name)
    return place


def kernel() -> Path:
    """A directory with the kernel of this release and its modules, fetched once."""
    found = re.search(r"Depends: (linux-image-\S+)",
                      output_of("apt-cache", "depends", "linux-image-amd64"))
    if not found:
        die("apt knows of no kernel: apt-get update")
    place = place_of(found[1])
    if not place.exists():
        with unpacked(found[1], place) as (files, new):
            (vmlinuz,) = (files / "boot").glob("vmlinuz-*")
            vmlinuz.rename(new / "vmlinuz")
            for name in MODULES:
                for module in files.glob(f"**/kernel/**/{name}.ko*"):
                    module.rename(new / module.name)
    return place


def module_bytes(path: Path) -> bytes:
    if path.suffix == ".xz":
        return subprocess.run(["xz", "-dc", path], capture_output=True, check=True).stdout
    return path.read_bytes()


def make_initramfs(work: Path, kernel_place: Path, init: str, main: str) -> Path:
    """
    What the machine starts with: busybox, the modules, the lines `init` of its first process,
    where this machine's root is /host, and a file that is /run/main there.
    """
    top = work / "initramfs"
    (top / "modules").mkdir(parents=True)
    (top / "bin").mkdir()
    (top / "bin" / "busybox").write_bytes(Path("/bin/busybox").read_bytes())
    modules = {name: path for name in MODULES for path in kernel_place.glob(f"{name}.ko*")}
    for name, path in modules.items():
        (top / "modules" / f"{name}.ko").write_bytes(module_bytes(path))
    (top / "init").write_text(INIT.format(modules=" ".join(modules), main=init.strip()))
    (top / "main").write_text(main)
    for name in ("init", "bin/busybox"):
        (top / name).chmod(0o755)
    names = "\n".join(str(path.relative_to(top)) for path in sorted(top.rglob("*")))
    made = subprocess.run(["cpio", "--create", "--format=newc", "--quiet"], cwd=top, check=True,
                          input=names.encode(), capture_output=True).stdout
    (work / "initrd").write_bytes(made)
    return work / "initrd"


@contextlib.contextmanager
def running(*arguments, **options) -> Iterator[subprocess.Popen]:
    """A process that ends with the block, or with us, however we end."""
    process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *map(str, arguments)],
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


@contextlib.contextmanager
def software_tpm(state: Path) -> Iterator[Path]:
    """A TPM for a machine: its control socket. The same TPM wherever `state` is the same."""
    state.mkdir(exist_ok=True)
    control = state.with_suffix(".ctrl")
    control.unlink(missing_ok=True)
    with running("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}",
                 "--ctrl", f"type=unixio,path={control}", "--seccomp", "action=none"):
        end = time.monotonic() + 30
        while not control.exists():
            if time.monotonic() > end:
                die("swtpm does not start")
            time.sleep(0.01)
        yield control


def qemu(console: Path, tpm: Path) -> list:
    """
    A machine with a console in a file, that TPM, and this machine's root. The second serial port
    is to be added, and what it boots.
    """
    return ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "1024", "-nodefaults",
            "-no-user-config", "-display", "none", "-nic", "none", "-serial", f"file:{console}",
            "-chardev", f"socket,id=tpm,path={tpm}",
            "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0",
            "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,"
            "multidevs=remap"]
