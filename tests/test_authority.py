# SPDX-License-Identifier: Apache-2.0
"""The recovery authority: made, imported, shown, and its private half never in clear."""

import json
import os
import pty
import re
import select
import signal
import stat
import threading
import time

import pytest

import sealing
from conftest import Server
from sealing import NO_AUTHORITY, boot
from test_command import one_sentence
from test_passphrase import echoes
from tpm import TIMEOUT, Command, response, wait_for

USAGE, EXISTS, AUTH, UNSUPPORTED, IO = 2, 4, 12, 15, 18
PHRASE = re.compile(r"^recovery phrase: (\S.*\S)$", re.MULTILINE)


def converse(user, arguments, *answers: tuple[str, str]) -> tuple[int, str]:
    """
    Runs a command on a terminal of its own: for each pattern that it shows, in this order, types
    the answer, once the terminal hides it if the answer begins with "*". Its status and all that
    it showed.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(user.directory)
        os.execvpe(arguments[0], [str(each) for each in arguments], user.environment())
    shown, seen, pending = "", 0, list(answers)
    end = time.monotonic() + TIMEOUT
    while select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
        try:
            shown += os.read(terminal, 4096).decode()
        except OSError:
            break
        if pending and (match := re.search(pending[0][0], shown[seen:])):
            answer = pending.pop(0)[1]
            if answer.startswith("*"):
                wait_for(lambda: not echoes(terminal), "the terminal to hide what is typed")
            os.write(terminal, f"{answer.removeprefix('*')}\n".encode())
            seen += match.end()
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert not pending, shown
    return status, shown.replace("\r\n", "\n")


@pytest.fixture(name="sealing_user")
def fixture_sealing_user(make_user, tpm):
    """A user whose keys are to be sealed and whose store has no authority."""
    user = make_user()
    user.configure(seal=None)
    user.write("data")
    boot(tpm)
    return user


def init(user, *options, **arguments):
    """Away from any terminal."""
    return user.lct("authority", "init", "--out", "key.pem", *options, start_new_session=True,
                    **arguments)


def opens(user, phrase: str) -> bool:
    """Whether openssl takes the private half with this passphrase."""
    user.write("phrase", phrase)
    done = user.openssl("pkey", "-in", "key.pem", "-passin", "file:phrase", "-pubout", status=None,
                        env={"OPENSSL_CONF": os.devnull})
    return done.returncode == 0


def test_a_recovery_phrase_is_shown_once_and_opens_the_key(sealing_user):
    user = sealing_user
    phrases = set()
    for _ in range(2):
        done = init(user)
        (phrase,) = PHRASE.findall(done.stdout)
        assert (done.stdout + done.stderr).count(phrase) == 1
        assert opens(user, phrase) and not opens(user, phrase[:-1])
        assert re.fullmatch("([0-9A-Z]{4}-){6}[0-9A-Z]{4}", phrase), "28 letters of 5 bits, 140"
        phrases.add(phrase)
        everything = b"".join(path.read_bytes() for path in user.directory.rglob("*")
                              if path.is_file() and path.name != "phrase")
        assert phrase.encode() not in everything
        assert phrase not in user.lct("authority", "show", "--json").stdout
        user.path("key.pem").unlink()
        (user.store / ".authority.pub.pem").unlink()
    assert len(phrases) == 2


@pytest.mark.parametrize("algorithm, kind", [
    ("ec-p256", "prime256v1"), ("rsa-2048", "2048 bit"), ("rsa-3072", "3072 bit")])
def test_the_private_half_is_encrypted_and_its_owner_s_alone(sealing_user, algorithm, kind):
    user = sealing_user
    secret = user.write("secret", "a passphrase of some length\n")
    old = os.umask(0)
    try:
        init(user, "--passphrase-file", secret, "--algorithm", algorithm)
    finally:
        os.umask(old)
    path = user.path("key.pem")
    text = path.read_text()
    assert re.findall("-----BEGIN (.*)-----", text) == ["ENCRYPTED PRIVATE KEY"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    parsed = sealing.openssl("asn1parse", "-in", path).decode()
    assert "PBES2" in parsed and "aes-256" in parsed.lower()
    rounds = re.search(r"(PBKDF2|scrypt|id-scrypt)", parsed)
    assert rounds, parsed
    if rounds[1] == "PBKDF2":
        assert max(int(number, 16) for number in re.findall(r"INTEGER +:([0-9A-F]+)", parsed)
                   ) >= 100000
    public = sealing.openssl("pkey", "-in", path, "-passin", f"file:{secret}", "-text_pub",
                             "-noout").decode()
    assert kind in public
    shown = json.loads(user.lct("authority", "show", "--json").stdout)
    assert shown["algorithm"] == algorithm
    assert shown["fingerprint"] == sealing.fingerprint(shown["public_key"].encode())


@pytest.mark.parametrize("phrase", [b"short\0and the rest\n", b"\0all of it", b"at its end\0", b"1\0\r\n"])
def test_a_passphrase_with_a_zero_byte_is_refused_and_not_cut(sealing_user, phrase):
    user = sealing_user
    secret = user.write("secret", phrase)
    done = init(user, "--passphrase-file", secret, status=AUTH)
    assert one_sentence(done.stderr) == f"the first line of {secret} has a zero byte in it"
    assert not user.path("key.pem").exists()
    user.lct("authority", "show", status=NO_AUTHORITY)
    user.write("secret", phrase.partition(b"\0")[0] or b"x")
    init(user, "--passphrase-file", secret)
    user.write("secret", phrase)
    done = user.lct("approve", "--authority", "key.pem", "--passphrase-file", secret, status=AUTH)
    assert "has a zero byte in it" in one_sentence(done.stderr)


@pytest.mark.parametrize("what", ["file", "link", "dangling link", "directory"])
def test_init_replaces_nothing(sealing_user, what):
    user = sealing_user
    secret = user.write("secret", "a passphrase of some length")
    precious = user.write("precious", "precious")
    place = user.path("key.pem")
    if what == "file":
        place.write_text("precious")
    elif what == "directory":
        place.mkdir()
    else:
        place.symlink_to(precious if what == "link" else user.path("not there"))
    one_sentence(init(user, "--passphrase-file", secret, status=None).stderr)
    assert precious.read_text() == "precious" and not user.path("not there").exists()
    assert what != "file" or place.read_text() == "precious"
    user.lct("authority", "show", status=NO_AUTHORITY)


def test_a_store_has_one_authority(sealing_user):
    user = sealing_user
    secret = user.write("secret", "a passphrase of some length")
    init(user, "--passphrase-file", secret)
    before = (user.store / ".authority.pub.pem").read_bytes()
    user.path("key.pem").rename(user.path("kept.pem"))
    one_sentence(init(user, "--passphrase-file", secret, status=EXISTS).stderr)
    assert not user.path("key.pem").exists()
    user.write("other.pub", sealing.software_key(user.path("other.pem")))
    one_sentence(user.lct("authority", "import", "other.pub", status=EXISTS).stderr)
    assert (user.store / ".authority.pub.pem").read_bytes() == before
    user.write("same.pub", user.lct("authority", "show", "--pem").stdout)
    user.lct("authority", "import", "same.pub")


@pytest.mark.parametrize("action", ["kill", "EIO"])
def test_no_failure_leaves_an_authority_without_its_private_half(sealing_user, action):
    """Whatever was sealed to it then could never be approved."""
    user = sealing_user
    secret = user.write("secret", "a passphrase of some length")
    public = user.store / ".authority.pub.pem"

    def init_failing(**env) -> int:
        for path in (user.path("key.pem"), public):
            path.unlink(missing_ok=True)
        return init(user, "--passphrase-file", secret, status=None,
                    preload=[user.build / "tests" / "preload_fs.so"],
                    env={"LCT_FS_BELOW": str(user.store)} | env).returncode

    assert init_failing(LCT_FS_LOG=str(user.path("steps"))) == 0
    steps = user.path("steps").read_text().split()
    assert steps.count("fsync") >= 2
    for step in range(1, len(steps) + 1):
        init_failing(LCT_FS_ACTION=action, LCT_FS_STEP=str(step))
        assert not public.exists() or user.path("key.pem").exists(), f"{step} of {steps}"


@pytest.mark.parametrize("algorithm", ["ec-p384", "rsa-1024", "ed25519", ""])
def test_an_authority_is_of_a_kind_that_every_tpm_verifies(sealing_user, algorithm):
    user = sealing_user
    secret = user.write("secret", "a passphrase of some length")
    done = init(user, "--passphrase-file", secret, "--algorithm", algorithm, status=None)
    assert done.returncode in (USAGE, UNSUPPORTED)
    one_sentence(done.stderr)
    assert not user.path("key.pem").exists()


def test_only_a_public_key_is_imported(sealing_user):
    user = sealing_user
    pem = sealing.software_key(user.path("private.pem"))
    sentence = one_sentence(user.lct("authority", "import", "private.pem", status=USAGE).stderr)
    assert "private key" in sentence
    assert "BEGIN" not in sentence
    user.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out",
                 "p384.pem")
    user.openssl("pkey", "-in", "p384.pem", "-pubout", "-out", "p384.pub")
    one_sentence(user.lct("authority", "import", "p384.pub", status=UNSUPPORTED).stderr)
    for text in (b"", b"nothing", pem[:-40], os.urandom(100)):
        one_sentence(user.lct("authority", "import", "-", stdin=text, status=None).stderr)
    user.lct("authority", "show", status=NO_AUTHORITY)
    user.lct("authority", "import", "-", stdin=pem)
    assert user.lct("authority", "show", "--pem").stdout == pem.decode()
    assert sealing.fingerprint(pem) in user.lct("authority", "show").stdout
    assert stat.S_IMODE((user.store / ".authority.pub.pem").stat().st_mode) == 0o644


@pytest.fixture(name="picky")
def fixture_picky(make_sealer, make_tpm, make_proxy):
    """Whose TPM loads no authority's key from when `refuse` is called on."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_sealer(tpm, proxy.tcti)
    user.proxy = proxy
    user.refuse = lambda rc=0x2C4: proxy.refuse(Command.LoadExternal, rc)
    return user


