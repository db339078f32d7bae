"""The int4 artifact on onnxruntime-genai. Telemetry is off: the package's __init__ sets ORT_DISABLE_TELEMETRY first."""

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime_genai

from ..core import artifact
from ..core.errors import EngineError
from .engine import Conversation, ConversationTooLong, Sampling
from .template import ChatTemplate

# The package fills its namespace at run time, which no type checker can follow.
og: Any = onnxruntime_genai

_BATCH = 16
_MOST_THREADS = 4
_ROOM = 512
"""Tokens that the first cache of a conversation holds; one that outgrows its cache gets one twice as large."""


class _Kept(NamedTuple):
    """A generator with what it has read and said, and how much it can hold."""

    generator: Any
    room: int


class GenAIEngine:
    """A phone's engine: int4 weights, CPU kernels, a KV cache that grows with the conversation, up to the context."""

    def __init__(self, folder: Path | str, threads: int | None = None, *, keeps: bool = True) -> None:
        """Open an int4 artifact, its hashes verified, on so many threads; `keeps` its cache between turns.

        Whoever measures keeps nothing: what stands in the cache can move the last bit of a score. Raises ArtifactError or
        EngineError.
        """
        self.artifact = artifact.load(folder, "int4")
        self.template = ChatTemplate(self.artifact.path)
        self.context = int(self.artifact.facts["context"])
        """The most tokens of prompt and answer together."""
        try:
            config = og.Config(str(self.artifact.path))
            options = {"session_options": {"intra_op_num_threads": threads or _threads()}}
            config.overlay(json.dumps({"model": {"decoder": options}}))
            self._model = og.Model(config)
        except Exception as error:  # genai raises RuntimeError and its own types
            raise EngineError(f"{folder} cannot be loaded by onnxruntime-genai; export it again") from error
        self._ends = set(self.artifact.facts["eos_token_ids"])
        self.read = 0
        """Tokens of the prompt that the latest streamed answer had to read; the others stood in the cache already."""
        self._keeps = keeps
        self._kept: _Kept | None = None

    @property
    def id(self) -> str:
        """Return the content id of the int4 folder."""
        return self.artifact.id

    def stream(self, conversation: Conversation, sampling: Sampling) -> Iterator[str]:
        """Yield one answer token by token, never a part of a character. Raises EngineError when it cannot.

        Of a conversation that goes on, what was read and said before is not read again.
        """
        ids = self.template.encode(conversation)
        goes_on = any(message.role == "assistant" for message in conversation)
        most = self._most(len(ids), sampling)
        text_of = self.template.decode_stream()
        with _in_a_sentence():
            kept = self._read(ids, most, sampling, goes_on=goes_on)
            for _ in range(most - len(ids)):
                kept.generator.generate_next_token()
                token = int(kept.generator.get_next_tokens()[0])
                if token in self._ends:
                    break
                if text := text_of(token):
                    try:
                        yield text
                    except GeneratorExit:  # nobody wants the rest; what was read and said stands
                        self._keep(kept, sampling)
                        raise
            self._keep(kept, sampling)

    def _read(self, ids: list[int], most: int, sampling: Sampling, *, goes_on: bool) -> _Kept:
        """Return a generator that has read just `ids` and has room for `most` tokens.

        While it is in use it is nobody else's: a second stream beside this one reads for itself.
        """
        kept, self._kept = self._kept, None
        shared = 0
        if kept and kept.room >= most and goes_on and not sampling.temperature:
            before = kept.generator.get_sequence(0).tolist()
            # The last token of either is always read again: what comes next is predicted from that of the prompt, and that of
            # the answer was said but never read.
            shared = _common(before[:-1], ids[:-1])
            kept.generator.rewind_to(shared)
        else:
            room = kept.room if kept and goes_on else _ROOM
            kept = None  # frees its memory before the next one takes some
            while room < most:
                room *= 2
            room = min(self.context, room)
            kept = _Kept(self._generator(1, room, sampling), room)
        kept.generator.append_tokens(np.asarray([ids[shared:]], np.int32))
        self.read = len(ids) - shared
        return kept

    def _keep(self, kept: _Kept, sampling: Sampling) -> None:
        """Keep a generator for the next turn. One that draws is not kept: its dice cannot be thrown again from the seed."""
        if self._keeps and not sampling.temperature:
            self._kept = kept

    def length(self, conversation: Conversation) -> int:
        """Return the tokens of the prompt."""
        return len(self.template.encode(conversation))

    def generate(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[str]:
        """Return one answer for each conversation.

        Only prompts of equal length share a batch: padding would change what the attention kernels compute.
        """
        self._kept = None  # its memory is for the batches
        prompts = [self.template.encode(conversation) for conversation in conversations]
        by_length = defaultdict(list)
        for index, ids in enumerate(prompts):
            by_length[len(ids)].append(index)
        answers = [""] * len(prompts)
        for group in by_length.values():
            for at in range(0, len(group), _BATCH):
                chosen = group[at : at + _BATCH]
                for index, answer in zip(chosen, self._batch([prompts[i] for i in chosen], sampling), strict=True):
                    answers[index] = answer
        return answers

    def _batch(self, prompts: list[list[int]], sampling: Sampling) -> list[str]:
        with _in_a_sentence():
            generator = self._generator(len(prompts), self._most(len(prompts[0]), sampling), sampling)
            generator.append_tokens(np.asarray(prompts, np.int32))
            while not generator.is_done():
                generator.generate_next_token()
            rows = [generator.get_sequence(row)[len(prompt) :].tolist() for row, prompt in enumerate(prompts)]
        answers = []
        for ids in rows:
            end = next((i for i, token in enumerate(ids) if token in self._ends), len(ids))
            answers.append(self.template.decode(ids[:end]))
        return answers

    def _most(self, prompt_tokens: int, sampling: Sampling) -> int:
        """Return how many tokens prompt and answer have at most. Raises ConversationTooLong when no answer fits."""
        room = self.context - prompt_tokens
        if room < 1:
            raise ConversationTooLong(
                f"the conversation has {prompt_tokens} tokens, the model reads {self.context}; shorten it"
            )
        return prompt_tokens + min(room, sampling.max_new_tokens)

    def _generator(self, batch: int, room: int, sampling: Sampling) -> Any:
        """Return a generator with a cache for `room` tokens."""
        parameters = og.GeneratorParams(self._model)
        options = {"batch_size": batch, "max_length": room}
        if sampling.temperature > 0:
            options |= {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p}
            options |= {"top_k": 0, "random_seed": sampling.seed}
        else:
            options |= {"do_sample": False}
        parameters.set_search_options(**options)
        return og.Generator(self._model, parameters)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens two sequences share from their beginning."""
    pairs = zip(first, second, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _threads() -> int:
    """Return the CPUs that this process may use, at most four: a phone has no more fast ones.

    Left alone, onnxruntime counts cores and not hardware threads; where two share a core, as on small virtual machines, one
    thread was measured to decode at 0.6 of the speed of two.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, _MOST_THREADS)


@contextmanager
def _in_a_sentence() -> Iterator[None]:
    """Turn what genai raises while it generates into an EngineError."""
    try:
        yield
    except RuntimeError as error:
        raise EngineError(
            f"onnxruntime-genai cannot generate with this model ({error}); free some memory or export it again"
        ) from error
