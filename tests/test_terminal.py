# SPDX-License-Identifier: Apache-2.0
"""The command on a terminal: colours, columns, progress, questions; mistyped words; completions."""

import json
import os
import re
import shutil
import subprocess
import termios

import pytest

from attesting import Verifier
from conftest import ROOT
from terminal import COLOUR, Terminal, on_terminal, shown
from test_command import one_sentence
from tpm import Command, slow, states_of, wait_for

AUTH = 12
COMPLETIONS = ROOT / "tools/completions"
GREEN, RED, FAINT = "\x1b[32m", "\x1b[1;31m", "\x1b[2m"


@pytest.fixture(name="alice")
def fixture_alice(user):
    """Someone with two identities, of which one was revoked."""
    user.lct("create", "alice")
    user.lct("create", "bob")
    user.lct("revoke", "bob", "--reason", "compromise", "--yes")
    return user


# Colours


def test_words_that_say_how_something_stands_have_colours_on_a_terminal(alice):
    listed = shown(alice, "list")
    assert f"{GREEN}active\x1b[0m" in listed and f"{RED}revoked\x1b[0m" in listed
    assert f"{GREEN}ok\x1b[0m" in shown(alice, "doctor", "alice")
    checked = shown(alice, "check")
    assert f"{GREEN}ok\x1b[0m" in checked and f"{FAINT}note\x1b[0m" in checked


@pytest.mark.parametrize("command", [("list",), ("check",), ("show", "alice"), ("doctor", "alice")])
def test_without_its_colours_a_terminal_shows_what_is_piped(alice, command):
    def fixed(text: str) -> str:
        return re.sub(r"[\d.]+ ms", "", text)

    plain = fixed(alice.lct(*command).stdout)
    assert "\x1b" not in plain and len(plain) > 60
    assert fixed(COLOUR.sub("", shown(alice, *command))) == plain
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}):
        assert fixed(shown(alice, *command, env=env)) == plain, env


def test_an_empty_no_color_is_none(alice):
    assert "\x1b" in shown(alice, "list", env={"NO_COLOR": ""})


def test_verdicts_have_colours(alice):
    keys = json.loads(alice.lct("ek", "--json").stdout)["eks"]
    verifier = Verifier(alice, None, ek_keys=[key["sha256"] for key in keys])
    challenge = alice.write("c", verifier.challenge(alice.lct("attest", "offer", "alice").stdout))
    evidence = alice.write("e", alice.lct("attest", "respond", challenge).stdout)
    judged = shown(alice, "verify", "--trust", verifier.trust, "--state", verifier.state, evidence)
    assert f"{GREEN}pass\x1b[0m" in judged and f"{FAINT}not_claimed\x1b[0m" in judged
    statement = alice.write("s", alice.lct("sign", "alice", "--type", "k", stdin="x").stdout)
    assert f"{GREEN}good\x1b[0m" in shown(alice, "verify", "--key", alice.public_key("lct:alice"),
                                          statement)


# Columns


@pytest.mark.parametrize("columns", [60, 80])
def test_sentences_are_broken_at_spaces_and_go_on_below_their_beginning(alice, columns):
    lines = COLOUR.sub("", shown(alice, "doctor", "alice", columns=columns)).splitlines()
    sentences = [line for line in lines if "   $ " not in line]
    assert all(len(line) <= columns for line in sentences if " " in line[20:].strip())
    assert any(line.startswith(20 * " ") for line in sentences)
    words = " ".join(" ".join(lines).split())
    piped = " ".join(alice.lct("doctor", "alice").stdout.split())
    assert re.sub(r"[\d.]+ ms", "", words) == re.sub(r"[\d.]+ ms", "", piped)


def test_a_list_is_fitted_to_the_terminal_and_no_id_is_cut(user):
    long = "a" * 40
    user.lct("create", long, "--seal", "strict:sha256:0,1,2,3,4,5,6,7")
    row = user.lct("list").stdout.splitlines()[1]
    assert "strict:sha256:0,1,2,3,4,5,6,7" in row and len(row) > 110
    fitted = COLOUR.sub("", shown(user, "list", columns=100)).splitlines()
    assert all(len(line) <= 100 for line in fitted)
    assert long in fitted[1] and ".." in fitted[1] and fitted[1].split()[-2:] == ["active", "none"]


# Progress


