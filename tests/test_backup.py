# SPDX-License-Identifier: Apache-2.0
"""`lct backup`, `lct restore`, `lct delete`: what is kept, what comes back, and what never does."""

import errno
import fcntl
import hashlib
import io
import json
import os
import pty
import shutil
import signal
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

import sealing
from test_command import one_sentence
from test_life import signs
from test_store import ENOUGH, run_failing, unreadable, until_read

TOP = "lct-backup"
ENDED = {"reason": None, "time": "2026-11-30T00:00:00Z"}


def contents(tar: Path) -> dict[str, bytes]:
    """The files of an archive, as any other program sees them."""
    with tarfile.open(tar) as archive:
        return {member.name.removeprefix(f"{TOP}/"): archive.extractfile(member).read()
                for member in archive if member.isfile()}


def described(name: str, content: bytes) -> dict:
    return {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


class Backup:
    """A backup taken apart, to be changed and packed again with a manifest that fits."""

    def __init__(self, tar: Path):
        files = contents(tar)
        self.manifest = json.loads(files.pop("manifest.json"))
        self.files = files

    def identity(self, name: str) -> dict:
        return next(entry for entry in self.manifest["identities"] if entry["id"] == name)

    def record(self, name: str) -> dict:
        return json.loads(self.files[f"{name}/identity.json"])

    def set_record(self, name: str, **changes):
        record = self.record(name) | changes
        self.files[f"{name}/identity.json"] = json.dumps(record).encode()

    def members(self) -> list[tuple[str, bytes]]:
        """In the manifest's order, with what it says of them made true."""
        members = []
        for entry in self.manifest["identities"]:
            for file in entry["files"]:
                content = self.files[f"{entry['id']}/{file['name']}"]
                file |= described(file["name"], content)
                members.append((f"{entry['id']}/{file['name']}", content))
        for file in self.manifest["store"]:
            file |= described(file["name"], self.files[file["name"]])
            members.append((file["name"], self.files[file["name"]]))
        return [("manifest.json", json.dumps(self.manifest).encode() + b"\n"), *members]

    def pack(self, tar: Path) -> Path:
        return pack(tar, self.members())


def pack(tar: Path, members: list[tuple[str, bytes]], extra=()) -> Path:
    """An archive of these files; `extra` are headers with content that go between."""
    with tarfile.open(tar, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(f"{TOP}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info, content in extra:
            archive.addfile(info, io.BytesIO(content))
    return tar


def back_up(user, *arguments, name: str = "backup.tar", **options) -> Path:
    done = user.lct("backup", *arguments, text=False, **options)
    return user.write(name, done.stdout)


def change_record(user, name: str, **changes):
    user.edit_record(name, lambda record: record.update(changes))


def advance(user, name: str):
    """As a rotation leaves it: another key is the active one now."""
    user.lct("create", "donor")
    record, donor = user.record(name), user.record("donor")
    number = len(record["generations"]) + 1
    record["generations"][-1]["until"] = "2026-11-30T00:00:00Z"
    record["generations"].append(donor["generations"][0] | {"generation": number})
    shutil.copy(user.store / "donor/key-1.pem", user.store / name / f"key-{number}.pem")
    change_record(user, name, generations=record["generations"], active=number,
                  counter=record["counter"] + 1)
    user.lct("delete", "donor", "--yes")


def retire(user, name: str):
    change_record(user, name, state="retired", ended=ENDED,
                  counter=user.record(name)["counter"] + 1)


def snapshot(store: Path) -> dict[str, bytes]:
    """All files but those that only help to find others."""
    return {str(path.relative_to(store)): path.read_bytes()
            for path in sorted(store.rglob("*"))
            if path.is_file() and not {".index", ".parent"} & set(path.parts)}


def staging_of(user) -> Path:
    """Where this user's backups are put together from now on: /tmp is not ours alone."""
    user.path("staging").mkdir()
    user.env["TMPDIR"] = str(user.path("staging"))
    return user.path("staging")


@pytest.fixture(name="alice")
def fixture_alice(user):
    user.lct("create", "alice")
    user.write("data")
    return user


@pytest.fixture(name="other")
def fixture_other(make_user):
    """Another user of the same TPM, with an empty store."""
    return make_user()


def test_a_backup_is_a_tar_of_a_directory_with_a_manifest(owner, tpm):
    staging = staging_of(owner)
    tar = back_up(owner)
    files = contents(tar)
    manifest = json.loads(files["manifest.json"])
    assert [entry["id"] for entry in manifest["identities"]] == ["ec", "p384", "rsa", "rsa3072"]
    assert set(files) == {"manifest.json"} | {
        f"{name}/{file}" for name in ("ec", "p384", "rsa", "rsa3072")
        for file in ("identity.json", "key-1.pem")}
    for entry in manifest["identities"]:
        for file in entry["files"]:
            content = files[f"{entry['id']}/{file['name']}"]
            assert file == described(file["name"], content)
            assert content == (owner.store / entry["id"] / file["name"]).read_bytes()
    name = owner.record("ec")["generations"][0]["parent"]["name"]
    assert manifest["tpm"]["storage_root_key"] == name
    with tarfile.open(tar) as archive:
        assert all(member.name.split("/")[0] == TOP and member.uid == 0 for member in archive)
        assert all(member.isfile() or member.isdir() for member in archive)
    assert not tpm.left_behind()
    assert not os.listdir(staging)


def test_a_backup_restores_into_an_empty_store_and_the_keys_sign(owner, other):
    tar = back_up(owner)
    done = other.lct("restore", tar)
    assert "lct:ec: it is not in the store: restored; its key is of this TPM" in done.stdout
    assert snapshot(other.store) == snapshot(owner.store)
    other.lct("check")
    for path in other.store.glob("ec*"):
        assert path.stat().st_mode & 0o777 == 0o750
    assert (other.store / "ec/key-1.pem").stat().st_mode & 0o777 == 0o640


def test_other_programs_unpack_it(owner):
    tar = back_up(owner)
    owner.run("tar", "-xf", tar)
    assert (owner.directory / TOP / "ec/key-1.pem").read_bytes() == (
        owner.store / "ec/key-1.pem").read_bytes()
    assert (owner.directory / TOP).stat().st_mode & 0o777 == 0o700


def test_a_backup_of_some_has_those(owner):
    manifest = Backup(back_up(owner, "rsa", "lct:ec", "ec")).manifest
    assert [entry["id"] for entry in manifest["identities"]] == ["ec", "rsa"]
    done = owner.lct("backup", "nobody", status=3, text=False)
    assert done.stdout == b"" and "lct:nobody" in one_sentence(done.stderr)


def test_a_backup_of_an_empty_store_is_refused(user):
    assert str(user.store) in one_sentence(user.lct("backup", status=3).stderr)


def test_out_makes_a_new_file_that_is_ours_alone(alice):
    alice.lct("backup", "--out", "b.tar")
    assert alice.path("b.tar").stat().st_mode & 0o777 == 0o600
    assert "alice/key-1.pem" in contents(alice.path("b.tar"))
    assert "is there already" in one_sentence(alice.lct("backup", "--out", "b.tar",
                                                        status=18).stderr)


def test_a_backup_does_not_go_to_a_terminal(alice):
    ours, theirs = pty.openpty()
    done = subprocess.run([alice.build / "lct", "backup"], stdin=subprocess.DEVNULL, stdout=theirs,
                          stderr=subprocess.PIPE, env=alice.environment(), text=True, check=False)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2 and "terminal" in one_sentence(done.stderr)


@pytest.mark.parametrize("where", ["a full disk", "a pipe that nobody reads"])
def test_a_backup_that_cannot_be_written_says_so(alice, where):
    staging = staging_of(alice)
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full" if "full" in where else writing, "wb") as out:
        done = subprocess.run([alice.build / "lct", "backup"], stdout=out, stderr=subprocess.PIPE,
                              env=alice.environment(), text=True, check=False)
    if "full" in where:
        os.close(writing)
    assert done.returncode == 18 and "standard output" in one_sentence(done.stderr)
    assert not os.listdir(staging)


def test_a_backup_needs_no_tpm(alice, other):
    tar = back_up(alice, env={"LCT_TCTI": "swtpm:path=/nowhere"})
    assert Backup(tar).manifest["tpm"] is None
    other.lct("restore", tar)
    other.lct("check", "alice")


def test_certificates_statements_and_all_generations_are_in_it(alice, other):
    certificate = alice.certificate("lct:alice")
    alice.lct("cert", "alice", "--set", certificate)
    alice.lct("rotate", "alice")
    alice.lct("revoke", "alice", "--reason", "compromise", "--yes")
    tar = back_up(alice)
    assert set(contents(tar)) == {"manifest.json"} | {f"alice/{name}" for name in (
        "key-1.pem", "key-2.pem", "certs-1.pem", "succession-2.json", "ending.json",
        "identity.json")}
    assert "it is revoked: its keys verify" in other.lct("restore", tar).stdout
    assert snapshot(other.store) == snapshot(alice.store)


def test_what_a_crash_left_is_not_in_it(alice):
    (alice.store / "alice/.new-123").write_text("half")
    (alice.store / "alice/key-7.pem").write_text("of a generation that never was")
    assert set(contents(back_up(alice))) == {"manifest.json", "alice/key-1.pem",
                                             "alice/identity.json"}


UNWRAPPED = ["-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+D\n-----END PRIVATE KEY-----\n",
             "not PEM\n", ""]


@pytest.mark.parametrize("file", ["key-1.pem", "certs-1.pem", "succession-1.json"])
@pytest.mark.parametrize("content", UNWRAPPED, ids=["key", "text", "empty"])
def test_no_private_key_in_the_clear_gets_into_a_backup(owner, file, content):
    (owner.store / "ec" / file).write_text(content)
    done = owner.lct("backup", status=6, text=False)
    assert f"not in the backup: lct:ec: {owner.store}: {file}" in done.stderr
    assert set(Backup(owner.write("b.tar", done.stdout)).files) == {
        f"{name}/{file}" for name in ("p384", "rsa", "rsa3072")
        for file in ("identity.json", "key-1.pem")}, "the others are in it"
    done = owner.lct("backup", "ec", status=6, text=False)
    assert done.stdout == b""


def test_a_private_key_beside_a_key_or_a_certificate_does_not_get_into_a_backup(alice):
    certificate = alice.certificate("lct:alice")
    alice.lct("cert", "alice", "--set", certificate)
    for name in ("key-1.pem", "certs-1.pem"):
        path = alice.store / "alice" / name
        whole = path.read_text()
        for text in (whole + UNWRAPPED[0], "secret = 00112233\n" + whole):
            path.write_text(text)
            assert name in alice.lct("backup", status=6).stderr
        path.write_text(whole)
    back_up(alice)


def test_a_key_file_that_is_a_link_does_not_get_into_a_backup(alice):
    secret = alice.write("secret.pem", UNWRAPPED[0])
    (alice.store / "alice/key-1.pem").unlink()
    (alice.store / "alice/key-1.pem").symlink_to(secret)
    assert "symbolic link" in alice.lct("backup", status=6).stderr


@pytest.mark.parametrize("tar_options", [None, "--transform=s/alice/mallory/", "--gzip"])
def test_the_environment_does_not_change_what_tar_does(alice, other, tar_options):
    alice.path("bin").mkdir()
    alice.write("bin/tar", "#!/bin/sh\ntouch called\n").chmod(0o755)
    env = {"TAR_OPTIONS": tar_options, "PATH": f"{alice.path('bin')}:{os.environ['PATH']}"}
    tar = back_up(alice, env=env)
    other.lct("restore", tar, env=env)
    other.lct("check", "alice")
    assert not alice.path("called").exists() and not other.path("called").exists()


def test_a_backup_is_restored_where_the_ends_of_children_are_ignored(alice, other):
    """As they are in what is started by a program that ignores them."""
    tar = back_up(alice)
    other.lct("restore", tar, preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    other.lct("check", "alice")


def test_a_backup_that_is_killed_leaves_no_file_of_its_own(alice):
    """It makes none, wherever the environment says that they go."""
    log = alice.path("steps")
    alice.path("tmp").mkdir()
    done = alice.lct("backup", preload=[alice.build / "tests" / "preload_fs.so"], text=False,
                     env={"LCT_FS_BELOW": str(alice.directory), "LCT_FS_LOG": str(log),
                          "TMPDIR": str(alice.path("tmp"))})
    steps = log.read_text().split() if log.exists() else []
    assert done.stdout.startswith(b"lct-backup/") and not {"mkdir", "open"} & set(steps)


def test_an_archive_is_what_tar_and_python_take_it_for(alice):
    """Names that are too long for a header, sizes that fill a block, and none."""
    name = "i" * 128
    alice.lct("create", name)
    approvals = alice.store / ".approvals"
    archive = back_up(alice)
    with tarfile.open(archive) as tar:
        members = {each.name: each for each in tar.getmembers()}
        pem = tar.extractfile(f"lct-backup/{name}/key-1.pem").read()
    assert pem == (alice.store / name / "key-1.pem").read_bytes() and not approvals.exists()
    listed = alice.run("tar", "--list", "--verbose", "--file", archive).stdout.splitlines()
    assert [line.split()[-1].rstrip("/") for line in listed] == list(members)
    assert all(line.split()[:2] in (["drwx------", "root/root"], ["-rw-------", "root/root"])
               for line in listed)
    assert members[f"lct-backup/{name}"].isdir() and archive.stat().st_size % 512 == 0


def test_restoring_what_is_there_changes_nothing(owner):
    tar = back_up(owner)
    before = snapshot(owner.store)
    stamps = {path: path.stat().st_mtime_ns for path in owner.store.rglob("*")}
    done = owner.lct("restore", tar)
    assert "lct:ec: it is in the store, the same" in done.stdout
    assert snapshot(owner.store) == before
    assert {path: path.stat().st_mtime_ns for path in owner.store.glob("ec/*")} == {
        path: stamps[path] for path in owner.store.glob("ec/*")}


def test_restore_check_changes_nothing(owner, other):
    tar = back_up(owner)
    done = other.lct("restore", "--check", tar)
    assert "lct:ec: it is not in the store; its key is of this TPM" in done.stdout
    assert not other.store.exists()


@pytest.mark.parametrize("change", [advance, retire])
def test_an_older_record_never_takes_the_place_of_a_newer_one(alice, change):
    tar = back_up(alice)
    change(alice, "alice")
    before = snapshot(alice.store / "alice")
    for options in ((), ("--yes",), ("--check",)):
        done = alice.lct("restore", *options, tar)
        assert "the record in the store is newer, and stays" in done.stdout
        assert "its key is" not in done.stdout, "what is not used is not looked at"
    assert snapshot(alice.store / "alice") == before


def test_a_counter_is_never_turned_back_even_where_the_rest_looks_newer(alice):
    change_record(alice, "alice", counter=3)
    tar = back_up(alice)
    crafted = Backup(tar)
    crafted.set_record("alice", counter=2, state="retired", ended=ENDED)
    before = snapshot(alice.store)
    done = alice.lct("restore", "--yes", crafted.pack(alice.path("crafted.tar")))
    assert "newer, and stays" in done.stdout
    assert snapshot(alice.store) == before


def test_a_newer_record_asks_and_takes_the_place_of_an_older_one(alice):
    older = shutil.copytree(alice.store, alice.path("older"))
    advance(alice, "alice")
    newer = snapshot(alice.store / "alice")
    tar = back_up(alice)
    shutil.rmtree(alice.store)
    shutil.copytree(older, alice.store)
    done = alice.lct("restore", tar, status=2, start_new_session=True)
    assert "--yes" in one_sentence(done.stderr)
    assert snapshot(alice.store) == snapshot(older)
    assert "is older" in alice.lct("restore", "--check", tar).stdout
    assert ": restored" in alice.lct("restore", "--yes", tar).stdout
    assert snapshot(alice.store / "alice") == newer
    alice.lct("check", "alice")


@pytest.mark.parametrize("answer, done", [("y", True), ("n", False), ("", False)])
def test_restore_asks_on_a_terminal(alice, answer, done):
    tar = back_up(alice)
    (alice.store / "alice/key-1.pem").unlink()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(alice.build / "lct", ["lct", "restore", str(tar)], alice.environment())
    output = b""
    while b"[y/N]" not in output:
        output += os.read(terminal, 1024)
    os.write(terminal, f"{answer}\n".encode())
    try:
        while os.read(terminal, 1024):
            pass
    except OSError:
        pass
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == (0 if done else 2)
    assert (alice.store / "alice/key-1.pem").exists() == done


@pytest.mark.parametrize("damage", ["identity.json", "key-1.pem", "missing"])
def test_a_damaged_identity_is_restored_once_that_is_said(alice, damage):
    tar = back_up(alice)
    before = snapshot(alice.store)
    if damage == "missing":
        (alice.store / "alice/identity.json").unlink()
    else:
        (alice.store / "alice" / damage).write_text("damaged")
    alice.lct("show", "alice", status=6)
    assert "alice" in one_sentence(alice.lct("restore", tar, status=2,
                                             start_new_session=True).stderr)
    alice.lct("restore", "--yes", tar)
    assert snapshot(alice.store) == before
    alice.lct("check", "alice")


def test_another_identity_of_that_id_stays(alice, other):
    tar = back_up(alice)
    other.lct("create", "alice")
    before = snapshot(other.store)
    for options in ((), ("--yes",), ("--check",)):
        done = other.lct("restore", *options, tar, status=4)
        assert "another identity" in one_sentence(done.stderr)
    assert snapshot(other.store) == before


def test_a_retired_identity_that_was_deleted_does_not_come_back_alive(alice):
    tar = back_up(alice)
    retire(alice, "alice")
    ended = back_up(alice, name="ended.tar")
    alice.lct("delete", "alice", "--yes")
    (tombstone,) = (alice.store / ".ended").iterdir()
    assert json.loads(tombstone.read_text())["state"] == "retired"
    for options in ((), ("--yes",), ("--check",)):
        done = alice.lct("restore", *options, tar, status=25)
        assert "retired on 2026-11-30" in one_sentence(done.stderr)
    assert alice.in_store() == []
    assert "it is retired: its keys verify" in alice.lct("restore", ended).stdout
    assert alice.record("alice")["state"] == "retired"


def test_a_new_identity_of_the_id_of_one_that_ended_is_restored(alice):
    retire(alice, "alice")
    alice.lct("delete", "alice", "--yes")
    alice.lct("create", "alice")
    tar = back_up(alice)
    alice.lct("delete", "alice", "--yes")
    alice.lct("restore", tar)
    alice.lct("check", "alice")
    assert len(list((alice.store / ".ended").iterdir())) == 1


def test_tombstones_are_in_a_backup_and_come_back_with_it(alice):
    tar = back_up(alice)
    alice.lct("create", "bob")
    retire(alice, "alice")
    alice.lct("delete", "alice", "--yes")
    later = back_up(alice, name="later.tar")
    shutil.rmtree(alice.store)
    alice.lct("restore", later)
    alice.lct("restore", tar, status=25)
    assert alice.in_store() == ["bob"]


def test_an_end_in_a_backup_is_said_of_who_is_alive_in_the_store(alice, other):
    """An older backup is restored, and then one of after the end, in which only that is left."""
    alice.lct("create", "bob")
    older = back_up(alice)
    for name in ("alice", "bob"):
        alice.lct("revoke", name, "--reason", "compromise", "--yes")
        alice.lct("delete", name, "--yes")
    alice.lct("create", "carol")
    newer = back_up(alice, name="newer.tar")
    other.lct("restore", older)
    for options in (["--check"], ["--yes"], ["--yes"]):
        said = other.lct("restore", *options, newer, status=25).stderr
        for name in ("alice", "bob"):
            assert f"lct:{name}: the backup says that it was revoked on 20" in said
            assert f"lct delete {name}" in said
    assert other.in_store() == ["alice", "bob", "carol"], "what else is in it is restored"
    assert len(list((other.store / ".ended").iterdir())) == 2
    for name in ("alice", "bob"):
        other.lct("delete", name, "--yes")
    other.lct("restore", "--yes", newer)
    other.lct("restore", "--yes", older, status=25)
    assert other.in_store() == ["carol"]


def test_an_end_in_a_backup_says_nothing_of_who_has_ended_or_is_another(alice, make_user):
    other, another = make_user(), make_user()
    alice.lct("retire", "alice", "--yes")
    ended = back_up(alice, name="ended.tar")
    alice.lct("delete", "alice", "--yes")
    alice.lct("restore", ended)
    both = back_up(alice, name="both.tar")
    other.lct("restore", both)
    other.lct("restore", "--check", both)
    other.lct("restore", both)
    another.lct("create", "alice")
    alice.lct("delete", "alice", "--yes")
    alice.lct("create", "bob")
    another.lct("restore", back_up(alice, name="tombstone.tar"))
    another.lct("check", "alice")


def test_an_end_that_comes_with_a_backup_takes_the_place_of_who_is_alive(alice, other):
    """Its record and its tombstone are both in it: the record is restored, and nothing is wrong."""
    other.lct("restore", back_up(alice))
    alice.lct("retire", "alice", "--yes")
    ended = back_up(alice, name="ended.tar")
    alice.lct("delete", "alice", "--yes")
    alice.lct("restore", ended)
    both = back_up(alice, name="both.tar")
    other.lct("restore", "--check", both)
    other.lct("restore", "--yes", both)
    assert other.record("alice")["state"] == "retired"


def test_a_life_turned_back_by_a_restore_stays_as_it_is(alice):
    """The commands themselves: a rotation, then the end."""
    first = back_up(alice)
    alice.lct("rotate", "alice")
    pending = back_up(alice, name="pending.tar")
    alice.lct("rotate", "alice", "--commit")
    active = back_up(alice, name="active.tar")
    assert alice.record("alice")["active"] == 2
    for tar in (first, pending):
        assert "newer, and stays" in alice.lct("restore", "--yes", tar).stdout
    alice.lct("retire", "alice", "--yes")
    ended = snapshot(alice.store / "alice")
    for tar in (first, pending, active):
        assert "newer, and stays" in alice.lct("restore", "--yes", tar).stdout
    assert snapshot(alice.store / "alice") == ended
    alice.lct("delete", "alice", "--yes")
    for tar in (first, pending, active):
        alice.lct("restore", "--yes", tar, status=25)


def test_an_overlap_that_was_cut_short_is_not_turned_back(alice):
    """A compromise that is found out the day after: the key of before does not sign again."""
    public = alice.public_key("lct:alice", "old.pem")
    alice.lct("rotate", "alice")
    alice.lct("rotate", "alice", "--commit", "--overlap", "48h")
    tar = back_up(alice)
    signs(alice, "lct:alice?generation=1", public)
    alice.lct("rotate", "alice", "--overlap", "0")
    before = snapshot(alice.store / "alice")
    assert "newer, and stays" in alice.lct("restore", "--yes", tar).stdout
    assert snapshot(alice.store / "alice") == before
    signs(alice, "lct:alice?generation=1", public, status=25)


def rotated(user, times: int = 1):
    for _ in range(times):
        user.lct("rotate", "alice")
        user.lct("rotate", "alice", "--commit")


@pytest.mark.parametrize("times", [1, 2], ids=["as far", "farther"])
def test_a_store_that_has_gone_another_way_since_a_backup_keeps_its_keys(alice, other, times):
    """Two that were one: what the one has for its second key the other has not."""
    other.lct("restore", back_up(alice))
    rotated(alice)
    rotated(other, times)
    public = alice.public_key("lct:alice")
    tar = back_up(other, name="theirs.tar")
    before = snapshot(alice.store / "alice")
    for options in (("--yes",), (), ("--check",)):
        said = one_sentence(alice.lct("restore", *options, tar, status=4).stderr)
        assert "generation 2 of it in the store is another key" in said
        assert "lct delete alice" in said
    assert snapshot(alice.store / "alice") == before
    signs(alice, "lct:alice", public)
    shutil.rmtree(alice.store / "alice")
    alice.lct("restore", tar)
    assert alice.record("alice") == other.record("alice")


def test_an_overlap_that_was_cut_short_stays_so_whatever_another_store_has_done(alice, other):
    """The other one's record has the higher counter, and no other keys."""
    rotated(alice)
    other.lct("restore", back_up(alice))
    alice.lct("rotate", "alice", "--overlap", "0")
    rotated(other, 3)
    before = snapshot(alice.store / "alice")
    tar = back_up(other, name="theirs.tar")
    said = alice.lct("restore", "--yes", tar).stdout
    assert "newer, and stays" in said and "in the backup an earlier key signs longer" in said
    assert snapshot(alice.store / "alice") == before


def test_an_overlap_that_ends_earlier_is_said_of_the_newer_backup_too(alice, other):
    """All that the sentence tells of else is the same."""
    rotated(alice)
    other.lct("restore", back_up(alice))
    other.edit_record("alice", lambda record: record["generations"][0].update(
        until="2020-01-01T00:00:00Z"))
    tar = back_up(other, name="theirs.tar")
    said = alice.lct("restore", "--yes", tar).stdout
    assert "is older" in said and "in the store an earlier key signs longer" in said
    assert alice.record("alice") == other.record("alice")


def test_a_pending_key_gives_way_to_a_newer_record(alice, other):
    """A withdrawn number is used again, so it may be another one in what is newer."""
    alice.lct("rotate", "alice")
    other.lct("restore", back_up(alice))
    other.lct("rotate", "alice", "--withdraw")
    rotated(other, 2)
    assert ": restored" in alice.lct("restore", "--yes", back_up(other)).stdout
    assert alice.record("alice") == other.record("alice")
    signs(alice, "lct:alice", other.public_key("lct:alice"))


def test_a_key_that_was_withdrawn_is_not_pending_again(alice):
    alice.lct("rotate", "alice")
    tar = back_up(alice)
    alice.lct("rotate", "alice", "--withdraw")
    before = snapshot(alice.store / "alice")
    assert "newer, and stays" in alice.lct("restore", "--yes", tar).stdout
    assert snapshot(alice.store / "alice") == before
    alice.lct("rotate", "alice", "--commit", status=3)
    again = back_up(alice, name="again.tar")
    alice.lct("rotate", "alice")  # under the number that is free again
    for old in (tar, again):
        assert "newer, and stays" in alice.lct("restore", "--yes", old).stdout


def test_a_key_in_software_is_in_a_backup_encrypted_and_can_be_used_anywhere(user, make_user,
                                                                              make_tpm):
    phrase = user.write("phrase", "correct horse\n")
    for name, kind in (("soft", "ec-p256"), ("ed", "ed25519")):
        user.lct("create", "--software", name, "--algorithm", kind, "--passphrase-file", phrase)
    tar = back_up(user)
    assert contents(tar)["soft/key-1.pem"].startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    elsewhere = make_user(make_tpm().tcti)
    for options in (("--check",), ()):
        done = elsewhere.lct("restore", *options, tar)
        assert done.stdout.count("custody: software: it can be used anywhere") == 2
    elsewhere.lct("sign", "soft", "--passphrase-file", phrase, stdin="data", text=False)
    bare = user.openssl("pkcs8", "-topk8", "-nocrypt", "-in", user.store / "soft/key-1.pem",
                        "-passin", f"file:{phrase}", env={"OPENSSL_CONF": os.devnull}).stdout
    (user.store / "soft/key-1.pem").write_text(bare)
    done = user.lct("backup", status=6, text=False)
    assert "not in the backup: lct:soft" in done.stderr
    assert set(Backup(user.write("b.tar", done.stdout)).files) == {"ed/identity.json",
                                                                   "ed/key-1.pem"}


def test_a_name_of_a_key_is_backed_up_as_its_identity(alice):
    name = json.loads(alice.lct("show", "alice", "--json").stdout)["web4_name"]
    tar = back_up(alice, name, "alice", name.removeprefix("lct:"))
    (entry,) = Backup(tar).manifest["identities"]
    assert entry["id"] == "alice"


def test_a_restored_identity_of_another_tpm_is_succeeded(alice, make_tpm, make_user):
    tar = back_up(alice)
    elsewhere = make_user(make_tpm().tcti)
    said = elsewhere.lct("restore", tar).stderr
    elsewhere.lct("rotate", "alice", "--without-old-key", status=13)
    (command,) = [row["command"] for row in json.loads(
        elsewhere.lct("doctor", "--json", status=13).stdout) if row["severity"] == "problem"]
    assert f"{command.split('  #')[0]} makes a successor" in said
    elsewhere.run("sh", "-c", command, env={"PATH": f"{elsewhere.build}:{os.environ['PATH']}"})
    elsewhere.lct("rotate", "alice", "--commit")
    elsewhere.lct("check", "alice")


def test_a_damaged_tombstone_is_no_leave_to_restore(alice):
    tar = back_up(alice)
    retire(alice, "alice")
    alice.lct("delete", "alice", "--yes")
    (tombstone,) = (alice.store / ".ended").iterdir()
    tombstone.write_text("{}")
    assert ".ended" in one_sentence(alice.lct("restore", tar, status=6).stderr)
    assert alice.in_store() == []


def test_a_wiped_store_knows_of_no_end(alice):
    """What cannot be detected, as lct-restore(1) says."""
    tar = back_up(alice)
    retire(alice, "alice")
    shutil.rmtree(alice.store)
    alice.lct("restore", tar)
    alice.lct("check", "alice")


def test_on_another_tpm_each_identity_says_that_it_cannot_be_used(owner, make_tpm, make_user):
    tar = back_up(owner)
    elsewhere = make_user(make_tpm().tcti)
    elsewhere.lct("create", "ours")
    done = elsewhere.lct("restore", "--check", tar, status=13)
    for name in ("ec", "p384", "rsa", "rsa3072"):
        assert (f"lct:{name}: it cannot be used here; its TPM is another: lct rotate {name} "
                "--without-old-key --new-parent makes a successor, if you know that the TPM was "
                "cleared or replaced") in done.stderr
    done = elsewhere.lct("restore", tar)
    assert done.stderr.count("its TPM is another") == 4
    assert elsewhere.in_store() == ["ec", "ours", "p384", "rsa", "rsa3072"]
    elsewhere.lct("check", "ec", status=13)
    elsewhere.lct("check", "ours")
    told = json.loads(elsewhere.lct("doctor", "ec", "--json", status=13).stdout)
    assert ("lct rotate ec --without-old-key --new-parent"
            "  # if you know that the TPM was cleared or replaced") in [
                row["command"] for row in told]


def test_on_a_new_tpm_without_a_storage_root_key_it_is_another_as_well(alice, make_tpm, make_user):
    tar = back_up(alice)
    elsewhere = make_user(make_tpm().tcti)
    assert "its TPM is another" in elsewhere.lct("restore", "--check", tar, status=13).stderr


def test_a_tpm_whose_storage_root_key_was_evicted_is_the_same_tpm(make_tpm, make_user):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.lct("create", "alice")
    tar = back_up(user)
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "0x81000001")
    done = user.lct("restore", "--check", tar)
    assert "its key is of this TPM, which does not keep its storage root key now" in done.stdout
    user.lct("create", "bob")
    user.lct("check", "alice")


def test_restore_without_a_tpm_says_that_it_could_not_ask(alice, other):
    tar = back_up(alice)
    env = {"LCT_TCTI": "swtpm:path=/nowhere"}
    other.lct("restore", "--check", tar, status=9, env=env)
    assert "warning" in other.lct("restore", tar, env=env).stderr
    other.lct("check", "alice")


@pytest.mark.parametrize("directory", [".approvals", ".ended"])
def test_a_backup_has_all_that_the_store_has_or_is_none(sealer, authority, directory):
    sealer.lct("create", "k")
    sealer.lct("approve", *authority.options)
    sealer.lct("create", "other", "--seal", "none")
    retire(sealer, "other")
    sealer.lct("delete", "other", "--yes")
    assert until_read(sealer, sealer.store / directory, "backup") >= 3


def test_a_directory_that_cannot_be_read_to_its_end_is_not_taken_for_an_empty_one(sealer, authority):
    """Which would be one that a crash left without its mode."""
    sealer.lct("create", "k")
    sealer.lct("approve", *authority.options)
    directory = sealer.store / ".approvals"
    directory.chmod(0o700)
    sealing.measure(sealer.tpm, 7)
    sealer.lct("approve", *authority.options, **unreadable(sealer, directory, 2))
    assert len(sealing.approvals(sealer)) == 2 and directory.stat().st_mode & 0o777 == 0o700


def test_the_authority_and_its_approvals_come_back(sealer, make_user, authority):
    sealer.lct("create", "k")
    sealer.lct("approve", *authority.options)
    (approval,) = sealing.approvals(sealer)
    stranger = sealing.put_approval(sealer, "stranger.json", approval.read_text().replace("a", "b"))
    tar = back_up(sealer)
    files = contents(tar)
    assert files[".authority.pub.pem"] == (sealer.store / ".authority.pub.pem").read_bytes()
    assert f".approvals/{stranger.name}" not in files, "its signature is not good"
    other = make_user()
    other.configure(seal=None)
    other.lct("restore", tar)
    (again,) = sealing.approvals(other)
    assert (again.name, again.read_bytes()) == (approval.name, approval.read_bytes())
    shown = [user.lct("authority", "show", "--pem").stdout for user in (sealer, other)]
    assert shown[0] == shown[1]
    other.lct("check", "k")


def test_an_approval_that_was_altered_keeps_nothing_back(sealer, make_user, authority):
    """A store that took one before that was seen has it in its backups."""
    sealer.lct("create", "k")
    sealer.lct("approve", *authority.options)
    (approval,) = sealing.approvals(sealer)
    altered = json.loads(approval.read_text()) | {"pcrs": "sha256:1"}
    approval.write_text(json.dumps(altered))
    tar = back_up(sealer)
    assert f".approvals/{approval.name}" in contents(tar)
    other = make_user()
    other.configure(seal=None)
    other.lct("restore", tar)
    assert sealing.approvals(other) == []
    other.lct("check", "k")


def test_an_approval_that_is_there_stays(sealer, authority):
    """An older one has no more value than it had, but it need not come back."""
    sealer.lct("create", "k")
    sealer.lct("approve", *authority.options)
    tar = back_up(sealer)
    (approval,) = sealing.approvals(sealer)
    renewed = json.loads(approval.read_text()) | {"created": "2036-01-01T00:00:00Z"}
    approval.write_text(json.dumps(renewed))
    sealer.lct("restore", tar)
    assert json.loads(approval.read_text()) == renewed


def test_another_authority_stays(sealer, make_user):
    sealer.lct("create", "k")
    tar = back_up(sealer)
    other = make_user()
    other.lct("authority", "init", "--out", "authority.pem", "--passphrase", "--passphrase-file",
              other.write("phrase", "correct horse\n"))
    before = (other.store / ".authority.pub.pem").read_bytes()
    done = other.lct("restore", tar, status=4)
    assert "recovery authority already" in done.stderr
    assert (other.store / ".authority.pub.pem").read_bytes() == before
    assert "k" in other.in_store()


def hostile(kind, name=f"{TOP}/alice/key-1.pem", link="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


@pytest.mark.parametrize("info", [
    hostile(tarfile.SYMTYPE, f"{TOP}/alice", "/etc"), hostile(tarfile.SYMTYPE, link="../../victim"),
    hostile(tarfile.LNKTYPE, link="/etc/passwd"), hostile(tarfile.LNKTYPE, "victim", "data"),
    hostile(tarfile.CHRTYPE), hostile(tarfile.BLKTYPE, "/victim"),
    hostile(tarfile.FIFOTYPE, "victim"),
    hostile(tarfile.DIRTYPE, "victim", mode=0o4777),
], ids=lambda info: f"{info.type.decode()}-{info.name.replace('/', '_')}")
def test_what_is_no_file_in_an_archive_is_passed_over(alice, other, info):
    tar = back_up(alice)
    other.write("data")
    staging = staging_of(other)
    before = sorted(path for path in other.directory.parent.rglob("*"))
    pack(tar, Backup(tar).members(), [(info, b"")])
    other.lct("restore", "--check", tar)
    assert sorted(path for path in other.directory.parent.rglob("*")) == before
    assert not Path("/victim").exists() and not os.listdir(staging)


@pytest.mark.parametrize("name, why", [
    ("/victim", "more than"), ("victim", "more than"), ("../victim", "tar cannot read"),
    (f"{TOP}/../../victim", "tar cannot read"), (f"{TOP}/alice/key-1.pem", "more than"),
    (f"{TOP}/manifest.json", "more than")])
def test_a_file_more_in_an_archive_is_refused_and_written_nowhere(alice, other, name, why):
    tar = back_up(alice)
    info = tarfile.TarInfo(name)
    info.size, info.mode = 4, 0o4755
    before = sorted(path for path in other.directory.parent.rglob("*"))
    pack(tar, Backup(tar).members(), [(info, b"evil")])
    done = other.lct("restore", tar, status=6)
    assert why in one_sentence(done.stderr)
    assert sorted(path for path in other.directory.parent.rglob("*")) == before
    assert not Path("/victim").exists()


def test_names_modes_and_owners_in_an_archive_mean_nothing(alice, other):
    """What a file is, the manifest says; where it goes, its record."""
    tar = back_up(alice)
    members = Backup(tar).members()
    with tarfile.open(tar, "w") as archive:
        for number, (_, content) in enumerate(members):
            info = tarfile.TarInfo(f"{other.directory}/victim{number}")
            info.size, info.mode, info.uid = len(content), 0o6777, 65534
            archive.addfile(info, io.BytesIO(content))
    other.lct("restore", tar)
    assert not list(other.directory.glob("victim*"))
    assert snapshot(other.store) == snapshot(alice.store)
    for path in [other.store / "alice", *other.store.glob("alice/*")]:
        assert path.stat().st_mode & 0o7027 == 0 and path.stat().st_uid == os.geteuid()


def test_a_sparse_bomb_is_cut_off(alice, other):
    tar = alice.path("bomb.tar")
    sparse = alice.path("sparse")
    with sparse.open("wb") as file:
        file.truncate(1 << 40)
    alice.run("tar", "-cSf", tar, "sparse")
    assert tar.stat().st_size < 100000
    done = other.lct("restore", tar, status=6)
    assert "MiB" in one_sentence(done.stderr)
    assert not other.store.exists()


@pytest.mark.parametrize("size", [1 << 33, (1 << 62)])
def test_a_size_that_is_not_there_is_refused(alice, other, size):
    info = tarfile.TarInfo(f"{TOP}/manifest.json")
    info.size = size
    tar = alice.write("huge.tar", info.tobuf(tarfile.GNU_FORMAT) + b"x" * 1024)
    assert one_sentence(other.lct("restore", tar, status=6).stderr)


def test_a_truncated_archive_is_refused_wherever_it_ends(alice, other):
    whole = back_up(alice).read_bytes()
    end = whole.rstrip(b"\0").__len__()
    for length in [0, 1, 511, 512, 1000, end // 2, end - 1]:
        tar = other.write("cut.tar", whole[:length])
        one_sentence(other.lct("restore", tar, status=6).stderr)
        assert not other.store.exists()


@pytest.mark.parametrize("content", [b"", b"\0" * 10240, b"hello\n" * 1000, b"\x1f\x8b\x08" * 999])
def test_what_is_no_archive_is_refused(other, content):
    one_sentence(other.lct("restore", other.write("none.tar", content), status=6).stderr)
    other.lct("restore", "nothing.tar", status=18)
    assert not other.store.exists()


def spoil(what):
    """A backup with one thing wrong that its manifest agrees with."""
    def rename(backup, name):
        file = backup.identity("alice")["files"][0]
        backup.files[f"alice/{name}"] = backup.files[f"alice/{file['name']}"]
        file["name"] = name

    def add(backup, name, content):
        backup.files[f"alice/{name}"] = content
        backup.identity("alice")["files"].append({"name": name})

    def call(backup, name):
        backup.set_record("alice", id=name)
        backup.identity("alice")["id"] = name
        backup.files = {key.replace("alice/", f"{name}/"): content
                        for key, content in backup.files.items()}

    def add_store(backup, name, content):
        backup.files[name] = content
        backup.manifest["store"].append({"name": name})

    return {
        "name": lambda b: rename(b, "../../key-1.pem"),
        "absolute": lambda b: rename(b, "/tmp/key-1.pem"),
        "other file": lambda b: add(b, "notes", b"hello"),
        "file twice": lambda b: b.identity("alice")["files"].append(
            dict(b.identity("alice")["files"][0])),
        "no key": lambda b: b.identity("alice")["files"].pop(0),
        "no record": lambda b: b.identity("alice")["files"].pop(),
        "id": lambda b: b.set_record("alice", id="mallory"),
        "malformed id": lambda b: call(b, "../x"),
        "name of a key for an id": lambda b: call(b, f"web4:mb32:b{'a' * 52}"),
        "URI for an id": lambda b: call(b, "lct:bob"),
        "record": lambda b: b.set_record("alice", more=1),
        "version of the record": lambda b: b.set_record("alice", version=2),
        "key in the clear": lambda b: b.files.update({"alice/key-1.pem": UNWRAPPED[0].encode()}),
        "certificate": lambda b: add(b, "certs-1.pem", UNWRAPPED[0].encode()),
        "statement": lambda b: add(b, "succession-1.json", UNWRAPPED[0].encode()),
        "identity twice": lambda b: b.manifest["identities"].append(
            json.loads(json.dumps(b.identity("alice")))),
        "version": lambda b: b.manifest.update(version=2),
        "member": lambda b: b.manifest.update(more=1),
        "time": lambda b: b.manifest.update(created="\x1b[31m"),
        "tpm": lambda b: b.manifest.update(tpm={"description": "\x1b[31m",
                                                "storage_root_key": None}),
        "owner": lambda b: b.identity("alice").update(user="x" * 99),
        "file of the store": lambda b: add_store(b, ".bashrc", b"evil"),
        "path of the store": lambda b: add_store(b, ".approvals/../../x.json", b"{}"),
        "authority": lambda b: add_store(b, ".authority.pub.pem", b"evil"),
        "approval": lambda b: add_store(b, ".approvals/x.json", b"{}"),
        "tombstone": lambda b: add_store(b, ".ended/x.json", b.files["alice/identity.json"]),
    }[what]


SPOILED = ["name", "absolute", "other file", "file twice", "no key", "no record", "id",
           "malformed id", "name of a key for an id", "URI for an id", "record",
           "version of the record", "key in the clear", "certificate", "statement",
           "identity twice", "version", "member", "time", "tpm", "owner", "file of the store",
           "path of the store", "authority", "approval", "tombstone"]


@pytest.mark.parametrize("what", SPOILED)
def test_a_crafted_backup_is_refused_before_anything_is_written(alice, other, what):
    backup = Backup(back_up(alice))
    spoil(what)(backup)
    done = other.lct("restore", "--yes", backup.pack(alice.path("crafted.tar")), status=6)
    assert "\x1b" not in one_sentence(done.stderr)
    assert not other.store.exists()


def test_a_backup_that_is_packed_again_unchanged_is_taken(alice, other):
    """So that what the crafted ones are refused for is what was crafted."""
    other.lct("restore", Backup(back_up(alice)).pack(alice.path("again.tar")))
    other.lct("check", "alice")


def test_each_changed_byte_of_a_file_is_found(alice, other):
    tar = back_up(alice)
    members = Backup(tar).members()
    for number in (1, 2):
        name, content = members[number]
        for at in range(0, len(content), 97):
            changed = bytearray(content)
            changed[at] ^= 1
            spoiled = [*members[:number], (name, bytes(changed)), *members[number + 1:]]
            done = other.lct("restore", pack(tar, spoiled), status=6)
            assert "not the one in its manifest" in one_sentence(done.stderr)
    assert not other.store.exists()


def test_a_restore_killed_at_any_step_leaves_whole_identities(owner, make_user):
    tar = back_up(owner, "ec", "rsa")
    for step in range(1, ENOUGH):
        user = make_user()
        done = run_failing(user, ["restore", tar], step, "kill")
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        user.lct("check")
        user.lct("restore", tar)
        assert user.in_store() == ["ec", "rsa"]
        user.lct("check")
        assert not list(user.store.glob(".new/**/*"))
    assert 10 < step < ENOUGH - 1


def test_a_restore_over_an_older_identity_killed_at_any_step_leaves_one_of_both(alice, make_user):
    older = shutil.copytree(alice.store, alice.path("older"))
    advance(alice, "alice")
    tar = back_up(alice)
    seen = set()
    for step in range(1, ENOUGH):
        user = make_user()
        shutil.copytree(older, user.store)
        done = run_failing(user, ["restore", "--yes", tar], step, "kill")
        user.lct("check", "alice")
        seen.add(user.record("alice")["active"])
        if done.returncode == 0:
            break
        user.lct("restore", "--yes", tar)
        assert user.record("alice")["active"] == 2
        user.lct("check", "alice")
    assert seen == {1, 2} and step < ENOUGH - 1


def test_a_restore_killed_while_a_pending_key_gives_way_is_ended_by_another(alice, other):
    """Between the key file and the record the pending generation has another one's, and is none."""
    alice.lct("rotate", "alice")
    other.lct("restore", back_up(alice))
    other.lct("rotate", "alice", "--withdraw")
    other.lct("rotate", "alice")
    tar = back_up(other)
    older = shutil.copytree(alice.store, alice.path("older"))
    data = alice.write("data")
    refused = 0
    for step in range(1, ENOUGH):
        shutil.rmtree(alice.store)
        shutil.copytree(older, alice.store)
        done = run_failing(alice, ["restore", "--yes", tar], step, "kill")
        alice.lct("check", "alice")
        pending = alice.openssl("pkeyutl", "-sign", "-inkey", "lct:alice?generation=2", "-rawin",
                                "-in", data, "-out", "sig", status=None)
        assert pending.returncode == 0 or "its Name differs" in pending.stderr, pending.stderr
        refused += pending.returncode != 0
        if done.returncode == 0:
            break
        alice.lct("restore", "--yes", tar)
        assert alice.record("alice") == other.record("alice")
        signs(alice, "lct:alice?generation=2", other.public_key("lct:alice?generation=2"))
    assert refused and step < ENOUGH - 1


@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EROFS"])
def test_a_restore_whose_step_fails_says_so(alice, make_user, error):
    tar = back_up(alice)
    failed = 0
    for step in range(1, ENOUGH):
        user = make_user()
        done = run_failing(user, ["restore", tar], step, f"{error}+")
        if done.returncode == 0:
            break
        failed += 1
        assert done.returncode == 7, done.stderr
        assert os.strerror(getattr(errno, error)).lower() in done.stderr.lower()
        user.lct("restore", tar)
        user.lct("check", "alice")
    assert failed > 5 and step < ENOUGH - 1


@pytest.mark.usefixtures("namespaces")
def test_a_backup_and_a_restore_on_really_full_disks_say_so(alice):
    back_up(alice)
    script = ("mount -t tmpfs -o size=8k,nr_inodes=64 none full && "
              "dd if=/dev/zero of=full/ballast bs=4096 2>/dev/null; "
              "\"$0\" backup --out full/b.tar; echo status $?; ls full; "
              "\"$0\" --store $PWD/full/store restore backup.tar; echo status $?; ls -A full")
    alice.path("full").mkdir()
    done = alice.run("unshare", "--mount", "sh", "-c", script, alice.build / "lct")
    assert "status 18\nballast\n" in done.stdout and "status 7\n" in done.stdout
    assert done.stderr.lower().count("no space") == 2
    assert "alice" not in done.stdout.splitlines()


def test_a_backup_taken_while_identities_are_made_and_changed_is_whole(alice, make_user):
    certificates = [alice.certificate("lct:alice", f"/CN={n}", f"{n}.pem") for n in range(2)]
    stop = threading.Event()
    failures = []

    def change():
        number = 0
        while not stop.is_set():
            number += 1
            try:
                alice.lct("cert", "alice", "--set", certificates[number % 2])
                alice.lct("create", f"k{number % 3}", "--if-absent")
                alice.lct("delete", f"k{(number + 1) % 3}", "--yes", status=None)
            except AssertionError as error:
                failures.append(error)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        tars = [back_up(alice, name=f"b{number}.tar") for number in range(12)]
    finally:
        stop.set()
        thread.join()
    assert not failures
    for tar in tars:
        user = make_user()
        user.lct("restore", tar)
        user.lct("check")
        assert "alice" in user.in_store()


def test_a_backup_waits_for_who_changes_an_identity(alice):
    lock = os.open(alice.store / "alice", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    process = subprocess.Popen([alice.build / "lct", "backup", "--out", "b.tar"],
                               env=alice.environment(), cwd=alice.directory)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    os.close(lock)
    assert process.wait(timeout=30) == 0


@pytest.fixture(name="anybody")
def fixture_anybody(alice):
    """What runs a command as a user who is not root, to whom alice's directory is open."""
    if os.geteuid() != 0:
        pytest.skip("root alone becomes somebody else")
    for path in [alice.directory, *alice.directory.parents]:
        path.chmod(path.stat().st_mode | 0o005)
    return {"user": "nobody", "group": "nogroup", "extra_groups": []}


def test_who_is_not_root_backs_up_what_it_may_read_and_restores_as_its_own(alice, anybody):
    tar = back_up(alice)
    tar.chmod(0o644)
    done = alice.lct("backup", status=7, **anybody)
    assert "lct:alice" in done.stderr
    alice.directory.chmod(0o777)
    env = {"LCT_TCTI": "swtpm:path=/nowhere"}
    alice.lct("--store", alice.path("own"), "restore", tar, env=env, **anybody)
    assert alice.path("own/alice").owner() == "nobody"
    assert alice.path("own/alice/key-1.pem").owner() == "nobody"
    done = alice.lct("--store", alice.path("own"), "backup", text=False, env=env, **anybody)
    assert "alice/key-1.pem" in contents(alice.write("own.tar", done.stdout))


@pytest.mark.usefixtures("anybody")
def test_root_restores_the_owner_and_group_that_a_directory_had(alice, other):
    alice.lct("create", "service", "--owner", "daemon:mail")
    tar = back_up(alice)
    done = other.lct("restore", tar)
    for path in (other.store / "service", other.store / "service/key-1.pem"):
        assert (path.owner(), path.group()) == ("daemon", "mail")
    assert "warning" not in done.stderr
    backup = Backup(tar)
    backup.identity("service")["group"] = "no-such-group"
    shutil.rmtree(other.store)
    done = other.lct("restore", backup.pack(tar))
    assert "no-such-group" in done.stderr and (other.store / "service").owner() == "daemon"


def test_delete_of_an_identity_that_has_not_ended_leaves_nothing(alice):
    alice.lct("delete", "alice", "--yes")
    assert snapshot(alice.store) == {}


def test_delete_leaves_a_tombstone_or_the_identity_whatever_stops_it(alice):
    seen = set()
    for step in range(1, ENOUGH):
        name = f"victim{step}"
        alice.lct("create", name)
        tar = back_up(alice, name, name=f"{name}.tar")
        retire(alice, name)
        done = run_failing(alice, ["delete", name, "--yes"], step, "kill")
        there = name in alice.in_store()
        seen.add(there)
        if there:
            assert "newer, and stays" in alice.lct("restore", tar).stdout
        else:
            alice.lct("restore", tar, status=25)
        if done.returncode == 0:
            break
    assert seen == {True, False} and step < ENOUGH - 1


def test_delete_waits_for_who_changes_an_identity(alice):
    lock = os.open(alice.store / "alice", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    process = subprocess.Popen([alice.build / "lct", "delete", "alice", "--yes"],
                               env=alice.environment(), cwd=alice.directory,
                               stdout=subprocess.DEVNULL)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    assert alice.in_store() == ["alice"]
    os.close(lock)
    assert process.wait(timeout=30) == 0
    assert alice.in_store() == []


def test_shred_overwrites_the_key_files_of_every_generation(alice):
    advance(alice, "alice")
    files = {name: (alice.store / "alice" / name).open("rb") for name in ("key-1.pem", "key-2.pem",
                                                                          "identity.json")}
    alice.lct("delete", "alice", "--yes", "--shred")
    assert alice.in_store() == []
    for name, file in files.items():
        with file:
            content = file.read()
            assert len(content) > 100
            assert (set(content) == {0}) == name.startswith("key-"), name


def test_without_shred_a_key_file_that_somebody_has_open_is_left_as_it_was(alice):
    with (alice.store / "alice/key-1.pem").open("rb") as file:
        alice.lct("delete", "alice", "--yes")
        assert b"TSS2" in file.read()


def test_shred_follows_no_link_and_says_what_it_could_not_overwrite(alice):
    victim = alice.write("victim", "mine")
    (alice.store / "alice/key-2.pem").symlink_to(victim)
    done = alice.lct("delete", "alice", "--yes", "--shred", status=7)
    assert "key-2.pem could not be overwritten" in one_sentence(done.stderr)
    assert victim.read_text() == "mine" and alice.in_store() == []


def test_delete_evicts_what_is_ours_of_each_generation(make_tpm, make_user):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.lct("create", "alice")
    user.lct("persist", "alice")
    advance(user, "alice")
    user.lct("persist", "alice")
    user.lct("create", "bob")
    user.lct("persist", "bob")
    assert len(tpm.persistent()) == 4
    done = user.lct("delete", "alice", "--yes")
    assert done.stdout == "deleted lct:alice\n" and not done.stderr
    assert len(tpm.persistent()) == 2
    user.lct("check", "bob")


def test_who_may_not_delete_evicts_nothing_either(make_tpm, make_user):
    if os.geteuid() != 0:
        pytest.skip("root alone becomes somebody else")
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.lct("create", "alice")
    user.lct("persist", "alice")
    there = tpm.persistent()
    for path in [tpm.path, tpm.directory, user.directory, *user.directory.parents,
                 *user.store.rglob("*"), user.conf]:
        path.chmod(path.stat().st_mode | 0o005)
    tpm.path.chmod(0o777)
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    assert "0x81000100" in user.lct("show", "alice", **nobody).stdout
    user.lct("gc", **nobody)
    done = user.lct("delete", "alice", "--yes", status=7, **nobody)
    assert "run as its owner" in one_sentence(done.stderr)
    assert tpm.persistent() == there


def test_delete_evicts_nothing_that_is_not_the_key(make_tpm, make_user):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    for name in ("alice", "bob"):
        user.lct("create", name)
        user.lct("persist", name)
    generations = user.record("alice")["generations"]
    generations[0]["persistent"] = user.record("bob")["generations"][0]["persistent"]
    change_record(user, "alice", generations=generations)
    before = tpm.persistent()
    user.lct("delete", "alice", "--yes")
    assert tpm.persistent() == before
    user.lct("check", "bob")


def test_delete_says_how_what_it_may_not_evict_goes(make_tpm, make_user):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.lct("create", "alice")
    user.lct("persist", "alice")
    handle = user.record("alice")["generations"][0]["persistent"]
    tpm.tool("tpm2_changeauth", "-c", "owner", "secret")
    done = user.lct("delete", "alice", "--yes", start_new_session=True)
    assert f"tpm2_evictcontrol -c {handle}" in one_sentence(done.stderr)
    assert user.in_store() == []
    tpm.as_told(done.stderr, user.write("owner", "secret"))
    assert int(handle, 16) not in tpm.persistent()
    tpm.tool("tpm2_changeauth", "-c", "owner", "-p", "secret", "")
