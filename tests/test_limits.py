# SPDX-License-Identifier: Apache-2.0
"""What lct does not stand against, shown: lines of "does not hold" in docs/threat-model.md."""

import concurrent.futures
import fcntl
import os
import pwd
import shutil
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from sealing import SEALED, measure
from test_command import NEEDS_ROOT, let_others_in
from tpm import NO_SESSIONS, Command, exchange, states_of, wait_for

ENDS = [("retire", "--yes"), ("revoke", "--reason", "compromise", "--yes"), ("delete", "--yes")]


@pytest.fixture(name="bare")
def fixture_bare(make_user, make_tpm):
    """A user whose TPM has no resource manager and nobody else, with an identity."""
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.tpm = tpm
    user.lct("create", "k")
    user.write("data")
    user.public_key("lct:k")
    return user


def sign_by_tools(user, handle: int):
    """Another program signs with what is at the handle, and the signature is lct:k's."""
    user.tpm.tool("tpm2_sign", "-c", f"{handle:#x}", "-g", "sha256", "-f", "plain", "-o",
                  user.path("sig"), user.path("data"))
    user.verify(user.path("pub.pem"), user.path("sig"), user.path("data"))
    user.path("sig").unlink()


def test_another_program_signs_with_a_key_that_is_loaded_and_keeps_it(bare, prompted):
    program = prompted(bare, "k")
    for _ in range(3):
        program.sign()
    (handle,) = bare.tpm.handles(0x80000000)
    sign_by_tools(bare, handle)
    saved = exchange(bare.tpm.path, struct.pack(">HIII", NO_SESSIONS, 14, Command.ContextSave,
                                                handle))
    program.end()
    assert bare.tpm.handles(0x80000000) == []
    bare.lct("delete", "k", "--yes")
    context = saved[10:]
    loaded = exchange(bare.tpm.path, struct.pack(">HII", NO_SESSIONS, 10 + len(context),
                                                 Command.ContextLoad) + context)
    sign_by_tools(bare, struct.unpack_from(">I", loaded, 10)[0])
    bare.tpm.flush()


@pytest.mark.parametrize("bind", [(), ("--bind",)], ids=["", "bound"])
def test_what_was_approved_with_fewer_pcrs_opens_a_later_key_of_more(sealer, authority, tpm, bind):
    sealer.lct("create", "k", "--seal", "sha256:7", *bind)
    measure(tpm, 7)
    sealer.lct("approve", *authority.options, "k")
    sealer.lct("rotate", "k", "--seal", "sha256:0,2,7", *bind)
    sealer.lct("rotate", "k", "--commit", "--overlap", "0")
    measure(tpm, 2, what="what nobody has approved")
    sealer.lct("sign", "k", stdin="x", text=False)
    measure(tpm, 7)
    sealer.lct("sign", "k", stdin="x", status=SEALED)


def test_a_key_at_a_persistent_handle_is_used_without_the_store(bare):
    bare.lct("persist", "k", "--handle", "0x81000100")
    shutil.rmtree(bare.store)
    sign_by_tools(bare, 0x81000100)


@pytest.mark.parametrize("end", ENDS, ids=lambda words: words[0])
def test_a_copy_of_a_wrapped_key_signs_after_its_identity_has_ended(bare, end):
    copy = shutil.copy(bare.store / "k" / "key-1.pem", bare.path("copy.pem"))
    bare.lct(end[0], "k", *end[1:])
    bare.openssl("dgst", "-sha256", "-sign", "lct:k", "-out", "sig", "data", status=1)
    bare.openssl("dgst", "-sha256", "-sign", copy, "-out", "sig", "data")
    bare.verify(bare.path("pub.pem"), bare.path("sig"), bare.path("data"))


def test_a_clock_that_is_set_back_begins_an_overlap_again(bare):
    bare.lct("rotate", "k")
    bare.lct("rotate", "k", "--commit", "--overlap", "3600")
    words = ("dgst", "-sha256", "-sign", "lct:k?generation=1", "-out", "sig", "data")
    clock = [bare.build / "tests/preload_time.so"]
    for shift, status in (("0", 0), ("7200", 1), ("-7200", 0)):
        bare.openssl(*words, preload=clock, env={"LCT_TIME_SHIFT": shift}, status=status)


