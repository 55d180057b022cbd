# SPDX-License-Identifier: Apache-2.0
"""What README.md says is typed in the life of an identity, typed."""

import json
import re
import subprocess

import pytest

from attesting import SWTPM_VENDOR
from conftest import ROOT
from tpm import TIMEOUT

PROMPT = re.compile(r"^(?:(\w+)?[#$]) (.*?)(?: {2,}# .*)?$")
CLEAN = {"OPENSSL_CONF": "/dev/null"}


def chapter(title: str) -> str:
    text = (ROOT / "README.md").read_text()
    return re.search(rf"^## {title}\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]


def session(text: str) -> list[tuple[str, str, list[str]]]:
    """Each command of the text: on which machine, what is typed, and the lines that it prints."""
    typed = []
    for block in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            command = PROMPT.match(line)
            if command:
                typed.append((command[1] or "server", command[2], []))
            else:
                typed[-1][2].append(line)
    return typed


class World:
    """Machines that hand each other files: here, all of them are in one directory."""

    def __init__(self, server, office, anybody, maker):
        self.machines = {"server": server, "office": office, "anybody": anybody}
        self.directory = server.directory
        self.certify("server", "web", "web-and-issuers.pem")
        server.lct("cert", "web", "--set", server.path("web-and-issuers.pem"))
        self.public("server", "lct:web", "web-1.pub")
        self.public("office", "lct:office", "office.pub")
        self.put("trust.json", {"version": 1, "vendors": [SWTPM_VENDOR],
                                "ek_roots": [str(maker.ca / "issuercert.pem")]})
        self.put("witnesses.json", {"version": 1, "witnesses": ["office.pub"],
                                    "verdict_issuers": ["office.pub"]})
        self.put("delegation.json", {"to": "lct:office", "may": ["read"]})
        server.write("passphrase", "of dev\n").chmod(0o600)
        (self.directory / "bin").mkdir()
        nginx = server.write("bin/nginx", "#!/bin/sh\necho \"$@\" >>reloads\n")
        nginx.chmod(0o755)

    def put(self, name: str, content: dict):
        (self.directory / name).write_text(json.dumps(content) + "\n")

    def public(self, machine: str, uri: str, name: str):
        self.machines[machine].openssl("pkey", "-pubin", "-in", uri, "-pubout", "-out",
                                       self.directory / name)

    def certify(self, machine: str, identity: str, name: str, request: str | None = None):
        """A certificate of its key, by an authority."""
        user = self.machines[machine]
        if not (self.directory / "ca.key").exists():
            user.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                         "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=A CA",
                         env=CLEAN)
        request = request or user.lct("csr", identity).stdout
        user.openssl("x509", "-req", "-in", user.write("request", request), "-CA", "ca.pem",
                     "-CAkey", "ca.key", "-out", "leaf.pem", env=CLEAN)
        (self.directory / name).write_text((self.directory / "leaf.pem").read_text() +
                                           (self.directory / "ca.pem").read_text())

    def prepare(self, command: str):
        """What others have done by then."""
        if "--set web-and-issuers.pem" in command:
            self.certify("server", "web", "web-and-issuers.pem",
                         (self.directory / "web.csr").read_text())
        if "dev.pub" in command:
            self.public("server", "lct:dev", "dev.pub")

    def type(self, machine: str, command: str) -> str:
        """What it prints, and what it says."""
        self.prepare(command)
        user = self.machines[machine]
        env = user.environment(preload=user.preload)
        env["PATH"] = f"{self.directory}/bin:{user.build}:{env['PATH']}"
        done = subprocess.run(["sh", "-c", command.replace("/etc/lct/", "")], env=env, text=True,
                              cwd=self.directory, capture_output=True, timeout=TIMEOUT,
                              stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture(name="world")
def fixture_world(make_user, holder, make_certified, maker) -> World:
    office = make_user(make_certified(1).tcti)
    office.lct("create", "office")
    holder.lct("create", "web")
    return World(holder, office, make_user("none"), maker)


def test_the_life_of_an_identity_is_as_told(world):
    typed = session(chapter("The life of an identity"))
    assert len(typed) > 20
    for machine, command, lines in typed:
        printed = world.type(machine, command)
        for line in lines:
            pattern = ".*".join(re.escape(part) for part in line.split("..."))
            assert re.search(f"^{pattern}$", printed, re.MULTILINE), f"{command}: {printed}"
    assert (world.directory / "reloads").read_text() == "-s reload\n"
    assert "CN = web" in world.machines["office"].openssl(
        "x509", "-in", world.directory / "web.crt", "-noout", "-subject", env=CLEAN).stdout
