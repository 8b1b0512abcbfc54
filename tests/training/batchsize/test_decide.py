"""When a run takes the size that an earlier one has found."""

from __future__ import annotations

import pytest

from sweepline.training.batchsize.decide import find_reusable
from sweepline.training.experiment.records import KILLED, TuningRecord


def searched(**fields: object) -> TuningRecord:
    kept = {"run_number": 1, "timestamp": "", "config_key": "", "default_batch_size": 64, "safety_factor": 0.5}
    more = {"tuned_batch_size_previous": None, "optimize_batch_size": "once", "tuning_key": "k", "tuner_run": 1}
    return TuningRecord(**{**kept, **more, "tuner_max_batch_size": 400, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("newest_first", "number"),
    [
        ([searched()], 1),
        ([searched(tuning_key="other")], None),
        ([searched(tuner_max_batch_size=None)], None),
        ([searched(training_error=KILLED)], None),
        ([searched(run_number=2, training_error=KILLED), searched(training_succeeded=True)], 2),
        ([searched(run_number=2, training_error=KILLED, tuner_run=2), searched()], None),
        ([searched(run_number=2, training_error="out of memory with 200"), searched()], None),
        ([searched(run_number=2, training_error="ValueError"), searched()], 2),
    ],
)
def test_what_another_run_has_found_is_used_unless_it_did_not_train(
    newest_first: list[TuningRecord], number: int | None
) -> None:
    found = find_reusable(newest_first, "k")
    assert (found.run_number if found else None) == number
