# SPDX-License-Identifier: Apache-2.0
"""Authorization values: given, asked for, wrong, and never seen on the bus."""

import json
import os
import pty
import re
import select
import signal
import termios

import pytest

from tpm import SRK, TIMEOUT, Command, response, wait_for

SECRET = "correct horse battery staple"
OWNER = "the owner's own"
KINDS = ("ec-p256", "ec-p384", "rsa-2048")


@pytest.fixture(name="locked")
def fixture_locked(make_user, make_tpm, make_proxy):
    """A user behind a proxy, with identities that take a passphrase; the TPM is theirs alone."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_user(proxy.tcti)
    user.secret = user.write("secret", SECRET + "\n")
    user.tpm, user.proxy = tpm, proxy
    user.lct("create", "k", "--passphrase-file", user.secret)
    return user


def on_the_bus(proxy, secret: str) -> bool:
    return any(secret.encode() in message for message in proxy.messages)


def count(user) -> int:
    return user.tpm.property(0x20E)


def signs(user, *arguments, **options):
    """openssl signs with lct:k, and the signature verifies."""
    user.write("data")
    user.openssl("dgst", "-sha256", "-sign", "lct:k", "-out", "sig", *arguments, "data", **options)
    public = user.path("public")
    pem = json.loads(user.lct("show", "k", "--json").stdout)["public_key"]
    public.write_text(pem)
    user.verify(public, user.path("sig"), user.path("data"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_program_signs_with_a_passphrase(locked, kind):
    locked.lct("create", "another", "--algorithm", kind, "--passphrase-file", locked.secret)
    locked.write("data")
    locked.openssl("dgst", "-sha256", "-sign", "lct:another", "-passin", f"pass:{SECRET}",
                   "-out", "sig", "data")
    locked.lct("check", "another", "--passphrase-file", locked.secret)
    assert "passphrase   yes" in locked.lct("show", "another").stdout
    assert count(locked) == 0


@pytest.fixture(name="memory")
def fixture_memory(user):
    """What a program that goes on has of a passphrase: before, and after it is needed."""
    if "asan" in user.build.name or "tsan" in user.build.name:
        pytest.skip("a sanitizer's allocator keeps what was freed")

    def look(how: str, *arguments) -> tuple[int, int, int]:
        done = user.run(user.build / "tests" / "secrets", how, user.tcti,
                        user.write("secret", SECRET), *arguments)
        return tuple(map(int, re.findall(r"\d+", done.stdout)))

    return look


@pytest.mark.parametrize("seal", ["none", "strict:sha256:7"])
def test_a_passphrase_of_a_key_in_the_tpm_does_not_stay_in_memory(user, memory, seal):
    secret = user.write("secret", SECRET)
    user.lct("create", "k", "--passphrase-file", secret, "--seal", seal)
    status, before, after = memory("used", user.store, "k")
    assert status == 0 and before > 0 and after == 0


def test_the_passphrase_of_a_command_that_was_prepared_and_not_sent_does_not_stay_in_memory(
        memory):
    """The random numbers for its session are at an end, sooner or later; then it is made."""
    failed = 0
    for number in range(1, 20):
        status, before, after = memory("created", number)
        assert before > 0 and after == 0
        if status == 0:
            break
        failed += 1
    assert status == 0 and failed >= 2


@pytest.mark.parametrize("hierarchy", ["owner", "endorsement"])
def test_the_authorization_of_a_hierarchy_does_not_stay_in_memory(
        user, make_tpm, memory, hierarchy):
    tpm = make_tpm()
    user.tcti = tpm.tcti
    tpm.tool("tpm2_changeauth", "-c", hierarchy, SECRET)
    status, before, after = memory(hierarchy)
    assert status == 0 and before > 0 and after == 0
    assert tpm.persistent() == ([SRK] if hierarchy == "owner" else [])


def test_a_passphrase_never_crosses_the_bus(locked):
    signs(locked, "-passin", f"pass:{SECRET}")
    locked.lct("csr", "k", "--passphrase-file", locked.secret)
    locked.lct("sign", "k", "--passphrase-file", locked.secret, stdin="x", text=False)
    wrong = locked.write("wrong", "not this one")
    locked.lct("sign", "k", "--passphrase-file", wrong, stdin="x", status=12)
    assert Command.StartAuthSession in locked.proxy.codes
    assert locked.proxy.messages and not on_the_bus(locked.proxy, SECRET)
    assert not on_the_bus(locked.proxy, "not this one")
    locked.tpm.lockout_count = 1


def test_the_proxy_would_see_a_passphrase(locked):
    """tpm2-tools sends it in a password session."""
    locked.tpm.tool("tpm2_createprimary", "-T", locked.proxy.tcti, "-C", "o", "-G", "ecc", "-p",
                    SECRET, "-c", "p.ctx")
    locked.tpm.flush()
    assert on_the_bus(locked.proxy, SECRET)


def test_a_wrong_passphrase_is_tried_once_and_says_what_is_left(locked):
    wrong = locked.write("wrong", "wrong")
    before = locked.proxy.count(Command.Sign)
    for left in ("2", "1"):
        error = locked.lct("sign", "k", "--passphrase-file", wrong, stdin="x", status=12).stderr
        assert "lct:k: wrong passphrase; tries left" in error and f": {left};" in error
    assert locked.proxy.count(Command.Sign) - before <= 3  # the TPM may ask for one again: TPM_RC_RETRY
    assert count(locked) == 2
    shown = on_a_terminal(locked, [str(locked.build / "lct"), "check", "k"], "wrong")
    assert shown.startswith("12 ") and "in lockout" in shown
    error = locked.lct("sign", "k", "--passphrase-file", locked.secret, stdin="x", status=11).stderr
    assert "lct:k: the TPM is in lockout after 3" in error and "tpm2_dictionarylockout" in error
    locked.lct("create", "free")
    locked.lct("sign", "free", stdin="x", text=False)
    locked.tpm.lockout_count = 3


def test_a_server_does_not_lock_the_tpm_by_a_wrong_passphrase(locked):
    """Whoever connects to it makes it sign, and may connect often; each child may be a new one."""
    locked.configure(passphrase_file=locked.write("wrong", "wrong"))
    done = locked.run(locked.build / "tests" / "evp", "refused", "lct:k")
    assert "lct:k: its passphrase was wrong, and is not tried again" in done.stdout
    assert done.stdout.endswith("ok\n")
    assert count(locked) == 1
    locked.tpm.lockout_count = 1
    locked.configure(passphrase_file=locked.secret)
    signs(locked)


NOT_TRIED = ("lct:{}: its passphrase, which is in a file, is not tried: the TPM has counted 2 wrong "
             "ones, and one more would lock every key that has one; it forgets one each 1000 s, or "
             "all with: tpm2_dictionarylockout -c; one that is typed is tried")


@pytest.mark.parametrize("place", ["option", "setting", "directory", "credential"])
def test_restarts_with_a_wrong_passphrase_in_a_file_do_not_lock_the_tpm(locked, place):
    """As of a service whose file is still that of the key before."""
    locked.lct("create", "other", "--passphrase-file", locked.secret)
    directory = locked.path("credentials")
    directory.mkdir()
    (directory / "lct.k").write_text("wrong")
    (directory / "k").write_text("wrong")
    options, settings, env = {
        "option": (("--passphrase-file", directory / "k"), {}, {}),
        "setting": ((), {"passphrase_file": str(directory / "k")}, {}),
        "directory": ((), {"passphrase_file": str(directory)}, {}),
        "credential": ((), {}, {"CREDENTIALS_DIRECTORY": str(directory)})}[place]
    locked.configure(**settings)
    for counted in (1, 2, 2, 2):
        done = locked.lct("check", "k", *options, status=12, env=env)
        assert count(locked) == counted
    assert NOT_TRIED.format("k") in done.stderr
    if not options:
        locked.write("data")
        done = locked.openssl("dgst", "-sha256", "-sign", "lct:k", "-out", "sig", "data", status=1,
                              env=env)
        assert NOT_TRIED.format("k") in done.stderr and count(locked) == 2
    locked.configure()
    done = locked.lct("check", "other", "--passphrase-file", locked.secret, status=12)
    assert NOT_TRIED.format("other") in done.stderr, "nobody knows that it is right"
    signs(locked, "-passin", f"pass:{SECRET}")
    shown = on_a_terminal(locked, [str(locked.build / "lct"), "check", "other"], SECRET)
    assert shown.startswith("0 "), shown
    locked.tpm.tool("tpm2_dictionarylockout", "-c")
    locked.lct("check", "other", "--passphrase-file", locked.secret)


def test_a_program_whose_passphrase_was_right_signs_at_the_last_try(locked, prompted):
    locked.configure(passphrase_file=str(locked.secret))
    program = prompted(locked, "k")
    program.sign()
    wrong = locked.write("wrong", "wrong")
    for _ in range(2):
        locked.lct("check", "k", "--passphrase-file", wrong, status=12)
    program.sign()
    assert program.end() == ""
    assert "is not tried" in locked.lct("check", "k", status=12).stderr
    locked.tpm.lockout_count = 2


def test_a_key_that_the_tpm_does_not_count_for_is_tried_at_the_last_try(locked):
    tpm, handle = locked.tpm, "0x81000042"
    tpm.tool("tpm2_create", "-C", hex(SRK), "-G", "ecc", "-p", "its own", "-a",
             "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign", "-u", "u", "-r",
             "r", "-c", "key.ctx")
    tpm.flush()
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "key.ctx", handle)
    tpm.flush()
    wrong, right = locked.write("wrong", "wrong"), locked.write("right", "its own")
    locked.lct("import", "free", handle, "--passphrase-file", right)
    for _ in range(2):
        locked.lct("check", "k", "--passphrase-file", wrong, status=12)
    assert "is not tried" not in locked.lct("check", "free", "--passphrase-file", wrong,
                                            status=12).stderr
    locked.lct("check", "free", "--passphrase-file", right)
    assert count(locked) == 2
    locked.tpm.lockout_count = 2


def test_where_one_try_is_all_there_is_a_passphrase_in_a_file_has_it(locked):
    locked.tpm.tool("tpm2_dictionarylockout", "-s", "-n", "1", "-t", "1000", "-l", "1000")
    locked.lct("check", "k", "--passphrase-file", locked.secret)


def test_in_lockout_it_is_said_that_it_is(locked):
    locked.configure(passphrase_file=str(locked.write("wrong", "wrong")))
    locked.tpm.tool("tpm2_dictionarylockout", "-s", "-n", "1", "-t", "1000", "-l", "1000")
    locked.lct("check", "k", status=12)
    assert "the TPM is in lockout after 1 wrong" in locked.lct("check", "k", status=11).stderr
    locked.tpm.lockout_count = 1


def test_a_key_kept_as_der_is_the_identity_s_still(locked):
    """As mod_ssl keeps one: with what the record says of its parent and of the salts of its TPM."""
    done = locked.run(locked.build / "tests" / "evp", "kept", "lct:k",
                      env={"EVP_PASSPHRASE": SECRET})
    assert done.stdout == "ok\n"


def test_openssl_shows_a_wrong_passphrase_too(locked):
    locked.write("data")
    error = locked.openssl("dgst", "-sha256", "-sign", "lct:k", "-passin", "pass:wrong", "data",
                           status=1).stderr
    assert "lct:k: wrong passphrase; tries left" in error
    locked.tpm.lockout_count = 1


def test_without_its_passphrase_nothing_is_asked_of_the_tpm(locked):
    locked.proxy.codes.clear()
    error = locked.lct("sign", "k", stdin="x", status=12, start_new_session=True).stderr
    assert "passphrase of lct:k" in error and "no terminal" in error
    locked.write("data")
    error = locked.openssl("dgst", "-sha256", "-sign", "lct:k", "data", status=1,
                           start_new_session=True).stderr
    assert "lct:k: signing with it takes its passphrase" in error
    assert locked.proxy.codes == []
    locked.openssl("pkey", "-pubin", "-in", "lct:k", "-pubout")
    locked.lct("show", "k")
    locked.lct("list")


@pytest.mark.parametrize("passphrase, text", [
    ("", "is empty"), ("\n", "is empty"), ("x" * 33, "longer than 32"), ("a\0b", "zero byte")])
def test_what_is_no_passphrase_is_refused(locked, passphrase, text):
    file = locked.write("odd", passphrase)
    locked.proxy.codes.clear()
    assert text in locked.lct("create", "new", "--passphrase-file", file, status=12).stderr
    assert text in locked.lct("sign", "k", "--passphrase-file", file, stdin="x", status=12).stderr
    assert locked.proxy.codes == []
    locked.lct("show", "new", status=3)


def test_a_file_that_is_not_there_is_said(locked):
    error = locked.lct("sign", "k", "--passphrase-file", "nowhere", stdin="x", status=18).stderr
    assert "lct:k: its passphrase: nowhere cannot be read: No such file" in error


def test_the_longest_passphrase_and_one_of_any_bytes_sign(locked):
    for number, passphrase in enumerate([b"x" * 32, bytes(range(1, 10)) + b"\xff\xc3\xa9"]):
        file = locked.write("p", passphrase + b"\r\n")
        locked.lct("create", f"p{number}", "--passphrase-file", file)
        locked.lct("sign", f"p{number}", "--passphrase-file", file, stdin="x", text=False)


def test_passphrases_come_from_the_configuration(locked):
    locked.configure(passphrase_file=str(locked.secret))
    signs(locked)
    directory = locked.path("credentials")
    directory.mkdir()
    (directory / "k").write_text(SECRET)
    locked.configure(passphrase_file=str(directory))
    signs(locked)
    locked.lct("sign", "k", stdin="x", text=False)
    (directory / "k").unlink()
    locked.write("data")
    locked.openssl("dgst", "-sha256", "-sign", "lct:k", "data", status=1, start_new_session=True)
    locked.configure(passphrase_file="relative")
    error = locked.lct("sign", "k", stdin="x", status=8).stderr
    assert "passphrase_file" in error and "absolute path" in error


def test_a_passphrase_is_a_credential_of_the_service(locked):
    directory = locked.path("credentials")
    directory.mkdir()
    (directory / "lct.k").write_text(SECRET)
    environment = {"CREDENTIALS_DIRECTORY": str(directory)}
    locked.lct("sign", "k", stdin="x", text=False, env=environment)
    locked.write("data")
    sign = ["dgst", "-sha256", "-sign", "lct:k", "-out", "sig", "data"]
    locked.openssl(*sign, env=environment)
    locked.configure(credentials=str(directory))
    locked.openssl(*sign)
    locked.configure(credentials=str(directory), passphrase_file=str(locked.secret))
    (directory / "lct.k").write_text("not asked for")
    locked.openssl(*sign)
    (directory / "lct.k").rename(directory / "lct.other")
    locked.configure(credentials=str(directory))
    locked.openssl(*sign, status=1, start_new_session=True)


def echoes(terminal: int) -> bool:
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def on_a_terminal(user, arguments, *lines: str) -> str:
    """Runs a command on a terminal of its own, answers its questions, returns what it showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(user.directory)
        os.execvpe(arguments[0], arguments, user.environment())
    shown, asked, pending = "", "", list(lines)
    while select.select([terminal], [], [], TIMEOUT)[0]:
        try:
            part = os.read(terminal, 4096).decode()
        except OSError:
            break
        shown, asked = shown + part, asked + part
        if asked.rstrip(" ").endswith(":") and pending:
            wait_for(lambda: not echoes(terminal), "the terminal to hide what is typed")
            os.write(terminal, f"{pending.pop(0)}\n".encode())
            asked = ""
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert not pending, shown
    return f"{status} {shown}"


