import io
import json
import re

import pytest
from rich.console import Console

from breakfix.guardrails.policy import Verdict
from breakfix.runtime.session import Turn
from breakfix.runtime.terminal.display import Json, Plain, Rich, choose
from breakfix.runtime.watched import Used

BLOCKED = Verdict("block", "output", "S9", 0.93, message="No.")


@pytest.fixture
def screen():
    """A rich display of 40 columns and 10 lines, and what it wrote."""
    display, written = Rich(), io.StringIO()
    display._console = Console(file=written, force_terminal=True, width=40, height=10, color_system=None, legacy_windows=False)
    return display, written


def show(display, *pieces, turn):
    display.begin()
    display._drawn = 0.0
    for piece in pieces:
        display.piece(piece)
        display._drawn = 0.0
    display.end(turn, Used(3, 4))


def test_a_model_does_not_steer_the_terminal(capsys, screen):
    show(Plain(), "a\x1b[2Jb\x07c\td", turn=Turn("", None, asked_model=True))
    assert capsys.readouterr().out == "a[2Jbc\td\n"
    display, written = screen
    show(display, "x\x1b]0;title\x07y", turn=Turn("x\x1b]0;title\x07y", None, asked_model=True))
    assert "\x1b]" not in written.getvalue() and "\x07" not in written.getvalue()


def test_markdown_is_drawn_and_a_link_is_written_out(screen):
    display, written = screen
    show(display, "# Tea", turn=Turn("- **hot** [here](http://x.example)", None, asked_model=True))
    last = written.getvalue().split("\x1b[?25h")[-1]
    assert "hot" in last and "**" not in last
    assert "http://x.example" in last and "\x1b]8" not in last


def test_a_long_answer_never_draws_more_than_the_screen_and_stands_whole_at_the_end(screen):
    display, written = screen
    lines = [f"line {number}\n\n" for number in range(40)]
    show(display, *lines, turn=Turn("".join(lines), None, asked_model=True))
    drawn, final = written.getvalue().rsplit("\x1b[?25h", 1)
    assert all(frame.count("\n") < 10 for frame in drawn.split("\x1b[2K\x1b[1A"))
    assert all(f"line {number}" in final for number in range(40))


def test_what_is_taken_back_does_not_stand_on_the_screen(screen):
    display, written = screen
    show(display, "calm. Now mix", turn=Turn("calm.\n\nNo.", BLOCKED, asked_model=True, taken_back=8))
    stands = replay(written.getvalue())
    assert "Now mix" not in stands and "calm." in stands and "No." in stands


def test_the_cursor_comes_back_even_when_a_turn_brought_nothing(screen):
    display, written = screen
    show(display, "x", turn=None)
    assert written.getvalue().rindex("\x1b[?25h") > written.getvalue().rindex("\x1b[?25l")


def replay(written: str) -> str:
    """Return what stands on a terminal after it wrote this: lines, erased lines and moves up, which is all that is used."""
    lines, at = [""], 0
    for token in re.findall(r"\x1b\[[?\d]*[a-zA-Z]|\r|\n|[^\x1b\r\n]+", written):
        if token == "\n":
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif token == "\x1b[2K":
            lines[at] = ""
        elif token == "\x1b[1A":
            at = max(0, at - 1)
        elif not token.startswith(("\x1b", "\r")):
            lines[at] += token
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text", ["<div>\nhello inside\n</div>", "List<String> x", "if a<b and c>d:", "a &lt; b", "x :smile: y"]
)
def test_nothing_of_an_answer_is_left_out(screen, text):
    display, written = screen
    show(display, turn=Turn(text, None, asked_model=True))
    stands = " ".join(replay(written.getvalue()).split())
    assert " ".join(text.split()) in stands


@pytest.mark.parametrize("sign", ["\u202e", "&#x202e;", "\u2066", "\U000e0041", "\x9b", "\ud800"])
def test_nothing_changes_the_order_in_which_an_answer_is_read(capsys, screen, sign):
    display, written = screen
    show(display, f"a{sign}b", turn=Turn(f"a{sign}b", None, asked_model=True))
    shown = Plain()
    show(shown, f"a{sign}b", turn=Turn("", None, asked_model=True))
    shown.note(f"a{sign}b")
    for said in (written.getvalue(), *capsys.readouterr()):
        assert not {"\u202e", "\u2066", "\U000e0041", "\x9b"} & set(said)


def test_json_is_one_line_a_turn_without_the_blocked_text(capsys):
    show(Json(), "calm. Now mix", turn=Turn("calm.\n\nNo.", BLOCKED, asked_model=True, taken_back=8))
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "answer": "calm.\n\nNo.",
        "guard": {"action": "block", "rail": "output", "category": "S9", "score": 0.93, "failed": False},
        "asked_model": True,
        "taken_back": 8,
        "forgotten": 0,
        "tokens": {"read": 3, "written": 4},
    }


@pytest.mark.parametrize(("terminal", "name", "kind"), [(False, "xterm", Plain), (True, "dumb", Plain), (True, "xterm", Rich)])
def test_simple_terminals_and_pipes_get_plain_text(monkeypatch, terminal, name, kind):
    monkeypatch.setenv("TERM", name)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    assert type(choose(as_json=False, color=True)) is kind
    assert type(choose(as_json=True, color=True)) is Json
