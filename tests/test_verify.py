# SPDX-License-Identifier: Apache-2.0
"""What `lct verify` believes of structures that others made: tpm2-tools with a TPM, and forgers."""

import hashlib
import json
import random
import struct
import subprocess
from pathlib import Path

import pytest

import tpm as tpms
from attesting import outcomes
from conftest import ROOT
from forger import (AK, CERTIFY, CREATION, DECRYPT, ECDSA, ENCRYPTED, FIXED_PARENT, FIXED_TPM, KEY,
                    NULL, NV, ORIGIN, RESTRICTED, RSASSA, SHA1, SHA256, SHA512, SIGN, TIME, Forger,
                    name_of, pcrs_json, qualified, selection, sized)
from sealing import openssl
from x509 import (AK_USAGE, BASIC, EXT_USAGE, KEY_USAGE, Authority, Certificate, Key, common_name,
                  key_usage, oid, pem, sequence)

VECTORS = ROOT.parent / "shared" / "vectors" / "webauthn-tpm"
USAGE, UNSUPPORTED, IO, MALFORMED, REFUSED = 2, 15, 18, 22, 23
AKS = {"ecc256:ecdsa-sha256": "sha256", "ecc384:ecdsa-sha384": "sha384",
       "rsa2048:rsassa-sha256": "sha256", "rsa2048:rsapss-sha256": "sha256"}
QUALIFYING = "00ff55aa"  # which tpm2_certify 5.4 gives


def scheme(kind: str) -> str:
    return kind.split(":")[1].split("-")[0]


class Verifier:
    """A directory of files and the program that judges them."""

    def __init__(self, user, program: str = "lct-verify"):
        self.user = user
        self.program = program

    def run(self, kind: str, evidence: dict, status: int = 0, **options):
        """`evidence` and `options`: bytes become files, text is as it is."""
        arguments = []
        for name, value in (evidence | options).items():
            if isinstance(value, bytes):
                value = self.user.write(f"{name}.bin", value)
            if value is not None:
                option = f"raw-{kind}" if name == "attest" else name
                arguments += [f"--{option}"] + ([] if value is True else [value])
        command = [self.user.build / self.program]
        if self.program == "lct":
            command.append("verify")
        return self.user.run(*command, *arguments, status=status)

    def claims(self, kind: str, evidence: dict, status: int = 0, **options) -> dict:
        return outcomes(self.run(kind, evidence, status, json=True, **options).stdout, status)

    def failure(self, kind: str, evidence: dict, claim: str, **options) -> str:
        """The one claim that fails; its reason."""
        done = self.run(kind, evidence, REFUSED, json=True, **options)
        claims = json.loads(done.stdout)["claims"]
        assert [name for name, found in claims.items() if found["outcome"] == "fail"] == [claim]
        assert claims["ak_bound"]["outcome"] == claims["ek_genuine"]["outcome"] == "not_claimed"
        if claim in ("signed", "ak_fit"):
            assert not [name for name, found in claims.items()
                        if found["outcome"] == "pass" and name not in ("signed", "ak_fit")]
        assert claims[claim]["reason"] in done.stderr
        return claims[claim]["reason"]


@pytest.fixture(name="verifier")
def fixture_verifier(build, make_user) -> Verifier:
    if not (build / "lct-verify").exists():
        pytest.skip("this build has no lct-verify")
    return Verifier(make_user("none"))


# A TPM, and the tools that others use


class Attester:
    """A TPM with an AK of each kind and a key, and what it attested of that key and its PCRs."""

    def __init__(self, directory: Path):
        self.tpm = tpms.Swtpm(directory)
        self.tpm.tool("tpm2_pcrextend", f"7:sha256={'a5' * 32}", f"0:sha1={'11' * 20}")
        self.primary("key", "ecc256", "sign|noda", "o")
        self.primary("other", "ecc384", "sign|noda|userwithauth", "o")
        for number, kind in enumerate(AKS):
            self.primary(f"ak{number}", f"{kind}:null", "restricted|sign|userwithauth", "e")

    def file(self, name: str) -> bytes:
        return (self.tpm.directory / name).read_bytes()

    def tool(self, *arguments):
        """A command of tpm2-tools, which leaves what it has loaded."""
        try:
            self.tpm.tool(*arguments)
        finally:
            self.tpm.flush()

    def primary(self, name: str, algorithm: str, attributes: str, hierarchy: str):
        self.tool("tpm2_createprimary", "-C", hierarchy, "-G", algorithm, "-c", f"{name}.ctx",
                  "-a", f"fixedtpm|fixedparent|sensitivedataorigin|{attributes}")
        for form in ("tss", "pem"):
            self.tool("tpm2_readpublic", "-c", f"{name}.ctx", "-f", form, "-o",
                      f"{name}.{form}")

    def certify(self, kind: str, form: str = "tss", key: str = "key") -> dict:
        ak = f"ak{list(AKS).index(kind)}"
        self.tool("tpm2_certify", "-c", f"{key}.ctx", "-C", f"{ak}.ctx", "-g", AKS[kind],
                  "--scheme", scheme(kind), "-o", "attest", "-s", "signature", "-f", form)
        return {"attest": self.file("attest"), "signature": self.file("signature"),
                "ak": self.file(f"{ak}.tss"), "key": self.file(f"{key}.tss")}

    def creation(self, kind: str) -> dict:
        ak = f"ak{list(AKS).index(kind)}"
        self.tool("tpm2_createprimary", "-C", "o", "-c", "born.ctx", "-t", "ticket", "-d", "hash")
        self.tool("tpm2_certifycreation", "-C", f"{ak}.ctx", "-c", "born.ctx", "-d", "hash", "-t",
                  "ticket", "-g", AKS[kind], "-o", "signature", "--attestation", "attest", "-f",
                  "tss")
        return {"attest": self.file("attest"), "signature": self.file("signature")}

    def quote(self, kind: str, pcrs: str, form: str = "tss", nonce: str = "0a0b0c0d",
              values: str = "serialized") -> dict:
        """It leaves the values, in that format, in the file pcrs."""
        ak = f"ak{list(AKS).index(kind)}"
        self.tool("tpm2_quote", "-c", f"{ak}.ctx", "-l", pcrs, "-q", nonce, "-g", AKS[kind],
                  "--scheme", scheme(kind), "-m", "attest", "-s", "signature", "-f", form, "-o",
                  "pcrs", "-F", values)
        return {"attest": self.file("attest"), "signature": self.file("signature"),
                "ak": self.file(f"{ak}.tss")}


