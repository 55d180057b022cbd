# SPDX-License-Identifier: Apache-2.0
"""lct doctor: on machines that are not there, and on what can go wrong with a real TPM."""

import fcntl
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from conftest import ROOT, User
from keyfile import KeyFile
from test_command import NEEDS_ROOT, let_others_in, one_sentence
from test_connection import fixture_brokered  # noqa: F401
from test_passphrase import (OWNER, SECRET, Spoiler, count, fixture_locked,  # noqa: F401
                             fixture_owned, on_a_terminal, on_the_bus)
from tpm import NO_SESSIONS, RC_RETRY, SRK, Command, exchange, wait_for

SEVERITIES = {"ok", "note", "warning", "problem"}
TOPICS = {"tpm", "secret", "way", "boot", "openssl", "store", "signature", "identity"}
NOBODY = {"user": "nobody", "group": "nogroup", "extra_groups": []}
EFI = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
EVENTS = "sys/kernel/security/tpm0/binary_bios_measurements"
ACTIVATION = "usr/share/dbus-1/system-services/com.intel.tss2.Tabrmd.service"
RC_FAILURE = 0x101
HARMLESS = {Command.GetCapability, Command.PCR_Read, Command.ReadPublic, Command.Load,
            Command.Sign, Command.FlushContext}


def examine(who: User, *arguments, status: int = 0, **options) -> list[dict]:
    """What doctor finds, having checked the form of it; the first problem is its error."""
    done = who.lct("doctor", "--json", *arguments, status=status, **options)
    findings = json.loads(done.stdout)
    for finding in findings:
        assert finding["severity"] in SEVERITIES and finding["topic"] in TOPICS
        assert finding["command"] is None or finding["command"]
        assert re.fullmatch(r"[^\n]*[^.\n]", finding["text"])
    problems = [finding["text"] for finding in findings if finding["severity"] == "problem"]
    assert bool(problems) == (status != 0)
    if problems:
        assert one_sentence(done.stderr) == problems[0]
    else:
        assert done.stderr == ""
    return findings


def the(findings: list[dict], topic: str, pattern: str) -> dict:
    """The one finding about `topic` that says `pattern`."""
    found = [finding for finding in findings
             if finding["topic"] == topic and re.search(pattern, finding["text"])]
    assert len(found) == 1, findings
    return found[0]


def problem(findings: list[dict], pattern: str) -> dict:
    """The only problem."""
    found = [finding for finding in findings if finding["severity"] == "problem"]
    assert len(found) == 1 and re.search(pattern, found[0]["text"]), found
    return found[0]


def machine(user: User, files: dict[str, str | bytes]) -> Path:
    """A directory that looks like a machine's root; sockets in it have short names alone."""
    root = user.path("m")
    root.mkdir()
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


@pytest.fixture(name="kernel_user")
def fixture_kernel_user(user) -> User:
    """A user who has named no way in: the kernel's devices are searched."""
    user.configure(tcti=None)
    return user


def test_all_is_well_and_a_signature_is_timed(owner):
    findings = examine(owner)
    assert 0 < the(findings, "signature", r"lct:ec signs")["milliseconds"] < 10000
    assert the(findings, "tpm", "TPM 2.0 of revision 1")["software"] is True
    assert the(findings, "tpm", "software TPM")["severity"] == "warning"
    assert the(findings, "tpm", "storage root key is at 0x81000001")["severity"] == "ok"
    assert the(findings, "store", "identities: 4")["damaged"] == 0
    assert the(findings, "openssl", "activates lct")["severity"] == "ok"


def test_the_screen_is_for_people(owner):
    owner.configure(order=("lct", "default"))
    lines = owner.lct("doctor").stdout.splitlines()
    assert len(lines) < 40
    headings = [line.split("  ")[0] for line in lines if line[0] != " "]
    assert headings == ["TPM", "way in", "boot", "OpenSSL", "store", "signature"]
    warning = next(i for i, line in enumerate(lines) if "before default" in line)
    assert lines[warning].split()[1] == "warning"
    assert lines[warning + 1].split()[:2] == ["$", "editor"]


def test_only_harmless_commands_are_sent(watched, proxy):
    examine(watched, "ec")
    assert set(proxy.codes) <= HARMLESS


def test_nothing_is_made(user):
    finding = the(examine(user), "signature", "no identity")
    assert (finding["severity"], finding["command"]) == ("note", "lct create NAME")
    assert not user.store.exists()


def test_an_identity_is_checked_too(owner):
    findings = examine(owner, "lct:rsa")
    assert the(findings, "identity", "lct:rsa has the Name")["severity"] == "ok"
    the(findings, "signature", "lct:rsa signs")


def test_an_unknown_identity_is_a_problem(owner):
    problem(examine(owner, "nobody", status=3), "lct:nobody")
    one_sentence(owner.lct("doctor", ".hidden", status=5).stderr)


def test_a_damaged_identity_is_a_warning_until_it_is_asked_about(owner):
    (owner.store / "ec" / "key-1.pem").write_text("")
    findings = examine(owner)
    assert the(findings, "store", "lct:ec")["damaged"] == 1
    the(findings, "signature", "lct:p384 signs")
    problem(examine(owner, "ec", status=6), "lct:ec")


def test_no_tpm(kernel_user):
    root = machine(kernel_user, {"proc/1/comm": "init\n"})
    findings = examine(kernel_user, "--root", root, status=9)
    for device in ("/dev/tpmrm0", "/dev/tpm0"):
        assert the(findings, "way", device)["severity"] == "problem"
    assert "fTPM" in the(findings, "tpm", "kernel knows of no TPM")["text"]
    assert {finding["topic"] for finding in findings} >= {"openssl", "store", "boot"}


def test_a_trusted_execution_environment_may_have_one(kernel_user):
    root = machine(kernel_user, {"dev/tee0": ""})
    findings = examine(kernel_user, "--root", root, status=9)
    assert the(findings, "tpm", "TrustZone")["command"] == "modprobe tpm_ftpm_tee"


def test_a_tpm_1_2_is_no_use(kernel_user):
    root = machine(kernel_user, {"sys/class/tpm/tpm0/tpm_version_major": "1\n", "dev/tpm0": ""})
    findings = examine(kernel_user, "--root", root, status=9)
    assert [finding for finding in findings if finding["severity"] == "problem"
            and "1.2" in finding["text"]]
    kernel_user.configure()
    assert the(examine(kernel_user, "--root", root), "tpm", "1.2")["severity"] == "note"


