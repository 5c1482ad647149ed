import os
from pathlib import Path

import pytest

from halnet.errors import ConfigError
from halnet.files import (
    STAGING_PREFIX,
    csv_text,
    move_into_place,
    replacing,
    staging,
    write_text,
)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    write_text(path, "before\n")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "before\n"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "x")
    assert (tmp_path / "a" / "b.txt").read_text() == "x"


def test_text_keeps_its_line_feeds_and_the_bytes_of_file_names(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")  # not UTF-8
    write_text(tmp_path / "list.txt", f"{name}\nGr\u00fc\u00dfe\n")
    expected = b"caf\xe9.jpg\n" + "Gr\u00fc\u00dfe\n".encode()
    assert (tmp_path / "list.txt").read_bytes() == expected


def test_csv_text_quotes_values_and_leaves_missing_ones_empty() -> None:
    rows = [{"name": "a,b", "age": 30, "other": 1}, {"name": 'say "x"'}]
    assert csv_text(("name", "age"), rows) == 'name,age\n"a,b",30\n"say ""x""",\n'
    assert csv_text(("name", "age"), rows[:1], header=False) == '"a,b",30\n'


def test_a_staging_folder_is_removed_and_so_are_abandoned_ones(tmp_path: Path) -> None:
    abandoned = tmp_path / (STAGING_PREFIX + "killed")
    abandoned.mkdir()
    (tmp_path / "kept.txt").touch()
    with staging(tmp_path, "export") as stage:
        assert not abandoned.exists()
        assert stage.parent == tmp_path
        (stage / "half.bin").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_only_one_program_at_a_time_uses_a_staging_folder(tmp_path: Path) -> None:
    with (
        staging(tmp_path, "export") as stage,
        pytest.raises(ConfigError, match=f"{tmp_path}: another export .* is under way"),
        staging(tmp_path, "export"),
    ):
        pass
    assert not stage.exists()
    with staging(tmp_path, "export"):  # the first one has ended
        pass


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_moved_file_or_folder_replaces_the_old_one(tmp_path: Path, kind: str) -> None:
    staged, target = tmp_path / "new", tmp_path / "target"
    for path, text in ((target, "old"), (staged, "new")):
        if kind == "folder":
            path.mkdir()
        (path / "model.bin" if kind == "folder" else path).write_text(text)
    move_into_place(staged, target)
    assert (target / "model.bin" if kind == "folder" else target).read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_moved_keeps_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "model.bin").write_text("old")
    with pytest.raises(FileNotFoundError):
        move_into_place(tmp_path / "missing", target)
    assert (target / "model.bin").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
