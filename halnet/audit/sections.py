"""The sections of a report, from what it contains."""

from dataclasses import replace

from halnet.audit.accuracy_section import accuracy_section
from halnet.audit.check_sections import check_section, nist_section
from halnet.audit.comparison_sections import all_changes_section, comparison_section
from halnet.audit.difference_section import difference_section
from halnet.audit.practice import practice_section
from halnet.audit.refusal_section import refusal_section
from halnet.audit.reliability import ReliabilityBin
from halnet.audit.report import AuditReport
from halnet.audit.steadiness import Repeatability, Steadiness
from halnet.audit.subject_section import subject_section
from halnet.audit.summary_section import summary_section
from halnet.audit.words import mean_text, percent, rate_text
from halnet.evaluation.rates import MIN_PHOTOS, TOO_FEW
from halnet.reporting.sections import Figure, FigureKind, Section, Series, Table

METHODS = (
    f"A rate or a mean of fewer than {MIN_PHOTOS} photos is not stated; the tables say "
    f'"{TOO_FEW}". Behind each rate, the parentheses have its exact 95 % interval (Clopper and '
    "Pearson). Behind each mean, they have a bootstrap 95 % interval. If nothing was seen in n "
    'photos, the true rate is still not zero: it is below 3 / n with 95 % confidence (the "rule of '
    'three"), and the table says "none of n (at most ...)".',
    "A share for which each single year counts the same is the mean of the shares of the single "
    "years, so that a year with many photos does not decide it. Its upper bound holds with 95 % "
    "confidence, at the effective number of photos (Korn and Graubard 1998).",
    'The "probability by chance" of a difference is the share of outcomes that are at least as '
    "large although nothing differs. Below 5 %, a difference counts as more than chance.",
    "All intervals treat the photos as independent. Several photos of one person would make the "
    "true uncertainty larger. The intervals contain chance alone. They do not contain wrong "
    "labels, nor that the photos here differ from those of another use.",
    "The file report.json beside this page has the same figures unrounded. It also has, for each "
    "photo, the true and the estimated age and a hash of its name, so that a later report can be "
    "compared with this one (halnet report --against report.json). It contains no picture and no "
    "file name.",
)


def describe_report(report: AuditReport) -> str:
    """Return one line about what was tested, and when."""
    subject = report.subject
    names = ", ".join(part.name for part in subject.sets)
    return (
        f"{subject.model.file} on {subject.model.runtime}, {len(report.photos.id):,} photos of "
        f"{names}, {subject.created[:10]}"
    )


def find_sections(report: AuditReport) -> list[Section]:
    """Return all sections of a report, in the order in which they are read."""
    comparison = report.comparison
    sections = [
        summary_section(report),
        *([comparison_section(comparison, report.subject)] if comparison else []),
        subject_section(report.subject),
        accuracy_section(report.accuracy, report.error_sizes),
        *(check_section(checks) for checks in report.checks),
        nist_section(report.checks, report.child_safety),
        _reliability_section(report.reliability),
        _steadiness_section(report.steadiness),
        difference_section(report.differences),
        refusal_section(report),
        Section("How the figures are made", METHODS),
        practice_section(),
        *([all_changes_section(comparison)] if comparison else []),
    ]
    return [_keep_percent(section) for section in sections]


def _keep_percent(section: Section) -> Section:
    """Return a section in which no line ends between a number and its sign for percent."""

    def keep(text: str) -> str:
        return text.replace(" %", "\N{NO-BREAK SPACE}%")

    return replace(
        section,
        text=tuple(map(keep, section.text)),
        points=tuple((keep(name), keep(text)) for name, text in section.points),
        tables=tuple(
            Table(
                tuple(map(keep, table.columns)),
                tuple(
                    tuple(keep(cell) if isinstance(cell, str) else cell for cell in row)
                    for row in table.rows
                ),
                keep(table.title),
            )
            for table in section.tables
        ),
    )


def _reliability_section(bins: tuple[ReliabilityBin, ...]) -> Section:
    series = []
    for legal in dict.fromkeys(part.legal for part in bins):
        own = [
            (100 * part.stated, 100 * part.observed.share)
            for part in bins
            if part.legal == legal and part.stated is not None and part.observed.share is not None
        ]
        if own:
            stated, observed = zip(*own, strict=True)
            series.append(Series(f"{legal} years or older", observed, stated))
    if series:
        series.append(Series("perfect", (0.0, 100.0), (0.0, 100.0)))
    rows = tuple(
        (
            f"{part.legal} years or older",
            f"{100 * part.low:.0f} to {100 * part.high:.0f} %",
            part.observed.count,
            TOO_FEW if part.stated is None else percent(part.stated),
            rate_text(part.observed),
        )
        for part in bins
    )
    columns = (
        *("probability to be", "stated, between", "photos", "stated, mean"),
        "observed (95 % interval)",
    )
    return Section(
        "Reliability of the stated probabilities",
        (
            "The model states a probability that a person has reached an age. Where it states "
            "80 %, eight of ten people should have reached it.",
        ),
        (Table(columns, rows, "Stated probabilities, and how often they came true"),)
        if rows
        else (),
        (
            Figure(
                "Stated and observed share of people who have reached an age",
                FigureKind.LINES,
                "observed, %",
                tuple(series),
                "stated probability, %",
            ),
        )
        if series
        else (),
    )


def _steadiness_section(steadiness: Steadiness) -> Section:
    rows = tuple(
        (
            row.change,
            row.strength,
            row.error.count,
            mean_text(row.error),
            rate_text(row.coverage),
            mean_text(row.shift),
        )
        for row in steadiness.effects
    )
    columns = (
        *("change of the crop", "strength", "photos"),
        "mean distance to the true age (or range), years (95 % interval)",
        "true ages inside the 90 % interval (95 % interval)",
        "mean change of the age, years (95 % interval)",
    )
    return Section(
        "Steadiness: how much an age changes if the photo changes",
        (
            _describe_repeatability(steadiness.repeatability),
            "The table has the small changes first, and then degradations as cameras, scanners "
            "and messengers make them (halnet evaluate --robustness describes them). The photos "
            "are a part of those of this report, spread evenly over each dataset.",
        ),
        (Table(columns, rows, "Ages and errors after each change of the photo"),),
    )


def _describe_repeatability(found: Repeatability) -> str:
    if found.median is None or found.p95 is None:
        return f"There are {TOO_FEW} photos to state how repeatable an age is."
    return (
        f"Repeatability: eight small changes were made to each of {found.photos:,} photos, such as "
        "a shift by one pixel. The standard deviation of the eight ages of one face is "
        f"{found.median:.2f} years in the median ({found.median_low:.2f} to "
        f"{found.median_high:.2f}), and {found.p95:.2f} years ({found.p95_low:.2f} to "
        f"{found.p95_high:.2f}) at the 95th percentile of the photos."
    )
