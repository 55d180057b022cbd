# SPDX-License-Identifier: Apache-2.0
"""Every openssl subcommand that takes lct:ID, run as a user types it, with EC and RSA."""

import base64
import os
import re

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key

from keyfile import OID_LOADABLE

SOFTWARE = {"OPENSSL_CONF": os.devnull}
KINDS = pytest.mark.parametrize("key", ["ec", "rsa"])
ALL_KINDS = pytest.mark.parametrize("key", ["ec", "p384", "rsa", "rsa3072"])
PSS = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest")

CA_CNF = """
[ca]
default_ca = lct_ca

[lct_ca]
dir = {directory}
database = $dir/index.txt
new_certs_dir = $dir
serial = $dir/serial
crlnumber = $dir/crlnumber
certificate = $dir/crt.pem
private_key = {key}
default_md = {digest}
default_days = 2
default_crl_days = 2
policy = anything
unique_subject = no

[anything]
commonName = supplied
"""


@pytest.fixture(name="leaf")
def fixture_leaf(owner):
    """A certificate request by a software key, for the identities to certify."""
    owner.openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "leaf.key", "-out",
                  "leaf.csr", "-subj", "/CN=leaf", env=SOFTWARE)
    return owner.path("leaf.csr")


def verify_certificate(owner, certificate, ca):
    done = owner.openssl("verify", "-CAfile", ca, certificate, env=SOFTWARE)
    assert done.stdout.endswith(": OK\n")


@pytest.mark.parametrize("key", ["ec", "p384"])
def test_openssl_ec_takes_a_key_in_the_tpm(owner, key):
    expected = owner.public_key(f"lct:{key}").read_text()
    assert owner.openssl("ec", "-in", f"lct:{key}", "-pubout").stdout == expected
    assert "ASN1 OID" in owner.openssl("ec", "-in", f"lct:{key}", "-noout", "-text").stdout


def test_what_would_change_a_key_is_refused_in_words(owner):
    done = owner.openssl("pkey", "-in", "lct:ec", "-ec_conv_form", "compressed", "-pubout",
                         status=1)
    assert done.stdout == ""
    done = owner.openssl("ec", "-in", "lct:ec", "-conv_form", "compressed", "-pubout", status=1)
    assert "lct:ec: an identity's key is not changed (point-format)" in done.stderr


@ALL_KINDS
def test_pkey_pubout(owner, key):
    public = owner.public_key(f"lct:{key}")
    shown = owner.openssl("pkey", "-pubin", "-in", public, "-text", "-noout", env=SOFTWARE).stdout
    expected = {"ec": "ASN1 OID: prime256v1", "p384": "ASN1 OID: secp384r1",
                "rsa": "Public-Key: (2048 bit)", "rsa3072": "Public-Key: (3072 bit)"}[key]
    assert expected in shown
    if key.startswith("rsa"):
        assert "Exponent: 65537" in shown


@pytest.mark.parametrize("uri", ["lct:{}", "lct://{}", "lct:///{}", "lct:%{:02x}c",
                                 "lct:{}?generation=1", "lct:///{}?generation=1"])
def test_pkey_takes_every_form_of_a_uri(owner, uri):
    expected = owner.public_key("lct:ec").read_text()
    written = uri.format(ord("e") if "%" in uri else "ec")
    assert owner.public_key(written, "other.pem").read_text() == expected


def test_a_plus_in_a_uri_is_a_plus(owner):
    owner.lct("create", "a+b")
    expected = owner.public_key("lct:a+b").read_text()
    assert owner.public_key("lct:a%2Bb", "other.pem").read_text() == expected


@ALL_KINDS
def test_pkey_pubin(owner, key):
    """OSSL_STORE_PARAM_EXPECT is honoured: who asks for a public key gets one."""
    public = owner.openssl("pkey", "-pubin", "-in", f"lct:{key}", "-pubout").stdout
    assert public == owner.public_key(f"lct:{key}").read_text()


@ALL_KINDS
def test_pkey_text_shows_the_public_key_and_says_where_the_private_one_is(owner, key):
    shown = owner.openssl("pkey", "-in", f"lct:{key}", "-text", "-noout").stdout
    public = owner.openssl("pkey", "-pubin", "-in", owner.public_key(f"lct:{key}"), "-text",
                           "-noout", env=SOFTWARE).stdout
    number = re.search(r"(?:pub|Modulus):\n((?:    [0-9a-f:]+\n)+)", public)[1]
    assert "".join(number.split()) in "".join(shown.split())
    assert "TPM" in shown
    assert "priv:" not in shown and "privateExponent" not in shown


