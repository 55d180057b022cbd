# SPDX-License-Identifier: Apache-2.0
"""
Existing programs, unchanged, with keys of ours: what they find on a machine where lct is installed,
their processes, and clients that know nothing of us.

A `Machine` is made once: a TPM that other users reach, a CA, the identity `web` of each kind. A
test gets a `Site` of it, by the fixture `make_site` of conftest.py:

    site = make_site("ec")                      # or "rsa"; way="device": by a stand-in of a device
    web = site.identity()                       # of the identity web: web.key, web.crt, web.bundle
    conf = site.conf("nginx.conf", {"listen 443": f"listen {port}"})   # conf/nginx.conf, for here
    nginx = site.start("/usr/sbin/nginx", "-c", conf, port=port)       # waits until it listens
    Client(site.ca, version="TLSv1.2").get(port)
    nginx.stop()

Programs are stopped at the test's end, and then the TPM must hold nothing of theirs.
"""

import contextlib
import dataclasses
import functools
import http.server
import os
import pwd
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tpm as tpms
from conftest import ALGORITHMS, ROOT, TIMEOUT, User
from tpm import wait_for
from tpmrm import Tpmrm

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
GET = b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"
FOUND = re.compile(rb"HTTP/1\.\d 200 ")
LISTENING = "0A"  # of /proc/net/tcp
LEAVE_LEAKS = {"ASAN_OPTIONS": "detect_leaks=0:exitcode=99"}  # servers have leaks of their own
# The environment of programs that know nothing of us.
SOFTWARE = {"OPENSSL_CONF": "/etc/ssl/openssl.cnf"} | LEAVE_LEAKS
EXTENSIONS = """\
subjectAltName = DNS:localhost, IP:127.0.0.1
extendedKeyUsage = serverAuth, clientAuth
"""


def free_port(kind=socket.SOCK_STREAM) -> int:
    """
    A port of the loopback interface that is free now, and nobody's before it is used: the kernel
    gives none of these away by itself, and each process of a test run has its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    while True:
        port = random.choice(range(10000 + worker, 32768, workers))
        with socket.socket(type=kind) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def listens(port: int) -> bool:
    """Whether someone listens on a TCP port. Nobody is connected to for it."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                _, local, _, state = line.split()[:4]
                if state == LISTENING and int(local.split(":")[1], 16) == port:
                    return True
    return False


def processes(session: int) -> list[int]:
    """The living processes of a session."""
    return [pid for pid, (state, number) in _stats(3).items() if number == session and state != "Z"]


def children(pid: int) -> list[int]:
    """The living children of a process."""
    return [child for child, (state, parent) in _stats(1).items()
            if parent == pid and state != "Z"]


def as_user(name: str, *groups: str) -> dict:
    """What starts a process as a user, of Program's and User.run's options."""
    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": list(groups)}


