"""Options that several commands share, and the old names of options that were renamed.

Help texts are made from the tables of the library, so that they name what it supports.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import click

from halnet.datasets.split import SPLITS
from halnet.evaluation.figures import DARK, LIGHT
from halnet.faces.yunet_file import YUNET_VARIABLE
from halnet.runtimes.backends import BACKENDS, REMOTE
from halnet.runtimes.base import RuntimeOptions

Function = Callable[..., Any]
Decorator = Callable[[Function], Function]

# The back ends that run model files. Of the others, `fake` is for tests.
RUNTIMES = {name: backend for name, backend in BACKENDS.items() if backend.reads_file}


class FiniteRange(click.FloatRange):
    """The type of a number between two bounds. Other than click.FloatRange, it refuses nan and inf.

    click compares nan with the bounds, and no comparison with nan holds.
    """

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or end the command with an error that names the option."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


def join_names(names: Iterable[str], word: str = "or") -> str:
    """Return names as part of a sentence, such as "a, b or c"."""
    *first, last = names
    return f"{', '.join(first)} {word} {last}" if first else last


def _devices() -> str:
    """Return the kinds of devices and, in parentheses, the back ends that support each."""
    kinds = dict.fromkeys(kind for backend in RUNTIMES.values() for kind in backend.devices)
    supported = {
        kind: [name for name, backend in RUNTIMES.items() if kind in backend.devices]
        for kind in kinds
    }
    return join_names(["auto", *(f"{kind} ({', '.join(by)})" for kind, by in supported.items())])


def _modes() -> str:
    """Return the modes and, in parentheses, the back ends of a mode that not all support."""
    texts = {}
    for mode in dict.fromkeys(mode for backend in RUNTIMES.values() for mode in backend.modes):
        by = [name for name, backend in RUNTIMES.items() if mode in backend.modes]
        texts[mode] = mode if len(by) == len(RUNTIMES) else f"{mode} ({', '.join(by)})"
    return join_names(texts.values())


CORES = "one for each core that this process may use, which halnet info shows"


def threads_option(default: str = CORES) -> Decorator:
    """Return a decorator that adds --threads; `default` says what the default number is."""
    return click.option(
        "--threads",
        type=click.IntRange(1),
        help=f"Number of threads of one inference on a CPU. Default: {default}.",
    )


_RUNTIME_OPTIONS = {
    "runtime": click.option(
        "--runtime",
        default=RuntimeOptions.runtime,
        show_default=True,
        help=f"Runtime that runs the model: {', '.join([*RUNTIMES, REMOTE])}, or auto, which takes "
        f"the first one that is installed and that runs the model on the device, and {REMOTE} for "
        "the address of a server, such as http://HOST:8000.",
    ),
    "device": click.option(
        "--device",
        default=RuntimeOptions.device,
        show_default=True,
        help=f"Device that runs the model: {_devices()}.",
    ),
    "mode": click.option(
        "--mode",
        default=RuntimeOptions.mode,
        show_default=True,
        help=f"What the runtime is optimised for: {_modes()}.",
    ),
}


def runtime_options(*names: str, threads: str = CORES) -> Decorator:
    """Return a decorator that adds the named options of "runtime", "device", "threads" and "mode".

    The command gets their values as one `RuntimeOptions`, in the argument `options`. `threads` says
    what the default number of threads is.
    """
    made: dict[str, Decorator] = _RUNTIME_OPTIONS | {"threads": threads_option(threads)}

    def decorate(function: Function) -> Function:
        @wraps(function)
        def run(**values: Any) -> Any:
            chosen = {name: values.pop(name) for name in names}
            return function(options=RuntimeOptions(**chosen), **values)

        command: Function = run
        for name in reversed(names):
            command = made[name](command)
        return command

    return decorate


def detector_option(photos: str = "the photos") -> Decorator:
    """Return a decorator that adds --detector, which finds the faces in `photos`."""
    return click.option(
        "--detector",
        type=Path,
        help=f"Local file of the face detector YuNet, which finds the faces in {photos}. Default: "
        f"the file that {YUNET_VARIABLE} names, or else a file that is downloaded once.",
    )


split_option = click.option(
    "--split",
    type=click.Choice(SPLITS),
    default="test",
    show_default=True,
    help=f"Split of the dataset: {join_names(SPLITS)}.",
)


def json_option(text: str = "Print the result as JSON.") -> Decorator:
    """Return a decorator that adds --json; the command gets it as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def theme_option(function: Function) -> Function:
    """Add --dark; the command gets the colours of its pictures as `theme`."""
    return click.option(
        "--dark",
        "theme",
        is_flag=True,
        help="Draw in colours for a dark page.",
        callback=lambda ctx, param, dark: DARK if dark else LIGHT,
    )(function)


class CommandWithOldNames(click.Command):
    """A command that also accepts the old names of options that were renamed.

    `old_names` has the new name for each old one. The help does not list the old names, and the use
    of one prints a warning.
    """

    def __init__(self, *args: Any, old_names: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._old_names = old_names

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Replace the old names, then parse."""
        return super().parse_args(ctx, [self._replace(ctx, argument) for argument in args])

    def _replace(self, ctx: click.Context, argument: str) -> str:
        name, equals, value = argument.partition("=")
        if name not in self._old_names:
            return argument
        new = self._old_names[name]
        program = ctx.find_root().info_name
        click.echo(f"{program}: the option {name} is now called {new}", err=True)
        return new + equals + value
