# SPDX-License-Identifier: Apache-2.0
"""
What is asked of the TPM at each step, counted there: by the kernel's resource manager, where a key
is kept, and without one, where three slots are everybody's.
"""

import contextlib
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import tpmrm
from population import approve, boot_another, make_authority
from result import Commands
from setting import TIMEOUT, Failed, Setting, User, make_peers_key
from tpm import Proxy, Swtpm

WAYS = {"tpmrm": tpmrm.Tpmrm, "bare": Proxy}
SIGNATURES, HANDSHAKES = 4, 12
EITHER = "sha256:7"  # as it was, or what the authority approves
WARM = 3  # handshakes that are not steady yet
KEYS = {  # beside "plain", of which every step is told
    "persistent": "persistent key", "rsa": "RSA key", "passphrase": "passphrase key",
    "strict": "sealed, strict", "literal": "sealed, literal branch",
    "literal-passphrase": "the same, passphrase", "approved": "sealed, approved branch",
    "approved-passphrase": "the same, passphrase", "authority": "sealed, authority alone",
    "revocable": "the same, counter",
}
MADE = {"ec-p256": (), "rsa-2048": ("--algorithm", "rsa-2048"), "sealed": ("--seal", EITHER)}


class Counted:
    """The commands since they were asked for last, of what the TPM is behind."""

    def __init__(self, way: Proxy | tpmrm.Tpmrm):
        self._codes = way.codes
        self._seen = len(self._codes)

    def take(self) -> list[str]:
        new = self._codes[self._seen:]
        self._seen += len(new)
        return [getattr(code, "name", f"{code:#x}") for code in new]

    def settle(self) -> list[str]:
        """As take, once nothing more has come for a while."""
        found, more = [], None
        while more != []:
            time.sleep(0.2)
            more = self.take()
            found += more
        return found