@pytest.fixture(scope="module", name="attester")
def fixture_attester(tmp_path_factory):
    attester = Attester(tmp_path_factory.mktemp("attester"))
    yield attester
    assert not attester.tpm.left_behind()
    attester.tpm.stop()


@pytest.mark.parametrize("form", ["tss", "plain"])
@pytest.mark.parametrize("kind", AKS)
def test_a_certified_key_is_in_the_ak_s_tpm(verifier, attester, kind, form):
    evidence = attester.certify(kind, form)
    claims = verifier.claims("certify", evidence, nonce=QUALIFYING)
    passed = ("signed", "ak_fit", "fresh", "key_resident", "non_extractable", "key_fit")
    assert claims == {name: "pass" if name in passed else "not_claimed" for name in claims}
    shown = verifier.run("certify", evidence).stdout
    assert shown.count("\n") == len(claims) == 11
    assert "not_claimed  fresh" in shown, "no nonce was expected"
    del evidence["key"]
    assert verifier.claims("certify", evidence)["key_resident"] == "not_claimed"


@pytest.mark.parametrize("form", ["tss", "plain"])
@pytest.mark.parametrize("kind", AKS)
def test_a_quote_is_of_the_values_expected(verifier, attester, kind, form):
    """The values are what lct pcrs prints; their digest is by the hash of the signature."""
    evidence = attester.quote(kind, "sha256:0,7,16", form)
    verifier.user.configure(tcti=attester.tpm.tcti)
    pcrs = verifier.user.lct("pcrs", "sha256:0,7,16").stdout.encode()
    claims = verifier.claims("quote", evidence, nonce="0a0b0c0d", pcrs=pcrs)
    passed = ("signed", "ak_fit", "fresh", "boot_state")
    assert claims == {name: "pass" if name in passed else "not_claimed" for name in claims}
    assert verifier.claims("quote", evidence)["boot_state"] == "not_claimed"
    other = pcrs.replace(b"00" * 32, b"00" * 31 + b"01", 1)
    assert "do not hold" in verifier.failure("quote", evidence, "boot_state", pcrs=other)


def test_a_quote_of_two_banks_is_in_the_quote_s_order(verifier, attester):
    verifier.user.configure(tcti=attester.tpm.tcti)
    banks = sorted(bank for bank in ("sha1", "sha256", "sha384") if verifier.user.lct(
        "pcrs", f"{bank}:7", status=None).returncode == 0)
    if len(banks) < 2:
        pytest.skip("this TPM keeps one bank of PCRs")
    pcrs = verifier.user.lct("pcrs", "+".join(f"{bank}:0,7" for bank in banks)).stdout.encode()
    for order in (banks, banks[::-1]):
        evidence = attester.quote("ecc256:ecdsa-sha256", "+".join(f"{bank}:7,0" for bank in order))
        assert verifier.claims("quote", evidence, pcrs=pcrs)["boot_state"] == "pass"


@pytest.mark.parametrize("pcrs", ["sha256:7", "sha256:0,7,16", "sha256:all", "sha1:0,7+sha256:0,7",
                                  "sha384:1+sha256:2,23+sha1:all", "sha256:all+sha1:all"])
def test_values_are_taken_as_tpm2_tools_writes_them(verifier, attester, pcrs):
    evidence = attester.quote("ecc256:ecdsa-sha256", pcrs)
    values = attester.file("pcrs")
    assert verifier.claims("quote", evidence, pcrs=values)["boot_state"] == "pass"
    bare = attester.quote("ecc256:ecdsa-sha256", pcrs, values="values")
    verifier.run("quote", bare, MALFORMED, pcrs=attester.file("pcrs"))


def test_the_file_of_tpm2_tools_is_of_the_pcrs_that_were_quoted(verifier, attester):
    """CVE-2024-29039: its selection was believed, and the quote's was not looked at."""
    evidence = attester.quote("ecc256:ecdsa-sha256", "sha256:0,7")
    attester.quote("ecc256:ecdsa-sha256", "sha256:1,7")
    other = attester.file("pcrs")
    reason = verifier.failure("quote", evidence, "boot_state", pcrs=other)
    assert "expected values are of" in reason
    attester.quote("ecc256:ecdsa-sha256", "sha256:0,7")
    right = attester.file("pcrs")
    moved = right[:7] + b"\x82" + right[8:]  # the bitmap of the first bank: 1 and 7
    assert right[7] == 0x81
    assert "expected values are of" in verifier.failure("quote", evidence, "boot_state", pcrs=moved)
    value = right.index(attester_value())
    changed = right[:value] + b"\0" + right[value + 1:]
    assert "do not hold" in verifier.failure("quote", evidence, "boot_state", pcrs=changed)


