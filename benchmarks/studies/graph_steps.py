"""The speed of the exported graph with and without each step that simplifies it.

    python -m halnet.benchmarks.studies.graph_steps

This study needs `pip install 'halnet[export,onnxruntime,openvino]'`. It times the graph of the
bundled checkpoint as PyTorch's exporter writes it, after each step alone, after all steps, after
all steps but one, and after all steps with a fixed batch size of one. The graphs take turns.
"""

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click

from halnet.artifact import bundled
from halnet.benchmarks.markdown import print_markdown
from halnet.benchmarks.samples import sample_crops
from halnet.benchmarks.timing.speed import BenchConfig, bench
from halnet.packages import needs
from halnet.processor import cpu_name
from halnet.runtimes.backends import open_model
from halnet.runtimes.base import RuntimeOptions

with needs("the study graph_steps", "export,onnxruntime,openvino"):
    from halnet.export.config import Target
    from halnet.export.graph import STEPS, simplify
    from halnet.export.to_onnx import trace, write_onnx
    from halnet.network.checkpoint import load_checkpoint

RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}  # name: title of the column


@click.command()
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Number of threads for each runtime. Default: one for each core.",
)
@click.option("--runs", default=300, show_default=True, help="Number of timed runs of each graph.")
def main(threads: int | None, runs: int) -> None:
    """Print the number of nodes and the speed of each graph as a Markdown table."""
    checkpoint = load_checkpoint(bundled("halnet.safetensors"))
    variants: list[tuple[str, tuple[str, ...], int | None]] = [
        ("plain export", (), None),
        *((name, (name,), None) for name in STEPS),
        ("all", tuple(STEPS), None),
        *((f"all but {name}", tuple(n for n in STEPS if n != name), None) for name in STEPS),
        ("all, batch 1", tuple(STEPS), 1),
    ]
    rows = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        opened = []
        for name, steps, batch in variants:
            graph = trace(simplify(checkpoint.model, steps), "fp32", batch)
            path = Path(folder) / f"{name}.onnx"
            write_onnx(graph, replace(checkpoint.metadata, precision="fp32"), path, Target())
            rows.append([name, str(len(graph.graph.node))])
            for runtime in RUNTIMES:
                options = RuntimeOptions(runtime, "cpu", threads)
                opened.append(stack.enter_context(open_model(path, options)))
        crops = sample_crops()
        ages = [runtime.run(crops).age for runtime in opened]
        timings = bench(opened, BenchConfig(runs=runs))
    differences = [abs(found - ages[i % len(RUNTIMES)]).max() for i, found in enumerate(ages)]
    for i, timing in enumerate(timings):
        rows[i // len(RUNTIMES)].append(f"{timing.p50:.2f}")
    click.echo(
        f"{cpu_name()}; the times are medians for batch 1 on {timings[0].threads} threads. The "
        "graphs took turns. No age differs from that of the plain export by more than "
        f"{max(differences):.5f} years.\n"
    )
    print_markdown(["graph", "nodes", *(f"{title}, ms" for title in RUNTIMES.values())], rows)


if __name__ == "__main__":
    main()
