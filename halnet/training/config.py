"""Every choice of a training run, in one frozen value that the checkpoint carries."""

import json
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from halnet.alignment import CROP_SIZE
from halnet.errors import ConfigError
from halnet.network.config import NetworkConfig

MIN_SIZE = 32  # pixels: the network's total stride


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    listed: bool = True,
) -> Any:
    """Return a field of the recipe with what the command line and the checks must know of it.

    `low` and `high` bound a number, both included; `choices` are the only words that are allowed;
    `listed` is False where `halnet train` has no option of the field's own name.
    """
    return field(
        default=default,
        metadata={"help": help, "low": low, "high": high, "choices": choices, "listed": listed},
    )


@dataclass(frozen=True)
class Stage:
    """Epochs at one resolution."""

    size: int  # pixels a side that the crop is scaled to
    epochs: int

    def __str__(self) -> str:
        return f"{self.size}x{self.epochs}"


@dataclass(frozen=True)
class TrainConfig:
    """Recipe of a run. Two runs with equal recipes on the same data and machine give equal weights.

    The metadata of each field says what it does, where it comes from and which values it may have.
    """

    backbone: str = option(
        "ca_mobilenet_v3",
        "Network: ca_mobilenet_v3 (Coordinate Attention in the deep blocks), mobilenet_v3_large "
        "(squeeze-excitation in all blocks), mobilenet_v1, or timm:NAME for any network of timm.",
    )
    head: str = option(
        "distribution",
        "Last layer: distribution is a softmax over 0 to 100 years; ordinal is 100 yes-or-no "
        "questions, whether the person is older than k years (OR-CNN, Niu et al., CVPR 2016).",
        choices=("distribution", "ordinal"),
    )
    weights: str = option(
        "none",
        "What the weights start from: none, imagenet, checkpoint, select, select:timm:NAME or "
        "faceres.",
        listed=False,
    )
    initial_sha256: str = option(
        "", "SHA-256 of the file that the weights start from.", listed=False
    )
    photos: int = option(
        0,
        "Train on this many photos, spread evenly over the training split, for small comparisons. "
        "0 trains on all of them.",
        low=0,
        high=1e9,
    )
    stages: tuple[Stage, ...] = option(
        (Stage(64, 16), Stage(128, 9), Stage(160, 3), Stage(224, 4)),
        "Progressive resizing: PIXELSxEPOCHS,... The last stage must be at "
        f"{CROP_SIZE} pixels, the size that the deployed model sees.",
        listed=False,
    )
    batch_size: int = option(32, "Photos in one step, over all processes.", low=2, high=65536)
    learning_rate: float = option(
        1e-3,
        "Peak of the learning rate of AdamW (Loshchilov and Hutter, ICLR 2019).",
        low=1e-8,
        high=10,
    )
    weight_decay: float = option(
        0.02,
        "Weight decay of convolution and linear weights; batch norms and biases have none.",
        low=0,
        high=10,
    )
    warmup_epochs: float = option(
        1.0, "Epochs of linear warm-up before the cosine schedule.", low=0, high=1000
    )
    freeze_epochs: int = option(
        0,
        "Epochs in which only fresh layers are trained (head, Coordinate Attention); the "
        "pretrained layers keep their weights and their batch norm statistics.",
        low=0,
        high=1000,
    )
    clip_norm: float = option(5.0, "Largest norm of the gradient.", low=1e-6, high=1e6)
    dropout: float = option(0.2, "Dropout rate before the last layer.", low=0, high=0.99)
    dropout_start: float | None = option(
        None,
        "Dynamic dropout: the rate rises from this value to --dropout during the training.",
        low=0,
        high=0.99,
    )
    sigma: float = option(
        2.0,
        "Standard deviation of the label distribution, in years (DLDL-v2, Gao et al., IJCAI 2018, "
        "uses 2).",
        low=0.1,
        high=20,
    )
    sigma_max: float | None = option(
        None,
        "Adaptive sigma: the standard deviation grows from --sigma at 0 years to this value at 100 "
        "years.",
        low=0.1,
        high=20,
    )
    mean_weight: float = option(
        0.1,
        "Weight of abs(mean - label) in the loss, the lambda of DLDL-v2 (which uses 1).",
        low=0,
        high=100,
    )
    cdf_weight: float = option(
        0.0,
        "Weight of the squared distance between the cumulative distributions, a ranking loss.",
        low=0,
        high=100,
    )
    squared_weight: float = option(
        0.0,
        "Weight of (mean - label)^2 / 2 (mean-variance loss, Pan et al., CVPR 2018, uses 0.2).",
        low=0,
        high=100,
    )
    variance_weight: float = option(
        0.0,
        "Weight of the variance of the distribution (mean-variance loss uses 0.05).",
        low=0,
        high=100,
    )
    lds: str = option(
        "none",
        "Weights of photos by label distribution smoothing (Yang et al., ICML 2021): none, the "
        "inverse of the smoothed density of ages, or sqrt, the root of that inverse.",
        choices=("none", "inverse", "sqrt"),
    )
    mixup_alpha: float = option(
        0.0,
        "MixUp of images, distributions and ages (Zhang et al., ICLR 2018, uses 0.2). 0 turns it "
        "off.",
        low=0,
        high=100,
    )
    ema_decay: float = option(
        0.998, "Largest decay, in one step, of the average of the weights.", low=0, high=0.99999
    )
    patience: int = option(
        0,
        "Early stop: end the training after this many epochs of the last stage without a better "
        "one. 0 turns it off.",
        low=0,
        high=1000,
    )
    precision: str = option(
        "fp32", "fp32, or mixed precision with bf16 or fp16.", choices=("fp32", "bf16", "fp16")
    )
    quantize: str = option(
        "none",
        "int8 trains so that the same weights give the same ages in INT8. It needs pretrained "
        "weights; batch norm statistics are frozen and dropout is off.",
        choices=("none", "int8"),
    )
    quantize_weight: float = option(
        1.0,
        "Weight of the distance between the distributions in INT8 and in floating point.",
        low=0,
        high=100,
    )
    teacher_sha256: str = option("", "SHA-256 of the teacher's checkpoint.", listed=False)
    label_weight: float = option(
        1.0, "Weight of the loss on the labels where there is a teacher.", low=0, high=100
    )
    teacher_weight: float = option(
        1.0,
        "Weight of the distance to the teacher's distribution (Hinton et al., 2015). Teacher and "
        "student see the same crop and the same MixUp (Beyer et al., CVPR 2022).",
        low=0,
        high=100,
    )
    hint_weight: float = option(
        0.0,
        "Weight of the distance to the teacher's features at strides 8 and 16 and after pooling "
        "(FitNets, Romero et al., ICLR 2015).",
        low=0,
        high=100,
    )
    seed: int = option(
        0,
        "Seed of everything random. The same seed, data and machine give the same result.",
        low=0,
        high=2**32 - 1,
    )

    def __post_init__(self) -> None:
        if not self.stages or self.stages[-1].size != CROP_SIZE:
            raise ConfigError(
                f"stages: the last must be at {CROP_SIZE} pixels, the size that a deployed model "
                f"sees, found {','.join(map(str, self.stages)) or 'none'}; "
                f"for example 128x13,{CROP_SIZE}x3"
            )
        if any(s.epochs < 1 or s.size < MIN_SIZE or s.size % MIN_SIZE for s in self.stages):
            raise ConfigError(
                "stages: expected at least one epoch in each, and sizes that are multiples of "
                f"{MIN_SIZE} pixels, found {','.join(map(str, self.stages))}"
            )
        for item in fields(self):
            value, low, high = getattr(self, item.name), item.metadata["low"], item.metadata["high"]
            if value is not None and low is not None and not low <= value <= high:
                raise ConfigError(f"{item.name}: expected {low:g} to {high:g}, found {value:g}")
            choices = item.metadata["choices"]
            if choices and value not in choices:
                raise ConfigError(
                    f"{item.name}: expected one of {', '.join(choices)}, found {value}"
                )

    @property
    def network(self) -> NetworkConfig:
        """The fields that decide the network's layers."""
        return NetworkConfig(self.backbone, self.head, self.dropout)

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
            unknown = set(values) - {item.name for item in fields(cls)}
            if unknown:
                raise ConfigError(
                    f"training recipe: expected fields that this version of halnet knows, found "
                    f"{', '.join(sorted(unknown))}"
                )
            values["stages"] = tuple(Stage(**stage) for stage in values["stages"])
            return cls(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"the training recipe is damaged: {error!r}") from error


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Read "128x13,224x3": 13 epochs at 128 pixels, then 3 at 224."""
    parts = [re.fullmatch(r"(\d+)x(\d+)", part.strip()) for part in text.split(",")]
    if not all(parts):
        raise ConfigError(f"stages: expected PIXELSxEPOCHS,... such as 128x13,224x3, found {text}")
    return tuple(Stage(int(part[1]), int(part[2])) for part in parts if part)
