# SPDX-License-Identifier: Apache-2.0
"""What every test stands on: the build under test, a TPM, a user with a store and a conf."""

import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import maker as makers
import sealing
import tpm as tpms
import tpmrm
from tpm import TIMEOUT

ROOT = Path(__file__).resolve().parent.parent
ALGORITHMS = {"ec": "ec-p256", "p384": "ec-p384", "rsa": "rsa-2048", "rsa3072": "rsa-3072"}
NOISE = re.compile(r"^(ERROR|WARNING):|src/tss2-|CRITICAL|Sanitizer|runtime error:", re.MULTILINE)
SANITIZERS = ("libasan", "libtsan")

OPENSSL_CNF = """\
openssl_conf = openssl_init

[openssl_init]
providers = providers
{default_properties}
[providers]
{order}

[default_sect]
activate = 1

[lct_sect]
module = {module}
activate = 1
{settings}

[req]
distinguished_name = req_dn
x509_extensions = v3_ca
prompt = no

[req_dn]
CN = nobody

[v3_ca]
basicConstraints = critical, CA:TRUE
subjectKeyIdentifier = hash
"""


def pytest_addoption(parser):
    parser.addoption("--build", default="build/dev", help="the build directory to test")
    parser.addoption("--device", type=Path,
                     help="the kernel's resource manager, for tests that otherwise use a stand-in")
    parser.addoption("--boot", action="store_true",
                     help="the tests of a machine that is booted under emulation")
    parser.addoption("--mutations", action="store_true",
                     help="each bit and each length of what is attested, instead of some")
    parser.addoption("--fuzz", type=int, default=2,
                     help="seconds that each target of the fuzzer is run for")
    parser.addoption("--allocations", action="store_true",
                     help="each allocation of each operation fails, instead of some of them")
    parser.addoption("--power", action="store_true",
                     help="a loss of power at each step of each command, instead of some of them")
    parser.addoption("--faults", action="store_true",
                     help="each fault at each command of each operation, instead of some of them")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    import parallel  # which needs pytest-xdist

    return parallel.Scheduler(config, log) if config.getvalue("dist") == "loadfile" else None


class Running:
    """Says, when all is over, which tests had begun and not ended: of a run that is interrupted."""

    def __init__(self):
        self.tests = []

    def pytest_runtest_logstart(self, nodeid):
        self.tests.append(nodeid)

    def pytest_runtest_logfinish(self, nodeid):
        self.tests.remove(nodeid)

    def pytest_terminal_summary(self, terminalreporter):
        for nodeid in self.tests:
            terminalreporter.write_line(f"not ended: {nodeid}")


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # that of a process of pytest-xdist
        config.pluginmanager.register(Running())


class Server:
    """A program that runs beside the test: its output so far, its end."""

    def __init__(self, arguments: list[str], **options):
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, **options)
        self.output = b""

    def read_until(self, pattern: bytes) -> re.Match:
        """Waits for output that matches."""
        end = time.monotonic() + TIMEOUT
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not (match := re.search(pattern, self.output)):
                assert selector.select(max(0, end - time.monotonic())), self.output
                part = os.read(self.process.stdout.fileno(), 65536)
                assert part, f"ended before {pattern}: {self.output}"
                self.output += part
        return match

    def stop(self) -> bytes:
        """Closes its standard input, ends it if that does not, and returns all it wrote."""
        try:
            rest, _ = self.process.communicate(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGTERM)
            rest, _ = self.process.communicate(timeout=TIMEOUT)
        self.output += rest
        return self.output


