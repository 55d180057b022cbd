# SPDX-License-Identifier: Apache-2.0
"""The house's own rules: who may include whom, what is exported, how the code looks."""

import json
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import ROOT
from parallel import ALONE, LONGEST

# Arrows point one way; what a room may include, beside itself.
ROOMS = {
    "base": set(),
    "tcg": {"base"},
    "proof": {"base", "tcg"},
    "tpm": {"base", "tcg"},
    "store": {"base", "tcg", "proof", "tpm"},
    "attest": {"base", "tcg", "proof", "tpm", "store"},
    "export": {"base", "tcg", "proof"},
    "provider": {"base", "tcg", "proof", "tpm", "store", "attest"},
    "tools": {"base", "tcg", "proof", "tpm", "store", "attest", "export"},
}
PROVIDER_ONLY = {"openssl/core.h", "openssl/core_dispatch.h", "openssl/core_object.h"}
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.[ch]"))
TEST_SOURCES = sorted([*(ROOT / "tests").glob("*.[ch]"), *(ROOT / "bench").glob("*.[ch]")])
FUNCTION_LINES = 60


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def includes(path: Path) -> list[tuple[str, bool]]:
    """What a file includes, and whether as ours, in quotes."""
    found = re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', path.read_text(), re.MULTILINE)
    return [(name, quote == '"') for quote, name in found]


def files(paths):
    assert paths, "there are files to look at"
    return pytest.mark.parametrize("path", paths, ids=relative)


def run(*arguments, timeout: int | None = 600, **options) -> subprocess.CompletedProcess:
    return subprocess.run([str(argument) for argument in arguments], cwd=ROOT, capture_output=True,
                          text=True, check=False, timeout=timeout, **options)


def run_behind(*arguments) -> subprocess.CompletedProcess:
    """What takes every core for a minute, with no limit but pytest's: other tests come first."""
    return run("nice", "-n", "5", *arguments, timeout=None)


def tool(name: str) -> str:
    if not (path := shutil.which(name)):
        pytest.skip(f"{name} is not installed")
    return path


def tracked() -> list[Path]:
    """The files of the project, as git sees them or, in a copy, as they are."""
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.split("\n")
    found = [ROOT / name for name in names if name]
    if not found:
        found = [path for path in ROOT.rglob("*") if path.relative_to(ROOT).parts[0] != "build"]
    return [path for path in found if path.is_file()]


def test_every_c_file_is_in_a_room():
    rooms = {path.relative_to(ROOT).parts[0] for path in tracked() if path.suffix in (".c", ".h")}
    assert rooms <= {*ROOMS, "tests", "bench"}


@files(SOURCES)
def test_arrows_between_rooms_point_one_way(path):
    room = path.relative_to(ROOT).parts[0]
    for name, ours in includes(path):
        if ours:
            assert (ROOT / name).exists(), f"{name}: ours is included by its path from the top"
            other = name.split("/")[0]
            assert other == room or other in ROOMS[room], f"{room} may not include {name}"


@files(SOURCES)
def test_only_tpm_calls_tss(path):
    room = path.relative_to(ROOT).parts[0]
    allowed = {"tss2/tss2_tpm2_types.h"} if room == "tcg" else set()
    if room != "tpm":
        assert {name for name, _ in includes(path) if name.startswith("tss2/")} <= allowed


@files(SOURCES)
def test_json_is_read_and_written_by_what_leaves_nothing_out(path):
    """proof/json.h says what json_dumps(3) and json_loadb(3) do without memory."""
    if path.parent.name != "proof" or path.stem not in ("json", "json_load"):
        assert not re.search(r"\bjson_(dump|load)", path.read_text())


@files(SOURCES)
def test_only_provider_speaks_openssl_s_provider_language(path):
    if path.relative_to(ROOT).parts[0] != "provider":
        assert not {name for name, _ in includes(path)} & PROVIDER_ONLY


@pytest.mark.parametrize("room", ["export", "proof", "tcg", "base"])
def test_lower_rooms_need_no_tpm_software(build, room):
    """`lct-verify` links no further than proof/ and export/: no symbol of TSS's."""
    archives = list(build.rglob(f"liblct_{room}.a"))
    assert len(archives) == 1
    undefined = run("nm", "--undefined-only", "--format=just-symbols", archives[0]).stdout.split()
    assert not [name for name in undefined if name.startswith(("Tss2_", "Esys_"))]
    if room == "base":
        assert not [name for name in undefined if name.startswith(("EVP_", "OSSL_", "BIO_"))]


@pytest.mark.parametrize("product, without", [
    ("lct-verify", ("libtss2",)), ("lct.so", ("libcbor",))])
def test_a_product_needs_no_library_of_rooms_that_it_does_not_have(build, product, without):
    """TSS is tpm/'s, which lct-verify has not; libcbor is export/'s, which the provider has not."""
    dynamic = run("readelf", "--dynamic", "--wide", build / product).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)
    assert any(name.startswith("libcrypto") for name in needed)
    assert not [name for name in needed if name.startswith(without)]


