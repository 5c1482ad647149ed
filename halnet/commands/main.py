"""The command line: `halnet` and its commands, each in a file of its own.

A command parses, builds a frozen value and calls one library function. Exit status: 0 done, 1 a
check failed, 2 wrong use or bad input, with one clear line.
"""

import sys
from importlib import import_module
from typing import Any

import click

from halnet import __version__
from halnet.errors import HalnetError

COMMANDS = {  # in the order of a model's way
    "prepare": "Detect, align and split a dataset of photos.",
    "train": "Train on a prepared dataset.",
    "plot": "Draw a training run and its evaluation.",
    "evaluate": "Measure a model's error and coverage on a split.",
    "export": "Turn a checkpoint into a deployable artifact.",
    "verify": "Compare an artifact with the PyTorch checkpoint.",
    "bench": "Time runtimes side by side.",
    "predict": "Print the ages of the faces in photos.",
    "demo": "Serve a page that shows ages of photos and live video.",
    "info": "Show what is installed, and what a model file says of itself.",
}


class LazyGroup(click.Group):
    """Imports a command's file when it is used, so that `halnet predict` starts quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command from its file."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"halnet.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="halnet")
def group() -> None:
    """Face-age estimation that deploys anywhere and proves that it still works there."""


def run(command: click.Command, args: list[str] | None = None, name: str = "halnet") -> int:
    """Run a command and return its exit status; expected errors become one line on stderr."""
    try:
        status: Any = command.main(args, prog_name=name, standalone_mode=False)
        return int(status or 0)
    except HalnetError as error:
        click.echo(f"{name}: {error}", err=True)
        return 2
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OSError as error:  # a full disk, a folder that cannot be written
        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"{name}: {place}{error.strerror or error}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"{name}: interrupted", err=True)
        return 130


def main() -> None:
    """Entry point of `halnet`."""
    sys.exit(run(group))


def export_main() -> None:
    """Entry point of `halnet-export`."""
    sys.exit(run(import_module("halnet.commands.export").command, name="halnet-export"))


def bench_main() -> None:
    """Entry point of `halnet-bench`."""
    sys.exit(run(import_module("halnet.commands.bench").command, name="halnet-bench"))
