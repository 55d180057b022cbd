# SPDX-License-Identifier: Apache-2.0
"""
Full TLS 1.3 handshakes a second of nginx, P-256. With a key of ours it can be no faster than it is
with a key in software, nor than the TPM signs: its rate is held against the lesser of the two. One
worker does not get there where both take as long, since it waits for the TPM and does nothing else:
it is also held against one and then the other. Each server has a TPM of its own, so that none has
another's key in its slots.
"""

import socket
import statistics
import subprocess
from collections.abc import Iterator

from manager import Manager
from result import Amount, Ratio, ratios
from rounds import sign
from setting import BROKER, DELAYS, Failed, Setting, User, make_peers_key, make_software_key
from tpm import Broker, wait_for

NGINX = "/usr/sbin/nginx"
ENOUGH = 0.85
CONNECTIONS = 8  # at once, so that each worker always has one to take
WARM_UP = 0.2  # seconds, in which keys are loaded
CONF = """\
user root;
worker_processes {workers};
pid nginx.pid;
error_log error.log error;
daemon off;
{env}
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {user}/web.crt;
        ssl_certificate_key {user}/web.pem;
        ssl_protocols TLSv1.3;
    }}
}}
"""

RANDOM = """\
random = random

[random]
random = CTR-DRBG
properties = provider=default

[providers]
"""


