# SPDX-License-Identifier: Apache-2.0
"""
What stands against a key being used in a state that nobody approved: forged and revoked approvals,
past our own readers too (tests/seal.c, tpm2-tools), edited records, odd files, an exchanged
authority, a bus that lies.
"""

import base64
import dataclasses
import json
import os
import shutil
import struct
import subprocess

import pytest

import sealing
from keyfile import ATTRIBUTES, KeyFile, armour, unarmour, values
from sealing import SEALED, Counter, measure, seal_of
from test_bad_input import queue_says
from test_command import one_sentence
from test_seal import SECRET, approve, create, fixture_fleet, refused, signs  # noqa: F401
from tpm import SRK, Command

DAMAGED, AUTH = 6, 12
NONE, STRICT, AUTHORITY = 0, 2, 3  # enum lct_seal_kind
RC_POLICY, RC_SIGNATURE_2 = 0x126, 0x2DB
FIXED = 1 << 1 | 1 << 4 | 1 << 5
NO_DA, RESTRICTED = 1 << 10, 1 << 16
NO_COUNTER = ("0", "-", "0")
SPEC = "sha256:7"


@dataclasses.dataclass
class Approval:
    """The fields that tests/seal.c takes as they are."""

    pcrs: str
    policy: bytes
    ref: bytes
    signature: bytes
    counter: Counter | None = None

    @classmethod
    def read(cls, text: dict) -> "Approval":
        counter = text["counter"] and Counter(int(text["counter"]["handle"], 0), bytes.fromhex(
            text["counter"]["name"]), text["counter"]["value"])
        return cls(text["pcrs"], bytes.fromhex(text["policy"]), bytes.fromhex(text["policy_ref"]),
                   base64.b64decode(text["signature"]), counter)

    @property
    def words(self) -> tuple:
        counter = self.counter
        return (self.pcrs, self.policy, self.ref, self.signature, *(
            NO_COUNTER if counter is None else (counter.handle, counter.name, counter.value)))


class Driver:
    """Signs with lct:k by tests/seal.c."""

    def __init__(self, user, tcti: str):
        self.process = subprocess.Popen(
            [user.build / "tests" / "seal", user.store, "k", tcti], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, cwd=user.directory, env=user.environment())

    def say(self, *words):
        self.process.stdin.write(" ".join(
            (word.hex() or "-") if isinstance(word, bytes) else str(word) for word in words) + "\n")
        self.process.stdin.flush()

    def sign(self) -> int:
        """0, or the code of the error."""
        self.say("sign")
        words = self.process.stdout.readline().split()
        assert words, "the program has ended"
        return 0 if words == ["signed"] else int(words[1])

    def sign_with(self, approval: Approval) -> int:
        self.say("forget")
        self.say("approval", *approval.words)
        return self.sign()

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(60) == 0


@pytest.fixture(name="drive")
def fixture_drive(build):
    if not (build / "tests" / "seal").exists():
        pytest.skip("this build has no test programs")
    made = []

    def start(user, tcti: str | None = None) -> Driver:
        made.append(Driver(user, tcti or user.tcti))
        return made[-1]

    yield start
    for driver in made:
        driver.end()


@pytest.fixture(name="moved")
def fixture_moved(make_sealer, authority, tpm, make_proxy):
    """
    A user behind a proxy whose key, sealed to PCR 7, is in another state by now; `approval` is good
    for it, and not in the store.
    """
    proxy = make_proxy()
    sealer = make_sealer(tpm, proxy.tcti)
    sealer.proxy = proxy
    create(sealer, "--seal", SPEC)
    measure(tpm, 7)
    sealer.found = sealing.pcr_values(tpm, SPEC)
    sealer.approval = Approval.read(authority.approval(SPEC, sealer.found))
    return sealer


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# Approvals, past our readers


def test_the_driver_signs_with_what_is_right(moved, drive):
    driver = drive(moved)
    assert driver.sign() == SEALED
    assert driver.sign_with(moved.approval) == 0
    driver.say("forget")
    assert driver.sign() == SEALED


def test_an_approval_by_another_key_is_refused_by_the_tpm(moved, authority, drive):
    key = moved.path("other.pem")
    pem = sealing.software_key(key)
    forged = Approval.read(authority.approval(SPEC, moved.found, key=key))
    driver = drive(moved)
    moved.proxy.messages.clear()
    assert driver.sign_with(forged) == SEALED
    assert (Command.VerifySignature, RC_SIGNATURE_2) in moved.proxy.refusals()
    moved.proxy.messages.clear()
    driver.say("authority", sealing.authority_public(pem))  # and the seal says that it is its own
    assert driver.sign_with(forged) != 0
    assert moved.proxy.refusals(), "it was the TPM that refused"
    driver.say("again")
    assert driver.sign_with(moved.approval) == 0


