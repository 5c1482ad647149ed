"""Fuzzing: damaged and hostile copies of real files.

Whatever a file contains, halnet reads it or raises one of its own errors with one line, within five
seconds of processor time. The usual run of the tests tries a few inputs, always the same ones.
`make fuzz` tries as many as HALNET_FUZZ says, other ones each time, and states how long the slowest
call of each test took. The input of a crash is the last file in the folder of the test, below
/tmp/pytest-of-USER.
"""

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from halnet.errors import HalnetError

FEW = 10
EXAMPLES = int(os.environ.get("HALNET_FUZZ", FEW))
SLOWEST = "slowest call"
LIMIT = 5.0  # seconds of processor time for one call, which other programs cannot make longer
settings.register_profile(
    "halnet",
    max_examples=EXAMPLES,
    derandomize="HALNET_FUZZ" not in os.environ,
    deadline=None,  # see LIMIT
    database=None,
    suppress_health_check=list(HealthCheck),  # reading a model takes longer than they expect
)
settings.load_profile("halnet")

Strategy = st.SearchStrategy
DEEP = "deep nesting"  # stands for text that json.dumps cannot write
RAW = {  # the same, with the JSON text that takes its place
    DEEP: "[" * 100_000 + "]" * 100_000,
    "nesting that is just possible": '{"a":' * 900 + "0" + "}" * 900,
    "cut off": '{"a":',
    "long number": "9" * 5000,
    "infinite number": "1e999",
    "half of a character": '"\\ud800"',
}
NAMES = (
    *("", ".", "..", "/", "../../etc/passwd", "/dev/null"),
    *("a\0b", "a\nb", "a\r", "a" * 5000, "\udcff"),
)
NUMBERS = (0, -1, 2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, 0.5, -0.0, 1e308)
VALUES = (
    *(
        *NAMES,
        *NUMBERS,
        *RAW,
        None,
        True,
        float("nan"),
        float("inf"),
        "NaN",
        "1e999",
        "-1",
        "\u0661",
    ),
    *([], {}, [[]], [None], {"": None}, [0] * 1000, {"name": 1}, ["a", 1]),
)


class Fuzz:
    """What the targets share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder  # for the damaged files
        self.slowest = 0.0  # seconds of processor time of the slowest call so far

    @contextmanager
    def only_own_errors(self) -> Iterator[None]:
        """Allow the errors of halnet, if each of them is one line and comes soon."""
        messages = []
        start = process_time()
        try:
            yield
        except HalnetError as error:
            messages.append(str(error))
        seconds = process_time() - start
        self.slowest = max(self.slowest, seconds)
        assert all(len(message.splitlines()) == 1 for message in messages), messages
        assert seconds < LIMIT

    def bytes(self, *originals: bytes) -> Strategy[bytes]:
        """Return damaged copies of files, from their contents."""
        return _damaged_bytes(originals)

    def json(self, values: Any) -> Strategy[bytes]:
        """Return JSON files with hostile values in the place of some of these."""
        return _damaged_json(values)

    def csv(self, text: str) -> Strategy[bytes]:
        """Return CSV files with hostile fields in the place of some of those in a text."""
        return _damaged_csv(text)


@pytest.fixture(scope="session")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Fuzz:
    return Fuzz(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(autouse=True)
def _state_slowest(request: pytest.FixtureRequest, fuzz: Fuzz) -> Iterator[None]:
    fuzz.slowest = 0.0
    yield
    request.node.user_properties.append((SLOWEST, fuzz.slowest))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the processor time of the slowest call of each test."""
    for report in terminalreporter.getreports(""):  # the ends of the tests
        for name, seconds in getattr(report, "user_properties", ()):
            if name == SLOWEST and EXAMPLES > FEW:
                terminalreporter.write_line(f"{seconds:.3f}s {name} {report.nodeid}")


@st.composite
def _damaged_bytes(draw: Callable[..., Any], originals: Sequence[bytes]) -> bytes:
    data = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(1, 5))):
        data = _damage(draw, data, originals)
    return data


