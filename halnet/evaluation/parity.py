"""Parity: does an artifact give the ages, and the intervals, that PyTorch FP32 gives?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from halnet.ages import AgeCalibration
from halnet.datasets.prepared_dataset import Record
from halnet.evaluation.metrics import Score, evaluate
from halnet.evaluation.predictions import to_predictions
from halnet.results import Outputs
from halnet.runtimes.base import RuntimeSpec


@dataclass(frozen=True)
class Divergence:
    """Where two graphs part."""

    node: str  # name in the graph
    operator: str  # ONNX operator
    error: float  # largest difference as a share of the largest FP32 value; inf where not finite

    def __str__(self) -> str:
        return f"{self.node} ({self.operator}), by {self.error:.1%} of its largest value"


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


@dataclass(frozen=True, eq=False)
class Reference:
    """What PyTorch FP32 gives for some crops."""

    data: str  # what they are
    outputs: Outputs
    records: Sequence[Record]  # their labels; none where they are not known
    calibration: AgeCalibration


def compare(reference: Reference, outputs: Outputs, spec: RuntimeSpec) -> Parity:
    """Compare an artifact's outputs with the reference's for the same crops."""
    difference = np.abs(outputs.age.astype(np.float64) - reference.outputs.age)
    precision = spec.metadata.precision
    records = reference.records
    want = _scores(reference.outputs, records, reference.calibration)
    have = _scores(outputs, records, spec.metadata.calibration)

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


def _scores(
    outputs: Outputs, records: Sequence[Record], calibration: AgeCalibration
) -> dict[str, Score]:
    """Return the scores of all and of each decade; none where the true ages are not known."""
    if not records:
        return {}
    found = evaluate(to_predictions(outputs, records, calibration))
    return {"all": found.overall, **found.by_decade}
