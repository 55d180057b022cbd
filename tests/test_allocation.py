# SPDX-License-Identifier: Apache-2.0
"""
Without memory: each allocation of an operation fails in turn, once or with all that follow
(preload_malloc.c). The operation gives what it gives otherwise or says why not, leaves nothing
behind, and goes on when there is memory again. Here are some, always the same ones; with
--allocations all, but for forgeries.

Where an allocation of libcrypto's own fails that it makes on our behalf, it is held to less: it need
not say so nor go on, since libcrypto 3.0 returns without an error from some of them, and a library
context in which it could not make the list of a kind of algorithm never has one. It crashes by none
of them, nothing wrong comes of it, and the TPM is left empty. What it allocates for the program
alone is not ours to test.
"""

import dataclasses
import json
import re
import shutil

import pytest

from attesting import to_bytes
from conftest import User
from forger import CERTIFY, KEY, Forger, name_of, qualified, sized
from prover import NULL_HIERARCHY, OWNER, Prover, mac
from stating import (NOW, Judge, Ring, end, kid_of, public_pem, said, stamp, statement, succession)
from test_verifier import Verifier
from x509 import pem

SECRET = "correct horse"
OURS = "lct.so,lct,libjansson.so.4"
NEVER = 10**9
# One in so many, unless all: of our allocations, libcrypto's, and the command's.
STEP, STEP_LIBCRYPTO, STEP_COMMAND, STEP_CRYPTO = 151, 1501, 151, 97
# Of a judgement the last ones, some before, and one in so many of those in which Names are hashed and
# keys are asked what they are.
# With --allocations more of both, not all: there are 20,000, and most are libcrypto's beginnings.
LAST, BEFORE, STEP_WITHIN = 20, 10, 3
LAST_OF_ALL, BEFORE_OF_ALL = 200, 1000
ABOUT_KEYS = ("EVP_KEYMGMT_is_a", "EVP_PKEY_get_params")
# Without memory for its very first lock, libcrypto waits for itself for ever, from 3.5 on.
FIRST = 3
# One in so many of those in which a document is read, unless all.
STEP_JSON = 13
# libjansson's first ones are those of the record that is read, its last ones of what is printed.
OF_RECORD, OF_RESULT = 30, 80


@dataclasses.dataclass(frozen=True)
class Case:
    """An operation of tests/allocation.c, on lct:KEY, or on what `lct COMMAND KEY` writes."""

    operation: str
    key: str = "ec"
    command: str = "pem"

    def __str__(self):
        return f"{self.operation} {self.key} {self.command}"


KEYS = ("ec", "locked", "sealed")
CASES = (Case("provider"), Case("module"), Case("list"), Case("generate"), Case("forgery"),
         Case("copy"), Case("public"), Case("private"),
         *(Case("load", key) for key in KEYS), *(Case("sign", key) for key in KEYS),
         *(Case("verify", key) for key in ("ec", "rsa")),
         *(Case(operation, "ec", command) for operation in ("pem", "file")
           for command in ("pem", "export")))
COMMANDS = {"create": ("create", "new"), "sign": ("sign", "ec"), "check": ("check", "ec"),
            "rotate": ("rotate", "ec"), "delete": ("delete", "p384", "--yes"),
            "show": ("show", "ec", "--json")}


@pytest.fixture(name="keeper")
def fixture_keeper(owner) -> User:
    """Who has keys of each kind, and their passphrase in a file."""
    if not (owner.build / "tests" / "allocation").exists():
        pytest.skip("this build has no test programs")
    secret = owner.write("secret", SECRET + "\n")
    owner.lct("create", "locked", "--passphrase-file", secret)
    owner.lct("create", "sealed", "--seal", "strict:sha256:1")
    owner.configure(passphrase_file=str(secret))
    return owner


@pytest.fixture(name="everything")
def fixture_everything(request) -> bool:
    return request.config.getoption("--allocations")


