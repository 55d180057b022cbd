# SPDX-License-Identifier: Apache-2.0
"""`lct setup`: every openssl.cnf that it may find, the way back, and whatever stops it."""

import os
import pty
import re
import shutil
import signal
import subprocess

import pytest

from conftest import ROOT, sanitizer_preload
from test_command import let_others_in

USAGE, CONFIG, IO = 2, 8, 18
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")

DEFAULT_AND_LEGACY = """\
openssl_conf = the_init
[the_init]
providers = the_list
[the_list]
default = first
legacy = second
[first]
activate = 1
[second]
activate = 1
"""
# What an openssl.cnf may be before, and the name of the section that its list of providers has.
FILES = {
    "empty": "",
    "without a last newline": "HOME = .\n[req]\ndistinguished_name = dn",
    "none of the sections": "# nothing\n[req]\ndistinguished_name = dn\n",
    "no providers": "openssl_conf = openssl_init\n[openssl_init]\noid_section = oids\n[oids]\n",
    "default not activated": "openssl_conf = i\n[i]\nproviders = p\n[p]\ndefault = d\n[d]\n",
    "others": DEFAULT_AND_LEGACY,
    "queries that hide nothing": DEFAULT_AND_LEGACY.replace(
        "[the_list]", "alg_section = a\n[a]\ndefault_properties = ?provider=default\n[the_list]"),
    "lct by hand, its module gone": DEFAULT_AND_LEGACY.replace(
        "legacy = second", "lct = by_hand\n[by_hand]\nmodule = /nowhere/lct.so\nactivate = 1\n"
                           "timeout = 7\n[the_list]\nlegacy = second"),
}


class Machine:
    """An openssl.cnf in a directory of its own, and who sets lct up in it."""

    def __init__(self, user, text: str | None):
        self.user = user
        self.directory = user.path("etc")
        self.directory.mkdir(exist_ok=True)
        self.conf, self.ours = self.directory / "openssl.cnf", self.directory / "lct.cnf"
        self.backup = self.directory / "openssl.cnf.before-lct"
        self.env = {"OPENSSL_CONF": str(self.conf)}
        if text is not None:
            self.conf.write_text(text)

    def setup(self, *options, env=None, **others):
        return self.user.lct("setup", "--module", self.user.build / "lct.so", *options,
                             env=self.env | (env or {}), **others)

    def providers(self) -> list[str]:
        """Those that a program has with the file, in their order."""
        told = self.user.openssl("list", "-providers", env=self.env).stdout
        return re.findall(r"^  (\w+)$", told, re.MULTILINE)

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.directory.iterdir())}


@pytest.fixture(name="make_machine")
def fixture_make_machine(user):
    return lambda text: Machine(user, text)


@pytest.fixture(name="machine")
def fixture_machine(make_machine) -> Machine:
    return make_machine(FILES["none of the sections"])


@pytest.mark.parametrize("kind", FILES)
def test_lct_is_activated_and_taken_back(make_machine, kind):
    machine = make_machine(FILES[kind])
    before, had = machine.files(), machine.providers()
    done = machine.setup("--yes")
    assert f"{machine.conf} activates lct; lct setup --undo" in done.stdout
    assert re.search(r"^OpenSSL +ok +" + re.escape(str(machine.conf)) + ".* activates lct, ",
                     done.stdout, re.MULTILINE)
    assert {*machine.providers()} == {*had, "default", "lct"}
    assert machine.conf.read_text().startswith(FILES[kind])
    assert machine.conf.read_text().count(".include ") == 1
    assert machine.backup.read_text() == FILES[kind]
    settled = machine.files()
    assert "activates lct already" in machine.setup("--yes").stdout
    assert machine.files() == settled
    done = machine.setup("--undo", "--yes")
    assert machine.files() == before
    assert "nothing of lct setup's" in machine.setup("--undo").stdout