@pytest.mark.parametrize("claimed", ["the seal's", "its own"])
def test_an_approval_for_another_identity_is_refused_by_the_tpm(moved, authority, drive, claimed):
    """Its policyRef is signed; what the file says of it does not help."""
    ref = sealing.sha256(b"lct:bound:somebody else")
    foreign = Approval.read(authority.approval(SPEC, moved.found, ref))
    driver = drive(moved)
    moved.proxy.messages.clear()
    if claimed == "its own":
        driver.say("ref", ref)
        assert driver.sign_with(foreign) != 0
    else:
        assert driver.sign_with(dataclasses.replace(foreign, ref=b"")) == SEALED
    assert moved.proxy.refusals(), "it was the TPM that refused"
    driver.say("again")
    assert driver.sign_with(moved.approval) == 0


def test_a_bound_key_refuses_an_approval_for_everybody(make_sealer, authority, tpm, drive):
    sealer = make_sealer(tpm)
    create(sealer, "--seal", SPEC, "--bind")
    measure(tpm, 7)
    found = sealing.pcr_values(tpm, SPEC)
    ref = bytes.fromhex(seal_of(sealer, "k")["policy_ref"])
    free, bound = (Approval.read(authority.approval(SPEC, found, each)) for each in (b"", ref))
    driver = drive(sealer)
    assert driver.sign_with(free) == SEALED
    assert driver.sign_with(dataclasses.replace(free, ref=ref)) == SEALED
    assert driver.sign_with(dataclasses.replace(bound, ref=b"")) in (0, SEALED)
    driver.say("ref", b"")
    assert driver.sign_with(free) != 0
    driver.say("again")
    assert driver.sign_with(bound) == 0


def test_no_flipped_bit_of_an_approval_is_taken(moved, drive):
    driver = drive(moved)
    good = moved.approval
    for name in ("policy", "signature"):
        whole = getattr(good, name)
        for bit in range(0, 8 * len(whole), 29):
            assert driver.sign_with(dataclasses.replace(good, **{name: flipped(whole, bit)})) == (
                SEALED), (name, bit)
    for pcrs in ("sha256:6", "sha256:7,8", "sha384:7"):
        assert driver.sign_with(dataclasses.replace(good, pcrs=pcrs)) == SEALED
    for signature in (b"", good.signature[:-1], good.signature + b"\0", b"\x30\0"):
        assert driver.sign_with(dataclasses.replace(good, signature=signature)) == SEALED
    assert driver.sign_with(good) == 0


def test_a_bad_approval_beside_a_good_one_is_no_matter(moved, authority, drive):
    key = moved.path("other.pem")
    sealing.software_key(key)
    forged = Approval.read(authority.approval(SPEC, moved.found, key=key))
    driver = drive(moved)
    for order in ((forged, moved.approval), (moved.approval, forged)):
        driver.say("forget")
        for approval in order:
            driver.say("approval", *approval.words)
        assert driver.sign() == 0


def test_an_approval_of_another_state_is_not_for_this_one(moved, authority, tpm, drive):
    driver = drive(moved)
    assert driver.sign_with(moved.approval) == 0
    measure(tpm, 7)
    assert driver.sign_with(moved.approval) == SEALED
    found = sealing.pcr_values(tpm, SPEC)
    policy = sealing.policy_of_state(SPEC, found)  # claimed for this state, signed for that
    assert driver.sign_with(dataclasses.replace(moved.approval, policy=policy)) == SEALED
    assert driver.sign_with(Approval.read(authority.approval(SPEC, found))) == 0


@pytest.mark.parametrize("kind", [NONE, STRICT, AUTHORITY])
def test_a_seal_that_is_claimed_to_be_another_is_refused_by_the_tpm(moved, tpm, drive, kind):
    driver = drive(moved)
    driver.say("kind", kind)
    moved.proxy.messages.clear()
    assert driver.sign_with(moved.approval) != 0
    if kind != STRICT:  # of which the wrong state is seen
        assert moved.proxy.refusals()
    driver.say("again")
    assert driver.sign_with(moved.approval) == 0


@pytest.mark.parametrize("approved", [False, True], ids=["first state", "approved"])
def test_no_approval_drops_a_passphrase(make_sealer, authority, make_tpm, drive, approved):
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    create(sealer, "--seal", SPEC, passphrase=True)
    if approved:
        measure(tpm, 7)
    driver = drive(sealer)
    good = Approval.read(authority.approval(SPEC, sealing.pcr_values(tpm, SPEC)))
    assert driver.sign_with(good) == AUTH  # it is not known
    driver.say("open")
    assert driver.sign_with(good) != 0
    driver.say("again")
    driver.say("passphrase", SECRET.replace(" ", "-"))
    assert driver.sign_with(good) == AUTH
    tpm.lockout_count = 3  # what was tried may count


