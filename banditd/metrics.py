"""Counters and histograms of the server, in the form that Prometheus reads.

A counter here is an integer and a histogram a list, since a request can afford 0.2 µs for
both and not the 4 µs of the client library, which only renders them.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics(Collector):
    """What has happened since the server started; labels come from routes, statuses and segments only.

    Parameters
    ----------
    gauges
        Name, help and current values of what is read when asked: pairs of segment (or None) and number.
    """

    def __init__(self, gauges: Callable[[], Iterable[tuple[str, str, list[tuple[str | None, float]]]]]) -> None:
        self._gauges = gauges
        self._requests: dict[tuple[str, int], int] = {}
        self._times: dict[str, tuple[list[int], list[float]]] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one request of a route and how long it took."""
        key = (route, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        times = self._times.get(route)
        if times is None:
            times = self._times[route] = ([0] * (len(_BOUNDS_S) + 1), [0.0])
        times[0][bisect_left(_BOUNDS_S, seconds)] += 1
        times[1][0] += seconds

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield everything for the client library to render."""
        requests = CounterMetricFamily(
            "banditd_requests", "Requests answered, by route and HTTP status.", labels=["route", "status"]
        )
        for (route, status), count in self._requests.items():
            requests.add_metric([route, str(status)], count)
        yield requests
        seconds = HistogramMetricFamily(
            "banditd_request_seconds", "Time from the whole header to the reply, by route.", labels=["route"]
        )
        for route, (counts, total) in self._times.items():
            reached = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*_BOUNDS_S, float("inf")), counts, strict=True):
                reached += count
                buckets.append(("+Inf" if bound == float("inf") else repr(bound), float(reached)))
            seconds.add_metric([route], buckets, sum_value=total[0])
        yield seconds
        for name, text, values in self._gauges():
            gauge = GaugeMetricFamily(f"banditd_{name}", text, labels=["segment"] if values and values[0][0] else [])
            for segment, value in values:
                gauge.add_metric([segment] if segment else [], value)
            yield gauge
