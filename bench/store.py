# SPDX-License-Identifier: Apache-2.0
"""A store of 10,000 identities: listed, and one of them opened, by whole programs."""

import shutil
import statistics
from collections.abc import Iterator

from population import populate
from processes import OPENSSL, runs, spend
from result import Amount, Ratio
from setting import Failed, Setting

MANY, FEW = 10_000, 10


def run(setting: Setting) -> Iterator[Amount | Ratio]:
    tpm = setting.tpm()
    few, many = setting.user(tpm.tcti), setting.user(tpm.tcti)
    few.run(setting.lct, "create", "x")
    shutil.copytree(few.store, many.store)
    one = {}
    for user, number in ((few, FEW), (many, MANY)):
        one[user.directory] = populate(user.store, "x", number - 1)[number // 2]
    listed = many.run(OPENSSL, "storeutl", "lct:").splitlines()[-1]
    if listed != f"Total found: {MANY}":
        raise Failed(f"openssl storeutl lct: {listed}")
    times = [spend(many, OPENSSL, "storeutl", "lct:") / 1000
             for _ in range(setting.rounds)]
    yield Amount(f"openssl storeutl lct:, {MANY:,} identities", statistics.median(times),
                 "s", at_most=0.5, note="a whole process")

    def opened(user) -> float:
        return spend(user, OPENSSL, "pkey", "-in", f"lct:{one[user.directory]}", "-pubout")

    rounds = []
    for _ in range(setting.rounds):
        pairs = [(opened(many), opened(few)) for _ in range(runs(setting))]
        rounds.append(statistics.median(a for a, _ in pairs) /
                      statistics.median(b for _, b in pairs))
    yield Ratio(f"opening one of {MANY:,}, over one of {FEW}", rounds, at_most=1.1,
                note="openssl pkey -in lct:ID -pubout, whole processes")
