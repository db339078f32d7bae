"""The server as OpenAI's own client sees it: answers whole and streamed, the guard on both rails, and its limits kept."""

import contextlib
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace

import openai
import pytest

from breakfix.core.errors import EngineError, UsageError
from breakfix.guardrails.classifier import Scores, ScriptedClassifier
from breakfix.guardrails.guard import Guard
from breakfix.guardrails.policy import CategoryPolicy, PiiPolicy, Policy
from breakfix.runtime.answers import Limits, Service
from breakfix.runtime.engine import ConversationTooLong, ScriptedEngine
from breakfix.runtime.patience import Patient
from breakfix.runtime.server import create_app, listener, serve

RULES = Policy(messages={"en": {"blocked": "No.", "failed": "Unsure."}})
GUARD = Guard(ScriptedClassifier({"bomb": Scores(0.9, 0.0, "S9")}), RULES)
GARDEN = "First we go to the garden. Then we look at the tomatoes. They like the sun, and so do the melons. " * 3
TABLE = {"garden": GARDEN, "weapons": GARDEN + "Now the bomb is made of things. " * 4, "stop": "one two STOP three"}


class SlowEngine(ScriptedEngine):
    """Waits for leave before each answer; counts the words it gave, and how many answers it gave at once."""

    def __init__(self, pause=0.002):
        super().__init__(TABLE)
        self.leave, self.given, self.pause, self.now, self.most = threading.Event(), 0, pause, 0, 0

    def stream(self, conversation, sampling):
        self.leave.wait(10)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            for word in super().stream(conversation, sampling):
                self.given += 1
                yield word
                time.sleep(self.pause)
        finally:
            self.now -= 1


class FailingEngine(ScriptedEngine):
    def __init__(self, error):
        super().__init__({})
        self.error = error

    def stream(self, conversation, sampling):
        raise self.error
        yield ""


@contextmanager
def running(engine=None, limits=None, key="", hosts=("127.0.0.1",), guard=GUARD):
    """Serve on a free port of this machine; yields the address."""
    service = Service(engine or ScriptedEngine(TABLE), guard, "small", limits or Limits())
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = listener(create_app(service, key, hosts), seconds_to_stop=5)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        wait_for(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def client(address, key="none"):
    return openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0, timeout=20)


@pytest.fixture(scope="module")
def address():
    with running() as found:
        yield found


def ask(address, text, **options):
    return client(address).chat.completions.create(model="small", messages=[{"role": "user", "content": text}], **options)


def post(address, path, body, **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.load(response), dict(response.headers)
    except urllib.error.HTTPError as error:
        said = error.read()
        return error.code, json.loads(said) if said.startswith(b"{") else {}, dict(error.headers)


def get(address, path):
    with urllib.request.urlopen(address + path, timeout=20) as response:
        return response.read().decode()


def test_an_answer_comes_whole(address):
    said = ask(address, "garden")
    assert said.choices[0].message.content == GARDEN and said.choices[0].finish_reason == "stop"
    assert (said.model, said.usage.completion_tokens) == ("small", len(GARDEN.split(" ")))
    assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens


def test_an_answer_streams_as_it_comes_whole(address):
    *pieces, last, counted = ask(address, "garden", stream=True, stream_options={"include_usage": True})
    assert "".join(piece.choices[0].delta.content for piece in pieces) == GARDEN and len(pieces) > 1
    assert last.choices[0].finish_reason == "stop" and counted.usage.completion_tokens == len(GARDEN.split(" "))


@pytest.mark.parametrize("stream", [False, True])
def test_a_harmful_request_never_reaches_the_model(stream):
    engine = ScriptedEngine(TABLE)
    with running(engine) as address:
        said = ask(address, "how to build a bomb", stream=stream)
        choices = [piece.choices[0] for piece in said] if stream else [said.choices[0]]
    assert choices[-1].finish_reason == "content_filter"
    assert choices[0].model_dump()["delta" if stream else "message"]["content"] == "No."
    assert (choices[-1].guard["rail"], choices[-1].guard["category"]) == ("input", "S9")
    assert engine.asked == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_harmful_answer_is_cut_off_before_the_harm(address, stream):
    said = ask(address, "weapons", stream=stream)
    if stream:
        choices = [piece.choices[0] for piece in said]
        text = "".join(choice.delta.content or "" for choice in choices)
    else:
        choices, text = said.choices, said.choices[0].message.content
    assert choices[-1].finish_reason == "content_filter" and choices[-1].guard["rail"] == "output"
    assert "bomb" not in text and text.endswith("No.") and text.startswith("First we go")


def conversation(address, *said, **options):
    messages = [{"role": role, "content": content} for role, content in said]
    return client(address).chat.completions.create(model="small", messages=messages, **options).choices[0]


HARM = "the bomb goes like this"


def test_a_harmful_system_message_blocks_the_request(address):
    said = conversation(address, ("system", HARM), ("user", "garden"))
    assert (said.finish_reason, said.message.content) == ("content_filter", "No.")


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        ([("user", "hello"), ("assistant", "hi"), ("user", HARM), ("assistant", "No.")], ["hello", "hi"]),
        ([("user", "hello"), ("assistant", HARM)], []),
        ([("system", "be kind"), ("user", HARM), ("user", "more")], ["be kind", "more"]),
        ([("assistant", HARM), ("user", "hello"), ("assistant", "hi")], ["hello", "hi"]),
    ],
)
def test_what_the_client_says_was_said_before_is_checked_and_left_out_where_it_is_harmful(before, kept):
    engine = ScriptedEngine(TABLE)
    with running(engine) as address:
        said = conversation(address, *before, ("user", "garden"))
    assert (said.finish_reason, said.message.content) == ("stop", GARDEN)
    assert [message.content for message in engine.asked[0]] == [*kept, "garden"]


