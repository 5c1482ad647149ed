"""`halnet export`: what its options become, and what it prints of the artifacts."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from halnet.benchmarks.advice import Int8Advice
from halnet.benchmarks.parity import VerifyConfig
from halnet.calibration.budget import Budget
from halnet.evaluation.parity import TOLERANCES, Comparison, Divergence, Parity
from halnet.evaluation.scores import RangeScore, Score
from halnet.export import ExportConfig, Exported
from halnet.export.config import Int8Config, Target

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]

ADVICE = Int8Advice("onnx", "fake 1", {"fp32": 4.0, "int8": 2.0}, {"fp32": 40, "int8": 10})


def exported(name: str, precision: str = "fp32", **values: Any) -> Exported:
    """Return an artifact that passed its check, or one with other values."""
    verdict = Parity("some crops", precision, "fake", TOLERANCES["fp32"], Comparison(9, 0.0, 0.005))
    made = {"verdict": verdict, "unchecked": "", **values}
    return Exported(Path(name), "onnx", precision, 12_345_678, "ab", Path("manifest.json"), **made)


FAILED = Parity(
    *("some crops", "fp16", "fake", TOLERANCES["fp16"], Comparison(9, 0.5, 0.75)),
    divergence=Divergence("block.3", "Conv", 0.25),
)
ARTIFACTS = [
    exported("halnet.onnx"),
    exported("halnet.fp16.onnx.failed", "fp16", verdict=FAILED),
    exported("halnet.engine", verdict=None, unchecked="there is no GPU"),
    exported("halnet.int8.onnx", "int8"),
]


class Calls:
    """Stands in for the exporter and the advice, and keeps what they were called with."""

    def __init__(self) -> None:
        self.config = ExportConfig()
        self.checked = False
        self.data: tuple[Path, ...] = ()
        self.only_split = False
        self.prepared = False
        self.advised = False

    def export(self, config: ExportConfig, check: object, on_step: object) -> Sequence[Exported]:
        self.config, self.checked = config, check is not None
        return ARTIFACTS

    def verifier(self, config: VerifyConfig) -> "Calls":
        self.data, self.only_split = config.data, config.only_split
        return self

    def prepare(self) -> None:
        self.prepared = True

    def advise_int8(self, *args: object) -> dict[Path, Int8Advice]:
        self.advised = True
        return {Path("halnet.int8.onnx"): ADVICE}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    monkeypatch.setattr("halnet.commands.export.export", calls.export)
    monkeypatch.setattr("halnet.commands.export.advise_int8", calls.advise_int8)
    monkeypatch.setattr("halnet.commands.export.Verifier", calls.verifier)
    return calls


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], ExportConfig()),
        (
            ["run.safetensors", "--format", "openvino", "--format", "onnx", "--precision", "fp16"],
            ExportConfig(Path("run.safetensors"), ("openvino", "onnx"), ("fp16",)),
        ),
        (["--batch", "dynamic", "--out", "x"], ExportConfig(batch=None, out=Path("x"))),
        (["--batch", "4", "--threads", "3"], ExportConfig(batch=4)),
        (["--data", "aaf"], ExportConfig()),  # for the check alone
        (
            ["--format", "tensorrt", "--profile", 1, 2, 3, "--capability", "SM86"],
            ExportConfig(formats=("tensorrt",), target=Target((1, 2, 3), ("SM86",))),
        ),
        (["--for-compiler"], ExportConfig(formats=("compiler",))),
        (
            [
                *("--format", "openvino", "--format", "onnx", "--for-compiler", "--opset", 12),
                *("--compiler-input", "uint8-nchw", "--data", "aaf", "--calibration-photos", 64),
            ],
            ExportConfig(
                formats=("openvino", "compiler"),
                target=Target(opset=12, input="uint8-nchw"),
                int8=Int8Config(data=(Path("aaf"),), crops=64),
            ),
        ),
        (  # the detector is that of the page
            ["--format", "web", "--detector", "yunet.onnx", "--onnxruntime-web", "package"],
            ExportConfig(
                formats=("web",),
                target=Target(detector=Path("yunet.onnx"), onnxruntime_web=Path("package")),
            ),
        ),
        (
            [
                "--precision",
                "int8",
                "--data",
                "aaf",
                "--data",
                "afad",
                "--max-p99",
                3,
                "--threads",
                2,
            ],
            ExportConfig(
                precisions=("int8",),
                int8=Int8Config(data=(Path("aaf"), Path("afad")), budget=Budget(p99=3), threads=2),
            ),
        ),
        (
            ["--precision", "int8", "--keep-float", "none", "--sensitivity", "--seed", 5],
            ExportConfig(precisions=("int8",), int8=Int8Config(keep=(), sensitivity=True, seed=5)),
        ),
        (
            ["--format", "litert", "--precision", "int8", "--litert-form", "w8a16"],
            ExportConfig(formats=("litert",), precisions=("int8",), int8=Int8Config(form="w8a16")),
        ),
        (
            [
                *("--precision", "int8", "--calibration", "photos", "--detector", "yunet.onnx"),
                *("--calibration-photos", 64, "--calibration-method", "entropy"),
                *("--max-mae-delta", 0.1, "--keep-float", "stem", "--keep-float", "head"),
            ],
            ExportConfig(
                precisions=("int8",),
                int8=Int8Config(
                    photos=Path("photos"),
                    detector=Path("yunet.onnx"),
                    crops=64,
                    method="entropy",
                    budget=Budget(mae=0.1),
                    keep=("stem", "head"),
                ),
            ),
        ),
    ],
)
def test_the_options_become_one_value(
    args: list[object], expected: ExportConfig, halnet: Halnet, calls: Calls
) -> None:
    halnet("export", *args)
    assert calls.config == expected
    assert calls.checked
    assert calls.advised


def test_artifacts_are_checked_on_all_datasets(halnet: Halnet, calls: Calls) -> None:
    halnet("export")
    assert (calls.data, calls.prepared) == ((), False)
    halnet("export", "--data", "aaf", "--data", "afad")
    assert (calls.data, calls.prepared) == ((Path("aaf"), Path("afad")), True)
    assert not calls.only_split
    halnet("export", "--data", "aaf", "--precision", "fp16", "--precision", "int8")
    assert calls.only_split, "INT8 is calibrated on the other photos"


def test_a_dataset_that_may_have_been_trained_on_is_found_before_the_work(
    prepared: Path,
    checkpoint: Path,
    tmp_path: Path,
    halnet: Halnet,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("no export begins")

    monkeypatch.setattr("halnet.commands.export.export", refuse)
    assert halnet("export", checkpoint, "--data", prepared, "--out", tmp_path / "out") == 2
    assert "whose test photos may have been trained on" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("calls")
def test_none_and_names_of_layers_contradict_each_other(halnet: Halnet, capsys: Capture) -> None:
    args = ("--precision", "int8", "--keep-float", "stem", "--keep-float", "none")
    assert halnet("export", *args) == 2
    err = capsys.readouterr().err
    assert "--keep-float: expected none or names of layers, found both: stem, none" in err


def test_each_dataset_has_a_row(
    halnet: Halnet, capsys: Capture, monkeypatch: pytest.MonkeyPatch, calls: Calls
) -> None:
    score = Score(count=8, mae=4.0, bias=0.5, cs3=0.5, cs5=0.7, coverage=0.875, width=20.0)
    ranges = RangeScore(24, inside=0.5, distance=2.0, bias=0.0, coverage=0.75, width=20.0)
    exact = Comparison(8, 0.5, 0.75, score, replace(score, mae=4.25, coverage=1.0))
    parts = {
        "x": exact,
        "y": Comparison(24, 0.25, 0.5, ranges, replace(ranges, distance=1.5)),
    }
    verdict = Parity("x and y", "int8", "fake", TOLERANCES["int8"], exact, by_set=parts)
    monkeypatch.setattr(calls, "export", lambda *args: [exported("a.onnx", verdict=verdict)])
    monkeypatch.setattr("halnet.commands.export.export", calls.export)
    halnet("export", "--data", "x", "--data", "y")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    # One photo in 32 is inside the interval now. This is fewer than any dataset is judged by.
    assert ["a.onnx", "12.3", "+3.12%", "FAILED"] in lines
    assert ["x,", "8", "photos", "+0.25000", "0.50000", "0.75000", "+12.50%"] in lines
    assert ["y,", "24", "photos", "-0.50000", "0.25000", "0.50000", "+0.00%"] in lines
    assert "of MAE or distance" in " ".join(word for line in lines for word in line)
    problems = " ".join(" ".join(line) for line in lines)
    assert "change of the MAE on x" in problems
    assert "change of the distance on y" in problems
    assert "coverage within" not in problems, "a change of one photo is no failure"


def test_without_a_check_there_is_no_advice(halnet: Halnet, calls: Calls) -> None:
    halnet("export", "--no-check")
    assert (calls.checked, calls.advised) == (False, False)


@pytest.mark.usefixtures("calls")
def test_each_artifact_is_a_row_and_problems_are_explained(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("export") == 1
    out = capsys.readouterr().out
    assert "compared with PyTorch FP32 on some crops; in years" in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if "12.3" in line}
    assert rows == {
        "halnet.onnx": ["12.3", "0.00000", "0.00500", "passed"],
        "halnet.fp16.onnx.failed": ["12.3", "0.50000", "0.75000", "FAILED"],
        "halnet.engine": ["12.3", "not", "checked"],
        "halnet.int8.onnx": ["12.3", "0.00000", "0.00500", "passed"],
    }
    (reason,) = FAILED.failures
    assert "99th percentile of the age shift" in reason
    assert f"halnet.fp16.onnx.failed: {reason}" in out
    assert "first node whose output diverges from FP32: block.3 (Conv)" in out
    assert "halnet.engine: not checked: there is no GPU" in out
    assert f"halnet.int8.onnx: {ADVICE.advice} (" in out


@pytest.mark.usefixtures("calls")
def test_json_has_the_verdict_of_each_artifact(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("export", "--json") == 1
    entries = json.loads(capsys.readouterr().out)
    assert [entry["passed"] for entry in entries] == [True, False, None, True]
    assert entries[0]["bytes"] == 12_345_678
    assert entries[1]["failures"] == FAILED.failures
    assert entries[2]["unchecked"] == "there is no GPU"
    assert entries[3]["speed"] == ADVICE.to_dict()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--format", "openvino", "--for-compiler"], "expected --format onnx, found openvino"),
        (["--for-compiler", "--batch", "dynamic"], "--batch dynamic: expected a number for"),
        (["--format", "litert", "--litert-form", "w8"], "needs --format litert and --precision"),
        (["--sidecar", "x.engine"], "name it: halnet export halnet.onnx --sidecar x.engine"),
        (
            ["x.onnx", "--sidecar", "x.engine", "--seed", 1],
            "--seed cannot be used with --sidecar",
        ),
        (["--no-check", "--data", "x"], "--data is for the check, for INT8 and for compilers"),
    ],
)
def test_options_that_contradict_each_other(
    args: list[object], message: str, halnet: Halnet, calls: Calls, capsys: Capture
) -> None:
    assert halnet("export", *args) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("batch", ["some", "-1", "2.5"])
def test_the_batch_is_dynamic_or_a_number(batch: str, halnet: Halnet, capsys: Capture) -> None:
    assert halnet("export", "--batch", batch) == 2
    assert f"expected dynamic or a number of crops, found {batch}" in capsys.readouterr().err


def test_a_checkpoint_is_exported_verified_and_described(
    checkpoint: Path, tmp_path: Path, halnet: Halnet, capsys: Capture
) -> None:
    assert halnet("export", checkpoint, "--out", tmp_path, "--json") == 0
    (entry,) = json.loads(capsys.readouterr().out)
    artifact = tmp_path / "halnet.onnx"
    assert entry["bytes"] == artifact.stat().st_size
    assert entry["passed"] is True
    assert halnet("verify", artifact, "--checkpoint", checkpoint) == 0
    assert "passed" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["artifacts"]["halnet.onnx"]["parity"]["crops of the bundled portrait"]["passed"]
    assert halnet("info", artifact, "--json") == 0
    info = json.loads(capsys.readouterr().out)
    assert info["dataset"] == "synthetic"
    assert info["reference_mae"] == {"val": 20.0}
