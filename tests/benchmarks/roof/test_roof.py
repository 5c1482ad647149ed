"""The roof: counts worked out by hand, the arithmetic of the roofline, and how peaks are found."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from halnet.artifact import bundled
from halnet.benchmarks.roof import __main__ as command
from halnet.benchmarks.roof import counts, graph, peaks, products
from halnet.benchmarks.roof.counts import LayerCost, ModelCost, count_costs, count_graph
from halnet.benchmarks.roof.graph import (
    Graph,
    Node,
    Tensor,
    read_onnx_graph,
    read_openvino_graph,
)
from halnet.benchmarks.roof.peaks import Peak, Peaks, measure_peaks
from halnet.benchmarks.roof.products import UnmeasuredError
from halnet.benchmarks.roof.rows import COLUMNS, RoofRow, compare_with_roof, measure_rows
from halnet.errors import ArtifactError, RuntimeUnavailableError
from halnet.runtimes.base import RuntimeOptions

# Of `tiny_graph`, for one crop: channels x rows x columns of the result x products of a number.
TINY = {
    "network.features.0.0": 4 * 7 * 7 * (3 * 32 * 32),
    "network.features.1.block.0.0": 8 * 7 * 7 * 4,
    "network.features.1.block.1.0": 8 * 7 * 7 * 9,  # depthwise
    "network.features.1.block.2.0": 4 * 7 * 7 * 8,
    "network.classifier.0": 5 * 4,
}
TINY_BYTES = {
    "network.features.0.0": 4 * 3 * 32 * 32 * 4,
    "network.features.1.block.0.0": 8 * 4 * 4,
    "network.features.1.block.1.0": 8 * 9 * 4,
    "network.features.1.block.2.0": 4 * 8 * 4,
    "network.classifier.0": 5 * 4 * 4,
}
MODEL = bundled("halnet.onnx")
# Rates of a machine that does not exist: 100 and 400 billion operations, 10 and 5 GB a second.
PEAKS = Peaks(
    2,
    {
        "fp32": Peak("FP32", 100e9, "a"),
        "bf16": Peak("BF16", None, "no instructions"),
        "int8": Peak("INT8", 400e9, "b"),
    },
    Peak("read", 10e9, "c"),
    Peak("copy", 5e9, "d"),
)


def cost(*layers: tuple[str, int, int], weights: int = 0, ends: int = 0) -> ModelCost:
    """A model with layers of a precision, multiply-adds and bytes of activations."""
    made = [LayerCost("n", "", "Conv", kind, count, 0, moved) for kind, count, moved in layers]
    return ModelCost("a.onnx", 1, tuple(made), weights, ends)


def test_the_counts_of_an_onnx_graph_are_those_worked_out_by_hand(tiny_graph: Any) -> None:
    found = count_graph(read_onnx_graph(tiny_graph, 3), "tiny")
    assert found.batch == 3
    assert {layer.weights: layer.multiply_adds for layer in found.layers} == {
        name: 3 * count for name, count in TINY.items()
    }
    assert {layer.weights: layer.weight_bytes for layer in found.layers} == TINY_BYTES
    assert found.multiply_adds == {"fp32": 3 * 608_796}
    # The weights in float32, a scale in float32, and three numbers in int64.
    assert found.weight_bytes == sum(TINY_BYTES.values()) + 4 + 3 * 8
    assert found.end_bytes == 3 * (224 * 224 * 3 + 4), "uint8 crops, and an age in float32"
    stem, *_, head = found.layers
    assert stem.activation_bytes == 3 * (3 * 224 * 224 + 4 * 7 * 7) * 4
    assert stem.aliases == ("stem", "stem_relu"), "but no addition, which reads it twice"
    assert head.activation_bytes == 3 * (4 + 5) * 4
    values = json.loads(json.dumps(found.to_dict()))
    assert values["multiply_adds"] == {"fp32": 3 * 608_796}
    assert values["layers"][0]["weights"] == "network.features.0.0"


def test_openvino_counts_the_same(tiny_graph: Any) -> None:
    openvino = pytest.importorskip("openvino")
    network = openvino.Core().read_model(tiny_graph.SerializeToString())
    network.reshape([3, 224, 224, 3])
    found = count_graph(read_openvino_graph(network))
    expected = count_graph(read_onnx_graph(tiny_graph, 3))
    assert (found.batch, found.multiply_adds) == (3, expected.multiply_adds)
    assert found.end_bytes == expected.end_bytes
    for layer, other in zip(found.layers, expected.layers, strict=True):
        assert layer.multiply_adds == other.multiply_adds
        assert layer.weight_bytes == other.weight_bytes
        assert layer.activation_bytes == other.activation_bytes
        assert {layer.name, *layer.aliases} >= {other.name}, "the profile of OpenVINO names it so"


def test_the_counts_of_the_bundled_model_are_those_of_pytorch() -> None:
    pytest.importorskip("onnx")
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from halnet.network.checkpoint import load_checkpoint

    network = load_checkpoint(bundled("halnet.safetensors")).model.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(2, 224, 224, 3, dtype=torch.uint8))
    found = count_costs(MODEL, 2)
    assert 2 * found.multiply_adds["fp32"] == counter.get_total_flops()
    weights = sum(weight.numel() for weight in network.network.parameters())
    assert 0.99 < found.weight_bytes / (4 * weights) < 1.01, "some batch norms are folded"


def test_a_file_is_counted_without_onnx_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    expected = count_costs(MODEL, 2)
    monkeypatch.setattr(graph, "is_installed", lambda module: False)
    found = count_costs(MODEL, 2)
    assert found.multiply_adds == expected.multiply_adds
    assert found.layers[0].operator == "Convolution", "OpenVINO has read it"


def test_a_product_of_two_activations_is_counted() -> None:
    tensors = {
        "a": Tensor((2, 7, 4), 4),
        "b": Tensor((2, 4, 5), 4),
        "c": Tensor((2, 7, 5), 2),
    }
    graph = Graph((Node("n", "MatMul", ("a", "b"), ("c",)),), tensors, ("a", "b"), ("c",))
    (layer,) = count_graph(graph).layers
    assert layer.multiply_adds == 2 * 7 * 5 * 4
    assert (layer.weights, layer.weight_bytes) == ("", 0)


def quantized_graph(pieces: list[tuple[str, list[str], str]], **sizes: int) -> Graph:
    """A graph of nodes (operator, inputs, output), of 1 x 4 x 3 x 3 activations in float32.

    `sizes` are the bytes of a number of constant 8 x 4 x 1 x 1 weights.
    """
    tensors = {name: Tensor((8, 4, 1, 1), size, True) for name, size in sizes.items()}
    fixed, nodes = set(sizes), []
    for operator, inputs, output in pieces:
        channels = 8 if operator in counts.CONVOLUTIONS or inputs[0] == "y" else 4
        shape = (8, 4, 1, 1) if fixed.issuperset(inputs) else (1, channels, 3, 3)
        fixed |= {output} if fixed.issuperset(inputs) else set()
        tensors[output] = Tensor(shape, 1 if operator == "QuantizeLinear" else 4)
        nodes.append(Node(f"{operator} {output}", operator, tuple(inputs), (output,)))
    tensors["x"] = Tensor((1, 4, 3, 3), 4)
    return Graph(tuple(nodes), tensors, ("x",), (nodes[-1].outputs[0],))


QDQ = [
    ("QuantizeLinear", ["x", "scale"], "q"),
    ("DequantizeLinear", ["q", "scale"], "d"),
    ("DequantizeLinear", ["whole", "scale"], "w"),
]
INT8_BYTES, FLOAT_BYTES = 1 * 36, 4 * 36  # of 4 x 3 x 3 numbers


@pytest.mark.parametrize(
    ("pieces", "precision", "activations"),
    [
        ([*QDQ, ("Conv", ["d", "w"], "y")], "int8", INT8_BYTES + 2 * FLOAT_BYTES),
        (
            [*QDQ, ("Conv", ["d", "w"], "y"), ("QuantizeLinear", ["y", "scale"], "z")],
            "int8",
            INT8_BYTES + 2 * INT8_BYTES,
        ),
        ([*QDQ, ("Conv", ["d", "float_w"], "y")], "fp32", 3 * FLOAT_BYTES),
        ([*QDQ, ("Conv", ["x", "w"], "y")], "fp32", 3 * FLOAT_BYTES),
        (
            [  # as OpenVINO writes it
                ("FakeQuantize", ["x", "scale"], "f"),
                ("Convert", ["whole"], "v"),
                ("Multiply", ["v", "scale"], "w"),
                ("Convolution", ["f", "w"], "y"),
            ],
            "int8",
            INT8_BYTES + 2 * FLOAT_BYTES,
        ),
        (
            [  # a gate that is not quantized after it has been multiplied
                ("FakeQuantize", ["x", "scale"], "f"),
                ("Multiply", ["f", "f"], "m"),
                ("Convert", ["whole"], "w"),
                ("Convolution", ["m", "w"], "y"),
            ],
            "fp32",
            3 * FLOAT_BYTES,
        ),
    ],
)
def test_a_layer_is_int8_if_it_reads_integers_and_has_integer_weights(
    pieces: list[tuple[str, list[str], str]], precision: str, activations: int
) -> None:
    graph = quantized_graph(pieces, whole=1, float_w=4, scale=4)
    (layer,) = count_graph(graph).layers
    assert layer.precision == precision
    assert layer.multiply_adds == 8 * 3 * 3 * 4
    assert layer.activation_bytes == activations


def test_a_fixed_number_of_crops_is_counted(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(MODEL)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, tmp_path / "two.onnx")
    assert count_costs(tmp_path / "two.onnx", 5) == replace(
        count_costs(MODEL, 2), model=str(tmp_path / "two.onnx")
    )


def test_the_roof_is_the_longer_of_the_least_times() -> None:
    # 500 million multiply-adds are 1 billion operations: 10 ms in FP32, 2.5 ms in INT8.
    # 40 + 10 MB through the memory take 5 ms, and 20 MB of activations 4 ms.
    layers = [("fp32", 500_000_000, 15_000_000), ("int8", 500_000_000, 5_000_000)]
    row = compare_with_roof(cost(*layers, weights=40_000_000, ends=10_000_000), PEAKS, 25.0, "a")
    assert row.by_operations == pytest.approx(12.5)
    assert row.by_memory == pytest.approx(5)
    assert row.without_cache == pytest.approx(9)
    assert row.least == pytest.approx(12.5)
    assert row.times_least == pytest.approx(2)
    assert (row.threads, row.note) == (2, "")
    assert row.rate == pytest.approx(2e9 / 0.025), "in a second"
    assert row.intensity == pytest.approx(2e9 / 50e6)
    assert row.cells == ["a", "1000.0", "12.50", "5.00", "9.00", "25.00", "2.0"]
    assert len(row.cells) == len(COLUMNS)
    assert json.loads(json.dumps(row.to_dict()))["times_least"] == pytest.approx(2)
    wide = compare_with_roof(cost(*layers, weights=200_000_000), PEAKS, 10.0)
    assert wide.least == pytest.approx(20), "here the memory is the limit"
    assert wide.times_least == pytest.approx(0.5)
    assert wide.note.startswith("a.onnx takes less than the least time")


def test_fp16_has_the_peak_of_fp32() -> None:
    row = compare_with_roof(cost(("fp16", 500_000_000, 0)), PEAKS, 20.0)
    assert row.by_operations == pytest.approx(10)


def test_without_a_peak_there_is_no_roof() -> None:
    unknown = replace(PEAKS, products=PEAKS.products | {"int8": Peak("INT8", None, "no")})
    row = compare_with_roof(cost(("int8", 1, 0), ("fp32", 1, 0)), unknown, 1.0)
    assert (row.by_operations, row.least, row.times_least, row.note) == (None, None, None, "")
    assert row.cells[2] == row.cells[-1] == "-"
    known = compare_with_roof(cost(("fp32", 50, 0)), unknown, 1.0)
    assert known.by_operations == pytest.approx(1e-6)
    blind = replace(PEAKS, read=Peak("read", None, "no"))
    assert compare_with_roof(cost(("fp32", 50, 0)), blind, 1.0).least is None


def test_the_table_of_peaks_states_a_reason_where_there_is_no_rate() -> None:
    rows = PEAKS.rows
    assert rows[0] == ["FP32", "100.0", "GOP/s", "a"]
    assert rows[1] == ["BF16", "-", "GOP/s", "no instructions"]
    assert rows[3:] == [["read", "10.0", "GB/s", "c"], ["copy", "5.0", "GB/s", "d"]]
    assert {len(row) for row in rows} == {len(PEAKS.columns)}
    assert json.loads(json.dumps(PEAKS.to_dict()))["products"]["bf16"]["rate"] is None


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrices and memory that take no time."""
    monkeypatch.setattr(peaks, "SIDES", (32, 64))
    monkeypatch.setattr(peaks, "MEMORY", 1 << 20)


