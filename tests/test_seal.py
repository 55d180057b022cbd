# SPDX-License-Identifier: Apache-2.0
"""Identities sealed to a boot state: what signs, what is refused, what approves another state."""

import fcntl
import json
import os
import re
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

import sealing
from keyfile import KeyFile
from sealing import DEFAULT, NO_AUTHORITY, SEALED, boot, measure, public_pem, reboot, seal_of
from test_bad_input import queue_says
from test_command import NEEDS_ROOT, let_others_in, one_sentence
from test_connection import fixture_brokered, fixture_persistent  # noqa: F401
from test_faults import MADE_SRK
from test_passphrase import count, on_a_terminal
from test_processes import fixture_process  # noqa: F401
from test_store import steps_of, unreadable
from test_tls import SOFTWARE, connect, start_server
from terminal import on_terminal
from tpm import Command, response, states_of, wait_for

USAGE, EXISTS, BAD_RECORD, STORE, CONFIG, AUTH, OTHER_TPM, UNSUPPORTED = 2, 4, 6, 7, 8, 12, 13, 15
REASON = "sealed to another boot state"
SECRET = "correct horse"
TWO_BANKS = "sha256:0,7+sha384:1"
KINDS = pytest.mark.parametrize("algorithm", ["ec-p256", "rsa-2048"])


def signs(user, key: str = "k", passphrase: bool = False):
    """lct and openssl sign, and in software both signatures verify."""
    options = ("--passphrase-file", user.write("secret", SECRET)) if passphrase else ()
    public = user.write("public.pem", public_pem(user, key))
    done = user.lct("sign", key, *options, stdin=user.path("data").read_bytes(), text=False)
    user.verify(public, user.write("sig", done.stdout), user.path("data"))
    given = ("-passin", f"pass:{SECRET}") if passphrase else ()
    user.openssl("dgst", "-sha256", "-sign", f"lct:{key}", *given, "-out", "sig", "data")
    user.verify(public, user.path("sig"), user.path("data"))


def refused(user, *said: str, key: str = "k", passphrase: bool = False):
    """Neither signs, and both say why in the same words."""
    options = ("--passphrase-file", user.write("secret", SECRET)) if passphrase else ()
    done = user.lct("sign", key, *options, stdin="x", status=SEALED)
    sentence = one_sentence(done.stderr)
    assert done.stdout == "" and sentence.startswith(f"lct:{key}: "), sentence
    given = ("-passin", f"pass:{SECRET}") if passphrase else ()
    done = user.openssl("dgst", "-sha256", "-sign", f"lct:{key}", *given, "-out", "sig", "data",
                        status=1)
    for each in (sentence, queue_says(done.stderr, REASON)):
        assert all(text in each for text in said), each


def create(user, *options: str, key: str = "k", passphrase: bool = False) -> str:
    """An identity; nothing is said on standard error, but of a TPM's first. Standard output."""
    if passphrase:
        options = (*options, "--passphrase-file", user.write("secret", SECRET))
    done = user.lct("create", key, *options)
    assert done.stderr.removeprefix(MADE_SRK) == "", done.stderr
    return done.stdout


def approve(user, authority, *operands: str, **options):
    return user.lct("approve", *authority.options, *operands, **options)


# Right PCRs sign, others don't


@pytest.mark.parametrize("passphrase", [False, True], ids=["", "passphrase"])
@pytest.mark.parametrize("options, kind, spec", [
    ((), "either", DEFAULT), (("--seal", TWO_BANKS), "either", TWO_BANKS),
    (("--seal", "strict:sha256:7"), "strict", "sha256:7"), (("--bind",), "either", DEFAULT)],
    ids=["default", "two banks", "strict", "bound"])
def test_a_key_signs_in_the_state_that_it_is_sealed_to_and_in_no_other(
        sealer, authority, tpm, options, kind, spec, passphrase):
    found = sealing.pcr_values(tpm, spec)
    said = create(sealer, *options, passphrase=passphrase)
    signs(sealer, passphrase=passphrase)
    signs(sealer, passphrase=passphrase)
    seal = seal_of(sealer, "k")
    assert (seal["kind"], seal["pcrs"]) == (kind, spec) and spec in said
    public = KeyFile.read(sealer.store / "k" / "key-1.pem").public
    ref = bytes.fromhex(seal.get("policy_ref", ""))
    assert (ref == sealing.sha256(b"lct:bound:k")) == ("--bind" in options)
    policy = sealing.policy_of_seal(kind, spec, found, authority.public, ref, passphrase)
    assert sealing.sized(policy) in public, "authPolicy is the one that is computed here"
    measure(tpm, 5)  # of no seal
    signs(sealer, passphrase=passphrase)
    measure(tpm, 7)
    refused(sealer, "PCR 7 (sha256)", "lct doctor k", passphrase=passphrase)
    sealer.lct("show", "k")
    sealer.openssl("pkey", "-pubin", "-in", "lct:k", "-pubout")


def test_the_bank_is_named_whose_pcr_differs(sealer, tpm):
    create(sealer, "--seal", TWO_BANKS)
    measure(tpm, 1, banks=("sha256",))
    signs(sealer)
    measure(tpm, 1, banks=("sha384",))
    refused(sealer, "PCR 1 (sha384)")


def test_a_passphrase_is_needed_in_the_right_state_too(make_sealer, make_tpm):
    sealer = make_sealer(make_tpm())
    create(sealer, passphrase=True)
    sealer.lct("sign", "k", stdin="x", status=AUTH, start_new_session=True)
    wrong = sealer.write("wrong", "not this one")
    sealer.tpm.lockout_count += 1
    error = sealer.lct("sign", "k", "--passphrase-file", wrong, stdin="x", status=AUTH).stderr
    assert "wrong passphrase" in one_sentence(error)
    signs(sealer, passphrase=True)


def test_a_key_without_a_seal_signs_in_any_state(sealer, tpm):
    create(sealer, "--seal", "none")
    assert seal_of(sealer, "k") is None
    measure(tpm, *range(8))
    signs(sealer)


@pytest.mark.parametrize("text, pcrs", [
    ("sha256:7", "sha256:7"), ("strict:sha256:2", "sha256:2"), ("none", None),
    ("authority", DEFAULT)])
def test_the_configuration_says_what_new_keys_are_sealed_to(sealer, text, pcrs):
    sealer.configure(seal=text)
    sealer.lct("create", "k")
    seal = seal_of(sealer, "k")
    assert (seal and seal["pcrs"]) == pcrs
    sealer.lct("create", "other", "--seal", "sha256:1")
    assert seal_of(sealer, "other")["pcrs"] == "sha256:1"


@KINDS
def test_every_kind_of_key_is_sealed_and_approved(sealer, authority, tpm, algorithm):
    create(sealer, "--algorithm", algorithm)
    signs(sealer)
    measure(tpm, 0)
    refused(sealer, "PCR 0 (sha256)")
    approve(sealer, authority, "k")
    signs(sealer)
    if algorithm.startswith("rsa"):
        sealer.openssl("dgst", "-sha256", "-sign", "lct:k", "-sigopt", "rsa_padding_mode:pss",
                       "-out", "sig", "data")
    sealer.certificate("lct:k")
    sealer.lct("csr", "k")
    sealer.lct("check", "k")


# Approvals


@pytest.mark.parametrize("passphrase", [False, True], ids=["", "passphrase"])
def test_an_approved_state_signs_with_the_same_key(sealer, authority, tpm, passphrase):
    create(sealer, passphrase=passphrase)
    before = public_pem(sealer, "k")
    files = {path.name: path.read_bytes() for path in (sealer.store / "k").iterdir()}
    for _ in range(2):
        measure(tpm, 7, 2)
        refused(sealer, "PCR 2 (sha256)", passphrase=passphrase)
        approve(sealer, authority, "k")
        signs(sealer, passphrase=passphrase)
    assert public_pem(sealer, "k") == before
    assert files == {path.name: path.read_bytes() for path in (sealer.store / "k").iterdir()}
    assert len(sealing.approvals(sealer)) == 2


def test_the_first_state_and_the_approved_one_sign_after_a_reboot(make_sealer, authority, make_tpm):
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    create(sealer)
    measure(tpm, 7)
    approve(sealer, authority, "k")
    signs(sealer)
    reboot(tpm)
    signs(sealer)
    measure(tpm, 7)
    signs(sealer)
    measure(tpm, 7)
    refused(sealer, "PCR 7 (sha256)")
    reboot(tpm, measured=False)
    refused(sealer, "PCR 0 (sha256)")


def test_a_seal_of_the_authority_alone_begins_with_its_first_approval(sealer, authority, tpm):
    said = create(sealer, "--seal", "authority")
    assert re.search(r"lct approve --authority \S+ k\b", said), said
    assert seal_of(sealer, "k")["kind"] == "authority"
    refused(sealer)
    approve(sealer, authority, "k")
    signs(sealer)
    measure(tpm, 3)
    refused(sealer)
    approve(sealer, authority, "k")
    signs(sealer)


def test_a_seal_of_the_authority_that_is_open_already_waits_for_nothing(sealer, authority):
    create(sealer, "--seal", "authority")
    approve(sealer, authority, "k")
    assert "once a state is approved" not in create(sealer, "--seal", "authority", key="b")
    said = create(sealer, "--seal", "authority", key="c", passphrase=True)
    assert "once a state is approved" not in said
    assert "once a state is approved" in create(sealer, "--seal", "authority", "--bind", key="d")


def test_a_strict_seal_is_not_approved(sealer, authority, tpm):
    create(sealer, "--seal", "strict:sha256:7")
    measure(tpm, 7)
    one_sentence(approve(sealer, authority, "k", status=None).stderr)
    refused(sealer, "PCR 7 (sha256)")


