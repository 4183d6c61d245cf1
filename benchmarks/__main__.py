"""`python -m benchmarks [NAME...]`: run some benchmarks, or all of them."""

import argparse
from collections.abc import Callable

from benchmarks import deliveries, drill, events, failover, fleet, ingest, locate, queries, scale, sizes, topology
from benchmarks import map as fleet_map
from benchmarks.plan import Plan

BENCHMARKS: dict[str, Callable[[Plan], None]] = {
    "ingest": ingest.run,
    "sizes": sizes.run,
    "locate": locate.run,
    "events": events.run,
    "deliveries": deliveries.run,
    "queries": queries.run,
    "scale": scale.run,
    "fleet": fleet.run,
    "map": fleet_map.run,
    "drill": drill.run,
    "failover": failover.run,
    "topology": topology.run,
}


def main() -> None:
    """Read the command line and run what it names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help="which ones; all when none is named")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured; medians are shown")
    parser.add_argument("--seconds", type=int, default=3, help="how long one measurement lasts")
    options = parser.parse_args()
    plan = Plan(rounds=options.rounds, seconds=options.seconds)
    print(plan.describe(), flush=True)
    for name in options.names or BENCHMARKS:
        BENCHMARKS[name](plan)


if __name__ == "__main__":
    main()
