# SPDX-License-Identifier: Apache-2.0
"""Bad input, one by one: a sentence that says what and what to do, from lct and openssl alike."""

import json
import os
import re
import shutil
import socket
import struct

import pytest

from keyfile import KeyFile, armour, der
from test_command import let_others_in, one_sentence
from tpm import RC_LOCKOUT, RC_MEMORY, RC_RETRY, Command

MALFORMED = ["a" * 129, "../x", "a/b", ".hidden", "-dash", "a b", "a\tb", "müller", "a\nb",
             "~root", "web4:mb32:abc", "a*", "a'b", "a%41"]
# A line of openssl's queue: library, function, reason, file, line, our sentence.
QUEUE = re.compile(r"^[0-9A-F]+:error:[0-9A-F]+:lct:[^:]*:([^:]*):[^:]+:\d+:(.*)$", re.MULTILINE)


def queue_says(stderr: str, reason: str) -> str:
    """Our sentence in openssl's error queue, with the reason string of its code."""
    ours = QUEUE.findall(stderr)
    assert ours, f"nothing of ours in the queue: {stderr}"
    reasons = [each for each, _ in ours]
    assert reasons == [reason], stderr
    sentence = ours[0][1]
    assert sentence and not sentence.endswith("."), sentence
    return sentence


def load_fails(user, uri: str, reason: str) -> str:
    return queue_says(user.openssl("pkey", "-in", uri, "-noout", status=1).stderr, reason)


def sign_fails(user, uri: str, reason: str) -> str:
    user.write("data")
    done = user.openssl("dgst", "-sha256", "-sign", uri, "-out", "sig", "data", status=1)
    return queue_says(done.stderr, reason)


def test_unknown_id(owner):
    for words in (["show"], ["delete", "--yes"], ["check"], ["csr"], ["sign"]):
        sentence = one_sentence(owner.lct(*words[:1], "nobody", *words[1:], status=3).stderr)
        assert "lct:nobody" in sentence and "lct list" in sentence
    for uri in ("lct:nobody", "lct://nobody", "lct:///nobody"):
        sentence = load_fails(owner, uri, "no such identity")
        assert "lct:nobody" in sentence


def test_a_store_that_does_not_exist_holds_no_identity(user):
    one_sentence(user.lct("show", "alice", status=3).stderr)
    load_fails(user, "lct:alice", "no such identity")


@pytest.mark.parametrize("bad", ["", *MALFORMED])
def test_malformed_id(owner, bad):
    before = owner.in_store()
    for words in (["create", "--"], ["show", "--"], ["check", "--"]):
        done = owner.lct(*words, bad, status=5)
        one_sentence(done.stderr)
        assert words[0] == "check" or done.stdout == ""
    assert owner.in_store() == before
    assert not owner.path("x").exists()


@pytest.mark.parametrize("bad", MALFORMED)
def test_malformed_id_in_a_uri(owner, bad):
    escaped = "".join(f"%{byte:02X}" for byte in bad.encode())
    for uri in (f"lct:{escaped}", f"lct://{escaped}", f"lct:///{escaped}"):
        load_fails(owner, uri, "malformed id")


@pytest.mark.parametrize("uri", [
    "lct:a%00b", "lct:%00", "lct:ec%00", "lct:ec%", "lct:ec%4", "lct:ec%zz", "lct:../x", "lct:.x",
    "lct://ec/x", "lct:////ec", "lct:ec#x"])
def test_malformed_uri(owner, uri):
    load_fails(owner, uri, "malformed id")


@pytest.mark.parametrize("query", ["generation=", "generation=x", "generation=1x", "generation=-1",
                                   "generation=1&generation=1", "frobnicate=1", "",
                                   "generation=18446744073709551617"])
def test_a_query_that_is_not_known_is_refused_and_not_ignored(owner, query):
    stderr = owner.openssl("pkey", "-in", f"lct:ec?{query}", "-noout", status=1).stderr
    assert QUEUE.search(stderr), stderr


