"""Every combination of extras that the documents name, each installed and run by itself.

`make extras` runs these tests. They make an environment for each combination, which takes minutes,
so `make test` leaves them out.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from halnet.benchmarks.studies.processes import served

pytestmark = pytest.mark.extras

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CONSTRAINTS = ROOT / "constraints.txt"
EDGE = "onnxruntime"  # installed and run by test_edge_install.py

# The stored face is used in the place of YuNet, which cannot be downloaded everywhere.
PREDICT = """
import sys
from halnet import Predictor
from halnet.benchmarks.samples import portrait

image, face = portrait()
(result,) = Predictor(runtime=sys.argv[1], device="cpu").predict_faces(image, [face])
print(f"{result.age:.3f}")
"""
ABSENT = """
import importlib.util, sys
print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])
"""


class Environment:
    """A virtual environment with halnet and some of its extras."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"

    def run(self, *command: object, status: int = 0) -> str:
        """Run a command of the environment; return what it printed on both streams."""
        program, *args = map(str, command)
        done = subprocess.run(
            [str(self.bin / program), *args],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        )
        assert done.returncode == status, f"{program} {args}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def age(self, runtime: str) -> float:
        """Return the age of the bundled portrait on a runtime."""
        return float(self.run("python", "-c", PREDICT, runtime).split()[-1])


@pytest.fixture(scope="module")
def age() -> float:
    """The age of the bundled portrait in PyTorch, here."""
    from halnet import Predictor
    from halnet.benchmarks.samples import portrait

    image, face = portrait()
    (result,) = Predictor(runtime="pytorch", device="cpu").predict_faces(image, [face])
    return result.age


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Callable[[str], Environment]]:
    """A function that installs halnet with extras into a fresh environment."""

    def make(extras: str) -> Environment:
        folder = tmp_path / "venv"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        done = subprocess.run(
            [
                *(str(folder / "bin" / "pip"), "install", "--quiet", "--no-compile"),
                *("--disable-pip-version-check", "--constraint", str(CONSTRAINTS)),
                f"{ROOT}[{extras}]",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode and "No matching distribution" in done.stderr:
            pytest.skip("needs a package registry")
        assert done.returncode == 0, done.stderr
        subprocess.run([str(folder / "bin" / "pip"), "check"], check=True, capture_output=True)
        size = subprocess.run(["du", "-sm", folder], capture_output=True, text=True, check=True)
        print(f"\n[{extras}]: {size.stdout.split()[0]} MB")
        return Environment(folder)

    yield make
    subprocess.run(["rm", "-rf", tmp_path / "venv"], check=True)


@pytest.mark.parametrize(
    ("extras", "runtime"),
    [
        ("gpu", "onnxruntime"),
        ("openvino", "openvino"),
        ("pytorch", "pytorch"),
    ],
)
def test_one_runtime_gives_the_age_of_the_portrait(
    extras: str, runtime: str, age: float, install: Callable[[str], Environment]
) -> None:
    environment = install(extras)
    assert environment.age(runtime) == pytest.approx(age, abs=0.001)
    absent = ["lightning", "tensorboard", "sklearn", "matplotlib", "timm", "onnx", "streamlit"]
    absent += [] if extras == "pytorch" else ["torch"]
    assert environment.run("python", "-c", ABSENT, *absent).split() == ["[]"]


def test_tensorrt_states_its_version_and_what_is_missing(
    install: Callable[[str], Environment],
) -> None:
    pytest.importorskip("tensorrt_rtx")
    found = json.loads(install("tensorrt-rtx").run("halnet", "info", "--json"))
    (line,) = (entry for entry in found["runtimes"] if entry["runtime"] == "tensorrt")
    assert re.match(r"1\.\d+", line["version"])
    assert line["devices"] or "there is no CUDA device" in line["problem"]


def test_the_demo_is_served(install: Callable[[str], Environment]) -> None:
    environment = install("demo,onnxruntime")
    with served([str(environment.bin / "halnet"), "demo"]) as (address, process):
        assert address.startswith("http://127.0.0.1:")
        assert process.poll() is None


def test_every_format_is_exported_and_checked(
    tmp_path: Path, install: Callable[[str], Environment]
) -> None:
    pytest.importorskip("tensorrt_rtx")
    environment = install("export,onnxruntime,openvino,tensorrt-rtx")
    formats = [part for name in ("onnx", "openvino", "tensorrt") for part in ("--format", name)]
    environment.run("halnet-export", *formats, "--out", tmp_path / "deploy")
    entries = json.loads((tmp_path / "deploy" / "manifest.json").read_text())["artifacts"]
    assert set(entries) == {"halnet.onnx", "halnet_openvino_model", "halnet.engine"}
    environment.run("halnet", "verify", tmp_path / "deploy" / "halnet.onnx")


def test_int8_with_its_ranking(
    calibratable: Path, tmp_path: Path, install: Callable[[str], Environment]
) -> None:
    environment = install("export,onnxruntime,openvino,report")
    out = tmp_path / "deploy"
    environment.run(
        *("halnet-export", "--precision", "int8", "--sensitivity", "--keep-float", "none"),
        *("--data", calibratable, "--calibration-photos", 16, "--no-check", "--out", out),
    )
    for name in ("halnet.int8.onnx", "sensitivity.unsigned.csv", "sensitivity.unsigned.png"):
        assert (out / name).stat().st_size > 0


def test_training_from_a_prepared_folder_to_an_artifact(
    prepared: Path, tmp_path: Path, install: Callable[[str], Environment]
) -> None:
    environment = install("train,pretrained,report,export,onnxruntime")
    run, best = tmp_path / "run", tmp_path / "run" / "best_model.safetensors"
    environment.run(
        *("halnet", "train", "--data", prepared, "--out", run, "--photos", 32),
        *("--stages", "224x1", "--batch-size", 16, "--threads", 2),
    )
    environment.run("halnet", "plot", run)
    picture = tmp_path / "errors.png"
    environment.run("halnet", "evaluate", best, "--data", prepared, "--figure", picture)
    assert picture.stat().st_size > 10_000
    environment.run("halnet", "export", best, "--out", tmp_path / "deploy")


def test_every_documented_combination_is_tested() -> None:
    source = Path(__file__).read_text(encoding="utf-8").partition("def test_every_documented")[0]
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for extras in re.findall(r"pip install '(?:\.|halnet)\[([^\]]+)\]'", text):
            tested = extras == EDGE or f'install("{extras}")' in source
            assert tested, f"{document.name} names [{extras}]"
