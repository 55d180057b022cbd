# SPDX-License-Identifier: Apache-2.0
"""The manual: its pages are sound, and they say what there is, all of it and nothing else."""

import json
import os
import re
from pathlib import Path

import pytest

from conftest import ROOT, sanitizer_preload
from test_house import run, tool

MAN = ROOT / "docs/man"
PAGES = sorted(MAN.iterdir())


def pages(paths=None):
    assert len(PAGES) > 35
    return pytest.mark.parametrize("path", PAGES if paths is None else paths,
                                   ids=lambda path: path.name)


def rows() -> dict[str, tuple[str, str, str]]:
    """Of each row of the command's table, and of the tables of parts: arguments, summary, text."""
    texts = [(ROOT / "tools" / name).read_text()
             for name in ("help.c", "attest.c", "verifier_parts.c", "verify.c")]
    joined = re.sub(r'"\s+"', "", "\n".join(texts))
    constants = dict(re.findall(r'const char (lct_\w+)\[\] =\s+"((?:[^"\\]|\\.)*)";', joined))
    joined = re.sub(r"\b(lct_(?:verify|attest)_(?:arguments|summary|details))\b,",
                    lambda name: f'"{constants[name[1]]}",', joined)
    found = re.findall(r'\{"([a-z ]+)",\s*"((?:[^"\\]|\\.)*)",\s*"((?:[^"\\]|\\.)*)",\s*'
                       r'(NULL|"(?:[^"\\]|\\.)*"),\s*lct_\w+_run\}', joined)
    return {name: (arguments, summary, text) for name, arguments, summary, text in found}


ROWS = rows()
COMMANDS = sorted(name for name in ROWS if " " not in name)


def commands():
    assert len(COMMANDS) > 30
    return pytest.mark.parametrize("command", COMMANDS)


def page_of(command: str) -> str:
    return (MAN / f"lct-{command}.1").read_text()


def section(text: str, title: str) -> str:
    """A section or subsection, up to the next of its kind or above."""
    kind = next(kind for kind in ("Sh", "Ss") if f"\n.{kind} {title}\n" in text)
    rest = text.split(f"\n.{kind} {title}\n", 1)[1]
    return re.split(r"^\.Sh " if kind == "Sh" else r"^\.S[hs] ", rest, maxsplit=1,
                    flags=re.MULTILINE)[0]


# Form


@pages()
def test_a_page_is_sound_to_mandoc(path):
    done = run(tool("mandoc"), "-T", "lint", "-W", "warning", path)
    assert (done.returncode, done.stdout) == (0, "")


@pages()
def test_a_page_is_sound_to_groff(path):
    done = run(tool("groff"), "-mdoc", "-ww", "-Tutf8", "-z", path)
    assert (done.returncode, done.stderr) == (0, "")


@pages()
def test_a_page_says_which_it_is(path):
    text = path.read_text()
    name, number = path.stem, path.suffix[1:]
    assert text.startswith('.\\" SPDX-License-Identifier: Apache-2.0\n')
    assert f"\n.Dt {name.upper()} {number}\n" in text
    assert section(text, "NAME").startswith(f".Nm {name}\n.Nd ")
    titles = re.findall(r"^\.Sh (.*)$", text, re.MULTILINE)
    order = ["NAME", "SYNOPSIS", "DESCRIPTION", "ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES",
             "DIAGNOSTICS", "SEE ALSO", "CAVEATS"]
    assert titles == [title for title in order if title in titles]
    assert {"NAME", "DESCRIPTION", "SEE ALSO"} <= set(titles)
    if number == "1":
        assert {"SYNOPSIS", "EXAMPLES"} <= set(titles)


@pages()
def test_what_a_page_has_as_it_is_fits_a_terminal(path):
    for block in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", path.read_text(),
                            re.MULTILINE | re.DOTALL):
        assert [line for line in block.splitlines() if len(line.replace("\\e", "\\")) > 74] == []


@pages()
def test_pages_that_a_page_names_exist(path):
    named = set(re.findall(r"Xr ((?:lct|OSSL_PROVIDER-lct)\S*) (\d)", path.read_text()))
    ours = {(page.stem, page.suffix[1:]) for page in PAGES}
    assert named and named <= ours


def test_pages_are_installed_where_they_are_looked_for(build, tmp_path):
    assert run("cmake", "--install", build, "--prefix", tmp_path).returncode == 0
    installed = sorted(path.relative_to(tmp_path / "share/man").as_posix()
                       for path in (tmp_path / "share/man").rglob("*.*"))
    assert installed == sorted(f"man{page.suffix[1:]}/{page.name}" for page in PAGES)


