# SPDX-License-Identifier: Apache-2.0
"""Creating and deleting are whole or not at all, whatever stops them."""

import errno
import fcntl
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest

from test_command import NEEDS_ROOT, let_others_in, one_sentence
from tpm import states_of, wait_for

ERRORS = ("ENOSPC", "EIO", "EROFS")
STORE = 7
ENOUGH = 200  # more steps than any command takes


@pytest.fixture(name="creator")
def fixture_creator(owner):
    """The owner, whose store is asked to create identities while its file system fails."""
    return owner


def run_failing(user, arguments, step, action) -> subprocess.CompletedProcess:
    """Runs the command with the file system below the store failing at a step."""
    return user.lct(*arguments, status=None, preload=[user.build / "tests" / "preload_fs.so"],
                    env={"LCT_FS_BELOW": str(user.store), "LCT_FS_STEP": str(step),
                         "LCT_FS_ACTION": action})


def steps_of(user, arguments) -> list[str]:
    """The file-system steps of a command that is let through."""
    log = user.path("steps.log")
    user.lct(*arguments, preload=[user.build / "tests" / "preload_fs.so"],
             env={"LCT_FS_BELOW": str(user.store), "LCT_FS_LOG": str(log)})
    return log.read_text().split()


def unreadable(user, pattern: Path | str, after: int = 0) -> dict:
    """Options of a command for which directories cannot be read, after so many of their entries."""
    return {"preload": [user.build / "tests" / "preload_fs.so"],
            "env": {"LCT_FS_UNREAD": str(pattern), "LCT_FS_ENTRIES": str(after)}}


def leftovers(store: Path) -> list[str]:
    """What half-made identities would leave."""
    return sorted(str(path.relative_to(store)) for path in store.glob(".new/**/*"))


def assert_whole_or_nothing(user, name: str) -> bool:
    """Whether the identity is there; if it is, it works."""
    listed = {row["id"] for row in json.loads(user.lct("list", "--json").stdout)}
    assert listed >= {"ec", "rsa"}, "the others are untouched"
    if name in listed:
        user.lct("check", name)
    else:
        assert name not in user.in_store()
        user.lct("show", name, status=3)
    return name in listed


def made_at(steps: list[str]) -> int:
    """How many of the steps make an identity; those after them note the name of its key."""
    return steps.index("fsync", steps.index("rename")) + 1


def test_create_writes_durably_and_renames_into_place(creator):
    steps = steps_of(creator, ["create", "alice"])
    counted = Counter(steps)
    assert counted["rename"] == 1
    assert counted["write"] >= 2 and counted["open"] >= 2
    renamed = steps.index("rename")
    assert counted["fsync"] >= 4, "both files, their directory and the store"
    assert "fsync" in steps[renamed:], "the store's directory after the rename"
    assert "write" not in steps[renamed:made_at(steps)]
    before = steps[:renamed]
    assert "fsync" in before[len(before) - 1 - before[::-1].index("write"):]
    assert leftovers(creator.store) == []


def test_where_no_file_may_grow_a_create_says_so_and_leaves_nothing(creator):
    """The signal that says so would end it in the middle."""
    if creator.build.name in ("coverage", "tsan"):
        pytest.skip("what counts lines or watches threads writes files, too")
    done = creator.lct("create", "alice", status=STORE, preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_FSIZE, (0, 0)))
    assert "File too large" in one_sentence(done.stderr)
    assert "alice" not in creator.in_store() and leftovers(creator.store) == []


def test_a_create_killed_at_any_step_leaves_the_whole_identity_or_nothing(creator, tpm):
    seen = set()
    for step in range(1, ENOUGH):
        name = f"victim{step}"
        done = run_failing(creator, ["create", name], step, "kill")
        left, _ = tpm.left_behind(), tpm.flush()
        assert not left, f"step {step}: the TPM is done with before the store is written: {left}"
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        seen.add(assert_whole_or_nothing(creator, name))
        creator.lct("create", name, "--if-absent")
        assert assert_whole_or_nothing(creator, name)
        assert leftovers(creator.store) == []
    assert step > 5 and step < ENOUGH - 1
    assert seen == {True, False}, "killed before and after the rename"


def test_the_very_first_create_killed_at_any_step_leaves_a_store_that_works(make_user, larder):
    assert larder.exists(), "the storage root key is there"
    for step in range(1, ENOUGH):
        user = make_user()
        done = run_failing(user, ["create", "alice"], step, "kill")
        if done.returncode == 0:
            break
        user.lct("list")
        user.lct("create", "alice", "--if-absent")
        user.lct("check", "alice")
        assert leftovers(user.store) == []
    assert step > 5


