"""The addresses of the server, and what stands before all of them: the API key and the counting."""

import asyncio
import hmac
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from halnet.batches import FaceSelection
from halnet.errors import ConfigError, DetectorError, ImageError
from halnet.runtimes.inference_protocol import HEADER_LENGTH, ProtocolError
from halnet.runtimes.remote import MODEL_NAME
from halnet.serving.bodies import read_body, read_photos
from halnet.serving.config import ServeConfig
from halnet.serving.docs_page import make_page
from halnet.serving.metrics import Metrics
from halnet.serving.openapi import make_document
from halnet.serving.options import CHECK_OPTIONS, PREDICT_OPTIONS, read_options
from halnet.serving.queue import Queue
from halnet.serving.refusal import Refusal
from halnet.serving.service import MODEL_VERSION, SERVER, Service

# Whoever watches the server, or reads how it is used, needs no key.
OPEN = ("/", "/health", "/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json")
STATUSES: dict[type[Exception], int] = {  # of errors that a request causes
    ImageError: 422,
    DetectorError: 422,
    ConfigError: 400,
    ProtocolError: 400,
}
# After a refusal, the rest of a request is read and thrown away for so long. Many clients look at
# the answer only when they have sent everything, and do not see it if the connection ends earlier.
DISCARD_SECONDS = 3.0
CLIENT_LEFT = 499  # status that is counted for a client that did not wait; nobody gets it


