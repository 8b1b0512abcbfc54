"""Ray Tune with a function trainable, one CPU a trial, its actors reused or not."""

import os
import sys
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")

import ray
from common import JOBS, N, VARIANT, WORKLOAD, WORKLOADS, grid
from ray import tune

FOLDER, RECORD = str(WORKLOADS), os.environ["BENCH_RECORD"]


def trainable(config):
    import importlib

    os.environ["BENCH_RECORD"] = RECORD
    sys.path.insert(0, FOLDER)
    tune.report({"loss": importlib.import_module(WORKLOAD).run(**config)})


ray.init(num_cpus=JOBS, include_dashboard=False, logging_level="warning")
found = tune.Tuner(
    tune.with_resources(trainable, {"cpu": 1}),
    param_space={name: tune.grid_search(values) for name, values in grid.axes(N).items()},
    tune_config=tune.TuneConfig(reuse_actors=VARIANT == "reuse", metric="loss", mode="min"),
    run_config=tune.RunConfig(storage_path=str(Path.cwd() / "ray"), verbose=0),
).fit()
assert len(found) == N and not found.errors, found.errors
