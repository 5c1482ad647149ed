"""The tables that `halnet evaluate` prints."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import click

from halnet.ages import LEGAL_AGE, LEVEL
from halnet.commands.output import print_table
from halnet.evaluation.accuracy import ModelReport
from halnet.evaluation.age_checks import CHALLENGE_25, Challenge, MinorErrors, Reliability
from halnet.evaluation.licence import describe_licence
from halnet.evaluation.metrics import Evaluation
from halnet.evaluation.rates import MIN_PHOTOS, TOO_FEW, Rate
from halnet.evaluation.robustness import Effect, RobustnessReport
from halnet.evaluation.scores import Interval, RangeScore, Score
from halnet.evaluation.unseen import UnseenPhotos
from halnet.runtimes.base import RuntimeSpec

S = TypeVar("S", Score, RangeScore)

RULE = f"A dataset or a group with fewer than {MIN_PHOTOS} photos states no rate and no interval."

EXACT_COLUMNS = (
    *("photos", "MAE, years\n(95 % interval)", "bias,\nyears", "CS@3", "CS@5"),
    f"true ages inside {LEVEL:.0%} interval\n(95 % interval)",
    "mean interval\nwidth, years",
)
RANGE_COLUMNS = (
    *("photos", "predicted ages inside\nthe range (95 % interval)"),
    *("distance, years\n(95 % interval)", "bias,\nyears"),
    f"ranges that the {LEVEL:.0%} interval\nmeets (95 % interval)",
    "mean interval\nwidth, years",
)


def print_report(report: ModelReport) -> None:
    """Print the tables of an evaluation."""
    sets = report.sets
    if len(sets) > 1:
        _print_sets(report)
    for name, part in sets.items():
        _print_groups(part.evaluation, report.title if len(sets) == 1 else name)
    overall = report.evaluation.overall
    if overall.count:
        low, high = overall.error_interval
        interval = f", 95 % interval {low:.2f} to {high:.2f}" if overall.has_rates else ""
        where = " over all datasets" if len(sets) > 1 else ""
        click.echo(f"MAE{where} {overall.mae:.3f} years{interval}")
    click.echo(f"{RULE}\n")
    _print_minors({name: part.evaluation.minors for name, part in sets.items()})
    _print_challenges(report.evaluation.challenges)
    _print_reliability(report.evaluation.reliability)
    for name, part in sets.items():
        if part.missed:
            click.echo(
                f"{name}: {part.missed} photos are not in these figures: no face was detected in "
                "them"
            )
    _print_notes([*(part.photos for part in sets.values()), *report.empty], report.spec)


def print_robustness(report: RobustnessReport) -> None:
    """Print the table of the effects of degradations."""
    columns = [
        *("degradation", "strength", f"{report.error_name},\nyears", "bias,\nyears"),
        *(f"true ages inside\n{LEVEL:.0%} interval", "mean age\nshift, years"),
        "95th percentile of\nage shift, years",
    ]
    rows = [_effect_row(effect) for effect in report.effects]
    print_table(columns, rows, f"{report.title}; {report.effects[0].count} photos")
    click.echo("An age shift is the difference from the predicted age without the degradation.")
    if not all(effect.coverage.is_stated for effect in report.effects):
        click.echo(RULE)
    _print_notes([*report.photos, *report.empty], report.spec)


def _print_sets(report: ModelReport) -> None:
    """Print a table of the datasets with exact ages, and one of those with ranges."""
    parts = {"all": report.evaluation}
    parts |= {str(part.photos): part.evaluation for part in report.sets.values()}
    exact = [_exact_row(name, p.overall) for name, p in parts.items() if p.overall.count]
    title = report.title.partition(":")[0]
    if exact:
        print_table(["dataset", *EXACT_COLUMNS], exact, f"{title}: photos with exact ages")
    ranges = [_range_row(name, part.ranges.overall) for name, part in parts.items() if part.ranges]
    if ranges:
        print_table(["dataset", *RANGE_COLUMNS], ranges, f"{title}: photos with ranges of ages")


def _print_groups(evaluation: Evaluation, title: str) -> None:
    """Print the table of the exact ages of a dataset, and that of its ranges."""
    if evaluation.overall.count:
        scores = {**evaluation.by_decade, **evaluation.by_sex, **_flatten(evaluation.by_group)}
        rows = [_exact_row("all", evaluation.overall)]
        rows += [_exact_row(name, score) for name, score in scores.items()]
        print_table(["group", *EXACT_COLUMNS], rows, title)
    ranges = evaluation.ranges
    if ranges:
        parts = {**ranges.by_range, **ranges.by_sex, **_flatten(ranges.by_group)}
        rows = [_range_row("all", ranges.overall)]
        rows += [_range_row(name, score) for name, score in parts.items()]
        print_table(["group", *RANGE_COLUMNS], rows, f"{title}: labels that are ranges of ages")


def _flatten(groups: Mapping[str, Mapping[str, S]]) -> dict[str, S]:
    """Return the scores of all groups by names such as "race: White"."""
    return {
        f"{name}: {value}": score
        for name, scores in groups.items()
        for value, score in scores.items()
    }


def _print_minors(minors: Mapping[str, Sequence[MinorErrors]]) -> None:
    rows = [
        [
            f"{name}, {part.low} to {part.high}",
            str(part.as_18.count),
            _rate(part.as_18),
            _rate(part.as_25),
        ]
        for name, parts in minors.items()
        for part in parts
        if part.as_18.count
    ]
    if not rows:
        click.echo(f"No photo is known to show a person under {LEGAL_AGE}.\n")
        return
    columns = ["dataset and true age", "photos"]
    columns += [
        f"predicted age {age} or more\n(95 % interval)" for age in (LEGAL_AGE, CHALLENGE_25)
    ]
    print_table(columns, rows, f"Minors who are predicted to be {LEGAL_AGE} or older")


def _print_challenges(challenges: Sequence[Challenge]) -> None:
    first = challenges[0]
    print_table(
        ["challenge age", "minors let through", "adults stopped"],
        [
            [str(check.age), _plain_rate(check.minors_passed), _plain_rate(check.adults_stopped)]
            for check in challenges
        ],
        f"Age check at {LEGAL_AGE} years: {first.minors_passed.count} minors, "
        f"{first.adults_stopped.count} adults",
    )


def _print_reliability(reliability: Sequence[Reliability]) -> None:
    print_table(
        ["predicted range", "photos", "mean predicted", "observed"],
        [
            [
                f"{part.low:.0%} to {part.high:.0%}",
                str(part.observed.count),
                f"{part.predicted:.1%}",
                _plain_rate(part.observed),
            ]
            for part in reliability
        ],
        f"Probability to be {LEGAL_AGE} or older",
    )


def _print_notes(photos: Sequence[UnseenPhotos], spec: RuntimeSpec) -> None:
    for part in photos:
        if part.note:
            click.echo(part.note)
    if licence := describe_licence(spec.metadata):
        click.echo(f"Licence of the weights: {licence}")


def _exact_row(name: str, score: Score) -> list[str]:
    start = [name, str(score.count)]
    if not score.has_rates:
        mae = f"{score.mae:.2f}"
        return [*start, mae, f"{score.bias:+.2f}", *[TOO_FEW] * 3, f"{score.width:.1f}"]
    return [
        *start,
        _years(score.mae, score.error_interval),
        f"{score.bias:+.2f}",
        f"{score.cs3:.1%}",
        f"{score.cs5:.1%}",
        _share(score.coverage, score.coverage_interval),
        f"{score.width:.1f}",
    ]


def _range_row(name: str, score: RangeScore) -> list[str]:
    few = not score.has_rates
    return [
        name,
        str(score.count),
        TOO_FEW if few else _share(score.inside, score.inside_interval),
        f"{score.distance:.2f}" if few else _years(score.distance, score.error_interval),
        f"{score.bias:+.2f}",
        TOO_FEW if few else _share(score.coverage, score.coverage_interval),
        f"{score.width:.1f}",
    ]


def _effect_row(effect: Effect) -> list[str]:
    return [
        effect.degradation,
        effect.strength,
        f"{effect.error:.2f}",
        f"{effect.bias:+.2f}",
        _plain_rate(effect.coverage),
        f"{effect.shift_mean:.2f}",
        f"{effect.shift_p95:.2f}",
    ]


def _rate(rate: Rate) -> str:
    return _share(rate.share, rate.interval) if rate.is_stated else TOO_FEW


def _plain_rate(rate: Rate) -> str:
    """Return a rate without its interval."""
    return f"{rate.share:.1%}" if rate.is_stated else TOO_FEW


def _share(share: float, interval: Interval) -> str:
    low, high = interval
    return f"{share:.1%} ({100 * low:.1f} to {100 * high:.1f})"


def _years(mean: float, interval: Interval) -> str:
    low, high = interval
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"
