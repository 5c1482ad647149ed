import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from halnet.artifact import INPUT
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
    with pytest.raises(DatasetError, match="256 x 256 pixels, found a damaged file; delete it and"):
        data.crop(data.records[0])
    path.unlink()
    with pytest.raises(DatasetError, match="256 x 256 pixels, found none; run halnet prepare"):
        data.crop(data.records[0])


def test_a_folder_may_have_a_name_that_is_not_utf_8(prepared: Path, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"lat\xe9")
    folder.symlink_to(prepared)
    data, same = PreparedDataset(folder), PreparedDataset(prepared)
    np.testing.assert_array_equal(data.crop(data.records[0]), same.crop(same.records[0]))


def test_an_index_of_other_photos_is_refused(copy: Path) -> None:
    index = copy / "index.csv"
    index.write_text(index.read_text().replace(",train,", ",test,", 1))
    with pytest.raises(DatasetError, match=r"index\.csv and .* to state the same split"):
        PreparedDataset(copy)
    index.write_text("source,age\na.jpg,x\n")
    with pytest.raises(DatasetError, match=r"index\.csv: .* found no column sex, split; run"):
        PreparedDataset(copy)


def test_an_index_that_was_cut_off_is_refused(copy: Path) -> None:
    index = copy / "index.csv"
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:-3]))
    with pytest.raises(DatasetError, match=r"expected 240 photos in index\.csv, found 237; run"):
        PreparedDataset(copy)


def test_the_split_of_another_folder_is_refused(
    copy: Path, make_prepared_folder: Callable[..., Path]
) -> None:
    name = "dataset_split_stratified.json"
    stated = json.loads((copy / name).read_text())["sha256"][:12]
    shutil.copy(make_prepared_folder(240, shares="50/25/25") / name, copy / name)
    with pytest.raises(DatasetError, match=f"the split with SHA-256 {stated}.*json states, found"):
        PreparedDataset(copy)


def test_crops_of_another_version_are_refused(copy: Path) -> None:
    path = copy / "prepared.json"
    summary = json.loads(path.read_text())
    path.write_text(json.dumps({**summary, "input_fingerprint": "0" * 16}))
    with pytest.raises(DatasetError, match="found 0000000000000000; run halnet prepare"):
        PreparedDataset(copy)


def test_crops_of_an_older_way_are_accepted_and_known(copy: Path) -> None:
    path = copy / "prepared.json"
    summary = json.loads(path.read_text())
    assert PreparedDataset(copy).input == INPUT
    path.write_text(json.dumps({**summary, "input_fingerprint": "60964a9c2dd01642"}))
    assert PreparedDataset(copy).input.way == 1


@pytest.mark.parametrize("damaged", ["", "{}", "[]", '{"split_sha256": "ab", "seed": 0}'])
def test_a_damaged_summary_is_refused(damaged: str, tmp_path: Path) -> None:
    (tmp_path / "prepared.json").write_text(damaged)
    with pytest.raises(
        DatasetError, match=r"prepared\.json: .* found a damaged file; delete"
    ) as error:
        PreparedDataset(tmp_path)
    assert "Error" not in str(error.value)


def test_a_folder_that_is_not_complete_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"found no prepared\.json; run halnet prepare"):
        PreparedDataset(tmp_path)


def test_a_dataset_that_cannot_be_written_is_cached_elsewhere(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its owner has computed already is used where it is."""
    monkeypatch.setenv("HALNET_CACHE", str(tmp_path / "mine"))
    data = PreparedDataset(copy)
    name = f"crops_256_{data.index_sha256[:16]}.npy"
    assert data.cache_path("crops_256") == copy / "cache" / name
    monkeypatch.setattr(os, "access", lambda path, mode: copy not in (path, *path.parents))
    assert data.cache_path("crops_256") == tmp_path / "mine" / "datasets" / name
    (copy / "cache").mkdir()
    (copy / "cache" / name).touch()
    assert data.cache_path("crops_256") == copy / "cache" / name
