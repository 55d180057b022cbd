# SPDX-License-Identifier: Apache-2.0
"""
The documents of an attestation, by another hand than lct's, and a verifier who asks lct for them
and judges what a real TPM answers. forger.py has what TPMs write, prover.py who answers without
one, x509.py certificates, maker.py TPMs with certificates.
"""

import base64
import hashlib
import json
import struct

from forger import name_of, sized

SWTPM_VENDOR = "00001014"
CREDENTIAL, STATE = "credential", "lct-attestation-state"
EXPECTED = ["signed", "ak_fit", "ak_bound", "ek_genuine", "fresh", "key_resident",
            "non_extractable", "key_fit", "key_usable_now"]
DIRECT = [claim for claim in EXPECTED if claim not in ("signed", "ak_fit", "ak_bound")]


def to_bytes(text: str) -> bytes:
    """base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def to_text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def offered_name(offered: dict) -> str:
    return name_of(to_bytes(offered["public"])[2:]).hex()


def canonical(document: dict) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def message(challenge: dict, slot: str) -> bytes:
    """What a part of evidence is tied to: its slot, the challenge, and the offer in that."""
    digest = hashlib.sha256(canonical(challenge)).digest()
    transcript = hashlib.sha256(b"LCT-ATTEST-v1\0" + digest).digest()
    return f"LCT-ATTEST-v1 {slot}".encode() + b"\0" + transcript


def offer_of(key: bytes, ak: bytes, *eks: tuple[bytes, bytes | None], chain=(), issuers=(),
             parent: bytes | None = None, passphrase: bool = False, seal: dict | None = None,
             **members) -> dict:
    """Of public areas, each a TPMT_PUBLIC, the EKs' with their certificates."""
    return {"type": "lct-attestation-offer", "version": 1, "id": "alice", "generation": 1,
            "tpm": "a TPM", "software_tpm": False,
            "key": {"public": to_text(sized(key)), "parent": parent and to_text(sized(parent)),
                    "passphrase": passphrase, "seal": seal},
            "ak": {"public": to_text(sized(ak)), "certificates": [to_text(each) for each in chain]},
            "eks": [{"public": to_text(sized(ek)),
                     "certificate": certificate and to_text(certificate)}
                    for ek, certificate in eks],
            "issuers": [to_text(each) for each in issuers]} | members


def challenge_of(offer: dict, **members) -> dict:
    """Without a credential and a quote, unless they are among the members."""
    return {"type": "lct-attestation-challenge", "version": 1, "challenge": "a1" * 16, "mode": "ak",
            "nonce": "b2" * 32, "created": "2026-06-01T00:00:00Z",
            "expires": "2026-06-01T00:05:00Z", "ek": None, "credential": None, "pcrs": None,
            "offer": offer} | members


def credential_of(id_object: bytes, secret: bytes) -> dict:
    return {"id_object": to_text(id_object), "secret": to_text(secret)}


def attested_of(attest: bytes, signature: bytes) -> dict:
    return {"attest": to_text(attest), "signature": to_text(signature)}


def evidence_of(challenge: dict, possession: bytes = b"possession", **parts) -> dict:
    """With the proof of possession alone, unless there are other parts."""
    return {"type": "lct-attestation-evidence", "version": 1, "challenge": challenge,
            "activation": None, "certify": None, "quote": None,
            "possession": {"scheme": "ecdsa", "hash": "sha256", "signature": to_text(possession)},
            "eventlog": None} | parts


def extra_data(attest: bytes) -> bytes:
    """Of a TPMS_ATTEST, TPM 2.0 Part 2, 10.12.12."""
    assert attest[:4] == b"\xffTCG"
    at = 8 + struct.unpack_from(">H", attest, 6)[0]
    return attest[at + 2:at + 2 + struct.unpack_from(">H", attest, at)[0]]


def outcomes(verdict: str, status: int = 0) -> dict[str, str]:
    """What came out for each claim, by a verdict in JSON that came with this exit status."""
    found = json.loads(verdict)
    assert found["holds"] == (status == 0), found
    assert all(claim["reason"] for claim in found["claims"].values())
    return {name: claim["outcome"] for name, claim in found["claims"].items()}


class Verifier:
    """Who trusts the maker of a TPM, asks for proofs and judges them; needs no TPM."""

    def __init__(self, user, maker, **trust):
        self.user = user
        roots = {"ek_roots": [str(maker.ca / "issuercert.pem")]} if "ek_keys" not in trust else {}
        self.trust = user.write("trust.json", json.dumps(
            {"version": 1, "vendors": [SWTPM_VENDOR]} | roots | trust))
        self.num_states = 0

    @property
    def state(self):
        """The last one that was made."""
        return self.user.path(f"state{self.num_states}")

    def challenge(self, offer: str, *options, status: int = 0) -> str:
        """A new one, of an offer as it was sent."""
        self.num_states += 1
        return self.user.lct("attest", "challenge", "--trust", self.trust, "--state", self.state,
                             *options, self.user.write("offer.json", offer), status=status).stdout

    def judge(self, evidence: str, status: int = 0, **options):
        """Of the last challenge; `options` without a value are True."""
        given = [part for name, value in options.items()
                 for part in (f"--{name.replace('_', '-')}", *([] if value is True else [value]))]
        return self.user.lct("verify", "--trust", self.trust, "--state", self.state, *given,
                             self.user.write("evidence.json", evidence), status=status)

    def claims(self, evidence: str, status: int = 0, **options) -> dict[str, str]:
        return outcomes(self.judge(evidence, status, json=True, **options).stdout, status)
