from pathlib import Path

import pytest

from halnet.calibration.layers import ROLES
from halnet.errors import ConfigError
from halnet.export.plots import MAX_LAYERS, plot_sensitivity

LAYERS = [(f"features.{i}", ROLES[i % 7], 1 / (i + 1)) for i in range(40)]


def test_the_picture_shows_the_most_sensitive_layers_and_all_roles(tmp_path: Path) -> None:
    path = tmp_path / "sensitivity.svg"
    plot_sensitivity(LAYERS, ROLES, path)
    text = path.read_text()  # an SVG file contains every text of the picture as a comment
    assert all(f"<!-- {name} -->" in text for name, _, _ in LAYERS[:MAX_LAYERS])
    assert f"<!-- features.{MAX_LAYERS} -->" not in text
    rest = sum(mean for _, _, mean in LAYERS[MAX_LAYERS:])
    assert f"(10 more layers: {rest:.2f} years in total)" in text
    assert all(f"<!-- {role} -->" in text for role in ROLES)


def test_a_short_ranking_is_shown_in_full(tmp_path: Path) -> None:
    path = tmp_path / "sensitivity.svg"
    plot_sensitivity(LAYERS[:5], ROLES, path)
    assert "<!-- One layer in INT8 at a time -->" in path.read_text()


def test_an_unknown_kind_of_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found .gif"):
        plot_sensitivity(LAYERS, ROLES, tmp_path / "sensitivity.gif")
