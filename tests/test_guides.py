# SPDX-License-Identifier: Apache-2.0
"""What documents name is there: commands and their options, tests, functions, files, headings."""

import re
from pathlib import Path

import pytest

from conftest import ROOT
from test_house import NAMED_TEST, relative, tracked
from test_manual import COMMANDS, ROWS

DOCUMENTS = sorted(path for path in tracked() if path.suffix == ".md")
GLOBAL = {"--tcti", "--store", "--passphrase-file", "--quiet", "--help", "--version"}
# A command of ours, to its end in a shell or in a sentence.
TYPED = re.compile(r"(?:^|(?<=[\s(=;|`'\"]))lct ([^\n|;&>`]*)", re.MULTILINE)
OF_SHELLS = "complete"  # what their completions call is no command for people
NAMED_COMMANDS = 150  # in all documents together; there are more


def documents():
    assert len(DOCUMENTS) > 8
    return pytest.mark.parametrize("path", DOCUMENTS, ids=relative)


def code(text: str) -> str:
    """What a document has in its blocks and between backquotes, lines of a shell joined."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    spans = [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", rest)]
    return re.sub(r"\\\n *", "", "\n".join([*blocks, *spans]))


def typed(path: Path) -> list[list[str]]:
    """The words after each `lct` of a document, where the first one is no option or output."""
    found = [words.split() for words in TYPED.findall(code(path.read_text()))]
    return [words for words in found
            if words and re.match(r"[a-z]", words[0]) and words[0] != OF_SHELLS]


def name_of(words: list[str]) -> str:
    """Of a command with parts, the part: attest offer."""
    return " ".join(words[:2]) if " ".join(words[:2]) in ROWS else words[0]


def anchors(path: Path) -> set[str]:
    """What GitHub makes of the headings."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@documents()
def test_commands_that_a_document_names_exist(path):
    assert {words[0] for words in typed(path)} - {*COMMANDS} == set()


@documents()
def test_options_that_a_document_types_exist(path):
    for words in typed(path):
        arguments, _, text = ROWS[name_of(words)]
        known = GLOBAL | set(re.findall(r"--[a-z-]+", arguments + text + ROWS[words[0]][0]))
        ours = words[:words.index("--")] if "--" in words else words
        named = {option for word in ours for option in re.findall(r"^\[?(--[a-z-]+)", word)}
        assert named - known == set(), " ".join(words)


def test_commands_are_found_in_documents():
    assert sum(len(typed(path)) for path in DOCUMENTS) > NAMED_COMMANDS


@documents()
def test_headings_that_a_document_leads_to_exist(path):
    for name, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", path.read_text()):
        target = path.parent / name if name else path
        assert target.suffix != ".md" or anchor in anchors(target), f"{name}#{anchor}"


@documents()
def test_tests_that_a_document_names_exist(path):
    text = path.read_text()
    for name, test in NAMED_TEST.findall(text):
        assert re.search(rf"^def {test}\(", (ROOT / "tests" / name).read_text(), re.MULTILINE), test
    files = set(re.findall(r"\btest_\w+\.py\b", text)) - {"test_X.py"}
    assert [name for name in files if not (ROOT / "tests" / name).exists()] == []


def test_functions_and_files_that_the_design_names_exist():
    text = (ROOT / "docs/design.md").read_text()
    source = "\n".join(path.read_text() for path in tracked()
                       if path.suffix in (".c", ".h", ".py") or path.name == "CMakeLists.txt")
    spans = {span for span in re.findall(r"`([^`\n]+)`", text)}
    names = {name for span in spans for name in re.findall(r"\blct_\w+", span)}
    names -= {"lct_NAME_run"}  # of a recipe
    names |= {span for span in spans if re.fullmatch(r"[a-z]+(_[a-z]+)+", span)}
    assert len(names) > 100
    assert sorted(name for name in names if not re.search(rf"\b{name}", source)) == []
    paths = {path for span in spans
             for path in re.findall(r"(?:[a-z]+/)+[\w.-]+\.(?:c|h|py|md)\b", span)}
    assert len(paths) > 100
    assert sorted(path for path in paths if "NAME" not in path and not (ROOT / path).exists()) == []


def test_each_file_of_tests_is_in_the_design_s_table():
    table = set(re.findall(r"`(test_\w+\.py)`", (ROOT / "docs/design.md").read_text()))
    assert {path.name for path in (ROOT / "tests").glob("test_*.py")} - table == set()


def test_each_question_has_an_answer_that_a_test_shows_or_none():
    text = (ROOT / "docs/faq.md").read_text()
    questions = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert len(questions) == 25
    for question in questions:
        title = question.splitlines()[0]
        assert NAMED_TEST.search(question) or "**No answer.**" in question, title
        assert re.search(r"[\w-]#\d+", question), title
