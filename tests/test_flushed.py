# SPDX-License-Identifier: Apache-2.0
"""
What other programs flush under our hands, between two commands. Without a resource manager anyone
may, and tpm2_flushcontext does.
"""

import struct

import pytest

import sealing
from maker import RSA_TEMPLATE, put
from sealing import measure, public_pem
from test_attest_tpm import (ASKED, EACH_MODE, POLICY_B_384, attest, check_all,  # noqa: F401
                             fails, fixture_prover, fixture_proxied, mode, without_user)
from tpm import NO_SESSIONS, SRK as PLACE, Command, exchange
from tpmrm import code_of

SECRET = "correct horse"
OBJECTS, SESSIONS, INDICES = 0x80000000, 0x02000000, 0x01000000
LOST_HANDLE, LOST_PARAMETER, LOST_OBJECT, BY_ABRMD = 0x18B, 0x1CB, 0x910, 0xB0184
VALUE = 0x084
NO_TPM, TPM, WRONG_KEY, UNSUPPORTED, FULL = 9, 10, 14, 15, 17
SHA256 = 0x0B
SRK = ("-g", "sha256", "-G", "ecc256:null:aes128cfb", "-a", "fixedtpm|fixedparent|"
       "sensitivedataorigin|userwithauth|noda|restricted|decrypt")


def flush(tpm, handle: int) -> int:
    """What the TPM says."""
    return code_of(exchange(tpm.path, struct.pack(">HIII", NO_SESSIONS, 14, Command.FlushContext,
                                                  handle)))


def flush_before(tpm, first: int, which=slice(None)):
    """An answer for Proxy.hook: what there is of a kind is flushed, and then the TPM is asked."""
    def answer(_command, ask):
        handles = sorted(tpm.handles(first))[which]
        assert handles and all(flush(tpm, handle) == 0 for handle in handles)
        return ask()

    return answer


def record_flushes(proxy, first=lambda _command, ask: ask()) -> list[tuple[int, int]]:
    """What lct itself wants to flush from now on, and what the TPM says; `first` answers once."""
    found = []

    def answer(command, ask):
        made = ask() if found else first(command, ask)
        found.append((struct.unpack_from(">I", command, 10)[0], code_of(made)))
        return made

    proxy.hook(Command.FlushContext, answer)
    return found


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


@pytest.fixture(name="own")
def fixture_own(make_user, make_tpm, make_proxy) -> Flushed:
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    return Flushed(make_user(proxy.tcti), tpm, proxy)


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


@pytest.mark.parametrize("approved", ["revocable"], indirect=True)
@pytest.mark.parametrize("rc", [LOST_OBJECT, 0x08B], ids=["numbered", "plain"])
def test_a_counter_that_is_gone_is_known_however_the_tpm_says_so(approved, rc):
    """TPM_RC_HANDLE, with the number of the handle or without, as some TPMs have it."""
    approved.proxy.refuse(Command.NV_ReadPublic, rc)
    done = approved.user.lct("delete", "k", "--yes")
    assert "it was removed, or this is another TPM" in done.stderr
    assert "nvundefine" not in done.stdout


def load_public(own):
    own.tpm.flush()
    user = own.user
    user.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "o")
    user.openssl("pkey", "-in", "o", "-pubout", "-out", "o.pub")
    own.tpm.tool("tpm2_loadexternal", "-C", "o", "-G", "ecc", "-u", user.path("o.pub"),
                 "-c", "o.ctx")


def load_storage_key(own):
    own.tpm.flush()
    own.tpm.tool("tpm2_createprimary", "-C", "e", "-c", "other.ctx")


def load_the_same(own):
    """All sealed programs of a machine load that, and ours is known to be gone."""
    own.tpm.flush()
    (load,) = [each for each in own.proxy.messages
               if struct.unpack_from(">I", each, 6)[0] == Command.LoadExternal]
    for _ in range(2):
        exchange(own.tpm.path, load)
    flush(own.tpm, OBJECTS)


@pytest.mark.parametrize("load, stays", [
    (load_public, OBJECTS), (load_storage_key, OBJECTS), (load_the_same, OBJECTS + 1)],
    ids=["public", "storage", "the same"])
@pytest.mark.parametrize("approved", ["bare"], indirect=True)
def test_what_another_program_has_loaded_for_an_authority_s_key_stays(approved, load, stays):
    def replaced(_command, ask):
        load(approved)
        return ask()

    approved.proxy.hook(Command.VerifySignature, replaced, 1)
    approved.signs()
    assert approved.tpm.left_behind() == [f"transient object {stays:#x}"]
    approved.tpm.flush()


