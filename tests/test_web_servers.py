# SPDX-License-Identifier: Apache-2.0
"""Web servers of Debian's packages, with the files of conf/, whose keys are identities: apps.py."""

import contextlib
import os
import pwd
import signal
import threading

import pytest

from apps import Client, at_once, children, free_port, listens, owner_of
from conftest import TIMEOUT
from tpm import Command, wait_for

KINDS = pytest.mark.parametrize("kind", ["ec", "rsa"])
VERSIONS = ("TLSv1.2", "TLSv1.3")
NGINX = """\
user www-data;
worker_processes 2;
pid nginx.pid;
error_log error.log warn;
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


def uid(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def document_root(site):
    """Something to be served."""
    site.path("html").mkdir(mode=0o755)
    site.write("html/index.html", "it works\n").chmod(0o644)
    return site.path("html")


def serves(site, port: int, parallel: int = 100):
    """Handshakes of both versions, many at once, and sessions that are resumed."""
    for version in VERSIONS:
        client = Client(site.ca, version)
        assert client.resumes(port), version
    at_once(lambda: Client(site.ca).get(port), parallel)


class Load:
    """Handshakes until the block ends, some at a time, each with a session of its own."""

    def __init__(self, site, port: int, threads: int = 6):
        self.client, self.port = Client(site.ca), port
        self.done, self.failures = 0, []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def _run(self):
        while not self._end.is_set():
            try:
                self.client.get(self.port)
                self.done += 1
            except (OSError, AssertionError) as error:
                self.failures.append(error)

    def more(self, count: int = 20):
        """Waits for so many more that succeed."""
        before = self.done
        wait_for(lambda: self.done >= before + count, f"{count} handshakes; {self.failures[-3:]}")

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.more()
        return self

    def __exit__(self, *_):
        self._end.set()
        for thread in self._threads:
            thread.join(TIMEOUT)


def start_nginx(site, port: int, conf: str | None = None):
    """nginx as its unit starts it."""
    site.identity()
    if conf is None:
        changes = {"listen 443": f"listen 127.0.0.1:{port}", "/var/www/html": document_root(site)}
        conf = site.conf("nginx.conf", changes, NGINX)
    return site.start("/usr/sbin/nginx", "-p", site.directory, "-e", "error.log", "-c", conf, "-g",
                      "daemon on; master_process on;", port=port, pidfile=site.path("nginx.pid"))


@KINDS
@pytest.mark.parametrize("way", ["swtpm", "device"])
def test_nginx_serves_and_reloads(make_site, kind, way):
    site, port = make_site(kind, way), free_port()
    nginx = start_nginx(site, port)
    wait_for(lambda: [owner_of(pid)[0] for pid in children(nginx.pid)] == [uid("www-data")] * 2,
             "two workers")
    workers = children(nginx.pid)
    serves(site, port)
    with Load(site, port) as load:
        nginx.send(signal.SIGHUP)
        wait_for(lambda: not set(workers) & set(children(nginx.pid)), "new workers")
        load.more()
    assert not load.failures and len(children(nginx.pid)) == 2
    nginx.stop(signal.SIGQUIT)
    assert "[error]" not in site.path("error.log").read_text()
