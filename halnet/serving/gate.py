"""The gate: what every request passes before an address answers it, and on its way back."""

import asyncio
import hmac
import re
import time
from contextlib import suppress
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from halnet.serving.refusal import Refusal

# Whoever watches the server, or reads how it is used, needs no key.
OPEN = ("/", "/health", "/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json")
# The address in a request of a client that takes this server for a proxy (RFC 9112, section 3.2.2).
COMPLETE = re.compile(r"https?://[^/]*(/.*)?", re.IGNORECASE | re.DOTALL)
# Before the answer to a request that is refused, so many seconds are given to the rest of it: a
# small request has come by then, and its connection can be kept.
SOON_SECONDS = 0.05
# After the answer, the rest of a larger one is thrown away until nothing comes for so long. Many
# clients look at the answer only when they have sent everything, and do not see it if the
# connection ends earlier.
IDLE_SECONDS = 3.0


class State(Protocol):
    """What the gate needs of the server."""

    is_draining: bool  # True: the server will end soon, and connections are not kept

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request that was answered."""


class Gate:
    """Checks the API key, counts, and sees that clients get the answers to refused requests.

    `seconds` is the time that a request may take to come.
    """

    def __init__(self, app: ASGIApp, state: State, key: str | None, seconds: float) -> None:
        self._app, self._state, self._seconds = app, state, seconds
        self._key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer why not."""
        start, status = time.perf_counter(), 500
        if complete := COMPLETE.fullmatch(scope["path"]):
            scope["path"] = complete[1] or "/"
        request = _Incoming(scope, receive)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if not request.waits:  # the client sends the rest only if it is asked to
                    await request.discard(SOON_SECONDS, SOON_SECONDS)
                if self._state.is_draining or not request.is_whole or request.has_two_lengths:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            elif not request.is_whole:
                await send({**message, "more_body": True})  # the client has the whole answer now
                total = IDLE_SECONDS if self._state.is_draining else self._seconds
                await request.discard(IDLE_SECONDS, total)
                message = {"type": "http.response.body"}
            await send(message)

        try:
            app = self._app if self._is_allowed(scope) else _REFUSE_KEY
            if request.has_two_lengths:
                app = _REFUSE_LENGTHS
            await app(scope, request.receive, answer)
        finally:
            self._state.count(scope, status, time.perf_counter() - start)

    def _is_allowed(self, scope: Scope) -> bool:
        if self._key is None or scope["path"] in OPEN:
            return True
        kind, _, given = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(given, self._key)


class _Incoming:
    """A request while it comes."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers, self._receive = dict(scope["headers"]), receive
        in_chunks = b"transfer-encoding" in headers
        self.has_two_lengths = in_chunks and b"content-length" in headers
        self.is_whole = not in_chunks and not headers.get(b"content-length", b"0").strip(b"0 ")
        self.waits = b"expect" in headers  # for the status 100, before it sends its body

    async def receive(self) -> Message:
        """Return the next part."""
        message = await self._receive()
        self.is_whole = not message.get("more_body", False)
        return message

    async def discard(self, idle: float, total: float) -> None:
        """Throw the rest away, until nothing comes for `idle` seconds, or after `total` ones."""
        with suppress(TimeoutError):
            async with asyncio.timeout(total):
                while not self.is_whole:
                    async with asyncio.timeout(idle):
                        await self.receive()


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
