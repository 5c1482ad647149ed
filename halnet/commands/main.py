"""The group `halnet`, how its commands are found, and how errors become exit statuses.

A command parses its options, builds a frozen value and calls one library function. Its exit status
is 0 if all went well, 1 if a check failed, and 2 for wrong use or bad input, with one clear line.
`halnet check` also has 3, for a photo that gives no result.
"""

import gc
import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from halnet import __version__
from halnet.commands.output import interrupted_by_sigterm, print_any_name
from halnet.errors import HalnetError
from halnet.packages import check_opencv

COMMANDS = {  # in the order in which a model is made, deployed and used
    "prepare": "Find, align and crop the faces of a dataset, and split them.",
    "train": "Train a model on a prepared dataset.",
    "plot": "Draw a training run and its evaluation.",
    "evaluate": "Measure the errors of a model on a split.",
    "report": "Write a report for those who must judge an age check.",
    "export": "Export a checkpoint to artifacts for deployment.",
    "verify": "Compare artifacts with their checkpoint in PyTorch.",
    "bench": "Time models and runtimes side by side.",
    "predict": "Print the ages of the faces in photos and videos.",
    "batch": "Predict folders and buckets of millions of photos.",
    "check": "Check whether a person looks clearly as old as a legal age.",
    "demo": "Serve a page that shows the ages in photos and live video.",
    "serve": "Answer requests by HTTP: photos in, faces with their ages out.",
    "info": "Show which runtimes are installed, or what a model file states.",
}


def load_command(name: str) -> click.Command:
    """Import a command from its file. Raises RuntimeUnavailableError without a fitting OpenCV."""
    check_opencv()
    command: click.Command = import_module(f"halnet.commands.{name}").command
    return command


class LazyGroup(click.Group):
    """A group that imports the file of a command only when the command is used.

    This lets `halnet predict` start quickly.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command from its file; None if there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        return load_command(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="halnet")
def group() -> None:
    """Face-age estimation that deploys anywhere and proves that it still works there."""


def run(command: click.Command | str, args: list[str] | None = None, name: str = "halnet") -> int:
    """Run a command and return its exit status; an expected error becomes one line on stderr.

    `command` is a command, or the name of one, which is imported first.
    """
    # Commands draw into files only, and a backend that a notebook has named may not exist here.
    os.environ["MPLBACKEND"] = "agg"
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # see halnet.runtimes.ort
    print_any_name()
    try:
        loaded = load_command(command) if isinstance(command, str) else command
        with interrupted_by_sigterm():
            status: Any = loaded.main(args, prog_name=name, standalone_mode=False)
        return int(status or 0)
    except HalnetError as error:
        click.echo(f"{name}: {error}", err=True)
        return 2
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OSError as error:  # such as a full disk, or a folder that cannot be written
        path = f"{error.filename}: " if error.filename else ""
        click.echo(f"{name}: {path}{error.strerror or error}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"{name}: interrupted", err=True)
        return 130


def main() -> None:
    """Entry point of `halnet`."""
    _exit(run(group))


def export_main() -> None:
    """Entry point of `halnet-export`."""
    _exit(run("export", name="halnet-export"))


def bench_main() -> None:
    """Entry point of `halnet-bench`."""
    _exit(run("bench", name="halnet-bench"))


def _exit(status: int) -> NoReturn:
    """End the process without a last search for garbage, which takes 20 ms."""
    gc.freeze()
    sys.exit(status)
