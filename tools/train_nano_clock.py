"""Train nano-clock, the detector of clocks and watches that ships with the package.

    python tools/train_nano_clock.py --caltech caltech101_144.zip --grocery grocery_144.zip \
        --teachers weights --out build/nano-clock --seed 0

Making the pictures took about 5 minutes, the 5000 steps 22, on four processor cores that other
work shared. The result lies in ``OUT/nano-clock``: the ONNX graph and its card;
``tools/evaluate_nano.py`` measures it and completes the card.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.nano import clock_card, together
from tools.nano.clock_batches import Sampler
from tools.nano.clock_loss import loss
from tools.nano.clock_model import SIDE, NanoClock, cells
from tools.nano.clock_pictures import Amounts, load_pictures, renderer_hash
from tools.nano.graphs import write_graph

SMALL = 160
"""Side of the pictures that the first steps run on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where training finds and leaves everything, and how long it lasts.

    ``small`` is the share of the steps that run on pictures of ``SMALL`` pixels, the first ones.
    """

    archives: tuple[Path, Path]
    teachers: Path
    out: Path
    work: Path
    seed: int
    steps: int
    batch: int
    rate: float
    small: float = 0.6
    decay: float = 0.05
    workers: int = 4
    amounts: Amounts = field(default_factory=Amounts)


def main() -> None:
    """Read the command line, make the pictures, train, export."""
    plan = parse()
    scenes = renderer_hash()  # before anything is made: the sources may change meanwhile
    load_pictures(plan.work, plan.archives, plan.teachers, plan.seed, plan.amounts)
    begun = time.monotonic()
    together.run(train, plan.workers, plan.seed, plan)
    minutes = (time.monotonic() - begun) / 60
    net = NanoClock()
    net.load_state_dict(load_file(plan.out / "nano-clock.safetensors"))
    folder = plan.out / "nano-clock"
    write_graph(net, SIDE, folder / "graph.onnx", "images", "output")
    card = clock_card.write(folder, plan.seed, plan.steps, minutes, scenes)
    print(f"{card.name}: {card.bytes / 1e6:.2f} MB, trained in {minutes:.1f} min, in {folder}")


def parse() -> Plan:
    """The command line as a plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--caltech", type=Path, required=True, help="caltech101_144.zip")
    parser.add_argument("--grocery", type=Path, required=True, help="grocery_144.zip")
    parser.add_argument("--teachers", type=Path, required=True, help="folder of teacher networks")
    parser.add_argument("--out", type=Path, required=True, help="where the network is put")
    parser.add_argument("--work", type=Path, help="where pictures are kept (OUT/work)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=64, help="pictures per step")
    parser.add_argument("--rate", type=float, default=2e-3, help="top learning rate")
    args = parser.parse_args()
    return Plan(
        archives=(args.caltech, args.grocery),
        teachers=args.teachers,
        out=args.out,
        work=args.work or args.out / "work",
        seed=args.seed,
        steps=args.steps,
        batch=args.batch,
        rate=args.rate,
    )


def train(worker: together.Worker, plan: Plan) -> None:
    """What each process does; the first one leaves the averaged weights in ``plan.out``."""
    kinds = load_pictures(plan.work, plan.archives, plan.teachers, plan.seed, plan.amounts)
    sampler = Sampler(kinds, worker.rng, worker.generator())
    net = NanoClock().to(memory_format=torch.channels_last)
    net.train()
    optimizer = together.adamw(net, plan.rate, plan.decay)
    average = together.Average(net, 0.998)
    begun, recent = time.monotonic(), 0.0
    for step in range(plan.steps):
        side = SMALL if step < plan.small * plan.steps else SIDE
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * together.cosine(step, plan.steps, 200)
        batch = sampler.draw(plan.batch // worker.count, side)
        with torch.autocast("cpu", torch.bfloat16):
            raw = net(batch.images)
        value = loss(raw.float(), batch.truth, batch.present, cells(side), worker.count)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        together.share_gradients(net.parameters(), worker.count)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
        average.update(net)
        recent += (value.item() - recent) * (1 if step == 0 else 0.02)
        if worker.rank == 0 and (step + 1) % 100 == 0:
            spent = time.monotonic() - begun
            left = spent / (step + 1) * (plan.steps - step - 1)
            print(f"step {step + 1} loss {recent:.3f} {spent:.0f} s, {left:.0f} s left", flush=True)
    net.load_state_dict(average.values)
    together.share_buffers(net, worker.count)
    if worker.rank == 0:
        plan.out.mkdir(parents=True, exist_ok=True)
        state = {key: value.contiguous() for key, value in net.state_dict().items()}
        save_file(state, plan.out / "nano-clock.safetensors")


if __name__ == "__main__":
    main()
