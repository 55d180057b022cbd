# SPDX-License-Identifier: Apache-2.0
"""Names that follow from keys: lct:web4:mb32:... means one key, wherever an id may stand."""

import ctypes
import json
import os
import re
import shutil
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

import web4
from test_certs import add_generation
from test_command import NEEDS_ROOT, let_others_in, one_sentence
from test_store import ENOUGH, run_failing

USAGE, NOT_FOUND, BAD_ID, STORE, WRONG_KEY = 2, 3, 5, 7, 14
FORMS = ("lct:{}", "lct://{}", "lct:///{}", "LCT://{}")
BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


def name_of(pem: str | bytes) -> str:
    """Without the scheme."""
    key = load_pem_public_key(pem.encode() if isinstance(pem, str) else pem)
    return web4.name_of(key).removeprefix("lct:")


def shown(user, name: str) -> dict:
    return json.loads(user.lct("show", name, "--json").stdout)


def hint(user, name: str) -> Path:
    return user.store / ".index" / name.removeprefix("web4:mb32:b")


@pytest.fixture(name="named")
def fixture_named(owner):
    """The owner, and the names of ec and of a second identity."""
    owner.lct("create", "other")
    owner.ec = name_of(shown(owner, "ec")["public_key"])
    owner.other = name_of(shown(owner, "other")["public_key"])
    return owner


def make_active(user, number: int):
    """The switch alone; the one before signs until the year 2099."""

    def change(record):
        record["active"] = number
        record["generations"][0].pop("until", None)
        if number == 2:
            record["generations"][0]["until"] = "2099-01-01T00:00:00Z"

    user.edit_record("ec", change)


@pytest.fixture(name="followed")
def fixture_followed(named):
    """`ec` has a pending second generation: the key that was other's. Its name is `second`."""
    add_generation(named, "ec", "other")
    make_active(named, 1)
    named.lct("delete", "other", "--yes")
    named.second = named.other
    return named


def assert_signs(user, uri: str, public: Path):
    user.openssl("dgst", "-sha256", "-sign", uri, "-out", "sig", "data")
    user.verify(public, user.path("sig"), user.path("data"))


def test_show_says_the_name_that_follows_from_the_key(named):
    row = shown(named, "ec")
    assert row["web4_name"] == f"lct:{named.ec}"
    assert re.search(rf"^web4 +lct:{named.ec}$", named.lct("show", "ec").stdout, re.MULTILINE)


@pytest.mark.parametrize("identity", ["p384", "rsa"])
def test_a_key_that_web4_has_no_names_for_has_none_and_show_says_so(owner, identity):
    assert shown(owner, identity)["web4_name"] is None
    assert re.search(r"^web4 +none: .+$", owner.lct("show", identity).stdout, re.MULTILINE)
    assert len(list(owner.store.glob(".index/*"))) == 1, "of ec alone"


@pytest.mark.parametrize("form", FORMS)
def test_openssl_signs_by_a_name_in_every_spelling(named, form):
    public = named.public_key("lct:ec")
    uri = form.format(named.ec)
    assert named.public_key(uri, "again").read_text() == public.read_text()
    assert_signs(named, uri, public)


def test_a_name_gives_the_certificates_of_its_key(named):
    named.certificate("lct:ec")
    named.lct("cert", "ec", "--set", "crt.pem")
    told = named.openssl("storeutl", "-certs", f"lct://{named.ec}").stdout
    assert "Total found: 1" in told
    assert named.lct("cert", f"lct:{named.ec}").stdout == named.path("crt.pem").read_text()


@pytest.mark.parametrize("form", ["{}", *FORMS])
def test_the_command_takes_a_name_where_it_takes_an_id(named, form):
    name = form.format(named.ec)
    assert shown(named, name)["id"] == "ec"
    named.lct("check", name)
    signature = named.lct("sign", name, stdin=b"what is signed\n", text=False).stdout
    named.path("sig").write_bytes(signature)
    named.verify(named.public_key("lct:ec"), named.path("sig"), named.write("data"))
    assert named.lct("csr", name, "--subject", "/CN=x").stdout.startswith("-----BEGIN CERT")


def test_a_key_file_by_a_name_is_one_of_the_identity(named):
    named.write("ref.pem", named.lct("pem", f"lct:{named.ec}").stdout)
    assert_signs(named, str(named.path("ref.pem")), named.public_key("lct:ec"))


@pytest.mark.parametrize("how", ["create", "import"])
def test_whoever_makes_a_key_notes_its_name(owner, how):
    if how == "create":
        owner.lct("create", "new")
    else:
        owner.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out",
                      "soft.pem", env={"OPENSSL_CONF": os.devnull})
        owner.lct("import", "new", "soft.pem", "--software")
    name = name_of(shown(owner, "new")["public_key"])
    assert hint(owner, name).read_text() == "new 1\n"
    assert hint(owner, name).stat().st_mode & 0o777 == 0o644


