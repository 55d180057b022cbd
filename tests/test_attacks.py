# SPDX-License-Identifier: Apache-2.0
"""What stands against wrong signatures: objects swapped, Names forged, files exchanged."""

import json
import re
import shutil
import struct
from pathlib import Path

import pytest

from keyfile import KeyFile
from test_bad_input import QUEUE, queue_says
from test_command import one_sentence
from tpm import NO_SESSIONS, Command, exchange

FIXED_TPM, FIXED_PARENT, DATA_ORIGIN, USER_WITH_AUTH, RESTRICTED, DECRYPT = 1, 4, 5, 6, 16, 17


def with_parameters(command: bytes, parameters: bytes) -> bytes:
    """A TPM2_Load with other parameters, which follow header, handle and authorizations."""
    start = 14 + 4 + struct.unpack_from(">I", command, 14)[0]
    whole = command[:start] + parameters
    return whole[:2] + struct.pack(">I", len(whole)) + whole[6:]


def refused(user, status: int, reason: str):
    """Neither command gives a signature out."""
    done = user.lct("sign", "ec", stdin=b"x", status=status)
    assert "lct:ec" in one_sentence(done.stderr)
    assert done.stdout == ""
    done = user.openssl("dgst", "-sha256", "-sign", "lct:ec", "-out", "sig", "data", status=1)
    assert "lct:ec" in queue_says(done.stderr, reason)
    assert not user.path("sig").exists() or user.path("sig").stat().st_size == 0


@pytest.fixture(name="other")
def fixture_other(watched) -> KeyFile:
    """The key of another identity under the same parent."""
    watched.lct("create", "mallory")
    return KeyFile.read(watched.store / "mallory" / "key-1.pem")


def test_an_object_swapped_at_load_is_refused_by_its_name(watched, proxy, other):
    proxy.hook(Command.Load, lambda command, ask: ask(
        with_parameters(command, other.private + other.public)))
    refused(watched, 14, "not the recorded key")
    assert proxy.count(Command.Sign) == 0


def test_an_object_swapped_at_load_with_a_forged_name_gives_no_signature(
        watched, proxy, tpm, other):
    name = KeyFile.read(watched.store / "ec" / "key-1.pem").name

    def swap(command, ask):
        answer = ask(with_parameters(command, other.private + other.public))
        return answer.replace(other.name, name)

    proxy.hook(Command.Load, swap)
    done = watched.lct("sign", "ec", stdin=b"x", status=14)
    assert done.stdout == "" and "lct:ec" in one_sentence(done.stderr)
    tpm.flush()  # whose they are is not to be told from their Names: nobody else may flush them
    done = watched.openssl("dgst", "-sha256", "-sign", "lct:ec", "-out", "sig", "data", status=1)
    queue_says(done.stderr, "not the recorded key")
    tpm.flush()
    assert proxy.count(Command.Sign) >= 2, "found out by the signature, in software"


def test_an_object_swapped_behind_its_handle_gives_no_signature(watched, proxy, other):
    """Between Load and Sign the handle comes to mean another key, which no TPM tells us."""

    def swap(command, ask):
        parent = struct.pack(">I", other.parent)
        password = bytes.fromhex("00000009400000090000000000")
        load = parent + password + other.private + other.public
        loaded = exchange(proxy.tpm.path, struct.pack(">HII", 0x8002, 10 + len(load), Command.Load)
                          + load)
        assert loaded[6:10] == bytes(4)
        handle = loaded[10:14]
        answer = ask(command[:10] + handle + command[14:])
        exchange(proxy.tpm.path, struct.pack(">HII", NO_SESSIONS, 14, Command.FlushContext)
                 + handle)
        return answer

    proxy.hook(Command.Sign, swap)
    refused(watched, 14, "not the recorded key")


@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_a_wrong_signature_from_the_tpm_is_refused(watched, proxy, key):
    def spoil(_command, ask):
        answer = bytearray(ask())
        answer[10 + 4 + 8] ^= 1  # parameterSize, sigAlg, hash, size, then the first number
        return bytes(answer)

    proxy.hook(Command.Sign, spoil)
    done = watched.lct("sign", key, stdin=b"x", status=14)
    assert f"lct:{key}" in one_sentence(done.stderr)
    done = watched.openssl("dgst", "-sha256", "-sign", f"lct:{key}", "-out", "sig", "data",
                           status=1)
    queue_says(done.stderr, "not the recorded key")


