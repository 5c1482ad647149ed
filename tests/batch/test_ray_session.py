"""The session of Ray: clusters that are not there, and what Ray cannot write."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.batch.config import BatchConfig
from halnet.batch.ray_session import _check_cluster
from halnet.batch.run import run_batch
from halnet.errors import ConfigError

pytest.importorskip("ray")

MakeConfig = Callable[..., BatchConfig]


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_a_missing_cluster_is_an_error_that_leaves_nothing(
    address: str, album: Path, make_config: MakeConfig, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = address.format(server.getsockname()[1])  # a port that is free afterwards
    begin = time.monotonic()
    with pytest.raises(ConfigError, match=f"{address}: expected a Ray cluster, .*ray start --hea"):
        run_batch(make_config(album, out, address=address))
    assert time.monotonic() - begin < 20
    assert not out.exists()


@pytest.mark.parametrize("address", ["10.0.0.1", "cluster", "ray://host", "host:port", ""])
def test_an_address_without_a_port_is_an_error(address: str) -> None:
    with pytest.raises(ConfigError, match="expected an address such as 10.0.0.1:6379"):
        _check_cluster(address)