# Approvals, in files


SPOILT_APPROVALS = [
    lambda approval: approval.update(policy="00" * 32), lambda approval: approval.pop("policy"),
    lambda approval: approval.update(version=2), lambda approval: approval.update(more=1),
    lambda approval: approval.update(pcrs="sha256:7,7"), lambda approval: approval.update(pcrs=7),
    lambda approval: approval.update(signature="####"), lambda approval: approval.pop("signature"),
    lambda approval: approval.update(policy_ref="00" * 32),
    lambda approval: approval.update(policy_ref="00" * 33),
    lambda approval: approval.update(created=7),
    lambda approval: approval.update(policy=approval["policy"] + "00"),
    lambda approval: approval.update(counter={"handle": "0x01800000", "name": "00", "value": -1}),
    lambda approval: approval.update(signature=base64.b64encode(bytes(9000)).decode())]


def test_a_spoilt_approval_is_ignored(moved, authority):
    good = authority.approval(SPEC, moved.found)
    for number, spoil in enumerate(SPOILT_APPROVALS):
        bad = dict(good)
        spoil(bad)
        sealing.put_approval(moved, "a.json", json.dumps(bad))
        done = moved.lct("sign", "k", stdin="x", status=None, text=False)
        assert done.returncode == SEALED, number
        done = moved.lct("approve", "--import", "-", stdin=json.dumps(bad), status=None)
        assert done.returncode != 0, number
        one_sentence(done.stderr)
    sealing.put_approval(moved, "b.json", json.dumps(good))
    signs(moved)


def test_odd_files_among_the_approvals_are_ignored(moved, authority):
    good = json.dumps(authority.approval(SPEC, moved.found))
    outside = moved.write("outside.json", good)
    directory = sealing.put_approval(moved, "garbage.json", os.urandom(500)).parent
    sealing.put_approval(moved, "empty.json", b"")
    sealing.put_approval(moved, "deep.json", "[" * 100000)
    sealing.put_approval(moved, "zero.json", good.encode() + b"\0")
    sealing.put_approval(moved, "not utf-8.json", good.replace("2026", "20\udc80").encode(
        errors="surrogateescape"))
    (directory / "link.json").symlink_to(outside)
    (directory / "dangling.json").symlink_to("/nowhere")
    (directory / "directory.json").mkdir()
    os.mkfifo(directory / "fifo.json")
    with sealing.put_approval(moved, "huge.json", good).open("r+b") as huge:
        huge.truncate(1 << 40)
    (directory / "device.json").symlink_to("/dev/zero")
    refused(moved, "PCR 7 (sha256)")
    sealing.put_approval(moved, "good.json", good)
    signs(moved)


def test_a_crowd_of_approvals_does_not_hide_the_good_one(moved, authority):
    """Or keep a signature from coming; each is for another state."""
    bad = authority.approval(SPEC, [bytes(32)])
    for number in range(300):
        sealing.put_approval(moved, f"{number:03}.json", json.dumps(
            bad | {"created": f"2026-11-02T03:{number % 60:02}:05Z"}))
    refused(moved, "PCR 7 (sha256)")
    sealing.put_approval(moved, "good.json", json.dumps(authority.approval(SPEC, moved.found)))
    signs(moved)


@pytest.mark.parametrize("kind", ["file", "link", "fifo"])
def test_what_is_no_directory_of_approvals_approves_nothing(moved, authority, kind):
    place, other = moved.store / ".approvals", moved.path("elsewhere")
    other.mkdir()
    (other / "good.json").write_text(json.dumps(authority.approval(SPEC, moved.found)))
    if kind == "file":
        place.write_text("nothing")
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to(other)
    refused(moved, "PCR 7 (sha256)")
    place.unlink()
    shutil.copytree(other, place)
    signs(moved)


def test_an_approval_is_imported_for_whom_its_authority_seals(moved, authority, make_user):
    good = json.dumps(authority.approval(SPEC, moved.found))
    stranger = make_user()
    sealing.Authority.init(stranger)
    for user in (stranger, make_user()):
        one_sentence(user.lct("approve", "--import", "-", stdin=good, status=None).stderr)
        assert sealing.approvals(user) == []
    moved.lct("approve", "--import", "-", stdin=good)
    signs(moved)


