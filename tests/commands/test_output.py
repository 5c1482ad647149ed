"""Progress and tables on a stream that is not a terminal."""

import io
from types import SimpleNamespace

import pytest

from halnet.commands.output import print_table, progress

Capture = pytest.CaptureFixture[str]


def test_progress_prints_the_last_step(capsys: Capture) -> None:
    with progress("photos") as on_progress:
        for done in range(1, 4):
            on_progress(done, 3)
    out, err = capsys.readouterr()
    assert err == "photos: 3 of 3\n"
    assert not out


def test_progress_prints_one_line_if_the_number_of_items_is_unknown_or_wrong(
    capsys: Capture,
) -> None:
    for total in (0, 2, 9):
        with progress("frames", quiet=False) as on_progress:
            for done in range(1, 5):
                on_progress(done, total)
    with progress("nothing"):
        pass
    assert capsys.readouterr().err == "frames: 4\nframes: 4 of 4\nframes: 4 of 9\n"


def test_progress_prints_a_line_every_few_seconds(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(monotonic=iter([0, 4, 11, 19, 30]).__next__)
    monkeypatch.setattr("halnet.commands.output.time", clock)
    with progress("frames") as on_progress:
        for done in range(1, 5):
            on_progress(done, 0)
    assert capsys.readouterr().err == "frames: 2\nframes: 4\n"


def test_quiet_progress_prints_nothing(capsys: Capture) -> None:
    with progress("photos", quiet=True) as on_progress:
        on_progress(3, 3)
    assert capsys.readouterr() == ("", "")


def test_a_table_is_never_cut(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_table(["name", "long\nhead"], [["a" * 40, "1.5"], ["b", "22.5"]], "A title that is long")
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == "A title that is long"
    assert lines[1].split() == ["long"]
    assert lines[2].split() == ["name", "head"]
    assert lines[4].split() == ["a" * 40, "1.5"]
    assert lines[5].split() == ["b", "22.5"]
    assert lines[4].endswith(" 1.5")


MARKUP = "x[/y].onnx :smile: [red]a[/red] [bold"


def test_no_text_is_markup(capsys: Capture) -> None:
    print_table([f"head {MARKUP}", "number"], [[MARKUP, "1.5"]], f"title {MARKUP}")
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == f"title {MARKUP}"
    assert lines[1].split("number")[0].strip() == f"head {MARKUP}"
    assert lines[3].split("1.5")[0].strip() == MARKUP


def test_a_label_on_a_terminal_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    with progress(MARKUP) as on_progress:
        on_progress(1, 2)
    assert MARKUP in terminal.getvalue()
