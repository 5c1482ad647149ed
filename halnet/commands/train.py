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

DEFAULTS = {field.name: field.default for field in fields(TrainConfig)}
STAGES = ",".join(str(stage) for stage in TrainConfig().stages)


def recipe_option(name: str, text: str, kind: Any = float) -> Callable[[F], F]:
    """Return an option for a field of the recipe, with the field's default."""
    return click.option(
        f"--{name.replace('_', '-')}",
        name,
        type=kind,
        default=DEFAULTS[name],
        show_default=True,
        help=text,
    )


@click.command("train")
@click.option("--data", type=Path, required=True, help="Folder that halnet prepare wrote.")
@click.option("--out", type=Path, required=True, help="Run folder; a started run is resumed.")
@click.option(
    "--stages",
    default=STAGES,
    show_default=True,
    help="Progressive resizing, PIXELSxEPOCHS,...; the last must be at 224 pixels.",
)
@recipe_option("batch_size", "Photos a step.", int)
@recipe_option("learning_rate", "Peak of the learning rate, AdamW.")
@recipe_option("weight_decay", "On convolution and linear weights, not on BN or biases.")
@recipe_option("warmup_epochs", "Epochs of linear warm-up before the cosine schedule.")
@recipe_option("clip_norm", "Bound of the gradient's norm.")
@recipe_option("dropout", "Rate before the last layer.")
@recipe_option("sigma", "Years, width of the label distribution (DLDL-v2, IJCAI 2018).")
@recipe_option("mean_weight", "Weight of abs(mean - label), lambda of DLDL-v2 (there 1).")
@recipe_option("mixup_alpha", "MixUp (ICLR 2018; there 0.2); 0: none.")
@recipe_option("ema_decay", "Ceiling of the weight average's decay, a step.")
@recipe_option("seed", "Same seed, same data, same machine: same result.", int)
@click.option("--weights", type=Path, help="Checkpoint to start from; default: fresh weights.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
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
    weights: Path | None,
    device: str,
    workers: int,
    threads: int | None,
    as_json: bool,
    **recipe: Any,
) -> None:
    """Train CA-MobileNetV3 by DLDL-v2 on a prepared dataset.

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
        device=device,
        workers=workers,
        threads=threads,
        on_epoch=lambda values: _show(values, config),
    )
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
