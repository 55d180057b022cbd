# SPDX-License-Identifier: Apache-2.0
"""
The fault matrix: each operation, at each of its commands to the TPM, with each fault that
preload_tpm.c knows. It succeeds after a retry or fails with one sentence, and leaves nothing in the
TPM. Here are some of the faults, always the same ones; with --faults all.
"""

import contextlib
import dataclasses
import json
import queue
import re
import shutil
import signal
import struct
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sealing
from conftest import NOISE, User
from keyfile import KeyFile
from tpm import NO_SESSIONS, SESSIONS, SRK, Broker, Command, Swtpm, exchange, wait_for
from tpmrm import CannotMount, Device, Tpmrm, code_of

SHARE = 17  # of the cases one in so many, unless all
LIMIT = 120  # s for a command: it hangs
SECRET, OWNER = "correct horse", "the owner's own"
SEALED_SECRET = "what a service opens its backup with"
OWNER_HANDLE, ENDORSEMENT_HANDLE, LOCKOUT_HANDLE = 0x40000001, 0x4000000B, 0x4000000A
PASSWORD_SESSION = 0x40000009
CHANGE_AUTH, LOCKOUT_RESET = 0x129, 0x139
LOCKOUT_STATUS, LAST_STATUS = 11, 21

RETRY, YIELDED, TESTING = 0x922, 0x908, 0x90A
OBJECT_MEMORY, SESSION_MEMORY, SESSION_HANDLES = 0x902, 0x903, 0x905
NV_RATE, CANCELED, UNKNOWN = 0x920, 0x909, 0x97F
LATER = (RETRY, YIELDED, TESTING, NV_RATE, OBJECT_MEMORY, SESSION_MEMORY, SESSION_HANDLES)
LATER_FOR_EVER = (RETRY, OBJECT_MEMORY)  # each takes seconds, and they are all alike
LOCKOUT, FAILURE, INITIALIZE, AUTH_FAIL, BAD_AUTH = 0x921, 0x101, 0x100, 0x98E, 0x9A2
LOST_HANDLE, LOST_PARAMETER, LOST_OBJECT, LOST_SESSION = 0x18B, 0x1CB, 0x910, 0x918
LOST = (LOST_HANDLE, LOST_PARAMETER, LOST_OBJECT, LOST_SESSION)
CODES = (*LATER, LOCKOUT, FAILURE, INITIALIZE, AUTH_FAIL, BAD_AUTH, *LOST, CANCELED, UNKNOWN)
# Faults of what is between us and the TPM: the next connection is sound again.
TRANSPORT = ("drop-before", "drop-after", "truncate", "header", "garble-header", "garble-size")
KILLS = ("kill-before", "kill-after")
OTHERS = ("garble", "delay=30", "stall")
FAULTS = (*TRANSPORT, *OTHERS, *(f"code={rc:#x}" for rc in CODES),
          *(f"code-after={rc:#x}" for rc in CODES))
# What makes something in the TPM; and among that what may take minutes whatever `timeout` says.
MAKERS = {Command.Load: "object", Command.CreatePrimary: "object",
          Command.LoadExternal: "object", Command.StartAuthSession: "session"}
MADE_SRK = f"lct: made the TPM's storage root key and put it at {SRK:#x}\n"
KEPT_NONE = (f"lct: the TPM keeps no storage root key at {SRK:#x}: its NV memory may be full; "
             "it is made anew each time the key is loaded\n")
# What `lct rotate` and `lct retire` say to people, beside the statement.
SAID = re.compile(r"(lct:k: [^\n]*\n)+")
BY_PASSPHRASE = (Command.Sign, Command.Certify, Command.ActivateCredential, Command.Unseal)
SLOW = (Command.Create, Command.CreatePrimary)


@dataclasses.dataclass(frozen=True)
class Operation:
    """A command to run, and in which TPM; `key` is how lct:k was made before."""

    words: tuple[str, ...]
    key: tuple[str, ...] | None = None
    srk: bool = True
    owner: bool = False
    endorsement: bool = False  # that hierarchy has the owner's authorization, too
    settings: tuple[tuple[str, str], ...] = ()
    handle: int = 0  # where lct:k is in the TPM
    persistent: bool = False  # lct:k is in the TPM besides
    seal: str = "none"  # of lct:k
    approved: int = 0  # the PCR of its seal, which was extended since, and that was approved
    asked: tuple[str, ...] | None = None  # for what it answers, of `lct attest challenge`

    @property
    def imports(self) -> bool:
        """Its identity is made of a file: soft.pem, or what was lct:k's."""
        return self.words[:2] == ("lct", "import")

    @property
    def makes(self) -> bool:
        return self.words[:2] == ("lct", "create") or self.imports

    @property
    def unseals(self) -> bool:
        """It opens a secret that was sealed before; `seal` is that of the secret."""
        return self.words[:2] == ("lct", "unseal")

    @property
    def states(self) -> bool:
        """It changes the record of lct:k, and its answer is a signed statement of that."""
        return self.words[1] in ("rotate", "retire")

    @property
    def attempts(self) -> int:
        """How many signatures a program is asked for; a command: 0."""
        return 4 if self.words[0] == "evp" else 0


