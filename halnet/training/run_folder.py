"""The run folder: its files, and the check that a resumed run has the same recipe and data."""

import json
import zipfile
from dataclasses import asdict
from pathlib import Path

from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ConfigError
from halnet.files import write_text
from halnet.training.config import TrainConfig

BEST_FILE = "best_model.safetensors"
RESUME_FILE = "last.ckpt"
REPORT_FILE = "report.json"
CONFIG_FILE = "config.json"  # the recipe of the run, and the hashes of its data


def claim_folder(out: Path, config: TrainConfig, data: PreparedDataset) -> None:
    """Write the recipe and the data of a new run into its folder, or check those of a started run.

    Raises ConfigError if the folder belongs to a run with another recipe or other data, or if a
    file in it is damaged.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / CONFIG_FILE
    hashes = {"split_sha256": data.split_sha256, "index_sha256": data.index_sha256}
    if path.exists():
        _check_claim(path, config, hashes, data.root)
    else:
        claim = {"config": json.loads(config.to_json()), **hashes}
        write_text(path, json.dumps(claim, indent=1) + "\n")
    resume = out / RESUME_FILE
    if resume.exists() and not zipfile.is_zipfile(resume):
        raise ConfigError(
            f"{resume}: expected a complete file, found a damaged one; delete it to start the run "
            "again"
        )


def _check_claim(path: Path, config: TrainConfig, hashes: dict[str, str], data: Path) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found_config = asdict(TrainConfig.from_json(json.dumps(found["config"])))
        found_hashes = {key: str(found[key]) for key in hashes}
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise ConfigError(
            f"{path}: the file is damaged ({error!r}); name a new folder with --out"
        ) from error
    for key, what in (("split_sha256", "split"), ("index_sha256", "photos")):
        if found_hashes[key] != hashes[key]:
            raise ConfigError(
                f"{path.parent}: expected a run on the {what} {hashes[key][:12]}... in {data}, "
                f"found a run on the {what} {found_hashes[key][:12]}...; name a new folder with "
                "--out"
            )
    changed = [key for key, value in asdict(config).items() if found_config[key] != value]
    if changed:
        raise ConfigError(
            f"{path.parent}: expected a run with the same recipe, found other values of "
            f"{', '.join(changed)}; repeat the options of that run to resume it, or name a new "
            "folder with --out"
        )