def test_a_key_is_made_and_used_after_it(machine):
    user = machine.user
    env = machine.env | {"LCT_TCTI": user.tcti, "LCT_STORE": str(user.store)}
    assert re.search("^signature +ok", user.lct(
        "create", "alice", "--seal", "none", env=env).stdout + machine.setup(
            "--yes", env=env).stdout, re.MULTILINE)
    data = user.write("data")
    user.openssl("dgst", "-sha256", "-sign", "lct:alice", "-out", "sig", data, env=env)
    user.openssl("pkey", "-in", "lct:alice", "-pubout", "-out", "pub.pem", env=env)
    user.verify(user.path("pub.pem"), user.path("sig"), data)


def test_the_default_provider_comes_first(make_machine):
    """A list by hand in which lct is first, and does not load, is put right."""
    text = DEFAULT_AND_LEGACY.replace("default = first", "lct = l\ndefault = first")
    machine = make_machine(text + "[l]\nmodule = /nowhere/lct.so\nactivate = 1\n")
    told = machine.setup("--yes").stdout
    assert "before default" not in told and "activates lct, the module" in told


def test_what_is_shown_is_what_is_done(machine):
    before = machine.files()
    shown = machine.setup(status=USAGE)
    assert "say --yes" in shown.stderr and machine.files() == before
    machine.setup("--yes")
    told = re.findall(r"^(/\S+?)(?:, a new file)?:\n((?:\+.*\n)+)", shown.stdout, re.MULTILINE)
    assert [path for path, _ in told] == [str(machine.ours), str(machine.conf)]
    for path, lines in told:
        name = os.path.basename(path)
        added = "".join(line[1:] + "\n" for line in lines.splitlines())
        assert machine.files()[name] == before.get(name, b"") + added.encode()


def on_a_terminal(machine, **outputs) -> tuple[subprocess.Popen, int]:
    """lct setup, and what types; the caller closes that."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [machine.user.build / "lct", "setup", "--module", machine.user.build / "lct.so"],
        stdin=theirs, env=machine.user.environment(machine.env), **outputs)
    os.close(theirs)
    return process, ours


@pytest.mark.parametrize("answer, done", [("y", True), ("n", False), ("", False)])
def test_it_asks_on_a_terminal(machine, answer, done):
    before = machine.files()
    process, ours = on_a_terminal(machine, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    os.write(ours, answer.encode() + b"\n")
    told, _ = process.communicate(timeout=60)
    os.close(ours)
    assert told.index(b".include") < told.index(b"Make these changes? [y/N]")
    assert (process.returncode == 0) == done and (machine.files() != before) == done


def test_what_another_writes_while_it_asks_is_not_lost(machine):
    process, ours = on_a_terminal(machine, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    asked = b""
    while b"[y/N]" not in asked:
        asked += os.read(process.stderr.fileno(), 1000)
    with machine.conf.open("a") as file:
        file.write("[later]\n")
    before = machine.files()
    os.write(ours, b"y\n")
    _, told = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == IO and b"changed meanwhile" in told
    assert machine.files() == before


@NEEDS_ROOT
@pytest.mark.parametrize("whose", ["file", "directory", "home"])
def test_root_touches_nothing_that_another_user_could_exchange(machine, whose):
    """And loads nothing that it names: as with sudo, where HOME may be the user's."""
    env, options = {}, ()
    if whose == "home":
        home = machine.user.path("home")
        home.mkdir()
        os.chown(home, 65534, 65534)
        env, options = {"HOME": str(home), "OPENSSL_CONF": None}, ("--user",)
    else:
        os.chown(machine.conf if whose == "file" else machine.directory, 65534, 65534)
    before = machine.files()
    done = machine.setup("--yes", *options, env=env, status=CONFIG)
    assert "belongs to another user (uid 65534)" in done.stderr and done.stdout == ""
    assert machine.files() == before
    assert whose != "home" or not list(home.iterdir())