def test_one_approval_is_for_all_that_are_sealed_to_the_same(sealer, authority, tpm):
    for key, options in (("a", ()), ("b", ("--seal", "sha256:7")), ("c", ("--bind",)),
                         ("d", ("--seal", "strict:sha256:7")), ("e", ("--seal", "none"))):
        create(sealer, *options, key=key)
    measure(tpm, 7)
    approve(sealer, authority)
    for key in "abce":
        signs(sealer, key=key)
    refused(sealer, key="d")
    measure(tpm, 7)
    approve(sealer, authority, "c")
    signs(sealer, key="c")
    for key in "abd":
        refused(sealer, key=key)  # what is bound to c is for c alone
    approve(sealer, authority, "a", "b")
    for key in "ab":
        signs(sealer, key=key)


def test_a_state_is_approved_ahead_of_it(make_sealer, authority, make_tpm):
    """What `lct pcrs` wrote at another moment, before the reboot into it or after."""
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    create(sealer)
    measure(tpm, 2)
    written = sealer.write("later.json", sealer.lct("pcrs", "k").stdout)
    reboot(tpm)
    signs(sealer)
    approve(sealer, authority, "--pcrs", str(written), "k")
    measure(tpm, 2)
    signs(sealer)
    measure(tpm, 2)
    refused(sealer, "PCR 2 (sha256)")


@pytest.mark.parametrize("bound", [False, True], ids=["", "bound"])
@pytest.mark.parametrize("by", ["files", "pipes"])
def test_a_state_is_approved_on_another_machine(make_sealer, make_user, authority, tpm, bound, by):
    """Which has the key and the request, and neither the TPM nor the store."""
    sealer = make_sealer(tpm)
    create(sealer, *(["--bind"] if bound else []))
    create(sealer, *(["--bind"] if bound else []), key="other")
    measure(tpm, 1)
    request = sealer.lct("pcrs", "k").stdout
    elsewhere = make_user("swtpm:path=/nowhere")
    if by == "files":
        elsewhere.lct("approve", *authority.options, "--pcrs",
                      elsewhere.write("request", request), "--out", "approval")
        sealer.lct("approve", "--import", elsewhere.path("approval"))
    else:
        made = elsewhere.lct("approve", *authority.options, "--pcrs", "-", "--out", "-",
                             stdin=request).stdout
        assert json.loads(made)["version"] == 1
        sealer.lct("approve", "--import", "-", stdin=made)
    assert not elsewhere.store.exists()
    signs(sealer)
    if bound:
        refused(sealer, key="other")
    else:
        signs(sealer, key="other")


@pytest.mark.parametrize("lie", [{"counter": None}, {"id": "other"}, {"id": None},
                                 {"policy_ref": "00" * 32}], ids=lambda lie: next(iter(lie)))
def test_a_request_that_lies_about_its_policy_ref_is_not_approved(make_sealer, make_user, authority,
                                                                  tpm, lie):
    """Else an approval could be had that is never revoked, or is another identity's."""
    sealer = make_sealer(tpm)
    create(sealer, "--seal", "authority", "--revocable")
    request = json.loads(sealer.lct("pcrs", "k").stdout)
    elsewhere = make_user("swtpm:path=/nowhere")
    good = elsewhere.lct("approve", *authority.options, "--pcrs", "-", "--out", "good",
                         stdin=json.dumps(request))
    assert f"until its counter is over {request['counter']['value']}" in good.stdout
    done = elsewhere.lct("approve", *authority.options, "--pcrs", "-", "--out", "bad",
                         stdin=json.dumps(request | lie), status=6)
    assert "policyRef in the request" in done.stderr and not elsewhere.path("bad").exists()
    sealer.lct("delete", "k", "--yes")


def test_a_request_s_counter_is_told_before_anything_is_signed(make_sealer, make_user, authority,
                                                               tpm):
    """Wherever the approval goes: a higher one than the counter's is not revoked by counting."""
    sealer = make_sealer(tpm)
    create(sealer, "--seal", "authority", "--revocable")
    request = json.loads(sealer.lct("pcrs", "k").stdout)
    counter = request["counter"]["value"]
    elsewhere = make_user("swtpm:path=/nowhere")
    elsewhere.write("request", json.dumps(request))
    approving = ("approve", *authority.options, "--pcrs", "request", "--out")
    for words in ((*approving, "-"), (*approving, "approval", "--quiet"),
                  (*approving, "approval", "--json")):
        done = elsewhere.lct(*words)
        assert re.fullmatch(f"lct: lct:k: warning: .* until its counter is over {counter}[;:] .*\n",
                            done.stderr), done.stderr
    assert json.loads(done.stdout)["approvals"][0]["counter"] == counter
    done = elsewhere.lct(*approving, "/nowhere/approval", status=None)
    assert done.returncode != 0 and f"until its counter is over {counter}" in done.stderr
    sealer.lct("delete", "k", "--yes")


@pytest.mark.parametrize("value", [(1 << 32) + 1, (1 << 63) - 1])
def test_a_request_for_a_counter_that_none_has_is_refused(make_sealer, make_user, authority, tpm,
                                                          value):
    """An approval could be had that no revocation reaches."""
    sealer = make_sealer(tpm)
    create(sealer, "--seal", "authority", "--revocable")
    request = json.loads(sealer.lct("pcrs", "k").stdout)
    request["counter"]["value"] = value
    elsewhere = make_user("swtpm:path=/nowhere")
    elsewhere.write("request", json.dumps(request))
    done = elsewhere.lct("approve", *authority.options, "--pcrs", "request", "--out", "approval",
                         status=BAD_RECORD)
    assert str(value) in one_sentence(done.stderr) and not elsewhere.path("approval").exists()
    sealer.lct("delete", "k", "--yes")


@pytest.mark.parametrize("operands", [(), ("other",)], ids=["", "for another"])
def test_a_request_of_a_strict_seal_is_not_approved(make_user, sealer, authority, operands):
    """Its policyRef would be the empty one, and open every other key."""
    create(sealer, "--seal", "strict:sha256:7")
    create(sealer, key="other")
    request = sealer.lct("pcrs", "k").stdout
    for user in (sealer, make_user("swtpm:path=/nowhere")):
        user.write("request", request)
        for where in ((), ("--out", "approval")):
            sentence = one_sentence(approve(user, authority, "--pcrs", "request", *where, *operands,
                                            status=USAGE).stderr)
            assert "nothing can be approved for lct:k" in sentence
        assert sealing.approvals(user) == [] and not user.path("approval").exists()


def others_opened(done) -> list[tuple[str, str, str]]:
    """What approve warns of: the PCRs approved, whom that opens, and what that is sealed to."""
    return re.findall(r"^lct: warning: this approval of (\S+) opens (\S+) as well, which is sealed "
                      r"to (\S+?)(?: \(and \d+ more\))?; .*--bind.*$", done.stderr, re.MULTILINE)


def test_approve_warns_of_those_that_an_approval_of_fewer_pcrs_opens(sealer, authority, tpm):
    measure(tpm, 9)
    create(sealer, "--seal", "sha256:9", key="app")
    create(sealer, "--bind", key="bound")
    assert approve(sealer, authority, "app").stderr == ""
    create(sealer, "--seal", "authority:sha256:0,7", key="box")
    create(sealer, key="web")
    create(sealer, "--seal", "strict:sha256:1", key="strict")
    assert others_opened(approve(sealer, authority, "app")) == [
        ("sha256:9", "lct:box", "sha256:0,7")]
    assert others_opened(approve(sealer, authority, "web")) == [(DEFAULT, "lct:app", "sha256:9")]
    sealer.lct("delete", "app", "--yes")
    assert approve(sealer, authority, "web").stderr == ""
    assert approve(sealer, authority, "bound").stderr == ""
    sealer.write("few", sealer.lct("pcrs", "sha256:9").stdout)
    done = approve(sealer, authority, "--pcrs", "few", "--out", "approval")
    assert others_opened(done) == [("sha256:9", "lct:box", "sha256:0,7")]
    assert "sha256:0,7 (and 1 more); " in done.stderr


def test_approve_warns_of_keys_that_sign_alone(sealer, authority):
    """And of each of these, not the active ones alone."""
    create(sealer, "--seal", "sha256:0,7", key="a")
    sealer.lct("retire", "a", "--yes")
    create(sealer, "--seal", "sha256:7", key="b")
    assert approve(sealer, authority, "b").stderr == ""
    create(sealer, "--seal", "sha256:7", key="c")
    sealer.lct("rotate", "c", "--seal", "sha256:0,7")
    assert others_opened(approve(sealer, authority, "b")) == [
        ("sha256:7", "lct:c?generation=2", "sha256:0,7")]
    assert "more" not in approve(sealer, authority, "b").stderr


def test_a_file_takes_one_approval_or_nothing_is_signed(sealer, authority):
    create(sealer, key="a")
    create(sealer, key="b")
    create(sealer, "--seal", "sha256:7", key="c")
    for operands in ((), ("a", "b", "c"), ("a", "c")):
        done = approve(sealer, authority, "--out", "approval", *operands, status=USAGE)
        assert "several" in one_sentence(done.stderr) and done.stdout == ""
        assert not sealer.path("approval").exists()
    assert approve(sealer, authority, "--out", "approval", "a", "b").stdout.count("approved") == 2
    assert json.loads(sealer.path("approval").read_text())["pcrs"] == DEFAULT
    assert sealing.approvals(sealer) == []
    one_sentence(approve(sealer, authority, "a", "nobody", status=3).stderr)
    assert sealing.approvals(sealer) == []


def test_a_request_says_what_the_pcrs_hold(sealer, tpm):
    create(sealer, "--seal", TWO_BANKS, "--bind")
    request = json.loads(sealer.lct("pcrs", "k").stdout)
    assert (request["version"], request["id"], request["pcrs"]) == (1, "k", TWO_BANKS)
    assert request["policy_ref"] == sealing.sha256(b"lct:bound:k").hex()
    found = sealing.pcr_values(tpm, TWO_BANKS)
    assert request["values"] == {"sha256": {"0": found[0].hex(), "7": found[1].hex()},
                                 "sha384": {"1": found[2].hex()}}
    free = json.loads(sealer.lct("pcrs", "sha256:4").stdout)
    assert free["values"] == {"sha256": {"4": sealing.pcr_values(tpm, "sha256:4")[0].hex()}}
    assert free["id"] is None
    assert json.loads(sealer.lct("pcrs").stdout)["pcrs"] == DEFAULT


