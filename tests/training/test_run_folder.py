import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ConfigError
from halnet.training.config import TrainConfig
from halnet.training.run_folder import claim_folder

CONFIG = TrainConfig(seed=3, mixup_alpha=0.2)


@pytest.fixture
def data(prepared: Path) -> DataCollection:
    return DataCollection([PreparedDataset(prepared)])


@pytest.fixture
def run(data: DataCollection, tmp_path: Path) -> Path:
    """The folder of a run with `CONFIG`."""
    claim_folder(tmp_path / "run", CONFIG, data)
    return tmp_path / "run"


def test_a_new_run_writes_its_recipe_and_data(run: Path, data: DataCollection) -> None:
    claim = json.loads((run / "config.json").read_text())
    assert list(claim) == ["config", "sets", "photos_sha256"]
    assert claim["config"] == json.loads(json.dumps(asdict(CONFIG)))
    part = data.sets["synthetic"]
    hashes = {"split_sha256": part.split_sha256, "index_sha256": part.index_sha256}
    assert claim["sets"] == {"synthetic": hashes}


def test_a_run_with_the_same_recipe_and_data_is_resumed(run: Path, data: DataCollection) -> None:
    before = (run / "config.json").read_bytes()
    claim_folder(run, CONFIG, data)
    assert (run / "config.json").read_bytes() == before


def test_another_recipe_is_refused(run: Path, data: DataCollection) -> None:
    with pytest.raises(ConfigError, match="found other values of dropout, sigma; repeat"):
        claim_folder(run, replace(CONFIG, dropout=0.5, sigma=3.0), data)


@pytest.mark.parametrize(("key", "what"), [("split_sha256", "split"), ("index_sha256", "photos")])
def test_other_data_is_refused(key: str, what: str, run: Path, data: DataCollection) -> None:
    path = run / "config.json"
    claim = json.loads(path.read_text())
    claim["sets"]["synthetic"][key] = "01" * 32
    path.write_text(json.dumps(claim))
    with pytest.raises(ConfigError, match=rf"found a run on the {what} 010101010101\.\.\."):
        claim_folder(run, CONFIG, data)


def test_a_run_of_an_older_version_is_resumed(run: Path, data: DataCollection) -> None:
    """It states the hashes of its only dataset, and no options that are new."""
    path = run / "config.json"
    claim = json.loads(path.read_text())
    for name in ("shares", "balance", "degrade", "degradations", "jitter"):
        del claim["config"][name]
    old = {"config": claim["config"], **claim["sets"]["synthetic"]}
    path.write_text(json.dumps(old))
    claim_folder(run, CONFIG, data)
    with pytest.raises(ConfigError, match="found other values of balance; repeat"):
        claim_folder(run, replace(CONFIG, balance=0.3), data)
    path.write_text(json.dumps({**old, "index_sha256": "01" * 32}))
    with pytest.raises(ConfigError, match=r"found a run on the photos 010101010101\.\.\."):
        claim_folder(run, CONFIG, data)


def test_the_datasets_and_their_order_belong_to_a_run(
    data: DataCollection, ranges: Path, tmp_path: Path
) -> None:
    """The order decides the random numbers of each photo."""
    both = [*data.sets.values(), PreparedDataset(ranges)]
    run = tmp_path / "both"
    claim_folder(run, CONFIG, DataCollection(both))
    claim_folder(run, CONFIG, DataCollection(both))
    message = "expected a run on {}, found a run on synthetic, ranges; name the same"
    with pytest.raises(ConfigError, match=message.format("ranges, synthetic")):
        claim_folder(run, CONFIG, DataCollection(both[::-1]))
    with pytest.raises(ConfigError, match=message.format("synthetic")):
        claim_folder(run, CONFIG, data)


def test_other_copies_of_photos_are_refused(run: Path, data: DataCollection) -> None:
    """A version of halnet that finds other copies would train on other photos."""
    path = run / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "photos_sha256": "01" * 32}))
    with pytest.raises(ConfigError, match="expected a run without the same copies"):
        claim_folder(run, CONFIG, data)


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"config": {"nonsense": 1}}'])
def test_a_damaged_claim_is_refused(text: str, run: Path, data: DataCollection) -> None:
    (run / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json: the file is damaged"):
        claim_folder(run, CONFIG, data)


def test_a_damaged_file_to_resume_is_refused(run: Path, data: DataCollection) -> None:
    path = run / "last.ckpt"
    torch.save({"weights": torch.zeros(100)}, path)
    claim_folder(run, CONFIG, data)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigError, match=r"last\.ckpt: expected a complete file, .* delete it"):
        claim_folder(run, CONFIG, data)
