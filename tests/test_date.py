# SPDX-License-Identifier: Apache-2.0
"""Times as texts and as seconds, without libc's lock (base/date.h; tests/date.c)."""

import calendar
import subprocess
from datetime import datetime, timedelta, timezone

import pytest

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
FIRST, LAST = -30610224000, 253402300799  # of the years from 1000 to 9999


@pytest.fixture(name="ask")
def fixture_ask(build):
    """What tests/date.c says of each line."""
    def ask(lines: list) -> list[str]:
        done = subprocess.run([build / "tests" / "date"], input="".join(f"{x}\n" for x in lines),
                              capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.splitlines()

    return ask


def text_of(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_each_day_from_1000_to_9999_is_libc_s(build):
    done = subprocess.run([build / "tests" / "date", "days"], capture_output=True, text=True,
                          timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n")


def test_each_month_from_1000_to_9999_is_python_s(ask):
    """Its first second and its last day, at a time of day that goes round."""
    times = []
    for month in range(12000, 120000):
        year, month_of_year = month // 12, month % 12 + 1
        begin = datetime(year, month_of_year, 1, tzinfo=timezone.utc)
        last = begin.replace(day=calendar.monthrange(year, month_of_year)[1])
        times += [begin, last + timedelta(seconds=month * 7919 % 86400)]
    seconds = [str((time - EPOCH) // timedelta(seconds=1)) for time in times]
    texts = [text_of(time) for time in times]
    assert ask(seconds) == texts and ask(texts) == seconds
    assert ask([FIRST, LAST]) == ["1000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
    assert ask([0, -1]) == ["1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z"]


def test_other_years_are_none(ask):
    assert ask([FIRST - 1, LAST + 1, 2**63 - 1, -2**63]) == ["none"] * 4
    assert ask(["0999-12-31T23:59:59Z", "0000-01-01T00:00:00Z"]) == ["formed"] * 2


@pytest.mark.parametrize("date", ["2023-02-29", "2024-02-30", "1900-02-29", "2100-02-29",
                                  "2026-04-31", "2026-06-31", "2026-09-31", "2026-11-31"])
def test_a_day_that_its_month_has_not_is_no_time(ask, date):
    assert ask([f"{date}T12:00:00Z"]) == ["formed"]


def test_a_second_that_leaps_is_no_time(ask):
    assert ask([f"2016-12-31T23:59:{second}Z" for second in (59, 60, 61, 62)]) == [
        "1483228799", "formed", "formed", "none"]


@pytest.mark.parametrize("text", [
    "", "Z", "2026-11-23T20:00:00", "2026-11-23T20:00:00Z ", " 2026-11-23T20:00:00Z",
    "2026-11-23T20:00:00z", "2026-11-23t20:00:00Z", "2026-11-23 20:00:00Z", "2026-11-2320:00:00ZZ",
    "2026-11-23T20:00:0 Z", "2026-11-23T20:00: 0Z", "2026-11-23T+1:00:00Z", "-026-11-23T20:00:00Z",
    "20261-11-23T20:00:0Z", "2026-11-23T20:00:00+00:00", "2026-11-23T20:00:00.0Z",
    "2026-00-23T20:00:00Z", "2026-13-23T20:00:00Z", "2026-11-00T20:00:00Z", "2026-11-32T20:00:00Z",
    "2026-11-23T24:00:00Z", "2026-11-23T20:60:00Z", "2026-11-23T20:00:0aZ", "2026-11-23T20:00:0/Z",
    "2026-11-23T20:00:0:Z"])
def test_what_has_not_the_form_is_none(ask, text):
    assert ask([text]) == ["none"]


@pytest.mark.parametrize("good", ["2024-02-29T23:59:59Z", "1000-01-01T00:00:00Z"])
def test_each_character_counts(ask, good):
    """Whatever is in its place, the text is a time if strptime(3) and the calendar say so."""
    lines = [good[:at] + other + good[at + 1:] for at in range(len(good))
             for other in map(chr, range(33, 127))]
    for line, answer in zip(lines, ask(lines), strict=True):
        try:
            time = datetime.strptime(line, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
        except ValueError:
            time = None
        if time is None or time.year < 1000 or text_of(time) != line:
            assert answer in ("none", "formed"), line
        else:
            assert answer == str((time - EPOCH) // timedelta(seconds=1)), line
