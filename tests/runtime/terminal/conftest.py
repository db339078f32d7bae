import pytest

from breakfix.guardrails.classifier import Scores, ScriptedClassifier
from breakfix.guardrails.guard import Guard
from breakfix.guardrails.policy import CategoryPolicy, Policy
from breakfix.runtime.engine import Sampling, ScriptedEngine
from breakfix.runtime.session import Session
from breakfix.runtime.terminal.chat import Chat
from breakfix.runtime.terminal.commands import COMMANDS
from breakfix.runtime.terminal.display import Plain

RULES = Policy(messages={"en": {"blocked": "No.", "failed": "Unsure."}}, categories={"S6": CategoryPolicy(action="warn")})
HARM = {"bomb": Scores(0.93, 0.0, "S9"), "pills": Scores(0.6, 0.0, "S6")}


@pytest.fixture
def chat():
    """A function that makes a chat of scripted answers behind a scripted guard."""

    def make(answers, phrases=HARM, *, classifier=ScriptedClassifier, display=None, system=None, guarded=True):
        engine = ScriptedEngine(answers) if not hasattr(answers, "stream") else answers
        guard = Guard(classifier(phrases), RULES) if guarded else None
        return Chat(Session(engine, guard, Sampling(), system), display or Plain(), lambda name: Guard(classifier({}), RULES))

    return make


@pytest.fixture
def typed(capsys):
    """A function that types lines into a chat, commands on, and returns what it said on standard output and error."""

    def run(talk, *lines):
        talk.run(lines, COMMANDS)
        return capsys.readouterr()

    return run
