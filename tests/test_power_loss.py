# SPDX-License-Identifier: Apache-2.0
"""Power is lost, or the disk fails, at any step of any command that changes the store."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from attesting import Verifier
from test_certs import Holder, fixture_pki  # noqa: F401
from test_life import Statement, certify
from test_store import run_failing, steps_of
from tpm import SLOWER

FIRST, SECOND = "0x81000100", "0x81000101"
EXISTS, NOT_FOUND, ENDED = 4, 3, 25
CRASHES = ("kill", "kill-after", "lose", "tear")
FAILED = (1, 7, 18)
ERRORS = ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EINTR", "ENOSPC+", "EIO+", "EROFS+")


@dataclasses.dataclass
class Operation:
    """A command, what was done before it, and what it may end with if it has been done already."""

    prepare: list[list]
    command: list
    again: tuple[int, ...] = ()
    reset: list = ()  # what brings the TPM back to where it was, after the store
    parts: bool = False  # it does several things, each of which is whole
    slow: bool = False  # it takes a key of a passphrase, which takes its time


class Bench:
    """A store as it is before an operation, to be had again and again."""

    def __init__(self, sealer, authority, pki: Path, name: str):
        self.name, self.user, self.authority, self.pki = name, sealer, authority, pki
        self.indices = set(sealer.tpm.handles(0x01000000))
        self.spare = sealer.path("spare")
        self.operation = OPERATIONS[name](self)
        for words in [["create", "ec", "--seal", "none"], *self.operation.prepare]:
            if callable(words):
                words()
            else:
                sealer.lct(*words)
        self.fresh = sealer.path("fresh")
        shutil.copytree(sealer.store, self.fresh, symlinks=True)
        self.before, self.troubles = self.state(), self.troubles_told()
        self.steps = steps_of(sealer, self.operation.command)
        self.after = self.state()
        self.troubles |= self.troubles_told()
        if name == "unpersist":  # the TPM comes first, and doctor tells of a handle without a key
            self.troubles.add(("tpm", "warning", "lct:ec"))

    def reset(self):
        self.forget_counters()
        shutil.rmtree(self.user.store, ignore_errors=True)
        shutil.copytree(self.fresh, self.user.store, symlinks=True)
        shutil.rmtree(self.spare, ignore_errors=True)
        self.spare.mkdir()
        if self.operation.reset:
            self.user.lct(*self.operation.reset)

    def run(self, step: int, action: str) -> subprocess.CompletedProcess:
        """The command, stopped at a step of its own or, where that is beyond its last, after it."""
        self.reset()
        self.user.path("out").unlink(missing_ok=True)
        done = self.user.lct(*self.operation.command, status=None,
                             preload=[self.user.build / "tests" / "preload_fs.so"],
                             env={"LCT_FS_BELOW": str(self.user.store), "LCT_FS_STEP": str(step),
                                  "LCT_FS_ACTION": action, "LCT_FS_SPARE": str(self.spare)})
        self.user.tpm.flush()
        return done

    def forget_counters(self):
        """Those that were made for keys that never came to be, or came to be many times."""
        for index in set(self.user.tpm.handles(0x01000000)) - self.indices:
            self.user.tpm.tool("tpm2_nvundefine", "-C", "o", hex(index))

    def troubles_told(self) -> set[tuple]:
        findings = json.loads(self.user.lct("doctor", "--json", status=None).stdout)
        return {(each["topic"], each["severity"], each["text"].split(": ")[0])
                for each in findings if each["severity"] in ("warning", "problem")}

    def state(self) -> dict:
        """What there is to be seen of the store; its keys are others each time."""
        user = self.user
        rows = json.loads(user.lct("list", "--json").stdout)
        checked = user.lct("check", status=None)
        public = user.store / ".authority.pub.pem"
        return {
            "checked": (checked.returncode, [line for line in checked.stdout.splitlines()
                                             if "FAILED" in line]),
            "identities": [(row["id"], row["state"], row["counter"], row["generation"],
                            row["reason"], row["custody"],
                            (row["certificate"] or {}).get("subject"), self.statement(row),
                            [(each["stage"], each["persistent"], each["until"] is None)
                             for each in row["generations"]]) for row in rows],
            "authority": public.exists() and public.read_text(),
            "kept": sorted(str(path.relative_to(user.store)) for name in (".approvals", ".ended")
                           for path in (user.store / name).glob("[!.]*")
                           if path.name.split(".")[0] not in user.in_store())}

    def is_between(self, now: dict) -> bool:
        """As before; or of several things that are done one after the other some have been."""
        if not self.operation.parts:
            return now == self.before
        return (now["authority"] in (self.before["authority"], self.after["authority"]) and
                all(each in self.after[key] for key in ("identities", "kept") for each in now[key]))

    def statement(self, row: dict) -> bool | None:
        """Whether there is a statement of its end, and it is of that."""
        if row["state"] == "active":
            return None
        done = self.user.lct("retire", row["id"], "--statement", status=None)
        if done.returncode != 0:
            return False
        said = payload(done.stdout)
        assert (said["ending"], said["created"], said["reason"], said["counter"]) == (
            row["state"], row["ended"], row["reason"], row["counter"])
        return True

    def leftovers(self) -> list[str]:
        return sorted(str(path.relative_to(self.user.store)) for path in
                      self.user.store.rglob("*") if ".new" in str(path.relative_to(self.user.store))
                      and path != self.user.store / ".new")


def payload(statement: str) -> dict:
    """What is said in it."""
    return Statement(statement).payload


def back_up(bench: Bench, name: str):
    bench.user.write(name, bench.user.lct("backup", text=False).stdout)


def with_certificate(bench: Bench, generation: int):
    bench.user.write("chain.pem", certify(Holder(bench.user, bench.pki), "ec", generation))


def of_restored(bench: Bench, older: bool) -> Operation:
    def make():
        user = bench.user
        if older:
            shutil.copytree(user.store, user.path("older"))
            user.lct("rotate", "ec")
            user.lct("rotate", "ec", "--commit")
        else:
            user.lct("create", "gone", "--seal", "none")
            user.lct("retire", "gone", "--yes")
            user.lct("delete", "gone", "--yes")
            user.lct("approve", *bench.authority.options)
        back_up(bench, "tar")
        shutil.rmtree(user.store)
        if older:
            user.path("older").rename(user.store)
        else:
            user.store.mkdir()

    return Operation([["create", "k"], make], ["restore", "--yes", bench.user.path("tar")],
                     parts=not older)


OPERATIONS = {
    "create": lambda bench: Operation([], ["create", "new"], (EXISTS,)),
    "create sealed": lambda bench: Operation(
        [], ["create", "new", "--seal", "authority", "--revocable"], (EXISTS,)),
    "create software": lambda bench: Operation(
        [], ["create", "--software", "new", "--passphrase-file", bench.authority.passphrase],
        (EXISTS,), slow=True),
    "import": lambda bench: Operation(
        [["create", "k", "--seal", "none"],
         lambda: shutil.copy(bench.user.store / "k" / "key-1.pem", bench.user.path("k.pem"))],
        ["import", "new", "k.pem"], (EXISTS,)),
    "rotate": lambda bench: Operation([], ["rotate", "ec"], (EXISTS,)),
    "commit": lambda bench: Operation([["rotate", "ec"]], ["rotate", "ec", "--commit"],
                                      (NOT_FOUND,)),
    "withdraw": lambda bench: Operation([["rotate", "ec"]], ["rotate", "ec", "--withdraw"],
                                        (NOT_FOUND,)),
    "cert": lambda bench: Operation([lambda: with_certificate(bench, 1)],
                                    ["cert", "ec", "--set", "chain.pem"]),
    "cert of the next": lambda bench: Operation(
        [["rotate", "ec"], lambda: with_certificate(bench, 2)],
        ["cert", "ec", "--set", "chain.pem"]),
    "cert removed": lambda bench: Operation(
        [lambda: with_certificate(bench, 1), ["cert", "ec", "--set", "chain.pem"]],
        ["cert", "ec", "--remove"], (NOT_FOUND,)),
    "retire": lambda bench: Operation([], ["retire", "ec", "--yes"], (ENDED,)),
    "revoke": lambda bench: Operation(
        [["retire", "ec", "--yes"]],
        ["revoke", "ec", "--yes", "--reason", "compromise", "--without-signature"], (ENDED,)),
    "delete": lambda bench: Operation([], ["delete", "ec", "--yes"], (NOT_FOUND,)),
    "delete ended": lambda bench: Operation([["retire", "ec", "--yes"]],
                                            ["delete", "ec", "--yes", "--shred"], (NOT_FOUND,)),
    "persist": lambda bench: Operation([], ["persist", "ec"], (), ["gc", "--evict", "--yes"]),
    "move": lambda bench: Operation([["persist", "ec"]], ["persist", "ec", "--handle", SECOND], (),
                                    ["persist", "ec", "--handle", FIRST]),
    "unpersist": lambda bench: Operation([["persist", "ec"]], ["unpersist", "ec"], (NOT_FOUND,),
                                         ["persist", "ec", "--handle", FIRST]),
    "approve": lambda bench: Operation([["create", "k"]], ["approve", *bench.authority.options],
                                       slow=True),
    "authority": lambda bench: Operation(
        [lambda: bench.user.write("pub.pem", bench.authority.pem),
         lambda: (bench.user.store / ".authority.pub.pem").unlink()],
        ["authority", "import", "pub.pem"]),
    "restore": lambda bench: of_restored(bench, False),
    "restore over": lambda bench: of_restored(bench, True),
}


@pytest.fixture(name="bench")
def fixture_bench(sealer, authority, pki, request):
    bench = Bench(sealer, authority, pki, request.param)
    yield bench
    bench.forget_counters()
    shutil.rmtree(bench.user.store)
    shutil.copytree(bench.fresh, bench.user.store)
    if bench.operation.reset:
        bench.reset()
        bench.user.lct("unpersist", "ec", status=None)
        bench.user.lct("gc", "--evict", "--yes")


def plays(bench: Bench, full: bool) -> list[tuple[int, str]]:
    """
    Steps, and what happens at them: everything at each; or a loss of power where it says most and,
    one for each operation, the rest.
    """
    num, names = len(bench.steps), [*bench.steps, "end"]
    every = [(step, action) for action in CRASHES for step in range(1, num + 2)]
    every += [(step, action) for action in ERRORS for step in range(1, num + 1)]
    if full:
        return every
    last = num - bench.steps[::-1].index("rename") if "rename" in names else num
    offset = list(OPERATIONS).index(bench.name)
    return [(last + 1, "lose"), (num + 1, "lose"), every[offset * len(every) // len(OPERATIONS)]]


def play(bench: Bench, step: int, action: str) -> bool:
    """
    It is as before, or as after, and can be done again; then nothing is left over. Whether it was
    as after.
    """
    done = bench.run(step, action)
    where = f"{action} at {step} of {bench.steps}: {done.returncode} {done.stderr}"
    if done.returncode not in (0, -signal.SIGKILL):
        assert done.returncode in FAILED and action not in CRASHES, where
        assert os.strerror(getattr(errno, action.strip("+"))).lower() in done.stderr.lower(), where
    now, after = bench.state(), bench.after
    assert bench.troubles_told() <= bench.troubles, where
    assert now == after or (done.returncode != 0 and bench.is_between(now)), where
    again = bench.user.lct(*bench.operation.command, status=None)
    assert again.returncode == 0 or (now == after and
                                     again.returncode in bench.operation.again), (
        f"{where}; and again: {again.returncode} {again.stderr}")
    if now != after:
        assert bench.state() == after, where
    if bench.operation.reset:
        bench.user.lct("gc", "--evict", "--yes")
    if bench.leftovers():
        bench.user.lct("create", "cleaner", "--seal", "none")
    assert bench.leftovers() == [], where
    return now == after


@pytest.mark.timeout(3600 * SLOWER)  # with --power
@pytest.mark.parametrize("bench", list(OPERATIONS), indirect=True)
def test_whatever_stops_a_command_the_store_is_as_before_or_as_after(bench, request):
    full = request.config.getoption("--power")
    if bench.operation.slow and not full:
        pytest.skip("--power: it takes minutes")
    seen = {play(bench, step, action) for step, action in plays(bench, full)}
    assert True in seen and (not full or False in seen)


# The model of a loss of power itself.


SYNC = "os.fsync(os.open({}, os.O_RDONLY));"


@pytest.mark.parametrize("script, action, kept", [
    ("open('b', 'w').write('b');", "lose", {"a": "a"}),
    ("open('b', 'w').write('b');" + SYNC.format("'b'"), "lose", {"a": "a"}),
    ("open('b', 'w').write('b');" + SYNC.format("'.'"), "lose", {"a": "a", "b": ""}),
    ("open('b', 'w').write('b');" + SYNC.format("'b'") + SYNC.format("'.'"), "lose",
     {"a": "a", "b": "b"}),
    ("open('b', 'w').write('b'); os.rename('b', 'a');", "lose", {"a": "a"}),
    ("open('b', 'w').write('b'); os.rename('b', 'a');", "tear", {"a": ""}),
    ("os.rename('a', 'b');", "lose", {"a": "a"}),
    ("os.rename('a', 'b');" + SYNC.format("'.'"), "lose", {"b": "a"}),
    ("os.unlink('a');", "lose", {"a": "a"}),
    ("os.unlink('a');" + SYNC.format("'.'"), "lose", {}),
    ("os.mkdir('d'); open('d/b', 'w').write('b');" + SYNC.format("'d/b'") + SYNC.format("'d'"),
     "lose", {"a": "a"}),
    ("os.mkdir('d'); os.rename('a', 'd/a');" + SYNC.format("'d'"), "lose", {}),
])
def test_what_was_not_synced_is_lost(user, script, action, kept):
    if user.preload:
        pytest.skip("it is of the model, and a sanitizer tells what Python leaks")
    place, spare = user.path("place"), user.path("spare")
    place.mkdir()
    spare.mkdir()
    (place / "a").write_text("a")
    script = f"import os; os.chdir({str(place)!r}); {script}"
    user.run("python3", "-c", script, preload=[user.build / "tests" / "preload_fs.so"],
             env={"LCT_FS_BELOW": str(place), "LCT_FS_ACTION": action,
                  "LCT_FS_SPARE": str(spare)})
    assert {path.name: path.read_text() for path in place.iterdir()} == kept


# What is not to be seen from the identities.


def test_the_directories_above_a_new_store_are_on_disk(user):
    place, spare = user.path("place"), user.path("spare")
    place.mkdir()
    spare.mkdir()
    store = place / "deep" / "store"
    user.configure(store=str(store))
    user.lct("create", "alice", preload=[user.build / "tests" / "preload_fs.so"],
             env={"LCT_FS_BELOW": str(place), "LCT_FS_ACTION": "lose",
                  "LCT_FS_SPARE": str(spare)})
    assert [row["id"] for row in json.loads(user.lct("list", "--json").stdout)] == ["alice"]
    user.lct("check", "alice")


def test_no_two_statements_have_one_counter_whatever_stops_one(make_user, certified, maker):
    """Else who has seen one refuses the next as nothing new: the end of the identity, say."""
    user = make_user(certified.tcti)
    user.lct("create", "alice")
    user.lct("rotate", "alice")
    verifier = Verifier(user, maker)
    challenge = user.write("challenge", verifier.challenge(
        user.lct("attest", "offer", "alice", "--generation", 2).stdout))
    user.write("evidence", user.lct("attest", "respond", challenge).stdout)
    shutil.copytree(user.store, user.path("fresh"))
    command = ["rotate", "alice", "--statement", "--evidence", "evidence"]
    steps = steps_of(user, command)
    counters, first = set(), steps.index("rename")
    for step in range(first + 1, steps.index("rename", first + 1) + 4):
        shutil.rmtree(user.store)
        shutil.copytree(user.path("fresh"), user.store)
        run_failing(user, command, step, "kill")
        certified.flush()
        kept = payload(user.lct("rotate", "alice", "--statement").stdout)["counter"]
        counters.add(kept)
        end = payload(user.lct("retire", "alice", "--yes").stdout)["counter"]
        assert kept < end, f"killed at {step} of {steps}"
    assert counters == {1, 2}


def test_a_directory_that_was_made_and_not_given_away_is_given_away_later(user):
    """By root, who makes it in another's store: who owns that could not write to it."""
    if os.geteuid() != 0:
        pytest.skip("root alone gives files away")
    user.lct("create", "first")
    for path in [user.store, *user.store.rglob("*")]:
        shutil.chown(path, "nobody", "nogroup")
    for step in range(2, 8):
        shutil.rmtree(user.store / ".ended", ignore_errors=True)
        user.lct("create", f"k{step}")
        user.lct("retire", f"k{step}", "--yes")
        done = run_failing(user, ["delete", f"k{step}", "--yes"], step, "kill")
        assert done.returncode == -signal.SIGKILL
        user.lct("create", f"l{step}")
        user.lct("retire", f"l{step}", "--yes")
        user.lct("delete", f"l{step}", "--yes")
        ended = user.store / ".ended"
        assert (ended.owner(), ended.group(), ended.stat().st_mode & 0o777) == (
            "nobody", "nogroup", 0o750), f"killed at {step}"
        assert {path.owner() for path in ended.iterdir()} == {"nobody"}


