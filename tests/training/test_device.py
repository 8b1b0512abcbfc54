"""Devices that are not there."""

from __future__ import annotations

import pytest
import torch

from sweepline.errors import ConfigError
from sweepline.training.device import resolve_device


def test_a_gpu_beyond_the_last_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"device cuda:99: no such GPU"):
        resolve_device("cuda:99")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="needs a machine without Metal")
def test_metal_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"device mps: "):
        resolve_device("mps")