def test_an_approval_that_is_no_text_of_ours_is_refused(sealer, authority):
    create(sealer)
    for text in ("", "{}", "[]", "nothing", "{\"version\": 2}", "{\"sha256\": []}"):
        for words in (("--import", "-"), (*authority.options, "--pcrs", "-", "k")):
            one_sentence(sealer.lct("approve", *words, stdin=text, status=BAD_RECORD).stderr)
    assert sealing.approvals(sealer) == []


def test_what_approve_does_is_not_guessed(sealer, authority):
    create(sealer)
    assert "--authority" in one_sentence(sealer.lct("approve", "k", status=USAGE).stderr)
    assert "usage: lct approve" in one_sentence(
        sealer.lct("approve", *authority.options, "--import", "file", status=USAGE).stderr)
    one_sentence(sealer.lct("approve", "--authority", "/nowhere", "--passphrase-file",
                            authority.passphrase, "k", status=None).stderr)
    approve(sealer, authority, "nobody", status=3)
    approve(sealer, authority, "--pcrs", "/nowhere", "k", status=18)
    assert sealing.approvals(sealer) == []


def test_options_that_contradict_each_other_are_refused(sealer, authority):
    create(sealer)
    sealer.write("request", sealer.lct("pcrs", "k").stdout)
    error = approve(sealer, authority, "--pcrs", "current", "--pcrs", "request", "k",
                    status=USAGE).stderr
    assert "--pcrs was given twice" in one_sentence(error)
    assert sealing.approvals(sealer) == []


def test_where_no_tpm_is_approve_says_that_values_can_be_given(make_sealer, authority, tpm):
    sealer = make_sealer(tpm, "swtpm:path=/nowhere")
    sentence = one_sentence(approve(sealer, authority, status=9).stderr)
    assert sentence.endswith("; or give the values with --pcrs FILE")


@NEEDS_ROOT
def test_a_store_that_cannot_be_written_is_named(sealer, authority):
    create(sealer)
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    for there in (False, True):
        sealer.write("approval", json.dumps(authority.approval("sha256:1", [bytes(32)])))
        let_others_in(sealer)
        error = sealer.lct("approve", "--import", "approval", **nobody, status=7).stderr
        assert one_sentence(error).startswith(
            f"the store {sealer.store} cannot be written: Permission denied"), there
        approve(sealer, authority, "k")  # from now on the directory of approvals is there


def test_reseal_approves_what_the_pcrs_hold(sealer, authority, tpm):
    create(sealer)
    measure(tpm, 0, 7)
    refused(sealer)
    sealer.lct("reseal", "k", *authority.options)
    signs(sealer)
    sealer.lct("create", "strict", "--seal", "strict:sha256:7")
    one_sentence(sealer.lct("reseal", "strict", *authority.options, status=None).stderr)
    sealer.lct("reseal", "k", *authority.options, "--revoke", status=USAGE)


@pytest.mark.parametrize("kind", ["ec-p256", "rsa-2048", "rsa-3072"])
def test_an_authority_of_each_kind_approves(make_user, tpm, kind):
    user = make_user()
    user.configure(seal=None)
    user.write("data")
    boot(tpm)
    authority = sealing.Authority.init(user, "--algorithm", kind)
    create(user)
    measure(tpm, 7)
    refused(user)
    approve(user, authority, "k")
    signs(user)


def test_approvals_made_without_lct_are_taken(sealer, authority, tpm):
    """The format is a contract: a fleet's own tool may write it."""
    create(sealer, "--seal", "sha256:1")
    measure(tpm, 1)
    found = sealing.pcr_values(tpm, "sha256:1")
    approval = json.dumps(authority.approval("sha256:1", found))
    sealer.lct("approve", "--import", "-", stdin=approval)
    signs(sealer)
    (path,) = sealing.approvals(sealer)
    written = json.loads(path.read_text())
    assert written == json.loads(approval) | {"created": written["created"]}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.unlink()
    refused(sealer)
    sealing.put_approval(sealer, path.name, approval)
    signs(sealer)


def test_approvals_of_more_pcrs_or_other_ones_than_the_first_state_s(sealer, authority, tpm):
    """PolicyAuthorize says nothing of which PCRs are approved; the authority does."""
    create(sealer, "--seal", "sha256:1")
    measure(tpm, 1)
    spec = "sha256:0,4+sha384:2"
    approval = authority.approval(spec, sealing.pcr_values(tpm, spec))
    sealing.put_approval(sealer, "of-others.json", json.dumps(approval))
    signs(sealer)
    measure(tpm, 1)
    signs(sealer)
    measure(tpm, 4)
    refused(sealer)


# systemd's


@pytest.fixture(name="fleet")
def fixture_fleet(sealer, tpm):
    """A store whose authority signs with systemd-measure, and an identity sealed to PCR 11."""
    shutil.rmtree(sealer.store)
    sealer.key = sealer.path("fleet.pem")
    pem = sealing.software_key(sealer.key, "rsa")
    sealer.lct("authority", "import", sealer.write("fleet.pub", pem))
    measure(tpm, 11)
    create(sealer, "--seal", "sha256:11")
    measure(tpm, 11)
    sealer.signature = sealing.systemd_signature(sealer.key, 11,
                                                 sealing.pcr_values(tpm, "sha256:11")[0])
    return sealer


def test_systemd_s_signature_is_an_approval(fleet, tpm):
    path = fleet.path("tpm2-pcr-signature.json")
    fleet.configure(seal=None, pcr_signature=str(path))
    refused(fleet)  # and it need not be there
    path.write_text(fleet.signature)
    signs(fleet)
    measure(tpm, 11)
    refused(fleet)
    theirs = json.loads(fleet.signature)
    ours = json.loads(sealing.systemd_signature(fleet.key, 11,
                                                sealing.pcr_values(tpm, "sha256:11")[0]))
    path.write_text(json.dumps({"sha1": theirs["sha256"], "sha256": [
        theirs["sha256"][0], *ours["sha256"]]}))
    signs(fleet)


def test_systemd_s_signature_is_imported(fleet):
    fleet.lct("approve", "--import", "-", stdin=fleet.signature)
    signs(fleet)


SPOILT_ENTRIES = [
    lambda entry: entry.update(pol="00" * 32), lambda entry: entry.update(pol=entry["pol"][2:]),
    lambda entry: entry.update(sig=entry["sig"][4:]), lambda entry: entry.update(pcrs=[12]),
    lambda entry: entry.pop("sig"), lambda entry: entry.update(pcrs=["11"]),
    lambda entry: entry.update(pcrs=[4096]), lambda entry: entry.update(sig=7)]


def test_a_spoilt_signature_of_systemd_s_approves_nothing(fleet):
    path = fleet.path("signature.json")
    fleet.configure(seal=None, pcr_signature=str(path))
    for number, spoil in enumerate(SPOILT_ENTRIES):
        whole = json.loads(fleet.signature)
        spoil(whole["sha256"][0])
        path.write_text(json.dumps(whole))
        done = fleet.lct("sign", "k", stdin="x", status=None, text=False)
        assert done.returncode == SEALED, number
    path.write_text(fleet.signature)
    signs(fleet)


# What is revoked


def nv_indices(tpm) -> list[int]:
    return tpm.handles(0x01000000)


def test_older_approvals_are_void_once_they_are_revoked(make_sealer, authority, make_tpm):
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    assert nv_indices(tpm) == []
    create(sealer, "--seal", "authority", "--revocable")
    (index,) = nv_indices(tpm)
    seal = seal_of(sealer, "k")
    assert seal["counter"]["handle"] == f"0x{index:08x}"
    approve(sealer, authority, "k")
    signs(sealer)
    old = sealing.approvals(sealer)
    kept = {path.name: path.read_bytes() for path in old}
    sealer.lct("reseal", "k", *authority.options, "--revoke")
    signs(sealer)
    for path in sealing.approvals(sealer):
        path.unlink()
    for name, content in kept.items():
        sealing.put_approval(sealer, name, content)
    refused(sealer)
    approve(sealer, authority, "k")
    signs(sealer)
    reboot(tpm)
    signs(sealer)
    sealer.lct("delete", "k", "--yes")
    assert nv_indices(tpm) == []


@pytest.mark.parametrize("seal", [(), ("--seal", "sha256:7"), ("--seal", "strict:sha256:7"),
                                  ("--seal", "none")])
def test_only_what_the_authority_alone_seals_is_revocable(make_sealer, make_tpm, seal):
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    one_sentence(sealer.lct("create", "k", "--revocable", *seal, status=USAGE).stderr)
    assert nv_indices(tpm) == [] and sealer.in_store() == []


REFUSED = (Command.NV_DefineSpace, Command.NV_Increment, Command.NV_ReadPublic, Command.NV_Read,
           Command.PCR_Read, Command.Create, Command.Load)


def test_what_fails_leaves_no_counter_behind(make_sealer, make_tpm, make_proxy):
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    sealer = make_sealer(tpm, proxy.tcti)
    create(sealer, "--seal", "authority", "--revocable", key="other")
    (index,) = nv_indices(tpm)
    proxy.codes.clear()
    create(sealer, "--seal", "authority", "--revocable")
    met = [command for command in REFUSED if command in proxy.codes]
    sealer.lct("delete", "k", "--yes")
    assert {Command.NV_DefineSpace, Command.NV_Increment, Command.Create} <= set(met)
    for command in met:
        proxy.refuse(command, 0x84, 1)  # TPM_RC_VALUE
        done = sealer.lct("create", "k", "--seal", "authority", "--revocable", status=None)
        proxy.hook(command, lambda _command, ask: ask())
        assert done.returncode != 0, command
        one_sentence(done.stderr)
        assert nv_indices(tpm) == [index] and sealer.in_store() == ["other"], command