def test_a_name_goes_with_its_key(named):
    assert hint(named, named.other).exists()
    named.lct("delete", f"lct:{named.other}", "--yes")
    assert not hint(named, named.other).exists()
    assert "no identity" in one_sentence(named.lct("show", named.other, status=NOT_FOUND).stderr)
    named.openssl("pkey", "-in", f"lct://{named.other}", "-pubout", status=1)
    assert named.in_store() == ["ec", "p384", "rsa", "rsa3072"]


def test_a_name_is_of_one_generation_before_and_after_the_next_is_active(followed):
    first, second = followed.public_key("lct:ec?generation=1", "1").read_text(), followed.public_key(
        "lct:ec?generation=2", "2").read_text()
    for active in (1, 2):
        make_active(followed, active)
        assert followed.public_key(f"lct:{followed.ec}").read_text() == first
        assert followed.public_key(f"lct:{followed.second}").read_text() == second
    assert_signs(followed, f"lct://{followed.ec}", followed.path("1"))
    assert_signs(followed, f"lct://{followed.second}", followed.path("2"))


def test_a_command_by_the_name_of_an_earlier_key_uses_that_key(followed):
    make_active(followed, 2)
    signature = followed.lct("sign", f"lct:{followed.ec}", stdin=b"x", text=False).stdout
    followed.path("sig").write_bytes(signature)
    followed.verify(followed.public_key("lct:ec?generation=1"), followed.path("sig"),
                    followed.write("data", b"x"))
    followed.write("ref.pem", followed.lct("pem", f"lct:{followed.ec}").stdout)
    assert followed.public_key(str(followed.path("ref.pem"))).read_text() == followed.public_key(
        "lct:ec?generation=1").read_text()


@pytest.mark.parametrize("arguments", [
    ["show", "{}"], ["delete", "{}", "--yes"], ["cert", "{}", "--remove"]])
def test_what_is_of_the_whole_identity_is_not_done_by_the_name_of_another_generation(followed,
                                                                                   arguments):
    for name, number in ((followed.second, 2), (followed.ec, 1)):
        make_active(followed, 3 - number)
        done = followed.lct(*[part.format(f"lct:{name}") for part in arguments], status=WRONG_KEY)
        assert f"generation {number} of lct:ec" in one_sentence(done.stderr)
    assert "ec" in followed.in_store()


def test_a_rotation_notes_the_name_of_the_next_key_and_the_withdrawal_takes_it_out(named):
    named.lct("rotate", "ec")
    second = name_of(named.openssl("pkey", "-in", "lct:ec?generation=2", "-pubout").stdout)
    assert hint(named, second).read_text() == "ec 2\n"
    assert hint(named, named.ec).read_text() == "ec 1\n"
    named.lct("rotate", "ec", "--withdraw")
    assert not hint(named, second).exists()
    named.lct("sign", f"lct:{second}", status=NOT_FOUND)


def test_a_rotation_that_is_done_leaves_each_name_with_its_key(named):
    first = named.public_key("lct:ec", "1")
    named.lct("rotate", f"lct:{named.ec}")
    named.lct("rotate", "ec", "--commit")
    second = named.public_key("lct:ec", "2")
    assert_signs(named, f"lct://{named.ec}", first)
    assert_signs(named, f"lct://{name_of(second.read_text())}", second)
    done = named.lct("rotate", f"lct:{named.ec}", status=WRONG_KEY)
    assert "generation 1 of lct:ec" in one_sentence(done.stderr)


def test_a_name_with_another_generation_beside_it_is_refused(followed):
    followed.public_key(f"lct:{followed.ec}?generation=1")
    done = followed.openssl("pkey", "-in", f"lct://{followed.ec}?generation=2", "-pubout",
                            status=1)
    assert "generation 1 of lct:ec, and of no other" in done.stderr


def test_an_id_cannot_be_a_name(named):
    for name in (named.ec, "web4:mb32:b" + "a" * 52, "web4:mb32:x"):
        assert "derived from keys" in one_sentence(named.lct("create", name, status=BAD_ID).stderr)


@pytest.mark.parametrize("spoil", [
    lambda name: name[:-1], lambda name: name + "a", lambda name: name.upper().replace(
        "WEB4:MB32", "web4:mb32"), lambda name: name.replace(":b", ":c", 1),
    lambda name: name[:-1] + BASE32[BASE32.index(name[-1]) + 1], lambda name: name[:-2] + "1a",
    lambda name: "web4:mb32:"])
