"""Verification: artifacts, and all artifacts of folders, compared with their checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from halnet.benchmarks.parity import Verifier, VerifyConfig
from halnet.datasets.prepared_dataset import OnProgress, no_progress
from halnet.errors import ArtifactError, HalnetError, RuntimeUnavailableError
from halnet.evaluation.parity import Parity
from halnet.evaluation.unseen import UnseenPhotos, list_empty
from halnet.export.manifest import MANIFEST_FILE, list_artifacts, record_parity


@dataclass(frozen=True)
class Verification:
    """The comparisons of several artifacts with their checkpoint."""

    compared: dict[Path, Parity]  # by path of the artifact
    skipped: dict[Path, str]  # why an artifact was not compared, by its path
    # Why an artifact that should have been compared could not be, by its path.
    failed: dict[Path, str] = field(default_factory=dict)
    photos: tuple[UnseenPhotos, ...] = ()  # of each dataset; there may be none

    @property
    def passed(self) -> bool:
        """Whether every artifact was compared, or skipped, and lies inside its tolerance."""
        return not self.failed and all(parity.passed for parity in self.compared.values())

    @property
    def notes(self) -> list[str]:
        """A sentence about each dataset of which photos are left out."""
        return [part.note for part in self.photos if part.note]

    def record(self) -> list[str]:
        """Write each comparison into the `manifest.json` beside its artifact, if there is one.

        Returns a line for each reason for which a comparison was not recorded.
        """
        found = {
            path: record_parity(path, parity.data, parity.to_dict())
            for path, parity in self.compared.items()
        }
        return [
            f"{', '.join(str(path) for path in found if found[path] == reason)}: the figures were "
            f"not recorded: {reason}"
            for reason in dict.fromkeys(filter(None, found.values()))
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "artifacts": {str(path): parity.to_dict() for path, parity in self.compared.items()},
            "left_out": {str(path): reason for path, reason in self.skipped.items()},
            "failed": {str(path): reason for path, reason in self.failed.items()},
            **list_empty([part for part in self.photos if not part.records]),
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
    artifact is skipped if its runtime is missing here. An artifact that is missing or damaged does
    not keep the others from being compared. `runtime` and `device` run the artifacts; `on_progress`
    is called with (crops done, crops in all).

    Raises ArtifactError or RuntimeUnavailableError with all reasons if no artifact could be
    compared, and what `Verifier` raises.
    """
    verifier = Verifier(config, on_progress)
    paths = expand_folders(artifacts)
    verifier.prepare()
    compared: dict[Path, Parity] = {}
    skipped: dict[Path, HalnetError] = {}
    failed: dict[Path, HalnetError] = {}
    for path, listed in paths:
        try:
            compared[path] = verifier(path, runtime, device)
        except RuntimeUnavailableError as error:
            (skipped if listed else failed)[path] = error
        except ArtifactError as error:
            failed[path] = error
    if not compared:
        errors = [*failed.values(), *skipped.values()]
        raise type(errors[0])("; ".join(map(str, errors)))
    return Verification(compared, _to_text(skipped), _to_text(failed), verifier.photos)


def _to_text(errors: Mapping[Path, HalnetError]) -> dict[Path, str]:
    return {path: str(error) for path, error in errors.items()}


def expand_folders(artifacts: Sequence[Path]) -> list[tuple[Path, bool]]:
    """Return the path of each artifact, and whether the manifest of a folder lists it.

    Raises ArtifactError for a folder whose manifest is damaged or lists no artifact.
    """
    paths: list[tuple[Path, bool]] = []
    for path in artifacts:
        if (path / MANIFEST_FILE).exists():
            paths += [(artifact, True) for artifact in list_artifacts(path)]
        else:
            paths.append((path, False))
    return paths