@pytest.mark.parametrize("error", ERRORS)
def test_a_create_whose_step_fails_says_so_and_leaves_nothing_half_made(creator, error):
    creator.lct("create", "first")
    steps = steps_of(creator, ["create", "counted"])
    for number, step in enumerate(steps, start=1):
        name = f"victim{number}"
        done = run_failing(creator, ["create", name], number, error)
        there = assert_whole_or_nothing(creator, name)
        if done.returncode == 0:
            assert there and (step == "unlink" or number > made_at(steps)), (
                f"{step} {number} failed, and create said nothing")
            continue
        assert done.returncode in (7, 18), f"{step} {number}: {done.stderr}"
        sentence = one_sentence(done.stderr)
        assert os.strerror(getattr(errno, error)).lower() in sentence.lower()
        assert str(creator.store) in sentence
        assert done.stdout == ""
        creator.lct("create", name, "--if-absent")
        assert leftovers(creator.store) == []


@pytest.mark.parametrize("error", ERRORS)
def test_a_create_on_a_disk_that_stays_full_ends_with_status_7(creator, error):
    creator.lct("create", "first")
    steps = steps_of(creator, ["create", "counted"])
    for step in range(1, steps.index("rename") + 2):
        done = run_failing(creator, ["create", "victim"], step, f"{error}+")
        assert done.returncode == 7, f"step {step}: {done.stderr}"
        one_sentence(done.stderr)
        assert not assert_whole_or_nothing(creator, "victim")
    creator.lct("create", "victim")
    assert leftovers(creator.store) == []


@pytest.mark.usefixtures("larder", "namespaces")
def test_a_create_on_a_really_full_disk_says_so(user):
    user.store.mkdir()
    script = ("mount -t tmpfs -o size=8k,nr_inodes=64 none \"$1\" && "
              "dd if=/dev/zero of=\"$1\"/.ballast bs=4096 2>/dev/null; "
              "\"$0\" create alice; echo status $?; ls -A \"$1\"")
    done = user.run("unshare", "--mount", "sh", "-c", script, user.build / "lct", user.store)
    assert "status 7\n" in done.stdout
    assert "no space" in one_sentence(done.stderr).lower()
    assert "alice" not in done.stdout.split()


def test_a_delete_killed_at_any_step_leaves_no_half_identity(creator):
    for step in range(1, ENOUGH):
        name = f"victim{step}"
        creator.lct("create", name)
        done = run_failing(creator, ["delete", name, "--yes"], step, "kill")
        if done.returncode == 0:
            break
        if assert_whole_or_nothing(creator, name):
            creator.lct("delete", name, "--yes")
        creator.lct("create", name)
        creator.lct("check", name)
        assert leftovers(creator.store) == []
    assert step > 1


def test_two_creators_of_one_id_have_one_winner(creator):
    for attempt in range(10):
        name = f"contended{attempt}"
        barrier = threading.Barrier(4)
        done = []

        def create(name=name, barrier=barrier, done=done):
            barrier.wait()
            done.append(creator.lct("create", name, status=None))

        threads = [threading.Thread(target=create) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(each.returncode for each in done) == [0, 4, 4, 4], [
            each.stderr for each in done]
        creator.lct("check", name)
    assert leftovers(creator.store) == []


def test_creators_of_different_ids_do_not_disturb_each_other(creator):
    threads = [threading.Thread(target=creator.lct, args=("create", f"peer{number}"))
               for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"peer{number}" for number in range(8)} <= set(creator.in_store())
    creator.lct("check")
    assert leftovers(creator.store) == []


@pytest.mark.parametrize("one, other", [("a:b", "a_b"), ("a:b", "a%3Ab"), ("A", "a"),
                                        ("a@b", "a_b"), ("a+b", "a b")])
def test_ids_are_encoded_so_that_none_is_another(user, one, other):
    user.lct("create", one)
    if all(character.isalnum() or character in "._:@+-" for character in other):
        user.lct("create", other)
        assert len(user.in_store()) == 2
        assert user.public_key(f"lct:{one}", "one").read_text() != user.public_key(
            f"lct:{other}", "other").read_text()
    else:
        user.lct("create", other, status=5)
        user.lct("show", other, status=5)
        assert len(user.in_store()) == 1


@pytest.mark.parametrize("name", ["x" * 128, "a.b", "a@example.org", "9", "_", "a+b-c", "a:b:c"])
def test_every_well_formed_id_works_in_the_command_and_in_a_uri(user, name):
    user.lct("create", name)
    (row,) = json.loads(user.lct("list", "--json").stdout)
    assert row["id"] == name
    for uri in (f"lct:{name}", f"lct:///{name}"):
        user.public_key(uri)


def test_what_is_no_directory_is_no_identity(owner):
    owner.store.joinpath("notes").write_text("mine\n")
    owner.store.joinpath("link").symlink_to("ec")
    assert [entry["id"] for entry in json.loads(owner.lct("list", "--json").stdout)] == [
        "ec", "p384", "rsa", "rsa3072"]
    assert "no such identity" in owner.lct("show", "link", status=3).stderr
    owner.lct("show", "notes", status=3)


def test_creators_on_a_fresh_tpm_share_one_storage_root_key(make_user, make_tpm):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    creators = [subprocess.Popen([user.build / "lct", "create", f"k{i}"], cwd=user.directory,
                                 env=user.environment(), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True) for i in range(2)]
    for creator in creators:
        _, errors = creator.communicate(timeout=60)
        assert creator.returncode == 0, errors
    parents = {json.loads(user.lct("show", f"k{i}", "--json").stdout)["parent"]["handle"]
               for i in range(2)}
    assert parents == {"0x81000001"}


def test_lost_and_found_is_no_identity(owner):
    owner.store.joinpath("lost+found").mkdir(mode=0o700)
    assert "lost" not in owner.lct("list").stdout


LOST = {"record": "it has no identity.json; restore it from a backup",
        "sight of it": "input/output error"}


@pytest.mark.parametrize("what", LOST)
@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["backup"], ["check"], ["doctor"]],
                         ids=" ".join)
