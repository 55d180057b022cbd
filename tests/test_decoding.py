# SPDX-License-Identifier: Apache-2.0
"""Key files, in every way that libcrypto and libssl read one: tests/decode.c, and openssl."""

import base64
import json
import re
import shutil

import pytest

from conftest import ROOT
from keyfile import der

KINDS = pytest.mark.parametrize("kind", ["ec", "rsa"])
FILES = pytest.mark.parametrize("command", ["pem", "export"])
SAMPLES = sorted((ROOT.parent / "shared" / "vectors" / "tss2-pem").glob("*.pem"))
PEM_WAYS = ["pem", "pipe", "socket", "memory", "info", "ssl", "decoder", "decoder-pem", "store",
            "store-any"]
DER_WAYS = ["d2i", "d2i-bio", "ssl-der", "decoder", "decoder-any", "store", "store-any"]
# What reads one block and goes on only with help, is given the key alone.
ALONE = [*PEM_WAYS, "decoder-any"]
ASKING = [way for way in ALONE if way != "info"]  # PEM_X509_INFO_read_bio hands no callback on
CONDITIONS = {
    "alone": ([], {}), "in a context of its own": (["own"], {}),
    "with an old error": (["stale"], {}), "in threads": (["threads"], {}),
    "with another allocator": (["allocator"], {}),
    "lct first": ([], {"order": ("lct", "default")}),
    "default preferred": ([], {"default_properties": "?provider=default"}),
    "lct not preferred": ([], {"default_properties": "?provider!=lct"}),
}
SOFTWARE_KEYS = {"pkcs8": ["genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256"],
                 "ec": ["ecparam", "-name", "prime256v1", "-genkey"]}  # with its EC PARAMETERS


@pytest.fixture(name="decode")
def fixture_decode(watched, proxy):
    """Runs tests/decode.c; the TPM is asked nothing. How often it asked for a passphrase, by way."""
    program = watched.build / "tests" / "decode"
    if not program.exists():
        pytest.skip("this build has no test programs")

    def run(modes, file, uri, ways, **options) -> dict[str, str]:
        proxy.codes.clear()
        done = watched.run(program, *modes, file, uri, *ways, status=None, **options)
        report = done.stdout + done.stderr
        assert done.returncode == 0 and done.stderr == "", report
        assert proxy.codes == [], "decoding speaks to the TPM"
        *lines, last = done.stdout.splitlines()
        assert last == "ok", report
        return {line.split()[0]: line.partition(" ")[2] for line in lines}

    return run


def unwrap(text: str) -> bytes:
    """The DER in one PEM block."""
    return base64.b64decode("".join(text.strip().splitlines()[1:-1]))


def wrap(label: str, content: bytes, width: int = 64) -> str:
    lines = re.findall(f".{{1,{width}}}", base64.b64encode(content).decode())
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def reference(uri: str | bytes, public_key: bytes, kind: str = "LCT Key Reference v1") -> str:
    uri = uri.encode() if isinstance(uri, str) else uri
    return wrap("LCT PRIVATE KEY", der(0x30, der(0x1A, kind.encode()) + der(0x0C, uri)
                                       + public_key))


def public_key(user, identity: str) -> bytes:
    return unwrap(json.loads(user.lct("show", identity, "--json").stdout)["public_key"])


def first_sentence(stderr: str) -> str:
    """What a user of the openssl command reads first of the error queue."""
    found = re.search(r":error:[0-9A-F]{8}:(.*)", stderr)
    assert found, stderr
    library, _, _, _, _, sentence = found[1].split(":", 5)
    assert library == "lct", stderr
    return sentence


@KINDS
@FILES
@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_way_reads_a_key_file_and_asks_the_tpm_nothing(watched, decode, kind, command,
                                                            condition):
    modes, configuration = CONDITIONS[condition]
    text = watched.lct(command, kind).stdout
    pem, bare = watched.write("key.pem", text), watched.write("key.der", unwrap(text))
    watched.configure(**configuration)
    decode(modes, pem, f"lct:{kind}", [*ALONE, f"decoder-{kind}"])
    decode(modes, bare, f"lct:{kind}", [*DER_WAYS, f"decoder-{kind}"])


@KINDS
@FILES
def test_what_was_read_signs(owner, kind, command):
    pem = owner.write("key.pem", owner.lct(command, kind).stdout)
    owner.run(owner.build / "tests" / "decode", "sign", pem, f"lct:{kind}", *ALONE)
    owner.run(owner.build / "tests" / "decode", "sign", "own", pem, f"lct:{kind}", *ALONE)


