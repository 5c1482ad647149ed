"""Output that the commands share: progress bars and tables, names of any bytes, and its end."""

import codecs
import io
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click

from halnet.files import NAME_ERRORS

REPORT_SECONDS = 10.0  # between two progress lines if stderr is not a terminal


@contextmanager
def progress(label: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (items done, items in all) that shows the progress on stderr.

    It draws a bar on a terminal. Elsewhere, it prints a line every few seconds and one at the end.
    `quiet` shows nothing. The number of all items may be an estimate, or 0 if it is not known.
    """
    if quiet:
        yield lambda done, total: None
        return
    if not sys.stderr.isatty():
        with _progress_lines(label) as print_line:
            yield print_line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Remaining(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(
            task, completed=done, total=max(done, total) if total else None
        )


@contextmanager
def _progress_lines(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (items done, items in all) that prints a line now and then."""
    printed = time.monotonic()
    line = last_line = ""

    def count(done: int, total: int) -> None:
        nonlocal printed, line, last_line
        line = f"{label}: {done} of {max(done, total)}" if total else f"{label}: {done}"
        now = time.monotonic()
        if now - printed > REPORT_SECONDS:
            printed, last_line = now, line
            click.echo(line, err=True)

    try:
        yield count
    finally:
        if line != last_line:
            click.echo(line, err=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table. Its first column is aligned to the left, the others to the right.

    The table may be wider than the terminal: a wrapped line can still be read, a cut number cannot.
    Every text is printed as it is: "[/y]" in the name of a file is no markup, and ":x:" no emoji.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False, emoji=False)
    needed = console.measure(table, options=console.options.update(max_width=1000)).maximum
    console.width = needed
    if title:
        click.echo(title)
    console.print(table)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, which `timeout` and service managers send, end the block as Ctrl-C does.

    What the block writes is then finished properly. In another thread than the main one, nothing
    changes, since Python allows no signal handlers there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def print_any_name() -> None:
    """Let standard output and stderr print file names that are not UTF-8, with their bytes.

    On a stream that is not UTF-8, what it cannot print is escaped.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            is_utf_8 = codecs.lookup(stream.encoding).name == "utf-8"
            stream.reconfigure(errors=NAME_ERRORS if is_utf_8 else "backslashreplace")
