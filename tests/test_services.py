# SPDX-License-Identifier: Apache-2.0
"""A broker, a resolver, a VPN and a mail server of Debian's packages, with the files of conf/."""

import contextlib
import os
import pwd
import re
import signal
import socket
import ssl
import struct
import time
from pathlib import Path

import pytest

from apps import (LEAVE_LEAKS, SOFTWARE, VERSIONS, Client, Program, Site, at_once, free_port,
                  owner_of)
from tpm import wait_for

KINDS = pytest.mark.parametrize("kind", ["ec", "rsa"])
MOSQUITTO = """\
@conf@
allow_anonymous true
user mosquitto
pid_file {directory}/log/mosquitto.pid
log_dest file {directory}/log/mosquitto.log
"""
MQTT = (b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test"  # CONNECT
        b"\xe0\x00")  # DISCONNECT
CONNACK = b"\x20\x02\x00\x00"
UNBOUND = """\
@conf@
    directory: "{directory}/log"
    chroot: "{chroot}"
    pidfile: "{directory}/log/unbound.pid"
    use-syslog: no
    logfile: "{directory}/log/unbound.log"
    num-threads: 2
    module-config: "iterator"
    local-data: "here.example. A 192.0.2.7"
"""
QUERY = (b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
         b"\x04here\x07example\x00\x00\x01\x00\x01")
