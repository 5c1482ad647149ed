"""Accuracy: evaluates a model on prepared datasets, from crops or from raw photos."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from halnet.artifact import CHECKPOINTS, find_model, label_model
from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import OnProgress, PreparedDataset, no_progress
from halnet.datasets.record import Record
from halnet.errors import ArtifactError, ConfigError, DatasetError, ImageError
from halnet.evaluation.licence import describe_licence
from halnet.evaluation.metrics import Evaluation, evaluate
from halnet.evaluation.predictions import Predictions, to_predictions
from halnet.evaluation.unseen import (
    CHECKPOINT_SUFFIX,
    UnseenPhotos,
    find_training,
    find_unseen,
    join_records,
    list_empty,
)
from halnet.predictor import Predictor
from halnet.results import Face, Outputs, join_outputs
from halnet.runtimes.backends import open_model, runtimes_for
from halnet.runtimes.base import RuntimeOptions, RuntimeSpec


@dataclass(frozen=True)
class EvaluateConfig:
    """What to evaluate, and on which photos."""

    data: tuple[Path, ...]  # prepared datasets
    model: Path | None = None  # None: the bundled model
    split: str = "test"  # of the datasets that the model was trained on
    # Folders of the datasets, one for each of `data`, to start from raw photos and detect faces.
    photos: tuple[Path, ...] = ()
    limit: int = 0  # number of photos of each dataset, spread evenly; 0: all of them
    flip: bool = False  # average each crop with its mirror image, which takes twice the time
    options: RuntimeOptions = RuntimeOptions()
    detector: Path | None = None  # local YuNet file; only `photos` needs it
    checkpoint: Path | None = None  # from which an artifact was made; see `find_training`


@dataclass(frozen=True, eq=False)
class OpenedModel:
    """A model that is open, and the photos on which it is evaluated."""

    predictor: Predictor
    data: DataCollection
    photos: tuple[UnseenPhotos, ...]
    empty: tuple[UnseenPhotos, ...]  # the datasets without photos

    @property
    def spec(self) -> RuntimeSpec:
        """What runs, with the metadata of the model."""
        return self.predictor.spec

    @property
    def records(self) -> tuple[Record, ...]:
        """The photos of all datasets, in order."""
        return join_records(self.photos)


@dataclass(frozen=True, eq=False)
class SetReport:
    """The result of an evaluation on one dataset."""

    photos: UnseenPhotos
    evaluation: Evaluation
    missed: int  # number of photos without a detected face, which no metric includes

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON."""
        return {
            "dataset": self.photos.data.dataset,
            "split": "all" if self.photos.is_whole else self.photos.split,
            "split_sha256": self.photos.data.split_sha256,
            "relation": self.photos.relation.value,
            "seen_left_out": self.photos.seen,
            "without_face": self.missed,
            **self.evaluation.to_dict(),
        }


