"""Experiments: tables of ablations and baselines, each row a recipe that this file trains.

    python -m halnet.benchmarks.studies.experiments ablations --data data/aaf \\
        --out runs/ablations --teacher runs/teacher/best_model.safetensors
    python -m halnet.benchmarks.studies.experiments baselines --data data/aaf --out runs/baselines

Every row is a run folder of its own: a stopped table goes on where it stopped.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import click

from halnet.training.config import Stage, TrainConfig

# Small enough for two cores; the rows are compared with each other, not with the bundled model.
SMALL = TrainConfig(photos=1000, stages=(Stage(224, 3),), warmup_epochs=0.5, ema_decay=0.95)
BASELINE = TrainConfig(photos=4000, stages=(Stage(224, 3),), warmup_epochs=0.5, ema_decay=0.98)
# What fresh weights get in about the same time: they need many steps, which are cheap when small.
FRESH = {
    "stages": (Stage(64, 6), Stage(128, 3), Stage(224, 1)),
    "learning_rate": 3e-3,
    "ema_decay": 0.99,
}
SELECT = "select:timm:tf_efficientnet_lite0"


@dataclass(frozen=True)
class Row:
    """One row of a table: what it changes in the table's first recipe."""

    name: str
    what: str
    changes: dict[str, Any]
    weights: str = SELECT  # what it starts from
    taught: bool = False  # by the teacher

    def config(self, base: TrainConfig, seed: int) -> TrainConfig:
        """Return the recipe of the row."""
        return replace(base, seed=seed, **self.changes)

    def options(self, base: TrainConfig) -> str:
        """Return what distinguishes its `halnet train` command from that of the base."""
        parts = [f"--{k.replace('_', '-')} {_text(v)}" for k, v in self.changes.items()]
        if self.taught:
            parts.insert(0, "--teacher TEACHER")
        if self.weights != SELECT:
            parts.insert(0, f"--weights {self.weights}")
        return " ".join(parts) or "the base"


