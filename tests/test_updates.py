# SPDX-License-Identifier: Apache-2.0
"""Updates that lock keys: who is warned, by which hook, and what is approved ahead of them."""

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess

import pytest

import sealing
from conftest import ROOT, TIMEOUT
from sealing import SEALED, measure, reboot
from test_command import one_sentence

HOOKS = ROOT / "conf" / "hooks"
USAGE, WRONG_KEY, UNSUPPORTED, CHECK, IO, ENDED = 2, 14, 15, 16, 18, 25
BANKS = {"sha256": 0x0B, "sha384": 0x0C}
GLOBAL = bytes.fromhex("cbb219d73a3d9645a3bcdad00e67656f")  # EFI_IMAGE_SECURITY_DATABASE_GUID
VARIABLE, IPL, POST_CODE = 0x80000001, 0x0D, 1


@pytest.fixture(name="keys")
def fixture_keys(sealer):
    """A user whose keys are sealed in every way."""
    for key, seal in (("default", ()), ("loader", ("--seal", "sha256:4")),
                      ("strict", ("--seal", "strict:sha256:0,9")),
                      ("approved", ("--seal", "authority:sha256:7")), ("free", ("--seal", "none"))):
        sealer.lct("create", key, *seal)
    return sealer


@pytest.mark.parametrize("update, warned, lost", [
    ("firmware", {"default"}, {"strict"}), ("secureboot", {"default", "approved"}, set()),
    ("bootloader", {"loader"}, {"strict"}), ("kernel", {"loader"}, {"strict"}),
    ("initramfs", {"loader"}, {"strict"})])
def test_affected_names_the_keys_and_what_approves(keys, authority, update, warned, lost):
    lines = keys.lct("affected", update).stdout.splitlines()
    named = {word.removeprefix("lct:") for line in lines if "nobody" not in line
             for word in line.split() if word.startswith("lct:")}
    never = {word.removeprefix("lct:") for line in lines if "nobody" in line
             for word in line.split() if word.startswith("lct:")}
    assert (named, never) == (warned, lost)
    (command,) = [line for line in lines if line.startswith("after the reboot:")]
    before, _, ids = command.partition(f"lct approve --authority {authority.key} ")
    assert before and set(ids.split()) == warned


def test_affected_is_silent_where_nothing_is_and_asks_no_tpm(make_sealer, tpm, make_proxy):
    proxy = make_proxy()
    sealer = make_sealer(tpm, proxy.tcti)
    sealer.lct("create", "k", "--seal", "sha256:7")
    proxy.codes.clear()
    for update in ("firmware", "bootloader", "kernel", "initramfs"):
        done = sealer.lct("affected", update)
        assert (done.stdout, done.stderr) == ("", "")
    assert proxy.codes == []
    assert "firmware" in one_sentence(sealer.lct("affected", "bios", status=USAGE).stderr)


def test_keys_of_several_authorities_are_approved_by_a_command_each(sealer):
    for key in ("a", "c"):
        sealer.lct("create", key)
    (sealer.store / ".authority.pub.pem").unlink()
    sealer.lct("authority", "init", "--out", "second.pem", "--passphrase-file",
               sealer.write("secret", sealing.PASSPHRASE))
    sealer.lct("create", "b")
    place = sealer.path("second.pem").resolve()
    lines = sealer.lct("affected", "firmware").stdout.splitlines()
    assert lines[0].endswith(": lct:a lct:b lct:c")
    assert [line.partition("lct approve ")[2] for line in lines[1:]] == [
        "--authority KEY.pem a c", f"--authority {place} b"]


def signs(user, uri: str, status: int = 0):
    user.openssl("dgst", "-sha256", "-sign", uri, "-out", "sig", "data", status=status)


def approved(user, authority, *operands: str) -> set[str]:
    """For whom an approval is made."""
    done = user.lct("approve", *authority.options, *operands)
    return {line.partition("approved for ")[2].partition(": ")[0]
            for line in done.stdout.splitlines()}


@pytest.mark.parametrize("words", [["retire"], ["revoke", "--reason", "compromise"]],
                         ids=lambda words: words[0])
