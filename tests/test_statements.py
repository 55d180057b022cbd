# SPDX-License-Identifier: Apache-2.0
"""
Statements on the life of an identity: successions and their witnesses, ends, and what an identity
says of other things; what is refused, each for its reason.
"""

import base64
import hashlib
import hmac
import json
import random
import time

import pytest

from attesting import canonical, to_bytes, to_text
from stating import (CREATED, NOW, Judge, Ring, end, header, kid_of, public_pem, said, signature,
                     statement, stamp, subject, succession, verdict)
from test_issue import CLAIMS
from x509 import Authority, pem

REFUSED, MALFORMED, UNSUPPORTED, USAGE, CONFIG, WRONG_KEY = 23, 22, 15, 2, 8, 14
NAME = "000b" + "5a" * 32
KINDS = ["p256", "p384", "rsa", "ed25519"]


@pytest.fixture(scope="module", name="ring")
def fixture_ring(tmp_path_factory):
    return Ring(tmp_path_factory.mktemp("ring"))


@pytest.fixture(name="judge")
def fixture_judge(make_user) -> Judge:
    judge = Judge(make_user("none"))
    if not judge.program.exists():
        pytest.skip("this build has no test programs")
    return judge


@pytest.fixture(name="old")
def fixture_old(ring):
    return ring.key("p256", "old")


@pytest.fixture(name="new")
def fixture_new(ring):
    return ring.key("p256", "new")


@pytest.fixture(name="witness")
def fixture_witness(ring):
    return ring.key("p256", "witness")


@pytest.fixture(name="other")
def fixture_other(ring):
    return ring.key("p384", "other")


@pytest.fixture(name="good")
def fixture_good(old, new, witness) -> dict:
    """One that holds, so that each refusal is for its one reason."""
    return statement(succession(old, new), (old, "old"), (new, "new"), (witness, "witness"))


@pytest.fixture(name="trust")
def fixture_trust(judge, witness, other):
    return judge.trust(witness, other)


# Canonical JSON


@pytest.mark.parametrize("given, written", [
    ('{"b": 1, "a": [true, false, null]}', '{"a":[true,false,null],"b":1}'),
    ('{"aa": 1, "a": 2, "A": 3, "_": 4, "": 5, "a b": 6, "1": 7}',
     '{"":5,"1":7,"A":3,"_":4,"a":2,"a b":6,"aa":1}'),
    (r'"\"\\\/~"', r'"\"\\/~"'), (r'"\u0041"', '"A"'), ("9007199254740991", "9007199254740991"),
    ("-9007199254740991", "-9007199254740991"), ("-0", "0"), ("[]", "[]"), ("{}", "{}"),
    ("[" * 16 + "]" * 16, "[" * 16 + "]" * 16)])
def test_json_is_written_in_its_canonical_form(judge, given, written):
    assert judge.make("write", judge.file(given)) == written + "\n"


@pytest.mark.parametrize("given", [
    "1.5", "1e3", "9007199254740992", "-9007199254740992", '"\\n"', '"\\u0007"', '"\x7f"',
    '"\u00e9"', '"\\ud83d\\ude00"', '{"\u00e9": 1}', '["\\u001f"]', "[" * 17 + "]" * 17])
def test_what_has_no_canonical_form_of_ours_is_not_written(judge, given):
    assert judge.make("write", judge.file(given)) == "none\n"


def test_another_implementation_writes_the_same(judge):
    """Python's, for ASCII and integers, is RFC 8785's as well."""
    source = random.Random(7)
    printable = [chr(code) for code in range(0x20, 0x7f)]

    def text():
        return "".join(source.choices(printable, k=source.randrange(12)))

    def value(depth: int):
        kind = source.randrange(6 if depth else 4)
        if kind == 4:
            return [value(depth - 1) for _ in range(source.randrange(4))]
        if kind == 5:
            return {text(): value(depth - 1) for _ in range(source.randrange(6))}
        return (text(), source.randrange(-2**53 + 1, 2**53), None, True)[kind]

    for _ in range(40):
        document = {text(): value(5) for _ in range(8)}
        written = judge.make("write", judge.file(json.dumps(document, indent=1)))
        assert written.rstrip("\n").encode() == canonical(document)


@pytest.mark.parametrize("text", [
    '{"a": 1}', ' {"a":1}', '{"a":1} ', '{"a":1}\n', '{"b":1,"a":2}', '{"a":1,"a":1}',
    '{"a":"\\u0041"}', '{"a":"\\/"}', '{"a":-0}', '{"a":01}', '{"a":1.0}', '{"a":1e0}', "[]", '"a"',
    "1", "", '{"a":"\u00e9"}', '\ufeff{"a":1}', '{"a":99999999999999999999}', '{"a":1}{"a":1}'])
def test_another_form_is_not_read(judge, text):
    assert judge.make("read", judge.file(text)) == "none\n"
    assert judge.make("read", judge.file('{"a":1}')) == "canonical\n"


# What lct writes


def made_succession(judge, old, new, roles="old,new", evidence="-", name=NAME) -> str:
    return judge.make("succession", "alice", 5, "superseded", CREATED, 1, name, old.path, 2, name,
                      new.path, evidence, roles)