def test_a_kernel_without_resource_manager(user):
    root = machine(user, {"sys/class/tpm/tpm0/tpm_version_major": "2\n", "dev/tpm0": ""})
    findings = examine(user, "--root", root)
    assert the(findings, "way", "no resource manager")["command"] == "apt install tpm2-abrmd"
    the(findings, "way", "/dev/tpm0 is there.*tcti is set")
    (root / "dev/tpmrm0").write_text("")
    assert the(examine(user, "--root", root), "way", "a resource manager")["severity"] == "ok"


@NEEDS_ROOT
@pytest.mark.parametrize("group, mode, command", [
    ("daemon", 0o660, "usermod -aG daemon nobody"), ("root", 0o600, "apt install tpm-udev")])
def test_a_device_that_this_user_may_not_open(kernel_user, group, mode, command):
    root = machine(kernel_user, {"sys/class/tpm/tpm0/tpm_version_major": "2\n", "dev/tpmrm0": ""})
    device = root / "dev/tpmrm0"
    shutil.chown(device, "root", group)
    device.chmod(mode)
    let_others_in_to(kernel_user)
    findings = examine(kernel_user, "--root", root, status=9, **NOBODY)
    denied = the(findings, "way", f"tpmrm0.*root:{group} .*{mode:04o}.*nobody.*nogroup")
    assert (denied["severity"], denied["command"]) == ("problem", command)


def let_others_in_to(user: User):
    """Other users of the system reach this one's directory; there is no TPM to reach."""
    for directory in (user.directory, *user.directory.parents):
        if "pytest" in str(directory):
            directory.chmod(directory.stat().st_mode | 0o005)


@pytest.fixture(name="busy")
def fixture_busy(kernel_user):
    """
    The root of a machine without a resource manager whose /dev/tpm0 is taken: a terminal in
    exclusive mode, which users other than root find busy (ioctl_tty(2), TIOCEXCL).
    """
    root = machine(kernel_user, {"sys/class/tpm/tpm0/tpm_version_major": "2\n",
                                 "proc/42/comm": "tpm2-abrmd\n", "proc/self/comm": "lct\n"})
    terminal, device = os.openpty()
    fcntl.ioctl(device, termios.TIOCEXCL)
    os.fchmod(device, 0o666)
    (root / "dev").mkdir()
    (root / "dev/tpm0").symlink_to(os.ttyname(device))
    let_others_in_to(kernel_user)
    yield root
    os.close(device)
    os.close(terminal)


@NEEDS_ROOT
@pytest.mark.parametrize("shown, holder, command", [
    (True, "tpm2-abrmd .process 42", "lct doctor --tcti tabrmd"),
    (False, "this user may not see", "fuser -v /dev/tpm0")])
def test_a_device_that_another_program_has_open(kernel_user, busy, shown, holder, command):
    if shown:
        (busy / "proc/42/fd").mkdir()
        (busy / "proc/42/fd/7").symlink_to("/dev/tpm0")
    findings = examine(kernel_user, "--root", busy, status=9, **NOBODY)
    assert the(findings, "way", f"/dev/tpm0 is in use by .*{holder}")["command"] == command


def test_who_has_a_device_open_is_told(kernel_user):
    root = machine(kernel_user, {
        "sys/class/tpm/tpm0/tpm_version_major": "2\n", "dev/tpmrm0": "", "dev/tpm0": "",
        "proc/42/comm": "redis\x1b[2J\n", "proc/43/comm": "tpm2-abrmd\n", "proc/44/comm": "no\n"})
    for process, device in (("42", "tpmrm0"), ("43", "tpm0"), ("44", "null")):
        (root / f"proc/{process}/fd").mkdir()
        (root / f"proc/{process}/fd/5").symlink_to(f"/dev/{device}")
    findings = examine(kernel_user, "--root", root, status=9)
    opens = the(findings, "way", r"tpmrm0 opens; it is open in redis\?\[2J \(process 42\)$")
    assert opens["held_by"] == "redis?[2J (process 42)"
    the(findings, "way", r"tpm0 is there, .*; it is open in tpm2-abrmd \(process 43\)$")


def test_a_device_that_a_service_does_not_see(kernel_user):
    root = machine(kernel_user, {"sys/class/tpm/tpm0/tpm_version_major": "2\n",
                                 "sys/class/tpmrm/tpmrm0/dev": "253:65536\n"})
    findings = examine(kernel_user, "--root", root, status=9)
    the(findings, "way", "no /dev/tpmrm0, .*PrivateDevices")


@pytest.mark.parametrize("value, text, severity", [
    (1, "Secure Boot is on", "ok"), (0, "Secure Boot is off", "warning")])
def test_secure_boot(user, value, text, severity):
    root = machine(user, {EFI: bytes([6, 0, 0, 0, value]), EVENTS: b"\0" * 64})
    findings = examine(user, "--root", root)
    assert the(findings, "boot", text)["severity"] == severity
    assert the(findings, "boot", "event log")["severity"] == "ok"


def test_no_secure_boot_and_no_event_log_to_be_seen(user):
    findings = examine(user, "--root", machine(user, {}))
    assert "UEFI" in the(findings, "boot", "Secure Boot")["text"]
    assert the(findings, "boot", "no event log")["severity"] == "note"


def test_a_boot_that_was_not_measured(user, make_tpm):
    tpm = make_tpm()
    user.configure(tcti=tpm.tcti)
    assert "sha256" in the(examine(user), "boot", "not measured")["unmeasured"]
    tpm.tool("tpm2_pcrextend", f"7:sha256={'11' * 32}")
    findings = examine(user)
    assert the(findings, "boot", "is measured")["measured"] == "sha256"
    assert "sha256" not in the(findings, "boot", "not measured")["unmeasured"]


def test_the_storage_root_key_is_looked_for(user, make_tpm):
    tpm = make_tpm()
    user.configure(tcti=tpm.tcti)
    assert the(examine(user), "tpm", "no storage root key")["severity"] == "note"
    assert tpm.persistent() == []
    user.lct("create", "alice")
    assert the(examine(user), "tpm", "storage root key is")["severity"] == "ok"
    assert tpm.persistent() == [SRK]


