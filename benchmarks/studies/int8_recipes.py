"""How INT8 recipes compare, and what the choice of photos and ranges changes.

    python -m halnet.benchmarks.studies.int8_recipes recipes --data data/aaf
    python -m halnet.benchmarks.studies.int8_recipes curve --data data/aaf
    python -m halnet.benchmarks.studies.int8_recipes ranges --data data/aaf

This study needs `pip install 'halnet[export,onnxruntime,openvino]'`, and `recipes` also needs
`nncf`, which `halnet[dev]` installs. `recipes` compares artifacts of the bundled checkpoint with
PyTorch FP32 on the test split, and times them in turns. The other two are used to make choices, and
measure ages on the validation split.
"""

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from halnet.artifact import bundled, size_artifact
from halnet.benchmarks.machine import machine
from halnet.benchmarks.markdown import print_markdown
from halnet.benchmarks.parity import Verifier, VerifyConfig
from halnet.benchmarks.timing.speed import BenchConfig, bench
from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.packages import needs
from halnet.runtimes.backends import open_model
from halnet.runtimes.base import RuntimeOptions

with needs("the study int8_recipes", "export,onnxruntime,openvino"):
    from halnet.benchmarks.studies.recipes import RECIPES, RecipeArtifact, Source
    from halnet.calibration.budget import AgeShift
    from halnet.calibration.crops import pick_calibration_crops
    from halnet.calibration.equalization import equalize
    from halnet.calibration.quantizer import Quantizer
    from halnet.calibration.validation_photos import find_validation_photos
    from halnet.export.graph import simplify
    from halnet.export.to_onnx import trace
    from halnet.network.checkpoint import load_checkpoint

MIN_DECADE = 40  # photos: the MAE of fewer photos is too uncertain
SIZES = (32, 64, 128, 256, 500)  # numbers of photos
SEEDS = 3
RANGES = (
    ("as trained", "minmax"),
    ("equalized", "minmax"),
    ("equalized", "entropy"),
    ("equalized", "percentile"),
)
INTEGERS = ("unsigned", "symmetric")  # schemes: of CPUs, and of TensorRT
MEAN, P99, LARGEST, DELTA_MAE = (  # column heads
    "mean age shift, years",
    "99th percentile of the age shift, years",
    "largest age shift, years",
    "change of the MAE, years",
)
data_option = click.option(
    "--data", type=Path, required=True, help="Folder that halnet prepare wrote."
)


@click.group()
def main() -> None:
    """Compare ways to make an INT8 model."""


@main.command()
@data_option
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Number of threads for each runtime. Default: one for each core.",
)
@click.option("--runs", default=200, show_default=True, help="Number of timed runs of an artifact.")
@click.option("--rows", help="Numbers of recipes, from 1, separated by commas. Default: all.")
def recipes(data: Path, threads: int | None, runs: int, rows: str | None) -> None:
    """Print the age shifts and the speed of each recipe as a Markdown table."""
    numbers = rows.split(",") if rows else [str(i) for i in range(1, len(RECIPES) + 1)]
    if not all(n.isdigit() and 1 <= int(n) <= len(RECIPES) for n in numbers):
        raise click.BadParameter(
            f"expected numbers from 1 to {len(RECIPES)}, found {rows}", param_hint="--rows"
        )
    source = _load_source(data, threads)
    verify = Verifier(VerifyConfig(source.checkpoint.path, (data,), "test", threads))
    lines = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        opened = []
        for number in numbers:
            recipe = RECIPES[int(number) - 1]
            subfolder = Path(folder, number)
            subfolder.mkdir()
            for artifact in recipe.write(source, subfolder):
                click.echo(f"{recipe.name}, {artifact.runtime}", err=True)
                options = RuntimeOptions(artifact.runtime, "cpu", threads)
                opened.append(stack.enter_context(open_model(artifact.path, options)))
                lines.append([recipe.name, artifact.runtime, *_figures(verify, artifact)])
        timings = bench(opened, BenchConfig(runs=runs))
    columns = ["recipe", "runtime", "layers kept in floating point", DELTA_MAE, P99, LARGEST]
    columns += ["largest change of the MAE in a decade, years"]
    columns += ["change of the share of true ages inside the 90 % interval"]
    columns += ["size, MB", "time for one crop, ms"]
    click.echo(
        f"{machine()}; the times are medians for batch 1 on {timings[0].threads} threads. The "
        "recipes took turns.\n"
    )
    print_markdown(
        columns, [[*line, f"{time.p50:.1f}"] for line, time in zip(lines, timings, strict=True)]
    )