def test_the_owner_alone_counts_up(make_sealer, authority, make_tpm):
    """Where the owner has an authorization, it is needed to make, revoke and remove."""
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    create(sealer, "--seal", "none", key="first")
    tpm.tool("tpm2_changeauth", "-c", "owner", "the owner's own")
    revocable = ("create", "k", "--seal", "authority", "--revocable")
    sealer.lct(*revocable, status=AUTH, start_new_session=True)
    assert nv_indices(tpm) == []
    owned = {"seal": None, "owner_auth_file": str(sealer.write("owner", "the owner's own"))}
    sealer.configure(**owned)
    create(sealer, *revocable[2:])
    sealer.configure(seal=None)
    approve(sealer, authority, "k")
    signs(sealer)
    sealer.lct("reseal", "k", *authority.options, "--revoke", status=AUTH, start_new_session=True)
    signs(sealer)
    sealer.configure(**owned)
    measure(tpm, 7)
    sealer.lct("reseal", "k", *authority.options, "--revoke")
    sealer.configure(seal=None)
    signs(sealer)
    reboot(tpm)
    refused(sealer, "revoked")
    sealer.configure(**owned)
    sealer.lct("delete", "k", "--yes")
    assert nv_indices(tpm) == []


@pytest.mark.parametrize("at", [1, 2])
def test_a_revocation_that_stopped_half_way_leaves_nothing_to_the_next(make_sealer, authority,
                                                                       make_tpm, make_proxy, at):
    """It has an approval written by then, which may have been copied, and does not count."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    sealer = make_sealer(tpm, proxy.tcti)
    create(sealer, "--seal", "authority", "--revocable")
    approve(sealer, authority, "k")
    revoke = ("reseal", "k", *authority.options, "--revoke")
    proxy.refuse(Command.NV_Increment, 0x84, at)  # TPM_RC_VALUE
    one_sentence(sealer.lct(*revoke, status=None).stderr)
    proxy.heal()
    signs(sealer)
    kept = {path.name: path.read_bytes() for path in sealing.approvals(sealer)}
    measure(tpm, 7)
    sealer.lct(*revoke)
    signs(sealer)
    reboot(tpm)
    refused(sealer, "revoked")
    for name, content in kept.items():
        sealing.put_approval(sealer, name, content)
    refused(sealer, "revoked")
    sealer.lct("delete", "k", "--yes")


def test_the_owner_s_authorization_is_asked_for_once(revocable, authority):
    """And the passphrase of the authority too, though two approvals are signed."""
    user = revocable
    user.tpm.tool("tpm2_changeauth", "-c", "owner", "the owner's own")
    revoke = ("reseal", "k", "--authority", authority.key, "--revoke")
    shown = on_a_terminal(user, [str(user.build / "lct"), *map(str, revoke)], sealing.PASSPHRASE,
                          "the owner's own")
    assert shown.startswith("0 ") and "revoked what was approved for lct:k" in shown
    assert shown.count("authorization of the TPM's owner") == 1
    assert shown.count("assphrase") == 1
    signs(user)
    user.tpm.tool("tpm2_changeauth", "-c", "owner", "-p", "the owner's own", "")


def test_of_two_revocations_one_waits_for_the_other(revocable, authority):
    user = revocable
    revoke = ("reseal", "k", *authority.options, "--revoke")
    before = sealing.approvals(user)
    held = os.open(user.store / "k", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    both = [begin(user, revoke) for _ in range(2)]
    for each in both:
        wait_for(lambda each=each: is_at(each, user.store / "k"), "it to come to the identity")
    assert [each.poll() for each in both] == [None, None]
    assert sealing.approvals(user) == before
    os.close(held)
    for each in both:
        each.communicate(timeout=60)
    assert [each.returncode for each in both] == [0, 0]
    signs(user)


def test_a_revocation_leaves_one_approval_more(revocable, authority):
    user = revocable
    before = sealing.approvals(user)
    for _ in range(2):
        said = user.lct("reseal", "k", *authority.options, "--revoke").stdout
        counter = int(re.search("until its counter is over ([0-9]+)\n", said)[1])
        assert f"revoked what was approved for lct:k up to a counter of {counter - 1}\n" in said
        added = set(sealing.approvals(user)) - set(before)
        assert len(added) == 1
        before = sealing.approvals(user)


@pytest.fixture(name="revocable")
def fixture_revocable(make_sealer, authority, make_tpm):
    """A key whose approval has a counter, at `index`."""
    sealer = make_sealer(make_tpm())
    create(sealer, "--seal", "authority", "--revocable")
    approve(sealer, authority, "k")
    (sealer.index,) = nv_indices(sealer.tpm)
    return sealer


def doctor(user, status: int | None = SEALED) -> tuple[str, list]:
    """What doctor says of k: as text, and the findings about the identity."""
    text = user.lct("doctor", "k", status=status).stdout
    found = json.loads(user.lct("doctor", "k", "--json", status=status).stdout)
    return text, [each for each in found if each["topic"] == "identity"]


@pytest.mark.parametrize("approved", [True, False], ids=["approved", "in another state"])
@pytest.mark.parametrize("another", [True, False], ids=["another is there", "nothing is there"])
def test_a_key_whose_counter_is_gone_is_lost_and_that_is_said(revocable, authority, approved,
                                                              another):
    user = revocable
    if not approved:
        measure(user.tpm, 7)
    user.tpm.tool("tpm2_nvundefine", f"0x{user.index:08x}")
    if another:
        user.tpm.tool("tpm2_nvdefine", f"0x{user.index:08x}", "-s", "8", "-a",
                      "ownerread|ownerwrite|authread|nt=counter")
    refused(user, "counter", "cannot be used any more")
    text, found = doctor(user)
    problems = [each for each in found if each["severity"] == "problem"]
    assert len(problems) == 1 and problems[0]["command"] is None, found
    assert "cannot be used any more" in problems[0]["text"] and "lct approve" not in text
    assert "NV counter" in approve(user, authority, status=OTHER_TPM).stderr
    create(user, key="other")
    done = approve(user, authority)
    assert "approved for lct:other" in done.stdout and "warning: lct:k: its NV" in done.stderr
    done = user.lct("delete", "k", "--yes")
    assert "warning" in done.stderr and "not at" in done.stderr
    assert done.stdout == "deleted lct:k\n"
    assert (nv_indices(user.tpm) == [user.index]) == another


def put_another(user):
    """Another's counter at the index of ours, whose authorization the TPM counts wrong tries of."""
    index = f"0x{user.index:08x}"
    user.tpm.tool("tpm2_nvundefine", index)
    user.tpm.tool("tpm2_nvdefine", index, "-s", "8", "-p", "another's own", "-a",
                  "ownerread|ownerwrite|authread|nt=counter")
    user.tpm.tool("tpm2_nvincrement", "-C", "o", index)


def test_no_authorization_is_tried_on_another_counter(revocable):
    """A service that is started again and again would lock each key that has a passphrase."""
    user = revocable
    put_another(user)
    for _ in range(2):
        refused(user, "its NV counter", "cannot be used any more")
    doctor(user)
    assert count(user) == 0


def test_a_program_that_goes_on_tries_one_authorization_on_another_counter(revocable, persistent):
    """It has seen its own there; what takes its place later is tried once."""
    program = persistent(revocable, "k")
    assert program.try_to_sign()[0] == "signed"
    put_another(revocable)
    for _ in range(3):
        assert "its NV counter" in program.try_to_sign()[0]
    program.end()
    assert count(revocable) == 1
    revocable.tpm.lockout_count = 1


def test_a_counter_that_stays_is_told_with_what_removes_it(revocable):
    user = revocable
    user.tpm.tool("tpm2_changeauth", "-c", "owner", "the owner's own")
    done = user.lct("delete", "k", "--yes", start_new_session=True)
    assert "authorization" in done.stderr
    assert f"tpm2_nvundefine 0x{user.index:08x}" in done.stdout
    assert nv_indices(user.tpm) == [user.index]
    user.tpm.as_told(done.stdout, user.write("owner", "the owner's own"))
    assert nv_indices(user.tpm) == []


REVOCABLE = ("--seal", "authority", "--revocable")


def killed(user, command: Command, when: str, *words: str):
    """A command that is killed before or after a command to the TPM."""
    done = user.lct(*words, status=None, preload=[user.build / "tests" / "preload_tpm.so"],
                    env={"LCT_TPM_CODE": f"{command:#x}", "LCT_TPM_AT": "1",
                         "LCT_TPM_FAULT": f"kill-{when}"})
    assert done.returncode == -signal.SIGKILL
    user.tpm.flush()


@pytest.mark.parametrize("way", ["create, never counted", "create", "delete", "rotate"])
def test_a_counter_that_a_kill_leaves_is_found_and_removed(make_sealer, make_tpm, way):
    sealer = make_sealer(make_tpm())
    create(sealer, *REVOCABLE, key="other")
    (other,) = nv_indices(sealer.tpm)
    if way == "create, never counted":
        killed(sealer, Command.NV_DefineSpace, "after", "create", "k", *REVOCABLE)
    elif way == "create":
        killed(sealer, Command.NV_Increment, "after", "create", "k", *REVOCABLE)
    elif way == "delete":
        create(sealer, *REVOCABLE)
        killed(sealer, Command.NV_UndefineSpace, "before", "delete", "k", "--yes")
    else:
        create(sealer, "--seal", "none")
        killed(sealer, Command.NV_Increment, "after", "rotate", "k", *REVOCABLE)
    (left,) = set(nv_indices(sealer.tpm)) - {other}
    found = json.loads(sealer.lct("doctor", "--json", status=None).stdout)
    (told,) = [each for each in found if "counters" in each]
    assert (told["counters"], told["command"]) == (1, "lct gc --evict")
    line = f"0x{left:08x}  an NV counter of no identity here: "
    assert sealer.lct("gc").stdout == line + "not needed; lct gc --evict removes it\n"
    assert "1 NV counters removed" in one_sentence(sealer.lct("gc", "--evict", status=USAGE).stderr)
    assert left in nv_indices(sealer.tpm)
    assert sealer.lct("gc", "--evict", "--yes").stdout == line + "removed\n"
    assert nv_indices(sealer.tpm) == [other] and sealer.lct("gc").stdout == ""
    assert "counters" not in sealer.lct("doctor", "--json", status=None).stdout


