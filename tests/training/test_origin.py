from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halnet.artifact import Metadata, TrainedSet
from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.network.checkpoint import Checkpoint
from halnet.runtimes.fake import FakeRuntime
from halnet.training.config import TrainConfig
from halnet.training.initial_weights import InitialWeights
from halnet.training.origin import find_licence, find_origin
from halnet.training.photos import training_photos

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


def test_photos_of_earlier_runs_on_the_same_split_count(prepared: Path) -> None:
    data = DataCollection([PreparedDataset(prepared)])
    ((name, part),) = data.sets.items()
    photos = training_photos(data, TrainConfig(photos=12))
    nothing = InitialWeights("none")

    def count(split: str, number: int | None) -> int | None:
        metadata = replace(PLAIN, datasets=(TrainedSet(name, split, number),))
        model: Any = None
        teacher = Checkpoint(prepared, model, metadata, "", np.empty(0, np.uint64))
        (found,) = find_origin(data, photos, nothing, [teacher]).datasets
        return found.photos

    assert count(part.split_sha256, 200) == 200
    assert count(part.split_sha256, 3) == 12
    assert count(part.split_sha256, None) == 12, "format 1 states no number"
    assert count("another split", 200) == 12