def test_what_nobody_has_signed_of_an_approval_spoils_no_other(moved, authority, make_user):
    """The TPM is asked by its PCRs and its counter, and the file is named by its policy."""
    signer = make_user("swtpm:path=/nowhere")
    signer.write("request", moved.lct("pcrs", "k").stdout)
    signer.lct("approve", *authority.options, "--pcrs", "request", "--out", "approval")
    good = json.loads(signer.path("approval").read_text())
    moved.lct("approve", "--import", "-", stdin=json.dumps(good))
    signs(moved)
    counter = {"handle": "0x01ac6374", "name": "000b" + "00" * 32, "value": 3}
    kept = [path.read_bytes() for path in sealing.approvals(moved)]
    for changes in ({"pcrs": "sha256:1"}, {"counter": counter}, {"pcr_digest": "00" * 32}):
        done = moved.lct("approve", "--import", "-", stdin=json.dumps(good | changes),
                         status=DAMAGED)
        assert "altered" in one_sentence(done.stderr), changes
        assert [path.read_bytes() for path in sealing.approvals(moved)] == kept, changes
    signs(moved)
    digest = good.pop("pcr_digest")
    for changes in ({"pcrs": "sha256:1"}, {"counter": counter}):
        done = moved.lct("approve", "--import", "-", stdin=json.dumps(good | changes), status=DAMAGED)
        assert str(moved.store / ".approvals") in one_sentence(done.stderr)
        assert [path.read_bytes() for path in sealing.approvals(moved)] == kept, changes
    signs(moved)
    (path,) = sealing.approvals(moved)
    path.write_text(json.dumps(good | {"pcrs": "sha256:1"}))
    refused(moved)
    moved.lct("approve", "--import", "-", stdin=json.dumps(good | {"pcr_digest": digest}))
    signs(moved)
    moved.lct("approve", "--import", "-", stdin=json.dumps(good))
    signs(moved)


# What is revoked


@pytest.fixture(name="revocable")
def fixture_revocable(make_sealer, authority, make_tpm, make_proxy):
    """A user behind a proxy whose key has a counter, with an approval for the state it is in."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    sealer = make_sealer(tpm, proxy.tcti)
    sealer.proxy = proxy
    create(sealer, "--seal", f"authority:{SPEC}", "--revocable")
    approve(sealer, authority, "k")
    (path,) = sealing.approvals(sealer)
    sealer.approval = Approval.read(json.loads(path.read_text()))
    return sealer


def test_the_handle_in_an_approval_is_nobody_s_word(revocable):
    """It is neither signed nor in the policy: what is asked is the index that the record names."""
    (path,) = sealing.approvals(revocable)
    good = json.loads(path.read_text())
    handle = int(good["counter"]["handle"], 0) + 1
    changed = good | {"counter": good["counter"] | {"handle": f"{handle:#010x}"}}
    revocable.lct("approve", "--import", "-", stdin=json.dumps(changed))
    signs(revocable)


def test_a_revoked_approval_is_refused_by_the_tpm(revocable, authority, drive):
    old = revocable.approval
    driver = drive(revocable)
    assert driver.sign_with(old) == 0
    seal = seal_of(revocable, "k")
    assert old.ref == sealing.sha256(
        b"lct:revocable:" + sealing.sized(bytes.fromhex(seal["counter"]["name"])) + b"k")
    revocable.lct("reseal", "k", *authority.options, "--revoke")
    revocable.proxy.messages.clear()
    assert driver.sign_with(old) == SEALED
    assert (Command.PolicyNV, RC_POLICY) in revocable.proxy.refusals()
    counter = old.counter
    for lie in (dataclasses.replace(counter, value=counter.value + 1),
                dataclasses.replace(counter, value=(1 << 64) - 1), None):
        assert driver.sign_with(dataclasses.replace(old, counter=lie)) == SEALED, lie
        lied = sealing.policy_of_state(SPEC, sealing.pcr_values(revocable.tpm, SPEC), lie)
        assert driver.sign_with(dataclasses.replace(old, counter=lie, policy=lied)) == SEALED


def counted_falsely(by: int):
    """What a TPM2_NV_Read answers, with another value."""
    def answer(_command, ask):
        told = bytearray(ask())
        value = struct.unpack_from(">Q", told, 16)[0]
        struct.pack_into(">Q", told, 16, value + by)
        return bytes(told)
    return answer


@pytest.mark.parametrize("lie", [False, True], ids=["", "and the value lied about"])
@pytest.mark.parametrize("provision", ["yes", "no"], ids=["persistent", "made anew"])
def test_a_revocation_that_is_suppressed_on_the_bus_is_none(make_sealer, authority, make_tpm,
                                                            make_proxy, provision, lie):
    """The answer to TPM2_NV_Increment is a bare success, as it is to one by a password."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    sealer = make_sealer(tpm, proxy.tcti)
    sealer.configure(seal=None, provision=provision)
    create(sealer, "--seal", f"authority:{SPEC}", "--revocable")
    approve(sealer, authority, "k")
    suppressed = []

    def suppress(command, _ask):
        suppressed.append(command)
        return struct.pack(">HIIIHBH", 0x8002, 19, 0, 0, 0, 1, 0)

    proxy.hook(Command.NV_Increment, suppress)
    if lie:
        proxy.hook(Command.NV_Read, lambda *asked: counted_falsely(len(suppressed))(*asked))
    done = sealer.lct("reseal", "k", *authority.options, "--revoke", status=None)
    assert done.returncode != 0 and "revoked" not in done.stdout and suppressed
    one_sentence(done.stderr)
    proxy.heal()
    signs(sealer)
    sealer.lct("reseal", "k", *authority.options, "--revoke")
    signs(sealer)
    sealer.lct("delete", "k", "--yes")
    tpm.flush()