def test_a_generation_that_is_not_there(owner):
    owner.public_key("lct:ec?generation=1")
    assert "2" in load_fails(owner, "lct:ec?generation=2", "no such identity")


RECORD_CHANGES = {
    "an unknown version": lambda record: record.update(version=2),
    "version zero": lambda record: record.update(version=0),
    "a version that is no number": lambda record: record.update(version="1"),
    "an unknown member": lambda record: record.update(extra=1),
    "an unknown member of a generation": lambda record: record["generations"][0].update(extra=1),
    "another id": lambda record: record.update(id="rsa"),
    "no id": lambda record: record.pop("id"),
    "an unknown custody": lambda record: record.update(custody="cloud"),
    "an unknown state": lambda record: record.update(state="superb"),
    "no generations": lambda record: record.update(generations=[]),
    "an active generation that is not there": lambda record: record.update(active=2),
    "a negative generation": lambda record: record.update(active=-1),
    "a generation twice": lambda record: record["generations"].append(record["generations"][0]),
    "an unknown algorithm": lambda record: record["generations"][0].update(algorithm="ec-p999"),
    "another algorithm": lambda record: record["generations"][0].update(algorithm="rsa-2048"),
    "a Name that is no hex": lambda record: record["generations"][0].update(name="xyz"),
    "a Name cut short": lambda record: record["generations"][0].update(
        name=record["generations"][0]["name"][:-2]),
    "another Name": lambda record: record["generations"][0].update(
        name="000b" + "00" * 32),
    "no parent": lambda record: record["generations"][0].pop("parent"),
    "a parent handle that is none": lambda record: record["generations"][0]["parent"].update(
        handle="0x8100000100"),
    "an unknown hash": lambda record: record["generations"][0].update(hashes=["sha9"]),
    "hashes that are no list": lambda record: record["generations"][0].update(hashes="sha256"),
    "an unknown salt": lambda record: record["generations"][0].update(pss_salt="pepper"),
    "a seal": lambda record: record["generations"][0].update(seal={"pcrs": [7]}),
    "a date that is none": lambda record: record.update(created="yesterday"),
}


@pytest.mark.parametrize("change", RECORD_CHANGES.values(), ids=RECORD_CHANGES.keys())
def test_a_record_that_is_not_as_we_write_them_is_refused(owner, change):
    owner.edit_record("ec", change)
    sentence = one_sentence(owner.lct("show", "ec", status=6).stderr)
    assert "lct:ec" in sentence
    assert "lct:ec" in load_fails(owner, "lct:ec", "damaged identity")
    owner.lct("check", "rsa")


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b"null", b"\0", b"\xff\xfe", b'{"version":1}', b"[" * 100000,
    b'{"version":1,"version":1}', b"x" * (1 << 20)],
    ids=["empty", "cut", "array", "null", "NUL", "not UTF-8", "bare", "deep", "twice", "huge"])
def test_a_record_that_is_no_record(owner, content):
    (owner.store / "ec" / "identity.json").write_bytes(content)
    assert "identity.json" in one_sentence(owner.lct("show", "ec", status=6).stderr)
    load_fails(owner, "lct:ec", "damaged identity")


def test_a_record_truncated_anywhere(owner):
    path = owner.store / "ec" / "identity.json"
    whole = path.read_bytes().rstrip()
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        one_sentence(owner.lct("show", "ec", status=6).stderr)


@pytest.mark.parametrize("name", ["identity.json", "key-1.pem"])
def test_a_missing_file_of_an_identity(owner, name):
    (owner.store / "ec" / name).unlink()
    assert name in one_sentence(owner.lct("check", "ec", status=6).stderr)
    assert name in load_fails(owner, "lct:ec", "damaged identity")


@pytest.mark.parametrize("name", ["identity.json", "key-1.pem"])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_a_file_of_an_identity_that_is_no_file_does_not_hang(owner, name, make):
    (owner.store / "ec" / name).unlink()
    make(owner.store / "ec" / name)
    one_sentence(owner.lct("check", "ec", status=6).stderr)
    load_fails(owner, "lct:ec", "damaged identity")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become someone who may not read")
