"""The addresses of the server: what they answer, as their OpenAPI document says."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from jsonschema import Draft202012Validator

from halnet import DetectedFace, Predictor, __version__
from halnet.artifact import bundled, sha256_file
from halnet.batches import PhotoResult
from halnet.benchmarks.samples import portrait
from halnet.photos.images import load_image
from halnet.runtimes.base import RuntimeOptions
from halnet.runtimes.fake import FakeRuntime
from tests.serving.client import PORTRAIT, Answer, form, send

WALL = cv2.imencode(".png", np.full((90, 90, 3), 128, np.uint8))[1].tobytes()
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def schemas(server: str) -> dict[str, Any]:
    """The OpenAPI document."""
    return send(server, "GET", "/openapi.json").json


@pytest.fixture
def fits(schemas: dict[str, Any]) -> Callable[[Answer, str, str], None]:
    """Checks an answer by the schema of its address, method and status."""

    def check(answer: Answer, path: str, method: str = "post") -> None:
        operation = schemas["paths"][path][method]
        content = operation["responses"][str(answer.status)]["content"]
        assert list(content) == [answer.headers["content-type"]]
        schema = {**content["application/json"]["schema"], "components": schemas["components"]}
        Draft202012Validator(schema).validate(answer.json)

    return check


def expected(name: str = "photo", at_least: tuple[int, ...] = (), level: float = 0.9) -> Any:
    """The result of the portrait as `halnet predict --json` prints it."""
    with Predictor(FakeRuntime(), detector=lambda photo: [portrait()[1]], quality=True) as own:
        return json.loads(json.dumps(PhotoResult(name, own(PORTRAIT)).to_dict(level, at_least)))


def test_the_bytes_of_a_photo_give_what_predict_prints(server: str, fits: Any) -> None:
    answer = send(server, "POST", "/predict?at_least=21&at_least=18&level=0.5", PORTRAIT)
    fits(answer, "/predict")
    assert answer.status == 200
    assert answer.json == expected(at_least=(18, 21), level=0.5)
    (face,) = answer.json["faces"]
    assert 0 < face["at_least"]["21"] <= face["at_least"]["18"] <= 1
    assert face["quality"]["eye_distance"] > 40


def test_a_photo_in_base64_gives_the_same(server: str) -> None:
    body = json.dumps({"photo": base64.b64encode(PORTRAIT).decode()})
    assert send(server, "POST", "/predict", body, JSON).json == expected()


def test_the_files_of_a_form_give_a_list_in_their_order(server: str, fits: Any) -> None:
    files = ("a.jpg", PORTRAIT), ("notes.txt", b"no photo"), ("wall.png", WALL)
    answer = send(server, "POST", "/predict", *form(*files))
    fits(answer, "/predict")
    first, second, third = answer.json
    assert first == expected("a.jpg")
    assert second["error"] == (
        "notes.txt: not a JPEG, PNG, WebP or BMP image, or its header is damaged"
    )
    assert second["faces"] == third["faces"] == []
    assert third["photo"] == "wall.png"


def test_a_check_gives_the_audit_record(server: str, fits: Any) -> None:
    answer = send(server, "POST", "/check?legal=16&challenge=99", PORTRAIT)
    fits(answer, "/check")
    assert answer.json["outcome"] == "refer"
    assert answer.json["policy"]["legal"] == 16
    assert answer.json["policy"]["challenge"] == 99
    assert answer.json["age"] == expected()["faces"][0]["age"]
    assert answer.json["model"]["name"] == "fake"


def test_a_check_takes_several_photos_of_one_person(server: str, fits: Any) -> None:
    files = form(("a.jpg", PORTRAIT), ("wall.png", WALL), ("b.jpg", PORTRAIT))
    answer = send(server, "POST", "/check", *files)
    fits(answer, "/check")
    assert answer.json["photos"] == 2
    assert answer.json["unused"] == {"no face": 1}
    nobody = send(server, "POST", "/check", WALL)
    fits(nobody, "/check")
    assert nobody.json["outcome"] == "no_result"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/predict?leve=0.5", "option leve: expected one of faces, level, at_least"),
        ("/predict?level=much", "option level: expected a number, found much"),
        ("/predict?level=nan", "option level: expected a number, found nan"),
        ("/predict?level=0.5&level=0.6", "option level: expected a number, once, found 0.5, 0.6"),
        ("/predict?level=0_0.9", "option level: expected a number, found 0_0.9"),
        ("/predict?level=1e-300", "interval level 1e-300: expected from 0.01 to 0.99"),
        ("/predict?level=0.999", "interval level 0.999: expected from 0.01 to 0.99"),
        (
            "/predict?at_least=18.5",
            "option at_least: expected an integer from 0 to 100, found 18.5",
        ),
        ("/predict?at_least=101", "at least 101: expected an age from 0 to 100 years"),
        ("/predict?faces=some", "option faces: expected all or largest, found some"),
        ("/check?legal=0", "legal age 0: expected 1 to 100 years"),
        ("/check?challenge=30&max_risk=0.1", "expected one of them, found both"),
        ("/check?max_risk=0.1", "risk"),
    ],
)
def test_wrong_options_are_one_clear_error(path: str, message: str, server: str, fits: Any) -> None:
    for photo in (PORTRAIT, WALL):
        answer = send(server, "POST", path, photo)
        fits(answer, path.partition("?")[0])
        assert answer.status == 400
        assert re.search(message, answer.error), answer.error


def test_only_the_largest_face_if_asked_for(serving: Callable[..., Any]) -> None:
    face = portrait()[1]
    x, y, width, height = face.box
    smaller = DetectedFace((x, y, width / 2, height / 2), face.landmarks, 0.5)
    with serving(detector=lambda photo: [smaller, face]) as (_, address):
        faces = send(address, "POST", "/predict", PORTRAIT).json["faces"]
        assert [found["score"] for found in faces] == [round(face.score, 4), 0.5]
        (largest,) = send(address, "POST", "/predict?faces=largest", PORTRAIT).json["faces"]
        assert largest == faces[0]


def test_info_states_the_model_that_was_loaded(
    serving: Callable[..., Any], crops: np.ndarray, tmp_path: Path
) -> None:
    model = tmp_path / "served.onnx"
    model.write_bytes(bundled("halnet.onnx").read_bytes())
    options = RuntimeOptions("onnxruntime", "cpu", 1)
    with serving(model=model, options=options) as (app, address):
        before = send(address, "GET", "/info").json
        assert before["model"]["file"] == "served.onnx"
        assert before["model"]["sha256"] == sha256_file(bundled("halnet.onnx"))
        assert before["halnet"] == __version__
        assert before["workers"] >= 1
        ages = app._service._predictor.predict_crops(crops).age
        model.write_bytes(b"another model")  # swapped, in its place
        model.unlink()
        assert send(address, "GET", "/info").json == before
        np.testing.assert_array_equal(app._service._predictor.predict_crops(crops).age, ages)


def test_the_addresses_that_take_no_body_answer_as_documented(
    server: str, schemas: dict[str, Any], fits: Any
) -> None:
    paths = [path for path, methods in schemas["paths"].items() if "get" in methods]
    assert len(paths) == 10
    for path in paths:
        address = path.replace("{name}", "halnet").replace("{version}", "1")
        answer = send(server, "GET", address)
        assert answer.status == 200, path
        if path != "/metrics":
            fits(answer, path, "get")


def test_a_server_that_is_about_to_end_says_so_as_documented(
    serving: Callable[..., Any], fits: Any
) -> None:
    with serving() as (app, address):
        app.is_draining = True
        for path in ("/health", "/v2/health/ready", "/v2/models/{name}/ready"):
            answer = send(address, "GET", path.replace("{name}", "halnet"))
            assert answer.status == 503
            fits(answer, path, "get")


def test_an_address_may_be_complete_but_is_never_another(server: str) -> None:
    """A client that takes the server for a proxy sends the complete address (RFC 9112, 3.2.2)."""
    for address in (server, "HTTP://[nonsense"):
        assert send(server, "GET", f"{address}/health").json == {"status": "ok"}
    answer = send(server, "POST", "/predict/", PORTRAIT, {"Host": "evil.example"})
    assert (answer.status, "location" in answer.headers) == (404, False)
    assert answer.error == "POST /predict/: Not Found; /docs lists the addresses"


def test_metrics_count_requests_faces_and_checks(serving: Callable[..., Any]) -> None:
    with serving() as (_, address):
        for photo in (PORTRAIT, PORTRAIT, WALL, b"no photo"):
            send(address, "POST", "/predict", photo)
        send(address, "POST", "/check", WALL)
        send(address, "GET", "/nowhere")
        text = send(address, "GET", "/metrics").body.decode()
    found = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    counted = {name: float(value) for name, value in found.items()}
    assert counted['halnet_requests_total{endpoint="predict",status="200"}'] == 3
    assert counted['halnet_requests_total{endpoint="predict",status="422"}'] == 1
    assert counted['halnet_requests_total{endpoint="none",status="404"}'] == 1
    assert counted['halnet_request_seconds_count{endpoint="predict"}'] == 3
    assert counted["halnet_faces_total"] == 2
    assert counted["halnet_photos_without_face_total"] == 1
    assert counted['halnet_checks_total{outcome="no_result"}'] == 1
    assert counted["halnet_batch_crops_sum"] == 2  # what was run at the start does not count
    assert counted["halnet_queue_requests"] == 0
    assert counted["process_resident_memory_bytes"] > 1e6


def test_the_page_needs_no_other_server_and_no_script(server: str) -> None:
    page = send(server, "GET", "/docs")
    text = page.body.decode()
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"https?://|<script|src=|@import|url\(", text)
    for name in ("POST /predict", "at_least", "max_risk", "POST /v2/models/{name}/infer"):
        assert name in text


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/nowhere", 404, "GET /nowhere: Not Found; /docs lists the addresses"),
        ("GET", "/predict", 405, "GET /predict: Method Not Allowed"),
        ("GET", "/v2/models/other", 404, "model: expected halnet, version 1, found other, ver"),
        ("GET", "/v2/models/halnet/versions/2", 404, "found halnet, version 2"),
        ("POST", "/v2/models/other/infer", 404, "model: expected halnet"),
    ],
)
def test_what_does_not_exist_is_one_clear_error(
    method: str, path: str, status: int, message: str, server: str
) -> None:
    answer = send(server, method, path)
    assert answer.status == status
    assert message in answer.error


def test_with_a_key_only_those_who_have_it_may_ask(serving: Callable[..., Any]) -> None:
    with serving(api_key="sesame") as (_, address):
        for path in ("/health", "/v2/health/ready", "/v2/health/live", "/docs", "/openapi.json"):
            assert send(address, "GET", path).status == 200
        for path in ("/info", "/metrics", "/v2", "/v2/models/halnet", "/nowhere"):
            assert send(address, "GET", path).status == 401
        assert (
            send(address, "GET", "/info", headers={"Authorization": "bearer sesame"}).status == 200
        )
        for key in ("Bearer sesam", "Bearer sesame2", "Basic sesame", "sesame", "Bearer "):
            answer = send(address, "POST", "/predict", PORTRAIT, {"Authorization": key})
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "sesame" not in answer.error
        allowed = {"Authorization": "Bearer sesame"}
        assert send(address, "POST", "/predict", PORTRAIT, allowed).json == expected()
        assert send(address, "GET", "/info", headers=allowed).status == 200


def test_an_error_of_the_program_is_not_shown_to_clients(
    serving: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(photo: np.ndarray) -> Any:
        raise ZeroDivisionError("a secret")

    with serving(detector=fail) as (_, address):
        answer = send(address, "POST", "/predict", PORTRAIT)
        assert answer.status == 500
        assert answer.error == "the server failed; its log states the reason"
        assert send(address, "GET", "/health").json == {"status": "ok"}


def test_the_portrait_is_what_the_tests_expect() -> None:
    assert load_image(PORTRAIT).shape == (512, 512, 3)
