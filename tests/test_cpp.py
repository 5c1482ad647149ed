"""examples/cpp: the program is built without and with OpenCV, and run as a user runs it.

Both are held to the golden vectors, to the calibration in Python, and to `Predictor`.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from halnet import Predictor
from halnet.ages import AgeCalibration
from halnet.artifact import KNOWN_INPUTS, bundled
from halnet.export.golden_file import Golden
from halnet.photos.images import load_image
from halnet.runtimes.backends import describe, open_runtime

onnx = pytest.importorskip("onnx")
pytest.importorskip("openvino")

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "examples" / "cpp"
GOLDEN = ROOT / "docs" / "golden"
CROPS = GOLDEN / "1.crops.u8"
PHOTO = GOLDEN / "1.photo.jpeg"
MODEL = bundled("halnet.onnx")
METADATA = describe(MODEL).metadata

SAME_VERSION = "use halnet export and halnet.hpp of the same version of halnet"
DAMAGED, COPY_AGAIN = "the file is damaged: ", "; copy it again, or make it again"

Program = Callable[..., subprocess.CompletedProcess[str]]


def build(folder: Path, opencv: str) -> Program:
    """Return a function that runs the program. It fails if the compiler warns of anything."""
    for tool in ("g++", "cmake"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}: apt-get install g++ cmake make")
    openvino = import_module("openvino.utils").get_cmake_path()
    if not openvino:
        pytest.skip("needs the CMake files of OpenVINO, which its wheel has")
    commands = (
        ["cmake", "-S", SOURCE, "-B", folder, f"-DOpenVINO_DIR={openvino}",
         f"-DHALNET_OPENCV={opencv}", "-DCMAKE_CXX_FLAGS=-Werror"],
        ["cmake", "--build", folder],
    )  # fmt: skip
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "Could not find OPENCV" in done.stderr:
            pytest.skip(
                "needs OpenCV for C++: "
                "apt-get install libopencv-imgcodecs-dev libopencv-imgproc-dev"
            )
        assert done.returncode == 0, done.stdout + done.stderr

    def run(*arguments: str | Path | float, threads: int = 1) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [folder / "halnet_cpp", *map(str, arguments), "--threads", str(threads)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def crop_program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return build(tmp_path_factory.mktemp("cpp"), "OFF")


@pytest.fixture(scope="session")
def photo_program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return build(tmp_path_factory.mktemp("cpp_opencv"), "ON")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model as a folder of OpenVINO."""
    to_openvino = pytest.importorskip("halnet.export.to_openvino")
    path: Path = tmp_path_factory.mktemp("cpp_model") / "halnet_openvino_model"
    to_openvino.write_openvino(onnx.load(MODEL), METADATA, path, None)
    return path


def read(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def change(path: Path, **properties: str | None) -> Path:
    """Write the bundled model with other metadata; None takes a text out."""
    model = onnx.load(MODEL)
    for name, value in properties.items():
        kept = [entry for entry in model.metadata_props if entry.key != f"halnet.{name}"]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)
        if value is not None:
            model.metadata_props.add(key=f"halnet.{name}", value=value)
    onnx.save(model, path)
    return path


def test_the_golden_crop(crop_program: Program, folder: Path) -> None:
    golden = Golden.read(GOLDEN)
    (expected,) = golden.photos[0].faces
    limits = golden.tolerances["model_fp32"]
    for model in (MODEL, folder, folder / "halnet.xml"):
        (found,) = read(crop_program(model, CROPS))
        for name, limit in limits.items():
            np.testing.assert_allclose(found[name], getattr(expected, name), rtol=0, atol=limit)
    for level, (low, high) in expected.intervals.items():
        (found,) = read(crop_program(MODEL, CROPS, "--level", level))
        assert found["interval"] == pytest.approx([low, high], abs=0.001)
    for years, chance in expected.at_least.items():
        (found,) = read(crop_program(MODEL, CROPS, "--at-least", years))
        assert found["at_least"] == pytest.approx(chance, abs=1e-4)


FACTORS = (0.9, 1.2, 0.8, 1.3, 1.0, 0.7, 1.2, 1.1)
QUANTILES = tuple(np.linspace(0.02, 3, 99).tolist())


