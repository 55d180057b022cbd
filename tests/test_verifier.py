# SPDX-License-Identifier: Apache-2.0
"""What a verifier believes of evidence, and what becomes of its challenge."""

import copy
import fcntl
import hashlib
import json
import os
import random
import re
import signal
import stat
import struct
import subprocess
import time
from pathlib import Path

import pytest

from attesting import canonical, outcomes, to_bytes, to_text
from forger import (BOUND, DECRYPT, KEY, NULL, RESTRICTED, RSASSA, SHA1, SHA256, SIGN, USER, Forger,
                    name_of, pcrs_json, sized)
from prover import NULL_HIERARCHY, OWNER, PLATFORM, Prover, below, extra, handle, mac
from sealing import (authority_public, fingerprint, openssl, policy_authorize, policy_of_seal,
                     software_key)
from x509 import Authority, Key, pem

USAGE, CONFIG, UNSUPPORTED, IO, MALFORMED, REFUSED, UNBOUND = 2, 8, 15, 18, 22, 23, 24
ENOUGH = 50  # more steps than any command takes
HARDWARE = ("key_resident", "non_extractable", "key_fit")
IN_AK_MODE = ("signed", "ak_fit", "ak_bound", "ek_genuine", "fresh", *HARDWARE, "key_usable_now")


class Verifier:
    """A directory with a trust file and states, and the program that judges."""

    def __init__(self, user, program: str = "lct-verify"):
        self.user = user
        self.program = program
        self.count = 0

    def command(self, part: str) -> list:
        """`part`: verify, challenge, issue."""
        program = self.user.build / self.program
        if self.program == "lct-verify":
            return [program] if part == "verify" else [program, part]
        return [program, "verify"] if part == "verify" else [program, "attest", part]

    def run(self, part: str, *arguments, status: int = 0, **options):
        return self.user.run(*self.command(part), *arguments, status=status, **options)

    def write(self, document: dict | bytes | str) -> Path:
        self.count += 1
        if isinstance(document, dict):
            document = json.dumps(document)
        return self.user.write(f"{self.count}.json", document)

    def trust(self, *roots: Authority, **members) -> Path:
        if roots:
            self.user.write("roots.pem", b"".join(pem(root.certificate) for root in roots))
            members = {"ek_roots": ["roots.pem"]} | members
        return self.user.write("trust.json", json.dumps({"version": 1} | members))

    def challenge(self, offer: dict, *arguments, state: str = "state.json", status: int = 0,
                  pcrs: str | None = "sha256:0,7") -> dict | str:
        """What the verifier asks; what it says, if it refuses."""
        if pcrs is not None:
            arguments = (*arguments, "--pcrs", pcrs)
        self.user.path(state).unlink(missing_ok=True)
        done = self.run("challenge", "--trust", "trust.json", "--state", state, *arguments,
                        self.write(offer), status=status)
        if status:
            assert not done.stdout and not self.user.path(state).exists()
        return json.loads(done.stdout) if status == 0 else done.stderr

    def state(self, name: str = "state.json") -> dict:
        return json.loads(self.user.path(name).read_text())

    def verify(self, evidence: dict | bytes, *arguments, status: int = 0,
               state: str | None = "state.json"):
        own = ("--trust", "trust.json", "--state", state) if state else ()
        return self.run("verify", *own, *arguments, self.write(evidence), status=status)

    def claims(self, evidence: dict, *arguments, status: int = 0, **options) -> dict:
        done = self.verify(evidence, "--json", *arguments, status=status, **options)
        return outcomes(done.stdout, status)

    def fails(self, claim: str, reason: str, evidence: dict, *arguments, **options) -> dict:
        """That one claim fails, for this reason, and nothing hardware is believed without it."""
        done = self.verify(evidence, "--json", *arguments, status=REFUSED, **options)
        claims = json.loads(done.stdout)["claims"]
        failed = [name for name, found in claims.items() if found["outcome"] == "fail"]
        assert failed == [claim], claims
        assert reason in claims[claim]["reason"], claims[claim]["reason"]
        assert f"{claim}: {claims[claim]['reason']}" in done.stderr
        if claim in ("signed", "ak_fit", "ak_bound", "ek_genuine", "fresh"):
            assert not [name for name in HARDWARE if claims[name]["outcome"] == "pass"]
        return {name: found["outcome"] for name, found in claims.items()}


@pytest.fixture(name="verifier", params=["lct-verify"])
def fixture_verifier(request, build, make_user) -> Verifier:
    if not (build / request.param).exists():
        pytest.skip(f"this build has no {request.param}")
    return Verifier(make_user("none"), request.param)


@pytest.fixture(scope="module", name="makers")
def fixture_makers(tmp_path_factory) -> dict:
    """Provers with an EK of each kind; a test gets a copy of one."""
    directory = tmp_path_factory.mktemp("provers")
    return {kind: Prover(directory / kind, kind) for kind in ("rsa", "p256", "p384")}


@pytest.fixture(name="prover")
def fixture_prover(makers, verifier) -> Prover:
    prover = copy.deepcopy(makers["p256"])
    verifier.trust(prover.root)
    return prover


@pytest.fixture(name="other")
def fixture_other(makers) -> Prover:
    """With another TPM, of the same maker's kind but another maker."""
    return copy.deepcopy(makers["rsa"])


# What holds


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
def test_evidence_that_answers_the_challenge_holds(verifier, makers, kind):
    prover = makers[kind]
    verifier.trust(prover.root)
    challenge = verifier.challenge(prover.offer())
    evidence = prover.respond(challenge)
    claims = verifier.claims(evidence)
    assert claims == {name: "pass" if name in IN_AK_MODE else "not_claimed" for name in claims}


@pytest.mark.parametrize("kind", ["rsa", "p384"])
def test_a_key_is_proved_directly_without_an_ak(verifier, makers, kind):
    prover = makers[kind]
    verifier.trust(prover.root)
    challenge = verifier.challenge(prover.offer(), "--mode", "direct", pcrs=None)
    assert challenge["mode"] == "direct" and challenge["pcrs"] is None
    claims = verifier.claims(prover.respond(challenge))
    passed = ("ek_genuine", "fresh", *HARDWARE, "key_usable_now")
    assert claims == {name: "pass" if name in passed else "not_claimed" for name in claims}


def test_a_quote_is_asked_for_unless_it_is_not_wanted(verifier, prover):
    challenge = verifier.challenge(prover.offer(), pcrs=None)
    assert challenge["pcrs"] == "sha256:0,1,2,3,4,5,6,7,8,9,11,12,13,14,15"
    verifier.claims(prover.respond(challenge))
    challenge = verifier.challenge(prover.offer(), pcrs="none")
    assert challenge["pcrs"] is None
    verifier.claims(prover.respond(challenge))


def test_the_verdict_says_what_it_is_about(verifier, prover):
    challenge = verifier.challenge(prover.offer(id="bob@example.org", generation=3))
    evidence = prover.respond(challenge)
    public = openssl("pkey", "-in", prover.key.key, "-pubout")
    der = openssl("pkey", "-pubin", "-outform", "DER", stdin=public)
    digest = openssl("dgst", "-sha256", "-r", stdin=der).decode().split()[0]
    ek = openssl("dgst", "-sha256", "-r", stdin=prover.ek.spki).decode().split()[0]
    verdict = json.loads(verifier.verify(evidence, "--json").stdout)
    assert verdict["attested"]["certify"]["name"] == name_of(prover.key_public()).hex()
    assert verdict["attested"]["quote"]["values"]["sha256"]["7"] == prover.pcrs[7].hex()
    expected = {"version": 1, "holds": True, "kind": "evidence", "id": "bob@example.org",
                "generation": 3, "challenge": challenge["challenge"],
                "created": challenge["created"],
                "key": {"algorithm": "ec-p256", "name": name_of(prover.key_public()).hex(),
                        "sha256": digest, "public_key": public.decode()},
                "ek": {"sha256": ek}, "ak": {"name": name_of(prover.ak.public()).hex()}}
    assert {name: verdict[name] for name in expected} == expected
    challenge = verifier.challenge(prover.offer())
    shown = verifier.verify(prover.respond(challenge)).stdout.splitlines()
    assert shown[0] == "key          lct:alice generation 1"
    assert shown[1:3] == ["algorithm    ec-p256", f"SHA-256      {digest}"]
    assert shown[3] == f"challenge    {challenge['challenge']}, made {challenge['created']}"
    assert len(shown) == 4 + 11 and shown[4].startswith("pass         signed ")


def test_values_that_are_expected_have_to_be_there(verifier, prover):
    def file(**values):
        return verifier.write(pcrs_json("sha256:" + ",".join(name[1:] for name in values), {
            "sha256": {name[1:]: value.hex() for name, value in values.items()}}))

    challenge = verifier.challenge(prover.offer())
    evidence = prover.respond(challenge)
    right = file(p7=prover.pcrs[7])
    assert verifier.claims(evidence, "--expect-pcrs", right)["boot_state"] == "pass"
    for wrong, reason in ((file(p0=prover.pcrs[0], p7=bytes(32)), "PCR 7"),
                          (file(p7=prover.pcrs[7], p8=prover.pcrs[8]), "not all of them")):
        challenge = verifier.challenge(prover.offer())
        verifier.fails("boot_state", reason, prover.respond(challenge), "--expect-pcrs", wrong)
    challenge = verifier.challenge(prover.offer(), pcrs="none")
    done = verifier.verify(prover.respond(challenge), "--expect-pcrs", right, status=REFUSED)
    assert "boot_state is not claimed" in done.stderr


