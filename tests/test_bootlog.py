# SPDX-License-Identifier: Apache-2.0
"""Whether a boot's event log explains what PCRs hold, and what a log says, for people."""

import json
import re
import struct
import subprocess

import pytest

from conftest import NOISE
from test_eventlog import (APPLICATION, BOOT, GLOBAL, IPL, NO_ACTION, SEPARATOR, TAG, VARIABLE, Log,
                           boot, digest, variable, wide)

POST_CODE, ACTION, CRTM_VERSION, DRIVER = 0x01, 0x05, 0x08, 0x80000004
EFI_ACTION, BLOB2, HANDOFF2, AUTHORITY = 0x80000007, 0x8000000A, 0x8000000B, 0x800000E0
FIRMWARE = "0,1,2,3,4,5,6,7"
TEXT = 192  # LCT_EVENT_TEXT


def values(log: Log, pcrs: str) -> dict:
    """What a TPM would quote, as `lct pcrs` writes it."""
    found = {}
    for part in pcrs.split("+"):
        bank, _, numbers = part.partition(":")
        found[bank] = {number: log.value(bank, int(number)).hex() for number in numbers.split(",")}
    return {"version": 1, "pcrs": pcrs, "values": found}


def copy_of(log: Log) -> Log:
    """Its values, to which more can be done."""
    other = Log(*log.banks)
    other.content, other.pcrs = log.content, dict(log.pcrs)
    return other


class Program:
    def __init__(self, build, directory):
        self.path = build / "tests" / "bootlog"
        self.values = directory / "values"
        if not self.path.exists():
            pytest.skip("this build has no test programs")

    def run(self, content: bytes, quoted: dict, mode: str) -> str:
        self.values.write_text(json.dumps(quoted))
        done = subprocess.run([self.path, self.values, mode], input=content, capture_output=True,
                              check=False, timeout=300)
        report = done.stderr.decode(errors="replace")
        assert done.returncode == 0 and not NOISE.search(report), report
        return done.stdout.decode("ascii")

    def judges(self, outcome: str, pattern: str, content: bytes, quoted: dict):
        text = self.run(content, quoted, "judge")
        assert text.startswith(f"{outcome} ") and re.search(pattern, text), text

    def events(self, log: Log) -> list[tuple[int, str, str]]:
        """PCR, type and text of each event."""
        text = self.run(log.content, values(log, f"{log.banks[0]}:7"), "events")
        rows = [line.split(" ", 3) for line in text.splitlines()]
        assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
        return [(int(row[1]), row[2], row[3]) for row in rows]

    def says(self, kind: int, data: bytes) -> str:
        (_, _, text), = self.events(Log().add(1, kind, data))
        return text


@pytest.fixture(name="program")
def fixture_program(build, tmp_path):
    return Program(build, tmp_path)


def test_a_log_explains_what_the_machine_has_measured(program):
    log = boot("sha1", "sha256", "sha384")
    for pcrs in (f"sha256:{FIRMWARE},8,9,12", f"sha1:7+sha256:0,4+sha384:{FIRMWARE}", "sha384:4",
                 "sha256:12"):
        program.judges("pass", r"\d+ events lead to the value of every PCR$", log.content,
                       values(log, pcrs))
    program.judges("pass", "^pass 6 events", log.content, values(log, "sha256:7"))


@pytest.mark.parametrize("pcr", range(8))
def test_a_changed_event_of_the_firmware_is_a_failure(program, pcr):
    log = boot("sha1", "sha256")
    later = copy_of(log).add(pcr, SEPARATOR, b"once more")
    for old, new in ((log, later), (later, log)):
        program.judges("fail", rf"PCR {pcr} \(sha256\)", old.content,
                       values(new, f"sha1:9+sha256:{FIRMWARE},9"))


def test_the_first_pcr_that_differs_is_named(program):
    log = boot()
    later = copy_of(log).add(6, SEPARATOR, b"x").add(2, SEPARATOR, b"x").add(9, IPL, b"x")
    program.judges("fail", r"PCR 2 \(sha256\)", log.content, values(later, f"sha256:{FIRMWARE},9"))


@pytest.mark.parametrize("pcr", [8, 9, 10, 11, 14, 15])
def test_what_the_running_system_extends_is_told_and_no_failure(program, pcr):
    log = boot()
    later = copy_of(log).add(pcr, IPL, b"something later")
    numbers = sorted({*range(8), 8, 9, 12, pcr})
    program.judges("pass", rf"every PCR but sha256:{pcr}: the running system has ",
                   log.content, values(later, f"sha256:{','.join(map(str, numbers))}"))


def test_one_bank_cannot_stand_for_another(program):
    log = boot("sha1", "sha256")
    bad = copy_of(log)
    bad.pcrs["sha1", 7] = bytes(20)
    program.judges("fail", r"PCR 7 \(sha1\)", log.content, values(bad, "sha1:7+sha256:7"))


