"""The Open Inference Protocol of the server, also as NVIDIA's client for Triton speaks it."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from halnet import __version__
from halnet.runtimes.base import RuntimeOptions
from halnet.runtimes.fake import FakeRuntime
from halnet.runtimes.inference_protocol import HEADER_LENGTH, pack, unpack
from tests.serving.client import Answer, send

INFER = "/v2/models/halnet/infer"
NAMES = ("age", "stddev", "probabilities")
SMALL = np.full((1, 224, 224, 3), 60, np.uint8)


@pytest.fixture(scope="module")
def address(serving: Callable[..., Any]) -> Iterator[str]:
    with serving() as (_, found):
        yield found


def infer(address: str, header: dict[str, Any], image: Any = SMALL, binary: bool = True) -> Answer:
    body, length = pack(header, "inputs", {"image": image}, ["image"] if binary else [])
    headers = {} if length is None else {HEADER_LENGTH: str(length)}
    return send(address, "POST", INFER, body, headers)


def check_outputs(arrays: dict[str, Any], crops: np.ndarray) -> None:
    expected = FakeRuntime().run(crops)
    assert list(arrays) == list(NAMES)
    for name in NAMES:
        np.testing.assert_array_equal(arrays[name], getattr(expected, name))
        assert arrays[name].dtype == np.float32


@pytest.mark.parametrize("path", [INFER, "/v2/models/halnet/versions/1/infer"])
def test_numbers_in_json_give_numbers_in_json(path: str, address: str) -> None:
    body, length = pack({"id": "a"}, "inputs", {"image": SMALL}, [])
    assert length is None
    answer = send(address, "POST", path, body)
    assert answer.status == 200
    assert HEADER_LENGTH not in answer.headers
    assert answer.headers["content-type"] == "application/json"
    header, arrays = unpack(answer.body, None, "outputs")
    assert {k: v for k, v in header.items() if k != "outputs"} == {
        "model_name": "halnet",
        "model_version": "1",
        "id": "a",
    }
    check_outputs(arrays, SMALL)


def test_bytes_give_bytes_if_asked_for(address: str, crops: np.ndarray) -> None:
    answer = infer(address, {"parameters": {"binary_data_output": True}}, crops)
    _, arrays = unpack(answer.body, answer.headers[HEADER_LENGTH], "outputs", binary_only=True)
    check_outputs(arrays, crops)


def test_each_output_has_its_own_form(address: str) -> None:
    wanted = [
        {"name": "stddev", "parameters": {"binary_data": True}},
        {"name": "age", "parameters": {"binary_data": False}},
    ]
    answer = infer(
        address, {"outputs": wanted, "parameters": {"binary_data_output": True}}, SMALL, False
    )
    length = int(answer.headers[HEADER_LENGTH])
    first, second = json.loads(answer.body[:length])["outputs"]
    assert (first["name"], first["parameters"]) == ("stddev", {"binary_data_size": 4})
    assert second["data"] == [float(FakeRuntime().run(SMALL).age[0])]
    assert answer.body[length:] == FakeRuntime().run(SMALL).stddev.tobytes()


@pytest.mark.parametrize(
    ("header", "image", "message"),
    [
        ({}, SMALL[:0], "crops: expected at least one, found an empty array"),
        ({}, SMALL[0], r"crops: expected N x 224 x 224 x 3 uint8 RGB, found uint8 of shape (224"),
        ({}, SMALL.transpose(0, 3, 1, 2), "found uint8 of shape (1, 3, 224, 224)"),
        ({}, np.zeros((1, 8, 8, 3), np.float32), "found float32 of shape (1, 8, 8, 3)"),
        ({"outputs": [{"name": "sex"}]}, SMALL, "outputs: expected age, stddev, probabilities"),
        ({"outputs": ["age"]}, SMALL, "outputs: expected a list of objects with a name"),
        ({"outputs": [{}]}, SMALL, "outputs: expected a list of objects with a name"),
        (
            {"outputs": [{"name": "age", "parameters": {"classification": 3}}]},
            SMALL,
            "with the parameter binary_data or none, found age classification",
        ),
    ],
)
def test_a_wrong_request_is_one_clear_error(
    header: dict[str, Any], image: Any, message: str, address: str
) -> None:
    answer = infer(address, header, image)
    assert answer.status == 400
    assert message in answer.error


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (b"", {}, "the JSON header is damaged"),
        (b'{"inputs": []}', {}, "expected the input image, found none"),
        (
            json.dumps({"inputs": [{"name": "x", "datatype": "UINT8", "shape": [1], "data": [1]}]}),
            {},
            "expected the input image, found x",
        ),
        *(
            (json.dumps({"inputs": [entry]}), {}, "expected a shape of at most 4 whole numbers")
            for entry in (
                {"name": "image", "datatype": "UINT8", "shape": [1] * 100, "data": [7]},
                {"name": "image", "datatype": "UINT8", "shape": [0, 2**62, 2**62, 3], "data": []},
            )
        ),
        (b"{}", {HEADER_LENGTH: "3"}, "expected at most the 2 bytes of the message, found 3"),
    ],
)
def test_a_damaged_request_is_one_clear_error(
    body: Any, headers: dict[str, str], message: str, address: str
) -> None:
    answer = send(address, "POST", INFER, body, headers)
    assert answer.status == 400
    assert message in answer.error


def test_the_bundled_model_gives_the_same_as_a_runtime_here(
    serving: Callable[..., Any], crops: np.ndarray
) -> None:
    from halnet import open_runtime

    options = RuntimeOptions("onnxruntime", "cpu", 1)
    with (
        serving(model=None, options=options, batch=8) as (_, address),
        open_runtime(address) as remote,
        open_runtime(runtime="onnxruntime", device="cpu", threads=1) as local,
    ):
        assert remote.spec.metadata == local.spec.metadata
        found, expected = remote.run(crops), local.run(crops)
        np.testing.assert_array_equal(found.probabilities, expected.probabilities)


def test_the_client_of_triton_is_served(address: str, crops: np.ndarray) -> None:
    triton = pytest.importorskip("tritonclient.http")
    with triton.InferenceServerClient(urlsplit(address).netloc) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("halnet")
        assert client.is_model_ready("halnet", "1")
        assert not client.is_model_ready("other")
        stated = client.get_server_metadata()
        assert (stated["name"], stated["version"]) == ("halnet", __version__)
        assert stated["extensions"] == ["binary_tensor_data"]
        inputs = client.get_model_metadata("halnet")["inputs"]
        assert inputs == [{"name": "image", "datatype": "UINT8", "shape": [-1, 224, 224, 3]}]
        for binary in (True, False):
            image = triton.InferInput("image", crops.shape, "UINT8")
            image.set_data_from_numpy(crops, binary_data=binary)
            wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in NAMES]
            result = client.infer("halnet", [image], outputs=wanted, request_id="9")
            check_outputs({name: result.as_numpy(name) for name in NAMES}, crops)
            assert result.get_response()["id"] == "9"
        result = client.infer("halnet", [image])
        np.testing.assert_array_equal(result.as_numpy("age"), FakeRuntime().run(crops).age)
        wrong = triton.InferInput("image", [1, 224, 224, 3], "FP32")
        wrong.set_data_from_numpy(np.zeros((1, 224, 224, 3), np.float32))
        with pytest.raises(
            triton.InferenceServerException, match="uint8 RGB, found float32"
        ) as caught:
            client.infer("halnet", [wrong])
        assert caught.value.status() == "400"
