# SPDX-License-Identifier: Apache-2.0
"""Web4's documents by another hand than lct's: keys as Multikeys, names, bindings and proofs."""

import base64
import hashlib
import json

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (decode_dss_signature,
                                                             encode_dss_signature)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from attesting import canonical, to_bytes, to_text

CONTEXT = "https://web4.io/contexts/lct.jsonld"
CONTENT_TYPE, TYP = "application/web4+cbor", "web4-lct+jws"
ALG, CONTENT, KID, ES256, EDDSA, SIGN1 = 1, 3, 4, -7, -8, 18
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
ECDSA = ec.ECDSA(hashes.SHA256())
CREATED = "2026-06-01T00:00:00Z"


def is_ed25519(public) -> bool:
    return isinstance(public, ed25519.Ed25519PublicKey)


def raw(public) -> bytes:
    """The 33 bytes of a compressed point, or the 32 of an Ed25519 key."""
    if is_ed25519(public):
        return public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def name_of(public) -> str:
    digits = base64.b32encode(hashlib.sha256(raw(public)).digest()).decode()
    return "lct:web4:mb32:b" + digits.lower().rstrip("=")


def base58(content: bytes) -> str:
    number, text = int.from_bytes(content, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return text


def multikey(public) -> str:
    codec = b"\xed\x01" if is_ed25519(public) else b"\x80\x24"
    return "z" + base58(codec + raw(public))


def sign(key, message: bytes) -> bytes:
    """As COSE and JOSE have it: r and s, or Ed25519's."""
    if is_ed25519(key.public_key()):
        return key.sign(message)
    r, s = decode_dss_signature(key.sign(message, ECDSA))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def is_signed(public, signature: bytes, message: bytes) -> bool:
    try:
        if is_ed25519(public):
            public.verify(signature, message)
        else:
            public.verify(encode_dss_signature(int.from_bytes(signature[:32], "big"),
                                               int.from_bytes(signature[32:], "big")),
                          message, ECDSA)
    except InvalidSignature:
        return False
    return len(signature) == 64


def payload_of(binding: dict) -> bytes:
    """What binding_proof is over: RFC 8949, 4.2."""
    return cbor2.dumps({name: value for name, value in binding.items() if name != "binding_proof"},
                       canonical=True)


def to_be_signed(header: bytes, payload: bytes) -> bytes:
    """Sig_structure, RFC 9052, 4.4."""
    return cbor2.dumps(["Signature1", header, b"", payload], canonical=True)


def header_of(key, kid: str | None = None, **changes) -> dict:
    public = key.public_key()
    return {ALG: EDDSA if is_ed25519(public) else ES256, CONTENT: CONTENT_TYPE,
            KID: (kid or name_of(public)).encode()} | changes


def proof_of(key, binding: dict, header: dict | None = None, payload: bytes | None = None) -> str:
    protected = cbor2.dumps(header or header_of(key), canonical=True)
    payload = payload_of(binding) if payload is None else payload
    signature = sign(key, to_be_signed(protected, payload))
    return "cose:" + to_text(cbor2.dumps(cbor2.CBORTag(SIGN1, [protected, {}, payload, signature])))


def document_of(key, lineage=None, **binding) -> dict:
    """A whole one, well signed. `binding` are members of that, in place of or beside the usual."""
    public = key.public_key()
    members = {"entity_type": "device", "public_key": multikey(public),
               "created_at": CREATED} | binding
    if "binding_proof" not in members:
        members["binding_proof"] = proof_of(key, members)
    quarter = {"composite_score": 0.1}
    return {"@context": [CONTEXT], "@type": "web4:LinkedContextToken", "lct_id": name_of(public),
            "subject": "did:web4:key:" + multikey(public), "binding": members,
            "mrh": {"bound": [], "paired": [], "witnessing": [], "horizon_depth": 3,
                    "last_updated": CREATED},
            "policy": {"capabilities": [], "constraints": {}},
            "t3_tensor": {"talent": 0.1, "training": 0.1, "temperament": 0.1} | quarter,
            "v3_tensor": {"valuation": 0, "veracity": 0, "validity": 0, "composite_score": 0},
            "revocation": {"status": "active", "ts": None, "reason": None},
            **({} if lineage is None else {"lineage": lineage})}


def jws_of(key, document: dict | bytes, **header) -> str:
    """A compact JWS, RFC 7515, 7.1."""
    public = key.public_key()
    header = {"alg": "EdDSA" if is_ed25519(public) else "ES256", "kid": name_of(public),
              "typ": TYP} | header
    payload = document if isinstance(document, bytes) else canonical(document)
    message = f"{to_text(canonical(header))}.{to_text(payload)}"
    return f"{message}.{to_text(sign(key, message.encode()))}"


def check_proof(document: dict, public) -> dict:
    """That binding_proof is one by the key; its protected header."""
    binding = document["binding"]
    kind, _, text = binding["binding_proof"].partition(":")
    content = to_bytes(text)
    tagged = cbor2.loads(content)
    assert kind == "cose" and tagged.tag == SIGN1
    protected, unprotected, payload, signature = tagged.value
    assert unprotected == {}
    assert payload == payload_of(binding)
    assert is_signed(public, signature, to_be_signed(protected, payload))
    header = cbor2.loads(protected)
    assert cbor2.dumps(header, canonical=True) == protected
    assert cbor2.dumps(tagged, canonical=True) == content
    return header


def check_jws(jws: str, public) -> tuple[dict, dict]:
    """That it is one by the key over a canonical document; its header and that."""
    header, payload, signature = jws.strip().split(".")
    assert is_signed(public, to_bytes(signature), f"{header}.{payload}".encode())
    document = json.loads(to_bytes(payload))
    assert canonical(document) == to_bytes(payload)
    return json.loads(to_bytes(header)), document