def test_the_storage_root_key_of_an_identity_is_gone(user, make_tpm):
    tpm = make_tpm()
    user.configure(tcti=tpm.tcti)
    user.lct("create", "alice")
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", hex(SRK))
    assert "lct:alice" in problem(examine(user, status=13), "another TPM")["text"]


def test_something_else_where_the_storage_root_key_belongs(user, make_tpm):
    tpm = make_tpm()
    user.configure(tcti=tpm.tcti)
    tpm.tool("tpm2_createprimary", "-C", "o", "-c", "p.ctx", "-a",
             "fixedtpm|fixedparent|sign|sensitivedataorigin|userwithauth", "-G", "ecc:null")
    tpm.flush()
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "p.ctx", hex(SRK))
    tpm.flush()
    problem(examine(user, status=15), "no storage key")


@pytest.fixture(name="alone")
def fixture_alone(make_user, make_tpm) -> User:
    """A user with a TPM of their own, `tpm`, and the identity alice in it."""
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.tpm = tpm
    user.lct("create", "alice")
    return user


def test_slots_that_others_have_taken(user, make_tpm):
    tpm = make_tpm()
    user.configure(tcti=tpm.tcti)
    tpm.tool("tpm2_createprimary", "-C", "o", "-c", "p0.ctx")
    found = the(examine(user), "tpm", "transient objects: 1 loaded, room for 2 more")
    assert found["handles"] == ["0x80000000"] and found["command"] is None
    for i in (1, 2):
        tpm.tool("tpm2_createprimary", "-C", "o", "-c", f"p{i}.ctx")
    assert problem(examine(user, status=17), "slots")["command"] == "tpm2_flushcontext -t"
    tpm.flush()
    examine(user)


def test_a_slot_is_taken_by_an_identity(alone, prompted):
    """Of a program that signs, and when that was killed."""
    program = prompted(alone, "alice")
    for _ in range(2):
        program.sign()
    held = the(examine(alone), "tpm", "is lct:alice, left behind .* or held by")
    assert (held["objects"][0]["id"], held["severity"]) == ("alice", "note")
    program.process.kill()
    program.process.communicate()
    held = the(examine(alone), "tpm", "0x8000000. is lct:alice")
    assert held["command"] == "tpm2_flushcontext -t"
    alone.tpm.tool(*held["command"].split())
    the(examine(alone), "tpm", "transient objects: none loaded, room for 3")


def test_slots_are_taken_by_keys_of_each_kind(alone):
    for words, kind in [
            (["tpm2_createprimary", "-C", "e", "-c", "p.ctx"], "a storage key"),
            (["tpm2_createek", "-G", "ecc", "-c", "ek.ctx"], "an endorsement key"),
            (["tpm2_createprimary", "-C", "o", "-c", "p.ctx", "-G", "ecc:null", "-a",
              "fixedtpm|fixedparent|sign|sensitivedataorigin|userwithauth"], "another program's")]:
        alone.tpm.tool(*words)
        found = the(examine(alone), "tpm", f"0x80000000 is {kind}$")
        assert (found["objects"][0]["kind"], found["command"]) == (kind, None)
        alone.tpm.flush()


def test_one_slot_is_too_few(alone):
    for i in range(2):
        alone.tpm.tool("tpm2_createprimary", "-C", "o", "-c", f"p{i}.ctx")
    findings = examine(alone, status=17)
    for found in (the(findings, "tpm", "room for 1 more, .* may take two: .*; "),
                  problem(findings, "lct:alice: .*slots")):
        assert found["command"] == "tpm2_flushcontext -t"
    alone.tpm.tool(*found["command"].split())
    examine(alone)


def test_what_is_kept_in_the_tpm_is_named(alone):
    tpm = alone.tpm
    tpm.tool("tpm2_createek", "-G", "ecc", "-c", "0x81010001")
    tpm.flush()
    tpm.tool("tpm2_createprimary", "-C", "o", "-c", "p.ctx")
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "p.ctx", "0x81000009")
    tpm.flush()
    key = KeyFile.read(alone.store / "alice/key-1.pem")
    tpm.tool("tpm2_load", "-C", f"{SRK:#x}", "-u", alone.write("public", key.public),
             "-r", alone.write("private", key.private), "-c", "k.ctx")
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "k.ctx", "0x81000010")
    tpm.flush()
    findings = examine(alone)
    found = the(findings, "tpm", "persistent objects: 4, room for")
    for text in ("0x81000001 the storage root key", "0x81010001 an endorsement key",
                 "0x81000009 a storage key", "0x81000010 lct:alice"):
        assert text in found["text"]
    the(findings, "tpm", "endorsement keys kept in it: 1;")


def start_session(tpm):
    """TPM2_StartAuthSession: an HMAC session that nobody ends."""
    exchange(tpm.path, struct.pack(
        ">HIIIIH16sHBHH", NO_SESSIONS, 43, Command.StartAuthSession, 0x40000007, 0x40000007, 16,
        bytes(16), 0, 0, 0x10, 0xB))


def test_sessions_of_others_are_counted(alone):
    tpm = alone.tpm
    tpm.tool("tpm2_startauthsession", "-S", "s.ctx")
    found = the(examine(alone), "tpm", "sessions: 0 loaded, room for 3 more; 1 saved")
    assert (found["severity"], len(found["saved"]), found["loaded"]) == ("note", 1, [])
    tpm.tool("tpm2_flushcontext", "-s")
    for _ in range(3):
        start_session(tpm)
    found = the(examine(alone), "tpm", "sessions: 3 loaded, room for 0 more; 0 saved, .* passphrase")
    assert (found["severity"], found["loaded_free"]) == ("warning", 0)
    tpm.tool(*found["command"].split())
    assert the(examine(alone), "tpm", "sessions: 0 loaded")["severity"] == "ok"


