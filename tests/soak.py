# SPDX-License-Identifier: Apache-2.0
"""
nginx under load for an hour, while everything beneath and around it fails: its workers are killed,
it is reloaded and replaced, the TPM and its resource manager are restarted, keys follow each other,
states are approved, and other programs sign. One server has the TPM for itself, the other one is
behind tpm2-abrmd. tests/run --soak calls it; soaking.py judges what it observes.
"""

import argparse
import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from pathlib import Path

import soaking
from apps import Client
from conftest import ROOT
from soaked import TIMEOUT, Server
from soaking import MIB, Failure, Fault, Recovery, Sample

TURBULENT, STEADY = 90, 150  # seconds of each cycle: in the latter nobody replaces a worker
QUIET = 15  # seconds at the end, without faults, after which the TPM must be empty
UPGRADES_EVERY = 3  # cycles: a new master knows nothing of what the old one has leaked
CLIENTS = 3  # threads for each server
PAUSE = 0.02  # seconds after each handshake: a load that leaves the processors some time
MOST_TOLD = 20  # sentences at once


class Clock:
    """Seconds since the beginning, and what is going on then."""

    def __init__(self):
        self.start()

    def start(self):
        self._start = time.monotonic()

    def now(self) -> float:
        return time.monotonic() - self._start

    def cycle(self) -> int:
        return int(self.now() // (TURBULENT + STEADY))

    def period(self) -> int | None:
        """The number of the steady period that it is."""
        steady = self.now() % (TURBULENT + STEADY) >= TURBULENT
        return self.cycle() if steady else None


class Ledger:
    """What happened. Only appended to, by many threads."""

    def __init__(self, clock: Clock):
        self.clock = clock
        self.faults: list[Fault] = []
        self.failures: list[Failure] = []
        self.recoveries: list[Recovery] = []
        self.samples: list[Sample] = []
        self.broken: list[tuple[float, str]] = []  # what no fault excuses, in words, and when
        self.done: Counter = Counter()  # by server and by what
        self.slowest = 0.0

    def complain(self, *sentences: str):
        self.broken += ((self.clock.now(), sentence) for sentence in sentences)

    @contextlib.contextmanager
    def fault(self, kind: str, server: str, excuses: frozenset = frozenset()):
        fault = Fault(kind, server, self.clock.now(), None, excuses)
        self.faults.append(fault)
        try:
            yield
        finally:
            fault.end = self.clock.now()

    def attempt(self, server: str, what: str, identity: str, work, explain=lambda: ""):
        """Does it, again and again while it fails; every attempt is written down, explained."""
        first, start = None, self.clock.now()
        while True:
            begun = self.clock.now()
            try:
                work()
                break
            except (OSError, AssertionError, subprocess.SubprocessError) as error:
                first = begun if first is None else first
                self.failures.append(Failure(server, identity, begun, self.clock.now(),
                                             f"{what}: {error!r}"[:600] + explain()))
            if self.clock.now() - start > 4 * TIMEOUT:
                self.recoveries.append(Recovery(server, identity, first, None))
                return
            time.sleep(0.05)
        end = self.clock.now()
        self.slowest = max(self.slowest, end - begun)
        self.done[server, what] += 1
        if first is not None:
            self.recoveries.append(Recovery(server, identity, first, end))


class Soak:
    """The servers, what is done to them, and the reports."""

    def __init__(self, build: Path, seconds: float, seed: int):
        self.seconds, self.seed = seconds, seed
        self.clock = Clock()
        self.ledger = Ledger(self.clock)
        self.end_of_faults, self.end = threading.Event(), threading.Event()
        self.servers: list[Server] = []
        self.threads: dict[threading.Thread, threading.Event] = {}  # and what ends each
        self.told = 0.0  # until when it was said what is wrong
        try:
            self.servers.append(Server("direct", build, self.ledger, brokered=False))
            if shutil.which("tpm2-abrmd") and shutil.which("dbus-daemon"):
                self.servers.append(Server("tpm2-abrmd", build, self.ledger, brokered=True))
            else:
                print("tpm2-abrmd is not installed: one server only", flush=True)
        except BaseException:
            self.remove()
            raise

    def _start(self, name: str, until: threading.Event, step):
        """A thread that does `step(rng)` again and again. What it raises is a finding."""
        rng = random.Random(f"{self.seed} {name}")

        def run():
            while not until.is_set():
                try:
                    step(rng)
                except Exception:  # whatever it is, the others go on; pylint: disable=broad-except
                    self.ledger.complain(f"{self.clock.now():.1f} s, {name}: "
                                         f"{traceback.format_exc()}")
                    until.wait(5)
        thread = threading.Thread(target=run, name=name)
        self.threads[thread] = until
        thread.start()

    def _trouble(self, server: Server):
        """The steps of who does things to nginx, to its TPM, and of another program."""
        upgraded = []

        def to_nginx(rng: random.Random):
            if self.end_of_faults.wait(rng.expovariate(1 / 3)) or self.clock.period() is not None:
                return
            cycle = self.clock.cycle()
            if cycle % UPGRADES_EVERY == 0 and cycle not in upgraded:
                upgraded.append(cycle)
                server.upgrade()
            rng.choices((server.kill, server.reload, server.rotate), (4, 3, 2))[0](rng)

        def to_tpm(rng: random.Random):
            if not self.end_of_faults.wait(rng.expovariate(1 / 8)):
                rng.choice([server.restart_tpm, server.approve,
                            *([server.restart_broker] if server.broker else [])])(rng)

        def besides(rng: random.Random):
            if not self.end.wait(rng.expovariate(1)):
                server.sign(rng)

        yield "to nginx", self.end_of_faults, to_nginx
        yield "to the TPM", self.end_of_faults, to_tpm
        yield "besides", self.end, besides

    def _load(self, server: Server):
        client = Client(server.site.ca)

        def step(rng: random.Random):
            server.handshake(client, rng)
            self.end.wait(PAUSE)

        for number in range(CLIENTS):
            yield f"client {number}", self.end, step

    def _look(self, _rng):
        for server in self.servers:
            self.ledger.samples += server.sample()
        self.end.wait(2)

    def run(self):
        self.clock.start()
        for server in self.servers:
            for name, until, step in (*self._load(server), *self._trouble(server)):
                self._start(f"{server.name}, {name}", until, step)
        self._start("samples", self.end, self._look)
        while self.clock.now() < self.seconds:
            self.end.wait(min(60, max(1, self.seconds - self.clock.now())))
            self._report()
        self._quieten()

    def _quieten(self):
        """
        No more faults. Those that kill leave things in the TPM, which a restart throws out; after
        it nothing may be left there by anybody.
        """
        self._end(self.end_of_faults)
        for server in self.servers:
            server.restart_tpm()
        self.end.wait(QUIET)
        for server in self.servers:
            server.reload()
            self.ledger.complain(*server.misplaced(), *server.misplaced_processes())
        self.finish()
        for server in self.servers:
            self.ledger.complain(*server.stop())

    def _end(self, event: threading.Event):
        """Of the threads that it ends."""
        event.set()
        for thread, until in self.threads.items():
            if until is event:
                thread.join(8 * TIMEOUT)
                if thread.is_alive():
                    self.ledger.complain(f"{thread.name} does not come to an end")

    def finish(self):
        self._end(self.end_of_faults)
        self._end(self.end)

    def remove(self):
        for server in self.servers:
            server.remove()

    # What is said

    def _report(self):
        """A line for each server, and what is wrong by now."""
        for server in self.servers:
            mine = [fault for fault in self.ledger.faults if fault.server == server.name]
            failed = sum(one.server == server.name for one in self.ledger.failures)
            living = {pid for _, pid in server.processes()}
            latest = {sample.pid: sample for sample in self.ledger.samples[-20:]
                      if sample.server == server.name and sample.pid in living}
            print(f"{self.clock.now() / 60:5.1f} min  {server.name:10}  "
                  f"{self.ledger.done[server.name, 'handshake']} handshakes  "
                  f"{failed} failed attempts  {len(mine)} faults  "
                  + "  ".join(f"{one.role} {one.values['memory'] / MIB:.1f} MiB "
                              f"{one.values['descriptors']} fd" for one in latest.values()),
                  flush=True)
            self.ledger.complain(*server.misplaced())
        since, self.told = self.told, self.clock.now()
        for sentence in self.verdict(since)[:MOST_TOLD]:
            print(f"           wrong: {sentence}", flush=True)

    def verdict(self, since: float | None = None) -> list[str]:
        """What is wrong, in all or since then; growth is judged when everything was seen."""
        ledger, begin = self.ledger, since or 0
        faults = [fault for fault in ledger.faults
                  if fault.end is None or fault.end > begin - 8 * TIMEOUT]
        found = [sentence for time_of, sentence in ledger.broken if time_of >= begin]
        found += soaking.unexplained([one for one in ledger.failures if one.end >= begin], faults)
        found += soaking.late([one for one in ledger.recoveries
                               if one.end is None or one.end >= begin], faults, TIMEOUT)
        if since is None:
            found += soaking.growing(ledger.samples)
            for server in self.servers:
                found += soaking.piling_up(server.name, server.seen)
        return found

    def table(self) -> list[tuple[str, list]]:
        """Rows of a name and what it is for each server."""
        ledger, names = self.ledger, [server.name for server in self.servers]
        rows = [(what, [ledger.done[name, what] for name in names])
                for what in ("handshake", "openssl", "lct")]
        for kind in sorted({fault.kind for fault in ledger.faults}):
            rows.append((f"fault: {kind}", [sum((fault.server, fault.kind) == (name, kind)
                                                for fault in ledger.faults) for name in names]))
        rows.append(("failed attempts", [sum(one.server == name for one in ledger.failures)
                                         for name in names]))
        rows.append(("retried until it succeeded", [
            sum(one.server == name for one in ledger.recoveries) for name in names]))
        for kind in self.servers[0].seen[0][1]:
            counts = [[seen[kind] for _, seen in server.seen] for server in self.servers]
            rows.append((f"TPM: {kind}, first, most, last",
                         [f"{each[0]}, {max(each)}, {each[-1]}" for each in counts]))
        for role, measure in itertools.product(("master", "worker"),
                                               ("memory", "descriptors", "threads")):
            rows.append((f"{measure} of {role}, first to last", [
                self._first_and_last(name, role, measure) for name in names]))
        return rows

    def _first_and_last(self, server: str, role: str, measure: str) -> str:
        """Of the spans that are judged: at the first one's beginning, at the last one's end."""
        warm = [span for key, span in soaking.spans(self.ledger.samples).items()
                if key[:2] == (server, role)]
        if not warm:
            return "-"
        unit, scale = (" MiB", MIB) if measure == "memory" else ("", 1)
        first, last = (span.values[measure] / scale for span in (warm[0][0], warm[-1][-1]))
        return f"{first:.4g} to {last:.4g}{unit}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/run --soak")
    parser.add_argument("--build", default="build/dev")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    return parser.parse_args()


def main() -> int:
    given = arguments()
    if os.geteuid() != 0:
        print("tests/run: nginx with workers of another user is started by root", file=sys.stderr)
        return 2
    seed = random.randrange(1 << 32) if given.seed is None else given.seed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"{given.minutes:g} minutes, --seed {seed}", flush=True)
    soak = Soak((ROOT / given.build).resolve(), given.minutes * 60, seed)
    try:
        soak.run()
    finally:
        soak.finish()
        soak.remove()
    for name, values in soak.table():
        print(f"{name:40}" + "".join(f"{value!s:>26}" for value in values))
    print(f"the slowest that succeeded took {soak.ledger.slowest:.1f} s")
    wrong = soak.verdict()
    for sentence in wrong[:MOST_TOLD]:
        print(f"wrong: {sentence}")
    print(f"{len(wrong)} judgements failed; --seed {seed}" if wrong else "all is well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
