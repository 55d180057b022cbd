# SPDX-License-Identifier: Apache-2.0
"""
What bench/ measures behind, bench/tpmrm.c: held to what is asked of the device and of its stand-in
here (the functions of test_device.py, run with it), and to what only it does.
"""

import contextlib
import errno
import os
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

import tpm as tpms
# pylint: disable=unused-import
from test_device import (  # noqa: F401
    GET_RANDOM, NEEDS_ROOT, create_primary, fixture_holder, handle_of,
    test_a_descriptor_outlives_chroot_and_the_loss_of_rights,
    test_a_handle_of_another_space_is_refused, test_a_key_is_made_and_signs_through_the_device,
    test_a_killed_program_leaves_nothing, test_a_space_holds_three_objects,
    test_each_open_file_sees_its_own_objects_alone, test_more_programs_than_slots_keep_their_keys,
    test_sessions_of_many_spaces_fit_and_end_with_them, test_what_is_no_command_is_refused)
# pylint: enable=unused-import
from tpm import Command
from tpmrm import Opened

pytestmark = NEEDS_ROOT
TABLE = "# a comment\nGetRandom 200\n* 20\n"


class Quick:
    """The stand-in in front of a TPM. It has the TPM's connection: ask the TPM after stop()."""

    def __init__(self, program: Path, directory: Path, tpm: tpms.Swtpm, *options):
        directory.mkdir()
        self.tpm, self.directory = tpm, directory
        self.path = directory / "tpmrm0"
        self.counts = directory.with_suffix(".counts")
        self.process = subprocess.Popen(
            [program, "--count", self.counts, *options, tpm.path, directory],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n", self.process.communicate()[1]

    @property
    def tcti(self) -> str:
        return f"device:{self.path}"

    def counted(self) -> list[str]:
        """What was counted since this was asked last."""
        counted = self.counts.read_text().split()
        self.counts.write_text("")
        return counted

    def left_behind(self) -> list[str]:
        """What is in the TPM while no file is open, seen by the device that does not swap."""
        with Opened(self.directory / "tpm0") as raw:
            return [hex(handle) for first in (0x80000000, 0x02000000, 0x03000000)
                    for handle in raw.handles(first)]

    def stop(self):
        if self.process.poll() is None:
            self.process.communicate(timeout=tpms.TIMEOUT)
        assert self.process.returncode == 0


@pytest.fixture(name="make_quick")
def fixture_make_quick(build, tmp_path, make_tpm):
    if not Path("/dev/fuse").exists():
        pytest.skip("there is no FUSE here")
    made = []

    def make(*options) -> Quick:
        made.append(Quick(build / "bench/tpmrm", tmp_path / f"quick{len(made)}", make_tpm(),
                          *options))
        return made[-1]

    yield make
    for quick in made:
        quick.stop()
        assert quick.tpm.left_behind() == []
        assert not quick.path.exists()


@pytest.fixture(name="device")
def fixture_device(make_quick) -> Quick:
    return make_quick()


def test_swaps_are_counted_beside_commands(device):
    with Opened(device.path) as opened:
        device.counts.write_text("")
        handle_of(create_primary(opened))
        assert device.counted() == ["CreatePrimary", "+ContextSave", "+FlushContext"]
        opened.write(GET_RANDOM)
        opened.read()
        assert device.counted() == ["+ContextLoad", "GetRandom", "+ContextSave", "+FlushContext"]


def test_what_stays_loaded_costs_nothing_more_and_ends_with_its_file(make_quick):
    quick = make_quick("--no-swap")
    with Opened(quick.path) as opened:
        handle_of(create_primary(opened))
        opened.ask(Command.FlushContext, struct.pack(">I", handle_of(create_primary(opened))))
        opened.write(GET_RANDOM)
        opened.read()
        assert quick.counted() == ["CreatePrimary", "CreatePrimary", "FlushContext", "GetRandom"]
    tpms.wait_for(lambda: quick.counts.read_text() != "", "the file to end")
    assert quick.counted() == ["-FlushContext"]
    assert quick.left_behind() == []


def test_the_bare_device_is_for_one_at_a_time(device):
    with Opened(device.directory / "tpm0") as raw:
        handle = handle_of(create_primary(raw))
        assert handle >> 24 == 0x80 and handle < 0x80FFFF00, "the TPM's own"
        with pytest.raises(OSError) as caught:
            Opened(device.directory / "tpm0")
        assert caught.value.errno == errno.EBUSY
        raw.ask(Command.FlushContext, struct.pack(">I", handle))


@pytest.mark.parametrize("flags", [0, os.O_NONBLOCK])
def test_a_response_is_read_in_parts_and_before_the_next_command(device, flags):
    with Opened(device.path, flags) as opened:
        opened.write(GET_RANDOM)
        with pytest.raises(OSError) as caught:
            opened.write(GET_RANDOM)
        assert caught.value.errno == errno.EBUSY
        answer = opened.read(10)
        answer += opened.read()
        assert len(answer) == struct.unpack_from(">I", answer, 2)[0] == 20
        assert opened.read() == b""
        opened.write(GET_RANDOM)
        assert len(opened.read()) == 20


def test_commands_take_as_long_as_the_table_says(make_quick, tmp_path):
    table = tmp_path / "table"
    table.write_text(TABLE)
    quick = make_quick("--delay", table)
    with Opened(quick.path) as opened:
        start = time.monotonic()
        opened.write(GET_RANDOM)
        assert time.monotonic() - start >= 0.2
        opened.read()
        start = time.monotonic()
        handle_of(create_primary(opened))
        assert time.monotonic() - start >= 0.06, "the command, and two to swap"


@pytest.mark.parametrize("line", ["Sign", "Sgin 5", "Sign fast", "Sign -1"])
def test_a_table_that_says_nothing_is_refused(build, tmp_path, line):
    table = tmp_path / "table"
    table.write_text(f"{line} \n")
    done = subprocess.run([build / "bench/tpmrm", "--delay", table, "none", tmp_path],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"tpmrm: {line.split()[0]}: ")


def test_it_leaves_nothing_when_it_is_told_to_end_in_the_middle(device):
    opened = Opened(device.path)
    handle_of(create_primary(opened))
    device.process.send_signal(signal.SIGTERM)
    assert device.process.wait(tpms.TIMEOUT) == 0
    with pytest.raises(OSError):
        opened.write(GET_RANDOM)
    with contextlib.suppress(OSError):  # closing says, too, that it is gone
        os.close(opened.descriptor)
