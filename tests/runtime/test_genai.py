import pytest

from breakfix.core.errors import EngineError
from breakfix.runtime.engine import ConversationTooLong, Message, Sampling
from breakfix.runtime.genai import GenAIEngine


class FixedTemplate:
    """Reads every conversation as the same number of tokens."""

    def __init__(self, tokens):
        self.tokens = tokens

    def encode(self, conversation):
        return [1] * self.tokens

    def decode_stream(self):
        return str


class BreakingEngine(GenAIEngine):
    """An engine without weights, whose library breaks as soon as it is asked."""

    def __init__(self, tokens):
        self.template = FixedTemplate(tokens)
        self.context = 8

        self._kept, self._keeps = None, True

    def _generator(self, batch, room, sampling):
        raise RuntimeError("no kernel")


@pytest.mark.parametrize("way", [lambda e, c: list(e.stream(c, Sampling())), lambda e, c: e.generate([c], Sampling())])
def test_what_the_library_raises_becomes_a_sentence(way):
    with pytest.raises(EngineError, match=r"no kernel.*export it again"):
        way(BreakingEngine(4), [Message("user", "hi")])


@pytest.mark.parametrize("way", [lambda e, c: list(e.stream(c, Sampling())), lambda e, c: e.generate([c], Sampling())])
def test_a_conversation_without_room_for_an_answer_is_too_long(way):
    with pytest.raises(ConversationTooLong, match="has 8 tokens, the model reads 8"):
        way(BreakingEngine(8), [Message("user", "hi")])
