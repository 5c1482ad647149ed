"""Batching: the crops of several requests in one inference, and a count of the crops in each."""

import threading
from collections import deque
from collections.abc import Callable

import numpy as np

from halnet.closing import Closing
from halnet.results import Outputs
from halnet.runtimes.base import Crops, Runtime, RuntimeSpec, check_crops
from halnet.runtimes.device_clock import DeviceTimes


class BatchingRuntime(Closing):
    """A runtime that joins the crops of threads that wait at the same time.

    While one inference runs, the crops of other threads gather. The next inference takes them all,
    up to `limit`. Nobody waits for a batch to fill, so a single request is as fast as without. With
    a `limit` of 1, crops of different calls are never joined, and the calls run side by side.

    `observe` is called with the number of crops of each inference.
    """

    def __init__(self, runtime: Runtime, limit: int, observe: Callable[[int], object]) -> None:
        self._runtime, self._limit, self._observe = runtime, limit, observe
        self._turn = threading.Lock()  # whoever holds it runs the next batch
        self._waiting: deque[_Call] = deque()

    @property
    def spec(self) -> RuntimeSpec:
        """What runs: that of the runtime inside."""
        return self._runtime.spec

    def run(self, images: Crops) -> Outputs:
        """Return the outputs for N x 224 x 224 x 3 uint8 RGB crops, as the runtime inside does."""
        self.check_open()
        crops = check_crops(images)
        if self._limit == 1:
            self._observe(len(crops))
            return self._runtime.run(crops)
        call = _Call(crops)
        self._waiting.append(call)
        with self._turn:
            while not call.is_done:
                self._run_batch()
        if call.error is not None:
            raise call.error
        assert call.outputs is not None
        return call.outputs

    def _run_batch(self) -> None:
        """Run the calls that have waited longest, as many as fit, and at least one."""
        calls = [self._waiting.popleft()]
        count = len(calls[0].crops)
        while self._waiting and count + len(self._waiting[0].crops) <= self._limit:
            calls.append(self._waiting.popleft())
            count += len(calls[-1].crops)
        self._observe(count)
        try:
            outputs = self._runtime.run(np.concatenate([call.crops for call in calls]))
        except Exception as error:  # noqa: BLE001 - whoever waits for the batch gets it
            for call in calls:
                call.error = error
            return
        start = 0
        for call in calls:
            end = start + len(call.crops)
            call.outputs = Outputs(
                outputs.age[start:end],
                outputs.stddev[start:end],
                outputs.probabilities[start:end],
            )
            start = end

    def time_on_device(self, images: Crops) -> DeviceTimes | None:
        """Return the times of the runtime inside; see `Runtime`."""
        return self._runtime.time_on_device(images)

    def close(self) -> None:
        """Close the runtime inside."""
        super().close()
        self._runtime.close()


class _Call:
    """The crops of one call, and what becomes of them."""

    def __init__(self, crops: Crops) -> None:
        self.crops = crops
        self.outputs: Outputs | None = None
        self.error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.outputs is not None or self.error is not None
