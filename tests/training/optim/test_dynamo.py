"""The private names of torch that we change are still there, and what they are changed for is still spared."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from sweepline.training.optim.dynamo import STEP_WRAPPER, WRAPPED_METHODS
from sweepline.training.registry import OPTIMIZERS

STEPS = """
import sys, torch
from sweepline.training.config.schema import LearnerConfig
from sweepline.training.optim.optimizers import build_optimizer
for name in sys.argv[1:]:
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer, _ = build_optimizer(LearnerConfig(opt=name), torch.nn.ParameterList([weight]))
    weight.sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad(set_to_none=True)
    print(name, "torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize("name", WRAPPED_METHODS)
def test_torch_wraps_the_methods_that_we_unwrap(name: str) -> None:
    assert hasattr(getattr(torch.optim.Optimizer, name), "__wrapped__")


def test_torch_wraps_a_step_as_we_unwrap_it() -> None:
    code = f"import torch; print(torch.optim.SGD.step.__code__.co_name == {STEP_WRAPPER!r})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"


def test_no_optimizer_imports_torchs_compiler() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STEPS, *OPTIMIZERS.names], capture_output=True, text=True, check=True
    ).stdout
    assert done.splitlines() == [f"{name} False" for name in OPTIMIZERS.names]
