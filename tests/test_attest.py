# SPDX-License-Identifier: Apache-2.0
"""Remote attestation, the side that has the TPM: lct attest offer, lct attest respond."""

import hashlib
import json
import os

import pytest

from attesting import (CREDENTIAL, DIRECT, EXPECTED, STATE, Verifier, extra_data, message,
                       offered_name, to_bytes, to_text)
from maker import P384_CERT, RSA_CERT, evict, put, read_index
from sealing import fingerprint, measure
from test_command import one_sentence
from test_eventlog import Log
from test_passphrase import on_a_terminal
from tpm import SRK
from x509 import spki_of

USAGE, NOT_FOUND, BAD_ID, BAD_RECORD, AUTH, OTHER_TPM, WRONG_KEY = 2, 3, 5, 6, 12, 13, 14
UNSUPPORTED = 15
IO, SEALED, MALFORMED, REFUSED = 18, 20, 22, 23
SECRET, WRONG, PASSPHRASE = "the endorsement's own", "not the endorsement's", "the key's own"
CHAIN = 0x01C00100
HANDLE = 0x81000100
HEADER = Log("sha256").content
PARTS = ("offer", "challenge", "respond", "issue", "show", "export")
SIGNING = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign"
IDENTITIES = {"plain": [], "p384": ["--algorithm", "ec-p384"], "rsa": ["--algorithm", "rsa-2048"]}


@pytest.fixture(name="verifier")
def fixture_verifier(make_user, maker) -> Verifier:
    return Verifier(make_user("none"), maker)


@pytest.fixture(name="prover")
def fixture_prover(holder):
    """Who has a TPM with EK certificates and the identity alice."""
    holder.lct("create", "alice")
    return holder


def offer(user, identity: str = "alice", *options, status: int = 0) -> str:
    return user.lct("attest", "offer", identity, *options, status=status).stdout


def respond(user, challenge: str, *options, status: int = 0) -> str:
    """The answer, or the sentence that says why there is none."""
    done = user.lct("attest", "respond", *options, user.write("challenge.json", challenge),
                    status=status)
    if status == 0:
        return done.stdout
    assert done.stdout == ""
    return one_sentence(done.stderr)


def refuse(user, challenge: dict, status: int, *options) -> str:
    return respond(user, json.dumps(challenge), *options, status=status)


def asked(verifier, user, *options) -> dict:
    """A challenge of what alice offers."""
    return json.loads(verifier.challenge(offer(user), *options))


def software_key(user, name: str) -> None:
    user.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out",
                 name)


def certificate_of(user, public_key: str, name: str = "ak.crt") -> str:
    """By a software authority, with the authority's own behind it."""
    software_key(user, "ca.key")
    user.openssl("req", "-x509", "-key", "ca.key", "-subj", "/CN=witness", "-days", "2", "-out",
                 "ca.crt")
    software_key(user, "any.key")
    user.openssl("req", "-new", "-key", "any.key", "-subj", "/CN=any", "-out", "any.csr")
    user.openssl("x509", "-req", "-in", "any.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days",
                 "2", "-force_pubkey", user.write("forced.pem", public_key), "-out", "leaf.crt")
    chain = user.path("leaf.crt").read_text() + user.path("ca.crt").read_text()
    user.write(name, chain)
    return chain


def ecc_pem(user, public: bytes) -> str:
    """A P-256 key of a TPM2B_PUBLIC: its coordinates are at the end."""
    spki = spki_of(public[-66:-34] + public[-32:])
    return user.openssl("pkey", "-pubin", "-inform", "DER", stdin=spki).stdout


# Usage


@pytest.mark.parametrize("words, said", [
    ([], "usage: lct attest offer|challenge|"), (["prove"], 'no part "prove"'),
    (["offer"], "usage: lct attest offer ID "), (["respond"], "usage: lct attest respond "),
    (["offer", "a", "b"], "usage: lct attest offer "), (["a" * 100], "no part"),
    (["offer", "--eventlog", "x", "a"], "--eventlog is not an option here; see lct help attest of"),
    (["respond", "--eventlog"], "--eventlog takes an argument"),
    (["respond", "--eventlog", "a", "--eventlog", "b", "c"], "--eventlog was given twice")])
def test_attest_says_how_it_is_used(user, words, said):
    done = user.lct("attest", *words, status=USAGE)
    assert said in one_sentence(done.stderr) and done.stdout == ""


