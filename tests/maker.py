# SPDX-License-Identifier: Apache-2.0
"""TPMs with endorsement keys and certificates of them, as they leave their maker."""

import subprocess
from pathlib import Path

from tpm import Swtpm

RSA_CERT, RSA_NONCE, RSA_TEMPLATE = 0x01C00002, 0x01C00003, 0x01C00004
P256_CERT, P384_CERT = 0x01C0000A, 0x01C00016
RSA_EK, P384_EK = 0x81010001, 0x81010016
READABLE = "authread|ownerread|ownerwrite|no_da"


class Maker:
    """Who makes TPMs with EK certificates, and is the authority that these are of."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.ca = directory / "ca"
        self.ca.mkdir()
        (directory / "ca.conf").write_text(
            f"statedir = {self.ca}\nsigningkey = {self.ca}/signkey.pem\n"
            f"issuercert = {self.ca}/issuercert.pem\ncertserial = {self.ca}/certserial\n")
        (directory / "ca.options").write_text(
            "--platform-manufacturer T\n--platform-version 2.1\n--platform-model Q\n")
        (directory / "setup.conf").write_text(
            "create_certs_tool = /usr/bin/swtpm_localca\n"
            f"create_certs_tool_config = {directory}/ca.conf\n"
            f"create_certs_tool_options = {directory}/ca.options\nactive_pcr_banks = sha256\n")
        self.states = [self.manufacture(name) for name in ("first", "second")]

    def manufacture(self, name: str) -> Path:
        state = self.directory / name
        state.mkdir()
        done = subprocess.run(
            ["swtpm_setup", "--tpm2", "--tpmstate", state, "--config",
             self.directory / "setup.conf", "--create-ek-cert", "--lock-nvram",
             "--pcr-banks", "sha256"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return state


def read_index(tpm: Swtpm, index: int) -> bytes:
    tpm.tool("tpm2_nvread", "-C", "o", hex(index), "-o", "out")
    return (tpm.directory / "out").read_bytes()


def put(tpm: Swtpm, index: int, content: bytes, attributes: str = READABLE, *options):
    """An index holds this, whatever was there before."""
    tpm.tool("tpm2_nvundefine", "-C", "p", hex(index), status=None)
    (tpm.directory / "in").write_bytes(content)
    tpm.tool("tpm2_nvdefine", hex(index), "-C", "o", "-s", len(content), "-a", attributes,
             *options)
    tpm.tool("tpm2_nvwrite", hex(index), "-C", "o", "-i", "in")


def evict(tpm: Swtpm):
    for handle in (RSA_EK, P384_EK):
        tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", hex(handle))
