"""``python -m benchmarks [NAME ...] [-n TIMES] [--write FILE]``: measure, print, and write the page of all figures."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

from benchmarks import (
    cluster,
    coldstart,
    epoch,
    fits,
    gpu,
    hpolib,
    mapped,
    noop,
    planning,
    proposals,
    racing,
    realsearch,
    realtraining,
    refill,
    report,
    report_page,
    resume,
    scale,
    search,
    startup,
    stopping,
    tracking,
    trust,
)
from benchmarks.measure import Figure
from benchmarks.peers.compare import TOOLS, WORKLOADS, compare

OURS = {
    "startup": startup,
    "planning": planning,
    "resume": resume,
    "refill": refill,
    "noop": noop,
    "coldstart": coldstart,
    "tracking": tracking,
    "epoch": epoch,
    "reportpage": report_page,
    "gpu": gpu,
    "mapped": mapped,
    "fits": fits,
    "search": search,
    "hpolib": hpolib,
    "realsearch": realsearch,
    "realtraining": realtraining,
    "proposals": proposals,
    "stopping": stopping,
    "racing": racing,
    "trust": trust,
    "cluster": cluster,
    "scale": scale,
}
SLOW = ("ray-reuse", "ray", "guild", "syne-quick", "syne")  # minutes for what others do in seconds: one round
N_SLOW_NOOP = 40
RESULTS = Path(__file__).resolve().parents[1] / ".bench" / "results.json"


def main() -> None:
    """Print each figure as it is measured; keep all in ``.bench/results.json``."""
    parser = argparse.ArgumentParser(description="Measure sweepline on this machine, and other tools beside it.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: peers, {', '.join(OURS)} (default: all)")
    parser.add_argument("-n", type=int, default=3, help="how many rounds (default: 3)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page of all that was measured so far")
    args = parser.parse_args()
    names = args.names or ["peers", *OURS]
    unknown = [name for name in names if name != "peers" and name not in OURS]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]!r}; there are peers, {', '.join(OURS)}")
    RESULTS.parent.mkdir(exist_ok=True)
    print(describe_machine(), flush=True)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in names:
        if name == "peers":
            measure_peers(args.n)
            continue
        found = []
        for figure in OURS[name].figures(args.n):
            print(f"{figure.title:66} {figure}", flush=True)
            found.append(asdict(figure))
        kept[name] = found
        RESULTS.write_text(json.dumps(kept))
    if args.write:
        figures = [Figure(**figure) for name in OURS for figure in kept.get(name, [])]
        peers = json.loads(peers_file().read_text()) if peers_file().exists() else []
        args.write.write_text(report.render(describe_machine(), figures, peers))


def measure_peers(n: int) -> None:
    """Give every tool its turn, in each of ``n`` rounds; the slow ones in one."""
    peers_file().unlink(missing_ok=True)
    quick = [name for name in TOOLS if name not in SLOW]
    for workload in WORKLOADS:
        compare(quick, [workload], 1 if workload == "imports" else n, out=peers_file())
        compare(SLOW, [workload], 1, n_runs=N_SLOW_NOOP if workload == "noop" else None, out=peers_file())
    compare(["ours-warm", "long-lived"], ["train"], n, n_runs=64, out=peers_file())


def peers_file() -> Path:
    """Where the sweeps of the peers are kept."""
    return RESULTS.with_name("peers.json")


def describe_machine() -> str:
    """Return the machine and the versions in a sentence."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    torch = next((f", torch {d.version}" for d in importlib.metadata.distributions(name="torch")), "")
    return (
        f"{os.cpu_count()} cores ({model}), {gib:.0f} GiB, Python {platform.python_version()}{torch}, "
        f"load {os.getloadavg()[0]:.1f} at the start."
    )


if __name__ == "__main__":
    main()
