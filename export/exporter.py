"""The exporter: writes a checkpoint as artifacts, checks each, and puts it in its place."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from halnet.artifact import bundled, sha256_artifact, size_artifact
from halnet.errors import ConfigError, RuntimeUnavailableError
from halnet.export.config import ExportConfig
from halnet.export.formats import FORMATS, Format
from halnet.export.manifest import (
    FAILED_SUFFIX,
    check_manifest,
    record_artifact,
    remove_artifact,
)
from halnet.files import move_into_place, staging
from halnet.packages import import_library

if TYPE_CHECKING:
    from halnet.export.int8 import Int8
    from halnet.network.model import AgeNet

# Packages that quantize a graph; the manifest states their versions.
QUANTIZED_BY = ("onnxruntime", "onnxruntime-gpu")
NEAREST = 5  # names of layers that an error about a wrong name lists


class Verdict(Protocol):
    """The result of the check of an artifact. `evaluation.parity.Parity` is one."""

    @property
    def data(self) -> str:
        """Name of the crops or photos that the artifact was compared on."""
        ...

    @property
    def passed(self) -> bool:
        """Whether every figure lies inside its tolerance."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        ...


Check = Callable[[Path, str], Verdict]  # called with an artifact and the name of a runtime
OnStep = Callable[[str], None]  # called with a line that states the next step


@dataclass(frozen=True)
class Exported:
    """One artifact that an export wrote."""

    path: Path
    format: str
    precision: str
    size: int  # bytes
    sha256: str
    manifest: Path
    verdict: Verdict | None  # None: the artifact was not checked
    unchecked: str  # why the artifact was not checked; empty if it was

    @property
    def failed(self) -> bool:
        """Whether the check found a figure outside its tolerance."""
        return self.verdict is not None and not self.verdict.passed


def export(
    config: ExportConfig, check: Check | None = None, on_step: OnStep = lambda line: None
) -> list[Exported]:
    """Export a checkpoint in every requested format and precision.

    All artifacts are written and checked in a staging folder. Then they are moved into their places
    and recorded in the folder's `manifest.json`. An export that fails or is interrupted leaves the
    folder as it was. An artifact that fails its `check` is kept under a name that no runtime opens.
    `on_step` is called with a line before each step.

    Raises ArtifactError for a checkpoint or graph that cannot be exported, ConfigError for a layer
    or capability that does not exist and where another export into the folder is running, and
    RuntimeUnavailableError for a missing library.
    """
    exporter = _Exporter(config, on_step)
    jobs = [(name, precision) for precision, name in product(config.precisions, config.formats)]
    with staging(config.out, "export") as folder:
        check_manifest(config.out)
        written = [exporter.write(name, precision, folder) for name, precision in jobs]
        checked = [(work, *_check(work, check, on_step)) for work in written]
        return [_put_in_place(*parts) for parts in checked]


@dataclass(frozen=True)
class _Staged:
    """One artifact in the staging folder, and where it belongs."""

    staged: Path
    path: Path
    format: str
    precision: str
    entry: dict[str, Any]  # its part of the manifest


class _Exporter:
    """Loads the checkpoint and the writers once, and traces and quantizes each graph once."""

    def __init__(self, config: ExportConfig, on_step: OnStep) -> None:
        """Load the libraries and check all names, so that a fault is found before the work."""
        self._config = config
        self._on_step = on_step
        self._writers = {name: FORMATS[name].load_writer() for name in config.formats}
        _check_libraries(config)
        for name in config.formats:
            FORMATS[name].check_capabilities(config.target.capabilities, config.precisions)
        from halnet.export.graph import simplify
        from halnet.network.checkpoint import load_checkpoint

        self._checkpoint = load_checkpoint(config.checkpoint or bundled("halnet.safetensors"))
        self._network = simplify(self._checkpoint.model)
        _check_layers(config.int8.keep or (), self._network)
        self._graphs: dict[tuple[str, str], Any] = {}

    def write(self, name: str, precision: str, folder: Path) -> _Staged:
        """Write the artifact of one format and precision into `folder`."""
        config, line = self._config, FORMATS[name]
        calibration = None  # FP32 and FP16 are not calibrated
        if precision == "int8":
            graph, calibration = self._int8.quantize(line.scheme, line.budget_runtime, config.out)
        else:
            graph = self._trace(precision, line.traced.get(precision, precision))
        staged = folder / line.file_names[precision]
        self._on_step(f"writing {staged.name}")
        metadata = replace(self._checkpoint.metadata, precision=precision)
        self._writers[name](graph, metadata, staged, config.target)
        entry = {
            "format": name,
            "precision": precision,
            "batch": config.batch or "dynamic",
            "calibration": calibration,
            "checkpoint_sha256": self._checkpoint.sha256,
        }
        return _Staged(staged, config.out / staged.name, name, precision, entry)

    def _trace(self, precision: str, computed: str) -> Any:
        """Return the graph whose weights fit `precision` and that computes in `computed`."""
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


def _check_libraries(config: ExportConfig) -> None:
    """Raise RuntimeUnavailableError where a library that the work needs later is missing."""
    for library in ("torch", "onnx", "onnxscript"):
        import_library(library, "halnet export", "export")
    if "int8" in config.precisions:
        import_library("onnxruntime", "--precision int8", "export,onnxruntime")
        if config.int8.sensitivity:
            import_library("matplotlib", "--sensitivity", "report")


def _check_layers(names: Sequence[str], network: "AgeNet") -> None:
    """Raise ConfigError, with the nearest names, where no layer of the network has a name."""
    from halnet.export.graph import layer_names

    known = layer_names(network) if names else []
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, NEAREST, cutoff=0)
            raise ConfigError(
                f"--keep-float {name}: expected none or the name of one of the {len(known)} layers "
                f"of the network; the nearest names are {', '.join(near)}"
            )


def _check(work: _Staged, check: Check | None, on_step: OnStep) -> tuple[Verdict | None, str]:
    """Return the verdict of a check, or None and why there is none."""
    if check is None:
        return None, "no check was requested"
    on_step(f"checking {work.staged.name}")
    try:
        return check(work.staged, FORMATS[work.format].runtime), ""
    except RuntimeUnavailableError as error:
        return None, str(error)


def _put_in_place(work: _Staged, verdict: Verdict | None, unchecked: str) -> Exported:
    """Move an artifact into its place, or aside if it failed, and record it in the manifest."""
    line = FORMATS[work.format]
    failed = verdict is not None and not verdict.passed
    aside = work.path.with_name(work.path.name + FAILED_SUFFIX)
    path = aside if failed else work.path
    _remove(aside, line)  # an earlier export may have left it
    for suffix in (*line.beside, ""):  # the artifact last: no runtime opens it without the others
        move_into_place(_add_suffix(work.staged, suffix), _add_suffix(path, suffix))
    if verdict is None:
        result: dict[str, Any] = {"unchecked": unchecked}
    else:
        result = {"parity": {verdict.data: verdict.to_dict()}}
    packages = line.packages + (QUANTIZED_BY if work.precision == "int8" else ())
    manifest = record_artifact(path, {**work.entry, **result}, packages)
    size, digest = size_artifact(path), sha256_artifact(path)
    return Exported(path, work.format, work.precision, size, digest, manifest, verdict, unchecked)


def _remove(path: Path, line: Format) -> None:
    """Delete an artifact, the files that belong to it, and its entry in the manifest."""
    for suffix in ("", *line.beside):
        file = _add_suffix(path, suffix)
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)
    remove_artifact(path)


def _add_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