def test_lockout_is_told_and_does_not_stop_a_key_without_passphrase(user, make_tpm):
    tpm = make_tpm()
    user.configure(tcti=tpm.tcti)
    user.lct("create", "alice")
    tpm.tool("tpm2_createprimary", "-C", "o", "-p", "right", "-c", "p.ctx")
    tpm.flush()
    for _ in range(3):
        tpm.tool("tpm2_create", "-C", "p.ctx", "-P", "wrong", "-u", "u", "-r", "r", status=None)
        tpm.flush()
    findings = examine(user)
    lockout = the(findings, "tpm", "in lockout after 3 .* 1000 s")
    assert (lockout["in_lockout"], lockout["tries"], lockout["max_tries"]) == (True, 3, 3)
    assert lockout["severity"] == "warning"
    the(findings, "signature", "lct:alice signs")
    assert "keys with a passphrase cannot be used" in lockout["text"]
    assert "the owner's authorization can" in lockout["text"]
    tpm.tool("tpm2_changeauth", "-c", "owner", OWNER)
    user.configure(tcti=tpm.tcti, owner_auth_file=str(private(user, "owner", OWNER)))
    user.lct("persist", "alice")
    tpm.tool(*lockout["command"].split())
    tpm.tool("tpm2_changeauth", "-c", "owner", "-p", OWNER, "")
    assert the(examine(user), "tpm", "not in lockout")["tries"] == 0


def test_a_tpm_that_was_not_started(user, make_tpm):
    tpm = make_tpm()
    tpm.stop()
    tpm.process = subprocess.Popen(
        ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={tpm.directory}",
         "--server", f"type=unixio,path={tpm.path}",
         "--ctrl", f"type=unixio,path={tpm.path}.ctrl", "--flags", "not-need-init",
         "--seccomp", "action=none"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(tpm.path.exists, "swtpm")
    user.configure(tcti=tpm.tcti)
    needed = problem(examine(user, status=9), "TPM2_Startup")
    tpm.tool(*needed["command"].split())
    examine(user)


@pytest.mark.parametrize("code", [Command.GetCapability, Command.PCR_Read])
def test_a_tpm_in_failure_mode(watched, proxy, code):
    proxy.refuse(code, RC_FAILURE)
    findings = examine(watched, status=9)
    broken = the(findings, "tpm", "failure mode")
    assert (broken["severity"], broken["command"]) == ("problem", "systemctl poweroff")


def test_a_tpm_that_says_later_is_asked_again(watched, proxy):
    proxy.refuse(Command.PCR_Read, RC_RETRY, nth=1)
    examine(watched)


def test_a_tcti_module_that_is_missing(user):
    user.configure(tcti="nosuch")
    missing = problem(examine(user, status=9), "no TCTI module nosuch")
    assert missing["command"] == "apt install libtss2-tcti-nosuch0"


def test_a_socket_that_refuses(user):
    user.configure(tcti=f"swtpm:path={user.path('nowhere')}")
    problem(examine(user, status=9), "nowhere: No such file")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(user.path("nowhere")))
        problem(examine(user, status=9), "nowhere: Connection refused")


def test_a_device_that_is_named_and_not_there(user):
    root = machine(user, {"sys/class/tpmrm/tpmrm0/dev": "253:65536\n"})
    user.configure(tcti=f"device:{user.path('nowhere')}")
    problem(examine(user, "--root", root, status=9), "there is no .*/nowhere$")


def test_a_resource_manager_without_a_bus(user):
    user.configure(tcti="tabrmd")
    root = machine(user, {})
    findings = examine(user, "--root", root, status=9)
    missing = problem(findings, f"no tpm2-abrmd: there is no D-Bus at {root}/run/dbus")
    assert missing["command"] == "apt install tpm2-abrmd"
    install_manager(root)
    findings = examine(user, "--root", root, status=9)
    assert problem(findings, "no D-Bus")["command"] == "systemctl start dbus tpm2-abrmd"


def install_manager(root: Path):
    """As the package of tpm2-abrmd does: the bus may start it."""
    (root / ACTIVATION).parent.mkdir(parents=True, exist_ok=True)
    (root / ACTIVATION).write_text("")


def test_a_search_without_a_resource_manager(kernel_user):
    root = machine(kernel_user, {"proc/1/comm": "init\n"})
    for command in (None, "systemctl start dbus tpm2-abrmd"):
        findings = examine(kernel_user, "--root", root, status=9)
        ways = [finding for finding in findings if "way" in finding]
        assert [way["way"] for way in ways] == ["/dev/tpmrm0", "tpm2-abrmd", "/dev/tpm0"]
        assert ways[1]["severity"] == ("note" if command is None else "problem")
        assert ways[1]["command"] == command
        assert f"there is no D-Bus at {root}/run/dbus/system_bus_socket" in ways[1]["text"]
        install_manager(root)


def test_a_search_finds_abrmd(brokered):
    user, broker = brokered
    user.configure(tcti=None)
    address = broker.env["DBUS_SESSION_BUS_ADDRESS"]
    root = machine(user, {"proc/1/comm": "init\n"})
    findings = examine(user, "--root", root, env={"DBUS_SYSTEM_BUS_ADDRESS": address})
    assert the(findings, "way", "tpm2-abrmd answers on the D-Bus")["severity"] == "ok"
    assert the(findings, "way", "no /dev/tpmrm0")["severity"] == "note"
    bus = root / "run/dbus/system_bus_socket"
    bus.parent.mkdir(parents=True)
    bus.symlink_to(re.search("path=([^,]*)", address)[1])
    user.configure(tcti="tabrmd")
    findings = examine(user, "--root", root, status=9)
    assert the(findings, "way", "tpm2-abrmd answers on the D-Bus")["severity"] == "ok"


def test_a_resource_manager_that_is_not_tried(kernel_user):
    root = machine(kernel_user, {"dev/tpmrm0": ""})
    install_manager(root)
    findings = examine(kernel_user, "--root", root, status=9)
    the(findings, "way", "tpm2-abrmd is there, and is not tried because the first")
    kernel_user.configure()
    the(examine(kernel_user, "--root", root), "way", "tpm2-abrmd is there, .*tcti is set")


@pytest.mark.parametrize("listens", [True, False])
def test_a_refusing_bus(kernel_user, listens):
    """A socket whose owner has gone; one that nobody but its owner may use."""
    root = machine(kernel_user, {"proc/1/comm": "init\n"})
    install_manager(root)
    bus = root / "run/dbus/system_bus_socket"
    bus.parent.mkdir(parents=True)
    let_others_in_to(kernel_user)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(bus))
        if not listens:
            findings = examine(kernel_user, "--root", root, status=9)
            the(findings, "way", "no tpm2-abrmd: there is no D-Bus at")
            return
        if os.geteuid() != 0:
            pytest.skip("needs root")
        listener.listen()
        bus.chmod(0o600)
        findings = examine(kernel_user, "--root", root, status=9, **NOBODY)
        denied = the(findings, "way", "tpm2-abrmd may not be asked by this user: Permission denied")
        assert (denied["severity"], denied["command"]) == ("problem", "usermod -aG tss USER")


