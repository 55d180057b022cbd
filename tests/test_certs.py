# SPDX-License-Identifier: Apache-2.0
"""Certificates live with the identity: kept, shown, watched, and found through the store."""

import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from test_command import one_sentence
from test_store import ENOUGH, run_failing, steps_of

SOFTWARE = {"OPENSSL_CONF": os.devnull}
LONG = ("20260101000000Z", "20990101000000Z")
PAST = ("20200101000000Z", "20210102030405Z")
FUTURE = ("20980101000000Z", "20990101000000Z")
PKI_CNF = """\
[ca]
default_ca = here
[here]
database = index.txt
new_certs_dir = .
default_md = sha256
policy = policy
unique_subject = no
rand_serial = yes
[policy]
commonName = supplied
[req]
distinguished_name = dn
prompt = no
[dn]
CN = nobody
[ca_ext]
basicConstraints = critical, CA:TRUE
subjectKeyIdentifier = hash
"""
BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\n.*?-----END CERTIFICATE-----\n", re.DOTALL)


@pytest.fixture(scope="session", name="pki")
def fixture_pki(tmp_path_factory) -> Path:
    """A root and an intermediate authority, in software."""
    pki = tmp_path_factory.mktemp("pki")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=pki, check=True, capture_output=True,
                       env={"PATH": os.environ["PATH"]} | SOFTWARE)

    (pki / "pki.cnf").write_text(PKI_CNF)
    (pki / "index.txt").write_text("")
    for name in ("root", "sub"):
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", f"{name}.key")
    openssl("req", "-x509", "-config", "pki.cnf", "-extensions", "ca_ext", "-key", "root.key",
            "-subj", "/CN=root", "-days", "3650", "-out", "root.pem")
    openssl("req", "-new", "-config", "pki.cnf", "-key", "sub.key", "-subj", "/CN=sub", "-out",
            "sub.csr")
    openssl("x509", "-req", "-in", "sub.csr", "-CA", "root.pem", "-CAkey", "root.key",
            "-extfile", "pki.cnf", "-extensions", "ca_ext", "-days", "3650", "-out", "sub.pem")
    return pki


@pytest.fixture(name="program")
def fixture_program(owner):
    """Runs tests/store.c."""
    path = owner.build / "tests" / "store"
    if not path.exists():
        pytest.skip("this build has no test programs")

    def run(*arguments, **options):
        return owner.run(path, *arguments, **options)

    return run


class Holder:
    """The owner, and an authority that certifies the owner's identities."""

    def __init__(self, user, pki: Path):
        self.user = user
        self.pki = user.directory / "pki"
        shutil.copytree(pki, self.pki)

    def issue(self, name: str, dates=LONG, subject: str | None = None) -> str:
        """A certificate of an identity, in PEM."""
        subject = subject or f"/CN={name}"
        (self.pki / "csr.pem").write_text(
            self.user.lct("csr", name, "--subject", subject).stdout)
        self.user.run("env", f"--chdir={self.pki}", "openssl", "ca", "-batch", "-config", "pki.cnf",
                      "-in", "csr.pem", "-cert", "sub.pem", "-keyfile", "sub.key", "-notext",
                      "-preserveDN", "-startdate", dates[0], "-enddate", dates[1], "-out",
                      "leaf.pem", env=SOFTWARE)
        return (self.pki / "leaf.pem").read_text()

    def chain(self, name: str, **options) -> str:
        """The same with its issuers."""
        return self.issue(name, **options) + self.text("sub.pem") + self.text("root.pem")

    def text(self, name: str) -> str:
        return (self.pki / name).read_text()

    def give(self, name: str, **options) -> str:
        """Lets an identity keep its chain."""
        chain = self.chain(name, **options)
        self.user.lct("cert", name, "--set", "-", stdin=chain)
        return chain

    def file(self, name: str, generation: int = 1) -> Path:
        return self.user.store / name / f"certs-{generation}.pem"


@pytest.fixture(name="holder")
def fixture_holder(owner, pki) -> Holder:
    return Holder(owner, pki)


def blocks(text: str) -> list[str]:
    return BLOCK.findall(text)


def certificate_of(user, name: str):
    (row,) = [row for row in json.loads(user.lct("list", "--json").stdout) if row["id"] == name]
    return row["certificate"]


def store_certs(user, *arguments, status: int = 0) -> list[str]:
    """The certificates that storeutl prints; their number is what it says."""
    done = user.openssl("storeutl", *arguments, status=status)
    found = blocks(done.stdout)
    total = re.search(r"Total found: (\d+)", done.stdout)
    objects = len(found) + len(re.findall(r"^ *\d+: (?:Pkey|Name)", done.stdout, re.MULTILINE))
    assert (int(total[1]) if total else 0) == objects
    return found


# The command.


