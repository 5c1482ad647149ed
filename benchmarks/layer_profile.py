"""The profile of a model: how long each of its nodes takes in ONNX Runtime or OpenVINO.

    python -m halnet.benchmarks.layer_profile deploy/halnet_openvino_model --figure profile.png

The model is opened as `halnet predict` opens it, with the same threads and settings. A runtime
joins nodes, adds others and gives them names of its own. Those that compute a convolution or a
matrix product get the name of the layer of the network too, and how many operations they compute
in a second.
"""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import click
import numpy as np

from halnet.artifact import find_model, label_model
from halnet.benchmarks.layer_profile_plot import plot_profile
from halnet.benchmarks.layer_profile_runs import Block, NodeMean
from halnet.benchmarks.layer_profile_times import (
    KIND_COLUMNS,
    NODE_COLUMNS,
    WORST,
    LayerProfile,
    NodeTime,
)
from halnet.benchmarks.markdown import print_markdown
from halnet.benchmarks.roof_counts import LayerCost, count_costs
from halnet.benchmarks.samples import sample_crops
from halnet.benchmarks.speed import machine
from halnet.errors import ConfigError, HalnetError, RuntimeUnavailableError
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
        from halnet.benchmarks.layer_profile_ov import ProfiledOpenVINO

        return ProfiledOpenVINO(model, options)
    from halnet.benchmarks.layer_profile_ort import ProfiledOnnxRuntime

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


@click.command()
@click.argument("model", type=Path)
@click.option("--runtime", default="auto", show_default=True, help="Runtime of the model.")
@click.option("--threads", type=click.IntRange(1), help="Threads. Default: one for each core.")
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1), help="Crops.")
@click.option(
    "--inferences", default=20, show_default=True, type=click.IntRange(1), help="In each block."
)
@click.option(
    "--blocks",
    default=8,
    show_default=True,
    type=click.IntRange(1),
    help="Blocks of inferences, the fastest of which counts.",
)
@click.option(
    "--worst", default=WORST, show_default=True, type=click.IntRange(1), help="Nodes to show."
)
@click.option("--figure", "picture", type=Path, help="File for a picture: .png, .svg or .pdf.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def main(
    model: Path,
    runtime: str,
    threads: int | None,
    batch: int,
    inferences: int,
    blocks: int,
    worst: int,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Print how long the nodes of MODEL take, and all nodes of a kind, as Markdown tables."""
    try:
        profile = profile_layers(model, runtime, threads, batch, inferences, blocks)
        if picture:
            plot_profile(profile, picture)
    except HalnetError as error:
        click.echo(f"layer_profile: {error}", err=True)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps(profile.to_dict()))
        return
    click.echo(
        f"{profile.model} on {profile.runtime} {profile.version}; {machine()}; threads: "
        f"{profile.threads}, batch size: {profile.batch}; {profile.milliseconds:.2f} ms for an "
        f"inference while it is profiled, the mean of {profile.inferences}\n"
    )
    print_markdown(KIND_COLUMNS, profile.kind_rows())
    click.echo()
    print_markdown(NODE_COLUMNS, profile.node_rows(worst))


if __name__ == "__main__":
    main()
