# SPDX-License-Identifier: Apache-2.0
"""The firmware's event log: replayed, and replayed with what an update changes."""

import hashlib
import re
import shutil
import struct
import subprocess

import pytest

from conftest import NOISE

IDS = {"sha1": 4, "sha256": 11, "sha384": 12, "sha512": 13}
NO_ACTION, SEPARATOR, TAG, IPL = 0x03, 0x04, 0x06, 0x0D
VARIABLE, BOOT = 0x80000001, 0x80000002
APPLICATION = 0x80000003
USAGE, BAD_RECORD, UNSUPPORTED, CHECK = 2, 6, 15, 16
GLOBAL = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
SECURITY = bytes.fromhex("cbb219d73a3d9645a3bcdad00e67656f")
OLD = "root=UUID=1-2 ro quiet"
NEW = "root=UUID=1-2 ro quiet splash"
IMAGE = "BOOT_IMAGE=/vmlinuz "


def digest(bank: str, content: bytes) -> bytes:
    return hashlib.new(bank, content).digest()


def variable(name: str, content: bytes, guid: bytes = SECURITY) -> bytes:
    """UEFI_VARIABLE_DATA."""
    return (guid + struct.pack("<QQ", len(name), len(content)) + name.encode("utf-16-le")
            + content)


def wide(text: str) -> bytes:
    return text.encode("utf-16-le")


class Log:
    """An event log, and beside it what its PCRs then hold."""

    def __init__(self, *banks: str, locality: int | None = None, spec: bytes | None = None):
        self.banks = banks or ("sha256",)
        self.pcrs = {}
        if spec is None:
            spec = b"Spec ID Event03\0" + struct.pack("<IBBBBI", 0, 0, 2, 0, 2, len(self.banks))
            for bank in self.banks:
                spec += struct.pack("<HH", IDS[bank], hashlib.new(bank).digest_size)
            spec += b"\0"
        self.content = struct.pack("<II20xI", 0, NO_ACTION, len(spec)) + spec
        if locality is not None:
            self.add(0, NO_ACTION, b"StartupLocality\0" + bytes([locality]))
            for bank in self.banks:
                self.pcrs[bank, 0] = bytes([locality]).rjust(hashlib.new(bank).digest_size, b"\0")

    def add(self, pcr: int, kind: int, data: bytes, measured: bytes | None = None,
            digests: dict | None = None) -> "Log":
        """Of `measured`, or what `data` is; or with these digests, as they are."""
        values = digests or {bank: digest(bank, data if measured is None else measured)
                             for bank in self.banks}
        if kind == NO_ACTION:
            values = {bank: bytes(len(value)) for bank, value in values.items()}
        self.content += struct.pack("<III", pcr, kind, len(values))
        for bank, value in values.items():
            self.content += struct.pack("<H", IDS[bank]) + value
            if kind != NO_ACTION:
                self.pcrs[bank, pcr] = digest(bank, self.value(bank, pcr) + value)
        self.content += struct.pack("<I", len(data)) + data
        return self

    def value(self, bank: str, pcr: int) -> bytes:
        size = hashlib.new(bank).digest_size
        start = b"\xff" if 17 <= pcr <= 22 else b"\0"
        return self.pcrs.get((bank, pcr), start * size)

    def grub(self, word: str, text: str) -> "Log":
        return self.add(8, IPL, f"{word}: {text}".encode() + b"\0", text.encode())

    def stub(self, text: str, tail: bytes = b"\0\0") -> "Log":
        name = b"LOADED_IMAGE::LoadOptions\0"
        return self.add(9, TAG, struct.pack("<II", 0x8F3B22ED, len(name)) + name,
                        wide(text) + tail)

    def systemd(self, text: str) -> "Log":
        return self.add(12, IPL, wide(text + "\0"))


