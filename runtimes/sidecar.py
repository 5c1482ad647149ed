"""Sidecars: the JSON file beside a TensorRT engine, with its metadata and what it was built for.

An engine contains native code for certain GPUs and one version of the library. The metadata cannot
be in the engine's own file, because the tools of the vendor read that file.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from halnet.errors import ArtifactError
from halnet.json_text import parse_json

SIDECAR_SUFFIX = ".json"
LIBRARIES = ("tensorrt_rtx", "tensorrt")  # modules with the same interface; the first is preferred


@dataclass(frozen=True)
class Sidecar:
    """The content of a sidecar."""

    library: str  # one of LIBRARIES
    version: str  # version of the library; no other version can load the engine
    capabilities: tuple[str, ...]  # compute capabilities of the GPUs, such as ("SM86",)
    batches: tuple[int, int, int]  # minimum, optimal and maximum batch size
    engine_sha256: str  # SHA-256 of the engine, which is checked before it is loaded
    properties: dict[str, str]  # the metadata of the artifact, `halnet.*`
    onnx_sha256: str = ""  # SHA-256 of the ONNX graph that it was built from; for the record only

    def to_json(self) -> str:
        """Return the sidecar as JSON text."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def read(cls, engine: Path) -> Self:
        """Read the sidecar of an engine; ArtifactError if it is missing or damaged."""
        path = sidecar_path(engine)
        try:
            values = parse_json(path.read_text(encoding="utf-8"))
            if values["library"] not in LIBRARIES:  # it is imported later
                raise ValueError("no library that builds engines")
            minimum, optimal, maximum = (int(value) for value in values["batches"])
            return cls(
                library=values["library"],
                version=str(values["version"]),
                capabilities=tuple(str(value) for value in values["capabilities"]),
                batches=(minimum, optimal, maximum),
                engine_sha256=str(values["engine_sha256"]),
                properties={str(k): str(v) for k, v in values["properties"].items()},
                onnx_sha256=str(values.get("onnx_sha256", "")),
            )
        except OSError as error:
            raise ArtifactError(
                f"{engine}: expected its sidecar {path.name} in the same folder, found none; copy "
                "both files together"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(
                f"{path}: the sidecar is damaged; export the checkpoint again"
            ) from error


def sidecar_path(engine: Path) -> Path:
    """Return the path of the sidecar: `halnet.engine.json` for `halnet.engine`."""
    return engine.with_name(engine.name + SIDECAR_SUFFIX)
