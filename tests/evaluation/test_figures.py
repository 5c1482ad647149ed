import os
import subprocess
import sys
from pathlib import Path

import cv2
import matplotlib as mpl
import pytest

from halnet.errors import ConfigError
from halnet.evaluation.figures import DARK, LIGHT, Theme, check_figure, figure


@pytest.mark.parametrize("name", ["a.png", "a.svg", "a.PDF"])
def test_supported_file_names(name: str) -> None:
    check_figure(Path(name))


@pytest.mark.parametrize(("name", "found"), [("a.gif", r"\.gif"), ("a", "no suffix")])
def test_other_file_names_are_refused(name: str, found: str) -> None:
    with pytest.raises(ConfigError, match=f"one of .png, .svg, .pdf, found {found}"):
        check_figure(Path(name))


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"expected a folder, found that .*file is a file"):
        check_figure(tmp_path / "file" / "new" / "a.png")
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ConfigError, match="expected a file that can be written, found a folder"):
        check_figure(tmp_path / "a.png")
    check_figure(tmp_path / "new" / "folder" / "b.png")


def test_a_failed_drawing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.svg"
    with figure(path, (2, 2), LIGHT) as axes:
        assert len(axes) == 4
        axes[0].set_title("the first")
    before = path.read_bytes()
    assert b"<!-- the first -->" in before
    with pytest.raises(KeyError), figure(path, (2, 2), LIGHT):
        raise KeyError
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.svg"]


@pytest.mark.parametrize(("theme", "paper"), [(LIGHT, 255), (DARK, 17)])
def test_the_theme_decides_the_colours(theme: Theme, paper: int, tmp_path: Path) -> None:
    """The corner has the colour of the paper, and the drawn bar has the blue of the theme."""
    path = tmp_path / "a.png"
    with figure(path, (4, 2), theme, rows=1) as (left, _):
        left.bar([0], [1], color=theme.blue)
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert image.shape == (240, 480, 3)
    assert image[0, 0].tolist() == pytest.approx([paper] * 3, abs=6)
    blue = [int(theme.blue[i : i + 2], 16) for i in (1, 3, 5)]
    assert image[120, 130].tolist() == blue


def test_a_figure_leaves_backend_and_settings_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program uses a backend that writes PostScript, and LaTeX, which is not installed here."""
    monkeypatch.setenv("PATH", str(tmp_path))  # no latex
    with mpl.rc_context({"backend": "ps", "text.usetex": True, "axes.titlesize": 99}):
        before = dict(mpl.rcParams)
        with figure(tmp_path / "a.svg", (2, 2), LIGHT) as axes:
            axes[0].set_title("a title")
            assert axes[0].title.get_fontsize() == 10
        assert dict(mpl.rcParams) == before
        assert mpl.get_backend() == "ps"
    assert b"<!-- a title -->" in (tmp_path / "a.svg").read_bytes()


def test_a_backend_that_does_not_exist_is_one_clear_error(tmp_path: Path) -> None:
    """matplotlib refuses to be imported, so this needs a new process."""
    program = (
        "from halnet.evaluation.figures import *\nwith figure(Path('a.png'), (2, 2), LIGHT): 1"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "abacus"},
    )
    assert done.stderr.splitlines()[-1] == (
        "halnet.errors.ConfigError: drawing a figure: matplotlib cannot be imported, because the "
        "environment variable MPLBACKEND names no backend of this installation: abacus; unset it"
    )
