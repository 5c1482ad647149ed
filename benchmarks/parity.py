"""The verifier: compares one artifact with its checkpoint in PyTorch FP32."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from halnet.artifact import CHECKPOINTS
from halnet.benchmarks.divergence import first_divergence
from halnet.benchmarks.samples import sample_crops
from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import OnProgress, PreparedDataset, no_progress
from halnet.errors import ArtifactError, ConfigError
from halnet.evaluation.accuracy import find_checkpoint
from halnet.evaluation.parity import Parity, Reference, compare
from halnet.evaluation.unseen import (
    Relation,
    UnseenPhotos,
    find_training,
    find_unseen,
    join_records,
)
from halnet.results import Outputs
from halnet.runtimes.backends import open_model
from halnet.runtimes.base import Crops, Runtime, RuntimeOptions

DIVERGENCE_CROPS = 8  # to find the node at which an FP16 graph diverges


@dataclass(frozen=True)
class VerifyConfig:
    """What artifacts are compared with, and on which crops."""

    checkpoint: Path | None = None  # None: the checkpoint that comes with the package
    data: tuple[Path, ...] = ()  # prepared datasets; empty: crops of the bundled portrait
    split: str = "test"  # of the datasets that the model was trained on
    threads: int | None = None  # number of threads for each runtime; None: one for each core
    # Whether other datasets are compared on `split` too, instead of on all photos. INT8 is
    # calibrated on their validation photos, which then prove nothing.
    only_split: bool = False


class Verifier:
    """Compares artifacts with their checkpoint in PyTorch FP32 on the CPU, which runs only once."""

    def __init__(self, config: VerifyConfig, on_progress: OnProgress = no_progress) -> None:
        """Read the datasets. `on_progress` is called with (crops done, crops in all).

        Raises ArtifactError if the checkpoint does not exist or is another kind of file, and
        DatasetError for a dataset that cannot be used.
        """
        self._config = config
        self._checkpoint = find_checkpoint(config.checkpoint or CHECKPOINTS[0])
        self._on_progress = on_progress
        sets = [PreparedDataset(path) for path in config.data]
        self._data = DataCollection(sets) if sets else None

    def prepare(self) -> None:
        """Load the checkpoint and choose the photos, so that a fault is found before other work.

        Raises what the comparison of an artifact raises for the checkpoint or the datasets.
        """
        _ = self._pytorch, self.photos

    def __call__(self, artifact: Path, runtime: str = "auto", device: str = "auto") -> Parity:
        """Compare one artifact.

        Raises ArtifactError where it was made from another checkpoint, ConfigError where a dataset
        has another split than those that the model was trained on and the checkpoint does not say
        which photos these were, and what `open_model` raises.
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

    @cached_property
    def _pytorch(self) -> Runtime:
        return open_model(self._checkpoint, RuntimeOptions("pytorch", "cpu", self._config.threads))

    @cached_property
    def photos(self) -> tuple[UnseenPhotos, ...]:
        """The photos of each dataset that the model was not trained on; there may be none.

        Raises what the comparison of an artifact raises for the checkpoint or the datasets.
        """
        if self._data is None:
            return ()
        training = find_training(self._pytorch.spec.metadata, self._checkpoint)
        found = find_unseen(self._data, self._config.split, 0, training, self._config.only_split)
        for part in found:
            if part.relation is Relation.UNKNOWN:
                sha256 = part.data.split_sha256
                wanted = ", ".join(f"{split[:12]}..." for split in sorted(training.splits))
                raise ConfigError(
                    f"{part.data.root}: expected the split that the model was trained with, "
                    f"{wanted}, found {sha256[:12]}..., whose test photos may have been trained "
                    "on; name the dataset of the training with --data"
                )
        return found

    @cached_property
    def _reference(self) -> Reference:
        calibration = self._pytorch.spec.metadata.calibration
        names = [str(part) for part in self.photos if part.records]
        name = ", ".join(names) or "crops of the bundled portrait"
        records = join_records(self.photos)
        return Reference(name, self._run(self._pytorch), records, calibration)

    def _run(self, runtime: Runtime) -> Outputs:
        if self._data is None:
            return runtime.run(sample_crops())
        return self._data.outputs(runtime.run, join_records(self.photos), self._on_progress)

    def _first_crops(self) -> Crops:
        if self._data is None:
            return sample_crops()[:DIVERGENCE_CROPS]
        return self._data.inner_crops(join_records(self.photos)[:DIVERGENCE_CROPS])
