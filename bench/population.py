# SPDX-License-Identifier: Apache-2.0
"""Identities to measure: many, made quickly, and those that an authority approves."""

import json
import os
from pathlib import Path

from setting import Setting, User
from tpm import Swtpm

RECORD = "identity.json"


def populate(store: Path, pattern: str, number: int) -> list[str]:
    """`number` identities beside `pattern`, which differ from it by their ids; returns these."""
    record = json.loads((store / pattern / RECORD).read_text())
    others = [path for path in (store / pattern).iterdir() if path.name != RECORD]
    ids = [f"{pattern}-{i}" for i in range(number)]
    for each in ids:
        directory = store / each
        directory.mkdir(mode=0o750)
        (directory / RECORD).write_text(json.dumps(record | {"id": each}))
        for path in others:
            os.link(path, directory / path.name)
    return ids


def make_authority(setting: Setting, user: User, secret: Path):
    user.run(setting.lct, "authority", "init", "--out", "authority.pem", "--passphrase",
             "--passphrase-file", secret)


def boot_another(tpm: Swtpm):
    """PCR 7 is another from now on: what was sealed to it takes an approval."""
    tpm.tool("tpm2_pcrextend", f"7:sha256={'ab' * 32}")


def approve(setting: Setting, user: User, secret: Path, *ids: str):
    user.run(setting.lct, "approve", "--authority", "authority.pem", "--passphrase-file", secret,
             *ids)
