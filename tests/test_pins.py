# SPDX-License-Identifier: Apache-2.0
"""The storage root key that a store knows: what is made under it, and who answers in its place."""

import stat
import subprocess

import pytest

from test_command import one_sentence
from test_store import unreadable
from tpm import SRK, Command

BAD_RECORD, STORE, OTHER_TPM, USAGE = 6, 7, 13, 2
SENT = {Command.StartAuthSession, Command.Create, Command.Import, Command.EvictControl}
PASSPHRASE = "correct horse battery staple"
SOFTWARE_KEY = ("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "software.pem")
WAYS = {"create": ("create", "new", "--passphrase-file", "secret"),
        "import": ("import", "new", "software.pem", "--software", "--passphrase-file", "secret"),
        "seal": ("seal", "--seal", "none", "--passphrase-file", "secret"),
        "rotate": ("rotate", "k", "--new-passphrase-file", "secret", "--without-old-key")}
ALL_WAYS = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(name="keeper")
def fixture_keeper(make_user, make_tpm, make_proxy):
    """Who has an identity in a TPM behind a proxy, which can let another one answer."""
    tpm = make_tpm()
    proxy = make_proxy(tpm)
    user = make_user(proxy.tcti)
    user.tpm, user.proxy = tpm, proxy
    user.write("secret", PASSPHRASE)
    subprocess.run(["openssl", *SOFTWARE_KEY], cwd=user.directory, check=True)
    user.lct("create", "k")
    return user


@pytest.fixture(name="other", params=["with a storage root key", "new"])
def fixture_other(request, make_tpm):
    """Another TPM, somebody else's."""
    tpm = make_tpm()
    if request.param != "new":
        provision(tpm)
    return tpm


def provision(tpm, algorithm: str = "ecc"):
    tpm.tool("tpm2_createprimary", "-C", "o", "-G", algorithm, "-c", "srk.ctx")
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "srk.ctx", f"{SRK:#x}")
    tpm.flush()


def make(user, way: str, *options, **expected):
    return user.lct(*WAYS[way], *options, stdin=b"what is sealed", **expected)


def parent_of(user, identity: str = "k") -> str:
    return user.record(identity)["generations"][0]["parent"]["name"]


def known(user) -> str:
    return (user.store / ".parent").read_text()


@ALL_WAYS
def test_who_answers_in_the_tpm_s_place_is_sent_nothing(keeper, other, way):
    before = other.persistent()
    keeper.proxy.tpm = other
    keeper.proxy.codes.clear()
    sentence = one_sentence(make(keeper, way, status=OTHER_TPM).stderr)
    assert str(keeper.store) in sentence and "--new-parent" in sentence
    assert "nothing was made under it" in sentence
    assert not SENT & set(keeper.proxy.codes) and Command.ReadPublic in keeper.proxy.codes
    assert (other.persistent(), keeper.in_store()) == (before, ["k"])
    assert len(keeper.record("k")["generations"]) == 1


@ALL_WAYS
def test_a_tpm_that_took_another_s_place_is_said_to_be_new(keeper, other, way):
    keeper.proxy.tpm = other
    make(keeper, way, "--new-parent")
    assert known(keeper).strip() != parent_of(keeper)
    keeper.lct("create", "next")
    assert parent_of(keeper, "next") == known(keeper).strip()


def test_a_tpm_that_was_cleared_is_new(keeper):
    keeper.tpm.tool("tpm2_clear")
    assert "cleared" in one_sentence(make(keeper, "create", status=OTHER_TPM).stderr)
    make(keeper, "create", "--new-parent")
    make(keeper, "seal")


@ALL_WAYS
def test_the_tpm_whose_it_is_is_asked_for_no_more_than_before(keeper, way):
    make(keeper, way)
    assert known(keeper) == parent_of(keeper) + "\n"
    mode = (keeper.store / ".parent").stat().st_mode
    assert stat.S_IMODE(mode) == 0o644


@ALL_WAYS
def test_without_the_file_the_identities_are_asked_and_it_is_written_anew(keeper, other, way):
    keeper.lct("create", "more")
    (keeper.store / ".parent").unlink()
    (keeper.store / "lost+found").mkdir()
    (keeper.store / "damaged").mkdir()
    (keeper.store / "damaged" / "identity.json").write_text("{")
    keeper.proxy.tpm = other
    make(keeper, way, status=OTHER_TPM)
    assert not (keeper.store / ".parent").exists()
    keeper.proxy.tpm = keeper.tpm
    make(keeper, way)
    assert known(keeper) == parent_of(keeper) + "\n"


def test_a_store_that_cannot_be_read_to_its_end_knows_more_than_is_seen(keeper, other):
    """Where the file is missing: what no identity is seen to be under may be another TPM's."""
    (keeper.store / ".parent").unlink()
    keeper.proxy.tpm = other
    for after in range(2 + len(list(keeper.store.iterdir()))):
        done = keeper.lct("create", "new", status=None, **unreadable(keeper, keeper.store, after))
        assert done.returncode in (STORE, OTHER_TPM), (after, done.stderr)
    assert not (keeper.store / ".parent").exists()