def steps(setting: Setting, user: User, counted: Counted, key: str) -> dict[str, list[str]]:
    """Of one program: what loading its providers and its key took, each signature, and its end."""
    found = {}
    with subprocess.Popen([setting.program("steps"), key], env=user.env, cwd=user.directory,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as program:
        names = ["begun", "providers", "key", *(f"signature {i + 1}" for i in range(SIGNATURES))]
        for name in names:
            if not program.stdout.readline():
                raise Failed(f"steps {key}: {program.stderr.read().strip()}")
            found[name] = counted.take()
            if name != names[-1]:
                program.stdin.write("\n")
                program.stdin.flush()
        program.stdin.close()
        if program.wait(TIMEOUT) != 0:
            raise Failed(f"steps {key}: {program.stderr.read().strip()}")
    found["end"] = counted.settle()
    return found


def handshake(port: int, version: ssl.TLSVersion):
    """A full one; resumption takes a ticket, which is not kept."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        with context.wrap_socket(connection) as tls:
            tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while tls.recv(4096):
                pass


@contextlib.contextmanager
def server(user: User, key: str) -> Iterator[int]:
    """The port of an s_server that has a certificate of the key, and ends after all handshakes."""
    user.run("openssl", "req", "-x509", "-key", key, "-subj", "/CN=localhost", "-out", "crt.pem")
    words = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-naccept",
             str(WARM + HANDSHAKES + 1), "-key", key, "-cert", "crt.pem"]
    with subprocess.Popen(words, env=user.env, cwd=user.directory, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True) as process:
        said = ""
        while not (port := re.search(r"ACCEPT \S*:(\d+)\n", said)):
            if not (line := process.stdout.readline()):
                raise Failed(f"s_server: {said}")
            said += line
        try:
            yield int(port[1])
        except BaseException:
            process.terminate()
            raise
        process.communicate(timeout=TIMEOUT)


def handshakes(user: User, counted: Counted, key: str,
               version: ssl.TLSVersion) -> tuple[list[str], str]:
    """Those of one handshake, if each takes the same; else of all, which is noted."""
    with server(user, key) as port:
        for _ in range(WARM):
            handshake(port, version)
        counted.take()
        for _ in range(HANDSHAKES):
            handshake(port, version)
        codes = counted.settle()
        handshake(port, version)  # it ends after that
    counted.settle()
    one = codes[:len(codes) // HANDSHAKES]
    return (one, "") if codes == one * HANDSHAKES else (codes, f"of {HANDSHAKES} handshakes")


def in_full(setting: Setting, user: User, counted: Counted, name: str,
            key: str) -> Iterator[Commands]:
    """Every step."""
    found = steps(setting, user, counted, key)
    yield Commands(f"{name}: provider load", found["providers"])
    yield Commands(f"{name}: key load", found["key"])
    yield from in_short(found, name)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        try:
            codes, note = handshakes(user, counted, key, version)
        except ssl.SSLError as error:
            codes, note = counted.settle(), f"fails: {error.reason}"
        yield Commands(f"{name}: {version.name.replace('_', '.')} handshake", codes, note)


def in_short(found: dict[str, list[str]], name: str) -> Iterator[Commands]:
    """The signatures, and what comes after them."""
    yield Commands(f"{name}: first signature", found["signature 1"])
    if found["signature 2"] != found[f"signature {SIGNATURES}"]:
        yield Commands(f"{name}: second", found["signature 2"])
    yield Commands(f"{name}: each further", found[f"signature {SIGNATURES}"])
    if found["end"]:
        yield Commands(f"{name}: end of the program", found["end"])


def make_keys(setting: Setting, user: User, tpm: Swtpm, secret: Path):
    """One of each kind. What is approved was sealed before the boot state changed."""
    def create(name: str, *options):
        locked = ("--passphrase-file", secret) if "passphrase" in name else ()
        user.run(setting.lct, "create", name, *options, *locked)

    create("plain")
    create("rsa", "--algorithm", "rsa-2048")
    create("passphrase")
    create("persistent")
    user.run(setting.lct, "persist", "persistent")
    make_authority(setting, user, secret)
    create("approved", "--seal", EITHER)
    create("approved-passphrase", "--seal", EITHER)
    create("authority", "--seal", f"authority:{EITHER}")
    create("revocable", "--seal", f"authority:{EITHER}", "--revocable")
    boot_another(tpm)
    approve(setting, user, secret, "approved", "revocable")
    create("strict", "--seal", f"strict:{EITHER}")
    create("literal", "--seal", EITHER)
    create("literal-passphrase", "--seal", EITHER)


def ours(setting: Setting, way: str, tpm: Swtpm,
         made: Proxy | tpmrm.Tpmrm) -> Iterator[Commands]:
    secret = setting.secret()
    user = setting.user(made.tcti, passphrase_file=str(secret))
    make_keys(setting, user, tpm, secret)
    user.run(setting.lct, "sign", "passphrase", stdin=b"x")  # some TPMs want the first try twice
    counted = Counted(made)
    yield from in_full(setting, user, counted, f"lct, {way}, unsealed key", "lct:plain")
    for key, name in KEYS.items():
        yield from in_short(steps(setting, user, counted, f"lct:{key}"), f"lct, {way}, {name}")
    counted.settle()
    for number, (name, options) in enumerate(MADE.items()):
        user.run(setting.lct, "create", f"made{number}", *options)
        yield Commands(f"lct, {way}: lct create, {name}", counted.take())


def theirs(setting: Setting, way: str, made: Proxy | tpmrm.Tpmrm, name: str) -> Iterator[Commands]:
    """tpm2-openssl, with a key that it made; the digests of TLS are not to be made in the TPM."""
    user = setting.peer(name, made.tcti)
    user.conf.write_text(user.conf.read_text().replace(
        "[openssl_init]\n", "[openssl_init]\nalg_section = algorithms\n", 1) +
        "\n[algorithms]\ndefault_properties = ?tpm2.digest!=yes\n")
    key = make_peers_key(user, "-pkeyopt", "parent:0x81000001")
    yield from in_full(setting, user, Counted(made), f"{name}, {way}", str(key))


def run(setting: Setting) -> Iterator[Commands]:
    for way, kind in WAYS.items():
        tpm = setting.tpm()
        try:
            made = kind(setting.fresh(way), tpm)
        except tpmrm.CannotMount as error:
            yield Commands(f"lct, {way}", [], note=str(error))
            continue
        try:
            yield from ours(setting, way, tpm, made)
            for name in setting.peers:
                tpm.flush()  # what the one before has left
                yield from theirs(setting, way, made, name)
        finally:
            made.stop()