@NEEDS_ROOT
@pytest.mark.parametrize("options", [("--yes",), ("--undo", "--yes")], ids=["setup", "undo"])
@pytest.mark.parametrize("name", ["lct.cnf", "openssl.cnf.before-lct"])
@pytest.mark.parametrize("way", ["another's", "a link to another's"])
def test_root_takes_nothing_beside_openssl_cnf_that_is_another_user_s(machine, name, way, options):
    """A directory that others could write to may have been put right since."""
    machine.setup("--yes")
    path = machine.directory / name
    if way != "another's":
        path = path.rename(machine.user.path("elsewhere"))
        (machine.directory / name).symlink_to(path)
    os.chown(path, 65534, 65534)
    before = machine.files()
    done = machine.setup(*options, status=CONFIG)
    assert f"{path} belongs to another user (uid 65534)" in done.stderr and done.stdout == ""
    assert machine.files() == before
    os.chown(path, 0, 0)
    machine.setup(*options)


@pytest.mark.parametrize("name, mode", [("", 0o1777), ("", 0o775), ("openssl.cnf", 0o666),
                                        ("lct.cnf", 0o664), ("openssl.cnf.before-lct", 0o646)])
@pytest.mark.parametrize("options", [("--yes",), ("--undo", "--yes")], ids=["setup", "undo"])
def test_where_others_may_write_nothing_is_read_or_loaded(machine, name, mode, options):
    machine.setup("--yes")
    path = machine.directory / name if name else machine.directory
    was = path.stat().st_mode
    path.chmod(mode)
    before = machine.files()
    done = machine.setup(*options, status=CONFIG)
    assert done.stderr == (f"lct: {path}: others may write to it (mode {mode:04o}), and what is named "
                           f"there is loaded: chmod go-w {path}\n")
    assert done.stdout == "" and machine.files() == before
    path.chmod(was)
    machine.setup(*options)


@pytest.mark.parametrize("path, mode", [("", 0o775), ("openssl.cnf", 0o666)])
def test_where_others_may_write_and_nothing_is_ours_there_is_nothing_to_undo(machine, path, mode):
    """As where the package is removed; what is named there is not loaded all the same."""
    sign, module = machine.user.path("loaded"), machine.user.path("planted.so")
    made_of(f'close(creat("{sign}", 0600));')(module)
    machine.conf.write_text(FILES["lct by hand, its module gone"].replace("/nowhere/lct.so",
                                                                          str(module)))
    (machine.directory / path).chmod(mode)
    before = machine.files()
    done = machine.setup("--undo", "--yes")
    others = machine.directory / path
    assert done.stdout == (
        f"{machine.conf} has nothing of lct setup's in it; what activates lct there by hand, if "
        f"anything, was not looked for, since {others}: others may write to it (mode {mode:04o}), "
        f"and what is named there is loaded: chmod go-w {others}\n") and not done.stderr
    assert machine.files() == before and not sign.exists()


def test_where_others_may_write_and_there_is_no_file_nothing_can_activate_lct(machine):
    machine.conf.unlink()
    machine.directory.chmod(0o775)
    done = machine.setup("--undo", "--yes")
    assert done.stdout == f"{machine.conf} has nothing of lct setup's in it\n" and not done.stderr


def test_what_was_set_up_and_then_moved_to_where_others_may_write_is_told(machine):
    """Its lines include lct.cnf where that was, and activate lct still."""
    machine.setup("--yes")
    moved = machine.user.path("moved")
    moved.mkdir()
    machine.conf.rename(moved / "openssl.cnf")
    machine.conf.symlink_to(moved / "openssl.cnf")
    assert "lct" in machine.providers()
    moved.chmod(0o775)
    before = machine.files()
    done = machine.setup("--undo", "--yes", status=CONFIG)
    assert done.stderr.startswith(f"lct: {moved}: others may write to it") and not done.stdout
    assert machine.files() == before
    moved.chmod(0o755)
    assert "take it out before lct.so is removed" in machine.setup("--undo", "--yes").stdout


