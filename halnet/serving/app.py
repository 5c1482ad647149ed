"""The addresses of the server, and how errors become answers."""

from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from halnet.batches import FaceSelection
from halnet.errors import ConfigError, DetectorError, ImageError
from halnet.runtimes.inference_protocol import HEADER_LENGTH, ProtocolError
from halnet.runtimes.remote import MODEL_NAME
from halnet.serving.bodies import read_body, read_photos
from halnet.serving.config import ServeConfig
from halnet.serving.docs_page import make_page
from halnet.serving.gate import Gate
from halnet.serving.metrics import Metrics
from halnet.serving.openapi import make_document
from halnet.serving.options import CHECK_OPTIONS, PREDICT_OPTIONS, read_options
from halnet.serving.queue import Queue
from halnet.serving.refusal import Refusal
from halnet.serving.service import MODEL_VERSION, SERVER, Service

STATUSES: dict[type[Exception], int] = {  # of errors that a request causes
    ImageError: 422,
    DetectorError: 422,
    ConfigError: 400,
    ProtocolError: 400,
}
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
            middleware=[
                Middleware(
                    partial(Gate, state=self, key=config.api_key, seconds=config.limits.seconds)
                )
            ],
            exception_handlers=dict.fromkeys(ANSWERED, _answer_error),
        )
        self.asgi.router.redirect_slashes = False  # the host of a redirection is what a client says

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