@FILES
def test_a_decoder_exports_nothing(owner, command):
    """libcrypto calls what a decoder has for that without looking whether there is anything."""
    pem = owner.write("key.pem", owner.lct(command, "ec").stdout)
    done = owner.run(owner.build / "tests" / "decode", "refused", pem, "-", "decoder-export")
    assert done.stdout.startswith("asked for an export\n"), done.stdout


@FILES
def test_a_key_of_another_type_is_not_given(watched, decode, command):
    for kind, other in (("ec", "rsa"), ("rsa", "ec")):
        pem = watched.write("key.pem", watched.lct(command, kind).stdout)
        assert decode(["refused"], pem, "-", [f"decoder-{other}"]) == {f"decoder-{other}": "0 -"}


ARRANGEMENTS = {
    "key, certificate": "{key}{crt}", "certificate, key": "{crt}{key}",
    "chain, key": "{crt}{ca}{key}", "certificate, key, chain": "{crt}{key}{ca}",
    "text, key": "Bag Attributes\n    friendlyName: web\n{long}\n{key}",
    "text, certificate, text, key": "subject=CN = localhost\n{crt}\nissuer=\n\n{key}# end\n",
    "parameters, key": "{parameters}{key}", "parameters, certificate, key": "{parameters}{crt}{key}",
    "DH parameters, certificate, key": "{dh}{crt}{key}",
    "key, software key": "{key}{software}",
}


@pytest.fixture(name="parts")
def fixture_parts(watched):
    """What stands around a key in the files of users."""
    plain = {"OPENSSL_CONF": "/etc/ssl/openssl.cnf"}
    parts = {
        "ca": watched.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "group:P-256", "-nodes",
                              "-keyout", "ca.key", "-subj", "/CN=CA", env=plain).stdout,
        "parameters": watched.openssl("ecparam", "-name", "prime256v1", env=plain).stdout,
        "dh": watched.openssl("genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt",
                              "group:ffdhe2048", env=plain).stdout,
        "long": "x" * 1000,
    }
    for name, arguments in SOFTWARE_KEYS.items():
        parts[name] = watched.openssl(*arguments, env=plain).stdout
    parts["software"] = parts["pkcs8"]
    return parts


@KINDS
@FILES
@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_a_key_is_found_among_certificates_and_text(watched, decode, parts, kind, command, ends):
    """In files for servers, with an old error in the queue and without: lighttpd has one."""
    parts["key"] = watched.lct(command, kind).stdout
    parts["crt"] = watched.certificate(f"lct:{kind}").read_text()
    for arrangement in ARRANGEMENTS.values():
        text = arrangement.format(**parts)
        bundle = watched.write("bundle.pem", text.replace("\n", ends).encode())
        ways = [*PEM_WAYS, "ssl-bundle"] if "crt" in arrangement else PEM_WAYS
        if "parameters" in arrangement or "dh" in arrangement or "software" in arrangement:
            ways = [way for way in ways if way not in ("info", "ssl-bundle")]
        decode([], bundle, f"lct:{kind}", ways)
        decode(["stale"], bundle, f"lct:{kind}",
               [way for way in ways if way in ("pem", "memory", "ssl", "pipe")])


@pytest.mark.parametrize("software", SOFTWARE_KEYS)
@FILES
def test_a_software_key_that_comes_first_is_taken(watched, decode, parts, command, software):
    key = watched.lct(command, "ec").stdout
    ways = ["pem", "pipe", "memory", "ssl", "store"]
    for text in (parts[software] + key, parts["ca"] + parts[software] + key + parts["ca"]):
        decode(["software"], watched.write("both.pem", text), "-", ways)
    decode(["software", "stale"], watched.write("key.pem", parts[software]), "-", ["pem", "ssl"])


@pytest.mark.parametrize("order", [("default", "lct"), ("lct", "default")])
def test_a_software_key_after_other_blocks_is_read_as_without_us(watched, decode, order):
    """libcrypto goes on where the last of its decoders has stopped: that may be ours."""
    watched.configure(order=order)
    other = wrap("SOMETHING ELSE", b"something else")
    key = watched.openssl("genpkey", "-algorithm", "ED25519").stdout
    for before in (other, other + "text\n" + other):
        file = watched.write("key.pem", before + key)
        decode(["software", "provided"], file, "-", ["pem", "pipe", "memory", "ssl"])


