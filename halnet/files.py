"""Files and folders that are written completely or not at all, by one program at a time."""

import csv
import fcntl
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from halnet.errors import ConfigError

STAGING_PREFIX = ".halnet-staging-"
NAME_ERRORS = "surrogateescape"  # Python's way to keep the bytes of file names that are not UTF-8


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`. The file there replaces `path` when the block ends.

    If the block fails or is interrupted, what was at `path` before stays there. Missing folders are
    made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file completely or not at all. Lines end with a line feed.

    File names in the text that are not UTF-8 keep their bytes.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=NAME_ERRORS, newline="\n")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], header: bool = True) -> str:
    """Return rows as CSV text. Lines end with a line feed, and a missing value is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@contextmanager
def locked(folder: Path, work: str) -> Iterator[None]:
    """Make a folder, and keep other programs from doing the same `work` in it during the block.

    Raises ConfigError with the name of the work if another program is doing it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{folder}: another {work} into this folder is under way; wait for it, or name "
                "another folder"
            ) from error
        yield
    finally:
        os.close(handle)


@contextmanager
def staging(folder: Path, work: str) -> Iterator[Path]:
    """Yield an empty folder inside `folder`, to write into before `move_into_place` is called.

    Only one program at a time may do this in a folder; see `locked`. Files that a killed program
    left there are removed.
    """
    with locked(folder, work):
        for abandoned in folder.glob(STAGING_PREFIX + "*"):
            shutil.rmtree(abandoned)
        stage = Path(tempfile.mkdtemp(dir=folder, prefix=STAGING_PREFIX))
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def move_into_place(staged: Path, target: Path) -> None:
    """Move a file or folder to `target`, and replace what was there.

    A folder cannot be replaced in one step. If the second step fails, the first one is undone.
    """
    if not target.is_dir():
        staged.replace(target)
        return
    old = staged.with_name(staged.name + ".old")
    target.rename(old)
    try:
        staged.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old)
