"""The study that times two versions: a version in a process of its own, and what is refused."""

import os
from pathlib import Path

import pytest

from halnet.artifact import bundled
from halnet.benchmarks.studies.versions import MODEL, Version, this_tree
from halnet.errors import ConfigError

ROOT = Path(__file__).parents[3]


def test_a_version_answers_with_times_and_ages(tmp_path: Path, yunet: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(bundled("portrait.jpg").read_bytes())
    version = Version(this_tree(), tmp_path / "copy", yunet, 1)
    try:
        answer = version.ask({"photo": str(photo), "runs": 2})
        assert len(answer["seconds"]) == 2
        assert answer["ages"] == pytest.approx([29.7], abs=0.3)
        assert len(version.ask({"crops": 3, "runs": 4})["seconds"]) == 4
        assert version.command("predict", str(photo), "--json") > 0
        with pytest.raises(ConfigError, match="halnet predict .* ended with status 2"):
            version.command("predict", str(tmp_path / "missing.jpg"))
    finally:
        version.close()


def test_a_version_runs_the_code_of_its_tree(tmp_path: Path, yunet: Path) -> None:
    """The other tree has a predictor that finds no face, and a command that fails."""
    tree = tmp_path / "tree"
    for part in ("halnet", "runtimes", "calibration", "export", "benchmarks"):
        (tree / part).mkdir(parents=True)
    (tree / MODEL).parent.mkdir()
    (tree / MODEL).write_bytes(b"model")
    (tree / "halnet" / "__init__.py").write_text("")
    (tree / "halnet" / "predictor.py").write_text(
        "class Predictor:\n"
        "    def __init__(self, *args, **options): pass\n"
        "    def __call__(self, data): return []\n"
    )
    version = Version(tree, tmp_path / "copy", yunet, 1)
    try:
        assert version.ask({"photo": os.fspath(yunet), "runs": 1})["ages"] == []
        with pytest.raises(ConfigError, match="ended with status 1"):
            version.command("predict", "photo.jpg")
    finally:
        version.close()


def test_a_folder_without_a_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected the source tree of a version of halnet"):
        Version(tmp_path, tmp_path / "copy", tmp_path, 1)
