"""The first section of a report: in plain words, what was not tested and what came out."""

from collections.abc import Iterator

from halnet.audit.accuracy import EXACT, SliceAccuracy
from halnet.audit.age_checks import LegalAge
from halnet.audit.differences import Difference
from halnet.audit.refusals import ANY, Refusals
from halnet.audit.report import AuditReport
from halnet.audit.slices import ALL
from halnet.audit.subject import Subject
from halnet.audit.words import join_words, mean_text, percent, rate_of, rate_text
from halnet.checks.risk import YOUNGEST
from halnet.evaluation.rates import MIN_PHOTOS
from halnet.reporting.sections import Figure, FigureKind, Section, Series

LEGAL, CHALLENGE = 18, 25  # years, of the example
RISK = 0.05  # of the example
MAX_NAMED = 4  # differences between groups that the summary names

Point = tuple[str, str]  # what it is about, and what is said

NOT_TESTED = (
    "attacks with photos, screens, masks or injected video; make-up, false beards and filters; "
    "people who try to look older, or who look much older than they are by nature; the cameras, "
    "the light and the pose at the place of use; several photos of one person in a row. Groups of "
    "people who are not in these datasets, or in too small numbers, are not judged. The true ages "
    "are the labels of the datasets, and some of these labels are wrong."
)


def summary_section(report: AuditReport) -> Section:
    """Return the first section."""
    points: list[Point] = [("Not tested", NOT_TESTED)]
    overall = [row for row in report.accuracy if row.kind == ALL and row.labels == EXACT]
    if overall and overall[0].error.value is not None:
        points.append(("Accuracy", _describe_accuracy(overall[0])))
    for checks in report.checks:
        if checks.legal == LEGAL:
            points.append((f"Age check at {LEGAL}", _describe_check(checks)))
            points += _describe_risk(checks)
    points += _describe_refusals(report.refusals)
    points.append(("Differences between groups", _describe_differences(report.differences)))
    points.append(("What you can conclude", _describe_conclusion(report.subject)))
    model = report.subject.model
    if model.licence or model.terms:
        terms = ": ".join(part for part in (model.licence, model.terms) if part)
        points.append(("Licence of the model", f"{terms}."))
    return Section(
        "In short",
        (
            f"A program estimated the age of {len(report.photos.id):,} faces whose age is known. "
            "This page shows how often it was wrong, for whom, and how sure these figures are. "
            "Behind each figure, the parentheses have its 95 % interval: the values that chance "
            "allows with this number of photos.",
        ),
        figures=tuple(
            figure
            for checks in report.checks
            if checks.legal == LEGAL
            for figure in _draw_bands(checks)
        ),
        warnings=report.warnings,
        points=tuple(points),
    )


def _draw_bands(checks: LegalAge) -> Iterator[Figure]:
    """Yield the figure of who passes by age band, unless no band has enough photos."""
    place = checks.shown_challenges.index(CHALLENGE)
    passing = {
        f"{row.low} to {row.high} years": (row.side, share if row.side == "below" else 1 - share)
        for row in checks.bands
        if (share := row.wrong[place].share) is not None
    }
    if passing:
        yield Figure(
            f"Who passes the check at {LEGAL} with the challenge age {CHALLENGE}",
            FigureKind.STACKS,
            "people who pass, %",
            tuple(
                Series(name, tuple(100 * s if side == own else 0.0 for own, s in passing.values()))
                for side, name in (
                    ("below", f"under {LEGAL}: should not pass"),
                    ("of age", f"{LEGAL} or older: should pass"),
                )
            ),
            categories=tuple(passing),
            digits=1,
        )


def _describe_accuracy(row: SliceAccuracy) -> str:
    return (
        f"on average, the estimated age is {mean_text(row.error)} years away from the true age, "
        f"on {row.error.count:,} photos with an exact age. The program also states a range that "
        f"should contain the true age of 90 % of people. It did for {rate_text(row.coverage)}, and "
        f"is {mean_text(row.width)} years wide on average."
    )