def attester_value() -> bytes:
    """What the attester has extended PCR 7 to."""
    return hashlib.sha256(bytes(32) + bytes([0xA5]) * 32).digest()


def test_the_file_of_tpm2_tools_is_read_strictly(verifier, attester):
    banks, value, header = 4, 66, 4 + 16 * 8
    evidence = attester.quote("ecc256:ecdsa-sha256", "sha1:0+sha256:0,7")
    right = attester.file("pcrs")
    assert len(right) == header + 4 + 4 + 8 * value and right[header] == 1
    first = header + 4

    def put(at: int, content: bytes) -> bytes:
        return right[:at] + content + right[at + len(content):]

    wrong = [right[:length] for length in (0, 1, 3, 4, header, first, first + 4, len(right) - 1)]
    wrong += [right + b"\0", right + right[first:], put(0, b"\0"), put(0, b"\x10"),
              put(0, b"\x11"), put(3, b"\1"), put(banks, b"\x99"), put(banks + 8, right[4:6]),
              put(banks + 2, b"\4"), put(banks + 2, b"\2"), put(header, b"\0"),
              put(header, b"\2"), put(first, b"\0"), put(first, b"\2"), put(first, b"\4"),
              put(first, b"\x09"), put(first + 4, b"\x20"), put(first + 4 + value, b"\x14"),
              put(banks + 3, b"\0"), put(banks + 3, b"\3")]
    for content in wrong:
        verifier.run("quote", evidence, MALFORMED, pcrs=content)
    verifier.run("quote", evidence, pcrs=right)


@pytest.mark.parametrize("kind", AKS)
def test_an_ak_is_taken_in_pem_and_its_restriction_is_not_known_then(verifier, attester, kind):
    form = "tss" if "pss" in kind or "384" in kind else "plain"  # a bare key has no scheme
    evidence = attester.certify(kind, form)
    evidence["ak"] = attester.file(f"ak{list(AKS).index(kind)}.pem")
    claims = verifier.claims("certify", evidence)
    assert (claims["signed"], claims["ak_fit"]) == ("pass", "not_claimed")
    if "384" in kind:
        plain = attester.certify(kind, "plain") | {"ak": evidence["ak"]}
        verifier.failure("certify", plain, "signed")
        assert verifier.claims("certify", plain, hash="sha384")["signed"] == "pass"


def test_two_tpms_are_two(verifier, attester, make_tpm, tmp_path):
    """Neither another TPM's AK nor another TPM's key passes for this one's."""
    evidence = attester.certify("ecc256:ecdsa-sha256")
    stranger = Attester(tmp_path / "stranger")
    theirs = stranger.certify("ecc256:ecdsa-sha256")
    stranger.tpm.stop()
    verifier.claims("certify", theirs)
    verifier.failure("certify", evidence | {"ak": theirs["ak"]}, "signed")
    verifier.failure("certify", evidence | {"key": theirs["key"]}, "key_resident")
    verifier.failure("certify", evidence | {"key": attester.file("other.tss")}, "key_resident")


def test_an_attestation_for_another_nonce_is_old(verifier, attester):
    evidence = attester.certify("ecc256:ecdsa-sha256")
    for nonce in ("00ff55ab", "00ff55", "00ff55aa00", "aa"):
        assert "another nonce" in verifier.failure("certify", evidence, "fresh", nonce=nonce)
    for nonce in ("00FF55AA", "0", "", "xy", "00" * 67):
        verifier.run("certify", evidence, USAGE, nonce=nonce)


def test_an_attestation_of_one_kind_is_not_one_of_another(verifier, attester):
    certify, quote = attester.certify("ecc256:ecdsa-sha256"), attester.quote(
        "ecc256:ecdsa-sha256", "sha256:7")
    del certify["key"]
    assert "another kind" in verifier.failure("quote", certify, "signed")
    assert "another kind" in verifier.failure("certify", quote, "signed")


def test_a_key_with_authorization_by_password_is_not_sealed(verifier, attester):
    evidence = attester.certify("ecc256:ecdsa-sha256", key="other")
    assert "signs without a policy" in verifier.run("certify", evidence).stdout


# Every byte


def mutations(content: bytes, every: bool):
    """With one byte changed: each once, or each bit; and truncated or longer."""
    source = random.Random(len(content))
    for at, byte in enumerate(content):
        for change in ([1 << bit for bit in range(8)] if every else [source.randrange(1, 256)]):
            yield content[:at] + bytes([byte ^ change]) + content[at + 1:]
    lengths = range(len(content)) if every else source.sample(range(len(content)), 8)
    yield from (content[:length] for length in lengths)
    yield content + b"\0"
    yield content + content


@pytest.mark.parametrize("kind, what, form", [
    ("certify", "ecc256:ecdsa-sha256", "tss"), ("quote", "ecc256:ecdsa-sha256", "plain"),
    ("quote", "rsa2048:rsapss-sha256", "tss"), ("certify", "rsa2048:rsassa-sha256", "plain")])
