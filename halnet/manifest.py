"""`manifest.json`: what stands in a folder of artifacts, how it was made and what it passed."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from halnet import __version__
from halnet.artifact import sha256_file
from halnet.errors import ArtifactError
from halnet.files import write_text

MANIFEST_FILE = "manifest.json"


def check_manifest(path: Path) -> None:
    """Raise ArtifactError if the manifest beside an artifact's path is damaged."""
    _read(path.parent / MANIFEST_FILE)


def record_artifact(
    path: Path, format_name: str, precision: str, checkpoint: Path, packages: Sequence[str]
) -> Path:
    """Note a new artifact in the manifest of its folder; return the manifest's path."""
    manifest = path.parent / MANIFEST_FILE
    content = _read(manifest)
    content["artifacts"][path.name] = {
        "sha256": sha256_file(path),
        "bytes": path.stat().st_size,
        "format": format_name,
        "precision": precision,
        "calibration": None,  # of INT8; there is none in floating point
        "checkpoint_sha256": sha256_file(checkpoint),
        "versions": {"halnet": __version__, **{package: version(package) for package in packages}},
        "parity": {},  # what was compared on: what halnet verify found
    }
    _write(manifest, content)
    return manifest


def record_parity(path: Path, data: str, parity: dict[str, Any]) -> Path | None:
    """Note what a verification on `data` found, beside those on other data.

    Returns the manifest, None if there is none that lists this very file.
    """
    manifest = path.parent / MANIFEST_FILE
    if not manifest.exists():
        return None
    content = _read(manifest)
    entry = content["artifacts"].get(path.name)
    if entry is None or entry["sha256"] != sha256_file(path):
        return None
    entry["parity"][data] = parity
    _write(manifest, content)
    return manifest


def _read(manifest: Path) -> dict[str, Any]:
    if not manifest.exists():
        return {"artifacts": {}}
    try:
        content: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
        content["artifacts"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{manifest}: damaged; delete it and export again") from error
    return content


def _write(manifest: Path, content: dict[str, Any]) -> None:
    write_text(manifest, json.dumps(content, indent=1, sort_keys=True) + "\n")
