"""Golden vectors: what a folder holds, which models it belongs to, and what damage is found."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.commands import group, run
from halnet.errors import ArtifactError, ConfigError, HalnetError, ImageError
from halnet.export.golden import GoldenConfig, write_golden
from halnet.export.golden_file import GOLDEN_FILE, Golden
from halnet.faces.yunet_engines import OUTPUTS
from halnet.photos.images import load_image
from halnet.predictor import Predictor
from halnet.runtimes.backends import installed, open_runtime
from halnet.runtimes.fake import FakeRuntime

pytest.importorskip("onnxruntime")

MODEL = bundled("halnet.onnx")
PORTRAIT = bundled("portrait.jpg")
Content = dict[str, Any]
Command = Callable[..., int]


@pytest.fixture(scope="module")
def written(yunet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Golden vectors of the portrait, of two portraits in one photo, and of a wall."""
    folder = tmp_path_factory.mktemp("photos")
    portrait = load_image(PORTRAIT)
    # JPEG: 1536 pixels can be decoded to a half
    two = cv2.resize(np.hstack([portrait, portrait[:, ::-1]]), (1536, 768))
    wall = np.full((90, 70, 3), 128, np.uint8)
    for name, image in (("two.jpg", two), ("wall.png", wall)):
        cv2.imwrite(str(folder / name), np.asarray(image)[:, :, ::-1])
    photos = (PORTRAIT, folder / "two.jpg", folder / "wall.png", PORTRAIT)
    out = tmp_path_factory.mktemp("golden") / "new" / "golden"
    result = write_golden(GoldenConfig(out, MODEL, photos, yunet, threads=1))
    assert [photo.name for photo in result.photos] == ["portrait.jpg", "two.jpg", "wall.png"]
    assert [len(photo.ages) for photo in result.photos] == [1, 2, 0]
    assert result.bytes == sum(path.stat().st_size for path in out.iterdir())
    return out


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(written, tmp_path / "golden"))


def edit(folder: Path, change: Callable[[Content], Any]) -> None:
    path = folder / GOLDEN_FILE
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_the_values_are_those_of_the_predictor(written: Path, yunet: Path) -> None:
    golden = Golden.read(written)
    predictor = Predictor(MODEL, detector=yunet, threads=1)
    for photo in golden.photos:
        expected = predictor(photo.photo)
        assert len(photo.faces) == len(photo.crops) == len(expected)
        for face, other in zip(photo.faces, expected, strict=True):
            assert (face.found.box, face.found.score) == (other.box, other.score)
            assert face.turned == other.turned
            np.testing.assert_array_equal(face.found.landmarks, other.landmarks)
            assert face.age == pytest.approx(other.age, abs=1e-4)
            assert face.stddev == pytest.approx(other.stddev, abs=1e-4)
            np.testing.assert_allclose(face.probabilities, other.probabilities, atol=1e-6)
            assert face.intervals["0.9"] == pytest.approx(other.interval(0.9), abs=1e-3)
            assert face.intervals["0.5"] == pytest.approx(other.interval(0.5), abs=1e-3)
            for years, chance in face.at_least.items():
                assert chance == pytest.approx(other.probability(at_least=int(years)), abs=1e-5)
            assert {"13", "18", "21"} <= set(face.at_least)
    predictor.close()


