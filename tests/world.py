# SPDX-License-Identifier: Apache-2.0
"""What documents say is typed, typed: on machines that hand each other files."""

import json
import re
import subprocess
from pathlib import Path

from tpm import TIMEOUT

CLEAN = {"OPENSSL_CONF": "/dev/null"}  # of programs that know nothing of us
PROMPT = re.compile(r"^(?:(\w+)?[#$]) (.*?)(?: {2,}# .*)?$")


def chapter(path: Path, title: str) -> str:
    """The text of a document between one heading of the second order and the next."""
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", path.read_text(),
                     re.MULTILINE | re.DOTALL)[1]


def session(text: str) -> list[tuple[str, str, list[str]]]:
    """Each command of the text: on which machine, what is typed, and the lines that it prints."""
    typed = []
    for block in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if block.startswith("["):  # of a file
            continue
        for line in re.sub(r"\\\n *", "", block).splitlines():
            command = PROMPT.match(line)
            if command:
                typed.append((command[1] or "server", command[2], []))
            else:
                typed[-1][2].append(line)
    return typed


def expect(lines: list[str], printed: str, command: str):
    """What a command prints has these lines; ... and wider columns in them are anything."""
    for line in lines:
        parts = [re.sub(r" {2,}", " +", re.escape(part).replace("\\ ", " ")) for part in
                 line.rstrip().split("...")]
        assert re.search(f"^{'.*'.join(parts)} *$", printed, re.MULTILINE), f"{command}: {printed}"


class World:
    """Machines by the names that a document has for them. All of them are in one directory."""

    def __init__(self, machines: dict, directory: Path):
        self.machines = machines
        self.directory = directory

    def put(self, name: str, content: dict):
        (self.directory / name).write_text(json.dumps(content) + "\n")

    def program(self, name: str, line: str):
        """A program that the machines have: a line of a shell."""
        path = self.directory / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def public(self, machine: str, uri: str, name: str):
        self.machines[machine].openssl("pkey", "-pubin", "-in", uri, "-pubout", "-out",
                                       self.directory / name)

    def certify(self, machine: str, identity: str, name: str, request: str | None = None):
        """A certificate of its key, by an authority."""
        user = self.machines[machine]
        key, ca, leaf = (self.directory / part for part in ("ca.key", "ca.pem", "leaf.pem"))
        if not key.exists():
            user.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                         "-nodes", "-keyout", key, "-out", ca, "-subj", "/CN=A CA", env=CLEAN)
        request = request or user.lct("csr", identity).stdout
        user.openssl("x509", "-req", "-in", user.write("request", request), "-CA", ca, "-CAkey",
                     key, "-out", leaf, env=CLEAN)
        (self.directory / name).write_text(leaf.read_text() + ca.read_text())

    def type(self, machine: str, command: str, status: int = 0) -> str:
        """What it prints, and what it says."""
        user = self.machines[machine]
        env = user.environment(preload=user.preload)
        env["PATH"] = f"{self.directory}/bin:{user.build}:{env['PATH']}"
        done = subprocess.run(["sh", "-c", command], env=env, text=True, cwd=self.directory,
                              capture_output=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL,
                              check=False)
        assert done.returncode == status, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr
