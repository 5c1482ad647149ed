"""Output that the commands share: progress bars and tables."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click

REPORT_SECONDS = 10.0  # between two progress lines if stderr is not a terminal


@contextmanager
def progress(label: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (items done, items in all) that shows the progress on stderr.

    It draws a bar on a terminal, and elsewhere prints a line every few seconds. `quiet` shows
    nothing.
    """
    if quiet:
        yield lambda done, total: None
        return
    if not sys.stderr.isatty():
        last = time.monotonic()

        def print_line(done: int, total: int) -> None:
            nonlocal last
            if done == total or time.monotonic() - last > REPORT_SECONDS:
                last = time.monotonic()
                click.echo(f"{label}: {done} of {total}", err=True)

        yield print_line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table. Its first column is aligned to the left, the others to the right.

    The table may be wider than the terminal: a wrapped line can still be read, a cut number cannot.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console()
    needed = console.measure(table, options=console.options.update(max_width=1000)).maximum
    Console(width=max(needed, len(title) + 2)).print(table)
