# SPDX-License-Identifier: Apache-2.0
"""The files of conf/, and `lct config`, which prints them for an identity."""

import configparser
import os
import re
import shutil
import subprocess

import pytest

from conftest import ROOT, TIMEOUT

CONF = ROOT / "conf"
FILES = {("openssl" if path.stem == "lct" else path.stem): path
         for folder in (CONF, CONF / "systemd") for path in folder.glob("*.*")}
# Of no identity: what warns of updates.
HOOKS = {path.stem: path for path in (CONF / "hooks").iterdir()}
UNITS = sorted(name for name in FILES if name.endswith(".service"))
TLS = ("apache2", "haproxy", "lighttpd", "mosquitto", "nginx", "openvpn", "postfix", "postgresql",
       "redis", "stunnel", "unbound")
# What a file says of an identity: the word stands there for nothing else.
PLACES = re.compile(r"/etc/lct/web\.(pem|crt|bundle\.pem)\b|\blct (create|csr|pem|cert|check) web\b"
                    r"|\blct[:.]web\b")


def test_config_lists_what_there_is(user):
    listed = user.lct("config").stdout.split()
    assert listed == sorted([*FILES, *HOOKS]) and set(TLS) < set(listed)


@pytest.mark.parametrize("name", sorted(FILES))
def test_config_prints_the_file_and_puts_the_identity_into_it(user, name):
    text = FILES[name].read_text()
    assert user.lct("config", name).stdout == text
    done = user.lct("config", name, "lct:a:b@c")
    assert done.stdout == text.replace("web", "a:b@c") != text and "web" not in done.stdout


@pytest.mark.parametrize("name", sorted(HOOKS))
def test_config_prints_a_hook_as_it_is(user, name):
    text = HOOKS[name].read_text()
    assert user.lct("config", name).stdout == text
    assert text.isascii() and "SPDX-License-Identifier" in text and "web" not in text
    assert text.count(f"lct config {name.partition('.')[0]}")


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_speaks_of_its_identity_in_so_many_words(name):
    text = FILES[name].read_text()
    assert text.isascii() and text.endswith("\n")
    assert text.startswith(("# SPDX-License-Identifier", "; SPDX-License-Identifier"))
    assert text.count("web") == len(PLACES.findall(text))
    assert PLACES.search(text)
    assert max(map(len, text.splitlines())) <= 120


def commands_of(text: str) -> str:
    """The commands in the first lines of a file that make what it needs."""
    lines = re.findall(r"^[#;]     (.*)$", text.split("\n\n")[0], re.MULTILINE)
    return "\n".join(line for line in lines if not line.startswith("adduser "))


@pytest.mark.parametrize("name", TLS)
def test_the_commands_in_a_file_make_what_it_needs(user, name):
    """As they are, but for the directory, and for users' being members of the TPM's group."""
    text = FILES[name].read_text()
    commands = commands_of(text)
    if not (owner := re.search(r"lct create web --owner (\S+)", commands)):
        user.lct("create", "web")
    elif shutil.which("getent") and subprocess.run(
            ["getent", "passwd", name.replace("postgresql", "postgres")], check=False,
            stdout=subprocess.DEVNULL).returncode:
        pytest.skip(f"{name} is not installed")
    elif os.geteuid() != 0:
        pytest.skip("only root gives files to others")
    shell = ["sh", "-e", "-u", "-c"]
    env = {"PATH": f"{user.build}:{os.environ['PATH']}"}
    made = user.path("made")
    first, rest = commands.split("install -d /etc/lct\n")
    user.run(*shell, first, env=env)
    user.lct("cert", "web", "--set", user.certificate("lct:web"))
    user.run(*shell, f"install -d {made}\n" + rest.replace("/etc/lct", str(made)), env=env)
    named = set(re.findall(r"/etc/lct/(web\S*?\.(?:pem|crt))\b", text))
    assert named == {path.name for path in made.iterdir()}
    for path in made.glob("*.pem"):
        assert path.stat().st_mode & 0o777 == (0o640 if name == "mosquitto" else 0o600)
        assert not owner or path.owner() + ":" + path.group() == {
            ":mosquitto": "root:mosquitto"}.get(owner[1], owner[1])
        user.openssl("pkey", "-in", path, "-pubout")


def test_config_warns_of_an_identity_that_is_not_there(user):
    """And prints all the same: the identity may be made later, or be another machine's."""
    done = user.lct("config", "nginx", "web")
    assert done.stdout == FILES["nginx"].read_text()
    assert done.stderr.startswith("lct: warning: lct:web: there is no such identity")
    user.lct("create", "web")
    assert user.lct("config", "nginx", "web").stderr == ""
    user.write("store/web/identity.json", "{")
    assert "lct: warning: " in user.lct("config", "nginx", "web").stderr


