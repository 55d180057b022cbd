# SPDX-License-Identifier: Apache-2.0
"""Keys that were made elsewhere: by other tools in the TPM, by others for it, in software."""

import base64
import dataclasses
import json
import os
import re
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from conftest import sanitizer_preload
from keyfile import OID_SEALED, KeyFile, der
from test_bad_input import queue_says
from test_command import one_sentence
from test_passphrase import OWNER, on_a_terminal
from tpm import SRK, TIMEOUT, Command

STORAGE = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
SIGNING = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign"
HANDLE = 0x81000100
OWNER_RH, NULL_RH, ENDORSEMENT_RH, PLATFORM_RH = 0x40000001, 0x40000007, 0x4000000B, 0x4000000C
HIERARCHIES = {"o": OWNER_RH, "e": ENDORSEMENT_RH, "n": NULL_RH, "p": PLATFORM_RH}
KINDS = {"ec-p256": "ecc256", "ec-p384": "ecc384", "rsa-2048": "rsa2048"}
SECRET = "correct horse"
NO_CONFIGURATION = {"OPENSSL_CONF": os.devnull}


class Bench:
    """A TPM with a storage root key, tpm2-tools that make keys in it, and a user."""

    def __init__(self, tpm, user):
        self.tpm, self.user = tpm, user
        self.primary("o", SRK)
        user.write("data")

    def primary(self, hierarchy: str, handle: int | None = None, rsa: bool = False, *options):
        """A storage key of the TCG's template: at a handle, or as p.ctx for the next command."""
        self.tpm.tool("tpm2_createprimary", "-C", hierarchy, "-G",
                      "rsa2048:aes128cfb" if rsa else "ecc256:aes128cfb", "-a", STORAGE, "-c",
                      "p.ctx", *options)
        self.tpm.flush()
        if handle:
            self.tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "p.ctx", hex(handle))
            self.tpm.flush()

    def make(self, *options, parent: int = SRK, context: str | None = None, kind: str = "ecc256",
             attributes: str | None = SIGNING, **fields) -> KeyFile:
        """A key by tpm2_create, which is left in k.pub and k.priv."""
        extra = ("-a", attributes) if attributes else ()
        self.tpm.tool("tpm2_create", "-C", context or hex(parent), "-G", kind, "-u", "k.pub",
                      "-r", "k.priv", *extra, *options)
        self.tpm.flush()
        return KeyFile(parent, *self.blobs("k.pub", "k.priv"), **fields)

    def blobs(self, *names: str) -> list[bytes]:
        return [(self.tpm.directory / name).read_bytes() for name in names]

    def persist(self, handle: int = HANDLE, parent: int = SRK):
        """The key that was made last goes to a handle."""
        self.tpm.tool("tpm2_load", "-C", hex(parent), "-u", "k.pub", "-r", "k.priv", "-c", "k.ctx")
        self.tpm.flush()
        self.tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "k.ctx", hex(handle))
        self.tpm.flush()

    def evict(self, handle: int = HANDLE):
        self.tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", hex(handle))

    def write(self, key: KeyFile, name: str = "k.pem"):
        key.write(self.user.path(name))
        return name

    def adopt(self, key: KeyFile, *options, status: int = 0):
        return self.user.lct("import", "k", self.write(key), *options, status=status)

    def refuse(self, key: KeyFile, status: int, *options) -> str:
        """It is no identity then."""
        sentence = one_sentence(self.adopt(key, *options, status=status).stderr)
        assert not self.user.in_store()
        return sentence

    def duplicate(self, pem, kind: str, *options, parent: int = SRK) -> KeyFile:
        """A software key, wrapped for a storage key by tpm2-tools."""
        self.tpm.tool("tpm2_readpublic", "-c", hex(parent), "-o", "parent.pub")
        self.tpm.tool("tpm2_duplicate", "-U", "parent.pub", "-G", kind, "-k", pem, "-u", "d.pub",
                      "-r", "d.priv", "-s", "d.seed", *options)
        public, private, seed = self.blobs("d.pub", "d.priv", "d.seed")
        return KeyFile(parent, public, private, secret=seed)


@pytest.fixture(name="bench")
def fixture_bench(make_tpm, make_user):
    tpm = make_tpm()
    return Bench(tpm, make_user(tpm.tcti))


