"""The messages of the Open Inference Protocol: their bytes, and damaged ones."""

import json
import re
from typing import Any

import numpy as np
import pytest

from halnet.runtimes.inference_protocol import ProtocolError, pack, unpack

AGE = np.array([1.5, 100.0], np.float32)
IMAGE = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)


def test_a_message_has_exactly_these_bytes() -> None:
    body, length = pack({"id": "7"}, "outputs", {"age": AGE, "image": IMAGE}, ["age"])
    text = (
        b'{"id": "7", "outputs": [{"name": "age", "datatype": "FP32", "shape": [2], '
        b'"parameters": {"binary_data_size": 8}}, {"name": "image", "datatype": "UINT8", '
        b'"shape": [1, 2, 3], "data": [0, 1, 2, 3, 4, 5]}]}'
    )
    assert body == text + b"\x00\x00\xc0\x3f\x00\x00\xc8\x42"
    assert length == len(text)


@pytest.mark.parametrize("binary", [(), ("age",), ("image",), ("age", "image")])
def test_a_message_is_read_as_it_was_written(binary: tuple[str, ...]) -> None:
    strided = np.array([[0.1, 1.5], [0.2, 100.0]], np.float32)[:, 1]
    body, length = pack({"id": "7"}, "inputs", {"age": strided, "image": IMAGE}, binary)
    assert (length is None) == (not binary)
    header, arrays = unpack(body, None if length is None else str(length), "inputs")
    assert header["id"] == "7"
    for name, array in (("age", AGE), ("image", IMAGE)):
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def test_numbers_in_json_may_be_nested() -> None:
    tensor = {"name": "a", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2.5], [3, 4]]}
    _, arrays = unpack(json.dumps({"inputs": [tensor]}).encode(), None, "inputs")
    np.testing.assert_array_equal(arrays["a"], np.array([[1, 2.5], [3, 4]], np.float32))


@pytest.mark.parametrize("value", ["x" * 100_000, None, {}, [1], True])
def test_texts_and_others_are_no_numbers(value: Any) -> None:
    """NumPy would give each text the room of the longest one: 40 GB here."""
    data = [value, *[""] * 100_000] if isinstance(value, str) else [value, 300]
    entry = {"name": "a", "datatype": "UINT8", "shape": [len(data)], "data": data}
    with pytest.raises(ProtocolError, match="a: expected numbers, found others"):
        unpack(json.dumps({"inputs": [entry]}).encode(), None, "inputs")


def test_numbers_that_are_nested_otherwise_are_refused() -> None:
    """In another order, they would be another image."""
    entry = {"name": "a", "datatype": "FP32", "shape": [2, 3], "data": [[1, 2], [3, 4], [5, 6]]}
    with pytest.raises(ProtocolError, match=r"nested in the shape \(2, 3\), found .* \(3, 2\)"):
        unpack(json.dumps({"inputs": [entry]}).encode(), None, "inputs")


def tensor(**values: Any) -> bytes:
    entry = {"name": "a", "datatype": "UINT8", "shape": [2], "data": [1, 2], **values}
    return json.dumps({"inputs": [{k: v for k, v in entry.items() if v is not None}]}).encode()


TWO = {"data": None, "parameters": {"binary_data_size": 2}}


@pytest.mark.parametrize(
    ("body", "length", "message"),
    [
        (b"", None, "the JSON header is damaged"),
        (b"\xff\xfe", None, "the JSON header is damaged"),
        (b"[" * 9999, None, "nested too deeply"),
        (b"[]", None, 'a JSON object with a list "inputs", found none'),
        (b'{"inputs": 1}', None, 'a JSON object with a list "inputs", found none'),
        (b'{"inputs": [1]}', None, "expected tensors with a name"),
        (tensor(), "-1", "expected at most the 78 bytes of the message, found -1"),
        (tensor(), "79", "expected at most the 78 bytes of the message, found 79"),
        (tensor(), "9" * 5000, "expected at most the 78 bytes"),
        (tensor(name=None), None, "expected tensors with a name"),
        (tensor(datatype="FP16"), None, "a: expected the type UINT8 or FP32, found FP16"),
        (tensor(datatype=["UINT8"]), None, "a: expected the type UINT8 or FP32"),
        (tensor(shape=[-1]), None, r"a: expected a shape of .* whole numbers .*, found \[-1\]"),
        (tensor(shape=[True, 2]), None, "a: expected a shape of at most 4 whole numbers"),
        (tensor(shape=[1] * 5), None, "a: expected a shape of at most 4 whole numbers"),
        (tensor(shape=[3]), None, r"a: expected 3 numbers for the shape \(3,\), found 2"),
        (tensor(shape=[0, 2**40, 2**40]), None, "whole numbers up to 1,000,000"),
        (tensor(shape=[10**6, 10**6]), None, "numbers for the shape"),
        (tensor(data=[1, 256]), None, "a: expected numbers of the range 0 to 255"),
        (tensor(data=[1, -1]), None, "a: expected numbers of the range 0 to 255"),
        (tensor(data=[1, 1.5]), None, "a: expected numbers of the range 0 to 255"),
        (tensor(data=[1, "2"]), None, "a: expected numbers"),
        (tensor(data=[True, False]), None, "a: expected numbers"),
        (tensor(data=[1, [2]]), None, "a: expected numbers, found others"),
        (tensor(data=[[1], [2, 3]]), None, "a: expected data of the shape"),
        (tensor(data=[None, 1], datatype="FP32"), None, "a: expected numbers"),
        (tensor(data=None), None, "a: expected data as a list, or binary_data_size"),
        (tensor(parameters=[1]), None, "a: expected parameters in a JSON object"),
        (tensor(**TWO), None, "a: expected 2 bytes .* found binary_data_size 2 and 0 bytes"),
        (tensor(**TWO) + b"12", None, "the JSON header is damaged"),
        (tensor(**TWO) + b"123", "101", "expected the end of the message, found 1 more bytes"),
        (
            tensor(data=None, parameters={"binary_data_size": 3}) + b"123",
            "101",
            "a: expected 2 bytes for the shape",
        ),
    ],
)
def test_a_damaged_message_is_one_clear_error(body: bytes, length: Any, message: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        unpack(body, length, "inputs")
    assert re.search(message, str(caught.value)), caught.value


def test_two_tensors_of_a_name_are_refused() -> None:
    body = json.dumps({"inputs": json.loads(tensor())["inputs"] * 2}).encode()
    with pytest.raises(ProtocolError, match="a: expected one tensor of this name"):
        unpack(body, None, "inputs")


def test_where_bytes_are_wanted_numbers_in_json_are_refused() -> None:
    with pytest.raises(ProtocolError, match="a: expected its numbers as bytes"):
        unpack(tensor(), None, "inputs", binary_only=True)
