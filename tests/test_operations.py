# SPDX-License-Identifier: Apache-2.0
"""docs/operations.md: each of its procedures typed, and its messages compared with the code."""

import functools
import re
import shutil
import subprocess

import pytest

import sealing
from attesting import SWTPM_VENDOR
from conftest import ROOT
from sealing import SEALED, measure
from world import World, chapter, expect, session

OPERATIONS = ROOT / "docs/operations.md"
OTHER_TPM = 13


class Site(World):
    """A server, another machine and an office, which has no TPM. Both TPMs are of one maker."""

    def __init__(self, server, new, office, maker):
        super().__init__({"server": server, "new": new, "office": office}, server.directory)
        for user in (server, new, office):
            user.configure(seal=None)
        for name in ("stick", "etc/apt/apt.conf.d", "etc/kernel/postinst.d", "etc/lct",
                     "etc/systemd/system"):
            (self.directory / name).mkdir(parents=True)
        self.put("trust.json", {"version": 1, "vendors": [SWTPM_VENDOR],
                                "ek_roots": [str(maker.ca / "issuercert.pem")]})
        for name in ("nginx", "systemctl"):
            self.program(name, "exit 0")
        self.others: list[tuple[str, object]] = []  # what happens once, before which command
        self.status: dict[str, int] = {}

    def prepare(self):
        """A sealed key that has its certificate, on the server."""
        self.type("server", "lct authority init --out /media/stick/authority.pem")
        self.type("server", "lct create web")
        self.certify("server", "web", "web-and-issuers.pem")
        self.type("server", "lct cert web --set web-and-issuers.pem")

    def type(self, machine: str, command: str, status: int = 0) -> str:
        """In this directory, and with the recovery phrase where that is asked for."""
        if setting := re.fullmatch(r"echo '(\w+) = (\S+)' >>/etc/ssl/lct.cnf", command):
            self.machines[machine].configure(seal=None, **{
                setting[1]: setting[2].replace("/var/log", str(self.directory))})
            return ""
        for there, here in (("/media/", ""), ("/etc/", "etc/"), ("/var/log/", ""),
                            ("/var/lib/prometheus/node-exporter/", ""),
                            ("/var/lib/lct", str(self.machines[machine].store))):
            command = command.replace(there, here)
        if "--authority " in command:
            command = command.replace("lct approve", "lct approve --passphrase-file phrase")
        if "--set web-and-issuers.pem" in command and (self.directory / "web.csr").exists():
            self.certify(machine, "web", "web-and-issuers.pem",
                         (self.directory / "web.csr").read_text())
        printed = super().type(machine, command, status)
        if found := re.search("^recovery phrase: (.*)$", printed, re.MULTILINE):
            self.machines["server"].write("phrase", found[1] + "\n").chmod(0o600)
        return printed

    def follow(self, title: str):
        """Types a chapter. What happens meanwhile comes in its order."""
        typed = session(chapter(OPERATIONS, title))
        assert typed
        for machine, command, lines in typed:
            if self.others and re.search(self.others[0][0], command):
                self.others.pop(0)[1]()
            expect(lines, self.type(machine, command, self.status.get(command, 0)), command)
        assert not self.others


@pytest.fixture(name="site")
def fixture_site(make_user, make_certified, maker) -> Site:
    users = []
    for number in (0, 1):
        tpm = make_certified(number)
        sealing.boot(tpm)
        users.append(make_user(tpm.tcti))
        users[-1].tpm = tpm
    return Site(*users, make_user("none"), maker)


@pytest.mark.parametrize("hook", sorted(path.stem for path in (ROOT / "conf/hooks").iterdir()))
def test_each_hook_that_warns_of_updates_is_installed(hook):
    assert f"lct config {hook} >/etc/" in chapter(OPERATIONS, "Updates and approvals")


def test_updates_and_approvals(site):
    tpm = site.machines["server"].tpm
    site.others = [("lct doctor web", lambda: measure(tpm, 0)),
                   ("lct pcrs web", lambda: measure(tpm, 7)),
                   ("--authority authority.pem", lambda: shutil.copy(
                       site.directory / "stick/authority.pem", site.directory))]
    site.status = {"lct doctor web": SEALED}
    site.follow("Updates and approvals")


def test_secrets_of_services(site):
    site.program("systemd-ask-password", "printf secret")
    site.program("backup", "cat >secret; echo $1 >how")
    (site.directory / "etc/backup").mkdir()
    site.type("server", "lct authority init --out /media/stick/authority.pem")
    site.follow("Secrets of services")
    assert (site.directory / "secret").read_text() == "secret"
    assert (site.directory / "how").read_text() == "--passphrase-from-stdin\n"