def test_the_files_are_read_with_numpy_alone(written: Path) -> None:
    """A program without halnet gets the same arrays as the reader."""
    content = json.loads((written / GOLDEN_FILE).read_text())
    golden = Golden.read(written)
    listed = {GOLDEN_FILE}
    for entry, photo in zip(content["photos"], golden.photos, strict=True):
        for file in entry["files"].values():
            data = (written / file["name"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
            listed.add(file["name"])
        raw = np.fromfile(written / entry["files"]["detector_outputs"]["name"], "<f4")
        for name, part in entry["detector_outputs"].items():
            start, count = part["offset"] // 4, np.prod(part["shape"])
            values = raw[start : start + count].reshape(part["shape"])
            np.testing.assert_array_equal(values, photo.outputs[name])
        assert set(entry["detector_outputs"]) == set(OUTPUTS)
        crops = np.fromfile(written / entry["files"]["crops"]["name"], np.uint8)
        np.testing.assert_array_equal(crops.reshape(entry["crops"]["shape"]), photo.crops)
        picture = load_image(photo.detector_input)
        images = {"detector_input": picture}
        if entry["decoded"]["scale"] == 1:
            images["decoded"] = load_image(photo.photo)
        for key, image in images.items():
            assert image.shape == (entry[key]["height"], entry[key]["width"], 3)
            assert hashlib.sha256(image).hexdigest() == entry[key]["sha256"]
    assert listed == {path.name for path in written.iterdir()}
    two = content["photos"][1]
    assert (two["size"], two["decoded"]["scale"], two["decoded"]["width"]) == ([1536, 768], 2, 768)
    assert (two["detector_input"]["width"], two["detector_input"]["height"]) == (640, 320)
    # The matrix is that of the whole photo, and moves the landmarks near the template.
    face = golden.photos[1].faces[0]
    eyes = face.found.landmarks[:2] @ face.matrix[:, :2].T + face.matrix[:, 2]
    np.testing.assert_allclose(eyes, [[84, 96], [140, 96]], atol=4)


def test_models_of_the_same_checkpoint_belong_to_it(written: Path) -> None:
    golden = Golden.read(written)
    golden.check_model(MODEL)
    pytest.importorskip("torch")
    golden.check_model(bundled("halnet.safetensors"))
    other = bundled("halnet-accurate.safetensors")
    with pytest.raises(ArtifactError) as error:
        golden.check_model(other)
    message = str(error.value)
    assert message.startswith(f"{written}: expected golden vectors of {other}, ")
    digest = golden.model.checkpoint_sha256
    assert f"found those of halnet.onnx, whose checkpoint has {digest[:12]}..." in message
    assert message.endswith(
        "write them with halnet export CHECKPOINT --golden, from its checkpoint, or name another "
        "folder"
    )


def test_vectors_of_other_crops_belong_to_no_model(folder: Path) -> None:
    edit(folder, lambda content: content["model"].update(input_fingerprint="0" * 16))
    with pytest.raises(ArtifactError, match="fingerprint [0-9a-f]{16}, as .* found 0{16}; write"):
        Golden.read(folder).check_model(MODEL)


def test_all_runtimes_give_the_golden_ages(written: Path) -> None:
    golden = Golden.read(written)
    for name in installed(("onnxruntime", "openvino", "pytorch")):
        with open_runtime(None, name, device="cpu", threads=1) as runtime:
            golden.check_ages(runtime)
    with pytest.raises(
        ArtifactError, match=r"portrait\.jpg: expected the golden age within 0\.001"
    ):
        golden.check_ages(FakeRuntime())


def test_a_wrong_order_of_colours_or_rows_shows_in_the_ages(written: Path, folder: Path) -> None:
    """The tolerance is small enough to find crops that are almost right."""
    golden = Golden.read(written)
    with open_runtime(MODEL, device="cpu", threads=1) as runtime:
        for change in (lambda crops: crops[..., ::-1], lambda crops: np.roll(crops, 1, axis=2)):
            for photo in golden.photos[:2]:
                outputs = runtime.run(np.ascontiguousarray(change(photo.crops)))
                limit = golden.tolerances["model_fp32"]["age"]
                expected = np.array([face.age for face in photo.faces])
                assert np.abs(outputs.age - expected).max() > 10 * limit


def test_golden_vectors_need_fp32(tmp_path: Path, yunet: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(MODEL)
    for entry in model.metadata_props:
        if entry.key == "halnet.precision":
            entry.value = "int8"
    path = tmp_path / "halnet.int8.onnx"
    onnx.save(model, path)
    with pytest.raises(ConfigError, match="golden vectors need a model in fp32, found int8; name"):
        write_golden(GoldenConfig(tmp_path / "golden", path, detector=yunet, threads=1))
    assert not (tmp_path / "golden" / GOLDEN_FILE).exists()


def test_new_vectors_replace_all_old_ones(folder: Path, yunet: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "9.crops.u8").write_text("not listed")
    result = write_golden(GoldenConfig(folder, MODEL, (PORTRAIT,), yunet, threads=1))
    kinds = ("photo.jpeg", "detector_input.png", "detector_outputs.f32", "crops.u8")
    assert {path.name for path in folder.iterdir()} == {
        *(GOLDEN_FILE, "notes.txt", "9.crops.u8"),
        *(f"1.{kind}" for kind in kinds),
    }
    assert [photo.name for photo in Golden.read(folder).photos] == ["portrait.jpg"]
    assert result.bytes < 1_000_000


def test_a_bad_photo_or_folder_leaves_the_old_vectors(
    folder: Path, yunet: Path, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(PORTRAIT.read_bytes()[:20_000])
    missing = tmp_path / "missing.jpg"
    for photo in (bad, missing):
        with pytest.raises(ImageError, match=str(photo)):
            write_golden(GoldenConfig(folder, MODEL, (PORTRAIT, photo), yunet, threads=1))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(ConfigError, match=r"bad\.jpg is a file; name another folder"):
        write_golden(GoldenConfig(bad, MODEL, (PORTRAIT,), yunet, threads=1))
    (folder / GOLDEN_FILE).write_text('{"mine": 1}')
    with pytest.raises(ArtifactError, match="expected golden vectors of halnet, found another"):
        write_golden(GoldenConfig(folder, MODEL, (PORTRAIT,), yunet, threads=1))
    assert (folder / "2.crops.u8").exists()


def truncate(folder: Path) -> None:
    path = folder / "2.crops.u8"
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(folder: Path) -> None:
    path = folder / "1.detector_outputs.f32"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)


def swap_the_photo(folder: Path) -> None:
    shutil.copy(folder / "2.photo.jpeg", folder / "1.photo.jpeg")


def set_in_photo(*keys: Any) -> Callable[[Path], None]:
    """Return a function that sets a value inside of the first photo of a folder."""

    def change(content: Content) -> None:
        *path, last, value = keys
        place = content["photos"][0]
        for key in path:
            place = place[key]
        place[last] = value

    return lambda folder: edit(folder, change)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / GOLDEN_FILE).unlink(), "expected a folder of golden vectors with golden"),
        (shutil.rmtree, "expected a folder of golden vectors with golden"),
        (lambda f: (f / GOLDEN_FILE).write_text('{"a": '), "golden.json: damaged"),
        (lambda f: (f / GOLDEN_FILE).write_bytes(b"\xff\x00"), "golden.json: damaged"),
        (lambda f: (f / GOLDEN_FILE).write_text("[1]"), "found another JSON file"),
        (lambda f: (f / GOLDEN_FILE).write_text('{"artifacts": {}}'), "found another JSON file"),
        (lambda f: edit(f, lambda c: c.update(golden_format=2)), "expected format 1 of golden"),
        (lambda f: edit(f, lambda c: c.pop("model")), "damaged (KeyError('model'))"),
        (lambda f: edit(f, lambda c: c["model"].pop("sha256")), "golden.json: damaged"),
        (lambda f: edit(f, lambda c: c.update(photos=3)), "golden.json: damaged"),
        (lambda f: (f / "1.photo.jpeg").unlink(), "1.photo.jpeg: cannot be read: No such file"),
        (truncate, "2.crops.u8: expected 301,056 bytes, found 301,055"),
        (flip_a_bit, "1.detector_outputs.f32: expected the SHA-256"),
        (swap_the_photo, "1.photo.jpeg: expected 74,962 bytes, found"),
        (set_in_photo("files", "crops", "name", "../1.crops.u8"), "is no name of a file of golden"),
        (set_in_photo("files", "photo", "name", "golden.json"), "is no name of a file of golden"),
        (set_in_photo("detector_outputs", "kps_8", "shape", [1, 9999, 10]), "damaged"),
        (set_in_photo("detector_outputs", "kps_8", "offset", -4), "damaged"),
        (set_in_photo("faces", []), "0 faces, 1 crops"),
        (set_in_photo("faces", 0, "matrix", [[1, 0], [0, 1]]), "shapes (2, 2) and (101,)"),
        (set_in_photo("faces", 0, "probabilities", [1.0]), "shapes (2, 3) and (1,)"),
        (set_in_photo("faces", 0, "box", [0, 0, -1, 1]), "box of a detected face"),
        (set_in_photo("faces", 0, "age", "old"), "golden.json: damaged"),
    ],
)
def test_damage_is_one_line_that_names_the_cure(
    folder: Path, damage: Callable[[Path], Any], message: str
) -> None:
    damage(folder)
    with pytest.raises(HalnetError) as error:
        Golden.read(folder)
    text = str(error.value)
    assert message in text
    assert text.startswith(str(folder))
    assert "\n" not in text
    assert "halnet export --golden" in text


