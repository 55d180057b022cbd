# SPDX-License-Identifier: Apache-2.0
"""Whatever reads bytes of others, under libFuzzer and the sanitizers: a few seconds each."""

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from attesting import canonical, challenge_of, to_bytes
from conftest import ROOT, User
from keyfile import KeyFile
from maker import put
from prover import Prover
from sealing import Authority, measure, pcr_values, sized, systemd_signature
from stating import end, header, said, statement, succession
from test_documents import KEYS, PARENTS
from test_eventlog import boot
from test_software import encrypted, scrypt
from test_software import pem as software_pem
from test_transports import HELLO, RETURNED, SIGNAL, error
from tpm import NO_SESSIONS, Command, Swtpm, exchange
from web4 import CREATED, document_of, jws_of, multikey
from x509 import pem

VECTORS = ROOT / "../shared/vectors"
SEED = 7
TARGETS = ("attest", "public", "certificate", "eventlog", "pcrs", "document", "trust", "verdict",
           "part", "statement", "payload", "header", "token", "cose", "record", "key", "prototype",
           "backup", "uri", "selection", "configuration", "approval", "sealed", "bus", "html",
           "tpm")
# What is asked of a TPM: a number each, and how often it takes what another says (tests/fuzz_tpm.c).
WORKS = ("sign_plain", "sign_sealed", "sign_approved", "sign_guarded", "unseal", "inspect", "create",
         "take_in", "describe", "read_pcrs", "count", "persist", "attest", "sign_placed",
         "attest_directly")
PRIVATE, BELIEVE, ALWAYS, KEEPS = 1, 2, 8, 16
EK_CERT, EK_NONCE = 0x01c00002, 0x01c00003  # of template L-1
LEFT = (0x80000000, 0x02000000)  # objects and sessions
PASSPHRASE = "the passphrase of a key\n"
# What the fuzzer does not find by itself in some seconds.
WORDS = ('"\\xffTCG"', '"lct-attestation-"', '"-----BEGIN CERTIFICATE-----"', '"Spec ID Event03"',
         '"\\x00\\x0b\\x03"', '"cose:0oRY"', '"web4:LinkedContextToken"', '"?generation="', '"sha384:"',
         '"authority:"', '"-----BEGIN LCT SEAL-----"', '"-----BEGIN LCT SEALED DATA-----"',
         '"-----BEGIN TSS2 PRIVATE KEY-----"', '"-----BEGIN LCT KEY-----"', '"policy_ref"',
         '"unix:path="', '"org.freedesktop.DBus.Error."')


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
def fixture_seeds(tmp_path_factory, build, fuzzer):
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
    (top / "certificate/chain").write_bytes(pem(prover.root.certificate) * 2)
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
        take_vectors(top)
    write_texts(top)
    tpm = Swtpm(top / "swtpm")
    try:
        write_things(top, User(build, top / "things", tpm.tcti), tpm)
        for name in WORKS:
            record(fuzzer, top, tpm, name)
    finally:
        tpm.stop()
    return top


def take_vectors(top):
    """What others have made."""
    for number, path in enumerate(sorted(VECTORS.rglob("*.der"))):
        shutil.copy(path, top / "certificate" / str(number))
    for path in VECTORS.glob("tss2-pem/*.pem"):
        shutil.copy(path, top / "key")
        shutil.copy(path, top / "sealed")
    for path in VECTORS.glob("webauthn-tpm/*"):
        shutil.copy(path / "certInfo.bin", top / "attest" / path.name)
        (top / "public" / path.name).write_bytes(sized((path / "pubArea.bin").read_bytes()))


def write_texts(top):
    """What users write, and what a D-Bus says: where a descriptor comes, and the conversation."""
    for number, uri in enumerate(("lct:alice", "LCT://web4:mb32:b?generation=2", "lct:///a%2Db")):
        (top / "uri" / str(number)).write_text(uri)
    for number, text in enumerate(("sha256:0,2,7+sha384:11", "authority:sha256:7", "none",
                                   "strict:sha1:1")):
        (top / "selection" / str(number)).write_text(text)
    (top / "selection/bytes").write_bytes(bytes.fromhex("00000001000b03800000"))
    settings = re.findall(r"^#? ?(\w+) = (.+)$", (ROOT / "conf/lct.cnf").read_text(), re.MULTILINE)
    (top / "configuration/all").write_text("\n".join(map("=".join, settings)))
    for number, way in enumerate(("swtpm:host=localhost,port=2321", "tabrmd:bus_type=session",
                                  "unix:path=/run/bus%20;unix:abstract=x", "libtss2-tcti-cmd.so.0:")):
        (top / "configuration" / str(number)).write_text(f"tcti={way}")
    (top / "html/text").write_text("<script>'\"&\0\x1b\x85\u200b\u202e\ufeff\U000e0041\u00e4\u20ac")
    greeting = b"OK 0123\r\nAGREE_UNIX_FD\r\n" + HELLO
    said = {"answer": RETURNED, "signal": SIGNAL + RETURNED, "error": error("x.Y", "no such thing"),
            "denied": error("org.freedesktop.DBus.Error.AccessDenied", "not you.")}
    for name, answer in said.items():
        (top / "bus" / name).write_bytes(len(greeting).to_bytes(2, "big") + greeting + answer)
        (top / "bus" / f"{name}.one").write_bytes(answer)


