#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
An example: the registry of Web4's Python prototype on the commands of lct, in the standard library.

    registry = Registry()
    if registry.is_available():
        alice = registry.mint("web4:ai:alice")             # a key in the TPM, and its public key
        signature = registry.sign("web4:ai:alice", b"...")
        statement = registry.delegate("web4:ai:alice", to="web4:ai:bob", scope=["read"])
        registry.read_delegation(statement, alice["public_key"])    # on any machine

Nothing falls back to software: what the TPM does not do raises LctError, whose `status` is that of
lct(1), and whose text says what to do.
"""

import json
import subprocess
import sys
import tempfile


class LctError(Exception):
    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status = status


class Registry:
    """`command` is how lct is called, perhaps with --store or --tcti; `env` is its environment."""

    def __init__(self, command=("lct",), env: dict | None = None):
        self.command = list(command)
        self.env = env

    def lct(self, *arguments: str, stdin: bytes = b"") -> bytes:
        done = subprocess.run([*self.command, *arguments], input=stdin, env=self.env,
                              capture_output=True, check=False)
        if done.returncode != 0:
            raise LctError(done.returncode, done.stderr.decode(errors="replace").strip())
        return done.stdout

    def is_available(self) -> bool:
        """Whether a TPM answers."""
        try:
            self.lct("pcrs", "sha256:0")
        except (LctError, FileNotFoundError):
            return False
        return True

    def mint(self, lct_id: str, *options: str) -> dict:
        """
        A new identity, and what is known of it: `public_key`, `hardware_bound`, `custody`, ... There
        is one of each id. A key outside of the TPM takes the option --software.
        """
        self.lct("create", *options, "--", lct_id)
        return self.show(lct_id)

    def show(self, lct_id: str) -> dict:
        return json.loads(self.lct("show", "--json", "--", lct_id))

    def sign(self, lct_id: str, data: bytes) -> bytes:
        """
        ECDSA with SHA-256, in DER, as every library verifies it. Of bytes that are the caller's own:
        what somebody else has chosen may be a statement in disguise, and is delegated, not signed.
        """
        return self.lct("sign", "--", lct_id, stdin=data)

    def delegate(self, lct_id: str, to: str, scope: list[str], until: str | None = None) -> str:
        """
        A statement that `to` may do what is in `scope` for `lct_id`. Who says it, and when, is in
        the statement besides; what `scope` and `until` mean is for whoever reads it.
        """
        content = json.dumps({"to": to, "scope": scope, "until": until}, sort_keys=True)
        return self.lct("sign", "--type", "delegation", "--", lct_id, "-",
                        stdin=content.encode()).decode()

    def read_delegation(self, statement: str, public_key: str) -> dict:
        """What was delegated, by a statement that holds and is of this key; it needs no TPM."""
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as key:
            key.write(public_key)
            key.flush()
            return json.loads(self.lct("verify", "--key", key.name, "--extract", "delegation", "-",
                                       stdin=statement.encode()))


if __name__ == "__main__":
    there = Registry().is_available()
    print("a TPM answers" if there else "no TPM answers: lct doctor says why")
    sys.exit(0 if there else 1)
