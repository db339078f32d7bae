"""A bundle for an app through the command line: the weights as measured, all that the app needs, and who signed it."""

import json
import shutil

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tiny cycle")]
TARGETS = ("android", "ios")


def export(breakfix, cycle, out, target, *more):
    return breakfix("export", "mobile", cycle, "--target", target, "--out", out, "--ungated", "--name", "Tiny", *more)


@pytest.fixture(scope="session")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "key.pem"
    private = Ed25519PrivateKey.generate()
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return path


@pytest.fixture(scope="session", params=TARGETS)
def bundle(request, breakfix, tiny_cycle, key, tmp_path_factory):
    """A signed bundle of the tiny cycle for one kind of phone."""
    out = tmp_path_factory.mktemp("phone") / request.param
    made = export(breakfix, tiny_cycle, out, request.param, "--sign", key, "--context", "300")
    assert made.returncode == 0, made.stderr
    return out


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_weights_are_the_very_files_that_were_measured(bundle, tiny_cycle):
    listed = read(bundle / "manifest.json")["files"]
    int4 = read(tiny_cycle / "int4" / "manifest.json")["files"]
    same = {name for name in int4 if listed[f"payload/model/{name}"]["sha256"] == int4[name]["sha256"]}
    assert set(int4) - same == {"genai_config.json"}  # its context is the bundle's
    config = read(bundle / "payload" / "model" / "genai_config.json")
    assert config["model"]["context_length"] == config["search"]["max_length"] == 300


def test_it_holds_all_that_the_app_reads(bundle, tiny_cycle):
    listed = set(read(bundle / "manifest.json")["files"])
    papers = {"card.json", "SAFETY.md", "sbom.cdx.json", "LICENSE.txt"}
    guard = {f"guard/{name}" for name in ("model.onnx", "tokenizer.json", "calibration.json", "policy.json", "tables.json")}
    assert {f"payload/{name}" for name in papers | guard} <= listed
    assert "app/README.md" in listed and "app/signing-key.txt" in listed
    assert not any(part in name for name in listed for part in ("/build/", "/.build/", "/.gradle/"))
    chat = read(bundle / "payload" / "model" / "chat.json")
    assert chat["user"] == ["<|im_start|>user\n", "<|im_end|>\n"]
    assert chat["context"] == 300 and chat["ends"] == read(tiny_cycle / "int4" / "manifest.json")["facts"]["eos_token_ids"]


def test_who_signed_it_is_told_and_checked(breakfix, bundle):
    signer = (bundle / "app" / "signing-key.txt").read_text().strip()
    assert breakfix("export", "verify", bundle, "--key", signer).returncode == 0
    other = breakfix("export", "verify", bundle, "--key", "A" * 43 + "=")
    assert other.returncode == 1
    assert "manifest.sig was not made by this key" in other.stderr


@pytest.mark.parametrize("told", [None, "AAAA"], ids=["removed", "forged"])
def test_one_that_says_who_signed_it_is_refused_without_their_signature(breakfix, bundle, tmp_path, told):
    copied = tmp_path / "copied"
    shutil.copytree(bundle, copied)
    (copied / "manifest.sig").unlink()
    if told:
        (copied / "manifest.sig").write_text(told)
    refused = breakfix("export", "verify", copied)
    assert refused.returncode == 1
    assert "manifest.sig" in refused.stderr and str(copied) in refused.stderr


def test_what_was_too_large_is_asked_for_again_in_the_same_place(breakfix, tiny_cycle, tmp_path):
    refused = export(breakfix, tiny_cycle, tmp_path / "out", "ios", "--max-mb", "0.001")
    assert refused.returncode == 1 and "raise --max-mb" in refused.stderr
    assert list(tmp_path.iterdir()) == []
    assert export(breakfix, tiny_cycle, tmp_path / "out", "ios").returncode == 0


def test_a_lost_signature_is_made_again_and_nothing_else(breakfix, tiny_cycle, bundle, key, tmp_path):
    copied = tmp_path / bundle.name
    shutil.copytree(bundle, copied)
    (copied / "manifest.sig").unlink()
    again = export(breakfix, tiny_cycle, copied, bundle.name, "--sign", key, "--context", "300")
    assert again.returncode == 0, again.stderr
    assert (copied / "manifest.sig").read_bytes() == (bundle / "manifest.sig").read_bytes()


def test_an_unsigned_bundle_demands_no_signature(breakfix, tiny_cycle, tmp_path):
    made = export(breakfix, tiny_cycle, tmp_path / "out", "android")
    assert made.returncode == 0, made.stderr
    assert not (tmp_path / "out" / "manifest.sig").exists()
    assert (tmp_path / "out" / "app" / "signing-key.txt").read_text() == ""


@pytest.mark.parametrize("name", ["payload/model/model.onnx.data", "payload/card.json", "app/README.md"])
def test_a_changed_file_is_named(breakfix, bundle, tmp_path, name):
    copied = tmp_path / "copied"
    shutil.copytree(bundle, copied)
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    refused = breakfix("export", "verify", copied)
    assert refused.returncode == 1
    assert f"{copied / name} was changed or cut short" in refused.stderr


def test_a_foreign_file_is_named(breakfix, bundle, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(bundle, copied)
    (copied / "payload" / "model" / "extra.bin").write_text("x")
    refused = breakfix("export", "verify", copied)
    assert refused.returncode == 1
    assert "extra.bin does not belong to this bundle" in refused.stderr


def test_a_target_that_is_not_there_is_told(breakfix, tiny_cycle, tmp_path):
    refused = export(breakfix, tiny_cycle, tmp_path / "out", "symbian")
    assert refused.returncode == 1
    assert "target" in refused.stderr and "android" in refused.stderr
