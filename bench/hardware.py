# SPDX-License-Identifier: Apache-2.0
"""
P-256 signatures on a TPM as slow as hardware is (hardware.delays): of each choice that there is,
the commands of one further signature as the TPM executes them, the resource manager's swaps marked
with +, and how long it takes.
"""

import itertools
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from manager import Manager
from population import approve, boot_another, make_authority
from result import Amount, Commands
from rounds import sign
from setting import DELAYS, Setting, Swtpm, User, make_peers_key

PLACES = ("wrapped", "persistent")
KINDS = {"plain": "unsealed", "secret": "with a passphrase", "approved": "sealed, approved",
         "literal": "sealed"}  # by id
ROUNDS, ONCE = 3, 1e-9  # one signature a round
TIDYING = ("ContextSave", "FlushContext")
SRK, PEERS_HANDLE = "0x81000001", "0x81000200"


def make_keys(setting: Setting, user: User, tpm: Swtpm, secret: Path):
    """
    Of each kind one that is wrapped, and one that is at a persistent handle as well. Since those to
    be approved were made the boot state is another, which is approved.
    """
    make_authority(setting, user, secret)
    for kind in KINDS:
        if kind == "literal":
            boot_another(tpm)
        options = {"plain": [], "secret": ["--passphrase-file", secret]}
        for place in PLACES:
            user.run(setting.lct, "create", f"{kind}-{place}",
                     *options.get(kind, ["--seal", "sha256:7"]))
        user.run(setting.lct, "persist", f"{kind}-persistent")
    approve(setting, user, secret, *(f"approved-{place}" for place in PLACES))
    for other in "second", "third":
        user.run(setting.lct, "create", other)


def make_peer(setting: Setting, name: str, tpm: Swtpm) -> User:
    """A user of tpm2-openssl with a key file, and with another key at a persistent handle."""
    user = setting.peer(name, tpm.tcti)
    make_peers_key(user, "-pkeyopt", f"parent:{SRK}")
    if int(PEERS_HANDLE, 16) not in tpm.persistent():
        tpm.tool("tpm2_create", "-C", SRK, "-G", "ecc256:ecdsa", "-u", "pub", "-r", "priv", "-c",
                 "context")
        tpm.tool("tpm2_evictcontrol", "-c", "context", PEERS_HANDLE)
        tpm.flush()  # where there is no resource manager the tools leave what they load
    return user


def further(codes: list[str]) -> list[str]:
    """The commands of the last signature, and what tidies up after the one before."""
    *_, before, last = (i for i, code in enumerate(codes) if code == "Sign")
    between = codes[before + 1:last + 1]
    tidying = list(itertools.takewhile(lambda code: code.lstrip("+") in TIDYING, between))
    return between[len(tidying):] + tidying


def stays(setting: Setting, manager: Manager, user: User, *keys: str | Path
          ) -> tuple[list[str], float]:
    """By a process that signs with each of the keys in turn."""
    manager.codes()
    rates = sign(setting, user, *(f"{i}={key}" for i, key in enumerate(keys)), seconds=ONCE,
                 rounds=ROUNDS)
    return (further(manager.codes()),
            1000 / statistics.median(rate for each in rates.values() for rate in each))


def one_shot(manager: Manager, user: User, key: str | Path) -> tuple[list[str], float]:
    """By a process for each, from its start to its end."""
    taken = []
    user.path("data").write_text("to sign\n")
    for _ in range(ROUNDS):
        manager.codes()
        start = time.monotonic()
        user.run("openssl", "dgst", "-sha256", "-sign", key, "-out", "signature", "data")
        taken.append(time.monotonic() - start)
    return ([code for code in manager.codes() if not code.startswith("-")],
            1000 * statistics.median(taken))


def rows(name: str, measured: tuple[list[str], float]) -> Iterator[Commands | Amount]:
    commands, milliseconds = measured
    yield Commands(name, commands)
    yield Amount(name, milliseconds, "ms")


def of_ours(setting: Setting, manager: Manager, user: User) -> Iterator[Commands | Amount]:
    ids = [(kind, place) for kind in KINDS for place in PLACES]
    user.env["LCT_TCTI"] = manager.tcti
    for kind, place in ids:
        yield from rows(f"{KINDS[kind]}, {place}, one process",
                        stays(setting, manager, user, f"lct:{kind}-{place}"))
    for kind, place in ids:
        yield from rows(f"{KINDS[kind]}, {place}, a process each",
                        one_shot(manager, user, f"lct:{kind}-{place}"))
    yield from rows("unsealed, wrapped, one process, three keys in turn",
                    stays(setting, manager, user, "lct:plain-wrapped", "lct:second", "lct:third"))
    user.env["LCT_TCTI"] = manager.raw_tcti
    for kind, place in ids:
        yield from rows(f"bare device: {KINDS[kind]}, {place}, one process",
                        stays(setting, manager, user, f"lct:{kind}-{place}"))


def of_peer(setting: Setting, manager: Manager, user: User, peer: str
            ) -> Iterator[Commands | Amount]:
    user.env["TPM2OPENSSL_TCTI"] = manager.tcti
    for place, key in ("wrapped", user.path("peer.pem")), ("persistent", f"handle:{PEERS_HANDLE}"):
        yield from rows(f"{peer}: {place}, one process", stays(setting, manager, user, key))
        yield from rows(f"{peer}: {place}, a process each", one_shot(manager, user, key))


def run(setting: Setting) -> Iterator[Commands | Amount]:
    tpm = setting.tpm()
    secret = setting.secret()
    user = setting.user(tpm.tcti, passphrase_file=str(secret))
    make_keys(setting, user, tpm, secret)
    users = {peer: make_peer(setting, peer, tpm) for peer in setting.peers}
    with Manager(setting, tpm, delays=DELAYS) as manager:
        yield from of_ours(setting, manager, user)
        for peer, other in users.items():
            yield from of_peer(setting, manager, other, peer)
