# SPDX-License-Identifier: Apache-2.0
"""
Applications whose newer versions take the URI of a key where older ones take a file: the real
program of whichever Debian this is, or a reason why not.
"""

import os
import re
import shutil
import subprocess

import pytest

from apps import free_port
from conftest import Server
from test_tls import SOFTWARE, start_server
from tpm import wait_for

KINDS = pytest.mark.parametrize("key", ["ec", "rsa"])
SECRET = "correct horse battery staple"
NGINX = """\
daemon off;
{user}
worker_processes 2;
pid nginx.pid;
error_log stderr notice;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen unix:{directory}/web ssl;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate crt.pem;
        {password}
        ssl_certificate_key store:lct://{key};
        return 200 "nginx here\\n";
    }}
}}
"""

LIGHTTPD = """\
server.document-root = "{directory}"
server.bind = "{directory}/web"
server.modules = ("mod_openssl")
mimetype.assign = ("" => "text/plain")
ssl.engine = "enable"
ssl.pemfile = "crt.pem"
ssl.privkey = "lct://{key}"
"""
NODE_SIGNER = """\
const crypto = require('crypto'), fs = require('fs');
const key = crypto.createPrivateKey({{key: new URL('lct:///{key}'), passphrase: '{secret}'}});
fs.writeFileSync('sig', crypto.sign('sha256', fs.readFileSync('data'), key));
"""


def need(program: str, version: tuple[int, ...], *arguments: str):
    """Skips unless the program is here, and as new as it must be."""
    if not (path := shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")):
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False,
                          timeout=60)
    words = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", done.stdout + done.stderr)
    found = tuple(int(word or 0) for word in words.groups())
    if found < version:
        wanted = ".".join(map(str, version))
        pytest.skip(f"{program} takes URIs from {wanted} on, and this is {words[0]}")
    return path


@pytest.fixture(name="start")
def fixture_start():
    """Starts programs of a user, which end with the test."""
    started = []

    def run(user, *arguments) -> Server:
        started.append(Server([str(argument) for argument in arguments], cwd=user.directory,
                              env=user.environment()))
        return started[-1]

    yield run
    for server in started:
        if server.process.poll() is None:
            server.process.terminate()
            server.stop()


def configure_nginx(user, key: str, password: str = ""):
    user.write("nginx.conf", NGINX.format(directory=user.directory, key=key, password=password,
                                          user="user root;" if os.geteuid() == 0 else ""))


def nginx(user) -> list:
    path = need("nginx", (1, 29, 0), "-v")
    return [path, "-p", user.directory, "-e", "stderr", "-c", "nginx.conf"]


def ask(user, version: str = "tls1_3", page: str = "") -> str:
    """A page of the web server, over a connection of its own."""
    done = user.openssl("s_client", "-unix", user.path("web"), "-servername", "localhost",
                        f"-{version}", "-CAfile", "crt.pem", "-verify_return_error", "-quiet",
                        stdin=f"GET /{page} HTTP/1.0\r\n\r\n", env=SOFTWARE)
    return done.stdout


@KINDS
def test_nginx_serves_with_a_key_by_its_uri(owner, start, key):
    command = nginx(owner)
    owner.certificate(f"lct:{key}")
    configure_nginx(owner, key)
    server = start(owner, *command)
    server.read_until(rb"(start worker process \d+(.|\n)*){2}")
    for version in ("tls1_2", "tls1_3") * 4:
        assert "nginx here" in ask(owner, version)
    owner.run(*command, "-s", "reload")
    server.read_until(rb"(start worker process \d+(.|\n)*){4}")
    for version in ("tls1_2", "tls1_3") * 4:
        assert "nginx here" in ask(owner, version)
    assert not re.search(rb"\[(alert|crit|error|emerg)\]", server.output)


@pytest.mark.parametrize("uri_key, why", [("nobody", "no such identity"),
                                          ("../x", "malformed id"), ("p384", "mismatch")])
