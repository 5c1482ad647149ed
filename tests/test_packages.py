import sys

import pytest

from halnet.errors import RuntimeUnavailableError
from halnet.packages import import_library, installed_version, needs


def test_the_version_of_the_first_package_that_is_installed() -> None:
    assert installed_version("no-such-package") is None
    assert installed_version() is None
    assert installed_version("no-such-package", "pytest", "numpy") == pytest.__version__


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
