"""Several backbones as one: ``NAME+OTHER`` gives the embeddings of both, one after the other.

Networks that were trained differently make different mistakes, so a head on both is better than on
either. The graphs are put side by side into one, which sees each picture once prepared; that is an
ordinary backbone to everything else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import NetworkError, UsageError
from closeup.core.lock import work_folder
from closeup.networks.cache import Network, load, measured, networks_folder, save
from closeup.networks.card import GRAPH_FILE
from closeup.networks.pooling import opset_of
from closeup.networks.preprocess import InputSpec
from closeup.networks.variants import check_runs, finish, resizing

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

SIGN = "+"
LONGEST = 200


def join(networks: Sequence[Network], place: Path | None = None) -> Network:
    """One network of two or more, from the cache where it was made of these very ones before.

    Pictures are prepared for the one with the largest input, the first of equals; where the others
    want another size, other means or another order of channels, the graph converts them. Whether a
    picture keeps its shape is decided by that one, too.

    Parameters
    ----------
    place
        The folder to keep it in; None for the cache.

    Raises
    ------
    UsageError
        Where one is not a backbone.
    """
    name = SIGN.join(network.card.name for network in networks)
    facts = [n.card.sha256 + n.card.input.model_dump_json() for n in networks]
    bases = hashlib.sha256(" ".join(facts).encode()).hexdigest()
    place = place or networks_folder()
    # A folder's name may not be as long as those of many networks are together.
    folder = place / (name if len(name) <= LONGEST else f"{name[: LONGEST - 13]}-{bases[:12]}")
    if folder.is_dir():
        network = load(folder)
        if network.card.made_with.get("base") == bases:
            return network
    first = networks[0].card
    for card in (network.card for network in networks):
        if card.kind != "backbone":
            raise UsageError(f"{card.name} is a {card.kind}; only backbones can be joined")
    largest = max((n.card.input for n in networks), key=lambda spec: spec.width * spec.height)
    dim = sum(network.card.dim for network in networks)
    with work_folder(place, ".making-") as work:
        file = work / GRAPH_FILE
        file.write_bytes(_merged(networks, largest, dim).SerializeToString())
        check_runs(name, file, largest, dim)
        card = first.model_copy(update={
            "name": name, "graph": file.name, "input": largest, "dim": dim, "scores": {},
            "origin": None,
            "blocks": tuple(b for n in networks for b in n.card.blocks or (n.card.dim,)),
            "description": " and ".join(n.card.description or n.card.name for n in networks),
            "licence": _all(n.card.licence for n in networks),
            "source": _all(n.card.source for n in networks),
            "trained_on": tuple(dict.fromkeys(t for n in networks for t in n.card.trained_on)),
            "made_with": {**first.made_with, "base": bases},
            **measured(file),
        })  # fmt: skip
        return save(card, file, folder)


def _all(texts: Iterable[str]) -> str:
    """The different ones, joined."""
    return "; ".join(dict.fromkeys(text for text in texts if text))


def _merged(networks: Sequence[Network], spec: InputSpec, dim: int) -> ModelProto:
    """The graphs side by side, with one input ``image`` and one output ``embedding``."""
    import onnx
    from onnx import TensorProto, compose, helper, version_converter

    models = [onnx.load(network.file) for network in networks]
    newest = max(opset_of(model) for model in models)
    shape = ["n", 3, spec.height, spec.width]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    nodes: list[NodeProto] = []
    weights: list[TensorProto] = []
    outputs, domains = list[str](), dict[str, int]()
    for number, (model, network) in enumerate(zip(models, networks, strict=True)):
        if opset_of(model) < newest:
            try:
                model = version_converter.convert_version(model, newest)
            except RuntimeError as err:
                raise NetworkError(f"{network.card.name} cannot be joined: {err}") from err
        model = compose.add_prefix(model, f"net{number}_")
        before, constants = _converted("image", model.graph.input[0].name, spec, network.card.input)
        nodes += [*before, *model.graph.node]
        weights += [*constants, *model.graph.initializer]
        outputs.append(model.graph.output[0].name)
        domains |= {opset.domain: opset.version for opset in model.opset_import}
    nodes.append(helper.make_node("Concat", outputs, ["joined"], axis=1))
    wanted = helper.make_tensor_value_info("joined", TensorProto.FLOAT, ["n", dim])
    graph = helper.make_graph(nodes, "joined", [image], [wanted], weights)
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    merged = helper.make_model(graph, opset_imports=opsets)
    merged.ir_version = max(model.ir_version for model in models)
    finish(merged, "joined", dim)
    return merged


def _converted(
    source: str, target: str, given: InputSpec, wanted: InputSpec
) -> tuple[list[NodeProto], list[TensorProto]]:
    """The nodes that turn input prepared as `given` into what `wanted` says, and their constants.

    - `source`, `target`: names of the two tensors
    """
    from onnx import helper, numpy_helper

    def constant(word: str, values: NDArray[Any]) -> TensorProto:
        return numpy_helper.from_array(values, f"{target}_{word}")

    turned = given.color != wanted.color
    unit = {"unit": 1.0, "byte": 255.0}
    mean, std = (np.array(values, np.float64)[:: -1 if turned else 1]
                 for values in (given.mean, given.std))  # fmt: skip
    ratio = unit[wanted.scale] / unit[given.scale]
    # given = (x - mean) / std, and x * ratio is what `wanted` starts from.
    factor = std * ratio / np.array(wanted.std)
    shift = (mean * ratio - np.array(wanted.mean)) / np.array(wanted.std)
    nodes: list[NodeProto] = []
    constants: list[TensorProto] = []
    if (given.width, given.height) != (wanted.width, wanted.height):
        sides = resizing((given.height, given.width), (wanted.height, wanted.width))
        constants.append(constant("sides", sides))
        nodes.append(helper.make_node("Resize", [source, "", constants[-1].name],
                                      [f"{target}_resized"], mode="linear"))  # fmt: skip
        source = f"{target}_resized"
    if turned:
        constants.append(constant("order", np.array([2, 1, 0], np.int64)))
        nodes.append(helper.make_node("Gather", [source, constants[-1].name],
                                      [f"{target}_turned"], axis=1))  # fmt: skip
        source = f"{target}_turned"
    if np.allclose(factor, 1, rtol=1e-12) and np.allclose(shift, 0, atol=1e-12):
        return [*nodes, helper.make_node("Identity", [source], [target])], constants
    for word, kind, values in (("factor", "Mul", factor), ("shift", "Add", shift)):
        constants.append(constant(word, values.astype(np.float32).reshape(1, 3, 1, 1)))
        out = f"{target}_scaled" if kind == "Mul" else target
        nodes.append(helper.make_node(kind, [source, constants[-1].name], [out]))
        source = out
    return nodes, constants
