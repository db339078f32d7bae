"""The output rail on text that is still being written: nothing is released that was not checked.

Pieces may arrive in any sizes, or all at once: the checks are the same, and so is the verdict. A score over the threshold holds
the text back; a later check that reads all of it again may clear it, and the end confirms it. A score over the hard threshold
stops the answer at once. It knows no engine: pieces come in, checked text goes out.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from ..core.errors import GuardError
from .checkpoints import LOOKBACK, Scanner, ends_sentence, excerpt_start, reach, settled
from .policy import Policy, Rail, Verdict, worst
from .rules import Finding, find_pii, redact

_MOST_HELD = 3
"""Checks in a row over the threshold that confirm each other."""
_MOST_CHECKS = 512
"""An answer that needs more, some 50,000 characters, is refused."""
_CONTEXT = 64
"""Characters already shown that may tell what a number is: `call`, `order`."""
_BUFFER = 4096
"""Characters after which old ones are forgotten."""


class Released(NamedTuple):
    """Checked text."""

    text: str
    """What to show next; personal data are redacted where the policy says so. May be empty."""
    end: int
    """How many characters of the answer, as the model wrote it, are shown with this."""
    verdict: Verdict
    """What the answer so far comes to; the last one's is the whole answer's."""


class Stopped(NamedTuple):
    """The end of an answer that must not go on: show the verdict's message."""

    verdict: Verdict
    keep: int
    """How many characters of what was shown stay, up to a sentence end that was judged safe; take the rest back."""


class Judge(Protocol):
    """What the rail asks of a guard."""

    rules: Policy

    def judge_answer(self, prompt: str, excerpt: str) -> Verdict:
        """Return the verdict on an excerpt of an answer. May raise."""
        ...

    def judge_pii(self, rail: Rail, findings: Sequence[Finding]) -> Verdict:
        """Return the verdict on personal data. May raise."""
        ...

    def refusal(self, rail: Rail, why: Exception) -> Verdict:
        """Return the verdict of a guard that could not judge."""
        ...

    def published(self, verdict: Verdict) -> Verdict:
        """Return the verdict as it counts outside."""
        ...


def checked(judge: Judge, prompt: str, pieces: Iterable[str]) -> Iterator[Released | Stopped]:
    """Yield the text of the pieces as it is checked, at least one event; after Stopped no further piece is taken."""
    rail = OutputRail(judge, prompt)
    for piece in pieces:
        yield from rail.feed(piece)
        if rail.over:
            return
    yield from rail.finish()


