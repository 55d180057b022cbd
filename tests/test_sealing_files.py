# SPDX-License-Identifier: Apache-2.0
"""What sealing keeps in files: policies in key files, seals in records, authorities, approvals."""

import base64
import dataclasses
import hashlib
import json
import struct

import pytest

from keyfile import ADMIN_WITH_POLICY, USER_WITH_AUTH, KeyFile, armour, der, step

PCR, AUTH_VALUE, AUTHORIZE, SECRET, OR = 0x17F, 0x16B, 0x16A, 0x151, 0x171
SELECTION = bytes.fromhex("00000001 000b 03 810000")  # sha256:0,7
VALUES = {"0": "11" * 32, "7": "22" * 32}
DIGEST = hashlib.sha256(bytes.fromhex("".join(VALUES.values()))).digest()
EMPTY, REF = b"\x00\x10", b"r" * 32
STRICT = {"kind": "strict", "pcrs": "sha256:0,7", "values": {"sha256": VALUES},
          "pcr_digest": DIGEST.hex()}


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def extend(policy: bytes, command: int, *parts: bytes) -> bytes:
    return sha256(policy, struct.pack(">I", command), *parts)


def sized(content: bytes) -> bytes:
    return struct.pack(">H", len(content)) + content


ZERO = bytes(32)
STRICT_POLICY = extend(ZERO, PCR, SELECTION, DIGEST)


@pytest.fixture(scope="module", name="programs")
def fixture_programs(build):
    if not (build / "tests").is_dir():
        pytest.skip("this build has no test programs")
    return build / "tests"


class Authority:
    """A key of an authority: its file, and what a TPM is told of it."""

    def __init__(self, user, name: str, *options: str):
        self.user, self.file = user, user.path(f"{name}.pem")
        self.pub = user.path(f"{name}.pub.pem")
        user.openssl("genpkey", *options, "-out", self.file)
        user.openssl("pkey", "-in", self.file, "-pubout", "-out", self.pub)
        self.spki = user.openssl("pkey", "-in", self.file, "-pubout", "-outform", "DER",
                                 text=False).stdout
        self.rsa = "RSA" in options
        if self.rsa:
            modulus = user.openssl("rsa", "-pubin", "-in", self.pub, "-modulus", "-noout").stdout
            unique = (struct.pack(">HI", 2048, 65537)
                      + sized(bytes.fromhex(modulus.strip().partition("=")[2])))
        else:
            unique = (struct.pack(">HH", 3, 0x10) + sized(self.spki[-64:-32])
                      + sized(self.spki[-32:]))
        body = struct.pack(">HHIHHH", 1 if self.rsa else 0x23, 0xB, 0x60040, 0, 0x10, 0x10)
        self.public = sized(body + unique)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.spki).hexdigest()

    def policy(self, ref: bytes = b"") -> bytes:
        name = b"\x00\x0b" + sha256(self.public[2:])
        return sha256(extend(ZERO, AUTHORIZE, name), ref)

    def step(self, ref: bytes = b"", signature: bytes = EMPTY) -> bytes:
        return step(AUTHORIZE, self.public + sized(ref) + signature)

    def sign(self, policy: bytes, ref: bytes = b"") -> bytes:
        """As OpenSSL makes it."""
        self.user.path("approved").write_bytes(policy + ref)
        self.user.openssl("dgst", "-sha256", "-sign", self.file, "-out", "sig", "approved")
        return self.user.path("sig").read_bytes()

    def tpm_signature(self, policy: bytes, ref: bytes = b"") -> bytes:
        return self.tpm_form(self.sign(policy, ref))

    def tpm_form(self, signature: bytes) -> bytes:
        """TPMT_SIGNATURE."""
        if self.rsa:
            return struct.pack(">HH", 0x14, 0xB) + sized(signature)
        size = signature[3]
        r, s = signature[4:4 + size], signature[6 + size:]
        numbers = [sized(number.lstrip(b"\0").rjust(32, b"\0")) for number in (r, s)]
        return struct.pack(">HH", 0x18, 0xB) + b"".join(numbers)


