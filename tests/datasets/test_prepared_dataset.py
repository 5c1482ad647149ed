import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from halnet.datasets.prepared_dataset import PreparedDataset, crop_path
from halnet.errors import DatasetError
from halnet.runtimes.fake import FakeRuntime


@pytest.fixture
def copy(prepared: Path, tmp_path: Path) -> Path:
    """A prepared folder that a test can damage. Only its crops for training are left out."""
    return Path(
        shutil.copytree(prepared, tmp_path / "copy", ignore=shutil.ignore_patterns("cache"))
    )


def test_outputs_are_in_the_order_of_the_records(prepared: Path) -> None:
    data = PreparedDataset(prepared)
    records = data.select("train")[:70]
    calls: list[tuple[int, int]] = []
    outputs = data.outputs(FakeRuntime().run, records, lambda *call: calls.append(call))
    expected = [data.inner_crops([record]).mean() / 2.55 for record in records]
    np.testing.assert_allclose(outputs.age, expected, atol=0.05)
    assert calls == [(32, 70), (64, 70), (70, 70)]


def test_a_limit_is_spread_over_the_split(prepared: Path) -> None:
    data = PreparedDataset(prepared)
    train = data.select("train")
    assert len(train) == 216
    assert data.select("train", 20) == tuple(train[i * 216 // 20] for i in range(20))
    assert data.select("train", 216) == data.select("train", 9999) == train


def test_an_unknown_split_is_refused(prepared: Path) -> None:
    with pytest.raises(DatasetError, match="split nonsense, found none; the splits are train, val"):
        PreparedDataset(prepared).select("nonsense")


def test_a_missing_or_damaged_crop_is_refused(copy: Path) -> None:
    data = PreparedDataset(copy)
    path = crop_path(copy, data.records[0].source)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match="expected a crop of 256 x 256 pixels"):
        data.crop(data.records[0])
    path.unlink()
    with pytest.raises(DatasetError, match="expected a crop of 256 x 256 pixels"):
        data.crop(data.records[0])


def test_an_index_of_other_photos_is_refused(copy: Path) -> None:
    index = copy / "index.csv"
    index.write_text(index.read_text().replace(",train,", ",test,", 1))
    with pytest.raises(DatasetError, match=r"index\.csv and .* to state the same split"):
        PreparedDataset(copy)
    index.write_text("source,age\na.jpg,x\n")
    with pytest.raises(DatasetError, match=r"index\.csv: the file is damaged"):
        PreparedDataset(copy)


def test_crops_of_another_version_are_refused(copy: Path) -> None:
    path = copy / "prepared.json"
    summary = json.loads(path.read_text())
    path.write_text(json.dumps({**summary, "input_fingerprint": "0" * 16}))
    with pytest.raises(DatasetError, match="found 0000000000000000; run halnet prepare"):
        PreparedDataset(copy)


@pytest.mark.parametrize("damaged", ["", "{}", "[]"])
def test_a_damaged_summary_is_refused(damaged: str, tmp_path: Path) -> None:
    (tmp_path / "prepared.json").write_text(damaged)
    with pytest.raises(DatasetError, match=r"prepared\.json: the file is damaged"):
        PreparedDataset(tmp_path)


def test_a_folder_that_is_not_complete_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"found no prepared\.json; run halnet prepare"):
        PreparedDataset(tmp_path)
