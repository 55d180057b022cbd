# SPDX-License-Identifier: Apache-2.0
"""Keys of Web4's Python prototype, which left them at persistent handles, are adopted."""

import hashlib
import json
import os

import pytest

from test_command import one_sentence
from test_import import SIGNING, Bench
from tpm import Command

ATTRIBUTES = SIGNING.replace("|noda", "")
BASE = 0x81010000  # the TCG keeps 0x81010000 to 0x810100ff for endorsement keys
EK = 0x81010001
ON_THE_EK = "73c7f3e3a0e4b0e4"


def handle_of(key_id: str) -> int:
    """Where the prototype put a key: one of 256 places, whatever was there."""
    return BASE + hashlib.sha256(key_id.encode()).digest()[1]


def colliding(key_id: str) -> str:
    """Another id, whose key went to the same place."""
    return next(name for name in (f"agent{i}" for i in range(10000))
                if handle_of(name) == handle_of(key_id))


class Prototype(Bench):
    """A machine on which the prototype made keys, by the tools and the options that it ran."""

    def __init__(self, tpm, user):
        super().__init__(tpm, user)
        self.identities = user.path(".web4/identity/tpm2")
        self.identities.mkdir(parents=True, mode=0o700)

    def mint(self, key_id: str, attributes: str = ATTRIBUTES) -> str:
        """Makes a key, evicts what is in its place, and writes the file, which is returned."""
        place = f"{handle_of(key_id):#010x}"
        for command in (
                ["tpm2_createprimary", "-C", "o", "-g", "sha256", "-G", "ecc256", "-c", "p.ctx"],
                ["tpm2_create", "-C", "p.ctx", "-g", "sha256", "-G", "ecc256", "-u", "k.pub", "-r",
                 "k.priv", "-a", attributes],
                ["tpm2_load", "-C", "p.ctx", "-u", "k.pub", "-r", "k.priv", "-c", "k.ctx"]):
            self.tpm.tool(*command)
            self.tpm.flush()
        self.tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", place, status=None)
        self.tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "k.ctx", place)
        self.tpm.flush()
        self.tpm.tool("tpm2_readpublic", "-c", place, "-f", "pem", "-o", "k.pem")
        return self.note(key_id, public_key_pem=(self.tpm.directory / "k.pem").read_text())

    def note(self, key_id: str, /, **members) -> str:
        """A file as the prototype wrote it; a member that is None is left out."""
        content = {
            "key_id": key_id, "algorithm": "ECC-P256", "public_key_pem": "",
            "persistent_handle": f"{handle_of(key_id):#010x}", "machine_fingerprint": "5f" * 32,
            "machine_identity": "legion-5f5f5f5f", "key_storage": "tpm", "hardware_type": "tpm2",
            "created_at": "2026-02-19T18:04:11.123456+00:00", "binding_limitations": [],
        } | members
        name = key_id.replace("/", "_").replace(":", "_").replace("@", "_at_").replace(" ", "_")
        path = self.identities / f"{name}.json"
        path.write_text(json.dumps({member: value for member, value in content.items()
                                    if value is not None}, indent=2))
        path.chmod(0o600)
        return str(path)

    def edit(self, file: str, **members) -> str:
        with open(file, encoding="utf-8") as stream:
            content = json.load(stream)
        return self.note(content["key_id"], **content | members)

    def refused(self, file: str, status: int, *words) -> str:
        """Nothing is adopted, and nothing is evicted."""
        before = self.tpm.persistent()
        done = self.user.lct("import", *words, "--prototype", file, status=status)
        assert self.user.in_store() == [] and self.tpm.persistent() == before
        return one_sentence(done.stderr)


@pytest.fixture(name="legion")
def fixture_legion(make_tpm, make_user):
    tpm = make_tpm()
    return Prototype(tpm, make_user(tpm.tcti))


def shown(user, identity: str) -> dict:
    return json.loads(user.lct("show", identity, "--json").stdout)


def test_a_key_of_the_prototype_is_adopted_where_it_is(legion):
    file = legion.mint("3f8a01c2d4e5b697")
    said = legion.user.lct("import", "alice", "--prototype", file).stdout
    assert said.startswith("imported lct:alice (ec-p256") and "hardware_bound: true" in said
    record = shown(legion.user, "alice")
    assert record["handle"] == f"{handle_of('3f8a01c2d4e5b697'):#010x}"
    with open(file, encoding="utf-8") as stream:
        public = json.load(stream)["public_key_pem"]
    assert record["public_key"] == public
    assert os.listdir(legion.user.store / "alice") == ["identity.json"]
    legion.user.openssl("dgst", "-sha256", "-sign", "lct:alice", "-out", "sig", "data")
    legion.user.verify(legion.user.write("pub.pem", public), legion.user.path("sig"),
                       legion.user.path("data"))
    legion.user.lct("check", "--hardware-bound", "alice")
    legion.user.lct("delete", "alice", "--yes")
    assert handle_of("3f8a01c2d4e5b697") in legion.tpm.persistent()