@pytest.mark.parametrize("number", [b"", bytes(32), b"\xff" * 33, b"\xff" * 66],
                         ids=["none", "zero", "long", "longer"])
def test_a_signature_with_impossible_numbers_is_refused(watched, proxy, number):
    def forge(_command, _ask):
        sized = struct.pack(">H", len(number)) + number
        signature = struct.pack(">HH", 0x18, 0x0B) + sized + sized
        body = struct.pack(">II", 0, len(signature)) + signature + bytes(2) + b"\1" + bytes(2)
        return struct.pack(">HI", 0x8002, 6 + len(body)) + body

    proxy.hook(Command.Sign, forge)
    done = watched.lct("sign", "ec", stdin=b"x", status=None)
    assert done.returncode in (10, 14)
    one_sentence(done.stderr)
    assert done.stdout == ""


def test_what_takes_the_keys_place_between_load_and_sign_is_not_flushed(make_user, make_tpm,
                                                                         make_proxy):
    """Without a resource manager others may have flushed it: what is there then is theirs."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_user(proxy.tcti)
    user.lct("create", "k")
    user.lct("create", "other")
    user.write("data", "x")
    loads, foreign = [], []

    def learn(command, ask):
        loads.append(command)
        return ask()

    def swap(_command, ask):
        answer = ask()
        (handle,) = struct.unpack_from(">I", answer, 10)
        exchange(tpm.path, struct.pack(">HIII", NO_SESSIONS, 14, Command.FlushContext, handle))
        assert struct.unpack_from(">I", exchange(tpm.path, loads[0]), 10)[0] == handle
        foreign.append(handle)
        return answer

    proxy.hook(Command.Load, learn)
    user.openssl("dgst", "-sha256", "-sign", "lct:other", "-out", "sig", "data")
    proxy.hook(Command.Load, swap, 1)
    user.openssl("dgst", "-sha256", "-sign", "lct:k", "-out", "sig", "data")
    assert foreign[0] in tpm.handles(0x80000000)
    tpm.flush()


@pytest.mark.parametrize("bit", [FIXED_TPM, FIXED_PARENT, DATA_ORIGIN, RESTRICTED, DECRYPT])
def test_another_key_than_was_asked_for_is_none_of_ours(watched, proxy, bit):
    """What TPM2_Create returns is held against the template."""

    def forge(_command, ask):
        answer = bytearray(ask())
        attributes = 16 + struct.unpack_from(">H", answer, 14)[0] + 2 + 2 + 2
        (told,) = struct.unpack_from(">I", answer, attributes)
        struct.pack_into(">I", answer, attributes, told ^ 1 << bit)
        return bytes(answer)

    proxy.hook(Command.Create, forge)
    done = watched.lct("create", "new", status=14)
    assert "the TPM made another key" in one_sentence(done.stderr)
    watched.lct("show", "new", status=3)


def test_a_storage_root_key_swapped_behind_its_handle(make_user, make_tpm):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.write("data")
    user.lct("create", "ec")
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "0x81000001")
    tpm.tool("tpm2_createprimary", "-C", "o", "-G", "rsa", "-c", "p.ctx")
    tpm.flush()
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "p.ctx", "0x81000001")
    tpm.flush()
    refused(user, 13, "key of another TPM")
    one_sentence(user.lct("check", "ec", status=13).stderr)


def test_a_storage_root_key_that_is_gone(make_user, make_tpm):
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.write("data")
    user.lct("create", "ec")
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "0x81000001")
    done = user.lct("check", "ec", status=None)
    assert done.returncode in (0, 13), done.stderr
    if done.returncode:
        assert "0x81000001" in one_sentence(done.stderr)
    assert tpm.persistent() in ([], [0x81000001])


def test_key_files_exchanged_between_identities(owner):
    shutil.copy(owner.store / "p384" / "key-1.pem", owner.store / "ec" / "key-1.pem")
    one_sentence(owner.lct("check", "ec", status=6).stderr)
    done = owner.openssl("pkey", "-in", "lct:ec", "-noout", status=1)
    assert "Name" in queue_says(done.stderr, "damaged identity")


def test_the_directory_of_another_identity_under_this_id(owner):
    shutil.rmtree(owner.store / "ec")
    shutil.copytree(owner.store / "p384", owner.store / "ec")
    one_sentence(owner.lct("show", "ec", status=6).stderr)


@pytest.mark.parametrize("bit", [FIXED_TPM, FIXED_PARENT, DATA_ORIGIN, USER_WITH_AUTH, RESTRICTED,
                                 DECRYPT, 10, 18])
def test_check_finds_an_attribute_flipped_in_the_key_file(owner, bit):
    path = owner.store / "ec" / "key-1.pem"
    KeyFile.read(path).with_attribute_flipped(bit).write(path)
    one_sentence(owner.lct("check", "ec", status=6).stderr)


@pytest.mark.parametrize("bit", [FIXED_TPM, FIXED_PARENT, DATA_ORIGIN, RESTRICTED, DECRYPT])
def test_check_finds_a_flipped_attribute_though_the_record_was_changed_to_match(owner, bit):
    path = owner.store / "ec" / "key-1.pem"
    forged = KeyFile.read(path).with_attribute_flipped(bit)
    forged.write(path)
    owner.edit_record("ec", lambda record: record["generations"][0].update(name=forged.name.hex()))
    done = owner.lct("check", "ec", status=None)
    assert done.returncode in (6, 13, 16), done.stderr
    assert "lct:ec" in one_sentence(done.stderr)
    done = owner.openssl("dgst", "-sha256", "-sign", "lct:ec", "-out", "sig", "data", status=1)
    assert QUEUE.search(done.stderr)


def import_key(owner, tpm, attributes: str) -> KeyFile:
    """A key that tpm2-tools made under the storage root key, as the key file of lct:ec."""
    tpm.tool("tpm2_create", "-C", "0x81000001", "-G", "ecc256:null", "-a", attributes,
             "-u", "k.pub", "-r", "k.priv")
    tpm.flush()
    key = KeyFile(0x81000001, (tpm.directory / "k.pub").read_bytes(),
                  (tpm.directory / "k.priv").read_bytes())
    key.write(owner.store / "ec" / "key-1.pem")
    owner.edit_record("ec", lambda record: record["generations"][0].update(name=key.name.hex()))
    return key


def test_a_key_made_by_others_with_our_attributes_passes_the_check(owner, tpm):
    import_key(owner, tpm, "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign")
    owner.lct("check", "ec")
    owner.lct("sign", "ec", stdin=b"x", text=False)


@pytest.mark.parametrize("attributes, sentence", [
    ("sensitivedataorigin|userwithauth|noda|sign", "can exist elsewhere (hardware_bound is false)"),
    ("fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign|decrypt",
     "decrypts as well (decrypt is set)")])
def test_check_tells_of_a_key_that_could_leave_or_do_more_than_sign(owner, tpm, attributes,
                                                                   sentence):
    """Honest files of a key that is really so: only the attributes tell, and no record hides it."""
    assert sentence not in owner.lct("check", "ec").stdout
    import_key(owner, tpm, attributes)
    assert sentence in owner.lct("check", "ec").stdout


def test_check_finds_a_restricted_key(owner, tpm):
    tpm.tool("tpm2_create", "-C", "0x81000001", "-G", "ecc256:ecdsa-sha256:null", "-a",
             "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign|restricted",
             "-u", "k.pub", "-r", "k.priv")
    tpm.flush()
    key = KeyFile(0x81000001, (tpm.directory / "k.pub").read_bytes(),
                  (tpm.directory / "k.priv").read_bytes())
    key.write(owner.store / "ec" / "key-1.pem")
    owner.edit_record("ec",
                lambda record: record["generations"][0].update(name=key.name.hex()))
    done = owner.lct("check", "ec", status=16)
    assert "restricted" in one_sentence(done.stderr).lower()


@pytest.mark.parametrize("bit, sentence", [
    *((bit, "note    was imported and can exist elsewhere (hardware_bound is false)")
      for bit in (FIXED_TPM, FIXED_PARENT, DATA_ORIGIN)),
    (DECRYPT, "note    decrypts as well (decrypt is set)"),
    (RESTRICTED, "FAILED  is an unrestricted signing key: the TPM reports: ")])
def test_check_asks_the_tpm_and_not_the_file(watched, proxy, bit, sentence):
    """Record and key file are whole, and say what the TPM does not."""

    def report(command, ask):
        answer = bytearray(ask())
        if command[10] == 0x80:  # of the key, and not of its parent
            (told,) = struct.unpack_from(">I", answer, 16)
            struct.pack_into(">I", answer, 16, told ^ 1 << bit)
        return bytes(answer)

    assert sentence not in watched.lct("check", "ec").stdout
    proxy.hook(Command.ReadPublic, report)
    done = watched.lct("check", "ec", status=16)
    assert sentence in done.stdout
    assert "FAILED  has the Name in the record: the TPM reports another Name" in done.stdout
    assert "lct:ec" in one_sentence(done.stderr)


def test_check_signs_with_the_key_that_it_loads(watched, proxy):
    """That a key loads and is reported right does not say that it signs."""

    def spoil(_command, ask):
        answer = bytearray(ask())
        answer[10 + 4 + 8] ^= 1
        return bytes(answer)

    proxy.hook(Command.Sign, spoil)
    done = watched.lct("check", "ec", status=None)
    assert done.returncode in (14, 16)
    assert "FAILED  makes a signature that verifies: " in done.stdout
    assert "lct:ec" in one_sentence(done.stderr)


def test_a_symbolic_link_out_of_the_store_is_not_followed_by_delete(owner):
    keep = owner.path("keep")
    keep.mkdir()
    (keep / "identity.json").write_text("precious")
    (owner.store / "evil").symlink_to(keep)
    owner.lct("delete", "evil", "--yes", status=None)
    assert (keep / "identity.json").read_text() == "precious"


def test_an_error_text_carries_no_control_characters(owner):
    """A hostile URI or record does not write to the terminal through our sentences."""
    done = owner.openssl("pkey", "-in", "lct:a%1B%5B2Jb%C2%9B2J", "-noout", status=1)
    assert not re.search("[\x1b\x9b]", done.stderr)
    done = owner.lct("show", "a\x1b[2Jb\x9b2J\u69db\u202a\u2069\u2065\nlct: all is well", status=5)
    assert "a?[2Jb??2J\u69db??????\u2065?lct" in one_sentence(done.stderr)
    owner.edit_record("ec", lambda record: record.update(state="\x1b[2J\nlct: all is well"))
    one_sentence(owner.lct("show", "ec", status=None).stderr)


def test_a_note_or_a_warning_carries_no_control_characters(owner):
    """Of a store that is named to who is root, say."""
    store = f"{owner.directory}/x\x1b[31m\x9b2J\u202e"
    assert "/x?[31m??2J???" in one_sentence(owner.lct("list", "--store", store).stderr)
    shutil.copytree(owner.store, store)
    (Path(store) / "ec" / "certs-1.pem").mkdir()
    assert "/x?[31m??2J???" in one_sentence(owner.lct("list", "--store", store).stderr)


def test_a_certificate_s_names_carry_no_control_characters(owner):
    """Nor what turns the direction of writing: another issuer is read then than is there."""
    subject = "/CN=a\x9b2J\u202egro.elpmaxe\u2066b"
    chain = owner.certificate("lct:ec", subject, "crt.pem", "-utf8")
    told = owner.lct("cert", "ec", "--set", chain).stdout + owner.lct("show", "ec").stdout
    assert told.count("CN=a??2J???gro.elpmaxe???b") == 3
    assert json.loads(owner.lct("show", "ec", "--json").stdout)["certificate"]["issuer"] == (
        "CN=a??2J???gro.elpmaxe???b")


def test_numbers_in_a_record_do_not_overflow(owner):
    path = owner.store / "ec" / "identity.json"
    record = json.loads(path.read_text())
    for number in (1 << 31, 1 << 32, (1 << 32) + 1, 1 << 63, 1 << 64, 1 << 200, 1.0, 1e400):
        path.write_text(json.dumps(record | {"active": number}).replace("Infinity", "1e400"))
        one_sentence(owner.lct("show", "ec", status=6).stderr)
