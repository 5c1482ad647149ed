"""`halnet export` and `halnet-export`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from halnet.ages import LEVEL
from halnet.benchmarks.advice import Int8Advice, advise_int8
from halnet.benchmarks.machine import machine
from halnet.benchmarks.parity import Verifier, VerifyConfig
from halnet.benchmarks.timing.speed import BenchConfig
from halnet.calibration.budget import MIN_SET, Budget
from halnet.calibration.methods import METHODS
from halnet.commands.options import (
    CommandWithOldNames,
    detector_option,
    join_names,
    json_option,
)
from halnet.commands.output import print_table
from halnet.commands.verify import name_errors
from halnet.errors import ConfigError
from halnet.evaluation.parity import Comparison
from halnet.export import ExportConfig, Exported, export
from halnet.export.config import OPSETS, Int8Config, Target, needs_crops
from halnet.export.formats import FORMATS, PRECISIONS
from halnet.export.golden import GoldenConfig, WrittenGolden, write_golden
from halnet.export.litert_forms import FORMS
from halnet.export.onnxruntime_web import VARIABLE
from halnet.export.repository import SERVERS, WrittenRepository, write_repository
from halnet.packages import import_library
from halnet.runtimes.compiler_form import INPUTS

FORM_WORDS = join_names([f"{name} ({form.words})" for name, form in FORMS.items()])
ADVICE_RUNS = 100  # timed runs of each precision
# The options that export nothing, and the parameters that may be named together with each.
INSTEAD = {
    "golden": ("checkpoint", "golden", "photos", "detector", "threads", "as_json"),
    "sidecar": ("checkpoint", "sidecar", "profile"),
    "repository": ("checkpoint", "repository", "out", "as_json"),
}


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
    "--for-compiler",
    is_flag=True,
    help="ONNX: write a file for the compiler of a vendor of NPUs, such as Hailo or Rockchip, in "
    "place of the usual one (see docs/compilers.md): with a fixed batch size (default: 1), and "
    "with logits as its output. Crops to quantize it with are written beside it. The same as "
    "--format compiler.",
)
@click.option(
    "--opset",
    type=int,
    default=Target.opset,
    show_default=True,
    help=f"Compilers: opset of the ONNX file, from {OPSETS[0]} to {OPSETS[-1]}.",
)
@click.option(
    "--compiler-input",
    type=click.Choice(list(INPUTS)),
    default=Target.input,
    show_default=True,
    help="Compilers: type and layout of the input. Pixels of float32 must be normalised "
    "before; the sidecar states the constants. Pixels of uint8 are normalised in the graph.",
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
    help="Folder for the artifacts, or with --repository for the repository.",
)
@click.option(
    "--data",
    type=Path,
    multiple=True,
    help="Folder of a prepared dataset, which halnet prepare wrote. Name several datasets by "
    "repeating the option. Artifacts are checked on their test splits; without INT8, on all photos "
    "of a dataset that the checkpoint was not trained on. INT8 is calibrated on their validation "
    "splits. Default: artifacts are checked on crops of a portrait that comes with halnet, and "
    "INT8 is calibrated on crops that are made from the checkpoint.",
)
@click.option(
    "--max-mae-delta",
    default=Budget.mae,
    show_default=True,
    help="INT8: layers are kept in floating point until the validation MAE changes by at most this "
    "many years. Of a photo whose label is a range of ages, the error is the distance to the "
    "range.",
)
@click.option(
    "--max-p99",
    default=Budget.p99,
    show_default=True,
    help="INT8: layers are kept in floating point until 99 % of the validation ages shift by at "
    "most this many years. With several datasets, the limits on MAE and ages hold for their photos "
    f"together, and for each dataset with at least {MIN_SET} validation photos.",
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
    help="INT8: folder of photos, or a pattern such as 'photos/*.jpg'. The ranges of activations "
    "are measured on their faces. Copies of the test photos of --data are left out. Default: the "
    "validation splits of --data, or crops that are made from the checkpoint.",
)
@detector_option("the photos of --calibration and of --golden, and on the page of --format web")
@click.option(
    "--calibration-photos",
    type=int,
    default=Int8Config.crops,
    show_default=True,
    help="INT8: largest number of photos on which ranges are measured, of --calibration or of all "
    "--data together.",
)
@click.option(
    "--weight-bits",
    type=click.Choice(["7", "8"]),
    default=str(Int8Config.weight_bits),
    show_default=True,
    help="INT8: number of bits of the weights, for ONNX and OpenVINO. Models with 7 bits run on "
    "any processor. With 8 bits, fewer layers stay in floating point, so that the model is faster, "
    "but it runs on x86 processors with VNNI and on Arm alone.",
)
@click.option(
    "--litert-form",
    type=click.Choice(list(FORMS)),
    help=f"INT8: form of the model, for LiteRT: {FORM_WORDS}. Default: all forms are measured, and "
    "the fastest one is taken that can meet the budget.",
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
@click.option(
    "--onnxruntime-web",
    type=Path,
    metavar="FOLDER",
    help="Web: folder of onnxruntime-web, which is a package of npm, or one into which npm "
    f"installed it. Default: the folder that {VARIABLE} names, or else the package is downloaded "
    "once.",
)
@click.option("--no-check", is_flag=True, help="Do not compare the artifacts with the checkpoint.")
@click.option(
    "--golden",
    type=Path,
    metavar="DIR",
    help="Export nothing. Write golden vectors into this folder instead: each step of the way from "
    "photos to ages, as files with which an implementation in another language is tested (see "
    "docs/specification.md). CHECKPOINT may then be any model file in FP32.",
)
@click.option(
    "--photo",
    "photos",
    type=Path,
    multiple=True,
    help="Photo for --golden. You can repeat this option. Default: the portrait that comes with "
    "halnet.",
)
@click.option(
    "--sidecar",
    type=Path,
    metavar="ENGINE",
    help="Export nothing. Write the sidecar of a TensorRT engine that trtexec built on this "
    "machine from CHECKPOINT, which is an ONNX artifact then (see docs/tensorrt.md). The batch "
    "sizes that it was built for are those of --profile.",
)
@click.option(
    "--repository",
    metavar="SERVER",
    help="Export nothing. Copy the artifacts of the folder that is named in the place of "
    "CHECKPOINT into a new folder, --out, which a model server can serve: "
    f"{join_names(f'{name} ({server.title})' for name, server in SERVERS.items())}.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Number of threads for each runtime in the check and in the timing of INT8, and for the "
    "quantization to INT8. Default: one for each core.",
)
@json_option()
@click.pass_context
def command(
    ctx: click.Context,
    checkpoint: Path | None,
    formats: tuple[str, ...],
    for_compiler: bool,
    opset: int,
    compiler_input: str,
    precisions: tuple[str, ...],
    batch: int | None,
    out: Path,
    data: tuple[Path, ...],
    max_mae_delta: float,
    max_p99: float,
    keep_float: tuple[str, ...],
    sensitivity: bool,
    calibration: Path | None,
    detector: Path | None,
    calibration_photos: int,
    weight_bits: str,
    litert_form: str | None,
    calibration_method: str,
    seed: int,
    capabilities: tuple[str, ...],
    profile: tuple[int, int, int],
    onnxruntime_web: Path | None,
    no_check: bool,
    golden: Path | None,
    photos: tuple[Path, ...],
    sidecar: Path | None,
    repository: str | None,
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

    With several datasets, the errors and the ages of each dataset are checked, and the interval
    coverage of all of them together. For labels that are ranges of ages, the distance to the range
    is checked in place of the MAE.

    For INT8, the ranges of activations are measured on photos of the validation splits or of a
    folder, balanced over ages. Then layers are kept in floating point, from the input of the
    network on, until the model meets the budget. If many layers would have to be kept, those that
    shift ages most are kept instead, if that is faster. If no INT8 model meets it, nothing is
    written. If other precisions of the same format are in the folder, INT8 is timed with them on
    this machine, and the end of the output says whether INT8 is worth it.

    How many photos each of several datasets gives for the ranges: the groups of one sex and one
    decade of age give photos in turns, and in each group, the datasets give photos in turns, until
    they have no more. Of several datasets, photos are left out that are copies of a test photo of
    another dataset, or that the checkpoint was trained on.
    """
    if golden is not None:
        _check_alone(ctx, "golden")
        _write_golden(GoldenConfig(golden, checkpoint, photos, detector, threads), as_json)
        return 0
    if sidecar is not None:
        _check_alone(ctx, "sidecar")
        click.echo(_write_sidecar(sidecar, checkpoint, profile))
        return 0
    if repository is not None:
        _check_alone(ctx, "repository")
        _write_repository(repository, checkpoint, out if _is_given(ctx, "out") else None, as_json)
        return 0
    formats = _for_compiler(formats) if for_compiler else formats
    has_crops = needs_crops(formats, precisions)
    _check_options(ctx, formats, has_crops)
    has_page = "web" in formats
    int8 = Int8Config(
        photos=calibration,
        # YuNet may be named for the page alone.
        detector=None if has_page and calibration is None else detector,
        crops=calibration_photos,
        weight_bits=int(weight_bits),
        form=litert_form,
        method=calibration_method,
        seed=seed,
        keep=_keep(keep_float),
        budget=Budget(max_mae_delta, max_p99),
        sensitivity=sensitivity,
    )
    if has_crops:
        int8 = replace(int8, data=data)
    if "int8" in precisions:
        int8 = replace(int8, threads=threads)
    target = Target(
        profile,
        capabilities,
        opset,
        compiler_input,
        detector if has_page else None,
        onnxruntime_web,
    )
    config = ExportConfig(checkpoint, formats, precisions, batch, out, target, int8)
    check = None
    if not no_check:
        only_split = "int8" in precisions
        check = Verifier(VerifyConfig(checkpoint, data, only_split=only_split, threads=threads))
        if data:  # photos that cannot be used are found before the work
            import_library("torch", "halnet export", "export")
            check.prepare()
    artifacts = export(config, check, lambda line: click.echo(line, err=True))
    advice = {} if no_check else advise_int8(artifacts, BenchConfig(runs=ADVICE_RUNS), threads)
    if as_json:
        click.echo(json.dumps([_to_dict(e, advice.get(e.path)) for e in artifacts]))
    else:
        print_artifacts(artifacts, advice)
    return 1 if any(artifact.failed for artifact in artifacts) else 0


