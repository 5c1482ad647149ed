"""`halnet report`."""

import shlex
from pathlib import Path

import click

from halnet.artifact import CHECKPOINTS
from halnet.audit.measure import make_report
from halnet.audit.report import read_earlier
from halnet.audit.report_files import FILES, check_report_folder, write_report
from halnet.commands.options import detector_option, join_names, runtime_options, split_option
from halnet.commands.output import progress
from halnet.evaluation.accuracy import EvaluateConfig
from halnet.runtimes.base import RuntimeOptions


@click.command("report")
@click.argument("model", type=Path, required=False)
@click.option(
    "--data",
    type=Path,
    required=True,
    multiple=True,
    help="Folder of a prepared dataset, which halnet prepare wrote. Name several datasets by "
    "repeating the option.",
)
@split_option
@click.option(
    "--photos",
    type=Path,
    multiple=True,
    help="Folder of the original dataset. Start from its photos, with face detection, instead of "
    "the prepared crops, and report how often no face or several are found. With several datasets, "
    "repeat the option in the order of --data.",
)
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=EvaluateConfig.limit,
    help="Use this many photos of each dataset, spread evenly. Default: all photos.",
)
@click.option(
    "--checkpoint",
    type=Path,
    help="Checkpoint from which MODEL was exported: a path, or the name of one that comes with "
    f"halnet ({join_names(CHECKPOINTS)}). It states which photos MODEL was trained on. "
    "Default: MODEL itself or the checkpoint that comes with halnet, if it is the right one.",
)
@runtime_options("runtime", "device", "threads")
@detector_option("the photos of --photos")
@click.option(
    "--out",
    type=Path,
    required=True,
    help=f"Write {join_names(FILES, 'and')} into this folder, which is made if it does not exist.",
)
@click.option(
    "--against",
    type=Path,
    help="File report.json of an earlier report. The new report then begins with what is better or "
    "worse than in the earlier one, beyond chance.",
)
def command(
    model: Path | None,
    data: tuple[Path, ...],
    split: str,
    photos: tuple[Path, ...],
    limit: int,
    checkpoint: Path | None,
    options: RuntimeOptions,
    detector: Path | None,
    out: Path,
    against: Path | None,
) -> None:
    """Write a report on MODEL (default: the bundled one) for those who must judge an age check.

    The report is one page of HTML, which needs no network, and one JSON file with the same figures,
    of which halnet/audit/report.schema.json is the JSON Schema. It states what was tested; the
    errors and intervals by age, sex, dataset and group; whom checks at 13, 16, 18 and 21 years let
    through and refer, by challenge age and single year of age; whether stated probabilities come
    true; differences between groups; and how often a check gives no result, why and for whom.

    Every figure has its 95 % interval. Nothing is stated for groups with few photos. The page
    begins with what was not tested. The photos are chosen as in halnet evaluate.
    """
    check_report_folder(out)
    earlier = read_earlier(against) if against else None
    config = EvaluateConfig(data, model, split, photos, limit, False, options, detector, checkpoint)
    with progress("faces") as on_progress:
        report = make_report(config, _command_line(config, out, against), earlier, on_progress)
    write_report(out, report)
    click.echo(f"{out / FILES[0]}")


def _command_line(config: EvaluateConfig, out: Path, against: Path | None) -> str:
    """Return the command line that makes the same report."""
    options = config.options
    words = ["halnet", "report", *([str(config.model)] if config.model else [])]
    for name, values in (
        ("data", config.data),
        ("photos", config.photos),
        ("split", [config.split]),
        ("limit", [config.limit] if config.limit else []),
        ("checkpoint", [config.checkpoint] if config.checkpoint else []),
        ("runtime", [options.runtime]),
        ("device", [options.device]),
        ("threads", [options.threads] if options.threads else []),
        ("detector", [config.detector] if config.detector else []),
        ("out", [out]),
        ("against", [against] if against else []),
    ):
        for value in values:
            words += [f"--{name}", str(value)]
    return shlex.join(words)
