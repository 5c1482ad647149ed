"""Every combination of extras that the documents name, each installed and run by itself.

`make extras` runs these tests with the versions of constraints.txt, and `make lowest` with the
lowest versions that pyproject.toml allows. They make an environment for each combination, which
takes minutes, so `make test` leaves them out.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from halnet.artifact import bundled
from halnet.benchmarks.studies import oldest_worker
from halnet.benchmarks.studies.processes import served
from halnet.export.oldest import OLDEST

pytestmark = pytest.mark.extras

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CONSTRAINTS = os.environ.get("CONSTRAINTS", str(ROOT / "constraints.txt"))
EDGE = "onnxruntime"  # installed and run by test_edge_install.py
ALONE = {"gpu": "onnxruntime", "openvino": "openvino", "pytorch": "pytorch"}  # extra: its runtime
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ALL_EXTRAS = PROJECT["optional-dependencies"]
# These contain all packages of the extra `pytorch`.
WITH_PYTORCH = {name for name, needed in ALL_EXTRAS.items() if "halnet[pytorch" in str(needed)}

# The stored face is used in the place of YuNet, which cannot be downloaded everywhere.
PREDICT = """
import sys
import numpy
from halnet import Predictor
from halnet.benchmarks.samples import portrait

image, face = portrait()
predictor = Predictor(*sys.argv[3:], runtime=sys.argv[1], device="cpu")
(result,) = predictor.predict_faces(image, [face])
(age,) = predictor.predict_crops(numpy.load(sys.argv[2])).age
print(f"ages: {result.age:.4f} {age:.4f}")
"""
CONVERT = """
import sys
import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()
for path in sys.argv[2:]:
    Image.open(sys.argv[1]).save(path)
"""
FILM = """
import sys
from pathlib import Path
from halnet.photos.images import load_image
from halnet.videos.video_file import mp4_writer

photo = load_image(sys.argv[1])
with mp4_writer(Path(sys.argv[2]), photo) as write:
    write(photo, 0.0)
"""
SERVE = """
import os, signal, socket, threading, time, urllib.request
from halnet.benchmarks.samples import portrait
from halnet.serving import server
from halnet.serving.config import ServeConfig

with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]

def ask():
    while True:
        try:
            print(urllib.request.urlopen(f"http://127.0.0.1:{port}/health").read().decode())
            break
        except OSError:
            time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=ask).start()
server.serve(ServeConfig(port=port, detector=lambda photo: [portrait()[1]]))
"""
ABSENT = """
import importlib.util, sys
print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])
"""


class Environment:
    """A virtual environment with halnet and some of its extras."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        make = [sys.executable, "-m", "venv", "--without-pip", folder]
        subprocess.run(make, check=True)

    def install(self, extras: str, wheel: Path) -> None:
        """Install halnet with extras from its wheel, and print the size of the environment."""
        self.pip_or_skip(
            "install", "--no-compile", "--constraint", CONSTRAINTS, f"{wheel}[{extras}]"
        )
        checked = self.pip("check")
        assert checked.returncode == 0, checked.stdout
        size = subprocess.run(
            ["du", "-sm", self.folder], capture_output=True, text=True, check=True
        )
        print(f"\n[{extras}]: {size.stdout.split()[0]} MB")

    def pip(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the pip of this test in the environment."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "--quiet"]
        return subprocess.run([*pip, *arguments], capture_output=True, text=True, check=False)

    def pip_or_skip(self, *arguments: str) -> None:
        """Run pip in the environment; skip the test if no package registry can be reached."""
        done = self.pip(*arguments)
        if "(from versions: none)" in done.stderr:
            pytest.skip("needs a package registry")
        assert done.returncode == 0, done.stderr

    def link_packages(self, other: "Environment") -> None:
        """Fill the environment with hard links to the packages of another one, without halnet."""
        packages = "lib/python{}.{}/site-packages".format(*sys.version_info)
        for path in (other.folder / packages).iterdir():
            if not path.name.startswith("halnet"):
                link = ["cp", "--archive", "--link", path, self.folder / packages]
                subprocess.run(link, check=True)

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

    def json(self, *command: object) -> Any:
        """Run a command; return the JSON that its output begins with."""
        return json.JSONDecoder().raw_decode(self.run(*command))[0]

    def ages(self, runtime: str, crop: Path, *model: Path) -> list[float]:
        """Return the ages of the bundled portrait and of its crop in a file on a runtime.

        The model is the bundled one, or `model`.
        """
        printed = self.run("python", "-c", PREDICT, runtime, crop, *model)
        return [float(age) for age in printed.partition("ages: ")[2].split()[:2]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of halnet, which is built once and installed into each environment."""
    folder = tmp_path_factory.mktemp("wheel")
    builder = Environment(folder / "venv")
    builder.pip_or_skip("wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def pytorch(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """An environment with the extra `pytorch`, of 5 GB."""
    environment = Environment(tmp_path_factory.mktemp("pytorch") / "venv")
    environment.install("pytorch", wheel)
    yield environment
    subprocess.run(["rm", "-rf", environment.folder], check=True)


@pytest.fixture(scope="module")
def converter(
    wheel: Path, pytorch: Environment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Environment]:
    """An environment that makes LiteRT artifacts, with other versions of packages than `dev`."""
    environment = Environment(tmp_path_factory.mktemp("converter") / "venv")
    environment.link_packages(pytorch)
    environment.install("litert-export,onnxruntime", wheel)
    yield environment
    subprocess.run(["rm", "-rf", environment.folder], check=True)


@pytest.fixture(scope="module")
def tflite(
    converter: Environment, calibratable: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The bundled model as LiteRT artifacts. INT8 is made fast, and so it is not checked."""
    out = tmp_path_factory.mktemp("litert") / "deploy"
    export = ("halnet-export", "--format", "litert", "--out", out)
    converter.run(*export, "--precision", "fp32", "--precision", "fp16")
    converter.run("halnet", "verify", out / "halnet.tflite")
    converter.run(
        *(*export, "--precision", "int8", "--litert-form", "w8", "--keep-float", "none"),
        *("--data", calibratable, "--calibration-photos", 16, "--no-check"),
    )
    return out / "halnet.tflite"


@pytest.fixture
def install(
    wheel: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], Environment]]:
    """A function that installs halnet with extras into a fresh environment.

    PyTorch is installed once. The environments of the extras that contain `pytorch` begin with
    links to its packages, so that pip installs what is missing.
    """
    folder = tmp_path / "venv"

    def make(extras: str) -> Environment:
        if extras == "pytorch":
            return request.getfixturevalue("pytorch")
        environment = Environment(folder)
        if WITH_PYTORCH & set(extras.split(",")):
            environment.link_packages(request.getfixturevalue("pytorch"))
        environment.install(extras, wheel)
        return environment

    yield make
    subprocess.run(["rm", "-rf", folder], check=True)