# Commands and options


def test_each_command_has_a_page_and_each_page_a_command():
    assert {f"lct-{command}.1" for command in COMMANDS} | {"lct.1"} == {
        page.name for page in PAGES if page.suffix == ".1"}


@commands()
def test_the_first_page_has_a_line_for_each_command(command):
    line = re.search(r"^\.Nd (.*)$", page_of(command), re.MULTILINE)[1]
    assert f"\n.It Xr lct-{command} 1\n{line}\n" in section((MAN / "lct.1").read_text(), "Commands")


def functions(text: str) -> dict[str, str]:
    """The functions of a file by name, with their bodies."""
    return {match[1]: match[2] for match in re.finditer(
        r"^[a-z][^;={}]*?\b(\w+)\([^;{}]*\)\n\{\n(.*?)^\}$", text, re.MULTILINE | re.DOTALL)}


def options_of_code(row: str) -> set[str]:
    """Those in the option tables that a command's function, and what it calls in its file, has."""
    name = f"lct_{row.replace(' ', '_')}_run"
    (found,) = [known for source in (ROOT / "tools").glob("*.c")
                if name in (known := functions(source.read_text()))]
    seen, ahead = set(), [name]
    while ahead:
        if (this := ahead.pop()) not in seen:
            seen.add(this)
            ahead += [other for other in found if re.search(rf"\b{other}\b", found[this])]
    tables = re.findall(r"struct lct_option \w+\[\] = \{(.*?)\};",
                        "".join(found[this] for this in seen), re.DOTALL)
    options = set(re.findall(r'\{"([a-z0-9-]+)"', "".join(tables)))
    return options - {"reason"} if row == "retire" else options  # revoke's, in a table of both


def parts_of(command: str) -> list[str]:
    return [row for row in ROWS if row == command or row.startswith(f"{command} ")]


def all_options(command: str) -> set[str]:
    return set().union(*(options_of_code(part) for part in parts_of(command)))


def flags(text: str) -> set[str]:
    """The options that lines of mdoc have."""
    lines = [line for line in text.splitlines() if re.search(r"\bFl\b", line)]
    return set(re.findall(r"(?:Fl|[|,]) -([a-z][a-z0-9-]*)", "\n".join(lines)))


def test_options_are_found_in_the_code():
    assert options_of_code("gc") == {"evict", "json", "yes"}
    assert {"algorithm", "seal", "software"} <= options_of_code("create")
    assert {"trust", "issuer-key", "lifetime", "format"} <= all_options("attest")


@commands()
def test_a_synopsis_has_the_options_that_the_code_takes(command):
    assert flags(section(page_of(command), "SYNOPSIS")) == all_options(command)


@commands()
def test_each_option_is_described_and_no_other(command):
    text = section(page_of(command), "DESCRIPTION")
    assert sorted(all_options(command) - flags(text)) == []
    described = [line for line in text.splitlines() if line.startswith(".It Fl ")]
    assert sorted(flags("\n".join(described)) - all_options(command)) == []


@commands()
def test_a_command_s_help_has_the_options_that_the_code_takes(command):
    for part in parts_of(command):
        arguments, summary, text = ROWS[part]
        told = set(re.findall(r"--([a-z][a-z0-9-]+)", f"{arguments} {summary} {text}"))
        asked = set(re.findall(r"--([a-z][a-z0-9-]+)", arguments))
        assert sorted(options_of_code(part) - told) == [], part
        assert sorted(asked - options_of_code(part)) == [], part


def test_the_manual_documents_every_exit_status():
    codes = re.findall(r'^ *X\((LCT_\w+), (\d+), "([^"]+)"\)',
                       (ROOT / "base/error.h").read_text(), re.MULTILINE)
    told = re.findall(r"^\.It (\d+)$", section((MAN / "lct.1").read_text(), "EXIT STATUS"),
                      re.MULTILINE)
    assert len(codes) > 25
    assert told == [number for _, number, _ in codes]


@pages()
def test_an_exit_status_of_a_page_is_one_that_there_is(path):
    codes = set(re.findall(r"^ *X\(LCT_\w+, (\d+),", (ROOT / "base/error.h").read_text(),
                           re.MULTILINE))
    text = path.read_text()
    told = re.findall(r"^\.It (\d+)$", section(text, "EXIT STATUS"), re.MULTILINE) \
        if ".Sh EXIT STATUS" in text else []
    assert told == sorted(set(told) & codes, key=int)


