import numpy as np
import pytest

from halnet.errors import ArtifactError, ConfigError
from halnet.results import Outputs
from halnet.runtimes.base import library_errors
from halnet.runtimes.fake import FakeRuntime


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        (((0,), (0,), (0, 101)), r"\(\(0,\), \(0,\), \(0, 101\)\)"),
        (((2, 1), (2,), (2, 101)), r"\(\(2, 1\), \(2,\), \(2, 101\)\)"),
        (((2,), (), (2, 101)), r"\(\(2,\), \(\), \(2, 101\)\)"),
        (((2,), (2,), (2, 100)), r"\(\(2,\), \(2,\), \(2, 100\)\)"),
    ],
)
def test_outputs_of_other_shapes_are_an_error_of_the_model(
    shapes: tuple[tuple[int, ...], ...], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = Outputs(*(np.zeros(shape, np.float32) for shape in shapes))
    monkeypatch.setattr(FakeRuntime, "_infer", lambda self, crops: outputs)
    expected = r"\(\(2,\), \(2,\), \(2, 101\)\)"
    with pytest.raises(ArtifactError, match=f"of the shapes {expected}, found {found}; export"):
        FakeRuntime().run(np.zeros((2, 224, 224, 3), np.uint8))


@pytest.mark.parametrize(("line", "reason"), [(0, "first"), (-1, "last")])
def test_whatever_a_library_raises_is_an_error_of_the_model(line: int, reason: str) -> None:
    with (
        pytest.raises(ArtifactError, match=f"^a.onnx: it cannot be read: {reason}; export"),
        library_errors("a.onnx", "it cannot be read", line),
    ):
        raise UnicodeError("first\n\n  last\n")


def test_an_error_without_a_text_is_named_by_its_class() -> None:
    with (
        pytest.raises(ArtifactError, match="cannot be read: MemoryError; export"),
        library_errors("a.onnx", "it cannot be read"),
    ):
        raise MemoryError


def test_errors_of_halnet_stay_as_they_are() -> None:
    with pytest.raises(ConfigError, match="^mine$"), library_errors("a.onnx", "it cannot be read"):
        raise ConfigError("mine")