def test_what_takes_long_says_for_how_long_and_takes_that_away_again(make_user, proxy):
    user = make_user(proxy.tcti)
    user.lct("create", "first")
    proxy.hook(Command.Create, slow(2.1))
    with on_terminal(user, "create", "alice", "--algorithm", "rsa-2048",
                     stdout=subprocess.PIPE) as terminal:
        assert terminal.end() == 0
        created = terminal.process.stdout.read().decode()
    *lines, last = terminal.output.split("\r")[1:]
    assert lines == [f"lct: making an rsa-2048 key in the TPM ... {second + 1} s"
                     for second in range(len(lines))] and len(lines) >= 2
    assert last == "\x1b[K", "the line is erased"
    assert created.startswith("created lct:alice (rsa-2048")


def test_what_takes_long_says_nothing_to_a_pipe_nor_where_it_shall_be_quiet(make_user, proxy):
    user = make_user(proxy.tcti)
    user.lct("create", "first")
    proxy.hook(Command.Create, slow(1.1))
    assert user.lct("create", "alice").stderr == ""
    assert shown(user, "create", "bob", "--quiet") == ""


def test_an_interrupt_ends_what_takes_long(make_user, proxy):
    user = make_user(proxy.tcti)
    user.lct("create", "first")
    proxy.hook(Command.Create, slow(3))
    with on_terminal(user, "create", "alice") as terminal:
        terminal.read_until(r"\.\.\. 1 s")
        terminal.type("\x03")
        assert terminal.end() == -2
    assert user.in_store() == ["first"]


# Questions


@pytest.mark.parametrize("key", ["\x03", "\x1c", "\x1a", "\x04"])
def test_a_terminal_echoes_again_when_a_passphrase_is_not_typed(user, key):
    def echoes() -> bool:
        return bool(termios.tcgetattr(terminal.ours)[3] & termios.ECHO)

    def asks() -> bool:
        """libcrypto misses a signal, until the next, that comes between this and its reading."""
        return not echoes() and states_of(terminal.process.pid) == {"S"}

    with on_terminal(user, "create", "alice", "--passphrase") as terminal:
        terminal.read_until("passphrase")
        wait_for(asks, "a terminal without echo")
        terminal.type("half" if key != "\x04" else "")
        terminal.type(key)
        assert terminal.end() == AUTH
        assert echoes() and "half" not in terminal.output
    assert user.in_store() == []


DESTROY = [("delete", "alice"), ("retire", "alice"), ("revoke", "alice", "--reason", "compromise"),
           ("gc", "--evict"), ("restore", "backup.tar")]


def prepare(user, command):
    """What the command would destroy."""
    user.lct("create", "alice")
    user.lct("backup", "--out", "backup.tar")
    if command == "gc":
        user.lct("persist", "alice")
        user.lct("retire", "alice", "--yes")
    if command == "restore":
        (user.store / "alice" / "identity.json").write_text("{")