@pytest.mark.skipif(not shutil.which("dbus-run-session"), reason="needs a private D-Bus")
def test_a_bus_without_a_resource_manager_makes_no_noise(user):
    user.configure(tcti="tabrmd:bus_type=session")
    done = user.run("dbus-run-session", "--", user.build / "lct", "doctor", "--json", status=9)
    problem(json.loads(done.stdout), "tpm2-abrmd is not on the D-Bus$")
    said = [line for line in done.stderr.splitlines() if not line.startswith("dbus-daemon[")]
    assert one_sentence("\n".join([*said, ""])) == "tpm2-abrmd is not on the D-Bus"


def edit(user: User, before: str, after: str):
    """Changes openssl.cnf."""
    text = user.conf.read_text()
    assert before in text
    user.conf.write_text(text.replace(before, after))


def not_activated(user):
    edit(user, f"module = {user.build / 'lct.so'}\nactivate = 1", f"module = {user.build}/lct.so")


def no_module(user):
    edit(user, f"module = {user.build / 'lct.so'}", "module = nosuch.so")


def no_provider(user):
    edit(user, str(user.build / "lct.so"), str(user.write("lct.so", "not a library\n")))


@pytest.mark.parametrize("spoil, pattern", [
    (lambda user: user.configure(order=("default",)), "not in the list"),
    (lambda user: user.configure(order=("lct",)), "default provider is not activated"),
    (lambda user: user.configure(default_properties="provider=default"), "hides lct"),
    (lambda user: user.configure(default_properties="fips=yes"), "fips=yes hides lct"),
    (lambda user: user.configure(colour="green"), "colour"),
    (lambda user: user.conf.write_text("[openssl"), "syntax error"),
    (lambda user: user.conf.unlink(), "no such file"),
    (not_activated, "not activated"),
    (no_module, "there is no module .*/nosuch.so"),
    (no_provider, "does not load lct from .*lct.so: "),
])
def test_openssl_cnf_is_wrong(user, spoil, pattern):
    spoil(user)
    found = problem(examine(user, status=8, env={"LCT_TCTI": user.tcti,
                                                 "LCT_STORE": str(user.store)}), pattern)
    assert str(user.conf) in found["text"]


def test_who_is_not_set_up_is_told_what_to_type(user):
    user.configure(order=("default",))
    found = problem(examine(user, status=8, env={"LCT_TCTI": user.tcti,
                                                 "LCT_STORE": str(user.store)}), "not in the list")
    assert found["command"] == "lct setup"


def test_another_provider_that_fails_is_not_blamed_on_lct(user):
    user.configure(order=("default", "lct", "nosuch"))
    user.conf.write_text(user.conf.read_text() + "[nosuch_sect]\nmodule = nosuch\nactivate = 1\n")
    assert the(examine(user), "openssl", "activates lct")["severity"] == "ok"


@pytest.mark.parametrize("properties", ["?provider=default", "?provider=lct", "fips=no"])
def test_queries_that_hide_nothing(user, properties):
    user.configure(default_properties=properties)
    examine(user)


def test_lct_before_default_is_a_warning(user):
    user.configure(order=("lct", "default"))
    assert the(examine(user), "openssl", "before default")["severity"] == "warning"


def test_a_module_of_another_version(user):
    if user.build.name == "tsan":
        pytest.skip("its runtime calls at the end what a module that was closed has given atexit(3)")
    version = user.lct("--version").stdout.split()[1].encode()
    module = user.write("lct.so", (user.build / "lct.so").read_bytes().replace(
        version + b"\0", b"9" * len(version) + b"\0"))
    edit(user, str(user.build / "lct.so"), str(module))
    assert the(examine(user), "openssl", "version 9+ .*this command")["severity"] == "warning"


@NEEDS_ROOT
def test_a_store_that_cannot_be_written(owner):
    let_others_in(owner)
    for path in (owner.store, *owner.store.rglob("*")):
        path.chmod(0o755)
    findings = examine(owner, **NOBODY)
    found = the(findings, "store", "cannot be written")
    assert (found["severity"], found["writable"]) == ("warning", False)
    owner.store.chmod(0o700)
    the(examine(owner, status=7, **NOBODY), "store", "cannot be read")


@NEEDS_ROOT
def test_what_this_user_may_not_read_is_not_to_be_removed(owner):
    owner.lct("create", "shut")
    owner.openssl("req", "-x509", "-key", "lct:shut", "-subj", "/CN=shut", "-days", "90", "-out",
                  "shut.crt")
    owner.lct("cert", "shut", "--set", "shut.crt")
    let_others_in(owner)
    owner.store.chmod(0o755)
    folder = owner.store / "shut"
    findings = examine(owner, status=7, **NOBODY)
    the(findings, "store", "permission denied")
    assert not any("--remove" in (each["command"] or "") for each in findings)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    (folder / "certs-1.pem").chmod(0o600)
    told = the(examine(owner, **NOBODY), "store", "certificates that cannot be used")
    assert told["command"] == "lct cert shut" and "permission denied" in told["text"].lower()


def test_a_store_that_others_can_write(owner):
    owner.store.chmod(0o777)
    found = the(examine(owner), "store", "others may write")
    assert found["command"] == f"chmod go-w {owner.store}"
    owner.run(*found["command"].split())
    the(examine(owner), "store", "mode 0755, writable")


def test_leftovers_are_counted(owner):
    (owner.store / ".new" / "17-0").mkdir(parents=True)
    the(examine(owner), "store", "1 leftovers")
    assert (owner.store / ".new" / "17-0").exists()


ENDORSEMENT = "the privacy administrator's"
AUTHORIZATIONS = [("owner", "owner_auth_file", OWNER),
                  ("endorsement", "endorsement_auth_file", ENDORSEMENT)]


def private(user: User, name: str, content: str) -> Path:
    path = user.write(name, content)
    path.chmod(0o600)
    return path


