"""`halnet info`: the runtimes that are installed, and what a model file states."""

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import onnx
import pytest

from halnet import __version__
from halnet.ages import AgeCalibration
from halnet.artifact import Metadata, TrainedSet, bundled
from halnet.cores import describe_threads, thread_count
from halnet.packages import installed_version

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]


def test_the_runtimes_are_listed_with_their_versions(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("info") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"halnet {__version__}, Python 3.")
    assert f"Threads of an inference on the CPU: {describe_threads()}" in out
    rows = [line.split() for line in out.splitlines()]
    found = {row[0]: row[1] for row in rows if len(row) > 1}
    assert found["onnxruntime"] == installed_version("onnxruntime")
    assert found["pytorch"] == installed_version("torch")
    assert "fake" not in found


def test_the_address_of_a_server_is_no_model_file(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("info", "http://user:secret@127.0.0.1:8000") == 2
    error = capsys.readouterr().err
    assert "http://***@127.0.0.1:8000: expected a model file, found the address" in error


def test_a_missing_runtime_is_listed_with_its_cure(
    halnet: Halnet, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halnet.runtimes.backends.is_installed", lambda module: False)
    assert halnet("info") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    extras = {"openvino": "openvino", "tensorrt": "tensorrt-rtx", "pytorch": "pytorch"}
    for runtime, extra in extras.items():
        assert [runtime, "-", "pip", "install", f"'halnet[{extra}]'"] in rows


def test_json_lists_the_runtimes(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("info", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["halnet"] == __version__
    assert values["libraries"] == {"numpy": version("numpy"), "opencv": installed_version("cv2")}
    assert values["cores"]["usable"] == thread_count(None)
    devices = {entry["runtime"]: entry["devices"] for entry in values["runtimes"]}
    assert "cpu" in devices["onnxruntime"]


def stated(text: str) -> dict[str, list[str]]:
    """Return the lines of each name that `halnet info MODEL` prints, which must be aligned."""
    lines = text.splitlines()
    column = len(lines[0]) - len(lines[0].removeprefix("file").lstrip())
    found: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        assert line[column - 2 : column] == "  ", line
        name = line[:column].strip() or name
        found.setdefault(name, []).append(line[column:])
    return found


def test_a_model_states_its_precision_and_its_input(halnet: Halnet, capsys: Capture) -> None:
    path = bundled("halnet.onnx")
    assert halnet("info", path) == 0
    values = stated(capsys.readouterr().out)
    size = path.stat().st_size
    assert values["size"] == [f"12.5 MB ({size:,} bytes)"]
    assert values["precision"] == ["fp32"]
    assert values["input"] == ["uint8 N x 224 x 224 x 3 RGB"]
    assert values["input fingerprint"] == ["60964a9c2dd01642"]
    assert values["way to the crops"] == ["version 1: all pixels of a photo are decoded"]
    assert values["batch size"] == ["any"]
    assert values["mean absolute error"] == [
        "4.754 years in the split test",
        "4.759 years in the split val",
    ]


def test_a_bundled_model_is_named_and_states_its_datasets(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("info", "halnet-accurate", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["file"] == str(bundled("halnet-accurate.safetensors"))
    assert [(d["name"], d["split_sha256"][:12], d["photos"]) for d in values["datasets"]] == [
        ("aaf", "f1e6fbb34df0", 10287),
        ("utkface", "c65907c005dd", 12406),
        ("afad", "6ca129c45d1e", 1307),
        ("fairface", "c1dc8ee4210c", 2258),
    ]
    assert values["calibration"]["kind"] == "scaled by age"
    assert len(values["calibration"]["quantiles"]) == 99
    assert values["licence"] == "research only, non-commercial"
    assert values["terms"].count(";") == 3
    assert len(values["minor_errors"]) == 18


STATED = {
    "datasets": [
        "aaf      10,338 training photos  split SHA-256 abab",
        "mine-2      412 training photos",
        "unknown                          split SHA-256 cdcd",
    ],
    "licence": ["LicenseRef-research"],
    "terms": ["All-Age-Faces: for research", "AFAD: for academic use"],
    "calibration": ["scaled by age"],
    "temperature": ["1.25"],
    "interval levels": ["up to 92 %"],
    "quantile at 90 %": ["1.5"],
    "age factors": ["1, 1, 1, 1, 1, 1, 1, 1, 2, 3"],
    "scale factors": ["0.9, 0, 0, 0.5"],
    "errors of minors": [
        "13 photos; number by true age:",
        " 0: 0     1: 0     2: 0     3: 0     4: 0     5: 0",
        " 6: 0     7: 0     8: 0     9: 0    10: 0    11: 0",
        "12: 0    13: 0    14: 0    15: 11   16: 0    17: 2",
    ],
}


def test_a_model_states_its_datasets_its_licence_and_its_calibration(
    halnet: Halnet, capsys: Capture, onnx_artifact: Path, tmp_path: Path
) -> None:
    quantiles = (*(0.5,) * 89, 1.5, 2.5, 3.5)
    metadata = Metadata(
        AgeCalibration(1.25, quantiles, (*(1.0,) * 8, 2.0, 3.0), (0.9, 0.0, 0.0, 0.5)),
        datasets=(
            TrainedSet("aaf", "abab", 10338),
            TrainedSet("mine-2", photos=412),
            TrainedSet("unknown", "cdcd"),
        ),
        licence="LicenseRef-research",
        terms="All-Age-Faces: for research; AFAD: for academic use",
        minor_errors=(*((),) * 15, (1.0,) * 11, (), (2.0, 3.0)),
    )
    model = onnx.load(onnx_artifact)
    onnx.helper.set_model_props(model, metadata.to_properties())
    path = tmp_path / "halnet.onnx"
    onnx.save(model, path)
    assert halnet("info", path) == 0
    out = capsys.readouterr().out
    values = stated(out)
    assert {name: values[name] for name in STATED} == STATED
    assert not set("{}[]'") & set(out.replace(str(path), ""))
    assert values["checkpoint"] == values["mean absolute error"] == ["not stated"]


def test_what_an_older_model_does_not_state(
    halnet: Halnet, capsys: Capture, onnx_artifact: Path, tmp_path: Path
) -> None:
    metadata = Metadata(
        AgeCalibration(1.25, (0.5,) * 99, (1.0,) * 10), datasets=(TrainedSet("aaf", "f1e6fbb3"),)
    )
    model = onnx.load(onnx_artifact)
    onnx.helper.set_model_props(model, metadata.to_properties())
    path = tmp_path / "halnet.onnx"
    onnx.save(model, path)
    assert halnet("info", path) == 0
    values = stated(capsys.readouterr().out)
    for name in ("licence", "terms", "errors of minors"):
        assert values[name] == ["not stated"]
    assert values["datasets"] == ["aaf  split SHA-256 f1e6fbb3"]
    assert "scale factors" not in values


def test_a_checkpoint_states_the_same(halnet: Halnet, capsys: Capture, checkpoint: Path) -> None:
    assert halnet("info", checkpoint) == 0
    values = stated(capsys.readouterr().out)
    assert values["datasets"] == ["synthetic  split SHA-256 " + "ab" * 32]
    assert values["mean absolute error"] == ["20.000 years in the split val"]
    assert values["runtime"][0].startswith("pytorch ")