@pytest.mark.parametrize("name", ["identity.json", "key-1.pem"])
def test_an_unreadable_file_of_an_identity(owner, name):
    let_others_in(owner)
    for path in (owner.store, owner.store / "ec"):
        path.chmod(0o755)
    for path in (owner.store / "ec").iterdir():
        path.chmod(0o644)
    (owner.store / "ec" / name).chmod(0o600)
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    done = owner.lct("show", "ec", status=7, **nobody)
    sentence = one_sentence(done.stderr)
    assert name in sentence and "permission denied" in sentence.lower()
    done = owner.openssl("pkey", "-in", "lct:ec", "-noout", status=1, **nobody)
    said = queue_says(done.stderr, "store cannot be read or written")
    assert "permission denied" in said.lower()


def truncations(content: bytes) -> list[bytes]:
    return [content[:length] for length in range(0, len(content) - 1, 11)]


def test_a_truncated_key_file(owner):
    path = owner.store / "ec" / "key-1.pem"
    key = KeyFile.read(path)
    for content in truncations(key.to_der()):
        path.write_text(armour(content))
        one_sentence(owner.lct("check", "ec", status=6).stderr)
    load_fails(owner, "lct:ec", "damaged identity")
    key.write(path)
    owner.lct("check", "ec")


@pytest.mark.parametrize("spoil", [
    lambda key: key.to_der() + b"\0",
    lambda key: der(0x30, key.to_der()),
    lambda key: key.to_der()[:-1] + bytes([key.to_der()[-1] ^ 1]),
    lambda key: der(0x30, key.to_der()[3:] + der(4, b"more")),
    lambda key: b"",
    lambda key: key.to_der().replace(bytes.fromhex("6781050a0103"), bytes.fromhex("6781050a0105")),
], ids=["trailing", "wrapped", "flipped", "extra field", "empty", "sealed data"])
def test_a_spoiled_key_file_is_refused(owner, spoil):
    path = owner.store / "ec" / "key-1.pem"
    path.write_text(armour(spoil(KeyFile.read(path))))
    assert owner.lct("check", "ec", status=None).returncode in (6, 13, 15, 16)
    done = owner.openssl("dgst", "-sha256", "-sign", "lct:ec", "-out", "sig", "data", status=1)
    assert QUEUE.search(done.stderr)


@pytest.mark.parametrize("surround", ["{0}{0}", "junk\n{0}", "{0}junk\n", "{1}"],
                         ids=["twice", "before", "after", "another label"])
def test_a_key_file_with_more_than_the_key_is_refused(owner, surround):
    path = owner.store / "ec" / "key-1.pem"
    text = path.read_text()
    path.write_text(surround.format(text, text.replace("TSS2 PRIVATE", "PRIVATE")))
    one_sentence(owner.lct("show", "ec", status=None).stderr)
    load_fails(owner, "lct:ec", "damaged identity")


def test_a_key_of_another_tpm(owner, make_tpm):
    other = make_tpm()
    owner.configure(tcti=other.tcti)
    assert owner.lct("check", "ec", status=13).returncode == 13, "no storage root key there"
    owner.lct("create", "native", "--new-parent")
    for status, arguments in ((13, ["check", "ec"]), (13, ["sign", "ec"])):
        sentence = one_sentence(owner.lct(*arguments, status=status).stderr)
        assert "lct:ec" in sentence and "another TPM" in sentence
    assert "lct:ec" in sign_fails(owner, "lct:ec", "key of another TPM")
    owner.public_key("lct:ec")
    assert owner.in_store() == ["ec", "native", "p384", "rsa", "rsa3072"]


def test_a_key_file_of_another_tpm_with_a_record_to_match(owner, make_tpm, make_user):
    """The wrapped key is foreign; record, Name and parent say it is ours. Only the TPM can tell."""
    foreign = make_user(make_tpm().tcti)
    foreign.lct("create", "ec")
    record = json.loads((owner.store / "ec" / "identity.json").read_text())
    parent = record["generations"][0]["parent"]
    shutil.rmtree(owner.store / "ec")
    shutil.copytree(foreign.store / "ec", owner.store / "ec")
    owner.edit_record("ec", lambda each: each["generations"][0].update(parent=parent))
    assert "lct:ec" in one_sentence(owner.lct("check", "ec", status=None).stderr)
    assert owner.lct("check", "ec", status=None).returncode in (6, 13)
    owner.openssl("dgst", "-sha256", "-sign", "lct:ec", "-out", "sig", "data", status=1)


