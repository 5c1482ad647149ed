"""`halnet prepare`."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import click

from halnet.commands.output import needs, progress


@click.command("prepare")
@click.argument("source", type=Path)
@click.option("--dataset", default="aaf", show_default=True, help="aaf (All-Age-Faces).")
@click.option("--out", type=Path, required=True, help="Folder for crops, index and split.")
@click.option(
    "--workers",
    default=2,
    show_default=True,
    type=click.IntRange(1),
    help="Processes; the result is the same whatever their number.",
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of the split."
)
@click.option("--detector", type=Path, help="Local YuNet file; else it is fetched once.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    source: Path,
    dataset: str,
    out: Path,
    workers: int,
    seed: int,
    detector: Path | None,
    as_json: bool,
) -> None:
    """Detect, align and split the photos of SOURCE.

    Every photo goes the way that prediction goes. Writes crops/, index.csv, rejects.csv (what was
    left out and why) and dataset_split_stratified.json (90/5/5 by age). Restartable: interrupted,
    the same command goes on; finished, it does nothing.
    """
    with needs("train"):
        import sklearn  # noqa: F401 - the split at the end needs it: say so at the start

        from halnet.datasets.preparing import prepare

    start = time.perf_counter()
    counts: list[int] = []  # photos done, at the start and since
    with progress("photos") as show:

        def on_progress(done: int, total: int) -> None:
            counts.append(done)
            show(done, total)

        summary = prepare(
            source,
            out,
            dataset,
            workers=workers,
            seed=seed,
            detector=detector,
            on_progress=on_progress,
        )
    seconds = time.perf_counter() - start
    if as_json:
        click.echo(json.dumps({**asdict(summary), "seconds": round(seconds, 2)}))
        return
    click.echo(
        f"{summary.photos} photos: {summary.indexed} indexed, {summary.rejected} rejected, "
        f"{summary.several_faces} with several faces"
    )
    if summary.landmark_error is not None:
        click.echo(f"landmark error: {summary.landmark_error:.1%} of the eye distance (median)")
    parts = ", ".join(f"{count} {name}" for name, count in summary.split.items())
    click.echo(f"split {summary.split_sha256[:12]}: {parts}")
    done = counts[-1] - counts[0] if counts else 0
    if done:
        click.echo(f"{done} photos in {seconds:.1f} s, {done / seconds:.0f} photos/s")
    else:
        click.echo("was complete: nothing was done")
