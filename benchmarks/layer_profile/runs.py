"""Blocks of a profile: what a runtime states about some inferences, one after the other."""

import time
from dataclasses import dataclass

from halnet.runtimes.base import Crops, Runtime


@dataclass(frozen=True)
class NodeMean:
    """One node of the graph that a runtime has made of a model, and its mean time."""

    name: str  # as the runtime names it
    operator: str  # what it does, as the runtime names it
    kernel: str  # by which code, or on which type of numbers
    milliseconds: float  # in one inference


@dataclass(frozen=True)
class Block:
    """The mean of some inferences, from crops in memory to ages in memory."""

    milliseconds: float  # of one inference, with what is between its nodes
    nodes: tuple[NodeMean, ...]  # in the order in which they are executed


def time_runs(runtime: Runtime, crops: Crops, count: int) -> float:
    """Run a model several times, and return the mean milliseconds of a run."""
    start = time.perf_counter()
    for _ in range(count):
        runtime.run(crops)
    return (time.perf_counter() - start) * 1000 / count
