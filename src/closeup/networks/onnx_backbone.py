"""Make a backbone of any image network's ONNX file: pictures in, one embedding for each out.

What is added to the graph turns pictures ``(n, 3, height, width)`` of float32 into what it takes
(channels last, whole numbers, half precision), so that it can be joined, mirrored and enlarged like
any other. A classifier's last fully connected layer, and what follows it, is left out.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import NetworkError, UsageError
from closeup.networks.classifier import Cut, cut_classifier, prune
from closeup.networks.engine import Graph, open_to_try
from closeup.networks.onnx_input import PictureInput, input_spec, picture_input, take_pictures
from closeup.networks.pooling import GraphBuilder
from closeup.networks.preprocess import InputOverrides, InputSpec, prepare
from closeup.networks.tokens import (
    TokenPool,
    add_token_pooling,
    tokens_before_patches,
    tokens_by_patch,
)
from closeup.networks.variants import finish

if TYPE_CHECKING:
    from onnx import ModelProto

CLASS_COUNTS = frozenset({1000, 1001, 11221, 11821, 21841, 21843})
"""How many classes ImageNet's networks are trained for."""

_OPSET = 17
_EMBEDDING = re.compile(r"embed|feature|pool|last_hidden|class_?token|descriptor", re.IGNORECASE)
_TOKENS_NAME = re.compile(r"hidden|token|embed|feature", re.IGNORECASE)
_PROJECTED = re.compile(r"image_embed|sentence_embed", re.IGNORECASE)
_TOKENS = "last_hidden_state"
_NEAR = 1e-3  # of the largest number
_Answers = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Made:
    """An embedding graph: its input, the parts of its embedding, what was decided.

    `batch` is 0 where the number of pictures is free, else 1; `notes` are sentences for the user.
    """

    spec: InputSpec
    blocks: tuple[int, ...]
    batch: int
    notes: tuple[str, ...]


def embedding_graph(
    file: Path,
    out: Path,
    *,
    overrides: InputOverrides,
    stated: Mapping[str, Any],
    pool: TokenPool | None = None,
) -> Made:
    """Write to `out` the graph that embeds pictures with the network in `file`.

    The new graph has one input ``(n, 3, height, width)`` float32 and the output ``embedding``
    ``(n, dim)``. It is compared with the original one on noise.

    Parameters
    ----------
    overrides, stated
        What the user says of the input, and what a file beside `file` says (arguments of an
        :class:`InputSpec`); else ImageNet's means and deviations are assumed.
    pool
        How a transformer's tokens become an embedding; None decides by what there is.

    Raises
    ------
    UsageError
        Where the graph does not take pictures, or gives nothing that embeds them.
    NetworkError
        Where the file is not one whole ONNX file (NetworkDamaged), or no engine runs it.
    """
    from onnx import checker

    original = open_to_try(file)
    given = picture_input(file, original)
    spec = input_spec(file, given, overrides, stated)
    pictures = _noise(spec)
    expected = original.run(given.feed(_for_batch(pictures, given.shape[0])))
    model, cuts, answers = _prepared(file, out, given, spec, pictures[:1], expected)
    tensor, blocks, note = _embedding(original, model, answers, cuts, spec, pool)
    prune(model, tensor := _as_float(model, tensor, answers))
    try:
        finish(model, tensor, sum(blocks))
    except checker.ValidationError as err:
        raise NetworkError(f"{file} breaks the rules of ONNX: {str(err).splitlines()[0]}") from err
    batch = _write(model, file, out, spec, sum(blocks))
    notes = (note, *([] if stated else [_guessed(spec, overrides)]))
    return Made(spec, blocks, batch, tuple(filter(None, notes)))


def _guessed(spec: InputSpec, overrides: InputOverrides) -> str:
    given = overrides.model_dump(exclude_none=True)
    if spec.scale == "byte" or {"mean", "std"} <= given.keys():
        return ""
    return (
        f"input {spec.width}x{spec.height} with ImageNet's mean and standard deviation: assumed, "
        "as the file does not say; else give --size, --mean and --std"
    )


def _noise(spec: InputSpec) -> NDArray[np.float32]:
    """Two pictures of noise, ``(2, 3, height, width)``, as the network would be given them."""
    rng = np.random.default_rng(0)
    size = (spec.height, spec.width, 3)
    return np.stack([
        prepare(rng.integers(0, top, size, dtype=np.uint8), spec)[0] for top in (255, 128)
    ])  # fmt: skip


def _for_batch(pictures: NDArray[np.float32], batch: int | None) -> NDArray[np.float32]:
    """The first picture, as often as a fixed batch wants it."""
    return np.repeat(pictures[:1], batch or 1, axis=0)


