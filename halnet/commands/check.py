"""`halnet check`."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from halnet.ages import LEGAL_AGE
from halnet.batches import STDIN
from halnet.checks.check import AgeCheck, CheckOutcome, count_text
from halnet.checks.policy import MARGIN
from halnet.commands.options import FiniteRange, detector_option, json_option, runtime_options
from halnet.errors import ConfigError
from halnet.faces.photo_view import PhotoView
from halnet.photos.images import MAX_BYTES
from halnet.photos.photo_files import read_stdin
from halnet.predictor import Predictor
from halnet.result_files import percent_text
from halnet.runtimes.base import RuntimeOptions

STATUS = {CheckOutcome.PASS: 0, CheckOutcome.REFER: 1, CheckOutcome.NO_RESULT: 3}


@click.command("check")
@click.argument("photos", metavar="PHOTOS...", nargs=-1, required=True)
@click.option(
    "--legal",
    type=int,
    default=LEGAL_AGE,
    show_default=True,
    help="Legal age in years: the check asks whether the person is as old as that.",
)
@click.option(
    "--challenge",
    type=int,
    help="Challenge age in years: who looks as old as that or older passes. Default: "
    f"{MARGIN} years above the legal age.",
)
@click.option(
    "--max-risk",
    type=float,
    help="Choose the smallest challenge age at which the risk that a minor passes is at most this "
    "share, such as 0.05, as measured with the calibration photos of the model.",
)
@click.option("--model", type=Path, help="Model file. Default: the one that comes with halnet.")
@runtime_options("runtime", "device", "threads")
@detector_option()
@click.option(
    "--min-face",
    type=FiniteRange(0),
    default=0.0,
    show_default=True,
    help="Leave out faces that are narrower than this, in pixels, such as those of people in the "
    "background.",
)
@click.option(
    "--every",
    type=FiniteRange(0),
    default=0.0,
    help="For videos: seconds from one frame that is used to the next. Default: every frame.",
)
@json_option("Print the audit record of the check as JSON. It holds no picture.")
def command(
    photos: tuple[str, ...],
    legal: int,
    challenge: int | None,
    max_risk: float | None,
    model: Path | None,
    options: RuntimeOptions,
    detector: Path | None,
    min_face: float,
    every: float,
    as_json: bool,
) -> int:
    """Check whether the person in PHOTOS looks clearly as old as a legal age.

    Who looks as old as the challenge age or older passes. Everybody else is referred: the age has
    to be verified in another way, such as by a document. There is no result if the photo shows no
    face or several, or if the quality of the face is too low.

    Several photos are of one person, and so are the frames of a video file. Their ages are averaged
    over the photos that can be used. There is no result if fewer than half of the photos with a
    face can be used, if more than a tenth of them show several faces, or if the ages differ more
    than those of one person do. Two people of a similar age are not told apart. Whether the person
    was in front of the camera is not checked: a picture of an adult passes, unless a presentation
    attack detector of yours refuses it (see Predictor.check in Python).

    The exit status is 0 if the person passes, 1 if the person is referred, 3 if there is no result,
    and 2 for wrong use or a photo that cannot be read.
    """
    named = _read_stdin(photos)
    with Predictor(
        model,
        runtime=options.runtime,
        device=options.device,
        threads=options.threads,
        detector=detector,
        min_face=min_face,
    ) as predictor:
        result = predictor.check(
            named, legal=legal, challenge=challenge, max_risk=max_risk, every=every
        )
    click.echo(json.dumps(result.to_dict()) if as_json else describe_check(result))
    return STATUS[result.outcome]


def _read_stdin(names: Sequence[str]) -> list[str | PhotoView]:
    """Return the names, with the photo on standard input in place of "-".

    Raises ConfigError if it is named twice, and ImageError if it cannot be read.
    """
    if sum(Path(name) == STDIN for name in names) > 1:
        raise ConfigError(
            '"-": expected one photo from standard input, found that it is named twice; name it '
            "once"
        )
    return [
        PhotoView(read_stdin(MAX_BYTES + 1), "standard input") if Path(name) == STDIN else name
        for name in names
    ]


def describe_check(check: AgeCheck) -> str:
    """Return the result of a check as one line."""
    outcome = check.outcome.value.replace("_", " ")
    if check.age is None or check.interval is None or check.probability is None:
        return f"{outcome}: {check.reason}"
    low, high = check.interval
    text = (
        f"{outcome}: {check.age:.2f} years, {check.level:.0%} interval {low:.1f} to {high:.1f}, "
        f"{check.policy.legal} or older: {percent_text(check.probability)}, "
        f"challenge age {check.policy.challenge}"
    )
    counts = ""
    if check.total > 1:
        why = f" ({count_text(check.unused)})" if check.unused else ""
        counts = f"{check.photos} of {check.total} photos were used{why}."
    after = " ".join(filter(None, (check.reason, counts)))
    return f"{text}. {after}" if after else text
