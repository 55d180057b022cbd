# SPDX-License-Identifier: Apache-2.0
"""Secrets sealed by `lct seal`: what unseals them, what is refused, and what others can do."""

import base64
import json
import os
import re
import resource
import signal
import struct
import subprocess
from pathlib import Path

import pytest

import sealing
from keyfile import OID_SEALED, KeyFile, armour, der, values
from sealing import NO_AUTHORITY, SEALED, measure, reboot
from test_command import one_sentence
from test_passphrase import count
from tpm import SRK, Command, states_of, wait_for

USAGE, BAD_RECORD, AUTH, OTHER_TPM, UNSUPPORTED, IO = 2, 6, 12, 13, 15, 18
SPEC = "sha256:7"
STRICT = f"strict:{SPEC}"
SECRET = b"the passphrase of a service\n"
LONG = bytes(range(256)) * 4
PREFIX = b"lct data key v1\0"
PARENT = "parent_name"
LABELS = ("LCT SEAL", "TSS2 PRIVATE KEY", "LCT SEALED DATA")
SPECS = pytest.mark.parametrize("spec", [SPEC, STRICT, "none"])
SECRETS = pytest.mark.parametrize("secret", [SECRET, LONG], ids=["short", "long"])


@pytest.fixture(name="keeper")
def fixture_keeper(make_sealer, make_tpm, make_proxy):
    """Who seals secrets: with an authority, through a proxy, in a TPM of its own."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_sealer(tpm, proxy.tcti)
    user.proxy = proxy
    assert "storage root key" in one_sentence(
        user.lct("seal", "--seal", "none", stdin="x").stderr)
    return user


def seal(user, secret: bytes = SECRET, spec: str | None = SPEC, name: str = "sealed", *options):
    """The file of a sealed secret."""
    options = ("--seal", spec, *options) if spec else options
    return user.write(name, user.lct("seal", *options, stdin=secret).stdout)


def unseals(user, secret: bytes = SECRET, name: str = "sealed", *options):
    assert user.lct("unseal", name, *options, text=False).stdout == secret


def refused(user, status: int | None, *options, name: str = "sealed") -> str:
    """The one sentence that says why; nothing is on standard output."""
    done = user.lct("unseal", name, *options, status=status, start_new_session=True)
    assert done.returncode not in (0, 1) and done.stdout == ""
    return one_sentence(done.stderr)


def blocks(text: str) -> dict[str, bytes]:
    """Of a file, what is in each block."""
    found = re.findall("-----BEGIN ([A-Z0-9 ]+)-----\n(.*?)-----END \\1-----\n", text, re.DOTALL)
    assert found and [label for label, _ in found] == [
        label for label in LABELS if label in dict(found)]
    return {label: base64.b64decode(body) for label, body in found}


def assemble(parts: dict[str, bytes]) -> str:
    return "".join(armour(content).replace(LABELS[1], label) for label, content in parts.items())


def flipped(content: bytes, place: float) -> bytes:
    """With one bit changed: `place` 0 is of the first byte, 1 of the last."""
    at = round(place * (len(content) - 1))
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1:]


def approve(user, authority, key=None):
    """The state that the TPM is in."""
    approval = authority.approval(SPEC, sealing.pcr_values(user.tpm, SPEC), key=key)
    sealing.put_approval(user, "1.json", json.dumps(approval))


def write_passphrase(user, text: str = "correct horse"):
    return "--passphrase-file", user.write(f"passphrase.{text[:4]}", text)


# Sealing and unsealing


@pytest.mark.parametrize("size", [1, 127, 128, 129, 100000, 1 << 20])
def test_a_secret_of_any_size_comes_back(keeper, size):
    secret = bytes(at * 7 % 251 for at in range(size))
    text = seal(keeper, secret).read_text()
    assert ("LCT SEALED DATA" in blocks(text)) == (size > 128)
    unseals(keeper, secret)
    assert keeper.lct("unseal", stdin=text, text=False).stdout == secret
    assert keeper.lct("unseal", "-", stdin=text, text=False).stdout == secret


@SECRETS
@SPECS
def test_a_secret_comes_back_by_every_seal(keeper, spec, secret):
    text = seal(keeper, secret, spec).read_text()
    assert ("kind" in json.loads(blocks(text)["LCT SEAL"])) == (spec != "none")
    unseals(keeper, secret)


def test_a_secret_that_looks_like_a_data_key_is_not_taken_for_one(keeper):
    secret = PREFIX + bytes(32)
    assert "LCT SEALED DATA" in blocks(seal(keeper, secret).read_text())
    unseals(keeper, secret)


@pytest.mark.parametrize("secret, said", [(b"", "is empty"), (bytes((1 << 20) + 1), "1048576")],
                         ids=["empty", "too long"])
def test_nothing_and_too_much_are_not_sealed(keeper, secret, said):
    keeper.proxy.codes.clear()
    done = keeper.lct("seal", "--seal", "none", stdin=secret, status=USAGE)
    assert said in one_sentence(done.stderr) and done.stdout == ""
    assert keeper.proxy.codes == []


def test_the_default_seal_is_that_of_the_configuration(keeper):
    def spec_of(text: str) -> str:
        return json.loads(blocks(text)["LCT SEAL"])["pcrs"]

    assert spec_of(seal(keeper, spec=None).read_text()) == sealing.DEFAULT
    unseals(keeper)
    measure(keeper.tpm, 3)
    assert "PCR 3 (sha256)" in refused(keeper, SEALED)
    keeper.configure(seal="sha256:1")
    assert spec_of(seal(keeper, spec=None).read_text()) == "sha256:1"
    keeper.configure(seal="none")
    assert list(json.loads(blocks(seal(keeper, spec=None).read_text())["LCT SEAL"])) == [PARENT]


@pytest.mark.parametrize("spec, status", [
    ("sha256:23", USAGE), ("sha256:", USAGE), ("md5:1", USAGE), ("sometimes", USAGE)])
def test_what_nothing_can_be_sealed_to_is_refused(keeper, spec, status):
    done = keeper.lct("seal", "--seal", spec, stdin=SECRET, status=status)
    assert one_sentence(done.stderr) and done.stdout == ""


def test_without_an_authority_the_ways_on_are_named(make_user, make_tpm):
    user = make_user(make_tpm().tcti)
    done = user.lct("seal", "--seal", SPEC, stdin=SECRET, status=NO_AUTHORITY)
    sentence = one_sentence(done.stderr)
    assert all(way in sentence for way in ("lct authority", "strict:", "none")), sentence
    assert done.stdout == ""


def test_a_seal_to_nothing_measured_is_said(keeper):
    reboot(keeper.tpm, measured=False)
    done = keeper.lct("seal", "--seal", SPEC, stdin=SECRET)
    assert "nothing is measured" in one_sentence(done.stderr)


def test_the_secret_is_sealed_without_words_on_standard_error(keeper):
    seal(keeper)
    done = keeper.lct("seal", "--seal", SPEC, stdin=SECRET)
    assert done.stderr == ""


# The boot state


@SECRETS
def test_another_boot_state_does_not_unseal_until_it_is_approved(keeper, authority, secret):
    seal(keeper, secret)
    measure(keeper.tpm, 7)
    sentence = refused(keeper, SEALED)
    assert "PCR 7 (sha256)" in sentence and sentence.startswith("sealed: ")
    approve(keeper, authority)
    unseals(keeper, secret)
    measure(keeper.tpm, 7)
    refused(keeper, SEALED)


@pytest.mark.parametrize("spec", [SPEC, f"authority:{SPEC}"])
def test_what_approves_for_a_secret_is_said_and_does(keeper, authority, spec):
    seal(keeper, spec=spec)
    measure(keeper.tpm, 7)
    command = f"lct pcrs {SPEC} | lct approve --authority KEY.pem --pcrs -"
    text = keeper.path("sealed").read_text()
    assert refused(keeper, SEALED).startswith("sealed: ")
    for done in (keeper.lct("unseal", "sealed", status=SEALED),
                 keeper.lct("unseal", status=SEALED, stdin=text)):
        sentence = one_sentence(done.stderr)
        assert sentence.endswith(command) and "this key" not in sentence, sentence
    assert sentence.startswith("standard input: ")
    request = keeper.lct("pcrs", SPEC).stdout
    keeper.lct("approve", *authority.options, "--pcrs", "-", stdin=request)
    unseals(keeper)


def test_what_is_open_already_waits_for_no_approval(keeper, authority):
    options = ("--seal", f"authority:{SPEC}")
    assert "once a state is approved" in keeper.lct("seal", *options, stdin="x").stderr
    approve(keeper, authority)
    assert keeper.lct("seal", *options, stdin="x").stderr == ""
    done = keeper.lct("seal", *options, *write_passphrase(keeper), stdin=LONG)
    assert done.stderr == ""
    measure(keeper.tpm, 7)
    assert "once a state is approved" in keeper.lct("seal", *options, stdin="x").stderr


def test_an_approval_of_another_key_unseals_nothing(keeper, authority):
    seal(keeper)
    measure(keeper.tpm, 7)
    sealing.software_key(keeper.path("other.pem"))
    approve(keeper, authority, key=keeper.path("other.pem"))
    refused(keeper, SEALED)


@SECRETS
def test_no_approval_unseals_what_is_sealed_strictly(keeper, authority, secret):
    seal(keeper, secret, STRICT)
    measure(keeper.tpm, 7)
    approve(keeper, authority)
    assert "PCR 7 (sha256)" in refused(keeper, SEALED)


def test_what_is_sealed_to_the_authority_waits_for_its_first_approval(keeper, authority):
    done = keeper.lct("seal", "--seal", f"authority:{SPEC}", stdin=SECRET)
    keeper.write("sealed", done.stdout)
    said = one_sentence(done.stderr)
    assert f"lct pcrs {SPEC} | lct approve --authority KEY.pem --pcrs - --out - | " in said
    assert said.endswith(" | lct approve --import -")
    refused(keeper, SEALED)
    pcrs = keeper.lct("pcrs", SPEC).stdout
    approval = keeper.lct("approve", *authority.options, "--pcrs", "-", "--out", "-", stdin=pcrs)
    refused(keeper, SEALED)
    keeper.lct("approve", "--import", "-", stdin=approval.stdout)
    unseals(keeper)


@SPECS
def test_a_reboot_into_the_same_state_unseals(keeper, spec):
    seal(keeper, spec=spec)
    reboot(keeper.tpm)
    unseals(keeper)
    reboot(keeper.tpm, measured=False)
    if spec == "none":
        unseals(keeper)
    else:
        refused(keeper, SEALED)


@SPECS
def test_another_tpm_unseals_nothing(keeper, make_tpm, spec):
    seal(keeper, spec=spec)
    other = make_tpm()
    sealing.boot(other)
    keeper.tcti = other.tcti
    keeper.configure(seal=None)
    refused(keeper, OTHER_TPM)
    keeper.lct("seal", "--seal", "none", "--new-parent", stdin=b"so that it has a storage root key")
    refused(keeper, None)


# Passphrases


@SPECS
def test_a_passphrase_is_needed_beside_the_boot_state(keeper, authority, spec):
    right, wrong = write_passphrase(keeper), write_passphrase(keeper, "wrong")
    seal(keeper, SECRET, spec, "sealed", *right)
    unseals(keeper, SECRET, "sealed", *right)
    keeper.proxy.codes.clear()
    assert "passphrase" in refused(keeper, AUTH)
    assert keeper.proxy.codes == []
    assert "wrong passphrase" in refused(keeper, AUTH, *wrong)
    assert count(keeper) == 1
    unseals(keeper, SECRET, "sealed", *right)
    measure(keeper.tpm, 7)
    if spec == SPEC:
        refused(keeper, SEALED, *right)
        approve(keeper, authority)
        assert "passphrase" in refused(keeper, AUTH)
    elif spec == STRICT:
        refused(keeper, SEALED, *right)
    if spec != STRICT:
        unseals(keeper, SECRET, "sealed", *right)
    assert not any(b"correct horse" in message for message in keeper.proxy.messages)
    keeper.tpm.lockout_count = 1


def test_a_passphrase_comes_from_the_configuration(keeper):
    right = write_passphrase(keeper)
    seal(keeper, SECRET, SPEC, "sealed", *right)
    keeper.configure(seal=None, passphrase_file=str(right[1]))
    unseals(keeper)


def test_without_a_passphrase_nothing_counts_against_the_tpm(keeper):
    """noDA: else a power loss would, too."""
    seal(keeper)
    measure(keeper.tpm, 7)
    for _ in range(3):
        refused(keeper, SEALED)
    assert count(keeper) == 0


# The storage key that it is under


def change_parent(tpm):
    """Another storage key in its place, as of a chip in between."""
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", f"{SRK:#x}")
    tpm.tool("tpm2_createprimary", "-C", "o", "-G", "rsa", "-c", "other.ctx")
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "other.ctx", f"{SRK:#x}")
    tpm.flush()


def without_parent(text: str) -> str:
    """As lct wrote it before it pinned the storage key."""
    parts = blocks(text)
    described = json.loads(parts.pop(LABELS[0]))
    described.pop(PARENT)
    first = {LABELS[0]: json.dumps(described).encode()} if described else {}
    return assemble(first | parts)


@SPECS
@pytest.mark.parametrize("options", [False, True], ids=["", "passphrase"])
def test_another_storage_key_gets_neither_the_secret_s_file_nor_a_session(keeper, spec, options):
    options = write_passphrase(keeper) if options else ()
    seal(keeper, SECRET, spec, "sealed", *options)
    unseals(keeper, SECRET, "sealed", *options)
    change_parent(keeper.tpm)
    keeper.proxy.codes.clear()
    assert "storage key at 0x81000001 is a different one" in refused(keeper, OTHER_TPM, *options)
    sent = {Command.StartAuthSession, Command.Load, Command.Unseal} & set(keeper.proxy.codes)
    assert sent == set() and Command.ReadPublic in keeper.proxy.codes


@SPECS
def test_a_file_that_says_no_storage_key_is_unsealed_and_said_to_be_sealed_anew(keeper, spec):
    options = write_passphrase(keeper)
    for given in ((), options):
        text = seal(keeper, SECRET, spec, "sealed", *given).read_text()
        assert keeper.lct("unseal", "sealed", *given).stderr == ""
        keeper.write("sealed", without_parent(text))
        done = keeper.lct("unseal", "sealed", *given)
        assert done.stdout.encode() == SECRET
        assert (len(done.stderr.splitlines()) == 1) == bool(given), done.stderr
        assert ("seal it anew" in done.stderr) == bool(given)


@pytest.mark.parametrize("parent", [
    "", "zz", 7, None, ["00"], "00" * 200, {"name": "00"}])
def test_a_storage_key_that_is_none_is_a_damaged_file(keeper, parent):
    for spec in (SPEC, "none"):
        parts = blocks(seal(keeper, SECRET, spec).read_text())
        described = json.loads(parts[LABELS[0]]) | {PARENT: parent}
        keeper.write("sealed", assemble(parts | {LABELS[0]: json.dumps(described).encode()}))
        keeper.proxy.codes.clear()
        assert LABELS[0] in refused(keeper, BAD_RECORD)
        assert keeper.proxy.codes == []


# Damage and exchange


@pytest.mark.parametrize("place", [0, 0.1, 0.3, 0.5, 0.8, 1])
@pytest.mark.parametrize("label", LABELS)
def test_a_file_that_is_damaged_anywhere_is_refused(keeper, label, place):
    text = seal(keeper, LONG).read_text()
    parts = blocks(text)
    assert assemble(parts) == text
    keeper.write("sealed", assemble(parts | {label: flipped(parts[label], place)}))
    status = None if label == "TSS2 PRIVATE KEY" else BAD_RECORD
    assert "internal" not in refused(keeper, status)


@pytest.mark.parametrize("change", [
    lambda text: text[:len(text) // 2], lambda text: text[:-30], lambda text: text[200:],
    lambda text: text + text, lambda text: text + "more", lambda text: "more" + text,
    lambda text: text.replace("TSS2 PRIVATE", "PRIVATE"),
    lambda text: text + assemble({LABELS[2]: bytes(99)}),
    lambda text: assemble(dict(reversed(blocks(text).items()))),
    lambda text: assemble({LABELS[0]: blocks(text)[LABELS[0]]}),
    lambda text: assemble(blocks(text) | {LABELS[2]: bytes(28)})])
def test_what_is_no_whole_file_is_refused(keeper, change):
    keeper.write("sealed", change(seal(keeper, LONG).read_text()))
    keeper.proxy.codes.clear()
    assert "restore it" in refused(keeper, BAD_RECORD) or Command.Unseal in keeper.proxy.codes


@pytest.mark.parametrize("text", [
    "", "hello", "0123456789", "TSS2 PRIVATE KEY", armour(b"0").replace(LABELS[1], "CERTIFICATE")])
def test_what_never_was_a_sealed_file_is_in_no_backup(keeper, text):
    keeper.write("sealed", text)
    sentence = refused(keeper, BAD_RECORD)
    assert "no file of lct seal" in sentence and "backup" not in sentence


def test_data_of_another_file_is_refused(keeper):
    one, other = (blocks(seal(keeper, secret, spec).read_text())
                  for secret, spec in ((LONG, SPEC), (LONG[::-1], SPEC)))
    data = LABELS[2]
    keeper.write("sealed", assemble(one | {data: other[data]}))
    assert data in refused(keeper, BAD_RECORD)
    keeper.write("sealed", assemble(other | {data: one[data]}))
    assert data in refused(keeper, BAD_RECORD)


def test_data_that_was_taken_away_or_put_there_is_noticed(keeper):
    """The key of the data is never handed out as if it were the secret."""
    long, short = (blocks(seal(keeper, secret).read_text()) for secret in (LONG, SECRET))
    data = LABELS[2]
    keeper.write("sealed", assemble({label: long[label] for label in LABELS[:2]}))
    assert "missing" in refused(keeper, BAD_RECORD)
    keeper.write("sealed", assemble(short | {data: long[data]}))
    assert "not its own" in refused(keeper, BAD_RECORD)


def test_a_seal_of_another_file_is_refused_before_the_tpm_is_asked(keeper):
    one, other = (blocks(seal(keeper, spec=spec).read_text()) for spec in (SPEC, "sha256:1"))
    keeper.proxy.codes.clear()
    for parts in (one | {LABELS[0]: other[LABELS[0]]}, {LABELS[1]: one[LABELS[1]]}):
        keeper.write("sealed", assemble(parts))
        refused(keeper, None)
    assert keeper.proxy.codes == []


def test_what_holds_no_sealed_data_is_refused(keeper):
    keeper.lct("create", "k", "--seal", "none")
    keeper.write("sealed", keeper.lct("export", "k").stdout)
    assert "no sealed data" in refused(keeper, UNSUPPORTED)
    assert "No such file" in refused(keeper, IO, name="nowhere")


# The bus


def test_neither_the_secret_nor_the_key_of_its_data_crosses_the_bus(keeper):
    for secret, name in ((SECRET, "short"), (LONG, "long")):
        seal(keeper, secret, STRICT, name)
        unseals(keeper, secret, name)
    assert {Command.Create, Command.Unseal} <= set(keeper.proxy.codes)
    key = unseal_with_tools(keeper, "long")
    assert key.startswith(PREFIX) and len(key) == len(PREFIX) + 32
    for part in (SECRET, LONG[:64], key, key[len(PREFIX):]):
        assert not any(part in message for message in keeper.proxy.messages)


def test_the_proxy_would_see_a_secret(keeper):
    """tpm2-tools sends it in clear."""
    seal(keeper, SECRET, STRICT)
    assert unseal_with_tools(keeper, tcti=keeper.proxy.tcti) == SECRET
    assert any(SECRET in message for message in keeper.proxy.messages)


# Other programs


def test_a_program_gets_the_secret_as_its_input_and_its_status_is_ours(keeper):
    seal(keeper)
    done = keeper.lct("unseal", "sealed", "--exec", "--", "sh", "-c", 'cat; exit "$1"', "--seal",
                      "7", text=False, status=7)
    assert done.stdout == SECRET and done.stderr == ""
    done = keeper.lct("unseal", "--exec", "--", "cat", stdin=keeper.path("sealed").read_bytes(),
                      text=False)
    assert done.stdout == SECRET
    done = keeper.lct("unseal", "sealed", "--exec", "--", "sh", "-c", "kill -TERM $$", status=-15)
    assert done.stderr == ""


def test_a_program_gets_the_longest_secret(keeper):
    secret = bytes(1 << 20)[:-1] + b"!"
    seal(keeper, secret)
    done = keeper.lct("unseal", "sealed", "--exec", "--", "cat", text=False)
    assert done.stdout == secret


def test_a_program_gets_no_descriptor_and_nothing_is_left_in_the_tpm(keeper):
    seal(keeper)
    done = keeper.lct("unseal", "sealed", "--exec", "--", "sh", "-c",
                      "ls /proc/$$/fd; cat /proc/$$/cmdline /proc/$$/environ")
    assert done.stdout.startswith("0\n1\n2\nsh\0")
    assert SECRET.decode().strip() not in done.stdout
    assert keeper.tpm.left_behind() == []


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_a_program_gets_the_secret_whatever_is_closed(keeper, closed):
    seal(keeper)
    keeper.run("sh", "-c", f'exec "$0" unseal sealed --exec -- sh -c "cat >out" {closed}',
               keeper.build / "lct")
    assert keeper.path("out").read_bytes() == SECRET


def test_output_that_cannot_be_written_is_said(keeper):
    seal(keeper)
    done = keeper.run("sh", "-c", 'exec "$0" unseal sealed >/dev/full', keeper.build / "lct",
                      status=IO)
    assert "standard output cannot be written" in one_sentence(done.stderr)


def test_a_program_is_not_run_without_the_secret(keeper):
    seal(keeper)
    measure(keeper.tpm, 7)
    refused(keeper, SEALED, "--exec", "--", "touch", "ran")
    assert not keeper.path("ran").exists()


def test_a_program_that_cannot_be_run_is_said(keeper):
    seal(keeper)
    sentence = refused(keeper, IO, "--exec", "--", "no-such-program")
    assert "no-such-program cannot be run: No such file" in sentence


@pytest.mark.parametrize("arguments", [("sealed", "--exec"), ("sealed", "--exec", "--"),
                                       ("sealed", "--", "cat"), ("sealed", "more"),
                                       ("sealed", "--exec", "cat")])
def test_a_program_stands_behind_two_dashes(keeper, arguments):
    seal(keeper)
    done = keeper.lct("unseal", *arguments, status=USAGE)
    assert "lct unseal" in one_sentence(done.stderr) and done.stdout == ""


# Other tools


def fields(user, name: str = "sealed") -> list[tuple[int, bytes]]:
    content = values(values(blocks(user.path(name).read_text())[LABELS[1]])[0][1])
    assert content[0] == (6, OID_SEALED[2:])
    return content


def unseal_with_tools(user, name: str = "sealed", auth: str = f"pcr:{SPEC}", tcti=None) -> bytes:
    """With what is in the key file alone."""
    tpm = user.tpm
    way = ("-T", tcti or tpm.tcti)
    (_, parent), (_, public), (_, private) = fields(user, name)[-3:]
    assert int.from_bytes(parent) == SRK
    for file, content in (("pub", public), ("priv", private)):
        (tpm.directory / file).write_bytes(content)
    tpm.tool("tpm2_load", *way, "-C", hex(SRK), "-u", "pub", "-r", "priv", "-c", "ctx")
    tpm.flush()
    tpm.tool("tpm2_unseal", *way, "-c", "ctx", "-p", auth, "-o", "out")
    tpm.flush()
    return (tpm.directory / "out").read_bytes()


def test_tpm2_tools_unseal_what_is_sealed_strictly(keeper):
    seal(keeper, SECRET, STRICT)
    assert unseal_with_tools(keeper) == SECRET
    policy = dict(fields(keeper))[0xA1]
    ((_, sequence),) = values(policy)
    ((_, entry),) = values(sequence)
    (_, code), (_, arguments) = values(entry)
    digest = sealing.pcr_digest(sealing.pcr_values(keeper.tpm, SPEC))
    assert values(code) == [(2, b"\1\x7f")]
    assert values(arguments) == [(4, sealing.selection(SPEC) + digest)]


def test_what_is_sealed_strictly_is_unsealed_by_what_other_tools_know_of_it(keeper):
    parts = blocks(seal(keeper, LONG, STRICT, "sealed", *write_passphrase(keeper)).read_text())
    keeper.write("sealed", assemble({label: parts[label] for label in LABELS[1:]}))
    unseals(keeper, LONG, "sealed", *write_passphrase(keeper))
    measure(keeper.tpm, 7)
    assert "sha256:7" in refused(keeper, SEALED, *write_passphrase(keeper))


def test_tpm2_tools_unseal_what_is_not_sealed_to_a_state(keeper):
    seal(keeper, SECRET, "none")
    assert unseal_with_tools(keeper, auth="") == SECRET
    seal(keeper, SECRET, "none", "sealed", *write_passphrase(keeper))
    assert unseal_with_tools(keeper, auth="correct horse") == SECRET


@pytest.mark.parametrize("spec, attributes", [(SPEC, 1 << 1 | 1 << 4 | 1 << 10),
                                              ("none", 1 << 1 | 1 << 4 | 1 << 10 | 1 << 6)])
def test_a_secret_is_fixed_to_its_tpm_and_its_policy(keeper, spec, attributes):
    """fixedTPM, fixedParent, noDA; userWithAuth only without a policy."""
    seal(keeper, SECRET, spec)
    (_, public), _ = fields(keeper)[-2:]
    assert struct.unpack_from(">HHHI", public)[1:] == (0x08, 0x0B, attributes)
    seal(keeper, SECRET, spec, "sealed", *write_passphrase(keeper))
    (_, public), _ = fields(keeper)[-2:]
    assert struct.unpack_from(">HHHI", public)[3] == attributes & ~(1 << 10)


def theirs(user, *options, policy: bytes | None = None, parent: int = SRK, **changes) -> KeyFile:
    """A secret sealed by tpm2-tools, as TSS2 PRIVATE KEY."""
    tpm = user.tpm
    (tpm.directory / "in").write_bytes(SECRET)
    where = hex(SRK)
    if parent != SRK:
        tpm.tool("tpm2_createprimary", "-C", "o", "-G", "ecc256", "-c", "primary", "-a",
                 "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt")
        tpm.flush()
        where = "primary"
    tpm.tool("tpm2_create", "-C", where, "-i", "in", "-u", "pub", "-r", "priv", *options)
    tpm.flush()
    public, private = ((tpm.directory / name).read_bytes() for name in ("pub", "priv"))
    return KeyFile(parent, public, private, oid=OID_SEALED, policy=policy, **changes)


def step(code: int, arguments: bytes) -> bytes:
    """A TPMPolicy of a key file."""
    return der(0x30, der(0xA0, sealing.der_integer(code)) + der(0xA1, der(4, arguments)))


def pcr_policy(tpm) -> bytes:
    """The policy field of a key that is sealed to what the PCRs hold now, and a file with it."""
    tpm.tool("tpm2_createpolicy", "--policy-pcr", "-l", SPEC, "-L", "policy")
    tpm.tool("tpm2_flushcontext", "-l")
    digest = sealing.pcr_digest(sealing.pcr_values(tpm, SPEC))
    return step(0x17F, sealing.selection(SPEC) + digest)


@pytest.mark.parametrize("parent", [SRK, 0x40000001], ids=["SRK", "owner"])
def test_secrets_of_other_tools_are_unsealed(keeper, parent):
    file = theirs(keeper, parent=parent)
    file.write(keeper.path("sealed"))
    unseals(keeper)
    keeper.write("sealed", file.to_der())
    unseals(keeper)
    theirs(keeper, "-p", "correct horse", parent=parent, empty_auth=False).write(
        keeper.path("sealed"))
    unseals(keeper, SECRET, "sealed", *write_passphrase(keeper))
    refused(keeper, AUTH)


def test_secrets_that_other_tools_seal_to_pcrs_are_unsealed(keeper):
    policy = pcr_policy(keeper.tpm)
    theirs(keeper, "-L", "policy", policy=policy).write(keeper.path("sealed"))
    unseals(keeper)
    measure(keeper.tpm, 7)
    assert "PCR" in refused(keeper, SEALED)


def test_secrets_of_other_tools_with_another_policy_are_refused(keeper):
    policy = pcr_policy(keeper.tpm)
    other = step(0x16C, struct.pack(">I", Command.Unseal))  # PolicyCommandCode
    keeper.proxy.codes.clear()
    for entries in (other, policy + other, None):
        file = theirs(keeper, "-L", "policy", policy=entries)
        file.write(keeper.path("sealed"))
        keeper.proxy.codes.clear()
        refused(keeper, UNSUPPORTED)
        assert keeper.proxy.codes == []


def test_an_authorization_that_the_policy_does_not_ask_for_is_refused(keeper):
    """It would be part of the key that the response is encrypted with, and another secret came."""
    theirs(keeper, "-L", "policy", "-p", "correct horse", "-a", "fixedtpm|fixedparent",
           policy=pcr_policy(keeper.tpm), empty_auth=False).write(keeper.path("sealed"))
    keeper.proxy.codes.clear()
    assert "authorization" in refused(keeper, UNSUPPORTED)
    assert keeper.proxy.codes == []


def test_a_policy_that_is_not_the_object_s_is_refused_before_the_tpm_is_asked(keeper):
    pcr_policy(keeper.tpm)
    digest = step(0x17F, sealing.selection(SPEC) + bytes(32))
    theirs(keeper, "-L", "policy", policy=digest).write(keeper.path("sealed"))
    keeper.proxy.codes.clear()
    refused(keeper, UNSUPPORTED)
    assert keeper.proxy.codes == []


def test_no_core_of_the_command_stays_behind(keeper):
    """Nor are its memory and its descriptors another process's, of the same user, to read."""
    def limits():
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    for arguments, leaves in ((["sleep", "60"], True), ([keeper.build / "lct", "seal"], False)):
        with subprocess.Popen(arguments, cwd=keeper.directory, env=keeper.environment(),
                              stdin=subprocess.PIPE, preexec_fn=limits) as process:
            wait_for(lambda pid=process.pid: states_of(pid) == {"S"}, "it to wait")
            process.send_signal(signal.SIGQUIT)
            _, status = os.waitpid(process.pid, 0)
            process.returncode = -signal.SIGQUIT
        if leaves and not os.WCOREDUMP(status):
            pytest.skip("no program leaves a core here")
        assert os.WCOREDUMP(status) == leaves