def test_config_asks_no_tpm_for_it(watched, proxy):
    watched.lct("config", "nginx", "ec")
    assert proxy.codes == []


@pytest.mark.parametrize("arguments, status, sentence", [
    (["emacs"], 2, 'there is no configuration for "emacs"; lct config lists those there are'),
    (["ngnix"], 2, 'no configuration for "ngnix"; did you mean nginx? lct config lists those'),
    (["../lct"], 2, "there is no configuration for"),
    (["nginx", "a", "b"], 2, "usage: lct config [--json] | PROGRAM [ID]"),
    (["nginx", "../../etc"], 5, "an id consists of"),
    (["nginx", "lct:a?generation=2"], 2, "takes an identity, not a generation"),
    (["nginx", "--json"], 2, "--json goes with the list of programs")])
def test_config_refuses_what_it_does_not_know(user, arguments, status, sentence):
    done = user.lct("config", *arguments, status=status)
    assert sentence in done.stderr and done.stderr.count("\n") == 1 and done.stdout == ""


def test_config_says_that_it_cannot_write(user):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([user.build / "lct", "config", "nginx"], stdout=full, check=False,
                              stderr=subprocess.PIPE, env=user.environment(), timeout=TIMEOUT)
    assert (done.returncode, done.stderr) == (18, b"lct: standard output cannot be written\n")


def test_installing_installs_all_of_it(build, tmp_path):
    subprocess.run(["cmake", "--install", build, "--prefix", tmp_path], check=True, timeout=TIMEOUT,
                   stdout=subprocess.DEVNULL)
    installed = {path.relative_to(tmp_path / "share/lct")
                 for path in (tmp_path / "share/lct").rglob("*") if path.is_file()}
    assert installed == {path.relative_to(CONF) for path in [*FILES.values(), *HOOKS.values()]}


def unit_of(name: str) -> str:
    """The file of a unit, of its package."""
    for folder in ("/usr/lib/systemd/system", "/lib/systemd/system"):
        if os.path.exists(f"{folder}/{name}"):
            return f"{folder}/{name}"
    pytest.skip(f"{name} is not installed")


@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_a_drop_in_without_a_word(build, tmp_path, name):
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is not installed")
    instance = name.replace("@", "@x")
    done = verify(analyze, build, tmp_path, unit_of(name), instance, FILES[name].read_text())
    assert done.returncode == 0 and done.stderr == "", done.stderr
    spoiled = FILES[name].read_text().replace("ExecStartPre", "ExecStartBefore")
    spoiled = verify(analyze, build, tmp_path, unit_of(name), instance, spoiled)
    assert "ExecStartBefore" in spoiled.stderr


def verify(analyze, build, directory, unit, instance, drop_in):
    """What systemd says of a unit with a drop-in, where `lct` is found as after installing."""
    name = os.path.basename(unit)
    shutil.copy(unit, directory / name)
    (directory / f"{name}.d").mkdir(exist_ok=True)
    (directory / f"{name}.d" / "lct.conf").write_text(
        drop_in.replace("ExecStartPre=lct ", f"ExecStartPre={build.resolve()}/lct "))
    return subprocess.run([analyze, "verify", "--man=no", "--recursive-errors=no",
                           directory / instance], capture_output=True, text=True, check=False,
                          env={"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{directory}:"},
                          timeout=TIMEOUT)


def directives(name: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(FILES[name].read_text())
    assert parser.sections() == ["Service"]
    return parser["Service"]


@pytest.mark.parametrize("name", UNITS)
def test_no_service_is_started_whose_key_cannot_sign(name):
    assert directives(name)["ExecStartPre"] == "lct check web"


def test_services_that_hide_devices_are_shown_the_tpm_s():
    hidden = {name: text for name in UNITS if (text := re.search(
        r"^PrivateDevices=(yes|true)|^DeviceAllow=", unit_text(name), re.MULTILINE))}
    assert {"redis-server.service", "openvpn-server@.service"} <= set(hidden)
    for name, found in hidden.items():
        assert directives(name)["DeviceAllow"] == "/dev/tpmrm0 rw", name
        if found[1]:
            assert directives(name)["PrivateDevices"] == "no", name
    for name in UNITS:
        assert not directives(name).get("PrivateDevices") or (
            directives(name)["DevicePolicy"], directives(name)["DeviceAllow"]) == (
                "closed", "/dev/tpmrm0 rw"), f"{name}: other devices stay closed"


def unit_text(name: str) -> str:
    with open(unit_of(name), encoding="utf-8") as unit:
        return unit.read()
