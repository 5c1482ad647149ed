from typing import Any

import numpy as np
import pytest

from halnet.calibration.sessions import batch_size, open_age_function, open_session, with_outputs


def test_ages_are_those_of_a_plain_session(tiny_graph: Any, crops: np.ndarray) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(tiny_graph.SerializeToString())
    expected = session.run(["age"], {"image": crops})[0]
    np.testing.assert_array_equal(open_age_function(tiny_graph)(crops), expected)
    np.testing.assert_allclose(open_age_function(tiny_graph, threads=1)(crops), expected, rtol=1e-5)


@pytest.mark.parametrize(("threads", "expected"), [(None, 3), (1, 1), (2, 2)])
def test_the_number_of_threads(
    tiny_graph: Any, threads: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a number, there is one thread for each usable core: here, for three."""
    monkeypatch.setattr("halnet.calibration.sessions.thread_count", lambda number: number or 3)
    options = open_session(tiny_graph, threads).get_session_options()
    assert options.intra_op_num_threads == expected


def test_named_tensors_instead_of_the_outputs(tiny_graph: Any, crops: np.ndarray) -> None:
    names = ["wide_relu", "flat"]
    session = open_session(with_outputs(tiny_graph, names))
    assert [output.name for output in session.get_outputs()] == names
    wide, flat = session.run(names, {"image": crops})
    assert (wide.shape, flat.shape) == ((5, 8, 7, 7), (5, 4))
    assert wide.min() == 0
    assert [output.name for output in tiny_graph.graph.output] == ["age"], "the graph is unchanged"


def test_the_batch_size_of_a_graph(tiny_graph: Any) -> None:
    assert batch_size(tiny_graph, free=7) == 7
    tiny_graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    assert batch_size(tiny_graph, free=7) == 3