def _for_compiler(formats: tuple[str, ...]) -> tuple[str, ...]:
    """Return the formats with `compiler` in the place of `onnx`."""
    if not {"onnx", "compiler"} & set(formats):
        raise ConfigError(
            f"--for-compiler: expected --format onnx, found {', '.join(formats)}; name it, or "
            "leave out --for-compiler"
        )
    return tuple("compiler" if name == "onnx" else name for name in formats)


def _check_alone(ctx: click.Context, option: str) -> None:
    """Raise ConfigError for an option of the export, beside an option in `INSTEAD`."""
    for parameter in ctx.command.params:
        name = parameter.name or ""
        if name not in INSTEAD[option] and _is_given(ctx, name):
            raise ConfigError(
                f"{parameter.opts[0]} cannot be used with --{option}, which exports nothing; leave "
                "out one of them"
            )


def _check_options(ctx: click.Context, formats: Sequence[str], has_crops: bool) -> None:
    """Raise ConfigError for options of an export that contradict each other."""
    values = ctx.params
    if values["photos"]:
        raise ConfigError("--photo is for --golden; name a folder with --golden, or leave it out")
    if values["data"] and values["no_check"] and not has_crops:
        raise ConfigError(
            "--data is for the check, for INT8 and for compilers; leave out --data or --no-check"
        )
    for name in formats:
        has_fixed_batch = name in FORMATS and FORMATS[name].batch is not None
        if has_fixed_batch and values["batch"] is None and _is_given(ctx, "batch"):
            raise ConfigError(
                f"--batch dynamic: expected a number for --format {name}, which has a fixed batch "
                "size; name one, or leave out --batch"
            )


