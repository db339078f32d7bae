"""The guard: scores and a policy make a verdict. It fails closed: whatever goes wrong inside, the text does not pass.

Only the policy's shadow mode lets a failure pass, because it is a trial run that changes nothing; the verdict still says
that the guard failed. It keeps no text and logs none.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from ..core.errors import DataError, GuardError, UnreadableText
from ..core.hazards import JAILBREAK
from . import normalize, policy
from .audit import AuditLog
from .classifier import OnnxClassifier, Passage, Scores, Thresholds
from .normalize import Form
from .policy import BLOCKLIST, PII, UNREAD, Policy, Rail, Verdict, worst
from .rules import Finding, PhraseList, find_pii
from .stream import Released, Stopped, checked

SHIPPED = Path(__file__).parent / "models" / "default"
"""The guard that is installed with the package; `guardrails/models/README.md` is its card."""
_LAST_WORD = "I couldn't check that safely, so I won't answer it."
"""What the user reads when even the policy's message is missing."""
_READING = 2
"""Changes whenever the same weights and rules would judge a text otherwise."""
_LONGEST = 250_000
"""Characters of an input that are read; a longer one is refused unread, as the classifier would refuse it after seconds."""
_TURNS = 2
"""Earlier turns of the user that are read together with the newest."""
_JOINED = 400
"""Characters of each of these turns, and of the newest: a request that was split is short."""
_PROMPT = 1000
"""Characters of the prompt that give an answer its sense; the classifier reads fewer."""


class CalibratedClassifier(Protocol):
    """A classifier that knows the thresholds calibrated on its own file."""

    @property
    def id(self) -> str:
        """Return the content id of the weights."""
        ...

    @property
    def thresholds(self) -> Thresholds:
        """Return rail -> level -> category -> probability."""
        ...

    def score(self, passages: Sequence[Passage]) -> list[list[Scores]]:
        """Return the scores of every window of each passage, at least one."""
        ...