@dataclass(frozen=True, eq=False)
class ModelReport:
    """The result of an evaluation."""

    evaluation: Evaluation  # of the photos of all datasets together
    predictions: Predictions  # for the photos of all datasets
    sets: dict[str, SetReport]  # by the name of the dataset
    spec: RuntimeSpec
    flip: bool
    empty: tuple[UnseenPhotos, ...] = ()  # the datasets without photos

    @property
    def title(self) -> str:
        """The model, its runtime and the photos, as the title of a table."""
        return describe_run(self.spec, self.flip, [report.photos for report in self.sets.values()])

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON. With several datasets, `sets` has the values of each.

        `not_evaluated` has a sentence about each dataset without photos, if there is one.
        """
        reports = list(self.sets.values())
        values = run_values(self.spec, self.flip)
        if len(reports) == 1 and not self.empty:
            return {**values, **reports[0].to_dict()}
        sets = {name: report.to_dict() for name, report in self.sets.items()}
        return {**values, **self.evaluation.to_dict(), "sets": sets, **list_empty(self.empty)}


def evaluate_model(config: EvaluateConfig, on_progress: OnProgress = no_progress) -> ModelReport:
    """Evaluate a model on prepared datasets, from prepared crops or from the raw photos.

    `on_progress` is called with the number of finished photos and of all photos. Raises what
    `open_for_evaluation` and `run_photos` raise.
    """
    missed: dict[str, int] = {}
    with open_for_evaluation(config) as opened:
        spec, photos, empty = opened.spec, opened.photos, opened.empty
        if config.photos:
            photos, outputs, missed = _run_raw_photos(opened, config, on_progress)
        else:
            run = opened.predictor.predict_crops
            outputs = opened.data.outputs(run, opened.records, on_progress)
    predictions = to_predictions(outputs, join_records(photos), spec.metadata.calibration)
    overall = evaluate(predictions)
    names = np.array(predictions.dataset)
    sets = {}
    for part in photos:
        own = names == part.name
        evaluation = overall if own.all() else evaluate(predictions.select(own))
        sets[part.name] = SetReport(part, evaluation, missed.get(part.name, 0))
    return ModelReport(overall, predictions, sets, spec, config.flip, empty)


@contextmanager
def open_for_evaluation(config: EvaluateConfig, quality: bool = False) -> Iterator[OpenedModel]:
    """Open a model and choose the photos on which it is evaluated.

    With `quality`, the predictor measures the quality of each face that it finds in a photo.

    Raises DatasetError if a dataset or a folder of photos cannot be used, ConfigError if the
    numbers of datasets and of folders of photos differ, and what `find_checkpoint`, `open_model`
    and `find_training` raise.
    """
    checkpoint = find_checkpoint(config.checkpoint) if config.checkpoint else None
    if config.photos and len(config.photos) != len(config.data):
        raise ConfigError(
            f"photos: expected one folder for each of {len(config.data)} datasets, found "
            f"{len(config.photos)}; name --photos once for each --data, in the same order"
        )
    data = DataCollection([PreparedDataset(path) for path in config.data])
    with open_model(config.model, config.options) as runtime:
        spec = runtime.spec
        training = find_training(spec.metadata, Path(spec.model), checkpoint)
        found = find_unseen(data, config.split, config.limit, training)
        photos = tuple(part for part in found if part.records)
        empty = tuple(part for part in found if not part.records)
        for part, folder in zip(found, config.photos, strict=False):
            _check_source(part, folder)
        predictor = Predictor(runtime, detector=config.detector, flip=config.flip, quality=quality)
        yield OpenedModel(predictor, data, photos, empty)


def find_checkpoint(name: str | Path) -> Path:
    """Return the path of a checkpoint, which is named by its path or by a name in `CHECKPOINTS`.

    Raises ArtifactError unless the file exists and has the name of a checkpoint.
    """
    path = find_model(name)
    if path.is_file() and path.name.endswith(CHECKPOINT_SUFFIX):
        return path
    found = "no such file"
    if path.exists():
        found = "an artifact" if runtimes_for(path) else "another file or a folder"
    raise ArtifactError(
        f"{path}: expected a checkpoint ({CHECKPOINT_SUFFIX}), found {found}; name a file that "
        f"halnet train wrote, such as best_model{CHECKPOINT_SUFFIX} in a run folder, or "
        f"{' or '.join(CHECKPOINTS)}"
    )


def _check_source(photos: UnseenPhotos, folder: Path) -> None:
    """Raise DatasetError unless a folder contains the first of the original photos."""
    for record in photos.records[:1]:
        if not (folder / record.source).is_file():
            found = f"no {record.source} in it" if folder.is_dir() else "no such folder"
            raise DatasetError(
                f"{folder}: expected the original photos of {photos.name}, found {found}; name "
                f"with --photos the folder from which halnet prepare made {photos.data.root}"
            )


def describe_run(spec: RuntimeSpec, flip: bool, photos: Sequence[UnseenPhotos]) -> str:
    """Return the model, its runtime and the photos in words."""
    flipped = ", averaged with mirror images" if flip else ""
    where = ", ".join(map(str, photos))
    return f"{label_model(spec.model)} on {spec.runtime}{flipped}: {where}"


def run_values(spec: RuntimeSpec, flip: bool) -> dict[str, Any]:
    """Return what ran, and the licence of the model if it states one, as values for JSON."""
    licence = describe_licence(spec.metadata)
    model = {"model": label_model(spec.model), "runtime": spec.runtime, "flip": flip}
    return {**model, **({"licence": licence} if licence else {})}


def _run_raw_photos(
    opened: OpenedModel, config: EvaluateConfig, on_progress: OnProgress
) -> tuple[tuple[UnseenPhotos, ...], Outputs, dict[str, int]]:
    """Return the photos that have a face, their outputs, and the numbers of the other photos."""
    folders = dict(zip(opened.data.sets, config.photos, strict=True))
    total = len(opened.records)
    done = 0
    outputs, kept, missed = [], [], {}
    for part in opened.photos:

        def report(own: int, _: int, before: int = done) -> None:
            on_progress(before + own, total)

        found, without = run_photos(opened.predictor, folders[part.name], part.records, report)
        done += len(part.records)
        outputs.append(found)
        left = set(without)
        kept.append(replace(part, records=tuple(r for r in part.records if r not in left)))
        missed[part.name] = len(without)
    return tuple(kept), join_outputs(outputs), missed


def run_photos(
    predictor: Predictor,
    source: Path,
    records: Sequence[Record],
    on_progress: OnProgress = no_progress,
) -> tuple[Outputs, list[Record]]:
    """Return the outputs for the largest face of each raw photo, and the photos without a face.

    `source` is the folder of the dataset. The outputs are in the order of `records` and leave out
    the photos without a face. Raises ImageError if no photo has a face or one cannot be read.
    """
    faces: list[Face] = []
    missed = []
    for done, record in enumerate(records, 1):
        found = predictor(source / record.source)
        if found:
            faces.append(found[0])
        else:
            missed.append(record)
        on_progress(done, len(records))
    if not faces:
        raise ImageError(
            f"{source}: expected photos of faces, found no face in any of {len(records)} photos"
        )
    outputs = Outputs(
        np.array([face.age for face in faces], np.float32),
        np.array([face.stddev for face in faces], np.float32),
        np.stack([face.probabilities for face in faces]),
    )
    return outputs, missed
