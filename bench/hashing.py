# SPDX-License-Identifier: Apache-2.0
"""Long messages: they are hashed by libcrypto, so a key in the TPM costs them one signature."""

from collections.abc import Iterator

from result import Ratio, ratios
from rounds import sign
from setting import Setting, make_software_key

MIB = 1 << 20
SIZES = {1: None, 64: 0.95}  # MiB, and what is asked of it


def run(setting: Setting) -> Iterator[Ratio]:
    tpm = setting.tpm()
    user = setting.user(tpm.tcti)
    user.run(setting.lct, "create", "key")
    software = make_software_key(user)
    for mib, bound in SIZES.items():
        rates = sign(setting, user, "lct=lct:key", f"software={software}", size=mib * MIB,
                     seconds=max(setting.seconds, 0.2))
        yield Ratio(f"EVP_DigestSign {mib} MiB, over a key in software",
                    ratios(rates["lct"], rates["software"]), at_least=bound)