class Server:
    """nginx with the key and the certificate of a user, web.pem and web.crt."""

    def __init__(self, setting: Setting, user: User, workers: int):
        self.client = setting.program("handshakes")
        self.seconds = setting.seconds
        self.directory = setting.fresh("nginx")
        self.directory.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        conf = self.directory / "nginx.conf"
        conf.write_text(CONF.format(workers=workers, port=self.port, user=user.directory,
                                    env="\n".join(f"env {name};" for name in user.env)))
        self.process = subprocess.Popen(
            [NGINX, "-p", self.directory, "-e", "error.log", "-c", conf], env=user.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        try:
            wait_for(self._listens, "nginx to listen")
            self._shake_hands(WARM_UP)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def rate(self) -> float:
        """Handshakes a second, in one round. Failed: with the first that was none."""
        return self._shake_hands(self.seconds)

    def _listens(self) -> bool:
        if self.process.poll() is not None:
            raise Failed(f"nginx: {self._errors()}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _shake_hands(self, seconds: float) -> float:
        done = subprocess.run(
            [self.client, "--connections", str(CONNECTIONS), "--seconds", str(seconds),
             "127.0.0.1", str(self.port)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{done.stderr.strip()}: {self._errors()}")
        return float(done.stdout)

    def _errors(self) -> str:
        log = self.directory / "error.log"
        return log.read_text()[-500:] if log.exists() else "nothing in its log"


def certify(user: User):
    """A certificate for web.pem, which may be its own: who shakes hands does not look at it."""
    user.run("openssl", "req", "-x509", "-key", "web.pem", "-subj", "/CN=localhost",
             "-out", "web.crt", "-config", "/etc/ssl/openssl.cnf")


def our_user(setting: Setting, tcti: str, persistent: bool = False, **env: str) -> User:
    user = setting.user(tcti)
    user.env |= env
    user.run(setting.lct, "create", "web")
    if persistent:
        user.run(setting.lct, "persist", "web")
    user.path("web.pem").write_text(user.run(setting.lct, "pem", "web"))
    certify(user)
    return user


def peers_user(setting: Setting, name: str, tcti: str, software_random: bool, **env: str) -> User:
    """
    Of tpm2-openssl, with a key of its own making. Its random numbers come from the TPM, unless they
    are asked for elsewhere.
    """
    user = setting.peer(name, tcti)
    if software_random:
        user.conf.write_text(user.conf.read_text().replace("[providers]\n", RANDOM))
    user.env |= env
    make_peers_key(user).rename(user.path("web.pem"))
    certify(user)
    return user


def software_user(setting: Setting) -> User:
    user = User(setting.fresh("software"), {}, "none")
    make_software_key(user).rename(user.path("web.pem"))
    certify(user)
    return user


def signatures(setting: Setting, user: User) -> float:
    """The floor: TPM2_Sign as bytes, signatures a second, in one round."""
    return sign(setting, user, "floor", tcti=user.env["LCT_TCTI"], rounds=1)["floor"][0]


def measure(setting: Setting, workers: int, persistent: bool = False) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {"floor": [], "software": [], "lct": []}
    signer = our_user(setting, setting.tpm().tcti)
    with Server(setting, software_user(setting), workers) as software, Server(
            setting, our_user(setting, setting.tpm().tcti, persistent), workers) as ours:
        for _ in range(setting.rounds):
            rates["software"].append(software.rate())
            rates["lct"].append(ours.rate())
            rates["floor"].append(signatures(setting, signer))
    return rates


def lesser(rates: dict[str, list[float]]) -> list[float]:
    return [min(pair) for pair in zip(rates["software"], rates["floor"])]


def one_after_the_other(rates: dict[str, list[float]]) -> list[float]:
    return [1 / (1 / software + 1 / floor)
            for software, floor in zip(rates["software"], rates["floor"])]


def compare(name: str, rates: dict[str, list[float]], over: list[float], bound: float | None,
            note: str = "") -> Ratio:
    return Ratio(name, ratios(rates["lct"], over), at_least=bound, rates=rates, note=note)


def with_one_worker(setting: Setting) -> Iterator[Ratio]:
    name, rates = "nginx, 1 worker", measure(setting, 1)
    most = statistics.median(ratios(one_after_the_other(rates), lesser(rates)))
    yield compare(f"{name}, over min(software, floor)", rates, lesser(rates), ENOUGH,
                  f"a worker that waits while the TPM signs can reach {most:.2f} here")
    yield compare(f"{name}, over software and then floor", rates, one_after_the_other(rates),
                  ENOUGH)


def behind_manager(setting: Setting, peer: str, software_random: bool) -> Ratio | Amount:
    """By tpm2-abrmd: ours over tpm2-openssl's, or ours alone and why the other failed."""
    name, failure = "nginx behind tpm2-abrmd, 2 workers", ""
    other = f"{peer}, its random numbers in software" if software_random else peer
    rates: dict[str, list[float]] = {"lct": [], peer: []}
    with Broker(setting.tpm()) as broker, Broker(setting.tpm()) as peers_broker, Server(
            setting, our_user(setting, BROKER, **broker.env), 2) as ours:
        try:
            user = peers_user(setting, peer, BROKER, software_random, **peers_broker.env)
            with Server(setting, user, 2) as theirs:
                for _ in range(setting.rounds):
                    rates[peer].append(theirs.rate())
                    rates["lct"].append(ours.rate())
        except Failed as error:
            failure = str(error).splitlines()[0]
        if failure:
            return Amount(name, ours.rate(), "handshakes/s",
                          note=f"no ratio, since {other} fails there: {failure}")
    return Ratio(f"{name}, over {other}", ratios(rates["lct"], rates[peer]),
                 at_least=None if software_random else 2, rates=rates)


def on_hardware(setting: Setting, workers: int) -> Ratio:
    """Where the TPM takes tens of milliseconds; over as many as it makes then."""
    tpm = setting.tpm()
    user = our_user(setting, tpm.tcti, persistent=True)
    (sign_ms,) = (line.split()[1] for line in DELAYS.read_text().splitlines()
                  if line.startswith("Sign "))
    rates: dict[str, list[float]] = {"lct": []}
    with Manager(setting, tpm, delays=DELAYS, count=False) as manager:
        user.env["LCT_TCTI"] = manager.tcti
        with Server(setting, user, workers) as ours:
            for _ in range(setting.rounds):
                rates["lct"].append(ours.rate())
    floor = [1000 / float(sign_ms)] * setting.rounds
    return Ratio(f"nginx, {workers} worker{'s' * (workers > 1)}, TPM as slow as hardware, "
                 "over its signatures", ratios(rates["lct"], floor), at_least=ENOUGH)


def run(setting: Setting) -> Iterator[Ratio | Amount]:
    yield from with_one_worker(setting)
    for workers in 1, 2:
        yield on_hardware(setting, workers)
    rates = measure(setting, 2, persistent=True)
    yield compare("nginx, 2 workers, persistent key, over min(software, floor)", rates,
                  lesser(rates), ENOUGH)
    rates = measure(setting, 2)
    yield compare("nginx, 2 workers, wrapped key, over min(software, floor)", rates, lesser(rates),
                  None, "without a resource manager three slots keep the key of one worker loaded")
    for peer in setting.peers:
        for software_random in False, True:
            yield behind_manager(setting, peer, software_random)