@pytest.mark.parametrize("words", [["help", "attest"], ["attest", "--help"]])
def test_help_lists_the_parts_of_attest(user, words):
    shown = user.lct(*words).stdout
    for part in PARTS:
        assert f"\n  {part} " in shown


@pytest.mark.parametrize("part", PARTS)
def test_help_explains_each_part_of_attest(user, part):
    shown = user.lct("help", "attest", part).stdout
    assert shown.startswith(f"usage: lct attest {part} ")
    assert user.lct("attest", part, "--help").stdout == shown
    done = user.lct("help", "attest", part + "s", status=USAGE)
    assert f'no command "attest {part}s"' in one_sentence(done.stderr)


def test_options_of_all_subcommands_may_stand_before_attest(prover):
    done = prover.lct("--store", prover.store, "attest", "--tcti", prover.tcti, "offer", "alice")
    assert json.loads(done.stdout)["id"] == "alice"


@pytest.mark.parametrize("identity, status", [("nobody", NOT_FOUND), ("../alice", BAD_ID),
                                              ("lct:nobody", NOT_FOUND)])
def test_an_identity_that_is_not_there_offers_nothing(holder, identity, status):
    assert offer(holder, identity, status=status) == ""


# What is offered


@pytest.mark.parametrize("kind", IDENTITIES)
def test_an_offer_says_what_is_known_of_the_key_and_its_tpm(holder, certified, kind):
    holder.lct("create", "alice", *IDENTITIES[kind])
    found = json.loads(offer(holder, "lct:alice"))
    shown = json.loads(holder.lct("show", "alice", "--json").stdout)
    assert (found["type"], found["version"]) == ("lct-attestation-offer", 1)
    assert (found["id"], found["generation"]) == ("alice", 1)
    assert (found["tpm"], found["software_tpm"]) == (shown["tpm"], True)
    key = found["key"]
    assert offered_name(key) == shown["name"]
    assert (key["seal"], key["passphrase"]) == (None, False)
    assert offered_name({"public": key["parent"]}) == shown["parent"]["name"]
    certified.tool("tpm2_readpublic", "-c", hex(SRK), "-f", "tss", "-o", "srk")
    assert to_bytes(key["parent"]) == (certified.directory / "srk").read_bytes()


def test_an_offer_has_the_endorsement_keys_that_lct_ek_shows(prover, certified):
    found = json.loads(offer(prover))
    eks = json.loads(prover.lct("ek", "--json").stdout)["eks"]
    assert [offered_name(ek) for ek in found["eks"]] == [ek["name"] for ek in eks]
    assert [to_bytes(ek["certificate"]) for ek in found["eks"]] == [
        read_index(certified, index) for index in (RSA_CERT, P384_CERT)]
    for ek, handle in zip(found["eks"], ("0x81010001", "0x81010016")):
        certified.tool("tpm2_readpublic", "-c", handle, "-f", "tss", "-o", "ek")
        assert to_bytes(ek["public"]) == (certified.directory / "ek").read_bytes()
    assert found["issuers"] == [] and found["ak"]["certificates"] == []


def test_the_same_is_offered_of_endorsement_keys_that_are_made_anew(prover, certified):
    before = json.loads(offer(prover))
    evict(certified)
    assert json.loads(offer(prover)) == before
    assert certified.persistent() == [SRK]


def test_the_attestation_key_is_of_the_tpm_and_not_of_the_identity(prover, certified,
                                                                   make_certified, make_user):
    prover.lct("create", "bob")
    first, second = (json.loads(offer(prover, name)) for name in ("alice", "bob"))
    assert first["ak"] == second["ak"] and first["key"] != second["key"]
    certified.stop()
    certified.start()
    assert json.loads(offer(prover))["ak"] == first["ak"]
    other = make_user(make_certified(1).tcti)
    other.lct("create", "alice")
    assert json.loads(offer(other))["ak"] != first["ak"]


def test_an_endorsement_key_is_offered_without_a_certificate_of_another(prover, certified,
                                                                        make_certified, make_user):
    other = make_certified(1)
    put(certified, RSA_CERT, read_index(other, RSA_CERT))
    found = json.loads(offer(prover))
    assert [ek["certificate"] is None for ek in found["eks"]] == [True, False]
    assert offered_name(found["eks"][0]) == json.loads(
        prover.lct("ek", "--json", status=WRONG_KEY).stdout)["eks"][0]["name"]


