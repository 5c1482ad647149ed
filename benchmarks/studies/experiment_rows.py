"""The rows of the tables that the study `experiments` trains, as options of `halnet train`."""

from dataclasses import dataclass, fields, replace
from typing import Any

from halnet.training.config import Stage, TrainConfig

# Small enough for two cores. The rows are compared with each other, not with the bundled model.
SMALL = TrainConfig(photos=1000, stages=(Stage(224, 3),), warmup_epochs=0.5, ema_decay=0.95)
BASELINE = TrainConfig(photos=4000, stages=(Stage(224, 3),), warmup_epochs=0.5, ema_decay=0.98)
# Random weights need many steps. At small image sizes, these take about the same time.
RANDOM = {
    "stages": (Stage(64, 6), Stage(128, 3), Stage(224, 1)),
    "learning_rate": 3e-3,
    "ema_decay": 0.99,
}
SELECT = "select:timm:tf_efficientnet_lite0"


@dataclass(frozen=True)
class Row:
    """One row of a table: what it changes in the base recipe."""

    name: str
    title: str
    changes: dict[str, Any]  # field of TrainConfig: value
    weights: str = SELECT  # initial weights
    needs_teacher: bool = False

    def config(self, base: TrainConfig, seed: int) -> TrainConfig:
        """Return the recipe of the row."""
        return replace(base, seed=seed, **self.changes)

    def options(self) -> str:
        """Return the options of `halnet train` that differ from those of the base recipe."""
        parts = [_option(name, value) for name, value in self.changes.items()]
        if self.needs_teacher:
            parts.insert(0, "--teacher TEACHER")
        if self.weights != SELECT:
            parts.insert(0, f"--weights {self.weights}")
        return f"`{' '.join(parts)}`" if parts else "the base recipe"


ABLATIONS = (
    Row("base", "base: CA, DLDL-v2, channels of EfficientNet-Lite0's ImageNet weights", {}),
    Row("scratch", "random weights", {}, weights="none"),
    Row("se", "SE in the deep blocks instead of CA", {"backbone": "mobilenet_v3_large"}),
    Row("kl", "KL loss alone", {"mean_weight": 0.0}),
    Row("paper", "lambda 1, as in DLDL-v2", {"mean_weight": 1.0}),
    Row("cdf", "CDF loss added", {"cdf_weight": 0.1}),
    Row(
        "mean-variance",
        "mean-variance loss",
        {"sigma": 0.3, "mean_weight": 0.0, "squared_weight": 0.2, "variance_weight": 0.05},
    ),
    Row("ordinal", "OR-CNN head", {"head": "ordinal"}),
    Row("sigma", "adaptive sigma", {"sigma": 1.0, "sigma_max": 4.0}),
    Row("lds", "LDS with the square root", {"lds": "sqrt"}),
    Row("mixup", "MixUp", {"mixup_alpha": 0.2}),
    Row("no-ema", "no averaging of the weights", {"ema_decay": 0.0}),
    Row("dropout", "dynamic dropout", {"dropout_start": 0.0, "dropout": 0.4}),
    Row("freeze", "only head and CA trained in the first epoch", {"freeze_epochs": 1}),
    Row("teacher", "with the teacher", {"label_weight": 0.3}, needs_teacher=True),
    Row(
        "hints",
        "with the teacher and feature hints",
        {"label_weight": 0.3, "hint_weight": 1.0},
        needs_teacher=True,
    ),
    Row(
        "resolution",
        "most epochs at 128 pixels, in the same time",
        {"stages": (Stage(128, 6), Stage(224, 1))},
    ),
)

BASELINES = (
    Row("ca", "CA-MobileNetV3 (ours), channels of Lite0's ImageNet weights", {}),
    Row(
        "se",
        "MobileNetV3-Large with SE, channels of Lite0's ImageNet weights",
        {"backbone": "mobilenet_v3_large"},
    ),
    Row(
        "lite0",
        "EfficientNet-Lite0, ImageNet weights",
        {"backbone": "timm:tf_efficientnet_lite0"},
        weights="imagenet",
    ),
    Row("ca-fresh", "CA-MobileNetV3, random weights", RANDOM, weights="none"),
    Row(
        "ghostnet",
        "GhostNet 1.0, random weights",
        {"backbone": "timm:ghostnet_100", **RANDOM},
        weights="none",
    ),
    Row(
        "resnet18",
        "ResNet-18, random weights",
        {"backbone": "timm:resnet18", **RANDOM, "photos": 2000},
        weights="none",
    ),
    Row(
        "vgg16",
        "VGG-16 with an ordinal (OR-CNN) head, random weights",
        {
            "backbone": "timm:vgg16",
            "head": "ordinal",
            "photos": 200,
            "stages": (Stage(64, 4), Stage(224, 1)),
            "learning_rate": 1e-4,
        },
        weights="none",
    ),
)

TABLES = {"ablations": (ABLATIONS, SMALL), "baselines": (BASELINES, BASELINE)}


def base_options(base: TrainConfig) -> str:
    """Return the options of `halnet train` that make a table's base recipe."""
    default = TrainConfig()
    options = [
        _option(f.name, getattr(base, f.name))
        for f in fields(base)
        if getattr(base, f.name) != getattr(default, f.name)
    ]
    return " ".join([f"--weights {SELECT}", *options])


def _option(name: str, value: Any) -> str:
    """Return an option of `halnet train`, such as "--stages 64x6,224x1"."""
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"--{name.replace('_', '-')} {text}"
