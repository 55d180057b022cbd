# SPDX-License-Identifier: Apache-2.0
"""Key files, for programs that take a key only from a file: the reference and TSS2 PRIVATE KEY."""

import pytest


@pytest.mark.parametrize("key", ["ec", "p384", "rsa"])
@pytest.mark.parametrize("command", ["pem", "export"])
def test_a_key_file_signs(owner, command, key):
    text = owner.lct(command, key).stdout
    assert text.splitlines()[0].endswith(" PRIVATE KEY-----")
    file = owner.write("key.pem", text)
    public = owner.public_key(f"lct:{key}")
    assert owner.openssl("pkey", "-in", file, "-pubout").stdout == public.read_text()
    owner.openssl("dgst", "-sha256", "-sign", file, "-out", "sig", "data")
    owner.verify(public, owner.path("sig"), owner.path("data"))