def boot(*banks, dbx: bytes = b"old dbx", line: str = OLD, loader: bytes = b"shim",
         locality: int | None = 3) -> Log:
    """A machine's start."""
    log = Log(*banks, locality=locality)
    log.add(0, 0x08, b"version 1")
    log.add(7, VARIABLE, variable("SecureBoot", b"\1", GLOBAL))
    for name in ("PK", "KEK"):
        log.add(7, VARIABLE, variable(name, name.encode() * 9, GLOBAL))
    log.add(7, VARIABLE, variable("db", b"db" * 9))
    log.add(7, VARIABLE, variable("dbx", dbx))
    log.add(1, BOOT, variable("BootOrder", b"\1\0", GLOBAL), measured=b"\1\0")
    for pcr in range(8):
        log.add(pcr, SEPARATOR, bytes(4))
    log.add(4, APPLICATION, bytes(32), measured=loader)
    log.grub("grub_cmd", "menuentry Linux --class os {\n\tlinux /vmlinuz "
             + re.sub(r"\b(r[ow]) ", r"\1  ", line) + "\n\tinitrd /initrd\n}\n")
    log.grub("grub_cmd", f"linux /vmlinuz {line}")
    log.grub("kernel_cmdline", f"/vmlinuz {line}")
    log.stub(IMAGE + line)
    log.systemd(IMAGE + line)
    return log


class Program:
    def __init__(self, build):
        self.path = build / "tests" / "eventlog"
        if not self.path.exists():
            pytest.skip("this build has no test programs")

    def run(self, content: bytes, *words: str) -> str:
        done = subprocess.run([self.path, *words], input=content, capture_output=True,
                              check=False, timeout=300)
        report = done.stderr.decode(errors="replace")
        assert done.returncode == 0 and not NOISE.search(report), report
        return done.stdout.decode()

    def values(self, log: Log, pcrs: str, *words: str) -> dict:
        text = self.run(log.content, pcrs, *words)
        assert not text.startswith("error"), text
        rows = [line.split() for line in text.splitlines()]
        return {(bank, int(pcr)): bytes.fromhex(value) for bank, pcr, value in rows}

    def check(self, log: Log, expected: Log, pcrs: str, *words: str):
        """What is foretold of a log is what another log leads to."""
        found = self.values(log, pcrs, *words)
        assert found
        for (bank, pcr), value in found.items():
            assert value == expected.value(bank, pcr), f"{bank}:{pcr}"

    def refuses(self, code: int, pattern: str, log: Log | bytes, pcrs: str, *words: str):
        text = self.run(log.content if isinstance(log, Log) else log, pcrs, *words)
        assert (match := re.fullmatch(r"error (\d+) (.*)\n", text)), text
        assert int(match[1]) == code and re.search(pattern, match[2]), text


@pytest.fixture(scope="module", name="program")
def fixture_program(build):
    return Program(build)


EVERY = ",".join(map(str, range(24)))


@pytest.mark.parametrize("banks", [("sha256",), ("sha1", "sha256"),
                                   ("sha512", "sha256", "sha384", "sha1")], ids=len)
@pytest.mark.parametrize("locality", [None, 0, 3, 4])
def test_a_log_leads_to_the_values_that_hashlib_says(program, banks, locality):
    log = boot(*banks, locality=locality).add(20, IPL, b"a dynamic launch's")
    log.add(0xFFFFFFFF, NO_ACTION, b"no PCR's")
    for bank in banks:
        program.check(log, log, f"{bank}:{EVERY}")
    program.check(log, log, "+".join(f"{bank}:0,7,8,17" for bank in banks[:3]))