def test_which_authorizations_are_set_is_told(owned):
    found = the(examine(owned), "tpm", "^authorizations: owner set, endorsement not set, lockout not")
    assert (found["owner_auth_set"], found["endorsement_auth_set"]) == (True, False)
    missing = the(examine(owned), "tpm", "no storage root key .* needs the owner's .*owner_auth_file")
    assert missing["severity"] == "warning"
    owned.configure(owner_auth_file=str(private(owned, "o", OWNER)))
    assert the(examine(owned), "tpm", "no storage root key")["severity"] == "note"


@pytest.mark.parametrize("hierarchy, key, secret", AUTHORIZATIONS)
def test_the_tpm_accepts_an_authorization(owned, hierarchy, key, secret):
    owned.tpm.tool("tpm2_changeauth", "-c", "endorsement", ENDORSEMENT)
    owned.configure(**{key: str(private(owned, "auth", secret + "\n"))})
    owned.proxy.messages.clear()
    found = the(examine(owned), "secret", f"{key}: the TPM accepts what is in {owned.path('auth')}")
    assert (found["severity"], found["accepted"]) == ("ok", True)
    assert owned.proxy.messages and not on_the_bus(owned.proxy, secret)
    assert set(owned.proxy.codes) <= HARMLESS | {
        Command.CreatePrimary, Command.StartAuthSession, Command.PolicySecret}
    assert owned.tpm.left_behind() == []


def test_the_tpm_accepts_an_authorization_behind_a_resource_manager(brokered):
    user, broker = brokered
    broker.tpm.tool("tpm2_changeauth", "-c", "owner", OWNER)
    user.configure(owner_auth_file=str(private(user, "auth", OWNER)))
    user.lct("create", "alice", env=broker.env)
    findings = examine(user, env=broker.env)
    the(findings, "secret", "the TPM accepts")
    the(findings, "tpm", "transient objects: none loaded, .* hides other programs'$")
    the(findings, "signature", "lct:alice signs")


@pytest.mark.parametrize("hierarchy, key, _secret", AUTHORIZATIONS)
def test_the_tpm_refuses_an_authorization(owned, hierarchy, key, _secret):
    owned.tpm.tool("tpm2_changeauth", "-c", "endorsement", ENDORSEMENT)
    owned.configure(**{key: str(private(owned, "auth", "wrong"))})
    for _ in range(4):
        found = the(examine(owned), "secret", f"{key}: the TPM refuses .*changeauth -c {hierarchy}")
        assert (found["severity"], found["accepted"]) == ("warning", False)
        assert found["command"] == f"editor {owned.path('auth')}"
    assert (count(owned), owned.tpm.left_behind()) == (0, [])


def test_an_authorization_that_the_tpm_does_not_have(alone):
    alone.configure(owner_auth_file=str(private(alone, "auth", "of another time")))
    found = the(examine(alone), "secret", "owner_auth_file: .*/auth is there, and not needed")
    assert found["severity"] == "note"


@pytest.mark.parametrize("code, nth", [
    (Command.CreatePrimary, 1), (Command.StartAuthSession, 1), (Command.StartAuthSession, 2),
    (Command.PolicySecret, 1), (Command.FlushContext, 1), (Command.FlushContext, 2),
    (Command.FlushContext, 3)])
def test_a_response_that_is_lost_leaves_no_session_behind(owned, code, nth):
    """The TPM has done what it was told, and who asked does not know."""
    def lose(_command, ask):
        ask()
        return b""

    owned.configure(owner_auth_file=str(private(owned, "auth", OWNER)))
    start_session(owned.tpm)
    others = owned.tpm.left_behind()
    owned.proxy.hook(code, lose, nth)
    the(examine(owned), "secret", "the TPM accepts")
    assert owned.tpm.left_behind() == others
    owned.tpm.tool("tpm2_flushcontext", "-l")


def test_an_answer_that_is_not_the_tpm_s_is_not_believed(owned):
    owned.configure(owner_auth_file=str(private(owned, "auth", OWNER)))
    owned.proxy.hook(Command.PolicySecret, Spoiler(0, 2))
    found = the(examine(owned), "secret", "accepts .* was not found out")
    assert found["severity"] == "warning" and "accepted" not in found
    assert owned.tpm.left_behind() == []


def test_no_session_to_be_had_to_check_an_authorization(owned):
    owned.configure(owner_auth_file=str(private(owned, "auth", OWNER)))
    for _ in range(3):
        start_session(owned.tpm)
    found = the(examine(owned), "secret", "was not found out: .*slots for sessions are taken")
    assert found["severity"] == "warning"
    owned.tpm.tool("tpm2_flushcontext", "-l")


def test_a_file_of_an_authorization_that_is_not_there(alone):
    alone.configure(owner_auth_file="/nowhere/a b")
    found = the(examine(alone), "secret", "owner_auth_file: .* cannot be read: No such file")
    assert found["severity"] == "warning"
    assert found["command"] == "install -m 600 /dev/stdin '/nowhere/a b'"


@pytest.mark.parametrize("content, text", [
    ("", "is empty"), ("x" * 33, "longer than 32"), ("a\0b", "zero byte")])
@pytest.mark.parametrize("key", ["owner_auth_file", "endorsement_auth_file", "passphrase_file"])
def test_a_file_of_what_is_no_authorization(alone, key, content, text):
    alone.configure(**{key: str(private(alone, "auth", content))})
    found = the(examine(alone), "secret", f"{key} .*{text}.*: .*/auth$")
    assert found["severity"] == "warning"


@pytest.mark.parametrize("key", ["owner_auth_file", "endorsement_auth_file", "passphrase_file"])
def test_a_file_of_an_authorization_that_everybody_may_read(alone, key):
    file = private(alone, "auth", "secret")
    alone.configure(**{key: str(file)})
    assert "others" not in str(examine(alone))
    for mode, verb in ((0o644, "read"), (0o604, "read"), (0o620, "write")):
        file.chmod(mode)
        found = the(examine(alone), "secret", f"{key}: others may {verb}.*{mode:04o}")
        assert (found["severity"], found["command"]) == ("warning", f"chmod 600 {file}")
    alone.run(*found["command"].split())
    assert "others" not in str(examine(alone))


@NEEDS_ROOT
def test_a_file_of_an_authorization_that_this_user_may_not_read(alone):
    alone.configure(owner_auth_file=str(private(alone, "auth", "secret")))
    let_others_in(alone)
    alone.path("auth").chmod(0o600)
    found = the(examine(alone, status=None, **NOBODY), "secret", "Permission denied")
    assert found["severity"] == "warning" and "owner_auth_file" in found["text"]


