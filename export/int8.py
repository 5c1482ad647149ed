"""INT8: what an export quantizes, by which crops, and inside which budget."""

from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

from halnet.calibration.age_shift_meter import AgeShiftMeter
from halnet.calibration.budget import AgeShift
from halnet.calibration.crops import (
    SPLIT,
    CalibrationCrops,
    find_calibration_crops,
    pick_calibration_crops,
)
from halnet.calibration.equalization import equalize
from halnet.calibration.layers import ROLES
from halnet.calibration.quantizer import Quantizer
from halnet.calibration.search import Step, search
from halnet.calibration.sensitivity import Sensitivity, rank_layers, to_csv
from halnet.calibration.sessions import Opener
from halnet.calibration.synthetic import make_synthetic_crops
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.export.config import Int8Config
from halnet.export.plots import plot_sensitivity
from halnet.files import write_text
from halnet.network.checkpoint import Checkpoint

SENSITIVITY_FILE = "sensitivity"  # with .csv and .png
RANKED_ON = 200  # photos, spread evenly over the validation split


class Int8:
    """Quantizes one traced network: ranges are measured once, layers ranked once a scheme."""

    def __init__(
        self,
        config: Int8Config,
        checkpoint: Checkpoint,
        proto: Any,
        on_step: Callable[[str], None],
    ) -> None:
        self._config = config
        self._on_step = on_step
        self._data = PreparedDataset(config.data) if config.data else None
        self._calibration = self._pick(checkpoint)
        on_step(f"measuring ranges on {len(self._calibration)} crops")
        self._proto = equalize(proto, self._calibration.crops)
        self._quantizer = Quantizer(self._proto, self._calibration.crops, config.method)
        self._ranking = cache(self._rank)
        self._found = cache(self._search)

    def quantize(self, scheme: str, judged_in: str, out: Path) -> tuple[Any, dict[str, Any]]:
        """Return the graph with Q/DQ nodes, and what the manifest states of it.

        The budget is held in the runtime itself; an engine's, which may not run here, in ONNX
        Runtime. With `sensitivity`, the ranking is written into the folder `out`. Raises
        ArtifactError where nothing lies inside the budget.
        """
        config = self._config
        stated: dict[str, Any] = {
            **self._calibration.origin,
            "crops": len(self._calibration),
            "method": config.method,
            "scheme": scheme,
        }
        if config.sensitivity:
            self._write_ranking(self._ranking(scheme), out / f"{SENSITIVITY_FILE}.{scheme}")
        if config.keep is not None:
            stated["kept"] = list(config.keep)
            return self._quantizer.quantize(scheme, frozenset(config.keep)), stated
        best, steps = self._found(scheme, judged_in)
        stated |= {
            "kept": list(best.kept),
            "budget": asdict(config.budget),
            "judged_in": judged_in,
            "steps": [{"kept": len(s.kept), **asdict(s.shift)} for s in steps],
        }
        return self._quantizer.quantize(scheme, frozenset(best.kept)), stated

    def _pick(self, checkpoint: Checkpoint) -> CalibrationCrops:
        config = self._config
        if config.photos is not None:
            tested = self._data.select("test") if self._data else ()
            names = {PurePosixPath(record.source).name for record in tested}
            self._on_step(f"finding faces in {config.photos}")
            return find_calibration_crops(
                config.photos, checkpoint, config.crops, config.seed, config.detector, names
            )
        if self._data is not None:
            return pick_calibration_crops(self._data, config.crops, config.seed)
        self._on_step("making synthetic crops out of the checkpoint's batch norms")
        return make_synthetic_crops(checkpoint, seed=config.seed)

    def _rank(self, scheme: str) -> tuple[Sensitivity, ...]:
        self._on_step(f"ranking {len(self._quantizer.quantizable)} layers ({scheme})")
        return rank_layers(self._quantizer, scheme, self._meter(RANKED_ON))

    def _meter(self, limit: int = 0, runtime: str = "onnxruntime") -> AgeShiftMeter:
        threads = self._config.threads
        opener = _opener(runtime)
        if self._data is None:
            return AgeShiftMeter(self._proto, self._calibration.crops, None, threads, opener)
        records = self._data.select(SPLIT, limit)
        labels = [record.age for record in records]
        return AgeShiftMeter(self._proto, self._data.inner_crops(records), labels, threads, opener)

    def _search(self, scheme: str, runtime: str) -> tuple[Step, tuple[Step, ...]]:
        meter = self._meter(runtime=runtime)

        def attempt(kept: tuple[str, ...]) -> AgeShift:
            return meter(self._quantizer.quantize(scheme, frozenset(kept)), timed=True)

        def tell(step: Step) -> None:
            m = step.shift
            delta = "" if m.delta_mae is None else f", MAE {m.delta_mae:+.3f}"
            self._on_step(
                f"{len(step.kept)} layers in floating point: p99 {m.p99:.2f} years, at most "
                f"{m.p99_bound:.2f}{delta}, {m.milliseconds:.1f} ms ({scheme}, {runtime})"
            )

        return search(lambda: self._ranking(scheme), attempt, self._config.budget, tell)

    @staticmethod
    def _write_ranking(ranking: tuple[Sensitivity, ...], path: Path) -> None:
        write_text(path.with_name(path.name + ".csv"), to_csv(ranking))
        layers = [(line.layer.name, line.layer.role, line.shift.mean) for line in ranking]
        plot_sensitivity(layers, ROLES, path.with_name(path.name + ".png"))


# Modules whose `open_age_function` runs a graph in that runtime.
AGE_FUNCTIONS = {
    "onnxruntime": "halnet.calibration.sessions",
    "openvino": "halnet.export.to_openvino",
}


def _opener(runtime: str) -> Opener:
    opener: Opener = import_module(AGE_FUNCTIONS[runtime]).open_age_function
    return opener