NO_PROVISION = ("provision", "no")
OWNER_FILE = ("owner_auth_file", "owner")
PASSPHRASE = ("--passphrase-file", "secret")
QUOTED, DIRECT = ("--pcrs", "sha256:0,7"), ("--mode", "direct")
OPERATIONS = {
    "create": Operation(("lct", "create", "new"), srk=False),
    "create-under": Operation(("lct", "create", "new")),
    "create-passphrase": Operation(("lct", "create", "new", *PASSPHRASE)),
    "create-transient": Operation(("lct", "create", "new"), srk=False, settings=(NO_PROVISION,)),
    "create-owner": Operation(("lct", "create", "new"), srk=False, owner=True,
                              settings=(OWNER_FILE,)),
    "sign": Operation(("lct", "sign", "k"), ()),
    "sign-passphrase": Operation(("lct", "sign", "k", *PASSPHRASE), PASSPHRASE),
    "sign-transient": Operation(("lct", "sign", "k"), (), srk=False, settings=(NO_PROVISION,)),
    "sign-owner": Operation(("lct", "sign", "k"), (), srk=False, owner=True,
                            settings=(NO_PROVISION, OWNER_FILE)),
    "sign-always": Operation(("lct", "sign", "k"), (), settings=(("session", "always"),)),
    "sign-always-transient": Operation(("lct", "sign", "k"), (), srk=False,
                                       settings=(("session", "always"), NO_PROVISION)),
    "check": Operation(("lct", "check", "k"), ()),
    "check-passphrase": Operation(("lct", "check", "k", *PASSPHRASE), PASSPHRASE),
    "sign-handle": Operation(("lct", "sign", "k"), (), handle=0x81000100),
    "sign-handle-passphrase": Operation(("lct", "sign", "k", *PASSPHRASE), PASSPHRASE,
                                        handle=0x81000101),
    "sign-handle-always": Operation(("lct", "sign", "k"), (), handle=0x81000102, srk=False,
                                    settings=(("session", "always"), NO_PROVISION)),
    "sign-persistent": Operation(("lct", "sign", "k"), (), persistent=True),
    "sign-persistent-passphrase": Operation(("lct", "sign", "k", *PASSPHRASE), PASSPHRASE,
                                            persistent=True),
    "sign-persistent-always": Operation(("lct", "sign", "k"), (), persistent=True, srk=False,
                                        settings=(("session", "always"), NO_PROVISION)),
    "program-persistent": Operation(("evp", "attempts", "lct:k"), (), persistent=True),
    "persist": Operation(("lct", "persist", "k"), ()),
    "persist-owner": Operation(("lct", "persist", "k"), (), srk=False, owner=True,
                               settings=(NO_PROVISION, OWNER_FILE)),
    "unpersist": Operation(("lct", "unpersist", "k"), (), persistent=True),
    "unpersist-owner": Operation(("lct", "unpersist", "k"), (), persistent=True, srk=False,
                                 owner=True, settings=(NO_PROVISION, OWNER_FILE)),
    "gc": Operation(("lct", "gc"), (), persistent=True),
    "rotate": Operation(("lct", "rotate", "k"), ()),
    "rotate-passphrase": Operation(("lct", "rotate", "k", *PASSPHRASE, "--new-passphrase-file",
                                    "secret"), PASSPHRASE),
    "rotate-transient": Operation(("lct", "rotate", "k"), (), srk=False, settings=(NO_PROVISION,)),
    "rotate-persistent": Operation(("lct", "rotate", "k"), (), persistent=True),
    "retire": Operation(("lct", "retire", "k", "--yes"), ()),
    "retire-passphrase": Operation(("lct", "retire", "k", "--yes", *PASSPHRASE), PASSPHRASE),
    "import": Operation(("lct", "import", "new", "k.pem"), ()),
    "import-passphrase": Operation(("lct", "import", "new", "k.pem", *PASSPHRASE), PASSPHRASE),
    "import-transient": Operation(("lct", "import", "new", "k.pem"), (), srk=False,
                                  settings=(NO_PROVISION,)),
    "import-owner": Operation(("lct", "import", "new", "k.pem"), (), srk=False, owner=True,
                              settings=(NO_PROVISION, OWNER_FILE)),
    "import-handle": Operation(("lct", "import", "new", "0x81008103"), (), handle=0x81008103),
    "import-software": Operation(("lct", "import", "new", "soft.pem", "--software")),
    "import-software-always": Operation(("lct", "import", "new", "soft.pem", "--software"),
                                        srk=False,
                                        settings=(("session", "always"), NO_PROVISION)),
    "ek": Operation(("lct", "ek")),
    "ek-endorsement": Operation(("lct", "ek"), srk=False, endorsement=True,
                                settings=(("endorsement_auth_file", "owner"),)),
    "offer": Operation(("lct", "attest", "offer", "k"), ()),
    "offer-endorsement": Operation(("lct", "attest", "offer", "k"), (), endorsement=True,
                                   settings=(("endorsement_auth_file", "owner"),)),
    "respond": Operation(("lct", "attest", "respond", "challenge"), (), asked=QUOTED),
    "respond-endorsement": Operation(("lct", "attest", "respond", "challenge"), (), asked=QUOTED,
                                     endorsement=True,
                                     settings=(("endorsement_auth_file", "owner"),)),
    "respond-passphrase": Operation(("lct", "attest", "respond", "challenge", *PASSPHRASE),
                                    PASSPHRASE, asked=QUOTED),
    "respond-direct": Operation(("lct", "attest", "respond", "challenge"), (), asked=DIRECT),
    "respond-direct-passphrase": Operation(("lct", "attest", "respond", "challenge", *PASSPHRASE),
                                           PASSPHRASE, asked=DIRECT),
    "openssl": Operation(("openssl", "dgst", "-sha256", "-sign", "lct:k", "data"), ()),
    "program": Operation(("evp", "attempts", "lct:k"), ()),
    "program-passphrase": Operation(("evp", "attempts", "lct:k"), PASSPHRASE,
                                    settings=(("passphrase_file", "secret"),)),
    "program-transient": Operation(("evp", "attempts", "lct:k"), (), srk=False,
                                   settings=(NO_PROVISION,)),
}
# Each seal is to a PCR of its own, which no other operation extends.
OPERATIONS |= {
    "create-sealed": Operation(("lct", "create", "new", "--seal", "strict:sha256:1")),
    "sign-sealed": Operation(("lct", "sign", "k"), (), seal="strict:sha256:1"),
    "sign-sealed-passphrase": Operation(("lct", "sign", "k", *PASSPHRASE), PASSPHRASE,
                                        seal="strict:sha256:1"),
    "sign-approved": Operation(("lct", "sign", "k"), (), seal="sha256:2", approved=2),
    "respond-sealed": Operation(("lct", "attest", "respond", "challenge"), (), asked=QUOTED,
                                seal="strict:sha256:1"),
    "program-sealed": Operation(("evp", "attempts", "lct:k"), (), seal="strict:sha256:1"),
    "program-approved": Operation(("evp", "attempts", "lct:k"), (), seal="sha256:3", approved=3),
    "rotate-sealed": Operation(("lct", "rotate", "k"), (), seal="strict:sha256:1"),
    "unseal": Operation(("lct", "unseal", "sealed"), seal="strict:sha256:1"),
    "unseal-passphrase": Operation(("lct", "unseal", "sealed", *PASSPHRASE), seal="none"),
}
MANAGED = ("create-under", "create-passphrase", "sign", "sign-passphrase", "sign-always", "check",
           "sign-handle-passphrase", "sign-persistent", "sign-persistent-passphrase",
           "program-persistent", "persist", "unpersist", "rotate", "rotate-passphrase", "retire",
           "import", "import-handle", "import-software", "openssl", "program", "program-passphrase", "sign-approved", "program-sealed", "ek", "offer",
           "respond", "respond-direct-passphrase")


