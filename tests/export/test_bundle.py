"""What calls itself a bundle is read with care: whatever its manifest and its card hold, the answer is one sentence."""

import json

import pytest

from breakfix.core import artifact
from breakfix.core.errors import ArtifactError
from breakfix.export.mobile.bundle import verify
from breakfix.export.mobile.parcel import Papers, Parcel, copy_guard

CARD = {"model": "m" * 64, "guard": "g" * 64 + "/policy"}
INPUTS = {"int4": "m" * 64, "guard": "g" * 64}
DEEP = "[" * 100_000


def bundle(folder, files, inputs=INPUTS, target="web", kind="bundle"):
    def write(work):
        for name, content in files.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(content)

    return artifact.produce(folder, kind, {"target": target}, inputs, write).path


@pytest.mark.parametrize("card", ["card.json", "payload/card.json"])
def test_a_whole_one_is_opened(tmp_path, card):
    assert verify(bundle(tmp_path / "b", {card: json.dumps(CARD)})).kind == "bundle"


@pytest.mark.parametrize(
    "card", ["", "{", "[]", "null", "{}", '{"model": 1, "guard": 2}', '{"model": "m", "guard": null}', DEEP]
)
def test_what_is_no_card_is_told(tmp_path, card):
    folder = bundle(tmp_path / "b", {"card.json": card})
    with pytest.raises(ArtifactError, match=r"card\.json is (no safety card|of another model)"):
        verify(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"files": {}},
        {"files": {"card.json": "{}", "payload/card.json": "{}"}},
        {"inputs": {}},
        {"target": "fridge"},
        {"target": []},
    ],
    ids=["no card", "two cards", "of no model", "no such target", "no target"],
)
def test_a_manifest_of_something_else_is_told(tmp_path, change):
    folder = bundle(tmp_path / "b", **({"files": {"card.json": json.dumps(CARD)}} | change))
    with pytest.raises(ArtifactError, match=r"manifest\.json is of no bundle for a phone"):
        verify(folder)


@pytest.mark.parametrize("name", ["int4", "guard"])
def test_a_card_of_other_weights_is_told(tmp_path, name):
    folder = bundle(tmp_path / "b", {"card.json": json.dumps(CARD)}, INPUTS | {name: "x"})
    with pytest.raises(ArtifactError, match="is of another model or guard than the bundle"):
        verify(folder)


def test_what_changed_under_the_copying_hand_is_not_shipped(tmp_path):
    names = ("model.onnx", "tokenizer.json", "calibration.json")
    guard = artifact.load(bundle(tmp_path / "guard", dict.fromkeys(names, "{}"), kind="guard"))
    model = artifact.load(bundle(tmp_path / "int4", {"a": "a"}, kind="int4"))
    (guard.path / "tokenizer.json").write_text("[]")
    with pytest.raises(ArtifactError, match=r"tokenizer\.json was changed while it was copied; make the guard again"):
        copy_guard(Parcel(model, guard, Papers({}, {}, {}), 300), tmp_path / "out")
