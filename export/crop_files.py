"""Crop files: the crops that a vendor's compiler quantizes with, and the list of their photos."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from halnet.artifact import sha256_file
from halnet.files import write_text

if TYPE_CHECKING:  # it needs more than the formats do
    from halnet.calibration.crops import CalibrationCrops

# Beside an artifact: N x 224 x 224 x 3 uint8 RGB as NumPy's format, and which photos they show.
CROP_SUFFIXES = (".crops.npy", ".crops.json")


def write_crops(crops: "CalibrationCrops", artifact: Path) -> dict[str, Any]:
    """Write crops and their list beside an artifact, and return what the list states."""
    array, listing = (artifact.with_name(artifact.name + suffix) for suffix in CROP_SUFFIXES)
    np.save(array, crops.crops)
    stated = {
        **crops.origin,
        "crops": len(crops),
        "file": array.name,
        "sha256": sha256_file(array),
    }
    write_text(listing, json.dumps(stated, indent=1) + "\n")
    return stated