@dataclasses.dataclass(frozen=True)
class Case:
    """A fault at the nth command of an operation; `code` is that command's."""

    operation: str
    at: int
    code: int
    fault: str

    def __str__(self):
        return f"{self.operation}, LCT_TPM_AT={self.at} ({self.code:#x}) LCT_TPM_FAULT={self.fault}"

    @property
    def kind(self) -> str:
        return self.fault.partition("=")[0].rstrip("+")

    @property
    def rc(self) -> int:
        return int(self.fault.rstrip("+").partition("=")[2], 0)

    @property
    def onwards(self) -> bool:
        return self.fault.endswith("+")

    @property
    def is_long(self) -> bool:
        """It goes on asking as long as it may."""
        return self.onwards and self.kind in ("code", "code-after") and self.rc in LATER

    @property
    def has_two_signatures(self) -> bool:
        """The TPM is asked again for one that it has given."""
        return self.kind == "code-after" and self.code in BY_PASSPHRASE and self.rc in LATER

    @property
    def executed(self) -> bool:
        return self.kind not in ("drop-before", "code", "kill-before")


class Swtpms:
    """The way in to a TPM of its own, without a resource manager."""

    managed = False

    def __init__(self, directory: Path):
        self.tpm = Swtpm(directory / "tpm")
        sealing.boot(self.tpm)
        self.tcti, self.env = self.tpm.tcti, {}

    def left_behind(self) -> list[str]:
        return self.tpm.left_behind()

    def takes(self, _case: Case) -> bool:
        return True

    def stop(self):
        self.tpm.stop()

    def ask(self, code: int, handles: tuple[int, ...], password: str, parameters: bytes = b""):
        """A command that a password authorizes."""
        secret = password.encode()
        line = struct.pack(">IHBH", PASSWORD_SESSION, 0, 0, len(secret)) + secret
        body = struct.pack(f">{len(handles)}II", *handles, len(line)) + line + parameters
        answer = exchange(self.tpm.path, struct.pack(">HII", SESSIONS, 10 + len(body), code) + body)
        assert code_of(answer) == 0, answer.hex()

    def flush(self):
        """Throws out what was left by whom we killed, and sets the count of wrong tries to 0."""
        for first in (0x80000000, 0x02000000):
            for handle in self.tpm.handles(first):
                exchange(self.tpm.path, struct.pack(">HIII", NO_SESSIONS, 14, Command.FlushContext,
                                                    handle))
        if self.tpm.property(0x20E) > 0:
            self.ask(LOCKOUT_RESET, (LOCKOUT_HANDLE,), "")

    def authorize(self, hierarchy: int, bit: int, wanted: bool):
        """A hierarchy with or without an authorization; the bit says which it is."""
        if bool(self.tpm.property(0x200) & bit) == wanted:
            return
        old, new = ("", OWNER) if wanted else (OWNER, "")
        secret = new.encode()
        self.ask(CHANGE_AUTH, (hierarchy,), old, struct.pack(">H", len(secret)) + secret)

    def become(self, operation: Operation, make_srk):
        """With or without authorizations and a storage root key."""
        self.authorize(OWNER_HANDLE, 1, operation.owner)
        self.authorize(ENDORSEMENT_HANDLE, 2, operation.endorsement)
        if not operation.srk and SRK in self.tpm.persistent():
            self.ask(Command.EvictControl, (OWNER_HANDLE, SRK), OWNER if operation.owner else "",
                     struct.pack(">I", SRK))
        if operation.srk and SRK not in self.tpm.persistent():
            make_srk()

    def forget(self, operation: Operation):
        """Without the keys that operations before have left at handles: lct looks at them, too."""
        for handle in self.tpm.persistent():
            if 0x81000100 <= handle < 0x81010000:
                self.ask(Command.EvictControl, (OWNER_HANDLE, handle),
                         OWNER if operation.owner else "", struct.pack(">I", handle))


