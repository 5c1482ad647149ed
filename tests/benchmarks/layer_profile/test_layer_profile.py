"""The profile of a model: its nodes are those that the runtime executes, and its parts add up."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from halnet.artifact import bundled
from halnet.benchmarks.layer_profile import __main__ as command
from halnet.benchmarks.layer_profile import plot, profiling
from halnet.benchmarks.layer_profile.plot import plot_profile
from halnet.benchmarks.layer_profile.profiled_ort import ProfiledOnnxRuntime, read_events
from halnet.benchmarks.layer_profile.profiling import name_layers, profile_layers
from halnet.benchmarks.layer_profile.runs import Block, NodeMean
from halnet.benchmarks.layer_profile.times import (
    KIND_COLUMNS,
    NODE_COLUMNS,
    REST,
    LayerProfile,
    NodeTime,
)
from halnet.benchmarks.roof.counts import LayerCost, count_costs
from halnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from halnet.runtimes.base import RuntimeOptions
from halnet.runtimes.ort import STOP_SPINNING

MODEL = bundled("halnet.onnx")
NODES = (
    NodeTime("cast", "", "Cast", "uint8", 0.5),
    NodeTime("relu_nchwc", "stem", "Conv", "float", 2.0, 30_000_000),
    NodeTime("conv_7", "head", "Conv", "float", 4.0, 2_000_000),
    NodeTime("add", "", "Add", "float", 1.5),
)
PROFILE = LayerProfile("a.onnx", "onnxruntime", "1.0", 2, 1, 20, 10.0, NODES)


@pytest.fixture(scope="module")
def onnxruntime_profile() -> LayerProfile:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    return profile_layers(MODEL, "onnxruntime", 1, inferences=2, blocks=1)


@pytest.fixture(scope="module")
def openvino_profile() -> LayerProfile:
    pytest.importorskip("onnx")
    pytest.importorskip("openvino")
    return profile_layers(MODEL, "openvino", 1, inferences=2, blocks=1)


def test_every_node_that_onnx_runtime_executes_is_named(
    onnxruntime_profile: LayerProfile, tmp_path: Path
) -> None:
    import onnx
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(MODEL, settings, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
    found = onnxruntime_profile.nodes
    assert Counter(node.operator for node in found) == Counter(node.op_type for node in nodes)
    # A node without a name gets one from its operator.
    assert {node.name for node in found} >= {node.name for node in nodes if node.name}
    kernels = {node.operator: node.kernel for node in onnxruntime_profile.nodes}
    assert kernels["Cast"] == "uint8"
    assert kernels["Softmax"] == "float"


def test_every_node_that_openvino_executes_is_named(crops: np.ndarray) -> None:
    pytest.importorskip("openvino")
    from halnet.benchmarks.layer_profile.profiled_ov import ProfiledOpenVINO

    with ProfiledOpenVINO(MODEL, RuntimeOptions("openvino", "cpu", 1)) as profiled:
        nodes = profiled.profile(crops[:1], 1, 2).nodes
        graph = profiled._compiled.get_runtime_model().get_ordered_ops()
    operators = {node.get_friendly_name(): node.get_rt_info()["layerType"].value for node in graph}
    found = [node.name for node in nodes]
    assert set(found) <= set(operators)
    slow = {"Convolution", "GroupConvolution", "FullyConnected"}
    assert set(found) >= {name for name, operator in operators.items() if operator in slow}
    assert len(found) == len(set(found))
    assert not {"image", "age/sink_port_0"} & set(found), "which are not executed"
    kernels = [node.kernel for node in nodes if node.operator == "Convolution"]
    assert all(kernel.endswith("_f32") for kernel in kernels)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_parts_add_up(runtime: str, request: pytest.FixtureRequest) -> None:
    profile: LayerProfile = request.getfixturevalue(f"{runtime}_profile")
    assert (profile.runtime, profile.threads, profile.batch) == (runtime, 1, 1)
    assert profile.model == "halnet.onnx"
    nodes = sum(node.milliseconds for node in profile.nodes)
    assert nodes + profile.rest == pytest.approx(profile.milliseconds)
    assert 0.02 * profile.milliseconds < nodes, "or another unit than milliseconds"
    assert nodes < 1.5 * profile.milliseconds
    assert min(node.milliseconds for node in profile.nodes) >= 0
    assert sum(kind.milliseconds for kind in profile.kinds) == pytest.approx(nodes)
    assert sum(kind.nodes for kind in profile.kinds) == len(profile.nodes)
    bars = profile.bars(10)
    assert len(bars) == 12
    assert sum(time for _, time, _ in bars) == pytest.approx(profile.milliseconds)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_all_operations_are_in_the_profile(runtime: str, request: pytest.FixtureRequest) -> None:
    """Each layer of the file is one node, whatever the runtime has made of the graph."""
    profile: LayerProfile = request.getfixturevalue(f"{runtime}_profile")
    layers = count_costs(MODEL).layers
    assert sorted(node.layer for node in profile.nodes if node.multiply_adds) == sorted(
        layer.weights for layer in layers
    )
    counts = {layer.weights: layer.multiply_adds for layer in layers}
    squeezes = [name for name in counts if "squeeze" in name]  # used for rows and for columns
    for node in profile.nodes:
        if node.multiply_adds and node.layer not in squeezes:
            assert node.multiply_adds == counts[node.layer]
    assert sum(node.multiply_adds for node in profile.nodes) == sum(
        layer.multiply_adds for layer in layers
    )


def test_what_is_profiled_has_the_settings_of_the_runtime(crops: np.ndarray) -> None:
    pytest.importorskip("onnxruntime")
    with ProfiledOnnxRuntime(MODEL, RuntimeOptions("onnxruntime", "cpu", 3)) as profiled:
        before = profiled._session
        expected = before.run(["age"], {"image": crops})[0]
        profiled.profile(crops[:2], 1, 1)
        settings = profiled._session.get_session_options()
        assert profiled._session is not before
        assert settings.enable_profiling
        assert settings.intra_op_num_threads == 3
        assert settings.inter_op_num_threads == 1
        assert settings.get_session_config_entry(STOP_SPINNING) == "1"
        assert profiled._session.get_providers() == ["CPUExecutionProvider"]
        np.testing.assert_array_equal(profiled.run(crops).age, expected)
        assert not Path(settings.profile_file_prefix).parent.exists()


def test_openvino_is_profiled_with_the_settings_of_the_runtime(crops: np.ndarray) -> None:
    pytest.importorskip("openvino")
    from halnet.benchmarks.layer_profile.profiled_ov import ProfiledOpenVINO

    with ProfiledOpenVINO(MODEL, RuntimeOptions("openvino", "cpu", 1)) as profiled:
        before = profiled._compiled
        expected = profiled.run(crops).age
        profiled.profile(crops[:2], 1, 1)
        counts = [model.get_property("PERF_COUNT") for model in (before, profiled._compiled)]
        assert counts == ["NO", "YES"]
        for name in ("INFERENCE_NUM_THREADS", "INFERENCE_PRECISION_HINT", "PERFORMANCE_HINT"):
            assert profiled._compiled.get_property(name) == before.get_property(name)
        np.testing.assert_array_equal(profiled.run(crops).age, expected)


def test_openvino_states_means_since_the_start_of_which_the_last_inferences_count(
    crops: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    from halnet.benchmarks.layer_profile.profiled_ov import ProfiledOpenVINO

    def node(name: str, microseconds: int, status: str = "EXECUTED") -> SimpleNamespace:
        time = timedelta(microseconds=microseconds)
        return SimpleNamespace(
            **{"node_name": name, "node_type": "Add", "exec_type": "jit", "real_time": time},
            status=SimpleNamespace(name=status),
        )

    counts = iter(
        [  # one inference to warm up, then three of 20 and of 50 microseconds
            [node("a", 100), node("b", 50), node("fused", 0, "NOT_RUN"), node("c", 1)],
            [node("a", 40), node("b", 50), node("fused", 0, "NOT_RUN"), node("c", 0)],
        ]
    )
    monkeypatch.setattr(ProfiledOpenVINO, "_count", lambda self: next(counts))
    with ProfiledOpenVINO(MODEL, RuntimeOptions("openvino", "cpu", 1)) as profiled:
        found = profiled.profile(crops[:1], 1, 3)
    assert found.nodes == (
        NodeMean("a", "Add", "jit", pytest.approx(0.020)),
        NodeMean("b", "Add", "jit", pytest.approx(0.050)),
        NodeMean("c", "Add", "jit", 0.0),
    )


def event(name: str, ts: int, dur: int, **args: Any) -> dict[str, Any]:
    is_node = bool(args)
    kind = "Node" if is_node else "Session"
    return {"cat": kind, "name": name, "ts": ts, "dur": dur, "args": args}


def node_event(name: str, ts: int, dur: int, operator: str, *types: str) -> dict[str, Any]:
    shapes = [{kind: [1, 3]} for kind in types]
    return event(f"{name}_kernel_time", ts, dur, op_name=operator, input_type_shape=shapes)


EVENTS = [
    event("session_initialization", 0, 90),
    # Events are written when they end, so that an inference is after its nodes.
    node_event("cast", 101, 900, "Cast", "uint8"),
    event("model_run", 100, 1000),
    node_event("cast", 2001, 10, "Cast", "uint8"),
    node_event("relu_nchwc", 2020, 300, "Conv", "float", "float"),
    event("model_run", 2000, 400),
    node_event("cast", 3001, 20, "Cast", "uint8"),
    node_event("relu_nchwc", 3030, 100, "Conv", "float", "float"),
    event("model_run", 3000, 200),
]


def test_the_events_of_the_last_inferences_count() -> None:
    assert read_events(json.dumps(EVENTS), 2, "a.onnx") == (
        NodeMean("cast", "Cast", "uint8", pytest.approx(0.015)),
        NodeMean("relu_nchwc", "Conv", "float in blocks of channels", pytest.approx(0.2)),
    )


@pytest.mark.parametrize(
    ("events", "found"),
    [(EVENTS, "found 3 with 2 nodes"), (EVENTS[2::3], "found 3 with 0 nodes")],
)
def test_a_profile_of_another_form_is_refused(events: list[Any], found: str) -> None:
    count = 4 if events is EVENTS else 3
    with pytest.raises(ArtifactError, match=f"a.onnx: expected {count} inferences .*{found}"):
        read_events(json.dumps(events), count, "a.onnx")


@pytest.mark.parametrize(
    ("name", "operator", "layer"),
    [
        ("node_conv", "Conv", "stem"),
        ("relu_nchwc", "Conv", "stem"),  # named by what it writes, with what is joined to it
        ("relu_nchwc_token_12", "Conv", "stem"),
        ("node_conv_token_7", "QLinearConv", "stem"),
        ("fused node_conv", "FusedConv", "stem"),
        ("node_conv/WithoutBiases", "GroupConvolution", "stem"),
        ("node_conv", "FullyConnectedQuantizedLegacy", "stem"),
        ("node_conv", "MatMulInteger", "stem"),
        ("relu_nchwc", "ReorderOutput", ""),
        ("node_conv", "Convert", ""),
        ("node_conv_2", "Conv", ""),
    ],
)
def test_a_node_is_named_by_the_layer_that_it_computes(
    name: str, operator: str, layer: str
) -> None:
    cost = LayerCost("node_conv", "stem", "Conv", "fp32", 7, 1, 1, ("node_conv", "conv", "relu"))
    (found,) = name_layers([NodeMean(name, operator, "float", 1.0)], [cost])
    assert (found.layer, found.multiply_adds) == (layer, 7 if layer else 0)
    assert found.label == (layer or name)


def test_the_tables_begin_with_the_worst() -> None:
    assert PROFILE.rest == 2
    assert [node.name for node in PROFILE.worst] == ["conv_7", "relu_nchwc", "add", "cast"]
    assert PROFILE.node_rows(2) == [
        ["head", "Conv", "float", "4.000", "40.0%", "1"],
        ["stem", "Conv", "float", "2.000", "20.0%", "30"],
        ["2 other nodes", "", "", "2.000", "20.0%", "-"],
        [REST, "", "", "2.000", "20.0%", "-"],
    ]
    assert PROFILE.kind_rows() == [
        ["Conv", "float", "2", "6.000", "60.0%"],
        ["Add", "float", "1", "1.500", "15.0%"],
        ["Cast", "uint8", "1", "0.500", "5.0%"],
        [REST, "", "", "2.000", "20.0%"],
    ]
    assert [row[0] for row in PROFILE.node_rows(4)] == ["head", "stem", "add", "cast", REST]
    assert PROFILE.node_rows(4)[2][-1] == "-"
    assert {len(row) for row in PROFILE.node_rows()} == {len(NODE_COLUMNS)}
    assert {len(row) for row in PROFILE.kind_rows()} == {len(KIND_COLUMNS)}
    assert PROFILE.bars(1) == [
        ("head", 4.0, "Conv"),
        ("3 other nodes", 4.0, ""),
        (REST, 2.0, ""),
    ]
    values = json.loads(json.dumps(PROFILE.to_dict()))
    assert values["rest"] == 2
    assert values["nodes"][1]["layer"] == "stem"
    assert values["kinds"][0] == {
        "operator": "Conv",
        "kernel": "float",
        "nodes": 2,
        "milliseconds": 6.0,
    }


def test_the_picture_has_a_bar_for_each_node_and_each_kind(
    drawn_axes: Callable[[Any, Callable[[Path], None]], list[Any]],
) -> None:
    worst, kinds = drawn_axes(plot, lambda path: plot_profile(PROFILE, path))
    assert [bar.get_width() for bar in worst.patches] == [4.0, 2.0, 1.5, 0.5, 2.0]
    labels = [text.get_text() for text in worst.get_yticklabels()]
    assert labels == ["head", "stem", "add", "cast", REST]
    assert worst.yaxis_inverted(), "the slowest is at the top"
    assert [bar.get_width() for bar in kinds.patches] == [6.0, 1.5, 0.5]
    colours = [bar.get_facecolor() for bar in worst.patches]
    assert colours[0] == colours[1] == kinds.patches[0].get_facecolor()
    assert colours[2] == kinds.patches[1].get_facecolor() != colours[0]


def test_the_fastest_block_counts(monkeypatch: pytest.MonkeyPatch, crops: np.ndarray) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    times = iter([5.0, 3.0, 4.0])
    asked = []

    def profile(self: Any, crops: np.ndarray, warm_up: int, inferences: int) -> Any:
        asked.append((crops.shape, inferences))
        time = next(times)
        return Block(time, (NodeMean("n", "Add", "float", time / 2),))

    monkeypatch.setattr(ProfiledOnnxRuntime, "profile", profile)
    found = profile_layers(MODEL, "onnxruntime", 1, 2, inferences=7, blocks=3)
    assert asked == [((2, 224, 224, 3), 7)] * 3
    assert (found.milliseconds, found.batch, found.inferences) == (3.0, 2, 7)
    assert found.nodes == (NodeTime("n", "", "Add", "float", 1.5),)


def test_a_fixed_number_of_crops_is_run(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = onnx.load(MODEL)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, tmp_path / "two.onnx")
    found = profile_layers(tmp_path / "two.onnx", "onnxruntime", 1, 1, inferences=1, blocks=1)
    assert found.batch == 2
    assert sum(node.multiply_adds for node in found.nodes) == sum(
        count_costs(MODEL, 2).multiply_adds.values()
    )


def test_without_the_library_that_counts_nodes_keep_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("onnxruntime")

    def refuse(*args: Any) -> Any:
        raise RuntimeUnavailableError("needs onnx")

    monkeypatch.setattr(profiling, "count_costs", refuse)
    found = profile_layers(MODEL, "onnxruntime", 1, inferences=1, blocks=1)
    assert {node.layer for node in found.nodes} == {""}
    assert [node.label for node in found.nodes] == [node.name for node in found.nodes]


@pytest.mark.parametrize("runtime", ["auto", "pytorch"])
def test_other_runtimes_have_no_profile(runtime: str) -> None:
    with pytest.raises(ConfigError, match="runtime pytorch: expected onnxruntime or openvino"):
        profile_layers(bundled("halnet.safetensors"), runtime)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("halnet.onnx", b"", "ONNX Runtime cannot load it"),
        ("halnet.onnx", b"a text\nof two lines", "ONNX Runtime cannot load it"),
        ("photo.jpg", b"\xff\xd8", "expected a model whose name ends in"),
        ("halnet.onnx", None, "no such model file"),
    ],
)
def test_a_damaged_or_foreign_model_gives_one_line(
    name: str, data: bytes | None, message: str, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    done = CliRunner().invoke(command.main, [str(path)])
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"layer_profile: {path}: ")
    assert message in line


def test_a_model_without_our_metadata_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = onnx.load(MODEL)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(ArtifactError, match=r"found no halnet\.\* metadata"):
        profile_layers(tmp_path / "foreign.onnx")


def test_the_command_prints_tables_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def profile(*args: Any) -> LayerProfile:
        asked.append(args)
        return PROFILE

    monkeypatch.setattr(command, "profile_layers", profile)
    picture = tmp_path / "profile.svg"
    args = ["a.onnx", "--threads", "2", "--batch", "4", "--inferences", "7", "--blocks", "3"]
    args += ["--runtime", "openvino", "--worst", "1", "--figure", str(picture)]
    done = CliRunner().invoke(command.main, args, catch_exceptions=False)
    assert asked == [(Path("a.onnx"), "openvino", 2, 4, 7, 3)]
    assert "a.onnx on onnxruntime 1.0" in done.stdout
    assert "10.00 ms for an inference" in done.stdout
    lines = done.stdout.splitlines()
    assert "| Conv | float | 2 | 6.000 | 60.0% |" in lines
    assert "| head | Conv | float | 4.000 | 40.0% | 1 |" in lines
    assert "| 3 other nodes |  |  | 4.000 | 40.0% | - |" in lines
    assert picture.read_text().startswith("<?xml")
    done = CliRunner().invoke(command.main, ["a.onnx", "--json"], catch_exceptions=False)
    assert json.loads(done.stdout)["milliseconds"] == 10.0
    done = CliRunner().invoke(command.main, ["a.onnx", "--figure", "profile.txt"])
    assert done.exit_code == 2
    assert "ends in one of .png" in done.stderr