def test_a_log_without_the_bank_that_was_quoted_is_a_failure(program):
    program.judges("fail", "no sha384 digests", boot().content,
                   values(boot("sha384"), "sha384:7"))
    half = Log("sha1", "sha256").add(7, SEPARATOR, b"x", digests={"sha1": digest("sha1", b"x")})
    program.judges("fail", "event 1 .*no sha256 digest", half.content, values(half, "sha256:7"))


def test_nothing_is_claimed_where_no_event_explains_a_value(program):
    log = boot()
    later = copy_of(log).add(10, IPL, b"IMA's").add(9, IPL, b"more")
    for quoted in (values(later, "sha256:9,10"), values(log, "sha256:11"),
                   values(log, "sha256:16")):
        program.judges("not_claimed", "no event leads", log.content, quoted)
    program.judges("not_claimed", "no event leads", Log().content, values(Log(), "sha256:0,7"))


def test_values_with_no_log_behind_them_are_a_failure(program):
    program.judges("fail", r"PCR 0 \(sha256\)", Log().content, values(boot(), "sha256:0,7"))


@pytest.mark.parametrize("content, pattern", [
    (b"", "ends in its first event"), (b"\0" * 64, "the old form"), (b"x" * 400, "first event"),
    (boot().content + b"\0", "malformed"), (boot().content[:-1], "malformed")])
def test_what_is_no_log_is_a_failure(program, content, pattern):
    program.judges("fail", pattern, content, values(boot(), "sha256:7"))


class Marked(Log):
    """Where in the log it is that PCRs 0 to 7 of SHA-256 come from, and where its events end."""

    def __init__(self, *banks):
        super().__init__(*banks)
        self.telling, self.ends = set(), {len(self.content)}

    def add(self, pcr, kind, data, measured=None, digests=None):
        at = len(self.content)
        super().add(pcr, kind, data, measured, digests)
        self.ends.add(len(self.content))
        if pcr < 8:
            self.telling.update(range(at, at + 4))
            at += 12
            for bank in self.banks:
                size = len(self.value(bank, 0))
                if bank == "sha256":
                    self.telling.update(range(at, at + 2 + size))
                at += 2 + size
        return self


def test_no_log_that_is_cut_or_changed_passes_for_the_firmwares(program):
    log = Marked("sha1", "sha256")
    log.add(0, CRTM_VERSION, wide("1.0")).add(7, VARIABLE, variable("SecureBoot", b"\1", GLOBAL))
    log.add(4, APPLICATION, image("\\EFI\\a.efi"))
    log.add(1, BLOB2, b"\3abc" + bytes(16)).add(6, TAG, struct.pack("<II", 1, 2) + b"ab")
    firmware = len(log.content)
    log.add(8, IPL, b"grub_cmd: x\0")
    program.judges("pass", "every PCR", log.content, values(log, "sha256:0,1,4,6,7,8"))
    lines = program.run(log.content, values(log, "sha256:0,1,4,6,7,8"), "mutate").splitlines()
    cuts = {int(line.split()[1]) for line in lines if line.startswith("cut")}
    flips = {int(line.split()[1]) for line in lines if line.startswith("flip")}
    assert cuts == {firmware}, "only what leaves the firmware's events whole"
    assert flips, "what no PCR depends on may change"
    assert not flips & log.telling


def test_no_log_that_is_cut_or_changed_reads_beyond_its_end(program):
    log = boot("sha256", locality=3)
    program.run(log.content[:1200], values(log, "sha256:7"), "mutate")


def image(*names: str, path: bytes = b"") -> bytes:
    """UEFI_IMAGE_LOAD_EVENT."""
    for name in names:
        path += struct.pack("<BBH", 4, 4, 4 + 2 * len(name) + 2) + wide(name + "\0")
    path += b"\x7f\xff\4\0"
    return struct.pack("<QQQQ", 0x1000, 0x2000, 0, len(path)) + path


