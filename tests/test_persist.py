# SPDX-License-Identifier: Apache-2.0
"""
Keys at persistent handles, beside their key files: what is put there and taken away, by whose leave,
what else may be there, and that losing the handle loses nothing.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import termios

import pytest

from conftest import ALGORITHMS
from terminal import on_terminal
from test_certs import add_generation
from test_command import one_sentence
from test_import import ENDORSEMENT_RH, SIGNING, STORAGE, Bench
from test_passphrase import OWNER, SECRET, on_a_terminal, on_the_bus
from test_seal import STORE, begin, is_at
from test_store import run_failing, steps_of
from tpm import NO_SESSIONS, RC_RETRY, SRK, TIMEOUT, Broker, Command, exchange, wait_for

FIRST, SECOND, THIRD = 0x81000100, 0x81000101, 0x81000102
WITH_DA = SIGNING.replace("|noda", "")
LOADED = [Command.Load, Command.Sign, Command.FlushContext]
ENOUGH = 60
ENDORSEMENT = "the endorsement's own"


class Keeper(Bench):
    """A TPM behind a proxy that counts, tpm2-tools in front of it, and a user with lct:k."""

    def __init__(self, tpm, user, proxy):
        super().__init__(tpm, user)
        self.proxy = proxy
        user.lct("create", "k")

    def at(self) -> list[int]:
        """What is at the handles of ours."""
        return [handle for handle in self.tpm.persistent() if handle >= FIRST]

    def name_at(self, handle: int) -> str:
        self.tpm.tool("tpm2_readpublic", "-c", hex(handle), "-n", "n.name")
        return self.blobs("n.name")[0].hex()

    def shown(self, name: str = "k") -> dict:
        return json.loads(self.user.lct("show", name, "--json").stdout)

    def recorded(self, name: str = "k", number: int = 1) -> int | None:
        found = self.user.record(name)["generations"][number - 1].get("persistent")
        return int(found, 16) if found else None

    def is_at(self, handle: int, name: str = "k") -> bool:
        return handle in self.at() and self.name_at(handle) == self.shown(name)["name"]

    def put(self, handle: int = FIRST, *options, attributes: str | None = SIGNING, **more):
        """Somebody else's object goes to a handle."""
        self.make(*options, attributes=attributes, **more)
        self.persist(handle)

    @contextlib.contextmanager
    def beside(self):
        """Nothing else that is loaded goes when tpm2-tools' own objects do."""
        loaded = self.tpm.handles(0x80000000)
        yield
        for handle in set(self.tpm.handles(0x80000000)) - set(loaded):
            exchange(self.tpm.path,
                     struct.pack(">HIII", NO_SESSIONS, 14, Command.FlushContext, handle))

    def put_beside(self, handle: int):
        """What was made last as k.ctx goes to a handle, while somebody else has loaded a key."""
        with self.beside():
            self.tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "k.ctx", hex(handle))

    def swap(self, handle: int = FIRST, *options, **more):
        self.evict(handle)
        self.put(handle, *options, **more)

    def sent(self, *words, **options) -> list:
        """Which commands an openssl command sends; its signature is good."""
        self.proxy.codes.clear()
        self.user.openssl("dgst", "-sha256", *words, "-sign", "lct:k", "-out", "sig", "data",
                          **options)
        sent = list(self.proxy.codes)
        public = self.user.write("k.pub.pem", self.shown()["public_key"])
        self.user.verify(public, self.user.path("sig"), self.user.path("data"))
        return sent


@pytest.fixture(name="keeper")
def fixture_keeper(make_tpm, make_user, make_proxy):
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    return Keeper(tpm, make_user(proxy.tcti), proxy)


# Put there, and taken away.


def test_persist_and_unpersist(keeper):
    before = (keeper.user.store / "k" / "key-1.pem").read_bytes()
    done = keeper.user.lct("persist", "k")
    assert done.stdout == "lct:k: its key is at 0x81000100 in the TPM now\n"
    assert keeper.is_at(FIRST) and keeper.recorded() == FIRST
    assert keeper.shown()["persistent"] == "0x81000100"
    assert "persistent   0x81000100\n" in keeper.user.lct("show", "k").stdout
    assert "persistent handle as well" in keeper.user.lct("check", "k").stdout
    done = keeper.user.lct("unpersist", "k")
    assert "no longer at 0x81000100" in done.stdout
    assert keeper.at() == [] and keeper.recorded() is None and "persistent" not in keeper.shown()
    assert (keeper.user.store / "k" / "key-1.pem").read_bytes() == before
    assert keeper.sent() == LOADED


def test_what_is_persistent_already_is_left_as_it_is(keeper):
    keeper.user.lct("persist", "k")
    keeper.proxy.codes.clear()
    keeper.user.lct("persist", "lct:k")
    assert keeper.at() == [FIRST] and Command.EvictControl not in keeper.proxy.codes


def test_a_key_goes_to_the_handle_that_is_named(keeper):
    keeper.user.lct("persist", "k", "--handle", "0x817fffff")
    assert keeper.recorded() == 0x817FFFFF and keeper.sent() == [Command.Sign]
    keeper.user.lct("persist", "k", "--handle", "0x81000105")
    assert keeper.at() == [0x81000105], "the one of before is not left there"
    assert keeper.recorded() == 0x81000105


@pytest.mark.parametrize("handle", ["0x81000001", "0x810000ff", "0x81800000", "0x40000001", "k",
                                    "0x8100010", "0x810001000", "2164261120", ""])
def test_other_handles_are_refused(keeper, handle):
    done = keeper.user.lct("persist", "k", "--handle", handle, status=2)
    assert "0x81000100 to 0x817fffff" in one_sentence(done.stderr)
    assert keeper.at() == []


def test_who_is_not_there_cannot_be_persisted(keeper):
    keeper.user.lct("persist", "nobody", status=3)
    keeper.user.lct("unpersist", "nobody", status=3)
    assert "no generation 7" in keeper.user.lct("persist", "k", "--generation", "7",
                                                status=3).stderr
    assert "names no persistent handle" in keeper.user.lct("unpersist", "k", status=3).stderr
    keeper.user.lct("persist", "k", "--generation", "0", status=2)
    keeper.user.lct("persist", status=2)


def test_handles_of_others_are_passed_over(keeper):
    keeper.put(FIRST)
    keeper.put(THIRD)
    keeper.user.lct("create", "second")
    keeper.user.lct("persist", "k")
    keeper.user.lct("persist", "second")
    assert keeper.recorded() == SECOND and keeper.recorded("second") == 0x81000103
    assert keeper.is_at(SECOND) and keeper.is_at(0x81000103, "second")


def test_a_handle_that_is_taken_is_not_taken_away(keeper):
    keeper.put(SECOND)
    before = keeper.name_at(SECOND)
    done = keeper.user.lct("persist", "k", "--handle", hex(SECOND), status=4)
    assert f"something else is at {SECOND:#x}" in one_sentence(done.stderr)
    assert keeper.name_at(SECOND) == before and keeper.recorded() is None


