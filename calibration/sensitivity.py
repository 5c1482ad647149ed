"""Sensitivity: what the quantization of each layer alone does to ages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from halnet.calibration.age_shift_meter import AgeShiftMeter
from halnet.calibration.budget import AgeShift
from halnet.calibration.layers import Layer
from halnet.calibration.quantizer import Quantizer
from halnet.files import csv_text

COLUMNS = ("layer", "role", "mean", "p99", "maximum", "delta_mae")


@dataclass(frozen=True)
class Sensitivity:
    """One line of the ranking."""

    layer: Layer
    shift: AgeShift


def rank_layers(
    quantizer: Quantizer,
    scheme: str,
    meter: AgeShiftMeter,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Sensitivity, ...]:
    """Quantize each layer alone; return all, the one that moves single ages most first."""
    layers = quantizer.quantizable
    names = {layer.name for layer in layers}
    found = []
    for index, layer in enumerate(layers, 1):
        alone = quantizer.quantize(scheme, names - {layer.name})
        found.append(Sensitivity(layer, meter(alone)))
        on_progress(index, len(layers))
    return tuple(sorted(found, key=lambda line: -line.shift.mean))


def to_csv(ranking: Sequence[Sensitivity]) -> str:
    """Return the ranking as CSV, in years, the most sensitive layer first."""
    return csv_text(COLUMNS, (_to_row(line) for line in ranking))


def _to_row(line: Sensitivity) -> dict[str, str]:
    shift = line.shift
    return {
        "layer": line.layer.name,
        "role": line.layer.role,
        **{name: f"{getattr(shift, name):.4f}" for name in ("mean", "p99", "maximum")},
        "delta_mae": "" if shift.delta_mae is None else f"{shift.delta_mae:+.4f}",
    }