def test_cert_keeps_a_chain_and_prints_it(holder):
    user = holder.user
    chain = holder.chain("ec")
    user.write("chain.pem", chain)
    said = user.lct("cert", "ec", "--set", "chain.pem").stdout
    assert "CN=ec" in said and "until 2099-01-01" in said and "2 of its issuers" in said
    assert user.lct("cert", "ec").stdout == chain
    assert user.lct("cert", "lct:ec", "--generation", "1").stdout == chain
    user.lct("cert", "rsa", status=3)


def test_cert_takes_standard_input_and_text_around_the_blocks(holder):
    user = holder.user
    chain = holder.chain("rsa")
    leaf, *issuers = blocks(chain)
    text = f"subject=CN = rsa\n{leaf}\n\nissuer\r\n{''.join(issuers)}# end\n"
    user.lct("cert", "rsa", "--set", "-", stdin=text)
    assert user.lct("cert", "rsa").stdout == chain
    assert holder.file("rsa").read_text() == chain, "only the blocks are kept"


def test_cert_without_one_says_how_to_get_one(holder):
    sentence = one_sentence(holder.user.lct("cert", "ec", status=3).stderr)
    assert "lct csr ec" in sentence and "lct cert ec --set" in sentence
    holder.user.lct("cert", "nobody", status=3)


def test_cert_remove_leaves_none(holder):
    user = holder.user
    holder.give("ec")
    user.lct("cert", "ec", "--remove")
    assert not holder.file("ec").exists()
    user.lct("cert", "ec", status=3)
    done = user.lct("cert", "ec", "--remove", status=3)
    assert "there is no certificate to remove" in one_sentence(done.stderr)
    assert certificate_of(user, "ec") is None


def test_a_new_chain_replaces_the_old_one(holder):
    user = holder.user
    first = holder.give("ec")
    second = holder.give("ec")
    assert first != second == user.lct("cert", "ec").stdout


def test_deleting_an_identity_takes_its_certificates_along(holder):
    holder.give("ec")
    holder.user.lct("delete", "ec", "--yes")
    assert not (holder.user.store / "ec").exists()
    assert not list(holder.user.store.glob(".new/*"))


def test_the_file_has_the_owner_and_the_mode_of_the_identity(holder):
    directory = holder.user.store / "ec"
    os.chown(directory, 12345, 23456)
    holder.give("ec")
    status = holder.file("ec").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (12345, 23456, 0o640)
    assert sorted(path.name for path in directory.iterdir()) == [
        "certs-1.pem", "identity.json", "key-1.pem"]


def broken(holder, how: str) -> bytes:
    """What is given for the chain of ec by mistake."""
    leaf, sub, root = blocks(holder.chain("ec"))
    der = subprocess.run(["openssl", "x509", "-outform", "DER"], input=leaf.encode(), check=True,
                         capture_output=True).stdout
    texts = {
        "empty": "", "no PEM": "not a certificate\n", "DER": der,
        "key first": holder.text("sub.key") + leaf, "key last": leaf + holder.text("sub.key"),
        "key alone": holder.text("sub.key"), "request": leaf + holder.text("csr.pem"),
        "trusted": leaf.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
        "no end": leaf + sub[:200], "bad base64": leaf.replace("\nMII", "\n!!!", 1),
        "no certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "trailing": "-----BEGIN CERTIFICATE-----\n" + subprocess.run(
            ["base64"], input=der + b"\0", capture_output=True,
            check=True).stdout.decode() + "-----END CERTIFICATE-----\n",
        "no leaf": sub + root, "out of order": leaf + root + sub, "gap": leaf + root,
        "leaf last": sub + root + leaf, "twice": leaf + leaf, "too many": leaf + 16 * root,
        "too long": leaf + "x" * (256 * 1024),
    }
    text = texts[how]
    return text if isinstance(text, bytes) else text.encode()


@pytest.mark.parametrize("how, status, words", [
    ("empty", 2, "no certificate"), ("no PEM", 2, "no certificate"), ("DER", 2, "-inform DER"),
    ("key first", 2, "private key"), ("key last", 2, "private key"),
    ("key alone", 2, "private key"), ("request", 2, "CERTIFICATE REQUEST"),
    ("trusted", 2, "TRUSTED CERTIFICATE"), ("no end", 2, "PEM block 2 is not whole"),
    ("bad base64", 2, "PEM block 1 is not whole"), ("no certificate", 2, "malformed"),
    ("trailing", 2, "malformed"), ("no leaf", 14, "another key"),
    ("out of order", 2, "certificate 2 did not issue certificate 1"),
    ("gap", 2, "certificate 2 did not issue certificate 1"), ("leaf last", 14, "put it first"),
    ("twice", 2, "certificate 2 did not issue certificate 1"), ("too many", 2, "more than 16"),
    ("too long", 2, "longer than")])
