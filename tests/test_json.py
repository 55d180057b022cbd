# SPDX-License-Identifier: Apache-2.0
"""What the command prints for programs: lct-json(7) says it, all of it and nothing else."""

import json
import re
import shutil
import subprocess

import pytest

from conftest import ROOT
from sealing import NO_AUTHORITY, Authority, boot
from terminal import on_terminal
from test_house import run, tool
from test_manual import arguments_of_calls, section

PAGE = (ROOT / "docs/man/lct-json.7").read_text()


def documented(title: str) -> set[str]:
    """The members of an object, as the page lists them."""
    text = section(PAGE, title)
    return set(re.findall(r"^\.It Li (\w+)$", text, re.MULTILINE))


def result(user, *arguments, **options):
    """Of a command with --json: one value, of version 1, and nothing else on standard output."""
    value = json.loads(user.lct(*arguments, "--json", **options).stdout)
    assert all(one["version"] == 1 for one in (value if isinstance(value, list) else [value]))
    return value


def no_text(name: str) -> str:
    """The name of a file with a byte more that is no UTF-8, which results have as "?"."""
    return name + b"\xe9".decode(errors="surrogateescape")


IDENTITY = documented("An identity")
SHOWN = documented("What lct show adds")
WHERE = {"handle", "persistent"}  # of those that are somewhere


def is_shown(value) -> bool:
    return set(value) | WHERE == IDENTITY | SHOWN


def test_the_page_describes_each_command_that_prints_for_programs():
    help_text = (ROOT / "tools/help.c").read_text()
    rows = re.findall(r'^    \{"([a-z]+)",(.*?)(?=^    \{"|^\};)', help_text,
                      re.MULTILINE | re.DOTALL)
    commands = {name for name, row in rows if "--json" in row} | {"verify", "attest"}
    named = set(re.findall(r"(?:Xr lct-|lct )([a-z]+)\b", section(PAGE, "DESCRIPTION") + PAGE))
    assert len(commands) > 20 and commands <= named


def test_identities_are_listed_with_the_members_that_are_documented(user):
    user.lct("create", "alice")
    user.lct("cert", "alice", "--set", user.certificate("lct:alice"))
    (row,) = result(user, "list")
    assert set(row) == IDENTITY
    assert [set(one) for one in row["generations"]] == [documented("A key of an identity")]
    assert set(row["certificate"]) == documented("A certificate")
    assert is_shown(result(user, "show", "alice"))


def test_what_makes_or_changes_an_identity_prints_it(user):
    made = result(user, "create", "alice", "--algorithm", "rsa-2048")
    assert made == result(user, "show", "alice") and set(made) == IDENTITY | SHOWN - WHERE
    assert result(user, "create", "alice", "--if-absent") == made
    kept = result(user, "persist", "alice")
    assert set(kept) == IDENTITY | SHOWN - {"handle"}
    assert kept["persistent"] == kept["generations"][0]["persistent"]
    assert result(user, "unpersist", "alice") == made
    held = result(user, "cert", "alice", "--set", user.certificate("lct:alice"))
    assert is_shown(held) and held["certificate"]["chain"] == 1
    (chain,) = result(user, "cert", "alice")["certificates"]
    assert set(chain) == documented("A certificate") | {"pem"}
    assert set(result(user, "cert", "alice")) == documented("lct cert")
    assert result(user, "cert", "alice", "--remove") == made
    user.lct("rotate", "alice")
    assert result(user, "rotate", "alice", "--commit")["generation"] == 2
    assert is_shown(result(user, "rotate", "alice", "--overlap", "0"))
    user.lct("rotate", "alice")
    assert len(result(user, "rotate", "alice", "--withdraw")["generations"]) == 2


def test_an_identity_that_was_imported_is_printed(user):
    user.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", "key.pem")
    imported = result(user, "import", "alice", "key.pem", "--software")
    assert is_shown(imported) and imported["hardware_bound"] is False


