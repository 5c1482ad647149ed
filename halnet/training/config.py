"""The recipe of a training: all its options, in one frozen value that the checkpoint contains."""

import json
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from halnet.errors import ConfigError
from halnet.evaluation.degradations import DEGRADATIONS
from halnet.faces.alignment import CROP_SIZE
from halnet.json_text import parse_json
from halnet.network.config import NetworkConfig

MIN_SIZE = 32  # pixels: the largest stride in the network
MAX_SHARE = 1000.0  # the largest weight of a dataset
ALL = "all"  # value of `degradations` that names all of them


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    listed: bool = True,
) -> Any:
    """Return a field of the recipe, whose metadata the command line and the checks use.

    A number must be from `low` to `high`. A word must be one of `choices`, if there are any.
    `listed` is False if `halnet train` does not make its option from the field.
    """
    return field(
        default=default,
        metadata={"help": help, "low": low, "high": high, "choices": choices, "listed": listed},
    )


@dataclass(frozen=True)
class Stage:
    """Some epochs at one resolution."""

    size: int  # width and height of the scaled crops, pixels
    epochs: int

    def __str__(self) -> str:
        return f"{self.size}x{self.epochs}"


@dataclass(frozen=True)
class Share:
    """How often the photos of one dataset are drawn, compared with those of weight 1."""

    name: str  # of the dataset
    weight: float

    def __str__(self) -> str:
        return f"{self.name}={self.weight:g}"


