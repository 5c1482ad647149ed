"""Plot of the profile of a model."""

from itertools import chain, repeat
from pathlib import Path

from halnet.benchmarks.layer_profile.times import WORST, LayerProfile
from halnet.evaluation.figures import LIGHT, Theme, figure


def plot_profile(profile: LayerProfile, path: Path, theme: Theme = LIGHT) -> None:
    """Draw the times of the worst nodes, and of all kinds of nodes, as horizontal bars.

    The suffix of `path` decides the kind of file. Raises ConfigError for a suffix that is not
    supported, and RuntimeUnavailableError if matplotlib is not installed.
    """
    kinds = list(dict.fromkeys(kind.operator for kind in profile.kinds))
    colours = dict(zip(kinds, chain(theme.palette, repeat(theme.gray)), strict=False))
    with figure(path, (12, 6.4), theme, rows=1) as (worst, sums):
        names, times, operators = zip(*profile.bars(), strict=True)
        worst.barh(names, times, color=[colours.get(name, theme.gray) for name in operators])
        worst.set(xlabel="milliseconds", title=f"The {WORST} slowest nodes, and the others")
        labels = [f"{kind.operator} {kind.kernel} ({kind.nodes})" for kind in profile.kinds]
        bars = [kind.milliseconds for kind in profile.kinds]
        sums.barh(labels, bars, color=[colours[kind.operator] for kind in profile.kinds])
        sums.set(xlabel="milliseconds", title="Operators, kernels (number of nodes)")
        for axes in (worst, sums):
            axes.invert_yaxis()
            axes.tick_params(axis="y", labelsize=7)
