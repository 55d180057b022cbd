# SPDX-License-Identifier: Apache-2.0
"""Evidence of TPMs with certificates, end to end: each bit of it counts, and two TPMs are two."""

import http.server
import json
import ssl
import subprocess
import threading

import pytest

from attesting import EXPECTED, Verifier
from maker import P256_CERT, P384_CERT, RSA_CERT, put
from prover import Prover
from x509 import pem

REFUSED = 23
SPEED = 300  # evidence judged in a second, on one core
# TCG EK Credential Profile 2.5, 3: as the maker of the TPM would have it in a P-256 certificate.
EK_EXTENSIONS = """
basicConstraints = critical, CA:FALSE
keyUsage = critical, keyAgreement
extendedKeyUsage = 2.23.133.8.1
authorityKeyIdentifier = keyid
subjectAltName = critical, dirName:tpm
[tpm]
1.2.23.133.2.1 = id:00001014
2.2.23.133.2.2 = swtpm
3.2.23.133.2.3 = id:00020170
"""
# Where an EK's certificate is, and how its evidence is told from others'.
KINDS = {"rsa": RSA_CERT, "p256": P256_CERT, "p384": P384_CERT}


def certify_p256(user, tpm) -> str:
    """The TPM gets a certificate of its P-256 EK, of a maker of our own; that, in PEM."""
    tpm.tool("tpm2_createek", "-G", "ecc", "-c", "ek.ctx", "-u", "ek.pem", "-f", "pem")
    tpm.tool("tpm2_flushcontext", "-t")
    for name, subject in (("maker", "/CN=maker of TPMs"), ("any", "/CN=any")):
        user.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                     "-nodes", "-keyout", f"{name}.key", "-subj", subject, "-days", "2", "-addext",
                     "keyUsage=critical,keyCertSign", "-out", f"{name}.crt")
    user.openssl("req", "-new", "-key", "any.key", "-subj", "/", "-out", "any.csr")
    user.openssl("x509", "-req", "-in", "any.csr", "-CA", "maker.crt", "-CAkey", "maker.key",
                 "-days", "2", "-force_pubkey", tpm.directory / "ek.pem", "-extfile",
                 user.write("ek.cnf", EK_EXTENSIONS), "-outform", "DER", "-out", "ek.der")
    put(tpm, P256_CERT, user.path("ek.der").read_bytes())
    return user.path("maker.crt").read_text()


@pytest.fixture(name="verifier_of")
def fixture_verifier_of(make_user, maker, holder, certified):
    """A verifier who trusts one kind of EK alone; the others have no certificate."""

    def make(kind: str) -> Verifier:
        roots = {}
        if kind == "p256":
            root = make_user("none").write("maker.pem", certify_p256(holder, certified))
            roots = {"ek_roots": [str(root)]}
        for other, index in KINDS.items():
            if other != kind:
                certified.tool("tpm2_nvundefine", "-C", "p", hex(index), status=None)
        return Verifier(make_user("none"), maker, **roots)

    return make


def answer(user, verifier: Verifier, *options) -> str:
    """alice's evidence for a new challenge of this verifier's."""
    offer = user.lct("attest", "offer", "alice").stdout
    challenge = verifier.challenge(offer, "--lifetime", "3600", *options)
    return user.lct("attest", "respond", user.write("challenge.json", challenge)).stdout


@pytest.mark.parametrize("kind", KINDS)
def test_evidence_holds_with_each_kind_of_endorsement_key(holder, verifier_of, kind):
    holder.lct("create", "alice")
    verifier = verifier_of(kind)
    evidence = answer(holder, verifier)
    shown = json.loads(verifier.judge(evidence, json=True).stdout)
    eks = {ek["sha256"]: ek["algorithm"] for ek in json.loads(
        holder.lct("ek", "--json").stdout)["eks"] if ek["certificate"]}
    assert eks == {shown["ek"]["sha256"]: {"rsa": "rsa-2048", "p256": "ec-p256",
                                           "p384": "ec-p384"}[kind]}
    passed = [name for name, claim in shown["claims"].items() if claim["outcome"] == "pass"]
    assert passed == EXPECTED


@pytest.mark.parametrize("kind, identity, seed", [
    ("rsa", [], 0), ("p256", ["--seal", "strict:sha256:7"], 3)])
