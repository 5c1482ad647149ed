"""Makes a report: runs a model on the photos, and measures all that the report states."""

from collections.abc import Sequence
from datetime import UTC, datetime

from halnet.ages import LEVEL
from halnet.artifact import Metadata
from halnet.audit.accuracy import measure_accuracy
from halnet.audit.acquisition import (
    Acquisition,
    Rejected,
    count_missed,
    read_prepared,
    read_rejected,
)
from halnet.audit.age_checks import LEGAL_AGES, check_legal_age, measure_child_safety
from halnet.audit.comparison import compare
from halnet.audit.differences import find_differences
from halnet.audit.photo_table import list_photos
from halnet.audit.reliability import measure_reliability
from halnet.audit.report import AuditReport
from halnet.audit.steadiness import (
    PHOTOS,
    choose_photos,
    count_crops,
    measure_steadiness,
)
from halnet.audit.subject import Subject, describe_model, describe_set, describe_system
from halnet.datasets.prepared_dataset import OnProgress, no_progress
from halnet.datasets.record import Record
from halnet.evaluation.accuracy import (
    EvaluateConfig,
    OpenedModel,
    open_for_evaluation,
    run_photos,
)
from halnet.evaluation.predictions import to_predictions
from halnet.evaluation.rates import MIN_PHOTOS
from halnet.evaluation.unseen import Relation, UnseenPhotos
from halnet.results import Outputs, join_outputs

Missed = dict[str, list[Record]]  # by the name of the dataset: its photos without a face


def make_report(
    config: EvaluateConfig,
    command: str,
    against: AuditReport | None = None,
    on_progress: OnProgress = no_progress,
    steady: int = PHOTOS,
) -> AuditReport:
    """Run a model and return its report.

    `command` is the command line that makes the report. With `against`, an earlier report, the two
    are compared. `steady` is the number of photos of each dataset that are changed to measure how
    steady the ages are. `on_progress` is called with the number of finished faces and of all faces,
    where each change of a photo counts.

    Raises what `open_for_evaluation` and `run_photos` raise, and ConfigError if the model is not
    calibrated for intervals of 90 %.
    """
    created = datetime.now(UTC).isoformat(timespec="seconds")
    with open_for_evaluation(config) as opened:
        metadata, model = opened.spec.metadata, describe_model(opened)
        metadata.calibration.interval(0.0, 1.0, LEVEL)  # raises before all photos are run
        changed = choose_photos(opened, steady)
        total = len(opened.records) + count_crops(changed)
        records, outputs, missed = _run(opened, config, lambda own, _: on_progress(own, total))
        before = len(opened.records)
        steadiness = measure_steadiness(
            opened, changed, lambda own, _: on_progress(before + own, total)
        )
        asked = (*opened.photos, *opened.empty)
    predictions = to_predictions(outputs, records, metadata.calibration)
    table = list_photos(predictions)
    halnet, system = describe_system()
    sets = tuple(
        describe_set(part, [record for record in records if record.dataset == part.name])
        for part in asked
    )
    subject = Subject(
        created,
        command,
        halnet,
        system,
        config.limit,
        bool(config.photos),
        metadata.input.detector,
        model,
        sets,
    )
    probabilities = {
        legal: metadata.calibration.probability_at_least(outputs.probabilities, legal)
        for legal in LEGAL_AGES
    }
    acquisition, rejected = _read_acquisition(asked, missed)
    return AuditReport(
        subject,
        measure_accuracy(predictions),
        tuple(check_legal_age(predictions, age, metadata.minor_errors) for age in LEGAL_AGES),
        measure_child_safety(predictions),
        measure_reliability(predictions, probabilities),
        steadiness,
        find_differences(predictions),
        acquisition,
        rejected,
        _find_warnings(records, asked, metadata),
        table,
        compare(against.photos, against.subject, table) if against else None,
    )


def _run(
    opened: OpenedModel, config: EvaluateConfig, on_progress: OnProgress
) -> tuple[list[Record], Outputs, Missed]:
    """Return the photos that have a face, their outputs, and the photos without a face."""
    if not config.photos:
        run = opened.predictor.predict_crops
        outputs = opened.data.outputs(run, opened.records, on_progress)
        return list(opened.records), outputs, {}
    folders = dict(zip(opened.data.sets, config.photos, strict=True))
    total, done = len(opened.records), 0
    parts, kept, missed = [], [], Missed()
    for part in opened.photos:

        def report(own: int, _: int, before: int = done) -> None:
            on_progress(before + own, total)

        found, without = run_photos(opened.predictor, folders[part.name], part.records, report)
        done += len(part.records)
        left = {record.source for record in without}
        parts.append(found)
        kept += [record for record in part.records if record.source not in left]
        missed[part.name] = without
    return kept, join_outputs(parts), missed


def _read_acquisition(
    photos: Sequence[UnseenPhotos], missed: Missed
) -> tuple[tuple[Acquisition, ...], tuple[Rejected, ...]]:
    rates = [rate for part in photos for rate in read_prepared(part.name, part.data)]
    for part in photos:
        if part.name in missed:
            rates += count_missed(part.name, part.records, missed[part.name])
    return tuple(rates), tuple(
        row for part in photos for row in read_rejected(part.name, part.data)
    )


def _find_warnings(
    records: Sequence[Record], photos: Sequence[UnseenPhotos], metadata: Metadata
) -> tuple[str, ...]:
    """Return sentences about what this report cannot tell, although a reader expects it."""
    found = []
    for legal in LEGAL_AGES:
        below = sum(record.age_high < legal for record in records)
        if below < MIN_PHOTOS:
            found.append(
                f"There are {below or 'no'} photos of people under {legal}, and a rate needs at "
                f"least {MIN_PHOTOS}: this report does not say how many people under {legal} a "
                "check lets through."
            )
    if not any(metadata.minor_errors):
        found.append(
            "The model file states no errors of minors, so no challenge age can be chosen for a "
            "wanted risk."
        )
    unknown = [part.name for part in photos if part.relation is Relation.UNKNOWN]
    if unknown:
        found.append(
            f"It is not known whether the model was trained on the photos of {', '.join(unknown)}. "
            "If it was, the errors here are too small."
        )
    found += [part.note for part in photos if part.note and part.relation is not Relation.UNKNOWN]
    return tuple(found)
