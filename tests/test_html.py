# SPDX-License-Identifier: Apache-2.0
"""`--html`: the reports as pages, which no text of a stranger's changes or breaks."""

import contextlib
import html
import html.parser
import http.server
import json
import os
import re
import shutil
import subprocess
import threading

import pytest

from attesting import to_text
from test_attest_show import SECRET, Documents, jws
from x509 import ALT_NAME, MAKER, MODEL, VERSION, Certificate, alt_name, common_name, ek_certificate

USAGE, NOT_FOUND, IO = 2, 3, 18
POLICY = ('<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
          'style-src \'unsafe-inline\'; base-uri \'none\'; form-action \'none\'">')
ELEMENTS = {"html", "head", "meta", "title", "style", "body", "header", "main", "section", "h1",
            "h2", "p", "pre", "table", "thead", "tbody", "tr", "th", "td", "strong", "span", "code"}
ATTRIBUTES = {"class", "scope", "lang", "dir", "charset", "name", "content", "http-equiv"}
SCRIPT = "<script>document.title='pwned'</script>"
# What others may write, and how it is shown: bidi, invisible, control and tag characters.
STRANGE = (f"{SCRIPT}</td></table><!--\"'&amp;\0\x1b[2J\x85\u200b\u202e\u2066\ufeff\U000e0041\ufffe"
           "\n\u00c4\u20ac\U0001f511")
SHOWN = re.sub("[\0\x1b\x85\u200b\u202e\u2066\ufeff\U000e0041\ufffe\n]", "\ufffd", STRANGE)


class Page(html.parser.HTMLParser):
    """A page that is well-formed, of elements and attributes that are known."""

    def __init__(self, text: str):
        super().__init__()
        self.text, self.open, self.cells = text, [], []
        self.title, self.headings, self.lines, self.words = "", [], [], []
        self.feed(text)
        self.close()
        assert not self.open and text.startswith("<!DOCTYPE html>\n<html lang=\"en\" dir=\"ltr\">")

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        assert tag in ELEMENTS and attrs.keys() <= ATTRIBUTES, (tag, attrs)
        if tag == "meta":
            return
        self.open.append((tag, attrs.get("class", "")))
        if tag == "tr":
            self.cells = []
        if tag in ("th", "td"):
            assert tag == "td" or attrs["scope"] in ("row", "col")
            self.cells.append("")
        if tag in ("h1", "h2"):
            self.headings.append("")

    def handle_endtag(self, tag):
        opened, _ = self.open.pop()
        assert opened == tag
        if tag == "tr":
            self.lines.append(flat(" ".join(self.cells)))

    def handle_data(self, data):
        tags = [tag for tag, _ in self.open]
        kind = self.open[-1][1] if self.open else ""
        if not tags:
            assert not data.strip()
        elif tags[-1] in ("h1", "h2"):
            self.headings[-1] += data
        elif tags[-1] == "title":
            self.title += data
        elif kind in ("under", "command", "made") or tags[-1] == "pre":
            self.lines += map(flat, data.splitlines())
        elif kind.startswith("verdict"):
            self.lines.append(flat(data))
        elif "td" in tags or "th" in tags:
            self.cells[-1] += data
        if kind.startswith("word"):
            self.words.append((kind.removeprefix("word "), data))

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl):
        assert decl == "DOCTYPE html"

    def unknown_decl(self, data):
        raise AssertionError(data)

    def handle_pi(self, data):
        raise AssertionError(data)


def flat(text: str) -> str:
    return " ".join(text.split(" ")).strip() if "\ufffd" in text else " ".join(text.split())


def says(page: Page, text: str):
    """Everything that the text form does."""
    lines = [flat(line) for line in text.splitlines()]
    assert [line for line in lines if line not in page.lines] == []


@pytest.fixture(scope="module", name="documents")
def fixture_documents(tmp_path_factory) -> Documents:
    return Documents(tmp_path_factory.mktemp("documents"))


class Shower:
    def __init__(self, user):
        self.user = user

    def show(self, document, *options) -> str:
        text = document if isinstance(document, str) else json.dumps(document)
        return self.user.lct("attest", "show", self.user.write("document", text), *options).stdout

    def page(self, document) -> Page:
        return Page(self.show(document, "--html"))


@pytest.fixture(name="shower")
def fixture_shower(make_user) -> Shower:
    return Shower(make_user("none"))


