"""The study of the page: which faces are the same, and a run with two photos."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from halnet.artifact import bundled
from halnet.benchmarks.studies import browser_page
from halnet.benchmarks.studies.browser_page import match, overlap
from halnet.benchmarks.studies.processes import find_browser
from halnet.predictor import Predictor


def test_the_overlap_of_two_boxes() -> None:
    assert overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (10, 0, 10, 10)) == 0


def test_faces_are_matched_by_their_boxes(yunet: Path) -> None:
    with Predictor(detector=yunet) as predictor:
        (face,) = predictor(bundled("portrait.jpg"))
    x, y, width, height = face.box
    same = {
        "box": (x + 1, y, width, height),
        "landmarks": (face.landmarks + (3, 4)).tolist(),
        "age": face.age - 0.25,
    }
    other = {**same, "box": (x + width, y, width, height), "age": 80.0}
    far = replace(face, box=(x, y + 2 * height, width, height))
    pairs, alone = match("a.jpg", (1280, 900), [far, face], [other, same])
    assert alone == 1, "the one that is beside the face"
    (pair,) = pairs
    assert pair.photo == "a.jpg"
    assert pair.distance == pytest.approx(2.5), "5 pixels of a photo that is halved for YuNet"
    assert pair.difference == pytest.approx(-0.25)
    assert 0.97 < pair.overlap < 1
    assert match("a.jpg", (640, 480), [face], [])[0] == []


def test_two_photos_in_a_browser(
    web_folder: Path,
    aaf_prepared: Path,
    aaf_sample: Path,
    yunet: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("playwright")
    if not find_browser():
        pytest.skip("needs Chromium: apt-get install chromium")
    monkeypatch.setenv("HALNET_YUNET", str(yunet))
    args = [str(web_folder), "--data", str(aaf_prepared), "--photos", str(aaf_sample)]
    args += ["--split", "train", "--limit", "2", "--json"]
    done = CliRunner().invoke(browser_page.main, args, catch_exceptions=False)
    result: Any
    (result,) = json.loads(done.stdout)
    assert (result["page"], result["precision"], result["photos"]) == ("halnet_web", "fp32", 2)
    assert len(result["pairs"]) == result["faces"] >= 2
    assert all(abs(pair["difference"]) < 2 for pair in result["pairs"])
    assert all(pair["distance"] < 1.5 for pair in result["pairs"])
    assert result["photo_milliseconds"] > result["crop_milliseconds"] > 0