def test_a_passphrase_is_asked_for_on_the_terminal(locked):
    lct = str(locked.build / "lct")
    shown = on_a_terminal(locked, [lct, "create", "t", "--passphrase"], "typed", "typed")
    assert shown.startswith("0 ") and "created lct:t" in shown and "typed" not in shown
    shown = on_a_terminal(locked, [lct, "check", "t"], "typed")
    assert shown.startswith("0 ") and "passphrase of lct:t" in shown and "typed" not in shown
    shown = on_a_terminal(locked, [lct, "create", "u", "--passphrase"], "typed", "other")
    assert shown.startswith("12 ") and "not the same twice" in shown
    locked.lct("show", "u", status=3)


def test_openssl_asks_on_the_terminal(locked):
    locked.write("data")
    shown = on_a_terminal(locked, ["openssl", "dgst", "-sha256", "-sign", "lct:k", "-out", "sig",
                                   "data"], SECRET)
    assert shown.startswith("0 "), shown


def test_doctor_asks_for_nothing_unless_it_is_about_an_identity(locked):
    findings = json.loads(locked.lct("doctor", "--json", status=None).stdout)
    (found,) = [finding for finding in findings if finding["topic"] == "signature"]
    assert found["command"] == "lct doctor k" and "passphrase" in found["text"]
    done = locked.lct("doctor", "k", "--passphrase-file", locked.secret, status=None)
    assert "lct:k signs" in done.stdout


