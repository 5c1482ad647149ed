"""The run folder: its files, and the check that a resumed run has the same recipe and data."""

import hashlib
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from halnet.datasets.collection import DataCollection
from halnet.errors import ConfigError
from halnet.files import NAME_ERRORS, write_text
from halnet.json_text import parse_json
from halnet.training.config import TrainConfig

BEST_FILE = "best_model.safetensors"
RESUME_FILE = "last.ckpt"
REPORT_FILE = "report.json"
CONFIG_FILE = "config.json"  # the recipe of the run, and the hashes of its data

# The hashes of a dataset, and what they belong to.
HASHES = {"split_sha256": "split", "index_sha256": "photos"}


def claim_folder(out: Path, config: TrainConfig, data: DataCollection) -> None:
    """Write the recipe and the data of a new run into its folder, or check those of a started run.

    Raises ConfigError if the folder belongs to a run with another recipe or other data, or if a
    file in it is damaged.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / CONFIG_FILE
    claim = {
        "config": json.loads(config.to_json()),
        "sets": {
            name: {key: getattr(part, key) for key in HASHES} for name, part in data.sets.items()
        },
        "photos_sha256": _hash_photos(data),
    }
    if path.exists():
        _check_claim(path, config, claim, data)
    else:
        write_text(path, json.dumps(claim, indent=1) + "\n")
    resume = out / RESUME_FILE
    if resume.exists() and not zipfile.is_zipfile(resume):
        raise ConfigError(
            f"{resume}: expected a complete file, found a damaged one; delete it to start the run "
            "again"
        )


def _hash_photos(data: DataCollection) -> str:
    """Return the SHA-256 of the list of photos, without those that are left out as copies."""
    lines = (f"{record.dataset}\t{record.split}\t{record.source}\n" for record in data.records)
    return hashlib.sha256("".join(lines).encode(errors=NAME_ERRORS)).hexdigest()


def _check_claim(
    path: Path, config: TrainConfig, claim: dict[str, Any], data: DataCollection
) -> None:
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        found_config = asdict(TrainConfig.from_json(json.dumps(found["config"])))
        if "sets" not in found:  # of an older version, which trained on one dataset
            found["sets"] = {next(iter(claim["sets"])): {key: found[key] for key in HASHES}}
            found["photos_sha256"] = claim["photos_sha256"]
        found_sets = {
            str(name): {key: str(hashes[key]) for key in HASHES}
            for name, hashes in found["sets"].items()
        }
        found_photos = found["photos_sha256"]
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise ConfigError(
            f"{path}: the file is damaged ({error!r}); name a new folder with --out"
        ) from error
    _check_sets(path.parent, found_sets, data)
    if found_photos != claim["photos_sha256"]:
        raise ConfigError(
            f"{path.parent}: expected a run without the same copies of photos, found a run of "
            "another version of halnet; name a new folder with --out"
        )
    changed = [key for key, value in asdict(config).items() if found_config[key] != value]
    if changed:
        raise ConfigError(
            f"{path.parent}: expected a run with the same recipe, found other values of "
            f"{', '.join(changed)}; repeat the options of that run to resume it, or name a new "
            "folder with --out"
        )


def _check_sets(folder: Path, found: dict[str, dict[str, str]], data: DataCollection) -> None:
    """Raise ConfigError if a run was started on other datasets, or in another order."""
    if list(found) != list(data.sets):
        raise ConfigError(
            f"{folder}: expected a run on {', '.join(data.sets)}, found a run on "
            f"{', '.join(found)}; name the same datasets in the same order with --data, or a new "
            "folder with --out"
        )
    for name, part in data.sets.items():
        for key, what in HASHES.items():
            expected, other = getattr(part, key), found[name][key]
            if other != expected:
                raise ConfigError(
                    f"{folder}: expected a run on the {what} {expected[:12]}... in {part.root}, "
                    f"found a run on the {what} {other[:12]}...; name a new folder with --out"
                )
