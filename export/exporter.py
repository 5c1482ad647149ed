"""The exporter: a checkpoint to artifacts, each checked before it takes its place."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from halnet.artifact import bundled, sha256_artifact, size_artifact
from halnet.errors import RuntimeUnavailableError
from halnet.export.config import ExportConfig
from halnet.export.formats import FORMATS, Format
from halnet.export.manifest import (
    FAILED_SUFFIX,
    check_manifest,
    forget_artifact,
    record_artifact,
)
from halnet.files import move_into_place, staging
from halnet.packages import needs

if TYPE_CHECKING:
    from halnet.export.int8 import Int8

# Packages that quantize a graph; the manifest states their versions.
QUANTIZED_BY = ("onnxruntime", "onnxruntime-gpu")


class Verdict(Protocol):
    """What a check of an artifact found; see `evaluation.parity.Parity`."""

    @property
    def data(self) -> str:
        """What was compared on."""
        ...

    @property
    def passed(self) -> bool:
        """Whether every figure lies inside the tolerance."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        ...


Check = Callable[[Path, str], Verdict]  # called with an artifact and the name of a runtime
OnStep = Callable[[str], None]  # called with a line that says what is done next


@dataclass(frozen=True)
class Exported:
    """One artifact that an export wrote."""

    path: Path
    format: str
    precision: str
    size: int  # bytes
    sha256: str
    manifest: Path
    verdict: Verdict | None  # None: not checked
    unchecked: str  # why it was not checked; empty where it was

    @property
    def failed(self) -> bool:
        """Whether the check found it outside its tolerance, so that it was put aside."""
        return self.verdict is not None and not self.verdict.passed


def export(
    config: ExportConfig, check: Check | None = None, on_step: OnStep = lambda line: None
) -> list[Exported]:
    """Export a checkpoint in every format and precision asked for.

    All artifacts are written and checked in a staging folder. Then they move into their places and
    are recorded in the folder's `manifest.json`. An export that fails or is interrupted leaves the
    folder as it was. An artifact that `check` finds outside its tolerance is kept under a name that
    no runtime opens. `on_step` is called with a line before each step.

    Raises ArtifactError for a checkpoint or graph that cannot be exported, ConfigError where
    another export into the folder is running, RuntimeUnavailableError for a missing library.
    """
    exporter = _Exporter(config, on_step)
    jobs = [(name, precision) for precision, name in product(config.precisions, config.formats)]
    with staging(config.out, "export") as folder:
        check_manifest(config.out)
        made = [exporter.write(name, precision, folder) for name, precision in jobs]
        checked = [(work, *_check(work, check, on_step)) for work in made]
        return [_place(*parts) for parts in checked]


@dataclass(frozen=True)
class _Staged:
    """One artifact, written into the staging folder, and where it belongs."""

    staged: Path
    path: Path
    format: str
    precision: str
    stated: dict[str, Any]  # for the manifest


class _Exporter:
    """Loads the checkpoint and the writers once; traces and quantizes each graph once."""

    def __init__(self, config: ExportConfig, on_step: OnStep) -> None:
        """Load everything first, so that what is missing is found before the work."""
        self._config = config
        self._on_step = on_step
        self._writers = {name: FORMATS[name].load_writer() for name in config.formats}
        if "int8" in config.precisions:
            _check_int8_libraries(config.int8.sensitivity)
        from halnet.export.graph import simplify
        from halnet.network.checkpoint import load_checkpoint

        self._checkpoint = load_checkpoint(config.checkpoint or bundled("halnet.safetensors"))
        self._network = simplify(self._checkpoint.model)
        self._graphs: dict[tuple[str, str], Any] = {}

    def write(self, name: str, precision: str, folder: Path) -> _Staged:
        """Write the artifact of one format and precision into `folder`."""
        config, line = self._config, FORMATS[name]
        calibration = None  # floating point needs none
        if precision == "int8":
            graph, calibration = self._int8.quantize(line.scheme, line.judged_in, config.out)
        else:
            graph = self._trace(precision, line.traced.get(precision, precision))
        staged = folder / line.file_names[precision]
        self._on_step(f"writing {staged.name}")
        metadata = replace(self._checkpoint.metadata, precision=precision)
        self._writers[name](graph, metadata, staged, config.target)
        stated = {
            "format": name,
            "precision": precision,
            "batch": config.batch or "dynamic",
            "calibration": calibration,
            "checkpoint_sha256": self._checkpoint.sha256,
        }
        return _Staged(staged, config.out / staged.name, name, precision, stated)

    def _trace(self, precision: str, computed: str) -> Any:
        """Return the graph with weights of `precision` that computes in `computed`."""
        from halnet.export.graph import round_to_half
        from halnet.export.to_onnx import trace

        if (precision, computed) not in self._graphs:
            self._on_step(f"tracing the network in {precision}")
            network = round_to_half(self._network) if precision == "fp16" else self._network
            self._graphs[precision, computed] = trace(network, computed, self._config.batch)
        return self._graphs[precision, computed]

    @cached_property
    def _int8(self) -> "Int8":
        from halnet.export.int8 import Int8

        graph = self._trace("fp32", "fp32")
        return Int8(self._config.int8, self._checkpoint, graph, self._on_step)


def _check_int8_libraries(sensitivity: bool) -> None:
    """Raise RuntimeUnavailableError where a library of INT8, or of its picture, is missing."""
    with needs("--precision int8", "export,onnxruntime"):
        import onnxruntime  # noqa: F401
    if sensitivity:
        with needs("--sensitivity", "report"):
            import matplotlib  # noqa: F401


def _check(work: _Staged, check: Check | None, on_step: OnStep) -> tuple[Verdict | None, str]:
    """Return what a check found, or why there was none."""
    if check is None:
        return None, "no check was asked for"
    on_step(f"checking {work.staged.name}")
    try:
        return check(work.staged, FORMATS[work.format].runtime), ""
    except RuntimeUnavailableError as error:
        return None, str(error)


def _place(work: _Staged, verdict: Verdict | None, unchecked: str) -> Exported:
    """Move an artifact into its place, or aside if it failed, and record it in the manifest."""
    line = FORMATS[work.format]
    failed = verdict is not None and not verdict.passed
    aside = work.path.with_name(work.path.name + FAILED_SUFFIX)
    path = aside if failed else work.path
    _remove(aside, line)  # of an earlier export
    for suffix in (*line.beside, ""):  # the artifact last: it is refused without the others
        move_into_place(_beside(work.staged, suffix), _beside(path, suffix))
    if verdict is None:
        found: dict[str, Any] = {"unchecked": unchecked}
    else:
        found = {"parity": {verdict.data: verdict.to_dict()}}
    packages = line.packages + (QUANTIZED_BY if work.precision == "int8" else ())
    manifest = record_artifact(path, {**work.stated, **found}, packages)
    size, digest = size_artifact(path), sha256_artifact(path)
    return Exported(path, work.format, work.precision, size, digest, manifest, verdict, unchecked)


def _remove(path: Path, line: Format) -> None:
    for suffix in ("", *line.beside):
        file = _beside(path, suffix)
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)
    forget_artifact(path)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
