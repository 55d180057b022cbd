# SPDX-License-Identifier: Apache-2.0
"""
A machine under emulation that measures what it boots: UEFI firmware with Secure Boot, Debian's
signed shim, GRUB and kernel, and one software TPM for all its boots. It has this machine's root,
read-only, and one directory of it to write to.
"""

import base64
import contextlib
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import guest
from conftest import ROOT, User

LIMIT = 600
MEBIBYTE = 1 << 20
# Its variables with the keys of Secure Boot, which is on then, and without.
SECURE, INSECURE = "OVMF_VARS_4M.ms.fd", "OVMF_VARS_4M.fd"
CODE = "OVMF_CODE_4M.secboot.fd"
FIRMWARE = ("ovmf", *(f"usr/share/OVMF/{name}" for name in (CODE, SECURE, INSECURE)))
SHIM = ("shim-signed", "usr/lib/shim/shimx64.efi.signed")
GRUB = ("grub-efi-amd64-signed", "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed")
GRUB_CFG = """\
linux /vmlinuz console=ttyS0 panic=-1 quiet {options}
initrd /initrd
boot
"""
INIT = """\
mount -t efivarfs efivarfs /host/sys/firmware/efi/efivars
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=none share "/host{share}"
stty -F /host/dev/ttyS1 raw -echo
chroot /host /usr/bin/python3 /run/main </host/dev/ttyS1 >/host/dev/ttyS1 2>/host/dev/console
"""
# Runs each command that a line of the serial port asks for, until a line says nothing.
MAIN = """\
import base64, json, subprocess
print("ready", flush=True)
while line := input():
    asked = json.loads(line)
    done = subprocess.run(asked["arguments"], input=base64.b64decode(asked["stdin"]),
                          env=asked["env"], cwd=asked["directory"], capture_output=True)
    print(json.dumps({"status": done.returncode, "stdout": base64.b64encode(done.stdout).decode(),
                      "stderr": base64.b64encode(done.stderr).decode()}), flush=True)
"""
# What is in the TPM, and how many wrong passphrases it has counted.
LEFT_BEHIND = f"""\
import pathlib, struct, sys
sys.path.insert(0, {str(ROOT / 'tests')!r})
import tpmrm
device = tpmrm.Device(pathlib.Path("/dev/tpmrm0"))
with tpmrm.Opened(device.path) as tpm:
    property = tpm.ask(tpmrm.Command.GetCapability, struct.pack(">III", 6, 0x20E, 1))
print(device.left_behind(), int.from_bytes(property[-4:], "big"))
"""
MEASURED = range(15)  # the PCRs that firmware and boot loaders have a use for


class Booted:
    """The machine as it runs, from one boot until it is switched off."""

    def __init__(self, connection: socket.socket, console: Path):
        self.stream = connection.makefile("rw", encoding="ascii", errors="replace")
        self.console = console
        while not self.read().endswith("ready\n"):  # before that, it is the firmware that writes
            pass

    def read(self) -> str:
        try:
            line = self.stream.readline()
        except TimeoutError:
            line = ""
        assert line, f"the machine is silent: {self.console.read_text(errors='replace')[-4000:]}"
        return line

    def write(self, line: str):
        self.stream.write(f"{line}\n")
        self.stream.flush()

    def execute(self, arguments: list[str], stdin: bytes, env: dict[str, str],
                directory: Path) -> subprocess.CompletedProcess:
        """Runs a command in there, as root."""
        self.write(json.dumps({"arguments": arguments, "env": env, "directory": str(directory),
                               "stdin": base64.b64encode(stdin).decode()}))
        done = json.loads(self.read())
        return subprocess.CompletedProcess(arguments, done["status"],
                                           *map(base64.b64decode, (done["stdout"], done["stderr"])))