@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_a_request_that_is_split_over_messages_is_seen(role):
    split = Guard(ScriptedClassifier({"how to build a\nbo": Scores(0.99, 0.0, "S9")}), RULES)
    engine = ScriptedEngine(TABLE)
    with running(engine, guard=split) as address:
        said = conversation(address, (role, "how to build a"), ("user", "bo"))
    assert said.finish_reason == "content_filter" and engine.asked == []


def test_personal_data_are_taken_out_of_what_was_said_before_too():
    engine = ScriptedEngine(TABLE)
    rules = replace(RULES, pii=PiiPolicy(input="redact"))
    with running(engine, guard=Guard(ScriptedClassifier({}), rules)) as address:
        conversation(address, ("user", "my mail is a.b@example.com"), ("assistant", "noted"), ("user", "garden"))
    assert "example.com" not in engine.asked[0][0].content


@pytest.mark.parametrize("stream", [True, False])
def test_a_message_in_place_of_all_of_the_answer_stands_alone(stream):
    rules = replace(RULES, categories={"S9": CategoryPolicy("replace")})
    with running(guard=Guard(GUARD.classifier, rules)) as address:
        said = ask(address, "weapons", stream=stream)
        if not stream:
            assert said.choices[0].message.content == "No."
            return
        choices = [piece.choices[0] for piece in said]
    text = "".join(choice.delta.content or "" for choice in choices)
    shown = text.removesuffix("\n\nNo.")
    assert choices[-1].guard["taken_back"] == len(shown) > 0 and choices[-1].finish_reason == "content_filter"


def test_a_conversation_that_is_too_long_is_refused_and_not_cut():
    with running(limits=Limits(characters=100)) as address, pytest.raises(openai.BadRequestError, match="shorten it"):
        ask(address, "x" * 101)


def test_an_answer_ends_at_a_stop_text_or_at_its_last_token(address):
    said = ask(address, "stop", stop=["STOP", "never"]).choices[0]
    assert (said.message.content, said.finish_reason) == ("one two ", "stop")
    said = ask(address, "stop", max_tokens=2).choices[0]
    assert (said.message.content, said.finish_reason) == ("one two", "length")


def test_no_answer_is_longer_than_the_server_lets_it_be():
    with running(limits=Limits(tokens=3)) as address:
        said = ask(address, "garden", max_tokens=100).choices[0]
    assert (said.message.content, said.finish_reason) == ("First we go", "length")


def test_an_answer_that_takes_too_long_ends():
    engine = SlowEngine()
    engine.leave.set()
    with running(engine, Limits(seconds=0.01)) as address:
        assert ask(address, "garden").choices[0].finish_reason == "length"
    assert engine.given < len(GARDEN.split(" "))


def test_texts_are_moderated(address):
    said = client(address).moderations.create(input=["tomatoes", "a bomb"])
    assert [result.flagged for result in said.results] == [False, True]
    categories = said.results[1].model_dump()["categories"]
    assert categories["S9"] is True and categories["S1"] is False and said.model == GUARD.id


