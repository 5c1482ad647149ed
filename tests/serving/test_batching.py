"""Batching: which crops are joined, whose outputs are whose, and errors."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from halnet.errors import ArtifactError, ConfigError
from halnet.results import Outputs
from halnet.runtimes.fake import FakeRuntime
from halnet.serving.batching import BatchingRuntime


class Slow(FakeRuntime):
    """A runtime whose first inference waits until it is let go, and which can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = threading.Event(), threading.Event()
        self.error: Exception | None = None

    def run(self, images: Any) -> Outputs:
        self.entered.set()
        assert self.go.wait(60)
        if self.error is not None:
            raise self.error
        return super().run(images)


def gray(*levels: int) -> np.ndarray:
    return np.stack([np.full((224, 224, 3), level, np.uint8) for level in levels])


def run_together(inside: Slow, limit: int) -> tuple[list[Any], list[int]]:
    """Run one call, and four more while it runs; return their outputs and the sizes of batches."""
    sizes: list[int] = []
    runtime = BatchingRuntime(inside, limit, sizes.append)
    calls = [gray(10), gray(60), gray(110, 120), gray(160, 170, 180), gray(250)]

    def run(crops: np.ndarray) -> Any:
        try:
            return runtime.run(crops).age
        except (ArtifactError, ZeroDivisionError) as error:
            return error

    with ThreadPoolExecutor(5) as pool:
        found = [pool.submit(run, calls[0])]
        assert inside.entered.wait(60)
        for number, crops in enumerate(calls[1:], 1):
            found.append(pool.submit(run, crops))
            while len(runtime._waiting) < number:
                pass
        inside.go.set()
        return [future.result() for future in found], sizes


@pytest.mark.parametrize(("limit", "sizes"), [(4, [1, 3, 4]), (32, [1, 7]), (2, [1, 1, 2, 3, 1])])
def test_what_waits_is_joined_and_everybody_gets_the_own_ages(limit: int, sizes: list[int]) -> None:
    found, made = run_together(Slow(), limit)
    assert made == sizes
    expected = [[10], [60], [110, 120], [160, 170, 180], [250]]
    for ages, levels in zip(found, expected, strict=True):
        np.testing.assert_allclose(ages, FakeRuntime().run(gray(*levels)).age, atol=1e-4)


@pytest.mark.parametrize("error", [ArtifactError("damaged"), ZeroDivisionError()])
def test_an_error_reaches_everybody_and_the_runtime_goes_on(error: Exception) -> None:
    inside = Slow()
    inside.error = error
    found, _ = run_together(inside, 32)
    assert found == [error] * 5
    inside.error = None
    assert len(BatchingRuntime(inside, 32, lambda size: None).run(gray(1))) == 1


def test_with_a_limit_of_one_calls_run_side_by_side() -> None:
    inside = FakeRuntime()
    sizes: list[int] = []
    runtime = BatchingRuntime(inside, 1, sizes.append)
    assert len(runtime.run(gray(1, 2, 3))) == 3
    assert sizes == [3]
    assert runtime.spec is inside.spec
    assert runtime.time_on_device(gray(1)) is None
    with pytest.raises(ConfigError, match="crops: expected at least one"):
        runtime.run(gray(1)[:0])
    runtime.close()
    for closed in (runtime, inside):
        with pytest.raises(ConfigError, match=r"used after close\(\)"):
            closed.run(gray(1))