def test_claims_can_be_required(verifier, prover):
    evidence = prover.respond(verifier.challenge(prover.offer()))
    done = verifier.verify(evidence, "--require", "fresh,sealed", status=REFUSED)
    assert "sealed is not claimed" in done.stderr
    evidence = prover.respond(verifier.challenge(prover.offer()))
    verifier.verify(evidence, "--require", "key_resident,fresh")
    for wrong in ("", "sealed,", "Sealed", "sealed boot_state"):
        done = verifier.verify(evidence, "--require", wrong, status=USAGE)
        assert "key_usable_now" in done.stderr, "the claims that there are"


def test_it_can_be_asked_of_which_key_it_is(verifier, prover, other):
    """In every form that a key is known in."""
    public = openssl("pkey", "-in", prover.key.key, "-pubout")
    certificate = openssl("req", "-x509", "-key", prover.key.key, "-subj", "/CN=key")
    for form in (public, certificate, sized(prover.key_public())):
        evidence = prover.respond(verifier.challenge(prover.offer()))
        verifier.claims(evidence, "--key", verifier.write(form))
    evidence = prover.respond(verifier.challenge(prover.offer()))
    theirs = verifier.write(openssl("pkey", "-in", other.key.key, "-pubout"))
    verifier.fails("key_resident", "another key", evidence, "--key", theirs)
    evidence = prover.respond(verifier.challenge(prover.offer()))
    verifier.verify(evidence, "--key", verifier.write("no key"), status=MALFORMED)
    assert not verifier.state()["used"]


def test_lct_and_lct_verify_judge_alike(verifier, prover):
    lct = Verifier(verifier.user, "lct")
    lct.count = 1000
    challenge = lct.challenge(prover.offer())
    kept = verifier.user.path("state.json").read_bytes()
    evidence = prover.respond(challenge)
    one = lct.verify(evidence).stdout
    verifier.user.path("state.json").write_bytes(kept)
    assert verifier.verify(evidence).stdout == one


# The challenge and its state


def test_the_state_is_the_verifier_s_alone_whatever_the_umask(verifier, prover):
    for umask in (0, 0o777):
        verifier.challenge(prover.offer())
        verifier.user.path("state.json").unlink()
        verifier.user.run("sh", "-c", f'umask {umask:o}; exec "$@"', "sh",
                          *verifier.command("challenge"), "--trust", "trust.json", "--state",
                          "state.json", verifier.write(prover.offer()))
        assert stat.S_IMODE(verifier.user.path("state.json").stat().st_mode) == 0o600
        assert len(bytes.fromhex(verifier.state()["secret"])) == 32


def test_a_state_that_is_there_is_not_replaced(verifier, prover):
    path = verifier.user.write("state.json", "precious")
    offer = verifier.write(prover.offer())
    arguments = ("--trust", "trust.json", "--state", "state.json", offer)
    done = verifier.run("challenge", *arguments, status=IO)
    assert "is there already" in done.stderr and not done.stdout
    assert path.read_text() == "precious"
    path.unlink()
    path.symlink_to(verifier.user.path("elsewhere"))
    verifier.run("challenge", *arguments, status=IO)
    assert not verifier.user.path("elsewhere").exists()
    verifier.run("challenge", *arguments[:3], "missing/state.json", offer, status=IO)


def test_a_challenge_that_cannot_be_printed_leaves_no_state(verifier, prover):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*verifier.command("challenge"), "--trust", "trust.json", "--state",
                               "state.json", verifier.write(prover.offer())], stdout=full,
                              stderr=subprocess.PIPE, cwd=verifier.user.directory, check=False)
    assert done.returncode == IO and b"standard output" in done.stderr
    assert not verifier.user.path("state.json").exists()


def test_a_challenge_is_good_for_one_judgement(verifier, prover):
    evidence = prover.respond(verifier.challenge(prover.offer()))
    assert not verifier.state()["used"]
    verifier.claims(evidence)
    assert verifier.state()["used"] and verifier.state()["secret"] is None
    assert stat.S_IMODE(verifier.user.path("state.json").stat().st_mode) == 0o600
    assert "used already" in verifier.verify(evidence, status=REFUSED).stderr
    assert [path for path in verifier.user.directory.iterdir()
            if path.name.startswith("state.json")] == [verifier.user.path("state.json")]


def test_evidence_that_fails_uses_the_challenge_up(verifier, prover):
    challenge = verifier.challenge(prover.offer())
    verifier.fails("ak_bound", "secret", prover.respond(challenge, activation="00" * 32))
    assert verifier.state()["used"] and verifier.state()["secret"] is None
    done = verifier.verify(prover.respond(challenge), status=REFUSED)
    assert "used already" in done.stderr


def test_the_secret_is_in_no_other_file_and_no_output(verifier, prover):
    challenge = verifier.challenge(prover.offer())
    secret = verifier.state()["secret"]
    assert secret not in json.dumps(challenge)
    assert prover.activate(challenge, name_of(prover.ak.public())).hex() == secret
    done = verifier.verify(prover.respond(challenge, activation="00" * 32), "--json",
                           status=REFUSED)
    assert secret not in done.stdout + done.stderr
    assert mac(bytes.fromhex(secret), challenge) not in done.stdout + done.stderr, \
        "nor the answer that was expected"


def test_malformed_evidence_leaves_the_challenge_as_it_is(verifier, prover):
    challenge = verifier.challenge(prover.offer())
    right = prover.respond(challenge)
    attest = to_bytes(right["certify"]["attest"])
    torn = dict(right, certify=prover.attested(attest[:-1]))
    for wrong in (b"", b"{", json.dumps(right).encode()[:-1], torn, dict(right, version=2),
                  dict(right, more=1)):
        status = UNSUPPORTED if wrong == dict(right, version=2) else MALFORMED
        before = verifier.user.path("state.json").read_bytes()
        verifier.verify(wrong, status=status)
        assert verifier.user.path("state.json").read_bytes() == before
    verifier.claims(right)


def test_an_answer_to_another_challenge_leaves_this_one_as_it_is(verifier, prover):
    first = verifier.challenge(prover.offer(), state="first.json")
    second = verifier.challenge(prover.offer())
    done = verifier.verify(prover.respond(first), status=REFUSED)
    assert first["challenge"] in done.stderr and second["challenge"] in done.stderr
    assert not verifier.state()["used"]
    verifier.claims(prover.respond(second))


def test_a_state_that_others_can_open_is_refused(verifier, prover):
    evidence = prover.respond(verifier.challenge(prover.offer()))
    path = verifier.user.path("state.json")
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        assert "others" in verifier.verify(evidence, status=IO).stderr
    path.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
        assert "others" in verifier.verify(evidence, status=IO).stderr
        os.chown(path, 0, -1)
    path.rename(verifier.user.path("real.json"))
    path.symlink_to("real.json")
    assert "link" in verifier.verify(evidence, status=IO).stderr
    path.unlink()
    os.mkfifo(path, 0o600)
    assert "is no file" in verifier.verify(evidence, status=IO).stderr
    path.unlink()
    verifier.verify(evidence, status=IO)
    verifier.verify(evidence, state="real.json")


def test_a_state_that_is_not_one_is_refused(verifier, prover):
    challenge = verifier.challenge(prover.offer())
    evidence, state = prover.respond(challenge), verifier.state()
    path = verifier.user.path("state.json")
    for wrong in (challenge, dict(state, secret="00" * 31), dict(state, secret=None),
                  dict(state, version=2), dict(state, more=1), dict(state, used=0)):
        path.write_text(json.dumps(wrong))
        status = UNSUPPORTED if wrong.get("version") == 2 else MALFORMED
        assert "state.json" in verifier.verify(evidence, status=status).stderr
    for text in ("", "x" * (3 << 20)):
        path.write_text(text)
        verifier.verify(evidence, status=IO if text else MALFORMED)


def test_a_state_that_is_locked_is_not_waited_for_without_end(verifier, prover):
    evidence = prover.respond(verifier.challenge(prover.offer()))
    with open(verifier.user.path("state.json"), "rb") as state:
        fcntl.flock(state, fcntl.LOCK_SH)
        assert "state.json is locked by another program for 10 s; lslocks shows which" in \
            verifier.verify(evidence, status=IO).stderr
        os.chmod(state.fileno(), 0o644)
        begun = time.monotonic()
        assert "others" in verifier.verify(evidence, status=IO).stderr
        assert time.monotonic() - begun < 5
        os.chmod(state.fileno(), 0o600)
    verifier.verify(evidence)


def test_of_verifiers_at_once_one_gets_a_verdict(verifier, prover):
    for _ in range(4):
        evidence = verifier.write(prover.respond(verifier.challenge(prover.offer())))
        command = [*verifier.command("verify"), "--trust", "trust.json", "--state", "state.json",
                   evidence]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                    cwd=verifier.user.directory, env=verifier.user.environment())
                   for _ in range(6)]
        ended = [(process.communicate(), process.returncode) for process in running]
        assert sorted(status for _, status in ended) == [0] + [REFUSED] * 5
        for (out, err), status in ended:
            assert status == 0 or (not out and b"used already" in err)


