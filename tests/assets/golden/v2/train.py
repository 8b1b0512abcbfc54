"""The program of the golden sweep: one of its runs fails, one measures no number."""

import argparse
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, required=True)
parser.add_argument("--kind", required=True)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

if args.kind == "broken":
    sys.exit("kind 'broken' cannot be trained")
print(f"METRIC epoch=1 loss={args.rate * 3}")
print(f"METRIC epoch=2 loss={args.rate if args.kind == 'plain' else float('nan')} accuracy={1 - args.rate}")