def test_a_parent_whose_name_is_not_the_recorded_one(owner):
    owner.edit_record("ec", lambda record: record["generations"][0]["parent"].update(
        name="000b" + "11" * 32))
    one_sentence(owner.lct("check", "ec", status=13).stderr)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change users")
def test_a_store_that_may_not_be_written(user):
    let_others_in(user)
    user.store.mkdir(mode=0o755)
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    sentence = one_sentence(user.lct("create", "alice", status=7, **nobody).stderr)
    assert str(user.store) in sentence and "permission denied" in sentence.lower()
    assert list(user.store.iterdir()) == []


def test_a_store_that_is_a_file(user):
    user.store.write_text("")
    for arguments in (["create", "alice"], ["list"]):
        assert str(user.store) in one_sentence(user.lct(*arguments, status=7).stderr)


@pytest.mark.parametrize("tcti", ["swtpm:path=/nonexistent/s", "device:/nonexistent/tpm",
                                  "mssim:host=127.0.0.1,port=1", None],
                         ids=["socket", "device", "port", "default"])
def test_no_tpm(owner, tcti):
    if tcti is None and (os.path.exists("/dev/tpmrm0") or os.path.exists("/dev/tpm0")):
        pytest.skip("this machine has a TPM")
    owner.configure(tcti=tcti)
    for arguments in (["create", "new"], ["check", "ec"], ["sign", "ec"]):
        done = owner.lct(*arguments, status=9)
        sentence = one_sentence(done.stderr)
        assert {"swtpm": "/nonexistent/s", "device": "/nonexistent/tpm", "mssim": "127.0.0.1",
                "": "/dev/tpm"}[(tcti or "").partition(":")[0]] in sentence
        assert arguments[0] == "check" or done.stdout == ""
    sign_fails(owner, "lct:ec", "TPM not reachable")
    assert owner.in_store() == ["ec", "p384", "rsa", "rsa3072"]
    owner.lct("list")
    owner.public_key("lct:ec")


def test_no_tpm_does_not_disturb_a_program_that_needs_none(owner):
    owner.configure(tcti="swtpm:path=/nonexistent/s")
    done = owner.openssl("dgst", "-sha256", "data")
    assert done.stderr == ""
    done = owner.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", "sw.pem")
    assert done.stderr == ""


def test_a_socket_that_nobody_serves(owner):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(owner.path("dead")))
    shutil.copy2(owner.path("data"), owner.path("file"))
    for path in (owner.path("dead"), owner.path("file"), owner.directory):
        owner.configure(tcti=f"swtpm:path={path}")
        one_sentence(owner.lct("check", "ec", status=9).stderr)
        sign_fails(owner, "lct:ec", "TPM not reachable")


@pytest.mark.parametrize("tcti", ["nonsense:x", "", ":", "../../evil:x", "/lib/evil.so:x"])
def test_a_way_in_that_there_is_no_module_for(owner, tcti):
    owner.configure(tcti=tcti)
    done = owner.lct("check", "ec", status=None)
    assert done.returncode in (8, 9)
    one_sentence(done.stderr)


@pytest.mark.parametrize("settings", [{"provision": "perhaps"}, {"frobnicate": "1"},
                                      {"store": "relative/path"}])
def test_wrong_configuration(owner, settings):
    owner.configure(**settings)
    for arguments in (["list"], ["create", "new"], ["check", "ec"]):
        sentence = one_sentence(owner.lct(*arguments, status=8).stderr)
        assert next(iter(settings)) in sentence
    if "frobnicate" not in settings:  # OpenSSL shows a provider only the keys it asks for
        assert next(iter(settings)) in load_fails(owner, "lct:ec", "wrong configuration")
    assert owner.openssl("dgst", "-sha256", "data").stderr == ""


