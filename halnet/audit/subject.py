"""The subject of a report: which model was tested, on which photos, how and when."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from halnet import __version__
from halnet.artifact import label_model, sha256_artifact
from halnet.audit.schema import about
from halnet.datasets.record import Record
from halnet.evaluation.accuracy import OpenedModel
from halnet.evaluation.unseen import UnseenPhotos

# How the photos of known kinds of datasets were taken, as far as their publishers say.
ORIGINS = {
    "aaf": "All-Age-Faces: photos from the web, mostly of people in Asia; ages were estimated and "
    "checked by people",
    "utkface": "UTKFace: photos from the web, cropped to the face; ages were estimated by a "
    "program and checked by people",
    "fairface": "FairFace: photos from Flickr and other places; ranges of ages were estimated by "
    "several people",
    "afad": "AFAD: photos of users of a social network in China; ages follow from the date of "
    "birth that they state",
}
NOT_KNOWN = "not known"


@dataclass(frozen=True)
class TestedModel:
    """The model that was tested."""

    file: str = field(metadata=about("Path of the model file, or its name if it is bundled."))
    artifact_sha256: str = field(metadata=about("SHA-256 of the file; empty: there is no file."))
    checkpoint_sha256: str = field(metadata=about("SHA-256 of the checkpoint behind it."))
    precision: str = field(metadata=about("Precision of the numbers in the file."))
    input: str = field(metadata=about("Fingerprint of how faces are cropped for the model."))
    calibration: str = field(metadata=about("Kind of the calibration of intervals."))
    minor_photos: tuple[int, ...] = field(
        metadata=about("Number of calibration photos of each age from 0 to 17; empty: none.", 0)
    )
    trained_on: tuple[str, ...] = field(metadata=about("Datasets with training photos."))
    licence: str = field(metadata=about("Licence of the weights; empty: not stated."))
    terms: str = field(metadata=about("Terms of the licence; empty: not stated."))
    runtime: str = field(metadata=about("Library that ran the model."))
    version: str = field(metadata=about("Version of that library."))
    provider: str = field(metadata=about("Device, as the library names it."))
    threads: int = field(metadata=about("CPU threads of one inference; 0: not known.", 0))

    @property
    def software(self) -> str:
        """The library that ran the model, its version and the device, for people."""
        return f"{self.runtime} {self.version}, {self.provider}"


@dataclass(frozen=True)
class TestedSet:
    """The photos of one dataset that were used."""

    name: str
    origin: str = field(metadata=about("How the photos were taken, as far as known."))
    split: str = field(metadata=about("Part of the split, or all."))
    split_sha256: str = field(metadata=about("SHA-256 of the split file."))
    relation: str = field(
        metadata=about("Whether the model was trained on other photos of the dataset (home).")
    )
    photos: int = field(metadata=about("Number of photos.", 0))
    exact: int = field(metadata=about("Of these, photos with exact ages.", 0))
    minors: int = field(metadata=about("Of these, photos of people surely under 18.", 0))
    eye_distance: float | None = field(
        metadata=about("Median distance of the eyes in pixels of the photo; null: not known.", 0)
    )
    note: str = field(metadata=about("What else matters, such as photos that are left out."))


@dataclass(frozen=True)
class Subject:
    """What was tested, how and when."""

    created: str = field(metadata=about("Time of the start, in UTC and ISO 8601."))
    command: str = field(metadata=about("Command line that makes this report."))
    halnet: str = field(metadata=about("Version of halnet."))
    system: str = field(metadata=about("Operating system and Python."))
    limit: int = field(metadata=about("Largest number of photos of each dataset; 0: all.", 0))
    from_photos: bool = field(
        metadata=about("Whether faces were detected in the original photos for this report.")
    )
    detector: str = field(metadata=about("Detector of the faces in the photos."))
    model: TestedModel
    sets: tuple[TestedSet, ...]


def describe_model(opened: OpenedModel) -> TestedModel:
    """Return the facts about the model that is open."""
    spec = opened.spec
    metadata, path = spec.metadata, Path(spec.model)
    return TestedModel(
        label_model(spec.model),
        sha256_artifact(path) if path.exists() else "",
        metadata.checkpoint_sha256,
        metadata.precision,
        metadata.input.fingerprint(),
        metadata.calibration.kind,
        tuple(len(errors) for errors in metadata.minor_errors),
        tuple(trained.name for trained in metadata.datasets),
        metadata.licence,
        metadata.terms,
        spec.runtime,
        spec.version,
        spec.provider,
        spec.threads,
    )


def describe_set(photos: UnseenPhotos, records: Sequence[Record]) -> TestedSet:
    """Return the facts about one dataset, of which `records` were used."""
    eyes = [record.eye_distance for record in records if record.eye_distance]
    return TestedSet(
        photos.name,
        ORIGINS.get(photos.data.kind, NOT_KNOWN),
        "all" if photos.is_whole else photos.split,
        photos.data.split_sha256,
        photos.relation.value,
        len(records),
        sum(record.is_exact for record in records),
        sum(record.age_high < 18 for record in records),
        float(np.median(eyes)) if eyes else None,
        photos.note,
    )


def describe_system() -> tuple[str, str]:
    """Return the version of halnet, and the operating system with the version of Python."""
    return __version__, f"{platform.platform()}, Python {platform.python_version()}"
