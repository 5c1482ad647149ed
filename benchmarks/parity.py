"""Parity: does an artifact give the ages, and the intervals, that PyTorch FP32 gives?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from halnet.ages import Calibration
from halnet.artifact import bundled, sha256_file
from halnet.benchmarks.divergence import Divergence, first_divergence
from halnet.benchmarks.samples import sample_crops
from halnet.datasets.prepared import (
    OnProgress,
    PreparedDataset,
    Record,
    judge_records,
    no_progress,
)
from halnet.errors import ArtifactError, ConfigError
from halnet.metrics import Score, evaluate
from halnet.results import Outputs
from halnet.runtimes import Crops, Runtime, open_runtime


@dataclass(frozen=True)
class Tolerance:
    """How far an artifact may be from PyTorch FP32."""

    mae: float  # years, abs(delta MAE)
    p99: float  # years, 99th percentile of abs(delta age)
    coverage: float  # abs(delta coverage of the 90 % interval), share


TOLERANCES = {
    "fp32": Tolerance(0.001, 0.01, 0.002),
    "fp16": Tolerance(0.01, 0.1, 0.005),
    "int8": Tolerance(0.05, 2.0, 0.01),
}


@dataclass(frozen=True)
class Comparison:
    """The two side by side on one group of crops; scores only where the true ages are known."""

    count: int
    p99: float  # years, of abs(delta age)
    maximum: float  # years, of abs(delta age)
    reference: Score | None = None  # PyTorch FP32
    artifact: Score | None = None

    @property
    def delta_mae(self) -> float:
        """Years; 0 where the true ages are not known."""
        return self.artifact.mae - self.reference.mae if self.artifact and self.reference else 0.0

    @property
    def delta_coverage(self) -> float:
        """Share; 0 where the true ages are not known."""
        if self.artifact is None or self.reference is None:
            return 0.0
        return self.artifact.coverage - self.reference.coverage


@dataclass(frozen=True)
class Parity:
    """What a comparison found."""

    data: str  # what was compared on
    precision: str
    runtime: str  # that ran the artifact, with its version and provider
    tolerance: Tolerance
    overall: Comparison
    by_decade: dict[str, Comparison] = field(default_factory=dict)
    divergence: Divergence | None = None  # where a half-precision graph that failed goes wrong

    @property
    def failures(self) -> list[str]:
        """Return what lies outside the tolerance, in words; empty where the artifact passed."""
        checks = (
            ("p99 of abs(delta age)", self.overall.p99, self.tolerance.p99, "years"),
            ("delta MAE", self.overall.delta_mae, self.tolerance.mae, "years"),
            ("delta coverage", self.overall.delta_coverage, self.tolerance.coverage, "share"),
        )
        return [
            f"{name} {value:+.4f} is beyond {bound:g} {unit}"
            for name, value, bound, unit in checks
            if not abs(value) <= bound  # NaN fails too
        ]

    @property
    def passed(self) -> bool:
        """Whether everything that could be checked lies inside the tolerance."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {**asdict(self), "passed": self.passed, "failures": self.failures}


@dataclass(frozen=True)
class VerifyConfig:
    """What to compare with, on what."""

    checkpoint: Path | None = None  # None: the bundled one
    data: Path | None = None  # prepared dataset; None: crops of the bundled portrait
    split: str = "test"
    threads: int | None = None


