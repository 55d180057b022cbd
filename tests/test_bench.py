# SPDX-License-Identifier: Apache-2.0
"""
bench/run measures what it says, so that it does not rot. No figure of it is judged here: the
machine may be doing anything else.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from apps import processes

ROOT = Path(__file__).resolve().parent.parent
RAN, MISSED = 0, 1
FLOORS = ["floor", "floor-verified", "floor-hmac", "floor-literal", "floor-approved"]


@pytest.fixture(name="bench")
def fixture_bench(build, tmp_path):
    if build.name in ("asan", "tsan"):
        pytest.skip("what is built with a sanitizer is not measured")

    def bench(*words: str) -> dict:
        """Quick rounds of some parts; what it wrote as JSON."""
        process = subprocess.Popen(
            [str(ROOT / "bench/run"), "--build", str(build), "--rounds", "2", "--seconds", "0.05",
             "--json", str(tmp_path / "out.json"), *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        out, err = process.communicate(timeout=300)
        assert process.returncode in (RAN, MISSED) and err == "", out + err
        assert processes(process.pid) == []
        return json.loads((tmp_path / "out.json").read_text())

    return bench


@pytest.fixture(name="managed")
def fixture_managed(bench):
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("what stands for the kernel's resource manager takes root and FUSE")
    return bench


def test_signing_is_measured_beside_each_floor(bench):
    """And tpm2-openssl's, where that is installed."""
    rows = bench("signing")["signing"]
    assert [row["name"] for row in rows if "EVP_DigestSign 32 B" in row["name"]] == [
        "EVP_DigestSign 32 B, 1 thread", "EVP_DigestSign 32 B, 4 threads"]
    ours = [row for row in rows if "tpm2-openssl" not in row["name"]]
    assert {name for row in ours for name in row["rates"]} == {"lct", "lct-persistent", *FLOORS}
    for row in ours:
        assert row["min"] <= row["median"] <= row["max"] and row["min"] > 0
        assert row["at_least"] is None or row["reached"] == (row["median"] >= row["at_least"])


def test_long_messages_are_measured_beside_software(bench):
    assert [row["at_least"] for row in bench("hashing")["hashing"]] == [None, 0.95]


def test_whole_programs_are_measured_beside_what_they_are_held_against(managed):
    rows = managed("processes")["processes"]
    assert [row["at_most"] for row in rows] == [1.35, 1.5, None, 1.5]
    assert all(0 < row["min"] <= row["median"] <= row["max"] for row in rows)


def test_a_store_of_10000_is_listed_and_opened(bench):
    listed, opened = bench("store")["store"]
    assert listed["value"] > 0 and opened["median"] > 0


def test_a_key_takes_no_more_memory_than_it_may(bench, build):
    """Bytes are counted, and so do not depend on the machine's load."""
    idle, *keys = bench("memory")["memory"]
    if build.name == "coverage":
        pytest.skip("what counts lines takes memory")
    assert 0 < idle["value"] <= idle["at_most"]
    assert len(keys) == 4 and all(0 < key["value"] <= key["at_most"] for key in keys)


