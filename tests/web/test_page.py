"""The page in Chromium: what it shows, what it says of bad input, and that it sends nothing.

If HALNET_SCREENSHOTS names a folder, screenshots are saved there.
"""

import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import onnx
import pytest

from halnet.artifact import bundled, sha256_file
from halnet.benchmarks.studies.page_server import serving
from halnet.photos.images import encode_image, load_image
from halnet.predictor import Predictor
from halnet.results import Face

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=60_000)

PORTRAIT = bundled("portrait.jpg")
PROGRAM = "ort-wasm-simd-threaded"  # of onnxruntime-web
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def predictor(yunet: Path) -> Iterator[Predictor]:
    with Predictor(detector=yunet) as predictor:
        yield predictor


@pytest.fixture(scope="module")
def portrait_face(predictor: Predictor) -> Face:
    (face,) = predictor(PORTRAIT)
    return face


def open_page(page: Any, address: str) -> None:
    page.set_default_timeout(60_000)
    page.goto(address)
    expect(page.locator("#file")).to_be_enabled()


def save_screenshot(page: Any, name: str) -> None:
    """Save a picture of the whole page if HALNET_SCREENSHOTS names a folder."""
    if folder := os.environ.get("HALNET_SCREENSHOTS"):
        page.screenshot(path=Path(folder, f"{name}.png"), full_page=True, animations="disabled")


def choose(page: Any, photo: Any) -> None:
    page.set_input_files("#file", photo)


def problem(page: Any) -> Any:
    return page.get_by_role("alert")


def file(name: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


@pytest.fixture(params=list(SIZES))
def size(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def page(browser: Any, site: Any, size: str) -> Iterator[Any]:
    """The page on a desktop in light colours, and on a phone in dark colours.

    After the test, this checks that the page requested data only from its own server, that nothing
    was wider than the window, and that no fault was reported.
    """
    width, height = SIZES[size]
    asked: list[str] = []
    faults: list[str] = []
    with browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if size == "phone" else "light",
        permissions=["camera"],
    ) as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text))
        open_page(page, f"{site.address}/halnet_web/")
        yield page
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    addresses = [url for url in asked if not url.startswith(("data:", "blob:"))]
    assert {urlsplit(url).netloc for url in addresses} == {urlsplit(site.address).netloc}
    assert any(url.endswith("/halnet.onnx") for url in addresses), "requests are recorded"
    assert not faults


def expect_face(page: Any, face: Face) -> None:
    """Expect the numbers of one face, as Python states them."""
    item = page.get_by_role("list", name="Faces").get_by_role("listitem")
    expect(item).to_have_count(1)
    expect(item.locator("strong")).to_contain_text("years")
    numbers = [float(number) for number in re.findall(r"\d+\.\d", item.inner_text())]
    low, high = face.interval(0.9)
    adult = 100 * face.probability(at_least=18)
    assert numbers == pytest.approx([face.age, low, high, adult], abs=0.3)


def test_a_photo_and_its_face(page: Any, size: str, portrait_face: Face) -> None:
    expect(page.get_by_text("Drop a photo here")).to_be_visible()
    save_screenshot(page, f"web-start-{size}")
    choose(page, PORTRAIT)
    expect(page.get_by_role("status")).to_have_text(re.compile(r"^1 face in \d+ ms$"))
    expect_face(page, portrait_face)
    shown, box = (page.locator(name).bounding_box() for name in ("#photo", ".box"))
    scale = shown["width"] / 512
    x, y, width, height = portrait_face.box
    found = [box["x"] - shown["x"], box["y"] - shown["y"], box["width"], box["height"]]
    assert found == pytest.approx([scale * side for side in (x, y, width, height)], abs=1)
    expect(page.get_by_text("research only, non-commercial")).to_be_visible()
    save_screenshot(page, f"web-photo-{size}")


def test_a_photo_that_is_dropped(page: Any, size: str, portrait_face: Face) -> None:
    data = list(PORTRAIT.read_bytes())
    page.evaluate(
        """(bytes) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([Uint8Array.from(bytes)], "photo.jpg"));
            dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
        }""",
        data,
    )
    expect(page.get_by_role("status")).to_contain_text("1 face in")
    expect_face(page, portrait_face)


