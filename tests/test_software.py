# SPDX-License-Identifier: Apache-2.0
"""Identities whose keys are in software: encrypted files, which libcrypto's own decoders take."""

import base64
import json
import os
import re
import shutil
import signal

import pytest

from apps import SOFTWARE, Client, as_user, at_once, free_port
from keyfile import der
from test_command import NEEDS_ROOT, let_others_in, one_sentence
from test_decoding import ALONE, ASKING, DER_WAYS
from test_passphrase import on_a_terminal
from test_store import ENOUGH, leftovers, run_failing
from test_web_servers import errors_of, start_nginx
from x509 import oid, sequence

SECRET = "correct horse battery staple"
PASS = ("-passin", f"pass:{SECRET}")
KINDS = {"p": "ec-p256", "q": "ec-p384", "e": "ed25519"}
EACH = pytest.mark.parametrize("key", KINDS)
ORDERS = pytest.mark.parametrize("order", [("default", "lct"), ("lct", "default")],
                                 ids=["default first", "lct first"])
USAGE, EXISTS, BAD_RECORD, CONFIG, AUTH, UNSUPPORTED, CHECK, ENDED, HARDWARE = (
    2, 4, 6, 8, 12, 15, 16, 25, 26)
PBES2, PBKDF2, SCRYPT = "1.2.840.113549.1.5.13", "1.2.840.113549.1.5.12", "1.3.6.1.4.1.11591.4.11"
AES, HMAC_SHA256 = "2.16.840.1.101.3.4.1.42", "1.2.840.113549.2.9"
LABEL = "ENCRYPTED PRIVATE KEY"


@pytest.fixture(scope="session", name="cellar")
def fixture_cellar(build, tmp_path_factory):
    """A store with an identity of each kind, made where there is no TPM."""
    from conftest import User

    user = User(build, tmp_path_factory.mktemp("cellar"), "swtpm:path=/nowhere/tpm")
    secret = user.write("secret", SECRET)
    for name, kind in KINDS.items():
        done = user.lct("create", "--software", name, "--algorithm", kind, "--passphrase-file",
                        secret)
        assert done.stdout == f"created lct:{name} ({kind}, custody: software, with a passphrase)\n"
        assert not done.stderr
    return user.store


@pytest.fixture(name="soft")
def fixture_soft(make_user, cellar):
    """Who has identities in software, and no TPM at all."""
    user = make_user("swtpm:path=/nowhere/tpm")
    shutil.copytree(cellar, user.store)
    user.secret = user.write("secret", SECRET + "\n")
    user.write("data")
    return user


def public(user, key: str):
    path = user.path(f"{key}.pub")
    path.write_text(json.loads(user.lct("show", key, "--json").stdout)["public_key"])
    return path


def verify(user, key: str, signature="sig", data="data"):
    """In software, by the public key that lct show has."""
    options = ["-rawin"] if KINDS[key] == "ed25519" else ["-rawin", "-digest", "sha256"]
    done = user.openssl("pkeyutl", "-verify", "-pubin", "-inkey", public(user, key), *options,
                        "-in", data, "-sigfile", signature, env=SOFTWARE)
    assert "Verified Successfully" in done.stdout


def sign(user, key: str, uri: str | None = None, *options, **more):
    """openssl signs `data`."""
    digest = [] if KINDS[key] == "ed25519" else ["-digest", "sha256"]
    return user.openssl("pkeyutl", "-sign", "-rawin", *digest, "-in", "data", "-inkey",
                        uri or f"lct:{key}", "-out", "sig", *(options or PASS), **more)


def edit(user, key: str, **changes):
    """Changes members of the record's one generation."""
    user.edit_record(key, lambda record: record["generations"][0].update(changes))


def end(user, key: str):
    """As if it had been revoked."""
    user.edit_record(key, lambda record: record.update(
        state="revoked", ended={"reason": "compromise", "time": "2026-01-01T00:00:00Z"}))


def key_file(user, key: str):
    return user.store / key / "key-1.pem"


def pem(content: bytes, label: str = LABEL) -> str:
    text = base64.encodebytes(content).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n"


def content_of(path) -> bytes:
    return base64.b64decode("".join(path.read_text().splitlines()[1:-1]))


