# SPDX-License-Identifier: Apache-2.0
"""What lct says of what it does: the trace, the audit of signatures, numbers for Prometheus."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest

import sealing
from test_command import NEEDS_ROOT, let_others_in
from test_tls import connect, start_server
from tpm import RC_RETRY, SRK, TIMEOUT, Command

SECRET, WRONG = "correct horse battery staple", "quite another one"
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z lct\[(\d+)\] (\S.*)")
EVENT = re.compile(
    r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z event=(?P<event>sign|release) "
    r"identity=(?P<identity>\S+) generation=(?P<generation>\d+) name=(?P<name>[0-9a-f]{68}|-) "
    r"digest=(?P<digest>\S+) result=(?P<result>ok|refused) status=(?P<status>\d+) "
    r"pid=(?P<pid>\d+) uid=(?P<uid>\d+) euid=(?P<euid>\d+) program=\"(?P<program>[^\"]*)\"")
SAMPLE = re.compile(r'([a-z_]+)(?:\{([a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="[^"\\\n]*")*)\})? '
                    r"(-?[0-9.e+]+)")


@pytest.fixture(name="wary")
def fixture_wary(make_tpm, make_user):
    """A user with an identity k that takes a passphrase, in a TPM that counts one wrong one."""
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.trace, user.audit = user.path("trace"), user.path("audit")
    user.env["LCT_LOG"] = str(user.trace)
    user.configure(session="always", audit=str(user.audit))
    user.secret, user.wrong = user.write("secret", SECRET), user.write("wrong", WRONG)
    user.write("data")
    user.lct("create", "k", "--passphrase-file", user.secret)
    yield user
    assert tpm.property(0x20E) == tpm.lockout_count + 1
    tpm.lockout_count += 1


@pytest.fixture(name="audited")
def fixture_audited(owner):
    """A user whose signatures are audited in a file."""
    owner.audit = owner.path("audit")
    owner.configure(audit=str(owner.audit))
    return owner


def trace(user) -> list[str]:
    """What the lines say, each of which is whole."""
    found = [LINE.fullmatch(line) for line in user.trace.read_text().splitlines()]
    assert all(found)
    return [match[2] for match in found]


def events(user) -> list[dict]:
    lines = user.audit.read_text().splitlines() if user.audit.exists() else []
    found = [EVENT.fullmatch(line) for line in lines]
    assert all(found), lines
    return [match.groupdict() for match in found]


def sign(user, uri: str = "lct:ec", **options):
    return user.openssl("dgst", "-sha256", "-sign", uri, "-out", "sig", "data", **options)


def test_a_trace_has_a_line_for_each_command(owner, proxy):
    owner.configure(tcti=proxy.tcti)
    owner.trace = owner.path("trace")
    sign(owner, env={"LCT_LOG": str(owner.trace)})
    said = trace(owner)
    assert said[0].startswith("lct ") and "openssl, user " in said[0]
    assert str(owner.store) in said[0]
    assert any(line.startswith("lct:ec: its key is read: generation 1") for line in said)
    assert any(line.startswith(f"connecting to {proxy.tcti}: success, ") for line in said)
    sent = [re.fullmatch(r"TPM2_(\w+)((?: [0-9a-f]{8})*): success(?:, gives ([0-9a-f]{8}))?, "
                         r"\d+\.\d{3} ms", line) for line in said if line.startswith("TPM2_")]
    assert [match[1] for match in sent] == [code.name for code in proxy.codes]
    load, made = sent[0], sent[1]
    assert (load[1], load[2]) == ("Load", f" {SRK:08x}")
    assert (made[1], made[2]) == ("Sign", f" {load[3]}")
    assert stat.S_IMODE(owner.trace.stat().st_mode) == 0o600


def test_a_trace_says_what_is_refused_and_sent_again(owner, proxy):
    owner.configure(tcti=proxy.tcti)
    owner.trace = owner.path("trace")
    proxy.refuse(Command.Sign, RC_RETRY, nth=1)
    sign(owner, env={"LCT_LOG": str(owner.trace)})
    first, second = [line for line in trace(owner) if line.startswith("TPM2_Sign")]
    assert ": 0x922 " in first and "sent again" not in first
    assert ": success, " in second and second.endswith(", sent again: 1")


def test_a_trace_says_that_a_connection_broke(owner, proxy):
    owner.configure(tcti=proxy.tcti)
    owner.trace = owner.path("trace")
    proxy.hook(Command.Sign, lambda _command, _ask: b"", nth=1)
    sign(owner, env={"LCT_LOG": str(owner.trace)})
    said = trace(owner)
    assert any(re.match(r"TPM2_Sign [0-9a-f]{8}: failed: ", line) for line in said)
    assert "lct:ec: begun again, since the connection broke" in said


def test_a_program_s_name_does_not_write_to_the_terminal_of_who_reads(audited):
    audited.trace = audited.path("trace")
    program = audited.path("a\x1b[2J\x9b2J\u69db")
    shutil.copy(audited.build / "lct", program)
    audited.run(program, "sign", "ec", stdin="x", text=False, env={"LCT_LOG": str(audited.trace)})
    for line in (trace(audited)[0], events(audited)[0]["program"]):
        assert "/a?[2J??2J\u69db" in line


def test_nothing_is_traced_that_nobody_asked_for(owner):
    before = set(owner.directory.iterdir())
    assert sign(owner).stderr == ""
    assert sign(owner, env={"LCT_LOG": "none"}).stderr == ""
    assert set(owner.directory.iterdir()) - before == {owner.path("sig")}


def test_a_trace_may_go_to_standard_error_and_be_configured(owner):
    assert "TPM2_Sign" in sign(owner, env={"LCT_LOG": "stderr"}).stderr
    owner.configure(log="stderr")
    assert "TPM2_Sign" in owner.lct("sign", "ec", stdin="x", text=False).stderr
    assert sign(owner, env={"LCT_LOG": "none"}).stderr == ""


def test_no_secret_is_in_a_trace(wary):
    """Passphrases, right and wrong, and what is sealed: in no form of theirs."""
    data = "what is sealed, and nobody's business"
    sign(wary, "lct:k", status=1)
    wary.openssl("dgst", "-sha256", "-sign", "lct:k", "-passin", f"pass:{SECRET}", "-out", "sig",
                 "data")
    wary.lct("sign", "k", "--passphrase-file", wary.wrong, stdin="x", status=12)
    sealed = wary.lct("seal", "--passphrase-file", wary.secret, stdin=data).stdout
    opened = wary.lct("unseal", "-", "--passphrase-file", wary.secret, stdin=sealed)
    assert opened.stdout == data
    said = "\n".join(trace(wary)) + wary.audit.read_text()
    assert "TPM2_Unseal" in said and "TPM2_Create" in said and ", with a passphrase" in said
    for text in (SECRET, WRONG, data):
        raw = text.encode()
        for form in (text, raw.hex(), hashlib.sha256(raw).hexdigest()):
            assert form not in said


@pytest.mark.parametrize("value", ["trace", "syslog", "syslog:/dev/log", ""])
def test_a_trace_to_no_place_that_there_is_is_a_wrong_configuration(owner, value):
    assert "LCT_LOG: log" in owner.lct("list", env={"LCT_LOG": value}, status=8).stderr
    assert "LCT_LOG: log" in sign(owner, env={"LCT_LOG": value}, status=1).stderr


@pytest.mark.parametrize("where, why", [
    ("link", "a link"), ("fifo", "no regular file"), (".", "Is a directory"), ("missing/x", "No such")])
def test_a_trace_that_cannot_be_written_keeps_nothing_from_working(owner, where, why):
    os.mkfifo(owner.path("fifo"))
    owner.path("link").symlink_to(owner.write("target", ""))
    env = {"LCT_LOG": str(owner.path(where))}
    said = owner.lct("list", env=env).stderr
    assert said.startswith("lct: warning: no trace is kept: ") and why in said
    assert sign(owner, env=env).stderr == ""
    assert owner.path("target").read_text() == ""
    found = json.loads(owner.lct("doctor", "--json", env=env).stdout)
    assert [row["severity"] for row in found if "no trace" in row["text"]] == ["warning"]


def test_a_trace_that_nobody_reads_any_more_kills_no_program(owner):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(["openssl", "dgst", "-sha256", "-sign", "lct:ec", "-out", "sig", "data"],
                          cwd=owner.directory, env=owner.environment({"LCT_LOG": "stderr"}),
                          stderr=writing, check=False, timeout=60)
    os.close(writing)
    assert done.returncode == 0


def run_process(user, *arguments, **env):
    """tests/process.c, whose leak check would ask for a thread in a jail."""
    done = user.run(user.build / "tests" / "process", *arguments,
                    env={"ASAN_OPTIONS": "detect_leaks=0:exitcode=99"} | env)
    assert done.stdout == "ok\n"


def test_lines_of_threads_and_children_do_not_mix(audited):
    audited.trace = audited.path("trace")
    env = {"LCT_LOG": str(audited.trace)}
    run_process(audited, "threads", "100", "lct:ec", **env)
    run_process(audited, "crowd", "4", "lct:ec", **env)
    signed = sum(line.startswith("TPM2_Sign") and "success" in line for line in trace(audited))
    assert len(events(audited)) == signed > 100
    assert len({event["pid"] for event in events(audited)}) > 4


def test_a_key_that_is_not_loaded_any_more_is_not_in_the_audit(audited):
    audited.lct("retire", "ec", "--yes")
    audited.lct("sign", "ec", stdin="data", status=25)
    sign(audited, status=1)
    assert [(event["identity"], event["result"]) for event in events(audited)] == [("ec", "ok")], (
        "the statement of the end alone")


@pytest.mark.parametrize("arguments, number", [((), 2), (("ec",), 3)])
def test_the_doctor_s_signatures_are_in_the_audit(audited, arguments, number):
    audited.lct("doctor", *arguments)
    assert [event["result"] for event in events(audited)] == number * ["ok"]


def test_trace_and_audit_go_on_in_a_jail(make_user, device):
    """In a chroot, and as another user, with what was opened before."""
    user = make_user(device.tcti)
    user.trace, user.audit, jail = user.path("trace"), user.path("audit"), user.path("jail")
    jail.mkdir()
    user.lct("create", "k")
    user.configure(audit=str(user.audit))
    run_process(user, "jail", jail, "65534", "3", "lct:k", LCT_LOG=str(user.trace))
    assert {event["uid"] for event in events(user)} == {"65534"}
    assert sum(line.startswith("TPM2_Sign") for line in trace(user)) >= len(events(user))


def test_a_number_that_the_host_uses_again_is_not_written_to(audited):
    """The test itself sees to it that nothing is; trace and audit go on all the same."""
    audited.trace = audited.path("trace")
    run_process(audited, "descriptors", audited.path("file"), "lct:ec",
                LCT_LOG=str(audited.trace))
    assert len(events(audited)) == 3
    assert sum(line.startswith("TPM2_Sign") for line in trace(audited)) == 3
    run_process(audited, "inherits", "lct:ec", LCT_LOG=str(audited.trace))


@pytest.mark.parametrize("key", ["ec", "p384", "rsa"])
def test_each_signature_of_a_program_is_audited(audited, key):
    sign(audited, f"lct:{key}")
    (event,) = events(audited)
    record = audited.record(key)["generations"][0]
    digest = hashlib.sha256(audited.path("data").read_bytes()).hexdigest()
    kind = "sha384:" if key == "p384" else "sha256:"
    assert event["digest"].startswith(kind) and event["digest"].endswith(digest)
    assert (event["event"], event["identity"], event["generation"]) == ("sign", key, "1")
    assert (event["result"], event["status"]) == ("ok", "0")
    assert event["name"] == record["name"] and event["uid"] == str(os.getuid())
    assert event["program"] == shutil.which("openssl")
    assert stat.S_IMODE(audited.audit.stat().st_mode) == 0o600


def test_each_signature_of_a_command_is_audited(audited):
    def grows(*arguments, **options) -> list[dict]:
        before = len(events(audited))
        done = audited.lct(*arguments, **options)
        assert len(events(audited)) > before, arguments
        return done

    grows("sign", "ec", stdin="x", text=False)
    grows("csr", "ec")
    grows("check", "ec")
    grows("doctor", "ec")
    audited.write("offer", audited.lct("attest", "offer", "ec").stdout)
    grows("rotate", "ec")
    assert {event["generation"] for event in events(audited)} == {"1", "2"}
    grows("retire", "ec", "--yes")
    assert all(event["program"].endswith("/lct") for event in events(audited))


def test_a_refused_signature_is_audited(wary):
    made = len(events(wary))
    wary.lct("sign", "k", "--passphrase-file", wary.wrong, stdin="x", status=12)
    (event,) = events(wary)[made:]
    assert (event["identity"], event["result"], event["status"]) == ("k", "refused", "12")


def test_a_key_file_of_no_identity_is_audited_by_its_name(audited):
    audited.write("k.pem", (audited.store / "ec" / "key-1.pem").read_bytes())
    sign(audited, "k.pem")
    (event,) = events(audited)
    assert event["identity"] == "-"
    assert event["name"] == audited.record("ec")["generations"][0]["name"]


@pytest.mark.parametrize("where", ["missing/audit", "link", "fifo"])
def test_without_its_audit_nothing_is_signed(owner, where):
    os.mkfifo(owner.path("fifo"))
    owner.path("link").symlink_to(owner.write("target", ""))
    owner.configure(audit=str(owner.path(where)))
    said = sign(owner, status=1).stderr
    assert "lct:ec" in said and "audit" in said and not owner.path("sig").read_bytes()
    done = owner.lct("sign", "ec", stdin="x", status=18)
    assert done.stdout == "" and str(owner.path(where)) in done.stderr
    assert len(json.loads(owner.lct("list", "--json").stdout)) == 4
    found = json.loads(owner.lct("doctor", "--json", status=8).stdout)
    assert any(row["severity"] == "problem" and "audit" in row["text"] for row in found)
    assert owner.path("target").read_text() == ""


@pytest.mark.parametrize("value", ["stderr", "audit", "", "syslog:", "syslog:log"])
def test_an_audit_that_is_none_is_a_wrong_configuration(owner, value):
    owner.configure(audit=value)
    if value:
        assert "audit" in owner.lct("list", status=8).stderr
    sign(owner, status=1)


def test_no_environment_takes_the_audit_away(audited):
    for name in ("LCT_AUDIT", "LCT_LOG"):
        sign(audited, env={name: "none"})
    assert len(events(audited)) == 2


def limit(size: int):
    """As on a full disk: files cannot grow beyond that. A program would end of the signal."""
    def apply():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return {"preexec_fn": apply}


def test_on_a_full_disk_nothing_is_signed(audited):
    if audited.build.name == "coverage":
        pytest.skip("what counts lines writes files, too")
    sign(audited)
    whole = audited.audit.stat().st_size
    for size in (whole, whole + 100):  # no byte of the next line fits, or a part of it
        done = audited.lct("sign", "ec", stdin="x", status=18, **limit(size))
        assert done.stdout == "" and "audit" in done.stderr
        assert audited.audit.stat().st_size == size


def test_a_torn_line_is_ended_by_the_next_one(audited):
    """In a program that goes on, and gets room again."""
    certificate = audited.certificate("lct:ec")
    server, port = start_server(audited, "-key", "lct:ec", "-cert", certificate, "-naccept", "2")
    pid, whole = server.process.pid, audited.audit.stat().st_size
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (whole + 100, unlimited[1]))
    connect(audited, port, "-CAfile", certificate, status=1)
    assert audited.audit.stat().st_size == whole + 100
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    connect(audited, port, "-CAfile", certificate)
    lines = audited.audit.read_text().splitlines()
    assert [bool(EVENT.fullmatch(line)) for line in lines][-2:] == [False, True]


@pytest.fixture(name="syslog")
def fixture_syslog(owner):
    """A socket as the system's log has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(owner.path("log")))
        log.settimeout(10)
        owner.configure(audit=f"syslog:{owner.path('log')}")
        yield log