def test_nobody_waits_for_a_key_that_signs_no_more(keys, authority, tpm, words):
    for key in ("default", "strict"):
        keys.lct(words[0], key, *words[1:], "--yes")
    done = keys.lct("affected", "firmware")
    assert done.stdout + done.stderr == ""
    assert keys.lct("affected", "secureboot").stdout.splitlines()[0].endswith(": lct:approved")
    measure(tpm, 0, 7)
    found = json.loads(keys.lct("doctor", "--json", status=None).stdout)
    (shut,) = [each["text"] for each in found if "does not open" in each["text"]]
    assert shut.endswith(": lct:approved")
    metrics = keys.lct("doctor", "--metrics").stdout
    assert {line for line in metrics.splitlines() if line.startswith("lct_identity_seal_open")} == {
        'lct_identity_seal_open{id="approved"} 0', 'lct_identity_seal_open{id="loader"} 1'}
    assert approved(keys, authority) == {"lct:approved", "lct:loader"}
    said = one_sentence(keys.lct("approve", *authority.options, "default", status=ENDED).stderr)
    assert said.startswith("lct:default: it was re") and "signs no more" in said
    text = keys.lct("doctor", "default", status=ENDED).stdout
    assert "signs no more" in text and "lct approve" not in text and "PCR 0 (" not in text


def test_a_request_of_an_identity_that_has_ended_is_refused_where_that_is_known(sealer, make_user,
                                                                                authority):
    sealer.lct("create", "k", "--seal", "sha256:7")
    request = sealer.write("request", sealer.lct("pcrs", "k").stdout)
    sealer.lct("retire", "k", "--yes")
    done = sealer.lct("approve", *authority.options, "--pcrs", request, status=ENDED)
    said = one_sentence(done.stderr)
    assert said.startswith("lct:k: it was retired") and done.stdout == ""
    assert sealing.approvals(sealer) == []
    for user in (sealer, make_user("swtpm:path=/nowhere")):  # it is another machine's, perhaps
        user.lct("approve", *authority.options, "--pcrs", request, "--out", "approval")


def test_what_a_former_authority_approves_is_taken_by_id_on_the_machine_alone(sealer, authority,
                                                                              tpm):
    """lct-authority(1) says that, and what the way out is."""
    sealer.lct("create", "k", "--seal", "sha256:7")
    public, aside = sealer.store / ".authority.pub.pem", sealer.path("former.pub")
    public.rename(aside)
    sealer.lct("authority", "init", "--out", "second.pem", "--passphrase-file",
               sealer.write("secret", sealing.PASSPHRASE))
    measure(tpm, 7)
    request = sealer.write("request", sealer.lct("pcrs", "k").stdout)
    former = ("approve", *authority.options)
    sealer.lct(*former, "--pcrs", request, "--out", "approval")
    for words in ((*former, "--pcrs", request), ("approve", "--import", "approval")):
        one_sentence(sealer.lct(*words, status=WRONG_KEY).stderr)
    signs(sealer, "lct:k", status=1)
    sealer.lct(*former, "k")
    signs(sealer, "lct:k")
    sealer.lct("rotate", "k")
    sealer.lct("rotate", "k", "--commit", "--overlap", "0")
    one_sentence(sealer.lct(*former, status=WRONG_KEY).stderr)  # of secrets, it could be
    for file in sealing.approvals(sealer):
        file.unlink()
    aside.rename(public)
    sealer.lct("approve", "--import", "approval")


