"""HAL-Net: face-age estimation that deploys anywhere and proves that it still works there."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from halnet.faces import FaceDetector
    from halnet.predictor import Predictor
    from halnet.results import Ages, Face
    from halnet.runtimes import open_runtime

__version__ = "0.1.0"
__all__ = ["Ages", "Face", "FaceDetector", "Predictor", "__version__", "open_runtime"]

_HOMES = {
    "Ages": "halnet.results",
    "Face": "halnet.results",
    "FaceDetector": "halnet.faces",
    "Predictor": "halnet.predictor",
    "open_runtime": "halnet.runtimes",
}


def __getattr__(name: str) -> Any:
    """Load the public names on first use: `import halnet` alone costs next to nothing."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'halnet' has no attribute {name!r}")
