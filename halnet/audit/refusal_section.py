"""The section of a report about failure to acquire: how often a check gives no result."""

from halnet.audit.acquisition import Acquisition, Rejected
from halnet.audit.refusals import ANY, Refusals
from halnet.audit.report import AuditReport
from halnet.audit.slices import ALL, BAND, RANGE
from halnet.audit.words import mean_text, rate_text
from halnet.checks.check import NO_FACE, NOT_UPRIGHT, SEVERAL_FACES
from halnet.checks.reasons import REASONS
from halnet.reporting.sections import Section, Table

LIMITS = {
    NO_FACE: "the detector finds none",
    SEVERAL_FACES: "the detector finds more than one",
    NOT_UPRIGHT: "the detector finds it in the turned photo only",
    **{
        reason.name: " or ".join(
            f"{word} {limit:g}"
            for word, limit in (("below", reason.low), ("above", reason.high))
            if abs(limit) != float("inf")
        )
        + f" ({reason.number})"
        for reason in REASONS
    },
}


def refusal_section(report: AuditReport) -> Section:
    """Return the section."""
    refusals = report.refusals
    text = [
        "A check gives no result for a photo in which it finds no face or several, and for a face "
        "that is too small, too dark, blurred or otherwise hard to judge (halnet check has "
        "these limits). The person then needs another photo or another proof of age. All other "
        "sections of this report count every photo with a face, whether a check refuses it or not.",
    ]
    tables = []
    if refusals.rates:
        tables = [_reason_table(refusals), _group_table(refusals), _effect_table(refusals)]
        text.append(
            "How far the estimated age is from the true age (or range) on average, in years: "
            f"{mean_text(refusals.refused_error)} for the faces that a check refuses, and "
            f"{mean_text(refusals.judged_error)} for all others."
        )
    else:
        text.append(
            "The prepared datasets were made by an older version and do not state the landmarks, "
            "so these reasons are not known. Run halnet prepare into a new folder."
        )
    if refusals.rates and refusals.not_known:
        text.append(f"Left out: {refusals.not_known:,} photos whose landmarks are not known.")
    if not report.subject.from_photos:
        text.append(
            "This report started from prepared crops, each of one face. So it cannot say in how "
            "many photos no face or several are found: name the original photos with --photos for "
            "that. The last tables have what halnet prepare found when it made the crops."
        )
    tables += _prepared_tables(report.acquisition, report.rejected)
    return Section("Failure to acquire: no result", tuple(text), tuple(tables))


def _reason_table(refusals: Refusals) -> Table:
    return Table(
        (
            "reason",
            "photos",
            "no result",
            "share (95 % interval)",
            "a face is refused if",
        ),
        tuple(
            (
                row.reason,
                row.refused.count,
                row.refused.hits,
                rate_text(row.refused),
                LIMITS.get(row.reason, "one reason or several"),
            )
            for row in refusals.rates
            if row.kind == ALL
        ),
        "Why a check gives no result. A photo may have several reasons.",
    )


def _group_table(refusals: Refusals) -> Table:
    rows = []
    for row in refusals.rates:
        if row.reason != ANY:
            continue
        reasons = [
            f"{part.reason} {part.refused.hits}"
            for part in refusals.rates
            if (part.kind, part.name) == (row.kind, row.name)
            and part.reason != ANY
            and part.refused.hits
        ]
        name = {BAND: f"{row.name} years", RANGE: f"a range: {row.name} years"}.get(
            row.kind, row.name
        )
        rows.append((name, row.refused.count, rate_text(row.refused), ", ".join(reasons)))
    return Table(
        ("photos of", "photos", "no result (95 % interval)", "photos with each reason"),
        tuple(rows),
        "For whom a check gives no result",
    )


def _effect_table(refusals: Refusals) -> Table:
    return Table(
        (
            "legal age (challenge age), years",
            "under the legal age: no result",
            "all faces: let through",
            "without the refused ones: let through",
            "of legal age: no result",
            "all faces: referred",
            "without the refused ones: referred",
        ),
        tuple(
            (
                f"{row.legal} ({row.challenge})",
                rate_text(row.no_result_below),
                rate_text(row.let_through),
                rate_text(row.let_through_judged),
                rate_text(row.no_result_of_age),
                rate_text(row.referred),
                rate_text(row.referred_judged),
            )
            for row in refusals.effects
        ),
        "Whether it helps to refuse these photos (each share with its 95 % interval)",
    )


def _prepared_tables(
    acquisition: tuple[Acquisition, ...], rejected: tuple[Rejected, ...]
) -> list[Table]:
    tables = []
    if acquisition:
        tables.append(
            Table(
                ("dataset", "people", "photos", "without a face", "share (95 % interval)"),
                tuple(
                    (
                        row.dataset,
                        row.group or "all",
                        row.missed.count,
                        row.missed.hits,
                        rate_text(row.missed),
                    )
                    for row in acquisition
                ),
                "Photos of the whole datasets in which halnet prepare found no face",
            )
        )
    if rejected:
        tables.append(
            Table(
                ("dataset", "reason", "photos"),
                tuple((row.dataset, row.reason, row.photos) for row in rejected),
                "Photos that halnet prepare left out for another reason",
            )
        )
    return tables