def test_an_identity_whose_record_is_lost_is_told_of(owner, words, what):
    """An identity is in the way of what is done to those that are none: lct gc, for one."""
    options = {}
    if what == "record":
        (owner.store / "ec" / "identity.json").unlink()
    else:
        blind = owner.write("blind")
        options = {"preload": [owner.build / "tests" / "preload_fs.so"],
                   "env": {"LCT_FS_BLIND": str(blind)}}
    done = owner.lct(*words, status=None, text=False, **options)
    said = done.stdout.decode(errors="replace") if words == ["doctor"] else done.stderr
    assert "lct:ec: " in said and LOST[what] in said.lower()
    assert words == ["doctor"] or done.returncode == (6 if what == "record" else 7)


@pytest.mark.parametrize("left", ["key-2.pem", "certs-1.pem", "succession-2.json", "ending.json"])
def test_what_has_a_file_that_only_an_identity_has_is_one(owner, left):
    owner.store.joinpath("lost").mkdir()
    owner.store.joinpath("lost", "other.pem").touch()
    owner.lct("list")
    owner.store.joinpath("lost", left).touch()
    assert LOST["record"] in one_sentence(owner.lct("list", status=6).stderr)
    owner.lct("delete", "lost", "--yes")
    owner.lct("list")


@pytest.mark.parametrize("options", [(), ("--yes",), ("--yes", "--shred")], ids=" ".join)
@pytest.mark.parametrize("name, file", [("lost+found", "#1234/file"), ("pam.d", "login"),
                                        ("hidden", ".other"), ("named", "key-1.pem.old")])
def test_a_directory_that_is_no_identity_is_not_deleted(owner, name, file, options):
    """Not of a store that is a file system of its own, nor of a directory that is no store."""
    (owner.store / name / file).parent.mkdir(parents=True)
    (owner.store / name / file).write_text("not ours")
    (owner.path("link")).symlink_to(owner.store)
    for store in (owner.store, owner.path("link")):
        said = one_sentence(owner.lct("delete", name, *options, "--store", store, status=3).stderr)
        assert said.startswith(f"lct:{name}: ") and "is no identity" in said
        assert (owner.store / name / file).read_text() == "not ours"


def halted(process) -> bool:
    """Waits for it to stop, once for each time, or to end; whether it has stopped."""
    done = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    if done.si_code == os.CLD_STOPPED:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    return done.si_code == os.CLD_STOPPED


