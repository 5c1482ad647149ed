from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet import Ages, Face, FaceDetector, Predictor
from halnet.alignment import align
from halnet.benchmarks.samples import portrait, sample_crops
from halnet.errors import ConfigError, ImageError, RuntimeUnavailableError
from halnet.faces import DetectedFace
from halnet.predictor import bundled_model, bundled_runtime
from halnet.runtimes.fake import FakeRuntime


class TwoFaces(FaceDetector):
    """Stands for the detector: the portrait's face and a smaller copy of its box."""

    def __init__(self) -> None:
        self.face = portrait()[1]

    def __call__(self, image: np.ndarray) -> tuple[DetectedFace, ...]:
        if image.max() == 0:
            return ()
        moved = self.face.landmarks + np.float32([60, 40])
        return (self.face, DetectedFace((0, 0, 20, 20), moved, 0.7))


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(FakeRuntime(), detector=TwoFaces())


def test_a_photo_gives_its_faces(predictor: Predictor) -> None:
    image, found = portrait()
    faces = predictor(image)
    assert [type(face) for face in faces] == [Face, Face]
    first = faces[0]
    crop = align(image, found.landmarks)
    assert first.age == pytest.approx(crop.mean() / 255 * 100, abs=0.05)  # the fake's definition
    assert first.stddev == pytest.approx(5.0, abs=0.01)
    assert first.box == found.box
    assert first.score == found.score
    assert first.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert first.age != faces[1].age
    # The fake's quantile at 90 % is 1.8 deviations
    assert first.interval(0.9) == pytest.approx((first.age - 9, first.age + 9), abs=0.05)
    assert first.probability(at_least=0) == pytest.approx(1)
    assert 0.4 < first.probability(at_least=round(first.age)) < 0.65


def test_a_list_gives_a_list(predictor: Predictor, tmp_path: Path) -> None:
    image, _ = portrait()
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), image[:, :, ::-1])
    black = np.zeros((64, 64, 3), np.uint8)
    by_array, by_path, by_bytes, none = predictor([image, path, path.read_bytes(), black])
    assert none == []
    assert [f.age for f in by_array] == [f.age for f in by_path] == [f.age for f in by_bytes]


def test_a_bad_photo_raises(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        predictor(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match="not a JPEG"):
        predictor(b"nonsense")


def test_crops_in_any_number(predictor: Predictor) -> None:
    crops = sample_crops()
    ages = predictor.predict_crops(crops)
    assert isinstance(ages, Ages)
    assert len(ages) == 72
    np.testing.assert_allclose(ages.age, crops.mean(axis=(1, 2, 3)) / 2.55, atol=0.05)
    low, high = ages.interval(0.9)
    np.testing.assert_allclose(high - low, 18, atol=0.05)
    assert ages.probability(at_least=0).shape == (72,)


def test_json_values(predictor: Predictor) -> None:
    entry = predictor(portrait()[0])[0].to_dict(0.9)
    assert set(entry) == {"age", "stddev", "interval", "level", "box", "landmarks", "score"}
    assert entry["interval"][0] < entry["age"] < entry["interval"][1]
    assert len(entry["landmarks"]) == 5


def test_the_bundled_model_fits_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bundled_model("pytorch").name == "halnet.safetensors"
    assert bundled_model("onnxruntime").name == "halnet.onnx"
    with pytest.raises(ConfigError, match="the bundled model is for openvino, onnxruntime, pytor"):
        bundled_model("tensorrt")
    monkeypatch.setattr("halnet.runtimes._version", lambda packages: None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'halnet\[onnxruntime\]'"):
        bundled_runtime()


@pytest.mark.parametrize(
    ("present", "device", "expected"),
    [
        (("onnxruntime", "openvino", "torch"), "auto", "openvino"),
        (("onnxruntime", "torch"), "auto", "onnxruntime"),
        (("torch",), "cpu", "pytorch"),
        (("onnxruntime", "openvino", "torch"), "cuda:0", "pytorch"),
        (("onnxruntime-gpu", "torch"), "cuda", "onnxruntime"),
        (("onnxruntime", "openvino"), "gpu", "openvino"),
    ],
)
def test_the_bundled_model_goes_to_the_fastest_that_can(
    present: tuple[str, ...], device: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(packages: tuple[str, ...]) -> str | None:
        return "1" if set(packages) & set(present) else None

    monkeypatch.setattr("halnet.runtimes._version", version)
    assert bundled_runtime(device) == expected


def test_what_was_picked_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "halnet")
    with Predictor(threads=1) as predictor:
        spec = predictor.spec
    assert f"on {spec.runtime} {spec.version}, {spec.provider}" in caplog.text


def test_one_predictor_for_several_threads() -> None:
    image, face = portrait()
    with Predictor(threads=1) as predictor, ThreadPoolExecutor(4) as pool:
        (expected,) = predictor.predict_faces(image, [face])
        for (found,) in pool.map(lambda _: predictor.predict_faces(image, [face]), range(12)):
            assert found.age == pytest.approx(expected.age, abs=1e-3)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "pytorch"])
def test_the_bundled_model_on_the_bundled_portrait(runtime: str) -> None:
    """The mission patch is that of STS-93, flown in July 1999, when Eileen Collins was 42."""
    image, face = portrait()
    with Predictor(runtime=runtime) as predictor:
        (result,) = predictor.predict_faces(image, [face])
        assert predictor.spec.metadata.dataset == "aaf"
        assert predictor.spec.runtime == runtime
    low, high = result.interval(0.95)
    assert low < 42 < high
    assert abs(result.age - 42) < 8


def test_the_bundled_files_belong_together() -> None:
    from halnet.artifact import bundled, sha256_file

    spec = Predictor(runtime="onnxruntime").spec
    assert spec.metadata.checkpoint_sha256 == sha256_file(bundled("halnet.safetensors"))
    assert spec.metadata.reference_mae["test"] < 5.5
