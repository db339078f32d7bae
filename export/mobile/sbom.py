"""The bill of materials of a bundle, as CycloneDX 1.6 JSON: libraries, and models, which have a type of their own there.

It holds no time and no serial number, so that the same bundle has the same bytes. It knows no bundle.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple


class Component(NamedTuple):
    """One thing that a bundle is made of."""

    name: str
    version: str
    kind: str
    """library, application or machine-learning-model, as CycloneDX names it."""
    licence: str = ""
    """SPDX id; empty where nobody stated it."""
    sha256: str = ""
    """Of the package or the file; empty where it is one of several."""
    purl: str = ""
    """Package URL, for what a registry has."""


def sbom(subject: Component, parts: Iterable[Component]) -> dict[str, Any]:
    """Return the bill of materials of `subject`, JSON-ready. Source: CycloneDX 1.6, ECMA-424."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _entry(subject)},
        "components": [_entry(part) for part in parts],
    }


def _entry(part: Component) -> dict[str, Any]:
    known = {
        "licenses": [{"license": {"id": part.licence}}] if part.licence else None,
        "hashes": [{"alg": "SHA-256", "content": part.sha256}] if part.sha256 else None,
        "purl": part.purl or None,
    }
    entry = {"type": part.kind, "name": part.name, "version": part.version}
    return entry | {key: value for key, value in known.items() if value}
