# SPDX-License-Identifier: Apache-2.0
"""What the TPM is asked, counted at the TPM: signatures alone, with as little as can be."""

import pytest

from tpm import Command

ONE_SIGNATURE = [Command.Load, Command.Sign, Command.FlushContext]
ALL_KINDS = pytest.mark.parametrize("key", ["ec", "p384", "rsa", "rsa3072"])


@pytest.mark.parametrize("words", [
    ["list", "-providers"], ["pkey", "-in", "lct:{}", "-pubout"],
    ["pkey", "-in", "lct:{}", "-text", "-noout"], ["pkey", "-in", "lct:{}", "-pubcheck", "-noout"],
    ["pkey", "-in", "lct:{}"], ["storeutl", "-noout", "lct:{}"], ["storeutl", "-noout", "lct:"],
    ["storeutl", "-noout", "-text", "lct:{}"], ["rand", "-hex", "8"],
    ["genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256"]])
@ALL_KINDS
def test_what_signs_nothing_asks_the_tpm_nothing(watched, proxy, words, key):
    watched.openssl(*[word.format(key) for word in words])
    assert proxy.codes == []


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["show", "ec"], ["--version"],
                                   ["help"], ["delete", "ec", "--yes"]])
def test_commands_that_only_read_the_store_ask_the_tpm_nothing(watched, proxy, words):
    watched.lct(*words)
    assert proxy.codes == []


@ALL_KINDS
@pytest.mark.parametrize("size", [0, 100, 8 << 20])
def test_one_dgst_of_any_size_is_load_sign_flush(watched, proxy, key, size):
    data = watched.write("data", b"\x5a" * size)
    watched.openssl("dgst", "-sha256", "-sign", f"lct:{key}", "-out", "sig", data)
    assert proxy.codes == ONE_SIGNATURE


@ALL_KINDS
@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
def test_one_req_is_load_sign_flush(watched, proxy, key, digest):
    watched.certificate(f"lct:{key}", "/CN=alice", "crt.pem", f"-{digest}")
    assert proxy.codes == ONE_SIGNATURE


@pytest.mark.parametrize("order", [("default", "lct"), ("lct", "default")])
@pytest.mark.parametrize("query", [None, "?provider=lct", "?provider!=lct"])
def test_no_order_of_providers_costs_a_command(watched, proxy, order, query):
    watched.configure(order=order, default_properties=query)
    watched.openssl("dgst", "-sha256", "-sign", "lct:ec", "-out", "sig", "data")
    assert proxy.codes == ONE_SIGNATURE


@ALL_KINDS
def test_verifying_asks_the_tpm_nothing(watched, proxy, key):
    watched.openssl("dgst", "-sha256", "-sign", f"lct:{key}", "-out", "sig", "data")
    proxy.codes.clear()
    watched.openssl("dgst", "-sha256", "-prverify", f"lct:{key}", "-signature", "sig", "data")
    assert proxy.codes == []


def test_lct_sign_is_load_sign_flush(watched, proxy):
    watched.lct("sign", "ec", stdin=b"x" * (3 << 20), text=False)
    assert proxy.codes == ONE_SIGNATURE
    proxy.codes.clear()
    watched.lct("sign", "ec", "--jose", stdin=b"x")
    assert proxy.codes == ONE_SIGNATURE


def test_a_refused_digest_is_refused_without_the_tpm(watched, proxy):
    watched.openssl("dgst", "-md5", "-sign", "lct:rsa", "-out", "sig", "data", status=1)
    assert proxy.codes == []


def test_a_private_key_that_is_not_used_is_not_loaded(watched, proxy):
    """x509 compares the key with a certificate; that is done with public keys."""
    certificate = watched.certificate("lct:ec")
    proxy.codes.clear()
    watched.openssl("x509", "-in", certificate, "-noout", "-pubkey")
    watched.openssl("s_server", "-key", "lct:p384", "-cert", certificate, "-accept", "127.0.0.1:0",
                    "-naccept", "1", status=1)
    assert proxy.codes == []