def test_a_key_that_is_to_follow_is_affected_and_approved_for(sealer, authority, tpm):
    sealer.lct("create", "k", "--seal", "none")
    sealer.lct("rotate", "k", "--seal", "sha256:0")
    lines = sealer.lct("affected", "firmware").stdout.splitlines()
    assert lines[0].endswith(": lct:k") and lines[1].endswith(f" --authority {authority.key} k")
    measure(tpm, 0)
    signs(sealer, "lct:k")
    signs(sealer, "lct:k?generation=2", status=1)
    found = json.loads(sealer.lct("doctor", "--json").stdout)
    (shut,) = [each for each in found if "does not open" in each["text"]]
    assert shut["text"].endswith(": lct:k?generation=2")
    assert (shut["severity"], shut["command"]) == ("warning", "lct doctor k")
    found = json.loads(sealer.lct("doctor", "k", "--json").stdout)
    (shut,) = [each for each in found if each["text"].startswith("lct:k?generation=2 is sealed")]
    assert shut["severity"] == "warning"
    assert shut["command"] == f"lct approve --authority {authority.key} k"
    assert approved(sealer, authority, "k") == {"lct:k?generation=2"}
    signs(sealer, "lct:k?generation=2")
    assert "does not open" not in sealer.lct("doctor").stdout
    measure(tpm, 0)
    assert approved(sealer, authority) == {"lct:k?generation=2"}


def test_all_keys_that_sign_are_approved_for(sealer, authority, tpm):
    """The one before, while it does. One approval serves those that take the same ones."""
    sealer.lct("create", "k", "--seal", "sha256:7")
    sealer.lct("rotate", "k")
    measure(tpm, 7)
    assert approved(sealer, authority, "k") == {"lct:k"}
    for number in (1, 2):
        signs(sealer, f"lct:k?generation={number}")
    sealer.lct("rotate", "k", "--withdraw")
    sealer.lct("rotate", "k", "--seal", "sha256:0", "--bind")
    sealer.lct("rotate", "k", "--commit", "--overlap", "24h")
    measure(tpm, 0, 7)
    number = max(each["generation"] for each in sealer.record("k")["generations"])
    assert approved(sealer, authority, "k") == {"lct:k", "lct:k?generation=1"}
    for each in (1, number):
        signs(sealer, f"lct:k?generation={each}")
    measure(tpm, 0, 7)
    made = json.loads(sealer.lct("approve", *authority.options, "--json", "k").stdout)
    assert [each["whom"] for each in made["approvals"]] == ["lct:k", "lct:k?generation=1"]
    measure(tpm, 0, 7)
    sealer.lct("approve", *authority.options, "--out", "file", "k")  # of the active one
    assert "took 1 approval " in sealer.lct("approve", "--import", "file").stdout
    signs(sealer, "lct:k")
    sealer.lct("rotate", "k", "--overlap", "0")
    assert approved(sealer, authority) == {"lct:k"}
    assert "lct:" not in sealer.lct("affected", "secureboot").stdout


LOOSE, TIGHT = "sha256:7", "sha256:0,2,7"
BOUND = pytest.mark.parametrize("bind", [(), ("--bind",)], ids=["", "bound"])


def opened(done) -> list[tuple[str, str, str]]:
    """What approve warns of: the PCRs approved, which key of the identity that opens, its seal."""
    return re.findall(r"^lct: warning: this approval of (\S+) opens (\S+) as well, which is sealed "
                      r"to (\S+); keys of one identity .*$", done.stderr, re.MULTILINE)


@BOUND
@pytest.mark.parametrize("stage", ["overlap", "pending"])
def test_a_key_of_fewer_pcrs_loosens_no_seal_of_the_active_one(sealer, authority, tpm, stage, bind):
    """It takes the approvals of that, and one of its own would open that for ever."""
    first, then = (LOOSE, TIGHT) if stage == "overlap" else (TIGHT, LOOSE)
    sealer.lct("create", "k", "--seal", first, *bind)
    sealer.lct("rotate", "k", "--seal", then, *bind)
    if stage == "overlap":
        sealer.lct("rotate", "k", "--commit")
    measure(tpm, 2, 7)
    done = sealer.lct("approve", *authority.options, "k")
    assert done.stdout.count("approved for ") == 1 and f"for lct:k: {TIGHT} " in done.stdout
    assert done.stderr == ""
    for number in (1, 2):
        signs(sealer, f"lct:k?generation={number}")
    measure(tpm, 2)
    signs(sealer, "lct:k", status=1)


