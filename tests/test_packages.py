import os
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from halnet import packages
from halnet.errors import RuntimeUnavailableError
from halnet.packages import (
    check_opencv,
    has_file,
    import_library,
    installed_version,
    is_installed,
    needs,
)


def known_to_pip(monkeypatch: pytest.MonkeyPatch, **names: list[str]) -> None:
    """Let these be all packages that pip knows, by the module that they contain."""
    monkeypatch.setattr(packages, "_packages", lambda: names)


def test_the_version_is_that_of_the_package_that_contains_the_module() -> None:
    assert installed_version("no_such_module") is None
    assert installed_version("numpy") == version("numpy")
    assert installed_version("cv2") == version("opencv-python-headless")


@pytest.mark.parametrize("names", [{}, {"numpy": ["one", "another"]}])
def test_a_module_states_its_version_if_no_package_does(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    known_to_pip(monkeypatch, **names)  # a frozen application has no packages
    assert installed_version("numpy") == np.__version__
    assert installed_version("this") == "unknown"


def test_a_folder_that_an_uninstallation_left_behind_is_no_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "left" / "__pycache__").mkdir(parents=True)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert not is_installed("left")
    assert is_installed("there")
    assert "there" not in sys.modules
    assert has_file("there", "__init__.py")
    assert not has_file("there", "capi/a.so")
    assert not has_file("no_such_module", "__init__.py")


def opencv(number: str | None, **parts: object) -> ModuleType:
    """A module `cv2` with these parts. `number` is its version."""
    module = ModuleType("cv2")
    module.__path__ = ["site-packages/cv2"]
    if number:
        module.__version__ = number
    vars(module).update(parts)
    return module


WHOLE = {
    "dnn": SimpleNamespace(readNetFromONNX=1),
    "IMREAD_COLOR_RGB": 1,
    "utils": SimpleNamespace(logging=1),
}
CURE = (
    "pip uninstall opencv-python opencv-python-headless, then pip install 'opencv-python-headless"
)


@pytest.mark.parametrize(
    ("module", "found"),
    [
        (
            opencv("4.12.0", **{**WHOLE, "utils": SimpleNamespace()}),
            "cv2 4.12.0 in site-packages/cv2, which has no cv2.utils.logging",
        ),
        (opencv("4.12.0", **WHOLE), "cv2 4.12.0 in site-packages/cv2"),
        (
            opencv("5.1.0", IMREAD_COLOR_RGB=1, utils=1),
            "cv2 5.1.0 in site-packages/cv2, which has no cv2.dnn.readNetFromONNX and no "
            "cv2.utils.logging",
        ),
        (  # what is left of two packages if one of them is uninstalled
            opencv(None),
            "cv2 without a version in site-packages/cv2, which has no cv2.dnn.readNetFromONNX "
            "and no cv2.IMREAD_COLOR_RGB and no cv2.utils.logging",
        ),
        (
            None,
            "cv2, which cannot be imported (ModuleNotFoundError: import of cv2 halted; None in "
            "sys.modules)",
        ),
    ],
)
def test_a_foreign_opencv_is_one_line_with_the_cure(
    module: ModuleType | None, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", module)
    monkeypatch.setattr(
        packages, "_version", {"opencv-python": "1", "opencv-python-headless": "2"}.get
    )
    known_to_pip(monkeypatch, cv2=["opencv-python-headless", "opencv-python"])
    with pytest.raises(RuntimeUnavailableError) as error:
        check_opencv()
    assert str(error.value) == (
        f"halnet needs OpenCV 4.13 or later, found {found} (installed packages: opencv-python 1, "
        f"opencv-python-headless 2); {CURE}>=4.13'"
    )


def test_without_any_opencv_nothing_has_to_be_uninstalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    known_to_pip(monkeypatch)
    expected = r"\(installed packages: none\); pip install 'opencv-python-headless>=4.13'$"
    with pytest.raises(RuntimeUnavailableError, match=expected):
        check_opencv()


def test_the_oldest_opencv_is_the_one_that_pyproject_names() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    needed = tomllib.loads(text)["project"]["dependencies"]
    oldest = ".".join(map(str, packages.OPENCV_VERSION))
    assert [line for line in needed if line.startswith(f"opencv-python-headless>={oldest}.")]


@pytest.mark.parametrize("number", ["4.13.0", "4.14.0-dev", "5.0.0"])
def test_a_whole_opencv_of_any_later_version_is_accepted(
    number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", opencv(number, **WHOLE))
    check_opencv()


def test_a_missing_package_is_named_with_its_extra() -> None:
    expected = (
        "^halnet train needs no_such_package, which is not installed; "
        r"pip install 'halnet\[train,report\]'$"
    )
    with (
        pytest.raises(RuntimeUnavailableError, match=expected),
        needs("halnet train", "train,report"),
    ):
        import no_such_package  # noqa: F401


def test_a_package_whose_shared_library_is_missing_is_to_be_installed_again() -> None:
    expected = (
        "^runtime pytorch needs torch, which cannot be loaded: libfoo.so: no such file; install it "
        r"again with pip install 'halnet\[pytorch\]'$"
    )
    with (
        pytest.raises(RuntimeUnavailableError, match=expected),
        needs("runtime pytorch", "pytorch"),
    ):
        raise ImportError("libfoo.so: no such file\nmore", name="torch")


def test_other_errors_are_raised_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError), needs("halnet train", "train"):
        _ = 1 / 0


def test_a_library_is_imported_or_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert import_library("json.decoder", "a test", "dev") is sys.modules["json.decoder"]
    monkeypatch.setitem(sys.modules, "json.decoder", None)
    expected = r"^a test needs json, which .*; pip install 'halnet\[dev\]'$"
    with pytest.raises(RuntimeUnavailableError, match=expected):
        import_library("json.decoder", "a test", "dev")


def test_telemetry_is_turned_off_while_the_library_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    found: list[str | None] = []
    monkeypatch.setattr(
        packages,
        "import_library",
        lambda *names: found.append(os.environ.get("ORT_DISABLE_TELEMETRY")),
    )
    packages.import_onnxruntime()
    assert "ORT_DISABLE_TELEMETRY" not in os.environ
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    packages.import_onnxruntime()
    assert found == ["1", "0"]
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"
