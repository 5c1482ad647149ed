"""On which photos of a dataset a model is evaluated."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from halnet.artifact import TrainedSet, bundled
from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ArtifactError, DatasetError
from halnet.evaluation.unseen import (
    Relation,
    Training,
    find_training,
    find_unseen,
    join_records,
    read_hashes,
)
from halnet.runtimes.fake import FakeRuntime

MakeFolder = Callable[..., Path]
NOWHERE = np.array([], np.uint64)


@pytest.fixture(scope="module")
def home(make_prepared_folder: MakeFolder) -> PreparedDataset:
    return PreparedDataset(make_prepared_folder(100, "home", shares="70/10/20"))


@pytest.fixture(scope="module")
def other(make_prepared_folder: MakeFolder) -> PreparedDataset:
    """A dataset of 100 photos, of which the first 5 are photos of `home` too."""
    return PreparedDataset(make_prepared_folder(100, "other", first=95, shares="70/10/20"))


def training_on(data: PreparedDataset, hashes: bool = True) -> Training:
    own = [i for i, record in enumerate(data.records) if record.split == "train"]
    return Training(frozenset([data.split_sha256]), data.hashes[own] if hashes else None)


def test_a_known_split_is_used_in_part_and_another_dataset_as_a_whole(
    home: PreparedDataset, other: PreparedDataset
) -> None:
    at_home, away = find_unseen(DataCollection([home, other]), "test", 0, training_on(home))
    assert (at_home.relation, away.relation) == (Relation.HOME, Relation.AWAY)
    assert {record.split for record in at_home.records} == {"test"}
    assert len(at_home.records) == 20
    assert str(at_home) == f"home test split {home.split_sha256[:12]}"
    assert str(away) == "other all photos, away"
    seen = {r.source for r in home.select("train")} & {r.source for r in other.records}
    assert 1 <= len(seen) <= 5, "the datasets have training photos of the model in common"
    assert {r.source for r in away.records} == {r.source for r in other.records} - seen
    assert away.seen == len(seen)
    assert away.note.startswith(f"other: {len(seen)} photos are left out")
    records = join_records([at_home, away])
    assert [r.dataset for r in records] == ["home"] * 20 + ["other"] * (100 - len(seen))


def test_other_datasets_can_be_used_in_part_too(
    home: PreparedDataset, other: PreparedDataset
) -> None:
    data = DataCollection([home, other])
    at_home, away = find_unseen(data, "test", 0, training_on(home), only_split=True)
    assert (at_home.relation, away.relation) == (Relation.HOME, Relation.AWAY)
    assert len(at_home.records) == 20
    seen = {record.source for record in home.select("train")}
    tested = {record.source for record in other.select("test")}
    assert {record.source for record in away.records} == tested - seen
    assert away.seen == len(tested & seen)
    assert str(away) == f"other test split {other.split_sha256[:12]}, away"
    none = replace(away, records=(), seen=0)
    assert none.note.startswith("other: no photos in the split test, so")


def test_the_same_photos_with_another_split_are_not_away(
    home: PreparedDataset, make_prepared_folder: MakeFolder
) -> None:
    """Of the test photos of the other split, those that were trained on are left out."""
    again = PreparedDataset(make_prepared_folder(100, "again", shares="50/25/25"))
    assert again.split_sha256 != home.split_sha256
    trained = {record.source for record in home.select("train")}
    (found,) = find_unseen(DataCollection([again]), "test", 0, training_on(home))
    assert found.relation is Relation.OTHER_SPLIT
    tested = {record.source for record in again.select("test")}
    assert {record.source for record in found.records} == tested - trained
    assert found.seen == len(tested & trained) > 0


def test_a_hash_that_differs_in_few_bits_is_a_copy(other: PreparedDataset) -> None:
    near, far = other.hashes[:2] ^ np.array([0b111, 0b1111], np.uint64)
    training = Training(frozenset(), np.array([near, far], np.uint64))
    (found,) = find_unseen(DataCollection([other]), "test", 0, training)
    assert found.seen == 1
    assert [r.source for r in found.records] == [r.source for r in other.records[1:]]


def test_without_hashes_the_split_decides(home: PreparedDataset, other: PreparedDataset) -> None:
    training = training_on(home, hashes=False)
    at_home, unknown = find_unseen(DataCollection([home, other]), "val", 0, training)
    assert (at_home.relation, unknown.relation) == (Relation.HOME, Relation.UNKNOWN)
    assert {record.split for record in unknown.records} == {"val"}
    assert "it is not known whether the model was trained on these photos" in unknown.note
    assert at_home.note == ""


def test_a_limit_holds_for_each_dataset(home: PreparedDataset, other: PreparedDataset) -> None:
    training = Training(frozenset([home.split_sha256]), NOWHERE)
    parts = find_unseen(DataCollection([home, other]), "test", 4, training)
    assert [len(part.records) for part in parts] == [4, 4]
    assert parts[1].records[1].source == other.records[25].source, "spread over all photos"


def test_a_dataset_may_have_no_photos_but_nothing_at_all_is_an_error(
    home: PreparedDataset, make_prepared_folder: MakeFolder
) -> None:
    empty = PreparedDataset(make_prepared_folder(40, "empty", first=300, shares="100/0/0"))
    data = DataCollection([home, empty])
    training = Training(frozenset([home.split_sha256, empty.split_sha256]), NOWHERE)
    found = find_unseen(data, "test", 0, training)
    assert {part.name: len(part.records) for part in found} == {"home": 20, "empty": 0}
    with pytest.raises(DatasetError, match="expected photos in the split test"):
        find_unseen(DataCollection([empty]), "test", 0, training)


def test_a_dataset_without_photos_says_why(
    home: PreparedDataset, make_prepared_folder: MakeFolder
) -> None:
    again = PreparedDataset(make_prepared_folder(100, "again", shares="50/25/25"))
    empty = PreparedDataset(make_prepared_folder(40, "empty", first=300, shares="100/0/0"))
    data = DataCollection([home, again, empty])
    training = Training(frozenset([home.split_sha256, empty.split_sha256]), again.hashes)
    _, seen, without = find_unseen(data, "test", 0, training)
    count = len(again.select("test"))
    assert seen.note == (
        f"again: the model was trained on copies of all {count} photos in the split test, so the "
        "model is not evaluated on this dataset"
    )
    assert without.note == (
        "empty: no photos in the split test, so the model is not evaluated on this dataset"
    )


@pytest.fixture(scope="module")
def hashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled checkpoint with three hashes of photos."""
    pytest.importorskip("torch")
    from halnet.network.checkpoint import load_checkpoint, save_checkpoint

    loaded = load_checkpoint(bundled("halnet.safetensors"))
    path = tmp_path_factory.mktemp("hashed") / "model.safetensors"
    hashes = np.array([2**63 + 5, 7, 1], np.uint64)
    save_checkpoint(path, loaded.model, loaded.recipe, loaded.metadata, hashes)
    return path