def _prepared(
    file: Path,
    out: Path,
    given: PictureInput,
    spec: InputSpec,
    picture: NDArray[np.float32],
    expected: _Answers,
) -> tuple[ModelProto, Mapping[str, Cut], _Answers]:
    """The model taking pictures, where it may be cut, and what its tensors are of `picture`.

    Variants are made of newer operators than some files have, which are therefore converted where
    that changes no answer.
    """
    import onnx

    for opset in (_OPSET, 0):
        model = _modern(onnx.load(file), opset)
        take_pictures(model, given, spec)
        names = [value.name for value in model.graph.output]
        cuts = {name: cut for name in names if (cut := cut_classifier(model, name))}
        tensors = [t for cut in cuts.values() for t in (cut.tensor, cut.tokens) if t]
        try:
            return model, cuts, _try(model, out, picture, expected, tensors)
        except NetworkError:
            if not opset:
                raise
    raise AssertionError


def _modern(model: ModelProto, opset: int) -> ModelProto:
    """The model in this opset or a later one, without weights among its inputs."""
    from onnx import checker, version_converter

    own = {o.domain: o.version for o in model.opset_import}
    if own.keys() <= {"", "ai.onnx"} and max(own.values(), default=0) < opset:
        with contextlib.suppress(RuntimeError, ValueError, checker.ValidationError):
            model = version_converter.convert_version(model, opset)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 8)
    return model


def _try(
    model: ModelProto,
    file: Path,
    picture: NDArray[np.float32],
    expected: _Answers,
    tensors: list[str],
) -> _Answers:
    """What the graph gives of a picture, the tensors inside included, once it fits `expected`."""
    from onnx import ValueInfoProto

    names = [value.name for value in model.graph.output]
    more = dict.fromkeys(name for name in tensors if name not in names)
    del model.graph.output[:]
    model.graph.output.extend(ValueInfoProto(name=name) for name in (*names, *more))
    file.write_bytes(model.SerializeToString())
    graph = open_to_try(file)
    answers = graph.run({next(iter(graph.inputs)): picture})
    for name in names:
        wanted = expected[name][: len(answers[name])].astype(np.float32)
        gap = np.abs(answers[name].astype(np.float32) - wanted).max(initial=0)
        if gap > _NEAR * (np.abs(wanted).max(initial=0) or 1):  # NaN is refused in the end
            raise NetworkError(
                f"its output {name} changes by {gap:.2g} once it is prepared as a backbone: export "
                "it again, with opset 17 or later"
            )
    return answers


def _embedding(
    original: Graph,
    model: ModelProto,
    answers: _Answers,
    cuts: Mapping[str, Cut],
    spec: InputSpec,
    pool: TokenPool | None,
) -> tuple[str, tuple[int, ...], str]:
    """The tensor ``(n, dim)`` that embeds pictures, the lengths of its parts, and what to say."""
    file = original.signature.file
    shapes = {name: value.shape for name, value in answers.items()}
    outputs = {name: shapes[name] for name in original.outputs}
    named = [name for name in outputs if _is_flat(shapes[name]) and _EMBEDDING.search(name)]
    named.sort(key=lambda name: not _PROJECTED.search(name))
    sure = [cuts[name] for name in cuts if name not in named and _is_sure(cuts[name], answers)]
    projected = bool(named and _PROJECTED.search(named[0]))
    if tokens := "" if projected and not pool else _tokens(model, outputs, sure, spec, pool):
        _, count, dim = shapes[tokens]
        before = tokens_before_patches(model, count, (spec.width, spec.height))
        if pool or before or not named:  # else a pooler that was trained for it is better
            way = pool or "both"
            tensor, blocks = add_token_pooling(model, tokens, (before, count, dim), way)
            return tensor, blocks, _about_tokens(way, before, count)
    if pool is not None:
        raise UsageError(f"{file} gives no tokens to pool but {_listed(outputs)}: omit --pool")
    chosen, note = _without_tokens(file, outputs, named, sure)
    dim = shapes[chosen][1]
    return _flattened(model, chosen, shapes), (dim,), note.replace("{dim}", str(dim))


