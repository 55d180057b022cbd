# SPDX-License-Identifier: Apache-2.0
"""What was measured: ratios, round by round in one run; commands counted at the TPM."""

import dataclasses
import statistics


@dataclasses.dataclass
class Ratio:
    """
    A subject over what it is held against, a ratio a round. Rates are operations a second of each,
    under the names that the plot shows; they give the scale and mean nothing across runs.
    """

    name: str
    rounds: list[float]
    at_least: float | None = None
    at_most: float | None = None
    rates: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def bound(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}" if self.at_most is not None else ""

    @property
    def reached(self) -> bool | None:
        """None: nothing is asked of it."""
        if self.at_least is not None:
            return self.median >= self.at_least
        return self.median <= self.at_most if self.at_most is not None else None


@dataclasses.dataclass
class Amount:
    """A figure in a unit of its own, such as KiB."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    note: str = ""

    @property
    def reached(self) -> bool | None:
        return self.value <= self.at_most if self.at_most is not None else None


@dataclasses.dataclass
class Commands:
    """The commands that one step cost, counted at the TPM, in order."""

    name: str
    commands: list[str]
    note: str = ""


def ratios(subject: list[float], over: list[float]) -> list[float]:
    """Round by round."""
    return [mine / other for mine, other in zip(subject, over, strict=True)]
