"""The one place that changes torch's private names: an optimizer without the import of torch's compiler.

Torch wraps the methods of optimizers so that its compiler leaves them alone, and the first call of one imports
``torch._dynamo``: a second and more, longer than many a run of a sweep trains. Nothing here compiles.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import torch

# Marked as left alone by the compiler already, in torch._dynamo.disable's own way.
MARK = "__dynamo_disable"
WRAPPED_METHODS = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
STEP_WRAPPER = "_use_grad"  # torch.optim.optimizer._use_grad_for_differentiable's inner function


def spare_dynamo(kind: type[torch.optim.Optimizer]) -> None:
    """Have optimizers of this class use their methods as they are, unwrapped.

    Where torch wraps them differently nothing is changed, and where the compiler is there already nothing is spared.
    """
    if "torch._dynamo" in sys.modules:
        return
    for name in WRAPPED_METHODS:
        wrapped = getattr(getattr(torch.optim.Optimizer, name), "__wrapped__", None)
        if wrapped is not None:
            setattr(wrapped, MARK, wrapped)
    step = getattr(kind.step, "__wrapped__", None)
    if step is None or kind.step.__code__.co_name != STEP_WRAPPER:
        return

    @functools.wraps(step)
    def plain_step(self: torch.optim.Optimizer, closure: Any = None) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, closure)

    kind.step = plain_step  # type: ignore[method-assign]
