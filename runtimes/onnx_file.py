"""Reading `.onnx` files, for every back end that runs them."""

from pathlib import Path

from halnet.artifact import WEB_ENDING, WEB_MODEL
from halnet.errors import ArtifactError

ONNX_ENDINGS = (".onnx", WEB_ENDING)  # of the names of .onnx files, and of folders that contain one

# These bytes are in each file that keeps weights elsewhere: the key "location" (field 1, length 8)
# of the entry `external_data` of a tensor.
EXTERNAL_DATA = b"\x0a\x08location"


def read_onnx(path: str | Path) -> bytes:
    """Return the bytes of an ONNX file, or of the model in a folder for browsers.

    Raises ArtifactError if the file cannot be read, or if its weights are in another file.
    """
    path = Path(path)
    if path.name.endswith(WEB_ENDING):
        path /= WEB_MODEL
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}") from error
    if EXTERNAL_DATA in data:
        raise ArtifactError(
            f"{path}: expected all weights in this file, found weights in external data, which "
            "could be any file of this machine; export the checkpoint again"
        )
    return data
