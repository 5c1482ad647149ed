"""Times of a profile: those of each node, of all nodes of a kind, and of the whole inference."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

WORST = 20  # nodes in the table and in the picture
REST = "between the nodes"
NODE_COLUMNS = (
    *("layer or node", "operator", "kernel", "ms", "share of the inference"),
    "billion operations a second",
)
KIND_COLUMNS = ("operator", "kernel", "nodes", "ms", "share of the inference")


@dataclass(frozen=True)
class NodeTime:
    """A node of the graph that the runtime runs, and its mean time in an inference."""

    name: str  # as the runtime names it
    layer: str  # the module of the network whose weights it has, or its node in the file, or empty
    operator: str
    kernel: str  # OpenVINO: the code, with the type of its numbers; ONNX Runtime: the type
    milliseconds: float
    multiply_adds: int = 0  # of a convolution or a matrix product

    @property
    def label(self) -> str:
        """The name of its layer, or its own."""
        return self.layer or self.name

    @property
    def rate(self) -> float | None:
        """Operations a second, a multiply-add being two; None for nodes that are not counted."""
        if not self.multiply_adds or not self.milliseconds:
            return None
        return 2 * self.multiply_adds / self.milliseconds * 1000


@dataclass(frozen=True)
class KindTime:
    """All nodes with the same operator and kernel."""

    operator: str
    kernel: str
    nodes: int
    milliseconds: float


@dataclass(frozen=True)
class LayerProfile:
    """How long each node of a model takes: the means of the fastest of several blocks.

    The nodes and `rest` add up to `milliseconds`. Profiling itself takes time too, so that an
    inference takes longer than without it.
    """

    model: str
    runtime: str
    version: str
    threads: int
    batch: int  # crops in each inference
    inferences: int  # in the block that the times are means of
    milliseconds: float  # of one inference
    nodes: tuple[NodeTime, ...]  # in the order in which they are executed

    @property
    def rest(self) -> float:
        """The milliseconds of an inference in which no node is executed."""
        return self.milliseconds - sum(node.milliseconds for node in self.nodes)

    @property
    def worst(self) -> list[NodeTime]:
        """The nodes, the slowest first."""
        return sorted(self.nodes, key=lambda node: node.milliseconds, reverse=True)

    @property
    def kinds(self) -> list[KindTime]:
        """The sums for each operator and kernel, the slowest first."""
        found: dict[tuple[str, str], list[float]] = {}
        for node in self.nodes:
            found.setdefault((node.operator, node.kernel), []).append(node.milliseconds)
        kinds = [KindTime(*key, len(times), sum(times)) for key, times in found.items()]
        return sorted(kinds, key=lambda kind: kind.milliseconds, reverse=True)

    def node_rows(self, count: int = WORST) -> list[list[str]]:
        """Return the table with `NODE_COLUMNS`: the worst nodes, then the sum of the others."""
        shown, others = self.worst[:count], self.worst[count:]
        rows = [
            [
                *(node.label, node.operator, node.kernel, *self._cells(node.milliseconds)),
                "-" if node.rate is None else f"{node.rate / 1e9:.0f}",
            ]
            for node in shown
        ]
        rows += [[name, "", "", *self._cells(time), "-"] for name, time in self._sums(others)]
        return rows

    def kind_rows(self) -> list[list[str]]:
        """Return the table with `KIND_COLUMNS`."""
        rows = [
            [kind.operator, kind.kernel, str(kind.nodes), *self._cells(kind.milliseconds)]
            for kind in self.kinds
        ]
        return [*rows, [REST, "", "", *self._cells(self.rest)]]

    def bars(self, count: int = WORST) -> list[tuple[str, float, str]]:
        """Return the name, milliseconds and operator of each bar of the picture, from the top."""
        shown, others = self.worst[:count], self.worst[count:]
        bars = [(node.label, node.milliseconds, node.operator) for node in shown]
        return bars + [(name, time, "") for name, time in self._sums(others)]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self) | {"rest": self.rest, "kinds": [asdict(kind) for kind in self.kinds]}

    def _sums(self, others: Sequence[NodeTime]) -> list[tuple[str, float]]:
        sums = [(REST, self.rest)]
        if others:
            time = sum(node.milliseconds for node in others)
            sums.insert(0, (f"{len(others)} other nodes", time))
        return sums

    def _cells(self, milliseconds: float) -> tuple[str, str]:
        return f"{milliseconds:.3f}", f"{milliseconds / self.milliseconds:.1%}"