def test_a_damaged_certificate_is_not_offered(prover, certified):
    put(certified, RSA_CERT, bytes(200))
    assert json.loads(offer(prover))["eks"][0]["certificate"] is None


def test_issuers_that_the_tpm_keeps_are_offered(prover, certified, maker):
    der = prover.openssl("x509", "-in", maker.ca / "issuercert.pem", "-outform", "DER",
                         text=False).stdout
    put(certified, CHAIN, der)
    assert [to_bytes(issuer) for issuer in json.loads(offer(prover))["issuers"]] == [der]


def test_a_tpm_without_certificates_offers_its_keys(make_tpm, make_user):
    user = make_user(make_tpm().tcti)
    user.lct("create", "alice")
    eks = json.loads(user.lct("ek", "--json").stdout)["eks"]
    found = json.loads(offer(user))["eks"]
    assert [offered_name(ek) for ek in found] == [ek["name"] for ek in eks]
    assert [ek["certificate"] for ek in found] == [None, None]


def put_key(user, tpm, algorithm: str = "ecc256"):
    """Of other tools, at a persistent handle."""
    tpm.tool("tpm2_createprimary", "-C", "o", "-G", algorithm, "-a", SIGNING, "-c", "k.ctx")
    tpm.flush()
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "k.ctx", hex(HANDLE))
    tpm.flush()
    user.lct("import", "alice", hex(HANDLE))


def test_no_parent_is_known_of_a_key_at_a_handle(holder, certified):
    put_key(holder, certified)
    assert json.loads(offer(holder))["key"]["parent"] is None


def test_a_parent_that_is_made_anew_is_offered(holder, certified):
    holder.configure(provision="no")
    holder.lct("create", "alice")
    found = json.loads(offer(holder))["key"]["parent"]
    assert offered_name({"public": found}) == json.loads(
        holder.lct("show", "alice", "--json").stdout)["parent"]["name"]
    assert SRK not in certified.persistent()


def test_a_key_of_a_tpm_that_was_cleared_is_not_offered(prover, certified):
    certified.tool("tpm2_clear", "-c", "p")
    done = prover.lct("attest", "offer", "alice", status=OTHER_TPM)
    assert "lct:alice: " in one_sentence(done.stderr) and done.stdout == ""
    prover.lct("create", "bob", "--new-parent")
    done = prover.lct("attest", "offer", "alice", status=OTHER_TPM)
    assert "its storage key is a different one" in one_sentence(done.stderr)


def test_the_certificate_of_the_attestation_key_is_offered_with_its_issuers(prover):
    found = json.loads(offer(prover))
    chain = certificate_of(prover, ecc_pem(prover, to_bytes(found["ak"]["public"])))
    given = json.loads(offer(prover, "alice", "--ak-cert", "ak.crt"))
    for number, der in enumerate(given["ak"]["certificates"]):
        prover.write(f"{number}.der", to_bytes(der))
    assert chain == "".join(prover.openssl("x509", "-in", f"{number}.der").stdout
                            for number in range(2))
    assert given["ak"]["public"] == found["ak"]["public"]


def test_a_certificate_of_another_key_is_not_offered_as_the_attestation_key_s(prover):
    software_key(prover, "other.key")
    certificate_of(prover, prover.openssl("pkey", "-in", "other.key", "-pubout").stdout)
    done = prover.lct("attest", "offer", "alice", "--ak-cert", "ak.crt", status=WRONG_KEY)
    assert "is not of this TPM's" in one_sentence(done.stderr) and done.stdout == ""


@pytest.mark.parametrize("content, status", [
    ("", BAD_RECORD), ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                       BAD_RECORD), (None, IO)])
def test_what_is_no_certificate_is_said_by_its_file_s_name(prover, content, status):
    if content is not None:
        prover.write("ak.crt", content)
    done = prover.lct("attest", "offer", "alice", "--ak-cert", "ak.crt", status=status)
    assert one_sentence(done.stderr).startswith("ak.crt")


def test_a_private_key_among_the_certificates_is_refused(prover):
    software_key(prover, "key.pem")
    done = prover.lct("attest", "offer", "alice", "--ak-cert", "key.pem", status=BAD_RECORD)
    assert "key.pem" in one_sentence(done.stderr)


# The endorsement hierarchy's authorization


