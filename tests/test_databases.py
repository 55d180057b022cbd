# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL and Redis of Debian's packages, with the files of conf/, and their own clients."""

import os
import pwd
import re
import signal
import socket
import ssl
import struct
import subprocess
from pathlib import Path

import pytest

from apps import (LEAVE_LEAKS, SOFTWARE, VERSIONS, Client, Site, as_user, at_once, children,
                  free_port, owner_of)
from conftest import TIMEOUT
from tpm import wait_for

KINDS = pytest.mark.parametrize("kind", ["ec", "rsa"])
POSTGRESQL_CONF = """\
data_directory = '{directory}/data'
hba_file = '{directory}/hba.conf'
ident_file = '{directory}/ident.conf'
external_pid_file = '{directory}/data/external.pid'
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{directory}/data'
max_connections = 100
fsync = off
ssl_ca_file = '{ca}'
@conf@
"""
HBA = """\
hostssl all postgres 127.0.0.1/32 trust
hostssl all all 127.0.0.1/32 trust clientcert=verify-full
"""


SUBJECT = "select current_user, client_dn from pg_stat_ssl where pid = pg_backend_pid()"


def postgres_program(name: str) -> Path:
    """A program of the newest version of PostgreSQL, without Debian's wrapper."""
    return max(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))


@pytest.fixture(scope="module", name="cluster")
def fixture_cluster(machine) -> Path:
    """What initdb makes, for copies."""
    if machine.maker.preload:
        pytest.skip("Debian's postgres with libasan preloaded hangs, even in --version")
    path = machine.directory / "cluster"
    path.mkdir(mode=0o700)
    subprocess.run(["chown", "postgres:", path], check=True)
    subprocess.run([postgres_program("initdb"), "--no-sync", "--auth=trust", "--no-locale",
                    "--encoding=UTF8", "-D", path], check=True, capture_output=True, cwd=path,
                   env={"PATH": os.environ["PATH"]}, **as_user("postgres"))
    return path


def start_postgres(site: Site, cluster: Path, port: int, wait: bool = True):
    if site.device:
        site.give_device()
    site.write("hba.conf", HBA)
    site.write("ident.conf", "")
    subprocess.run(["cp", "-a", cluster, site.path("data")], check=True)
    conf = site.conf("postgresql.conf", {},
                     POSTGRESQL_CONF.format(directory=site.directory, port=port, ca=site.ca))
    postgres = site.start(postgres_program("postgres"), "-D", site.path("data"), "-c",
                          f"config_file={conf}",
                          **as_user("postgres", *(["tss"] if site.device else [])))
    if wait:
        postgres.wait_for_output("ready to accept connections")
    return postgres


def psql(site, port: int, *, user: str = "postgres", sql: str = "select version from pg_stat_ssl "
         "where pid = pg_backend_pid()", status: int | None = 0, env=None, **connection):
    """A query of libpq's, which verifies the server's certificate."""
    found = {"host": "localhost", "hostaddr": "127.0.0.1", "port": port, "user": user,
             "dbname": "postgres", "sslmode": "verify-full", "sslrootcert": site.ca,
             "connect_timeout": TIMEOUT} | connection
    done = site.user.run(postgres_program("psql"), "-XAtq", "-F", " ", "-c", sql, "-d",
                         " ".join(f"{key}={value}" for key, value in found.items()),
                         env=SOFTWARE if env is None else env, status=status)
    return done.stdout.strip() if status == 0 else done.stderr


def ask_for_tls(connection: socket.socket):
    """PostgreSQL's SSLRequest."""
    connection.sendall(struct.pack(">II", 8, 80877103))
    assert connection.recv(1) == b"S"


@pytest.mark.parametrize("kind, way", [("ec", "swtpm"), ("rsa", "swtpm"), ("ec", "device")])
def test_postgresql_serves_48_parallel_logins(make_site, cluster, kind, way):
    site, port = make_site(kind, way), free_port()
    site.identity(owner="postgres:postgres")
    postgres = start_postgres(site, cluster, port)
    assert owner_of(postgres.pid)[0] == pwd.getpwnam("postgres").pw_uid
    for version in VERSIONS:
        assert psql(site, port, ssl_min_protocol_version=version,
                    ssl_max_protocol_version=version) == version
    assert at_once(lambda: psql(site, port), 48, 48) == ["TLSv1.3"] * 48
    refused = psql(site, port, status=2, sslrootcert=site.identity().crt)
    assert "certificate verify failed" in refused


