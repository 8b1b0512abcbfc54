"""Whether Ray is there, told without importing it."""

from __future__ import annotations

import sys

import pytest

from sweepline.errors import ExecutorUnavailableError
from sweepline.executors.ray.bridgeprocess import check_installed


def test_that_ray_is_not_installed_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as good as not there
    with pytest.raises(ExecutorUnavailableError, match=r"pip install 'sweepline\[ray\]'"):
        check_installed()
