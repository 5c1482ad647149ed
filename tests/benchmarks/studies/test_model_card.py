from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.benchmarks.studies.model_card import print_figures, print_robustness
from halnet.evaluation.accuracy import EvaluateConfig, evaluate_model
from halnet.evaluation.rates import Rate
from halnet.evaluation.robustness import Effect


def read_tables(text: str) -> dict[str, list[list[str]]]:
    """Return the rows of each table by its title, without the line below the head."""
    tables: dict[str, list[list[str]]] = {}
    for part in text.split("## ")[1:]:
        title, *lines = [line for line in part.splitlines() if line]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        tables[title] = [cells[0], *cells[2:]]
    return tables


def test_the_tables_have_the_figures_of_the_evaluation(
    prepared: Path, make_prepared_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    ranges = make_prepared_folder(240, "ranges", first=1000, years=10)
    report = evaluate_model(EvaluateConfig((prepared, ranges), limit=24))
    print_figures(report)
    tables = read_tables(capsys.readouterr().out)
    (exact_name, exact), (range_name, other) = report.sets.items()
    score, distance = exact.evaluation.overall, other.evaluation.main_score
    first, second = tables["Datasets"][1:]
    assert first[:2] == [exact_name, f"{score.count:,}"]
    assert first[2].startswith(f"{score.mae:.2f} (")
    assert first[3] == f"{score.bias:+.2f}"
    assert first[4].startswith(f"{100 * score.coverage:.1f} % (")
    assert second[:2] == [range_name, f"{distance.count:,}"]
    assert second[2].startswith(f"{distance.error:.2f} (")
    decades = tables["Decades: photos, MAE, bias, inside"]
    assert decades[0] == ["true age", exact_name]
    assert [row[0] for row in decades[1:]] == list(exact.evaluation.by_decade)
    assert sum(int(row[1].split(",")[0]) for row in decades[1:]) == score.count
    (title,) = (name for name in tables if name.startswith("Challenge ages"))
    assert tables[title][0][1:] == [str(check.age) for check in report.evaluation.challenges]


def test_degraded_photos_are_compared_with_the_photos_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def effect(degradation: str, strength: str, error: float, hits: int) -> Effect:
        return Effect(degradation, strength, 200, error, 0.0, Rate(hits, 200), 1.0, 2.0)

    levels = zip(("weak", "middle", "strong"), (4.9, 4.7, 7.0), (180, 178, 150), strict=True)
    print_robustness(
        [effect("none", "none", 4.8, 181), *(effect("noise", *level) for level in levels)]
    )
    first, _, head, _, noise = capsys.readouterr().out.splitlines()
    assert first == "4.80 years and 90.5 % without a degradation"
    assert head == "| degradation | weak | middle | strong |"
    assert noise == "| noise | +0.10, 90.0 % | -0.10, 89.0 % | +2.20, 75.0 % |"