@BOUND
def test_approve_warns_of_a_stricter_key_of_the_same_identity(sealer, authority, tpm, bind):
    sealer.lct("create", "k", "--seal", LOOSE, *bind)
    sealer.lct("rotate", "k", "--seal", TIGHT, *bind)
    measure(tpm, 2, 7)
    done = sealer.lct("approve", *authority.options, "k")
    assert opened(done) == [(LOOSE, "lct:k?generation=2", TIGHT)]
    signs(sealer, "lct:k?generation=2")
    sealer.write("request", sealer.lct("pcrs", "k").stdout)
    done = sealer.lct("approve", *authority.options, "--pcrs", "request")
    assert opened(done) == [(LOOSE, "lct:k?generation=2", TIGHT)]


def test_where_the_active_key_is_not_sealed_the_next_one_is_approved_for(sealer, authority, tpm):
    """And the one before takes what is approved for that."""
    for seal in (LOOSE, "none", TIGHT):
        sealer.lct("rotate" if sealer.path("store/k").exists() else "create", "k", "--seal", seal)
        if seal == "none":
            sealer.lct("rotate", "k", "--commit")
    measure(tpm, 2, 7)
    done = sealer.lct("approve", *authority.options, "k")
    assert done.stdout.count("approved for ") == 1
    assert f"for lct:k?generation=3: {TIGHT} " in done.stdout and done.stderr == ""
    for number in (1, 3):
        signs(sealer, f"lct:k?generation={number}")
    measure(tpm, 2)
    signs(sealer, "lct:k?generation=3", status=1)


def test_values_that_are_not_of_the_next_key_approve_for_the_active_one(sealer, authority, tpm):
    sealer.lct("create", "k", "--seal", "sha256:7")
    sealer.lct("rotate", "k", "--seal", "sha256:0", "--bind")
    measure(tpm, 0, 7)
    sealer.write("values", sealer.lct("pcrs", "k").stdout)
    done = sealer.lct("approve", *authority.options, "--pcrs", "values", "k")
    assert "approved for lct:k: " in done.stdout
    assert "warning: lct:k?generation=2: it is sealed to" in done.stderr
    signs(sealer, "lct:k")


def test_what_ends_the_key_of_an_identity_in_the_tpm_does_so_after_its_end(make_sealer, authority,
                                                                          make_tpm):
    """lct-retire(1) says that: a copy of its file signs on with other tools."""
    sealer = make_sealer(make_tpm())
    sealer.lct("create", "k", "--seal", "authority", "--revocable")
    sealer.lct("approve", *authority.options, "k")
    sealer.lct("retire", "k", "--yes")
    done = sealer.lct("reseal", "k", *authority.options, "--revoke")
    assert "revoked what was approved for lct:k up to a counter of " in done.stdout
    sealer.lct("reseal", "k", *authority.options, status=ENDED)


LEAKY = {"ASAN_OPTIONS": "detect_leaks=0"}  # sed is


def path_with(user) -> dict[str, str]:
    return LEAKY | {"PATH": f"{user.build}:{os.environ['PATH']}"}


@pytest.mark.parametrize("name", ["kernel-hook.sh", "initramfs-hook.sh"])
def test_a_hook_warns_on_standard_error_and_never_fails(keys, user, name):
    script = HOOKS / name
    done = keys.run("sh", "-e", script, "6.1.0-1", "/boot/vmlinuz-6.1.0-1", env=path_with(keys))
    assert done.stdout == "" and "lct:loader" in done.stderr and "lct approve" in done.stderr
    quiet = user.run("sh", "-e", script, env=path_with(user))
    assert quiet.stdout + quiet.stderr == ""
    user.write("store", "no directory")
    said = user.run("sh", "-e", script, env=path_with(user))
    assert said.stdout == "" and "Not a directory" in one_sentence(said.stderr)
    no_lct = user.run("sh", "-e", script, env=LEAKY | {"PATH": "/usr/bin:/bin"})
    assert no_lct.stdout + no_lct.stderr == ""


def test_an_identity_that_cannot_be_read_is_told_by_a_hook(keys):
    (keys.store / "loader" / "identity.json").write_text("{")
    done = keys.run("sh", "-e", HOOKS / "kernel-hook.sh", env=path_with(keys))
    assert "warning: " in done.stderr and "loader" in done.stderr


