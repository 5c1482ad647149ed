"""Photo files: what the names of files, folders and patterns, and standard input, stand for.

A file that is named is judged by its content when it is loaded. In a folder, what is no photo is
left out, and counted by the reason.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path, PurePath

from halnet.errors import ConfigError, ImageError
from halnet.photos.heif import EXTRA, can_read_heif
from halnet.photos.image_formats import AVIF, HEAD, HEIC, UNREAD, find_format
from halnet.photos.images import SUFFIXES
from halnet.videos.video import is_video

_SNIFFED = frozenset({".heic", ".heif", ".avif"})  # whether they can be read depends on the content
ALL = ("**", "*")  # the pattern that a folder stands for


@dataclass(frozen=True)
class Reason:
    """Why files were left out of a folder or pattern."""

    text: str  # what they are, such as "HEIC photos"
    cure: str = ""  # what the user can do
    is_loss: bool = True  # whether the user may expect an age from them


MACOS = Reason("files that macOS adds", is_loss=False)
OTHERS = Reason("other files", is_loss=False)
VIDEOS = Reason("videos", "name each video")
LINKS = Reason("links to folders", "name the folders that they lead to")


@dataclass(frozen=True)
class LeftOut:
    """What was left out of one folder or pattern."""

    source: Path
    counts: Counter[Reason]

    @property
    def is_loss(self) -> bool:
        """Whether the user may expect an age from a part of it."""
        return any(reason.is_loss for reason in self.counts)

    def __str__(self) -> str:
        """One line, such as "HEIC photos: 3 (save them as JPEG); other files: 2"."""
        return "; ".join(
            f"{reason.text}: {count}" + (f" ({reason.cure})" if reason.cure else "")
            for reason, count in self.counts.most_common()
        )


@dataclass
class PhotoSearch:
    """What a search for photos found."""

    photos: list[Path] = field(default_factory=list)
    # Folders and patterns without photos, and folders that cannot be read, each with an error.
    failed: list[tuple[Path, str]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def read_stdin(limit: int = -1) -> bytes:
    """Return what standard input holds, or its first `limit` bytes.

    Raises ImageError if it is closed or cannot be read.
    """
    if sys.stdin is None:
        raise ImageError("standard input: it is closed; send something to it, or name files")
    try:
        return sys.stdin.buffer.read(limit)
    except OSError as error:
        raise ImageError(f"standard input: cannot be read: {error.strerror}") from error


def find_photos(paths: Iterable[Path]) -> list[Path]:
    """Return the photos of `search_photos`. Raises ConfigError if a folder or pattern has none."""
    search = search_photos(paths)
    for _, error in search.failed:
        raise ConfigError(error)
    return search.photos


def search_photos(paths: Iterable[Path]) -> PhotoSearch:
    """Search for the photos that files, folders and patterns stand for.

    A file stands for itself. A folder stands for all photos in it and in its subfolders, sorted by
    name. A pattern with "*", "**", "?" or "[...]" stands for the photos that match it, unless a
    file has this very name; as in a shell, it leaves out hidden files. Links to folders are only
    followed where the user names them, so that no photo is found twice.
    """
    search = PhotoSearch()
    for path in paths:
        if os.path.isdir(path):
            _search(search, path, path, ALL)
        elif has_magic(str(path)) and not os.path.lexists(path):
            start, *parts = path.parts if path.is_absolute() else ("", *path.parts)
            _search(search, path, Path(start), parts)
        else:
            search.photos.append(path)
    return search


def _search(search: PhotoSearch, source: Path, start: Path, parts: Sequence[str]) -> None:
    """Add what a pattern finds below a folder."""
    walk = Walk(start, hidden=parts is ALL)
    photos, counts = [], Counter[Reason]()
    for file in _unique(walk.files(start, parts)):
        reason = _judge(file, start)
        if reason is None:
            photos.append(file)
        else:
            counts[reason] += 1
    if walk.links:
        counts[LINKS] = len(walk.links)
    search.photos += photos
    search.failed += walk.failed.items()
    left_out = LeftOut(source, counts)
    if counts:
        search.left_out.append(left_out)
    if not photos and not walk.failed:
        problem = "there are no photos in this folder"
        if parts is not ALL:
            problem = "no photos match this pattern, and no file has this name"
        found = f"; left out: {left_out}" if counts else ""
        search.failed.append((source, f"{source}: {problem}{found}"))


def _unique(files: Iterable[Path]) -> list[Path]:
    """Return files sorted, each by the first name under which links to its folder show it."""
    found = sorted(set(files), reverse=True)
    folders = {folder: os.path.realpath(folder) for folder in {file.parent for file in found}}
    return sorted({(folders[file.parent], file.name): file for file in found}.values())


class Walk:
    """Finds the files that match a pattern below the folder `start`, and notes what it left out."""

    def __init__(self, start: Path, hidden: bool) -> None:
        self._start = Path(os.path.realpath(start))
        self._hidden = hidden  # whether wildcards match hidden files
        self.failed: dict[Path, str] = {}  # folders that cannot be read, with an error
        self.links: dict[Path, Path] = {}  # links to other folders, which are not followed

    def files(self, folder: Path, parts: Sequence[str]) -> Iterator[Path]:
        """Yield the files below `folder` whose path matches `parts`, some of them twice."""
        part, *rest = parts
        if part == "**":
            yield from self.files(folder, rest or ["*"])
            for entry in self._entries(folder, "*"):
                if entry.is_dir(follow_symlinks=False):
                    yield from self.files(folder / entry.name, parts)
                elif entry.is_symlink() and os.path.isdir(folder / entry.name):
                    self._note_link(folder / entry.name)
            return
        is_literal = not has_magic(part) or os.path.lexists(folder / part)
        names = [part] if is_literal else [entry.name for entry in self._entries(folder, part)]
        for path in (folder / name for name in names):
            if not os.path.isdir(path):
                if not rest and os.path.lexists(path):
                    yield path
            elif rest:
                yield from self.files(path, rest)

    def _entries(self, folder: Path, pattern: str) -> list["os.DirEntry[str]"]:
        """Return what lies in a folder and matches a part of a pattern."""
        try:
            with os.scandir(folder) as entries:
                return [
                    entry
                    for entry in entries
                    if fnmatchcase(entry.name, pattern)
                    and (self._hidden or pattern[0] == "." or entry.name[0] != ".")
                ]
        except OSError as error:
            self.failed[folder] = f"{folder}: the folder cannot be read: {error.strerror}"
            return []

    def _note_link(self, path: Path) -> None:
        """Note a link to a folder, unless it leads to what is searched anyway."""
        target = Path(os.path.realpath(path))
        if self._start not in (target, *target.parents) and target not in self._start.parents:
            self.links[path] = target


def _judge(file: Path, start: Path) -> Reason | None:
    """Return why a file that is not named itself is left out; None for a photo."""
    suffix = file.suffix.lower()
    has_photo_name = suffix in SUFFIXES and not is_mac_name(file.relative_to(start))
    if not os.path.isfile(file):  # a link that leads nowhere; a device; a pipe without an end
        return None if has_photo_name and os.path.islink(file) else OTHERS
    if has_photo_name and suffix not in _SNIFFED:
        return None
    kind = _sniff(file)
    if kind:
        return _judge_format(kind)
    if has_photo_name:  # such as a photo that is empty
        return None
    if is_mac_name(file.relative_to(start)):
        return MACOS
    return VIDEOS if is_video(file) else OTHERS


def _judge_format(kind: str) -> Reason | None:
    """Return why a photo of a format is left out; None if it can be read."""
    if kind in UNREAD:
        return Reason(f"{kind} photos", "save them as JPEG")
    if kind in (HEIC, AVIF) and not can_read_heif(kind):
        return Reason(f"{kind} photos", f"{EXTRA} reads them")
    return None


def is_mac_name(path: PurePath) -> bool:
    """Return whether macOS gives such names to files that it adds to sticks and ZIP archives."""
    return path.name.startswith("._") or path.name == ".DS_Store" or "__MACOSX" in path.parts


def _sniff(file: Path) -> str:
    """Return the format of a file; empty if it is no image or cannot be read."""
    try:
        with file.open("rb") as opened:
            return find_format(opened.read(HEAD))
    except OSError:
        return ""
