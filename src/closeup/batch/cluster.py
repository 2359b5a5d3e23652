"""Ray: a cluster on this machine or elsewhere, and the shards on its workers."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

from closeup.batch.files import one_line
from closeup.batch.worker import Report, Worker
from closeup.core.config import EngineConfig
from closeup.core.errors import CloseupError, UsageError, how_to_install
from closeup.core.parallel import available_cpus
from closeup.networks.engine.onnxruntime_backend import has_cuda

LOCAL = "local"
_STORE_BYTES = 256 << 20
"""Room for objects of a local cluster; a shard's names are a few kilobytes."""


class Cluster:
    """Ray, with as many workers as it has room for."""

    def __init__(self, engine: EngineConfig) -> None:
        import ray

        self._ray = ray
        have = ray.cluster_resources()
        cpus, gpus = int(have.get("CPU", 1)), int(have.get("GPU", 0))
        self._gpus = 1 if gpus and engine.engine != "openvino" and has_cuda() else 0
        # Beside a GPU its share of the processors reads and cuts.
        self._cpus = engine.threads or (max(1, cpus // gpus) if self._gpus else 1)
        self.workers = max(1, min(gpus, cpus // self._cpus) if self._gpus else cpus // self._cpus)

    def put(self, value: Any) -> Any:
        """Keep a value where every worker can fetch it, once for each node."""
        return self._ray.put(value)

    def reports(self, shards: Sequence[Any], arguments: tuple[Any, ...]) -> Iterator[Report]:
        """What the workers report of each shard, as they finish.

        Raises CloseupError where a worker cannot go on.
        """
        import ray.data
        from ray.data import ActorPoolStrategy

        size = min(self.workers, len(shards))
        work = ray.data.from_arrow(list(shards)).map_batches(
            Worker, batch_size=1, batch_format="pyarrow", fn_constructor_args=arguments,
            compute=ActorPoolStrategy(size=size), num_cpus=self._cpus,
            num_gpus=self._gpus or None,
        )  # fmt: skip
        try:
            for table in work.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                yield from (Report(**row) for row in table.to_pylist())
        except ray.exceptions.RayError as err:
            raise _as_ours(err) from err


def _as_ours(err: BaseException) -> CloseupError:
    """The error of ours that stopped a worker, or one that says what Ray said."""
    cause: BaseException | None = err
    while cause is not None:
        if isinstance(cause, CloseupError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    said = one_line(err)
    return CloseupError(
        f"a worker failed: {said[-400:]}; what is finished is kept, run the same command again"
    )


@contextlib.contextmanager
def connected(address: str, engine: EngineConfig) -> Iterator[Cluster]:
    """A cluster on this machine, or the one at `address`; disconnected from when the block ends."""
    local = address in ("", LOCAL)
    if local:  # nothing is sent to Ray's makers, and its own log lines stay in its files
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        # The work is as urgent as it would be in this process; Ray would put all else before it.
        os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        import ray
        from ray.data import DataContext
    except ModuleNotFoundError as err:
        raise UsageError(f"--ray needs {err.name}: {how_to_install('ray')}") from err

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    common: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    ours = not ray.is_initialized()
    if ours and local:
        ray.init(address="local", num_cpus=available_cpus(), include_dashboard=False,
                 object_store_memory=_STORE_BYTES, **common)  # fmt: skip
    elif ours:
        try:
            ray.init(address=address, **common)
        except (ConnectionError, ValueError, RuntimeError) as err:
            raise UsageError(
                f"no Ray cluster at {address}: {one_line(err)}; check the address, and "
                "RAY_AUTH_TOKEN where the cluster wants a token"
            ) from err
    context = DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    try:
        yield Cluster(engine)
    finally:
        if ours:
            ray.shutdown()