class User:
    """
    Someone with a directory of their own, a store in it, an openssl.cnf that activates the provider
    as conf/lct.cnf does, and a way in to a TPM. Commands run in that directory and must end with
    the status the test expects.
    """

    def __init__(self, build: Path, directory: Path, tcti: str):
        self.build = build
        self.directory = directory
        self.tcti = tcti
        self.store = directory / "store"
        self.conf = directory / "openssl.cnf"
        self.servers = []
        directory.mkdir(parents=True, exist_ok=True)
        self.preload = sanitizer_preload(build)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8",
                    "OPENSSL_CONF": str(self.conf),
                    # Who may not write counts, in a chroot or as another user, does not say so.
                    "GCOV_ERROR_FILE": os.devnull,
                    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
                    "UBSAN_OPTIONS": "halt_on_error=0:print_stacktrace=1",
                    "TSAN_OPTIONS": f"suppressions={ROOT}/tests/tsan.supp:exitcode=99"}
        self.configure()

    def path(self, name: str) -> Path:
        return self.directory / name

    def configure(self, order=("default", "lct"), default_properties: str | None = None,
                  **settings: str | None):
        """
        Writes openssl.cnf; `settings` are of our section, None takes one out. Nothing is sealed
        unless a test asks for it, and the machine's own approvals are nobody's.
        """
        settings = {"tcti": self.tcti, "store": str(self.store), "seal": "none",
                    "pcr_signature": "none"} | settings
        self.conf.write_text(OPENSSL_CNF.format(
            module=self.build / "lct.so",
            order="\n".join(f"{name} = {name}_sect" for name in order),
            default_properties="" if default_properties is None else
            "alg_section = algorithms\n\n[algorithms]\n"
            f"default_properties = {default_properties}\n",
            settings="\n".join(f"{key} = {value}" for key, value in settings.items()
                               if value is not None)))

    def record(self, identity: str) -> dict:
        """The record of an identity, as it is in the store."""
        return json.loads((self.store / identity / "identity.json").read_text())

    def edit_record(self, identity: str, change: Callable[[dict], object]):
        """Changes a record in one step, as no command does."""
        path = self.store / identity / "identity.json"
        record = self.record(identity)
        change(record)
        new = path.with_name("identity.edited")
        new.write_text(json.dumps(record))
        shutil.copymode(path, new)
        if os.geteuid() == 0:
            shutil.chown(new, path.stat().st_uid, path.stat().st_gid)
        new.rename(path)

    def environment(self, changes: dict[str, str | None] | None = None, preload=()) -> dict:
        """The environment of a command; None takes a variable out."""
        libraries = [*self.preload, *map(str, preload)]
        env = self.env | (changes or {})
        if libraries:
            env["LD_PRELOAD"] = ":".join(libraries)
        return {name: value for name, value in env.items() if value is not None}

    def execute(self, arguments: list[str], stdin: bytes, env: dict[str, str],
                **options) -> subprocess.CompletedProcess:
        """Where commands run: here."""
        return subprocess.run(arguments, input=stdin, env=env, cwd=self.directory, check=False,
                              capture_output=True, timeout=TIMEOUT, **options)

    def run(self, *arguments, status: int | None = 0, stdin: str | bytes | None = None,
            env: dict[str, str | None] | None = None, preload=(), text: bool = True,
            **options) -> subprocess.CompletedProcess:
        """Runs a command to its end. `status` None: any. Standard error is always text."""
        if isinstance(stdin, str):
            stdin = stdin.encode()
        done = self.execute([str(argument) for argument in arguments], stdin or b"",
                            self.environment(env, preload), **options)
        done.stderr = done.stderr.decode(errors="replace")
        if text:
            done.stdout = done.stdout.decode()
        report = f"{' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert status is None or done.returncode == status, report
        assert not NOISE.search(done.stderr), report
        return done

    def lct(self, *arguments, **options) -> subprocess.CompletedProcess:
        return self.run(self.build / "lct", *arguments, **options)

    def openssl(self, *arguments, **options) -> subprocess.CompletedProcess:
        return self.run("openssl", *arguments, **options)

    def serve(self, *arguments) -> Server:
        """Starts `openssl ...` beside the test; it is stopped at the test's end."""
        server = Server(["openssl", *map(str, arguments)], cwd=self.directory,
                        env=self.environment())
        self.servers.append(server)
        return server

    def write(self, name: str, content: str | bytes = b"what is signed\n") -> Path:
        """A file in the user's directory."""
        path = self.path(name)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def public_key(self, uri: str, name: str = "pub.pem") -> Path:
        """The public key of a URI, as a file."""
        self.openssl("pkey", "-in", uri, "-pubout", "-out", self.path(name))
        return self.path(name)

    def verify(self, public: Path, signature: Path, data: Path, digest: str = "sha256", *options):
        """Verifies in software, with the public key alone and no provider of ours."""
        done = self.openssl("dgst", f"-{digest}", *options, "-verify", public, "-signature",
                            signature, data, env={"OPENSSL_CONF": os.devnull})
        assert done.stdout == "Verified OK\n"

    def certificate(self, uri: str, subject: str = "/CN=localhost", name: str = "crt.pem",
                    *options) -> Path:
        """A self-signed certificate of a key, as a file."""
        self.openssl("req", "-x509", "-key", uri, "-subj", subject, "-days", "2", "-out", name,
                     *options)
        return self.path(name)

    def in_store(self) -> list[str]:
        """The directories of identities in the store, without what the store keeps for itself."""
        if not self.store.exists():
            return []
        return sorted(entry.name for entry in self.store.iterdir() if entry.name[0] != ".")

    def stop(self):
        for server in self.servers:
            if server.process.poll() is None:
                server.stop()


