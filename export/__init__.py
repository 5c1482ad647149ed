"""Export: a checkpoint to deployable artifacts, each checked before it takes its place.

To add a format, write a file beside this one with a function (graph, metadata, path, target) that
leaves one artifact at the path, and give it a line in `FORMATS`.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, Protocol

from halnet.artifact import bundled, sha256_artifact, size_artifact
from halnet.errors import ConfigError, RuntimeUnavailableError
from halnet.export.targets import Int8Config, Target
from halnet.files import settle, staging
from halnet.manifest import (
    FAILED_SUFFIX,
    check_manifest,
    forget_artifact,
    record_artifact,
)
from halnet.runtimes.sidecar import SIDECAR_SUFFIX


@dataclass(frozen=True)
class Format:
    """One line of the table of formats."""

    module: str  # below halnet.export
    function: str  # in it: (graph, metadata, path, target)
    file_names: dict[str, str]  # precision: name of the artifact
    runtime: str  # that it is checked on
    packages: tuple[str, ...]  # whose versions the manifest states
    extra: str = "export"  # of halnet, that brings them
    traced: dict[str, str] = field(default_factory=dict)  # precision: what its graph computes in
    scheme: str = "unsigned"  # of INT8; see `calibration.quantizer`
    beside: tuple[str, ...] = ()  # suffixes of further files that belong to the artifact


# Packages whose versions a manifest states.
TRACED_BY = ("torch", "onnx", "onnxscript")
QUANTIZED_BY = ("onnxruntime", "onnxruntime-gpu")

FORMATS = {
    "onnx": Format(
        "to_onnx",
        "write_onnx",
        {"fp32": "halnet.onnx", "fp16": "halnet.fp16.onnx", "int8": "halnet.int8.onnx"},
        "onnxruntime",
        TRACED_BY,
    ),
    "openvino": Format(
        "to_openvino",
        "write_openvino",
        {
            "fp32": "halnet_openvino_model",
            "fp16": "halnet_fp16_openvino_model",
            "int8": "halnet_int8_openvino_model",
        },
        "openvino",
        (*TRACED_BY, "openvino"),
        "export,openvino",
        traced={"fp16": "fp32"},  # OpenVINO itself stores the weights as FP16
    ),
    "tensorrt": Format(
        "to_tensorrt",
        "write_tensorrt",
        {"fp32": "halnet.engine", "fp16": "halnet.fp16.engine", "int8": "halnet.int8.engine"},
        "tensorrt",
        (*TRACED_BY, "tensorrt-rtx", "tensorrt"),
        "export,tensorrt-rtx",
        scheme="symmetric",
        beside=(SIDECAR_SUFFIX,),
    ),
}


@dataclass(frozen=True)
class ExportConfig:
    """What to export, and where to."""

    checkpoint: Path | None = None  # None: the one that comes with the package
    formats: tuple[str, ...] = ("onnx",)
    precisions: tuple[str, ...] = ("fp32",)
    batch: int | None = None  # crops of every run; None: any number
    out: Path = Path("deploy")
    target: Target = field(default_factory=Target)
    int8: Int8Config = field(default_factory=Int8Config)

    def __post_init__(self) -> None:
        _check_names("format", self.formats, list(FORMATS))
        for name in self.formats:
            _check_names("precision", self.precisions, list(FORMATS[name].file_names))
        if self.batch is not None and self.batch < 1:
            raise ConfigError(f"batch: expected at least 1 or dynamic, found {self.batch}")
        if self.target != Target() and "tensorrt" not in self.formats:
            raise ConfigError(
                "capabilities and batches of a profile are of the format tensorrt, which was not "
                f"asked for (found {', '.join(self.formats)})"
            )
        if self.int8 != Int8Config() and "int8" not in self.precisions:
            raise ConfigError(
                "how to calibrate is of the precision int8, which was not asked for "
                f"(found {', '.join(self.precisions)})"
            )
        if self.target.batches != Target().batches and self.batch is not None:
            raise ConfigError("a profile is for a dynamic batch; leave out one of the two")


class Verdict(Protocol):
    """What a check of an artifact found; see `benchmarks.parity.Parity`."""

    @property
    def data(self) -> str:
        """What was compared on."""
        ...

    @property
    def passed(self) -> bool:
        """Whether all lies inside the tolerance."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        ...


Check = Callable[[Path, str], Verdict]  # of an artifact, on a runtime


@dataclass(frozen=True)
class Exported:
    """One artifact that an export left."""

    path: Path
    format: str
    precision: str
    size: int  # bytes
    sha256: str
    manifest: Path
    verdict: Verdict | None  # None: not checked
    unchecked: str  # why it was not; empty where it was

    @property
    def failed(self) -> bool:
        """Whether it was checked and put aside."""
        return self.verdict is not None and not self.verdict.passed


