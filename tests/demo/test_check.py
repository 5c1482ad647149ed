"""The mode "Check" of the page without a browser: policies, outcomes and errors."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("streamlit")

from streamlit.testing.v1 import AppTest

from halnet import AgeCheck, CheckOutcome, Predictor
from halnet.artifact import bundled
from halnet.demo.check import LOOKS, NOT_LIVE_TESTED
from halnet.demo.server import APP
from halnet.errors import DetectorError
from halnet.faces.photo_view import PhotoView
from halnet.photos.images import load_image
from halnet.results import Face
from halnet.runtimes.fake import FakeRuntime

pytestmark = pytest.mark.usefixtures("configure")
PORTRAIT = bundled("portrait.jpg").read_bytes()
# Of 200 minors who count, one passes at a challenge age of 25: 0.5 %. The bound is the p at which
# 0 or 1 of 200 have a probability of 5 %: (1 - p)^200 + 200 p (1 - p)^199 = 0.05 at p = 2.35 %.
# Even if none passes, it is 1 - 0.05^(1/200) = 1.487 %.
ERRORS = (*(((0.0,) * 20),) * 17, (*(0.0,) * 19, 8.5))


def encode(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def two_portraits() -> bytes:
    return encode(np.tile(load_image(PORTRAIT), (1, 2, 1)))


def no_face() -> bytes:
    return encode(np.full((200, 300, 3), 128, np.uint8))


def portrait_in_the_dark() -> bytes:
    return encode((load_image(PORTRAIT) * 0.07).astype(np.uint8))


def open_check() -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=60).run()
    return run(app.radio[0].set_value("Check"))


def run(widget: Any) -> AppTest:
    app: AppTest = widget.run()
    assert not app.exception
    return app


def upload(app: AppTest, data: bytes, name: str = "photo.png") -> AppTest:
    return run(app.file_uploader[0].upload(name, data))


def choose_legal(app: AppTest, legal: str) -> AppTest:
    return run(app.radio(key="check legal").set_value(legal))


def ask_challenge(app: AppTest, challenge: int) -> AppTest:
    (box,) = (box for box in app.number_input if box.label == "Challenge age, years")
    return run(box.set_value(challenge))


def ask_risk(app: AppTest, percent: float) -> AppTest:
    if app.radio(key="check way").value != "Largest risk":
        run(app.radio(key="check way").set_value("Largest risk"))
    return run(app.number_input(key="check risk").set_value(percent))


def texts(elements: Any) -> str:
    return "\n".join(str(element.value) for element in elements)


def outcome(app: AppTest) -> str:
    (title,) = app.title
    return str(title.value).split("] ")[-1]


@pytest.fixture
def fake_model(
    tmp_path: Path, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AppTest]:
    """Return a function that opens the mode with a fake model that has these errors of minors."""

    def open_fake(errors: tuple[tuple[float, ...], ...]) -> AppTest:
        class Runtime(FakeRuntime):
            def _open(self, model: Any, options: Any) -> None:
                super()._open(model, options)
                metadata = replace(self.spec.metadata, minor_errors=errors)
                self.spec = replace(self.spec, metadata=metadata)

        monkeypatch.setattr("halnet.runtimes.fake.FakeRuntime", Runtime)
        model = tmp_path / "mine.fake"
        model.touch()
        configure(models=[str(model)])
        app = open_check()
        (box,) = (box for box in app.selectbox if box.label == "Model")
        return run(box.set_value("mine.fake"))

    return open_fake


def test_who_reaches_the_challenge_age_passes(portrait_face: Face, yunet: Path) -> None:
    app = upload(choose_legal(open_check(), "13"), PORTRAIT)
    just = int(round(portrait_face.age, 2))
    above = just + 1
    ask_challenge(app, just)
    assert outcome(app) == "Pass"
    low, high = portrait_face.interval(0.9)
    likely = portrait_face.probability(at_least=13)
    percent = "above 99%" if likely > 0.99 else f"{100 * likely:.0f}%"
    metrics = [
        ("Age, years", f"{portrait_face.age:.2f}"),
        ("90% interval, years", f"{low:.1f} to {high:.1f}"),
        ("Probability of 13 or more", percent),
    ]
    assert [(metric.label, metric.value) for metric in app.metric] == metrics
    assert f"reaches the challenge age of {just}. The person looks old enough" in texts(
        app.markdown
    )
    ask_challenge(app, above)
    assert outcome(app) == "Refer"
    assert [(metric.label, metric.value) for metric in app.metric] == metrics
    with Predictor(detector=yunet) as predictor:
        reason = predictor.check(PORTRAIT, legal=13, challenge=above).reason
    assert reason in texts(app.markdown)
    assert "The person looks old enough" not in texts(app.markdown)
    assert NOT_LIVE_TESTED in texts(app.markdown)


def test_the_probability_is_that_of_the_legal_age(portrait_face: Face) -> None:
    app = upload(choose_legal(open_check(), "Other"), PORTRAIT)
    legal = round(portrait_face.age)
    run(app.number_input(key="check other").set_value(legal))
    expected = portrait_face.probability(at_least=legal)
    assert 0.2 < expected < 0.8
    assert app.metric[2].label == f"Probability of {legal} or more"
    assert app.metric[2].value == f"{100 * expected:.0f}%"


def test_the_sidebar_does_not_change_the_interval(portrait_face: Face) -> None:
    app = AppTest.from_file(str(APP), default_timeout=60).run()
    run(app.slider[0].set_value(50))
    run(app.radio[0].set_value("Check"))
    assert app.slider[0].disabled
    upload(app, PORTRAIT)
    low, high = portrait_face.interval(0.9)
    assert app.metric[1].label == "90% interval, years"
    assert app.metric[1].value == f"{low:.1f} to {high:.1f}"
    run(app.radio[0].set_value("Photo"))
    assert not app.slider[0].disabled
    assert app.slider[0].value == 50


def test_each_legal_age_starts_with_its_own_challenge_age() -> None:
    app = open_check()
    policies = {}
    for legal in ("13", "16", "18", "21"):
        choose_legal(app, legal)
        (box,) = app.number_input
        policies[legal] = (box.value, box.min, box.max)
        assert f"The legal age is **{legal} years**." in texts(app.markdown)
        assert f"The challenge age is **{box.value} years**." in texts(app.markdown)
    assert policies == {
        "13": (20, 13, 100),
        "16": (23, 16, 100),
        "18": (25, 18, 100),
        "21": (28, 21, 100),
    }
    choose_legal(app, "Other")
    other = app.number_input(key="check other")
    assert (other.min, other.max) == (1, 99)
    run(other.set_value(99))
    assert "The challenge age is **100 years**." in texts(app.markdown)
    upload(app, PORTRAIT)
    assert outcome(app) == "Refer"
    assert app.metric[2].value == "below 1%"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (no_face(), "No face was found."),
        (two_portraits(), "Several faces were found, and a check is of one person alone."),
        (portrait_in_the_dark(), "The face is too dark; turn it to the light."),
    ],
)
def test_photos_without_a_result(data: bytes, reason: str) -> None:
    app = upload(open_check(), data)
    assert outcome(app) == "No result"
    assert reason in texts(app.markdown)
    assert not app.metric
    assert not app.error
    assert len(app.download_button) == 1
    upload(app, PORTRAIT)
    assert outcome(app) in ("Pass", "Refer")
    assert reason not in texts(app.markdown)


def test_a_snapshot_of_the_camera(portrait_face: Face) -> None:
    app = open_check()
    run(app.radio(key="check source").set_value("Camera"))
    assert not app.title
    run(app.camera_input[0].upload("shot.jpg", PORTRAIT))
    assert app.metric[0].value == f"{portrait_face.age:.2f}"


def test_outcomes_differ_without_their_colours() -> None:
    assert set(LOOKS) == set(CheckOutcome)
    assert len({look.word for look in LOOKS.values()}) == len(CheckOutcome)
    assert len({look.icon for look in LOOKS.values()}) == len(CheckOutcome)


def test_the_measured_risk(fake_model: Callable[..., AppTest]) -> None:
    policy = texts(fake_model(ERRORS).markdown)
    assert "Of minors aged 8 to 17, **0.5%** pass." in policy
    assert "their share is at most **2.3%**." in policy
    assert "**200 calibration photos** of minors aged 8 to 17" in policy
    assert "as much as 200 photos" in policy
    assert "smallest challenge age" not in policy


def test_the_risk_chooses_the_challenge_age(fake_model: Callable[..., AppTest]) -> None:
    app = ask_risk(fake_model(ERRORS), 2.4)
    # 17 + 8.5 = 25.5 years: one of 200 passes up to a challenge age of 25, and none at 26. All who
    # have no error pass only at an age of their own.
    assert "The challenge age is **18 years**." in texts(app.markdown)
    assert "with a risk of at most **2.4%**, with 95% confidence" in texts(app.markdown)
    ask_risk(app, 2.3)
    assert "The challenge age is **26 years**." in texts(app.markdown)
    assert "Of minors aged 8 to 17, **0.0%** pass." in texts(app.markdown)
    assert "their share is at most **1.5%**." in texts(app.markdown)


def test_a_risk_that_the_photos_cannot_vouch_for(fake_model: Callable[..., AppTest]) -> None:
    app = upload(fake_model(ERRORS), PORTRAIT)
    ask_risk(app, 1.48)
    (error,) = app.error
    assert error.value == (
        "The model cannot vouch for a risk of 1.48%. With its 200 calibration photos of people "
        "aged 8 to 17, it can vouch for 1.49% at best. Ask for this risk or a larger one, or "
        "choose a challenge age."
    )
    assert not app.title
    assert "The challenge age is" not in texts(app.markdown)
    ask_risk(app, 1.49)  # what the error names is accepted, and the photo is still there
    assert not app.error
    assert "The challenge age is **26 years**." in texts(app.markdown)
    assert outcome(app) == "Pass"
    assert "reaches the challenge age of 26." in texts(app.markdown)


def test_a_risk_with_a_legal_age_of_which_no_errors_are_known() -> None:
    app = choose_legal(open_check(), "21")
    policy = texts(app.markdown)
    assert "How often a minor passes is **not known**. Model files state the errors" in policy
    ask_risk(app, 5.0)
    (error,) = app.error
    assert "legal age 21: expected 9 to 18 years for a risk" in error.value


def test_a_model_without_the_errors_of_minors(fake_model: Callable[..., AppTest]) -> None:
    app = upload(fake_model(()), PORTRAIT)
    assert outcome(app) == "Pass"
    assert "not known**. It can be measured only with calibration photos" in texts(app.markdown)
    ask_risk(app, 5.0)
    (error,) = app.error
    assert "the model file states no errors of minors" in error.value
    assert not app.title


def test_an_error_during_the_check_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Predictor, photo: PhotoView, **policy: Any) -> AgeCheck:
        raise DetectorError("the detector is broken")

    monkeypatch.setattr(Predictor, "check", fail)
    app = upload(open_check(), PORTRAIT)
    assert [error.value for error in app.error] == ["the detector is broken"]
    assert not app.title
    assert not app.download_button


def test_the_audit_record(monkeypatch: pytest.MonkeyPatch, portrait_face: Face) -> None:
    offered: list[tuple[Any, ...]] = []

    def button(label: str, *values: Any, **options: Any) -> None:
        offered.append((label, *values))

    monkeypatch.setattr("streamlit.download_button", button)
    app = ask_challenge(upload(open_check(), PORTRAIT), 19)
    label, text, name, kind = offered[-1]
    assert (label, name, kind) == ("Download audit record", "age-check.json", "application/json")
    record = json.loads(text)
    assert record["outcome"] == "pass"
    assert record["age"] == float(app.metric[0].value)
    assert record["liveness"] == "not run"
    assert record["policy"]["legal"] == 18
    assert record["policy"]["challenge"] == 19
    assert len(text) < 4000  # too little for a picture
    upload(app, two_portraits())
    assert json.loads(offered[-1][1])["outcome"] == "no_result"