def test_cert_refuses_a_mistake_and_keeps_what_there_was(holder, how, status, words):
    user = holder.user
    user.write("bad.pem", broken(holder, how))
    before = holder.give("ec")
    done = user.lct("cert", "ec", "--set", "bad.pem", status=status)
    sentence = one_sentence(done.stderr)
    assert words in sentence and "bad.pem" in sentence
    assert user.lct("cert", "ec").stdout == before


def test_cert_refuses_the_certificate_of_another_identity(holder):
    holder.user.write("ec.pem", holder.chain("ec"))
    sentence = one_sentence(holder.user.lct("cert", "p384", "--set", "ec.pem", status=14).stderr)
    assert "another key" in sentence and "lct:p384" in sentence
    assert not holder.file("p384").exists()


def test_cert_refuses_an_issuer_of_the_same_name_that_did_not_sign(holder):
    """The name alone proves nothing."""
    user = holder.user
    leaf = holder.issue("ec")
    user.openssl("req", "-x509", "-key", "lct:rsa", "-subj", "/CN=sub", "-days", "9", "-out",
                 "sub.pem")
    sentence = one_sentence(user.lct("cert", "ec", "--set", "-", status=2,
                                     stdin=leaf + user.path("sub.pem").read_text()).stderr)
    assert "did not issue" in sentence and "standard input" in sentence


@pytest.mark.parametrize("dates, words", [(PAST, "expired"), (FUTURE, "not valid yet")])
def test_cert_keeps_one_that_is_not_valid_now_with_a_warning(holder, dates, words):
    chain = holder.chain("ec", dates=dates)
    done = holder.user.lct("cert", "ec", "--set", "-", stdin=chain)
    assert words in one_sentence(done.stderr)
    assert holder.user.lct("cert", "ec").stdout == chain


@pytest.mark.parametrize("arguments, status", [
    (["--set", "nowhere.pem"], 18), (["--set", "."], 18), (["--set"], 2),
    (["--set", "data", "--remove"], 2), (["--generation", "0"], 2), (["--generation", "-1"], 2),
    (["--generation", "one"], 2), (["--generation", "99999999999999999999"], 2),
    (["--generation", "2"], 3), (["--generation", "2", "--remove"], 3),
    (["--generation", "2", "--set", "data"], 3)])
def test_cert_refuses_wrong_usage(holder, arguments, status):
    one_sentence(holder.user.lct("cert", "ec", *arguments, status=status).stderr)


def test_cert_says_whose_file_cannot_be_written(holder):
    user = holder.user
    user.write("chain.pem", holder.chain("ec")).chmod(0o644)
    for directory in (user.directory, user.store, user.store / "ec", *user.directory.parents):
        directory.chmod(directory.stat().st_mode | 0o055)
    for path in (user.store / "ec").iterdir():
        path.chmod(0o644)
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    sentence = one_sentence(user.lct("cert", "ec", "--set", "chain.pem", status=7,
                                     **nobody).stderr)
    assert "ermission denied" in sentence and str(user.store) in sentence


# Seen in list, show and doctor.


def test_list_and_show_say_until_when_it_is_valid(holder):
    user = holder.user
    holder.give("ec")
    holder.give("rsa", dates=PAST)
    holder.give("p384", dates=FUTURE)
    lines = dict(re.findall(r"^(\w+) .*active\s+(.*)$", user.lct("list").stdout, re.MULTILINE))
    assert lines == {"ec": "until 2099-01-01", "rsa": "expired 2021-01-02",
                     "p384": "from 2098-01-01", "rsa3072": "none"}
    told = certificate_of(user, "ec")
    assert {key: told[key] for key in ("subject", "issuer", "not_after", "expired", "chain")} == {
        "subject": "CN=ec", "issuer": "CN=sub", "not_after": "2099-01-01T00:00:00Z",
        "expired": False, "chain": 3}
    assert told["days_left"] > 20000
    old = certificate_of(user, "rsa")
    assert old["expired"] and old["days_left"] < -1000
    assert certificate_of(user, "rsa3072") is None
    shown = user.lct("show", "ec").stdout
    printed = user.openssl("x509", "-noout", "-fingerprint", "-sha256", "-serial",
                           stdin=user.lct("cert", "ec").stdout, env=SOFTWARE).stdout
    fingerprint, serial = re.findall(r"=(.*)$", printed, re.MULTILINE)
    assert fingerprint in shown and serial in shown and "until 2099-01-01" in shown
    assert json.loads(user.lct("show", "ec", "--json").stdout)["certificate"] == told
    assert (told["sha256"], told["serial"]) == (fingerprint, serial)


