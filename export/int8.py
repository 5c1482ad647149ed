"""INT8: what an export quantizes, by which crops, and inside which budget."""

from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from halnet.calibration.budget import Movement
from halnet.calibration.equalization import equalize
from halnet.calibration.gauge import Gauge
from halnet.calibration.layers import ROLES
from halnet.calibration.quantizer import Quantizer
from halnet.calibration.samples import SPLIT, Samples, find_samples, pick_samples
from halnet.calibration.search import Step, search
from halnet.calibration.sensitivity import Sensitivity, rank_layers, to_csv
from halnet.calibration.sessions import Opener, open_ages
from halnet.calibration.synthetic import synthetic_samples
from halnet.datasets.prepared import PreparedDataset
from halnet.export.targets import Int8Config
from halnet.files import write_text

SENSITIVITY_FILE = "sensitivity"  # with .csv and .png
RANKED_ON = 200  # photos, spread evenly over the validation split


class Int8:
    """Quantizes one traced network: ranges are measured once, layers ranked once a scheme."""

    def __init__(
        self,
        config: Int8Config,
        checkpoint: Path,
        proto: Any,
        on_step: Callable[[str], None],
    ) -> None:
        self._config = config
        self._on_step = on_step
        self._data = PreparedDataset(config.data) if config.data else None
        self._samples = self._pick(checkpoint)
        on_step(f"measuring ranges on {len(self._samples)} crops")
        self._proto = equalize(proto, self._samples.crops)
        self._quantizer = Quantizer(self._proto, self._samples.crops, config.method)
        self._ranking = cache(self._rank)
        self._found = cache(self._search)

    def quantize(self, scheme: str, runtime: str, out: Path) -> tuple[Any, dict[str, Any]]:
        """Return the graph with Q/DQ nodes, and what the manifest states of it.

        The budget is held in the runtime itself; an engine's, which may not run here, in ONNX
        Runtime. With `sensitivity`, the ranking is written into the folder `out`. Raises
        ArtifactError where nothing lies inside the budget.
        """
        config = self._config
        stated: dict[str, Any] = {
            **self._samples.origin,
            "crops": len(self._samples),
            "method": config.method,
            "scheme": scheme,
        }
        if config.sensitivity:
            self._write_ranking(self._ranking(scheme), out / f"{SENSITIVITY_FILE}.{scheme}")
        if config.keep is not None:
            stated["kept"] = list(config.keep)
            return self._quantizer.quantize(scheme, frozenset(config.keep)), stated
        judge = "openvino" if runtime == "openvino" else "onnxruntime"
        best, steps = self._found(scheme, judge)
        stated |= {
            "kept": list(best.kept),
            "budget": asdict(config.budget),
            "judged_in": judge,
            "steps": [{"kept": len(s.kept), **asdict(s.movement)} for s in steps],
        }
        return self._quantizer.quantize(scheme, frozenset(best.kept)), stated

    def _pick(self, checkpoint: Path) -> Samples:
        config = self._config
        if config.photos is not None:
            tested = self._data.select("test") if self._data else ()
            names = {PurePosixPath(record.source).name for record in tested}
            self._on_step(f"finding faces in {config.photos}")
            return find_samples(
                config.photos, checkpoint, config.samples, config.seed, config.detector, names
            )
        if self._data is not None:
            return pick_samples(self._data, config.samples, config.seed)
        self._on_step("making synthetic crops out of the checkpoint's batch norms")
        return synthetic_samples(checkpoint, seed=config.seed)

    def _rank(self, scheme: str) -> tuple[Sensitivity, ...]:
        self._on_step(f"ranking {len(self._quantizer.quantizable)} layers ({scheme})")
        return rank_layers(self._quantizer, scheme, self._gauge(RANKED_ON))

    def _gauge(self, limit: int = 0, runtime: str = "onnxruntime") -> Gauge:
        threads = self._config.threads
        opener = _opener(runtime)
        if self._data is None:
            return Gauge(self._proto, self._samples.crops, None, threads, opener)
        records = self._data.select(SPLIT, limit)
        labels = [record.age for record in records]
        return Gauge(self._proto, self._data.inner_crops(records), labels, threads, opener)

    def _search(self, scheme: str, runtime: str) -> tuple[Step, tuple[Step, ...]]:
        gauge = self._gauge(runtime=runtime)

        def attempt(kept: tuple[str, ...]) -> Movement:
            return gauge(self._quantizer.quantize(scheme, frozenset(kept)), timed=True)

        def tell(step: Step) -> None:
            m = step.movement
            delta = "" if m.delta_mae is None else f", MAE {m.delta_mae:+.3f}"
            self._on_step(
                f"{len(step.kept)} layers in floating point: p99 {m.p99:.2f} years, at most "
                f"{m.p99_bound:.2f}{delta}, {m.milliseconds:.1f} ms ({scheme}, {runtime})"
            )

        return search(lambda: self._ranking(scheme), attempt, self._config.budget, tell)

    @staticmethod
    def _write_ranking(ranking: tuple[Sensitivity, ...], path: Path) -> None:
        from halnet.plots import plot_sensitivity

        write_text(path.with_name(path.name + ".csv"), to_csv(ranking))
        layers = [(line.layer.name, line.layer.role, line.movement.mean) for line in ranking]
        plot_sensitivity(layers, ROLES, path.with_name(path.name + ".png"))


def _opener(runtime: str) -> Opener:
    if runtime == "openvino":
        from halnet.export import to_openvino

        return to_openvino.open_ages
    return open_ages
