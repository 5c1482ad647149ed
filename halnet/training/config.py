"""Every choice of a training run, in one frozen value that the checkpoint carries."""

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from halnet.alignment import CROP_SIZE
from halnet.errors import ConfigError

MIN_SIZE = 32  # pixels: the network's total stride


@dataclass(frozen=True)
class Stage:
    """Epochs at one resolution."""

    size: int  # pixels a side that the crop is scaled to
    epochs: int

    def __str__(self) -> str:
        return f"{self.size}x{self.epochs}"


@dataclass(frozen=True)
class TrainConfig:
    """Recipe of a run. Two runs with equal recipes on the same data and machine are equal."""

    # Progressive resizing: most of the learning where it is cheap, the end at the deployed size
    stages: tuple[Stage, ...] = (Stage(64, 16), Stage(128, 9), Stage(160, 3), Stage(224, 4))
    batch_size: int = 32
    learning_rate: float = 1e-3  # peak, of AdamW
    weight_decay: float = 0.02  # on convolution and linear weights only
    warmup_epochs: float = 1.0  # linear, from 0 to the peak; cosine to 0 after it
    clip_norm: float = 5.0  # bound of the gradient's norm
    dropout: float = 0.2  # before the last layer
    sigma: float = 2.0  # years, of the label distribution (DLDL-v2)
    mean_weight: float = 0.1  # lambda of DLDL-v2, weight of abs(E[age] - label); 1 in the paper
    mixup_alpha: float = 0.0  # of MixUp's Beta distribution, 0.2 in the paper; 0: no MixUp
    ema_decay: float = 0.998  # ceiling of the ramp, a step
    seed: int = 0
    initial_sha256: str = ""  # of the checkpoint that the weights start from; empty: fresh ones

    def __post_init__(self) -> None:
        if not self.stages or self.stages[-1].size != CROP_SIZE:
            raise ConfigError(
                f"stages: the last must be at {CROP_SIZE} pixels, the size that a deployed model "
                f"sees, found {','.join(map(str, self.stages)) or 'none'}; "
                f"for example 128x13,{CROP_SIZE}x3"
            )
        if any(s.epochs < 1 or s.size < MIN_SIZE or s.size % MIN_SIZE for s in self.stages):
            raise ConfigError(
                f"stages: expected at least one epoch each and multiples of {MIN_SIZE} pixels, "
                f"found {','.join(map(str, self.stages))}"
            )
        for name, low, high in _BOUNDS:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name}: expected {low:g} to {high:g}, found {value:g}")

    @property
    def epochs(self) -> int:
        """Number of epochs over all stages."""
        return sum(stage.epochs for stage in self.stages)

    def size_at(self, epoch: int) -> int:
        """Return the resolution, pixels a side, of an epoch counted from 0."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage.size
            epoch -= stage.epochs
        return self.stages[-1].size

    def to_json(self) -> str:
        """Return the recipe as JSON text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote. Raises ConfigError for damaged text or unknown fields."""
        try:
            values: dict[str, Any] = json.loads(text)
            unknown = set(values) - {field.name for field in fields(cls)}
            if unknown:
                raise ConfigError(f"training recipe: unknown {', '.join(sorted(unknown))}")
            values["stages"] = tuple(Stage(**stage) for stage in values["stages"])
            return cls(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"training recipe: damaged: {error!r}") from error


_BOUNDS = (
    ("batch_size", 2, 65536),
    ("learning_rate", 1e-8, 10),
    ("weight_decay", 0, 10),
    ("warmup_epochs", 0, 1000),
    ("clip_norm", 1e-6, 1e6),
    ("dropout", 0, 0.99),
    ("sigma", 0.1, 20),
    ("mean_weight", 0, 100),
    ("mixup_alpha", 0, 100),
    ("ema_decay", 0, 0.99999),
    ("seed", 0, 2**32 - 1),
)


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Read "128x13,224x3": 13 epochs at 128 pixels, then 3 at 224."""
    parts = [re.fullmatch(r"(\d+)x(\d+)", part.strip()) for part in text.split(",")]
    if not all(parts):
        raise ConfigError(f"stages: expected PIXELSxEPOCHS,... such as 128x13,224x3, found {text}")
    return tuple(Stage(int(part[1]), int(part[2])) for part in parts if part)
