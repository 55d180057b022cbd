# SPDX-License-Identifier: Apache-2.0
"""
Who answers in a TPM's place: lies about single responses of a TPM that is there, each made of what
it says; and a storage key of the adversary's own with no TPM behind it.
"""

import dataclasses
import hashlib
import os
import struct
import zlib
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from forger import name_of, sized
from prover import kdfa
from tpm import NO_SESSIONS, SESSIONS, SRK, Command, response
from tpmrm import code_of

HEADER = 10
# Commands whose response begins with a handle: TPM 2.0 Part 3.
GIVES_HANDLE = (Command.CreatePrimary, Command.Load, Command.LoadExternal,
                Command.StartAuthSession)
# Nothing, a password's, hierarchies, each kind of handle there is, and the most.
HANDLES = (0, 0x40000009, 0x40000001, 0x40000007, 0x81000001, 0x80000000, 0x80000001, 0x80FFFFFF,
           0x80FFFFFD, 0x02000000, 0x03000000, 0x01800000, 0xFFFFFFFF)
WORDS = (0, 1, 0x7FFF, 0xFFFF)
NULL_HIERARCHY = 0x40000007
RC_FAILURE = 0x101
STORAGE = 0x30472  # fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, ...


def whole(tag: int, rc: int, body: bytes) -> bytes:
    """A response that is as long as it says."""
    return struct.pack(">HII", tag, HEADER + len(body), rc) + body


def with_body(answer: bytes, body: bytes) -> bytes:
    return answer[:2] + struct.pack(">I", HEADER + len(body)) + answer[6:HEADER] + body


def changed(answer: bytes, at: int, content: bytes) -> bytes:
    return answer[:at] + content + answer[at + len(content):]


# A lie is made of the command, of what the TPM answers, and of what it has answered before.
@dataclasses.dataclass(frozen=True)
class Lie:
    name: str
    tell: Callable[[bytes, bytes, list], bytes]
    asks: bool = True  # the TPM does what it was told; else it only seems so

    def __str__(self):
        return self.name


def parameters_at(code: int) -> int:
    """Where the size of the parameters is, with a session."""
    return HEADER + (4 if code in GIVES_HANDLE else 0)


def cut_to(length: int) -> Lie:
    return Lie(f"cut to {length}",
               lambda _command, answer, _before: with_body(answer, answer[HEADER:length]))


def longer_by(more: int) -> Lie:
    return Lie(f"longer by {more}",
               lambda _command, answer, _before: with_body(answer, answer[HEADER:] + bytes(more)))


def byte(at: int, bits: int) -> Lie:
    """One byte is another."""
    return Lie(f"byte {at} ^ {bits:#x}", lambda _command, answer, _before: changed(
        answer, at, bytes([answer[at] ^ bits])) if at < len(answer) else answer)


def word(at: int, value: int) -> Lie:
    """Two bytes: a size, a selector, a hash, wherever there is one."""
    return Lie(f"word {at} = {value:#x}", lambda _command, answer, _before: changed(
        answer, at, struct.pack(">H", value)) if at + 2 <= len(answer) else answer)


def parameter_size(what: str, of: Callable[[int], int]) -> Lie:
    def tell(command, answer, _before):
        at = parameters_at(code_of(command))
        if answer[:2] != struct.pack(">H", SESSIONS) or len(answer) < at + 4:
            return answer
        told = struct.unpack_from(">I", answer, at)[0]
        return changed(answer, at, struct.pack(">I", of(told) & 0xFFFFFFFF))

    return Lie(f"{what} parameters", tell)


def parameters_grown(by: int) -> Lie:
    """More parameters than belong there, and their size says so."""
    def tell(command, answer, _before):
        at = parameters_at(code_of(command))
        if answer[:2] != struct.pack(">H", SESSIONS) or len(answer) < at + 4:
            return answer
        size = struct.unpack_from(">I", answer, at)[0]
        end = at + 4 + size
        return with_body(answer, answer[HEADER:at] + struct.pack(">I", size + by)
                         + answer[at + 4:end] + bytes(by) + answer[end:])

    return Lie(f"parameters grown by {by}", tell)


def handle(value: int) -> Lie:
    def tell(command, answer, _before):
        gives = code_of(command) in GIVES_HANDLE and len(answer) > HEADER
        return changed(answer, HEADER, struct.pack(">I", value)) if gives else answer

    return Lie(f"handle {value:#x}", tell)


def wrong_hmac(at: int) -> Lie:
    """What ends a response with a session is an HMAC, which a bit of is flipped."""
    def tell(_command, answer, _before):
        if answer[:2] != struct.pack(">H", SESSIONS):
            return answer
        return changed(answer, len(answer) - at, bytes([answer[-at] ^ 1]))

    return Lie(f"HMAC, {at} from its end", tell)


