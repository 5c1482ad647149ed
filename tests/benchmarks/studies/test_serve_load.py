"""The study of the server's load: what it counts."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from halnet import Predictor
from halnet.artifact import bundled
from halnet.benchmarks.samples import portrait
from halnet.benchmarks.studies.serve_load import LOST, REFUSED, Client, expect, metric, run_load
from halnet.runtimes.fake import FakeRuntime

PHOTOS = [bundled("portrait.jpg").read_bytes(), b"no photo", bundled("portrait.jpg").read_bytes()]


@pytest.fixture
def expected() -> list[dict[str, Any]]:
    with Predictor(
        FakeRuntime(), detector=lambda photo: [portrait()[1]], quality=True
    ) as predictor:
        return [expect(predictor, photo) for photo in PHOTOS]


def test_every_answer_is_counted_and_compared(
    serving: Callable[..., Any], expected: list[dict[str, Any]]
) -> None:
    with serving() as (_, address):
        host, port = urlsplit(address).netloc.split(":")
        place = host, int(port)
        load = run_load(place, PHOTOS, expected, 4, lambda number: number >= 30)
        assert load.outcomes == {"200": 20, "422": 10}
        assert len(load.latencies) == 30
        assert load.different == 0
        other = [expected[1], *expected[1:]]  # the first photo should have had no result
        assert run_load(place, PHOTOS, other, 4, lambda number: number >= 30).different == 10
        assert metric(place, "halnet_faces_total") == 40
        client = Client(place)
        assert client.send(PHOTOS[1]) == ("422", expected[1])
    assert client.send(PHOTOS[0])[0] == LOST  # on a connection that the server has closed
    assert client.send(PHOTOS[0])[0] == REFUSED
    ended = run_load(place, PHOTOS, expected, 3, lambda number: False)
    assert ended.outcomes == {REFUSED: 3}
