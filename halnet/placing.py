"""Placing: staged files are put into their places and others are removed, all of them or none."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from halnet.errors import ConfigError
from halnet.files import check_folder, follow, locked, temporary_name

STAGING_PREFIX = ".halnet-staging-"


@contextmanager
def staging(folder: Path, work: str) -> Iterator[Path]:
    """Yield an empty folder inside `folder`, to write into before `placed` moves what is there.

    Only one program at a time may do this in a folder; see `locked`. Files that a killed program
    left there are removed.
    """
    with locked(folder, work):
        for abandoned in folder.glob(STAGING_PREFIX + "*"):
            shutil.rmtree(abandoned)
        try:
            stage = Path(tempfile.mkdtemp(dir=folder, prefix=STAGING_PREFIX))
        except OSError as error:
            error.filename = str(folder)
            raise
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def check_target(path: Path) -> None:
    """Raise ConfigError if no file can be written at `path`, or where links from there lead."""
    place = follow(path)
    check_folder(place.parent)
    if place.is_dir():
        raise ConfigError(
            f"{path}: expected a file that can be written, found a folder; name another path"
        )
    above = next(folder for folder in place.parents if folder.exists())
    if not os.access(above, os.W_OK):
        raise ConfigError(
            f"{path}: expected a place for a new file, found that the folder {above} cannot be "
            "written; change its permissions, or name another path"
        )


@contextmanager
def placed(moves: Iterable[tuple[Path, Path]], removed: Iterable[Path] = ()) -> Iterator[None]:
    """Move staged files and folders to their targets, and remove other files and folders.

    `moves` are pairs of a staged path and its target. If the block, or a move before it, fails or
    is interrupted, everything is as before. If a target is a link, the file that it leads to is
    replaced, also on another disk. If a target is a folder that exists, its other files stay.
    """
    kept: list[Path] = []  # what was at the targets before, under temporary names
    with ExitStack() as undo:
        ready = []
        for staged, target in _split_into_files(moves):
            place = follow(target)
            _make_folder(place.parent, undo)
            ready.append((_bring(staged, place, undo), place))
        for new, place in ready:
            kept.append(_keep(place, undo))
            new.replace(place)
        for path in removed:
            old = temporary_name(path)
            if os.path.lexists(path):
                undo.callback(_rename_back, old, path)
                path.rename(old)
                kept.append(old)
        yield
        undo.pop_all()
    for old in kept:
        _delete(old)


def _split_into_files(moves: Iterable[tuple[Path, Path]]) -> Iterator[tuple[Path, Path]]:
    """Yield the pairs of files; a folder has a pair for each of its files."""
    for staged, target in moves:
        if staged.is_dir():
            yield from ((file, target / file.name) for file in sorted(staged.iterdir()))
        else:
            yield staged, target


def _make_folder(folder: Path, undo: ExitStack) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        undo.callback(_delete_empty, path)
        path.mkdir()


def _bring(staged: Path, place: Path, undo: ExitStack) -> Path:
    """Move a staged file beside its place, which may be on another disk, and return its path."""
    new = temporary_name(place)
    undo.callback(_delete, new)
    shutil.move(staged, new)
    if place.exists():
        shutil.copymode(place, new)
    return new


def _keep(place: Path, undo: ExitStack) -> Path:
    """Keep the file at `place`, if there is one, under the name that is returned."""
    old = temporary_name(place)
    if not place.exists():
        undo.callback(_delete, place)
        return old
    undo.callback(_rename_back, old, place)
    try:
        os.link(place, old)  # so that other programs find the file until it is replaced
    except OSError:  # this disk has no hard links
        place.rename(old)
    return old


def _rename_back(old: Path, path: Path) -> None:
    if os.path.lexists(old):
        old.replace(path)
        _delete(old)  # two names of the same file are both left by `replace`


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _delete_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
