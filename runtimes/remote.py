"""The back end "remote": another machine runs the model, which speaks the Open Inference Protocol.

Such servers are `halnet serve`, NVIDIA Triton and OpenVINO Model Server. Faces are found and
aligned here, and only the crops are sent. They are sent as bytes, and the outputs come back so.
"""

import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from halnet.ages import AGE_MAX, AGE_MIN, mean_and_stddev
from halnet.artifact import INPUT_NAME, OUTPUT_NAMES, PREFIX, Metadata
from halnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError, one_line
from halnet.json_text import parse_json
from halnet.results import Outputs, join_outputs
from halnet.runtimes.backends import describe, hide_password
from halnet.runtimes.base import BatchLimits, Crops, RuntimeBase, RuntimeOptions, RuntimeSpec
from halnet.runtimes.http_client import Answer, HttpClient
from halnet.runtimes.inference_protocol import (
    ANY,
    HEADER_LENGTH,
    INPUTS,
    OUTPUTS,
    ProtocolError,
    pack,
    unpack,
)

MODEL_NAME = "halnet"  # of the model on the server, if the address does not name one
KEY_VARIABLE = "HALNET_API_KEY"  # environment variable with the key that the server asks for
MAX_BATCH, MAX_BYTES = 32, 5_000_000  # crops in one request, and more bytes than it has
SUM_TOLERANCE = 1e-3  # of the probabilities of a crop
# Between an age or standard deviation and that of the probabilities, in years. A server may compute
# the sums in 16 bits: from 64 years on, bfloat16 has steps of half a year.
TOLERANCE = 0.5
SERVER_PATH = "/v2"  # what a server is, without a model
NAME = r'[!"$-.0->@-~]+'  # in an address: printable ASCII without / ? #
CURE = "name a server that speaks the Open Inference Protocol, version 2"
COMPARED = ("checkpoint_sha256", "precision", "input", "calibration")  # fields of `Metadata`


