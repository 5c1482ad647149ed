"""The modules in Chromium pass golden vectors, each step from the golden values of the one before.

The copy in the repository and two more photos are used, of which one needs each kind of shrinking.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from halnet.ages import AgeCalibration
from halnet.artifact import KNOWN_INPUTS, bundled
from halnet.export.golden import GoldenConfig, write_golden
from halnet.export.golden_file import Golden, GoldenPhoto
from halnet.photos.images import encode_image, load_image

COPY = Path(__file__).parents[2] / "docs" / "golden"
STEPS = Path(__file__).with_name("steps.js")
NAMES = ("portrait.jpg", "close.png", "three.png")


class Steps:
    """Calls functions of steps.js in the browser."""

    def __init__(self, page: Any) -> None:
        self._page = page

    def __call__(self, name: str, *args: Any) -> Any:
        code = "async ([name, args]) => (await import('/steps.js'))[name](...args)"
        return self._page.evaluate(code, [name, args])


@pytest.fixture(scope="module")
def steps(module_page: Any, site: Any) -> Steps:
    (site.root / "steps.js").write_bytes(STEPS.read_bytes())
    (site.root / "portrait.jpg").write_bytes(bundled("portrait.jpg").read_bytes())
    return Steps(module_page)


class Case:
    """A golden photo and where the server has its folder."""

    def __init__(self, golden: Golden, index: int, folder: str) -> None:
        self.limits = golden.tolerances
        self.photo: GoldenPhoto = golden.photos[index]
        self.args = (folder, index)


@pytest.fixture(scope="module")
def cases(
    copied_to_site: Callable[[Path], str], yunet: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Case]:
    pytest.importorskip("onnxruntime")
    source, out = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("more_golden")
    portrait = load_image(bundled("portrait.jpg"))
    close = cv2.resize(portrait[40:240, 145:305], (900, 1125), interpolation=cv2.INTER_CUBIC)
    three = np.concatenate([portrait, portrait[:, :99:-1], portrait], axis=1)
    for name, image in (("close.png", close), ("three.png", three)):
        (source / name).write_bytes(encode_image(np.asarray(image, np.uint8), ".png"))
    photos = tuple(sorted(source.iterdir()))
    write_golden(GoldenConfig(out, photos=photos, detector=yunet, threads=1))
    found = {}
    for folder in (COPY, out):
        golden, address = Golden.read(folder), copied_to_site(folder)
        for index, photo in enumerate(golden.photos):
            found[photo.name] = Case(golden, index, address)
    assert set(found) == set(NAMES)
    return found


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest, cases: dict[str, Case]) -> Case:
    return cases[request.param]


def check(found: Any, expected: np.ndarray, limits: Any) -> None:
    """Check that no value differs by more than `max`, nor all of them by `mean` in the mean."""
    distance = np.abs(np.asarray(found, float).reshape(expected.shape) - expected)
    assert distance.max() <= limits["max"]
    assert distance.mean() <= limits.get("mean", np.inf)


def test_the_photos_need_each_part(cases: dict[str, Case]) -> None:
    faces = {name: case.photo.faces for name, case in cases.items()}
    assert [len(faces[name]) for name in NAMES] == [1, 1, 3]
    assert np.hypot(*faces["close.png"][0].matrix[:, 0]) < 1 / 3, "three pixels become one"
    assert cases["three.png"].photo.size == (1436, 512), "it is shrunk for the detection"


def test_detector_input(case: Case, steps: Steps) -> None:
    found, expected = steps("detectorInput", *case.args), load_image(case.photo.detector_input)
    assert (found["height"], found["width"]) == expected.shape[:2]
    check(found["values"], expected, case.limits["detector_input"])


def test_detector_outputs(case: Case, steps: Steps) -> None:
    outputs = steps("detectorOutputs", *case.args)
    assert set(outputs) == set(case.photo.outputs)
    for name, expected in case.photo.outputs.items():
        check(outputs[name], expected, case.limits["detector_outputs"])


def test_detector_decoding(case: Case, steps: Steps) -> None:
    faces, limits = steps("found", *case.args), case.limits["found"]
    assert len(faces) == len(case.photo.found)
    for face, expected in zip(faces, case.photo.found, strict=True):
        check(face["box"], np.array(expected.box), {"max": limits["box"]})
        check(face["landmarks"], expected.landmarks, {"max": limits["landmarks"]})
        assert face["score"] == pytest.approx(expected.score, abs=limits["score"])


@pytest.mark.parametrize(
    ("boxes", "kept"),
    [
        # Whole pixels: 10 wide at 0 and at 5: an overlap of 1 / 3. As they are: 0.27.
        ([(0.1, 0.5, 10.05, 10.5), (5.9, 0.5, 10.05, 10.5)], [0]),
        # Whole pixels: 10 wide at 0 and at 6: an overlap of 1 / 4. As they are: 0.37.
        ([(0.98, 0.5, 10.98, 10.5), (6.02, 0.5, 10.98, 10.5), (40, 40, 9, 9)], [0, 1, 2]),
        # Two boxes without a pixel are in the same place.
        ([(3, 3, 0.5, 0.5), (3, 3, 0.5, 0.5)], [0]),
    ],
)
def test_overlaps_are_those_of_opencv(boxes: Any, kept: list[int], steps: Steps) -> None:
    assert steps("overlapping", boxes) == kept


def test_matrix(case: Case, steps: Steps) -> None:
    matrices = steps("matrices", *case.args)
    for matrix, face in zip(matrices, case.photo.faces, strict=True):
        places = np.column_stack([face.found.landmarks.astype(float), np.ones(5)])
        check(places @ np.array(matrix).T, places @ face.matrix.T, case.limits["matrix"])


def test_crops(case: Case, steps: Steps) -> None:
    check(steps("crops", *case.args), case.photo.crops, case.limits["crops"])


def test_model(case: Case, steps: Steps) -> None:
    found = steps("model", *case.args)
    for ages, face in zip(found, case.photo.faces, strict=True):
        for name, limit in case.limits["model_fp32"].items():
            check(ages[name], np.asarray(getattr(face, name)), {"max": limit})


def test_intervals_and_probabilities(case: Case, steps: Steps) -> None:
    found = steps("calibrated", *case.args)
    years = {"max": case.limits["intervals"]["years"]}
    share = {"max": case.limits["at_least"]["probability"]}
    for values, face in zip(found, case.photo.faces, strict=True):
        assert {"0.5", "0.9"} <= set(face.intervals)
        check(values["intervals"], np.array(list(face.intervals.values())), years)
        assert "18" in face.at_least
        check(values["atLeast"], np.array(list(face.at_least.values())), share)


def test_calibrations_of_other_kinds(steps: Steps) -> None:
    """Old files have no scale, and 8 age factors or none; some intervals reach 0 or 100 years."""
    rng = np.random.default_rng(1)
    quantiles = tuple(np.linspace(0.02, 3, 99).tolist())
    factors = (0.9, 1.2, 0.8, 1.3, 1.0, 0.7, 1.2, 1.1)
    rows = rng.dirichlet(np.full(101, 0.3), 30)
    cases = [
        (age, stddev, row.tolist())
        for age, stddev, row in zip(
            rng.uniform(0, 100, 30), 10 * [0.0, 7.0, 20.0], rows, strict=True
        )
    ]
    for calibration in (
        AgeCalibration(1.3, quantiles),
        AgeCalibration(0.8, quantiles, factors),
        AgeCalibration(1.0, quantiles, (*factors, 0.9, 1.0), (1.2, 0.1, 0.2, -0.4)),
        AgeCalibration(1.0, (1e-9,) * 99, factors),  # no age of the grid is inside
    ):
        for level in (0.01, 0.655, 0.9, 0.99):
            values = json.loads(json.dumps(calibration.to_dict()))
            found = steps("calibratedBy", values, cases, level)
            expected = [
                (*calibration.interval(age, stddev, level), 0.0) for age, stddev, _ in cases
            ]
            at_least = [calibration.probability_at_least(row, 21) for row in rows]
            np.testing.assert_allclose(
                found, np.array(expected, float) + np.outer(at_least, (0, 0, 1)), rtol=0, atol=1e-9
            )


def test_the_whole_way(case: Case, steps: Steps) -> None:
    faces, limits = steps("wholeWay", *case.args), case.limits
    assert len(faces) == len(case.photo.faces)
    for face, golden in zip(faces, case.photo.faces, strict=True):
        expected, width = golden.found, golden.found.box[2]
        check(face["box"], np.array(expected.box), {"max": limits["faces"]["box"] * width})
        check(face["landmarks"], expected.landmarks, {"max": limits["faces"]["landmarks"] * width})
        assert face["score"] == pytest.approx(expected.score, abs=limits["faces"]["score"])
        assert face["age"] == pytest.approx(golden.age, abs=limits["whole_way"]["age"])


@pytest.mark.parametrize("name", ["portrait.jpg"])
def test_the_golden_crop_gives_the_golden_age(
    name: str, cases: dict[str, Case], steps: Steps
) -> None:
    (ages,), (face,) = steps("model", *cases[name].args), cases[name].photo.faces
    assert ages["age"] == pytest.approx(face.age, abs=0.01)


def test_each_form_of_a_photo_gives_the_same_age(steps: Steps, cases: dict[str, Case]) -> None:
    (face,) = cases["portrait.jpg"].photo.faces
    ages = steps("formsOfAPhoto", "/portrait.jpg")
    assert len(ages) == 7
    assert ages == {name: [pytest.approx(face.age, abs=0.25)] for name in ages}


def test_the_orientation_in_a_file_is_applied(
    steps: Steps, cases: dict[str, Case], site: Any
) -> None:
    pillow = pytest.importorskip("PIL.Image")
    upright = load_image(bundled("portrait.jpg"))[:, 60:400]
    exif = pillow.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    turned = pillow.fromarray(np.rot90(upright).copy())
    turned.save(site.root / "turned.jpg", exif=exif, quality=97)
    (face,), (golden,) = steps("predictFile", "/turned.jpg"), cases["portrait.jpg"].photo.faces
    x, y, width, height = golden.found.box
    np.testing.assert_allclose(face["box"], (x - 60, y, width, height), atol=2)
    assert face["age"] == pytest.approx(golden.age, abs=2)


WRONG_USES = {
    "provider": "provider cuda: expected one of wasm, webgpu",
    "no threads": "threads: expected a whole number from 1 to ",
    "many threads": "as many as there are cores, found 1000",
    "half a thread": "found 1.5",
    "no isolation": "threads: 2 need a page that is cross-origin isolated",
    "folder": "halnet.json: the server has no such file (404); copy the whole folder",
    "path": "expected a photo as a Blob, an image, a video, .* found String",
    "no photo": "found Undefined",
    "no image yet": "expected a photo with pixels, found none; wait until it is loaded",
    "no video yet": "expected a photo with pixels, found none; wait until it is loaded",
    "other site": "the photo comes from another site",
    "crops": "expected crops of 224 x 224 x 3 bytes, found 1000 values",
    "crops of another kind": "expected crops of 224 x 224 x 3 bytes",
    "level": "level: expected a number above 0 and up to 0.99, found 1",
    "no level": "found 0",
    "years": "age: expected a whole number from 0 to 100, found 101",
    "half a year": "found 17.5",
}


def test_wrong_uses_are_named(steps: Steps, site: Any) -> None:
    if steps("cores") < 2:
        pytest.skip("needs two cores")
    other = site.address.replace("127.0.0.1", "localhost") + "/portrait.jpg"
    found = steps("wrongUses", "/portrait.jpg", other)
    assert set(found) == set(WRONG_USES)
    for name, message in found.items():
        assert message is not None, name
        assert message.startswith("HalnetError: "), (name, message)
        first, _, rest = WRONG_USES[name].partition(" .* ")
        assert first in message, (name, message)
        assert rest in message, (name, message)


def test_a_predictor_takes_its_work_in_turns_and_is_closed(
    steps: Steps, cases: dict[str, Case]
) -> None:
    (face,) = cases["portrait.jpg"].photo.faces
    first, second, crops, message = steps("closing", "/portrait.jpg")
    assert first == second == pytest.approx(face.age, abs=0.25)
    assert crops == 0
    assert message == "HalnetError: the predictor was closed; open another one"


def test_sha256(steps: Steps) -> None:
    texts = ["x" * length for length in (0, 1, 55, 56, 63, 64, 65, 119, 120, 1000)]
    expected = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    assert steps("sha256Of", texts) == expected


def test_the_modules_state_the_fingerprints_of_the_library(steps: Steps) -> None:
    assert steps("fingerprints") == list(KNOWN_INPUTS)[::-1]