@pytest.mark.parametrize("approved", ["bare"], indirect=True)
def test_an_authority_s_key_that_is_gone_each_time_is_said_in_words(approved):
    approved.proxy.hook(Command.VerifySignature, flush_before(approved.tpm, OBJECTS))
    done = approved.user.lct("sign", "k", stdin="x", status=TPM)
    assert done.stderr == ("lct: lct:k: the key of its authority is gone from the TPM: another "
                           "program has flushed it; try again\n")


def test_a_parent_that_is_gone_is_not_looked_for(own):
    """By its Name: it is everybody's, and another program may have it loaded."""
    own.user.configure(provision="no")
    own.user.lct("create", "k")
    own.proxy.codes.clear()
    found = record_flushes(own.proxy, flush_before(own.tpm, OBJECTS, slice(1)))
    own.signs()
    assert [rc for _handle, rc in found] == [LOST_PARAMETER, 0], "of the parent and of the key"
    assert Command.ReadPublic not in own.proxy.codes


# What needs a parent that is made anew for it.
UNDER_A_PARENT = {"sign": (("sign", "k"), Command.Load),
                  "passphrase": (("sign", "guarded", "--passphrase-file", "secret"), Command.Load),
                  "session": (("sign", "guarded", "--passphrase-file", "secret"),
                              Command.StartAuthSession),
                  "create": (("create", "new"), Command.Create),
                  "create-session": (("create", "new", "--passphrase-file", "secret"),
                                     Command.StartAuthSession),
                  "import": (("import", "new", "soft.pem", "--software"), Command.Import)}


@pytest.fixture(name="parented")
def fixture_parented(own) -> Flushed:
    own.user.configure(provision="no")
    own.user.lct("create", "k")
    own.user.lct("create", "guarded", *passphrase(own))
    own.user.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out",
                     "soft.pem")
    own.proxy.codes.clear()
    return own


def load_sequence(tpm):
    exchange(tpm.path, struct.pack(">HIIHH", NO_SESSIONS, 14, Command.HashSequenceStart, 0, SHA256))


# What another program has loaded: no parent of ours is of the endorsement hierarchy.
OTHERS = {
    "bare": lambda tpm: tpm.tool("tpm2_createprimary", "-C", "e", "-c", "other.ctx", *SRK),
    "passphrase": lambda tpm: tpm.tool("tpm2_createprimary", "-C", "e", "-c", "other.ctx", *SRK,
                                       "-p", "another's"),
    "sequence": load_sequence,
}


def replace_before(tpm, load=OTHERS["bare"], which=slice(None)):
    """An answer for Proxy.hook: what is loaded is flushed, and another's takes its place."""
    def answer(_command, ask):
        for handle in sorted(tpm.handles(OBJECTS))[which]:
            flush(tpm, handle)
        load(tpm)
        return ask()

    return answer


@pytest.mark.parametrize("name", UNDER_A_PARENT)
def test_a_parent_that_is_flushed_is_made_anew(parented, name):
    words, command = UNDER_A_PARENT[name]
    parented.proxy.hook(command, flush_before(parented.tpm, OBJECTS), 1)
    parented.user.lct(*words, stdin=b"x", text=False)
    assert parented.proxy.count(command) == 2
    assert parented.tpm.left_behind() == []


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", UNDER_A_PARENT)
def test_what_took_the_place_of_a_parent_is_left_alone(parented, name, other):
    words, command = UNDER_A_PARENT[name]
    parented.proxy.hook(command, replace_before(parented.tpm, OTHERS[other]), 1)
    parented.user.lct(*words, stdin=b"x", text=False)
    assert parented.proxy.count(command) == 2
    assert parented.tpm.left_behind() == ["transient object 0x80000000"]
    parented.tpm.flush()


def test_what_took_the_place_of_a_parent_in_a_full_tpm_is_left_alone(parented):
    def replaced(_command, ask):
        parented.tpm.flush()
        for _ in range(3):
            OTHERS["bare"](parented.tpm)
        return ask()

    parented.proxy.hook(Command.Load, replaced, 1)
    parented.user.lct("sign", "k", stdin="x", status=FULL)
    assert len(parented.tpm.handles(OBJECTS)) == 3
    parented.tpm.flush()


@pytest.mark.parametrize("words", [
    ("persist", "k"), ("sign", "guarded", "--passphrase-file", "secret")], ids=["persist", "sign"])
