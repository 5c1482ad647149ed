"""`halnet prepare`: its options and the summary that it prints."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from halnet.commands.prepare import print_summary
from halnet.datasets.csv_source import CsvColumns
from halnet.datasets.indexing import PrepareSummary

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]

SUMMARY = PrepareSummary(
    dataset="aaf",
    photos=100,
    indexed=90,
    rejected=10,
    several_faces=7,
    landmark_error=0.0312,
    split={"train": 88, "val": 5, "test": 5},
    split_sha256="0123456789abcdef",
    seed=3,
    listing_sha256="",
    input_fingerprint="",
    reasons={"a copy of the photo has another age": 8, "no face found": 2},
    twins=12,
    twins_rejected=8,
    clipped=3,
)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the library is called with. A run finishes the last 40 of 100 photos."""
    found: list[dict[str, Any]] = []

    def prepare(source: Path, out: Path, dataset: str, **values: Any) -> PrepareSummary:
        on_progress, on_repair = values.pop("on_progress"), values.pop("on_repair")
        found.append({"source": source, "out": out, "dataset": dataset, **values})
        if out.name == "started":
            for done in range(60, 101):
                on_progress(done, 100)
        if out.name == "damaged":
            on_repair("the split is made again")
        return SUMMARY

    monkeypatch.setattr("halnet.commands.prepare.prepare", prepare)
    return found


def test_the_options_reach_the_library(halnet: Halnet, calls: list[dict[str, Any]]) -> None:
    args = ("--dataset", "csv", "--workers", 3, "--seed", 4, "--detector", "yunet.onnx")
    columns = ("--path-column", "file", "--age-column", "years", "--age-low-column", "from")
    more = ("--age-high-column", "to", "--sex-column", "gender", "--person-column", "id")
    rest = ("--split-column", "part", "--name", "mine", "--shares", "50/25/25")
    assert halnet("prepare", "photos", "--out", "x", *args, *columns, *more, *rest) == 0
    assert halnet("prepare", "photos", "--out", "x") == 0
    assert calls == [
        {
            **{"source": Path("photos"), "out": Path("x"), "dataset": "csv", "name": "mine"},
            **{"workers": 3, "seed": 4, "detector": Path("yunet.onnx"), "shares": "50/25/25"},
            "columns": CsvColumns("file", "years", "from", "to", "gender", "id", "part"),
        },
        {
            **{"source": Path("photos"), "out": Path("x"), "dataset": "aaf", "name": ""},
            **{"workers": 2, "seed": 0, "detector": None, "shares": ""},
            "columns": CsvColumns(),
        },
    ]


@pytest.mark.parametrize(
    ("out", "last"),
    [("started", "40 photos in "), ("complete", "the folder was complete and was not changed")],
)
@pytest.mark.usefixtures("calls")
def test_the_summary_is_printed(out: str, last: str, halnet: Halnet, capsys: Capture) -> None:
    assert halnet("prepare", "photos", "--out", out) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:7] == [
        "100 photos: 90 in the index, 10 rejected, 7 with several faces",
        "  8 rejected: a copy of the photo has another age",
        "  2 rejected: no face found",
        "12 photos are copies of others and stay in one part with them; 8 copies are rejected "
        "because their ages differ",
        "3 ages above 100 years, which count as 100",
        "median landmark error: 3.1% of the eye distance",
        "split 0123456789ab: 88 train, 5 val, 5 test",
    ]
    assert lines[7].startswith(last)


@pytest.mark.usefixtures("calls")
def test_a_repair_is_stated(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("prepare", "photos", "--out", "damaged") == 0
    out, err = capsys.readouterr()
    assert err == "halnet: the split is made again\n"
    assert out.splitlines()[-1] == "split 0123456789ab: 88 train, 5 val, 5 test"


@pytest.mark.usefixtures("calls")
def test_json_has_the_summary_and_the_seconds(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("prepare", "photos", "--out", "x", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["split"] == {"train": 88, "val": 5, "test": 5}
    assert values["seconds"] >= 0


def test_copies_in_several_parts_are_stated(capsys: Capture) -> None:
    print_summary(replace(SUMMARY, twins_apart=5, twins_rejected=0, clipped=0))
    assert (
        "12 photos are copies of others; 5 of them have a copy in another part, and are left out "
        "when the dataset is used\n"
    ) in capsys.readouterr().out