@pytest.mark.parametrize("kind", KINDS)
def test_a_succession_is_what_its_contract_says_and_others_verify_it(judge, ring, witness, kind):
    """Each signature by Debian's jwcrypto, as any JOSE library does."""
    jwk, jws = pytest.importorskip("jwcrypto.jwk"), pytest.importorskip("jwcrypto.jws")
    old, new = ring.key(kind, "old"), ring.key(kind, "new")
    text = made_succession(judge, old, new, evidence="ab" * 32)
    text = judge.make("witness", judge.file(text), witness.path, "-", NOW)
    made = json.loads(text)
    wanted = succession(old, new, old=subject(old, 1, NAME), new=subject(new, 2, NAME),
                        evidence="ab" * 32)
    assert to_bytes(made["payload"]) == canonical(wanted)
    assert [to_bytes(each["protected"]) for each in made["signatures"]] == [
        canonical(header(key, role))
        for key, role in ((old, "old"), (new, "new"), (witness, "witness"))]
    for each, key in zip(made["signatures"], (old, new, witness)):
        read = jws.JWS()
        read.allowed_algs = ["ES256", "ES384", "RS256", "EdDSA"]
        public = jwk.JWK.from_pem(public_pem(key))
        read.deserialize(json.dumps({"payload": made["payload"], **each}), public)
        assert json.loads(read.payload) == wanted
        whole = jws.JWS()
        whole.allowed_algs = read.allowed_algs
        whole.deserialize(text, public)
        assert whole.is_valid
    judge.holds(text, "--trust", judge.trust(witness), "--threshold", 1, "--old-key",
                judge.file(public_pem(old)))


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_another_implementation_signed_holds(judge, ring, kind):
    jwk, jws = pytest.importorskip("jwcrypto.jwk"), pytest.importorskip("jwcrypto.jws")
    old, new = ring.key(kind, "old"), ring.key(kind, "new")
    made = jws.JWS(canonical(succession(old, new)))
    made.allowed_algs = ["ES256", "ES384", "RS256", "EdDSA"]
    for key, role in ((old, "old"), (new, "new")):
        made.add_signature(jwk.JWK.from_pem(key.path.read_bytes()), None,
                           json.dumps(header(key, role)))
    judge.holds(made.serialize(), "--old-key", judge.file(public_pem(old)))


def test_what_is_said_of_a_succession_is_all_there(judge, old, new, witness):
    token = verdict(witness, new)
    content = statement(succession(old, new, new=subject(new, 2, NAME), evidence="ab" * 32),
                        (old, "old"), (new, "new"), (witness, "witness", {"verdict": token}))
    found = judge.holds(content, "--trust", judge.trust(witness))
    keys = {role: found.pop(role) for role in ("old", "new")}
    signatures = found.pop("signatures")
    assert found == {"version": 1, "holds": True, "kind": "succession", "fault": None,
                     "witnesses": {"needed": 1, "counted": 1}, "id": "alice", "counter": 5,
                     "reason": "superseded", "created": CREATED, "evidence": "ab" * 32}
    assert keys["new"] == {"generation": 2, "algorithm": "ec-p256", "custody": "tpm", "name": NAME,
                           "sha256": kid_of(new), "public_key": public_pem(new).decode()}
    assert keys["old"] == {"generation": 1, "algorithm": "ec-p256", "custody": "software",
                           "name": None, "sha256": kid_of(old),
                           "public_key": public_pem(old).decode()}
    assert all(each.pop("reason") for each in signatures)
    assert signatures == [
        {"role": "old", "kid": kid_of(old), "good": True, "counted": False, "time": None,
         "verdict": None},
        {"role": "new", "kid": kid_of(new), "good": True, "counted": False, "time": None,
         "verdict": None},
        {"role": "witness", "kid": kid_of(witness), "good": True, "counted": True, "time": CREATED,
         "verdict": {"issued": CREATED, "expires": stamp(NOW + 86400), "evidence": "44" * 32}}]


def test_people_are_told_that_the_old_key_has_to_be_known(judge, good, old, witness):
    told = judge.run(good, "--trust", judge.trust(witness)).stdout
    assert "succession   of lct:alice, counter 5, superseded" in told
    assert "--old-key FILE" in told and "counted      witness" in told
    assert "witnesses    1 of the 1 needed" in told
    known = judge.run(good, "--trust", judge.trust(witness), "--old-key",
                      judge.file(public_pem(old))).stdout
    assert "--old-key" not in known


def test_lct_itself_judges_the_same(judge, good, trust):
    done = judge.user.lct("verify", judge.file(good), "--time", CREATED, "--trust", trust, "--json")
    assert json.loads(done.stdout)["holds"]


def test_a_key_signs_in_its_own_role_alone(judge, old, new, witness):
    text = judge.file(made_succession(judge, old, new, roles="new"))
    assert json.loads(judge.make("as", "old", text, old.path))["signatures"][1]
    for role, key in (("old", witness), ("old", new), ("new", old)):
        answer = judge.make("as", role, text, key.path, status=1)
        assert answer.startswith(f"error {WRONG_KEY} ") and "is not the" in answer


@pytest.mark.parametrize("change", [
    {"id": ""}, {"counter": 0}, {"reason": "whim"}, {"created": "yesterday"}, {"number": 2}])
def test_a_succession_that_cannot_be_read_is_not_written(judge, old, new, change):
    given = {"id": "alice", "counter": 5, "reason": "expired", "created": CREATED,
             "number": 1} | change
    answer = judge.make("succession", given["id"], given["counter"], given["reason"],
                        given["created"], given["number"], "-", old.path, 2, "-", new.path, "-",
                        "old,new", status=1)
    assert answer.startswith("error 1 ")


# Keys and times


def test_both_keys_sign_and_nobody_else_in_their_roles(judge, old, new, witness):
    payload = succession(old, new)
    judge.holds(statement(payload, (old, "old"), (new, "new")))
    judge.refuses(statement(payload, (old, "old")), "the new key has not signed it")
    judge.refuses(statement(payload, (new, "new")), "the old key has not signed it")
    judge.refuses(statement(payload, (witness, "old"), (new, "new")), '"old" is not by that key')
    judge.refuses(statement(payload, (old, "old"), (witness, "new")), '"new" is not by that key')
    judge.refuses(statement(payload, (new, "old"), (old, "new")), "is not by that key")
    in_its_name = statement(payload, (witness, "old", {"kid": kid_of(old)}), (new, "new"))
    found = judge.refuses(in_its_name, '"old" is not by that key')
    assert [each["good"] for each in found["signatures"]] == [False, True]


def test_the_old_key_is_the_one_that_was_known(judge, ring, good, old, new, trust):
    other = ring.key("p384", "other")
    judge.holds(good, "--trust", trust, "--old-key", judge.file(public_pem(old)))
    certificate = Authority(old, "Old").certificate
    judge.holds(good, "--trust", trust, "--old-key", judge.file(pem(certificate)))
    for stranger in (other, new):
        judge.refuses(good, "the old key is another than the one that was given", "--trust", trust,
                      "--old-key", judge.file(public_pem(stranger)))
    judge.run(good, "--old-key", judge.file("no key"), status=MALFORMED)


