"""The origin of a model: its datasets, the photos it was trained on, and its calibration."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from halnet.age_calibration import MIN_PHOTOS, fit_age_calibration
from halnet.ages import LEGAL_AGE, Floats
from halnet.artifact import InputSpec, Metadata, TrainedSet
from halnet.datasets.collection import DataCollection
from halnet.datasets.sources import DATASETS, RESEARCH
from halnet.errors import DatasetError
from halnet.network.checkpoint import Checkpoint
from halnet.results import Outputs
from halnet.trained_on import Hashes
from halnet.training.initial_weights import (
    InitialWeights,
    join_hashes,
    trained_photos,
    trained_splits,
)
from halnet.training.photos import SetPhotos, TrainingPhotos, join_records
from halnet.training.validation import exact_mae, reference_mae

MIN_VALIDATION = 9  # number of photos; with fewer, no conformal interval reaches a level of 90 %


@dataclass(frozen=True, eq=False)
class RunOrigin:
    """What the checkpoint of a run states about its origin."""

    datasets: tuple[TrainedSet, ...]
    input: InputSpec  # how the crops were made; of several ways the oldest
    # Hashes of the photos that this run, its initial weights and its teachers were trained on.
    trained_on: Hashes
    # The initial weights, if there are too few validation photos to fit another calibration.
    base: Metadata | None = None
    licence: str = ""  # of the weights; see `find_licence`
    terms: str = ""

    def metadata(self, sets: Sequence[SetPhotos], outputs: Outputs) -> Metadata:
        """Return the metadata of a model, from its outputs for the validation photos in order.

        The calibration is fitted on the photos of all datasets together, or is that of the initial
        weights.
        """
        validation_mae = reference_mae({"val": exact_mae(sets, outputs.age)})
        if self.base:
            return replace(
                self.base,
                datasets=self.datasets,
                input=self.input,
                reference_mae=validation_mae,
                checkpoint_sha256="",
                licence=self.licence,
                terms=self.terms,
            )
        records = join_records(sets)
        exact = [i for i, record in enumerate(records) if record.is_exact]
        ages = [records[i].age for i in exact]
        return Metadata(
            calibration=fit_age_calibration(
                outputs.probabilities,
                [record.age_low for record in records],
                [record.age_high for record in records],
            ),
            datasets=self.datasets,
            input=self.input,
            reference_mae=validation_mae,
            minor_errors=list_minor_errors(outputs.age[exact], ages),
            licence=self.licence,
            terms=self.terms,
        )


def list_minor_errors(ages: Floats, labels: Sequence[int]) -> tuple[tuple[float, ...], ...]:
    """Return the errors of predicted ages by true age, for the ages 0 to 17, in rising order.

    `ages` are predicted, and `labels` are true, both in years. The errors are rounded.
    """
    errors: list[list[float]] = [[] for _ in range(LEGAL_AGE)]
    for age, label in zip(ages.tolist(), labels, strict=True):
        if label < LEGAL_AGE:
            errors[label].append(round(age - label, 2))
    return tuple(tuple(sorted(part)) for part in errors)


def find_origin(
    data: DataCollection,
    photos: TrainingPhotos,
    initial: InitialWeights,
    teachers: Sequence[Checkpoint],
) -> RunOrigin:
    """Return the origin of a run on `photos` of `data`.

    Raises DatasetError if there are too few validation photos for a calibration.
    """
    own = [part.data.hashes[part.rows] for part in photos.sets]
    seen = [checkpoint for checkpoint in (initial.checkpoint, *teachers) if checkpoint]
    before = [trained_photos(checkpoint, data) for checkpoint in seen]
    counts = _count_photos(data, photos, [checkpoint.metadata for checkpoint in seen])
    licence, terms = find_licence(
        [part.kind for part in data.sets.values()], [checkpoint.metadata for checkpoint in seen]
    )
    return RunOrigin(
        datasets=tuple(
            TrainedSet(name, part.split_sha256, counts[name]) for name, part in data.sets.items()
        ),
        input=min((part.input for part in data.sets.values()), key=lambda spec: spec.way),
        trained_on=join_hashes([*own, *before]),
        base=_find_base(data, initial),
        licence=licence,
        terms=terms,
    )


def _count_photos(
    data: DataCollection, photos: TrainingPhotos, seen: Sequence[Metadata]
) -> dict[str, int]:
    """Return the number of training photos of each dataset.

    It is that of this run, or that of the initial weights or a teacher if it is larger: they may
    have been trained on more photos of the same split.
    """
    own = {part.name: len(part.records) for part in photos.sets}
    trained = [part for metadata in seen for part in metadata.datasets]
    return {
        name: max(
            own.get(name, 0),
            *(t.photos or 0 for t in trained if t.split_sha256 == part.split_sha256),
            0,
        )
        for name, part in data.sets.items()
    }


def find_licence(kinds: Sequence[str], seen: Sequence[Metadata]) -> tuple[str, str]:
    """Return the licence and the terms of weights: those of their photos and of earlier weights.

    `kinds` are kinds of datasets, and `seen` is the metadata of the initial weights and of the
    teachers. The licence is the strictest one, and the terms are listed. Checkpoints of format 1
    state no terms, so the terms of the datasets that they name are taken.
    """
    before = [part.name for metadata in seen if not metadata.terms for part in metadata.datasets]
    known = [DATASETS[kind] for kind in (*kinds, *before) if kind in DATASETS]
    stated = [(kind.licence, kind.terms) for kind in known if kind.licence]
    stated += [(metadata.licence, metadata.terms) for metadata in seen if metadata.licence]
    licences = {licence for licence, _ in stated}
    terms = dict.fromkeys(line for _, text in stated for line in text.split("; "))
    licence = RESEARCH if RESEARCH in licences else ", ".join(sorted(licences))
    return licence, "; ".join(terms)


def _find_base(data: DataCollection, initial: InitialWeights) -> Metadata | None:
    """Return the metadata of the initial weights if no better calibration can be fitted, or None.

    Raises DatasetError if there is no calibration at all.
    """
    count = len(data.select("val"))
    if initial.checkpoint and initial.kind == "checkpoint" and count < MIN_PHOTOS:
        splits = trained_splits(initial.checkpoint)
        if any(part.split_sha256 not in splits for part in data.sets.values()):
            return initial.checkpoint.metadata
    if count < MIN_VALIDATION:
        raise DatasetError(
            f"{', '.join(str(part.root) for part in data.sets.values())}: expected at least "
            f"{MIN_VALIDATION} validation photos to calibrate the 90 % interval, found {count}; "
            "prepare a larger dataset, or start from a checkpoint with --weights, whose "
            "calibration is kept"
        )
    return None