def test_there_is_no_verdict_if_the_state_cannot_be_used_up(verifier, prover):
    """Where nobody may write a file of more than a few bytes."""
    evidence = verifier.write(prover.respond(verifier.challenge(prover.offer())))
    done = verifier.user.run("sh", "-c", 'ulimit -f 0; trap "" XFSZ; exec "$@" | cat', "sh",
                             *verifier.command("verify"), "--trust", "trust.json", "--state",
                             "state.json", evidence, status=None)
    assert "cannot be written" in done.stderr and not done.stdout
    assert not verifier.state()["used"]
    assert sorted(path.name for path in verifier.user.directory.glob("state*")) == ["state.json"]


def failing(verifier, part: str, *arguments, step: int, action: str):
    """Runs the command with the file system below states/ failing at a step."""
    below = verifier.user.path("states")
    return verifier.run(part, "--trust", "trust.json", "--state", below / "state.json", *arguments,
                        status=None, preload=[verifier.user.build / "tests" / "preload_fs.so"],
                        env={"LCT_FS_BELOW": str(below), "LCT_FS_STEP": str(step),
                             "LCT_FS_ACTION": action})


def test_states_are_on_disk_before_anything_is_shown(verifier, prover):
    """The file, and then the directory that it is in."""
    states, log = verifier.user.path("states"), verifier.user.path("steps")
    states.mkdir()
    own = ("--trust", "trust.json", "--state", states / "state.json")
    steps = {"preload": [verifier.user.build / "tests" / "preload_fs.so"],
             "env": {"LCT_FS_BELOW": str(states), "LCT_FS_LOG": str(log)}}
    done = verifier.run("challenge", *own, verifier.write(prover.offer()), **steps)
    made = log.read_text().split()
    assert made.index("write") < made.index("fsync") and made.count("fsync") == 2
    log.unlink()
    evidence = verifier.write(prover.respond(json.loads(done.stdout)))
    verifier.run("verify", *own, evidence, **steps)
    used = log.read_text().split()
    assert used.index("write") < used.index("fsync") < used.index("rename")
    assert "fsync" in used[used.index("rename"):]


@pytest.mark.parametrize("action", ["kill", "ENOSPC", "EIO+"])
def test_a_judgement_that_ends_at_any_step_leaves_the_state_used_or_as_it_was(verifier, prover,
                                                                              action):
    states = verifier.user.path("states")
    states.mkdir()
    path, ended = states / "state.json", set()
    evidence = verifier.write(prover.respond(verifier.challenge(prover.offer(),
                                                                state="states/state.json")))
    fresh = path.read_bytes()
    for step in range(1, ENOUGH):
        path.write_bytes(fresh)
        done = failing(verifier, "verify", evidence, step=step, action=action)
        if path.read_bytes() != fresh:
            assert json.loads(path.read_text())["used"]
            assert json.loads(path.read_text())["secret"] is None
        else:
            assert not done.stdout, "no verdict before the state is used up"
        secret = json.loads(fresh)["secret"].encode()
        assert not [file for file in states.iterdir()
                    if file != path and secret in file.read_bytes()]
        if done.returncode == 0:
            break
        assert done.returncode == (-signal.SIGKILL if action == "kill" else IO)
        assert not done.stdout
        ended.add(path.read_bytes() == fresh)
    assert step > 4 and True in ended, "some of it was before the state was used up"
    assert [file.name for file in states.iterdir()] == ["state.json"], "what a crash left is gone"


@pytest.mark.parametrize("action", ["kill", "ENOSPC"])
def test_a_challenge_is_not_shown_before_its_state_is_on_disk(verifier, prover, action):
    states = verifier.user.path("states")
    states.mkdir()
    offer = verifier.write(prover.offer())
    for step in range(1, ENOUGH):
        (states / "state.json").unlink(missing_ok=True)
        done = failing(verifier, "challenge", offer, step=step, action=action)
        if done.returncode == 0:
            break
        assert done.returncode == (-signal.SIGKILL if action == "kill" else IO)
        assert not done.stdout
        assert action == "kill" or not list(states.iterdir())
    assert step > 4
    assert json.loads(done.stdout) == json.loads((states / "state.json").read_text())["challenge"]


def test_an_expired_challenge_is_not_answered_any_more(verifier, prover):
    challenge = verifier.challenge(prover.offer(), "--lifetime", "1")
    verifier.fails("fresh", "expired", prover.respond(challenge), "--time", "2099-01-01T00:00:00Z")
    challenge = verifier.challenge(prover.offer(), "--lifetime", "604800")
    verifier.claims(prover.respond(challenge))
    for wrong in ("0", "604801", "-1", "", "5m", " 5", "99999999999999999999"):
        verifier.challenge(prover.offer(), "--lifetime", wrong, status=USAGE)


# Whom a challenge is for


def test_a_challenge_is_made_for_an_ek_that_is_trusted_alone(verifier, prover, other):
    verifier.trust(other.root)
    assert "no EK in the offer is trusted" in verifier.challenge(prover.offer(), status=REFUSED)
    verifier.challenge(prover.offer(eks=[]), status=REFUSED)
    both = prover.offer(eks=prover.offer()["eks"] + other.offer()["eks"])
    challenge = verifier.challenge(both)
    assert challenge["ek"] == name_of(other.ek_public()).hex()


def test_an_ek_of_another_template_is_refused(verifier, prover):
    for changes in ({"attributes": 0x300B2 & ~RESTRICTED}, {"attributes": 0x300B2 & ~2},
                    {"attributes": 0x300B2 | SIGN}, {"attributes": 0x300B2 & ~DECRYPT}):
        prover.changes = changes
        verifier.challenge(prover.offer(), status=REFUSED)


def test_a_certificate_is_of_this_ek(verifier, prover, other):
    """CVE-2021-3406 of keylime: EK, certificate and AK that were not linked."""
    (ek,), (theirs,) = prover.offer()["eks"], other.offer()["eks"]
    verifier.trust(prover.root, other.root)
    mixed = {"public": ek["public"], "certificate": theirs["certificate"]}
    verifier.challenge(prover.offer(eks=[mixed]), status=REFUSED)
    verifier.challenge(prover.offer(eks=[dict(ek, certificate=None)]), status=REFUSED)


def test_an_ek_can_be_trusted_by_its_key(verifier, prover):
    digest = openssl("dgst", "-sha256", "-r", stdin=prover.ek.spki).decode().split()[0]
    verifier.trust(ek_keys=[digest])
    bare = [dict(prover.offer()["eks"][0], certificate=None)]
    verifier.claims(prover.respond(verifier.challenge(prover.offer(eks=bare))))


def test_what_is_not_trusted_any_more_fails(verifier, prover, other):
    challenge = verifier.challenge(prover.offer())
    verifier.trust(other.root)
    verifier.fails("ek_genuine", "", prover.respond(challenge))


def test_mistakes_on_the_command_line_are_said(verifier, prover):
    offer = verifier.write(prover.offer())
    trust, state = ("--trust", "trust.json"), ("--state", "state.json")
    for wrong in ((*trust, offer), (*state, offer), (*trust, *state),
                  (*trust, *state, offer, offer),
                  (*trust, "--state", "-", offer), (*trust, "--state", "", offer),
                  (*trust, *state, "--mode", "both", offer),
                  (*trust, *state, "--pcrs", "sha256:", offer),
                  (*trust, *state, "--pcrs", "sha256:24", offer),
                  (*trust, *state, "--mode", "direct", "--pcrs", "sha256:7", offer)):
        verifier.run("challenge", *wrong, status=USAGE)
        assert not verifier.user.path("state.json").exists()
    verifier.run("challenge", "--trust", "missing", *state, offer, status=CONFIG)
    verifier.run("challenge", *trust, *state, "missing", status=IO)
    verifier.run("challenge", *trust, *state, "-", stdin=json.dumps(prover.offer()))
    for wrong in ((), (*trust, *state), (*state, offer), (*trust, *state, "--offline", offer),
                  ("--ak", offer, offer), ("--nonce", "00", offer), (offer, offer),
                  ("--raw-quote", offer, offer), ("--key", "-", "-")):
        verifier.run("verify", *wrong, status=USAGE)


def test_lct_verify_has_the_verifier_s_parts_by_their_names(verifier, prover):
    """A file of such a name is given as ./show."""
    program, write = verifier.user.build / "lct-verify", verifier.user.write
    for part, word in (("challenge", "OFFER"), ("issue", "EVIDENCE"), ("show", "FILE")):
        shown = verifier.user.run(program, part, "--help").stdout
        assert shown.startswith(f"usage: lct-verify {part} ") and word in shown
        assert f"lct-verify {part}" in verifier.user.run(program, "--help").stdout
        said = verifier.user.run(program, part, status=USAGE).stderr
        assert said.startswith(f"lct-verify: usage: lct-verify {part} --" if part != "show"
                               else "lct-verify: usage: lct-verify show FILE")
        said = verifier.user.run(program, part, "--none", status=USAGE).stderr
        assert said.endswith(f" is not an option here; see lct-verify {part} --help\n")
        write(part, json.dumps(prover.offer()))
        assert "is an offer" in verifier.user.run(program, f"./{part}", status=MALFORMED).stderr
    shown = verifier.user.run(program, "show", "./show").stdout
    assert "alice" in shown


