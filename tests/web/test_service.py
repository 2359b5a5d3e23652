"""The service without HTTP: batches, bounds, cancelling, closing."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from closeup.model.model import CHUNK, Model
from closeup.model.prediction import Prediction
from closeup.web.serve.service import _RUNS, MOST_NEAREST, Limits, QueueFull, Service
from tests.web.conftest import until

Named = list[tuple[str, bytes]]


@pytest.fixture
def photos(folder: Path) -> Named:
    return [(f.name, f.read_bytes()) for f in sorted((folder / "photos").rglob("*.png"))]


class Held:
    """A model that waits until it is let go, and tells how many photos it was given at a time."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.begun, self.go = threading.Event(), threading.Event()
        self.given: list[int] = []

    def predict_many(self, photos: list[object], *, nearest: int = 0) -> Iterator[Prediction]:
        self.given.append(len(photos))
        self.begun.set()
        assert self.go.wait(30)
        return self._model.predict_many(photos)  # type: ignore[arg-type]


def service_on(model: object, **limits: int) -> Service:
    return Service(model, Limits(**limits), lambda _n, _s: None)  # type: ignore[arg-type]


def test_nothing_asked_nothing_done(model: Model) -> None:
    service = service_on(model)
    assert service.submit([]) == []
    assert service.pending == 0
    assert service.close()


def test_one_and_many_are_answered_as_by_the_library(model: Model, photos: Named) -> None:
    expected = [model.predict(data, nearest=MOST_NEAREST).objects for _, data in photos]
    service = service_on(model, queue=len(photos))
    (alone,) = service.submit(photos[:1], MOST_NEAREST)
    assert alone.result(30).objects == expected[0]
    answers = [future.result(30) for future in service.submit(photos, MOST_NEAREST)]
    assert [answer.objects for answer in answers] == expected
    assert [answer.photo for answer in answers] == [name for name, _ in photos]
    assert service.close()
    assert service.pending == 0


def test_waiting_photos_run_together_up_to_a_batch(model: Model, photos: Named) -> None:
    held = Held(model)
    service = service_on(held, queue=len(photos))
    asked = service.submit(photos)
    until(lambda: not service._unread)  # until all are decoded, while the model is busy
    held.go.set()
    assert all(future.result(30).objects for future in asked)
    assert max(held.given) == CHUNK
    assert sum(held.given) == len(photos)
    assert service.close()


@pytest.mark.parametrize("held_pixels", [1, 5000])
def test_little_memory_slows_but_never_stops_it(
    model: Model, photos: Named, held_pixels: int
) -> None:
    service = service_on(model, queue=100, held_pixels=held_pixels)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(service.submit, [photos[i::4] for i in range(4)]))
    assert all(future.result(30).objects for part in parts for future in part)
    assert service._held == 0
    assert service.close()


def test_all_or_none_are_accepted(model: Model, photos: Named) -> None:
    service = service_on(model, queue=3)
    with pytest.raises(QueueFull) as refused:
        service.submit(photos[:4])
    assert refused.value.seconds >= 1
    assert service.pending == 0
    with service.reserve(), pytest.raises(QueueFull):
        service.submit(photos[:3])
    assert len([future.result(30) for future in service.submit(photos[:3])]) == 3
    assert service.close()


def test_a_broken_photo_gives_its_place_back(model: Model, photos: Named) -> None:
    service = service_on(model, queue=2)
    for _ in range(5):
        bad, good = service.submit([("bad", b"words"), photos[0]])
        assert bad.result(30).error_code == "not_an_image"
        assert good.result(30).objects
        until(lambda: not service.pending)
    assert service.close()


def test_too_many_pixels_are_not_decoded(model: Model) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (20, 20)).save(stream, "PNG")
    service = service_on(model, max_pixels=399)
    (answer,) = service.submit([("a", stream.getvalue())])
    assert answer.result(30).error_code == "too_large"
    assert service.close()


def test_what_is_cancelled_is_not_computed(model: Model, photos: Named) -> None:
    held = Held(model)
    service = service_on(held)
    running = []
    for place in range(_RUNS):  # as many as run at once
        running += service.submit(photos[place : place + 1])
        until(lambda: len(held.given) > place)  # noqa: B023
    (waiting,) = service.submit(photos[:1])
    assert waiting.cancel()
    held.go.set()
    assert all(future.result(30).objects for future in running)
    assert service.close()
    assert sum(held.given) == _RUNS


def test_closing_finishes_what_was_accepted_and_refuses_the_rest(
    model: Model, photos: Named
) -> None:
    held = Held(model)
    service = service_on(held)
    accepted = service.submit(photos[:5])
    assert held.begun.wait(30)
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(service.close)
        until(lambda: service._closed)
        with pytest.raises(QueueFull, match="shutting down"):
            service.submit(photos[:1])
        held.go.set()
        assert closing.result(30)
    assert all(future.result(0).objects for future in accepted)


def test_closing_does_not_wait_for_ever(model: Model, photos: Named) -> None:
    held = Held(model)
    service = service_on(held)
    service.submit(photos[:1])
    assert held.begun.wait(30)
    assert not service.close(0.05)
    held.go.set()
