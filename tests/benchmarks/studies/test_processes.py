import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from halnet.benchmarks.studies import processes
from halnet.benchmarks.studies.processes import COMMAND, find_browser, served, wait_until
from halnet.errors import ConfigError

# A page that answers with the folder that it runs in and with the value of a variable.
PAGE = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{os.getcwd()} {os.environ['NAME']}".encode())

assert sys.argv[1:3] == ["--no-browser", "--port"], sys.argv
HTTPServer(("127.0.0.1", int(sys.argv[3])), Handler).serve_forever()
"""


def test_a_page_is_served_until_the_block_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PAGE]
    with served(command, {"NAME": "value"}, tmp_path) as (address, process):
        with urlopen(address) as page:
            assert page.read().decode() == f"{tmp_path.resolve()} value"
        assert process.poll() is None
    assert process.wait() is not None


def test_a_page_that_does_not_start_is_an_error() -> None:
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    with pytest.raises(ConfigError, match="ended with status 3"), served(command):
        pass


def test_a_process_that_is_never_ready_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "START_SECONDS", 0.0)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with pytest.raises(ConfigError, match="ready within 0 seconds"):
            wait_until(lambda: False, process)
        process.kill()


def test_the_command_is_halnet() -> None:
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("halnet")


def test_a_browser_is_found_in_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_browser() is None
    path = tmp_path / "google-chrome"
    path.touch(0o755)
    assert find_browser() == str(path)
