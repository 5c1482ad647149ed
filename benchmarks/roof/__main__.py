"""The roof: prints the peaks of this machine, and how far models are from them.

python -m halnet.benchmarks.roof deploy/halnet.onnx
"""

import json
import sys
from pathlib import Path

import click

from halnet.benchmarks.machine import machine
from halnet.benchmarks.markdown import print_markdown
from halnet.benchmarks.roof.peaks import measure_peaks
from halnet.benchmarks.roof.rows import COLUMNS, measure_rows
from halnet.errors import HalnetError
from halnet.runtimes.base import RuntimeOptions


@click.command()
@click.argument("models", type=Path, nargs=-1, required=True)
@click.option("--runtime", default="auto", show_default=True, help="Runtime of the models.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Number of threads of the products and of the inferences. Default: one for each core.",
)
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1), help="Crops.")
@click.option(
    "--runs", default=100, show_default=True, type=click.IntRange(1), help="Timed inferences."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def main(
    models: tuple[Path, ...],
    runtime: str,
    threads: int | None,
    batch: int,
    runs: int,
    as_json: bool,
) -> None:
    """Print the peaks of this machine and how far MODELS are from them, as Markdown tables."""
    try:
        peaks = measure_peaks(threads)
        rows = measure_rows(models, RuntimeOptions(runtime, "cpu", threads), peaks, batch, runs)
    except HalnetError as error:
        click.echo(f"roof: {error}", err=True)
        sys.exit(2)
    if as_json:
        values = {"peaks": peaks.to_dict(), "rows": [row.to_dict() for row in rows]}
        click.echo(json.dumps(values))
        return
    click.echo(f"{machine()}; threads: {peaks.threads}\n")
    print_markdown(peaks.columns, peaks.rows)
    click.echo()
    print_markdown(COLUMNS, [row.cells for row in rows])
    for row in rows:
        click.echo(f"\n{row.note}" if row.note else "", nl=bool(row.note))


if __name__ == "__main__":
    main()
