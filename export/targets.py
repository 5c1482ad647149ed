"""Targets: what an artifact is made for, where its format or precision ties it to something."""

from dataclasses import dataclass, field
from pathlib import Path

from halnet.calibration.budget import Budget
from halnet.errors import ConfigError


@dataclass(frozen=True)
class Target:
    """What an engine is built for; the other formats run anywhere."""

    batches: tuple[int, int, int] = (1, 8, 32)  # least, best and most crops, where N is free
    capabilities: tuple[str, ...] = ()  # of TensorRT for RTX, "SM86"; none: all that it can

    def __post_init__(self) -> None:
        least, best, most = self.batches
        if not 1 <= least <= best <= most:
            raise ConfigError(
                f"batches: expected least, best and most in this order, found {self.batches}"
            )


@dataclass(frozen=True)
class Int8Config:
    """How to quantize."""

    data: Path | None = None  # prepared dataset, whose validation split the budget is held on
    photos: Path | None = None  # folder to measure ranges on; None: that split, or synthetic crops
    detector: Path | None = None  # local YuNet file, with `photos`
    samples: int = 128  # crops that the ranges are measured on
    method: str = "minmax"  # of measuring them; see `calibration.quantizer`
    seed: int = 0
    keep: tuple[str, ...] | None = None  # layers in floating point; None: search for them
    budget: Budget = field(default_factory=Budget)  # of the search
    sensitivity: bool = False  # write the ranking of the layers into the folder
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ConfigError(f"samples: expected at least 1, found {self.samples}")
        if self.detector is not None and self.photos is None:
            raise ConfigError("a detector is for a folder of photos to calibrate on; name one")
