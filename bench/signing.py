# SPDX-License-Identifier: Apache-2.0
"""
Signatures a second by one process over the TPM's own commands. Sessions are kept by tpm2-abrmd's
connections alone, so keys that take one go by it, and so does their floor. One row more shows an unsealed key there.
"""

from collections.abc import Iterator
from pathlib import Path

from population import approve, boot_another, make_authority
from result import Amount, Ratio, ratios
from rounds import sign
from setting import BROKER, Failed, Setting, User, make_peers_key
from tpm import Broker, Swtpm

ENOUGH = 0.95
ENOUGH_IN_SESSION = 0.90
VERIFIED = "each signature is verified before it is handed out; threads wait for nobody's"
BROKERED = {  # the key, the floor of its signatures, and what is asked of them
    "unsealed key": ("plain", "floor", None),
    "passphrase key": ("passphrase", "floor-hmac", ENOUGH_IN_SESSION),
    "sealed key, literal branch": ("literal", "floor-literal", ENOUGH_IN_SESSION),
    "sealed key, approved branch": ("approved", "floor-approved", ENOUGH_IN_SESSION),
}


def make_keys(setting: Setting, user: User, tpm: Swtpm, secret: Path):
    """One of each kind; since `approved` was made the boot state is another, which is approved."""
    user.run(setting.lct, "create", "plain")
    user.run(setting.lct, "create", "persistent")
    user.run(setting.lct, "persist", "persistent")
    user.run(setting.lct, "create", "passphrase", "--passphrase-file", secret)
    make_authority(setting, user, secret)
    user.run(setting.lct, "create", "approved", "--seal", "sha256:7")
    boot_another(tpm)
    approve(setting, user, secret, "approved")
    user.run(setting.lct, "create", "literal", "--seal", "sha256:7")


def compare(name: str, rates: dict[str, list[float]], floor: str, bound: float | None,
            subject: str = "lct", note: str = "") -> Ratio:
    return Ratio(name, ratios(rates[subject], rates[floor]), at_least=bound,
                 rates={each: rates[each] for each in (subject, floor)}, note=note)


def of_peer(setting: Setting, peer: str, threads: int) -> Ratio | Amount:
    """tpm2-openssl with a key that it made, beside the floor; or why it does not sign."""
    tpm = setting.tpm()
    name = f"{peer}, {threads} thread{'s' * (threads > 1)}"
    try:
        user = setting.peer(peer, tpm.tcti)
        rates = sign(setting, user, "floor", f"{peer}={make_peers_key(user)}", tcti=tpm.tcti,
                     threads=threads)
    except Failed as error:
        return Amount(name, 0, "signatures/s", note=f"fails: {str(error).splitlines()[0]}")
    return compare(name, rates, "floor", None, peer)


def run(setting: Setting) -> Iterator[Ratio | Amount]:
    tpm = setting.tpm()
    secret = setting.secret()
    user = setting.user(tpm.tcti, passphrase_file=str(secret))
    make_keys(setting, user, tpm, secret)
    rates = sign(setting, user, "floor", "floor-verified", "lct=lct:plain",
                 "lct-persistent=lct:persistent", tcti=tpm.tcti)
    yield compare("EVP_DigestSign 32 B, 1 thread", rates, "floor", ENOUGH, note=VERIFIED)
    yield compare("the same, over the floor and one verification", rates, "floor-verified", ENOUGH)
    yield compare("the same, persistent key", rates, "floor-verified", ENOUGH, "lct-persistent")
    rates = sign(setting, user, "floor", "lct=lct:plain", tcti=tpm.tcti, threads=4)
    yield compare("EVP_DigestSign 32 B, 4 threads", rates, "floor", ENOUGH)
    with Broker(tpm) as broker:
        user.env |= broker.env | {"LCT_TCTI": BROKER}
        for name, (key, floor, bound) in BROKERED.items():
            rates = sign(setting, user, floor, f"lct=lct:{key}", tcti=BROKER)
            yield compare(f"{name}, by tpm2-abrmd", rates, floor, bound,
                          note="the floor goes by it, too")
    for peer in setting.peers:
        for threads in 1, 4:
            yield of_peer(setting, peer, threads)
