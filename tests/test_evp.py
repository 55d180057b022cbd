# SPDX-License-Identifier: Apache-2.0
"""What applications do with a key through EVP and the openssl command does not: tests/evp.c."""

import json
import ssl
import subprocess

import pytest

from tpm import Command

KINDS = pytest.mark.parametrize("key", ["ec", "rsa"])
ALL_KINDS = pytest.mark.parametrize("key", ["ec", "p384", "rsa", "rsa3072"])
ORDERS = pytest.mark.parametrize("order", [("default", "lct"), ("lct", "default")],
                                 ids=["default first", "lct first"])
PARAMETERS = {"ec": (256, 128, 72, "prime256v1"), "p384": (384, 192, 104, "secp384r1"),
              "rsa": (2048, 112, 256, "-"), "rsa3072": (3072, 128, 384, "-")}


@pytest.fixture(name="evp")
def fixture_evp(owner):
    """Runs a test of tests/evp.c."""
    program = owner.build / "tests" / "evp"
    if not program.exists():
        pytest.skip("this build has no test programs")

    def run(*arguments, **options):
        done = owner.run(program, *arguments, status=None, **options)
        assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr
        assert done.stderr == ""

    return run


@ALL_KINDS
def test_a_key_says_exactly_what_it_is(evp, key):
    evp("parameters", f"lct:{key}", *PARAMETERS[key])


@pytest.mark.parametrize("key, size", [("ec", 32), ("p384", 48)])
def test_points_have_their_full_width(evp, key, size):
    evp("points", f"lct:{key}", size)


@pytest.mark.parametrize("coordinate", [0, 1])
def test_a_point_with_a_short_coordinate_has_its_full_width(owner, evp, coordinate):
    """One coordinate in 256 begins with a zero: keys are made until there is one."""

    def make(number: int) -> bool:
        owner.lct("create", f"short{number}")
        pem = json.loads(owner.lct("show", f"short{number}", "--json").stdout)["public_key"]
        point = ssl.PEM_cert_to_DER_cert(pem.replace("PUBLIC KEY", "CERTIFICATE"))[-64:]
        return point[32 * coordinate] == 0

    short = next(number for number in range(5000) if make(number))
    evp("points", f"lct:short{short}", 32)
    evp("equal", f"lct:short{short}", "lct:ec")
    evp("dup", f"lct:short{short}")


@ALL_KINDS
@ORDERS
def test_a_key_answers_what_its_public_key_does(owner, evp, key, order):
    """Whatever parameters this libcrypto knows, security-category of 3.6 among them."""
    owner.configure(order=order)
    evp("answers", f"lct:{key}")


@KINDS
@ORDERS
def test_export_gives_the_public_key_and_never_the_private_one(owner, evp, key, order):
    owner.configure(order=order)
    evp("export", f"lct:{key}")


@ORDERS
@pytest.mark.parametrize("key, other", [("ec", "p384"), ("ec", "rsa"), ("rsa", "rsa3072"),
                                        ("rsa", "ec")])
def test_keys_are_equal_in_both_orders_of_arguments(owner, evp, key, other, order):
    owner.configure(order=order)
    evp("equal", f"lct:{key}", f"lct:{other}")


def test_two_keys_of_one_kind_are_not_equal(owner, evp):
    owner.lct("create", "another")
    evp("equal", "lct:ec", "lct:another")


@KINDS
def test_a_duplicate_outlives_its_original(evp, key):
    evp("dup", f"lct:{key}")


@KINDS
def test_there_is_no_legacy_key(evp, key):
    evp("legacy", f"lct:{key}")


@KINDS
def test_init_is_a_probe_that_asks_the_tpm_nothing(watched, proxy, evp, key):
    assert watched.tcti == proxy.tcti
    evp("accepts", f"lct:{key}", "SHA1", "SHA256", "SHA2-256", "sha256", "SHA384", "SHA512")
    evp("supports", f"lct:{key}")
    evp("refuses", f"lct:{key}", "NOSUCHHASH")
    assert proxy.codes == []


@KINDS
def test_parameters_at_init_are_looked_at_like_later_ones(evp, key):
    evp("initial", f"lct:{key}")


@KINDS
def test_a_parameter_without_a_value_is_refused_and_kills_nobody(evp, key):
    evp("nameless", f"lct:{key}")


def test_init_refuses_digests_that_the_tpm_cannot_sign_with_rsa(watched, proxy, evp):
    assert watched.tcti == proxy.tcti
    evp("refuses", "lct:rsa", "MD5", "SHA2-224", "SHA3-256", "SHA2-512/256", "BLAKE2S-256")
    assert proxy.codes == []