def test_an_identity_in_software_has_no_members_of_a_tpm(user):
    passphrase = user.write("passphrase", "correct horse battery\n")
    made = result(user, "create", "alice", "--software", "--passphrase-file", passphrase)
    assert set(made) == IDENTITY | {"public_key", "web4_name"} and made["tpm"] is None


def test_a_check_is_printed_whether_it_is_good_or_not(user):
    user.lct("create", "alice")
    user.lct("create", "bob")
    user.lct("retire", "bob", "--yes")
    good = result(user, "check")
    assert set(good) == documented("lct check") and good["good"] is True
    checked = documented("An identity that was checked")
    assert [set(one) for one in good["identities"]] == 2 * [checked]
    assert [one["state"] for one in good["identities"]] == ["active", "retired"]
    assert all(set(finding) == {"outcome", "what", "why"}
               for finding in good["identities"][0]["findings"])
    bad = result(user, "check", "alice", "nobody", "no/id", status=5)
    assert bad["good"] is False
    assert [one["good"] for one in bad["identities"]] == [True, False, False]
    assert "nobody" in bad["identities"][1]["error"]


def test_findings_of_the_doctor_have_the_members_that_are_documented(user):
    user.lct("create", "alice")
    findings = result(user, "doctor", status=None)
    always = documented("lct doctor")
    assert len(findings) > 5 and all(always <= set(one) for one in findings)
    assert sorted(set().union(*findings) - always - documented("What lct doctor adds")) == []
    text = section(PAGE, "lct doctor")
    for member in ("topic", "severity"):
        assert all(re.search(rf"^\.?.*\b{one[member]}\b", text, re.MULTILINE) for one in findings)


def test_the_page_has_every_member_that_findings_of_the_doctor_may_have_and_no_other():
    sources = [path.read_text() for path in sorted((ROOT / "tools").glob("doctor_*.c"))]
    members = set()
    for text in sources:
        for call in arguments_of_calls(text, r"json_object_set_new|json_pack|set_handles"):
            members |= set(re.findall(r'"(\w+)",\s*(?=[a-z&])', call))
        members |= set(re.findall(r'\{"\w+", "(\w+_auth_set)",', text))
    assert len(members) > 40
    assert documented("What lct doctor adds") | documented("An object in the TPM") == members


def test_what_is_in_the_tpm_is_printed_and_what_is_left_there(user):
    user.lct("create", "alice")
    user.lct("persist", "alice")
    found = result(user, "gc")
    assert set(found) == documented("lct gc")
    (handle,) = [one for one in found["handles"] if one["id"] == "alice"]
    assert set(handle) == documented("A handle in the TPM")
    assert (handle["state"], handle["failed"]) == ("recorded", False)
    gone = result(user, "delete", "alice", "--yes")
    assert set(gone) == documented("lct delete") and gone["left_in_tpm"] == []


def test_a_key_that_could_not_be_evicted_is_left_in_the_tpm(make_tpm, make_user):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.lct("create", "alice")
    user.lct("persist", "alice")
    handle = user.record("alice")["generations"][0]["persistent"]
    tpm.tool("tpm2_changeauth", "-c", "owner", "secret")
    gone = result(user, "delete", "alice", "--yes", start_new_session=True)
    assert gone["left_in_tpm"] == [handle] and int(handle, 16) in tpm.persistent()


def test_what_is_left_of_an_identity_that_cannot_be_read_is_not_known(user):
    user.lct("create", "alice")
    (user.store / "alice" / "identity.json").write_text("{")
    assert result(user, "delete", "alice", "--yes")["left_in_tpm"] is None