class Spoiler:
    """Changes one bit of successful responses, `times` of them: a hook of the proxy."""

    def __init__(self, bit: int, times: int):
        self.bit, self.times = bit, times

    def __call__(self, _command, ask):
        answer = bytearray(ask())
        if len(answer) > 10 and self.times > 0:
            self.times -= 1
            answer[-1 - self.bit // 8] ^= 1 << self.bit % 8
        return bytes(answer)


@pytest.mark.parametrize("bit", [0, 7, 100, 600])
def test_a_changed_response_is_noticed_in_a_session(locked, bit):
    """In a password session nobody would."""
    words = ("sign", "k", "--passphrase-file", locked.secret)
    locked.proxy.hook(Command.Sign, Spoiler(bit, 1))
    locked.lct(*words, stdin="x", text=False)
    locked.proxy.hook(Command.Sign, Spoiler(bit, 2))
    assert "lct:k" in locked.lct(*words, stdin="x", status=9).stderr
    assert count(locked) == 0


def test_a_changed_command_is_refused_by_the_tpm(locked):
    def swap(command, ask):
        spoilt = bytearray(command)
        spoilt[-40] ^= 1  # of the digest
        return ask(bytes(spoilt))

    locked.proxy.hook(Command.Sign, swap)
    locked.lct("sign", "k", "--passphrase-file", locked.secret, stdin="x", status=12)
    locked.tpm.lockout_count = 1


def test_a_salt_is_only_for_the_pinned_parent(locked):
    """Another storage key in its place, a chip in between say, learns nothing."""
    locked.tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", f"{SRK:#x}")
    locked.tpm.tool("tpm2_createprimary", "-C", "o", "-G", "rsa", "-c", "other.ctx")
    locked.tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "other.ctx", f"{SRK:#x}")
    locked.tpm.flush()
    locked.proxy.codes.clear()
    error = locked.lct("sign", "k", "--passphrase-file", locked.secret, stdin="x", status=13).stderr
    assert "lct:k: the key was made by another TPM" in error
    assert Command.StartAuthSession not in locked.proxy.codes


def test_a_passphrase_under_an_rsa_storage_key(make_user, make_tpm):
    tpm = make_tpm()
    tpm.tool("tpm2_createprimary", "-C", "o", "-G", "rsa", "-c", "srk.ctx")
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "srk.ctx", f"{SRK:#x}")
    tpm.flush()
    user = make_user(tpm.tcti)
    secret = user.write("secret", SECRET)
    user.lct("create", "k", "--passphrase-file", secret)
    user.lct("sign", "k", "--passphrase-file", secret, stdin="x", text=False)
    user.configure(session="always")
    user.lct("create", "free")
    user.lct("sign", "free", stdin="x", text=False)


