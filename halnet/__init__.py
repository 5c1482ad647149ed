"""HAL-Net: face-age estimation that deploys anywhere and proves that it still works there."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from halnet.checks.check import AgeCheck, CheckOutcome
    from halnet.checks.policy import CheckPolicy
    from halnet.faces.detected import DetectedFace, Detector
    from halnet.faces.yunet import FaceDetector
    from halnet.predictor import Predictor
    from halnet.results import Ages, Face
    from halnet.runtimes.backends import open_runtime
    from halnet.runtimes.base import RuntimeOptions

__version__ = "0.1.0"
__all__ = [
    "AgeCheck",
    "Ages",
    "CheckOutcome",
    "CheckPolicy",
    "DetectedFace",
    "Detector",
    "Face",
    "FaceDetector",
    "Predictor",
    "RuntimeOptions",
    "__version__",
    "open_runtime",
]

_MODULES = {
    "AgeCheck": "halnet.checks.check",
    "Ages": "halnet.results",
    "CheckOutcome": "halnet.checks.check",
    "CheckPolicy": "halnet.checks.policy",
    "DetectedFace": "halnet.faces.detected",
    "Detector": "halnet.faces.detected",
    "Face": "halnet.results",
    "FaceDetector": "halnet.faces.yunet",
    "Predictor": "halnet.predictor",
    "RuntimeOptions": "halnet.runtimes.base",
    "open_runtime": "halnet.runtimes.backends",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that `import halnet` alone is fast."""
    if name in _MODULES:
        from importlib import import_module

        from halnet.packages import check_opencv

        check_opencv()
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'halnet' has no attribute {name!r}")
