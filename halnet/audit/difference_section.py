"""The section of a report about differences between groups."""

from halnet.audit.differences import Difference
from halnet.audit.words import join_words, p_text, percent
from halnet.evaluation.rates import MIN_PHOTOS
from halnet.reporting.sections import Cell, Section, Table


def difference_section(differences: tuple[Difference, ...]) -> Section:
    """Return the section."""
    if not differences:
        return Section(
            "Differences between groups",
            (f"No two groups of one kind have {MIN_PHOTOS} photos, so nothing is compared.",),
        )
    shown = [
        f"{row.measure}, by {row.groups} (lowest for {row.lowest}, highest for {row.highest})"
        for row in differences
        if row.is_shown
    ]
    text = [
        f"More than chance: {'; '.join(shown)}." if shown else "No difference is more than chance.",
        "Each row has the groups with the lowest and the highest value. The test compares each "
        "photo with those of the same dataset and of the same age (five years). It shuffles the "
        "groups among them, and counts how often a group is at least as far from the others, for "
        "its size. So what comes from the ages or the datasets of the groups alone counts as "
        "chance, and cannot hide a difference. The probabilities are corrected for the number of "
        "rows (Holm).",
        "The values and the interval of the gap are those of the photos as they are, without "
        "regard to ages and datasets. An interval without 0 therefore does not contradict a "
        "difference that is not shown. The two groups were chosen because they are the farthest "
        "apart, so the interval is a little too high. The ratio is the highest value divided by "
        "the lowest one.",
    ]
    text += _list_left_out(differences)
    columns = (
        *("groups by", "measure", "more than chance?", "probability by chance"),
        *("lowest: value of photos", "highest: value of photos", "gap (95 % interval)", "ratio"),
    )
    rows = tuple(_difference_row(row) for row in differences)
    table = Table(columns, rows, "The two groups that are the farthest apart, by measure")
    return Section("Differences between groups", tuple(text), (table,))


def _list_left_out(differences: tuple[Difference, ...]) -> list[str]:
    """Return sentences about the groups that are not compared, those with the same measures in one.

    A photo with a range of ages counts in some measures only.
    """
    measures: dict[tuple[str, str], list[str]] = {}
    for row in differences:
        for name in row.too_few:
            measures.setdefault((row.groups, name), []).append(row.measure)
    names: dict[tuple[str, str], list[str]] = {}
    for (groups, name), left_out in measures.items():
        names.setdefault((groups, "; ".join(left_out)), []).append(name)
    return [
        f"By {groups}, left out because of too few photos: {join_words(found)}, in {left_out}."
        for (groups, left_out), found in names.items()
    ]


def _difference_row(row: Difference) -> tuple[Cell, ...]:
    in_years = row.measure.endswith("years")
    lowest, highest = (
        f"{value:.2f}" if in_years else percent(value)
        for value in (row.lowest_value, row.highest_value)
    )
    gap, low, high = (
        f"{value:.2f}" if in_years else f"{100 * value:.1f}"
        for value in (row.gap, row.gap_low, row.gap_high)
    )
    return (
        row.groups,
        row.measure,
        "yes" if row.is_shown else "not shown",
        p_text(row.p_adjusted),
        f"{row.lowest}: {lowest} of {row.lowest_photos:,}",
        f"{row.highest}: {highest} of {row.highest_photos:,}",
        f"{gap} ({low} to {high})" + ("" if in_years else " points"),
        row.ratio,
    )