@pytest.mark.parametrize(
    "calibration",
    [
        AgeCalibration(1.3, QUANTILES),
        AgeCalibration(0.8, QUANTILES, FACTORS),
        AgeCalibration(1.0, QUANTILES, (*FACTORS, 0.9, 1.0), (1.2, 0.1, 0.2, -0.4)),
        AgeCalibration(1.0, (1e-9,) * 99, FACTORS),  # no age of the grid is inside
    ],
)
def test_calibrations_of_all_kinds(
    crop_program: Program, crops: np.ndarray, tmp_path: Path, calibration: AgeCalibration
) -> None:
    """Several crops in a file, with old calibrations; some intervals reach 0 or 100 years."""
    file, model = tmp_path / "crops.u8", tmp_path / "model.onnx"
    file.write_bytes(crops.tobytes() + CROPS.read_bytes())
    change(model, calibration=json.dumps(calibration.to_dict(), sort_keys=True), format_version="1")
    faces = read(crop_program(model, file, "--level", 0.655, "--at-least", 21))
    with open_runtime(MODEL, "openvino") as opened:
        expected = opened.run(np.fromfile(file, np.uint8).reshape(-1, 224, 224, 3))
    assert np.ptp(expected.age) > 10
    np.testing.assert_allclose([face["age"] for face in faces], expected.age, atol=0.001)
    for face in faces:
        low, high = calibration.interval(face["age"], face["stddev"], 0.655)
        assert face["interval"] == pytest.approx([float(low), float(high)], abs=0.0001)
        chance = calibration.probability_at_least(np.array(face["probabilities"]), 21)
        assert face["at_least"] == pytest.approx(chance, abs=1e-6)


def refused(done: subprocess.CompletedProcess[str], *words: str, status: int = 2) -> None:
    """Assert that a program printed nothing but one line on stderr, which has these words.

    libpng may print a line of its own before.
    """
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    (line,) = (text for text in done.stderr.splitlines() if not text.startswith("libpng "))
    assert line.startswith("halnet_cpp: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("content", "found"), [(b"", "0 bytes"), (bytes(150_000), "150000 bytes"),
                           (bytes(2 * 150_528 + 1), "301057 bytes")],
)  # fmt: skip
def test_crops_of_a_wrong_size(
    crop_program: Program, tmp_path: Path, content: bytes, found: str
) -> None:
    path = tmp_path / "wrong.u8"
    path.write_bytes(content)
    expected = f"{path}: expected 224 x 224 x 3 = 150528 bytes"
    cure = "for a photo, name the file of YuNet as the third argument"
    refused(crop_program(MODEL, path), expected, f"found {found}; {cure}")


def test_models_of_another_kind(crop_program: Program, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    expected = f"{path}: expected crops with the input fingerprint {' or '.join(KNOWN_INPUTS)}, "
    for fingerprint, found in (("0123456789abcdef", "0123456789abcdef"), (None, "none")):
        change(path, input_fingerprint=fingerprint)
        refused(crop_program(path, CROPS), f"{expected}found {found}; {SAME_VERSION}")
    change(path, format_version="3")
    version = "expected a HAL-Net model of format 1 or 2, found"
    refused(crop_program(path, CROPS), f"{version} 3; {SAME_VERSION}")
    for text in ("", "{}", '{"temperature": 1, "quantiles": []}', '{"quantiles": [1'):
        change(path, calibration=text)
        refused(crop_program(path, CROPS), "is missing or damaged; export the model again")
    names = [name.removeprefix("halnet.") for name in METADATA.to_properties()]
    change(path, **dict.fromkeys(names))
    refused(crop_program(path, CROPS), f"{version} none; {SAME_VERSION}")
    shutil.copytree(folder, tmp_path / "other")
    xml = tmp_path / "other" / "halnet.xml"
    (known,) = (name for name in KNOWN_INPUTS if name in xml.read_text())
    xml.write_text(xml.read_text().replace(known, "0123456789abcdef"))
    refused(crop_program(tmp_path / "other", CROPS), f"{xml}: expected crops", "0123456789abcdef")


@pytest.mark.parametrize(
    ("name", "element", "shape", "found"),
    [
        ("image", "FLOAT", ("N", 224, 224, 3), "image f32[?,224,224,3], age, stddev"),
        ("image", "UINT8", (1, 3, 224, 224), "image u8[1,3,224,224], age, stddev"),
        ("picture", "UINT8", (1, 224, 224, 3), "picture u8[1,224,224,3], age, stddev"),
        ("image", "UINT8", (2, 224, 224, 3), "image u8[2,224,224,3], logits, stddev"),
    ],
)
def test_graphs_of_another_kind(
    crop_program: Program,
    tmp_path: Path,
    name: str,
    element: str,
    shape: tuple[str | int, ...],
    found: str,
) -> None:
    """Models with the metadata of HAL-Net, such as halnet.compiler.onnx, with another graph."""
    first = found.split(", ")[1]
    pixels = onnx.helper.make_tensor_value_info(name, getattr(onnx.TensorProto, element), shape)
    outputs = (first, "stddev", "probabilities")
    floats = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Cast", [name], ["floats"], to=floats),
            *(onnx.helper.make_node("ReduceMean", ["floats"], [output]) for output in outputs),
        ],
        "other",
        [pixels],
        [onnx.helper.make_tensor_value_info(output, floats, [1, 1, 1, 1]) for output in outputs],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.metadata_props.extend(onnx.load(MODEL).metadata_props)
    path = tmp_path / "other.onnx"
    onnx.save(model, path)
    refused(
        crop_program(path, CROPS),
        f"{path}: expected image u8[N,224,224,3], age, stddev, probabilities, found {found}, ",
        "; export with --format openvino or onnx, without --for-compiler",
    )


