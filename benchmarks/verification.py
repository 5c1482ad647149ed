"""Verification: artifacts, and all artifacts of folders, compared with their checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halnet.benchmarks.parity import Verifier, VerifyConfig
from halnet.datasets.prepared_dataset import OnProgress, no_progress
from halnet.errors import RuntimeUnavailableError
from halnet.evaluation.parity import Parity
from halnet.export.manifest import MANIFEST_FILE, list_artifacts, record_parity


@dataclass(frozen=True)
class Verification:
    """The comparisons of several artifacts with their checkpoint."""

    compared: dict[Path, Parity]  # by path of the artifact
    skipped: dict[Path, str]  # why an artifact was not compared, by its path

    @property
    def passed(self) -> bool:
        """Whether every artifact that was compared lies inside its tolerance."""
        return all(parity.passed for parity in self.compared.values())

    def record(self) -> None:
        """Write each comparison into the `manifest.json` beside its artifact, if there is one."""
        for path, parity in self.compared.items():
            record_parity(path, parity.data, parity.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "artifacts": {str(path): parity.to_dict() for path, parity in self.compared.items()},
            "left_out": {str(path): reason for path, reason in self.skipped.items()},
        }


def verify(
    artifacts: Sequence[Path],
    config: VerifyConfig,
    runtime: str = "auto",
    device: str = "auto",
    on_progress: OnProgress = no_progress,
) -> Verification:
    """Compare artifacts with their checkpoint in PyTorch FP32 on the CPU.

    A folder with a `manifest.json` stands for all artifacts that the manifest lists. Such an
    artifact is skipped if its runtime is missing here. `runtime` and `device` run the artifacts;
    `on_progress` is called with (crops done, crops in all).

    Raises RuntimeUnavailableError if the runtime of an artifact that is named by itself is missing,
    or if every artifact is skipped, and what `Verifier` raises.
    """
    verifier = Verifier(config, on_progress)
    compared: dict[Path, Parity] = {}
    skipped: dict[Path, str] = {}
    for path, listed in _expand(artifacts):
        try:
            compared[path] = verifier(path, runtime, device)
        except RuntimeUnavailableError as error:
            if not listed:
                raise
            skipped[path] = str(error)
    if not compared:
        raise RuntimeUnavailableError("; ".join(skipped.values()))
    return Verification(compared, skipped)


def _expand(artifacts: Sequence[Path]) -> list[tuple[Path, bool]]:
    """Return the path of each artifact, and whether the manifest of a folder lists it."""
    paths: list[tuple[Path, bool]] = []
    for path in artifacts:
        if (path / MANIFEST_FILE).exists():
            paths += [(artifact, True) for artifact in list_artifacts(path)]
        else:
            paths.append((path, False))
    return paths
