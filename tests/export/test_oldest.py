"""docs/runtimes.md: it has the releases that the manifest states."""

import re
from pathlib import Path

from halnet.export.formats import FORMATS
from halnet.export.oldest import OLDEST, opens_with

PAGE = Path(__file__).parents[2] / "docs" / "runtimes.md"
PACKAGES = ("onnxruntime", "openvino", "ai-edge-litert")  # in the order of the columns


def test_the_page_has_the_releases_of_the_manifest() -> None:
    rows = re.findall(r"^\| `(halnet[^`]*)` (\|.*)\|$", PAGE.read_text(encoding="utf-8"), re.M)
    found = {
        file.rstrip("/"): {
            package: f">={cell.strip()}"
            for package, cell in zip(PACKAGES, cells.split("|")[1:], strict=True)
            if cell.strip()
        }
        for file, cells in rows
    }
    assert found == {
        FORMATS[name].file_names[precision]: opens_with(name, precision)
        for name, precision in OLDEST
    }
    assert opens_with("tensorrt", "fp32") == {}
