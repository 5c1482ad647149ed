"""A server that the tests share."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def server(serving: Callable[..., Any]) -> Iterator[str]:
    """The address of a server of the fake runtime with small limits."""
    from halnet.serving.config import Limits

    with serving(limits=Limits(bytes=1_000_000, photos=3, faces=2)) as (_, address):
        yield address
