"""The profile of OpenVINO: the times that it counts for each node while it runs a model.

OpenVINO states the mean time of a node over all inferences since the model was compiled.
"""

from pathlib import Path
from typing import Any

from halnet.benchmarks.layer_profile.runs import Block, NodeMean, time_runs
from halnet.packages import import_openvino
from halnet.runtimes.base import Crops
from halnet.runtimes.onnx_file import read_onnx
from halnet.runtimes.ov import XML_FILE, OpenVINORuntime, compile_config
from halnet.signal_stack import kept_signal_stack

EXECUTED = "EXECUTED"  # other nodes are computed together with one before them, or take no time


class ProfiledOpenVINO(OpenVINORuntime):
    """A model that is compiled with the settings of `OpenVINORuntime`, and counts times as well."""

    @kept_signal_stack()
    def profile(self, crops: Crops, warm_up: int, inferences: int) -> Block:
        """Run inferences after compiling anew. Those to warm up come first and do not count."""
        core, path, device = import_openvino().Core(), Path(self.spec.model), self.spec.provider
        if path.suffix == ".onnx":
            network = core.read_model(read_onnx(path))
        else:
            network = core.read_model(path / XML_FILE if path.is_dir() else path)
        config = compile_config(device, "f32", self._options)
        self._compiled = core.compile_model(network, device, config | {"PERF_COUNT": True})
        time_runs(self, crops, warm_up)
        before = self._count()
        milliseconds = time_runs(self, crops, inferences)
        runs = warm_up + inferences
        nodes = []
        for earlier, node in zip(before, self._count(), strict=True):
            if node.status.name == EXECUTED:
                total = node.real_time * runs - earlier.real_time * warm_up
                # The times are whole microseconds, so that the difference of two may be below 0.
                mean = max(0.0, total.total_seconds() * 1000 / inferences)
                name, operator, kernel = node.node_name, node.node_type, node.exec_type
                nodes.append(NodeMean(name, operator, kernel, mean))
        return Block(milliseconds, tuple(nodes))

    def _count(self) -> list[Any]:
        """Return what is known about each node by now."""
        nodes: list[Any] = self._compiled.create_infer_request().get_profiling_info()
        return nodes
