"""All-Age-Faces [Cheng et al., Tsinghua Science and Technology 24(3), 2019].

`original images/` holds photos named `%05dA%02d.jpg` (serial number, age in years), serials up to
07380 female and above male; `key points/` holds 49 landmarks a photo, one `x y` pair a line.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halnet.datasets.source_photo import SourcePhoto
from halnet.errors import DatasetError

PHOTO_FOLDER = "original images"
LANDMARK_FOLDER = "key points"
N_LANDMARKS = 49
LAST_FEMALE_SERIAL = 7380

_NAME = re.compile(r"(\d{5})A(\d{2})\.jpg")


def list_aaf(root: Path) -> list[SourcePhoto]:
    """Return all photos by name. Raises DatasetError for a folder that is not AAF."""
    folder = root / PHOTO_FOLDER
    if not folder.is_dir():
        raise DatasetError(
            f"{root}: expected the All-Age-Faces folder with '{PHOTO_FOLDER}' in it; "
            "name the folder that holds it, or another --dataset"
        )
    names = sorted(path.name for path in folder.iterdir())
    matches = [match for name in names if (match := _NAME.fullmatch(name))]
    if not matches or len(matches) < len(names) / 2:
        raise DatasetError(
            f"{folder}: expected photos named like 00001A02.jpg, found {len(matches)} of "
            f"{len(names)} files"
        )
    return [_photo(root, match) for match in matches]


def _photo(root: Path, match: re.Match[str]) -> SourcePhoto:
    annotation = root / LANDMARK_FOLDER / match[0].replace(".jpg", ".txt")
    return SourcePhoto(
        source=f"{PHOTO_FOLDER}/{match[0]}",
        age=int(match[2]),
        sex="female" if int(match[1]) <= LAST_FEMALE_SERIAL else "male",
        annotation=annotation if annotation.exists() else None,
    )


def read_landmarks(path: Path) -> NDArray[np.float64]:
    """Return the five landmarks of the alignment template, 5 x 2 pixels, from the 49 of a file."""
    try:
        points: NDArray[Any] = np.loadtxt(path)
    except ValueError as error:
        raise DatasetError(f"{path}: expected {N_LANDMARKS} lines 'x y'") from error
    if points.shape != (N_LANDMARKS, 2):
        raise DatasetError(f"{path}: expected {N_LANDMARKS} lines 'x y', found {points.shape}")
    left_eye, right_eye = points[19:25].mean(axis=0), points[25:31].mean(axis=0)
    return np.stack([left_eye, right_eye, points[13], points[31], points[37]])
