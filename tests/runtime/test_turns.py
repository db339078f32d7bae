"""A chat template as plain pieces: what a phone joins is what the template writes, or the template is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakfix.core.errors import EngineError
from breakfix.runtime.engine import Message
from breakfix.runtime.template import ChatTemplate
from breakfix.runtime.turns import joined, plain_turns

from .test_template import CHATML, END, START, model_folder

LLAMA_3 = (
    "{{ '<|im_start|>' }}{% for m in messages %}{{ '[' + m.role + ']\n\n' + m.content | trim + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]\n\n' }}{% endif %}"
)
WITH_DEFAULT = "{% if messages[0].role != 'system' %}{{ 'Be brief.\n' }}{% endif %}" + CHATML
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}" + CHATML
COUNTS = "{% for m in messages %}{{ loop.index ~ m.role + m.content + '\n' }}{% endfor %}{{ 'assistant' }}"
FORGETS = (
    "{% for m in messages %}{% if m.role == 'user' or loop.last %}{{ m.role + ':' + m.content + '\n' }}{% endif %}{% endfor %}"
    "{{ 'assistant:' }}"
)
FORGETS_THOUGHTS = CHATML.replace("m.content", "m.content.split('</think>')[-1]")
TRIMS_ANSWERS = CHATML.replace("m.content", "(m.content | trim if m.role == 'assistant' else m.content)")
DATED = "{{ strftime_now('%Y-%m-%d') }}" + CHATML
PARTS = st.sampled_from(["a", " ", "\n", "{", "é", "🙂", START, END, "<|im_", "start|>", "end|>"])
TEXTS = st.lists(PARTS, max_size=6).map("".join)
PAST = st.lists(st.tuples(TEXTS, TEXTS), max_size=3)


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("templates")
    sources = {"chatml": CHATML, "llama 3": LLAMA_3, "default": WITH_DEFAULT, "no system": NO_SYSTEM}
    return {name: ChatTemplate(model_folder(folder / name, source)) for name, source in sources.items()}


@pytest.mark.parametrize("name", ["chatml", "llama 3", "default", "no system"])
@given(past=PAST, question=TEXTS, system=st.none() | TEXTS)
def test_pieces_join_to_what_the_template_writes(templates, name, past, question, system):
    turns = plain_turns(templates[name])
    opening = [Message("system", system)] if system is not None and turns["system"] else []
    said = [Message(role, text) for pair in past for role, text in zip(("user", "assistant"), pair, strict=True)]
    conversation = [*opening, *said, Message("user", question)]
    assert joined(turns, conversation) == templates[name].render(conversation)


def test_the_pieces_say_what_a_template_adds_by_itself(templates):
    assert plain_turns(templates["default"])["bare"] == "Be brief.\n"
    assert plain_turns(templates["chatml"])["user"] == [f"{START}user\n", f"{END}\n"]
    assert plain_turns(templates["llama 3"])["trim"]
    assert plain_turns(templates["no system"])["system"] is None
    assert {START, END} == set(plain_turns(templates["chatml"])["specials"])


@pytest.mark.parametrize(
    "source", [COUNTS, FORGETS, FORGETS_THOUGHTS, TRIMS_ANSWERS, DATED],
    ids=["counts", "forgets", "forgets thoughts", "trims answers", "tells the day"],
)  # fmt: skip
def test_a_template_that_says_more_than_turns_is_refused(tmp_path, source):
    with pytest.raises(EngineError, match="no plain sequence of turns"):
        plain_turns(ChatTemplate(model_folder(tmp_path / "m", source)))
