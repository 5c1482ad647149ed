"""docs/specification.md: a program that was written from this page alone passes golden vectors.

The program is examples/plain_way.py. Each step starts from the golden values of the step before.
"""

import ast
import hashlib
import importlib.util
import json
import sys
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from halnet.artifact import INPUT, KNOWN_INPUTS, bundled, sha256_file
from halnet.export.golden import TOLERANCES, GoldenConfig, write_golden
from halnet.export.golden_file import Golden, GoldenPhoto
from halnet.faces import detected, looks, upright, yunet_output
from halnet.faces.alignment import TEMPLATE
from halnet.faces.yunet_engines import STRIDES
from halnet.faces.yunet_file import YUNET_NAME, YUNET_SHA256
from halnet.photos.images import MAX_PIXELS, load_image

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
Image = pytest.importorskip("PIL.Image")

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "examples" / "plain_way.py"
COPY = ROOT / "docs" / "golden"
PAGE = (ROOT / "docs" / "specification.md").read_text(encoding="utf-8")

PORTRAIT = load_image(bundled("portrait.jpg"))
# A copy in the repository, and photos that need each step of the page.
NAMES = (
    *("portrait.jpg", "large.jpg", "three.jpg", "transparent.png", "close.png", "tiny.png"),
    *("upside_down.png", "quarter.png", "tilted.png", "wall.png"),
)
TURNED = ("upside_down.png", "quarter.png", "tilted.png")


def save(path: Path, image: np.ndarray, orientation: int = 1) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(path, exif=exif, quality=92)


def resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def make_photos(folder: Path) -> list[Path]:
    """Write photos for all parts of the page into a folder."""
    large = np.asarray(cv2.resize(PORTRAIT, (1600, 1600), interpolation=cv2.INTER_CUBIC), np.uint8)
    three = np.concatenate([PORTRAIT, PORTRAIT[:, :99:-1], PORTRAIT], axis=1)
    turn = cv2.getRotationMatrix2D((256, 256), 40, 1)
    alpha = np.random.default_rng(0).integers(0, 256, (413, 377, 1), dtype=np.uint8)
    close = cv2.resize(PORTRAIT[40:240, 145:305], (900, 1125), interpolation=cv2.INTER_CUBIC)
    photos: dict[str, np.ndarray] = {
        "three.jpg": three,
        "transparent.png": np.concatenate([PORTRAIT[:413, :377], alpha], axis=2),
        "close.png": np.asarray(close, np.uint8),
        "tiny.png": resized(PORTRAIT, 90, 90),
        "upside_down.png": PORTRAIT[::-1, ::-1].copy(),
        "quarter.png": np.rot90(PORTRAIT).copy(),
        "tilted.png": np.asarray(cv2.warpAffine(PORTRAIT, turn, (512, 512)), np.uint8),
        "wall.png": np.full((300, 500, 3), 140, np.uint8),
    }
    for name, image in photos.items():
        save(folder / name, image)
    save(folder / "large.jpg", np.rot90(large[:1400]).copy(), orientation=6)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    spec = importlib.util.spec_from_file_location("plain_way", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["plain_way"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


class Case:
    """A golden photo, and what the program makes of each step."""

    def __init__(self, golden: Golden, photo: GoldenPhoto, program: Any, yunet: Any) -> None:
        self.golden, self.photo, self._program, self._yunet = golden, photo, program, yunet

    @cached_property
    def opened(self) -> Any:
        return self._program.Photo(self.photo.photo.read_bytes())

    @cached_property
    def detector_input(self) -> np.ndarray:
        return np.asarray(Image.open(self.photo.detector_input))

    @cached_property
    def detected(self) -> list[Any]:
        return list(self._program.detect(self._yunet, self.opened))

    def crops(self, program: Any = None) -> np.ndarray:
        landmarks = [face.found.landmarks.astype(float) for face in self.photo.faces]
        return np.asarray((program or self._program).cut_crops(self.opened, landmarks))


@pytest.fixture(scope="module")
def cases(
    plain: ModuleType, yunet: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Case]:
    source, out = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("golden")
    write_golden(GoldenConfig(out, photos=tuple(make_photos(source)), detector=yunet, threads=1))
    detector = plain.YuNet(yunet.read_bytes())
    return {
        photo.name: Case(golden, photo, plain, detector)
        for golden in (Golden.read(COPY), Golden.read(out))
        for photo in golden.photos
    }


@pytest.fixture(scope="module")
def model(plain: ModuleType) -> Any:
    return plain.Model(bundled("halnet.onnx").read_bytes())


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest, cases: dict[str, Case]) -> Case:
    return cases[request.param]


def difference(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Return the largest and the mean difference."""
    assert found.shape == expected.shape
    if not found.size:
        return 0.0, 0.0
    distance = np.abs(found.astype(float) - expected)
    return float(distance.max()), float(distance.mean())


def is_within(found: np.ndarray, expected: np.ndarray, limits: Any) -> bool:
    largest, mean = difference(found, expected)
    return largest <= limits["max"] and mean <= limits.get("mean", np.inf)


def test_the_program_uses_neither_halnet_nor_opencv() -> None:
    tree = ast.parse(PROGRAM.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
             for alias in node.names}  # fmt: skip
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    third = {"numpy", "onnx", "onnxruntime", "PIL"}
    assert names == third | {"io", "json", "math", "sys", "dataclasses"}


def test_the_copy_in_the_repository_belongs_to_the_bundled_model() -> None:
    """When the weights change, run `halnet export --golden docs/golden`."""
    golden = Golden.read(COPY)
    golden.check_model(bundled("halnet.onnx"))
    assert golden.model.sha256 == sha256_file(bundled("halnet.onnx"))
    assert golden.model.checkpoint_sha256 == sha256_file(bundled("halnet.safetensors"))
    assert [photo.name for photo in golden.photos] == ["portrait.jpg"]
    assert golden.photos[0].photo.read_bytes() == bundled("portrait.jpg").read_bytes()
    assert golden.tolerances == TOLERANCES
    assert sum(path.stat().st_size for path in COPY.iterdir()) < 1_000_000


def test_the_made_photos_need_each_part_of_the_page(cases: dict[str, Case]) -> None:
    assert set(cases) == set(NAMES)
    photos = {name: case.photo for name, case in cases.items()}
    assert {name for name, photo in photos.items() if photo.needs_turning} == set(TURNED)
    assert {name: len(photo.faces) for name, photo in photos.items()} == {
        **dict.fromkeys(NAMES, 1), "three.jpg": 3, "wall.png": 0,
    }  # fmt: skip
    assert photos["large.jpg"].size == (1600, 1400), "EXIF exchanges width and height"
    assert photos["large.jpg"].decoded["scale"] == 2
    assert photos["close.png"].decoded["scale"] == 1
    (close,) = photos["close.png"].faces
    assert np.hypot(*close.matrix[:, 0]) < 1 / 3, "three pixels become one"
    assert [face.turned != 0 for face in photos["tilted.png"].faces] == [True]


def test_decoding(case: Case) -> None:
    decoded, photo = case.photo.decoded, case.opened
    assert photo.largest_scale(max(photo.sides) / 640) == decoded["scale"]
    pixels = photo.decode(decoded["scale"])
    assert pixels.shape == (decoded["height"], decoded["width"], 3)
    assert hashlib.sha256(np.ascontiguousarray(pixels)).hexdigest() == decoded["sha256"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(plain: ModuleType, tmp_path: Path, orientation: int) -> None:
    for name in ("a.jpg", "a.png", "a.webp"):
        save(tmp_path / name, PORTRAIT[:96, 100:260], orientation)
        found = plain.Photo((tmp_path / name).read_bytes()).decode(1)
        np.testing.assert_array_equal(found, load_image(tmp_path / name))


def test_shrinking(case: Case, plain: ModuleType) -> None:
    pixels = plain.shrink(case.opened.decode(case.photo.decoded["scale"]))
    assert max(pixels.shape) <= 640
    assert is_within(pixels, case.detector_input, case.golden.tolerances["detector_input"])


def test_detector_outputs(case: Case, plain: ModuleType, yunet: Path) -> None:
    outputs = plain.YuNet(yunet.read_bytes()).compute(case.detector_input)
    assert set(outputs) == set(case.photo.outputs)
    for name, expected in case.photo.outputs.items():
        assert is_within(outputs[name], expected, case.golden.tolerances["detector_outputs"])


def test_detector_decoding(case: Case, plain: ModuleType) -> None:
    picture, limits = case.detector_input, case.golden.tolerances["found"]
    width = max(64, -(-picture.shape[1] // 32) * 32)
    found = plain.suppress(plain.read_outputs(case.photo.outputs, width))
    found = sorted(
        (face for face in found if plain.is_face(face, picture)),
        key=lambda face: -face.box[2] * face.box[3],
    )
    assert len(found) == len(case.photo.found)
    for face, expected in zip(found, case.photo.found, strict=True):
        np.testing.assert_allclose(face.box, expected.box, rtol=0, atol=limits["box"])
        np.testing.assert_allclose(
            face.landmarks, expected.landmarks, rtol=0, atol=limits["landmarks"]
        )
        assert face.score == pytest.approx(expected.score, abs=limits["score"])


def test_faces_of_the_photo(case: Case) -> None:
    kind = "faces_turned" if case.photo.needs_turning else "faces"
    limits = case.golden.tolerances[kind]
    assert len(case.detected) == len(case.photo.faces)
    for face, golden in zip(case.detected, case.photo.faces, strict=True):
        expected = golden.found
        width = expected.box[2]
        np.testing.assert_allclose(face.box, expected.box, rtol=0, atol=limits["box"] * width)
        np.testing.assert_allclose(
            face.landmarks, expected.landmarks, rtol=0, atol=limits["landmarks"] * width
        )
        assert face.score == pytest.approx(expected.score, abs=limits["score"])


def test_matrix_and_roll(case: Case, plain: ModuleType) -> None:
    for face in case.photo.faces:
        places = face.found.landmarks.astype(float)
        matrix = plain.similarity(places)
        moved, expected = (places @ m[:, :2].T + m[:, 2] for m in (matrix, face.matrix))
        assert is_within(moved, expected, case.golden.tolerances["matrix"])
        angle = plain.roll(places)
        assert face.turned == (round(angle) if abs(angle) > 25 else 0)


def test_crops(case: Case) -> None:
    if case.photo.faces:
        assert is_within(case.crops(), case.photo.crops, case.golden.tolerances["crops"])


def test_model(case: Case, model: Any) -> None:
    if case.photo.faces:
        limits = case.golden.tolerances["model_fp32"]
        for name, found in zip(
            ("age", "stddev", "probabilities"), model.run(case.photo.crops), strict=True
        ):
            expected = np.array([getattr(face, name) for face in case.photo.faces])
            np.testing.assert_allclose(found, expected, rtol=0, atol=limits[name])


def test_interval_and_probabilities(case: Case, plain: ModuleType, model: Any) -> None:
    calibration = json.loads(json.dumps(case.golden.model.calibration))
    assert calibration == model.calibration
    years = case.golden.tolerances["intervals"]["years"]
    share = case.golden.tolerances["at_least"]["probability"]
    for face in case.photo.faces:
        assert set(face.intervals) == {"0.5", "0.9"}
        for level, expected in face.intervals.items():
            found = plain.interval(calibration, face.age, face.stddev, float(level))
            np.testing.assert_allclose(found, expected, rtol=0, atol=years)
        assert "18" in face.at_least
        for age, chance in face.at_least.items():
            found = plain.probability_at_least(calibration, face.probabilities, int(age))
            assert found == pytest.approx(chance, abs=share)


def test_the_whole_way(case: Case, plain: ModuleType, model: Any) -> None:
    if case.photo.faces:
        ages = model.run(plain.cut_crops(case.opened, [face.landmarks for face in case.detected]))
        expected = [face.age for face in case.photo.faces]
        limit = case.golden.tolerances["whole_way"]["age"]
        np.testing.assert_allclose(ages[0], expected, rtol=0, atol=limit)


def test_calibrations_of_other_kinds(plain: ModuleType) -> None:
    """Old files have no scale, and 8 age factors or none; some intervals reach 0 or 100 years."""
    from halnet.ages import AgeCalibration

    rng = np.random.default_rng(1)
    quantiles = tuple(np.linspace(0.02, 3, 99).tolist())
    factors = (0.9, 1.2, 0.8, 1.3, 1.0, 0.7, 1.2, 1.1)
    probabilities = rng.dirichlet(np.full(101, 0.3), 40).astype(np.float32)
    for calibration in (
        AgeCalibration(1.3, quantiles),
        AgeCalibration(0.8, quantiles, factors),
        AgeCalibration(1.0, quantiles, (*factors, 0.9, 1.0), (1.2, 0.1, 0.2, -0.4)),
        AgeCalibration(1.0, (1e-9,) * 99, factors),  # no age of the grid is inside
    ):
        values = calibration.to_dict()
        for age, row in zip(rng.uniform(0, 100, 40), probabilities, strict=True):
            for stddev, level in ((0.0, 0.1), (7.0, 0.655), (20.0, 0.9)):
                np.testing.assert_allclose(
                    plain.interval(values, age, stddev, level),
                    calibration.interval(age, stddev, level),
                    rtol=0, atol=1e-9,
                )  # fmt: skip
            expected = calibration.probability_at_least(row, 21)
            assert plain.probability_at_least(values, row, 21) == pytest.approx(expected, abs=1e-12)


def made_outputs(boxes: list[tuple[float, ...]], scores: list[float]) -> dict[str, np.ndarray]:
    """Return outputs of YuNet for 64 x 64 pixels with these boxes, at the places of stride 8."""
    outputs = {
        f"{name}_{stride}": np.zeros((1, (64 // stride) ** 2, size), np.float32)
        for name, size in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
        for stride in STRIDES
    }
    for place, ((x, y, width, height), score) in enumerate(zip(boxes, scores, strict=True)):
        middle = (np.array([x + width / 2, y + height / 2])) / 8 - (place % 8, place // 8)
        outputs["cls_8"][0, place] = 1.7  # counts as 1
        outputs["obj_8"][0, place] = score**2
        outputs["bbox_8"][0, place] = (*middle, *np.log([width / 8, height / 8]))
        outputs["kps_8"][0, place] = np.arange(10)
    return outputs


@pytest.mark.parametrize(
    ("boxes", "kept"),
    [
        # Whole pixels: 10 wide at 0 and at 5: an overlap of 1 / 3. As they are: 0.27.
        ([(0.1, 0.5, 10.05, 10.5), (5.9, 0.5, 10.05, 10.5)], 1),
        # Whole pixels: 10 wide at 0 and at 6: an overlap of 1 / 4. As they are: 0.37.
        ([(0.98, 0.5, 10.98, 10.5), (6.02, 0.5, 10.98, 10.5), (40, 40, 9, 9)], 3),
    ],
)
def test_overlaps_are_those_of_opencv(
    plain: ModuleType, boxes: list[tuple[float, ...]], kept: int
) -> None:
    outputs = made_outputs(boxes, [0.9, 0.8, 0.7][: len(boxes)])
    expected = yunet_output.find_rows(outputs, 64)
    found = plain.suppress(plain.read_outputs(outputs, 64))
    np.testing.assert_allclose([face.box for face in found], expected[:, :4], atol=1e-4)
    assert len(found) == kept


class TestTeeth:
    """What a wrong implementation would do lies outside the tolerances."""

    @pytest.fixture
    def other(self, plain: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
        """The program, whose functions a test may replace."""
        self.patch = monkeypatch
        return plain

    def test_a_warp_from_the_corners_of_pixels(self, other: Any, cases: dict[str, Case]) -> None:
        warp, shift = other.warp, np.array([[0, 0, 0.25], [0, 0, 0]])
        self.patch.setattr(other, "warp", lambda image, m, size: warp(image, m + shift, size))
        for name in ("portrait.jpg", "close.png", "tiny.png"):
            case = cases[name]
            assert not is_within(case.crops(), case.photo.crops, case.golden.tolerances["crops"])

    def test_no_shrinking_before_the_warp(self, other: Any, cases: dict[str, Case]) -> None:
        self.patch.setattr(other, "size", lambda matrix: 1.0)
        case = cases["close.png"]
        assert not is_within(case.crops(), case.photo.crops, case.golden.tolerances["crops"])

    def test_a_repeated_border(self, other: Any, cases: dict[str, Case]) -> None:
        warp = other.warp

        def padded(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
            wide = np.pad(image, ((900, 900), (900, 900), (0, 0)), mode="edge")
            moved = np.column_stack([matrix[:, :2], matrix[:, 2] - matrix[:, :2] @ (900, 900)])
            return np.asarray(warp(wide, moved, size))

        case = cases["close.png"]  # whose crop reaches beyond the photo
        limits = case.golden.tolerances["crops"]
        assert (case.photo.crops == 0).all(axis=-1).any()
        self.patch.setattr(other, "warp", padded)
        assert not is_within(case.crops(), case.photo.crops, limits)

    def test_red_and_blue_exchanged(self, cases: dict[str, Case], yunet: Path, plain: Any) -> None:
        case = cases["portrait.jpg"]
        outputs = plain.YuNet(yunet.read_bytes()).compute(case.detector_input[:, :, ::-1])
        limits = case.golden.tolerances["detector_outputs"]
        assert not is_within(outputs["kps_16"], case.photo.outputs["kps_16"], limits)

    def test_every_second_pixel_in_place_of_the_mean(self, cases: dict[str, Case]) -> None:
        case = cases["large.jpg"]
        pixels = case.opened.decode(case.photo.decoded["scale"])
        height, width = case.detector_input.shape[:2]
        nearest = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST)
        limits = case.golden.tolerances["detector_input"]
        assert not is_within(np.asarray(nearest), case.detector_input, limits)

    def test_without_the_section_on_turned_faces(self, cases: dict[str, Case]) -> None:
        for name in TURNED:
            faces, found = cases[name].photo.faces, cases[name].photo.found
            limit = cases[name].golden.tolerances["faces_turned"]["landmarks"]
            distance = np.abs(faces[0].found.landmarks - found[0].landmarks).max() if found else 99
            assert distance > limit * faces[0].found.box[2]


def test_the_page_states_the_numbers_of_the_code() -> None:
    text = " ".join(PAGE.split())
    template = ", ".join(f"({x:.0f}, {y:.0f})" for x, y in TEMPLATE)
    for part in (
        template,
        f"more than {MAX_PIXELS:,} pixels",
        f"at most {detected.DETECTION_SIDE} pixels",
        f"multiples of {yunet_output.SIZE_STEP} and at least {yunet_output.MIN_SIDE}",
        f"score below {yunet_output.SCORE_THRESHOLD} are",
        f"number of {yunet_output.HUGE:,.0f} or more",
        f"at most {yunet_output.NMS_THRESHOLD}. The overlap",
        f"score is at least {upright.CERTAIN}",
        f"score is at least {upright.CERTAIN_LOOK}",
        f"ceil(n / {looks.COLUMNS}) rows",
        f"{looks.LOOK_SIDE} x {looks.LOOK_SIDE} pixels",
        f"f = {looks.LOOK_SIDE} / ({looks.SIGHT} max(w, h))",
        YUNET_NAME.removesuffix(".onnx"),
        f"`{YUNET_SHA256[:8]}...{YUNET_SHA256[-7:]}`",
        f"It is `{INPUT.fingerprint()}` for this page",
        *KNOWN_INPUTS,
    ):
        assert part in text, part
    assert list(upright.ANGLES) == [30 * number for number in range(12)]


def test_the_page_states_each_tolerance() -> None:
    """Each row of the table names a kind and its numbers; those of FP16 and INT8 are left out."""
    table = PAGE[PAGE.index("| in `tolerances` |") :].split("\n\n")[0]
    rows = {row.split("|")[1].strip(): row.split("|")[2] for row in table.splitlines()[2:]}
    named = {name.strip(" `"): text for names, text in rows.items() for name in names.split(",")}
    assert set(named) == set(TOLERANCES)
    shares = ("faces", "faces_turned")  # of a width, stated in percent
    for name, limits in TOLERANCES.items():
        if name in ("decoded", "model_fp16", "model_int8"):
            continue
        for kind, limit in limits.items():
            is_share = name in shares and kind != "score"
            number = f"{100 * limit:g} %" if is_share else f"{limit:.6f}".rstrip("0").rstrip(".")
            assert number in named[name], (name, kind)
