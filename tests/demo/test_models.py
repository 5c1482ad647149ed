"""The models and runtimes that the page offers, and their open predictors."""

import os
from pathlib import Path

import pytest

pytest.importorskip("streamlit")

from halnet.demo.models import Choice, find_choices, open_predictor
from halnet.demo.server import DemoConfig
from halnet.runtimes.backends import bundled_model, bundled_runtimes, installed


def test_the_bundled_model_comes_first_on_every_installed_runtime(tmp_path: Path) -> None:
    model = tmp_path / "mine.fake"
    runtimes = installed(bundled_runtimes())
    assert find_choices([str(model)]) == [
        *(Choice("bundled", runtime, bundled_model(runtime)) for runtime in runtimes),
        Choice("mine.fake", "fake", model),
    ]


def test_a_folder_stands_for_the_models_in_it(tmp_path: Path) -> None:
    for name in ("b.fake", "a.fake", "manifest.json"):
        (tmp_path / name).touch()
    own = [choice for choice in find_choices([str(tmp_path)]) if choice.model != "bundled"]
    assert own == [Choice(name, "fake", tmp_path / name) for name in ("a.fake", "b.fake")]


def test_a_folder_that_is_a_model_is_one_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halnet.demo.models.installed", list)  # as if all runtimes were installed
    model = tmp_path / "halnet_openvino_model"
    model.mkdir()
    (model / "halnet.xml").touch()
    own = [choice for choice in find_choices([str(model)]) if choice.model != "bundled"]
    assert own == [Choice("halnet_openvino_model", "openvino", model)]


def test_the_page_compares_models_of_litert_with_others(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    for name in ("halnet.int8.tflite", "halnet.onnx", "halnet.tflite"):
        (tmp_path / name).touch()
    own = [choice for choice in find_choices([str(tmp_path)]) if choice.runtime == "litert"]
    names = ("halnet.int8.tflite", "halnet.tflite")
    assert own == [Choice(name, "litert", tmp_path / name) for name in names]


def test_a_model_is_loaded_again_only_after_its_file_changed(tmp_path: Path, yunet: Path) -> None:
    model = tmp_path / "mine.fake"
    model.touch()
    choice, config = Choice("mine.fake", "fake", model), DemoConfig((), str(yunet), threads=3)
    first = open_predictor(choice, config)
    assert first.spec.threads == 3
    assert open_predictor(choice, config) is first
    os.utime(model, (1, 1))
    assert open_predictor(choice, config) is not first