@pytest.mark.parametrize("key_id, identity", [
    ("3f8a01c2d4e5b697", "3f8a01c2d4e5b697"), ("alice.assistant1@Sprout", "alice.assistant1@Sprout"),
    ("lct:web4:ai:3f8a01c2d4e5b697", "web4:ai:3f8a01c2d4e5b697")])
def test_without_an_id_the_one_of_the_file_is_taken(legion, key_id, identity):
    file = legion.mint(key_id)
    assert f"imported lct:{identity} (" in legion.user.lct("import", "--prototype", file).stdout
    assert legion.user.in_store() == [identity]
    again = legion.user.lct("import", "--prototype", file, status=4)
    assert identity in one_sentence(again.stderr)


@pytest.mark.parametrize("key_id", ["a b", "a/b", "../../etc/passwd", "", "é", "\x1b[31mred",
                                    "x" * 129, ".hidden", "lct:a?generation=2",
                                    "web4:mb32:b" + "a" * 52])
def test_a_key_id_that_is_no_id_is_not_taken_for_one(legion, key_id):
    file = legion.mint("good")
    spoiled = legion.note("file", key_id=key_id, persistent_handle=f"{handle_of('good'):#010x}",
                          public_key_pem=json.loads(open(file, encoding="utf-8").read())
                          ["public_key_pem"])
    sentence = legion.refused(spoiled, 5)
    assert "lct import ID --prototype" in sentence and sentence.isascii() and sentence.isprintable()
    legion.user.lct("import", "named", "--prototype", spoiled)
    assert legion.user.in_store() == ["named"]


def test_a_key_that_a_collision_destroyed_is_not_taken_for_the_one_that_is_there(legion):
    """Two ids have one place in 256, and the prototype evicted whatever was there."""
    lost, other = "alice", colliding("alice")
    file = legion.mint(lost)
    survivor = legion.mint(other)
    sentence = legion.refused(file, 14)
    assert f"lct:alice: 0x{handle_of(lost):08x} holds another key now" in sentence
    assert "ECC signing key" in sentence and f"{other}.json" in sentence and "lost" in sentence
    assert "lct create" in sentence
    legion.user.lct("import", "--prototype", survivor)
    assert legion.user.in_store() == [other]


def test_an_endorsement_key_in_the_place_of_a_key_is_said_to_be_one(legion):
    """The prototype's places are those of endorsement keys: one id of 256 evicted the EK."""
    assert handle_of(ON_THE_EK) == EK
    file = legion.mint(ON_THE_EK)
    legion.tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", hex(EK))
    legion.tpm.tool("tpm2_createek", "-G", "rsa", "-c", hex(EK), "-u", "ek.pub")
    legion.tpm.flush()
    sentence = legion.refused(file, 14)
    assert "0x81010001 holds another key now" in sentence and "RSA storage key" in sentence


def test_a_file_that_names_the_endorsement_key_is_refused(legion):
    legion.tpm.tool("tpm2_createek", "-G", "ecc", "-c", hex(EK), "-u", "ek.pub")
    legion.tpm.flush()
    legion.tpm.tool("tpm2_readpublic", "-c", hex(EK), "-f", "pem", "-o", "ek.pem")
    file = legion.note(ON_THE_EK, public_key_pem=(legion.tpm.directory / "ek.pem").read_text())
    assert "it is a storage key" in legion.refused(file, 15)


def test_a_key_that_is_gone_is_said_to_be_lost(legion):
    file = legion.mint("alice")
    legion.evict(handle_of("alice"))
    sentence = legion.refused(file, 13)
    assert f"nothing at 0x{handle_of('alice'):08x}" in sentence and "no other copy" in sentence


def test_somebody_elses_object_in_the_place_is_refused(legion):
    """Sealed data, which has no public key at all."""
    file = legion.mint("alice")
    legion.evict(handle_of("alice"))
    legion.user.write("secret", b"a secret")
    legion.tpm.tool("tpm2_create", "-C", "0x81000001", "-i", legion.user.path("secret"), "-u",
                    "k.pub", "-r", "k.priv")
    legion.tpm.flush()
    legion.persist(handle_of("alice"))
    assert "sealed data" in legion.refused(file, 14)


def test_a_public_area_that_is_replayed_for_another_key_is_not_adopted(legion, make_proxy):
    """Whoever is on the bus shows the lost key's public area, and another key signs."""
    file = legion.mint("alice")
    legion.tpm.tool("tpm2_readpublic", "-c", f"{handle_of('alice'):#x}", "-o", "lost.pub")
    lost = (legion.tpm.directory / "lost.pub").read_bytes()
    legion.mint(colliding("alice"))
    legion.tpm.tool("tpm2_readpublic", "-c", f"{handle_of('alice'):#x}", "-o", "there.pub")
    there = (legion.tpm.directory / "there.pub").read_bytes()
    names = [b"\0\x0b" + hashlib.sha256(area[2:]).digest() for area in (there, lost)]
    proxy = make_proxy(legion.tpm)
    legion.user.configure(tcti=proxy.tcti)
    proxy.hook(Command.ReadPublic, lambda _command, ask: ask().replace(there, lost).replace(*names))
    assert "lct:alice" in legion.refused(file, 14)
    assert Command.Sign in proxy.codes, "found out by the signature, in software"


def test_a_key_that_takes_a_policy_to_sign_is_refused(legion):
    file = legion.mint("alice", ATTRIBUTES.replace("|userwithauth", ""))
    assert "takes a policy" in legion.refused(file, 15)


BROKEN = {
    "no JSON": "{", "an array": "[]", "a string": '"alice"', "empty": "", "nested": "[" * 60000,
    "twice": '{"key_id": "a", "key_id": "b"}', "two": "{}{}", "binary": "\x00\x01\x02",
    "long": '{"key_id": "' + "a" * 70000 + '"}',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_is_no_file_of_the_prototype_is_refused(legion, content):
    path = legion.user.write("broken.json", content)
    assert "broken.json" in legion.refused(str(path), 6, "alice")


@pytest.mark.parametrize("member", ["key_id", "algorithm", "public_key_pem", "persistent_handle"])
@pytest.mark.parametrize("value", [None, 7, ["x"], {"a": 1}, True],
                         ids=["missing", "number", "array", "object", "true"])
def test_a_member_that_is_missing_or_of_another_kind_is_named(legion, member, value):
    file = legion.edit(legion.mint("alice"), **{member: value})
    if value is None:
        assert member not in json.loads(open(file, encoding="utf-8").read())
    assert member in legion.refused(file, 6, "alice")


@pytest.mark.parametrize("handle", ["81010044", "0x8101004", "0x810100440", "0x8101004G", "alice",
                                    "0x40000001", "0x80000000", "0x01c00002", "0x82000000", "",
                                    "0X81010044", "0x81010044 ", "\x1b[31m"])
def test_a_handle_that_is_not_persistent_is_refused(legion, handle):
    file = legion.edit(legion.mint("alice"), persistent_handle=handle)
    sentence = legion.refused(file, 6)
    assert "persistent_handle" in sentence and sentence.isprintable()


@pytest.mark.parametrize("algorithm", ["Ed25519", "RSA-2048", "", "ECC-P384"])
def test_a_key_of_another_algorithm_is_refused(legion, algorithm):
    file = legion.edit(legion.mint("alice"), algorithm=algorithm)
    assert "ECC-P256" in legion.refused(file, 15)


def test_a_software_key_of_the_prototype_is_sent_to_software(legion):
    file = legion.edit(legion.mint("alice"), algorithm="Ed25519", key_storage="software",
                       persistent_handle=None)
    assert "software" in legion.refused(file, 15)


@pytest.mark.parametrize("spoil", [
    lambda pem: pem.replace("PUBLIC", "PRIVATE"), lambda pem: pem[:60], lambda pem: pem + pem,
    lambda pem: pem.replace("M", "é", 1), lambda _: "alice", lambda _: "", ],
    ids=["private", "cut", "twice", "no base64", "text", "empty"])
def test_a_public_key_that_is_none_is_refused(legion, spoil):
    file = legion.mint("alice")
    pem = json.loads(open(file, encoding="utf-8").read())["public_key_pem"]
    assert "public_key_pem" in legion.refused(legion.edit(file, public_key_pem=spoil(pem)), 6)


def test_a_public_key_of_another_kind_is_refused(legion):
    file = legion.mint("alice")
    legion.user.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384",
                        "-out", "p384.pem")
    pem = legion.user.openssl("pkey", "-in", "p384.pem", "-pubout").stdout
    assert "public_key_pem" in legion.refused(legion.edit(file, public_key_pem=pem), 6)


def test_another_tpms_key_in_the_same_place_is_refused(legion, make_tpm, make_user):
    file = legion.mint("alice")
    tpm = make_tpm()
    other = Prototype(tpm, make_user(tpm.tcti))
    other.mint("alice")
    assert "holds another key now" in other.refused(file, 14)


@pytest.mark.parametrize("words", [
    ["alice", "0x81010044"], ["alice", "--software"], ["alice", "bob", "carol"]])
def test_the_options_that_a_prototypes_key_does_not_take_are_refused(legion, words):
    assert legion.refused(legion.mint("alice"), 2, *words)


def test_a_file_that_is_not_there_is_said_to_be_missing(legion):
    assert "nowhere.json" in legion.refused("nowhere.json", 18, "alice")


def test_a_prototypes_key_can_be_another_users(legion):
    file = legion.mint("alice")
    legion.user.lct("import", "alice", "--prototype", file, "--owner", "nobody")
    assert (legion.user.store / "alice").owner() == "nobody"
