"""``python -m benchmarks [NAME ...] [-n TIMES]``: measure and print a table."""

from __future__ import annotations

import argparse
import os
import platform

from benchmarks import coldstart, epoch, noop, planning, refill, resume, startup, tracking

ALL = {
    "startup": startup,
    "planning": planning,
    "resume": resume,
    "refill": refill,
    "noop": noop,
    "coldstart": coldstart,
    "tracking": tracking,
    "epoch": epoch,
}


def main() -> None:
    """Print each figure as it is measured."""
    parser = argparse.ArgumentParser(description="Measure sweepline on this machine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(ALL)} (default: all)")
    parser.add_argument("-n", type=int, default=3, help="how often each is measured (default: 3)")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in ALL]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]!r}; there are {', '.join(ALL)}")
    load = os.getloadavg()[0]
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {load:.2f}, "
        f"Python {platform.python_version()}; median (lowest .. highest) of {args.n}"
    )
    for name in args.names or ALL:
        for figure, value in ALL[name].figures(args.n):
            print(f"{figure:58} {value}", flush=True)


if __name__ == "__main__":
    main()