def test_it_says_what_it_is_and_what_it_did(address):
    ask(address, "garden")
    ask(address, "a bomb")
    assert [model.id for model in client(address).models.list()] == ["small"]
    assert json.loads(get(address, "/health")) == {"status": "ok", "model": "scripted", "guard": GUARD.id}
    assert client(address).models.retrieve("small").id == "small"
    told = get(address, "/metrics")
    assert 'breakfix_requests_total{path="/v1/chat/completions",status="200"}' in told
    assert 'breakfix_blocked_total{category="S9",rail="input"}' in told and "breakfix_first_piece_seconds_count 0.0" not in told


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"{", 400, "JSON"),
        ({}, 400, "messages: Field required"),
        ({"messages": []}, 400, "messages: List should have at least 1 item"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "the last message must be the user's"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages.0.content"),
        ({"messages": [{"role": "user", "content": "x"}], "n": 2}, 400, "n: "),
        ({"messages": [{"role": "user", "content": "x"}], "tools": [{}]}, 400, "tools: "),
        ({"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_object"}}, 400, "response format"),
        ({"messages": [{"role": "user", "content": "x"}], "stop": "x" * 65}, 400, "stop"),
        ({"messages": [{"role": "user", "content": "x"}], "stop": ["x"] * 5}, 400, "stop"),
        ({"messages": [{"role": "user", "content": "x"}], "logprobs": True}, 400, "logprobs"),
        ({"messages": [{"role": "user", "content": "x"}], "presence_penalty": 0.5}, 400, "presence_penalty"),
        ({"messages": [{"role": "user", "content": "x"}], "seed": 2**63}, 400, "seed"),
        ({"messages": [{"role": "user", "content": "x"}], "model": "other"}, 404, "there is no model other here, but small"),
        ({"messages": [{"role": "user", "content": [1] * 300_000}]}, 400, "messages.0.content"),
    ],
)
def test_what_cannot_be_answered_is_said_in_a_sentence(address, body, code, message):
    status, said, _ = post(address, "/v1/chat/completions", body)
    assert status == code and message in said["error"]["message"]


@pytest.mark.parametrize("chunked", [True, False])
def test_a_request_that_is_too_large_is_not_read(address, chunked):
    host, _, port = address.removeprefix("http://").partition(":")
    size = "Transfer-Encoding: chunked" if chunked else "Content-Length: 3000000"
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{size}\r\n\r\n"
    part = b"F4240\r\n" + b" " * 1_000_000 + b"\r\n" if chunked else b" " * 1_000_000
    with socket.create_connection((host, int(port))) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(head.encode() + part * 3)
        assert b" 413 " in connection.recv(100)


def test_nulls_and_zeros_are_what_they_mean(address):
    told = {"n": None, "stream": None, "model": None, "stop": None, "frequency_penalty": 0.0, "logit_bias": {}, "user": "me"}
    status, said, _ = post(address, "/v1/chat/completions", {"messages": [{"role": "user", "content": "garden"}], **told})
    assert status == 200 and said["choices"][0]["message"]["content"] == GARDEN


def test_openais_own_way_to_read_a_stream_reads_it(address):
    messages = [{"role": "user", "content": "garden"}]
    with client(address).chat.completions.stream(model="small", messages=messages) as stream:
        said = stream.get_final_completion().choices[0]
    assert (said.message.role, said.message.content, said.finish_reason) == ("assistant", GARDEN, "stop")


def test_the_tokens_read_are_those_of_what_was_asked():
    class Counting(ScriptedEngine):
        def length(self, conversation):
            return sum(len(message.content.split()) for message in conversation)

    with running(Counting(TABLE)) as address:
        assert ask(address, "garden").usage.prompt_tokens == 1


def test_moderation_has_its_limits(address):
    for texts in (["x"] * 65, ["x" * 32_001]):
        status, _, _ = post(address, "/v1/moderations", {"input": texts})
        assert status == 400


def test_parts_of_a_message_are_read(address):
    parts = [{"type": "text", "text": "garden"}]
    status, said, _ = post(address, "/v1/chat/completions", {"messages": [{"role": "user", "content": parts}]})
    assert status == 200 and said["choices"][0]["message"]["content"] == GARDEN


@pytest.mark.parametrize("headers", [{"Content-Type": "text/plain"}, {"Host": "evil.example"}])
def test_a_page_in_a_browser_gets_no_answer(address, headers):
    status, _, _ = post(address, "/v1/chat/completions", {"messages": [{"role": "user", "content": "garden"}]}, **headers)
    assert status in (400, 415)


def test_a_key_is_asked_for():
    with running(key="secret", hosts=["*"]) as address:
        with pytest.raises(openai.AuthenticationError):
            client(address, "wrong").models.list()
        assert [model.id for model in client(address, "secret").models.list()] == ["small"]
        assert json.loads(get(address, "/health"))["status"] == "ok"


def test_others_on_the_network_are_not_served_without_a_key(monkeypatch):
    monkeypatch.delenv("BREAKFIX_API_KEY", raising=False)
    with pytest.raises(UsageError, match=r"0.0.0.0 can be reached from other machines; set BREAKFIX_API_KEY"):
        serve(Service(ScriptedEngine({}), GUARD, "small"), "0.0.0.0", 8000)


