import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ConfigError
from halnet.training.config import TrainConfig
from halnet.training.run_folder import claim_folder

CONFIG = TrainConfig(seed=3, mixup_alpha=0.2)


@pytest.fixture
def data(prepared: Path) -> PreparedDataset:
    return PreparedDataset(prepared)


@pytest.fixture
def run(data: PreparedDataset, tmp_path: Path) -> Path:
    """The folder of a run with `CONFIG`."""
    claim_folder(tmp_path / "run", CONFIG, data)
    return tmp_path / "run"


def test_a_new_run_writes_its_recipe_and_data(run: Path, data: PreparedDataset) -> None:
    claim = json.loads((run / "config.json").read_text())
    assert list(claim) == ["config", "split_sha256", "index_sha256"]
    assert claim["config"] == json.loads(json.dumps(asdict(CONFIG)))
    assert claim["split_sha256"] == data.split_sha256
    assert claim["index_sha256"] == data.index_sha256


def test_a_run_with_the_same_recipe_and_data_is_resumed(run: Path, data: PreparedDataset) -> None:
    before = (run / "config.json").read_bytes()
    claim_folder(run, CONFIG, data)
    assert (run / "config.json").read_bytes() == before


def test_another_recipe_is_refused(run: Path, data: PreparedDataset) -> None:
    with pytest.raises(ConfigError, match="found other values of dropout, sigma; repeat"):
        claim_folder(run, replace(CONFIG, dropout=0.5, sigma=3.0), data)


@pytest.mark.parametrize(("key", "what"), [("split_sha256", "split"), ("index_sha256", "photos")])
def test_other_data_is_refused(key: str, what: str, run: Path, data: PreparedDataset) -> None:
    path = run / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: "01" * 32}))
    with pytest.raises(ConfigError, match=rf"found a run on the {what} 010101010101\.\.\."):
        claim_folder(run, CONFIG, data)


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"config": {"nonsense": 1}}'])
def test_a_damaged_claim_is_refused(text: str, run: Path, data: PreparedDataset) -> None:
    (run / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json: the file is damaged"):
        claim_folder(run, CONFIG, data)


def test_a_damaged_file_to_resume_is_refused(run: Path, data: PreparedDataset) -> None:
    path = run / "last.ckpt"
    torch.save({"weights": torch.zeros(100)}, path)
    claim_folder(run, CONFIG, data)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigError, match=r"last\.ckpt: expected a complete file, .* delete it"):
        claim_folder(run, CONFIG, data)