@pytest.mark.parametrize("given, status", [(SECRET, 0), (WRONG, AUTH), (None, AUTH)],
                         ids=["right", "wrong", "none"])
def test_offering_takes_the_endorsement_hierarchy_s_authorization(prover, certified, make_proxy,
                                                                  given, status):
    proxy = make_proxy(certified)
    certified.tool("tpm2_changeauth", "-c", "endorsement", SECRET)
    prover.tcti = proxy.tcti
    prover.configure(endorsement_auth_file=prover.write("secret", f"{given}\n") if given else None)
    done = prover.lct("attest", "offer", "alice", status=status)
    if status:
        said = one_sentence(done.stderr)
        assert ("refuses" if given else "set endorsement_auth_file") in said
        assert said.startswith("lct:alice: ") and done.stdout == ""
    assert not any(SECRET.encode() in message for message in proxy.messages)


def test_the_endorsement_hierarchy_s_authorization_is_asked_for(prover, certified, verifier):
    challenge = verifier.challenge(offer(prover))
    certified.tool("tpm2_changeauth", "-c", "endorsement", SECRET)
    prover.write("challenge.json", challenge)
    for words in (["offer", "alice"], ["respond", "challenge.json"]):
        seen = on_a_terminal(prover, [prover.build / "lct", "attest", *words], SECRET)
        assert seen.startswith("0 "), seen
        assert "authorization of the TPM's endorsement hierarchy:" in seen
        assert SECRET not in seen


def test_nothing_is_asked_where_the_endorsement_hierarchy_has_no_authorization(prover):
    seen = on_a_terminal(prover, [prover.build / "lct", "attest", "offer", "alice"])
    assert seen.startswith("0 ") and "authorization" not in seen


@pytest.mark.parametrize("there", [True, False], ids=["persistent", "made anew"])
@pytest.mark.parametrize("number", [0, 1], ids=["rsa", "p384"])
def test_answering_takes_the_endorsement_hierarchy_s_authorization(
        prover, certified, make_proxy, make_user, maker, there, number):
    proxy = make_proxy(certified)
    eks = json.loads(prover.lct("ek", "--json").stdout)["eks"]
    verifier = Verifier(make_user("none"), maker, ek_keys=[eks[number]["sha256"]])
    certified.tool("tpm2_changeauth", "-c", "endorsement", SECRET)
    if not there:
        evict(certified)
    prover.tcti = proxy.tcti
    prover.configure(endorsement_auth_file=prover.write("secret", SECRET + "\n"))
    challenge = verifier.challenge(offer(prover))
    assert json.loads(challenge)["ek"] == eks[number]["name"]
    assert passed(verifier.claims(respond(prover, challenge))) >= set(EXPECTED)
    prover.write("secret", WRONG + "\n")
    assert "refuses" in respond(prover, challenge, status=AUTH)
    assert not any(SECRET.encode() in message for message in proxy.messages)


# From the offer to the verdict


def passed(claims: dict[str, str]) -> set[str]:
    assert "fail" not in claims.values(), claims
    return {name for name, outcome in claims.items() if outcome == "pass"}


@pytest.mark.parametrize("kind", IDENTITIES)
@pytest.mark.parametrize("options, expected", [
    ([], {*EXPECTED, "boot_state"}), (["--pcrs", "none"], set(EXPECTED)),
    (["--pcrs", "sha256:7"], {*EXPECTED, "boot_state"}), (["--mode", "direct"], set(DIRECT))],
    ids=["default", "without quote", "one PCR", "direct"])
def test_an_answer_proves_what_was_offered(holder, certified, verifier, kind, options, expected):
    measure(certified, *range(8), banks=("sha256",))
    holder.lct("create", "alice", *IDENTITIES[kind])
    challenge = verifier.challenge(offer(holder), *options)
    found = passed(verifier.claims(respond(holder, challenge)))
    assert found >= expected - {"boot_state"}
    assert found <= expected


@pytest.mark.parametrize("mode", ["ak", "direct"])
@pytest.mark.parametrize("number, there", [(0, True), (0, False), (1, True), (1, False)],
                         ids=["rsa", "rsa made anew", "p384", "p384 made anew"])
