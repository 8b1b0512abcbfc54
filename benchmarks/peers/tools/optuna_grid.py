"""Optuna's grid sampler: in this process with threads, or a subprocess per trial."""

import subprocess

import optuna
from common import JOBS, N, PYTHON, SCRIPT, VARIANT, function, grid, loss_of

axes = grid.axes(N)
run = None if VARIANT == "subprocess" else function()


def objective(trial):
    config = {name: trial.suggest_categorical(name, values) for name, values in axes.items()}
    if run is not None:
        return run(**config)
    argv = [PYTHON, SCRIPT, *grid.words(config)]
    return loss_of(subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout)


optuna.logging.set_verbosity(optuna.logging.WARNING)
optuna.create_study(sampler=optuna.samplers.GridSampler(axes)).optimize(objective, n_trials=N, n_jobs=JOBS)
