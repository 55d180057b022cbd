# SPDX-License-Identifier: Apache-2.0
"""The server that soak.py soaks: what it has, what can be done to it, and what is looked at."""

import contextlib
import itertools
import os
import random
import re
import signal
import subprocess
import threading
from pathlib import Path

import sealing
import soaking
from apps import Client, Machine, Site, children, free_port
from soaking import Sample
from test_web_servers import start_nginx
from tpm import SRK, Broker, wait_for

TIMEOUT = 30  # the provider's, for a signature
LONGEST = 4 * TIMEOUT  # that nginx may take to do what it is told
IDENTITIES = ("web", "rsa", "held", "sealed")
ALL = frozenset(IDENTITIES)
SEALED_TO = "sha256:7"
HANDLE = 0x81000100
STATUS = {"memory": "RssAnon", "threads": "Threads"}  # of what is shared, caches fill up
BUS = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
</busconfig>
"""


class Server:
    """nginx with a port for each identity, on a machine with a TPM and a store of its own."""

    def __init__(self, name: str, build: Path, ledger, brokered: bool):
        """`ledger` is soak.py's: what happens is written down there."""
        self.name, self.ledger, self.site, self.broker = name, ledger, None, None
        self.seen: list[tuple[float, dict]] = []  # when, and how many objects of each kind
        self.life = threading.Lock()  # a key follows another, or somebody else signs
        self.power = threading.Lock()  # the TPM is being restarted, or has to be there
        self.machine = Machine(build)
        try:
            self._furnish(brokered)
        except BaseException:
            self.remove()
            raise

    def _furnish(self, brokered: bool):
        self.site = Site(self.machine, "ec")
        self.user = self.site.user
        self._make_identities()
        if brokered:
            self._be_brokered()
        self.ports = dict(zip(IDENTITIES, (free_port() for _ in IDENTITIES)))
        self.nginx = start_nginx(self.site, *self.ports.values(), identities=IDENTITIES)
        # Workers look for ends and approvals themselves.
        subprocess.run(["chown", "-R", "root:www-data", self.user.store], check=True)
        subprocess.run(["chmod", "-R", "g+rX", self.user.store], check=True)
        self.user.write("data")

    def _make_identities(self):
        """Beside web, which is there: each kind of key, with a certificate."""
        sealing.boot(self.machine.tpm)
        self.authority = sealing.Authority.init(self.user)
        self.site.create("rsa", "rsa")
        self.site.create("held")
        self.user.lct("persist", "held", "--handle", f"{HANDLE:#x}")
        self.user.lct("create", "sealed", "--seal", SEALED_TO)
        self.site.crts["sealed"] = self.site.path("sealed.ca.crt")
        self.machine.certify("sealed", self.user.store, self.site.crts["sealed"])
        self.generation = dict.fromkeys(IDENTITIES, 1)
        self.held = HANDLE
        self.states, self.approved = 0, set()  # changes of the state since the TPM was started

    def _be_brokered(self):
        directory = self.machine.directory
        configuration = directory / "bus.conf"
        configuration.write_text(BUS.format(path=directory / "bus"))
        self.broker = Broker(self.machine.tpm, configuration)
        self.user.tcti = "tabrmd:bus_type=session"
        self.user.configure()
        self.user.env |= self.broker.env
        self.site.env |= self.broker.env

    def tool(self, *arguments) -> subprocess.CompletedProcess:
        """A command of tpm2-tools by the way that programs take."""
        return self.user.run(*arguments, env={"TPM2TOOLS_TCTI": self.user.tcti})

    # What goes wrong

    def kill(self, rng: random.Random):
        """A worker ends at any moment, also while it signs."""
        with self.ledger.fault("worker killed", self.name, ALL):
            os.kill(rng.choice(children(self.nginx.pid)), signal.SIGKILL)
            wait_for(lambda: len(children(self.nginx.pid)) == 2, "another worker", LONGEST)

    def reload(self, _rng=None):
        with self.ledger.fault("reload", self.name):
            self._reload()

    def _reload(self):
        before = set(children(self.nginx.pid))
        self.nginx.send(signal.SIGHUP)

        def replaced() -> bool:
            now = children(self.nginx.pid)
            return len(now) == 2 and before.isdisjoint(now)
        wait_for(replaced, "new workers", LONGEST)

    def upgrade(self, _rng=None):
        """USR2, WINCH, QUIT."""
        pidfile, old = self.site.path("nginx.pid"), self.nginx.pid
        with self.ledger.fault("binary upgrade", self.name):
            self.nginx.send(signal.SIGUSR2)
            wait_for(self.site.path("nginx.pid.oldbin").exists, "the new binary", LONGEST)
            wait_for(lambda: pidfile.exists() and pidfile.read_text(), "its pid", LONGEST)
            new = int(pidfile.read_text())
            wait_for(lambda: len(children(new)) == 2, "the new workers", LONGEST)
            os.kill(old, signal.SIGWINCH)
            wait_for(lambda: children(old) == [new], "the old workers to end", LONGEST)
            os.kill(old, signal.SIGQUIT)
            wait_for(lambda: old not in self.nginx.living(), "the old master to end", LONGEST)
            self.nginx.pid = new

    def rotate(self, rng: random.Random):
        """A key follows another, its certificate with it, and the server is told."""
        identity = rng.choice(("web", "rsa", "held"))
        number = self.generation[identity] + 1
        with self.life, self.power, self.ledger.fault("key rotated", self.name):
            self.user.lct("rotate", identity)
            csr = self.user.lct("csr", identity, "--generation", number, "--subject",
                                "/CN=localhost").stdout
            following = self.site.path(f"{identity}.ca.crt")
            self.machine._sign(csr, following)
            if identity == "held":
                handles = itertools.cycle((HANDLE, HANDLE + 1))
                self.held = next(one for one in handles if one != self.held)
                self.user.lct("persist", identity, "--generation", number, "--handle",
                              f"{self.held:#x}")
            self.user.lct("cert", identity, "--set", following)
            crt = self.site.path(f"{identity}.crt")
            self.site.write("following", self.user.lct("cert", identity).stdout).chmod(0o644)
            self.site.path("following").replace(crt)
            self.generation[identity] = number
            self._reload()
            if identity == "held":
                self.user.lct("unpersist", identity, "--generation", number - 1)

    def restart_tpm(self, _rng=None):
        """Its power fails: what was loaded is gone. The machine boots as before."""
        with self.power, self.ledger.fault("TPM restarted", self.name, ALL):
            if self.broker:
                self.broker.stop()
            self.machine.start_tpm_again()
            sealing.boot(self.machine.tpm)
            self.states = 0
            if self.broker:
                self.broker.start()

    def restart_broker(self, _rng=None):
        with self.power, self.ledger.fault("tpm2-abrmd restarted", self.name, ALL):
            self.broker.stop()
            self.broker.start()

    def approve(self, _rng=None):
        """The state changes, and the key that is sealed to it signs again when it is approved."""
        with self.power, self.ledger.fault("state approved", self.name, frozenset({"sealed"})):
            sealing.measure(self, 7, what="an update")
            self.states += 1
            self.approved.add(self.states)
            self.user.lct("approve", *self.authority.options, "sealed")

    # What goes on besides

    def handshake(self, client: Client, rng: random.Random):
        identity = rng.choice(IDENTITIES)
        self.ledger.attempt(self.name, "handshake", identity,
                            lambda: client.look(self.ports[identity]), self._last_error)

    def _last_error(self) -> str:
        """What nginx has said last."""
        with self.site.path("error.log").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 1000))
            return f" ({log.read().decode(errors='replace').splitlines()[-1:]})"

    def sign(self, rng: random.Random):
        """Another program signs: the openssl command, or ours."""
        identity = rng.choice(IDENTITIES)

        def by_openssl():
            self.user.openssl("dgst", "-sha256", "-sign", f"lct:{identity}", "-out", "sig", "data")
            self._verify(identity)

        def by_lct():
            done = self.user.lct("sign", identity, stdin=self.site.path("data").read_bytes(),
                                 text=False)
            self.site.path("sig").write_bytes(done.stdout)
            self._verify(identity)

        with self.life:
            what, work = rng.choice((("openssl", by_openssl), ("lct", by_lct)))
            self.ledger.attempt(self.name, what, identity, work)

    def _verify(self, identity: str):
        """With the certificate's key, in software."""
        public = sealing.openssl("x509", "-in", self.site.path(f"{identity}.crt"), "-noout",
                                 "-pubkey")
        self.user.verify(self.user.write("pub.pem", public), self.site.path("sig"),
                         self.site.path("data"))

    # What is looked at

    def processes(self) -> list[tuple[str, int]]:
        master = self.nginx.pid
        return [("master", master), *(("worker", pid) for pid in children(master))]

    def sample(self) -> list[Sample]:
        found = []
        for role, pid in self.processes():
            with contextlib.suppress(OSError, TypeError):  # it has ended
                text = Path(f"/proc/{pid}/status").read_text()
                values = {measure: int(re.search(rf"^{field}:\s+(\d+)", text, re.MULTILINE)[1])
                          for measure, field in STATUS.items()}
                values["memory"] *= 1024
                values["descriptors"] = len(os.listdir(f"/proc/{pid}/fd"))
                found.append(Sample(self.name, role, pid, self.ledger.clock.now(),
                                    self.ledger.clock.period(), values))
        return found

    def objects(self) -> dict[str, list[str]]:
        """What is in the TPM, as this way in shows it."""
        found = {}
        with self.power:
            for kind in ("transient", "loaded-session", "saved-session", "persistent", "nv-index"):
                listed = self.tool("tpm2_getcap", f"handles-{kind}").stdout
                found[kind] = re.findall(r"0x[0-9A-Fa-f]+", listed)
        return found

    def misplaced(self) -> list[str]:
        """What is wrong with what lasts: persistent keys, NV memory, files."""
        with self.life:
            objects = self.objects()
            self.seen.append((self.ledger.clock.now(),
                              {kind: len(handles) for kind, handles in objects.items()}))
            wrong = soaking.different(
                f"{self.name}: persistent keys", [hex(SRK), hex(self.held)],
                [hex(int(handle, 16)) for handle in objects["persistent"]])
            wrong += soaking.different(f"{self.name}: NV indices", [], objects["nv-index"])
            wrong += self._misplaced_files()
        return wrong

    def misplaced_processes(self) -> list[str]:
        """When nothing is going on."""
        more = set(self.nginx.living()) - {pid for _, pid in self.processes()}
        return [f"{self.name}: process {pid} is no child of nginx's master" for pid in more]

    def _misplaced_files(self) -> list[str]:
        """A generation is a key, its certificates and the statement on it; an approval, a state."""
        expected = {".authority.pub.pem", ".parent", *(f".approvals/{number}" for number in
                                                       range(len(self.approved)))}
        for identity, number in self.generation.items():
            expected |= {f"{identity}/identity.json", f"{identity}/key-1.pem"}
            for following in range(2, number + 1):
                expected |= {f"{identity}/{name}" for name in (
                    f"key-{following}.pem", f"certs-{following}.pem",
                    f"succession-{following}.json")}
        found = [str(path.relative_to(self.user.store)) for path in self.user.store.rglob("*")
                 if path.is_file() and path.parent.name not in (".approvals", ".index")]
        found += [f".approvals/{number}" for number in range(len(sealing.approvals(self.user)))]
        return soaking.different(f"{self.name}: files in the store", expected, found)

    def stop(self) -> list[str]:
        """Ends it in peace, and says what it left behind."""
        self.nginx.stop(signal.SIGQUIT)
        wrong = [f"{self.name}: process {pid} still runs" for pid in self.nginx.living()]
        if self.broker:
            self.broker.stop()
        return wrong + [f"{self.name}: left in the TPM: {left}"
                        for left in self.machine.tpm.left_behind()]

    def remove(self):
        if self.site:
            for program in self.site.programs:
                program.kill()
        if self.broker:
            self.broker.end()
        self.machine.remove()
