"""The configuration of a batch, and what a result folder states of the run that made it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halnet.errors import ConfigError
from halnet.faces.detected import Detector
from halnet.faces.yunet_file import YUNET_SHA256
from halnet.prediction_run import PredictConfig
from halnet.result_files import model_name
from halnet.runtimes.base import RuntimeSpec

FORMAT = 1  # version of the file that states a run


@dataclass(frozen=True)
class BatchConfig:
    """Which photos a batch predicts, how, and where the results are written."""

    source: str  # folder, file, pattern, or the address of one of these
    out: str  # folder for the results, or its address
    # With which model, and which faces. Its sources, files and workers are not used.
    prediction: PredictConfig
    column: str | None = None  # of Parquet files, with the bytes of photos; None: photos
    id_column: str | None = None  # of Parquet files, with the names of photos
    resume: bool = False  # True: continue the run in `out`
    shard: int | None = None  # photos in each result file; None: what `shard_size` says
    workers: int | None = None  # None: as many as there are cores for their threads
    address: str | None = None  # of a Ray cluster; None: this machine

    def __post_init__(self) -> None:
        if self.id_column is not None and self.column is None:
            raise ConfigError("--id names a column of Parquet files; name their photos by --column")

    @property
    def threads(self) -> int:
        """CPU threads of each worker."""
        return self.prediction.options.threads or 1

    def settings(self, source: str, spec: RuntimeSpec) -> dict[str, Any]:
        """Return what decides on the results, as JSON-ready values by the names of options.

        `source` is the name of the source. The number of photos in a shard is there if it is known.
        """
        selection = self.prediction.selection
        shard = {} if self.shard is None else {"shard": self.shard}
        return {
            "SOURCE": source,
            "column": self.column,
            "id": self.id_column,
            "model": model_name(spec),
            "runtime": spec.runtime,
            "device": spec.provider,
            "detector": _detector_name(self.prediction.detector),
            "faces": "largest" if selection.largest else "all",
            "min-face": self.prediction.min_face,
            "level": selection.level,
            "at-least": list(selection.at_least),
            "quality": self.prediction.quality,
            **shard,
        }


@dataclass(frozen=True)
class Plan:
    """What a result folder states of its run: the settings, and how large each shard is."""

    settings: dict[str, Any]
    photos: list[int]  # in each shard
    left_out: dict[str, int]  # counts of what is left out of the source, by the reason
    is_loss: bool  # whether the user may expect an age from a part of that
    run: str  # which tells this run from another one with the same settings

    def check(self, out: str, wanted: dict[str, Any]) -> None:
        """Raise ConfigError if a run with other settings is to be continued."""
        for name, value in wanted.items():
            if self.settings.get(name) != value:
                raise ConfigError(
                    f"{out}: expected a run with {name} {_text(value)}, found one with "
                    f"{_text(self.settings.get(name))}; repeat the options of the first run, or "
                    "name another folder"
                )


def _detector_name(detector: Path | Detector | None) -> str:
    """Return what a detector is called in the settings; two functions cannot be told apart."""
    return "a function" if callable(detector) else f"YuNet {YUNET_SHA256[:12]}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