@ALL_KINDS
def test_pkey_text_pub(owner, key):
    shown = owner.openssl("pkey", "-in", f"lct:{key}", "-text_pub", "-noout").stdout
    assert "Public-Key" in shown


@KINDS
def test_pkey_writes_a_tss2_key_file(owner, key):
    written = owner.openssl("pkey", "-in", f"lct:{key}").stdout
    assert written.startswith("-----BEGIN TSS2 PRIVATE KEY-----\n")
    assert written == (owner.store / key / "key-1.pem").read_text()


@KINDS
def test_pkey_writes_no_encrypted_file_of_a_key_that_it_cannot_encrypt(owner, key):
    done = owner.openssl("pkey", "-in", f"lct:{key}", "-aes256", "-passout", "pass:secret",
                         status=1)
    assert "PRIVATE KEY" not in done.stdout


@KINDS
def test_pkey_pubcheck(owner, key):
    assert "Key is valid" in owner.openssl("pkey", "-in", f"lct:{key}", "-pubcheck",
                                           "-noout").stdout


@KINDS
@pytest.mark.parametrize("digest, size", [("sha256", 32), ("sha384", 48), ("sha512", 64),
                                          ("sha1", 20)])
def test_pkeyutl_signs_a_digest(owner, key, digest, size):
    owner.openssl("dgst", f"-{digest}", "-binary", "-out", "digest", "data", env=SOFTWARE)
    assert owner.path("digest").stat().st_size == size
    owner.openssl("pkeyutl", "-sign", "-inkey", f"lct:{key}", "-in", "digest", "-pkeyopt",
                  f"digest:{digest}", "-out", "sig")
    owner.verify(owner.public_key(f"lct:{key}"), owner.path("sig"), owner.path("data"), digest)


@KINDS
def test_pkeyutl_signs_without_being_told_the_digest(owner, key):
    owner.openssl("dgst", "-sha256", "-binary", "-out", "digest", "data", env=SOFTWARE)
    public = owner.public_key(f"lct:{key}")
    if key == "ec":
        owner.openssl("pkeyutl", "-sign", "-inkey", "lct:ec", "-in", "digest", "-out", "sig")
        owner.openssl("pkeyutl", "-verify", "-pubin", "-inkey", public, "-in", "digest",
                      "-sigfile", "sig", env=SOFTWARE)
        return
    done = owner.openssl("pkeyutl", "-sign", "-inkey", "lct:rsa", "-in", "digest", "-out", "sig",
                         status=None)
    if done.returncode == 0:  # RSA without a digest is a bare PKCS#1 block: never a DigestInfo
        owner.openssl("pkeyutl", "-verify", "-pubin", "-inkey", public, "-in", "digest",
                      "-sigfile", "sig", env=SOFTWARE)
    else:
        assert "lct" in done.stderr


@KINDS
@pytest.mark.parametrize("as_public", [False, True])
def test_pkeyutl_verifies_in_software(owner, key, as_public):
    owner.openssl("dgst", "-sha256", "-binary", "-out", "digest", "data", env=SOFTWARE)
    options = ["-inkey", f"lct:{key}", "-in", "digest", "-pkeyopt", "digest:sha256"]
    owner.openssl("pkeyutl", "-sign", *options, "-out", "sig")
    public = ["-pubin"] if as_public else []
    verify = ["pkeyutl", "-verify", *public, *options, "-sigfile", "sig"]
    assert "Verified Successfully" in owner.openssl(*verify).stdout
    owner.path("digest").write_bytes(b"x" * 32)
    assert "Verification Failure" in owner.openssl(*verify, status=1).stdout


@KINDS
@pytest.mark.parametrize("digest", [None, "sha256", "sha384", "sha512"])
def test_pkeyutl_rawin(owner, key, digest):
    options = ["-inkey", f"lct:{key}", "-rawin", "-in", "data"]
    options += ["-digest", digest] if digest else []
    owner.openssl("pkeyutl", "-sign", *options, "-out", "sig")
    owner.verify(owner.public_key(f"lct:{key}"), owner.path("sig"), owner.path("data"),
                 digest or "sha256")
    owner.openssl("pkeyutl", "-verify", *options, "-sigfile", "sig")


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_pkeyutl_signs_with_pss(owner, digest):
    owner.openssl("dgst", f"-{digest}", "-binary", "-out", "digest", "data", env=SOFTWARE)
    owner.openssl("pkeyutl", "-sign", "-inkey", "lct:rsa", "-in", "digest", "-pkeyopt",
                  f"digest:{digest}", "-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt",
                  "rsa_pss_saltlen:digest", "-out", "sig")
    owner.verify(owner.public_key("lct:rsa"), owner.path("sig"), owner.path("data"), digest, *PSS)


@ALL_KINDS
@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
def test_dgst_signs(owner, key, digest):
    owner.openssl("dgst", f"-{digest}", "-sign", f"lct:{key}", "-out", "sig", "data")
    owner.verify(owner.public_key(f"lct:{key}"), owner.path("sig"), owner.path("data"), digest)


@pytest.mark.parametrize("digest", ["sha224", "sha3-256", "sha512-256", "blake2s256", "md5"])
def test_dgst_signs_with_ecdsa_over_any_digest(owner, digest):
    owner.openssl("dgst", f"-{digest}", "-sign", "lct:ec", "-out", "sig", "data")
    owner.verify(owner.public_key("lct:ec"), owner.path("sig"), owner.path("data"), digest)


@pytest.mark.parametrize("digest", ["sha224", "sha3-224", "sha512-256", "blake2s256", "md5"])
def test_dgst_refuses_an_rsa_signature_that_the_tpm_cannot_make(owner, digest):
    """PKCS#1 v1.5 with a hash that the TPM lacks: it fails, in words, at the start."""
    done = owner.openssl("dgst", f"-{digest}", "-sign", "lct:rsa", "-out", "sig", "data", status=1)
    assert "lct:rsa" in done.stderr or "digest not allowed" in done.stderr


@pytest.mark.parametrize("key", ["rsa", "rsa3072"])
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_dgst_signs_with_pss(owner, key, digest):
    owner.openssl("dgst", f"-{digest}", "-sign", f"lct:{key}", *PSS, "-out", "sig", "data")
    owner.verify(owner.public_key(f"lct:{key}"), owner.path("sig"), owner.path("data"), digest,
                 *PSS)


def test_a_nonce_that_is_derived_is_refused(owner):
    """RFC 6979, from OpenSSL 3.2 on: the TPM chooses its nonces, whatever it is asked for."""
    owner.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", "sw.pem",
                  env=SOFTWARE)
    signs = ["dgst", "-sha256", "-sigopt", "nonce-type:1", "-out", "sig", "-sign"]
    if owner.openssl(*signs, "sw.pem", "data", env=SOFTWARE, status=None).returncode != 0:
        pytest.skip("this OpenSSL derives no nonces")
    assert "leave out nonce-type" in owner.openssl(*signs, "lct:ec", "data", status=1).stderr
    signs[3] = "nonce-type:0"
    owner.openssl(*signs, "lct:ec", "data")
    owner.verify(owner.public_key("lct:ec"), owner.path("sig"), owner.path("data"))


def test_dgst_signs_with_pss_when_the_salt_is_left_open(owner):
    owner.openssl("dgst", "-sha256", "-sign", "lct:rsa", "-sigopt", "rsa_padding_mode:pss", "-out",
                  "sig", "data")
    owner.verify(owner.public_key("lct:rsa"), owner.path("sig"), owner.path("data"), "sha256",
                 "-sigopt", "rsa_padding_mode:pss")


@pytest.mark.parametrize("options", [
    ["rsa_padding_mode:pss", "rsa_pss_saltlen:7"], ["rsa_padding_mode:oaep"],
    ["rsa_padding_mode:none"], ["rsa_padding_mode:x931"],
    ["rsa_padding_mode:pss", "rsa_mgf1_md:sha512"]])
def test_dgst_refuses_a_padding_that_the_tpm_does_not_have(owner, options):
    words = [word for option in options for word in ("-sigopt", option)]
    done = owner.openssl("dgst", "-sha256", "-sign", "lct:rsa", *words, "-out", "sig", "data",
                         status=1)
    assert ":lct:" in done.stderr or "rsa_" in done.stderr, done.stderr


