"""Plot of how far the quantization of each layer alone shifts predicted ages."""

from collections.abc import Sequence
from pathlib import Path

from halnet.evaluation.figures import LIGHT, Theme, figure

MAX_LAYERS = 30  # that a picture has room to name


def plot_sensitivity(
    layers: Sequence[tuple[str, str, float]],
    roles: Sequence[str],
    path: Path,
    theme: Theme = LIGHT,
) -> None:
    """Draw what quantizing each layer alone does to single ages, and the sums by role.

    `layers` are (name, role, mean of abs(delta age) in years), the largest first.
    """
    colours = dict(zip(roles, theme.roles, strict=True))
    with figure(path, (10, 6.4), theme, rows=1) as (each, groups):
        shown = layers[:MAX_LAYERS]
        names = [name for name, _, _ in shown]
        each.barh(names, [mean for _, _, mean in shown], color=[colours[r] for _, r, _ in shown])
        each.invert_yaxis()
        each.tick_params(axis="y", labelsize=7)
        each.set(xlabel="mean of abs(delta age), years")
        rest = sum(mean for _, _, mean in layers[MAX_LAYERS:])
        each.set_title(
            f"One layer in INT8 at a time; {len(layers) - len(shown)} more add up to {rest:.2f}"
            if len(layers) > len(shown)
            else "One layer in INT8 at a time"
        )
        sums = {role: sum(m for _, r, m in layers if r == role) for role in roles}
        groups.barh(list(sums), list(sums.values()), color=[colours[role] for role in sums])
        groups.invert_yaxis()
        groups.set(xlabel="sum over its layers, years", title="Sum over the layers of a role")
