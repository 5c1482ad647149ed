"""The command line, run in this process as a shell would: arguments in, status and text out."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.commands import COMMANDS, group, run
from halnet.training.training_log import COLUMNS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good photos, one of them deeper, three bad ones, one without a face, one that is text."""
    root = tmp_path / "photos"
    (root / "deeper").mkdir(parents=True)
    data = bundled("portrait.jpg").read_bytes()
    (root / "a.jpg").write_bytes(data)
    (root / "deeper" / "b.JPG").write_bytes(data)
    (root / "cut.jpg").write_bytes(data[:20000])
    (root / "empty.jpg").touch()
    (root / "text.png").write_text("no photo")
    (root / "notes.txt").write_text("not looked at")
    cv2.imwrite(str(root / "wall.png"), np.full((90, 90, 3), 128, np.uint8))
    return root


def halnet(*args: object) -> int:
    return run(group, [str(arg) for arg in args])


@pytest.mark.usefixtures("stored_face")
def test_predict_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert halnet("predict", folder) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"{folder}/a.jpg",
        f"{folder}/deeper/b.JPG",
        f"{folder}/wall.png",
    ]
    assert "years, 90% interval" in lines[0]
    assert lines[0].split(": ")[1] == lines[1].split(": ")[1]
    assert lines[2].endswith("no face found")
    for name in ("cut.jpg: the image data is damaged", "empty.jpg: the file is empty", "text.png"):
        assert name in err
    assert "notes.txt" not in out + err
    assert err.startswith("halnet.onnx on openvino ")