def number(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def scrypt(n=2**14, r=8, p=5, salt=bytes(16), more=b"") -> bytes:
    return sequence(oid(SCRYPT), sequence(der(4, salt), number(n), number(r), number(p), more))


def pbkdf2(iterations: int) -> bytes:
    return sequence(oid(PBKDF2), sequence(der(4, bytes(16)), number(iterations),
                                          sequence(oid(HMAC_SHA256), der(5, b""))))


def encrypted(kdf: bytes, cipher: str = AES, scheme: str = PBES2) -> bytes:
    """EncryptedPrivateKeyInfo, of which nobody knows the passphrase."""
    return sequence(sequence(oid(scheme), sequence(kdf, sequence(oid(cipher), der(4, bytes(16))))),
                    der(4, bytes(144)))


# Made, and what is said of them.


def test_custody_is_said_of_each(soft):
    for row in json.loads(soft.lct("list", "--json").stdout):
        assert (row["custody"], row["hardware_bound"], row["passphrase"], row["tpm"]) == (
            "software", False, True, None)
        assert row["algorithm"] == KINDS[row["id"]]
    for key, kind in KINDS.items():
        assert re.search(rf"^{key} +{kind} +software +none +active +none$",
                         soft.lct("list").stdout, re.MULTILINE)
        shown = soft.lct("show", key)
        assert "custody      software\n" in shown.stdout and "attributes" not in shown.stdout
        assert "hardware_bound false\n" in shown.stdout and not shown.stderr
        assert "name" not in json.loads(soft.lct("show", key, "--json").stdout)


@EACH
def test_the_key_is_an_encrypted_pkcs8_of_openssl_s(soft, key):
    assert oct(key_file(soft, key).stat().st_mode & 0o777) == "0o640"
    text = soft.openssl("asn1parse", "-in", key_file(soft, key), env=SOFTWARE).stdout
    assert ":PBES2" in text and ":scrypt" in text and ":aes-256-cbc" in text
    done = soft.openssl("pkey", "-in", key_file(soft, key), *PASS, "-pubout", env=SOFTWARE)
    assert done.stdout == public(soft, key).read_text()
    assert SECRET.encode() not in key_file(soft, key).read_bytes()


def test_two_keys_share_nothing(soft):
    soft.lct("create", "--software", "p2", "--passphrase-file", soft.secret)
    one, other = (content_of(key_file(soft, key)) for key in ("p", "p2"))
    salt, iv = (slice(at, at + 16) for at in (one.index(b"\x04\x10") + 2, len(one) - 3 - 144 - 16))
    assert one[salt] != other[salt] and one[iv] != other[iv]
    assert not any(one[at:at + 16] in other for at in range(len(one) - 144, len(one) - 16))


def test_the_web4_name_of_an_ed25519_key_is_the_pinned_one(soft):
    seed = bytes.fromhex("302e020100300506032b657004220420") + b"\x07" * 32
    soft.write("seed", seed)
    soft.openssl("pkey", "-inform", "DER", "-in", "seed", "-pubout", "-out", "pub", env=SOFTWARE)
    done = soft.run(soft.build / "tests" / "software", "web4", soft.path("pub"))
    assert done.stdout == ("lct:web4:mb32:"
                           "b72asyextvngonlc5w2nmguxza3frweppip5thyss5577kurghceq\n")
    for key, status in {"p": 0, "e": 0, "q": 1}.items():
        done = soft.run(soft.build / "tests" / "software", "web4", public(soft, key), status=status)
    assert "only an Ed25519 or P-256 key" in done.stderr


@pytest.mark.parametrize("options, text", [
    (["--seal", "none"], "not sealed"), (["--bind"], "not sealed"), (["--revocable"], "not sealed"),
    (["--algorithm", "rsa-2048"], "choose ec-p256, ec-p384 or ed25519"),
    (["--algorithm", "nothing"], "choose ec-p256, ec-p384 or ed25519")])
def test_what_a_key_in_software_cannot_be_is_refused(soft, options, text):
    done = soft.lct("create", "new", "--software", "--passphrase-file", soft.secret, *options,
                    status=USAGE)
    assert text in one_sentence(done.stderr)
    soft.lct("show", "new", status=3)


def test_a_tpm_makes_no_ed25519_key_and_none_is_made_in_its_place(user):
    done = user.lct("create", "new", "--algorithm", "ed25519", status=USAGE)
    assert '"ed25519" in a TPM; choose ec-p256' in one_sentence(done.stderr)
    assert not user.in_store()


def test_without_a_tpm_nothing_is_made_in_software_by_itself(soft):
    soft.lct("create", "new", "--passphrase-file", soft.secret, status=9)
    soft.lct("create", "new", status=9)
    assert soft.in_store() == sorted(KINDS)


def test_an_id_is_used_once(soft):
    for options in ([], ["--algorithm", "ed25519"]):
        done = soft.lct("create", "p", "--software", "--passphrase-file", soft.secret, *options,
                        status=EXISTS)
        assert "exists already" in one_sentence(done.stderr)
    there = soft.lct("create", "p", "--software", "--if-absent", "--passphrase-file", soft.secret)
    assert "is there already (ec-p256)" in there.stdout
    soft.lct("create", "p", "--software", "--if-absent", "--algorithm", "ed25519",
             "--passphrase-file", soft.secret, status=EXISTS)


def test_if_absent_takes_no_other_custody(owner):
    secret = owner.write("secret", SECRET)
    said = owner.lct("create", "ec", "--software", "--if-absent", "--passphrase-file", secret,
                     status=EXISTS).stderr
    assert "exists already, in the TPM" in one_sentence(said)
    owner.lct("create", "s", "--software", "--passphrase-file", secret)
    said = owner.lct("create", "s", "--if-absent", status=EXISTS).stderr
    assert "exists already, in software" in one_sentence(said)


def test_a_creation_killed_at_any_step_leaves_all_or_nothing(soft):
    seen = set()
    for step in range(1, ENOUGH):
        done = run_failing(soft, ["create", "--software", f"v{step}", "--passphrase-file",
                                  soft.secret], step, "kill")
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        whole = f"v{step}" in soft.in_store()
        if whole:
            soft.lct("check", f"v{step}", "--passphrase-file", soft.secret)
        seen.add(whole)
    assert 5 < step < ENOUGH - 1 and seen == {True, False}
    soft.lct("create", "--software", "last", "--passphrase-file", soft.secret)
    assert not leftovers(soft.store)


# Used.


@EACH
def test_the_command_signs(soft, key):
    for options in ([], ["--raw"]):
        signature = soft.lct("sign", key, "--passphrase-file", soft.secret, *options,
                             stdin="what is signed\n", text=False).stdout
        soft.path("sig").write_bytes(signature)
        if options and KINDS[key] != "ed25519":
            assert len(signature) == {"p": 64, "q": 96}[key]
        elif KINDS[key] == "ed25519":
            assert len(signature) == 64
            verify(soft, key)
        else:
            digest = {"p": "sha256", "q": "sha384"}[key]
            soft.verify(public(soft, key), soft.path("sig"), soft.path("data"), digest)


@EACH
def test_the_command_signs_for_jose(soft, key):
    jwcrypto = pytest.importorskip("jwcrypto.jws")
    from jwcrypto.jwk import JWK

    text = soft.lct("sign", key, "--jose", "--passphrase-file", soft.secret, stdin="hello").stdout
    token = jwcrypto.JWS()
    token.allowed_algs = ["EdDSA", "ES256", "ES384"]
    token.deserialize(text.strip(), JWK.from_pem(public(soft, key).read_bytes()))
    assert token.payload == b"hello"
    assert json.loads(token.objects["protected"]) == {
        "alg": {"p": "ES256", "q": "ES384", "e": "EdDSA"}[key], "kid": f"lct:{key}"}


@EACH
@ORDERS
@pytest.mark.parametrize("query", [None, "?provider=lct", "?provider!=lct"])
def test_openssl_uses_it_as_any_other_key(soft, key, order, query):
    soft.configure(order=order, default_properties=query)
    sign(soft, key)
    verify(soft, key)
    uri = f"lct:{key}"
    assert soft.openssl("pkey", "-in", uri, *PASS, "-pubout").stdout == public(
        soft, key).read_text()
    soft.openssl("req", "-x509", "-key", uri, *PASS, "-subj", "/CN=localhost", "-out", "crt.pem")
    soft.openssl("verify", "-CAfile", "crt.pem", "crt.pem", env=SOFTWARE)
    assert "Total found: 1" in soft.openssl("storeutl", *PASS, "-noout", uri).stdout


@EACH
def test_the_key_is_the_default_provider_s(soft, key):
    """Ours is not in the way: what it would refuse, libcrypto does."""
    text = soft.openssl("pkey", "-in", f"lct:{key}", *PASS, "-text", "-noout").stdout
    assert "priv:" in text and "TPM" not in text


@EACH
def test_the_public_key_takes_no_passphrase(soft, key):
    for options in ([], ["-propquery", "?provider=lct"]):
        done = soft.openssl("pkey", "-pubin", "-in", f"lct:{key}", "-pubout", *options,
                            start_new_session=True)
        assert done.stdout == public(soft, key).read_text() and not done.stderr
    sign(soft, key)
    done = soft.openssl("pkeyutl", "-verify", "-pubin", "-inkey", f"lct:{key}", "-rawin", "-in",
                        "data", "-sigfile", "sig",
                        *([] if KINDS[key] == "ed25519" else ["-digest", "sha256"]))
    assert "Verified Successfully" in done.stdout


@EACH
def test_a_reference_file_gives_no_public_key_and_says_so(soft, key):
    soft.write("ref", soft.lct("pem", key).stdout)
    done = soft.run(soft.build / "tests" / "decode", "refused", "ref", "-", "store-public")
    assert re.match(rf"store-public 0 lct:{key} .* a public one is asked for: .* -pubout\nok$",
                    done.stdout)


@EACH
@pytest.mark.parametrize("form", ["PEM", "DER"])
@ORDERS
def test_a_reference_file_stands_for_it(soft, key, form, order):
    soft.configure(order=order)
    text = soft.lct("pem", key).stdout
    assert "LCT PRIVATE KEY" in text
    soft.write("ref", text if form == "PEM" else base64.b64decode("".join(text.splitlines()[1:-1])))
    sign(soft, key, "ref")
    verify(soft, key)
    assert soft.openssl("pkey", "-in", "ref", "-inform", form, *PASS, "-pubout").stdout == public(
        soft, key).read_text()


@pytest.mark.parametrize("key, mode", [
    *((key, mode) for key in KINDS for mode in ([], ["allocator"], ["own"])), ("p", ["threads"])],
    ids=str)
def test_programs_read_a_reference_file_in_every_way(soft, key, mode):
    soft.configure(passphrase_file=soft.secret)
    text = soft.lct("pem", key).stdout
    soft.write("ref.pem", text)
    soft.write("ref.der", base64.b64decode("".join(text.splitlines()[1:-1])))
    decode = [soft.build / "tests" / "decode", *mode, "software", "provided"]
    signs = ["sign"] if KINDS[key] != "ed25519" else []
    few = ["pem"], ["d2i"]  # eight threads decrypt forty times in each way: seconds, for a key
    pem_ways, der_ways = few if "threads" in mode else (ALONE, DER_WAYS)
    soft.run(*decode, *signs, "ref.pem", "-", *pem_ways)
    soft.run(*decode, *signs, "ref.der", "-", *der_ways)
    if not mode:  # asked once in each way
        soft.configure()
        done = soft.run(*decode, "ref.pem", "-", *ASKING, env={"DECODE_PASSPHRASE": SECRET})
        assert {line.split()[1] for line in done.stdout.splitlines()[:-1]} == {"1"}, done.stdout


@EACH
def test_a_certificate_comes_with_it(soft, key):
    csr = soft.lct("csr", key, "--subject", "/CN=localhost", "--passphrase-file",
                   soft.secret).stdout
    done = soft.openssl("req", "-verify", "-noout", stdin=csr, env=SOFTWARE)
    assert "verify OK" in done.stdout + done.stderr  # of 3.0 the latter, of 3.5 the former
    soft.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=CA", env=SOFTWARE)
    crt = soft.openssl("x509", "-req", "-CA", "ca.crt", "-CAkey", "ca.key", stdin=csr,
                       env=SOFTWARE).stdout
    soft.lct("cert", key, "--set", soft.write("crt", crt))
    assert "Total found: 2" in soft.openssl("storeutl", *PASS, "-noout", f"lct:{key}").stdout
    other = "q" if key != "q" else "p"
    said = soft.lct("cert", other, "--set", soft.path("crt"), status=14).stderr
    assert f"lct:{other} (custody: software)" in said


def test_nginx_serves_with_a_key_in_software(make_site, machine):
    site, port = make_site("ec"), free_port()
    secret = site.write("secret", SECRET)
    site.user.configure(passphrase_file=secret)
    site.user.lct("create", "soft", "--software", "--passphrase-file", secret)
    csr = site.user.lct("csr", "soft", "--subject", "/CN=localhost").stdout
    site.crts["soft"] = site.path("soft.ca.crt")
    machine._sign(csr, site.crts["soft"])
    nginx = start_nginx(site, port, identities=("soft",))
    at_once(lambda: Client(site.ca).get(port))
    nginx.stop(signal.SIGQUIT)
    assert not errors_of(site)


def test_the_tpm_hears_nothing_of_it(watched, proxy):
    secret = watched.write("secret", SECRET)
    watched.configure(passphrase_file=secret)
    watched.lct("create", "p", "--software", "--passphrase-file", secret)
    watched.lct("sign", "p", stdin="x", text=False)
    watched.lct("check", "p")
    watched.lct("pem", "p")
    watched.openssl("dgst", "-sha256", "-sign", "lct:p", "-out", "sig", "data")
    watched.lct("attest", "offer", "p", status=UNSUPPORTED)
    watched.lct("delete", "p", "--yes")
    assert proxy.codes == []


# Passphrases.


def test_it_is_found_where_that_of_any_other_key_is(soft):
    directory = soft.path("passphrases")
    directory.mkdir()
    (directory / "p").write_text(SECRET)
    credentials = soft.path("credentials")
    credentials.mkdir()
    (credentials / "lct.p").write_text(SECRET)
    for settings in ({"passphrase_file": soft.secret}, {"passphrase_file": directory},
                     {"credentials": credentials}):
        soft.configure(**settings)
        soft.lct("sign", "p", stdin="x", text=False)
        sign(soft, "p", None, "-passin", "pass:not asked for")
        verify(soft, "p")


def test_it_is_asked_for_by_its_name_and_once(soft):
    soft.write("ref", soft.lct("pem", "e").stdout)
    for uri in ("lct:e", "ref"):
        shown = on_a_terminal(soft, ["openssl", "pkey", "-in", uri, "-noout"], SECRET)
        assert shown.startswith("0 ") and shown.count("lct:e (custody: software)") == 1, shown
        shown = on_a_terminal(soft, ["openssl", "pkey", "-in", uri, "-noout"], "wrong")
        assert "lct:e (custody: software): wrong passphrase, or its key file is damaged" in shown
        assert shown.startswith("1 ") and shown.count("Enter pass phrase") == 1, shown
    lct = str(soft.build / "lct")
    shown = on_a_terminal(soft, [lct, "check", "e"], SECRET)
    assert shown.startswith("0 ") and "passphrase of lct:e (custody: software)" in shown
    shown = on_a_terminal(soft, [lct, "create", "t", "--software"], "typed", "typed")
    assert shown.startswith("0 ") and "created lct:t" in shown and "typed" not in shown
    shown = on_a_terminal(soft, [lct, "create", "u", "--software"], "typed", "other")
    assert shown.startswith("12 ") and "u" not in soft.in_store()


@EACH
def test_a_wrong_one_is_refused_with_its_name(soft, key):
    wrong = soft.write("wrong", "wrong")
    for command in (["sign", key], ["csr", key]):
        said = soft.lct(*command, "--passphrase-file", wrong, stdin="x", status=AUTH).stderr
        assert f"lct:{key} (custody: software): wrong passphrase" in one_sentence(said)
    soft.write("ref", soft.lct("pem", key).stdout)
    for uri in (f"lct:{key}", "ref"):
        said = sign(soft, key, uri, "-passin", "pass:wrong", status=1).stderr
        assert f"lct:{key} (custody: software): wrong passphrase" in said
        assert not soft.path("sig").exists()


def test_with_no_terminal_it_says_what_to_do(soft):
    said = soft.lct("sign", "p", stdin="x", status=AUTH, start_new_session=True).stderr
    assert "passphrase of lct:p (custody: software)" in said and "no terminal" in said
    said = soft.lct("create", "new", "--software", status=AUTH, start_new_session=True).stderr
    assert "new passphrase" in said and "no terminal" in said and "new" not in soft.in_store()
    said = soft.openssl("pkey", "-in", "lct:p", "-noout", status=1, start_new_session=True).stderr
    assert "lct:p (custody: software): signing with it takes its passphrase" in said


@pytest.mark.parametrize("passphrase, text", [
    ("", "is empty"), ("\n", "is empty"), ("x" * 33, "longer than 32"), ("a\0b", "zero byte")])
def test_what_is_no_passphrase_is_refused(soft, passphrase, text):
    file = soft.write("odd", passphrase)
    said = soft.lct("create", "new", "--software", "--passphrase-file", file, status=AUTH).stderr
    assert text in said and "new" not in soft.in_store()
    assert text in soft.lct("sign", "p", "--passphrase-file", file, stdin="x", status=AUTH).stderr


def test_the_end_of_the_line_is_no_part_of_it(soft):
    soft.lct("create", "line", "--software", "--passphrase-file", soft.write("crlf", "typed\r\n"))
    soft.openssl("pkey", "-in", "lct:line", "-passin", "pass:typed", "-noout")


@pytest.mark.parametrize("key", ["p", "e"])
def test_a_passphrase_does_not_stay_in_memory(soft, key):
    if "asan" in soft.build.name or "tsan" in soft.build.name:
        pytest.skip("a sanitizer's allocator keeps what was freed")
    done = soft.run(soft.build / "tests" / "software", "wiped", soft.store, key, soft.secret)
    before, after = map(int, re.findall(r"\d+", done.stdout))
    assert before > 0 and after == 0


# Allowed or not.


@pytest.mark.parametrize("value, create, use", [("no", 0, 0), ("new", HARDWARE, 0),
                                                ("yes", HARDWARE, HARDWARE)])
@pytest.mark.parametrize("how", ["file", "environment"])
def test_require_hardware(soft, value, create, use, how):
    settings = {"require_hardware": value} if how == "file" else {}
    soft.configure(passphrase_file=soft.secret, **settings)
    env = {"LCT_REQUIRE_HARDWARE": value} if how == "environment" else {}
    made = soft.lct("create", "new", "--software", "--passphrase-file", soft.secret, env=env,
                    status=create)
    assert ("new" in soft.in_store()) == (create == 0)
    used = soft.lct("sign", "p", stdin="x", text=False, env=env, status=use)
    opened = sign(soft, "p", env=env, status=1 if use else 0)
    if create:
        assert f"lct:new: it is not made in software: require_hardware is {value}" in made.stderr
    if use:
        for said in (used.stderr, opened.stderr):
            assert "lct:p (custody: software): its key is in software, and require_" in said
            assert "require_hardware is yes" in said
        assert "only keys in a TPM are allowed" in opened.stderr
    assert ("warning" in used.stderr) == (value == "new")
    soft.openssl("pkey", "-pubin", "-in", "lct:p", "-pubout", env=env)
    soft.lct("show", "p", env=env)


def test_a_reference_file_is_held_to_it_too(soft):
    soft.write("ref", soft.lct("pem", "p").stdout)
    soft.configure(require_hardware="yes", passphrase_file=soft.secret)
    assert "require_hardware is yes" in sign(soft, "p", "ref", status=1).stderr


@pytest.mark.parametrize("file, variable, status", [
    ("yes", "no", HARDWARE), ("yes", "new", HARDWARE), ("new", "yes", HARDWARE), ("no", "yes", 26),
    ("new", "no", 0), ("no", "no", 0)])
def test_the_environment_makes_it_only_stricter(soft, file, variable, status):
    soft.configure(require_hardware=file, passphrase_file=soft.secret)
    env = {"LCT_REQUIRE_HARDWARE": variable}
    soft.lct("sign", "p", stdin="x", text=False, env=env, status=status)
    sign(soft, "p", env=env, status=1 if status else 0)
    soft.lct("create", "n", "--software", "--passphrase-file", soft.secret, env=env,
             status=0 if file == variable == "no" else HARDWARE)


def test_what_it_takes_is_said(soft):
    for value in ("maybe", "", "YES"):
        said = soft.lct("list", env={"LCT_REQUIRE_HARDWARE": value}, status=CONFIG).stderr
        assert "it takes no, new or yes" in one_sentence(said)


def test_keys_in_the_tpm_are_allowed_always(owner):
    owner.configure(require_hardware="yes")
    owner.lct("create", "new")
    owner.lct("check", "ec", "new", "--hardware-bound")
    owner.openssl("dgst", "-sha256", "-sign", "lct:ec", "-out", "sig", "data")


def test_what_is_forbidden_is_taken_into_the_tpm_as_the_refusal_says(owner):
    """The old key signs that the other follows, which `yes` does not let it do."""
    secret = owner.write("secret", SECRET)
    owner.lct("create", "s", "--software", "--passphrase-file", secret)
    rotate = ["rotate", "s", "--to", "tpm", "--no-passphrase", "--passphrase-file", secret]
    owner.configure(require_hardware="yes")
    said = one_sentence(owner.lct(*rotate, status=HARDWARE).stderr)
    assert "with new in its place lct rotate s --to tpm" in said
    owner.configure(require_hardware="new")
    owner.lct(*rotate)
    owner.configure(require_hardware="yes")
    owner.lct("rotate", "s", "--commit")
    owner.lct("check", "s", "--hardware-bound")


# What it is not.


def test_nothing_attests_it(soft):
    said = one_sentence(soft.lct("attest", "offer", "p", status=UNSUPPORTED).stderr)
    assert said == ("lct:p (custody: software): its key is in software, which no TPM can prove; "
                    "lct rotate p --to tpm")


def test_no_key_file_of_a_tpm_is_written_of_it(soft):
    said = soft.lct("export", "p", status=UNSUPPORTED).stderr
    assert "has no TSS2 PRIVATE KEY; lct pem p" in one_sentence(said)


def test_check_says_that_nothing_binds_it(soft):
    done = soft.lct("check", "e", "--passphrase-file", soft.secret)
    assert re.search(r"note +is in software", done.stdout)
    assert "makes a signature that verifies" in done.stdout
    done = soft.lct("check", "e", "--hardware-bound", "--passphrase-file", soft.secret,
                    status=CHECK)
    assert re.search(r"FAILED +cannot leave this TPM", done.stdout)
    assert "its key is in software" in done.stderr


def test_doctor_warns_of_each(owner):
    secret = owner.write("secret", SECRET)
    owner.lct("create", "one", "--software", "--passphrase-file", secret)
    owner.lct("create", "two", "--software", "--passphrase-file", secret)
    for value in ("no", "new", "yes"):
        owner.configure(require_hardware=value)
        found = [row for row in json.loads(owner.lct("doctor", "--json", status=None).stdout)
                 if "custody: software" in row["text"]]
        assert [row["severity"] for row in found] == ["warning"] * 2
        assert [row["command"] for row in found] == ["lct rotate one --to tpm",
                                                     "lct rotate two --to tpm"]
        assert all(("require_hardware" in row["text"]) == (value != "no") for row in found)


def test_it_is_deleted_like_any_other(soft):
    soft.lct("delete", "p", "--yes")
    assert soft.in_store() == ["e", "q"]


@NEEDS_ROOT
def test_who_may_read_an_identity_still_may_after_its_owner_has_changed_it(soft):
    let_others_in(soft)
    soft.secret.chmod(0o644)
    new = ("--software", "--passphrase-file", soft.secret, "--owner", "daemon:mail")
    soft.lct("create", "a", *new)
    soft.lct("create", "b", *new)
    end = ("--reason", "compromise", "--yes", "--passphrase-file", soft.secret)
    soft.lct("revoke", "a", *end, **as_user("daemon", "mail"))
    assert {(path.owner(), path.group()) for path in (soft.store / "a").iterdir()} == {
        ("daemon", "mail")}
    before = (soft.store / "b/identity.json").read_text()
    done = soft.lct("revoke", "b", *end, status=7, **as_user("daemon"))
    assert "lct:b" in one_sentence(done.stderr) and "root" in done.stderr
    assert (soft.store / "b/identity.json").read_text() == before


def test_an_ended_one_is_not_given_out(soft):
    soft.write("ref", soft.lct("pem", "p").stdout)
    end(soft, "p")
    for uri in ("lct:p", "ref"):
        said = sign(soft, "p", uri, status=1).stderr
        assert "lct:p (custody: software): it was revoked" in said
    soft.lct("sign", "p", "--passphrase-file", soft.secret, stdin="x", status=ENDED)
    soft.openssl("pkey", "-pubin", "-in", "lct:p", "-noout")


def test_a_key_in_the_tpm_follows_it_and_nothing_follows_in_software(owner):
    secret = owner.write("secret", SECRET)
    owner.configure(passphrase_file=secret)
    owner.lct("create", "s", "--software", "--algorithm", "ed25519", "--passphrase-file", secret)
    owner.lct("rotate", "s", status=None)
    assert json.loads(owner.lct("show", "s", "--json").stdout)["custody"] == "software"
    rotate = ["rotate", "s", "--to", "tpm", "--new-passphrase-file", secret]
    owner.lct(*rotate, "--algorithm", "ed25519", status=USAGE)
    owner.lct(*rotate)
    owner.lct("rotate", "s", "--commit")
    shown = json.loads(owner.lct("show", "s", "--json").stdout)
    assert (shown["custody"], shown["algorithm"]) == ("tpm", "ec-p256")
    owner.lct("check", "s", "--hardware-bound")
    assert "tpm" in owner.lct("list").stdout
    owner.openssl("pkey", "-in", "lct:s?generation=1", "-noout")
    owner.lct("retire", "s", "--yes")


# Hostile stores.


def refused(user, key: str, text: str, status: int = BAD_RECORD):
    """By the command and by the provider."""
    said = user.lct("sign", key, "--passphrase-file", user.secret, stdin="x", status=status).stderr
    assert text in said, said
    said = sign(user, key, status=1).stderr
    assert text in said, said
    assert not user.path("sig").exists()


def test_a_record_of_software_with_a_tpm_s_key_file_is_refused(owner):
    owner.secret = owner.write("secret", SECRET)
    owner.lct("create", "p", "--software", "--passphrase-file", owner.secret)
    shutil.copy(key_file(owner, "ec"), key_file(owner, "p"))
    refused(owner, "p", "it is not one PEM block ENCRYPTED PRIVATE KEY")


def test_a_record_of_a_tpm_with_a_software_key_file_is_refused(owner):
    owner.secret = owner.write("secret", SECRET)
    owner.lct("create", "p", "--software", "--passphrase-file", owner.secret)
    shutil.copy(key_file(owner, "p"), key_file(owner, "ec"))
    owner.lct("sign", "ec", "--passphrase-file", owner.secret, stdin="x", status=BAD_RECORD)
    owner.openssl("dgst", "-sha256", "-sign", "lct:ec", *PASS, "-out", "sig", "data", status=1)


def test_an_identity_in_the_tpm_is_not_replaced_by_one_in_software_unnoticed(owner):
    """Whoever may write to the store can do that. It is said, and refused where that is asked."""
    secret = owner.write("secret", SECRET)
    reference = owner.write("ref", owner.lct("pem", "ec").stdout)
    owner.lct("create", "p", "--software", "--passphrase-file", secret)
    record = (owner.store / "p" / "identity.json").read_text().replace('"p"', '"ec"')
    (owner.store / "ec" / "identity.json").write_text(record)
    shutil.copy(key_file(owner, "p"), key_file(owner, "ec"))
    owner.configure(passphrase_file=secret)
    owner.openssl("dgst", "-sha256", "-sign", reference, "-out", "sig", "data", status=1)
    owner.lct("check", "ec", "--hardware-bound", status=CHECK)
    assert json.loads(owner.lct("show", "ec", "--json").stdout)["custody"] == "software"
    owner.configure(passphrase_file=secret, require_hardware="yes")
    owner.lct("sign", "ec", stdin="x", status=HARDWARE)
    owner.openssl("dgst", "-sha256", "-sign", "lct:ec", "-out", "sig", "data", status=1)


def test_a_key_that_is_not_encrypted_is_refused(soft):
    soft.openssl("pkey", "-in", key_file(soft, "p"), *PASS, "-out", "plain", env=SOFTWARE)
    key_file(soft, "p").write_text(soft.path("plain").read_text())
    refused(soft, "p", "not one PEM block")


def test_another_key_under_the_same_passphrase_is_refused(soft):
    soft.lct("create", "other", "--software", "--passphrase-file", soft.secret)
    for file in ("other", "q", "e"):
        shutil.copy(key_file(soft, file), key_file(soft, "p"))
        refused(soft, "p", "another key than the one in the record")


def test_what_is_around_the_block_is_refused(soft):
    text = key_file(soft, "p").read_text()
    for spoiled in (text + "x", text + text, "x\n" + text, text[:-30], "",
                    text.replace(LABEL, "PRIVATE KEY"), pem(content_of(key_file(soft, "p")) + b"\0"),
                    pem(content_of(key_file(soft, "p"))[:-1])):
        key_file(soft, "p").write_text(spoiled)
        refused(soft, "p", "key-1.pem: ")
    key_file(soft, "p").write_text("\n" + text + " \n")
    sign(soft, "p")


@pytest.mark.parametrize("content", [
    encrypted(pbkdf2(10**9)), encrypted(pbkdf2(1)), encrypted(scrypt(n=2**40)),
    encrypted(scrypt(n=2**63)), encrypted(scrypt(n=2**80)), encrypted(scrypt(n=2**13)),
    encrypted(scrypt(n=2**14 + 1)), encrypted(scrypt(n=0)), encrypted(scrypt(r=2**30)),
    encrypted(scrypt(r=1)), encrypted(scrypt(p=2**30)), encrypted(scrypt(p=4)),
    encrypted(scrypt(p=21)), encrypted(scrypt(salt=b"")), encrypted(scrypt(salt=bytes(15))),
    encrypted(scrypt(more=number(32))), encrypted(scrypt(), "2.16.840.1.101.3.4.1.2"),
    encrypted(scrypt(), "1.2.840.113549.3.7"), encrypted(scrypt(), scheme="1.2.840.113549.1.5.3"),
    encrypted(sequence(oid(SCRYPT), der(5, b""))), encrypted(sequence(oid(SCRYPT)))],
    ids=range(21))
def test_what_costs_more_or_less_than_it_should_is_refused_before_it_is_computed(soft, content):
    key_file(soft, "p").write_text(pem(content))
    refused(soft, "p", "not encrypted as lct does it")


def test_a_key_of_a_cost_that_fits_is_only_a_wrong_passphrase(soft):
    """So that the refusals before are of what they say."""
    key_file(soft, "p").write_text(pem(encrypted(scrypt(p=20))))
    refused(soft, "p", "wrong passphrase", AUTH)


def test_no_byte_of_the_file_is_read_otherwise_than_it_stands(soft):
    done = soft.run(soft.build / "tests" / "software", "mutate", key_file(soft, "p"))
    taken, total = map(int, re.findall(r"\d+", done.stdout))
    free = 16 + 16 + 144  # salt, IV, and what is encrypted
    same, parallel = total // 256 - free, 20 - 5  # the other bytes as they are, and p
    assert taken == 256 * free + same + parallel


def test_a_bit_of_what_is_encrypted_makes_no_other_key(soft):
    whole = content_of(key_file(soft, "p"))
    for at in range(len(whole) - 144, len(whole), 13):
        spoiled = bytearray(whole)
        spoiled[at] ^= 1
        key_file(soft, "p").write_text(pem(bytes(spoiled)))
        done = soft.lct("sign", "p", "--passphrase-file", soft.secret, stdin="x", text=False,
                        status=None)
        assert done.returncode in (AUTH, BAD_RECORD) and not done.stdout


def test_links_and_other_things_are_no_key_files(soft):
    shutil.move(key_file(soft, "p"), soft.path("elsewhere"))
    key_file(soft, "p").symlink_to(soft.path("elsewhere"))
    refused(soft, "p", "is a symbolic link")
    key_file(soft, "p").unlink()
    refused(soft, "p", "is not there")
    os.mkfifo(key_file(soft, "p"))
    refused(soft, "p", "not a file")


@pytest.mark.parametrize("changes", [
    {"public": ""}, {"public": "00"}, {"algorithm": "rsa-2048"}, {"algorithm": "ec-p384"},
    {"algorithm": "ed25519"}, {"custody": "tpm"}, {"custody": "paper"}, {"name": "00"},
    {"passphrase": False}], ids=str)
def test_a_record_that_is_not_what_it_should_be_is_refused(soft, changes):
    edit(soft, "p", **changes)
    refused(soft, "p", "restore it from a backup")


def test_a_public_key_with_something_behind_it_is_refused(soft):
    record = json.loads((soft.store / "p" / "identity.json").read_text())
    shown = record["generations"][0]["public"]
    for spoiled in (shown + "00", shown[:-2], f"{shown[:-2]}{int(shown[-2:], 16) ^ 1:02x}"):
        edit(soft, "p", public=spoiled)
        refused(soft, "p", "public key")


def test_a_tpm_s_record_takes_no_algorithm_that_no_tpm_has(owner):
    edit(owner, "ec", algorithm="ed25519")
    owner.lct("show", "ec", status=BAD_RECORD)


def test_a_replaced_public_key_does_not_sign_for_another(soft):
    """The record of one, the key file of another: no signature that the record does not verify."""
    other = json.loads((soft.store / "p" / "identity.json").read_text())
    soft.lct("create", "other", "--software", "--passphrase-file", soft.secret)
    edit(soft, "other", public=other["generations"][0]["public"])
    said = soft.lct("sign", "other", "--passphrase-file", soft.secret, stdin="x",
                    status=BAD_RECORD).stderr
    assert "another key than the one in the record" in said


def test_the_store_s_files_hold_no_key_in_the_clear(soft):
    text = soft.openssl("pkey", "-in", "lct:p", *PASS, "-text", "-noout").stdout
    private = bytes.fromhex(re.sub(r"[\s:]", "", text.split("priv:")[1].split("pub:")[0]))[-32:]
    assert len(private) == 32
    for path in soft.store.rglob("*"):
        if path.is_file():
            assert private not in path.read_bytes() and private.hex() not in path.read_text()


def test_a_program_that_has_the_key_is_beyond_its_end(soft, prompted):
    """What the manual says: the next load is refused, and not the next signature."""
    soft.configure(passphrase_file=soft.secret)
    program = prompted(soft, "p")
    program.sign()
    end(soft, "p")
    program.sign()
    program.end()
    assert "it was revoked" in sign(soft, "p", status=1).stderr