def test_names_in_a_certificate_do_not_move_the_reader_s_cursor(holder):
    user = holder.user
    user.openssl("req", "-x509", "-utf8", "-key", "lct:ec", "-subj", "/CN=\x1b[2Jg\u00fcn\nlct:",
                 "-days", "9", "-out", "crt.pem")
    user.lct("cert", "ec", "--set", "crt.pem")
    for shown in (user.lct("show", "ec").stdout, user.lct("show", "ec", "--json").stdout):
        assert "\x1b" not in shown and "g\u00fcn" in shown
    assert not re.search(r"^lct:", user.lct("show", "ec").stdout, re.MULTILINE)


DAMAGES = {
    "no certificate": lambda file: file.write_text("\n"),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:300]),
    "with a key": lambda file: file.write_text(
        file.read_text() + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
    "long": lambda file: file.write_bytes(b"x" * (256 * 1024 + 1)),
    "a directory": lambda file: (file.unlink(), file.mkdir()),
    "a link": lambda file: (file.rename(file.with_name("x")), file.symlink_to("x")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_told_where_it_matters_and_the_key_signs(holder, damage):
    user = holder.user
    holder.give("ec")
    DAMAGES[damage](holder.file("ec"))
    done = user.lct("list")
    assert re.search(r"^ec .*damaged$", done.stdout, re.MULTILINE)
    assert "lct:ec" in one_sentence(done.stderr) and "certs-1.pem" in done.stderr
    assert "certs-1.pem" in certificate_of(user, "ec")["error"]
    assert "certs-1.pem" in user.lct("show", "ec").stdout
    findings = json.loads(user.lct("doctor", "--json", status=None).stdout)
    (told,) = [each for each in findings if "certs-1.pem" in each["text"]]
    assert (told["severity"], told["command"]) == ("warning", "lct cert ec --remove")
    assert "certs-1.pem" in one_sentence(user.lct("cert", "ec", status=6).stderr)
    user.openssl("dgst", "-sha256", "-sign", "lct:ec", "-out", "sig", "data")
    user.verify(user.public_key("lct:ec"), user.path("sig"), user.path("data"))
    user.lct("check", "ec")
    assert "certs-1.pem" in user.openssl("x509", "-in", "lct:ec", status=1).stderr
    certs = user.openssl("storeutl", "-certs", "lct:ec", status=None)
    assert certs.returncode != 0 and "damaged identity" in certs.stderr
    everything = user.openssl("storeutl", "-noout", "lct:ec", status=None)
    assert everything.returncode != 0 and "0: Pkey" in everything.stdout
    assert everything.stderr.count("certs-1.pem") == 1


@pytest.mark.parametrize("damage", sorted(DAMAGES.keys() - {"a directory"}))
def test_a_damaged_file_can_be_replaced_and_removed(holder, damage):
    holder.give("ec")
    DAMAGES[damage](holder.file("ec"))
    chain = holder.give("ec")
    assert holder.user.lct("cert", "ec").stdout == chain
    DAMAGES[damage](holder.file("ec"))
    holder.user.lct("cert", "ec", "--remove")
    holder.user.lct("cert", "ec", status=3)


def test_a_file_of_another_key_is_refused_wherever_it_is_asked_for(holder):
    """Copied into the store by hand: no server shall send it with this key."""
    user = holder.user
    holder.file("ec").write_text(holder.chain("p384"))
    assert "another key" in one_sentence(user.lct("cert", "ec", status=14).stderr)
    assert "another key" in user.lct("show", "ec").stdout
    findings = json.loads(user.lct("doctor", "--json", status=None).stdout)
    (told,) = [each for each in findings if "another key" in each["text"]]
    assert told["severity"] == "warning" and "lct:ec" in told["text"]
    done = user.openssl("x509", "-in", "lct:ec", status=1)
    assert "not the recorded key" in done.stderr and "another key" in done.stderr
    for search in (["-subject", "/CN=p384"], ["-alias", "ec"]):
        done = user.openssl("storeutl", "-certs", *search, "lct:", status=None)
        assert not blocks(done.stdout) and "another key" in done.stderr
    user.openssl("dgst", "-sha256", "-sign", "lct:ec", "-out", "sig", "data")


def doctor_certificates(user, status: int) -> dict[str, dict]:
    findings = json.loads(user.lct("doctor", "--json", status=status).stdout)
    return {each["severity"]: each for each in findings
            if each["text"].startswith("certificates")}


def test_doctor_says_nothing_of_certificates_where_there_are_none(owner):
    assert doctor_certificates(owner, 0) == {}


def test_doctor_is_content_with_certificates_that_are_valid(holder):
    holder.give("ec")
    assert list(doctor_certificates(holder.user, 0)) == ["ok"]


def test_doctor_warns_of_a_certificate_that_expires_soon(holder):
    holder.give("rsa")
    soon = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + 29 * 86400))
    holder.give("ec", dates=(LONG[0], soon))
    found = doctor_certificates(holder.user, 0)
    assert list(found) == ["warning"] and "lct:ec" in found["warning"]["text"]
    assert "lct:rsa" not in found["warning"]["text"]
    assert found["warning"]["command"] == "lct csr ec"


