"""A bundle's signature: made by one key for one manifest, and refused in a sentence where it was not."""

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from breakfix.core import artifact
from breakfix.core.artifact import MANIFEST, SIGNATURE
from breakfix.core.errors import ArtifactError, UsageError
from breakfix.export.mobile import signature


def pem(private):
    form = serialization.PrivateFormat.PKCS8
    return private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(pem(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))))
    return path


@pytest.fixture
def bundle(tmp_path):
    return artifact.produce(tmp_path / "bundle", "bundle", {}, {}, lambda work: (work / "a").write_text("a") and None)


def test_who_signed_is_known_by_the_public_key(bundle, key):
    signature.sign(bundle, key)
    signature.check(bundle, signature.public_key(key))
    assert artifact.load(bundle.path).id == bundle.id  # the signature is no part of the content


def test_a_signature_holds_for_one_manifest(bundle, key):
    signature.sign(bundle, key)
    path = bundle.path / MANIFEST
    path.write_text(path.read_text() + " ")
    with pytest.raises(ArtifactError, match=r"manifest\.sig was not made by this key for this manifest"):
        signature.check(bundle, signature.public_key(key))


@pytest.mark.parametrize("content", ["", "!", "AAAA", base64.b64encode(bytes(64)).decode(), "é"])
def test_what_is_no_signature_is_refused(bundle, key, content):
    (bundle.path / SIGNATURE).write_text(content)
    with pytest.raises(ArtifactError, match="do not use the bundle"):
        signature.check(bundle, signature.public_key(key))


def test_another_key_did_not_sign_it(bundle, key):
    signature.sign(bundle, key)
    other = base64.b64encode(ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    with pytest.raises(ArtifactError, match="was not made by this key"):
        signature.check(bundle, other)


def test_an_unsigned_bundle_is_told_apart(bundle, key):
    with pytest.raises(ArtifactError, match="is missing: the bundle is not signed"):
        signature.check(bundle, signature.public_key(key))


@pytest.mark.parametrize("public", ["", "short", base64.b64encode(bytes(31)).decode()])
def test_what_is_no_public_key_is_a_mistake(bundle, key, public):
    signature.sign(bundle, key)
    with pytest.raises(UsageError, match="is no public key"):
        signature.check(bundle, public)


def test_only_an_ed25519_key_signs(tmp_path):
    path = tmp_path / "key.pem"
    with pytest.raises(UsageError, match="make a key with: openssl genpkey -algorithm ed25519"):
        signature.public_key(path)
    path.write_text("no key")
    with pytest.raises(UsageError, match="holds no private key"):
        signature.public_key(path)
    path.write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(UsageError, match="is no Ed25519 key"):
        signature.public_key(path)