def test_every_byte_of_structure_and_signature_counts(request, verifier, attester, kind, what,
                                                      form):
    """With --mutations each bit and each length, instead of some."""
    every = request.config.getoption("--mutations")
    evidence = attester.certify(what, form) if kind == "certify" else attester.quote(
        what, "sha256:0,7", form)
    verifier.run(kind, evidence)
    files = {name: verifier.user.write(f"{name}.good", content)
             for name, content in evidence.items()}
    tried = 0
    for name in ("attest", "signature"):
        changed = list(mutations(evidence[name], every))
        for content in changed if every else random.Random(1).sample(changed, 70):
            files[name].write_bytes(content)
            done = subprocess.run(
                [verifier.user.build / "lct-verify"] + [
                    argument for other, path in files.items()
                    for argument in (f"--raw-{kind}" if other == "attest" else f"--{other}", path)],
                capture_output=True, check=False, env=verifier.user.environment())
            assert done.returncode in (MALFORMED, REFUSED, UNSUPPORTED), content.hex()
            tried += 1
        files[name].write_bytes(evidence[name])
    assert tried >= 140
    verifier.run(kind, evidence)


def test_every_byte_of_the_ak_and_the_key_counts(verifier, attester):
    evidence = attester.certify("ecc256:ecdsa-sha256")
    source = random.Random(1)
    for name in ("ak", "key"):
        for content in source.sample(list(mutations(evidence[name], False)), 50):
            done = verifier.run("certify", evidence | {name: content}, None)
            assert done.returncode in (MALFORMED, REFUSED, UNSUPPORTED), content.hex()


def test_whatever_is_taken_libtss2_mu_takes_too(verifier, attester):
    """Every byte with every value, every length: certify, quote and creation, and signatures."""
    program = verifier.user.build / "tests" / "attest"
    if not program.exists():
        pytest.skip("this build has no test programs")
    files = []
    for number, evidence in enumerate((
            attester.certify("ecc384:ecdsa-sha384"), attester.quote("rsa2048:rsapss-sha256",
                                                                    "sha1:1,9+sha256:0,7,16"),
            attester.creation("rsa2048:rsassa-sha256"))):
        files += [verifier.user.write(f"{name}{number}", evidence[name])
                  for name in ("attest", "signature")]
    done = verifier.user.run(program, *files)
    taken, tried = (int(number) for number in done.stdout.split() if number.isdigit())
    assert tried > 256 * 1000 and len(files) < taken < tried


# A forger, who writes what a TPM would not


@pytest.fixture(name="forger")
def fixture_forger(tmp_path) -> Forger:
    key = tmp_path / "forger.pem"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
    return Forger(key)


@pytest.fixture(name="key")
def fixture_key(forger) -> bytes:
    """The public area of a key that would do."""
    return Forger.ecc(forger.point(), KEY)


def test_what_the_forger_writes_would_pass_if_it_were_right(verifier, forger, key):
    """So that each refusal below is for its one reason."""
    claims = verifier.claims("certify", forger.certify(key), nonce=b"nonce".hex())
    assert list(claims.values()).count("pass") == 6
    zero = forger.quote(selection((SHA256, 1)), hashlib.sha256(bytes(32)).digest())
    shown = verifier.run("quote", zero, pcrs=pcrs_json("sha256:0", {"sha256": {"0": "00" * 32}}))
    assert "blank: nothing measures the boot" in shown.stdout


def test_no_structure_is_taken_that_a_tpm_does_not_write(verifier, forger, key):
    name = name_of(key)
    good = sized(name) + sized(qualified(name))
    for fields in ({"magic": 0xFF544348}, {"magic": 0}, {"safe": 2}, {"safe": 0x33},
                   {"signer": b""}, {"signer": b"\0\x0b"}, {"signer": b"\x40\0\0\x07"},
                   {"signer": name + b"\0"}, {"signer": b"\0\x99" + name[2:]},
                   {"extra": bytes(67)}):
        verifier.run("certify", forger.evidence(forger.attest(CERTIFY, good, **fields)), MALFORMED)
    for kind in (NV, TIME, 0, 0x8002, 0xFFFF):
        verifier.run("certify", forger.evidence(forger.attest(kind, good)), MALFORMED)
    for attested in (b"", good[:-1], good + b"\0", sized(b"") + sized(b""),
                     sized(name[:-1]) + sized(name)):
        verifier.run("certify", forger.evidence(forger.attest(CERTIFY, attested)), MALFORMED)
    creation = forger.evidence(forger.attest(CREATION, sized(name) + sized(bytes(32))))
    verifier.failure("certify", creation, "signed")
    prefixed = forger.attest(CERTIFY, good)
    verifier.run("certify", forger.evidence(sized(prefixed)), MALFORMED)


def test_what_no_tpm_attests_is_named_by_its_file(verifier, forger, key):
    good = forger.certify(key)
    for attest in (b"", b"no structure", good["attest"][:-1]):
        said = verifier.run("certify", good | {"attest": attest}, MALFORMED).stderr
        assert said.startswith(f"lct-verify: {verifier.user.path('attest.bin')}: ")


