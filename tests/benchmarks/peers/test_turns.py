from collections.abc import Callable
from pathlib import Path

from halnet.benchmarks.peers.process import PeerProcess
from halnet.benchmarks.peers.turns import TURN, ask_in_turns

Start = Callable[..., PeerProcess]
PORTRAIT = Path("portrait.jpg")
PHOTOS = [Path(f"{number}_face.jpg") for number in range(TURN + 2)]


def start(peer: PeerProcess) -> PeerProcess:
    peer.start(PORTRAIT)
    return peer


def test_peers_take_turns_and_the_first_photo_of_a_turn_is_repeated(
    fake_peer: Start, tmp_path: Path
) -> None:
    log = tmp_path / "order"
    peers = {name: start(fake_peer("recording", str(log), name)) for name in "ab"}
    done: list[int] = []
    answers, failed = ask_in_turns(peers, PHOTOS, done.append)
    assert failed == {}
    for name in "ab":
        assert [answer.faces[0].age for answer in answers[name]] == list(range(TURN + 2))
    first, second = PHOTOS[:TURN], PHOTOS[TURN:]
    assert log.read_text().splitlines() == [
        f"{name} {photo}" for turn in (first, second) for name in "ab" for photo in (turn[0], *turn)
    ]
    assert done == [TURN, TURN + 2]


def test_a_peer_that_fails_is_not_the_end_of_the_run(fake_peer: Start) -> None:
    peers = {"bad": start(fake_peer("crashing")), "good": start(fake_peer("good"))}
    answers, failed = ask_in_turns(peers, PHOTOS)
    assert list(answers) == ["good"]
    assert len(answers["good"]) == len(PHOTOS)
    assert failed == {"bad": "out of memory (after 0 photos)"}


def test_the_reason_states_how_far_a_peer_has_come(fake_peer: Start, tmp_path: Path) -> None:
    """A peer that answers for each photo of the first turn, and then for the photo before."""
    peer = start(fake_peer("late", str(TURN + 1)))
    _, failed = ask_in_turns({"late": peer}, PHOTOS)
    (reason,) = failed.values()
    assert reason.startswith(f"expected a line of JSON with its faces in {PHOTOS[TURN]}, found")
    assert reason.endswith(f"(after {TURN} photos)")
