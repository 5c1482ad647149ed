"""The form of files for compilers: how crops become their input, and logits become ages."""

import json

import numpy as np
import pytest

from halnet.ages import mean_and_stddev
from halnet.errors import ArtifactError
from halnet.runtimes.compiler_form import DECODINGS, INPUTS, PROPERTY, CompilerForm

FORM = CompilerForm("float32-nchw", (10.0, 20.0, 30.0), (1.0, 2.0, 4.0), "distribution")


def test_crops_become_the_input_that_the_form_states() -> None:
    crops = np.zeros((2, 224, 224, 3), np.uint8)
    crops[1, 3, 5] = 11, 24, 38
    images = {
        name: CompilerForm(name, FORM.mean, FORM.std, FORM.head).prepare(crops) for name in INPUTS
    }
    assert images["float32-nchw"].dtype == np.float32
    assert images["float32-nchw"][1, :, 3, 5].tolist() == [1.0, 2.0, 2.0]
    assert images["float32-nchw"][0, :, 0, 0].tolist() == [-10.0, -10.0, -7.5]
    assert images["uint8-nchw"].shape == (2, 3, 224, 224)
    assert images["uint8-nchw"][1, :, 3, 5].tolist() == [11, 24, 38]
    np.testing.assert_array_equal(images["uint8-nhwc"], crops)
    for name, kind in INPUTS.items():
        assert images[name].dtype == kind.dtype
        assert images[name].flags.c_contiguous


@pytest.mark.parametrize("head", list(DECODINGS))
def test_logits_are_decoded_as_in_the_network(head: str) -> None:
    torch = pytest.importorskip("torch")
    from halnet.network.heads import HEADS

    assert set(HEADS) == set(DECODINGS)
    assert HEADS[head].outputs == DECODINGS[head].logits
    logits = np.random.default_rng(0).normal(0, 3, (5, HEADS[head].outputs)).astype(np.float32)
    logits[0] += 500  # a softmax must not overflow
    found = CompilerForm("uint8-nchw", FORM.mean, FORM.std, head).decode(logits)
    expected = HEADS[head].probabilities(torch.from_numpy(logits)).numpy()
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    age, stddev = mean_and_stddev(expected)
    np.testing.assert_allclose(found.age, age, atol=1e-3)
    np.testing.assert_allclose(found.stddev, stddev, atol=1e-3)
    assert {found.age.dtype, found.stddev.dtype, found.probabilities.dtype} == {np.dtype("float32")}


def test_the_form_is_read_from_a_property() -> None:
    assert CompilerForm.from_properties({PROPERTY: FORM.to_json()}, "x.onnx") == FORM
    assert CompilerForm.from_properties({}, "x.onnx") is None


@pytest.mark.parametrize(
    "change",
    [{"input": "float16"}, {"head": "mean"}, {"mean": [1, 2]}, {"std": "narrow"}, {"mean": None}],
)
def test_a_damaged_form_is_refused(change: dict[str, object]) -> None:
    text = json.dumps({**json.loads(FORM.to_json()), **change})
    with pytest.raises(ArtifactError, match=r"x\.onnx: its property halnet\.compiler is damaged"):
        CompilerForm.from_properties({PROPERTY: text}, "x.onnx")
    for text in ("{", "[]"):
        with pytest.raises(ArtifactError, match="damaged"):
            CompilerForm.from_properties({PROPERTY: text}, "x.onnx")