def test_no_selection_is_taken_that_a_tpm_does_not_write(verifier, forger):
    digest = hashlib.sha256(bytes(32)).digest()
    for wrong in (selection((SHA256, 1), (SHA256, 2)), selection((SHA256, 1), (SHA256, 0)),
                  selection((SHA256, 1), size=4), selection((SHA256, 1), size=2),
                  struct.pack(">IHB", 1, SHA256, 0),
                  selection((0x99, 1)), struct.pack(">I", 2) + selection((SHA256, 1))[4:],
                  struct.pack(">I", 0xFFFFFFFF), struct.pack(">I", 17)):
        verifier.run("quote", forger.quote(wrong, digest), MALFORMED)
    verifier.run("quote", forger.quote(selection((SHA256, 1)), bytes(65)), MALFORMED)


@pytest.mark.parametrize("attributes, reason", [
    (AK & ~RESTRICTED, "not restricted"), (AK & ~SIGN, "does not sign"),
    (AK | DECRYPT, "decrypts"), (AK & ~FIXED_TPM, "can leave"), (AK & ~FIXED_PARENT, "can leave"),
    (AK & ~ORIGIN, "can leave")])
def test_an_ak_that_signs_what_it_is_given_vouches_for_nothing(verifier, forger, key, attributes,
                                                               reason):
    forger.attributes = attributes
    assert reason in verifier.failure("certify", forger.certify(key), "ak_fit", nonce="00")


def test_an_ak_with_reserved_attributes_is_no_ak(verifier, forger, key):
    for bit in (1, 8, 0x100, 0x1000, 1 << 20, 1 << 31):
        forger.attributes = AK | bit
        verifier.run("certify", forger.certify(key), MALFORMED)


def test_an_ak_without_a_scheme_is_refused(verifier, forger, key):
    forger.scheme = struct.pack(">H", NULL)
    assert "no signature scheme" in verifier.failure("certify", forger.certify(key), "ak_fit")


def test_the_signer_it_names_is_of_the_ak_s_kind_and_no_key_of_the_null_hierarchy(verifier, forger,
                                                                                 key):
    name = name_of(forger.public())
    null = forger.certify(key, signer=qualified(name, 0x40000007))
    assert "null hierarchy" in verifier.failure("certify", null, "ak_fit")
    other = forger.certify(key, signer=b"\0\x0c" + bytes(48))
    assert "qualified Name" in verifier.failure("certify", other, "ak_fit")


def test_a_signature_is_of_the_scheme_and_hash_of_the_ak(verifier, forger, key):
    evidence = forger.certify(key)
    sha512 = evidence | {"signature": forger.sign(evidence["attest"], SHA512)}
    assert "another scheme or hash" in verifier.failure("certify", sha512, "signed")
    rsa = evidence | {"signature": struct.pack(">HH", RSASSA, SHA256) + sized(bytes(256))}
    assert "another kind" in verifier.failure("certify", rsa, "signed")
    bare = {"ak": openssl("pkey", "-in", forger.key, "-pubout")}
    assert verifier.claims("certify", sha512 | bare)["signed"] == "pass", "a PEM key has no scheme"
    for header in (struct.pack(">HH", 0x1A, SHA256), struct.pack(">HH", NULL, SHA256),
                   struct.pack(">HH", ECDSA, 0x99), b"", b"\0"):
        done = verifier.run("certify", evidence | {
            "signature": header + evidence["signature"][4:] if header else header}, None)
        assert done.returncode in (MALFORMED, UNSUPPORTED)
    empty = evidence["signature"][:4] + sized(b"") + sized(b"")
    verifier.run("certify", evidence | {"signature": empty}, MALFORMED)


def test_sha1_is_taken_only_if_it_is_asked_for(verifier, forger, key):
    forger.scheme = struct.pack(">HH", ECDSA, SHA1)
    evidence = forger.certify(key)
    evidence["signature"] = forger.sign(evidence["attest"], SHA1)
    assert "sha1" in verifier.failure("certify", evidence, "signed")
    verifier.claims("certify", evidence, hash="sha1")
    verifier.failure("certify", evidence, "signed", hash="sha256")
    verifier.run("certify", evidence, USAGE, hash="md5")


def test_a_name_of_sha1_is_not_taken(verifier, forger):
    weak = Forger.ecc(forger.point(), KEY, SHA1)
    assert "hash" in verifier.failure("certify", forger.certify(weak), "key_resident")
    forger.name_alg = SHA1
    good = Forger.ecc(forger.point(), KEY)
    assert "hash" in verifier.failure("certify", forger.certify(good), "ak_fit")


@pytest.mark.parametrize("attributes, claim", [
    (KEY & ~FIXED_TPM, "non_extractable"), (KEY & ~FIXED_PARENT, "non_extractable"),
    (KEY & ~ORIGIN, "non_extractable"), (KEY | ENCRYPTED, "non_extractable"),
    (KEY & ~SIGN, "key_fit"), (KEY | DECRYPT, "key_fit"), (KEY | RESTRICTED, "key_fit")])
def test_a_key_that_may_leave_or_does_more_than_sign_is_refused(verifier, forger, attributes,
                                                                claim):
    verifier.failure("certify", forger.certify(Forger.ecc(forger.point(), attributes)), claim)


def test_a_key_of_the_null_hierarchy_or_with_another_s_qualified_name_is_refused(verifier, forger,
                                                                                key):
    name = name_of(key)
    for other, reason in ((qualified(name, 0x40000007), "null hierarchy"),
                          (b"\0\x0c" + bytes(48), "qualified Name")):
        evidence = forger.evidence(forger.attest(CERTIFY, sized(name) + sized(other)),
                                   key=sized(key))
        assert reason in verifier.failure("certify", evidence, "key_resident")


