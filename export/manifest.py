"""`manifest.json`: lists the artifacts of a folder, how they were made and how they compared."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from halnet import __version__
from halnet.artifact import sha256_artifact, size_artifact
from halnet.errors import ArtifactError
from halnet.files import write_text
from halnet.packages import installed_version

MANIFEST_FILE = "manifest.json"
FAILED_SUFFIX = ".failed"  # of an artifact outside its tolerance; no runtime opens such a name


def check_manifest(folder: Path) -> None:
    """Raise ArtifactError if the manifest of a folder is damaged. A missing one is not."""
    _read(folder / MANIFEST_FILE)


def list_artifacts(folder: Path) -> list[Path]:
    """Return the artifacts that a folder's manifest lists, without those that failed a check.

    Raises ArtifactError where there is none.
    """
    manifest = folder / MANIFEST_FILE
    names = [name for name in _read(manifest)["artifacts"] if not name.endswith(FAILED_SUFFIX)]
    if not names:
        raise ArtifactError(
            f"{folder}: expected a {MANIFEST_FILE} that lists artifacts, found none; run halnet "
            "export into this folder"
        )
    return [folder / name for name in names]


def record_artifact(path: Path, entry: Mapping[str, Any], packages: Sequence[str]) -> Path:
    """Record a new artifact in the manifest of its folder, and return the manifest's path.

    `entry` is JSON-ready and states how the artifact was made. Its hash, its size and the versions
    of halnet and of the installed `packages` are added.
    """
    manifest = path.parent / MANIFEST_FILE
    content = _read(manifest)
    content["artifacts"][path.name] = {
        "sha256": sha256_artifact(path),
        "bytes": size_artifact(path),
        "versions": {"halnet": __version__, **_versions(packages)},
        "parity": {},  # name of the data: what a comparison on it found
        **entry,
    }
    _write(manifest, content)
    return manifest


def remove_artifact(path: Path) -> None:
    """Remove an artifact from the manifest of its folder, if it is listed there."""
    manifest = path.parent / MANIFEST_FILE
    content = _read(manifest)
    if content["artifacts"].pop(path.name, None) is not None:
        _write(manifest, content)


def record_parity(path: Path, data: str, parity: Mapping[str, Any]) -> Path | None:
    """Record what a comparison on `data` found, beside comparisons on other data.

    Returns the manifest's path, or None where no manifest lists this very file.
    """
    manifest = path.parent / MANIFEST_FILE
    if not manifest.exists():
        return None
    content = _read(manifest)
    entry = content["artifacts"].get(path.name)
    if entry is None or entry["sha256"] != sha256_artifact(path):
        return None
    entry["parity"][data] = dict(parity)
    _write(manifest, content)
    return manifest


def _versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {package: installed_version(package) for package in packages}
    return {package: number for package, number in found.items() if number is not None}


def _read(manifest: Path) -> dict[str, Any]:
    if not manifest.exists():
        return {"artifacts": {}}
    try:
        content: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
        content["artifacts"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{manifest}: damaged; delete it and export again") from error
    return content


def _write(manifest: Path, content: dict[str, Any]) -> None:
    write_text(manifest, json.dumps(content, indent=1, sort_keys=True) + "\n")
