"""The profile as a section: the layers of each model that take the most time."""

from collections.abc import Sequence

from halnet.benchmarks.bench.timed_models import TimedModel
from halnet.benchmarks.layer_profile.profiling import profile_layers
from halnet.benchmarks.layer_profile.times import REST, LayerProfile
from halnet.errors import HalnetError
from halnet.reporting.sections import Figure, FigureKind, Section, Series, Table

WORST = 10  # layers, and kinds of them, that are shown
INFERENCES, BLOCKS = 10, 5  # of each model
OTHERS = "all others"


def measure_profile(models: Sequence[TimedModel], threads: int | None) -> Section:
    """Return the section of the profiles. A model that has none is a note in it."""
    profiles: dict[str, LayerProfile] = {}
    notes: list[str] = []
    for model in models:
        if not model.on_cpu:
            notes.append(f"{model.name} is left out: only the processor is profiled.")
            continue
        try:
            profiles[model.name] = profile_layers(
                model.model, model.options.runtime, threads, 1, INFERENCES, BLOCKS
            )
        except HalnetError as error:
            notes.append(f"{model.name} is left out: {error}.")
    return profile_section(profiles, notes)


def profile_section(profiles: dict[str, LayerProfile], notes: Sequence[str]) -> Section:
    """Return what the report shows of profiles, by the names of their models.

    `notes` are whole sentences.
    """
    text = (
        f"The values are means of {INFERENCES} inferences, of the fastest of {BLOCKS} blocks of "
        "them. Profiling takes time too, so that an inference takes longer than without it.",
        *notes,
    )
    tables = [
        table
        for name, profile in profiles.items()
        for table in (_layers(name, profile), _kinds(name, profile))
    ]
    figures = [_figure(name, profile) for name, profile in profiles.items()]
    return Section("Layers", text, tuple(tables), tuple(figures))


def _layers(name: str, profile: LayerProfile) -> Table:
    """Return the table of the worst layers. Its times add up to that of the inference."""
    shown, others = profile.worst[:WORST], profile.worst[WORST:]
    rows = [
        (
            *(node.label, node.operator, node.kernel, node.milliseconds),
            *(_percent(node.milliseconds, profile), node.rate and node.rate / 1e9),
        )
        for node in shown
    ]
    sums = ((OTHERS, sum(node.milliseconds for node in others)), (REST, profile.rest))
    rows += [(label, "", "", time, _percent(time, profile), None) for label, time in sums]
    columns = (
        *("layer or node", "operator", "kernel", "ms", "share of the inference, %"),
        "thousand million operations a second",
    )
    return Table(columns, tuple(rows), f"Slowest layers of {name}")


def _kinds(name: str, profile: LayerProfile) -> Table:
    rows = tuple(
        (
            *(kind.operator, kind.kernel, kind.nodes, kind.milliseconds),
            _percent(kind.milliseconds, profile),
        )
        for kind in profile.kinds[:WORST]
    )
    columns = ("operator", "kernel", "nodes", "ms", "share of the inference, %")
    return Table(columns, rows, f"Slowest kinds of layers of {name}")


def _percent(milliseconds: float, profile: LayerProfile) -> float:
    return 100 * milliseconds / profile.milliseconds


def _figure(name: str, profile: LayerProfile) -> Figure:
    bars = [(node.label, node.milliseconds) for node in profile.worst[:WORST]]
    names, times = zip(*bars, strict=True)
    title = f"Slowest layers of {name}"
    return Figure(title, FigureKind.BARS, "ms", (Series("ms", times),), categories=names)
