"""Probes of set-ups that misbehave, in the ways that are named on the command line; prints a JSON line for each."""

import json
import os
import signal
import sys
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as the trainer does

import torch
from torch import nn

from sweepline.training.batchsize.prober import ProbeError, Prober
from sweepline.training.batchsize.processes import can_fork, forking

MIB = 1 << 20


class Setup:
    """A small network; an example takes ``mib`` MiB while it is trained on, ``evaluated_mib`` in evaluation."""

    n_examples, n_evaluated, device = 100, 40, torch.device("cpu")

    def __init__(self, *, mib=0.0, evaluated_mib=0.0):
        self.mib, self.evaluated_mib = mib, evaluated_mib
        self.model = nn.Linear(4, 2)

    def step(self, index):
        self.model(torch.ones(len(index), 4)).sum().backward()
        torch.ones(int(self.mib * MIB * len(index)), dtype=torch.uint8)

    def evaluate(self, index):
        torch.ones(int(self.evaluated_mib * MIB * len(index)), dtype=torch.uint8)


class Hanging(Setup):
    def step(self, index):
        time.sleep(600)


class Killed(Setup):
    def step(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


class Aborting(Setup):
    def step(self, index):
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
        os.abort()


class Exiting(Setup):
    def step(self, index):
        os.write(2, b"no such licence\n")
        os._exit(3)


class Crashing(Setup):
    def step(self, index):
        os.kill(os.getpid(), signal.SIGSEGV)


class Wrong(Setup):
    def step(self, index):
        raise ValueError("shapes do not match")


class Chained(Setup):
    def step(self, index):
        try:
            raise MemoryError
        except MemoryError as error:
            raise RuntimeError("the layer failed") from error


class Unsupported(Setup):
    def step(self, index):
        raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED")


class UnsupportedOnce(Setup):
    def step(self, index):
        if not Path("was-here").exists():
            Path("was-here").touch()
            raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED")


class Normalized(Setup):
    n_examples, n_evaluated = 9, 0

    def __init__(self):
        self.model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))

    def step(self, index):
        self.model(torch.ones(len(index), 4)).sum().backward()


SCENARIOS = {
    "plain": (Setup, {}),
    "hanging": (Hanging, {}),
    "killed": (Killed, {}),
    "aborting": (Aborting, {}),
    "exiting": (Exiting, {}),
    "crashing": (Crashing, {}),
    "wrong": (Wrong, {}),
    "chained": (Chained, {}),
    "unsupported": (Unsupported, {}),
    "unsupported once": (UnsupportedOnce, {}),
    "last batch of one": (Normalized, {}),
    "last batch of one, dropped": (Normalized, {}),
    "large": (Setup, {"mib": 40.0}),
    "large in evaluation": (Setup, {"evaluated_mib": 10.0}),
    "too large in evaluation": (Setup, {"evaluated_mib": 1000.0}),
}


def main():
    assert can_fork("cpu"), "this process has threads already"
    for name in sys.argv[1:]:
        kind, options = SCENARIOS[name]
        said = []
        prober = Prober(
            forking(lambda kind=kind, options=options: kind(**options)),
            drop_last=name.endswith("dropped"),
            budget_bytes=256 * MIB,
            timeout_s=3.0 if name == "hanging" else 60.0,
            tell=said.append,
        )
        fits, error = None, ""
        try:
            fits = prober.try_size(8, False)
        except ProbeError as failure:
            error = str(failure)
        print(
            json.dumps(
                {
                    "name": name,
                    "fits": fits,
                    "error": error,
                    "said": "".join(said),
                    "evaluation": prober.evaluation_batch_size,
                    "probes": [probe.to_dict() for probe in prober.probes],
                }
            ),
            flush=True,
        )
    assert not Path(f"/proc/self/task/{os.getpid()}/children").read_text(), "a probe is left"


if __name__ == "__main__":
    main()
