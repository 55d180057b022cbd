# SPDX-License-Identifier: Apache-2.0
"""The Debian package, looked into; tests/run --package installs it."""

import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT, TIMEOUT, sanitizer_preload

SCRIPTS = ("postinst", "prerm", "postrm")


def output(*arguments, **options) -> str:
    done = subprocess.run([*map(str, arguments)], check=False, capture_output=True, text=True,
                          timeout=TIMEOUT, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", name="package")
def fixture_package(build, tmp_path_factory) -> Path:
    for tool in ("cpack", "dpkg-shlibdeps", "dpkg-deb", "file"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    if sanitizer_preload(build):
        pytest.skip("a sanitised module is not for a package")
    if not (build / "CPackConfig.cmake").exists():
        pytest.skip("this preset makes no package")
    place = tmp_path_factory.mktemp("package")
    output("cpack", "--config", build / "CPackConfig.cmake", "-B", place)
    packages = list(place.glob("*.deb"))
    version = re.search(r"^project\(lct VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(),
                        re.MULTILINE)[1]
    architecture = output("dpkg", "--print-architecture").strip()
    assert [path.name for path in packages] == [f"lct_{version}_{architecture}.deb"]
    return packages[0]


@pytest.fixture(scope="module", name="tree")
def fixture_tree(package, tmp_path_factory) -> Path:
    """What is in it, and its control files in DEBIAN."""
    tree = tmp_path_factory.mktemp("tree")
    output("dpkg-deb", "--raw-extract", package, tree)
    return tree


def test_everything_is_in_its_place(tree):
    modules = output("openssl", "version", "-m").split('"')[1]
    assert {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()} >= {
        f"{modules[1:]}/lct.so", "usr/bin/lct", "usr/bin/lct-verify", "usr/share/man/man1/lct.1.gz",
        "usr/share/man/man1/lct-setup.1.gz",
        "usr/share/man/man7/OSSL_PROVIDER-lct.7.gz", "usr/share/doc/lct/copyright",
        "usr/share/doc/lct/changelog.gz", "usr/share/doc/lct/README.md",
        "usr/share/doc/lct/docs/operations.md", "usr/share/lct/lct.cnf",
        "usr/share/lct/hooks/apt-hook.conf", "usr/lib/tmpfiles.d/lct.conf"}
    assert not (tree / "etc").exists(), "the system's configuration is not touched until asked"
    assert not (tree / "var").exists()


def test_what_is_in_it_is_root_s_and_nobody_else_may_write_it(package):
    for line in output("dpkg-deb", "--contents", package).splitlines():
        mode, owner = line.split()[:2]
        assert owner == "root/root" and mode[5] == mode[8] == "-", line


def test_it_depends_on_what_it_links(package):
    depends = output("dpkg-deb", "--field", package, "Depends")
    for library in ("libc6", "libssl3", "libtss2-sys", "libjansson4", "libcbor"):
        assert re.search(rf"(^|, ){library}", depends), library


def test_the_command_knows_where_the_module_is(tree, user):
    conf = user.write("empty.cnf", "")
    module = output("openssl", "version", "-m").split('"')[1] + "/lct.so"
    if os.path.exists(module):
        pytest.skip("lct is installed on this machine")
    done = user.run(tree / "usr/bin/lct", "setup", status=8, env={"OPENSSL_CONF": str(conf)})
    assert f"there is no module {module}; say with --module" in done.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_of_the_package_is_a_shell_s(tree, name):
    script = tree / "DEBIAN" / name
    text = script.read_text()
    assert text.startswith("#!/bin/sh\n") and "\nset -e\n" in text
    assert script.stat().st_mode & 0o777 == 0o755
    output("sh", "-n", script)


def test_no_script_of_the_package_touches_keys(tree):
    """A store that is empty goes by rmdir, which takes no other."""
    for name in SCRIPTS:
        for line in (tree / "DEBIAN" / name).read_text().splitlines():
            if "/var/lib/lct" in line:
                assert not re.search(r"\brm\b", line), line


def test_changelog_and_version_are_of_one_release(tree, package):
    changelog = gzip.decompress((tree / "usr/share/doc/lct/changelog.gz").read_bytes()).decode()
    version = output("dpkg-deb", "--field", package, "Version").strip()
    assert changelog.startswith(f"lct ({version}) ")


def test_the_store_is_made_as_systemd_has_it(tree, tmp_path):
    if not (tmpfiles := shutil.which("systemd-tmpfiles")):
        pytest.skip("systemd-tmpfiles is not installed")
    if os.geteuid() != 0:
        pytest.skip("only root gives files to root")
    (tmp_path / "etc").mkdir()
    output(tmpfiles, "--create", f"--root={tmp_path}", tree / "usr/lib/tmpfiles.d/lct.conf")
    assert (tmp_path / "var/lib/lct").stat().st_mode & 0o7777 == 0o755