@pytest.mark.skipif(not shutil.which("tpm2_eventlog"), reason="tpm2-tools are not here")
@pytest.mark.parametrize("locality", [None, 3, 4])
def test_a_log_leads_to_the_values_that_tpm2_tools_say(program, tmp_path, locality):
    log = boot("sha1", "sha256", "sha384", locality=locality)
    path = tmp_path / "log"
    path.write_bytes(log.content)
    text = subprocess.run(["tpm2_eventlog", path], capture_output=True, text=True,
                          check=True).stdout
    found = {}
    for line in text[text.index("\npcrs:"):].splitlines():
        if match := re.fullmatch(r"  (sha\d+):", line):
            bank = match[1]
        elif match := re.fullmatch(r"    (\d+) *: 0x([0-9a-f]+)", line):
            found[bank, int(match[1])] = bytes.fromhex(match[2])
    assert len(found) >= 3 * 10
    if locality and "StartupLocality" not in text:  # tpm2-tools before 5.6: its issue 3146
        found = {key: value for key, value in found.items() if key[1] != 0}
    ours = program.values(log, "+".join(f"{bank}:{EVERY}" for bank in log.banks))
    assert {key: ours[key] for key in found} == found


def test_a_log_of_the_old_form_is_refused_in_words(program):
    event = struct.pack("<II20sI", 0, 8, digest("sha1", b"x"), 1) + b"x"
    program.refuses(UNSUPPORTED, "SHA-1", event, "sha256:0")
    for number in (b"00", b"02"):
        log = Log(spec=b"Spec ID Event" + number + b"\0" + bytes(12))
        program.refuses(UNSUPPORTED, "SHA-1", log, "sha1:0")


def test_a_bank_that_the_log_does_not_have_is_refused(program):
    program.refuses(UNSUPPORTED, "no sha384 digests", boot("sha256"), "sha256:0+sha384:0")


def spec(*rows: tuple[int, int], count: int | None = None, tail: bytes = b"\0") -> bytes:
    return (b"Spec ID Event03\0" + bytes(8) + struct.pack("<I", len(rows) if count is None
                                                          else count)
            + b"".join(struct.pack("<HH", *row) for row in rows) + tail)


@pytest.mark.parametrize("spec_id", [
    spec(), spec((11, 31)), spec((11, 32), (11, 32)), spec((11, 32), (99, 65)),
    spec((11, 32), (99, 0)), spec((11, 32), count=2), spec((11, 32), tail=b""),
    spec((11, 32), tail=b"\1"), spec((11, 32), tail=b"\0\0"),
    spec((11, 32), *((100 + i, 32) for i in range(8))), spec((11, 32), count=0xFFFFFFFF)],
    ids=["no bank", "size", "twice", "large", "empty", "count", "cut", "vendor", "long", "many",
         "huge"])
def test_a_header_is_read_strictly(program, spec_id):
    program.refuses(BAD_RECORD, "Spec ID", Log(spec=spec_id), "sha256:0")


def test_a_bank_that_we_do_not_know_is_passed_over(program):
    log = Log(spec=spec((0x12, 32), (11, 32), tail=b"\3abc"))
    log.content += (struct.pack("<IIIH", 3, IPL, 2, 0x12) + bytes(32) + struct.pack("<H", 11)
                    + digest("sha256", b"x") + struct.pack("<I", 1) + b"x")
    assert program.values(log, "sha256:3") == {
        ("sha256", 3): digest("sha256", bytes(32) + digest("sha256", b"x"))}


@pytest.mark.parametrize("spoil", [
    lambda log: log.add(24, IPL, b"x"),
    lambda log: log.add(0, IPL, b"x", digests={"sha384": bytes(48)}),
    lambda log: log.add(0, NO_ACTION, b"StartupLocality\0\3"),
    lambda log: setattr(log, "content", log.content + b"\0"),
    lambda log: setattr(log, "content", log.content + struct.pack("<III", 0, IPL, 0) + bytes(4)),
    lambda log: setattr(log, "content", log.content + struct.pack("<III", 0, IPL, 0xFFFFFFFF)),
    lambda log: setattr(log, "content", log.content + struct.pack("<III", 0, NO_ACTION, 0)
                        + b"\xff\xff\xff\xff"),
    lambda log: setattr(log, "content", log.content + struct.pack("<III", 0, IPL, 2)
                        + 2 * (b"\x0b\0" + bytes(32)) + bytes(4))],
    ids=["PCR 24", "another bank", "late locality", "trailing", "no digest", "digests", "length",
         "a bank twice"])
