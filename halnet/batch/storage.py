"""Storage: folders and files on this machine, in a bucket, or on another file system.

An address such as `s3://bucket/photos` or `gs://bucket/photos` names a place that pyarrow or fsspec
can reach. Everything else is a path on this machine.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from halnet.errors import ConfigError
from halnet.files import replacing
from halnet.packages import needs
from halnet.photos.images import MAX_BYTES

NEEDED_BY = "halnet batch"
EXTRA = "ray"


@dataclass(frozen=True)
class Storage:
    """A folder, or a single file, with everything below it.

    Names of files are relative to it, with "/" between the folders. Names on this machine that are
    not UTF-8 are in the form of `os.fsdecode`.
    """

    name: str  # what results call it: the address without a password and options
    is_local: bool
    _system: Any  # pyarrow.fs.FileSystem
    _root: str  # where it is in the file system

    def name_of(self, file: str) -> str:
        """Return what results call a file. The empty name stands for this storage itself."""
        return f"{self.name.rstrip('/')}/{file}" if file else self.name

    @property
    def folder(self) -> Path | None:
        """Its path on this machine; None if it is elsewhere."""
        return Path(self._root) if self.is_local else None

    def remove_empty(self, folder: str) -> None:
        """Remove a folder that is empty on this machine, and this one if it is then empty too."""
        if self.is_local:
            for path in (self._path(folder), self._root):
                with suppress(OSError):
                    os.rmdir(path)

    def exists(self, file: str) -> bool:
        """Return whether there is such a file. Raises OSError if that cannot be found out."""
        if self.is_local:
            return os.path.isfile(self._path(file))
        return bool(self._system.get_file_info(self._path(file)).is_file)

    def is_file(self) -> bool:
        """Return whether this is a single file. Raises OSError if that cannot be found out."""
        return self.exists("")

    def files(self, on_link: Callable[[], None] = lambda: None) -> Iterator[str]:
        """Yield the names of all files below, in no order that the caller may rely on.

        On this machine, links to folders are not followed, and `on_link` is called for each. In a
        bucket, the list of all names is in memory. Raises OSError if a folder cannot be read.
        """
        if self.is_local:
            yield from self._walk(on_link)
            return
        from pyarrow.fs import FileSelector

        skipped = len(self._root.rstrip("/")) + 1
        for entry in self._system.get_file_info(FileSelector(self._root, recursive=True)):
            if entry.is_file:
                yield entry.path[skipped:]

    def names(self) -> dict[str, bool]:
        """Return the names directly in this folder, and whether each is that of a file.

        There are none if there is no folder. Raises OSError if it cannot be read.
        """
        from pyarrow.fs import FileSelector

        found = self._system.get_file_info(FileSelector(self._root, allow_not_found=True))
        return {entry.base_name: entry.is_file for entry in found}

    def read(self, file: str) -> bytes:
        """Return the content of a file, but at most one byte more than a photo may have.

        Raises OSError if it cannot be read.
        """
        if self.is_local:
            with open(self._path(file), "rb") as opened:
                return opened.read(MAX_BYTES + 1)
        with self.open(file) as opened:
            data: bytes = opened.read(min(opened.size(), MAX_BYTES + 1))
            return data

    def open(self, file: str) -> Any:
        """Return a pyarrow file that is open for reading. Raises OSError."""
        return self._system.open_input_file(self._path(file))

    @contextmanager
    def writing(self, file: str) -> Iterator[Path]:
        """Yield a path on this machine. What is written there is put here when the block ends.

        A reader finds the whole file or none. Raises OSError if it cannot be written.
        """
        if self.is_local:
            with replacing(Path(self._path(file))) as temporary:
                yield temporary
            return
        from pyarrow.fs import copy_files

        with tempfile.TemporaryDirectory(prefix="halnet-") as folder:
            temporary = Path(folder, "file")
            yield temporary
            copy_files(str(temporary), self._path(file), destination_filesystem=self._system)

    def _path(self, file: str) -> str:
        return f"{self._root.rstrip('/')}/{file}" if file else self._root

    def _walk(self, on_link: Callable[[], None]) -> Iterator[str]:
        def fail(error: OSError) -> None:
            raise error

        for folder, subfolders, files in os.walk(self._root, onerror=fail):
            subfolders.sort()
            for _ in filter(os.path.islink, (os.path.join(folder, name) for name in subfolders)):
                on_link()
            for name in sorted(files):
                path = os.path.join(folder, name)
                if os.path.isfile(path) or os.path.islink(path):  # no devices, no pipes
                    yield os.path.relpath(path, self._root)


def open_storage(address: str) -> Storage:
    """Return the folder or file at an address. Nothing is read there yet.

    Raises ConfigError for an address that cannot be used, and RuntimeUnavailableError without
    pyarrow.
    """
    with needs(NEEDED_BY, EXTRA):
        from pyarrow.fs import LocalFileSystem
    if not is_address(address):
        root = os.path.abspath(address)
        return Storage(root, True, LocalFileSystem(), root)
    try:
        system, root = _open_system(address)
    except (ValueError, OSError, ImportError) as error:
        raise ConfigError(
            f"{_public(address)}: the address cannot be used: {reason(error)}; an address is like "
            "s3://bucket/folder, with %20 for a space"
        ) from error
    return Storage(_public(address), isinstance(system, LocalFileSystem), system, root)


def is_address(text: str) -> bool:
    """Return whether a text is an address such as s3://bucket, and no path of this machine."""
    return bool(re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", text))


def reason(error: Exception) -> str:
    """Return what an error of a file system says, in one line and without the number of a request.

    So the same photo has the same error in each run.
    """
    text = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    return re.sub(r" \(Request ID: [^)]*\)", "", text).rstrip(".")


def _open_system(address: str) -> tuple[Any, str]:
    from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

    try:
        system, root = FileSystem.from_uri(address)
        return system, root
    except ValueError as error:
        if "Unrecognized filesystem type" not in str(error):
            raise
    from fsspec.core import url_to_fs

    system, root = url_to_fs(address)
    return PyFileSystem(FSSpecHandler(system)), root


def _public(address: str) -> str:
    """Return an address without what follows the path, and without a user and a password."""
    parts = urlsplit(address)
    user, _, host = parts.netloc.rpartition("@")
    place = host if not user or ":" in user else parts.netloc
    return f"{parts.scheme}://{place}{parts.path}".rstrip("/")
