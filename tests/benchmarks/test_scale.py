"""The measurement of many runs at a time, with few: that it measures what it says, not how much that is."""

from __future__ import annotations

import math

from benchmarks.scale import measure


def test_fifty_simulated_runs_are_started_watched_stopped_and_recorded() -> None:
    found = measure(
        50, window_s=1.5, settle_s=0.2, trace_s=0, print_s=0.2, mean_life_s=4.0, n_bad_per_s=4.0, n_widths=2
    )

    assert found.n_recorded >= 50
    assert found.n_lines_per_s > 50
    assert len(found.waited_s) > 0  # runs that went astray were stopped
    assert found.journal_bytes_per_run > 200
    assert min(found.rss_mb, found.n_fds, found.n_waits_per_s, found.start_s, found.end_s) > 0
    assert math.isfinite(found.cpu_share)