@dataclass(frozen=True)
class TrainConfig:
    """The recipe of a run. On the same data and machine, equal recipes give equal weights.

    The metadata of each field states what the field does, where it comes from and which values it
    can have.
    """

    backbone: str = option(
        "ca_mobilenet_v3",
        "Network: ca_mobilenet_v3 (Coordinate Attention in the deep blocks), mobilenet_v3_large "
        "(squeeze-excitation in all blocks), mobilenet_v1, or timm:NAME for any network of timm.",
    )
    head: str = option(
        "distribution",
        "Last layer: distribution is a softmax over 0 to 100 years; ordinal is 100 yes-or-no "
        "questions, each of which asks if the person is older than k years (OR-CNN, Niu et al., "
        "CVPR 2016).",
        choices=("distribution", "ordinal"),
    )
    weights: str = option(
        "none",
        "Kind of the initial weights: none, imagenet, checkpoint, select, select:timm:NAME or "
        "faceres.",
        listed=False,
    )
    initial_sha256: str = option("", "SHA-256 of the file with the initial weights.", listed=False)
    photos: int = option(
        0,
        "Number of training photos of each dataset, spread evenly over the training split, for "
        "small comparisons. 0 uses all of them.",
        low=0,
        high=1e9,
    )
    shares: tuple[Share, ...] = option(
        (),
        "How often the photos of a dataset are drawn, as NAME=WEIGHT: with aaf=2, photos of aaf "
        "are drawn twice as often as others. The weight of all other datasets is 1.",
        listed=False,
    )
    balance: float = option(
        0.0,
        "Balanced sampling: photos are drawn as often as the density of their age to the power of "
        "minus this value, for example 0.3, so rare ages are drawn more often. With 0, and without "
        "--share, each photo is drawn once in an epoch.",
        low=0,
        high=2,
    )
    degrade: float = option(
        0.0,
        "Share of the crops that get one or two random degradations, such as noise or low "
        "resolution.",
        low=0,
        high=1,
    )
    degradations: str = option(
        ALL,
        f"Degradations for --degrade, separated by commas: {', '.join(DEGRADATIONS)}, or {ALL}.",
    )
    jitter: float = option(
        0.0,
        "Standard deviation of a random error of the five landmarks, in pixels of the crop. Each "
        "crop is moved, rotated and scaled as such errors would do it.",
        low=0,
        high=50,
    )
    augment_on: str = option(
        "cpu",
        "Where crops are augmented: cpu is in the processes that load them, and device is in whole "
        "batches on the device of the training, for a GPU that would wait for the processor. Both "
        "draw from the same distributions.",
        choices=("cpu", "device"),
    )
    stages: tuple[Stage, ...] = option(
        (Stage(64, 16), Stage(128, 9), Stage(160, 3), Stage(224, 4)),
        "Progressive resizing: stages of PIXELSxEPOCHS, separated by commas. The last stage must "
        f"have {CROP_SIZE} pixels, the resolution of the deployed model.",
        listed=False,
    )
    batch_size: int = option(
        32, "Number of photos in one step, over all processes.", low=2, high=65536
    )
    learning_rate: float = option(
        1e-3,
        "Largest learning rate of AdamW (Loshchilov and Hutter, ICLR 2019).",
        low=1e-8,
        high=10,
    )
    weight_decay: float = option(
        0.02,
        "Weight decay of convolutions and linear layers. Batch norms and biases have none.",
        low=0,
        high=10,
    )
    warmup_epochs: float = option(
        1.0, "Number of epochs of linear warm-up before the cosine schedule.", low=0, high=1000
    )
    freeze_epochs: int = option(
        0,
        "Number of epochs in which only the head and Coordinate Attention are trained. All other "
        "layers keep their weights and their batch norm statistics.",
        low=0,
        high=1000,
    )
    clip_norm: float = option(
        5.0, "Largest norm of the gradient, which is clipped to it.", low=1e-6, high=1e6
    )
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
        "Label distribution smoothing (Yang et al., ICML 2021), which weights photos: inverse uses "
        "the inverse of the smoothed density of ages, sqrt the square root of this inverse, and "
        "none gives all photos the same weight.",
        choices=("none", "inverse", "sqrt"),
    )
    mixup_alpha: float = option(
        0.0,
        "Strength of MixUp of images, distributions and ages (Zhang et al., ICLR 2018, uses 0.2). "
        "0 turns it off.",
        low=0,
        high=100,
    )
    ema_decay: float = option(
        0.998, "Largest decay of the average of the weights in one step.", low=0, high=0.99999
    )
    patience: int = option(
        0,
        "Early stopping: stop after this many epochs of the last stage without a lower validation "
        "MAE. 0 turns it off.",
        low=0,
        high=1000,
    )
    precision: str = option(
        "fp32",
        "Precision: fp32, or mixed precision with bf16 or fp16.",
        choices=("fp32", "bf16", "fp16"),
    )
    quantize: str = option(
        "none",
        "With int8, the weights are trained to predict the same ages in INT8 as in floating point. "
        "It needs pretrained weights. Batch norm statistics stay as they are, and dropout is off.",
        choices=("none", "int8"),
    )
    quantize_from: int = option(
        0,
        "Number of layers at the input of the network that stay in floating point, for --quantize "
        "int8.",
        low=0,
        high=1000,
    )
    quantize_weight: float = option(
        1.0,
        "Weight of the distance between the distributions in INT8 and in floating point, for "
        "--quantize int8.",
        low=0,
        high=100,
    )
    teacher_sha256: str = option(
        "",
        "SHA-256 of the checkpoint of the teacher. Those of several teachers are separated by "
        "commas.",
        listed=False,
    )
    label_weight: float = option(
        1.0, "Weight of the loss on the labels, with --teacher.", low=0, high=100
    )
    teacher_weight: float = option(
        1.0,
        "Weight of the distance to the distribution of the teacher (Hinton et al., 2015), or to "
        "the mean distribution of several teachers. Teacher and student get the same crops with "
        "the same MixUp (Beyer et al., CVPR 2022).",
        low=0,
        high=100,
    )
    hint_weight: float = option(
        0.0,
        "Weight of the distance to the features of the first teacher at strides 8 and 16 and after "
        "pooling (FitNets, Romero et al., ICLR 2015).",
        low=0,
        high=100,
    )
    seed: int = option(
        0,
        "Seed of all random numbers. The same recipe, data and machine give the same weights.",
        low=0,
        high=2**32 - 1,
    )

    def __post_init__(self) -> None:
        if not self.stages or self.stages[-1].size != CROP_SIZE:
            raise ConfigError(
                f"stages: expected {CROP_SIZE} pixels in the last stage, the resolution of the "
                f"deployed model, found {','.join(map(str, self.stages)) or 'no stages'}; "
                f"for example, use 128x13,{CROP_SIZE}x3"
            )
        if any(s.epochs < 1 or s.size < MIN_SIZE or s.size % MIN_SIZE for s in self.stages):
            raise ConfigError(
                "stages: expected at least one epoch in each stage, and sizes that are multiples "
                f"of {MIN_SIZE} pixels, found {','.join(map(str, self.stages))}"
            )
        self._check_shares()
        if not self.degradation_names:
            raise ConfigError(
                f"degradations: expected {ALL} or names among {', '.join(DEGRADATIONS)}, found "
                f"{self.degradations!r}"
            )
        for item in fields(self):
            value, low, high = getattr(self, item.name), item.metadata["low"], item.metadata["high"]
            if value is not None and low is not None and not low <= value <= high:
                raise ConfigError(
                    f"{item.name}: expected a number from {low:.10g} to {high:.10g}, found "
                    f"{value:.10g}"
                )
            choices = item.metadata["choices"]
            if choices and value not in choices:
                raise ConfigError(
                    f"{item.name}: expected one of {', '.join(choices)}, found {value}"
                )

    def _check_shares(self) -> None:
        for share in self.shares:
            if not 0 < share.weight <= MAX_SHARE:
                raise ConfigError(
                    f"share: expected a weight above 0 and at most {MAX_SHARE:g} for {share.name}, "
                    f"found {share.weight:g}"
                )
        names = [share.name for share in self.shares]
        if len(set(names)) < len(names):
            raise ConfigError(
                f"share: expected one weight for each dataset, found {', '.join(names)}"
            )

    @property
    def degradation_names(self) -> tuple[str, ...]:
        """The names in `degradations`; empty if one of them is unknown."""
        if self.degradations == ALL:
            return tuple(DEGRADATIONS)
        names = tuple(name.strip() for name in self.degradations.split(","))
        return names if set(names) <= set(DEGRADATIONS) else ()

    @property
    def network(self) -> NetworkConfig:
        """The fields that determine the layers of the network."""
        return NetworkConfig(self.backbone, self.head, self.dropout)

    @property
    def epochs(self) -> int:
        """Number of epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def size_at(self, epoch: int) -> int:
        """Return the width and height of crops, in pixels, in an epoch counted from 0."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage.size
            epoch -= stage.epochs
        return self.stages[-1].size

    def to_json(self) -> str:
        """Return the recipe as text in JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the text that `to_json` returned.

        Raises ConfigError if the text is damaged or has unknown fields.
        """
        try:
            values: dict[str, Any] = parse_json(text)
            unknown = set(values) - {item.name for item in fields(cls)}
            if unknown:
                raise ConfigError(
                    "the training recipe: expected fields that this version of halnet supports, "
                    f"found {', '.join(sorted(unknown))}; use a newer version"
                )
            values["stages"] = tuple(Stage(**stage) for stage in values["stages"])
            values["shares"] = tuple(Share(**share) for share in values.get("shares", ()))
            return cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # or of another type
            raise ConfigError(f"the training recipe is damaged: {error!r}") from error


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Read stages such as "128x13,224x3": 13 epochs at 128 pixels, then 3 epochs at 224 pixels.

    Raises ConfigError for any other text.
    """
    parts = [re.fullmatch(r"(\d+)x(\d+)", part.strip()) for part in text.split(",")]
    if not all(parts):
        raise ConfigError(
            f"stages: expected PIXELSxEPOCHS,... such as 128x13,{CROP_SIZE}x3, found {text!r}"
        )
    return tuple(Stage(int(part[1]), int(part[2])) for part in parts if part)


def parse_share(text: str) -> Share:
    """Read the share of a dataset such as "aaf=2". Raises ConfigError for any other text."""
    name, _, weight = text.rpartition("=")
    try:
        if not name:
            raise ValueError("there is no name")
        return Share(name, float(weight))
    except ValueError as error:
        raise ConfigError(f"share: expected NAME=WEIGHT such as aaf=2, found {text!r}") from error
