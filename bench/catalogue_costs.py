"""The cost of each backbone of the catalogue, relative to the default: the column ``time``.

``python -m bench.catalogue_costs`` builds every timm backbone with random weights (times do not
depend on them), and lets each take turns with the default, one picture at a time on one processor.
What counts is the processor's time, and the least of it, because whatever else a machine does only
adds to it. Paste what it prints into ``catalogue.toml``. ONNX graphs that are only downloaded
(``dinov2-s``) are of the same architecture as their PyTorch row.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from closeup.core.config import EngineConfig
from closeup.core.errors import CloseupError
from closeup.networks.catalogue import Entry, catalogue
from closeup.networks.engine import Graph, open_graph
from closeup.networks.preprocess import InputOverrides

BASE = "dinov2-s-pytorch"


def graph_of(
    entry: Entry, folder: Path
) -> tuple[Graph, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """The network with random weights on the usual engine, and a picture for it."""
    from closeup.networks.convert.backbones import Architecture, build, export_backbone

    backbone = build(Architecture("timm", entry.architecture, entry.args), InputOverrides())
    folder.mkdir()
    card = export_backbone(backbone, folder, entry.name, InputOverrides(), {})
    pixels = np.random.default_rng(0).random((1, 3, card.input.height, card.input.width))
    return open_graph(folder / card.graph, EngineConfig(threads=1)), pixels.astype(np.float32)


def seconds(graph: Graph, pixels: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """The processor's time for one picture, the least of several."""
    taken = []
    for _ in range(8):
        began = time.process_time()
        graph.run({"image": pixels})
        taken.append(time.process_time() - began)
    return min(taken)


def main() -> None:
    """Print each backbone's cost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="backbones; all of timm's by default")
    parser.add_argument("--rounds", type=int, default=4)
    args = parser.parse_args()
    entries = [one for one in catalogue().values() if one.via == "timm" and one.name != BASE]
    with tempfile.TemporaryDirectory() as work:
        base = graph_of(catalogue()[BASE], Path(work) / "base")
        for entry in entries:
            if args.names and entry.name not in args.names:
                continue
            try:
                own = graph_of(entry, Path(work) / entry.name)
            except (CloseupError, RuntimeError, ValueError, OSError) as err:  # others go on
                print(f"{entry.name}: {type(err).__name__}: {str(err)[:200]}", flush=True)
                continue
            times = [(seconds(*own), seconds(*base)) for _ in range(args.rounds)]
            least = [min(column) for column in zip(*times, strict=True)]
            print(f"{entry.name}: cost = {least[0] / least[1]:.2f}  ({least[0] * 1e3:.0f} ms)",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