def test_the_system_s_log_gets_the_audit(owner, syslog):
    sign(owner)
    prefix, _, line = syslog.recv(4096).decode().partition(": ")
    event = EVENT.fullmatch(line)
    assert event["identity"] == "ec" and prefix == f"<86>lct[{event['pid']}]"


def fill(path):
    """From now on that socket takes nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        other.connect(str(path))
        with pytest.raises(BlockingIOError):
            while True:
                other.send(b"x" * 1000)


@pytest.mark.usefixtures("syslog")
def test_signals_make_nobody_wait_longer_for_a_log_that_takes_nothing(owner):
    """Each of them begins the wait in the kernel anew: signal(7)."""
    fill(owner.path("log"))
    process = subprocess.Popen([owner.build / "lct", "sign", "ec"], env=owner.environment(),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    for _ in range(50):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.2)
            break
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGCONT)
    process.kill()
    assert process.communicate()[0] == b"" and process.returncode == 18


def test_a_log_that_is_gone_or_takes_nothing_keeps_signatures_back(owner, syslog):
    fill(owner.path("log"))
    start = time.monotonic()
    owner.lct("sign", "ec", stdin="x", status=18)
    assert 1 < time.monotonic() - start < 10
    syslog.close()
    owner.lct("sign", "ec", stdin="x", status=18)


def test_a_log_that_was_started_again_gets_the_audit_of_programs_that_run(owner, syslog):
    certificate = owner.certificate("lct:ec")
    _, port = start_server(owner, "-key", "lct:ec", "-cert", certificate)
    syslog.close()
    owner.path("log").unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(owner.path("log")))
        log.settimeout(10)
        connect(owner, port, "-CAfile", certificate)
        assert b"event=sign identity=ec" in log.recv(4096)


def test_a_key_in_software_is_audited_when_a_program_gets_it(audited):
    secret = audited.write("secret", SECRET)
    audited.lct("create", "s", "--software", "--algorithm", "ed25519", "--passphrase-file", secret)
    made = len(events(audited))
    raw = ("pkeyutl", "-sign", "-rawin", "-inkey", "lct:s", "-in", "data", "-out", "sig")
    audited.openssl(*raw, status=1)
    assert len(events(audited)) == made
    audited.openssl(*raw, "-passin", f"pass:{SECRET}")
    audited.lct("sign", "s", "--passphrase-file", secret, stdin="x", text=False)
    released, signed = events(audited)[made:]
    assert (released["event"], released["identity"], released["name"]) == ("release", "s", "-")
    assert (signed["event"], signed["identity"], signed["result"]) == ("sign", "s", "ok")
    assert signed["digest"] == "sha256:" + hashlib.sha256(b"x").hexdigest()
    nowhere = audited.path("missing/audit")
    audited.write("ref", audited.lct("pem", "s").stdout)
    for settings, given in (({}, ["-passin", f"pass:{SECRET}"]), ({"passphrase_file": secret}, [])):
        audited.configure(audit=str(nowhere), **settings)
        for key in ("lct:s", "ref"):
            said = audited.openssl("pkey", "-in", key, "-noout", *given, status=1).stderr
            assert re.search(r":error:\w+:lct:.*lct:s .*to the audit \(", said), said
            assert str(nowhere) in said and "passphrase" not in said


def metrics(text: str) -> dict[str, dict[str, float]]:
    """Samples by name and labels. Each family is said once, what it is first."""
    found, name = {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            assert name not in found
            found[name] = {}
        elif line.startswith("# TYPE "):
            assert line == f"# TYPE {name} gauge"
        else:
            match = SAMPLE.fullmatch(line)
            assert match and match[1] == name and (match[2] or "") not in found[name], line
            found[name][match[2] or ""] = float(match[3])
    return found


@pytest.fixture(name="held")
def fixture_held(make_tpm, make_user):
    """Who has a TPM of its own, and in it a sealed identity with a certificate."""
    tpm = make_tpm()
    user = make_user(tpm.tcti)
    user.tpm = tpm
    user.lct("create", "web", "--seal", "strict:sha256:7")
    user.lct("cert", "web", "--set", user.certificate("lct:web"))
    return user


def snapshot(user) -> dict:
    return {path: path.read_bytes() for path in user.store.rglob("*") if path.is_file()}


def test_the_metrics_are_what_is_so(held):
    before, kept = snapshot(held), held.tpm.handles(0x81000000)
    held.configure(audit=str(held.path("audit")))
    text = held.lct("doctor", "--metrics").stdout
    found = metrics(text)
    if promtool := shutil.which("promtool"):
        held.run(promtool, "check", "metrics", stdin=text)
    for name in ("lct_tpm_up", "lct_tpm_software", "lct_tpm_storage_root_key_usable",
                 "lct_audit_up"):
        assert found[name] == {"": 1}
    assert found["lct_tpm_wrong_authorizations_limit"][""] == held.tpm.property(0x20F)
    assert found["lct_tpm_persistent_slots_free"][""] == held.tpm.property(0x209)
    assert found["lct_signatures_per_second"]['algorithm="ec-p256"'] > 1
    assert sum(found["lct_identities"].values()) == 1
    assert found["lct_identities"]['custody="tpm",state="active"'] == 1
    assert found["lct_identity_seal_open"] == {'id="web"': 1}
    expiry = held.openssl("x509", "-in", "crt.pem", "-noout", "-enddate").stdout.split("=")[1]
    assert found["lct_certificate_not_after_timestamp_seconds"] == {
        'id="web"': time.mktime(time.strptime(expiry.strip(), "%b %d %H:%M:%S %Y GMT"))
        - time.timezone}
    assert snapshot(held) == before and held.tpm.handles(0x81000000) == kept
    assert not held.path("audit").read_text(), "it signs with no identity's key"


def test_the_metrics_say_what_is_wrong(held):
    sealing.measure(held.tpm, 7)
    shutil.copytree(held.store / "web", held.store / "other")
    found = metrics(held.lct("doctor", "--metrics").stdout)
    assert found["lct_identity_seal_open"] == {'id="web"': 0}
    assert found["lct_identities_damaged"] == {"": 1}
    held.tpm.stop()
    found = metrics(held.lct("doctor", "--metrics").stdout)
    assert found["lct_tpm_up"] == {"": 0} and "lct_signatures_per_second" not in found
    assert len(found["lct_certificate_not_after_timestamp_seconds"]) == 1


def test_a_file_of_metrics_is_replaced_in_one_step(held):
    held.tpm.stop()
    out = held.path("lct.prom")
    out.symlink_to(held.write("elsewhere", "kept"))
    assert held.lct("doctor", "--metrics", "--out", out).stdout == ""
    assert not out.is_symlink() and held.path("elsewhere").read_text() == "kept"
    found = metrics(out.read_text())
    assert found["lct_tpm_up"] == {"": 0} and found["lct_identity_seal_open"] == {'id="web"': 0}
    assert [name for name in found if name.startswith("lct_tpm_")] == ["lct_tpm_up"]
    assert "lct_audit_up" not in found, "none is configured"
    assert stat.S_IMODE(out.stat().st_mode) == 0o644
    assert list(held.directory.glob("lct.prom*")) == [out]
    held.lct("doctor", "--metrics", "--out", held.path("missing/lct.prom"), status=18)


def test_two_at_once_do_not_replace_a_file_by_half_of_one(held):
    held.tpm.stop()
    out = held.write("lct.prom", "whole")
    with open(held.path("lct.prom.lct-new"), "w", encoding="utf-8") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "busy" in held.lct("doctor", "--metrics", "--out", out, status=18).stderr
        assert out.read_text() == "whole" and held.path("lct.prom.lct-new").exists()
    held.lct("doctor", "--metrics", "--out", out)
    assert list(held.directory.glob("lct.prom*")) == [out]


class Replacing:
    """A program that writes metrics to a file and stops at a step, as preload_fs.c has them."""

    def __init__(self, user, out, step: int, action: str):
        self.program = subprocess.Popen(
            [user.build / "lct", "doctor", "--metrics", "--out", out], cwd=user.directory,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=user.environment(*stopping(user, out, LCT_FS_STEP=str(step),
                                           LCT_FS_ACTION=action)))
        came = os.waitid(os.P_PID, self.program.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert came.si_code == os.CLD_STOPPED

    def go_on(self) -> tuple[int, str]:
        """To its end: its exit status and what it says."""
        self.program.send_signal(signal.SIGCONT)
        _, said = self.program.communicate(timeout=TIMEOUT)
        return self.program.returncode, said


def stopping(user, out, **env: str) -> tuple[dict, list]:
    return ({"LCT_FS_BELOW": str(out.parent)} | env,
            [user.build / "tests" / "preload_fs.so"])


def steps_of(user, out) -> list[str]:
    """The steps of writing metrics to a file that is not there."""
    log = user.path("steps")
    env, preload = stopping(user, out, LCT_FS_LOG=str(log))
    user.lct("doctor", "--metrics", "--out", out, env=env, preload=preload)
    out.unlink()
    return log.read_text().split()


@pytest.fixture(name="out")
def fixture_out(held) -> Path:
    """Where metrics go to; there is no TPM, which takes time, and is not asked."""
    held.tpm.stop()
    out = held.path("metrics/lct.prom")
    out.parent.mkdir()
    return out


def test_of_two_that_begin_at_once_neither_takes_the_other_s_file(held, out):
    made = steps_of(held, out).index("open") + 1
    first, second = (Replacing(held, out, made, "stop-after") for _ in range(2))
    for program in (first, second):
        assert program.go_on() == (0, "")
        assert metrics(out.read_text())["lct_tpm_up"] == {"": 0}
        out.unlink()
    assert not list(out.parent.iterdir())


def test_who_finds_no_file_beside_it_takes_none_away_that_was_made_then(held, out):
    steps = steps_of(held, out)
    late = Replacing(held, out, 1, "stop")
    first = Replacing(held, out, steps.index("write") + 1, "stop")
    status, said = late.go_on()
    assert status == 18 and "busy" in said and not out.exists()
    assert first.go_on() == (0, "")
    assert metrics(out.read_text())["lct_tpm_up"] == {"": 0}
    assert list(out.parent.iterdir()) == [out]


def test_what_a_crash_has_left_beside_a_file_is_removed_whatever_its_mode(held, out):
    left = out.with_name("lct.prom.lct-new")
    left.touch(mode=0o400)
    held.lct("doctor", "--metrics", "--out", out)
    assert list(out.parent.iterdir()) == [out]


def make_socket(path: Path):
    """By its directory's descriptor, since a socket's name is of 107 bytes at most."""
    there = os.open(path.parent, os.O_PATH)
    socket.socket(socket.AF_UNIX).bind(f"/proc/self/fd/{there}/{path.name}")
    os.close(there)


ODD = {"a link": lambda left: left.symlink_to("/nowhere"),
       "a link to a file": lambda left: left.symlink_to(left.with_name("kept")),
       "a pipe": os.mkfifo,
       "a socket": make_socket}


@pytest.mark.parametrize("kind", ODD)
def test_what_nobody_can_have_locked_beside_a_file_is_removed(held, out, kind):
    kept = out.with_name("kept")
    kept.write_text("kept")
    ODD[kind](out.with_name("lct.prom.lct-new"))
    held.lct("doctor", "--metrics", "--out", out)
    assert sorted(out.parent.iterdir()) == [kept, out] and kept.read_text() == "kept"
    assert out.is_file() and not out.is_symlink()


def test_of_two_that_find_a_link_beside_a_file_one_removes_it(held, out):
    """Else the later one would remove what the earlier has made in its place."""
    left = out.with_name("lct.prom.lct-new")
    left.symlink_to("/nowhere")
    assert steps_of(held, out)[0] == "unlink"
    left.symlink_to("/nowhere")
    first = Replacing(held, out, 1, "stop")
    assert "busy" in held.lct("doctor", "--metrics", "--out", out, status=18).stderr
    assert left.is_symlink() and not out.exists()
    assert first.go_on() == (0, "")
    assert list(out.parent.iterdir()) == [out]


def test_a_directory_beside_a_file_is_left(held, out):
    left = out.with_name("lct.prom.lct-new")
    left.mkdir()
    said = held.lct("doctor", "--metrics", "--out", out, status=18).stderr
    assert f"{left} cannot be written: Is a directory" in said and left.is_dir()


@NEEDS_ROOT
def test_another_user_s_file_beside_a_file_is_told_to_be_removed(held, out):
    """Whether that one writes it cannot be known."""
    let_others_in(held)
    os.chown(out.parent, 65534, 65534)
    left = out.with_name("lct.prom.lct-new")
    left.touch(mode=0o600)
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    said = held.lct("doctor", "--metrics", "--out", out, status=18, **nobody).stderr
    assert f"{left} cannot be written: Permission denied; remove it, unless" in said
    left.unlink()
    out.parent.chmod(0o555)
    said = held.lct("doctor", "--metrics", "--out", out, status=18, **nobody).stderr
    assert f"{left} cannot be written: Permission denied\n" in said
    out.parent.chmod(0o755)
    held.lct("doctor", "--metrics", "--out", out, **nobody)
    assert list(out.parent.iterdir()) == [out]


def test_metrics_take_no_device_s_place(held):
    held.tpm.stop()
    pipe = held.path("pipe")
    os.mkfifo(pipe)
    held.path("link").symlink_to(pipe)
    for out in (pipe, held.path("link")):
        assert "is no file" in held.lct("doctor", "--metrics", "--out", out, status=18).stderr
    assert pipe.is_fifo() and held.path("link").is_symlink()


@pytest.mark.parametrize("arguments", [
    ["--out", "x"], ["--metrics", "--json"], ["--metrics", "ec"], ["--metrics", "--root", "/tmp"]])
def test_metrics_are_of_the_machine_and_nothing_else(owner, arguments):
    assert "--metrics" in owner.lct("doctor", *arguments, status=2).stderr
