import json
import multiprocessing
import sys
import threading

import pytest

from breakfix.core.errors import EngineError, MissingExtra
from breakfix.runtime.bench import report
from breakfix.runtime.bench.alone import Figure
from breakfix.runtime.bench.contenders import Entry, Lap, Ready, contend
from breakfix.runtime.bench.gguf import Gguf
from breakfix.runtime.bench.race import _NOTHING, Race, Result, _answer

FAST = Result("both rails", "a1", 1.0, 300.0, 427.0, 90.0, 13.0, 310.0, 90.0, 128, 0.25)
PEER = Result("q4.gguf", "b2", 0.5, 600.0, 213.0, 60.0, 20.0, 155.0, 105.0, 128, None)
RUN = Race((FAST, PEER), 2, 128, 18.0)


class Llama:
    """What the bench asks of llama-cpp-python."""

    def __init__(self, path, **settings):
        if "broken" in path:
            raise ValueError("no GGUF")
        self.settings, self.resets = settings, 0

    def reset(self):
        self.resets += 1

    def generate(self, ids, **settings):
        assert ids == [1, 2, 3] and settings["temp"] == 0
        yield from range(1000)


@pytest.fixture
def llama(monkeypatch):
    module = type(sys)("llama_cpp")
    module.Llama = Llama
    monkeypatch.setitem(sys.modules, "llama_cpp", module)


def test_a_peer_writes_as_much_as_asked_for_and_starts_anew_each_time(llama, tmp_path):
    peer = Gguf(tmp_path / "q4.gguf", threads=3, context=512)
    assert peer._model.settings["n_threads"] == peer._model.settings["n_threads_batch"] == 3
    for lap in (1, 2):
        began, came, ended = peer.lap("", [1, 2, 3], 7)
        assert len(came) == 7 and peer._model.resets == lap
        assert began <= came[0] <= came[-1] <= ended


def test_a_file_that_llama_cpp_cannot_load_is_told(llama, tmp_path):
    with pytest.raises(EngineError, match=r"broken\.gguf cannot be loaded by llama\.cpp; give a GGUF file"):
        Gguf(tmp_path / "broken.gguf", 2, 512)


def test_without_llama_cpp_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(MissingExtra, match=r"breakfix\[bench\]"):
        Gguf(tmp_path / "q4.gguf", 2, 512)


def test_the_table_tells_every_ratio_to_the_first():
    told = report.markdown(RUN)
    assert "| both rails | 300 | 427 | 90.0 | 13.0 | 310 | 1.00 | 90 | 45 |" in told
    assert "both rails / q4.gguf: first token 0.50, prefill 2.00, decode 1.50, peak memory 2.00, load 2.00" in told
    assert "both rails: 0.250 joules a token" in told and "q4.gguf: None" not in told


def test_the_figures_are_written_as_text_json_and_picture(tmp_path):
    written = report.write(RUN, [Figure("second turn, read", 21.0, "tokens")], tmp_path / "new" / "bench")
    told = json.loads(written[1].read_text())
    assert told["results"][1]["decode"] == 60.0 and told["figures"][0]["value"] == 21.0
    assert "second turn, read: 21.0 tokens" in written[0].read_text() and "both rails: a1" in written[0].read_text()
    assert written[2].read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def line():
    """A function that starts a contender beside the test and returns the entry and the end of its line."""

    def start(model):
        ours, its = multiprocessing.Pipe()
        entry = Entry(str(model), model)
        threading.Thread(target=contend, args=(entry, its), daemon=True).start()
        return entry, ours

    return start


def test_a_contender_loads_runs_laps_and_tells_its_memory(llama, line, tmp_path):
    (tmp_path / "q4.gguf").write_bytes(b"x" * 1000)
    entry, ours = line(tmp_path / "q4.gguf")
    ready = _answer(entry, ours, _NOTHING)
    assert isinstance(ready, Ready) and ready.megabytes == 0.001 and len(ready.id) == 64
    lap = _answer(entry, ours, ("hello", [1, 2, 3], 5))
    assert isinstance(lap, Lap) and (lap.read, lap.written, len(lap.gaps)) == (3, 5, 4)
    assert _answer(entry, ours, None) > 10


@pytest.mark.parametrize(("name", "said"), [("broken.gguf", "cannot be loaded by llama.cpp"), ("q4.gguf", "AssertionError")])
def test_what_goes_wrong_with_a_contender_crosses_the_line_as_a_sentence(llama, line, tmp_path, name, said):
    (tmp_path / name).write_bytes(b"x")
    entry, ours = line(tmp_path / name)
    with pytest.raises(EngineError, match=said):
        _answer(entry, ours, _NOTHING)
        _answer(entry, ours, ("hello", [4], 5))


def test_a_missing_extra_crosses_it_too(monkeypatch, line, tmp_path):
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    (tmp_path / "q4.gguf").write_bytes(b"x")
    entry, ours = line(tmp_path / "q4.gguf")
    with pytest.raises(EngineError, match=r"breakfix\[bench\]"):
        _answer(entry, ours, _NOTHING)


def test_a_contender_that_died_is_an_error_and_no_quiet_end(tmp_path):
    ours, its = multiprocessing.Pipe()
    its.close()
    for order in (_NOTHING, ("hello", [1], 2)):
        with pytest.raises(EngineError, match=r"q4\.gguf died while it was measured"):
            _answer(Entry("q4.gguf", tmp_path), ours, order)
