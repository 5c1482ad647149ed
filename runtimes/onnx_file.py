"""What every back end that reads `.onnx` files refuses before it reads one."""

from pathlib import Path

from halnet.errors import ArtifactError

# How a tensor's `external_data` entry "location" starts in the file: key (field 1) of length 8.
EXTERNAL_DATA = b"\x0a\x08location"


def read_onnx(path: str | Path) -> bytes:
    """Return the bytes of an ONNX file without external data; ArtifactError else."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}") from error
    if EXTERNAL_DATA in data:
        raise ArtifactError(
            f"{path}: expected one whole file, found weights in external data, which could "
            "name any file of this machine; export the checkpoint again"
        )
    return data