def test_every_bit_of_evidence_counts(request, build, holder, certified, verifier_of, kind,
                                      identity, seed):
    """One bit of each byte; with --mutations all of them."""
    certified.tool("tpm2_pcrextend", "7:sha256=" + "5a" * 32)
    holder.lct("create", "alice", *identity)
    verifier = verifier_of(kind)
    evidence = verifier.user.write("evidence.json", answer(holder, verifier))
    which = [] if request.config.getoption("--mutations") else [str(seed)]
    done = subprocess.run([build / "tests/mutate", verifier.trust, verifier.state, evidence,
                           *which], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert int(done.stdout) > 3000


def test_no_part_of_another_tpm_s_evidence_passes_for_one_tpm_s(holder, make_certified, make_user,
                                                               maker):
    """Both answer, each its own challenge by one verifier; then one part of the other's is used."""
    verifiers, answers = [], []
    for user in (holder, make_user(make_certified(1).tcti)):
        user.lct("create", "alice", "--seal", "none")
        verifiers.append(Verifier(make_user("none"), maker))
        answers.append(json.loads(answer(user, verifiers[-1])))
    own, other = answers
    assert other["challenge"]["offer"]["ak"] != own["challenge"]["offer"]["ak"]
    kept = verifiers[0].state.read_bytes()
    for part in ("challenge", "activation", "certify", "quote", "possession"):
        verifiers[0].judge(json.dumps(own | {part: other[part]}), status=REFUSED)
        verifiers[0].state.write_bytes(kept)
    for member in ("key", "ak", "eks"):
        mixed = json.loads(json.dumps(own))
        mixed["challenge"]["offer"][member] = other["challenge"]["offer"][member]
        verifiers[0].judge(json.dumps(mixed), status=REFUSED)
        verifiers[0].state.write_bytes(kept)
    for verifier, evidence in zip(verifiers, reversed(answers)):
        verifier.judge(json.dumps(evidence), status=REFUSED)
    for verifier, evidence in zip(verifiers, answers):
        assert [name for name, found in verifier.claims(json.dumps(evidence)).items()
                if found == "pass"] == EXPECTED


def test_an_old_answer_of_the_same_tpm_is_none_to_a_new_challenge(holder, make_user, maker):
    holder.lct("create", "alice", "--seal", "none")
    first, second = (Verifier(make_user("none"), maker) for _ in range(2))
    old = answer(holder, first)
    new = json.loads(answer(holder, second))
    for part in ("activation", "certify", "quote", "possession"):
        kept = second.state.read_bytes()
        second.judge(json.dumps(new | {part: json.loads(old)[part]}), status=REFUSED)
        second.state.write_bytes(kept)
    second.judge(json.dumps(new))
    first.judge(old)


@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_a_core_judges_hundreds_of_evidence_files_a_second(build, tmp_path, make_user, kind):
    """Processor time alone counts; a debug build with a sanitizer is no measure."""
    if "-fsanitize" in (build / "compile_commands.json").read_text():
        pytest.skip("a sanitizer slows it down")
    user = make_user("none")
    prover = Prover(tmp_path / "prover", kind)
    user.write("root.pem", pem(prover.root.certificate))
    trust = user.write("trust.json", json.dumps({"version": 1, "ek_roots": ["root.pem"]}))
    state, offer = user.path("state"), user.write("offer.json", json.dumps(prover.offer()))
    challenge = user.run(build / "lct-verify", "challenge", "--trust", trust, "--state", state,
                         offer).stdout
    evidence = user.write("evidence.json", json.dumps(prover.respond(json.loads(challenge))))
    done = subprocess.run([build / "bench/verify", trust, state, evidence],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(f"{kind}: {done.stdout.strip()} a second")
    assert int(done.stdout) >= SPEED


class Service(http.server.BaseHTTPRequestHandler):
    """A verifier on the web, as the manual has it: two programs, a state for each challenge."""

    def do_POST(self):
        self.server.answer(self)

    def log_message(self, *_arguments):
        pass


class Web:
    """It runs, over TLS, until the test ends; `states` is its directory of them."""

    def __init__(self, build, trust, states, user):
        self.verify, self.trust, self.states = build / "lct-verify", trust, states
        states.mkdir()
        self.server = http.server.HTTPServer(("127.0.0.1", 0), Service)
        self.server.answer = self.answer
        user.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                     "-nodes", "-keyout", "web.key", "-subj", "/CN=localhost", "-addext",
                     "subjectAltName=DNS:localhost", "-days", "2", "-out", "web.crt")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(user.path("web.crt"), user.path("web.key"))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server.server_address[1]}"

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def run(self, sent: bytes, *arguments) -> subprocess.CompletedProcess:
        return subprocess.run([self.verify, *arguments, "-"], input=sent, capture_output=True,
                              check=False)

    def answer(self, request: Service):
        sent = request.rfile.read(int(request.headers["Content-Length"]))
        if request.path == "/challenge":
            new = self.states / "new"
            done = self.run(sent, "challenge", "--trust", self.trust, "--state", new)
            if done.returncode == 0:
                new.rename(self.states / json.loads(done.stdout)["challenge"])
        else:
            number = json.loads(sent)["challenge"]["challenge"]
            assert number.isalnum()
            done = self.run(sent, "--trust", self.trust, "--state", self.states / number)
        said = done.stdout or done.stderr
        request.send_response(200 if done.returncode == 0 else 403)
        request.send_header("Content-Length", str(len(said)))
        request.end_headers()
        request.wfile.write(said)


def test_files_go_over_https_as_the_manual_shows_it(build, holder, maker, tmp_path, make_user):
    holder.lct("create", "alice", "--seal", "none")
    verifier = Verifier(make_user("none"), maker)
    web = Web(build, verifier.trust, tmp_path / "states", verifier.user)
    try:
        # Without our provider, which a sanitized build brings its runtime with.
        curl = ("env -u LD_PRELOAD -u OPENSSL_CONF curl -sf --cacert "
                f"{verifier.user.path('web.crt')} --data-binary @- {web.url}")
        done = holder.run(
            "bash", "-c", f"set -o pipefail; {build}/lct attest offer alice | {curl}/challenge | "
            f"{build}/lct attest respond - | tee evidence | {curl}/evidence")
        assert "pass         key_usable_now" in done.stdout
        again = holder.run("bash", "-c", f"{curl}/evidence <evidence", status=22)
        assert again.stdout == ""
    finally:
        web.stop()


def test_files_go_through_pipes_as_readme_shows_it(build, holder, maker, make_user):
    """With a shell in place of ssh."""
    holder.lct("create", "web", "--seal", "none")
    trust = Verifier(make_user("none"), maker).trust
    lct = build / "lct"
    done = holder.run(
        "bash", "-c", f"set -o pipefail; sh -c '{lct} attest offer web' | "
        f"{lct} attest challenge --trust {trust} --state web.state - | "
        f"sh -c '{lct} attest respond -' | {lct} verify --trust {trust} --state web.state -")
    assert "pass         key_usable_now" in done.stdout