def test_what_is_no_evidence_is_called_what_it_is(verifier, prover):
    challenge = verifier.challenge(prover.offer())
    attest = prover.ak.attest(0x8018, bytes(6))
    for content, words in ((prover.offer(), "is an offer"), (challenge, "is a challenge"),
                           (verifier.state(), "for --state"), (attest, "--raw-quote"),
                           ({"type": "x"}, "no evidence"), (b"x", "no evidence"),
                           (b"[]", "no evidence"), (b"", "is empty"),
                           (json.dumps(challenge).encode()[:-9], "is cut off"), (pem(prover.certificate), "no evidence")):
        assert words in verifier.verify(content, status=MALFORMED).stderr
        assert not verifier.state()["used"]
    done = verifier.run("verify", "-", stdin="{}", status=MALFORMED)
    assert "standard input" in done.stderr
    with verifier.user.path("long").open("wb") as file:
        file.truncate((8 << 20) + 1)
    verifier.run("verify", "long", status=MALFORMED)


# Evidence by others, and for others


def test_a_wrong_answer_to_the_activation_binds_nothing(verifier, prover):
    for wrong in ("00" * 32, mac(bytes(32), verifier.challenge(prover.offer()))):
        challenge = verifier.challenge(prover.offer())
        verifier.fails("ak_bound", "secret", prover.respond(challenge, activation=wrong))
    challenge = verifier.challenge(prover.offer())
    secret = verifier.state()["secret"]
    verifier.fails("ak_bound", "secret", prover.respond(challenge, activation=secret))


def test_another_tpm_cannot_activate(verifier, prover, other):
    challenge = verifier.challenge(prover.offer())
    with pytest.raises(ValueError):
        other.activate(challenge, name_of(prover.ak.public()))


def test_a_credential_is_for_one_ak(verifier, prover):
    challenge = verifier.challenge(prover.offer())
    with pytest.raises(ValueError):
        prover.activate(challenge, name_of(prover.key_public()))
    direct = verifier.challenge(prover.offer(), "--mode", "direct", pcrs=None)
    with pytest.raises(ValueError):
        prover.activate(direct, name_of(prover.ak.public()))


def test_the_direct_mode_needs_the_secret_too(verifier, prover):
    challenge = verifier.challenge(prover.offer(), "--mode", "direct", pcrs=None)
    claims = verifier.fails("key_resident", "not shown",
                            prover.respond(challenge, activation="11" * 32))
    assert claims["fresh"] == "not_claimed", "anybody can repeat a challenge"


@pytest.mark.parametrize("change", [
    lambda offer, other: offer.update(id="mallory"),
    lambda offer, other: offer.update(generation=2),
    lambda offer, other: offer["key"].update(passphrase=True),
    lambda offer, other: offer.update(key=other["key"]),
    lambda offer, other: offer.update(ak=other["ak"]),
    lambda offer, other: offer.update(eks=other["eks"]),
    lambda offer, other: offer.update(tpm="Genuine")])
def test_an_offer_that_is_edited_answers_another_challenge(verifier, prover, other, change):
    """Whatever the prover signs anew: the verifier knows what it asked."""
    challenge = verifier.challenge(prover.offer())
    edited = copy.deepcopy(challenge)
    change(edited["offer"], other.offer())
    right = prover.respond(challenge)
    for answer in (right | {"challenge": edited}, prover.respond(
            edited, activation=right["activation"])):
        kept = verifier.user.path("state.json").read_bytes()
        done = verifier.verify(answer, "--json", status=REFUSED)
        claims = json.loads(done.stdout)["claims"]
        assert claims["fresh"]["outcome"] == "fail"
        assert not [name for name in HARDWARE if claims[name]["outcome"] == "pass"]
        verifier.user.path("state.json").write_bytes(kept)


@pytest.mark.parametrize("member, value", [
    ("nonce", "00" * 32), ("expires", "2099-01-01T00:00:00Z"), ("created", "2001-01-01T00:00:00Z"),
    ("pcrs", "sha256:7")])
def test_a_challenge_that_is_edited_is_another_challenge(verifier, prover, member, value):
    challenge = verifier.challenge(prover.offer())
    evidence = prover.respond(challenge | {member: value})
    verifier.fails("fresh", "another challenge", evidence)


def test_evidence_of_another_prover_s_for_this_challenge_is_refused(verifier, prover, other):
    """The other has a TPM, too; it is not the one that was asked."""
    challenge = verifier.challenge(prover.offer())
    activation = prover.respond(challenge)["activation"]
    theirs = other.respond(challenge, activation=activation)
    done = verifier.verify(theirs, "--json", status=REFUSED)
    claims = json.loads(done.stdout)["claims"]
    assert claims["signed"]["outcome"] == "fail" and claims["key_usable_now"]["outcome"] == "fail"


# Each line of what is attested


def judge(verifier, prover, claim: str, reason: str, **parts):
    """Evidence with one part that is `parts`: made of the challenge by a function."""
    challenge = verifier.challenge(prover.offer())
    made = {name: part(challenge) for name, part in parts.items()}
    return verifier.fails(claim, reason, prover.respond(challenge, **made))


def test_a_structure_that_no_tpm_made_is_malformed(verifier, prover):
    """CVE-2024-29038 and -29040: TPM_GENERATED was not asked for."""
    challenge = verifier.challenge(prover.offer())
    for fields in ({"magic": 0xFF544348}, {"magic": 0}, {"safe": 2}, {"extra": bytes(67)},
                   {"signer": b""}):
        verifier.verify(prover.respond(challenge, certify=prover.certify(challenge, **fields)),
                        status=MALFORMED)
        verifier.verify(prover.respond(challenge, quote=prover.quote(challenge, **fields)),
                        status=MALFORMED)
    assert not verifier.state()["used"]


def test_certification_and_quote_cannot_stand_in_for_each_other(verifier, prover):
    """GHSA-x5j2-26fc-hhc3 of tpm2-tss: the type was not asked for."""
    challenge = verifier.challenge(prover.offer())
    right = prover.respond(challenge)
    values = right["quote"].pop("values")
    swapped = right | {"certify": right["quote"], "quote": right["certify"] | {"values": values}}
    verifier.fails("signed", "another kind", swapped)


@pytest.mark.parametrize("part", ["certify", "quote"])
def test_what_was_signed_for_one_slot_is_not_taken_in_another(verifier, prover, part):
    others = {"certify": "quote", "quote": "certify"}
    judge(verifier, prover, "fresh", "another challenge", **{
        part: lambda challenge: getattr(prover, part)(
            challenge, extra=extra(challenge, others[part]))})
    for wrong in (b"", bytes(32), b"\0"):
        judge(verifier, prover, "fresh", "another challenge", **{
            part: lambda challenge: getattr(prover, part)(challenge, extra=wrong)})


@pytest.mark.parametrize("part", ["certify", "quote"])
def test_what_another_key_signed_is_not_the_ak_s(verifier, prover, part):
    def forged(challenge):
        right = getattr(prover, part)(challenge)
        attest = to_bytes(right["attest"])
        return right | prover.attested(attest, prover.key)

    judge(verifier, prover, "signed", "not one of this AK", **{part: forged})


class Nested(Forger):
    """A key in software whose PEM is in the modulus of what is offered as the AK."""

    def public(self) -> bytes:
        pem_text = openssl("pkey", "-in", self.key, "-pubout")
        modulus = (b"\xc0\n" + pem_text).ljust(384, b"\1")
        return (struct.pack(">HHIH", 1, SHA256, self.attributes, 0)
                + struct.pack(">HHHHI", NULL, RSASSA, SHA256, 3072, 0) + sized(modulus))


def test_the_ak_is_the_public_area_and_no_key_that_is_written_in_it(verifier, prover):
    prover.ak = Nested(prover.ak.key)
    claims = verifier.fails("signed", "another kind than the AK makes",
                            prover.respond(verifier.challenge(prover.offer())))
    assert claims["fresh"] == "not_claimed"


@pytest.mark.parametrize("attributes, reason", [
    (BOUND | USER | SIGN, "not restricted"), (USER | RESTRICTED | SIGN, "can leave"),
    (BOUND | USER | RESTRICTED | SIGN | DECRYPT, "decrypts")])
def test_an_ak_that_signs_what_it_is_given_vouches_for_nothing(verifier, prover, attributes,
                                                               reason):
    prover.ak.attributes = attributes
    judge(verifier, prover, "ak_fit", reason)


def test_an_ak_of_another_hierarchy_is_refused(verifier, prover):
    """Its counts of resets are not the true ones."""
    for hierarchy, reason in ((OWNER, "endorsement hierarchy"), (PLATFORM, "endorsement"),
                              (NULL_HIERARCHY, "null hierarchy")):
        place = prover.ak_place(hierarchy)
        judge(verifier, prover, "ak_fit", reason, **{
            part: lambda challenge, part=part: getattr(prover, part)(challenge, signer=place)
            for part in ("certify", "quote")})


