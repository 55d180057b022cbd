# SPDX-License-Identifier: Apache-2.0
"""What README.md says is typed in the life of an identity, typed."""

import pytest

from attesting import SWTPM_VENDOR
from conftest import ROOT
from world import CLEAN, World, chapter, expect, session


class Life(World):
    """The machines of the life of an identity, and what was there before."""

    def __init__(self, server, office, anybody, maker):
        super().__init__({"server": server, "office": office, "anybody": anybody},
                         server.directory)
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
        self.program("nginx", 'echo "$@" >>reloads')

    def prepare(self, command: str):
        """What others have done by then."""
        if "--set web-and-issuers.pem" in command:
            self.certify("server", "web", "web-and-issuers.pem",
                         (self.directory / "web.csr").read_text())
        if "dev.pub" in command:
            self.public("server", "lct:dev", "dev.pub")

    def type(self, machine: str, command: str, status: int = 0) -> str:
        self.prepare(command)
        return super().type(machine, command.replace("/etc/lct/", ""), status)


@pytest.fixture(name="world")
def fixture_world(make_user, holder, make_certified, maker) -> Life:
    office = make_user(make_certified(1).tcti)
    office.lct("create", "office")
    holder.lct("create", "web")
    return Life(holder, office, make_user("none"), maker)


def test_the_life_of_an_identity_is_as_told(world):
    typed = session(chapter(ROOT / "README.md", "The life of an identity"))
    assert len(typed) > 20
    for machine, command, lines in typed:
        printed = world.type(machine, command)
        expect(lines, printed, command)
    assert (world.directory / "reloads").read_text() == "-s reload\n"
    subject = world.machines["office"].openssl(
        "x509", "-in", world.directory / "web.crt", "-noout", "-subject", env=CLEAN).stdout
    assert subject.replace(" ", "") == "subject=CN=web\n"