def test_the_module_exports_its_one_function(build):
    exported = run("nm", "--dynamic", "--defined-only", "--extern-only", "--format=just-symbols",
                   build / "lct.so").stdout.split()
    assert [name for name in exported if not name.startswith(("__asan", "__odr", "__tsan"))] == [
        "OSSL_provider_init"]


@pytest.mark.parametrize("name", ["lct.so", *(
    f"liblct_{room}.a" for room in sorted(ROOMS.keys() - {"provider", "tools"}))])
def test_nothing_waits_for_libc_s_time_zone(build, name):
    """Its lock stays taken in a child of fork, if another thread had it (base/date.h)."""
    (built,) = build.rglob(name)
    dynamic = ["--dynamic"] if built.suffix == ".so" else []
    undefined = run("nm", *dynamic, "--undefined-only", "--format=just-symbols",
                    built).stdout.split()
    assert any(name.startswith(("mem", "str")) for name in undefined)
    zoned = re.compile(r"(gm|local|c|asc|mk|str[fp])time|timegm|timelocal|tzset|getdate|wcsftime")
    assert [name for name in undefined if zoned.match(name)] == []


def test_the_module_has_no_writable_text_and_no_executable_stack(build):
    headers = run("readelf", "--program-headers", "--dynamic", "--wide", build / "lct.so").stdout
    assert re.search(r"GNU_STACK.* RW ", headers)
    assert "GNU_RELRO" in headers and "NOW" in headers and "TEXTREL" not in headers


@pytest.mark.parametrize("product", ["lct", "lct-verify", "lct.so"])
def test_products_hold_no_path_of_the_machine_that_built_them(build, tmp_path, product):
    if "asan" in build.name or "tsan" in build.name or build.name == "coverage":
        pytest.skip("sanitizers put paths into what they build, and so does gcov")
    stripped = tmp_path / product
    assert run("strip", "-o", stripped, build / product).returncode == 0
    assert str(ROOT).encode() not in stripped.read_bytes()


@files([path for path in SOURCES if path.suffix == ".h"])
def test_a_header_compiles_alone(path):
    done = run("gcc", "-std=c17", "-D_GNU_SOURCE", "-DOPENSSL_API_COMPAT=30000",
               "-DOPENSSL_NO_DEPRECATED", "-Wall", "-Wextra", "-Werror", "-I", ROOT,
               "-fsyntax-only", "-x", "c", "-", input=f'#include "{relative(path)}"\n')
    assert done.returncode == 0, done.stderr


@files([path for path in SOURCES if path.suffix == ".c" and path.with_suffix(".h").exists()])
def test_a_source_file_includes_its_own_header_first(path):
    assert includes(path)[0] == (relative(path.with_suffix(".h")), True)


@files(SOURCES + TEST_SOURCES)
def test_no_function_is_longer_than_a_screen(path):
    """A function's body is between a { and a } in the first column."""
    start = None
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            assert number - start - 1 <= FUNCTION_LINES, f"the function at line {start}"
            start = None


@files(SOURCES + TEST_SOURCES)
def test_c_files_keep_the_house_s_manners(path):
    text = path.read_text()
    assert text.startswith("/* SPDX-License-Identifier: Apache-2.0 */\n")
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text)
    assert not re.search(r"^\s*//", text, re.MULTILINE)
    if path in SOURCES:
        if "openssl/asn1t.h" not in text:  # whose templates are of types with one name
            assert not re.search(r"\btypedef\b", text), "no typedef"
        assert not re.search(r"\balloca\s*\(", text)
        assert not re.search(r"__attribute__\(\(cleanup", text)
    assert not re.search(r"[ \t]+$", text, re.MULTILINE)


@files([path for path in SOURCES if path.relative_to(ROOT).parts[0] != "tools"])
def test_libraries_print_nothing(path):
    assert not re.search(r"\b(f|v|vf|d)?printf\s*\(|\bputs\s*\(|\bfputs\s*\(|\bperror\s*\(",
                         path.read_text())


@pytest.mark.parametrize("room", sorted(ROOMS.keys() - {"tpm", "attest", "provider", "tools"}))
def test_no_state_at_file_scope_but_the_process_s_connections(build, room):
    if "asan" in build.name or "tsan" in build.name or build.name == "coverage":
        pytest.skip("sanitizers keep state of their own, and gcov its counts")
    (archive,) = build.rglob(f"liblct_{room}.a")
    symbols = run("objdump", "--syms", archive).stdout
    assert " F .text" in symbols
    writable = re.findall(r" O \.(?:bss|data|tbss|tdata)(?:\.(?!rel\.ro)\S*)?\s+\S+\s+(.*)$",
                          symbols, re.MULTILINE)
    assert writable == []


def test_shell_scripts_are_sound():
    scripts = [ROOT / "tests" / "run", ROOT / ".ci" / "run", ROOT / "tools" / "quickstart"]
    for script in scripts:
        assert script.stat().st_mode & 0o111, f"{script} can be run"
        assert run("bash", "-n", script).returncode == 0
        assert "SPDX-License-Identifier: Apache-2.0" in script.read_text()
    assert "tests/run" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("script", ["tests/run", "tools/quickstart"])