@pytest.mark.parametrize("words, said", [
    (["signing", "nothing"], "there is no part nothing"),
    (["--rounds", "0"], "0 is no number of rounds"),
    (["--seconds", "-1"], "a round takes up to 60 seconds"),
    (["--peer", "tpm2"], "tpm2 is not NAME=MODULE"),
    (["--peer", "tpm2=/nowhere/tpm2.so"], "there is no such file"),
    (["--build", "/nowhere"], "/nowhere has no lct"),
    (["--json", "/nowhere/out.json"], "there is no directory for"),
    (["store", "--plot", "out.png"], "--plot shows the part signing"),
])
def test_what_cannot_be_measured_is_refused_at_once(words, said):
    done = subprocess.run([str(ROOT / "bench/run"), *words], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_a_part_that_cannot_be_measured_costs_no_other(build, tmp_path):
    """Here none can: there is no swtpm."""
    done = subprocess.run(
        [str(ROOT / "bench/run"), "--build", str(build), "--rounds", "1", "--seconds", "0.01",
         "--json", str(tmp_path / "out.json"), "store", "hashing"],
        capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": only(tmp_path, "openssl", "cmake")})
    assert done.returncode == MISSED and json.loads((tmp_path / "out.json").read_text()) == {}
    assert [line.split()[1] for line in done.stderr.splitlines()] == ["store", "hashing"]


def only(directory: Path, *names: str) -> str:
    """A PATH with these programs alone."""
    found = directory / "bin"
    found.mkdir()
    for name in names:
        (found / name).symlink_to(shutil.which(name))
    return str(found)


def test_a_failed_signature_is_no_figure(build, user):
    done = user.run(build / "bench/sign", "lct=lct:nobody", status=1)
    assert done.stdout == "" and "sign: lct:nobody" in done.stderr


def test_a_ratio_is_taken_round_by_round():
    sys.path.insert(0, str(ROOT / "bench"))
    from result import Ratio, ratios  # pylint: disable=import-outside-toplevel
    ratio = Ratio("x", ratios([1, 4, 9], [2, 4, 6]), at_least=1)
    assert (ratio.rounds, ratio.median, ratio.reached) == ([0.5, 1, 1.5], 1, True)
    assert Ratio("x", [1.2, 1.3, 1.4], at_most=1.25).reached is False


def test_commands_are_counted_at_the_tpm(managed):
    rows = {row["name"]: row["commands"] for row in managed("commands")["commands"]}
    assert rows["lct, tpmrm, unsealed key: first signature"] == ["Load", "Sign"]
    assert rows["lct, bare, unsealed key: first signature"] == ["Load", "Sign", "FlushContext"]
    assert rows["lct, tpmrm, unsealed key: TLSv1.3 handshake"] == ["Sign"]
    assert len(rows["lct, tpmrm, sealed, approved branch: first signature"]) == 10


def test_servers_are_measured_beside_software_and_the_floor(managed):
    if not (shutil.which("/usr/sbin/nginx") and shutil.which("tpm2-abrmd")):
        pytest.skip("nginx and tpm2-abrmd are not installed")
    rows = managed("servers")["servers"]
    slow = [row for row in rows if "as slow as hardware" in row["name"]]
    rows = [row for row in rows if row not in slow]
    assert len(slow) == 2 and all(row["min"] > 0 for row in slow)
    assert ["1 worker" in row["name"] for row in rows[:4]] == [True, True, False, False]
    for row in rows[:4]:
        assert sorted(row["rates"]) == ["floor", "lct", "software"]
        for ours, software, floor in zip(*(row["rates"][name] for name in
                                           ("lct", "software", "floor"))):
            assert min(ours, software, floor) > 0
    for row in rows[4:]:
        assert row["kind"] == "ratio" or (row["value"] > 0 and "fails there" in row["note"])


@pytest.fixture(name="make_server")
def fixture_make_server(user):
    """An s_server with a key in software; its port."""
    user.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", "key.pem", "-out", "crt.pem", "-subj", "/CN=localhost")

    def make(*options: str) -> int:
        server = user.serve("s_server", "-accept", "127.0.0.1:0", "-www", "-key", "key.pem",
                            "-cert", "crt.pem", *options)
        return int(server.read_until(rb"ACCEPT 127.0.0.1:(\d+)\n")[1])

    return make


def shake_hands(user, build, port: int, status: int) -> subprocess.CompletedProcess:
    return user.run(build / "bench/handshakes", "--connections", "2", "--seconds", "0.2",
                    "127.0.0.1", port, status=status)


def test_handshakes_are_counted(build, user, make_server):
    assert float(shake_hands(user, build, make_server(), 0).stdout) > 0


@pytest.mark.parametrize("options, said", [
    (["-tls1_2"], r"handshakes: (\d+) of \1 failed, the first one so: .*protocol version"),
    (["-naccept", "3"], r"handshakes: [1-9]\d* of \d+ failed, the first one so: "),
])
def test_a_handshake_that_fails_is_no_figure(build, user, make_server, options, said):
    done = shake_hands(user, build, make_server(*options), 1)
    assert done.stdout == "" and re.match(said, done.stderr)
