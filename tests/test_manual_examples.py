# SPDX-License-Identifier: Apache-2.0
"""The examples of the manual work: what a page says is typed, typed."""

import grp
import os
import pwd
import re
import shutil
from pathlib import Path

import pytest

import sealing
from attesting import SWTPM_VENDOR
from conftest import User
from test_manual import PAGES, pages
from tpm import Swtpm
from world import World

OTHER_TPM = 13  # an exit status
PROMPT = re.compile(r"^(?:(\w+)?[#$]) +(.*)$")

# What is not typed here, and why not.
UNTYPED = {
    "--predict": "needs a machine that has measured its boot; test_updates.py has one",
    "s_server": "a server that runs until it is stopped",
    "curl ": "a service of somebody's; test_clients.py has one",
    "--raw-quote": "another machine's quote; test_verify.py has them",
    "import web key.pem": "a file of another tool; test_interop.py has them",
    "genpkey": "makes the identity that the page has already; test_openssl.py does it",
    "-provider-path": "names no directory; test_openssl.py does",
    "lct setup": "changes the machine's openssl.cnf; test_setup.py sets up others",
    "OPENSSL_CONF=": "goes with lct setup",
}


def told(path: Path) -> list[tuple[str, str]]:
    """Each command of a page's examples: on which machine, and what is typed."""
    found = []
    for block in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", path.read_text(),
                            re.MULTILINE | re.DOTALL):
        for line in block.replace("\\e\n", "").replace("\\e", "\\").splitlines():
            if command := PROMPT.match(line):
                found.append((command[1] or "", command[2]))
    return found


def typed(path: Path) -> list[tuple[str, str]]:
    return [(machine, command) for machine, command in told(path)
            if not any(re.search(pattern, command) for pattern in UNTYPED)]


class Reader(World):
    """Who types what a page says. Two machines have a TPM with certificates of its maker."""

    NAMES = {"": 0, "server": 0, "machine": 0, "office": 1, "witness": 1, "other": 1,
             "verifier": 2, "anybody": 2, "others": 2}

    def __init__(self, build: Path, directory: Path, maker):
        self.tpms = []
        for number in (0, 1):
            shutil.copytree(maker.states[number], directory / f"tpm{number}")
            self.tpms.append(Swtpm(directory / f"tpm{number}"))
        sealing.boot(self.tpms[0])
        self.users = [User(build, directory / f"user{number}", tcti) for number, tcti in
                      enumerate([*(tpm.tcti for tpm in self.tpms), "none"])]
        super().__init__({name: self.users[number] for name, number in self.NAMES.items()},
                         self.users[0].directory)
        self.maker = maker

    def begin(self):
        """An empty directory, with what somebody has handed over."""
        for user in self.users:
            shutil.rmtree(user.directory)
            user.directory.mkdir()
            user.configure()
        for name in ("stick", "etc/lct", "etc/backup", "etc/nginx/conf.d"):
            (self.directory / name).mkdir(parents=True)
        self.put("trust.json", {"version": 1, "vendors": [SWTPM_VENDOR],
                                "ek_roots": [str(self.maker.ca / "issuercert.pem")]})
        self.put("issuers.json", {"version": 1, "ak_issuers": ["ca.pem"],
                                  "verdict_issuers": ["ca.pem"]})
        self.put("witnesses.json", {"version": 1, "witnesses": ["office.pub"],
                                    "verdict_issuers": ["office.pub"]})
        self.put("delegation.json", {"to": "lct:office", "may": ["read"]})
        for name in ("report.pdf", "letter.txt"):
            (self.directory / name).write_text("what is signed\n")
        self.program("nginx", "exit 0")
        self.program("systemd-ask-password", "printf secret")
        (self.directory / "passphrase").write_text("of dev and the authority\n")
        (self.directory / "passphrase").chmod(0o600)

    def type(self, machine: str, command: str, status: int = 0) -> str:
        """In this directory, as this user, and with a passphrase where one is asked for."""
        own = f"{pwd.getpwuid(os.getuid())[0]}:{grp.getgrgid(os.getgid())[0]}"
        for there, here in (("/media/", ""), ("/etc/", "etc/"), ("redis:redis", own),
                            ("/var/lib/prometheus/node-exporter/", "")):
            command = command.replace(there, here)
        if re.search(r"authority init|--authority |--software|rotate dev", command):
            command = re.sub(r"lct (\S+)", r"lct \1 --passphrase-file passphrase", command)
        command = command.replace("-newkey ec", "-nodes -newkey ec")
        return super().type(machine, command, status)

    def end_page(self):
        """What a page has left in the TPMs: nothing but keys that it was to keep there."""
        left = [tpm.left_behind() for tpm in self.tpms]
        for tpm in self.tpms:
            tpm.flush()
            for handle in tpm.persistent():
                if 0x81000100 <= handle <= 0x817fffff:
                    tpm.tool("tpm2_evictcontrol", "-c", f"{handle:#x}")
        assert not any(left), left

    def stop(self):
        for tpm in self.tpms:
            tpm.stop()


