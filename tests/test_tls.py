# SPDX-License-Identifier: Apache-2.0
"""TLS handshakes by the stock openssl, with identities as servers, clients, and both."""

import os
import re

import pytest

from tpm import Command

KINDS = pytest.mark.parametrize("key", ["ec", "p384", "rsa"])
VERSIONS = pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
SOFTWARE = {"OPENSSL_CONF": os.devnull}


def start_server(user, *options):
    """An s_server for one connection on a free port; its port with it."""
    server = user.serve("s_server", "-accept", "127.0.0.1:0", "-naccept", "1", *options)
    port = server.read_until(rb"ACCEPT \S*:(\d+)\n")[1].decode()
    return server, port


def connect(user, port, *options, status=0, env=None):
    """An s_client that says hello; what it reports is on its standard error."""
    return user.openssl("s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost",
                        "-brief", "-verify_return_error", *options, stdin="hello server\n",
                        status=status, env=env)


def handshake(user, server_options, client_options, client_env=None):
    """One connection that carries a line from the client to the server; both reports."""
    server, port = start_server(user, *server_options)
    client = connect(user, port, *client_options, env=client_env)
    server.read_until(b"hello server")
    return server.stop().decode(), client.stderr


@KINDS
@VERSIONS
def test_an_identity_serves(owner, key, version):
    certificate = owner.certificate(f"lct:{key}")
    _, report = handshake(owner, ["-key", f"lct:{key}", "-cert", certificate],
                          [f"-{version}", "-CAfile", certificate], SOFTWARE)
    assert "Verification: OK" in report
    assert f"Protocol version: {'TLSv1.2' if version == 'tls1_2' else 'TLSv1.3'}" in report


@pytest.mark.parametrize("key", ["ec", "rsa"])
@VERSIONS
def test_an_identity_is_a_client(owner, key, version):
    owner.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out",
                  "server.pem", "-subj", "/CN=localhost", env=SOFTWARE)
    certificate = owner.certificate(f"lct:{key}", "/CN=alice", "client.pem")
    report, _ = handshake(
        owner, ["-key", "server.key", "-cert", "server.pem", "-Verify", "1", "-CAfile", certificate,
                "-verify_return_error"],
        [f"-{version}", "-CAfile", "server.pem", "-key", f"lct:{key}", "-cert", certificate])
    assert re.search(r"depth=0 CN ?= ?alice", report) and "verify return:1" in report


@VERSIONS
def test_identities_on_both_sides(owner, version):
    server = owner.certificate("lct:ec")
    client = owner.certificate("lct:rsa", "/CN=alice", "client.pem")
    report, _ = handshake(
        owner, ["-key", "lct:ec", "-cert", server, "-Verify", "1", "-CAfile", client,
                "-verify_return_error"],
        [f"-{version}", "-CAfile", server, "-key", "lct:rsa", "-cert", client])
    assert re.search(r"depth=0 CN ?= ?alice", report)


@pytest.mark.parametrize("version, algorithm, shown", [
    ("tls1_2", "RSA+SHA256", "RSA"), ("tls1_2", "RSA+SHA512", "RSA"),
    ("tls1_2", "rsa_pss_rsae_sha256", "RSA-PSS"), ("tls1_2", "rsa_pss_rsae_sha512", "RSA-PSS"),
    ("tls1_3", "rsa_pss_rsae_sha256", "RSA-PSS"), ("tls1_3", "rsa_pss_rsae_sha384", "RSA-PSS"),
    ("tls1_3", "rsa_pss_rsae_sha512", "RSA-PSS")])
def test_rsa_signs_handshakes_with_pkcs1_and_pss(owner, version, algorithm, shown):
    certificate = owner.certificate("lct:rsa")
    _, report = handshake(owner, ["-key", "lct:rsa", "-cert", certificate],
                          [f"-{version}", "-CAfile", certificate, "-sigalgs", algorithm], SOFTWARE)
    digest = re.search(r"sha\d+", algorithm.lower())[0]
    newer = algorithm if shown == "RSA-PSS" else f"rsa_pkcs1_{digest}"  # OpenSSL 3.5's words
    assert re.search(rf"^Signature type: ({shown}|{newer})$", report, re.MULTILINE)
    assert f"Hash used: {digest.upper()}" in report


@pytest.mark.parametrize("version, algorithm", [
    ("tls1_2", "ECDSA+SHA256"), ("tls1_2", "ECDSA+SHA384:ECDSA+SHA256"),
    ("tls1_2", "ECDSA+SHA512:ECDSA+SHA256"), ("tls1_2", "ECDSA+SHA224:ECDSA+SHA256"),
    ("tls1_3", "ecdsa_secp256r1_sha256")])
def test_ecdsa_signs_handshakes_with_every_digest(owner, version, algorithm):
    certificate = owner.certificate("lct:ec")
    _, report = handshake(
        owner, ["-key", "lct:ec", "-cert", certificate],
        [f"-{version}", "-CAfile", certificate, "-sigalgs", algorithm], SOFTWARE)
    assert "Verification: OK" in report


def test_a_server_has_an_ec_and_an_rsa_identity_at_once(owner):
    ec, rsa = owner.certificate("lct:ec"), owner.certificate("lct:rsa", name="rsa.pem")
    for ca, algorithms in ((ec, "ECDSA+SHA256"), (rsa, "RSA-PSS+SHA256")):
        _, report = handshake(
            owner, ["-key", "lct:ec", "-cert", ec, "-dkey", "lct:rsa", "-dcert", rsa],
            ["-CAfile", ca, "-sigalgs", algorithms], SOFTWARE)
        assert "Verification: OK" in report


def test_a_client_refuses_a_server_of_another_key(owner):
    certificate = owner.certificate("lct:ec")
    other = owner.certificate("lct:p384", name="other.pem")
    server, port = start_server(owner, "-key", "lct:ec", "-cert", certificate)
    client = connect(owner, port, "-CAfile", other, status=1, env=SOFTWARE)
    assert "verify error" in client.stderr
    server.stop()


def test_a_server_is_not_started_with_the_certificate_of_another_key(owner):
    certificate = owner.certificate("lct:p384")
    done = owner.openssl("s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-key", "lct:ec",
                         "-cert", certificate, status=1)
    assert "mismatch" in done.stderr


@pytest.mark.parametrize("key", ["ec", "rsa"])
@VERSIONS
def test_a_handshake_takes_one_signature_of_the_tpm(watched, proxy, key, version):
    certificate = watched.certificate(f"lct:{key}")
    server, port = start_server(watched, "-key", f"lct:{key}", "-cert", certificate, "-naccept",
                                "3")
    before = len(proxy.codes)
    for number in range(3):
        connect(watched, port, f"-{version}", "-CAfile", certificate, "-no_ticket", env=SOFTWARE)
        server.read_until(b"(hello server(.|\n)*){%d}" % (number + 1))
    server.stop()
    codes = proxy.codes[before:]
    assert codes.count(Command.Sign) == 3
    assert codes.count(Command.Load) == 2  # kept from the second one on
    # And what is asked of one that was not used this moment, which is a matter of time.
    assert sum(code != Command.ReadPublic for code in codes) <= 8


@pytest.mark.parametrize("order", [("default", "lct"), ("lct", "default")])
@pytest.mark.parametrize("key", ["ec", "rsa"])
@VERSIONS
def test_an_identity_serves_in_either_order_of_providers(owner, order, key, version):
    owner.configure(order=order)
    certificate = owner.certificate(f"lct:{key}")
    handshake(owner, ["-key", f"lct:{key}", "-cert", certificate],
              [f"-{version}", "-CAfile", certificate])
