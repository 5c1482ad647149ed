"""The report: one value that is written and read as JSON, by the names of its parts.

Everything that the page shows follows from this value; see `sections.py`.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from halnet.audit.accuracy import SliceAccuracy
from halnet.audit.acquisition import Acquisition, Rejected
from halnet.audit.age_checks import ChildSafety, LegalAge
from halnet.audit.comparison import Comparison
from halnet.audit.differences import Difference
from halnet.audit.error_sizes import ErrorSize
from halnet.audit.photo_table import PhotoTable
from halnet.audit.refusals import Refusals
from halnet.audit.reliability import ReliabilityBin
from halnet.audit.schema import about
from halnet.audit.steadiness import Steadiness
from halnet.audit.subject import Subject
from halnet.errors import ConfigError
from halnet.evaluation.rates import MIN_PHOTOS
from halnet.reporting.json_values import from_values, to_values
from halnet.reporting.report_folder import check_format, read_json_file

KIND = "halnet age check report"
FORMAT = 1  # of the report
SCHEMA_FILE = "report.schema.json"
SCHEMA_TITLE = "Report of HAL-Net for those who judge an age check"


@dataclass(frozen=True)
class AuditReport:
    """What was tested, and what came out. Shares and probabilities are from 0 to 1."""

    subject: Subject
    accuracy: tuple[SliceAccuracy, ...]
    error_sizes: tuple[ErrorSize, ...]
    checks: tuple[LegalAge, ...]
    child_safety: tuple[ChildSafety, ...]
    reliability: tuple[ReliabilityBin, ...]
    steadiness: Steadiness
    differences: tuple[Difference, ...]
    refusals: Refusals
    acquisition: tuple[Acquisition, ...]
    rejected: tuple[Rejected, ...]
    warnings: tuple[str, ...] = field(metadata=about("Sentences that a reader must not miss."))
    photos: PhotoTable
    comparison: Comparison | None = None
    min_photos: int = field(
        default=MIN_PHOTOS, metadata=about("With fewer photos, no value is stated.", 1)
    )
    kind: str = field(default=KIND, metadata=about("What this file is.", values=(KIND,)))
    format: int = field(default=FORMAT, metadata=about("Version of the format.", 1))

    def to_json(self) -> str:
        """Return the report as JSON text. It has no infinite numbers and no NaN."""
        return json.dumps(to_values(self)) + "\n"


@dataclass(frozen=True)
class EarlierReport:
    """What a comparison needs of an earlier report.

    The other parts are measured again from the photos, so that the parts of a report may change
    from one version of halnet to the next.
    """

    subject: Subject
    photos: PhotoTable


def read_earlier(path: Path) -> EarlierReport:
    """Read an earlier report from its JSON file.

    Raises ConfigError if there is no such file, if it is damaged or another file, and if a newer
    version of halnet wrote it in a format that this one does not know.
    """
    cure = "name the file report.json that halnet report wrote"
    values = read_json_file(path, "an age check report", cure)
    if not isinstance(values, dict) or values.get("kind") != KIND:
        found = values.get("kind") if isinstance(values, dict) else None
        what = f"a file of the kind {found!r}" if found else "another JSON file"
        raise ConfigError(f"{path}: expected an age check report, found {what}; {cure}")
    check_format(path, values.get("format"), FORMAT)
    try:
        report = from_values(EarlierReport, values)
        report.photos.to_predictions()
    except (ValueError, ConfigError) as error:
        raise ConfigError(
            f"{path}: expected an age check report, found a damaged file ({error}); {cure}"
        ) from error
    return report
