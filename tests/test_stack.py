# SPDX-License-Identifier: Apache-2.0
"""
Small stacks: a program may have libssl run us on a fibre of libcrypto's (ASYNC_start_job(3);
ssl-mode-async of HAProxy, openssl s_server -async), whose 32 KiB have no guard, or in a thread of
64 KiB (stunnel). tests/stack.c measures.
"""

import re
import shlex

import pytest

from apps import Program, free_port
from sealing import measure
from test_connection import fixture_brokered  # noqa: F401
from test_seal import SECRET, approve, create
from test_tls import SOFTWARE, connect, start_server
from tpm import SLOWER

MOST = 16384  # bytes, of the 32768 of a fibre: libssl and signal handlers have their part of it
INSTRUMENTED = ("asan", "tsan", "coverage")
HAPROXY = """\
global
    ssl-mode-async
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
frontend async
    bind 127.0.0.1:{port} ssl crt {bundle}
    http-request return status 200
"""
EXTEND = "tpm2_pcrextend 7:sha256=" + "ab" * 32


@pytest.fixture(name="check")
def fixture_check():
    """Whether a key loads and signs in MOST; what signs, in order."""

    def check(user, uri: str, *commands: str, signs: str, env: dict | None = None):
        if user.build.name in INSTRUMENTED or SLOWER > 1:
            pytest.skip("other frames than a user's")
        done = user.run(user.build / "tests" / "stack", uri, *commands, env=env or {})
        loaded, *signed = [line.split() for line in done.stdout.splitlines()]
        assert [each[2] for each in signed] == signs.split(), done.stdout + done.stderr
        assert all(int(each[1]) < MOST for each in (loaded, *signed)), done.stdout

    return check


def command(user, *arguments) -> str:
    return shlex.join(map(str, (user.build / "lct", *arguments))) + " >/dev/null"


@pytest.mark.parametrize("algorithm", ["ec-p256", "ec-p384", "rsa-2048", "rsa-3072"])
def test_a_key_of_each_kind(sealer, check, algorithm):
    create(sealer, "--algorithm", algorithm, "--seal", "none")
    sealer.configure(audit=str(sealer.path("audit")))
    check(sealer, "lct:k", "true", signs="yes yes")


@pytest.mark.parametrize("passphrase", [False, True], ids=["", "passphrase"])
@pytest.mark.parametrize("seal", ["sha256:0,1,2,3,7", "strict:sha256:7", "sha256:0,7+sha384:1"])
def test_a_sealed_key_in_its_state_and_in_another(sealer, tpm, authority, check, seal, passphrase):
    create(sealer, "--seal", seal, passphrase=passphrase)
    file = {"passphrase_file": str(sealer.path("secret"))} if passphrase else {}
    sealer.configure(audit=str(sealer.path("audit")), **file)
    env = {"TPM2TOOLS_TCTI": tpm.tcti}
    approving = command(sealer, "approve", *authority.options, "k")
    if seal.startswith("strict"):
        check(sealer, "lct:k", EXTEND, "true", signs="yes no no", env=env)
    else:
        check(sealer, "lct:k", EXTEND, approving, "true", signs="yes no yes yes", env=env)
        check(sealer, "lct:k", "true", signs="yes yes", env=env)
        sealer.write("k.pem", sealer.lct("pem", "k").stdout)
        check(sealer, str(sealer.path("k.pem")), signs="yes", env=env)


def test_a_key_of_the_authority_s_states(make_sealer, make_tpm, authority, check):
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    create(sealer, "--seal", "authority", "--revocable")
    check(sealer, "lct:k", command(sealer, "approve", *authority.options, "k"), "true",
          signs="no yes yes")
    create(sealer, "--seal", "authority", key="file")
    approve(sealer, authority, "file")
    sealer.write("k.pem", sealer.lct("export", "file").stdout)
    check(sealer, str(sealer.path("k.pem")), "true", signs="yes yes")


def test_a_key_whose_record_is_replaced(make_sealer, make_tpm, check):
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    create(sealer)
    check(sealer, "lct:k", command(sealer, "rotate", "k"),
          command(sealer, "delete", "k", "--yes"), signs="yes yes no")


def test_a_persistent_key(make_sealer, make_tpm, check):
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    create(sealer)
    sealer.lct("persist", "k")
    check(sealer, "lct:k", EXTEND, signs="yes no", env={"TPM2TOOLS_TCTI": tpm.tcti})


def test_a_key_in_software(sealer, check):
    sealer.write("secret", SECRET)
    sealer.lct("create", "--software", "k", "--passphrase-file", sealer.path("secret"))
    sealer.configure(passphrase_file=str(sealer.path("secret")))
    check(sealer, "lct:k", "true", signs="yes yes")


def test_a_key_behind_a_resource_manager(brokered, check):
    user, broker = brokered
    user.lct("create", "k", env=broker.env)
    check(user, "lct:k", "true", signs="yes yes", env=broker.env)


def test_a_key_without_a_tpm(sealer, check):
    create(sealer)
    for tcti in (None, "device:/dev/null", "swtpm:path=/nowhere", "tabrmd:", "device:/dev/tpm77"):
        sealer.tcti = tcti
        sealer.configure()
        check(sealer, "lct:k", "true", signs="no no")


# Programs whose handshakes are on a fibre


def shakes_hands(user, tpm, authority, port: str | int, certificate):
    """In the state of the sealing, in one that is approved, and in none between."""
    trust = ("-CAfile", certificate)
    assert "Verification: OK" in connect(user, port, *trust, env=SOFTWARE).stderr
    measure(tpm, 7)
    connect(user, port, *trust, status=1, env=SOFTWARE)
    approve(user, authority, "k")
    for _ in range(3):
        assert "Verification: OK" in connect(user, port, *trust, env=SOFTWARE).stderr


def test_openssl_s_server_with_fibres(make_sealer, make_tpm, authority):
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    create(sealer)
    certificate = sealer.certificate("lct:k")
    server, port = start_server(sealer, "-async", "-naccept", "5", "-key", "lct:k", "-cert",
                                certificate)
    shakes_hands(sealer, tpm, authority, port, certificate)
    said = server.stop().decode()
    assert server.process.returncode == 0 and "PCR 7 (sha256)" in said, said


def test_haproxy_with_fibres(make_sealer, make_tpm, authority):
    tpm = make_tpm()
    sealer = make_sealer(tpm)
    create(sealer)
    certificate = sealer.certificate("lct:k")
    bundle = sealer.write("bundle.pem", certificate.read_text() + sealer.lct("pem", "k").stdout)
    port = free_port()
    sealer.write("haproxy.cfg", HAPROXY.format(port=port, bundle=bundle))
    haproxy = Program(["/usr/sbin/haproxy", "-db", "-f", sealer.path("haproxy.cfg")],
                      sealer.path("haproxy.log"), env=sealer.environment())
    try:
        haproxy.wait_for_port(port)
        shakes_hands(sealer, tpm, authority, port, certificate)
        haproxy.stop()
    finally:
        haproxy.kill()
    assert not re.search("corrupt|double free", haproxy.output()), haproxy.report()
    tpm.flush()  # SIGTERM kills it, and the key is left