@main.command()
@data_option
def curve(data: Path) -> None:
    """Print the age shifts for several numbers of calibration photos as a Markdown table.

    No layer is kept in floating point. Each cell shows the mean of three random draws of photos,
    with the worst draw in brackets.
    """
    source = _load_source(data, None)
    meter = source.meter()
    lines = []
    for size in [size for size in SIZES if size <= len(source.photos)]:
        shifts = []
        for seed in range(SEEDS):
            crops = pick_calibration_crops(source.photos, size, seed).crops
            quantizer = Quantizer(equalize(source.proto, crops), crops)
            shifts.append(meter(quantizer.quantize("unsigned")))
        means, tails = [shift.mean for shift in shifts], [shift.p99 for shift in shifts]
        deltas = [shift.delta_mae or 0.0 for shift in shifts]
        lines.append(
            [
                str(size),
                f"{np.mean(means):.2f} ({max(means):.2f})",
                f"{np.mean(tails):.2f} ({max(tails):.2f})",
                f"{np.mean(deltas):+.3f} ({max(deltas, key=abs):+.3f})",
            ]
        )
    print_markdown(["photos", MEAN, P99, DELTA_MAE], lines)


@main.command()
@data_option
def ranges(data: Path) -> None:
    """Print the age shifts for several ways to measure a range as a Markdown table.

    No layer is kept in floating point.
    """
    source = _load_source(data, None)
    meter, crops = source.meter(), source.crops()
    protos = {"as trained": source.proto, "equalized": equalize(source.proto, crops)}
    lines = []
    for channels, method in RANGES:
        quantizer = Quantizer(protos[channels], crops, method)
        for scheme in INTEGERS:
            shift = meter(quantizer.quantize(scheme))
            lines.append([channels, method, scheme, *_years(shift)])
    print_markdown(["channels", "range", "integers", MEAN, P99, LARGEST, DELTA_MAE], lines)


def _load_source(data: Path, threads: int | None) -> Source:
    checkpoint = load_checkpoint(bundled("halnet.safetensors"))
    proto = trace(simplify(checkpoint.model))
    metadata = replace(checkpoint.metadata, precision="int8")
    photos = find_validation_photos(DataCollection([PreparedDataset(data)]), checkpoint)
    return Source(checkpoint, data, photos, proto, metadata, threads)


def _years(shift: AgeShift) -> list[str]:
    return [
        f"{shift.mean:.2f}",
        f"{shift.p99:.2f}",
        f"{shift.maximum:.2f}",
        f"{shift.delta_mae:+.3f}",
    ]


def _figures(verify: Verifier, artifact: RecipeArtifact) -> list[str]:
    parity = verify(artifact.path, artifact.runtime, "cpu")
    overall = parity.overall
    decades = [c.delta_mae for c in parity.by_decade.values() if c.count >= MIN_DECADE]
    return [
        "" if artifact.kept is None else str(artifact.kept),
        f"{overall.delta_mae:+.3f}",
        f"{overall.p99:.2f}",
        f"{overall.maximum:.2f}",
        f"{max(decades, key=abs):+.2f}" if decades else "",
        f"{100 * overall.delta_coverage:+.1f} %",
        f"{size_artifact(artifact.path) / 1e6:.1f}",
    ]


if __name__ == "__main__":
    main()