def test_events_are_read_strictly(program, spoil):
    log = boot()
    program.values(log, "sha256:0")
    spoil(log)
    program.refuses(BAD_RECORD, "event", log, "sha256:0")


@pytest.mark.parametrize("data", [b"StartupLocality\0", b"StartupLocality\0\1",
                                  b"StartupLocality\0\3\3"], ids=["none", "locality 1", "long"])
def test_a_startup_locality_that_cannot_be_is_refused(program, data):
    program.refuses(BAD_RECORD, "StartupLocality", Log().add(0, NO_ACTION, data), "sha256:0")
    program.refuses(BAD_RECORD, "StartupLocality",
                    Log().add(1, NO_ACTION, b"StartupLocality\0\3"), "sha256:0")


def test_logs_have_a_largest_size_and_number_of_events(program):
    log = Log()
    program.refuses(BAD_RECORD, "longer", log.content.ljust((4 << 20) + 1, b"\0"), "sha256:0")
    program.refuses(BAD_RECORD, "more events",
                    log.content + struct.pack("<IIII", 0, NO_ACTION, 0, 0) * 16384, "sha256:0")


CHANGES = ["variable", "dbx", b"new".hex(), "cmdline", IMAGE + OLD, IMAGE + NEW]


def test_every_cut_and_thousands_of_mutations_are_survived(program):
    log = boot("sha1", "sha256").add(0xFFFFFFFF, NO_ACTION, b"no PCR's")
    events = log.content.count(b"\x02\0\0\0\x04\0")
    cut, changed, tried = map(int, program.run(log.content, "sha256:0,7,8,9", "mutate",
                                               "2").split())
    assert 20 < cut <= events + 1, "only where an event ends"
    assert tried > 3000 and 0 < changed < tried
    cut, changed, tried = map(int, program.run(log.content, "sha256:7,8,9,12", "mutate", "5",
                                               *CHANGES).split())
    assert tried > 1500 and 0 < changed < tried
    assert cut == 5, "where an event ends behind the first of the command line's"


# Forecasts


@pytest.mark.parametrize("banks", [("sha256",), ("sha1", "sha256", "sha384")], ids=len)
@pytest.mark.parametrize("content", [b"", b"new dbx" * 9])
def test_a_new_dbx_is_foretold(program, banks, content):
    program.check(boot(*banks), boot(*banks, dbx=content),
                  "+".join(f"{bank}:0,7" for bank in banks), "variable", "dbx",
                  content.hex() or "-")


def test_a_variable_whose_content_alone_is_measured_is_foretold(program):
    log, expected = Log(), Log()
    log.add(1, BOOT, variable("BootOrder", b"\1\0", GLOBAL), measured=b"\1\0")
    expected.add(1, BOOT, variable("BootOrder", b"\2\0", GLOBAL), measured=b"\2\0")
    program.check(log, expected, "sha256:1", "variable", "BootOrder", "0200")


def test_a_variable_is_not_foretold_from_a_digest_that_is_not_its_own(program):
    log = Log().add(7, VARIABLE, variable("dbx", b"old"), measured=b"something else")
    program.refuses(UNSUPPORTED, "event 1 .*not of the variable", log, "sha256:7", "variable",
                    "dbx", "00")
    for data in (b"short", variable("dbx", b"old") + b"\0", variable("dbx", b"old")[:-1]):
        program.refuses(UNSUPPORTED, "which variable", Log().add(7, VARIABLE, data), "sha256:7",
                        "variable", "dbx", "00")
    huge = SECURITY + struct.pack("<QQ", 2**63, 6) + wide("dbx")
    program.refuses(UNSUPPORTED, "which variable", Log().add(7, VARIABLE, huge), "sha256:7",
                    "variable", "dbx", "00")