@pytest.mark.parametrize("words", [("approve",), ("reseal", "--revoke")], ids=lambda words: words[0])
def test_a_counter_that_is_lied_about_on_the_bus_is_not_approved_for(revocable, authority, words):
    """No revocation would reach that approval."""
    before = sealing.approvals(revocable)
    revocable.proxy.hook(Command.NV_Read, counted_falsely(1000))
    one_sentence(revocable.lct(*words, "k", *authority.options, status=9).stderr)
    assert sealing.approvals(revocable) == before
    revocable.proxy.heal()
    signs(revocable)


def test_a_counter_made_anew_does_not_bring_approvals_back(revocable, authority, drive):
    """Whoever has the owner's authorization may remove it; a TPM's counters never go back."""
    tpm, old = revocable.tpm, revocable.approval
    index = hex(old.counter.handle)
    revocable.lct("reseal", "k", *authority.options, "--revoke")
    shown = tpm.tool("tpm2_nvreadpublic", index).stdout
    attributes = int(shown.split("value: ")[2].split()[0], 16)
    (tpm.directory / "nv.policy").write_bytes(
        bytes.fromhex(shown.split("authorization policy: ")[1].split()[0]))
    tpm.tool("tpm2_nvundefine", "-C", "o", index)
    driver = drive(revocable)
    assert driver.sign_with(old) != 0
    tpm.tool("tpm2_nvdefine", index, "-C", "o", "-g", "sha256", "-a",
             hex(attributes & ~(1 << 29)), "-L", "nv.policy")
    assert driver.sign_with(old) != 0
    tpm.tool("tpm2_nvincrement", "-C", "o", index)
    assert old.counter.name.hex() in tpm.tool("tpm2_nvreadpublic", index).stdout.lower()
    assert driver.sign_with(old) == SEALED


def test_another_counter_in_its_place_is_refused(revocable, drive):
    """One that anybody may count, and so has another Name."""
    tpm, old = revocable.tpm, revocable.approval
    index = hex(old.counter.handle)
    tpm.tool("tpm2_nvundefine", "-C", "o", index)
    tpm.tool("tpm2_nvdefine", index, "-C", "o", "-g", "sha256", "-a",
             "nt=counter|ownerread|ownerwrite|authread|authwrite")
    tpm.tool("tpm2_nvincrement", "-C", "o", index)
    shown = tpm.tool("tpm2_nvreadpublic", index).stdout
    name = bytes.fromhex(shown.split("name: ")[1].split()[0])
    assert name != old.counter.name
    driver = drive(revocable)
    assert driver.sign_with(old) != 0
    counter = Counter(old.counter.handle, name, 1 << 40)
    policy = sealing.policy_of_state(SPEC, sealing.pcr_values(tpm, SPEC), counter)
    assert driver.sign_with(dataclasses.replace(old, counter=counter, policy=policy)) != 0
    one_sentence(revocable.lct("sign", "k", stdin="x", status=None).stderr)


# The key itself, by other tools