def replay(nth: int, same: bool, asks: bool) -> Lie:
    """The nth response before, to the same command, or to another one."""
    def tell(command, answer, before):
        found = [said for asked, said in before if (asked == code_of(command)) == same
                 and said != answer and code_of(said) == 0]
        return found[-nth] if len(found) >= nth else answer

    kind = "the same command" if same else "another command"
    return Lie(f"response {nth} before, of {kind}{'' if asks else ', and nothing is done'}", tell,
               asks)


def name_for_name(names: list[bytes], shift: int) -> Lie:
    """Each Name that is known is another of them."""
    def tell(_command, answer, _before):
        for at, name in enumerate(names):
            if name in answer:
                return answer.replace(name, names[(at + shift) % len(names)])
        return answer

    return Lie(f"a Name for another ({shift})", tell)


FIXED_LIES = [
    Lie("bare success", lambda _command, _answer, _before: response(0)),
    Lie("bare success, and nothing is done", lambda _command, _answer, _before: response(0), False),
    Lie("bare success with a session", lambda _command, _answer, _before: whole(SESSIONS, 0, b"")),
    Lie("nothing but zeros", lambda _command, answer, _before: with_body(
        answer, bytes(len(answer) - HEADER))),
    Lie("the other tag", lambda _command, answer, _before: changed(
        answer, 1, bytes([answer[1] ^ 3]))),
    Lie("no tag", lambda _command, answer, _before: bytes(2) + answer[2:]),
    Lie("a command's tag and code", lambda command, _answer, _before: command),
    Lie("an error that has parameters", lambda _command, answer, _before: changed(
        answer, 6, struct.pack(">I", RC_FAILURE))),
    Lie("as long as gets", lambda _command, answer, _before: with_body(
        answer, (answer[HEADER:] + bytes(4096))[:4096 - HEADER])),
    Lie("all ones", lambda _command, answer, _before: with_body(
        answer, b"\xff" * (len(answer) - HEADER))),
    parameter_size("no", lambda _told: 0),
    parameter_size("one byte less of", lambda told: told - 1),
    parameter_size("one byte more of", lambda told: told + 1),
    parameter_size("2 GB of", lambda _told: 0x7FFFFFFF),
    parameter_size("4 GB of", lambda _told: 0xFFFFFFFF),
    parameter_size("4 GB less 14 bytes of", lambda _told: 0xFFFFFFF2),
    *(parameters_grown(by) for by in (1, 64, 3000)), *(longer_by(more) for more in (1, 5, 3000)),
    *(handle(value) for value in HANDLES), *(wrong_hmac(at) for at in (1, 16, 33, 36)),
    *(replay(nth, same, asks) for nth in (1, 2, 5) for same in (True, False)
      for asks in (True, False))]


def lies_about(answer: bytes) -> list[Lie]:
    """All that there are about a response of this length."""
    spoilt = range(6, len(answer))  # a size that is wrong is waited for: test_transports.py
    return [*FIXED_LIES, *(cut_to(length) for length in range(HEADER, len(answer))),
            *(byte(at, bits) for at in spoilt for bits in (0x01, 0x80, 0xFF)),
            *(word(at, value) for at in range(HEADER, len(answer) - 1) for value in WORDS)]


class Liar:
    """A hook for each command of a proxy or of a device: tells one lie, and writes all down."""

    def __init__(self):
        self.bus = []  # what was said in either direction, also to and by the TPM behind
        self.before = []  # what the TPM has answered: the command's code, the response
        self.codes, self.answers = [], []  # of this run
        self.lie, self.at, self.lasts = None, 0, False

    def begin(self, lie: Lie | None = None, at: int = 0, lasts: bool = False):
        """
        A lie about the response to the command of that number from now, counted from 0. `lasts`:
        about each one to such a command from there on.
        """
        self.bus, self.codes, self.answers = [], [], []
        self.before = self.before[-200:]
        self.lie, self.at, self.lasts = lie, at, lasts

    def _is_told(self) -> bool:
        number = len(self.codes) - 1
        if self.lie is None or number < self.at:
            return False
        return number == self.at or (self.lasts and self.codes[-1] == self.codes[self.at])

    def answer(self, command: bytes, ask) -> bytes:
        code = code_of(command)
        self.codes.append(code)
        self.bus.append(command)
        told = self._is_told()
        if told and not self.lie.asks:
            honest = response(0)
        else:
            honest = ask()
            self.bus.append(honest)
        answer = self.lie.tell(command, honest, self.before) if told else honest
        if honest and (not told or self.lie.asks):
            self.before.append((code, honest))
        self.answers.append(answer)
        self.bus.append(answer)
        return answer


