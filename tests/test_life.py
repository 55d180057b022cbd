# SPDX-License-Identifier: Apache-2.0
"""The life of an identity: a key is followed by another, goes on for a while, comes to its end."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest

from apps import free_port
from attesting import Verifier, canonical, to_bytes
from sealing import SEALED
from test_certs import blocks, fixture_holder, fixture_pki  # noqa: F401
from test_command import one_sentence
from test_store import ENOUGH, run_failing, steps_of
from test_web_servers import start_nginx
from tpm import TIMEOUT, wait_for

ENDED = 25
DAY = 24 * 3600
TIME = "%Y-%m-%dT%H:%M:%SZ"


class Statement:
    """A statement, taken apart: what is in it, and who has signed it as what."""

    def __init__(self, text: str):
        assert text.count("\n") == 1 and text.endswith("\n"), "one line"
        self.whole = json.loads(text)
        assert sorted(self.whole) == ["payload", "signatures"]
        self.payload = json.loads(to_bytes(self.whole["payload"]))
        self.headers = [json.loads(to_bytes(one["protected"])) for one in self.whole["signatures"]]
        self.roles = sorted(header["role"] for header in self.headers)

    def kid(self, role: str) -> str:
        (kid,) = [header["kid"] for header in self.headers if header["role"] == role]
        return kid


def kid_of(user, public) -> str:
    der = user.openssl("pkey", "-pubin", "-in", public, "-pubout", "-outform", "DER", text=False)
    return hashlib.sha256(der.stdout).hexdigest()


def public_of(user, uri: str, name: str):
    """Its public key, which loads whatever became of the private one."""
    user.openssl("pkey", "-pubin", "-in", uri, "-pubout", "-out", user.path(name))
    return user.path(name)


def end_overlap(user, name: str, seconds: float = -1):
    """As if the time had come; or it comes in a moment."""
    until = (datetime.now(timezone.utc) + timedelta(seconds=seconds)).strftime(TIME)

    def change(record):
        for generation in record["generations"]:
            if "until" in generation:
                generation["until"] = until

    user.edit_record(name, change)


def signs(user, uri: str, public, status: int = 0) -> str:
    """Signs with a URI, and verifies in software; or is refused."""
    user.path("data").exists() or user.write("data")
    done = user.openssl("dgst", "-sha256", "-sign", uri, "-out", "sig", "data",
                        status=None if status else 0)
    if status:
        assert done.returncode != 0
        return done.stderr
    user.verify(public, user.path("sig"), user.path("data"))
    return ""


def refused(user, name: str) -> str:
    """What the command says of a key that signs no more."""
    return one_sentence(user.lct("sign", name, stdin="x", status=ENDED).stderr)


def shown(user, name: str) -> dict:
    return json.loads(user.lct("show", name, "--json").stdout)


def stages(user, name: str) -> dict[int, str]:
    return {row["generation"]: row["stage"] for row in shown(user, name)["generations"]}


def files(user, name: str) -> list[str]:
    return sorted(path.name for path in (user.store / name).iterdir())


# A key follows another.


@pytest.mark.parametrize("name", ["ec", "p384", "rsa"])
def test_rotate_makes_a_pending_key_and_a_statement_that_both_keys_sign(owner, name):
    old = public_of(owner, f"lct:{name}", "old.pem")
    done = owner.lct("rotate", name)
    statement = Statement(done.stdout)
    assert f"lct csr {name} --generation 2" in done.stderr
    new = public_of(owner, f"lct:{name}?generation=2", "new.pem")
    said = statement.payload
    assert (said["type"], said["id"], said["counter"], said["reason"]) == (
        "lct-succession", name, 1, "superseded")
    assert said["evidence"] is None
    assert (said["old"]["generation"], said["new"]["generation"]) == (1, 2)
    assert said["old"]["algorithm"] == said["new"]["algorithm"]
    assert statement.roles == ["new", "old"]
    assert statement.kid("old") == kid_of(owner, old)
    assert statement.kid("new") == kid_of(owner, new)
    names = [row["name"] for row in owner.record(name)["generations"]]
    assert [said["old"]["name"], said["new"]["name"]] == names
    assert stages(owner, name) == {1: "active", 2: "pending"}
    assert owner.lct("rotate", name, "--statement").stdout == done.stdout


def test_any_jose_library_verifies_the_statement(owner):
    jwk = pytest.importorskip("jwcrypto.jwk")
    jws = pytest.importorskip("jwcrypto.jws")
    text = owner.lct("rotate", "ec").stdout
    for uri in ("lct:ec", "lct:ec?generation=2"):
        key = jwk.JWK.from_pem(public_of(owner, uri, "key.pem").read_bytes())
        token = jws.JWS()
        token.deserialize(text)
        token.allowed_algs = ["ES256"]
        token.verify(key)
        assert json.loads(token.payload)["id"] == "ec"


def test_until_it_is_the_active_one_the_identity_is_the_old_key(owner):
    old = public_of(owner, "lct:ec", "old.pem")
    owner.lct("rotate", "ec")
    new = public_of(owner, "lct:ec?generation=2", "new.pem")
    assert old.read_bytes() != new.read_bytes()
    signs(owner, "lct:ec", old)
    signs(owner, "lct:ec?generation=1", old)
    signs(owner, "lct:ec?generation=2", new)


def test_commit_makes_it_the_active_one_and_the_old_one_signs_for_a_day(owner):
    old = public_of(owner, "lct:ec", "old.pem")
    owner.lct("rotate", "ec")
    new = public_of(owner, "lct:ec?generation=2", "new.pem")
    before = datetime.now(timezone.utc)
    said = owner.lct("rotate", "ec", "--commit").stdout
    assert "generation 2 is the active one now" in said
    until = owner.record("ec")["generations"][0]["until"]
    assert until in said
    lasts = datetime.strptime(until, TIME).replace(tzinfo=timezone.utc) - before
    assert abs(lasts.total_seconds() - DAY) < 60
    assert stages(owner, "ec") == {1: "overlap", 2: "active"}
    signs(owner, "lct:ec", new)
    signs(owner, "lct:ec?generation=1", old)
    owner.lct("check", "ec")


def test_after_the_overlap_the_old_key_verifies_and_signs_no_more(owner):
    old = public_of(owner, "lct:ec", "old.pem")
    signs(owner, "lct:ec", old)
    shutil.copy(owner.path("sig"), owner.path("old.sig"))
    owner.lct("rotate", "ec")
    owner.lct("rotate", "ec", "--commit")
    end_overlap(owner, "ec")
    assert stages(owner, "ec") == {1: "superseded", 2: "active"}
    assert "  generation 1  superseded since 20" in owner.lct("show", "ec").stdout
    said = signs(owner, "lct:ec?generation=1", old, status=ENDED)
    assert "key not to be used any more" in said
    assert "generation 1 was followed by another" in said and "generation 2 does" in said
    owner.openssl("dgst", "-sha256", "-verify", public_of(owner, "lct:ec?generation=1", "1.pem"),
                  "-signature", "old.sig", "data")
    new = public_of(owner, "lct:ec", "new.pem")
    signs(owner, "lct:ec", new)


@pytest.mark.parametrize("given, seconds", [("0", 0), ("60", 60), ("24h", DAY), ("48h", 2 * DAY),
                                            ("172800", 2 * DAY)])
def test_the_overlap_is_what_is_said_and_at_most_two_days(owner, given, seconds):
    owner.lct("rotate", "ec")
    before = datetime.now(timezone.utc)
    owner.lct("rotate", "ec", "--commit", "--overlap", given)
    until = datetime.strptime(owner.record("ec")["generations"][0]["until"], TIME)
    lasts = until.replace(tzinfo=timezone.utc) - before
    assert abs(lasts.total_seconds() - seconds) < 30


@pytest.mark.parametrize("given", ["49h", "172801", "-1", "", "h", "1d", "99999999999999999999",
                                   "1 h", "0x10"])
def test_another_overlap_is_refused_and_changes_nothing(owner, given):
    owner.lct("rotate", "ec")
    before = owner.record("ec")
    done = owner.lct("rotate", "ec", "--commit", "--overlap", given, status=2)
    assert "48 hours" in one_sentence(done.stderr)
    assert owner.record("ec") == before


def test_an_overlap_that_runs_becomes_shorter_and_never_longer(owner):
    """A compromise is found out the day after."""
    old = public_of(owner, "lct:ec", "old.pem")
    for _ in range(2):
        owner.lct("rotate", "ec")
        owner.lct("rotate", "ec", "--commit")
    owner.lct("rotate", "ec")
    before = datetime.now(timezone.utc)
    said = owner.lct("rotate", "ec", "--overlap", "1h").stdout
    ends = [row.get("until") for row in owner.record("ec")["generations"]]
    assert ends == [ends[0], ends[0], None, None] and f"signs after {ends[0]}" in said
    assert owner.record("ec")["counter"] == 4, "three statements, and this"
    lasts = datetime.strptime(ends[0], TIME).replace(tzinfo=timezone.utc) - before
    assert abs(lasts.total_seconds() - 3600) < 60
    signs(owner, "lct:ec?generation=1", old)
    there = owner.record("ec")
    done = owner.lct("rotate", "ec", "--overlap", "2h", status=3)
    assert "does not become longer" in one_sentence(done.stderr)
    assert owner.record("ec") == there
    owner.lct("rotate", "ec", "--overlap", "0")
    assert stages(owner, "ec") == {1: "superseded", 2: "superseded", 3: "active", 4: "pending"}
    signs(owner, "lct:ec?generation=1", old, status=ENDED)
    done = owner.lct("rotate", "ec", "--overlap", "0", status=3)
    assert "no earlier key of it signs" in one_sentence(done.stderr)


def test_there_is_no_overlap_without_an_earlier_key(owner):
    done = owner.lct("rotate", "ec", "--overlap", "1h", status=3)
    assert "another one has followed" in one_sentence(done.stderr)
    assert stages(owner, "ec") == {1: "active"}
    owner.lct("retire", "ec", "--yes")
    owner.lct("rotate", "ec", "--overlap", "0", status=ENDED)


def test_a_compromised_key_signs_no_more_at_once(owner):
    old = public_of(owner, "lct:ec", "old.pem")
    statement = Statement(owner.lct("rotate", "ec", "--reason", "compromise").stdout)
    assert statement.payload["reason"] == "compromise"
    said = owner.lct("rotate", "ec", "--commit").stdout
    assert "generation 1 signs no more" in said and "until" not in said
    signs(owner, "lct:ec?generation=1", old, status=ENDED)


def test_a_rotated_key_can_be_rotated_again_and_nothing_is_reactivated(owner):
    publics = [public_of(owner, "lct:ec", "1.pem")]
    for number in (2, 3):
        statement = Statement(owner.lct("rotate", "ec").stdout)
        assert statement.payload["counter"] == number - 1
        assert statement.payload["old"]["generation"] == number - 1
        owner.lct("rotate", "ec", "--commit")
        publics.append(public_of(owner, "lct:ec", f"{number}.pem"))
    assert len({public.read_bytes() for public in publics}) == 3
    assert stages(owner, "ec") == {1: "overlap", 2: "overlap", 3: "active"}
    owner.lct("rotate", "ec", "--commit", status=3)
    owner.lct("rotate", "ec", "--withdraw", status=3)
    owner.edit_record("ec", lambda record: record.update(active=1))
    assert "do not follow each other" in one_sentence(owner.lct("show", "ec", status=6).stderr)


def test_what_is_not_there_is_said_with_what_makes_it(owner):
    done = owner.lct("rotate", "ec", "--statement", status=3)
    assert "generation 1 follows another" in one_sentence(done.stderr)
    owner.lct("rotate", "ec")
    done = owner.lct("cert", "ec", "--generation", "2", status=3)
    assert "lct csr ec --generation 2" in one_sentence(done.stderr)


def test_a_second_pending_key_is_refused(owner):
    owner.lct("rotate", "ec")
    before = owner.record("ec")
    sentence = one_sentence(owner.lct("rotate", "ec", status=4).stderr)
    assert "--commit" in sentence and "--withdraw" in sentence
    assert owner.record("ec") == before


def test_withdraw_leaves_what_was_before_and_a_counter_that_has_counted(owner):
    before, there = owner.record("ec"), files(owner, "ec")
    owner.lct("rotate", "ec")
    first = public_of(owner, "lct:ec?generation=2", "first.pem").read_bytes()
    owner.lct("rotate", "ec", "--withdraw")
    assert owner.record("ec") == before | {"counter": 2}
    assert files(owner, "ec") == there
    signs(owner, "lct:ec", public_of(owner, "lct:ec", "old.pem"))
    statement = Statement(owner.lct("rotate", "ec").stdout)
    assert statement.payload["counter"] == 3
    assert public_of(owner, "lct:ec?generation=2", "second.pem").read_bytes() != first


def test_the_new_key_may_be_of_another_algorithm(owner):
    statement = Statement(owner.lct("rotate", "ec", "--algorithm", "rsa-2048").stdout)
    assert statement.payload["new"]["algorithm"] == "rsa-2048"
    owner.lct("rotate", "ec", "--commit")
    signs(owner, "lct:ec", public_of(owner, "lct:ec", "new.pem"))


@pytest.mark.parametrize("options", [
    ["--reason", "boredom"], ["--algorithm", "ed25519"], ["--algorithm", "ec-p999"],
    ["--to", "software"],
    ["--commit", "--withdraw"], ["--commit", "--reason", "expired"],
    ["--statement", "--seal", "none"], ["--overlap", "0", "--withdraw"], ["--evidence", "x"],
    ["--overlap", "0", "--statement"], ["--overlap", "0", "--reason", "expired"],
    ["--overlap", "0", "--without-old-key"],
    ["--withdraw", "--passphrase"], ["--passphrase", "--no-passphrase"],
    ["--commit", "--without-old-key"]])
def test_options_that_do_not_go_together_are_refused(owner, options):
    before, there = owner.record("ec"), files(owner, "ec")
    one_sentence(owner.lct("rotate", "ec", *options, status=2).stderr)
    assert (owner.record("ec"), files(owner, "ec")) == (before, there)


def test_a_statement_that_cannot_be_printed_is_kept(owner):
    with open("/dev/full", "w") as full:
        done = subprocess.run([owner.build / "lct", "rotate", "ec"], stdout=full, check=False,
                              stderr=subprocess.PIPE, env=owner.environment(), cwd=owner.directory)
    assert done.returncode == 18
    statement = Statement(owner.lct("rotate", "ec", "--statement").stdout)
    assert statement.roles == ["new", "old"]


# Certificates.


def certify(holder, name: str, generation: int) -> str:
    """A chain for one generation of an identity."""
    user = holder.user
    csr = user.lct("csr", name, "--generation", generation).stdout
    (holder.pki / "csr.pem").write_text(csr)
    user.run("env", f"--chdir={holder.pki}", "openssl", "ca", "-batch", "-config", "pki.cnf", "-in",
             "csr.pem", "-cert", "sub.pem", "-keyfile", "sub.key", "-notext", "-preserveDN",
             "-startdate", "20260101000000Z", "-enddate", "20990101000000Z", "-out", "leaf.pem",
             env={"OPENSSL_CONF": "/dev/null"})
    return (holder.pki / "leaf.pem").read_text() + holder.text("sub.pem") + holder.text("root.pem")


def test_a_certificate_of_the_pending_key_makes_both_the_active_ones(holder):
    user = holder.user
    old = public_of(user, "lct:ec", "old.pem")
    first = holder.give("ec")
    user.lct("rotate", "ec")
    sentence = one_sentence(user.lct("rotate", "ec", "--commit", status=2).stderr)
    assert "lct csr ec --generation 2" in sentence and "lct cert ec --set" in sentence
    second = certify(holder, "ec", 2)
    assert user.lct("cert", "ec").stdout == first
    said = user.lct("cert", "ec", "--set", "-", stdin=second).stdout
    assert "generation 2 is the active one now" in said
    assert user.lct("cert", "ec").stdout == second
    assert user.lct("cert", "ec", "--generation", "1").stdout == first
    signs(user, "lct:ec?generation=1", old)
    found = blocks(user.openssl("storeutl", "-certs", "lct:ec").stdout)
    assert "".join(found) == second
    assert stages(user, "ec") == {1: "overlap", 2: "active"}


def test_openssl_asks_for_the_certificate_of_the_pending_key_by_its_uri(holder):
    user = holder.user
    user.lct("rotate", "ec")
    new = public_of(user, "lct:ec?generation=2", "new.pem").read_text()
    user.openssl("req", "-new", "-key", "lct:ec?generation=2", "-subj", "/CN=ec", "-out", "csr.pem")
    told = user.openssl("req", "-in", "csr.pem", "-noout", "-verify", "-pubkey")
    assert new in told.stdout
    user.openssl("req", "-x509", "-key", "lct:ec?generation=2", "-subj", "/CN=ec", "-out",
                 "crt.pem")
    user.lct("cert", "ec", "--set", user.path("crt.pem"))
    assert public_of(user, "lct:ec", "now.pem").read_text() == new


def test_a_certificate_of_the_active_key_still_replaces_its_own(holder):
    user = holder.user
    holder.give("ec")
    user.lct("rotate", "ec")
    renewed = certify(holder, "ec", 1)
    user.lct("cert", "ec", "--set", "-", stdin=renewed)
    assert user.lct("cert", "ec").stdout == renewed
    assert stages(user, "ec") == {1: "active", 2: "pending"}
    done = user.lct("cert", "ec", "--set", "-", "--overlap", "0", stdin=renewed, status=2)
    assert "--overlap" in one_sentence(done.stderr)


def test_a_certificate_of_neither_key_changes_nothing(holder):
    user = holder.user
    first = holder.give("ec")
    user.lct("rotate", "ec")
    before, there = user.record("ec"), files(user, "ec")
    user.lct("cert", "ec", "--set", "-", stdin=holder.chain("p384"), status=14)
    user.lct("cert", "ec", "--set", "-", "--generation", "2", stdin=first, status=14)
    user.lct("cert", "ec", "--set", "-", "--generation", "1", stdin=certify(holder, "ec", 2),
             status=14)
    assert (user.record("ec"), files(user, "ec")) == (before, there)
    assert user.lct("cert", "ec").stdout == first


def test_a_broken_chain_of_the_pending_key_changes_nothing(holder):
    user = holder.user
    holder.give("ec")
    user.lct("rotate", "ec")
    before, there = user.record("ec"), files(user, "ec")
    leaf, _, root = blocks(certify(holder, "ec", 2))
    user.lct("cert", "ec", "--set", "-", stdin=leaf + root, status=2)
    assert (user.record("ec"), files(user, "ec")) == (before, there)


def test_the_certificate_of_a_withdrawn_key_is_not_the_next_ones(holder):
    user = holder.user
    user.lct("rotate", "ec")
    chain = certify(holder, "ec", 2)
    (user.store / "ec" / "certs-2.pem").write_text(chain)  # a withdrawal that crashed at its end
    user.edit_record("ec", lambda record: record["generations"].pop())
    user.lct("rotate", "ec")
    assert not (user.store / "ec" / "certs-2.pem").exists()
    user.lct("cert", "ec", "--set", "-", stdin=chain, status=14)


def test_the_switch_can_end_the_old_key_at_once(holder):
    user = holder.user
    old = public_of(user, "lct:ec", "old.pem")
    user.lct("rotate", "ec")
    user.lct("cert", "ec", "--set", "-", "--overlap", "0", stdin=certify(holder, "ec", 2))
    signs(user, "lct:ec?generation=1", old, status=ENDED)


# Files that stand for an identity, programs that have loaded it.


def test_a_reference_file_follows_to_the_active_key(owner):
    reference = owner.write("key.pem", owner.lct("pem", "ec").stdout)
    owner.lct("rotate", "ec")
    signs(owner, reference, public_of(owner, "lct:ec", "old.pem"))
    owner.lct("rotate", "ec", "--commit", "--overlap", "0")
    new = public_of(owner, "lct:ec", "new.pem")
    signs(owner, reference, new)
    owner.lct("retire", "ec", "--yes")
    assert "was retired" in signs(owner, reference, new, status=ENDED)


@pytest.fixture(name="reloader")
def fixture_reloader(owner, tpm):
    """The owner, whose servers are killed: nobody else can throw out what these had loaded."""
    yield owner
    owner.stop()
    tpm.flush()


def handshake(user, port: int) -> bool:
    done = user.openssl("s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", "crt.pem",
                        "-verify_return_error", status=None, env={"OPENSSL_CONF": "/dev/null"})
    return done.returncode == 0 and "Verify return code: 0 (ok)" in done.stdout


def serve(user, uri: str) -> int:
    """A server that has loaded a key; it is killed at the test's end."""
    user.certificate(uri)
    server = user.serve("s_server", "-accept", "127.0.0.1:0", "-key", uri, "-cert", "crt.pem",
                        "-www")
    return int(server.read_until(rb"ACCEPT 127\.0\.0\.1:(\d+)")[1])


