"""Left out: how well intervals hold on photos of a dataset that a model has never seen.

    python -m halnet.benchmarks.studies.left_out --data data/aaf --data data/utkface \\
        --data data/afad --out runs/left_out --weights faceres:faceres.json

Each dataset is left out in turn. A model is trained on the others, in a small budget, and its
intervals are calibrated on their validation photos. Then it is evaluated on photos of the dataset
that was left out. The initial weights must not have been trained on these datasets. This study
needs `pip install 'halnet[train]'`. Every model has a run folder of its own. If the study is
stopped, the same command continues it.
"""

from dataclasses import replace
from pathlib import Path

import click

from halnet.benchmarks.markdown import print_markdown
from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.evaluation.accuracy import EvaluateConfig, evaluate_model
from halnet.evaluation.metrics import Evaluation
from halnet.packages import needs
from halnet.runtimes.base import RuntimeOptions
from halnet.training.config import Stage, TrainConfig

SMALL = TrainConfig(
    backbone="mobilenet_v1",
    photos=2000,
    balance=0.3,
    degrade=0.4,
    jitter=2.0,
    stages=(Stage(224, 1),),
    batch_size=64,
    learning_rate=5e-4,
    weight_decay=0.05,
    warmup_epochs=0.3,
    ema_decay=0.98,
)
COLUMNS = (
    "left out",
    "photos",
    "MAE, or distance to the range, years",
    "90 % interval holds (95 % interval)",
    "mean width, years",
    "on the other datasets, 90 % interval holds",
)


@click.command()
@click.option(
    "--data",
    type=Path,
    multiple=True,
    required=True,
    help="Folder that halnet prepare wrote. Name two or more by repeating the option.",
)
@click.option("--out", type=Path, required=True, help="Folder for the training runs.")
@click.option(
    "--weights",
    required=True,
    help="Initial weights of a MobileNetV1, as for halnet train. They must not have been trained "
    "on these datasets.",
)
@click.option(
    "--photos",
    default=SMALL.photos,
    show_default=True,
    type=click.IntRange(1),
    help="Number of training photos of each dataset.",
)
@click.option(
    "--limit",
    default=1500,
    show_default=True,
    type=click.IntRange(1),
    help="Number of photos of the dataset that is left out, spread evenly over it.",
)
@click.option(
    "--precision",
    default=SMALL.precision,
    show_default=True,
    help="Precision of the training, as for halnet train. bf16 is faster where the CPU has it.",
)
@click.option("--threads", type=click.IntRange(1), help="Number of threads of PyTorch on the CPU.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def main(
    data: tuple[Path, ...],
    out: Path,
    weights: str,
    photos: int,
    limit: int,
    precision: str,
    threads: int | None,
    device: str,
) -> None:
    """Train a model without each dataset, and print how well its intervals hold there."""
    with needs("the study left_out", "train"):
        from halnet.training.trainer import train
    if len(data) < 2:
        raise click.UsageError("expected two or more --data folders, found one; name another one")
    names = DataCollection([PreparedDataset(folder) for folder in data]).sets
    lines = []
    for name, left in zip(names, data, strict=True):
        others = [folder for folder in data if folder != left]
        result = train(
            others,
            out / name,
            replace(SMALL, photos=photos, precision=precision),
            weights=weights,
            threads=threads,
            device=device,
            workers=1,
        )
        assert result is not None
        config = EvaluateConfig(
            (left,),
            result.checkpoint,
            limit=limit,
            options=RuntimeOptions(device=device, threads=threads),
        )
        away = evaluate_model(config).evaluation
        lines.append(make_row(name, away, result.test_sets))
        click.echo(" | ".join(lines[-1]), err=True)
    print_markdown(COLUMNS, lines)


def make_row(name: str, away: Evaluation, home: dict[str, Evaluation]) -> list[str]:
    """Return the cells of one row: the scores of a dataset that was left out, and of the others."""
    score = away.main_score
    low, high = score.coverage_interval
    held = [f"{other} {part.main_score.coverage:.1%}" for other, part in home.items()]
    return [
        name,
        f"{score.count:,}",
        f"{score.error:.2f}",
        f"{score.coverage:.1%} ({low:.1%} to {high:.1%})",
        f"{score.width:.1f}",
        ", ".join(held),
    ]


if __name__ == "__main__":
    main()