def test_an_old_counter_is_a_replay(judge, good):
    judge.holds(good, "--counter", 4)
    judge.holds(good, "--counter", 0)
    for last in (5, 6, 4294967294):
        judge.refuses(good, "it is an old one, played again", "--counter", last)
    for text in ("", "-1", "4294967295", "99999999999999999999", "five", " 4"):
        judge.run(good, "--counter", text, status=USAGE)


def test_a_time_that_has_not_come_is_refused(judge, old, new):
    for ahead, holds in ((60, True), (61, False), (10**8, False)):
        content = statement(succession(old, new, created=stamp(NOW + ahead)), (old, "old"),
                            (new, "new"))
        if holds:
            judge.holds(content)
        else:
            judge.refuses(content, "it is of a time that has not come")


@pytest.mark.parametrize("with_verdict, step", [(False, 3), (True, 11)])
def test_every_character_of_a_succession_counts(judge, old, new, witness, with_verdict, step):
    changes = {"verdict": verdict(witness, new)} if with_verdict else {}
    content = statement(succession(old, new), (old, "old"), (new, "new"),
                        (witness, "witness", changes))
    text = json.dumps(content, separators=(",", ":"))
    held, num = judge.make("change", judge.file(text), judge.trust(witness), NOW, step).split()
    assert int(held) == 0 and int(num) >= 8 * len(text) // step


# Witnesses


def test_witnesses_are_counted(judge, ring, old, new):
    kinds = [("p256", "w1"), ("p384", "w2"), ("rsa", "w3"), ("ed25519", "w4")]
    keys = [ring.key(*each) for each in kinds]
    content = statement(succession(old, new), (old, "old"), (new, "new"),
                        *((key, "witness") for key in keys))
    for num_trusted in range(1, 5):
        trust = judge.trust(*keys[:num_trusted])
        for threshold in range(6):
            options = ("--trust", trust, "--threshold", threshold)
            if threshold <= num_trusted:
                found = judge.holds(content, *options)
            else:
                found = judge.refuses(content, f"{num_trusted} of the {threshold} witnesses that "
                                               "are needed count", *options)
            assert found["witnesses"] == {"needed": threshold, "counted": num_trusted}
            assert [each["counted"] for each in found["signatures"]] == [
                False, False, *(number < num_trusted for number in range(4))]


def test_who_names_witnesses_asks_for_one(judge, old, new, witness):
    content = statement(succession(old, new), (old, "old"), (new, "new"))
    judge.refuses(content, "0 of the 1 witnesses", "--trust", judge.trust(witness))
    judge.holds(content, "--trust", judge.trust(witness), "--threshold", 0)
    judge.holds(content, "--trust", judge.file({"version": 1}))


def test_a_witness_that_nobody_trusts_is_told_and_spoils_nothing(judge, ring, good, old, new,
                                                                   witness):
    stranger = ring.key("p256", "stranger")
    found = judge.holds(good)
    assert [each["counted"] for each in found["signatures"]] == [False] * 3
    assert "trusted" in found["signatures"][2]["reason"]
    content = statement(succession(old, new), (old, "old"), (new, "new"), (witness, "witness"),
                        (stranger, "witness", {"verdict": "e30.e30.e30"}),
                        (ring.key("rsa", "stranger"), "witness", {"kid": "ab" * 32}))
    found = judge.holds(content, "--trust", judge.trust(witness), "--threshold", 1)
    assert found["witnesses"]["counted"] == 1
    assert [each["good"] for each in found["signatures"]] == [True] * 3 + [False] * 2
    judge.refuses(content, "1 of the 2 witnesses", "--trust", judge.trust(witness), "--threshold",
                  2)


def test_a_witness_counts_by_its_certificate_while_that_is_valid(judge, good, witness):
    issuer = Authority(witness, "Witness", end="20260701000000Z")
    trust = judge.file({"version": 1,
                        "witnesses": [str(judge.file(pem(issuer.certificate)))]})
    judge.holds(good, "--trust", trust)
    judge.refuses(good, "0 of the 1 witnesses", "--trust", trust, now=NOW + 31 * 86400)


def test_a_trusted_witness_whose_signature_is_bad_spoils(judge, ring, old, new, witness, trust):
    forger = ring.key("p256", "stranger")
    content = statement(succession(old, new), (old, "old"), (new, "new"),
                        (forger, "witness", {"kid": kid_of(witness)}))
    judge.refuses(content, "is not by the witness that it names", "--trust", trust, "--threshold",
                  0)


def test_a_witness_of_another_statement_is_none_of_this(judge, good, old, new, witness, trust):
    second = statement(succession(old, new, counter=6), (old, "old"), (new, "new"))
    second["signatures"].append(good["signatures"][2])
    judge.refuses(second, "is not by the witness that it names", "--trust", trust)


def test_a_key_is_no_witness_of_itself(judge, old, new, witness):
    payload = succession(old, new)
    alone = statement(payload, (new, "new"), (old, "witness"), (witness, "witness"))
    for keys in ([witness], [witness, old]):
        judge.refuses(alone, "a key of the identity itself", "--trust", judge.trust(*keys),
                      "--threshold", 0)
    for key in (old, new):
        twice = statement(payload, (old, "old"), (new, "new"), (key, "witness"))
        judge.refuses(twice, "has signed it twice", status=MALFORMED)


def test_a_witness_counts_once(judge, old, new, witness, trust):
    twice = statement(succession(old, new), (old, "old"), (new, "new"), (witness, "witness"),
                      (witness, "witness", {"time": stamp(NOW - 1)}))
    judge.refuses(twice, "has signed it twice", "--trust", trust, status=MALFORMED)


def test_a_key_that_is_written_in_two_ways_is_one_witness(judge, old, new, witness):
    """A point may be compressed, and then the key has another SHA-256."""
    short = judge.user.path("short.pem")
    judge.user.openssl("ec", "-in", witness.path, "-pubout", "-conv_form", "compressed", "-out",
                       short)
    whole = judge.file(public_pem(witness))
    trust = judge.file({"version": 1, "witnesses": [str(short), str(whole)]})
    compressed = judge.user.openssl("pkey", "-pubin", "-in", short, "-outform", "DER", "-pubout",
                                    text=False).stdout
    assert len(compressed) < len(witness.spki)
    second = hashlib.sha256(compressed).hexdigest()
    content = statement(succession(old, new), (old, "old"), (new, "new"), (witness, "witness"),
                        (witness, "witness", {"kid": second}))
    judge.refuses(content, "has signed it twice", "--trust", trust, "--threshold", 2)