def sanitizer_preload(build: Path) -> list[str]:
    """
    What a plain program must preload to take a sanitised module: the sanitizer's runtime, and the
    module itself, which then is still there to be named in reports at the program's end.
    """
    needs = subprocess.run(["ldd", build / "lct.so"], capture_output=True, text=True,
                           check=False).stdout  # ldd refuses one of another architecture
    runtimes = [path for path in re.findall(r"=> (\S+)", needs)
                if Path(path).name.startswith(SANITIZERS)]
    return [*runtimes, str(build / "lct.so")] if runtimes else []


@pytest.fixture(scope="session", name="build")
def fixture_build(request) -> Path:
    build = (ROOT / request.config.getoption("--build")).resolve()
    for product in ("lct", "lct.so"):
        assert (build / product).exists(), f"{build / product} is not built: tests/run builds it"
    return build


@pytest.fixture(scope="session", name="tpm")
def fixture_tpm(tmp_path_factory):
    """The TPM that the tests share. Its storage root key is made by the first identity."""
    tpm = tpms.Swtpm(tmp_path_factory.mktemp("tpm"))
    yield tpm
    tpm.stop()


@pytest.fixture(name="make_tpm")
def fixture_make_tpm(tmp_path):
    """Makes further TPMs, new from the factory, and looks at what was left in them."""
    made = []

    def make() -> tpms.Swtpm:
        made.append(tpms.Swtpm(tmp_path / f"tpm{len(made)}"))
        return made[-1]

    yield make
    left = [tpm.left_behind() for tpm in made if tpm.process.poll() is None]
    for tpm in made:
        tpm.stop()
    assert not any(left)


@pytest.fixture(name="make_tpmrm")
def fixture_make_tpmrm(request, tmp_path, make_tpm):
    """Makes stand-ins for /dev/tpmrm0: each of a new TPM unless one is given."""
    if request.config.getoption("--device"):
        pytest.skip("of the stand-in for a device, and here is a device")
    made = []

    def make(before: tpms.Swtpm | None = None) -> tpmrm.Tpmrm:
        try:
            made.append(tpmrm.Tpmrm(tmp_path / f"tpmrm{len(made)}", before or make_tpm()))
        except tpmrm.CannotMount as error:
            pytest.skip(str(error))
        return made[-1]

    yield make
    for device in made:
        device.stop()


@pytest.fixture(name="device")
def fixture_device(request) -> tpmrm.Tpmrm | tpmrm.Device:
    """A resource manager's device: the kernel's own with --device, else a stand-in."""
    path = request.config.getoption("--device")
    device = tpmrm.Device(path) if path else request.getfixturevalue("make_tpmrm")()
    yield device
    tpms.wait_for(lambda: not device.left_behind(), "the TPM to be left as it was found")


@pytest.fixture(scope="session", name="namespaces")
def fixture_namespaces():
    """Leave to mount file systems that nobody else sees."""
    probe = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
                           capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("no file system can be mounted here")


@pytest.fixture(name="make_proxy")
def fixture_make_proxy(tmp_path, tpm):
    """Makes a counting, forging proxy before a TPM: the shared one unless another is given."""
    made = []

    def make(before: tpms.Swtpm = tpm) -> tpms.Proxy:
        made.append(tpms.Proxy(tmp_path / f"proxy{len(made)}", before))
        return made[-1]

    yield make
    for proxy in made:
        proxy.stop()


@pytest.fixture(name="proxy")
def fixture_proxy(make_proxy):
    return make_proxy()


@pytest.fixture(autouse=True)
def tpm_is_left_as_it_was_found(request):
    """No test, whatever it does, leaves an object, a session or a lockout count in the TPM."""
    yield
    if "tpm" in request.fixturenames:
        tpm = request.getfixturevalue("tpm")
        left = tpm.left_behind()
        tpm.flush()
        assert not left, f"left in the TPM: {left}"


@pytest.fixture(scope="session", name="larder")
def fixture_larder(build, tpm, tmp_path_factory) -> Path:
    """A store with one identity of each algorithm, made once and copied: RSA keys take time."""
    user = User(build, tmp_path_factory.mktemp("larder"), tpm.tcti)
    for name, algorithm in ALGORITHMS.items():
        user.lct("create", name, "--algorithm", algorithm)
    return user.store


@pytest.fixture(name="make_user")
def fixture_make_user(build, tmp_path, tpm):
    """Makes users with empty stores: of the shared TPM unless another way in is given."""
    made = []

    def make(tcti: str = tpm.tcti) -> User:
        made.append(User(build, tmp_path / f"user{len(made)}", tcti))
        return made[-1]

    yield make
    for user in made:
        user.stop()


