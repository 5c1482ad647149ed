from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.errors import ConfigError
from halnet.evaluation.figures import DARK, LIGHT
from halnet.evaluation.plots import plot_evaluation
from halnet.evaluation.predictions import Predictions
from halnet.export.plots import plot_sensitivity
from halnet.training.plots import plot_training
from halnet.training.training_log import COLUMNS


def test_an_evaluation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = rng.uniform(2, 80, 200)
    age = label + rng.normal(0, 5, 200)
    said = Predictions(
        ("",) * 200, ("",) * 200, label, age, age * 0 + 5, age - 8, age + 8, rng.random(200)
    )
    path = tmp_path / "new" / "evaluation.png"
    plot_evaluation(said, path)
    image = cv2.imread(str(path))
    assert image.shape[:2] == (960, 1260)
    blue = image[:, :, 0].astype(int) - image[:, :, 2] > 40
    for part in np.array_split(blue, 2, axis=0):
        for quarter in np.array_split(part, 2, axis=1):
            assert quarter.sum() > 300, "each of the four axes shows something"
    assert [p.name for p in path.parent.iterdir()] == ["evaluation.png"]


def test_dark_paper(tmp_path: Path) -> None:
    rows = [dict.fromkeys(COLUMNS, "1") for _ in range(3)]
    shares = {}
    for theme in (LIGHT, DARK):
        path = tmp_path / "training.png"
        plot_training(rows, path, theme)
        gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        shares[theme] = (gray < 40).mean(), (gray > 215).mean()
    assert shares[LIGHT][1] > 0.8
    assert shares[DARK][0] > 0.8
    assert 0.005 < shares[DARK][1] < 0.1  # what is written can be read


def test_a_training(tmp_path: Path) -> None:
    rows = [dict.fromkeys(COLUMNS, "1") for _ in range(5)]
    for epoch, row in enumerate(rows):
        row |= {"epoch": str(epoch + 1), "size": "64" if epoch < 3 else "224"}
        row |= {"val_mae": str(9 - epoch), "train_mae": str(9 - 2 * epoch)}
    path = tmp_path / "training.svg"
    plot_training(rows, path)
    text = path.read_text()
    assert "<svg" in text
    with pytest.raises(ConfigError, match="expected one of .png, .svg, .pdf, found .gif"):
        plot_training(rows, tmp_path / "training.gif")


def test_a_ranking_of_layers(tmp_path: Path) -> None:
    roles = ("stem", "expansion", "depthwise", "projection", "SE gate", "CA gate", "head")
    layers = [(f"features.{i}", roles[i % 7], 1 / (i + 1)) for i in range(40)]
    path = tmp_path / "sensitivity.svg"
    plot_sensitivity(layers, roles, path)
    text = path.read_text()
    assert all(f"<!-- {name} -->" in text for name, _, _ in layers[:30])
    assert "<!-- features.30 -->" not in text
    rest = sum(mean for _, _, mean in layers[30:])
    assert f"10 more add up to {rest:.2f}" in text
    assert all(f"<!-- {role} -->" in text for role in roles)
