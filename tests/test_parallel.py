"""Work of several threads: its order, its limits and its end."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from halnet.parallel import map_in_order


def test_results_have_the_order_of_the_items() -> None:
    """The first item waits until the second one is done."""
    second = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second.wait(30)
        if item == 1:
            second.set()
        return 10 * item

    found = map_in_order(ThreadPoolExecutor(2), work, range(5), ahead=4)
    assert list(found) == [0, 10, 20, 30, 40]


def test_no_more_items_are_taken_than_the_limit() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(100):
            taken += 1
            yield item

    results = map_in_order(ThreadPoolExecutor(2), str, items(), ahead=3)
    assert (next(results), taken) == ("0", 3)
    assert (next(results), taken) == ("1", 4)
    results.close()


def test_an_exception_comes_in_the_place_of_the_result() -> None:
    results = map_in_order(ThreadPoolExecutor(2), lambda item: 1 // item, (1, 0, 1), ahead=3)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_items_that_nobody_asks_for_are_not_worked_on() -> None:
    done = []
    blocked = threading.Event()

    def work(item: int) -> None:
        done.append(item)
        if item:
            assert blocked.wait(30)

    results = map_in_order(ThreadPoolExecutor(1), work, range(10), ahead=5)
    next(results)
    threading.Timer(0.05, blocked.set).start()
    results.close()
    assert done == [0, 1]


def test_an_exception_of_the_items_comes_after_all_results() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2, 3)
        raise KeyError("the source is damaged")

    results = map_in_order(ThreadPoolExecutor(2), str, items(), ahead=8)
    found = []
    with pytest.raises(KeyError, match="damaged"):
        found.extend(results)  # `extend` keeps what came before the exception
    assert found == ["1", "2", "3"]