def test_a_busy_tpm_does_not_hang_what_does_not_sign(owner, tpm):
    """A software TPM serves one client at a time: while one holds it, everybody else waits."""
    with socket.socket(socket.AF_UNIX) as holder:
        holder.connect(str(tpm.path))
        owner.public_key("lct:ec")
        owner.openssl("storeutl", "-noout", "lct:")
        owner.openssl("dgst", "-sha256", "data")
        owner.openssl("dgst", "-md5", "-sign", "lct:rsa", "-out", "sig", "data", status=1)
        owner.lct("list")


def test_a_tpm_in_lockout(make_user, make_tpm):
    """A real lockout, by wrong passwords for another's key; ours have none and go on working."""
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.write("data")
    user.lct("create", "alice")
    tpm.tool("tpm2_dictionarylockout", "-s", "-n", "2", "-t", "1000", "-l", "1000")
    tpm.tool("tpm2_createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx", "-a",
             "restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth", "-p", "pw")
    tpm.flush()
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "p.ctx", "0x81000099")
    tpm.flush()
    for _ in range(4):
        tpm.tool("tpm2_create", "-C", "0x81000099", "-P", "wrong", "-u", "u", "-r", "r",
                 status=None)
    tpm.flush()
    assert "inLockout:                 1" in tpm.tool("tpm2_getcap", "properties-variable").stdout
    tpm.lockout_count = tpm.property(0x20E)
    user.lct("check", "alice")
    user.openssl("dgst", "-sha256", "-sign", "lct:alice", "-out", "sig", "data")
    user.lct("create", "bob")
    assert tpm.left_behind() == []


@pytest.mark.parametrize("rc, status, reason, word", [
    (RC_LOCKOUT, 11, "TPM in lockout", "lockout"), (RC_MEMORY, 17, "TPM out of memory", "slots"),
    (0x12F, 12, "not authorized", "auth"), (0x185, 10, "TPM refused a command", "hierarchy")])
@pytest.mark.parametrize("command", [Command.Load, Command.Sign])
def test_what_the_tpm_refuses_is_said_in_words(watched, proxy, command, rc, status, reason, word):
    proxy.refuse(command, rc)
    sentence = one_sentence(watched.lct("sign", "ec", stdin=b"x", status=status).stderr)
    assert "lct:ec" in sentence and word in sentence.lower()
    assert not re.fullmatch(r"(0x)?[0-9a-f]+", sentence)
    sentence = sign_fails(watched, "lct:ec", reason)
    assert "lct:ec" in sentence and word in sentence.lower()


@pytest.mark.parametrize("rc, status", [(RC_LOCKOUT, 11), (RC_MEMORY, 17), (0x920, 10)])
def test_a_create_that_the_tpm_refuses_makes_nothing(watched, proxy, rc, status):
    proxy.refuse(Command.Create, rc)
    one_sentence(watched.lct("create", "alice", status=status).stderr)
    assert "alice" not in watched.in_store()


@pytest.mark.parametrize("command", [Command.Load, Command.Sign, Command.FlushContext])
def test_a_tpm_that_says_later_is_asked_again(watched, proxy, command):
    proxy.refuse(command, RC_RETRY, nth=1)
    watched.openssl("dgst", "-sha256", "-sign", "lct:ec", "-out", "sig", "data")
    assert proxy.count(command) == 2


def test_a_tpm_that_says_later_for_ever_is_given_up_on(watched, proxy):
    proxy.refuse(Command.Sign, RC_RETRY)
    sentence = one_sentence(watched.lct("sign", "ec", stdin=b"x", status=10).stderr)
    assert "lct:ec" in sentence


def test_a_full_tpm_is_said_to_be_full(owner, tpm):
    for _ in range(3):
        tpm.tool("tpm2_createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx")
    sentence = one_sentence(owner.lct("sign", "ec", stdin=b"x", status=17).stderr)
    tpm.flush()
    assert "lct:ec" in sentence
    owner.lct("sign", "ec", stdin=b"x", text=False)


