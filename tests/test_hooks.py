# SPDX-License-Identifier: Apache-2.0
""".githooks/pre-commit: what it lets through and what it stops, in a repository of its own."""

import os
import shutil
import subprocess

import pytest

from conftest import ROOT

LICENCE = "/* SPDX-License-Identifier: Apache-2.0 */\n"
GOOD = LICENCE + "int answer(void);\n\nint answer(void)\n{\n    return 42;\n}\n"


class Repository:
    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        shutil.copytree(ROOT / ".githooks", directory / ".githooks")
        shutil.copy(ROOT / ".clang-format", directory)
        self.git("init", "--quiet")
        self.git("config", "core.hooksPath", ".githooks")

    def git(self, *arguments) -> subprocess.CompletedProcess:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "LANG": "C.UTF-8",
               "GIT_CONFIG_NOSYSTEM": "1"}
        for role in ("AUTHOR", "COMMITTER"):
            env |= {f"GIT_{role}_NAME": "a test", f"GIT_{role}_EMAIL": "test@lct.example"}
        return subprocess.run(["git", *arguments], cwd=self.directory, env=env, text=True,
                              capture_output=True, timeout=60, check=False)

    def commit(self, **files: str) -> subprocess.CompletedProcess:
        for name, text in files.items():
            path = self.directory / name.replace("_", ".")
            path.write_text(text)
            self.git("add", path.name)
        return self.git("commit", "--quiet", "--message", "one")


@pytest.fixture(name="repository")
def fixture_repository(tmp_path) -> Repository:
    if not shutil.which("git") or not shutil.which("clang-format"):
        pytest.skip("git or clang-format is not installed")
    return Repository(tmp_path / "repository")


def test_a_commit_that_is_in_order_is_made(repository):
    done = repository.commit(a_c=GOOD, notes_md="# Notes\n", b_py="# SPDX-License-Identifier: "
                                                                  "Apache-2.0\n")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert repository.git("log", "--format=%s").stdout == "one\n"


@pytest.mark.parametrize("name, text, said", [
    ("a_c", GOOD.replace("    return", "  return"), "a.c: not as clang-format has it"),
    ("a_c", GOOD.removeprefix(LICENCE), "a.c: its first lines have no SPDX"),
    ("b_py", "print()\n", "b.py: its first lines have no SPDX"),
    ("notes_md", "# Notes \n", "notes.md:1: trailing whitespace"),
    ("notes_md", "# Notes\n\n\n", "notes.md:2: new blank line at EOF"),
    ("notes_md", "<<<<<<< mine\n", "notes.md:1: leftover conflict marker")])
def test_a_commit_that_is_not_is_stopped(repository, name, text, said):
    done = repository.commit(**{name: text})
    assert done.returncode == 1 and said in done.stdout + done.stderr
    assert repository.git("log").returncode != 0


def test_what_is_looked_at_is_what_is_committed(repository):
    """A file that was put right, and staged as it was before, is stopped."""
    (repository.directory / "a.c").write_text(GOOD.replace("    return", "  return"))
    repository.git("add", "a.c")
    (repository.directory / "a.c").write_text(GOOD)
    assert repository.git("commit", "--message", "one").returncode == 1


def test_files_of_the_project_are_in_order(repository):
    """Or else nobody could commit with the hook."""
    shutil.copytree(ROOT / "base", repository.directory / "base")
    repository.git("add", "--all")
    done = repository.git("commit", "--quiet", "--message", "one")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