def test_an_answer_is_by_the_endorsement_key_that_is_trusted(prover, certified, make_user, maker,
                                                             number, there, mode):
    eks = json.loads(prover.lct("ek", "--json").stdout)["eks"]
    verifier = Verifier(make_user("none"), maker, ek_keys=[eks[number]["sha256"]])
    if not there:
        evict(certified)
    challenge = verifier.challenge(offer(prover), "--mode", mode)
    assert json.loads(challenge)["ek"] == eks[number]["name"]
    expected = EXPECTED if mode == "ak" else DIRECT
    assert passed(verifier.claims(respond(prover, challenge))) >= set(expected)


def believes(make_user, maker, authority) -> Verifier:
    """Who takes the seals of this authority."""
    policies = {"pcrs": "sha256:0,7", "authorities": [fingerprint(authority.pem)]}
    return Verifier(make_user("none"), maker, policies=policies)


def test_a_sealed_key_is_proved_with_its_seal(make_sealer, certified, make_user, maker, authority):
    verifier = believes(make_user, maker, authority)
    sealer = make_sealer(certified)
    sealer.lct("create", "alice")
    offered = offer(sealer)
    assert json.loads(offered)["key"]["seal"]["kind"] == "either"
    claims = verifier.claims(respond(sealer, verifier.challenge(offered)))
    assert passed(claims) >= set(EXPECTED)
    assert claims["sealed"] == "pass"


@pytest.mark.parametrize("mode", ["ak", "direct"])
def test_a_key_that_is_sealed_to_another_state_makes_no_evidence(make_sealer, certified, verifier,
                                                                 mode):
    sealer = make_sealer(certified)
    sealer.lct("create", "alice")
    challenge = verifier.challenge(offer(sealer), "--mode", mode)
    measure(certified, 7)
    said = respond(sealer, challenge, status=SEALED)
    assert said.startswith("no evidence was made: lct:alice: ") and "PCR 7" in said


@pytest.mark.parametrize("mode", ["ak", "direct"])
def test_a_key_with_a_passphrase_answers_with_it(holder, certified, make_proxy, verifier, mode):
    proxy = make_proxy(certified)
    holder.tcti = proxy.tcti
    holder.configure()
    secret = holder.write("secret", PASSPHRASE + "\n")
    holder.lct("create", "alice", "--passphrase-file", secret)
    offered = offer(holder)
    assert json.loads(offered)["key"]["passphrase"] is True
    challenge = verifier.challenge(offered, "--mode", mode)
    evidence = respond(holder, challenge, "--passphrase-file", secret)
    assert passed(verifier.claims(evidence)) >= set(EXPECTED if mode == "ak" else DIRECT)
    assert not any(PASSPHRASE.encode() in message for message in proxy.messages)
    seen = on_a_terminal(holder, [holder.build / "lct", "attest", "respond", "challenge.json"],
                         PASSPHRASE)
    assert seen.startswith("0 ") and "passphrase of lct:alice" in seen


def test_a_wrong_passphrase_is_tried_once(holder, certified, verifier):
    holder.lct("create", "alice", "--passphrase-file", holder.write("secret", PASSPHRASE + "\n"))
    challenge = verifier.challenge(offer(holder))
    said = respond(holder, challenge, "--passphrase-file", holder.write("secret", WRONG + "\n"),
                   status=AUTH)
    assert "passphrase" in said and said.startswith("lct:alice: ")
    assert "passphrase of lct:alice is needed" in respond(holder, challenge, status=AUTH)
    certified.lockout_count += 1  # what the fixture finds, if it was tried once


def test_a_sealed_key_with_a_passphrase_answers(make_sealer, certified, make_user, maker,
                                                authority):
    verifier = believes(make_user, maker, authority)
    sealer = make_sealer(certified)
    secret = sealer.write("secret", PASSPHRASE + "\n")
    sealer.lct("create", "alice", "--passphrase-file", secret)
    challenge = verifier.challenge(offer(sealer))
    evidence = respond(sealer, challenge, "--passphrase-file", secret)
    assert passed(verifier.claims(evidence)) >= {*EXPECTED, "sealed"}


def test_a_key_whose_parent_is_made_anew_answers(holder, verifier):
    holder.configure(provision="no")
    holder.lct("create", "alice")
    evidence = respond(holder, verifier.challenge(offer(holder)))
    assert passed(verifier.claims(evidence)) >= set(EXPECTED)


@pytest.mark.parametrize("algorithm, scheme", [
    ("ecc256", "ecdsa"), ("ecc384:ecdsa-sha384", "ecdsa"), ("rsa2048:rsapss-sha256:null", "rsapss"),
    ("rsa2048:rsassa-sha384:null", "rsassa")])
