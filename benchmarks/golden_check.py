"""Golden check: whether model files give the ages of golden vectors, without PyTorch.

A device seldom has PyTorch or photos to compare with. Golden vectors need neither: they are files
with crops, and with the ages that the checkpoint predicts for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from halnet.benchmarks.verification import expand_folders
from halnet.errors import ArtifactError, RuntimeUnavailableError
from halnet.export.golden_file import Golden
from halnet.runtimes.backends import open_model
from halnet.runtimes.base import RuntimeOptions


@dataclass(frozen=True)
class GoldenCheck:
    """Which model files give the golden ages."""

    golden: Path
    passed: dict[Path, str] = field(default_factory=dict)  # what ran it, by the path of the model
    skipped: dict[Path, str] = field(default_factory=dict)  # why it was not run
    failed: dict[Path, str] = field(default_factory=dict)  # what differs

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        parts = {"passed": self.passed, "left_out": self.skipped, "failed": self.failed}
        named = {
            key: {str(path): text for path, text in part.items()} for key, part in parts.items()
        }
        return {"golden": str(self.golden), **named}


def check_golden(
    models: Sequence[Path], folder: Path, options: RuntimeOptions = RuntimeOptions()
) -> GoldenCheck:
    """Compare models with the golden vectors in a folder, within the tolerance of their precision.

    A folder with a `manifest.json` stands for all artifacts that the manifest lists. Of these, one
    whose runtime is missing here is skipped. Raises ArtifactError if the vectors are damaged or
    belong to another model, or if a model is damaged, and what `open_model` raises.
    """
    golden = Golden.read(folder)
    result = GoldenCheck(folder)
    for path, is_listed in expand_folders(models):
        try:
            golden.check_model(path)
            runtime = open_model(path, options)
        except RuntimeUnavailableError as error:
            if not is_listed:
                raise
            result.skipped[path] = str(error)
            continue
        with runtime:
            try:
                golden.check_ages(runtime)
            except ArtifactError as error:
                result.failed[path] = str(error)
            else:
                spec = runtime.spec
                result.passed[path] = spec.software
    return result