def test_doctor_has_a_problem_with_an_expired_certificate(holder):
    holder.give("ec", dates=PAST)
    done = holder.user.lct("doctor", status=16)
    assert "expired: lct:ec (2021-01-02)" in one_sentence(done.stderr)
    assert list(doctor_certificates(holder.user, 16)) == ["problem"]


# Through OpenSSL's store.


@pytest.mark.parametrize("uri", ["lct:ec", "lct://ec", "lct:///ec?generation=1"])
def test_the_store_yields_the_key_and_then_the_chain_leaf_first(holder, uri):
    chain = holder.give("ec")
    shown = holder.user.openssl("storeutl", uri).stdout
    kinds = re.findall(r"^(\d+): (\w+)$", shown, re.MULTILINE)
    assert kinds == [("0", "Pkey"), ("1", "Certificate"), ("2", "Certificate"),
                     ("3", "Certificate")]
    assert "".join(blocks(shown)) == chain
    assert "Total found: 4" in shown


def test_the_store_honours_what_is_expected(holder):
    user = holder.user
    chain = holder.give("ec")
    assert "".join(store_certs(user, "-certs", "lct:ec")) == chain
    for kind, found in (("-keys", 1), ("-crls", 0)):
        shown = user.openssl("storeutl", "-noout", kind, "lct:ec").stdout
        assert not re.search("Certificate", shown)
        assert shown.count("Pkey") == found
    assert store_certs(user, "-certs", "-noout", "lct:rsa") == []


def test_an_identity_without_certificates_has_its_key_alone(owner):
    assert "Total found: 1" in owner.openssl("storeutl", "-noout", "lct:ec").stdout
    shown = owner.openssl("storeutl", "-noout", "-certs", "lct:ec").stdout
    assert shown in ("Total found: 0\n", ""), "OpenSSL 3.5 says nothing of nothing"
    one = owner.openssl("x509", "-in", "lct:ec", status=1)
    assert "-----BEGIN" not in one.stdout


@pytest.fixture(name="shy")
def fixture_shy(holder, proxy) -> Holder:
    """The holder, who has shy, which takes a passphrase, with a chain; behind a proxy."""
    user = holder.user
    user.write("passphrase", "swordfish\n")
    user.lct("create", "shy", "--passphrase-file", "passphrase")
    user.configure(passphrase_file=user.path("passphrase"))
    holder.give("shy")
    user.tcti = proxy.tcti
    user.configure()
    return holder


@pytest.mark.parametrize("kind, words", [
    ("any", "key cert cert cert 1"), ("key", "key 1"), ("pub", "pub 0"),
    ("cert", "cert cert cert 0"), ("crl", "0")])
def test_only_the_private_key_asks_for_the_passphrase_and_nothing_asks_the_tpm(
        shy, program, proxy, kind, words):
    assert program("load", "lct:shy", kind, "swordfish").stdout == f"{words}\n"
    assert proxy.codes == []


def test_the_command_and_openssl_read_certificates_without_passphrase_and_tpm(shy, proxy):
    user = shy.user
    assert "passphrase" in user.openssl("pkey", "-in", "lct:shy", "-noout", status=1).stderr
    chain = user.lct("cert", "shy").stdout
    assert "".join(store_certs(user, "-certs", "lct:shy")) == chain
    user.openssl("x509", "-in", "lct:shy", "-noout")
    assert store_certs(user, "-certs", "-subject", "/CN=shy", "lct:") == blocks(chain)[:1]
    user.lct("cert", "shy", "--remove")
    user.lct("cert", "shy", "--set", "-", stdin=chain)
    user.lct("list")
    assert proxy.codes == []


@pytest.mark.parametrize("damage, kind, words", [
    ("cut", "any", "key failed 0"), ("cut", "cert", "failed 0"), ("cut", "key", "key 0"),
    ("cut", "pub", "pub 0")])
def test_a_program_is_told_of_a_damaged_chain_once_and_comes_to_the_end(
        holder, program, damage, kind, words):
    holder.give("ec")
    DAMAGES[damage](holder.file("ec"))
    done = program("load", "lct:ec", kind)
    assert done.stdout == f"{words}\n"
    assert done.stderr.count("certs-1.pem") == words.count("failed")


def test_a_program_may_look_for_the_end_before_it_says_what_it_wants(holder, program):
    for name in ("ec", "rsa"):
        holder.give(name)
    assert program("early", "lct:ec", "ec").stdout == "cert \n"
    assert program("early", "lct:", "rsa").stdout == "cert \n"
    assert program("early", "lct:", "nobody").stdout == "\n"
    assert program("early", "lct:", "root").stdout == "cert cert \n"


