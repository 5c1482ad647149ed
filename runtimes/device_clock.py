"""The clock of a GPU: it measures what the GPU does, while the program that started it goes on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

MARKS = 4  # of an inference: at its start, after the crops were copied, after the model, at its end


@dataclass(frozen=True)
class DeviceTimes:
    """Milliseconds that a GPU needed for a run, by its own clock."""

    compute: float  # the model alone
    total: float  # also the transfer of the crops to the GPU, and of the outputs from it


class DeviceClock(Protocol):
    """Marks moments in the work of a GPU, and measures the time between them."""

    def mark(self) -> Any:
        """Return a mark of the moment at which the work that was started before is done."""
        ...

    def between(self, first: Any, second: Any) -> float:
        """Return the milliseconds between two marks. The GPU must have passed both."""
        ...


def read_marks(clock: DeviceClock, marks: Sequence[Any]) -> DeviceTimes:
    """Return the times of a run from the marks of its inferences, `MARKS` of each."""
    compute = total = 0.0
    for first in range(0, len(marks), MARKS):
        start, copied, computed, end = marks[first : first + MARKS]
        compute += clock.between(copied, computed)
        total += clock.between(start, end)
    return DeviceTimes(compute, total)