def is_at(process, directory: Path) -> bool:
    """Whether a process has the directory open, or has ended."""
    if process.poll() is not None:
        return True
    try:
        return any(os.path.realpath(link) == str(directory)
                   for link in Path(f"/proc/{process.pid}/fd").iterdir())
    except FileNotFoundError:
        return False


@pytest.fixture(name="between")
def fixture_between(make_sealer, make_tpm):
    """Starts a command and stops it between its counter and its record."""
    sealer = make_sealer(make_tpm())
    create(sealer, *REVOCABLE, key="first")  # which draws the store's number
    sealer.lct("delete", "first", "--yes")
    started = []

    def start(*words: str) -> subprocess.Popen:
        """A create looks first whether the store can be written, and opens it anew for the key."""
        step = 0
        if words[0] == "create":
            step = steps_of(sealer, ["create", "first", *REVOCABLE]).index("open")
            sealer.lct("delete", "first", "--yes")
        started.append(begin(sealer, words, step + 1))
        wait_for(lambda: states_of(started[0].pid) == {"T"}, "it to stop")
        (sealer.index,) = nv_indices(sealer.tpm)
        return started[0]

    yield sealer, start
    for process in started:
        process.kill()
        process.communicate()


def begin(sealer, words, step: int = 0) -> subprocess.Popen:
    """A command, which is stopped before that step of those that change the store; 0: not."""
    env = {"LCT_FS_BELOW": str(sealer.store), "LCT_FS_STEP": str(step), "LCT_FS_ACTION": "stop"}
    preload = [sealer.build / "tests" / "preload_fs.so"]
    return subprocess.Popen([sealer.build / "lct", *words],
                            env=sealer.environment(env, preload), cwd=sealer.directory,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("how", ["create", "rotate"])
def test_a_counter_whose_key_is_being_made_is_waited_for(between, how):
    """A key that is to follow another has no approval by its counter yet, and does not come to be:
    its own command takes the counter away."""
    sealer, start = between
    if how == "rotate":
        create(sealer, "--seal", "none")
    making = start(how, "k", *REVOCABLE)
    collecting = begin(sealer, ("gc", "--evict", "--yes"))
    wait_for(lambda: is_at(collecting, sealer.store), "it to come to the store")
    assert collecting.poll() is None and nv_indices(sealer.tpm) == [sealer.index]
    making.send_signal(signal.SIGCONT)
    assert making.wait(timeout=60) == (SEALED if how == "rotate" else 0)
    assert how == "create" or "a counter of its own has no approval yet" in making.stderr.read()
    said = collecting.communicate(timeout=60)
    assert (collecting.returncode, *said) == (0, "", "")
    assert nv_indices(sealer.tpm) == ([] if how == "rotate" else [sealer.index])


def test_an_identity_does_not_come_back_while_counters_are_removed(revocable):
    user = revocable
    archive = user.write("backup.tar", user.lct("backup", text=False).stdout)
    shutil.rmtree(user.store / "k")
    held = os.open(user.store, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    restoring = begin(user, ("restore", "--yes", archive))
    wait_for(lambda: is_at(restoring, user.store), "it to come to the store")
    assert restoring.poll() is None and not (user.store / "k").exists()
    os.close(held)
    restoring.communicate(timeout=60)
    assert restoring.returncode == 0
    signs(user)


def test_a_counter_whose_key_is_being_made_for_long_is_left(between):
    sealer, start = between
    making = start("create", "k", *REVOCABLE)
    said = one_sentence(sealer.lct("gc", "--evict", "--yes", status=STORE).stderr)
    assert str(sealer.store) in said and "locked by another program" in said
    making.kill()
    making.wait()
    sealer.lct("gc", "--evict", "--yes")
    assert nv_indices(sealer.tpm) == []


@pytest.mark.parametrize("way", ["not mounted", "another's", "moved"])
def test_a_store_in_the_place_of_another_takes_no_counter_away(revocable, make_sealer, way):
    """Its path is that of the store that the counter was made for."""
    user, aside = revocable, revocable.path("aside")
    user.store.rename(aside)
    if way != "not mounted":
        user.store.mkdir()
        shutil.copy(aside / ".authority.pub.pem", user.store)
    if way == "another's":
        create(user, *REVOCABLE, key="other")
        user.lct("delete", "other", "--yes")
    for options in ((), ("--store", aside)) if way == "moved" else ((),):
        user.lct("gc", "--evict", "--yes", *options)
        assert nv_indices(user.tpm) == [user.index]
    shutil.rmtree(user.store, ignore_errors=True)
    aside.rename(user.store)
    signs(user)


def test_a_store_whose_number_is_damaged_takes_no_counter_away(revocable):
    user = revocable
    user.lct("gc")
    (user.store / ".maker").write_text("0")
    assert ".maker is damaged" in one_sentence(user.lct("gc", status=BAD_RECORD).stderr)


def another_store(user, *words: str) -> Path:
    """A store with what a backup of the user's brings."""
    tar = user.write("backup.tar", user.lct("backup", *words, text=False).stdout)
    user.lct("restore", tar, "--store", user.path("other"))
    return user.path("other")


@pytest.mark.parametrize("way", ["elsewhere", "in its place"])
def test_a_counter_that_was_made_for_another_store_stays(revocable, way):
    """What another store, or the one of before, has of the identity would be lost with it."""
    user = revocable
    if way == "elsewhere":
        options = ("--store", another_store(user))
    else:
        tar, options = user.write("b.tar", user.lct("backup", text=False).stdout), ()
        shutil.copytree(user.store, user.path("aside"))
        shutil.rmtree(user.store)
        user.lct("restore", tar)
    done = user.lct("delete", "k", "--yes", *options)
    assert "made for another store" in one_sentence(done.stderr)
    assert f"if no other identity has it: tpm2_nvundefine 0x{user.index:08x}" in done.stdout
    if way == "in its place":
        shutil.rmtree(user.store)
        user.path("aside").rename(user.store)
    signs(user)
    user.lct("delete", "k", "--yes")
    assert nv_indices(user.tpm) == []


def test_a_counter_that_stays_is_in_the_object_for_programs(revocable):
    user = revocable
    done = user.lct("delete", "k", "--yes", "--json", "--store", another_store(user))
    assert json.loads(done.stdout)["left_in_tpm"] == [f"0x{user.index:08x}"]


def claim(user, key: str, generation: int):
    """Its record has the counter of lct:k, as whoever may write to its directory can have it."""
    counter = seal_of(user, "k")["counter"]
    user.edit_record(key, lambda record: record["generations"][generation - 1]["seal"].update(
        counter=counter))


@pytest.mark.parametrize("how", ["delete", "withdraw"])
def test_a_record_takes_no_counter_of_another_identity_away(revocable, authority, how):
    user = revocable
    create(user, *REVOCABLE, key="web")
    approve(user, authority, "web")
    if how == "delete":
        claim(user, "web", 1)
        done = user.lct("delete", "web", "--yes", "--json")
        assert json.loads(done.stdout)["left_in_tpm"] == []
    else:
        user.lct("rotate", "web")
        claim(user, "web", 2)
        done = user.lct("rotate", "web", "--withdraw")
    said = one_sentence(done.stderr)
    assert f"0x{user.index:08x} stays" in said and "lct:k has it" in said
    assert "nvundefine" not in done.stdout
    signs(user)


def test_a_counter_of_another_identity_is_not_named_to_be_removed_where_there_is_no_tpm(revocable):
    user = revocable
    shutil.copytree(user.store / "k", user.store / "eve")
    user.edit_record("eve", lambda record: record.update(id="eve"))
    done = user.lct("delete", "eve", "--yes", "--json", "--tcti", "swtpm:path=/nowhere")
    assert json.loads(done.stdout)["left_in_tpm"] == []
    assert "lct:k has it" in one_sentence(done.stderr) and "nvundefine" not in done.stdout
    done = user.lct("delete", "k", "--yes", "--tcti", "swtpm:path=/nowhere")
    assert f"if no other identity has it: tpm2_nvundefine 0x{user.index:08x}" in done.stdout


def test_a_counter_stays_while_a_record_that_may_speak_of_it_cannot_be_read(revocable):
    user = revocable
    user.lct("create", "other", "--seal", "none")
    (user.store / "other" / "identity.json").write_text("{")
    done = user.lct("delete", "k", "--yes")
    assert "lct:other" in one_sentence(done.stderr) and "stays" in done.stderr
    assert f"tpm2_nvundefine 0x{user.index:08x}" in done.stdout
    assert nv_indices(user.tpm) == [user.index]


@pytest.fixture(name="of_nobody")
def fixture_of_nobody(make_sealer, make_tpm, namespaces):  # noqa: ARG001
    """
    Runs a script in a mount namespace with another /var/lib/lct, so that this machine's store is
    left alone: lct as root, and aslct as nobody, who has a store and an authority.
    """
    sealer = make_sealer(make_tpm())
    let_others_in(sealer)
    home = sealer.path("home")
    sealer.path("system").mkdir()
    shutil.copytree(sealer.store, home / "lct")
    for path in (home, *home.rglob("*")):
        os.chown(path, 65534, 65534)
    sealer.configure(store=None, seal=None)

    def run(script: str) -> list[str]:
        """What each part of the script, between lines of ---, says on either stream."""
        done = sealer.run("unshare", "--mount", "sh", "-c", f"""exec 2>&1
            mount -t tmpfs none /var/lib && mkdir -m 755 /var/lib/lct
            mount --bind system /var/lib/lct
            as="setpriv --reuid nobody --regid nogroup --clear-groups env XDG_DATA_HOME={home}"
            alias lct="{sealer.build}/lct" aslct="$as {sealer.build}/lct"
            {script}""", env={"HOME": "/nowhere"})
        return done.stdout.split("---\n")

    sealer.script = run
    return sealer


@NEEDS_ROOT
@pytest.mark.parametrize("whose", ["no identity", "a system identity", "a damaged one"])
def test_who_may_not_read_a_system_identity_is_told_who_knows_of_its_counter(of_nobody, whose):
    """To give the identity away is no advice: it is not this user's."""
    moved = {"no identity": ":", "a system identity": "cp -r home/lct/u /var/lib/lct",
             "a damaged one": "cp -r home/lct/u /var/lib/lct && echo >/var/lib/lct/u/identity.json"}
    deleted, collected = of_nobody.script(f"""
        lct create sys --seal none --quiet || exit
        aslct create u --seal authority --revocable --quiet || exit
        {moved[whose]} && aslct delete u --yes; echo ---; aslct gc; test $? = {STORE}""")
    (index,) = nv_indices(of_nobody.tpm)
    told = (rf"lct:\w+: /var/lib/lct: you may not read its record, which may speak of an NV counter "
            rf"of your store; as root, (lct gc --store /var/lib/lct) lists those that no identity "
            rf"there has\n")
    assert re.fullmatch(rf"lct: warning: lct:u: its NV counter at 0x{index:08x} stays: {told}"
                        rf"deleted lct:u\n.* if no other identity has it: tpm2_nvundefine .*\n",
                        deleted), deleted
    assert (said := re.fullmatch(f"lct: {told}", collected)), collected
    assert of_nobody.script(said[1]) == [{
        "no identity": f"0x{index:08x}  an NV counter of no identity here: left: another store's\n",
        "a system identity": "",
        "a damaged one": f"0x{index:08x}  an NV counter: left: another store's, or of an identity "
                         "here that cannot be read\n"}[whose]]


def test_a_counter_stays_while_an_identity_that_may_have_it_comes_back(revocable):
    user = revocable
    held = os.open(user.store, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_SH)
    done = user.lct("delete", "k", "--yes")
    os.close(held)
    assert "locked by another program" in done.stderr and nv_indices(user.tpm) == [user.index]
    assert user.in_store() == []


def test_who_deletes_a_key_with_a_counter_is_told_that_no_backup_brings_it_back(revocable):
    user = revocable
    said = one_sentence(user.lct("delete", "k", status=USAGE).stderr)
    assert "no backup brings it back" in said
    with on_terminal(user, "delete", "k") as terminal:
        terminal.read_until("no backup brings it back")
        terminal.read_until("[y/N]")
        terminal.type("n\r")
        assert terminal.end() == USAGE
    create(user, "--seal", "none", key="plain")
    assert "backup" not in one_sentence(user.lct("delete", "plain", status=USAGE).stderr)


def test_a_restored_key_whose_counter_is_gone_is_said_to_be_of_no_use(revocable):
    user = revocable
    tar = user.write("b.tar", user.lct("backup", text=False).stdout)
    assert "its key is of this TPM" in user.lct("restore", "--check", tar).stdout
    user.lct("delete", "k", "--yes")
    for options, status in ((("--check",), OTHER_TPM), ((), 0)):
        done = user.lct("restore", *options, tar, status=status)
        assert "lct:k: it cannot be used any more" in done.stderr and "NV counter" in done.stderr
        assert "its key is of this TPM" not in done.stdout
    (command,) = re.findall("(lct rotate .*) makes a successor", done.stderr)
    user.lct(*command.split()[1:])
    user.lct("rotate", "k", "--commit")
    signs(user)


def test_an_identity_that_went_two_ways_is_not_deleted_for_the_other_s_sake(revocable):
    """Both have the counter of their first key, or may have it."""
    user = revocable
    other = another_store(user)
    for options in ((), ("--store", other)):
        user.lct("rotate", "k", *options)
        user.lct("rotate", "k", "--commit", *options)
    tar = user.write("b.tar", user.lct("backup", "--store", other, text=False).stdout)
    said = one_sentence(user.lct("restore", tar, status=EXISTS).stderr)
    assert "have gone different ways" in said and "move its directory out of the store" in said
    (user.store / "k").rename(user.path("aside"))
    assert "its key is of this TPM" in user.lct("restore", tar).stdout
    signs(user)


def test_the_owners_authorization_is_asked_for_to_remove_what_is_left(make_sealer, make_tpm):
    sealer = make_sealer(make_tpm())
    killed(sealer, Command.NV_Increment, "after", "create", "k", *REVOCABLE)
    sealer.tpm.tool("tpm2_changeauth", "-c", "owner", "the owner's own")
    done = sealer.lct("gc", "--evict", "--yes", status=AUTH, start_new_session=True)
    assert "left, since that failed" in done.stdout and "owner" in one_sentence(done.stderr)
    sealer.configure(owner_auth_file=str(sealer.write("owner", "the owner's own")))
    sealer.lct("gc", "--evict", "--yes")
    assert nv_indices(sealer.tpm) == []


def test_counters_of_another_store_and_of_a_damaged_record_are_left(revocable, make_sealer):
    user = revocable
    other = make_sealer(user.tpm)
    done = other.lct("gc", "--evict", "--yes")
    assert done.stdout == \
        f"0x{user.index:08x}  an NV counter of no identity here: left: another store's\n"
    path = user.store / "k" / "identity.json"
    whole = path.read_text()
    path.write_text(whole[:-9])
    assert "lct:k" in one_sentence(user.lct("gc", "--evict", "--yes", status=BAD_RECORD).stderr)
    path.write_text(whole)
    assert user.lct("gc", "--evict", "--yes").stdout == ""
    assert nv_indices(user.tpm) == [user.index]


@pytest.mark.parametrize("way", ["no record", "no sight of it", "no store to its end"])
def test_what_cannot_be_seen_of_the_identities_takes_no_counter_away(revocable, way):
    """Without its counter a key is lost, and its record may come back."""
    user, record = revocable, revocable.store / "k" / "identity.json"
    runs = [{}]
    if way == "no record":
        record.rename(user.path("aside"))
    elif way == "no sight of it":
        runs = [{"preload": [user.build / "tests" / "preload_fs.so"],
                 "env": {"LCT_FS_BLIND": str(user.write("blind"))}}]
    else:
        runs = [unreadable(user, user.store, after) for after in range(len(os.listdir(user.store)))]
    for options in runs:
        done = user.lct("gc", "--evict", "--yes", status=None, **options)
        assert done.returncode == (BAD_RECORD if way == "no record" else STORE), options
        assert "lct:k" in done.stderr or "cannot be read" in done.stderr
        assert nv_indices(user.tpm) == [user.index], options
    if way == "no record":
        user.path("aside").rename(record)
    assert user.lct("gc", "--evict", "--yes").stdout == ""
    signs(user)


def test_what_only_looks_like_a_counter_of_the_store_is_left(make_sealer, make_tpm):
    """Made as ours are, with the tag of one that was, or with none; at another index, or ours."""
    sealer = make_sealer(make_tpm())
    sealer.lct("create", "k", "--seal", "none")
    policy = sealer.write("policy", bytes(32))
    mask = "nt=counter|ownerwrite|ownerread|authread|no_da"
    sealer.tpm.tool("tpm2_nvdefine", "-C", "o", "-L", policy, "-a", mask, "0x01ac6374")
    sealer.tpm.tool("tpm2_nvdefine", "-C", "o", "-a", mask, "0x01ac6375")
    sealer.tpm.tool("tpm2_nvdefine", "-C", "o", "-s", "8", "-a", "ownerwrite|ownerread", "0x01ac6376")
    done = sealer.lct("gc", "--evict", "--yes")
    assert done.stdout == "0x01ac6374  an NV counter of no identity here: left: another store's\n"
    assert nv_indices(sealer.tpm) == [0x01ac6374, 0x01ac6375, 0x01ac6376]


def test_a_revoked_approval_is_told_with_what_makes_a_new_one(revocable, authority):
    user = revocable
    (path,) = sealing.approvals(user)
    old = path.read_bytes()
    user.lct("reseal", "k", *authority.options, "--revoke")
    for each in sealing.approvals(user):
        each.unlink()
    sealing.put_approval(user, "old.json", old)
    refused(user, "revoked", "lct reseal k --authority KEY.pem")
    _, found = doctor(user)
    (problem,) = [each for each in found if each["severity"] == "problem"]
    assert "revoked" in problem["text"]
    assert problem["command"] == f"lct reseal k --authority {authority.key}"


# Programs that run on


def test_a_running_program_signs_through_a_change_and_its_approval(sealer, authority, tpm,
                                                                   persistent):
    create(sealer)
    program = persistent(sealer, "k")
    for _ in range(2):
        for _ in range(2):
            assert program.try_to_sign()[0] == "signed"
        measure(tpm, 7)
        said, _ = program.try_to_sign()
        assert said.startswith("failed: lct:k: ") and "PCR 7 (sha256)" in said
        measure(tpm, 9)  # the counter of changes moves, the state does not
        assert program.try_to_sign()[0].startswith("failed: lct:k: ")
        approve(sealer, authority, "k")
    assert program.try_to_sign()[0] == "signed"
    program.end()


def test_a_running_program_signs_after_any_pcr_was_extended(sealer, tpm, prompted):
    """TPM_RC_PCR_CHANGED is about a PolicyPCR that was before, not about a state that is wrong."""
    create(sealer)
    program = prompted(sealer, "k")
    for pcr in (10, 12, 16, 23):
        program.sign()
        measure(tpm, pcr)
    program.sign()
    assert program.end() == ""


def test_a_running_program_signs_after_a_reboot(make_sealer, authority, make_tpm, persistent):
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    create(sealer)
    program = persistent(sealer, "k")
    assert program.try_to_sign()[0] == "signed"
    reboot(tpm)
    assert program.try_to_sign()[0] == "signed"
    reboot(tpm, measured=False)
    assert "PCR 0 (sha256)" in program.try_to_sign()[0]
    boot(tpm)
    measure(tpm, 7)
    approve(sealer, authority, "k")
    assert program.try_to_sign()[0] == "signed"
    program.end()


def test_a_pcr_that_changes_in_the_middle_of_a_signature(make_sealer, tpm, make_proxy):
    """One of no seal costs another try; one of the seal is refused."""
    proxy = make_proxy()
    sealer = make_sealer(tpm, proxy.tcti)
    create(sealer)

    def extends(*pcrs):
        def hook(_command, ask):
            answer = ask()
            measure(tpm, *pcrs)
            return answer
        return hook

    proxy.hook(Command.PolicyPCR, extends(11), 1)
    sealer.lct("sign", "k", stdin="x", text=False)
    assert (Command.Sign, 0x128) in proxy.refusals()
    proxy.hook(Command.PolicyPCR, extends(7), 1)
    sentence = one_sentence(sealer.lct("sign", "k", stdin="x", status=SEALED).stderr)
    assert "PCR 7 (sha256)" in sentence


def test_a_tls_server_serves_through_a_change_and_its_approval(sealer, authority, tpm):
    create(sealer)
    certificate = sealer.certificate("lct:k")
    server, port = start_server(sealer, "-key", "lct:k", "-cert", certificate, "-naccept", "3")

    def greets(status: int):
        return connect(sealer, port, "-CAfile", certificate, env=SOFTWARE, status=status)

    assert "Verification: OK" in greets(0).stderr
    server.read_until(b"hello server")
    measure(tpm, 7)
    greets(1)
    approve(sealer, authority, "k")
    assert "Verification: OK" in greets(0).stderr
    server.read_until(rb"hello server(.|\n)*hello server")
    assert b"PCR 7 (sha256)" in server.stop()


def test_threads_and_children_share_a_sealed_key(sealer, authority, process, tpm):
    create(sealer)
    process(sealer, "threads", 25, "lct:k")
    process(sealer, "crowd", 4, "lct:k")
    measure(tpm, 7)
    approve(sealer, authority, "k")
    process(sealer, "threads", 10, "lct:k")


def test_children_forked_at_any_moment_sign_with_a_sealed_key(make_sealer, process, make_tpm,
                                                              make_tpmrm):
    tpm = make_tpm()
    sealer = make_sealer(tpm, make_tpmrm(tpm).tcti)
    create(sealer)
    process(sealer, "storm", 24, 6, "lct:k")


def test_a_sealed_passphrase_starts_a_service_unattended(sealer, tpm):
    """What lct seal is for: the passphrase of a key is nowhere in clear."""
    create(sealer, passphrase=True)
    sealer.write("sealed", sealer.lct("seal", stdin=SECRET).stdout)
    sealer.path("secret").unlink()
    script = (f"'{sealer.build}/lct' unseal sealed | openssl dgst -sha256 -sign lct:k -passin stdin"
              " -out sig data")
    sealer.run("sh", "-c", script)
    public = sealer.write("public.pem", public_pem(sealer, "k"))
    sealer.verify(public, sealer.path("sig"), sealer.path("data"))
    measure(tpm, 7)
    sealer.run("sh", "-c", script, status=1)


def test_reading_asks_the_tpm_nothing(make_sealer, tpm, make_proxy):
    proxy = make_proxy()
    sealer = make_sealer(tpm, proxy.tcti)
    create(sealer)
    proxy.codes.clear()
    for words in (["list"], ["list", "--json"], ["show", "k"], ["show", "k", "--json"],
                  ["authority", "show"]):
        sealer.lct(*words)
    sealer.openssl("pkey", "-in", "lct:k", "-pubout")
    assert proxy.codes == []


# Behind resource managers


def sealed_life(user, authority, tpm, program):
    """A program that was started before signs, is refused, and signs again."""
    assert program.try_to_sign()[0] == "signed"
    measure(tpm, 7)
    assert "PCR 7 (sha256)" in program.try_to_sign()[0]
    approve(user, authority, "k")
    for _ in range(2):
        assert program.try_to_sign()[0] == "signed"
    program.end()


def test_behind_tpm2_abrmd(brokered, authority, persistent):
    user, broker = brokered
    user.env |= broker.env
    user.configure(seal=None)
    shutil.copytree(authority.store, user.store)
    user.write("data")
    boot(broker.tpm)
    create(user)
    create(user, "--seal", "strict:sha256:1", key="other", passphrase=True)
    signs(user)
    signs(user, key="other", passphrase=True)
    sealed_life(user, authority, broker.tpm, persistent(user, "k"))


def test_behind_a_resource_manager_s_device(make_sealer, authority, make_tpm, make_tpmrm,
                                            persistent, process):
    tpm = make_tpm()
    device = make_tpmrm(tpm)
    sealer = make_sealer(tpm, device.tcti)
    create(sealer)
    create(sealer, "--seal", "strict:sha256:1", key="other", passphrase=True)
    signs(sealer)
    signs(sealer, key="other", passphrase=True)
    process(sealer, "crowd", 4, "lct:k")
    programs = [persistent(sealer, "k") for _ in range(6)]
    for program in programs:
        assert program.try_to_sign()[0] == "signed"
    sealed_life(sealer, authority, tpm, programs[0])
    for program in programs[1:]:
        assert program.try_to_sign()[0] == "signed"
        program.end()


# What is shown


def test_show_and_list_say_what_a_key_is_sealed_to(sealer, authority):
    short = sealing.fingerprint(authority.pem)[:16]
    for key, options in (("a", ()), ("b", ("--seal", "strict:sha256:7")),
                         ("c", ("--seal", "authority")), ("d", ("--seal", "none"))):
        sealer.lct("create", key, *options)
    texts = {
        "a": rf"^seal +sealed to {DEFAULT} as of \d{{4}}-\d\d-\d\d, or any state approved by "
             rf"{short}$",
        "b": r"^seal +sealed to sha256:7 as of \d{4}-\d\d-\d\d, and no other state$",
        "c": rf"^seal +.*approved by {short}", "d": r"^seal +(none|unsealed)"}
    for key, text in texts.items():
        assert re.search(text, sealer.lct("show", key).stdout, re.MULTILINE), key
    rows = {row.split()[0]: row for row in sealer.lct("list").stdout.splitlines()}
    for key, seal in (("a", DEFAULT), ("b", "strict:sha256:7"), ("c", "authority"), ("d", "none")):
        assert re.search(rf"\s{seal}(\s|$)", rows[key]) or key == "d", rows
    shown = json.loads(sealer.lct("show", "a", "--json").stdout)["seal"]
    assert shown["kind"] == "either" and shown["pcrs"] == DEFAULT and shown["text"]
    assert bytes.fromhex(shown["authority"]) == authority.public


def test_create_says_what_a_key_is_sealed_to(sealer, authority):
    short = sealing.fingerprint(authority.pem)[:16]
    assert f"sealed to {DEFAULT} or any state approved by {short}" in create(sealer)


def test_doctor_says_which_pcr_differs_and_who_may_approve(sealer, authority, tpm):
    create(sealer)
    (before,) = sealing.pcr_values(tpm, "sha256:7")
    assert "PCR 7 (" not in sealer.lct("doctor", "k", status=None).stdout
    measure(tpm, 7)
    (after,) = sealing.pcr_values(tpm, "sha256:7")
    done = sealer.lct("doctor", "k", status=SEALED)
    assert "PCR 7 (sha256)" in done.stdout and "PCR 0 (" not in done.stdout
    assert before.hex() in done.stdout.lower() and after.hex() in done.stdout.lower()
    assert "Secure Boot" in done.stdout and "lct approve" in done.stdout
    approve(sealer, authority, "k")
    assert "lct approve" not in sealer.lct("doctor", "k", status=None).stdout


def test_doctor_says_once_why_a_sealed_key_is_refused(sealer, authority, tpm):
    create(sealer)
    measure(tpm, 7)
    for said in ("there is no approval", "approvals that do not fit: 1"):
        text, found = doctor(sealer)
        assert "lct doctor k" not in text + json.dumps(found)
        (problem,) = [each for each in found if each["severity"] == "problem"]
        assert said in problem["text"] and "lct approve" in problem["command"]
        approve(sealer, authority, "k")
        measure(tpm, 7)


def test_doctor_names_the_authority_of_the_identity_itself(make_sealer, authority, tpm):
    """Which need not be that of the store that new identities go to: root's are the system's."""
    sealer = make_sealer(tpm)
    create(sealer)
    measure(tpm, 7)
    own = sealer.path(".local/share/lct")
    own.parent.mkdir(parents=True)
    sealer.store.rename(own)
    sealer.configure(seal=None, store=None)

    def commands() -> set[str]:
        _, found = doctor(sealer)
        last = sealer.lct("affected", "secureboot").stdout.splitlines()[-1]
        return {*(each["command"] for each in found if each["severity"] == "problem"),
                last.partition(":")[2].strip()}

    assert commands() == {f"lct approve --authority {authority.key} k"}
    (own / ".authority.pub.pem").write_bytes(sealing.software_key(sealer.path("other.pem")))
    assert commands() == {"lct approve --authority KEY.pem k"}


def test_a_seal_of_the_configuration_that_is_none_is_its_fault(sealer):
    sealer.configure(seal="sha256:99", pcr_signature="/nowhere/signature.json")
    for words in (["create", "k"], ["seal"], ["pcrs"]):
        done = sealer.lct(*words, stdin="x", status=CONFIG)
        sentence = one_sentence(done.stderr)
        assert sentence.startswith('seal is "sha256:99" in the configuration: '), sentence
    assert sealer.in_store() == []
    create(sealer, "--seal", "none")
    done = sealer.lct("doctor", status=CONFIG)
    assert re.search(r"problem +seal is \"sha256:99\"", done.stdout), done.stdout
    assert "seal = sha256:99, pcr_signature = /nowhere/signature.json" in done.stdout


def test_doctor_says_where_the_authority_lies(make_user, tpm):
    user = make_user()
    authority = sealing.Authority.init(user)
    found = json.loads(user.lct("doctor", "--json", status=None).stdout)
    told = [finding for finding in found if str(authority.key) in finding["text"]]
    assert [finding["severity"] for finding in told] == ["warning"], found
    authority.key.rename(user.path("elsewhere"))
    found = json.loads(user.lct("doctor", "--json", status=None).stdout)
    told = [finding for finding in found if str(authority.key) in finding["text"]]
    assert "warning" not in [finding["severity"] for finding in told], found


def test_other_tools_cannot_sign_with_the_default_seal(sealer):
    create(sealer)
    create(sealer, "--seal", "strict:sha256:7", key="strict")
    create(sealer, "--seal", "none", key="free")
    assert "other tools" in sealer.lct("export", "k").stderr
    for key in ("strict", "free"):
        assert sealer.lct("export", key).stderr == ""


@pytest.mark.parametrize("seal", ["strict:sha256:7", "strict:sha256:0,7+sha384:1"])
@pytest.mark.parametrize("passphrase", [False, True], ids=["", "passphrase"])
def test_a_key_file_carries_the_policy_that_the_standard_can_say(sealer, tpm, seal, passphrase):
    """It signs from the file alone, is imported again, and is refused in another state."""
    create(sealer, "--seal", seal, passphrase=passphrase)
    file = sealer.write("exported.pem", sealer.lct("export", "k").stdout)
    secret = ("--passphrase-file", sealer.write("secret", SECRET)) if passphrase else ()
    given = ("-passin", f"pass:{SECRET}") if passphrase else ()
    public = sealer.write("public.pem", public_pem(sealer, "k"))
    sign = ["dgst", "-sha256", "-sign", file, *given, "-out", "sig", "data"]
    sealer.openssl(*sign)
    sealer.verify(public, sealer.path("sig"), sealer.path("data"))
    sealer.lct("import", "again", file, *secret)
    signs(sealer, key="again", passphrase=passphrase)
    measure(tpm, 7)
    queue_says(sealer.openssl(*sign, status=1).stderr, REASON)
    refused(sealer, key="again", passphrase=passphrase)


# What is refused and what is warned of


NO_SEALS = [
    "sha256:16", "sha256:23", "sha256:7,16", "sha256:7+sha384:23", "sha256:", "sha256", "sha256:24",
    "sha256:7,7", "sha256:7+sha256:1", "md5:7", "", "strict", "strict:", "strict:sha256:16",
    "authority:sha256:23", "none:sha256:7", "all"]


def test_what_is_no_seal_is_refused_before_anything_is_made(make_sealer, tpm, make_proxy):
    proxy = make_proxy()
    sealer = make_sealer(tpm, proxy.tcti)
    proxy.codes.clear()
    for spec in NO_SEALS:
        one_sentence(sealer.lct("create", "k", "--seal", spec, status=USAGE).stderr)
        if spec:
            sealer.configure(seal=spec)
            one_sentence(sealer.lct("create", "k", status=CONFIG).stderr)
            sealer.configure(seal=None)
    assert proxy.codes == [] and sealer.in_store() == []


@pytest.mark.parametrize("spec, said", [
    ("strict", "strict:sha256:7"), ("sha256:7+sha256:1", "named twice"),
    ("sha1:7+sha256:7+sha384:7+sha512:7+sha3-256:7", "over 4 banks")])
def test_what_is_wrong_with_a_seal_is_said(sealer, spec, said):
    sentence = one_sentence(sealer.lct("create", "k", "--seal", spec, status=USAGE).stderr)
    assert said in sentence and ("twice" in sentence) == ("twice" in said)


def test_a_bank_that_the_tpm_does_not_keep_is_refused(make_sealer, make_tpm):
    """It would be sealed to nothing, and sign in any state."""
    tpm = make_tpm()
    tpm.tool("tpm2_pcrallocate", "sha1:none+sha256:all+sha384:none+sha512:none")
    tpm.stop()
    tpm.start()
    sealer = make_sealer(tpm)
    for seal in ("sha384:7", "strict:sha384:7", "sha256:7+sha384:7", "authority:sha384:7"):
        done = sealer.lct("create", "k", "--seal", seal, status=UNSUPPORTED)
        assert "sha384" in one_sentence(done.stderr) and sealer.in_store() == []
    one_sentence(sealer.lct("pcrs", "sha384:7", status=UNSUPPORTED).stderr)
    create(sealer)
    signs(sealer)


def test_a_machine_that_measures_nothing_is_warned_of(make_sealer, make_tpm):
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    reboot(tpm, measured=False)
    for seal in (DEFAULT, "strict:sha256:7"):
        done = sealer.lct("create", f"k{len(seal)}", "--seal", seal)
        assert re.search(r"^lct: .*nothing is measured", done.stderr), done.stderr
        signs(sealer, key=f"k{len(seal)}")
    boot(tpm)
    create(sealer)


def test_a_firmware_that_measures_nothing_is_warned_of_though_others_measure(
        make_sealer, make_tpm, authority):
    """As systemd extends PCR 15 on a machine whose firmware leaves the first ones as they were."""
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    reboot(tpm, measured=False)
    measure(tpm, 15)
    done = sealer.lct("create", "k", "--seal", "sha256:7,15")
    assert "warning: nothing is measured into sha256:7 here: of sha256:7,15 the" in done.stderr
    done = approve(sealer, authority, "k")
    assert "nothing is measured into sha256:7 in what was approved" in one_sentence(done.stderr)
    assert not sealer.lct("create", "other", "--seal", "sha256:15").stderr
    boot(tpm)
    measure(tpm, 15)
    assert not sealer.lct("create", "a", "--seal", "sha256:7,8,15").stderr


@pytest.mark.parametrize("options", [(), ("--seal", "sha256:7"), ("--seal", "authority")])
def test_without_an_authority_the_three_ways_on_are_named(make_user, tpm, make_proxy, options):
    proxy = make_proxy()
    user = make_user(proxy.tcti)
    user.configure(seal=None)
    error = user.lct("create", "k", *options, status=NO_AUTHORITY, start_new_session=True).stderr
    sentence = one_sentence(error)
    for way in ("lct authority", "--seal strict:", "--seal none"):
        assert way in sentence
    assert user.in_store() == [] and Command.Create not in proxy.codes
    boot(tpm)
    create(user, "--seal", "strict:sha256:7")
    create(user, "--seal", "none", key="free")


def test_a_counter_s_name_is_its_own(make_sealer, make_tpm):
    """A cleared TPM gives its index to the next: deleting who had it takes nothing from that."""
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    create(sealer, "--seal", "authority", "--revocable", key="old")
    tpm.tool("tpm2_clear", "-c", "p")
    create(sealer, "--seal", "authority", "--revocable", "--new-parent", key="new")
    old, new = (seal_of(sealer, key)["counter"] for key in ("old", "new"))
    assert old["handle"] == new["handle"] and old["name"] != new["name"]
    done = sealer.lct("delete", "old", "--yes")
    assert "warning" in done.stderr
    assert nv_indices(tpm) == [int(new["handle"], 16)]


def test_no_counter_is_made_where_the_tpm_does_not_say_what_it_has(make_sealer, make_tpm,
                                                                   make_proxy):
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    sealer = make_sealer(tpm, proxy.tcti)
    create(sealer)

    def hook(command, ask):
        return response(0x101) if command[10:15] == bytes.fromhex("0000000101") else ask()

    proxy.hook(Command.GetCapability, hook)
    one_sentence(sealer.lct("create", "r", "--seal", "authority", "--revocable", status=9).stderr)
    assert sealer.in_store() == ["k"] and nv_indices(tpm) == []


@pytest.mark.parametrize("spec", ["sha256:16", "sha256:7,23"])
def test_a_state_that_any_program_makes_is_not_approved(sealer, authority, tpm, spec):
    create(sealer, "--seal", "authority")
    asked = sealer.write("asked", sealer.lct("pcrs", spec).stdout)
    for operands in ((), ("k",)):
        done = approve(sealer, authority, "--pcrs", asked, *operands, status=USAGE)
        assert "PCR " in one_sentence(done.stderr)
    assert sealing.approvals(sealer) == []


def test_another_bank_is_approved_once_the_first_one_is_gone(make_sealer, authority, make_tpm):
    """As after an update of the firmware."""
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    create(sealer, "--seal", "authority:sha384:7", key="a")
    create(sealer, "--seal", "sha384:7", key="k")
    tpm.tool("tpm2_pcrallocate", "sha1:none+sha256:all+sha384:none+sha512:none")
    reboot(tpm, measured=False)
    assert "sha384" in one_sentence(sealer.lct("sign", "k", stdin="x", status=None).stderr)
    asked = sealer.write("asked", sealer.lct("pcrs", "sha256:7").stdout)
    approve(sealer, authority, "--pcrs", asked)
    for key in ("a", "k"):
        signs(sealer, key)
        assert "was approved" in sealer.lct("doctor", key, status=None).stdout


def test_one_that_cannot_be_approved_for_does_not_keep_the_others_locked(make_sealer, authority,
                                                                         make_tpm):
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    create(sealer, "--seal", "authority", "--revocable", key="a")
    create(sealer)
    (index,) = nv_indices(tpm)
    tpm.tool("tpm2_nvundefine", "-C", "o", hex(index))
    measure(tpm, 7)
    done = approve(sealer, authority)
    assert "lct:a" in one_sentence(done.stderr) and "lct:k" in done.stdout
    signs(sealer)
    sealer.lct("delete", "k", "--yes")
    assert "nothing to approve" in approve(sealer, authority, status=OTHER_TPM).stderr


def test_a_sealed_key_of_another_tpm_is_said_to_be_that(make_user, make_tpm):
    """Whose PCRs are others, too."""
    here, there = make_tpm(), make_tpm()
    user = make_user(here.tcti)
    user.lct("create", "k", "--seal", "strict:sha256:7")
    measure(there, 7)
    user.configure(tcti=there.tcti)
    user.lct("sign", "k", stdin="x", status=OTHER_TPM)