def test_a_pipe_is_left_for_the_program_that_it_is_for(alone):
    os.mkfifo(alone.path("pipe"), 0o600)
    alone.configure(owner_auth_file=str(alone.path("pipe")))
    assert the(examine(alone), "secret", "no regular file, and was not read")["severity"] == "note"


def test_passphrases_in_one_file(locked):
    locked.lct("create", "free")
    locked.configure(passphrase_file=str(private(locked, "all", SECRET)))
    found = the(examine(locked), "secret", "passphrase_file: .*/all has the passphrase of k$")
    assert (found["severity"], found["with"], found["without"]) == ("ok", ["k"], [])
    locked.lct("delete", "k", "--yes")
    the(examine(locked), "secret", "passphrase of no identity, and none takes one")


def test_passphrases_in_a_directory(locked):
    directory = locked.path("credentials")
    directory.mkdir(mode=0o700)
    locked.lct("create", "free")
    locked.lct("create", "other", "--passphrase-file", locked.secret)
    private(locked, "credentials/k", SECRET)
    locked.configure(passphrase_file=str(directory))
    found = the(examine(locked), "secret", "files of k, and none of other, whose .* asked for")
    assert (found["severity"], found["with"], found["without"]) == ("note", ["k"], ["other"])
    (directory / "k").chmod(0o644)
    private(locked, "credentials/other", "")
    directory.chmod(0o777)
    findings = examine(locked)
    for path, command in ((directory, "chmod 700"), (directory / "k", "chmod 600")):
        found = the(findings, "secret", f"others may .* {path} ")
        assert found["command"] == f"{command} {path}"
    the(findings, "secret", "is empty: .*/other$")
    the(findings, "secret", "files of k, other$")


def test_passphrases_in_credentials(locked):
    """What passphrase_file does not have is looked for there, and only then asked for."""
    for name in ("files", "credentials"):
        locked.path(name).mkdir(mode=0o700)
    locked.lct("create", "free")
    locked.lct("create", "other", "--passphrase-file", locked.secret)
    private(locked, "files/k", SECRET)
    private(locked, "credentials/lct.other", SECRET)
    env = {"CREDENTIALS_DIRECTORY": str(locked.path("credentials"))}
    found = the(examine(locked, env=env), "secret", "^credentials: ")
    assert (found["with"], found["without"], found["severity"]) == (["other"], ["k"], "note")
    assert "files of other, and none of k, whose passphrases are asked for" in found["text"]
    locked.configure(passphrase_file=str(locked.path("files")))
    findings = examine(locked, env=env)
    found = the(findings, "secret", "^passphrase_file: .* files of k, and none of other$")
    assert (found["with"], found["without"], found["severity"]) == (["k"], ["other"], "ok")
    found = the(findings, "secret", "^credentials: .* files of other$")
    assert (found["with"], found["without"], found["severity"]) == (["other"], [], "ok")
    locked.path("credentials/lct.other").chmod(0o644)
    the(examine(locked, env=env), "secret", "credentials: others may read .*/lct.other ")
    private(locked, "files/other", SECRET)
    assert not [each for each in examine(locked, env=env) if "credentials: " in each["text"]]
    locked.path("credentials/lct.k").write_text("wrong")
    locked.configure(passphrase_file=str(private(locked, "all", SECRET)))
    assert not [each for each in examine(locked, env=env) if "credentials: " in each["text"]]


def test_a_signature_with_the_passphrase_that_is_configured(locked):
    locked.configure(passphrase_file=str(private(locked, "all", SECRET)))
    the(examine(locked), "signature", "lct:k signs")
    private(locked, "all", "wrong")
    problem(examine(locked, status=12), "lct:k: wrong passphrase")
    assert count(locked) == 1
    problem(examine(locked, status=12), "lct:k: wrong passphrase")
    found = the(examine(locked), "signature", "one more that is wrong would lock the TPM")
    assert (found["severity"], count(locked)) == ("warning", 2)
    assert found["command"] == "tpm2_dictionarylockout -c"  # lct doctor k does not sign either
    locked.lct("create", "free")
    the(examine(locked), "signature", "lct:free signs")
    locked.tpm.lockout_count = 2


def spend_all_tries_but_one(locked):
    """By the passphrase in the file that is configured, which is wrong."""
    locked.configure(passphrase_file=str(private(locked, "all", "wrong")))
    for _ in range(2):
        problem(examine(locked, "k", status=12), "lct:k: wrong passphrase")
    assert count(locked) == 2


def test_an_identity_that_is_asked_about_does_not_cost_the_last_try(locked):
    """It is looked at all the same, but for its signature."""
    spend_all_tries_but_one(locked)
    directory = locked.path("credentials")
    directory.mkdir(mode=0o700)
    private(locked, "credentials/lct.k", "wrong")
    ways = [{"env": {}}, {"env": {"CREDENTIALS_DIRECTORY": str(directory)}}]
    for place, arguments in ((str(locked.path("all")), []), (None, []),
                             (None, ["--passphrase-file", locked.path("all")])):
        locked.configure(passphrase_file=place)
        for options in ways if place is not None or arguments else ways[1:]:
            findings = examine(locked, "k", *arguments, **options)
            found = the(findings, "signature", "lct:k .*one more that is wrong would lock the TPM")
            assert found["severity"] == "warning"
            the(findings, "identity", "has the Name in the record")
            assert not [each for each in findings if "signature that verifies" in each["text"]]
            assert count(locked) == 2
    locked.tpm.tool(*found["command"].split())
    private(locked, "all", SECRET)
    examine(locked, "k", "--passphrase-file", locked.path("all"))
    assert count(locked) == 0


def test_a_parent_that_is_made_anew_is_made_at_the_last_try_too(owned):
    """What is looked at takes the owner's authorization, which the lockout does not count."""
    owned.configure(owner_auth_file=str(owned.owner), provision="no")
    owned.lct("create", "k", "--passphrase-file", private(owned, "pass", SECRET))
    private(owned, "wrong", "wrong")
    for _ in range(2):
        owned.lct("sign", "k", "--passphrase-file", owned.path("wrong"), stdin="x", status=12)
    for arguments in ([], ["--passphrase-file", owned.path("wrong")]):
        owned.configure(owner_auth_file=str(owned.owner), provision="no",
                        passphrase_file=None if arguments else str(owned.path("wrong")))
        findings = examine(owned, "k", *arguments)
        the(findings, "signature", "lct:k .*one more that is wrong would lock the TPM")
        the(findings, "identity", "has the Name in the record")
        assert count(owned) == 2
    owned.tpm.lockout_count = 2


