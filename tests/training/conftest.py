"""A dataset whose labels are ranges of ages."""

from pathlib import Path

import pytest

from tests.conftest import make_prepared


@pytest.fixture(scope="session")
def ranges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos that the other synthetic datasets do not have, with ranges of ten years as labels."""
    root = tmp_path_factory.mktemp("ranges")
    return make_prepared(root, 120, "ranges", first=1000, years=10)
