"""Search: the fastest quantized graph inside a budget, by giving layers back to floating point."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from halnet.calibration.budget import AgeShift, Budget
from halnet.calibration.sensitivity import Sensitivity
from halnet.errors import ArtifactError


@dataclass(frozen=True)
class Step:
    """One graph that the search tried."""

    kept: tuple[str, ...]  # layers in floating point, the most sensitive first
    shift: AgeShift


def search(
    rank: Callable[[], Sequence[Sensitivity]],
    try_keeping: Callable[[tuple[str, ...]], AgeShift],
    budget: Budget,
    on_step: Callable[[Step], None] = lambda step: None,
) -> tuple[Step, tuple[Step, ...]]:
    """Return the graph with the fewest layers given back that holds the budget, and all steps.

    Layers are given back in the order that `rank` returns, which is asked only where some have to
    be; the number is found by bisection, which takes it that more of them never hurt.
    `try_keeping` quantizes all but the named layers.

    Raises ArtifactError where the budget does not hold even with every layer but one given back.
    """
    steps: list[Step] = []

    def attempt(kept: Sequence[str]) -> Step:
        step = Step(tuple(kept), try_keeping(tuple(kept)))
        steps.append(step)
        on_step(step)
        return step

    best = attempt(())
    if budget.holds(best.shift):
        return best, tuple(steps)
    names = [line.layer.name for line in rank()]
    low, high = 0, 1  # `low` layers are too few
    while not budget.holds((best := attempt(names[:high])).shift):
        if high == len(names) - 1:
            raise ArtifactError(
                f"no INT8 graph surely moves ages by less than {budget.mae:g} years of MAE and "
                f"{budget.p99:g} in the 99th percentile: by the validation split, with one layer "
                f"quantized it may be {best.shift.p99_bound:.2f}; allow more, or train with "
                "--quantize int8"
            )
        low, high = high, min(2 * high, len(names) - 1)
    while high - low > 1:
        middle = (low + high) // 2
        step = attempt(names[:middle])
        if budget.holds(step.shift):
            high, best = middle, step
        else:
            low = middle
    return best, tuple(steps)
