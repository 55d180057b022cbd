# SPDX-License-Identifier: Apache-2.0
"""
What other programs flush under our hands, between two commands. Without a resource manager anyone
may, and tpm2_flushcontext does.
"""

import struct

import pytest

from sealing import measure, public_pem
from tpm import NO_SESSIONS, Command, exchange

SECRET = "correct horse"
OBJECTS = 0x80000000
LOST_HANDLE, LOST_OBJECT, BY_ABRMD = 0x18B, 0x910, 0xB0184


def flush(tpm, handle: int) -> int:
    """What the TPM says."""
    return struct.unpack_from(">I", exchange(tpm.path, struct.pack(
        ">HIII", NO_SESSIONS, 14, Command.FlushContext, handle)), 6)[0]


def flush_before(tpm, first: int, which=slice(None)):
    """An answer for Proxy.hook: what there is of a kind is flushed, and then the TPM is asked."""
    def answer(_command, ask):
        handles = sorted(tpm.handles(first))[which]
        assert handles and all(flush(tpm, handle) == 0 for handle in handles)
        return ask()

    return answer


class Flushed:
    """A user behind a proxy, whose TPM is theirs alone, and others' who flush in it."""

    def __init__(self, user, tpm, proxy):
        self.user, self.tpm, self.proxy = user, tpm, proxy
        self.secret = user.write("secret", SECRET)
        self.data = user.write("data")
        self.options = ()

    def signs(self, options: tuple = ()):
        done = self.user.lct("sign", "k", *options, stdin=self.data.read_bytes(), text=False)
        public = self.user.write("public", public_pem(self.user, "k"))
        self.user.verify(public, self.user.write("sig", done.stdout), self.data)
        assert done.stderr == ""


def passphrase(own) -> tuple:
    return ("--passphrase-file", own.secret)


@pytest.fixture(name="approved")
def fixture_approved(request, make_sealer, authority, make_tpm, make_proxy) -> Flushed:
    """The same with a sealed key in a state that was approved since."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    own = Flushed(make_sealer(tpm, proxy.tcti), tpm, proxy)
    own.options = passphrase(own) if request.param == "passphrase" else ()
    seal = ("authority", "--revocable") if request.param == "revocable" else ("sha256:7",)
    own.user.lct("create", "k", "--seal", *seal, *own.options)
    measure(tpm, 7)
    own.user.lct("approve", *authority.options, "k")
    own.signs(own.options)
    own.takes = set(proxy.codes)
    proxy.codes.clear()
    proxy.messages.clear()
    return own


EACH_KEY = pytest.mark.parametrize("approved", ["bare", "passphrase", "revocable"], indirect=True)


# Objects


@EACH_KEY
def test_an_authority_s_key_that_is_flushed_is_loaded_again_and_costs_no_session(approved):
    approved.proxy.hook(Command.VerifySignature, flush_before(approved.tpm, OBJECTS), 1)
    approved.signs(approved.options)
    assert approved.proxy.count(Command.LoadExternal) == 2
    assert approved.tpm.left_behind() == []


@EACH_KEY
@pytest.mark.parametrize("rc", [LOST_HANDLE, BY_ABRMD, LOST_OBJECT])
def test_an_authority_s_key_that_is_only_said_to_be_gone_is_not_left(approved, rc):
    approved.proxy.refuse(Command.VerifySignature, rc, 1)
    approved.signs(approved.options)
    assert approved.tpm.left_behind() == []
