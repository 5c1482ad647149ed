"""Fixtures: photos that the tests draw, a prepared dataset of them, and the real data if present."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.artifact import INPUT
from halnet.datasets.prepare import Prepared, write_index
from halnet.datasets.prepared import crop_path

SHARED = Path(os.environ.get("HALNET_DATA", Path(__file__).parents[2] / "shared"))
AAF = SHARED / "datasets" / "All-Age-Faces Dataset"
YUNET = SHARED / "models" / "face_detection_yunet_2023mar.onnx"


@pytest.fixture(scope="session")
def aaf() -> Path:
    if not AAF.is_dir():
        pytest.skip(f"needs the All-Age-Faces photos in {AAF} (HALNET_DATA names another place)")
    return AAF


@pytest.fixture(scope="session")
def yunet() -> Path:
    if not YUNET.exists():
        pytest.skip(f"needs the YuNet model in {YUNET} (HALNET_DATA names another place)")
    return YUNET


def synthetic_crop(age: int, seed: int, size: int = 256) -> np.ndarray:
    """A picture whose brightness grows with the age, with noise of its own."""
    rng = np.random.default_rng(seed)
    image = np.full((size, size, 3), 40 + 2 * age, np.float64) + rng.normal(0, 12, (size, size, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def make_prepared(root: Path, count: int = 240, dataset: str = "synthetic") -> Path:
    results = []
    for i in range(count):
        age = 10 + i % 60
        source = f"{i:03d}.jpg"
        path = crop_path(root, source)
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), synthetic_crop(age, i)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        results.append(Prepared(source, age, ("female", "male")[i % 2], 0.9, 1))
    identity = {"dataset": dataset, "seed": 0, "listing_sha256": "0"}
    write_index(root, {**identity, "input_fingerprint": INPUT.fingerprint()}, results)
    return root


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_prepared(tmp_path_factory.mktemp("prepared"))
