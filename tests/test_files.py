import csv
import io
import os
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from halnet.errors import ConfigError
from halnet.files import (
    check_folder,
    check_writable,
    csv_text,
    editing,
    locked,
    replacing,
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


@pytest.mark.parametrize("value", ["a\rb", "a\r", "a\r\n", "a\nb", "\r", '"\r\n"'])
def test_csv_text_keeps_line_ends_in_a_value(value: str) -> None:
    text = csv_text(("name", "age"), [{"name": "x", "age": value}])
    assert text.startswith("name,age\nx,")
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["name", "age"], ["x", value]]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """A function that sets the umask until the end of the test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize(("value", "expected"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_the_umask_decides_the_mode_of_a_new_file(
    value: int, expected: int, umask: Callable[[int], int], tmp_path: Path
) -> None:
    umask(value)
    write_text(tmp_path / "ages.csv", "30")
    assert mode(tmp_path / "ages.csv") == expected


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o444, 0o666])
def test_a_file_that_exists_keeps_its_mode(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "ages.csv"
    path.write_text("before")
    path.chmod(kept)
    with replacing(path) as temporary:
        assert mode(temporary) | 0o200 == kept & ~0o022 | 0o200, "nobody else can read it earlier"
        temporary.unlink()  # as a library does that writes beside its target and renames
        temporary.write_text("after")
    assert (path.read_text(), mode(path)) == ("after", kept)


def test_the_mode_of_a_file_that_a_library_replaces_is_that_of_the_umask(
    umask: Callable[[int], int], tmp_path: Path
) -> None:
    umask(0o027)
    with replacing(tmp_path / "a.bin") as temporary:
        temporary.unlink()
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    assert mode(tmp_path / "a.bin") == 0o640


@pytest.mark.parametrize("exists", [True, False], ids=["link", "dangling link"])
def test_a_link_stays_and_the_file_behind_it_is_replaced(exists: bool, tmp_path: Path) -> None:
    real = tmp_path / "disk" / "real.csv"
    if exists:
        real.parent.mkdir()
        real.write_text("before")
    link = tmp_path / "link.csv"
    link.symlink_to(Path("disk") / "real.csv")
    write_text(link, "after")
    assert link.is_symlink()
    assert real.read_text() == "after"
    assert [path.name for path in real.parent.iterdir()] == ["real.csv"]


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    link = tmp_path / "a.csv"
    link.symlink_to(link)
    with pytest.raises(OSError, match=r"levels of symbolic links: '.*a\.csv'"):
        write_text(link, "x")


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text(pipe, "ages\n")
    assert os.read(reader, 99) == b"ages\n"
    os.close(reader)
    assert [path.is_fifo() for path in tmp_path.iterdir()] == [True]


def test_an_error_names_the_file_and_not_the_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(OSError, match="directory") as found:
        write_text(tmp_path / "a.csv", "x")
    assert found.value.filename == str(tmp_path / "a.csv")
    with pytest.raises(OSError, match="No space") as found, replacing(tmp_path / "b.csv"):
        raise OSError(28, "No space left on device")
    assert found.value.filename == str(tmp_path / "b.csv")
    with pytest.raises(OSError, match="No such file") as found, replacing(tmp_path / "b.csv"):
        (tmp_path / "another").read_text()
    assert found.value.filename == str(tmp_path / "another")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_folder(tmp_path / "new" / "folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"expected a folder, found that .*file is a file; n"):
            check_folder(folder)
        with pytest.raises(ConfigError, match="expected a folder"), locked(folder, "export"):
            pass


def test_a_dangling_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with locked(tmp_path / "out", "export"):
        assert (tmp_path / "disk").is_dir()


def test_only_one_program_at_a_time_edits_a_file(tmp_path: Path) -> None:
    """Each thread adds one to a number. Without the lock, some of them would read the same one."""
    path = tmp_path / "number.txt"
    path.write_text("0")

    def add_one(_: int) -> None:
        with editing(path):
            number = int(path.read_text())
            time.sleep(0.002)
            write_text(path, str(number + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add_one, range(24)))
    assert path.read_text() == "24"


def test_a_file_that_does_not_exist_can_be_edited(tmp_path: Path) -> None:
    with editing(tmp_path / "new.txt"):
        write_text(tmp_path / "new.txt", "x")
    assert (tmp_path / "new.txt").read_text() == "x"


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "deep")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match=r"^/proc/x: expected a folder that can be written, .*"):
        check_writable(Path("/proc/x"))
