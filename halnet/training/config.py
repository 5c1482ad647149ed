"""Every choice of a training run, in one frozen value that the checkpoint carries."""

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from halnet.alignment import CROP_SIZE
from halnet.errors import ConfigError

MIN_SIZE = 32  # pixels: the network's total stride

CHOICES = {
    "head": ("distribution", "ordinal"),
    "lds": ("none", "inverse", "sqrt"),
    "precision": ("fp32", "bf16", "fp16"),
    "quantize": ("none", "int8"),
}

# One line a field: what it does and where it is from. `halnet train --help` shows them.
DESCRIPTIONS = {
    "backbone": "ca_mobilenet_v3 (Coordinate Attention in the deep blocks), mobilenet_v3_large "
    "(squeeze-excitation in all of them), mobilenet_v1, or timm:NAME.",
    "head": "distribution: a softmax over 0 to 100 years; ordinal: 100 yes-or-no questions, older "
    "than k years (OR-CNN, Niu et al., CVPR 2016).",
    "weights": "What the weights start from: none, imagenet, checkpoint, select, "
    "select:timm:NAME or faceres.",
    "initial_sha256": "SHA-256 of the file that the weights start from.",
    "photos": "Train on so many, spread evenly over the training split, for small comparisons; 0: "
    "all.",
    "stages": "Progressive resizing, PIXELSxEPOCHS,...; the last must be at "
    f"{CROP_SIZE} pixels, the size of the deployed model.",
    "batch_size": "Photos a step, over all processes.",
    "learning_rate": "Peak of the learning rate, AdamW (Loshchilov and Hutter, ICLR 2019).",
    "weight_decay": "On convolution and linear weights, not on BN or biases.",
    "warmup_epochs": "Epochs of linear warm-up before the cosine schedule.",
    "freeze_epochs": "Epochs in which only what is fresh trains (head, Coordinate Attention); the "
    "pretrained rest keeps its weights and BN statistics.",
    "clip_norm": "Bound of the gradient's norm.",
    "dropout": "Rate before the last layer.",
    "dropout_start": "Dynamic dropout: the rate rises from this to --dropout over the training.",
    "sigma": "Years, deviation of the label distribution (DLDL-v2, Gao et al., IJCAI 2018: 2).",
    "sigma_max": "Adaptive sigma: the deviation grows from --sigma at 0 to this at 100 years.",
    "mean_weight": "Of abs(mean - label), lambda of DLDL-v2 (there 1).",
    "cdf_weight": "Of the squared distance of the cumulative distributions, a ranking loss.",
    "squared_weight": "Of (mean - label)^2 / 2 (mean-variance loss, Pan et al., CVPR 2018: 0.2).",
    "variance_weight": "Of the distribution's variance (mean-variance loss: 0.05).",
    "lds": "Weights by label distribution smoothing (Yang et al., ICML 2021): none, inverse of the "
    "smoothed density, or sqrt, its root.",
    "mixup_alpha": "MixUp of images, distributions and ages (Zhang et al., ICLR 2018: 0.2); 0: "
    "none.",
    "ema_decay": "Ceiling of the weight average's decay, a step.",
    "patience": "Early stop after so many epochs of the last stage without a better one; 0: none.",
    "precision": "fp32, or bf16 or fp16 mixed precision.",
    "quantize": "int8: train so that the same weights give the same ages in INT8, from pretrained "
    "weights; BN statistics and dropout rest.",
    "quantize_weight": "Of the distance between the distributions in INT8 and floating point.",
    "teacher_sha256": "SHA-256 of the teacher's checkpoint.",
    "label_weight": "Of the labels' loss, where there is a teacher.",
    "teacher_weight": "Of the distance to the teacher's distribution (Hinton et al., 2015; same "
    "crop and MixUp for both: Beyer et al., CVPR 2022).",
    "hint_weight": "Of the distance to the teacher's features at strides 8 and 16 and after "
    "pooling (FitNets, Romero et al., ICLR 2015).",
    "seed": "Same seed, same data, same machine: same result.",
}


@dataclass(frozen=True)
class Stage:
    """Epochs at one resolution."""

    size: int  # pixels a side that the crop is scaled to
    epochs: int

    def __str__(self) -> str:
        return f"{self.size}x{self.epochs}"


@dataclass(frozen=True)
class TrainConfig:
    """Recipe of a run. Two runs with equal recipes on the same data and machine are equal.

    `DESCRIPTIONS` says what each field does, and where it is from.
    """

    backbone: str = "ca_mobilenet_v3"
    head: str = "distribution"
    weights: str = "none"
    initial_sha256: str = ""
    photos: int = 0
    stages: tuple[Stage, ...] = (Stage(64, 16), Stage(128, 9), Stage(160, 3), Stage(224, 4))
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    warmup_epochs: float = 1.0
    freeze_epochs: int = 0
    clip_norm: float = 5.0
    dropout: float = 0.2
    dropout_start: float | None = None
    sigma: float = 2.0
    sigma_max: float | None = None
    mean_weight: float = 0.1
    cdf_weight: float = 0.0
    squared_weight: float = 0.0
    variance_weight: float = 0.0
    lds: str = "none"
    mixup_alpha: float = 0.0
    ema_decay: float = 0.998
    patience: int = 0
    precision: str = "fp32"
    quantize: str = "none"
    quantize_weight: float = 1.0
    teacher_sha256: str = ""
    label_weight: float = 1.0
    teacher_weight: float = 1.0
    hint_weight: float = 0.0
    seed: int = 0

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
            if value is not None and not low <= value <= high:
                raise ConfigError(f"{name}: expected {low:g} to {high:g}, found {value:g}")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{name}: expected one of {', '.join(known)}, found {getattr(self, name)}"
                )

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
    ("photos", 0, 1e9),
    ("batch_size", 2, 65536),
    ("learning_rate", 1e-8, 10),
    ("weight_decay", 0, 10),
    ("warmup_epochs", 0, 1000),
    ("freeze_epochs", 0, 1000),
    ("clip_norm", 1e-6, 1e6),
    ("dropout", 0, 0.99),
    ("dropout_start", 0, 0.99),
    ("sigma", 0.1, 20),
    ("sigma_max", 0.1, 20),
    ("mean_weight", 0, 100),
    ("cdf_weight", 0, 100),
    ("squared_weight", 0, 100),
    ("variance_weight", 0, 100),
    ("mixup_alpha", 0, 100),
    ("ema_decay", 0, 0.99999),
    ("patience", 0, 1000),
    ("quantize_weight", 0, 100),
    ("label_weight", 0, 100),
    ("teacher_weight", 0, 100),
    ("hint_weight", 0, 100),
    ("seed", 0, 2**32 - 1),
)


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Read "128x13,224x3": 13 epochs at 128 pixels, then 3 at 224."""
    parts = [re.fullmatch(r"(\d+)x(\d+)", part.strip()) for part in text.split(",")]
    if not all(parts):
        raise ConfigError(f"stages: expected PIXELSxEPOCHS,... such as 128x13,224x3, found {text}")
    return tuple(Stage(int(part[1]), int(part[2])) for part in parts if part)