def test_init_takes_any_digest_for_ecdsa(evp):
    evp("accepts", "lct:ec", "SHA224", "SHA3-256", "SHA2-512/256", "BLAKE2S-256")


@pytest.mark.parametrize("key", ["ec", "p384"])
def test_ecdsa_signs_digests_of_every_length(evp, key):
    evp("lengths", f"lct:{key}")


@KINDS
@ORDERS
def test_streaming_and_one_shot_signatures_verify(owner, evp, key, order):
    owner.configure(order=order)
    evp("streams", f"lct:{key}")


@KINDS
def test_a_context_is_copied_between_updates(evp, key):
    evp("copies", f"lct:{key}")


@ALL_KINDS
def test_the_size_of_a_signature_is_told_beforehand(evp, key):
    evp("sizes", f"lct:{key}")


@KINDS
def test_library_contexts_live_side_by_side(evp, key):
    evp("contexts", f"lct:{key}")


@KINDS
def test_threads_share_a_key(evp, key):
    evp("threads", f"lct:{key}")


def test_threads_sign_with_different_keys(evp):
    evp("threads", "lct:ec", "lct:rsa", "lct:p384", "lct:ec")


@KINDS
def test_parent_and_children_sign_after_a_fork(evp, key):
    evp("fork", f"lct:{key}")


def test_the_provider_loads_and_unloads_a_hundred_times(watched, proxy, evp):
    assert watched.tcti == proxy.tcti
    evp("reload", "lct:ec")
    assert proxy.count(Command.Sign) == 10
    assert proxy.count(Command.Load) == proxy.count(Command.FlushContext) <= 10
    assert len(proxy.codes) <= 30


def test_more_keys_than_the_tpm_has_slots(owner, evp):
    names = [f"many{number}" for number in range(6)]
    for name in names:
        owner.lct("create", name)
    evp("many", *[f"lct:{name}" for name in names])


@ALL_KINDS
def test_each_further_signature_is_one_command(watched, proxy, evp, key):
    assert watched.tcti == proxy.tcti
    evp("signs", f"lct:{key}", 10)
    first = [Command.Load, Command.Sign, Command.FlushContext]
    second = [Command.Load, Command.Sign, Command.GetCapability]  # is there a slot to keep?
    last = [Command.ReadPublic, Command.FlushContext]  # is it still ours to flush?
    assert proxy.codes == first + second + [Command.Sign] * 8 + last


def test_loading_a_key_is_no_command(watched, proxy, evp):
    assert watched.tcti == proxy.tcti
    evp("signs", "lct:ec", 0)
    assert proxy.codes == []


@pytest.mark.parametrize("uri, reason", [("lct:nobody", "no such identity"),
                                         ("lct:../x", "malformed id"),
                                         ("lct:ec?generation=9", "no such identity")])
def test_errors_are_in_the_queue_with_our_reason(evp, uri, reason):
    evp("reason", uri, reason)


@ORDERS
def test_software_keys_of_our_keymgmt_are_whole_and_ordinary(owner, evp, order):
    owner.configure(order=order)
    evp("software")


@ALL_KINDS
@ORDERS
def test_parameters_and_public_keys_are_printed_as_libcrypto_prints_them(owner, evp, key, order):
    owner.configure(order=order)
    evp("printed", f"lct:{key}")


@ORDERS
def test_software_keys_of_our_keymgmt_are_written_as_libcrypto_writes_them(owner, evp, order):
    owner.configure(order=order)
    evp("written")


@KINDS
def test_no_cipher_means_that_a_key_is_written_as_it_is(evp, key):
    evp("unencrypted", f"lct:{key}")


@ORDERS
def test_it_all_works_under_an_application_s_own_allocator(owner, evp, order):
    owner.configure(order=order)
    evp("allocator", "lct:ec", "lct:rsa")


@KINDS
def test_a_second_signature_of_one_context_is_over_all_it_was_given(evp, key):
    evp("again", f"lct:{key}")


@KINDS
def test_a_signature_that_failed_leaves_nothing_in_the_next(evp, key):
    evp("retry", f"lct:{key}")


@pytest.mark.parametrize("how", ["load_ex", "add_conf_parameter"])
def test_a_program_gives_the_configuration_itself(owner, how):
    """Without any openssl.cnf of ours; not every libcrypto lets it."""
    done = subprocess.run([owner.build / "tests" / "evp", "given", how, owner.build, owner.tcti,
                           owner.store, "lct:ec"], cwd=owner.directory, capture_output=True,
                          env=owner.environment({"OPENSSL_CONF": "/dev/null"}), text=True,
                          check=False, timeout=60)
    if done.returncode == 3:
        pytest.skip(done.stdout.strip())
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")
