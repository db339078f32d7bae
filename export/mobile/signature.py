"""A bundle's signature: Ed25519 over the very bytes of its manifest, beside it. Who trusts whom is the app's to decide."""

import base64
import binascii
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ...core import artifact
from ...core.artifact import MANIFEST, SIGNATURE, Artifact
from ...core.errors import ArtifactError, UsageError


def public_key(key: Path) -> str:
    """Return the public half of a private key file (PEM, Ed25519) as base64 of its 32 bytes: what an app is built with."""
    return base64.b64encode(_private(key).public_key().public_bytes_raw()).decode("ascii")


def sign(bundle: Artifact, key: Path) -> None:
    """Write `manifest.sig` beside the manifest; the same key gives the same bytes (RFC 8032)."""
    signature = _private(key).sign((bundle.path / MANIFEST).read_bytes())
    artifact.write_atomic(bundle.path / SIGNATURE, base64.b64encode(signature).decode("ascii") + "\n")


def check(bundle: Artifact, public: str) -> None:
    """Raise ArtifactError unless `manifest.sig` was made by the key whose public half, in base64, is given."""
    try:
        trusted = Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True))
    except (ValueError, binascii.Error) as error:
        raise UsageError(f"{public[:60]!r} is no public key; give base64 of 32 bytes, as export mobile prints it") from error
    path = bundle.path / SIGNATURE
    try:
        signature = base64.b64decode(path.read_text(encoding="ascii").strip(), validate=True)
        trusted.verify(signature, (bundle.path / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is missing: the bundle is not signed; export it with --sign") from error
    except (ValueError, InvalidSignature) as error:
        raise ArtifactError(f"{path} was not made by this key for this manifest; do not use the bundle") from error


def _private(key: Path) -> Ed25519PrivateKey:
    try:
        found = load_pem_private_key(key.read_bytes(), password=None)
    except OSError as error:
        raise UsageError(f"{key} cannot be read; make a key with: openssl genpkey -algorithm ed25519 -out {key}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{key} holds no private key in PEM without a password; give one") from error
    if not isinstance(found, Ed25519PrivateKey):
        raise UsageError(f"{key} is no Ed25519 key; make one with: openssl genpkey -algorithm ed25519 -out FILE")
    return found
