"""`halnet export` and `halnet-export`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from halnet.ages import LEVEL
from halnet.benchmarks.advice import Int8Advice, advise_int8
from halnet.benchmarks.parity import Verifier, VerifyConfig
from halnet.benchmarks.speed import BenchConfig, machine
from halnet.calibration.budget import Budget
from halnet.calibration.methods import METHODS
from halnet.commands.options import (
    CommandWithOldNames,
    data_option,
    detector_option,
    join_names,
    json_option,
)
from halnet.commands.output import print_table
from halnet.errors import ConfigError
from halnet.export import ExportConfig, Exported, export
from halnet.export.config import Int8Config, Target
from halnet.export.formats import FORMATS, PRECISIONS

ADVICE_RUNS = 100  # timed runs of each precision


def _batch(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    if value != "dynamic" and not value.isdigit():
        raise click.BadParameter(f"expected dynamic or a number of crops, found {value}")
    return None if value == "dynamic" else int(value)


@click.command("export", cls=CommandWithOldNames, old_names={"--keep": "--keep-float"})
@click.argument("checkpoint", type=Path, required=False)
@click.option(
    "--format",
    "formats",
    multiple=True,
    default=ExportConfig.formats,
    show_default=True,
    help=f"Format: {join_names(FORMATS)}. You can repeat this option.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    default=ExportConfig.precisions,
    show_default=True,
    help=f"Precision: {join_names(PRECISIONS)}. You can repeat this option.",
)
@click.option(
    "--batch",
    callback=_batch,
    metavar="dynamic|N",
    default="dynamic",
    show_default=True,
    help="Number of crops in every inference. With dynamic, an artifact takes any number.",
)
@click.option(
    "--out",
    type=Path,
    default=ExportConfig.out,
    show_default=True,
    help="Folder for the artifacts.",
)
@data_option(
    "Artifacts are checked on its test split, and INT8 is calibrated on its validation split. "
    "Default: artifacts are checked on crops of a portrait that comes with halnet, and INT8 is "
    "calibrated on crops that are made from the checkpoint."
)
@click.option(
    "--max-mae-delta",
    default=Budget.mae,
    show_default=True,
    help="INT8: layers are kept in floating point until the validation MAE changes by at most this "
    "many years.",
)
@click.option(
    "--max-p99",
    default=Budget.p99,
    show_default=True,
    help="INT8: layers are kept in floating point until 99 % of the validation ages shift by at "
    "most this many years.",
)
@click.option(
    "--keep-float",
    multiple=True,
    metavar="LAYER|none",
    help="INT8: keep this layer in floating point, and do not search for sensitive layers. The "
    "value none keeps no layer. You can repeat this option.",
)
@click.option(
    "--sensitivity",
    is_flag=True,
    help="INT8: write how far quantizing each layer alone shifts predicted ages, as "
    "sensitivity.SCHEME.csv and sensitivity.SCHEME.png.",
)
@click.option(
    "--calibration",
    type=Path,
    metavar="FOLDER",
    help="INT8: folder of photos on whose faces the ranges of activations are measured. Default: "
    "the validation split of --data, or crops that are made from the checkpoint.",
)
@detector_option("the photos of --calibration")
@click.option(
    "--calibration-photos",
    type=int,
    default=Int8Config.crops,
    show_default=True,
    help="INT8: number of photos of --data or --calibration on which ranges are measured.",
)
@click.option(
    "--calibration-method",
    type=click.Choice(list(METHODS)),
    default=Int8Config.method,
    show_default=True,
    help="INT8: method that measures the ranges of activations.",
)
@click.option(
    "--seed",
    type=int,
    default=Int8Config.seed,
    show_default=True,
    help="INT8: seed that decides which photos are used for the calibration.",
)
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    default=Target.capabilities,
    help="TensorRT: compute capability of the GPUs to build for, such as SM86. You can repeat this "
    "option. Default: all capabilities that the precision supports. The full TensorRT always "
    "builds for the GPU of this machine.",
)
@click.option(
    "--profile",
    type=(int, int, int),
    default=Target.batches,
    show_default=True,
    help="TensorRT: minimum, optimal and maximum batch size.",
)
@click.option("--no-check", is_flag=True, help="Do not compare the artifacts with the checkpoint.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Number of threads for each runtime in the check and in the timing of INT8, and for the "
    "quantization to INT8. Default: one for each core.",
)
@json_option()
def command(
    checkpoint: Path | None,
    formats: tuple[str, ...],
    precisions: tuple[str, ...],
    batch: int | None,
    out: Path,
    data: Path | None,
    max_mae_delta: float,
    max_p99: float,
    keep_float: tuple[str, ...],
    sensitivity: bool,
    calibration: Path | None,
    detector: Path | None,
    calibration_photos: int,
    calibration_method: str,
    seed: int,
    capabilities: tuple[str, ...],
    profile: tuple[int, int, int],
    no_check: bool,
    threads: int | None,
    as_json: bool,
) -> int:
    """Export CHECKPOINT (default: the one that comes with halnet) to artifacts for deployment.

    An artifact takes aligned uint8 crops and returns ages, deviations and probabilities. It
    contains the normalisation, the softmax, the expectation, the calibration of the intervals and
    its origin. Each artifact is compared with the checkpoint in PyTorch FP32 before it is moved
    into its place. The manifest.json beside the artifacts states hashes, sizes, versions and
    figures. The exit status is 1 if an artifact lies outside the tolerance of its precision. Such
    an artifact is kept as NAME.failed.

    For INT8, the ranges of activations are measured on photos of the validation split or of a
    folder, balanced over ages. Then layers are kept in floating point, the one that shifts ages
    most first, until the model meets the budget. If no INT8 model meets it, nothing is written. If
    other precisions of the same format are in the folder, INT8 is timed with them on this machine,
    and the end of the output says whether INT8 is worth it.
    """
    if data is not None and no_check and "int8" not in precisions:
        raise ConfigError("--data is for the check and for INT8; leave out --data or --no-check")
    int8 = Int8Config(
        photos=calibration,
        detector=detector,
        crops=calibration_photos,
        method=calibration_method,
        seed=seed,
        keep=tuple(name for name in keep_float if name != "none") if keep_float else None,
        budget=Budget(max_mae_delta, max_p99),
        sensitivity=sensitivity,
    )
    if "int8" in precisions:
        int8 = replace(int8, data=data, threads=threads)
    target = Target(profile, capabilities)
    config = ExportConfig(checkpoint, formats, precisions, batch, out, target, int8)
    verify = VerifyConfig(checkpoint, (data,) if data else (), threads=threads)
    check = None if no_check else Verifier(verify)
    artifacts = export(config, check, lambda line: click.echo(line, err=True))
    advice = {} if no_check else advise_int8(artifacts, BenchConfig(runs=ADVICE_RUNS), threads)
    if as_json:
        click.echo(json.dumps([_to_dict(e, advice.get(e.path)) for e in artifacts]))
    else:
        print_artifacts(artifacts, advice)
    return 1 if any(artifact.failed for artifact in artifacts) else 0


def print_artifacts(artifacts: Sequence[Exported], advice: Mapping[Path, Int8Advice]) -> None:
    """Print the table of the artifacts, why some failed or were not checked, and the advice."""
    data = next((artifact.verdict.data for artifact in artifacts if artifact.verdict), "")
    columns = [
        *("artifact", "size, MB", "change\nof MAE", "99th percentile\nof age shift"),
        *("largest\nage shift", f"change of true ages\ninside {LEVEL:.0%} interval", "check"),
    ]
    rows = [
        [artifact.path.name, f"{artifact.size / 1e6:.1f}", *_figures(artifact.verdict)]
        for artifact in artifacts
    ]
    print_table(columns, rows, f"compared with PyTorch FP32 on {data}; in years" if data else "")
    for artifact in artifacts:
        verdict: Any = artifact.verdict
        if artifact.failed:
            click.echo(f"{artifact.path.name}: {'; '.join(verdict.failures)}")
            if verdict.divergence:
                click.echo(f"  first node whose output diverges from FP32: {verdict.divergence}")
        elif artifact.unchecked:
            click.echo(f"{artifact.path.name}: not checked: {artifact.unchecked}")
    click.echo(f"{artifacts[0].manifest} states hashes, versions, and the figures of each decade")
    for path, found in advice.items():
        click.echo(f"{path.name}: {found.advice} ({machine()})")


def _figures(verdict: Any) -> list[str]:
    """Return the cells of a verdict. Changes of MAE and coverage need the true ages."""
    if verdict is None:
        return ["", "", "", "", "not checked"]
    overall = verdict.overall
    known = overall.artifact is not None
    return [
        f"{overall.delta_mae:+.5f}" if known else "",
        f"{overall.p99:.5f}",
        f"{overall.maximum:.5f}",
        f"{overall.delta_coverage:+.2%}" if known else "",
        "passed" if verdict.passed else "FAILED",
    ]


def _to_dict(exported: Exported, advice: Int8Advice | None) -> dict[str, Any]:
    verdict: Any = exported.verdict
    return {
        "path": str(exported.path),
        "format": exported.format,
        "precision": exported.precision,
        "bytes": exported.size,
        "sha256": exported.sha256,
        "manifest": str(exported.manifest),
        "passed": verdict.passed if verdict else None,
        "failures": verdict.failures if verdict else [],
        "unchecked": exported.unchecked,
        "speed": advice.to_dict() if advice else None,
    }