@pytest.fixture(name="without_memory")
def fixture_without_memory(keeper):
    preload = keeper.build / "tests" / "preload_malloc.so"
    if keeper.preload:
        pytest.skip("a sanitizer's malloc does not come by ours")
    if keeper.build.name == "coverage":
        pytest.skip("libgcov does not withstand what is tested here")

    def run(*arguments, env: dict[str, str], **options):
        return keeper.run(*arguments, env={"OPENSSL_MODULES": str(keeper.build)} | env,
                          preload=[preload], **options)

    return run


def attempt(keeper, without_memory, case: Case, how: str, step: int, env: dict[str, str],
            everything: bool = False):
    """An operation with every `step`th allocation, or `everything`, in parts that end in time."""
    reached = attempt_from(1, keeper, without_memory, case, how, step, env)
    assert reached > 1, f"{case}: no allocation is seen"
    for first in range(2, step + 1 if everything else 2):
        if attempt_from(first, keeper, without_memory, case, how, step, env) == first:
            break


def attempt_from(first: int, keeper, without_memory, case: Case, how: str, step: int,
                 env: dict[str, str]) -> int:
    """Which allocation was the first that there is not."""
    file = keeper.path("key.pem")
    if case.operation in ("pem", "file"):
        file.write_text(keeper.lct(case.command, case.key).stdout)

    def run(at: int, step: int, **more: str):
        return without_memory(keeper.build / "tests" / "allocation", case.operation, at, step, how,
                              keeper.conf, f"lct:{case.key}", file, env=env | more, status=None)

    def is_libcrypto_s(line: str) -> bool:
        """SSKDF of 3.0 takes what it had no memory for: in sskdf_new, for EVP_KDF_CTX_new(3)."""
        at = re.fullmatch(r"(\d+): ended with signal 11", line)
        if at is None or how != "once-libcrypto":
            return False
        stack = keeper.path("stack")
        stack.unlink(missing_ok=True)
        run(int(at[1]), NEVER, LCT_MALLOC_LOG=str(stack))
        frames = stack.read_text().splitlines()
        return "CRYPTO_zalloc" in frames[2] and "EVP_KDF_CTX_new" in frames[4]

    done = run(first, step)
    *lines, last = done.stdout.splitlines()
    wrong = [line for line in lines
             if not re.fullmatch(r"\d+: ok", line) and not is_libcrypto_s(line)]
    assert done.returncode == 0 and not wrong and not done.stderr, \
        f"{case}, {how}: {done.stdout}{done.stderr}"
    return int(last.split()[0])


@pytest.mark.timeout(3600)  # with --allocations
@pytest.mark.parametrize("how", ["once", "onwards", "once-own"])
def test_an_operation_without_memory_fails_and_goes_on_later(keeper, without_memory, everything, how):
    for case in CASES:
        if how == "onwards" and case.operation == "file":
            continue  # OSSL_STORE of 3.0 crashes where no decoder can be had
        few = case.operation in ("module", "sign", "copy")
        attempt(keeper, without_memory, case, how, 1 if few else STEP, {"LCT_MALLOC_BY": OURS},
                everything)


def test_no_setting_is_lost_without_memory(keeper, without_memory):
    """One that is not to be had would be taken for its default."""
    for key, value in {"timeout": "never", "session": "none"}.items():
        keeper.configure(**{key: value})
        attempt(keeper, without_memory, Case("misconfigured"), "once", 1,
                {"LCT_MALLOC_BY": OURS})


@pytest.mark.parametrize("len_id", [13, 14, 15, 30])
def test_a_record_is_read_without_memory_for_its_longest_words(keeper, without_memory, len_id):
    """libjansson loses a quote that it has no room for, and reads on beyond its buffer."""
    name = "a" * len_id
    keeper.lct("create", name)
    attempt(keeper, without_memory, Case("load", name), "once", 1,
            {"LCT_MALLOC_BY": "libjansson.so.4"})
    keeper.lct("delete", name, "--yes")


