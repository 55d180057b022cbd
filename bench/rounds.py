# SPDX-License-Identifier: Apache-2.0
"""What the program sign measured: operations a second by name, a figure a round."""

from setting import Setting, User


def sign(setting: Setting, user: User, *subjects: str, threads: int = 1, size: int = 32,
         tcti: str | None = None, seconds: float | None = None, rounds: int | None = None
         ) -> dict[str, list[float]]:
    """Subjects are as the program takes them: NAME=KEY, or a floor, which goes by `tcti`."""
    lines = user.run(setting.program("sign"), "--rounds", rounds or setting.rounds, "--seconds",
                     seconds or setting.seconds, "--threads", threads, "--size", size,
                     *(["--tcti", tcti] if tcti else []), *subjects)
    rates: dict[str, list[float]] = {}
    for line in lines.splitlines():
        _, name, rate = line.split()
        rates.setdefault(name, []).append(float(rate))
    return rates