@pytest.mark.parametrize("when, reason", [
    (NOW + 61, "of a time that has not come"), (NOW - 61, "of a time before the statement")])
def test_a_witness_signs_between_the_statement_and_now(judge, old, new, witness, trust, when,
                                                       reason):
    content = statement(succession(old, new), (old, "old"), (new, "new"),
                        (witness, "witness", {"time": stamp(when)}))
    judge.refuses(content, reason, "--trust", trust)


def test_without_the_old_key_there_are_more_witnesses(judge, ring, old, new):
    keys = [ring.key("p256", f"w{number}") for number in range(4)]
    for num_witnesses in range(5):
        content = statement(succession(old, new), (new, "new"),
                            *((key, "witness") for key in keys[:num_witnesses]))
        for threshold, needed in ((0, 2), (1, 2), (2, 3), (3, 4), (4, 5)):
            options = ("--trust", judge.trust(*keys), "--threshold", threshold)
            if num_witnesses >= needed:
                found = judge.holds(content, *options)
            else:
                found = judge.refuses(content, "the old key has not signed it", *options)
            assert found["witnesses"] == {"needed": needed, "counted": num_witnesses}


def test_so_many_witnesses_are_no_number_that_wraps(judge, old, new):
    content = statement(succession(old, new), (new, "new"))
    for threshold in (4294967295, 2**32, 2**64):
        judge.run(content, "--trust", judge.trust(new), "--threshold", threshold, status=USAGE)
    judge.refuses(content, "of the 4294967295 witnesses", "--trust", judge.trust(new),
                  "--threshold", 4294967294)


# Verdicts


def witnessed(old, new, witness, token: str, **changes) -> dict:
    return statement(succession(old, new), (old, "old"), (new, "new"),
                     (witness, "witness", {"verdict": token} | changes))


def test_a_witness_without_a_verdict_does_not_count_where_one_is_asked_for(judge, good, old, new,
                                                                           witness, trust):
    judge.refuses(good, "0 of the 1 witnesses", "--trust", trust, "--require-verdicts")
    judge.holds(witnessed(old, new, witness, verdict(witness, new)), "--trust", trust,
                "--require-verdicts")


def test_verdicts_are_not_required_of_no_witness_at_all(judge, good, witness, trust):
    """A trust file without witnesses, or a directory of roots, has nobody who could have one."""
    nobody = judge.file({"version": 1, "ek_roots": [str(judge.file(pem(
        Authority(witness, "Root").certificate)))]})
    directory = judge.user.path("roots")
    directory.mkdir()
    (directory / "root.pem").write_bytes(pem(Authority(witness, "Root").certificate))
    for options in (("--trust", nobody), ("--trust", directory),
                    ("--trust", trust, "--threshold", 0)):
        judge.holds(good, *options)
        done = judge.run(good, *options, "--require-verdicts", status=USAGE)
        assert "no witness is asked for" in done.stderr and not done.stdout


@pytest.mark.parametrize("spoil, reason", [
    (lambda token: token[:-4] + "AAAA", "is not its own"),
    (lambda token: "e30.e30.e30", "none that can be read"),
    (lambda token: "", "none that can be read"),
    (lambda token: token + ".", "none that can be read"),
    (lambda token: token + "\n", None)])
def test_a_verdict_is_whole(judge, old, new, witness, trust, spoil, reason):
    content = witnessed(old, new, witness, spoil(verdict(witness, new)))
    if reason is None:
        judge.holds(content, "--trust", trust)
    else:
        judge.refuses(content, reason, "--trust", trust, "--threshold", 0)


def test_a_verdict_is_the_witness_s_own(judge, old, new, witness, other, trust):
    judge.refuses(witnessed(old, new, witness, verdict(other, new)), "is not its own", "--trust",
                  trust, "--threshold", 0)


def test_a_verdict_is_of_the_new_key_and_this_identity(judge, old, new, witness, trust):
    for token, reason in ((verdict(witness, old), "another key"),
                          (verdict(witness, witness), "another key"),
                          (verdict(witness, new, id="bob"), "another identity"),
                          (verdict(witness, new, generation=3), "another identity")):
        judge.refuses(witnessed(old, new, witness, token), reason, "--trust", trust)


def test_a_verdict_was_valid_when_its_witness_signed(judge, old, new, witness, trust):
    good = verdict(witness, new, days=1)
    judge.holds(witnessed(old, new, witness, good), "--trust", trust, now=NOW + 400 * 86400)
    for at, days in ((NOW - 86400, 1), (NOW - 10 * 86400, 9), (NOW + 61, 1)):
        judge.refuses(witnessed(old, new, witness, verdict(witness, new, days, at=at)),
                      "was not valid when it signed", "--trust", trust)


@pytest.mark.parametrize("claim", ["signed", "ak_bound", "key_resident", "non_extractable",
                                   "key_fit", "sealed", "boot_state"])
def test_a_verdict_holds(judge, old, new, witness, trust, claim):
    claims = CLAIMS | {claim: {"outcome": "fail", "reason": "it is not"}}
    judge.refuses(witnessed(old, new, witness, verdict(witness, new, claims=claims)), "its verdict",
                  "--trust", trust)


@pytest.mark.parametrize("claim", ["key_resident", "non_extractable", "key_fit"])
def test_a_verdict_says_that_the_key_is_in_a_tpm(judge, old, new, witness, trust, claim):
    claims = CLAIMS | {claim: {"outcome": "not_claimed", "reason": "who knows"}}
    judge.refuses(witnessed(old, new, witness, verdict(witness, new, claims=claims)), "its verdict",
                  "--trust", trust)


# Form


def changed(payload: dict, *path, to) -> dict:
    """A copy with one value in it another; Ellipsis takes it out."""
    copy = json.loads(json.dumps(payload))
    place = copy
    for name in path[:-1]:
        place = place[name]
    if to is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return copy


MEMBERS = ["type", "version", "id", "counter", "reason", "created", "old", "new", "evidence"]
OF_KEYS = ["generation", "algorithm", "custody", "name", "public_key"]