@KINDS
def test_dgst_prverify(owner, key):
    owner.openssl("dgst", "-sha256", "-sign", f"lct:{key}", "-out", "sig", "data")
    options = ["dgst", "-sha256", "-prverify", f"lct:{key}", "-signature", "sig", "data"]
    assert owner.openssl(*options).stdout == "Verified OK\n"
    owner.write("data", b"other\n")
    assert "Verification failure" in owner.openssl(*options, status=1).stdout


@KINDS
def test_dgst_verify_with_the_uri_of_a_public_key(owner, key):
    owner.openssl("dgst", "-sha256", "-sign", f"lct:{key}", "-out", "sig", "data")
    done = owner.openssl("dgst", "-sha256", "-verify", f"lct:{key}", "-signature", "sig", "data")
    assert done.stdout == "Verified OK\n"


@ALL_KINDS
def test_req_new(owner, key):
    owner.openssl("req", "-new", "-key", f"lct:{key}", "-subj", "/CN=alice", "-out", "csr.pem")
    done = owner.openssl("req", "-verify", "-noout", "-in", "csr.pem", env=SOFTWARE)
    assert "verify OK" in done.stdout + done.stderr


@ALL_KINDS
@pytest.mark.parametrize("digest", [None, "sha384"])
def test_req_x509(owner, key, digest):
    certificate = owner.certificate(f"lct:{key}", "/CN=alice", "crt.pem",
                                    *([f"-{digest}"] if digest else []))
    verify_certificate(owner, certificate, certificate)
    text = owner.openssl("x509", "-in", certificate, "-noout", "-text", env=SOFTWARE).stdout
    expected = {"ec": "ecdsa-with-SHA{}", "rsa": "sha{}WithRSAEncryption"}[
        "ec" if key in ("ec", "p384") else "rsa"].format((digest or "sha256")[3:])
    assert f"Signature Algorithm: {expected}" in text


def test_req_x509_with_pss(owner):
    certificate = owner.certificate("lct:rsa", "/CN=alice", "crt.pem", *PSS)
    verify_certificate(owner, certificate, certificate)
    text = owner.openssl("x509", "-in", certificate, "-noout", "-text", env=SOFTWARE).stdout
    assert "Signature Algorithm: rsassaPss" in text and "Salt Length: 0x20" in text


def test_an_ecdsa_algorithm_identifier_has_no_parameters(owner):
    """RFC 5758, 3.2; an RSA one has NULL: RFC 4055, 5."""
    for key, name, parameters in (("ec", "ecdsa-with-SHA256", None),
                                  ("rsa", "sha256WithRSAEncryption", "NULL")):
        parsed = owner.openssl("asn1parse", "-in", owner.certificate(f"lct:{key}"),
                               env=SOFTWARE).stdout.splitlines()
        places = [place for place, line in enumerate(parsed) if line.endswith(f":{name}")]
        assert len(places) == 2
        for place in places:
            assert ("NULL" in parsed[place + 1]) == (parameters == "NULL")


@KINDS
def test_x509_cakey(owner, key, leaf):
    ca = owner.certificate(f"lct:{key}", "/CN=ca")
    owner.openssl("x509", "-req", "-in", leaf, "-CA", ca, "-CAkey", f"lct:{key}",
                  "-CAcreateserial", "-days", "2", "-out", "leaf.pem")
    verify_certificate(owner, "leaf.pem", ca)


@KINDS
@pytest.mark.parametrize("option", ["-signkey", "-key"])
def test_x509_self_signs_a_request(owner, key, option):
    owner.openssl("req", "-new", "-key", f"lct:{key}", "-subj", "/CN=alice", "-out", "csr.pem")
    owner.openssl("x509", "-req", "-in", "csr.pem", option, f"lct:{key}", "-days", "2", "-out",
                  "crt.pem")
    verify_certificate(owner, "crt.pem", "crt.pem")