def cut(command, ask):
    answer = ask()
    return answer[:2] + len(answer[:-8]).to_bytes(4) + answer[6:-8]


@pytest.mark.parametrize("command", [Command.Load, Command.Sign])
@pytest.mark.parametrize("answer", [
    lambda command, ask: b"", lambda command, ask: bytes(10),
    lambda command, ask: b"\x80\x01\0\0\0\x0a\0\0\0\0", cut],
    ids=["closed", "zeros", "bare success", "cut"])
def test_a_response_that_is_none_is_an_error(watched, proxy, tpm, command, answer):
    proxy.hook(command, answer)
    done = watched.lct("sign", "ec", stdin=b"x", status=None)
    assert done.returncode in (9, 10)
    one_sentence(done.stderr)
    tpm.flush()


PCRS = struct.pack(">HIIIIHB3s", 0x8001, 62, 0, 23, 1, 11, 3, b"\x80\0\0")
DIGEST = struct.pack(">IH", 1, 32) + bytes(32)


@pytest.mark.parametrize("answer", [
    PCRS.replace(b"\0\x0b\3", b"\0\x0b\x32") + DIGEST,
    PCRS.replace(b"\0\0\0\1\0\x0b", b"\0\0\0\x11\0\x0b") + DIGEST,
    PCRS + b"\0\0\0\x09" + DIGEST[4:],
    PCRS + DIGEST[:-1]], ids=["a long bitmap", "17 banks", "9 digests", "half a digest"])
def test_no_response_makes_tss_print(watched, proxy, answer):
    """The command prints one sentence, and what TSS says on standard error is none."""
    proxy.hook(Command.PCR_Read, lambda command, ask: answer[:2] + len(answer).to_bytes(4)
               + answer[6:])
    one_sentence(watched.lct("pcrs", "sha256:7", status=9).stderr)


# A public area up to its last selector: TPM 2.0 Part 2, 12.2.4.
AREA = struct.pack(">HHIHHHHH", 0x23, 0x0B, 0x60472, 0, 0x10, 0x10, 3, 0x10)


@pytest.mark.parametrize("size", [0, 4, 10, 12, 14, 16])
def test_half_an_area_while_a_lost_key_is_looked_for_is_an_error(watched, proxy, tpm, size):
    """Of the right shape but for what the area says it is; TSS would read what follows as its rest."""
    rubbish = struct.pack(">H", size) + AREA[:size] + bytes(4)
    answer = struct.pack(">HII", 0x8001, 10 + len(rubbish), 0) + rubbish
    proxy.hook(Command.Load, lambda command, ask: ask()[:0], nth=1)
    proxy.hook(Command.ReadPublic, lambda command, ask: answer, nth=1)
    done = watched.lct("sign", "ec", stdin=b"x", status=None, text=False)
    assert done.returncode == 9
    one_sentence(done.stderr)
    tpm.flush()


def test_a_file_is_not_taken_for_a_device(owner):
    precious = owner.write("precious", "mine\n")
    sentence = one_sentence(owner.lct("--tcti", f"device:{precious}", "check", "ec", status=9).stderr)
    assert str(precious) in sentence
    assert precious.read_text() == "mine\n"


def test_an_owner_that_cannot_be_had_is_refused_before_the_tpm_is_asked(watched, proxy):
    let_others_in(watched)
    watched.store.chmod(0o777)
    (watched.store / ".new").chmod(0o777)
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    sentence = one_sentence(
        watched.lct("create", "new", "--owner", "daemon", status=7, **nobody).stderr)
    assert "only root" in sentence
    assert proxy.codes == []


@pytest.mark.parametrize("tcti", ["tabrmd:", "libtss2-tcti-tabrmd.so.0:",
                                  "libtss2-tcti-swtpm.so.0:path=/nonexistent"])
def test_no_module_tells_stderr_that_nothing_is_there(owner, tcti):
    bus = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}
    one_sentence(owner.lct("--tcti", tcti, "check", "ec", status=9, env=bus).stderr)
