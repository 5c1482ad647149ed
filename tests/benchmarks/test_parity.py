from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from halnet.artifact import TrainedSet, bundled
from halnet.benchmarks.parity import Verifier, VerifyConfig
from halnet.benchmarks.samples import sample_crops
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ArtifactError, ConfigError, DatasetError
from halnet.network.checkpoint import load_checkpoint, save_checkpoint


def test_a_good_artifact_passes_and_a_changed_one_does_not(
    onnx_artifact: Path, checkpoint: Path, tmp_path: Path
) -> None:
    verifier = Verifier(VerifyConfig(checkpoint))
    good = verifier(onnx_artifact)
    assert good.passed
    assert good.overall.count == len(sample_crops())
    assert good.overall.artifact is None
    model = onnx.load(onnx_artifact)
    (weight,) = (t for t in model.graph.initializer if sorted(t.dims) == [101, 1280])
    values = onnx.numpy_helper.to_array(weight) * np.float32(1.01)  # the last layer changes by 1 %
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    changed = tmp_path / "halnet.onnx"
    onnx.save(model, changed)
    assert not verifier(changed).passed


def test_an_artifact_of_another_checkpoint_is_refused(onnx_artifact: Path) -> None:
    with pytest.raises(ArtifactError, match="name it with --checkpoint"):
        Verifier(VerifyConfig())(onnx_artifact)


def test_a_dataset_with_another_split_is_refused(
    onnx_artifact: Path, checkpoint: Path, prepared: Path
) -> None:
    verifier = Verifier(VerifyConfig(checkpoint, (prepared,)))
    with pytest.raises(ConfigError, match="whose test photos may have been trained on"):
        verifier(onnx_artifact)
    with pytest.raises(ConfigError, match="whose test photos may have been trained on"):
        verifier.prepare()  # no artifact is needed to find this


def save_as_trained_on(path: Path, data: Path, hashes: bool) -> Path:
    """Write the bundled checkpoint as if it were trained on a prepared dataset."""
    loaded = load_checkpoint(bundled("halnet.safetensors"))
    own = PreparedDataset(data)
    trained = TrainedSet(own.dataset, own.split_sha256)
    metadata = replace(loaded.metadata, datasets=(trained,))
    rows = [i for i, record in enumerate(own.records) if record.split == "train"]
    photos = own.hashes[rows] if hashes else None
    save_checkpoint(path, loaded.model, loaded.recipe, metadata, photos)
    return path


def test_an_artifact_is_compared_on_the_photos_of_a_split(prepared: Path, tmp_path: Path) -> None:
    """The checkpoint itself stands for an artifact that predicts exactly the same."""
    split = PreparedDataset(prepared).split_sha256
    path = save_as_trained_on(tmp_path / "model.safetensors", prepared, hashes=False)
    done: list[tuple[int, int]] = []
    verifier = Verifier(
        VerifyConfig(path, (prepared,), "val"), lambda count, total: done.append((count, total))
    )
    parity = verifier(path, "pytorch", "cpu")
    assert parity.data == f"synthetic val split {split[:12]}"
    assert parity.passed
    assert (parity.overall.count, parity.overall.maximum) == (12, 0)
    assert parity.overall.artifact == parity.overall.reference
    assert sum(part.count for part in parity.by_decade.values()) == 12
    assert done == [(12, 12)] * 2, "the artifact and the reference, each once"


def test_all_photos_of_a_dataset_that_the_model_never_saw_are_compared(
    prepared: Path, make_prepared_folder: Callable[..., Path], tmp_path: Path
) -> None:
    away = make_prepared_folder(20, "away", first=500, years=10, shares="50/25/25")
    path = save_as_trained_on(tmp_path / "model.safetensors", prepared, hashes=True)
    parity = Verifier(VerifyConfig(path, (prepared, away)))(path, "pytorch", "cpu")
    split = PreparedDataset(prepared).split_sha256
    assert parity.data == f"synthetic test split {split[:12]}, away all photos, away"
    assert {name: part.count for name, part in parity.by_set.items()} == {
        "synthetic": 12,
        "away": 20,
    }
    assert parity.by_set["away"].error_name == "distance"
    assert (parity.count, parity.passed) == (32, True)
    unknown = save_as_trained_on(tmp_path / "old.safetensors", prepared, hashes=False)
    with pytest.raises(ConfigError, match="whose test photos may have been trained on"):
        Verifier(VerifyConfig(unknown, (prepared, away)))(unknown, "pytorch", "cpu")


def test_photos_that_calibrate_int8_do_not_check_it(
    prepared: Path, make_prepared_folder: Callable[..., Path], tmp_path: Path
) -> None:
    away = make_prepared_folder(40, "away", first=500, shares="50/25/25")
    path = save_as_trained_on(tmp_path / "model.safetensors", prepared, hashes=True)
    config = VerifyConfig(path, (prepared, away), only_split=True)
    parity = Verifier(config)(path, "pytorch", "cpu")
    names = [PreparedDataset(folder).split_sha256[:12] for folder in (prepared, away)]
    assert parity.data == f"synthetic test split {names[0]}, away test split {names[1]}, away"
    assert {name: part.count for name, part in parity.by_set.items()} == {
        "synthetic": 12,
        "away": 10,
    }
    untested = make_prepared_folder(40, "untested", first=600, shares="50/50/0")
    with pytest.raises(DatasetError, match="expected photos in the split test that the model was"):
        Verifier(VerifyConfig(path, (untested,), only_split=True)).prepare()
    verifier = Verifier(replace(config, data=(prepared, untested)))
    assert verifier(path, "pytorch", "cpu").data == f"synthetic test split {names[0]}"
    assert [part.note for part in verifier.photos] == [
        "",
        "untested: no photos in the split test, so the model is not evaluated on this dataset",
    ]


@pytest.mark.parametrize(
    ("name", "found"),
    [("no.safetensors", "no such file"), ("a.onnx", "an artifact"), ("a.txt", "another file")],
)
def test_another_file_than_a_checkpoint_is_refused(name: str, found: str, tmp_path: Path) -> None:
    for existing in ("a.onnx", "a.txt"):
        (tmp_path / existing).touch()
    message = rf"expected a checkpoint \(\.safetensors\), found {found}.*; name a file that"
    with pytest.raises(ArtifactError, match=message):
        Verifier(VerifyConfig(tmp_path / name))


def test_the_bundled_artifact_passes() -> None:
    parity = Verifier(VerifyConfig())(bundled("halnet.onnx"))
    assert parity.passed
    assert parity.overall.maximum < 0.01
