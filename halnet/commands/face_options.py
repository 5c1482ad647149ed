"""Options of the commands that predict the faces of photos: which faces, and what is stated."""

from collections.abc import Callable
from typing import Any

import click

from halnet.ages import AGE_MAX, AGE_MIN
from halnet.batches import FaceSelection
from halnet.commands.options import FiniteRange
from halnet.prediction_run import PredictConfig

min_face_option = click.option(
    "--min-face",
    type=FiniteRange(0),
    default=PredictConfig.min_face,
    show_default=True,
    help="Leave out faces that are narrower than this, in pixels.",
)
_OPTIONS = (
    click.option(
        "--faces",
        type=click.Choice(["all", "largest"]),
        default="all",
        show_default=True,
        help="Which faces of each photo are predicted.",
    ),
    min_face_option,
    click.option(
        "--level",
        type=FiniteRange(),  # the bounds are those of the model
        default=FaceSelection.level,
        show_default=True,
        help="Interval coverage, for example 0.9.",
    ),
    click.option(
        "--at-least",
        type=click.IntRange(AGE_MIN, AGE_MAX),
        multiple=True,
        help="Age in years, such as 18: also give the calibrated probability that a person is as "
        "old as that or older. Name several ages by repeating the option.",
    ),
)


def face_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --faces, --min-face, --level and --at-least to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