def test_a_session_is_lost_with_the_tpm_and_opened_again(locked, prompted):
    locked.configure(passphrase_file=str(locked.secret), tcti=locked.tpm.tcti)
    program = prompted(locked, "k")
    program.sign()
    locked.tpm.stop()
    locked.tpm.start()
    program.sign()
    assert program.end() == ""
    locked.tpm.lockout_count = 1  # SIGTERM is a loss of power, after a key with a passphrase


def test_a_loss_of_power_does_not_count_without_a_passphrase(locked):
    locked.lct("create", "free")
    for _ in range(4):
        locked.lct("sign", "free", stdin="x", text=False)
        locked.tpm.process.kill()
        locked.tpm.stop()
        locked.tpm.start()
    assert count(locked) == 0


def test_session_always_protects_keys_without_a_passphrase(locked):
    locked.lct("create", "free")
    locked.configure(session="always")
    locked.proxy.codes.clear()
    locked.lct("sign", "free", stdin="x", text=False)
    assert Command.StartAuthSession in locked.proxy.codes
    for command in (Command.Load, Command.Sign):
        locked.proxy.hook(command, Spoiler(0, 2))
        locked.lct("sign", "free", stdin="x", status=9)
        locked.proxy.hook(command, lambda _command, ask: ask())
    locked.configure(session="sometimes")
    assert "auto or always" in locked.lct("sign", "free", stdin="x", status=8).stderr


