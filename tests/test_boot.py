# SPDX-License-Identifier: Apache-2.0
"""
Keys that are sealed to what a machine really boots, with the kernel's own /dev/tpmrm0: boot.py. It
boots only with --boot, which tests/run --vm gives.
"""

import json
import re

import pytest

import boot
from test_command import one_sentence

SEALED, REFUSED = 20, 23
OTHER, FORESEEN = "audit=0", "audit=1"  # options of the kernel that make no difference to us
BOOT_LOADER, SECURE_BOOT = {8, 9}, {7}  # who measures what: the kernel's command line, and keys
COMMAND_LINE = "sha256:7,8,9"
APPROVE = ("approve", "--authority", "authority.pem", "--passphrase-file", "passphrase", "--pcrs")


def changed(before: dict[int, str], after: dict[int, str]) -> set[int]:
    return {pcr for pcr, value in before.items() if after[pcr] != value}


@pytest.fixture(scope="module", name="machine")
def fixture_machine(request, tmp_path_factory) -> boot.Owner:
    """
    The owner of a machine that has been booted twice: with a command line whose PCRs were written
    down, and then as usual, when identities were sealed and what was written down was approved.
    """
    if not request.config.getoption("--boot"):
        pytest.skip("a machine is booted by tests/run --vm")
    owner = boot.Owner(request.getfixturevalue("build"), tmp_path_factory.mktemp("boot"))
    owner.write("data")
    owner.write("passphrase", "correct horse battery staple\n").chmod(0o600)
    with owner.boot(FORESEEN):
        owner.write("foreseen.pcrs", owner.lct("pcrs", COMMAND_LINE).stdout)
    with owner.boot():
        owner.usual = owner.pcrs()
        owner.lct("authority", "init", "--passphrase-file", "passphrase", "--out", "authority.pem")
        owner.lct("create", "usual")
        owner.lct("create", "firmware", "--seal", "sha256:7")
        owner.lct("create", "loader", "--seal", COMMAND_LINE)
        owner.lct("create", "strict", "--seal", f"strict:{COMMAND_LINE}")
        owner.lct(*APPROVE, "foreseen.pcrs", "loader")
        for name in owner.in_store():
            owner.public_key(f"lct:{name}", f"{name}.pub.pem")
            signs(owner, name)
    return owner


def signs(owner: boot.Owner, name: str):
    """With the key that it has had from the beginning."""
    signature = owner.lct("sign", name, stdin=owner.path("data").read_bytes(), text=False).stdout
    owner.verify(owner.path(f"{name}.pub.pem"), owner.write("sig", signature), owner.path("data"))


def named(text: str) -> set[int]:
    return {int(pcr) for pcr in re.findall(r"\bPCR (\d+)\b", text)}


def examine(owner: boot.Owner, name: str, status: int = 0) -> str:
    """What the doctor says."""
    return owner.lct("doctor", name, status=status).stdout


def refuses(owner: boot.Owner, name: str, pcrs: set[int]):
    """Nothing is signed, and who asks is told of a PCR that has changed."""
    done = owner.lct("sign", name, stdin="what is signed\n", text=False, status=SEALED)
    assert done.stdout == b""
    sentence = one_sentence(done.stderr)
    assert sentence.startswith(f"lct:{name}: ")
    assert named(sentence) and named(sentence) <= pcrs, sentence
    owner.openssl("dgst", "-sha256", "-sign", f"lct:{name}", "-out", "refused.sig", "data",
                  status=1)


def test_another_command_line_of_the_kernel_stops_a_key_until_its_authority_approves(machine):
    with machine.boot(OTHER):
        assert BOOT_LOADER <= changed(machine.usual, machine.pcrs()) <= {*BOOT_LOADER, 10}
        signs(machine, "usual")
        signs(machine, "firmware")
        refuses(machine, "strict", BOOT_LOADER)
        refuses(machine, "loader", BOOT_LOADER)
        assert named(examine(machine, "loader", SEALED)) == BOOT_LOADER
        machine.lct(*APPROVE, "current", "loader")
        signs(machine, "loader")
        assert machine.openssl("pkey", "-in", "lct:loader", "-pubout").stdout == \
            machine.path("loader.pub.pem").read_text()
        refuses(machine, "strict", BOOT_LOADER)


def test_what_was_approved_before_the_command_line_changed_stops_no_key(machine):
    with machine.boot(FORESEEN):
        refuses(machine, "strict", BOOT_LOADER)
        signs(machine, "loader")


def answer(owner: boot.Owner, name: str) -> None:
    """Evidence of an identity, in a file, for a verifier who knows this TPM by its EK."""
    eks = json.loads(owner.lct("ek", "--json").stdout)["eks"]
    authority = json.loads(owner.lct("authority", "show", "--json").stdout)["fingerprint"]
    owner.write("trust.json", json.dumps({
        "version": 1, "ek_keys": [ek["sha256"] for ek in eks],
        "policies": {"pcrs": "sha256:7", "authorities": [authority]}}))
    owner.path("state").unlink(missing_ok=True)
    owner.write("offer", owner.lct("attest", "offer", name).stdout)
    owner.write("challenge", owner.lct("attest", "challenge", "--trust", "trust.json", "--state",
                                       "state", "offer").stdout)
    owner.write("evidence", owner.lct("attest", "respond", "challenge").stdout)


def judged(owner: boot.Owner, *options, status: int = 0) -> dict[str, dict[str, str]]:
    done = owner.lct("verify", "--trust", "trust.json", "--state", "state", "--json", *options,
                     "evidence", status=status)
    return json.loads(done.stdout)["claims"]


def test_what_a_machine_has_booted_is_proved_and_explained(machine):
    with machine.boot():
        machine.write("usual.pcrs", machine.lct("pcrs", "sha256:0,1,2,3,4,5,6,7,8,9").stdout)
        answer(machine, "loader")
        explained = machine.lct("attest", "show", "evidence").stdout
        for words in ("EV_EFI_VARIABLE_DRIVER_CONFIG", "SecureBoot", "EV_SEPARATOR", "EV_IPL"):
            assert words in explained
        claims = judged(machine, "--expect-pcrs", "usual.pcrs", "--require", "sealed")
        assert {name: claim["outcome"] for name, claim in claims.items()} == dict.fromkeys(
            claims, "pass")
        answer(machine, "loader")
        claims = judged(machine)
        assert claims["boot_state"]["outcome"] == "not_claimed"
        assert "event" in claims["boot_state"]["reason"]
    with machine.boot(OTHER):
        machine.lct(*APPROVE, "current", "loader")
        answer(machine, "loader")
        claims = judged(machine, "--expect-pcrs", "usual.pcrs", status=REFUSED)
        assert claims["boot_state"]["outcome"] == "fail"
        assert named(claims["boot_state"]["reason"]) <= BOOT_LOADER


def test_without_secure_boot_no_key_signs_and_with_it_again_all_do(machine):
    with machine.boot(secure=False):
        changes = changed(machine.usual, machine.pcrs())
        assert changes >= SECURE_BOOT
        for name in ("firmware", "loader", "strict"):
            refuses(machine, name, SECURE_BOOT)
        refuses(machine, "usual", changes)
        report = examine(machine, "loader", SEALED)
        assert "Secure Boot is off" in report and named(report) == SECURE_BOOT
    with machine.boot():
        assert "Secure Boot is on" in examine(machine, "loader")
        assert machine.pcrs() == machine.usual
        for name in machine.in_store():
            signs(machine, name)
