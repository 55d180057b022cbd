# SPDX-License-Identifier: Apache-2.0
"""What a soak is judged by. Pure: soak.py observes, this says in sentences what is wrong."""

import dataclasses
import itertools
import statistics
from collections import defaultdict

MIB = 1 << 20
MOST_POINTS = 200  # of which a slope is taken: there are as many pairs as its square
ENOUGH_POINTS = 8


@dataclasses.dataclass
class Fault:
    """Something that was done to a server. `excuses`: whose signatures may fail meanwhile."""

    kind: str
    server: str
    start: float
    end: float | None = None  # None: it goes on
    excuses: frozenset = frozenset()


@dataclasses.dataclass(frozen=True)
class Failure:
    """An attempt that did not succeed, a handshake's or a program's, with the key of `identity`."""

    server: str
    identity: str
    start: float
    end: float
    error: str


@dataclasses.dataclass(frozen=True)
class Recovery:
    """From the first failed attempt to the retry that succeeded; None: none of them did."""

    server: str
    identity: str
    start: float
    end: float | None


@dataclasses.dataclass(frozen=True)
class Sample:
    """What a process takes. `period`: the number of the steady period, None outside of those."""

    server: str
    role: str
    pid: int
    time: float
    period: int | None
    values: dict


# How much more at a span's end than at its beginning is growth. Memory is the allocator's, which
# keeps what was freed: a leak of 50 bytes a handshake shows in a steady period all the same.
LIMITS = {"worker": {"memory": MIB / 4, "descriptors": 2, "threads": 0.5},
          "master": {"memory": MIB / 2, "descriptors": 2, "threads": 0.5}}
OBJECTS = 3  # more in the TPM than at first: a session kept for each worker comes and goes
WARM_UP = {"worker": 30, "master": 60}  # seconds


def excused(failure: Failure, faults: list[Fault]) -> bool:
    """Whether a fault that explains it happened in its time."""
    return any(fault.server == failure.server and failure.identity in fault.excuses
               and fault.start <= failure.end
               and (fault.end is None or fault.end >= failure.start) for fault in faults)


def unexplained(failures: list[Failure], faults: list[Fault]) -> list[str]:
    return [f"{failure.server}: {failure.identity} failed {failure.start:.1f} to "
            f"{failure.end:.1f} s without a fault that explains it: {failure.error}"
            for failure in failures if not excused(failure, faults)]


def late(recoveries: list[Recovery], faults: list[Fault], timeout: float) -> list[str]:
    """Those whose retry did not succeed within the timeout after the last fault in their time."""
    found = []
    for recovery in recoveries:
        where = f"{recovery.server}: {recovery.identity} failed at {recovery.start:.1f} s"
        if recovery.end is None:
            found.append(f"{where} and no retry succeeded")
            continue
        ends = [min(fault.end or recovery.end, recovery.end) for fault in faults
                if fault.server == recovery.server and recovery.identity in fault.excuses
                and fault.start <= recovery.end]
        after = recovery.end - max([recovery.start, *ends])
        if after > timeout:
            found.append(f"{where} and its retry took {after:.1f} s after the last fault")
    return found


def slope(points: list[tuple[float, float]]) -> float:
    """Theil and Sen's: the median of the slopes of all pairs, which steps and peaks don't move."""
    points = points[::max(1, len(points) // MOST_POINTS)]
    slopes = [(later[1] - earlier[1]) / (later[0] - earlier[0])
              for earlier, later in itertools.combinations(points, 2) if later[0] > earlier[0]]
    return statistics.median(slopes) if slopes else 0.0


def growth(points: list[tuple[float, float]]) -> float:
    """By how much a line through the points rises from the first one's time to the last one's."""
    return slope(points) * (points[-1][0] - points[0][0]) if points else 0.0


def spans(samples: list[Sample]) -> dict[tuple, list[Sample]]:
    """
    The samples of each process after its warm-up: a master's of all its life, a worker's of one
    steady period, in which nobody replaces it.
    """
    found = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: sample.time):
        if sample.role == "worker" and sample.period is None:
            continue
        period = sample.period if sample.role == "worker" else None
        found[sample.server, sample.role, sample.pid, period].append(sample)
    warm = {}
    for key, span in found.items():
        span = [one for one in span if one.time >= span[0].time + WARM_UP[key[1]]]
        if len(span) >= ENOUGH_POINTS:
            warm[key] = span
    return warm


def growing(samples: list[Sample]) -> list[str]:
    """The processes that take more and more. Also where too little was seen to say so."""
    wrong, warm = [], spans(samples)
    for server in sorted({sample.server for sample in samples}):
        for role in LIMITS:
            if not any(key[:2] == (server, role) for key in warm):
                wrong.append(f"{server}: no {role} lived long enough to be judged")
    for (server, role, pid, _), span in warm.items():
        for measure, limit in LIMITS[role].items():
            more = growth([(sample.time, sample.values[measure]) for sample in span])
            if more > limit:
                wrong.append(
                    f"{server}: {measure} of {role} {pid} grew by {more:.0f} in "
                    f"{span[-1].time - span[0].time:.0f} s, to {span[-1].values[measure]:.0f}")
    return wrong


def piling_up(server: str, seen: list[tuple[float, dict]]) -> list[str]:
    """The kinds of objects in the TPM, counted at some times, that become more and more."""
    if len(seen) < ENOUGH_POINTS:
        return []
    more = {kind: growth([(time, counts[kind]) for time, counts in seen]) for kind in seen[0][1]}
    return [f"{server}: {kind} handles in the TPM grew by {number:.0f}, to {seen[-1][1][kind]}"
            for kind, number in more.items() if number > OBJECTS]


def different(what: str, expected, found) -> list[str]:
    """What is there and should not be, or the other way round."""
    more, fewer = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    return [f"{what}: {', '.join(map(str, names))} {how}"
            for names, how in ((more, "should not be there"), (fewer, "is not there")) if names]
