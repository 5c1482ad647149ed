"""Fixtures: fake peers."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.benchmarks.peers.environments import Environment
from halnet.benchmarks.peers.process import PeerProcess

FAKE_PEER = Path(__file__).with_name("fake_peer.py")


@pytest.fixture
def fake_environment(tmp_path: Path) -> Callable[..., Environment]:
    """Makes the environment of a fake peer; it takes the arguments of `fake_peer.py`."""

    def make(*arguments: str) -> Environment:
        folder = tmp_path / "_".join(["peer", *arguments]).replace(os.sep, "_")
        folder.mkdir()
        return Environment((sys.executable, str(FAKE_PEER), *arguments), folder, 12.0)

    return make


@pytest.fixture
def fake_peer(
    fake_environment: Callable[..., Environment], request: pytest.FixtureRequest
) -> Callable[..., PeerProcess]:
    """Starts a fake peer, which ends with the test."""

    def start(*arguments: str, patience: float = 30.0) -> PeerProcess:
        environment = fake_environment(*arguments)
        log = environment.folder / "errors.log"
        process = PeerProcess(environment.command, log, environment.folder, os.environ, patience)
        request.addfinalizer(process.close)
        return process

    return start
