"""The kinds of datasets that `halnet prepare` can read.

To add one, write a file with a function that lists the photos of its folder, as `utkface.py` does,
and add the function to `DATASETS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from halnet.datasets.aaf import list_aaf
from halnet.datasets.afad import list_afad
from halnet.datasets.csv_source import list_csv
from halnet.datasets.fairface import list_fairface
from halnet.datasets.source_photo import Listing
from halnet.datasets.utkface import list_utkface


@dataclass(frozen=True)
class DatasetKind:
    """How a kind of dataset is read and split."""

    read: Callable[[Path], Listing]
    shares: str = "90/5/5"  # default shares of training, validation and test, in percent
    # True: with the default shares, the split is the one that older versions made, without regard
    # to twins, because models were trained on it. A `DataCollection` leaves the twins out.
    keeps_old_split: bool = False
    # What the publisher of the photos allows. A model that was trained on them inherits it. Empty:
    # not known, as for the photos of a CSV file.
    licence: str = ""
    terms: str = ""


RESEARCH = "research only, non-commercial"

DATASETS = {
    "aaf": DatasetKind(
        list_aaf, keeps_old_split=True, licence=RESEARCH, terms="All-Age-Faces: for research"
    ),
    "utkface": DatasetKind(
        list_utkface, "80/10/10", licence=RESEARCH, terms="UTKFace: for non-commercial research"
    ),
    "afad": DatasetKind(list_afad, "70/10/20", licence=RESEARCH, terms="AFAD: for academic use"),
    "fairface": DatasetKind(
        list_fairface, "70/10/20", licence="CC BY 4.0", terms="FairFace: CC BY 4.0"
    ),
    "csv": DatasetKind(list_csv, "80/10/10"),
}
