"""A Ray cluster of two nodes on this machine, with little room for objects, as a process.

Prints its address. Each line on stdin is obeyed and answered by ``done``: ``fill`` puts twice as
many bytes into each node's store as it has room for, and keeps them; ``lose`` kills the second
node. It is ended by killing it, and what it has started.
"""

from __future__ import annotations

import sys

ROOM = 80 << 20


def main() -> None:
    """Start, obey."""
    import numpy as np
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": ROOM}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    second = cluster.add_node(**node)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    kept = []

    @ray.remote(num_cpus=0, scheduling_strategy="SPREAD")
    def made() -> object:
        return np.ones(8 << 20, np.uint8)

    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "fill":
            kept += [made.remote() for _ in range(4 * ROOM // (8 << 20))]
            ray.wait(kept, num_returns=len(kept), fetch_local=False)
        else:
            cluster.remove_node(second, allow_graceful=False)
        print("done", flush=True)


if __name__ == "__main__":
    main()