def soon_empty(left_behind) -> list[str]:
    """What is left, for a resource manager that cleans up while nobody waits for it."""
    with contextlib.suppress(AssertionError):
        wait_for(lambda: all("lockout" in each for each in left_behind()), "the TPM to be empty", 5)
    return left_behind()


class Managed(Swtpms):
    """Behind a resource manager."""

    managed = True

    def left_behind(self) -> list[str]:
        return soon_empty(super().left_behind)


class Brokers(Managed):
    """By way of tpm2-abrmd."""

    def __init__(self, directory: Path):
        super().__init__(directory)
        self.broker = Broker(self.tpm)
        self.tcti, self.env = "tabrmd:bus_type=session", self.broker.env

    def stop(self):
        self.broker.end()
        super().stop()


class Devices(Managed):
    """By way of a stand-in for the kernel's resource manager."""

    def __init__(self, directory: Path):
        super().__init__(directory)
        self.device = Tpmrm(directory / "device", self.tpm)
        self.tcti = self.device.tcti

    def stop(self):
        self.device.stop()
        super().stop()


class Kernels:
    """The kernel's own resource manager. Its TPM may be others', too, and has its key at the end."""

    managed = True

    def __init__(self, path: Path):
        self.device = Device(path)
        self.tcti, self.env = self.device.tcti, {}
        self.has_srk = False

    def left_behind(self) -> list[str]:
        return soon_empty(self.device.left_behind)

    def takes(self, case: Case) -> bool:
        """Nobody sets its count of wrong tries to 0."""
        return not case.has_two_signatures

    def stop(self):
        pass

    def flush(self):
        pass

    def become(self, operation: Operation, make_srk):
        assert operation.srk and not operation.owner
        if not self.has_srk:
            make_srk()
        self.has_srk = True

    def forget(self, operation: Operation):
        pass