def test_certification_and_quote_are_by_one_signer(verifier, prover):
    other = below(below(handle(0x4000000B), name_of(prover.ek_public())), name_of(
        prover.ak.public()))
    judge(verifier, prover, "ak_fit", "two signers",
          quote=lambda challenge: prover.quote(challenge, signer=other))


def test_an_ak_below_an_ek_is_one_of_the_endorsement_hierarchy(verifier, prover):
    place = below(below(handle(0x4000000B), name_of(prover.ek_public())), name_of(
        prover.ak.public()))
    challenge = verifier.challenge(prover.offer())
    verifier.claims(prover.respond(challenge, certify=prover.certify(challenge, signer=place),
                                   quote=prover.quote(challenge, signer=place)))


def test_the_certified_key_is_the_offered_one(verifier, prover, other):
    judge(verifier, prover, "key_resident", "another key", certify=lambda challenge: prover.certify(
        challenge, name=name_of(other.key_public()), place=other.key_place()))
    judge(verifier, prover, "key_resident", "qualified Name", certify=lambda challenge:
          prover.certify(challenge, place=b"\0\x0c" + bytes(48)))


def test_a_key_below_the_null_hierarchy_is_none_that_stays(verifier, prover):
    judge(verifier, prover, "key_resident", "null hierarchy", certify=lambda challenge:
          prover.certify(challenge, place=prover.key_place(NULL_HIERARCHY)))


@pytest.mark.parametrize("attributes, claim", [
    (KEY & ~2, "non_extractable"), (KEY & ~0x10, "non_extractable"), (KEY & ~0x20,
                                                                      "non_extractable"),
    (KEY | 0x800, "non_extractable"), (KEY & ~SIGN, "key_fit"), (KEY | DECRYPT, "key_fit"),
    (KEY | RESTRICTED, "key_fit")])
@pytest.mark.parametrize("mode", ["ak", "direct"])
def test_a_key_that_may_leave_or_does_more_than_sign_fails(verifier, prover, attributes, claim,
                                                          mode):
    prover.key.attributes = attributes
    pcrs = "sha256:7" if mode == "ak" else None
    challenge = verifier.challenge(prover.offer(), "--mode", mode, pcrs=pcrs)
    verifier.fails(claim, "the key", prover.respond(challenge))


def test_the_key_itself_has_to_sign_for_this_challenge(verifier, prover, other):
    judge(verifier, prover, "key_usable_now", "has not signed",
          possession=lambda challenge: prover.possess(challenge, other.key))
    first = verifier.challenge(prover.offer(), state="first.json")
    judge(verifier, prover, "key_usable_now", "has not signed",
          possession=lambda challenge: prover.possess(first))
    for scheme, digest in (("rsassa", "sha256"), ("rsapss", "sha256"), ("ecdsa", "sha384"),
                           ("ecdsa", "sha1")):
        judge(verifier, prover, "key_usable_now", "has not signed",
              possession=lambda challenge: prover.possess(challenge) | {
                  "scheme": scheme, "hash": digest})


def test_values_are_of_the_quote(verifier, prover):
    """CVE-2022-0317: values that the quote does not cover were believed."""
    challenge = verifier.challenge(prover.offer())
    right = {str(number): prover.pcrs[number].hex() for number in (0, 7)}
    for shown in (dict(right, **{"8": "00" * 32}), {"0": right["0"]}, {},
                  dict(right, **{"7": "00"}), dict(right, **{"07": right["7"]})):
        verifier.verify(prover.respond(challenge, quote=prover.quote(challenge, shown=shown)),
                        status=MALFORMED)
    for shown in (dict(right, **{"7": "00" * 32}), {"0": right["7"], "7": right["0"]}):
        judge(verifier, prover, "boot_state", "not those that were quoted",
              quote=lambda challenge: prover.quote(challenge, shown=shown))


def test_a_quote_is_of_what_was_asked(verifier, prover):
    """CVE-2024-29039: the selection in the file was not the quote's."""
    for pcrs in ([0], [7], [0, 7, 8], [8, 9], []):
        judge(verifier, prover, "boot_state", "not those that were quoted",
              quote=lambda challenge: prover.quote(challenge, pcrs=pcrs))


@pytest.mark.parametrize("fields, reason", [
    ({"resets": 4}, "two boots"), ({"restarts": 1}, "two boots"), ({"clock": 999}, "clock"),
    ({"firmware": 1}, "firmware")])
def test_certification_and_quote_are_of_one_boot(verifier, prover, fields, reason):
    judge(verifier, prover, "boot_state", reason,
          quote=lambda challenge: prover.quote(challenge, **fields))


@pytest.mark.parametrize("path", [
    ("activation",), ("certify", "attest"), ("certify", "signature"), ("quote", "attest"),
    ("quote", "signature"), ("quote", "values", "sha256", "0"), ("possession", "signature")])
def test_every_byte_of_what_is_sent_counts(verifier, prover, path):
    """One bit of it, at some places; the state is put back each time."""
    right = prover.respond(verifier.challenge(prover.offer()))
    state, source = verifier.user.path("state.json"), random.Random(path[-1])
    kept = state.read_bytes()
    text = right
    for name in path:
        text = text[name]
    hexadecimal = all(letter in "0123456789abcdef" for letter in text)
    content = bytes.fromhex(text) if hexadecimal else to_bytes(text)
    for at in source.sample(range(len(content)), min(16, len(content))):
        changed = bytearray(content)
        changed[at] ^= 1 << source.randrange(8)
        document = copy.deepcopy(right)
        inner = document
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = changed.hex() if hexadecimal else to_text(bytes(changed))
        done = verifier.verify(document, status=None)
        assert done.returncode in (MALFORMED, REFUSED, UNSUPPORTED), (path, at)
        state.write_bytes(kept)
    verifier.verify(right)


# What it is sealed to


@pytest.fixture(name="authority")
def fixture_authority(tmp_path) -> bytes:
    """A recovery authority's public key."""
    return software_key(tmp_path / "authority.pem")


def sealed(verifier, prover, *arguments, status: int = 0) -> tuple[str, str]:
    """What comes out of it, and why."""
    challenge = verifier.challenge(prover.offer(), pcrs="sha256:0,3,7,15")
    done = verifier.verify(prover.respond(challenge), "--json", *arguments, status=status)
    claim = json.loads(done.stdout)["claims"]["sealed"]
    return claim["outcome"], claim["reason"]


@pytest.mark.parametrize("passphrase", [False, True])
def test_a_sealed_key_is_one_whose_policy_is_disclosed(verifier, prover, authority, passphrase):
    prover.seal_to("strict", "sha256:0,7", passphrase=passphrase)
    outcome, reason = sealed(verifier, prover, "--require", "sealed")
    assert outcome == "pass" and "sha256:0,7" in reason
    assert ("passphrase" in reason) == passphrase
    for kind in ("either", "authority"):
        prover.seal_to(kind, authority=authority, passphrase=passphrase)
        outcome, reason = sealed(verifier, prover)
        assert outcome == "not_claimed" and fingerprint(authority) in reason
        verifier.trust(prover.root, policies={"authorities": [fingerprint(authority)]})
        outcome, reason = sealed(verifier, prover, "--require", "sealed")
        assert outcome == "pass" and fingerprint(authority)[:16] in reason
        verifier.trust(prover.root)


def test_an_authority_s_name_is_not_of_sha1(verifier, prover, authority):
    prover.seal_to("authority", authority=authority)
    public = bytearray(authority_public(authority))
    sha1 = SHA1.to_bytes(2, "big")
    public[4:6] = sha1
    prover.policy = policy_authorize(sha1 + hashlib.sha1(public[2:]).digest(), b"")
    prover.seal["authority"] = public.hex()
    verifier.trust(prover.root, policies={"authorities": [fingerprint(authority)]})
    outcome, reason = sealed(verifier, prover, status=REFUSED)
    assert outcome == "fail" and "hash that is not taken" in reason


def test_an_authority_that_may_not_approve_fails(verifier, prover, authority):
    verifier.trust(prover.root, policies={"authorities": ["00" * 32]})
    for kind in ("either", "authority"):
        prover.seal_to(kind, authority=authority)
        outcome, reason = sealed(verifier, prover, status=REFUSED)
        assert outcome == "fail" and fingerprint(authority) in reason


def test_a_seal_that_is_disclosed_is_the_key_s_policy(verifier, prover, authority):
    prover.seal_to("strict", "sha256:0,7")
    right = copy.deepcopy(prover.seal)
    for change in ({"pcrs": "sha256:7", "values": {"sha256": {"7": prover.pcrs[7].hex()}}},
                   {"pcr_digest": "00" * 32}, {"kind": "either", "policy_ref": "",
                                               "authority": authority_public(authority).hex()}):
        prover.seal = right | change
        assert sealed(verifier, prover, status=REFUSED)[0] == "fail"
    prover.seal = right
    prover.seal["values"]["sha256"]["7"] = "00" * 32
    outcome, reason = sealed(verifier, prover, status=REFUSED)
    assert outcome == "fail" and "values that are shown" in reason
    prover.seal_to("strict", "sha256:0,7")
    prover.passphrase = True
    assert sealed(verifier, prover, status=REFUSED)[0] == "fail", "it takes no passphrase"


