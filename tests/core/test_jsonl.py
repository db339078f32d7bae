import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakfix.core.errors import DataError
from breakfix.core.jsonl import dump, read_jsonl, write_jsonl

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(st.sampled_from(["prompt", "answer"]), JSON), max_size=4)


def write(path, content: str):
    path.write_bytes(content.encode())
    return path


@given(ROWS)
def test_rows_survive_writing_and_reading(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    write_jsonl(path, rows)
    assert read_jsonl(path) == rows


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\r"])
def test_only_a_line_feed_ends_a_row(tmp_path, separator):
    row = {"prompt": f"one{separator}two"}
    write_jsonl(tmp_path / "rows.jsonl", [row, row])
    assert read_jsonl(tmp_path / "rows.jsonl") == [row, row]


def test_windows_line_ends_empty_lines_and_a_missing_last_line_feed_are_read(tmp_path):
    assert read_jsonl(write(tmp_path / "rows.jsonl", '{"a": 1}\r\n\n  \n{"a": 2}')) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ("{", "line 2 is not JSON"),
        ('{"a": 1} {"a": 2}', "line 2 is not JSON"),
        ("[1]", "line 2 is not an object"),
        ("null", "line 2 is not an object"),
        ('{"b": 1}', "line 2 lacks a"),
    ],
)
def test_a_bad_line_is_named(tmp_path, bad, what):
    path = write(tmp_path / "rows.jsonl", f'{{"a": 1}}\n{bad}\n')
    with pytest.raises(DataError, match=what) as caught:
        read_jsonl(path, ("a",))
    assert str(path) in str(caught.value)


def test_a_bad_line_is_not_quoted(tmp_path):
    # Rows hold what users typed; an error message must not.
    path = write(tmp_path / "rows.jsonl", '{"prompt": "my secret"')
    with pytest.raises(DataError) as caught:
        read_jsonl(path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe{}"])
def test_a_missing_or_binary_file_is_one_sentence(tmp_path, content):
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as UTF-8 text"):
        read_jsonl(path)


def test_a_row_is_always_the_same_line_and_stays_readable():
    # Ids of suites and rows are hashes of these lines.
    assert dump({"b": "größer", "a": [1, 2]}) == '{"b": "größer", "a": [1, 2]}'