@pytest.mark.parametrize("path, value", [
    *(((name,), ...) for name in MEMBERS), *((("old", name), ...) for name in OF_KEYS),
    *((("new", name), ...) for name in OF_KEYS),
    (("more",), 1), (("old", "more"), 1), (("type",), "lct-end"), (("type",), 1), (("id",), ""),
    (("id",), "a b"), (("id",), "x" * 129), (("id",), 5), (("counter",), 0), (("counter",), -1),
    (("counter",), 2**32), (("counter",), True), (("counter",), "5"), (("counter",), None),
    (("reason",), "whim"), (("reason",), ""), (("reason",), None), (("created",), "2026-06-01"),
    (("created",), "2026-02-30T00:00:00Z"), (("created",), "2026-06-01T00:00:00+00:00"),
    (("evidence",), ""), (("evidence",), "ab" * 31), (("evidence",), "AB" * 32), (("evidence",), 1),
    (("old",), None), (("new",), []), (("new", "generation"), 0), (("new", "generation"), 1000000),
    (("new", "generation"), 1), (("old", "generation"), 2), (("new", "algorithm"), "ec-p384"),
    (("new", "algorithm"), "rsa-2048"), (("new", "custody"), "cloud"), (("new", "custody"), "tpm"),
    (("new", "name"), NAME), (("new", "name"), "00"), (("new", "public_key"), ""),
    (("new", "public_key"), "AAAA"), (("new", "public_key"), "!"), (("version",), "1")])
def test_a_succession_has_its_members_and_no_other(judge, old, new, path, value):
    payload = changed(succession(old, new), *path, to=value)
    judge.refuses(statement(payload, (old, "old"), (new, "new")), "", status=MALFORMED)


def test_a_newer_version_is_not_guessed_at(judge, old, new):
    judge.refuses(statement(succession(old, new, version=2), (old, "old"), (new, "new")), "",
                  status=UNSUPPORTED)


def test_a_key_does_not_follow_itself(judge, ring, old, new):
    for payload in (succession(old, old), succession(old, new, old=subject(new, 1))):
        judge.refuses(statement(payload, (old, "old"), (new, "new")), "the new key is the old one",
                      status=MALFORMED)
    for first, second in ((1, 1), (2, 1), (3, 2)):
        payload = succession(old, new, old=subject(old, first), new=subject(new, second))
        judge.refuses(statement(payload, (old, "old"), (new, "new")), "does not follow",
                      status=MALFORMED)
    far = succession(old, new, new=subject(new, 999999))
    judge.holds(statement(far, (old, "old"), (new, "new")))


def test_a_key_is_written_in_one_way(judge, old, new):
    """Compressed, with the curve's parameters, with more behind it, in other base64."""
    spoiled = []
    for options in (("-conv_form", "compressed"), ("-param_enc", "explicit"),
                    ("-conv_form", "hybrid")):
        spoiled.append(base64.b64encode(judge.user.openssl(
            "ec", "-in", new.path, "-pubout", "-outform", "DER", *options,
            text=False).stdout).decode())
    right = subject(new, 2)["public_key"]
    spoiled += [base64.b64encode(new.spki + b"\0").decode(), right + "\n", right.rstrip("="),
                right + "====", right.replace("+", "-").replace("/", "_") + " ",
                to_text(new.spki), right[:-4] + right[-4:].replace("=", "A"),
                right[:-3] + chr(ord(right[-3]) + 1) + "=="]  # bits that nobody reads
    assert right.endswith("==") and base64.b64decode(spoiled[-1]) == new.spki
    for text in spoiled:
        assert text != right
        payload = succession(old, new, new=subject(new, 2, public_key=text))
        if text.isprintable():
            judge.refuses(statement(payload, (old, "old"), (new, "new")), "the new key is none",
                          status=MALFORMED)
        else:
            judge.refuses(statement(payload, (old, "old"), (new, "new")), "not canonical",
                          status=MALFORMED)


def test_other_kinds_of_keys_have_no_identity(judge, ring, old):
    for kind, algorithm in (("p521", "ec-p521"), ("rsa1024", "rsa-1024"), ("rsa4096", "rsa-4096")):
        key = ring.key(kind, "strange")
        payload = succession(old, old, new=subject(old, 2) | {
            "algorithm": algorithm, "public_key": subject_key(key)})
        judge.refuses(statement(payload, (old, "old")), "the new key is none", status=MALFORMED)


def subject_key(key) -> str:
    return base64.b64encode(key.spki).decode()


@pytest.mark.parametrize("text", [
    lambda payload: json.dumps(payload), lambda payload: canonical(payload).decode() + "\n",
    lambda payload: json.dumps(dict(reversed(payload.items())), separators=(",", ":")),
    lambda payload: canonical(payload).decode().replace("alice", "\\u0061lice"),
    lambda payload: canonical(payload).decode().replace('"id"', '"id":"bob","id"'),
    lambda payload: canonical(payload).decode().replace('"counter":5', '"counter":5.0'),
    lambda payload: canonical(payload).decode().replace('"counter":5', '"counter":5e0'),
    lambda payload: canonical(payload).decode().replace('"counter":5', f'"counter":{2**53 + 1}'),
    lambda payload: canonical(payload).decode().replace('"counter":5', '"counter":' + "9" * 400),
    lambda payload: canonical(payload).decode().replace("alice", "\u00e9lice"),
    lambda payload: canonical(payload).decode().replace("alice", "a\\u0000"),
    lambda payload: "[" + canonical(payload).decode() + "]", lambda payload: "null",
    lambda payload: "", lambda payload: "[" * 100000, lambda payload: '{"a":' * 100000])
def test_a_payload_is_canonical(judge, old, new, text):
    content = statement(text(succession(old, new)).encode(), (old, "old"), (new, "new"))
    judge.refuses(content, "", status=MALFORMED)


@pytest.mark.parametrize("changes", [
    {"crit": ["exp"]}, {"crit": []}, {"jwk": {}}, {"b64": False}, {"x5c": []}, {"more": 1},
    {"alg": None}, {"kid": None}, {"role": None}, {"typ": None}, {"typ": "JWT"}, {"typ": ""},
    {"role": "boss"}, {"role": ""}, {"role": 1}, {"role": "subject"}, {"role": "signer"},
    {"kid": ""}, {"kid": "AB" * 32}, {"kid": "ab" * 31}, {"alg": 1}, {"alg": "x" * 99},
    {"alg": "\u00c9S256"}, {"time": CREATED}, {"verdict": "e30.e30.e30"}])
