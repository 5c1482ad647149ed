"""Markdown: the tables that the benchmarks print, to be pasted into the documents."""

from collections.abc import Sequence

import click


def print_markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    for row in (columns, ["---"] * len(columns), *rows):
        click.echo(f"| {' | '.join(row)} |")