def test_the_first_page_has_the_options_of_every_command():
    text = section((MAN / "lct.1").read_text(), "Options of every command")
    tags = "\n".join(line for line in text.splitlines() if line.startswith(".It Fl "))
    code = (ROOT / "tools/options.c").read_text() + (ROOT / "tools/main.c").read_text()
    taken = set(re.findall(r'"(?:--)?(tcti|store|passphrase-file|quiet|help|version)"', code))
    assert len(taken) == 6
    assert flags(tags) == taken


def variables_read(*rooms: str) -> set[str]:
    """Those of the environment that the code in these directories asks for."""
    text = "".join(path.read_text() for room in rooms for path in (ROOT / room).glob("*.c"))
    asked = " ".join(arguments_of_calls(text, r"(?:secure_)?getenv"))
    return set(re.findall(r'"([A-Z_]+)"', asked)) | set(
        re.findall(r'^ +\{"\w+", "([A-Z_]+)", set_', text, re.MULTILINE))


def variables_told(text: str) -> set[str]:
    tags = re.findall(r"^\.It Ev (.*)$", section(text, "ENVIRONMENT"), re.MULTILINE)
    return set(" ".join(tags).replace(",", " ").split())


LIBRARIES = ("base", "tcg", "tpm", "proof", "attest", "export", "store")


def test_the_manual_has_every_variable_that_the_command_reads_and_no_other():
    read = variables_read(*LIBRARIES, "tools")
    assert {"LCT_REQUIRE_HARDWARE", "DBUS_SYSTEM_BUS_ADDRESS", "TERM", "XDG_CONFIG_HOME"} <= read
    told = [variables_told(path.read_text()) for path in MAN.glob("lct*.1")
            if ".Sh ENVIRONMENT\n" in path.read_text()]
    assert sorted(set().union(*told)) == sorted(read)
    general = variables_told((MAN / "lct.1").read_text())
    assert sorted(variables_read(*LIBRARIES) - general) == []


def test_the_manual_has_every_variable_that_the_provider_reads_and_no_other():
    """And those by which OpenSSL finds it."""
    read = variables_read(*LIBRARIES, "provider") | {"OPENSSL_CONF", "OPENSSL_MODULES"}
    assert sorted(variables_told(provider_page())) == sorted(read)


# The provider


def provider_page() -> str:
    return (MAN / "OSSL_PROVIDER-lct.7").read_text()


def test_the_manual_has_every_key_of_the_configuration_and_no_other():
    keys = re.findall(r'^ +\{"(\w+)", (?:"(\w+)"|NULL), set_', (ROOT / "base/config.c").read_text(),
                      re.MULTILINE)
    assert len(keys) > 11
    text = section(provider_page(), "Configuration")
    told = re.findall(r"^\.It Cm (\w+) No =", text, re.MULTILINE)
    assert sorted(told) == sorted(key for key, _ in keys)
    for key, variable in keys:
        entry = text[text.index(f".It Cm {key} No ="):]
        entry = re.split(r"\n\.It Cm \w+ No =", entry)[0]
        assert not variable or f".Ev {variable}" in entry, key


def test_the_manual_has_every_parameter_of_the_provider(build):
    """Those that its sources name, by what OpenSSL's header makes of the names."""
    sources = "\n".join(path.read_text() for path in (ROOT / "provider").glob("*.c"))
    macros = sorted(set(re.findall(r"\bOSSL_(?:\w+_PARAM|CAPABILITY_TLS_GROUP)_\w+", sources)))
    macros = [name for name in macros if not name.startswith("OSSL_PARAM_")]
    names = run("gcc", "-E", "-P", "-x", "c", "-", input="#include <openssl/core_names.h>\n"
                "#include <openssl/core_object.h>\n"
                + "".join(f"NAME {name}\n" for name in macros)).stdout
    names = re.findall(r'^NAME (".*")$', names.replace('" "', "").replace('""', ""), re.MULTILINE)
    names = dict(zip(macros, (name.strip('"') for name in names), strict=True))
    assert len(names) > 60 and names["OSSL_PKEY_PARAM_GROUP_NAME"] == "group"
    text = section(provider_page(), "Parameters")
    told = set(re.findall(r"[a-z][a-z0-9-]*", " ".join(
        line.split("Cm ", 1)[1] for line in text.splitlines() if re.match(r"\.(It )?Cm ", line))))
    expected = set(names.values()) | {"lct-id", "nonce-type"}
    assert sorted(expected - told) == []
    assert sorted(told - expected - parameters_of_keys(build)) == []


