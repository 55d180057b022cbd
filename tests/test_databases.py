# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL and Redis of Debian's packages, with the files of conf/, and their own clients."""

import pwd
import re
import signal
import socket
import ssl
import struct
import subprocess
from pathlib import Path

import pytest

from apps import VERSIONS, Client, at_once, children, free_port, owner_of
from conftest import TIMEOUT
from tpm import wait_for

KINDS = pytest.mark.parametrize("kind", ["ec", "rsa"])
SOFTWARE = {"OPENSSL_CONF": "/etc/ssl/openssl.cnf"}
POSTGRES = {"user": "postgres", "group": "postgres", "extra_groups": []}
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


def owned(site, name: str, user: str) -> Path:
    """A directory that belongs to a user."""
    path = site.path(name)
    path.mkdir(mode=0o700)
    subprocess.run(["chown", f"{user}:", path], check=True)
    return path


@pytest.fixture(scope="module", name="cluster")
def fixture_cluster(machine) -> Path:
    """What initdb makes, for copies."""
    path = machine.directory / "cluster"
    path.mkdir(mode=0o700)
    subprocess.run(["chown", "postgres:", path], check=True)
    machine.maker.run(postgres_program("initdb"), "--no-sync", "--auth=trust", "--no-locale",
                      "--encoding=UTF8", "-D", path, env=SOFTWARE, **POSTGRES)
    return path


def start_postgres(site, cluster: Path, port: int, wait: bool = True):
    site.write("hba.conf", HBA)
    site.write("ident.conf", "")
    subprocess.run(["cp", "-a", cluster, site.path("data")], check=True)
    conf = site.conf("postgresql.conf", {},
                     POSTGRESQL_CONF.format(directory=site.directory, port=port, ca=site.ca))
    return site.start(postgres_program("postgres"), "-D", site.path("data"), "-c",
                      f"config_file={conf}", port=port if wait else None, **POSTGRES)


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


def certificate_of(site, port: int, hello=None) -> str:
    """The certificate that a server has a handshake with."""
    with Client(site.ca, hello=hello).connect(port) as connection:
        return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))


@KINDS
def test_postgresql_serves_48_parallel_logins(make_site, cluster, kind):
    site, port = make_site(kind), free_port()
    site.identity(owner="postgres:postgres")
    postgres = start_postgres(site, cluster, port)
    assert owner_of(postgres.pid) == (pwd.getpwnam("postgres").pw_uid, [])
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
    certified = {"sql": SUBJECT, "env": {}, "sslcert": alice.crt, "sslkey": alice.key}

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
    subprocess.run(["chown", "-R", "postgres:", site.path("store/web")], check=True)
    postgres = start_postgres(site, cluster, port)
    assert certificate_of(site, port, ask_for_tls) == web.crt.read_text()

    site.create("next", "rsa")
    following = site.identity("next", owner="postgres:postgres")
    following.key.replace(web.key)
    following.crt.replace(web.crt)
    subprocess.run(["chown", "-R", "root:", site.path("store/next")], check=True)
    postgres.send(signal.SIGHUP)
    postgres.wait_for_output("SSL configuration was not reloaded")
    assert f'could not load private key file "{web.key}": store not usable' in postgres.output()
    assert certificate_of(site, port, ask_for_tls) == site.crts["web"].read_text()

    subprocess.run(["chown", "-R", "postgres:", site.path("store/next")], check=True)
    postgres.send(signal.SIGHUP)
    wait_for(lambda: certificate_of(site, port, ask_for_tls) == site.crts["next"].read_text(),
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


# --- Redis


REDIS = {"user": "redis", "group": "redis", "extra_groups": []}
REDIS_CONF = """\
@conf@
bind 127.0.0.1
dir {directory}/data
tls-ca-cert-file {ca}
"""


def start_redis(site, port: int, *further: str):
    owned(site, "data", "redis")
    conf = site.conf("redis.conf", {"tls-port 6379": f"tls-port {port}"},
                     REDIS_CONF.format(directory=site.directory, ca=site.ca) + "\n".join(further))
    return site.start("/usr/bin/redis-server", conf, port=port, **REDIS)


def redis_cli(site, port: int, *command, status: int = 0, env=None, **options):
    found = {"h": "localhost"}
    arguments = [text for key, value in options.items() for text in (f"--{key}", value)]
    return site.user.run("redis-cli", "-h", "localhost", "-p", str(port), "--tls", "--cacert",
                         site.ca, *arguments, *command, status=status,
                         env=SOFTWARE if env is None else env)


def test_explore(make_site):
    site, port = make_site("ec"), free_port()
    web=site.identity(owner="redis:redis")
    redis = start_redis(site, port, "tls-auth-clients yes")
    site.create("alice", "rsa", subject="/CN=alice")
    alice = site.identity("alice")
    print(redis_cli(site, port, "ping", status=None))
    print(redis_cli(site, port, "ping", cert=alice.crt, key=alice.key, env={}, status=None))
    print(redis_cli(site, port, "ping", cert=alice.crt, key=alice.key, status=None))
    site.user.lct("delete", "alice", "--yes")
    print(redis_cli(site, port, "ping", cert=alice.crt, key=alice.key, env={}, status=None))
    site.machine.tpm.path.chmod(0o600)
    print(redis_cli(site, port, "ping", cert=alice.crt, key=alice.key, env={}, status=None))
    site.machine.tpm.path.chmod(0o666)
    print(redis.output())
    redis.stop()
    subprocess.run(["chown", "-R", "root:root", site.path("store/web")], check=True)
    print("UNREADABLE", site.user.run("redis-server", site.path("redis.conf"), **REDIS, status=None))
    web.key.chmod(0o600)
    web.key.rename(site.path("x"))
    print("NOKEY", site.user.run("redis-server", site.path("redis.conf"), **REDIS, status=None))
    assert 0
