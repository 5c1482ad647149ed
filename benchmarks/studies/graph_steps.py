"""What each step before an export gains: `python -m halnet.benchmarks.studies.graph_steps`.

Times the bundled checkpoint's graph as PyTorch's exporter writes it, after each step alone, after
all, after all but each, and after all with a fixed batch of one, on every runtime that reads ONNX,
in turns.
"""

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click

from halnet.artifact import bundled
from halnet.benchmarks.samples import sample_crops
from halnet.benchmarks.speed import BenchConfig, bench, cpu_name
from halnet.benchmarks.studies.markdown import print_markdown
from halnet.export.config import Target
from halnet.export.graph import STEPS, simplify
from halnet.export.to_onnx import trace, write_onnx
from halnet.network.checkpoint import load_checkpoint
from halnet.runtimes.backends import open_runtime

RUNTIMES = ("onnxruntime", "openvino")


@click.command()
@click.option("--threads", type=click.IntRange(1), help="Of every runtime; default: all cores.")
@click.option("--runs", default=300, show_default=True, help="Timed runs of each graph.")
def main(threads: int | None, runs: int) -> None:
    """Print nodes, speed and difference to the plain export after each step, as Markdown."""
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
            opened += [stack.enter_context(open_runtime(path, r, "cpu", threads)) for r in RUNTIMES]
        crops = sample_crops()
        ages = [runtime.run(crops).age for runtime in opened]
        timings = bench(opened, BenchConfig(runs=runs))
    for index, row in enumerate(rows):
        for offset in range(len(RUNTIMES)):
            at = index * len(RUNTIMES) + offset
            difference = float(abs(ages[at] - ages[offset]).max())
            row += [f"{timings[at].p50:.2f}", f"{difference:.5f}"]
    columns = ["graph", "nodes"]
    for name in RUNTIMES:
        columns += [f"{name} ms", "max delta age"]
    click.echo(f"{cpu_name()}, {timings[0].threads} threads, batch 1, medians, by turns\n")
    print_markdown(columns, rows)


if __name__ == "__main__":
    main()
