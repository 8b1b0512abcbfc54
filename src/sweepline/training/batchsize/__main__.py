"""``python -m sweepline.training.batchsize [--config F] -- key=value``: what fits, what is efficient, what to use."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sweepline.errors import SweeplineError

N_STEPS = 200


def main(argv: Sequence[str] | None = None) -> int:
    """Print the four lines; return 0, or 2 with a sentence."""
    parser = argparse.ArgumentParser(
        prog="sweepline batch-size",
        description="Find the batch size that fits, and the one that is efficient.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, help="config file of the run")
    parser.add_argument("--steps", type=_count, default=N_STEPS, help=f"training steps for the noise scale ({N_STEPS})")
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_args(argv)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start threads that nothing here uses
    from sweepline.training.batchsize.advise import advise_on

    try:
        answer = advise_on(args.config, args.overrides, n_steps=args.steps)
    except SweeplineError as error:
        print(f"sweepline: {error}", file=sys.stderr)
        return 2
    if args.answer is not None:
        args.answer.write_text(json.dumps(answer), encoding="utf-8")
    return 0


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"needs a whole number, got {text!r}")
    return int(text)


if __name__ == "__main__":
    from sweepline.training.commandline import leave

    leave(main())