def software(user, algorithm: str, name: str = "soft.pem", *options):
    words = {"ec-p256": ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
             "ec-p384": ("EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
             "rsa-2048": ("RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
             "rsa-3072": ("RSA", "-pkeyopt", "rsa_keygen_bits:3072")}[algorithm]
    user.openssl("genpkey", "-algorithm", *words, "-out", name, *options, env=NO_CONFIGURATION)
    return user.path(name)


def public_of(user, path, *options):
    """The public key of a file, by a stock openssl."""
    user.openssl("pkey", "-in", path, "-pubout", "-out", "stock.pub", *options,
                 env=NO_CONFIGURATION)
    return user.path("stock.pub")


def signs(user, public=None, *options, digest: str = "sha256", **more):
    """openssl signs with lct:k, and the signature verifies with a public key of ours or others."""
    user.openssl("dgst", f"-{digest}", *options, "-sign", "lct:k", "-out", "sig", "data", **more)
    if public is None:
        shown = json.loads(user.lct("show", "k", "--json").stdout)
        public = user.write("k.pub.pem", shown["public_key"])
    pss = [word for word in options if word != "-passin" and not word.startswith("pass:")]
    user.verify(public, user.path("sig"), user.path("data"), digest, *pss)


def encode(bench, *options):
    """The key that was made last as tpm2-tools write it: they leave a session behind."""
    bench.tpm.tool("tpm2_encodeobject", "-C", hex(SRK), "-u", "k.pub", "-r", "k.priv", "-o",
                   bench.user.path("k.pem"), *options)
    bench.tpm.flush()
    bench.tpm.tool("tpm2_flushcontext", "--loaded-session")


def shown(user) -> dict:
    return json.loads(user.lct("show", "k", "--json").stdout)


@pytest.mark.parametrize("algorithm", KINDS)
def test_a_key_file_of_tpm2_tools_becomes_an_identity(bench, algorithm):
    bench.make(kind=KINDS[algorithm], attributes=None)
    encode(bench)
    done = bench.user.lct("import", "k", "k.pem", "--no-passphrase")
    assert re.match(rf"imported lct:k \({algorithm}, unsealed, in the TPM: .*, a software TPM\)\n"
                    "hardware_bound: true: ", done.stdout)
    signs(bench.user)
    bench.user.lct("check", "k")
    assert shown(bench.user)["hardware_bound"] is True
    assert bench.user.path("k.pem").exists(), "the file is left as it is"


def encode_wrongly(bench, *options):
    """A key file that says of a key with a passphrase that it has none, and the reverse."""
    encode(bench, *options)
    path = bench.user.path("k.pem")
    dataclasses.replace(KeyFile.read(path), empty_auth=bool(options)).write(path)


def test_a_key_file_that_is_wrong_about_its_passphrase(bench):
    """tpm2_encodeobject 5.4 writes emptyAuth the wrong way round, later ones the right one."""
    bench.make()
    encode_wrongly(bench)
    done = bench.user.lct("import", "k", "k.pem", status=12, start_new_session=True)
    assert "passphrase of lct:k" in one_sentence(done.stderr)
    assert "--no-passphrase if the key has none" in done.stderr
    bench.user.lct("import", "k", "k.pem", "--no-passphrase")
    signs(bench.user)
    bench.user.lct("delete", "k", "--yes")
    bench.make("-p", SECRET)
    encode_wrongly(bench, "-p")
    done = bench.user.lct("import", "k", "k.pem", status=12)
    assert "import it with --passphrase" in one_sentence(done.stderr)
    secret = bench.user.write("secret", SECRET)
    bench.user.lct("import", "k", "k.pem", "--passphrase", "--passphrase-file", secret)
    signs(bench.user, None, "-passin", f"pass:{SECRET}")
    bench.user.lct("import", "x", "k.pem", "--passphrase", "--no-passphrase", status=2)


@pytest.mark.parametrize("words", [("EC", "-pkeyopt", "group:P-256"), ("RSA",)], ids=["ec", "rsa"])
@pytest.mark.parametrize("parent", [None, SRK])
def test_a_key_of_tpm2_openssl_becomes_an_identity(bench, words, parent):
    options = ["-pkeyopt", f"parent:{parent:#x}"] if parent else []
    bench.user.openssl("genpkey", "-provider", "tpm2", "-provider", "default", "-algorithm",
                       *words, *options, "-out", "k.pem",
                       env=NO_CONFIGURATION | {"TPM2OPENSSL_TCTI": bench.tpm.tcti})
    bench.user.lct("import", "k", "k.pem")
    signs(bench.user)
    bench.user.lct("check", "k")
    assert int(shown(bench.user)["parent"]["handle"], 16) == (parent or OWNER_RH)


def test_a_key_of_ours_is_imported_from_its_own_key_file(bench):
    bench.user.lct("create", "mine")
    path = bench.user.store / "mine" / "key-1.pem"
    bench.user.lct("import", "k", path)
    assert (bench.user.store / "k" / "key-1.pem").read_text() == path.read_text()
    bench.user.write("k.der", KeyFile.read(path).to_der())
    bench.user.lct("import", "d", "k.der")
    assert (bench.user.store / "d" / "key-1.pem").read_text() == path.read_text()
    bench.user.lct("check")


def make_under(bench, hierarchy: str, rsa: bool, secret: str | None) -> KeyFile:
    """A key whose parent is made anew in a hierarchy each time."""
    bench.primary(hierarchy, rsa=rsa)
    words = ("-p", secret) if secret else ()
    return bench.make(*words, context="p.ctx", parent=HIERARCHIES[hierarchy], rsa_parent=rsa,
                      empty_auth=not secret, attributes=SIGNING.replace("|noda", ""))


@pytest.mark.parametrize("rsa", [False, True], ids=["ecc", "rsa"])
@pytest.mark.parametrize("hierarchy", HIERARCHIES)
@pytest.mark.parametrize("secret", [None, SECRET], ids=["free", "passphrase"])
def test_a_parent_is_made_anew_in_each_hierarchy(bench, hierarchy, rsa, secret):
    key = make_under(bench, hierarchy, rsa, secret)
    options = ("--passphrase-file", bench.user.write("secret", SECRET)) if secret else ()
    bench.adopt(key, *options)
    signs(bench.user, None, *(("-passin", f"pass:{SECRET}") if secret else ()))
    bench.user.lct("check", "k", *options)
    assert int(shown(bench.user)["parent"]["handle"], 16) == HIERARCHIES[hierarchy]
    assert KeyFile.read(bench.user.store / "k" / "key-1.pem") == key


@pytest.mark.parametrize("rsa", [False, True], ids=["ecc", "rsa"])
@pytest.mark.parametrize("hierarchy", HIERARCHIES)
@pytest.mark.parametrize("secret", [None, SECRET], ids=["free", "passphrase"])
def test_a_key_file_alone_signs_under_a_parent_that_nobody_has_pinned(bench, hierarchy, rsa, secret):
    key = make_under(bench, hierarchy, rsa, secret)
    key.write(bench.user.path("k.pem"))
    options = ("-passin", f"pass:{SECRET}") if secret else ()
    bench.user.openssl("dgst", "-sha256", "-sign", "k.pem", *options, "-out", "sig", "data")
    bench.user.openssl("pkey", "-in", "k.pem", "-pubout", "-out", "pub", *options)
    bench.user.verify(bench.user.path("pub"), bench.user.path("sig"), bench.user.path("data"))
    if not secret:
        return
    error = bench.user.openssl("dgst", "-sha256", "-sign", "k.pem", "-passin", "pass:not it",
                               "data", status=1).stderr
    assert "wrong passphrase; tries left" in queue_says(error, "not authorized")
    assert bench.tpm.property(0x20E) == 1
    bench.tpm.tool("tpm2_dictionarylockout", "-c")


@pytest.mark.parametrize("rsa", [False, True], ids=["ecc", "rsa"])
def test_any_persistent_storage_key_is_a_parent(bench, rsa):
    bench.primary("e", 0x81000007, rsa)
    bench.adopt(bench.make(parent=0x81000007))
    signs(bench.user)
    bench.evict(0x81000007)
    bench.primary("o", 0x81000007, not rsa)
    assert "a different one" in one_sentence(bench.user.lct("check", "k", status=13).stderr)


def test_rsa_parent_is_not_mistaken_for_the_ecc_one(bench):
    bench.primary("o", rsa=True)
    key = bench.make(context="p.ctx", parent=OWNER_RH, rsa_parent=False)
    assert "made by another TPM" in bench.refuse(key, 13)


@pytest.mark.parametrize("hierarchy, name, setting", [
    ("o", "owner", "owner_auth_file"), ("e", "endorsement", "endorsement_auth_file")])
def test_a_hierarchy_s_authorization_is_used_for_its_parents(bench, make_proxy, hierarchy, name,
                                                            setting):
    bench.primary(hierarchy)
    key = bench.make(context="p.ctx", parent=HIERARCHIES[hierarchy])
    bench.tpm.tool("tpm2_changeauth", "-c", name, OWNER)
    assert setting in bench.refuse(key, 12)
    proxy = make_proxy(bench.tpm)
    bench.user.configure(tcti=proxy.tcti, **{setting: bench.user.write("auth", OWNER)})
    bench.adopt(key)
    signs(bench.user)
    assert not any(OWNER.encode() in message for message in proxy.messages)
    bench.user.configure(tcti=proxy.tcti, **{setting: bench.user.write("wrong", "not it")})
    assert "refuses" in one_sentence(bench.user.lct("check", "k", status=12).stderr)


def test_the_platform_s_authorization_is_not_ours(bench):
    bench.primary("p")
    key = bench.make(context="p.ctx", parent=PLATFORM_RH)
    bench.tpm.tool("tpm2_changeauth", "-c", "platform", OWNER)
    assert "firmware" in bench.refuse(key, 12)


@pytest.mark.parametrize("parent", [0x40000000, 0x4000000A, 0x80000000, 0x01000000, 0x81000999])
def test_what_is_no_parent_is_refused(bench, parent):
    key = bench.make()
    status = 13 if parent >> 24 == 0x81 else 15
    assert f"{parent:#010x}" in bench.refuse(dataclasses.replace(key, parent=parent), status)


def test_a_parent_that_is_no_storage_key_is_refused(bench):
    key = bench.make()
    bench.persist(0x81000008)
    assert "not a storage key" in bench.refuse(dataclasses.replace(key, parent=0x81000008), 15)


def test_a_parent_that_takes_an_authorization_is_refused(bench):
    bench.primary("o", 0x81000009, False, "-p", "abc")
    bench.tpm.tool("tpm2_create", "-C", "0x81000009", "-P", "abc", "-G", "ecc256", "-a", SIGNING,
                   "-u", "k.pub", "-r", "k.priv")
    bench.tpm.flush()
    key = KeyFile(0x81000009, *bench.blobs("k.pub", "k.priv"))
    assert "parent takes an authorization" in bench.refuse(key, 12)


def test_the_key_of_another_tpm_is_refused(bench, make_tpm, make_user):
    tpm = make_tpm()
    other = Bench(tpm, make_user(tpm.tcti))
    assert "made by another TPM" in bench.refuse(other.make(), 13)
    other.primary("o")
    key = other.make(context="p.ctx", parent=OWNER_RH)
    assert "made by another TPM" in bench.refuse(key, 13)


def test_the_parent_s_name_is_pinned(bench):
    """Whoever clears the TPM and puts a storage key of theirs there has not the key's."""
    bench.adopt(bench.make())
    pinned = shown(bench.user)["parent"]["name"]
    read = bench.tpm.tool("tpm2_readpublic", "-c", hex(SRK)).stdout
    assert f"name: {pinned}" in read
    bench.tpm.tool("tpm2_clear")
    bench.primary("o", SRK)
    bench.user.lct("sign", "k", stdin="x", status=13)


REFUSED = {
    "storage": ((), STORAGE, "ecc256:aes128cfb", "storage key"),
    "restricted": ((), SIGNING + "|restricted", "ecc256:ecdsa-sha256:null", "attestation key"),
    "decryption": ((), STORAGE.replace("restricted|", ""), "rsa2048", "decryption key"),
    "policy": (("-L", "policy"), SIGNING.replace("|userwithauth", ""), "ecc256", "takes a policy"),
    "idle policy": (("-L", "policy"), SIGNING, "ecc256", "has a policy"),
    "ecdaa": ((), SIGNING, "ecc256:ecdaa4-sha256:null", "none of RSASSA, RSAPSS and ECDSA"),
    "hash": ((), SIGNING, "ecc256:ecdsa-sha384:null", "bound to signatures with sha384"),
    "exponent": ((), SIGNING, "rsa1024", "not supported"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_keys_that_programs_cannot_sign_with_are_refused(bench, kind):
    options, attributes, algorithm, sentence = REFUSED[kind]
    if "policy" in kind:
        bench.tpm.tool("tpm2_createpolicy", "--policy-pcr", "-l", "sha256:0", "-L", "policy")
        bench.tpm.tool("tpm2_flushcontext", "--loaded-session")
    key = bench.make(*options, kind=algorithm, attributes=attributes)
    assert sentence in bench.refuse(key, 15)
    bench.persist()
    done = bench.user.lct("import", "k", hex(HANDLE), status=15)
    assert sentence in one_sentence(done.stderr)
    assert not bench.user.in_store()


def test_sealed_data_is_refused(bench):
    (bench.tpm.directory / "secret").write_text("secret")
    bench.tpm.tool("tpm2_create", "-C", hex(SRK), "-i", "secret", "-u", "k.pub", "-r", "k.priv")
    bench.tpm.flush()
    key = KeyFile(SRK, *bench.blobs("k.pub", "k.priv"))
    assert "sealed data" in bench.refuse(dataclasses.replace(key, oid=OID_SEALED), 15)
    assert "sealed data" in bench.refuse(key, 15)
    bench.persist()
    assert "sealed data" in bench.user.lct("import", "k", hex(HANDLE), status=15).stderr


def test_a_policy_in_the_key_file_is_not_passed_over(bench):
    secret, value = (der(0x30, der(0xA0, der(2, code)) + der(0xA1, der(4, b"")))
                     for code in (b"\1\x51", b"\1\x6b"))
    key = bench.make()
    assert "takes a policy" in bench.refuse(dataclasses.replace(key, policy=secret), 15)
    assert "not sealed as is said" in bench.refuse(dataclasses.replace(key, policy=value), 6)


BOUND = {"rsassa": ("rsa2048:rsassa-sha384:null", (), ("-sigopt", "rsa_padding_mode:pss")),
         "rsapss": ("rsa2048:rsapss-sha384:null",
                    ("-sigopt", "rsa_padding_mode:pss"), ()),  # PKCS #1 v1.5
         "ecdsa": ("ecc384:ecdsa-sha384:null", (), None)}


@pytest.mark.parametrize("scheme", BOUND)
def test_a_key_that_is_bound_to_a_scheme_signs_by_it_alone(bench, scheme):
    kind, good, bad = BOUND[scheme]
    bench.adopt(bench.make(kind=kind))
    bench.user.lct("check", "k")
    assert shown(bench.user)["hashes"] == ["sha384"]
    assert (shown(bench.user)["pss_salt"] is not None) == (scheme == "rsapss")
    signs(bench.user, None, *good, digest="sha384")
    if bad is None:
        return
    error = bench.user.openssl("dgst", "-sha384", *bad, "-sign", "lct:k", "data", status=1).stderr
    assert "lct:k: " in queue_says(error, "not supported")
    error = bench.user.openssl("dgst", "-sha256", *good, "-sign", "lct:k", "data",
                               status=1).stderr
    assert "no RSA signatures with sha256" in queue_says(error, "not supported")


@pytest.mark.parametrize("algorithm", KINDS)
def test_a_key_with_a_passphrase(bench, make_proxy, algorithm):
    key = bench.make("-p", SECRET, kind=KINDS[algorithm], empty_auth=False,
                     attributes=SIGNING.replace("|noda", ""))
    proxy = make_proxy(bench.tpm)
    bench.user.configure(tcti=proxy.tcti)
    secret = bench.user.write("secret", SECRET)
    bench.adopt(key, "--passphrase-file", secret)
    signs(bench.user, None, "-passin", f"pass:{SECRET}")
    assert not any(SECRET.encode() in message for message in proxy.messages)
    assert shown(bench.user)["passphrase"] is True


@pytest.mark.parametrize("kind", ["ecc256", "rsa2048"])
@pytest.mark.parametrize("at_handle", [False, True], ids=["file", "handle"])
def test_a_wrong_passphrase_is_tried_once(bench, kind, at_handle):
    key = bench.make("-p", SECRET, kind=kind, empty_auth=False,
                     attributes=SIGNING.replace("|noda", ""))
    wrong = bench.user.write("wrong", "not it")
    if at_handle:
        bench.persist()
        done = bench.user.lct("import", "k", hex(HANDLE), "--passphrase-file", wrong, status=12)
        assert "wrong passphrase; tries left" in one_sentence(done.stderr)
    else:
        assert "wrong passphrase; tries left" in bench.refuse(key, 12, "--passphrase-file", wrong)
    assert bench.tpm.property(0x20E) == 1
    bench.tpm.tool("tpm2_dictionarylockout", "-c")


def test_a_passphrase_is_asked_for_on_the_terminal(bench):
    bench.write(bench.make("-p", SECRET, empty_auth=False))
    shown_there = on_a_terminal(bench.user, [str(bench.user.build / "lct"), "import", "k", "k.pem"],
                                SECRET)
    assert shown_there.startswith("0 ") and "passphrase of lct:k" in shown_there
    assert SECRET not in shown_there


@pytest.mark.parametrize("operand", [f"{HANDLE:#x}", f"handle:{HANDLE:#x}"])
@pytest.mark.parametrize("kind", ["ecc256", "rsa2048"])
def test_a_key_at_a_persistent_handle(bench, kind, operand):
    bench.make(kind=kind, attributes=None)
    bench.persist()
    bench.user.lct("import", "k", operand)
    signs(bench.user)
    bench.user.lct("check", "k")
    bench.user.lct("csr", "k")
    assert shown(bench.user)["handle"] == f"{HANDLE:#010x}"
    assert f"handle       {HANDLE:#010x}" in bench.user.lct("show", "k").stdout
    assert os.listdir(bench.user.store / "k") == ["identity.json"]
    bench.user.lct("delete", "k", "--yes")
    assert HANDLE in bench.tpm.persistent(), "it was not ours to evict"


def test_a_key_at_a_handle_is_neither_loaded_nor_flushed(bench, make_proxy):
    bench.make()
    bench.persist()
    bench.user.lct("import", "k", hex(HANDLE))
    proxy = make_proxy(bench.tpm)
    bench.user.configure(tcti=proxy.tcti)
    bench.user.lct("sign", "k", stdin="x", text=False)
    assert proxy.codes == [Command.ReadPublic, Command.Sign]


def test_a_key_at_a_handle_has_no_key_file_to_write(bench):
    bench.make()
    bench.persist()
    bench.user.lct("import", "k", hex(HANDLE))
    error = bench.user.openssl("pkey", "-in", "lct:k", status=1).stderr
    assert f"{HANDLE:#x}" in queue_says(error, "not supported")
    bench.user.openssl("pkey", "-in", "lct:k", "-pubout")


@pytest.mark.parametrize("srk", [True, False], ids=["salted to the SRK", "no SRK"])
def test_a_key_at_a_handle_with_a_passphrase(bench, make_proxy, srk):
    bench.make("-p", SECRET, attributes=SIGNING.replace("|noda", ""))
    bench.persist()
    if not srk:
        bench.evict(SRK)
    proxy = make_proxy(bench.tpm)
    bench.user.configure(tcti=proxy.tcti)
    secret = bench.user.write("secret", SECRET)
    bench.user.lct("import", "k", hex(HANDLE), "--passphrase-file", secret)
    signs(bench.user, None, "-passin", f"pass:{SECRET}")
    bench.user.lct("check", "k", "--passphrase-file", secret)
    assert Command.StartAuthSession in proxy.codes
    assert not any(SECRET.encode() in message for message in proxy.messages)
    assert (int(shown(bench.user)["parent"]["handle"], 16) == SRK) == srk


def test_a_passphrase_that_nothing_told_of_is_asked_for_by_a_sentence(bench):
    bench.make("-p", SECRET)
    bench.persist()
    done = bench.user.lct("import", "k", hex(HANDLE), status=12)
    assert "import it with --passphrase" in one_sentence(done.stderr)


@pytest.mark.parametrize("kind", ["ecc256", "rsa2048"])
@pytest.mark.parametrize("at_handle", [False, True], ids=["file", "handle"])
def test_a_passphrase_that_nothing_told_of_costs_one_try(bench, kind, at_handle):
    key = bench.make("-p", SECRET, kind=kind, attributes=SIGNING.replace("|noda", ""))
    bench.persist()
    words = hex(HANDLE) if at_handle else bench.write(key)
    done = bench.user.lct("import", "k", words, status=12)
    assert "import it with --passphrase" in one_sentence(done.stderr)
    assert bench.tpm.property(0x20E) == 1
    key.write(bench.user.path("k.pem"))
    bench.user.openssl("dgst", "-sha256", "-sign", "k.pem", "data", status=1)
    assert bench.tpm.property(0x20E) == 2
    bench.tpm.tool("tpm2_dictionarylockout", "-c")


def test_what_is_put_behind_the_handle_later_gives_no_signature(bench):
    bench.make()
    bench.persist()
    bench.user.lct("import", "k", hex(HANDLE))
    signs(bench.user)
    bench.evict()
    error = one_sentence(bench.user.lct("sign", "k", stdin="x", status=13).stderr)
    assert "no key at" in error and f"{HANDLE:#x}" in error
    bench.make()
    bench.persist()
    done = bench.user.lct("sign", "k", stdin="x", status=14)
    assert done.stdout == "" and "another one was put there" in one_sentence(done.stderr)
    error = bench.user.openssl("dgst", "-sha256", "-sign", "lct:k", "-out", "sig", "data",
                               status=1).stderr
    queue_says(error, "not the recorded key")
    bench.user.lct("check", "k", status=14)


def test_a_name_forged_for_what_is_behind_the_handle_gives_no_signature(bench, make_proxy):
    name = bench.make().name
    bench.persist()
    bench.user.lct("import", "k", hex(HANDLE))
    bench.evict()
    other = bench.make().name
    bench.persist()
    proxy = make_proxy(bench.tpm)
    bench.user.configure(tcti=proxy.tcti)
    proxy.hook(Command.ReadPublic, lambda _command, ask: ask().replace(other, name))
    done = bench.user.lct("sign", "k", stdin="x", status=14)
    assert done.stdout == "" and "lct:k" in one_sentence(done.stderr)
    assert Command.Sign in proxy.codes, "found out by the signature, in software"


def test_another_key_with_a_passphrase_behind_the_handle_is_not_tried(bench):
    bench.make("-p", SECRET, attributes=SIGNING.replace("|noda", ""))
    bench.persist()
    secret = bench.user.write("secret", SECRET)
    bench.user.lct("import", "k", hex(HANDLE), "--passphrase-file", secret)
    bench.evict()
    bench.make("-p", "another", attributes=SIGNING.replace("|noda", ""))
    bench.persist()
    bench.user.lct("sign", "k", "--passphrase-file", secret, stdin="x", status=14)
    assert bench.tpm.property(0x20E) == 0


@pytest.mark.parametrize("change", [
    lambda generation: generation.pop("public"), lambda generation: generation.pop("handle"),
    lambda generation: generation.update(handle="0x40000001"),
    lambda generation: generation.update(handle="0x80000000"),
    lambda generation: generation.update(handle=None),
    lambda generation: generation.update(public=generation["public"][:-2]),
    lambda generation: generation.update(public=""),
    lambda generation: generation.update(public="zz"),
    lambda generation: generation.update(public="00" * 1025),
    lambda generation: generation["parent"].update(name=""),
    lambda generation: generation.update(name=generation["parent"]["name"])],
    ids=["no public", "no handle", "hierarchy", "transient", "null", "cut", "empty", "no hex",
         "long", "nameless", "another name"])
def test_a_record_of_a_key_at_a_handle_is_read_strictly(bench, change):
    bench.make()
    bench.persist()
    bench.user.lct("import", "k", hex(HANDLE))
    bench.user.edit_record("k", lambda record: change(record["generations"][0]))
    one_sentence(bench.user.lct("sign", "k", stdin="x", status=6).stderr)


def test_a_record_of_a_wrapped_key_has_a_parent_with_a_name(bench):
    bench.user.lct("create", "k")
    for parent in ({"handle": "0x40000007", "name": ""}, {"handle": "0x81000001", "name": ""}):
        bench.user.edit_record("k",
                    lambda record: record["generations"][0].update(parent=parent))
        one_sentence(bench.user.lct("sign", "k", stdin="x", status=6).stderr)


@pytest.mark.parametrize("operand", ["handle:0x81", "0x40000001", "handle:alice", "0x80000000",
                                     "handle:0x810001000", "handle:"])
def test_what_is_no_persistent_handle_is_refused(bench, operand):
    done = bench.user.lct("import", "k", operand, status=2)
    assert "not a persistent handle" in one_sentence(done.stderr)


def test_a_handle_with_nothing_behind_it_is_refused(bench):
    done = bench.user.lct("import", "k", "0x81000abc", status=13)
    assert "nothing at 0x81000abc" in one_sentence(done.stderr)
    assert not bench.user.in_store()


@pytest.mark.parametrize("algorithm, kind", [("ec-p256", "ecc"), ("rsa-2048", "rsa")])
def test_a_key_wrapped_for_this_tpm_by_tpm2_tools(bench, algorithm, kind):
    pem = software(bench.user, algorithm)
    done = bench.adopt(bench.duplicate(pem, kind))
    assert "hardware_bound: false" in done.stdout
    signs(bench.user, public_of(bench.user, pem))
    bench.user.lct("check", "k")
    assert "TSS2" in (bench.user.store / "k" / "key-1.pem").read_text()


@pytest.mark.parametrize("hierarchy", ["o", "e"])
def test_a_key_wrapped_for_the_template_in_a_hierarchy(bench, hierarchy):
    bench.primary(hierarchy, 0x81000007)
    pem = software(bench.user, "ec-p256")
    key = bench.duplicate(pem, "ecc", parent=0x81000007)
    bench.evict(0x81000007)
    bench.adopt(dataclasses.replace(key, parent=HIERARCHIES[hierarchy]))
    signs(bench.user, public_of(bench.user, pem))


def test_a_key_wrapped_for_another_storage_key_is_refused(bench):
    bench.primary("e", 0x81000007)
    key = bench.duplicate(software(bench.user, "ec-p256"), "ecc", parent=0x81000007)
    sentence = bench.refuse(dataclasses.replace(key, parent=SRK), 13)
    assert "wrapped for another TPM's storage key" in sentence


@pytest.mark.parametrize("spoil", ["secret", "no secret", "empty secret", "private", "loadable"])
def test_a_spoiled_importable_key_is_refused(bench, spoil):
    key = bench.duplicate(software(bench.user, "ec-p256"), "ecc")
    spoiled = {
        "secret": dataclasses.replace(key, secret=key.secret[:-1]),
        "no secret": dataclasses.replace(key, secret=None, oid=bytes.fromhex("06066781050a0104")),
        "empty secret": dataclasses.replace(key, secret=b"\0\0"),
        "private": dataclasses.replace(key, private=key.private[:-1]
                                       + bytes([key.private[-1] ^ 1])),
        "loadable": dataclasses.replace(key, oid=bytes.fromhex("06066781050a0103"))}[spoil]
    bench.refuse(spoiled, 13 if spoil == "private" else 6)


@pytest.mark.parametrize("algorithm", [*KINDS, "rsa-3072"])
@pytest.mark.parametrize("rsa_parent", [False, True], ids=["ecc parent", "rsa parent"])
def test_a_software_key_goes_into_the_tpm(bench, algorithm, rsa_parent):
    if rsa_parent:
        bench.evict(SRK)
        bench.primary("o", SRK, True)
    pem = software(bench.user, algorithm)
    done = bench.user.lct("import", "--software", "k", pem)
    assert re.match(rf"imported lct:k \({algorithm}, unsealed, in the TPM: .*\)\n"
                    "hardware_bound: false, for ever: it was made outside of the TPM", done.stdout)
    assert f"copy of {pem}" in done.stdout and "destroy the file" in done.stdout
    digest = "sha384" if algorithm == "ec-p384" else "sha256"
    signs(bench.user, public_of(bench.user, pem), digest=digest)
    assert "note    was imported and can exist else" in bench.user.lct("check", "k").stdout
    done = bench.user.lct("check", "--hardware-bound", "k", status=16)
    assert "cannot leave this TPM" in one_sentence(done.stderr)
    assert "imported" in bench.user.lct("list").stdout.splitlines()[1]
    told = json.loads(bench.user.lct("doctor", "k", "--json").stdout)
    assert [each["severity"] for each in told if "can exist else" in each["text"]] == ["note"]
    assert shown(bench.user)["hardware_bound"] is False
    listed = json.loads(bench.user.lct("list", "--json").stdout)
    assert [each["hardware_bound"] for each in listed] == [False]


PARENTS = {"ecc384, sha384, aes256": ("ecc384:aes256cfb", "sha384"),
           "ecc256, sha512": ("ecc256:aes128cfb", "sha512"),
           "rsa3072, sha384": ("rsa3072:aes256cfb", "sha384")}


@pytest.mark.parametrize("parent", PARENTS)
@pytest.mark.parametrize("algorithm", ["ec-p256", "rsa-2048"])
def test_a_software_key_goes_under_a_storage_key_of_any_kind(bench, parent, algorithm):
    bench.evict(SRK)
    kind, digest = PARENTS[parent]
    bench.tpm.tool("tpm2_createprimary", "-C", "o", "-G", kind, "-g", digest, "-a", STORAGE, "-c",
                   "p.ctx")
    bench.tpm.flush()
    bench.tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "p.ctx", hex(SRK))
    bench.tpm.flush()
    pem = software(bench.user, algorithm)
    secret = bench.user.write("secret", SECRET)
    bench.user.lct("import", "--software", "k", pem, "--passphrase-file", secret)
    signs(bench.user, public_of(bench.user, pem), "-passin", f"pass:{SECRET}")


FORMS = {"pkcs8 der": ("pkey", "-outform", "DER"), "traditional": ("pkey", "-traditional"),
         "traditional der": ("pkey", "-traditional", "-outform", "DER"),
         "with text": ("pkey", "-text")}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("algorithm", ["ec-p256", "rsa-2048"])
def test_a_software_key_in_every_form(bench, algorithm, form):
    pem = software(bench.user, algorithm)
    bench.user.openssl(*FORMS[form], "-in", pem, "-out", "form", env=NO_CONFIGURATION)
    bench.user.lct("import", "k", "form", "--software")
    signs(bench.user, public_of(bench.user, pem))


@pytest.mark.parametrize("form", [("pkey", "-aes256"), ("pkey", "-traditional", "-aes256"),
                                  ("pkcs8", "-topk8", "-outform", "DER")],
                         ids=["pkcs8", "traditional", "der"])
def test_the_passphrase_of_a_software_key_s_file_is_asked_for_once(bench, form):
    pem = software(bench.user, "ec-p256")
    bench.user.openssl(*form, "-in", pem, "-passout", "pass:" + 40 * "long", "-out", "locked",
                       env=NO_CONFIGURATION)
    command = [str(bench.user.build / "lct"), "import", "--software", "k", "locked"]
    there = on_a_terminal(bench.user, command, "wrong one")
    assert there.startswith("12 ") and "the passphrase of locked is wrong" in there
    there = on_a_terminal(bench.user, command, 40 * "long")
    assert there.startswith("0 ") and "passphrase of the file locked" in there
    signs(bench.user, public_of(bench.user, pem))
    done = bench.user.lct("import", "--software", "again", "locked", status=12,
                          start_new_session=True)
    assert "there is no terminal to ask on" in one_sentence(done.stderr)


@pytest.mark.parametrize("salt, status", [("max", 1), ("digest", 0)])
def test_a_key_file_s_tpm_that_salts_otherwise_is_told_of(bench, make_proxy, salt, status):
    """Nothing records how the TPM of a key file alone makes RSA-PSS signatures."""
    pem = software(bench.user, "rsa-2048")
    proxy = make_proxy(bench.tpm)
    bench.user.configure(tcti=proxy.tcti)

    def sign(command, _ask):
        """As a TPM that uses the longest salt there is, or not."""
        size = struct.unpack_from(">H", command, 27)[0]
        bench.user.write("digest", command[29:29 + size])
        bench.user.openssl("pkeyutl", "-sign", "-inkey", pem, "-in", "digest", "-out", "by-hand",
                           "-pkeyopt", "digest:sha256", "-pkeyopt", "rsa_padding_mode:pss",
                           "-pkeyopt", f"rsa_pss_saltlen:{salt}", env=NO_CONFIGURATION)
        signature = bench.user.path("by-hand").read_bytes()
        body = struct.pack(">HHH", 0x16, 0x0B, len(signature)) + signature
        body = struct.pack(">I", len(body)) + body + bytes(2) + b"\1" + bytes(2)
        return struct.pack(">HII", 0x8002, 10 + len(body), 0) + body

    bench.user.lct("import", "--software", "k", pem)
    bench.user.write("k.pem", bench.user.lct("export", "k").stdout)
    proxy.hook(Command.Sign, sign)
    done = bench.user.openssl("dgst", "-sha256", "-sign", "k.pem", "-sigopt",
                              "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest", "-out",
                              "sig", "data", status=status)
    if status == 0:
        return
    assert "another salt" in queue_says(done.stderr, "not supported")
    assert "lct import" in done.stderr and not bench.user.path("sig").read_bytes()
    bench.user.lct("delete", "k", "--yes")


def test_a_software_key_takes_a_new_passphrase(bench, make_proxy):
    pem = software(bench.user, "ec-p256")
    proxy = make_proxy(bench.tpm)
    bench.user.configure(tcti=proxy.tcti)
    secret = bench.user.write("secret", SECRET)
    bench.user.lct("import", "--software", "k", pem, "--passphrase-file", secret)
    signs(bench.user, public_of(bench.user, pem), "-passin", f"pass:{SECRET}")
    wrong = bench.user.write("wrong", "not it")
    bench.user.lct("sign", "k", "--passphrase-file", wrong, stdin="x", status=12)
    assert bench.tpm.property(0x20E) == 1, "it is protected against guessing"
    assert not any(SECRET.encode() in message for message in proxy.messages)
    bench.tpm.tool("tpm2_dictionarylockout", "-c")


@pytest.mark.parametrize("algorithm", ["ec-p256", "rsa-2048"])
def test_a_software_key_is_never_on_the_bus(bench, make_proxy, algorithm):
    pem = software(bench.user, algorithm)
    text = bench.user.openssl("pkey", "-in", pem, "-text", "-noout", env=NO_CONFIGURATION).stdout
    field = {"ec-p256": "priv", "rsa-2048": "prime1"}[algorithm]
    number = re.search(rf"^{field}:\n((?: +[0-9a-f:]+\n)+)", text, re.MULTILINE)[1]
    number = bytes.fromhex(re.sub(r"[\s:]", "", number)).lstrip(b"\0")
    proxy = make_proxy(bench.tpm)
    bench.user.configure(tcti=proxy.tcti)
    bench.user.lct("import", "--software", "k", pem)
    assert len(number) >= 31 and proxy.count(Command.Import) == 1
    assert not any(number in message for message in proxy.messages)


@pytest.mark.parametrize("session", ["auto", "always"])
def test_a_software_key_where_no_storage_root_key_is_kept(bench, session):
    bench.evict(SRK)
    bench.user.configure(provision="no", **({"session": session} if session == "always" else {}))
    pem = software(bench.user, "ec-p256")
    bench.user.lct("import", "--software", "k", pem)
    signs(bench.user, public_of(bench.user, pem))
    assert bench.tpm.persistent() == []
    bench.user.lct("delete", "k", "--yes")
    bench.user.configure()
    done = bench.user.lct("import", "--software", "k", pem)
    assert "made the TPM's storage root key" in done.stderr
    assert bench.tpm.persistent() == [SRK]


@pytest.mark.parametrize("words", [
    ("ED25519",), ("EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"),
    ("RSA", "-pkeyopt", "rsa_keygen_bits:1024"),
    ("RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_primes:3")],
    ids=["ed25519", "secp256k1", "rsa1024", "three primes"])
def test_a_software_key_that_we_have_no_row_for_is_refused(bench, words):
    bench.user.openssl("genpkey", "-algorithm", *words, "-out", "odd.pem", env=NO_CONFIGURATION)
    done = bench.user.lct("import", "--software", "k", "odd.pem", status=15)
    assert "not supported" in one_sentence(done.stderr) and not bench.user.in_store()


def ec_key(scalar: bytes, public: bytes = b"") -> bytes:
    """An ECPrivateKey of P-256, RFC 5915."""
    key = der(2, b"\1") + der(4, scalar) + der(0xa0, bytes.fromhex("06082a8648ce3d030107"))
    return der(0x30, key + (der(0xa1, der(3, b"\0" + public)) if public else b""))


@pytest.mark.parametrize("scalar", [bytes(31) + b"\5", b"\5"], ids=["zeros", "short"])
def test_a_short_number_is_a_number(bench, scalar):
    pem = bench.user.write("soft.der", ec_key(scalar))
    bench.user.lct("import", "--software", "k", pem)
    signs(bench.user, public_of(bench.user, pem))


def test_numbers_that_do_not_belong_together_are_refused(bench):
    other = public_of(bench.user, software(bench.user, "ec-p256")).read_text().split("\n")
    point = base64.b64decode("".join(other[1:-2]))[-65:]
    software(bench.user, "rsa-2048")
    bench.user.openssl("rsa", "-in", "soft.pem", "-traditional", "-outform", "DER", "-out", "r",
                       env=NO_CONFIGURATION)
    rsa = bytearray(bench.user.path("r").read_bytes())
    rsa[4 + 3 + 4 + 1 + 255] ^= 2  # the modulus's last byte
    for key in (ec_key(bytes(31) + b"\5", point), ec_key(bytes(32), point), bytes(rsa)):
        bench.user.write("soft.der", key)
        done = bench.user.lct("import", "--software", "k", "soft.der", status=6)
        assert "does not belong" in one_sentence(done.stderr) and not bench.user.in_store()


def test_what_is_no_private_key_is_refused(bench):
    pem = software(bench.user, "ec-p256")
    public_of(bench.user, pem)
    for name, content in {"empty": b"", "text": b"hello\n", "cut": pem.read_bytes()[:100],
                          "public": bench.user.path("stock.pub").read_bytes(),
                          "zeros": bytes(4096)}.items():
        file = bench.user.write(name, content)
        done = bench.user.lct("import", "--software", "k", file, status=6)
        assert "holds no private key" in one_sentence(done.stderr)
        done = bench.user.lct("import", "k", file, status=6)
        assert "not a TSS2 PRIVATE KEY" in one_sentence(done.stderr)
    file = bench.user.write("long", bytes(70000))
    assert "too long" in one_sentence(bench.user.lct("import", "k", file, status=6).stderr)
    bench.user.lct("import", "k", "nowhere", status=18)
    done = bench.user.lct("import", "k", pem, status=6)
    assert "--software" in one_sentence(done.stderr)
    assert not bench.user.in_store()


@pytest.mark.parametrize("what, plainly, as_software", [
    ("reference", "only stands for an identity", "only stands for an identity"),
    ("wrapped", None, "import it without --software"),
    ("half", "not a whole TSS2", "import it without --software"),
    ("request", "it is a certificate request", "it is a certificate request"),
    ("certificate", "lct cert --set keeps", "lct cert --set keeps"),
    ("public", "it is a public key", "it is a public key"),
    ("blob", "tpm2_encodeobject", "holds no private key")])
def test_a_file_of_another_kind_is_called_by_its_name(bench, what, plainly, as_software):
    user = bench.user
    user.lct("create", "there")
    if what == "blob":
        bench.make()
        content = (bench.tpm.directory / "k.priv").read_bytes()
    else:
        content = {
            "reference": lambda: user.lct("pem", "there").stdout,
            "wrapped": lambda: user.lct("export", "there").stdout,
            "half": lambda: user.lct("export", "there").stdout[:100],
            "request": lambda: user.lct("csr", "there").stdout,
            "certificate": lambda: user.openssl("req", "-x509", "-key", "lct:there", "-subj",
                                                "/CN=x").stdout,
            "public": lambda: user.openssl("pkey", "-in", "lct:there", "-pubout").stdout,
        }[what]()
    file = user.write("other", content)
    if plainly:
        assert plainly in one_sentence(user.lct("import", "k", file, status=6).stderr)
    done = user.lct("import", "--software", "k", file, status=6)
    assert as_software in one_sentence(done.stderr)
    assert "k" not in user.in_store()


def test_no_part_of_a_key_file_is_taken_for_the_whole(bench):
    whole = bench.make().to_der()
    for length in range(0, len(whole), 7):
        bench.user.write("cut", whole[:length])
        bench.user.lct("import", "k", "cut", status=6)
    assert not bench.user.in_store()


@pytest.mark.parametrize("at", [0, 40, -1])
def test_a_key_file_that_was_tampered_with_is_refused(bench, at):
    key = bench.make()
    body = bytearray(key.private[2:])
    body[at] ^= 1
    bench.refuse(dataclasses.replace(key, private=key.private[:2] + bytes(body)), 13)


def test_an_identity_that_is_there_is_not_replaced(bench):
    bench.user.lct("create", "k")
    name = shown(bench.user)["name"]
    bench.adopt(bench.make(), status=4)
    bench.user.lct("import", "--software", "k", software(bench.user, "ec-p256"), status=4)
    assert shown(bench.user)["name"] == name
    bench.user.lct("import", "a b", "k.pem", status=5)
    bench.user.lct("import", "k", status=2)
    bench.user.lct("import", "k", "k.pem", "--owner", "nobody-such:", status=2)


@pytest.fixture(name="attempt")
def fixture_attempt(bench, make_tpmrm):
    """A program behind a resource manager that signs with lct:k at each call, and says how."""
    bench.make()
    bench.persist()
    bench.user.lct("import", "k", hex(HANDLE))
    bench.user.configure(tcti=make_tpmrm(bench.tpm).tcti)
    with subprocess.Popen([bench.user.build / "tests" / "evp", "attempts", "lct:k"],
                          cwd=bench.user.directory, env=bench.user.environment(),
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        def sign() -> str:
            program.stdin.write("\n")
            program.stdin.flush()
            return program.stdout.readline()

        yield sign
        program.stdin.close()
        assert program.stdout.read() == "ok\n" and program.wait(TIMEOUT) == 0


def test_a_key_that_is_evicted_while_a_program_runs(bench, attempt):
    assert [attempt() for _ in range(3)] == ["signed\n"] * 3
    bench.evict()
    assert "no key at" in attempt()
    bench.make()
    bench.persist()
    assert "another one was put there" in attempt()


def test_a_key_that_is_replaced_unseen_while_a_program_runs(bench, attempt):
    """Where handles are private its Name is not read again, and yet it gives no signature."""
    assert attempt() == "signed\n"
    bench.evict()
    bench.make()
    bench.persist()
    assert "another one was put there" in attempt()


@pytest.mark.parametrize("secret", [None, SECRET], ids=["free", "passphrase"])
def test_many_signatures_with_a_key_at_a_handle(bench, prompted, secret):
    words = ("-p", secret) if secret else ()
    bench.make(*words, attributes=SIGNING.replace("|noda", ""))
    bench.persist()
    file = bench.user.write("secret", SECRET)
    options = ("--passphrase-file", file) if secret else ()
    bench.user.lct("import", "k", hex(HANDLE), *options)
    bench.user.configure(**({"passphrase_file": str(file)} if secret else {}))
    program = prompted(bench.user, "k")
    for _ in range(5):
        program.sign()
    assert program.end() == ""


def test_doctor_knows_whose_a_key_at_a_handle_is(bench):
    bench.make()
    bench.persist()
    bench.user.lct("import", "k", hex(HANDLE))
    assert f"{HANDLE:#x} lct:k" in bench.user.lct("doctor", status=None).stdout


def test_delete_says_nothing_wrong_of_a_key_that_stays(bench):
    """The key at a handle can be imported again after its identity was deleted."""
    bench.make()
    bench.persist()
    bench.user.lct("import", "k", hex(HANDLE))
    assert "what is known of its key" in one_sentence(bench.user.lct("delete", "k", status=2).stderr)
    done = bench.user.lct("delete", "k", "--yes")
    assert f"stays in the TPM, until: tpm2_evictcontrol -c {HANDLE:#x}\n" in done.stdout
    bench.user.lct("import", "k", hex(HANDLE))
    signs(bench.user)
    bench.tpm.tool("tpm2_changeauth", "-c", "owner", "the owner's own")
    done = bench.user.lct("delete", "k", "--yes")
    bench.tpm.as_told(done.stdout, bench.user.write("owner", "the owner's own"))
    assert HANDLE not in bench.tpm.persistent()


def test_a_tpm_that_is_not_there_is_said(bench):
    key = bench.write(bench.make())
    bench.user.configure(tcti="swtpm:path=/nowhere")
    bench.user.lct("import", "k", key, status=9)
    bench.user.lct("import", "k", hex(HANDLE), status=9)
    bench.user.lct("import", "--software", "k", software(bench.user, "ec-p256"), status=9)
    assert not bench.user.in_store()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads the memory of what is not dumpable")
@pytest.mark.parametrize("options", [[], ["--software"]], ids=["of a TPM", "in software"])
def test_a_file_that_is_too_long_for_a_key_does_not_stay_in_memory(user, options):
    """It may be one in the clear, with something before it."""
    if sanitizer_preload(user.build):
        pytest.skip("a sanitizer has its own memory")
    secret = b"a private key in the clear\n"
    user.write("key.pem", secret * (65536 // len(secret) + 1))
    stop = compiled(user, """#include <signal.h>
__attribute__((destructor)) static void stop(void) { raise(SIGSTOP); }
""")
    process = subprocess.Popen([user.build / "lct", "import", "alice", "key.pem", *options],
                               cwd=user.directory, env=user.environment(preload=[stop]),
                               stderr=subprocess.PIPE, text=True)
    came = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert came.si_code == os.CLD_STOPPED
    memory = stack_of(process.pid)
    process.send_signal(signal.SIGCONT)
    assert "too long to be a key" in process.communicate(timeout=TIMEOUT)[1]
    assert len(memory) > 65536 and memory.count(secret) == 0


def compiled(user, source: str) -> Path:
    """A library to preload."""
    library = user.path("preload.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, user.write("preload.c", source)],
                   check=True)
    return library


def stack_of(pid: int) -> bytes:
    """What there is of a process's stack."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    first, last = re.search(r"^([0-9a-f]+)-([0-9a-f]+) .* \[stack\]$", maps, re.MULTILINE).groups()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(int(first, 16))
        return memory.read(int(last, 16) - int(first, 16))
