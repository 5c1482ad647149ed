import os
from dataclasses import replace
from pathlib import Path

import pytest

from halnet.datasets.origin import summarise
from halnet.datasets.source_photo import Listing, RejectedPhoto, SourcePhoto
from halnet.errors import ConfigError

PHOTO = SourcePhoto("b.jpg", 3, 9, "female", "7", (("race", "Black"),), "val")
ITEMS = [SourcePhoto("a.jpg", 30, 30), PHOTO, RejectedPhoto("c", "x", "why")]


def test_ages_have_the_hash_of_older_versions() -> None:
    found = summarise(Listing(Path(), [SourcePhoto("a.jpg", 30, 30), ITEMS[0]]), {})
    assert found.items == 2
    # SHA-256 of "a.jpg 30\na.jpg 30"
    assert found.sha256 == "8f12d02c1b3b5ca08715433952566171d89c45f0b86f2f4fe0538e2442369b3b"


@pytest.mark.parametrize(
    ("change", "ages"),
    [
        ({"age_high": 10}, True),
        ({"source": "d.jpg"}, True),
        ({"sex": "male"}, False),
        ({"person": "8"}, False),
        ({"groups": ()}, False),
        ({"split": "test"}, False),
    ],
)
def test_each_value_changes_a_hash(change: dict[str, object], ages: bool) -> None:
    before = summarise(Listing(Path(), ITEMS), {})
    changed = replace(PHOTO, **change)  # type: ignore[arg-type]
    after = summarise(Listing(Path(), [ITEMS[0], changed, ITEMS[2]]), {})
    assert (before.sha256 != after.sha256) is ages
    assert (before.details_sha256 != after.details_sha256) is not ages


def test_a_photo_that_was_replaced_changes_a_hash(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    listing = Listing(tmp_path, ITEMS)
    states = []
    for content, seconds in ((b"one", 1), (b"two", 1), (b"three", 1), (b"three", 2)):
        photo.write_bytes(content)
        os.utime(photo, (seconds, seconds))
        states.append(summarise(listing, {}))
    photo.unlink()
    states.append(summarise(listing, {}))
    files = [state.files_sha256 for state in states]
    assert files[0] == files[1], "the size and the time are the same"
    assert len(set(files)) == 4
    assert len({(state.sha256, state.details_sha256) for state in states}) == 1


def test_a_stated_split_must_be_that_of_the_folder() -> None:
    listing = Listing(Path(), ITEMS)
    assert summarise(listing, {"b.jpg": "val", "a.jpg": "test"}).items == 3
    with pytest.raises(ConfigError, match="b.jpg: expected the split test, .* found val; name"):
        summarise(listing, {"b.jpg": "test"})
