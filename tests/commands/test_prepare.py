"""`halnet prepare`: its options and the summary that it prints."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from halnet.datasets.preparing import PrepareSummary

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]

SUMMARY = PrepareSummary(
    dataset="aaf",
    photos=100,
    indexed=98,
    rejected=2,
    several_faces=7,
    landmark_error=0.0312,
    split={"train": 88, "val": 5, "test": 5},
    split_sha256="0123456789abcdef",
    seed=3,
    listing_sha256="",
    input_fingerprint="",
)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the library is called with. A run finishes the last 40 of 100 photos."""
    found: list[dict[str, Any]] = []

    def prepare(source: Path, out: Path, dataset: str, **values: Any) -> PrepareSummary:
        on_progress = values.pop("on_progress")
        found.append({"source": source, "out": out, "dataset": dataset, **values})
        if out.name == "started":
            for done in range(60, 101):
                on_progress(done, 100)
        return SUMMARY

    monkeypatch.setattr("halnet.commands.prepare.prepare", prepare)
    return found


def test_the_options_reach_the_library(halnet: Halnet, calls: list[dict[str, Any]]) -> None:
    args = ("--dataset", "aaf", "--workers", 3, "--seed", 4, "--detector", "yunet.onnx")
    assert halnet("prepare", "photos", "--out", "x", *args) == 0
    assert calls == [
        {
            **{"source": Path("photos"), "out": Path("x"), "dataset": "aaf"},
            **{"workers": 3, "seed": 4, "detector": Path("yunet.onnx")},
        }
    ]


@pytest.mark.parametrize(
    ("out", "last"),
    [("started", "40 photos in "), ("complete", "the folder was complete and was not changed")],
)
@pytest.mark.usefixtures("calls")
def test_the_summary_is_printed(out: str, last: str, halnet: Halnet, capsys: Capture) -> None:
    assert halnet("prepare", "photos", "--out", out) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "100 photos: 98 in the index, 2 rejected, 7 with several faces",
        "median landmark error: 3.1% of the eye distance",
        "split 0123456789ab: 88 train, 5 val, 5 test",
    ]
    assert lines[3].startswith(last)


@pytest.mark.usefixtures("calls")
def test_json_has_the_summary_and_the_seconds(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("prepare", "photos", "--out", "x", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["split"] == {"train": 88, "val": 5, "test": 5}
    assert values["seconds"] >= 0
