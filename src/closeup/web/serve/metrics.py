"""Metrics of a service, in Prometheus' format."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, exposition
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from closeup.model.prediction import Prediction

METRICS_TYPE = exposition.CONTENT_TYPE_LATEST
_BATCHES = (1, 2, 4, 8, 16)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The metrics; `pending` returns the number of photos accepted and not yet answered."""

    def __init__(self, pending: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.requests = counter(
            "closeup_requests", "Requests answered.", ["route", "method", "status"]
        )
        self.seconds = histogram(
            "closeup_request_seconds", "Seconds until the end of the answer.", ["route"]
        )
        self.photos = counter(
            "closeup_photos", "Photos by outcome: answered, unknown, not_found, error.", ["outcome"]
        )
        self._batches = histogram(
            "closeup_batch_photos", "Photos in one run of the model.", buckets=_BATCHES
        )
        self._batch_seconds = histogram("closeup_batch_seconds", "Seconds of one run of the model.")
        waiting = Gauge("closeup_photos_pending", "Photos accepted and not yet answered.",
                        registry=registry)  # fmt: skip
        waiting.set_function(pending)

    def batch(self, photos: int, seconds: float) -> None:
        """Count one run of the model over `photos` photos."""
        self._batches.observe(photos)
        self._batch_seconds.observe(seconds)

    def answer(self, prediction: Prediction) -> None:
        """Count the outcome of one photo."""
        if prediction.error_code:
            outcome = "error"
        elif not prediction.objects:
            outcome = "not_found"
        else:
            outcome = "unknown" if prediction.objects[0].reason else "answered"
        self.photos.labels(outcome).inc()

    def text(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        return exposition.generate_latest(self._registry)


class RequestCounter:
    """ASGI middleware that counts requests, including those that the guard refuses."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        began = time.perf_counter()

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            # Not the path itself: anyone could fill the memory with labels.
            route = getattr(scope.get("route"), "path", None) or "other"
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(route, method, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - began)