def test_a_key_of_a_kind_that_is_not_taken_is_refused(verifier, forger):
    """Off its curve, on another one, small, or with another exponent; also as AK."""
    point = forger.point()
    off = Forger.ecc(point[:-1] + bytes([point[-1] ^ 1]), KEY)
    verifier.run("certify", forger.certify(off), MALFORMED)
    p192 = Forger.ecc(point, KEY).replace(struct.pack(">HH", 3, NULL), struct.pack(">HH", 1, NULL))
    verifier.run("certify", forger.certify(p192), UNSUPPORTED)
    modulus = bytes([0xC1]) + bytes(range(1, 256))
    for bits, exponent, number in ((2048, 3, modulus), (1024, 0, modulus[:128])):
        rsa = (struct.pack(">HHI", 1, SHA256, KEY) + sized(b"") + struct.pack(
            ">HHHI", NULL, NULL, bits, exponent) + sized(number))
        verifier.run("certify", forger.certify(rsa), UNSUPPORTED)
        verifier.run("certify", forger.certify(off) | {"key": None, "ak": sized(rsa)}, UNSUPPORTED)
    small = openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024")
    for private in (small, openssl("genpkey", "-algorithm", "ED25519")):
        pem = openssl("pkey", "-pubout", stdin=private)
        verifier.run("certify", forger.certify(off) | {"key": None, "ak": pem}, UNSUPPORTED)


def test_values_are_of_the_quoted_pcrs_and_no_others(verifier, forger):
    """CVE-2022-0317: a value beside the quoted ones would be believed for nothing."""
    one, two = bytes(31) + b"\1", bytes(31) + b"\2"
    evidence = forger.quote(selection((SHA256, 0b10)), hashlib.sha256(one).digest())
    good = pcrs_json("sha256:1", {"sha256": {"1": one.hex()}})
    assert verifier.claims("quote", evidence, pcrs=good)["boot_state"] == "pass"
    for spec, pcrs in (("sha256:1,2", {"sha256": {"1": one.hex(), "2": two.hex()}}),
                       ("sha256:2", {"sha256": {"2": one.hex()}}),
                       ("sha1:1+sha256:1", {"sha256": {"1": one.hex()}, "sha1": {"1": "00" * 20}})):
        assert "expected values are of" in verifier.failure("quote", evidence, "boot_state",
                                                            pcrs=pcrs_json(spec, pcrs))
    swapped = forger.quote(selection((SHA256, 0b110)), hashlib.sha256(one + two).digest())
    both = {"1": two.hex(), "2": one.hex()}
    verifier.failure("quote", swapped, "boot_state", pcrs=pcrs_json("sha256:1,2", {"sha256": both}))
    for digest in (hashlib.sha1(one).digest(), hashlib.sha256(one).digest()[:-1], b""):
        short = forger.quote(selection((SHA256, 0b10)), digest)
        verifier.failure("quote", short, "boot_state", pcrs=good)


def test_a_quote_of_nothing_is_of_no_boot(verifier, forger):
    """A bank that the TPM does not keep is quoted as an empty selection."""
    for empty in (selection(), selection((SHA1, 0)), selection((SHA1, 0), (SHA256, 0))):
        evidence = forger.quote(empty, hashlib.sha256(b"").digest())
        assert "no PCR" in verifier.failure("quote", evidence, "boot_state")
    mixed = forger.quote(selection((SHA1, 0), (SHA256, 1)), hashlib.sha256(b"\1" * 32).digest())
    good = pcrs_json("sha256:0", {"sha256": {"0": "01" * 32}})
    assert verifier.claims("quote", mixed, pcrs=good)["boot_state"] == "pass"


def test_files_of_values_are_read_strictly(verifier, forger):
    evidence = forger.quote(selection((SHA256, 1)), hashlib.sha256(bytes(32)).digest())
    good = pcrs_json("sha256:0", {"sha256": {"0": "00" * 32}})
    verifier.run("quote", evidence, pcrs=good)
    for wrong in (b"", b"{}", b"[]", good[:-1], good + b"x", good.replace(b"1", b"2", 1),
                  good.replace(b'"id"', b'"idd"'), good.replace(b'"0": "', b'"0": "00'),
                  good.replace(b'"0": "00', b'"0": "0G'), good.replace(b'"0":', b'"1":'),
                  good.replace(b'"version": 1', b'"version": 1, "version": 1')):
        verifier.run("quote", evidence, MALFORMED, pcrs=wrong)


# Certificates of AKs


CERTIFICATE = """\
[req]
distinguished_name = dn
prompt = no
x509_extensions = ext
[dn]
CN = ak
[ext]
{extensions}
"""
AK_EXTENSIONS = {"basicConstraints": "critical,CA:FALSE", "keyUsage": "critical,digitalSignature",
                 "extendedKeyUsage": "2.23.133.8.3"}


def certificate(verifier, forger, **changes: str | None) -> bytes:
    extensions = {name: value for name, value in (AK_EXTENSIONS | changes).items() if value}
    verifier.user.write("crt.cnf", CERTIFICATE.format(extensions="\n".join(
        f"{name} = {value}" for name, value in extensions.items())))
    return openssl("req", "-x509", "-key", forger.key, "-config", verifier.user.path("crt.cnf"),
                   "-days", "10")


