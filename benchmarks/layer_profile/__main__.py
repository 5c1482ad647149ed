"""The profile of a model: prints how long each of its nodes takes.

python -m halnet.benchmarks.layer_profile deploy/halnet_openvino_model --figure profile.png
"""

import json
import sys
from pathlib import Path

import click

from halnet.benchmarks.layer_profile.plot import plot_profile
from halnet.benchmarks.layer_profile.profiling import profile_layers
from halnet.benchmarks.layer_profile.times import KIND_COLUMNS, NODE_COLUMNS, WORST
from halnet.benchmarks.machine import machine
from halnet.benchmarks.markdown import print_markdown
from halnet.errors import HalnetError


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
