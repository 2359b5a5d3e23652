"""Read an ONNX file's signature, and refuse what is not one whole, self-contained file.

ONNX is a protocol buffer: a sequence of ``key, value`` fields, where a value may again be such a
sequence. Walking the few fields that matter takes milliseconds and needs no library.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import NetworkDamaged, NetworkError
from closeup.networks.engine.files import while_unchanged

Shape = tuple[int | None, ...]
_Span = tuple[int, int]

# Field number -> kind of the message inside, for every message that can hold a tensor
# (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_HIGHEST_KEY = 2**32 - 1
_PER_BYTE = 8  # numbers in a tensor for each byte, at most: they may be packed by the bit
_LARGEST_SPARSE = 2**28
_DTYPES: dict[int, type[np.generic]] = {
    **{1: np.float32, 10: np.float16, 11: np.float64, 9: np.bool_},
    **{2: np.uint8, 3: np.int8, 5: np.int16, 6: np.int32, 7: np.int64},
}


@dataclass(frozen=True, slots=True)
class Signature:
    """What a graph takes and gives.

    `inputs` maps a name to its shape (None where an axis is free), `dtypes` to its NumPy type;
    `outputs` are in the graph's own order, and `metadata` is what the exporter wrote beside it.
    """

    file: Path
    inputs: Mapping[str, Shape]
    dtypes: Mapping[str, np.dtype[np.generic]]
    outputs: tuple[str, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def conform(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """The feeds as contiguous arrays of the input's own type.

        Raises NetworkError where a name is missing or unknown, a shape does not fit, an axis is
        empty, or a type cannot be converted without changing its kind.
        """
        if feeds.keys() != self.inputs.keys():
            raise NetworkError(
                f"{self.file} was given {sorted(feeds)}, but its inputs are {sorted(self.inputs)}"
            )
        ready = {}
        for name, shape in self.inputs.items():
            value, dtype = np.asarray(feeds[name]), self.dtypes[name]
            fits = len(value.shape) == len(shape) and all(
                found == wanted if wanted is not None else found > 0
                for found, wanted in zip(value.shape, shape, strict=True)
            )
            if not fits:
                wanted = ", ".join("any" if axis is None else str(axis) for axis in shape)
                raise NetworkError(
                    f"{self.file}: input {name} has shape {value.shape}, expected ({wanted})"
                )
            if not np.can_cast(value.dtype, dtype, "same_kind"):
                raise NetworkError(
                    f"{self.file}: input {name} is {value.dtype}, expected {dtype}; convert it"
                )
            ready[name] = np.ascontiguousarray(value, dtype)
        return ready


@while_unchanged
def read_signature(file: Path) -> Signature:
    """Check that `file` is one whole ONNX file and read what it takes and gives.

    Weights in further files ("external data") are refused: a card's hash would not cover them,
    and a file from elsewhere could name any path.

    Raises
    ------
    NetworkDamaged
        Where the file is not ONNX, is cut short, or keeps weights in other files.
    NetworkError
        Where it cannot be opened, or has an input that is not a numeric tensor.
    """
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as m:
            return _Reader(file, m).signature()
    except OSError as err:
        raise NetworkError(f"{file} cannot be opened: {err.strerror or err}") from err
    except ValueError as err:  # also what mmap says of an empty file
        raise NetworkDamaged(
            f"{file} is not a whole ONNX file ({err}); get or export it again"
        ) from err


class _Reader:
    """Walks one file; spans are ``(start, end)`` offsets into it."""

    def __init__(self, file: Path, data: mmap.mmap) -> None:
        self.file = file
        self.data = data

    def signature(self) -> Signature:
        whole = (0, len(self.data))
        self._refuse_tensors(whole)
        graph = self._message(whole, 7)
        if graph is None:
            raise ValueError("it holds no graph")
        if self._message(whole, 8) is None:
            raise ValueError("it does not say which operators it uses: its end is missing")
        weights = {self._text(span, 8) for span in self._messages(graph, 5)}
        inputs: dict[str, Shape] = {}
        dtypes: dict[str, np.dtype[np.generic]] = {}
        for span in self._messages(graph, 11):
            name = self._text(span, 1)
            if name not in weights:  # files older than IR 4 list their weights as inputs too
                inputs[name], dtypes[name] = self._tensor_type(name, span)
        outputs = tuple(self._text(span, 1) for span in self._messages(graph, 12))
        if not inputs or not outputs:
            raise ValueError("its graph has no input or no output")
        metadata = {self._text(s, 1): self._text(s, 2) for s in self._messages(whole, 14)}
        return Signature(self.file, inputs, dtypes, outputs, metadata)

    def _refuse_tensors(self, whole: _Span) -> None:
        todo = [("model", whole)]
        while todo:
            kind, span = todo.pop()
            if kind in ("tensor", "sparse"):
                self._refuse_lying_shape(kind, span)
            for number, value in self._fields(span):
                if kind == "tensor" and ((number == 13) or (number == 14 and value == 1)):
                    raise NetworkDamaged(
                        f"{self.file} keeps weights in other files, which is not supported: save "
                        "it as one file (onnx.save(onnx.load(FILE), FILE) does)"
                    )
                if isinstance(value, tuple) and (inside := _INSIDE.get(kind, {}).get(number)):
                    todo.append((inside, value))

    def _refuse_lying_shape(self, kind: str, span: _Span) -> None:
        """Refuse a tensor larger than its bytes (engines allocate first); limit a sparse one."""
        size = 1
        for axis in self._numbers(span, 1 if kind == "tensor" else 3):
            size *= axis
            if axis >= 2**63 or size > 2**62:
                raise ValueError("a tensor has an impossible shape")
        start, end = span
        if size > (_PER_BYTE * (end - start) if kind == "tensor" else _LARGEST_SPARSE):
            raise ValueError(f"a tensor of {size:,} numbers is stored in {end - start:,} bytes")

    def _numbers(self, span: _Span, number: int) -> Iterator[int]:
        """The whole numbers of a repeated field, packed or one by one."""
        for found, value in self._fields(span):
            if found != number:
                continue
            if isinstance(value, int):
                yield value
                continue
            at, end = value
            while at < end:
                one, at = self._varint(at, end)
                yield one

    def _tensor_type(self, name: str, info: _Span) -> tuple[Shape, np.dtype[np.generic]]:
        of_type = self._message(info, 2)
        tensor = None if of_type is None else self._message(of_type, 1)
        code = 0 if tensor is None else self._number(tensor, 1)
        if tensor is None or code not in _DTYPES:
            raise NetworkError(f"{self.file}: input {name} is not a tensor of numbers")
        shape = self._message(tensor, 2)
        axes = [] if shape is None else list(self._messages(shape, 1))
        return tuple(self._number(axis, 1) or None for axis in axes), np.dtype(_DTYPES[code])

    def _messages(self, span: _Span, number: int) -> Iterator[_Span]:
        for found, value in self._fields(span):
            if found == number and isinstance(value, tuple):
                yield value

    def _message(self, span: _Span, number: int) -> _Span | None:
        return next(self._messages(span, number), None)

    def _text(self, span: _Span, number: int) -> str:
        start, end = self._message(span, number) or (0, 0)
        return self.data[start:end].decode("utf8")

    def _number(self, span: _Span, number: int) -> int:
        return next((v for n, v in self._fields(span) if n == number and isinstance(v, int)), 0)

    def _fields(self, span: _Span) -> Iterator[tuple[int, int | _Span]]:
        """The fields of one message: number, and the value or the span that holds it."""
        at, end = span
        while at < end:
            key, at = self._varint(at, end)
            if key > _HIGHEST_KEY:  # other readers drop the upper bits, and see another field
                raise ValueError("a field has an impossible number")
            number, wire = key >> 3, key & 7
            value: int | _Span
            if wire == 0:
                value, at = self._varint(at, end)
            else:
                if wire == 2:
                    size, at = self._varint(at, end)
                elif wire in (1, 5):
                    size = 8 if wire == 1 else 4
                else:
                    raise ValueError(f"unknown wire type {wire}")
                value, at = (at, at + size), at + size
            if at > end or number == 0:
                raise ValueError("a field runs past its end")
            yield number, value

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            if at >= end or shift > 63:
                raise ValueError("a number runs past its end")
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
