import importlib
import sys
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from halnet.artifact import bundled
from halnet.benchmarks.studies import graph_steps
from halnet.errors import RuntimeUnavailableError


def test_the_table_has_a_row_for_each_graph(
    crops: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All graphs are the bundled one here, because tracing takes long."""
    bundled_graph = onnx.load(bundled("halnet.onnx"))
    traced = []

    def trace(network: Any, precision: str, batch: int | None) -> Any:
        traced.append((precision, batch))
        return bundled_graph

    monkeypatch.setattr(graph_steps, "trace", trace)
    monkeypatch.setattr(graph_steps, "simplify", lambda model, steps: model)
    monkeypatch.setattr(graph_steps, "STEPS", {"attention": None, "folding": None})
    monkeypatch.setattr(graph_steps, "RUNTIMES", {"onnxruntime": "ONNX Runtime"})
    monkeypatch.setattr(graph_steps, "sample_crops", lambda: crops)
    args = ["--threads", "1", "--runs", "2"]
    done = CliRunner().invoke(graph_steps.main, args, catch_exceptions=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    columns, _, *rows = [line.strip("| ").split(" | ") for line in lines]
    assert columns == ["graph", "nodes", "ONNX Runtime, ms"]
    assert [row[0] for row in rows] == [
        *("plain export", "attention", "folding", "all"),
        *("all but attention", "all but folding", "all, batch 1"),
    ]
    assert {row[1] for row in rows} == {str(len(bundled_graph.graph.node))}
    assert all(float(row[2]) > 0 for row in rows)
    assert traced == [("fp32", None)] * 6 + [("fp32", 1)]
    assert "on 1 threads" in done.stdout
    assert "by more than 0.00000 years" in done.stdout


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "halnet.export.to_onnx", raising=False)
    monkeypatch.delitem(sys.modules, graph_steps.__name__)
    message = r"graph_steps needs onnx, .*'halnet\[export,onnxruntime,openvino\]'"
    with pytest.raises(RuntimeUnavailableError, match=message):
        importlib.import_module(graph_steps.__name__)
