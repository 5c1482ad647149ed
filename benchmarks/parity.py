"""Verification: artifacts compared with their checkpoint in PyTorch FP32."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from halnet.artifact import bundled
from halnet.benchmarks.divergence import first_divergence
from halnet.benchmarks.samples import sample_crops
from halnet.datasets.prepared_dataset import OnProgress, PreparedDataset, no_progress
from halnet.errors import ArtifactError, ConfigError
from halnet.evaluation.parity import Parity, Reference, compare
from halnet.results import Outputs
from halnet.runtimes.backends import open_model
from halnet.runtimes.base import Crops, Runtime, RuntimeOptions


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
        options = RuntimeOptions(runtime, device, self._config.threads)
        with open_model(artifact, options) as candidate:
            self._check_origin(artifact, candidate)
            parity = compare(self._reference, self._run(candidate), candidate.spec)
            if parity.passed or parity.precision != "fp16":
                return parity
            found = first_divergence(artifact, self._first_crops())
            return replace(parity, divergence=found)

    def _check_origin(self, artifact: Path, candidate: Runtime) -> None:
        made_from = candidate.spec.metadata.checkpoint_sha256
        found = self._pytorch.spec.metadata.checkpoint_sha256
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
    def _pytorch(self) -> Runtime:
        return open_model(self._checkpoint, RuntimeOptions("pytorch", "cpu", self._config.threads))

    @cached_property
    def _reference(self) -> Reference:
        calibration = self._pytorch.spec.metadata.calibration
        return Reference(self._name(), self._run(self._pytorch), self._records, calibration)

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