def _write_sidecar(engine: Path, model: Path | None, batches: tuple[int, int, int]) -> Path:
    """Write the sidecar of an engine, and return its path."""
    if model is None:
        raise ConfigError(
            "--sidecar: expected the ONNX file that the engine was built from, found none; name "
            f"it: halnet export halnet.onnx --sidecar {engine}"
        )
    import_library("onnx", "halnet export --sidecar", "export")
    from halnet.export.engine_sidecar import SidecarConfig, write_sidecar

    return write_sidecar(SidecarConfig(engine, model, Target(batches).batches))


def _write_golden(config: GoldenConfig, as_json: bool) -> None:
    """Write golden vectors, and print what they are."""
    written = write_golden(config, lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps(written.to_dict()))
    else:
        _print_golden(written)


def _is_given(ctx: click.Context, name: str) -> bool:
    """Return whether the command line has a parameter."""
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _write_repository(server: str, artifacts: Path | None, out: Path | None, as_json: bool) -> None:
    """Write a model repository, and print what it contains."""
    if artifacts is None or out is None:
        raise ConfigError(
            f"--repository {server}: expected a folder of artifacts and --out with a new folder, "
            f"such as halnet export --repository {server} deploy --out models"
        )
    made = write_repository(server, artifacts, out, lambda line: click.echo(line, err=True))
    click.echo(json.dumps(made.to_dict()) if as_json else _describe_repository(made))