def test_an_ak_s_certificate_is_not_believed_without_its_issuer(verifier, forger, key):
    crt = certificate(verifier, forger)
    for ak in (crt, openssl("x509", "-outform", "DER", stdin=crt)):
        claims = verifier.claims("certify", forger.certify(key) | {"ak": ak})
        assert (claims["signed"], claims["ak_fit"], claims["ak_bound"]) == (
            "pass", "not_claimed", "not_claimed")
    done = verifier.run("certify", forger.certify(key) | {"ak": ak + b"\0"}, MALFORMED)
    assert "DER" in done.stderr


class Chain:
    """An issuer, one below it, and its certificate of the forger's key."""

    def __init__(self, verifier, forger):
        directory = verifier.user.directory
        self.root = Authority(Key(directory / "issuer.key", "p256"), "Issuer")
        self.middle = Authority(Key(directory / "middle.key", "p256"), "Middle", self.root)
        spki = openssl("pkey", "-in", forger.key, "-pubout", "-outform", "DER")
        extensions = {BASIC: (True, sequence()), KEY_USAGE: (True, key_usage(0x80)),
                      EXT_USAGE: (False, sequence(oid(AK_USAGE)))}
        self.leaf = self.middle.sign(Certificate(spki, common_name("ak"), extensions))
        verifier.user.write("issuer.pem", pem(self.root.certificate))
        self.trust = verifier.user.write("trust.json", json.dumps(
            {"version": 1, "ak_issuers": ["issuer.pem"]}))
        self.issuers = pem(self.middle.certificate)


def test_an_ak_s_certificate_is_believed_by_its_issuer(verifier, forger, key):
    chain = Chain(verifier, forger)
    evidence = forger.certify(key) | {"ak": chain.leaf}
    trusted = {"trust": chain.trust, "issuers": chain.issuers}
    claims = verifier.claims("certify", evidence, require="ak_bound", **trusted)
    assert claims["ak_bound"] == claims["ak_fit"] == claims["key_resident"] == "pass"
    assert claims["ek_genuine"] == "not_claimed"
    more = pem(chain.root.certificate) + chain.issuers
    verifier.claims("certify", evidence, require="ak_bound", trust=chain.trust, issuers=more)
    done = verifier.run("certify", evidence, REFUSED, trust=chain.trust)
    assert "ak_bound" in done.stderr, "the one between them is not there"
    done = verifier.run("certify", evidence, REFUSED, time="2009-01-01T00:00:00Z", **trusted)
    assert "not valid yet" in done.stderr


def test_an_issuer_who_is_not_trusted_binds_nothing(verifier, forger, key):
    chain = Chain(verifier, forger)
    stranger = Authority(Key(verifier.user.path("stranger.key"), "p256"), "Issuer")
    verifier.user.write("issuer.pem", pem(stranger.certificate))
    done = verifier.run("certify", forger.certify(key) | {"ak": chain.leaf}, REFUSED,
                        trust=chain.trust, issuers=chain.issuers)
    assert "fail         ak_bound" in done.stdout
    evidence = forger.certify(key) | {"ak": chain.leaf}
    evidence["signature"] = forger.sign(b"something else")
    verifier.user.write("issuer.pem", pem(chain.root.certificate))
    done = verifier.run("certify", evidence, REFUSED, trust=chain.trust, issuers=chain.issuers)
    assert "not_claimed  ak_bound" in done.stdout, "who signed nothing is not asked about"


def test_who_asks_for_an_issuer_is_not_satisfied_without_one(verifier, forger, key):
    """A directory is of EK roots: it has no issuers of AKs to believe."""
    chain = Chain(verifier, forger)
    roots = verifier.user.path("roots")
    roots.mkdir()
    (roots / "root.pem").write_bytes(pem(chain.root.certificate))
    done = verifier.run("certify", forger.certify(key) | {"ak": chain.leaf}, REFUSED,
                        trust=roots, issuers=chain.issuers)
    assert "ak_bound is not claimed: no issuer of AK certificates is trusted" in done.stderr


def test_whom_to_believe_of_raw_files_is_asked_as_it_should_be(verifier, forger, key):
    chain = Chain(verifier, forger)
    evidence = forger.certify(key)
    verifier.run("certify", evidence, USAGE, trust=chain.trust)
    evidence["ak"] = chain.leaf
    verifier.run("certify", evidence, USAGE, issuers=chain.issuers)
    for name in ("state", "expect-pcrs"):
        verifier.run("certify", evidence, USAGE, trust=chain.trust, **{name: b"{}"})
    verifier.run("certify", evidence, USAGE, offline=True)
    verifier.run("certify", evidence, USAGE, require="ak")
    done = verifier.run("certify", evidence, REFUSED, require="ak_bound")
    assert "ak_bound is not claimed" in done.stderr
    for issuers in (b"", b"x", chain.issuers[:-30], chain.issuers * 17, chain.leaf):
        verifier.run("certify", evidence, MALFORMED, trust=chain.trust, issuers=issuers)
    verifier.run("certify", evidence, 8, trust="missing")