def parameters_of_keys(build: Path) -> set[str]:
    """What the provider lets be read of keys: by OpenSSL's own list."""
    listed = run("openssl", "list", "-key-managers", "-verbose", "-provider-path", build,
                 "-provider", "lct", "-propquery", "provider=lct",
                 env=os.environ | {"OPENSSL_CONF": os.devnull,
                                   "LD_PRELOAD": " ".join(sanitizer_preload(build))}).stdout
    return set(re.findall(r"^ +([\w-]+): .*(?:integer|string)", listed, re.MULTILINE))


def test_the_manual_has_every_form_of_a_uri():
    text = section(provider_page(), "URIs")
    for form in ("lct: Ns Ar id", "lct:// Ns Ar id", "lct:/// Ns Ar id", "?generation= Ns Ar n",
                 "lct:web4:mb32:b Ns Ar digits", "lct://web4:mb32:b Ns Ar digits",
                 "lct:///web4:mb32:b Ns Ar digits", "lct:\n"):
        assert f"Li {form}" in text, form


# The formats

# Which members a section of a page has: those in what these functions make and read.
FORMATS = {
    ("lct-record.5", "The record"): [("store/record.c", ("read_head", "lct_record_write",
                                                         "read_ending", "ended_json"))],
    ("lct-record.5", "A generation"): [("store/record.c", (
        "read_tpm_generation", "read_software_generation", "add_place", "tpm_generation_json",
        "software_generation_json", "add_rest", "generation_json"))],
    ("lct-record.5", "A seal"): [("proof/seal.c", None), ("proof/json.c", ("lct_json_counter",))],
    ("lct-record.5", "PCR values"): [("store/seal.c", None)],
    ("lct-record.5", "Approvals"): [("store/approval.c", None)],
    ("lct-record.5", "Backups"): [("store/manifest.c", None)],
    ("lct-evidence.5", "The offer"): [("proof/offer.c", None)],
    ("lct-evidence.5", "The challenge"): [("proof/challenge.c", (
        "of_credential", "lct_challenge_json", "take_credential", "take"))],
    ("lct-evidence.5", "The state of a challenge"): [("proof/challenge.c", (
        "lct_challenge_state_json", "lct_challenge_state_forget", "lct_challenge_state_read"))],
    ("lct-evidence.5", "The evidence"): [("proof/evidence.c", None)],
    ("lct-evidence.5", "The signed verdict"): [
        ("proof/issue_verdict.c", None), ("proof/jws.c", None),
        ("proof/verdict.c", ("lct_verdict_json", "finding_from_json"))],
    ("lct-evidence.5", "Statements"): [("proof/jws_general.c", None)],
    ("lct-evidence.5", "A key in a statement"): [("proof/subject.c", None)],
    ("lct-evidence.5", "A succession"): [("proof/succession.c", None)],
    ("lct-evidence.5", "An end"): [("proof/ending.c", None)],
    ("lct-evidence.5", "What an identity states"): [("proof/signed_statement.c", None)],
}


CALL = re.compile(r"\bjson_(?:pack|unpack|unpack_ex|object_set_new|object_get)\(")
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')


def arguments(text: str, start: int) -> str:
    """Those of a call, up to its last parenthesis."""
    depth, at = 1, start
    while depth > 0:
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return text[start:at - 1]


def arguments_of_calls(text: str, name: str) -> list[str]:
    """Those of each call of a function, whose name is a regular expression."""
    return [arguments(text, call.end()) for call in re.finditer(rf"\b(?:{name})\(", text)]


def members_of(source: str, names: tuple[str, ...] | None) -> set[str]:
    """The text in calls of jansson, but for formats and for values that ?: chooses."""
    found = functions((ROOT / source).read_text())
    body = "".join(found[name] for name in names or found)
    members = set()
    for call in CALL.finditer(body):
        plain = LITERAL.sub(lambda text: "" if re.search(r"\W", text[1]) else text[0],
                            arguments(body, call.end()))
        members |= set(LITERAL.findall(re.sub(r"\?[^,]*:[^,]*", "", plain)))
    assert members, source
    return members