def test_updates_approvals_and_authorities_are_printed(user, tpm):
    boot(tpm)
    authority = Authority.init(user)
    shown = result(user, "authority", "show")
    assert set(shown) == documented("lct authority")
    assert result(user, "authority", "import", user.write("pub.pem", authority.pem)) == shown
    user.lct("create", "alice", "--seal", "sha256:0,7")
    user.lct("create", "bob", "--seal", "strict:sha256:7")
    affected = result(user, "affected", "secureboot")
    assert set(affected) == documented("lct affected")
    assert (affected["until_approved"], affected["for_ever"]) == (["alice"], ["bob"])
    approved = result(user, "approve", *authority.options, "alice")
    assert set(approved) == documented("lct approve and lct reseal")
    (one,) = approved["approvals"]
    assert set(one) == {"whom", "pcrs", "authority", "counter"} and one["counter"] is None
    assert approved["approvals"][0]["authority"] == shown["fingerprint"]
    assert result(user, "reseal", "alice", *authority.options)["approvals"] == approved["approvals"]
    written = user.lct("approve", *authority.options, "--out", "-", "--json", "alice").stdout
    assert json.loads(written)["authority"] == shown["fingerprint"], "the approval alone"
    taken = result(user, "approve", "--import", "-", stdin=written)
    assert set(taken) == documented("lct approve --import") and taken["taken"] == 1


def test_an_authority_that_is_made_is_printed(user):
    passphrase = user.write("passphrase", "the authority's own\n")
    made = result(user, "authority", "init", "--out", "key.pem", "--passphrase-file", passphrase)
    assert made == result(user, "authority", "show")


def test_a_recovery_phrase_that_there_is_no_terminal_for_is_not_mixed_with_the_json(user):
    init = ("authority", "init", "--out", "key.pem", "--json")
    done = user.lct(*init, status=2, start_new_session=True)
    assert done.stdout == ""
    assert "--passphrase-file" in json.loads(done.stderr)["error"]["message"]
    assert not user.path("key.pem").exists()
    user.lct("authority", "show", status=NO_AUTHORITY)


def test_a_recovery_phrase_is_on_the_terminal_while_the_json_goes_elsewhere(user):
    with on_terminal(user, "authority", "init", "--out", "key.pem", "--json",
                     stdout=subprocess.PIPE) as terminal:
        made = json.loads(terminal.process.stdout.read())
        assert terminal.end() == 0 and "recovery phrase: " in terminal.output
    assert made == result(user, "authority", "show")


def test_backups_are_printed_and_what_is_restored(user):
    user.lct("create", "alice")
    written = result(user, "backup", "--out", "b.tar")
    assert set(written) == documented("lct backup --out") and written["ids"] == ["alice"]
    user.lct("delete", "alice", "--yes")
    for options, restored in ((("--check",), False), ((), True)):
        back = result(user, "restore", *options, "b.tar")
        assert set(back) == documented("lct restore")
        (one,) = back["identities"]
        assert set(one) == documented("An identity of a backup")
        assert (one["standing"], one["restored"], one["error"]) == ("new", restored, None)
    assert result(user, "restore", "b.tar")["identities"][0]["standing"] == "same"


def test_the_example_of_certificates_that_end_finds_those_alone(user):
    program = re.search(r"jq -r '(.*days_left.*)'$", PAGE, re.MULTILINE)[1]
    for name, days in (("soon", "2"), ("later", "90"), ("none", None)):
        user.lct("create", name)
        if days:
            user.lct("cert", name, "--set", user.certificate(
                f"lct:{name}", "/CN=localhost", "crt.pem", "-days", days))
    found = run(tool("jq"), "-r", program, input=user.lct("list", "--json").stdout)
    assert (found.returncode, found.stdout) == (0, "soon\n"), found.stderr


def test_endorsement_keys_and_programs_are_printed(user):
    assert set(result(user, "ek", status=None)) == documented("lct ek")
    programs = result(user, "config")
    assert set(programs) == documented("lct config")
    assert programs["programs"] == user.lct("config").stdout.split()


@pytest.mark.parametrize("arguments, status, name", [
    (("show", "nobody"), 3, "not_found"), (("show", "no/id"), 5, "bad_id"),
    (("list", "--nonsense"), 2, "usage"), (("nonsense",), 2, "usage"),
    (("backup",), 2, "usage"), (("config", "nginx"), 2, "usage")])
