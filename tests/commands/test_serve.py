"""`halnet serve`: its options, the API key, and what is missing."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.runtimes.base import RuntimeOptions
from halnet.serving.config import Limits, ServeConfig

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ServeConfig]:
    """The configurations that were served."""
    pytest.importorskip("uvicorn")
    pytest.importorskip("prometheus_client")
    found: list[ServeConfig] = []
    monkeypatch.setattr("halnet.serving.server.serve", found.append)
    monkeypatch.delenv("HALNET_API_KEY", raising=False)
    return found


def test_without_options_only_this_machine_is_served(
    served: list[ServeConfig], halnet: Halnet, capsys: Capture
) -> None:
    assert halnet("serve") == 0
    assert served == [ServeConfig()]
    assert served[0].private
    assert (served[0].host, served[0].port) == ("127.0.0.1", 8000)
    assert capsys.readouterr().err == ""


def test_every_option_is_passed_on(
    served: list[ServeConfig], halnet: Halnet, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text(" sesame\n")
    arguments = (
        "serve m.onnx --runtime openvino --device cpu --threads 2 --workers 3 --batch 4 "
        "--detector yunet.onnx --min-face 9.5 --host ::1 --port 0 --max-bytes 1 --max-pixels 2 "
        "--max-photos 3 --max-faces 4 --seconds 5.5 --max-requests 6"
    )
    assert halnet(*arguments.split(), "--api-key-file", key) == 0
    assert served == [
        ServeConfig(
            model=Path("m.onnx"),
            options=RuntimeOptions("openvino", "cpu", 2),
            workers=3,
            batch=4,
            detector=Path("yunet.onnx"),
            min_face=9.5,
            host="::1",
            port=0,
            api_key="sesame",
            limits=Limits(1, 2, 3, 4, 5.5, 6),
        )
    ]
    assert "sesame" not in repr(served)


def test_the_key_may_come_from_the_environment(
    served: list[ServeConfig], halnet: Halnet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HALNET_API_KEY", "sesame")
    assert halnet("serve") == 0
    assert halnet("serve", "--api-key", "other") == 0
    assert halnet("serve", "--api-key", " a key ") == 0, "HTTP removes blanks around it"
    (tmp_path / "key").write_bytes(b"\xef\xbb\xbfsesame\r\n")
    assert halnet("serve", "--api-key-file", tmp_path / "key") == 2, "two keys"
    monkeypatch.delenv("HALNET_API_KEY")
    assert halnet("serve", "--api-key-file", tmp_path / "key") == 0
    assert [config.api_key for config in served] == ["sesame", "other", "a key", "sesame"]


def test_an_empty_variable_is_no_server_for_everybody(
    served: list[ServeConfig], halnet: Halnet, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("HALNET_API_KEY", "")
    assert halnet("serve") == 2
    assert "HALNET_API_KEY: expected an API key, found an empty" in capsys.readouterr().err
    assert not served


def test_two_keys_and_a_wrong_key_are_one_clear_error(
    served: list[ServeConfig], halnet: Halnet, capsys: Capture, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("\n")
    assert halnet("serve", "--api-key", "a", "--api-key-file", key) == 2
    assert "expected one of --api-key, HALNET_API_KEY and --api-key-file" in capsys.readouterr().err
    assert halnet("serve", "--api-key-file", key) == 2
    assert f"{key}: expected an API key, found an empty file" in capsys.readouterr().err
    key.write_bytes(b"\xef\xbb\xbfone\ntwo\n")
    assert halnet("serve", "--api-key-file", key) == 2
    assert "expected one line of printable ASCII characters" in capsys.readouterr().err
    assert halnet("serve", "--api-key", " ") == 2
    assert "API key: expected at least one character, found none" in capsys.readouterr().err
    assert halnet("serve", "--api-key", "schlüssel") == 2
    assert "schl" not in capsys.readouterr().err
    assert not served


def test_a_server_that_all_machines_reach_warns_without_a_key(
    served: list[ServeConfig], halnet: Halnet, capsys: Capture
) -> None:
    assert halnet("serve", "--host", "0.0.0.0") == 0
    assert "everybody who reaches 0.0.0.0 may send requests" in capsys.readouterr().err
    assert halnet("serve", "--host", "0.0.0.0", "--api-key", "sesame") == 0
    assert halnet("serve", "--host", "localhost") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("option", ["--max-bytes", "--max-requests", "--seconds", "--workers"])
def test_a_limit_of_zero_is_refused(
    option: str, served: list[ServeConfig], halnet: Halnet, capsys: Capture
) -> None:
    assert halnet("serve", option, "0") == 2
    assert f"Invalid value for '{option}'" in capsys.readouterr().err
    assert not served


@pytest.mark.parametrize("package", ["uvicorn", "starlette", "prometheus_client"])
def test_without_the_extra_the_error_says_what_to_install(
    package: str, halnet: Halnet, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name.startswith(("halnet.serving.", "starlette", "uvicorn", "prometheus_client")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert halnet("serve", "none.onnx") == 2
    expected = f"needs {package}, which is not installed; pip install 'halnet[serve]'"
    assert expected in capsys.readouterr().err