def test_a_key_of_other_tools_answers_by_the_scheme_that_it_is_bound_to(holder, certified, verifier,
                                                                        algorithm, scheme):
    put_key(holder, certified, algorithm)
    evidence = respond(holder, verifier.challenge(offer(holder)))
    assert json.loads(evidence)["possession"]["scheme"] == scheme
    assert passed(verifier.claims(evidence)) >= set(EXPECTED)


def test_of_a_key_that_was_made_elsewhere_it_is_not_proved_that_it_cannot_leave(holder, verifier):
    software_key(holder, "key.pem")
    holder.lct("import", "alice", "key.pem", "--software")
    evidence = respond(holder, verifier.challenge(offer(holder)))
    claims = verifier.claims(evidence, status=REFUSED)
    assert claims["non_extractable"] == "fail"
    assert claims["key_usable_now"] == claims["key_resident"] == "pass"


def test_an_answer_may_come_through_pipes(prover, verifier):
    challenge = verifier.challenge(offer(prover))
    done = prover.lct("attest", "respond", "-", stdin=challenge)
    assert passed(verifier.claims(done.stdout)) >= set(EXPECTED)


def test_each_part_of_an_answer_is_of_this_challenge_and_no_other_part_s(prover, verifier):
    challenge = asked(verifier, prover)
    evidence = json.loads(respond(prover, json.dumps(challenge)))
    assert evidence["challenge"] == challenge
    for slot in ("certify", "quote"):
        assert extra_data(to_bytes(evidence[slot]["attest"])) == hashlib.sha256(
            message(challenge, slot)).digest()
    possession = evidence["possession"]
    assert (possession["scheme"], possession["hash"]) == ("ecdsa", "sha256")
    prover.verify(prover.public_key("lct:alice"),
                  prover.write("signature", to_bytes(possession["signature"])),
                  prover.write("message", message(challenge, "possession")))


def test_what_the_challenge_does_not_ask_for_is_not_sent(prover, verifier):
    log = prover.write("log", b"a log")
    direct = json.loads(respond(prover, verifier.challenge(offer(prover), "--mode", "direct"),
                                "--eventlog", log))
    assert (direct["certify"], direct["quote"], direct["eventlog"]) == (None, None, None)
    certified = json.loads(respond(prover, verifier.challenge(offer(prover), "--pcrs", "none"),
                                   "--eventlog", log))
    assert certified["certify"] is not None
    assert (certified["quote"], certified["eventlog"]) == (None, None)


def test_a_quote_of_a_bank_that_the_tpm_does_not_keep_is_refused(prover, verifier):
    challenge = verifier.challenge(offer(prover), "--pcrs", "sha384:7")
    assert "sha384" in respond(prover, challenge, status=UNSUPPORTED)


def test_a_quote_has_the_values_that_the_pcrs_hold(prover, certified, verifier):
    measure(certified, 0, 7, banks=("sha256",))
    challenge = verifier.challenge(offer(prover), "--pcrs", "sha256:0,7,14")
    held = json.loads(prover.lct("pcrs", "sha256:0,7,14").stdout)["values"]
    assert json.loads(respond(prover, challenge))["quote"]["values"] == held


# The event log


def test_an_event_log_is_sent_with_a_quote(prover, verifier):
    challenge = verifier.challenge(offer(prover))
    log = prover.write("log", HEADER + os.urandom(1000))
    evidence = json.loads(respond(prover, challenge, "--eventlog", log))
    assert to_bytes(evidence["eventlog"]) == log.read_bytes()
    assert json.loads(respond(prover, challenge, "--eventlog", "none"))["eventlog"] is None


def test_an_event_log_that_was_asked_for_is_there_and_not_too_long(prover, verifier):
    challenge = verifier.challenge(offer(prover))
    assert respond(prover, challenge, "--eventlog", "absent", status=IO).startswith("absent ")
    prover.write("log", bytes((4 << 20) + 1))
    assert "longer than" in respond(prover, challenge, "--eventlog", "log", status=USAGE)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n" * 9, HEADER[:-1],
                                     b"\x01" + HEADER[1:], HEADER.replace(b"03", b"02")])