def way(name: str, **seconds: float) -> Callable[..., Any]:
    """A way that takes some seconds for a product of a precision, of whatever size."""

    def open_way(precision: str, side: int, threads: int) -> Any:
        if precision not in seconds:
            raise UnmeasuredError(f"{name} cannot")
        return lambda: seconds[precision], f"{name} on {threads} threads"

    return open_way


def test_the_fastest_product_of_all_runtimes_counts(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peaks, "multiply_by_openvino", way("ov", fp32=0.004, bf16=0.001))
    monkeypatch.setattr(peaks, "multiply_by_onnxruntime", way("ort", fp32=0.002))
    monkeypatch.setattr(peaks, "shortest", lambda run, seconds: run())
    products = {
        precision: peaks._measure_product(precision, 3, 0.0) for precision in peaks.PRECISIONS
    }
    assert products["fp32"].rate == pytest.approx(2 * 64**3 / 0.002)
    assert products["fp32"].by == "ort on 3 threads, 64 x 64"
    assert products["bf16"].rate == pytest.approx(2 * 64**3 / 0.001)
    assert products["int8"] == Peak("matrix product INT8", None, "ov cannot; ort cannot")


def test_the_shortest_run_counts() -> None:
    times = iter([9.0, 3.0, 1.0, 2.0])
    assert products.shortest(lambda: next(times), 0.0) == 1.0
    times = iter([0.5, 3.0, 1.0, 2.0])
    assert products.shortest(lambda: next(times), 0.0) == 1.0, "the first one does not count"