def _describe_check(checks: LegalAge) -> str:
    (row,) = (row for row in checks.challenges if row.challenge == CHALLENGE)
    few = f"there are fewer than {MIN_PHOTOS} photos of"
    minors = (
        f"nothing is stated about people under {LEGAL}, because {few} them."
        if row.let_through.share is None
        else f"{rate_of(row.let_through, f'photos of people under {LEGAL}')} were let through."
    )
    if row.even:
        minors += (
            f" Of those aged {YOUNGEST} to {LEGAL - 1}, who are harder to tell, it was "
            f"{percent(row.even.share)} (at most {percent(row.even.bound)}), each year of age "
            "counting the same."
        )
    next_below = (
        f"For people aged {LEGAL - 1}, nothing is stated, because {few} them."
        if row.next_below.share is None
        else f"Of those aged {LEGAL - 1}, it was {rate_of(row.next_below, 'photos')}."
    )
    adults = (
        f"For adults, nothing is stated, because {few} them."
        if row.referred.share is None
        else f"At the same time, {rate_of(row.referred, 'photos of adults')} were referred to "
        "another proof of age."
    )
    return (
        f"who is taken for {CHALLENGE} or older passes (challenge age {CHALLENGE}). With this "
        f"rule, {minors} {next_below} {adults}"
    )


def _describe_risk(checks: LegalAge) -> Iterator[Point]:
    for row in checks.risks:
        if row.risk != RISK or row.challenge is None or row.bound is None:
            continue
        found = row.found
        here = (
            f" On the photos of this report, {percent(found.share) if found.share else 'none'} "
            f"were let through (at most {percent(found.bound)})."
            if found
            else ""
        )
        adults = (
            f" Of the adults, {rate_text(row.referred)} are then referred."
            if row.referred and row.referred.share is not None
            else ""
        )
        yield (
            f"If at most {100 * RISK:.0f} % of people under {LEGAL} may pass",
            f"this needs the challenge age {row.challenge}. It was chosen on other photos, which "
            f"vouch for at most {percent(row.bound)}, each year of age from 8 on counting the "
            f"same.{here}{adults}",
        )


def _describe_refusals(refusals: Refusals) -> Iterator[Point]:
    overall = [row for row in refusals.rates if row.kind == ALL]
    if not overall:
        return
    counts = {row.reason: row.refused.hits for row in overall if row.reason != ANY}
    common = sorted((name for name in counts if counts[name]), key=lambda name: -counts[name])
    why = f", mostly for the reason {join_words(common[:1])}" if common else ""
    rate = overall[0].refused
    if rate.share is None:
        text = f"there are fewer than {MIN_PHOTOS} photos to state how often this happens."
    elif rate.hits:
        text = f"a check gives no result for {rate_of(rate, 'photos')}{why}."
    else:
        text = f"a check gives a result for every photo; without one are {rate_text(rate)}."
    yield "No result", text


def _describe_differences(differences: tuple[Difference, ...]) -> str:
    shown = [row for row in differences if row.is_shown]
    if not differences:
        return f"no two groups have at least {MIN_PHOTOS} photos each, so nothing is compared."
    if not shown:
        return "between the groups of these photos, no difference is more than chance."
    named = [
        f"{row.measure}, by {row.groups} (lowest for {row.lowest}, highest for {row.highest})"
        for row in shown[:MAX_NAMED]
    ]
    more = f", and {len(shown) - MAX_NAMED} more" if len(shown) > MAX_NAMED else ""
    return f"more than chance are these: {'; '.join(named)}{more}."


def _describe_conclusion(subject: Subject) -> str:
    text = (
        "how this model file, run as stated below, judges photos like these, and how it compares "
        "with another model on the same photos. You cannot conclude how often a check in a shop, "
        "an app or on a website is wrong, because people, cameras and intentions differ. That "
        "needs a test at the place of use."
    )
    home = [part.name for part in subject.sets if part.relation == "home" and part.photos]
    if home:
        text += (
            f" The model was trained on other photos of {join_words(home)}, and new photos from "
            "elsewhere are usually judged less well."
        )
    return text