def test_hashes_are_read_from_a_checkpoint_without_its_network(hashed: Path) -> None:
    hashes = read_hashes(hashed)
    assert hashes is not None
    assert hashes.tolist() == [1, 7, 2**63 + 5]


@pytest.mark.parametrize("data", [b"", b"\x08\0\0\0\0\0\0\0{}", b"\x04\0\0\0\0\0\0\0nope"])
def test_a_damaged_checkpoint_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="found damage"):
        read_hashes(path)


def test_the_checkpoint_of_an_artifact_states_its_training_photos(hashed: Path) -> None:
    from halnet.artifact import sha256_file

    metadata = replace(
        FakeRuntime().spec.metadata,
        checkpoint_sha256=sha256_file(hashed),
        datasets=(TrainedSet("a", "11"), TrainedSet("b", "22"), TrainedSet("c")),
    )
    found = find_training(metadata, Path("halnet.onnx"), hashed)
    assert found.splits == {"11", "22"}
    assert found.hashes is not None
    assert len(found.hashes) == 3
    assert find_training(metadata, Path("halnet.onnx")).hashes is None, "nobody named it"
    by_itself = find_training(metadata, hashed).hashes
    assert by_itself is not None
    assert by_itself.tolist() == found.hashes.tolist()


def test_another_checkpoint_is_refused(hashed: Path) -> None:
    with pytest.raises(ArtifactError, match="name it with --checkpoint"):
        find_training(FakeRuntime().spec.metadata, Path("halnet.onnx"), hashed)