class RemoteRuntime(RuntimeBase):
    """A model on a server. Several threads may share it.

    `address` is that of the server, such as "http://host:8000", whose model is named "halnet", or
    that of a model on it, such as "https://host/v2/models/faces".

    `metadata` is a local copy of the model file that the server runs. `halnet serve` states the
    metadata of its model; for a server that does not, this is where the calibration comes from.
    What the server states is compared with it.

    `api_key` is sent as a bearer token. Default: the environment variable HALNET_API_KEY, or none.
    `ca_file` has the certificates that sign that of the server, in the format PEM; default: those
    of the system. `timeout` is in seconds, for one try: from the connection to the last byte of the
    answer. A request is sent again only if the connection failed, or the server is busy or not
    ready. What the server states of its model is read once, when the runtime is opened.

    Raises ConfigError for a wrong address, key or time limit, or if the server states no metadata
    and `metadata` is not given; ArtifactError if the server's model is not an artifact of halnet,
    or another one than `metadata`; RuntimeUnavailableError if the server cannot be reached or does
    not answer as the protocol says.
    """

    def __init__(
        self,
        address: str,
        options: RuntimeOptions = RuntimeOptions(),
        *,
        metadata: str | Path | None = None,
        api_key: str | None = None,
        ca_file: str | Path | None = None,
        timeout: float = 30.0,
    ) -> None:
        key = clean_key(os.environ.get(KEY_VARIABLE, "") if api_key is None else api_key)
        self._settings: dict[str, Any] = {
            "metadata": None if metadata is None else Path(metadata).absolute(),
            "api_key": api_key,
            "ca_file": None if ca_file is None else str(Path(ca_file).absolute()),
            "timeout": timeout,
        }
        self._address = address
        server, self._path = _split_address(address)
        self._make_client = partial(
            HttpClient,
            server,
            {"Authorization": f"Bearer {key}"} if key else {},
            self._settings["ca_file"],
            timeout,
        )
        super().__init__(None, options)

    def __reduce__(self) -> tuple[Any, ...]:
        self.check_open()
        return partial(type(self), **self._settings), (self._address, self._options)

    def _open(self, model: Any, options: RuntimeOptions) -> None:
        del model  # the address names it
        if options.device != "auto":
            raise RuntimeUnavailableError(
                "runtime remote: expected device auto, because the server chooses the device, "
                f"found {options.device}"
            )
        self._client = self._make_client()
        self._name = f"{self._client.address}{self._path}"
        server = self._get(SERVER_PATH)
        stated = self._get(self._path)
        batches = _check_model(self._name, stated)
        config = self._get(f"{self._path}/config", optional=True)  # Triton has it
        largest = config.get("max_batch_size", 0)  # 0: the shapes state it
        if type(largest) is not int or largest < 0:
            raise ArtifactError(
                f"{self._name}: expected a max_batch_size from 0 up, found {largest!r}; correct "
                "the configuration of the model on the server"
            )
        if largest:
            batches = BatchLimits(1, largest)
        self.spec = RuntimeSpec(
            "remote",
            one_line(f"{server.get('name')} {server.get('version')}"),
            self._client.address,
            0,
            self._name,
            self._choose_metadata(_read_properties(stated) or _read_properties(config)),
            batches,
            options.mode,
        )

    def close(self) -> None:
        """Close the connections."""
        super().close()
        self._client.close()

    def _after_fork(self) -> None:
        """Use connections of its own."""
        self._client = self._make_client()

    def _choose_metadata(self, properties: dict[str, str]) -> Metadata:
        """Return the metadata of the local model file, or those that the server states."""
        stated = Metadata.from_properties(properties, self._name) if properties else None
        local = self._settings["metadata"]
        if local is None:
            if stated is None:
                raise ConfigError(
                    f"{self._name}: expected a server that states the metadata of its model, found "
                    "none; name a local copy of the model: "
                    'RemoteRuntime(address, metadata="halnet.onnx")'
                )
            return stated
        known = describe(local).metadata
        different = [n for n in COMPARED if stated and getattr(stated, n) != getattr(known, n)]
        if different:
            raise ArtifactError(
                f"{self._name}: expected the model {local}, found one with another "
                f"{', '.join(different)}; name a copy of the model that the server runs"
            )
        return known

    def _get(self, path: str, optional: bool = False) -> dict[str, Any]:
        """Return the JSON object at a path; an empty one if it is `optional` and not there."""
        answer = self._client.call("GET", path)
        if optional and answer.status != 200:
            return {}
        self._check_status(answer, path)
        try:
            values = parse_json(answer.body)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise self._nonsense(f"a JSON object at {path}", repr(answer.body[:40]))
        return values

    def _check_status(self, answer: Answer, path: str) -> None:
        if answer.status == 200:
            return
        _, _, _, model, *version = self._path.split("/")
        its_version = f", with the version {version[1]}" if version else ""
        cure = {
            401: f"; set {KEY_VARIABLE} to the key of the server",
            404: f"; is its model named {model}{its_version}?",
            413: f"; let the server take requests of {MAX_BYTES:,} bytes (--max-bytes of halnet "
            "serve), since one has up to "
            f"{MAX_BATCH} crops",
        }.get(answer.status, "")
        if (path, answer.status) == (SERVER_PATH, 404):  # it has no models at all
            cure = f"; {CURE}"
        raise RuntimeUnavailableError(
            f"{self._client.address}{path}: expected status 200, found {answer.status}"
            f"{_error_text(answer)}{cure}"
        )

    def _nonsense(self, wanted: str, found: str) -> RuntimeUnavailableError:
        return RuntimeUnavailableError(f"{self._name}: expected {wanted}, found {found}; {CURE}")

    def _infer(self, crops: Crops) -> Outputs:
        parts = [self._ask(crops[i : i + MAX_BATCH]) for i in range(0, len(crops), MAX_BATCH)]
        return join_outputs(parts)

    def _ask(self, crops: Crops) -> Outputs:
        """Return the outputs for so few crops that one request can have them."""
        outputs = [{"name": name, "parameters": {"binary_data": True}} for name in OUTPUT_NAMES]
        body, length = pack({"outputs": outputs}, "inputs", {INPUT_NAME: crops}, [INPUT_NAME])
        headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(length)}
        path = f"{self._path}/infer"
        answer = self._client.call("POST", path, body, headers)
        self._check_status(answer, path)
        try:
            _, arrays = unpack(
                answer.body, answer.headers.get(HEADER_LENGTH.lower()), "outputs", binary_only=True
            )
            return _read_outputs(arrays, len(crops))
        except ProtocolError as error:
            raise self._nonsense(
                "the outputs of the crops", f"an answer that is wrong ({error})"
            ) from error


def clean_key(key: str) -> str:
    """Return an API key without blanks around it, which HTTP removes.

    Raises ConfigError for a key that cannot be sent in a header.
    """
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            "API key: expected one line of printable ASCII characters, found others; correct the "
            f"key in {KEY_VARIABLE}, in the option or in the file"
        )
    return key


def devices() -> list[str]:
    """Return the devices of this runtime on this machine: none."""
    return []