def export(
    config: ExportConfig,
    check: Check | None = None,
    on_step: Callable[[str], None] = lambda line: None,
) -> list[Exported]:
    """Export a checkpoint in every format and precision asked for.

    All artifacts are made and checked aside; then they take their places and are noted in the
    folder's `manifest.json`. An export that fails or is interrupted leaves what was there before.
    An artifact that `check` finds outside its tolerance is kept under a name that no runtime opens.
    `on_step` is told what is done next.

    Raises ArtifactError for a checkpoint or graph that cannot be exported, ConfigError where
    another export into the folder is under way, RuntimeUnavailableError for a missing library.
    """
    make = _prepare(config, on_step)
    with staging(config.out, "export") as stage:
        check_manifest(config.out)
        made = [(work, *_checked(work, check, on_step)) for work in make(stage)]
        return [_place(*parts) for parts in made]


@dataclass(frozen=True)
class _Work:
    """One artifact, made in the staging folder, and its place."""

    staged: Path
    path: Path
    format: str
    precision: str
    stated: dict[str, Any]  # for the manifest


def _prepare(
    config: ExportConfig, on_step: Callable[[str], None]
) -> Callable[[Path], Iterator[_Work]]:
    """Load what an export takes; return a function that makes the artifacts in a folder."""
    writers = {name: _writer(FORMATS[name]) for name in config.formats}
    from halnet.export.graph import prepare, round_to_half
    from halnet.export.to_onnx import trace
    from halnet.training.checkpoint import load_checkpoint

    checkpoint = config.checkpoint or bundled("halnet.safetensors")
    model, metadata = load_checkpoint(checkpoint)
    model = prepare(model)

    @cache
    def graph(precision: str, computed: str) -> Any:
        on_step(f"tracing the network in {precision}")
        network = round_to_half(model) if precision == "fp16" else model
        return trace(network, computed, config.batch)

    @cache
    def int8() -> Any:
        try:
            from halnet.export.int8 import Int8
        except ModuleNotFoundError as error:
            raise RuntimeUnavailableError(
                f"INT8 needs {error.name}, which is not installed; "
                "pip install 'halnet[export,onnxruntime]'"
            ) from error
        return Int8(config.int8, checkpoint, graph("fp32", "fp32"), on_step)

    def make(folder: Path) -> Iterator[_Work]:
        for precision, name in product(config.precisions, config.formats):
            target = FORMATS[name]
            calibration = None  # there is none in floating point
            if precision == "int8":
                traced, calibration = int8().quantize(target.scheme, target.runtime, config.out)
            else:
                traced = graph(precision, target.traced.get(precision, precision))
            staged = folder / target.file_names[precision]
            on_step(f"writing {staged.name}")
            writers[name](traced, replace(metadata, precision=precision), staged, config.target)
            stated = {
                "format": name,
                "precision": precision,
                "batch": config.batch or "dynamic",
                "calibration": calibration,
                "checkpoint_sha256": metadata.checkpoint_sha256,
            }
            yield _Work(staged, config.out / staged.name, name, precision, stated)

    return make


def _writer(target: Format) -> Callable[..., None]:
    """Return a format's function; RuntimeUnavailableError where its library is missing."""
    try:
        writer: Callable[..., None] = getattr(
            import_module(f"halnet.export.{target.module}"), target.function
        )
    except ModuleNotFoundError as error:
        raise RuntimeUnavailableError(
            f"export needs {error.name}, which is not installed; "
            f"pip install 'halnet[{target.extra}]'"
        ) from error
    return writer


def _checked(
    work: _Work, check: Check | None, on_step: Callable[[str], None]
) -> tuple[Verdict | None, str]:
    """Return what a check found, or why there was none."""
    if check is None:
        return None, "no check was asked for"
    on_step(f"checking {work.staged.name}")
    try:
        return check(work.staged, FORMATS[work.format].runtime), ""
    except RuntimeUnavailableError as error:
        return None, str(error)


def _place(work: _Work, verdict: Verdict | None, unchecked: str) -> Exported:
    target = FORMATS[work.format]
    failed = verdict is not None and not verdict.passed
    aside = work.path.with_name(work.path.name + FAILED_SUFFIX)
    path = aside if failed else work.path
    _remove(aside, target)  # of an earlier export
    for suffix in (*target.beside, ""):  # the artifact last: it is refused without the others
        settle(_beside(work.staged, suffix), _beside(path, suffix))
    if verdict is None:
        found: dict[str, Any] = {"unchecked": unchecked}
    else:
        found = {"parity": {verdict.data: verdict.to_dict()}}
    packages = target.packages + (QUANTIZED_BY if work.precision == "int8" else ())
    manifest = record_artifact(path, {**work.stated, **found}, packages)
    size, digest = size_artifact(path), sha256_artifact(path)
    return Exported(path, work.format, work.precision, size, digest, manifest, verdict, unchecked)


def _remove(path: Path, target: Format) -> None:
    for suffix in ("", *target.beside):
        file = _beside(path, suffix)
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)
    forget_artifact(path)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _check_names(kind: str, names: Sequence[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{kind} {name}: expected one of {', '.join(known)}{hint}")
    if not names:
        raise ConfigError(f"{kind}: expected at least one of {', '.join(known)}, found none")