class Bench:
    """A way in, and a user for each operation."""

    def __init__(self, build: Path, directory: Path, way):
        self.build, self.directory, self.way = build, directory, way
        self.users = {}
        self.secrets = {}

    def user(self, name: str) -> User:
        """Who does that operation, with the identity that it takes."""
        operation = OPERATIONS[name]
        if name not in self.users:
            user = User(self.build, self.directory / name, self.way.tcti)
            user.env |= self.way.env
            for file, text in (("secret", SECRET), ("owner", OWNER), ("data", "what is signed")):
                user.write(file, text)
            self.users[name] = user
            self.way.become(operation, self._make_srk)
            self.way.forget(operation)
            settings = {key: str(user.path(value)) if key.endswith("_file") else value
                        for key, value in operation.settings}
            hurried = user.path("hurried.cnf")
            user.configure(**settings, timeout="1")
            user.conf.rename(hurried)
            user.configure(**settings)
            if operation.words[-1] == "--software":
                user.openssl("genpkey", "-algorithm", "EC", "-pkeyopt",
                             "ec_paramgen_curve:P-256", "-out", "soft.pem")
            if operation.key is not None:
                authority = sealing.Authority.init(user) if operation.approved else None
                user.lct("create", "k", "--seal", operation.seal, *operation.key)
                if authority is not None:
                    sealing.measure(self.way.tpm, operation.approved)
                    user.lct("approve", *authority.options, "k")
                # The first use of a key with a passphrase since the TPM began is TPM_RC_RETRY.
                user.lct("sign", "k", *operation.key, stdin="x", text=False)
                user.public = user.path("public")
                user.openssl("pkey", "-pubin", "-in", "lct:k", "-pubout", "-out", user.public)
                self._put(user, operation)
                if operation.persistent:
                    user.lct("persist", "k")
            if operation.unseals:
                options = operation.words[3:]
                done = user.lct("seal", "--seal", operation.seal, *options, stdin=SEALED_SECRET)
                user.write("sealed", done.stdout)
                user.lct("unseal", "sealed", *options)
            if operation.asked is not None:
                self._ask(user, operation)
            if operation.states:
                shutil.copytree(user.store / "k", user.path("before"))
        self.way.become(operation, self._make_srk)
        return self.users[name]

    def _put(self, user: User, operation: Operation):
        """Puts lct:k where the operation takes it from: to a handle, into a file."""
        if not operation.handle and not operation.imports:
            return
        key = KeyFile.read(user.store / "k" / "key-1.pem")
        key.write(user.path("k.pem"))
        user.lct("delete", "k", "--yes")
        if not operation.handle:
            return
        for name, blob in (("public", key.public), ("private", key.private)):
            (self.way.tpm.directory / name).write_bytes(blob)
        parent = hex(SRK)
        if key.parent != SRK:
            parent = "p.ctx"
            self.way.tpm.tool("tpm2_createprimary", "-C", "o", "-G", "ecc256:aes128cfb", "-c",
                              parent, "-a", "fixedtpm|fixedparent|sensitivedataorigin|"
                              "userwithauth|noda|restricted|decrypt")
            self.way.tpm.flush()
        self.way.tpm.tool("tpm2_load", "-C", parent, "-u", "public", "-r", "private", "-c", "k.ctx")
        self.way.tpm.flush()
        self.way.tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "k.ctx", hex(operation.handle))
        self.way.tpm.flush()
        if not operation.imports:
            user.lct("import", "k", hex(operation.handle), *operation.key)

    def _ask(self, user: User, operation: Operation):
        """A challenge for lct:k, of who knows the TPM's endorsement keys."""
        eks = json.loads(user.lct("ek", "--json").stdout)["eks"]
        user.write("trust.json", json.dumps(
            {"version": 1, "ek_keys": [ek["sha256"] for ek in eks]}))
        user.write("offer", user.lct("attest", "offer", "k").stdout)
        user.write("challenge", user.lct("attest", "challenge", "--trust", "trust.json", "--state",
                                         "state", "--lifetime", "86400", *operation.asked,
                                         "offer").stdout)

    def _make_srk(self):
        user = User(self.build, self.directory / "maker", self.way.tcti)
        user.env |= self.way.env
        shutil.rmtree(user.store, ignore_errors=True)
        user.lct("create", "any")

    def run(self, name: str, fault: str | None = None, at: int = 0) -> "Run":
        """One run of an operation."""
        user = self.user(name)
        operation = OPERATIONS[name]
        program, *words = operation.words
        program = {"lct": self.build / "lct", "evp": self.build / "tests" / "evp"}.get(program,
                                                                                      program)
        log = user.path("log")
        log.unlink(missing_ok=True)
        env = {"LCT_TPM_LOG": str(log)}
        if fault is not None:
            env |= {"LCT_TPM_AT": str(at), "LCT_TPM_FAULT": fault}
            if fault.startswith("stall"):
                env["OPENSSL_CONF"] = str(user.path("hurried.cnf"))
        done = subprocess.run(
            [str(program), *words], cwd=user.directory, check=False, capture_output=True,
            timeout=LIMIT, env=user.environment(env, [self.build / "tests" / "preload_tpm.so"]),
            input=b"\n" * operation.attempts if operation.attempts else b"what is signed")
        codes = [int(line, 16) for line in log.read_text().split()] if log.exists() else []
        errors = done.stderr.decode(errors="replace")
        if operation.makes and not operation.srk:
            errors = errors.replace(MADE_SRK, "", 1).replace(KEPT_NONE, "", 1)
        if operation.states and done.returncode == 0:
            errors = SAID.sub("", errors, 1)
        return Run(user, operation, codes, done.returncode, done.stdout, errors)

    def commands(self, name: str) -> list[int]:
        """Those of an operation without a fault."""
        done = self.run(name)
        self.clear(name)
        assert done.status == 0 and not done.errors and not self.way.left_behind(), done
        return done.codes

    def clear(self, name: str):
        """As it was before the operation."""
        user, operation = self.users[name], OPERATIONS[name]
        if operation.makes:
            shutil.rmtree(user.store, ignore_errors=True)
        if operation.words[1] == "persist":
            user.lct("unpersist", "k", status=None)
            user.lct("gc", "--evict", "--yes")
        if operation.words[1] == "unpersist":
            user.lct("persist", "k")
        if operation.states:
            shutil.rmtree(user.store / "k")
            shutil.copytree(user.path("before"), user.store / "k")