def test_nginx_says_why_it_does_not_start(owner, uri_key, why):
    command = nginx(owner)
    owner.certificate("lct:ec")
    configure_nginx(owner, uri_key)
    done = owner.run(*command, "-t", status=1)
    assert why in done.stderr


@pytest.fixture(name="locked")
def fixture_locked(owner):
    """An owner with a key that takes a passphrase, which is in a file."""
    owner.write("secret", f"{SECRET}\n")
    owner.lct("create", "locked", "--passphrase-file", "secret")
    owner.certificate("lct:locked", "/CN=localhost", "crt.pem", "-passin", "file:secret")
    return owner


def test_nginx_has_the_passphrase_from_its_file(locked, start):
    command = nginx(locked)
    configure_nginx(locked, "locked", "ssl_password_file secret;")
    start(locked, *command).read_until(rb"(start worker process \d+(.|\n)*){2}")
    for _ in range(4):
        assert "nginx here" in ask(locked)
    configure_nginx(locked, "locked")
    done = locked.run(*command, "-t", status=1, start_new_session=True)  # without a terminal
    assert "lct://locked" in done.stderr


@KINDS
def test_lighttpd_serves_with_a_key_by_its_uri(owner, start, key):
    path = need("lighttpd", (1, 4, 85), "-v")
    owner.certificate(f"lct:{key}")
    owner.write("lighttpd.conf", LIGHTTPD.format(directory=owner.directory, key=key))
    start(owner, path, "-D", "-f", "lighttpd.conf").read_until(rb"server started")
    for _ in range(4):
        assert "what is signed" in ask(owner, page="data")


def test_lighttpd_does_not_start_with_a_key_that_is_not_there(owner):
    path = need("lighttpd", (1, 4, 85), "-v")
    owner.certificate("lct:ec")
    owner.write("lighttpd.conf", LIGHTTPD.format(directory=owner.directory, key="nobody"))
    assert "lct://nobody" in owner.run(path, "-D", "-f", "lighttpd.conf", status=255).stderr


@pytest.fixture(name="node")
def fixture_node() -> list[str]:
    """A node that takes the URL of a key, in crypto if not in tls: its words."""
    path = need("node", (18, 0, 0), "--version")
    asked = "process.allowedNodeEnvironmentFlags.has('--allow-openssl-store')"
    done = subprocess.run([path, "-p", asked], capture_output=True, text=True, check=True,
                          timeout=60)
    if done.stdout != "true\n":
        pytest.skip("this node takes no URLs of keys")
    return [path, "--openssl-shared-config"]


@KINDS
def test_node_signs_with_a_key_by_its_url(owner, node, key):
    owner.write("sign.js", NODE_SIGNER.format(key=key, secret=""))
    owner.run(*node, "sign.js")
    owner.verify(owner.public_key(f"lct:{key}"), owner.path("sig"), owner.path("data"))
    owner.write("sign.js", NODE_SIGNER.format(key="nobody", secret=""))
    assert "no such identity" in owner.run(*node, "sign.js", status=1).stderr


def test_node_gives_a_key_its_passphrase(locked, node):
    shown = locked.openssl("x509", "-in", "crt.pem", "-noout", "-pubkey", env=SOFTWARE).stdout
    locked.write("sign.js", NODE_SIGNER.format(key="locked", secret=SECRET))
    locked.run(*node, "sign.js")
    locked.verify(locked.write("pub.pem", shown), locked.path("sig"), locked.path("data"))


@pytest.fixture(name="demanding")
def fixture_demanding(owner):
    """Starts an s_server that demands the certificate of a key of ours; its port."""
    owner.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out",
                  "server.pem", "-subj", "/CN=localhost", "-addext",
                  "subjectAltName=DNS:localhost,IP:127.0.0.1", env=SOFTWARE)

    def serve(key: str) -> str:
        owner.certificate(f"lct:{key}", "/CN=alice", "client.pem")
        _, port = start_server(owner, "-www", "-key", "server.key", "-cert", "server.pem",
                               "-Verify", "1", "-CAfile", "client.pem", "-verify_return_error")
        return port

    return serve