# The command


def halnet(*arguments: Any) -> int:
    return run(group, [str(argument) for argument in arguments])


def test_the_command_writes_a_folder(
    tmp_path: Path, yunet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "golden"
    options = ("--golden", out, "--detector", yunet, "--threads", 1)
    assert halnet("export", *options) == 0
    text = capsys.readouterr()
    golden = Golden.read(out)
    golden.check_model(MODEL)
    age = golden.photos[0].faces[0].age
    assert "golden vectors of halnet.onnx" in text.out
    assert f"portrait.jpg {age:>19.2f} {'no':>18}".split() in [
        line.split() for line in text.out.splitlines()
    ]
    assert text.err.splitlines() == ["following portrait.jpg through all steps"]
    assert halnet("export", MODEL, *options, "--photo", PORTRAIT, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["photos"] == [
        {"name": "portrait.jpg", "ages": [round(age, 2)], "needs_turning": False}
    ]
    assert (result["folder"], result["model"]) == (str(out), "halnet.onnx")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--golden", "g", "--format", "onnx"),
            "--format cannot be used with --golden, which exports nothing",
        ),
        (("--golden", "g", "--precision", "fp16"), "--precision cannot be used with"),
        (("--golden", "g", "--no-check"), "--no-check cannot be used with"),
        (("--golden", "g", "--out", "deploy"), "--out cannot be used with"),
        (("--photo", "a.jpg"), "--photo is for --golden; name a folder with --golden"),
        (("none.onnx", "--golden", "g"), "none.onnx: no such model file"),
        (("--golden", "g", "--photo", "none.jpg"), "none.jpg: cannot be read"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert halnet("export", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []
