# SPDX-License-Identifier: Apache-2.0
"""The lct command: every subcommand, what it prints and how it ends."""

import base64
import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from conftest import ALGORITHMS
from keyfile import KeyFile
from tpm import SRK

SUBCOMMANDS = ("create", "list", "show", "delete", "check", "doctor", "csr", "import", "sign",
              "help")
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change users")


def let_others_in(user):
    """Lets other users of the system reach this one's directory, and its TPM if it has one."""
    tpm = Path(user.tcti.partition("=")[2])
    for directory in (user.directory, *user.directory.parents, *tpm.parents):
        if "pytest" in str(directory):
            directory.chmod(directory.stat().st_mode | 0o005)
    for socket in (tpm, Path(f"{tpm}.ctrl")):
        if socket.exists():
            socket.chmod(0o777)


def one_sentence(stderr: str) -> str:
    """The single line of an error, without its prefix, or of what --json makes of it."""
    if stderr.startswith('{"error"'):
        stderr = f"lct: {json.loads(stderr)['error']['message']}\n"
    match = re.fullmatch(r"lct: ([^\n]+[^.\n])\n", stderr)
    assert match, f"not one sentence: {stderr!r}"
    return match[1]


@pytest.mark.parametrize("algorithm", ALGORITHMS.values())
def test_create_makes_an_identity_of_each_algorithm(user, algorithm):
    done = user.lct("create", "alice", "--algorithm", algorithm)
    assert re.fullmatch(rf"created lct:alice \({algorithm}, unsealed, .*software TPM\)\n",
                        done.stdout)
    (shown,) = json.loads(user.lct("list", "--json").stdout)
    assert shown["algorithm"] == algorithm


def test_create_makes_ec_p256_unless_told_otherwise(user):
    user.lct("create", "alice")
    (shown,) = json.loads(user.lct("list", "--json").stdout)
    assert shown["algorithm"] == "ec-p256"


def test_create_takes_seal_none(user):
    user.lct("create", "alice", "--seal", "none")
    assert user.in_store() == ["alice"]


def test_the_first_create_says_that_it_made_the_storage_root_key(make_user, make_tpm):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    first = user.lct("create", "alice")
    assert "storage root key" in first.stderr and "0x81000001" in first.stderr
    assert first.stderr.count("\n") == 1 and first.stdout.count("\n") == 1
    assert tpm.persistent() == [SRK]
    second = user.lct("create", "bob")
    assert second.stderr == ""
    assert tpm.persistent() == [SRK]


@pytest.mark.parametrize("key_type", ["ecc", "rsa"])
def test_create_takes_a_storage_root_key_that_is_there_already(make_user, make_tpm, key_type):
    tpm = make_tpm()
    tpm.tool("tpm2_createprimary", "-C", "o", "-G", key_type, "-c", "p.ctx")
    tpm.flush()
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "p.ctx", "0x81000001")
    tpm.flush()
    name = bytes.fromhex(re.search(r"name: (\w+)", tpm.tool(
        "tpm2_readpublic", "-c", "0x81000001").stdout)[1])
    user = make_user(tpm.tcti)
    assert user.lct("create", "alice").stderr == ""
    record = json.loads((user.store / "alice" / "identity.json").read_text())
    assert record["generations"][0]["parent"] == {"handle": "0x81000001", "name": name.hex()}
    user.lct("check", "alice")


def test_create_refuses_a_parent_that_could_leave_the_tpm(make_user, make_tpm):
    tpm = make_tpm()
    tpm.tool("tpm2_createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx", "-a",
             "restricted|decrypt|sensitivedataorigin|userwithauth|noda")
    tpm.flush()
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "p.ctx", "0x81000001")
    tpm.flush()
    user = make_user(tpm.tcti)
    done = user.lct("create", "alice", status=None)
    assert done.returncode not in (0, 1)
    assert "0x81000001" in one_sentence(done.stderr)
    assert user.in_store() == []


