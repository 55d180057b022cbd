# SPDX-License-Identifier: Apache-2.0
"""What the TPM is asked, counted at the TPM: signatures alone, with as little as can be."""

import shutil
import signal

import pytest

from apps import Client, free_port
from sealing import measure, reboot
from test_tls import SOFTWARE, VERSIONS, connect, start_server
from test_web_servers import start_nginx
from tpm import Broker, Command

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


@pytest.mark.parametrize("words", [
    ["req", "-new", "-key", "lct:{}", "-subj", "/CN=alice", "-out", "csr"],
    ["x509", "-req", "-in", "request.pem", "-CA", "crt.pem", "-CAkey", "lct:{}", "-out", "issued"],
    ["cms", "-sign", "-in", "data", "-signer", "crt.pem", "-inkey", "lct:{}", "-out", "cms"],
    ["pkeyutl", "-sign", "-rawin", "-digest", "sha256", "-in", "data", "-inkey", "lct:{}", "-out",
     "sig"]], ids=lambda words: words[0])
@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_openssl_s_commands_are_load_sign_flush(watched, proxy, words, key):
    watched.certificate(f"lct:{key}")
    watched.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", "soft.pem", "-subj", "/CN=bob", "-out", "request.pem", env=SOFTWARE)
    proxy.codes.clear()
    watched.openssl(*[word.format(key) for word in words])
    assert proxy.codes == ONE_SIGNATURE


# Running programs, through a resource manager, where a key is kept, and behind tpm2-abrmd, which
# looks after them, sessions.


def commands(text: str) -> list[Command]:
    return [Command[name] for name in text.split()]


def sign(user, count: int, key: str = "k"):
    """So many signatures of one program, one after another, and its end."""
    user.run(user.build / "tests" / "evp", "signs", f"lct:{key}", count)


@ALL_KINDS
def test_behind_a_resource_manager_each_further_signature_is_one_command(owner, tpm, make_tpmrm,
                                                                         key):
    device = make_tpmrm(tpm)
    owner.configure(tcti=device.tcti)
    sign(owner, 4, key)
    assert device.codes == commands("Load Sign Sign Sign Sign")


@pytest.mark.parametrize("algorithm", ["ec-p256", "rsa-2048"])
def test_behind_a_resource_manager_a_persistent_key_is_one_command_each(user, make_tpm, make_tpmrm,
                                                                        algorithm):
    device = make_tpmrm(make_tpm())
    user.configure(tcti=device.tcti)
    user.lct("create", "k", "--algorithm", algorithm)
    user.lct("persist", "k")
    device.codes.clear()
    sign(user, 3)
    assert device.codes == commands("Sign Sign Sign")


class Brokered:
    """tpm2-abrmd, and what it is asked: it swaps, and what comes beside is its own."""

    tcti = "tabrmd:bus_type=session"

    def __init__(self, proxy):
        self.proxy = proxy
        self.broker = Broker(proxy)
        self.env = self.broker.env

    @property
    def codes(self) -> list[Command]:
        swaps = {Command.ContextLoad, Command.ContextSave, Command.FlushContext}
        return [code for code in self.proxy.codes if code not in swaps]

    def clear(self):
        self.proxy.codes.clear()


@pytest.fixture(name="make_brokered")
def fixture_make_brokered(make_proxy):
    """tpm2-abrmd, before a TPM."""
    if not (shutil.which("tpm2-abrmd") and shutil.which("dbus-daemon")):
        pytest.skip("tpm2-abrmd is not installed")
    made = []

    def make(tpm) -> Brokered:
        made.append(Brokered(make_proxy(tpm)))
        return made[-1]

    yield make
    for brokered in made:
        brokered.broker.end()


def test_behind_tpm2_abrmd_each_further_signature_is_one_command(user, make_tpm, make_brokered):
    brokered = make_brokered(make_tpm())
    user.env |= brokered.env
    user.configure(tcti=brokered.tcti)
    user.lct("create", "k")
    brokered.clear()
    sign(user, 4)
    assert brokered.codes == commands("Load Sign Sign Sign Sign")


