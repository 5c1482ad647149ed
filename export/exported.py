"""Artifacts on their way: staged, checked, and put in their places, all of them or none."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from halnet.export.formats import FORMATS
from halnet.export.manifest import FAILED_SUFFIX, describe_artifact, record_artifacts
from halnet.placing import placed

# Modules that quantize a graph; the manifest states their versions.
QUANTIZED_BY = ("onnxruntime",)


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


@dataclass(frozen=True)
class Staged:
    """One artifact in the staging folder, and where it belongs."""

    staged: Path
    path: Path
    format: str
    precision: str
    entry: dict[str, Any]  # its part of the manifest


@dataclass(frozen=True)
class Checked:
    """A staged artifact and the result of its check."""

    work: Staged
    verdict: Verdict | None  # None: it was not checked
    unchecked: str  # why it was not checked

    @property
    def failed(self) -> bool:
        """Whether the check found a figure outside its tolerance."""
        return self.verdict is not None and not self.verdict.passed

    @property
    def aside(self) -> Path:
        """The place of the artifact if it failed."""
        return self.work.path.with_name(self.work.path.name + FAILED_SUFFIX)

    @property
    def path(self) -> Path:
        """The place that the artifact belongs to after its check."""
        return self.aside if self.failed else self.work.path

    def describe(self) -> dict[str, Any]:
        """Return what the manifest states about the artifact."""
        line = FORMATS[self.work.format]
        result: dict[str, Any] = {"unchecked": self.unchecked}
        if self.verdict is not None:
            result = {"parity": {self.verdict.data: self.verdict.to_dict()}}
        packages = line.packages + (QUANTIZED_BY if self.work.precision == "int8" else ())
        return describe_artifact(self.work.staged, {**self.work.entry, **result}, packages)


def put_in_place(out: Path, checked: Sequence[Checked]) -> list[Exported]:
    """Move the artifacts into their places, or aside if they failed, and record all of them."""
    moves: list[tuple[Path, Path]] = []
    removed: list[Path] = []
    for part in checked:
        line = FORMATS[part.work.format]
        staged = line.list_files(part.work.staged)
        moves += zip(staged, line.list_files(part.path), strict=True)
        if not part.failed:  # an earlier export may have left one that failed
            removed += [part.aside] if line.inside else line.list_files(part.aside)
    entries = {part.path.name: part.describe() for part in checked}
    with placed(moves, removed):
        old = [part.aside.name for part in checked]
        manifest = record_artifacts(out, entries, removed=old)
    return [
        Exported(
            part.path,
            part.work.format,
            part.work.precision,
            entries[part.path.name]["bytes"],
            entries[part.path.name]["sha256"],
            manifest,
            part.verdict,
            part.unchecked,
        )
        for part in checked
    ]
