"""The sections of a report, from what it contains."""

from dataclasses import replace

from halnet.audit.accuracy import CLOSE, EXACT, LABELS, SliceAccuracy
from halnet.audit.acquisition import PREPARED, Acquisition
from halnet.audit.check_sections import check_section, child_safety_section
from halnet.audit.comparison_sections import all_changes_section, comparison_section
from halnet.audit.differences import Difference
from halnet.audit.reliability import ReliabilityBin
from halnet.audit.report import AuditReport
from halnet.audit.slices import BAND, RANGE, YEAR
from halnet.audit.steadiness import Repeatability, Steadiness
from halnet.audit.subject import Subject
from halnet.audit.summary_section import summary_section
from halnet.audit.words import mean_text, p_text, percent, rate_text
from halnet.evaluation.rates import MIN_PHOTOS, TOO_FEW
from halnet.reporting.sections import Cell, Figure, FigureKind, Section, Series, Table

NOT_STATED = "not stated"
METHODS = (
    f"A rate or a mean of fewer than {MIN_PHOTOS} photos is not stated; the tables say "
    f'"{TOO_FEW}". Behind each rate, the parentheses have its exact 95 % interval (Clopper and '
    "Pearson). Behind each mean, they have a bootstrap 95 % interval. If nothing was seen in n "
    'photos, the true rate is still not zero: it is below 3 / n with 95 % confidence (the "rule of '
    'three"), and the table says "none of n (at most ...)".',
    "A share for which each single year counts the same is the mean of the shares of the single "
    "years, so that a year with many photos does not decide it. Its upper bound holds with 95 % "
    "confidence, at the effective number of photos (Korn and Graubard 1998).",
    "All intervals treat the photos as independent. Several photos of one person would make the "
    "true uncertainty larger. The intervals contain chance alone. They do not contain wrong "
    "labels, nor that the photos here differ from those of another use.",
    "The file report.json beside this page has the same figures unrounded. It also has, for each "
    "photo, the true and the estimated age and a hash of its name, so that a later report can be "
    "compared with this one (halnet report --against report.json). It contains no picture and no "
    "file name.",
)
PRACTICE = (
    ("functionality", "What the check decides, for whom, and what happens to those it refers"),
    ("performance", "The figures of this report; figures from the real place of use"),
    ("privacy", "Which pictures are taken and kept, where and for how long; who can see them"),
    ("security", "Which attacks were tested (photos, masks, injected video) and with what result"),
    ("acceptability", "How people of all groups are served; what a wrongly referred person can do"),
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
        _subject_section(report.subject),
        _accuracy_section(report.accuracy),
        *(check_section(checks) for checks in report.checks),
        child_safety_section(report.child_safety),
        _reliability_section(report.reliability),
        _steadiness_section(report.steadiness),
        _difference_section(report.differences),
        _acquisition_section(report),
        Section("How the figures are made", METHODS),
        _practice_section(report),
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
        tables=tuple(
            Table(
                tuple(map(keep, table.columns)),
                tuple(
                    tuple(keep(cell) if isinstance(cell, str) else cell for cell in row)
                    for row in table.rows
                ),
                table.title,
            )
            for table in section.tables
        ),
    )