def test_without_leave_to_provision_the_tpm_is_left_as_it_is(make_user, make_tpm):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.configure(provision="no")
    assert "storage root key" not in user.lct("create", "alice").stderr
    assert tpm.persistent() == []
    user.lct("check", "alice")
    data = user.write("data")
    user.openssl("dgst", "-sha256", "-sign", "lct:alice", "-out", "sig", data)
    user.verify(user.public_key("lct:alice"), user.path("sig"), data)
    assert tpm.persistent() == []


def test_create_if_absent_leaves_an_identity_alone(user):
    user.lct("create", "alice")
    before = (user.store / "alice" / "key-1.pem").read_text()
    user.lct("create", "alice", "--if-absent")
    assert (user.store / "alice" / "key-1.pem").read_text() == before
    user.lct("create", "bob", "--if-absent")
    assert user.in_store() == ["alice", "bob"]


def test_create_refuses_an_id_that_exists(owner):
    before = (owner.store / "ec" / "key-1.pem").read_text()
    done = owner.lct("create", "ec", status=4)
    assert "lct:ec" in one_sentence(done.stderr)
    assert done.stdout == ""
    assert (owner.store / "ec" / "key-1.pem").read_text() == before


@NEEDS_ROOT
def test_create_gives_the_identity_to_another_user_and_group(user):
    user.lct("create", "web", "--owner", "daemon:bin")
    for path in (user.store / "web", *(user.store / "web").iterdir()):
        assert (path.owner(), path.group()) == ("daemon", "bin")


@NEEDS_ROOT
@pytest.mark.parametrize("owner", ["nobody-of-that-name:bin", "daemon:no-such-group", ":", ""])
def test_create_for_an_unknown_owner_makes_nothing(user, owner):
    done = user.lct("create", "web", "--owner", owner, status=None)
    assert done.returncode not in (0, 1)
    one_sentence(done.stderr)
    assert user.in_store() == []


def test_what_create_writes_is_for_the_owner_alone_to_write(user):
    user.lct("create", "alice")
    for path in (user.store, user.store / "alice", *(user.store / "alice").iterdir()):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o022 == 0, f"{path} {mode:o}"
    assert stat.S_IMODE((user.store / "alice").stat().st_mode) & 0o007 == 0
    assert sorted(entry.name for entry in (user.store / "alice").iterdir()) == [
        "identity.json", "key-1.pem"]


def test_a_record_says_what_the_identity_is(user):
    user.lct("create", "alice")
    record = json.loads((user.store / "alice" / "identity.json").read_text())
    key = KeyFile.read(user.store / "alice" / "key-1.pem")
    (generation,) = record.pop("generations")
    created = record.pop("created")
    assert record == {"version": 1, "id": "alice", "state": "active", "ended": None, "counter": 0,
                      "active": 1}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", created)
    assert generation["created"] == created
    assert generation["name"] == key.name.hex()
    assert generation["parent"]["handle"] == "0x81000001"
    assert generation["generation"] == 1 and generation["algorithm"] == "ec-p256"
    assert generation["seal"] is None and generation["pss_salt"] is None
    assert generation["software_tpm"] is True
    assert {"sha1", "sha256", "sha384", "sha512"} <= set(generation["hashes"])


def test_the_record_of_an_rsa_key_knows_the_salt_that_the_tpm_uses(owner):
    record = json.loads((owner.store / "rsa" / "identity.json").read_text())
    assert record["generations"][0]["pss_salt"] == "digest"


def test_list_of_an_empty_store_is_empty(user):
    assert json.loads(user.lct("list", "--json").stdout) == []
    assert len(user.lct("list").stdout.splitlines()) <= 1


def test_list_shows_each_identity_in_a_row(owner):
    header, *rows = owner.lct("list").stdout.splitlines()
    assert header.split() == ["ID", "ALGORITHM", "CUSTODY", "SEAL", "STATE", "CERTIFICATE"]
    assert {row.split()[0]: row.split()[1] for row in rows} == ALGORITHMS
    assert all(len(row.split()) >= 6 for row in rows), "an empty cell has a mark of its own"


