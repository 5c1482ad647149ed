"""The server of the page: who can open it, what it is started with, and the command's errors."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from halnet.artifact import bundled
from halnet.commands import group, run
from halnet.demo.server import APP, DemoConfig, serve


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_only_this_machine_can_open_a_page_on_a_loopback_address(address: str) -> None:
    assert DemoConfig(address=address).private


@pytest.mark.parametrize("address", ["0.0.0.0", "10.0.0.1", "elsewhere"])
def test_other_machines_can_open_a_page_on_any_other_address(address: str) -> None:
    assert not DemoConfig(address=address).private


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_the_page_gets_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[Sequence[str], dict[str, str]]] = []

    def execve(path: str, command: Sequence[str], environment: dict[str, str]) -> None:
        assert path == sys.executable
        started.append((command, environment))

    monkeypatch.setattr(os, "execve", execve)
    config = DemoConfig(("a.onnx", "deploy"), "yunet.onnx", 2, port=free_port())
    serve(config, open_browser=False)
    ((command, environment),) = started
    assert command[1:5] == ["-m", "streamlit", "run", str(APP)]
    assert set(command) > {
        "--server.address=127.0.0.1",
        f"--server.port={config.port}",
        "--server.headless=true",
        "--browser.gatherUsageStats=false",
    }
    monkeypatch.setattr(os, "environ", environment)
    assert DemoConfig.from_environment() == config


def test_a_page_without_a_server_has_the_default_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", {})
    assert DemoConfig.from_environment() == DemoConfig()


def test_a_port_that_is_in_use(capsys: pytest.CaptureFixture[str], yunet: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert run(group, ["demo", "--port", str(port), "--detector", str(yunet)]) == 2
    message = f"127.0.0.1:{port}: the page cannot be served here (Address already in use)"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--address", "192.0.2.1"], "192.0.2.1:8501: the page cannot be served here"),
        (["none.onnx"], "none.onnx: no such model file or folder"),
        (["--detector", str(bundled("portrait.jpg"))], "expected face_detection_yunet"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(group, ["demo", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_command_without_its_extra() -> None:
    program = """
import sys
sys.modules["streamlit"] = None
from halnet.commands import group, run
sys.exit(run(group, ["demo"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'halnet[demo]'" in done.stderr
