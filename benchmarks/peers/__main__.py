"""Peers: times and judges halnet and other packages on the same raw photos, in turns.

    python -m halnet.benchmarks.peers --data data/aaf --photos "All-Age-Faces Dataset" \\
        --out runs/peers

Every package runs in a process of its own, which gets paths and answers with ages. Most of them are
installed into folders of their own in `--out` on first use, which needs a package registry, and for
two of them Node with npm. deepface, insightface, uniface and MiVOLO take part if the user has
installed them and their weights. A peer that is missing or fails is listed with the reason.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from halnet.benchmarks.machine import find_conditions
from halnet.benchmarks.peers.comparison import compare, find_photos, install
from halnet.benchmarks.peers.known_peers import PEERS
from halnet.benchmarks.peers.reports import split_document, to_markdown, update_document
from halnet.errors import HalnetError
from halnet.faces.yunet_file import YUNET_VARIABLE, yunet_path
from halnet.files import locked, write_text


@click.command()
@click.option(
    "--data",
    type=Path,
    multiple=True,
    required=True,
    help="Folder that halnet prepare wrote. Name several by repeating the option.",
)
@click.option(
    "--photos",
    type=Path,
    multiple=True,
    required=True,
    help="Folder of the raw photos of each --data, in the same order.",
)
@click.option(
    "--out", type=Path, required=True, help="Folder for the environments and the results."
)
@click.option("--split", default="test", show_default=True, help="Part of each dataset.")
@click.option(
    "--limit",
    default=300,
    show_default=True,
    type=click.IntRange(1),
    help="Number of photos of each dataset, spread evenly over the part.",
)
@click.option(
    "--peer",
    "names",
    type=click.Choice(list(PEERS)),
    multiple=True,
    help="Package to compare. You can repeat this option. Default: all of them.",
)
@click.option(
    "--python",
    "pythons",
    metavar="PEER=PATH",
    multiple=True,
    help="Python in which you have installed a peer. You can repeat it. Default: this Python.",
)
@click.option(
    "--checkout",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="Folder of the sources of halnet, which is installed like the others.",
)
@click.option("--detector", type=Path, help="Local YuNet file of halnet.")
@click.option(
    "--patience",
    default=120.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Seconds that a peer may take to start, and for one photo.",
)
@click.option(
    "--document",
    type=Path,
    help="Document in which the tables are replaced, such as docs/peers.md.",
)
def main(
    data: tuple[Path, ...],
    photos: tuple[Path, ...],
    out: Path,
    split: str,
    limit: int,
    names: tuple[str, ...],
    pythons: tuple[str, ...],
    checkout: Path,
    detector: Path | None,
    patience: float,
    document: Path | None,
) -> None:
    """Compare halnet with other packages, and print the result as Markdown tables.

    They are also in the files peers.md and peers.json in the folder --out.
    """
    if len(data) != len(photos):
        raise click.UsageError(
            f"expected a --photos for each --data, found {len(photos)} and {len(data)}"
        )
    before = find_conditions()
    by_name = _parse_pythons(pythons)
    if document:
        split_document(document)  # a wrong one is an error before the work begins
    sets = find_photos(data, photos, split, limit)
    variables = {**os.environ, YUNET_VARIABLE: str(yunet_path(detector).absolute())}
    with locked(out, "comparison"):
        environments, skipped = install(names or list(PEERS), out, checkout, by_name)
        comparison = compare(environments, sets, variables, patience, before, skipped)
        text = to_markdown(comparison)
        write_text(out / "peers.md", text)
        write_text(out / "peers.json", json.dumps(comparison.to_dict(), indent=1) + "\n")
    if document:
        update_document(document, text)
    click.echo(text)


def _parse_pythons(pythons: Sequence[str]) -> dict[str, Path]:
    found = {}
    for text in pythons:
        name, equals, path = text.partition("=")
        if not equals or name not in PEERS:
            raise click.UsageError(
                f"--python: expected PEER=PATH with one of {', '.join(PEERS)}, found {text}"
            )
        found[name] = Path(path).absolute()
    return found


if __name__ == "__main__":
    try:
        main()
    except HalnetError as error:
        click.echo(f"peers: {error}", err=True)
        sys.exit(2)