def test_a_key_that_signs_without_its_policy_is_not_sealed(verifier, prover):
    """userWithAuth makes of a policy a decoration."""
    prover.seal_to("strict")
    prover.key.attributes = KEY | USER
    outcome, reason = sealed(verifier, prover, status=REFUSED)
    assert outcome == "fail" and "userWithAuth" in reason
    prover.seal = None
    assert sealed(verifier, prover)[0] == "not_claimed"
    prover.key.attributes = KEY
    outcome, reason = sealed(verifier, prover)
    assert outcome == "not_claimed" and "not disclosed" in reason
    prover.policy = b""
    verifier.verify(prover.respond(verifier.challenge(prover.offer())), "--require", "sealed",
                    status=REFUSED)


def test_a_seal_to_what_anybody_may_reset_is_none(verifier, prover):
    for spec in ("sha256:7,16", "sha256:23"):
        prover.seal_to("strict", spec)
        assert sealed(verifier, prover, status=REFUSED)[0] == "fail"
    prover.pcrs[7] = bytes(32)
    prover.seal_to("strict")
    outcome, reason = sealed(verifier, prover)
    assert outcome == "not_claimed" and "blank" in reason


def test_a_seal_covers_what_the_trust_file_asks(verifier, prover):
    verifier.trust(prover.root, policies={"pcrs": "sha256:7,11"})
    prover.seal_to("strict", "sha256:7")
    outcome, reason = sealed(verifier, prover, status=REFUSED)
    assert outcome == "fail" and "less than" in reason
    prover.seal_to("strict", "sha256:0,7,11")
    assert sealed(verifier, prover)[0] == "pass"


def test_a_seal_is_to_the_expected_values(verifier, prover):
    prover.seal_to("strict", "sha256:7")
    right = verifier.write(pcrs_json("sha256:7", {"sha256": {"7": prover.pcrs[7].hex()}}))
    assert sealed(verifier, prover, "--expect-pcrs", right)[0] == "pass"
    prover.pcrs[7] = hashlib.sha256(b"an update").digest()
    new = verifier.write(pcrs_json("sha256:7", {"sha256": {"7": prover.pcrs[7].hex()}}))
    outcome, reason = sealed(verifier, prover, "--expect-pcrs", new)
    assert outcome == "not_claimed" and "PCR 7 was not the expected value then" in reason
    challenge = verifier.challenge(prover.offer())
    verifier.verify(prover.respond(challenge), "--expect-pcrs", new, "--require", "sealed",
                    status=REFUSED)


def expect(verifier, prover, *numbers: int) -> Path:
    """A file of the values that these PCRs hold."""
    return verifier.write(pcrs_json("sha256:" + ",".join(map(str, numbers)), {
        "sha256": {str(number): prover.pcrs[number].hex() for number in numbers}}))


def test_a_seal_to_other_pcrs_than_are_expected_is_of_no_accepted_state(verifier, prover):
    """Root extends one of these to the same value in every boot."""
    expected = expect(verifier, prover, 7)
    prover.seal_to("strict", "sha256:15")
    outcome, reason = sealed(verifier, prover, "--expect-pcrs", expected)
    assert outcome == "not_claimed" and "not to PCR 7" in reason
    verifier.trust(prover.root, policies={"pcrs": "sha256:15"})
    outcome, reason = sealed(verifier, prover, "--expect-pcrs", expected)
    assert outcome == "not_claimed" and "PCR 15" in reason and "expected" in reason
    both = expect(verifier, prover, 7, 15)
    assert sealed(verifier, prover, "--expect-pcrs", both)[0] == "pass", "that suffices"


def test_a_seal_to_fewer_pcrs_than_are_expected_is_of_many_states(verifier, prover):
    """PCR 3 holds the same on many machines, with a separator alone in it."""
    expected = expect(verifier, prover, 0, 3, 7)
    prover.seal_to("strict", "sha256:3")
    outcome, reason = sealed(verifier, prover, "--expect-pcrs", expected)
    assert outcome == "not_claimed" and "not to PCR 0" in reason
    prover.seal_to("strict", "sha256:0,3,7,11")
    assert sealed(verifier, prover, "--expect-pcrs", expected)[0] == "pass", "to more"
    verifier.trust(prover.root, policies={"pcrs": "sha256:7"})
    prover.seal_to("strict", "sha256:7")
    assert sealed(verifier, prover, "--expect-pcrs", expected)[0] == "pass", "that suffices"


def test_values_that_the_trust_file_s_pcrs_hold_are_compared(verifier, prover):
    """It names PCRs and no values: those the prover chooses."""
    verifier.trust(prover.root, policies={"pcrs": "sha256:7"})
    expected = expect(verifier, prover, 0)
    prover.pcrs[7] = bytes(32 * [0x55])
    prover.seal_to("strict", "sha256:7")
    outcome, reason = sealed(verifier, prover, "--expect-pcrs", expected)
    assert outcome == "not_claimed" and "PCR 7" in reason


def test_a_pcr_of_the_firmware_s_that_holds_nothing_makes_no_seal(verifier, prover):
    """Others, which systemd extends, do not tell what the firmware has started."""
    verifier.trust(prover.root, policies={"pcrs": "sha256:7"})
    for byte in (b"\0", b"\xff"):
        prover.pcrs[7] = 32 * byte
        prover.seal_to("strict", "sha256:0,7,15")
        outcome, reason = sealed(verifier, prover)
        assert outcome == "not_claimed" and "blank, sha256:7: " in reason
        outcome, _ = sealed(verifier, prover, "--expect-pcrs", expect(verifier, prover, 0, 7, 15))
        assert outcome == "not_claimed"
    prover.pcrs |= {7: hashlib.sha256(b"measured").digest(), 8: bytes(32), 15: bytes(32)}
    prover.seal_to("strict", "sha256:7,8,15")
    assert sealed(verifier, prover)[0] == "pass", "those of the system may hold nothing"


def test_a_signed_verdict_keeps_what_the_key_is_sealed_to(verifier, prover, authority):
    issuer = Issuer(verifier)
    prover.seal_to("either", authority=authority)
    verifier.trust(prover.root, policies={"authorities": [fingerprint(authority)]},
                   verdict_issuers=[issuer.certificate.name])
    evidence = prover.respond(verifier.challenge(prover.offer()))
    done = issue(verifier, evidence, issuer, certificate=False)
    done = verifier.verify(done.stdout.encode(), "--trust", "trust.json", "--require", "sealed",
                           state=None)
    assert fingerprint(authority)[:16] in done.stdout


def test_a_boot_log_that_is_none_explains_no_quote(verifier, prover):
    for log in (b"log", bytes(32)):
        challenge = verifier.challenge(prover.offer())
        done = verifier.verify(prover.respond(challenge, eventlog=to_text(log)), "--json",
                               status=REFUSED)
        assert json.loads(done.stdout)["claims"]["boot_state"]["outcome"] == "fail"


# Documents


def variants(document: dict):
    """With a member missing, one too many, and of another type, wherever there are members."""
    for name, value in document.items():
        yield {other: kept for other, kept in document.items() if other != name}
        for wrong in (1, "x", [], {}, True):
            if wrong != value and not (name in ("id", "tpm") and wrong == "x") and not (
                    name == "generation" and wrong == 1):
                yield document | {name: wrong}
        if isinstance(value, dict):
            yield from (document | {name: inner} for inner in variants(value))
    yield document | {"x-more": 1}


def test_a_file_s_name_begins_no_line_and_moves_no_cursor(verifier):
    name = verifier.user.write("e\nlct-verify: all claims hold\x1b[2J", "{}").name
    done = verifier.run("verify", "--trust", "trust.json", name, status=MALFORMED)
    assert re.fullmatch(r"lct-verify: [ -~]*\n", done.stderr), done.stderr


@pytest.mark.parametrize("part", ["offer", "challenge", "evidence"])
def test_documents_are_read_strictly(verifier, prover, part):
    """Every member, of each document, missing or other than it is."""
    challenge = verifier.challenge(prover.offer())
    evidence = prover.respond(challenge)
    whole = {"offer": evidence["challenge"]["offer"], "challenge": evidence["challenge"],
             "evidence": {name: value for name, value in evidence.items()
                          if name != "challenge"}}[part]
    if part == "challenge":
        whole = {name: value for name, value in whole.items() if name != "offer"}
    tried = 0
    for wrong in variants(whole):
        document = copy.deepcopy(evidence)
        if part == "offer":
            document["challenge"]["offer"] = wrong
        elif part == "challenge":
            document["challenge"] = wrong | {"offer": evidence["challenge"]["offer"]}
        else:
            document = wrong | {"challenge": evidence["challenge"]}
        done = verifier.verify(document, status=None)
        assert done.returncode in (MALFORMED, UNSUPPORTED, REFUSED), wrong
        assert not verifier.state()["used"] or done.returncode == REFUSED, wrong
        if verifier.state()["used"]:
            challenge = verifier.challenge(prover.offer())
            evidence = prover.respond(challenge)
        tried += 1
    assert tried > 30


def test_an_id_looks_like_nothing_but_an_id(verifier, prover):
    for wrong in ("", "alice generation 1 is genuine", "alice\n", "\u00e1lice", "a" * 129):
        verifier.challenge(prover.offer(id=wrong), status=MALFORMED)
    verifier.challenge(prover.offer(id="mailto:alice@example.org"))


