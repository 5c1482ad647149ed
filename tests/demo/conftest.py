"""What the demo is given in the tests."""

import json
from pathlib import Path

import pytest

from halnet.demo.server import VARIABLE


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, yunet: Path):  # type: ignore[no-untyped-def]
    """Return a function that sets what `halnet demo` would hand to the page."""

    def set_values(**values: object) -> None:
        monkeypatch.setenv(VARIABLE, json.dumps({"detector": str(yunet), **values}))

    set_values()
    return set_values