def give_authority_s_path(user, path: str):
    """As if its private half had been put there."""
    file = user.store / ".authority.pub.pem"
    text = file.read_text()
    file.write_text(f"private-key: {path}\n" + "".join(
        line for line in text.splitlines(keepends=True) if not line.startswith("private-key: ")))


@pytest.mark.parametrize("path, shown", [
    ("/media/the stick/key's.pem", "'/media/the stick/key'\\''s.pem'"),
    ("/media/\x1b[2J.pem", "KEY.pem"), ("/media/\x9b2J.pem", "KEY.pem"),
    ("/media/\u69db\xa0.pem", "'/media/\u69db\xa0.pem'")], ids=["spaces", "C0", "C1", "letters"])
def test_the_path_of_the_authority_s_key_can_be_typed_as_it_is_shown(keys, path, shown):
    """Who may write to the store has a say in what is on the terminal, but none in what it does."""
    give_authority_s_path(keys, path)
    out = keys.lct("affected", "kernel").stdout
    out += keys.lct("authority", "show").stdout + keys.lct("doctor", status=None).stdout
    assert f"lct approve --authority {shown} " in out and not re.search("[\x1b\x9b]", out)


def test_the_kernel_s_hook_speaks_for_the_initramfs_that_it_makes(keys):
    env = path_with(keys) | {"DEB_MAINT_PARAMS": "configure"}
    done = keys.run("sh", "-e", HOOKS / "initramfs-hook.sh", env=env)
    assert done.stdout + done.stderr == ""


def apt_command(user, esp) -> str:
    """What apt runs, as apt reads it."""
    if not shutil.which("apt-config"):
        pytest.skip("apt is not installed")
    done = subprocess.run(["apt-config", "-c", HOOKS / "apt-hook.conf", "dump", "--no-empty",
                           "--format", "%v%n", "DPkg::Post-Invoke"], check=True, timeout=TIMEOUT,
                          env=user.environment(), capture_output=True, text=True)
    (command,) = [line for line in done.stdout.splitlines() if "lct" in line]
    assert "/boot/efi /efi" in command
    return command.replace("/boot/efi /efi", f"{esp} /not/there")


def test_apt_s_hook_warns_of_a_boot_loader_that_is_newer_than_the_boot(keys):
    esp = keys.path("esp")
    (esp / "EFI" / "debian").mkdir(parents=True)
    loader = esp / "EFI" / "debian" / "SHIMX64.EFI"
    command = apt_command(keys, esp)

    def run(**env):
        done = keys.run("sh", "-c", command, env=path_with(keys) | env)
        assert done.stderr == ""
        return done.stdout

    assert run() == ""
    loader.write_bytes(b"MZ")
    assert "lct:loader" in run() and "lct approve" in run()
    assert run(PATH="/usr/bin:/bin") == ""
    os.utime(loader, (1e9, 1e9))
    assert run() == ""


def test_fwupd_s_units_are_sound(tmp_path):
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is not installed")
    for kind in ("path", "service"):
        shutil.copy(HOOKS / f"fwupd-hook.{kind}.unit", tmp_path / f"lct-fwupd.{kind}")
    done = subprocess.run([analyze, "verify", *tmp_path.iterdir()], capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)
    assert done.returncode == 0 and "lct-fwupd" not in done.stderr, done.stderr


def fwupd_s_script() -> str:
    """As systemd hands it to the shell: systemd.service(5), "Command lines"."""
    (line,) = [line for line in (HOOKS / "fwupd-hook.service.unit").read_text().splitlines()
               if line.startswith("ExecStart=")]
    script = line.removeprefix("ExecStart=/bin/sh -c '").removesuffix("'")
    return script.replace("$$", "$").replace("%%", "%").replace("\\\\", "\\")