class Tools:
    """The key file of lct:k in the hands of tpm2-tools."""

    def __init__(self, user, authority):
        self.tpm, self.authority = user.tpm, authority
        key = KeyFile.read(user.store / "k" / "key-1.pem")
        for name, blob in (("k.pub", key.public), ("k.priv", key.private)):
            (self.tpm.directory / name).write_bytes(blob)
        self.tpm.tool("tpm2_load", "-C", hex(SRK), "-u", "k.pub", "-r", "k.priv", "-c", "k.ctx")
        self.tpm.flush()
        self.file("data", b"what is signed")

    def file(self, name: str, content: bytes) -> str:
        (self.tpm.directory / name).write_bytes(content)
        return name

    def try_to_sign(self, *auth: str) -> bool:
        done = self.tpm.tool("tpm2_sign", "-c", "k.ctx", "-g", "sha256", "-s", "ecdsa", "-f",
                             "plain", "-o", "sig", *auth, "data", status=None)
        self.tpm.flush()
        return done.returncode == 0

    def satisfy(self, *steps, passphrase: str = "") -> str:
        """The step of a policy session at which the TPM refuses, "sign", or "" if it has signed."""
        self.tpm.tool("tpm2_startauthsession", "-S", "s.ctx", "--policy-session")
        try:
            for name, *arguments in steps:
                if getattr(self, name)(*arguments).returncode != 0:
                    return name
            return "" if self.try_to_sign("-p", f"session:s.ctx{passphrase}") else "sign"
        finally:
            self.tpm.tool("tpm2_flushcontext", "s.ctx")
            self.tpm.flush()

    def step(self, command: str, *arguments):
        return self.tpm.tool(command, "-S", "s.ctx", *arguments, status=None)

    def pcr(self, spec: str = SPEC):
        return self.step("tpm2_policypcr", "-l", spec)

    def either(self, first: bytes, second: bytes):
        return self.step("tpm2_policyor",
                         f"sha256:{self.file('first', first)},{self.file('second', second)}")

    def auth_value(self):
        return self.step("tpm2_policyauthvalue")

    def authorize(self, approval: Approval, public: bytes, key: bytes | None = None):
        """`key`: the public area that verifies, `public` the one that is said to."""
        tool = self.tpm.tool
        tool("tpm2_loadexternal", "-C", "o", "-u", self.file("a.pub", key or public), "-c", "a.ctx")
        self.tpm.flush()
        done = tool("tpm2_verifysignature", "-c", "a.ctx", "-d", self.file(
            "digest", sealing.to_sign(approval.policy, approval.ref)), "-s", self.file(
                "a.sig", approval.signature), "-f", "ecdsa", "-t", "ticket", status=None)
        self.tpm.flush()
        if done.returncode != 0:
            return done
        return self.step("tpm2_policyauthorize", "-i", self.file("approved", approval.policy), "-n",
                         self.file("name", sealing.name_of(public)), "-t", "ticket",
                         *(["-q", self.file("ref", approval.ref)] if approval.ref else []))


def test_a_sealed_key_signs_by_its_policy_and_by_nothing_else(sealer, authority, tpm):
    found = sealing.pcr_values(tpm, SPEC)
    create(sealer, "--seal", SPEC)
    tools = Tools(sealer, authority)
    first = sealing.policy_of_state(SPEC, found)
    second = sealing.policy_authorize(sealing.name_of(authority.public), b"")
    branches = ("either", first, second)
    assert not tools.try_to_sign() and not tools.try_to_sign("-p", "")
    assert tools.satisfy() == "sign"
    assert tools.satisfy(("auth_value",)) == "sign"
    assert tools.satisfy(("pcr",)) == "sign"
    assert tools.satisfy(branches) == "either"
    assert tools.satisfy(("pcr", "sha256:6"), branches) == "either"
    assert tools.satisfy(("pcr",), branches, ("auth_value",)) == "sign"
    assert tools.satisfy(("pcr",), branches) == ""
    measure(tpm, 7)
    assert tools.satisfy(("pcr",), branches) == "either"
    good = Approval.read(authority.approval(SPEC, sealing.pcr_values(tpm, SPEC)))
    assert tools.satisfy(("pcr",), ("authorize", good, authority.public), branches) == ""
    assert tools.satisfy(("pcr",), ("authorize", good, authority.public)) == "sign"
    assert tools.satisfy(("authorize", good, authority.public), branches) == "authorize"


def test_the_tpm_refuses_forged_approvals_of_other_tools_too(sealer, authority, tpm):
    found = sealing.pcr_values(tpm, SPEC)
    create(sealer, "--seal", SPEC)
    branches = ("either", sealing.policy_of_state(SPEC, found),
                sealing.policy_authorize(sealing.name_of(authority.public), b""))
    measure(tpm, 7)
    found = sealing.pcr_values(tpm, SPEC)
    tools = Tools(sealer, authority)
    key = sealer.path("other.pem")
    other = sealing.authority_public(sealing.software_key(key))
    forged = Approval.read(authority.approval(SPEC, found, key=key))
    foreign = Approval.read(authority.approval(SPEC, found, b"\1" * 32))
    good = Approval.read(authority.approval(SPEC, found))
    changed = dataclasses.replace(good, policy=flipped(good.policy, 77))
    for stops_at, *arguments in (
            ("authorize", forged, authority.public), ("either", forged, other),
            ("authorize", forged, authority.public, other), ("either", foreign, authority.public),
            ("authorize", dataclasses.replace(foreign, ref=b""), authority.public),
            ("authorize", changed, authority.public)):
        assert tools.satisfy(("pcr",), ("authorize", *arguments), branches) == stops_at
    assert tools.satisfy(("pcr",), ("authorize", good, authority.public), branches) == ""