@KINDS
@FILES
def test_lines_may_be_of_any_length_that_libcrypto_takes(watched, decode, kind, command):
    text = watched.lct(command, kind).stdout
    label = re.match("-----BEGIN (.*)-----", text)[1]
    for width in (4, 76, 248):
        decode([], watched.write("key.pem", wrap(label, unwrap(text), width)), f"lct:{kind}", ALONE)


@KINDS
@FILES
def test_a_file_store_lists_a_key_and_its_certificate(watched, kind, command):
    crt = watched.certificate(f"lct:{kind}").read_text()
    key = watched.lct(command, kind).stdout
    for text in (key + crt, crt + key):
        file = watched.write("bundle.pem", text)
        found = watched.openssl("storeutl", "-noout", file).stdout
        assert sorted(re.findall(r"^\d: (\w+)$", found, re.MULTILINE)) == ["Certificate", "Pkey"]
        certs = watched.openssl("storeutl", "-noout", "-certs", file, status=None)
        assert "Total found: 1" in certs.stdout  # and status 1, as with a software key
        assert "CN" in watched.openssl("x509", "-in", file, "-noout", "-subject").stdout


# Passphrases

SECRET = "correct horse"


@pytest.fixture(name="locked")
def fixture_locked(watched):
    secret = watched.write("secret", SECRET + "\n")
    for kind, algorithm in (("ec", "ec-p256"), ("rsa", "rsa-2048")):
        watched.lct("create", f"locked-{kind}", "--algorithm", algorithm, "--passphrase-file",
                    secret)
    return watched


@KINDS
@FILES
def test_a_passphrase_is_asked_for_once(locked, decode, kind, command):
    """Even if it is wrong, which the TPM alone can tell, at the first signature."""
    file = locked.write("key.pem", locked.lct(command, f"locked-{kind}").stdout)
    ways = [*ASKING, f"decoder-{kind}"]
    for passphrase in (SECRET, "wrong"):
        env = {"DECODE_PASSPHRASE": passphrase}
        assert decode(["any"], file, "-", ways, env=env) == dict.fromkeys(ways, "1")


@KINDS
@FILES
@pytest.mark.parametrize("passphrase", [None, "", "x" * 33], ids=["none", "empty", "too long"])
def test_who_gives_no_passphrase_is_asked_once_and_told(locked, decode, kind, command, passphrase):
    file = locked.write("key.pem", locked.lct(command, f"locked-{kind}").stdout)
    ways = [*ASKING, f"decoder-{kind}"]
    found = decode(["refused"], file, "-", ways, env={"DECODE_PASSPHRASE": passphrase})
    for way, told in found.items():
        assert re.fullmatch("1 (lct:locked-|key file ).*passphrase.*", told), (way, told)
    assert len(found) == len(ways)


@FILES
def test_where_nobody_can_be_asked_the_sentence_says_so(locked, decode, command):
    text = locked.lct(command, "locked-ec").stdout
    file = locked.write("key.pem", text)
    bare = locked.write("key.der", unwrap(text))
    for name, way in ((file, "info"), (bare, "d2i"), (bare, "d2i-bio")):
        told = decode(["refused"], name, "-", [way], env={"DECODE_PASSPHRASE": SECRET})[way]
        assert re.match("0 .*passphrase_file in openssl.cnf", told), told


@KINDS
@FILES
def test_a_passphrase_from_the_configuration_is_not_asked_for(locked, decode, kind, command):
    file = locked.write("key.pem", locked.lct(command, f"locked-{kind}").stdout)
    locked.configure(passphrase_file=str(locked.path("secret")))
    ways = [*ALONE, f"decoder-{kind}"]
    assert decode(["any"], file, "-", ways) == dict.fromkeys(ways, "0")
    bare = locked.write("key.der", unwrap(file.read_text()))
    decode(["any"], bare, "-", DER_WAYS)


@pytest.mark.parametrize("command", ["pem", "export"])
def test_openssl_takes_a_passphrase_for_a_key_file(locked, command):
    for kind in ("ec", "rsa"):
        file = locked.write("key.pem", locked.lct(command, f"locked-{kind}").stdout)
        data = locked.write("data", "x")
        locked.openssl("dgst", "-sha256", "-sign", file, "-passin", f"pass:{SECRET}", "-out", "sig",
                       data)
        public = locked.path("pub.pem")
        public.write_text(json.loads(
            locked.lct("show", f"locked-{kind}", "--json").stdout)["public_key"])
        locked.verify(public, locked.path("sig"), data)
        done = locked.openssl("dgst", "-sha256", "-sign", file, "-passin", "pass:", data, status=1)
        assert "takes its passphrase" in first_sentence(done.stderr)


