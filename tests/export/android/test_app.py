"""What of the android app can be checked without an SDK: its manifest, resources, languages and versions. Nothing is built."""

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

from breakfix.guardrails import policy

ANDROID = Path(__file__).parents[3] / "export" / "mobile" / "android"
APP = ANDROID / "app" / "src" / "main"
NAME = "{http://schemas.android.com/apk/res/android}name"


def strings(folder: str) -> dict[str, str]:
    root = ElementTree.parse(APP / "res" / folder / "strings.xml").getroot()
    return {each.attrib["name"]: each.text or "" for each in root}


def test_the_app_may_use_no_network_and_backs_nothing_up():
    manifest = ElementTree.parse(APP / "AndroidManifest.xml").getroot()
    node = "{http://schemas.android.com/tools}node"
    asked = {each.attrib[NAME]: each.attrib.get(node) for each in manifest.iter("uses-permission")}
    assert asked["android.permission.INTERNET"] == "remove" and set(asked.values()) == {"remove"}
    application = manifest.find("application")
    assert application is not None
    held = {name.rpartition("}")[2]: value for name, value in application.attrib.items()}
    assert held["allowBackup"] == held["fullBackupContent"] == held["usesCleartextTraffic"] == "false"
    rules = ElementTree.parse(APP / "res" / "xml" / f"{held['dataExtractionRules'].removeprefix('@xml/')}.xml").getroot()
    for part in ("cloud-backup", "device-transfer"):
        kept = {each.attrib["domain"] for each in rules.findall(f"{part}/exclude")}
        assert kept == {"root", "file", "database", "sharedpref", "external"}


def test_every_class_and_resource_that_is_named_exists():
    files = sorted(APP.rglob("*.xml"))
    assert len(files) > 12
    for file in files:
        ElementTree.parse(file)
        for kind, name in re.findall(r"@(xml|drawable|mipmap|string|color|style)/([\w.]+)", file.read_text(encoding="utf-8")):
            entries = "\n".join(path.read_text(encoding="utf-8") for path in (APP / "res").glob("values/*.xml"))
            assert list((APP / "res").glob(f"{kind}*/{name}.xml")) or f'name="{name}"' in entries, f"{file.name} names {name}"
    manifest = ElementTree.parse(APP / "AndroidManifest.xml").getroot()
    named = {each.attrib[NAME] for each in manifest.iter() if each.tag in ("application", "activity", "service", "provider")}
    assert named == {".ChatApplication", ".MainActivity"}
    for name in named:
        source = (APP / "kotlin" / "breakfix" / "app" / f"{name[1:]}.kt").read_text(encoding="utf-8")
        assert f"class {name[1:]} " in source or f"class {name[1:]}(" in source


def test_the_app_speaks_the_languages_of_the_policy():
    languages = set(policy.load().messages)
    listed = ElementTree.parse(APP / "res" / "xml" / "locales.xml").getroot()
    assert {each.attrib[NAME] for each in listed} == languages
    english = strings("values")
    for language in languages - {"en"}:
        assert strings(f"values-{language}").keys() == english.keys()
        assert all(strings(f"values-{language}").values())


def test_every_version_is_exact_and_every_alias_known():
    catalog = tomllib.loads((ANDROID / "gradle" / "libs.versions.toml").read_text(encoding="utf-8"))
    assert all(re.fullmatch(r"[0-9][0-9.]*", version) for version in catalog["versions"].values())
    told = [*catalog["libraries"].values(), *catalog["plugins"].values()]
    assert {each["version"]["ref"] for each in told if "version" in each} <= catalog["versions"].keys()
    known = {name.replace("-", ".") for name in catalog["libraries"]} | {
        f"{part}.{name.replace('-', '.')}" for part in ("versions", "plugins") for name in catalog[part]
    }
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in ANDROID.rglob("*.gradle.kts"))
    used = {name.removesuffix(".get") for name in re.findall(r"\blibs\.([a-z][a-z0-9.]*[a-z0-9])", scripts)}
    assert used and used <= known
    assert set(re.findall(r'":(\w+)"', (ANDROID / "settings.gradle.kts").read_text(encoding="utf-8"))) == {"app", "guard"}