def test_a_program_that_has_loaded_a_key_signs_until_the_overlap_ends(reloader):
    port = serve(reloader, "lct:ec")
    assert handshake(reloader, port)
    reloader.lct("rotate", "ec")
    reloader.lct("rotate", "ec", "--commit")
    assert handshake(reloader, port)
    end_overlap(reloader, "ec")
    assert not handshake(reloader, port)


@pytest.mark.parametrize("how", [["retire"], ["revoke", "--reason", "compromise"]])
def test_a_program_that_has_loaded_a_key_is_refused_once_it_ends(reloader, how):
    port = serve(reloader, "lct:ec")
    assert handshake(reloader, port)
    reloader.lct(how[0], "ec", "--yes", *how[1:])
    assert not handshake(reloader, port)


def test_threads_that_sign_read_a_record_that_changes_all_the_time(owner):
    program = subprocess.Popen([owner.build / "tests" / "evp", "threads", "lct:ec"], text=True,
                               cwd=owner.directory, env=owner.environment(),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    changes = 0
    while program.poll() is None:
        owner.edit_record("ec", lambda record: record.update(counter=record["counter"] + 1))
        changes += 1
    assert (program.returncode, *program.communicate()) == (0, "ok\n", "")
    assert changes > 10


def test_an_end_that_could_not_be_read_at_once_is_read_later(reloader):
    blind = reloader.path("blind")
    reloader.env["LCT_FS_BLIND"] = str(blind)
    reloader.preload = [*reloader.preload, str(reloader.build / "tests/preload_fs.so")]
    port = serve(reloader, "lct:ec")
    assert handshake(reloader, port)
    reloader.lct("retire", "ec", "--yes")
    blind.touch()
    assert handshake(reloader, port), "what cannot be read changes nothing"
    blind.unlink()
    assert not handshake(reloader, port)


def test_where_the_store_is_out_of_sight_the_overlap_ends_all_the_same(reloader):
    reloader.lct("rotate", "ec")
    reloader.lct("rotate", "ec", "--commit")
    port = serve(reloader, "lct:ec?generation=1")
    end_overlap(reloader, "ec", 6)
    assert handshake(reloader, port), "it has seen when it ends"
    reloader.store.rename(reloader.path("elsewhere"))
    end = time.monotonic() + 60
    seen = [handshake(reloader, port)]
    while seen[-1]:
        assert time.monotonic() < end, "it goes on for ever"
        seen.append(handshake(reloader, port))
    assert seen[0], "it signs while the time has not come"
    reloader.path("elsewhere").rename(reloader.store)


@pytest.fixture(name="attempts")
def fixture_attempts(owner):
    """A running program that has loaded lct:ec: what each further try to sign says."""
    program = subprocess.Popen([owner.build / "tests" / "evp", "attempts", "lct:ec"], text=True,
                               cwd=owner.directory, env=owner.environment(), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def attempt() -> str:
        program.stdin.write("\n")
        program.stdin.flush()
        return program.stdout.readline().strip()

    yield attempt
    assert program.communicate(timeout=TIMEOUT) == ("ok\n", "")


OLDER = "failed: lct:ec: its record is older than one that this program has seen"


@pytest.mark.parametrize("way", ["the record", "the directory"])
@pytest.mark.parametrize("how", [["retire"], ["revoke", "--reason", "compromise"]])
def test_an_old_record_that_is_put_back_undoes_no_end_that_a_program_has_seen(owner, attempts, how,
                                                                             way):
    old = owner.path("old")
    shutil.copytree(owner.store / "ec", old)
    assert attempts() == "signed"
    owner.lct(how[0], "ec", "--yes", *how[1:])
    assert attempts().startswith(f"failed: lct:ec: it was {how[0]}")
    if way == "the directory":
        owner.lct("delete", "ec", "--yes")
        assert attempts().startswith("failed: lct:ec: the identity was deleted")
    shutil.copytree(old, owner.store / "ec", dirs_exist_ok=True)
    for _ in range(2):
        assert attempts().startswith(OLDER)
    owner.lct("sign", "ec", stdin="x", text=False)  # a program that has seen nothing knows nothing
    owner.lct(how[0], "ec", "--yes", *how[1:])
    assert attempts().startswith(f"failed: lct:ec: it was {how[0]}")


def test_what_a_program_has_seen_of_a_rotation_only_grows(owner, attempts):
    """A counter, the active generation, the end of an overlap; the newer record is believed."""
    assert attempts() == "signed"
    records = [owner.record("ec")]
    for step in (["rotate", "ec"], ["rotate", "ec", "--commit"],
                 ["rotate", "ec", "--overlap", "3600"]):
        owner.lct(*step)
        records.append(owner.record("ec"))
        assert attempts() == "signed"
    for old in (records[2], records[0]):
        owner.edit_record("ec", lambda record, old=old: record.clear() or record.update(old))
        assert attempts().startswith(OLDER)
        owner.edit_record("ec", lambda record: record.clear() or record.update(records[-1]))
        assert attempts() == "signed"


def test_a_key_that_was_made_anew_under_its_id_is_another(reloader):
    port = serve(reloader, "lct:ec")
    reloader.lct("delete", "ec", "--yes")
    reloader.lct("create", "ec")
    assert not handshake(reloader, port)


# The end.


@pytest.mark.parametrize("how, ending, reason", [
    (["retire"], "retired", None), (["revoke", "--reason", "compromise"], "revoked", "compromise"),
    (["revoke", "--reason", "violation"], "revoked", "violation")])
def test_an_ended_identity_signs_no_more_and_says_so_in_a_statement(owner, how, ending, reason):
    public = public_of(owner, "lct:ec", "pub.pem")
    done = owner.lct(how[0], "ec", "--yes", *how[1:])
    statement = Statement(done.stdout)
    said = statement.payload
    assert (said["type"], said["id"], said["counter"], said["ending"], said["reason"]) == (
        "lct-end", "ec", 1, ending, reason)
    assert statement.roles == ["subject"] and statement.kid("subject") == kid_of(owner, public)
    assert f"lct:ec: {ending}" in done.stderr
    owner.lct("verify", owner.write("s.json", done.stdout), "--key", public)
    assert f"it was {ending} at" in refused(owner, "ec")
    assert f"it was {ending} at" in signs(owner, "lct:ec", public, status=ENDED)
    assert public_of(owner, "lct:ec", "again.pem").read_bytes() == public.read_bytes()
    assert shown(owner, "ec")["state"] == ending
    assert shown(owner, "ec")["reason"] == reason
    assert owner.lct(how[0], "ec", "--statement").stdout == done.stdout
    for command in (["csr", "ec"], ["rotate", "ec"], ["sign", "ec"],
                    [how[0], "ec", "--yes", *how[1:]]):
        if command[0] != "revoke" and command[0] != "retire" or how[0] != "retire":
            owner.lct(*command, status=ENDED)


def test_what_has_ended_is_not_exported_to_tools_that_would_sign_with_it(owner):
    owner.lct("export", "ec")
    owner.lct("retire", "ec", "--yes")
    done = owner.lct("export", "ec", status=ENDED)
    assert "was retired" in one_sentence(done.stderr) and not done.stdout
    owner.lct("pem", "ec")


def test_a_software_identity_ends_as_any_other(owner):
    secret = owner.write("secret", "one\n")
    secret.chmod(0o600)
    owner.lct("create", "--software", "soft", "--passphrase-file", secret)
    public = public_of(owner, "lct:soft", "pub.pem")
    text = owner.lct("retire", "soft", "--yes", "--passphrase-file", secret).stdout
    assert Statement(text).payload["key"]["custody"] == "software"
    owner.lct("verify", owner.write("s.json", text), "--key", public)
    owner.lct("sign", "soft", "--passphrase-file", secret, stdin="x", status=ENDED)


def test_an_end_takes_every_generation_along(owner):
    owner.lct("rotate", "ec")
    owner.lct("rotate", "ec", "--commit")
    owner.lct("rotate", "ec")
    owner.lct("retire", "ec", "--yes")
    for number in (1, 2, 3):
        signs(owner, f"lct:ec?generation={number}", None, status=ENDED)
    owner.lct("rotate", "ec", "--commit", status=ENDED)


def test_a_withdrawal_after_the_end_leaves_the_statement_of_it(owner):
    owner.lct("rotate", "ec")
    statement = owner.lct("retire", "ec", "--yes").stdout
    owner.lct("rotate", "ec", "--withdraw")
    assert owner.lct("retire", "ec", "--statement").stdout == statement


def test_an_end_is_asked_for_and_needs_its_reason(owner):
    before = owner.record("ec")
    assert "--yes" in one_sentence(owner.lct("retire", "ec", status=2).stderr)
    assert "compromise" in one_sentence(owner.lct("revoke", "ec", "--yes", status=2).stderr)
    owner.lct("revoke", "ec", "--yes", "--reason", "boredom", status=2)
    owner.lct("retire", "ec", "--yes", "--reason", "compromise", status=2)
    owner.lct("retire", "ec", "--statement", status=3)
    assert owner.record("ec") == before


def test_a_retired_identity_can_be_revoked_and_nothing_undoes_that(owner):
    owner.lct("retire", "ec", "--yes")
    done = owner.lct("revoke", "ec", "--yes", "--reason", "compromise", status=ENDED)
    assert "--without-signature" in one_sentence(done.stderr)
    assert "no statement" in owner.lct("revoke", "ec", "--yes", "--reason", "compromise",
                                       "--without-signature").stdout
    assert shown(owner, "ec")["state"] == "revoked"
    assert owner.record("ec")["counter"] == 2
    owner.lct("retire", "ec", "--yes", status=ENDED)
    done = owner.lct("retire", "ec", "--statement", status=3)
    assert "without a signature" in one_sentence(done.stderr)


def test_an_identity_whose_tpm_is_dead_can_be_revoked(make_user, owner):
    other = make_user("swtpm:path=/nonexistent/socket")
    shutil.copytree(owner.store, other.store)
    done = other.lct("revoke", "ec", "--yes", "--reason", "compromise", status=9)
    assert shown(other, "ec")["state"] == "active"
    type_hint(other, done)
    assert shown(other, "ec")["state"] == "revoked"
    type_hint(other, other.lct("retire", "p384", "--yes", status=9))
    assert shown(other, "p384")["state"] == "retired"


def type_hint(user, done):
    """Types the command that a sentence ends with, as it stands there."""
    hint = re.search(r"; lct (.* --without-signature) ", one_sentence(done.stderr))
    user.lct(*hint[1].split(), "--yes")


# Passphrases and seals.


def test_the_new_key_has_a_passphrase_if_the_old_one_had(user):
    old, new = user.write("old", "one\n"), user.write("new", "two\n")
    old.chmod(0o600), new.chmod(0o600)
    user.lct("create", "alice", "--passphrase-file", old)
    done = user.lct("rotate", "alice", "--passphrase-file", old, status=12)
    assert "--new-passphrase-file" in one_sentence(done.stderr)
    assert "--no-passphrase" in done.stderr
    assert stages(user, "alice") == {1: "active"}
    user.lct("rotate", "alice", "--passphrase-file", old, "--new-passphrase-file", new)
    assert user.lct("csr", "alice", "--generation", "2", "--passphrase-file", new).stdout
    user.lct("rotate", "alice", "--commit")
    user.lct("sign", "alice", "--passphrase-file", new, stdin="x", text=False)
    user.lct("rotate", "alice", "--passphrase-file", new, "--no-passphrase")
    user.lct("rotate", "alice", "--commit")
    user.lct("sign", "alice", stdin="x", text=False)
    assert not shown(user, "alice")["passphrase"]


def test_a_wrong_old_passphrase_leaves_nothing(make_user, make_tpm):
    tpm = make_tpm()
    tpm.lockout_count = 1
    fresh = make_user(tpm.tcti)
    right, wrong = fresh.write("right", "one\n"), fresh.write("wrong", "two\n")
    right.chmod(0o600), wrong.chmod(0o600)
    fresh.lct("create", "alice", "--passphrase-file", right)
    before, there = fresh.record("alice"), files(fresh, "alice")
    fresh.lct("rotate", "alice", "--passphrase-file", wrong, "--no-passphrase", status=12)
    assert (fresh.record("alice"), files(fresh, "alice")) == (before, there)


@pytest.mark.parametrize("options", [["--seal", "strict:sha256:7"], ["--seal", "sha256:0,7"],
                                     ["--seal", "sha256:7", "--bind"]])
def test_the_new_key_is_sealed_as_the_old_one(sealer, options):
    sealer.lct("create", "alice", *options)
    sealer.lct("rotate", "alice")
    old, new = [row["seal"] for row in sealer.record("alice")["generations"]]
    assert {key: value for key, value in old.items() if key != "text"} == new
    sealer.lct("rotate", "alice", "--commit")
    signs(sealer, "lct:alice", public_of(sealer, "lct:alice", "new.pem"))


def test_another_seal_can_be_asked_for(sealer):
    sealer.lct("create", "alice", "--seal", "strict:sha256:7")
    sealer.lct("rotate", "alice", "--seal", "none")
    assert sealer.record("alice")["generations"][1]["seal"] is None


def test_keys_of_an_identity_whose_approvals_can_be_revoked_share_the_counter(sealer, authority):
    sealer.lct("create", "alice", "--seal", "authority", "--revocable")
    sealer.lct("approve", *authority.options, "alice")
    indices = sealer.tpm.handles(0x01000000)
    sealer.lct("rotate", "alice")
    old, new = [row["seal"] for row in sealer.record("alice")["generations"]]
    assert old["counter"] == new["counter"] and old["policy_ref"] == new["policy_ref"]
    assert sealer.tpm.handles(0x01000000) == indices
    signs(sealer, "lct:alice?generation=2", public_of(sealer, "lct:alice?generation=2", "n.pem"))
    sealer.lct("rotate", "alice", "--withdraw")
    assert sealer.tpm.handles(0x01000000) == indices
    signs(sealer, "lct:alice", public_of(sealer, "lct:alice", "old.pem"))
    sealer.lct("delete", "alice", "--yes")


def test_a_new_counter_in_the_place_of_a_lost_one_goes_with_what_failed(sealer, authority):
    """The new key cannot sign before its first approval, so there is no statement and no key."""
    before = sealer.tpm.handles(0x01000000)
    sealer.lct("create", "alice", "--seal", "authority", "--revocable")
    sealer.lct("approve", *authority.options, "alice")
    (index,) = set(sealer.tpm.handles(0x01000000)) - set(before)
    sealer.tpm.tool("tpm2_nvundefine", "-C", "o", hex(index))
    one_sentence(sealer.lct("rotate", "alice", "--without-old-key", "--seal", "authority",
                            "--revocable", status=SEALED).stderr)
    assert sealer.tpm.handles(0x01000000) == before
    sealer.lct("rotate", "alice", "--without-old-key", "--seal", "sha256:7")
    sealer.lct("rotate", "alice", "--commit")
    signs(sealer, "lct:alice", public_of(sealer, "lct:alice", "new.pem"))


# Another TPM, evidence.


def test_without_the_old_key_another_tpm_goes_on(owner, make_user, make_tpm):
    other = make_user(make_tpm().tcti)
    shutil.copytree(owner.store, other.store)
    before, there = other.record("ec"), files(other, "ec")
    other.lct("create", "first", "--new-parent")  # which makes the storage root key
    other.lct("rotate", "ec", status=13)
    assert (other.record("ec"), files(other, "ec")) == (before, there)
    statement = Statement(other.lct("rotate", "ec", "--without-old-key").stdout)
    assert statement.roles == ["new"]
    assert statement.payload["old"]["name"] == before["generations"][0]["name"]
    other.lct("rotate", "ec", "--commit")
    signs(other, "lct:ec", public_of(other, "lct:ec", "new.pem"))


def test_a_software_identity_is_not_a_way_out_of_the_tpm(owner):
    assert "--to takes tpm" in one_sentence(
        owner.lct("rotate", "ec", "--to", "software", status=2).stderr)
    Statement(owner.lct("rotate", "ec", "--to", "tpm").stdout)


@pytest.mark.parametrize("algorithm, follows", [("ec-p256", "ec-p256"), ("ed25519", "ec-p256")])
def test_a_software_identity_moves_into_the_tpm(owner, algorithm, follows):
    secret = owner.write("secret", "one\n")
    secret.chmod(0o600)
    passphrase = ["--passphrase-file", secret]
    owner.lct("create", "--software", "soft", "--algorithm", algorithm, *passphrase)
    old = public_of(owner, "lct:soft", "old.pem")
    assert "--to tpm" in one_sentence(owner.lct("rotate", "soft", *passphrase, status=2).stderr)
    text = owner.lct("rotate", "soft", "--to", "tpm", "--no-passphrase", *passphrase).stdout
    said = Statement(text).payload
    assert (said["old"]["custody"], said["old"]["name"]) == ("software", None)
    assert (said["new"]["custody"], said["new"]["algorithm"]) == ("tpm", follows)
    owner.lct("verify", owner.write("s.json", text), "--old-key", old)
    owner.lct("rotate", "soft", "--commit")
    row = shown(owner, "soft")
    assert row["custody"] == "tpm" and row["hardware_bound"]
    assert [one["custody"] for one in row["generations"]] == ["software", "tpm"]
    signs(owner, "lct:soft", public_of(owner, "lct:soft", "new.pem"))


def test_the_statement_has_the_digest_of_evidence_of_the_new_key(make_user, certified, maker):
    user = make_user(certified.tcti)
    user.lct("create", "alice")
    first = Statement(user.lct("rotate", "alice").stdout)
    evidence = {}
    verifier = Verifier(user, maker)
    for number in (1, 2):
        offer = user.lct("attest", "offer", "alice", "--generation", number).stdout
        assert json.loads(offer)["generation"] == number
        challenge = user.write("challenge", verifier.challenge(offer))
        evidence[number] = user.write(f"e{number}", user.lct("attest", "respond",
                                                             challenge).stdout)
    before = user.record("alice")
    user.lct("rotate", "alice", "--statement", "--evidence", evidence[1], status=14)
    user.lct("rotate", "alice", "--statement", "--evidence", user.conf, status=22)
    assert user.record("alice") == before
    text = user.lct("rotate", "alice", "--statement", "--evidence", evidence[2]).stdout
    second = Statement(text)
    digest = hashlib.sha256(canonical(json.loads(evidence[2].read_text()))).hexdigest()
    assert second.payload["evidence"] == digest
    assert second.payload["counter"] == first.payload["counter"] + 1
    assert second.payload["new"] == first.payload["new"] and second.roles == ["new", "old"]
    assert user.lct("rotate", "alice", "--statement").stdout == text
    user.lct("verify", user.write("s.json", text), "--counter", 1)


# Crashes, failures, others at the same time.


def whole(user, name: str, public):
    """Whatever happened, the identity is whole, and one of its keys is the active one."""
    user.lct("list")
    row = shown(user, name)
    signs(user, f"lct:{name}", public(row["generation"]))
    return row


def operations(holder) -> dict[str, tuple[list[str], list[str]]]:
    """What is done before, and what is interrupted."""
    return {"rotate": ([], ["rotate", "ec"]),
            "commit": (["rotate", "ec"], ["rotate", "ec", "--commit"]),
            "withdraw": (["rotate", "ec"], ["rotate", "ec", "--withdraw"]),
            "cert": (["rotate", "ec"], ["cert", "ec", "--set", "chain.pem"]),
            "retire": ([], ["retire", "ec", "--yes"])}


def make_ready(holder, operation: str) -> list[str]:
    """What comes before the operation; its command."""
    prepare, command = operations(holder)[operation]
    if prepare:
        holder.user.lct(*prepare)
    if operation == "cert":
        holder.user.write("chain.pem", certify(holder, "ec", 2))
    return command


@pytest.mark.parametrize("operation", ["rotate", "commit", "withdraw", "cert", "retire"])
@pytest.mark.parametrize("action", ["kill", "ENOSPC", "EIO"])
def test_what_is_stopped_at_any_step_leaves_an_identity_that_works(holder, tpm, operation, action):
    user, fresh = holder.user, holder.user.path("fresh")
    command = make_ready(holder, operation)
    shutil.copytree(user.store / "ec", fresh)
    publics = {1: public_of(user, "lct:ec", "1.pem")}
    if len(shown(user, "ec")["generations"]) == 2:
        publics[2] = public_of(user, "lct:ec?generation=2", "2.pem")
    outcomes = set()
    for step in range(1, ENOUGH):
        shutil.rmtree(user.store / "ec")
        shutil.copytree(fresh, user.store / "ec")
        done = run_failing(user, command, step, action)
        left, _ = tpm.left_behind(), tpm.flush()
        assert action == "kill" or not left
        if done.returncode == 0 and "unlink" not in steps_of_one(user, command, fresh, step):
            break
        if action == "kill":
            assert done.returncode in (-signal.SIGKILL, 0), done.stderr
        elif done.returncode != 0:
            assert done.returncode == 7, done.stderr
            one_sentence(done.stderr)
            assert done.stdout == ""
        row = shown(user, "ec")
        outcomes.add((row["state"], row["generation"], len(row["generations"])))
        if row["state"] == "active":
            whole(user, "ec", publics.get)
            if len(row["generations"]) == 2:
                uri = f"lct:ec?generation={3 - row['generation']}"
                signs(user, uri, public_of(user, uri, "other.pem"))
    assert 3 < step < ENOUGH - 1
    if action == "kill":
        assert len(outcomes) == 2, "killed before and after the change"


@pytest.mark.parametrize("operation", ["rotate", "commit", "withdraw", "cert", "retire"])
def test_what_is_interrupted_or_written_in_parts_is_done_all_the_same(holder, operation):
    user, fresh = holder.user, holder.user.path("fresh")
    command = make_ready(holder, operation)
    shutil.copytree(user.store / "ec", fresh)
    steps = steps_of(user, command)
    there, before = files(user, "ec"), shown(user, "ec")
    interrupted = [(number, "EINTR") for number, step in enumerate(steps, 1) if step == "write"]
    assert interrupted
    for number, action in [*interrupted, (0, "parts")]:
        shutil.rmtree(user.store / "ec")
        shutil.copytree(fresh, user.store / "ec")
        done = run_failing(user, command, number, action)
        assert done.returncode == 0, done.stderr
        now = shown(user, "ec")
        assert files(user, "ec") == there
        assert all(now[key] == before[key] for key in ("state", "generation", "counter"))
        if now["state"] == "active":
            whole(user, "ec", lambda number: public_of(user, f"lct:ec?generation={number}", "now"))
        if operation in ("rotate", "retire"):
            assert user.lct(command[0], "ec", "--statement").stdout == done.stdout


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("operation", ["rotate", "commit", "cert", "retire"])
def test_on_a_really_full_disk_nothing_changes(holder, operation):
    user, command = holder.user, make_ready(holder, operation)
    before = user.lct("show", "ec", "--json").stdout
    script = ("store=$1 && shift && mv \"$store\" copy && mkdir \"$store\" && "
              "mount -t tmpfs -o size=1m none \"$store\" && cp -a copy/. \"$store\" && "
              "! dd if=/dev/zero of=\"$store\"/.ballast bs=4096 2>/dev/null && "
              "\"$0\" \"$@\" >out; echo status $? && \"$0\" show ec --json && "
              "rm \"$store\"/.ballast && \"$0\" \"$@\" >out && echo done")
    done = user.run("unshare", "--mount", "sh", "-c", script, user.build / "lct", user.store,
                    *command)
    assert done.stdout == f"status 7\n{before}done\n"
    assert "no space" in done.stderr.lower().splitlines()[0]


def steps_of_one(user, command, fresh, step) -> str:
    """The name of a step of a command: some may fail without harm."""
    if not hasattr(user, "steps"):
        shutil.rmtree(user.store / "ec")
        shutil.copytree(fresh, user.store / "ec")
        user.steps = steps_of(user, command)
    return user.steps[step - 1] if step <= len(user.steps) else ""


def test_of_two_rotations_at_once_one_wins(owner):
    results = []

    def rotate():
        results.append(owner.lct("rotate", "ec", status=None))

    threads = [threading.Thread(target=rotate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done.returncode for done in results) == [0, 4, 4, 4]
    (won,) = [done.stdout for done in results if done.returncode == 0]
    assert owner.lct("rotate", "ec", "--statement").stdout == won
    assert owner.record("ec")["counter"] == 1
    assert files(owner, "ec") == ["identity.json", "key-1.pem", "key-2.pem", "succession-2.json"]
    owner.lct("rotate", "ec", "--commit")
    signs(owner, "lct:ec", public_of(owner, "lct:ec", "new.pem"))


def test_who_reads_while_it_changes_sees_one_or_the_other(owner):
    stop = threading.Event()
    failures = []

    def read():
        while not stop.is_set():
            for command in (["show", "ec", "--json"], ["list", "--json"]):
                done = owner.lct(*command, status=None)
                if done.returncode != 0:
                    failures.append(done.stderr)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(5):
            owner.lct("rotate", "ec")
            owner.lct("rotate", "ec", "--withdraw")
            owner.lct("rotate", "ec")
            owner.lct("rotate", "ec", "--commit")
    finally:
        stop.set()
        reader.join()
    assert not failures


def test_a_damaged_statement_is_told_and_does_not_hold_up_a_commit(owner):
    owner.lct("rotate", "ec", "--reason", "compromise")
    path = owner.store / "ec" / "succession-2.json"
    path.write_text(path.read_text()[:-20])
    owner.lct("rotate", "ec", "--statement", status=6)
    assert "--overlap" in one_sentence(owner.lct("rotate", "ec", "--commit", status=6).stderr)
    path.unlink()
    owner.lct("rotate", "ec", "--statement", status=3)
    assert "--overlap" in one_sentence(owner.lct("rotate", "ec", "--commit", status=3).stderr)
    owner.lct("rotate", "ec", "--commit", "--overlap", "0")


def test_the_statement_of_another_identity_is_not_taken_for_its_own(owner):
    owner.lct("rotate", "ec")
    owner.lct("rotate", "p384")
    shutil.copy(owner.store / "p384" / "succession-2.json", owner.store / "ec")
    owner.lct("rotate", "ec", "--statement", status=6)


# What is shown.


def test_list_and_show_say_where_each_key_is_in_its_life(owner):
    owner.lct("rotate", "ec")
    text = owner.lct("show", "ec").stdout
    assert re.search(r"^state +active, generation 1$", text, re.MULTILINE)
    assert re.search(r"^  generation 2 +pending, ec-p256, tpm$", text, re.MULTILINE)
    owner.lct("rotate", "ec", "--commit")
    until = owner.record("ec")["generations"][0]["until"]
    text = owner.lct("show", "ec").stdout
    assert f"  generation 1  overlap until {until}, ec-p256, tpm\n" in text
    owner.lct("persist", "ec", "--generation", "1")
    text = owner.lct("show", "ec").stdout
    assert f"  generation 1  overlap until {until}, ec-p256, tpm, at 0x81000100\n" in text
    owner.lct("unpersist", "ec", "--generation", "1")
    row = shown(owner, "ec")
    assert row["generation"] == 2 and row["counter"] == 1 and row["ended"] is None
    assert [(one["generation"], one["stage"], one["until"], one["custody"])
            for one in row["generations"]] == [(1, "overlap", until, "tpm"),
                                               (2, "active", None, "tpm")]
    owner.lct("retire", "p384", "--yes")
    owner.lct("revoke", "rsa", "--yes", "--reason", "violation")
    states = dict(re.findall(r"^(\S+) .*\b(active|retired|revoked)\b", owner.lct("list").stdout,
                             re.MULTILINE))
    assert states == {"ec": "active", "p384": "retired", "rsa": "revoked", "rsa3072": "active"}
    assert re.search(r"^state +revoked at \S+ for violation, generation 1$",
                     owner.lct("show", "rsa").stdout, re.MULTILINE)


def test_the_columns_of_a_list_stand_under_each_other(user):
    user.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", "old.key")
    user.lct("create", "alice")
    user.lct("import", "old", "--software", user.path("old.key"))
    user.lct("create", "--software", "soft", "--passphrase-file", user.write("secret", "one\n"))
    user.lct("retire", "alice", "--yes")
    head, *rows = user.lct("list").stdout.splitlines()
    assert [row[head.index("CUSTODY"):head.index("SEAL")].rstrip() for row in rows] == [
        "tpm (software)", "tpm (software), imported", "software"]
    assert [row[head.index("STATE"):head.index("CERT")].rstrip() for row in rows] == [
        "retired", "active", "active"]


def findings(user, *arguments) -> list[dict]:
    done = user.lct("doctor", *arguments, "--json", status=None)
    return json.loads(done.stdout)


def test_doctor_tells_of_keys_that_wait_or_go_on_or_have_ended(owner):
    owner.lct("rotate", "ec")
    owner.lct("rotate", "p384")
    owner.lct("rotate", "p384", "--commit")
    owner.lct("retire", "rsa", "--yes")
    rows = [row for row in findings(owner) if row["topic"] == "store"]
    (pending,) = [row for row in rows if "generation 2 is pending since" in row["text"]]
    assert "lct:ec" in pending["text"] and pending["severity"] == "note"
    assert any("lct:p384: generation 1 signs until" in row["text"] for row in rows)
    assert any("lct:rsa: it was retired" in row["text"] for row in rows)
    long_ago = (datetime.now(timezone.utc) - timedelta(days=60)).strftime(TIME)
    owner.edit_record("ec", lambda record: record["generations"][1].update(created=long_ago))
    (pending,) = [row for row in findings(owner) if "is pending since" in row["text"]]
    assert pending["severity"] == "warning"


def test_an_identity_that_has_ended_is_no_trouble_of_the_others(holder):
    """Doctor and check go on with those that sign, though the first of all does not."""
    owner = holder.user
    holder.give("ec", dates=("20210101000000Z", "20210102000000Z"))
    owner.lct("retire", "ec", "--yes")
    told = json.loads(owner.lct("doctor", "--json").stdout)
    (signature,) = [row for row in told if row["topic"] == "signature"]
    assert (signature["severity"], signature["text"].split()[:2]) == ("ok", ["lct:p384", "signs"])
    assert not any(row["command"] == "lct csr ec" for row in told), "nobody certifies it any more"
    said = owner.lct("check").stdout
    assert re.search(r"^lct:ec\n  note    it was retired at \S+, and signs no more\nlct:p384$",
                     said, re.MULTILINE)
    assert "FAILED" not in said
    assert "retired" in one_sentence(owner.lct("check", "ec", status=ENDED).stderr)


def test_where_all_have_ended_doctor_says_so(user):
    user.lct("create", "alice")
    user.lct("retire", "alice", "--yes")
    (signature,) = [row for row in findings(user) if row["topic"] == "signature"]
    assert (signature["severity"], signature["command"]) == ("note", "lct create NAME")


# A server that goes on while its key changes.


@pytest.fixture(name="web")
def fixture_web(make_site):
    """nginx, whose workers may read the identity that it serves."""
    site, port = make_site("ec"), free_port()
    nginx = start_nginx(site, port)
    site.give("web", "root:www-data")
    yield site, port, nginx
    nginx.stop(signal.SIGQUIT)


def rotate_site(site) -> str:
    """A pending key of web, and its certificate."""
    site.user.lct("rotate", "web")
    csr = site.user.lct("csr", "web", "--generation", "2", "--subject", "/CN=localhost").stdout
    site.machine._sign(csr, site.path("next.crt"))
    return site.path("next.crt").read_text()


def certify_site(site):
    """A file of its own: a reload takes one that was changed in the same second for the old one."""
    site.write("next.crt", site.user.lct("cert", "web").stdout).replace(site.path("web.crt"))


def test_nginx_changes_its_key_and_no_handshake_fails(web):
    from apps import Client, children
    from test_web_servers import Load

    site, port, nginx = web
    workers = children(nginx.pid)
    with Load(site, port) as load:
        chain = rotate_site(site)
        load.more()
        old = Client(site.ca).certificate(port)
        site.user.lct("cert", "web", "--set", "-", stdin=chain)
        load.more()
        assert Client(site.ca).certificate(port) == old, "until it is reloaded"
        certify_site(site)
        nginx.send(signal.SIGHUP)
        wait_for(lambda: not set(workers) & set(children(nginx.pid)), "the old workers to end")
        load.more()
        assert blocks(Client(site.ca).certificate(port)) == blocks(chain)
        end_overlap(site.user, "web")
        load.more()
    assert not load.failures


def test_nginx_that_is_reloaded_with_the_old_certificate_goes_on_as_it_was(web):
    """Old ones refuse the new key; from 1.27.4 on one keeps the key whose file has not changed."""
    from apps import children
    from test_web_servers import Load

    site, port, nginx = web
    workers = children(nginx.pid)

    def refused() -> bool:
        return "key values mismatch" in site.path("error.log").read_text()

    def replaced() -> bool:
        return not set(workers) & set(children(nginx.pid))

    with Load(site, port) as load:
        site.user.lct("cert", "web", "--set", "-", stdin=rotate_site(site))
        nginx.send(signal.SIGHUP)
        wait_for(lambda: refused() or replaced(), "its error, or new workers")
        load.more()
        assert refused() != replaced()
        workers = children(nginx.pid)
        certify_site(site)
        nginx.send(signal.SIGHUP)
        wait_for(replaced, "the old workers to end")
        load.more()
    assert not load.failures


def test_nginx_s_workers_sign_no_more_once_the_identity_is_revoked(web):
    from apps import Client

    site, port, _ = web
    Client(site.ca).get(port)
    site.user.lct("revoke", "web", "--yes", "--reason", "compromise")
    for _ in range(4):  # of two workers each
        with pytest.raises(OSError):
            Client(site.ca).get(port)
    wait_for(lambda: "was revoked" in site.path("error.log").read_text(), "what it logs")


def test_nginx_s_workers_end_with_the_overlap(web):
    from apps import Client

    site, port, _ = web
    site.user.lct("rotate", "web")
    site.user.lct("rotate", "web", "--commit")
    for _ in range(4):
        Client(site.ca).get(port)
    end_overlap(site.user, "web")
    for _ in range(4):
        with pytest.raises(OSError):
            Client(site.ca).get(port)
