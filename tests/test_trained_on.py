"""Damage in the hashes of the photos that a model was trained on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halnet.errors import ArtifactError
from halnet.trained_on import decode_hashes, encode_hashes

PATH = Path("a.safetensors")


def test_hashes_are_read_as_they_were_written() -> None:
    hashes = np.array([0, 1, 2**64 - 1], np.uint64)
    found = decode_hashes(PATH, encode_hashes(hashes))
    assert found is not None
    assert found.tolist() == hashes.tolist()
    assert decode_hashes(PATH, None) is None


@pytest.mark.parametrize("text", ["no base64!", "AAAA", 5, 0.5, [1]])
def test_damaged_hashes_are_one_clear_line(text: Any) -> None:
    with pytest.raises(ArtifactError, match=f"^{PATH}: expected hashes of the photos .* damage"):
        decode_hashes(PATH, text)