def test_a_header_has_its_members_and_no_other(judge, old, new, changes):
    content = statement(succession(old, new), (old, "old", changes), (new, "new"))
    judge.refuses(content, "", status=MALFORMED)


@pytest.mark.parametrize("changes", [
    {"time": None}, {"time": ""}, {"time": "now"}, {"time": 5}, {"verdict": 5}, {"verdict": {}},
    {"verdict": "A" * (64 * 1024 + 1)}])
def test_a_witness_s_header_says_when(judge, old, new, witness, changes):
    content = statement(succession(old, new), (old, "old"), (new, "new"),
                        (witness, "witness", changes))
    judge.refuses(content, "", status=MALFORMED)


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "ES384", "RS256", "PS256", "EdDSA",
                                       "es256", ""])
def test_the_algorithm_is_the_key_s_and_not_the_header_s(judge, old, new, algorithm):
    content = statement(succession(old, new), (old, "old", {"alg": algorithm}), (new, "new"))
    judge.refuses(content, "is not by that key")
    content["signatures"][0]["signature"] = ""
    judge.refuses(content, "is not by that key")


def test_the_key_id_is_that_of_the_key_that_signed(judge, old, new, witness):
    for signers in (((old, "old", {"kid": kid_of(witness)}), (new, "new")),
                    ((old, "old"), (new, "new", {"kid": "ab" * 32}))):
        judge.refuses(statement(succession(old, new), *signers), "is not by that key")
    for key, content in ((old, end(old)), (old, said(b"x"))):
        role = "subject" if "key" in content else "signer"
        wrong = statement(content, (key, role, {"kid": kid_of(new)}))
        judge.refuses(wrong, "is not by that key", "--key", judge.file(public_pem(old)))


def test_a_public_key_is_no_secret_of_an_hmac(judge, old, new):
    content = statement(succession(old, new), (new, "new"))
    protected = to_text(canonical(header(old, "old", alg="HS256")))
    message = f"{protected}.{content['payload']}".encode()
    for secret in (public_pem(old), old.spki):
        made = hmac.new(secret, message, hashlib.sha256).digest()
        content["signatures"] = [content["signatures"][0],
                                 {"protected": protected, "signature": to_text(made)}]
        judge.refuses(content, "is not by that key")


def test_a_header_is_strict_json(judge, old, new):
    payload = canonical(succession(old, new))
    right = canonical(header(old, "old")).decode()
    for text in (right.replace('"alg"', '"alg":"ES256","alg"'), right[:-1], right + right, "[]",
                 '"old"', "", "[" * 4000, right.replace("old", "o\\u0000"), right + "\0"):
        content = statement(payload, (new, "new"))
        content["signatures"].append(signature(payload, text.encode(), old))
        judge.refuses(content, "", status=MALFORMED)
    content = statement(payload, (new, "new"))
    content["signatures"].append(signature(payload, right.encode(), old))
    judge.holds(content)


def test_two_do_not_sign_in_one_role(judge, old, new, witness):
    for role in ("old", "new"):
        content = statement(succession(old, new), (old, "old"), (new, "new"), (witness, role))
        judge.refuses(content, f'two keys have signed it as "{role}"', status=MALFORMED)


def spoiled_outside(good: dict) -> list:
    """What is around a statement, each wrong in one thing."""
    def with_first(**changes) -> dict:
        first = good["signatures"][0] | changes
        return good | {"signatures": [first, *good["signatures"][1:]]}

    first = good["signatures"][0]
    text = json.dumps(good)
    return [
        good | {"more": 1}, good | {"header": {}}, with_first(header={}),
        with_first(header={"kid": "x"}), with_first(more=1), with_first(protected=""),
        with_first(protected=first["protected"] + "="), with_first(signature=None),
        with_first(protected=first["protected"] + "\n"), with_first(protected={}),
        with_first(signature=first["signature"] + "="), with_first(signature="A" * 4000),
        with_first(signature=" " + first["signature"]), good | {"signatures": []},
        good | {"signatures": {}}, good | {"signatures": first}, good | {"signatures": [[]]},
        good | {"signatures": [first] * 65}, good | {"payload": good["payload"] + "="},
        good | {"payload": ""}, good | {"payload": {}}, good | {"payload": good["payload"] + "A"},
        text.replace('"payload"', '"payload": "e30", "payload"'), text[:-1], text + text,
        text + "\0", text.replace('"protected"', '"protected": "e30", "protected"', 1),
        "[" * (1 << 20), '{"payload":' * (1 << 18), '{"payload":"e30","signatures":' + "[" * 10**6,
        '{"payload":"e30","signatures":' + "9" * 10**6 + "}",
        '{"payload":"e30","signatures":[' + '{"protected":"e30","signature":"AA"},' * 10000 + "1]}"]


def test_what_is_around_a_statement_is_strict(judge, good):
    for content in spoiled_outside(good):
        done = judge.run(content, status=MALFORMED)
        assert not done.stdout and len(done.stderr.splitlines()) == 1, content
        assert len(done.stderr) < 800


def test_how_a_statement_is_sent_is_of_no_matter(judge, good, trust):
    judge.holds(json.dumps(good, indent=4) + "\n", "--trust", trust)
    judge.holds(json.dumps(dict(reversed(good.items()))), "--trust", trust)


def test_a_statement_that_is_too_long_is_not_read(judge, good):
    judge.run(json.dumps(good) + " " * (9 << 20), status=MALFORMED)
    judge.run(json.dumps(good) + " " * (4 << 20), status=MALFORMED)


def test_what_is_signed_so_but_is_no_statement_is_refused(judge, old):
    for payload in ({}, {"type": "lct-attestation-verdict"}, {"type": 5}, {"type": "other"}):
        judge.refuses(statement(payload, (old, "signer")), "says no such thing", status=MALFORMED)


