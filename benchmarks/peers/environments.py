"""Environments: installs each peer into a folder of its own, on first use."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from halnet.benchmarks.peers.answers import PeerError
from halnet.benchmarks.peers.known_peers import Installer, Peer
from halnet.files import write_text
from halnet.json_text import parse_json

ADAPTERS = Path(__file__).parent / "adapters"
INSTALLED_FILE = "installed.json"  # in the folder of a peer, after everything was installed
# What a checkout has besides its sources. The copy of them is built, so that nothing is left in it.
LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "data", "runs", "deploy", "*.egg-info")


@dataclass(frozen=True)
class Environment:
    """Where a peer runs."""

    command: tuple[str, ...]  # that starts its process in `folder`
    folder: Path
    megabytes: float | None  # that its package and all that it needs take; None: not known


def prepare(
    name: str, peer: Peer, folder: Path, checkout: Path, pythons: Mapping[str, Path]
) -> Environment:
    """Return the environment of a peer, and install it into `folder` if that was not done before.

    halnet is installed anew each time, from the folder `checkout`. A package that the user has is
    looked for in the Python that `pythons` states for its name, or in this one.

    Raises PeerError if it cannot be installed.
    """
    if peer.installer is Installer.USER:
        python, megabytes = pythons.get(name, Path(sys.executable)), None
        folder.mkdir(parents=True, exist_ok=True)
    else:
        python = folder / "bin" / "python"
        megabytes = _installed_size(peer, folder)
        if megabytes is None:
            megabytes = _install(peer, folder, checkout)
            stated = {"requirements": peer.requirements, "megabytes": megabytes}
            write_text(folder / INSTALLED_FILE, json.dumps(stated) + "\n")
    if peer.installer is Installer.NPM:
        command = ("node", str(ADAPTERS / "in_node.cjs"), name)
    else:
        command = (str(python), str(ADAPTERS / "in_python.py"), name)
    return Environment(command, folder, megabytes)


def _installed_size(peer: Peer, folder: Path) -> float | None:
    """Return the megabytes of what an earlier run has installed; None if that is not known."""
    path = folder / INSTALLED_FILE
    if peer.installer is Installer.CHECKOUT or not path.exists():
        return None
    stated = parse_json(path.read_text(encoding="utf-8"))
    if stated["requirements"] != list(peer.requirements):
        return None
    return float(stated["megabytes"])


def _install(peer: Peer, folder: Path, checkout: Path) -> float:
    """Install a peer into an empty folder, and return the megabytes that it takes there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if peer.installer is Installer.NPM:
        write_text(folder / "package.json", '{"private": true}\n')
        _run(["npm", "install", "--no-audit", "--no-fund", *peer.requirements], folder)
        return measure_size(folder)
    _run([sys.executable, "-m", "venv", "."], folder)
    empty = measure_size(folder)
    pip = ["bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if peer.installer is Installer.PIP:
        _run([*pip, *peer.requirements], folder)
    else:
        with TemporaryDirectory() as temporary:
            copy = Path(temporary) / "halnet"
            shutil.copytree(checkout, copy, ignore=LEFT_OUT)
            _run([*pip, f"{copy}[onnxruntime]"], folder)
    return measure_size(folder) - empty


def measure_size(folder: Path) -> float:
    """Return the megabytes (of a million bytes) of all files in a folder; links count nothing."""
    paths = [Path(root) / name for root, _, names in os.walk(folder) for name in names]
    return sum(path.lstat().st_size for path in paths if not path.is_symlink()) / 1e6


def _run(command: Sequence[str], folder: Path) -> None:
    """Run a command in a folder. Raises PeerError with its last line if it fails."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise PeerError(f"{command[0]} is not installed") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1].strip() if lines else f"exit status {done.returncode}"
        raise PeerError(f"{' '.join(command[:3])} failed: {reason}")
