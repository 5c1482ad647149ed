"""Plot of how far quantizing each layer alone shifts predicted ages."""

from collections.abc import Sequence
from pathlib import Path

from halnet.evaluation.figures import LIGHT, Theme, figure

MAX_LAYERS = 30  # layers that the picture has room for


def plot_sensitivity(
    layers: Sequence[tuple[str, str, float]],
    roles: Sequence[str],
    path: Path,
    theme: Theme = LIGHT,
) -> None:
    """Draw how far quantizing each layer alone shifts ages, and the sums over each role.

    `layers` are (name, role, mean age shift in years), the largest shift first. The suffix of
    `path` decides the kind of file. Raises ConfigError for a suffix that is not supported.
    """
    colours = dict(zip(roles, theme.palette, strict=True))
    with figure(path, (10, 6.4), theme, rows=1) as (single, sums):
        shown, rest = layers[:MAX_LAYERS], layers[MAX_LAYERS:]
        names = [name for name, _, _ in shown]
        bars = [colours[role] for _, role, _ in shown]
        single.barh(names, [mean for _, _, mean in shown], color=bars)
        single.invert_yaxis()
        single.tick_params(axis="y", labelsize=7)
        title = "One layer in INT8 at a time"
        if rest:
            total = sum(mean for _, _, mean in rest)
            title += f" ({len(rest)} more layers: {total:.2f} years in total)"
        single.set(xlabel="mean age shift, years", title=title)
        totals = {role: sum(mean for _, own, mean in layers if own == role) for role in roles}
        sums.barh(list(totals), list(totals.values()), color=[colours[role] for role in totals])
        sums.invert_yaxis()
        sums.set(xlabel="sum of mean age shifts, years", title="Sum over the layers of each role")
