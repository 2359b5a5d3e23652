"""What a model answers for a photo, for programs, data frames and notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from closeup.core.errors import PhotoError, UsageError
from closeup.core.text import visible
from closeup.core.types import Answer

COLUMNS = ("photo", "found", "x1", "y1", "x2", "y2", "parent", "parent_score", "label",
           "confidence", "reason", "error_code", "error_message")  # fmt: skip
_MOST_SHOWN = 24  # rows of a list in a notebook; each may hold a picture


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's answer for one photo, or the error that says why there is none.

    `photo` is the path, ``""`` for a photo that came as anything else. `found` is False where the
    whole photo stood in for an object that was not found, or where there is no answer at all.
    """

    photo: str
    found: bool
    objects: tuple[Answer, ...]
    error_code: str = ""
    error_message: str = ""

    @property
    def label(self) -> str:
        """The first object's label, ``""`` where there is none."""
        return self.objects[0].label if self.objects else ""

    @property
    def error(self) -> PhotoError | None:
        """Why there is no answer, as an exception that can be raised; None where there is one."""
        if not self.error_code:
            return None
        where = f"{self.photo}: " if self.photo else ""
        return PhotoError(self.error_code, f"{where}{self.error_message}")

    def to_dict(self) -> dict[str, Any]:
        """The stable object of ``predict --json`` (docs/formats.md).

        Examples
        --------
        >>> answer = closeup.load("closeup-demo/watches/model").predict("closeup-demo/fresh.jpg")
        >>> sorted(answer.to_dict())
        ['error', 'found', 'objects', 'photo']
        """
        error = None
        if self.error_code:
            error = {"code": self.error_code, "message": self.error_message}
        return {
            "photo": self.photo,
            "found": self.found,
            "objects": [
                {
                    "box": [round(v, 2) for v in one.box],
                    "parent": one.parent,
                    "parent_score": round(one.parent_score, 6),
                    "label": one.label,
                    "confidence": round(one.confidence, 6),
                    "reason": one.reason,
                    "top": [[label, round(p, 6)] for label, p in one.top],
                    "likely": list(one.likely),
                    **_attributes(one),
                }
                for one in self.objects
            ],
            "error": error,
        }

    def to_pandas(self) -> Any:
        """As :meth:`PredictionList.to_pandas`."""
        return PredictionList([self]).to_pandas()

    def _repr_html_(self) -> str:
        return _table([self], 320)


class PredictionList(list[Prediction]):
    """The answers for several photos, in their order: a list that also is a table."""

    def to_dict(self) -> list[dict[str, Any]]:
        """Each answer as :meth:`Prediction.to_dict` gives it."""
        return [one.to_dict() for one in self]

    def to_pandas(self) -> Any:
        """A data frame with a row per object, and one for a photo without any.

        Its columns are those of ``predict --csv`` (docs/formats.md). Raises UsageError where pandas
        is not installed.

        Examples
        --------
        >>> model = closeup.load("closeup-demo/watches/model")
        >>> table = model.predict(["closeup-demo/fresh.jpg"]).to_pandas()
        >>> table[["label", "parent"]].values.tolist()
        [['Averlund', 'clock']]
        """
        try:
            pandas = import_module("pandas")
        except ModuleNotFoundError as err:
            raise UsageError("to_pandas needs pandas: pip install pandas") from err
        names = attributes_in(self)
        return pandas.DataFrame(to_rows(self, names), columns=list(columns_of(names)))

    def _repr_html_(self) -> str:
        return _table(self, 96)


def _attributes(one: Answer) -> dict[str, Any]:
    """The attributes of an object; no key where the model knows none."""
    found = {name: [value, round(p, 6)] for name, value, p in one.attributes}
    return {"attributes": found} if found else {}


def attributes_in(predictions: Sequence[Prediction]) -> tuple[str, ...]:
    """The names of the attributes that were answered."""
    return tuple(sorted({a.name for p in predictions for one in p.objects for a in one.attributes}))


def columns_of(names: Iterable[str]) -> tuple[str, ...]:
    """:data:`COLUMNS`, and behind them the value and the confidence of each attribute."""
    return (*COLUMNS, *chain(*((name, f"{name}_confidence") for name in names)))


def to_rows(predictions: Iterable[Prediction], names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Rows of :func:`columns_of`: one per object, and one for a photo without any."""
    for p in predictions:
        for one in p.objects:
            known = {name: (value, share) for name, value, share in one.attributes}
            yield (p.photo, p.found, *(round(v, 2) for v in one.box), one.parent,
                   one.parent_score, one.label, one.confidence, one.reason, "", "",
                   *chain(*(known[name] for name in names)))  # fmt: skip
        if not p.objects:
            yield (p.photo, False, None, None, None, None, "", None, "", None, "", p.error_code,
                   p.error_message, *("", None) * len(names))  # fmt: skip


def _table(predictions: list[Prediction], size: int) -> str:
    """For a notebook: a row a photo, with a picture of `size` pixels where it is still there."""
    rows = []
    for one in predictions[:_MOST_SHOWN]:
        said = [
            f"<b>{_safe(a.label)}</b> {a.confidence:.0%}"
            + (f" <i>{_safe(a.reason)}; best guess: {_safe(a.top[0][0])}</i>" if a.reason else "")
            for a in one.objects
        ] or [f"<b>error</b> {_safe(one.error_message)}" if one.error else "nothing found"]
        rows.append(f"<tr><td>{_picture(one, size)}</td><td>{_safe(one.photo)}</td>"
                    f"<td>{'<br>'.join(said)}</td></tr>")  # fmt: skip
    more = len(predictions) - _MOST_SHOWN
    failed = sum(one.error is not None for one in predictions)
    notes = [f"and {more} more"] * (more > 0) + [f"{failed} with an error"] * (failed > 0)
    foot = f"<p>{', '.join(notes)}</p>" if len(predictions) > 1 and notes else ""
    return f"<table><tbody>{''.join(rows)}</tbody></table>{foot}"


def _picture(prediction: Prediction, size: int) -> str:
    from closeup.photos.reading import read_picture
    from closeup.photos.thumbnail import thumbnail

    if not prediction.photo or prediction.error:
        return ""
    box = prediction.objects[0].box if prediction.found and prediction.objects else None
    with suppress(PhotoError):
        source = thumbnail(read_picture(Path(prediction.photo)), box, size)
        return f'<img src="{source}" alt="">'
    return ""


def _safe(text: str) -> str:
    return escape(visible(text))