def _subject_section(subject: Subject) -> Section:
    model = subject.model
    minors = f"{sum(model.minor_photos):,}" if sum(model.minor_photos) else "none"
    values: list[tuple[Cell, ...]] = [
        ("model file", model.file),
        ("SHA-256 of the model file", model.artifact_sha256 or "there is no file"),
        ("SHA-256 of its checkpoint", model.checkpoint_sha256 or NOT_STATED),
        ("precision", model.precision),
        ("licence of the weights", model.licence or NOT_STATED),
        ("terms", model.terms or NOT_STATED),
        ("trained on", ", ".join(model.trained_on) or NOT_STATED),
        ("calibration of intervals", model.calibration),
        ("calibration photos of people under 18", minors),
        ("fingerprint of the input", model.input),
        ("detector of the faces", subject.detector),
        ("runtime", f"{model.runtime} {model.version}, {model.provider}"),
        ("threads of an inference", str(model.threads or "chosen by the library")),
        ("halnet", subject.halnet),
        ("system", subject.system),
        ("made", subject.created),
        ("command", subject.command),
    ]
    if subject.limit:
        values.append(("limit", f"{subject.limit:,} photos of each dataset, spread evenly"))
    rows: list[tuple[Cell, ...]] = [
        (
            part.name,
            part.photos,
            part.exact,
            part.minors,
            part.split,
            part.split_sha256[:16],
            _describe_relation(part.relation),
            None if part.eye_distance is None else round(part.eye_distance),
            part.origin,
        )
        for part in subject.sets
    ]
    columns = (
        *("dataset", "photos", "of these with an exact age", "of these surely under 18", "part"),
        *("split, first digits of SHA-256", "what the model knows of it"),
        *("median distance of the eyes, pixels", "how the photos were taken, as far as known"),
    )
    return Section(
        "What was tested",
        ("Faces were found in the original photos for this report.",)
        if subject.from_photos
        else (
            "The report starts from prepared crops of faces, which halnet prepare made from the "
            "photos.",
        ),
        (
            Table(("what", "value"), tuple(values), "Model and run"),
            Table(columns, tuple(rows), "Photos"),
        ),
    )


def _describe_relation(relation: str) -> str:
    return {
        "home": "trained on other photos of it",
        "away": "never saw it",
        "other split": "trained on it by another split",
        "unknown": "not known",
    }.get(relation, relation)


def _accuracy_section(accuracy: tuple[SliceAccuracy, ...]) -> Section:
    tables = []
    for labels in LABELS:
        rows = [row for row in accuracy if row.labels == labels]
        if rows:
            groups = [row for row in rows if row.kind != YEAR]
            tables.append(_accuracy_table(groups, labels, f"Photos with {_named(labels)}"))
    years = [row for row in accuracy if row.kind == YEAR]
    stated = [row for row in years if row.error.value is not None]
    if stated:
        tables.append(_accuracy_table(stated, EXACT, "By single year of age"))
    text = [
        "The error is the distance between estimated and true age. The bias is above 0 if people "
        "are estimated too old. A 90 % interval should contain the true age of 90 % of people; "
        "the narrower it is, the more it says.",
    ]
    few = [row.name for row in years if row.error.value is None]
    if few:
        text.append(
            f"{len(few)} single years have fewer than {MIN_PHOTOS} photos and are not in the "
            f"table: {', '.join(few)}."
        )
    bands = [row for row in accuracy if row.kind == BAND and row.labels == EXACT]
    values = [(row.name, row.error.value) for row in bands if row.error.value is not None]
    figures = []
    if values:
        names, errors = zip(*values, strict=True)
        figures.append(
            Figure(
                "Mean absolute error by age band",
                FigureKind.BARS,
                "mean absolute error, years",
                (Series("mean absolute error", errors),),
                categories=tuple(f"{name} years" for name in names),
            )
        )
    return Section("Accuracy", tuple(text), tuple(tables), tuple(figures))


def _named(labels: str) -> str:
    return "an exact age" if labels == EXACT else "a range of ages"


