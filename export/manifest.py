"""`manifest.json`: lists the artifacts of a folder, how they were made and how they compared."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from halnet import __version__
from halnet.artifact import sha256_artifact, size_artifact
from halnet.errors import ArtifactError
from halnet.files import editing, write_text
from halnet.json_text import parse_json
from halnet.packages import installed_version

MANIFEST_FILE = "manifest.json"
MAX_NAME = 255  # bytes; no file can have a longer name
FAILED_SUFFIX = ".failed"  # of an artifact outside its tolerance; no runtime opens such a name


def check_manifest(folder: Path) -> None:
    """Raise ArtifactError if the manifest of a folder is damaged. A missing one is not."""
    _read(folder / MANIFEST_FILE)


def list_artifacts(folder: Path) -> list[Path]:
    """Return the artifacts that a folder's manifest lists, without those that failed a check.

    Raises ArtifactError where there is none.
    """
    return [folder / name for name in read_entries(folder)]


def read_entries(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what a folder's manifest states about each artifact, by its name.

    Artifacts that failed a check are left out. Raises ArtifactError where there is none.
    """
    listed = _read(folder / MANIFEST_FILE)["artifacts"]
    entries = {name: entry for name, entry in listed.items() if not name.endswith(FAILED_SUFFIX)}
    if not entries:
        raise ArtifactError(
            f"{folder}: expected a {MANIFEST_FILE} that lists artifacts, found none; run halnet "
            "export into this folder"
        )
    return entries


def check_hash(path: Path) -> None:
    """Raise ArtifactError unless an artifact is as the manifest of its folder states it."""
    manifest = path.parent / MANIFEST_FILE
    stated = _read(manifest)["artifacts"].get(path.name, {}).get("sha256", "none")
    found = sha256_artifact(path)
    if found != stated:
        raise ArtifactError(
            f"{path}: expected the SHA-256 that {MANIFEST_FILE} states, {stated}, found {found}: "
            "the file was changed after the export; export the checkpoint again"
        )


def describe_artifact(
    path: Path, entry: Mapping[str, Any], packages: Sequence[str]
) -> dict[str, Any]:
    """Return what a manifest states about a new artifact.

    `entry` is JSON-ready and states how the artifact was made. Its hash, its size and the versions
    of halnet and of the installed `packages` are added.
    """
    return {
        "sha256": sha256_artifact(path),
        "bytes": size_artifact(path),
        "versions": {"halnet": __version__, **_versions(packages)},
        "parity": {},  # name of the data: what a comparison on it found
        **entry,
    }


def record_artifacts(
    folder: Path, entries: Mapping[str, Mapping[str, Any]], removed: Iterable[str] = ()
) -> Path:
    """Record new artifacts in the manifest of their folder, and return the manifest's path.

    `entries` has what `describe_artifact` returned, by the name of the artifact. The entries of the
    artifacts in `removed` are deleted.
    """
    with _editing(folder) as artifacts:
        for name in removed:
            artifacts.pop(name, None)
        artifacts.update({name: dict(entry) for name, entry in entries.items()})
    return folder / MANIFEST_FILE


def record_parity(path: Path, data: str, parity: Mapping[str, Any]) -> str:
    """Record what a comparison on `data` found, beside comparisons on other data.

    Returns why it was not recorded, or an empty text. Without a manifest there is nothing to say.
    """
    folder = path.parent
    if not (folder / MANIFEST_FILE).exists():
        return ""
    try:
        with _editing(folder) as artifacts:
            entry = artifacts.get(path.name)
            if entry is None or entry["sha256"] != sha256_artifact(path):
                return f"{folder / MANIFEST_FILE} does not list this file; export it again"
            entry["parity"][data] = dict(parity)
    except OSError as error:
        return f"{error.filename or folder / MANIFEST_FILE}: {error.strerror or error}"
    except ArtifactError as error:
        return str(error)
    return ""


@contextmanager
def _editing(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a folder's manifest by name, and write them when the block ends.

    Other programs that edit the same manifest wait until then. If nothing has changed, the file is
    not written.
    """
    manifest = folder / MANIFEST_FILE
    with editing(manifest):
        content = _read(manifest)
        before = _to_text(content)
        yield content["artifacts"]
        text = _to_text(content)
        if text != before:
            write_text(manifest, text)


def _versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {package: installed_version(package) for package in packages}
    return {package: number for package, number in found.items() if number is not None}


def _read(manifest: Path) -> dict[str, Any]:
    if not manifest.exists():
        return {"artifacts": {}}
    try:
        content: dict[str, Any] = parse_json(manifest.read_text(encoding="utf-8"))
        is_complete = all(_is_entry(*item) for item in content["artifacts"].items())
    except (ValueError, KeyError, TypeError, AttributeError):
        is_complete = False
    if not is_complete:
        raise ArtifactError(f"{manifest}: damaged; delete it and export again")
    return content


def _is_entry(name: str, entry: Any) -> bool:
    """Return whether a manifest may list an artifact of this name, with such an entry."""
    return (
        Path(name).name == name not in ("", "..")
        and "\0" not in name
        and len(os.fsencode(name)) <= MAX_NAME
        and isinstance(entry, dict)
        and isinstance(entry.get("sha256"), str)
        and isinstance(entry.get("parity"), dict)
    )


def _to_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"
