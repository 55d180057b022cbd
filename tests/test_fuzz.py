# SPDX-License-Identifier: Apache-2.0
"""Whatever reads bytes of others, under libFuzzer and the sanitizers: a few seconds each."""

import hashlib
import json
import os
import re
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from attesting import canonical, challenge_of, to_bytes
from conftest import ROOT
from keyfile import KeyFile
from prover import Prover
from sealing import sized
from stating import end, header, said, statement, succession
from test_documents import KEYS, PARENTS
from test_eventlog import boot
from test_software import encrypted, scrypt
from test_software import pem as software_pem
from web4 import CREATED, document_of, jws_of, multikey
from x509 import pem

VECTORS = ROOT / "../shared/vectors"
SEED = 7
TARGETS = ("attest", "public", "certificate", "eventlog", "pcrs", "document", "trust", "verdict",
           "part", "statement", "payload", "header", "token", "cose", "record", "key", "prototype",
           "backup")
# What the fuzzer does not find by itself in some seconds.
WORDS = ('"\\xffTCG"', '"lct-attestation-"', '"-----BEGIN CERTIFICATE-----"', '"Spec ID Event03"',
         '"\\x00\\x0b\\x03"', '"cose:0oRY"', '"web4:LinkedContextToken"')


@pytest.fixture(scope="module", name="fuzzer")
def fixture_fuzzer():
    """Built by clang, whose runtime has libFuzzer."""
    preset = ["cmake", "--preset", "fuzz"]
    subprocess.run(preset, cwd=ROOT, check=True, capture_output=True)
    done = subprocess.run(["cmake", "--build", "--preset", "fuzz"], cwd=ROOT, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "build/fuzz/fuzz"


@pytest.fixture(scope="module", name="seeds")
def fixture_seeds(tmp_path_factory):
    """Good input for each target: a directory each; and what things are judged by."""
    top = tmp_path_factory.mktemp("seeds")
    for name in TARGETS:
        (top / name).mkdir()
    prover = Prover(top / "prover")
    (top / "root.pem").write_bytes(pem(prover.root.certificate))
    trust = {"version": 1, "ek_roots": ["root.pem"], "ak_issuers": ["root.pem"],
             "verdict_issuers": ["root.pem"], "witnesses": ["root.pem"]}
    (top / "trust.json").write_text(json.dumps(trust))
    challenge = challenge_of(prover.offer(), pcrs="sha256:0,7")
    evidence = prover.respond(challenge)
    for name, document in (("offer", challenge["offer"]), ("challenge", challenge),
                           ("evidence", evidence)):
        (top / "document" / name).write_text(json.dumps(document))
    (top / "evidence.json").write_text(json.dumps(evidence))
    for part in ("certify", "quote"):
        (top / "attest" / part).write_bytes(to_bytes(evidence[part]["attest"]))
        (top / "attest" / f"{part}.sig").write_bytes(to_bytes(evidence[part]["signature"]))
    for name in ("key", "ak"):
        (top / "public" / name).write_bytes(to_bytes(challenge["offer"][name]["public"]))
    (top / "certificate/ek").write_bytes(prover.certificate)
    (top / "eventlog/boot").write_bytes(boot().content)
    (top / "pcrs/values").write_text(json.dumps(
        {"version": 1, "pcrs": "sha256:0,7", "values": evidence["quote"]["values"]}))
    (top / "verdict/none").write_text("e30.e30.e30")
    (top / "trust/roots").write_bytes(pem(prover.root.certificate))
    (top / "trust/file").write_text(json.dumps(trust | {
        "ek_keys": ["5a" * 32], "vendors": ["INTC"],
        "policies": {"pcrs": "sha256:7", "authorities": ["a5" * 32]}}))
    write_statements(top, prover)
    (top / "part/name").write_bytes(b"\3" + bytes(40))
    for kind, key in KEYS.items():
        whole = document_of(key, [{"parent": PARENTS[0], "reason": "rotation", "ts": CREATED}])
        (top / "token" / kind).write_text(json.dumps(whole))
        (top / "token" / f"{kind}.jws").write_text(jws_of(key, whole))
        proof = whole["binding"]["binding_proof"].removeprefix("cose:")
        (top / "cose" / kind).write_bytes(to_bytes(proof))
        (top / "cose" / f"{kind}.key").write_text(multikey(key.public_key()))
    write_store(top)
    if VECTORS.exists():
        for number, path in enumerate(sorted(VECTORS.rglob("*.der"))):
            shutil.copy(path, top / "certificate" / str(number))
    return top


def write_store(top):
    """A record of a key in a TPM and of one in software, key files, a prototype's, a backup."""
    public = KEYS["p256"].public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    head = {"version": 1, "id": "alice", "state": "active", "ended": None, "counter": 2,
            "created": CREATED, "active": 1}
    tpm = {"generation": 1, "custody": "tpm", "algorithm": "ec-p256", "created": CREATED,
           "name": "000b" + "5a" * 32, "parent": {"handle": "0x81000001", "name": "000b" + "a5" * 32},
           "seal": None, "hashes": ["sha256"], "pss_salt": None, "passphrase": False, "tpm": "IBM",
           "software_tpm": True, "persistent": "0x81000100"}
    software = {"generation": 1, "custody": "software", "algorithm": "ec-p256",
                "created": CREATED, "public": spki.hex()}
    for name, generation in (("tpm", tpm), ("software", software)):
        (top / "record" / name).write_text(json.dumps(head | {"generations": [generation]}))
    made = software_pem(encrypted(scrypt())).encode()
    (top / "key/software").write_bytes(made)
    KeyFile(0x81000001, sized(bytes(90)), sized(bytes(120))).write(top / "key/tss2")
    (top / "prototype/alice").write_text(json.dumps({
        "key_id": "alice", "algorithm": "ECC-P256", "persistent_handle": "0x81010044",
        "public_key_pem": public.public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()}))
    record = json.dumps(head | {"generations": [software]}).encode()
    files = [{"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
             for name, content in (("key-1.pem", made), ("identity.json", record))]
    manifest = {"version": 1, "created": CREATED, "tpm": None, "store": [],
                "identities": [{"id": "alice", "user": "root", "group": None, "files": files}]}
    (top / "backup/alice").write_bytes(json.dumps(manifest).encode() + b"\n" + made + record)


def write_statements(top, prover):
    """Statements, what they say, and headers of signatures."""
    old, new = (prover.make_key(top / f"{name}.pem", "p256") for name in ("old", "new"))
    witness = prover.root.key
    payloads = {"succession": succession(old, new), "end": end(old), "statement": said(b"content")}
    signers = {"succession": ((old, "old"), (new, "new"), (witness, "witness")),
               "end": ((old, "subject"),), "statement": ((old, "signer"),)}
    for name, payload in payloads.items():
        (top / "payload" / name).write_bytes(canonical(payload))
        (top / "statement" / name).write_text(json.dumps(statement(payload, *signers[name])))
    for role in ("old", "witness"):
        (top / "header" / role).write_bytes(canonical(header(old, role)))


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_that_comes_from_others_crashes(request, fuzzer, seeds, tmp_path, target):
    seconds = request.config.getoption("--fuzz")
    (tmp_path / "words").write_text("\n".join(WORDS))
    environment = os.environ | {"LCT_FUZZ": target, "LCT_FUZZ_TRUST": str(seeds / "trust.json"),
                                "LCT_FUZZ_EVIDENCE": str(seeds / "evidence.json")}
    done = subprocess.run(
        [fuzzer, f"-max_total_time={seconds}", f"-seed={SEED}", "-max_len=65536", "-timeout=10",
         "-rss_limit_mb=4096", f"-dict={tmp_path}/words", f"-artifact_prefix={tmp_path}/",
         seeds / target], env=environment, capture_output=True, check=False)
    said = done.stderr.decode(errors="replace")
    assert done.returncode == 0, said[-4000:]
    runs = re.search(r"Done (\d+) runs in", said)
    assert runs and int(runs[1]) > 100, said[-1000:]