def test_the_camera(page: Any, size: str, film: Any, predictor: Predictor) -> None:
    (face,) = predictor(film.picture)
    page.get_by_role("button", name="Use the camera").click()
    status = page.get_by_role("status")
    expect(status).to_contain_text("1 face in")
    age = page.locator("#faces strong")
    assert float(age.inner_text().split()[0]) == pytest.approx(face.age, abs=3)
    before = page.evaluate("document.getElementById('video').currentTime")
    page.wait_for_function(
        "(t) => document.getElementById('video').currentTime > t + 1", arg=before
    )
    save_screenshot(page, f"web-camera-{size}")
    page.get_by_role("button", name="Stop the camera").click()
    expect(status).to_have_text("Ready")
    expect(age).to_have_count(0)
    assert page.evaluate("document.getElementById('video').srcObject") is None
    choose(page, PORTRAIT)
    expect(status).to_contain_text("1 face in")


def zeros_png(side: int) -> bytes:
    """Return a black PNG file with a bit for each pixel, so that it is small."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return b"%b%b%b%b" % (
            len(data).to_bytes(4, "big"), kind, data, zlib.crc32(kind + data).to_bytes(4, "big"),
        )  # fmt: skip

    head = side.to_bytes(4, "big") * 2 + bytes((1, 0, 0, 0, 0))
    rows = zlib.compress(bytes(((side + 7) // 8 + 1) * side))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


GRAY = encode_image(np.full((200, 300, 3), 128, np.uint8), ".png")
NOT_A_PHOTO = "Expected a JPEG, PNG or WebP photo, found a file that is damaged, cut off or somet"
BAD_FILES = {
    "cut.jpg": (PORTRAIT.read_bytes()[:40_000], NOT_A_PHOTO),
    "start.jpg": (PORTRAIT.read_bytes()[:300], NOT_A_PHOTO),
    "empty.jpg": (b"", NOT_A_PHOTO),
    "text.png": (b"hello", NOT_A_PHOTO),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", NOT_A_PHOTO),
    "a.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "cannot open HEIC photos; save"),
    "huge.png": (zeros_png(10_100), "Expected a photo of at most 100 megapixels, found 102; make"),
}


@pytest.mark.parametrize("size", ["phone"], indirect=True)
def test_bad_files_are_named_and_the_page_goes_on(page: Any, portrait_face: Face) -> None:
    for name, (data, message) in BAD_FILES.items():
        choose(page, file(name, data))
        expect(problem(page)).to_contain_text(message)
        expect(page.locator("#faces li")).to_have_count(0)
    save_screenshot(page, "web-problem-phone")
    choose(page, file("gray.png", GRAY))
    expect(page.get_by_role("status")).to_contain_text("No face was found in")
    expect(problem(page)).to_have_count(0)
    expect(page.locator("#photo")).to_be_visible()
    choose(page, PORTRAIT)
    expect(page.get_by_role("status")).to_contain_text("1 face in")
    expect_face(page, portrait_face)


@pytest.mark.parametrize("size", ["phone"], indirect=True)
def test_a_photo_of_50_megapixels(page: Any, predictor: Predictor) -> None:
    """It is decoded smaller, and the box is in pixels of the whole photo."""
    portrait = load_image(PORTRAIT)
    photo = np.zeros((7100, 7100, 3), np.uint8)
    photo[:4096, :4096] = cv2.resize(portrait, (4096, 4096), interpolation=cv2.INTER_CUBIC)
    choose(page, file("large.jpg", encode_image(photo, ".jpg")))
    expect(page.get_by_role("status")).to_contain_text("1 face in")
    box = [
        float(page.locator(".box").evaluate(f"(box) => parseFloat(box.style.{side})")) * 71
        for side in ("left", "top", "width", "height")
    ]
    (face,) = predictor(photo)
    assert box == pytest.approx(face.box, abs=0.01 * face.box[2])
    age = page.locator("#faces strong")
    assert float(age.inner_text().split()[0]) == pytest.approx(face.age, abs=1)
    choose(page, PORTRAIT)
    expect(age).to_contain_text(f"{predictor(PORTRAIT)[0].age:.1f}")


def with_model(web_folder: Path, data: bytes) -> dict[str, bytes | None]:
    """Return the files of a page with another model, which its list of files states."""
    contents = json.loads((web_folder / "halnet.json").read_text())
    contents["files"]["halnet.onnx"]["sha256"] = hashlib.sha256(data).hexdigest()
    return {"halnet.onnx": data, "halnet.json": json.dumps(contents).encode()}


def changed_model(web_folder: Path, **texts: str) -> dict[str, bytes | None]:
    """Return the files of a page whose model has other texts in its metadata."""
    model = onnx.load(web_folder / "halnet.onnx")
    for entry in model.metadata_props:
        entry.value = texts.get(entry.key.removeprefix("halnet."), entry.value)
    return with_model(web_folder, model.SerializeToString())


def bad_pages(folder: Path) -> dict[str, tuple[dict[str, bytes | None], str]]:
    """Return the files that make each page wrong, and what it says."""
    model = (folder / "halnet.onnx").read_bytes()
    stated = sha256_file(folder / "halnet.onnx")[:12]
    yunet = (folder / "yunet.onnx").read_bytes()
    missing = "the server has no such file (404); copy the whole folder"
    return {
        "other_input": (
            changed_model(folder, input_fingerprint="0123456789abcdef"),
            "expected a model with the input fingerprint a3eb3c5b8787235a or 60964a9c2dd01642, "
            "found 0123456789abcdef: it needs other crops",
        ),
        "other_crops": (
            changed_model(folder, input='{"size": 112}'),
            "expected a model with the input fingerprint",
        ),
        "other_format": (
            changed_model(folder, format_version="3"),
            "metadata of format 2, found 3",
        ),
        "no_calibration": (changed_model(folder, calibration="{}"), "calibration is missing"),
        "no_model": (with_model(folder, yunet), "expected a HAL-Net model, found no halnet"),
        "cut_model": (with_model(folder, model[:-9]), "expected an ONNX file, found another"),
        "other_hash": (
            {"halnet.onnx": model[:-1] + bytes([model[-1] ^ 1])},
            f"halnet.onnx: expected the SHA-256 {stated}..., found ",
        ),
        "other_yunet": ({"yunet.onnx": yunet[:-1]}, "yunet.onnx: expected the SHA-256 "),
        "missing": ({"yunet.onnx": None}, "yunet.onnx: the server has no such file (404); copy"),
        "bad_list": ({"halnet.json": b"{"}, "halnet.json: the file is damaged; copy"),
        "no_page": ({"page.js": None}, f"page.js: {missing}"),
        "no_module": ({"yunet.js": None}, f"yunet.js: {missing}"),
        "cut_module": ({"yunet.js": b"function"}, "yunet.js: cannot be run (Uncaught SyntaxError"),
        "old_module": ({"yunet.js": b""}, "does not provide an export named"),
        "no_runtime": ({"ort.wasm.min.mjs": None}, f"ort.wasm.min.mjs: {missing}"),
        "no_loader": ({f"{PROGRAM}.mjs": None}, f"{PROGRAM}.mjs: {missing}"),
        "no_program": ({f"{PROGRAM}.wasm": None}, f"{PROGRAM}.wasm: {missing}"),
        "cut_program": ({f"{PROGRAM}.wasm": b"\0asm"}, f"{PROGRAM}.wasm: expected the SHA-256 "),
    }


def test_a_page_whose_files_do_not_fit_is_refused(
    browser: Any, web_folder: Path, changed_page: Callable[..., str]
) -> None:
    for name, (files, message) in bad_pages(web_folder).items():
        with browser.new_page() as page:
            page.goto(changed_page(name, files))
            expect(problem(page)).to_contain_text(message)
            expect(problem(page)).to_have_text(re.compile(r"[^.]\.$"))
            expect(page.get_by_text("Loading the model")).to_have_count(0)
            expect(page.locator("#file")).to_be_disabled()
            expect(page.locator("#camera")).to_be_disabled()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("yunet.js", "yunet.js: expected a file that the server sends as text/javascript, found t"),
        ("ort.wasm.min.mjs", "let the server send .mjs files as text/javascr"),
    ],
)
def test_a_server_that_sends_modules_as_text(
    browser: Any, site: Any, web_folder: Path, name: str, message: str
) -> None:
    with browser.new_page() as page:
        sent = {"content_type": "text/plain", "path": web_folder / name}
        page.route(f"**/{name}", lambda route: route.fulfill(**sent))
        page.goto(f"{site.address}/halnet_web/")
        expect(problem(page)).to_contain_text(message)


def test_what_onnxruntime_web_says_ends_with_one_full_stop(browser: Any, site: Any) -> None:
    code = "export const env = { wasm: {} }, InferenceSession = { create() { throw 'Too old.'; } };"
    sent = {"content_type": "text/javascript", "body": code}
    with browser.new_page() as page:
        page.route("**/ort.wasm.min.mjs", lambda route: route.fulfill(**sent), times=1)
        page.goto(f"{site.address}/halnet_web/")
        expect(problem(page)).to_have_text(
            "Onnxruntime-web cannot load the model with wasm: Too old."
        )


@pytest.mark.parametrize("threads", ["abc", "", "1.5"])
def test_threads_that_are_no_number(browser: Any, site: Any, threads: str) -> None:
    with browser.new_page() as page:
        page.goto(f"{site.address}/halnet_web/?threads={threads}")
        expect(problem(page)).to_contain_text(f'as many as there are cores, found "{threads}".')


def test_webgpu_names_the_files_that_it_needs(browser: Any, site: Any) -> None:
    with browser.new_page() as page:
        page.add_init_script("Object.defineProperty(navigator, 'gpu', { value: {} })")
        page.goto(f"{site.address}/halnet_web/?provider=webgpu")
        expect(problem(page)).to_contain_text(
            "copy ort.webgpu.min.mjs, ort-wasm-simd-threaded.asyncify.mjs and "
            "ort-wasm-simd-threaded.asyncify.wasm from the npm package onnxruntime-web"
        )


def test_a_camera_that_is_refused(browser: Any, site: Any, portrait_face: Face) -> None:
    with browser.new_context(permissions=[]) as context:
        page = context.new_page()
        open_page(page, f"{site.address}/halnet_web/")
        page.get_by_role("button", name="Use the camera").click()
        expect(problem(page)).to_contain_text("The camera was refused; allow it beside the address")
        choose(page, PORTRAIT)
        expect(page.get_by_role("status")).to_contain_text("1 face in")
        expect_face(page, portrait_face)


def test_without_a_camera(launch: Callable[..., Any], site: Any) -> None:
    with launch() as other, other.new_context(permissions=["camera"]) as context:
        page = context.new_page()
        open_page(page, f"{site.address}/halnet_web/")
        page.get_by_role("button", name="Use the camera").click()
        expect(problem(page)).to_contain_text("No camera was found; connect one, or choose a photo")


def test_a_page_that_may_not_have_a_camera(browser: Any, site: Any) -> None:
    with browser.new_page() as page:
        page.add_init_script(
            "Object.defineProperty(navigator, 'mediaDevices', { value: undefined })"
        )
        open_page(page, f"{site.address}/halnet_web/")
        page.get_by_role("button", name="Use the camera").click()
        expect(problem(page)).to_contain_text("only to pages on https or localhost")


def test_a_browser_without_simd(launch: Callable[..., Any], site: Any) -> None:
    with launch("--js-flags=--no-enable-sse4-1") as other, other.new_page() as page:
        page.goto(f"{site.address}/halnet_web/")
        expect(problem(page)).to_contain_text("This browser has no WebAssembly with SIMD")
        expect(page.locator("#file")).to_be_disabled()


def test_a_page_that_was_opened_as_a_file(browser: Any, web_folder: Path) -> None:
    with browser.new_page() as page:
        page.goto(web_folder.joinpath("index.html").as_uri())
        expect(problem(page)).to_contain_text("This page was opened as a file, which browsers do n")
        expect(problem(page)).to_contain_text("python3 -m http.server")
        expect(page.get_by_text("Loading the model")).to_be_hidden()


def test_threads_on_an_isolated_page(browser: Any, web_folder: Path, portrait_face: Face) -> None:
    with serving(web_folder, isolated=True) as address, browser.new_page() as page:
        page.goto(f"{address}/?threads=1")
        if page.evaluate("navigator.hardwareConcurrency") < 2:
            pytest.skip("needs two cores")
        open_page(page, f"{address}/?threads=2")
        expect(page.get_by_text("WebAssembly, threads: 2")).to_be_visible()
        choose(page, PORTRAIT)
        expect(page.get_by_role("status")).to_contain_text("1 face in")
        expect_face(page, portrait_face)


def test_nothing_can_be_sent_to_another_server(browser: Any, site: Any) -> None:
    """The Content-Security-Policy of the page keeps even its own code from it."""
    other = site.address.replace("127.0.0.1", "localhost")
    with browser.new_page() as page:
        open_page(page, f"{site.address}/halnet_web/")
        for attempt in (
            "fetch(address, { method: 'POST', body: 'photo', mode: 'no-cors' })",
            "new Promise((done, fail) => Object.assign(new Image(),"
            " { onload: done, onerror: fail, src: address }))",
            "import(address)",
        ):
            code = f"(address) => {attempt}.then(() => 'sent', () => 'blocked')"
            assert page.evaluate(code, f"{other}/portrait.jpg") == "blocked"
        assert page.evaluate("fetch('halnet.json').then((answer) => answer.ok)")
