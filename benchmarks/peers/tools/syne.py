"""Syne Tune's local backend, given the whole grid; with its usual sleep of seconds, or the shortest that helps."""

import logging
from pathlib import Path

from common import JOBS, N, VARIANT, WORKLOAD, WORKLOADS, grid
from syne_tune import StoppingCriterion, Tuner
from syne_tune.backend import LocalBackend
from syne_tune.config_space import choice
from syne_tune.optimizer.baselines import RandomSearch

logging.getLogger().setLevel(logging.WARNING)
axes = grid.axes(N)
Path("trial.py").write_text(f"""
import argparse, sys
sys.path.insert(0, {str(WORKLOADS)!r})
from {WORKLOAD} import run
from syne_tune import Reporter
parser = argparse.ArgumentParser()
for name in {list(axes)!r}:
    parser.add_argument("--" + name, type=float)
arguments, _ = parser.parse_known_args()
Reporter()(loss=run(**vars(arguments)))
""")
scheduler = RandomSearch(
    config_space={name: choice(values) for name, values in axes.items()},
    metrics=["loss"],
    do_minimize=True,
    points_to_evaluate=grid.configs(N),
)
quick = {"sleep_time": 0.1, "results_update_interval": 1e9, "print_update_interval": 1e9} if VARIANT else {}
Tuner(
    trial_backend=LocalBackend(entry_point=str(Path("trial.py").resolve())),
    scheduler=scheduler,
    stop_criterion=StoppingCriterion(max_num_trials_started=N - 1),
    n_workers=JOBS,
    wait_trial_completion_when_stopping=True,
    trial_backend_path="syne",
    **quick,
).run()
