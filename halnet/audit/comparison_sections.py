"""The sections of a report that compare it with an earlier one."""

from collections.abc import Iterator

from halnet.audit.chance import LEVEL
from halnet.audit.comparison import (
    BETTER,
    HIGHER,
    LOWER,
    WORSE,
    Change,
    Comparison,
)
from halnet.audit.subject import Subject
from halnet.audit.words import p_text, percent
from halnet.evaluation.rates import TOO_FEW
from halnet.reporting.sections import Cell, Section, Table

COLUMNS = (
    *("measure", "photos of", "photos", "then", "now", "now less then (95 % interval)"),
    *("probability by chance", "result"),
)
PAIRED = (
    "The two results for the same photos are compared (paired). Rates: exact test of McNemar. "
    "Means: random signs of the differences. Intervals: bootstrap over the photos."
)
UNPAIRED = (
    "The reports have different photos, so two samples are compared. A difference may come from "
    "the photos as well as from the model. Rates: exact test of Fisher. Means: shuffled photos. "
    "Intervals: bootstrap over the photos of each report."
)


def comparison_section(comparison: Comparison, now: Subject) -> Section:
    """Return the section at the top: what is better or worse beyond chance, and what changed."""
    shown = {
        name: [change for change in comparison.changes if change.result == name]
        for name in (WORSE, BETTER, HIGHER, LOWER)
    }
    method = PAIRED if comparison.is_paired else UNPAIRED
    text = [
        f"The earlier report is of {comparison.then.created}. {method} "
        f"{len(comparison.changes)} figures were compared, and the probabilities are corrected for "
        f"this number (Holm): if nothing had changed, the probability that any of them is named "
        f"here would be at most {percent(LEVEL)}.",
        *(f"{name.capitalize()} beyond chance: {_count(shown[name])}." for name in (WORSE, BETTER)),
        "What is not named did not change, or by too little for this number of photos to show it. "
        "All figures are at the end of this page.",
    ]
    rows = tuple(_row(change) for changes in shown.values() for change in changes)
    tables = [Table(COLUMNS, rows, "More than chance")] if rows else []
    changed = tuple(_find_changes(comparison.then, now))
    if changed:
        tables.append(Table(("what changed", "then", "now"), changed, "Model, run and photos"))
    else:
        text.append("Model, run and photos are the same.")
    warnings = []
    if not comparison.is_paired:
        warnings.append(
            "Too few photos are in both reports, so the figures are of different photos."
        )
    elif comparison.shared_photos < max(comparison.photos, comparison.then_photos):
        warnings.append(
            f"Only the {comparison.shared_photos:,} photos that are in both reports are compared: "
            f"the earlier one has {comparison.then_photos:,}, and this one {comparison.photos:,}."
        )
    return Section(
        "Compared with the earlier report", tuple(text), tuple(tables), warnings=tuple(warnings)
    )


def all_changes_section(comparison: Comparison) -> Section:
    """Return the section at the end, with all figures that were compared."""
    rows = tuple(_row(change) for change in comparison.changes)
    table = Table(COLUMNS, rows, "Each figure in the earlier report and in this one")
    return Section("All figures compared with the earlier report", (), (table,) if rows else ())


def _count(changes: list[Change]) -> str:
    if not changes:
        return "nothing"
    return "; ".join(f"{change.measure}, {change.photos_of}" for change in changes)


def _row(change: Change) -> tuple[Cell, ...]:
    counts = f"{change.photos:,}"
    if change.then_photos != change.photos:
        counts = f"{change.then_photos:,} then, {counts} now"
    if None in (change.then, change.now, change.low, change.high, change.p):
        return (change.measure, change.photos_of, counts, *(TOO_FEW,) * 5)
    assert change.then is not None
    assert change.now is not None
    assert change.low is not None
    assert change.high is not None
    assert change.p is not None
    in_years = change.measure.endswith("years")
    then, now, gap, low, high = (
        f"{value:.2f}" if in_years else f"{100 * value:.1f}"
        for value in (change.then, change.now, change.now - change.then, change.low, change.high)
    )
    unit = "" if in_years else " %"
    return (
        change.measure,
        change.photos_of,
        counts,
        then + unit,
        now + unit,
        f"{gap} ({low} to {high})" + ("" if in_years else " points"),
        p_text(change.p),
        change.result,
    )


def _find_changes(then: Subject, now: Subject) -> Iterator[tuple[str, str, str]]:
    """Yield what differs in model, run and photos: its name, its old and its new value."""
    pairs = {
        "model file": (then.model.file, now.model.file),
        "SHA-256 of the model file": (then.model.artifact_sha256, now.model.artifact_sha256),
        "SHA-256 of its checkpoint": (then.model.checkpoint_sha256, now.model.checkpoint_sha256),
        "precision": (then.model.precision, now.model.precision),
        "runtime": (then.model.software, now.model.software),
        "halnet": (then.halnet, now.halnet),
        "fingerprint of the input": (then.model.input, now.model.input),
        "faces found in original photos": (_yes(then.from_photos), _yes(now.from_photos)),
    }
    old, new = ({part.name: part for part in subject.sets} for subject in (then, now))
    for name in dict.fromkeys((*old, *new)):
        values = [
            f"{part.photos:,} photos, {part.split} of split {part.split_sha256[:12]}"
            if (part := sets.get(name))
            else "not used"
            for sets in (old, new)
        ]
        pairs[f"dataset {name}"] = (values[0], values[1])
    for name, (before, after) in pairs.items():
        if before != after:
            yield name, before or "none", after or "none"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
