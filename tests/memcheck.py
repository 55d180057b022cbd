# SPDX-License-Identifier: Apache-2.0
"""
Runs tests with what is built, and openssl, under valgrind's memcheck. tests/run --valgrind calls
it, with pytest's arguments; its own are before them. What memcheck finds in any process, also in
those whose status no test looks at, is printed at the end, and fails.
"""

import argparse
import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOUND = 99
SLOWER = 20  # than usual, at most
# What each room does, in its C programs, in the command and in openssl, in short processes.
CHOSEN = [f"tests/test_{name}.py" for name in (
    "packed", "formats", "session_arithmetic", "policy_arithmetic", "eventlog", "sealing_files",
    "evp", "message", "decoding", "openssl", "command")]
# Keys are made until there is one of a kind that one in 256 is; each bit of structures is changed;
# a program goes on signing within 50 ms; no script is set-user-ID.
LEFT_OUT = ["tests/test_evp.py::test_a_point_with_a_short_coordinate_has_its_full_width",
            "tests/test_formats.py::test_public_areas_are_read_as_tpm2_tss_reads_them",
            "tests/test_evp.py::test_each_further_signature_is_one_command",
            "tests/test_command.py::test_the_environment_is_not_believed_by_a_program_with_raised_"
            "privileges"]
# It closes, counts and truncates whatever is open, which would be memcheck's own files too.
AS_IT_IS = "process"


def memcheck(logs: Path) -> str:
    """
    The start of a command, for a shell. What is reachable or perhaps lost at the end is no leak of
    ours. A process of the same number, later, has another log.
    """
    return shlex.join([
        "valgrind", "-q", f"--error-exitcode={FOUND}", "--num-callers=30",
        "--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite",
        "--keep-debuginfo=yes", "--fair-sched=yes",
        f"--log-file={logs}/%p-"]) + '"$(date +%s%N)"'


# With a library preloaded a program is run as it is: those count or fail what memcheck, too,
# replaces. And so is an openssl that is told of no module, which has not ours.
ALWAYS = '[ -n "$LD_PRELOAD" ]'
OPENSSL = f'{ALWAYS} || [ "${{OPENSSL_CONF-/dev/null}}$OPENSSL_MODULES" = /dev/null ]'


def wrap(program: Path | str, place: Path, logs: Path, unless: str = ALWAYS):
    """A script in a program's place, which runs it under memcheck unless that does not help."""
    name = shlex.quote(str(program))
    place.write_text(f"""#!/bin/sh
if {unless}; then exec {name} "$@"; fi
exec {memcheck(logs)} {name} "$@"
""")
    place.chmod(0o755)


def wrap_all(build: Path, place: Path, logs: Path):
    """A directory like the build directory, with scripts in the place of its programs."""
    place.mkdir()
    for entry in build.iterdir():
        if entry.name in ("tests", "bench"):
            wrap_all(entry, place / entry.name, logs)
        elif (entry.is_file() and os.access(entry, os.X_OK) and entry.suffix != ".so"
              and entry.name != AS_IT_IS):
            wrap(entry, place / entry.name, logs)
        else:
            (place / entry.name).symlink_to(entry)


def print_found(logs: Path) -> int:
    found = [log for log in sorted(logs.iterdir()) if log.stat().st_size > 0]
    for log in found:
        print(f"\n{log.read_text(errors='replace')}", end="")
    if found:
        print(f"tests/run: memcheck found something in {len(found)} processes", file=sys.stderr)
    return 1 if found else 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, required=True)
    options, arguments = parser.parse_known_args()
    named = any(argument.split("::")[0].endswith(".py") for argument in arguments)
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lct-memcheck-")))
        work.chmod(0o755)  # other users run programs, too, and write what is found
        logs, programs = work / "logs", work / "bin"
        for directory in (logs, programs):
            directory.mkdir()
        logs.chmod(0o1777)
        wrap_all((ROOT / options.build).resolve(), work / "memcheck", logs)
        wrap(shutil.which("openssl"), programs / "openssl", logs, OPENSSL)
        status = subprocess.run(
            ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rfEs",
             f"--timeout={900 * SLOWER}", f"--numprocesses={os.cpu_count()}", "--dist=loadfile",
             f"--build={work}/memcheck", *arguments, *([] if named else CHOSEN),
             *(f"--deselect={test}" for test in LEFT_OUT)],
            cwd=ROOT, check=False,
            env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}",
                              "LCT_TESTS_SLOWER": str(SLOWER)}).returncode
        return print_found(logs) or status


if __name__ == "__main__":
    sys.exit(main())