@pytest.mark.parametrize("uri", ["lct:", "lct:ec"])
def test_the_store_says_what_it_can_search_for(program, uri):
    assert program("searches", uri).stdout == "1 1 1 1 \n"


@pytest.mark.parametrize("uri", ["lct:", "lct:ec"])
def test_a_search_for_what_is_none_fails_and_finds_nothing(program, uri):
    done = program("garbage", uri)
    assert done.stdout == 9 * "failed " + "\n"
    assert done.stderr.count("not supported") == 9


def test_a_program_deletes_an_identity_through_the_store(holder, program):
    user = holder.user
    holder.give("ec")
    done = program("delete", "lct:ec")
    if done.stdout.startswith("skip:"):
        pytest.skip(done.stdout)
    assert done.stdout == "deleted\n"
    assert "ec" not in user.in_store() and not list(user.store.glob(".new/*"))
    user.lct("show", "ec", status=3)
    program("delete", "lct://rsa")
    for uri, reason in (("lct:ec", "no such identity"), ("lct:", "not supported"),
                        ("lct://p384?generation=1", "not supported"),
                        ("lct:../p384", "malformed id")):
        assert reason in program("delete", uri, status=1).stderr
    assert user.in_store() == ["p384", "rsa3072"]


def test_a_program_deletes_no_identity_whose_key_would_stay_in_the_tpm(holder, program):
    user = holder.user
    user.lct("persist", "ec")
    done = program("delete", "lct:ec", status=None)
    if not done.stdout.startswith("skip:"):
        assert done.returncode == 1 and "lct delete ec" in done.stderr
    assert "ec" in user.in_store()
    user.lct("delete", "ec", "--yes")


def test_x509_and_verify_take_the_certificate_from_the_store(holder):
    user = holder.user
    holder.give("ec")
    printed = user.openssl("x509", "-in", "lct:ec", "-noout", "-subject").stdout
    assert re.search(r"CN ?= ?ec", printed)
    user.openssl("verify", "-CAfile", holder.pki / "root.pem", "-untrusted", "lct:ec", "lct:ec")
    user.openssl("verify", "-CAfile", holder.pki / "root.pem", "lct:ec", status=2)


@pytest.mark.parametrize("name", ["ec", "rsa"])
def test_a_server_takes_key_and_certificates_from_the_store(holder, name):
    user = holder.user
    holder.give(name)
    server = user.serve("s_server", "-cert", f"lct:{name}", "-key", f"lct:{name}", "-cert_chain",
                        f"lct:{name}", "-accept", "127.0.0.1:0", "-www")
    port = server.read_until(rb"ACCEPT [\d.]+:(\d+)")[1].decode()
    done = user.openssl("s_client", "-connect", f"127.0.0.1:{port}", "-CAfile",
                        holder.pki / "root.pem", "-verify_return_error", env=SOFTWARE)
    assert "Verify return code: 0 (ok)" in done.stdout


@pytest.mark.parametrize("uri", ["lct:", "lct:ec"])
def test_the_store_finds_by_subject_issuer_and_serial_fingerprint_and_alias(holder, uri):
    user = holder.user
    leaf = blocks(holder.give("ec", subject="/O=Example/CN=alice"))[0]
    holder.give("rsa")
    holder.give("p384")
    user.write("leaf.pem", leaf)
    told = certificate_of(user, "ec")
    key = user.run("sh", "-c", "openssl x509 -in leaf.pem -noout -pubkey | "
                   "openssl pkey -pubin -outform DER | sha256sum", env=SOFTWARE).stdout.split()[0]
    sha1 = user.openssl("x509", "-in", "leaf.pem", "-noout", "-fingerprint", "-sha1",
                        env=SOFTWARE).stdout.strip().split("=")[1]
    for search in (["-subject", "/O=Example/CN=alice"], ["-subject", "/O=EXAMPLE/CN=alice"],
                   ["-issuer", "/CN=sub", "-serial", f"0x{told['serial']}"],
                   ["-sha256", "-fingerprint", told["sha256"]], ["-sha256", "-fingerprint", key],
                   ["-sha1", "-fingerprint", sha1]):
        assert store_certs(user, "-certs", *search, uri) == [leaf], search
        assert store_certs(user, *search, uri) == [leaf], search
        assert "Pkey" not in user.openssl("storeutl", "-keys", "-noout", *search, uri).stdout
    for search in (["-subject", "/CN=nobody"], ["-issuer", "/CN=sub", "-serial", "1"],
                   ["-issuer", "/CN=root", "-serial", f"0x{told['serial']}"],
                   ["-sha256", "-fingerprint", "00" * 32], ["-alias", "nobody"]):
        assert store_certs(user, "-certs", *search, uri) == [], search
    assert len(store_certs(user, "-certs", "-alias", "ec", uri)) == 3