@dataclasses.dataclass
class Run:
    """How an operation came out."""

    user: User
    operation: Operation
    codes: list[int]
    status: int
    output: bytes
    errors: str

    def verifies(self) -> bool:
        signature = self.user.write("signature", self.output)
        done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", self.user.public,
                               "-signature", signature, self.user.path("data")], check=False,
                              env={"OPENSSL_CONF": "/dev/null"}, capture_output=True)
        return done.returncode == 0


def is_document(run: Run) -> bool:
    """What it shows is of this key; an answer is of this challenge, and whole."""
    found = json.loads(run.output)
    if run.operation.asked is None:
        return found["type"] == "lct-attestation-offer" and found["id"] == "k"
    done = run.user.lct("verify", "--trust", "trust.json", "--offline", run.user.write(
        "evidence", run.output), status=None)
    return done.returncode == 24 and found["challenge"] == json.loads(
        run.user.path("challenge").read_text())


def kept_statement(run: Run) -> str:
    """The statement of what the record says, if that has changed; and it holds, else it is none."""
    kept = run.user.lct(run.operation.words[1], "k", "--statement", status=None)
    option = "--key" if run.operation.words[1] == "retire" else "--old-key"
    done = run.user.lct("verify", run.user.write("statement", kept.stdout), option,
                        run.user.public, status=None)
    return kept.stdout if (kept.returncode, done.returncode) == (0, 0) else ""


def is_as_before(run: Run, killed: bool) -> bool:
    """Nothing of lct:k has changed; who is killed may leave a file that no record speaks of."""
    def files(directory: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in directory.iterdir()}

    before, now = files(run.user.path("before")), files(run.user.store / "k")
    return before.items() <= now.items() if killed else before == now


def says_one_thing(run: Run) -> str | None:
    """What is wrong with how it says that it failed."""
    if run.operation.words[0] == "lct":
        if not 1 < run.status <= LAST_STATUS:
            return f"status {run.status}: {run.errors}"
        if not run.errors.startswith("lct: ") or run.errors.count("\n") != 1:
            return f"not one line: {run.errors}"
    else:
        ours = [line for line in run.errors.splitlines() if ":lct:" in line]
        if run.status != 1 or len(ours) != 1:
            return f"status {run.status}, not one reason of ours: {run.errors}"
    if run.output and run.operation.words[1] not in ("check", "ek", "gc"):
        return f"failed, but has output: {run.output!r}"
    return None


def is_as_recorded(run: Run) -> bool:
    """Where the record says that the key is, it is."""
    done = run.user.lct("check", "k", status=None)
    is_there = "is at its persistent handle as well" in done.stdout
    return done.returncode == 0 and is_there == (run.operation.words[1] == "persist")


def judge_end(run: Run) -> tuple[bool, str | None]:
    """Whether a command succeeded, and what is wrong with its end."""
    if run.status != 0:
        if run.operation.states and not is_as_before(run, False):
            return False, f"fails, and has changed the identity: {run.errors}"
        return False, says_one_thing(run)
    if run.errors:
        return True, f"succeeds, but says: {run.errors}"
    if run.operation.words[1] in ("sign", "dgst") and not run.verifies():
        return True, "its signature does not verify"
    if run.operation.unseals and run.output.decode(errors="replace") != SEALED_SECRET:
        return True, "it is not the secret that was sealed"
    if run.operation.words[1] in ("persist", "unpersist") and not is_as_recorded(run):
        return True, "the record and the TPM say different things"
    if run.operation.states and kept_statement(run).encode() != run.output:
        return True, "its statement does not hold, or is not the one that is kept"
    if run.operation.words[1] == "attest":
        return True, None if is_document(run) else f"it is no {run.operation.words[2]}"
    return True, None


def is_refused_for_good(case: Case, run: Run) -> bool:
    """
    What tpm2-abrmd keeps for the next signature has gone on with the first of two: the second is a
    wrong try, the TPM counts it, and a passphrase that was never right is not tried again.
    """
    return case.has_two_signatures and run.user.tcti.startswith("tabrmd")


