"""Model card: the tables of the figures of a bundled model, in Markdown.

    python -m halnet.benchmarks.studies.model_card halnet --data data/aaf --data data/utkface \\
        --data data/afad --data data/fairface

This makes the tables below "Figures" in the model card for one model: errors by dataset, by decade
and by group, age checks, and the reliability of the probability to be 18 or older. With
`--robustness`, it makes the table of degraded photos instead, which takes some minutes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from halnet.benchmarks.markdown import print_markdown
from halnet.evaluation.accuracy import EvaluateConfig, ModelReport, evaluate_model
from halnet.evaluation.degradations import STRENGTHS
from halnet.evaluation.metrics import Evaluation
from halnet.evaluation.rates import TOO_FEW, Rate
from halnet.evaluation.robustness import Effect, measure_robustness
from halnet.evaluation.scores import Interval, Score

PHOTOS_OF_ROBUSTNESS = 200  # of each dataset


@click.command()
@click.argument("model", type=Path)
@click.option(
    "--data",
    type=Path,
    multiple=True,
    required=True,
    help="Folder that halnet prepare wrote. Name several by repeating the option.",
)
@click.option("--robustness", is_flag=True, help="Make the table of degraded photos instead.")
def main(model: Path, data: tuple[Path, ...], robustness: bool) -> None:
    """Print the tables of the model card for MODEL."""
    if robustness:
        effects = measure_robustness(EvaluateConfig(data, model, limit=PHOTOS_OF_ROBUSTNESS))
        print_robustness(effects.effects)
    else:
        print_figures(evaluate_model(EvaluateConfig(data, model)))


def print_figures(report: ModelReport) -> None:
    """Print all tables but that of degraded photos."""
    parts = {name: part.evaluation for name, part in report.sets.items()}
    exact = {name: part for name, part in parts.items() if part.overall.count}
    click.echo("## Datasets")
    print_markdown(
        ("test photos", "photos", "error, years", "bias", "inside or met", "mean width, years"),
        [_dataset_row(name, part) for name, part in parts.items()],
    )
    click.echo("\n## Decades: photos, MAE, bias, inside")
    print_markdown(("true age", *exact), _decade_rows(list(exact.values())))
    for name, part in exact.items():
        click.echo(f"\n## Groups of {name}")
        groups = [*part.by_sex.items(), *(g for by in part.by_group.values() for g in by.items())]
        print_markdown(
            ("group", "photos", "MAE, years", "bias, years", "inside"),
            [_group_row(group, score) for group, score in groups],
        )
    _print_age_checks(parts, report.evaluation)


def print_robustness(effects: Sequence[Effect]) -> None:
    """Print the change of the error and the coverage for each degradation and strength."""
    plain, *others = effects
    click.echo(f"{plain.error:.2f} years and {_plain(plain.coverage)} without a degradation\n")
    cells: dict[str, list[str]] = {}
    for effect in others:
        cell = f"{effect.error - plain.error:+.2f}, {_plain(effect.coverage)}"
        cells.setdefault(effect.degradation, []).append(cell)
    print_markdown(("degradation", *STRENGTHS), [[name, *row] for name, row in cells.items()])


def _print_age_checks(parts: Mapping[str, Evaluation], overall: Evaluation) -> None:
    click.echo("\n## Minors")
    print_markdown(
        ("minors", "photos", "predicted to be 18 or older", "predicted to be 25 or older"),
        [
            [
                f"{name}, {minors.low} to {minors.high} years",
                str(minors.as_18.count),
                _rate(minors.as_18),
                _rate(minors.as_25),
            ]
            for name, part in parts.items()
            for minors in part.minors
            if minors.as_18.is_stated
        ],
    )
    first = overall.challenges[0]
    click.echo(
        f"\n## Challenge ages: {first.minors_passed.count:,} minors, "
        f"{first.adults_stopped.count:,} adults"
    )
    checks = overall.challenges
    print_markdown(
        ("challenge age", *(str(check.age) for check in checks)),
        [
            ["minors let through", *(_plain(check.minors_passed) for check in checks)],
            ["adults stopped", *(_plain(check.adults_stopped) for check in checks)],
        ],
    )
    click.echo("\n## Probability to be 18 or older")
    print_markdown(
        ("predicted range", "photos", "mean predicted", "observed"),
        [
            [
                f"{bin.low:.0%} to {bin.high:.0%}".replace("%", " %"),
                f"{bin.observed.count:,}",
                f"{100 * bin.predicted:.1f} %",
                _plain(bin.observed),
            ]
            for bin in overall.reliability
        ],
    )


def _dataset_row(name: str, part: Evaluation) -> list[str]:
    score = part.main_score
    return [
        name,
        f"{score.count:,}",
        f"{score.error:.2f} {_brackets(score.error_interval)}",
        f"{score.bias:+.2f}",
        _share(score.coverage, score.coverage_interval),
        f"{score.width:.1f}",
    ]


def _decade_rows(parts: Sequence[Evaluation]) -> list[list[str]]:
    decades = sorted({d for part in parts for d in part.by_decade}, key=_first_age)
    return [
        [decade, *(_decade_cell(part.by_decade.get(decade)) for part in parts)]
        for decade in decades
    ]


def _first_age(decade: str) -> int:
    return int(decade.partition("-")[0].rstrip("+"))


def _decade_cell(score: Score | None) -> str:
    if score is None or not score.count:
        return ""
    return f"{score.count}, {score.mae:.2f}, {score.bias:+.2f}, {_inside(score)}"


def _group_row(name: str, score: Score) -> list[str]:
    return [name, str(score.count), f"{score.mae:.2f}", f"{score.bias:+.2f}", _inside(score)]


def _inside(score: Score) -> str:
    return f"{100 * score.coverage:.1f} %" if score.has_rates else TOO_FEW


def _rate(rate: Rate) -> str:
    return _share(rate.share, rate.interval)


def _plain(rate: Rate) -> str:
    return f"{100 * rate.share:.1f} %" if rate.is_stated else TOO_FEW


def _share(share: float, interval: Interval) -> str:
    low, high = interval
    return f"{100 * share:.1f} % {_brackets((100 * low, 100 * high), 1)}"


def _brackets(interval: Interval, digits: int = 2) -> str:
    low, high = interval
    return f"({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