def test_another_file_is_not_sent_as_the_event_log(prover, verifier, content):
    challenge = verifier.challenge(offer(prover))
    said = respond(prover, challenge, "--eventlog", prover.write("log", content), status=MALFORMED)
    assert "it is no event log" in said and said.endswith("it is not sent")


# What is refused


@pytest.mark.parametrize("content, said", [
    ("", "it is empty"), ("[]", "no JSON object"), ("{}", "it is not a challenge, as lct attest"),
    ('{"type": 3}', "it is not a challenge"), ('{"type": "a", "type": "b"}', "a member twice"),
    ("{" * 1000, "no JSON object"), ('{"type": "lct-attestation-ch', "it is cut off")])
def test_what_is_no_challenge_is_said_by_its_file_s_name(prover, content, said):
    assert respond(prover, content, status=MALFORMED).startswith(f"{prover.path('challenge.json')}")
    assert said in respond(prover, content, status=MALFORMED)


def test_other_documents_are_not_taken_for_a_challenge(prover, verifier):
    offered = offer(prover)
    challenge = verifier.challenge(offered)
    state = verifier.state.read_text()
    assert json.loads(state)["type"] == STATE
    for other, words in ((offered, "an offer, as"), (state, "the state of a challenge"),
                         (respond(prover, challenge), "evidence, as lct attest respond")):
        said = respond(prover, other, status=MALFORMED)
        assert f"it is {words}" in said
        assert said.endswith("; what is taken is a challenge, as lct attest challenge makes it")


def test_a_challenge_that_cannot_be_read_is_an_error(prover):
    done = prover.lct("attest", "respond", "absent", status=IO)
    assert one_sentence(done.stderr).startswith("absent ")
    prover.write("long", b" " * ((8 << 20) + 1))
    prover.lct("attest", "respond", "long", status=MALFORMED)


@pytest.mark.parametrize("identity, status", [("nobody", NOT_FOUND), ("../alice", BAD_ID),
                                              ("/etc/passwd", BAD_ID)])
def test_a_challenge_is_not_answered_for_an_identity_that_is_not_there(prover, verifier, identity,
                                                                       status):
    challenge = asked(verifier, prover)
    challenge["offer"]["id"] = identity
    refuse(prover, challenge, status)


def other_seal() -> dict:
    return {"kind": "auth"}


CHANGES = {
    "generation": ("generation", lambda offer, bob: offer.update(generation=2)),
    "key": ("key", lambda offer, bob: offer["key"].update(public=bob["key"]["public"])),
    "seal": ("seal", lambda offer, bob: offer["key"].update(seal=other_seal())),
    "passphrase": ("passphrase", lambda offer, bob: offer["key"].update(passphrase=True)),
    "tpm": ("TPM", lambda offer, bob: offer.update(tpm="INTC Genuine")),
    "software": ("TPM", lambda offer, bob: offer.update(software_tpm=False)),
    "parent": ("storage key", lambda offer, bob: offer["key"].update(
        parent=bob["key"]["parent"])),
    "no parent": ("storage key", lambda offer, bob: offer["key"].update(parent=None)),
    "ak": ("attestation key", lambda offer, bob: offer["ak"].update(public=bob["ak"]["public"])),
    "ak is the key": ("attestation key", lambda offer, bob: offer["ak"].update(
        public=offer["key"]["public"])),
}


@pytest.fixture(name="bob")
def fixture_bob(make_certified, make_user):
    """Who has another TPM of the same maker, and an identity that is called alice, too."""
    user = make_user(make_certified(1).tcti)
    user.lct("create", "alice")
    return user


@pytest.mark.parametrize("change", CHANGES)
def test_an_offer_that_was_changed_on_its_way_is_not_borne_out(prover, verifier, bob, change):
    what, apply = CHANGES[change]
    offered = json.loads(offer(prover))
    apply(offered, json.loads(offer(bob)))
    challenge = verifier.challenge(json.dumps(offered))
    said = respond(prover, challenge, status=WRONG_KEY)
    assert said.startswith("lct:alice: ") and f"its {what} is another" in said


def test_a_seal_that_was_taken_out_of_an_offer_is_missed(make_sealer, certified, verifier):
    sealer = make_sealer(certified)
    sealer.lct("create", "alice")
    offered = json.loads(offer(sealer))
    offered["key"]["seal"] = None
    said = respond(sealer, verifier.challenge(json.dumps(offered)), status=WRONG_KEY)
    assert "its seal is another" in said


