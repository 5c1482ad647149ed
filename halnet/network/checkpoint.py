"""Checkpoints: safetensors files that carry their recipe, calibration and origin in the header."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load, save

from halnet.artifact import PREFIX, Metadata
from halnet.errors import ArtifactError, ConfigError
from halnet.files import replacing
from halnet.network.config import NetworkConfig
from halnet.network.model import AgeNet

PROTOCOLS = (b"\2", b"\3", b"\4", b"\5")  # of pickles
CONFIG_KEY = PREFIX + "config"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint file, read once."""

    path: Path
    model: AgeNet  # in eval mode, on the CPU
    metadata: Metadata
    recipe: str  # the training recipe as JSON; `TrainConfig.from_json` reads it

    @property
    def sha256(self) -> str:
        """SHA-256 of the file's content in hexadecimal digits."""
        return self.metadata.checkpoint_sha256


def save_checkpoint(path: Path, model: AgeNet, recipe: str, metadata: Metadata) -> None:
    """Write the weights with `recipe` (JSON) and metadata in the header, whole or not at all."""
    tensors = {name: value.contiguous().cpu() for name, value in model.state_dict().items()}
    # A file cannot hold its own hash: load_checkpoint fills it in.
    properties = replace(metadata, checkpoint_sha256="").to_properties()
    header = {**properties, CONFIG_KEY: recipe}
    with replacing(path) as temporary:
        temporary.write_bytes(_sort_header(save(tensors, header)))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises ArtifactError for a file that is not a HAL-Net checkpoint. Pickles are refused without
    being read, because reading a pickle can run code.
    """
    data, header = _read(Path(path))
    digest = hashlib.sha256(data).hexdigest()
    metadata = Metadata.from_properties({**header, PREFIX + "checkpoint_sha256": digest}, path)
    if CONFIG_KEY not in header:
        raise ArtifactError(
            f"{path}: expected a checkpoint of halnet train, found a file without a training recipe"
        )
    recipe = header[CONFIG_KEY]
    try:
        config = NetworkConfig.from_recipe(recipe)
        model = AgeNet(config)
    except ConfigError as error:
        raise ArtifactError(f"{path}: {error}") from error
    try:
        model.load_state_dict(load(data))
    except RuntimeError as error:
        raise ArtifactError(
            f"{path}: expected weights of {config.backbone}, found others: "
            f"{str(error).splitlines()[-1]}"
        ) from error
    if not all(bool(torch.isfinite(value).all()) for value in model.state_dict().values()):
        raise ArtifactError(f"{path}: its weights contain NaN or infinity; train it again")
    return Checkpoint(Path(path), model.eval(), metadata, recipe)


def _read(path: Path) -> tuple[bytes, dict[str, str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        safetensors.deserialize(data)  # type: ignore[no-untyped-call]  # checks offsets and lengths
        return data, dict(_header(data).get("__metadata__", {}))
    except (safetensors.SafetensorError, ValueError) as error:
        if _is_pickle(data):
            raise ArtifactError(
                f"{path}: expected a .safetensors checkpoint, found a pickle, which could run code "
                "when it is read; convert it to .safetensors on a machine where you trust it"
            ) from error
        raise ArtifactError(f"{path}: the .safetensors file is damaged: {error}") from error


def _is_pickle(data: bytes) -> bool:
    """Tell whether data is a zip archive of torch.save or a bare pickle of protocol 2 to 5.

    A .safetensors file may begin with 0x80 too, in its length, but it has zeros from the third
    byte on.
    """
    return data[:4] == b"PK\x03\x04" or (
        data[:1] == b"\x80" and data[1:2] in PROTOCOLS and data[2:3] != b"\0"
    )


def _header(data: bytes) -> dict[str, Any]:
    """Return the JSON header of a .safetensors file: its length in 8 bytes, then the text."""
    length = int.from_bytes(data[:8], "little")
    return dict(json.loads(data[8 : 8 + length]))


def _sort_header(data: bytes) -> bytes:
    """Return the same file with its header's keys in order, so that equal content is equal bytes.

    The library writes the metadata in an order that differs from run to run.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    text = json.dumps(_header(data), sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the tensors to 8 bytes
    return len(text).to_bytes(8, "little") + text + data[start:]