def judge_program(run: Run, case: Case) -> tuple[bool, str | None]:
    """
    The same of a program that signs again and again. A device that took a command and never
    answers takes no other.
    """
    lines = run.output.decode().splitlines()
    if run.status != 0 or run.errors or lines[-1:] != ["ok"]:
        return False, f"status {run.status}: {run.output.decode()}{run.errors}"
    failed = [line for line in lines[:-1] if line != "signed"]
    lasts = (case.onwards or (case.kind == "stall" and "device" in run.user.tcti)
             or is_refused_for_good(case, run))
    if len(lines) - 1 != run.operation.attempts or not all(
            line.startswith("failed: lct:k: ") for line in failed):
        return False, f"odd output: {lines}"
    if len(failed) > 1 and not lasts:
        return False, f"one fault, and more than one signature fails: {failed}"
    return not failed, "; ".join(failed) if failed and must_succeed(case) else None


def judge_store(run: Run, succeeded: bool, killed: bool) -> str | None:
    """The store holds a whole identity or none."""
    there = run.user.in_store()
    if there != (["new"] if succeeded else []):
        return f"in the store is {there}"
    rest = run.user.store / ".new"
    if not killed and rest.exists() and any(rest.iterdir()):
        return f"left in the store: {list(rest.iterdir())}"
    if succeeded:
        options = PASSPHRASE if PASSPHRASE[0] in run.operation.words else ()
        done = run.user.lct("check", "new", *options, status=None)
        if done.returncode != 0:
            return f"the new identity fails its check: {done.stderr}"
    return None


def tries_a_passphrase(case: Case) -> bool:
    """One that was not proven right is not sent again where its response was lost."""
    operation = OPERATIONS[case.operation]
    return case.code in (Command.Sign, Command.Unseal) and "--passphrase-file" in (*(operation.key or ()),
                                                                 *operation.words)


def must_succeed(case: Case) -> bool:
    """What is over at the next connection or question."""
    if case.onwards:
        return case.kind == "delay"
    if case.kind in TRANSPORT and tries_a_passphrase(case):
        return False
    return case.kind in (*TRANSPORT, "delay") or (case.kind == "code" and case.rc in LATER)


def may_be_left(case: Case, run: Run) -> int:
    """How many objects and sessions there may be, since nobody could be told to flush them."""
    if case.onwards:
        done = run.codes if case.executed else run.codes[:case.at - 1]
        return sum(code in MAKERS for code in done)
    if case.kind == "stall":  # where it is asked whether the key is there still, at the end
        return case.code == Command.ReadPublic and case.at == len(run.codes)
    if case.kind not in ("code", "code-after"):
        return 0
    # What the TPM says that it has not made, or that it has no more, is not looked for. Which
    # command that was may differ: what is at other persistent handles is looked at, too.
    return (case.kind == "code-after" and run.codes[case.at - 1] in MAKERS) + (case.rc in LOST)


def may_count(case: Case, run: Run) -> bool:
    """
    Whether the TPM may have counted a wrong try: it takes none of a session's commands twice, and
    here it denies to have executed one; or what a session began with was spoiled, and the first
    command in it is one that a passphrase authorizes.
    """
    started = run.codes[case.at - 1:case.at + 1] == [Command.StartAuthSession, Command.Sign]
    return case.has_two_signatures or (case.kind == "garble" and started)


def judge_left(bench: Bench, case: Case, run: Run) -> str | None:
    left = bench.way.left_behind()
    if not left:
        return None
    bench.way.flush()
    counted = [each for each in left if "lockout" in each]
    allowed = 0 if bench.way.managed else may_be_left(case, run)
    if len(left) - len(counted) > allowed or (counted and not may_count(case, run)):
        return f"left in the TPM: {left}; commands: {[hex(code) for code in run.codes]}"
    return None


def judge_killed(bench: Bench, case: Case, run: Run) -> str | None:
    """It is killed, and the next run is as if it had not been there."""
    if run.status != -signal.SIGKILL:
        return f"not killed: {run.status} {run.errors}"
    if bench.way.managed and (left := bench.way.left_behind()):
        bench.way.flush()
        return f"left in the TPM: {left}"
    if run.operation.makes and (wrong := judge_store(run, False, True)):
        return wrong
    if run.operation.states:
        if not is_as_before(run, True) and not kept_statement(run):
            return "it was killed, and has done half of what it does"
        bench.clear(case.operation)
    if (run.operation.asked is not None or run.operation.states) and not bench.way.managed:
        bench.way.flush()  # all three slots are needed in turn, and some are taken now
    again = bench.run(case.operation)
    bench.way.flush()
    if again.status != 0 or again.errors:
        return f"the next run: {again.status} {again.errors}"
    return None