def test_what_took_the_place_of_a_key_that_a_session_is_salted_to_is_left_alone(parented, words):
    """The first slot is its: the key to be persisted was loaded beside its parent."""
    parented.user.lct("persist", "guarded")
    before = parented.proxy.count(Command.StartAuthSession)
    parented.proxy.hook(Command.StartAuthSession,
                        replace_before(parented.tpm, which=slice(1)), 1)
    parented.user.lct(*words, stdin=b"x", text=False)
    assert parented.proxy.count(Command.StartAuthSession) == before + 2
    assert len(parented.tpm.handles(OBJECTS)) == 1
    parented.tpm.flush()


@pytest.mark.parametrize("other", OTHERS)
def test_of_a_parent_that_is_lost_and_made_anew_none_is_left(parented, other):
    """The connection breaks when it is made, and the second one is another's by the time it is
    needed."""
    parented.proxy.hook(Command.CreatePrimary, lambda _command, ask: ask()[:0], 1)
    parented.proxy.hook(Command.Create, replace_before(parented.tpm, OTHERS[other],
                                                       slice(-1, None)), 1)
    parented.user.lct("create", "new", status=TPM)
    assert parented.tpm.left_behind() == [f"transient object {OBJECTS + 1:#x}"]
    parented.tpm.flush()


@pytest.mark.parametrize("rc", [LOST_HANDLE, VALUE], ids=["handle", "value"])
def test_a_parent_that_is_there_is_not_said_to_be_gone(parented, rc):
    parented.proxy.refuse(Command.Create, rc)
    done = parented.user.lct("create", "new", status=None)
    assert "is gone" not in done.stderr
    assert parented.proxy.count(Command.Create) == 1
    assert parented.tpm.left_behind() == []


def test_behind_a_resource_manager_a_parent_is_gone_only_if_a_handle_is(make_user, make_tpm,
                                                                        make_tpmrm):
    device = make_tpmrm(make_tpm())
    user = make_user(device.tcti)
    user.configure(tcti=device.tcti, provision="no")
    device.refuse(Command.Create, VALUE)
    done = user.lct("create", "k", status=UNSUPPORTED)
    assert "this TPM makes no ec-p256" in done.stderr
    assert device.codes.count(Command.Create) == 1


SIGNING = ("-G", "ecc256", "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign")
STORAGE = ("-G", "ecc384:null:aes128cfb")


def srk_name(tpm, handle) -> str:
    text = tpm.tool("tpm2_readpublic", "-c", handle).stdout
    return text.splitlines()[0]


@pytest.mark.parametrize("command", [Command.StartAuthSession, Command.EvictControl])
@pytest.mark.parametrize("options", [SIGNING, STORAGE], ids=["signing", "storage"])
def test_what_took_the_place_of_a_storage_root_key_is_not_persisted(own, options, command):
    def load(tpm):
        tpm.tool("tpm2_createprimary", "-C", "o", "-c", "other.ctx", *SRK, *options)

    own.proxy.hook(command, replace_before(own.tpm, load), 1)
    done = own.user.lct("create", "k")
    assert f"at {PLACE:#x}" in done.stdout + done.stderr
    assert own.tpm.left_behind() == [f"transient object {OBJECTS:#x}"]
    own.tpm.flush()
    own.tpm.tool("tpm2_createprimary", "-C", "o", "-c", "srk.ctx", *SRK)
    assert srk_name(own.tpm, hex(PLACE)) == srk_name(own.tpm, hex(OBJECTS))
    own.tpm.flush()
    own.signs()


def test_no_key_is_made_under_what_took_the_place_of_the_storage_root_key(own):
    def replaced(_command, ask):
        own.tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", hex(PLACE))
        own.tpm.tool("tpm2_createprimary", "-C", "o", "-c", "other.ctx")
        own.tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "other.ctx", hex(PLACE))
        own.tpm.flush()
        return ask()

    own.user.lct("create", "k")
    own.proxy.hook(Command.Create, replaced, 1)
    done = own.user.lct("create", "new", status=WRONG_KEY)
    assert "under another storage key" in done.stderr


def test_a_parent_that_is_gone_each_time_is_said_in_words(parented):
    parented.proxy.hook(Command.Load, flush_before(parented.tpm, OBJECTS))
    done = parented.user.lct("sign", "k", stdin="x", status=TPM)
    assert done.stderr == ("lct: lct:k: the storage key that was made to be its parent is gone from "
                           "the TPM: another program has flushed it; try again\n")