@pytest.mark.parametrize("name", ["lct.cnf", "openssl.cnf.before-lct"])
def test_what_is_left_beside_openssl_cnf_where_others_may_write_is_told(machine, name):
    machine.setup("--yes")
    machine.backup.rename(machine.conf)
    if name != "lct.cnf":
        machine.ours.rename(machine.backup)
    machine.directory.chmod(0o775)
    done = machine.setup("--undo", "--yes")
    assert "nothing of lct setup's in it; what activates lct there by hand" in done.stdout
    assert done.stderr.startswith(f"lct: warning: {machine.directory}: others may write to it")
    assert (machine.directory / name).exists()


@NEEDS_ROOT
def test_a_module_that_another_user_names_in_lct_cnf_is_not_loaded_by_root(machine):
    sign, module = machine.user.path("loaded"), machine.user.path("planted.so")
    made_of(f'close(creat("{sign}", 0600));')(module)
    machine.setup("--yes")
    ours = machine.ours.read_text()
    machine.setup("--undo", "--yes")
    machine.directory.chmod(0o1777)
    machine.ours.write_text(f"{ours}\nmodule = {module}\n")
    os.chown(machine.ours, 65534, 65534)
    machine.setup("--yes", status=None)
    assert not sign.exists()
    machine.directory.chmod(0o755)
    os.chown(machine.ours, 0, 0)
    machine.setup("--yes", status=None)
    assert sign.exists(), "it would have been"


def test_a_user_s_own_directory_is_made_where_a_group_may_write(machine):
    """It is his alone; the one above is often his group's, of which he is all."""
    machine.user.path(".config").mkdir(mode=0o775)
    machine.user.path(".config").chmod(0o775)
    machine.setup("--user", "--yes", env={"OPENSSL_CONF": None})
    assert machine.user.path(".config/lct").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("home", [None, "", "here"])
def test_who_has_no_home_has_no_file_of_his_own(machine, home):
    done = machine.setup("--user", "--yes", status=CONFIG,
                         env={"HOME": home, "XDG_CONFIG_HOME": None, "OPENSSL_CONF": None})
    assert "HOME" in done.stderr


def test_settings_are_kept_by_another_setup_and_by_undo(machine):
    if machine.user.build.name == "tsan":
        pytest.skip("its runtime calls at the end what a module that was closed has given atexit(3)")
    machine.setup("--yes")
    with machine.ours.open("a") as file:
        file.write("# mine\ntimeout = 7\n")
    assert "timeout = 7" in machine.setup("--yes").stdout
    shutil.copy(machine.user.build / "lct.so", machine.user.path("other.so"))
    machine.user.lct("setup", "--yes", "--module", machine.user.path("other.so"), env=machine.env)
    assert str(machine.user.path("other.so")) in machine.ours.read_text()
    assert machine.ours.read_text().endswith("\n# mine\ntimeout = 7\n")
    done = machine.setup("--undo", "--yes")
    assert f"{machine.ours} is kept" in done.stdout
    assert sorted(machine.files()) == ["lct.cnf", "openssl.cnf"]
    assert machine.conf.read_text() == FILES["none of the sections"]
    assert "timeout = 7" in machine.setup("--yes").stdout


def test_undo_takes_out_of_a_file_that_was_changed_since_only_what_is_ours(machine):
    machine.setup("--yes")
    with machine.conf.open("a") as file:
        file.write("[later]\nx = 1\n")
    machine.setup("--undo", "--yes")
    assert machine.conf.read_text() == FILES["none of the sections"] + "[later]\nx = 1\n"
    assert machine.backup.read_text() == FILES["none of the sections"], "there was another state"


@pytest.mark.parametrize("text", [
    pytest.param(True, id="as the README once said"),
    pytest.param("lct = l", id="in a list with others")])
