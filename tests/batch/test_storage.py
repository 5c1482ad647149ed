"""Folders, buckets and other places: what is listed, read and written there."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.batch.storage import open_storage, reason
from halnet.errors import ConfigError

pytest.importorskip("pyarrow")

BAD_NAME = os.fsdecode(b"\xe9.png")


def test_a_folder_lists_its_files_with_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / BAD_NAME).write_bytes(b"abc")
    (tmp_path / "a.png").touch()
    (tmp_path / "link").symlink_to("deep")
    (tmp_path / "lost.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    links = []
    storage = open_storage(str(tmp_path))
    found = sorted(storage.files(lambda: links.append(1)))
    assert found == ["a.png", f"deep/{BAD_NAME}", "lost.png"]
    assert len(links) == 1
    assert storage.read(f"deep/{BAD_NAME}") == b"abc"
    assert storage.name_of("a.png") == f"{tmp_path}/a.png"


def test_no_more_than_a_photo_may_have_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: Callable[[str, bytes], None]
) -> None:
    monkeypatch.setattr("halnet.batch.storage.MAX_BYTES", 10)
    (tmp_path / "large.jpg").write_bytes(bytes(5000))
    assert len(open_storage(str(tmp_path)).read("large.jpg")) == 11
    bucket("storage/large.jpg", bytes(5000))
    assert len(open_storage("s3://photos/storage").read("large.jpg")) == 11


def test_a_bucket_has_the_names_of_its_objects(bucket: Callable[[str, bytes], None]) -> None:
    bucket("storage/deep/a b+c.png", b"abc")
    storage = open_storage("s3://photos/storage/deep")
    assert list(storage.files()) == ["a b+c.png"]
    assert storage.read("a b+c.png") == b"abc"
    assert storage.name_of("a b+c.png") == "s3://photos/storage/deep/a b+c.png"
    assert not storage.is_file()
    assert open_storage("s3://photos/storage/deep/a%20b+c.png").is_file()


@pytest.mark.usefixtures("bucket")
def test_a_file_is_put_into_a_bucket_when_the_block_ends() -> None:
    storage = open_storage("s3://photos/put")
    with pytest.raises(KeyError), storage.writing("a.txt") as path:
        path.write_text("half")
        raise KeyError
    assert not storage.exists("a.txt")
    with storage.writing("a.txt") as path:
        path.write_text("whole")
        assert not storage.exists("a.txt")
    assert storage.read("a.txt") == b"whole"
    assert storage.names() == {"a.txt": True}


@pytest.mark.usefixtures("bucket")
def test_a_missing_folder_has_no_names(tmp_path: Path) -> None:
    assert open_storage(str(tmp_path / "none")).names() == {}
    assert open_storage("s3://photos/none").names() == {}


@pytest.mark.usefixtures("bucket")
def test_passwords_and_options_are_not_part_of_a_name() -> None:
    storage = open_storage("s3://me:my-secret@photos/party?region=us-east-1")
    assert storage.name == "s3://photos/party"
    assert "my-secret" not in storage.name_of("a.jpg")


def test_other_file_systems_come_from_fsspec() -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem().pipe("/halnet-test/deep/a.png", b"abc")
    storage = open_storage("memory://halnet-test")
    assert storage.folder is None
    assert list(storage.files()) == ["deep/a.png"]
    assert storage.read("deep/a.png") == b"abc"
    assert storage.name_of("deep/a.png") == "memory://halnet-test/deep/a.png"


@pytest.mark.parametrize("address", ["nosuch://bucket/a", "s3://bucket/a?nonsense=1", "s3://a b/c"])
def test_an_address_that_cannot_be_used_is_an_error(address: str) -> None:
    with pytest.raises(ConfigError, match="the address cannot be used: .*s3://bucket/folder"):
        open_storage(address)


def test_a_reason_is_the_same_in_each_run() -> None:
    error = OSError("AWS Error SLOW_DOWN: Slow down (Request ID: aB3/x+=)\nand more")
    assert reason(error) == "AWS Error SLOW_DOWN: Slow down"
    assert reason(FileNotFoundError(2, "No such file")) == "No such file"
