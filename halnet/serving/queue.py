"""The queue: a bounded number of requests, whose work is done by a few threads."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from starlette.requests import ClientDisconnect, Request

from halnet.serving.refusal import Refusal

Result = TypeVar("Result")


class Place:
    """The place of one request in the queue, until its work has ended."""

    def __init__(self, pool: ThreadPoolExecutor, request: Request, seconds: float) -> None:
        self._pool, self._request, self._seconds = pool, request, seconds
        self._deadline = asyncio.get_running_loop().time() + seconds
        self.work: Future[Any] | None = None
        self._is_given_up = threading.Event()

    def check_waiting(self) -> None:
        """Raise ClientDisconnect if nobody waits for the result any more.

        The thread that works for the request calls this between two photos.
        """
        if self._is_given_up.is_set():
            raise ClientDisconnect

    async def read(self, reading: Awaitable[Result]) -> Result:
        """Return the body of the request, which `reading` reads. Raises Refusal if it is slow."""
        try:
            async with asyncio.timeout_at(self._deadline):
                return await reading
        except TimeoutError as error:
            raise Refusal(
                408, f"expected the whole request within {self._seconds:g} seconds, found a part"
            ) from error

    async def run(self, function: Callable[[Self], Result]) -> Result:
        """Return the result of a function, which a thread calls when it is free.

        Raises Refusal if it is not ready in time, and ClientDisconnect if nobody waits for it any
        more. What is running cannot be stopped, but what waits is taken out of the queue.
        """
        self.work = self._pool.submit(function, self)
        future = asyncio.wrap_future(self.work)
        future.add_done_callback(_retrieve)
        left = asyncio.ensure_future(self._wait_until_left())
        try:
            await asyncio.wait(
                {future, left},
                timeout=self._deadline - asyncio.get_running_loop().time(),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            left.cancel()
            if not future.done():
                self._is_given_up.set()
        if future.done():
            result: Result = future.result()
            return result
        future.cancel()
        if left.done() and not left.cancelled():
            raise ClientDisconnect
        raise Refusal(
            503,
            f"expected an answer within {self._seconds:g} seconds, found that it takes longer; "
            "send less at once, or later",
            {"Retry-After": "1"},
        )

    async def _wait_until_left(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass


class Queue:
    """A number of threads, and the requests that they work on or that wait for them.

    All of it is used in the thread of one event loop.
    """

    def __init__(self, workers: int, limit: int, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="halnet-serve")
        self._limit, self._seconds = limit, seconds
        self.count = 0  # requests that have a place

    @contextmanager
    def enter(self, request: Request) -> Iterator[Place]:
        """Yield a place for a request. It becomes free when the work of the request has ended.

        Raises Refusal if there is none.
        """
        if self.count >= self._limit:
            raise Refusal(
                429,
                f"expected at most {self._limit} requests at the same time, found more; send it "
                "again later",
                {"Retry-After": "1"},
            )
        self.count += 1
        place = Place(self._pool, request, self._seconds)
        try:
            yield place
        finally:
            work, loop = place.work, asyncio.get_running_loop()
            if work is None or work.done():
                self._leave()
            else:
                work.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave))

    def _leave(self) -> None:
        self.count -= 1

    def close(self) -> None:
        """Wait for the work that has begun."""
        self._pool.shutdown(cancel_futures=True)


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Take the error of a result that nobody waits for, so that asyncio does not report it."""
    if not future.cancelled():
        future.exception()