class Attempts:
    """A program that goes on after a signature that failed."""

    def __init__(self, user):
        self.process = subprocess.Popen(
            [user.build / "tests" / "evp", "attempts", "lct:k"], cwd=user.directory, text=True,
            env=user.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def sign(self) -> str:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def end(self):
        assert self.process.communicate(timeout=30)[0] == "ok\n"


@pytest.mark.parametrize("end", ENDS[:2], ids=lambda words: words[0])
def test_an_old_record_that_is_put_back_makes_an_ended_identity_sign(bare, end):
    """In a program that was started since, and in none that has seen the end."""
    old = shutil.copytree(bare.store / "k", bare.path("old"))
    program = Attempts(bare)
    assert program.sign() == "signed\n"
    bare.lct(end[0], "k", *end[1:])
    assert program.sign().startswith("failed: lct:k")
    shutil.rmtree(bare.store / "k")
    shutil.copytree(old, bare.store / "k")
    assert program.sign().startswith("failed: lct:k")
    program.end()
    bare.lct("sign", "k", stdin="x", text=False)


LOCKERS = {
    "cert": ("cert", "k", "--remove"), "rotate": ("rotate", "k"),
    "retire": ("retire", "k", "--yes"), "revoke": ("revoke", "k", "--reason", "violation", "--yes"),
    "persist": ("persist", "k"), "delete": ("delete", "k", "--yes"),
    "commit": ("rotate", "k", "--commit"), "withdraw": ("rotate", "k", "--withdraw"),
}


def test_a_reader_who_locks_an_identity_is_waited_for_by_no_command_for_ever(bare, request):
    """All at once, since each waits ten seconds; and what only reads does not wait."""
    if not request.config.getoption("--faults"):
        pytest.skip("ten seconds of waiting: with --faults")
    directory = os.open(bare.store / "k", os.O_RDONLY)
    before = bare.record("k")
    try:
        fcntl.flock(directory, fcntl.LOCK_SH)
        bare.lct("sign", "k", stdin="x", text=False)
        bare.lct("show", "k")
        with concurrent.futures.ThreadPoolExecutor(len(LOCKERS)) as pool:
            done = list(pool.map(lambda words: bare.lct(*words, status=7), LOCKERS.values()))
    finally:
        os.close(directory)
    for name, each in zip(LOCKERS, done):
        assert "locked by another program" in each.stderr, name
    assert bare.record("k") == before and bare.in_store() == ["k"]
    assert bare.tpm.persistent() == [0x81000001]


@NEEDS_ROOT
def test_the_environment_chooses_no_tpm_and_no_store_for_who_has_raised_privileges(bare,
                                                                                   make_proxy):
    """The command and the provider, in copies that run as another user; as they are, it does."""
    if bare.preload:
        pytest.skip("a sanitizer's runtime is not preloaded into such a program")
    proxy = make_proxy(bare.tpm)
    key = shutil.copy(bare.store / "k" / "key-1.pem", bare.path("copy.pem"))
    for path in (bare.store, *bare.store.rglob("*"), Path(key)):
        path.chmod(0o755)
    bare.tcti = proxy.tcti
    let_others_in(bare)
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    env = {"LCT_TCTI": proxy.tcti, "LCT_STORE": str(bare.store), "OPENSSL_CONF": os.devnull}
    ours = ("-provider-path", bare.build, "-provider", "lct", "-provider", "default")
    for program, *words in ((bare.build / "lct", "pcrs", "sha256:7"),
                            (shutil.which("openssl"), "dgst", *ours, "-sign", key, "data")):
        raised = Path(shutil.copy(program, bare.path(f"raised.{words[0]}")))
        shutil.chown(raised, "daemon")
        raised.chmod(0o4755)
        proxy.codes.clear()
        bare.run(raised, *words, env=env, text=False, status=None, **nobody)
        assert proxy.codes == []
        bare.run(program, *words, env=env, text=False, **nobody)
        assert proxy.codes != []
    words = ("pkey", *ours, "-in", "lct:k", "-pubout")
    assert "no such identity" in bare.run(raised, *words, env=env, status=1, **nobody).stderr
    bare.run(program, *words, env=env, **nobody)


@NEEDS_ROOT
@pytest.mark.parametrize("words", [("lct", "seal"), ("lct-verify", "show", "-")],
                         ids=lambda words: words[0])
def test_no_other_process_of_the_user_looks_into_a_command(bare, words):
    """Nor does one that ends by a signal leave a core: PR_SET_DUMPABLE is 0, see proc(5)."""
    if bare.preload:
        pytest.skip("a sanitizer's runtime is not preloaded here")
    let_others_in(bare)
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    owners = {}
    for arguments in ([bare.build / words[0], *words[1:]], ["sleep", "60"]):
        with subprocess.Popen(arguments, cwd=bare.directory, env=bare.environment(),
                              stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              **nobody) as process:
            wait_for(lambda pid=process.pid: states_of(pid) == {"S"}, "it to wait")
            owners[str(arguments[0])] = Path(f"/proc/{process.pid}/mem").stat().st_uid
            process.send_signal(signal.SIGKILL)
    assert list(owners.values()) == [0, pwd.getpwnam("nobody").pw_uid]
