"""The profile of ONNX Runtime: the events that it writes into a file while it runs a model."""

import json
import tempfile
from pathlib import Path
from typing import Any

from halnet.benchmarks.layer_profile.runs import Block, NodeMean, time_runs
from halnet.errors import ArtifactError
from halnet.packages import import_onnxruntime
from halnet.runtimes.base import Crops
from halnet.runtimes.onnx_file import read_onnx
from halnet.runtimes.ort import OnnxRuntime

NODE, RUN = "Node", "model_run"  # the kind of the events of nodes, the name of those of inferences
ENDING = "_kernel_time"  # of the names of the events of nodes
# What ONNX Runtime computes in a layout of its own, in blocks of channels, has this in its name.
BLOCKED = "_nchwc"
MICROSECONDS = 1000  # in a millisecond


class ProfiledOnnxRuntime(OnnxRuntime):
    """An artifact in sessions with the settings of `OnnxRuntime` that are profiled as well."""

    def profile(self, crops: Crops, warm_up: int, inferences: int) -> Block:
        """Run inferences in a new session. Those to warm up come first and do not count."""
        ort = import_onnxruntime()
        settings = self._session.get_session_options()
        settings.enable_profiling = True
        with tempfile.TemporaryDirectory() as folder:
            settings.profile_file_prefix = str(Path(folder) / "profile")
            self._session = ort.InferenceSession(
                read_onnx(self.spec.model), settings, providers=self._session.get_providers()
            )
            time_runs(self, crops, warm_up)
            milliseconds = time_runs(self, crops, inferences)
            text = Path(self._session.end_profiling()).read_text(encoding="utf-8")
        return Block(milliseconds, read_events(text, inferences, self.spec.model))


def read_events(text: str, inferences: int, model: str) -> tuple[NodeMean, ...]:
    """Return the mean times of the nodes over the last inferences in a file of a profile.

    `model` is for errors. Raises ArtifactError if the file has fewer inferences or no nodes, which
    is so for a version of ONNX Runtime that writes other files.
    """
    events: list[dict[str, Any]] = json.loads(text)
    begins = sorted(event["ts"] for event in events if event["name"] == RUN)[-inferences:]
    sums: dict[tuple[str, str, str], float] = {}
    for event in sorted((event for event in events if event["cat"] == NODE), key=_begin):
        if event["ts"] >= begins[0]:
            key = _describe(event)
            sums[key] = sums.get(key, 0.0) + event["dur"] / MICROSECONDS
    if len(begins) < inferences or not sums:
        raise ArtifactError(
            f"{model}: expected {inferences} inferences with their nodes in the profile of ONNX "
            f"Runtime, found {len(begins)} with {len(sums)} nodes; use another version of it"
        )
    return tuple(NodeMean(*key, total / inferences) for key, total in sums.items())


def _begin(event: dict[str, Any]) -> int:
    begin: int = event["ts"]
    return begin


def _describe(event: dict[str, Any]) -> tuple[str, str, str]:
    """Return the name, operator and kernel of a node."""
    name = event["name"].removesuffix(ENDING)
    types = [kind for tensor in event["args"]["input_type_shape"] for kind in tensor]
    layout = " in blocks of channels" if BLOCKED in name else ""
    return name, event["args"]["op_name"], "".join(types[:1]) + layout