class Computer:
    """The machine, which keeps its TPM, its firmware's variables and its disk while it is off."""

    def __init__(self, directory: Path, share: Path):
        directory.mkdir()
        self.directory = directory
        self.share = share
        self.disk = directory / "disk"
        firmware = guest.fetched(*FIRMWARE)
        self.code = firmware / CODE
        for name in (SECURE, INSECURE):
            shutil.copyfile(firmware / name, directory / name)
        self._format()

    def _format(self):
        """A disk without partitions. Of any FAT file system firmware boots EFI/BOOT/BOOTX64.EFI."""
        kernel = guest.kernel()
        initrd = guest.make_initramfs(self.directory, kernel, INIT.format(share=self.share), MAIN)
        with self.disk.open("wb") as image:
            image.truncate(64 * MEBIBYTE)
        self._mtools("mformat", "-F")
        self._mtools("mmd", "::/EFI", "::/EFI/BOOT", "::/EFI/debian")
        for path, name in ((guest.fetched(*SHIM) / "shimx64.efi.signed", "EFI/BOOT/BOOTX64.EFI"),
                           (guest.fetched(*GRUB) / "grubx64.efi.signed", "EFI/BOOT/grubx64.efi"),
                           (kernel / "vmlinuz", "vmlinuz"), (initrd, "initrd")):
            self._mtools("mcopy", path, f"::/{name}")

    def _mtools(self, command: str, *arguments):
        guest.output_of(command, "-i", str(self.disk), *map(str, arguments))

    @contextlib.contextmanager
    def boot(self, options: str = "", secure: bool = True) -> Iterator[Booted]:
        """Boots with further options for the kernel and, or not, with Secure Boot."""
        config = self.directory / "grub.cfg"
        config.write_text(GRUB_CFG.format(options=options))
        self._mtools("mcopy", "-o", config, "::/EFI/debian/grub.cfg")
        console = self.directory / "console"
        variables = self.directory / (SECURE if secure else INSECURE)
        with contextlib.ExitStack() as stack:
            tpm = stack.enter_context(guest.software_tpm(self.directory / "tpm"))
            listener = stack.enter_context(listening(self.directory / "serial"))
            process = stack.enter_context(guest.running(
                *guest.qemu(console, tpm), *self._arguments(variables)))
            connection = stack.enter_context(listener.accept()[0])
            connection.settimeout(LIMIT)
            booted = Booted(connection, console)
            yield booted
            booted.write("")
            process.wait(guest.SWITCHED_OFF)

    def _arguments(self, variables: Path) -> list[str]:
        return ["-machine", "q35,smm=on",
                "-global", "driver=cfi.pflash01,property=secure,value=on",
                "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={self.code}",
                "-drive", f"if=pflash,unit=1,format=raw,file={variables}",
                "-drive", f"if=virtio,format=raw,file={self.disk}",
                "-chardev", f"socket,id=serial,path={self.directory}/serial",
                "-serial", "chardev:serial",
                "-virtfs", f"local,path={self.share},mount_tag=share,security_model=none"]


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(30)
        listener.bind(str(path))
        listener.listen()
        yield listener


class Owner(User):
    """
    The user of a machine of their own, whose directory is what it can write to. Commands run in
    it where it is booted, and else here.
    """

    def __init__(self, build: Path, directory: Path):
        super().__init__(build, directory / "owner", None)
        self.configure(seal=None)
        self.computer = Computer(directory / "computer", self.directory)
        self.booted = None

    @contextlib.contextmanager
    def boot(self, options: str = "", secure: bool = True) -> Iterator[None]:
        """From a boot until the machine is switched off; nothing may be left in its TPM."""
        with self.computer.boot(options, secure) as self.booted:
            try:
                yield
                assert self.run("/usr/bin/python3", "-c", LEFT_BEHIND).stdout == "[] 0\n"
            finally:
                self.booted = None

    def execute(self, arguments, stdin, env):
        if self.booted is None:
            return super().execute(arguments, stdin, env)
        return self.booted.execute(arguments, stdin, env, self.directory)

    def pcrs(self) -> dict[int, str]:
        """What the kernel says that the PCRs of SHA-256 hold which a boot is measured into."""
        values = self.run("cat", *(f"/sys/class/tpm/tpm0/pcr-sha256/{pcr}" for pcr in MEASURED))
        return dict(zip(MEASURED, values.stdout.split(), strict=True))