@pytest.fixture(name="owned")
def fixture_owned(make_user, make_tpm, make_proxy):
    """A TPM whose owner has an authorization and that has no storage root key."""
    tpm = make_tpm()
    tpm.tool("tpm2_changeauth", "-c", "owner", OWNER)
    proxy = make_proxy(tpm)
    user = make_user(proxy.tcti)
    user.tpm, user.proxy = tpm, proxy
    user.owner = user.write("owner", OWNER + "\n")
    return user


@pytest.mark.parametrize("provision", ["yes", "no"])
def test_the_owners_authorization_comes_from_a_file(owned, provision):
    owned.configure(owner_auth_file=str(owned.owner), provision=provision)
    owned.lct("create", "k")
    signs(owned)
    assert owned.tpm.persistent() == ([SRK] if provision == "yes" else [])
    assert owned.proxy.messages and not on_the_bus(owned.proxy, OWNER)


def test_the_owners_authorization_is_asked_for(owned):
    shown = on_a_terminal(owned, [str(owned.build / "lct"), "create", "k"], OWNER)
    assert shown.startswith("0 ") and "owner" in shown and OWNER not in shown
    assert owned.tpm.persistent() == [SRK]
    assert not on_the_bus(owned.proxy, OWNER)


def test_a_wrong_owners_authorization_is_said(owned):
    error = owned.lct("create", "k", status=12, start_new_session=True).stderr
    assert "owner_auth_file" in error
    owned.configure(owner_auth_file=str(owned.write("bad", "wrong")))
    error = owned.lct("create", "k", status=12).stderr
    assert "lct:k: the TPM refuses the owner's authorization" in error
    owned.lct("show", "k", status=3)
    owned.configure(owner_auth_file="/nowhere")
    assert "/nowhere" in owned.lct("create", "k", status=18).stderr