class App:
    """The server as an ASGI application, with the state that its requests share."""

    def __init__(self, config: ServeConfig, service: Service, metrics: Metrics) -> None:
        self._config, self._service, self._metrics = config, service, metrics
        self.queue = Queue(service.workers, config.limits.requests, config.limits.seconds)
        self.is_draining = False  # True: it will end soon, and connections are not kept
        metrics.queue.set_function(lambda: self.queue.count)
        self._document = make_document(config.limits)
        self._page = make_page(self._document)
        model = "/v2/models/{name}"
        handlers: dict[tuple[str, str], Callable[..., Any]] = {
            ("POST", "/predict"): self.predict,
            ("POST", "/check"): self.check,
            ("GET", "/health"): self.health,
            ("GET", "/info"): self.info,
            ("GET", "/metrics"): self.metrics,
            ("GET", "/openapi.json"): self.openapi,
            ("GET", "/docs"): self.docs,
            ("GET", "/"): self.docs,
            ("GET", "/v2"): self.server,
            ("GET", "/v2/health/live"): self.live,
            ("GET", "/v2/health/ready"): self.ready,
            ("GET", model): self.model,
            ("GET", f"{model}/ready"): self.model_ready,
            ("POST", f"{model}/infer"): self.infer,
            ("GET", f"{model}/versions/{{version}}"): self.model,
            ("GET", f"{model}/versions/{{version}}/ready"): self.model_ready,
            ("POST", f"{model}/versions/{{version}}/infer"): self.infer,
        }
        self.asgi = Starlette(
            routes=[Route(path, run, methods=[verb]) for (verb, path), run in handlers.items()],
            middleware=[Middleware(partial(_Gate, state=self, key=config.api_key))],
            exception_handlers=dict.fromkeys(ANSWERED, _answer_error),
        )

    async def predict(self, request: Request) -> Response:
        """Answer the faces of photos with their ages."""
        values = read_options(request.query_params, PREDICT_OPTIONS)
        is_largest = values.pop("faces", "all") == "largest"
        selection = FaceSelection(largest=is_largest, **values)
        with self.queue.enter(request) as place:
            sent = await place.read(read_photos(request, self._config.limits))
            return JSONResponse(await place.run(partial(self._service.predict, sent, selection)))

    async def check(self, request: Request) -> Response:
        """Answer the check of one person."""
        policy = read_options(request.query_params, CHECK_OPTIONS)
        with self.queue.enter(request) as place:
            sent = await place.read(read_photos(request, self._config.limits))
            return JSONResponse(await place.run(partial(self._service.check, sent, policy)))

    async def infer(self, request: Request) -> Response:
        """Answer the outputs of the model for crops."""
        _check_model(request)
        with self.queue.enter(request) as place:
            body = await place.read(read_body(request, self._config.limits.bytes))
            length = request.headers.get(HEADER_LENGTH)
            body, size = await place.run(partial(self._service.infer, body, length))
        if size is None:
            return Response(body, media_type="application/json")
        return Response(
            body, headers={HEADER_LENGTH: str(size)}, media_type="application/octet-stream"
        )

    async def health(self, request: Request) -> Response:
        """Answer that the server works, or that it is about to end."""
        status = "ending" if self.is_draining else "ok"
        return JSONResponse({"status": status}, 503 if self.is_draining else 200)

    async def info(self, request: Request) -> Response:
        """Answer which model runs, and how."""
        return JSONResponse(self._service.info)

    async def metrics(self, request: Request) -> Response:
        """Answer what was counted."""
        return PlainTextResponse(self._metrics.to_text(), media_type="text/plain; version=0.0.4")

    async def openapi(self, request: Request) -> Response:
        """Answer the OpenAPI document."""
        return JSONResponse(self._document)

    async def docs(self, request: Request) -> Response:
        """Answer the page that shows the OpenAPI document."""
        return HTMLResponse(self._page)

    async def server(self, request: Request) -> Response:
        """Answer the name of this server and the extensions that it has."""
        return JSONResponse(SERVER)

    async def live(self, request: Request) -> Response:
        """Answer that the server runs."""
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> Response:
        """Answer whether the server should get requests."""
        return JSONResponse({"ready": not self.is_draining}, 503 if self.is_draining else 200)

    async def model_ready(self, request: Request) -> Response:
        """Answer whether the model should get requests."""
        _check_model(request)
        is_ready = not self.is_draining
        return JSONResponse({"name": MODEL_NAME, "ready": is_ready}, 200 if is_ready else 503)

    async def model(self, request: Request) -> Response:
        """Answer the inputs, outputs and metadata of the model."""
        _check_model(request)
        return JSONResponse(self._service.describe_model())

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request. Addresses that do not exist are counted together."""
        run = scope.get("endpoint")
        endpoint = getattr(run, "__name__", "none")
        self._metrics.requests.labels(endpoint, status).inc()
        if status < 400:
            self._metrics.seconds.labels(endpoint).observe(seconds)


class _Gate:
    """What every request passes: it checks the API key, counts, and ends connections at the end."""

    def __init__(self, app: ASGIApp, state: App, key: str | None) -> None:
        self._app, self._state = app, state
        self._key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start, status = time.perf_counter(), 500
        lengths = {b"content-length", b"transfer-encoding"} & {name for name, _ in scope["headers"]}
        is_whole = not lengths  # whether the request has come to its end

        async def take() -> Message:
            nonlocal is_whole
            message = await receive()
            is_whole = not message.get("more_body", False)
            return message

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._state.is_draining or not is_whole:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            elif not is_whole:
                await send({**message, "more_body": True})  # the client has the whole answer now
                with suppress(TimeoutError):
                    async with asyncio.timeout(DISCARD_SECONDS):
                        while not is_whole:
                            await take()
                message = {"type": "http.response.body"}
            await send(message)

        try:
            app = self._app if self._is_allowed(scope) else _REFUSE_KEY
            if len(lengths) > 1:
                app = _REFUSE_LENGTHS
            await app(scope, take, watch)
        finally:
            self._state.count(scope, status, time.perf_counter() - start)

    def _is_allowed(self, scope: Scope) -> bool:
        if self._key is None or scope["path"] in OPEN:
            return True
        kind, _, given = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(given, self._key)


_REFUSE_KEY = Refusal(
    401,
    "API key: expected the header Authorization: Bearer KEY with the key of the server, found "
    "another one or none",
    {"WWW-Authenticate": "Bearer"},
).to_response()


# A server before this one may take the other of the two lengths, and the rest for a new request.
_REFUSE_LENGTHS = Refusal(
    400,
    "request: expected Content-Length or Transfer-Encoding, found both; send one of them",
).to_response()


def _check_model(request: Request) -> None:
    """Raise Refusal unless the model of an address is the one that is served."""
    named = request.path_params
    if named["name"] != MODEL_NAME or named.get("version", MODEL_VERSION) != MODEL_VERSION:
        raise Refusal(
            404,
            f"model: expected {MODEL_NAME}, version {MODEL_VERSION}, found {named['name'][:100]}, "
            f"version {named.get('version', MODEL_VERSION)[:100]}",
        )


ANSWERED: tuple[type[Exception], ...] = (
    *(Refusal, HTTPException, ClientDisconnect, *STATUSES, Exception),
)


def _answer_error(request: Request, error: Exception) -> Response:
    """Answer an error of a request. One of the program is not shown, and is logged by uvicorn."""
    if isinstance(error, Refusal):
        return error.to_response()
    if isinstance(error, HTTPException):  # an address or a method that does not exist
        path = request.url.path[:100]
        text = f"{request.method} {path}: {error.detail}; /docs lists the addresses"
        return Refusal(error.status_code, text, error.headers).to_response()
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_LEFT)
    for kind, status in STATUSES.items():
        if isinstance(error, kind):
            return Refusal(status, str(error)).to_response()
    return Refusal(500, "the server failed; its log states the reason").to_response()