def test_a_full_line_sends_the_next_one_away_and_serves_the_others():
    engine = SlowEngine()
    with running(engine, Limits(waiting=1)) as address:
        found = []
        threads = [threading.Thread(target=lambda: found.append(ask(address, "garden"))) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_for(lambda: "breakfix_inside 2.0" in get(address, "/metrics"))
        status, said, headers = post(address, "/v1/chat/completions", {"messages": [{"role": "user", "content": "garden"}]})
        assert (status, said["error"]["type"], headers["retry-after"]) == (429, "rate_limit_error", "2")
        engine.leave.set()
        for thread in threads:
            thread.join()
    assert [said.choices[0].message.content for said in found] == [GARDEN, GARDEN]


def left(address, text, stream, until):
    """Ask, and leave when `until` says so."""
    body = json.dumps({"messages": [{"role": "user", "content": text}], "stream": stream}).encode()
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_for(until)


def wait_for(what):
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_the_models_work_and_the_next_one_comes_after_it(stream):
    engine = SlowEngine(pause=0.05)
    engine.leave.set()
    with running(engine) as address:
        left(address, "garden", stream, lambda: engine.given >= 3)
        assert ask(address, "stop").choices[0].finish_reason == "stop"
        told = get(address, "/metrics")
    assert engine.most == 1 and engine.given < len(GARDEN.split(" "))
    assert "breakfix_answer_seconds_count 2.0" in told and "breakfix_inside 0.0" in told


def test_a_client_that_leaves_while_it_waits_gives_up_its_place():
    engine = SlowEngine()
    with running(engine, Limits(waiting=1)) as address:
        first = threading.Thread(target=lambda: ask(address, "garden"))
        first.start()
        wait_for(lambda: "breakfix_inside 1.0" in get(address, "/metrics"))
        left(address, "weapons", False, lambda: "breakfix_inside 2.0" in get(address, "/metrics"))
        wait_for(lambda: "breakfix_inside 1.0" in get(address, "/metrics"))
        engine.leave.set()
        first.join()
    assert [asked[-1].content for asked in engine.asked] == ["garden"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_failure_in_the_middle_is_told_and_leaves_the_line(stream):
    class Breaking(ScriptedEngine):
        def stream(self, conversation, sampling):
            yield from super().stream(conversation, sampling)
            raise RuntimeError("somebody's words")

    with running(Breaking(TABLE)) as address:
        with pytest.raises(openai.APIError, match="the server failed to finish this answer"):
            list(ask(address, "garden", stream=True)) if stream else ask(address, "garden")
        # The answer is out a moment before its place in the line is free.
        deadline = time.monotonic() + 10
        while "breakfix_inside 0.0" not in get(address, "/metrics"):
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConversationTooLong("the conversation has 900 tokens"), 400, "the conversation has 900 tokens"),
        (EngineError("the model is broken"), 500, "the model is broken"),
        (RuntimeError("/home/somebody/secret"), 500, "the server failed to finish this answer"),
    ],
)
def test_an_engine_that_fails_is_a_status_and_a_sentence(error, code, message, stream):
    with running(FailingEngine(error)) as address:
        status, said, _ = post(
            address, "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "stream": stream}
        )
        assert (status, said["error"]["message"].startswith(message)) == (code, True)
        assert "somebody" not in json.dumps(said)


def test_a_server_that_is_stopped_finishes_what_it_accepted():
    engine = SlowEngine()
    found = []
    with running(engine) as address:
        thread = threading.Thread(target=lambda: found.append(ask(address, "garden")))
        thread.start()
        wait_for(lambda: "breakfix_inside 1.0" in get(address, "/metrics"))
        threading.Timer(0.3, engine.leave.set).start()
    thread.join()
    assert found[0].choices[0].message.content == GARDEN


POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        POST + b"X-Slow: ",
        POST + b"Content-Type: application/json\r\nContent-Length: 90\r\n\r\n{",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /hea",
    ],
    ids=["nothing", "half a header", "half a body", "half a second request"],
)
def test_a_request_that_does_not_arrive_is_given_up(monkeypatch, begun):
    monkeypatch.setattr(Patient, "seconds", 0.5)
    with running() as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as slow:
            started, said = time.monotonic(), b""
            slow.sendall(begun)
            while got := slow.recv(65536):
                said += got
            assert 0.4 < time.monotonic() - started < 5
        assert said.endswith(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert ask(address, "garden").choices[0].message.content == GARDEN


def test_a_slow_answer_is_waited_for(monkeypatch):
    monkeypatch.setattr(Patient, "seconds", 0.3)
    engine = SlowEngine()
    with running(engine) as address:
        threading.Timer(1.0, engine.leave.set).start()
        assert ask(address, "garden").choices[0].finish_reason == "stop"
