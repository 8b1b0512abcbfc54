"""How much memory a run may take, its neighbours considered."""

from __future__ import annotations

import pytest

from sweepline.errors import ConfigError
from sweepline.training.memory import is_out_of_memory, runs_per_device, usable_bytes
from tests.training.gpus import FakeGpus, put_in


def test_neighbours_share_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWEEPLINE_RUNS_PER_DEVICE", raising=False)
    alone = usable_bytes()
    monkeypatch.setenv("SWEEPLINE_RUNS_PER_DEVICE", "4")
    assert usable_bytes() == pytest.approx(alone / 4, rel=0.2)


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_number_of_neighbours_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SWEEPLINE_RUNS_PER_DEVICE", text)
    with pytest.raises(ConfigError, match="SWEEPLINE_RUNS_PER_DEVICE: needs a whole number above zero"):
        runs_per_device()


@pytest.mark.parametrize(("full", "is_full"), [(2, True), (0, False)])
def test_an_error_in_doubt_is_judged_by_the_gpu_that_is_used(
    monkeypatch: pytest.MonkeyPatch, full: int, is_full: bool
) -> None:
    put_in(monkeypatch, FakeGpus(4, uses={2}, free={full: 1 << 20}))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")) is True
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR")) is is_full
