"""`halnet train`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from halnet.commands.output import needs
from halnet.training.config import TrainConfig, parse_stages

F = TypeVar("F", bound=Callable[..., Any])

FIELDS = {field.name: field for field in fields(TrainConfig)}
STAGES = ",".join(map(str, FIELDS["stages"].default))


def recipe_options(function: F) -> F:
    """Add an option for each field of the recipe, with its default and description."""
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
@click.option("--data", type=Path, required=True, help="Folder that halnet prepare wrote.")
@click.option("--out", type=Path, required=True, help="Run folder; a started run is resumed.")
@click.option(
    "--weights",
    default="none",
    show_default=True,
    help="What to start from: none, imagenet (fetched, or from an installed package), CHECKPOINT, "
    "select:CHECKPOINT or select:timm:tf_efficientnet_lite0 (channels of an EfficientNet-Lite, or "
    "of its ImageNet weights; Xu et al., ICLR 2024), or faceres:JSON (a MobileNetV1 of faces and "
    "ages; Savchenko, PeerJ CS 2019; npm: @vladmandic/human).",
)
@click.option(
    "--teacher",
    type=Path,
    help="Checkpoint to learn from (distillation), trained on the same split.",
)
@click.option("--stages", default=STAGES, show_default=True, help=FIELDS["stages"].metadata["help"])
@recipe_options
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--devices",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="GPUs, or processes on the CPU, of each machine.",
)
@click.option(
    "--nodes",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Machines; start the command on each (torchrun, Slurm).",
)
@click.option(
    "--workers",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Processes that load batches; 0 loads between steps, best on few cores.",
)
@click.option("--threads", type=click.IntRange(1), help="Threads of PyTorch on the CPU.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    data: Path,
    out: Path,
    stages: str,
    weights: str,
    teacher: Path | None,
    device: str,
    devices: int,
    nodes: int,
    workers: int,
    threads: int | None,
    as_json: bool,
    **recipe: Any,
) -> None:
    """Train an age estimator, by default CA-MobileNetV3 by DLDL-v2, on a prepared dataset.

    Writes best_model.safetensors (averaged weights, least validation MAE), training_log.csv,
    runs/ (TensorBoard), last.ckpt and report.json into the run folder. Interrupt it at any time:
    the same command goes on after the last whole epoch.
    """
    with needs("train"):
        from halnet.training.trainer import train

    config = TrainConfig(stages=parse_stages(stages), **recipe)
    result = train(
        data,
        out,
        config,
        weights=weights,
        teacher=teacher,
        device=device,
        devices=devices,
        nodes=nodes,
        workers=workers,
        threads=threads,
        on_epoch=lambda values: _show(values, config),
    )
    if result is None:  # a process beside the first one, which reports
        return
    if as_json:
        click.echo(json.dumps({"val": result.val.to_dict(), "test": result.test.to_dict()}))
        return
    for name, part in (("validation", result.val), ("test", result.test)):
        low, high = part.mae_interval
        click.echo(
            f"{name}: MAE {part.overall.mae:.3f} years (95 % interval {low:.2f} to {high:.2f}), "
            f"90 % interval holds {part.overall.coverage:.1%}, {part.overall.count} photos"
        )
    click.echo(f"{result.checkpoint}")


def _show(values: Mapping[str, float], config: TrainConfig) -> None:
    click.echo(
        f"epoch {values['epoch']:.0f}/{config.epochs} at {values['size']:.0f} px: "
        f"loss {values['train_loss']:.3f}, validation MAE {values['val_mae']:.3f} years, "
        f"{values['images_per_second']:.1f} images/s, waiting for data "
        f"{values['data_wait_share']:.1%}",
        err=True,
    )
