"""``python -m cluster.jobs.slurm_ready HEAD:PORT NODES SECONDS``: wait until so many nodes have joined a Ray cluster."""

from __future__ import annotations

import logging
import sys
import time


def main(address: str, nodes: int, seconds: float) -> int:
    import ray

    ends = time.monotonic() + seconds
    found, reason = 0, ""
    while time.monotonic() < ends:
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, ignore_reinit_error=True)
            found = sum(bool(node["Alive"]) for node in ray.nodes())
        except (ConnectionError, RuntimeError, OSError) as error:
            reason = f": {str(error).splitlines()[0]}" if str(error) else ""
        if found >= nodes:
            return 0
        time.sleep(0.5)
    print(f"error: Ray at {address}: {found} of {nodes} nodes are there after {seconds:g} s{reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
