"""The server of the page: who can open it, what it is started with, and the command's errors."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit import get_option
from streamlit.web import bootstrap

from halnet.artifact import bundled
from halnet.commands import group, run
from halnet.demo.server import APP, CONFIG_VARIABLE, DemoConfig, serve


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


@pytest.fixture
def disturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home and a current folder with files that change or break a Streamlit page."""
    for name, text in {
        "home/.streamlit/config.toml": '[server]\nbaseUrlPath = "mine"\nsslCertFile = "none.pem"\n',
        "home/.streamlit/credentials.toml": "no TOML [",
        "home/.streamlit/secrets.toml": "no TOML [",
        "here/.streamlit/config.toml": "no TOML [",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("sys.stdin", None)  # no terminal
    yield
    (tmp_path / "here" / ".streamlit" / "config.toml").unlink()
    (tmp_path / "home" / ".streamlit" / "config.toml").unlink()
    bootstrap.load_config_options({})


def test_the_page_gets_the_configuration_and_none_of_the_user(
    disturbed: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started: list[tuple[str, str | None, Path]] = []

    def run(page: str, is_hello: bool, arguments: list[str], options: dict[str, Any]) -> None:
        started.append((page, os.environ.get("HOME"), Path.cwd()))

    monkeypatch.setattr(bootstrap, "run", run)
    monkeypatch.setenv(CONFIG_VARIABLE, "")
    config = DemoConfig(("a.onnx", "deploy"), "yunet.onnx", 2, port=free_port())
    serve(config)
    assert started == [(str(APP), str(tmp_path / "home"), tmp_path / "here")]
    options = {
        "server.baseUrlPath": "",
        "server.sslCertFile": None,
        "server.address": "127.0.0.1",
        "server.port": config.port,
        "server.headless": False,  # the browser is opened
        "browser.gatherUsageStats": False,
        "secrets.files": [],
    }
    assert {name: get_option(name) for name in options} == options
    assert DemoConfig.from_environment() == config
    assert f"at http://127.0.0.1:{config.port}; Ctrl-C ends it." in capsys.readouterr().out


def test_a_user_without_a_home_can_serve_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    homes: list[Path] = []
    monkeypatch.setattr(bootstrap, "run", lambda *args: homes.append(Path.home()))
    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setenv(CONFIG_VARIABLE, "")
    monkeypatch.delenv("HOME", raising=False)
    serve(DemoConfig(port=free_port()), open_browser=False)
    assert homes == [APP.parent]
    assert get_option("server.headless") is True


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
