"""The bench of a web bundle's page: what it refuses before a browser is opened. The page itself is measured in tests/export."""

import sys

import pytest

from breakfix.core import artifact
from breakfix.core.errors import ArtifactError, UsageError
from breakfix.runtime.bench import page
from breakfix.runtime.bench.page import bench_page


def bundle(folder, target):
    return artifact.produce(folder, "bundle", {"target": target}, {}, lambda work: (work / "index.html").write_text("hi")).path


def test_only_a_bundle_for_web_has_a_page(tmp_path):
    with pytest.raises(UsageError, match="is a bundle for ios; bench --page takes one for web"):
        bench_page(bundle(tmp_path / "phone", "ios"), rounds=1, threads=1)
    with pytest.raises(ArtifactError):
        bench_page(tmp_path / "nothing", rounds=1, threads=1)


def test_without_a_browser_it_says_what_to_install(tmp_path, monkeypatch):
    pytest.importorskip("playwright")
    monkeypatch.delenv(page.BROWSER, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no Chromium to open the page in; install one, or name it in CHROMIUM"):
        bench_page(bundle(tmp_path / "web", "web"), rounds=1, threads=1)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_the_renderer_that_worked_is_the_one_whose_memory_is_read():
    processes = [
        {"type": "browser", "id": 1, "cpuTime": 9.0},
        {"type": "renderer", "id": 2, "cpuTime": 0.1},
        {"type": "renderer", "id": 3, "cpuTime": 4.0},
    ]
    assert page._renderer(processes) == 3
    assert page._held(999_999_999, "Pss") is None
