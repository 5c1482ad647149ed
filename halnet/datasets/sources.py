"""Datasets: a folder of photos to aligned crops with a fixed split.

To add one, write a function that returns its `Photo`s, as `aaf.py` does, and give it a line in
`DATASETS`.
"""

from collections.abc import Callable
from pathlib import Path

from halnet.datasets.aaf import list_aaf
from halnet.datasets.source_photo import SourcePhoto

DATASETS: dict[str, Callable[[Path], list[SourcePhoto]]] = {"aaf": list_aaf}
