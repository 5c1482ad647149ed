"""Sensitivity: how far quantizing each layer alone shifts predicted ages."""

from collections.abc import Sequence
from dataclasses import dataclass

from halnet.calibration.age_shift_meter import AgeShiftMeter
from halnet.calibration.budget import AgeShift
from halnet.calibration.layers import Layer
from halnet.calibration.quantizer import Quantizer
from halnet.files import csv_text

COLUMNS = ("layer", "role", "mean", "p99", "maximum", "delta_mae")


@dataclass(frozen=True)
class Sensitivity:
    """One line of the ranking: a layer, and the age shift when it alone is quantized."""

    layer: Layer
    shift: AgeShift


def rank_layers(quantizer: Quantizer, scheme: str, meter: AgeShiftMeter) -> tuple[Sensitivity, ...]:
    """Quantize each layer alone; return all layers, those with the largest mean age shift first."""
    layers = quantizer.quantizable
    names = {layer.name for layer in layers}
    ranking = [
        Sensitivity(layer, meter(quantizer.quantize(scheme, names - {layer.name})))
        for layer in layers
    ]
    return tuple(sorted(ranking, key=lambda line: -line.shift.mean))


def to_csv(ranking: Sequence[Sensitivity]) -> str:
    """Return the ranking as CSV text in its order, with shifts in years."""
    return csv_text(COLUMNS, (_to_row(line) for line in ranking))


def _to_row(line: Sensitivity) -> dict[str, str]:
    shift = line.shift
    return {
        "layer": line.layer.name,
        "role": line.layer.role,
        **{name: f"{getattr(shift, name):.4f}" for name in ("mean", "p99", "maximum")},
        "delta_mae": "" if shift.delta_mae is None else f"{shift.delta_mae:+.4f}",
    }