VPN_SERVER = """\
@conf@
ca {ca}
tls-server
dh none
dev null
proto udp4
local 127.0.0.1
port {port}
float
verb 3
daemon
writepid {directory}/server.pid
log-append {directory}/server.log
chroot {directory}/jail
"""
VPN_CLIENT = """\
@conf@
ca {ca}
tls-client
tls-version-max {version}
verify-x509-name localhost name
dev null
proto udp4
remote 127.0.0.1 {port}
nobind
verb 3
"""
MAIN_CF = """\
compatibility_level = 3.6
myhostname = localhost
mydestination =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = {directory}/maillog
maillog_file_prefixes = {directory}
passed = MAIL_CONFIG MAIL_LOGTAG TZ LANG=C LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS
@conf@
"""
MASTER_CF = """\
{port} inet n - y - - smtpd
cleanup unix n - y - 0 cleanup
rewrite unix - - y - - trivial-rewrite
tlsmgr unix - - y 1000? 1 tlsmgr
proxymap unix - - n - - proxymap
anvil unix - - y - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
# What our openssl.cnf is told by; what sanitizers need is passed in any case.
POSTFIX_TOLD = {"environment": "import_environment = $passed OPENSSL_CONF\n",
                "file": "import_environment = $passed\n"
                "tls_config_file = {directory}/openssl.cnf\n"}


def uid(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def wait_for_line(path: Path, text: str):
    """Waits for something in a log."""
    wait_for(lambda: text in read(path), f"{text!r} in:\n{read(path)}")


def root_of(pid: int) -> Path:
    return Path(os.readlink(f"/proc/{pid}/root"))


# --- mosquitto


def mosquitto_conf(site: Site, port: int, further: str = "") -> Path:
    site.own("log", "mosquitto:mosquitto")
    return site.conf("mosquitto.conf", {"listener 8883": f"listener {port} 127.0.0.1"},
                     MOSQUITTO.format(directory=site.directory) + further)


def start_mosquitto(site: Site, port: int, further: str = ""):
    """A daemon, which becomes mosquitto before it opens its files."""
    conf = mosquitto_conf(site, port, further)
    return site.start("/usr/sbin/mosquitto", "-d", "-c", conf, port=port,
                      pidfile=site.path("log/mosquitto.pid"))


def mqtt(site: Site, port: int, version: str | None = None):
    client = Client(site.ca, version)
    answer, resumed, session = client.ask(port, MQTT)
    assert (answer, resumed) == (CONNACK, False)
    return client, session


def shown_by(site: Site, port: int) -> str | None:
    """The certificate of a server, which has none after a reload that failed."""
    with contextlib.suppress(ssl.SSLError):
        return Client(site.ca).certificate(port)
    return None


@KINDS
@pytest.mark.parametrize("way", ["swtpm", "device"])
def test_mosquitto_serves_and_reloads(make_site, kind, way):
    site, port = make_site(kind, way), free_port()
    if site.device:
        site.give_device("mosquitto")
    web = site.identity(owner="root:mosquitto", mode=0o640)
    mosquitto, log = start_mosquitto(site, port), site.path("log/mosquitto.log")
    assert owner_of(mosquitto.pid)[0] == uid("mosquitto")
    for version in VERSIONS:
        client, session = mqtt(site, port, version)
        assert client.ask(port, MQTT, session)[:2] == (CONNACK, True), version
    at_once(lambda: mqtt(site, port), 50)

    site.create("next", "ec")
    following = site.identity("next", owner="root:mosquitto", mode=0o640)
    following.key.replace(web.key)
    following.crt.replace(web.crt)
    site.give("next", "root:root")
    mosquitto.send(signal.SIGHUP)
    wait_for_line(log, "Error when reloading certificate")
    assert "lct::store cannot be read or written" in read(log)

    site.give("next", "root:mosquitto")
    mosquitto.send(signal.SIGHUP)
    wait_for(lambda: shown_by(site, port) == site.crts["next"].read_text(), "the new certificate")
    at_once(lambda: mqtt(site, port), 20)


def test_mosquitto_does_not_start_with_an_identity_that_it_cannot_read(make_site):
    site = make_site("ec")
    site.identity(owner="root:mosquitto", mode=0o640)
    site.give("web", "root:root")
    site.user.run("/usr/sbin/mosquitto", "-c", mosquitto_conf(site, free_port()), status=1,
                  env=LEAVE_LEAKS)
    assert f'Unable to load server key file "{site.path("web.pem")}"' in read(
        site.path("log/mosquitto.log"))
    assert "lct::store cannot be read or written" in read(site.path("log/mosquitto.log"))


@KINDS
def test_mosquitto_clients_have_certificates(make_site, kind):
    site, port = make_site(kind), free_port()
    site.identity(owner="root:mosquitto", mode=0o640)
    start_mosquitto(site, port, f"cafile {site.ca}\nrequire_certificate true\n"
                    "use_identity_as_username true\n")
    site.create("alice", kind, subject="/CN=alice")
    alice = site.identity("alice")

    def client(program: str, *arguments, certified: bool = True, status: int = 0):
        return site.user.run(f"mosquitto_{program}", "-h", "localhost", "-p", port, "--cafile",
                             site.ca, "-t", "topic", *arguments,
                             *(["--cert", alice.crt, "--key", alice.key] if certified else []),
                             status=status, env=LEAVE_LEAKS if certified else SOFTWARE)

    for version in ("tlsv1.2", "tlsv1.3"):
        client("pub", "-r", "-m", version, "--tls-version", version)
        assert client("sub", "-C", "1", "--tls-version", version).stdout == f"{version}\n"
    at_once(lambda: client("pub", "-m", "hello"), 12)
    wait_for_line(site.path("log/mosquitto.log"), "u'alice'")
    client("pub", "-m", "hello", certified=False, status=None)
    wait_for_line(site.path("log/mosquitto.log"), "peer did not return a certificate")
    site.user.lct("delete", "alice", "--yes")
    assert "lct::no such identity" in client("pub", "-d", "-m", "hello", status=None).stdout


# --- unbound


def unbound_conf(site: Site, port: int, chroot: str = "") -> Path:
    site.own("log", "unbound:unbound")
    return site.conf("unbound.conf", {"@853": f"@{port}", "tls-port: 853": f"tls-port: {port}"},
                     UNBOUND.format(directory=site.directory, chroot=chroot))


def start_unbound(site: Site, port: int, chroot: str = "") -> Program:
    return site.start("/usr/sbin/unbound", "-c", unbound_conf(site, port, chroot), port=port,
                      pidfile=site.path("log/unbound.pid"))


def resolve(client: Client, port: int, session: ssl.SSLSession | None = None, pause: float = 0):
    """A query's answer, by DNS over TLS; whether the session was resumed; a session."""
    with client.connect(port, session) as connection, connection.makefile("rb") as answers:
        time.sleep(pause)
        connection.sendall(struct.pack(">H", len(QUERY)) + QUERY)
        (size,) = struct.unpack(">H", answers.read(2))
        assert answers.read(size).endswith(socket.inet_aton("192.0.2.7"))
        return connection.session_reused, connection.session


