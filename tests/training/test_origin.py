from dataclasses import replace

import pytest

from halnet.artifact import Metadata, TrainedSet
from halnet.runtimes.fake import FakeRuntime
from halnet.training.origin import find_licence

PLAIN = FakeRuntime().spec.metadata
OLD = replace(PLAIN, datasets=(TrainedSet("aaf", "f1e6"),))  # of format 1, which states no terms
TAUGHT = replace(PLAIN, licence="CC BY 4.0", terms="FairFace: CC BY 4.0")


@pytest.mark.parametrize(
    ("kinds", "seen", "licence", "terms"),
    [
        ((), (), "", ""),
        (("csv", "synthetic"), (PLAIN,), "", ""),
        (("fairface", "csv"), (), "CC BY 4.0", "FairFace: CC BY 4.0"),
        (
            ("utkface", "fairface"),
            (),
            "research only, non-commercial",
            "UTKFace: for non-commercial research; FairFace: CC BY 4.0",
        ),
        (("csv",), (OLD,), "research only, non-commercial", "All-Age-Faces: for research"),
        (
            ("afad", "fairface"),
            (TAUGHT, OLD),
            "research only, non-commercial",
            "AFAD: for academic use; FairFace: CC BY 4.0; All-Age-Faces: for research",
        ),
    ],
)
def test_weights_inherit_the_strictest_licence_and_all_terms(
    kinds: tuple[str, ...], seen: tuple[Metadata, ...], licence: str, terms: str
) -> None:
    assert find_licence(kinds, seen) == (licence, terms)
