"""Parity: whether an artifact predicts the same ages and intervals as PyTorch in FP32."""

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
    """The first node of a graph whose output differs from the output in FP32."""

    node: str  # name in the graph
    operator: str  # ONNX operator
    error: float  # largest difference, as a share of the largest FP32 value; inf if not finite

    def __str__(self) -> str:
        return (
            f"{self.node} ({self.operator}), which differs by {self.error:.1%} of its largest value"
        )


@dataclass(frozen=True)
class Tolerance:
    """The largest differences from PyTorch in FP32 that an artifact may have."""

    mae: float  # years, for abs(delta MAE)
    p99: float  # years, for the 99th percentile of abs(delta age)
    coverage: float  # share of photos, for abs(delta coverage of the 90 % interval)


TOLERANCES = {
    "fp32": Tolerance(0.001, 0.01, 0.002),
    "fp16": Tolerance(0.01, 0.1, 0.005),
    "int8": Tolerance(0.05, 2.0, 0.01),
}


@dataclass(frozen=True)
class Comparison:
    """Differences in one group of crops. Without true ages, the two scores are None."""

    count: int  # number of crops
    p99: float  # years, 99th percentile of abs(delta age)
    maximum: float  # years, largest abs(delta age)
    reference: Score | None = None  # of PyTorch in FP32
    artifact: Score | None = None

    @property
    def delta_mae(self) -> float:
        """MAE of the artifact minus MAE of the reference, in years; 0 without true ages."""
        return self.artifact.mae - self.reference.mae if self.artifact and self.reference else 0.0

    @property
    def delta_coverage(self) -> float:
        """Coverage of the artifact minus that of the reference, a share; 0 without true ages."""
        if self.artifact is None or self.reference is None:
            return 0.0
        return self.artifact.coverage - self.reference.coverage


@dataclass(frozen=True)
class Parity:
    """The result of comparing an artifact with PyTorch in FP32."""

    data: str  # name of the crops
    precision: str
    runtime: str  # runtime of the artifact, with its version and provider
    tolerance: Tolerance
    overall: Comparison
    by_decade: dict[str, Comparison] = field(default_factory=dict)  # "20-29": ...
    divergence: Divergence | None = None  # for FP16 outside the tolerance, the first wrong node

    @property
    def failures(self) -> list[str]:
        """A sentence for each value outside the tolerance; empty if the artifact passed."""
        checks = (
            ("99th percentile of the age shift", self.overall.p99, self.tolerance.p99, " years"),
            ("change of the MAE", self.overall.delta_mae, self.tolerance.mae, " years"),
            (
                "change of the interval coverage, a share,",
                self.overall.delta_coverage,
                self.tolerance.coverage,
                "",
            ),
        )
        return [
            f"expected the {name} within {bound:g}{unit}, found {value:+.4f}"
            for name, value, bound, unit in checks
            if not abs(value) <= bound  # NaN fails too
        ]

    @property
    def passed(self) -> bool:
        """Whether each value is within the tolerance."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """Return the result as values for JSON."""
        return {**asdict(self), "passed": self.passed, "failures": self.failures}


@dataclass(frozen=True, eq=False)
class Reference:
    """The outputs of PyTorch in FP32 for some crops."""

    data: str  # name of the crops
    outputs: Outputs
    records: Sequence[Record]  # the labels of the crops; empty if the true ages are not known
    calibration: AgeCalibration


def compare(reference: Reference, outputs: Outputs, spec: RuntimeSpec) -> Parity:
    """Compare the outputs of an artifact with the reference for the same crops.

    `spec` describes the runtime that computed `outputs`.
    """
    difference = np.abs(outputs.age.astype(np.float64) - reference.outputs.age)
    records = reference.records
    expected = _scores(reference.outputs, records, reference.calibration)
    found = _scores(outputs, records, spec.metadata.calibration)
    decades = np.array([record.age // 10 * 10 for record in records])

    def group(name: str, chosen: Any) -> Comparison:
        part = difference[chosen]
        p99, maximum = float(np.percentile(part, 99)), float(part.max())
        return Comparison(len(part), p99, maximum, expected.get(name), found.get(name))

    return Parity(
        data=reference.data,
        precision=spec.metadata.precision,
        runtime=f"{spec.runtime} {spec.version}, {spec.provider}",
        tolerance=TOLERANCES[spec.metadata.precision],
        overall=group("all", slice(None)),
        by_decade={
            name: group(name, decades == int(name.split("-")[0]))
            for name in expected
            if name != "all"
        },
    )


def _scores(
    outputs: Outputs, records: Sequence[Record], calibration: AgeCalibration
) -> dict[str, Score]:
    """Return the scores of all photos and of each decade; empty if the true ages are not known."""
    if not records:
        return {}
    evaluation = evaluate(to_predictions(outputs, records, calibration))
    return {"all": evaluation.overall, **evaluation.by_decade}
