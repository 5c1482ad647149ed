"""Progress and tables on a stream that is not a terminal."""

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
