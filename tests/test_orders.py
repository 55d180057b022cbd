# SPDX-License-Identifier: Apache-2.0
"""The provider first, last and alone, with every property query; software keys beside it."""

import os
import re

import pytest

from test_tls import SOFTWARE, VERSIONS, handshake

ORDERS = pytest.mark.parametrize("order", [("default", "lct"), ("lct", "default")],
                                 ids=["default first", "lct first"])
QUERIES = pytest.mark.parametrize("query", [None, "?provider=lct", "?provider!=lct",
                                            "?provider=default"])
KINDS = pytest.mark.parametrize("key", ["ec", "rsa"])
PSS = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest")
FIRST = ("lct", "default")


@pytest.fixture(name="outsider", params=[None, "?provider=lct"], ids=["no query", "?provider=lct"])
def fixture_outsider(owner, request):
    """Someone with software keys in a configuration that lists lct first."""
    owner.configure(order=FIRST, default_properties=request.param)
    return owner


def tour(owner, key, *options):
    """The main uses of one key."""
    uri = f"lct:{key}"
    owner.openssl("pkey", *options, "-in", uri, "-pubout", "-out", "pub.pem")
    owner.openssl("dgst", *options, "-sha256", "-sign", uri, "-out", "sig", "data")
    owner.verify("pub.pem", "sig", "data")
    owner.openssl("dgst", *options, "-sha256", "-prverify", uri, "-signature", "sig", "data")
    owner.openssl("dgst", *options, "-sha256", "-verify", "pub.pem", "-signature", "sig", "data")
    owner.openssl("req", *options, "-x509", "-key", uri, "-subj", "/CN=localhost", "-out",
                  "crt.pem")
    owner.openssl("verify", *options, "-CAfile", "crt.pem", "crt.pem")
    owner.openssl("verify", "-CAfile", "crt.pem", "crt.pem", env=SOFTWARE)
    owner.openssl("dgst", *options, "-sha256", "-binary", "-out", "digest", "data")
    owner.openssl("pkeyutl", *options, "-sign", "-inkey", uri, "-in", "digest", "-pkeyopt",
                  "digest:sha256", "-out", "sig")
    owner.verify("pub.pem", "sig", "data")
    owner.openssl("storeutl", *options, "-noout", uri)
    if key == "rsa":
        owner.openssl("dgst", *options, "-sha256", "-sign", uri, *PSS, "-out", "sig", "data")
        owner.verify("pub.pem", "sig", "data", "sha256", *PSS)


@ORDERS
@QUERIES
@KINDS
def test_every_order_and_property_query_in_the_configuration(owner, order, query, key):
    owner.configure(order=order, default_properties=query)
    tour(owner, key)


@ORDERS
@pytest.mark.parametrize("query", ["?provider=lct", "?provider!=lct"])
@KINDS
def test_every_order_and_property_query_on_the_command_line(owner, order, query, key):
    owner.configure(order=order)
    tour(owner, key, "-propquery", query)


@ORDERS
@pytest.mark.parametrize("query", [None, "?provider=lct", "?provider!=lct"])
@KINDS
def test_no_configuration_at_all(owner, order, query, key):
    owner.env |= {"LCT_TCTI": owner.tcti, "LCT_STORE": str(owner.store)}
    del owner.env["OPENSSL_CONF"]
    options = ["-provider-path", owner.build]
    for name in order:
        options += ["-provider", name]
    options += ["-propquery", query] if query else []
    tour(owner, key, *options)


@KINDS
def test_lct_alone_does_what_needs_no_other_provider(owner, key):
    """No default provider: no hashes, no files, no PEM readers but ours."""
    owner.openssl("dgst", "-sha256", "-binary", "-out", "digest", "data", env=SOFTWARE)
    expected = owner.public_key(f"lct:{key}").read_text()
    owner.env |= {"LCT_TCTI": owner.tcti, "LCT_STORE": str(owner.store)}
    alone = ("-provider-path", owner.build, "-provider", "lct")
    env = {"OPENSSL_CONF": os.devnull}
    assert "Total found: 1" in owner.openssl("storeutl", *alone, "-noout", f"lct:{key}",
                                             env=env).stdout
    assert "Total found: 4" in owner.openssl("storeutl", *alone, "-noout", "lct:", env=env).stdout
    assert owner.openssl("pkey", *alone, "-in", f"lct:{key}", "-pubout", env=env).stdout == expected
    shown = owner.openssl("pkey", *alone, "-in", f"lct:{key}", "-noout", "-text", env=env).stdout
    assert "TPM" in shown
    owner.openssl("pkeyutl", *alone, "-sign", "-inkey", f"lct:{key}", "-in", "digest", "-out",
                  "sig", *(["-pkeyopt", "digest:sha256"] if key == "rsa" else []), env=env)
    owner.verify(owner.path("pub.pem"), owner.path("sig"), owner.path("data"))


