"""`halnet evaluate`."""

import json
from pathlib import Path

import click

from halnet.benchmarks.accuracy import run_photos, run_split, score
from halnet.commands.output import print_table, progress
from halnet.datasets.prepared import PreparedDataset, Record
from halnet.metrics import Evaluation, Score
from halnet.predictor import Predictor, bundled_model
from halnet.runtimes import open_runtime


@click.command("evaluate")
@click.argument("model", type=Path, required=False)
@click.option("--data", type=Path, required=True, help="Folder that halnet prepare wrote.")
@click.option("--split", default="test", show_default=True, help="train, val or test.")
@click.option(
    "--photos",
    type=Path,
    help="The dataset's own folder: go from its raw photos, through detection.",
)
@click.option("--limit", type=click.IntRange(1), help="The first so many photos of the split.")
@click.option("--runtime", default="auto", show_default=True, help="onnxruntime, pytorch or auto.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--detector", type=Path, help="Local YuNet file, with --photos.")
@click.option("--figure", type=Path, help="Write a picture of the errors (PNG, SVG or PDF).")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    model: Path | None,
    data: Path,
    split: str,
    photos: Path | None,
    limit: int | None,
    runtime: str,
    device: str,
    detector: Path | None,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Measure MODEL (default: the bundled one) on a split: MAE, CS@5, bias and coverage.

    By decade and by sex beside the whole, with a bootstrap 95 % interval of the MAE.
    """
    prepared = PreparedDataset(data)
    records = prepared.select(split)[:limit]
    missed: list[Record] = []
    with open_runtime(model or bundled_model(runtime), runtime, device) as opened:
        with progress("photos") as on_progress:
            if photos is None:
                outputs = run_split(opened, prepared, records, on_progress)
            else:
                predictor = Predictor(opened, detector=detector)
                outputs, missed = run_photos(predictor, photos, records, on_progress)
        records = tuple(record for record in records if record not in missed)
        evaluation = score(opened, outputs, records)
        if figure is not None:
            from halnet.plots import plot_errors

            labels = [record.age for record in records]
            plot_errors(outputs, labels, opened.spec.metadata.calibration, figure)
        title = f"{opened.spec.model} on {opened.spec.runtime}, {prepared.dataset} {split}"
    if as_json:
        result = {
            "split": split,
            "split_sha256": prepared.split_sha256,
            "without_face": len(missed),
        }
        click.echo(json.dumps({**result, **evaluation.to_dict()}))
        return
    show(evaluation, f"{title}, split {prepared.split_sha256[:12]}")
    if missed:
        click.echo(f"{len(missed)} photos without a detected face are not in these figures")


def show(evaluation: Evaluation, title: str) -> None:
    """Print the table of an evaluation."""
    low, high = evaluation.mae_interval
    rows = [_row("all", evaluation.overall)]
    rows += [_row(name, part) for name, part in evaluation.by_decade.items()]
    rows += [_row(name, part) for name, part in evaluation.by_sex.items()]
    print_table(
        ["", "photos", "MAE", "bias", "within 5 years", "90 % interval holds", "its width"],
        rows,
        title,
    )
    click.echo(f"MAE {evaluation.overall.mae:.3f} years, 95 % interval {low:.2f} to {high:.2f}")


def _row(name: str, score: Score) -> list[str]:
    return [
        name,
        str(score.count),
        f"{score.mae:.2f}",
        f"{score.bias:+.2f}",
        f"{score.cs5:.1%}",
        f"{score.coverage:.1%}",
        f"{score.width:.1f}",
    ]
