# SPDX-License-Identifier: Apache-2.0
"""What judges a soak (soaking.py) finds what is wrong, and nothing where all is well."""

import random

import pytest

import soaking
from soaking import MIB, Failure, Fault, Recovery, Sample

EVERY = frozenset({"web", "sealed"})
KILL = Fault("worker killed", "direct", 100, 102, EVERY)
RELOAD = Fault("reload", "direct", 100, 102)
APPROVAL = Fault("state approved", "direct", 100, 102, frozenset({"sealed"}))
STILL_ON = Fault("TPM restarted", "direct", 100, None, EVERY)


def failed(start: float, end: float, identity: str = "web", server: str = "direct") -> Failure:
    return Failure(server, identity, start, end, "reset")


def samples(role: str = "worker", period: int | None = 0, seconds: int = 150, **rates: float):
    """A process that takes so much more a second, beside what comes and goes."""
    rng, values = random.Random(0), {"memory": 8 * MIB, "descriptors": 14, "threads": 1}
    noise = {"memory": 64 * 1024, "descriptors": 3, "threads": 0}
    return [Sample("direct", role, 7, time, period,
                   {name: base + rates.get(name, 0) * time + rng.uniform(0, noise[name])
                    for name, base in values.items()}) for time in range(0, seconds, 2)]


@pytest.mark.parametrize("failure, fault", [
    (failed(99, 100.5), KILL), (failed(101, 101.5), KILL), (failed(101, 130), KILL),
    (failed(200, 201), STILL_ON), (failed(101, 102, "sealed"), APPROVAL)])
def test_a_failure_in_the_time_of_a_fault_is_explained(failure, fault):
    assert soaking.unexplained([failure], [fault]) == []


@pytest.mark.parametrize("failure, fault", [
    (failed(98, 99), KILL), (failed(103, 104), KILL), (failed(101, 101.5), RELOAD),
    (failed(101, 101.5, server="tpm2-abrmd"), KILL), (failed(101, 102, "web"), APPROVAL),
    (failed(99, 99.5), STILL_ON)])
def test_any_other_failure_is_not(failure, fault):
    (sentence,) = soaking.unexplained([failure], [fault])
    assert "without a fault that explains it: reset" in sentence


def test_a_retry_has_the_timeout_after_the_last_fault_of_its_time():
    def wrong(end, *faults):
        return soaking.late([Recovery("direct", "web", 100, end)], list(faults), 30)

    assert not wrong(131.5, KILL) and not wrong(129)
    assert not wrong(150, KILL, Fault("TPM restarted", "direct", 125, 127, EVERY))
    assert not wrong(200, STILL_ON)
    assert "took 31.0 s" in wrong(133, KILL)[0]
    assert "took 31.0 s" in wrong(131, RELOAD)[0]
    assert "took 48.0 s" in wrong(150, KILL, Fault("TPM restarted", "direct", 155, 157, EVERY))[0]
    assert "no retry succeeded" in wrong(None, STILL_ON)[0]


def test_steps_and_peaks_are_no_slope():
    flat = [(float(time), 10.0) for time in range(100)]
    peak = [(time, value + (1000 if 40 <= time < 50 else 0)) for time, value in flat]
    assert soaking.slope(flat) == soaking.slope(peak) == 0
    assert soaking.slope([(time, 3.0 * time) for time in range(1000)]) == 3
    assert soaking.growth([(time, 3.0 * time) for time in range(10, 21)]) == 30
    assert soaking.growth([]) == soaking.growth([(1, 5)]) == 0


def judged(*more: Sample) -> list[str]:
    return soaking.growing([*samples(), *samples("master", None), *more])


def test_processes_that_stay_as_they_are_pass():
    assert judged() == []


@pytest.mark.parametrize("role, measure, rate", [
    ("worker", "memory", 6000), ("master", "memory", 16000), ("worker", "descriptors", 0.05),
    ("master", "descriptors", 0.05), ("worker", "threads", 0.01)])
def test_a_process_that_takes_more_and_more_is_told(role, measure, rate):
    """Memory: what 60 bytes a handshake are, at 100 of them a second."""
    other = "master" if role == "worker" else "worker"
    found = soaking.growing([*samples(role, 0, **{measure: rate}), *samples(other, 0)])
    (sentence,) = found
    assert f"{measure} of {role} 7 grew by" in sentence


def test_what_grows_in_the_warm_up_alone_passes():
    grown = [Sample(one.server, one.role, one.pid, one.time, one.period,
                    one.values | {"memory": min(one.time, 20) * MIB}) for one in samples()]
    assert soaking.growing([*grown, *samples("master", None)]) == []


@pytest.mark.parametrize("seen", [
    samples("master", None), samples(), [*samples(seconds=40), *samples("master", None)],
    [*samples(period=None), *samples("master", None)]])
def test_too_little_seen_is_not_taken_for_well(seen):
    (sentence,) = soaking.growing(seen)
    assert "lived long enough to be judged" in sentence


def test_a_steady_period_is_judged_by_itself():
    """A worker that begins higher in the next one has not grown in either."""
    later = [Sample(one.server, one.role, one.pid, one.time + 240, 1,
                    one.values | {"memory": one.values["memory"] + 20 * MIB})
             for one in samples()]
    assert judged(*later) == []
    assert len(judged(*later, *(Sample(one.server, one.role, 8, one.time + 240, 1, one.values)
                                for one in samples(memory=10000)))) == 1


def test_objects_that_pile_up_in_the_tpm_are_told():
    def seen(*sessions: int):
        return [(60.0 * minute, {"transient": minute % 3, "saved-session": count})
                for minute, count in enumerate(sessions)]

    assert soaking.piling_up("direct", seen(8, 2, 10, 4, 8, 10, 2, 9, 2)) == []
    assert soaking.piling_up("direct", seen(2, 2, 3, 3, 4, 4, 5, 6, 6, 7)) == [
        "direct: saved-session handles in the TPM grew by 5, to 7"]


def test_an_object_that_was_left_and_one_that_is_gone_are_told():
    assert soaking.different("keys", ["0x81000001"], ["0x81000001"]) == []
    assert soaking.different("keys", ["0x81000001"], ["0x81000001", "0x81000100"]) == [
        "keys: 0x81000100 should not be there"]
    assert soaking.different("keys", ["0x81000001"], []) == ["keys: 0x81000001 is not there"]
