"""`halnet verify`: what it prints, and its exit status."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from halnet.artifact import bundled
from halnet.benchmarks.parity import VerifyConfig
from halnet.benchmarks.verification import Verification
from halnet.evaluation.parity import TOLERANCES, Comparison, Parity, Tolerance
from halnet.evaluation.scores import RangeScore, Score
from halnet.export.manifest import describe_artifact, record_artifacts

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]

SCORE = Score(count=9, mae=4.0, bias=0.5, cs3=0.5, cs5=0.7, coverage=0.9, width=20.0)
CHANGED = Score(count=9, mae=4.25, bias=0.5, cs3=0.5, cs5=0.6, coverage=0.85, width=21.0)
COMPARISON = Comparison(9, 0.5, 0.75, SCORE, CHANGED)
RESULT = Verification(
    {
        Path("a.onnx"): Parity(
            "aaf", "int8", "fake", TOLERANCES["int8"], COMPARISON, {"20-29": COMPARISON}
        )
    },
    {Path("b.engine"): "tensorrt is not installed"},
)


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halnet.commands.verify.verify", lambda *args: RESULT)


@pytest.mark.usefixtures("verified")
def test_the_table_has_both_scores_and_the_tolerance(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("verify", "deploy") == 1
    out = capsys.readouterr().out
    assert "a.onnx: int8 on fake, compared with PyTorch FP32 on aaf; in years" in out
    lines = [line.split() for line in out.splitlines()]
    figures = ["9", "4.0000", "4.2500", "+0.25000", "0.50000", "0.75000", "60.0%", "85.0%"]
    figures += ["-5.00%", "21.00"]
    assert ["all", *figures] in lines
    assert ["20-29", *figures] in lines
    assert ["allowed", "0.05", "2", "1.0%"] in lines
    assert f"FAILED: {'; '.join(RESULT.compared[Path('a.onnx')].failures)}" in out
    assert "change of the MAE" in out
    assert "b.engine: not compared: tensorrt is not installed" in out


@pytest.mark.usefixtures("verified")
def test_json_has_what_was_compared_and_what_was_skipped(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("verify", "deploy", "--json") == 1
    values = json.loads(capsys.readouterr().out)
    assert values["artifacts"]["a.onnx"]["overall"]["p99"] == 0.5
    assert values["artifacts"]["a.onnx"]["passed"] is False
    assert values["left_out"] == {"b.engine": "tensorrt is not installed"}


def test_the_options_become_one_value(monkeypatch: pytest.MonkeyPatch, halnet: Halnet) -> None:
    calls = []

    def verify(*args: object) -> Verification:
        calls.append(args[:4])
        return RESULT

    monkeypatch.setattr("halnet.commands.verify.verify", verify)
    halnet("verify", "a.onnx", "--data", "x", "--data", "y", "--split", "val", "--threads", 3)
    config = VerifyConfig(data=(Path("x"), Path("y")), split="val", threads=3)
    assert calls == [((Path("a.onnx"),), config, "auto", "auto")]


def test_each_dataset_has_a_row(
    monkeypatch: pytest.MonkeyPatch, halnet: Halnet, capsys: Capture
) -> None:
    ranges = RangeScore(9, inside=0.5, distance=2.0, bias=0.0, coverage=0.75, width=20.0)
    part = Comparison(9, 0.25, 0.5, ranges, replace(ranges, distance=2.5))
    parity = replace(
        RESULT.compared[Path("a.onnx")], by_set={"x": COMPARISON, "y": part}, licence="X-1"
    )
    result = Verification({Path("a.onnx"): parity}, {})
    monkeypatch.setattr("halnet.commands.verify.verify", lambda *args: result)
    assert halnet("verify", "deploy", "--data", "x", "--data", "y") == 1
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    figures = ["2.0000", "2.5000", "+0.50000", "0.25000", "0.50000", "75.0%", "+0.00%", "20.00"]
    assert ["y", "9", *figures] in lines
    assert [line[0] for line in lines if line[1:2] == ["9"]] == ["x", "y", "20-29"]
    assert ["exact", "ages", "9"] in [line[:3] for line in lines]
    assert "MAE or distance of" in out
    assert "change of interval coverage over all datasets: -2.50% (18 crops)" in out
    assert "the change of the distance on y" in out
    assert "Licence of the weights: X-1" in out


def test_an_artifact_outside_its_tolerance_gives_the_status_1(
    monkeypatch: pytest.MonkeyPatch, halnet: Halnet, capsys: Capture
) -> None:
    monkeypatch.setitem(TOLERANCES, "fp32", Tolerance(0, -1, 0))
    assert halnet("verify", bundled("halnet.onnx")) == 1
    out = capsys.readouterr().out
    assert "FAILED: " in out
    assert "99th percentile of the age shift" in out


def test_a_full_disk_does_not_lose_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, halnet: Halnet, capsys: Capture
) -> None:
    def full(self: Path, *args: object, **kwargs: object) -> int:
        raise OSError(28, "No space left on device", str(self))

    artifact = tmp_path / "a.onnx"
    artifact.touch()
    manifest = record_artifacts(tmp_path, {"a.onnx": describe_artifact(artifact, {}, ())})
    before = manifest.read_bytes()
    passed = Parity("aaf", "fp32", "fake", TOLERANCES["fp32"], Comparison(9, 0.0, 0.0))
    result = Verification({artifact: passed}, {})
    monkeypatch.setattr("halnet.commands.verify.verify", lambda *args: result)
    monkeypatch.setattr(Path, "write_text", full)
    assert halnet("verify", artifact) == 0, "the check has passed"
    out, err = capsys.readouterr()
    assert "passed" in out
    assert err.startswith(f"halnet: {artifact}: the figures were not recorded: ")
    assert f"{manifest}: No space left on device" in err
    assert len(err.splitlines()) == 1
    assert manifest.read_bytes() == before


def test_artifacts_that_could_not_be_compared_are_listed(
    monkeypatch: pytest.MonkeyPatch, halnet: Halnet, capsys: Capture
) -> None:
    """The name of a file is no markup, and a dataset without photos is named."""
    good = Parity("aaf", "fp32", "fake", TOLERANCES["fp32"], Comparison(9, 0.0, 0.0))
    result = Verification(
        {Path("x[/y].onnx"): good}, {}, {Path("b.onnx"): "b.onnx: no such model file"}
    )
    monkeypatch.setattr("halnet.commands.verify.verify", lambda *args: result)
    monkeypatch.setattr(Verification, "notes", ["empty: no photos"])
    assert halnet("verify", "deploy") == 1
    out = capsys.readouterr().out
    assert "x[/y].onnx: fp32 on fake, compared with" in out
    assert "b.onnx: FAILED: b.onnx: no such model file" in out
    assert "empty: no photos" in out.splitlines()