def strange_evidence(documents, text: str = STRANGE) -> dict:
    """With a stranger's text wherever one can be: in names, and in the event log."""
    evidence = documents.evidence()
    bad = ek_certificate(documents.ek, subject=common_name(text))
    bad.extensions[ALT_NAME] = (True, alt_name(((MAKER, text),), ((MODEL, text),),
                                               ((VERSION, "\u00e4" * 3000),)))
    offer = evidence["challenge"]["offer"]
    offer["eks"][0]["certificate"] = to_text(documents.maker.sign(bad))
    offer["ak"]["certificates"] = [to_text(documents.maker.sign(
        Certificate(documents.ak.spki, common_name(text), {})))]
    assert b"version 1" in documents.log.content
    evidence["eventlog"] = to_text(documents.log.content.replace(b"version 1", b"<b>&amp;\""))
    return evidence


# What a page says


@pytest.mark.parametrize("kind", ["offer", "challenge", "evidence", "state", "verdict"])
def test_a_page_says_of_a_document_what_the_text_does(shower, documents, kind):
    document = getattr(documents, kind)()
    document = jws(document) if kind == "verdict" else document
    page, (head, *lines) = shower.page(document), shower.show(document).splitlines()
    says(page, "\n".join(lines))
    assert page.title == page.headings[0] == f"lct attest show: {kind}"
    assert page.words[0] == ("note", "not verified")
    assert head.removeprefix(f"{kind}: ") in page.lines
    assert SECRET not in page.text


def test_claims_are_words_and_not_only_colours(shower, documents):
    verdict = documents.verdict()
    verdict["claims"]["sealed"]["outcome"] = "not_claimed"
    page = shower.page(jws(verdict))
    assert page.words.count(("ok", "pass")) == len(verdict["claims"]) - 1
    assert page.words.count(("note", "not_claimed")) == 1


def test_a_page_says_of_an_identity_what_the_text_does(user):
    user.lct("create", "ec")
    user.lct("create", "rsa", "--algorithm", "rsa-2048")
    user.lct("cert", "rsa", "--set", user.certificate("lct:rsa"))
    user.lct("persist", "rsa")
    user.lct("rotate", "rsa")
    for identity in ("ec", "rsa"):
        page = Page(user.lct("show", identity, "--html").stdout)
        says(page, user.lct("show", identity).stdout)
        assert page.title == f"lct:{identity}" and page.words == [("note", "active")]
    user.lct("unpersist", "rsa")


def test_an_identity_that_was_revoked_says_so_at_the_top(user):
    user.lct("create", "alice")
    user.lct("revoke", "alice", "--yes", "--reason", "compromise")
    text = user.lct("show", "alice", "--html").stdout
    says(Page(text), user.lct("show", "alice").stdout)
    head = text[text.index("<header>"):text.index("</header>")]
    assert '<p class="verdict problem"><strong class="word problem">revoked</strong>' in head


def test_a_certificate_that_cannot_be_used_is_told_at_the_top(user):
    user.lct("create", "alice")
    user.lct("cert", "alice", "--set", user.certificate("lct:alice"))
    (user.store / "alice" / "certs-1.pem").write_text("no certificate")
    text = user.lct("show", "alice", "--html").stdout
    says(Page(text), user.lct("show", "alice").stdout)
    head = text[text.index("<header>"):text.index("</header>")]
    assert 'class="word warning">active</strong>' in head and "cannot be used" in head


def without_times(text: str) -> str:
    return re.sub(r"[\d.]+", "0", text)


def test_a_page_has_the_findings_of_the_doctor(user):
    user.lct("create", "alice")
    found = json.loads(user.lct("doctor", "alice", "--json").stdout)
    page = Page(user.lct("doctor", "alice", "--html").stdout)
    lines = [without_times(line) for line in page.lines]
    for finding in found:
        assert without_times(f"{finding['severity']} {finding['text']}") in lines
        assert finding["command"] is None or finding["command"] in page.lines
    assert page.headings[0] == "lct doctor: lct:alice"
    assert {"TPM", "OpenSSL", "store", "signature"} <= set(page.headings)
    warnings = len([finding for finding in found if finding["severity"] == "warning"])
    assert f"no problems, {warnings} warnings" in page.lines


def test_the_first_problem_is_at_the_top_and_the_exit_status(user):
    done = user.lct("doctor", "nobody", "--html", status=NOT_FOUND)
    head = done.stdout[done.stdout.index("<header>"):done.stdout.index("</header>")]
    assert '<p class="verdict problem">' in head and "lct:nobody: there is no such identity" in head
    assert ("problem", "problem") in Page(done.stdout).words
    assert "lct:nobody: there is no such identity" in done.stderr