KINDS = {"ec": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
         "rsa": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")}


@pytest.fixture(name="authority", params=KINDS)
def fixture_authority(owner, request):
    return Authority(owner, "authority", *KINDS[request.param])


@pytest.fixture(name="ec")
def fixture_ec(owner):
    return Authority(owner, "authority", *KINDS["ec"])


@pytest.fixture(name="key")
def fixture_key(owner):
    return KeyFile.read(owner.store / "ec" / "key-1.pem")


@pytest.fixture(name="sealing")
def fixture_sealing(owner, programs):
    def run(*arguments, status=0) -> str:
        done = owner.run(programs / "sealing", *arguments, status=status)
        return done.stdout.strip()
    return run


def fields_of(owner, programs, key: KeyFile) -> dict[str, str]:
    done = owner.run(programs / "keyfile", "read", owner.write("key", key.to_der()))
    return dict(line.partition(" ")[::2] for line in done.stdout.splitlines())


@pytest.mark.parametrize("auth_value", [False, True])
def test_a_strict_policy_in_a_key_file_is_read_and_written(owner, programs, key, auth_value):
    key.policy = step(PCR, SELECTION + DIGEST) + (step(AUTH_VALUE) if auth_value else b"")
    fields = fields_of(owner, programs, key)
    assert fields["seal"] == "strict" and fields["text"] == "strict:sha256:0,7"
    assert fields["auth_value"] == str(int(auth_value))
    assert fields["pcr_digest"] == DIGEST.hex()
    assert owner.run(programs / "keyfile", "again", "key").stdout == armour(key.to_der())


@pytest.mark.parametrize("ref", [b"", REF])
def test_an_authority_s_policy_and_its_approvals_are_read_and_written(owner, programs, key,
                                                                      authority, ref):
    approved = [step(PCR, SELECTION + digest)
                + authority.step(ref, authority.tpm_signature(extend(ZERO, PCR, SELECTION, digest),
                                                              ref))
                for digest in (DIGEST, sha256(b"another"))]
    key.policy = authority.step(ref) + step(AUTH_VALUE)
    key.approvals = b"".join(der(0x30, der(0xA1, der(0x30, steps))) for steps in approved)
    fields = fields_of(owner, programs, key)
    assert fields["seal"] == "authority" and fields["authority"] == authority.public.hex()
    assert fields["policy_ref"] == ref.hex() and fields["approvals"] == "2"
    assert fields["approval0"] == f"signed policy {STRICT_POLICY.hex()}"
    assert fields["approval1"].startswith("signed ")
    assert owner.run(programs / "keyfile", "again", "key").stdout == armour(key.to_der())


def test_an_approval_s_name_and_absent_signatures_are_taken(owner, programs, key, ec):
    """The name is of signed_tpm2_policy's; the empty signature may be no signature."""
    steps = step(PCR, SELECTION + DIGEST) + ec.step(signature=ec.tpm_signature(STRICT_POLICY))
    key.policy = ec.step(signature=b"")
    key.approvals = der(0x30, der(0xA0, der(12, b"June")) + der(0xA1, der(0x30, steps)))
    assert fields_of(owner, programs, key)["approval0"].startswith("signed ")


def test_a_forged_approval_in_a_key_file_is_seen_to_be_one(owner, programs, key, ec):
    steps = step(PCR, SELECTION + DIGEST) + ec.step(signature=ec.tpm_signature(ZERO))
    key.policy = ec.step()
    key.approvals = der(0x30, der(0xA1, der(0x30, steps)))
    assert fields_of(owner, programs, key)["approval0"].startswith("forged ")


def test_approvals_of_another_form_are_left_out(owner, programs, key, ec):
    other = Authority(owner, "other", *KINDS["ec"])
    signature = ec.tpm_signature(STRICT_POLICY)
    pcr = step(PCR, SELECTION + DIGEST)
    key.policy = ec.step()
    key.approvals = b"".join(der(0x30, der(0xA1, der(0x30, steps))) for steps in (
        pcr, pcr + step(AUTH_VALUE) + ec.step(signature=signature), pcr + ec.step(),
        pcr + ec.step(signature=signature + b"\0"), pcr + ec.step(REF, signature),
        pcr + other.step(signature=other.tpm_signature(STRICT_POLICY)),
        ec.step(signature=signature) + pcr))
    fields = fields_of(owner, programs, key)
    assert fields["seal"] == "authority" and fields["approvals"] == "0"


@pytest.mark.parametrize("policy", [
    step(SECRET), step(PCR, SELECTION + DIGEST) * 2, step(PCR, SELECTION + DIGEST + bytes(16)),
    step(PCR, SELECTION), step(PCR, bytes(4) + DIGEST), step(AUTH_VALUE, b"\0"),
    step(PCR, bytes.fromhex("00000001 000b 04 81000000") + DIGEST),
    step(PCR, bytes.fromhex("00000002 000b 03 810000 000b 03 010000") + DIGEST),
    step(PCR, bytes.fromhex("00000001 1234 03 810000") + DIGEST),
    step(AUTH_VALUE) + step(PCR, SELECTION + DIGEST),
    step(PCR, SELECTION + DIGEST) + step(AUTH_VALUE) * 2, step(AUTHORIZE), b""],
    ids=["secret", "twice", "sha384", "no digest", "no pcr", "body", "long bitmap", "bank twice",
         "unknown bank", "order", "three", "no key", "empty"])
def test_another_policy_in_a_key_file_is_not_followed(owner, programs, key, policy):
    key.policy = policy
    fields = fields_of(owner, programs, key)
    assert fields["has_policy"] == "1" and fields["seal"] == "none"


def test_no_mutation_of_a_sealed_key_file_is_taken_cut_or_trailed(owner, programs, key, ec):
    steps = step(PCR, SELECTION + DIGEST) + ec.step(signature=ec.tpm_signature(STRICT_POLICY))
    key.policy = ec.step() + step(AUTH_VALUE)
    key.approvals = der(0x30, der(0xA1, der(0x30, steps)))
    done = owner.run(programs / "keyfile", "mutate", owner.write("key", key.to_der()))
    assert done.stdout.startswith("ok: ")


def seals(ec: Authority) -> dict[str, tuple[dict, bytes]]:
    """A seal of each kind, and its policy."""
    ref = {"authority": ec.public.hex(), "policy_ref": ""}
    counter = {"handle": "0x01800001", "name": "000b" + "33" * 32, "value": 7}
    either = extend(ZERO, OR, STRICT_POLICY, ec.policy())
    revocable = {"kind": "authority", "pcrs": "sha256:7", **ref, "policy_ref": REF.hex(),
                 "counter": counter}
    return {"strict": (STRICT, STRICT_POLICY),
            "digest": ({key: STRICT[key] for key in STRICT if key != "values"}, STRICT_POLICY),
            "authority": ({"kind": "authority", "pcrs": "sha256:7", **ref}, ec.policy()),
            "imported": ({"kind": "authority", **ref}, ec.policy()),
            "revocable": (revocable, ec.policy(REF)),
            "either": ({**STRICT, "kind": "either", **ref}, either),
            "auth": ({"kind": "auth"}, ZERO)}


NAMES = ["strict", "digest", "authority", "imported", "revocable", "either", "auth"]


class Sealed:
    """An identity's record and key file, as they would be if its key were sealed."""

    def __init__(self, owner, key: KeyFile, seal: dict, policy: bytes, passphrase: bool):
        self.owner = owner
        policy = extend(policy, AUTH_VALUE) if passphrase else policy
        self.key = dataclasses.replace(key.with_policy(policy), empty_auth=not passphrase)
        self.record = json.loads((owner.store / "ec" / "identity.json").read_text())
        self.generation = self.record["generations"][0]
        self.generation["seal"] = seal
        self.generation["passphrase"] = passphrase

    def write(self):
        self.generation["name"] = self.key.name.hex()
        self.key.write(self.owner.path("key.pem"))
        return (self.owner.write("identity.json", json.dumps(self.record)),
                self.owner.path("key.pem"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("passphrase", [False, True])
def test_a_seal_in_a_record_is_the_policy_of_its_key(owner, sealing, key, ec, name, passphrase):
    seal, policy = seals(ec)[name]
    sealed = Sealed(owner, key, seal, policy, passphrase or name == "auth")
    record, file = sealed.write()
    assert json.loads(sealing("record", record)) == sealed.record
    assert sealing("key", record, file) == "agree"


@pytest.mark.parametrize("name", NAMES)
def test_a_record_that_says_another_seal_than_the_key_has_is_refused(owner, sealing, key, ec, name):
    known = seals(ec)
    seal, policy = known[name]
    good = Sealed(owner, key, seal, policy, name == "auth")

    def refuse(sealed):
        assert sealing("key", *sealed.write(), status=1).startswith("error 6 ")
    others = [value[0] for value in known.values() if value[1] != policy]
    for other in [None, *others]:
        good.generation["seal"] = other
        refuse(good)
    good.generation["seal"] = seal
    for bit in (USER_WITH_AUTH, ADMIN_WITH_POLICY):
        changed = Sealed(owner, key, seal, policy, name == "auth")
        digest = extend(policy, AUTH_VALUE) if name == "auth" else policy
        changed.key = changed.key.with_policy(digest, bit)
        refuse(changed)
    if name != "auth":
        changed = Sealed(owner, key, seal, policy, True)
        changed.key = changed.key.with_policy(policy)
        refuse(changed)


def test_values_in_a_seal_that_are_not_what_it_is_sealed_to_are_refused(owner, sealing, key):
    values = {"sha256": {**VALUES, "7": "23" * 32}}
    sealed = Sealed(owner, key, {**STRICT, "values": values}, STRICT_POLICY, False)
    assert sealing("key", *sealed.write(), status=1).startswith("error 6 ")


def without(seal: dict, *names: str) -> dict:
    return {name: value for name, value in seal.items() if name not in names}


def spoilt(ec: Authority) -> list:
    known = {name: seal for name, (seal, _) in seals(ec).items()}
    strict, either, revocable = known["strict"], known["either"], known["revocable"]
    counter = revocable["counter"]
    return [
        {}, [], "strict", 1, {"kind": "none"}, {"kind": "Strict"}, {**strict, "more": 1},
        without(strict, "pcrs"), without(strict, "pcr_digest"), without(strict, "kind"),
        {**strict, "authority": ec.public.hex(), "policy_ref": ""}, {**strict, "policy_ref": ""},
        {**strict, "pcrs": "sha256:7,0"}, {**strict, "pcrs": "sha256:0"},
        {**strict, "pcrs": "sha256:0,7,24"}, {**strict, "pcrs": ""}, {**strict, "pcrs": "md5:0,7"},
        {**strict, "pcr_digest": DIGEST.hex().upper()}, {**strict, "pcr_digest": "00"},
        {**strict, "values": {}}, {**strict, "values": {"sha256": {"0": "11" * 32}}},
        {**strict, "values": {"sha256": {**VALUES, "8": "11" * 32}}},
        {**strict, "values": {"sha256": {**VALUES, "7": "11" * 20}}},
        {**strict, "values": {"sha256": VALUES, "sha1": {}}}, {**strict, "values": None},
        {**strict, "counter": counter}, {**either, "counter": counter},
        without(either, "authority"), without(either, "policy_ref"), without(either, "pcrs"),
        {**either, "authority": ec.public.hex()[:-2]}, {**either, "authority": ""},
        {**either, "policy_ref": "00" * 33}, {**either, "policy_ref": "0"},
        {**revocable, "values": {}}, {**revocable, "pcr_digest": DIGEST.hex()},
        {**revocable, "counter": None}, {**revocable, "counter": without(counter, "value")},
        {**revocable, "counter": {**counter, "handle": "0x81800001"}},
        {**revocable, "counter": {**counter, "value": -1}},
        {**revocable, "counter": {**counter, "value": "7"}},
        {**revocable, "counter": {**counter, "name": ""}},
        {"kind": "auth", "pcrs": "sha256:7"}, {"kind": "auth", "pcr_digest": DIGEST.hex()}]


def test_malformed_seals_in_records_are_refused(owner, sealing, key, ec):
    sealed = Sealed(owner, key, STRICT, STRICT_POLICY, False)
    for seal in spoilt(ec):
        sealed.generation["seal"] = seal
        answer = sealing("record", sealed.write()[0], status=1)
        assert answer.startswith("error 6 "), seal


def test_an_authority_is_kept_in_its_store(owner, sealing, authority):
    store = owner.path("kept")
    assert sealing("authority", store, status=1).startswith("error 21 ")
    sealing("authority-put", store, authority.pub, "/media/stick/a key.pem")
    answer = f"{authority.fingerprint} /media/stick/a key.pem"
    assert sealing("authority", store) == answer
    sealing("authority-put", store, authority.file)
    assert sealing("authority", store) == answer, "the same one again changes nothing"
    file = store / ".authority.pub.pem"
    assert file.stat().st_mode & 0o777 == 0o644
    assert owner.openssl("pkey", "-pubin", "-in", file, "-pubout").stdout == (
        authority.pub.read_text())
    assert "PRIVATE" not in file.read_text()


def test_an_authority_is_not_replaced(owner, sealing, ec):
    store, other = owner.path("kept"), Authority(owner, "other", *KINDS["ec"])
    sealing("authority-put", store, ec.pub)
    assert sealing("authority-put", store, other.pub, status=1).startswith("error 4 ")
    assert sealing("authority", store) == f"{ec.fingerprint} -"
    assert sorted(path.name for path in store.iterdir()) == [".authority.pub.pem", ".new"]


def test_a_compressed_point_is_the_same_authority(owner, sealing, ec):
    owner.openssl("ec", "-in", ec.file, "-pubout", "-conv_form", "compressed", "-out", "short.pem")
    sealing("authority-put", owner.path("kept"), owner.path("short.pem"))
    assert sealing("authority", owner.path("kept")) == f"{ec.fingerprint} -"


@pytest.mark.parametrize("options", [("-algorithm", "ED25519"),
                                     ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
                                     ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024")])
def test_other_keys_are_no_authorities(owner, sealing, options):
    owner.openssl("genpkey", *options, "-out", "k.pem")
    answer = sealing("authority-put", owner.path("kept"), owner.path("k.pem"), status=1)
    assert answer.startswith("error 15 ") and not owner.path("kept").exists()


def test_a_line_break_in_the_private_key_s_path_is_refused(owner, sealing, ec):
    sealing("authority-put", owner.path("kept"), ec.pub, "a\nprivate-key: /b", status=1)


@pytest.mark.parametrize("spoil", [
    lambda text: "", lambda text: text[:-30], lambda text: text * 2, lambda text: text + "junk",
    lambda text: text.replace("PUBLIC KEY", "CERTIFICATE"), lambda text: text.replace("-----BEGIN", " -----BEGIN")])
def test_a_damaged_authority_is_neither_taken_nor_replaced(owner, sealing, ec, spoil):
    store = owner.path("kept")
    sealing("authority-put", store, ec.pub)
    file = store / ".authority.pub.pem"
    file.write_text(damaged := spoil(file.read_text()))
    assert sealing("authority", store, status=1).startswith("error 6 ")
    assert sealing("authority-put", store, ec.pub, status=1).startswith("error 6 ")
    assert file.read_text() == damaged


REQUEST = {"version": 1, "pcrs": "sha256:0,7", "values": {"sha256": VALUES}, "id": None,
           "policy_ref": "", "counter": None}


def approval_of(owner, sealing, authority, name="approval", **changes) -> dict:
    """Made by us, and checked."""
    request = owner.write("request", json.dumps({**REQUEST, **changes}))
    owner.write(name, text := sealing("approve", authority.file, request))
    return json.loads(text)


@pytest.mark.parametrize("ref", [b"", REF])
def test_an_approval_says_what_it_approves(owner, sealing, authority, ref):
    made = approval_of(owner, sealing, authority, policy_ref=ref.hex())
    assert made == {"version": 1, "authority": authority.fingerprint, "pcrs": "sha256:0,7",
                    "policy": STRICT_POLICY.hex(), "policy_ref": ref.hex(),
                    "signature": made["signature"], "created": "2026-11-29T12:00:00Z",
                    "counter": None, "pcr_digest": DIGEST.hex()}
    owner.path("s").write_bytes(base64.b64decode(made["signature"], validate=True))
    owner.path("d").write_bytes(STRICT_POLICY + ref)
    owner.openssl("dgst", "-sha256", "-verify", authority.pub, "-signature", "s", "d")
    assert sealing("read", owner.path("approval"), authority.pub) == "1"


def test_an_approval_that_is_not_the_authority_s_is_refused(owner, sealing, ec):
    made = approval_of(owner, sealing, ec)
    other = Authority(owner, "other", *KINDS["ec"])
    for changes in ({"policy": ZERO.hex()}, {"policy_ref": REF.hex()},
                    {"signature": approval_of(owner, sealing, other)["signature"]}):
        file = owner.write("changed", json.dumps({**made, **changes}))
        assert sealing("read", file, ec.pub, status=1).startswith("error 14 ")
    owner.write("changed", json.dumps(made))
    assert sealing("read", owner.path("changed"), ec.pub) == "1"
    assert sealing("read", owner.path("changed"), other.pub, status=1).startswith("error 14 ")


def test_malformed_approvals_are_refused(owner, sealing, ec):
    made = approval_of(owner, sealing, ec)
    signature = made["signature"]
    for changed in (
            {}, {**made, "version": 2}, {**made, "more": 1}, without(made, "counter"),
            without(made, "signature"), {**made, "pcrs": "sha256:7,0"}, {**made, "pcrs": ""},
            {**made, "policy": "00"}, {**made, "policy_ref": "00" * 33},
            {**made, "authority": "00"}, {**made, "created": "yesterday"},
            {**made, "signature": ""}, {**made, "signature": "===="},
            {**made, "signature": signature + "\n"}, {**made, "signature": signature[:-1]},
            {**made, "signature": "A" * 2000}, {**made, "pcr_digest": "00"},
            {**made, "counter": {"handle": "0x01800001"}}):
        file = owner.write("changed", json.dumps(changed))
        assert sealing("read", file, ec.pub, status=1).startswith("error 6 "), changed
    text = owner.path("approval").read_text()
    for size in range(0, len(text) - 1, 7):
        assert "error 6 " in sealing("read", owner.write("cut", text[:size]), ec.pub, status=1)


def test_approvals_that_fit_are_found_newest_first(owner, sealing, ec):
    store = owner.path("kept")
    store.mkdir()
    times = ["2026-11-28T00:00:00Z", "2026-11-30T00:00:00Z", "2026-11-29T00:00:00Z"]
    for number, created in enumerate(times):
        values = {"sha256": {**VALUES, "7": f"{number:02x}" * 32}}
        made = approval_of(owner, sealing, ec, values=values)
        file = owner.write("dated", json.dumps({**made, "created": created}))
        for _ in range(2):
            sealing("put", store, file, ec.pub)
    approval_of(owner, sealing, ec, "bound", policy_ref=REF.hex())
    sealing("put", store, owner.path("bound"), ec.pub)
    files = sorted((store / ".approvals").iterdir())
    assert len(files) == 4 and {file.stat().st_mode & 0o777 for file in files} == {0o644}
    other = Authority(owner, "other", *KINDS["ec"])
    foreign = approval_of(owner, sealing, other, "foreign")
    (store / ".approvals" / "foreign.json").write_text(json.dumps(foreign))
    (store / ".approvals" / "junk.json").write_text("{")
    (store / ".approvals" / "link.json").symlink_to(files[0])
    (store / ".approvals" / "dir.json").mkdir()
    found = sealing("find", store, "/nowhere", ec.pub).splitlines()
    assert [line.split()[0] for line in found] == sorted(times, reverse=True)
    assert len(sealing("find", store, "/nowhere", ec.pub, REF.hex()).splitlines()) == 1
    assert sealing("find", store, "/nowhere", ec.pub, "00") == ""
    assert sealing("find", "/nowhere", "/nowhere", ec.pub) == ""


def test_an_exported_key_file_has_the_approvals_that_there_are(owner, sealing, key, authority):
    """lct export needs no TPM: an identity that no TPM has will do."""
    seal = {"kind": "authority", "pcrs": "sha256:7", "authority": authority.public.hex(),
            "policy_ref": REF.hex()}
    sealed = Sealed(owner, key, seal, authority.policy(REF), True)
    sealed.key.policy = authority.step(REF) + step(AUTH_VALUE)
    sealed.record["id"] = "fake"
    (owner.store / "fake").mkdir()
    for path, name in zip(sealed.write(), ("identity.json", "key-1.pem")):
        path.rename(owner.store / "fake" / name)
    assert owner.lct("export", "fake").stdout == armour(sealed.key.to_der())
    made = approval_of(owner, sealing, authority, policy_ref=REF.hex())
    sealing("put", owner.store, owner.path("approval"), authority.pub)
    signature = authority.tpm_form(base64.b64decode(made["signature"]))
    steps = step(PCR, SELECTION + DIGEST) + authority.step(REF, signature)
    sealed.key.approvals = der(0x30, der(0xA1, der(0x30, steps)))
    assert owner.lct("export", "fake").stdout == armour(sealed.key.to_der())


def test_an_approval_with_a_counter_fits_only_what_has_it(owner, sealing, ec):
    counter = {"handle": "0x01800001", "name": "000b" + "33" * 32, "value": 7}
    made = approval_of(owner, sealing, ec, counter=counter)
    assert made["counter"] == counter and made["policy"] != STRICT_POLICY.hex()
    args = sha256(struct.pack(">QHH", 7, 0, 9))
    assert made["policy"] == extend(STRICT_POLICY, 0x149, args,
                                    bytes.fromhex(counter["name"])).hex()
    (store := owner.path("kept")).mkdir()
    sealing("put", store, owner.path("approval"), ec.pub)
    assert sealing("find", store, "/nowhere", ec.pub) == ""


def test_systemd_s_approvals_are_taken(owner, sealing):
    rsa = Authority(owner, "authority", *KINDS["rsa"])
    entry = {"pcrs": [0, 7], "pkfp": "00" * 32, "pol": STRICT_POLICY.hex(),
             "sig": base64.b64encode(rsa.sign(STRICT_POLICY)).decode()}
    file = owner.write("systemd.json", json.dumps(
        {"sha1": [], "sha256": [{**entry, "pol": "zz"}, {**entry, "pcrs": [24]}, 7, entry],
         "md5": [entry]}))
    assert sealing("find", "/nowhere", file, rsa.pub) == STRICT_POLICY.hex()
    assert sealing("read", file, rsa.pub) == "1"
    (store := owner.path("kept")).mkdir()
    sealing("put", store, file, rsa.pub)
    assert sealing("find", store, "/nowhere", rsa.pub) == STRICT_POLICY.hex()
    other = Authority(owner, "other", *KINDS["rsa"])
    assert sealing("find", "/nowhere", file, other.pub) == ""
    for text in ("[]", "7", "", "{}", '{"sha256": 7}', '{"sha256": [{}]}'):
        assert "error 6 " in sealing("read", owner.write("bad", text), rsa.pub, status=1)


def test_pcr_values_are_read_as_they_are_written(owner, sealing):
    counter = {"handle": "0x01800001", "name": "000b" + "33" * 32, "value": 7}
    for changes in ({}, {"id": "alice"}, {"policy_ref": REF.hex(), "counter": counter}):
        request = {**REQUEST, **changes}
        assert json.loads(sealing("pcrs", owner.write("request", json.dumps(request)))) == request


@pytest.mark.parametrize("changes", [
    {"version": 2}, {"more": 1}, {"pcrs": "sha256:0"}, {"pcrs": ""}, {"values": {}}, {"id": ""},
    {"id": "../etc"}, {"id": 7}, {"policy_ref": "0"}, {"policy_ref": "00" * 33}, {"counter": {}}])
def test_malformed_pcr_values_are_refused(owner, sealing, changes):
    text = json.dumps({**REQUEST, **changes})
    assert sealing("pcrs", owner.write("request", text), status=1).startswith("error 6 ")
