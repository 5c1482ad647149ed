"""The commands know LiteRT files through the tables of formats and back ends alone."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.artifact import bundled

pytest.importorskip("ai_edge_litert")

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]
PORTRAIT = bundled("portrait.jpg")


def test_info_states_what_the_file_carries(
    litert_artifact: Path, halnet: Halnet, capsys: Capture
) -> None:
    assert halnet("info", litert_artifact, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runtime"].startswith("litert ")
    assert found["precision"] == "fp32"
    assert found["reference_mae"] == {"val": 20.0}


def test_bench_times_it_beside_another_runtime(
    litert_artifact: Path, halnet: Halnet, capsys: Capture
) -> None:
    quick = ("--runs", 3, "--seconds", 0, "--warmup", 0, "--starts", 0, "--threads", 2)
    assert halnet("bench", litert_artifact, bundled("halnet.onnx"), *quick, "--json") == 0
    timings = json.loads(capsys.readouterr().out)["timings"]
    assert [timing["runtime"] for timing in timings] == ["litert", "onnxruntime"]


@pytest.mark.usefixtures("stored_face")
@pytest.mark.parametrize("threads", [1, 1000])
def test_predict_runs_it_on_any_number_of_threads(
    threads: int, litert_artifact: Path, halnet: Halnet, capsys: Capture
) -> None:
    model = ("--model", litert_artifact, "--threads", threads)
    assert halnet("predict", PORTRAIT, *model, "--json") == 0
    ((face,),) = (photo["faces"] for photo in json.loads(capsys.readouterr().out))
    assert face["age"] == pytest.approx(38.4, abs=0.1)


@pytest.mark.parametrize(
    ("threads", "message"), [(0, "0 is not in the range"), (1025, "1 to 1024")]
)
def test_predict_refuses_a_number_of_threads_out_of_range(
    threads: int, message: str, litert_artifact: Path, halnet: Halnet, capsys: Capture
) -> None:
    assert halnet("predict", PORTRAIT, "--model", litert_artifact, "--threads", threads) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize("command", [("info",), ("predict", PORTRAIT, "--model")])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "expected a LiteRT model, found a file without the identifier TFL3"),
        (lambda data: data[: len(data) // 2], "LiteRT cannot read it"),
        (lambda data: data.replace(b"halnet\0", b"others\0"), "found no halnet.* metadata"),
        (lambda data: bundled("halnet.onnx").read_bytes(), "without the identifier TFL3"),
    ],
)
def test_a_bad_file_is_one_line(
    damage: Callable[[bytes], bytes],
    message: str,
    command: tuple[object, ...],
    litert_artifact: Path,
    halnet: Halnet,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(damage(litert_artifact.read_bytes()))
    assert halnet(*command, path) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"halnet: {path}: ")
    assert message in line