def snapshot(user) -> dict:
    return {path: path.read_bytes() for path in sorted(user.store.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("command", DESTROY, ids=lambda command: command[0])
def test_what_destroys_asks_and_does_nothing_unless_told_to(make_user, make_tpm, command):
    user = make_user(make_tpm().tcti)
    prepare(user, command[0])
    before = snapshot(user)
    assert "--yes" in one_sentence(user.lct(*command, status=2, start_new_session=True).stderr
                                   .splitlines(keepends=True)[-1])
    for answer in ("n", "", "yes please"):
        with on_terminal(user, *command) as terminal:
            terminal.read_until(r"\[y/N\] ")
            terminal.type(f"{answer}\n")
            assert terminal.end() == 2, terminal.output
        assert snapshot(user) == before
    with on_terminal(user, *command) as terminal:
        terminal.read_until(r"\[y/N\] ")
        terminal.type("y\n")
        assert terminal.end() == 0, terminal.output
    if command[0] != "gc":
        assert snapshot(user) != before


def test_an_authority_is_not_made_over_one_that_is_there(user):
    passphrase = user.write("passphrase", "the authority's own\n")
    user.lct("authority", "init", "--out", "key.pem", "--passphrase-file", passphrase)
    before = user.path("key.pem").read_bytes()
    for file in ("key.pem", "other.pem"):
        user.lct("authority", "init", "--out", file, "--passphrase-file", passphrase, status=4)
    assert user.path("key.pem").read_bytes() == before and not user.path("other.pem").exists()


# Silence


def test_quiet_leaves_what_was_asked_for_and_what_is_wrong(make_user, make_tpm):
    user = make_user(make_tpm().tcti)
    for command in (("create", "alice"), ("persist", "alice"), ("unpersist", "alice"),
                    ("create", "alice", "--if-absent"), ("backup", "--out", "b.tar"),
                    ("delete", "alice", "--yes"), ("restore", "b.tar")):
        done = user.lct("--quiet", *command)
        assert (done.stdout, done.stderr) == ("", ""), command
    assert "alice" in user.lct("list", "--quiet").stdout
    assert "alice" in user.lct("restore", "--check", "--quiet", "b.tar").stdout
    statement = user.lct("rotate", "alice", "--quiet")
    assert statement.stdout.startswith("{") and statement.stderr == ""
    one_sentence(user.lct("show", "bob", "--quiet", status=3).stderr)


# Mistyped words


@pytest.mark.parametrize("typed, meant", [
    (("creat", "alice"), "create"), (("lsit",), "list"), (("retrie", "alice"), "retire"),
    (("help", "doctro"), "doctor"), (("attest", "chalenge"), "challenge"),
    (("list", "--jsno"), "--json"), (("create", "x", "--algoritm", "ec-p256"), "--algorithm"),
    (("create", "x", "--algoritm=ec-p256"), "--algorithm")])
def test_a_word_that_is_nearly_one_is_told_which(user, typed, meant):
    sentence = one_sentence(user.lct(*typed, status=2).stderr)
    assert f"; did you mean {meant}? " in sentence
    assert user.in_store() == []


@pytest.mark.parametrize("typed", [("xyzzy",), ("list", "--colour"), ("attest", "everything"),
                                   ("x" * 500,), ("list", "--" + "y" * 500), ("", "x")])
def test_a_word_that_is_like_none_is_told_nothing(user, typed):
    assert "did you mean" not in one_sentence(user.lct(*typed, status=2).stderr)


def test_an_id_that_is_nearly_one_is_told_which(alice):
    for typed in ("alcie", "lct:alcie", "alicee", "lice"):
        assert one_sentence(alice.lct("show", typed, status=3).stderr).endswith(
            "; did you mean lct:alice?")
    assert "did you mean" not in alice.lct("show", "somebody", status=3).stderr
    assert "did you mean" not in alice.lct("cert", "alice", status=3).stderr


# Completions


def complete(user, *words) -> list[str]:
    return user.lct("complete", *words).stdout.splitlines()


def test_commands_are_completed(user):
    helped = re.findall(r"^  ([a-z]+) ", user.lct("help").stdout, re.MULTILINE)
    assert complete(user, "") == helped == complete(user)
    assert complete(user, "re") == [name for name in helped if name.startswith("re")]
    assert "show" in complete(user, "--store", "x", "s")
    assert complete(user, "--store", "") == []
    assert complete(user, "attest", "of") == ["offer"]
    assert complete(user, "nonsense", "") == []


def test_options_are_those_that_the_command_takes(user):
    for name in complete(user, "") + [f"attest {part}" for part in complete(user, "attest", "")]:
        if name == "attest":
            continue
        told = set(re.findall(r"(--[a-z][a-z-]+)", user.lct("help", *name.split()).stdout))
        offered = complete(user, *name.split(), "--")
        assert {"--tcti", "--store", "--passphrase-file", "--quiet", "--help"} <= set(offered)
        of_all = {"--tcti", "--store", "--passphrase-file", "--quiet", "--help"}
        assert set(offered) - of_all <= told, name
    assert complete(user, "create", "x", "--al") == ["--algorithm"]
    assert complete(user, "create", "x", "--algorithm", "rsa-2") == ["rsa-2048"]
    assert complete(user, "revoke", "x", "--reason", "") == [
        "superseded", "compromise", "expired", "violation"]


def test_values_that_are_completed_are_taken(user):
    wrong = user.lct("create", "x", "--algorithm", "none", status=2).stderr
    wrong += user.lct("create", "x", "--algorithm", "none", "--software", status=2).stderr
    algorithms = complete(user, "create", "x", "--algorithm", "")
    assert len(algorithms) == 5 and all(name in wrong for name in algorithms)
    for update in complete(user, "affected", ""):
        user.lct("affected", update)
    for seal in complete(user, "create", "x", "--seal", ""):
        user.lct("seal", "--seal", seal, stdin="secret",
                 status=0 if seal.startswith(("none", "strict")) else 21)
    assert complete(user, "affected", "ker") == ["kernel"]


def test_ids_are_completed_and_the_tpm_is_not_asked(make_user, proxy):
    user = make_user(proxy.tcti)
    user.lct("create", "alice")
    user.lct("create", "albert")
    proxy.codes.clear()
    assert complete(user, "show", "al") == ["albert", "alice"]
    assert complete(user, "show", "lct:ali") == ["lct:alice"]
    assert complete(user, "show", "alice", "") == []
    assert complete(user, "check", "alice", "alb") == ["albert"]
    assert complete(user, "persist", "--handle", "0x81000100", "ali") == ["alice"]
    assert complete(user, "config", "nginx", "ali") == ["alice"]
    assert complete(user, "create", "al") == []
    assert complete(user, "show", "--store", "/nowhere", "") == []
    assert list(proxy.codes) == []


def test_nothing_is_done_by_completing(alice):
    before = snapshot(alice)
    for command in complete(alice, ""):
        complete(alice, command, "alice", "")
        complete(alice, command, "alice", "--yes", "")
    assert snapshot(alice) == before


def shell(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def path_of(user) -> dict[str, str]:
    return {"PATH": f"{user.build}:{os.environ['PATH']}"}


def test_bash_completes(alice):
    helpers = "/usr/share/bash-completion/bash_completion"
    env = alice.environment(path_of(alice)) | {"PS1": "> ", "INPUTRC": os.devnull}
    with Terminal([shell("bash"), "--norc", "--noprofile", "-i"], env, alice.directory) as terminal:
        terminal.type("bind 'set bell-style none'; bind 'set enable-bracketed-paste off'\n"
                      f"[ ! -e {helpers} ] || . {helpers}; . {COMPLETIONS}/lct.bash; echo rea''dy\n")
        terminal.read_until("\nready")
        terminal.type("lct sho\tali\t--js\t | head -c 9; echo don''e\n")
        terminal.read_until("\r\n\\{\r\n  \"vers?.*done")
        if os.path.exists(helpers):
            terminal.type("lct show lct:ali\t| head -n 1; echo don''e2\n")
            terminal.read_until("\nidentity +lct:alice\r\ndone2")
        terminal.type("exit\n")
        terminal.end()


def test_zsh_completes(alice):
    if alice.build.name == "tsan":
        pytest.skip("zsh's own signals are not ours to judge")
    env = alice.environment(path_of(alice)) | {"TERM": "dumb", "ZDOTDIR": str(alice.directory)}
    with Terminal([shell("zsh"), "-f", "-i"], env, alice.directory) as terminal:
        terminal.type(f"fpath=({COMPLETIONS} $fpath); autoload -Uz compinit; compinit -u -D; "
                      "echo rea''dy\n")
        terminal.read_until("\nready")
        terminal.type("lct sho\tali\t--js\t | head -c 9; echo don''e\n")
        terminal.read_until("\r\n\\{\r\n  \"vers?.*done")
        terminal.type("exit\n")
        terminal.end()


def test_fish_completes(alice):
    script = (f"source {COMPLETIONS}/lct.fish; complete -C 'lct sho'; complete -C 'lct show ali'; "
              "complete -C 'lct create x --algor'; complete -C 'lct approve --authority open'")
    done = alice.run(shell("fish"), "--no-config", "-c", script, env=path_of(alice))
    assert done.stdout.splitlines() == ["show", "alice", "--algorithm", "openssl.cnf"]


def test_completions_are_installed_where_shells_look_for_them(build, tmp_path):
    subprocess.run(["cmake", "--install", build, "--prefix", tmp_path], check=True,
                   capture_output=True, timeout=60)
    debian = "LCT_PACKAGE:BOOL=ON" in (build / "CMakeCache.txt").read_text()
    for name, place in (("lct.bash", "bash-completion/completions/lct"),
                        ("_lct", f"zsh/{'vendor-completions' if debian else 'site-functions'}/_lct"),
                        ("lct.fish", "fish/vendor_completions.d/lct.fish")):
        assert (tmp_path / "share" / place).read_bytes() == (COMPLETIONS / name).read_bytes()
