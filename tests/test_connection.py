# SPDX-License-Identifier: Apache-2.0
"""The connection: programs that outlive their TPM or resource manager, and too many at once."""

import os
import shutil
import subprocess

import pytest

from tpm import wait_for


@pytest.mark.parametrize("key", ["ec-p256", "rsa-2048"])
def test_a_program_signs_again_after_its_tpm_was_restarted(make_user, make_tpm, prompted, key):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.lct("create", "k", "--algorithm", key)
    program = prompted(user, "k")
    for _ in range(3):
        program.sign()
        tpm.stop()
        tpm.start()
    program.sign()
    assert program.end() == ""
    assert tpm.left_behind() == []


def test_a_program_signs_on_when_its_key_was_flushed_by_another(owner, tpm, prompted):
    program = prompted(owner, "ec")
    program.sign()
    tpm.flush()
    program.sign()
    assert program.end() == ""


def test_an_object_in_the_place_of_a_lost_key_is_left_alone(owner, tpm, prompted):
    """Its handle is another program's now: it is neither used nor flushed."""
    program = prompted(owner, "ec")
    program.sign()
    tpm.flush()
    tpm.tool("tpm2_createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx")
    before = tpm.handles(0x80000000)
    program.sign()
    assert program.end() == ""
    assert tpm.handles(0x80000000) == before
    tpm.flush()


def test_more_programs_than_slots_take_turns(owner):
    """Each holds its key until it ends, which is soon: the others wait for a slot."""
    words = ["openssl", "dgst", "-sha256", "-sign", "lct:ec", "-out"]
    programs = [subprocess.Popen([*words, f"sig{i}", "data"], cwd=owner.directory,
                                 env=owner.environment(), stderr=subprocess.PIPE, text=True)
                for i in range(6)]
    for program in programs:
        assert (program.communicate()[1], program.returncode) == ("", 0)
    public = owner.public_key("lct:ec")
    for i in range(6):
        owner.verify(public, owner.path(f"sig{i}"), owner.path("data"))


class Broker:
    """tpm2-abrmd on a private bus."""

    def __init__(self, tpm):
        self.tpm = tpm
        self.bus = subprocess.Popen(["dbus-daemon", "--session", "--nofork", "--print-address=1"],
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.env = {"DBUS_SESSION_BUS_ADDRESS": self.bus.stdout.readline().strip()}
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["tpm2-abrmd", "--session", "--allow-root", f"--tcti={self.tpm.tcti}"],
            env=os.environ | self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.is_there, "tpm2-abrmd")

    def is_there(self) -> bool:
        done = subprocess.run(
            ["dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus",
             "/org/freedesktop/DBus", "org.freedesktop.DBus.NameHasOwner",
             "string:com.intel.tss2.Tabrmd"], env=os.environ | self.env, check=False,
            capture_output=True, text=True)
        return "boolean true" in done.stdout

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def end(self):
        self.stop()
        self.bus.terminate()
        self.bus.wait()


@pytest.fixture(name="brokered")
def fixture_brokered(make_user, make_tpm):
    """A user behind a resource manager, with the broker and what finds it."""
    if not (shutil.which("tpm2-abrmd") and shutil.which("dbus-daemon")):
        pytest.skip("tpm2-abrmd is not installed")
    tpm = make_tpm()
    broker = Broker(tpm)
    user = make_user("tabrmd:bus_type=session")
    yield user, broker
    broker.end()
    assert tpm.left_behind() == []


def test_behind_a_resource_manager_many_programs_keep_their_keys(brokered, prompted):
    user, broker = brokered
    for i in range(5):
        user.lct("create", f"k{i}", env=broker.env)
    programs = [prompted(user, f"k{i}", env=broker.env) for i in range(5)]
    for _ in range(3):
        for program in programs:
            program.sign()
    for program in programs:
        assert program.end() == ""


def test_a_program_signs_again_after_its_resource_manager_was_restarted(brokered, prompted):
    user, broker = brokered
    user.lct("create", "k", env=broker.env)
    program = prompted(user, "k", env=broker.env)
    program.sign()
    broker.stop()
    broker.start()
    program.sign()
    assert program.end() == ""