def test_a_challenge_of_one_identity_is_not_answered_for_another(prover, verifier):
    prover.lct("create", "bob")
    challenge = asked(verifier, prover)
    challenge["offer"]["id"] = "bob"
    assert refuse(prover, challenge, WRONG_KEY).startswith("lct:bob: ")


def test_another_tpm_s_challenge_is_not_answered(prover, verifier, bob):
    challenge = asked(verifier, bob)
    assert "its key is another" in refuse(prover, challenge, WRONG_KEY)


def test_an_endorsement_key_of_another_tpm_in_an_offer_is_found_out(prover, verifier, bob):
    """Whose owner would be told a secret that is to prove that this TPM has the key."""
    offered = json.loads(offer(prover))
    offered["eks"] = json.loads(offer(bob))["eks"]
    said = respond(prover, verifier.challenge(json.dumps(offered)), status=REFUSED)
    assert said.startswith("lct:alice: ") and "for another TPM" in said


def test_an_expired_challenge_is_not_answered(prover, verifier):
    challenge = asked(verifier, prover)
    challenge["expires"] = "2026-01-01T00:00:00Z"
    said = refuse(prover, challenge, REFUSED)
    assert "the challenge held until 2026-01-01T00:00:00Z" in said


def test_a_clock_that_is_set_back_answers_an_expired_challenge(prover, verifier):
    """The verifier's clock is the one that counts."""
    challenge = asked(verifier, prover)
    prover.preload = [*prover.preload, str(prover.build / "tests/preload_time.so")]
    prover.env["LCT_TIME_SHIFT"] = str(100 * 86400)
    assert "the challenge held until" in refuse(prover, challenge, REFUSED)
    prover.env["LCT_TIME_SHIFT"] = "-60"
    respond(prover, json.dumps(challenge))


@pytest.mark.parametrize("part, at", [("id_object", 0), ("id_object", 5), ("id_object", -1),
                                      ("secret", 0), ("secret", -1)])
@pytest.mark.parametrize("mode", ["ak", "direct"])
def test_a_spoiled_credential_makes_no_evidence(prover, verifier, mode, part, at):
    challenge = asked(verifier, prover, "--mode", mode)
    content = bytearray(to_bytes(challenge[CREDENTIAL][part]))
    content[at] ^= 1
    challenge[CREDENTIAL][part] = to_text(content)
    assert refuse(prover, challenge, OTHER_TPM).startswith("lct:alice: ")


@pytest.mark.parametrize("part", ["id_object", "secret"])
def test_a_credential_of_the_wrong_size_makes_no_evidence(prover, verifier, part):
    challenge = asked(verifier, prover)
    content = to_bytes(challenge[CREDENTIAL][part])
    for wrong in (content[:-1], content[:1]):
        challenge[CREDENTIAL][part] = to_text(wrong)
        refuse(prover, challenge, OTHER_TPM)


def test_a_credential_for_another_name_makes_no_evidence(prover, verifier):
    """That of the direct mode is for the key, not for the attestation key."""
    direct, other = (asked(verifier, prover, "--mode", mode) for mode in ("direct", "ak"))
    for challenge, from_other in ((direct, other), (other, direct)):
        swapped = challenge | {CREDENTIAL: from_other[CREDENTIAL]}
        refuse(prover, swapped, OTHER_TPM)


def test_a_credential_for_one_endorsement_key_is_not_opened_with_another(prover, verifier):
    challenge = asked(verifier, prover)
    eks = challenge["offer"]["eks"]
    assert challenge["ek"] == offered_name(eks[0])
    refuse(prover, challenge | {"ek": offered_name(eks[1])}, OTHER_TPM)


def test_evidence_of_one_tpm_is_none_for_the_challenge_of_another(prover, verifier, bob, make_user,
                                                                  maker):
    other = Verifier(make_user("none"), maker)
    evidence = respond(bob, other.challenge(offer(bob)))
    challenge = verifier.challenge(offer(prover))
    verifier.judge(evidence, status=REFUSED)
    assert passed(verifier.claims(respond(prover, challenge))) >= set(EXPECTED)


def test_an_old_key_s_offer_is_not_borne_out_by_a_new_key(prover, verifier):
    challenge = asked(verifier, prover)
    prover.lct("delete", "alice", "--yes")
    prover.lct("create", "alice")
    assert "its key is another" in refuse(prover, challenge, WRONG_KEY)