@KINDS
@pytest.mark.parametrize("where", ["-keyfile", "private_key"])
def test_ca(owner, key, leaf, where):
    owner.certificate(f"lct:{key}", "/CN=ca")
    owner.write("index.txt", b"")
    owner.write("serial", b"01\n")
    owner.write("crlnumber", b"01\n")
    configured = f"lct:{key}" if where == "private_key" else "/nonexistent"
    owner.conf.write_text(owner.conf.read_text() + CA_CNF.format(
        directory=owner.directory, key=configured, digest="sha256"))
    words = ["ca", "-config", owner.conf, "-batch", "-notext"]
    words += ["-keyfile", f"lct:{key}"] if where == "-keyfile" else []
    owner.openssl(*words, "-in", leaf, "-out", "leaf.pem")
    verify_certificate(owner, "leaf.pem", "crt.pem")
    owner.openssl(*words, "-revoke", "leaf.pem")
    owner.openssl(*words, "-gencrl", "-out", "crl.pem")
    done = owner.openssl("verify", "-crl_check", "-CRLfile", "crl.pem", "-CAfile", "crt.pem",
                         "leaf.pem", status=2, env=SOFTWARE)
    assert "certificate revoked" in done.stderr


@KINDS
@pytest.mark.parametrize("command", ["cms", "smime"])
@pytest.mark.parametrize("digest", [None, "sha512"])
def test_cms_and_smime_sign(owner, key, command, digest):
    certificate = owner.certificate(f"lct:{key}", "/CN=alice")
    owner.openssl(command, "-sign", "-in", "data", "-signer", certificate, "-inkey", f"lct:{key}",
                  "-out", "signed", *(["-md", digest] if digest else []))
    owner.openssl(command, "-verify", "-in", "signed", "-CAfile", certificate, "-purpose", "any",
                  "-out", "verified", env=SOFTWARE)
    verified = owner.path("verified").read_bytes().replace(b"\r", b"")
    assert verified == owner.path("data").read_bytes()


def test_cms_sign_with_pss(owner):
    certificate = owner.certificate("lct:rsa", "/CN=alice")
    owner.openssl("cms", "-sign", "-binary", "-in", "data", "-signer", certificate, "-inkey",
                  "lct:rsa", "-keyopt", "rsa_padding_mode:pss", "-keyopt",
                  "rsa_pss_saltlen:digest", "-outform", "DER", "-out", "signed")
    owner.openssl("cms", "-verify", "-binary", "-inform", "DER", "-in", "signed", "-content",
                  "data", "-CAfile", certificate, "-purpose", "any", "-out", "verified",
                  env=SOFTWARE)


@KINDS
def test_ocsp_responder(owner, key, leaf):
    ca = owner.certificate(f"lct:{key}", "/CN=ca")
    owner.openssl("x509", "-req", "-in", leaf, "-CA", ca, "-CAkey", f"lct:{key}", "-set_serial",
                  "1", "-days", "2", "-out", "leaf.pem")
    owner.write("index.txt", "V\t400101000000Z\t\t01\tunknown\t/CN=leaf\n")
    owner.openssl("ocsp", "-issuer", ca, "-cert", "leaf.pem", "-reqout", "req.der")
    owner.openssl("ocsp", "-index", "index.txt", "-CA", ca, "-rsigner", ca, "-rkey", f"lct:{key}",
                  "-reqin", "req.der", "-respout", "resp.der")
    done = owner.openssl("ocsp", "-respin", "resp.der", "-issuer", ca, "-cert", "leaf.pem",
                         "-VAfile", ca, "-no_nonce", env=SOFTWARE)
    assert "Response verify OK" in done.stderr
    assert "leaf.pem: good" in done.stdout


@KINDS
def test_storeutl_shows_a_key(owner, key):
    shown = owner.openssl("storeutl", "-noout", "-text", f"lct:{key}").stdout
    assert "Total found: 1" in shown and "Pkey" in shown
    shown = owner.openssl("storeutl", "-keys", "-noout", f"lct:{key}").stdout
    assert "Total found: 1" in shown
    shown = owner.openssl("storeutl", "-certs", "-noout", f"lct:{key}", status=None).stdout
    assert "Pkey" not in shown and "Total found: 1" not in shown


@pytest.mark.parametrize("uri", ["lct:", "lct://", "lct:///"])
def test_storeutl_lists_the_names(owner, uri):
    shown = owner.openssl("storeutl", "-noout", uri).stdout
    assert "Total found: 4" in shown
    names = re.findall(r"Name: (lct:\S+)", shown)
    assert sorted(names) == ["lct:///ec", "lct:///p384", "lct:///rsa", "lct:///rsa3072"] or sorted(
        names) == ["lct:ec", "lct:p384", "lct:rsa", "lct:rsa3072"] or sorted(
        names) == ["lct://ec", "lct://p384", "lct://rsa", "lct://rsa3072"]
    for name in names:
        owner.public_key(name)