class Verifier:
    """Compares artifacts with their checkpoint in PyTorch FP32 on the CPU, which runs once."""

    def __init__(self, config: VerifyConfig, on_progress: OnProgress = no_progress) -> None:
        """Raises ConfigError, DatasetError for a dataset that cannot be used."""
        self._config = config
        self._checkpoint = config.checkpoint or bundled("halnet.safetensors")
        self._on_progress = on_progress
        self._data = PreparedDataset(config.data) if config.data else None
        self._records = self._data.select(config.split) if self._data else ()

    def __call__(self, artifact: Path, runtime: str = "auto", device: str = "auto") -> Parity:
        """Compare one artifact.

        Raises ArtifactError where it was not made from the checkpoint, ConfigError where the
        dataset's split is not the one that the model was trained on, and what `open_runtime` does.
        """
        with open_runtime(artifact, runtime, device, self._config.threads) as candidate:
            self._check_origin(artifact, candidate)
            parity = compare(self._reference, self._run(candidate), candidate)
            if parity.passed or parity.precision != "fp16":
                return parity
            found = first_divergence(artifact, self._first_crops())
            return replace(parity, divergence=found)

    def _check_origin(self, artifact: Path, candidate: Runtime) -> None:
        made_from = candidate.spec.metadata.checkpoint_sha256
        found = self._checkpoint_sha256
        if made_from != found:
            raise ArtifactError(
                f"{artifact}: was made from the checkpoint {made_from[:12]}..., found "
                f"{found[:12]}... in {self._checkpoint}; name it with --checkpoint"
            )
        trained_on = candidate.spec.metadata.split_sha256
        if self._data is not None and self._data.split_sha256 != trained_on:
            raise ConfigError(
                f"{self._config.data}: expected the split {trained_on[:12]}... that the model was "
                f"trained with, found {self._data.split_sha256[:12]}...: its test photos may have "
                "been trained on"
            )

    @cached_property
    def _checkpoint_sha256(self) -> str:
        return sha256_file(self._checkpoint)

    @cached_property
    def _reference(self) -> "Reference":
        with open_runtime(self._checkpoint, "pytorch", "cpu", self._config.threads) as runtime:
            calibration = runtime.spec.metadata.calibration
            return Reference(self._name(), self._run(runtime), self._records, calibration)

    def _run(self, runtime: Runtime) -> Outputs:
        if self._data is None:
            return runtime.run(sample_crops())
        return self._data.outputs(runtime.run, self._records, self._on_progress)

    def _first_crops(self) -> Crops:
        return sample_crops() if self._data is None else self._data.inner_crops(self._records[:8])

    def _name(self) -> str:
        if self._data is None:
            return "crops of the bundled portrait"
        return f"{self._data.dataset} {self._config.split} split {self._data.split_sha256[:12]}"


@dataclass(frozen=True, eq=False)
class Reference:
    """What PyTorch FP32 gives for some crops."""

    data: str  # what they are
    outputs: Outputs
    records: Sequence[Record]  # their labels; none where they are not known
    calibration: Calibration


def compare(reference: Reference, outputs: Outputs, candidate: Runtime) -> Parity:
    """Compare an artifact's outputs with the reference's for the same crops."""
    difference = np.abs(outputs.age.astype(np.float64) - reference.outputs.age)
    spec = candidate.spec
    precision = spec.metadata.precision
    records = reference.records
    want = _judge(reference.outputs, records, reference.calibration)
    have = _judge(outputs, records, spec.metadata.calibration)

    def group(chosen: Any, first: Score | None, second: Score | None) -> Comparison:
        part = difference[chosen]
        p99, maximum = float(np.percentile(part, 99)), float(part.max())
        return Comparison(len(part), p99, maximum, first, second)

    decades = np.array([record.age // 10 * 10 for record in records])
    return Parity(
        data=reference.data,
        precision=precision,
        runtime=f"{spec.runtime} {spec.version}, {spec.provider}",
        tolerance=TOLERANCES[precision],
        overall=group(slice(None), want.get("all"), have.get("all")),
        by_decade={
            name: group(decades == int(name.split("-")[0]), score, have[name])
            for name, score in want.items()
            if name != "all"
        },
    )


def _judge(
    outputs: Outputs, records: Sequence[Record], calibration: Calibration
) -> dict[str, Score]:
    """Return the scores of all and of each decade; none where the true ages are not known."""
    if not records:
        return {}
    found = evaluate(judge_records(outputs, records, calibration))
    return {"all": found.overall, **found.by_decade}
