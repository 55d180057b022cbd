# SPDX-License-Identifier: Apache-2.0
"""Whatever reads bytes of others, under libFuzzer and the sanitizers: a few seconds each."""

import json
import os
import re
import shutil
import subprocess

import pytest

from attesting import challenge_of, to_bytes
from conftest import ROOT
from prover import Prover
from test_eventlog import boot
from x509 import pem

VECTORS = ROOT / "../shared/vectors"
SEED = 7
TARGETS = ("attest", "public", "certificate", "eventlog", "pcrs", "document", "trust", "verdict",
           "part")
# What the fuzzer does not find by itself in some seconds.
WORDS = ('"\\xffTCG"', '"lct-attestation-"', '"-----BEGIN CERTIFICATE-----"', '"Spec ID Event03"',
         '"\\x00\\x0b\\x03"')


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
             "verdict_issuers": ["root.pem"]}
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
    (top / "part/name").write_bytes(b"\3" + bytes(40))
    if VECTORS.exists():
        for number, path in enumerate(sorted(VECTORS.rglob("*.der"))):
            shutil.copy(path, top / "certificate" / str(number))
    return top


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