@pytest.mark.parametrize("kind, data, text", [
    (VARIABLE, variable("SecureBoot", b"\1", GLOBAL), "SecureBoot = 1"),
    (VARIABLE, variable("dbx", b"xx"), "dbx"),
    (AUTHORITY, variable("db", b"xx"), "db"),
    (BOOT, variable("Boot0001", b"\1\0\0\0\4\0" + wide("debian\0") + b"\x7f\xff\4\0", GLOBAL),
     "Boot0001: debian"),
    (BOOT, variable("BootOrder", b"\1\0\2\0", GLOBAL), "BootOrder"),
    (APPLICATION, image("\\EFI\\debian", "\\shimx64.efi"), "\\EFI\\debian\\shimx64.efi"),
    (APPLICATION, image("\\a.efi", path=b"\1\1\6\0\0\1\2\1\x0c\0" + bytes(8)), "\\a.efi"),
    (DRIVER, image(), ""),
    (IPL, b"grub_cmd: linux /vmlinuz\n\0", "grub_cmd: linux /vmlinuz"),
    (IPL, b"menuentry x {\n\tlinux /vmlinuz\n}", "menuentry x {  linux /vmlinuz }"),
    (IPL, wide("root=/dev/vda1 quiet\0"), "root=/dev/vda1 quiet"),
    (ACTION, b"Calling INT 19h", "Calling INT 19h"),
    (EFI_ACTION, b"Exit Boot Services Invocation", "Exit Boot Services Invocation"),
    (CRTM_VERSION, wide("N2HET72W\0"), "N2HET72W"), (CRTM_VERSION, b"\0\0", ""),
    (CRTM_VERSION, bytes(range(200, 216)), ""),
    (POST_CODE, b"ACPI DATA", "ACPI DATA"), (POST_CODE, bytes(range(1, 17)), ""),
    (SEPARATOR, bytes(4), ""), (SEPARATOR, b"\xff" * 4, ""), (SEPARATOR, b"WBCL", "WBCL"),
    (SEPARATOR, b"\1\0\0\0", "an error of the firmware"),
    (NO_ACTION, b"StartupLocality\0\3", "StartupLocality 3"),
    (NO_ACTION, b"SP800-155 Event3" + bytes(40), "SP800-155 Event3"),
    (NO_ACTION, b"StartupLocality\0\3\0", "StartupLocality"), (NO_ACTION, b"short", ""),
    (TAG, struct.pack("<II", 0x8F3B22ED, 26) + b"LOADED_IMAGE::LoadOptions\0",
     "LOADED_IMAGE::LoadOptions"),
    (BLOB2, b"\5POST " + bytes(16), "POST"), (HANDOFF2, b"\6SMBIOS" + bytes(8), "SMBIOS"),
    (0xA0, b"what nobody knows", "what nobody knows"), (0xA0, b"\1\2\3", "")])
def test_events_are_told_in_words(program, kind, data, text):
    assert program.says(kind, data) == text


def test_types_have_the_names_of_the_profile(program):
    log = Log()
    for kind in (ACTION, SEPARATOR, VARIABLE, APPLICATION, AUTHORITY, 0xA0, 0xFFFFFFFF):
        log.add(5, kind, b"")
    assert [kind for _, kind, _ in program.events(log)] == [
        "EV_ACTION", "EV_SEPARATOR", "EV_EFI_VARIABLE_DRIVER_CONFIG",
        "EV_EFI_BOOT_SERVICES_APPLICATION", "EV_EFI_VARIABLE_AUTHORITY", "0x000000a0", "0xffffffff"]


HUGE = (1 << 64) - 1


@pytest.mark.parametrize("kind, data", [
    (VARIABLE, bytes(16) + struct.pack("<QQ", HUGE, 0) + wide("x")),
    (VARIABLE, bytes(16) + struct.pack("<QQ", 1 << 63, 2) + wide("x")),
    (VARIABLE, bytes(16) + struct.pack("<QQ", 0, HUGE) + wide("x")),
    (VARIABLE, bytes(16) + struct.pack("<QQ", 1, 1) + wide("x")),
    (VARIABLE, bytes(31)), (VARIABLE, b""),
    (APPLICATION, bytes(24) + struct.pack("<Q", HUGE) + b"\4\4\6\0x\0"),
    (APPLICATION, bytes(24) + struct.pack("<Q", 6) + b"\4\4\7\0x\0"),
    (APPLICATION, bytes(24) + struct.pack("<Q", 6) + b"\4\4\0\0x\0"),
    (APPLICATION, bytes(24) + struct.pack("<Q", 6) + b"\4\4\3\0x\0"),
    (APPLICATION, bytes(24) + struct.pack("<Q", 4) + b"\4\4\xff\xff"),
    (APPLICATION, bytes(24) + struct.pack("<Q", 3) + b"\4\4\4"),
    (TAG, struct.pack("<II", 1, 0xFFFFFFFF) + b"ab"), (TAG, b"\0" * 7),
    (BLOB2, b"\xffabc"), (BLOB2, b""), (HANDOFF2, b"\4abc"), (IPL, b""), (IPL, b"\0"),
    (EFI_ACTION, b""), (SEPARATOR, b""), (CRTM_VERSION, b"")])
def test_lengths_that_lie_are_not_believed(program, kind, data):
    assert program.says(kind, data) == ""


@pytest.mark.parametrize("data", [b"\x1b[2Jx\x07\x9b", wide("\x1b]0;x\x07\u202e\x9b")])
def test_nothing_reaches_the_terminal_but_printable_ascii(program, data):
    for kind in (IPL, EFI_ACTION):
        text = program.says(kind, b"a" + data if data[1:2] != b"\0" else data)
        assert "?" in text and re.fullmatch("[ -~]+", text)
    name = data.decode("utf-16-le" if data[1:2] == b"\0" else "latin-1")
    for kind, content in ((VARIABLE, variable(name, b"xx")), (APPLICATION, image(name))):
        assert re.fullmatch(r"[ -~]*\?[ -~]*", program.says(kind, content))


def test_what_is_long_is_cut(program):
    assert program.says(IPL, b"x" * 188) == "x" * 188
    assert program.says(IPL, b"x" * 189) == "x" * 188 + "..."
    assert len(program.says(VARIABLE, variable("x" * 4000, b"\1"))) == TEXT - 1