def test_a_change_that_is_nowhere_is_named(program):
    program.refuses(UNSUPPORTED, "UEFI variable db2$", boot(), "sha256:7", "variable", "db2", "00")
    program.refuses(UNSUPPORTED, "UEFI variable dbx$", boot(), "sha256:0", "variable", "dbx", "00")
    program.refuses(UNSUPPORTED, 'command line "foo"', boot(), "sha256:7,8", "cmdline", "foo",
                    "bar")
    program.refuses(UNSUPPORTED, f"sha256 digest {'07' * 32}", boot(), "sha256:4", "digest",
                    "sha256", "07" * 32, "08" * 32)


@pytest.mark.parametrize("before, after", [
    (OLD, NEW), (OLD, "root=UUID=1-2 rw quiet"), (OLD, "root=UUID=3 ro quiet"),
    (OLD, "panic=1 root=UUID=1-2 ro quiet"), (OLD, "root=UUID=1-2 ro verbose debug"), (NEW, OLD)])
def test_a_new_command_line_is_foretold_wherever_it_is_measured(program, before, after):
    banks = ("sha256", "sha384")
    program.check(boot(*banks, line=before), boot(*banks, line=after),
                  "sha256:7,8,9,12+sha384:8,9", "cmdline", IMAGE + before, IMAGE + after)


@pytest.mark.parametrize("tail", [b"", b"\0\0", b"\n\0"])
def test_load_options_may_end_in_several_ways(program, tail):
    program.check(Log().stub(OLD, tail), Log().stub(NEW, tail), "sha256:9", "cmdline", OLD, NEW)


@pytest.mark.parametrize("tail", ["", "\n", "\0"])
def test_a_unified_kernel_s_own_command_line_is_foretold(program, tail):
    def log(text):
        name = wide(".cmdline\0")
        return Log().add(11, IPL, name, b".cmdline\0").add(11, IPL, name, (text + tail).encode())

    program.check(log(OLD), log(NEW), "sha256:11", "cmdline", OLD, NEW)
    program.refuses(UNSUPPORTED, "PCR 11", log("something else"), "sha256:11", "cmdline", OLD, NEW)


def test_a_command_line_without_its_boot_image_does_for_grub_alone(program):
    program.check(boot(), boot(line=NEW), "sha256:8", "cmdline", OLD, NEW)
    program.refuses(UNSUPPORTED, "PCR 9", boot(), "sha256:8,9", "cmdline", OLD, NEW)


@pytest.mark.parametrize("text, before, after", [
    (f"{OLD} single", OLD, NEW),
    (f"linux /vmlinuz {OLD} $vt_handoff", OLD, NEW),
    ("linux /vmlinuz root=UUID=1-2 ro $more", OLD, NEW),
    ("linux root=UUID=1-2 ro  quiet", OLD, "root=UUID=1-2 ro debug quiet"),
    ("linux root=UUID=1-2 ro  quiet", OLD, "root=UUID=1-2 rw verbose"),
    (f"linux {OLD} \n", OLD, NEW),
    ("linux root=UUID=1-2 ro  quiet", OLD, "root=UUID=1-2 ro")],
    ids=["more", "variable", "template", "into a gap", "over a gap", "before a gap", "out of it"])
def test_what_does_not_tell_its_next_digest_is_refused(program, text, before, after):
    log = Log().grub("kernel_cmdline", OLD).grub("grub_cmd", text)
    program.refuses(UNSUPPORTED, "event 2 .*PCR 8", log, "sha256:8", "cmdline", before, after)


@pytest.mark.parametrize("text", [
    "linux /vmlinuz root=UUID=1-2 ro single", f"linux {OLD}ly", f"linux x{OLD}", "set a=$b",
    "root=UUID=1-22 $a"])
def test_another_command_line_is_left_alone(program, text):
    program.check(Log().grub("grub_cmd", text).grub("grub_cmd", OLD),
                  Log().grub("grub_cmd", text).grub("grub_cmd", NEW), "sha256:8", "cmdline", OLD,
                  NEW)


def test_a_command_line_whose_digest_is_another_is_refused(program):
    log = boot().add(8, IPL, f"kernel_cmdline: {OLD}\0".encode(), measured=b"something else")
    program.refuses(UNSUPPORTED, "PCR 8", log, "sha256:8", "cmdline", OLD, NEW)
    program.check(log, boot(), "sha256:7", "variable", "dbx", b"old dbx".hex())
    half = {"sha1": digest("sha1", OLD.encode()), "sha256": bytes(32)}
    log = Log("sha1", "sha256").add(8, IPL, f"grub_cmd: {OLD}\0".encode(), digests=half)
    program.refuses(UNSUPPORTED, "PCR 8", log, "sha1:8+sha256:8", "cmdline", OLD, NEW)


@pytest.mark.parametrize("before, after", [
    ("", "x"), (" x", "y"), ("x", "y "), ("x", "x"), ("ä", "x"), ("x\ny", "x"), ("x" * 4097, "y"),
    ("BOOT_IMAGE=/a ro", "BOOT_IMAGE=/b ro"), ("BOOT_IMAGE=/a", "BOOT_IMAGE=/a ro"),
    ("BOOT_IMAGE=/a ro", "ro")])
def test_command_lines_are_checked(program, before, after):
    program.refuses(USAGE, "command line", boot(), "sha256:8", "cmdline", before, after)


def test_a_new_boot_loader_is_foretold_by_its_digests(program):
    words = []
    for bank in ("sha256", "sha384"):
        words += ["digest", bank, digest(bank, b"shim").hex(), digest(bank, b"new shim").hex()]
    log, expected = boot("sha256", "sha384"), boot("sha256", "sha384", loader=b"new shim")
    program.check(log, expected, "sha256:4+sha384:4", *words)
    program.check(log, expected, "sha256:4+sha384:7", *words[:4])
    program.refuses(UNSUPPORTED, "new sha384 digest", log, "sha256:4+sha384:4", *words[:4])
    program.refuses(USAGE, "two changes", log, "sha256:4", *words[:4], *words[:4])
    program.refuses(USAGE, "of its bank", log, "sha256:4", "digest", "sha256", "00", "01")


def test_changes_swap_and_add_up(program):
    first, second = (digest("sha256", text).hex() for text in (b"a", b"b"))
    program.check(Log().add(4, APPLICATION, b"a").add(4, APPLICATION, b"b"),
                  Log().add(4, APPLICATION, b"b").add(4, APPLICATION, b"a"), "sha256:4",
                  "digest", "sha256", first, second, "digest", "sha256", second, first)
    program.check(boot(), boot(dbx=b"new", line=NEW), "sha256:0,4,7,8,9,12", *CHANGES)


def test_what_is_measured_and_not_extended_does_not_count(program):
    log = Log().add(8, NO_ACTION, f"kernel_cmdline: {OLD}\0".encode())
    program.refuses(UNSUPPORTED, "no event", log, "sha256:8", "cmdline", OLD, NEW)


def test_nothing_is_foretold_from_a_log_that_does_not_explain_the_values(program):
    program.refuses(CHECK, r"does not explain PCR 7 \(sha256\)", boot("sha1", "sha256"),
                    "sha1:7+sha256:4,7", "wrong", "sha256", "7", "variable", "dbx", "00")


def test_changes_have_a_largest_number(program):
    program.refuses(USAGE, "32 changes", boot(), "sha256:7", *["variable", "dbx", "00"] * 33)
