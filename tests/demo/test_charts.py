"""The chart of an age distribution, and its description."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("streamlit")

from halnet.ages import AgeCalibration
from halnet.demo.charts import age_chart, describe
from halnet.results import Face


@pytest.fixture
def face() -> Face:
    """A face of 20 or 40 years with the same probability; its 80 % interval is 22 to 38 years."""
    probabilities = np.zeros(101, np.float32)
    probabilities[[20, 40]] = 0.5
    calibration = AgeCalibration(1.0, tuple(percent / 100 for percent in range(1, 100)))
    return Face(30.0, 10.0, probabilities, (0, 0, 9, 9), np.zeros((5, 2)), 0.9, calibration)


def test_the_chart_shows_probabilities_interval_and_age(face: Face) -> None:
    chart: dict[str, Any] = age_chart(face, 0.8).to_dict()
    band, area, line = (chart["datasets"][layer["data"]["name"]] for layer in chart["layer"])
    assert band == [{"low": pytest.approx(22), "high": pytest.approx(38)}]
    assert {row["age"]: row["probability"] for row in area if row["probability"]} == {
        20: 50,
        40: 50,
    }
    assert line == [{"age": 30}]


def test_the_description_states_what_the_chart_shows(face: Face) -> None:
    text = describe(face, 0.8)
    assert "the predicted age, 30 years" in text
    assert "The 80% interval is shaded: it goes from 22 to 38 years" in text
    assert "18 or older is 100%" in text