@KINDS
def test_libpq_has_a_client_certificate(make_site, cluster, kind):
    site, port = make_site(kind), free_port()
    site.identity(owner="postgres:postgres")
    postgres = start_postgres(site, cluster, port)
    psql(site, port, sql="create role alice login; create role bob login")
    site.create("alice", kind, subject="/CN=alice")
    alice = site.identity("alice")
    certified = {"sql": SUBJECT, "env": LEAVE_LEAKS, "sslcert": alice.crt, "sslkey": alice.key}

    def login():
        return psql(site, port, user="alice", **certified)

    assert at_once(login, 12, 12) == ["alice /CN=alice"] * 12
    assert 'authentication failed for user "bob"' in psql(site, port, user="bob", status=2,
                                                          **certified)
    assert "requires a valid client certificate" in psql(site, port, user="alice", status=2)
    alice.key.chmod(0o644)
    assert "has group or world access" in psql(site, port, user="alice", status=2, **certified)
    alice.key.chmod(0o600)
    site.user.lct("delete", "alice", "--yes")
    assert f'could not load private key file "{alice.key}": no such identity' in psql(
        site, port, user="alice", status=2, **certified)
    assert "(alice) and authenticated user name" not in postgres.output()


def test_postgresql_reloads_its_key_and_keeps_the_old_one_if_it_cannot(make_site, cluster):
    site, port = make_site("ec"), free_port()
    web = site.identity(owner="root:postgres", mode=0o640)
    site.give("web", "postgres:postgres")
    postgres, client = start_postgres(site, cluster, port), Client(site.ca, hello=ask_for_tls)
    assert client.certificate(port) == web.crt.read_text()

    site.create("next", "rsa")
    following = site.identity("next", owner="postgres:postgres")
    following.key.replace(web.key)
    following.crt.replace(web.crt)
    site.give("next", "root:root")
    postgres.send(signal.SIGHUP)
    postgres.wait_for_output("SSL configuration was not reloaded")
    assert (f'could not load private key file "{web.key}": store cannot be read or written'
            in postgres.output())
    assert client.certificate(port) == site.crts["web"].read_text()

    site.give("next", "postgres:postgres")
    postgres.send(signal.SIGHUP)
    wait_for(lambda: client.certificate(port) == site.crts["next"].read_text(),
             "the new certificate")
    assert at_once(lambda: psql(site, port), 12, 12) == ["TLSv1.3"] * 12


@pytest.mark.parametrize("owner, mode, message", [
    ("postgres:postgres", 0o644, "has group or world access"),
    ("root:postgres", 0o600, "Permission denied"),
    ("nobody:postgres", 0o640, "must be owned by the database user or root")])
def test_postgresql_refuses_a_key_file_that_is_not_its_own(make_site, cluster, owner, mode,
                                                           message):
    site = make_site("ec")
    site.identity(owner=owner, mode=mode)
    postgres = start_postgres(site, cluster, free_port(), wait=False)
    assert postgres.process.wait(TIMEOUT) == 1
    assert re.search(f"FATAL:  .*{message}", postgres.output())


def test_postgresql_says_that_the_tpm_cannot_be_reached_and_goes_on_when_it_can(make_site, cluster):
    site, port = make_site("ec"), free_port()
    site.identity(owner="postgres:postgres")
    postgres = start_postgres(site, cluster, port)
    site.machine.tpm.path.chmod(0o600)
    try:
        assert "alert internal error" in psql(site, port, status=2)
        postgres.wait_for_output("could not accept SSL connection: TPM not reachable")
    finally:
        site.machine.tpm.path.chmod(0o666)
    assert psql(site, port) == "TLSv1.3"


REDIS_CONF = """\
@conf@
bind 127.0.0.1
dir {directory}/data
tls-ca-cert-file {ca}
save ""
enable-debug-command local
"""
PING = b"PING\r\nQUIT\r\n"


def start_redis(site: Site, port: int, further: str = "", groups=("tss",)):
    """With the device, and as its unit's drop-in has it: in the group tss."""
    site.give_device()
    site.own("data", "redis:redis")
    conf = site.conf("redis.conf", {"tls-port 6379": f"tls-port {port}"},
                     REDIS_CONF.format(directory=site.directory, ca=site.ca) + further)
    return site.start("/usr/bin/redis-server", conf, port=port, **as_user("redis", *groups))