def _split_address(address: str) -> tuple[str, str]:
    """Return the address of the server, and the path of the model on it."""
    match = re.fullmatch(
        rf"((?i:https?)://[^/?#@\s\0-\x1f\x7f]+)(/v2/models/{NAME}(?:/versions/{NAME})?)?/?",
        address,
    )
    if match is None:
        raise ConfigError(
            f"{hide_password(address)}: expected the address of a server, such as "
            "http://HOST:8000, or that of a model on it, such as "
            "http://HOST:8000/v2/models/NAME, without a user name, and with codes such as %20 for "
            "spaces and letters beyond ASCII"
        )
    return match[1], match[2] or f"/v2/models/{MODEL_NAME}"


def _error_text(answer: Answer) -> str:
    """Return what a server says about an error, in parentheses; "" if it says nothing."""
    try:
        text = parse_json(answer.body)["error"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f" ({str(text)[:300]})"


def _check_model(name: str, stated: dict[str, Any]) -> BatchLimits:
    """Return how many crops a model takes; ArtifactError if it is no artifact of halnet.

    Triton states outputs of one number for each crop as N x 1.
    """
    found = {kind: stated.get(kind) for kind in ("inputs", "outputs")}
    try:
        (image,) = found["inputs"]  # type: ignore[misc]
        batch = image["shape"][0]
        rest = {kind: [_signature(entry) for entry in found[kind]] for kind in found}  # type: ignore[union-attr]
    except (TypeError, ValueError, KeyError, IndexError):
        rest = {}
    wanted = {kind: [_signature(entry) for entry in entries] for kind, entries in WANTED.items()}
    if {kind: sorted(entries) for kind, entries in rest.items()} != {
        kind: sorted(entries) for kind, entries in wanted.items()
    } or not (batch == ANY or batch > 0):
        raise ArtifactError(
            f"{name}: expected a model with {wanted}, found {str(found)[:500]}; "
            "serve a model that halnet export wrote"
        )
    return BatchLimits() if batch == ANY else BatchLimits(batch, batch)


WANTED = {"inputs": INPUTS, "outputs": OUTPUTS}


def _signature(tensor: Any) -> tuple[str, str, tuple[int, ...]]:
    """Return the name, the type, and the shape of a tensor for one crop; ValueError for others."""
    if not all(type(size) is int for size in tensor["shape"]):
        raise ValueError("expected whole numbers")
    shape = tuple(tensor["shape"][1:])
    return str(tensor["name"]), str(tensor["datatype"]), () if shape == (1,) else shape


def _read_properties(stated: dict[str, Any]) -> dict[str, str]:
    """Return the halnet.* properties among the parameters that halnet or Triton state."""
    parameters = stated.get("parameters")
    found = parameters.items() if isinstance(parameters, dict) else ()
    plain = ((k, v.get("string_value") if isinstance(v, dict) else v) for k, v in found)
    return {k: v for k, v in plain if k.startswith(PREFIX) and isinstance(v, str)}


def _read_outputs(arrays: dict[str, Any], count: int) -> Outputs:
    """Return the outputs for `count` crops; ProtocolError if they cannot be those of a model."""
    shapes = {"age": (count,), "stddev": (count,), "probabilities": (count, AGE_MAX - AGE_MIN + 1)}
    found = {}
    for name, shape in shapes.items():
        array = arrays.get(name)
        squeezed = (*shape, 1) if len(shape) == 1 else shape
        if array is None or array.dtype != np.float32 or array.shape not in (shape, squeezed):
            text = "none" if array is None else f"{array.dtype} of shape {array.shape}"
            raise ProtocolError(f"{name}: expected float32 of shape {shape}, found {text}")
        if not np.isfinite(array).all() or array.min() < AGE_MIN:
            raise ProtocolError(f"{name}: expected finite numbers from 0 up, found others")
        found[name] = array.reshape(shape)
    sums = found["probabilities"].sum(axis=1)
    if abs(sums - 1).max() > SUM_TOLERANCE or found["age"].max() > AGE_MAX:
        raise ProtocolError(
            "expected probabilities whose sum is 1 and ages up to 100, found others"
        )
    computed = mean_and_stddev(found["probabilities"])
    for name, values in zip(("age", "stddev"), computed, strict=True):
        worst = np.abs(found[name] - values).argmax()
        if abs(found[name][worst] - values[worst]) > TOLERANCE:
            raise ProtocolError(
                f"{name}: expected {values[worst]:.4g} years, as the probabilities say, found "
                f"{found[name][worst]:.4g}"
            )
    return Outputs(**found)