def test_what_was_written_by_hand_and_works_is_left_alone(make_machine, text):
    module = "module = {}\n"
    if text is True:
        text = (ROOT / "conf/lct.cnf").read_text()
    else:
        text = DEFAULT_AND_LEGACY.replace("[first]", "lct = l\n[l]\nmodule = lct.so\n"
                                          "activate = 1\n[first]")
    machine = make_machine(None)
    machine.conf.write_text(text.replace("module = lct.so\n",
                                         module.format(machine.user.build / "lct.so")))
    before = machine.files()
    assert "activates lct already, by what is written there" in machine.setup().stdout
    told = machine.setup("--undo").stdout
    assert "written by hand: take it out before lct.so is removed" in told
    assert machine.files() == before


@pytest.mark.parametrize("text, pattern", [
    (DEFAULT_AND_LEGACY.replace("[the_list]", "alg_section = a\n[a]\ndefault_properties = "
                                "provider=default\n[the_list]"), "default_properties"),
    (DEFAULT_AND_LEGACY.replace("default = first\n", ""), "activates legacy and not the default"),
    ("[openssl\n", "syntax error in line 1"),
    ("a = \0\n", "is no text"),
    (DEFAULT_AND_LEGACY + "[default]\nopenssl_conf = bad]name\n", "OpenSSL|syntax"),
], ids=["hidden", "only others", "syntax", "bytes", "odd names"])
def test_what_would_not_work_is_refused_and_nothing_is_changed(make_machine, text, pattern):
    machine = make_machine(text)
    before = machine.files()
    done = machine.setup("--yes", status=CONFIG)
    assert re.search(pattern, done.stderr) and str(machine.conf) in done.stderr
    assert machine.files() == before


def made_of(constructor: str):
    """A module that does so when it is loaded, in C."""
    def make(module):
        source = module.with_suffix(".c")
        source.write_text("#include <fcntl.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
                          "__attribute__((constructor)) static void f(void)\n"
                          f"{{ {constructor} }}\n")
        subprocess.run(["cc", "-shared", "-fPIC", f'-DMODULE="{module}"', "-o", module, source],
                       check=True)
    return make


# A process that lives on, and has all that was open, as long as the module is there.
FORKS = """if (fork() == 0) {
    for (int i = 0; i < 3; i++)
        close(i);
    for (alarm(100); access(MODULE, F_OK) == 0;)
        usleep(10000);
    _exit(0);
}
abort();"""


@pytest.mark.parametrize("spoil, pattern", [
    (lambda module: module.write_bytes(b"not a library"), "OpenSSL does not load lct: .*lct.so"),
    (lambda module: module.unlink(), "there is no module .*; say with --module"),
    (made_of("abort();"), "OpenSSL crashes while it loads"),
    (made_of(FORKS), "OpenSSL crashes while it loads")])
def test_a_module_that_does_not_load_is_refused(machine, tmp_path, spoil, pattern):
    module = tmp_path / "lct.so"
    module.touch()
    spoil(module)
    before = machine.files()
    done = machine.user.lct("setup", "--yes", "--module", module, env=machine.env, status=CONFIG)
    module.unlink(missing_ok=True)
    assert re.search(pattern, done.stderr) and machine.files() == before


# Of the minute that it is given a moment is left; where its end does not come it goes on.
HANGS = """if (alarm(0) != 0) {
    ualarm(1000, 0);
    for (int i = 0; i < 100; i++)
        usleep(100000);
}"""


@pytest.mark.parametrize("before", [
    lambda: None, lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM}),
    lambda: signal.signal(signal.SIGALRM, signal.SIG_IGN),
    lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)],
    ids=["as usual", "blocked", "ignored", "ends of children ignored"])
def test_a_module_that_hangs_is_refused_whatever_signals_are_inherited(machine, tmp_path, before):
    """What a program blocks or ignores is so in those that it starts."""
    module = tmp_path / "lct.so"
    made_of(HANGS)(module)
    files = machine.files()
    done = machine.user.lct("setup", "--yes", "--module", module, env=machine.env, status=CONFIG,
                            preexec_fn=before)
    assert "OpenSSL hangs while it loads its providers" in done.stderr
    assert machine.files() == files


