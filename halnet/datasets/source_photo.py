"""A photo of a dataset, before it is prepared."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

OLDEST = 125  # years: no person became older, so a higher age is a mistake


@dataclass(frozen=True, slots=True)
class SourcePhoto:
    """One photo as its dataset describes it."""

    source: str  # path relative to the folder of the dataset, with forward slashes
    age_low: int  # years, the lowest age that the label allows
    age_high: int  # years, the highest one; equal to `age_low` if the age is exact
    sex: str = ""  # "female", "male", or "" if the dataset does not state it
    person: str = ""  # name or number of the person, or "" if the dataset does not state it
    groups: tuple[tuple[str, str], ...] = ()  # (name, value), such as ("race", "Black")
    split: str = ""  # "train", "val" or "test" if the dataset states it, or else ""
    # Reads the five landmarks that the dataset states for the face: 5 x 2, (x, y) in pixels, in the
    # order of alignment.TEMPLATE. It raises DatasetError if it cannot. Worker processes call it, so
    # it must be picklable, as a functools.partial is. None: the dataset states no landmarks.
    read_landmarks: Callable[[], NDArray[np.float64]] | None = None


@dataclass(frozen=True, slots=True)
class RejectedPhoto:
    """A file or a row of a dataset that is no labelled photo, and the reason.

    Equal problems have equal reasons, because reasons are counted. What differs is in `age`.
    """

    source: str  # path relative to the folder of the dataset, or the line of a table
    age: str  # the age as the dataset states it, or "" if it states none
    reason: str


SourceItem = SourcePhoto | RejectedPhoto


@dataclass(frozen=True)
class Listing:
    """All that a dataset contains: its photos, and what is no labelled photo."""

    root: Path  # folder that the paths of the photos are relative to
    # Can be read several times. A table yields its rows while it is read, and keeps none of them.
    items: Iterable[SourceItem]

    def __iter__(self) -> Iterator[SourceItem]:
        return iter(self.items)

    @property
    def photos(self) -> list[SourcePhoto]:
        """The labelled photos, in order."""
        return [item for item in self.items if isinstance(item, SourcePhoto)]

    @property
    def rejects(self) -> list[RejectedPhoto]:
        """What is no labelled photo, in order."""
        return [item for item in self.items if isinstance(item, RejectedPhoto)]


def age_text(low: int, high: int) -> str:
    """Return an age or a range of ages as text, such as "30" or "3-9"."""
    return str(low) if low == high else f"{low}-{high}"
