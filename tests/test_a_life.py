# SPDX-License-Identifier: Apache-2.0
"""One identity from its first key in software to its end, as those who have to do with it live it."""

import json
import shutil

import pytest

from attesting import SWTPM_VENDOR
from test_command import one_sentence

PASSPHRASE = "of the key that was in software"
OTHER_TPM, REFUSED, ENDED = 13, 23, 25
PERSISTENT = 0x81000100
CLEAN = {"OPENSSL_CONF": "/dev/null"}


class Society:
    """Alice, whose life it is; Bob, a witness with a TPM of his own; Carol, who has neither."""

    def __init__(self, alice, bob, carol, maker):
        self.alice, self.bob, self.carol, self.maker = alice, bob, carol, maker
        alice.write("data")
        alice.passphrase = alice.write("passphrase", PASSPHRASE)
        bob.lct("create", "bob")

    def shown(self) -> dict:
        """But for what the clock alone changes."""
        shown = json.loads(self.alice.lct("show", "alice", "--json").stdout)
        (shown["certificate"] or {}).pop("days_left", None)
        return shown

    def public(self, uri: str = "lct:alice") -> str:
        return self.alice.openssl("pkey", "-pubin", "-in", uri, "-pubout").stdout

    def signs(self, uri: str = "lct:alice"):
        """A program of Alice's signs with her identity; whoever has the public key verifies."""
        self.alice.openssl("dgst", "-sha256", "-sign", uri, "-out", "sig", "data")
        self.alice.verify(self.alice.write("pub.pem", self.public(uri)), self.alice.path("sig"),
                          self.alice.path("data"))

    def judges(self, statement: str, known: str, *options, status: int = 0, option="--old-key"):
        """Carol knew a key of Alice's from before, and is shown a statement."""
        done = self.carol.run(self.carol.build / "lct-verify", option,
                              self.carol.write("known.pem", known), "--json", *options,
                              self.carol.write("statement.json", statement), status=status)
        return json.loads(done.stdout)

    def authority(self):
        """A certification authority, as companies have one: a key in a file."""
        self.carol.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                           "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=A CA",
                           "-days", "30")

    def certifies(self, request: str) -> str:
        """The chain that the authority gives for a request."""
        self.carol.openssl("x509", "-req", "-in", self.carol.write("csr.pem", request), "-CA",
                           "ca.pem", "-CAkey", "ca.key", "-days", "7", "-out", "leaf.pem",
                           env=CLEAN)
        return self.carol.path("leaf.pem").read_text() + self.carol.path("ca.pem").read_text()

    def asks(self, generation: int) -> tuple[str, str]:
        """Bob has it proved that a key of Alice's is in a TPM: the evidence, and his verdict."""
        offer = self.alice.lct("attest", "offer", "alice", "--generation", generation).stdout
        trust = self.bob.write("trust.json", json.dumps({
            "version": 1, "vendors": [SWTPM_VENDOR],
            "ek_roots": [str(self.maker.ca / "issuercert.pem")]}))
        state = self.bob.path("state")
        challenge = self.bob.lct("attest", "challenge", "--trust", trust, "--state", state,
                                 self.bob.write("offer.json", offer)).stdout
        evidence = self.alice.lct("attest", "respond",
                                  self.alice.write("challenge.json", challenge)).stdout
        verdict = self.bob.lct("attest", "issue", "--trust", trust, "--state", state, "--verdict",
                               "--issuer-key", "lct:bob",
                               self.bob.write("evidence.json", evidence)).stdout
        return evidence, verdict

    def trusts_bob(self):
        """Carol's trust file: Bob is a witness to her, and his verdicts are believed."""
        self.carol.write("bob.pem", self.bob.openssl("pkey", "-in", "lct:bob", "-pubout").stdout)
        return self.carol.write("witnesses.json", json.dumps({
            "version": 1, "witnesses": ["bob.pem"], "verdict_issuers": ["bob.pem"]}))


@pytest.fixture(name="society")
def fixture_society(make_user, holder, make_certified, maker) -> Society:
    return Society(holder, make_user(make_certified(1).tcti), make_user("none"), maker)


def begins_in_software(society) -> str:
    """Whoever has file and passphrase has the key, and everything says so."""
    society.alice.lct("create", "--software", "alice", "--passphrase-file",
                      society.alice.passphrase)
    assert society.shown()["custody"] == "software" and not society.shown()["hardware_bound"]
    assert "software" in society.alice.lct("list").stdout
    return society.public()


def moves_into_the_tpm(society, first: str) -> str:
    """A key that cannot leave the TPM follows; both say so, and Carol follows them."""
    statement = society.alice.lct("rotate", "alice", "--to", "tpm", "--no-passphrase",
                                  "--passphrase-file", society.alice.passphrase).stdout
    society.alice.lct("rotate", "alice", "--commit")
    judged = society.judges(statement, first)
    assert judged["holds"] and judged["id"] == "alice"
    assert (judged["old"]["custody"], judged["new"]["custody"]) == ("software", "tpm")
    assert judged["old"]["public_key"] == first
    assert judged["new"]["public_key"] == society.public()
    assert society.shown()["custody"] == "tpm" and society.shown()["hardware_bound"]
    society.alice.lct("check", "--hardware-bound", "alice")
    society.signs()
    return society.public()


def stays_in_the_tpm(society):
    """The key at a persistent handle, which programs need not load."""
    society.alice.lct("persist", "alice")
    assert society.shown()["persistent"] == f"{PERSISTENT:#010x}"
    society.signs()