# Sessions


def test_a_session_that_has_ended_unheard_is_flushed_once(own):
    """Its number is free, and the next program's."""
    own.user.lct("create", "k", *passphrase(own))
    own.signs(passphrase(own))
    found = record_flushes(own.proxy)
    own.proxy.hook(Command.Sign, lambda _command, ask: ask()[:0], 1)
    own.user.lct("sign", "k", *passphrase(own), stdin="x", status=NO_TPM)
    assert [each for each in found if each[0] == SESSIONS] == [(SESSIONS, LOST_PARAMETER)]


# What makes a key, what uses one, what is the first command in its session.
FIRST = {
    "Load": ((), Command.Load), "Sign": ((), Command.Sign),
    "GetRandom": (("--seal", "strict:sha256:7"), Command.GetRandom),
    "PolicyPCR": (("--seal", "strict:sha256:7"), Command.PolicyPCR),
    "PolicyAuthValue": (("--seal", "strict:sha256:7"), Command.PolicyAuthValue),
}


@pytest.mark.parametrize("name", FIRST)
def test_a_session_that_is_flushed_before_a_command_is_opened_anew(own, name):
    options, command = FIRST[name]
    own.user.lct("create", "k", *options, *passphrase(own))
    own.signs(passphrase(own))
    before = own.proxy.count(command)
    own.proxy.hook(command, flush_before(own.tpm, SESSIONS), 1)
    own.signs(passphrase(own))
    assert own.proxy.count(command) == before + 2


@pytest.mark.parametrize("command", [Command.GetRandom, Command.PolicyPCR, Command.PolicyNV,
                                     Command.PolicyAuthorize, Command.PolicyOR, Command.Sign])
@EACH_KEY
def test_a_policy_session_that_is_flushed_is_opened_anew(approved, command):
    if command not in approved.takes:
        pytest.skip("of keys that are sealed otherwise")
    approved.proxy.hook(command, flush_before(approved.tpm, SESSIONS), 1)
    approved.signs(approved.options)
    assert approved.tpm.left_behind() == []


@pytest.mark.parametrize("words, command", [
    (("create", "new", "--passphrase-file", "secret"), Command.Create),
    (("import", "new", "soft.pem", "--software"), Command.Import),
    (("check", "k", "--passphrase-file", "secret"), Command.Load),
    (("persist", "k"), Command.Sign),
    (("seal", "--seal", "none"), Command.Create)],
    ids=["create", "import", "check", "persist", "seal"])
def test_what_a_session_was_opened_for_is_done_though_it_is_flushed(own, words, command):
    own.user.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out",
                     "soft.pem")
    own.user.configure(session="always")
    own.user.lct("create", "k", *passphrase(own))
    own.signs(passphrase(own))
    own.proxy.hook(command, flush_before(own.tpm, SESSIONS), 1)
    own.user.lct(*words, stdin="a secret")
    assert own.tpm.left_behind() == []


@pytest.mark.parametrize("words, command", [
    (("sign", "k"), Command.Load), (("create", "new"), Command.Create)], ids=["sign", "create"])
def test_another_s_storage_root_key_stays_where_a_session_of_ours_is_flushed(own, words, command):
    """It has the Name of the parent that is made anew, of which nothing was lost."""
    own.user.configure(provision="no", session="always")
    own.user.lct("create", "k")
    own.tpm.tool("tpm2_createprimary", "-C", "o", "-c", "srk.ctx", *SRK)
    others = own.tpm.handles(OBJECTS)
    own.proxy.hook(command, flush_before(own.tpm, SESSIONS), 1)
    own.user.lct(*words, stdin=b"x", text=False)
    assert others and own.tpm.handles(OBJECTS) == others
    own.tpm.flush()


def test_the_owner_s_authorization_goes_by_another_session_if_one_is_flushed(own):
    own.tpm.tool("tpm2_changeauth", "-c", "owner", SECRET)
    own.user.configure(owner_auth_file=own.secret)
    own.proxy.hook(Command.CreatePrimary, twice(flush_before(own.tpm, SESSIONS)))
    own.user.lct("create", "k")
    own.signs()


def twice(answer):
    """At the second command, once."""
    asked = []

    def count(command, ask):
        asked.append(None)
        return answer(command, ask) if len(asked) == 2 else ask()

    return count


@pytest.mark.parametrize("command", [Command.NV_DefineSpace, Command.NV_Increment,
                                     Command.NV_Read])