def test_files_that_are_missing_or_damaged(
    crop_program: Program, folder: Path, tmp_path: Path
) -> None:
    refused(crop_program(tmp_path / "none.onnx", CROPS), "none.onnx: there is no such file")
    kinds = "expected an .onnx or .xml file, or a folder with a file halnet.xml"
    for other in (tmp_path, PHOTO):
        refused(crop_program(other, CROPS), f"{other}: {kinds}")
    for other in (tmp_path, tmp_path / "none.u8"):
        unreadable = f"{other}: cannot be read; expected a file that exists and that you may read"
        refused(crop_program(MODEL, other), unreadable)
    without = "without OpenCV, this program reads no photos; build it with -DHALNET_OPENCV=ON"
    refused(crop_program(MODEL, PHOTO, PHOTO), without)
    for name in ("halnet.xml", "halnet.bin"):
        damaged = tmp_path / name / "model"
        shutil.copytree(folder, damaged)
        data = (damaged / name).read_bytes()
        (damaged / name).write_bytes(data[: len(data) // 2])
        refused(crop_program(damaged, CROPS), f"{damaged}/halnet.xml: {DAMAGED}", COPY_AGAIN)
    short = tmp_path / "short.onnx"
    short.write_bytes(MODEL.read_bytes()[:100_000])
    refused(crop_program(short, CROPS), f"{short}: {DAMAGED}", COPY_AGAIN)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "expected MODEL CROPS.u8 or MODEL PHOTO YUNET"),
        ((MODEL,), "expected MODEL CROPS.u8 or MODEL PHOTO YUNET"),
        ((MODEL, CROPS, "--levels", 0.9), "--levels: there is no such option"),
        ((MODEL, CROPS, "--level", "abc"), "a number from 0.01 to 0.99, found abc"),
        ((MODEL, CROPS, "--level", 2), "--level: expected a number from 0.01 to 0.99, found 2"),
        ((MODEL, CROPS, "--level", 0), "--level: expected a number from 0.01 to 0.99, found 0"),
        ((MODEL, CROPS, "--level", 0.995), "from 0.01 to 0.99, found 0.995"),
        ((MODEL, CROPS, "--at-least", 200), "a number from 0 to 100, found 200"),
        ((MODEL, CROPS, "--at-least", "18y"), "a number from 0 to 100, found 18y"),
        ((MODEL, CROPS, "--time", 1e300), "--time: expected a number from 0 to 1024, found 1e+300"),
        ((MODEL, CROPS, "--time", -1), "--time: expected a number from 0 to 1024, found -1"),
    ],
)
def test_wrong_use(crop_program: Program, arguments: tuple[Any, ...], words: str) -> None:
    refused(crop_program(*arguments), words)


def test_a_level_above_those_of_the_calibration(crop_program: Program, tmp_path: Path) -> None:
    calibration = json.dumps(AgeCalibration(1.0, QUANTILES[:80]).to_dict())
    model = change(tmp_path / "model.onnx", calibration=calibration)
    words = "level: expected above 0 % and up to 80 %, found 90.000000 %"
    refused(crop_program(model, CROPS), words)