def is_certified(society):
    chain = society.certifies(society.alice.lct("csr", "alice").stdout)
    society.alice.lct("cert", "alice", "--set", society.alice.write("chain.pem", chain))
    done = society.alice.openssl("x509", "-in", "lct:alice", "-noout", "-subject")
    assert done.stdout.replace(" ", "").endswith("CN=alice\n")  # 3.0 has blanks, and 3.5 none


def is_followed_before_a_witness(society, second: str) -> str:
    """
    The third key is certified while it is pending, and goes live with its certificate in one step.
    Bob has asked its TPM himself; what he found is in what he signs.
    """
    society.alice.lct("rotate", "alice")
    evidence, verdict = society.asks(3)
    statement = society.alice.lct("rotate", "alice", "--statement", "--evidence",
                                  society.alice.write("evidence.json", evidence)).stdout
    statement = society.bob.lct("witness", society.bob.write("statement.json", statement), "--as",
                                "bob", "--verdict", society.bob.write("verdict", verdict)).stdout
    assert society.public() == second, "it is pending"
    chain = society.certifies(society.alice.lct("csr", "alice", "--generation", "3").stdout)
    society.alice.lct("cert", "alice", "--set", society.alice.write("chain.pem", chain))
    third = society.public()
    assert third != second
    leaf = society.alice.openssl("x509", "-in", "lct:alice", "-noout", "-pubkey").stdout
    assert leaf == third, "key and chain together"
    society.signs()
    society.signs("lct:alice?generation=2")
    return statement


def carol_is_convinced(society, statement: str, second: str):
    options = ["--trust", society.trusts_bob(), "--threshold", "1", "--require-verdicts"]
    judged = society.judges(statement, second, *options)
    assert judged["holds"] and judged["witnesses"] == {"needed": 1, "counted": 1}
    assert (judged["old"]["public_key"], judged["new"]["public_key"]) == (second, society.public())
    assert not society.judges(statement, second, "--trust", society.trusts_bob(), "--threshold",
                              "2", status=REFUSED)["holds"]
    assert not society.judges(statement, society.public(), *options, status=REFUSED)["holds"]


def survives_a_disk(society):
    """The store is lost and comes back; on another TPM it is of no use, and that is said."""
    alice, bob = society.alice, society.bob
    backup = alice.lct("backup", text=False).stdout
    said = bob.lct("restore", "--check", bob.write("backup.tar", backup), status=OTHER_TPM)
    assert "lct rotate alice --without-old-key" in one_sentence(said.stderr)
    assert bob.in_store() == ["bob"]
    before = society.shown()
    shutil.rmtree(alice.store)
    alice.lct("restore", "--yes", alice.write("backup.tar", backup))
    assert society.shown() == before
    society.signs()
    alice.lct("check", "alice")


def says_something(society):
    statement = society.alice.lct("sign", "alice", "--type", "delegation",
                                  stdin=b'{"to": "bob"}').stdout
    known = society.carol.write("known.pem", society.public())
    said = society.carol.lct("verify", "--key", known, "--extract", "delegation",
                             society.carol.write("said.json", statement))
    assert json.loads(said.stdout) == {"to": "bob"}


def has_a_document(society):
    """What Web4 knows it by: named by its key, with the keys that it followed, judged by Carol."""
    document = society.alice.lct("document", "alice").stdout
    known = society.carol.write("known.pem", society.public())
    path = society.carol.write("document.json", document)
    told = json.loads(society.carol.run(society.carol.build / "lct-verify", "--key", known,
                                        "--json", path).stdout)
    assert told["holds"]
    name = json.loads(document)["lct_id"]
    assert name == society.shown()["web4_name"]
    assert len(json.loads(document)["lineage"]) == 2
    society.signs(name)


def ends(society):
    """No key of it signs any more, and no backup of before changes that."""
    known = society.public()
    statement = society.alice.lct("retire", "alice", "--yes").stdout
    judged = society.judges(statement, known, option="--key")
    assert judged["holds"] and judged["ending"] == "retired"
    said = society.alice.lct("restore", "--yes", society.alice.path("backup.tar")).stdout
    assert "the record in the store is newer, and stays" in said
    for uri in ("lct:alice", "lct:alice?generation=1", "lct:alice?generation=2",
                "lct:alice?generation=3"):
        done = society.alice.openssl("dgst", "-sha256", "-sign", uri, "-out", "sig", "data",
                                     status=1)
        assert "retired" in done.stderr, uri
    refused = society.alice.lct("sign", "alice", stdin="x", status=ENDED)
    assert "retired" in one_sentence(refused.stderr)
    assert society.public() == known, "what it signed is verified for ever"


def is_buried(society, tpm):
    """What was in the TPM for it goes; and an old backup does not make it again."""
    assert PERSISTENT in tpm.persistent()
    society.alice.lct("delete", "alice", "--yes")
    assert society.alice.in_store() == [] and PERSISTENT not in tpm.persistent()
    said = society.alice.lct("restore", "--yes", society.alice.path("backup.tar"), status=ENDED)
    assert "retired" in one_sentence(said.stderr) and society.alice.in_store() == []


def test_a_life(society, certified):
    society.authority()
    first = begins_in_software(society)
    second = moves_into_the_tpm(society, first)
    stays_in_the_tpm(society)
    is_certified(society)
    statement = is_followed_before_a_witness(society, second)
    carol_is_convinced(society, statement, second)
    survives_a_disk(society)
    says_something(society)
    has_a_document(society)
    ends(society)
    is_buried(society, certified)
