# SPDX-License-Identifier: Apache-2.0
"""Clients and tools of Debian's packages, with key files of ours: apps.py."""

import contextlib
import os
import signal
import socket
import ssl
import struct
import threading

import pytest

from apps import LEAVE_LEAKS, Client, Identity, at_once, children, free_port, listens
from conftest import ALGORITHMS, TIMEOUT
from tpm import wait_for

KINDS = pytest.mark.parametrize("kind", ["ec", "rsa"])
FILES = pytest.mark.parametrize("command", ["pem", "export"])
PYTHON = "/usr/bin/python3"  # Debian's, which is linked with Debian's OpenSSL
SECRET = "correct horse"
PLAIN = {"OPENSSL_CONF": "/etc/ssl/openssl.cnf"}


@pytest.fixture(name="make_site")
def fixture_make_site(make_site):
    """Sites whose user runs programs with leaks of their own."""
    def make(*arguments):
        site = make_site(*arguments)
        site.user.env |= LEAVE_LEAKS
        return site

    return make


def key_file(site, command: str, name: str = "web"):
    """An identity whose key file is a reference, or its TSS2 PRIVATE KEY."""
    files = site.identity(name)
    key = site.user.lct(command, name).stdout
    files.key.write_text(key)
    files.bundle.write_text(files.crt.read_text() + key)
    return files


def software(site) -> Identity:
    """A key and a certificate for localhost that have nothing to do with us."""
    maker = site.machine.maker
    paths = [site.path(f"software.{suffix}") for suffix in ("key", "crt", "bundle")]
    csr = maker.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "group:P-256", "-nodes",
                        "-keyout", paths[0], "-subj", "/CN=localhost", env=PLAIN).stdout
    maker.openssl("x509", "-req", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2", "-extfile",
                  maker.path("extensions"), "-out", paths[1], stdin=csr, env=PLAIN)
    return Identity("software", *paths)


def locked(site, kind: str) -> Identity:
    """An identity that takes a passphrase, with its files."""
    secret = site.write("secret", SECRET + "\n")
    site.user.lct("create", "locked", "--algorithm", ALGORITHMS[kind], "--passphrase-file", secret)
    csr = site.user.lct("csr", "locked", "--subject", "/CN=localhost", "--passphrase-file",
                        secret).stdout
    site.crts["locked"] = site.path("locked.ca.crt")
    maker = site.machine.maker
    maker.openssl("x509", "-req", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2", "-extfile",
                  maker.path("extensions"), "-out", site.crts["locked"], stdin=csr, env=PLAIN)
    return site.identity("locked")


class Verifier:
    """A TLS server in software that takes only clients with a certificate of the CA."""

    def __init__(self, site):
        files = software(site)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(files.crt, files.key)
        self.context.load_verify_locations(site.ca)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.versions = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while True:
            plain, _ = self.listener.accept()
            plain.settimeout(TIMEOUT)
            with plain, contextlib.suppress(OSError):
                with self.context.wrap_socket(plain, server_side=True) as connection:
                    if not connection.recv(65536):
                        continue
                    self.versions.append(connection.version())
                    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello")
                    connection.unwrap()
            if self.port is None:
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        port, self.port = self.port, None
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            pass
        self.thread.join(TIMEOUT)
        self.listener.close()


@pytest.fixture(name="curl")
def fixture_curl(build):
    if build.name == "asan":
        pytest.skip("Debian's curl hangs under the sanitizer's runtime alone")


@KINDS
@FILES
@pytest.mark.usefixtures("curl")
def test_curl_has_a_client_certificate(make_site, kind, command):
    site = make_site(kind)
    files = key_file(site, command)
    first = site.write("key-first.pem", files.key.read_text() + files.crt.read_text())
    with Verifier(site) as server:
        url = f"https://localhost:{server.port}/"
        common = ["curl", "-sS", "--cacert", site.ca]
        for how in (["--cert", files.crt, "--key", files.key], ["--cert", files.bundle],
                    ["--cert", first]):
            for version in ("1.2", "1.3"):
                done = site.user.run(*common, *how, "--tls-max", version, url)
                assert done.stdout == "hello"
        assert server.versions == ["TLSv1.2", "TLSv1.3"] * 3
        site.user.run(*common, url, status=None)
        assert len(server.versions) == 6, "the server takes clients without a certificate"


@KINDS
@pytest.mark.usefixtures("curl")
def test_curl_takes_a_passphrase(make_site, kind):
    site = make_site(kind)
    files = locked(site, kind)
    before = site.machine.tpm.property(0x20E)
    with Verifier(site) as server:
        for secret, status in ((SECRET, 0), ("wrong", 35)):
            conf = site.write("curlrc", f'pass = "{secret}"\n')
            done = site.user.run("curl", "-sS", "-K", conf, "--cacert", site.ca, "--cert",
                                 files.crt, "--key", files.key,
                                 f"https://localhost:{server.port}/", status=status)
            assert (done.stdout == "hello") == (status == 0)
    assert site.machine.tpm.property(0x20E) == before + 1
    site.machine.forget_wrong_tries()


# Python. What the children of a test do, they say on standard output.

THREADS = """
import socket, ssl, sys, threading
crt, key, ca, threads, each = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(crt, key)
server.load_verify_locations(ca)
server.verify_mode = ssl.CERT_REQUIRED
client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
client.load_cert_chain(crt, key)
client.load_verify_locations(ca)
server.options |= ssl.OP_NO_TICKET
done = []

def serve(end):
    with server.wrap_socket(end, server_side=True) as tls:
        tls.sendall(tls.recv(100))

def run():
    for _ in range(each):
        ours, theirs = socket.socketpair()
        other = threading.Thread(target=serve, args=(theirs,))
        other.start()
        with client.wrap_socket(ours, server_hostname="localhost") as tls:
            tls.sendall(b"ping")
            assert tls.recv(100) == b"ping"
        other.join()
        done.append(1)

workers = [threading.Thread(target=run) for _ in range(threads)]
for worker in workers: worker.start()
for worker in workers: worker.join()
print(len(done))
"""

PREFORK = """
import gc, os, signal, socket, ssl, sys
crt, key, port, children = *sys.argv[1:3], int(sys.argv[3]), int(sys.argv[4])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(crt, key)
listener = socket.create_server(("127.0.0.1", port), backlog=100)

def serve():
    while True:
        plain, _ = listener.accept()
        try:
            with context.wrap_socket(plain, server_side=True) as tls:
                if tls.recv(4096).startswith(b"GET /last"):
                    tls.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n")
                    return
                tls.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n%d" % os.getpid())
        except OSError:
            pass

def end(*_):
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    sys.exit()

pids = []
for _ in range(children):
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        serve()
        del context
        gc.collect()
        sys.exit()
    pids.append(pid)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
signal.pause()
"""


@KINDS
@FILES
def test_threads_of_python_share_a_key(make_site, kind, command):
    site = make_site(kind)
    files = key_file(site, command)
    done = site.user.run(PYTHON, "-c", THREADS, files.crt, files.key, site.ca, 8, 4)
    assert done.stdout == "32\n" and done.stderr == ""


@KINDS
@pytest.mark.parametrize("way", ["swtpm", "device"])
def test_forked_servers_of_python_share_a_key_and_survive_one_another(make_site, kind, way):
    site, port = make_site(kind, way), free_port()
    files = key_file(site, "pem")
    server = site.start(PYTHON, "-c", PREFORK, files.crt, files.key, port, 4, port=port)
    server.wait_for_output("ready")
    answers = [answer for answer, *_ in at_once(lambda: Client(site.ca).get(port), 40, 8)]
    pids = {int(answer.rpartition(b"\n")[2]) for answer in answers}
    assert len(pids) > 1, "one child alone has served"
    killed = pids.pop()
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: killed not in children(server.pid), "that child to be gone")
    at_once(lambda: Client(site.ca).get(port), 20, 8)
    Client(site.ca).ask(port, b"GET /last HTTP/1.0\r\n\r\n")  # that child deletes its context
    for version in ("TLSv1.2", "TLSv1.3"):
        client = Client(site.ca, version)
        at_once(lambda: client.get(port), 10, 4)
    server.stop()
    if way == "swtpm":
        site.machine.tpm.flush()  # what the killed one kept loaded, which nobody else tidies up


LOAD = """
import ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
calls = []
def password():
    calls.append(1)
    return sys.argv[1]
try:
    context.load_cert_chain(*sys.argv[2:], password=password)
    print("loaded", len(calls))
except OSError as error:
    print("refused", len(calls), error)
"""


@KINDS
@FILES
def test_python_loads_a_bundle_in_either_order(make_site, kind, command):
    site = make_site(kind)
    files = key_file(site, command)
    first = site.write("key-first.pem", files.key.read_text() + files.crt.read_text())
    for arguments in ([files.crt, files.key], [files.bundle], [first]):
        assert site.user.run(PYTHON, "-c", LOAD, "-", *arguments).stdout == "loaded 0\n"
    other = site.machine.ca
    assert "refused 0" in site.user.run(PYTHON, "-c", LOAD, "-", other, files.key).stdout


