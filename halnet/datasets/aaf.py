"""All-Age-Faces [Cheng et al., Tsinghua Science and Technology 24(3), 2019].

The folder `original images/` contains photos with names like `00001A02.jpg`: a serial number, and
the age in years. Serial numbers up to 07380 are women, and the others are men. The folder
`key points/` contains a text file for each photo, with 49 landmarks: one line `x y` for each.
"""

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halnet.datasets.dataset_files import check_names, reject_name
from halnet.datasets.source_photo import Listing, SourceItem, SourcePhoto
from halnet.errors import DatasetError

PHOTO_FOLDER = "original images"
LANDMARK_FOLDER = "key points"
N_LANDMARKS = 49
LAST_FEMALE_SERIAL = 7380

_NAME = re.compile(r"(\d{5})A(\d{2})\.jpg")


def list_aaf(root: Path) -> Listing:
    """Return all photos, sorted by name. Raises DatasetError if the folder is not All-Age-Faces."""
    folder = root / PHOTO_FOLDER
    if not folder.is_dir():
        raise DatasetError(
            f"{root}: expected the All-Age-Faces folder with the folder '{PHOTO_FOLDER}' in it, "
            "found none; name the right folder, or another dataset with --dataset"
        )
    names = sorted(path.name for path in folder.iterdir())
    items = [_photo(root, name) for name in names]
    check_names(folder, items, "names like 00001A02.jpg", "All-Age-Faces")
    return Listing(root, items)


def _photo(root: Path, name: str) -> SourceItem:
    match = _NAME.fullmatch(name)
    if not match:
        return reject_name(f"{PHOTO_FOLDER}/{name}", "", "the name is not like 00001A02.jpg")
    points = root / LANDMARK_FOLDER / match[0].replace(".jpg", ".txt")
    return SourcePhoto(
        source=f"{PHOTO_FOLDER}/{match[0]}",
        age_low=int(match[2]),
        age_high=int(match[2]),
        sex="female" if int(match[1]) <= LAST_FEMALE_SERIAL else "male",
        read_landmarks=partial(read_landmarks, points) if points.exists() else None,
    )


def read_landmarks(path: Path) -> NDArray[np.float64]:
    """Return five of the 49 landmarks in a file, 5 x 2 pixels in the order of alignment.TEMPLATE.

    Raises DatasetError if the file does not contain 49 landmarks.
    """
    try:
        points: NDArray[Any] = np.loadtxt(path)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: expected {N_LANDMARKS} lines 'x y'") from error
    if points.shape != (N_LANDMARKS, 2):
        raise DatasetError(f"{path}: expected {N_LANDMARKS} lines 'x y', found {points.shape}")
    left_eye, right_eye = points[19:25].mean(axis=0), points[25:31].mean(axis=0)
    return np.stack([left_eye, right_eye, points[13], points[31], points[37]])