def redis_cli(site: Site, port: int, *command, status: int = 0, env=None, options=()) -> str:
    done = site.user.run("redis-cli", "-e", "-h", "localhost", "-p", port, "--tls", "--cacert",
                         site.ca, *options, *command, status=status,
                         env=SOFTWARE if env is None else env)
    return (done.stderr if status else done.stdout).strip()


def ping(site: Site, port: int, version: str | None = None) -> Client:
    client = Client(site.ca, version)
    assert client.ask(port, PING)[0] == b"+PONG\r\n+OK\r\n"
    return client


@KINDS
def test_redis_serves_while_it_saves(make_site, kind):
    site, port = make_site(kind, "device"), free_port()
    site.identity(owner="redis:redis")
    redis = start_redis(site, port)
    for version in VERSIONS:
        client = ping(site, port, version)
        _, resumed, session = client.ask(port, PING)
        assert (resumed, client.ask(port, PING, session)[1]) == (False, True), version
    at_once(lambda: ping(site, port))

    redis_cli(site, port, "debug", "populate", "1000")
    redis_cli(site, port, "config", "set", "rdb-key-save-delay", "100000")  # µs
    redis_cli(site, port, "bgsave")
    (child,) = wait_for(lambda: children(redis.pid), "the child that saves")
    at_once(lambda: ping(site, port), 20)
    assert children(redis.pid) == [child]
    os.kill(child, signal.SIGKILL)
    redis.wait_for_output("Background saving terminated by signal 9")
    at_once(lambda: ping(site, port), 20)

    redis_cli(site, port, "config", "set", "rdb-key-save-delay", "0")
    redis_cli(site, port, "bgsave")
    redis.wait_for_output("Background saving terminated with success")
    at_once(lambda: ping(site, port), 20)
    redis.stop()
    assert "Error accepting" not in redis.output()


@KINDS
def test_redis_cli_has_a_client_certificate(make_site, kind):
    site, port = make_site(kind, "device"), free_port()
    site.identity(owner="redis:redis")
    redis = start_redis(site, port, "tls-auth-clients yes")
    site.create("alice", kind, subject="/CN=alice")
    alice = site.identity("alice")
    certified = {"env": LEAVE_LEAKS, "options": ("--cert", alice.crt, "--key", alice.key)}
    assert at_once(lambda: redis_cli(site, port, "ping", **certified), 12) == ["PONG"] * 12
    redis_cli(site, port, "ping", status=1)
    redis.wait_for_output("peer did not return a certificate")
    site.user.lct("delete", "alice", "--yes")
    assert "Invalid private key" in redis_cli(site, port, "ping", status=1, **certified)


def test_redis_takes_another_key_and_keeps_the_old_one_if_it_cannot(make_site):
    site, port = make_site("ec", "device"), free_port()
    site.identity(owner="redis:redis")
    redis = start_redis(site, port)
    site.create("next", "rsa")
    following = site.identity("next", owner="redis:redis")
    site.give("next", "root:root")
    change = ("config", "set", "tls-cert-file", following.crt, "tls-key-file", following.key)
    assert "Unable to update TLS configuration" in redis_cli(site, port, *change, status=1)
    redis.wait_for_output(f"Failed to load private key: {following.key}: error:.*:lct::store "
                          "cannot be read or written")
    assert Client(site.ca).certificate(port) == site.crts["web"].read_text()
    site.give("next", "redis:redis")
    assert redis_cli(site, port, *change) == "OK"
    assert Client(site.ca).certificate(port) == site.crts["next"].read_text()
    at_once(lambda: ping(site, port), 20)


def test_redis_without_its_drop_in_says_that_the_tpm_cannot_be_reached(make_site):
    site, port = make_site("ec", "device"), free_port()
    site.identity(owner="redis:redis")
    redis = start_redis(site, port, groups=())
    with pytest.raises(ssl.SSLError, match="alert internal error"):
        ping(site, port)
    redis.wait_for_output("Error accepting a client connection: error:.*:lct::TPM not reachable")
    site.give_device("redis")
    ping(site, port)