def test_the_provider_offers_keys_and_nothing_else(owner):
    for kind in ("-digest-algorithms", "-cipher-algorithms", "-random-generators",
                 "-mac-algorithms", "-kdf-algorithms"):
        listed = owner.openssl("list", kind, "-propquery", "provider=lct").stdout
        assert "@ lct" not in listed
    listed = owner.openssl("list", "-signature-algorithms", "-key-managers",
                           "-store-loaders").stdout
    assert listed.count("@ lct") >= 5


def test_the_provider_says_its_name_and_version(owner):
    shown = owner.openssl("list", "-providers").stdout
    ours = shown[shown.index("  lct\n"):]
    assert "name: " in ours and "status: active" in ours
    version = owner.lct("--version").stdout.split()[1]
    assert f"version: {version}" in ours


@pytest.mark.parametrize("algorithm, group", [
    ("EC", "group:P-256"), ("EC", "group:P-521"), ("EC", "group:secp256k1"), ("RSA", "bits:2048"),
    ("RSA", "bits:1024")])
def test_a_software_key_is_made_read_and_used(outsider, algorithm, group):
    outsider.openssl("genpkey", "-algorithm", algorithm, "-pkeyopt", group, "-out", "sw.pem")
    assert outsider.path("sw.pem").read_text().startswith("-----BEGIN PRIVATE KEY-----")
    outsider.openssl("pkey", "-in", "sw.pem", "-check", "-noout")
    outsider.openssl("pkey", "-in", "sw.pem", "-pubout", "-out", "pub.pem")
    outsider.openssl("pkey", "-in", "sw.pem", "-aes256", "-passout", "pass:x", "-out", "enc.pem")
    outsider.openssl("pkey", "-in", "enc.pem", "-passin", "pass:x", "-out", "again.pem")
    assert outsider.path("again.pem").read_text() == outsider.path("sw.pem").read_text()
    text = outsider.openssl("pkey", "-in", "sw.pem", "-text", "-noout").stdout
    assert text == outsider.openssl("pkey", "-in", "sw.pem", "-text", "-noout",
                                    env=SOFTWARE).stdout
    for digest in ("sha1", "sha224", "sha256", "sha3-256", "sha512"):
        outsider.openssl("dgst", f"-{digest}", "-sign", "sw.pem", "-out", "sig", "data")
        outsider.verify("pub.pem", "sig", "data", digest)
        outsider.openssl("dgst", f"-{digest}", "-verify", "pub.pem", "-signature", "sig", "data")
        outsider.openssl("dgst", f"-{digest}", "-prverify", "sw.pem", "-signature", "sig", "data")
    assert outsider.in_store() == ["ec", "p384", "rsa", "rsa3072"]


def test_openssl_s_own_forms_of_software_keys_are_written(outsider):
    text = outsider.openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout").stdout
    assert text.startswith("-----BEGIN EC PRIVATE KEY-----")
    outsider.write("ec.pem", text)
    for tool, label in (("ec", "EC PRIVATE KEY"), ("pkey", "PRIVATE KEY")):
        again = outsider.openssl(tool, "-in", "ec.pem").stdout
        assert again.startswith(f"-----BEGIN {label}-----")
        assert again == outsider.openssl(tool, "-in", "ec.pem", env=SOFTWARE).stdout
        outsider.openssl(tool, "-in", "ec.pem", "-aes256", "-passout", "pass:x", "-out", "enc.pem")
        assert "ENCRYPTED" in outsider.path("enc.pem").read_text()
        assert again == outsider.openssl(tool, "-in", "enc.pem", "-passin", "pass:x").stdout


