"""The page in Chromium: a browser with a film as its camera, and a server of folders."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.benchmarks.studies.page_server import serving
from halnet.benchmarks.studies.processes import find_browser
from halnet.photos.images import Image, load_image

CHROMIUM = find_browser()


class Film(NamedTuple):
    """What the camera of the browser shows."""

    path: Path
    picture: Image  # every frame, 480 x 640 x 3 uint8 RGB


class Site(NamedTuple):
    """What the server serves."""

    root: Path  # further files may be put here
    address: str


@pytest.fixture(scope="session")
def site(web_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose folder `halnet_web` is the page."""
    root = tmp_path_factory.mktemp("site")
    (root / "halnet_web").symlink_to(web_folder)
    (root / "plain.html").write_text("<!doctype html><title>A page without rules</title>")
    with serving(root) as address:
        yield Site(root, address)


@pytest.fixture(scope="session")
def changed_page(web_folder: Path, site: Site) -> Callable[..., str]:
    """A function that serves a copy of the page with some other files; None leaves a file out."""

    def change(name: str, files: dict[str, bytes | None]) -> str:
        folder = site.root / name
        folder.mkdir()
        for file in web_folder.iterdir():
            if file.name not in files:
                (folder / file.name).symlink_to(file)
        for file_name, data in files.items():
            if data is not None:
                (folder / file_name).write_bytes(data)
        return f"{site.address}/{name}/"

    return change


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    picture = np.full((480, 640, 3), 90, np.uint8)
    picture[:, 80:560] = cv2.resize(load_image(bundled("portrait.jpg")), (480, 480))
    frame = b"FRAME\n" + cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).tobytes()
    path = tmp_path_factory.mktemp("film") / "film.y4m"
    path.write_bytes(b"YUV4MPEG2 W640 H480 F20:1 Ip A1:1 C420mpeg2\n" + 2 * frame)
    return Film(path, picture)


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Any]]:
    """A function that starts Chromium with some flags.

    A process can have one Playwright at a time, so that each module of tests has its own.
    """
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as tools:

        def start(*flags: str) -> Any:
            args = ["--no-sandbox", *flags]
            return tools.chromium.launch(executable_path=CHROMIUM, args=args)

        yield start


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Any], film: Film) -> Iterator[Any]:
    """Chromium with a film as its camera. A page may use it if its context permits it."""
    flags = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film.path}")
    with launch(*flags) as browser:
        yield browser


@pytest.fixture(scope="module")
def module_page(browser: Any, site: Site) -> Iterator[Any]:
    """A page without a Content-Security-Policy, into which tests import the modules."""
    with browser.new_page() as page:
        page.goto(f"{site.address}/plain.html")
        yield page


@pytest.fixture(scope="session")
def copied_to_site(site: Site) -> Callable[[Path], str]:
    """A function that copies a folder to the server and returns its address."""

    def copy(folder: Path) -> str:
        shutil.copytree(folder, site.root / folder.name)
        return f"{site.address}/{folder.name}"

    return copy