def test_who_takes_the_handle_first_has_it(keeper):
    """The TPM is the lock: what it has refused, another program has taken in between."""
    def after_another(handle: int):
        def answer(command, ask):
            keeper.put_beside(handle)
            return ask(command)
        keeper.proxy.hook(Command.EvictControl, answer, 1)

    keeper.put(0x81000200)
    after_another(FIRST)
    keeper.user.lct("persist", "k")
    assert keeper.proxy.count(Command.EvictControl) == 2
    assert keeper.recorded() == SECOND and keeper.is_at(SECOND) and not keeper.is_at(FIRST)
    keeper.user.lct("unpersist", "k")
    after_another(THIRD)
    done = keeper.user.lct("persist", "k", "--handle", hex(THIRD), status=4)
    assert "something else" in one_sentence(done.stderr) and keeper.recorded() is None


def test_a_full_tpm_is_said_and_loses_nothing(keeper):
    keeper.user.lct("create", "other")
    keeper.make()
    keeper.tpm.tool("tpm2_load", "-C", hex(SRK), "-u", "k.pub", "-r", "k.priv", "-c", "k.ctx")
    keeper.tpm.flush()
    for handle in range(0x81000200, 0x81000300):
        done = keeper.tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "k.ctx", hex(handle),
                               status=None)
        keeper.tpm.flush()
        if done.returncode:
            break
    assert handle > 0x81000202 and done.returncode
    sentence = one_sentence(keeper.user.lct("persist", "k", status=17).stderr)
    assert "lct:k: " in sentence and "NV memory has no room" in sentence
    assert keeper.recorded() is None and FIRST not in keeper.at()
    assert keeper.sent() == LOADED
    keeper.evict(0x81000200)
    keeper.user.lct("persist", "k")
    assert keeper.sent() == [Command.Sign]


@pytest.mark.parametrize("algorithm", ALGORITHMS.values())
def test_each_algorithm_signs_there(keeper, algorithm):
    keeper.user.lct("create", "a", "--algorithm", algorithm)
    keeper.user.lct("persist", "a")
    keeper.user.lct("check", "a")
    keeper.proxy.codes.clear()
    keeper.user.certificate("lct:a")
    assert keeper.proxy.codes == [Command.Sign]


@pytest.mark.parametrize("seal", ["strict:sha256:7", "none"])
@pytest.mark.parametrize("passphrase", [False, True], ids=["free", "passphrase"])
def test_keys_with_a_passphrase_or_a_seal_are_looked_at_first(keeper, seal, passphrase):
    secret = keeper.user.write("secret", SECRET)
    options = ("--passphrase-file", secret) if passphrase else ()
    keeper.user.lct("create", "s", "--seal", seal, *options)
    keeper.user.lct("persist", "s")
    keeper.user.lct("check", "s", *options)
    keeper.proxy.codes.clear()
    keeper.user.lct("sign", "s", *options, stdin="x", text=False)
    codes = keeper.proxy.codes
    assert Command.Load not in codes and codes.count(Command.Sign) == 1
    if passphrase or seal != "none":
        # What is in a file is tried if one more wrong one may be.
        assert codes[:2] == [Command.GetCapability, Command.ReadPublic] if passphrase else (
            codes[0] == Command.ReadPublic)
    assert not on_the_bus(keeper.proxy, SECRET)


def test_a_key_of_a_transient_storage_root_key_is_persisted(make_tpm, make_user):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.configure(provision="no")
    user.lct("create", "k")
    user.lct("persist", "k")
    assert tpm.persistent() == [FIRST]
    user.lct("check", "k")


@pytest.mark.parametrize("hierarchy", ["null", "platform"])
def test_keys_that_the_owner_cannot_keep_are_refused(keeper, hierarchy):
    letter = hierarchy[0]
    keeper.tpm.tool("tpm2_createprimary", "-C", letter, "-G", "ecc256:aes128cfb", "-a", STORAGE,
                    "-c", "p.ctx")
    keeper.tpm.flush()
    key = keeper.make(context="p.ctx")
    key.parent = {"n": 0x40000007, "p": 0x4000000C}[letter]
    keeper.user.lct("import", "n", keeper.write(key))
    done = keeper.user.lct("persist", "n", status=15)
    assert f"{hierarchy} hierarchy" in one_sentence(done.stderr)


def test_a_key_that_was_imported_at_a_handle_is_not_ours_to_move(keeper):
    keeper.put(SECOND)
    keeper.user.lct("import", "i", hex(SECOND))
    assert "imported at the persistent handle" in keeper.user.lct("persist", "i",
                                                                  status=15).stderr
    keeper.user.lct("unpersist", "i", status=3)
    done = keeper.user.lct("gc", "--evict", "--yes")
    assert "lct:i, generation 1: imported from there, and left" in done.stdout
    assert SECOND in keeper.at()


def test_a_key_that_signs_no_more_is_not_persisted(keeper):
    keeper.user.lct("create", "next")
    add_generation(keeper.user, "k", "next")
    keeper.user.edit_record("k", lambda record: record["generations"][0].update(
        until="2020-01-01T00:00:00Z"))
    keeper.user.lct("persist", "k", "--generation", "1", status=25)
    keeper.user.lct("persist", "k")
    assert keeper.recorded("k", 2) == FIRST and keeper.recorded() is None
    keeper.user.lct("unpersist", "k", "--generation", "2")


def test_a_key_in_software_has_no_place_in_the_tpm(keeper):
    secret = keeper.user.write("secret", SECRET)
    keeper.user.lct("create", "--software", "soft", "--passphrase-file", secret)
    assert "in software" in one_sentence(keeper.user.lct("persist", "soft", status=15).stderr)
    keeper.user.lct("unpersist", "soft", status=3)
    assert keeper.user.lct("gc").stdout == ""


def test_a_retired_key_is_not_persisted_and_gc_evicts_it(keeper):
    keeper.user.lct("persist", "k")
    keeper.user.lct("retire", "k", "--yes")
    keeper.user.lct("persist", "k", status=25)
    assert "not needed" in keeper.user.lct("gc").stdout and keeper.at() == [FIRST]
    keeper.user.lct("gc", "--evict", "--yes")
    assert keeper.at() == [] and keeper.recorded() is None


# Signing there.


def test_signing_is_one_command_from_the_first_signature_on(keeper, prompted):
    keeper.user.lct("persist", "k")
    assert keeper.sent() == [Command.Sign]
    keeper.proxy.codes.clear()
    keeper.user.lct("sign", "k", stdin="x", text=False)
    assert keeper.proxy.codes == [Command.Sign]
    keeper.proxy.codes.clear()
    program = prompted(keeper.user, "k")
    for _ in range(3):
        program.sign()
    assert program.end() == "" and keeper.proxy.codes == [Command.Sign] * 3


def test_a_lost_handle_loses_nothing(keeper, prompted):
    keeper.user.lct("persist", "k")
    keeper.evict(FIRST)
    assert keeper.sent() == [Command.Sign, *LOADED]
    program = prompted(keeper.user, "k")
    keeper.proxy.codes.clear()
    for _ in range(4):
        program.sign()
    assert program.end() == ""
    assert keeper.proxy.count(Command.Sign) == 5, "once a connection it is looked for"
    done = keeper.user.lct("check", "k")
    assert "not at its persistent handle any more" in done.stdout


