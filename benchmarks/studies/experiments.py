"""Experiments: tables of networks and of parts of the training recipe, each row a training run.

    python -m halnet.benchmarks.studies.experiments ablations --data data/aaf \\
        --out runs/ablations --teacher runs/teacher/best_model.safetensors
    python -m halnet.benchmarks.studies.experiments baselines --data data/aaf --out runs/baselines

This study needs `pip install 'halnet[train]'`. The table `baselines` also needs
`halnet[export,onnxruntime]`, with which it measures speed. Every row is a run folder of its own. If
the study is stopped, the same command continues it.
"""

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from halnet.benchmarks.markdown import print_markdown
from halnet.benchmarks.studies.experiment_rows import TABLES, Row, base_options
from halnet.benchmarks.timing.speed import BenchConfig, bench
from halnet.packages import needs


@click.command()
@click.argument("table", type=click.Choice(list(TABLES)))
@click.option("--data", type=Path, required=True, help="Folder that halnet prepare wrote.")
@click.option("--out", type=Path, required=True, help="Folder for the training runs.")
@click.option("--teacher", type=Path, help="Checkpoint of the teacher, which ablations need.")
@click.option("--rows", help="Names of the rows to train, separated by commas. Default: all.")
@click.option(
    "--seeds",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Number of training runs of each row, with seeds from 0.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Number of threads of PyTorch on the CPU. Default: one for each core.",
)
def main(
    table: str,
    data: Path,
    out: Path,
    teacher: Path | None,
    rows: str | None,
    seeds: int,
    threads: int | None,
) -> None:
    """Train the rows of a TABLE, and print it in Markdown."""
    all_rows, base = TABLES[table]
    chosen = _choose_rows(all_rows, rows)
    if teacher is None and any(row.needs_teacher for row in chosen):
        raise click.UsageError("some of these rows need --teacher CHECKPOINT")
    with needs("the study experiments", "train"):
        from halnet.training.trainer import train
    if table == "baselines":
        with needs("the table baselines", "export,onnxruntime"):
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401

    results: dict[str, list[Any]] = {row.name: [] for row in chosen}
    for seed in range(seeds):  # all rows with one seed first, so that they can be compared early
        for row in chosen:
            result = train(
                [data],
                out / f"{row.name}-{seed}",
                row.config(base, seed),
                weights=row.weights,
                teachers=[teacher] if teacher and row.needs_teacher else [],
                threads=threads,
            )
            assert result is not None
            results[row.name].append(result)
            mae = result.val.overall.mae
            click.echo(f"{row.name}, seed {seed}: validation MAE {mae:.3f} years", err=True)
    click.echo(f"The base recipe is `{base_options(base)}`.\n")
    print_table = print_ablations if table == "ablations" else print_baselines
    print_table(chosen, results)


def _choose_rows(rows: Sequence[Row], names: str | None) -> list[Row]:
    """Return the rows with these names, separated by commas, or all; BadParameter if unknown."""
    known = [row.name for row in rows]
    wanted = known if names is None else names.split(",")
    unknown = set(wanted) - set(known)
    if unknown:
        raise click.BadParameter(
            f"expected names among {', '.join(known)}, found {', '.join(sorted(unknown))}",
            param_hint="--rows",
        )
    return [row for row in rows if row.name in wanted]


def print_ablations(rows: Sequence[Row], results: dict[str, list[Any]]) -> None:
    """Print the validation MAE of each row, and its range over several seeds, in Markdown."""
    seeds = len(results[rows[0].name])
    head = "validation MAE, years"
    if seeds > 1:
        head += f": mean of {seeds} seeds (smallest to largest)"
    lines = []
    for row in rows:
        values = [result.val.overall.mae for result in results[row.name]]
        text = f"{statistics.mean(values):.2f}"
        if seeds > 1:
            text += f" ({min(values):.2f} to {max(values):.2f})"
        lines.append([row.title, row.options(), text])
    print_markdown(["recipe", "options", head], lines)


def print_baselines(rows: Sequence[Row], results: dict[str, list[Any]]) -> None:
    """Print the size, cost, test error and speed of each row's first seed in Markdown."""
    from halnet.network.checkpoint import load_checkpoint

    checkpoints = [results[row.name][0].checkpoint for row in rows]
    lines = []
    for row, path, speed in zip(rows, checkpoints, _speeds(checkpoints), strict=True):
        model = load_checkpoint(path).model
        test = results[row.name][0].test
        low, high = test.mae_interval
        lines.append(
            [
                row.title,
                row.options(),
                f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f}",
                f"{count_gmac(model):.2f}",
                f"{test.overall.mae:.2f} ({low:.2f} to {high:.2f})",
                f"{speed:.0f}",
            ]
        )
    columns = ["network", "options", "parameters, millions", "GMAC"]
    columns += ["test MAE, years (95 % interval)", "speed, frames/s"]
    print_markdown(columns, lines)


def count_gmac(model: Any) -> float:
    """Return how many billion multiply-accumulate operations an AgeNet needs for one crop."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from halnet.faces.alignment import CROP_SIZE

    crop = torch.zeros(1, CROP_SIZE, CROP_SIZE, 3, dtype=torch.uint8)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.eval()(crop)
    return float(counter.get_total_flops()) / 2e9


def _speeds(checkpoints: Sequence[Path]) -> list[float]:
    """Export each checkpoint to ONNX beside it; return crops in a second, for batch 1."""
    from halnet.export import ExportConfig, export
    from halnet.runtimes.backends import open_model
    from halnet.runtimes.base import RuntimeOptions

    artifacts = [export(ExportConfig(path, out=path.parent))[0].path for path in checkpoints]
    options = RuntimeOptions("onnxruntime", "cpu")
    with ExitStack() as stack:
        runtimes = [stack.enter_context(open_model(path, options)) for path in artifacts]
        return [timing.frames_per_second for timing in bench(runtimes, BenchConfig(runs=100))]


if __name__ == "__main__":
    main()
