"""Sensitivity: what the quantization of each layer alone does to ages."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from halnet.calibration.budget import Movement
from halnet.calibration.gauge import Gauge
from halnet.calibration.layers import Layer
from halnet.calibration.quantizer import Quantizer

COLUMNS = ("layer", "role", "mean", "p99", "maximum", "delta_mae")


@dataclass(frozen=True)
class Sensitivity:
    """One line of the ranking."""

    layer: Layer
    movement: Movement


def rank_layers(
    quantizer: Quantizer,
    scheme: str,
    gauge: Gauge,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Sensitivity, ...]:
    """Quantize each layer alone; return all, the one that moves single ages most first."""
    layers = quantizer.quantizable
    names = {layer.name for layer in layers}
    found = []
    for index, layer in enumerate(layers, 1):
        alone = quantizer.quantize(scheme, names - {layer.name})
        found.append(Sensitivity(layer, gauge(alone)))
        on_progress(index, len(layers))
    return tuple(sorted(found, key=lambda line: -line.movement.mean))


def to_csv(ranking: Sequence[Sensitivity]) -> str:
    """Return the ranking as CSV, in years, the most sensitive layer first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in ranking:
        m = line.movement
        years = [f"{value:.4f}" for value in (m.mean, m.p99, m.maximum)]
        delta = "" if m.delta_mae is None else f"{m.delta_mae:+.4f}"
        writer.writerow([line.layer.name, line.layer.role, *years, delta])
    return text.getvalue()
