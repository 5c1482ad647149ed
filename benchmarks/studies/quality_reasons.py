"""Reasons for no result: chooses the limits of age checks on validation photos, and tests them.

    python -m halnet.benchmarks.studies.quality_reasons --data data/aaf --data data/utkface \\
        --data data/fairface --data data/afad

There are three ways to choose a limit, all on the validation parts:

- Of photos as they are: the limit refuses the worst 1 %. It is kept if their errors are larger by a
  fifth than those of other photos of the same kind of label and of about the same predicted age,
  and larger at all in 95 of 100 resamplings.
- Of degraded photos, for faults that few photos of the datasets have: photos are made smaller,
  blurred, darker, brighter or cut off step by step. The limit is where their mean error has grown
  by a half. It is kept if some step reaches that.
- The limit of the width of the interval comes last. It is where all reasons together refuse 5 %.

The rule decides alone: `halnet.checks.reasons` has each reason that it keeps, with its limit,
rounded. The one exception is the size of a face, whose limit is larger, since smaller faces were
never detected for this study. The tables of test photos only report what these limits do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from halnet.ages import LEGAL_AGE, Floats
from halnet.benchmarks.markdown import print_markdown
from halnet.benchmarks.studies.photo_faults import CHECKS, FAULTS, Fault, Faulty, cut, landmarks_of
from halnet.checks.reasons import REASONS, Reason
from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import Record, exact_records
from halnet.errors import DatasetError
from halnet.evaluation.age_checks import CHALLENGE_25
from halnet.evaluation.predictions import Predictions, to_predictions
from halnet.faces.alignment import TEMPLATE
from halnet.faces.quality import Quality, measure_quality
from halnet.photos.images import Image
from halnet.predictor import Predictor
from halnet.results import Ages, Face

Chosen = NDArray[np.bool_]

WORST = 0.01  # share of the photos that a limit of photos as they are refuses
REFUSED = 0.05  # share of the photos that all reasons together refuse
WORSE = 1.2  # how many times as large the errors of the worst photos are at least
GROWN = 1.5  # how many times as large the mean error of degraded photos is at their limit
RESAMPLINGS = 1000
AGE_BANDS = (13, 18, 30, 50)  # years: borders of the bands in which errors are compared
SHARES = (0.03, 0.05, 0.07, 0.1)  # of validation photos that are refused, to compare
UNCERTAIN = "uncertain"  # the reason whose limit comes last
# Reasons that were tried, too. They are not in `REASONS`.
LEFT_OUT = (
    Reason("turned away", "", "yaw to either side, degrees", lambda q, face: abs(q.yaw), high=54.3),
    Reason("looking up", "", "pitch, degrees", lambda q, face: q.pitch, high=11.3),
    Reason("looking down", "", "pitch, degrees", lambda q, face: q.pitch, low=-13.5),
    Reason("detector unsure", "", "score", lambda q, face: q.score, low=0.888),
)
CANDIDATES = (*REASONS, *LEFT_OUT)


@dataclass(frozen=True, eq=False)
class Measured:
    """Photos with their predictions and with the number of each candidate."""

    predictions: Predictions  # for N photos
    values: dict[str, Floats]  # N numbers, by the name of the candidate

    @property
    def error(self) -> Floats:
        """Absolute error, or distance to the range, N values in years."""
        return np.abs(self.predictions.error)

    @property
    def relative_error(self) -> tuple[Floats, Floats]:
        """The error and the mean error of photos of the same kind and band of ages, N years each.

        The kinds are exact ages and ranges. The bands are of predicted ages.
        """
        band = np.digitize(self.predictions.age, AGE_BANDS) + 10 * self.predictions.is_exact
        groups = np.unique(band, return_inverse=True)[1]
        means = np.bincount(groups, self.error) / np.bincount(groups)
        return self.error, means[groups]


@click.command()
@click.option("--data", type=Path, multiple=True, required=True, help="Prepared dataset; repeat.")
@click.option("--model", type=Path, help="Model file. Default: the one that comes with halnet.")
@click.option("--limit", default=0, type=click.IntRange(0), help="Photos of a dataset. 0: all.")
@click.option(
    "--degraded",
    default=70,
    show_default=True,
    type=click.IntRange(1),
    help="Photos of each dataset that are degraded.",
)
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
def main(data: Sequence[Path], model: Path | None, limit: int, degraded: int, threads: int) -> None:
    """Print the limits that the validation parts choose, and what they do on the test parts."""
    collection = DataCollection([PreparedDataset(folder) for folder in data])
    predictor = Predictor(model, threads=threads)
    validation = measure(predictor, collection, collection.select("val", limit))
    samples = exact_records(collection.select("val", degraded))
    steps = {name: degrade(predictor, collection, samples, name) for name in FAULTS}
    click.echo(f"## Limits, from {len(validation.predictions):,} validation photos\n")
    print_markdown(LIMIT_COLUMNS, choose_limits(validation, steps))
    click.echo(f"\n## Degraded validation photos ({len(samples)} with exact ages)\n")
    print_markdown(STEP_COLUMNS, [row for name, found in steps.items() for row in found.rows(name)])
    test = measure(predictor, collection, collection.select("test", limit))
    click.echo(f"\n## {len(test.predictions):,} test photos, by reason\n")
    print_markdown(TEST_COLUMNS, compare(test))
    click.echo("\n## Test photos, by group\n")
    print_markdown(GROUP_COLUMNS, compare_groups(test))
    click.echo("\n## Other limits of the width of the interval\n")
    print_markdown(TRADE_COLUMNS, trade(validation, test))
    click.echo("\n## Degraded test photos\n")
    samples = exact_records(collection.select("test", degraded))
    print_markdown(CHECK_COLUMNS, check_degraded(predictor, collection, samples))


def measure(
    predictor: Predictor, collection: DataCollection, records: Sequence[Record]
) -> Measured:
    """Return photos with their predictions and with the number of each candidate."""
    outputs = collection.outputs(predictor.predict_crops, records)
    calibration = predictor.spec.metadata.calibration
    ages = Ages(outputs.age, outputs.stddev, outputs.probabilities, calibration)
    found = [measure_record(collection.inner_crops([r])[0], r) for r in records]
    return Measured(to_predictions(outputs, records, calibration), _values(found, ages, CANDIDATES))


def measure_record(crop: Image, record: Record) -> Quality:
    """Return the numbers of a prepared photo, 224 x 224 x 3 uint8 RGB.

    Raises DatasetError if the index does not state the landmarks.
    """
    if len(record.landmarks) != 10 or not (record.width and record.height and record.score):
        raise DatasetError(
            f"{record.source}: expected an index with landmarks and sizes, found one of an older "
            "version; run halnet prepare into a new folder"
        )
    return measure_quality(
        crop, landmarks_of(record), (record.width, record.height), float(record.score)
    )


# Choosing the limits

LIMIT_COLUMNS = (
    *("reason", "number", "chosen by", "limit of the validation photos", "limit of halnet"),
    *(
        "validation photos beyond it",
        "their error relative to that of others (5 % limit)",
        "limit found",
    ),
)


def choose_limits(measured: Measured, steps: dict[str, "Steps"]) -> list[list[str]]:
    """Return the cells of the table of limits, a row for each candidate."""
    rows = []
    refused = np.zeros(len(measured.predictions), np.bool_)
    # The limit of the width depends on all others.
    for reason in sorted(CANDIDATES, key=lambda reason: reason.name == UNCERTAIN):
        values, is_low = measured.values[reason.name], np.isfinite(reason.low)
        if reason.name in steps:
            way, limit = "degraded photos", steps[reason.name].find_limit()
        elif reason.name == UNCERTAIN:
            way, limit = f"{REFUSED:.0%} in all", fill_up(values, refused)
        else:
            way = f"worst {WORST:.0%}"
            limit = float(np.quantile(values, WORST if is_low else 1 - WORST))
        beyond = values < limit if is_low else values > limit
        ratio, low = compare_errors(measured, beyond)
        kept = bool(np.isfinite(limit)) if reason.name in steps else ratio >= WORSE and low > 1
        shipped = "none"
        if reason in REASONS:
            shipped = f"{reason.low if is_low else reason.high:g}"
            refused |= beyond & kept
        rows.append(
            [
                *(reason.name, reason.number, way),
                f"{'at least' if is_low else 'at most'} {limit:.3g}",
                *(shipped, str(beyond.sum())),
                f"{ratio:.2f} ({low:.2f})" if beyond.any() else "",
                "yes" if kept else "no",
            ]
        )
    rows.append(
        ["all reasons of halnet", *[""] * 4, str(refused.sum()), "", f"{refused.mean():.1%}"]
    )
    return rows


def compare_errors(measured: Measured, chosen: Chosen) -> tuple[float, float]:
    """Return how many times as large as usual the errors of the chosen photos are.

    Usual is the mean error of photos of the same kind and about the same predicted age. The second
    value is what 95 of 100 bootstrap resamplings exceed. Both are NaN without photos.
    """
    if not chosen.any():
        return float("nan"), float("nan")
    error, usual = (values[chosen] for values in measured.relative_error)
    picked = np.random.default_rng(0).integers(len(error), size=(RESAMPLINGS, len(error)))
    ratios = error[picked].sum(axis=1) / usual[picked].sum(axis=1)
    return float(error.sum() / usual.sum()), float(np.quantile(ratios, 0.05))


def fill_up(values: Floats, refused: Chosen, share: float = REFUSED) -> float:
    """Return the limit above which values are refused, so that this share of photos is refused.

    `refused` are those that other reasons refuse. The limit is infinite if they are enough.
    """
    missing = round(share * len(values)) - int(refused.sum())
    others = np.sort(values[~refused])[::-1]
    return float(others[missing]) if 0 < missing < len(others) else float("inf")


# Degraded photos


@dataclass(frozen=True, eq=False)
class Steps:
    """What a degradation does, without it first and then step by step."""

    levels: tuple[float, ...]
    values: Floats  # steps x photos, the number of the reason
    errors: Floats  # steps x photos, absolute errors in years

    def find_limit(self) -> float:
        """Return the median number where the mean error has grown to GROWN times its first value.

        It is interpolated between two steps, and NaN if no step reaches it.
        """
        growth = self.errors.mean(axis=1) / self.errors[0].mean()
        medians = np.median(self.values, axis=1)
        if growth.max() < GROWN:
            return float("nan")
        after = int(np.argmax(growth >= GROWN))
        pair = slice(after - 1, after + 1)
        return float(np.interp(GROWN, growth[pair], medians[pair]))

    def rows(self, name: str) -> list[list[str]]:
        """Return the cells of a table."""
        return [
            [
                *(name, f"{level:g}" if place else "unchanged"),
                f"{np.median(values):.3g}",
                f"{errors.mean():.2f}",
                f"{errors.mean() / self.errors[0].mean() - 1:+.0%}",
            ]
            for place, (level, values, errors) in enumerate(
                zip(self.levels, self.values, self.errors, strict=True)
            )
        ]


STEP_COLUMNS = ("degradation", "step", "median of the number", "MAE, years", "change of the MAE")


CHECK_COLUMNS = (
    *("reason", "degradation", "photos", "with the reason, unchanged", "degraded"),
    *("with any reason, unchanged", "degraded", "MAE unchanged, years", "degraded"),
)


def degrade(
    predictor: Predictor, collection: DataCollection, records: Sequence[Record], name: str
) -> Steps:
    """Return what the degradation for a reason does to photos."""
    change, levels = FAULTS[name]
    if change is cut:
        records = [r for r in records if _inside(collection, r) >= 1]
    if not records:
        raise DatasetError(
            f"{name}: expected photos with whole faces, found none; name another dataset, such as "
            "All-Age-Faces"
        )
    (reason,) = (reason for reason in CANDIDATES if reason.name == name)
    changes = [None, *(_at(change, level) for level in levels)]
    parts = [_run(predictor, collection, records, part, [reason]) for part in changes]
    return Steps(
        (float("nan"), *levels),
        np.array([values[name] for values, _ in parts]),
        np.array([errors for _, errors in parts]),
    )


def check_degraded(
    predictor: Predictor, collection: DataCollection, records: Sequence[Record]
) -> list[list[str]]:
    """Return the cells of a table: how many photos have a reason before and after a degradation."""
    before, errors = _run(predictor, collection, records, None, REASONS)
    rows = []
    for name, (change, level, words) in CHECKS.items():
        after, worse = _run(predictor, collection, records, _at(change, level), REASONS)
        shares = [
            f"{chosen.mean():.0%}"
            for chosen in (
                *(
                    _beyond(values, [r for r in REASONS if r.name == name])
                    for values in (before, after)
                ),
                *(_beyond(values, REASONS) for values in (before, after)),
            )
        ]
        maes = [f"{values.mean():.2f}" for values in (errors, worse)]
        rows.append([name, words, str(len(records)), *shares, *maes])
    return rows


def _at(change: Fault, level: float) -> Callable[[Image, Record], Faulty]:
    """Return a degradation at one step."""
    return lambda crop, record: change(crop, record, level)


def _run(
    predictor: Predictor,
    collection: DataCollection,
    records: Sequence[Record],
    change: Callable[[Image, Record], Faulty] | None,
    reasons: Sequence[Reason],
) -> tuple[dict[str, Floats], Floats]:
    """Return the numbers of photos by reason, and their absolute errors in years."""
    crops = collection.inner_crops(records)
    found = []
    for place, record in enumerate(records):
        if change is None:
            found.append(measure_record(crops[place], record))
            continue
        crops[place], landmarks, size = change(crops[place], record)
        found.append(measure_quality(crops[place], landmarks, size, float(record.score or 0)))
    ages = predictor.predict_crops(crops)
    return _values(found, ages, reasons), np.abs(ages.age - [record.age for record in records])


# The test parts

TEST_COLUMNS = (
    *("reason", "photos with it", "share", "MAE with it, years", "MAE without it, years"),
    *("90 % interval holds with it", "without it", "error relative to that of others (5 % limit)"),
    "minors predicted 25 or older, with it and in all",
)


def compare(measured: Measured) -> list[list[str]]:
    """Return the cells of a table: photos with each reason, and without it."""
    reasons = [(reason.name, [reason]) for reason in REASONS]
    left_out = [(f"{reason.name} (left out)", [reason]) for reason in LEFT_OUT]
    rows = []
    for name, chosen in [*reasons, ("any reason", list(REASONS)), *left_out]:
        beyond = _beyond(measured.values, chosen)
        ratio, low = compare_errors(measured, beyond)
        minors = measured.predictions.label_high < LEGAL_AGE
        passed = minors & (measured.predictions.age >= CHALLENGE_25)
        rows.append(
            [
                *(name, str(beyond.sum()), f"{beyond.mean():.1%}"),
                *(_mae(measured.predictions, part) for part in (beyond, ~beyond)),
                *(_coverage(measured.predictions, part) for part in (beyond, ~beyond)),
                f"{ratio:.2f} ({low:.2f})" if beyond.any() else "",
                f"{(passed & beyond).sum()} of {passed.sum()}",
            ]
        )
    return rows


GROUP_COLUMNS = (
    *(
        "group",
        "photos",
        "refused",
        "mean error of all, years",
        "mean error of what is left, years",
    ),
    "change",
)


def compare_groups(measured: Measured) -> list[list[str]]:
    """Return the cells of a table: what all reasons together refuse of each group.

    The error of a photo whose label is a range is the distance to the range.
    """
    found = measured.predictions
    beyond = _beyond(measured.values, REASONS)
    names = np.array(found.dataset)
    groups: dict[str, Chosen] = {"all": np.ones(len(found), np.bool_), "exact ages": found.is_exact}
    groups |= {name: names == name for name in dict.fromkeys(found.dataset)}
    for low, high in pairwise([0, *AGE_BANDS, 101]):
        inside = (found.label_low >= low) & (found.label_high < high)
        groups[f"{low} to {high - 1} years"] = inside
    groups |= {sex: np.array(found.sex) == sex for sex in ("female", "male")}
    for group, values in found.groups.items():
        for name in dict.fromkeys(found.dataset):
            own = np.where(names == name, np.array(values), "")
            found_here = sorted(set(own.tolist()) - {""})
            groups |= {f"{name}, {group}: {value}": own == value for value in found_here}
    return [
        [name, f"{own.sum():,}", *_change(measured, own, beyond)]
        for name, own in groups.items()
        if own.any()
    ]


def _change(measured: Measured, own: Chosen, beyond: Chosen) -> list[str]:
    """Return the share of `own` photos beyond a limit, the mean errors and their change."""
    if not (own & ~beyond).any():
        return [f"{beyond[own].mean():.1%}", *[""] * 3]
    before, after = (float(measured.error[part].mean()) for part in (own, own & ~beyond))
    change = f"{after / before - 1:+.1%}"
    return [f"{beyond[own].mean():.1%}", f"{before:.2f}", f"{after:.2f}", change]


TRADE_COLUMNS = (
    *(
        "refused of the validation photos",
        "limit of the width, years",
        "refused of the test photos",
    ),
    *("change of their mean error", "refused of those with exact ages", "change of their MAE"),
)


def trade(validation: Measured, test: Measured) -> list[list[str]]:
    """Return the cells of a table: what other limits of the width of the interval would do.

    The other reasons keep their limits.
    """
    others = [reason for reason in REASONS if reason.name != UNCERTAIN]
    refused = _beyond(validation.values, others)
    rows = []
    for share in SHARES:
        limit = fill_up(validation.values[UNCERTAIN], refused, share)
        beyond = _beyond(test.values, others) | (test.values[UNCERTAIN] > limit)
        everything = np.ones(len(beyond), np.bool_)
        parts = [_change(test, own, beyond) for own in (everything, test.predictions.is_exact)]
        cells = [cell for part in parts for cell in (part[0], part[-1])]
        rows.append([f"{share:.0%}", f"{limit:.1f}", *cells])
    return rows


def _beyond(values: dict[str, Floats], reasons: Sequence[Reason]) -> Chosen:
    """Return whether a number of each photo is outside of its limits."""
    inside = [
        (reason.low <= values[reason.name]) & (values[reason.name] <= reason.high)
        for reason in reasons
    ]
    return np.asarray(~np.all(inside, axis=0))


def _mae(predictions: Predictions, chosen: Chosen) -> str:
    errors = predictions.error[chosen & predictions.is_exact]
    return f"{np.abs(errors).mean():.2f} ({len(errors):,})" if len(errors) else "none"


def _coverage(predictions: Predictions, chosen: Chosen) -> str:
    return f"{predictions.inside[chosen].mean():.1%}" if chosen.any() else "none"


def _values(found: Sequence[Quality], ages: Ages, reasons: Sequence[Reason]) -> dict[str, Floats]:
    """Return the number of each photo, by the name of the reason."""
    faces = [
        Face(
            *(float(ages.age[i]), float(ages.stddev[i]), ages.probabilities[i], (0, 0, 1, 1)),
            *(TEMPLATE.astype(np.float32), found[i].score, ages.calibration),
        )
        for i in range(len(found))
    ]
    return {
        reason.name: np.array(
            [reason.value(quality, face) for quality, face in zip(found, faces, strict=True)]
        )
        for reason in reasons
    }


def _inside(collection: DataCollection, record: Record) -> float:
    return measure_record(collection.inner_crops([record])[0], record).inside


if __name__ == "__main__":
    main()