def test_a_page_says_where_when_and_by_what_it_was_made(shower, documents):
    host = subprocess.run(["uname", "-n"], check=True, capture_output=True, text=True).stdout
    version = shower.user.lct("--version").stdout.split()[-1]
    made = rf"made on {re.escape(host.strip())} at \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ by lct {version}"
    assert any(re.fullmatch(made, line) for line in shower.page(documents.offer()).lines)


def test_a_page_goes_into_a_file(shower, documents):
    path = shower.user.path("report.html")
    for _ in range(2):  # new, and not
        assert shower.show(documents.offer(), "--html", "--out", path) == ""
        assert Page(path.read_text()).headings[0] == "lct attest show: offer"
    assert Page(shower.show(documents.offer(), "--html", "--out", "-"))


def test_lct_verify_makes_the_same_page(shower, documents):
    if not (shower.user.build / "lct-verify").exists():
        pytest.skip("this build has no lct-verify")
    path = shower.user.write("document", json.dumps(documents.evidence()))
    pages = [shower.user.run(shower.user.build / program, *words, "show", path, "--html").stdout
             for program, words in (("lct", ["attest"]), ("lct-verify", []))]
    assert without_times(pages[0]) == without_times(pages[1])


def test_wrong_usage_is_told(user, documents):
    path = user.write("document", json.dumps(documents.offer()))
    user.lct("create", "alice")
    for command in (("show", "alice"), ("doctor",), ("attest", "show", path)):
        for options in (("--html", "--json"), ("--out", "x")):
            done = user.lct(*command, *options, status=USAGE)
            assert "see lct help" in done.stderr and not done.stdout
    user.lct("doctor", "--html", "--metrics", status=USAGE)
    user.lct("show", "alice", "--html", "--out", user.path("no/such/directory"), status=IO)


# Strangers' texts


def test_a_page_shows_a_strangers_text_and_runs_none_of_it(shower, documents):
    page = shower.page(strange_evidence(documents))
    assert f"model {flat(SHOWN)}" in page.lines and f"maker {flat(SHOWN)}" in page.lines
    assert POLICY in page.text
    assert not re.search(r"<script|<img|<b>|<!--|https?:|[\0-\x09\x0b-\x1f\x7f]", page.text)
    assert not re.search("[\x80-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]", page.text)
    assert any(line.endswith('[<b>&amp;"]') for line in page.lines)


def test_what_is_too_long_is_cut_between_letters(shower, documents):
    page = shower.page(strange_evidence(documents))
    version = next(line for line in page.lines if line.startswith("version \u00e4"))
    assert re.fullmatch("version \u00e4{500,510}\\.\\.\\.", version)


def test_a_store_with_a_strange_name_is_no_markup(user, documents):
    store = user.path("<img src=x onerror=alert(1)>\"'&\u202e")
    user.lct("create", "alice", "--store", store)
    for command, status, turned in (("show", 0, "\ufffd"), ("doctor", None, "???")):
        page = Page(user.lct(command, "alice", "--store", store, "--html", status=status).stdout)
        assert any(f"<img src=x onerror=alert(1)>\"'&{turned}" in line for line in page.lines)


def test_a_path_that_is_no_text_is_shown_as_such(user):
    store = str(user.path("a")) + os.fsdecode(b"\xc3\xff\xed\xa0\x80\xc0\xaf\xf5")
    user.lct("create", "alice", "--store", store, text=False)
    done = user.lct("show", "alice", "--store", store, "--html")
    assert any(line.endswith("a" + "\ufffd" * 8 + "/alice") for line in Page(done.stdout).lines)


# A browser


class Browser:
    OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
               "--disable-background-networking", "--disable-component-update", "--disable-sync",
               "--hide-scrollbars", "--virtual-time-budget=2000")

    def __init__(self, path: str, directory):
        self.path, self.directory, self.runs = path, directory, 0

    def run(self, text: str, *options) -> str:
        self.runs += 1
        page = self.directory / f"page-{self.runs}.html"
        page.write_text(text)
        data = self.directory / f"data-{self.runs}"
        done = subprocess.run([self.path, *self.OPTIONS, f"--user-data-dir={data}", *options,
                               page.as_uri()], capture_output=True, check=True, timeout=100)
        shutil.rmtree(data, ignore_errors=True)
        return done.stdout.decode()

    def title(self, text: str, *options) -> str:
        """After all scripts."""
        return re.search(r"<title>(.*?)</title>", self.run(text, "--dump-dom", *options),
                         re.DOTALL)[1]


@pytest.fixture(name="browser")
def fixture_browser(tmp_path) -> Browser:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium; tests/run --browser installs it")
    return Browser(path, tmp_path)


