# SPDX-License-Identifier: Apache-2.0
"""
Whole programs, from their start to their end: openssl dgst beside the same with a key in software,
and lct create beside TPM2_Create alone.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from manager import Manager
from result import Ratio
from rounds import sign
from setting import DELAYS, Failed, Setting, User, make_software_key

OPENSSL = "/usr/bin/openssl"
RUNS_A_SECOND = 40  # of a round: of each program
SLOW_CREATIONS = 3


def runs(setting: Setting) -> int:
    """In a round; of keys as many are made, since how long an RSA one takes is luck."""
    return max(2, round(RUNS_A_SECOND * setting.seconds))


def spend(user: User, *words: str | Path) -> float:
    """Milliseconds from the start of a program to its end."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    begin = time.perf_counter()
    pid = os.posix_spawn(words[0], [str(word) for word in words], user.env, file_actions=quiet)
    _, status = os.waitpid(pid, 0)
    spent = 1000 * (time.perf_counter() - begin)
    if status != 0:
        raise Failed(f"{' '.join(str(word) for word in words)}: status {status}")
    return spent


def floor_of(setting: Setting, user: User, name: str, tcti: str, seconds: float) -> float:
    """Milliseconds that the TPM's own commands take, as bytes over one connection."""
    return 1000 / sign(setting, user, name, tcti=tcti, seconds=seconds, rounds=1)[name][0]


def one_shots(setting: Setting) -> Ratio:
    """Our user, and one whose openssl.cnf is the stock one, with a key in a file."""
    tpm = setting.tpm()
    ours = setting.user(tpm.tcti)
    ours.run(setting.lct, "create", "x")
    theirs = User(setting.fresh("stock"), {}, tpm.tcti)
    del theirs.env["OPENSSL_CONF"]
    in_software = make_software_key(theirs)
    for user in ours, theirs:
        user.path("data").write_bytes(b"\x5a" * 1024)

    def once(user: User, key: str | Path) -> float:
        return spend(user, OPENSSL, "dgst", "-sha256", "-sign", key, "-out", user.path("sig"),
                     user.path("data"))

    rounds, floors = [], []
    for _ in range(setting.rounds):
        floors.append(floor_of(setting, ours, "floor-short", tpm.tcti, setting.seconds))
        pairs = [(once(ours, "lct:x"), once(theirs, in_software)) for _ in range(runs(setting))]
        mine, software = (statistics.median(figures) for figures in zip(*pairs))
        rounds.append((mine - floors[-1]) / software)
    return Ratio("openssl dgst -sign, less the TPM's share, over software", rounds, at_most=1.35,
                 note=f"P-256, whole processes; the TPM's Load, Sign and FlushContext as bytes "
                      f"({statistics.median(floors):.2f} ms here) are taken off")


def creations(setting: Setting, user: User, algorithm: str, number: int,
              floor: Callable[[], float]) -> list[float]:
    """By round: what one lct create takes over what the floor says, the means of so many."""
    rounds = []
    for turn in range(setting.rounds):
        mine, bare = [], []
        for i in range(number):
            mine.append(spend(user, setting.lct, "create", f"{algorithm}-{turn}-{i}",
                              "--algorithm", algorithm))
            bare.append(floor())
        rounds.append(statistics.mean(mine) / statistics.mean(bare))
    return rounds


def create_here(setting: Setting) -> Iterator[Ratio]:
    """On the software TPM as it is."""
    tpm = setting.tpm()
    user = setting.user(tpm.tcti)
    user.run(setting.lct, "create", "first")  # and with it the storage root key
    kinds = (("rsa-2048", "floor-create-rsa", 1.5, runs(setting),
              "whole processes over the bare command, which takes as long as its luck has it: "
              "means of many; with one signature, which shows how the TPM salts RSA-PSS"),
             ("ec-p256", "floor-create", None, runs(setting),
              "whole processes over the bare command, which is faster than any program starts"))
    for algorithm, floor, bound, number, note in kinds:
        def bare(name: str = floor) -> float:
            return floor_of(setting, user, name, tpm.tcti, 1e-9)

        yield Ratio(f"lct create, {algorithm}, over TPM2_Create",
                    creations(setting, user, algorithm, number, bare), at_most=bound, note=note)


def create_on_hardware(setting: Setting) -> Ratio:
    """Where it is the commands that take the time."""
    tpm = setting.tpm()
    setting.user(tpm.tcti).run(setting.lct, "create", "first")
    with Manager(setting, tpm, delays=DELAYS) as manager:
        user = setting.user(manager.tcti)
        floor = floor_of(setting, user, "floor-create", manager.raw_tcti, 1e-9)
        manager.codes()
        user.run(setting.lct, "create", "counted")
        sent = [code for code in manager.codes() if code != "Create"]
        return Ratio("lct create, ec-p256, over TPM2_Create, hardware",
                     creations(setting, user, "ec-p256", SLOW_CREATIONS, lambda: floor),
                     at_most=1.5, note=f"delays as in {DELAYS.name}; sent besides: "
                                       f"{' '.join(sent)}")


def run(setting: Setting) -> Iterator[Ratio]:
    yield one_shots(setting)
    yield from create_here(setting)
    if os.geteuid() == 0 and Path("/dev/fuse").exists():
        yield create_on_hardware(setting)