def test_one_key_s_statement_of_one_kind_is_not_of_another(judge, old, new):
    """A header says the role, and the payload the kind: neither can be taken for another."""
    known = ("--key", judge.file(public_pem(old)))
    one = 'it is to have one signature, in the role "{}"'
    for payload, role, options, reason in (
            *((end(old), role, options, one.format("subject")) for options in ((), known)
              for role in ("old", "new", "signer", "witness")),
            *((said(b"x"), role, known, one.format("signer"))
              for role in ("old", "new", "subject", "witness")),
            *((succession(old, new), role, (), "a role that successions have not")
              for role in ("subject", "signer"))):
        judge.refuses(statement(payload, (old, role)), reason, *options, status=MALFORMED)


# Options


def test_options_that_do_not_apply_are_wrong_usage(judge, good, old, trust):
    key = judge.file(public_pem(old))
    for options in (("--key", key), ("--state", "s"), ("--offline",), ("--expect-pcrs", "f"),
                    ("--require", "sealed"), ("--threshold", 1), ("--require-verdicts",),
                    ("--trust", trust, "--threshold", "many"), ("--time", "now"), ("--ak", key)):
        done = judge.run(good, *options, status=USAGE, now=None)
        assert not done.stdout
    for content in (statement(end(old), (old, "subject")), statement(said(b""), (old, "signer"))):
        for options in (("--old-key", key), ("--trust", trust, "--threshold", 1),
                        ("--trust", trust, "--require-verdicts")):
            judge.run(content, "--key", key, *options, status=USAGE)
    for options in (("--old-key", key), ("--threshold", 1), ("--require-verdicts",),
                    ("--counter", 1)):
        judge.run({"type": "lct-attestation-evidence"}, *options, status=USAGE)


def test_a_trust_file_of_witnesses_is_read_strictly(judge, good):
    for witnesses in ([], "w.pem", [1], ["missing.pem"], [""],
                      [str(judge.file("no key"))]):
        judge.run(good, "--trust", judge.file({"version": 1, "witnesses": witnesses}),
                  status=CONFIG)


# Ends


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ["retired", "compromise", "violation"])
def test_an_end_is_what_its_contract_says(judge, ring, kind, ending):
    key = ring.key(kind, "old")
    text = judge.make("end", "alice", 5, ending, CREATED, 1, NAME, key.path)
    made = json.loads(text)
    revoked = ending != "retired"
    assert to_bytes(made["payload"]) == canonical(
        end(key, ending="revoked" if revoked else "retired", reason=ending if revoked else None,
            key=subject(key, 1, NAME)))
    assert [to_bytes(each["protected"]) for each in made["signatures"]] == [
        canonical(header(key, "subject"))]
    found = judge.holds(text, "--key", judge.file(public_pem(key)), "--counter", 4)
    assert found["kind"] == "end" and found["id"] == "alice" and found["counter"] == 5
    assert found["ending"] == ("revoked" if revoked else "retired")
    assert found["reason"] == (ending if revoked else None)
    assert found["key"]["sha256"] == kid_of(key) and found["key"]["name"] == NAME
    assert found["witnesses"] == {"needed": 0, "counted": 0}
    told = judge.run(text).stdout
    assert "end          of lct:alice" in told and "--key FILE" in told


def test_an_end_is_by_its_key(judge, old, new):
    judge.holds(statement(end(old), (old, "subject")))
    judge.refuses(statement(end(old), (new, "subject")), "is not by that key")
    judge.refuses(statement(end(old), (new, "subject", {"kid": kid_of(old)})),
                  "is not by that key")
    judge.refuses(statement(end(old), (old, "subject")), "the key is another", "--key",
                  judge.file(public_pem(new)))
    judge.refuses(statement(end(old), (old, "subject"), (new, "subject")), "", status=MALFORMED)
    judge.refuses(statement(end(old), (old, "subject"), (new, "witness")), "", status=MALFORMED)
    judge.refuses(statement(end(old), (old, "subject")), "played again", "--counter", 5)
    judge.refuses(statement(end(old, created=stamp(NOW + 100)), (old, "subject")), "has not come")


@pytest.mark.parametrize("changes", [
    {"ending": "retired"}, {"ending": "active"}, {"ending": None}, {"reason": None},
    {"reason": "whim"}, {"ending": "retired", "reason": ""}, {"counter": 0}, {"key": None},
    {"key": {}}, {"more": 1}, {"created": ""}, {"id": "a b"}])
def test_an_end_has_its_members_and_no_other(judge, old, changes):
    judge.refuses(statement(end(old, **changes), (old, "subject")), "", status=MALFORMED)


# What an identity says of other things


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [b"", b"x", b"\0\xff\n" * 100, b"z" * (1 << 20)],
                         ids=["empty", "short", "binary", "long"])
def test_a_statement_is_what_its_contract_says(judge, ring, kind, content):
    key = ring.key(kind, "old")
    text = judge.make("signed", "alice", 1, CREATED, "note", judge.file(content), key.path)
    made = json.loads(text)
    assert to_bytes(made["payload"]) == canonical(said(content))
    assert [to_bytes(each["protected"]) for each in made["signatures"]] == [
        canonical(header(key, "signer"))]
    found = judge.holds(text, "--key", judge.file(public_pem(key)))
    assert found["kind"] == "statement" and found["type"] == "note"
    assert to_bytes(found["content"]) == content and found["generation"] == 1


def test_a_statement_is_by_the_key_that_is_known(judge, old, new):
    content = statement(said(b"x"), (old, "signer"))
    done = judge.run(content, status=USAGE)
    assert "--key FILE" in done.stderr and not done.stdout
    judge.refuses(content, "is not by that key", "--key", judge.file(public_pem(new)))
    judge.run(content, "--key", judge.file(public_pem(old)), "--counter", 1, status=USAGE)
    judge.refuses(statement(said(b"x", created=stamp(NOW + 100)), (old, "signer")), "has not come",
                  "--key", judge.file(public_pem(old)))


@pytest.mark.parametrize("kind", ["", "A", "a b", "a/b", "x" * 65, "\n"])
def test_a_statement_s_type_is_a_short_word(judge, old, kind):
    key = judge.file(public_pem(old))
    judge.refuses(statement(said(b"x", kind=kind), (old, "signer")), "", "--key", key,
                  status=MALFORMED)
    answer = judge.make("signed", "alice", 1, CREATED, kind, key, old.path, status=1) \
        if len(kind) < 65 else "error 2 "
    assert answer.startswith("error 2 ")
    for good in ("a", "web4.delegation-1", "x" * 64):
        judge.holds(statement(said(b"x", kind=good), (old, "signer")), "--key", key)


