"""The page in Chromium, with a film as its camera. No test may reach another machine.

If HALNET_SCREENSHOTS names a folder, screenshots are saved there.
"""

import base64
import csv
import ipaddress
import json
import os
import re
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from halnet.ages import LEVEL
from halnet.artifact import bundled
from halnet.benchmarks.studies.processes import COMMAND, find_browser, served
from halnet.drawing import draw_faces, draw_note
from halnet.photos.images import Image, encode_image, load_image
from halnet.predictor import Predictor
from halnet.results import Face

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=60_000)

CHROMIUM = find_browser()
PORTRAIT = bundled("portrait.jpg")
SIZES = {"desktop": (1280, 1100), "phone": (390, 844)}
START_HINT = "Press Start to see the picture of your camera"
# Python calls an audit hook with every address that it connects to, sends to or looks up.
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
sys.audit("socket.getaddrinfo", "localhost")  # proves that the hook is installed
"""
# Returns the next frame that a video shows, as the data URL of a PNG file.
NEXT_FRAME = """
async (video) => {
    await new Promise((resolve, reject) => {
        video.requestVideoFrameCallback(resolve);
        setTimeout(() => reject(new Error("no frame came in 60 seconds")), 60000);
    });
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    return canvas.toDataURL();
}
"""


class Film(NamedTuple):
    """What the camera of the browser shows."""

    path: Path
    picture: Image  # every frame, 480 x 640 x 3 uint8 RGB
    faces: list[Face]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, yunet: Path) -> Film:
    picture = np.full((480, 640, 3), 90, np.uint8)
    picture[:, 80:560] = cv2.resize(load_image(PORTRAIT), (480, 480))
    frame = b"FRAME\n" + cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).tobytes()
    path = tmp_path_factory.mktemp("film") / "film.y4m"
    path.write_bytes(b"YUV4MPEG2 W640 H480 F20:1 Ip A1:1 C420mpeg2\n" + 2 * frame)
    with Predictor(detector=yunet) as predictor:
        return Film(path, picture, predictor(picture))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, yunet: Path) -> Iterator[tuple[str, Path]]:
    """`halnet demo` as a process of its own: its address, and the file that the spy writes."""
    folder = tmp_path_factory.mktemp("server")
    spied = folder / "spied.txt"
    spied.touch()
    (folder / "sitecustomize.py").write_text(SPY % str(spied))
    configuration = folder / ".streamlit" / "config.toml"
    configuration.parent.mkdir()
    configuration.write_text('[server]\nbaseUrlPath = "mine"\n')
    # The user has a configuration for other pages, and has never answered Streamlit's questions.
    environment = {**os.environ, "PYTHONPATH": str(folder), "HOME": str(folder)}
    environment.pop("CI", None)  # some libraries contact a server only where this is not set
    command = [*COMMAND, "demo", "--detector", str(yunet)]
    with served(command, environment) as (address, _):
        yield address, spied


@pytest.fixture(scope="module")
def browser(film: Film) -> Iterator[Any]:
    if not CHROMIUM:
        pytest.skip("needs Chromium: apt-get install chromium")
    flags = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={film.path}",
    ]
    with (
        playwright.sync_playwright() as tools,
        tools.chromium.launch(executable_path=CHROMIUM, args=flags) as browser,
    ):
        yield browser


@pytest.fixture(params=list(SIZES))
def size(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def page(size: str, browser: Any, server: tuple[str, Path]) -> Iterator[Any]:
    """The page on a desktop in light colours, and on a phone in dark colours.

    After the test, this checks that the page requested data only from its own server, and that it
    reported no error.
    """
    address, _ = server
    width, height = SIZES[size]
    asked: list[str] = []
    errors: list[str] = []
    with browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if size == "phone" else "light",
        permissions=["camera"],
    ) as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        open_page(page, address)
        yield page
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {urlsplit(address).netloc}
    assert not errors


def open_page(page: Any, address: str) -> None:
    page.set_default_timeout(60_000)
    page.goto(address)
    expect(page.get_by_role("heading", name="HAL-Net")).to_be_visible()


def choose_mode(page: Any, mode: str) -> None:
    page.get_by_test_id("stRadio").first.get_by_text(mode, exact=True).click()


def choose_source(page: Any, source: str) -> None:
    page.get_by_test_id("stRadio").nth(1).get_by_text(source, exact=True).click()


def upload(page: Any, label: str, files: Any) -> None:
    """Upload files through the uploader with this label.

    While the mode changes, the page has the uploaders of both modes for a moment.
    """
    region = page.get_by_role("region", name=label, exact=True)
    region.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(files)


def age(page: Any) -> Any:
    return page.get_by_test_id("stMetricValue").first


def check_layout(page: Any, name: str, size: str) -> None:
    """Check that nothing is wider than the window, and save a screenshot of the whole page."""
    app, main = page.get_by_test_id("stApp"), page.get_by_test_id("stMain")
    expect(app).to_have_attribute("data-test-script-state", "notRunning")
    page.wait_for_function(
        "element => element.scrollWidth <= element.clientWidth", arg=main.element_handle()
    )
    if folder := os.environ.get("HALNET_SCREENSHOTS"):
        width, height = SIZES[size]
        height = max(height, main.evaluate("element => element.scrollHeight"))
        page.set_viewport_size({"width": width, "height": height})
        path = Path(folder, f"{name}-{size}.png")
        page.screenshot(path=path, animations="disabled")
        page.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))


def test_a_photo_and_a_snapshot(page: Any, size: str, film: Film, portrait_face: Face) -> None:
    upload(page, "Photo", PORTRAIT)
    expect(age(page)).to_have_text(f"{portrait_face.age:.1f}")
    expect(page.get_by_text("Input of the model")).to_be_visible()
    expect(page.locator("canvas, svg.marks").first).to_be_visible()
    check_layout(page, "photo", size)
    choose_source(page, "Camera")
    expect(age(page)).to_have_count(0)
    # The button does nothing until the camera shows a picture.
    page.wait_for_function(
        "document.querySelector('[data-testid=stCameraInput] video')?.currentTime > 0.5"
    )
    page.get_by_role("button", name="Take Photo").click()
    expect(age(page)).to_be_visible()
    assert float(age(page).inner_text()) == pytest.approx(film.faces[0].age, abs=3)
    check_layout(page, "snapshot", size)


def test_the_keyboard_reaches_everything(page: Any, size: str) -> None:
    expect(page.get_by_role("region", name="Photo", exact=True)).to_be_visible()
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    reached = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "[document.activeElement.type, document.activeElement.getAttribute('aria-label'), "
                "document.activeElement.innerText.split(/\\s/).pop()].filter(Boolean).join(' ')"
            )
        )
    sidebar = {"text Runtime", "range Interval coverage, %"} if size == "desktop" else set()
    assert reached >= {"radio", "submit Upload", *sidebar}
    page.get_by_role("radio", name="Photo").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("region", name="Photos", exact=True)).to_be_visible()


def test_a_batch_with_a_damaged_file(page: Any, size: str, tmp_path: Path) -> None:
    choose_mode(page, "Batch")
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(PORTRAIT.read_bytes()[:9000])
    second = tmp_path / "second.jpg"
    second.write_bytes(PORTRAIT.read_bytes())
    upload(page, "Photos", [PORTRAIT, damaged, second])
    expect(page.get_by_text("3 photos, 2 faces, 1 photo without a result.")).to_be_visible()
    check_layout(page, "batch", size)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    path = tmp_path / "ages.csv"
    download.value.save_as(path)
    assert download.value.suggested_filename == "ages.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["photo"] for row in rows] == ["portrait.jpg", "damaged.jpg", "second.jpg"]
    assert rows[0]["age"] == rows[2]["age"]
    assert rows[1]["error"] == "damaged.jpg: the image data is damaged or cut off"


def contrast(page: Any, element: Any) -> float:
    """Return the contrast of the colour of an element with the page, 1 to 21 [WCAG 2.2]."""
    colours = [
        element.evaluate("element => getComputedStyle(element).color"),
        page.get_by_test_id("stApp").evaluate("e => getComputedStyle(e).backgroundColor"),
    ]
    lights = []
    for colour in colours:
        channels = np.array([float(part) for part in re.findall(r"[\d.]+", colour)[:3]]) / 255
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        lights.append(float(linear @ (0.2126, 0.7152, 0.0722)))
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_a_check_with_its_audit_record(
    page: Any, size: str, tmp_path: Path, portrait_face: Face
) -> None:
    """Take one photo through all three outcomes and an error, in light and in dark colours."""
    choose_mode(page, "Check")
    upload(page, "Photo to check", PORTRAIT)
    expect_outcome(page, "Pass", "check_circle icon")
    expect(age(page)).to_have_text(f"{portrait_face.age:.2f}")
    expect(page.get_by_text("No liveness check ran.")).to_be_visible()
    check_layout(page, "check-pass", size)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download audit record").click()
    path = tmp_path / "record.json"
    download.value.save_as(path)
    assert download.value.suggested_filename == "age-check.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    assert (record["outcome"], record["policy"]["challenge"]) == ("pass", 25)
    assert record["age"] == pytest.approx(portrait_face.age, abs=0.006)
    ask(page, "Challenge age, years", "99")
    expect_outcome(page, "Refer", "badge icon")
    check_layout(page, "check-refer", size)
    page.get_by_text("Largest risk", exact=True).click()
    ask(page, "Largest risk that a minor passes, %", "0.01")
    expect(page.get_by_role("alert")).to_contain_text("cannot vouch for a risk of 0.01%")
    expect(page.get_by_role("heading", level=1)).to_have_count(0)
    check_layout(page, "check-error", size)
    page.get_by_text("Challenge age", exact=True).click()
    expect_outcome(page, "Pass", "check_circle icon")
    check_layout(page, "check-again", size)
    gray = tmp_path / "gray.png"
    gray.write_bytes(encode_image(np.full((200, 300, 3), 128, np.uint8), ".png"))
    upload(page, "Photo to check", gray)
    expect_outcome(page, "No result", "help icon")
    expect(page.get_by_text("No face was found.")).to_be_visible()
    expect(age(page)).to_have_count(0)
    check_layout(page, "check-no-result", size)


def ask(page: Any, label: str, number: str) -> None:
    box = page.get_by_role("spinbutton", name=label)
    box.fill(number)
    box.press("Enter")


def expect_outcome(page: Any, word: str, icon: str) -> None:
    """Expect an outcome that is large, has an icon, and can be read without seeing its colour."""
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_accessible_name(f"{icon} {word}")
    assert heading.evaluate("element => parseFloat(getComputedStyle(element).fontSize)") >= 36
    assert contrast(page, heading) >= 7
    assert contrast(page, heading.get_by_role("img")) >= 3


def frames(video: Any) -> Iterator[Image]:
    """Yield the frames that a video in the browser shows, as H x W x 3 uint8 RGB."""
    while True:
        yield load_image(base64.b64decode(video.evaluate(NEXT_FRAME).partition(",")[2]))


def most_similar(frame: Image, pictures: Mapping[str, Image]) -> str | None:
    """Return the name of the picture that is most similar to a frame; None for another size."""
    distances = {
        name: np.abs(frame.astype(float) - picture).mean()
        for name, picture in pictures.items()
        if picture.shape == frame.shape
    }
    return min(distances, key=distances.__getitem__, default=None)


def expect_ages(video: Any, film: Film, runtime: str) -> None:
    """Wait for a frame with the box, its age and the note of this runtime."""
    ages = draw_faces(film.picture, film.faces, LEVEL)
    pictures = {"camera": film.picture, "ages": ages}
    for name in ("onnxruntime", "openvino"):
        note = f"15 frames/s, {name}"
        pictures |= {f"note {name}": draw_note(film.picture, note), name: draw_note(ages, note)}
    shown: Counter[str | None] = Counter()
    for frame in islice(frames(video), 300):
        shown[most_similar(frame, pictures)] += 1
        if runtime in shown:
            return
    raise AssertionError(f"no frame shows the ages of {runtime}; the frames show {shown}")


def test_live_video(page: Any, size: str, film: Film) -> None:
    try:
        watch_video(page, size, film)
    except playwright.Error as error:
        # On a busy machine, WebRTC seldom loses the picture for good. A user loads the page again.
        if "no frame came" not in str(error):
            raise
        open_page(page, page.url)
        watch_video(page, size, film)


def watch_video(page: Any, size: str, film: Film) -> None:
    """Start the live video, wait for the ages of one runtime and of another one, and stop it."""
    choose_mode(page, "Live video")
    hint = page.get_by_text(START_HINT)
    expect(hint).to_be_visible()
    frame = page.frame_locator("iframe").first
    frame.get_by_role("button", name="Start").click()
    video = frame.locator("video")
    expect_ages(video, film, "onnxruntime")
    expect(hint).to_have_count(0)
    check_layout(page, "live", size)
    if size == "desktop":  # the sidebar is closed on a phone
        page.get_by_test_id("stSelectbox").first.click()
        page.get_by_role("option", name="openvino").click()
        expect_ages(video, film, "openvino")
    frame.get_by_role("button", name="Stop").click()
    expect(hint).to_be_visible()


def test_a_browser_that_is_closed_in_the_middle_of_a_batch(
    browser: Any, server: tuple[str, Path], tmp_path: Path, portrait_face: Face
) -> None:
    address, _ = server
    photos = [tmp_path / f"{index}.jpg" for index in range(200)]
    for photo in photos:
        photo.write_bytes(PORTRAIT.read_bytes())
    with browser.new_page() as page:
        open_page(page, address)
        choose_mode(page, "Batch")
        upload(page, "Photos", photos)
        expect(page.get_by_text("of 200 photos")).to_be_visible()
    with browser.new_page() as page:
        open_page(page, address)
        upload(page, "Photo", PORTRAIT)
        expect(age(page)).to_have_text(f"{portrait_face.age:.1f}")


def test_a_browser_without_a_camera(
    browser: Any, server: tuple[str, Path], portrait_face: Face
) -> None:
    address, _ = server
    launch = browser.browser_type.launch
    with launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as other:
        page = other.new_page()
        open_page(page, address)
        choose_mode(page, "Live video")
        frame = page.frame_locator("iframe").first
        frame.get_by_role("button", name="Start").click()
        expect(frame.get_by_text("Requested device not found")).to_be_visible()
        expect(page.get_by_text(START_HINT)).to_be_visible()
        choose_mode(page, "Photo")
        choose_source(page, "Camera")
        expect(page.get_by_test_id("stCameraInput").get_by_text("your camera")).to_be_visible()
        choose_source(page, "Upload")
        upload(page, "Photo", PORTRAIT)
        expect(age(page)).to_have_text(f"{portrait_face.age:.1f}")


def test_runtimes_side_by_side(page: Any, size: str) -> None:
    choose_mode(page, "Compare")
    upload(page, "Photo to compare", PORTRAIT)
    text = page.get_by_text("The lowest and the highest age differ by 0.000 years")
    expect(text).to_be_visible()
    check_layout(page, "compare", size)


def test_the_server_reached_no_other_machine(server: tuple[str, Path]) -> None:
    """This test is the last one, so that the server has done all of the above."""
    _, spied = server
    lines = set(spied.read_text().splitlines())
    assert "socket.getaddrinfo localhost" in lines, "the audit hook is not installed"
    hosts = {line.split(" ", 1)[1] for line in lines}
    assert [host for host in hosts if not is_this_machine(host)] == []


def is_this_machine(host: str) -> bool:
    """Return whether an address belongs to this machine, because a socket can be bound to it."""
    if host in ("None", "localhost", "") or host.startswith("/"):
        return True
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except (OSError, ValueError):
        return False
    return True