def test_other_algorithms_are_not_touched(outsider):
    for algorithm in ("ED25519", "X25519", "RSA-PSS"):
        outsider.openssl("genpkey", "-algorithm", algorithm, "-out", "sw.pem")
        outsider.openssl("pkey", "-in", "sw.pem", "-pubout")
    outsider.openssl("req", "-x509", "-key", "sw.pem", "-subj", "/CN=pss", "-out", "crt.pem")
    outsider.openssl("verify", "-CAfile", "crt.pem", "crt.pem", env=SOFTWARE)


@pytest.mark.parametrize("options", [
    ["-newkey", "rsa:2048"], ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"]])
def test_software_certificates_are_made_and_verified(outsider, options):
    outsider.openssl("req", "-x509", *options, "-nodes", "-keyout", "ca.key", "-subj", "/CN=ca",
                     "-out", "ca.pem")
    outsider.openssl("req", "-new", *options, "-nodes", "-keyout", "leaf.key", "-subj", "/CN=leaf",
                     "-out", "leaf.csr")
    outsider.openssl("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                     "-CAcreateserial", "-out", "leaf.pem")
    outsider.openssl("verify", "-CAfile", "ca.pem", "leaf.pem")
    outsider.openssl("pkcs12", "-export", "-in", "leaf.pem", "-inkey", "leaf.key", "-passout",
                     "pass:x", "-out", "leaf.p12")
    outsider.openssl("pkcs12", "-in", "leaf.p12", "-passin", "pass:x", "-nodes", "-out",
                     "unpacked.pem")


@pytest.mark.parametrize("options", [["rsa:2048"],
                                     ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]],
                         ids=["rsa", "ec"])
@VERSIONS
@pytest.mark.parametrize("groups", ["P-256", "P-384:P-256", "X25519:P-256"])
def test_software_keys_do_tls(owner, options, version, groups):
    """P-256 is always among the groups: TLS 1.2 wants the certificate's curve there."""
    owner.configure(order=FIRST)
    owner.openssl("req", "-x509", "-newkey", *options, "-nodes", "-keyout", "sw.key", "-subj",
                  "/CN=localhost", "-out", "sw.pem")
    _, report = handshake(owner, ["-key", "sw.key", "-cert", "sw.pem", "-groups", groups],
                          [f"-{version}", "-CAfile", "sw.pem", "-groups", groups])
    assert "Verification: OK" in report
    chosen = {"P-256": "prime256v1", "P-384": "secp384r1"}.get(first := groups.split(":")[0], first)
    assert re.search(rf"(Server|Peer) Temp Key: (ECDH, )?{chosen}\b", report), report


def test_an_identity_serves_over_ecdhe_of_its_own_curve(owner):
    owner.configure(order=FIRST)
    certificate = owner.certificate("lct:ec")
    for version in ("tls1_2", "tls1_3"):
        handshake(owner, ["-key", "lct:ec", "-cert", certificate],
                  [f"-{version}", "-CAfile", certificate, "-groups", "P-256"])


def test_static_rsa_key_exchange_of_a_software_key(owner):
    owner.configure(order=FIRST)
    owner.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "sw.key", "-subj",
                  "/CN=localhost", "-out", "sw.pem")
    handshake(owner, ["-key", "sw.key", "-cert", "sw.pem"],
              ["-tls1_2", "-CAfile", "sw.pem", "-cipher", "AES128-GCM-SHA256"])


def test_software_keys_derive(outsider):
    for name in ("one", "two"):
        outsider.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out",
                         f"{name}.pem")
        outsider.openssl("pkey", "-in", f"{name}.pem", "-pubout", "-out", f"{name}.pub")
    for mine, theirs in (("one", "two"), ("two", "one")):
        outsider.openssl("pkeyutl", "-derive", "-inkey", f"{mine}.pem", "-peerkey",
                         f"{theirs}.pub", "-out", f"{mine}.secret")
    assert outsider.path("one.secret").read_bytes() == outsider.path("two.secret").read_bytes()
    assert outsider.path("one.secret").stat().st_size == 32