def judge(bench: Bench, case: Case) -> str | None:
    """Runs a case: what is wrong with how it comes out."""
    try:
        run = bench.run(case.operation, case.fault, case.at)
    except subprocess.TimeoutExpired:
        bench.way.flush()
        return "hangs"
    if NOISE.search(run.errors):
        bench.way.flush()
        return run.errors
    if case.kind in KILLS:
        return judge_killed(bench, case, run)
    succeeded, wrong = judge_program(run, case) if run.operation.attempts else judge_end(run)
    if wrong is None and not succeeded and must_succeed(case) and not run.operation.attempts:
        wrong = f"fails: {run.errors}"
    if wrong is None and run.operation.makes:
        wrong = judge_store(run, succeeded, False)
    if wrong is None and case.fault == "stall+" and len(run.codes) - case.at > 6:
        wrong = f"goes on asking a TPM that does not answer: {[hex(code) for code in run.codes]}"
    return judge_left(bench, case, run) or wrong


def is_believed(case: Case) -> bool:
    """What the PCRs are said to hold is what a key is sealed to: docs/threat-model.md says so."""
    return (case.operation, case.code, case.fault) == ("create-sealed", Command.PCR_Read, "garble")


def cases_of(name: str, codes: list[int]) -> list[Case]:
    """All of an operation's."""
    cases = [Case(name, at, code, fault + more) for at, code in enumerate(codes, 1)
             for fault in FAULTS for more in ("", "+")]
    cases += [Case(name, at, code, fault) for at, code in enumerate(codes, 1) for fault in KILLS]
    return [case for case in cases if not (case.kind == "stall" and case.code in SLOW) and
            not (case.is_long and case.rc not in LATER_FOR_EVER) and not is_believed(case)]


def is_chosen(case: Case, share: int) -> bool:
    """Always the same ones."""
    if share > 1 and case.is_long and case.operation != "sign":
        return False
    return zlib.crc32(str(case).encode()) % share == 0


class Benches:
    """As many as there are to work at once."""

    def __init__(self, make, number: int):
        self.all = [make(i) for i in range(number)]
        self.free = queue.SimpleQueue()
        for bench in self.all:
            self.free.put(bench)

    def judge(self, case: Case) -> str | None:
        bench = self.free.get()
        try:
            wrong = judge(bench, case)
            bench.clear(case.operation)
            return wrong
        finally:
            self.free.put(bench)

    def work_through(self, name: str, share: int):
        """Runs each case, or of each `share` one."""
        operation = OPERATIONS[name]
        if (operation.handle or operation.approved) and isinstance(self.all[0].way, Kernels):
            pytest.skip("tpm2-tools put keys at handles and extend PCRs, and are not in the "
                        "virtual machine")
        cases = [case for case in cases_of(name, self.all[0].commands(name))
                 if is_chosen(case, share) and self.all[0].way.takes(case)]
        assert cases
        with ThreadPoolExecutor(len(self.all)) as pool:
            wrong = [f"{case}: {found}" for case, found in zip(cases, pool.map(self.judge, cases))
                     if found]
        if wrong:
            pytest.fail(f"{len(wrong)} of {len(cases)} cases:\n" + "\n".join(wrong), pytrace=False)

    def stop(self):
        for bench in self.all:
            bench.way.stop()


@pytest.fixture(scope="module", name="all_faults")
def fixture_all_faults(request) -> bool:
    return request.config.getoption("--faults")


@pytest.fixture(scope="module", name="make_benches")
def fixture_make_benches(build, tmp_path_factory, all_faults):
    made = []

    def make(way, number: int = 24 if all_faults else 8) -> Benches:
        def bench(number: int) -> Bench:
            directory = tmp_path_factory.mktemp(f"bench{number}-")
            return Bench(build, directory, way(directory))
        made.append(Benches(bench, number))
        return made[-1]

    yield make
    for benches in made:
        benches.stop()


@pytest.fixture(scope="module", name="swtpms")
def fixture_swtpms(request, make_benches) -> Benches:
    if request.config.getoption("--device"):
        pytest.skip("of a TPM without a resource manager, and here is one")
    return make_benches(Swtpms)


@pytest.fixture(scope="module", name="managers", params=["device", "tpm2-abrmd"])
def fixture_managers(request, build, make_benches) -> Benches:
    """The kernel's resource manager, with --device, or a stand-in; tpm2-abrmd."""
    device = request.config.getoption("--device")
    if request.param == "device" and device:
        return make_benches(lambda _directory: Kernels(device), 1)
    if device:
        pytest.skip("of another resource manager than this device's")
    if request.param == "device":
        try:
            return make_benches(Devices)
        except CannotMount as error:
            pytest.skip(str(error))
    if not (shutil.which("tpm2-abrmd") and shutil.which("dbus-daemon")):
        pytest.skip("tpm2-abrmd is not installed")
    return make_benches(Brokers)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_fault_costs_one_operation_at_most(swtpms, all_faults, name):
    swtpms.work_through(name, 1 if all_faults else SHARE)


@pytest.mark.parametrize("name", MANAGED)
def test_a_fault_behind_a_resource_manager_costs_one_operation_at_most(managers, all_faults, name):
    managers.work_through(name, 1 if all_faults else SHARE)