@KINDS
def test_python_is_asked_for_a_passphrase_once(make_site, kind):
    site = make_site(kind)
    files = locked(site, kind)
    for arguments in ([files.crt, files.key], [files.bundle]):
        assert site.user.run(PYTHON, "-c", LOAD, SECRET, *arguments).stdout == "loaded 1\n"
        assert site.user.run(PYTHON, "-c", LOAD, "", *arguments).stdout.startswith("refused 1 ")


# Code signing

def portable_executable() -> bytes:
    """An x86-64 program that returns: PE format specification, with two sections."""
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    coff = struct.pack("<HHIIIHH", 0x8664, 2, 0, 0, 0, 240, 0x22)
    standard = struct.pack("<HBBIIIII", 0x20B, 14, 0, 512, 512, 0, 0x1000, 0x1000)
    windows = struct.pack("<QIIHHHHHHIIIIHHQQQQII", 0x140000000, 0x1000, 512, 6, 0, 0, 0, 6, 0, 0,
                          0x3000, 512, 0, 10, 0, 0x100000, 0x1000, 0x100000, 0x1000, 0, 16)
    sections = [struct.pack("<8sIIIIIIHHI", name, 512, at, 512, offset, 0, 0, 0, 0, flags)
                for name, at, offset, flags in ((b".text", 0x1000, 512, 0x60000020),
                                                (b".data", 0x2000, 1024, 0xC0000040))]
    headers = dos + b"PE\0\0" + coff + standard + windows + bytes(16 * 8) + b"".join(sections)
    return headers.ljust(512, b"\0") + b"\xc3".ljust(512, b"\0") + bytes(512)


@KINDS
@FILES
def test_osslsigncode_signs(make_site, kind, command):
    site = make_site(kind)
    files = key_file(site, command)
    crt = site.user.certificate("lct:web", "/CN=signer", "signer.crt", "-addext",
                                "extendedKeyUsage=codeSigning")
    program = site.write("program.exe", portable_executable())
    site.user.run("osslsigncode", "sign", "-certs", crt, "-key", files.key, "-in", program, "-out",
                  "signed.exe")
    verify = ["osslsigncode", "verify", "-CAfile", crt, "-in"]
    done = site.user.run(*verify, "signed.exe")
    assert "Signature verification: ok" in done.stdout
    forged = bytearray(site.path("signed.exe").read_bytes())
    forged[512] ^= 1
    assert site.user.run(*verify, site.write("forged.exe", bytes(forged)), status=None).returncode


@KINDS
@FILES
def test_sbsign_signs(make_site, kind, command):
    site = make_site(kind)
    files = key_file(site, command)
    crt = site.user.certificate("lct:web", "/CN=signer", "signer.crt")
    program = site.write("program.efi", portable_executable())
    site.user.run("sbsign", "--key", files.key, "--cert", crt, "--output", "signed.efi", program)
    assert "OK" in site.user.run("sbverify", "--cert", crt, "signed.efi").stdout
    forged = bytearray(site.path("signed.efi").read_bytes())
    forged[512] ^= 1
    site.user.run("sbverify", "--cert", crt, site.write("forged.efi", bytes(forged)), status=1)


# strongSwan's pki, which takes the label off and calls d2i_AutoPrivateKey

@KINDS
@FILES
def test_pki_of_strongswan_makes_certificates(make_site, kind, command):
    site = make_site(kind)
    files = key_file(site, command)
    public = site.user.public_key("lct:web")
    kinds = {"ec": "ecdsa", "rsa": "rsa"}

    def pki(*arguments, **options):
        return site.user.run("pki", *arguments, "--outform", "pem", **options).stdout

    assert pki("--pub", "--in", files.key, "--type", kinds[kind]) == public.read_text()
    ca = site.write("own.crt", pki("--self", "--in", files.key, "--type", kinds[kind], "--dn",
                                   "CN=own", "--ca"))
    site.user.openssl("verify", "-CAfile", ca, ca, env=PLAIN)
    leaf = site.write("leaf.crt", pki("--issue", "--cacert", ca, "--cakey", files.key, "--type",
                                      "pub", "--in", public, "--dn", "CN=leaf"))
    site.user.openssl("verify", "-CAfile", ca, leaf, env=PLAIN)
    if kind == "rsa":
        for more in (["--digest", "sha512"], ["--rsa-padding", "pss"]):
            crt = site.write("more.crt", pki("--self", "--in", files.key, "--type", "rsa", "--dn",
                                             "CN=own", *more))
            site.user.openssl("verify", "-CAfile", crt, crt, env=PLAIN)
    request = pki("--req", "--in", files.key, "--type", kinds[kind], "--dn", "CN=request")
    site.user.openssl("req", "-verify", "-noout", "-in", site.write("csr", request), env=PLAIN)