def delete_while_a_link_changes(user, link: Path, other: Path, at: int) -> tuple[int, int]:
    """The exit status, and how often the store was opened: at time `at` the link led to another."""
    env = user.environment({"LCT_FS_HALT": str(link)}, [user.build / "tests" / "preload_fs.so"])
    process = subprocess.Popen([user.build / "lct", "delete", "ec", "--yes", "--store", link],
                               env=env, cwd=user.directory, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    openings = 0
    while halted(process):
        openings += 1
        link.unlink()
        link.symlink_to(other if openings == at else user.store)
        process.send_signal(signal.SIGCONT)
    return process.wait(), openings


def test_nothing_is_taken_out_of_a_store_that_takes_the_place_of_the_one_that_was_locked(owner):
    """As it can where the store's path has a link that another user may change."""
    other = shutil.copytree(owner.store, owner.path("other"))
    fresh = shutil.copytree(owner.store / "ec", owner.path("fresh"))
    link = owner.path("link")
    link.symlink_to(owner.store)
    at, openings, statuses = 1, 1, []
    while at <= openings:
        status, openings = delete_while_a_link_changes(owner, link, other, at)
        assert (other / "ec" / "key-1.pem").exists(), f"opening {at}"
        assert (owner.store / "ec").exists() == (status != 0), f"opening {at}"
        shutil.copytree(fresh, owner.store / "ec", dirs_exist_ok=True)
        statuses.append(status)
        at += 1
    assert openings > 3 and {0, STORE} <= set(statuses)


def test_an_empty_directory_is_deleted(owner):
    (owner.store / "empty").mkdir()
    owner.lct("delete", "empty", "--yes")
    assert not (owner.store / "empty").exists() and leftovers(owner.store) == []


def test_an_empty_directory_that_cannot_be_read_may_be_an_identity(owner):
    owner.store.joinpath("lost").mkdir()
    said = one_sentence(owner.lct("list", status=6, **unreadable(owner, owner.store / "lost")).stderr)
    assert "lct:lost: " in said


def until_read(user, pattern, *words) -> int:
    """How many entries of a directory a command reads; with fewer it fails, and says why."""
    for after in range(ENOUGH):
        done = user.lct(*words, status=None, text=False, **unreadable(user, pattern, after))
        if done.returncode == 0:
            return after
        assert done.returncode == 7 and done.stdout == b"", done.stderr
        assert "input/output error" in one_sentence(done.stderr).lower()
    raise AssertionError


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["backup"], ["check"], ["gc"]],
                         ids=" ".join)
def test_a_store_that_cannot_be_read_to_its_end_is_not_taken_for_a_smaller_one(owner, words):
    assert until_read(owner, owner.store, *words) >= len(os.listdir(owner.store))


def test_doctor_tells_of_a_store_that_cannot_be_read_to_its_end(owner):
    done = owner.lct("doctor", "--json", status=None, **unreadable(owner, owner.store))
    (told,) = [each["text"] for each in json.loads(done.stdout)
               if each["topic"] == "store" and each["severity"] == "problem"]
    assert told == f"the store {owner.store} cannot be read: Input/output error"


def test_keys_that_could_not_be_found_were_not_overwritten(owner):
    done = owner.lct("delete", "ec", "--shred", "--yes", status=7,
                     **unreadable(owner, owner.store / ".new" / "shred-*"))
    assert one_sentence(done.stderr) == ("lct:ec: it is deleted: its directory cannot be read: "
                                         "Input/output error")
    assert [path.rpartition("/")[2] for path in leftovers(owner.store) if "key-" in path] == [
        "key-1.pem"], "it is there to be overwritten"
    owner.lct("create", "more")
    assert leftovers(owner.store) == []


def test_a_store_is_the_user_s_own_however_it_is_named(user):
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    user.directory.chmod(0o777)
    for parent in user.directory.parents:
        parent.chmod(parent.stat().st_mode | 0o005)
    user.lct("--store", f"{user.directory}/own//", "create", "k", status=None, **nobody)
    assert (user.directory / "own").stat().st_mode & 0o777 == 0o700


@pytest.fixture(name="at_home")
def fixture_at_home(user):
    """A user with an identity k in a store of its own, which is not configured but found."""
    store = user.directory / ".local/share/lct"
    user.lct("--store", store, "create", "k")
    user.configure(store=None)
    user.lct("show", "k")
    user.home_store = store
    return user


def refused_store(user) -> str:
    """Why the user's own store is not used: the program, the command and doctor agree."""
    shown = user.openssl("pkey", "-in", "lct:k", "-pubout", status=1).stderr
    told = one_sentence(user.lct("show", "k", status=3).stderr)
    findings = json.loads(user.lct("doctor", "--json", status=None).stdout)
    (finding,) = [each["text"] for each in findings if each["topic"] == "store"
                  and each["severity"] == "warning" and " is not used: " in each["text"]]
    assert finding in told and finding in shown
    return finding