def test_storeutl_of_an_empty_store_finds_nothing(user):
    shown = user.openssl("storeutl", "-noout", "lct:").stdout
    assert shown in ("Total found: 0\n", ""), "OpenSSL 3.5 says nothing of nothing"


@KINDS
def test_verify_of_a_chain_signed_by_an_identity(owner, key, leaf):
    ca = owner.certificate(f"lct:{key}", "/CN=ca")
    owner.openssl("x509", "-req", "-in", leaf, "-CA", ca, "-CAkey", f"lct:{key}", "-days", "2",
                  "-CAcreateserial", "-out", "leaf.pem")
    assert owner.openssl("verify", "-CAfile", ca, "leaf.pem").stdout == "leaf.pem: OK\n"
    owner.certificate(f"lct:{'rsa' if key == 'ec' else 'ec'}", "/CN=ca", "other.pem")
    owner.openssl("verify", "-CAfile", "other.pem", "leaf.pem", status=2)


@pytest.mark.parametrize("words, algorithm", [
    (["EC", "-pkeyopt", "group:P-256"], "ec-p256"), (["EC", "-pkeyopt", "group:P-384"], "ec-p384"),
    (["EC", "-pkeyopt", "group:prime256v1"], "ec-p256"),
    (["RSA", "-pkeyopt", "bits:2048"], "rsa-2048")])
def test_genpkey_with_an_id_makes_an_identity(owner, words, algorithm):
    written = owner.openssl("genpkey", "-provider", "lct", "-provider", "default", "-propquery",
                            "provider=lct", "-algorithm", *words, "-pkeyopt", "lct-id:new").stdout
    assert written.startswith("-----BEGIN TSS2 PRIVATE KEY-----")
    shown = owner.lct("show", "new", "--json").stdout
    assert f'"{algorithm}"' in shown
    owner.lct("check", "new")
    owner.openssl("dgst", "-sha256", "-sign", "lct:new", "-out", "sig", "data")
    owner.verify(owner.public_key("lct:new"), owner.path("sig"), owner.path("data"))


def test_genpkey_without_an_id_makes_a_software_key(owner):
    before = owner.in_store()
    written = owner.openssl("genpkey", "-provider", "lct", "-provider", "default", "-propquery",
                            "provider=lct", "-algorithm", "EC", "-pkeyopt", "group:P-256",
                            status=None)
    if written.returncode != 0:  # no encoder has that property: the key was made, not written
        written = owner.openssl("genpkey", "-provider", "lct", "-provider", "default", "-propquery",
                                "?provider=lct", "-algorithm", "EC", "-pkeyopt", "group:P-256")
    assert written.stdout.startswith("-----BEGIN PRIVATE KEY-----")
    assert owner.in_store() == before


@pytest.mark.parametrize("id_, reason", [("ec", "identity exists already"),
                                         ("../x", "malformed id")])
def test_genpkey_refuses_an_id_that_exists_or_is_none(owner, id_, reason):
    before = owner.in_store()
    done = owner.openssl("genpkey", "-provider", "lct", "-provider", "default", "-propquery",
                         "provider=lct", "-algorithm", "EC", "-pkeyopt", "group:P-256",
                         "-pkeyopt", f"lct-id:{id_}", status=1)
    assert reason in done.stderr
    assert owner.in_store() == before


@pytest.mark.parametrize("words", [["EC", "-pkeyopt", "group:P-521"],
                                   ["RSA", "-pkeyopt", "bits:1024"]])
def test_genpkey_refuses_what_is_not_in_the_table(owner, words):
    before = owner.in_store()
    done = owner.openssl("genpkey", "-provider", "lct", "-provider", "default", "-propquery",
                         "provider=lct", "-algorithm", *words, "-pkeyopt", "lct-id:new", status=1)
    assert ":lct:" in done.stderr and "not supported" in done.stderr
    assert owner.in_store() == before