@pytest.mark.usefixtures("stored_face")
def test_predict_json_and_drawings(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert halnet("predict", folder / "a.jpg", "--json", "--level", "0.5", "--draw", tmp_path) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    (face,) = entry["faces"]
    assert entry["photo"] == str(folder / "a.jpg")
    low, high = face["interval"]
    assert low < face["age"] < high
    assert face["level"] == 0.5
    drawn = cv2.imread(str(tmp_path / "a.jpg"), cv2.IMREAD_COLOR_RGB)
    plain = cv2.imread(str(folder / "a.jpg"), cv2.IMREAD_COLOR_RGB)
    assert drawn.shape == plain.shape
    x, y, width, height = (round(v) for v in face["box"])
    edge = drawn[y + height // 2, x].astype(int)
    assert edge[0] > 200
    assert edge[2] < 130  # amber, through JPEG
    centre = slice(y + 30, y + height - 30), slice(x + 20, x + width - 20)
    assert np.abs(drawn[centre].astype(int) - plain[centre]).mean() < 4


@pytest.mark.usefixtures("stored_face")
def test_drawings_keep_their_places(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "deeper" / "a.jpg").write_bytes((folder / "a.jpg").read_bytes())
    out = tmp_path / "drawn"
    assert halnet("predict", folder, "--draw", out) == 1
    found = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert found == ["a.jpg", "deeper/a.jpg", "deeper/b.JPG", "wall.png.jpg"]
    capsys.readouterr()
    before = (folder / "a.jpg").read_bytes()
    assert halnet("predict", folder / "a.jpg", "--draw", folder) == 2
    assert "would be written over another photo" in capsys.readouterr().err
    # By another name of the same folder, and two photos that would share a copy
    (tmp_path / "link").symlink_to(folder)
    assert halnet("predict", folder / "a.jpg", "--draw", tmp_path / "link") == 2
    assert halnet("predict", folder / "a.jpg", "--draw", folder / "deeper" / "..") == 2
    (folder / "a.jpg.bmp").write_bytes(b"")
    (folder / "a.jpg.bmp.jpg").write_bytes(b"")
    assert halnet("predict", folder, "--draw", out) == 2
    assert (folder / "a.jpg").read_bytes() == before
    capsys.readouterr()


@pytest.mark.usefixtures("stored_face")
def test_predict_exit_status(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert halnet("predict", folder / "a.jpg") == 0
    assert halnet("predict", folder / "wall.png") == 1
    assert halnet("predict", folder / "cut.jpg") == 2
    assert halnet("predict", folder / "missing.jpg") == 2
    assert halnet("predict", folder / "a.jpg", folder / "missing.jpg") == 1
    capsys.readouterr()


def test_wrong_use_is_one_line(
    tmp_path: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HALNET_YUNET", str(tmp_path / "none.onnx"))
    (tmp_path / "bare").mkdir()
    cases = [
        (["predict", folder / "a.jpg"], "YuNet model cannot be read"),
        (["predict", tmp_path / "bare"], "no photos in this folder"),
        (["predict", folder / "a.jpg", "--level", "1.5"], "interval level 1.5"),
        (["predict", folder / "a.jpg", "--model", tmp_path / "no.onnx"], "no such model file"),
        (
            ["predict", folder / "a.jpg", "--runtime", "caffe"],
            "runtime caffe: the bundled model is for openvino, onnx",
        ),
        (["train", "--data", tmp_path, "--out", tmp_path / "r"], "run halnet prepare"),
        (["train", "--data", tmp_path, "--out", tmp_path / "r", "--stages", "9"], "PIXELSxEPOCHS"),
        (["prepare", tmp_path, "--out", tmp_path / "r"], "All-Age-Faces"),
        (["evaluate", "--data", tmp_path], "expected a prepared dataset"),
        (["export", tmp_path / "no.safetensors", "--out", tmp_path / "r"], "cannot be read"),
        (["export", "--format", "openvno"], "openvino, tensorrt; did you mean openvino?"),
        (
            ["export", "--precision", "fp61"],
            "precision fp61: expected one of fp32, fp16, int8; did",
        ),
        (["export", "--capability", "SM86"], "are of the format tensorrt, which was not asked"),
        (["export", "--data", tmp_path, "--no-check"], "leave out --no-check"),
        (["bench", "--mode", "throughput"], "runtime onnxruntime has latency"),
        (["verify", tmp_path / "no.onnx"], "no such model file"),
        (["evaluate", "--data", tmp_path, "--figure", "errors"], "expected one of .png, .svg"),
        (["predict", folder / "a.jpg", "--device", "cuda:99"], "cuda:99 was asked for"),
        (["bench", "--runs", "0"], "runs: expected at least 1"),
        (["info", tmp_path / "no.onnx"], "no such model file"),
    ]
    for args, message in cases:
        assert halnet(*args) == 2, args
        out, err = capsys.readouterr()
        assert message in err, args
        assert err.startswith("halnet: ")
        assert len(err.splitlines()) == 1, err
        assert not out, args
    assert halnet("predict") == 2  # click's own: usage and one line
    assert "name photos, folders or videos" in capsys.readouterr().err


def test_a_full_disk_is_one_line(
    tmp_path: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(self: Path, *args: object, **kwargs: object) -> int:
        raise OSError(28, "No space left on device", str(self))

    assert halnet("export", checkpoint, "--out", tmp_path) == 0
    before = (tmp_path / "manifest.json").read_bytes()
    monkeypatch.setattr(Path, "write_text", full)
    assert halnet("verify", tmp_path / "halnet.onnx", "--checkpoint", checkpoint) == 2
    out, err = capsys.readouterr()
    assert "passed" in out, "the figures are not lost with the note"
    assert "No space left on device" in err
    assert (tmp_path / "manifest.json").read_bytes() == before


def test_export_verify_and_info(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert halnet("export", checkpoint, "--out", tmp_path, "--json") == 0
    (exported,) = json.loads(capsys.readouterr().out)
    artifact = tmp_path / "halnet.onnx"
    assert exported["bytes"] == artifact.stat().st_size
    assert exported["passed"] is True
    assert halnet("verify", artifact, "--checkpoint", checkpoint) == 0
    assert "passed" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["artifacts"]["halnet.onnx"]["parity"]["crops of the bundled portrait"]["passed"]
    assert halnet("info", artifact, "--json") == 0
    info = json.loads(capsys.readouterr().out)
    assert info["dataset"] == "synthetic"
    assert info["reference_mae"] == {"val": 20.0}


def test_verify_says_that_an_artifact_failed(
    onnx_artifact: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from halnet.benchmarks import parity

    monkeypatch.setitem(parity.TOLERANCES, "fp32", parity.Tolerance(0, -1, 0))
    assert halnet("verify", onnx_artifact, "--checkpoint", checkpoint) == 1
    assert "FAILED: p99 of abs(delta age)" in capsys.readouterr().out


def test_bench(onnx_artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ("--threads", 2, "--runs", 3, "--warmup", 1, "--batch", 2)
    assert halnet("bench", onnx_artifact, *args, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    (timing,) = result["timings"]
    assert timing["runtime"] == "onnxruntime"
    assert (timing["batch"], timing["runs"], timing["threads"]) == (2, 3, 2)
    assert 0 < timing["p50"] <= timing["p90"] <= timing["p99"]
    assert halnet("bench", *args) == 0
    out = capsys.readouterr().out
    assert "halnet.onnx" in out
    assert "halnet.safetensors" in out


def test_evaluate(
    prepared: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = tmp_path / "errors.png"
    args = ("evaluate", checkpoint, "--data", prepared, "--device", "cpu")
    assert halnet(*args, "--figure", figure, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["overall"]["count"] == 12
    assert set(result["by_sex"]) == {"female", "male"}
    assert cv2.imread(str(figure)).shape[1] > 1000
    assert halnet(*args, "--limit", 5, "--flip") == 0
    out = capsys.readouterr().out
    assert "flip averaging" in out
    assert "challenge age" in out


def test_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the CSV files alone: there is no checkpoint in this folder."""
    lines = [",".join(COLUMNS)] + [",".join(["1"] * len(COLUMNS))] * 3
    (tmp_path / "training_log.csv").write_text("\n".join(lines))  # the last line is cut off
    assert halnet("plot", tmp_path) == 0
    out, err = capsys.readouterr()
    assert out.split() == [str(tmp_path / "plots" / "training.png")]
    assert "its last line is cut off" in err
    header = "split,source,sex,label,age,stddev,low,high,adult\n"
    rows = [f"test,{i},,{i},{i + 2},1,{i - 1},{i + 5},0.5\n" for i in range(1, 80)]
    (tmp_path / "predictions.csv").write_text(header + "".join(rows))
    assert halnet("plot", tmp_path, "--out", tmp_path / "there", "--format", "svg") == 0
    assert sorted(p.name for p in (tmp_path / "there").iterdir()) == ["test.svg", "training.svg"]
    capsys.readouterr()
    assert halnet("plot", tmp_path / "plots") == 2
    assert "expected a run folder with epochs in training_log.csv" in capsys.readouterr().err


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert halnet("info") == 0
    out = capsys.readouterr().out
    assert "onnxruntime" in out
    assert "pytorch" in out


@pytest.mark.parametrize("name", list(COMMANDS))
def test_help_of_every_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert halnet(name, "--help") == 0
    assert name in capsys.readouterr().out


def test_the_scripts_are_installed() -> None:
    for script in ("halnet", "halnet-export", "halnet-bench"):
        path = Path(sys.executable).with_name(script)
        done = subprocess.run([path, "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0
        assert done.stdout.startswith(f"Usage: {script}")


def test_predict_on_a_real_photo(
    aaf: Path, yunet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = aaf / "original images" / "00001A02.jpg"
    assert halnet("predict", photo, "--detector", yunet, "--json") == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["faces"][0]["age"] < 20
