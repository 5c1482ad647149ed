"""Every command and every block of Python of the README, run in the order of a first day.

They run in a folder with the names that the README uses. Instead of All-Age-Faces, this folder
contains a small part of it. Commands that check a model on the dataset get a model that was trained
on this part, because halnet refuses a dataset if the model was trained with another split.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import cv2
import pytest

from halnet.artifact import bundled
from halnet.benchmarks.studies.processes import served
from halnet.export.formats import FORMATS
from halnet.photos.images import load_image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = Path(sys.executable).parent
TRAINED = "runs/first/best_model.safetensors"
# Options that are added to a command, so that it takes seconds, by the beginning of the command. If
# several beginnings fit, the longest one counts.
ADDED = {
    "halnet train": "--stages 224x1 --batch-size 16 --photos 32",
    "halnet-bench": "--runs 5 --warmup 0 --seconds 0 --starts 1",
    "halnet-bench deploy --data": "--runs 5 --warmup 0 --seconds 0 --starts 1 --limit 5",
    "halnet-export --format": TRAINED,
    "halnet verify deploy --data": f"--checkpoint {TRAINED}",
}
SERVED = "halnet demo"
FIRST = ("halnet prepare", "halnet train")
MAKE = "make "


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    text = "\n".join(blocks("sh")).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, aaf_larger: Path, yunet: Path
) -> tuple[Path, dict[str, str]]:
    """A folder and an environment to run in."""
    folder = tmp_path_factory.mktemp("readme")
    portrait = bundled("portrait.jpg")
    for name in ("photo.jpg", "folder/a.jpg", "party/2024/b.jpg", "party/c.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(portrait, folder / name)
    (folder / "All-Age-Faces Dataset").symlink_to(aaf_larger)
    frame = cv2.cvtColor(load_image(portrait), cv2.COLOR_RGB2BGR)
    writer = cv2.VideoWriter(
        str(folder / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, frame.shape[1::-1]
    )
    for _ in range(10):
        writer.write(frame)
    writer.release()
    environment = {
        **os.environ,
        "HALNET_YUNET": str(yunet),
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
    }
    return folder, environment


def test_every_command(place: tuple[Path, dict[str, str]]) -> None:
    pytest.importorskip("tensorrt_rtx")
    folder, environment = place
    found = commands()
    assert len(found) > 20
    # The others need the dataset and the trained model, whose commands come later in the README.
    found.sort(key=lambda line: (not line.startswith(FIRST), line.startswith(SERVED)))
    for line in found:
        if line.startswith(MAKE):
            run(f"{line.partition('#')[0]} --dry-run", ROOT, environment)
        elif line.startswith(SERVED):
            with served(shlex.split(line, comments=True), environment, folder):
                pass  # started, reached, ended
        else:
            begins = [key for key in ADDED if line.startswith(key)]
            added = ADDED[max(begins, key=len)] if begins else ""
            run(f"{line.partition('  #')[0]} {added}", folder, environment)
    for name in (
        *("annotated/photo.jpg", "annotated/clip.mp4", "ages.csv", "clip.jsonl"),
        *("deploy/halnet.onnx", "deploy/halnet.fp16.engine", "deploy/manifest.json"),
        *(TRAINED, "docs/errors.png", "data/aaf/index.csv"),
    ):
        assert (folder / name).stat().st_size > 0, name


def run(command: str, folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    # A check of the portrait may pass or refer.
    expected = (0, 1) if command.startswith("halnet check ") else (0,)
    assert done.returncode in expected, f"{command}\n{done.stdout}{done.stderr}"


def test_every_block_of_python(place: tuple[Path, dict[str, str]]) -> None:
    folder, environment = place
    found = blocks("python")
    assert found
    for block in found:
        done = subprocess.run(
            [sys.executable, "-c", block],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("29."), done.stdout  # the portrait's age


def test_every_extra_that_is_named_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = re.findall(r"'\.?(?:halnet)?\[(.*?)\]'", README)
    named = {extra for group in groups for extra in group.split(",")}
    assert named >= {"onnxruntime", "demo", "export", "train"}
    assert named <= set(project["optional-dependencies"])


DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "examples/cpp/README.md",
    "docs/browser.md",
    "docs/checks.md",
    "docs/compilers.md",
    "docs/coreml.md",
    "docs/int8.md",
    "docs/runtimes.md",
    "docs/servers.md",
    "docs/specification.md",
)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_and_heading_that_is_linked_exists(name: str) -> None:
    document = ROOT / name
    links = re.findall(r"\]\((?!http)([^)]+)\)", document.read_text(encoding="utf-8"))
    assert links
    for link in links:
        path, _, heading = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {h.lower().replace(" ", "-") for h in headings}, link


def test_the_tables_name_every_extra_and_every_artifact() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(re.findall(r"^\| `([a-z-]+)` \| .+ MB", README, re.MULTILINE))
    assert extras == set(project["optional-dependencies"]) - {"dev"}
    for name, line in FORMATS.items():
        rows = re.findall(rf"^\| `{name}` \| .+ \| .+ \|$", README, re.MULTILINE)
        assert f"`{line.file_names['fp32']}" in rows[0]