def test_the_last_try_is_the_user_s(locked):
    """Who types a passphrase knows what it costs."""
    spend_all_tries_but_one(locked)
    locked.lct("create", "free")
    the(examine(locked, "free"), "signature", "lct:free signs")
    locked.configure()
    shown = on_a_terminal(locked, [str(locked.build / "lct"), "doctor", "k"], SECRET)
    assert shown.startswith("0 ") and "lct:k signs" in shown
    locked.tpm.lockout_count = 2


def test_identities_that_are_all_damaged_are_a_problem(alone):
    (alone.store / "alice" / "key-1.pem").write_text("")
    found = problem(examine(alone, status=6), "no identity can be used, .*lct:alice")
    assert found["command"] == "lct check"


def test_identities_in_software_alone_are_identities(alone):
    """Whose signature says nothing of the TPM."""
    alone.lct("delete", "alice", "--yes")
    the(examine(alone), "signature", "there is no identity to sign with")
    alone.lct("create", "s", "--software", "--passphrase-file",
              private(alone, "pass", SECRET))
    found = the(examine(alone), "signature", "no identity has its key in the TPM")
    assert (found["severity"], found["command"]) == ("note", "lct doctor s")
    alone.lct("create", "t")
    (alone.store / "t" / "key-1.pem").write_text("")
    problem(examine(alone, status=6), "no identity whose key is in the TPM can be used, .*lct:t")
    alone.lct("delete", "t", "--yes")
    alone.lct("retire", "s", "--yes", "--passphrase-file", alone.path("pass"))
    the(examine(alone), "signature", "there is no identity to sign with")


def test_who_is_asked_for_a_passphrase(locked):
    """Once, and only where it is about one identity."""
    lct = str(locked.build / "lct")
    shown = on_a_terminal(locked, [lct, "doctor"])
    assert shown.startswith("0 ") and "every identity takes a passphrase" in shown
    shown = on_a_terminal(locked, [lct, "doctor", "k"], SECRET)
    assert shown.startswith("0 ") and "lct:k signs" in shown
    assert shown.count("passphrase of lct:k") == 1


def test_no_authorization_is_asked_for(owned):
    shown = on_a_terminal(owned, [str(owned.build / "lct"), "doctor"])
    assert shown.startswith("0 ") and "needs the owner's authorization" in shown


def test_the_settings_and_who_made_them(owner, tpm):
    owner.configure(session="always", timeout="7", tcti="nosuch")
    found = the(examine(owner, "--tcti", tpm.tcti, env={"LCT_STORE": str(owner.store)}), "openssl",
                "settings of lct")
    assert found["text"] == (f"settings of lct: tcti = {tpm.tcti} (--tcti), store = {owner.store} "
                             "(LCT_STORE), session = always, timeout = 7, seal = none, "
                             "pcr_signature = none")
    assert (found["session"], found["timeout"]) == ("always", 7)
    owner.configure()
    found = the(examine(owner), "openssl", "settings of lct")
    assert (found["session"], found["timeout"]) == ("auto", None)
    the(examine(owner), "openssl", f"{owner.conf} .named by OPENSSL_CONF. activates lct, .* version 0")


def test_each_setting_is_told(alone):
    """A new one has to be put here, too."""
    secret = str(private(alone, "all", SECRET))
    values = {"tcti": alone.tcti, "store": str(alone.store), "provision": "no", "timeout": "7",
              "session": "always", "passphrase_file": secret, "credentials": "/tmp",
              "owner_auth_file": secret, "endorsement_auth_file": secret, "seal": "none",
              "pcr_signature": "/nowhere", "require_hardware": "new", "log": "/dev/null",
              "audit": "/dev/null"}
    table = (ROOT / "base/config.c").read_text().partition("lct_config_key keys[] = {")[2]
    assert set(values) == set(re.findall(r'^    \{"(\w+)"', table.partition("};")[0], re.MULTILINE))
    for key, value in values.items():
        alone.configure(**{"tcti": None, "store": None, "seal": None, "pcr_signature": None,
                           key: value})
        given = {"--tcti": alone.tcti, "--store": alone.store}
        given.pop(f"--{key}", None)
        words = [word for pair in given.items() for word in pair]
        done = alone.lct("doctor", "--json", *words, status=None)
        found = the(json.loads(done.stdout), "openssl", "settings of lct")
        assert f"{key} = {value}" in found["text"]


def test_what_the_environment_sets_is_no_default(owner):
    def settings(**env):
        return the(examine(owner, env=env), "openssl", "settings of lct")["text"]

    owner.configure(require_hardware="new")
    assert settings().endswith("require_hardware = new")
    assert settings(LCT_REQUIRE_HARDWARE="no").endswith("require_hardware = new")
    assert settings(LCT_REQUIRE_HARDWARE="yes").endswith(
        "require_hardware = yes (LCT_REQUIRE_HARDWARE)")
    assert "credentials = /tmp (CREDENTIALS_DIRECTORY)" in settings(CREDENTIALS_DIRECTORY="/tmp")


def test_a_path_does_not_move_the_cursor(user):
    """Not by a control character of two or three bytes either; letters that have such bytes stay."""
    store = f"{user.directory}/a\x9b2J\u202e\u2066\u69db"
    os.mkdir(store)
    the(examine(user, env={"LCT_STORE": store}), "store", r"/a\?\?2J\?{6}\u69db\b")


def test_a_path_of_any_bytes_is_a_finding_all_the_same(user):
    store = os.fsdecode(os.fsencode(user.directory) + b"/a\xff\x1b b'c")
    os.mkdir(store, 0o777)
    os.chmod(store, 0o777)
    found = the(examine(user, env={"LCT_STORE": store}), "store", r"/a\?\? b'c: others may write")
    assert found["command"] is None
    os.rename(store, user.path("a b'c"))
    found = the(examine(user, env={"LCT_STORE": str(user.path("a b'c"))}), "store", "others may")
    user.run("sh", "-c", found["command"])
    assert user.path("a b'c").stat().st_mode & 0o777 == 0o755
