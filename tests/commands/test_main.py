"""The command line as a whole: help, wrong use, missing packages, and the installed scripts."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from runpy import run_module
from types import ModuleType
from typing import Any

import click
import pytest

import halnet
from halnet import commands
from halnet.commands import COMMANDS
from halnet.errors import RuntimeUnavailableError
from halnet.placing import staging

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]


def command(name: str) -> click.Command:
    found: click.Command = import_module(f"halnet.commands.{name}").command
    return found


def plain(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_lists_every_option_with_its_text(
    name: str, halnet: Halnet, capsys: Capture
) -> None:
    assert halnet(name, "--help") == 0
    out = plain(capsys.readouterr().out)
    described, _, listed = out.partition(" Options: ")
    assert described.startswith(f"Usage: halnet {name} [OPTIONS]")
    assert plain(str(command(name).help)) in described
    options = [p for p in command(name).params if isinstance(p, click.Option)]
    assert options
    for option in options:
        assert f" {option.opts[0]} " in f" {listed} "
        assert plain(str(option.help)) in listed


def test_sigterm_ends_any_command_as_ctrl_c_does(tmp_path: Path, capsys: Capture) -> None:
    """What a command writes is finished properly or taken back."""

    @click.command()
    def write() -> None:
        with staging(tmp_path, "work"):
            signal.raise_signal(signal.SIGTERM)

    assert commands.run(write, []) == 130
    assert capsys.readouterr().err.strip() == "halnet: interrupted"
    assert not list(tmp_path.iterdir())


def texts() -> dict[str, str]:
    """Return the help text of each command and option."""
    found = {f"halnet {name}": text for name, text in COMMANDS.items()}
    for name in COMMANDS:
        found[name] = str(command(name).help)
        for option in command(name).params:
            if isinstance(option, click.Option):
                found[f"{name} {option.opts[0]}"] = str(option.help)
    return found


@pytest.mark.parametrize("name", texts())
def test_help_texts_are_whole_sentences(name: str) -> None:
    text = texts()[name]
    sentences = re.split(r"(?<=[.!?])\s+", plain(text))
    for sentence in sentences:
        assert re.match(r"[A-Z0-9]", sentence), sentence
    assert sentences[-1].endswith(".")
    assert not re.search(r"\bfake\b", text)  # the runtime for tests


def test_the_group_lists_its_commands(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("--help") == 0
    out = plain(capsys.readouterr().out)
    for name, text in COMMANDS.items():
        assert f"{name} {text}" in out
    files = {path.stem for path in Path(str(commands.__file__)).parent.glob("*.py")}
    assert set(COMMANDS) == files - {
        *("__init__", "evaluation_tables", "face_options", "main", "options", "output"),
    }


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["predict", "a.jpg"], "YuNet model cannot be read"),
        (["predict", "bare"], "none.onnx: the YuNet model cannot be read"),
        (["predict", "a.jpg", "--level", "1.5"], "interval level 1.5"),
        (["predict", "a.jpg", "--model", "no.onnx"], "no such model file"),
        (
            ["predict", "a.jpg", "--runtime", "caffe"],
            "runtime caffe: expected one of onnxruntime, ",
        ),
        (["predict", "a.jpg", "--device", "cuda:99"], "cuda:99"),
        (["train", "--data", ".", "--out", "r"], "run halnet prepare"),
        (["train", "--data", ".", "--out", "r", "--stages", "9"], "PIXELSxEPOCHS"),
        (["prepare", ".", "--out", "r"], "All-Age-Faces"),
        (["evaluate", "--data", "."], "expected a prepared dataset"),
        (
            ["evaluate", "--data", ".", "--figure", "errors"],
            "one of .png, .svg, .pdf, found no suf",
        ),
        (
            ["export", "no.safetensors", "--out", "r"],
            "expected a checkpoint (.safetensors), found no such file",
        ),
        (
            ["export", "--format", "openvno"],
            "tensorrt, litert, coreml, web; did you mean openvino?",
        ),
        (["export", "--precision", "fp61"], "expected one of fp32, fp16, int8; did you mean fp16?"),
        (["export", "--capability", "SM86"], "--capability needs --format tensorrt"),
        (["export", "--data", ".", "--no-check"], "leave out --data or --no-check"),
        (["export", "--max-p99", "0"], "expected more than 0 years, found 0"),
        (["export", "--seed", "1"], "need --precision int8"),
        (["bench", "--mode", "throughput"], "mode throughput: runtime onnxruntime"),
        (["bench", "--runs", "0"], "runs: expected at least 1"),
        (["verify", "no.onnx"], "no such model file"),
        (["info", "no.onnx"], "no such model file"),
        (["plot", "bare"], "expected a run folder with epochs in training_log.csv, found none"),
        (["demo", "no.onnx"], "no such model file or folder"),
    ],
)
def test_wrong_use_is_one_line(
    args: list[str],
    message: str,
    photos: Path,
    halnet: Halnet,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HALNET_YUNET", str(photos / "none.onnx"))
    (photos / "bare").mkdir()
    assert halnet(*args) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert err.startswith("halnet: ")
    assert len(err.splitlines()) == 1, err
    assert not out


@pytest.mark.parametrize(
    ("args", "package", "cure"),
    [
        (["export", "--out", "r", "--precision", "int8", "--sensitivity"], "matplotlib", "report"),
        (["export", "--out", "r"], "onnxscript", "export"),
        (["evaluate", "--data", ".", "--figure", "errors.png"], "matplotlib", "report"),
        (["plot", "."], "matplotlib", "report"),
        (["prepare", ".", "--out", "r"], "sklearn", "train"),
        (["demo"], "streamlit", "demo"),
        (["predict", "a.jpg", "--runtime", "pytorch"], "torch", "pytorch"),
    ],
)
def test_a_missing_package_is_found_before_the_work(
    args: list[str],
    package: str,
    cure: str,
    photos: Path,
    halnet: Halnet,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # an import of it now fails
    before = sorted(os.listdir(photos))
    assert halnet(*args) == 2
    out, err = capsys.readouterr()
    assert f"{package}" in err
    assert err.rstrip().endswith(f"pip install 'halnet[{cure}]'")
    assert len(err.splitlines()) == 1, err
    assert not out
    assert sorted(os.listdir(photos)) == before


@pytest.mark.parametrize(
    ("command", "name"), [(commands.group, "halnet"), ("export", "halnet-export")]
)
def test_a_foreign_opencv_is_one_line(
    command: Any, name: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", ModuleType("cv2"))
    assert commands.run(command, ["info"], name) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"{name}: halnet needs OpenCV 4.13 or later, found cv2 without a version"
    )
    with pytest.raises(RuntimeUnavailableError, match=line.partition(" (")[0].partition(": ")[2]):
        _ = halnet.Predictor


def test_the_package_is_run_as_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(sys, "argv", ["halnet", "--version"])
    with pytest.raises(SystemExit) as end:
        run_module("halnet", run_name="__main__")
    assert end.value.code == 0
    assert capsys.readouterr().out == f"halnet, version {halnet.__version__}\n"


@pytest.mark.parametrize("script", ["halnet", "halnet-export", "halnet-bench"])
def test_the_scripts_are_installed(script: str) -> None:
    path = Path(sys.executable).with_name(script)
    done = subprocess.run([path, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: {script}")


def test_the_backend_that_a_notebook_left_is_not_used(
    halnet: Halnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that is not installed would stop the import of matplotlib and of Lightning."""
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    assert halnet("info") == 0
    assert os.environ["MPLBACKEND"] == "agg"
