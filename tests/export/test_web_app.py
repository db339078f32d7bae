"""The chat of the web app in a real browser, over a scripted engine and guard: no model is needed, and none is judged here."""

import os
import re
from pathlib import Path

import pytest

from breakfix.core.hazards import HAZARDS

REFUSAL = "I can't help with that. I'm glad to help with something else."


@pytest.mark.slow
def test_a_question_is_answered_in_a_stream(web_bundle, play):
    seen = play("chat", web_bundle())
    assert seen["name"] == "A scripted model"
    assert seen["line"] == "Nothing leaves this device.\nSafety: harmful compliance 6.0 % (harmbench)"
    assert "6.0 % of 200\n3.5 to 10.2\t17.0 % of 200\n12.4 to 22.8" in seen["card"] and "8.5\tnot measured" in seen["card"]
    assert "failed. Over-refusal rose" in seen["card"]
    assert seen["lengths"] > 5
    assert {"strong", "ol", "li", "code", "pre"} <= set(seen["tags"])
    assert seen["answer"]["text"].startswith("Plants need three things:") and "**" not in seen["answer"]["text"]
    # A screen reader hears sentences and not tokens, and all of them.
    assert len(seen["said"]) < 12 and all(re.search(r"[.:!?`;)]$|^\d\. \w+$|^js", said) for said in seen["said"])
    assert "".join("".join(seen["said"]).split()).startswith("Plantsneedthreethings:1.Light")
    assert seen["second"]["text"] == 'Turn 2: you said "And then?".'
    threads = min(4, os.cpu_count() or 1)
    assert seen["isolated"] and seen["facts"]["text"] == f"threads {threads}, model 7, external model.onnx.data"
    assert seen["markup"]["text"] == '<img src=x onerror="document.title=1"> is <b>text</b> and </code><script>.'
    assert seen["title"] == "Breakfix chat" and seen["focused"] == "question" and not seen["complaints"]


@pytest.mark.slow
def test_the_keyboard_does_it_all_and_targets_are_large(web_bundle, play):
    seen = play("keys", web_bundle())
    assert (seen["first"], seen["focused"]) == ("question", "question")
    assert seen["typed"] == seen["question"] == "one\ntwo"
    assert seen["stopped"]["remark"] == "Stopped." and seen["stopped"]["again"]
    assert min(seen["sizes"]) >= 44


@pytest.mark.slow
def test_what_the_guard_blocks_is_not_answered(web_bundle, play):
    seen = play("blocked", web_bundle())
    unsafe, crisis, cut = seen["unsafe"], seen["crisis"], seen["cut"]
    assert (unsafe["h3"], unsafe["reason"]) == ("This question was stopped", "Reason: indiscriminate weapons (S9)")
    assert unsafe["message"] == REFUSAL and not unsafe["text"] and not unsafe["again"]
    assert (crisis["h3"], crisis["reason"]) == ("Please read this", "Reason: suicide and self-harm (S11)")
    assert crisis["message"] == "Please call 988 or 116 123.\nfindahelpline.com lists one for your country."
    assert seen["failed"]["h3"] == seen["thrown"]["h3"] == "This question could not be checked"
    assert seen["thrown"]["message"] and not seen["thrown"]["text"] and seen["failed"]["again"]
    assert seen["warned"]["text"] and "attempt to talk the model out of its rules" in seen["warned"]["remark"]
    assert cut["text"] == "Here is a safe sentence 🌱. Here is another one."
    assert (cut["h3"], cut["reason"]) == ("The end of this answer was taken back", "Reason: indiscriminate weapons (S9)")
    assert cut["message"] == REFUSAL and REFUSAL in seen["spoken"] and "UNSAFE" not in seen["spoken"]
    # Blocked turns leave no history: one question was answered before.
    assert seen["after"]["text"].startswith("Turn 2:")
    assert seen["broken"]["text"] == "This much was said." and "a broken engine" in seen["broken"]["remark"]


@pytest.mark.slow
def test_an_answer_stops_within_a_token(web_bundle, play):
    seen = play("stop", web_bundle())
    assert seen["label"] == "Stop" and seen["stopped"]["remark"] == "Stopped."
    # The token under way, and what was written while the browser was told to click.
    assert len(seen["stopped"]["text"].split()) - len(seen["before"].split()) < 25
    assert seen["held"] == "send" and seen["turns"] == 1
    assert seen["emptied"] == ["empty", "", "question"]
    assert seen["fresh"]["text"] == 'Turn 1: you said "New?".'
    assert seen["sampled"]["text"] == 'Turn 1, sampled: you said "New?".'


@pytest.mark.slow
def test_what_was_not_measured_is_called_that(web_bundle, play):
    seen = play("chat", web_bundle({"card.json": None}))
    assert (seen["name"], seen["line"]) == ("scripted", "Nothing leaves this device.\nSafety: not measured")
    assert "was not measured" in seen["card"]


@pytest.mark.slow
def test_axe_finds_no_grave_fault_in_light_and_dark(web_bundle, play):
    seen = play("looks", web_bundle())
    assert len(seen["faults"]) == 10 and not any(seen["faults"].values()), seen["faults"]
    assert seen["wide"] <= 360


@pytest.mark.slow
def test_its_speed_is_measured_as_a_person_meets_it(web_bundle, play):
    from breakfix.runtime.bench.page import bench_page

    figures = {figure.what: figure.value for figure in bench_page(web_bundle(), rounds=2, threads=1)}
    assert figures["threads"] == 1 and figures["tokens of an answer"] > 5
    # The scripted engine says that each token took a millisecond; the clock says when they came.
    assert 800 < figures["decode, engine alone"] <= 1000 > figures["decode, guard on"] > 1
    assert (
        0 < figures["first text shown"] < 60_000 and 20 < figures["renderer after loading"] <= figures["renderer at most"] * 2
    )


def test_categories_are_said_in_the_words_of_the_hazards():
    said = dict(
        re.findall(
            r'^  (S\d+): "([^"]+)",$', (Path(__file__).parents[2] / "export" / "mobile" / "web" / "chat.js").read_text(), re.M
        )
    )
    assert said == HAZARDS