def test_a_file_of_that_name_which_is_somebody_else_s_is_not_replaced(machine):
    machine.ours.write_text("[mine]\n")
    before = machine.files()
    assert "not of lct setup" in machine.setup("--yes", status=IO).stderr
    machine.setup("--undo", "--yes")
    assert machine.files() == before


@pytest.mark.parametrize("name", ["a b", "a'b\"c", "a$b#c\\d"])
def test_odd_paths(make_machine, user, name):
    if user.build.name == "tsan":
        pytest.skip("its runtime calls at the end what a module that was closed has given atexit(3)")
    user.path("etc").symlink_to(user.path(name))
    user.path(name).mkdir()
    machine = make_machine(DEFAULT_AND_LEGACY)
    module = user.path(name) / "lct.so"
    shutil.copy(user.build / "lct.so", module)
    before = machine.files()
    user.lct("setup", "--yes", "--module", module, env=machine.env)
    assert "lct" in machine.providers()
    machine.setup("--undo", "--yes")
    assert machine.files() == before


def test_a_link_stays_one_and_so_do_mode_and_owner(make_machine, user):
    real = user.write("real.cnf", DEFAULT_AND_LEGACY)
    machine = make_machine(None)
    machine.conf.symlink_to(real)
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 0, 2)
    was = real.stat()
    for options in (["--yes"], ["--undo", "--yes"]):
        machine.setup(*options)
        now = real.stat()
        assert machine.conf.is_symlink()
        assert (now.st_mode, now.st_uid, now.st_gid) == (was.st_mode, was.st_uid, was.st_gid)
    assert real.read_text() == DEFAULT_AND_LEGACY and not machine.ours.exists()


def test_a_link_that_leads_nowhere(make_machine, user):
    machine = make_machine(None)
    machine.conf.symlink_to(user.path("nowhere"))
    assert "a link to a file that is not there" in machine.setup("--yes", status=CONFIG).stderr
    assert "nothing of lct setup's in it" in machine.setup("--undo", "--yes").stdout
    assert machine.conf.is_symlink() and not machine.conf.exists()


@pytest.mark.parametrize("path", ["/dev/null", "/dev"])
def test_what_is_no_file_is_not_replaced_by_one(machine, path):
    done = machine.setup("--yes", env={"OPENSSL_CONF": path}, status=CONFIG)
    assert done.stderr == f"lct: {path} is no file\n" and not os.path.isfile(path)


def test_a_file_that_is_not_there_is_made_and_goes(make_machine):
    machine = make_machine(None)
    machine.setup("--yes")
    assert {"default", "lct"} == {*machine.providers()}
    machine.setup("--undo", "--yes")
    assert machine.files() == {}


def test_one_s_own_file_includes_the_machine_s(machine):
    user = machine.user
    conf = user.path(".config/lct/openssl.cnf")
    env = {"OPENSSL_CONF": None}
    done = machine.setup("--user", "--yes", env=env)
    assert f"export OPENSSL_CONF={conf}\n" in done.stdout
    assert "environment.d" in done.stdout
    assert f"{conf} (named by OPENSSL_CONF) activates" in done.stdout
    machines = re.search(r"^\.include (.*)", conf.read_text(), re.MULTILINE)[1]
    directory = user.openssl("version", "-d", env=env).stdout.split('"')[1]
    assert machines == f"{directory}/openssl.cnf"
    assert "environment.d" not in machine.setup("--user", "--quiet", env=env).stdout
    assert "lct" in user.openssl("list", "-providers", env={"OPENSSL_CONF": str(conf)}).stdout
    assert machine.files().keys() == {"openssl.cnf"}, "not this one"
    machine.setup("--user", "--undo", "--yes", env=env)
    assert not list(conf.parent.iterdir())
    elsewhere = {"XDG_CONFIG_HOME": str(user.path("elsewhere"))}
    machine.setup("--user", "--yes", env=env | elsewhere)
    assert user.path("elsewhere/lct/openssl.cnf").exists() and not conf.exists()


def test_two_files_are_not_one(machine):
    assert "choose one" in machine.setup("--user", "--system", status=USAGE).stderr


