"""The search: which layers are kept in floating point, as few as possible, within a budget.

Layers are kept from the input of the network on. There, the feature maps are large and have few
channels, so that integers shift ages most, and neighbours that are kept need no conversions between
them. Only if many layers would have to be kept, the most sensitive ones are kept instead, wherever
they are, if that is faster.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from halnet.calibration.budget import AgeShift, Budget
from halnet.errors import ArtifactError

FEW = 0.25  # share of the layers: if no more are kept from the input on, they are not ranked


@dataclass(frozen=True)
class Step:
    """One graph that the search measured."""

    kept: tuple[str, ...]  # layers kept in floating point, in the order in which they were chosen
    shift: AgeShift


def search(
    layers: Sequence[str],
    rank: Callable[[], Sequence[str]],
    measure: Callable[[tuple[str, ...]], AgeShift],
    budget: Budget,
    on_step: Callable[[Step], None] = lambda step: None,
) -> tuple[Step, tuple[Step, ...]]:
    """Keep as few layers in floating point as the budget allows; return that step and all steps.

    `layers` are the names of all layers in the order of the network. `rank` returns them in the
    order of their sensitivity, and is called only if more than a quarter of the layers is kept from
    the input on. Then the faster one of both is returned. `measure` quantizes all layers except
    those in its argument. The number of layers is found by bisection, which assumes that keeping
    more layers never makes the shift larger.

    Raises ArtifactError where the budget is not met although only one layer is quantized.
    """
    steps: list[Step] = []

    def keep(kept: Sequence[str]) -> Step:
        step = Step(tuple(kept), measure(tuple(kept)))
        steps.append(step)
        on_step(step)
        return step

    first = keep(())
    if budget.allows(first.shift):
        return first, tuple(steps)
    found = [_fewest(layers, keep, budget)]
    if not (found[0] and len(found[0].kept) <= FEW * len(layers)):
        found.append(_fewest(rank(), keep, budget))
    allowed = [step for step in found if step is not None]
    if not allowed:
        last = next(step for step in reversed(steps) if len(step.kept) == len(layers) - 1)
        raise ArtifactError(_explain_failure(budget, last))
    return min(allowed, key=_cost), tuple(steps)


def _fewest(
    names: Sequence[str], keep: Callable[[Sequence[str]], Step], budget: Budget
) -> Step | None:
    """Return the step that keeps the fewest of the first names; None if no number is enough."""
    too_few, enough = 0, 1  # `enough` is doubled until the budget is met
    while not budget.allows((best := keep(names[:enough])).shift):
        if enough == len(names) - 1:
            return None
        too_few, enough = enough, min(2 * enough, len(names) - 1)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        step = keep(names[:middle])
        if budget.allows(step.shift):
            enough, best = middle, step
        else:
            too_few = middle
    return best


def _cost(step: Step) -> tuple[float, int]:
    """Return the time of a graph, if it was measured, and how many layers it keeps."""
    return step.shift.milliseconds or 0.0, len(step.kept)


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