@VERSIONS
@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_behind_a_resource_manager_each_handshake_is_one_command(owner, tpm, make_tpmrm, key,
                                                                 version):
    device = make_tpmrm(tpm)
    owner.configure(tcti=device.tcti)
    certificate = owner.certificate(f"lct:{key}")
    device.codes.clear()
    server, port = start_server(owner, "-key", f"lct:{key}", "-cert", certificate, "-naccept", "3")
    for number in range(3):
        connect(owner, port, f"-{version}", "-CAfile", certificate, "-no_ticket", env=SOFTWARE)
        server.read_until(b"(hello server(.|\n)*){%d}" % (number + 1))
    server.stop()
    assert device.codes == commands("Load Sign Sign Sign")


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_nginx_asks_the_tpm_for_one_command_a_handshake(make_site, kind):
    site, port = make_site(kind, "device"), free_port()
    nginx = start_nginx(site, port)
    clients = [Client(site.ca, version) for version in ("TLSv1.2", "TLSv1.3")]
    before = len(site.device.codes)
    for number in range(40):
        clients[number % 2].get(port)
    codes = site.device.codes[before:]
    assert codes.count(Command.Sign) == 40
    assert codes.count(Command.Load) in (1, 2) and len(codes) == 40 + codes.count(Command.Load), (
        "each worker's first has a Load before it")
    nginx.stop(signal.SIGQUIT)


PASSPHRASE = "correct horse"


def protected(user, *options: str, passphrase: bool = True):
    """lct:k with a passphrase, which has been used: the first time some TPMs ask for one again."""
    secret = user.write("secret", PASSPHRASE)
    if passphrase:
        options = (*options, "--passphrase-file", secret)
    user.lct("create", "k", *options)
    return {"passphrase_file": secret} if passphrase else {}


@pytest.mark.parametrize("algorithm", ["ec-p256", "rsa-2048"])
def test_what_a_passphrase_costs(user, make_tpm, make_proxy, make_tpmrm, algorithm):
    tpm = make_tpm()
    device, proxy = make_tpmrm(tpm), make_proxy(tpm)
    user.configure(tcti=device.tcti)
    settings = protected(user, "--algorithm", algorithm)
    user.configure(tcti=device.tcti, **settings)
    sign(user, 1)
    device.codes.clear()
    sign(user, 4)
    # Of a passphrase that nobody typed: may one more be wrong?
    assert device.codes == commands("GetCapability ReadPublic StartAuthSession Load Sign"
                                    ) + commands("ReadPublic StartAuthSession Sign"
                                                 ) * 3, "the key is kept, no session is"
    user.configure(tcti=proxy.tcti, **settings)
    sign(user, 3)
    assert proxy.codes == commands("GetCapability" + (
        " ReadPublic GetCapability StartAuthSession Load Sign FlushContext" * 3)), "nothing is"


def test_behind_tpm2_abrmd_a_passphrase_costs_a_session_once(user, make_tpm, make_brokered):
    brokered = make_brokered(make_tpm())
    user.env |= brokered.env
    user.configure(tcti=brokered.tcti)
    user.configure(tcti=brokered.tcti, **protected(user))
    sign(user, 1)
    brokered.clear()
    sign(user, 4)
    assert brokered.codes == commands(
        "GetCapability ReadPublic StartAuthSession Load Sign Sign Sign Sign")


STRICT, EITHER, AUTHORITY = ("--seal", "strict:sha256:7"), (), ("--seal", "authority:sha256:7")
VERIFIED = "LoadExternal VerifySignature FlushContext PolicyAuthorize"
# How it is sealed, whether its state has been approved, what is said first, and from then on.
SEALS = {
    "strict": (STRICT, False, "PolicyPCR", "PolicyPCR"),
    "first state": (EITHER, False, "PolicyPCR PolicyOR", "PolicyPCR PolicyOR"),
    "approved": (EITHER, True, f"PCR_Read PolicyPCR {VERIFIED} PolicyOR",
                 "PolicyPCR PolicyAuthorize PolicyOR"),
    "authority": (AUTHORITY, True, f"PCR_Read PolicyPCR {VERIFIED}", "PolicyPCR PolicyAuthorize"),
    "revocable": ((*AUTHORITY, "--revocable"), True,
                  f"PCR_Read PolicyPCR NV_ReadPublic PolicyNV {VERIFIED}",
                  "PolicyPCR PolicyNV PolicyAuthorize"),
}


