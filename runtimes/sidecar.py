"""Sidecars: what a TensorRT engine was built from, by and for, as a JSON file beside it.

An engine is native code to its loader, tied to a library's version and to GPUs. The sidecar says to
which and carries the artifact's metadata: nothing may stand in the engine's own file, which the
vendor's tools read.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from halnet.errors import ArtifactError

SIDECAR_SUFFIX = ".json"


@dataclass(frozen=True)
class Sidecar:
    """What an engine was built from, by and for."""

    library: str  # "tensorrt_rtx" or "tensorrt"
    version: str  # of the library; another one cannot load the engine
    capabilities: tuple[str, ...]  # compute capabilities, ("SM86",)
    batches: tuple[int, int, int]  # least, best and most crops a run
    engine_sha256: str
    onnx_sha256: str
    properties: dict[str, str]  # halnet.*: the artifact's metadata

    def to_json(self) -> str:
        """Return the sidecar's text."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def read(cls, engine: Path) -> Self:
        """Read the sidecar of an engine; ArtifactError where it is missing or damaged."""
        path = sidecar_path(engine)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            least, best, most = (int(value) for value in values["batches"])
            return cls(
                library=str(values["library"]),
                version=str(values["version"]),
                capabilities=tuple(str(value) for value in values["capabilities"]),
                batches=(least, best, most),
                engine_sha256=str(values["engine_sha256"]),
                onnx_sha256=str(values["onnx_sha256"]),
                properties={str(k): str(v) for k, v in values["properties"].items()},
            )
        except OSError as error:
            raise ArtifactError(
                f"{engine}: expected its sidecar {path.name} beside it, found none; copy the two "
                "together"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"{path}: damaged; export the checkpoint again") from error


def sidecar_path(engine: Path) -> Path:
    """Return `halnet.engine.json` for `halnet.engine`."""
    return engine.with_name(engine.name + SIDECAR_SUFFIX)
