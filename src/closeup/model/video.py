"""Films and cameras, read and written with PyAV (the extra ``video``)."""

from __future__ import annotations

import math
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from closeup.core.errors import PhotosError, UsageError, how_to_install
from closeup.core.lock import work_folder
from closeup.core.project import cannot_write
from closeup.core.types import Answer, Pixels
from closeup.model.answers import annotate
from closeup.model.model import CHUNK, Model
from closeup.model.tracks import Track, Tracker
from closeup.photos.films import is_stream
from closeup.photos.picture import Picture

_MARK = "closeup: answer"
_CODECS = ("libx264", "libopenh264", "libvpx-vp9", "mpeg4")  # the first that FFmpeg was built with
_OPEN_SECONDS, _READ_SECONDS = 15.0, 30.0  # for cameras and streams
_TURNS = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True, slots=True)
class Still:
    """A frame, upright, `time` seconds after the beginning of the film."""

    time: float
    picture: Picture


class Film:
    """An open film file, camera or stream; a context manager.

    Parameters
    ----------
    name
        A file, a stream (``rtsp://…``) or a camera (``/dev/video0``).

    Attributes
    ----------
    live
        Whether it goes on for as long as one looks, so that frames must not pile up.
    seconds
        Its length, 0 where that is not known.
    damaged
        How many packets could not be decoded so far; the frames around them are used.

    Raises
    ------
    PhotosError
        Where it cannot be opened, or has no pictures.
    UsageError
        Where PyAV is not installed.
    """

    def __init__(self, name: str) -> None:
        av = _av()
        self.name, self.damaged = name, 0
        given: dict[str, Any] = {"options": {"protocol_whitelist": "file"}}  # not what it refers to
        if is_stream(name):
            given = {"timeout": (_OPEN_SECONDS, _READ_SECONDS)}
            if name.startswith("/dev/"):
                given["format"] = "v4l2"
            elif name.lower().startswith("rtsp"):
                given["options"] = {"rtsp_transport": "tcp"}
        try:
            self._container = av.open(name, **given)
        except (OSError, ValueError) as err:
            raise PhotosError(f"{name} cannot be opened as a film: {_why(err)}") from err
        if not self._container.streams.video:
            self._container.close()
            raise PhotosError(f"{name} has no pictures, only sound; name a film")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.seconds = (self._container.duration or 0) / 1e6
        self.live = is_stream(name) and not self.seconds

    def __enter__(self) -> Film:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.close()

    def stills(self, fps: float, seconds: float = 0) -> Iterator[Still]:
        """Frames at the given rate, from the beginning on; each once, however many are wanted.

        - `fps`: frames a second; 0 for every frame
        - `seconds`: where to stop; 0 for the end

        Raises PhotosError where not one frame can be decoded.
        """
        due, count = 0.0, 0
        for time, frame in self._timed():
            if seconds and time >= seconds:
                break
            if time + 1e-6 < due:
                continue
            due = max(due + 1 / fps, time) if fps else 0.0
            count += 1
            yield Still(time, _upright(frame))
        if not count:
            raise PhotosError(f"{self.name} holds no frame that can be decoded; is it complete?")

    def _timed(self) -> Iterator[tuple[float, Any]]:
        """All frames with seconds since the first one, which only grow, whatever the file says."""
        step = 1 / float(self._stream.average_rate or 25)
        begin: float | None = None
        last = -step
        for frame in self._frames():
            stamp = math.nan if frame.pts is None or frame.time is None else float(frame.time)
            if math.isnan(stamp):
                last += step
            elif begin is None or stamp <= begin + last:  # the first, or the clock was put back
                last += step
                begin = stamp - last
            else:
                last = stamp - begin
            yield last, frame

    def _frames(self) -> Iterator[Any]:
        """All frames that can be decoded."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (OSError, ValueError):  # its end is missing, or the camera is gone
                self.damaged += 1
                packet = None  # what the decoder still holds
            try:
                yield from self._stream.decode(packet)
            except (OSError, ValueError):
                self.damaged += 1
            if packet is None:
                return


def _av() -> Any:
    try:
        import av
    except ModuleNotFoundError as err:
        raise UsageError(f"films need PyAV: {how_to_install('video')}") from err
    av.logging.set_level(None)
    return av


def _why(err: Exception) -> str:
    return str(getattr(err, "strerror", "") or err)


def _upright(frame: Any) -> Picture:
    pixels = frame.to_ndarray(format="rgb24")
    turn = _TURNS.get(round(frame.rotation / 90) * 90 % 360)
    return Picture(Image.fromarray(pixels), turn)


def follow(
    model: Model,
    film: Film,
    *,
    fps: float,
    seconds: float = 0,
    always: bool = False,
    seen: Callable[[Still, list[tuple[Track, Answer]]], None] | None = None,
) -> Iterator[Track]:
    """The objects of a film, each as soon as it has ended.

    What stands for an object that was not found is no object; a model without a detector sees one
    in every frame. A camera or stream is looked at where it is: frames that come while the model is
    busy are left out, and Ctrl-C ends it like a film.

    Parameters
    ----------
    fps, seconds
        As for :meth:`Film.stills`.
    always
        As for :meth:`Model.predict`.
    seen
        Called with each frame that was looked at, and the tracks in it.

    Raises
    ------
    PhotosError
        As :meth:`Film.stills`.
    """
    tracker = Tracker(film.name, patience=max(1.0, 3 / fps if fps else 0.0))
    stills = film.stills(fps, seconds)
    if film.live:
        stills = _newest(stills)
    try:
        while chunk := list(islice(stills, 1 if film.live else CHUNK)):
            answers = model.predict_many([still.picture for still in chunk], always=always)
            for still, answer in zip(chunk, answers, strict=True):
                yield from tracker.ended(still.time)
                is_one = answer.found or not model.card.detector
                objects = answer.objects if is_one else ()
                tracks = tracker.update(still.time, objects)
                if seen is not None:
                    seen(still, list(zip(tracks, objects, strict=True)))
    except KeyboardInterrupt:
        if not film.live:
            raise
    yield from tracker.ended()


def _newest(stills: Iterator[Still]) -> Iterator[Still]:
    """Always the newest still that a thread has read; those that came before it are left out."""
    box: queue.Queue[Still | BaseException | None] = queue.Queue(maxsize=1)
    over = threading.Event()

    def clear() -> None:
        with suppress(queue.Empty):  # the other thread may be taking it just now
            box.get_nowait()

    def put(item: Still | BaseException | None) -> None:
        try:
            box.put_nowait(item)
        except queue.Full:
            if isinstance(item, Still):  # replaces the older one
                clear()
                put(item)
            else:
                box.put(item)

    def read() -> None:
        try:
            for still in stills:
                if over.is_set():
                    return
                put(still)
            put(None)
        except PhotosError as err:
            put(err)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while (item := box.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        over.set()
        while reader.is_alive():  # the film is closed afterwards, which must not happen under it
            clear()
            reader.join(0.05)


class Drawing:
    """Writes the frames that were looked at, with boxes and answers, as a film (MP4)."""

    def __init__(self, file: Path, fps: float) -> None:
        self._fps, self._file = Fraction(fps or 25).limit_denominator(1000), file
        self._container: Any = None
        self._stream: Any = None
        self._last = -1

    def add(self, still: Still, objects: list[tuple[Track, Answer]]) -> None:
        """The next frame; a label is what its track says up to now."""
        shown = [
            replace(answer, label=f"{track.number}: {track.label}", confidence=track.confidence,
                    reason=track.reason and "not sure")
            for track, answer in objects
        ]  # fmt: skip
        self._write(still.time, np.asarray(annotate(still.picture.pixels(), shown)))

    def _write(self, time: float, pixels: Pixels) -> None:
        av = _av()
        if self._container is None:
            self._container = av.open(str(self._file), "w", format="mp4")
            self._container.metadata["comment"] = _MARK
            codec = next(name for name in _CODECS if name in av.codecs_available)
            self._stream = self._container.add_stream(codec, rate=self._fps)
            self._stream.height, self._stream.width = (side - side % 2 for side in pixels.shape[:2])
            self._stream.pix_fmt = "yuv420p"
            self._stream.time_base = self._stream.codec_context.time_base = Fraction(1, 1000)
        stream = self._stream
        if pixels.shape[:2] != (stream.height, stream.width):
            pixels = np.asarray(Image.fromarray(pixels).crop((0, 0, stream.width, stream.height)))
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        self._last = max(self._last + 1, round(time * 1000))
        frame.pts, frame.time_base = self._last, Fraction(1, 1000)
        self._container.mux(stream.encode(frame))

    def close(self) -> None:
        """Write the end of the film."""
        if self._container is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()


@contextmanager
def drawing(file: Path, fps: float) -> Iterator[Drawing]:
    """A film that is at `file` when the block has ended; nothing is there before, or on an error.

    Raises ProjectError where it cannot be written.
    """
    with cannot_write(file), work_folder(file.absolute().parent, ".making-") as work:
        made = Drawing(work / "film.mp4", fps)
        yield made
        made.close()
        if (work / "film.mp4").exists():
            os.replace(work / "film.mp4", os.path.realpath(file))  # noqa: PTH105


def is_drawn_film(file: Path) -> bool:
    """Whether an existing file is a film that :class:`Drawing` wrote."""
    try:
        with _av().open(str(file), options={"protocol_whitelist": "file"}) as container:
            return bool(container.metadata.get("comment") == _MARK)
    except ValueError:
        return False