@KINDS
@pytest.mark.parametrize("chroot", [False, True])
def test_unbound_answers_over_tls(make_site, kind, chroot):
    site, port = make_site(kind, "device"), free_port()
    site.identity()
    unbound = start_unbound(site, port, str(site.directory) if chroot else "")
    assert owner_of(unbound.pid)[0] == uid("unbound")
    assert root_of(unbound.pid) == (site.directory if chroot else Path("/"))
    for version in VERSIONS:
        client = Client(site.ca, version)
        resumed, session = resolve(client, port)
        assert (resumed, resolve(client, port, session)[0]) == (False, True), version
    at_once(lambda: resolve(Client(site.ca), port), 100, 48)


def test_unbound_waits_for_a_slow_client_while_many_are_connected(make_site):
    site, port = make_site("ec", "device"), free_port()
    site.identity()
    start_unbound(site, port)
    with contextlib.ExitStack() as others:
        for _ in range(20):
            others.enter_context(Client(site.ca).connect(port))
        assert not resolve(Client(site.ca), port, pause=0.5)[0]


def test_unbound_does_not_start_without_its_identity(make_site):
    site = make_site("ec")
    site.identity()
    site.user.lct("delete", "web", "--yes")
    done = site.user.run("/usr/sbin/unbound", "-c", unbound_conf(site, free_port()), status=1,
                         env=LEAVE_LEAKS)
    assert f"error for private key file: {site.path('web.pem')}" in done.stderr
    assert "lct::no such identity" in done.stderr


# --- OpenVPN


def start_vpn(site: Site, port: int, changes: dict | None = None) -> Program:
    """A daemon in a chroot, as nobody, without a network interface, for one client at a time."""
    site.path("jail").mkdir()
    site.path("jail/tmp").mkdir()
    conf = site.conf("openvpn.conf", changes or {},
                     VPN_SERVER.format(directory=site.directory, port=port, ca=site.ca))
    conf = conf.rename(site.path("server.conf"))
    return site.start("/usr/sbin/openvpn", conf, pidfile=site.path("server.pid"))


def start_vpn_client(site: Site, port: int, version: str) -> Program:
    """With the identity alice."""
    conf = site.conf("openvpn.conf", {"web.crt": "alice.crt", "web.pem": "alice.pem"},
                     VPN_CLIENT.format(port=port, ca=site.ca, version=version))
    return site.start("/usr/sbin/openvpn", conf)


@KINDS
def test_openvpn_signs_in_its_chroot(make_site, kind):
    site, port = make_site(kind, "device"), free_port(socket.SOCK_DGRAM)
    site.identity()
    site.create("alice", kind, subject="/CN=alice")
    site.identity("alice")
    log = site.path("server.log")
    server = start_vpn(site, port, {"reneg-sec 36000": "reneg-sec 1"})
    client = start_vpn_client(site, port, "1.3")
    client.wait_for_output("Initialization Sequence Completed")
    assert [owner_of(each.pid) for each in (server, client)] == [(uid("nobody"), [])] * 2
    assert root_of(server.pid) == site.path("jail")
    # Each renewal of the keys is a handshake.
    wait_for(lambda: read(log).count("Control Channel: TLSv1.3") >= 2, "handshakes")
    client.stop()

    before = len(read(log))
    server.send(signal.SIGUSR1)  # begins again, in the chroot, with the key that it has
    wait_for(lambda: "link remote" in read(log)[before:], "the restart")
    client = start_vpn_client(site, port, "1.2")
    client.wait_for_output("Initialization Sequence Completed")
    wait_for(lambda: read(log)[before:].count("Control Channel: TLSv1.2") >= 2, "handshakes")
    assert "VERIFY OK: depth=0, CN=alice" in read(log)
    assert "TLS Error" not in read(log) and "OpenSSL:" not in read(log)