def test_the_store_gives_an_issuer_that_is_in_many_chains_as_often(holder):
    for name in ("ec", "rsa"):
        holder.give(name)
    found = store_certs(holder.user, "-certs", "-subject", "/CN=root", "lct:")
    assert found == 2 * [holder.text("root.pem")]


def test_an_alias_is_an_id_and_has_the_key_too(holder):
    user = holder.user
    holder.give("ec")
    shown = user.openssl("storeutl", "-noout", "-alias", "ec", "lct:ec").stdout
    assert "Total found: 4" in shown and "0: Pkey" in shown
    assert "Pkey" not in user.openssl("storeutl", "-noout", "-alias", "rsa", "lct:ec").stdout


def test_names_alone_are_listed_without_a_search(holder):
    holder.give("ec")
    shown = holder.user.openssl("storeutl", "-noout", "lct:").stdout
    assert "Certificate" not in shown and "Total found: 4" in shown
    shown = holder.user.openssl("storeutl", "-noout", "-r", "-certs", "lct:").stdout
    assert shown.count("Certificate") == 3


def test_a_search_gives_the_others_and_then_says_which_is_damaged(holder):
    user = holder.user
    for name in ("ec", "rsa"):
        holder.give(name)
    holder.file("ec").write_text("damaged\n")
    done = user.openssl("storeutl", "-certs", "-subject", "/CN=rsa", "lct:", status=None)
    assert len(blocks(done.stdout)) == 1
    assert done.returncode != 0 and done.stderr.count("lct:ec") == 1


def test_a_search_passes_over_what_the_user_may_not_read(holder):
    user = holder.user
    for name in ("ec", "rsa"):
        holder.give(name)
    for directory in (user.directory, user.store, *user.directory.parents):
        directory.chmod(directory.stat().st_mode | 0o055)
    for path in (user.store / "rsa").iterdir():
        path.chmod(0o644)
    (user.store / "rsa").chmod(0o755)
    user.conf.chmod(0o644)
    done = user.openssl("storeutl", "-certs", "-subject", "/CN=root", "lct:", user="nobody",
                        group="nogroup", extra_groups=[])
    assert len(blocks(done.stdout)) == 1


def test_castore_takes_the_container(holder):
    """X509_LOOKUP_store searches by subject, and breaks off at the first thing that is none."""
    user = holder.user
    user.write("leaf.pem", holder.issue("p384"))
    user.write("sub.pem", holder.text("sub.pem"))
    holder.give("ec")
    user.openssl("verify", "-CAstore", "lct:", "leaf.pem")
    user.openssl("verify", "-CAstore", "lct:ec", "leaf.pem")
    user.openssl("verify", "-CAstore", "lct:rsa", "leaf.pem", status=2)


def test_a_search_in_a_thousand_identities_reads_what_it_must(holder):
    """And the plain list reads no certificate: a store full of damaged ones is listed."""
    user = holder.user
    leaf = blocks(holder.give("ec"))[0]
    for number in range(1000):
        copy = user.store / f"copy{number}"
        copy.mkdir()
        for path in (user.store / "rsa").iterdir():
            text = path.read_text()
            copy.joinpath(path.name).write_text(text.replace('"rsa"', f'"copy{number}"'))
    assert store_certs(user, "-certs", "-subject", "/CN=ec", "lct:") == [leaf]
    for number in range(1000):
        (user.store / f"copy{number}" / "certs-1.pem").write_text("damaged")
    shown = user.openssl("storeutl", "-noout", "lct:")
    assert "Total found: 1004" in shown.stdout and shown.stderr == ""


def add_generation(user, name: str, other: str):
    """Makes the key of another identity a second, active generation; the first one signs on."""
    second = user.record(other)["generations"][0] | {"generation": 2}

    def change(record):
        record["generations"][0]["until"] = "2099-01-01T00:00:00Z"
        record["generations"].append(second)
        record["active"] = 2

    user.edit_record(name, change)
    shutil.copy(user.store / other / "key-1.pem", user.store / name / "key-2.pem")


def test_each_generation_has_its_own_certificates(holder):
    user = holder.user
    first = holder.give("ec")
    second = holder.chain("p384")
    add_generation(user, "ec", "p384")
    user.lct("cert", "ec", status=3)
    assert store_certs(user, "-certs", "lct:ec") == []
    user.lct("cert", "ec", "--set", "-", stdin=first, status=14)
    user.lct("cert", "ec", "--set", "-", stdin=second)
    assert user.lct("cert", "ec").stdout == second
    assert user.lct("cert", "ec", "--generation", "1").stdout == first
    assert "".join(store_certs(user, "-certs", "lct://ec")) == second
    assert "".join(store_certs(user, "-certs", "lct://ec?generation=1")) == first
    assert "".join(store_certs(user, "-certs", "lct://ec?generation=2")) == second
    one = user.openssl("pkey", "-in", "lct://ec?generation=1", "-pubout").stdout
    leaf = user.openssl("x509", "-in", "lct://ec?generation=1", "-noout", "-pubkey").stdout
    assert one == leaf
    user.lct("cert", "ec", "--generation", "1", "--remove")
    assert not holder.file("ec", 1).exists() and holder.file("ec", 2).exists()
    assert "no generation 3" in user.openssl("storeutl", "lct://ec?generation=3", status=1).stderr


