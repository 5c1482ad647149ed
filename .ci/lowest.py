"""Print the lowest versions that pyproject.toml allows, as constraints for pip.

Each requirement names the oldest release that halnet runs with, as `NAME>=RELEASE`. `make lowest`
installs these releases and runs them. The extra `dev` is left out, because constraints.txt pins its
packages.
"""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest_versions() -> list[str]:
    """Return the lowest version of each requirement of halnet and its extras, as `NAME==RELEASE`.

    Raises ValueError for a requirement without a lowest version.
    """
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = {k: v for k, v in project["optional-dependencies"].items() if k != "dev"}
    found = [Requirement(text) for text in sum(extras.values(), project["dependencies"])]
    return [_lowest(needed) for needed in found if needed.name != project["name"]]


def _lowest(requirement: Requirement) -> str:
    releases = [part.version for part in requirement.specifier if part.operator == ">="]
    if len(releases) != 1:
        raise ValueError(f"{requirement}: expected one lowest version, such as numpy>=2.0")
    return f"{requirement.name}=={releases[0]}"


if __name__ == "__main__":
    print("\n".join(lowest_versions()))