ABLATIONS = (
    Row("base", "CA, DLDL-v2, channels of EfficientNet-Lite0's ImageNet weights", {}),
    Row("scratch", "fresh weights", {}, weights="none"),
    Row("se", "SE in the deep blocks instead of CA", {"backbone": "mobilenet_v3_large"}),
    Row("kl", "KL alone", {"mean_weight": 0.0}),
    Row("paper", "lambda 1 as in DLDL-v2", {"mean_weight": 1.0}),
    Row("cdf", "with the CDF loss", {"cdf_weight": 0.1}),
    Row(
        "mean-variance",
        "mean-variance loss",
        {"sigma": 0.3, "mean_weight": 0.0, "squared_weight": 0.2, "variance_weight": 0.05},
    ),
    Row("ordinal", "OR-CNN head", {"head": "ordinal"}),
    Row("sigma", "adaptive sigma", {"sigma": 1.0, "sigma_max": 4.0}),
    Row("lds", "LDS, root", {"lds": "sqrt"}),
    Row("mixup", "MixUp", {"mixup_alpha": 0.2}),
    Row("no-ema", "without the weight average", {"ema_decay": 0.0}),
    Row("dropout", "dynamic dropout", {"dropout_start": 0.0, "dropout": 0.4}),
    Row("freeze", "head and CA alone in the first epoch", {"freeze_epochs": 1}),
    Row("teacher", "with the teacher", {"label_weight": 0.3}, taught=True),
    Row(
        "hints",
        "with the teacher and hints",
        {"label_weight": 0.3, "hint_weight": 1.0},
        taught=True,
    ),
    Row(
        "resolution",
        "most of it at 128 pixels, in the same time",
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
    Row("ca-fresh", "CA-MobileNetV3, fresh weights", FRESH, weights="none"),
    Row(
        "ghostnet",
        "GhostNet 1.0, fresh weights",
        {"backbone": "timm:ghostnet_100", **FRESH},
        weights="none",
    ),
    Row(
        "resnet18",
        "ResNet-18, fresh weights",
        {"backbone": "timm:resnet18", **FRESH, "photos": 2000},
        weights="none",
    ),
    Row(
        "vgg16",
        "VGG-16 with an OR-CNN head, fresh weights, hardly trained",
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


@click.command()
@click.argument("table", type=click.Choice(list(TABLES)))
@click.option("--data", type=Path, required=True, help="Folder that halnet prepare wrote.")
@click.option("--out", type=Path, required=True, help="Folder of the runs.")
@click.option("--teacher", type=Path, help="Checkpoint of the teacher; ablations need it.")
@click.option("--rows", help="Only these, by name, separated by commas.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1))
@click.option("--threads", type=click.IntRange(1), help="Threads of PyTorch on the CPU.")
def main(
    table: str,
    data: Path,
    out: Path,
    teacher: Path | None,
    rows: str | None,
    seeds: int,
    threads: int | None,
) -> None:
    """Train the rows of a TABLE and print it as Markdown."""
    from halnet.training.trainer import train

    all_rows, base = TABLES[table]
    picked = rows.split(",") if rows else [row.name for row in all_rows]
    unknown = set(picked) - {row.name for row in all_rows}
    if unknown:
        raise click.BadParameter(f"no row {', '.join(sorted(unknown))}", param_hint="--rows")
    chosen = [row for row in all_rows if row.name in picked]
    if teacher is None and any(row.taught for row in chosen):
        raise click.UsageError("--teacher is needed by some of these rows")
    results: dict[str, list[Any]] = {row.name: [] for row in chosen}
    for seed in range(seeds):  # whole tables first, so that a stopped one can be read
        for row in chosen:
            result = train(
                data,
                out / f"{row.name}-{seed}",
                row.config(base, seed),
                weights=row.weights,
                teacher=teacher if row.taught else None,
                threads=threads,
            )
            assert result is not None
            results[row.name].append(result)
            click.echo(f"{row.name}, seed {seed}: {result.val.overall.mae:.3f}", err=True)
    show = ablation_table if table == "ablations" else baseline_table
    click.echo(show(chosen, base, results))


def ablation_table(rows: Sequence[Row], base: TrainConfig, results: dict[str, list[Any]]) -> str:
    """Return validation MAE, mean and range over the seeds, as Markdown."""
    lines = [
        f"Base: `{_base_options(base)}`",
        "",
        "| | options | seeds | validation MAE, years | range |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        values = [result.val.overall.mae for result in results[row.name]]
        spread = f"{min(values):.2f} to {max(values):.2f}"
        lines.append(
            f"| {row.what} | `{row.options(base)}` | {len(values)} | "
            f"{statistics.mean(values):.2f} | {spread} |"
        )
    return "\n".join(lines)


def baseline_table(rows: Sequence[Row], base: TrainConfig, results: dict[str, list[Any]]) -> str:
    """Return size, cost, test error and speed of each row's first seed as Markdown."""
    from halnet.network.checkpoint import load_checkpoint

    checkpoints = [results[row.name][0].checkpoint for row in rows]
    lines = [
        f"Base: `{_base_options(base)}`",
        "",
        "| | options | parameters, M | GMAC | test MAE (95 % interval) | frames/s, ONNX Runtime |",
        "|---|---|---|---|---|---|",
    ]
    for row, path, speed in zip(rows, checkpoints, _speeds(checkpoints), strict=True):
        model = load_checkpoint(path).model
        test = results[row.name][0].test
        low, high = test.mae_interval
        lines.append(
            f"| {row.what} | `{row.options(base)}` | "
            f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} | {gmac(model):.2f} | "
            f"{test.overall.mae:.2f} ({low:.2f} to {high:.2f}) | {speed:.0f} |"
        )
    return "\n".join(lines)


def gmac(model: Any) -> float:
    """Return billions of multiply-accumulates of one crop, counted from the network."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from halnet.alignment import CROP_SIZE

    crop = torch.zeros(1, CROP_SIZE, CROP_SIZE, 3, dtype=torch.uint8)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.eval()(crop)
    return float(counter.get_total_flops()) / 2e9


def _speeds(checkpoints: Sequence[Path]) -> list[float]:
    """Export each to ONNX beside it and time all in turns: crops a second, one at a time."""
    from contextlib import ExitStack

    from halnet.benchmarks.speed import BenchConfig, bench
    from halnet.export import ExportConfig, export
    from halnet.runtimes.backends import open_runtime

    artifacts = [export(ExportConfig(path, out=path.parent))[0].path for path in checkpoints]
    with ExitStack() as stack:
        runtimes = [stack.enter_context(open_runtime(path, device="cpu")) for path in artifacts]
        return [timing.frames_per_second for timing in bench(runtimes, BenchConfig(runs=100))]


def _base_options(base: TrainConfig) -> str:
    default = TrainConfig()
    changed = {
        f.name: getattr(base, f.name)
        for f in fields(base)
        if getattr(base, f.name) != getattr(default, f.name)
    }
    options = [f"--{k.replace('_', '-')} {_text(v)}" for k, v in changed.items()]
    return " ".join([f"--weights {SELECT}", *options])


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    main()
