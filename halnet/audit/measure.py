"""Makes a report: runs a model on the photos, and measures all that the report states."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from halnet.ages import LEVEL
from halnet.artifact import Metadata
from halnet.audit.accuracy import measure_accuracy
from halnet.audit.acquisition import read_prepared, read_rejected
from halnet.audit.age_checks import LEGAL_AGES, check_legal_age, measure_child_safety
from halnet.audit.comparison import compare
from halnet.audit.differences import find_differences
from halnet.audit.error_sizes import measure_error_sizes
from halnet.audit.judging import (
    JudgedPhotos,
    count_faceless,
    find_refused,
    judge_crops,
    judge_photos,
)
from halnet.audit.photo_table import list_photos
from halnet.audit.refusals import measure_refusals
from halnet.audit.reliability import measure_reliability
from halnet.audit.report import AuditReport, EarlierReport
from halnet.audit.steadiness import (
    PHOTOS,
    choose_photos,
    count_crops,
    measure_steadiness,
)
from halnet.audit.subject import Subject, describe_model, describe_set, describe_system
from halnet.audit.words import join_words
from halnet.datasets.prepared_dataset import OnProgress, no_progress
from halnet.datasets.record import Record
from halnet.errors import ConfigError
from halnet.evaluation.accuracy import EvaluateConfig, OpenedModel, open_for_evaluation
from halnet.evaluation.predictions import to_predictions
from halnet.evaluation.rates import MIN_PHOTOS
from halnet.evaluation.unseen import Relation, UnseenPhotos


def make_report(
    config: EvaluateConfig,
    command: str,
    against: EarlierReport | None = None,
    on_progress: OnProgress = no_progress,
    steady: int = PHOTOS,
) -> AuditReport:
    """Run a model and return its report.

    `command` is the command line that makes the report. With `against`, an earlier report, the two
    are compared. `steady` is the number of photos of each dataset that are changed to measure how
    steady the ages are. `on_progress` is called with the number of finished faces and of all faces,
    where each change of a photo counts.

    Raises what `open_for_evaluation`, `judge_crops` and `judge_photos` raise, and ConfigError if
    the model is not calibrated for intervals of 90 %.
    """
    created = datetime.now(UTC).isoformat(timespec="seconds")
    with open_for_evaluation(config, quality=True) as opened:
        metadata, model = opened.spec.metadata, describe_model(opened)
        _check_calibration(opened)
        changed = choose_photos(opened, steady)
        total = len(opened.records) + count_crops(changed)
        judged = _judge(opened, config, lambda own, _: on_progress(own, total))
        before = len(opened.records)
        steadiness = measure_steadiness(
            opened, changed, lambda own, _: on_progress(before + own, total)
        )
        asked = (*opened.photos, *opened.empty)
    records = judged.records
    predictions = to_predictions(judged.outputs, records, metadata.calibration)
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
        legal: metadata.calibration.probability_at_least(judged.outputs.probabilities, legal)
        for legal in LEGAL_AGES
    }
    return AuditReport(
        subject,
        measure_accuracy(predictions),
        measure_error_sizes(predictions),
        tuple(check_legal_age(predictions, age, metadata.minor_errors) for age in LEGAL_AGES),
        measure_child_safety(predictions),
        measure_reliability(predictions, probabilities),
        steadiness,
        find_differences(predictions, *find_refused(judged.reasons_of_faces)),
        measure_refusals(judged, predictions),
        tuple(rate for part in asked for rate in read_prepared(part.name, part.data)),
        tuple(row for part in asked for row in read_rejected(part.name, part.data)),
        _find_warnings(judged, asked, metadata),
        table,
        compare(against.photos, against.subject, table) if against else None,
    )


def _check_calibration(opened: OpenedModel) -> None:
    """Raise ConfigError, before all photos are run, unless the model has intervals of 90 %."""
    try:
        opened.spec.metadata.calibration.interval(0.0, 1.0, LEVEL)
    except ConfigError as error:
        raise ConfigError(
            f"{opened.spec.model}: expected a model that is calibrated for intervals of "
            f"{100 * LEVEL:.0f} %, which this report judges, found another one ({error}); use a "
            "checkpoint that halnet train wrote, or an artifact that was exported from one"
        ) from error


def _judge(opened: OpenedModel, config: EvaluateConfig, on_progress: OnProgress) -> JudgedPhotos:
    if not config.photos:
        return judge_crops(opened, on_progress)
    folders = dict(zip(opened.data.sets, config.photos, strict=True))
    return judge_photos(opened, folders, on_progress)


def _find_warnings(
    judged: JudgedPhotos, photos: Sequence[UnseenPhotos], metadata: Metadata
) -> tuple[str, ...]:
    """Return sentences about what this report cannot tell, although a reader expects it."""
    found = [*_find_missing_ages(judged.records), *_find_refused_sets(judged)]
    if not any(metadata.minor_errors):
        found.append(
            "The model file states no errors of minors, so no challenge age can be chosen for a "
            "wanted risk."
        )
    unknown = [part.name for part in photos if part.relation is Relation.UNKNOWN]
    if unknown:
        found.append(
            f"It is not known whether the model was trained on the photos of "
            f"{join_words(unknown)}. If it was, the errors here are too small."
        )
    found += [part.note for part in photos if part.note and part.relation is not Relation.UNKNOWN]
    return tuple(found)


def _find_missing_ages(records: Sequence[Record]) -> list[str]:
    """Return a sentence about the legal ages with too few people below, and one about above."""
    below = {f"under {age}": sum(r.age_high < age for r in records) for age in LEGAL_AGES}
    of_age = {f"aged {age} or more": sum(r.age_low >= age for r in records) for age in LEGAL_AGES}
    found = []
    for counts, wrong in ((below, "lets through"), (of_age, "refers")):
        few = [f"{who} ({n or 'none'})" for who, n in counts.items() if n < MIN_PHOTOS]
        if few:
            found.append(
                f"A rate needs at least {MIN_PHOTOS} photos, and there are fewer of people "
                f"{join_words(few)}. This report does not say how many of them a check {wrong}."
            )
    return found


def _find_refused_sets(judged: JudgedPhotos) -> list[str]:
    """Return sentences about datasets without a face, and about those that a check refuses."""
    refused, known = find_refused(judged.reasons)
    faceless = count_faceless(judged)
    found = [
        f"No face was found in any of the {total:,} photos of {name}, so no figure has them."
        for name, (missed, total) in faceless.items()
        if missed == total
    ]
    names = np.array([record.dataset for record in judged.asked])
    for name, (missed, total) in faceless.items():
        own = names == name
        if missed < total and (refused & known)[own].all():
            found.append(
                f"A check gives no result for any of the {total:,} photos of {name}. The figures "
                "of this report are of faces that a check refuses."
            )
    return found