@contextlib.contextmanager
def web_server():
    """Its address, and what it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_browser_shows_the_page_as_it_was_written(shower, documents, browser):
    text = shower.show(strange_evidence(documents), "--html")
    written, shown = Page(text), Page(browser.run(text, "--dump-dom").replace(
        "<!DOCTYPE html><html", "<!DOCTYPE html>\n<html"))
    assert shown.lines == written.lines and shown.headings == written.headings
    assert shown.title == "lct attest show: evidence"


def test_a_browser_fetches_and_runs_nothing_even_if_markup_came_through(shower, documents, browser):
    with web_server() as (address, asked):
        markup = (f"<img src={address}/image><link rel=stylesheet href={address}/style>"
                  f"<iframe src={address}/frame></iframe><style>body {{ background: "
                  f"url({address}/background) }}</style>{SCRIPT}")
        page = shower.show(strange_evidence(documents, markup), "--html")
        assert browser.title(page) != "pwned" and asked == []
        broken = page.replace("</main>", f"{markup}</main>")
        assert browser.title(broken) != "pwned" and asked == []
        assert browser.title(broken.replace(POLICY, "")) == "pwned"  # so this test can fail
        assert {"/image", "/style", "/frame", "/background"} <= set(asked)


def scripted(page: str, script: str) -> str:
    """A page as it is not: one that may run this."""
    assert POLICY in page
    return page.replace(POLICY, "").replace("</body>", f"<script>{script}</script></body>")


@pytest.mark.parametrize("width", [320, 390, 801])
def test_a_page_fits_a_phone(user, shower, documents, browser, width):
    user.lct("create", "alice")
    pages = [shower.show(strange_evidence(documents, "W" * 900), "--html"),
             user.lct("show", "alice", "--html").stdout]
    report = "parent.postMessage(document.documentElement.scrollWidth, '*')"
    frames = "".join(f'<iframe style="border: 0; width: {width}px" srcdoc="{quoted}"></iframe>'
                     for page in pages
                     for quoted in [html.escape(scripted(page, report))])
    wide = html.escape(f"<div style='width: 2000px'>x</div><script>{report}</script>")
    widths = browser.title(
        "<title></title><script>const all = []; onmessage = event => { all.push(event.data); "
        f"document.title = all.sort().join(' '); }}</script>{frames}<iframe srcdoc=\"{wide}\">"
        "</iframe>")
    assert sorted(map(int, widths.split())) == [width, width, 2008]


def test_letters_stay_in_the_order_in_which_they_are_stored(shower, documents, browser):
    """Those of right-to-left scripts, too, and what follows them: each left of the next."""
    text = "\u05d0\u05d1\u05d2 123 \u0627\u0628 45"
    script = ("const cells = [...document.querySelectorAll('td')], texts = cells.filter(cell => "
              f"cell.textContent == '{text}').map(cell => cell.firstChild), order = []; "
              "for (const text of texts) for (let i = 0; i < text.length; i++) { const range = "
              "new Range(); range.setStart(text, i); range.setEnd(text, i + 1); "
              "order.push(Math.round(range.getBoundingClientRect().left)); } "
              "document.title = JSON.stringify(order)")
    page = scripted(shower.show(strange_evidence(documents, text), "--html"), script)
    places = [json.loads(browser.title(way)) for way in (
        page, page.replace("unicode-bidi: isolate-override;", ""))]
    assert len(places[0]) == 2 * len(text)  # the maker and the model
    ordered = [[all(a < b for a, b in zip(half, half[1:], strict=False))
                for half in (found[:len(text)], found[len(text):])] for found in places]
    assert ordered == [[True, True], [False, False]]


@pytest.mark.parametrize("scheme, background", [(0, "rgb(20, 23, 26)"), (1, "rgb(255, 255, 255)")],
                         ids=["dark", "light"])
def test_a_page_is_dark_where_everything_is(shower, documents, browser, scheme, background):
    page = scripted(shower.show(documents.offer(), "--html"),
                    "document.title = getComputedStyle(document.body).backgroundColor")
    assert browser.title(page, f"--blink-settings=preferredColorScheme={scheme}") == background


def test_a_page_is_drawn_and_printed(shower, documents, browser, tmp_path):
    page = shower.show(documents.evidence(), "--html")
    browser.run(page, f"--screenshot={tmp_path}/page.png", "--window-size=1000,1400")
    drawn = (tmp_path / "page.png").read_bytes()
    assert drawn.startswith(b"\x89PNG") and len(drawn) > 50000
    browser.run(page, f"--print-to-pdf={tmp_path}/page.pdf", "--no-pdf-header-footer")
    printed = (tmp_path / "page.pdf").read_bytes()
    assert printed.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b", printed)) >= 3
