"""`halnet check`."""

import json
from collections.abc import Generator, Sequence
from pathlib import Path

import click

from halnet.ages import LEGAL_AGE
from halnet.batches import STDIN, open_video
from halnet.checks.check import AgeCheck, CheckOutcome
from halnet.checks.policy import MARGIN
from halnet.commands.options import FiniteRange, detector_option, json_option, runtime_options
from halnet.errors import ConfigError
from halnet.faces.photo_view import PhotoView
from halnet.photos.images import MAX_BYTES, Image
from halnet.photos.photo_files import read_stdin
from halnet.predictor import Predictor
from halnet.result_files import percent_text
from halnet.runtimes.base import RuntimeOptions
from halnet.videos.video import display_name, is_live, is_video

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
    over the photos that can be used. That they show the same person is not checked, and neither is
    that this person was in front of the camera: a picture of an adult passes, unless a presentation
    attack detector of yours refuses it (see Predictor.check in Python).

    The exit status is 0 if the person passes, 1 if the person is referred, 3 if there is no result,
    and 2 for wrong use or a photo that cannot be read.
    """
    for name in photos:
        if is_live(name):
            raise ConfigError(
                f"{display_name(name)}: a check takes photos and video files, found a live source; "
                "record it into a file first"
            )
    with Predictor(
        model,
        runtime=options.runtime,
        device=options.device,
        threads=options.threads,
        detector=detector,
        min_face=min_face,
    ) as predictor:
        result = predictor.check(
            _open_photos(photos, every), legal=legal, challenge=challenge, max_risk=max_risk
        )
    click.echo(json.dumps(result.to_dict()) if as_json else describe_check(result))
    return STATUS[result.outcome]


def _open_photos(names: Sequence[str], every: float) -> Generator[Path | PhotoView | Image]:
    """Yield each photo, and each frame of a video. Raises ImageError if one cannot be read."""
    for name in names:
        if is_video(name):
            with open_video(name, every) as video:
                for frame in video:
                    yield frame.image
        elif Path(name) == STDIN:
            yield PhotoView(read_stdin(MAX_BYTES + 1), name="standard input")
        else:
            yield Path(name)


def describe_check(check: AgeCheck) -> str:
    """Return the result of a check as one line."""
    outcome = check.outcome.value.replace("_", " ")
    if check.age is None or check.interval is None or check.probability is None:
        return f"{outcome}: {check.reason}"
    low, high = check.interval
    text = (
        f"{outcome}: {check.age:.1f} years, {check.level:.0%} interval {low:.1f} to {high:.1f}, "
        f"{check.policy.legal} or older: {percent_text(check.probability)}, "
        f"challenge age {check.policy.challenge}"
    )
    return f"{text}. {check.reason}" if check.reason else text