@pytest.mark.parametrize(("extras", "runtime"), ALONE.items())
def test_one_runtime_gives_the_age_of_the_portrait(
    extras: str,
    runtime: str,
    portrait_crop: Path,
    portrait_ages: list[float],
    install: Callable[[str], Environment],
) -> None:
    environment = install(extras)
    photo, crop = environment.ages(runtime, portrait_crop)
    assert crop == pytest.approx(portrait_ages[1], abs=0.001)
    # Releases of OpenCV differ a little in how they decode and scale a photo.
    assert photo == pytest.approx(portrait_ages[0], abs=0.1)
    absent = ["lightning", "tensorboard", "sklearn", "matplotlib", "timm", "onnx", "streamlit"]
    absent += [] if extras == "pytorch" else ["torch"]
    assert environment.run("python", "-c", ABSENT, *absent).split() == ["[]"]


def test_the_tests_of_the_converter_pass(converter: Environment) -> None:
    """`make test` skips them, because the extra `dev` does not contain the converter."""
    assert converter.pip("install", "--constraint", CONSTRAINTS, "pytest").returncode == 0
    tests = sorted((ROOT / "tests" / "export").glob("test_*litert*.py"))
    printed = converter.run("python", "-m", "pytest", "-q", "-c", ROOT / "pyproject.toml", *tests)
    assert " passed" in printed
    assert "skipped" not in printed


def test_litert_runs_a_file_without_pytorch(
    tflite: Path,
    portrait_crop: Path,
    portrait_ages: list[float],
    install: Callable[[str], Environment],
) -> None:
    entries = json.loads(tflite.with_name("manifest.json").read_text())["artifacts"]
    names = ("halnet.tflite", "halnet.fp16.tflite", "halnet.int8.tflite")
    assert set(entries) == set(names)
    environment = install("litert")
    photo, _ = environment.ages("litert", portrait_crop, tflite)
    assert photo == pytest.approx(portrait_ages[0], abs=0.1)
    for name, tolerance in zip(names, (0.001, 0.1, 3.0), strict=True):
        _, crop = environment.ages("litert", portrait_crop, tflite.with_name(name))
        assert crop == pytest.approx(portrait_ages[1], abs=tolerance), name
    absent = ["torch", "onnx", "onnxruntime", "litert_torch", "ai_edge_quantizer", "tensorflow"]
    assert environment.run("python", "-c", ABSENT, *absent).split() == ["[]"]


@pytest.mark.parametrize("package", ["onnxruntime", "openvino"])
def test_the_oldest_releases_run_the_bundled_model(
    package: str, portrait_crop: Path, portrait_ages: list[float], tmp_path: Path
) -> None:
    """It is run as a program without halnet would do it."""
    release = OLDEST["onnx", "fp32"][package]
    environment = Environment(tmp_path / "venv")
    arguments = ("install", "--no-compile", "--only-binary", ":all:")
    environment.pip_or_skip(*arguments, f"{package}=={release}", "numpy<2")
    worker = (oldest_worker.__file__, package, bundled("halnet.onnx"), portrait_crop)
    printed = environment.run("python", *worker)
    assert float(printed.split()[-1]) == pytest.approx(portrait_ages[1], abs=0.001)


