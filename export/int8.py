"""INT8: quantizes a traced network with calibration crops, within a budget."""

from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from halnet.calibration.age_shift_meter import AgeShiftMeter
from halnet.calibration.budget import AgeShift
from halnet.calibration.equalization import equalize
from halnet.calibration.layers import ROLES
from halnet.calibration.quantizer import SCHEMES, Quantizer
from halnet.calibration.search import Step, search
from halnet.calibration.sensitivity import Sensitivity, rank_layers, to_csv
from halnet.calibration.sessions import Opener
from halnet.export.config import Int8Config
from halnet.export.int8_source import Int8Source, OnStep
from halnet.export.plots import plot_sensitivity
from halnet.export.samples import Int8Samples
from halnet.files import write_text

SENSITIVITY_FILE = "sensitivity"  # followed by the scheme and .csv or .png
RANKING_PHOTOS = 200  # spread evenly over the validation photos
# Modules whose `open_age_function` runs a graph in that runtime.
AGE_FUNCTIONS = {
    "onnxruntime": "halnet.calibration.sessions",
    "openvino": "halnet.export.to_openvino",
}


class Int8:
    """Quantizes one traced network: measures ranges once, and ranks layers once for each scheme."""

    def __init__(
        self,
        config: Int8Config,
        samples: Int8Samples,
        proto: Any,
        on_step: OnStep,
        fits_integers: bool = False,
    ) -> None:
        """Measure the ranges of the FP32 graph `proto`, an ONNX model.

        Unless its weights were trained for integers (`fits_integers`), its channels get similar
        ranges first. `on_step` is called with a line before each step. Raises what `Quantizer`
        raises.
        """
        self._config = config
        self._on_step = on_step
        self._photos = samples.validation
        self._calibration = samples.calibration
        on_step(f"measuring ranges on {self._calibration}")
        crops = self._calibration.crops
        self._proto = proto if fits_integers else equalize(proto, crops)
        self._quantizer = Quantizer(self._proto, crops, config.method)
        self._rankings: dict[str, tuple[Sensitivity, ...]] = {}  # by scheme
        self._searches: dict[tuple[str, str], tuple[Step, tuple[Step, ...]]] = {}

    def quantize(self, scheme: str, budget_runtime: str, out: Path) -> tuple[Any, dict[str, Any]]:
        """Return the graph with Q/DQ nodes, and how it was calibrated, for the manifest.

        `budget_runtime` measures whether a graph meets the budget. With `sensitivity`, the ranking
        of the layers is written into the folder `out`. Raises ArtifactError where no graph meets
        the budget.
        """
        config = self._config
        entry: dict[str, Any] = {
            **self._calibration.origin,
            "crops": len(self._calibration),
            "method": config.method,
            "scheme": scheme,
            "weight_bits": SCHEMES[scheme].weight_bits,
            "made_for": SCHEMES[scheme].made_for,
        }
        if self._photos is not None and len(self._photos.data.sets) > 1:
            entry["sets"] = self._photos.to_dict()
        if config.sensitivity:
            _write_ranking(self._rank(scheme), out / f"{SENSITIVITY_FILE}.{scheme}")
        if config.keep is not None:
            entry["kept"] = list(config.keep)
            return self._quantizer.quantize(scheme, frozenset(config.keep)), entry
        best, steps = self._search(scheme, budget_runtime)
        entry |= {
            "kept": list(best.kept),
            "budget": asdict(config.budget),
            "judged_in": budget_runtime,
            "steps": [{"kept": len(step.kept), **step.shift.to_dict()} for step in steps],
        }
        return self._quantizer.quantize(scheme, frozenset(best.kept)), entry

    def _rank(self, scheme: str) -> tuple[Sensitivity, ...]:
        """Return the ranking of the layers. Only the first call for a scheme measures it."""
        if scheme not in self._rankings:
            self._on_step(f"ranking {len(self._quantizer.quantizable)} layers ({scheme})")
            meter = self._meter("onnxruntime", RANKING_PHOTOS)
            self._rankings[scheme] = rank_layers(self._quantizer, scheme, meter)
        return self._rankings[scheme]

    def _search(self, scheme: str, runtime: str) -> tuple[Step, tuple[Step, ...]]:
        """Return what `search` finds. Only the first call for a scheme and runtime searches."""
        key = scheme, runtime
        if key not in self._searches:
            self._searches[key] = search(
                layers=[layer.name for layer in self._quantizer.quantizable],
                rank=lambda: [line.layer.name for line in self._rank(scheme)],
                measure=partial(self._measure, scheme, self._meter(runtime)),
                budget=self._config.budget,
                on_step=partial(self._report, scheme, runtime),
            )
        return self._searches[key]

    def _measure(self, scheme: str, meter: AgeShiftMeter, kept: tuple[str, ...]) -> AgeShift:
        """Quantize all layers but those `kept` in floating point, and measure the age shift."""
        return meter(self._quantizer.quantize(scheme, frozenset(kept)), timed=True)

    def _report(self, scheme: str, runtime: str, step: Step) -> None:
        shift = step.shift
        sets = "".join(f"; {name}: {self._figures(part)}" for name, part in shift.by_set.items())
        count = len(step.kept)
        self._on_step(
            f"{count} layer{'s' * (count != 1)} kept in floating point: 99 % of ages shift by at "
            f"most {self._figures(shift)}, {shift.milliseconds:.1f} ms for one crop "
            f"({scheme}, {runtime}){sets}"
        )

    def _figures(self, shift: AgeShift) -> str:
        bound = f"{shift.p99:.2f} years (upper bound for other photos: {shift.p99_bound:.2f})"
        if shift.delta_mae is None or self._photos is None:
            return bound
        return f"{bound}, {self._photos.error_name} {shift.delta_mae:+.3f} years"

    def _meter(self, runtime: str, limit: int = 0) -> AgeShiftMeter:
        """Return a meter of the validation photos, or of the calibration crops without a dataset.

        `limit` is the number of photos; 0 stands for all.
        """
        crops, records = self._calibration.crops, None
        if self._photos is not None:
            records = self._photos.select(limit)
            crops = self._photos.crops(records)
        return AgeShiftMeter(self._proto, crops, records, self._config.threads, _opener(runtime))


def _write_ranking(ranking: tuple[Sensitivity, ...], path: Path) -> None:
    """Write the ranking as a table and a picture, `path` followed by .csv and .png."""
    write_text(path.with_name(path.name + ".csv"), to_csv(ranking))
    layers = [(line.layer.name, line.layer.role, line.shift.mean) for line in ranking]
    plot_sensitivity(layers, ROLES, path.with_name(path.name + ".png"))


def _opener(runtime: str) -> Opener:
    opener: Opener = import_module(AGE_FUNCTIONS[runtime]).open_age_function
    return opener


def open_int8(source: Int8Source, config: Int8Config, on_step: OnStep) -> Int8:
    """Return what quantizes the ONNX graph of a network."""
    return Int8(config, source.samples, source.proto, on_step, source.fits_integers)
