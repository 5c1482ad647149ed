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
    An exception of `function` is raised in the place of the result. When the iterator ends or is
    closed, the pool is shut down: workers finish the items that they have begun, and no others.
    """
    remaining = iter(items)
    under_way: deque[Future[Result]] = deque()
    try:
        under_way.extend(pool.submit(function, item) for item in islice(remaining, ahead))
        while under_way:
            yield under_way.popleft().result()
            under_way.extend(pool.submit(function, item) for item in islice(remaining, 1))
    finally:
        pool.shutdown(cancel_futures=True)
