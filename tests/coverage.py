# SPDX-License-Identifier: Apache-2.0
"""
Which lines of the rooms a run of tests has executed. tests/run --coverage calls `begin` before the
tests and `report` after them, with the build directory of the preset coverage.
"""

import argparse
import itertools
import json
import subprocess
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("base", "tcg", "tpm", "store", "attest", "proof", "export", "provider", "tools")
# The rooms that hold keys, or judge who may use them, of whose lines as many per cent are run.
HELD = ("tcg", "tpm", "store", "attest", "provider")
LEAST = 90
Lines = dict[Path, Counter]


def objects(build: Path) -> list[Path]:
    """What gcc noted of each object file of the rooms."""
    notes = sorted(build.glob("CMakeFiles/*.dir/**/*.gcno"))
    if not notes:
        sys.exit(f"tests/coverage.py: {build} is not built with the preset coverage")
    return notes


def begin(build: Path):
    """
    Makes an empty file for each object's counts, which every user may write: what tests run as another
    user adds to the same counts, and libgcov, which merges under a lock, takes an empty file as new.
    """
    for note in objects(build):
        counts = note.with_suffix(".gcda")
        counts.write_bytes(b"")
        counts.chmod(0o666)


def read(build: Path, note: Path) -> list[dict]:
    """gcov's view of the files that one object is made of. It fails, too, where no line was run."""
    done = subprocess.run(["gcov", "--json-format", "--stdout", note], cwd=build,
                          capture_output=True, text=True, check=False)
    if not done.stdout:
        sys.exit(f"tests/coverage.py: {note}: {done.stderr}")
    return [file for line in done.stdout.splitlines() for file in json.loads(line)["files"]]


def count(build: Path) -> Lines:
    """How often each line that is code was run, by file: in every program, added up."""
    counted = defaultdict(Counter)
    with ThreadPoolExecutor(2) as jobs:
        for file in itertools.chain(*jobs.map(lambda note: read(build, note), objects(build))):
            path = Path(file["file"])
            path = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            if path.parts[0] in ROOMS:
                for line in file["lines"]:
                    counted[path][line["line_number"]] += line["count"]
    return counted


def spans(numbers: list[int]) -> str:
    """Line numbers as a person reads them: 3, 7-9."""
    spelt = []
    for _, group in itertools.groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        spelt.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ", ".join(spelt)


def report(build: Path) -> int:
    """Prints what was run. 1 if it is too little."""
    counted = count(build)
    for path in sorted(counted):
        missed = [number for number, times in counted[path].items() if times == 0]
        if missed:
            print(f"{path}: {spans(missed)}")
    too_little = []
    print(f"\n{'room':<10}{'lines':>7}{'run':>7}")
    for room in ROOMS:
        times = [value for path, lines in counted.items() if path.parts[0] == room
                 for value in lines.values()]
        share = 100 * sum(map(bool, times)) / len(times)
        print(f"{room:<10}{len(times):>7}{share:>6.1f}%")
        if room in HELD and share < LEAST:
            too_little.append(room)
    if too_little:
        print(f"tests/run: less than {LEAST} % of the lines were run of {', '.join(too_little)}",
              file=sys.stderr)
    return 1 if too_little else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("begin", "report"))
    parser.add_argument("build", type=Path)
    options = parser.parse_args()
    sys.exit({"begin": begin, "report": report}[options.what](options.build.resolve()))


if __name__ == "__main__":
    main()
