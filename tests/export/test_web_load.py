"""How the web app comes onto a device, in a real browser: verified, resumed, kept, replaced; refused where it is damaged."""

import json
import re
from pathlib import Path

import pytest

from breakfix.core import artifact

WEB = Path(__file__).parents[2] / "export" / "mobile" / "web"


def flipped(folder: Path) -> None:
    path = folder / "model" / "model.onnx.data"
    content = bytearray(path.read_bytes())
    content[1234567] ^= 1
    path.write_bytes(content)


def unlisted(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["guard-model/tables.json"]
    manifest["id"] = artifact.content_id(manifest["kind"], manifest["files"])
    (folder / "manifest.json").write_text(json.dumps(manifest))


def lengthened(folder: Path) -> None:
    (folder / "card.json").write_text((folder / "card.json").read_text() + " ")


def edited(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    known = artifact.sha256_of(folder / "engine.js")
    (folder / "engine.js").write_text("export const Engine = null;")
    (folder / "manifest.json").write_text(text.replace(known, artifact.sha256_of(folder / "engine.js")))


DAMAGE = {
    "one flipped bit": (flipped, "model/model.onnx.data was changed or cut short"),
    "code was changed": (lambda f: (f / "engine.js").write_text("export {}"), "engine.js was changed or cut short"),
    "one byte more": (lengthened, "card.json was changed or cut short"),
    "missing": (lambda f: (f / "guard-model" / "policy.json").unlink(), "guard-model/policy.json is missing on the server"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "manifest.json is missing on the server"),
    "cut manifest": (lambda f: (f / "manifest.json").write_text('{"id"'), "manifest.json is damaged"),
    "not listed": (unlisted, "guard-model/tables.json would be loaded, and manifest.json does not list it"),
    "edited": (edited, "manifest.json was edited: its id does not fit its files"),
}


@pytest.mark.slow
def test_it_works_after_the_server_is_stopped(web_bundle, play):
    seen = play("offline", web_bundle())
    assert seen["reloaded"]["text"] == seen["other"]["text"] == 'Turn 1: you said "Hello?".'
    assert seen["isolated"]


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_bundle_is_refused_by_the_name_of_the_file(name, web_bundle, play):
    damage, said = DAMAGE[name]
    folder = web_bundle()
    damage(folder)
    seen = play("load", folder)
    assert seen["state"] == "refused" and seen["status"].startswith(said) and seen["status"].endswith((".", "reload."))
    assert seen["workers"] == 0 and seen["focused"] == "reload"
    # No version became complete, so the service worker serves none.
    assert not any("manifest.json" in kept for kept in seen["held"].values())


@pytest.mark.slow
def test_code_that_imports_a_foreign_file_is_refused(web_bundle, play):
    engine = "import './foreign.js';\n" + (Path(__file__).parent / "web" / "engine-scripted.js").read_text()
    folder = web_bundle({"engine.js": engine})
    (folder / "foreign.js").write_text("document.title = 'foreign'")
    seen = play("load", folder)
    assert seen["status"].startswith("foreign.js would be loaded") and "foreign.js" not in seen["log"]


@pytest.mark.slow
def test_without_service_worker_and_isolation_it_runs_on_one_thread(web_bundle, play):
    seen = play("plain", web_bundle())
    assert not seen["isolated"] and seen["facts"]["text"].startswith("threads 1,")


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "said"), [("insecure", "over https"), ("short", "There is too little storage: 26 MB")])
def test_what_the_browser_lacks_is_said_in_a_sentence(scenario, said, web_bundle, play):
    seen = play(scenario, web_bundle())
    assert seen["state"] == "refused" and said in seen["status"]


@pytest.mark.slow
def test_too_little_memory_is_said_in_a_sentence(web_bundle, play):
    config = json.dumps({"model": {"context_length": 2048}, "refuse": True})
    seen = play("load", web_bundle({"model/genai_config.json": config}))
    assert seen["state"] == "refused" and "too little free memory" in seen["status"]


@pytest.mark.slow
def test_a_load_that_broke_off_goes_on_where_it_was(web_bundle, play):
    seen = play("resume", web_bundle())
    assert seen["broken"].startswith("model/model.onnx.data could not be fetched to its end")
    asked = [each for each in seen["log"] if each.startswith("model/model.onnx.data")]
    assert asked == ["model/model.onnx.data", *[f"model/model.onnx.data bytes={16 << 20}-"] * 2]
    assert re.match(r"Loading and verifying: \d+ of 26 MB", seen["progress"])
    assert seen["answer"]["text"] and not any("?from=" in name for kept in seen["held"].values() for name in kept)


@pytest.mark.slow
def test_several_tabs_load_it_once(web_bundle, play):
    seen = play("tabs", web_bundle())
    assert [answer["text"] for answer in seen["answers"]] == ['Turn 1: you said "Hello?".'] * 3
    assert seen["log"].count("model/model.onnx.data") == 1


@pytest.mark.slow
def test_a_new_version_replaces_the_old_one_and_fetches_what_changed(web_bundle, play):
    web_bundle({"card.json": json.dumps({"name": "The next model"})}, "next")
    seen = play("update", web_bundle())
    [old], [new] = seen["before"], seen["after"]
    assert old != new and seen["answer"]["text"]
    assert "card.json" in seen["later"] and "model/model.onnx.data" not in seen["later"]


@pytest.mark.slow
def test_neither_page_nor_worker_can_ask_another_host(web_bundle, play):
    seen = play("foreign", web_bundle())
    assert seen["worker"]["text"] == "It was not asked."
    assert not seen["asked"] and not seen["image"] and seen["unlisted"] == 404


def test_the_page_and_the_service_worker_send_one_content_security_policy():
    [page] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', (WEB / "index.html").read_text())
    [sent] = re.findall(r'"content-security-policy":((?:\s*"[^"]+" ?\+?)+)', (WEB / "sw.js").read_text())
    assert "".join(re.findall(r'"([^"]+)"', sent)) == page
    assert "unsafe-inline" not in page and "'unsafe-eval'" not in page and not re.search(r"https?:", page)


def test_the_loader_needs_every_file_of_the_app():
    text = (WEB / "manifest.js").read_text()
    needed = set(re.findall(r'"([\w./-]+\.\w+)"', text[text.index("NEEDED") : text.index("OWN_CODE")]))
    for path in WEB.glob("*.js"):
        needed |= {found.removeprefix("./") for found in re.findall(r'from "([^"]+)"', path.read_text())}
    shown = {path.name for path in WEB.iterdir() if path.suffix in {".js", ".css", ".html", ".svg", ".png", ".webmanifest"}}
    assert shown <= needed
