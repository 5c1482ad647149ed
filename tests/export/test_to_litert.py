"""LiteRT files: what is in them, and their ages."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halnet.artifact import Metadata
from halnet.export.config import Target
from halnet.runtimes.backends import describe, open_runtime
from halnet.runtimes.base import BatchLimits

pytest.importorskip("litert_torch")
interpreter = pytest.importorskip("ai_edge_litert.interpreter")


def test_a_file_follows_the_contract(
    litert_network: Any, litert_metadata: Metadata, tmp_path: Path
) -> None:
    from halnet.export.to_litert import trace, write_litert

    path = tmp_path / "halnet.tflite"
    write_litert(trace(litert_network), litert_metadata, path, Target())
    model = interpreter.Interpreter(model_path=str(path))
    (image,) = model.get_input_details()
    assert image["shape_signature"].tolist() == [-1, 224, 224, 3]
    assert image["dtype"] is np.uint8
    runner = model.get_signature_runner()
    assert list(runner.get_input_details()) == ["image"]
    outputs = runner.get_output_details()
    assert {name: value["dtype"] for name, value in outputs.items()} == dict.fromkeys(
        ("age", "stddev", "probabilities"), np.float32
    )
    assert describe(path).metadata == litert_metadata
    # Other programs may resize it: there is no reshape that holds the number of crops.
    model = interpreter.Interpreter(model_path=str(path))
    model.resize_tensor_input(image["index"], [3, 224, 224, 3])
    model.allocate_tensors()
    found = model.get_signature_runner()(image=np.zeros((3, 224, 224, 3), np.uint8))
    assert found["age"].shape == found["stddev"].shape == (3,)
    assert found["probabilities"].shape == (3, 101)


def test_half_precision_needs_half_the_bytes(
    litert_network: Any, litert_metadata: Metadata, crops: np.ndarray, tmp_path: Path
) -> None:
    import torch

    from halnet.export.graph import round_to_half
    from halnet.export.to_litert import trace, write_litert

    ages, sizes = {}, {}
    for precision, model in (("fp32", litert_network), ("fp16", round_to_half(litert_network))):
        graph = trace(model, precision)
        path = tmp_path / f"halnet.{precision}.tflite"
        write_litert(graph, replace(litert_metadata, precision=precision), path, Target())
        with open_runtime(path) as runtime:
            assert runtime.spec.metadata.precision == precision
            ages[precision] = runtime.run(crops).age
        with torch.no_grad():
            expected = model(torch.tensor(crops))[0].numpy()
        # The weights of FP16 are exact, because they are rounded before.
        np.testing.assert_allclose(ages[precision], expected, atol=1e-3)
        sizes[precision] = len(graph)
    assert 1e-5 < np.abs(ages["fp16"] - ages["fp32"]).max() < 0.5
    weights = 4 * sum(parameter.numel() for parameter in litert_network.network.parameters())
    assert sizes["fp32"] - sizes["fp16"] > 0.4 * weights - 2000


def test_a_fixed_batch_size_is_in_the_file(
    litert_network: Any, litert_metadata: Metadata, tmp_path: Path
) -> None:
    from halnet.export.to_litert import trace, write_litert

    path = tmp_path / "halnet.tflite"
    write_litert(trace(litert_network, batch=2), litert_metadata, path, Target())
    assert describe(path).batch_limits == BatchLimits(2, 2)


def test_the_converter_prints_nothing(
    litert_network: Any, litert_metadata: Metadata, capfd: pytest.CaptureFixture[str]
) -> None:
    from halnet.export.to_litert import trace

    trace(litert_network)
    assert capfd.readouterr().out == ""


def test_the_file_of_the_other_tests_is_what_the_export_makes(
    litert_network: Any,
    litert_metadata: Metadata,
    litert_artifact: Path,
    crops: np.ndarray,
    tmp_path: Path,
) -> None:
    """If this fails, delete the file: the next test that needs it makes it again."""
    from halnet.export.to_litert import trace, write_litert

    path = tmp_path / "halnet.tflite"
    write_litert(trace(litert_network), litert_metadata, path, Target())
    assert describe(path).metadata == describe(litert_artifact).metadata
    with open_runtime(path) as made, open_runtime(litert_artifact) as stored:
        np.testing.assert_allclose(made.run(crops).age, stored.run(crops).age, atol=1e-3)
