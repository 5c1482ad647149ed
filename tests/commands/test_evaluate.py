"""`halnet evaluate`: the errors of a model on a prepared dataset."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]


def test_json_and_a_figure(
    prepared: Path, checkpoint: Path, tmp_path: Path, halnet: Halnet, capsys: Capture
) -> None:
    figure = tmp_path / "errors.png"
    args = ("evaluate", checkpoint, "--data", prepared, "--device", "cpu")
    assert halnet(*args, "--figure", figure, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["overall"]["count"] == 12
    assert set(result["by_sex"]) == {"female", "male"}
    assert result["flip"] is False
    light = cv2.imread(str(figure))
    assert light.shape[1] > 1000
    assert light[0, 0].min() > 250
    assert halnet(*args, "--figure", figure, "--dark", "--limit", 2) == 0
    assert cv2.imread(str(figure))[0, 0].max() < 50


def test_the_tables(prepared: Path, checkpoint: Path, halnet: Halnet, capsys: Capture) -> None:
    args = ("evaluate", checkpoint, "--data", prepared, "--device", "cpu", "--threads", 1)
    assert halnet(*args, "--limit", 5, "--flip") == 0
    out = capsys.readouterr().out
    assert f"{checkpoint} on pytorch, averaged with mirror images: synthetic test split" in out
    (count,) = (line.split()[1] for line in out.splitlines() if line.split()[:1] == ["all"])
    assert count == "5"
    for text in (
        *("true ages inside", "90% interval", "mean interval", "Age check at 18 years"),
        *("challenge age", "minors let through", "adults stopped"),
        *("Probability to be 18 or older", "predicted range", "mean predicted", "observed"),
    ):
        assert text in out


def test_the_tables_of_several_datasets(
    make_prepared_folder: Callable[..., Path], tmp_path: Path, halnet: Halnet, capsys: Capture
) -> None:
    first = make_prepared_folder(60, "first", shares="20/40/40")
    second = make_prepared_folder(60, "second", first=60, years=10, shares="20/40/40")
    args = ("evaluate", "fake", "--runtime", "fake", "--data", first, "--data", second)
    assert halnet(*args) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert "fake on fake: photos with exact ages" in out
    assert "fake on fake: photos with ranges of ages" in out
    assert [row[:2] for row in rows if row[:1] == ["all"]] == [["all", "24"]] * 4
    assert not any("too" in row for row in rows if row[:1] == ["all"]), "24 photos are enough"
    by_group = [row for row in rows if row[:2] == ["camera:", "a"]]
    assert len(by_group) == 2, "one row for exact ages, and one for ranges"
    assert {row.count("too") for row in by_group} == {3, 2}
    assert "A dataset or a group with fewer than 20 photos states no rate and no interval." in out
    assert "first, 0 to 17" in out
    assert "ranges that the 90% interval" in out
    assert "second: it is not known whether the model was trained on these photos" in out
    assert halnet(*args, "--json", "--limit", 2) == 0
    assert set(json.loads(capsys.readouterr().out)["sets"]) == {"first", "second"}


def test_datasets_of_few_photos_state_no_rate(
    make_prepared_folder: Callable[..., Path], halnet: Halnet, capsys: Capture
) -> None:
    """Ten photos of each dataset: no share is printed, and 95 % intervals of MAE neither."""
    first = make_prepared_folder(40, "first", shares="50/25/25")
    second = make_prepared_folder(40, "second", first=60, years=10, shares="50/25/25")
    args = ("evaluate", "fake", "--runtime", "fake", "--data", first, "--data", second)
    assert halnet(*args) == 0
    out = capsys.readouterr().out
    with_shares = [line for line in out.splitlines() if re.search(r"\d\.\d%", line)]
    assert [line.split()[:4] for line in with_shares] == [["90%", "to", "100%", "18"]], (
        "the mean of predicted probabilities is no rate"
    )
    assert with_shares[0].endswith("too few  ")
    assert [line for line in out.splitlines() if line.startswith("MAE over all datasets")] == [
        "MAE over all datasets 9.017 years"
    ]
    rows = [line.split() for line in out.splitlines()]
    assert ["25", *["too", "few"] * 2] in rows, "the challenge age 25"


def test_a_dataset_without_photos_is_named(
    make_prepared_folder: Callable[..., Path], halnet: Halnet, capsys: Capture
) -> None:
    some = make_prepared_folder(20, "some", shares="50/25/25")
    empty = make_prepared_folder(20, "empty", first=60, shares="50/50/0")
    args = ("evaluate", "fake", "--runtime", "fake", "--data", some, "--data", empty)
    line = "empty: no photos in the split test, so the model is not evaluated on this dataset"
    assert halnet(*args) == 0
    assert line in capsys.readouterr().out.splitlines()
    assert halnet(*args, "--robustness", "--limit", 1) == 0
    assert line in capsys.readouterr().out.splitlines()


def test_the_robustness(
    make_prepared_folder: Callable[..., Path], tmp_path: Path, halnet: Halnet, capsys: Capture
) -> None:
    folder = make_prepared_folder(20, shares="50/25/25")
    figure = tmp_path / "robustness.png"
    args = ("evaluate", "fake", "--runtime", "fake", "--data", folder, "--robustness")
    assert halnet(*args, "--limit", 2, "--figure", figure) == 0
    out = capsys.readouterr().out
    assert "95th percentile of" in out
    rows = [line.split() for line in out.splitlines()]
    assert [row[1] for row in rows if row[:1] == ["noise"]] == ["weak", "middle", "strong"]
    (unchanged,) = (row for row in rows if row[:2] == ["none", "none"])
    assert unchanged[4:6] == ["too", "few"], "no coverage is stated for two photos"
    assert "with fewer than 20 photos states no rate" in out
    assert cv2.imread(str(figure)).shape[1] > 1500
    assert halnet(*args, "--limit", 1, "--json") == 0
    assert json.loads(capsys.readouterr().out)["robustness"][0]["shift_mean"] == 0
