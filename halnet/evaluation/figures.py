"""Figures: themes and files of the pictures that the library draws with matplotlib.

The colours can be told apart by all colour vision, on light and on dark paper.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halnet.errors import ConfigError
from halnet.files import replacing

SUFFIXES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Theme:
    """The colours of a picture. Those of data are of Okabe and Ito."""

    paper: str
    ink: str
    gray: str  # lines that help to read
    blue: str
    orange: str

    @property
    def roles(self) -> tuple[str, ...]:
        """One colour each for the roles of layers."""
        return (self.blue, self.orange, "#009E73", "#CC79A7", "#F0E442", "#8C6D31", self.gray)

    @property
    def style(self) -> dict[Any, Any]:
        """What matplotlib is told."""
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
    """Raise ConfigError for a file name that no picture can be written to."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"{path}: expected one of {', '.join(SUFFIXES)}, found {path.suffix or 'no suffix'}"
        )


@contextmanager
def figure(path: Path, size: tuple[float, float], theme: Theme, rows: int = 2) -> Iterator[Any]:
    """Yield a figure's axes, two a row; it is written to `path` afterwards, whole or not at all."""
    check_figure(path)
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with plt.rc_context(theme.style):
        drawn, axes = plt.subplots(rows, 2, figsize=size, layout="constrained")
        try:
            yield axes.ravel()
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                drawn.savefig(temporary, dpi=120)
        finally:
            plt.close(drawn)