def test_a_counter_is_not_left_where_the_session_of_its_making_is_flushed(make_sealer, make_tpm,
                                                                          make_proxy, command):
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_sealer(tpm, proxy.tcti)
    tpm.tool("tpm2_changeauth", "-c", "owner", SECRET)
    user.configure(seal=None, owner_auth_file=user.write("secret", SECRET))
    before = tpm.handles(INDICES)
    proxy.hook(command, flush_before(tpm, SESSIONS), 1)
    done = user.lct("create", "k", "--seal", "authority", "--revocable", status=TPM)
    assert "the session with the TPM is gone" in done.stderr
    assert tpm.handles(INDICES) == before and tpm.left_behind() == []


@pytest.mark.parametrize("which", [0, 1], ids=["first", "second"])
@EACH_MODE
def test_a_session_that_is_flushed_before_a_credential_is_opened_costs_nothing(proxied, certified,
                                                                               direct, which):
    """The first is the HMAC's, and the second says the endorsement key's policy."""
    proxied.proxy.hook(Command.ActivateCredential,
                       flush_before(certified, SESSIONS, slice(which, which + 1)), 1)
    check_all(proxied, certified, attest(proxied, **ASKED, credential="L-1", **mode(direct)))
    assert certified.left_behind() == []


@pytest.mark.parametrize("command", [Command.PolicySecret, Command.PolicyOR])
@EACH_MODE
def test_a_session_that_is_to_say_an_endorsement_key_s_policy_is_opened_anew(make_tpm, make_user,
                                                                             make_proxy, direct,
                                                                             command):
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_user(proxy.tcti)
    user.lct("create", "k")
    put(tpm, RSA_TEMPLATE, bytes.fromhex(without_user(POLICY_B_384, 0x0C)))
    proxy.hook(command, flush_before(tpm, SESSIONS), 1)
    check_all(user, tpm, attest(user, **ASKED, credential="L-1", **mode(direct)))
    assert proxy.count(command) == 2
    assert tpm.left_behind() == []


def test_a_session_that_is_gone_as_a_command_s_object_is_said_in_words(proxied, certified):
    proxied.proxy.hook(Command.PolicySecret, flush_before(certified, SESSIONS))
    fails(proxied, TPM, "TPM2_PolicySecret: a session or a key of ours is gone from the TPM: another "
          "program has flushed it", **ASKED, credential="L-1")


def test_an_authorization_is_checked_though_the_session_for_it_is_flushed(own):
    own.tpm.tool("tpm2_changeauth", "-c", "owner", SECRET)
    own.user.configure(owner_auth_file=own.secret)
    own.user.lct("create", "k")
    before = own.proxy.count(Command.PolicySecret)
    own.proxy.hook(Command.PolicySecret, flush_before(own.tpm, SESSIONS, slice(1, 2)), 1)
    own.user.lct("doctor")
    assert own.proxy.count(Command.PolicySecret) == before + 2
    assert own.tpm.left_behind() == []


@pytest.mark.parametrize("first", [OBJECTS, SESSIONS], ids=["object", "session"])
def test_a_passphrase_is_not_tried_more_often_for_what_is_flushed(own, first):
    """One that was not proven right: the TPM may have counted it."""
    own.user.lct("create", "k", *passphrase(own))
    before = own.proxy.count(Command.Sign)
    own.proxy.hook(Command.Sign, flush_before(own.tpm, first))
    own.user.lct("sign", "k", *passphrase(own), stdin="x", status=TPM)
    assert own.proxy.count(Command.Sign) == before + 2


def test_a_session_that_is_gone_each_time_is_said_in_words(own):
    own.user.lct("create", "k", *passphrase(own))
    own.proxy.hook(Command.Load, flush_before(own.tpm, SESSIONS))
    done = own.user.lct("sign", "k", *passphrase(own), stdin="x", status=TPM)
    assert done.stderr == ("lct: lct:k: TPM2_Load: the session with the TPM is gone: another program "
                           "has flushed it, or the TPM was restarted; try again (0x918)\n")


@pytest.mark.parametrize("approved", ["revocable"], indirect=True)
def test_a_policy_session_that_is_gone_each_time_is_said_in_words(approved):
    approved.proxy.hook(Command.PolicyNV, flush_before(approved.tpm, SESSIONS))
    done = approved.user.lct("sign", "k", stdin="x", status=TPM)
    assert "TPM2_PolicyNV: a session or a key of ours is gone from the TPM" in done.stderr
