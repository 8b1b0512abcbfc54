"""A run in milliseconds: flags in, METRIC lines out, and misbehaviour on request. Standard library only."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--x", default="0")
parser.add_argument("--y", default="0")
parser.add_argument("--mode", default="ok")
parser.add_argument("--hold", type=float, default=0.0, help="seconds that the run takes")
args, rest = parser.parse_known_args()

begin = time.monotonic()
with open("invocations.jsonl", "a") as file:
    file.write(json.dumps({"x": args.x, "argv": sys.argv[1:], "run": os.environ.get("SWEEPLINE_RUN_ID")}) + "\n")
if args.mode == "fail" or (args.mode == "fail-once" and not Path(f"seen-{args.x}").exists()):
    Path(f"seen-{args.x}").touch()
    sys.exit("the toy broke on purpose")
if args.mode == "ignore-term":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if args.mode == "family":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("started a grandchild", flush=True)
print(f"METRIC epoch=1 loss={float(args.x) + 1}", flush=True)
if args.hold:
    time.sleep(args.hold)
print(f"METRIC loss={float(args.x) + float(args.y)} score={-float(args.x)}")
span = {"device": os.environ["CUDA_VISIBLE_DEVICES"], "begin": begin, "end": time.monotonic()}
with open("spans.jsonl", "a") as file:
    file.write(json.dumps(span) + "\n")
