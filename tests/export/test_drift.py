"""Drift: what it says of models whose distributions are known."""

import json
import math

import numpy as np
import pytest

from breakfix.core.errors import ExportError
from breakfix.export import drift as drifting
from breakfix.export.drift import Text, compare

WORDS = 8
TEXTS = [Text("safety", [1, 2], [3, 4, 5]), Text("safety", [6], [7, 1]), Text("general", [2, 2, 2], [3])]


def model(shift=0.0, words=WORDS, seed=0):
    """A model whose outputs follow from the tokens read so far; `shift` is added to the likeliest token's."""

    def logits(ids):
        rows = []
        for at in range(len(ids)):
            row = np.random.default_rng([seed, *ids[: at + 1]]).normal(size=words).astype(np.float32)
            row[row.argmax()] += shift
            rows.append(row)
        return np.asarray(rows)

    return logits


def test_a_model_does_not_drift_from_itself():
    for found in compare(model(), model(), TEXTS):
        assert (found.kl.value, found.top_1.value, found.flips) == (pytest.approx(0, abs=1e-9), 1.0, 0)
        assert (found.perplexity_ratio.value, found.opening.value) == (pytest.approx(1), pytest.approx(0))


def test_kinds_are_told_apart_and_counted():
    found = compare(model(), model(seed=1), TEXTS)
    assert [(each.kind, each.texts, each.tokens) for each in found] == [("safety", 2, 5), ("general", 1, 1)]


def test_the_divergence_is_the_one_of_the_book():
    reference, other, (prompt, answer) = model(), model(seed=1), ([1, 2], [3, 4])
    (found,) = compare(reference, other, [Text("safety", prompt, answer)])
    kls, lost = [], []
    for at, token in ((1, 3), (2, 4)):
        p, q = (np.exp(each([*prompt, *answer])[at].astype(float)) for each in (reference, other))
        p, q = p / p.sum(), q / q.sum()
        kls.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
        lost.append(math.log(p[token] / q[token]))
    assert found.kl.value == pytest.approx(np.mean(kls), rel=1e-5)
    assert found.kl_99 == pytest.approx(np.percentile(kls, 99), rel=1e-5)
    assert found.perplexity_ratio.value == pytest.approx(math.exp(np.mean(lost)), rel=1e-5)


def test_a_lead_that_shrank_is_told_in_nats():
    (found,) = compare(model(shift=2.0), model(shift=0.5), [Text("safety", [n], [n]) for n in range(5)])
    assert (found.opening.value, found.opening.error, found.top_1.value) == (
        pytest.approx(1.5),
        pytest.approx(0, abs=1e-6),
        1.0,
    )


def test_the_error_is_of_texts_and_not_of_tokens():
    """Tokens that agree within a text and differ between texts are as good as one token a text."""

    def told(by_text):
        rows = {prompt: np.log([share, 1 - share]) for prompt, share in enumerate(by_text)}
        return lambda ids: np.asarray([rows[ids[0]]] * len(ids))

    shares = [0.5, 0.6, 0.7, 0.8]
    one, many = (
        compare(told([0.5] * 4), told(shares), [Text("safety", [n], [0] * tokens) for n in range(4)])[0].kl
        for tokens in (1, 100)
    )
    kls = [-0.5 * math.log(4 * share * (1 - share)) for share in shares]
    assert one.value == pytest.approx(many.value) == pytest.approx(np.mean(kls))
    assert one.error == pytest.approx(many.error) == pytest.approx(np.std(kls, ddof=1) / 2)


def test_a_graph_that_tells_only_the_last_token_is_refused():
    with pytest.raises(ExportError, match="tells only the last token's outputs"):
        compare(model(), lambda ids: model()(ids)[-1:], TEXTS)


def test_models_of_other_vocabularies_are_no_pair():
    with pytest.raises(ExportError, match="the models know 8 and 9 tokens; compare a model with its own export"):
        compare(model(), model(words=9), TEXTS)


@pytest.mark.parametrize("texts", [[], [Text("safety", [1], [])]])
def test_a_model_that_said_nothing_measures_nothing(texts):
    with pytest.raises(ExportError, match="the float model said nothing"):
        compare(model(), model(), texts)


def test_the_artifact_names_what_it_is_of(tmp_path):
    inputs = {"float": "id-of-float", "int4": "id-of-int4"}
    made = drifting.drift(model(), model(seed=1), TEXTS, inputs, tmp_path / "drift")
    head, rule, *lines, _, first, second = (made.path / "drift.md").read_text().splitlines()
    assert len({line.count("|") for line in (head, rule, *lines)}) == 1 and lines[0].startswith("| 2 safety | 5 |")
    assert (first, second) == ("float `id-of-float`", "int4 `id-of-int4`")
    told = json.loads((made.path / "drift.json").read_text())
    assert told["inputs"] == inputs and [each["tokens"] for each in told["drift"]] == [5, 1]