@pytest.fixture(scope="module", name="reader")
def fixture_reader(build, tmp_path_factory, maker):
    reader = Reader(build, tmp_path_factory.mktemp("manual"), maker)
    yield reader
    reader.stop()


ALICE = ["lct create alice"]
WEB = ["lct create web"]
SEALED = ["sed -i /^seal/d openssl.cnf"]
AUTHORITY = ["lct authority init --out /media/stick/authority.pem"]
CERTIFY = [
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout ca.key "
    "-out ca.pem -subj /CN=CA",
    "openssl x509 -req -in {id}.csr -CA ca.pem -CAkey ca.key -out leaf.pem",
    "cat leaf.pem ca.pem >{id}-and-issuers.pem"]

# What was done before: by page.
BEFORE = {
    "OSSL_PROVIDER-lct.7": [*ALICE, *WEB,
                            "openssl req -x509 -key lct:alice -subj /CN=alice -out own.pem",
                            "lct cert alice --set own.pem"],
    "lct-approve.1": SEALED,
    "lct-attest.1": ALICE,
    "lct-attestation.7": ALICE,
    "lct-backup.1": WEB,
    "lct-cert.1": [*WEB, "lct csr web >web.csr"],
    "lct-csr.1": ALICE,
    "lct-delete.1": ALICE,
    "lct-doctor.1": ALICE,
    "lct-document.1": ALICE,
    "lct-export.1": ALICE,
    "lct-import.1": [*WEB, "openssl genpkey -provider default -algorithm EC -pkeyopt group:P-256 "
                     "-out old.key"],
    "lct-pem.1": ALICE,
    "lct-persist.1": WEB,
    "lct-reseal.1": [*SEALED, *AUTHORITY],
    "lct-restore.1": [*WEB, "lct backup --out backup.tar", "lct delete web --yes"],
    "lct-retire.1": WEB,
    "lct-revoke.1": WEB,
    "lct-rotate.1": [*WEB, "lct csr web >web.csr"],
    "lct-show.1": ALICE,
    "lct-sign.1": ALICE,
    "lct-unpersist.1": [*WEB, "lct persist web"],
    "lct-unseal.1": ["printf secret | lct seal >sealed"],
    "lct-witness.1": WEB,
}


# And what others have done by then: before a command, on which machine.
BY_THEN = {
    r"--authority authority.pem": [("", "cp stick/authority.pem .")],
    r"--set alice-and": [("", line.format(id="alice")) for line in CERTIFY],
    r"--set web-and": [("", line.format(id="web")) for line in CERTIFY],
    r"issuer-key ca.key": [("", "test -s ca.pem || openssl req -x509 -newkey ec -pkeyopt "
                                "ec_paramgen_curve:P-256 -keyout ca.key -out ca.pem -subj "
                                "/CN=Witness -addext basicConstraints=critical,CA:TRUE -addext "
                                "keyUsage=critical,keyCertSign")],
    r"alice.state.* --issuer-key ca.key|--issuer-key ca.key --verdict": [
        ("", "rm alice.state"),
        ("verifier", "lct attest challenge --trust trust.json --state alice.state offer "
                     ">challenge"),
        ("", "lct attest respond challenge >evidence")],
    r"import vpn": [("", "lct persist web"), ("", "rm -r store/web")],
    r"issuer-key lct:office": [("office", "lct create office")],
    r"witnesses.json": [("office", "openssl pkey -pubin -in lct:office -pubout -out office.pub"),
                        ("", "openssl pkey -pubin -in lct:web?generation=1 -pubout -out web.pub")],
}
# What a command's end says, where that is not 0.
STATUS = {"other# lct restore --check backup.tar": OTHER_TPM}


@pages([path for path in PAGES if typed(path)])
def test_the_examples_of_a_page_work(reader, path):
    reader.begin()
    if path.name == "lct-import.1" and reader.machines[""].preload:
        pytest.skip("shred(1) asks for memory as its sanitizer does not give it")
    for command in BEFORE.get(path.name, []):
        reader.type("", command)
    for machine, command in typed(path):
        for pattern, lines in BY_THEN.items():
            for line in lines if re.search(pattern, command) else []:
                reader.type(*line)
        reader.type(machine, command, STATUS.get(f"{machine}# {command}", 0))
    reader.end_page()


def test_what_is_not_typed_is_in_the_manual():
    commands = [command for path in PAGES for _, command in told(path)]
    for pattern in UNTYPED:
        assert any(re.search(pattern, command) for command in commands), pattern
    assert len(commands) > 80
