"""Measures a web bundle as a person meets it: its page in a headless Chromium, the guard on, a question asked and answered.

The page says nothing of its speed; what its worker tells it is heard with the time it came. The browser's own memory is not
the page's: a renderer is one process, and what that holds is read from the system.
"""

import contextlib
import functools
import http.server
import math
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from ...core import artifact
from ...core.errors import UsageError
from ...core.progress import progress
from .alone import QUESTION, Figure
from .contenders import megabytes

BROWSER = "CHROMIUM"
"""Environment variable with the path of a Chromium that is not on the path."""
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
_PHONE: Any = {"width": 390, "height": 844}
_LONGEST_MS = 300_000
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".css": "text/css"}
_LISTEN = """
window.heard = [];
window.Worker = class extends Worker {
  constructor(...args) {
    super(...args);
    this.addEventListener("message", ({ data }) => heard.push([performance.now(), data]));
  }
};
"""


def bench_page(bundle: Path, rounds: int, threads: int) -> list[Figure]:
    """Return figures of a web bundle's page: medians over `rounds` answers to one question, each in a new chat.

    Raises UsageError without a browser, for a bundle that is not for web, and where the page or its guard ends an answer.
    """
    made = artifact.load(bundle, "bundle")
    if made.manifest["recipe"].get("target") != "web":
        raise UsageError(f"{bundle} is a bundle for {made.manifest['recipe'].get('target')}; bench --page takes one for web")
    answers: list[dict[str, float]] = []
    with _served(made.path) as address, _opened(threads) as (page, renderer), progress("bench the page", rounds) as step:
        started = time.perf_counter()
        page.goto(address)
        page.wait_for_selector("#app[data-state=empty], #app[data-state=refused]", timeout=_LONGEST_MS)
        loaded = time.perf_counter() - started
        if page.get_attribute("#app", "data-state") == "refused":
            raise UsageError(f"the page refuses to start: {page.text_content('#status')}")
        isolated, rest = page.evaluate("crossOriginIsolated"), _held(renderer(), "Pss")
        for _ in range(rounds):
            answers.append(_ask(page))
            page.click("#restart")
            step(1)
        most = _held(renderer(), "VmHWM")
    middle = {name: median(answer[name] for answer in answers) for name in answers[0]}
    figures = [
        ("threads", threads if isolated else 1, ""),
        ("load", loaded, "s"),
        ("first text shown", middle["first"], "ms"),
        ("tokens of an answer", middle["tokens"], ""),
        ("decode, guard on", middle["guarded"], "tokens/s"),
        ("decode, engine alone", middle["alone"], "tokens/s"),
        ("renderer after loading", rest, "MB"),
        ("renderer at most", most, "MB"),
        ("bundle", megabytes(made.path), "MB"),
    ]
    return [Figure(what, float(value), unit) for what, value, unit in figures if value is not None]


def _ask(page: Any) -> dict[str, float]:
    """Return how one answer went. Its speed counts the check of the question and every wait for the guard."""
    page.evaluate("heard.length = 0")
    page.fill("#question", QUESTION)
    asked = page.evaluate("performance.now()")
    page.press("#question", "Enter")
    page.wait_for_selector("#app[data-state=idle]", timeout=_LONGEST_MS)
    heard = [(at - asked, data["event"]) for at, data in page.evaluate("heard") if data.get("event")]
    (end, last), texts = heard[-1], [at for at, event in heard if event["type"] == "text"]
    if last["type"] != "done" or not texts:
        raise UsageError(f"the page's answer ended as {last['type']}, and only a whole one can be measured")
    stats = last["stats"]
    return {
        "first": texts[0],
        "tokens": stats["newTokens"],
        "guarded": 1000 * stats["newTokens"] / (end - stats["prefillMs"]),
        "alone": 1000 * (stats["newTokens"] - 1) / (stats["decodeMs"] or math.inf),
    }


@contextlib.contextmanager
def _opened(threads: int) -> Iterator[tuple[Any, Any]]:
    """Yield a page that sees so many processors, and a function that returns the process that draws it."""
    from playwright.sync_api import sync_playwright

    found = os.environ.get(BROWSER) or next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        raise UsageError(f"there is no Chromium to open the page in; install one, or name it in {BROWSER}")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=_FLAGS)
        try:
            page = browser.new_context(viewport=_PHONE).new_page()
            page.add_init_script(_LISTEN)
            told = page.context.new_cdp_session(page)
            told.send("Emulation.setHardwareConcurrencyOverride", {"hardwareConcurrency": threads})
            whole = browser.new_browser_cdp_session()
            yield page, lambda: _renderer(whole.send("SystemInfo.getProcessInfo")["processInfo"])
        finally:
            browser.close()


def _renderer(processes: list[dict[str, Any]]) -> int:
    """Return the renderer that worked most: a browser keeps a spare one."""
    return int(max((each for each in processes if each["type"] == "renderer"), key=lambda each: each["cpuTime"])["id"])


def _held(process: int, what: str) -> float | None:
    """Return a process's own memory now (Pss), or the most it ever held (VmHWM), in MB; None where the system does not say."""
    path = Path(f"/proc/{process}/{'smaps_rollup' if what == 'Pss' else 'status'}")
    if not path.exists():
        return None
    return next(
        (int(line.split()[1]) * 1024 / 1e6 for line in path.read_text().splitlines() if line.startswith(f"{what}:")), None
    )


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine alone, as the plainest host would."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, knows the types that modules and WebAssembly need, and keeps quiet."""

    def guess_type(self, path: Any) -> str:
        return _TYPES.get(Path(path).suffix) or super().guess_type(path)

    def log_message(self, format: str, *args: object) -> None: ...
