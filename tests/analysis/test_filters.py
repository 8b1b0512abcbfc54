"""Which runs an expression means."""

from __future__ import annotations

import pytest

from sweepline.analysis.filters import Filter, names_of
from sweepline.errors import ConfigError
from sweepline.recording.events import RunRecord
from sweepline.runs import RunOutcome, State


def record(run_id: str, **params: object) -> RunRecord:
    outcome = RunOutcome(
        state=State.FINISHED, metrics={"loss": 0.5}, duration_s=3600.0, max_rss_kib=1 << 20, cpu_s=7200
    )
    return RunRecord(
        run_id, name=f"run-{run_id}", params=params, seed=3, device="0,1", tags="paper old", outcome=outcome
    )


RECORDS = [record("a", lr=0.1, opt="sgd"), record("b", lr=0.01, opt="adam", **{"model-size": 3}), record("c", lr=0.1)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("lr < 0.05", "b"),
        ("lr=0.1", "ac"),
        ("lr=1e-1, opt=sgd", "a"),
        ("lr=0.1,opt='sgd'", "a"),
        ("opt=null", ""),
        ("lr == 0.1 and opt != 'sgd'", "c"),
        ("state == 'finished' and loss <= 0.5", "abc"),
        ("'paper' in tags", "abc"),
        ("'pap' in tags", ""),
        ("model-size >= 3", "b"),
        ("seed=3, id=b", "b"),
        ("peak_memory_gib == 1 and cpu_hours == 2 and gpu_hours == 2", "abc"),
        ("opt in ['sgd', 'adam']", "ab"),
    ],
)
def test_an_expression_means_these_runs(text: str, found: str) -> None:
    is_meant = Filter(text, names_of(RECORDS))
    assert "".join(r.run_id for r in RECORDS if is_meant.of_record(r)) == found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lrr < 1", "nothing is called lrr; did you mean 'lr'?"),
        ("state == finished", "a text needs quotes: 'finished'"),
        ("lr <", "cannot be read"),
        ("__import__('os')", "is not allowed"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=r"expression|nothing is called") as caught:
        Filter(text, names_of(RECORDS))
    assert sentence in str(caught.value)


def test_values_of_different_kinds_are_not_compared_in_silence() -> None:
    with pytest.raises(ConfigError, match="fails for"):
        Filter("opt < 3", names_of(RECORDS)).of_record(RECORDS[0])
