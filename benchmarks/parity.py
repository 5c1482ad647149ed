"""Parity: does an artifact give the ages, and the intervals, that PyTorch FP32 gives?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from halnet.artifact import bundled, sha256_file
from halnet.benchmarks.samples import sample_crops
from halnet.datasets.prepared import (
    OnProgress,
    PreparedDataset,
    Record,
    judge_records,
    no_progress,
)
from halnet.errors import ArtifactError, ConfigError
from halnet.metrics import evaluate
from halnet.results import Outputs
from halnet.runtimes import Runtime, open_runtime


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
class Parity:
    """What a comparison found; MAE and coverage only where the true ages are known."""

    data: str  # what was compared on
    count: int  # crops
    precision: str
    tolerance: Tolerance
    p99: float  # years, of abs(delta age)
    maximum: float  # years, of abs(delta age)
    reference_mae: float | None = None  # years
    mae: float | None = None  # years
    reference_coverage: float | None = None  # share
    coverage: float | None = None  # share

    @property
    def failures(self) -> list[str]:
        """Return what lies outside the tolerance, in words; empty where the artifact passed."""
        checks = [("p99 of abs(delta age)", self.p99, self.tolerance.p99, "years")]
        if self.mae is not None and self.reference_mae is not None:
            checks.append(("delta MAE", self.mae - self.reference_mae, self.tolerance.mae, "years"))
        if self.coverage is not None and self.reference_coverage is not None:
            delta = self.coverage - self.reference_coverage
            checks.append(("delta coverage", delta, self.tolerance.coverage, "share"))
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
    """What to compare, on what."""

    artifact: Path
    checkpoint: Path | None = None  # None: the bundled one, if the artifact was made from it
    data: Path | None = None  # prepared dataset; None: crops of the bundled portrait
    split: str = "test"
    runtime: str = "auto"
    device: str = "auto"
    threads: int | None = None


def verify(config: VerifyConfig, on_progress: OnProgress = no_progress) -> Parity:
    """Compare an artifact with its checkpoint in PyTorch FP32 on the CPU.

    Raises ArtifactError where the artifact was not made from that checkpoint, ConfigError where
    the dataset's split is not the one that the model was trained on.
    """
    checkpoint = config.checkpoint or bundled("halnet.safetensors")
    with open_runtime(config.artifact, config.runtime, config.device, config.threads) as candidate:
        made_from = candidate.spec.metadata.checkpoint_sha256
        if made_from != sha256_file(checkpoint):
            raise ArtifactError(
                f"{config.artifact}: was made from the checkpoint {made_from[:12]}..., found "
                f"{sha256_file(checkpoint)[:12]}... in {checkpoint}; name it with --checkpoint"
            )
        with open_runtime(checkpoint, "pytorch", "cpu", config.threads) as reference:
            if config.data is None:
                crops = sample_crops()
                outputs = reference.run(crops), candidate.run(crops)
                return compare(reference, *outputs, candidate, (), "crops of the bundled portrait")
            data = PreparedDataset(config.data)
            trained_on = candidate.spec.metadata.split_sha256
            if data.split_sha256 != trained_on:
                raise ConfigError(
                    f"{config.data}: expected the split {trained_on[:12]}... that the model was "
                    f"trained with, found {data.split_sha256[:12]}...: its test photos may have "
                    "been trained on"
                )
            records = data.select(config.split)
            expected = data.outputs(reference.run, records, on_progress)
            found = data.outputs(candidate.run, records, on_progress)
            name = f"{data.dataset} {config.split} split {data.split_sha256[:12]}"
            return compare(reference, expected, found, candidate, records, name)


def compare(
    reference: Runtime,
    expected: Outputs,
    found: Outputs,
    candidate: Runtime,
    records: Sequence[Record],
    data: str,
) -> Parity:
    """Compare two runtimes' outputs for the same crops; `records` are their labels, if known."""
    difference = np.abs(found.age.astype(np.float64) - expected.age)
    precision = candidate.spec.metadata.precision
    parity = Parity(
        data=data,
        count=len(expected),
        precision=precision,
        tolerance=TOLERANCES[precision],
        p99=float(np.percentile(difference, 99)),
        maximum=float(difference.max()),
    )
    if not records:
        return parity
    want, have = (
        evaluate(judge_records(outputs, records, runtime.spec.metadata.calibration))
        for runtime, outputs in ((reference, expected), (candidate, found))
    )
    return replace(
        parity,
        reference_mae=want.overall.mae,
        mae=have.overall.mae,
        reference_coverage=want.overall.coverage,
        coverage=have.overall.coverage,
    )
