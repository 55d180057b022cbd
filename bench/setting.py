# SPDX-License-Identifier: Apache-2.0
"""Where everything is measured: a TPM, the programs, a user with a store and the providers."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))

from tpm import Swtpm  # noqa: E402 pylint: disable=wrong-import-position

TIMEOUT = 600
DELAYS = ROOT / "bench/hardware.delays"
BROKER = "tabrmd:bus_type=session"  # of tpm2-abrmd, by tpm.Broker

CONF = """\
openssl_conf = openssl_init

[openssl_init]
providers = providers

[providers]
{names}

[default_sect]
activate = 1

{sections}
"""


class Failed(Exception):
    """A program under measurement did not do its work."""


class User:
    """
    Someone with a directory, a store and an openssl.cnf that activates the default provider and
    then `providers`: name to settings, among which `module` says which file it is. tpm2-openssl has
    to be `before` the default provider, for that to leave it its keys.
    """

    def __init__(self, directory: Path, providers: dict[str, dict[str, str]], tcti: str,
                 before: bool = False):
        directory.mkdir(parents=True)
        self.directory = directory
        self.store = directory / "store"
        self.conf = directory / "openssl.cnf"
        sections = "\n\n".join(
            f"[{name}_sect]\nactivate = 1\n" +
            "\n".join(f"{key} = {value}" for key, value in settings.items())
            for name, settings in providers.items())
        names = [*providers, "default"] if before else ["default", *providers]
        self.conf.write_text(CONF.format(
            names="\n".join(f"{name} = {name}_sect" for name in names), sections=sections))
        self.env = {"PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8",
                    "OPENSSL_CONF": str(self.conf), "LCT_TCTI": tcti, "LCT_STORE": str(self.store),
                    "TPM2OPENSSL_TCTI": tcti, "TPM2TOOLS_TCTI": tcti, "TSS2_LOG": "all+NONE"}

    def path(self, name: str) -> Path:
        return self.directory / name

    def run(self, *words, stdin: bytes | None = None, env: dict[str, str] | None = None) -> str:
        """Runs a command to its end and returns what it wrote. Failed: with what it said."""
        done = subprocess.run([str(word) for word in words], cwd=self.directory,
                              env=self.env | (env or {}), input=stdin, timeout=TIMEOUT,
                              capture_output=True, check=False)
        if done.returncode != 0:
            said = (done.stdout + done.stderr)[-2000:].decode(errors="replace")
            raise Failed(f"{' '.join(str(word) for word in words)}: {said}")
        return done.stdout.decode(errors="replace")


class Setting:
    """What a run has: how long each round lasts, how many there are, the build, the peers."""

    def __init__(self, build: Path, scratch: Path, rounds: int, seconds: float,
                 peers: dict[str, Path]):
        self.build = build
        self.scratch = scratch
        self.rounds = rounds
        self.seconds = seconds
        self.peers = peers  # tpm2-openssl in its versions: name to module
        self._stack = contextlib.ExitStack()
        self._number = 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stack.close()

    def fresh(self, name: str) -> Path:
        """A name in the scratch directory that nothing has yet."""
        self._number += 1
        return self.scratch / f"{name}{self._number}"

    def secret(self) -> Path:
        """A file with a passphrase."""
        path = self.fresh("secret")
        path.write_text("correct horse\n")
        return path

    def program(self, name: str) -> Path:
        return self.build / "bench" / name

    @property
    def lct(self) -> Path:
        return self.build / "lct"

    def tpm(self) -> Swtpm:
        """A software TPM with a storage root key, which ends with the run."""
        tpm = Swtpm(self.fresh("tpm"))
        self._stack.callback(tpm.stop)
        return tpm

    def user(self, tcti: str, peers: dict[str, Path] | None = None, **settings: str) -> User:
        """
        A user of ours whose keys are not sealed unless `settings` of our section say so; with
        `peers` those providers are activated, too, after ours.
        """
        ours = {"module": str(self.build / "lct.so"), "tcti": tcti, "seal": "none",
                "pcr_signature": "none"} | settings
        others = {name: {"module": str(module)} for name, module in (peers or {}).items()}
        user = User(self.fresh("user"), {"lct": ours} | others, tcti)
        return user

    def peer(self, name: str, tcti: str) -> User:
        """A user of tpm2-openssl, which comes before the default provider to get its keys."""
        return User(self.fresh("peer"), {"tpm2": {"module": str(self.peers[name])}}, tcti,
                    before=True)


def make_software_key(user: User) -> Path:
    user.run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out",
             "software.pem")
    return user.path("software.pem")


def make_peers_key(user: User, *options: str) -> Path:
    """In the TPM, by tpm2-openssl."""
    user.run("openssl", "genpkey", "-propquery", "provider=tpm2", "-algorithm", "EC", "-pkeyopt",
             "group:P-256", *options, "-out", "peer.pem")
    return user.path("peer.pem")