# Whole or not at all.


def left_in(user, name: str) -> set[str]:
    return {path.name for path in (user.store / name).iterdir()} - {"identity.json", "key-1.pem"}


def test_set_writes_durably_and_renames_into_place(holder):
    holder.user.write("chain.pem", holder.chain("ec"))
    steps = steps_of(holder.user, ["cert", "ec", "--set", "chain.pem"])
    renamed = steps.index("rename")
    assert steps.count("rename") == 1 and "fsync" in steps[:renamed]
    assert "fsync" in steps[renamed:] and "write" not in steps[renamed:]
    assert steps.index("write") < steps.index("fsync")
    assert left_in(holder.user, "ec") == {"certs-1.pem"}


@pytest.mark.parametrize("action", ["kill", "ENOSPC", "EIO", "EROFS", "ENOSPC+", "EROFS+"])
def test_a_set_stopped_at_any_step_leaves_the_old_chain_or_the_new(holder, action):
    user = holder.user
    old, new = holder.give("ec"), holder.chain("ec")
    user.write("old.pem", old)
    user.write("new.pem", new)
    seen = set()
    for step in range(1, ENOUGH):
        user.lct("cert", "ec", "--set", "old.pem")
        done = run_failing(user, ["cert", "ec", "--set", "new.pem"], step, action)
        left = user.lct("cert", "ec").stdout
        assert left in (old, new), f"step {step}"
        if done.returncode == 0:
            assert left == new
            break
        if action == "kill":
            assert done.returncode == -signal.SIGKILL
        else:
            assert done.returncode == 7, done.stderr
            words = os.strerror(getattr(errno, action.strip("+")))
            assert words.lower() in one_sentence(done.stderr).lower()
            assert str(user.store) in done.stderr
        seen.add(left == new)
        user.lct("cert", "ec", "--set", "new.pem")
        assert left_in(user, "ec") == {"certs-1.pem"}
    assert 5 < step < ENOUGH - 1
    assert seen == {True, False}


def test_a_remove_killed_at_any_step_leaves_the_chain_or_none(holder):
    user = holder.user
    for step in range(1, ENOUGH):
        chain = holder.give("ec")
        done = run_failing(user, ["cert", "ec", "--remove"], step, "kill")
        if done.returncode == 0:
            break
        left = user.lct("cert", "ec", status=None)
        assert left.returncode == 3 or left.stdout == chain
    assert 1 < step < ENOUGH - 1
    assert left_in(user, "ec") == set()


def test_what_a_crash_left_goes_with_the_identity(holder):
    user = holder.user
    user.write("chain.pem", holder.chain("ec"))
    steps = steps_of(user, ["cert", "ec", "--set", "chain.pem"])
    run_failing(user, ["cert", "ec", "--set", "chain.pem"], steps.index("rename") + 1, "kill")
    assert len(left_in(user, "ec")) == 2, "the test is of something"
    user.lct("check", "ec")
    user.lct("delete", "ec", "--yes")
    assert not (user.store / "ec").exists()


def test_setters_at_the_same_time_take_turns(holder):
    user = holder.user
    chains = [holder.chain("ec") for _ in range(4)]
    for _ in range(5):
        barrier = threading.Barrier(len(chains))
        done = []

        def give(chain, barrier=barrier, done=done):
            barrier.wait()
            done.append(user.lct("cert", "ec", "--set", "-", stdin=chain, status=None))

        threads = [threading.Thread(target=give, args=(chain,)) for chain in chains]
        for thread in threads:
            thread.start()
        seen = {user.lct("cert", "ec", status=None).stdout for _ in range(5)}
        for thread in threads:
            thread.join()
        assert [each.returncode for each in done] == [0] * len(chains)
        assert user.lct("cert", "ec").stdout in chains
        assert seen <= {*chains, ""}
        assert left_in(user, "ec") == {"certs-1.pem"}


def test_a_reader_who_locks_the_directory_is_not_waited_for_for_ever(holder):
    chain = holder.give("ec")
    directory = os.open(holder.user.store / "ec", os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_SH)
        error = holder.user.lct("cert", "ec", "--remove", status=7).stderr
        assert "its directory is locked by another program" in error
    finally:
        os.close(directory)
    assert holder.user.lct("cert", "ec").stdout == chain
    holder.user.lct("cert", "ec", "--remove")