def test_an_error_is_an_object_on_the_standard_error(user, arguments, status, name):
    done = user.lct(*arguments, "--json", status=status)
    assert done.stdout == "" and done.stderr.count("\n") == 1
    printed = json.loads(done.stderr)
    error = printed["error"]
    assert {*printed, *error} == documented("Errors") and printed["version"] == 1
    assert (error["status"], error["name"]) == (status, name)


@pytest.mark.parametrize("before, behind", [
    (("--json",), ()), ((), ("--js",)), ((), ("--quiet", "--json"))])
def test_an_error_is_an_object_wherever_and_however_that_was_said(user, before, behind):
    done = user.lct(*before, "show", "nobody", *behind, status=3)
    assert json.loads(done.stderr)["error"]["name"] == "not_found"


def test_an_option_of_another_program_is_none_of_ours(user):
    done = user.lct("unseal", "nothing", "--exec", "--", "cat", "--json", status=18)
    assert done.stderr.startswith("lct: ")


def test_an_error_has_the_sentence_that_people_get(user):
    done = user.lct("show", "nobody", "--json", status=3)
    assert user.lct("show", "nobody", status=3).stderr == (
        f"lct: {json.loads(done.stderr)['error']['message']}\n")


def test_an_error_of_bytes_that_are_no_text_is_json_all_the_same(user):
    done = user.lct("approve", "--import", no_text("caf"), "--json", status=18)
    assert "caf? cannot be read" in json.loads(done.stderr)["error"]["message"]


def test_results_of_bytes_that_are_no_text_are_json_all_the_same(user):
    user.store = user.path(no_text("store"))
    passphrase = user.write("passphrase", "the authority's own\n")
    made = result(user, "create", "alice", "--store", user.store)
    assert made["store"] == f"{user.directory}/store?"
    user.configure(store=None)
    user.env["LCT_STORE"] = str(user.store)
    assert [one["id"] for one in result(user, "list")] == ["alice"]
    assert result(user, "show", "alice") == made
    assert result(user, "backup", "--out", no_text("b"))["file"] == "b?"
    authority = result(user, "authority", "init", "--out", no_text("key"), "--passphrase-file",
                       passphrase)
    assert authority["file"] == f"{user.directory}/store?/.authority.pub.pem"
    assert authority["private_key"] == f"{user.directory}/key?"
    findings = result(user, "doctor", status=None)
    assert made["store"] in [one.get("path") for one in findings]
    assert authority["private_key"] in [one.get("private_key") for one in findings]


def test_what_is_no_text_is_among_what_was_checked(user):
    user.lct("create", "alice")
    checked = result(user, "check", no_text("b"), "alice", status=5)
    assert [(one["id"], one["good"]) for one in checked["identities"]] == [
        ("b?", False), ("alice", True)]
    assert "b?" in checked["identities"][0]["error"]


def test_what_cannot_be_read_of_certificates_in_a_store_that_is_no_text_is_told(user):
    user.store = user.path(no_text("store"))
    user.env["LCT_STORE"] = str(user.store)
    user.configure(store=None)
    user.lct("create", "alice")
    (user.store / "alice" / "certs-1.pem").mkdir()
    (row,) = result(user, "list")
    assert set(row["certificate"]) == {"error"}


def test_what_stands_in_the_way_of_a_restore_is_told_where_its_path_is_no_text(user):
    user.store = user.path(no_text("store"))
    user.env["LCT_STORE"] = str(user.store)
    user.configure(store=None)
    user.lct("create", "alice")
    user.lct("backup", "--out", "b.tar")
    shutil.rmtree(user.store / "alice")
    (user.store / "alice").write_text("a file")
    (row,) = result(user, "restore", "b.tar", status=4)["identities"]
    assert "store?" in row["error"]


def test_what_is_done_is_not_said_in_words_beside_the_json(user):
    done = user.lct("create", "alice", "--json")
    assert json.loads(done.stdout)["id"] == "alice"
    assert "created lct:" not in done.stdout