@pytest.mark.parametrize("options", [["rsa:2048"],
                                     ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]],
                         ids=["rsa", "ec"])
def test_software_keys_decrypt_cms(outsider, options):
    outsider.openssl("req", "-x509", "-newkey", *options, "-nodes", "-keyout", "sw.key", "-subj",
                     "/CN=bob", "-out", "sw.pem")
    outsider.openssl("cms", "-encrypt", "-binary", "-aes256", "-in", "data", "-out", "cms",
                     "sw.pem")
    outsider.openssl("cms", "-decrypt", "-binary", "-in", "cms", "-recip", "sw.pem", "-inkey",
                     "sw.key", "-out", "plain")
    assert outsider.path("plain").read_bytes() == outsider.path("data").read_bytes()


@pytest.mark.parametrize("padding", ["pkcs1", "oaep"])
def test_software_rsa_keys_encrypt_and_decrypt(outsider, padding):
    outsider.openssl("genpkey", "-algorithm", "RSA", "-out", "sw.pem")
    outsider.openssl("pkey", "-in", "sw.pem", "-pubout", "-out", "pub.pem")
    option = ["-pkeyopt", f"rsa_padding_mode:{padding}"]
    outsider.openssl("pkeyutl", "-encrypt", "-pubin", "-inkey", "pub.pem", *option, "-in", "data",
                     "-out", "secret")
    outsider.openssl("pkeyutl", "-decrypt", "-inkey", "sw.pem", *option, "-in", "secret", "-out",
                     "plain")
    assert outsider.path("plain").read_bytes() == outsider.path("data").read_bytes()


@KINDS
def test_others_encrypt_to_the_certificate_of_an_identity(owner, key):
    """Not that the identity could read it: but its public key is a public key like any other."""
    owner.configure(order=FIRST)
    certificate = owner.certificate(f"lct:{key}")
    owner.openssl("cms", "-encrypt", "-binary", "-aes256", "-in", "data", "-out", "cms",
                  certificate)


def test_the_tpm_hears_nothing_of_software_keys(watched, proxy):
    watched.configure(order=FIRST, default_properties="?provider=lct")
    watched.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "sw.key", "-subj",
                    "/CN=localhost", "-out", "sw.pem")
    handshake(watched, ["-key", "sw.key", "-cert", "sw.pem"], ["-CAfile", "sw.pem"])
    assert proxy.codes == []


@pytest.mark.parametrize("groups", ["secp224r1", "secp256k1", "brainpoolP256r1", "sect283k1"])
def test_no_tls_group_is_lost_while_lct_is_first(owner, groups):
    owner.configure(order=("lct", "default"))
    owner.openssl("s_client", "-groups", groups, "-connect", "127.0.0.1:1", status=1)
    done = owner.openssl("s_client", "-groups", groups, "-connect", "127.0.0.1:1", status=1)
    assert "group" not in done.stderr.lower()
    assert "Connection refused" in done.stderr


@ORDERS
@pytest.mark.parametrize("query", [None, "?provider=lct"])
@pytest.mark.parametrize("what", [["-tls-groups", "-tls1_2"], ["-tls-groups", "-tls1_3"],
                                  ["-tls-signature-algorithms"]])
def test_tls_offers_what_it_offers_without_us(owner, order, query, what):
    without = owner.openssl("list", *what, env=SOFTWARE, status=None)
    if without.returncode != 0:
        pytest.skip("this OpenSSL lists no groups")
    owner.configure(order=order, default_properties=query)
    assert owner.openssl("list", *what).stdout == without.stdout


@pytest.mark.parametrize("group", ["X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024",
                                   "MLKEM768"])
def test_an_identity_serves_over_post_quantum_groups(owner, group):
    listed = owner.openssl("list", "-tls-groups", env=SOFTWARE, status=None).stdout
    if group not in listed:
        pytest.skip("this OpenSSL has no such group")
    owner.configure(order=FIRST)
    certificate = owner.certificate("lct:ec")
    _, report = handshake(owner, ["-key", "lct:ec", "-cert", certificate, "-groups", group],
                          ["-tls1_3", "-CAfile", certificate, "-groups", group])
    assert f"TLS1.3 group: {group}" in report