def test_a_key_that_was_to_be_overwritten_is_by_the_next_command(user):
    seen = set()
    for step in range(4, 9):
        name = f"k{step}"
        user.lct("create", name)
        os.link(user.store / name / "key-1.pem", user.path(name))
        done = run_failing(user, ["delete", name, "--yes", "--shred"], step, "kill")
        there = name in user.in_store()
        user.lct("create", f"other{step}")
        zeros = not any(user.path(name).read_bytes())
        seen.add(zeros)
        assert zeros is not there, f"killed at {step}: {done.returncode}"
    assert seen == {True, False}


def test_what_others_are_writing_is_not_cleared_away(sealer, authority):
    """Nor does what nobody writes any more stay."""
    shutil.copy(sealer.store / ".authority.pub.pem", sealer.path("pub.pem"))
    sealer.lct("create", "k")
    sealer.lct("approve", *authority.options)
    (approval,) = (sealer.store / ".approvals").iterdir()
    kept = sealer.path("kept.json")
    approval.rename(kept)
    for number in range(3):
        (approval.parent / f".new-{number}").write_text("left by a crash")
    programs = [subprocess.Popen([sealer.build / "lct", "approve", "--import", kept],
                                 cwd=sealer.directory, env=sealer.environment(),
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                for _ in range(20)]
    for program in programs:
        _, said = program.communicate(timeout=60)
        assert program.returncode == 0, said
    assert [path.name for path in approval.parent.iterdir()] == [approval.name]


# Several at once.


TOGETHER = {
    "rotate": ["rotate", "ec"],
    "commit": ["rotate", "ec", "--commit"],
    "withdraw": ["rotate", "ec", "--withdraw"],
    "cert": ["cert", "ec", "--set", "chain.pem"],
    "cert of the next": ["cert", "ec", "--set", "next.pem"],
    "cert removed": ["cert", "ec", "--remove"],
    "retire": ["retire", "ec", "--yes"],
    "revoke": ["revoke", "ec", "--yes", "--reason", "compromise", "--without-signature"],
    "delete": ["delete", "ec", "--yes"],
    "create": ["create", "ec", "--seal", "none"],
    "persist": ["persist", "ec"],
    "unpersist": ["unpersist", "ec"],
    "restore": ["restore", "--yes", "tar"],
}
SOME_PAIRS = [("rotate", "commit"), ("commit", "withdraw"), ("commit", "cert of the next"),
              ("delete", "persist"), ("retire", "delete"), ("retire", "commit"),
              ("cert", "cert removed"), ("restore", "delete")]


class Together:
    """An identity with a pending key, to which two things are done at once."""

    def __init__(self, sealer, pki: Path):
        self.user, self.outcomes = sealer, {}
        sealer.lct("create", "ec", "--seal", "none")
        sealer.lct("rotate", "ec")
        holder = Holder(sealer, pki)
        sealer.write("chain.pem", certify(holder, "ec", 1))
        sealer.write("next.pem", certify(holder, "ec", 2))
        sealer.write("tar", sealer.lct("backup", text=False).stdout)
        self.fresh = shutil.copytree(sealer.store, sealer.path("fresh"))

    def reset(self):
        shutil.rmtree(self.user.store)
        shutil.copytree(self.fresh, self.user.store)
        self.user.lct("gc", "--evict", "--yes")

    def state(self) -> str:
        """What there is, without the names of keys that are others each time."""
        user = self.user
        rows = json.loads(user.lct("list", "--json").stdout)
        user.lct("check")
        assert not [path for path in user.store.rglob(".new*") if path != user.store / ".new"]
        assert not any((user.store / ".new").iterdir())
        return str([user.tpm.handles(0x81000000)] +
                   [[(row["state"], row["counter"], row["generation"], bool(row["certificate"])),
                     *((each["stage"], each["persistent"]) for each in row["generations"])]
                    for row in rows])

    def after(self, *names: str) -> str:
        """The state after one, or after one and another."""
        if names not in self.outcomes:
            self.reset()
            for name in names:
                self.user.lct(*TOGETHER[name], status=None)
            self.outcomes[names] = self.state()
        return self.outcomes[names]

    def at_once(self, *names: str) -> list[str]:
        self.reset()
        programs = [subprocess.Popen([self.user.build / "lct", *TOGETHER[name]],
                                     cwd=self.user.directory, env=self.user.environment(),
                                     stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                    for name in names]
        return [program.communicate(timeout=60)[1] for program in programs]


def test_of_two_commands_at_once_it_is_as_if_one_had_come_first(sealer, pki, request):
    """Or as if one had not come at all, which it then says."""
    together = Together(sealer, pki)
    full = request.config.getoption("--power")
    pairs = [(one, other) for one in TOGETHER for other in TOGETHER] if full else SOME_PAIRS
    for one, other in pairs:
        said = together.at_once(one, other)
        now = together.state()
        in_turn = [together.after(one, other), together.after(other, one)]
        alone = [together.after(one), together.after(other)] if any(said) else []
        assert now in in_turn + alone, f"{one} and {other}: {said}"
    together.reset()


def test_twenty_programs_share_a_store(sealer, authority):
    for number in range(4):
        for name in ("r", "t", "d"):
            sealer.lct("create", f"{name}{number}", "--seal", "none")
    commands = [words for number in range(4) for words in (
        ["create", f"c{number}", "--seal", "none"], ["rotate", f"r{number}"],
        ["retire", f"t{number}", "--yes"], ["delete", f"d{number}", "--yes"],
        ["authority", "import", sealer.write("pub.pem", authority.pem)])]
    programs = [subprocess.Popen([sealer.build / "lct", *map(str, words)], cwd=sealer.directory,
                                 env=sealer.environment(), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True) for words in commands]
    for words, program in zip(commands, programs):
        _, said = program.communicate(timeout=60)
        assert program.returncode == 0, f"{words}: {said}"
    sealer.lct("check")
    rows = {row["id"]: row for row in json.loads(sealer.lct("list", "--json").stdout)}
    assert sorted(rows) == sorted(f"{name}{number}" for name in "crt" for number in range(4))
    assert {rows[f"t{number}"]["state"] for number in range(4)} == {"retired"}
    assert {len(rows[f"r{number}"]["generations"]) for number in range(4)} == {2}
    assert not any((sealer.store / ".new").iterdir())
