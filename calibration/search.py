"""The search: which layers are kept in floating point, as few as possible, within a budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from halnet.calibration.budget import AgeShift, Budget
from halnet.calibration.sensitivity import Sensitivity
from halnet.errors import ArtifactError


@dataclass(frozen=True)
class Step:
    """One graph that the search measured."""

    kept: tuple[str, ...]  # layers kept in floating point, the most sensitive first
    shift: AgeShift


def search(
    rank: Callable[[], Sequence[Sensitivity]],
    measure: Callable[[tuple[str, ...]], AgeShift],
    budget: Budget,
    on_step: Callable[[Step], None] = lambda step: None,
) -> tuple[Step, tuple[Step, ...]]:
    """Keep as few layers in floating point as the budget allows; return that step and all steps.

    Layers are kept in the order that `rank` returns, which is called only where one has to be kept.
    `measure` quantizes all layers except those in its argument. The number of layers is found by
    bisection, which assumes that keeping more layers never makes the shift larger.

    Raises ArtifactError where the budget is not met although only one layer is quantized.
    """
    steps: list[Step] = []

    def keep(layers: Sequence[str]) -> Step:
        step = Step(tuple(layers), measure(tuple(layers)))
        steps.append(step)
        on_step(step)
        return step

    best = keep(())
    if budget.allows(best.shift):
        return best, tuple(steps)
    names = [line.layer.name for line in rank()]
    too_few, enough = 0, 1  # `enough` is doubled until the budget is met
    while not budget.allows((best := keep(names[:enough])).shift):
        if enough == len(names) - 1:
            raise ArtifactError(_explain_failure(budget, best))
        too_few, enough = enough, min(2 * enough, len(names) - 1)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        step = keep(names[:middle])
        if budget.allows(step.shift):
            enough, best = middle, step
        else:
            too_few = middle
    return best, tuple(steps)


def _explain_failure(budget: Budget, last: Step) -> str:
    """Return the error message for a budget that is not met with one layer quantized."""
    name, shift = budget.find_excess(last.shift) or ("", last.shift)
    where = f" on {name}" if name else ""
    delta = shift.delta_mae
    change = "" if delta is None else f"a change of {delta:+.3f} years and "
    return (
        "no INT8 model meets the budget with 95 % confidence: expected the MAE to change by at "
        f"most {budget.mae:g} years and 99 % of ages to shift by at most {budget.p99:g} years, "
        f"found {change}a shift of {shift.p99_bound:.2f} years{where} with only one layer "
        "quantized; "
        "allow more with --max-mae-delta and --max-p99, or fine-tune the model with halnet train "
        "--quantize int8"
    )