REFUSED = ("{}: this TPM does not take the {} key of its recovery authority, so no approval would "
           "ever open it; one of ec-p256 every TPM takes")


def problems(user, severity: str = "problem") -> list[str]:
    """The texts of the doctor's problems with the authority."""
    found = json.loads(user.lct("doctor", "--json", status=None).stdout)
    return [each["text"] for each in found
            if each["severity"] == severity and "does not take" in each["text"]]


def test_nothing_is_sealed_to_an_authority_that_the_tpm_does_not_load(sealing_user, tpm):
    """It would be found out after the first update: then nothing opens it any more."""
    user = sealing_user
    if tpm.tool("tpm2_testparms", "rsa4096", status=None).returncode == 0:
        pytest.skip("this TPM has RSA 4096")
    user.openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096", "-out",
                 "rsa.pem", env={"OPENSSL_CONF": os.devnull})
    user.openssl("pkey", "-in", "rsa.pem", "-pubout", "-out", "rsa.pub",
                 env={"OPENSSL_CONF": os.devnull})
    done = user.lct("authority", "import", "rsa.pub")
    assert one_sentence(done.stderr).startswith("warning: this machine's TPM does not take an "
                                                "authority's rsa-4096 key")
    for words in (("create", "k"), ("create", "k", "--seal", "authority")):
        error = user.lct(*words, status=UNSUPPORTED).stderr
        assert one_sentence(error) == REFUSED.format("lct:k", "rsa-4096")
    assert user.in_store() == []
    error = user.lct("seal", "--seal", "sha256:7", stdin="x", status=UNSUPPORTED).stderr
    assert "does not take the rsa-4096 key" in one_sentence(error)
    (text,) = problems(user, "warning")
    assert "rsa-4096" in text and str(user.store) in text
    user.lct("create", "k", "--seal", "strict:sha256:7")


