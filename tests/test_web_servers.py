# SPDX-License-Identifier: Apache-2.0
"""Web servers of Debian's packages, with the files of conf/, whose keys are identities: apps.py."""

import os
import pwd
import random
import signal
import ssl
import threading

import pytest

from apps import Backend, Client, at_once, children, free_port, owner_of
from conftest import TIMEOUT
from tpm import wait_for

KINDS = pytest.mark.parametrize("kind", ["ec", "rsa"])
# A socket that every process opens for each command, and a device that only root can open.
WAYS = pytest.mark.parametrize("way", ["swtpm", "device"])
BOTH = pytest.mark.parametrize("kind, way", [("ec", "device"), ("rsa", "swtpm")])
VERSIONS = ("TLSv1.2", "TLSv1.3")
NGINX = """\
user www-data;
worker_processes 2;
pid nginx.pid;
error_log error.log warn;
env OPENSSL_CONF;
env LD_PRELOAD;
env DBUS_SESSION_BUS_ADDRESS;
env ASAN_OPTIONS;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
@conf@
}
"""
APACHE = """\
ServerName localhost
PidFile apache2.pid
ErrorLog error.log
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
StartServers 3
Listen 127.0.0.1:{port}
@conf@
"""
HAPROXY = """\
global
    user haproxy
    group haproxy
    chroot {jail}
    nbthread 2
@conf@
"""
LIGHTTPD = """\
server.username = "www-data"
server.groupname = "www-data"
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{root}"
index-file.names = ( "index.html" )
@conf@
"""
STUNNEL = """\
foreground = yes
pid =
@conf@
"""


def uid(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def document_root(site):
    """Something to be served."""
    root = site.path("html")
    root.mkdir(mode=0o755, exist_ok=True)
    site.write("html/index.html", "it works\n").chmod(0o644)
    return root


def serves(site, port: int, versions=VERSIONS):
    """Sessions that are resumed, in both versions, and many handshakes at once."""
    for version in versions:
        assert Client(site.ca, version).resumes(port), version
    at_once(lambda: Client(site.ca).get(port))


class Load:
    """Handshakes until the block ends, some at a time, each with a session of its own."""

    threads = 6

    def __init__(self, site, *ports: int):
        self.client, self.ports = Client(site.ca), ports
        self.done, self.failures = 0, []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(self.threads)]

    def _run(self):
        while not self._end.is_set():
            try:
                self.client.get(random.choice(self.ports))
                self.done += 1
            except (OSError, AssertionError) as error:
                self.failures.append(error)

    def more(self, count: int = 20):
        """Waits for so many more that succeed."""
        before = self.done
        wait_for(lambda: self.done >= before + count,
                 f"{count} handshakes; failures: {self.failures[-3:]}")

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.more()
        return self

    def __exit__(self, *_):
        self._end.set()
        for thread in self._threads:
            thread.join(TIMEOUT)


@pytest.fixture(name="backend")
def fixture_backend():
    backend = Backend()
    yield backend
    backend.stop()


def wait_for_children(program, count: int):
    """Until they are so many, and are www-data."""
    def users():
        return [owner_of(pid)[0] for pid in children(program.pid)]
    wait_for(lambda: users() == [uid("www-data")] * count, f"{count} children")


def start_nginx(site, *ports: int, identities=("web",)):
    """nginx as its unit starts it, with a port for each identity, and its two workers."""
    text = ""
    for port, identity in zip(ports, identities):
        site.identity(identity)
        changes = {"listen 443": f"listen 127.0.0.1:{port}", "/var/www/html": document_root(site)}
        text += site.conf("nginx.conf", changes, identity=identity).read_text()
    conf = site.write("nginx.conf", NGINX.replace("@conf@", text))
    nginx = site.start("/usr/sbin/nginx", "-p", site.directory, "-e", "error.log", "-c", conf, "-g",
                       "daemon on; master_process on;", port=ports[0],
                       pidfile=site.path("nginx.pid"))
    wait_for_children(nginx, 2)
    return nginx


def errors_of(site) -> list[str]:
    lines = site.path("error.log").read_text().splitlines()
    return [line for line in lines if "error]" in line or "crit]" in line or "alert]" in line]


@KINDS
@WAYS
def test_nginx_serves_and_reloads(make_site, kind, way):
    site, port = make_site(kind, way), free_port()
    nginx = start_nginx(site, port)
    workers = children(nginx.pid)
    serves(site, port)
    with Load(site, port) as load:
        nginx.send(signal.SIGHUP)
        wait_for(lambda: not set(workers) & set(children(nginx.pid)), "the old workers to end")
        load.more()
    assert not load.failures and len(children(nginx.pid)) == 2
    nginx.stop(signal.SIGQUIT)
    assert not errors_of(site)