def test_openvpn_says_that_it_cannot_reach_the_tpm_from_its_chroot(make_site):
    site, port = make_site("ec"), free_port(socket.SOCK_DGRAM)  # by a socket, which is outside
    site.identity()
    site.create("alice", "ec")
    start_vpn(site, port)
    site.identity("alice")
    start_vpn_client(site, port, "1.3")
    wait_for_line(site.path("server.log"), "lct::TPM not reachable:lct:web: no TPM at "
                  f"{site.machine.tpm.path}: No such file or directory")


# --- Postfix


def start_postfix(site: Site, port: int, told: str = "environment") -> Program:
    """A mail system of its own, whose daemons are in chroots, as Debian's are."""
    for directory in ("etc", "queue"):
        site.path(directory).mkdir()
    site.own("data", "postfix:postfix")
    text = (MAIN_CF + POSTFIX_TOLD[told]).format(directory=site.directory)
    site.conf("postfix.cf", {}, text).rename(site.path("etc/main.cf"))
    site.write("etc/master.cf", MASTER_CF.format(port=port))
    return site.start("/usr/sbin/postfix", "-c", site.path("etc"), "start", port=port,
                      pidfile=site.path("queue/pid/master.pid"))


def start_tls(connection: socket.socket):
    """SMTP until TLS begins."""
    with connection.makefile("rb") as answers:
        for command in (b"", b"EHLO localhost\r\n", b"STARTTLS\r\n"):
            connection.sendall(command)
            while (line := answers.readline())[3:4] == b"-":
                pass
            assert line[:3] in (b"220", b"250"), line


def quits(client: Client, port: int, session: ssl.SSLSession | None = None):
    answer, resumed, session = client.ask(port, b"QUIT\r\n", session)
    assert answer == b"221 2.0.0 Bye\r\n"
    return resumed, session


def smtpds(postfix: Program) -> list[int]:
    return [pid for pid in postfix.living()
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"smtpd")]


@pytest.mark.parametrize("kind, told", [("ec", "environment"), ("rsa", "file")])
def test_postfix_signs_in_its_chroot(make_site, kind, told):
    site, port = make_site(kind, "device"), free_port()
    site.identity()
    postfix = start_postfix(site, port, told)
    for version in VERSIONS:
        client = Client(site.ca, version, hello=start_tls)
        resumed, session = quits(client, port)
        assert (resumed, quits(client, port, session)[0]) == (False, True), version
    with Client(site.ca, hello=start_tls).connect(port):
        # A server that has just been started for the next client is not in its chroot yet.
        wait_for(lambda: {(owner_of(pid)[0], root_of(pid)) for pid in smtpds(postfix)} == {
            (uid("postfix"), site.path("queue"))}, "servers in their chroot")
    at_once(lambda: quits(Client(site.ca, hello=start_tls), port), 40)
    assert "warning" not in read(site.path("maillog"))


def test_postfix_says_why_there_is_no_tls(make_site):
    site, port = make_site("ec"), free_port()
    site.identity()
    site.user.lct("delete", "web", "--yes")
    start_postfix(site, port)
    with pytest.raises(AssertionError, match="454 4.7.0 TLS not available due to local problem"):
        quits(Client(site.ca, hello=start_tls), port)
    # It is written by a server of its own, when that comes to it.
    wait_for_line(site.path("maillog"),
                  f'cannot get RSA private key from file "{site.path("web.pem")}"')
    wait_for(lambda: re.search("lct::no such identity:.*:lct:web: there is no such identity in "
                               f"{site.path('store')}; lct list shows what there is",
                               read(site.path("maillog"))), "the reason")
