"""Files and folders that are written completely or not at all, by one program at a time."""

import csv
import errno
import fcntl
import io
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, TextIO

from halnet.errors import ConfigError

NAME_ERRORS = "surrogateescape"  # Python's way to keep the bytes of file names that are not UTF-8


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`. The file there replaces `path` when the block ends.

    If the block fails or is interrupted, what was at `path` before stays there. Missing folders are
    made. If `path` is a link, the file that it leads to is replaced. A file that exists keeps its
    owner and its mode, and the umask decides the mode of a new one. If `path` is a device or a
    pipe, such as /dev/stdout, the content is written into it. An OSError names `path`.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        with _writing_into_device(path) as temporary:
            yield temporary
        return
    target = follow(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(target, path.suffix)
    try:
        mode = _create_like(target, temporary)
        yield temporary
        temporary.chmod(mode)  # some libraries write a new file instead of into the one here
        temporary.replace(target)
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def follow(path: Path) -> Path:
    """Return the path of the file or folder that links lead to. It does not have to exist.

    Raises OSError for links that lead in a circle.
    """
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return target


def temporary_name(path: Path, suffix: str = "") -> Path:
    """Return the path of a hidden file beside `path` that no other program uses."""
    return path.with_name(f".halnet-{os.urandom(8).hex()}{suffix}")


def _create_like(target: Path, temporary: Path) -> int:
    """Create an empty file that no more people can read than `target`; return its final mode."""
    known = target.stat() if target.exists() else None
    mode = 0o666 if known is None else stat.S_IMODE(known.st_mode)
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode | stat.S_IWUSR)
    try:
        if known is None:
            return stat.S_IMODE(os.fstat(handle).st_mode)  # what the umask leaves of it
        with suppress(OSError):  # only an administrator may write files of other owners
            os.fchown(handle, known.st_uid, known.st_gid)
        return mode
    finally:
        os.close(handle)


@contextmanager
def _writing_into_device(path: Path) -> Iterator[Path]:
    with TemporaryDirectory(prefix="halnet-") as folder:
        temporary = Path(folder) / path.name
        temporary.touch()
        yield temporary
        path.write_bytes(temporary.read_bytes())


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file completely or not at all. Lines end with a line feed.

    File names in the text that are not UTF-8 keep their bytes.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=NAME_ERRORS, newline="\n")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], header: bool = True) -> str:
    """Return rows as CSV text. Lines end with a line feed, and a missing value is empty."""
    text = io.StringIO()
    writer = csv_writer(text, columns)
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def csv_writer(file: TextIO, columns: Sequence[str]) -> "csv.DictWriter[str]":
    """Return a writer of CSV rows, with which lines end with a line feed.

    It leaves out values that are in none of the columns. `file` is open with `newline=""`.
    """
    return csv.DictWriter(_LineFeeds(file), columns, extrasaction="ignore")


class _LineFeeds:
    """A file in which the lines of the csv module end with a line feed.

    The module ends them with both characters here. If it wrote a line feed, it would leave a
    carriage return in a field unquoted, which ends a line for those who read the file.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(line.removesuffix("\r\n") + "\n")


def check_folder(folder: Path) -> None:
    """Raise ConfigError if `folder`, which may have to be made, or a folder above it is a file."""
    found = next(path for path in (folder, *folder.parents) if path.exists())
    if not found.is_dir():
        raise ConfigError(
            f"{folder}: expected a folder, found that {found} is a file; name another folder"
        )


def check_writable(folder: Path) -> None:
    """Raise ConfigError if nothing can be written into `folder`, or it cannot be made.

    What is made for this is removed again.
    """
    found = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        # A folder inside the nearest one that exists shows both.
        Path(mkdtemp(prefix=".halnet-", dir=found)).rmdir()
    except OSError as error:
        raise ConfigError(
            f"{folder}: expected a folder that can be written, found that {found} cannot be "
            f"({error.strerror}); name another folder"
        ) from error


@contextmanager
def locked(folder: Path, work: str) -> Iterator[None]:
    """Make a folder, and keep other programs from doing the same `work` in it during the block.

    Raises ConfigError if `folder` is a file, or with the name of the work if another program is
    doing it.
    """
    check_folder(folder)
    follow(folder).mkdir(parents=True, exist_ok=True)
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
def editing(path: Path) -> Iterator[None]:
    """Wait until no other program edits a file, and keep others from it during the block.

    Inside the block, the file may be replaced. Without a file, nothing is locked. Raises OSError if
    the file cannot be written.
    """
    handle = _lock(path)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _lock(path: Path) -> int | None:
    """Return the locked handle of a file; None if there is no file."""
    while path.exists():
        handle = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # The program that had the lock may have replaced the file.
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    return None
