# SPDX-License-Identifier: Apache-2.0
"""What a process has many of is kept without its zeros (base/packed.h; tests/packed.c)."""

import subprocess


def test_what_is_packed_comes_back(build):
    done = subprocess.run([build / "tests" / "packed"], capture_output=True, text=True, timeout=60,
                          check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")
