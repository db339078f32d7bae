"""The safety card in words: what was measured on exactly the files that ship, what the gate decided, and what nobody knows.

It says nothing that the card does not hold; what was not measured is said to be missing.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..safety_card import Measured, safety_card
from ..statistics import Rate
from .evidence import EMULATED, Evidence
from .markdown import grid, percent
from .samples import one_line

LIMITS = (
    "A rate is of these suites, asked once each, in these words. Other words, other languages, longer talks and people who try "
    "hard will find more; a low rate is no promise.",
    "The 95 % intervals say how far chance in the choice of prompts may carry a rate. They do not hold the judge's error, nor "
    "what the suites leave out.",
    "A judge can be wrong. The built-in one reads an answer's form: does it refuse? It does not know whether an answer that "
    "complies would have been of use to anybody, or whether an answer to a harmless request is right.",
    "The numbers are of the machine that measured. The same file on another processor (a phone's Arm kernels) can give other "
    "answers.",
    "A guard reads requests and answers, not intentions. It blocks some harmless texts, and lets some harmful ones pass.",
    "A small model that refuses well is still a small model: what it says may be wrong. It is no source of medical, legal or "
    "financial advice, and nobody's only help.",
)
"""What holds of every measurement made here."""
_GATE = {
    "passed": "was shown to have cost no more than the margin",
    "failed": "cost more than the margin",
    "undecided": "may have cost more than the margin: there were too few prompts to tell",
}
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|!])")


def safety_markdown(card: Mapping[str, Any]) -> str:
    """Return a safety card, as `eval.safety_card` makes it, as Markdown.

    `name` and `ungated` are told where the card holds them: what an app calls the model, and that it ships although the gate
    did not pass.
    """
    title = f"Safety of {_plain(card['name'])}" if card.get("name") else "Safety"
    parts = [
        f"# {title}\n",
        "What was measured on exactly the files named here. It says nothing of any other file, not even of the same model "
        "quantized another way.\n",
        grid(["what", "id"], [["model", f"`{card['model']}`"], ["guard and policy", f"`{card['guard']}`"]]),
        "\n## What goes wrong\n",
        "Shares in percent with 95 % intervals: **harmful compliance** is the share of harmful requests that were answered, "
        "wholly or in part; **over-refusal** the share of harmless requests that were refused. Lower is better.\n",
        _measured(card["figures"], card["unguarded"]),
        "\n## Did quantization cost safety?\n",
        _gate(card["gate"], bool(card.get("ungated"))),
        "\n## Limits\n",
        *(f"- {limit}" for limit in LIMITS),
    ]
    return "\n".join(parts) + "\n"


def card_of(evidence: Evidence) -> dict[str, Any] | None:
    """Return the safety card of the last model that was measured behind a guard; None where none was. No emulated one has any.

    What the gate decided is on it where the evidence holds it, of this model.
    """
    here = [pair for pair in evidence.guarded if EMULATED not in pair[0].engine]
    if not here:
        return None
    model, both = here[-1]
    guard = both.engine.removeprefix(f"{model.engine}+")
    card = safety_card(model.engine, guard, Measured(None, model.records.path, both.records.path))
    told = evidence.decision
    if told and told["systems"][1]["engine"] == model.engine:
        first, second = told["systems"]
        decided = {key: told[key] for key in ("outcome", "reason", "margin")}
        card["gate"] = {**decided, "float": first["engine"], "records": [first["records"], second["records"]]}
    return card


def _measured(guarded: Sequence[Mapping[str, Any]], alone: Sequence[Mapping[str, Any]]) -> str:
    if not guarded and not alone:
        return "Nothing was measured on these files. Nothing is known of their safety."
    sides = [{(f["suite"], f["measure"]): f for f in side} for side in (alone, guarded)]
    rows = [
        [_plain(suite), measure, *(_share(side.get((suite, measure))) for side in sides)]
        for suite, measure in dict.fromkeys([*sides[1], *sides[0]])
    ]
    return grid(["suite", "measure", "model alone", "behind the guard"], rows)


def _share(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "not measured"
    found = Rate(figure["hits"], figure["n"], figure["low"], figure["high"])
    return f"{percent(found)}, n = {found.n}" if found.n else "not judged"


def _gate(decided: Mapping[str, Any] | None, ungated: bool) -> str:
    shipped = " **It ships all the same; that was asked for, and is on record.**" if ungated else ""
    if decided is None:
        return f"No gate has compared these files with the float model they were made of, so it is not known.{shipped}"
    outcome, margin = decided["outcome"], f"{100 * decided['margin']:g} points"
    told = _GATE.get(outcome, "was not decided").replace("the margin", f"the margin of {margin}")
    late = shipped if outcome != "passed" else ""
    return (
        f"The gate: **{outcome}**. Quantization {told}. {_plain(decided['reason'])}.{late}\n\n"
        f"Compared with the float model `{decided['float']}`, answer by answer, on the same prompts."
    )


def _plain(text: str) -> str:
    """Return a text on one line, of which nothing is Markdown."""
    return _MARKUP.sub(r"\\\1", one_line(str(text), 600))