def test_a_file_in_the_working_directory_shadows_the_short_uri_only(owner):
    expected = owner.public_key("lct:ec", "ours.pem").read_text()
    owner.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", "lct:ec",
                  env=SOFTWARE)
    assert owner.public_key("lct:ec", "shadow.pem").read_text() != expected
    assert owner.public_key("lct://ec", "long.pem").read_text() == expected
    assert owner.public_key("lct:///ec", "longer.pem").read_text() == expected


def der_of(output: bytes) -> bytes:
    """What a command wrote, or what is in the one PEM block that it wrote, whatever its label."""
    block = re.search(rb"-----BEGIN [^-]+-----\n([\w+/=\s]+)-----END ", output)
    return base64.b64decode(block[1]) if block else output


def is_private_key(der: bytes) -> bool:
    """Whether another library than openssl finds a key pair in it."""
    try:
        load_der_private_key(der, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


@pytest.mark.parametrize("key, words", [
    *((key, words) for key in ("ec", "rsa") for words in (
        ["pkey"], ["pkey", "-traditional"], ["pkey", "-outform", "DER", "-traditional"],
        ["pkey", "-text"], ["pkcs8", "-topk8", "-nocrypt"],
        ["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"])),
    ("rsa", ["rsa"]), ("rsa", ["rsa", "-traditional"]), ("rsa", ["rsa", "-outform", "DER"]),
    ("ec", ["ec"]), ("ec", ["ec", "-no_public"]), ("ec", ["ec", "-outform", "DER"])])
def test_no_command_gets_the_private_key_out(owner, key, words):
    """The same command does get a key in software out: what it gives of ours is the wrapped key."""
    kind = {"ec": ("EC", "-pkeyopt", "group:P-256"), "rsa": ("RSA",)}[key]
    owner.openssl("genpkey", "-algorithm", *kind, "-out", "software.pem")
    done = owner.openssl(*words, "-in", "software.pem", text=False)
    assert is_private_key(der_of(done.stdout))
    owner.write("key.pem", owner.lct("pem", key).stdout)
    for source in (f"lct:{key}", "key.pem"):
        if (words[0], source) == ("pkcs8", f"lct:{key}"):
            continue  # it opens files alone
        owner.openssl("pkey", "-in", source, "-noout")
        done = owner.openssl(*words, "-in", source, status=None, text=False)
        assert not is_private_key(der_of(done.stdout))
        assert done.stdout == b"" if done.returncode else OID_LOADABLE in der_of(done.stdout)


@pytest.mark.parametrize("id_", ["", "x" * 131, "lct:x", "web4:mb32:x"])
def test_genpkey_with_no_proper_id_makes_no_key_at_all(owner, id_):
    done = owner.openssl("genpkey", "-provider", "lct", "-provider", "default", "-propquery",
                         "provider=lct", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-pkeyopt",
                         f"lct-id:{id_}", status=1)
    assert "malformed id" in done.stderr
    assert done.stdout == ""


def test_genpkey_refuses_what_no_identity_has(owner):
    done = owner.openssl("genpkey", "-propquery", "provider=lct", "-algorithm", "RSA", "-pkeyopt",
                         "rsa_keygen_pubexp:3", "-pkeyopt", "lct-id:new", status=1)
    assert "65537" in done.stderr
    assert "new" not in owner.in_store()


def test_a_digest_info_is_signed_as_it_is_or_not_at_all(owner):
    """The TPM encodes it anew, with NULL parameters: one without them would become another."""
    digest = bytes(range(32))
    sha256 = bytes.fromhex("0609608648016503040201")
    canonical = bytes.fromhex("3031300d") + sha256 + bytes.fromhex("05000420") + digest
    other = bytes.fromhex("302f300b") + sha256 + bytes.fromhex("0420") + digest
    owner.write("info", canonical)
    owner.openssl("pkeyutl", "-sign", "-inkey", "lct:rsa", "-in", "info", "-out", "sig")
    shown = owner.openssl("pkeyutl", "-verifyrecover", "-inkey", "lct:rsa", "-in", "sig",
                          text=False).stdout
    assert shown == canonical
    owner.write("info", other)
    done = owner.openssl("pkeyutl", "-sign", "-inkey", "lct:rsa", "-in", "info", "-out", "sig",
                         status=1)
    assert "digest:sha256" in done.stderr


def test_storeutl_of_an_unknown_id_fails(owner):
    assert "no such identity" in owner.openssl("storeutl", "lct:nobody", status=1).stderr