def _damage(draw: Callable[..., Any], data: bytes, originals: Sequence[bytes]) -> bytes:
    """Change a few bytes. Half of the places are near the beginning, where the headers are."""
    last = len(data)
    place = draw(st.integers(0, min(last, 100)) | st.integers(0, last))
    before, after = data[:place], data[place:]
    size = draw(st.sampled_from((1, 2, 4, 8, 100, 10_000)))
    kind = draw(st.sampled_from(("flip", "set", "number", "cut", "drop", "grow", "repeat", "join")))
    if kind == "flip":
        after = bytes(byte ^ draw(st.integers(1, 255)) for byte in after[:1]) + after[1:]
    elif kind == "set":
        after = draw(st.sampled_from((b"\0", b"\xff", b"\x7f"))) * size + after[size:]
    elif kind == "number":
        number = draw(st.sampled_from((0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63)))
        order = draw(st.sampled_from(("big", "little")))
        width = min(size, 8)
        after = (number % 256**width).to_bytes(width, order) + after[width:]
    elif kind == "cut":
        after = b""
    elif kind == "drop":
        after = after[size:]
    elif kind == "grow":
        after = draw(st.binary(max_size=20)) + after
    elif kind == "repeat":
        after = after[:size] * draw(st.sampled_from((2, 3, 100))) + after[size:]
    else:
        other = draw(st.sampled_from(originals))
        after = other[draw(st.integers(0, len(other))) :]
    return before + after


@st.composite
def _damaged_json(draw: Callable[..., Any], original: Any) -> bytes:
    values = json.loads(json.dumps(original))
    for _ in range(draw(st.integers(1, 3))):
        values = _replace(draw, values)
    text = json.dumps(values, ensure_ascii=draw(st.booleans()))
    for name, raw in RAW.items():
        text = text.replace(json.dumps(name), raw)
    data = text.encode("utf-8", "surrogateescape")
    return draw(st.just(data) | _damaged_bytes([data])) if draw(st.booleans()) else data


def _replace(draw: Callable[..., Any], values: Any) -> Any:
    """Return JSON-ready values with a change at some depth: another value, or another name."""
    if not isinstance(values, dict | list) or not values or draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from(VALUES) | st.sampled_from(list(RAW)))
    changed = dict(values) if isinstance(values, dict) else list(values)
    key = draw(st.sampled_from(list(values) if isinstance(values, dict) else range(len(values))))
    kind = draw(st.sampled_from(("change", "change", "change", "delete", "rename")))
    if kind == "change":
        changed[key] = _replace(draw, values[key])
    elif kind == "delete":
        del changed[key]
    elif isinstance(changed, dict):
        changed[draw(st.sampled_from((*NAMES, *RAW)))] = changed.pop(key)
    else:
        changed.append(values[key])
    return changed


@st.composite
def _damaged_csv(draw: Callable[..., Any], original: str) -> bytes:
    rows = list(csv.reader(io.StringIO(original)))
    fields = (*(str(value) for value in VALUES), "9" * 5000, "x" * 200_000)
    for _ in range(draw(st.integers(1, 3))):
        row = draw(st.sampled_from(rows))
        place = draw(st.integers(0, len(row) - 1)) if row else 0
        kind = draw(st.sampled_from(("change", "change", "change", "delete", "add", "copy")))
        if kind == "change" and row:
            row[place] = draw(st.sampled_from(fields))
        elif kind == "delete" and row:
            del row[place]
        elif kind == "add":
            row.insert(place, draw(st.sampled_from(fields)))
        else:
            rows.insert(draw(st.integers(0, len(rows))), list(row))
    text = io.StringIO()
    csv.writer(text, lineterminator=draw(st.sampled_from(("\n", "\n", "\r\n", "\r")))).writerows(
        rows
    )
    data = text.getvalue().encode("utf-8", "surrogateescape")
    return draw(st.just(data) | _damaged_bytes([data])) if draw(st.booleans()) else data
