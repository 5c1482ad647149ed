import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import INDEX_FILE, SUMMARY_FILE, PreparedDataset
from halnet.datasets.split import SPLIT_FILE, SPLITS

PHOTOS = 20


@pytest.fixture(scope="module")
def original(make_prepared_folder: Callable[..., Path]) -> Path:
    return make_prepared_folder(PHOTOS)


@pytest.fixture(scope="module")
def copy(original: Path, fuzz: Any) -> Path:
    return Path(shutil.copytree(original, fuzz.folder / "prepared"))


def read(original: Path, copy: Path, name: str, content: bytes) -> None:
    """Read everything of a copy of a prepared folder in which one file has another content."""
    for file in (INDEX_FILE, SUMMARY_FILE, SPLIT_FILE):
        shutil.copy(original / file, copy)
    (copy / name).write_bytes(content)
    dataset = PreparedDataset(copy)
    assert dataset.hashes.dtype == np.uint64
    data = DataCollection([dataset])
    for split in SPLITS:
        records = data.select(split)
        data.inner_crops(records[:1])
        ages = np.array([(record.age_low, record.age_high) for record in records], np.int64)
        assert ages.min() >= 0
        assert ages.max() <= 100


@pytest.mark.parametrize("name", [SPLIT_FILE, SUMMARY_FILE])
@given(data=st.data())
def test_splits_and_summaries(data: Any, name: str, fuzz: Any, original: Path, copy: Path) -> None:
    content = json.loads((original / name).read_text(encoding="utf-8"))
    with fuzz.only_own_errors():
        read(original, copy, name, data.draw(fuzz.json(content)))


@given(data=st.data())
def test_index_files(data: Any, fuzz: Any, original: Path, copy: Path) -> None:
    text = (original / INDEX_FILE).read_text(encoding="utf-8")
    with fuzz.only_own_errors():
        read(original, copy, INDEX_FILE, data.draw(fuzz.csv(text)))