@KINDS
@FILES
def test_who_asks_for_a_public_key_is_told_that_the_file_is_of_the_private_one(locked, decode,
                                                                               kind, command):
    """And is not asked for a passphrase, which would not help."""
    for identity in (kind, f"locked-{kind}"):
        text = locked.lct(command, identity).stdout
        file = locked.write("key.pem", text)
        for passphrase in (None, SECRET):
            found = decode(["refused"], file, "-", ["store-public"],
                           env={"DECODE_PASSPHRASE": passphrase})
            assert re.fullmatch(r"0 .* a public one is asked for: .* -pubout",
                                found["store-public"])
        public = wrap("PUBLIC KEY", public_key(locked, identity))
        both = locked.write("both.pem", text + public)
        assert locked.openssl("pkey", "-pubin", "-in", both, "-pubout").stdout == public
    assert locked.openssl("pkey", "-in", file, "-passin", f"pass:{SECRET}",
                          "-pubout").stdout == public


@KINDS
@FILES
def test_openssl_takes_a_private_key_for_a_public_one_if_it_does_so_of_any(locked, kind, command):
    """As it does from 3.2 on: it asks for the private key when it has got no public one."""
    locked.openssl(*SOFTWARE_KEYS["pkcs8"], "-out", "software.pem")
    reads = ["pkey", "-pubin", "-noout", "-in"]
    takes = locked.openssl(*reads, "software.pem", status=None).returncode == 0
    for identity, options in ((kind, []), (f"locked-{kind}", ["-passin", f"pass:{SECRET}"])):
        file = locked.write("key.pem", locked.lct(command, identity).stdout)
        if takes:
            assert locked.openssl(*reads, file, *options).stderr == ""
            continue
        for arguments in ([*reads, file], [*reads, file, "-passin", f"pass:{SECRET}"],
                          ["dgst", "-sha256", "-verify", file, "-signature", file, file]):
            done = locked.openssl(*arguments, status=1, start_new_session=True)
            assert "-pubout" in first_sentence(done.stderr)
            assert "passphrase" not in done.stderr and "Enter" not in done.stderr


# What is refused, and what a user reads then

