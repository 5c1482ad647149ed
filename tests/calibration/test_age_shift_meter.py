from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from halnet.calibration.age_shift_meter import AgeShiftMeter
from halnet.calibration.budget import MIN_SET, AgeShift, percentile_bound
from halnet.datasets.record import Record


def shifted(proto: Any, years: float) -> Any:
    """Return a copy of a graph whose ages are larger by `years`."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.graph.node[-1].output[0] = "almost"
    copy.graph.initializer.append(numpy_helper.from_array(np.float32(years), "years"))
    copy.graph.node.append(onnx.helper.make_node("Add", ["almost", "years"], ["age"], "older"))
    return copy


def test_the_same_graph_shifts_nothing(tiny_graph: Any, crops: np.ndarray) -> None:
    same = AgeShiftMeter(tiny_graph, crops, [Record("", 1000, 1000)] * len(crops))(tiny_graph)
    assert (same.mean, same.p99, same.maximum, same.delta_mae) == (0, 0, 0, 0)
    assert same.milliseconds is None


def test_a_shift_is_measured_in_years(tiny_graph: Any, crops: np.ndarray) -> None:
    meter = AgeShiftMeter(tiny_graph, crops, [Record("", 1000, 1000)] * len(crops))
    found = meter(shifted(tiny_graph, 2), timed=True)
    assert found.mean == pytest.approx(2, abs=1e-4)
    assert found.delta_mae == pytest.approx(-2, abs=1e-4)  # nearer to 1000
    assert found.milliseconds is not None
    assert found.milliseconds > 0


def test_the_figures_are_those_of_the_distances(tiny_graph: Any, crops: np.ndarray) -> None:
    """A made-up runtime whose ages are known, the second graph's a little larger."""
    distances = np.array([0.0, 1.0, -2.0, 3.0, 4.0])
    runs = iter([np.full(5, 30.0), 30 + distances])
    opened = []

    def opener(proto: Any, threads: int | None) -> Any:
        opened.append(threads)
        ages = next(runs)
        brightness = [crop.mean() for crop in crops]
        return lambda batch: ages[[brightness.index(crop.mean()) for crop in batch]]

    meter = AgeShiftMeter(tiny_graph, crops, None, 3, opener)
    found = meter(tiny_graph)
    assert opened == [3, 3]
    assert (found.mean, found.maximum) == (2, 4)
    assert found.p99 == pytest.approx(3.96)
    assert found.p99_bound == percentile_bound(abs(distances)) == 4
    assert found.delta_mae is None, "the true ages are not known"


def test_a_graph_with_a_fixed_batch_size_is_measured_on_all_crops(
    tiny_graph: Any, crops: np.ndarray
) -> None:
    fixed = shifted(tiny_graph, 1)
    for graph in (tiny_graph, fixed):
        graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
        graph.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 3
    found = AgeShiftMeter(tiny_graph, crops)(fixed)
    assert (found.mean, found.maximum) == (pytest.approx(1, abs=1e-4),) * 2


def measure(years: list[float], records: list[Record]) -> AgeShift:
    """Return what the meter finds where each age of 30 years is shifted by so many years."""
    count = len(years)
    crops = np.arange(count, dtype=np.uint16).view(np.uint8).reshape(count, 1, 1, 2)
    runs = iter([np.zeros(count), np.array(years)])

    def opener(proto: Any, threads: int | None) -> Any:
        ages = 30 + next(runs)
        return lambda batch: ages[batch.reshape(-1, 2).copy().view(np.uint16).ravel()]

    dynamic = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, ["n", 1, 1, 2])
    graph = onnx.helper.make_graph([], "none", [dynamic], [])
    proto = onnx.helper.make_model(graph)
    return AgeShiftMeter(proto, crops, records, None, opener)(proto)


def test_the_error_of_a_range_is_the_distance_to_it() -> None:
    labels = [(20, 29), (30, 39), (40, 49), (35, 35)]
    records = [Record("", low, high) for low, high in labels]
    # Distances before: 1, 0, 10 and 5; after the shift by 4 years: 5, 0, 6 and 1.
    assert measure([4.0] * 4, records).delta_mae == (4 + 0 - 4 - 4) / 4


def test_each_large_dataset_has_figures_of_its_own() -> None:
    sizes = {"a": MIN_SET, "b": MIN_SET - 1, "c": MIN_SET + 1}
    records = [Record("", 50, 50, dataset=name) for name, n in sizes.items() for _ in range(n)]
    years = {"a": 1.0, "b": 9.0, "c": -1.0}
    found = measure([years[record.dataset] for record in records], records)
    assert found.maximum == 9
    assert set(found.by_set) == {"a", "c"}, "the other one has too few photos"
    for name, sign in (("a", -1), ("c", 1)):  # nearer to 50, and farther away
        part = found.by_set[name]
        assert (part.mean, part.p99, part.p99_bound, part.maximum) == (1, 1, 1, 1)
        assert part.delta_mae == sign
    alone = [replace(record, dataset="a") for record in records]
    assert measure([1.0] * len(alone), alone).by_set == {}, "a single dataset is all photos"