def test_a_key_whose_authority_the_tpm_does_not_load_says_so(picky, authority):
    """A firmware may have taken an algorithm away."""
    user = picky
    user.lct("create", "k")
    user.lct("sign", "k", stdin="x", text=False)
    assert problems(user) == []
    sealing.measure(user.tpm, 7)
    user.lct("approve", *authority.options, "k")
    user.refuse()
    error = user.lct("sign", "k", stdin="x", status=UNSUPPORTED).stderr
    assert one_sentence(error) == REFUSED.format("lct:k", "ec-p256")
    assert problems(user)


@pytest.mark.parametrize("seal, severity", [
    ("sha256:7", "problem"), ("authority", "problem"), ("strict:sha256:7", "warning"),
    ("none", "warning")])
def test_an_authority_of_others_is_no_problem_of_this_machine(picky, seal, severity):
    """It is one where a key that signs is sealed to it, and the TPM does not load it."""
    user = picky
    user.refuse()
    assert (len(problems(user, "warning")), problems(user)) == (1, [])
    user.lct("doctor")
    user.proxy.heal()
    user.lct("create", "k", "--seal", seal)
    user.refuse()
    assert len(problems(user, severity)) == 1
    assert len(problems(user, "problem") + problems(user, "warning")) == 1
    if severity == "problem":
        assert "lct:k" in problems(user)[0]
        user.lct("doctor", status=UNSUPPORTED)
        user.lct("retire", "k", "--yes", "--without-signature")
        assert (len(problems(user, "warning")), problems(user)) == (1, [])
        user.lct("doctor")


