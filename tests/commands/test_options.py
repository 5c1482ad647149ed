"""The shared options: texts from the tables, one value for the command, and old names."""

import re
from collections.abc import Callable

import click
import pytest

from halnet.commands import run
from halnet.commands.export import command as export_command
from halnet.commands.options import CommandWithOldNames, join_names, runtime_options
from halnet.commands.predict import command as predict_command
from halnet.export.litert_forms import FORMS
from halnet.runtimes.backends import BACKENDS
from halnet.runtimes.base import RuntimeOptions

Capture = pytest.CaptureFixture[str]


def help_of(command: click.Command, name: str) -> str:
    (text,) = (p.help for p in command.params if isinstance(p, click.Option) and name in p.opts)
    return str(text)


@pytest.mark.parametrize(
    ("names", "expected"), [(["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")]
)
def test_names_are_joined_as_in_a_sentence(names: list[str], expected: str) -> None:
    assert join_names(names) == expected


def test_the_help_names_every_runtime_and_device() -> None:
    runtimes = [name for name in BACKENDS if name != "fake"]
    assert f": {', '.join(runtimes)}, or auto," in help_of(predict_command, "--runtime")
    devices = help_of(predict_command, "--device")
    for name in runtimes:
        for kind in BACKENDS[name].devices:
            (supported,) = re.findall(rf"\b{kind} \((.*?)\)", devices)
            assert name in supported.split(", ")
    assert "fake" not in devices


def test_the_help_names_every_format_and_precision() -> None:
    assert "onnx, compiler, openvino, tensorrt, litert, coreml or web" in help_of(
        export_command, "--format"
    )
    assert "fp32, fp16 or int8" in help_of(export_command, "--precision")


def test_the_help_describes_every_form_of_litert() -> None:
    text = help_of(export_command, "--litert-form")
    for name, form in FORMS.items():
        assert f"{name} ({form.words})" in text


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], RuntimeOptions()),
        (["--runtime", "openvino", "--threads", "2"], RuntimeOptions("openvino", "auto", 2)),
        (
            ["--device", "gpu", "--mode", "throughput"],
            RuntimeOptions("auto", "gpu", None, "throughput"),
        ),
    ],
)
def test_a_command_gets_one_value(args: list[str], expected: RuntimeOptions) -> None:
    found: list[RuntimeOptions] = []

    @click.command()
    @runtime_options("runtime", "device", "threads", "mode")
    @click.option("--other", default=1)
    def command(options: RuntimeOptions, other: int) -> None:
        found.append(options)

    assert run(command, args) == 0
    assert found == [expected]


def test_a_command_has_only_the_options_that_it_names() -> None:
    @click.command()
    @runtime_options("device", "threads")
    def command(options: RuntimeOptions) -> None:
        """Do nothing."""

    assert [parameter.name for parameter in command.params] == ["device", "threads"]


@pytest.fixture
def renamed() -> tuple[click.Command, list[tuple[str, ...]]]:
    """A command whose option --colour was called --paint before, and the values that it gets."""
    found: list[tuple[str, ...]] = []

    @click.command("draw", cls=CommandWithOldNames, old_names={"--paint": "--colour"})
    @click.option("--colour", multiple=True, help="A colour.")
    def command(colour: tuple[str, ...]) -> None:
        found.append(colour)

    return command, found


@pytest.mark.parametrize(
    ("args", "warnings"),
    [
        (["--colour", "red", "--colour", "blue"], 0),
        (["--paint", "red", "--colour=blue"], 1),
        (["--paint=red", "--paint", "blue"], 2),
    ],
)
def test_an_old_name_works_with_a_warning(
    args: list[str],
    warnings: int,
    renamed: tuple[click.Command, list[tuple[str, ...]]],
    capsys: Capture,
) -> None:
    command, found = renamed
    assert run(command, args, "halnet") == 0
    assert found == [("red", "blue")]
    out, err = capsys.readouterr()
    assert err.splitlines() == ["halnet: the option --paint is now called --colour"] * warnings
    assert not out


def test_the_help_hides_old_names(
    renamed: tuple[click.Command, list[tuple[str, ...]]], capsys: Capture
) -> None:
    assert run(renamed[0], ["--help"]) == 0
    out = capsys.readouterr().out
    assert "--colour" in out
    assert "--paint" not in out


def test_export_takes_the_old_name_of_keep_float(
    halnet: Callable[..., int], capsys: Capture
) -> None:
    assert halnet("export", "--keep", "none") == 2
    warning, error = capsys.readouterr().err.splitlines()
    assert warning == "halnet: the option --keep is now called --keep-float"
    assert "need --precision int8" in error
