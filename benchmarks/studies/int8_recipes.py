"""INT8 recipes beside each other, and how many photos it takes to calibrate.

    python -m halnet.benchmarks.studies.int8_recipes recipes --data data/aaf
    python -m halnet.benchmarks.studies.int8_recipes curve --data data/aaf
    python -m halnet.benchmarks.studies.int8_recipes ranges --data data/aaf

`recipes` compares artifacts of the bundled checkpoint with PyTorch FP32 on the test split and times
them by turns. The others are for choosing, and measure on the validation split.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from halnet.artifact import Metadata, bundled, size_artifact
from halnet.benchmarks.parity import Parity, Verifier, VerifyConfig
from halnet.benchmarks.speed import BenchConfig, bench, machine
from halnet.benchmarks.studies.markdown import print_markdown
from halnet.calibration.age_shift_meter import AgeShiftMeter
from halnet.calibration.crops import SPLIT, pick_calibration_crops
from halnet.calibration.equalization import equalize
from halnet.calibration.quantizer import SCHEMES, CropReader, Quantizer
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.export import FORMATS
from halnet.export.config import Int8Config, Target
from halnet.export.graph import simplify
from halnet.export.int8 import Int8
from halnet.export.to_onnx import trace, write_onnx
from halnet.export.to_openvino import save_openvino, write_openvino
from halnet.network.checkpoint import Checkpoint, load_checkpoint
from halnet.runtimes.backends import open_runtime
from halnet.runtimes.base import Crops
from halnet.runtimes.ov import import_openvino

NNCF_PHOTOS = 300  # what it takes where nothing is said
MIN_DECADE = 40  # photos: fewer say little
ONNX_NAME, OPENVINO_NAME = (FORMATS[name].file_names["int8"] for name in ("onnx", "openvino"))
WRITERS = {"onnxruntime": (ONNX_NAME, write_onnx), "openvino": (OPENVINO_NAME, write_openvino)}
SIZES = (32, 64, 128, 256, 500)
SEEDS = 3
RANGES = (
    ("as trained", "minmax"),
    ("equalized", "minmax"),
    ("equalized", "entropy"),
    ("equalized", "percentile"),
)


@dataclass(frozen=True)
class Source:
    """What every recipe starts from."""

    checkpoint: Checkpoint
    data: PreparedDataset
    proto: Any  # traced FP32 graph
    metadata: Metadata  # of an INT8 artifact
    threads: int | None

    def count(self, wanted: int = Int8Config().crops) -> int:
        """Return how many photos calibrate: as many as wanted, or all that there are."""
        return min(wanted, len(self.data.select(SPLIT)))

    def crops(self, wanted: int = Int8Config().crops) -> Crops:
        """Return the crops of so many photos."""
        return pick_calibration_crops(self.data, self.count(wanted)).crops

    def meter(self) -> AgeShiftMeter:
        """Return the meter of all validation photos."""
        records = self.data.select(SPLIT)
        labels = [record.age for record in records]
        return AgeShiftMeter(self.proto, self.data.inner_crops(records), labels)

    def int8(self, **changes: Any) -> Int8:
        """Return the quantizer of `halnet export --precision int8`."""
        given = {"data": self.data.root, "threads": self.threads, "crops": self.count()}
        config = Int8Config(**given | changes)
        return Int8(config, self.checkpoint, self.proto, lambda line: click.echo(line, err=True))


@dataclass(frozen=True)
class Made:
    """An artifact of a recipe."""

    path: Path
    runtime: str  # that runs it
    kept: int | None = None  # layers given back; None: not searched


@dataclass(frozen=True)
class Recipe:
    """One row, or a row for each runtime."""

    name: str
    make: Callable[[Source, Path], Sequence[Made]]


def _floating_point(source: Source, folder: Path) -> Sequence[Made]:
    metadata = replace(source.metadata, precision="fp32")
    return Made(source.checkpoint.path, "pytorch"), *_write(source.proto, metadata, folder)


def _onnxruntime_defaults(source: Source, folder: Path) -> Sequence[Made]:
    import onnx
    from onnxruntime.quantization import quantize_static

    full, path = folder / "full.onnx", folder / ONNX_NAME
    onnx.save(source.proto, full)
    quantize_static(full, path, CropReader(source.crops()))
    write_onnx(onnx.load(path), source.metadata, path, Target())
    return (Made(path, "onnxruntime"),)


def _nncf_defaults(source: Source, folder: Path) -> Sequence[Made]:
    model = import_openvino().Core().read_model(source.proto.SerializeToString())
    import nncf

    quantized = nncf.quantize(model, nncf.Dataset(source.crops(NNCF_PHOTOS), _alone))
    save_openvino(quantized, source.metadata, folder / OPENVINO_NAME)
    return (Made(folder / OPENVINO_NAME, "openvino"),)


def _write(
    proto: Any,
    metadata: Metadata,
    folder: Path,
    kept: int | None = None,
    runtimes: Sequence[str] = tuple(WRITERS),
) -> list[Made]:
    """Write a graph for each of the runtimes."""
    made = []
    for runtime in runtimes:
        name, write = WRITERS[runtime]
        write(proto, metadata, folder / name, Target())
        made.append(Made(folder / name, runtime, kept))
    return made


def _alone(crop: Any) -> Any:
    return crop[None]


def _ours(
    scheme: str = "unsigned", runtimes: Sequence[str] = tuple(WRITERS), **changes: Any
) -> Callable[[Source, Path], Sequence[Made]]:
    def make(source: Source, folder: Path) -> Sequence[Made]:
        int8 = source.int8(**changes)
        made: list[Made] = []
        for runtime in runtimes:
            proto, stated = int8.quantize(scheme, runtime, folder)
            made += _write(proto, source.metadata, folder, len(stated["kept"]), (runtime,))
        return made

    return make


RECIPES = (
    Recipe("FP32", _floating_point),
    Recipe("naive: ONNX Runtime's defaults (min-max, per tensor)", _onnxruntime_defaults),
    Recipe("naive: NNCF's defaults", _nncf_defaults),
    Recipe("ours, nothing given back", _ours(keep=())),
    Recipe("ours", _ours()),
    Recipe("ours, symmetric (what TensorRT gets)", _ours("symmetric", ("onnxruntime",))),
    Recipe("ours, without photos", _ours(data=None)),
)


@click.group()
def main() -> None:
    """Compare ways to INT8."""


@main.command()
@click.option("--data", type=Path, required=True, help="Folder that halnet prepare wrote.")
@click.option("--threads", type=click.IntRange(1), help="Of every runtime; default: all cores.")
@click.option("--runs", default=200, show_default=True, help="Timed runs of each artifact.")
@click.option("--rows", help="Only these, by number from 1, separated by commas.")
def recipes(data: Path, threads: int | None, runs: int, rows: str | None) -> None:
    """Print what each recipe does to ages and to speed, as Markdown."""
    numbers = rows.split(",") if rows else [str(i) for i in range(1, len(RECIPES) + 1)]
    if not all(n.isdigit() and 1 <= int(n) <= len(RECIPES) for n in numbers):
        raise click.BadParameter(
            f"expected numbers from 1 to {len(RECIPES)}, found {rows}", param_hint="--rows"
        )
    source = _source(data, threads)
    verify = Verifier(VerifyConfig(source.checkpoint.path, data, "test", threads))
    lines = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        opened = []
        for number in numbers:
            recipe = RECIPES[int(number) - 1]
            place = Path(folder, number)
            place.mkdir()
            for made in recipe.make(source, place):
                click.echo(f"{recipe.name}, {made.runtime}", err=True)
                runtime = open_runtime(made.path, made.runtime, "cpu", threads)
                opened.append(stack.enter_context(runtime))
                lines.append([recipe.name, made.runtime, *_figures(verify, made)])
        timings = bench(opened, BenchConfig(runs=runs))
    columns = ["recipe", "runtime", "given back", "delta MAE", "p99", "largest", "worst decade"]
    columns += ["delta coverage", "MB", "ms"]
    click.echo(f"{machine()}; {timings[0].threads} threads, batch 1, medians, by turns\n")
    rows_of_text = [[*line, f"{t.p50:.1f}"] for line, t in zip(lines, timings, strict=True)]
    print_markdown(columns, rows_of_text)


@main.command()
@click.option("--data", type=Path, required=True, help="Folder that halnet prepare wrote.")
def curve(data: Path) -> None:
    """Print what the number of calibration photos does to validation ages, as Markdown.

    Nothing is given back; each number with three seeds, of which the mean and the worst are shown.
    """
    source = _source(data, None)
    meter = source.meter()
    lines = []
    for size in [size for size in SIZES if size == source.count(size)]:
        found = []
        for seed in range(SEEDS):
            crops = pick_calibration_crops(source.data, size, seed).crops
            quantizer = Quantizer(equalize(source.proto, crops), crops)
            found.append(meter(quantizer.quantize("unsigned")))
        means, tails = [m.mean for m in found], [m.p99 for m in found]
        deltas = [m.delta_mae or 0.0 for m in found]
        lines.append(
            [
                str(size),
                f"{np.mean(means):.2f} ({max(means):.2f})",
                f"{np.mean(tails):.2f} ({max(tails):.2f})",
                f"{np.mean(deltas):+.3f} ({max(deltas, key=abs):+.3f})",
            ]
        )
    print_markdown(["photos", "mean", "p99", "delta MAE"], lines)


@main.command()
@click.option("--data", type=Path, required=True, help="Folder that halnet prepare wrote.")
def ranges(data: Path) -> None:
    """Print validation movements by how ranges are measured, and of which channels, as Markdown.

    Nothing is given back.
    """
    source = _source(data, None)
    meter, crops = source.meter(), source.crops()
    protos = {"as trained": source.proto, "equalized": equalize(source.proto, crops)}
    lines = []
    for channels, method in RANGES:
        quantizer = Quantizer(protos[channels], crops, method)
        for scheme in SCHEMES:
            m = meter(quantizer.quantize(scheme))
            years = [f"{m.mean:.2f}", f"{m.p99:.2f}", f"{m.maximum:.2f}", f"{m.delta_mae:+.3f}"]
            lines.append([channels, method, scheme, *years])
    columns = ["channels", "range", "scheme", "mean", "p99", "largest", "delta MAE"]
    print_markdown(columns, lines)


def _source(data: Path, threads: int | None) -> Source:
    checkpoint = load_checkpoint(bundled("halnet.safetensors"))
    proto = trace(simplify(checkpoint.model))
    int8 = replace(checkpoint.metadata, precision="int8")
    return Source(checkpoint, PreparedDataset(data), proto, int8, threads)


def _figures(verify: Verifier, made: Made) -> list[str]:
    parity: Parity = verify(made.path, made.runtime, "cpu")
    overall = parity.overall
    decades = [c.delta_mae for c in parity.by_decade.values() if c.count >= MIN_DECADE]
    return [
        "" if made.kept is None else str(made.kept),
        f"{overall.delta_mae:+.3f}",
        f"{overall.p99:.2f}",
        f"{overall.maximum:.2f}",
        f"{max(decades, key=abs):+.2f}" if decades else "",
        f"{100 * overall.delta_coverage:+.1f} %",
        f"{size_artifact(made.path) / 1e6:.1f}",
    ]


if __name__ == "__main__":
    main()
