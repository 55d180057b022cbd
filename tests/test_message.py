# SPDX-License-Identifier: Apache-2.0
"""Signatures under names that say the digest, and of messages, where libcrypto has them: 3.4."""

import pytest

KINDS = pytest.mark.parametrize("key, kind", [("ec", "ECDSA"), ("rsa", "RSA")])
ORDERS = pytest.mark.parametrize("order", [("default", "lct"), ("lct", "default")],
                                 ids=["default first", "lct first"])
HASHES = {"SHA1": "SHA1", "SHA2-256": "SHA256", "SHA2-384": "SHA384", "SHA2-512": "SHA512"}
NOT_IN_SWTPM = ("SHA3-256", "SHA3-384", "SHA3-512")


@pytest.fixture(name="message")
def fixture_message(owner):
    """Runs a test of tests/message.c, and returns what it prints before its "ok"."""
    program = owner.build / "tests" / "message"
    if not program.exists():
        pytest.skip("this build has no test programs")
    if (done := owner.run(program, status=None)).returncode == 3:
        pytest.skip(done.stdout.strip())

    def run(*arguments, **options) -> str:
        done = owner.run(program, *arguments, status=None, **options)
        assert done.returncode == 0 and done.stdout.endswith("ok\n"), done.stdout + done.stderr
        assert done.stderr == ""
        return done.stdout.removesuffix("ok\n")

    return run


@KINDS
@pytest.mark.parametrize("name, digest", HASHES.items())
def test_a_digest_and_a_message_are_signed_by_name(message, key, kind, name, digest):
    message("signs", f"lct:{key}", f"{kind}-{name}", digest)


@ORDERS
@pytest.mark.parametrize("query", [None, "?provider=lct", "?provider!=lct"])
@KINDS
def test_every_order_and_property_query_signs_by_name(owner, message, order, query, key, kind):
    owner.configure(order=order, default_properties=query)
    message("signs", f"lct:{key}", f"{kind}-SHA2-256", "SHA256")


@pytest.mark.parametrize("key, name, digest", [
    ("p384", "ECDSA-SHA2-384", "SHA384"), ("p384", "ECDSA-SHA2-512", "SHA512"),
    ("rsa3072", "RSA-SHA2-256", "SHA256"), ("ec", "ecdsa-with-SHA256", "SHA256"),
    ("ec", "1.2.840.10045.4.3.2", "SHA256"), ("rsa", "sha256WithRSAEncryption", "SHA256"),
    ("rsa", "1.2.840.113549.1.1.11", "SHA256")])
def test_other_keys_and_other_names_of_the_same(message, key, name, digest):
    message("signs", f"lct:{key}", name, digest)


@pytest.mark.parametrize("digest", NOT_IN_SWTPM)
def test_ecdsa_signs_by_name_with_hashes_that_the_tpm_lacks(message, digest):
    message("signs", "lct:ec", f"ECDSA-{digest}", digest)


@pytest.mark.parametrize("digest", NOT_IN_SWTPM)
def test_init_refuses_what_the_tpm_cannot_sign_with_rsa(message, digest):
    message("refuses", "lct:rsa", f"RSA-{digest}", "lct show lists the hashes it has")


@ORDERS
@pytest.mark.parametrize("name", ["ECDSA", "RSA"])
@pytest.mark.parametrize("digest", ["SHA256", "SHA3-256"])
def test_software_keys_sign_by_name_as_ever(owner, message, order, name, digest):
    owner.configure(order=order)
    message("software", f"{name}-{digest}", digest)


@pytest.mark.parametrize("key, name", [("ec", "RSA-SHA2-256"), ("rsa", "ECDSA-SHA2-256")])
def test_a_name_takes_no_key_of_another_type(message, key, name):
    message("mismatch", f"lct:{key}", name)


@KINDS
def test_what_the_name_says_is_not_changed_by_parameters(message, key, kind):
    message("settled", f"lct:{key}", f"{kind}-SHA2-256")


@ORDERS
@KINDS
def test_another_provider_s_algorithm_does_not_get_the_key(owner, message, order, key, kind):
    owner.configure(order=order)
    message("default", f"lct:{key}", f"{kind}-SHA2-256")


@KINDS
def test_init_by_name_asks_the_tpm_nothing(watched, proxy, message, key, kind):
    assert watched.tcti == proxy.tcti
    message("probes", f"lct:{key}", f"{kind}-SHA2-256")
    assert proxy.codes == []


def test_the_names_are_the_default_provider_s(owner, message):
    """All of them in either: who asks for one by any name or number gets the same algorithm."""

    def names(provider: str) -> dict[str, set[str]]:
        lines = message("names", owner.build, provider, env={"OPENSSL_CONF": "/dev/null"})
        return {first: set(rest.split()) for first, rest in
                (line.split(":", 1) for line in lines.splitlines())}

    ours, theirs = names("lct"), names("default")
    expected = {f"{kind}-{name}" for kind in ("ECDSA", "RSA") for name in [*HASHES, *NOT_IN_SWTPM]}
    assert ours.keys() == {"ECDSA", "RSA", *expected}
    for name in expected:
        assert len(ours[name]) >= 3
        assert ours[name] == theirs[name]
