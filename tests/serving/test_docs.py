"""Every command and every block of Python in docs/serve.md, against a server that it starts."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from halnet.artifact import bundled
from halnet.benchmarks.studies.processes import COMMAND

TEXT = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
SERVER = "halnet serve"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_every_command_and_program(yunet: Path, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    for name in ("photo.jpg", "other.jpg"):
        shutil.copy(bundled("portrait.jpg"), tmp_path / name)
    shutil.copy(bundled("halnet.onnx"), tmp_path)
    (tmp_path / "key.txt").write_text("sesame\n")
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    servers = [index for index, line in enumerate(commands) if line.startswith(SERVER)]
    assert len(servers) == 2
    environment = {**os.environ, "HALNET_YUNET": str(yunet)}
    environment.pop("HALNET_API_KEY", None)
    for first, last in zip(servers, [*servers[1:], len(commands)], strict=True):
        arguments = [*COMMAND, *shlex.split(commands[first])[1:], "--port", "0"]
        with subprocess.Popen(
            arguments, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout is not None
                port = re.findall(r":(\d+);", process.stdout.readline())[0]
                key = {"HALNET_API_KEY": "sesame"} if "key" in commands[first] else {}
                for line in commands[first + 1 : last]:
                    printed = run(line.replace("8000", port), tmp_path, environment | key)
                    assert '"error"' not in printed, printed
                    assert "process_resident" in printed or "29.7" in printed or "/info" in line
                if key:
                    program = "".join(blocks("python")).replace("8000", port)
                    printed = run([sys.executable, "-c", program], tmp_path, environment | key)
                    assert re.fullmatch(r"29\.7\d+\n29\.7\d+\n", printed)
            finally:
                process.terminate()


def run(command: str | list[str], folder: Path, environment: dict[str, str]) -> str:
    if isinstance(command, str):
        halnet = shlex.join(COMMAND)
        command = ["sh", "-ec", re.sub(r"^halnet", lambda match: halnet, command)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout
