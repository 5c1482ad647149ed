"""Metrics: what the server counts, in the text format of Prometheus."""

from typing import Any

from halnet.packages import needs

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # bounds of the latency histogram
CROPS = (1, 2, 4, 8, 16, 32)  # bounds of the histogram of batch sizes


class Metrics:
    """The counters of one server. Several threads may use them."""

    def __init__(self) -> None:
        with needs("halnet serve", "serve"):
            from prometheus_client import (
                CollectorRegistry,
                Counter,
                Gauge,
                Histogram,
                ProcessCollector,
                generate_latest,
            )
        self._registry = registry = CollectorRegistry()
        self._generate: Any = generate_latest
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "halnet_requests",
            "Requests by what they asked for and by their status of HTTP; 499: the client left.",
            ("endpoint", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "halnet_request_seconds",
            "Time from the header of a request to its answer, of requests with a result.",
            ("endpoint",),
            buckets=SECONDS,
            registry=registry,
        )
        self.crops = Histogram(
            "halnet_batch_crops",
            "Number of crops in one inference.",
            buckets=CROPS,
            registry=registry,
        )
        self.faces = Counter("halnet_faces", "Faces whose ages were predicted.", registry=registry)
        self.no_face = Counter(
            "halnet_photos_without_face",
            "Photos for /predict in which no face was found.",
            registry=registry,
        )
        self.checks = Counter(
            "halnet_checks",
            "Age checks by their outcome: pass, refer or no_result.",
            ("outcome",),
            registry=registry,
        )
        self.queue = Gauge(
            "halnet_queue_requests",
            "Requests that are read, wait or are processed now.",
            registry=registry,
        )

    def to_text(self) -> bytes:
        """Return all values in the text format of Prometheus."""
        text: bytes = self._generate(self._registry)
        return text