def test_the_usage_can_be_printed(crop_program: Program) -> None:
    for arguments in (("--help",), (MODEL, "--help")):
        done = crop_program(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("usage: halnet_cpp MODEL CROPS.u8 or MODEL PHOTO YUNET")


def test_openvino_may_choose_the_threads(crop_program: Program) -> None:
    (chosen,) = read(crop_program(MODEL, CROPS, threads=0))
    (single,) = read(crop_program(MODEL, CROPS))
    assert chosen["age"] == pytest.approx(single["age"], abs=0.001)


def test_the_time_of_a_crop_is_stated_apart_from_the_result(crop_program: Program) -> None:
    plain, timed = crop_program(MODEL, CROPS), crop_program(MODEL, CROPS, "--time", 3)
    assert timed.returncode == 0
    assert timed.stdout == plain.stdout
    milliseconds, words = timed.stderr.split(maxsplit=1)
    assert float(milliseconds) > 0
    assert words == "ms for a crop\n"


def test_the_golden_photo(photo_program: Program, yunet: Path) -> None:
    golden = Golden.read(GOLDEN)
    (expected,) = golden.photos[0].faces
    (found,) = read(photo_program(MODEL, PHOTO, yunet))
    assert found["age"] == pytest.approx(expected.age, abs=golden.tolerances["whole_way"]["age"])
    limit = golden.tolerances["faces"]["box"] * expected.found.box[2]
    assert found["box"] == pytest.approx(expected.found.box, abs=limit)
    (crop,) = read(photo_program(MODEL, CROPS))  # with OpenCV, the program still takes crops
    assert crop["age"] == pytest.approx(expected.age, abs=0.001)


def make_photos(folder: Path) -> list[Path]:
    """Write photos that need the steps of the way: sizes, borders, several faces, EXIF, alpha."""
    from PIL import Image

    portrait = load_image(bundled("portrait.jpg"))
    wide = np.concatenate([portrait, portrait[:, :99:-1], portrait], axis=1)
    close = cv2.resize(portrait[40:240, 145:305], (900, 1125), interpolation=cv2.INTER_CUBIC)
    alpha = np.random.default_rng(0).integers(0, 256, (413, 377, 1), dtype=np.uint8)
    photos = {
        "close.png": close,  # three pixels become one
        "tiny.png": cv2.resize(portrait, (90, 90), interpolation=cv2.INTER_AREA),
        "transparent.png": np.concatenate([portrait[:413, :377], alpha], axis=2),
        "cut.bmp": portrait[90:],  # the box of the face reaches beyond the border
        "gray.png": portrait[..., 1],
    }
    for name, image in photos.items():
        Image.fromarray(np.asarray(image, np.uint8)).save(folder / name)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.fromarray(np.rot90(wide[:, :1401]).copy())
    turned.save(folder / "three.jpg", exif=exif, quality=92)
    return sorted(folder.iterdir())


def overlap(first: list[float], second: tuple[float, ...]) -> float:
    (ax, ay, aw, ah), (bx, by, bw, bh) = first, second
    both = (min(ax + aw, bx + bw) - max(ax, bx)) * (min(ay + ah, by + bh) - max(ay, by))
    return both / (aw * ah + bw * bh - both)


def test_photos_give_what_the_predictor_gives(
    photo_program: Program, yunet: Path, tmp_path: Path
) -> None:
    pytest.importorskip("PIL")
    counts = {}
    with Predictor(MODEL, runtime="openvino", detector=yunet) as predictor:
        for photo in make_photos(tmp_path):
            expected = predictor(photo)
            found = read(photo_program(MODEL, photo, yunet))
            counts[photo.name] = len(found)
            assert len(found) == len(expected), photo.name
            for face, other in zip(found, expected, strict=True):
                assert overlap(face["box"], other.box) > 0.97, photo.name
                assert face["age"] == pytest.approx(other.age, abs=0.25), photo.name
    single = ("close.png", "cut.bmp", "gray.png", "tiny.png", "transparent.png")
    assert counts == {**dict.fromkeys(single, 1), "three.jpg": 3}


def test_photos_that_cannot_be_used(photo_program: Program, yunet: Path, tmp_path: Path) -> None:
    wall = tmp_path / "wall.png"
    cv2.imwrite(str(wall), np.full((300, 500, 3), 140, np.uint8))
    refused(photo_program(MODEL, wall, yunet), f"{wall}: no face was found", status=1)
    png = cv2.imencode(".png", load_image(PHOTO))[1].tobytes()
    for name, data in {
        "empty.jpg": b"", "text.jpg": b"no photo", "page.pdf": b"%PDF-1.7",
        "half.jpg": PHOTO.read_bytes()[:40_000], "half.png": png[: len(png) // 2],
        "start.jpg": PHOTO.read_bytes()[:3],
    }.items():  # fmt: skip
        path = tmp_path / name
        path.write_bytes(data)
        refused(photo_program(MODEL, path, yunet), f"{path}: expected a photo")
    refused(photo_program(MODEL, tmp_path / "none.jpg", yunet), "none.jpg: cannot be read")
    refused(photo_program(MODEL, PHOTO, tmp_path / "none.onnx"), "none.onnx: there is no such file")
    refused(photo_program(MODEL, PHOTO, MODEL), f"{MODEL}: expected YuNet, found another model")
    third = "; for a photo, name the file of YuNet as the third argument"
    refused(photo_program(MODEL, PHOTO), f"{PHOTO}: expected 224 x 224 x 3 = 150528 bytes", third)
    refused(photo_program(yunet, PHOTO, yunet), "expected a HAL-Net model", "found none")
