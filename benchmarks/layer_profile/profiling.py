"""The profile of a model: how long each of its nodes takes in ONNX Runtime or OpenVINO.

The model is opened as `halnet predict` opens it, with the same threads and settings. A runtime
joins nodes, adds others and gives them names of its own. Those that compute a convolution or a
matrix product get the name of the layer of the network too, and how many operations they compute
in a second.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from halnet.artifact import find_model, label_model
from halnet.benchmarks.layer_profile.runs import Block, NodeMean
from halnet.benchmarks.layer_profile.times import (
    LayerProfile,
    NodeTime,
)
from halnet.benchmarks.roof.counts import LayerCost, count_costs
from halnet.benchmarks.samples import sample_crops
from halnet.errors import ConfigError, RuntimeUnavailableError
from halnet.runtimes.backends import choose_runtime, open_model
from halnet.runtimes.base import Crops, Runtime, RuntimeOptions

PROFILED = ("onnxruntime", "openvino")  # names in `halnet.runtimes.BACKENDS`
WARM_UP = 5  # inferences of each block that do not count
# Operators that compute a layer, as the runtimes name them: FusedConv, QLinearConv, ConvInteger.
COMPUTES_LAYER = re.compile(r"(Conv|Convolution|Gemm|MatMul)(Integer)?$|^FullyConnected")
# What the runtimes add to the name of a node or of its result.
ADDED = re.compile(r"^fused |/WithoutBiases|_nchwc|_token_\d+$")


class Profiled(Runtime, Protocol):
    """A runtime that states how long each node takes."""

    def profile(self, crops: Crops, warm_up: int, inferences: int) -> Block:
        """Run inferences after loading the model anew. Those to warm up do not count."""
        ...


def profile_layers(
    model: str | Path,
    runtime: str = "auto",
    threads: int | None = None,
    batch: int = 1,
    inferences: int = 20,
    blocks: int = 8,
) -> LayerProfile:
    """Profile a model on the CPU. A file for a fixed number of crops is run with that number.

    The model is loaded anew for each of `blocks`, which have so many `inferences`. The block with
    the shortest mean counts: where the operating system interrupts an inference, whatever node is
    executed takes many times as long.

    Raises ConfigError for a runtime that has no profile, and what `open_model` and `count_costs`
    raise.
    """
    name = choose_runtime(find_model(model), "cpu") if runtime == "auto" else runtime
    if name not in PROFILED:
        raise ConfigError(
            f"runtime {name}: expected {' or '.join(PROFILED)}, which state how long each node "
            "takes; name one of them and a model that it runs"
        )
    options = RuntimeOptions(name, "cpu", threads)
    open_model(model, options).close()  # which also checks the name of the file
    with _open_profiled(find_model(model), options) as profiled:
        spec = profiled.spec
        size = spec.batch_limits.maximum or batch
        samples = sample_crops()
        crops = np.resize(samples, (size, *samples.shape[1:]))
        runs = [profiled.profile(crops, WARM_UP, inferences) for _ in range(blocks)]
    fastest = min(runs, key=lambda block: block.milliseconds)
    try:
        layers = count_costs(model, size).layers
    except RuntimeUnavailableError:  # the nodes keep the names that the runtime gives them
        layers = ()
    return LayerProfile(
        label_model(spec.model),
        spec.runtime,
        spec.version,
        spec.threads,
        size,
        inferences,
        fastest.milliseconds,
        name_layers(fastest.nodes, layers),
    )


def _open_profiled(model: Path, options: RuntimeOptions) -> Profiled:
    if options.runtime == "openvino":
        from halnet.benchmarks.layer_profile.profiled_ov import ProfiledOpenVINO

        return ProfiledOpenVINO(model, options)
    from halnet.benchmarks.layer_profile.profiled_ort import ProfiledOnnxRuntime

    return ProfiledOnnxRuntime(model, options)


def name_layers(
    nodes: Iterable[NodeMean], layers: Iterable[LayerCost] = ()
) -> tuple[NodeTime, ...]:
    """Return the nodes with the names and the multiply-adds of the layers that they compute."""
    by_alias = {alias: layer for layer in layers for alias in layer.aliases}
    found = []
    for node in nodes:
        name = ADDED.sub("", node.name)
        layer = by_alias.get(name) if COMPUTES_LAYER.search(node.operator) else None
        label, count = (layer.weights or layer.name, layer.multiply_adds) if layer else ("", 0)
        found.append(
            NodeTime(node.name, label, node.operator, node.kernel, node.milliseconds, count)
        )
    return tuple(found)