def test_the_tpm_wants_the_passphrase_after_the_policy(make_sealer, authority, make_tpm):
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    create(sealer, "--seal", SPEC, passphrase=True)
    tools = Tools(sealer, authority)
    branches = ("either", sealing.policy_of_state(SPEC, sealing.pcr_values(tpm, SPEC)),
                sealing.policy_authorize(sealing.name_of(authority.public), b""))
    assert not tools.try_to_sign("-p", SECRET)
    assert tools.satisfy(("pcr",), branches) == "sign"
    assert tools.satisfy(("pcr",), branches, passphrase=f"+{SECRET}") == "sign"
    assert tools.satisfy(("auth_value",), passphrase=f"+{SECRET}") == "sign"
    assert tools.satisfy(("pcr",), branches, ("auth_value",), passphrase="+wrong") == "sign"
    assert tools.satisfy(("pcr",), branches, ("auth_value",), passphrase=f"+{SECRET}") == ""
    tpm.lockout_count = 3


@pytest.mark.parametrize("seal", [SPEC, f"strict:{SPEC}", f"authority:{SPEC}"])
@pytest.mark.parametrize("passphrase", [False, True], ids=["", "passphrase"])
def test_no_sealed_key_is_used_with_its_authorization_alone(sealer, seal, passphrase):
    sealer.lct("create", "k", "--seal", seal, *(
        ("--passphrase-file", sealer.write("secret", SECRET)) if passphrase else ()))
    public = KeyFile.read(sealer.store / "k" / "key-1.pem").public
    attributes = struct.unpack_from(">I", public, ATTRIBUTES)[0]
    assert attributes & FIXED == FIXED and attributes & sealing.SIGN
    assert not attributes & (sealing.USER_WITH_AUTH | sealing.ADMIN_WITH_POLICY | RESTRICTED
                             | sealing.DECRYPT)
    assert bool(attributes & NO_DA) == (not passphrase)


# Records


def other_authority(seal: dict, user):
    seal["authority"] = sealing.authority_public(
        sealing.software_key(user.path("mallory.pem"))).hex()


def weaker(seal: dict, _user):
    found = bytes(32)
    seal.update(pcrs="sha256:8", values={"sha256": {"8": found.hex()}},
                pcr_digest=sealing.pcr_digest([found]).hex())


def other_values(seal: dict, _user):
    seal["values"]["sha256"]["7"] = "11" * 32


def other_digest(seal: dict, _user):
    seal["pcr_digest"] = "11" * 32


def both(seal: dict, user):
    other_values(seal, user)
    seal["pcr_digest"] = sealing.pcr_digest([b"\x11" * 32]).hex()


CHANGES = [
    weaker, other_authority, other_values, other_digest, both,
    lambda seal, _user: seal.update(kind="strict"), lambda seal, _user: seal.update(kind="none"),
    lambda seal, _user: seal.update(kind="authority"),
    lambda seal, _user: seal.update(policy_ref="00" * 32),
    lambda seal, _user: seal.update(policy_ref="00" * 33),
    lambda seal, _user: seal.update(pcrs="sha384:7"), lambda seal, _user: seal.pop("authority"),
    lambda seal, _user: seal.update(more=1), lambda seal, _user: seal.pop("kind"),
    lambda seal, _user: seal.update(counter={"handle": "0x01800000", "name": "000b" + "00" * 32,
                                             "value": 1})]


def test_a_record_that_claims_another_seal_is_damaged(sealer):
    create(sealer, "--seal", SPEC)
    path = sealer.store / "k" / "identity.json"
    whole = path.read_text()
    for number, change in enumerate(CHANGES):
        path.write_text(whole)
        sealer.edit_record("k", lambda record: change(record["generations"][0]["seal"], sealer))
        for words in (("show", "k"), ("sign", "k"), ("check", "k")):
            done = sealer.lct(*words, stdin="x", status=None)
            assert done.returncode == DAMAGED, (number, words, done.stderr)
            assert "lct:k" in one_sentence(done.stderr)
        done = sealer.openssl("dgst", "-sha256", "-sign", "lct:k", "data", status=1)
        queue_says(done.stderr, "damaged identity")
    path.write_text(whole)
    signs(sealer)


def test_a_record_that_claims_no_seal_is_damaged(sealer):
    create(sealer, "--seal", SPEC)
    path = sealer.store / "k" / "identity.json"
    whole = path.read_text()

    def gone(record):
        del record["generations"][0]["seal"]

    changes = [lambda record, seal=seal: record["generations"][0].update(seal=seal)
               for seal in (None, 7, [], "sha256:7", {})]
    for change in (gone, *changes):
        path.write_text(whole)
        sealer.edit_record("k", change)
        one_sentence(sealer.lct("sign", "k", stdin="x", status=DAMAGED).stderr)


