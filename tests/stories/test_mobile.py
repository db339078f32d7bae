"""A bundle for phones through the command line: refused without a gate, whole or told by the name of what is wrong."""

import json
import shutil

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tiny cycle")]


def export(breakfix, cycle, out):
    return breakfix("export", "mobile", cycle, "--out", out, "--ungated", "--name", "Tiny", "--licence", "MIT")


@pytest.fixture(scope="session")
def bundle(breakfix, tiny_cycle, tmp_path_factory):
    """A web bundle of the tiny cycle; its libraries are fetched with npm."""
    out = tmp_path_factory.mktemp("mobile") / "web"
    made = export(breakfix, tiny_cycle, out)
    assert made.returncode == 0, made.stderr
    return out


def test_how_far_the_page_lies_from_the_float_model_is_measured(breakfix, bundle, tiny_cycle, tmp_path):
    words = ("eval", "drift", tiny_cycle / "aligned", "--suite", "everyday", "--limit", "6", "--max-new-tokens", "4")
    pages, shipped = (
        breakfix(*words[:3], which, *words[3:], "--out", tmp_path / name)
        for name, which in {"web": bundle, "int4": tiny_cycle / "int4"}.items()
    )
    assert pages.returncode == 0 and shipped.returncode == 0, pages.stderr + shipped.stderr
    (web,), (int4,) = (json.loads((tmp_path / name / "report" / "drift.json").read_text())["drift"] for name in ("web", "int4"))
    assert web["tokens"] == int4["tokens"] and 0 < web["kl"]["value"] < 2 * int4["kl"]["value"]
    refused = breakfix(*words[:3], bundle / "model", *words[3:], "--out", tmp_path / "no")
    assert refused.returncode == 1 and "is no artifact" in refused.stderr


def test_what_the_gate_did_not_pass_is_not_shipped(breakfix, tiny_cycle, tmp_path):
    refused = breakfix("export", "mobile", tiny_cycle, "--out", tmp_path / "web")
    assert refused.returncode == 1
    assert "int4 may not ship: the gate says undecided: too little to decide" in refused.stderr
    assert "ship it with --ungated, which is put on record" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_records_of_another_model_are_no_proof(breakfix, tiny_cycle, tmp_path):
    records = [f"--{kind}-records={tiny_cycle / 'records-base'}" for kind in ("float", "int4")]
    refused = breakfix("export", "mobile", tiny_cycle, "--out", tmp_path / "web", *records)
    assert refused.returncode == 2
    assert "records-base was measured on" in refused.stderr
    assert "measure what ships" in refused.stderr


def test_a_gate_against_another_float_model_is_no_gate(breakfix, tiny_cycle, tmp_path):
    records = ("--float-records", tiny_cycle / "records-base", "--int4-records", tiny_cycle / "records-aligned-int4")
    refused = breakfix("export", "mobile", tiny_cycle, "--out", tmp_path / "web", "--ungated", *records)
    assert refused.returncode == 1
    assert "with another float model than it was made of" in refused.stderr


def test_a_policy_that_lets_everything_pass_is_not_shipped(breakfix, tiny_cycle, tmp_path):
    (tmp_path / "trial.yaml").write_text("shadow: true\n")
    words = ("export", "mobile", tiny_cycle, "--out", tmp_path / "web", "--ungated", "--policy", tmp_path / "trial.yaml")
    refused = breakfix(*words)
    assert refused.returncode == 1
    assert "lets everything pass, which no app may" in refused.stderr


def test_a_bundle_holds_all_it_needs_and_says_what_was_measured(breakfix, tiny_cycle, bundle):
    verified = breakfix("export", "verify", bundle)
    assert verified.returncode == 0
    assert "is whole" in verified.stdout
    assert "gate undecided" in verified.stdout
    card = json.loads((bundle / "card.json").read_text())
    int4 = json.loads((tiny_cycle / "int4" / "manifest.json").read_text())
    assert (card["name"], card["ungated"], card["model"]) == ("Tiny", True, int4["id"])
    assert card["gate"]["outcome"] == "undecided"
    assert {figure["suite"] for figure in card["figures"]} == {figure["suite"] for figure in card["unguarded"]}
    materials = json.loads((bundle / "sbom.cdx.json").read_text())
    assert materials["bomFormat"] == "CycloneDX"
    assert {part["name"] for part in materials["components"]} >= {"Tiny", "breakfix guard", "onnxruntime-web"}
    listed = json.loads((bundle / "manifest.json").read_text())["files"]
    assert {"index.html", "model/model.onnx", "guard-model/policy.json", "vendor/ort.wasm.min.mjs", "NOTICE.txt"} <= set(listed)
    assert not any("node_modules" in name or name.endswith("package.json") for name in listed)


def test_the_same_order_gives_the_same_bundle(breakfix, tiny_cycle, bundle, tmp_path):
    again = export(breakfix, tiny_cycle, tmp_path / "web")
    assert again.returncode == 0, again.stderr
    ids = [json.loads((folder / "manifest.json").read_text())["id"] for folder in (bundle, tmp_path / "web")]
    assert ids[0] == ids[1]


def _flip(folder):
    path = folder / "guard-model" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    return path


def _lose(folder):
    (folder / "engine.js").unlink()
    return folder / "engine.js"


def _add(folder):
    (folder / "guard" / "more.js").write_text("export {};\n")
    return folder / "guard" / "more.js"


@pytest.mark.parametrize(
    ("harm", "told"), [(_flip, "was changed or cut short"), (_lose, "is missing"), (_add, "does not belong")]
)
def test_a_harmed_bundle_is_refused_with_the_name_of_the_file(breakfix, bundle, tmp_path, harm, told):
    shutil.copytree(bundle, tmp_path / "web")
    name = harm(tmp_path / "web")
    refused = breakfix("export", "verify", tmp_path / "web")
    assert refused.returncode == 1
    assert f"{name} {told}" in refused.stderr


def test_a_bundle_that_is_too_large_is_not_made(breakfix, tiny_cycle, tmp_path):
    refused = breakfix("export", "mobile", tiny_cycle, "--out", tmp_path / "web", "--ungated", "--max-mb", "1")
    assert refused.returncode == 1
    assert "MB and may be 1; raise --max-mb or ship less" in refused.stderr
    assert not (tmp_path / "web").exists()
