"""Figures: the colours and the files of the pictures that the library draws with matplotlib.

People with any kind of colour vision can distinguish the colours.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halnet.errors import ConfigError
from halnet.files import replacing
from halnet.packages import import_library

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
    if path.is_dir():
        raise ConfigError(
            f"{path}: expected a file to draw into, found a folder; name a file in it"
        )
    above = next(folder for folder in path.parents if folder.exists())
    if not above.is_dir():
        raise ConfigError(
            f"{path}: expected a file in a folder, found that {above} is a file; name another path"
        )


@contextmanager
def figure(
    path: Path, size: tuple[float, float], theme: Theme, rows: int = 2, columns: int = 2
) -> Iterator[Any]:
    """Yield the axes of a new figure, row by row, and write the figure to `path` at the end.

    `size` is the width and height in inches. The file is written completely or not at all. Raises
    ConfigError as `check_figure` does, and RuntimeUnavailableError if matplotlib is not installed.
    """
    check_figure(path)
    import_library("matplotlib", "drawing a figure", "report").use("Agg")
    from matplotlib import pyplot as plt

    with plt.rc_context(theme.style):
        drawn, axes = plt.subplots(rows, columns, figsize=size, layout="constrained")
        try:
            yield axes.ravel()
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                drawn.savefig(temporary, dpi=120)
        finally:
            plt.close(drawn)
