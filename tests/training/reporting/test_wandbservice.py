"""The private name of W&B that we change is still there, and still what it waits with."""

from __future__ import annotations

import importlib
import inspect
import time

import pytest

from sweepline.training.reporting.wandbservice import LONGEST_WAIT_S, shorten_wait

pytest.importorskip("wandb")


def test_wandb_waits_for_its_service_with_the_name_that_we_change(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("wandb.sdk.lib.service.service_port_file")
    assert "_SLEEP(" in inspect.getsource(module.poll_for_token)
    monkeypatch.setattr(module, "_SLEEP", time.sleep)
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    shorten_wait()
    module._SLEEP(0.2)
    assert slept == [LONGEST_WAIT_S]
