"""Checkpoints: safetensors files with the recipe, the calibration and the origin in the header."""

import hashlib
import json
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load, save

from halnet.artifact import PREFIX, Metadata, find_model
from halnet.errors import ArtifactError, ConfigError
from halnet.files import replacing
from halnet.json_text import parse_json
from halnet.network.config import NetworkConfig
from halnet.network.model import AgeNet
from halnet.trained_on import TRAINED_ON_KEY, Hashes, decode_hashes, encode_hashes

PICKLE_PROTOCOLS = (b"\2", b"\3", b"\4", b"\5")
ARTIFACT_ENDINGS = (".onnx", ".xml", ".engine", ".tflite", "_openvino_model")  # of names
CONFIG_KEY = PREFIX + "config"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The content of a checkpoint file."""

    path: Path
    model: AgeNet  # on the CPU, in eval mode
    metadata: Metadata
    recipe: str  # training recipe in JSON, for `TrainConfig.from_json`
    # Hashes (`hash_crop`) of the photos that the weights were trained on, in rising order. None: an
    # older version of halnet wrote the file, and stored no hashes.
    trained_on: Hashes | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 of the file's content in hexadecimal digits."""
        return self.metadata.checkpoint_sha256

    @property
    def fits_integers(self) -> bool:
        """Whether the weights were trained for INT8 in channels of similar ranges."""
        recipe = parse_json(self.recipe)
        return recipe.get("quantize") == "int8" and "quantize_from" in recipe


def save_checkpoint(
    path: Path,
    model: AgeNet,
    recipe: str,
    metadata: Metadata,
    trained_on: Hashes | None = None,
) -> None:
    """Write the weights, with the recipe (JSON) and the metadata in the header.

    `trained_on` are the hashes of the photos that the weights were trained on, if they are known.
    The file is written completely or not at all. Equal content gives equal bytes.
    """
    tensors = {name: value.contiguous().cpu() for name, value in model.state_dict().items()}
    # A file cannot contain its own SHA-256: load_checkpoint computes it.
    properties = replace(metadata, checkpoint_sha256="").to_properties()
    header = {**properties, CONFIG_KEY: recipe}
    if trained_on is not None:
        header[TRAINED_ON_KEY] = encode_hashes(trained_on)
    with replacing(path) as temporary:
        temporary.write_bytes(_sort_header(save(tensors, header)))


def kept_random_state() -> AbstractContextManager[None]:
    """Return a context that restores PyTorch's random numbers at its end.

    A network that is built for a checkpoint draws random weights first. In the program of somebody
    else, this would change the numbers that the program draws after it.
    """
    return torch.random.fork_rng(devices=[])  # CUDA devices draw none


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint, by its path or by the name of one that is installed with the package.

    Raises ArtifactError if the file is not a HAL-Net checkpoint. An artifact raises it too, and so
    does a pickle, which is not unpickled, because this could run code.
    """
    path = find_model(path)
    data, header = _read(path)
    digest = hashlib.sha256(data).hexdigest()
    metadata = Metadata.from_properties({**header, PREFIX + "checkpoint_sha256": digest}, path)
    if CONFIG_KEY not in header:
        raise ArtifactError(
            f"{path}: expected a checkpoint of halnet train, found a file without a training "
            "recipe; name best_model.safetensors in a run folder"
        )
    recipe = header[CONFIG_KEY]
    trained_on = decode_hashes(path, header.get(TRAINED_ON_KEY))
    return Checkpoint(path, _build_model(path, data, recipe), metadata, recipe, trained_on)


def _build_model(path: Path, data: bytes, recipe: str) -> AgeNet:
    try:
        config = NetworkConfig.from_recipe(recipe)
        with torch.device("cpu"):  # the program may have set another default device
            model = AgeNet(config)
    except ConfigError as error:
        raise ArtifactError(f"{path}: {error}") from error
    try:
        model.load_state_dict(load(data))
    except RuntimeError as error:
        raise ArtifactError(
            f"{path}: expected the weights of {config.backbone}, found others "
            f"({str(error).splitlines()[-1].strip()}); use a checkpoint that halnet train wrote"
        ) from error
    if not all(bool(torch.isfinite(value).all()) for value in model.state_dict().values()):
        raise ArtifactError(
            f"{path}: expected finite weights, found NaN or infinity; train the model again"
        )
    return model.eval()


def _read(path: Path) -> tuple[bytes, dict[str, str]]:
    if path.name.endswith(ARTIFACT_ENDINGS) and path.exists():
        raise ArtifactError(
            f"{path}: expected a checkpoint (.safetensors), found an artifact; name the checkpoint "
            "from which halnet export made it"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"{path}: the file cannot be read: {error.strerror}; name a checkpoint of halnet "
            "train, such as best_model.safetensors in a run folder"
        ) from error
    try:
        safetensors.deserialize(data)  # type: ignore[no-untyped-call]  # checks offsets and lengths
        return data, _header(data).get("__metadata__") or {}
    except (safetensors.SafetensorError, ValueError) as error:
        if _is_pickle(data):
            raise ArtifactError(
                f"{path}: expected a .safetensors checkpoint, found a pickle, which can run code "
                "when it is read; if you trust it, convert it to .safetensors"
            ) from error
        raise ArtifactError(
            f"{path}: expected a complete .safetensors file, found damage ({error}); copy it again"
        ) from error


def _is_pickle(data: bytes) -> bool:
    """Return whether data is a zip archive of torch.save, or a bare pickle of protocol 2 to 5.

    A .safetensors file can begin with 0x80 too, because it begins with a length of 8 bytes. But the
    third byte of that length is zero.
    """
    return data[:4] == b"PK\x03\x04" or (
        data[:1] == b"\x80" and data[1:2] in PICKLE_PROTOCOLS and data[2:3] != b"\0"
    )


def _header(data: bytes) -> dict[str, Any]:
    """Return the JSON header of a .safetensors file, which begins with its length in 8 bytes."""
    length = int.from_bytes(data[:8], "little")
    return dict(parse_json(data[8 : 8 + length]))


def _sort_header(data: bytes) -> bytes:
    """Return the same .safetensors file with sorted keys in its header.

    The library writes the metadata in an order that differs from run to run. With sorted keys,
    equal content gives equal bytes.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    text = json.dumps(_header(data), sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors must begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + data[start:]
