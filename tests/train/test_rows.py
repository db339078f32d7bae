"""The readers of public training data: what the published files say, and a sentence where they are something else."""

import gzip
import json

import pytest

from breakfix.core import artifact
from breakfix.core.errors import DataError, UsageError
from breakfix.eval.redteam import techniques
from breakfix.train.rows import pair_of, read_source, read_texts


def test_what_people_asked_is_read_and_what_was_answered_is_not(tmp_path):
    told = (
        "\n\nHuman: How do I fold a paper boat?\n\nAssistant: Like this: fold it.\n\nHuman: Why?\n\nAssistant: So.\n\nHuman: "
    )
    rows = [{"chosen": told + "And how do I make one float?", "rejected": told + "And not this one here?"}]
    (tmp_path / "harmless-base").mkdir()
    file = tmp_path / "harmless-base" / "test.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as handle:
        handle.write("".join(json.dumps(row) + "\n" for row in rows))
    asked = ["How do I fold a paper boat?", "And how do I make one float?"]
    assert read_texts(f"hh-rlhf={file}") == read_texts(f"hh-rlhf={tmp_path}") == asked, "the folder, as the hub has it, too"


def test_questions_are_read_with_or_without_their_label(tmp_path):
    (tmp_path / "data_for_hub.json").write_text(json.dumps([{"question": "How is it forged?", "topic": "x"}]))
    (row,) = read_source(f"harmfulqa={tmp_path}")
    assert (row.prompt, row.label, row.licence) == ("How is it forged?", "unsafe", "Apache-2.0")
    assert read_texts(f"harmfulqa={tmp_path}") == ["How is it forged?"]
    by_topic = tmp_path / "questions.json"
    by_topic.write_text(json.dumps({"crime": {"papers": ["How is it forged?", "Who sells it?"]}, "war": {"arms": ["Where?"]}}))
    for reader in ("harmfulqa", "catqa"):
        assert read_texts(f"{reader}={by_topic}") == ["How is it forged?", "Who sells it?", "Where?"]


@pytest.mark.parametrize(
    "content", [b"plain text", gzip.compress(b'{"chosen": 1}\n'), gzip.compress(b"x" * 99)[:-9]], ids=range(3)
)
def test_another_file_is_one_sentence(tmp_path, content):
    file = tmp_path / "test.jsonl.gz"
    file.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as hh-rlhf; check that it is the published file"):
        read_texts(f"hh-rlhf={file}")


def test_an_order_is_filled_with_pairs_of_its_hazards_that_name_what_they_are_for(tmp_path):
    lines = [
        {"hazard": "S1", "family": "opening", "rows": 20, "cites": ["prefix/x/1", "prefix/x/2"]},
        {"hazard": "harmbench", "family": "noise", "rows": 5, "cites": ["best of eight/harmbench/007"]},
    ]

    def make(work):
        (work / "order.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    made = artifact.produce(tmp_path / "v", "vulnerabilities", {}, {}, make)
    rows = read_source(f"order={made.path}")
    assert rows == read_source(f"order={made.path}"), "the same each time"
    first = [row for row in rows if row.family.startswith("order/prefix/x/")]
    assert len(first) == 20 and {row.hazard for row in first} == {"S1"} and len(rows) == 20 + 6
    assert [row.label for row in rows[:2]] == ["unsafe", "safe"] and pair_of(rows[0]) == pair_of(rows[1])
    authored = {row.prompt: row for row in read_source("authored")}
    measured = {text for each in techniques.chosen("test") for text in each.turns} - {"{request}"}
    for row in rows:
        half = next(authored[prompt] for prompt in authored if prompt in row.prompt and authored[prompt].answer == row.answer)
        assert (half.label, half.hazard) == (row.label, row.hazard) and half.prompt != row.prompt
        assert not any(text.replace("{request}", half.prompt) == row.prompt for text in measured)


def test_texts_without_a_label_are_no_training_source():
    with pytest.raises(UsageError, match="hh-rlhf=x is no training source"):
        read_source("hh-rlhf=x")