def test_list_json_is_for_programs(owner):
    rows = json.loads(owner.lct("list", "--json").stdout)
    assert {row["id"]: row["algorithm"] for row in rows} == ALGORITHMS
    for row in rows:
        tpm = row.pop("tpm")
        assert isinstance(tpm, str) and tpm
        created = row.pop("created")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", created)
        assert row.pop("generations") == [{
            "generation": 1, "stage": "active", "until": None, "algorithm": row["algorithm"],
            "custody": "tpm", "created": created, "persistent": None}]
        assert row == {"version": 1, "id": row["id"], "algorithm": row["algorithm"], "custody": "tpm",
                       "software_tpm": True, "hardware_bound": True, "passphrase": False,
                       "seal": None, "state": "active", "ended": None, "reason": None,
                       "counter": 0, "generation": 1, "certificate": None,
                       "store": str(owner.store)}


def test_list_still_shows_the_rest_when_one_record_is_damaged(owner):
    (owner.store / "p384" / "identity.json").write_text("{")
    done = owner.lct("list", status=None)
    assert all(name in done.stdout for name in ("ec", "rsa", "rsa3072"))
    assert "p384" in done.stdout + done.stderr


def test_show_tells_a_person_about_one_identity(owner):
    shown = owner.lct("show", "ec").stdout
    name = KeyFile.read(owner.store / "ec" / "key-1.pem").name.hex()
    for fact in ("ec-p256", "lct:ec", name, "software"):
        assert fact in shown


def test_show_json_has_what_list_json_has(owner):
    shown = json.loads(owner.lct("show", "rsa", "--json").stdout)
    (listed,) = [row for row in json.loads(owner.lct("list", "--json").stdout)
                 if row["id"] == "rsa"]
    assert listed.items() <= shown.items()


def test_delete_needs_yes_without_a_terminal(owner):
    done = owner.lct("delete", "ec", status=2)
    assert "--yes" in one_sentence(done.stderr)
    assert "ec" in owner.in_store()


def test_delete_yes_removes_that_identity_and_no_other(owner):
    owner.lct("delete", "ec", "--yes")
    assert owner.in_store() == ["p384", "rsa", "rsa3072"]
    owner.lct("show", "ec", status=3)
    owner.lct("create", "ec")


@pytest.mark.parametrize("answer, gone", [(b"yes\n", True), (b"no\n", False), (b"\n", False)])
def test_delete_asks_on_a_terminal(owner, answer, gone):
    terminal, theirs = os.openpty()
    os.write(terminal, answer)
    done = subprocess.run([owner.build / "lct", "delete", "ec"], stdin=theirs, stdout=theirs,
                          stderr=theirs, env=owner.environment(), timeout=30, check=False)
    asked = b""  # the echo of the answer, the question, the result: as the terminal gives them
    while b"lct:ec" not in asked:
        asked += os.read(terminal, 4096)
    os.close(theirs)
    os.close(terminal)
    assert ("ec" not in owner.in_store()) == gone
    assert (done.returncode == 0) == gone


def test_check_finds_good_identities_good(owner):
    done = owner.lct("check")
    assert done.stderr == ""
    for name in ALGORITHMS:
        assert f"lct:{name}" in done.stdout
    done = owner.lct("check", "ec", "rsa")
    assert "lct:ec" in done.stdout and "p384" not in done.stdout


def test_check_of_an_unknown_id_fails_and_still_checks_the_others(owner):
    done = owner.lct("check", "nobody", "ec", status=3)
    assert "lct:nobody" in one_sentence(done.stderr)
    assert "lct:ec" in done.stdout


@pytest.mark.parametrize("name", ALGORITHMS)
def test_csr_is_a_request_that_verifies(owner, name):
    request = owner.write("csr.pem", owner.lct("csr", name).stdout)
    shown = owner.openssl("req", "-verify", "-noout", "-subject", "-in", request,
                          env={"OPENSSL_CONF": os.devnull})
    assert re.search(rf"^subject=CN ?= ?{name}$", shown.stdout, re.MULTILINE)
    assert "verify OK" in shown.stdout + shown.stderr
    key = owner.openssl("req", "-in", request, "-noout", "-pubkey").stdout
    assert key == owner.public_key(f"lct:{name}").read_text()