OTHERS = {
    "another EC key": {},
    "another curve": {"kind": "ecc384"},
    "an RSA key": {"kind": "rsa2048"},
    "a storage key": {"kind": "ecc256:aes128cfb", "attributes": STORAGE},
    "a restricted signing key": {"kind": "ecc256:ecdsa-sha256:null",
                                 "attributes": SIGNING + "|restricted"},
    "an HMAC key": {"kind": "hmac"},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_whatever_else_is_at_the_handle_the_key_signs(keeper, other, prompted):
    keeper.user.lct("persist", "k")
    keeper.swap(FIRST, **other)
    assert keeper.sent() == [Command.Sign, *LOADED]
    program = prompted(keeper.user, "k")
    program.sign()
    keeper.proxy.codes.clear()
    program.sign()
    assert keeper.proxy.count(Command.Sign) == 1, "what is at the handle is not tried again"
    assert program.end() == ""


def test_sealed_data_at_the_handle_is_no_key(keeper):
    keeper.user.lct("persist", "k")
    keeper.evict(FIRST)
    keeper.tpm.tool("tpm2_create", "-C", hex(SRK), "-i", keeper.user.path("data"), "-u", "k.pub",
                    "-r", "k.priv", "-a", "fixedtpm|fixedparent|userwithauth|noda")
    keeper.tpm.flush()
    keeper.persist(FIRST)
    assert keeper.sent() == [Command.Sign, *LOADED]


def test_another_key_with_a_passphrase_at_the_handle_costs_one_try(keeper, prompted):
    """What is there is not looked at before, so a program tries an empty authorization on it."""
    keeper.user.lct("persist", "k")
    keeper.swap(FIRST, "-p", "another", attributes=WITH_DA)
    program = prompted(keeper.user, "k")
    for _ in range(3):
        program.sign()
    assert program.end() == "" and keeper.tpm.property(0x20E) == 1
    assert "something else is at" in keeper.user.lct("doctor", status=None).stdout
    keeper.tpm.tool("tpm2_dictionarylockout", "-c")


@pytest.mark.parametrize("seal", ["strict:sha256:7", "none"])
def test_no_passphrase_is_tried_on_what_is_at_the_handle(keeper, seal):
    secret = keeper.user.write("secret", SECRET)
    keeper.user.lct("create", "s", "--seal", seal, "--passphrase-file", secret)
    keeper.user.lct("persist", "s")
    keeper.swap(FIRST, "-p", "another", attributes=WITH_DA)
    keeper.user.lct("sign", "s", "--passphrase-file", secret, stdin="x", text=False)
    keeper.evict(FIRST)
    keeper.user.lct("sign", "s", "--passphrase-file", secret, stdin="x", text=False)
    assert keeper.tpm.property(0x20E) == 0


def test_a_wrong_passphrase_is_tried_once_there(keeper):
    secret = keeper.user.write("secret", SECRET)
    wrong = keeper.user.write("wrong", "wrong")
    keeper.user.lct("create", "s", "--passphrase-file", secret)
    keeper.user.lct("persist", "s")
    keeper.proxy.messages.clear()
    keeper.proxy.codes.clear()
    keeper.user.lct("sign", "s", "--passphrase-file", wrong, stdin="x", status=12)
    assert Command.Load not in keeper.proxy.codes
    assert [rc for _, rc in keeper.proxy.refusals() if rc != RC_RETRY] == [0x98E]
    assert keeper.tpm.property(0x20E) == 1
    keeper.tpm.tool("tpm2_dictionarylockout", "-c")


@pytest.mark.parametrize("seal", ["strict:sha256:7", "none"])
def test_a_forged_name_gives_no_signature_by_another_key(keeper, seal):
    """Whoever answers in the TPM's place says that the key is there, of another with its
    passphrase: cpHash or the signature shows it."""
    secret = keeper.user.write("secret", SECRET)
    options = ("--passphrase-file", secret) if seal == "none" else ()
    keeper.user.lct("create", "s", "--seal", seal, *options)
    keeper.user.lct("persist", "s")
    name = bytes.fromhex(keeper.shown("s")["name"])
    keeper.swap(FIRST, "-p", SECRET)
    other = bytes.fromhex(keeper.name_at(FIRST))
    keeper.proxy.hook(Command.ReadPublic, lambda _command, ask: ask().replace(other, name))
    done = keeper.user.lct("sign", "s", *options, stdin="x", status=None, text=False)
    assert done.returncode in (12, 20) and done.stdout == b""


def test_a_seal_that_is_shut_is_shut_there_too(keeper):
    keeper.user.lct("create", "s", "--seal", "strict:sha256:7")
    keeper.user.lct("persist", "s")
    keeper.tpm.tool("tpm2_pcrextend", "7:sha256=" + "11" * 32)
    keeper.user.lct("sign", "s", stdin="x", status=20)
    keeper.user.lct("persist", "s", "--handle", hex(THIRD))
    assert keeper.is_at(THIRD, "s"), "what the seal is about is signing"


def test_a_program_that_has_loaded_the_key_before_goes_on(keeper, prompted):
    program = prompted(keeper.user, "k")
    program.sign()
    keeper.user.lct("persist", "k")
    program.sign()
    later = prompted(keeper.user, "k")
    later.sign()
    keeper.user.lct("unpersist", "k")
    later.sign()
    keeper.put(FIRST)
    later.sign()
    program.sign()
    assert program.end() == later.end() == ""


def test_a_key_that_is_swapped_while_a_program_signs(keeper, prompted):
    keeper.user.lct("persist", "k")
    program = prompted(keeper.user, "k")
    program.sign()
    keeper.swap(FIRST)
    program.sign()
    keeper.swap(FIRST, kind="rsa2048")
    program.sign()
    assert program.end() == ""


def test_programs_that_fork_and_threads_sign_there(keeper):
    keeper.user.lct("persist", "k")
    keeper.user.lct("create", "other", "--algorithm", "ec-p384")
    for words in (["threads", "lct:k", "lct:other"], ["fork", "lct:k"]):
        keeper.user.run(keeper.user.build / "tests" / "evp", *words)
    keeper.evict(FIRST)
    for words in (["threads", "lct:k", "lct:other"], ["fork", "lct:k"]):
        keeper.user.run(keeper.user.build / "tests" / "evp", *words)


def test_each_session_setting_signs_there(keeper):
    keeper.user.configure(session="always")
    keeper.user.lct("persist", "k")
    sent = keeper.sent()
    assert Command.Load not in sent and sent.count(Command.Sign) == 1
    keeper.swap(FIRST)
    assert Command.Load in keeper.sent()


def test_more_lost_keys_than_are_remembered_sign(keeper):
    names = [f"k{i}" for i in range(12)]
    for name in names:
        keeper.user.lct("create", name)
        keeper.user.edit_record(name, lambda record: record["generations"][0].update(
            persistent=hex(THIRD)))
    keeper.user.run(keeper.user.build / "tests" / "evp", "threads", *(f"lct:{n}" for n in names))


# By whose leave.


@pytest.fixture(name="ruled")
def fixture_ruled(keeper):
    """The TPM's owner has an authorization."""
    keeper.tpm.tool("tpm2_changeauth", "-c", "owner", OWNER)
    keeper.file = str(keeper.user.write("owner", OWNER + "\n"))
    return keeper


def test_the_owners_authorization_comes_from_a_file_and_never_crosses_the_bus(ruled):
    ruled.user.configure(owner_auth_file=ruled.file)
    ruled.user.lct("persist", "k")
    assert ruled.is_at(FIRST)
    ruled.user.lct("unpersist", "k")
    assert ruled.at() == [] and not on_the_bus(ruled.proxy, OWNER)


def test_the_owners_authorization_is_asked_for(ruled):
    lct = str(ruled.user.build / "lct")
    shown = on_a_terminal(ruled.user, [lct, "persist", "k"], OWNER)
    assert shown.startswith("0 ") and OWNER not in shown and ruled.is_at(FIRST)
    shown = on_a_terminal(ruled.user, [lct, "unpersist", "k"], OWNER)
    assert shown.startswith("0 ") and ruled.at() == []
    assert not on_the_bus(ruled.proxy, OWNER)


def test_without_the_owners_authorization_nothing_changes(ruled):
    done = ruled.user.lct("persist", "k", status=12, start_new_session=True)
    assert "owner_auth_file" in one_sentence(done.stderr)
    assert ruled.at() == [] and ruled.recorded() is None
    ruled.user.configure(owner_auth_file=ruled.file)
    ruled.user.lct("persist", "k")
    ruled.user.configure(owner_auth_file=str(ruled.user.write("bad", "wrong")))
    for words in (["unpersist", "k"], ["persist", "k", "--handle", hex(SECOND)]):
        done = ruled.user.lct(*words, status=12)
        assert "lct:k: the TPM refuses the owner's authorization" in one_sentence(done.stderr)
    assert ruled.at() == [FIRST] and ruled.recorded() == FIRST
    assert ruled.tpm.property(0x20E) == 0


@pytest.fixture(name="endorsed")
def fixture_endorsed(keeper):
    """lct:e, whose parent is made anew in the endorsement hierarchy; both hierarchies have an
    authorization, and no two are the same."""
    keeper.primary("e")
    key = keeper.make(context="p.ctx")
    key.parent = ENDORSEMENT_RH
    keeper.tpm.tool("tpm2_changeauth", "-c", "owner", OWNER)
    keeper.tpm.tool("tpm2_changeauth", "-c", "endorsement", ENDORSEMENT)
    keeper.files = {"owner_auth_file": keeper.user.write("owner", OWNER),
                    "endorsement_auth_file": keeper.user.write("endorsement", ENDORSEMENT)}
    keeper.user.configure(**keeper.files)
    keeper.user.lct("import", "e", keeper.write(key))
    return keeper


def test_each_hierarchy_gets_its_own_authorization(endorsed):
    """The parent is made with the one, and the key put at its handle and evicted with the other."""
    user = endorsed.user
    user.lct("persist", "e")
    assert endorsed.is_at(FIRST, "e")
    user.lct("sign", "e", stdin="x", text=False)
    user.lct("unpersist", "e")
    assert endorsed.at() == []
    user.lct("persist", "e")
    user.edit_record("e", lambda record: record["generations"][0].pop("persistent"))
    user.lct("gc", "--evict", "--yes")
    assert endorsed.at() == []
    user.lct("persist", "e")
    user.lct("backup", "e", "--out", "b.tar")
    done = user.lct("delete", "e", "--yes")
    assert done.stderr == "" and endorsed.at() == []
    done = user.lct("restore", "b.tar")
    assert "its key is of this TPM" in done.stdout and done.stderr == ""
    user.lct("restore", "--check", "b.tar")


def test_the_owners_authorization_is_not_sent_for_the_endorsement_hierarchy(endorsed):
    user = endorsed.user
    user.lct("backup", "e", "--out", "b.tar")
    user.configure(owner_auth_file=endorsed.files["owner_auth_file"])
    for words in (["persist", "e"], ["restore", "--check", "b.tar"]):
        said = one_sentence(user.lct(*words, status=12).stderr)
        assert "set endorsement_auth_file" in said and "refuses" not in said
    assert endorsed.at() == []


def unreadable(keeper) -> str:
    return str(keeper.user.path("nobody-s"))


def test_an_authorization_that_a_key_does_not_take_is_not_looked_at(keeper):
    """Its parent is kept in the TPM: that of the endorsement hierarchy may be root's to read."""
    user = keeper.user
    user.configure(endorsement_auth_file=unreadable(keeper))
    user.lct("persist", "k")
    assert keeper.is_at(FIRST)
    user.lct("unpersist", "k")
    assert keeper.at() == []
    user.lct("rotate", "k")
    user.lct("persist", "k", "--generation", "2")
    assert user.lct("rotate", "k", "--withdraw").stderr == "" and keeper.at() == []
    user.lct("persist", "k")
    user.edit_record("k", lambda record: record["generations"][0].pop("persistent"))
    user.lct("gc", "--evict", "--yes")
    assert keeper.at() == []
    user.lct("persist", "k")
    done = user.lct("delete", "k", "--yes")
    assert done.stderr == "" and keeper.at() == [], "a key that is deleted is of no use to anybody"


@pytest.mark.parametrize("words", [["delete", "k", "--yes"], ["rotate", "k", "--withdraw"]],
                         ids=lambda words: words[0])
def test_a_key_that_is_not_evicted_is_told_with_what_evicts_it(keeper, words):
    number = 1
    if words[0] == "rotate":
        keeper.user.lct("rotate", "k")
        number = 2
    keeper.user.lct("persist", "k", "--generation", str(number))
    keeper.user.configure(owner_auth_file=unreadable(keeper))
    said = one_sentence(keeper.user.lct(*words).stderr)
    assert "nobody-s" in said and "its key stays in the TPM" in said
    assert f"tpm2_evictcontrol -c {FIRST:#x}" in said
    assert keeper.at() == [FIRST]


@pytest.mark.parametrize("words", [["delete", "k", "--yes"], ["rotate", "k", "--withdraw"]],
                         ids=lambda words: words[0])
def test_a_key_that_was_put_at_a_handle_meanwhile_goes_with_its_record(keeper, words):
    """While the command waits for the one that did that."""
    user, number = keeper.user, 1
    if words[0] == "rotate":
        user.lct("rotate", "k")
        number = 2
    user.lct("persist", "k", "--generation", str(number))
    record = user.store / "k" / "identity.json"
    after = record.read_text()
    user.edit_record("k", lambda before: before["generations"][number - 1].pop("persistent"))
    held = os.open(user.store / "k", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    process = begin(user, words)
    wait_for(lambda: is_at(process, user.store / "k"), "it to come to the identity")
    assert process.poll() is None
    record.write_text(after)
    os.close(held)
    said = process.communicate(timeout=TIMEOUT)[1]
    assert (process.returncode, said) == (0, "") and keeper.at() == []


@pytest.mark.parametrize("change", [["persist", "k"], ["rotate", "k"]], ids=lambda words: words[0])
def test_what_was_changed_while_the_question_stood_is_not_deleted(keeper, change):
    with on_terminal(keeper.user, "delete", "k") as terminal:
        terminal.read_until("[y/N]")
        keeper.user.lct(*change)
        terminal.type("y\r")
        assert terminal.end() == STORE
        assert "lct:k: another command has changed it meanwhile; do it again" in terminal.output
    assert keeper.at() == ([FIRST] if change[0] == "persist" else [])
    keeper.user.lct("check", "k")
    keeper.user.lct("delete", "k", "--yes")
    assert keeper.at() == []


ASKED = {"both": ("owner", "endorsement"), "endorsement": ("endorsement",)}


@pytest.mark.parametrize("missing", ASKED)
def test_the_authorization_that_is_missing_is_the_one_that_is_asked_for(endorsed, missing):
    user = endorsed.user
    asked = ASKED[missing]
    user.configure(**{setting: file for setting, file in endorsed.files.items()
                      if setting.removesuffix("_auth_file") not in asked})
    typed = [ENDORSEMENT, *([OWNER] if "owner" in asked else [])]
    for words, there in ((["persist", "e"], [FIRST]), (["unpersist", "e"], [])):
        shown = on_a_terminal(user, [str(user.build / "lct"), *words], *typed)
        assert shown.startswith("0 ") and endorsed.at() == there
        assert shown.count("authorization of the TPM's endorsement hierarchy") == 1
        assert shown.count("authorization of the TPM's owner") == len(asked) - 1
    assert not any(on_the_bus(endorsed.proxy, secret) for secret in (OWNER, ENDORSEMENT))


def test_who_types_no_authorization_is_not_asked_for_another(endorsed):
    endorsed.user.configure()
    with on_terminal(endorsed.user, "persist", "e") as terminal:
        terminal.read_until("endorsement hierarchy:")
        wait_for(lambda: not termios.tcgetattr(terminal.ours)[3] & termios.ECHO,
                 "a terminal without echo")
        terminal.type("\x04")
        assert terminal.end() == 12 and "TPM's owner" not in terminal.output
    assert endorsed.at() == []


def test_an_owners_authorization_that_is_not_set_is_not_asked_for(endorsed):
    """What was typed for the endorsement hierarchy is wrong, and the owner has none."""
    endorsed.tpm.tool("tpm2_changeauth", "-c", "owner", "-p", OWNER, "")
    endorsed.user.configure()
    shown = on_a_terminal(endorsed.user, [str(endorsed.user.build / "lct"), "persist", "e"], "no")
    assert shown.startswith("12 ") and "TPM's owner" not in shown
    assert "refuses the endorsement" in shown and endorsed.at() == []


def test_an_owners_authorization_that_is_not_set_is_not_used(keeper):
    keeper.user.configure(owner_auth_file=str(keeper.user.write("owner", OWNER)))
    keeper.user.lct("persist", "k")
    keeper.user.lct("unpersist", "k")
    assert not on_the_bus(keeper.proxy, OWNER)


# What is not ours stays.


def test_unpersist_leaves_what_somebody_else_has_put_there(keeper):
    keeper.user.lct("persist", "k")
    keeper.swap(FIRST)
    other = keeper.name_at(FIRST)
    done = keeper.user.lct("unpersist", "k")
    assert "was not at 0x81000100 any more" in done.stdout
    assert keeper.name_at(FIRST) == other and keeper.recorded() is None


@pytest.mark.parametrize("owner_auth", [False, True], ids=["empty", "set"])
def test_what_is_swapped_in_at_the_last_moment_is_not_evicted(keeper, owner_auth):
    """After the Name was read, before TPM2_EvictControl: cpHash has the Name of what is to go."""
    if owner_auth:
        keeper.user.configure(owner_auth_file=str(keeper.user.write("owner", OWNER)))
    keeper.user.lct("persist", "k")
    keeper.proxy.codes.clear()

    def swapped_before(command, ask):
        keeper.swap(FIRST)
        if owner_auth:
            keeper.tpm.tool("tpm2_changeauth", "-c", "owner", OWNER)
        return ask(command)

    keeper.proxy.hook(Command.EvictControl, swapped_before, 1)
    done = keeper.user.lct("unpersist", "k", status=None, start_new_session=True)
    assert keeper.proxy.count(Command.EvictControl) == 1, done.stderr
    assert keeper.at() == [FIRST] and not keeper.is_at(FIRST), "another's key is still there"


def test_an_evicting_command_is_authorized_in_a_session_though_nobody_set_an_authorization(keeper):
    keeper.user.lct("persist", "k")
    keeper.user.lct("unpersist", "k")
    sent = [message for message in keeper.proxy.messages[::2]
            if struct.unpack_from(">I", message, 6)[0] == Command.EvictControl]
    assert len(sent) == 2
    for command in sent:  # header, two handles, the size of what authorizes, the session
        assert struct.unpack_from(">I", command, 22)[0] >> 24 == 2, command.hex()


def test_a_loaded_object_that_is_swapped_is_not_persisted(keeper):
    """Without a resource manager, what is behind a transient handle may become another's."""
    keeper.make()

    def swapped_before(command, ask):
        ours = keeper.tpm.handles(0x80000000)
        keeper.tpm.flush()
        keeper.tpm.tool("tpm2_load", "-C", hex(SRK), "-u", "k.pub", "-r", "k.priv", "-c", "o.ctx")
        assert keeper.tpm.handles(0x80000000) == ours
        swapped.append(ours)
        return ask(command)

    swapped = []
    keeper.proxy.hook(Command.EvictControl, swapped_before, 1)
    done = keeper.user.lct("persist", "k", status=14)
    assert "another program" in one_sentence(done.stderr)
    assert swapped and keeper.at() == [] and keeper.recorded() is None, done.stderr
    keeper.tpm.flush()


def test_a_pending_key_that_is_withdrawn_leaves_its_handle(keeper):
    keeper.user.lct("rotate", "k")
    keeper.user.lct("persist", "k", "--generation", "2")
    assert keeper.at() == [FIRST]
    said = keeper.user.lct("rotate", "k", "--withdraw")
    assert keeper.at() == [] and "evictcontrol" not in said.stdout + said.stderr


def test_a_pending_key_that_is_withdrawn_leaves_alone_what_is_not_it(keeper):
    keeper.user.lct("rotate", "k")
    keeper.user.lct("persist", "k", "--generation", "2")
    keeper.evict(FIRST)
    keeper.put(FIRST)
    there = keeper.name_at(FIRST)
    keeper.user.lct("rotate", "k", "--withdraw")
    assert keeper.name_at(FIRST) == there


# Crashes, and two at once.


@pytest.mark.parametrize("way", ["persist", "gc"])
def test_a_persist_killed_between_the_tpm_and_the_record_is_taken_up(keeper, way):
    done = keeper.user.lct("persist", "k", status=None,
                           preload=[keeper.user.build / "tests" / "preload_tpm.so"],
                           env={"LCT_TPM_CODE": f"{Command.EvictControl:#x}", "LCT_TPM_AT": "1",
                                "LCT_TPM_FAULT": "kill-after"})
    assert done.returncode == -signal.SIGKILL
    keeper.tpm.flush()
    for session in keeper.tpm.handles(0x02000000):
        keeper.tpm.tool("tpm2_flushcontext", hex(session))
    assert keeper.is_at(FIRST) and keeper.recorded() is None
    assert keeper.sent() == LOADED
    assert "lct gc" in keeper.user.lct("doctor", status=None).stdout
    keeper.proxy.codes.clear()
    done = keeper.user.lct(*(["gc"] if way == "gc" else ["persist", "k"]))
    assert Command.EvictControl not in keeper.proxy.codes
    assert keeper.at() == [FIRST] and keeper.recorded() == FIRST
    if way == "gc":
        assert done.stdout == "0x81000100  lct:k, generation 1: recorded again\n"
        assert keeper.user.lct("gc").stdout == "0x81000100  lct:k, generation 1: recorded\n"


@pytest.mark.parametrize("words", [["persist", "k"], ["persist", "k", "--handle", hex(SECOND)],
                                   ["unpersist", "k"]],
                         ids=["persist", "move", "unpersist"])
def test_killed_at_any_step_it_signs_and_is_mended(keeper, words):
    first = words == ["persist", "k"]
    ended = False
    for step in range(1, ENOUGH):
        keeper.user.lct(*(["unpersist", "k"] if first else ["persist", "k", "--handle",
                                                            hex(FIRST)]),
                        status=None)
        done = run_failing(keeper.user, words, step, "kill")
        if done.returncode == 0:
            ended = True
            break
        assert done.returncode == -signal.SIGKILL
        keeper.sent()
        keeper.user.lct(*words, status=None)
        keeper.user.lct("gc", "--evict", "--yes")
        assert keeper.at() == ([] if words[0] == "unpersist" else
                               [FIRST] if first else [SECOND])
        assert keeper.recorded() == next(iter(keeper.at()), None)
    assert ended and step > 3


@pytest.mark.parametrize("action", ["ENOSPC+", "EROFS+", "EIO"])
def test_what_cannot_be_recorded_is_not_left_in_the_tpm(keeper, action):
    steps = steps_of(keeper.user, ["persist", "k"])
    keeper.user.lct("unpersist", "k")
    done = run_failing(keeper.user, ["persist", "k"], steps.index("write") + 1, action)
    assert done.returncode == 7
    words = os.strerror(getattr(errno, action.strip("+")))
    assert words.lower() in one_sentence(done.stderr).lower()
    assert keeper.at() == [] and keeper.recorded() is None


def test_what_was_put_there_before_it_was_begun_again_goes_if_it_cannot_be_recorded(keeper):
    """The TPM is full when what was put there is looked at, once."""
    def put(_command, ask):
        keeper.proxy.refuse(Command.ReadPublic, 0x904, 1)
        return ask()

    steps = steps_of(keeper.user, ["persist", "k"])
    keeper.user.lct("unpersist", "k")
    keeper.proxy.hook(Command.EvictControl, put, 1)
    done = run_failing(keeper.user, ["persist", "k"], steps.index("write") + 1, "ENOSPC+")
    assert done.returncode == 7
    assert (Command.ReadPublic, 0x904) in keeper.proxy.refusals()
    assert keeper.at() == [] and keeper.recorded() is None


def test_what_another_has_put_there_stays_though_it_cannot_be_recorded(keeper):
    """Ours was refused, for its session was gone, and was not put there by us."""
    def put_by_another(command, ask):
        key, *_ = keeper.tpm.handles(0x80000000)
        keeper.tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", hex(key), hex(FIRST))
        keeper.tpm.tool("tpm2_flushcontext", "-l")
        return ask(command)

    steps = steps_of(keeper.user, ["persist", "k"])
    keeper.user.lct("unpersist", "k")
    keeper.proxy.hook(Command.EvictControl, put_by_another, 1)
    done = run_failing(keeper.user, ["persist", "k"], steps.index("write") + 1, "ENOSPC+")
    assert done.returncode == 7
    assert keeper.is_at(FIRST) and keeper.recorded() is None


def test_what_is_interrupted_or_written_in_parts_is_recorded(keeper):
    steps = steps_of(keeper.user, ["persist", "k"])
    for number, action in ((steps.index("write") + 1, "EINTR"), (0, "parts")):
        for words, there in (("unpersist", []), ("persist", [FIRST])):
            done = run_failing(keeper.user, [words, "k"], number, action)
            assert done.returncode == 0, done.stderr
            assert keeper.at() == there and keeper.recorded() == next(iter(there), None)
            assert keeper.sent() == ([Command.Sign] if there else LOADED)


def test_an_unpersist_that_is_not_recorded_is_ended_by_another(keeper):
    keeper.user.lct("persist", "k")
    steps = steps_of(keeper.user, ["persist", "k", "--handle", hex(SECOND)])
    done = run_failing(keeper.user, ["unpersist", "k"], steps.index("write") + 1, "ENOSPC+")
    assert done.returncode == 7 and keeper.at() == [] and keeper.recorded() == SECOND
    assert keeper.sent() == [Command.Sign, *LOADED]
    assert "nothing is there" in keeper.user.lct("gc").stdout
    keeper.user.lct("unpersist", "k")
    assert keeper.recorded() is None and keeper.sent() == LOADED


def at_once(user, *commands) -> list[int]:
    programs = [subprocess.Popen([user.build / "lct", *words], cwd=user.directory,
                                 env=user.environment(), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL) for words in commands]
    return [program.wait(TIMEOUT) for program in programs]


def test_two_that_persist_at_once_get_a_handle_each(keeper):
    names = [f"k{i}" for i in range(4)]
    for name in names:
        keeper.user.lct("create", name)
    assert at_once(keeper.user, *(["persist", name] for name in names)) == [0] * 4
    assert sorted(map(keeper.recorded, names)) == keeper.at() == list(range(FIRST, FIRST + 4))
    assert all(keeper.is_at(keeper.recorded(name), name) for name in names)
    assert at_once(keeper.user, *(["unpersist", name] for name in names)) == [0] * 4
    assert keeper.at() == []


def test_two_that_persist_the_same_key_at_once_put_it_there_once(keeper):
    assert at_once(keeper.user, *[["persist", "k"]] * 4) == [0] * 4
    assert keeper.at() == [FIRST] and keeper.recorded() == FIRST


def test_a_broken_connection_is_no_second_copy(keeper):
    """The response is lost: whether it was done is seen by the Name."""
    keeper.proxy.hook(Command.EvictControl, lambda _command, ask: (ask(), b"")[1], 1)
    keeper.user.lct("persist", "k")
    assert keeper.at() == [FIRST] and keeper.recorded() == FIRST
    keeper.proxy.hook(Command.EvictControl, lambda _command, ask: (ask(), b"")[1], 1)
    assert "no longer at" in keeper.user.lct("unpersist", "k").stdout
    assert keeper.at() == [] and keeper.recorded() is None


# The TPM is another one.


def test_after_the_tpm_was_cleared_the_key_is_said_to_be_lost(keeper):
    keeper.user.lct("persist", "k")
    keeper.tpm.tool("tpm2_clear", "-c", "p")
    assert keeper.tpm.persistent() == []
    done = keeper.user.lct("sign", "k", stdin="x", status=13)
    assert "cleared" in one_sentence(done.stderr)
    found = keeper.user.lct("doctor", status=None).stdout
    assert "lct:k: nothing is at 0x81000100" in found and "lct persist k" in found
    done = keeper.user.lct("gc")
    assert "nothing is there" in done.stdout and keeper.recorded() == FIRST
    keeper.user.lct("persist", "k", status=13)
    keeper.user.lct("unpersist", "k")


def test_without_a_tpm_nothing_changes(keeper):
    keeper.user.lct("persist", "k")
    keeper.user.configure(tcti="swtpm:path=/nowhere")
    for words in (["persist", "k", "--handle", hex(SECOND)], ["unpersist", "k"], ["gc"]):
        keeper.user.lct(*words, status=9)
    assert keeper.recorded() == FIRST


# What is found.


def test_gc_says_of_all_whose_it_is(keeper):
    assert keeper.user.lct("gc").stdout == ""
    for name in ("orphan", "twice", "lost", "taken", "next"):
        keeper.user.lct("create", name)
    keeper.user.lct("persist", "twice")
    keeper.user.lct("export", "twice")
    pem = keeper.user.path("twice.pem")
    pem.write_text(keeper.user.lct("export", "twice").stdout)
    keeper.user.edit_record("lost",
                lambda record: record["generations"][0].update(persistent="0x81000150"))
    keeper.put(0x81000160)
    keeper.user.edit_record("taken",
                lambda record: record["generations"][0].update(persistent="0x81000160"))
    keeper.user.lct("persist", "orphan", "--handle", "0x81000170")
    keeper.user.edit_record("orphan", lambda record: record["generations"][0].pop("persistent"))
    keeper.user.lct("persist", "twice", "--handle", "0x81000180")
    keeper.user.edit_record("twice",
                lambda record: record["generations"][0].update(persistent="0x81000180"))
    keeper.put(0x81000010)
    found = keeper.user.lct("gc").stdout
    lines = dict(line.split("  ", 1) for line in found.splitlines())
    assert "0x81000010" not in lines, "not at the handles of ours"
    assert lines["0x81000150"].startswith("lct:lost, generation 1: nothing is there")
    assert lines["0x81000160"].startswith("lct:taken, generation 1: something else is there") or \
        lines["0x81000160"].startswith("of no identity here")
    assert found.count("0x81000160") == 2
    assert lines["0x81000170"] == "lct:orphan, generation 1: recorded again"
    assert lines["0x81000180"] == "lct:twice, generation 1: recorded"
    assert keeper.recorded("orphan") == 0x81000170


def copy_of(keeper, name: str, handle: int):
    """A second object of the same Name, as an interrupted move leaves it."""
    before = keeper.recorded(name)
    keeper.user.edit_record(name, lambda record: record["generations"][0].pop("persistent", None))
    keeper.user.lct("persist", name, "--handle", hex(handle))
    keeper.user.edit_record(name,
                lambda record: record["generations"][0].update(persistent=hex(before)))


def test_gc_evicts_copies_orphans_and_what_signs_no_more(keeper):
    keeper.user.lct("persist", "k")
    copy_of(keeper, "k", 0x81000120)
    keeper.user.lct("create", "orphan")
    keeper.user.lct("persist", "orphan")
    keeper.user.edit_record("orphan", lambda record: record["generations"][0].pop("persistent"))
    keeper.user.lct("create", "old")
    keeper.user.lct("create", "new")
    keeper.user.lct("persist", "old")
    add_generation(keeper.user, "old", "new")
    keeper.user.edit_record("old", lambda record: record["generations"][0].update(
        until="2020-01-01T00:00:00Z"))
    keeper.put(0x81000130)
    other = keeper.name_at(0x81000130)
    found = keeper.user.lct("doctor", status=None).stdout
    assert found.count("lct gc --evict") == 2
    done = keeper.user.lct("gc", "--evict", status=2)
    assert "say --yes" in one_sentence(done.stderr) and len(keeper.at()) == 5
    done = keeper.user.lct("gc", "--evict", "--yes")
    assert done.stdout.count("evicted") == 3 and "0x81000130  of no identity here" in done.stdout
    assert keeper.at() == [FIRST, 0x81000130] and keeper.name_at(0x81000130) == other
    assert keeper.recorded() == FIRST and keeper.recorded("old") is None
    assert keeper.recorded("orphan") is None
    assert keeper.user.lct("gc", "--evict", "--yes").stdout.count("evicted") == 0


def leave_two_orphans(keeper):
    """Keys that no record knows to be persistent, in a TPM whose owner has an authorization."""
    for name in ("a", "b"):
        keeper.user.lct("create", name)
        keeper.user.lct("persist", name)
        keeper.user.edit_record(name, lambda record: record["generations"][0].pop("persistent"))
    keeper.tpm.tool("tpm2_changeauth", "-c", "owner", OWNER)


def test_gc_goes_on_after_a_failure_and_says_it(keeper):
    leave_two_orphans(keeper)
    done = keeper.user.lct("gc", "--evict", "--yes", status=12, start_new_session=True)
    assert done.stdout.count("left, since that failed") == 2 and "owner" in done.stderr
    keeper.user.configure(owner_auth_file=str(keeper.user.write("owner", OWNER)))
    keeper.user.lct("gc", "--evict", "--yes")
    assert keeper.at() == []


def test_gc_asks_for_the_owners_authorization_once(keeper):
    leave_two_orphans(keeper)
    shown = on_a_terminal(keeper.user, [str(keeper.user.build / "lct"), "gc", "--evict", "--yes"],
                          OWNER)
    assert shown.startswith("0 ") and keeper.at() == []


def test_keys_of_another_store_are_somebody_elses(keeper, make_user):
    keeper.user.lct("persist", "k")
    other = make_user(keeper.tpm.tcti)
    done = other.lct("gc", "--evict", "--yes")
    assert "of no identity here, and left: Name 000b" in done.stdout
    assert keeper.is_at(FIRST)


def test_a_damaged_record_makes_nothing_ours_to_evict(keeper):
    keeper.user.lct("persist", "k")
    path = keeper.user.store / "k" / "identity.json"
    path.write_text(path.read_text()[:-9])
    assert "of no identity here" in keeper.user.lct("gc", "--evict", "--yes").stdout
    assert keeper.at() == [FIRST]
    keeper.user.lct("unpersist", "k", status=6)


def test_a_key_that_is_evicted_is_imported_by_nobody_else(keeper):
    """One identity's handle, imported as another: gc leaves it, whatever the first one's record
    says."""
    keeper.user.lct("persist", "k")
    keeper.user.lct("import", "i", hex(FIRST))
    keeper.user.edit_record("k", lambda record: record["generations"][0].pop("persistent"))
    done = keeper.user.lct("gc", "--evict", "--yes")
    assert "lct:i, generation 1: imported from there" in done.stdout and keeper.at() == [FIRST]


def test_doctor_says_in_json_what_is_lost(keeper):
    keeper.user.lct("persist", "k")
    assert "lct persist" not in keeper.user.lct("doctor", status=None).stdout
    keeper.evict(FIRST)
    found = json.loads(keeper.user.lct("doctor", "--json", status=None).stdout)
    row = next(row for row in found if row.get("command") == "lct persist k --generation 1")
    assert (row["id"], row["generation"], row["handle"]) == ("k", 1, hex(FIRST))
    assert row["severity"] == "warning"


def claim(keeper, name: str, handle: int):
    """Who may write to an identity's directory says that what is at a handle is its key."""
    there = keeper.name_at(handle)
    keeper.user.edit_record(name,
                lambda record: record["generations"][0].update(persistent=hex(handle), name=there))
    return there


@pytest.mark.parametrize("forge", [False, True], ids=["record", "key file"])
@pytest.mark.parametrize("words", [["unpersist", "k"], ["delete", "k", "--yes"],
                                   ["gc", "--evict", "--yes"]], ids=lambda words: words[0])
def test_what_a_record_claims_is_not_evicted_unless_its_key_file_is_that_key(keeper, words, forge):
    key = keeper.make()
    keeper.persist(FIRST)
    there = claim(keeper, "k", FIRST)
    if forge:
        file = keeper.user.store / "k/key-1.pem"
        key.private = key.private[:-1] + bytes([key.private[-1] ^ 1])
        key.write(file)
    if words[0] == "gc":
        keeper.user.edit_record("k", lambda record: record.update(
            state="retired", ended={"reason": None, "time": "2026-01-01T00:00:00Z"}))
    done = keeper.user.lct(*words, status=0 if words[0] == "delete" else 6)
    assert "what is at 0x81000100 stays" in done.stderr
    assert "tpm2_evictcontrol" not in done.stderr, "it is somebody else's"
    assert keeper.name_at(FIRST) == there


@pytest.mark.parametrize("words", [["unpersist", "k"], ["delete", "k", "--yes"]],
                         ids=lambda words: words[0])
def test_what_another_identity_was_imported_from_is_not_evicted(keeper, words):
    """Its handle is all that it has."""
    keeper.user.lct("persist", "k")
    keeper.user.lct("import", "i", hex(FIRST))
    done = keeper.user.lct(*words, status=0 if words[0] == "delete" else 15)
    assert "lct:i was imported from there" in one_sentence(done.stderr)
    assert "tpm2_evictcontrol" not in done.stderr and keeper.at() == [FIRST]
    keeper.user.lct("sign", "i", stdin="x", text=False)


def test_a_key_that_moves_leaves_what_another_identity_was_imported_from(keeper):
    keeper.user.lct("persist", "k")
    keeper.user.lct("import", "i", hex(FIRST))
    keeper.user.lct("persist", "k", "--handle", hex(SECOND))
    assert keeper.at() == [FIRST, SECOND] and keeper.recorded() == SECOND
    keeper.user.lct("sign", "i", stdin="x", text=False)
    assert f"{FIRST:#x}  lct:i" in keeper.user.lct("gc").stdout
    keeper.user.lct("unpersist", "k")
    assert keeper.at() == [FIRST]


def test_a_key_that_is_persistent_stays_where_its_record_says(keeper):
    """Though another object of its Name is at an earlier handle."""
    keeper.user.lct("persist", "k", "--handle", hex(SECOND))
    copy_of(keeper, "k", FIRST)
    assert keeper.at() == [FIRST, SECOND]
    done = keeper.user.lct("persist", "k")
    assert hex(SECOND) in done.stdout
    assert keeper.at() == [FIRST, SECOND] and keeper.recorded() == SECOND


@pytest.mark.parametrize("named", [False, True], ids=["any", "named"])
def test_what_another_identity_was_imported_from_is_not_recorded(keeper, named):
    keeper.user.lct("persist", "k")
    keeper.user.lct("import", "i", hex(FIRST))
    keeper.user.edit_record("k", lambda record: record["generations"][0].pop("persistent"))
    options = ("--handle", hex(FIRST)) if named else ()
    done = keeper.user.lct("persist", "k", *options, status=4)
    said = one_sentence(done.stderr)
    assert "lct:i was imported from there" in said and "--handle" in said
    assert keeper.at() == [FIRST] and keeper.recorded() is None
    keeper.user.lct("persist", "k", "--handle", hex(SECOND))
    assert keeper.at() == [FIRST, SECOND] and keeper.recorded() == SECOND
    keeper.user.lct("sign", "i", stdin="x", text=False)


def test_a_key_whose_file_is_damaged_stays_where_it_is_good(keeper):
    keeper.user.lct("persist", "k")
    file = keeper.user.store / "k/key-1.pem"
    good = file.read_text()
    file.write_text(good[:-40])
    done = keeper.user.lct("unpersist", "k", status=6)
    assert "stays" in one_sentence(done.stderr)
    assert keeper.at() == [FIRST] and keeper.recorded() == FIRST
    file.write_text(good)
    keeper.user.lct("unpersist", "k")
    assert keeper.at() == []


def test_a_record_cannot_have_other_handles(keeper):
    for wrong in ("0x40000001", "0x80000000", "81000100", 0x81000100, "", hex(SRK), "0x810000ff",
                  "0x81800000"):
        keeper.user.edit_record("k",
                    lambda record: record["generations"][0].update(persistent=wrong))
        keeper.user.lct("show", "k", status=6)


@pytest.mark.parametrize("there", [True, False], ids=["there", "lost"])
def test_what_is_persistent_is_attested_there(keeper, there):
    user = keeper.user
    user.lct("persist", "k")
    if not there:
        keeper.swap(FIRST)
    eks = json.loads(user.lct("ek", "--json").stdout)["eks"]
    user.write("trust.json", json.dumps({"version": 1, "ek_keys": [ek["sha256"] for ek in eks]}))
    user.write("offer", user.lct("attest", "offer", "k").stdout)
    user.write("challenge", user.lct("attest", "challenge", "--trust", "trust.json", "--state",
                                     "state", "offer").stdout)
    keeper.proxy.codes.clear()
    user.write("evidence", user.lct("attest", "respond", "challenge").stdout)
    assert (keeper.proxy.count(Command.Load) == 0) == there
    user.lct("verify", "--trust", "trust.json", "--state", "state", "evidence")


# Behind resource managers.


def test_behind_tpm2_abrmd(make_tpm, make_user, prompted):
    if not (shutil.which("tpm2-abrmd") and shutil.which("dbus-daemon")):
        pytest.skip("tpm2-abrmd is not installed")
    tpm = make_tpm()
    broker = Broker(tpm)
    try:
        user = make_user("tabrmd:bus_type=session")
        user.env |= broker.env
        user.write("data")
        user.lct("create", "k")
        program = prompted(user, "k")
        program.sign()
        user.lct("persist", "k")
        user.lct("check", "k")
        program.sign()
        later = prompted(user, "k")
        later.sign()
        user.lct("unpersist", "k")
        later.sign()
        assert program.end() == later.end() == ""
    finally:
        broker.end()
    wait_for(lambda: not tpm.left_behind(), "the TPM to be left as it was found")
    assert tpm.persistent() == [SRK]


def test_behind_the_kernels_resource_manager(make_tpmrm, make_user, prompted):
    manager = make_tpmrm()
    user = make_user(manager.tcti)
    user.lct("create", "k")
    user.lct("create", "s", "--seal", "strict:sha256:7")
    for name in ("k", "s"):
        user.lct("persist", name)
        user.lct("check", name)
    programs = [prompted(user, name) for name in ("k", "s")]
    for program in programs:
        program.sign()
    for name in ("k", "s"):
        user.lct("unpersist", name)
    for program in programs:
        program.sign()
        assert program.end() == ""
    wait_for(lambda: not manager.left_behind(), "the TPM to be left as it was found")