def _tokens(
    model: ModelProto,
    outputs: Mapping[str, tuple[int, ...]],
    cuts: Sequence[Cut],
    spec: InputSpec,
    pool: TokenPool | None,
) -> str:
    """The tensor ``(n, tokens, dim)`` of a transformer, ``""`` where there is none."""
    rows = [name for name, shape in outputs.items() if len(shape) == 3]
    size = (spec.width, spec.height)
    fit = [
        name for name in sorted(rows, key=lambda name: name != _TOKENS)
        if _TOKENS_NAME.search(name)
        or tokens_by_patch(model, outputs[name][1], size) is not None
    ]  # fmt: skip
    # Those that a classifier got the first of are taken only where the user wants it.
    inside = [cut.tokens for cut in cuts if cut.tokens and pool]
    return next(iter([*fit, *inside]), "")


def _without_tokens(
    file: Path, outputs: Mapping[str, tuple[int, ...]], named: Sequence[str], cuts: Sequence[Cut]
) -> tuple[str, str]:
    """The tensor ``(n, dim)`` or ``(n, dim, height, width)``, and what to say about it."""
    if named:
        return named[0], ""
    if cuts:
        return cuts[0].tensor, (
            f"the network ends in a classifier of {cuts[0].classes} classes: the {{dim}} numbers "
            "before its last fully connected layer are taken (to keep its output instead, name it "
            "`embedding` in the file)"
        )
    flat = [name for name, shape in outputs.items() if _is_flat(shape)]
    maps = [name for name, shape in outputs.items() if len(shape) == 4]
    if not flat and not maps:
        raise UsageError(
            f"{file} gives {_listed(outputs)}; a backbone gives (1, numbers), a feature map (1, "
            "channels, height, width) or tokens (1, tokens, numbers)"
        )
    if not flat:
        return maps[-1], f"its feature map {maps[-1]} of {{dim}} channels is averaged"
    if outputs[flat[0]][1] in CLASS_COUNTS:
        return flat[0], (
            "its {dim} numbers look like a classifier's answers, but no fully connected layer was "
            "found that makes them: they are taken as the embedding"
        )
    return flat[0], ""


def _is_flat(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1))


def _is_sure(cut: Cut, answers: _Answers) -> bool:
    """Whether the layer before `cut` is a classifier's, and no convolution before an average."""
    shape = answers[cut.tensor].shape
    if not cut.is_convolution:
        return len(shape) == 2
    return shape[2:] == (1, 1) or cut.has_softmax or cut.classes in CLASS_COUNTS


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _about_tokens(pool: TokenPool, before: int, count: int) -> str:
    what = {
        "class": "the class token",
        "mean": "the mean of its patches",
        "both": "the class token and the mean of its patches",
    }[pool if before else "mean"]
    registers = f", {before - 1} registers" if before > 1 else ""
    first = f"a class token{registers} and " if before else ""
    return f"a transformer of {first}{count - before} patches: {what} is taken (--pool)"


def _flattened(model: ModelProto, tensor: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The tensor as ``(n, dim)``: a feature map is averaged."""
    shape = shapes[tensor]
    if len(shape) == 2:
        return tensor
    build = GraphBuilder(model)
    return build.mean(tensor) if len(shape) == 4 else build.node("Flatten", [tensor], axis=1)


def _as_float(model: ModelProto, tensor: str, answers: _Answers) -> str:
    """The tensor as float32, where the graph computes in another precision."""
    if all(value.dtype == np.float32 for value in answers.values()):
        return tensor
    from onnx import TensorProto

    return GraphBuilder(model).node("Cast", [tensor], to=TensorProto.FLOAT)


def _write(model: ModelProto, file: Path, out: Path, spec: InputSpec, dim: int) -> int:
    """Write the finished graph and run it: 0 where it takes any number of pictures, else 1."""
    pictures = _noise(spec)
    for batch in (0, 1):
        if batch:
            model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
        out.write_bytes(model.SerializeToString())
        graph = open_to_try(out)
        name = next(iter(graph.inputs))
        single = np.concatenate([graph.run({name: one[None]})["embedding"] for one in pictures])
        if single.shape != (2, dim) or not np.isfinite(single).all():
            raise UsageError(
                f"{file} gives NaN or infinite values of a picture, or not {dim} numbers"
            )
        if np.array_equal(single[0], single[1]):
            raise UsageError(
                f"{file} gives the same embedding for two different pictures: check --scale, "
                "--mean and --std, and whether its output depends on the picture"
            )
        if batch or _agrees(graph, pictures, single):
            return batch
    raise AssertionError


def _agrees(graph: Graph, pictures: NDArray[np.float32], single: NDArray[np.float32]) -> bool:
    """Whether two pictures at once give what they give one by one."""
    try:
        both = graph.run({next(iter(graph.inputs)): pictures})["embedding"]
    except NetworkError:
        return False
    return both.shape == single.shape and bool(
        np.abs(both - single).max() <= _NEAR * np.abs(single).max()
    )
