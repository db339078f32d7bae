"""A local server that OpenAI's clients can talk to, with the guard on both rails, streamed or not.

One model answers one request at a time; some may wait, and one more is told to come back. Nothing that anybody wrote is
logged. It listens on this machine alone unless it is given a key.
"""

import hmac
import ipaddress
import json
import os
import socket
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ..core.errors import BreakfixError, UsageError
from ..core.progress import say
from . import forms
from .answers import FAILED, Answer, Busy, Left, Service
from .engine import ConversationTooLong, Sampling
from .patience import Patient

KEY = "BREAKFIX_API_KEY"
"""Environment variable that holds the key clients must send."""
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_BODY = 1_000_000
"""Bytes of a request that are read."""
_CONNECTIONS = 512
"""Connections and requests in work together; one more gets 503."""
_PATHS = ("/health", "/metrics", "/v1/models", "/v1/moderations", "/v1/chat/completions")


def create_app(service: Service, key: str = "", hosts: Sequence[str] = _LOCAL) -> FastAPI:
    """Return the application. `key`: what clients must send; `hosts`: names that it may be called by, or `*`."""
    silent: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
    app = FastAPI(
        title="Breakfix", openapi_url=None, docs_url=None, redoc_url=None, max_body_size=_BODY, telemetry=silent
    )  # fmt: skip
    # A page in a browser that was pointed here by a name of its own reads nothing.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    app.add_middleware(_Door, service=service, key=key)
    _handle_errors(app)

    @app.get("/health")
    async def health() -> Response:
        works = not service.guard.check_input("Good morning.").failed
        said = {"status": "ok" if works else "the guard fails", "model": service.engine.id, "guard": service.guard.id}
        return JSONResponse(said, 200 if works else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(service.numbers.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return forms.models(service.name)

    @app.get("/v1/models/{name}")
    async def model(name: str) -> Response:
        return _wrong_model(service, name) or JSONResponse(forms.model(service.name))

    @app.post("/v1/moderations")
    async def moderations(asked: forms.ModerationRequest, request: Request) -> Response:
        texts = asked.texts()
        if sum(map(len, texts)) > service.limits.characters:
            return JSONResponse(forms.error(f"the texts have more than {service.limits.characters} characters"), 400)
        found = await service.moderate(texts, request.is_disconnected)
        return JSONResponse(forms.moderation(f"modr-{uuid.uuid4().hex}", service.guard.id, found))

    @app.post("/v1/chat/completions")
    async def chat(asked: forms.ChatRequest, request: Request) -> Response:
        if problem := asked.problem():
            return JSONResponse(forms.error(problem), 400)
        if wrong := _wrong_model(service, asked.model or ""):
            return wrong
        messages = [each.message() for each in asked.messages]
        answer = await service.answer(messages, asked.stops(), _sampling(service, asked), request.is_disconnected)
        return await (_stream(service, asked, answer) if asked.stream else _whole(service, answer))

    return app


def serve(service: Service, host: str, port: int) -> None:
    """Serve until a signal comes; then answer what was accepted, for half a minute at most.

    Raises UsageError for an address that others can reach without a key, or that cannot be listened on.
    """
    key = os.environ.get(KEY, "").strip()
    local = host == "localhost" or _is_loopback(host)
    if not local and not key:
        raise UsageError(f"{host} can be reached from other machines; set {KEY}, or serve on 127.0.0.1")
    try:
        bound = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UsageError(f"{host} port {port} cannot be listened on ({error}); choose another --port") from error
    shown = f"[{host}]" if ":" in host else host
    app = create_app(service, key, [*_LOCAL, shown] if local else ["*"])
    say(f"{service.name} at http://{shown}:{port}/v1, {'with' if key else 'without'} a key; Ctrl-C ends")
    with bound:
        listener(app).run(sockets=[bound])


def listener(app: FastAPI, seconds_to_stop: int = 30) -> uvicorn.Server:
    """Return what carries an application: it keeps no log of requests and waits for slow ones for a while only."""
    return uvicorn.Server(
        uvicorn.Config(
            app, http=Patient, access_log=False, log_level="warning", timeout_graceful_shutdown=seconds_to_stop,
            limit_concurrency=_CONNECTIONS,
        )
    )  # fmt: skip


def _sampling(service: Service, asked: forms.ChatRequest) -> Sampling:
    most = min(asked.max_completion_tokens or asked.max_tokens or service.limits.tokens, service.limits.tokens)
    usual = Sampling()
    temperature = usual.temperature if asked.temperature is None else asked.temperature
    return Sampling(most, temperature, asked.top_p or usual.top_p, asked.seed or 0)


def _wrong_model(service: Service, name: str) -> Response | None:
    if name in ("", service.name):
        return None
    return JSONResponse(forms.error(f"there is no model {name[:64]} here, but {service.name}", code="model_not_found"), 404)


def _finish(answer: Answer) -> forms.Finish:
    return "content_filter" if answer.blocked is not None else "length" if answer.cut else "stop"


def _name() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"


async def _whole(service: Service, answer: Answer) -> Response:
    async with aclosing(answer.pieces()) as pieces:
        async for _ in pieces:
            pass
    return JSONResponse(forms.completion(_name(), service.name, answer.text, _finish(answer), answer.used, answer.noted))


async def _stream(service: Service, asked: forms.ChatRequest, answer: Answer) -> Response:
    pieces, name = answer.pieces(), _name()
    try:
        first = await anext(pieces, "")  # what fails before the first piece still has a status of its own
    except BaseException:
        await pieces.aclose()
        raise

    async def events() -> AsyncIterator[str]:
        try:
            yield _event(forms.chunk(name, service.name, first, first=True))
            async for piece in pieces:
                yield _event(forms.chunk(name, service.name, piece))
            yield _event(forms.last_chunk(name, service.name, _finish(answer), answer.noted, answer.taken_back))
            if (asked.stream_options or {}).get("include_usage"):
                yield _event(forms.usage_chunk(name, service.name, answer.used))
            yield "data: [DONE]\n\n"
        except BreakfixError as error:  # the head is sent; what can still be said is that the answer is not whole
            yield _event(forms.error(str(error), "server_error"))
        finally:
            await pieces.aclose()

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


class _Door:
    """Turns away who has no key and what is no JSON, and counts what was answered."""

    def __init__(self, app: ASGIApp, service: Service, key: str) -> None:
        self._app, self._service, self._key = app, service, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                path = scope["path"] if scope["path"] in _PATHS else "other"
                self._service.numbers.requests.labels(path, str(message["status"])).inc()
            await send(message)

        refused = self._refused(scope["method"], scope["path"], Headers(scope=scope))
        await (refused or self._app)(scope, receive, counted)

    def _refused(self, method: str, path: str, headers: Headers) -> Response | None:
        kind, _, given = headers.get("authorization", "").partition(" ")
        right = kind.lower() == "bearer" and hmac.compare_digest(given.encode("latin-1"), self._key.encode())
        if self._key and not right and path != "/health":
            return JSONResponse(forms.error("send the server's key as a bearer token", "authentication_error"), 401)
        # A page of another site may send forms and plain text unasked, but no JSON.
        if method == "POST" and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return JSONResponse(forms.error("send application/json"), 415)
        return None


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse(forms.error(f"{where}: {first['msg']}" if where else first["msg"]), 400)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        return JSONResponse(forms.error(str(error.detail)), error.status_code, error.headers)

    @app.exception_handler(Busy)
    async def busy(_: Request, __: Exception) -> Response:
        said = forms.error("too many requests are waiting; try again soon", "rate_limit_error")
        return JSONResponse(said, 429, {"Retry-After": "2"})

    @app.exception_handler(Left)
    async def left(_: Request, __: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it; it is counted

    @app.exception_handler(ConversationTooLong)
    async def long(_: Request, error: Exception) -> Response:
        return JSONResponse(forms.error(str(error), code="context_length_exceeded"), 400)

    @app.exception_handler(BreakfixError)
    async def failed(_: Request, error: Exception) -> Response:
        return JSONResponse(forms.error(str(error) or FAILED, "server_error"), 500)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
