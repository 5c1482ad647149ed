"""The first section of a report: in plain words, what a reader can and cannot conclude."""

from halnet.audit.accuracy import EXACT, SliceAccuracy
from halnet.audit.age_checks import LegalAge
from halnet.audit.report import AuditReport
from halnet.audit.slices import ALL
from halnet.audit.words import join_words, mean_text, rate_text
from halnet.evaluation.rates import TOO_FEW
from halnet.reporting.sections import Section

LEGAL, CHALLENGE = 18, 25  # years, of the example
NOT_TESTED = (
    "Not tested: attacks with photos, screens, masks or injected video; make-up, false beards and "
    "filters; the camera, the light and the pose at the place of use; people who try to look "
    "older; several photos of one person in a row. The true ages are the labels of the datasets, "
    "and some of these labels are wrong. People who are not in these datasets, or in too small "
    "numbers, are not judged."
)
CAN = (
    "You can conclude how this model file, run as stated below, judges photos like these. You can "
    "compare it with another model on the same photos. You cannot conclude how often a check in a "
    "shop, an app or on a website is wrong: people, cameras and intentions differ. That needs "
    "a test at the place of use."
)


def summary_section(report: AuditReport) -> Section:
    """Return the first section."""
    text = [
        f"A program estimated the age of {len(report.photos.id):,} faces whose age is known. This "
        "page shows how often it was wrong, for whom, and how sure these figures are.",
        NOT_TESTED,
        CAN,
    ]
    overall = [row for row in report.accuracy if row.kind == ALL and row.labels == EXACT]
    if overall and overall[0].error.value is not None:
        text.append(_describe_accuracy(overall[0]))
    text += [_describe_check(checks) for checks in report.checks if checks.legal == LEGAL]
    relations = {part.relation for part in report.subject.sets if part.photos}
    if "home" in relations:
        names = [part.name for part in report.subject.sets if part.relation == "home"]
        text.append(
            f"The model was trained on other photos of {join_words(names)}. New photos from "
            "elsewhere are usually judged less well."
        )
    model = report.subject.model
    if model.licence or model.terms:
        terms = ": ".join(part for part in (model.licence, model.terms) if part)
        text.append(f"The weights of the model may be used as their licence states ({terms}).")
    return Section(
        "What this report says, and what it does not say",
        tuple(text),
        warnings=report.warnings,
    )


def _describe_accuracy(row: SliceAccuracy) -> str:
    interval = (
        f" It states an interval that should contain the true age of 90 % of people; it did for "
        f"{rate_text(row.coverage)}, and is {mean_text(row.width).split(' ')[0]} years wide on "
        "average."
    )
    return (
        f"On average, the estimated age is {mean_text(row.error).split(' ')[0]} years away from "
        f"the true age (95 % interval {_ends(row)} years; {row.error.count:,} photos with an exact "
        f"age).{interval}"
    )


def _ends(row: SliceAccuracy) -> str:
    return f"{row.error.low:.2f} to {row.error.high:.2f}"


def _describe_check(checks: LegalAge) -> str:
    (row,) = (row for row in checks.challenges if row.challenge == CHALLENGE)
    start = f'Age check at {LEGAL} that asks "does this person look {CHALLENGE} or older?": '
    if row.let_through.share is None or row.referred.share is None:
        return (
            f"{start}there are {TOO_FEW} photos of people on one of the two sides of {LEGAL}, so "
            "the two errors are not stated."
        )
    next_below = (
        f"Of {row.next_below.count} photos of people aged {LEGAL - 1}, "
        f"{rate_text(row.next_below)} were let through."
        if row.next_below.share is not None
        else f"There are {TOO_FEW} photos of people aged {LEGAL - 1} to state this for them alone."
    )
    return (
        f"{start}of {row.let_through.count:,} photos of people under {LEGAL}, "
        f"{rate_text(row.let_through)} were let through. {next_below} At the same time, "
        f"{rate_text(row.referred)} of {row.referred.count:,} photos of adults were referred to "
        "another proof of age. Behind each share, the parentheses have its 95 % interval."
    )