class OutputRail:
    """The state of one answer. Places are counted from where `_text` begins; `_base` is where that is in the answer."""

    def __init__(self, judge: Judge, prompt: str) -> None:
        """Check an answer to this prompt."""
        self.over = False
        """True once the answer is stopped."""
        self._judge, self._prompt = judge, prompt
        self._text, self._base = "", 0
        self._scanner = Scanner()
        self._cleared = self._released = self._shown = self._keep = 0
        self._passed: list[Verdict] = []
        self._held: list[Verdict] = []
        self._findings: list[Finding] = []
        self._passing: Verdict | None = None
        self._spent = self._started = 0.0

    def feed(self, piece: str) -> list[Released | Stopped]:
        """Take the next piece and return what it leads to."""
        return self._step(piece, final=False)

    def finish(self) -> list[Released | Stopped]:
        """Take the end of the answer and return what it leads to."""
        return self._step("", final=True)

    def _step(self, piece: str, final: bool) -> list[Released | Stopped]:
        self._started = time.perf_counter()
        events: list[Released | Stopped] = []
        try:
            self._text += piece
            for event in self._advance(final):
                events.append(event)  # one by one: what was released before a failure was released
            self._forget()
        except Exception as error:  # fail closed: no failure of any library may let a text through
            events.append(self._stop(self._judge.refusal("output", error)))
        self._spent += time.perf_counter() - self._started
        return events

    def _advance(self, final: bool) -> Iterator[Released | Stopped]:
        while not self._passing and not self.over and (place := self._scanner.next(self._text, final)) is not None:
            yield from self._check(place)
        left = self._released < len(self._text)
        if self._passing and left:
            self._scanner.at = len(self._text)
            yield self._show(len(self._text), self._text[self._released :], self._passing)
        elif final and self._held and not self.over:
            yield self._stop(worst(self._held))
        elif final and left and not self.over:
            yield from self._release(len(self._text), final=True)

    def _check(self, place: int) -> Iterator[Released | Stopped]:
        if self._scanner.found > _MOST_CHECKS:
            raise GuardError("the answer is too long to be checked whole")
        # Whatever is held back is read again, whole: only a check that reads it can clear it.
        start = min(excerpt_start(self._text, place), self._cleared)
        seen = self._judge.judge_answer(self._prompt, self._text[start:place])
        at = self._base + start
        seen = replace(seen, span=(seen.span[0] + at, seen.span[1] + at))
        if seen.blocked:
            self._held.append(seen)
            if seen.hard or len(self._held) >= _MOST_HELD:
                yield self._stop(worst(self._held))
        else:
            self._held, self._cleared = [], place
            self._passed.append(seen)
            yield from self._release(place, final=False)

    def _release(self, place: int, final: bool) -> Iterator[Released | Stopped]:
        """Release the text up to a place, but not an end of it that may become a finding with what comes next."""
        rules, at = self._judge.rules, self._base + self._released
        action, text, found = rules.pii.output, self._text[self._released : place], []
        if action != "allow":
            found = self._find_pii(place)
            end = len(text) if final else settled(text, found, inside=not self._text[place : place + 1].isspace())
            text, found = text[:end], [each for each in found if each.end <= end or action == "block"]
        end = self._released + len(text)
        if found:
            seen = self._judge.judge_pii("output", [Finding(each.kind, each.start + at, each.end + at) for each in found])
            if seen.blocked:
                yield self._stop(seen)
                return
            text = redact(text, found) if action == "redact" and not rules.shadow else text
            self._findings += seen.findings
            self._passed.append(seen)
        self._passed = [worst(self._passed)]
        if end == place < len(self._text) and ends_sentence(self._text, place):
            self._keep = self._shown + len(text)
        yield self._show(end, text, self._outside(self._passed[0]))

    def _find_pii(self, place: int) -> list[Finding]:
        """Return the personal data in what is not yet released, counted from there; what stands before them is read too."""
        start = max(self._released - _CONTEXT, 0)
        before = self._released - start
        found = find_pii(self._text[start:place])
        return [Finding(each.kind, max(each.start - before, 0), each.end - before) for each in found if each.end > before]

    def _show(self, end: int, text: str, verdict: Verdict) -> Released:
        self._released = end
        self._shown += len(text)
        return Released(text, self._base + end, verdict)

    def _stop(self, verdict: Verdict) -> Released | Stopped:
        verdict = self._outside(verdict)
        if self._judge.rules.shadow:
            self._passing = verdict
            return self._show(len(self._text), self._text[self._released :], verdict)
        self.over = True
        return Stopped(verdict, 0 if verdict.action == "replace" else self._keep)

    def _outside(self, verdict: Verdict) -> Verdict:
        elapsed = round((self._spent + time.perf_counter() - self._started) * 1000, 2)
        return self._judge.published(replace(verdict, findings=tuple(self._findings), milliseconds=elapsed))

    def _forget(self) -> None:
        """Keep no more of a long answer than later checks read, so that time and memory stay linear."""
        if len(self._text) < _BUFFER:
            return
        cut = min(self._released - _CONTEXT, reach(self._text, self._scanner.at) - LOOKBACK)
        if cut > 0:
            self._text, self._base, self._scanner.at = self._text[cut:], self._base + cut, self._scanner.at - cut
            self._cleared, self._released = self._cleared - cut, self._released - cut