@pytest.mark.parametrize("rc", [0x101, 0x3C5])
def test_another_failure_of_loading_an_authority_is_not_the_key_s(picky, rc):
    user = picky
    user.refuse(rc)
    error = user.lct("create", "k", status=None).stderr
    assert f"0x{rc:03x}" in one_sentence(error) and "ec-p256" not in error
    assert problems(user) == []


@pytest.mark.parametrize("algorithm", ["ec-p256", "rsa-3072"])
def test_an_authority_that_this_tpm_does_not_load_is_made_all_the_same(picky, algorithm):
    """It may be for another machine."""
    user = picky
    user.refuse()
    (user.store / ".authority.pub.pem").unlink()
    done = init(user, "--algorithm", algorithm)
    assert one_sentence(done.stderr).startswith(
        f"warning: this machine's TPM does not take an authority's {algorithm} key")
    assert user.path("key.pem").exists() and PHRASE.search(done.stdout)


@pytest.mark.parametrize("options, says", [([], "the recovery authority"),
                                           (["--json"], '"fingerprint"')], ids=["text", "json"])
@pytest.mark.parametrize("verb", ["init", "import"])
def test_what_was_made_is_said_before_a_tpm_that_hangs_is_asked(picky, verb, options, says):
    """It is given up after the timeout."""
    user = picky
    user.configure(timeout="3600")
    public = user.write("public.pem", user.lct("authority", "show", "--pem").stdout)
    (user.store / ".authority.pub.pem").unlink()
    asked, answered = threading.Event(), threading.Event()

    def hang(_command, _ask):
        asked.set()
        answered.wait()
        return response(0x101)

    user.proxy.hook(None, hang)
    secret = user.write("secret", "a passphrase of some length")
    words = (["import", str(public)] if verb == "import" else
             ["init", "--out", "key.pem", "--passphrase-file", str(secret)])
    program = Server([str(user.build / "lct"), "authority", *words, *options], cwd=user.directory,
                     env=user.environment())
    try:
        program.read_until(rf"{says}.*\n".encode())
        assert asked.wait(TIMEOUT)
    finally:
        answered.set()
        program.stop()
    assert program.process.returncode == 0


@pytest.mark.parametrize("tcti", ["swtpm:path=/nonexistent", "device:/nonexistent"])
def test_an_authority_is_made_and_taken_without_a_tpm(sealing_user, tcti):
    """As in an office."""
    user = sealing_user
    user.configure(seal=None, tcti=tcti)
    assert init(user).stderr == ""
    pem = user.lct("authority", "show", "--pem").stdout
    (user.store / ".authority.pub.pem").unlink()
    assert user.lct("authority", "import", "-", stdin=pem).stderr == ""


def test_show_says_where_the_private_half_was_put(sealing_user):
    user = sealing_user
    init(user, "--passphrase-file", user.write("secret", "a passphrase of some length"))
    place = str(user.path("key.pem").resolve())
    assert place in user.lct("authority", "show").stdout
    shown = json.loads(user.lct("authority", "show", "--json").stdout)
    assert (shown["private_key"], shown["private_key_is_here"]) == (place, True)
    user.path("key.pem").unlink()
    shown = json.loads(user.lct("authority", "show", "--json").stdout)
    assert (shown["private_key"], shown["private_key_is_here"]) == (place, False)


