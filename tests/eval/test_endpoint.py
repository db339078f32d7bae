"""An endpoint as an engine: asked as clients ask, in order, again where it was busy, and its failures in a sentence."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from breakfix.core.errors import EngineError, UsageError
from breakfix.eval import endpoint
from breakfix.eval.endpoint import EndpointEngine
from breakfix.eval.judge import ActJudge
from breakfix.runtime.engine import ConversationTooLong, Message, Sampling


class Server(ThreadingHTTPServer):
    """A server that says the question backwards; what it was asked stands in `asked`."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.models, self.answers = [], ["parrot"], []
        self.address = f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        self._say(200, {"data": [{"id": name} for name in self.server.models]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers.get("Authorization"), body))
        if self.server.answers:
            self._say(*self.server.answers.pop(0))
            return
        self._say(200, {"choices": [{"message": {"content": body["messages"][-1]["content"][::-1]}}]})

    def _say(self, code, body, headers=()):
        said = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()


def chats(*texts):
    return [[Message("user", text)] for text in texts]


def engine(server, model="#parrot"):
    return EndpointEngine(server.address + model, pause=0.01)


def test_answers_come_in_the_order_asked(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    texts = [f"question {n}" for n in range(30)]
    assert engine(server).generate(chats(*texts), Sampling(max_new_tokens=7)) == [text[::-1] for text in texts]
    path, key, body = server.asked[0]
    assert (path, key) == ("/v1/chat/completions", "Bearer secret")
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("parrot", 7, 0.0) and "top_p" not in body


def test_its_id_is_where_and_what_it_is(server):
    assert engine(server, "").id == engine(server).id == f"parrot@{server.address}"
    server.models = ["a", "b"]
    with pytest.raises(UsageError, match=r"has the models a, b; write http://.*#MODEL"):
        engine(server, "")


@pytest.mark.parametrize("code", [429, 503])
def test_a_busy_server_is_asked_again(server, code):
    server.answers = [(code, {}), (code, {})]
    assert engine(server).generate(chats("ab"), Sampling()) == ["ba"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((401, {}), "answers 401 Unauthorized; set OPENAI_API_KEY"),
        ((404, {}), "answers 404 Not Found; check the address"),
        ((200, b"<html>"), "answers with what is no JSON"),
        ((200, {"choices": []}), "answers in a form that is no chat completion"),
        (
            (422, {"error": {"message": "what was asked", "code": "bad_field"}}),
            r"answers 422 Unprocess\w+ \w+ \(bad_field\); look into",
        ),
        ((200, b"[" * 100_000), "answers with what is no JSON"),
        ((200, b" " * ((8 << 20) + 1)), "answers with more than 8 MB"),
        ((413, {}), "a conversation is too long for parrot"),
        ((400, {"error": {"code": "context_length_exceeded"}}), "a conversation is too long for parrot"),
        ((400, {"error": {"message": "This model's maximum context length is 9 tokens."}}), "a conversation is too long"),
        ((200, {"choices": [{"message": {"content": [{"type": "text"}]}}]}), "answers with what is no text"),
        ((200, [1]), "answers in a form that is no chat completion"),
    ],
)
def test_what_is_no_answer_is_an_error_in_a_sentence(server, answer, message):
    server.answers = [answer]
    with pytest.raises(EngineError, match=message) as told:
        engine(server).generate(chats("ab"), Sampling())
    assert "what was asked" not in str(told.value)
    assert isinstance(told.value, ConversationTooLong) == ("too long" in message)


def test_half_a_character_becomes_a_whole_one(server):
    server.answers = [(200, b'{"choices": [{"message": {"content": "a\\ud800b"}}]}')]
    assert engine(server).generate(chats("ab"), Sampling()) == ["a?b"]


def test_a_busy_server_is_waited_for_as_it_asks(server, monkeypatch):
    slept = []
    monkeypatch.setattr(endpoint.time, "sleep", slept.append)
    server.answers = [(429, {}, {"Retry-After": "7"})] * 6
    assert engine(server).generate(chats("ab"), Sampling()) == ["ba"] and slept == [7.0] * 6


def test_a_server_that_stays_broken_is_given_up(server):
    server.answers = [(500, {})] * 4
    with pytest.raises(EngineError, match=r"answers 500 .*; look into the server's log"):
        engine(server).generate(chats("ab"), Sampling())


def test_an_empty_answer_is_empty_and_a_refusal_field_is_an_answer(server):
    server.answers = [(200, {"choices": [{"message": {"content": None}}]})]
    assert engine(server).generate(chats("ab"), Sampling()) == [""]
    server.answers = [(200, {"choices": [{"message": {"content": None, "refusal": "No."}}]})]
    assert engine(server).generate(chats("ab"), Sampling()) == ["No."]


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"choices": [{"message": {"content": "Dabei kann ich nicht helfen."}, "finish_reason": "content_filter"}]}),
        (400, {"error": {"code": "content_filter", "message": "policy"}}),
    ],
)
def test_what_the_servers_filter_ended_is_a_refusal(server, answer):
    server.answers = [answer]
    (said,) = engine(server).generate(chats("ab"), Sampling())
    assert ActJudge().judge("ab", said).outcome == "refused"


def test_a_guard_that_fails_behind_the_endpoint_measures_nothing(server):
    choice = {"message": {"content": "Unsure."}, "finish_reason": "content_filter", "guard": {"failed": True}}
    server.answers = [(200, {"choices": [choice]})]
    with pytest.raises(EngineError, match=r"the guard of .* fails, so its answers say nothing"):
        engine(server).generate(chats("ab"), Sampling())


def test_the_key_follows_nobody_elsewhere(server):
    server.answers = [(302, {}, {"Location": "http://127.0.0.1:9/v1"})]
    with pytest.raises(EngineError, match=r"redirects to http://127.0.0.1:9/v1; write that address"):
        engine(server).generate(chats("ab"), Sampling())


@pytest.mark.parametrize("address", ["http://[::1/v1#x", "http://h:x/v1#x", "http://user:word@host/v1#x", "http:///v1#x"])
def test_an_address_that_cannot_be_is_refused(address):
    with pytest.raises(UsageError, match="is no endpoint"):
        EndpointEngine(address)


def test_nobody_there_is_said(server):
    with pytest.raises(EngineError, match=r"does not answer .*; check that the server runs"):
        EndpointEngine("http://127.0.0.1:9/v1#x", pause=0.001).generate(chats("ab"), Sampling())


def test_an_address_that_is_none_is_refused():
    with pytest.raises(UsageError, match="is no endpoint; write http://HOST:PORT/v1#MODEL"):
        EndpointEngine("ftp://host/v1#x")