def _stats(field: int) -> dict[int, tuple[str, int]]:
    """Of each process its state, and a number that follows it in proc(5)'s stat."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = fields[0], int(fields[field])
    return found


def owner_of(pid: int) -> tuple[int, list[int]]:
    """The effective user of a process, and its supplementary groups."""
    status = Path(f"/proc/{pid}/status").read_text()
    uid = int(re.search(r"^Uid:\s+\d+\s+(\d+)", status, re.MULTILINE)[1])
    return uid, [int(gid) for gid in re.search(r"^Groups:(.*)$", status, re.MULTILINE)[1].split()]


class Program:
    """
    A program that runs beside the test, with all its children. A daemon is one that ends its first
    process; the pid of the one that stays is then in `pidfile`. All it prints is in `log`.
    """

    def __init__(self, arguments, log: Path, pidfile: Path | None = None, **options):
        self.name = Path(arguments[0]).name
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(argument) for argument in arguments], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True, **options)
        self.sessions = {self.process.pid}
        self.pid = self.process.pid if pidfile is None else self._daemon(pidfile)

    def _daemon(self, pidfile: Path) -> int:
        assert self.process.wait(TIMEOUT) == 0, self.report()
        pid = wait_for(lambda: self._read_pid(pidfile), f"{self.name}'s pid")
        with contextlib.suppress(ProcessLookupError):  # it has ended, which will be noticed
            wait_for(lambda: os.getsid(pid) != self.process.pid, f"{self.name}'s own session")
            self.sessions.add(os.getsid(pid))
        return pid

    @staticmethod
    def _read_pid(pidfile: Path) -> int | None:
        text = pidfile.read_text().strip() if pidfile.exists() else ""
        return int(text) if text else None

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def report(self) -> str:
        """For the message of an assertion."""
        return f"{self.name}:\n{self.output()}"

    def living(self) -> list[int]:
        """All its processes."""
        self.process.poll()
        return [pid for session in self.sessions for pid in processes(session)]

    def wait_for_port(self, port: int):
        def ready():
            assert self.living(), self.report()
            return listens(port)
        wait_for(ready, f"{self.name} to listen")

    def wait_for_output(self, pattern: str) -> re.Match:
        def matches():
            found = re.search(pattern, self.output())
            assert found or self.living(), self.report()
            return found
        return wait_for(matches, f"{self.name} to say {pattern}")

    def send(self, number: int):
        os.kill(self.pid, number)

    def stop(self, number: int = signal.SIGTERM):
        """Ends it, and waits until all its processes are gone; a second time does nothing."""
        if not self.living():
            return
        with contextlib.suppress(ProcessLookupError):
            self.send(number)
        try:
            wait_for(lambda: not self.living(), f"{self.name} to end")
        finally:
            self.kill()

    def kill(self):
        """What is left of it, at once."""
        for pid in self.living():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(TIMEOUT)


@dataclasses.dataclass
class Identity:
    """The files of an identity that programs take: lct pem, lct cert, and both in one file."""

    id: str
    key: Path
    crt: Path
    bundle: Path


class Machine:
    """What the sites of a test run share. Everything in it can be reached by every user."""

    def __init__(self, build: Path):
        self.directory = Path(tempfile.mkdtemp(prefix="lct-"))
        self.directory.chmod(0o755)
        self.build = self.directory / "build"
        self.build.mkdir()
        for name in ("lct", "lct.so"):
            shutil.copy(build / name, self.build)
        self.tpm = tpms.Swtpm(self.directory / "tpm")
        self.tpm.path.chmod(0o666)
        self.maker = User(self.build, self.directory / "maker", self.tpm.tcti)
        self.maker.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                           "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=CA",
                           "-days", "2", env=SOFTWARE)
        self.ca = self.maker.path("ca.crt")
        self.stores = {}

    def restart_tpm(self):
        """As if its power failed: what was loaded is gone, and so are connections."""
        self.start_tpm_again()
        self.forget_wrong_tries()

    def start_tpm_again(self):
        """The same, where no key has a passphrase."""
        self.tpm.stop()
        self.tpm.start()
        self.tpm.path.chmod(0o666)

    def forget_wrong_tries(self):
        """Power that fails counts as one, too, once a key that has a passphrase was used."""
        self.tpm.tool("tpm2_dictionarylockout", "-c")
        self.tpm.lockout_count = 0

    def store(self, kind: str) -> Path:
        """A store with the identity web, of a kind."""
        if kind not in self.stores:
            self.stores[kind] = self.directory / f"store-{kind}"
            self.maker.lct("create", "web", "--algorithm", ALGORITHMS[kind], "--store",
                           self.stores[kind])
            self.certify("web", self.stores[kind], self.stores[kind].with_suffix(".crt"))
        return self.stores[kind]

    def certify(self, identity: str, store: Path, crt: Path, subject: str = "/CN=localhost"):
        """A certificate of an identity, for localhost, by the CA."""
        csr = self.maker.lct("csr", identity, "--subject", subject, "--store", store).stdout
        self._sign(csr, crt)

    def _sign(self, csr: str, crt: Path):
        extensions = self.maker.write("extensions", EXTENSIONS)
        self.maker.openssl("x509", "-req", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2",
                           "-extfile", extensions, "-out", crt, stdin=csr,
                           env=SOFTWARE)

    @functools.cached_property
    def software(self) -> "Identity":
        """A key of localhost in software, certified by the CA: for who speaks to a program."""
        paths = [self.maker.path(f"software.{suffix}") for suffix in ("pem", "crt", "bundle.pem")]
        self.maker.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                           "-keyout", paths[0], "-out", "software.csr", "-subj", "/CN=localhost",
                           env=SOFTWARE)
        self._sign(self.maker.path("software.csr").read_text(), paths[1])
        paths[2].write_text(paths[1].read_text() + paths[0].read_text())
        for path in paths:
            path.chmod(0o644)
        return Identity("software", *paths)

    def remove(self):
        self.tpm.stop()
        shutil.rmtree(self.directory)


class Site:
    """
    A directory of one test's, which all users can enter, with a store in which there is the
    identity `web`, and an openssl.cnf that `env` has programs read. `user` is conftest.py's, with
    everything that one can do. The way in to the TPM is "swtpm", a socket that everyone may open,
    or "device", a stand-in of /dev/tpmrm0 (tpmrm.py), `device`, which is root's.
    """

    def __init__(self, machine: Machine, kind: str, way: str = "swtpm"):
        self.machine = machine
        self.ca = machine.ca
        self.directory = Path(tempfile.mkdtemp(prefix="site-", dir=machine.directory))
        self.directory.chmod(0o755)
        self.crts = {"web": machine.store(kind).with_suffix(".crt")}
        shutil.copytree(machine.store(kind), self.path("store"))
        self.device = Tpmrm(self.path("dev"), machine.tpm) if way == "device" else None
        self.user = User(machine.build, self.directory, (self.device or machine.tpm).tcti)
        self.env = self.user.environment(LEAVE_LEAKS)
        self.programs = []

    def path(self, name: str) -> Path:
        return self.directory / name

    def write(self, name: str, text: str) -> Path:
        return self.user.write(name, text)

    def create(self, identity: str, kind: str = "ec", subject: str = "/CN=localhost"):
        """A further identity, with a certificate."""
        self.user.lct("create", identity, "--algorithm", ALGORITHMS[kind])
        self.crts[identity] = self.path(f"{identity}.ca.crt")
        self.machine.certify(identity, self.path("store"), self.crts[identity], subject)

    def identity(self, name: str = "web", owner: str | None = None, mode: int = 0o600) -> Identity:
        """The files of an identity; they and the identity belong to `owner` (USER:GROUP)."""
        paths = [self.path(f"{name}.{suffix}") for suffix in ("pem", "crt", "bundle.pem")]
        key, crt = self.user.lct("pem", name).stdout, self.crts[name].read_text()
        for path, text in zip(paths, (key, crt, crt + key)):
            path.write_text(text)
            path.chmod(0o644 if text == crt else mode)
        if owner:
            subprocess.run(["chown", "-R", owner, self.path(f"store/{name}"), *paths], check=True)
        return Identity(name, *paths)

    def own(self, name: str, owner: str, mode: int = 0o700) -> Path:
        """A directory that belongs to `owner` (USER:GROUP)."""
        self.path(name).mkdir()
        self.path(name).chmod(mode)
        subprocess.run(["chown", owner, self.path(name)], check=True)
        return self.path(name)

    def give(self, identity: str, owner: str):
        """An identity has another owner from now on; its files have not."""
        subprocess.run(["chown", "-R", owner, self.path(f"store/{identity}")], check=True)

    def give_device(self, group: str = "tss"):
        """As Debian's rules of udev do: the device is open to a group."""
        subprocess.run(["chgrp", group, self.device.path], check=True)

    def conf(self, name: str, changes: dict[str, object], skeleton: str = "@conf@",
             identity: str = "web") -> Path:
        """
        A file of conf/, for `identity`, as `lct config` prints it, as it is but for the directory
        of the key files and for `changes`, each of which must be there to be made; in the place of
        @conf@ in `skeleton`, for which no changes are made.
        """
        text = self.user.lct("config", Path(name).stem, identity).stdout
        for old, new in ({"/etc/lct/": f"{self.directory}/"} | changes).items():
            assert old in text, f"conf/{name} has no {old}"
            text = text.replace(old, str(new))
        return self.write(name, skeleton.replace("@conf@", text))

    def start(self, *arguments, port: int | None = None, pidfile: Path | None = None,
              env: dict[str, str] | None = None, **options) -> Program:
        """
        Starts a program, and waits until it listens on `port`. `options` are subprocess.Popen's,
        `user` and `group` among them.
        """
        log = self.path(f"{Path(arguments[0]).name}{len(self.programs)}.log")
        program = Program(arguments, log, cwd=self.directory, env=self.env | (env or {}),
                          pidfile=pidfile, **options)
        self.programs.append(program)
        if port is not None:
            program.wait_for_port(port)
        return program

    def stop(self):
        """Ends all programs, the last one first."""
        for program in reversed(self.programs):
            program.stop()

    def remove(self):
        for program in self.programs:
            program.kill()
        if self.device:
            self.device.stop()
        shutil.rmtree(self.directory)


