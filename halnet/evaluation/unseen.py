"""Photos that a model has not seen: on which photos of a dataset a model may be evaluated.

A model is at home on the datasets whose splits it was trained on. It is evaluated on their test
photos. Other datasets are away from home: all of their photos can be used, in whatever part of
their split they are, if the model was not trained on copies of them. The photos decide this, by the
hashes that a checkpoint contains. An artifact refers to its checkpoint by the SHA-256 of the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from halnet.artifact import CHECKPOINTS, Metadata, bundled, find_model, sha256_file
from halnet.datasets.collection import DataCollection
from halnet.datasets.crop_hash import find_close
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import Record, spread
from halnet.errors import ArtifactError, DatasetError
from halnet.json_text import parse_json
from halnet.trained_on import TRAINED_ON_KEY, Hashes, decode_hashes

CHECKPOINT_SUFFIX = ".safetensors"
# Share of the photos of a dataset. If a model was trained on more of them, it knows the dataset by
# another split. If it was trained on fewer, they are photos that two datasets have in common.
MAX_SEEN = 0.1


class Relation(StrEnum):
    """What a model knows of a dataset."""

    HOME = "home"  # it was trained on this split
    AWAY = "away"  # it was not trained on photos of the dataset
    OTHER_SPLIT = "other split"  # it was trained on photos of the dataset, by another split
    UNKNOWN = "unknown"  # the hashes of its training photos are not known


@dataclass(frozen=True, eq=False)
class Training:
    """What is known of the photos that a model was trained on."""

    splits: frozenset[str]  # SHA-256 of the splits
    hashes: Hashes | None  # of the training photos; None: not known


@dataclass(frozen=True, eq=False)
class UnseenPhotos:
    """The photos of one dataset on which a model is evaluated; there may be none."""

    name: str  # of the dataset, unique in its collection
    data: PreparedDataset
    split: str  # the part of the split that is used, unless all photos are
    records: tuple[Record, ...]
    relation: Relation
    seen: int = 0  # number of photos that are left out: the model was trained on copies of them
    is_whole: bool = False  # whether all photos are used, in whatever part of the split they are

    def __str__(self) -> str:
        part = (
            "all photos" if self.is_whole else f"{self.split} split {self.data.split_sha256[:12]}"
        )
        away = ", away" if self.relation is Relation.AWAY else ""
        return f"{self.name} {part}{away}"

    @property
    def note(self) -> str:
        """A sentence about photos that are left out, or that may have been trained on, or ""."""
        if not self.records:
            where = "" if self.is_whole else f" in the split {self.split}"
            found = f"no photos{where}"
            if self.seen:
                found = f"the model was trained on copies of all {self.seen} photos{where}"
            return f"{self.name}: {found}, so the model is not evaluated on this dataset"
        if self.relation is Relation.UNKNOWN:
            return (
                f"{self.name}: it is not known whether the model was trained on these photos, "
                "because no hashes of its training photos were found"
            )
        if self.seen:
            return f"{self.name}: {self.seen} photos are left out: the model was trained on copies"
        return ""


def find_training(metadata: Metadata, model: Path, checkpoint: Path | None = None) -> Training:
    """Return what is known of the training photos of a model.

    `metadata` and `model` are those of the model. The hashes are read from the checkpoint that the
    metadata name: `checkpoint`, or else the model file itself or the bundled checkpoint. Raises
    ArtifactError if `checkpoint` is another one, or is damaged.
    """
    wanted = metadata.checkpoint_sha256
    if checkpoint is not None and (found := sha256_file(checkpoint)) != wanted:
        raise ArtifactError(
            f"{model}: expected the checkpoint that it was made from, {wanted[:12]}..., found "
            f"{found[:12]}... in {checkpoint}; name it with --checkpoint"
        )
    candidates = (
        [checkpoint]
        if checkpoint
        else [find_model(model), *(bundled(name + CHECKPOINT_SUFFIX) for name in CHECKPOINTS)]
    )
    hashes = next(
        (
            read_hashes(path)
            for path in candidates
            if path.suffix == CHECKPOINT_SUFFIX and path.is_file() and sha256_file(path) == wanted
        ),
        None,
    )
    splits = frozenset(trained.split_sha256 for trained in metadata.datasets)
    return Training(splits - {""}, hashes)


def read_hashes(checkpoint: Path) -> Hashes | None:
    """Return the hashes of the training photos in the header of a checkpoint, without PyTorch.

    The result is None for a checkpoint of an older version. Raises ArtifactError for a damaged one.
    """
    try:
        with open(checkpoint, "rb") as file:  # the header begins with its length in 8 bytes
            length = int.from_bytes(file.read(8), "little")
            if 8 + length > checkpoint.stat().st_size:
                raise ValueError("the header is cut off")
            header = parse_json(file.read(length))
        text = header.get("__metadata__", {}).get(TRAINED_ON_KEY)
    except (ValueError, AttributeError) as error:
        raise ArtifactError(
            f"{checkpoint}: expected a complete {CHECKPOINT_SUFFIX} file, found damage ({error}); "
            "copy it again"
        ) from error
    return decode_hashes(checkpoint, text)


def find_unseen(
    data: DataCollection, split: str, limit: int, training: Training, only_split: bool = False
) -> tuple[UnseenPhotos, ...]:
    """Return the photos of each dataset on which a model is evaluated.

    Of a dataset whose split the model was trained on, these are the photos of `split`. Of a dataset
    that the model has not seen, they are all photos, or with `only_split` those of `split` too. If
    it is not known what the model has seen, they are the photos of `split`. Photos of other
    datasets that the model was trained on are left out. A `limit` above 0 is the largest number of
    photos of each dataset, spread evenly. The result has a dataset without photos too, whose `note`
    says why it has none.

    Raises DatasetError if there are no photos at all.
    """
    found = [_select(name, part, split, training, only_split) for name, part in data.sets.items()]
    if not any(photos.records for photos in found):
        raise DatasetError(
            f"{', '.join(str(part.root) for part in data.sets.values())}: expected photos in the "
            f"split {split} that the model was not trained on, found none; name another dataset or "
            "split"
        )
    return tuple(replace(photos, records=spread(photos.records, limit)) for photos in found)


def list_empty(empty: Sequence[UnseenPhotos]) -> dict[str, dict[str, str]]:
    """Return values for JSON about the datasets without photos; nothing if there are none."""
    return {"not_evaluated": {part.name: part.note for part in empty}} if empty else {}


def join_records(photos: Sequence[UnseenPhotos]) -> tuple[Record, ...]:
    """Return the records of all datasets, in order."""
    return tuple(record for part in photos for record in part.records)


def _select(
    name: str, data: PreparedDataset, split: str, training: Training, only_split: bool
) -> UnseenPhotos:
    records = [replace(record, dataset=name) for record in data.records]
    seen = set[int]()
    if data.split_sha256 in training.splits:
        relation = Relation.HOME
    elif training.hashes is None:
        relation = Relation.UNKNOWN
    else:
        seen = {i for i, _ in find_close(data.hashes, training.hashes)}
        is_away = len(seen) <= MAX_SEEN * len(records)
        relation = Relation.AWAY if is_away else Relation.OTHER_SPLIT
    is_whole = relation is Relation.AWAY and not only_split
    used = [is_whole or record.split == split for record in records]
    chosen = tuple(r for i, r in enumerate(records) if used[i] and i not in seen)
    left_out = sum(used[i] for i in seen)
    return UnseenPhotos(name, data, split, chosen, relation, left_out, is_whole)