def test_what_is_no_name_is_refused_as_such(named, spoil):
    name = spoil(named.ec)
    assert "follows from a key" in one_sentence(named.lct("show", name, status=BAD_ID).stderr)
    named.openssl("pkey", "-in", f"lct://{name}", "-pubout", status=1)


def test_a_name_of_nobody_is_not_found(named):
    name = "web4:mb32:b" + "a" * 52
    assert "no identity" in one_sentence(named.lct("sign", name, status=NOT_FOUND).stderr)


# The index is a hint


def test_a_lost_index_is_made_anew_when_a_name_is_looked_up(named):
    shutil.rmtree(named.store / ".index")
    named.public_key(f"lct:{named.ec}")
    assert hint(named, named.ec).read_text() == "ec 1\n"
    assert len(list(named.store.glob(".index/*"))) == 1


HOSTILE = {
    "another identity": "other 1\n", "another generation": "ec 2\n", "no identity": "gone 1\n",
    "outside of the store": "../outside 1\n", "an absolute path": "/etc 1\n", "empty": "",
    "no end": "ec 1", "leading zero": "ec 01\n", "generation 0": "ec 0\n", "negative": "ec -1\n",
    "too great": "ec 4294967297\n", "more": "ec 1\nec 1\n", "a sign": "ec +1\n",
    "a name": "web4:mb32:b" + "a" * 52 + " 1\n", "hidden": ".index 1\n", "binary": "\0\1 1\n",
    "long": "x" * 5000 + " 1\n"}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_wrong_hint_is_not_believed_and_put_right(named, content):
    shutil.copytree(named.store / "other", named.directory / "outside")
    hint(named, named.ec).write_text(content)
    assert named.public_key(f"lct:{named.ec}").read_text() == named.public_key(
        "lct:ec", "id").read_text()
    assert hint(named, named.ec).read_text() == "ec 1\n"


@pytest.mark.parametrize("kind", ["a link to a good hint", "a link to nothing", "a directory",
                                  "a pipe", "unreadable"])
def test_a_hint_that_is_no_file_is_not_followed(named, kind):
    path, good = hint(named, named.ec), named.write("good", "other 1\n")
    path.unlink()
    if kind == "a directory":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "unreadable":
        path.write_text("ec 1\n")
        path.chmod(0)
    else:
        path.symlink_to(good if "good" in kind else "nowhere")
    assert named.public_key(f"lct:{named.ec}").read_text() == named.public_key(
        "lct:ec", "id").read_text()
    assert good.read_text() == "other 1\n"


def test_where_no_file_may_grow_a_name_is_found_and_no_hint_written(named):
    """The signal that says so would end the program."""
    hint(named, named.ec).unlink()
    named.run(named.build / "tests/process", "limited", f"lct:{named.ec}")
    assert not hint(named, named.ec).exists()
    named.public_key(f"lct:{named.ec}")
    assert hint(named, named.ec).read_text() == "ec 1\n"


@pytest.mark.parametrize("kind", ["link", "file"])
def test_an_index_that_is_no_directory_is_neither_read_nor_written(named, kind):
    index, elsewhere = named.store / ".index", named.path("elsewhere")
    index.rename(elsewhere)
    for entry in elsewhere.iterdir():
        entry.unlink()
    if kind == "link":
        index.symlink_to(elsewhere)
    else:
        index.write_text("")
    named.public_key(f"lct:{named.ec}")
    named.lct("create", "third")
    assert list(elsewhere.iterdir()) == []


def test_a_directory_that_is_called_as_a_name_is_no_identity(named):
    shutil.copytree(named.store / "other", named.store / named.ec)
    path = named.store / named.ec / "identity.json"
    path.write_text(path.read_text().replace('"other"', json.dumps(named.ec)))
    assert named.public_key(f"lct:{named.ec}").read_text() == named.public_key(
        "lct:ec", "id").read_text()
    assert named.ec not in named.lct("list").stdout
    hint(named, named.ec).write_text(f"{named.ec} 1\n")
    assert shown(named, named.ec)["id"] == "ec"


def test_a_record_that_claims_the_place_of_another_key_is_not_believed(named):
    """The key file says which key it is, and its name is not that."""
    record = named.store / "other/identity.json"
    content = json.loads((named.store / "ec/identity.json").read_text())
    content["id"] = "other"
    record.write_text(json.dumps(content))
    hint(named, named.ec).write_text("other 1\n")
    assert shown(named, named.ec)["id"] == "ec"