@pytest.mark.timeout(7200)
def test_libcrypto_without_memory_crashes_nothing_of_ours(keeper, without_memory, everything):
    for case in CASES:
        if case.operation == "file":
            continue  # OSSL_STORE of 3.5 uses a context for decoders that it could not have
        attempt(keeper, without_memory, case, "once-libcrypto", STEP_LIBCRYPTO,
                {"LCT_MALLOC_UNDER": "lct.so"}, everything)


@pytest.mark.timeout(3600)
def test_no_algorithm_is_missing_for_ever_that_there_was_no_memory_for(keeper, without_memory,
                                                                       everything):
    """The private library context's: libcrypto makes no list of a kind twice."""
    done = without_memory(keeper.build / "tests" / "crypto", 1 if everything else STEP_CRYPTO,
                          env={})
    *wrong, last = done.stdout.splitlines()
    assert not wrong and int(last.split()[0]) > STEP_CRYPTO


def is_one_sentence(stderr: str) -> bool:
    """As lct prints an error, or what --json makes of it."""
    if stderr.startswith('{"error"'):
        return json.loads(stderr)["error"]["message"] != "" and stderr.count("\n") == 1
    return re.fullmatch(r"lct: [^\n]+\n", stderr) is not None


def fail_each(keeper, without_memory, command: str, env: dict[str, str], step: int = 1,
              more: str = ""):
    """A command says that it fails, or does not, and the store is whole."""
    count = keeper.path("count")
    words = COMMANDS[command]
    data = b"what is signed\n"
    env = env | {"LCT_MALLOC_COUNT": str(count)}
    identity = words[1]

    before = keeper.path("before")
    shutil.copytree(keeper.store, before)

    def restore():
        shutil.rmtree(keeper.store)
        shutil.copytree(before, keeper.store)

    without_memory(keeper.build / "lct", *words, stdin=data, text=False,
                   env=env | {"LCT_MALLOC_AT": str(NEVER)})
    num = int(count.read_text())
    assert num > 1
    for at in range(1, num + 1, step):
        restore()
        done = without_memory(keeper.build / "lct", *words, stdin=data, status=None, text=False,
                              env=env | {"LCT_MALLOC_AT": f"{at}{more}"})
        report = f"{command}, {at}: {done.returncode}, {done.stderr}"
        assert done.returncode == 0 or is_one_sentence(done.stderr), report
        assert 0 <= done.returncode < 30, report
        if command == "delete":
            assert (identity in keeper.in_store()) == (done.returncode != 0), report
        assert command != "create" or done.returncode != 0 or identity in keeper.in_store(), report
        if identity in keeper.in_store():
            keeper.lct("check", identity)
    restore()
    keeper.lct(*words, stdin=data, text=False)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("more", ["", "+"], ids=["once", "onwards"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_without_memory_says_so_and_the_store_is_whole(keeper, without_memory, everything,
                                                                 command, more):
    fail_each(keeper, without_memory, command, {"LCT_MALLOC_BY": OURS},
              1 if everything else STEP_COMMAND, more)


@pytest.mark.parametrize("command", ["create", "rotate"])
def test_a_record_without_memory_for_its_text_is_not_one_that_lacks_a_key(keeper, without_memory,
                                                                          command):
    """libjansson leaves out a key that it has no memory for, and says nothing."""
    fail_each(keeper, without_memory, command, {"LCT_MALLOC_IN": "json_dump_callback"})


def test_a_check_without_memory_for_its_result_does_not_leave_out_what_was_checked(
        keeper, without_memory, everything):
    count = keeper.path("count")
    words = (keeper.build / "lct", "check", "ec", "no/id", "--json")
    env = {"LCT_MALLOC_BY": "libjansson.so.4", "LCT_MALLOC_COUNT": str(count)}
    whole = without_memory(*words, env=env | {"LCT_MALLOC_AT": str(NEVER)}, status=5)
    num = int(count.read_text())
    left_out = range(OF_RECORD, 0 if everything else num - OF_RESULT)
    for at in sorted({*range(1, num + 1)} - {*left_out}):
        done = without_memory(*words, env=env | {"LCT_MALLOC_AT": str(at)}, status=None)
        report = f"{at}: {done.returncode}, {done.stdout}{done.stderr}"
        assert done.stdout in ("", whole.stdout) or "memory" in done.stdout, report
        assert done.stdout != "" or done.returncode == 1, report


# What is judged: what is right, and what is not so in one thing alone


def raw(user, what: str) -> tuple[list, list]:
    """Words that follow lct-verify, for a certification by an AK."""
    key = Prover.make_key(user.path("forger.pem"), "p256")
    forger = Forger(key.path)
    public = Forger.ecc(forger.point(), KEY)
    name = name_of(public)
    right = forger.certify(public)
    forged = {
        "signed": right | {"signature": forger.sign(right["attest"] + b"x")},
        "ak_fit": forger.certify(public, signer=qualified(name_of(forger.public()),
                                                          NULL_HIERARCHY)),
        "key_resident": forger.evidence(forger.attest(CERTIFY, sized(name) + sized(
            qualified(name, NULL_HIERARCHY))), key=sized(public))}[what]

    def words(which: str, evidence: dict) -> list:
        return [part for name, content in evidence.items() for part in (
            "--raw-certify" if name == "attest" else f"--{name}",
            user.write(f"{which}.{name}", content))] + ["--nonce", b"nonce".hex()]

    return words("right", right), words("forged", forged)


def evidence(user, what: str) -> tuple[list, list]:
    """For an answer to a challenge."""
    prover, verifier = Prover(user.path("prover")), Verifier(user)
    trust = verifier.trust(prover.root)
    challenge = verifier.challenge(prover.offer(), "--lifetime", 86400, pcrs=None)
    own = ["--trust", trust, "--state", user.path("state.json")]
    right = prover.respond(challenge)
    if what == "ek_genuine":  # whose maker is not trusted
        user.write("other.pem", pem(Prover(user.path("stranger")).root.certificate))
        other = user.write("other.json", json.dumps({"version": 1, "ek_roots": ["other.pem"]}))
        return [*own, verifier.write(right)], ["--trust", other, *own[2:], verifier.write(right)]
    forged = prover.respond(challenge, **{
        "signed": {"certify": prover.attested(to_bytes(right["certify"]["attest"]), prover.key)},
        "ak_fit": {"certify": prover.certify(challenge, signer=prover.ak_place(OWNER))},
        "ak_bound": {"activation": mac(bytes(32), challenge)},
        "key_resident": {"certify": prover.certify(challenge,
                                                   place=prover.key_place(NULL_HIERARCHY))},
        "key_usable_now": {"possession": prover.possess(challenge, prover.storage)}}[what])
    return [*own, verifier.write(right)], [*own, verifier.write(forged)]


def stated(user, role: str) -> tuple[list, list]:
    """For a statement that someone else has signed in this role."""
    judge, ring = Judge(user), Ring(user.directory)
    old, new, witness, other = (ring.key("p256", name) for name in ("old", "new", "witness",
                                                                   "other"))
    options = ["--time", stamp(NOW)]
    if role in ("subject", "signer"):
        payload, signers = end(old) if role == "subject" else said(b"x"), {role: old}
        options += ["--key", judge.file(public_pem(old))]
    else:
        payload, signers = succession(old, new), {"old": old, "new": new, "witness": witness}
        options += ["--trust", judge.trust(witness), "--old-key", judge.file(public_pem(old))]

    def signed(*forged: str) -> list:
        return [judge.file(statement(payload, *(
            (other if name in forged else key, name, {"kid": kid_of(key)})
            for name, key in signers.items()))), *options]

    return signed(), signed(role)


FORGERIES = [
    *((raw, claim) for claim in ("signed", "ak_fit", "key_resident")),
    *((evidence, claim) for claim in ("signed", "ak_fit", "ak_bound", "ek_genuine",
                                      "key_resident", "key_usable_now")),
    *((stated, role) for role in ("old", "new", "witness", "subject", "signer"))]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("make, what", [(evidence, "signed"), (stated, "signer")],
                         ids=["evidence", "statement"])
def test_a_document_without_memory_for_its_text_is_not_another(keeper, without_memory, everything,
                                                               make, what):
    """libjansson leaves out a byte that it has no memory for, and says nothing."""
    if not (keeper.build / "lct-verify").exists():
        pytest.skip("this build has no lct-verify")
    words, _ = make(keeper, what)
    count, state = keeper.path("count"), keeper.path("state.json")
    kept = state.read_bytes() if state.exists() else None

    def judge(at: int, status: int | None = None):
        if kept is not None:
            state.write_bytes(kept)
        return without_memory(keeper.build / "lct-verify", *words, status=status, env={
            "LCT_MALLOC_COUNT": str(count), "LCT_MALLOC_AT": str(at),
            "LCT_MALLOC_BY": "libjansson.so.4"})

    whole = judge(NEVER, 0)
    num, step = int(count.read_text()), 1 if everything else STEP_JSON
    assert num > step
    for at in range(1, num + 1, step):
        done = judge(at)
        report = f"{at}: {done.returncode}, {done.stdout}{done.stderr}"
        assert done.returncode in (0, 1, 22) and done.stderr.count("\n") <= 1, report
        assert done.stdout == whole.stdout if done.returncode == 0 else done.stdout == "", report


def is_believed(report: str, what: str) -> bool:
    return re.search(rf"^(pass|good|counted) +{what} ", report, re.MULTILINE) is not None


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("make, what", FORGERIES, ids=lambda each: getattr(each, "__name__", each))
def test_no_forgery_is_good_without_memory(keeper, without_memory, everything, make, what):
    """Whatever fails, libcrypto's too: what shows that it is forged is not passed over."""
    if not (keeper.build / "lct-verify").exists():
        pytest.skip("this build has no lct-verify")
    right, forged = make(keeper, what)
    state, count = keeper.path("state.json"), keeper.path("count")
    kept = state.read_bytes() if state.exists() else None

    def judge(words: list, at: str, status: int | None = None, **env: str):
        if kept is not None:
            state.write_bytes(kept)
        return without_memory(keeper.build / "lct-verify", *words, status=status, env=env | {
            "LCT_MALLOC_COUNT": str(count), "LCT_MALLOC_AT": at})

    def refuse(at: str, **env: str):
        done = judge(forged, at, **env)
        report = f"{at}, {env}: {done.returncode}\n{done.stdout}{done.stderr}"
        # Of what is not by the AK, ak_fit says what the AK's public area does.
        unsigned = what == "ak_fit" and re.search("^fail +signed ", done.stdout, re.MULTILINE)
        assert 0 < done.returncode < 30, report
        assert unsigned or not is_believed(done.stdout, what), report

    assert is_believed(judge(right, str(NEVER), 0).stdout, what)
    assert not is_believed(judge(forged, str(NEVER), 23).stdout, what)
    num = int(count.read_text())
    last, parts = (LAST_OF_ALL, BEFORE_OF_ALL) if everything else (LAST, BEFORE)
    assert num > last + parts
    before = range(FIRST, num - last + 1, (num - last) // parts)
    for at in (*before, *range(num - last + 1, num + 1), *(f"{at}+" for at in before)):
        refuse(str(at))
    for function in ("EVP_Q_digest", *ABOUT_KEYS):
        within = {"LCT_MALLOC_IN": function}
        judge(forged, str(NEVER), **within)
        num = int(count.read_text())
        assert num > STEP_WITHIN or function in ABOUT_KEYS
        for at in range(num, 0, -1 if everything else -STEP_WITHIN):
            refuse(str(at), **within)
