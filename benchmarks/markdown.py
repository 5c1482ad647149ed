"""Markdown: prints the tables of the studies and of the soak, for the documents."""

from collections.abc import Sequence

import click

from halnet.reporting.markdown import markdown_table


def print_markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown; each row has one cell for each column."""
    click.echo(markdown_table(columns, rows))