def test_tensorrt_states_its_version_and_what_is_missing(
    install: Callable[[str], Environment],
) -> None:
    pytest.importorskip("tensorrt_rtx")
    found = install("tensorrt-rtx").json("halnet", "info", "--json")
    (line,) = (entry for entry in found["runtimes"] if entry["runtime"] == "tensorrt")
    assert re.match(r"1\.\d+", line["version"])
    assert line["devices"] or "there is no CUDA device" in line["problem"]


def test_photos_and_videos_of_phones_are_read(
    portrait_ages: list[float],
    yunet: Path,
    tmp_path: Path,
    install: Callable[[str], Environment],
) -> None:
    environment = install("heif,onnxruntime,video")
    photos = [tmp_path / "a.heic", tmp_path / "b.avif"]
    environment.run("python", "-c", CONVERT, bundled("portrait.jpg"), *photos)
    for photo in environment.json("halnet", "predict", *photos, "--json", "--detector", yunet):
        (face,) = photo["faces"]
        assert face["age"] == pytest.approx(portrait_ages[0], abs=3)  # their pixels are changed
    film, drawn = tmp_path / "c.mp4", tmp_path / "drawn"
    environment.run("python", "-c", FILM, bundled("portrait.jpg"), film)
    (frame,) = environment.json(
        "halnet", "predict", film, "--json", "--detector", yunet, "--draw", drawn
    )
    assert frame["faces"][0]["age"] == pytest.approx(portrait_ages[0], abs=3)
    assert (drawn / "c.mp4").stat().st_size > 1000


def test_a_folder_is_predicted_by_workers_of_ray(
    portrait_ages: list[float],
    yunet: Path,
    tmp_path: Path,
    install: Callable[[str], Environment],
) -> None:
    environment = install("onnxruntime,ray")
    photos, out = tmp_path / "photos", tmp_path / "faces"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(bundled("portrait.jpg").read_bytes())
    environment.run("halnet", "batch", photos, out, "--workers", 1, "--detector", yunet)
    code = "import sys, pandas; print('age:', *pandas.read_parquet(sys.argv[1]).age)"
    printed = environment.run("python", "-c", code, out)
    assert float(printed.partition("age: ")[2]) == pytest.approx(portrait_ages[0], abs=0.1)


def test_the_demo_is_served(install: Callable[[str], Environment]) -> None:
    environment = install("demo,onnxruntime")
    with served([str(environment.bin / "halnet"), "demo"]) as (address, process):
        assert address.startswith("http://127.0.0.1:")
        assert process.poll() is None


def test_photos_are_served(install: Callable[[str], Environment]) -> None:
    environment = install("serve,onnxruntime")
    printed = environment.run("python", "-c", SERVE)
    assert "halnet.onnx on onnxruntime" in printed
    assert '{"status":"ok"}' in printed


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


def test_core_ml_packages_are_converted(
    tmp_path: Path, install: Callable[[str], Environment]
) -> None:
    environment = install("coreml")
    precisions = ("--precision", "fp32", "--precision", "fp16")
    printed = environment.run(
        *("halnet-export", "--format", "coreml", *precisions, "--out", tmp_path / "deploy")
    )
    assert "halnet.mlpackage: not checked: " in printed
    entries = json.loads((tmp_path / "deploy" / "manifest.json").read_text())["artifacts"]
    assert set(entries) == {"halnet.mlpackage", "halnet.fp16.mlpackage"}
    for name, entry in entries.items():
        assert "Apple's systems alone" in entry["unchecked"]
        assert entry["versions"]["coremltools"] == "9.0"
        package = tmp_path / "deploy" / name
        assert sum(f.stat().st_size for f in package.rglob("*") if f.is_file()) == entry["bytes"]
    assert entries["halnet.fp16.mlpackage"]["bytes"] < 0.6 * entries["halnet.mlpackage"]["bytes"]


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


def combinations_in_tests() -> set[str]:
    source = Path(__file__).read_text(encoding="utf-8")
    return {EDGE, *ALONE, *re.findall(r'install\("([a-z,-]+)"', source)}


def test_every_extra_is_tested() -> None:
    tested = {extra for extras in combinations_in_tests() for extra in extras.split(",")}
    assert tested == set(ALL_EXTRAS) - {"dev"}


def test_every_documented_combination_is_tested() -> None:
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for extras in re.findall(r"pip install '(?:\.|halnet)\[([^\]]+)\]'", text):
            assert extras in combinations_in_tests(), f"{document.name} names [{extras}]"