def forms(secret: bytes) -> list[bytes]:
    """How it might be there: as it is, without zeros at its end, hashed."""
    bare = secret.rstrip(b"\0")
    return [secret, bare, *(hashlib.new(name, each).digest()
                            for name in ("sha1", "sha256") for each in (secret, bare))]


def is_among(secret: bytes, messages: list[bytes]) -> bool:
    return any(form in message for form in forms(secret) for message in messages)


def always_first(cases: list, name_of_case: Callable) -> list:
    """In an order of no meaning, which is always the same."""
    return sorted(cases, key=lambda case: zlib.crc32(name_of_case(case).encode()))


class StorageKey:
    """
    A storage key whose private half is the adversary's, in the place of the TPM's: it opens what is
    encrypted to it. `claimed`: the Name that it says it has.
    """

    def __init__(self, claimed: bytes | None = None):
        self.private = ec.generate_private_key(ec.SECP256R1())
        point = self.private.public_key().public_numbers()
        self.x, y = point.x.to_bytes(32), point.y.to_bytes(32)
        self.public = (struct.pack(">HHIH", 0x23, 0x0B, STORAGE, 0)
                       + struct.pack(">HHHHHH", 6, 128, 0x43, 0x10, 3, 0x10)
                       + sized(self.x) + sized(y))
        self.name = claimed or name_of(self.public)
        self.nonce = os.urandom(32)
        self.session = None  # its key, and its nonce of the caller
        self.opened = []  # what was encrypted in commands

    def read_public(self, command: bytes, ask) -> bytes:
        """TPM2_ReadPublic of what is at the storage root key's handle."""
        if struct.unpack_from(">I", command, HEADER)[0] != SRK:
            return ask()
        body = sized(self.public) + sized(self.name) + sized(self.name)
        return whole(NO_SESSIONS, 0, body)

    def create_primary(self, command: bytes, ask) -> bytes:
        """TPM2_CreatePrimary: what the TPM has made, in the clothes of the adversary's key."""
        answer = ask()
        if code_of(answer) != 0 or struct.unpack_from(">I", command, HEADER)[0] == NULL_HIERARCHY:
            return answer
        at = HEADER + 4 + 4
        size = struct.unpack_from(">H", answer, at)[0]
        end = HEADER + 8 + struct.unpack_from(">I", answer, HEADER + 4)[0]
        rest = answer[at + 2 + size:end]
        old = struct.pack(">H", 0x0B) + hashlib.sha256(answer[at + 2:at + 2 + size]).digest()
        parameters = sized(self.public) + rest.replace(old, self.name)
        return with_body(answer, answer[HEADER:HEADER + 4] + struct.pack(">I", len(parameters))
                         + parameters + answer[end:])

    def start_session(self, command: bytes, ask) -> bytes:
        """TPM2_StartAuthSession: the salt is opened, and the session is the adversary's."""
        key, _bind, nonce_size = struct.unpack_from(">IIH", command, HEADER)
        if key == NULL_HIERARCHY:
            return ask()
        at = HEADER + 10
        nonce = command[at:at + nonce_size]
        at += nonce_size + 4  # the sizes of the nonce that was, and of the salt and of its x
        x, y = command[at:at + 32], command[at + 34:at + 66]
        peer = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y),
                                             ec.SECP256R1()).public_key()
        shared = self.private.exchange(ec.ECDH(), peer)
        seed = hashlib.sha256(struct.pack(">I", 1) + shared + b"SECRET\0" + x + self.x).digest()
        self.session = kdfa("sha256", seed, b"ATH", self.nonce + nonce, 256)
        return whole(NO_SESSIONS, 0, struct.pack(">I", 0x02000000) + sized(self.nonce))

    def create(self, command: bytes, _ask) -> bytes:
        """TPM2_Create: what is sensitive is opened, and that is all there was to learn."""
        size = struct.unpack_from(">I", command, HEADER + 4)[0]
        line = command[HEADER + 8:HEADER + 8 + size]
        nonce = line[6:6 + struct.unpack_from(">H", line, 4)[0]]
        at = HEADER + 8 + size
        hidden = command[at + 2:at + 2 + struct.unpack_from(">H", command, at)[0]]
        if self.session is not None:
            bits = kdfa("sha256", self.session, b"CFB", nonce + self.nonce, 256)
            cipher = Cipher(algorithms.AES(bits[:16]), modes.CFB(bits[16:])).decryptor()
            self.opened.append(cipher.update(hidden) + cipher.finalize())
        return response(RC_FAILURE)

    def take_place(self, proxy):
        proxy.hook(Command.ReadPublic, self.read_public)
        proxy.hook(Command.CreatePrimary, self.create_primary)
        proxy.hook(Command.StartAuthSession, self.start_session)
        proxy.hook(Command.Create, self.create)