@pytest.mark.parametrize("threads", [1, 3])
def test_a_copied_byte_is_read_and_written(
    threads: int, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def two_seconds(run: Callable[[], float], seconds: float) -> float:
        ran.append(run())
        return 2.0

    monkeypatch.setattr(peaks, "shortest", two_seconds)
    read, copied = peaks._measure_memory(threads, 0.0)
    assert len(ran) == 2
    assert read.rate == copied.rate == (1 << 20) / 2
    assert "1 MiB" in read.by


def test_the_runtimes_that_are_installed_multiply(small: None) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    found = measure_peaks(1, 0.0)
    assert found.threads == 1
    for precision in ("fp32", "int8"):
        peak = found.products[precision]
        assert peak.rate is not None
        assert peak.rate > 1e6
        assert peak.by.startswith(("OpenVINO", "ONNX Runtime"))
    bf16 = found.products["bf16"]
    assert "bf16" in bf16.by if bf16.rate else "no instructions" in bf16.by
    assert (found.read.rate or 0) > 1e6 < (found.copy.rate or 0)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_onnx_runtime_multiplies_what_it_says(precision: str) -> None:
    pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(products.onnx_product(precision, 32))
    kind, expected = {"fp32": (np.float32, "float32"), "int8": (np.uint8, "int32")}[precision]
    (product,) = session.run(None, {"a": np.eye(32, dtype=kind)})
    assert product.dtype == expected
    weights = products.random_int8 if precision == "int8" else products.random_matrix
    np.testing.assert_array_equal(product, weights((32, 32)))


def test_a_processor_without_bf16_instructions_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO computes in BF16 on it too, in float32 and with conversions."""
    pytest.importorskip("openvino")
    info = tmp_path / "cpuinfo"
    info.write_text("flags\t\t: fpu avx2 avx512f avx512_vnni\n")
    monkeypatch.setattr("halnet.processor.CPU_INFO", info)
    with pytest.raises(UnmeasuredError, match="no instructions that multiply in BF16"):
        products.multiply_by_openvino("bf16", 32, 1)
    monkeypatch.setattr("halnet.processor.CPU_INFO", tmp_path / "none")
    with pytest.raises(UnmeasuredError, match="no instructions"):
        products.multiply_by_openvino("bf16", 32, 1)


def test_another_kernel_than_the_precision_needs_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(products, "KERNEL_ENDINGS", {"fp32": "i8"})
    with pytest.raises(UnmeasuredError, match="computes such a product by .*f32"):
        products.multiply_by_openvino("fp32", 32, 1)


def test_numpy_multiplies_where_no_runtime_is_installed(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*names: str) -> Any:
        raise RuntimeUnavailableError("a library is missing; install it")

    monkeypatch.setattr(products, "import_openvino", missing)
    monkeypatch.setattr(products, "import_onnxruntime", missing)
    found = measure_peaks(1, 0.0).products
    assert found["fp32"].by.startswith(f"numpy {np.__version__}")
    assert found["int8"].rate is None
    assert found["int8"].by == "; ".join(["a library is missing; install it"] * 2)
    assert found["bf16"].rate is None


def test_without_memory_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("numpy.ones", refuse)
    read, copied = peaks._measure_memory(1, 0.0)
    assert read.rate is copied.rate is None
    assert read.by == "there are no 256 MiB of free memory"


def test_each_model_has_a_row_for_its_batch_and_runtime() -> None:
    options = RuntimeOptions("onnxruntime", "cpu", 1)
    (row,) = measure_rows([MODEL], options, PEAKS, 2, 1)
    assert (row.name, row.batch) == ("halnet.onnx on onnxruntime", 2)
    assert row.multiply_adds == count_costs(MODEL, 2).multiply_adds
    assert row.measured > 1


def damage(kind: str, folder: Path) -> Path:
    path = folder / "halnet.onnx"
    if kind == "truncated":
        path.write_bytes(MODEL.read_bytes()[:100_000])
    elif kind == "no model":
        path.write_text("a text\nof two lines")
    elif kind == "other kind":
        path = folder / "photo.jpg"
        path.write_bytes(b"\xff\xd8")
    elif kind == "no shapes":
        import onnx

        model = onnx.load(MODEL)
        for size in model.graph.input[0].type.tensor_type.shape.dim:
            size.dim_param = "any"
        onnx.save(model, path)
    elif kind == "folder":
        path = folder / "halnet_openvino_model"
        path.mkdir()
        (path / "halnet.xml").write_text("<net")
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "cannot be read: No such file"),
        ("truncated", "onnx cannot read it"),
        ("no model", "onnx cannot read it"),
        ("other kind", "expected an .onnx file or a folder of OpenVINO"),
        ("no shapes", "expected a shape that follows from the number of crops"),
        ("folder", "OpenVINO cannot read it"),
    ],
)
def test_a_damaged_or_foreign_model_gives_one_line(
    kind: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    path = damage(kind, tmp_path)
    with pytest.raises(ArtifactError) as caught:
        count_costs(path)
    assert message in str(caught.value)
    monkeypatch.setattr(command, "measure_peaks", lambda threads: PEAKS)
    done = CliRunner().invoke(command.main, [str(path)])
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line == f"roof: {caught.value}"


def test_the_command_prints_both_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    row = RoofRow("a.onnx", 1, 2, {"fp32": 5_000_000}, 1000, 0.1, 0.2, 0.4, 0.1)
    asked: list[Any] = []

    def measure(*args: Any) -> list[RoofRow]:
        asked.append(args)
        return [row]

    monkeypatch.setattr(command, "measure_peaks", lambda threads: PEAKS)
    monkeypatch.setattr(command, "measure_rows", measure)
    args = ["a.onnx", "--threads", "2", "--batch", "4", "--runs", "7", "--runtime", "openvino"]
    done = CliRunner().invoke(command.main, args, catch_exceptions=False)
    assert asked == [((Path("a.onnx"),), RuntimeOptions("openvino", "cpu", 2), PEAKS, 4, 7)]
    lines = done.stdout.splitlines()
    assert "| INT8 | 400.0 | GOP/s | b |" in lines
    assert "| a.onnx | 5.0 | 0.10 | 0.20 | 0.40 | 0.10 | 0.5 |" in lines
    assert lines[-1] == row.note
    done = CliRunner().invoke(command.main, [*args, "--json"], catch_exceptions=False)
    values = json.loads(done.stdout)
    assert values["rows"][0]["least"] == 0.2
    assert values["peaks"]["threads"] == 2


def test_a_copy_of_an_artifact_of_openvino_is_counted(
    openvino_artifact: Path, onnx_artifact: Path, tmp_path: Path
) -> None:
    folder = copytree(openvino_artifact, tmp_path / "halnet_openvino_model")
    expected = count_costs(onnx_artifact, 2)
    found = count_costs(folder, 2)
    assert found.multiply_adds == expected.multiply_adds
    assert found.weight_bytes == pytest.approx(expected.weight_bytes, rel=0.01)
    assert count_costs(folder / "halnet.xml", 2) == replace(found, model=str(folder / "halnet.xml"))