def test_what_builds_installs_every_library_that_the_build_asks_for(script):
    asked = re.findall(r"pkg_check_modules\(\w+ REQUIRED IMPORTED_TARGET ([\w-]+)",
                       (ROOT / "CMakeLists.txt").read_text())
    packages = {"libcrypto": "libssl-dev", "tss2-sys": "libtss2-dev", "jansson": "libjansson-dev",
                "libcbor": "libcbor-dev"}
    assert set(asked) == set(packages)
    named = (ROOT / script).read_text().split()
    assert [package for package in packages.values() if package not in named] == []


def test_what_is_shared_out_first_is_there():
    for name in (*ALONE, *LONGEST):
        path, _, test = name.partition("::")
        assert f"def {test}" in (ROOT / path).read_text(), name


def test_nothing_in_the_tree_names_a_machine():
    machine = re.compile(r"(?<![\w.$}])/(?:work|root|farm|home)/|debian\.org|ubuntu\.com|npmjs")
    for path in tracked():
        if path != Path(__file__) and path.suffix != ".pyc":
            assert not machine.search(path.read_text(errors="replace")), relative(path)


def test_clang_format_is_clean():
    done = run(tool("clang-format"), "--dry-run", "-Werror", *SOURCES, *TEST_SOURCES)
    assert done.returncode == 0, done.stderr


def compiled(build: Path) -> list[str]:
    commands = json.loads((build / "compile_commands.json").read_text())
    names = [command["file"] for command in commands]
    return [name for name in names if Path(name).is_relative_to(ROOT) and "/tests/" not in name]


def test_clang_tidy_is_clean(build):
    clang_tidy = tool("clang-tidy")
    assert (ROOT / ".clang-tidy").exists()
    if "version 14." not in run(clang_tidy, "--version").stdout:
        pytest.skip("its checks are those of Debian 12's clang-tidy 14")

    def check(name):
        return run_behind(clang_tidy, "--quiet", "--warnings-as-errors=*", "-p", build,
                          "--extra-arg=-Wno-ignored-optimization-argument", name)  # gcc's own

    with ThreadPoolExecutor(2) as jobs:
        for done in jobs.map(check, compiled(build)):
            assert done.returncode == 0, done.stdout


def test_cppcheck_is_clean(build):
    done = run_behind(
        tool("cppcheck"), "--enable=warning,performance,portability", "--inline-suppr",
        "--error-exitcode=1", "--quiet", "-j", "2", "--std=c11",
        "--suppress=missingIncludeSystem", "--suppress=normalCheckLevelMaxBranches",
        # Of an array that is not filled yet the address is taken; 2.22 says it is read.
        f"--suppress=uninitvar:{ROOT}/tpm/capability.c",
        # 2.17 sees an address that is put down for the time of a call, not that it is taken away.
        "--suppress=autoVariables",
        "-D_GNU_SOURCE", '-DLCT_VERSION=""', "-I", ROOT, "-DDEFINE_STACK_OF(type)=",
        "-DASN1_SEQUENCE(type)=static const ASN1_TEMPLATE type##_template[]",
        "-Dstatic_ASN1_SEQUENCE_END(type)=;", *compiled(build))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_builds_without_warnings(tmp_path, compiler):
    """From scratch; both compilers' presets make warnings errors."""
    tool(compiler)
    preset = {"gcc": "dev", "clang": "clang"}[compiler]
    done = run("cmake", "--preset", preset, "-B", tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_behind("cmake", "--build", tmp_path)
    assert done.returncode == 0, done.stdout
    assert "warning" not in done.stdout


@pytest.mark.parametrize("path", [path for path in tracked() if path.suffix == ".md"], ids=relative)
def test_links_of_documents_lead_somewhere(path):
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


THREAT_MODEL = ROOT / "docs/threat-model.md"
NAMED_TEST = re.compile(r"\b(test_\w+\.py)::(test_\w+)")


def test_each_test_that_the_threat_model_names_exists():
    named = set(NAMED_TEST.findall(THREAT_MODEL.read_text()))
    assert len(named) > 200
    files_of = {name for name, _ in named}
    existing = {(name, test) for name in files_of if (ROOT / "tests" / name).exists()
                for test in re.findall(r"^def (test_\w+)\(", (ROOT / "tests" / name).read_text(),
                                       re.MULTILINE)}
    assert sorted(named - existing) == []


def test_each_line_that_the_threat_model_says_holds_is_shown():
    """By a test, or by the section that is named, in italics."""
    text = THREAT_MODEL.read_text()
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    tables = re.findall(r"^\| holds \| shown by \|\n\|---\|---\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert len(tables) >= len(sections) - 2  # but for what is kept and relied on
    for line in "".join(tables).splitlines():
        _, _, shown = line.strip("|").partition("|")
        others = re.findall(r"\*([^*]+)\*", shown)
        assert NAMED_TEST.search(shown) or others, line
        for other in others:
            assert any(section.lower().startswith(other) for section in sections), other
