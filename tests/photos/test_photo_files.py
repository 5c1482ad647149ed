"""Which photos names stand for, and what is left out."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.errors import ConfigError
from halnet.photos import photo_files
from halnet.photos.photo_files import find_photos, search_photos

JPEG = b"\xff\xd8\xff\xe0" + bytes(60)
MAC = b"\0\5\x16\7" + bytes(60)
TIFF = b"II*\0" + bytes(60)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(60)
EXTRA = "pip install 'halnet[heif]' reads them"


def write(root: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with photos and a text."""
    root = tmp_path / "photos"
    files = {"a.png": b"", "cut.png": b"", "deep/b.PNG": b"", ".hidden.png": b"", "notes.txt": b""}
    write(root, files)
    monkeypatch.chdir(root)
    return root


def left_out(*names: str) -> dict[str, int]:
    """Return how often each reason is given for what the names stand for."""
    (found,) = search_photos(map(Path, names)).left_out
    return {reason.text: count for reason, count in found.counts.items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (".", [".hidden.png", "a.png", "cut.png", "deep/b.PNG"]),
        ("deep", ["deep/b.PNG"]),
        ("[ac]*", ["a.png", "cut.png"]),
        ("*.png", ["a.png", "cut.png"]),
        (".*.png", [".hidden.png"]),
        ("**/b.*", ["deep/b.PNG"]),
        ("**", ["a.png", "cut.png", "deep/b.PNG"]),
        ("*/../a.png", ["deep/../a.png"]),
        ("no such photo.jpg", ["no such photo.jpg"]),
        ("notes.txt", ["notes.txt"]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_files_folders_and_patterns_stand_for_photos(name: str, expected: list[str]) -> None:
    assert find_photos([Path(name)]) == [Path(path) for path in expected]


def test_a_pattern_may_be_absolute(folder: Path) -> None:
    assert find_photos([folder / "*" / "b.*"]) == [folder / "deep/b.PNG"]


def test_a_file_or_folder_may_have_the_name_of_a_pattern(folder: Path) -> None:
    write(folder, {"[ac].png": b"", "[ac] and more/x.png": b"", "[ac] and more/y.png": b""})
    assert find_photos([Path("[ac].png")]) == [Path("[ac].png")]
    assert find_photos([Path("[ac] and more/x*")]) == [Path("[ac] and more/x.png")]


def test_jpeg_is_found_whatever_its_name(folder: Path) -> None:
    names = ("1.jfif", "2.jpe", "3.MPO", "4.jpg_large", "5", "6.dat")
    write(folder / "names", dict.fromkeys(names, JPEG))
    assert [path.name for path in find_photos([folder / "names"])] == list(names)


def test_what_is_no_photo_is_counted_by_the_reason(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_files, "can_read_heif", lambda kind: False)
    write(
        folder,
        {
            **{"._a.JPG": MAC, "__MACOSX/._a.JPG": MAC, ".DS_Store": b"", "._real.jpg": JPEG},
            **{"1.HEIC": HEIC, "2.heic": HEIC, "3.tif": TIFF, "4.dat": TIFF, "film.mp4": b""},
        },
    )
    os.mkfifo(folder / "pipe.jpg")
    (search,) = [search_photos([Path(".")])]
    assert left_out(".") == {
        "files that macOS adds": 3,
        "HEIC photos": 2,
        "TIFF or camera raw photos": 2,
        "videos": 1,
        "other files": 2,
    }
    assert Path("._real.jpg") in search.photos
    (found,) = search.left_out
    assert found.is_loss
    assert f"; HEIC photos: 2 ({EXTRA}); " in str(found)
    assert not search.failed


def test_heic_is_a_photo_where_it_can_be_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_files, "can_read_heif", lambda kind: kind == "HEIC")
    write(folder / "new", {"1.HEIC": HEIC, "2.heif": b"damaged", "x": HEIC})
    search = search_photos([folder / "new"])
    assert [path.name for path in search.photos] == ["1.HEIC", "2.heif", "x"]
    assert not search.left_out


def test_files_that_nobody_takes_for_photos_are_no_loss(folder: Path) -> None:
    write(folder, {"._a.JPG": MAC})
    (found,) = search_photos([folder]).left_out
    assert str(found) in (
        "other files: 1; files that macOS adds: 1",
        "files that macOS adds: 1; other files: 1",
    )
    assert not found.is_loss


def test_each_photo_is_found_once(folder: Path) -> None:
    """The links lead to the folder, to its parent and to themselves."""
    for name, target in {"self": ".", "up": "..", "deep/top": "..", "loop": "loop"}.items():
        (folder / name).symlink_to(target)
    photos = [Path("a.png"), Path("cut.png"), Path("deep/b.PNG")]
    assert find_photos([Path("**/*.[pP][nN][gG]")]) == photos
    assert find_photos([Path(".")]) == [Path(".hidden.png"), *photos]
    (folder / "twin").symlink_to("deep")
    assert find_photos([Path("*/b.PNG")]) == [Path("deep/b.PNG")]
    assert left_out(".") == {"other files": 2}


def test_a_link_to_another_folder_is_counted_unless_it_is_named(
    folder: Path, tmp_path: Path
) -> None:
    write(tmp_path / "other", {"c.png": b""})
    (folder / "deep/link").symlink_to(tmp_path / "other")
    assert left_out("deep") == {"links to folders": 1}
    assert find_photos([Path("deep/link")]) == [Path("deep/link/c.png")]
    assert find_photos([Path("*/link/*")]) == [Path("deep/link/c.png")]


def test_a_photo_whose_link_leads_nowhere_is_not_lost(folder: Path) -> None:
    (folder / "deep/gone.jpg").symlink_to("nowhere.jpg")
    assert find_photos([Path("deep")]) == [Path("deep/b.PNG"), Path("deep/gone.jpg")]


@pytest.mark.parametrize("name", ["photos", "photos/**/*.png"])
def test_a_folder_that_cannot_be_read_is_named(
    name: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_unreadable: Callable[[str], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_unreadable("deep")
    search = search_photos([Path(name)])
    assert Path("photos/a.png") in search.photos
    message = "photos/deep: the folder cannot be read: Permission denied"
    assert search.failed == [(Path("photos/deep"), message)]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("bare", "there are no photos in this folder$"),
        ("*.gif", "no photos match this pattern, and no file has this name$"),
        ("IMG [1].png", "no photos match this pattern, and no file has this name$"),
        ("*.txt", "no photos match this pattern, and no file has this name; left out: other files"),
    ],
)
def test_a_folder_or_pattern_without_photos_does_not_lose_the_others(
    name: str, problem: str, folder: Path
) -> None:
    (folder / "bare").mkdir()
    search = search_photos([Path(name), Path("a.png")])
    assert search.photos == [Path("a.png")]
    assert [path for path, _ in search.failed] == [Path(name)]
    with pytest.raises(ConfigError, match=problem):
        find_photos([Path(name)])