@NEEDS_ROOT
@pytest.mark.parametrize("whose", ["", ".local", ".local/share", ".local/share/lct"])
def test_root_takes_no_identity_from_another_user_s_home(at_home, whose):
    other = at_home.directory / whose
    os.chown(other, 65534, 65534)
    try:
        assert refused_store(at_home) == (
            f"the store {at_home.home_store} is not used: {other} belongs to another user (uid 65534)")
    finally:
        os.chown(other, 0, 0)
    at_home.lct("show", "k")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_an_own_store_that_others_may_write_to_is_not_used(at_home, mode):
    at_home.home_store.chmod(mode)
    said = refused_store(at_home)
    assert f"others may write to it (mode {mode:04o})" in said
    assert said.endswith(f": chmod go-w {at_home.home_store}")
    at_home.run("chmod", "go-w", str(at_home.home_store))
    at_home.lct("show", "k")


@NEEDS_ROOT
def test_who_has_no_store_to_use_is_told_why(at_home):
    """Not that it may not write to the system's."""
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    let_others_in(at_home)
    at_home.home_store.chmod(0o777)
    said = one_sentence(at_home.lct("create", "x", status=7, **nobody).stderr)
    assert f"the store {at_home.home_store} is not used: others may write to it" in said


@NEEDS_ROOT
def test_an_own_store_of_root_s_is_used(at_home):
    """What root has made there is as good as the user's."""
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    let_others_in(at_home)
    at_home.home_store.chmod(0o755)
    for path in (at_home.home_store / "k", *(at_home.home_store / "k").iterdir()):
        os.chown(path, 65534, 65534)
    at_home.lct("show", "k", **nobody)


@pytest.mark.parametrize("words, status", [
    (["delete", "ec", "--yes"], 3), (["cert", "ec", "--remove"], 3), (["rotate", "ec"], 3),
    (["retire", "ec", "--yes", "--without-signature"], 3), (["backup", "ec"], 3), (["backup"], 0)])
def test_what_was_waited_for_and_is_another_now_is_left_alone(owner, words, status):
    """Whoever waits for an identity's lock waits for that one, not for its name's next."""
    before = owner.store / "ec"
    lock = os.open(before, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    tar = open(owner.path("out"), "wb")
    with tar, subprocess.Popen([owner.build / "lct", *words], env=owner.environment(), stdout=tar,
                               stderr=subprocess.PIPE, text=True) as waiting:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=1)
        before.rename(owner.path("gone"))
        before.mkdir()
        for path in owner.path("gone").iterdir():
            (before / path.name).write_bytes(path.read_bytes())
        kept = {path.name: path.stat().st_ino for path in before.iterdir()}
        os.close(lock)
        assert waiting.wait(timeout=30) == status
        said = waiting.stderr.read()
    assert status == 0 or "it was deleted meanwhile" in one_sentence(said)
    assert {path.name: path.stat().st_ino for path in before.iterdir()} == kept


@NEEDS_ROOT
def test_root_s_new_store_alone_gets_its_mode(user):
    """Not what somebody has put in its place, who owns the directory above."""
    steps = steps_of(user, ["create", "first"])
    shutil.rmtree(user.store)
    secret = user.write("secret", "root's own")
    secret.chmod(0o600)
    env = {"LCT_FS_BELOW": str(user.store), "LCT_FS_ACTION": "stop",
           "LCT_FS_STEP": str(steps.index("chmod") + 1)}
    preload = [user.build / "tests" / "preload_fs.so"]
    with subprocess.Popen([user.build / "lct", "create", "k"], env=user.environment(env, preload),
                          stderr=subprocess.PIPE, text=True) as making:
        wait_for(lambda: states_of(making.pid) == {"T"}, "it to stop")
        user.store.rmdir()
        user.store.symlink_to(secret)
        making.send_signal(signal.SIGCONT)
        assert making.wait(timeout=60) == STORE
        assert "cannot be written" in one_sentence(making.stderr.read())
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_deletion_that_may_not_outlast_a_loss_of_power_is_told(user):
    user.lct("create", "first")
    steps = steps_of(user, ["delete", "first", "--yes"])
    user.lct("create", "k")
    done = run_failing(user, ["delete", "k", "--yes"], steps.index("rename") + 2, "EIO")
    assert done.returncode == STORE
    assert "it is deleted: the store" in one_sentence(done.stderr)
    assert user.in_store() == []


def test_a_directory_that_another_command_has_just_made_is_on_disk_before_what_is_in_it(user):
    for name in ("first", "second"):
        user.lct("create", name)
        user.lct("retire", name, "--yes")
    steps = steps_of(user, ["delete", "first", "--yes"])
    assert steps_of(user, ["delete", "second", "--yes"]) == steps * 2, "the log has both"