def literals(text: str) -> set[str]:
    return set(re.findall(r"[a-z_0-9]+", " ".join(
        line for line in text.splitlines() if re.match(r"\.(It |Pq |Po )?(\w+ )*Li ", line))))


@pytest.mark.parametrize("page, title", FORMATS, ids=lambda text: text.replace(" ", "_"))
def test_the_manual_has_every_member_of_a_format_and_no_other(page, title):
    members = set().union(*(members_of(*where) for where in FORMATS[page, title]))
    text = section((MAN / page).read_text(), title)
    told = literals(text)
    tags = set(re.findall(r"[a-z_0-9]+", " ".join(
        line[len(".It Li"):] for line in text.splitlines() if line.startswith(".It Li "))))
    assert len(members) > 3
    assert sorted(members - told) == []
    assert sorted(tags - members) == []


def test_the_manual_has_every_member_of_a_trust_file_and_no_other():
    rows_of = re.findall(r'\{"(\w+)", read_\w+\}', (ROOT / "proof/trust.c").read_text())
    assert len(rows_of) > 7
    text = section((MAN / "lct-evidence.5").read_text(), "The trust file")
    told = re.findall(r"^\.It Li (.*)$", text, re.MULTILINE)
    assert sorted(" ".join(told).replace(",", " ").split()) == sorted(rows_of)
    example = json.loads(re.search(r"^(\{.*?\})$", text, re.MULTILINE | re.DOTALL)[1])
    assert sorted(example) == sorted(rows_of)


def test_the_manual_has_every_field_of_a_key_file_and_no_other():
    """As the contract of store/keyfile.h has them."""
    lines = re.search(r"TPMKey ::= SEQUENCE \{.*?\}", (ROOT / "store/keyfile.h").read_text(),
                      re.DOTALL)[0].splitlines()
    fields = [line.removeprefix(" *").split()[0] for line in lines[1:]]
    template = re.search(r"ASN1_SEQUENCE\(TPM_KEY\) = \{(.*?)\}",
                         (ROOT / "store/keyfile.c").read_text(), re.DOTALL)[1]
    assert len(fields) == template.count("TPM_KEY,")
    text = section((MAN / "lct-record.5").read_text(), "Key files")
    tags = " ".join(re.findall(r"^\.It Li (.*)$", text, re.MULTILINE)).replace(",", " ").split()
    assert tags == fields
    assert [line.split()[0] for line in text[text.index("TPMKey"):].splitlines()[1:11]] == fields


def test_the_manual_has_every_claim():
    names = re.findall(r'\[LCT_CLAIM_\w+\] = "(\w+)"', (ROOT / "proof/verdict.c").read_text())
    assert len(names) > 10
    text = section((MAN / "lct-verify.1").read_text(), "What a TPM attests")
    assert re.findall(r"^\.It Li (\w+)\n", text, re.MULTILINE) == names


def test_the_manual_has_every_file_of_a_store():
    named = set()
    for path in (ROOT / "store").glob("*.c"):
        named |= set(re.findall(r'_(?:file|dir)\[\] = "(\.?[\w.]+)"', path.read_text()))
    text = section((MAN / "lct-record.5").read_text(), "What is in a store")
    assert {".approvals", ".ended", ".index", "identity.json"} <= named
    assert [name for name in named - {"manifest.json"} if name not in text] == []


def members_in(value) -> set[str]:
    """Of an object and what is in it."""
    if isinstance(value, list):
        return set().union(*map(members_in, value))
    if isinstance(value, dict):
        return set(value) | set().union(*map(members_in, value.values()))
    return set()


def test_the_manual_has_every_member_of_judgements_and_endorsement_keys(user):
    user.lct("create", "alice")
    keys = members_in(json.loads(user.lct("ek", "--json", status=None).stdout))
    succession = user.write("succession", user.lct("rotate", "alice").stdout)
    statement = user.write("statement", user.lct("sign", "alice", "--type", "k").stdout)
    public = user.public_key("lct:alice")
    judged = [members_in(json.loads(user.lct("verify", "--json", *options).stdout)) for options in (
        ("--old-key", public, succession), ("--key", public, statement))]
    of_all = literals((MAN / "lct-json.7").read_text())
    assert sorted(keys - of_all - literals(section(page_of("ek"), "DESCRIPTION"))) == []
    assert "eks" in keys
    of_verify = literals(section(page_of("verify"), "Statements"))
    assert [sorted(members - of_verify) for members in judged] == [[], []]
