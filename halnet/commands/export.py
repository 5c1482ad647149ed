"""`halnet export` and `halnet-export`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from halnet.calibration.budget import Budget
from halnet.commands.output import needs, print_table
from halnet.errors import ConfigError


def _batch(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    if value != "dynamic" and not value.isdigit():
        raise click.BadParameter(f"expected dynamic or a number of crops, found {value}")
    return None if value == "dynamic" else int(value)


@click.command("export")
@click.argument("checkpoint", type=Path, required=False)
@click.option(
    "--format",
    "formats",
    multiple=True,
    default=("onnx",),
    show_default=True,
    help="onnx, openvino or tensorrt; may be repeated.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    default=("fp32",),
    show_default=True,
    help="fp32, fp16 or int8; may be repeated.",
)
@click.option(
    "--batch",
    callback=_batch,
    metavar="dynamic|N",
    default="dynamic",
    show_default=True,
    help="Crops of every run, or any number.",
)
@click.option("--out", type=Path, default=Path("deploy"), show_default=True, help="Folder.")
@click.option(
    "--data",
    type=Path,
    help="Prepared dataset to check on: MAE and coverage on its test split. Its validation split "
    "calibrates INT8. Default: agreement on crops of the bundled portrait, and crops made from the "
    "checkpoint.",
)
@click.option(
    "--max-mae-delta",
    type=float,
    help="INT8: give layers back to floating point until the validation MAE moves by no more, "
    f"years. Default: {Budget().mae:g}.",
)
@click.option(
    "--max-p99",
    type=float,
    help="INT8: likewise for the 99th percentile of a single age's shift, years. Default: "
    f"{Budget().p99:g}.",
)
@click.option(
    "--keep",
    multiple=True,
    metavar="LAYER|none",
    help="INT8: do not search; these layers stay in floating point; may be repeated.",
)
@click.option(
    "--sensitivity",
    is_flag=True,
    help="INT8: write what each layer alone does to ages as sensitivity.SCHEME.csv and .png.",
)
@click.option(
    "--calibration",
    type=Path,
    metavar="FOLDER",
    help="INT8: photos to measure ranges on, faces found and aligned. Default: the validation "
    "split of --data, or crops made from the checkpoint.",
)
@click.option("--detector", type=Path, help="INT8: local YuNet file, for --calibration.")
@click.option("--calibration-photos", type=int, help="INT8: so many of them. Default: 128.")
@click.option(
    "--calibration-method",
    type=click.Choice(["minmax", "entropy", "percentile"]),
    help="INT8: how the ranges of activations are measured. Default: minmax.",
)
@click.option("--seed", type=int, help="INT8: which photos calibrate. Default: 0.")
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    help="TensorRT for RTX: GPUs to build for, such as SM86; may be repeated. Default: all.",
)
@click.option(
    "--profile",
    type=(int, int, int),
    help="TensorRT: least, best and most crops of a run. Default: 1 8 32.",
)
@click.option("--no-check", is_flag=True, help="Do not compare with the checkpoint.")
@click.option("--threads", type=click.IntRange(1), help="Of the check.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    checkpoint: Path | None,
    formats: tuple[str, ...],
    precisions: tuple[str, ...],
    batch: int | None,
    out: Path,
    data: Path | None,
    max_mae_delta: float | None,
    max_p99: float | None,
    keep: tuple[str, ...],
    sensitivity: bool,
    calibration: Path | None,
    detector: Path | None,
    calibration_photos: int | None,
    calibration_method: str | None,
    seed: int | None,
    capabilities: tuple[str, ...],
    profile: tuple[int, int, int] | None,
    no_check: bool,
    threads: int | None,
    as_json: bool,
) -> int:
    """Export CHECKPOINT (default: the bundled model) to deployable artifacts.

    An artifact takes aligned uint8 crops and gives age, deviation and probabilities:
    normalisation, softmax, expectation, calibration and origin are inside it. Each is compared
    with the checkpoint in PyTorch FP32 before it takes its place; manifest.json beside them states
    hashes, sizes, versions and what was found. Exit status 1 if one lies outside the tolerance of
    its precision: it is kept as NAME.failed.

    INT8 ranges are measured on photos of the validation split or of a folder, balanced over ages.
    Then layers are given back to floating point, the one that moves ages most first, until the
    budget holds; where none does, nothing is written. Where other precisions of its format lie
    beside it, INT8 is timed with them on this machine, and a line says whether it is worth it.
    """
    with needs("export"):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
        import torch  # noqa: F401

        from halnet.export import ExportConfig, export
        from halnet.export.config import Int8Config, Target

    from halnet.benchmarks.advice import advise_int8
    from halnet.benchmarks.parity import Verifier, VerifyConfig
    from halnet.benchmarks.speed import BenchConfig, machine

    if data is not None and no_check and "int8" not in precisions:
        raise ConfigError("--data is for the check and for INT8; leave out --no-check")
    default = Target()
    target = Target(profile or default.batches, capabilities or default.capabilities)
    asked: dict[str, Any] = {
        "photos": calibration,
        "detector": detector,
        "samples": calibration_photos,
        "method": calibration_method,
        "seed": seed,
        "keep": tuple(name for name in keep if name != "none") if keep else None,
        "budget": _budget(max_mae_delta, max_p99),
        "sensitivity": sensitivity or None,
    }
    int8 = Int8Config(**{name: value for name, value in asked.items() if value is not None})
    if "int8" in precisions:
        int8 = replace(int8, data=data, threads=threads)
    config = ExportConfig(checkpoint, formats, precisions, batch, out, target, int8)
    check = None if no_check else Verifier(VerifyConfig(checkpoint, data, "test", threads))
    made = export(config, check, lambda line: click.echo(line, err=True))
    advice = {} if no_check else advise_int8(made, BenchConfig(runs=100), threads)
    if as_json:
        click.echo(json.dumps([_to_dict(e, advice.get(e.path)) for e in made]))
    else:
        show(made)
        for path, worth in advice.items():
            click.echo(f"{path.name}: {worth.advice} ({machine()})")
    return 1 if any(exported.failed for exported in made) else 0


def _budget(mae: float | None, p99: float | None) -> Budget | None:
    if mae is None and p99 is None:
        return None
    default = Budget()
    return Budget(default.mae if mae is None else mae, default.p99 if p99 is None else p99)


def show(made: list[Any]) -> None:
    """Print the table of what an export left."""
    rows = [
        [
            exported.path.name,
            f"{exported.size / 1e6:.1f}",
            *_figures(exported.verdict),
            ("FAILED" if exported.failed else "passed") if exported.verdict else "not checked",
        ]
        for exported in made
    ]
    data = next((e.verdict.data for e in made if e.verdict), "")
    columns = ["artifact", "MB", "delta MAE", "p99", "max", "delta coverage", ""]
    print_table(columns, rows, f"against PyTorch fp32, years{': ' + data if data else ''}")
    for exported in made:
        if exported.failed:
            click.echo(f"{exported.path.name}: {'; '.join(exported.verdict.failures)}")
            if exported.verdict.divergence:
                click.echo(f"  first node that leaves FP32: {exported.verdict.divergence}")
        elif exported.unchecked:
            click.echo(f"{exported.path.name}: not checked: {exported.unchecked}")
    click.echo(f"{made[0].manifest}: hashes, versions, and what was found by decade")


def _figures(verdict: Any) -> list[str]:
    if verdict is None:
        return [""] * 4
    overall = verdict.overall
    known = overall.artifact is not None
    return [
        f"{overall.delta_mae:+.5f}" if known else "",
        f"{overall.p99:.5f}",
        f"{overall.maximum:.5f}",
        f"{overall.delta_coverage:+.4f}" if known else "",
    ]


def _to_dict(exported: Any, worth: Any) -> dict[str, Any]:
    return {
        "path": str(exported.path),
        "format": exported.format,
        "precision": exported.precision,
        "bytes": exported.size,
        "sha256": exported.sha256,
        "manifest": str(exported.manifest),
        "passed": exported.verdict.passed if exported.verdict else None,
        "failures": exported.verdict.failures if exported.verdict else [],
        "unchecked": exported.unchecked,
        "speed": worth.to_dict() if worth else None,
    }
