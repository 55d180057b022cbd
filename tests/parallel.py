# SPDX-License-Identifier: Apache-2.0
"""
How tests are shared out among processes by pytest-xdist. A file is one process's, because its
fixtures are made once a process; what takes longest comes first, so that nothing long is left when
the other processes have ended.
"""

from xdist.scheduler import LoadFileScheduling

# Shared out one by one: minutes each, and no fixture that takes time.
ALONE = ("tests/test_house.py::test_builds_without_warnings",
         "tests/test_house.py::test_clang_tidy_is_clean")
# The files that take longest, the longest first.
LONGEST = ("tests/test_software.py", "tests/test_fuzz.py", "tests/test_decoding.py",
           "tests/test_faults.py", "tests/test_adversary.py", "tests/test_power_loss.py",
           "tests/test_connection.py", "tests/test_clients.py", "tests/test_seal.py",
           "tests/test_transports.py", "tests/test_life.py", "tests/test_bench.py",
           "tests/test_persist.py", "tests/test_web_servers.py", "tests/test_services.py",
           "tests/test_databases.py", "tests/test_attest_tpm.py", "tests/test_certs.py",
           "tests/test_backup.py", "tests/test_documents.py", "tests/test_evp.py",
           "tests/test_statements.py", "tests/test_allocation.py", "tests/test_processes.py")


class Scheduler(LoadFileScheduling):
    """Its scopes are names of files, and whole names of tests that are shared out one by one."""

    def _split_scope(self, nodeid):
        return nodeid if nodeid.startswith(ALONE) else super()._split_scope(nodeid)

    def _assign_work_unit(self, node):
        self.workqueue.move_to_end(min(self.workqueue, key=rank), last=False)
        super()._assign_work_unit(node)


def rank(scope: str) -> int:
    if scope.startswith(ALONE):
        return -1
    return LONGEST.index(scope) if scope in LONGEST else len(LONGEST)
