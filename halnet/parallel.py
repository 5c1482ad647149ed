"""Parallel work: several workers, with the results in the order of the items."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Yield the result for each item, in the order of the items, which a pool computes.

    At most `ahead` items are taken before their results are asked for, so that memory stays flat.
    An exception of `function` is raised in the place of the result, and an exception of `items`
    after the results of all items before it. When the iterator ends or is closed, the pool is shut
    down: workers finish the items that they have begun, and no others.
    """
    remaining = iter(items)
    under_way: deque[Future[Result]] = deque()
    failed: list[Exception] = []

    def begin(count: int) -> None:
        try:
            under_way.extend(pool.submit(function, item) for item in islice(remaining, count))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised below
            failed.append(error)

    try:
        begin(ahead)
        while under_way:
            yield under_way.popleft().result()
            if not failed:
                begin(1)
    finally:
        pool.shutdown(cancel_futures=True)
    if failed:
        raise failed[0]