def damaged(text: str) -> dict[str, str]:
    lines = text.splitlines(keepends=True)
    return {
        "a line is missing": "".join(lines[:2] + lines[3:]),
        "its end is missing": "".join(lines[:-1]),
        "it is cut": text[:len(text) // 2],
        "a letter is not base64": text.replace("\nM", "\n!", 1),
        "it ends otherwise": text.replace("-----END ", "-----END EC "),
        "it is empty": lines[0] + lines[-1],
        "it has headers": lines[0] + "Proc-Type: 4,ENCRYPTED\n\n" + "".join(lines[1:]),
    }


@KINDS
@FILES
def test_a_damaged_file_is_said_to_be_damaged(watched, decode, kind, command):
    text = watched.lct(command, kind).stdout
    for how, content in damaged(text).items():
        file = watched.write("damaged.pem", content)
        done = watched.openssl("pkey", "-in", file, "-noout", status=1)
        sentence = first_sentence(done.stderr)
        assert re.search("damaged|not a whole|is not a TSS2", sentence), (how, sentence)
        for way, told in decode(["refused"], file, "-",
                                ["pem", "memory", "ssl", "decoder", "store"]).items():
            assert re.search("damaged|not a whole|is not a TSS2", told), (how, way, told)


@KINDS
@FILES
def test_no_damage_crashes_or_gives_another_key(watched, kind, command):
    text = watched.lct(command, kind).stdout
    program = watched.build / "tests" / "decode"
    mode = "mutate" if command == "pem" else "any"
    for content in (text, unwrap(text)):
        file = watched.write("key", content)
        arguments = [program, "mutate", *(["any"] if mode == "any" else []), file, f"lct:{kind}"]
        assert watched.run(*arguments).stdout.endswith("ok\n")


HOSTILE = ["", "lct:", "lct://", "lct://../../etc", "lct://..%2f..%2fetc", b"lct://ec\0", b"lct:\xff",
           "lct://" + "a" * 129, "lct://" + "a" * 5000, "lct://ec?generation=0", "file:ec", "ec",
           "lct://ec?passphrase=x", "lct://ec%00", "lct://.ec", "/etc/shadow"]


@pytest.mark.parametrize("uri", HOSTILE, ids=range(len(HOSTILE)))
def test_a_reference_with_a_hostile_uri_is_refused(watched, decode, uri):
    text = reference(uri, public_key(watched, "ec"))
    file = watched.write("key.pem", text)
    for way, told in decode(["refused"], file, "-", ["pem", "decoder", "store"]).items():
        assert "not a whole LCT PRIVATE KEY" in told, (way, told)
    decode(["refused"], watched.write("key.der", unwrap(text)), "-", DER_WAYS)


def test_a_reference_of_a_later_version_is_not_guessed_at(watched, decode):
    text = reference("lct://ec", public_key(watched, "ec"), "LCT Key Reference v2")
    told = decode(["refused"], watched.write("key.pem", text), "-", ["pem", "store"])
    assert set(told.values()) != {"0 -"}, told


def test_what_a_reference_stands_for_is_missing(watched, decode, make_user):
    other = make_user()
    other.lct("create", "elsewhere")
    file = watched.write("key.pem", other.lct("pem", "elsewhere").stdout)
    done = watched.openssl("pkey", "-in", file, "-noout", status=1)
    assert "elsewhere" in first_sentence(done.stderr)
    for told in decode(["refused"], file, "-", ["pem", "decoder", "store"]).values():
        assert "elsewhere" in told


@pytest.mark.parametrize("when", ["made anew", "another's"])
def test_a_reference_to_another_key_of_the_same_name_is_refused(watched, decode, make_user, when):
    if when == "made anew":
        watched.lct("create", "again")
        text = watched.lct("pem", "again").stdout
        watched.lct("delete", "again", "--yes")
    else:
        other = make_user()
        other.lct("create", "again")
        text = other.lct("pem", "again").stdout
    watched.lct("create", "again")
    file = watched.write("key.pem", text)
    done = watched.openssl("pkey", "-in", file, "-noout", status=1)
    assert "lct:again: the key file was written for another key" in first_sentence(done.stderr)
    decode(["refused"], file, "-", PEM_WAYS)
    decode(["refused"], watched.write("key.der", unwrap(text)), "-", DER_WAYS)


@pytest.fixture(name="rotated")
def fixture_rotated(watched):
    """The identity `turned`, which had one key, that still signs, and has another."""
    watched.lct("create", "turned")
    watched.write("old.pem", watched.lct("pem", "turned").stdout)
    watched.lct("create", "next")
    place = watched.store / "turned"
    record = json.loads((place / "identity.json").read_text())
    following = json.loads((watched.store / "next" / "identity.json").read_text())
    generation = following["generations"][0]
    generation["generation"] = 2
    record["generations"][0]["until"] = "9999-12-31T00:00:00Z"
    record["generations"].append(generation)
    record["active"] = 2
    (place / "identity.json").write_text(json.dumps(record))
    shutil.copy(watched.store / "next" / "key-1.pem", place / "key-2.pem")
    return watched


def test_a_reference_follows_a_rotation(rotated, decode):
    decode([], rotated.path("old.pem"), "lct:next", PEM_WAYS)
    decode([], rotated.write("new.pem", rotated.lct("pem", "turned").stdout), "lct:next", PEM_WAYS)


def test_a_reference_may_name_a_generation(rotated, decode):
    old = unwrap(rotated.openssl("pkey", "-in", "lct://turned?generation=1", "-pubout").stdout)
    pinned = rotated.write("pinned.pem", reference("lct://turned?generation=1", old))
    decode([], pinned, "lct:turned?generation=1", PEM_WAYS)
    for uri in ("lct://turned?generation=2", "lct://turned?generation=3"):
        file = rotated.write("wrong.pem", reference(uri, old))
        told = decode(["refused"], file, "-", ["pem"])["pem"]
        assert "turned" in told or "generation" in told, told


def test_a_reference_to_no_generation_of_an_identity_is_refused(rotated, decode):
    rotated.lct("create", "stranger")
    file = rotated.write("key.pem", reference("lct://turned", public_key(rotated, "stranger")))
    told = decode(["refused"], file, "-", ["pem"])["pem"]
    assert "lct:turned: the key file was written for another key" in told


def test_large_and_strange_files_are_refused_soon(watched, decode):
    large = watched.path("large")
    with large.open("wb") as stream:
        stream.truncate(100 << 20)
    assert decode(["refused"], large, "-", ["decoder", "pem"]) == {"decoder": "0 -", "pem": "0 -"}
    for label in ("LCT PRIVATE KEY", "TSS2 PRIVATE KEY"):
        file = watched.write("endless", f"-----BEGIN {label}-----\n" + "A" * 64 + "\n" * 200000)
        assert "damaged" in decode(["refused"], file, "-", ["pem"])["pem"]
    done = watched.openssl("pkey", "-in", watched.directory, "-noout", status=1)
    assert "Could not" in done.stderr


@pytest.mark.skipif(not SAMPLES, reason="no sample key files beside the checkout")
@pytest.mark.parametrize("sample", SAMPLES, ids=[path.stem for path in SAMPLES])
def test_key_files_of_other_tools_give_their_public_key_and_say_why_they_do_not_sign(
        watched, decode, sample):
    decode(["any"], sample, "-", ASKING, env={"DECODE_PASSPHRASE": "x"})
    data = watched.write("data", "x")
    public = watched.openssl("pkey", "-in", sample, "-pubout", "-passin", "pass:x").stdout
    assert public.startswith("-----BEGIN PUBLIC KEY-----")
    done = watched.openssl("dgst", "-sha256", "-sign", sample, "-passin", "pass:x", "-out", "sig",
                           data, status=1)
    assert re.match("key file [0-9a-f]{16}: ", first_sentence(done.stderr)), done.stderr


def test_sealed_data_is_no_key(watched):
    """TSS2 PRIVATE KEY has three types, and one of them holds data."""
    content = bytearray(unwrap(watched.lct("export", "ec").stdout))
    at = content.index(bytes.fromhex("6781050a0103"))
    for last, sentence in ((5, "sealed data"), (6, "not a TSS2 PRIVATE KEY")):
        content[at + 5] = last
        file = watched.write("key.pem", wrap("TSS2 PRIVATE KEY", bytes(content)))
        done = watched.openssl("pkey", "-in", file, "-noout", status=1)
        assert sentence in first_sentence(done.stderr)
    content[at + 5] = 4
    file = watched.write("key.pem", wrap("TSS2 PRIVATE KEY", bytes(content)))
    watched.openssl("pkey", "-in", file, "-noout")
    done = watched.openssl("dgst", "-sha256", "-sign", file, watched.write("data"), status=1)
    assert "lct import" in first_sentence(done.stderr)


@KINDS
@FILES
@pytest.mark.parametrize("arguments", [
    ["pkey", "-aes256", "-passout", "pass:x"], ["pkcs8", "-topk8", "-passout", "pass:x"],
    ["pkcs8", "-topk8", "-nocrypt"], ["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"]],
    ids=["pkey -aes256", "pkcs8 -topk8", "pkcs8 -nocrypt", "pkcs8 DER"])
def test_what_a_key_in_the_tpm_cannot_be_written_as_is_refused(owner, kind, command, arguments):
    file = owner.write("key.pem", owner.lct(command, kind).stdout)
    done = owner.openssl(*arguments, "-in", file, "-out", "out", status=1)
    assert re.match("lct:|key file ", first_sentence(done.stderr)), done.stderr
    assert not owner.path("out").exists() or owner.path("out").read_bytes() == b""


@KINDS
@FILES
def test_there_is_no_pkcs12_and_no_traditional_form(owner, kind, command):
    file = owner.write("key.pem", owner.lct(command, kind).stdout)
    crt = owner.certificate(f"lct:{kind}")
    done = owner.openssl("pkcs12", "-export", "-inkey", file, "-in", crt, "-passout", "pass:x",
                         "-out", "out", status=1)
    assert "PKCS #12" in first_sentence(done.stderr)
    done = owner.openssl("pkey", "-traditional", "-in", file, status=1)
    assert "PRIVATE KEY" not in done.stdout


@KINDS
def test_a_key_is_written_as_its_key_file_in_pem_and_in_der(owner, kind):
    text = owner.lct("export", kind).stdout
    file = owner.write("key.pem", owner.lct("pem", kind).stdout)
    assert owner.openssl("pkey", "-in", file).stdout == text
    done = owner.openssl("pkey", "-in", file, "-outform", "DER", status=None, text=False)
    if done.returncode:  # openssl 3.6 means PKCS #8 by DER
        assert "there is no PKCS #8" in done.stderr and done.stdout == b""
    else:
        assert done.stdout == unwrap(text)