class Guard:
    """Checks the user's text before the model sees it, and the model's text before the user does."""

    def __init__(
        self,
        classifier: CalibratedClassifier,
        rules: Policy,
        audit: AuditLog | None = None,
        spell: Callable[[str], Sequence[Form]] = normalize.forms,
    ) -> None:
        """Guard with these scores and these rules; `spell` gives the spellings of a text, of which the worst counts."""
        self.classifier = classifier
        self.rules = rules
        self.audit = audit
        self._spell = spell
        self._harmless, self._forbidden = PhraseList(rules.allow), PhraseList(rules.block)

    @classmethod
    def open(cls, folder: Path | str, policy_name: str = "default", threads: int = 1, audit: AuditLog | None = None) -> "Guard":
        """Open a guard artifact with a policy, by name or path."""
        return cls(OnnxClassifier(folder, threads), policy.load(policy_name), audit)

    @property
    def id(self) -> str:
        """Return the ids of the guard's weights and of its rules, and how it reads: what differs in one is another guard."""
        return f"{self.classifier.id}/{self.rules.id[:16]}/{_READING}"

    def check_input(self, text: str, context: Sequence[str] = (), turn: int = 0) -> Verdict:
        """Judge what a user wrote, alone and together with their last turns (`context`, oldest first).

        `turn` is for the audit log.
        """
        started = time.perf_counter()
        try:
            verdict = self._judge_input(text, context)
        except Exception as error:  # fail closed: no failure of any library may let a text through
            verdict = self.refusal("input", error)
        elapsed = round((time.perf_counter() - started) * 1000, 2)
        verdict = self.published(replace(verdict, milliseconds=elapsed))
        self._record(verdict, turn)
        return verdict

    def check_output(self, prompt: str, answer: str, turn: int = 0) -> Verdict:
        """Judge what a model answered to a prompt: the very checks of `stream`, so their verdicts are the same."""
        *_, last = self.stream(prompt, [answer], turn)
        return last.verdict

    def check_row(self, row: Mapping[str, Any]) -> Verdict:
        """Judge a row's `prompt`, or its `answer` if it has one. Raises DataError for a row whose texts are no texts."""
        prompt, answer = row["prompt"], row.get("answer")
        if not isinstance(prompt, str) or not isinstance(answer, str | None):
            raise DataError("prompt and answer must be texts; mend that row")
        return self.check_input(prompt) if answer is None else self.check_output(prompt, answer)

    def stream(self, prompt: str, pieces: Iterable[str], turn: int = 0) -> Iterator[Released | Stopped]:
        """Yield checked text while a model writes it; after Stopped nothing comes and no further piece is taken."""
        verdict = None
        try:
            for event in checked(self, prompt, pieces):
                verdict = event.verdict
                yield event
        finally:
            # An answer that nobody read to its end, or that the engine broke off, is in the log as far as it came.
            if verdict is not None:
                self._record(verdict, turn)

    def judge_answer(self, prompt: str, excerpt: str) -> Verdict:
        """Return the worst of what the policy makes of an excerpt of an answer. Raises when it cannot be judged."""
        return worst(self._judge("output", excerpt, prompt[:_PROMPT]))

    def judge_pii(self, rail: Rail, findings: Sequence[Finding]) -> Verdict:
        """Return what the policy makes of personal data that were found, at least one."""
        action = self.rules.pii.input if rail == "input" else self.rules.pii.output
        message = self.rules.say(self.rules.pii.message) if action == "block" else ""
        span = (findings[0].start, findings[0].end)
        return Verdict(action, rail, PII, 1.0, span, message, hard=True, findings=tuple(findings))

    def refusal(self, rail: Rail, why: Exception) -> Verdict:
        """Return the verdict of a guard that could not judge; a text that it cannot read is no failure of its own."""
        unread = isinstance(why, UnreadableText)
        message = self._words(UNREAD) if unread else self._words("failed")
        return Verdict("block", rail, UNREAD if unread else None, message=message, failed=not unread, hard=True)

    def _words(self, name: str) -> str:
        for known in (name, "failed"):
            with contextlib.suppress(Exception):  # a policy made by hand may lack even this one
                return self.rules.say(known)
        return _LAST_WORD

    def published(self, verdict: Verdict) -> Verdict:
        """Return the verdict as it counts outside: in shadow mode everything passes, and the verdict says what would not."""
        if not self.rules.shadow or verdict.action == "allow":
            return verdict
        return replace(verdict, action="allow", would=verdict.action, message="")

    def _judge_input(self, text: str, context: Sequence[str]) -> Verdict:
        if len(text) > _LONGEST:
            raise GuardError("the text is too long to be checked whole; send it in smaller parts")
        if self._harmless.matches_whole(text):
            return Verdict("allow", "input")
        found = list(self._judge("input", text))
        if context:
            found += self._judge_joined(text, context)
        pii = () if self.rules.pii.input == "allow" else tuple(find_pii(text))
        if pii:
            found.append(self.judge_pii("input", pii))
        return replace(worst(found), findings=pii)

    def _judge_joined(self, text: str, context: Sequence[str]) -> Iterator[Verdict]:
        """Judge the text as the end of what the user said before, where a request may be split over turns.

        Thresholds are calibrated on texts that stand alone; this second look must not add its own false alarms, and an
        earlier turn that passed must not taint the next. So it counts only from the hard threshold on, and only where the
        new text takes part. A split request, joined, is as plain as an unsplit one.
        """
        before = "".join(turn[-_JOINED:] + "\n" for turn in context[-_TURNS:])
        for verdict in self._judge("input", before + text[:_JOINED]):
            start, end = verdict.span
            if verdict.blocked and verdict.hard and end > len(before):
                yield replace(verdict, span=(max(start - len(before), 0), end - len(before)))

    def _judge(self, rail: Rail, text: str, prompt: str | None = None) -> Iterator[Verdict]:
        """Yield what the policy makes of every window of every spelling of a text; `prompt` makes it an answer."""
        forms = self._spell(text)
        passages = [Passage(form.text) if prompt is None else Passage(prompt, form.text) for form in forms]
        for form, windows in zip(forms, self.classifier.score(passages), strict=True):
            if not windows:
                raise GuardError("a spelling of the text was not judged")
            if phrase := self._forbidden.first(form.text):
                yield self._weigh(rail, BLOCKLIST, 1.0, 0.0, form.span(*phrase))
            for window in windows:
                span = form.span(window.start, window.end) if window.end else (0, len(text))
                yield from self._judge_window(rail, window, span)

    def _judge_window(self, rail: Rail, window: Scores, span: tuple[int, int]) -> Iterator[Verdict]:
        """Yield what the policy makes of one window. That it refuses excuses nothing.

        A refusal score beside harm is what an answer looks like that refuses first and complies after; a plain refusal is
        for the classifier to score as harmless.
        """
        # A score that is no number is no proof of harmlessness.
        if not all(0 <= score <= 1 for score in (window.unsafe, window.jailbreak, window.refusal)):
            raise GuardError("the classifier gave what is no probability; train or install the guard again")
        calibrated = self.classifier.thresholds[rail][self.rules.level]
        yield self._weigh(rail, window.hazard, window.unsafe, calibrated[window.hazard], span)
        if rail == "input":  # an answer attacks no model
            attack = self._weigh(rail, JAILBREAK, window.jailbreak, calibrated[JAILBREAK], span)
            # What an allowed text scored is how harmful it is.
            yield from [attack] if attack.action != "allow" else []

    def _weigh(self, rail: Rail, category: str, score: float, calibrated: float, span: tuple[int, int]) -> Verdict:
        rule = self.rules.of(category)
        own = rule.input if rail == "input" else rule.output
        threshold = calibrated if own is None else own
        if not 0 <= threshold <= 1:
            raise GuardError("a threshold is no probability; mend the policy or train the guard again")
        if score < threshold or rule.action == "allow":
            return Verdict("allow", rail, score=score, span=span)
        hard = score >= threshold + self.rules.hard * (1 - threshold)
        message = "" if rule.action == "warn" else self.rules.say(rule.message)
        return Verdict(rule.action, rail, category, score, span, message, hard=hard)

    def _record(self, verdict: Verdict, turn: int) -> None:
        if self.audit is not None:
            self.audit.record(verdict, self.classifier.id, self.rules.id, turn)