@BOTH
def test_nginx_goes_on_when_a_worker_is_killed(make_site, machine, kind, way):
    """The other worker signs on, and so does the one in the place of the one that was killed."""
    site, port = make_site(kind, way), free_port()
    nginx = start_nginx(site, port)
    for _ in range(3):
        before = children(nginx.pid)
        with Load(site, port) as load:
            os.kill(before[0], signal.SIGKILL)
            load.more()
            wait_for(lambda: len(children(nginx.pid)) == 2, "another worker")
        # What the dead worker had accepted ends with it, and nothing else.
        assert len(load.failures) <= load.threads and before[1] in children(nginx.pid)
        at_once(lambda: Client(site.ca).get(port))
        os.kill(before[1], signal.SIGKILL)
        wait_for(lambda: set(children(nginx.pid)).isdisjoint(before), "a worker in its place")
        wait_for(lambda: len(children(nginx.pid)) == 2, "another worker")
        at_once(lambda: Client(site.ca).get(port))
    nginx.stop(signal.SIGQUIT)
    if way == "swtpm":
        machine.tpm.flush()  # nobody else can throw out what the dead had loaded


@BOTH
def test_nginx_is_replaced_while_it_serves(make_site, kind, way):
    """A new binary takes over the sockets: the documented USR2, WINCH, QUIT."""
    site, port = make_site(kind, way), free_port()
    nginx = start_nginx(site, port)
    old, pidfile = nginx.pid, site.path("nginx.pid")
    with Load(site, port) as load:
        nginx.send(signal.SIGUSR2)
        wait_for(site.path("nginx.pid.oldbin").exists, "the new binary")
        wait_for(lambda: pidfile.exists() and pidfile.read_text(), "its pid")
        nginx.pid = int(pidfile.read_text())
        wait_for(lambda: len(children(nginx.pid)) == 2, "the new workers")
        os.kill(old, signal.SIGWINCH)
        wait_for(lambda: children(old) == [nginx.pid], "the old workers to end")
        load.more()
        os.kill(old, signal.SIGQUIT)
        wait_for(lambda: old not in nginx.living(), "the old master to end")
        load.more()
    assert not load.failures
    nginx.stop(signal.SIGQUIT)
    assert not errors_of(site)


def test_nginx_serves_with_eight_keys_on_a_tpm_of_three_slots(make_site):
    site, ports = make_site("ec"), [free_port() for _ in range(8)]
    identities = ["web", *(f"k{number}" for number in range(7))]
    for identity in identities[1:]:
        site.create(identity)
    nginx = start_nginx(site, *ports, identities=identities)
    for port in ports:
        Client(site.ca).get(port)
    turns = [port for port in ports for _ in range(12)]
    random.shuffle(turns)
    at_once(lambda: Client(site.ca).get(turns.pop()), len(turns))
    with Load(site, *ports) as load:
        nginx.send(signal.SIGHUP)
        load.more()
    assert not load.failures
    nginx.stop(signal.SIGQUIT)


@KINDS
def test_nginx_signs_with_a_tpm_that_was_restarted(make_site, machine, kind):
    site, port = make_site(kind), free_port()
    nginx = start_nginx(site, port)
    workers = children(nginx.pid)
    serves(site, port)
    machine.restart_tpm()
    with Load(site, port) as load:
        load.more(100)
    assert not load.failures
    serves(site, port)
    assert children(nginx.pid) == workers
    nginx.stop(signal.SIGQUIT)


def test_nginx_s_workers_open_the_device_themselves_where_they_may(make_site):
    """As members of its group; without that they go on with what the master opened."""
    site, port = make_site("ec", "device"), free_port()
    nginx = start_nginx(site, port)
    serves(site, port)
    openers = {space.pid for space in site.device.spaces()}
    assert len(openers) == 1 and openers.isdisjoint(children(nginx.pid))
    os.chown(site.device.path, -1, pwd.getpwnam("www-data").pw_gid)
    before = set(children(nginx.pid))
    nginx.send(signal.SIGHUP)
    wait_for(lambda: len(set(children(nginx.pid)) - before) == 2 == len(children(nginx.pid)),
             "new workers")
    serves(site, port)
    assert {space.pid for space in site.device.spaces()} >= set(children(nginx.pid))


def start_apache(site, port: int, more: str = ""):
    """Apache as apachectl starts it, with three children of many threads."""
    site.identity()
    changes = {"*:443": f"127.0.0.1:{port}", "/var/www/html": document_root(site),
               "SSLEngine on": f"SSLEngine on\n{more}"}
    conf = site.conf("apache2.conf", changes, APACHE.format(port=port))
    return site.start("/usr/sbin/apache2", "-d", site.directory, "-f", conf, "-k", "start",
                      port=port, pidfile=site.path("apache2.pid"),
                      env={"APACHE_RUN_DIR": str(site.directory)})


