import math

import pytest

from halnet.json_text import MAX_DEPTH, parse_json


def test_values_of_usual_size_are_read() -> None:
    text = '{"a": [1, -2.5, null, true], "b": 18446744073709551615, "c": "\\udcff"}'
    expected = {"a": [1, -2.5, None, True], "b": 2**64 - 1, "c": "\udcff"}
    assert parse_json(text) == parse_json(text.encode()) == expected
    assert math.isnan(parse_json("NaN"))
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested too deeply"),
        ('{"a":' * (MAX_DEPTH + 1) + "0" + "}" * (MAX_DEPTH + 1), "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ("1e999", "a number in it is too large"),
        ("-Infinity", "a number in it is too large"),
        ("18446744073709551616", "a number in it is too large"),
        ("9" * 5000, "exceeds? the limit"),
        ('["\\ud800"]', "surrogates not allowed"),
        ('{"\\ud800": 0}', "surrogates not allowed"),
        ('{"a":', "Expecting value"),
    ],
)
def test_anything_else_is_a_value_error(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"(?i){problem}"):
        parse_json(text)