class Backend:
    """What a proxy stands before: a web server of Python's. With a context it speaks TLS."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # its name is not ours to choose
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"it works\n")

        def log_message(self, *_):
            """What is asked for is no news."""

    def __init__(self, context: ssl.SSLContext | None = None):
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.Handler)
        self._server.daemon_threads = True
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self):
        self._server.shutdown()
        self._thread.join(TIMEOUT)
        self._server.server_close()


def answer_of(connection: ssl.SSLSocket, question: bytes) -> bytes:
    """All that it says until it closes."""
    connection.sendall(question)
    answer = b""
    with contextlib.suppress(ssl.SSLEOFError):
        while part := connection.recv(65536):
            answer += part
    return answer


class Client:
    """A TLS client of Python's, with software alone, which verifies the server's certificate."""

    def __init__(self, ca: Path, version: str | None = None, identity: Identity | None = None,
                 hello=None):
        """
        `version` of TLS, else any. `hello(socket)` is what is said before TLS, as STARTTLS. With
        an `identity`, which must be in software, the client has a certificate.
        """
        self.hello = hello
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.load_verify_locations(ca)
        if version:
            self.context.minimum_version = self.context.maximum_version = VERSIONS[version]
        if identity:
            self.context.load_cert_chain(identity.crt, identity.key)

    def connect(self, port: int, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
        """A connection after its handshake; the caller closes it."""
        plain = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        try:
            if self.hello:
                self.hello(plain)
            return self.context.wrap_socket(plain, server_hostname="localhost", session=session)
        except BaseException:
            plain.close()
            raise

    def ask(self, port: int, question: bytes, session: ssl.SSLSession | None = None):
        """What is answered until the server closes; whether the session was resumed; a session."""
        with self.connect(port, session) as connection:
            answer = answer_of(connection, question)
            return answer, connection.session_reused, connection.session

    def certificate(self, port: int) -> str:
        """The certificate that a server shows, as PEM, after a handshake with it."""
        with self.connect(port) as connection:
            return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))

    def get(self, port: int, session: ssl.SSLSession | None = None):
        """The same, by HTTP, of what must be there."""
        found = self.ask(port, GET, session)
        assert FOUND.match(found[0]), found[0]
        return found

    def look(self, port: int):
        """Once, and without the session: of each that it gives out, Python 3.11 keeps 5 KB."""
        with self.connect(port) as connection:
            answer = answer_of(connection, GET)
        assert FOUND.match(answer), answer

    def resumes(self, port: int) -> bool:
        """Whether a second connection resumes the session of the first one."""
        _, resumed, session = self.get(port)
        assert not resumed
        return self.get(port, session)[1]


def at_once(work, count: int = 100, threads: int = 16) -> list:
    """`work()` so many times, so many at a time; their results. All must succeed."""
    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(work) for _ in range(count)]
    failed = [job.exception() for job in jobs if job.exception()]
    assert not failed, f"{len(failed)} of {count} failed, as in: {failed[0]!r}"
    return [job.result() for job in jobs]
