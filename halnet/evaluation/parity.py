"""Parity: whether an artifact predicts the same ages and intervals as PyTorch in FP32.

On several datasets, the errors and the ages of each dataset are compared, and the coverage of all
datasets together, because a dataset of few photos says little about a rate.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from halnet.ages import AgeCalibration
from halnet.datasets.record import Record
from halnet.evaluation.licence import describe_licence
from halnet.evaluation.metrics import decades
from halnet.evaluation.predictions import Predictions, to_predictions
from halnet.evaluation.scores import Chosen, RangeScore, Score, score_exact, score_ranges
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
# Number of photos. In a small dataset, the coverage may change by so many photos in any case.
ALLOWED_PHOTOS = 2
# Number of photos. In a smaller dataset, the mean error in INT8 may also change by what chance
# explains: 95 % of the means of so few changes are within so many standard errors.
MANY_PHOTOS = 299
CHANCE = 1.96
OPTIONAL = ("by_set", "licence")  # values of a parity that are left out of its JSON if empty


@dataclass(frozen=True)
class Comparison:
    """Differences in one group of crops. Without true ages, the two scores are None."""

    count: int  # number of crops
    p99: float  # years, 99th percentile of abs(delta age)
    maximum: float  # years, largest abs(delta age)
    reference: Score | RangeScore | None = None  # of PyTorch in FP32
    artifact: Score | RangeScore | None = None
    standard_error: float = 0.0  # years, of `delta_mae` as the mean of the changes of single errors

    @property
    def delta_mae(self) -> float:
        """MAE of the artifact minus MAE of the reference, in years; 0 without true ages.

        For labels that are ranges of ages, it is the difference of the mean distances to them.
        """
        if self.artifact is None or self.reference is None:
            return 0.0
        return self.artifact.error - self.reference.error

    @property
    def delta_coverage(self) -> float:
        """Coverage of the artifact minus that of the reference, a share; 0 without true ages."""
        if self.artifact is None or self.reference is None:
            return 0.0
        return self.artifact.coverage - self.reference.coverage

    @property
    def error_name(self) -> str:
        """What `delta_mae` is the difference of."""
        return "distance" if isinstance(self.reference, RangeScore) else "MAE"

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON."""
        return {
            **asdict(self),
            "reference": _score_to_dict(self.reference),
            "artifact": _score_to_dict(self.artifact),
        }


