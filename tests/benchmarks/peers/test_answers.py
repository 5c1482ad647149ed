import json

import pytest

from halnet.benchmarks.peers.answers import (
    About,
    Answer,
    FoundFace,
    PeerError,
    parse_about,
    parse_answer,
)

FACE = {"age": 31, "box": [1, 2, 30.5, 40]}


def line(**values: object) -> bytes:
    return json.dumps({"photo": "a.jpg", "seconds": 0.25, "faces": [FACE], **values}).encode()


def test_an_answer_has_the_faces_and_the_seconds() -> None:
    found = parse_answer(line(faces=[FACE, {**FACE, "age": 4.5}]), "a.jpg", 0.3)
    box = (1.0, 2.0, 30.5, 40.0)
    assert found == Answer((FoundFace(31.0, box), FoundFace(4.5, box)), 0.25)
    assert parse_answer(line(faces=[]), "a.jpg", 0.3) == Answer((), 0.25)


def test_an_error_is_an_answer() -> None:
    text = b'{"photo": "a.jpg", "error": "too large"}'
    assert parse_answer(text, "a.jpg", 0.3) == Answer(error="too large")


@pytest.mark.parametrize(
    "text",
    [
        b"Loading weights ...",
        b"[1, 2]",
        b"7",
        b'{"photo": "a.jpg"}',
        line(photo="b.jpg"),
        line(seconds="0.2"),
        line(faces=[{"age": 31}]),
        line(faces=[{"age": None, "box": [1, 2, 3, 4]}]),
        line(faces=[{"age": 31, "box": [1, 2, 3]}]),
        line(faces=[{"age": float("nan"), "box": [1, 2, 3, 4]}]),
    ],
)
def test_something_else_than_an_answer_is_an_error(text: bytes) -> None:
    with pytest.raises(PeerError, match=r"expected a line of JSON with its faces in a\.jpg, found"):
        parse_answer(text, "a.jpg", 0.3)


@pytest.mark.parametrize("seconds", [0.31, 250.0, -0.1])
def test_a_photo_cannot_take_longer_than_the_peer_had_for_it(seconds: float) -> None:
    """Such as milliseconds in the place of seconds."""
    with pytest.raises(PeerError, match=r"expected at most 0\.300 seconds"):
        parse_answer(line(seconds=seconds), "a.jpg", 0.3)


def test_a_long_line_is_shown_in_part() -> None:
    with pytest.raises(PeerError) as raised:
        parse_answer(b"x" * 1000, "a.jpg", 0.3)
    assert str(raised.value).endswith(f"found '{'x' * 80}...'")


def test_a_peer_states_its_version_and_its_engine() -> None:
    assert parse_about(b'{"version": "2.0", "engine": "wasm"}') == About("2.0", "wasm")
    with pytest.raises(PeerError, match="expected a line of JSON with its version and engine"):
        parse_about(b'{"version": "2.0"}')