def _accuracy_table(rows: list[SliceAccuracy], labels: str, title: str) -> Table:
    if labels == EXACT:
        error, close = "mean absolute error, years", f"error of at most {CLOSE} years"
        coverage = "true ages inside the 90 % interval"
    else:
        error, close = "mean distance to the range, years", "estimated age inside the range"
        coverage = "ranges that the 90 % interval meets"
    columns = (
        *("photos of", "photos", f"{error} (95 % interval)", "bias, years (95 % interval)"),
        *(f"{close} (95 % interval)", f"{coverage} (95 % interval)"),
        "mean width of the 90 % interval, years (95 % interval)",
    )
    return Table(
        columns,
        tuple(
            (
                f"{row.name} years" if row.kind in (BAND, RANGE, YEAR) else row.name,
                row.error.count,
                mean_text(row.error),
                mean_text(row.bias),
                rate_text(row.close),
                rate_text(row.coverage),
                mean_text(row.width),
            )
            for row in rows
        ),
        title,
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
        (Table(columns, rows),) if rows else (),
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
        (Table(columns, rows),),
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


def _difference_section(differences: tuple[Difference, ...]) -> Section:
    text = [
        "Each row has the groups with the lowest and the highest value. The test shuffles the "
        "groups among photos of the same dataset and of the same age (five years), and counts how "
        "often the largest gap is at least as large. So a gap that comes from the ages or the "
        "datasets of the groups alone counts as chance. The probabilities are corrected for the "
        "number of rows (Holm). The interval of the gap is that of these two groups, which were "
        "chosen because they are the farthest apart: it is therefore a little too high.",
    ]
    if not differences:
        return Section(
            "Differences between groups",
            (f"No two groups of one kind have {MIN_PHOTOS} photos, so nothing is compared.",),
        )
    shown = [
        f"{row.groups}: {row.measure} ({row.lowest} and {row.highest})"
        for row in differences
        if row.is_shown
    ]
    text.insert(
        0,
        f"More than chance: {'; '.join(shown)}." if shown else "No difference is more than chance.",
    )
    rows: list[tuple[Cell, ...]] = []
    for row in differences:
        as_text = (lambda v: f"{v:.2f}") if row.measure.endswith("years") else percent
        rows.append(
            (
                row.groups,
                row.measure,
                "yes" if row.is_shown else "not shown",
                p_text(row.p_adjusted),
                f"{row.lowest}: {as_text(row.lowest_value)} of {row.lowest_photos:,}",
                f"{row.highest}: {as_text(row.highest_value)} of {row.highest_photos:,}",
                f"{as_text(row.gap)} ({as_text(row.gap_low)} to {as_text(row.gap_high)})",
                row.ratio,
                ", ".join(row.too_few),
            )
        )
    columns = (
        *("groups by", "measure", "more than chance?", "probability by chance"),
        *("lowest: value of photos", "highest: value of photos", "gap (95 % interval)", "ratio"),
        "left out, too few photos",
    )
    return Section("Differences between groups", tuple(text), (Table(columns, tuple(rows)),))


def _acquisition_section(report: AuditReport) -> Section:
    tables = []
    if report.acquisition:
        rows = tuple(
            (
                _describe_stage(row),
                row.dataset,
                row.group or "all",
                row.missed.count,
                row.missed.hits,
                rate_text(row.missed),
            )
            for row in report.acquisition
        )
        columns = (
            *("who looked for faces", "dataset", "people", "photos", "without a face"),
            "share without a face (95 % interval)",
        )
        tables.append(Table(columns, rows, "Photos in which no face was found"))
    if report.rejected:
        tables.append(
            Table(
                ("dataset", "reason", "photos"),
                tuple((row.dataset, row.reason, row.photos) for row in report.rejected),
                "Photos that were left out for another reason",
            )
        )
    text = ["Photos without a detected face get no age. No other figure of this report has them."]
    if not report.acquisition:
        text.append("The datasets do not state in how many photos no face was found.")
    if not report.subject.from_photos:
        text.append(
            "This report started from prepared crops. To measure the failures by group, name the "
            "original photos with --photos."
        )
    return Section("Failure to acquire", tuple(text), tuple(tables))


def _describe_stage(row: Acquisition) -> str:
    return "halnet prepare, all photos" if row.stage == PREPARED else "this report"


def _practice_section(report: AuditReport) -> Section:
    return Section(
        "Practice statement to fill in",
        (
            "ISO/IEC 27566-1 asks those who run an age check for a practice statement. This table "
            "has its five characteristics. The operator fills in the last column; the second says "
            "what belongs there. This report is evidence for the performance alone.",
        ),
        (
            Table(
                ("characteristic", "what belongs here", "to fill in"),
                tuple((name, what, "...") for name, what in PRACTICE),
            ),
        ),
    )
