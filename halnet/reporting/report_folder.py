"""The folder of a report: its files are written all of them or none, and its JSON is read again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from halnet.errors import ConfigError
from halnet.files import NAME_ERRORS, check_folder, check_writable, write_text
from halnet.json_text import parse_json
from halnet.placing import STAGING_PREFIX, placed, staging
from halnet.reporting.page import check_libraries


def check_folder_of_report(folder: Path, names: Sequence[str]) -> None:
    """Raise an error, before the work, if files with these names cannot be written into a folder.

    Raises ConfigError if the folder has other files than these or cannot be written, and
    RuntimeUnavailableError if a library is missing that draws the page.
    """
    check_libraries()
    check_folder(folder)
    check_writable(folder)
    found = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    foreign = [name for name in found if name not in names and not name.startswith(STAGING_PREFIX)]
    if foreign:
        raise ConfigError(
            f"{folder}: expected a new or empty folder, or one with an earlier report, found "
            f"{foreign[0]} in it; name another folder"
        )


def write_report_files(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the texts of a report into a folder, by the names of their files: all or none."""
    with staging(folder, "report") as stage:
        for name, text in texts.items():
            write_text(stage / name, text)
        with placed((stage / name, folder / name) for name in texts):
            pass


def read_json_file(path: Path, expected: str, cure: str) -> Any:
    """Return the values in a JSON file.

    `expected` is what the file should be, and `cure` what to do, in the error. Raises ConfigError
    if there is no such file, or if it is no JSON.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8", errors=NAME_ERRORS))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; {cure}") from error
    except (ValueError, IsADirectoryError) as error:
        raise ConfigError(
            f"{path}: expected {expected}, found another file ({error}); {cure}"
        ) from error


def check_format(path: Path, version: object, newest: int) -> None:
    """Raise ConfigError if a newer version of halnet wrote a report in a format that is unknown."""
    if type(version) is int and version > newest:
        raise ConfigError(
            f"{path}: expected a report of format {newest} or older, found format {version}, which "
            "a newer halnet wrote; update halnet, or make the report again"
        )