def test_csr_takes_a_subject(owner):
    request = owner.write("csr.pem", owner.lct(
        "csr", "ec", "--subject", "/C=DE/O=House \\/ Garden/CN=müller").stdout)
    shown = owner.openssl("req", "-in", request, "-noout", "-subject", "-nameopt",
                          "RFC2253,utf8,-esc_msb").stdout
    assert shown == "subject=CN=müller,O=House / Garden,C=DE\n"


@pytest.mark.parametrize("subject", ["CN=alice", "/CN", "/nosuchattribute=x", "", "/C=Germany"])
def test_csr_refuses_a_subject_that_it_cannot_read(owner, subject):
    done = owner.lct("csr", "ec", "--subject", subject, status=2)
    one_sentence(done.stderr)
    assert done.stdout == ""


@pytest.mark.parametrize("name", ALGORITHMS)
def test_sign_makes_a_signature_that_openssl_verifies(owner, name):
    signed = owner.lct("sign", name, stdin=b"payload", text=False)
    owner.verify(owner.public_key(f"lct:{name}"), owner.write("sig", signed.stdout),
                 owner.write("payload", b"payload"), "sha384" if name == "p384" else "sha256")


@pytest.mark.parametrize("size", [0, 1, 4096, 1 << 20, (1 << 22) + 1])
def test_sign_takes_data_of_any_size(owner, size):
    payload = bytes(range(251)) * (size // 251 + 1)
    payload = payload[:size]
    signed = owner.lct("sign", "ec", stdin=payload, text=False)
    owner.verify(owner.public_key("lct:ec"), owner.write("sig", signed.stdout),
                 owner.write("payload", payload))


def p1363_to_der(raw: bytes) -> bytes:
    """ECDSA-Sig-Value of r || s."""
    numbers = b""
    for part in (raw[:len(raw) // 2], raw[len(raw) // 2:]):
        number = part.lstrip(b"\0") or b"\0"
        number = b"\0" + number if number[0] & 0x80 else number
        numbers += bytes([2, len(number)]) + number
    return bytes([0x30, len(numbers)]) + numbers


@pytest.mark.parametrize("name, size, digest", [("ec", 64, "sha256"), ("p384", 96, "sha384")])
def test_sign_raw_is_r_and_s_at_their_full_width(owner, name, size, digest):
    public, data = owner.public_key(f"lct:{name}"), owner.write("payload", b"payload")
    for _ in range(20):
        raw = owner.lct("sign", name, "--raw", stdin=b"payload", text=False).stdout
        assert len(raw) == size
        owner.verify(public, owner.write("sig", p1363_to_der(raw)), data, digest)


@pytest.mark.parametrize("name, algorithm, digest", [
    ("ec", "ES256", "sha256"), ("p384", "ES384", "sha384"), ("rsa", "RS256", "sha256"),
    ("rsa3072", "RS256", "sha256")])
def test_sign_jose_is_a_compact_jws_over_standard_input(owner, name, algorithm, digest):
    payload = b'{"sub":"alice\xff"}'
    token = owner.lct("sign", name, "--jose", stdin=payload).stdout.rstrip("\n")
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", token), "base64url without padding"
    header, body, signature = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    assert json.loads(header)["alg"] == algorithm
    assert body == payload
    if algorithm.startswith("ES"):
        signature = p1363_to_der(signature)
    owner.verify(owner.public_key(f"lct:{name}"), owner.write("sig", signature),
                 owner.write("input", token.rpartition(".")[0]), digest)


def test_sign_raw_of_an_rsa_key_is_its_only_form(owner):
    signed = owner.lct("sign", "rsa", "--raw", stdin=b"payload", text=False)
    owner.verify(owner.public_key("lct:rsa"), owner.write("sig", signed.stdout),
                 owner.write("payload", b"payload"))


def test_version_names_the_program(user):
    assert re.fullmatch(r"lct \d+\.\d+\S*\n", user.lct("--version").stdout)


def test_help_lists_every_subcommand(user):
    text = user.lct("help").stdout
    for name in SUBCOMMANDS:
        assert re.search(rf"^ *(lct )?{name}\b", text, re.MULTILINE), name


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_each_subcommand_has_its_help(user, name):
    text = user.lct("help", name).stdout
    assert f"lct {name}" in text


@pytest.mark.parametrize("arguments", [
    [], ["frobnicate"], ["help", "frobnicate"], ["create"], ["create", "a", "b"], ["show"],
    ["create", "a", "--algorithm"], ["create", "a", "--algorithm", "rsa-17"],
    ["create", "a", "--nonsense"], ["list", "extra"], ["delete"], ["csr"], ["sign"],
    ["sign", "ec", "--raw", "--jose"], ["--store"], ["list", "--tcti"], ["list", "--json=1"],
    ["list", "--version"]])
def test_wrong_usage_is_status_2_and_a_sentence(owner, arguments):
    done = owner.lct(*arguments, stdin=b"", status=2)
    assert done.stderr.startswith("lct: ")
    assert done.stdout == ""
    assert owner.in_store() == sorted(ALGORITHMS)


@pytest.mark.parametrize("typed", ["-x", "-xy", "-xyz"])
def test_a_letter_that_is_no_option_is_told_and_not_the_word_before_it(user, typed):
    for words in (("list", typed), ("list", typed, "--quiet"), ("list", "--quiet", typed)):
        sentence = one_sentence(user.lct(*words, status=2).stderr)
        assert sentence == "-x is not an option here; see lct help list"
    sentence = one_sentence(user.lct("list", "-é", status=2).stderr)
    assert sentence == "a letter that is not ASCII is not an option here; see lct help list"


def test_an_unknown_algorithm_is_answered_with_those_there_are(user):
    sentence = one_sentence(user.lct("create", "a", "--algorithm", "rsa-17", status=2).stderr)
    for algorithm in ALGORITHMS.values():
        assert algorithm in sentence


@pytest.mark.parametrize("arguments", [
    ["--tcti", "{tcti}", "--store", "{store}", "list", "--json"],
    ["list", "--json", "--store", "{store}", "--tcti", "{tcti}"],
    ["--store={store}", "list", "--json"]])
def test_flags_override_environment_and_configuration(owner, arguments):
    owner.configure(store="/nonexistent", tcti="swtpm:path=/nonexistent")
    places = {"store": owner.store, "tcti": owner.tcti}
    done = owner.lct(*[argument.format(**places) for argument in arguments],
                     env={"LCT_STORE": "/nowhere", "LCT_TCTI": "swtpm:path=/nowhere"})
    assert len(json.loads(done.stdout)) == 4


def test_the_environment_overrides_the_configuration(owner):
    owner.configure(store="/nonexistent", tcti="swtpm:path=/nonexistent")
    owner.lct("check", "ec", env={"LCT_STORE": str(owner.store), "LCT_TCTI": owner.tcti})
    owner.openssl("dgst", "-sha256", "-sign", "lct:ec", "-out", "sig", "data",
                  env={"LCT_STORE": str(owner.store), "LCT_TCTI": owner.tcti})


@pytest.mark.parametrize("variable", ["LCT_TCTI", "LCT_STORE", "LCT_REQUIRE_HARDWARE",
                                      "CREDENTIALS_DIRECTORY", "LCT_LOG"])
def test_a_variable_that_is_set_and_empty_is_a_wrong_value(user, variable):
    assert variable in one_sentence(user.lct("list", env={variable: ""}, status=8).stderr)


@NEEDS_ROOT
def test_the_environment_is_not_believed_by_a_program_with_raised_privileges(owner):
    if owner.preload:
        pytest.skip("a sanitizer's runtime is not preloaded into such a program")
    let_others_in(owner)
    raised = owner.path("raised")
    shutil.copy(owner.build / "lct", raised)
    shutil.chown(raised, "daemon")
    raised.chmod(0o4755)
    for path in (owner.store, *owner.store.rglob("*")):
        path.chmod(0o755)
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    listing = ("list", "--json")
    env = {"LCT_STORE": str(owner.store), "OPENSSL_CONF": os.devnull}
    assert len(json.loads(owner.lct(*listing, env=env, **nobody).stdout)) == 4
    done = owner.run(raised, *listing, env=env, **nobody)
    assert "rsa3072" not in done.stdout
    open_to_all = owner.path("open")
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    trace = open_to_all / "trace"
    owner.run(raised, *listing, env=env | {"LCT_LOG": str(trace)}, **nobody)
    assert not trace.exists()
    owner.lct(*listing, env=env | {"LCT_LOG": str(trace)}, **nobody)
    assert trace.exists()


def test_the_command_reads_the_provider_s_section(owner):
    assert len(json.loads(owner.lct("list", "--json").stdout)) == 4
    owner.lct("check", "ec")


def test_without_a_configured_store_an_ordinary_user_has_one_at_home(user):
    run_as = {"user": "nobody", "group": "nogroup", "extra_groups": []} if not os.geteuid() else {}
    user.configure(store=None)
    let_others_in(user)
    for name, home in (("XDG_DATA_HOME", "data"), ("HOME", "home")):
        place = user.path(home)
        place.mkdir()
        place.chmod(0o777)
        store = place / ("lct" if name == "XDG_DATA_HOME" else ".local/share/lct")
        env = {"HOME": str(user.path("home")), "XDG_DATA_HOME": None, name: str(place)}
        user.lct("create", "alice", env=env, **run_as)
        (row,) = json.loads(user.lct("list", "--json", env=env, **run_as).stdout)
        assert row["store"] == str(store)
        assert stat.S_IMODE(store.stat().st_mode) == 0o700
        shown = user.openssl("pkey", "-in", "lct:alice", "-pubout", env=env, **run_as).stdout
        assert shown.startswith("-----BEGIN PUBLIC KEY-----")


@pytest.mark.usefixtures("namespaces")
def test_without_a_configured_store_root_makes_system_identities(user):
    """
    In a mount namespace with an empty /var/lib, so that this machine's store is left alone. The
    service that opens the key has root's environment still: a home that it may not enter does not
    stand in its way.
    """
    user.configure(store=None)
    let_others_in(user)
    user.path("private").mkdir(mode=0o700)
    script = ("mount -t tmpfs none /var/lib && \"$0\" create web --owner daemon:bin && "
              "stat -c '%a %U:%G' /var/lib/lct /var/lib/lct/web && "
              "as='setpriv --reuid daemon --regid bin --clear-groups' && "
              "$as \"$0\" show web --json && $as openssl pkey -in lct:web -pubout")
    done = user.run("unshare", "--mount", "sh", "-c", script, user.build / "lct",
                    env={"XDG_DATA_HOME": str(user.path("private"))})
    _, store, identity, shown = done.stdout.split("\n", 3)
    assert (store, identity) == ("755 root:root", "750 daemon:bin")
    assert '"/var/lib/lct"' in shown
    assert "-----END PUBLIC KEY-----" in shown


def test_a_default_subject_must_fit(owner):
    owner.lct("create", "x" * 80)
    assert "--subject" in one_sentence(owner.lct("csr", "x" * 80, status=2).stderr)
    owner.lct("csr", "x" * 80, "--subject", "/CN=short")
    one_sentence(owner.lct("csr", "ec", "--subject", f"/O={'y' * 600}", status=2).stderr)


def test_check_says_why_behind_each_failure(owner, make_tpm):
    owner.configure(tcti=make_tpm().tcti)
    done = owner.lct("check", "ec", status=13)
    assert "FAILED" in done.stdout and "another TPM" in done.stdout


def test_list_notes_that_there_is_no_store(user):
    done = user.lct("list")
    assert done.stdout.startswith("ID") and len(done.stdout.splitlines()) == 1
    assert f"there is no store {user.store} yet" in done.stderr
    user.lct("create", "k")
    assert user.lct("list").stderr == ""