@NEEDS_ROOT
def test_the_machine_s_own_file_is_root_s_default(machine, namespaces, tmp_path):
    """In a mount namespace, where the directory of this machine's openssl.cnf is another."""
    user, env = machine.user, {"OPENSSL_CONF": None}
    directory = user.openssl("version", "-d", env=env).stdout.split('"')[1]
    if not os.path.exists(f"{directory}/openssl.cnf"):
        pytest.skip("this machine has no openssl.cnf")
    place = os.path.dirname(os.path.realpath(f"{directory}/openssl.cnf"))
    text = open(f"{place}/openssl.cnf", encoding="utf-8").read()
    (tmp_path / "openssl.cnf").write_text(text)
    lct = f"{user.build}/lct setup --module {user.build}/lct.so --yes"
    done = user.run("unshare", "--mount", "sh", "-e", "-c",
                    f"mount --bind {tmp_path} {place}; {lct}; openssl list -providers; "
                    f"cp {place}/openssl.cnf after; {lct} --system --undo", env=env)
    assert f"{place}/openssl.cnf activates lct" in done.stdout
    assert re.search(r"^  lct$", done.stdout, re.MULTILINE)
    assert user.path("after").read_text().startswith(text)
    assert [path.name for path in tmp_path.glob("*.cnf*")] == ["openssl.cnf"]
    assert (tmp_path / "openssl.cnf").read_text() == text


@NEEDS_ROOT
def test_who_may_not_write_it_is_told_so(machine):
    let_others_in(machine.user)
    before = machine.files()
    done = machine.setup("--yes", status=IO, user="nobody", group="nogroup", extra_groups=[])
    assert "cannot be written: Permission denied" in done.stderr and machine.files() == before


ACTIONS = ["kill", "lose", "ENOSPC", "EIO+"]


def run_stopped(machine, options, step: int, action: str) -> subprocess.CompletedProcess:
    spare = machine.user.path("spare")
    spare.mkdir(exist_ok=True)
    return machine.setup(*options, status=None,
                         preload=[machine.user.build / "tests" / "preload_fs.so"],
                         env={"LCT_FS_BELOW": str(machine.directory), "LCT_FS_STEP": str(step),
                              "LCT_FS_ACTION": action, "LCT_FS_SPARE": str(spare),
                              "LCT_FS_LOG": str(machine.user.path("steps"))})


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("options", [["--yes"], ["--undo", "--yes"]], ids=["setup", "undo"])
def test_whatever_stops_it_openssl_cnf_is_as_before_or_as_after(request, make_machine, options,
                                                                action):
    """At each step; without --power, each by one of the actions."""
    if action == "lose" and sanitizer_preload(make_machine("").user.build):
        pytest.skip("the model of a loss of power is not for sanitizers")
    text = FILES["without a last newline"]
    machine = make_machine(text)
    machine.setup("--yes")
    activated = machine.conf.read_text()
    if "--undo" not in options:
        machine.setup("--undo", "--yes")
    before = machine.files()
    run_stopped(machine, options, 0, action)
    steps = machine.user.path("steps").read_text().split()
    last = len(steps) - steps[::-1].index("fsync")  # what follows is lct doctor
    assert {"rename", "unlink" if "--undo" in options else "open"} < {*steps[:last]}
    apart = 1 if request.config.getoption("--power") else len(ACTIONS)
    for step in range(1 + ACTIONS.index(action) % apart, last + 1, apart):
        for path in machine.directory.iterdir():
            path.unlink()
        for name, content in before.items():
            (machine.directory / name).write_bytes(content)
        stopped = run_stopped(machine, options, step, action)
        assert stopped.returncode != 0 and machine.conf.read_text() in (text, activated), step
        if machine.conf.read_text() == activated:
            assert machine.providers() == ["default", "lct"], step
        machine.setup("--yes")
        assert machine.conf.read_text() == activated
        machine.setup("--undo", "--yes")
        assert machine.conf.read_text() == text
