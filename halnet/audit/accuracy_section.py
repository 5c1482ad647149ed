"""The section of a report about errors and intervals."""

from halnet.audit.accuracy import CLOSE, EXACT, LABELS, SliceAccuracy
from halnet.audit.error_sizes import ErrorSize
from halnet.audit.slices import BAND, RANGE, YEAR
from halnet.audit.words import mean_text, rate_text
from halnet.evaluation.rates import MIN_PHOTOS
from halnet.reporting.sections import Figure, FigureKind, Section, Series, Table


def accuracy_section(accuracy: tuple[SliceAccuracy, ...], sizes: tuple[ErrorSize, ...]) -> Section:
    """Return the section."""
    tables = []
    for labels in LABELS:
        rows = [row for row in accuracy if row.labels == labels]
        if rows:
            groups = [row for row in rows if row.kind != YEAR]
            title = f"Errors and intervals by dataset, age, sex and group: {_named(labels)}"
            tables.append(_accuracy_table(groups, labels, title))
    years = [row for row in accuracy if row.kind == YEAR]
    stated = [row for row in years if row.error.value is not None]
    if stated:
        tables.append(_accuracy_table(stated, EXACT, "Errors and intervals by single year of age"))
    tables.append(_size_table(sizes))
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
    return "photos with an exact age" if labels == EXACT else "photos with a range of ages"


def _accuracy_table(rows: list[SliceAccuracy], labels: str, title: str) -> Table:
    if labels == EXACT:
        error, close = "mean absolute error, years", f"error of at most {CLOSE} years"
        coverage = "true ages inside the 90 % interval"
    else:
        error, close = "mean distance to the range, years", "estimated age inside the range"
        coverage = "ranges that the 90 % interval meets"
    first = "true age, years" if rows[0].kind == YEAR else "photos of"
    columns = (
        *(first, "photos", f"{error} (95 % interval)", "bias, years (95 % interval)"),
        *(f"{close} (95 % interval)", f"{coverage} (95 % interval)"),
        "mean width of the 90 % interval, years (95 % interval)",
    )
    return Table(
        columns,
        tuple(
            (
                f"{row.name} years" if row.kind in (BAND, RANGE) else row.name,
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


def _size_table(sizes: tuple[ErrorSize, ...]) -> Table:
    return Table(
        (
            "wrong by more than, years",
            "all photos (95 % interval)",
            "people under 18 taken for older by more than that (95 % interval)",
            "adults taken for younger by more than that (95 % interval)",
        ),
        tuple(
            (
                str(row.years),
                rate_text(row.everyone),
                rate_text(row.minors_too_old),
                rate_text(row.adults_too_young),
            )
            for row in sizes
        ),
        "How large the errors are (of ranges of ages, the distance to the range)",
    )