def test_an_owners_authorization_that_is_not_set_is_not_used(owned):
    owned.tpm.tool("tpm2_changeauth", "-c", "owner", "-p", OWNER)
    owned.configure(owner_auth_file=str(owned.owner))
    owned.lct("create", "k")


def test_other_refusals_are_not_taken_for_a_lost_session(locked):
    locked.proxy.hook(Command.StartAuthSession, lambda _command, _ask: response(0x903))
    error = locked.lct("sign", "k", "--passphrase-file", locked.secret, stdin="x", status=17).stderr
    assert "sessions" in error


def test_a_session_whose_handle_is_none_is_not_taken_for_no_session(locked):
    """A response with handle 0 would let the passphrase of a new key go in a password session."""

    def spoil(_command, ask):
        answer = ask()
        return answer[:10] + bytes(4) + answer[14:] if len(answer) > 10 else answer

    locked.proxy.hook(Command.StartAuthSession, spoil)
    error = locked.lct("create", "new", "--passphrase-file", locked.secret, status=9).stderr
    assert "lct:new" in error and not on_the_bus(locked.proxy, SECRET)
    assert Command.Create not in locked.proxy.codes[-4:]
    locked.lct("show", "new", status=3)
    for session in locked.tpm.handles(0x02000000):
        locked.tpm.tool("tpm2_flushcontext", f"{session:#x}")
