"""The photos that a checkpoint was trained on, as hashes in the header of its file.

A hash describes the face in a photo by 64 bits; `halnet.datasets.crop_hash` computes it. The text
in the header can be read without PyTorch.
"""

import base64
import binascii
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from halnet.artifact import PREFIX
from halnet.errors import ArtifactError

TRAINED_ON_KEY = PREFIX + "trained_on"

Hashes = NDArray[np.uint64]


def encode_hashes(hashes: Hashes) -> str:
    """Return different hashes in rising order as base64 of 8 bytes each, the lowest byte first."""
    return base64.b64encode(np.unique(hashes).astype("<u8").tobytes()).decode()


def decode_hashes(path: Path, text: str | None) -> Hashes | None:
    """Return the hashes in the text of `encode_hashes`; None for None, as in older checkpoints.

    `path` is the checkpoint. Raises ArtifactError if the text is damaged.
    """
    if text is None:
        return None
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<u8").astype(np.uint64)
    except (binascii.Error, ValueError, TypeError) as error:  # or another type than text
        raise ArtifactError(
            f"{path}: expected hashes of the photos that the model was trained on, found damage "
            f"({error}); copy the file again"
        ) from error