@pytest.mark.parametrize("changes", [
    {"content": "="}, {"content": "A"}, {"content": "AB"}, {"content": None}, {"generation": 0},
    {"content": "A" * 1398104}, {"more": 1}, {"created": ""}, {"id": ""}, {"kind": None}])
def test_a_statement_has_its_members_and_no_other(judge, old, changes):
    judge.refuses(statement(said(b"x", **changes), (old, "signer")), "", "--key",
                  judge.file(public_pem(old)), status=MALFORMED)


def test_long_content_is_not_signed(judge, old):
    answer = judge.make("signed", "alice", 1, CREATED, "note", judge.file(bytes((1 << 20) + 1)),
                        old.path, status=1)
    assert answer.startswith("error 2 ")


# lct witness


class Witness:
    """Somebody with an identity, whose key the test has as well."""

    def __init__(self, user, key):
        self.user, self.key = user, key
        user.lct("import", "wendy", key.path, "--software")

    def witness(self, judge: Judge, content, *options, status: int = 0, identity: str = "wendy"):
        return self.user.lct("witness", judge.file(content), "--as", identity, *options,
                             status=status)


@pytest.fixture(name="wendy")
def fixture_wendy(user, witness) -> Witness:
    return Witness(user, witness)


def of_now(old, new, *signers, **changes) -> dict:
    return statement(succession(old, new, created=stamp(int(time.time())), **changes),
                     *(signers or ((old, "old"), (new, "new"))))


def test_an_identity_witnesses_a_succession(judge, old, new, wendy):
    content = of_now(old, new)
    token = judge.file(verdict(wendy.key, new, at=int(time.time())) + "\n")
    done = wendy.witness(judge, content, "--verdict", token)
    made = json.loads(done.stdout)
    assert made["payload"] == content["payload"] and not done.stderr
    assert made["signatures"][:2] == content["signatures"]
    found = judge.holds(done.stdout, "--trust", judge.trust(wendy.key), "--threshold", 1,
                        "--require-verdicts", now=None)
    assert found["signatures"][2]["verdict"]["evidence"] == "44" * 32


@pytest.mark.parametrize("algorithm", ["ec-p256", "ec-p384", "rsa-2048"])
def test_a_key_in_a_tpm_witnesses(judge, old, new, user, algorithm):
    user.lct("create", "wanda", "--algorithm", algorithm)
    done = user.lct("witness", judge.file(of_now(old, new)), "--as", "lct:wanda")
    assert "without --verdict" in done.stderr
    trust = judge.file({"version": 1, "witnesses": [str(user.public_key("lct:wanda"))]})
    judge.holds(done.stdout, "--trust", trust, "--threshold", 1, now=None)
    again = user.lct("witness", judge.file(done.stdout), "--as", "wanda", status=REFUSED)
    assert "has signed it already" in again.stderr and not again.stdout


def test_who_witnesses_without_the_old_key_is_told(judge, old, new, wendy):
    done = wendy.witness(judge, of_now(old, new, (new, "new")))
    assert "the old key has not signed" in done.stderr
    assert len(json.loads(done.stdout)["signatures"]) == 2


def test_what_is_not_sound_is_not_witnessed(judge, ring, old, new, wendy):
    stranger = ring.key("p256", "stranger")
    future = statement(succession(old, new, created=stamp(int(time.time()) + 200)), (old, "old"),
                       (new, "new"))
    spoiled = of_now(old, new)
    spoiled["signatures"][0]["signature"] = spoiled["signatures"][1]["signature"]
    for content, reason in ((of_now(old, new, (old, "old")), "new key has not signed"),
                            (of_now(old, new, (stranger, "old"), (new, "new")), "not by that key"),
                            (of_now(old, new, (old, "old"), (stranger, "new")), "not by that key"),
                            (spoiled, "not by that key"), (future, "has not come"),
                            (of_now(wendy.key, new, (wendy.key, "old"), (new, "new")),
                             "its own witness"),
                            (of_now(old, wendy.key, (old, "old"), (wendy.key, "new")),
                             "its own witness")):
        done = wendy.witness(judge, content, status=REFUSED)
        assert reason in done.stderr and not done.stdout, done.stderr
    for content in (statement(end(old), (old, "subject")), "{}", "", "[" * (1 << 20),
                    verdict(wendy.key, new)):
        done = wendy.witness(judge, content, status=MALFORMED)
        assert not done.stdout


def test_a_verdict_that_is_not_good_is_not_signed_over(judge, old, new, other, wendy):
    now = int(time.time())
    claims = CLAIMS | {"key_resident": {"outcome": "fail", "reason": "no"}}
    for token, reason in ((verdict(other, new, at=now), "is not its own"),
                          (verdict(wendy.key, old, at=now), "another key"),
                          (verdict(wendy.key, new, at=now - 86401), "was not valid"),
                          (verdict(wendy.key, new, at=now, claims=claims), "in a TPM"),
                          (verdict(wendy.key, new, at=now, id="bob"), "another identity"),
                          ("e30.e30.e30", "can be read"), ("", "can be read")):
        done = wendy.witness(judge, of_now(old, new), "--verdict", judge.file(token),
                             status=REFUSED)
        assert reason in done.stderr and not done.stdout, done.stderr
    done = wendy.witness(judge, of_now(old, new), "--verdict", judge.file("a\nb"),
                         status=MALFORMED)
    assert "one line" in done.stderr


def test_witness_says_how_it_is_used(judge, old, new, wendy):
    content = judge.file(of_now(old, new))
    assert "--as ID" in wendy.user.lct("witness", content, status=USAGE).stderr
    wendy.user.lct("witness", "-", "--as", "wendy", "--verdict", "-", status=USAGE)
    wendy.user.lct("witness", content, "--as", "nobody", status=3)
    wendy.user.lct("witness", "missing", "--as", "wendy", status=18)
    done = wendy.user.lct("witness", "-", "--as", "wendy", stdin=content.read_bytes())
    assert len(json.loads(done.stdout)["signatures"]) == 3
