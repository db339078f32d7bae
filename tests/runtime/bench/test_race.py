import json
import sys

import pytest

from breakfix.core.errors import EngineError, MissingExtra
from breakfix.runtime.bench import report
from breakfix.runtime.bench.gguf import Gguf
from breakfix.runtime.bench.race import Race, Result

FAST = Result("both rails", 1.0, 300.0, 427.0, 90.0, 13.0, 310.0, 90.0, 128, 0.25)
PEER = Result("q4.gguf", 0.5, 600.0, 213.0, 60.0, 20.0, 155.0, 105.0, 128, None)
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
    written = report.write(RUN, tmp_path / "new" / "bench")
    assert json.loads(written[1].read_text())["results"][1]["decode"] == 60.0
    assert written[2].read_bytes().startswith(b"\x89PNG")
