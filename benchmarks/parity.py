"""The verifier: compares one artifact with its checkpoint in PyTorch FP32."""

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

DIVERGENCE_CROPS = 8  # of a dataset, to find the node at which an FP16 graph diverges


@dataclass(frozen=True)
class VerifyConfig:
    """What artifacts are compared with, and on which crops."""

    checkpoint: Path | None = None  # None: the checkpoint that comes with the package
    data: Path | None = None  # prepared dataset; None: crops of the bundled portrait
    split: str = "test"  # of the dataset
    threads: int | None = None  # number of threads for each runtime; None: one for each core


class Verifier:
    """Compares artifacts with their checkpoint in PyTorch FP32 on the CPU, which runs only once."""

    def __init__(self, config: VerifyConfig, on_progress: OnProgress = no_progress) -> None:
        """Read the index of the dataset. `on_progress` is called with (crops done, crops in all).

        Raises DatasetError for a dataset that cannot be used.
        """
        self._config = config
        self._checkpoint = config.checkpoint or bundled("halnet.safetensors")
        self._on_progress = on_progress
        self._data = PreparedDataset(config.data) if config.data else None
        self._records = self._data.select(config.split) if self._data else ()

    def __call__(self, artifact: Path, runtime: str = "auto", device: str = "auto") -> Parity:
        """Compare one artifact.

        Raises ArtifactError where it was made from another checkpoint, ConfigError where the
        dataset has another split than the one that the model was trained on, and what `open_model`
        raises.
        """
        options = RuntimeOptions(runtime, device, self._config.threads)
        with open_model(artifact, options) as candidate:
            self._check_origin(artifact, candidate)
            parity = compare(self._reference, self._run(candidate), candidate.spec)
            if parity.passed or parity.precision != "fp16":
                return parity
            return replace(parity, divergence=first_divergence(artifact, self._first_crops()))

    def _check_origin(self, artifact: Path, candidate: Runtime) -> None:
        made_from = candidate.spec.metadata.checkpoint_sha256
        found = self._pytorch.spec.metadata.checkpoint_sha256
        if made_from != found:
            raise ArtifactError(
                f"{artifact}: expected the checkpoint that it was made from, {made_from[:12]}..., "
                f"found {found[:12]}... in {self._checkpoint}; name it with --checkpoint"
            )
        trained_on = candidate.spec.metadata.split_sha256
        if self._data is not None and self._data.split_sha256 != trained_on:
            raise ConfigError(
                f"{self._config.data}: expected the split that the model was trained with, "
                f"{trained_on[:12]}..., found {self._data.split_sha256[:12]}..., whose test photos "
                "may have been trained on; name the dataset of the training with --data"
            )

    @cached_property
    def _pytorch(self) -> Runtime:
        return open_model(self._checkpoint, RuntimeOptions("pytorch", "cpu", self._config.threads))

    @cached_property
    def _reference(self) -> Reference:
        calibration = self._pytorch.spec.metadata.calibration
        return Reference(self._data_name(), self._run(self._pytorch), self._records, calibration)

    def _run(self, runtime: Runtime) -> Outputs:
        if self._data is None:
            return runtime.run(sample_crops())
        return self._data.outputs(runtime.run, self._records, self._on_progress)

    def _first_crops(self) -> Crops:
        if self._data is None:
            return sample_crops()
        return self._data.inner_crops(self._records[:DIVERGENCE_CROPS])

    def _data_name(self) -> str:
        if self._data is None:
            return "crops of the bundled portrait"
        return f"{self._data.dataset} {self._config.split} split {self._data.split_sha256[:12]}"
