"""The page as people use it: Chromium, a camera that shows a film, and nothing else reached.

Screenshots are left in the folder that HALNET_SCREENSHOTS names, where it is set.
"""

import csv
import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.benchmarks.studies.processes import COMMAND, find_browser, served
from halnet.images import load_image

playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = find_browser()
PORTRAIT = bundled("portrait.jpg")
SIZES = {"desktop": (1280, 1100), "phone": (390, 844)}
# Python tells a hook of every address that it connects, sends to or asks for.
SPY = """
import sys
EVENTS = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"}
def note(event, args):
    if event in EVENTS:
        where = args[0] if event == "socket.getaddrinfo" else args[1]
        host = where[0] if isinstance(where, tuple) else where
        with open(%r, "a") as file:
            file.write(f"{event} {host}\\n")
sys.addaudithook(note)
sys.audit("socket.getaddrinfo", "localhost")  # shows that the hook is there
"""
# Frames of the video as the browser shows it: how many, and how much of the last is amber.
WATCH = """
async (video) => {
    const before = video.getVideoPlaybackQuality().totalVideoFrames;
    await new Promise(resolve => setTimeout(resolve, 3000));
    const after = video.getVideoPlaybackQuality().totalVideoFrames;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    let amber = 0;
    for (let i = 0; i < pixels.length; i += 4)
        amber += pixels[i] > 220 && Math.abs(pixels[i + 1] - 176) < 40 && pixels[i + 2] < 70;
    return {rate: (after - before) / 3, amber, width: canvas.width, height: canvas.height};
}
"""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the camera sees: the portrait, moving, 640 x 480, 20 frames a second."""
    path = tmp_path_factory.mktemp("film") / "film.y4m"
    portrait = cv2.resize(load_image(PORTRAIT), (480, 480))
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W640 H480 F20:1 Ip A1:1 C420mpeg2\n")
        for index in range(20):
            canvas = np.full((480, 640, 3), 90, np.uint8)
            left = 60 + round(20 * np.sin(index / 20 * 2 * np.pi))
            canvas[:, left : left + 480] = portrait
            file.write(b"FRAME\n" + cv2.cvtColor(canvas, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, yunet: Path) -> Iterator[Any]:
    """`halnet demo` as a process of its own; yields its address and the file of the spy."""
    folder = tmp_path_factory.mktemp("server")
    spied = folder / "spied.txt"
    spied.touch()
    (folder / "sitecustomize.py").write_text(SPY % str(spied))
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    environment.pop("CI", None)  # where some libraries report nothing
    command = [*COMMAND, "demo", "--detector", str(yunet)]
    with served(command, environment) as (address, _):
        yield address, spied


@pytest.fixture(scope="module")
def browser(film: Path) -> Iterator[Any]:
    if not CHROMIUM:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as tools:
        flags = [
            "--no-sandbox",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={film}",
        ]
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture(params=list(SIZES))
def page(request: pytest.FixtureRequest, browser: Any, server: Any) -> Iterator[Any]:
    """The page at the width of a desktop in light colours, and of a phone in dark ones.

    Afterwards: nothing that it asked for lies elsewhere, and it complained of nothing.
    """
    address, _ = server
    width, height = SIZES[request.param]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if request.param == "phone" else "light",
        permissions=["camera"],
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    page.get_by_role("heading", name="HAL-Net").wait_for()
    page.shown_as = request.param
    yield page
    context.close()
    places = {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))}
    assert places == {urlsplit(address).netloc}
    assert not complaints


def choose(page: Any, mode: str) -> None:
    page.get_by_test_id("stRadio").first.get_by_text(mode, exact=True).click()


def upload(page: Any, label: str, files: Any) -> None:
    """Hand files to the uploader of that name: for a moment, there may be two."""
    place = page.get_by_role("region", name=label, exact=True)
    place.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(files)


def picture(page: Any, name: str) -> None:
    """Leave a screenshot of all of the page; nothing on it is wider than the window."""
    page.wait_for_timeout(700)  # animations end
    main = page.get_by_test_id("stMain")
    assert main.evaluate("element => element.scrollWidth <= element.clientWidth")
    if folder := os.environ.get("HALNET_SCREENSHOTS"):
        height = main.evaluate("element => element.scrollHeight")
        size = page.viewport_size
        page.set_viewport_size({"width": size["width"], "height": max(size["height"], height)})
        page.wait_for_timeout(700)
        page.screenshot(path=Path(folder, f"{name}-{page.shown_as}.png"))
        page.set_viewport_size(size)


def metric(page: Any) -> str:
    shown: str = page.get_by_test_id("stMetricValue").first.inner_text()
    return shown


def test_a_photo_and_a_snapshot(page: Any) -> None:
    upload(page, "A photo", PORTRAIT)
    page.get_by_text("What the model saw").wait_for()
    assert 25 < float(metric(page)) < 55
    page.locator("canvas, svg.marks").first.wait_for()
    picture(page, "photo")
    page.get_by_test_id("stRadio").nth(1).get_by_text("Camera", exact=True).click()
    # The button is there before the picture is, and does nothing until then.
    page.wait_for_function(
        "document.querySelector('[data-testid=stCameraInput] video')?.currentTime > 0.5"
    )
    page.get_by_role("button", name="Take Photo").click()
    page.get_by_text("What the model saw").wait_for()
    assert 15 < float(metric(page)) < 55
    picture(page, "snapshot")


def test_the_keyboard_reaches_all(page: Any) -> None:
    page.get_by_role("region", name="A photo", exact=True).wait_for()  # all is drawn
    reached = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "[document.activeElement.type, document.activeElement.getAttribute('aria-label'), "
                "document.activeElement.innerText].filter(Boolean).join(' ')"
            )
        )
    found = "\n".join(reached)
    assert "radio" in found
    assert "Upload" in found
    page.get_by_role("radio", name="Photo").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_test_id("stFileUploader").get_by_text("Photos", exact=True).wait_for()


def test_a_batch_with_a_damaged_file(page: Any, tmp_path: Path) -> None:
    choose(page, "Batch")
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(PORTRAIT.read_bytes()[:9000])
    second = tmp_path / "second.jpg"
    second.write_bytes(PORTRAIT.read_bytes())
    upload(page, "Photos", [PORTRAIT, damaged, second])
    page.get_by_text("3 photos, 2 faces, 1 photo without a result.").wait_for()
    picture(page, "batch")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download CSV").click()
    path = tmp_path / "ages.csv"
    waiting.value.save_as(path)
    assert waiting.value.suggested_filename == "ages.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["photo"] for row in rows] == ["portrait.jpg", "damaged.jpg", "second.jpg"]
    assert rows[0]["age"] == rows[2]["age"]
    assert rows[1]["error"] == "damaged.jpg: the image data is damaged or cut off"


def watch(video: Any) -> dict[str, float]:
    """Wait for frames with a box, its age and the note; return what is seen of them."""
    for _ in range(20):
        seen: dict[str, float] = video.evaluate(WATCH)
        if seen["amber"] > 2000 and seen["rate"] > 0:
            return seen
    raise AssertionError(f"no ages on the video: {seen}")


def test_live_video(page: Any) -> None:
    choose(page, "Live video")
    frame = page.frame_locator("iframe").first
    page.get_by_text("Start shows what the camera sees").wait_for()
    frame.get_by_role("button", name="Start").click()
    video = frame.locator("video")
    seen = watch(video)
    assert (seen["width"], seen["height"]) == (640, 480)
    print(f"{seen['rate']:.0f} frames a second")
    picture(page, "live")
    # Another runtime while it runs.
    if page.shown_as == "desktop":
        page.get_by_test_id("stSelectbox").first.click()
        page.get_by_role("option", name="onnxruntime").click()
        page.wait_for_timeout(3000)
        watch(video)
    frame.get_by_role("button", name="Stop").click()
    page.get_by_text("Start shows what the camera sees").wait_for()


def test_a_browser_that_is_closed_in_the_middle_of_a_batch(
    browser: Any, server: Any, tmp_path: Path
) -> None:
    address, _ = server
    photos = [tmp_path / f"{index}.jpg" for index in range(60)]
    for photo in photos:
        photo.write_bytes(PORTRAIT.read_bytes())
    first = browser.new_page()
    first.goto(address)
    first.get_by_role("heading", name="HAL-Net").wait_for()
    choose(first, "Batch")
    upload(first, "Photos", photos)
    first.get_by_text("of 60 photos").wait_for()  # under way
    first.close()
    second = browser.new_page()
    second.goto(address)
    second.get_by_role("heading", name="HAL-Net").wait_for()
    upload(second, "A photo", PORTRAIT)
    second.get_by_text("What the model saw").wait_for()
    second.close()


def test_without_a_camera(server: Any, browser: Any) -> None:
    """Neither a device nor the user's leave."""
    address, _ = server
    with_none = browser.browser_type.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    page = with_none.new_page()
    page.goto(address)
    page.get_by_role("heading", name="HAL-Net").wait_for()
    choose(page, "Live video")
    page.get_by_text("Start shows what the camera sees").wait_for()
    page.frame_locator("iframe").first.get_by_role("button", name="Start").click()
    page.wait_for_timeout(2000)
    page.get_by_text("allow it beside the address and start").wait_for()
    choose(page, "Photo")
    page.get_by_test_id("stRadio").nth(1).get_by_text("Camera", exact=True).click()
    page.get_by_test_id("stCameraInput").wait_for()
    page.get_by_test_id("stRadio").nth(1).get_by_text("Upload", exact=True).click()
    upload(page, "A photo", PORTRAIT)
    page.get_by_text("What the model saw").wait_for()
    with_none.close()


def test_runtimes_compared(page: Any) -> None:
    choose(page, "Compare")
    upload(page, "A photo to compare", PORTRAIT)
    page.get_by_text("between the least and the greatest age lie 0.000 years").wait_for()
    picture(page, "compare")


def test_the_server_reached_nobody(server: Any) -> None:
    """Runs last: by then, it has done all of the above."""
    _, spied = server
    lines = set(spied.read_text().splitlines())
    assert "socket.getaddrinfo localhost" in lines, "the spy was not there"
    hosts = {line.split(" ", 1)[1] for line in lines}
    assert [host for host in hosts if not is_here(host)] == []


def is_here(host: str) -> bool:
    """Tell whether an address is of this machine: one can only listen on those."""
    if host in ("None", "localhost", "") or host.startswith("/"):
        return True
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except (OSError, ValueError):
        return False
    return True
