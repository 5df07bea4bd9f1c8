"""A Ray cluster of several nodes on this machine, each with an audio cache of its own. Run as a script: CACHES N_NODES.

It prints the address, and an answer to each line of standard input: `kill NUMBER` ends a node as a power cut does,
`code` tells where a worker has this project from, `check DATA RUN [STORAGE]` what a search says of the nodes. The end
of the input ends the cluster.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from sed_model.core.errors import ConfigError
from trainables.on_ray.cluster import ray_session
from trainables.on_ray.node_check import check_nodes

NODE = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 100 * 2**20}
QUICK_DEATHS = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
}


def start(caches: Path, n_nodes: int) -> tuple[Cluster, list[object]]:
    environments = [{"env_vars": {"SED_CACHE_DIR": str(caches / f"node_{number}")}} for number in range(n_nodes)]
    head = {**NODE, **environments[0], "include_dashboard": False, "_system_config": QUICK_DEATHS}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.head_node, *(cluster.add_node(wait=False, **NODE, **own) for own in environments[1:])]
    cluster.wait_for_nodes()
    return cluster, nodes


def code_of_a_worker(address: str) -> str:
    def project() -> str:
        import trainables

        return trainables.__path__[0]

    with ray_session(address):
        return str(ray.get(ray.remote(project).remote()))


def check(address: str, data: str, run: str, storage: str | None = None) -> str:
    with ray_session(address) as info:
        try:
            check_nodes(info.nodes, Path(data), Path(run), storage)
        except ConfigError as error:
            return str(error).replace("\n", " ")
    return "fine"


def main(caches: Path, n_nodes: int) -> None:
    cluster, nodes = start(caches, n_nodes)
    print(cluster.address, flush=True)
    for line in sys.stdin:
        command, *words = line.split()
        if command == "kill":
            cluster.remove_node(nodes[int(words[0])], allow_graceful=False)
        answers = {"kill": lambda *_: "killed", "code": code_of_a_worker, "check": check}
        print(answers[command](cluster.address, *words), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
