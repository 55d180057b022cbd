# SPDX-License-Identifier: Apache-2.0
"""TSS2 PRIVATE KEY files between this provider and Debian's tpm2-openssl, on one TPM."""

import os
from pathlib import Path

import pytest

MODULES = list(Path("/usr/lib").glob("*/ossl-modules/tpm2.so"))
KINDS = pytest.mark.parametrize("kind", ["ec", "rsa"])
ALGORITHMS = {"ec": ("EC", "group:P-256"), "rsa": ("RSA", "bits:2048")}
SRK = ("-pkeyopt", "parent:0x81000001")

pytestmark = pytest.mark.skipif(not MODULES, reason="tpm2-openssl is not installed")


@pytest.fixture(name="theirs")
def fixture_theirs(owner, tpm):
    """Runs openssl with the provider tpm2 and without ours."""
    providers = ["-provider", "tpm2", "-provider", "default", "-propquery", "?provider=tpm2"]
    env = {"OPENSSL_CONF": os.devnull, "TPM2OPENSSL_TCTI": tpm.tcti}

    def run(command, *arguments, **options):
        return owner.openssl(command, *providers, *arguments, env=env, **options)

    return run


@KINDS
def test_our_keys_sign_in_tpm2_openssl(owner, theirs, kind):
    file = owner.write("key.pem", owner.lct("export", kind).stdout)
    public = owner.public_key(f"lct:{kind}")
    assert theirs("pkey", "-in", file, "-pubout").stdout == public.read_text()
    theirs("dgst", "-sha256", "-sign", file, "-out", "sig", "data")
    owner.verify(public, owner.path("sig"), owner.path("data"))
    theirs("req", "-new", "-x509", "-config", owner.conf, "-key", file, "-subj", "/CN=x", "-out",
           "crt")
    owner.openssl("verify", "-CAfile", "crt", "crt", env={"OPENSSL_CONF": os.devnull})


@KINDS
def test_a_reference_of_ours_means_nothing_to_tpm2_openssl(owner, theirs, kind):
    file = owner.write("key.pem", owner.lct("pem", kind).stdout)
    theirs("pkey", "-in", file, "-pubout", status=1)


@KINDS
@pytest.mark.parametrize("parent", [(), SRK], ids=["owner", "SRK"])
def test_keys_of_tpm2_openssl_sign_with_ours(owner, theirs, kind, parent):
    algorithm, option = ALGORITHMS[kind]
    theirs("genpkey", "-algorithm", algorithm, "-pkeyopt", option, *parent, "-out", "key.pem")
    public = owner.public_key("key.pem")
    assert theirs("pkey", "-in", "key.pem", "-pubout").stdout == public.read_text()
    owner.openssl("dgst", "-sha256", "-sign", "key.pem", "-out", "sig", "data")
    owner.verify(public, owner.path("sig"), owner.path("data"))
    owner.certificate("key.pem")
    owner.openssl("verify", "-CAfile", "crt.pem", "crt.pem", env={"OPENSSL_CONF": os.devnull})


@KINDS
@pytest.mark.parametrize("parent", [(), SRK], ids=["owner", "SRK"])
def test_keys_of_tpm2_openssl_with_a_password_sign_with_ours(owner, theirs, kind, parent):
    algorithm, option = ALGORITHMS[kind]
    theirs("genpkey", "-algorithm", algorithm, "-pkeyopt", option, "-pkeyopt", "user-auth:secret",
           *parent, "-out", "key.pem")
    public = owner.path("pub.pem")
    owner.openssl("pkey", "-in", "key.pem", "-passin", "pass:secret", "-pubout", "-out", public)
    owner.openssl("dgst", "-sha256", "-sign", "key.pem", "-passin", "pass:secret", "-out", "sig",
                  "data")
    owner.verify(public, owner.path("sig"), owner.path("data"))