def test_an_ek_is_offered_once(verifier, prover, other):
    """The credential would be for the one, and the other's certificate be judged."""
    ek = prover.offer()["eks"][0]
    for certificate in (None, ek["certificate"], other.offer()["eks"][0]["certificate"]):
        said = verifier.challenge(prover.offer(eks=[dict(ek, certificate=certificate), ek]),
                                  status=MALFORMED)
        assert "two EKs of one Name" in said


def test_a_member_that_is_there_twice_is_refused(verifier, prover):
    challenge = verifier.challenge(prover.offer())
    text = json.dumps(prover.respond(challenge))
    for twice in (text.replace('"version": 1', '"version": 1, "version": 1', 1),
                  text.replace('"id": "alice"', '"id": "mallory", "id": "alice"'),
                  text.replace('"activation":', '"activation": null, "activation":'),
                  text.replace('"7":', '"7": "00", "7":')):
        assert twice != text
        verifier.verify(twice.encode(), status=MALFORMED)
    verifier.verify(text.encode())


def test_bytes_have_one_form(verifier, prover):
    """Base64url without padding, white space or loose bits; hexadecimal in lower case."""
    challenge = verifier.challenge(prover.offer())
    right = prover.respond(challenge)
    attest = right["certify"]["attest"]
    loose = attest[:-1] + chr(ord(attest[-1]) + 1)
    for wrong in (attest + "=", attest + "==", attest + "\n", " " + attest, attest.replace(
            attest[5], "+", 1), attest + "A" * 4000, "", loose):
        document = right | {"certify": right["certify"] | {"attest": wrong}}
        done = verifier.verify(document, status=None)
        assert done.returncode == MALFORMED or wrong == loose and done.returncode == REFUSED
        if done.returncode == REFUSED:
            right = prover.respond(verifier.challenge(prover.offer()))
    for wrong in (right["activation"].upper(), right["activation"] + "00",
                  right["activation"][:-2]):
        verifier.verify(right | {"activation": wrong}, status=MALFORMED)
    verifier.verify(right)


def test_parts_that_were_not_asked_for_are_refused(verifier, prover):
    challenge = verifier.challenge(prover.offer(), pcrs="none")
    right = prover.respond(challenge)
    asked = challenge | {"pcrs": "sha256:0,7"}
    for wrong in ({"quote": prover.quote(asked)}, {"certify": None}, {"activation": None},
                  {"eventlog": to_text(b"log")}, {"possession": None}):
        verifier.verify(right | wrong, status=MALFORMED)
    verifier.verify(right)


def test_white_space_and_order_are_of_no_matter(verifier, prover):
    challenge = verifier.challenge(prover.offer())
    evidence = prover.respond(challenge)
    verifier.verify(canonical(evidence))


def test_a_key_is_of_a_kind_that_is_taken(verifier, prover):
    offer = prover.offer()
    off = prover.key.point()
    wrong = Forger.ecc(off[:-1] + bytes([off[-1] ^ 1]), KEY)
    offer["key"]["public"] = to_text(sized(wrong))
    challenge = verifier.challenge(offer)
    assert "the key" in verifier.verify(prover.respond(challenge), status=MALFORMED).stderr
    reserved = Forger.ecc(prover.key.point(), KEY | 1)
    offer["key"]["public"] = to_text(sized(reserved))
    verifier.challenge(offer, status=MALFORMED)
    prover.key.name_alg = SHA1
    challenge = verifier.challenge(prover.offer())
    verifier.fails("key_resident", "hash", prover.respond(challenge))


def test_what_a_document_says_moves_no_cursor(verifier, prover):
    for wrong in ("a\x1b[2J", "a\nb", "caf\u00e9", "\u202e", "x" * 129, ""):
        verifier.challenge(prover.offer(id=wrong), status=MALFORMED)
    verifier.challenge(prover.offer(tpm="\x1b]0;x\x07"), status=MALFORMED)


# Offline


def test_evidence_by_itself_is_bound_to_no_tpm(verifier, prover):
    """A quote and an EK certificate are what anybody can write and copy."""
    evidence = prover.respond(verifier.challenge(prover.offer()))
    for arguments in ((), ("--offline",), ("--trust", "trust.json"), ("--trust", "trust.json",
                                                                     "--offline")):
        claims = verifier.claims(evidence, *arguments, status=UNBOUND, state=None)
        passed = {name for name, outcome in claims.items() if outcome == "pass"}
        assert passed <= {"signed", "ak_fit"} and "fail" not in claims.values()
        done = verifier.verify(evidence, *arguments, status=UNBOUND, state=None)
        assert "nothing binds it to a TPM" in done.stderr
    assert not verifier.state()["used"]


def test_offline_what_fails_still_fails(verifier, prover):
    challenge = verifier.challenge(prover.offer())
    verifier.fails("fresh", "another challenge", prover.respond(
        challenge, certify=prover.certify(challenge, extra=b"")), state=None)
    direct = verifier.challenge(prover.offer(), "--mode", "direct", pcrs=None)
    verifier.claims(prover.respond(direct), status=UNBOUND, state=None)


# What is issued


class Issuer:
    """A verifier's own key and certificate."""

    def __init__(self, verifier: Verifier, kind: str = "p256", title: str = "Witness"):
        self.key = Key(verifier.user.path(f"{title}.key"), kind)
        self.authority = Authority(self.key, title)
        self.certificate = verifier.user.write(f"{title}.pem", pem(self.authority.certificate))
        self.digest = openssl("dgst", "-sha256", "-r", stdin=self.key.spki).decode().split()[0]


def issue(verifier, evidence: dict, issuer: Issuer, *arguments, status: int = 0,
          certificate: bool = True, stdin=None):
    own = ["--trust", "trust.json", "--state", "state.json", "--issuer-key", issuer.key.path]
    own += ["--issuer-cert", issuer.certificate] if certificate else ["--verdict"]
    return verifier.run("issue", *own, *arguments, verifier.write(evidence), status=status,
                        stdin=stdin)


@pytest.mark.parametrize("kind", ["p256", "rsa"])
def test_an_ak_s_certificate_binds_it_for_others(verifier, prover, kind):
    issuer = Issuer(verifier, kind)
    challenge = verifier.challenge(prover.offer())
    done = issue(verifier, prover.respond(challenge), issuer)
    assert verifier.state()["used"]
    crt = openssl("x509", "-outform", "DER", stdin=done.stdout.encode())
    verifier.trust(prover.root, ak_issuers=[issuer.certificate.name])
    prover.ak_chain = [crt]
    evidence = prover.respond(verifier.challenge(prover.offer()))
    claims = verifier.claims(evidence, "--trust", "trust.json", "--offline", state=None)
    passed = {"signed", "ak_fit", "ak_bound", *HARDWARE}
    assert {name for name, outcome in claims.items() if outcome == "pass"} == passed
    verifier.trust(prover.root)
    verifier.claims(evidence, "--trust", "trust.json", status=UNBOUND, state=None)


def test_an_ak_with_a_certificate_needs_no_ek(verifier, prover):
    issuer = Issuer(verifier)
    done = issue(verifier, prover.respond(verifier.challenge(prover.offer())), issuer)
    prover.ak_chain = [openssl("x509", "-outform", "DER", stdin=done.stdout.encode())]
    verifier.trust(ak_issuers=[issuer.certificate.name])
    challenge = verifier.challenge(prover.offer())
    assert challenge["credential"] is None and verifier.state()["secret"] is None
    claims = verifier.claims(prover.respond(challenge))
    assert claims["ak_bound"] == claims["fresh"] == "pass"
    assert claims["ek_genuine"] == "not_claimed"
    challenge = verifier.challenge(prover.offer())
    done = issue(verifier, prover.respond(challenge), issuer, status=UNSUPPORTED)
    assert not verifier.state()["used"], "nothing was issued"


def test_a_signed_verdict_is_taken_from_who_is_trusted(verifier, prover, other):
    issuer, stranger = Issuer(verifier), Issuer(verifier, title="Stranger")
    challenge = verifier.challenge(prover.offer())
    done = issue(verifier, prover.respond(challenge), issuer, certificate=False)
    jws = done.stdout.encode()
    trust = ("--trust", "trust.json")
    verifier.trust(verdict_issuers=[issuer.certificate.name])
    verdict = json.loads(verifier.verify(jws, *trust, "--json", state=None).stdout)
    assert verdict["kind"] == "verdict" and verdict["holds"] and verdict["id"] == "alice"
    assert verdict["issuer"] == issuer.digest
    assert verdict["key"]["name"] == name_of(prover.key_public()).hex()
    claims = {name: found["outcome"] for name, found in verdict["claims"].items()}
    assert claims["fresh"] == claims["key_usable_now"] == "not_claimed"
    assert all(claims[name] == "pass" for name in HARDWARE)
    shown = verifier.verify(jws, *trust, state=None).stdout
    assert shown.startswith("key          lct:alice generation 1\n") and issuer.digest in shown
    verifier.verify(jws, *trust, "--require", "key_usable_now", state=None, status=REFUSED)
    verifier.verify(jws, *trust, "--time", "2099-01-01T00:00:00Z", state=None, status=REFUSED)
    theirs = verifier.write(openssl("pkey", "-in", other.key.key, "-pubout"))
    verifier.verify(jws, *trust, "--key", theirs, state=None, status=REFUSED)
    verifier.verify(jws, state=None, status=USAGE)
    verifier.verify(jws, status=USAGE)
    header, payload, signature = jws.strip().split(b".")
    edited = to_text(to_bytes(payload.decode()).replace(b"alice", b"carol")).encode()
    verifier.verify(b".".join([header, edited, signature]), *trust, state=None, status=REFUSED)
    verifier.verify(b"..", *trust, state=None, status=MALFORMED)
    verifier.trust(verdict_issuers=[stranger.certificate.name])
    verifier.verify(jws, *trust, state=None, status=REFUSED)


