"""Where a run's output goes."""
