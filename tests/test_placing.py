import os
from pathlib import Path

import pytest

from halnet.errors import ConfigError
from halnet.placing import STAGING_PREFIX, check_target, placed, staging


def tree(folder: Path) -> dict[str, str]:
    """Return the content of each file, and where each link leads."""
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}" if path.is_symlink() else text(path)
        for path in sorted(folder.rglob("*"))
    }


def text(path: Path) -> str:
    return path.read_text() if path.is_file() else "folder"


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """A folder of staged files: a file and a folder with two files."""
    folder = tmp_path / "stage"
    (folder / "model").mkdir(parents=True)
    for name in ("a.onnx", "model/b.bin", "model/b.xml"):
        (folder / name).write_text("new")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with an older file, and an older folder that contains a foreign file."""
    folder = tmp_path / "out"
    (folder / "model" / ".ipynb_checkpoints").mkdir(parents=True)
    for name in ("a.onnx", "a.onnx.failed", "model/b.bin", "model/b.xml", "model/notes.txt"):
        (folder / name).write_text("old")
    return folder


def moves(stage: Path, out: Path) -> list[tuple[Path, Path]]:
    return [(stage / name, out / name) for name in ("a.onnx", "model")]


def test_all_is_placed_and_foreign_files_stay(stage: Path, out: Path) -> None:
    with placed(moves(stage, out), [out / "a.onnx.failed", out / "no.failed"]):
        pass
    assert tree(out) == {
        "a.onnx": "new",
        "model": "folder",
        "model/.ipynb_checkpoints": "folder",
        "model/b.bin": "new",
        "model/b.xml": "new",
        "model/notes.txt": "old",
    }


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_failure_undoes_everything(failure: BaseException, stage: Path, out: Path) -> None:
    before = tree(out)
    inode = (out / "a.onnx").stat().st_ino
    others = [(stage / "model", out / "made" / "deep")]
    with (
        pytest.raises(type(failure)),
        placed([*moves(stage, out)[:1], *others], [out / "a.onnx.failed", out / "model"]),
    ):
        assert text(out / "a.onnx") == text(out / "made" / "deep" / "b.xml") == "new"
        assert not (out / "model").exists()
        raise failure
    assert tree(out) == before
    assert (out / "a.onnx").stat().st_ino == inode


@pytest.mark.parametrize("hard_links", [True, False])
@pytest.mark.parametrize("last", ["b.bin", "b.xml"])
def test_a_move_that_fails_undoes_those_before_it(
    last: str, hard_links: bool, stage: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(out)
    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if target.name == last and text(self) == "new":
            raise OSError(5, "Input/output error")
        return replace(self, target)

    def refuse(*args: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "replace", fail)
    if not hard_links:
        monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError, match="Input/output"), placed(moves(stage, out)):
        pass
    assert tree(out) == before


def test_nothing_is_replaced_before_all_files_are_on_their_disks(
    stage: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of the files cannot be copied to another disk, which is full."""
    copied = []

    def move(staged: Path, new: Path) -> None:
        copied.append(staged.name)
        assert text(out / "a.onnx") == "old"
        if staged.name == "b.xml":
            raise OSError(28, "No space left on device")
        staged.rename(new)

    monkeypatch.setattr("shutil.move", move)
    before = tree(out)
    with pytest.raises(OSError, match="No space"), placed(moves(stage, out)):
        pass
    assert copied == ["a.onnx", "b.bin", "b.xml"]
    assert tree(out) == before


def test_links_are_followed(stage: Path, out: Path, tmp_path: Path) -> None:
    """The file is a dangling link, and the folder is a link to another disk."""
    disk = tmp_path / "disk"
    (out / "model").rename(disk)
    (out / "model").symlink_to(disk)
    (out / "a.onnx").unlink()
    (out / "a.onnx").symlink_to(tmp_path / "new" / "large.onnx")
    with placed(moves(stage, out)):
        pass
    assert tree(out)["a.onnx"].startswith("->")
    assert tree(out)["model"].startswith("->")
    assert text(tmp_path / "new" / "large.onnx") == text(disk / "b.xml") == "new"
    assert text(disk / "notes.txt") == "old"


def test_a_link_to_another_disk_is_followed(stage: Path, out: Path) -> None:
    disk = Path("/dev/shm")
    if not os.access(disk, os.W_OK) or disk.stat().st_dev == out.stat().st_dev:
        pytest.skip("needs another file system that can be written, such as /dev/shm")
    large = disk / f"halnet-test-{os.getpid()}.onnx"
    (out / "a.onnx").unlink()
    (out / "a.onnx").symlink_to(large)
    try:
        with placed(moves(stage, out)):
            pass
        assert (out / "a.onnx").is_symlink()
        assert text(large) == "new"
    finally:
        large.unlink(missing_ok=True)


def test_a_file_keeps_its_mode(stage: Path, out: Path) -> None:
    (out / "a.onnx").chmod(0o600)
    with placed(moves(stage, out)):
        pass
    assert (out / "a.onnx").stat().st_mode & 0o777 == 0o600


def test_places_that_cannot_be_used_are_refused(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_target(out / "a.onnx")
    check_target(tmp_path / "new" / "a.onnx")
    with pytest.raises(ConfigError, match="expected a file that can be written, found a folder"):
        check_target(out / "model")
    (out / "into_file").symlink_to(out / "a.onnx" / "b")
    with pytest.raises(ConfigError, match=r"expected a folder, found that .*a\.onnx is a file"):
        check_target(out / "into_file")
    monkeypatch.setattr(os, "access", lambda path, mode: path != out)
    with pytest.raises(ConfigError, match=r"the folder .*out cannot be written"):
        check_target(out / "new" / "a.onnx")


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
