"""What the commands share: progress, tables, and the cure for a missing extra."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click

from halnet.errors import RuntimeUnavailableError

REPORT_SECONDS = 10.0  # between progress lines where there is no terminal


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Turn a failed import in the block into an error that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise RuntimeUnavailableError(
            f"this command needs {error.name}, which is not installed; "
            f"pip install 'halnet[{extra}]'"
        ) from error


@contextmanager
def progress(label: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total) that shows a bar on a terminal, now and then a line else.

    Everything goes to stderr; `quiet` shows nothing.
    """
    if quiet:
        yield lambda done, total: None
        return
    if not sys.stderr.isatty():
        last = time.monotonic()

        def line(done: int, total: int) -> None:
            nonlocal last
            if done == total or time.monotonic() - last > REPORT_SECONDS:
                last = time.monotonic()
                click.echo(f"{label}: {done} of {total}", err=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table whose first column is text and whose others are figures."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console()
    # Wider than the terminal if need be: a wrapped line can be read, a cut figure cannot.
    needed = console.measure(table, options=console.options.update(max_width=1000)).maximum
    Console(width=max(needed, len(title) + 2)).print(table)
