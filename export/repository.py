"""Repositories: folders of artifacts for the model servers of vendors.

To add a server, write a file beside this one with a `Server`, and add a line to `SERVERS`.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from halnet import __version__
from halnet.artifact import sha256_file
from halnet.errors import ArtifactError, ConfigError
from halnet.export.formats import FORMATS
from halnet.export.manifest import MANIFEST_FILE, check_hash, list_artifacts
from halnet.export.ovms import OVMS
from halnet.export.served_model import ServedModel, Server
from halnet.export.triton import TRITON
from halnet.files import check_folder, follow
from halnet.json_text import parse_json
from halnet.placing import staging

SERVERS = {"triton": TRITON, "ovms": OVMS}
REPOSITORY_FILE = "repository.json"  # states the models and the hashes; the servers ignore it
VERSION = "1"  # name of the folder with the only version of a model
# The names of the files of a version, in the order of `Format.list_files`. Triton knows the files
# by these names, and OpenVINO Model Server takes any.
FILE_NAMES = {
    "onnx": ("model.onnx",),
    "openvino": ("model.bin", "model.xml"),
    "tensorrt": ("model.plan.json", "model.plan"),
}
# Name of an artifact: its format and precision.
KINDS = {
    name: (form, precision)
    for form, line in FORMATS.items()
    for precision, name in line.file_names.items()
}


@dataclass(frozen=True)
class WrittenRepository:
    """A repository that was written."""

    folder: Path
    server: str  # a key of `SERVERS`
    models: tuple[str, ...]  # their names, such as "halnet_fp32_onnx"
    left_out: Mapping[str, str]  # name of an artifact that the server cannot run: why

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {**asdict(self), "folder": str(self.folder)}


def find_server(name: str) -> Server:
    """Return a server; ConfigError for an unknown name, with the nearest one."""
    if name not in SERVERS:
        near = get_close_matches(name, SERVERS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"--repository {name}: expected one of {', '.join(SERVERS)}{hint}")
    return SERVERS[name]


def write_repository(
    server: str, source: Path, out: Path, on_step: Callable[[str], None] = lambda line: None
) -> WrittenRepository:
    """Write the artifacts of the folder `source` as a repository, completely or not at all.

    What a server cannot run is left out. `out` must be new or empty, because a server may be using
    a repository that is there. `on_step` is called with a line for each artifact.

    Raises ConfigError for an unknown server and where `out` cannot be written, ArtifactError if
    `source` has no artifacts for the server or one that is not as its manifest states it, and
    RuntimeUnavailableError if a library that reads the artifacts is missing.
    """
    line = find_server(server)
    _check_new(out)
    chosen, left_out = _choose(line, source)
    for name, reason in left_out.items():
        on_step(f"leaving out {name}: {reason}")
    if not chosen:
        raise ArtifactError(
            f"{source}: expected an artifact that {line.title} can run, found none: "
            + "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        )
    place = follow(out)
    with staging(place.parent, "writing of a repository") as stage:
        folder = stage / place.name
        folder.mkdir()
        models, record = [], {}
        for path in chosen:
            on_step(f"copying {path.name}")
            check_hash(path)
            model, entry = _copy(line, path, folder)
            models.append(model)
            record[model.name] = entry
        content = {"server": server, "halnet": __version__, "models": record}
        texts = line.write_texts(models, place.name) | {
            REPOSITORY_FILE: json.dumps(content, indent=1, sort_keys=True) + "\n"
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        check_repository(folder)
        folder.replace(place)
    return WrittenRepository(out, server, tuple(record), left_out)


def check_repository(folder: Path) -> list[ServedModel]:
    """Return the models of a repository, after each file was checked.

    The hashes of the model files are compared with those of the artifacts, and the configuration
    with the names, types and shapes in the model files. Raises ArtifactError for what differs.
    """
    path = folder / REPOSITORY_FILE
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        server = SERVERS[content["server"]]
        record = {
            str(name): (KINDS[entry["artifact"]][0], dict(entry["files"]))
            for name, entry in content["models"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{path}: expected the record of a repository, found none or a damaged one; write the "
            "repository again with halnet export --repository"
        ) from error
    models = []
    for name, (form, hashes) in record.items():
        version = folder / name / VERSION
        found = {file.name: sha256_file(file) for file in version.glob("*")}
        if found != hashes:
            raise ArtifactError(
                f"{version}: expected the files {', '.join(hashes)} as they were exported, found "
                f"{', '.join(sorted(found)) or 'none'}, missing or with another SHA-256; write the "
                "repository again"
            )
        models.append(server.readers[form](name, version / FILE_NAMES[form][-1]))
    server.check(folder, models)
    return models


def _check_new(out: Path) -> None:
    """Raise ConfigError unless a folder can be made at `out`, or an empty one is there."""
    place = follow(out)
    check_folder(place)
    if place.exists() and any(place.iterdir()):
        raise ConfigError(
            f"{out}: expected a new or empty folder for the repository, found files in it; name "
            "another folder, or remove them"
        )
    if place.is_mount():
        raise ConfigError(
            f"{out}: expected a folder that can be replaced, found a file system that is mounted "
            f"there; name a new folder in it, such as {out / 'models'}"
        )


def _choose(server: Server, source: Path) -> tuple[list[Path], dict[str, str]]:
    """Return the artifacts for a server, and why others are left out."""
    chosen, left_out = [], {}
    for path in list_artifacts(source):
        if path.name not in KINDS:
            left_out[path.name] = f"{MANIFEST_FILE} lists it, but halnet export writes no such name"
            continue
        form, _ = KINDS[path.name]
        reason = server.why_not(form, path)
        if reason:
            left_out[path.name] = reason
            continue
        missing = [file for file in FORMATS[form].list_files(path) if not file.exists()]
        if missing:
            raise ArtifactError(
                f"{missing[0]}: {MANIFEST_FILE} lists this file, and it is missing; export the "
                "checkpoint again"
            )
        chosen.append(path)
    return chosen, left_out


def _copy(server: Server, path: Path, folder: Path) -> tuple[ServedModel, dict[str, Any]]:
    """Copy an artifact into a repository. Return it, and what the repository states about it."""
    form, precision = KINDS[path.name]
    name = f"halnet_{precision}_{form}"
    version = folder / name / VERSION
    version.mkdir(parents=True)
    hashes = {}
    for source, file_name in zip(FORMATS[form].list_files(path), FILE_NAMES[form], strict=True):
        shutil.copyfile(source, version / file_name)
        hashes[file_name] = sha256_file(source)
    return server.readers[form](name, version / file_name), {"artifact": path.name, "files": hashes}