def test_the_wrong_phrase_approves_nothing(sealing_user):
    user = sealing_user
    (phrase,) = PHRASE.findall(init(user).stdout)
    user.lct("create", "k")
    wrong = user.write("wrong", phrase[::-1])
    right = user.write("right", phrase + "\n")
    for words in (("approve", "k"), ("reseal", "k")):
        error = user.lct(*words, "--authority", "key.pem", "--passphrase-file", wrong,
                         status=AUTH).stderr
        assert phrase not in error and "key.pem" in one_sentence(error)
        user.lct(*words, "--authority", "key.pem", status=AUTH, start_new_session=True)
    assert sealing.approvals(user) == []
    user.lct("approve", "--authority", "key.pem", "--passphrase-file", right, "k")
    assert len(sealing.approvals(user)) == 1


def test_a_key_that_is_not_the_store_s_authority_approves_nothing(sealing_user):
    user = sealing_user
    init(user, "--passphrase-file", user.write("secret", sealing.PASSPHRASE))
    user.lct("create", "k")
    sealing.software_key(user.path("other.pem"))
    user.openssl("pkey", "-in", "other.pem", "-aes256", "-passout", f"pass:{sealing.PASSPHRASE}",
                 "-out", "locked.pem", env={"OPENSSL_CONF": os.devnull})
    one_sentence(user.lct("approve", "--authority", "locked.pem", "--passphrase-file", "secret",
                          "k", status=None).stderr)
    assert sealing.approvals(user) == []


def test_on_a_terminal_the_passphrase_is_asked_for_and_hidden(sealing_user):
    user = sealing_user
    lct = user.build / "lct"
    status, shown = converse(user, [lct, "authority", "init", "--out", "key.pem", "--passphrase"],
                             (r"passphrase.*:", "*typed and typed"),
                             (r":", "*typed and typed"))
    assert status == 0 and "typed" not in shown, shown
    assert opens(user, "typed and typed")
    user.lct("create", "k")
    status, shown = converse(user, [lct, "approve", "--authority", "key.pem", "k"],
                             (r"key\.pem.*:", "*typed and typed"))
    assert status == 0 and "typed" not in shown, shown
    assert len(sealing.approvals(user)) == 1


def test_on_a_terminal_the_recovery_phrase_is_shown_there(sealing_user):
    """And not on standard output, which may be a log."""
    user = sealing_user
    script = f"'{user.build}/lct' authority init --out key.pem >out 2>err"
    status, shown = converse(user, ["/bin/sh", "-c", script])
    (phrase,) = PHRASE.findall(shown)
    assert status == 0 and opens(user, phrase)
    assert phrase not in user.path("out").read_text() + user.path("err").read_text()


@pytest.mark.parametrize("wanted", [True, False])
def test_on_a_terminal_the_first_sealed_key_offers_to_make_an_authority(sealing_user, wanted):
    user = sealing_user
    lct = user.build / "lct"
    answers = [(r"\[y/N\]", "y"), (r"private half.*: $", "key.pem")] if wanted else [
        (r"\[y/N\]", "")]
    status, shown = converse(user, [lct, "create", "k"], *answers)
    if wanted:
        (phrase,) = PHRASE.findall(shown)
        assert status == 0 and "created lct:k" in shown and opens(user, phrase)
        assert sealing.seal_of(user, "k")["kind"] == "either"
        user.lct("sign", "k", stdin="x", text=False)
        status, shown = converse(user, [lct, "create", "other"])
        assert status == 0 and "[y/N]" not in shown
    else:
        assert status == NO_AUTHORITY and "--seal none" in shown, shown
        assert user.in_store() == [] and not user.path("key.pem").exists()


def test_a_file_that_cannot_be_made_is_asked_for_again(sealing_user):
    user = sealing_user
    user.write("precious", "precious")
    question = r"private half.*: $"
    status, shown = converse(user, [user.build / "lct", "create", "k"], (r"\[y/N\]", "y"),
                             (question, ""), (question, "precious"), (question, "key.pem"))
    (phrase,) = PHRASE.findall(shown)
    assert status == 0 and "precious is there already" in shown and opens(user, phrase)
    assert user.path("precious").read_text() == "precious"


@pytest.mark.parametrize("file, status", [("", NO_AUTHORITY), ("nowhere/key.pem", IO)])
def test_a_file_is_asked_for_three_times_at_most(sealing_user, file, status):
    user = sealing_user
    question = (r"private half.*: $", file)
    ended, shown = converse(user, [user.build / "lct", "create", "k"], (r"\[y/N\]", "y"),
                            question, question, question)
    assert ended == status and shown.count("private half") == 3, shown
    assert user.in_store() == []