def test_fwupd_s_service_warns_and_never_fails(keys, user):
    script = fwupd_s_script()
    give_authority_s_path(keys, r"/media/\033[2J.pem")  # which echo may take for ESC
    keys.path("bin").mkdir()
    keys.write("bin/wall", "#!/bin/sh\ncat >>walled\n").chmod(0o755)
    path = f"{keys.path('bin')}:{keys.build}:{os.environ['PATH']}"
    done = keys.run("sh", "-c", script, env=LEAKY | {"PATH": path})
    walled = keys.path("walled").read_text()
    assert walled == done.stdout and {"lct:default", "lct:approved"} <= set(walled.split())
    assert r"'/media/\033[2J.pem'" in walled
    keys.path("walled").unlink()
    user.run("sh", "-c", script, env=LEAKY | {"PATH": path})
    no_lct = keys.run("sh", "-c", script, env=LEAKY | {"PATH": f"{keys.path('bin')}:/usr/bin:/bin"})
    assert no_lct.stdout + no_lct.stderr == ""
    user.write("store", "no directory")
    said = user.run("sh", "-c", script, env=LEAKY | {"PATH": path})
    assert not keys.path("walled").exists() and said.stderr == ""
    assert user.path("walled").read_text() == said.stdout
    assert "Not a directory" in one_sentence(said.stdout)


# What the next boot will measure


def event(pcr: int, kind: int, measured: bytes, content: bytes) -> bytes:
    """TCG_PCR_EVENT2: PC Client Platform Firmware Profile, 10.2.2."""
    digests = b"".join(struct.pack("<H", number) + hashlib.new(bank, measured).digest()
                       for bank, number in BANKS.items())
    return (struct.pack("<III", pcr, kind, len(BANKS)) + digests
            + struct.pack("<I", len(content)) + content)


def event_log(events: list[bytes]) -> bytes:
    sizes = b"".join(struct.pack("<HH", number, hashlib.new(bank).digest_size)
                     for bank, number in BANKS.items())
    spec = (b"Spec ID Event03\0" + struct.pack("<IBBBBI", 0, 0, 2, 0, 2, len(BANKS)) + sizes
            + b"\0")
    return struct.pack("<II", 0, 3) + bytes(20) + struct.pack("<I", len(spec)) + spec + b"".join(
        events)


def variable(name: str, content: bytes) -> bytes:
    """UEFI_VARIABLE_DATA."""
    return GLOBAL + struct.pack("<QQ", len(name), len(content)) + name.encode("utf-16-le") + content


@pytest.fixture(name="machine_log")
def fixture_machine_log(make_sealer, make_tpm):
    """A TPM that has measured what the log says: the boot of these tests, dbx, a command line."""
    tpm = make_tpm()
    user = make_sealer(tpm)
    dbx, cmdline = variable("dbx", b"old dbx"), b"BOOT_IMAGE=/vmlinuz root=/dev/sda quiet"
    events = [event(pcr, POST_CODE, b"the boot", b"the boot") for pcr in range(8)]
    events += [event(7, VARIABLE, dbx, dbx),
               event(8, IPL, cmdline, b"kernel_cmdline: " + cmdline + b"\0")]
    user.log = user.write("log", event_log(events))
    user.cmdline = user.write("cmdline", cmdline + b"\n")
    extend(tpm, 7, dbx)
    extend(tpm, 8, cmdline)
    return user


def extend(tpm, pcr: int, measured: bytes):
    tpm.tool("tpm2_pcrextend", f"{pcr}:" + ",".join(
        f"{bank}={hashlib.new(bank, measured).hexdigest()}" for bank in BANKS))


def predict(user, authority, change: str, *operands: str, **options):
    return user.lct("approve", *authority.options, "--eventlog", user.log, "--cmdline",
                    user.cmdline, "--predict", change, *operands, **options)


def test_an_update_of_dbx_is_approved_before_the_reboot(machine_log, authority):
    user = machine_log
    user.lct("create", "k", "--seal", "sha256:0,7+sha384:7")
    user.lct("create", "other", "--seal", "sha256:0")
    new = user.write("new.dbx", b"new dbx")
    before = user.lct("pcrs", "k").stdout
    done = predict(user, authority, f"dbx={new}")
    assert "lct:k" in done.stdout and "lct:other" in done.stderr
    user.lct("sign", "k", stdin="x", text=False)
    later = user.lct("pcrs", "k", "--predict", f"dbx={new}", "--eventlog", user.log).stdout
    reboot(user.tpm)
    extend(user.tpm, 7, variable("dbx", b"new dbx"))
    assert user.lct("pcrs", "k").stdout == later != before
    user.lct("sign", "k", stdin="x", text=False)
    measure(user.tpm, 7)
    user.lct("sign", "k", stdin="x", status=SEALED)