def _describe_repository(made: WrittenRepository) -> str:
    """Return what a repository contains, in words."""
    return (
        f"{made.folder}: a repository for {SERVERS[made.server].title} with the models "
        f"{', '.join(made.models)}; its README.md states how to start the server"
    )


def _print_golden(written: WrittenGolden) -> None:
    """Print the table of the photos, and where the golden vectors are."""
    rows = [
        [photo.name, ", ".join(f"{age:.2f}" for age in photo.ages), _yes_or_no(photo.needs_turning)]
        for photo in written.photos
    ]
    print_table(
        ["photo", "ages of its faces,\nlargest face first", "way up\nwas searched"],
        rows,
        f"golden vectors of {written.model}; in years",
    )
    click.echo(f"{written.folder}: {written.bytes / 1e6:.2f} MB of golden vectors")


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


def _keep(names: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the layers of --keep-float; None if the option is not used."""
    if "none" in names and len(set(names)) > 1:
        raise ConfigError(
            f"--keep-float: expected none or names of layers, found both: {', '.join(names)}; "
            "leave out none"
        )
    return tuple(name for name in names if name != "none") if names else None


def print_artifacts(artifacts: Sequence[Exported], advice: Mapping[Path, Int8Advice]) -> None:
    """Print the table of the artifacts, why some failed or were not checked, and the advice."""
    verdicts: list[Any] = [artifact.verdict for artifact in artifacts if artifact.verdict]
    data = verdicts[0].data if verdicts else ""
    columns = [
        *("artifact", "size, MB", f"change\nof {name_errors(verdicts)}"),
        *("99th percentile\nof age shift", "largest\nage shift"),
        *(f"change of true ages\ninside {LEVEL:.0%} interval", "check"),
    ]
    rows = [row for artifact in artifacts for row in _rows(artifact)]
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


def _rows(exported: Exported) -> list[list[str]]:
    """Return the row of an artifact and, with several datasets, a row for each of them.

    The coverage is judged over all datasets, the other figures in each.
    """
    start = [exported.path.name, f"{exported.size / 1e6:.1f}"]
    verdict: Any = exported.verdict
    if verdict is None:
        return [[*start, "", "", "", "", "not checked"]]
    result = "passed" if verdict.passed else "FAILED"
    if not verdict.by_set:
        return [[*start, *_figures(verdict.overall), result]]
    rows = [[*start, "", "", "", f"{verdict.delta_coverage:+.2%}", result]]
    for name, part in verdict.by_set.items():
        rows.append([f"  {name}, {part.count} photos", "", *_figures(part), ""])
    return rows


def _figures(part: Comparison) -> list[str]:
    """Return the cells of a comparison. Changes of errors and coverage need the true ages."""
    known = part.artifact is not None
    return [
        f"{part.delta_mae:+.5f}" if known else "",
        f"{part.p99:.5f}",
        f"{part.maximum:.5f}",
        f"{part.delta_coverage:+.2%}" if known else "",
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