def curl(user, port: str, key: str, *options, certificate="client.pem", status: int = 0):
    """As a program does where lct is installed: curl's own library context may read no
    openssl.cnf, so the environment says the rest."""
    env = {"OPENSSL_MODULES": str(user.build), "LCT_TCTI": user.tcti, "LCT_STORE": str(user.store)}
    return user.run("curl", "--silent", "--show-error", "--cacert", "server.pem", "--cert",
                    certificate, "--key-type", "PROV", "--key", f"lct://{key}", *options,
                    f"https://127.0.0.1:{port}/", status=status, env=env)


@KINDS
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_is_a_client_with_a_key_by_its_uri(owner, demanding, key, version):
    need("curl", (8, 12, 0), "--version")
    done = curl(owner, demanding(key), key, "--engine", "lct", "--tlsv1.2", "--tls-max", version)
    assert f"TLSv{version}" in done.stdout
    assert re.search(r"Subject: CN ?= ?alice", done.stdout)


@KINDS
def test_curl_has_the_certificate_from_the_store_too(owner, demanding, key):
    """A colon would begin a passphrase, so it is escaped."""
    need("curl", (8, 12, 0), "--version")
    port = demanding(key)
    owner.lct("cert", key, "--set", "client.pem")
    owner.path("client.pem").unlink()
    done = curl(owner, port, key, "--engine", "lct", "--cert-type", "PROV",
                certificate=f"lct\\://{key}")
    assert re.search(r"Subject: CN ?= ?alice", done.stdout)


@pytest.mark.parametrize("options, key, why", [
    ((), "ec", "provider not set"), (("--engine", "lct"), "nobody", "no such identity")])
def test_curl_says_why_it_does_not_connect(owner, demanding, options, key, why):
    need("curl", (8, 12, 0), "--version")
    done = curl(owner, demanding("ec"), key, *options, status=58)
    assert why in done.stderr


OPENVPN = ("--dev", "null", "--ifconfig-noexec", "--verb", "3", "--ca", "both.pem",
           "--data-ciphers", "AES-256-GCM", "--proto", "tcp4-{side}", "--port")


def openvpn(user, side: str, port: int, key: str, certificate: str) -> list:
    path = need("openvpn", (2, 7), "--version")
    where = {"server": ("--local", "127.0.0.1", "--tls-server", "--dh", "none"),
             "client": ("--remote", "127.0.0.1", "--tls-client", "--nobind")}[side]
    return [path, *(word.format(side=side) for word in OPENVPN), str(port), *where, "--cert",
            certificate, "--key", f"lct://{key}"]


@pytest.mark.parametrize("server_key, client_key", [("ec", "rsa"), ("rsa", "ec")])
def test_openvpn_has_keys_by_their_uris_on_both_sides(owner, start, server_key, client_key):
    need("openvpn", (2, 7), "--version")
    both = [owner.certificate(f"lct:{key}", f"/CN={key}", f"{key}.pem").read_text()
            for key in (server_key, client_key)]
    owner.write("both.pem", "".join(both))
    port = free_port()
    server = start(owner, *openvpn(owner, "server", port, server_key, f"{server_key}.pem"))
    server.read_until(rb"Listening for incoming TCP connection")
    client = start(owner, *openvpn(owner, "client", port, client_key, f"{client_key}.pem"))
    for side in (server, client):
        side.read_until(rb"Initialization Sequence Completed")
    assert f"CN={client_key}".encode() in server.output
    assert f"CN={server_key}".encode() in client.output


def test_openvpn_says_which_key_it_cannot_load(owner):
    need("openvpn", (2, 7), "--version")
    owner.certificate("lct:ec", name="ec.pem")
    owner.write("both.pem", owner.path("ec.pem").read_text())
    done = owner.run(*openvpn(owner, "server", free_port(), "nobody", "ec.pem"), status=1)
    assert "nobody" in done.stdout