@pytest.fixture(name="sealed_at")
def fixture_sealed_at(request, make_sealer, authority, make_tpm):
    """Who has lct:k, sealed and ready to sign, and what counts, which make_`way` makes."""
    made = []

    def make(way: str, options, approved: bool, passphrase: bool):
        tpm = make_tpm()
        counted = request.getfixturevalue(f"make_{way}")(tpm)
        sealer = make_sealer(tpm, counted.tcti)
        sealer.env |= getattr(counted, "env", {})
        made.append(sealer)
        settings = protected(sealer, *options, passphrase=passphrase)
        sealer.configure(seal=None, **settings)
        if approved:
            measure(tpm, 7)
            sealer.lct("approve", *authority.options, "k")
        sign(sealer, 1)
        getattr(counted, "clear", counted.codes.clear)()
        return sealer, counted

    yield make
    for sealer in made:
        sealer.lct("delete", "k", "--yes")


@pytest.mark.parametrize("algorithm", ["ec-p256", "rsa-2048"])
@pytest.mark.parametrize("passphrase", [False, True], ids=["free", "passphrase"])
@pytest.mark.parametrize("seal", SEALS)
def test_behind_a_resource_manager_a_sealed_key_costs_its_policy(sealed_at, seal, passphrase,
                                                                 algorithm):
    options, approved, first, further = SEALS[seal]
    sealer, device = sealed_at("tpmrm", (*options, "--algorithm", algorithm), approved, passphrase)
    sign(sealer, 4)
    also = " PolicyAuthValue" if passphrase else ""
    begin = "ReadPublic StartAuthSession GetRandom" if passphrase else "StartAuthSession"
    # Loaded only then: the resource manager swaps what is loaded with each command.
    asked = "GetCapability" if passphrase else ""
    assert device.codes == commands(f"{asked} {begin} {first}{also} Load Sign") + commands(
        f"{begin} {further}{also} Sign") * 3
    looked_for = seal == "revocable"  # is the counter at its index that one?
    assert passphrase or len(commands(f"{begin} {first} Load Sign")) <= 10 + looked_for


@pytest.mark.parametrize("passphrase", [False, True], ids=["free", "passphrase"])
@pytest.mark.parametrize("seal", SEALS)
def test_behind_tpm2_abrmd_a_sealed_key_costs_a_session_once(sealed_at, seal, passphrase):
    options, approved, first, further = SEALS[seal]
    sealer, brokered = sealed_at("brokered", options, approved, passphrase)
    sign(sealer, 4)
    also = " PolicyAuthValue" if passphrase else ""
    begin = "ReadPublic StartAuthSession GetRandom" if passphrase else "StartAuthSession"
    flushed = first.replace(" FlushContext", "")  # which is counted as a swap
    asked = "GetCapability" if passphrase else ""
    assert brokered.codes == commands(f"{asked} {begin} {flushed}{also} Load Sign") + commands(
        f"{further}{also} Sign") * 3


@pytest.mark.parametrize("seal", SEALS)
def test_without_a_resource_manager_a_sealed_key_costs_a_session_as_well(sealed_at, seal):
    options, approved, first, further = SEALS[seal]
    sealer, proxy = sealed_at("proxy", options, approved, False)
    sign(sealer, 4)
    begin = "GetCapability StartAuthSession"
    assert proxy.codes == commands(
        f"{begin} {first} Load Sign FlushContext"
        f" {begin} {further} Load Sign GetCapability"  # is there a slot to keep?
        f" {begin} {further} Sign {begin} {further} Sign"
        " ReadPublic FlushContext")  # is it still ours to flush?


@pytest.mark.parametrize("seal", SEALS)
def test_without_a_resource_manager_one_with_a_passphrase_is_not_kept(sealed_at, seal):
    options, approved, first, further = SEALS[seal]
    sealer, proxy = sealed_at("proxy", options, approved, True)
    sign(sealer, 3)
    begin = "ReadPublic GetCapability StartAuthSession GetRandom"
    end = "PolicyAuthValue Load Sign FlushContext"
    assert proxy.codes == commands(
        f"GetCapability {begin} {first} {end}" + f" {begin} {further} {end}" * 2)


