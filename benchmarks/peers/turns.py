"""Turns: asks peers for the same photos, a few photos at a time."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from halnet.benchmarks.peers.answers import Answer, PeerError
from halnet.benchmarks.peers.process import PeerProcess

TURN = 10  # photos of a peer before the next one has its turn


def ask_in_turns(
    peers: Mapping[str, PeerProcess],
    photos: Sequence[Path],
    on_progress: Callable[[int], None] = lambda done: None,
) -> tuple[dict[str, list[Answer]], dict[str, str]]:
    """Return the answers of each peer for all photos, and why others have not answered for all.

    The peers take turns, so that a slow phase of the machine slows them all. At the beginning of a
    turn, the first photo is asked for once more than it counts, because the peer before has filled
    the caches. A peer that fails is not asked again. `on_progress` gets the number of photos that
    all peers have had.
    """
    answers: dict[str, list[Answer]] = {name: [] for name in peers}
    failed: dict[str, str] = {}
    for start in range(0, len(photos), TURN):
        turn = photos[start : start + TURN]
        for name in list(answers):
            try:
                peers[name].ask(turn[0])
                answers[name] += [peers[name].ask(photo) for photo in turn]
            except PeerError as error:
                failed[name] = f"{error} (after {len(answers.pop(name))} photos)"
        on_progress(start + len(turn))
    return answers, failed
