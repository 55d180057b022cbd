# SPDX-License-Identifier: Apache-2.0
"""What the provider takes of a program's memory when nothing is done with it, and each key."""

import os
import statistics

from population import populate
from result import Amount
from setting import Setting, User

KEYS = 1000
KIB = 1024
SECRET = "passphrase"
KINDS = {  # what it is, and its words for lct create
    "P-256": [],
    "P-256, with a passphrase": ["--passphrase-file", SECRET],
    "RSA-2048": ["--algorithm", "rsa-2048"],
    "P-256, sealed as by default": ["--seal", "sha256:0,1,2,3,7"],
}


def idle(setting: Setting, user: User) -> float:
    """KiB of private dirty pages, the median of what several processes have."""
    figures = [int(user.run(setting.program("memory"), "idle")) / KIB
               for _ in range(setting.rounds)]
    return statistics.median(figures)


def settle(module):
    """Pages of a file that was written just now are dirty for everyone until they are on disk."""
    with module.open("rb") as file:
        os.fsync(file)


def boot(tpm):
    """Measures something, so that the PCRs of the seal hold more than zeros."""
    for pcr in (0, 1, 2, 3, 7):
        tpm.tool("tpm2_pcrextend", f"{pcr}:sha256={pcr + 1:064x}")


def run(setting: Setting):
    tpm = setting.tpm()
    secret = setting.secret()
    user = setting.user(tpm.tcti, passphrase_file=str(secret))
    user.path(SECRET).symlink_to(secret)
    alone = User(setting.fresh("alone"), {}, tpm.tcti)
    settle(setting.build / "lct.so")
    ours, theirs = idle(setting, user), idle(setting, alone)
    yield Amount("provider loaded and idle, over openssl alone", ours - theirs, "KiB", at_most=100,
                 note=f"private dirty pages of a program that has initialised libcrypto: {ours:.0f}"
                      f" KiB with it, {theirs:.0f} KiB with the default provider alone")
    boot(tpm)
    user.run(setting.lct, "authority", "init", "--out", user.path("authority.pem"))
    for number, (kind, words) in enumerate(KINDS.items()):
        pattern = f"k{number}"
        user.run(setting.lct, "create", pattern, *words)
        uris = [f"lct:{each}" for each in populate(user.store, pattern, KEYS)]
        allocated, dirty = map(int, user.run(setting.program("memory"), "keys", *uris).split())
        yield Amount(f"a loaded key, {kind}", allocated / KIB, "KiB", at_most=4,
                     note=f"as the allocator counts, the mean of {KEYS} keys; {dirty / KIB:.2f} KiB"
                          " of private dirty pages")