def test_where_an_approval_is_for_another_state_a_program_looks_once(sealed_at, authority):
    sealer, device = sealed_at("tpmrm", EITHER, False, False)
    tpm = device.tpm
    measure(tpm, 2)
    values = sealer.write("values", sealer.lct("pcrs", "k").stdout)
    reboot(tpm)
    sealer.lct("approve", *authority.options, "--pcrs", values, "k")
    device.codes.clear()
    sign(sealer, 2)
    assert device.codes == commands(
        "StartAuthSession PCR_Read PolicyPCR PolicyOR Load Sign"
        " StartAuthSession PolicyPCR PolicyOR Sign")


# Making one. Beside TPM2_Create itself: what the TPM is and which hashes it has, for the record;
# the storage root key's Name. Only what is secret takes a session.


DESCRIBE = "GetCapability GetCapability ReadPublic "
MADE = {"ec-p256": "", "rsa-2048": " Load Sign"}  # of RSA: which salt its PSS has


@pytest.mark.parametrize("algorithm", MADE)
def test_what_lct_create_costs(user, make_tpm, make_tpmrm, algorithm):
    device = make_tpmrm(make_tpm())
    user.configure(tcti=device.tcti)
    words = ("create", "--algorithm", algorithm)
    user.lct(*words, "first")
    assert device.codes == commands(DESCRIBE + "CreatePrimary EvictControl FlushContext "
                                    "Create" + MADE[algorithm])
    for name, options in (("next", ()), ("strict", STRICT)):
        device.codes.clear()
        user.lct(*words, name, *options)
        sealed = "PCR_Read " if options else ""
        assert device.codes == commands(
            f"{sealed}{DESCRIBE} Create" + MADE[algorithm].replace(
                "Load Sign", "StartAuthSession PolicyPCR Load Sign" if options else "Load Sign"))


@pytest.mark.parametrize("algorithm", MADE)
def test_what_lct_create_costs_without_a_resource_manager(user, make_tpm, make_proxy, algorithm):
    proxy = make_proxy(make_tpm())
    user.configure(tcti=proxy.tcti)
    user.lct("create", "first")
    # The storage root key is persisted in a session: none but it is put there.
    assert proxy.codes == commands(
        DESCRIBE + "CreatePrimary GetCapability StartAuthSession EvictControl FlushContext "
        "FlushContext Create")
    proxy.codes.clear()
    user.lct("create", "next", "--algorithm", algorithm)
    signed = MADE[algorithm] and f"{MADE[algorithm]} FlushContext"
    assert proxy.codes == commands(DESCRIBE + "Create" + signed)


def test_what_lct_create_with_a_passphrase_costs(user, make_tpm, make_tpmrm):
    """What is secret goes in a session."""
    device = make_tpmrm(make_tpm())
    user.configure(tcti=device.tcti)
    user.lct("create", "first")
    device.codes.clear()
    user.lct("create", "k", "--passphrase-file", user.write("secret", "correct horse"))
    assert device.codes == commands(f"{DESCRIBE} StartAuthSession Create")


@pytest.mark.parametrize("options", [STRICT, EITHER, AUTHORITY])
def test_what_lct_create_of_a_sealed_key_costs(make_sealer, make_tpm, make_tpmrm, options):
    """What the PCRs hold, once; and whether the TPM takes the key of who may approve others."""
    tpm = make_tpm()
    device = make_tpmrm(tpm)
    sealer = make_sealer(tpm, device.tcti)
    sealer.lct("create", "first", "--seal", "none")
    device.codes.clear()
    sealer.lct("create", "k", *options)
    tried = "" if options == STRICT else "LoadExternal FlushContext "
    assert device.codes == commands(f"{tried}PCR_Read {DESCRIBE} Create")


def test_what_lct_create_of_a_revocable_key_costs(make_sealer, make_tpm, make_tpmrm):
    """A counter as well: a free index, the counter, its first count, and its value."""
    tpm = make_tpm()
    device = make_tpmrm(tpm)
    sealer = make_sealer(tpm, device.tcti)
    sealer.lct("create", "first", "--seal", "none")
    device.codes.clear()
    sealer.lct("create", "k", *AUTHORITY, "--revocable")
    assert device.codes == commands("LoadExternal FlushContext PCR_Read"
                                    " GetCapability NV_DefineSpace NV_Increment NV_Read"
                                    f" {DESCRIBE} Create")
    sealer.lct("delete", "k", "--yes")
