"""A photo of a dataset, before it is prepared."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SourcePhoto:
    """One photo as its dataset describes it."""

    source: str  # path relative to the folder of the dataset, with forward slashes
    age: int  # years
    sex: str  # "female", "male", or "" if the dataset does not state it
    # Reads the five landmarks that the dataset states for the face: 5 x 2, (x, y) in pixels, in the
    # order of alignment.TEMPLATE. It raises DatasetError if it cannot. Worker processes call it, so
    # it must be picklable, as a functools.partial is. None: the dataset states no landmarks.
    read_landmarks: Callable[[], NDArray[np.float64]] | None = None