def write_things(top, user, tpm):
    """Keys and a secret for the TPM to use, of each kind, and their files."""
    measure(tpm, 7)
    authority = Authority.init(user)
    passphrase = user.write("passphrase", PASSPHRASE)
    user.lct("create", "plain")
    user.lct("create", "sealed", "--seal", "strict:sha256:7")
    user.lct("create", "approved", "--seal", "authority:sha256:7")
    user.lct("create", "guarded", "--passphrase-file", passphrase)
    user.lct("create", "placed")
    user.lct("persist", "placed")
    user.lct("approve", *authority.options, "approved")
    secret = user.write("secret", user.lct("seal", "--seal", "sha256:7", stdin="secret").stdout)
    shutil.copy(secret, top / "sealed/short")
    (top / "sealed/long").write_text(user.lct("seal", stdin="x" * 300).stdout)
    (top / "sealed/strict").write_text(
        user.lct("seal", "--seal", "strict:sha256:7", stdin="secret").stdout)
    for name in ("plain", "sealed", "approved", "guarded"):
        shutil.copy(user.store / name / "identity.json", top / "record" / name)
        shutil.copy(user.store / name / "key-1.pem", top / "key" / name)
        shutil.copy(user.store / name / "key-1.pem", top / "sealed" / name)
    (top / "key/reference").write_text(user.lct("pem", "plain").stdout)
    put(tpm, EK_CERT, (top / "certificate/ek").read_bytes())
    put(tpm, EK_NONCE, bytes(256))
    shutil.copy(user.store / ".authority.pub.pem", top / "authority.pub.pem")
    shutil.copy(top / "authority.pub.pem", top / "approval/authority")
    for path in (user.store / ".approvals").iterdir():
        shutil.copy(path, top / "approval" / path.name)
    (top / "approval/values").write_text(user.lct("pcrs", "sha256:7").stdout)


def record(fuzzer, top, tpm, name):
    """What a TPM answers to one piece of work, as input of `tpm`."""
    number = WORKS.index(name)
    always = (BELIEVE | ALWAYS,) if name == "sign_plain" else ()
    for flags in (BELIEVE, BELIEVE | PRIVATE, BELIEVE | KEEPS, *always):
        work = top / "work"
        work.write_bytes(bytes([number, flags]))
        subprocess.run([fuzzer, work], check=True, capture_output=True, timeout=60,
                       env=environment_of(top, "tpm") | {
                           "LCT_FUZZ_TCTI": tpm.tcti,
                           "LCT_FUZZ_RECORD": str(top / "tpm" / f"{name}.{flags}")})
        for kind in LEFT:  # no resource manager takes it away here
            for handle in tpm.handles(kind):
                exchange(tpm.path, struct.pack(">HIII", NO_SESSIONS, 14, Command.FlushContext,
                                               handle))


def environment_of(top, target: str) -> dict[str, str]:
    return os.environ | {"LCT_FUZZ": target, "LCT_FUZZ_TRUST": str(top / "trust.json"),
                         "LCT_FUZZ_EVIDENCE": str(top / "evidence.json"),
                         "LCT_FUZZ_AUTHORITY": str(top / "authority.pub.pem"),
                         "LCT_FUZZ_THINGS": str(top / "things")}


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
    done = subprocess.run(
        [fuzzer, f"-max_total_time={seconds}", f"-seed={SEED}", "-max_len=65536", "-timeout=10",
         "-rss_limit_mb=4096", f"-dict={tmp_path}/words", f"-artifact_prefix={tmp_path}/",
         seeds / target], capture_output=True, check=False,
        env=environment_of(seeds, target) | {"TSS2_LOGFILE": str(tmp_path / "tss")})
    said = done.stderr.decode(errors="replace")
    assert done.returncode == 0, said[-4000:]
    runs = re.search(r"Done (\d+) runs in", said)
    assert runs and int(runs[1]) > 100, said[-1000:]
