"""Parts: what a benchmark measures in addition, each a section of its report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from halnet.benchmarks.bench.profile_section import measure_profile
from halnet.benchmarks.bench.roof_section import measure_roof
from halnet.benchmarks.bench.sweep import measure_sweep
from halnet.benchmarks.bench.timed_models import TimedModel
from halnet.benchmarks.bench.video_section import measure_video
from halnet.benchmarks.bench.way import measure_way
from halnet.benchmarks.machine import MAX_OTHERS, find_cpu_times, share_of_others
from halnet.errors import HalnetError
from halnet.reporting.sections import Section


@dataclass(frozen=True)
class Part:
    """One part of a benchmark."""

    title: str  # of the section
    step: str  # what is done meanwhile
    measure: Callable[[Sequence[TimedModel], int | None], Section]  # models, threads as requested
    help: str


PARTS = {
    "way": Part(
        "The whole way",
        "timing the whole way of photos",
        measure_way,
        "Time the whole way from a JPEG file to ages too, in stages, for made photos of several "
        "sizes. This needs YuNet.",
    ),
    "video": Part(
        "Video",
        "timing videos",
        measure_video,
        "Time videos of 1280 x 720 pixels with one face and with five too, and state how steady "
        "the ages are. This needs YuNet and the extra video.",
    ),
    "sweep": Part(
        "Threads and batch size",
        "timing numbers of threads and batch sizes",
        measure_sweep,
        "Time each model with 1, 2, 4 and more threads, up to the usable cores, and with batch "
        "sizes from 1 to 32 too.",
    ),
    "roof": Part(
        "The roof",
        "measuring the peaks of this machine",
        measure_roof,
        "State the least time that each model can take on this processor too.",
    ),
    "profile": Part(
        "Layers",
        "timing single layers",
        measure_profile,
        "State the slowest layers of each model too, for ONNX Runtime and OpenVINO on the "
        "processor.",
    ),
}


def measure_part(part: Part, models: Sequence[TimedModel], threads: int | None) -> Section:
    """Return the section of a part, with a warning if other programs were busy meanwhile.

    It is a warning alone if the part cannot be measured on this machine.
    """
    first = find_cpu_times()
    try:
        section = part.measure(models, threads)
    except HalnetError as error:
        return Section(part.title, warnings=(f"This part was not measured: {error}.",))
    others = share_of_others(first, find_cpu_times())
    if others is None or others <= MAX_OTHERS:
        return section
    warning = f"Other programs used {others:.0%} of the time of all cores during this part."
    return replace(section, warnings=(warning, *section.warnings))
