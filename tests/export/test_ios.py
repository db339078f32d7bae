"""The files of the iOS template, as far as they can be checked without a compiler: `ios/` has the tests that need one."""

import plistlib
import re
from pathlib import Path
from typing import Any

import yaml

IOS = Path(__file__).parents[2] / "export" / "mobile" / "ios"
MODULES = ["BreakfixGuard", "BreakfixSession"]

SAMPLE = IOS / "Sample"


def test_the_package_names_every_folder_of_sources():
    package = (IOS / "Package.swift").read_text(encoding="utf-8")
    targets = re.findall(r'\.target\(\s*name: "(\w+)"', package)
    assert sorted(targets) == sorted(path.name for path in (IOS / "Sources").iterdir()) == MODULES
    assert ".package(" not in package  # what the guard and the session need is in the box


def test_the_guard_and_the_session_import_nothing_but_foundation_and_cryptokit():
    allowed = {"BreakfixGuard": {"Foundation"}, "BreakfixSession": {"Foundation", "BreakfixGuard", "CryptoKit"}}
    for module, known in allowed.items():
        for path in (IOS / "Sources" / module).glob("*.swift"):
            imports = re.findall(r"^\s*import (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert set(imports) <= known, path.name


def test_nothing_opens_a_connection():
    network = re.compile(r"URLSession|NWConnection|import Network\b|CFSocket|WKWebView|URLRequest|getaddrinfo")
    for path in IOS.rglob("*.swift"):
        assert not network.search(path.read_text(encoding="utf-8")), path.name
    info = _plist("Info.plist")
    assert "NSAppTransportSecurity" not in info and "NSLocalNetworkUsageDescription" not in info
    assert not any("network" in key for key in _plist("Breakfix.entitlements"))


def test_the_app_asks_for_memory_and_tracks_nobody():
    assert _plist("Breakfix.entitlements") == {"com.apple.developer.kernel.increased-memory-limit": True}
    privacy = _plist("PrivacyInfo.xcprivacy")
    assert privacy["NSPrivacyTracking"] is False
    assert privacy["NSPrivacyTrackingDomains"] == privacy["NSPrivacyCollectedDataTypes"] == []
    assert all(each["NSPrivacyAccessedAPITypeReasons"] for each in privacy["NSPrivacyAccessedAPITypes"])
    assert _plist("Info.plist")["CFBundleExecutable"] == "$(EXECUTABLE_NAME)"


def _plist(name: str) -> dict[str, Any]:
    return plistlib.loads((SAMPLE / name).read_bytes())


def test_the_project_names_files_that_are_there():
    project = yaml.safe_load((IOS / "project.yml").read_text(encoding="utf-8"))
    app = project["targets"]["BreakfixSample"]
    # What the developer puts there, or the exporter.
    made = {"Bundle", "signing-key.txt", "Frameworks/onnxruntime-genai.xcframework"}
    frameworks = [each["framework"] for each in app["dependencies"] if "framework" in each]
    named = [*(each["path"] for each in app["sources"]), *frameworks]
    assert made <= set(named)
    assert all((IOS / path).exists() for path in set(named) - made)
    settings = app["settings"]["base"]
    for key in ("INFOPLIST_FILE", "CODE_SIGN_ENTITLEMENTS", "SWIFT_OBJC_BRIDGING_HEADER"):
        assert (IOS / settings[key]).is_file(), key
    assert next(each for each in app["sources"] if each["path"] == "Bundle")["type"] == "folder"
