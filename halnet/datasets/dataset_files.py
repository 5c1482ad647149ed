"""Dataset files: what lies in the folder of a dataset, and whether it is the right folder."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from halnet.datasets.source_photo import RejectedPhoto, SourceItem, SourcePhoto
from halnet.errors import DatasetError
from halnet.photos.photo_files import ALL, Walk, is_mac_name

MAC_FILE = "a file that macOS adds"


def list_files(root: Path, folder: Path | None = None) -> tuple[list[str], list[RejectedPhoto]]:
    """Return the paths of all files below a dataset, sorted, and the folders that are left out.

    `folder` is a folder in the dataset `root`; without it, all of the dataset is meant. The paths
    are relative to `root`, with forward slashes.
    """
    start = folder or root
    walk = Walk(start, hidden=True)
    files = [path.relative_to(root).as_posix() for path in sorted(set(walk.files(start, ALL)))]
    reasons = {
        **dict.fromkeys(walk.failed, "the folder cannot be read"),
        **dict.fromkeys(walk.links, "a link to a folder, which is not followed"),
    }
    rejects = [
        RejectedPhoto(path.relative_to(root).as_posix(), "", reason)
        for path, reason in reasons.items()
    ]
    return files, rejects


def reject_name(source: str, age: str, reason: str) -> RejectedPhoto:
    """Return the reject for a file with a wrong name; a file that macOS adds has its own reason."""
    return RejectedPhoto(source, age, MAC_FILE if is_mac_name(PurePosixPath(source)) else reason)


def check_names(folder: Path, items: Sequence[SourceItem], expected: str, name: str) -> None:
    """Raise DatasetError if most files have no name of a photo, since it is another folder then.

    `expected` are such names with an example, and `name` is the name of the dataset.
    """
    files = [item for item in items if isinstance(item, SourcePhoto) or item.reason != MAC_FILE]
    count = sum(isinstance(item, SourcePhoto) for item in files)
    if not count or count < len(files) / 2:
        raise DatasetError(
            f"{folder}: expected photos with {expected}, found {count} such files among "
            f"{len(files)}; name the {name} folder"
        )
