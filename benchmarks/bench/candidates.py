"""Candidates: which models are timed on which runtimes, and why others cannot be."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from halnet.artifact import CHECKPOINTS, bundled, label_model, sha256_file
from halnet.benchmarks.verification import expand_folders
from halnet.errors import ArtifactError, RuntimeUnavailableError
from halnet.evaluation.unseen import CHECKPOINT_SUFFIX
from halnet.runtimes.backends import (
    bundled_model,
    bundled_runtime,
    bundled_runtimes,
    installed,
    open_model,
)
from halnet.runtimes.base import Runtime, RuntimeOptions


@dataclass(frozen=True)
class Candidate:
    """A model and how it is run."""

    model: Path
    options: RuntimeOptions
    is_listed: bool = False  # whether it was named by its folder, so that it may be skipped


@dataclass(frozen=True)
class NotTimed:
    """A candidate that could not be timed."""

    model: str  # its path, or the file name of a bundled model
    runtime: str  # as requested; "auto" if none was
    error: str


@dataclass(frozen=True, eq=False)
class Opened:
    """The candidates that could be opened, and why the others could not."""

    pairs: tuple[tuple[Candidate, Runtime], ...]
    failed: tuple[NotTimed, ...]  # that should have been timed
    skipped: tuple[NotTimed, ...]  # that a folder lists and that cannot run on this machine

    def check(self) -> None:
        """Raise an error with all reasons if no candidate could be opened.

        This is RuntimeUnavailableError if all of them were skipped, or else ArtifactError.
        """
        if not self.pairs:
            reasons = dict.fromkeys(entry.error for entry in (*self.failed, *self.skipped))
            kind = ArtifactError if self.failed else RuntimeUnavailableError
            raise kind("; ".join(reasons))

    def __add__(self, other: "Opened") -> "Opened":
        return Opened(
            self.pairs + other.pairs, self.failed + other.failed, self.skipped + other.skipped
        )


def find_candidates(
    models: Sequence[Path], runtimes: Sequence[str], options: RuntimeOptions
) -> list[Candidate]:
    """Return each model with each runtime that it is timed on.

    A folder with a manifest stands for all artifacts that the manifest lists. Without models, these
    are the bundled model on all installed runtimes; without runtimes, each model has one that fits.
    Raises ArtifactError for a folder that lists no artifacts.
    """
    if models:
        named = [
            (path, name, is_listed)
            for path, is_listed in expand_folders(models)
            for name in runtimes or ("auto",)
        ]
    else:
        device = options.device
        names = runtimes or installed(bundled_runtimes(), device) or [bundled_runtime(device)]
        named = [(bundled_model(name), name, False) for name in names]
    return [
        Candidate(path, replace(options, runtime=name), is_listed)
        for path, name, is_listed in named
    ]


def open_candidates(candidates: Sequence[Candidate], stack: ExitStack) -> Opened:
    """Open candidates, which `stack` closes."""
    opened: list[tuple[Candidate, Runtime]] = []
    failed: list[NotTimed] = []
    skipped: list[NotTimed] = []
    for candidate in candidates:
        try:
            runtime = stack.enter_context(open_model(candidate.model, candidate.options))
        except (ArtifactError, RuntimeUnavailableError) as error:
            is_skipped = candidate.is_listed and isinstance(error, RuntimeUnavailableError)
            (skipped if is_skipped else failed).append(
                NotTimed(label_model(candidate.model), candidate.options.runtime, str(error))
            )
        else:
            opened.append((candidate, runtime))
    return Opened(tuple(opened), tuple(failed), tuple(skipped))


def find_references(opened: Opened, options: RuntimeOptions) -> list[Candidate]:
    """Return the bundled checkpoints that artifacts of a folder were made from, to run in PyTorch.

    There are none if PyTorch is not installed, or if the checkpoint is a candidate itself.
    """
    if not installed(["pytorch"], options.device):
        return []
    specs = [(candidate.is_listed, runtime.spec) for candidate, runtime in opened.pairs]
    listed = {spec.metadata.checkpoint_sha256 for is_listed, spec in specs if is_listed}
    timed = {spec.metadata.checkpoint_sha256 for _, spec in specs if spec.runtime == "pytorch"}
    paths = [bundled(name + CHECKPOINT_SUFFIX) for name in CHECKPOINTS]
    chosen = replace(options, runtime="pytorch", mode=RuntimeOptions.mode)
    return [
        Candidate(path, chosen, True)
        for path in paths
        if path.is_file() and sha256_file(path) in listed - timed
    ]