def test_a_clock_that_is_set_back_takes_expired_verdicts_and_certificates(verifier, prover):
    """Ten years from now, and set back to today."""
    issuer = Issuer(verifier)
    verdict, certificate = (
        issue(verifier, prover.respond(verifier.challenge(prover.offer())), issuer,
              certificate=certificate).stdout for certificate in (False, True))
    prover.ak_chain = [openssl("x509", "-outform", "DER", stdin=certificate.encode())]
    evidence = prover.respond(verifier.challenge(prover.offer()))
    name = issuer.certificate.name
    verifier.trust(verdict_issuers=[name], ak_issuers=[name])
    for document, options in ((verdict, ()), (evidence, ("--offline",))):
        words = ("verify", "--trust", "trust.json", *options, verifier.write(document))
        clock = {"preload": [verifier.user.build / "tests/preload_time.so"]}
        late = verifier.run(*words, env={"LCT_TIME_SHIFT": str(10 * 366 * 86400)}, status=REFUSED,
                            **clock)
        assert "is expired" in late.stderr
        verifier.run(*words, env={"LCT_TIME_SHIFT": "0"}, **clock)


def test_nothing_is_issued_on_evidence_that_does_not_hold(verifier, prover):
    issuer = Issuer(verifier)
    for certificate in (True, False):
        challenge = verifier.challenge(prover.offer())
        done = issue(verifier, prover.respond(challenge, activation="00" * 32), issuer,
                     status=REFUSED, certificate=certificate)
        assert not done.stdout and "ak_bound" in done.stderr and verifier.state()["used"]
    challenge = verifier.challenge(prover.offer())
    done = issue(verifier, prover.respond(challenge), issuer, "--require", "sealed", status=REFUSED)
    assert not done.stdout and "sealed" in done.stderr
    verifier.challenge(prover.offer())
    done = issue(verifier, prover.respond(challenge), issuer, status=REFUSED)
    assert not done.stdout and not verifier.state()["used"], "of another challenge"


def test_mistakes_in_issuing_leave_the_challenge_as_it_is(verifier, prover):
    issuer, other = Issuer(verifier), Issuer(verifier, title="Other")
    evidence = prover.respond(verifier.challenge(prover.offer()))
    file = verifier.write(evidence)
    own = ("--trust", "trust.json", "--state", "state.json")
    key, crt = ("--issuer-key", issuer.key.path), ("--issuer-cert", issuer.certificate)
    leaf = verifier.user.write("leaf.pem", pem(prover.certificate))
    garbage = verifier.user.write("garbage", b"x")
    public = verifier.user.write("public", openssl("pkey", "-in", issuer.key.path, "-pubout"))
    for status, *arguments in (
            (USAGE, *key, *crt, file), (USAGE, *own, *crt, file), (USAGE, *own, *key, file),
            (USAGE, *own, *key, *crt, "--verdict", file), (USAGE, *own, *key, *crt),
            (USAGE, *own, *key, *crt, "--days", "0", file),
            (USAGE, *own, *key, *crt, "--days", "1e3", file),
            (USAGE, *own, *key, *crt, "--days", "3651", file),
            (USAGE, *own, "--issuer-key", "lct:alice", *crt, file),
            (USAGE, *own, "--issuer-key", "-", *crt, "-"),
            (IO, *own, "--issuer-key", "missing", *crt, file),
            (6, *own, "--issuer-key", garbage, *crt, file),
            (UNSUPPORTED, *own, *key, "--issuer-cert", other.certificate, file),
            (UNSUPPORTED, *own, *key, "--issuer-cert", leaf, file),
            (USAGE, *own, *key, "--issuer-cert", public, file),
            (USAGE, *own, *key, *crt, "--require", "x", file)):
        done = verifier.run("issue", *arguments, status=status)
        assert not done.stdout and not verifier.state()["used"], arguments
    verifier.run("issue", *own, *key, *crt, file)


def test_there_is_no_certificate_of_an_ak_in_the_direct_mode(verifier, prover):
    issuer = Issuer(verifier)
    challenge = verifier.challenge(prover.offer(), "--mode", "direct", pcrs=None)
    evidence = prover.respond(challenge)
    assert not issue(verifier, evidence, issuer, status=UNSUPPORTED).stdout
    assert not verifier.state()["used"], "a verdict can be had for it yet"
    issue(verifier, evidence, issuer, certificate=False)


def test_the_issuer_s_key_may_be_encrypted(verifier, prover):
    issuer = Issuer(verifier)
    plain = issuer.key.path.read_bytes()
    issuer.key.path.write_bytes(openssl("pkcs8", "-topk8", "-passout", "pass:secret", stdin=plain))
    right = verifier.user.write("right", "secret\n")
    wrong = verifier.user.write("wrong", "guess\n")
    evidence = prover.respond(verifier.challenge(prover.offer()))
    done = issue(verifier, evidence, issuer, "--passphrase-file", wrong, status=12)
    assert "passphrase" in done.stderr and not verifier.state()["used"]
    issue(verifier, evidence, issuer, "--passphrase-file", right)


def test_an_identity_issues_in_lct(user, makers):
    """Its key is in the verifier's own TPM."""
    verifier, prover = Verifier(user, "lct"), makers["p256"]
    verifier.trust(prover.root)
    user.lct("create", "witness")
    crt = user.certificate("lct:witness", "/CN=Witness")
    own = ("--trust", "trust.json", "--state", "state.json", "--issuer-key")
    evidence = prover.respond(verifier.challenge(prover.offer()))
    missing = verifier.run("issue", *own, "lct:nobody", "--verdict", verifier.write(evidence),
                           status=3)
    assert "lct:nobody" in missing.stderr and not verifier.state()["used"]
    done = verifier.run("issue", *own, "lct:witness", "--issuer-cert", crt,
                        verifier.write(evidence))
    issued = user.write("ak.pem", done.stdout)
    user.openssl("verify", "-CAfile", crt, issued, env={"OPENSSL_CONF": os.devnull})
    evidence = prover.respond(verifier.challenge(prover.offer()))
    done = verifier.run("issue", *own, "lct:witness", "--verdict", verifier.write(evidence))
    verifier.trust(verdict_issuers=[crt.name])
    verifier.verify(done.stdout.encode(), "--trust", "trust.json", state=None)
def test_a_name_that_can_be_forged_proves_nothing_directly(verifier, prover):
    """Of SHA-1 somebody may have two public areas of one Name, and load the harmless one."""
    prover.key.name_alg = SHA1
    challenge = verifier.challenge(prover.offer(), "--mode", "direct", pcrs=None)
    claims = verifier.fails("key_resident", "a hash that is not taken",
                            prover.respond(challenge))
    assert claims["non_extractable"] == claims["key_fit"] == "not_claimed"


def test_a_secret_that_was_learned_for_one_ak_binds_no_other(verifier, prover, other):
    """Whoever has a TPM learns the secret, and writes an AK in software into the challenge."""
    challenge = verifier.challenge(prover.offer())
    secret = prover.activate(challenge, name_of(prover.ak.public()))
    prover.ak = other.ak
    edited = challenge | {"offer": prover.offer()}
    evidence = prover.respond(edited, activation=mac(secret, edited))
    claims = verifier.fails("fresh", "it answers another challenge", evidence)
    assert claims["ak_bound"] == "not_claimed"


def test_blank_values_are_blank_though_they_are_not_shown(verifier, prover):
    prover.pcrs |= {7: bytes(32), 11: bytes(32)}
    prover.seal_to("strict", "sha256:7,11")
    del prover.seal["values"]
    claims = verifier.claims(prover.respond(verifier.challenge(prover.offer())))
    assert claims["sealed"] == "not_claimed"


def test_a_counter_revokes_what_is_sealed_to_it_alone(verifier, prover, authority):
    """Beside the seal anybody can name one; that approvals end by it, the policyRef says."""
    verifier.trust(prover.root, policies={"authorities": [fingerprint(authority)]})
    prover.seal_to("authority", authority=authority)
    name = struct.pack(">H", 0x0B) + hashlib.sha256(b"a counter").digest()
    counter = {"handle": "0x01800001", "name": name.hex(), "value": 1}
    prover.seal["counter"] = counter
    outcome, reason = sealed(verifier, prover)
    assert outcome == "pass" and "revoked" not in reason
    ref = hashlib.sha256(b"lct:revocable:" + sized(name) + b"alice").digest()
    prover.seal_to("authority", authority=authority)
    prover.seal |= {"counter": counter, "policy_ref": ref.hex()}
    prover.policy = policy_of_seal("authority", public=authority_public(authority), ref=ref)
    outcome, reason = sealed(verifier, prover)
    assert outcome == "pass" and "has not revoked" in reason