@KINDS
@WAYS
def test_apache_serves_and_reloads(make_site, kind, way):
    site, port = make_site(kind, way), free_port()
    apache = start_apache(site, port)
    wait_for_children(apache, 3)
    before = children(apache.pid)
    serves(site, port)
    with Load(site, port) as load:
        apache.send(signal.SIGUSR1)
        wait_for(lambda: not set(before) & set(children(apache.pid)), "the old children to end")
        load.more()
    assert not load.failures
    apache.stop()
    assert "[ssl:error]" not in site.path("error.log").read_text()


@KINDS
def test_apache_is_a_client_with_an_identity(make_site, machine, kind):
    """SSLProxyMachineCertificateFile, which takes a key only where its label says so."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(machine.software.crt, machine.software.key)
    context.load_verify_locations(machine.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    backend = Backend(context)
    try:
        site, port = make_site(kind, "device"), free_port()
        start_apache(site, port, f"""\
    SSLProxyEngine on
    SSLProxyMachineCertificateFile {site.path("web.bundle.pem")}
    SSLProxyCACertificateFile {site.ca}
    SSLProxyVerify require
    ProxyPass / https://localhost:{backend.port}/ disablereuse=on
""")
        at_once(lambda: Client(site.ca).get(port), 30)
    finally:
        backend.stop()


@KINDS
@pytest.mark.parametrize("first", ["certificate", "key"])
def test_haproxy_serves_from_a_chroot_and_reloads(make_site, backend, kind, first):
    site, port = make_site(kind, "device"), free_port()
    web = site.identity()
    if first == "key":
        web.bundle.write_text(web.key.read_text() + web.crt.read_text())
    site.path("jail").mkdir()
    conf = site.conf("haproxy.cfg", {"bind :443": f"bind 127.0.0.1:{port}",
                                     "127.0.0.1:8080": f"127.0.0.1:{backend.port}"},
                     HAPROXY.format(jail=site.path("jail")))
    haproxy = site.start("/usr/sbin/haproxy", "-W", "-f", conf, port=port)
    wait_for(lambda: len(children(haproxy.pid)) == 1, "the worker")
    (worker,) = children(haproxy.pid)
    wait_for(lambda: owner_of(worker) == (uid("haproxy"), []), "the worker to be haproxy")
    assert os.readlink(f"/proc/{worker}/root") == str(site.path("jail"))
    serves(site, port)
    haproxy.send(signal.SIGUSR2)
    wait_for(lambda: len(now := children(haproxy.pid)) == 1 and worker not in now,
             "another worker alone")
    serves(site, port)


@KINDS
@WAYS
def test_lighttpd_serves_with_a_certificate_before_its_key(make_site, kind, way):
    site, port = make_site(kind, way), free_port()
    web = site.identity()
    assert web.bundle.read_text().index("CERTIFICATE") < web.bundle.read_text().index("PRIVATE")
    conf = site.conf("lighttpd.conf", {'":443"': f'"127.0.0.1:{port}"'}, LIGHTTPD.format(
        port=free_port(), root=document_root(site)))
    lighttpd = site.start("/usr/sbin/lighttpd", "-D", "-f", conf, port=port)
    wait_for(lambda: owner_of(lighttpd.pid)[0] == uid("www-data"), "lighttpd to be www-data")
    serves(site, port)
    lighttpd.stop()


@KINDS
@WAYS
def test_stunnel_serves_with_its_own_allocator(make_site, backend, kind, way):
    """It aborts where memory of OpenSSL's is freed by another's function."""
    site, port = make_site(kind, way), free_port()
    site.identity()
    user = next(entry.pw_name for entry in pwd.getpwall()
                if entry.pw_name in ("stunnel4", "stunnel"))
    conf = site.conf("stunnel.conf", {"accept = 443": f"accept = 127.0.0.1:{port}",
                                      "127.0.0.1:8080": f"127.0.0.1:{backend.port}",
                                      "uid = stunnel4": f"uid = {user}",
                                      "gid = stunnel4": f"gid = {user}"}, STUNNEL)
    stunnel = site.start("/usr/bin/stunnel4", conf, port=port)
    wait_for(lambda: owner_of(stunnel.pid)[0] == uid(user), "stunnel to be its user")
    serves(site, port)
    stunnel.stop()
    assert "Connection closed" in stunnel.output() and "error" not in stunnel.output().lower()
