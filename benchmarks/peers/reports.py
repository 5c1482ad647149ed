"""Reports: the comparison with peers as Markdown tables and as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halnet.benchmarks.peers.answers import About
from halnet.benchmarks.peers.judging import Errors, Judgement
from halnet.benchmarks.peers.known_peers import Peer
from halnet.errors import ConfigError
from halnet.evaluation.rates import TOO_FEW, Rate
from halnet.files import write_text
from halnet.reporting.markdown import markdown_table

FORMAT = 1  # version of the JSON file
BEGIN = "<!-- This part is made by python -m halnet.benchmarks.peers. -->"
END = "<!-- The end of this part. -->"
SET_COLUMNS = (
    *("peer", "median time of a photo, ms", "photos with the face found"),
    *("MAE there, years (95 % interval)", "bias there, years"),
    "minors there predicted to be 18 or older",
    *("MAE where all peers found the face", "bias likewise"),
    "minors likewise predicted to be 18 or older",
)
PEER_COLUMNS = (
    *("peer", "version", "runs on", "start-up, s", "installed, MB"),
    *("licence of the code", "licence of the weights"),
)


@dataclass(frozen=True)
class Running:
    """A peer that has started."""

    peer: Peer
    about: About
    start_up: float  # seconds from the start of its process to its first answer
    megabytes: float | None  # that it takes installed; None: not known

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "version": self.about.version,
            "engine": self.about.engine,
            "start_up_seconds": self.start_up,
            "installed_megabytes": self.megabytes,
            "code_licence": self.peer.code_licence,
            "weights_licence": self.peer.weights_licence,
        }


@dataclass(frozen=True)
class Comparison:
    """The outcome of one run."""

    date: str
    machine: str
    load: float | None  # load average over one minute before the run; None: not known
    is_busy: bool  # whether other programs kept the machine too busy to time anything
    running: Mapping[str, Running]
    sets: Mapping[str, Mapping[str, Judgement]]  # by the names of the dataset and the peer
    skipped: Mapping[str, str]  # why a peer has no row, or no row for a later dataset

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "format": FORMAT,
            "date": self.date,
            "machine": self.machine,
            "load": self.load,
            "is_busy": self.is_busy,
            "peers": {name: running.to_dict() for name, running in self.running.items()},
            "sets": {
                dataset: {name: judgement.to_dict() for name, judgement in rows.items()}
                for dataset, rows in self.sets.items()
            },
            "skipped": dict(self.skipped),
        }


def to_markdown(comparison: Comparison) -> str:
    """Return the tables of a comparison."""
    load = "not known" if comparison.load is None else f"{comparison.load:.1f}"
    intro = f"{comparison.date}, {comparison.machine}; load average before the run: {load}."
    if comparison.is_busy:
        intro += " Other programs ran on this machine, so all times are too long."
    parts = [intro]
    for dataset, rows in comparison.sets.items():
        photos = next(iter(rows.values())).photos
        common = next(iter(rows.values())).common
        parts.append(
            f"### {dataset}\n{photos} test photos, {common.count} of them with a face that all "
            f"peers found ({common.minors_as_adults.count} of minors)."
        )
        parts.append(markdown_table(SET_COLUMNS, [_set_row(*item) for item in rows.items()]))
    parts.append("### What was compared")
    peers = [_peer_row(*item) for item in comparison.running.items()]
    parts.append(markdown_table(PEER_COLUMNS, peers))
    if comparison.skipped:
        parts.append("### Skipped")
        parts.append(markdown_table(("peer", "reason"), list(comparison.skipped.items())))
    return "\n\n".join(parts) + "\n"


def split_document(path: Path) -> tuple[str, str]:
    """Return what a document has up to the line `BEGIN`, and from the line `END` on.

    Raises ConfigError if it does not have these lines once, in this order.
    """
    document = path.read_text(encoding="utf-8") if path.exists() else ""
    before, begin, rest = document.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    if not begin or not end or BEGIN in after:
        raise ConfigError(
            f"{path}: expected a document with one line {BEGIN} and one line {END} below it, found "
            "none; add the two lines where the tables belong"
        )
    return before + begin, end + after


def update_document(path: Path, text: str) -> None:
    """Replace what a document has between the lines `BEGIN` and `END`.

    Raises ConfigError as `split_document` does.
    """
    before, after = split_document(path)
    write_text(path, before + text + after)


def _set_row(name: str, judgement: Judgement) -> list[str]:
    time = judgement.milliseconds
    share = Rate(judgement.found.count, judgement.photos).share
    errors = f", {judgement.errors} errors" if judgement.errors else ""
    return [
        name,
        "none" if time is None else f"{time:.1f}",
        f"{judgement.found.count} ({100 * share:.1f} %{errors})",
        *_error_cells(judgement.found),
        *_error_cells(judgement.common),
    ]


def _error_cells(errors: Errors) -> list[str]:
    if not errors.count:
        return ["no photos"] * 3
    low_high = errors.mae_interval
    interval = TOO_FEW if low_high is None else f"{low_high[0]:.2f} to {low_high[1]:.2f}"
    minors = errors.minors_as_adults
    share = f"{100 * minors.share:.1f} %" if minors.is_stated else TOO_FEW
    return [
        f"{errors.mae:.2f} ({interval})",
        f"{errors.bias:+.2f}",
        f"{share} ({minors.hits} of {minors.count})",
    ]


def _peer_row(name: str, running: Running) -> list[str]:
    return [
        name,
        running.about.version,
        running.about.engine,
        f"{running.start_up:.2f}",
        "not known" if running.megabytes is None else f"{running.megabytes:.0f}",
        running.peer.code_licence,
        running.peer.weights_licence,
    ]
