# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the kernel's TPM devices (tpmrm.c) in front of a software TPM."""

import subprocess
from pathlib import Path

from setting import TIMEOUT, Failed, Setting
from tpm import Swtpm


class Manager:
    """
    The devices in `directory`, which the TPM is behind alone while it lasts: tpmrm0, where handles
    are swapped as the kernel does it, and tpm0. Each command takes as long as the table `delays`
    says. With `count` they are written down.
    """

    def __init__(self, setting: Setting, tpm: Swtpm, delays: Path | None = None,
                 count: bool = True):
        self.directory = setting.fresh("devices")
        self._log = setting.fresh("commands")
        self._seen = 0
        self._words = [setting.program("tpmrm"), *(["--delay", delays] if delays else []),
                       *(["--count", self._log] if count else []),
                       tpm.path, self.directory]
        self._process = None

    def __enter__(self):
        self.directory.mkdir()
        self._process = subprocess.Popen([str(word) for word in self._words],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, text=True)
        if self._process.stdout.readline() != "ready\n":
            raise Failed(self._process.communicate(timeout=TIMEOUT)[1].strip())
        return self

    def __exit__(self, *error):
        self._process.communicate(timeout=TIMEOUT)
        self.directory.rmdir()

    @property
    def tcti(self) -> str:
        return f"device:{self.directory / 'tpmrm0'}"

    @property
    def raw_tcti(self) -> str:
        """Without a resource manager, for one program at a time."""
        return f"device:{self.directory / 'tpm0'}"

    def codes(self) -> list[str]:
        """
        The commands since this was asked last, as the TPM executed them; + marks a swap, - what
        ended with a file that was closed.
        """
        commands = self._log.read_text().split() if self._log.exists() else []
        new, self._seen = commands[self._seen:], len(commands)
        return new
