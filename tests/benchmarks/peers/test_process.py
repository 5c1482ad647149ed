import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.benchmarks.peers.answers import About, FoundFace, PeerError
from halnet.benchmarks.peers.process import PeerProcess

Start = Callable[..., PeerProcess]
PHOTO = Path("/photos/23_a face.jpg")
PORTRAIT = Path("/photos/portrait.jpg")


def test_a_peer_starts_and_answers(fake_peer: Start) -> None:
    before = time.perf_counter()
    peer = fake_peer("good", "2")
    about, seconds = peer.start(PORTRAIT)
    assert about == About("1.2", "good")
    assert 0.005 < seconds < time.perf_counter() - before, "Python starts in more than 5 ms"
    assert peer.ask(PHOTO).faces == (FoundFace(25.0, (10.0, 20.0, 100.0, 80.0)),)
    assert peer.ask(Path("/photos/4_empty.jpg")).faces == ()
    assert peer.ask(Path("/photos/4_broken.jpg")).error == "it cannot be read"


def test_names_that_are_not_utf_8_come_back(fake_peer: Start) -> None:
    peer = fake_peer("good")
    peer.start(PORTRAIT)
    assert peer.ask(Path(os.fsdecode(b"/photos/7_\xff.jpg"))).faces[0].age == 7


def test_a_peer_that_cannot_read_the_first_photo_has_not_started(fake_peer: Start) -> None:
    with pytest.raises(PeerError, match=r"^it cannot be read$"):
        fake_peer("good").start(Path("1_broken.jpg"))


def test_a_peer_that_is_not_installed_says_so(fake_peer: Start) -> None:
    with pytest.raises(PeerError, match=r"^it is not installed$"):
        fake_peer("missing").start(PORTRAIT)


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("crashing", r"^out of memory$"),
        ("silent", r"^it ended with exit status 4$"),
        ("nonsense", r"^expected a line of JSON .* found 'Loading the model \.\.\.'$"),
    ],
)
def test_a_peer_that_fails_states_the_reason(fake_peer: Start, way: str, reason: str) -> None:
    peer = fake_peer(way)
    peer.start(PORTRAIT)
    with pytest.raises(PeerError, match=reason):
        peer.ask(PHOTO)


def test_a_peer_that_hangs_is_ended_with_its_own_processes(
    fake_peer: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halnet.benchmarks.peers.process.SECONDS_TO_END", 0.1)
    child = tmp_path / "child"
    peer = fake_peer("hanging", str(child), patience=3)
    peer.start(PORTRAIT)
    with pytest.raises(PeerError, match=r"^it took more than 3 seconds for 23_a face\.jpg$"):
        peer.ask(PHOTO)
    peer.close()
    assert is_ended(int(child.read_text()))


def is_ended(process: int) -> bool:
    """Whether a process ends within some seconds; one that nobody has waited for has ended too."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match=r"no-such-program cannot be started: No such file"):
        PeerProcess(["no-such-program"], tmp_path / "log", tmp_path, os.environ, 1)