def test_with_the_file_no_identity_is_looked_at(keeper, other):
    """However many there are."""
    keeper.lct("create", "more")
    before = known(keeper)
    for name in ("k", "more"):
        (keeper.store / name / "identity.json").unlink()
    make(keeper, "seal")
    assert known(keeper) == before
    keeper.proxy.tpm = other
    make(keeper, "seal", status=OTHER_TPM)


def test_a_store_knows_the_tpms_of_all_its_identities(keeper, other):
    """Whoever has two TPMs says so once."""
    keeper.proxy.tpm = other
    keeper.lct("create", "other", "--new-parent")
    for tpm, name in ((keeper.tpm, "one"), (other, "two"), (keeper.tpm, "three")):
        keeper.proxy.tpm = tpm
        keeper.lct("create", name)
        assert known(keeper) == parent_of(keeper, name) + "\n"


def test_the_first_one_is_taken_on_trust(make_user, make_tpm):
    """Keys in software are under none."""
    user = make_user(make_tpm().tcti)
    secret = user.write("secret", PASSPHRASE)
    user.lct("create", "soft", "--software", "--passphrase-file", secret)
    user.lct("create", "k")
    assert known(user) == parent_of(user) + "\n"


def test_who_answers_the_first_time_has_what_is_sealed(make_user, make_tpm, make_proxy):
    tpm, other = make_tpm(), make_tpm()
    provision(tpm)
    proxy = make_proxy(other)
    user, attacker = make_user(proxy.tcti), make_user(other.tcti)
    sealed = user.lct("seal", "--seal", "none", stdin="what is sealed").stdout
    proxy.tpm = tpm
    user.lct("unseal", stdin=sealed, status=OTHER_TPM)
    assert attacker.lct("unseal", stdin=sealed).stdout == "what is sealed"


def test_a_key_file_alone_begins_a_session_with_whatever_storage_key_there_is(keeper, make_tpm):
    """Its identity does not."""
    keeper.lct("create", "locked", "--passphrase-file", "secret")
    keeper.write("key.pem", keeper.lct("export", "locked").stdout)
    keeper.write("data")
    keeper.proxy.tpm = make_tpm()
    provision(keeper.proxy.tpm)
    for key, begins in (("key.pem", True), ("lct:locked", False)):
        keeper.proxy.codes.clear()
        keeper.openssl("dgst", "-sha256", "-sign", key, "-passin", "file:secret", "data", status=1)
        assert (Command.StartAuthSession in keeper.proxy.codes) == begins


@pytest.mark.parametrize("text", ["", "\n", "zz\n", "00\n", "000b", "000b" + "00" * 200 + "\n"])
def test_a_file_that_is_none_is_no_leave_to_take_any(keeper, text):
    keeper.lct("create", "more")
    (keeper.store / ".parent").write_text(text)
    keeper.proxy.codes.clear()
    sentence = one_sentence(make(keeper, "create", status=BAD_RECORD).stderr)
    assert ".parent" in sentence and not SENT & set(keeper.proxy.codes)
    make(keeper, "create", "--new-parent")
    assert known(keeper) == parent_of(keeper) + "\n"


def test_a_link_in_the_file_s_place_is_not_followed(keeper):
    keeper.lct("create", "more")
    target = keeper.write("elsewhere", known(keeper))
    (keeper.store / ".parent").unlink()
    (keeper.store / ".parent").symlink_to(target)
    make(keeper, "create", status=BAD_RECORD)


def test_another_storage_key_gets_no_session_for_a_key_at_a_handle(keeper):
    tpm = keeper.tpm
    tpm.tool("tpm2_createprimary", "-C", "o", "-G", "ecc256:ecdsa", "-c", "sign.ctx",
             "-p", PASSPHRASE, "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign")
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "sign.ctx", "0x81000100")
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", f"{SRK:#x}")
    tpm.flush()
    provision(tpm, "rsa")
    words = ("import", "new", "0x81000100", "--passphrase-file", "secret")
    keeper.proxy.codes.clear()
    assert "--new-parent" in one_sentence(keeper.lct(*words, status=OTHER_TPM).stderr)
    assert not SENT & set(keeper.proxy.codes)
    keeper.lct(*words, "--new-parent")
    assert known(keeper) == parent_of(keeper, "new") + "\n"


@pytest.mark.parametrize("words", [
    ("create", "new", "--software", "--new-parent"), ("rotate", "k", "--withdraw", "--new-parent")])
def test_what_makes_nothing_in_the_tpm_takes_no_new_parent(keeper, words):
    assert "--new-parent" in keeper.lct(*words, status=USAGE).stderr