@pytest.mark.parametrize("image", ["", "BOOT_IMAGE=/vmlinuz "], ids=["", "with its image"])
def test_another_command_line_is_approved_before_the_reboot(machine_log, authority, image):
    user = machine_log
    user.lct("create", "k", "--seal", "sha256:8")
    predict(user, authority, f"cmdline={image}root=/dev/sda", "k")
    reboot(user.tpm)
    user.lct("sign", "k", stdin="x", status=SEALED)
    extend(user.tpm, 8, b"BOOT_IMAGE=/vmlinuz root=/dev/sda")
    user.lct("sign", "k", stdin="x", text=False)


def test_several_changes_are_predicted_at_once(machine_log, authority):
    user = machine_log
    user.lct("create", "k", "--seal", "sha256:3,7")
    old, new = (hashlib.sha256(text).hexdigest() for text in (b"the boot", b"a card"))
    predict(user, authority, f"digest={old.upper()}:{new}", "--predict",
            f"dbx={user.write('empty', b'')}", "k")
    user.tpm.stop()
    user.tpm.start()
    measure(user.tpm, 3, 7, what="a card")
    extend(user.tpm, 7, variable("dbx", b""))
    user.lct("sign", "k", stdin="x", text=False)


@pytest.mark.parametrize("change, status, said", [
    ("dbx=/nowhere", IO, "/nowhere"), ("MokList=log", USAGE, "MokList"), ("dbx", USAGE, "dbx"),
    ("", USAGE, "foretold"), ("digest=00", USAGE, "OLD:NEW"), ("digest=00:01", USAGE, "1 bytes"),
    (f"digest={'00' * 32}:{'01' * 32}", UNSUPPORTED, ""), ("cmdline=", USAGE, ""),
    ("dbx=", USAGE, "its name is empty"), ("digest=:", USAGE, "OLD:NEW"),
    ("dbx=signed", USAGE, "signed update"), ("KEK=log", UNSUPPORTED, "")])
def test_what_cannot_be_predicted_approves_nothing(machine_log, authority, change, status, said):
    user = machine_log
    user.write("signed", struct.pack("<HBBBBBBIhBB", 2026, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0)
               + struct.pack("<IHH", 64, 0x200, 0xEF1) + bytes(100))
    user.lct("create", "k", "--seal", "sha256:7,8")
    sentence = one_sentence(predict(user, authority, change, "k", status=status).stderr)
    assert said in sentence
    assert sealing.approvals(user) == []


def test_what_cannot_be_a_change_is_refused_before_the_log_is_looked_for(machine_log, authority):
    user = machine_log
    user.lct("create", "k")
    user.log = "/nowhere"
    for change, said in (("digest=zz", "OLD:NEW"), ("db=", "its name is empty")):
        assert said in one_sentence(predict(user, authority, change, "k", status=USAGE).stderr)
        words = ("pcrs", "k", "--eventlog", "/nowhere", "--predict", change)
        assert said in one_sentence(user.lct(*words, status=USAGE).stderr)


def test_a_log_that_does_not_tell_of_this_boot_predicts_nothing(machine_log, authority):
    user = machine_log
    user.lct("create", "k")
    new = user.write("new.dbx", b"new dbx")
    measure(user.tpm, 2)
    assert "PCR 2" in one_sentence(
        predict(user, authority, f"dbx={new}", "k", status=CHECK).stderr)
    user.log = "/nowhere"
    sentence = one_sentence(predict(user, authority, f"dbx={new}", "k", status=IO).stderr)
    assert "--eventlog" in sentence and "after the reboot" in sentence
    one_sentence(user.lct("pcrs", "--eventlog", "/nowhere", status=USAGE).stderr)
    assert sealing.approvals(user) == []
