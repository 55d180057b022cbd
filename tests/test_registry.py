# SPDX-License-Identifier: Apache-2.0
"""docs/registry.py: the registry of Web4's prototype on the commands of lct."""

import importlib.util

import pytest

from conftest import ROOT


def load():
    spec = importlib.util.spec_from_file_location("registry", ROOT / "docs/registry.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


registry = load()
ALICE, BOB = "web4:ai:alice", "web4:ai:bob"


@pytest.fixture(name="society")
def fixture_society(user):
    return registry.Registry([str(user.build / "lct")], user.environment())


def test_a_tpm_that_answers_is_available(society):
    assert society.is_available()


def test_no_tpm_and_no_command_are_not_available(user, society):
    user.configure(tcti=f"swtpm:path={user.path('nothing')}")
    assert not society.is_available()
    assert not registry.Registry(["/nonexistent/lct"]).is_available()


def test_what_is_minted_is_in_the_tpm(society):
    minted = society.mint(ALICE)
    assert minted["id"] == ALICE and minted["hardware_bound"] is True
    assert "BEGIN PUBLIC KEY" in minted["public_key"]
    assert society.show(ALICE) == minted


def test_an_id_is_minted_once(society):
    society.mint(ALICE)
    with pytest.raises(registry.LctError, match="alice") as raised:
        society.mint(ALICE)
    assert raised.value.status == 4


def test_nothing_is_minted_in_software_where_there_is_no_tpm(user, society):
    user.configure(tcti=f"swtpm:path={user.path('nothing')}")
    with pytest.raises(registry.LctError) as raised:
        society.mint(ALICE)
    assert raised.value.status == 9 and user.in_store() == []


@pytest.mark.parametrize("name", ["--help", "--json", "--tcti=swtpm:path=/nowhere"])
def test_no_id_is_taken_for_an_option(society, name):
    for ask in (society.mint, society.show, lambda lct_id: society.sign(lct_id, b""),
                lambda lct_id: society.delegate(lct_id, BOB, [])):
        with pytest.raises(registry.LctError) as raised:
            ask(name)
        assert raised.value.status == 5, "a malformed id"


def test_what_is_signed_verifies_in_software(user, society):
    minted = society.mint(ALICE)
    data = user.write("data", b"what is signed")
    signature = user.write("sig", society.sign(ALICE, b"what is signed"))
    user.verify(user.write("pub.pem", minted["public_key"]), signature, data)


def test_a_delegation_is_read_by_whoever_knows_the_key(society):
    alice, bob = society.mint(ALICE), society.mint(BOB)
    statement = society.delegate(ALICE, to=BOB, scope=["read", "write"], until="2027-01-01")
    assert society.read_delegation(statement, alice["public_key"]) == {
        "to": BOB, "scope": ["read", "write"], "until": "2027-01-01"}
    with pytest.raises(registry.LctError) as raised:
        society.read_delegation(statement, bob["public_key"])
    assert raised.value.status == 23


def test_another_statement_is_no_delegation(society):
    alice = society.mint(ALICE)
    statement = society.lct("sign", ALICE, "--type", "note", stdin=b'{"to": "eve"}').decode()
    with pytest.raises(registry.LctError):
        society.read_delegation(statement, alice["public_key"])


def test_it_runs_as_a_program(user):
    env = {"PATH": f"{user.build}:{user.env['PATH']}",
           "ASAN_OPTIONS": "detect_leaks=0:exitcode=99"}  # Python and bash have leaks of their own
    assert "a TPM answers" in user.run("python3", ROOT / "docs/registry.py", env=env).stdout
    user.configure(tcti=f"swtpm:path={user.path('nothing')}")
    done = user.run("python3", ROOT / "docs/registry.py", env=env, status=1)
    assert "lct doctor" in done.stdout