# node, in which is another libcrypto than the one we are linked with

NODE = """
const [crt, key, ca] = process.argv.slice(2).map((name) => require('fs').readFileSync(name));
const https = require('https'), crypto = require('crypto');
const secret = crypto.createPrivateKey(key);
const signature = crypto.sign('sha256', Buffer.from('data'), secret);
if (!crypto.verify('sha256', Buffer.from('data'), crypto.createPublicKey(crt), signature))
    throw new Error('the signature does not verify');
const server = https.createServer({cert: crt, key, ca, requestCert: true}, (request, response) =>
    response.end(request.socket.getPeerCertificate().subject.CN + request.socket.getProtocol()));
server.listen(0, '127.0.0.1', async () => {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'])
        await new Promise((resolve, reject) => https.get(
            {port: server.address().port, host: 'localhost', family: 4, cert: crt, key, ca,
             maxVersion, agent: false},
            (response) => response.on('data', (text) => console.log(`${text}`)).on('end', resolve)
        ).on('error', reject));
    server.close();
});
"""


@KINDS
@FILES
def test_node_serves_asks_and_signs(make_site, kind, command):
    site = make_site(kind)
    files = key_file(site, command)
    done = site.user.run("node", "--openssl-shared-config", site.write("app.js", NODE), files.crt,
                         files.key, site.ca)
    assert done.stdout == "localhostTLSv1.2\nlocalhostTLSv1.3\n"


# Servers with a passphrase

NGINX = """\
daemon off;
pid nginx.pid;
error_log error.log warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;
    scgi_temp_path t5;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {files.crt};
        ssl_certificate_key {files.key};
        ssl_password_file {passwords};
        location / {{ return 200 "it works"; }}
    }}
}}
"""


@KINDS
def test_nginx_reads_a_passphrase_from_its_password_file(make_site, kind):
    site, port = make_site(kind), free_port()
    files = locked(site, kind)
    passwords = site.write("passwords", SECRET + "\n")
    conf = site.write("nginx.conf", NGINX.format(port=port, files=files, passwords=passwords))
    site.start("/usr/sbin/nginx", "-p", site.directory, "-e", "error.log", "-c", conf, port=port)
    for version in ("TLSv1.2", "TLSv1.3"):
        Client(site.ca, version).get(port)
    site.write("passwords", "\n")
    done = site.user.run("/usr/sbin/nginx", "-p", site.directory, "-e", "error.log", "-c", conf,
                         "-t", status=1)
    assert "lct:locked: signing with it takes its passphrase" in done.stderr


APACHE = """\
ServerRoot {directory}
ServerName localhost
PidFile apache.pid
ErrorLog error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
User www-data
Group www-data
Listen 127.0.0.1:{port}
DocumentRoot {directory}/html
SSLPassPhraseDialog exec:{directory}/dialog
<VirtualHost *:{port}>
    SSLEngine on
    SSLCertificateFile {files.crt}
    SSLCertificateKeyFile {files.key}
</VirtualHost>
"""
REQUEST = b"GET /index.html HTTP/1.0\r\nHost: localhost\r\n\r\n"


@KINDS
def test_apache_asks_its_dialog_for_a_passphrase(make_site, kind):
    site, port = make_site(kind), free_port()
    files = locked(site, kind)
    site.path("html").mkdir()
    site.write("html/index.html", "it works").chmod(0o644)
    site.write("dialog", f"#!/bin/sh\necho $1 >> {site.path('asked')}\necho '{SECRET}'\n"
               ).chmod(0o755)
    conf = site.write("apache.conf", APACHE.format(directory=site.directory, port=port,
                                                   files=files))
    apache = site.start("/usr/sbin/apache2", "-f", conf, "-X")
    asked, log = site.path("asked"), site.path("error.log")

    def ready():
        assert apache.living(), log.read_text()
        return asked.exists() and listens(port)

    wait_for(ready, "apache to ask and to listen")
    for version in ("TLSv1.2", "TLSv1.3"):
        answer, *_ = Client(site.ca, version).ask(port, REQUEST)
        assert b" 200 OK" in answer
    assert len(asked.read_text().splitlines()) == 1
    apache.stop()
    assert " emerg" not in log.read_text() and "SSL Library Error" not in log.read_text()