@dataclass(frozen=True)
class Parity:
    """The result of comparing an artifact with PyTorch in FP32."""

    data: str  # name of the crops
    precision: str
    runtime: str  # runtime of the artifact, with its version and provider
    tolerance: Tolerance
    overall: Comparison  # of all crops; if there are exact ages and ranges, of the exact ages
    by_decade: dict[str, Comparison] = field(default_factory=dict)  # "20-29": ...
    divergence: Divergence | None = None  # for FP16 outside the tolerance, the first wrong node
    # By the name of the dataset, if there are several, or exact ages and ranges in one. Photos with
    # exact ages and photos with ranges of one dataset are separate. Together, they are all crops.
    by_set: dict[str, Comparison] = field(default_factory=dict)
    licence: str = ""  # of the weights, with its terms, if the artifact states one

    @property
    def delta_coverage(self) -> float:
        """Coverage of the artifact minus that of the reference over all datasets, a share."""
        parts = self.by_set.values() or (self.overall,)
        return sum(part.count * part.delta_coverage for part in parts) / self.count

    @property
    def count(self) -> int:
        """Number of crops of all datasets."""
        return sum(part.count for part in self.by_set.values()) or self.overall.count

    @property
    def failures(self) -> list[str]:
        """A sentence for each value outside the tolerance; empty if the artifact passed."""
        found = []
        for name, part in (self.by_set or {"": self.overall}).items():
            where = f" on {name}" if name else ""
            is_small = self.precision == "int8" and part.count < MANY_PHOTOS
            chance = CHANCE * part.standard_error if is_small else 0.0
            for text, value, bound, more in (
                ("99th percentile of the age shift", part.p99, self.tolerance.p99, 0.0),
                (f"change of the {part.error_name}", part.delta_mae, self.tolerance.mae, chance),
            ):
                if not abs(value) <= bound + more:  # NaN fails too
                    found.append(_failure(text + where, value, bound, "years"))
        bound = self.tolerance.coverage
        changed, allowed = (
            round(abs(share) * self.count, 6) for share in (self.delta_coverage, bound)
        )
        if not changed <= max(allowed, ALLOWED_PHOTOS):
            name = "change of the interval coverage"
            found.append(_failure(name, self.delta_coverage, bound, "(share)"))
        return found

    @property
    def passed(self) -> bool:
        """Whether each value is within the tolerance."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """Return the result as values for JSON."""
        values = {
            **asdict(self),
            "overall": self.overall.to_dict(),
            "by_decade": {name: part.to_dict() for name, part in self.by_decade.items()},
            "by_set": {name: part.to_dict() for name, part in self.by_set.items()},
            "passed": self.passed,
            "failures": self.failures,
        }
        return {name: value for name, value in values.items() if value or name not in OPTIONAL}


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
    by_decade: dict[str, Comparison] = {}
    by_set: dict[str, Comparison] = {}
    scores: tuple[Predictions, Predictions] | None = None
    if reference.records:
        scores = (
            to_predictions(reference.outputs, reference.records, reference.calibration),
            to_predictions(outputs, reference.records, spec.metadata.calibration),
        )

    def group(chosen: Chosen) -> Comparison:
        part = difference[chosen]
        p99, maximum = float(np.percentile(part, 99)), float(part.max())
        if scores is None:
            return Comparison(len(part), p99, maximum)
        before, after = scores
        changes = np.abs(after.error[chosen]) - np.abs(before.error[chosen])
        standard_error = float(np.std(changes) / np.sqrt(len(part)))
        return Comparison(
            len(part),
            p99,
            maximum,
            _score(before, chosen),
            _score(after, chosen),
            standard_error,
        )

    everything = np.ones(len(difference), bool)
    if scores:
        exact = scores[0].is_exact
        everything = exact if exact.any() else everything
        by_decade = {name: group(chosen) for name, chosen in decades(scores[0]).items()}
        parts = _parts(scores[0])
        by_set = {name: group(chosen) for name, chosen in parts.items()} if len(parts) > 1 else {}
    return Parity(
        data=reference.data,
        precision=spec.metadata.precision,
        runtime=spec.software,
        tolerance=TOLERANCES[spec.metadata.precision],
        overall=group(everything),
        by_decade=by_decade,
        by_set=by_set,
        licence=describe_licence(spec.metadata),
    )


def _score(predictions: Predictions, chosen: Chosen) -> Score | RangeScore:
    """Return the score of the chosen photos, whose labels are all exact or all ranges."""
    if predictions.is_exact[chosen].all():
        return score_exact(predictions, chosen, bootstrap=False)
    return score_ranges(predictions, chosen, bootstrap=False)


def _parts(predictions: Predictions) -> dict[str, Chosen]:
    """Return the photos of each dataset. If it has exact ages and ranges, these are two parts."""
    names = np.asarray(predictions.dataset)
    exact = predictions.is_exact
    parts = {}
    for name in dict.fromkeys(predictions.dataset):
        own = names == name
        if exact[own].all() or not exact[own].any():
            parts[name] = own
        else:
            parts |= {name: own & exact, f"{name}, ranges": own & ~exact}
    return parts


def _score_to_dict(score: Score | RangeScore | None) -> dict[str, Any] | None:
    """Return the values of a score without intervals, which are not compared."""
    if score is None:
        return None
    return {name: value for name, value in asdict(score).items() if not name.endswith("_interval")}


def _failure(name: str, value: float, bound: float, unit: str) -> str:
    return f"expected the {name} within {bound:g} {unit}, found {value:+.4f}"