def test_a_record_that_claims_a_seal_for_a_free_key_is_damaged(sealer):
    create(sealer, "--seal", SPEC)
    seal = seal_of(sealer, "k")
    create(sealer, "--seal", "none", key="free")
    sealer.edit_record("free", lambda record: record["generations"][0].update(seal=seal))
    one_sentence(sealer.lct("sign", "free", stdin="x", status=DAMAGED).stderr)


@pytest.mark.parametrize("passphrase", [False, True])
def test_a_record_that_lies_about_the_passphrase_is_damaged(sealer, passphrase):
    """It is in the policy."""
    create(sealer, "--seal", SPEC, passphrase=passphrase)
    sealer.edit_record("k", lambda record: record["generations"][0].update(
        passphrase=not passphrase))
    one_sentence(sealer.lct("show", "k", status=DAMAGED).stderr)


# The authority


def test_a_new_authority_of_the_store_has_no_say_over_older_keys(sealer, authority, tpm, make_user):
    create(sealer)
    measure(tpm, 7)
    mallory = sealing.Authority.init(make_user())
    pem = sealer.write("mallory.pub", mallory.pem)
    sealer.lct("authority", "import", pem, status=4)
    (sealer.store / ".authority.pub.pem").unlink()
    sealer.lct("authority", "import", pem)
    approve(sealer, mallory, "k", status=None)
    approve(sealer, mallory, status=None)
    found = sealing.pcr_values(tpm, sealing.DEFAULT)
    sealing.put_approval(sealer, "m.json", json.dumps(mallory.approval(sealing.DEFAULT, found)))
    refused(sealer, "PCR 7 (sha256)")
    approve(sealer, authority, "k")
    signs(sealer)
    create(sealer, key="new")
    measure(tpm, 7)
    approve(sealer, mallory)
    signs(sealer, key="new")
    refused(sealer)


def test_a_store_s_authority_that_is_damaged_seals_nothing(sealer):
    path = sealer.store / ".authority.pub.pem"
    for text in ("", "nothing", path.read_text().replace("M", "N")):
        path.write_text(text)
        one_sentence(sealer.lct("create", "k", status=DAMAGED).stderr)
    path.unlink()
    path.symlink_to(sealer.write("nothing", "nothing"))
    sealer.lct("create", "k", status=None)
    assert sealer.in_store() == []


# The bus


def test_pcrs_that_are_lied_about_on_the_bus_open_nothing(moved, tpm):
    """The TPM itself compares; what is read is for the message and the choice of an approval."""
    answers = []
    user = moved

    def record(_command, ask):
        answers.append(ask())
        return answers[-1]

    user.proxy.hook(Command.PCR_Read, record)
    create(user, "--seal", SPEC, key="other")
    assert answers
    measure(tpm, 7)
    user.proxy.hook(Command.PCR_Read, lambda _command, _ask: answers[-1])
    done = user.lct("sign", "other", stdin="x", status=None)
    assert done.returncode != 0 and done.stdout == ""
    one_sentence(done.stderr)


@pytest.mark.parametrize("command", [Command.PolicyPCR, Command.PolicyOR])
def test_a_policy_step_that_is_suppressed_on_the_bus_gives_no_signature(moved, tpm, command):
    create(moved, "--seal", SPEC, key="other")
    moved.proxy.hook(command, lambda _command, _ask: struct.pack(">HII", 0x8001, 10, 0))
    done = moved.lct("sign", "other", stdin="x", status=None)
    assert done.returncode != 0 and done.stdout == ""
    one_sentence(done.stderr)


def test_a_forged_approval_in_a_key_file_takes_nothing_of_the_tpm_s_time(make_sealer, authority,
                                                                         make_tpm, make_proxy):
    proxy = make_proxy(make_tpm())
    sealer = make_sealer(proxy.tpm, proxy.tcti)
    create(sealer, "--seal", "authority:sha256:7")
    approve(sealer, authority, "k")
    (path,) = sealing.approvals(sealer)
    content = unarmour(sealer.lct("export", "k").stdout)
    (_, (_, s)) = values(values(base64.b64decode(json.loads(path.read_text())["signature"]))[0][1])
    path.unlink()
    s = s.lstrip(b"\0")
    assert content.count(s) == 1
    sign = ("dgst", "-sha256", "-sign", "file.pem", "-out", "sig", "data")
    sealer.write("file.pem", armour(content))
    sealer.openssl(*sign)
    assert proxy.count(Command.VerifySignature) == 1
    sealer.write("file.pem", armour(content.replace(s, s[:-1] + bytes([s[-1] ^ 1]))))
    sealer.openssl(*sign, status=1)
    assert proxy.count(Command.VerifySignature) == 1
