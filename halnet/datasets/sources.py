"""The datasets that `halnet prepare` can read.

To add one, write a file with a function that lists the photos of its folder, as `aaf.py` does, and
add the function to `DATASETS`.
"""

from collections.abc import Callable
from pathlib import Path

from halnet.datasets.aaf import list_aaf
from halnet.datasets.source_photo import SourcePhoto

DATASETS: dict[str, Callable[[Path], list[SourcePhoto]]] = {"aaf": list_aaf}
