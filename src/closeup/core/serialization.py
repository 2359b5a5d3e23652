"""Dataclasses to JSON values and back, by pydantic.

The names of the fields are the keys. A field that is called otherwise on disk says so with
``Annotated[..., Field(alias="old_name")]``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")

_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)
"""Built once for each class: that takes longer than using it."""


def to_json(value: Any) -> Any:
    """`value`, an instance of a dataclass, as dicts, lists, strings and numbers."""
    return _adapter(type(value)).dump_python(value, mode="json", by_alias=True)


def from_json(kind: type[T], value: Any) -> T:
    """An instance of the dataclass `kind` from what :func:`to_json` gave.

    Raises
    ------
    ValueError
        Where a field is missing or of another kind (pydantic's ValidationError is one).
    """
    found: T = _adapter(kind).validate_python(value)
    return found