@pytest.fixture(name="user")
def fixture_user(make_user) -> User:
    """A user with an empty store."""
    return make_user()


@pytest.fixture(name="owner")
def fixture_owner(user, larder) -> User:
    """A user who has the identities ec, p384, rsa and rsa3072."""
    shutil.copytree(larder, user.store)
    user.write("data")
    return user


@pytest.fixture(scope="session", name="authority")
def fixture_authority(build, tpm, tmp_path_factory) -> sealing.Authority:
    """A recovery authority and a store that has it, made once and copied."""
    user = User(build, tmp_path_factory.mktemp("authority"), tpm.tcti)
    return sealing.Authority.init(user)


@pytest.fixture(name="make_sealer")
def fixture_make_sealer(make_user, authority):
    """
    Makes users whose identities are sealed as the default is, whose stores have the authority and
    whose TPM, the shared one unless another is given, has measured its boot.
    """

    def make(tpm: tpms.Swtpm, tcti: str | None = None) -> User:
        user = make_user(tcti or tpm.tcti)
        user.tpm = tpm
        user.configure(seal=None)
        shutil.copytree(authority.store, user.store)
        user.write("data")
        sealing.boot(tpm)
        return user

    return make


@pytest.fixture(name="sealer")
def fixture_sealer(make_sealer, tpm) -> User:
    return make_sealer(tpm)


@pytest.fixture(name="watched")
def fixture_watched(owner, proxy) -> User:
    """The owner, whose commands to the TPM go through `proxy`."""
    owner.tcti = proxy.tcti
    owner.configure()
    return owner


@pytest.fixture(scope="session", name="machine")
def fixture_machine(build):
    """Where existing programs run, most of which root alone can start: apps.py."""
    import apps  # which imports this

    if os.geteuid() != 0:
        pytest.skip("servers that change their user are started by root")
    if build.name == "tsan":
        pytest.skip("servers' own threads are not ours to judge")
    machine = apps.Machine(build)
    yield machine
    machine.remove()


@pytest.fixture(name="make_site")
def fixture_make_site(machine):
    """Makes sites of existing programs; what these leave in the TPM is a failure."""
    import apps

    made = []

    def make(kind: str, way: str = "swtpm") -> apps.Site:
        try:
            made.append(apps.Site(machine, kind, way))
        except tpmrm.CannotMount as error:
            pytest.skip(str(error))
        return made[-1]

    yield make
    try:
        for site in made:
            site.stop()
        tpms.wait_for(lambda: not machine.tpm.left_behind(), "the TPM to be left as it was found")
    finally:
        for site in made:
            site.remove()
        machine.tpm.flush()


@pytest.fixture(scope="session", name="maker")
def fixture_maker(tmp_path_factory) -> makers.Maker:
    return makers.Maker(tmp_path_factory.mktemp("maker"))


@pytest.fixture(name="make_certified")
def fixture_make_certified(maker, tmp_path):
    """Starts TPMs as they left the maker: two there are; and looks at what was left in them."""
    made = []

    def make(number: int = 0) -> tpms.Swtpm:
        state = tmp_path / f"certified{len(made)}"
        shutil.copytree(maker.states[number], state)
        made.append(tpms.Swtpm(state))
        return made[-1]

    yield make
    left = [tpm.left_behind() for tpm in made]
    for tpm in made:
        tpm.stop()
    assert not any(left), left


@pytest.fixture(name="certified")
def fixture_certified(make_certified) -> tpms.Swtpm:
    return make_certified()


@pytest.fixture(name="holder")
def fixture_holder(make_user, certified) -> User:
    """Who has a TPM with EK certificates."""
    return make_user(certified.tcti)


class Prompted:
    """A running program that signs once for each call."""

    def __init__(self, user, key: str, env: dict[str, str] | None = None):
        self.process = subprocess.Popen(
            [user.build / "tests" / "evp", "prompted", f"lct:{key}"], cwd=user.directory,
            env=user.environment(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)

    def sign(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "signed\n", self.process.communicate()[1]

    def end(self) -> str:
        """Ends it, and returns what it left on standard error."""
        output, errors = self.process.communicate(timeout=TIMEOUT)
        assert (output, self.process.returncode) == ("ok\n", 0), errors
        return errors


@pytest.fixture(name="prompted")
def fixture_prompted():
    programs = []

    def start(*arguments, **options) -> Prompted:
        programs.append(Prompted(*arguments, **options))
        return programs[-1]

    yield start
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
            program.process.communicate()
