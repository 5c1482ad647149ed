"""Figures: the colours and the files of the pictures that the library draws with matplotlib.

People with any kind of colour vision can distinguish the colours.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halnet.errors import ConfigError
from halnet.files import replacing
from halnet.packages import import_library
from halnet.placing import check_target

SUFFIXES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Theme:
    """The colours of a picture. Data is drawn in colours of Okabe and Ito."""

    paper: str  # background
    ink: str  # text and axes
    gray: str  # reference lines
    blue: str
    orange: str

    @property
    def palette(self) -> tuple[str, ...]:
        """Seven colours, for bars of different groups."""
        return (self.blue, self.orange, "#009E73", "#CC79A7", "#F0E442", "#8C6D31", self.gray)

    @property
    def style(self) -> dict[Any, Any]:
        """Settings for matplotlib."""
        names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
        return {
            **dict.fromkeys(names, self.ink),
            "figure.facecolor": self.paper,
            "axes.facecolor": self.paper,
            "savefig.facecolor": self.paper,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
            "font.size": 10,
        }


LIGHT = Theme("white", "#1A1A1A", "#767676", "#0072B2", "#D55E00")
DARK = Theme("#0E1117", "#E6E6E6", "#9A9A9A", "#56B4E9", "#E69F00")


def check_figure(path: Path) -> None:
    """Raise ConfigError unless the name ends in .png, .svg or .pdf, and the file can be written."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"{path}: expected a file name that ends in one of {', '.join(SUFFIXES)}, found "
            f"{path.suffix or 'no suffix'}"
        )
    check_target(path)


@contextmanager
def figure(
    path: Path, size: tuple[float, float], theme: Theme, rows: int = 2, columns: int = 2
) -> Iterator[Any]:
    """Yield the axes of a new figure, row by row, and write the figure to `path` at the end.

    `size` is the width and height in inches. The file is written completely or not at all. Raises
    ConfigError as `check_figure` does, and RuntimeUnavailableError if matplotlib is not installed.

    The figure does not depend on the user's settings for matplotlib, and leaves them and the
    backend of the program as they are.
    """
    check_figure(path)
    import_matplotlib("drawing a figure")
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", theme.style]):
        drawn = Figure(size, layout="constrained")
        yield drawn.subplots(rows, columns, squeeze=False).ravel()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            drawn.savefig(temporary, dpi=120)


def import_matplotlib(what: str) -> None:
    """Import matplotlib; `what` needs it.

    Raises RuntimeUnavailableError if it is not installed, and ConfigError if MPLBACKEND names a
    backend that does not exist here, which is an error of the import.
    """
    try:
        import_library("matplotlib", what, "report")
    except ValueError as error:
        raise ConfigError(
            f"{what}: matplotlib cannot be imported, because the environment variable MPLBACKEND "
            f"names no backend of this installation: {os.environ.get('MPLBACKEND')}; unset it"
        ) from error
