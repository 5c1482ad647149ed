"""What a dataset says of each of its photos."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SourcePhoto:
    """One photo as its dataset describes it."""

    source: str  # path relative to the dataset's folder, with forward slashes
    age: int  # years
    sex: str  # "female", "male" or "" where the dataset does not say
    annotation: Path | None = None  # file with the dataset's own landmarks, if it has any


def landmark_error(found: NDArray[Any], annotated: NDArray[Any]) -> float:
    """Mean distance of 5 x 2 found from 5 x 2 annotated landmarks, in annotated eye distances."""
    distances = np.linalg.norm(np.asarray(found, float) - annotated, axis=1)
    return float(distances.mean() / np.linalg.norm(annotated[0] - annotated[1]))