def test_a_store_that_cannot_be_written_is_searched_all_the_same(named, namespaces):
    assert namespaces is None
    shutil.rmtree(named.store / ".index")
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && "$0" show "$2" --json'
    done = named.run("unshare", "--mount", "sh", "-c", script, named.build / "lct", named.store,
                     f"lct:{named.ec}")
    assert json.loads(done.stdout)["id"] == "ec"
    assert not (named.store / ".index").exists()


@NEEDS_ROOT
def test_an_identity_that_may_not_be_read_may_be_the_one_that_is_meant(named):
    let_others_in(named)
    named.store.chmod(0o755)
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    done = named.lct("sign", f"lct:{named.ec}", status=STORE, **nobody)
    assert "not all may be" in one_sentence(done.stderr)
    named.lct("show", f"lct:{named.ec}")


@NEEDS_ROOT
def test_what_root_notes_in_another_s_store_is_the_other_s(named):
    shutil.rmtree(named.store / ".index")
    os.chown(named.store, 65534, 65534)
    named.lct("show", f"lct:{named.ec}")
    for path in (named.store / ".index", hint(named, named.ec)):
        assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


def test_a_name_in_the_second_store_is_found_though_the_first_has_the_id(user, larder):
    """Both have an identity ec, of two keys."""
    own = user.directory / ".local/share/lct"
    user.lct("--store", own, "create", "ec")
    name = name_of(json.loads(user.lct("--store", own, "show", "ec", "--json").stdout)["public_key"])
    shutil.copytree(larder, user.store)
    user.configure(store=None)
    assert shown(user, name)["store"] == str(own)
    user.lct("--store", user.store, "show", name, status=NOT_FOUND)


def test_creating_killed_at_any_step_leaves_a_name_that_works_or_none(owner):
    for step in range(1, ENOUGH):
        name = f"victim{step}"
        done = run_failing(owner, ["create", name], step, "kill")
        if name in owner.in_store():
            key = name_of(shown(owner, name)["public_key"])
            assert shown(owner, key)["id"] == name
        if done.returncode == 0:
            break
    assert 5 < step < ENOUGH - 1


def test_deleting_killed_at_any_step_leaves_a_name_that_works_or_none(owner):
    for step in range(1, ENOUGH):
        name = f"victim{step}"
        owner.lct("create", name)
        key = name_of(shown(owner, name)["public_key"])
        done = run_failing(owner, ["delete", name, "--yes"], step, "kill")
        found = owner.lct("show", f"lct:{key}", status=None)
        assert found.returncode == (0 if name in owner.in_store() else NOT_FOUND)
        if done.returncode == 0:
            break
    assert 1 < step < ENOUGH - 1


def test_names_are_found_while_the_index_is_removed_again_and_again(named):
    done, stop = [], threading.Event()

    def look():
        for _ in range(20):
            done.append(named.lct("show", f"lct:{named.ec}", "--json", status=None).returncode)

    def remove():
        while not stop.is_set():
            shutil.rmtree(named.store / ".index", ignore_errors=True)
            time.sleep(0.003)

    threads = [threading.Thread(target=look) for _ in range(3)]
    remover = threading.Thread(target=remove)
    for thread in (*threads, remover):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    remover.join()
    assert done == [0] * 60


class Opened:
    """Whether files in some directories have been opened since the last look: inotify(7)."""

    IN_OPEN, IN_NONBLOCK, ENTRY = 0x20, 0o4000, 16

    def __init__(self, directories):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(self.IN_NONBLOCK)
        assert self.fd >= 0
        for directory in directories:
            assert libc.inotify_add_watch(self.fd, os.fsencode(directory), self.IN_OPEN) >= 0

    def names(self) -> set[str]:
        try:
            events, found = os.read(self.fd, 1 << 20), set()
        except BlockingIOError:
            return set()
        while events:
            length = int.from_bytes(events[12:16], "little")
            found.add(events[self.ENTRY:self.ENTRY + length].rstrip(b"\0").decode())
            events = events[self.ENTRY + length:]
        return found - {""}


def test_a_name_among_10000_identities_is_looked_up_in_the_index_alone(named):
    """No other record is opened; without the index those before it are."""
    directories = [named.store / f"k{number}" for number in range(10000)]
    for directory in directories:
        directory.mkdir()
        (directory / "identity.json").write_text("{}")
    opened = Opened([named.store / "ec", *directories[::500]])
    named.lct("pem", f"lct:{named.other}")
    named.public_key(f"lct:{named.other}")
    assert opened.names() == set()
    shutil.rmtree(named.store / ".index")
    named.lct("pem", f"lct:{named.other}")
    assert "identity.json" in opened.names()
    named.lct("pem", f"lct:{named.other}")
    assert opened.names() == set(), "the index is whole again"