@pytest.mark.parametrize("changes, reason", [
    ({"extendedKeyUsage": None}, "attestation key"),
    ({"extendedKeyUsage": "clientAuth"}, "attestation key"),
    ({"extendedKeyUsage": "2.23.133.8.1"}, "attestation key"),
    ({"extendedKeyUsage": "2.23.133.8.1,2.23.133.8.3"}, "attestation key"),
    ({"extendedKeyUsage": "DER:3000"}, "attestation key"),
    ({"extendedKeyUsage": "DER:04"}, "attestation key"),
    ({"basicConstraints": "CA:TRUE"}, "authority"),
    ({"basicConstraints": "DER:04"}, "authority"),
    ({"keyUsage": "keyEncipherment"}, "may not sign")])
def test_a_certificate_of_another_kind_is_none_of_an_ak(verifier, forger, key, changes, reason):
    evidence = forger.certify(key) | {"ak": certificate(verifier, forger, **changes)}
    assert reason in verifier.failure("certify", evidence, "ak_fit")


def test_a_certificate_is_valid_in_its_time(verifier, forger, key):
    evidence = forger.certify(key) | {"ak": certificate(verifier, forger)}
    assert "expired" in verifier.failure("certify", evidence, "ak_fit", time="2099-01-01T00:00:00Z")
    assert "yet" in verifier.failure("certify", evidence, "ak_fit", time="2001-01-01T00:00:00Z")
    for time in ("2099-01-01", "now", "2026-02-30T00:00:00Z", "2099-01-01T00:00:00Z "):
        verifier.run("certify", evidence, USAGE, time=time)


# Real TPMs'


@pytest.mark.parametrize("vector, failed", [("py_webauthn-3270ca14", []),
                                            ("py_webauthn-6852bdfa", ["key_fit"])])
def test_certifications_by_real_tpms_are_judged_as_they_are(verifier, vector, failed):
    """
    WebAuthn statements: raw signatures over SHA-1, the AK in a certificate, a bare TPMT_PUBLIC.
    Both keys were made in their TPMs and cannot leave them; the RSA one may decrypt, too.
    """
    evidence, nonce = webauthn(vector, "sha1")
    options = {"nonce": nonce, "time": "2024-06-01T00:00:00Z"}
    claims = verifier.claims("certify", evidence, REFUSED if failed else 0, hash="sha1", **options)
    for claim in ("signed", "fresh", "key_resident", "non_extractable"):
        assert claims[claim] == "pass"
    assert [name for name, outcome in claims.items() if outcome == "fail"] == failed
    verifier.failure("certify", evidence, "signed", **options)


def test_the_certification_in_the_webauthn_specification_is_malformed(verifier):
    evidence, nonce = webauthn("webauthn-84b354fd", "sha256")
    verifier.run("certify", evidence, MALFORMED, nonce=nonce)


def webauthn(vector: str, digest: str) -> tuple[dict, str]:
    directory = VECTORS / vector
    if not directory.exists():
        pytest.skip("no statements of real TPMs beside the checkout")
    files = {"attest": "certInfo.bin", "signature": "sig.bin", "ak": "x5c-0.der",
             "key": "pubArea.bin"}
    data = (directory / "authData.bin").read_bytes() + hashlib.sha256(
        (directory / "clientDataJSON.json").read_bytes()).digest()
    return ({name: (directory / file).read_bytes() for name, file in files.items()},
            hashlib.new(digest, data).hexdigest())


# The two programs


def test_lct_verify_and_lct_s_verify_are_one(verifier, forger, key):
    evidence = forger.certify(key)
    lct = Verifier(verifier.user, "lct")
    assert lct.run("certify", evidence).stdout == verifier.run("certify", evidence).stdout
    signature = evidence["signature"]
    evidence["signature"] = signature[:-1] + bytes([signature[-1] ^ 1])
    for program in (lct, verifier):
        done = program.run("certify", evidence, REFUSED)
        assert done.stderr == f"{program.program}: signed: the signature is not one of this AK " \
                              "over this structure\n"


def test_lct_verify_needs_no_tpm_software(verifier):
    """Nothing of TSS is linked, and none of it is there by name."""
    program = verifier.user.build / "lct-verify"
    needs = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    assert "libcrypto" in needs and "tss2" not in needs
    assert b"libtss2" not in program.read_bytes()


def test_what_is_asked_has_to_be_whole(verifier, forger, key):
    evidence = forger.certify(key)
    for name in ("attest", "signature", "ak"):
        verifier.run("certify", evidence | {name: None}, USAGE)
    verifier.run("certify", evidence, USAGE, pcrs=b"{}")
    verifier.run("quote", evidence, USAGE)
    verifier.run("certify", evidence, USAGE, **{"raw-quote": b"x"})
    verifier.run("certify", evidence | {"ak": "missing"}, IO)
    verifier.run("certify", evidence | {"ak": "-", "attest": "-"}, USAGE)
    assert "standard input" in verifier.run("certify", evidence | {"ak": "-"}, MALFORMED).stderr
    verifier.run("certify", evidence | {"ak": bytes(65537)}, USAGE)
    for ak in (b"", b"0", b"\0", b"-----BEGIN PUBLIC KEY-----\n", b"-----BEGIN CERTIFICATE-----\n",
               b"-----BEGIN "):
        assert "it is no public key" in verifier.run("certify", evidence | {"ak": ak},
                                                     MALFORMED).stderr
    done = verifier.user.run(verifier.user.build / "lct-verify", "--version")
    assert done.stdout.startswith("lct-verify ")
    assert "--raw-quote" in verifier.user.run(verifier.user.build / "lct-verify", "--help").stdout
