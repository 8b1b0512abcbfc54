"""GPUs that are not there: what torch answers about them, for tests of what is asked of which."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch


@dataclass
class FakeGpus:
    """GPUs by number: what is ``free`` on each, whether this process ``uses`` it, what its generator's state is."""

    n: int
    uses: set[int] = field(default_factory=set)
    free: dict[int, int] = field(default_factory=dict)
    states: dict[int, torch.Tensor] = field(default_factory=dict)
    is_initialized: bool = True

    def free_and_total(self, gpu: int = 0) -> tuple[int, int]:
        """Stand for ``torch.cuda.mem_get_info``, the first GPU being the current one."""
        return self.free.get(gpu, 80 << 30), 80 << 30

    def state(self, gpu: int | torch.device = 0) -> torch.Tensor:
        """Stand for ``torch.cuda.get_rng_state``, which begins to use CUDA."""
        self.is_initialized = True
        return self.states[self._number(gpu)]

    def set_state(self, state: torch.Tensor, gpu: int | torch.device = 0) -> None:
        """Stand for ``torch.cuda.set_rng_state``."""
        number = self._number(gpu)
        if number >= self.n:
            raise IndexError(number)
        self.states[number] = state

    def _number(self, gpu: int | torch.device) -> int:
        return (gpu.index or 0) if isinstance(gpu, torch.device) else gpu


def put_in(monkeypatch: pytest.MonkeyPatch, gpus: FakeGpus) -> FakeGpus:
    """Have torch find these GPUs, each with a generator whose state is its number; return them."""
    gpus.states = {gpu: torch.tensor([gpu], dtype=torch.uint8) for gpu in range(gpus.n)}
    answers = {
        "is_available": lambda: True,
        "is_initialized": lambda: gpus.is_initialized,
        "device_count": lambda: gpus.n,
        "current_device": lambda: 0,
        "memory_reserved": lambda gpu: int(gpu in gpus.uses),
        "mem_get_info": gpus.free_and_total,
        "get_rng_state": gpus.state,
        "set_rng_state": gpus.set_state,
        "get_rng_state_all": lambda: [gpus.state(gpu) for gpu in range(gpus.n)],
        "set_rng_state_all": lambda states: [gpus.set_state(state, gpu) for gpu, state in enumerate(states)],
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    return gpus