def test_a_tpm_that_was_cleared(site):
    site.prepare()
    tpm = site.machines["server"].tpm
    site.others = [("lct check web", lambda: tpm.tool("tpm2_clear", "-c", "p"))]
    site.status = {"lct check web": OTHER_TPM}
    typed = session(chapter(OPERATIONS, "A TPM that was cleared"))
    assert [command for _, command, _ in typed].count("lct check web") == 2
    site.others.append(("lct rotate", site.status.clear))
    site.follow("A TPM that was cleared")


def test_a_new_mainboard_or_a_dead_tpm(site):
    site.prepare()
    site.type("server", "lct backup --out backup.tar")
    site.machines["server"].tpm.stop()
    site.status = {"lct restore --check backup.tar": OTHER_TPM}
    try:
        site.follow("A new mainboard, or a dead TPM")
    finally:
        site.machines["server"].tpm.start()


def test_backups_and_restore(site):
    site.prepare()
    site.others = [("lct restore backup.tar",
                    lambda: shutil.rmtree(site.machines["server"].store))]
    site.follow("Backups and restore")


@pytest.fixture(name="container")
def fixture_container(site, make_tpmrm):
    """What types the command of that chapter, with this machine's places: given, more mounts."""
    server = site.machines["server"]
    if not shutil.which("bwrap"):
        pytest.skip("bwrap is not installed")
    probe = subprocess.run(["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"],
                           capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(probe.stderr.strip())
    if server.preload:
        pytest.skip("bwrap shows the program no sanitizer's runtime")
    device = make_tpmrm(server.tpm)
    server.tcti = f"device:{device.path}"
    server.configure(seal=None)

    def check(mounts: str = "", status: int = 0):
        ((_, command, lines),) = session(chapter(OPERATIONS, "Containers"))
        for there, here in (
                ("/dev/tpmrm0", str(device.path)),
                ("lct check", f"{mounts} {server.build}/lct check"),
                ("/etc/ssl /etc/ssl", f"{server.conf} {server.conf} --ro-bind {server.build} "
                                      f"{server.build}")):
            assert there in command
            command = command.replace(there, here)
        printed = site.type("server", command, status)
        if status == 0:
            expect(lines, printed, command)

    return check


def test_containers(site, container):
    site.machines["server"].lct("create", "web", "--seal", "none")
    container()


def test_a_container_with_a_sealed_key_takes_the_approvals_from_their_mount(site, container):
    server = site.machines["server"]
    site.prepare()
    measure(server.tpm, 0)
    site.type("server", "lct approve --authority stick/authority.pem web")
    container(status=SEALED)
    container(f"--ro-bind {server.store}/.approvals {server.store}/.approvals")


def test_a_fleet_with_one_authority(site):
    server, new = (site.machines[name] for name in ("server", "new"))
    site.others = [("lct pcrs", lambda: measure(server.tpm, 0)),
                   ("lct attest offer", lambda: measure(new.tpm, 0))]
    site.follow("A fleet with one authority")
    new.lct("check", "web")


def test_monitoring(site):
    if site.machines["server"].preload:
        pytest.skip("its sanitizer says that tail(1) leaks")
    site.prepare()
    site.follow("Monitoring")


def test_certificates_and_renewal(site):
    site.prepare()
    first = site.machines["server"].lct("show", "web").stdout
    site.follow("Certificates and renewal")
    assert site.machines["server"].lct("show", "web").stdout != first


@functools.cache
def sentences() -> str:
    """What the sources have between quotes, what C joins joined, one to a line."""
    rooms = ("base", "tcg", "tpm", "store", "provider", "tools")
    text = "\n".join(path.read_text() for room in rooms
                     for path in sorted((ROOT / room).glob("*.c")))
    literal = r'"(?:[^"\\\n]|\\.)*"'
    return "\n".join("".join(re.findall(literal, found)).replace('""', "") for found in
                     re.findall(rf"{literal}(?:\s*{literal})*", text))


MESSAGES = re.findall(r"^\| (`.*?) \| ", chapter(OPERATIONS, "What a message means"), re.MULTILINE)


@pytest.mark.parametrize("row", MESSAGES)
def test_each_message_of_the_table_is_one_of_the_code(row):
    known = sentences()
    assert len(known) > 100_000 and "no such identity as this" not in known
    for message in re.findall(r"`([^`-][^`]*)`", row):
        for part in message.split("..."):
            assert part.strip() in known, message


def test_the_table_has_messages_and_each_says_its_exit_status():
    assert len(MESSAGES) > 20
    for row in MESSAGES:
        assert 1 <= int(re.search(r"\((\d+)\)", row)[1]) <= 26
